/* f32 words for which NVIDIA GPUs have instructions that are near enough. */
#include "backend/llvm/math_impl.h"
#include <string.h>

#define LOG2E 1.4426950408889634
#define LOG2E_HI 0x1.715476p+0
#define LOG2E_LO 0x1.4ae0cp-26

/* within 2 ulp where the result is normal; subnormal results are 0 */
static V exp2_flushed(const TsFn *f, V x) { return ts_fintr(f, "llvm.nvvm.ex2.approx.ftz", &x, 1); }
static V exp2_near(const TsFn *f, V x) { return ts_fintr(f, "llvm.nvvm.ex2.approx", &x, 1); }

static V larger(const TsFn *f, V x, V y) { return ts_fintr(f, "llvm.maximum", (V[]){ x, y }, 2); }
static V smaller(const TsFn *f, V x, V y) { return ts_fintr(f, "llvm.minimum", (V[]){ x, y }, 2); }

/* 2^n 2^r with n the nearest integer to x log2(e), r what is left of it in double length: within 4 ulp, subnormal results too. Beyond
 * the clamp results are 0 and infinity; NaN passes through it. */
static V exp_near(const TsFn *f, V x)
{
	V magic = NUM(0x1.8p23), n, r;

	x = smaller(f, larger(f, x, NUM(-105)), NUM(90));
	n = FSUB(FMA(x, NUM(LOG2E_HI), magic), magic);
	r = FMA(x, NUM(LOG2E_LO), FMA(x, NUM(LOG2E_HI), LLVMBuildFNeg(f->b, n, "")));
	return FMUL(exp2_near(f, r), exp2_near(f, n));
}

static V inverse(const TsFn *f, V x) { return ts_fintr(f, "llvm.nvvm.rcp.approx.ftz.f", &x, 1); }

/* 1 / (1 + exp(-(hi + lo))): ex2 of the rounded product with log2(e), and what the rounding lost put right afterwards. Beyond the clamps
 * the result is 0 and 1; NaN passes. */
static V logistic(const TsFn *f, V hi, V lo)
{
	V c = NUM(-LOG2E_HI), t = FMUL(hi, c), lost = FMA(hi, NUM(-LOG2E_LO), FMA(hi, c, LLVMBuildFNeg(f->b, t, ""))), e;

	if (lo)
		lost = FMA(lo, c, lost);
	e = exp2_flushed(f, smaller(f, t, NUM(126)));
	e = FMA(FMUL(e, NUM(0x1.62e43p-1)), lost, e);
	e = SEL(CMP(OGT, t, NUM(126)), NUM(0), inverse(f, FADD(e, NUM(1))));
	return SEL(CMP(OLT, t, NUM(-126)), NUM(1), e);
}

/* x Phi(x) in its tanh form is x / (1 + exp(-2 sqrt(2/pi) (x + 0.044715 x^3))) */
static V gelu_tanh(const TsFn *f, V x)
{
	const double a = 1.5957691216057308, b = a * 0.044715;
	V z = FMUL(x, x), z_lost = FMA(x, x, LLVMBuildFNeg(f->b, z, ""));
	V q = FMA(z, NUM(b), NUM(a)), q_lost = FMA(z_lost, NUM(b), FMA(z, NUM(b), FSUB(NUM(a), q)));
	V hi = FMUL(x, q), lo = FMA(x, q_lost, FMA(x, q, LLVMBuildFNeg(f->b, hi, "")));

	return FMUL(x, logistic(f, hi, lo));
}

static V sigmoid(const TsFn *f, V x) { return logistic(f, x, NULL); }
static V silu(const TsFn *f, V x) { return FMUL(x, logistic(f, x, NULL)); }

/* ---- within 2^-16, for results that are rounded to 16 bits ---- */

/* 1 / (1 + 2^t). Beyond 2^126 it is 0, as 2^-t is flushed there. */
static V logistic2_near(const TsFn *f, V t) { return inverse(f, FADD(exp2_flushed(f, t), NUM(1))); }

