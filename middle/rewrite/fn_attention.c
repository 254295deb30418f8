/* Attention in any spelling: a product p @ v whose p is a softmax over the last axis of something that, peeled of scales, biases and
 * masks, is q @ k^T. */
#include "mask.h"
#include "poly.h"
#include <float.h>
#include <math.h>
#include <string.h>

enum { MAX_PEEL = 24, MAX_NUMBERS = 4 };

/* A mask or a bias on the scores: where(v, s, x), flipped: where(v, x, s); or s + v, flipped: s - v. */
typedef struct {
	bool fill, flipped;
	TsVal v;
	double x, scale;           /* scale: what lies further out multiplies it with */
	bool taken;                /* the band says it */
} Layer;

typedef struct {
	TsMatch *m;
	TsVal q, k, v, bias;
	double scale;
	struct { TsVal v; bool under; } number[MAX_NUMBERS]; /* known at run time alone: beside the scale, times it or (under) dividing it */
	int nnumbers;
	TsDtype compute;           /* of the scores inside attention */
	double low, largest;       /* a finite fill lies between -largest and low, scaled */
	Layer layer[MAX_PEEL];     /* the outermost first */
	int nlayers;
	TsBand band;
} Attention;

static bool is_one(const TsMatch *m, TsDim d) { int64_t v; return ts_dim_is_const(m->rw->m->dims, d, &v) && v == 1; }
static bool is_number(const TsMatch *m, TsVal v)
{
	const TsType *t = ts_rw_type(m, v);
	for (uint32_t i = 0; i < t->rank; i++)
		if (!is_one(m, t->dim[i])) return false;
	return true;
}
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

