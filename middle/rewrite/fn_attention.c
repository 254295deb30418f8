/* Attention in any spelling: a product p @ v whose p is a softmax over the last axis of something that, peeled of scales, biases and
 * masks, is q @ k^T. */
#include "mask.h"
#include "poly.h"
#include <math.h>
#include <string.h>

enum { MAX_PEEL = 24 };
/* A literal this low, also after scaling, takes a column out of a softmax. */
static const double low = -1e4, low_scaled = -1e3;

typedef struct {
	TsMatch *m;
	TsVal q, k, v, bias;
	double scale;
	TsBand band;
	double fill;               /* what masked scores become: -inf, or the largest finite one met */
} Attention;

static bool is_one(const TsMatch *m, TsDim d) { int64_t v; return ts_dim_is_const(m->rw->m->dims, d, &v) && v == 1; }
static bool is_float(const TsMatch *m, TsVal v) { return ts_dtype_is_float(ts_rw_type(m, v)->elem); }

static TsVal strip_float_cast(TsMatch *m, TsVal v)
{
	TsNode *n;
	while (ts_rw_is(m, v, TS_OP_cast, &n) && is_float(m, v) && is_float(m, ts_rw_in(m, n, 0))) v = ts_rw_in(m, n, 0);
	return v;
}

/* v = inner * c: multiplied or divided by a literal. */
static bool peel_scale(TsMatch *m, TsVal *v, double *scale)
{
	TsNode *n = ts_rw_def(m, *v);
	double c;
	if (!n || (n->op != TS_OP_mul && n->op != TS_OP_div)) return false;
	uint32_t at = 1;
	bool found = ts_rw_uniform(m, ts_rw_in(m, n, 1), &c);
	if (!found && n->op == TS_OP_mul) at = 0, found = ts_rw_uniform(m, ts_rw_in(m, n, 0), &c);
	if (!found || !isfinite(c) || c <= 0) return false;
	TsVal inner = ts_rw_in(m, n, !at);
	if (!ts_type_eq(ts_rw_type(m, inner), ts_rw_type(m, *v))) return false;
	*scale *= n->op == TS_OP_mul ? c : 1 / c;
	*v = inner;
	return true;
}

/* Does the chain of scales, masks and biases from v lead to a matmul? Looks at *budget nodes at most. */
static bool reaches_matmul(TsMatch *m, TsVal v, int *budget)
{
	TsNode *n = ts_rw_def(m, v);
	if (!n || --*budget < 0) return false;
	switch ((int)n->op) {
	case TS_OP_matmul: return true;
	case TS_OP_cast: case TS_OP_div: case TS_OP_sub: return reaches_matmul(m, ts_rw_in(m, n, 0), budget);
	case TS_OP_mul: case TS_OP_add: return reaches_matmul(m, ts_rw_in(m, n, 0), budget) || reaches_matmul(m, ts_rw_in(m, n, 1), budget);
	case TS_OP_where: return reaches_matmul(m, ts_rw_in(m, n, 1), budget) || reaches_matmul(m, ts_rw_in(m, n, 2), budget);
	default: return false;
	}
}

static bool leads_to_scores(TsMatch *m, TsVal v)
{
	int budget = 64;
	return reaches_matmul(m, v, &budget);
}

static bool add_fill(Attention *a, double x)
{
	if (!(x <= low) || !(x * a->scale <= low_scaled)) return false;
	if (!isinf(x)) a->fill = isinf(a->fill) ? x * a->scale : fmax(a->fill, x * a->scale);
	return true;
}

/* where(c, s, low) or where(c, low, s) */
static bool peel_where(Attention *a, const TsNode *n, TsVal *s)
{
	TsMatch *m = a->m;
	TsVal c = ts_rw_in(m, n, 0);
	double x;
	for (uint32_t at = 1; at <= 2; at++) {
		if (!ts_rw_uniform(m, ts_rw_in(m, n, at), &x) || !add_fill(a, x)) continue;
		*s = ts_rw_in(m, n, 3 - at);
		return ts_band_add(m, &a->band, c, at == 1);
	}
	return false;
}

