/* Kernels of the user's (docs/tg.md, Kernels) become operators on whole tensors: a tile along a variable becomes the axis that the tiles
 * cover, an index that a variable gives becomes a leading axis, and a loop that adds up, keeps the largest or runs an online softmax
 * becomes one sum, reduction or softmax. What fuses and how it is tiled is then the schedule's, as for any graph. This is the inside,
 * shared by kernel_lift.c (values) and kernel_loop.c (loops). */
#pragma once
#include "ir/graph.h"

typedef struct Online Online;
typedef enum { LIFT_PLAIN, LIFT_COUNT /* iota of a tile, before its place is added */, LIFT_PLACE /* a variable and `add` as a number */,
	LIFT_MOST, LIFT_SUM, LIFT_ACC /* of an online softmax, made when asked for */ } LiftRole;

/* A value of a cell on the outside: leading axes for the variables in `batch` (bits, by number), then the tile's own. */
typedef struct Lifted {
	TsVal v;
	uint64_t batch;
	uint8_t rank;
	int8_t along[TS_MAX_RANK];   /* the variable whose tiles an axis covers, or -1 */
	int8_t partial;              /* the loop's variable along which this is already complete, so that it may only be summed; -1 */
	TsOp kind;                   /* of the partial value: sum, max or min */
	LiftRole role;
	bool column;                 /* LIFT_SUM, LIFT_MOST: [R, 1] */
	int8_t var;                  /* LIFT_COUNT, LIFT_PLACE */
	TsDim add;
	TsDtype elem;
	Online *online;
	TsVal product;               /* LIFT_ACC: what is accumulated; its first value */
	TsVal begin;
} Lifted;

typedef struct {
	TsModule *m;
	TsGraph *g;                  /* the caller */
	TsBlock *b;                  /* where operators go */
	const TsUserKernel *k;
	TsGraph *cell;
	const TsNumerics *num;
	Lifted *of;                  /* by value of the cell */
	TsVal first;                 /* values from here on were made for this call */
	bool failed;
} Lift;

/* A softmax that a loop over tiles builds up. */
struct Online {
	TsNode *node;                /* s, m, l -> m1, l1, p */
	TsFor *loop;
	int var;
	uint32_t m, l;               /* carried values */
	TsVal m0, l0;                /* what they begin with */
	bool plain;                  /* they begin as -inf and 0 */
	const uint8_t *linear;       /* values of the body that scale with p */
	TsVal most, exps, softmax;   /* outside, once made: row maxima, exp(s - m), the softmax; shaped as s */
};

TsVal lift_op(Lift *l, TsOp op, uint32_t n, const TsVal *in, const TsAttr *attr, TsSpan at);
TsVal lift_shaped(Lift *l, TsOp op, TsVal v, uint32_t rank, const TsDim *dim, TsSpan at); /* reshape, broadcast */
TsVal lift_reduce(Lift *l, TsOp op, TsVal v, uint32_t axis, bool keep, TsSpan at);
TsVal lift_scalar(Lift *l, TsDtype t, double x, TsSpan at);
uint32_t lift_leading(uint64_t batch);                              /* its number of axes */
/* x with these leading axes and this many of its own, 1 where it has none; broadcasting does the rest. */
TsVal lift_align(Lift *l, const Lifted *x, uint64_t batch, uint32_t rank, TsSpan at);
TsDim lift_extent(Lift *l, int var);
int lift_var(Lift *l, TsDim symbol);                                /* its number, or -1 */
bool lift_fail(Lift *l, TsSpan at, const char *what);               /* E_NOT_YET; false */
bool lift_node(Lift *l, TsNode *n);
bool lift_for(Lift *l, TsNode *n, uint64_t from_zero);              /* from_zero: carried values to be counted from 0 */
bool lift_force(Lift *l, Lifted *x, TsSpan at);                     /* a value that was made when asked for */
bool lift_online_value(Lift *l, Lifted *x, TsSpan at);             /* of LIFT_MOST, LIFT_SUM, LIFT_ACC */
bool lift_axes(Lift *l, TsVal v, TsSpan at, Lifted *to, TsDim *dim); /* rank, type and axes of a cell's value, on the outside */
bool lift_divide(Lift *l, const Lifted *a, const Lifted *b, TsSpan at, Lifted *out); /* acc / l of one online softmax */
bool lift_is_splat(Lift *l, TsVal v, double x);                     /* a number everywhere */
