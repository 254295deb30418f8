#include "poly.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 10 };

static bool is_poly_op(TsOp op)
{
	switch ((int)op) {
	case TS_OP_add: case TS_OP_sub: case TS_OP_mul: case TS_OP_div: case TS_OP_neg: case TS_OP_sqrt: case TS_OP_rsqrt: case TS_OP_pow: return true;
	default: return false;
	}
}

static bool is_atom(const TsPolyer *p, TsVal v)
{
	for (int i = 0; i < p->natom; i++)
		if (p->atom[i] == v) return true;
	return false;
}

/* Does v contain one of the atoms, so that it is worth expanding? */
static bool reaches(TsPolyer *p, TsVal v, int depth)
{
	TsNode *n = ts_rw_def(p->m, v);
	if (is_atom(p, v)) return true;
	if (!n || !is_poly_op(n->op) || depth > MAX_DEPTH || --p->budget < 0) return false;
	for (uint32_t i = 0; i < n->nin; i++)
		if (reaches(p, ts_rw_in(p->m, n, i), depth + 1)) return true;
	return false;
}

static bool set_constant(TsPoly *out, double c)
{
	out->n = c != 0;
	out->t[0] = (TsTerm){ .c = c };
	return true;
}

static bool set_atom(TsPoly *out, TsVal v)
{
	out->n = 1;
	out->t[0] = (TsTerm){ .c = 1, .n = 1, .f = { { v, 2 } } };
	return true;
}

static bool same_factors(const TsTerm *a, const TsTerm *b)
{
	if (a->n != b->n) return false;
	for (int i = 0; i < a->n; i++)
		if (a->f[i].v != b->f[i].v || a->f[i].e2 != b->f[i].e2) return false;
	return true;
}

/* Equal products meet; what cancels to rounding noise vanishes. */
static bool add_term(TsPoly *p, const TsTerm *t)
{
	for (int i = 0; i < p->n; i++) {
		if (!same_factors(&p->t[i], t)) continue;
		double size = fabs(p->t[i].c) + fabs(t->c);
		p->t[i].c += t->c;
		if (fabs(p->t[i].c) <= size * 0x1p-40) p->t[i] = p->t[--p->n];
		return true;
	}
	if (p->n == POLY_TERMS) return false;
	p->t[p->n++] = *t;
	return true;
}

static bool times_factor(TsTerm *t, TsFactor f)
{
	int i = 0;
	while (i < t->n && t->f[i].v < f.v) i++;
	if (i < t->n && t->f[i].v == f.v) {
		t->f[i].e2 += f.e2;
		if (!t->f[i].e2) memmove(&t->f[i], &t->f[i + 1], (size_t)(--t->n - i) * sizeof *t->f);
		return true;
	}
	if (t->n == POLY_FACTORS) return false;
	memmove(&t->f[i + 1], &t->f[i], (size_t)(t->n++ - i) * sizeof *t->f);
	t->f[i] = f;
	return true;
}

static bool times(const TsPoly *a, const TsPoly *b, TsPoly *out)
{
	TsPoly r = { 0 };
	for (int i = 0; i < a->n; i++)
		for (int k = 0; k < b->n; k++) {
			TsTerm t = a->t[i];
			t.c *= b->t[k].c;
			for (int f = 0; f < b->t[k].n; f++)
				if (!times_factor(&t, b->t[k].f[f])) return false;
			if (!add_term(&r, &t)) return false;
		}
	*out = r;
	return true;
}

/* One product to the power e2/2. A half power is taken of first powers only: sqrt(x*x) is not x. */
static bool power(const TsPoly *a, int e2, TsPoly *out)
{
	if (a->n != 1) return false;
	TsTerm t = a->t[0];
	if (e2 % 2 && t.c < 0) return false;
	t.c = pow(t.c, e2 / 2.0);
	for (int i = 0; i < t.n; i++) {
		int e = t.f[i].e2 * e2;
		if (e % 2 || (e2 % 2 && abs(t.f[i].e2) != 2)) return false;
		t.f[i].e2 = e / 2;
	}
	out->n = 1;
	out->t[0] = t;
	return isfinite(t.c);
}

static bool expand(TsPolyer *p, TsVal v, TsPoly *out, int depth);