/* An additive mask where(c, 0, low), or a table of such, with nothing else in it is a mask when every row keeps a column, or when low
 * is -inf. */
static bool bias_is_mask(Attention *a, TsVal b)
{
	TsMatch *m = a->m;
	TsNode *n;
	double x, zero;
	b = strip_float_cast(m, b);
	TsBand band = a->band;
	if (ts_band_add_table(m, &band, b, fmin(low, low_scaled / a->scale)) && ts_band_has_every_row(&band)) return a->band = band, true;
	while (ts_rw_is(m, b, TS_OP_broadcast, &n) || ts_rw_is(m, b, TS_OP_reshape, &n)) {
		TsVal in = ts_rw_in(m, n, 0);
		if (n->op == TS_OP_reshape && !ts_rw_broadcasts(m, ts_rw_type(m, in), ts_rw_type(m, b))) return false;
		b = in;
	}
	if (!ts_rw_is(m, b, TS_OP_where, &n)) return false;
	for (uint32_t at = 1; at <= 2; at++) {
		band = a->band;
		if (!ts_rw_uniform(m, ts_rw_in(m, n, at), &x) || !ts_rw_uniform(m, ts_rw_in(m, n, 3 - at), &zero) || zero != 0 || !(x <= low) || !(x * a->scale <= low_scaled)) continue;
		if (!ts_band_add(m, &band, ts_rw_in(m, n, 0), at == 1)) continue;
		if (!isinf(x) && !ts_band_has_every_row(&band)) continue;
		a->band = band;
		return true;
	}
	return false;
}

static bool add_bias(Attention *a, TsVal b, bool negated)
{
	TsMatch *m = a->m;
	if (!negated && bias_is_mask(a, b)) return true;
	if (negated) b = ts_rw_op(m, TS_OP_neg, 1, &b, NULL);
	if (a->scale != 1) b = ts_rw_op(m, TS_OP_mul, 2, (TsVal[]){ b, ts_rw_scalar(m, ts_rw_type(m, b)->elem, a->scale) }, NULL);
	a->bias = a->bias ? ts_rw_op(m, TS_OP_add, 2, (TsVal[]){ a->bias, b }, NULL) : b;
	return true;
}

/* One layer off the scores; false when it is none that attention knows. */
static bool peel(Attention *a, TsVal *s)
{
	TsMatch *m = a->m;
	TsNode *n = ts_rw_def(m, *s);
	if (peel_scale(m, s, &a->scale)) return true;
	switch ((int)n->op) {
	case TS_OP_cast:
		if (!is_float(m, ts_rw_in(m, n, 0))) return false;
		*s = ts_rw_in(m, n, 0);
		return true;
	case TS_OP_where: return peel_where(a, n, s);
	case TS_OP_sub: {
		TsVal b = ts_rw_in(m, n, 1);
		*s = ts_rw_in(m, n, 0);
		return leads_to_scores(m, *s) && add_bias(a, b, true);
	}
	case TS_OP_add: {
		uint32_t at = leads_to_scores(m, ts_rw_in(m, n, 0)) ? 0 : 1;
		*s = ts_rw_in(m, n, at);
		return leads_to_scores(m, *s) && add_bias(a, ts_rw_in(m, n, !at), false);
	}
	default: return false;
	}
}

static bool same_shape(const TsType *a, const TsType *b) { return a->rank == b->rank && !memcmp(a->dim, b->dim, a->rank * sizeof *a->dim); }

/* k from its transpose: the views compose, so that k's own layout comes out. */
static TsVal untransposed(Attention *a, TsVal kt)
{
	TsMatch *m = a->m;
	TsNode *n;
	int64_t perm[TS_MAX_RANK];
	uint32_t rank = ts_rw_type(m, kt)->rank;
	TsVal x = kt;
	for (uint32_t i = 0; i < rank; i++) perm[i] = i;
	if (ts_rw_is(m, kt, TS_OP_transpose, &n)) {
		x = ts_rw_in(m, n, 0);
		ts_rw_perm(m, n, perm);
		while (peel_scale(m, &x, &a->scale)) {}
	}
	int64_t last = perm[rank - 1];
	perm[rank - 1] = perm[rank - 2];
	perm[rank - 2] = last;
	for (uint32_t i = 0; i < rank; i++)
		if (perm[i] != (int64_t)i) return ts_rw_transpose(m, x, rank, perm);
	return x;
}

