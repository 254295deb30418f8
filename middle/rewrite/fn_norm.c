/* Means, layer_norm and rms_norm in any spelling. */
#include "poly.h"
#include <math.h>
#include <string.h>

enum { MOST = 24 };

/* ---- means ---------------------------------------------------------------------------------------------------------------------- */
/* The number of elements that the sum s adds, as a size. */
static TsDim summed(TsMatch *m, TsVal s)
{
	TsNode *n = ts_rw_def(m, s);
	const TsType *x = ts_rw_type(m, ts_rw_in(m, n, 0));
	uint32_t mask = ts_rw_axes(m, n);
	TsDim count = ts_dim_const(m->rw->m->dims, 1);
	for (int i = 0; i < x->rank; i++)
		if (mask >> i & 1) count = ts_dim_mul(m->rw->m->dims, count, x->dim[i]);
	return count;
}

RW_COND(counts)
{
	int64_t n;
	return ts_dim_is_const(m->rw->m->dims, summed(m, a[0].v), &n) && n > 0 && a[1].num == ts_dtype_round(ts_rw_type(m, a[0].v)->elem, (double)n) && a[1].num == (double)n;
}

RW_COND(counts_reciprocal)
{
	int64_t n;
	TsDtype t = ts_rw_type(m, a[0].v)->elem;
	return ts_dtype_is_float(t) && ts_dim_is_const(m->rw->m->dims, summed(m, a[0].v), &n) && n > 0 && ts_rw_near(t, a[1].num, 1 / (double)n);
}

/* The divisor is the size itself, as a value, maybe converted. */
RW_COND(counts_dim)
{
	TsNode *n;
	TsVal v = a[1].v;
	while (ts_rw_is(m, v, TS_OP_cast, &n)) v = ts_rw_in(m, n, 0);
	return ts_rw_is(m, v, TS_OP_dim, &n) && n->dim == summed(m, a[0].v);
}

RW_COND(named) { return !a[0].attr->none; }

/* ---- weight and bias -------------------------------------------------------------------------------------------------------------- */
static bool is_one(const TsMatch *m, TsDim d) { int64_t v; return ts_dim_is_const(m->rw->m->dims, d, &v) && v == 1; }

/* One number for each place of the last axis of y, and y is not needed without it. */
RW_COND(is_row_of)
{
	const TsType *g = ts_rw_type(m, a[0].v), *y = ts_rw_type(m, a[1].v);
	if (!g->rank || g->rank > y->rank || g->elem != y->elem || g->dim[g->rank - 1] != y->dim[y->rank - 1] || !ts_rw_once(m, a[1].v)) return false;
	for (int i = 0; i < g->rank - 1; i++)
		if (!is_one(m, g->dim[i])) return false;
	return true;
}

static TsVal with_operand(TsMatch *m, TsVal y, TsVal w, uint32_t at)
{
	TsNode *norm = ts_rw_def(m, y);
	const TsType *t = ts_rw_type(m, w);
	TsDim last = t->dim[t->rank - 1];
	TsVal in[3] = { 0 };
	if (t->rank > 1) w = ts_rw_reshape(m, w, 1, &last);
	for (uint32_t i = 0; i < norm->nin; i++) in[i] = ts_rw_in(m, norm, i);
	in[at] = w;
	return ts_rw_op(m, norm->op, norm->nin, in, norm->attr);
}

RW_VALUE(with_gamma) { return with_operand(m, a[0].v, a[1].v, 1); }
RW_VALUE(with_beta) { return with_operand(m, a[0].v, a[1].v, 2); }

/* ---- the formula ------------------------------------------------------------------------------------------------------------------- */
/* r = variance + eps, seen from its place under the root: x, its mean (0 for rms_norm), r itself. */
typedef struct { TsVal x, mean, r; double eps; } Norm;

/* v = mean(of) over the last axis, which stays with size 1. */
static bool is_row_mean(TsMatch *m, TsVal v, TsVal *of)
{
	TsNode *n;
	if (!ts_rw_is(m, v, TS_OP_mean, &n) || !ts_rw_keepdims(m, n)) return false;
	*of = ts_rw_in(m, n, 0);
	int rank = ts_rw_type(m, *of)->rank;
	return rank && ts_rw_axes(m, n) == 1u << (rank - 1);
}

static bool is_square(TsMatch *m, TsVal v, TsVal *of)
{
	TsNode *n;
	double two;
	if (ts_rw_is(m, v, TS_OP_mul, &n) && ts_rw_in(m, n, 0) == ts_rw_in(m, n, 1)) return *of = ts_rw_in(m, n, 0), true;
	if (ts_rw_is(m, v, TS_OP_pow, &n) && ts_rw_uniform(m, ts_rw_in(m, n, 1), &two) && two == 2) return *of = ts_rw_in(m, n, 0), true;
	return false;
}

/* d = x - mean(x), or mean(x) - x, whose square is the same */
static bool is_centred(TsMatch *m, TsVal d, TsVal *x, TsVal *mean)
{
	TsNode *n;
	TsVal of;
	if (!ts_rw_is(m, d, TS_OP_sub, &n)) return false;
	for (int turn = 0; turn < 2; turn++) {
		*x = ts_rw_in(m, n, (uint32_t)turn);
		*mean = ts_rw_in(m, n, (uint32_t)!turn);
		if (is_row_mean(m, *mean, &of) && of == *x) return true;
	}
	return false;
}

