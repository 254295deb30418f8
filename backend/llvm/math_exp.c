/* exp and log and what follows from them directly: exp2, log2, tanh, sigmoid, silu.
 * Polynomials are minimax for the relative error of the whole function; the comment gives log2 of that error. */
#include "backend/llvm/math_impl.h"

/* exp(r) = 1 + r + r^2 q(r), |r| <= ln2/2: 2^-28.3, 2^-57.9 */
static const double exp32[] = { 0x1.fffffcp-2, 0x1.555492p-3, 0x1.5558f2p-5, 0x1.123a04p-7, 0x1.6a23aap-10 };
static const double exp64[] = { 0x1.000000000000ap-1, 0x1.55555555554f9p-3, 0x1.5555555550873p-5, 0x1.1111111127f79p-7, 0x1.6c16c1842ed3bp-10,
	0x1.a01a012961412p-13, 0x1.a01999faf26dfp-16, 0x1.71df26feb81d4p-19, 0x1.28ad85ca7e8b5p-22, 0x1.ad7d6df897436p-26 };
/* 2^r = 1 + r q(r), |r| <= 1/2: 2^-28.9, 2^-64.4 */
static const double exp2_32[] = { 0x1.62e43p-1, 0x1.ebfbdcp-3, 0x1.c6aee8p-5, 0x1.3b2d4ep-7, 0x1.5f3ed8p-10, 0x1.41fb54p-13 };
static const double exp2_64[] = { 0x1.62e42fefa39efp-1, 0x1.ebfbdff82c58fp-3, 0x1.c6b08d704a0cfp-5, 0x1.3b2ab6fba4e22p-7, 0x1.5d87fe78a2679p-10,
	0x1.430912f883edcp-13, 0x1.ffcbfc74f0786p-17, 0x1.62c021e219e4ep-20, 0x1.b524dd19a6307p-24, 0x1.e4d06d260cb85p-28, 0x1.ea01af694e67ep-32,
	0x1.c2ce5476a27ecp-36 };
/* log(1 + f) = f - f^2/2 + f^3 P(f), sqrt(1/2) <= 1 + f < sqrt 2: 2^-27.4 */
static const double log32[] = { 0x1.555554p-2, -0x1.000228p-2, 0x1.99a00cp-3, -0x1.54724p-3, 0x1.22d9eap-3, -0x1.0d853ep-3, 0x1.055c8cp-3,
	-0x1.38b81cp-4 };
/* log(1 + f) = 2s + s z P(z), s = f/(2 + f), z = s^2: 2^-59.5 */
static const double log64[] = { 0x1.5555555555592p-1, 0x1.999999997fee7p-2, 0x1.24924941e0c3ep-2, 0x1.c71c52165256ap-3, 0x1.74663c5257c3ep-3,
	0x1.39a1fba6ea508p-3, 0x1.2f02e65e446c9p-3 };
/* ln2 in two parts, the first short enough that its products with the exponents are exact */
#define LN2_HI (f->f64 ? 0x1.62e42feep-1 : 0x1.63p-1)
#define LN2_LO (f->f64 ? 0x1.a39ef35793c76p-33 : -0x1.bd0106p-13)
#define LOG2E (f->f64 ? 0x1.71547652b82fep+0 : 0x1.715476p+0)

/* Adding this to v leaves rint(v) + 2*bias in the low bits of the sum, the rest of the significand even. */
static double round_bias(const TsFn *f)
{
	return (f->f64 ? 0x1.8p52 : 0x1.8p23) + 2 * f->bias;
}

/* The powers of two s1 * s2 = 2^n from t = n + round_bias: n + 2*bias is halved, each half shifted to the exponent's place, where the
 * bits above it drop out. */
static void two_scales(const TsFn *f, V t, TsExp *e)
{
	V i = BITS(t), half = SHR(i, INT(1)), k = INT(f->mant);

	e->s1 = FLT(SHL(half, k));
	e->s2 = FLT(SHL(ISUB(i, half), k));
}