/* p = softmax of the scores: fills q, k and everything between. */
static bool read_scores(Attention *a, TsVal p)
{
	TsMatch *m = a->m;
	TsNode *n;
	p = strip_float_cast(m, p);
	if (!ts_rw_is(m, p, TS_OP_softmax, &n) || !ts_rw_once(m, p)) return false;
	TsVal s = ts_rw_in(m, n, 0);
	const TsType shape = *ts_rw_type(m, s);
	if (shape.rank < 2 || ts_rw_axes(m, n) != 1u << (shape.rank - 1)) return false;
	for (int i = 0; !ts_rw_is(m, s, TS_OP_matmul, &n); i++)
		if (i == MAX_PEEL || !ts_rw_def(m, s) || !peel(a, &s)) return false;
	if (!same_shape(ts_rw_type(m, s), &shape)) return false;
	TsVal kt = ts_rw_in(m, n, 1);
	a->q = ts_rw_in(m, n, 0);
	while (peel_scale(m, &a->q, &a->scale)) {}
	while (peel_scale(m, &kt, &a->scale)) {}
	a->k = untransposed(a, kt);
	return true;
}

/* ---- heads ---------------------------------------------------------------------------------------------------------------------- */
/* x[B, G, 1, T, D] repeated to [B, G, R, T, D] and read as [B, G*R, T, D]: its [B, G, T, D], else 0. */
static TsVal unrepeated(TsMatch *m, TsVal v)
{
	TsNode *join, *repeat;
	if (!ts_rw_is(m, v, TS_OP_reshape, &join) || !ts_rw_is(m, ts_rw_in(m, join, 0), TS_OP_broadcast, &repeat)) return 0;
	const TsType to = *ts_rw_type(m, v), wide = *ts_rw_type(m, repeat->out[0]), one = *ts_rw_type(m, ts_rw_in(m, repeat, 0));
	if (to.rank != 4 || wide.rank != 5 || one.rank != 5 || !is_one(m, one.dim[2])) return 0;
	TsDim flat[4] = { one.dim[0], one.dim[1], one.dim[3], one.dim[4] };
	if (wide.dim[0] != one.dim[0] || wide.dim[1] != one.dim[1] || wide.dim[3] != one.dim[3] || wide.dim[4] != one.dim[4]) return 0;
	if (to.dim[0] != flat[0] || to.dim[1] != ts_dim_mul(m->rw->m->dims, wide.dim[1], wide.dim[2]) || to.dim[2] != flat[2] || to.dim[3] != flat[3]) return 0;
	return ts_rw_reshape(m, ts_rw_in(m, repeat, 0), 4, flat);
}

/* [S, D] and [N, S, D] get heads of 1; [B, G, R, S, D] and [B, G, 1, S, D] join G and R. */
static TsVal to_rank4(TsMatch *m, TsVal x)
{
	TsDims *d = m->rw->m->dims;
	const TsType t = *ts_rw_type(m, x);
	TsDim one = ts_dim_const(d, 1);
	switch (t.rank) {
	case 2: return ts_rw_reshape(m, x, 4, (TsDim[]){ one, one, t.dim[0], t.dim[1] });
	case 3: return ts_rw_reshape(m, x, 4, (TsDim[]){ t.dim[0], one, t.dim[1], t.dim[2] });
	case 4: return x;
	case 5: return ts_rw_reshape(m, x, 4, (TsDim[]){ t.dim[0], ts_dim_mul(d, t.dim[1], t.dim[2]), t.dim[3], t.dim[4] });
	default: return 0;
	}
}

