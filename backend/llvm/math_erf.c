/* erf and the two forms of gelu. The rational forms have positive coefficients only, so nothing in them cancels. */
#include "backend/llvm/math_impl.h"

/* erf(x) = x P(x^2), |x| <= 0.93: 2^-31 */
static const double erf32_near[] = { 0x1.20dd76p+0, -0x1.812742p-2, 0x1.ce2e08p-4, -0x1.b80e74p-6, 0x1.54c6dap-8, -0x1.aa354cp-11, 0x1.5cb3d2p-14 };
/* erf(a) = 1 - exp(P(a)), 0.92 <= a <= 4: 2^-29.3 of erf */
static const double erf32_far[] = { -0x1.9a82c8p-13, -0x1.20af54p+0, -0x1.463cd2p-1, -0x1.a9b3a6p-4, 0x1.6c2962p-6, -0x1.8edf26p-9, 0x1.9ae51p-13 };
/* erf(x) = x P(x^2), |x| <= 1: 2^-62.7 */
static const double erf64_near[] = { 0x1.20dd750429b6dp+0, -0x1.812746b0379e6p-2, 0x1.ce2f21a042b20p-4, -0x1.b82ce3128499ep-6, 0x1.565bcd0db030ep-8,
	-0x1.c02db3d8ed9b4p-11, 0x1.f9a321a12ae84p-14, -0x1.f4d1df3a3c98ap-17, 0x1.b9def1a984bfcp-20, -0x1.5f1d372030de9p-23, 0x1.f7a415f822e29p-27,
	-0x1.386acc0b650fep-30, 0x1.0579c82d906d2p-34 };
/* erf(a) = 1 - exp(-a^2) P(a)/Q(a), a >= 0.8: 2^-65 of erf */
static const double erf64_p[] = { 0x1.0000000456d1ep+0, 0x1.89f44fd0585a0p+0, 0x1.2d0a8ba65fdcdp+0, 0x1.14904439e3238p-1, 0x1.3e70d75e867edp-3,
	0x1.b3a75f0663237p-6, 0x1.18a7bfb38f9a8p-9 };
static const double erf64_q[] = { 1, 0x1.5568e2870f017p+1, 0x1.97c29b8f48221p+1, 0x1.1c20af70b1c50p+1, 0x1.f64a209fcda2ep-1, 0x1.1c2628b62d0c8p-2,
	0x1.82171e96e0d9dp-5, 0x1.f17293c6430f4p-9 };
/* Phi(-a) = exp(-a^2/2) P(a)/Q(a), 0 <= a <= 14.8: 2^-27.3, 0 <= a <= 39: 2^-59.9; P less its first term, which is 1/2 */
static const double phi32_p[] = { 0x1.c16e0cp-2, 0x1.782dfcp-3, 0x1.4e1a06p-5, 0x1.0f3c58p-8 };
static const double phi32_q[] = { 1, 0x1.acf938p+0, 0x1.3450a2p+0, 0x1.e1f1d2p-2, 0x1.a2c288p-4, 0x1.53f096p-7 };
static const double phi64_p[] = { 0x1.a7e981a021c79p-1, 0x1.5bfbb6afc7b82p-1, 0x1.6df548d4ea196p-2, 0x1.0e77b56fa2e0bp-3, 0x1.243df1f54d67bp-5,
	0x1.d2e8042b2ef44p-8, 0x1.10a0713620027p-10, 0x1.bf233e621d712p-14, 0x1.d4523dfb1f0dep-18, 0x1.e1a37456a620bp-23 };
static const double phi64_q[] = { 1, 0x1.3a15d59f61bd1p+1, 0x1.68986e4417e7fp+1, 0x1.0034181fdb710p+1, 0x1.f5dd55fab8c87p-1, 0x1.64b9eb4010571p-2,
	0x1.78ce2fb01a961p-4, 0x1.28f32b10d5cc4p-6, 0x1.57facee5677f9p-9, 0x1.18ca9e53dee7cp-12, 0x1.257a1153b26c5p-16, 0x1.2dd279855866dp-21 };