/* exp(r) - 1 - r = r^2 q(r), so exp(r) - 1 = result */
static V expm1_poly(const TsFn *f, V r)
{
	V q = f->f64 ? POLY(r, exp64) : POLY(r, exp32);

	return FMA(FMUL(r, r), q, r);
}

static V reduce_ln2(const TsFn *f, V x, V n)
{
	return FMA(n, NUM(-LN2_LO), FMA(n, NUM(-LN2_HI), x));
}

TsExp ts_exp_parts(const TsFn *f, V x, V lo)
{
	V magic = NUM(round_bias(f)), t, r;
	TsExp e;

	x = ts_fmax_keep(f, ts_fmin_keep(f, x, f->f64 ? 710 : 89), f->f64 ? -760 : -110);
	t = FMA(x, NUM(LOG2E), magic);
	r = reduce_ln2(f, x, FSUB(t, magic));
	if (lo)
		r = FADD(r, lo);
	e.w = expm1_poly(f, r);
	e.p = FADD(e.w, NUM(1));
	two_scales(f, t, &e);
	return e;
}

V ts_exp_value(const TsFn *f, TsExp e)
{
	return FMUL(FMUL(e.p, e.s1), e.s2);
}

/* With one scale the sum's low bits hold n + bias. */
V ts_exp_small(const TsFn *f, V x)
{
	V magic = NUM(round_bias(f) - f->bias), t = FMA(x, NUM(LOG2E), magic), p;

	p = FADD(expm1_poly(f, reduce_ln2(f, x, FSUB(t, magic))), NUM(1));
	return FMUL(p, FLT(SHL(BITS(t), INT(f->mant))));
}

V ts_math_exp(const TsFn *f, V x)
{
	return ts_exp_value(f, ts_exp_parts(f, x, NULL));
}

V ts_math_exp2(const TsFn *f, V x)
{
	V magic = NUM(round_bias(f)), t, r;
	TsExp e;

	x = ts_fmax_keep(f, ts_fmin_keep(f, x, f->f64 ? 1025 : 129), f->f64 ? -1080 : -155);
	t = FADD(x, magic);
	r = FSUB(x, FSUB(t, magic));
	e.p = FMA(f->f64 ? POLY(r, exp2_64) : POLY(r, exp2_32), r, NUM(1));
	two_scales(f, t, &e);
	return ts_exp_value(f, e);
}

/* ---- logarithms -------------------------------------------------------------------------------------------------------------- */

TsLogParts ts_log_parts(const TsFn *f, V x)
{
	uint64_t root_half = f->f64 ? 0x3fe6a09e667f3bcd : 0x3f3504f3, one = (uint64_t)f->bias << f->mant;
	int up = f->mant + 2;
	double place = f->f64 ? 0x1p52 : 0x1p23; /* its low bits hold an integer */
	V tiny = CMP(OLT, x, NUM(f->f64 ? 0x1p-1022 : 0x1p-126)), i, e;
	TsLogParts r;

	i = BITS(SEL(tiny, FMUL(x, NUM(f->f64 ? 0x1p54 : 0x1p25)), x));
	i = IADD(i, INT(one - root_half));
	e = FLT(OR(SHR(i, INT(f->mant)), BITS(NUM(place))));
	r.e = FSUB(e, SEL(tiny, NUM(place + f->bias + up), NUM(place + f->bias)));
	r.m = FLT(IADD(AND(i, INT((1ull << f->mant) - 1)), INT(root_half)));
	return r;
}

/* log(m) as f - t, t small beside f where the result is: f - (f^2/2 - ...) */
static V log_tail(const TsFn *f, V g)
{
	V half = FMUL(FMUL(g, g), NUM(0.5)), s, z;

	if (!f->f64)
		return FMA(FMUL(FMUL(g, g), g), POLY(g, log32), LLVMBuildFNeg(f->b, half, ""));
	s = FDIV(g, FADD(g, NUM(2)));
	z = FMUL(s, s); /* 2s = g - s g and s g = g^2/2 - s g^2/2 */
	return FSUB(FMUL(s, FMA(z, POLY(z, log64), half)), half);
}