/* A mask or bias in the scores' four axes; 0 when it does not fit. */
static TsVal mask_to_rank4(TsMatch *m, TsVal x, int rank)
{
	const TsType t = *ts_rw_type(m, x);
	TsDim one = ts_dim_const(m->rw->m->dims, 1);
	if (t.rank <= 2 || rank == 4) return x;
	if (rank == 3) return ts_rw_reshape(m, x, 4, (TsDim[]){ t.dim[0], one, t.dim[1], t.dim[2] });
	TsDim full[5] = { one, one, one, one, one };
	memcpy(full + 5 - t.rank, t.dim, t.rank * sizeof *t.dim);
	if (rank != 5 || t.rank > 5 || !is_one(m, full[1]) || !is_one(m, full[2])) return 0;
	return ts_rw_reshape(m, x, 4, (TsDim[]){ full[0], one, full[3], full[4] });
}

/* A widening cast in front of an operand goes when that makes the types equal. */
static TsVal narrowed(TsMatch *m, TsVal x, TsDtype want)
{
	TsNode *n;
	if (ts_rw_type(m, x)->elem != want && ts_rw_is(m, x, TS_OP_cast, &n) && ts_rw_type(m, ts_rw_in(m, n, 0))->elem == want) return ts_rw_in(m, n, 0);
	return x;
}

/* What ts_infer demands of attention, decided without asking at run time. */
static bool fits(TsMatch *m, TsVal q, TsVal k, TsVal v)
{
	TsDims *d = m->rw->m->dims;
	const TsType *tq = ts_rw_type(m, q), *tk = ts_rw_type(m, k), *tv = ts_rw_type(m, v);
	if (tq->elem != tk->elem || tq->elem != tv->elem || tq->dim[0] != tk->dim[0] || tq->dim[0] != tv->dim[0]) return false;
	if (tk->dim[1] != tv->dim[1] || tk->dim[2] != tv->dim[2] || tq->dim[3] != tk->dim[3]) return false;
	TsDim groups = tq->dim[1] == tk->dim[1] ? ts_dim_const(d, 1) : ts_dim_floordiv(d, tq->dim[1], tk->dim[1]);
	return groups != TS_DIM_BAD && ts_dim_mul(d, tk->dim[1], groups) == tq->dim[1];
}

/* ---- building -------------------------------------------------------------------------------------------------------------------- */
static TsVal conjunction(TsMatch *m, const TsBand *b)
{
	TsVal all = 0;
	for (int i = 0; i < b->nrest; i++) all = all ? ts_rw_op(m, TS_OP_and, 2, (TsVal[]){ all, b->rest[i] }, NULL) : b->rest[i];
	return all;
}

/* Masks with a finite fill stay additive: a row without any column keeps the mean it had, where a mask would give 0. */
static void finite_masks(Attention *a, TsVal *mask)
{
	TsMatch *m = a->m;
	*mask = conjunction(m, &a->band);
	if (isinf(a->fill) || !*mask) return;
	TsDtype t = ts_rw_type(m, a->q)->elem;
	TsVal b = ts_rw_op(m, TS_OP_where, 3, (TsVal[]){ *mask, ts_rw_scalar(m, t, 0), ts_rw_scalar(m, t, a->fill) }, NULL);
	*mask = 0;
	a->bias = a->bias ? ts_rw_op(m, TS_OP_add, 2, (TsVal[]){ a->bias, b }, NULL) : b;
}

static bool set_band(Attention *a, TsAttr *at, TsVal *offset)
{
	TsMatch *m = a->m;
	const TsBand *b = &a->band;
	*offset = 0;
	if (!isinf(a->fill) && !ts_band_has_every_row(&(TsBand){ .causal = b->causal, .offset = b->offset, .dynamic = b->dynamic, .windowed = b->windowed, .lower = b->lower })) return false;
	if (b->windowed && b->dynamic) return false;
	int64_t shift = b->causal ? b->offset : 0, width = shift + b->lower + 1;
	if (b->causal) ts_rw_attr_of(m, TS_OP_attention, at, "causal")->i = 1;
	if (b->windowed) {
		if (width < 1) return false;
		ts_rw_attr_of(m, TS_OP_attention, at, "window")->i = width;
	}
	if (b->dynamic) {
		*offset = b->dynamic;
		if (shift) *offset = ts_rw_op(m, TS_OP_add, 2, (TsVal[]){ b->dynamic, ts_rw_scalar(m, ts_rw_type(m, b->dynamic)->elem, (double)shift) }, NULL);
	} else if (shift) *offset = ts_rw_scalar(m, TS_INT64, (double)shift);
	return true;
}