/* v = inner * c or inner / c, c a number that is known at run time alone. */
static bool peel_number(Attention *a, TsVal *v)
{
	TsMatch *m = a->m;
	TsNode *n = ts_rw_def(m, *v);
	if (a->nnumbers == MAX_NUMBERS || !n || (n->op != TS_OP_mul && n->op != TS_OP_div)) return false;
	for (uint32_t at = n->op == TS_OP_div; at < 2; at++) {
		TsVal c = ts_rw_in(m, n, at), inner = ts_rw_in(m, n, !at);
		double known;
		if (!is_number(m, c) || ts_rw_uniform(m, c, &known) || !ts_type_eq(ts_rw_type(m, inner), ts_rw_type(m, *v))) continue;
		a->number[a->nnumbers].v = c;
		a->number[a->nnumbers++].under = n->op == TS_OP_div;
		*v = inner;
		return true;
	}
	return false;
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

static double largest_of(TsDtype t) { return t == TS_F64 ? DBL_MAX : t == TS_F32 ? FLT_MAX : t == TS_BF16 ? 0x1.fep127 : t == TS_F16 ? 65504 : 0; }

/* Attention adds its mask to the scores where the text replaces them. With -inf that is the same; with a finite c it is where s + c = c
 * for every score. The spacing of f32 at -1e30 and below is 2^76 and more, of f64 at -1e40 2^80: scores up to 2^75 vanish. A fill nearer
 * to zero can meet real scores and is left alone, and so is one that a type further out cannot hold. */
static bool is_low(const Attention *a, double x) { return x == -INFINITY || (x * a->scale <= a->low && -x * a->scale <= a->largest); }

static bool push(Attention *a, Layer l)
{
	if (a->nlayers == MAX_PEEL || a->nnumbers) return false; /* what lies further in would be multiplied with the factor */
	l.scale = a->scale;
	a->layer[a->nlayers++] = l;
	return true;
}

/* where(c, s, low) or where(c, low, s) */
static bool peel_where(Attention *a, const TsNode *n, TsVal *s)
{
	TsMatch *m = a->m;
	double x;
	for (uint32_t at = 1; at <= 2; at++) {
		if (!ts_rw_uniform(m, ts_rw_in(m, n, at), &x) || !is_low(a, x)) continue;
		*s = ts_rw_in(m, n, 3 - at);
		return push(a, (Layer){ .fill = true, .flipped = at == 1, .v = ts_rw_in(m, n, 0), .x = x });
	}
	return false;
}

/* One layer off the scores; false when it is none that attention knows. */
static bool peel(Attention *a, TsVal *s)
{
	TsMatch *m = a->m;
	TsNode *n = ts_rw_def(m, *s);
	a->largest = fmin(a->largest, largest_of(ts_rw_type(m, *s)->elem) * a->scale);
	if (peel_scale(m, s, &a->scale) || peel_number(a, s)) return true;
	switch ((int)n->op) {
	case TS_OP_cast:
		if (!is_float(m, ts_rw_in(m, n, 0))) return false;
		*s = ts_rw_in(m, n, 0);
		return true;
	case TS_OP_where: return peel_where(a, n, s);
	case TS_OP_sub: {
		TsVal b = ts_rw_in(m, n, 1);
		*s = ts_rw_in(m, n, 0);
		return leads_to_scores(m, *s) && push(a, (Layer){ .flipped = true, .v = b });
	}
	case TS_OP_add: {
		uint32_t at = leads_to_scores(m, ts_rw_in(m, n, 0)) ? 0 : 1;
		*s = ts_rw_in(m, n, at);
		return leads_to_scores(m, *s) && push(a, (Layer){ .v = ts_rw_in(m, n, !at) });
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
		while (peel_scale(m, &x, &a->scale) || peel_number(a, &x)) {}
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
	a->band.rows = shape.dim[shape.rank - 2];
	a->band.cols = shape.dim[shape.rank - 1];
	TsVal kt = ts_rw_in(m, n, 1);
	a->q = ts_rw_in(m, n, 0);
	while (peel_scale(m, &a->q, &a->scale) || peel_number(a, &a->q)) {}
	while (peel_scale(m, &kt, &a->scale) || peel_number(a, &kt)) {}
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

/* An additive mask where(c, 0, x), or a table of such, as a band. x is -inf, or as low as a fill where a finite one will do. */
static bool bias_is_mask(const Attention *a, const Layer *l, bool finite, TsBand *band)
{
	TsMatch *m = a->m;
	TsNode *n;
	double x, zero, lowest = finite ? a->low / l->scale : -INFINITY;
	if (l->flipped) return false;
	TsVal b = strip_float_cast(m, l->v);
	const TsBand was = *band;
	if (ts_band_add_table(m, band, b, lowest)) return true;
	while (ts_rw_is(m, b, TS_OP_broadcast, &n) || ts_rw_is(m, b, TS_OP_reshape, &n)) {
		TsVal in = ts_rw_in(m, n, 0);
		if (n->op == TS_OP_reshape && !ts_rw_broadcasts(m, ts_rw_type(m, in), ts_rw_type(m, b))) return false;
		b = in;
	}
	if (!ts_rw_is(m, b, TS_OP_where, &n)) return false;
	for (uint32_t at = 1; at <= 2; at++) {
		*band = was;
		if (!ts_rw_uniform(m, ts_rw_in(m, n, at), &x) || !ts_rw_uniform(m, ts_rw_in(m, n, 3 - at), &zero) || zero != 0 || !(x <= lowest)) continue;
		if (ts_band_add(m, band, ts_rw_in(m, n, 0), at == 1)) return true;
	}
	*band = was;
	return false;
}

/* All there is on the scores is one band in which every row keeps a column: then it does not matter what the other columns hold. */
static bool only_a_band(Attention *a)
{
	TsBand band = a->band;
	for (int i = 0; i < a->nlayers; i++) {
		const Layer *l = &a->layer[i];
		if (l->fill ? !ts_band_add(a->m, &band, l->v, l->flipped) : !bias_is_mask(a, l, true, &band)) return false;
	}
	if (!ts_band_has_every_row(a->m, &band)) return false;
	a->band = band;
	for (int i = 0; i < a->nlayers; i++) a->layer[i].taken = true;
	return true;
}

/* Masks of -inf become the band and the boolean mask, but not under a finite fill, which takes their place where both hold. */
static bool read_masks(Attention *a)
{
	const Layer *over = NULL;
	if (only_a_band(a)) return true;
	for (int i = 0; i < a->nlayers; i++) {
		Layer *l = &a->layer[i];
		if (l->fill && isfinite(l->x)) {
			if (over && over->scale != l->scale) return false; /* which of the two is lower hangs on roundings */
			over = l;
		} else if (!over && l->fill) {
			if (!ts_band_add(a->m, &a->band, l->v, l->flipped)) return false;
			l->taken = true;
		} else if (!over) l->taken = bias_is_mask(a, l, false, &a->band);
	}
	return true;
}

static TsVal as_type(TsMatch *m, TsVal v, TsDtype t)
{
	if (ts_rw_type(m, v)->elem == t) return v;
	TsAttr *at = ts_rw_attrs(m, TS_OP_cast);
	ts_rw_attr_of(m, TS_OP_cast, at, "dtype")->t = t;
	return ts_rw_op(m, TS_OP_cast, 1, &v, at);
}

static TsVal scaled_bias(TsMatch *m, const Layer *l)
{
	TsVal b = l->v;
	if (l->flipped) b = ts_rw_op(m, TS_OP_neg, 1, &b, NULL);
	if (l->scale != 1) b = ts_rw_op(m, TS_OP_mul, 2, (TsVal[]){ b, ts_rw_scalar(m, ts_rw_type(m, b)->elem, l->scale) }, NULL);
	return b;
}

/* What is no band, as one bias, from the innermost on. Finite fills stay numbers: a row of nothing else keeps the mean it had, where a
 * mask would give 0. */
static void finite_masks(Attention *a)
{
	TsMatch *m = a->m;
	TsVal b = 0;
	for (int i = a->nlayers - 1; i >= 0; i--) {
		const Layer *l = &a->layer[i];
		if (l->taken) continue;
		if (l->fill) {
			TsVal in = b ? as_type(m, b, a->compute) : ts_rw_scalar(m, a->compute, 0), x = ts_rw_scalar(m, a->compute, l->x * l->scale);
			b = ts_rw_op(m, TS_OP_where, 3, (TsVal[]){ l->v, l->flipped ? x : in, l->flipped ? in : x }, NULL);
			continue;
		}
		TsVal c = scaled_bias(m, l);
		if (b && ts_rw_type(m, b)->elem != ts_rw_type(m, c)->elem) b = as_type(m, b, a->compute), c = as_type(m, c, a->compute);
		b = b ? ts_rw_op(m, TS_OP_add, 2, (TsVal[]){ c, b }, NULL) : c;
	}
	a->bias = b;
}

static bool set_band(Attention *a, TsAttr *at, TsVal *offset)
{
	TsMatch *m = a->m;
	const TsBand *b = &a->band;
	*offset = 0;
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

/* The numbers as one without axes, of q's type or the type attention computes in; 0: there are none. */
static TsVal factor(Attention *a, TsDtype q)
{
	TsMatch *m = a->m;
	TsVal f = 0;
	for (int i = 0; i < a->nnumbers; i++) {
		TsVal c = a->number[i].v;
		bool alone = a->nnumbers == 1 && !a->number[i].under;
		if (ts_rw_type(m, c)->rank) c = ts_rw_reshape(m, c, 0, (TsDim[]){ 0 });
		if (!alone || ts_rw_type(m, c)->elem != q) c = as_type(m, c, a->compute);
		if (a->number[i].under) c = ts_rw_op(m, TS_OP_div, 2, (TsVal[]){ ts_rw_scalar(m, a->compute, 1), c }, NULL);
		f = f ? ts_rw_op(m, TS_OP_mul, 2, (TsVal[]){ f, c }, NULL) : c;
	}
	return f;
}

static TsVal build(Attention *a)
{
	TsMatch *m = a->m;
	int rank = ts_rw_type(m, a->q)->rank;
	TsVal mask, offset, alone;
	TsAttr *at = ts_rw_attrs(m, TS_OP_attention);
	if (rank < 2 || rank > 5 || ts_rw_type(m, a->k)->rank != rank || ts_rw_type(m, a->v)->rank != rank) return 0;
	if (!read_masks(a) || !set_band(a, at, &offset)) return 0;
	mask = conjunction(m, &a->band);
	finite_masks(a);
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
	TsVal y = ts_rw_op(m, TS_OP_attention, 7, (TsVal[]){ q, k, v, mask, a->bias, offset, factor(a, ts_rw_type(m, q)->elem) }, at);
	const TsType t = *ts_rw_type(m, m->root->out[0]);
	return rank == 4 ? y : ts_rw_reshape(m, y, t.rank, t.dim);
}

RW_VALUE(spelled_attention)
{
	TsDtype t = ts_rw_type(m, a[1].v)->elem == TS_F64 ? TS_F64 : TS_F32;
	Attention at = { .m = m, .v = a[1].v, .scale = 1, .compute = t, .low = t == TS_F64 ? -1e40 : -1e30, .largest = largest_of(t) };
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
