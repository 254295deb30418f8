/* What the reference functions share. Elements are held as double (floats), int64 (integers, bool) or pairs of double (complex),
 * whatever their declared type; the driver rounds or wraps each result to the declared type after its function ran. */
#pragma once
#include "ir/interp.h"

typedef struct { TsDtype elem; uint8_t rank; int64_t dim[TS_MAX_RANK]; int64_t n; double *f; int64_t *i; } TsNum; /* f: 2n for complex */

typedef struct TsEval TsEval;
/* One graph being evaluated. */
struct TsEval {
	TsModule *m;
	TsGraph *g;
	TsEvalMode mode;
	const TsTensor *inputs;
	TsNum **val;            /* of each value of the graph while it lives */
	uint32_t *last, *owner; /* last node of its block that uses a value; the block that made it */
	uint32_t blocks;
	int64_t *symbols, iteration;
	TS_VEC(TsSym) vars;
	TS_VEC(int64_t) counters;
	int64_t live;           /* bytes held */
};
TsNum *ev_new(TsEval *e, TsVal v);                       /* room for v at its sizes here; NULL after reporting */
void ev_free(TsEval *e, TsVal v);
bool ev_block(TsEval *e, const TsBlock *b);
void ev_end_block(TsEval *e, const TsBlock *b);          /* frees what its nodes made */
bool ev_kernel(TsEval *e, TsNode *n);

typedef struct {
	TsModule *m;
	TsNode *n;
	TsNum **in, *out;       /* absent operands are NULL; results have their shape and zeroed elements */
	bool exact;             /* TS_EVAL_F64 */
	TsDtype acc;
	const int64_t *symbols;
	int64_t iteration;      /* of all enclosing loops, counted together */
} TsRef;

#define OP(name, ins, attrs, flags, cls, types, shape, ref, adjoint, bound, doc) bool ref_##ref(TsRef *);
#include "ir/ops.def"

static inline bool tr_has(const TsRef *r, uint32_t k) { return k < r->n->nin && r->in[k]; }
/* A step inside an operator, at accumulator precision. */
static inline double tr_round(const TsRef *r, double x) { return r->exact || r->acc == TS_F64 ? x : r->acc == TS_F32 ? (float)x : ts_dtype_round(r->acc, x); }
/* One more term of a sum. The oracle of f64 must err less than what is compared with it: there, sums keep more than f64 does. */
static inline bool tr_is_finer(const TsRef *r) { return r->exact && r->acc == TS_F64; }
static inline long double tr_add(const TsRef *r, long double sum, long double x) { return tr_is_finer(r) ? sum + x : tr_round(r, (double)sum + (double)x); }
static inline double tr_get(const TsNum *x, int64_t i) { return x->f ? x->f[i] : (double)x->i[i]; }
void tr_copy(TsNum *to, int64_t o, const TsNum *from, int64_t i);       /* one element, same kind */
/* Steps of x in elements along the axes of a result of this rank, 0 where x is broadcast. */
void tr_strides(const TsNum *x, int rank, int64_t *stride);
/* Calls fn for each element o of a shape in row order, with the offset of each of n operands. */
typedef void TsEach(TsRef *r, const int64_t *at, int64_t o);
void tr_each(TsRef *r, int rank, const int64_t *dim, int n, int64_t (*stride)[TS_MAX_RANK], TsEach *fn);
