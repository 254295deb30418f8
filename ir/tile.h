/* Tile IR: one kernel each, what the machine does. A kernel is a syntax tree (ir/tree.h; text form docs/tile.md); the verifier resolves
 * names and hangs a TsTInfo on every expression and binding (tree->note), after which simulator and lowering need no further checks.
 * The word list is ir/tile_ops.def; the pointwise words are those that ir/ops.def marks TS_F_TILE. Names no graph operator. */
#pragma once
#include "ir/layout.h"
#include "ir/tree.h"

typedef enum { TS_TT_IDX /* int64, uniform */, TS_TT_SCALAR /* one uniform element */, TS_TT_TILE, TS_TT_MEM /* global or shared view */,
	TS_TT_RING, TS_TT_POS, TS_TT_BAR, TS_TT_NONE } TsTForm;
typedef enum { TS_SP_GLOBAL, TS_SP_SHARED, TS_SP_TMAP } TsTSpace;

typedef struct {
	TsTForm form;
	TsDtype elem;
	uint8_t rank;
	bool pending;              /* TILE: f32[..]!, in flight */
	int64_t extent[TS_LAY_RANK]; /* TILE: static; SHARED MEM: static; GLOBAL MEM: sizes are trees */
	const TsLayout *layout;    /* TILE: always set after verification. SHARED MEM: may be NULL = row major */
	TsTSpace space;
	TsTree *decl;              /* MEM, RING: the PARAM, SMEM or RING that declares it; TILE, IDX: the BIND, KW or PARAM it names, if a name */
} TsTType;

typedef struct {
	TsTType type;
	TsTree *decl;              /* NAME: what it refers to (BIND, PARAM, SMEM, RING, LAYOUT, KW of a for/grid) */
	int32_t op;                /* CALL: TsTileOp, or TS_TILE_POINTWISE + TsOp */
	int32_t id;                /* BIND, KW, PARAM: dense number within the kernel, for the lowering's tables */
} TsTInfo;
#define ts_tinfo(t) ((TsTInfo *)(t)->note)

typedef enum {
#define TILE_OP(name, scope, targets, doc) TS_TILE_##name,
#include "ir/tile_ops.def"
	TS_TILE_OP_COUNT,
	TS_TILE_POINTWISE = 1000,  /* + TsOp */
} TsTileOp;

typedef struct TsTileTarget TsTileTarget; /* limits of one target, data: ir/tile_targets.def */

/* Checks a FILE tree of .tile and annotates it. False after reporting. Types, layouts, bounds that are decidable, linear ring positions,
 * in-flight rules, barrier counts, shared memory limits. */
bool ts_tile_verify(TsCtx *cx, TsTree *file);
/* The names under which a kernel's integer parameters and buffers come, in order: the launch ABI. */
uint32_t ts_tile_param_count(const TsTree *kernel);