/* Far out the complement is below 0.2 (f32) or 0.21 (f64), so its error counts a fifth: exp(-a^2) needs no double-length square. */
V ts_math_erf(const TsFn *f, V x)
{
	V a = ts_fmin_keep(f, ts_fabs(f, x), f->f64 ? 6 : 4), z = FMUL(a, a), near, rest;

	if (f->f64) {
		near = POLY(z, erf64_near);
		rest = FMUL(ts_exp_small(f, LLVMBuildFNeg(f->b, z, "")), FDIV(ESTRIN(a, erf64_p), ESTRIN(a, erf64_q)));
	} else {
		near = POLY(z, erf32_near);
		rest = ts_exp_small(f, POLY(a, erf32_far));
	}
	return SEL(CMP(OLT, a, NUM(f->f64 ? 0.9 : 0.925)), FMUL(x, near), ts_fcopysign(f, FSUB(NUM(1), rest), x));
}

/* x Phi(x) = max(x, 0) - a Phi(-a), a = |x|: for x > 0 the second term is at most half the first, for x < 0 it stands alone. It keeps
 * its relative precision down to underflow: a^2/2 is taken in double length, and exp's scale comes last. The numerator
 * a (1/2 + a P) (1 + w), 1 + w being exp's significand, is added up as a/2 + (t + w (a/2 + t)), t = a^2 P: for small a only the last sum
 * rounds to any effect. */
V ts_math_gelu(const TsFn *f, V x)
{
	V a = ts_fmin_keep(f, ts_fabs(f, x), f->f64 ? 39 : 14.8), half = FMUL(a, NUM(0.5)), minus_half = NUM(-0.5), t, tail;
	TsPair sq = ts_two_prod(f, a, a);
	TsExp e = ts_exp_parts(f, FMUL(sq.hi, minus_half), FMUL(sq.lo, minus_half));

	t = FMUL(sq.hi, f->f64 ? ESTRIN(a, phi64_p) : ESTRIN(a, phi32_p));
	tail = FADD(half, FMA(e.w, FADD(half, t), t));
	tail = FDIV(tail, f->f64 ? ESTRIN(a, phi64_q) : ESTRIN(a, phi32_q));
	tail = FMUL(FMUL(tail, e.s1), e.s2);
	tail = FSUB(SEL(CMP(OLT, x, NUM(0)), NUM(-0.0), x), tail); /* -0 - 0 keeps the sign where the tail underflows */
	return ts_nan_at_minus_inf(f, x, tail);
}

/* x/2 (1 + tanh u) = x/(1 + exp(-2u)) with 2u = x (A + B x^2), A = sqrt(8/pi), B = 0.044715 A. For x < 0 the result is about
 * x exp(2u), so 2|u| must be known to an absolute error of an ulp of 1, not of 2|u|: it is made in double length. */
V ts_math_gelu_tanh(const TsFn *f, V x)
{
	double a_hi = f->f64 ? 0x1.9884533d43651p+0 : 0x1.988454p+0, a_lo = f->f64 ? -0x1.cbc0d30ebfd15p-54 : -0x1.857936p-25;
	double b_hi = f->f64 ? 0x1.2444f2a4d8b4bp-4 : 0x1.2444f2p-4, b_lo = f->f64 ? -0x1.6c843a29d1c70p-61 : 0x1.49b16ap-29;
	V below = CMP(OLT, x, NUM(0)), one = NUM(1), a = ts_fmin_keep(f, ts_fabs(f, x), f->f64 ? 22 : 11), lo, q;
	TsPair sq = ts_two_prod(f, a, a), bx = ts_two_prod(f, sq.hi, NUM(b_hi)), sum = ts_two_sum(f, bx.hi, NUM(a_hi)), u;
	TsExp e;

	lo = FADD(FMA(sq.hi, NUM(b_lo), FMUL(sq.lo, NUM(b_hi))), FADD(bx.lo, NUM(a_lo)));
	lo = FADD(lo, sum.lo);
	u = ts_two_prod(f, sum.hi, a);
	e = ts_exp_parts(f, LLVMBuildFNeg(f->b, u.hi, ""), LLVMBuildFNeg(f->b, FMA(lo, a, u.lo), ""));
	q = FDIV(SEL(below, FMUL(LLVMBuildFNeg(f->b, a, ""), e.p), x), FADD(ts_exp_value(f, e), one));
	return ts_nan_at_minus_inf(f, x, FMUL(FMUL(q, SEL(below, e.s1, one)), SEL(below, e.s2, one)));
}