/* mean((x - mean)^2), mean(x^2) - mean^2; with `centred` off mean(x^2). */
static bool is_variance(TsMatch *m, TsVal v, bool centred, Norm *s)
{
	TsVal square, d, mean_square, mean, of;
	TsNode *n;
	if (is_row_mean(m, v, &square) && is_square(m, square, &d)) {
		if (!centred) return s->x = d, s->mean = 0, true;
		return is_centred(m, d, &s->x, &s->mean);
	}
	if (!centred || !ts_rw_is(m, v, TS_OP_sub, &n)) return false;
	mean_square = ts_rw_in(m, n, 0);
	if (!is_row_mean(m, mean_square, &square) || !is_square(m, square, &s->x)) return false;
	if (!is_square(m, ts_rw_in(m, n, 1), &mean) || !is_row_mean(m, mean, &of) || of != s->x) return false;
	s->mean = mean;
	return true;
}

static bool read_radicand(TsMatch *m, TsVal r, bool centred, Norm *s)
{
	TsNode *n;
	s->r = r;
	s->eps = 0;
	if (is_variance(m, r, centred, s)) return true;
	if (!ts_rw_is(m, r, TS_OP_add, &n)) return false;
	for (uint32_t i = 0; i < 2; i++)
		if (ts_rw_uniform(m, ts_rw_in(m, n, i), &s->eps) && s->eps >= 0 && isfinite(s->eps) && is_variance(m, ts_rw_in(m, n, !i), centred, s)) return true;
	return false;
}

/* The factors of t besides `of` and 1/sqrt(r), all to the first power; false if t is not of / sqrt(r) * those. */
static bool split_term(const TsTerm *t, TsVal of, const Norm *s, TsTerm *rest)
{
	*rest = (TsTerm){ .c = t->c };
	if (ts_term_power(t, of) != 2 || ts_term_power(t, s->r) != -1) return false;
	for (int i = 0; i < t->n; i++) {
		if (t->f[i].v == of || t->f[i].v == s->r) continue;
		if (t->f[i].e2 != 2) return false;
		rest->f[rest->n++] = t->f[i];
	}
	return true;
}

/* The scale's factors and what is added: y = norm(x) * rest + beta. */
static bool read_formula(TsMatch *m, const TsPoly *y, const Norm *s, TsTerm *rest, TsVal *beta)
{
	bool has_x = false, has_mean = !s->mean;
	TsTerm mean_rest = { 0 }, t;
	TsDtype type = ts_rw_type(m, s->x)->elem;
	*beta = 0;
	for (int i = 0; i < y->n; i++) {
		if (!has_x && split_term(&y->t[i], s->x, s, &t)) has_x = true, *rest = t;
		else if (!has_mean && split_term(&y->t[i], s->mean, s, &t)) has_mean = true, mean_rest = t;
		else if (s->mean && !*beta && y->t[i].n == 1 && y->t[i].c == 1 && y->t[i].f[0].e2 == 2 && y->t[i].f[0].v != s->x && y->t[i].f[0].v != s->r) *beta = y->t[i].f[0].v;
		else return false;
	}
	if (!has_x || !has_mean || !ts_rw_near(type, rest->c, 1)) return false;
	if (!s->mean) return true;
	return ts_rw_near(type, mean_rest.c, -1) && mean_rest.n == rest->n && !memcmp(mean_rest.f, rest->f, (size_t)rest->n * sizeof *rest->f);
}

static TsVal build(TsMatch *m, const Norm *s, const TsTerm *rest, TsVal beta)
{
	TsOp op = s->mean ? TS_OP_layer_norm : TS_OP_rms_norm;
	TsAttr *at = ts_rw_attrs(m, op);
	ts_rw_attr_of(m, op, at, "eps")->f = ts_rw_snap(ts_rw_type(m, s->x)->elem, s->eps);
	const TsType *x = ts_rw_type(m, s->x);
	for (int i = 0; i < rest->n; i++)
		if (!ts_rw_broadcasts(m, ts_rw_type(m, rest->f[i].v), x)) return 0;
	if (beta && !ts_rw_broadcasts(m, ts_rw_type(m, beta), x)) return 0;
	TsVal y = ts_rw_op(m, op, 1, &s->x, at);
	for (int i = 0; i < rest->n; i++) y = ts_rw_op(m, TS_OP_mul, 2, (TsVal[]){ y, rest->f[i].v }, NULL);
	return beta ? ts_rw_op(m, TS_OP_add, 2, (TsVal[]){ y, beta }, NULL) : y;
}

static TsVal norm_of(TsMatch *m, TsVal r, bool centred)
{
	Norm s;
	TsPoly y;
	TsTerm rest;
	TsVal beta;
	if (!read_radicand(m, r, centred, &s)) return 0;
	TsPolyer p = { .m = m, .natom = s.mean ? 3 : 2, .atom = { s.x, s.r, s.mean } };
	return ts_poly_expand(&p, m->root->out[0], &y) && read_formula(m, &y, &s, &rest, &beta) ? build(m, &s, &rest, beta) : 0;
}

/* What is under the root of 1/sqrt(r), sqrt(r), r^0.5 or r^-0.5. */
static TsVal radicand(TsMatch *m, TsVal v)
{
	TsNode *n = ts_rw_def(m, v);
	double e;
	if (!n) return 0;
	if (n->op == TS_OP_sqrt || n->op == TS_OP_rsqrt) return ts_rw_in(m, n, 0);
	return n->op == TS_OP_pow && ts_rw_uniform(m, ts_rw_in(m, n, 1), &e) && fabs(e) == 0.5 ? ts_rw_in(m, n, 0) : 0;
}

RW_VALUE(spelled_norm)
{
	TsVal below[MOST];
	int n = ts_poly_nodes(m, m->root->out[0], below, MOST);
	for (int i = 0; i < n; i++) {
		TsVal r = radicand(m, below[i]), y;
		if (r && ((y = norm_of(m, r, true)) || (y = norm_of(m, r, false)))) return y;
	}
	return 0;
}
