/* The lowering's own interface: what lower.c (statements, idx, loops), lower_tile.c (moves, reductions, outer products), lower_word.c
 * (pointwise), lower_mem.c (memory) and the target files share. A tile is an array of LLVM values, one per register of its layout, each a
 * scalar or a vector over the layout's v digits; idx and uniform scalars are one value. Element types live in registers as follows:
 * f32 f64 as such, bool as i1, integers as iN, and everything else as its bits (f16 bf16 i16; int4 fp4 fp6 fp8 i8; complex64 i64).
 * All of it runs in the child of backend.c; what cannot be lowered leaves by lw_fail. */
#pragma once
#include "backend/llvm/backend.h"
#include "backend/llvm/math.h"
#include "ir/tile_abi.h"
#include "support/map.h"
#include <setjmp.h>

typedef LLVMValueRef Val;
typedef LLVMBasicBlockRef Block;

/* Coordinates of a register layout: element (register r, lane v) lies at reg[r] + lane[v], axis by axis; on GPUs, where a thread has one
 * element a register (one lane), at reg[r] + lg_coord. */
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
	LLVMTypeRef i1, i8, i16, i32, i64, f32, f64, ptr /* of global memory */, shared_ptr, none;
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
	/* GPUs: who runs what is being lowered */
	bool gpu;
	Val lane, warp, instance, cta;    /* i32: in the warp; of the role instance; of the role; of the cluster */
	const TsTree *role;               /* or NULL: the kernel's own warps */
	int64_t warps, times;             /* of the role or kernel */
	int barrier;                      /* the role's first named barrier */
	Val shared;                       /* where shared memory begins */
	TsTileLaunch launch;
	unsigned first_map;               /* the parameter that holds the first tensor map */
	/* failure */
	jmp_buf *fail;
	TsSpan fail_at;
	char why[256];
};

