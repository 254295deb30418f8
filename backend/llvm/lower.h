/* The lowering's own interface: what lower.c (statements, idx, loops), lower_tile.c (moves, reductions, outer products), lower_word.c
 * (pointwise), lower_mem.c (memory) and the target files share. A tile is an array of LLVM values, one per register of its layout, each a
 * scalar or a vector over the layout's v digits; idx and uniform scalars are one value. Element types live in registers as follows:
 * f32 f64 as such, bool as i1, integers as iN, and everything else as its bits (f16 bf16 i16; int4 fp4 fp6 fp8 i8; complex64 i64).
 * All of it runs in the child of backend.c; what cannot be lowered leaves by lw_fail. */
#pragma once
#include "backend/llvm/backend.h"
#include "backend/llvm/math.h"
#include "support/map.h"
#include <setjmp.h>

typedef LLVMValueRef Val;
typedef LLVMBasicBlockRef Block;

/* Coordinates of a register layout: element (register r, lane v) lies at reg[r] + lane[v], axis by axis. */
typedef struct { int rank, regs, lanes; int32_t (*reg)[TS_LAY_RANK], (*lane)[TS_LAY_RANK]; const TsLayout *layout; } Places;

typedef struct { TsDtype elem; int n, lanes; Val *v; const Places *at; /* NULL: idx or scalar */ bool is_idx; } Frag;

/* A buffer: `stride` and `size` count elements. */
typedef struct { TsDtype elem; int rank; Val base, stride[TS_LAY_RANK], size[TS_LAY_RANK]; } Mem;

typedef struct Lower Lower;
struct Lower {
	TsCtx *cx;
	TsArena *arena;
	const TsTarget *target;
	LLVMContextRef lc;
	LLVMModuleRef mod;
	LLVMBuilderRef b;
	TsMath math;
	LLVMTypeRef i1, i8, i16, i32, i64, f32, f64, ptr, none;
	TsMap places;
	/* the kernel being lowered */
	const TsTree *kernel;
	Val fn, scratch;
	Block entry;
	Frag *frags;              /* by id */
	Mem *mems;                /* by id */
	Val spill;                /* stands for the one stack buffer until its size is known */
	int64_t spill_bytes;
	int64_t registers, statements; /* made so far */
	Val dummy;                /* 16 bytes that masked-off scalar accesses go to */
	/* failure */
	jmp_buf *fail;
	TsSpan fail_at;
	char why[256];
};

_Noreturn void lw_fail(Lower *w, const TsTree *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* lower.c */
void lw_kernel(Lower *w, const TsTree *kernel, const char *symbol);
Val lw_idx(Lower *w, const TsTree *x);
Frag lw_expr(Lower *w, const TsTree *x);                  /* one value */
Val lw_operand(Lower *w, const TsTree *x, TsDtype elem);  /* a literal, idx or scalar as one element */
const TsTree *lw_keyword(const TsTree *call, const char *name);
Frag lw_frag(Lower *w, const TsTType *type);              /* with room for its values */
Mem *lw_mem(Lower *w, const TsTree *name);

/* lower_ir.c: types, constants, small instruction patterns */
LLVMTypeRef lw_elem_type(Lower *w, TsDtype t);
LLVMTypeRef lw_type(Lower *w, TsDtype t, int lanes);
int lw_lanes_of(Val v);                                   /* 1 for scalars */
Val lw_i64(Lower *w, int64_t v);
Val lw_i32(Lower *w, int64_t v);
bool lw_is_const(Val v, int64_t *out);
Val lw_splat(Lower *w, Val scalar, int lanes);
Val lw_const(Lower *w, TsDtype t, double x, int lanes);
Val lw_const_int(Lower *w, TsDtype t, int64_t x, int lanes);
Val lw_shuffle(Lower *w, Val a, Val b, const int *mask, int n); /* mask < 0: any */
Val lw_extract(Lower *w, Val v, int lane);
Val lw_intrinsic(Lower *w, const char *name, LLVMTypeRef *over, unsigned nover, Val *args, unsigned n);
Val lw_add(Lower *w, Val a, Val b);
Val lw_mul(Lower *w, Val a, Val b);
Val lw_min(Lower *w, Val a, Val b);                       /* signed i64 */
Val lw_max(Lower *w, Val a, Val b);
Val lw_floordiv(Lower *w, Val a, Val b);                  /* i64; b is not 0 */
Val lw_floormod(Lower *w, Val a, Val b);
Block lw_block(Lower *w, const char *name);
Val lw_at_entry(Lower *w, LLVMTypeRef type, int64_t count, unsigned align); /* stack memory */
void lw_attr(Lower *w, Val fn, const char *key, const char *value);
void lw_attr_enum(Lower *w, Val fn, int index, const char *key);

/* lower_word.c: one register's worth */
Val lw_word(Lower *w, const TsTree *call, const char *word, TsDtype elem, Val *args, unsigned n);
Val lw_cast(Lower *w, const TsTree *at, Val x, TsDtype from, TsDtype to);

/* lower_tile.c */
const Places *lw_places(Lower *w, const TsTree *at, const TsLayout *l);
/* dst[r, lane] = src at coordinates axis_of[a] >= 0 ? dst coordinate of that axis + at[a] : at[a]. */
void lw_gather(Lower *w, const TsTree *where, const Frag *src, const int *axis_of, const int64_t *at, Frag *dst);
Frag lw_transposed(Lower *w, const TsTree *x, const TsTType *type);       /* x.T of a tile */
Frag lw_tile_word(Lower *w, const TsTree *call, const TsTType *type);
void lw_tile_words(Lower *w, const TsTree *call, Frag *out, uint32_t n); /* words of several results */

/* lower_mem.c */
/* base + sum step[a] * coordinate[a] + sum of gathers, in elements */
typedef struct { Frag index; int axis; Val stride; } Indexed;
typedef struct {
	TsDtype elem;
	int rank, gathers;
	Val memory, base, step[TS_LAY_RANK]; /* step NULL: the axis belongs to a gather */
	Indexed gather[TS_LAY_RANK];
} View;
View lw_view(Lower *w, const TsTree *x);
bool lw_packed(TsDtype t);                                /* two elements a byte */
LLVMTypeRef lw_memory_type(Lower *w, TsDtype t, int lanes);
Val lw_load_at(Lower *w, TsDtype t, Val p, int lanes);
void lw_store_at(Lower *w, TsDtype t, Val x, Val p);
Val lw_pad(Lower *w, const TsTree *call, TsDtype t);
Val lw_dummy(Lower *w);                                   /* where masked-off elements go */
Frag lw_load(Lower *w, const TsTree *call, const TsTType *type);
void lw_store(Lower *w, const TsTree *call);
void lw_prefetch(Lower *w, const TsTree *call);
void lw_pack(Lower *w, const TsTree *call);               /* lower_pack.c */
/* copy.c: the slow path of ragged accesses (pad NULL: store), and packed 4-bit elements */
void lw_copy_box(Lower *w, TsDtype t, Val buf, Val base, Val at, const Val *stride, const Val *count, const int64_t *extent, int rank, Val pad);
Val lw_nibble_get(Lower *w, Val base, Val at);
void lw_nibble_set(Lower *w, Val base, Val at, Val x);

/* one target's part: cpu.c */
void lw_target_function(Lower *w, Val fn);