/* what is not a positive finite number: log(+inf) = inf, log(+-0) = -inf, NaN below zero */
static V log_edges(const TsFn *f, V x, V r)
{
	V inf = NUM(__builtin_inf()), bad = NUM(__builtin_nan(""));

	r = SEL(CMP(OEQ, x, inf), x, r);
	return SEL(CMP(OGT, x, NUM(0)), r, SEL(CMP(OEQ, x, NUM(0)), NUM(-__builtin_inf()), bad));
}

V ts_math_log(const TsFn *f, V x)
{
	TsLogParts l = ts_log_parts(f, x);
	V g = FSUB(l.m, NUM(1)), t = FMA(l.e, NUM(LN2_LO), log_tail(f, g));

	return log_edges(f, x, FMA(l.e, NUM(LN2_HI), FADD(g, t)));
}

/* log2(e) in two parts keeps the product with g within half an ulp where the exponent is 0 */
V ts_math_log2(const TsFn *f, V x)
{
	TsLogParts l = ts_log_parts(f, x);
	V g = FSUB(l.m, NUM(1)), t = log_tail(f, g), ln = FADD(g, t);
	double rest = f->f64 ? 0x1.777d0ffda0d24p-56 : 0x1.4ae0cp-26;

	return log_edges(f, x, FADD(l.e, FMA(ln, NUM(LOG2E), FMUL(ln, NUM(rest)))));
}

/* ---- tanh and the logistic family -------------------------------------------------------------------------------------------- */

/* tanh a = E/(E + 2), E = exp(2a) - 1 = 2^n (exp(r) - 1) + (2^n - 1), exact enough for any n: past the significand's length tanh is 1. */
V ts_math_tanh(const TsFn *f, V x)
{
	V magic = NUM(round_bias(f) - f->bias), a = ts_fmin_keep(f, ts_fabs(f, x), f->f64 ? 20 : 10), y = FADD(a, a), t, q, s, em1;

	t = FMA(y, NUM(LOG2E), magic);
	q = expm1_poly(f, reduce_ln2(f, y, FSUB(t, magic)));
	s = FLT(SHL(BITS(t), INT(f->mant)));
	em1 = FMA(q, s, FSUB(s, NUM(1)));
	return ts_fcopysign(f, FDIV(em1, FADD(em1, NUM(2))), x);
}

/* 1/(1 + e^-x), for x < 0 as e^x/(1 + e^x): never overflows, and right down to subnormals */
V ts_math_sigmoid(const TsFn *f, V x)
{
	V e = ts_exp_value(f, ts_exp_parts(f, LLVMBuildFNeg(f->b, ts_fabs(f, x), ""), NULL));

	return FDIV(SEL(CMP(OLT, x, NUM(0)), e, NUM(1)), FADD(e, NUM(1)));
}

V ts_nan_at_minus_inf(const TsFn *f, V x, V r)
{
	return SEL(CMP(OEQ, x, NUM(-__builtin_inf())), NUM(__builtin_nan("")), r);
}

/* x e^x/(1 + e^x) below zero. The factor x meets the significand of e^x before the scale does, so a subnormal result loses nothing to
 * a subnormal e^x. */
V ts_math_silu(const TsFn *f, V x)
{
	V below = CMP(OLT, x, NUM(0)), one = NUM(1), c = ts_fmax_keep(f, x, f->f64 ? -760 : -110), q;
	TsExp e = ts_exp_parts(f, LLVMBuildFNeg(f->b, ts_fabs(f, x), ""), NULL);

	q = FDIV(SEL(below, FMUL(c, e.p), x), FADD(ts_exp_value(f, e), one));
	return ts_nan_at_minus_inf(f, x, FMUL(FMUL(q, SEL(below, e.s1, one)), SEL(below, e.s2, one)));
}
