/* GELU in any spelling: x/2 * (1 + erf(x/sqrt 2)); with tanh, or as x * sigmoid of twice tanh's argument. The function may also be taken
 * of the negated argument: erf and tanh are odd, sigmoid(-u) is 1 - sigmoid(u). */
#include "poly.h"
#include <math.h>

enum { MOST = 32, ARGUMENT = 16, FUNCTIONS = 4 }; /* how far to look */
static const double root_half = 0.70710678118654752, root_two_over_pi = 0.79788456080286536, cubic = 0.044715;

static bool coefficient(TsPolyer *p, const TsPoly *poly, int n, const TsFactor *f, double want)
{
	const TsTerm *t = ts_poly_term(poly, n, f);
	return t && ts_rw_near(ts_rw_type(p->m, p->atom[0])->elem, t->c, want);
}

/* Is the argument of erf, tanh or sigmoid `sign` times the right polynomial of x (p's first atom)? */
static bool argument_fits(TsPolyer *p, const TsNode *f, double sign)
{
	TsPoly a;
	TsFactor x1 = { p->atom[0], 2 }, x3 = { p->atom[0], 6 };
	double k = sign * (f->op == TS_OP_sigmoid ? 2 * root_two_over_pi : root_two_over_pi);
	if (!ts_poly_expand(p, ts_rw_in(p->m, f, 0), &a)) return false;
	if (f->op == TS_OP_erf) return a.n == 1 && coefficient(p, &a, 1, &x1, sign * root_half);
	return a.n == 2 && coefficient(p, &a, 1, &x1, k) && coefficient(p, &a, 1, &x3, k * cubic);
}

/* root = x/2 + x/2 * f(u), or x * sigmoid(u); of -u: x/2 - x/2 * f(-u), or x - x * sigmoid(-u). */
static bool product_fits(TsPolyer *p, const TsNode *f, double sign)
{
	TsPoly y;
	TsFactor x = { p->atom[0], 2 }, xf[2] = { x, { p->atom[1], 2 } };
	if (!ts_poly_expand(p, p->m->root->out[0], &y)) return false;
	if (f->op == TS_OP_sigmoid) return y.n == (sign < 0 ? 2 : 1) && coefficient(p, &y, 2, xf, sign) && (sign > 0 || coefficient(p, &y, 1, &x, 1));
	return y.n == 2 && coefficient(p, &y, 1, &x, 0.5) && coefficient(p, &y, 2, xf, sign * 0.5);
}

static TsVal gelu_of(TsMatch *m, TsNode *f)
{
	TsVal in[ARGUMENT];
	int n = ts_poly_nodes(m, ts_rw_in(m, f, 0), in, ARGUMENT);
	for (int i = 0; i < n; i++) {
		TsPolyer p = { .m = m, .natom = 2, .atom = { in[i], f->out[0] } };
		double sign = argument_fits(&p, f, 1) ? 1 : argument_fits(&p, f, -1) ? -1 : 0;
		if (!sign || !product_fits(&p, f, sign)) continue;
		TsAttr *at = ts_rw_attrs(m, TS_OP_gelu);
		ts_rw_attr_of(m, TS_OP_gelu, at, "approximate")->s = ts_intern(m->rw->cx, f->op == TS_OP_erf ? "none" : "tanh");
		return ts_rw_op(m, TS_OP_gelu, 1, &in[i], at);
	}
	return 0;
}

RW_VALUE(spelled_gelu)
{
	TsVal below[MOST];
	int n = ts_poly_nodes(m, m->root->out[0], below, MOST);
	for (int i = 0, tried = 0; i < n && tried < FUNCTIONS; i++) {
		TsNode *f = ts_rw_def(m, below[i]);
		if (!f || (f->op != TS_OP_erf && f->op != TS_OP_tanh && f->op != TS_OP_sigmoid)) continue;
		tried++;
		TsVal y = gelu_of(m, f);
		if (y) return y;
	}
	return 0;
}