static V sigmoid_near(const TsFn *f, V x) { return logistic2_near(f, FMUL(x, NUM(-LOG2E))); }
static V silu_near(const TsFn *f, V x) { return FMUL(x, sigmoid_near(f, x)); }

/* The exponent is off by 2^-23 of itself, at most 126. */
static V gelu_tanh_near(const TsFn *f, V x)
{
	const double a = -1.5957691216057308 * LOG2E, b = a * 0.044715;

	return FMUL(x, logistic2_near(f, FMUL(x, FMA(FMUL(x, x), NUM(b), NUM(a)))));
}

/* 1 - 2 / (1 + e^2x); near 0, where that cancels, its series: 2^-20 where they meet */
static V tanh_near(const TsFn *f, V x)
{
	static const double series[] = { 1, -1.0 / 3, 2.0 / 15, -17.0 / 315 };
	V z = FMUL(x, x), far = FMA(inverse(f, FADD(exp2_flushed(f, FMUL(x, NUM(2 * LOG2E))), NUM(1))), NUM(-2), NUM(1));

	return SEL(CMP(OLT, z, NUM(0.0625)), FMUL(x, POLY(z, series)), far);
}

/* Phi(-a) = exp(-a^2/2) w P(w), w = 1/(1 + 0.305 a), 0 <= a <= 13.2: 2^-17.7; rounding makes it 2^-16.7. (|x| + x)/2 is max(x, 0) but for
 * NaN at -inf. */
static V gelu_near(const TsFn *f, V x)
{
	static const double p[] = { 0x1.f3ad34p-4, 0x1.de8a0cp-4, 0x1.1e84f8p-3, -0x1.6a9482p-9, 0x1.9ad10ap-3, -0x1.398ca6p-4 };
	V size = ts_fabs(f, x), a = smaller(f, size, NUM(14.8)), w = inverse(f, FMA(a, NUM(0x1.3851ecp-2), NUM(1)));
	V e = exp2_flushed(f, FMUL(FMUL(a, a), NUM(-0.5 * LOG2E))), tail = FMUL(FMUL(POLY(w, p), w), e);

	return FMA(LLVMBuildFNeg(f->b, a, ""), tail, FMA(size, NUM(0.5), FMUL(x, NUM(0.5))));
}

static V exp_of_near(const TsFn *f, V x) { return exp2_near(f, FMUL(x, NUM(LOG2E))); }

static const struct { const char *word; V (*one)(const TsFn *f, V x); } near_words[] = {
	{ "exp", exp_of_near }, { "sigmoid", sigmoid_near }, { "silu", silu_near }, { "gelu", gelu_near }, { "gelu_tanh", gelu_tanh_near }, { "tanh", tanh_near },
};

V ts_math_nv(const TsFn *f, const char *word, V const *x, unsigned n)
{
	if (f->f64 || f->lanes)
		return NULL;
	for (int i = 0; i < LEN(near_words) && f->near && n == 1; i++)
		if (!strcmp(word, near_words[i].word))
			return near_words[i].one(f, x[0]);
	if (n == 1 && !strcmp(word, "tf32"))
		return FLT(ts_fintr(f, "llvm.nvvm.f2tf32.rna", (V *)x, 1));
	if (n == 1 && !strcmp(word, "exp2"))
		return exp2_flushed(f, x[0]);
	if (n == 1 && !strcmp(word, "exp"))
		return exp_near(f, x[0]);
	if (n == 1 && !strcmp(word, "sigmoid"))
		return sigmoid(f, x[0]);
	if (n == 1 && !strcmp(word, "silu"))
		return silu(f, x[0]);
	if (n == 1 && !strcmp(word, "gelu_tanh"))
		return gelu_tanh(f, x[0]);
	if (n == 2 && !strcmp(word, "maximum"))
		return larger(f, x[0], x[1]);
	if (n == 2 && !strcmp(word, "minimum"))
		return smaller(f, x[0], x[1]);
	return NULL;
}
