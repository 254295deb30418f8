#include "ir/interp_int.h"
#include <math.h>

/* Runs fn over the result's elements, operands broadcast to it. */
static bool each(TsRef *r, TsEach *fn)
{
	int64_t stride[TS_MAX_OP_INS][TS_MAX_RANK];
	for (uint32_t k = 0; k < r->n->nin; k++) tr_strides(r->in[k], r->out->rank, stride[k]);
	tr_each(r, r->out->rank, r->out->dim, (int)r->n->nin, stride, fn);
	return true;
}

/* Elements of the operands and of the result; FLOATS: the operands are floats. */
#define F(k) (r->in[k]->f[at[k]])
#define I(k) (r->in[k]->i[at[k]])
#define U(k) ((uint64_t)I(k))
#define FLOATS(k) (r->in[k]->f != NULL)
#define DEFINE(name, body) \
	static void each_##name(TsRef *r, const int64_t *at, int64_t o) { (void)at; body; } \
	bool ref_##name(TsRef *r) { return each(r, each_##name); }
#define BOTH(name, floats, ints) DEFINE(name, if (FLOATS(0)) r->out->f[o] = (floats); else r->out->i[o] = (int64_t)(ints))
#define ONLY_FLOAT(name, floats) DEFINE(name, r->out->f[o] = (floats))
#define ONLY_INT(name, ints) DEFINE(name, r->out->i[o] = (int64_t)(ints))
#define COMPARE(name, rel) DEFINE(name, r->out->i[o] = FLOATS(0) ? F(0) rel F(1) : I(0) rel I(1))

static double fmin_nan(double a, double b) { return isnan(a) || isnan(b) ? NAN : a < b ? a : b; }
static double fmax_nan(double a, double b) { return isnan(a) || isnan(b) ? NAN : a > b ? a : b; }
static int64_t imin(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t imax(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t floor_div(int64_t a, int64_t b)
{
	if (!b) return 0;
	if (b == -1) return (int64_t)(0 - (uint64_t)a);
	return a / b - (a % b && (a < 0) != (b < 0));
}

static int64_t floor_mod(int64_t a, int64_t b)
{
	if (!b || b == -1) return 0;
	int64_t m = a % b;
	return m && (m < 0) != (b < 0) ? m + b : m;
}

BOTH(neg, -F(0), 0 - U(0))
BOTH(abs, fabs(F(0)), I(0) < 0 ? 0 - U(0) : U(0))
BOTH(add, F(0) + F(1), U(0) + U(1))
BOTH(sub, F(0) - F(1), U(0) - U(1))
BOTH(mul, F(0) * F(1), U(0) * U(1))
ONLY_FLOAT(div, F(0) / F(1))
ONLY_INT(floordiv, floor_div(I(0), I(1)))
ONLY_INT(mod, floor_mod(I(0), I(1)))
ONLY_FLOAT(pow, pow(F(0), F(1)))
BOTH(minimum, fmin_nan(F(0), F(1)), imin(I(0), I(1)))
BOTH(maximum, fmax_nan(F(0), F(1)), imax(I(0), I(1)))
BOTH(clamp, fmin_nan(fmax_nan(F(0), F(1)), F(2)), imin(imax(I(0), I(1)), I(2)))
ONLY_FLOAT(floor, floor(F(0)))
ONLY_FLOAT(ceil, ceil(F(0)))
ONLY_FLOAT(round, nearbyint(F(0)))
COMPARE(eq, ==)
COMPARE(ne, !=)
COMPARE(lt, <)
COMPARE(le, <=)
COMPARE(gt, >)
COMPARE(ge, >=)
ONLY_INT(and, I(0) & I(1))
ONLY_INT(or, I(0) | I(1))
ONLY_INT(not, !I(0))
DEFINE(where, tr_copy(r->out, o, r->in[I(0) ? 1 : 2], at[I(0) ? 1 : 2]))
ONLY_FLOAT(exp, exp(F(0)))
ONLY_FLOAT(log, log(F(0)))
ONLY_FLOAT(sqrt, sqrt(F(0)))
ONLY_FLOAT(rsqrt, 1 / sqrt(F(0)))
ONLY_FLOAT(tanh, tanh(F(0)))
ONLY_FLOAT(erf, erf(F(0)))
ONLY_FLOAT(sin, sin(F(0)))
ONLY_FLOAT(cos, cos(F(0)))
BOTH(relu, fmax_nan(F(0), 0), imax(I(0), 0))

/* Without overflow: exp of a negative number only. */
static double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
ONLY_FLOAT(sigmoid, sigmoid(F(0)))
ONLY_FLOAT(silu, F(0) * sigmoid(F(0)))

static double gelu_erf(double x) { return x * 0.5 * erfc(-x * M_SQRT1_2); }
static double gelu_tanh(double x)
{
	/* 1 + tanh(u) = 2 sigmoid(2u), which keeps its digits where tanh is near -1 */
	return x * sigmoid(2 * 0.7978845608028654 * (x + 0.044715 * x * x * x));
}
static void each_gelu_erf(TsRef *r, const int64_t *at, int64_t o) { r->out->f[o] = gelu_erf(F(0)); }
static void each_gelu_tanh(TsRef *r, const int64_t *at, int64_t o) { r->out->f[o] = gelu_tanh(F(0)); }
bool ref_gelu(TsRef *r) { return each(r, *ts_attr(r->m, r->n, "approximate")->s == 'n' ? each_gelu_erf : each_gelu_tanh); }

/* A double that rounds to every narrower float as v itself does: v toward zero, its last bit set if digits were lost. */
static double to_odd(int64_t v)
{
	double d = (double)v;
	if (d < 0x1p63 && (int64_t)d == v) return d;
	bool up = d >= 0x1p63 || (v > 0 ? (int64_t)d > v : (int64_t)d < v);
	if (up) d = nextafter(d, 0);
	union { double d; uint64_t u; } w = { d };
	w.u |= 1;
	return w.d;
}

static void each_cast(TsRef *r, const int64_t *at, int64_t o)
{
	TsDtype to = r->out->elem;
	const TsNum *x = r->in[0];
	uint64_t bits[2] = { 0 };
	if (to == TS_COMPLEX64) {
		r->out->f[2 * o] = x->elem == TS_COMPLEX64 ? x->f[2 * at[0]] : (float)F(0);
		r->out->f[2 * o + 1] = x->elem == TS_COMPLEX64 ? x->f[2 * at[0] + 1] : 0;
	} else if (r->out->f) r->out->f[o] = x->f ? ts_dtype_round(to, F(0)) : to == TS_F64 ? (double)I(0) : ts_dtype_round(to, to_odd(I(0)));
	else {
		if (x->f) ts_elem_set(to, bits, 0, F(0));
		else ts_elem_set_int(to, bits, 0, I(0));
		r->out->i[o] = ts_elem_get_int(to, bits, 0);
	}
}
bool ref_cast(TsRef *r) { return each(r, each_cast); }
