/* pow, mod and floordiv. */
#include "backend/llvm/math_impl.h"

/* log((1 + s)/(1 - s)) = 2s + s z (2/3 + z P(z)), z = s^2, s in [-0.172, 0.172]: 2^-66 */
static const double atanh_p[] = { 0x1.9999999999b30p-2, 0x1.2492492457d58p-2, 0x1.c71c722d6723cp-3, 0x1.745ce9e2f0394p-3, 0x1.3b1eec269e043p-3,
	0x1.0f7fe64dc775cp-3, 0x1.0e42d239926c6p-3 };

/* ---- x^y for x >= 0 ---------------------------------------------------------------------------------------------------------- */

/* a product of pairs, within 2^-100 */
static TsPair mul_pair(const TsFn *f, TsPair a, TsPair b)
{
	TsPair p = ts_two_prod(f, a.hi, b.hi);

	return ts_fast_sum(f, p.hi, FADD(p.lo, FMA(a.hi, b.lo, FMUL(a.lo, b.hi))));
}

/* log of a finite x > 0 to about 2^-65 of itself, which y log x <= 745 needs for an ulp. The terms: e ln2 in two parts, the first exact;
 * 2s; s z (2/3 + z P), where only z P is in single length: it is below 2^-6 of 2/3 and the whole below 2^-6.6 of 2s. */
static TsPair log_pair(const TsFn *f, V x)
{
	TsLogParts l = ts_log_parts(f, x);
	V g = FSUB(l.m, NUM(1)), d_hi = FADD(g, NUM(2)), d_lo = FSUB(g, FSUB(d_hi, NUM(2))), q;
	TsPair s, z, r, p, sum;

	s.hi = FDIV(g, d_hi);
	p = ts_two_prod(f, s.hi, d_hi);
	s.lo = FDIV(FSUB(FSUB(FSUB(g, p.hi), p.lo), FMUL(s.hi, d_lo)), d_hi);
	z = mul_pair(f, s, s);
	q = FMUL(z.hi, POLY(z.hi, atanh_p));
	r = ts_fast_sum(f, NUM(0x1.5555555555555p-1), q);
	r.lo = FADD(r.lo, NUM(0x1.5555555555555p-55));
	r = mul_pair(f, mul_pair(f, s, z), r);
	sum = ts_two_sum(f, FMUL(l.e, NUM(0x1.62e42feep-1)), FMUL(s.hi, NUM(2)));
	p = ts_two_sum(f, sum.hi, r.hi);
	q = FADD(FADD(sum.lo, p.lo), FADD(r.lo, FMA(l.e, NUM(0x1.a39ef35793c76p-33), FMUL(s.lo, NUM(2)))));
	return ts_fast_sum(f, p.hi, q);
}

/* f64: exp of y times the pair. Past +-760 the result is 0 or infinite and the low part, perhaps inf - inf, is left out. */
static V pow_positive64(const TsFn *f, V x, V y)
{
	V zero = CMP(OEQ, x, NUM(0)), inf = CMP(OEQ, x, NUM(__builtin_inf())), edge = LLVMBuildOr(f->b, zero, inf, ""), lo, ok;
	TsPair l = log_pair(f, x), p;

	l.hi = SEL(edge, SEL(zero, NUM(-__builtin_inf()), x), l.hi);
	p = ts_two_prod(f, l.hi, y);
	lo = FMA(l.lo, y, p.lo);
	ok = CMP(OLT, ts_fabs(f, p.hi), NUM(760));
	return ts_exp_value(f, ts_exp_parts(f, p.hi, SEL(ok, lo, NUM(0))));
}

/* f32: in f64 throughout, where log2 and exp2 leave nothing to see after the one rounding to f32 */
static V pow_positive32(const TsFn *f, V x, V y)
{
	TsFn wide;
	V r;

	ts_fn_as(&wide, f, true);
	r = ts_math_log2(&wide, LLVMBuildFPExt(f->b, x, wide.ft, ""));
	r = LLVMBuildFMul(f->b, r, LLVMBuildFPExt(f->b, y, wide.ft, ""), "");
	return LLVMBuildFPTrunc(f->b, ts_math_exp2(&wide, r), f->ft, "");
}

