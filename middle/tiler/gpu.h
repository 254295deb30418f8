/* Blocks that the GPU schedule functions share: register layouts of tiles by extents, wide accesses and what they ask for, variants of a
 * kernel. They ask the target's row and the tunables, never a target's name. Private to middle/tiler. */
#pragma once
#include "middle/tiler/tiler.h"

/* ---- layouts of register tiles of one or two axes ---- */
enum { TS_LANES = 32 };
typedef struct { char axis; int extent, stride, dim; /* -1: copies */ } TsGDigit;
typedef struct { int rank, n; TsGDigit d[16]; } TsGLayout;
void ts_gl_put(TsGLayout *l, char axis, int extent, int stride, int dim);
/* A tile of extent[] (powers of two): `vec` neighbours along `fast` in a thread, then the lanes along it, then along the other axis; warps
 * first along `warp_dim`; what is left in registers. */
TsGLayout ts_gl_tile(int rank, int fast, const int *extent, int vec, int warps, int warp_dim);
/* The line `layout NAME[m, n] = …` without the axes that mask lacks. */
void ts_gl_print(TsKb *k, const TsGLayout *l, const char *name, uint32_t mask);
/* Prints NAME and, for two axes, NAMEm and NAMEn, and makes them the place's layouts. */
void ts_gl_place(TsKb *k, const TsGLayout *l, const char *name, TsPlace *p);
int ts_pow2(int64_t n); /* the power of two at or above n, at least 1 */

/* ---- wide accesses ---- */
/* What must be multiples of vec so that `vec` neighbours along a dim are one access. A constant that is none makes vec smaller. */
typedef struct { int vec; uint32_t n; TsDim d[48]; } TsWide;
void ts_wide_need(TsTl *t, TsWide *w, TsDim d);
/* All leaves of the region that run along dim `fast`. */
bool ts_wide_holds(TsTl *t, const TsWide *w, TsDim d); /* under the guard, d is a multiple of vec */
void ts_wide_region(TsTl *t, TsWide *w, const TsRegion *r, uint32_t fast);
void ts_wide_leaves(TsTl *t, TsWide *w, const TsRegion *r, uint32_t fast); /* the same, but a tile may end within an access */
/* Their sum of remainders: 0 where they are multiples (the dim 0: always). */
TsDim ts_wide_guard(TsTl *t, TsWide *w);
int ts_wide_vec(TsTl *t, const TsRegion *r, uint32_t fast); /* 16 bytes of the smallest element that runs along fast */
void ts_kb_wide(TsKb *k, const TsWide *w);                   /* this variant's guard holds */

/* ---- variants: kernels of one step share their parameters ---- */
enum { TS_VARIANTS = 32 };
typedef struct {
	const char *name;
	void (*write)(void *user, TsKb *k, int variant, TsChoice *c);
	void *user;
	int n;
	bool partial;               /* some sizes have no variant and are refused when they come; else the last one takes what is left */
} TsVariants;
void ts_gpu_emit(TsJob *j, const TsVariants *v);
TsDim ts_over(TsTl *t, TsDim d, int64_t most);               /* max(d - most, 0): a guard that d <= most */
TsDim ts_under(TsTl *t, TsDim d, int64_t least);             /* max(least - d, 0): a guard that d >= least */
TsDim ts_grid_cells(TsTl *t, TsDim cells, TsDim size, int step);
/* Is d known to be a multiple of n? */
bool ts_whole(TsTl *t, TsDim d, int64_t n);
int ts_elem_bytes(TsDtype t);                                /* in registers and shared memory, at least 1 */

/* ---- operands of kernels that walk tiles of [x, y] ---- */
typedef struct { const char *text; TsDim size, stride; } TsAxisAt;
typedef struct {
	TsReal real;                /* its buffer and offset */
	uint32_t n;
	TsAxisAt at[TS_MAX_ITER];   /* axes at one index each: batches */
	TsDim size[2], stride[2];   /* of x and y */
} TsOperand;
/* The parameter; *prefix: the text of the indices in front of x and y. */
const char *ts_gpu_operand(TsKb *k, const TsOperand *o, const char **prefix);
TsDim ts_gpu_batches(const TsJob *j, uint32_t n);                              /* how many, of the first n axes */
void ts_gpu_batch(TsKb *k, const TsJob *j, uint32_t n, const char *at);       /* b0.. of batch number `at` */
/* Asks for wide accesses along axis `fast` of the operand. */
void ts_wide_operand(TsTl *t, TsWide *w, const TsOperand *o, int fast);
bool ts_operand_is_map(TsTl *t, const TsOperand *o);         /* can TMA walk it: four axes, none of stride 1 but one of x and y */
int ts_operand_fast(TsTl *t, const TsOperand *o);            /* the axis along which it is contiguous; -1: none is */

/* ---- pointwise chains of long rows of any length, in one dim (gpu_span.c) ---- */
bool ts_span_fits(const TsJob *j, int tile);
void ts_span_wide(TsTl *t, TsWide *w, const TsJob *j);       /* what accesses of w->vec elements ask for */
TsDim ts_span_guard(const TsJob *j, int tile);               /* rows no shorter than a tile, fewer than 2^31 elements */
void ts_span_write(TsKb *k, const TsJob *j, int vec, int tile, TsChoice *c);

/* ---- operands read across beside rows of any length (gpu_turned.c) ---- */
enum { TS_MOST_TURNED = 2 };
typedef struct { uint32_t fast, other, n, id[TS_MOST_TURNED] /* what is read across */; int vec; } TsTurned;
bool ts_turned_fits(const TsJob *j, uint32_t fast, uint32_t other);
TsDim ts_turned_guard(const TsJob *j, uint32_t fast, uint32_t other);
/* grid: writes the line of the grid over tiles at p, and p's bases. */
void ts_turned_write(TsKb *k, const TsJob *j, const TsTurned *w, void (*grid)(TsKb *k, const TsJob *j, TsPlace *p, TsDim *cells), TsChoice *c);

/* ---- registers (gpu_needs.c) ---- */
/* Of a thread, while the region's value is made: for each element it has of a tile over the dims a and b, and whatever their number. */
typedef struct { int values, loads /* among them */, fixed; } TsNeeds;
TsNeeds ts_region_needs(TsTl *t, const TsRegion *r, uint32_t value, uint32_t a, uint32_t b);
/* Elements of a thread at a time: `part`, or a half of it, and so on down to `least`, that fit into `room` registers. */
int ts_needs_part(const TsNeeds *n, int part, int least, int room);
