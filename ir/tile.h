/* Tile IR: one kernel each, what the machine does. A kernel is a syntax tree (ir/tree.h; text form docs/tile.md); the verifier resolves
 * names and hangs a TsTInfo on every expression and binding (tree->note), after which simulator and lowering need no further checks.
 * The word list is ir/tile_ops.def; the pointwise words are those that ir/ops.def marks TS_F_TILE. Names no graph operator. */
#pragma once
#include "ir/layout.h"
#include "ir/tree.h"

typedef enum { TS_TT_IDX /* int64, uniform */, TS_TT_SCALAR /* one uniform element */, TS_TT_TILE, TS_TT_MEM /* global or shared view */,
	TS_TT_RING, TS_TT_POS, TS_TT_SLOT /* R[p] */, TS_TT_NONE, TS_TT_UNKNOWN /* after an error */ } TsTForm;
typedef enum { TS_SP_GLOBAL, TS_SP_SHARED } TsTSpace;

typedef struct {
	TsTForm form;
	TsDtype elem;              /* SCALAR, TILE, MEM; a literal before it meets a type: TS_DTYPE_NONE */
	uint8_t rank;
	bool pending;              /* TILE: f32[..]!, in flight */
	int64_t extent[TS_LAY_RANK]; /* TILE: static; SHARED MEM: static; a PARAM: -1 where symbolic; an INDEX: the tile it selects, static */
	const TsLayout *layout;    /* TILE: always set after verification, interned: equal maps are equal pointers. SHARED MEM: never NULL */
	TsTSpace space;
	TsTree *decl;              /* MEM, RING, SLOT, POS: the PARAM, SMEM or RING that declares it (a slot's buffer: its BIND in the RING) */
} TsTType;

typedef struct {
	TsTType type;
	TsTree *decl;              /* NAME: what it refers to: BIND, PARAM, SMEM, RING, LAYOUT, KW of a grid or with, FOR (its variable).
	                            * FIELD R[p].a: the BIND of `a` in the ring */
	int32_t op;                /* CALL: TsTileOp, or TS_TILE_POINTWISE + TsOp */
	int32_t id;                /* BIND, KW, PARAM, SMEM, RING, FOR: dense number within the kernel, for tables; KERNEL: how many */
	bool known;                /* IDX: a compile-time constant, `value` */
	int64_t value;             /* IDX constant. RANGE: its static length. PARAM: its place among buffers or among idx parameters (ABI).
	                            * RING: slots. ROLE: instances */
	TsTree *def;               /* BIND of a LET with one name, or of idx (then `value`: which of them): its right side. FOR: its RANGE when it is fully unrolled (`unroll` reaches
	                            * its constant trip count): then offsets of slices may depend on its variable */
	int64_t step;              /* RANGE: constant step, 0 when the step is known at run time only. ROLE: warps of one instance. PARAM of form
	                            * IDX: what @multiple promises, at least 1 */
} TsTInfo;
#define ts_tinfo(t) ((TsTInfo *)(t)->note)

typedef enum {
#define TILE_OP(name, scope, targets, doc) TS_TILE_##name,
#include "ir/tile_ops.def"
	TS_TILE_OP_COUNT,
	TS_TILE_POINTWISE = 1000,  /* + TsOp */
} TsTileOp;

/* Target classes, as sets. */
enum { TS_TG_CPU = 1, TS_TG_SM80 = 2, TS_TG_SM90 = 4, TS_TG_AMD = 8, TS_TG_SM89 = 16 /* sm_80's words and 8-bit floats in mma */, TS_TG_HOPPER = TS_TG_SM90,
	TS_TG_FP8 = TS_TG_SM89 | TS_TG_SM90, TS_TG_NV = TS_TG_SM80 | TS_TG_SM89 | TS_TG_SM90,
	TS_TG_GPU = TS_TG_NV | TS_TG_AMD, TS_TG_ANY = TS_TG_GPU | TS_TG_CPU };
typedef enum { TS_SC_LANE, TS_SC_WARP, TS_SC_ROLE, TS_SC_CTA } TsTScope;
typedef struct { const char *name; TsTScope scope; uint32_t targets; const char *doc; } TsTileOpInfo;
const TsTileOpInfo *ts_tile_op_info(TsTileOp op);

/* Limits of one target: a row of ir/tile_targets.def. */
typedef struct { const char *name; uint32_t cls; int warp, simd_bytes, threads, registers, shared_bytes, barriers; } TsTileTarget;
const TsTileTarget *ts_tile_target(const char *name); /* NULL when unknown */

/* Checks a FILE tree of .tile and annotates it. False after reporting. Types, layouts, bounds that are decidable, linear ring positions,
 * in-flight rules, barrier counts, shared memory limits. A tree may be verified again after it was changed. */
bool ts_tile_verify(TsCtx *cx, TsTree *file);
/* The same without the rules of time (ir/tile_protocol.c), for the simulator, which finds their breaches by running. */
bool ts_tile_annotate(TsCtx *cx, TsTree *file);
/* The names under which a kernel's integer parameters and buffers come, in order: the launch ABI. A PARAM is a buffer (form MEM) or an
 * integer (form IDX); its note's `value` is its place among its own kind. A buffer of rank 0 (`eps: f32[]`) is one element in memory. */
uint32_t ts_tile_param_count(const TsTree *kernel);
/* A number that a verified idx expression is certainly a multiple of, at least 1: from constants, @multiple and the steps of loops and grids. */
int64_t ts_tile_multiple(const TsTree *idx);

/* The @strides(…) of a buffer's type, in elements, or NULL: row major. */
static inline const TsTree *ts_tile_strides(const TsTree *type)
{
	for (uint32_t i = 0; i < type->n; i++)
		if (type->kid[i]->kind == TS_TREE_ANNOT && !__builtin_strcmp(type->kid[i]->name, "strides")) return type->kid[i];
	return NULL;
}
/* Kids by role, so that nobody counts positions. */
static inline TsTree *ts_tile_attr(const TsTree *attrs, const char *name)
{
	for (uint32_t i = 0; attrs && i < attrs->n; i++)
		if (!__builtin_strcmp(attrs->kid[i]->name, name)) return attrs->kid[i]->kid[0];
	return NULL;
}