_Noreturn void lw_fail(Lower *w, const TsTree *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* lower.c */
void lw_kernel(Lower *w, const TsTree *kernel, const char *symbol);
void lw_begin(Lower *w, const TsTree *kernel);           /* empty tables for a kernel */
void lw_statement(Lower *w, const TsTree *t);
void lw_statements(Lower *w, const TsTree *block, uint32_t from);
void lw_set(Lower *w, const TsTree *decl, Frag f);
Frag lw_one(Lower *w, Val v, TsDtype elem, bool is_idx); /* one value */
void lw_buffer(Lower *w, const TsTree *param, Val base); /* declares a parameter's memory */
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
int64_t lw_const_of(Lower *w, const TsTree *x);                           /* a constant idx, or failure */
const TsTree *lw_argument(const TsTree *call, uint32_t n, const char *name); /* a call's n-th argument, or that keyword; may be NULL */
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

/* ---- GPUs ---- */
/* lower_gpu.c: threads, roles, the grid */
void lg_kernel(Lower *w, const TsTree *kernel, const char *symbol);
void lg_role(Lower *w, const TsTree *const *role, uint32_t n);   /* consecutive ROLE statements */
void lg_one(Lower *w, const TsTree *t);
Val lg_axis(Lower *w, TsAxis a);                                 /* i32: this thread's place on an axis of layouts */
Val lg_coord(Lower *w, const TsLayout *l, int dim);              /* i32: what this thread adds to every coordinate along dim */
Val lg_coord_of(Lower *w, const TsLayout *l, int dim, unsigned axes); /* from these axes alone (1 << TsAxis) */
Val lg_quotient(Lower *w, Val i32, int64_t by);                  /* of numbers that are not negative */
Val lg_remainder(Lower *w, Val i32, int64_t by);
Val lg_uniform(Lower *w, Val i32);                               /* the same value, known to be one for the warp */
Val lg_intrinsic(Lower *w, const char *name, Val *args, unsigned n); /* without overloads */
Val lg_asm(Lower *w, const char *text, const char *constraints, LLVMTypeRef result, Val *args, unsigned n);
Val lg_shuffle(Lower *w, Val x, Val lane, bool exchange);        /* x of another lane: of `lane`, or of this one xor `lane` */
Frag lg_convert(Lower *w, const TsTree *call, const Frag *x, const TsTType *type); /* to another layout, within the warp */
bool lg_cast_pairs(Lower *w, const Frag *x, Frag *out);          /* between f32 and 16 or 8 bits, two at a time; false: not that */
void lg_sync(Lower *w, const char *who, const TsTree *at);
typedef struct { Block yes, end; } Branch;
Branch lg_if(Lower *w, Val c);
void lg_end(Lower *w, Branch b);
bool lg_effect(Lower *w, const TsTree *call);                    /* statements without a result; false: not one of GPUs */

/* lower_gpu_mem.c: global memory */
Frag lg_load(Lower *w, const TsTree *call, const TsTType *type);
void lg_store(Lower *w, const TsTree *call);
/* Bits of consecutive registers as 32-bit words (one smaller integer for fewer bytes), and back. */
int lg_words(Lower *w, TsDtype t, const Val *x, int n, Val *word);
void lg_unwords(Lower *w, TsDtype t, const Val *word, int n, Val *x);
/* n elements side by side at an address of any space, aligned to their size */
void lg_load_shared(Lower *w, TsDtype t, Val address, int n, Val *x);
void lg_store_shared(Lower *w, TsDtype t, Val address, int n, const Val *x);
/* A copy_async statement's pieces in global memory, register by register of its layout. */
typedef struct Piece { Val address, bytes, in; int n, reg; } Piece;  /* bytes: i32, how many exist; in: i1, all or none does; both NULL: all n elements */
int lg_pieces(Lower *w, const TsTree *call, const Places *by, Piece *out, int max);

/* lower_gpu_shared.c: shared memory */
typedef struct {
	TsDtype elem;
	const TsLayout *layout;
	Val base;                         /* i32: byte offset of the buffer */
	int rank, axis[TS_LAY_RANK];      /* of the buffer; the tile's axis that lies along each of its axes, -1: none */
	Val start[TS_LAY_RANK];           /* i32 */
	int64_t multiple[TS_LAY_RANK];    /* of start */
	int64_t extent[TS_LAY_RANK];      /* of the tile, by its axes */
	int tile_rank;
} Shared;
Shared lg_shared(Lower *w, const TsTree *x);
Val lg_shared_at(Lower *w, Val offset);                          /* address of a byte offset */
int64_t lg_linear(const TsLayout *l, const int64_t *coord);      /* element offset without the swizzle */
Val lg_linear_of(Lower *w, const Shared *s, const Val *coord);   /* the same; coord: i32 by the buffer's axes, NULL: 0 */
Val lg_swizzled(Lower *w, const TsLayout *l, Val byte);
Frag lg_get(Lower *w, const TsTree *call, const TsTType *type);
void lg_put(Lower *w, const TsTree *call);
void lg_copy_async(Lower *w, const TsTree *call);
/* reduce(via = …): the sums of the warps that share the axis. dst holds this warp's, and then all. */
void lg_exchange(Lower *w, const TsTree *call, const Frag *src, int axis, const char *word, Frag *dst);

/* lower_gpu_async.c: rings, TMA, order */
bool lg_async(Lower *w, const TsTree *call);                     /* statements; false: not one of these */
Frag lg_position(Lower *w, const TsTree *call, const TsTType *type);
void lg_init_rings(Lower *w, const TsTree *kernel);
void lg_wait_parity(Lower *w, Val barrier, Val parity);

/* lower_gpu_mma.c: matrix instructions */
Frag lg_mma(Lower *w, const TsTree *call, const TsTType *type, const char *atom);
Frag lg_wait_mma(Lower *w, const TsTree *call, const TsTType *type);