static void set_scale(Attention *a, TsAttr *at, TsVal q)
{
	const TsType *t = ts_rw_type(a->m, q);
	int64_t width;
	if (ts_dim_is_const(a->m->rw->m->dims, t->dim[3], &width) && width > 0 && ts_rw_near(TS_F32, a->scale, 1 / sqrt((double)width))) return;
	float rounded = (float)a->scale;
	ts_rw_attr_of(a->m, TS_OP_attention, at, "scale")->f = t->elem == TS_F64 ? a->scale : ts_rw_snap(TS_F32, rounded);
}

static TsVal build(Attention *a)
{
	TsMatch *m = a->m;
	int rank = ts_rw_type(m, a->q)->rank;
	TsVal mask, offset, alone;
	TsAttr *at = ts_rw_attrs(m, TS_OP_attention);
	if (rank < 2 || rank > 5 || ts_rw_type(m, a->k)->rank != rank || ts_rw_type(m, a->v)->rank != rank) return 0;
	if (!set_band(a, at, &offset)) return 0;
	finite_masks(a, &mask);
	a->q = narrowed(m, a->q, ts_rw_type(m, a->v)->elem);
	a->k = narrowed(m, a->k, ts_rw_type(m, a->v)->elem);
	if ((alone = unrepeated(m, a->k))) {
		TsVal v = unrepeated(m, a->v);
		if (v) a->k = alone, a->v = v;
	}
	TsVal q = to_rank4(m, a->q), k = to_rank4(m, a->k), v = to_rank4(m, a->v);
	if (mask && !(mask = mask_to_rank4(m, mask, rank))) return 0;
	if (a->bias && !(a->bias = mask_to_rank4(m, a->bias, rank))) return 0;
	if (!fits(m, q, k, v)) return 0;
	if (a->bias && ts_rw_type(m, a->bias)->elem != ts_rw_type(m, q)->elem && ts_rw_type(m, a->bias)->elem != TS_F32) return 0;
	set_scale(a, at, q);
	TsVal y = ts_rw_op(m, TS_OP_attention, 6, (TsVal[]){ q, k, v, mask, a->bias, offset }, at);
	const TsType t = *ts_rw_type(m, m->root->out[0]);
	return rank == 4 ? y : ts_rw_reshape(m, y, t.rank, t.dim);
}

RW_VALUE(spelled_attention)
{
	Attention at = { .m = m, .v = a[1].v, .scale = 1, .fill = -INFINITY };
	return read_scores(&at, a[0].v) ? build(&at) : 0;
}

/* ---- softmax whose division comes after the product ---------------------------------------------------------------------------------- */
RW_COND(last_axis)
{
	int rank = ts_rw_type(m, a[0].v)->rank;
	return !a[1].attr->none && a[1].attr->n == 1 && a[1].attr->ints[0] == rank - 1;
}

RW_VALUE(late_softmax)
{
	TsNode *exp = ts_rw_def(m, a[0].v);
	TsAttr *at = ts_rw_attrs(m, TS_OP_softmax), *axis = ts_rw_attr_of(m, TS_OP_softmax, at, "axis");
	TsVal x = ts_rw_in(m, exp, 0);
	axis->n = 1;
	axis->ints = TS_NEW(m->rw->a, int64_t);
	axis->ints[0] = ts_rw_type(m, x)->rank - 1;
	TsVal p = ts_rw_op(m, TS_OP_softmax, 1, &x, at);
	return ts_rw_op(m, TS_OP_matmul, 2, (TsVal[]){ p, a[1].v }, NULL);
}