static bool expand_pow(TsPolyer *p, const TsNode *n, TsPoly *out, int depth)
{
	TsPoly x;
	double e;
	if (!ts_rw_uniform(p->m, ts_rw_in(p->m, n, 1), &e) || fabs(e) > 8 || e * 2 != rint(e * 2) || !expand(p, ts_rw_in(p->m, n, 0), &x, depth + 1)) return false;
	if (e != rint(e) || e < 1) return power(&x, (int)(e * 2), out);
	TsPoly r = x;
	for (int i = 1; i < (int)e; i++)
		if (!times(&r, &x, &r)) return false;
	*out = r;
	return true;
}

static bool expand_two(TsPolyer *p, const TsNode *n, TsPoly *out, int depth)
{
	TsPoly a, b;
	if (!expand(p, ts_rw_in(p->m, n, 0), &a, depth + 1) || !expand(p, ts_rw_in(p->m, n, 1), &b, depth + 1)) return false;
	if (n->op == TS_OP_mul) return times(&a, &b, out);
	if (n->op == TS_OP_div) return power(&b, -2, &b) && times(&a, &b, out);
	for (int i = 0; i < b.n; i++) {
		TsTerm t = b.t[i];
		if (n->op == TS_OP_sub) t.c = -t.c;
		if (!add_term(&a, &t)) return false;
	}
	*out = a;
	return true;
}

static bool expand_op(TsPolyer *p, const TsNode *n, TsPoly *out, int depth)
{
	TsPoly x;
	switch ((int)n->op) {
	case TS_OP_pow: return expand_pow(p, n, out, depth);
	case TS_OP_neg:
		if (!expand(p, ts_rw_in(p->m, n, 0), out, depth + 1)) return false;
		for (int i = 0; i < out->n; i++) out->t[i].c = -out->t[i].c;
		return true;
	case TS_OP_sqrt: return expand(p, ts_rw_in(p->m, n, 0), &x, depth + 1) && power(&x, 1, out);
	case TS_OP_rsqrt: return expand(p, ts_rw_in(p->m, n, 0), &x, depth + 1) && power(&x, -1, out);
	default: return expand_two(p, n, out, depth);
	}
}

static bool expand(TsPolyer *p, TsVal v, TsPoly *out, int depth)
{
	double c;
	TsNode *n = ts_rw_def(p->m, v);
	if (is_atom(p, v)) return set_atom(out, v);
	if (ts_rw_uniform(p->m, v, &c)) return isfinite(c) && set_constant(out, c);
	if (!n || !is_poly_op(n->op) || depth > MAX_DEPTH || p->budget <= 0 || !reaches(p, v, depth)) return set_atom(out, v);
	return expand_op(p, n, out, depth) || set_atom(out, v);
}

bool ts_poly_expand(TsPolyer *p, TsVal v, TsPoly *out)
{
	p->budget = 400;
	return expand(p, v, out, 0) && p->budget > 0;
}

int ts_term_power(const TsTerm *t, TsVal v)
{
	for (int i = 0; i < t->n; i++)
		if (t->f[i].v == v) return t->f[i].e2;
	return 0;
}

const TsTerm *ts_poly_term(const TsPoly *p, int n, const TsFactor *f)
{
	for (int i = 0; i < p->n; i++) {
		bool all = p->t[i].n == n;
		for (int k = 0; k < n; k++) all &= ts_term_power(&p->t[i], f[k].v) == f[k].e2;
		if (all) return &p->t[i];
	}
	return NULL;
}

static bool listed(const TsVal *list, int n, TsVal v)
{
	for (int i = 0; i < n; i++)
		if (list[i] == v) return true;
	return false;
}

int ts_poly_nodes(TsMatch *m, TsVal v, TsVal *out, int most)
{
	int n = 0;
	out[n++] = v;
	for (int i = 0; i < n; i++) {
		TsNode *d = ts_rw_def(m, out[i]);
		if (!d || !is_poly_op(d->op)) continue;
		for (uint32_t k = 0; k < d->nin && n < most; k++) {
			double c;
			TsVal x = ts_rw_in(m, d, k);
			if (!ts_rw_uniform(m, x, &c) && !listed(out, n, x)) out[n++] = x;
		}
	}
	return n;
}

double ts_rw_snap(TsDtype t, double x)
{
	for (int digits = 1; digits < 17; digits++) {
		char text[40];
		snprintf(text, sizeof text, "%.*g", digits, x);
		double y = strtod(text, NULL);
		if (ts_dtype_round(t, y) == x) return y;
	}
	return x;
}