/* C's pow: the rules in the order in which the later one wins. */
V ts_math_pow(const TsFn *f, V x, V y)
{
	V a = ts_fabs(f, x), one = NUM(1), inf = NUM(__builtin_inf()), nan = NUM(__builtin_nan("")), half = FMUL(y, NUM(0.5));
	V whole = CMP(OEQ, y, ts_ffloor(f, y)), odd, below, r;

	odd = LLVMBuildAnd(f->b, whole, CMP(ONE, half, ts_ffloor(f, half)), "");
	r = f->f64 ? pow_positive64(f, a, y) : pow_positive32(f, a, y);
	r = SEL(CMP(OEQ, a, one), one, r); /* 1 and -1 to the power +-inf */
	r = SEL(odd, ts_fcopysign(f, r, x), r);
	below = LLVMBuildAnd(f->b, CMP(OLT, x, NUM(0)), CMP(ONE, a, inf), "");
	r = SEL(LLVMBuildAnd(f->b, below, LLVMBuildNot(f->b, whole, ""), ""), nan, r);
	r = SEL(CMP(UNO, x, y), nan, r);
	return SEL(LLVMBuildOr(f->b, CMP(OEQ, y, NUM(0)), CMP(OEQ, x, one), ""), one, r);
}

/* ---- remainders -------------------------------------------------------------------------------------------------------------- */

/* One step of long division: r less a multiple of d, exact, for 0 <= r < 2^51 d. The quotient's rounding may have made it one too
 * large: then the remainder is negative and d comes back. */
static V division_step(const TsFn *f, V r, V d)
{
	V q = ts_ffloor(f, FDIV(r, d));
	TsPair p;

	d = ts_fmin_keep(f, d, 0x1.fffffffffffffp1023); /* d past the range is past r too: q is 0, and so is q d */
	p = ts_two_prod(f, q, d);
	q = FSUB(FSUB(r, p.hi), p.lo);
	return SEL(CMP(OLT, q, NUM(0)), FADD(q, d), q);
}

/* |a| fmod |b| in f64, exact: long division in digits of 48 bits. A quotient of two f32 has 277 bits at most, one of two f64 2098. */
static V remainder_positive(const TsFn *f, V a, V b, int bits)
{
	int digit = 48;

	for (int k = bits / digit; k >= 0; k--) {
		int up = k * digit, part = up > 1000 ? 1000 : up;
		V d = FMUL(b, NUM(__builtin_ldexp(1, part)));

		if (up > part)
			d = FMUL(d, NUM(__builtin_ldexp(1, up - part > 1000 ? 1000 : up - part)));
		if (up > 2000)
			d = FMUL(d, NUM(__builtin_ldexp(1, up - 2000)));
		a = division_step(f, a, d);
	}
	return a;
}

/* C's fmod: NaN for b = 0 or a infinite; a itself for b infinite; the sign of a */
static V truncated_mod(const TsFn *f, V a, V b)
{
	TsFn w;
	V x = ts_fabs(f, a), y = ts_fabs(f, b), r, inf = NUM(__builtin_inf()), bad;

	ts_fn_as(&w, f, true);
	if (f->f64)
		r = remainder_positive(f, x, y, 2098);
	else
		r = LLVMBuildFPTrunc(f->b, remainder_positive(&w, LLVMBuildFPExt(f->b, x, w.ft, ""), LLVMBuildFPExt(f->b, y, w.ft, ""), 277), f->ft, "");
	bad = LLVMBuildOr(f->b, CMP(UEQ, y, NUM(0)), CMP(UEQ, x, inf), "");
	r = SEL(CMP(OEQ, y, inf), x, r);
	return SEL(bad, NUM(__builtin_nan("")), ts_fcopysign(f, r, a));
}

/* Python's %: the sign of b, also on zeros */
V ts_math_mod(const TsFn *f, V a, V b)
{
	V r = truncated_mod(f, a, b), differ = CMP(OLT, FMUL(ts_fcopysign(f, NUM(1), r), ts_fcopysign(f, NUM(1), b)), NUM(0));

	return SEL(CMP(OEQ, r, NUM(0)), ts_fcopysign(f, r, b), SEL(differ, FADD(r, b), r));
}

/* Python's //: (a - a % b)/b is within an ulp of a whole number, to which it is rounded; a/b where b = 0. */
V ts_math_floordiv(const TsFn *f, V a, V b)
{
	V r = truncated_mod(f, a, b), q = FDIV(FSUB(a, r), b), plain = FDIV(a, b), floor, one = NUM(1), borrow;

	borrow = LLVMBuildAnd(f->b, CMP(ONE, r, NUM(0)), CMP(OLT, FMUL(ts_fcopysign(f, one, r), ts_fcopysign(f, one, b)), NUM(0)), "");
	q = SEL(borrow, FSUB(q, one), q);
	floor = ts_ffloor(f, q);
	floor = SEL(CMP(OGT, FSUB(q, floor), NUM(0.5)), FADD(floor, one), floor);
	floor = SEL(CMP(OEQ, q, NUM(0)), ts_fcopysign(f, NUM(0), plain), floor);
	return SEL(CMP(OEQ, b, NUM(0)), plain, floor);
}
