/* f32 words for which NVIDIA GPUs have instructions that are near enough. */
#include "backend/llvm/math_impl.h"
#include <string.h>

#define LOG2E 1.4426950408889634
#define LOG2E_HI 0x1.715476p+0
#define LOG2E_LO 0x1.4ae0cp-26

/* within 2 ulp where the result is normal; subnormal results are 0 */
static V exp2_flushed(const TsFn *f, V x) { return ts_fintr(f, "llvm.nvvm.ex2.approx.ftz", &x, 1); }
static V exp2_near(const TsFn *f, V x) { return ts_fintr(f, "llvm.nvvm.ex2.approx", &x, 1); }
static V inverse(const TsFn *f, V x) { return ts_fintr(f, "llvm.nvvm.rcp.approx.ftz.f", &x, 1); }

/* within 2^-22.9; 0 gives infinity with its sign */
static V root_inverse_near(const TsFn *f, V x) { return ts_fintr(f, "llvm.nvvm.rsqrt.approx.f", &x, 1); }

static V larger(const TsFn *f, V x, V y) { return ts_fintr(f, "llvm.maximum", (V[]){ x, y }, 2); }
static V smaller(const TsFn *f, V x, V y) { return ts_fintr(f, "llvm.minimum", (V[]){ x, y }, 2); }

/* 2^t = p s: s = 2^n is normal, p takes what is left, so that a product with s rounds once even where it is subnormal, and is 0 or
 * infinity where that is the value. */
typedef struct { V n, s, p; } Power;

/* n, the nearest integer to x by, which lies in -126..126, and 2^n: its exponent is the sum's last bits. */
static Power whole(const TsFn *f, V x, double by)
{
	V sum = by == 1 ? FADD(x, NUM(0x1.8p23 + 127)) : FMA(x, NUM(by), NUM(0x1.8p23 + 127));

	return (Power){ .n = FSUB(sum, NUM(0x1.8p23 + 127)), .s = FLT(SHL(BITS(sum), INT(23))) };
}

/* e^x, x log2(e) in double length; clamped: x within what 2^n reaches. NaN passes. */
static Power exp_parts(const TsFn *f, V x, V clamped)
{
	Power e = whole(f, clamped, LOG2E_HI);

	e.p = exp2_flushed(f, FMA(x, NUM(LOG2E_LO), FMA(x, NUM(LOG2E_HI), LLVMBuildFNeg(f->b, e.n, ""))));
	return e;
}

/* within 4 ulp, subnormal results too */
static V exp_near(const TsFn *f, V x)
{
	Power e = exp_parts(f, x, smaller(f, larger(f, x, NUM(-87)), NUM(87)));

	return FMUL(e.p, e.s);
}

/* by / (1 + 1/e) where x < 0, else by / (1 + e), with e at most 1; by may be NULL. The inverse is put right by what it and the sum lost.
 * The factor s comes last: it rounds once. */
static V over_one_and(const TsFn *f, V x, Power e, V by)
{
	V d = FMA(e.p, e.s, NUM(1)), lost = FMA(e.p, e.s, FSUB(NUM(1), d)), q = inverse(f, d), below = CMP(OLT, x, NUM(0));
	V off = FMA(LLVMBuildFNeg(f->b, lost, ""), q, FMA(LLVMBuildFNeg(f->b, d, ""), q, NUM(1)));

	q = FMA(q, off, q);
	q = FMUL(q, SEL(below, e.p, NUM(1)));
	if (by)
		q = FMUL(by, q);
	return FMUL(q, SEL(below, e.s, NUM(1)));
}

static Power exp_of_size(const TsFn *f, V x)
{
	V w = LLVMBuildFNeg(f->b, ts_fabs(f, x), "");

	return exp_parts(f, w, larger(f, w, NUM(-87)));
}

static V sigmoid(const TsFn *f, V x) { return over_one_and(f, x, exp_of_size(f, x), NULL); }
static V silu(const TsFn *f, V x) { return over_one_and(f, x, exp_of_size(f, x), x); }

/* x Phi(x) in its tanh form is x / (1 + 2^-t), t = 2 sqrt(2/pi) log2(e) (x + 0.044715 x^3) in double length. The first constant's head is
 * short, so that a sum less it is exact. Beyond the clamp the result is 0 or x. */
static V gelu_tanh(const TsFn *f, V x)
{
	const double a = -1.5957691216057308 * LOG2E, b = a * 0.044715, ah = -0x1.26bp+1, bh = (float)b;
	V size = smaller(f, ts_fabs(f, x), NUM(15)), z = FMUL(size, size), z_lost = FMA(size, size, LLVMBuildFNeg(f->b, z, ""));
	V q = FMA(z, NUM(bh), NUM(ah)), q_lost = FADD(FMA(z, NUM(bh), FSUB(NUM(ah), q)), FMA(z_lost, NUM(bh), FMA(z, NUM(b - bh), NUM(a - ah))));
	V hi = FMUL(size, q), lo = FMA(size, q_lost, FMA(size, q, LLVMBuildFNeg(f->b, hi, "")));
	Power e = whole(f, larger(f, hi, NUM(-126)), 1);

	e.p = exp2_flushed(f, FADD(FSUB(hi, e.n), lo));
	return over_one_and(f, x, e, x);
}

/* ---- within 2^-16, for results that are rounded to 16 bits ---- */

/* 1 / (1 + 2^(u + 24)) as 2^-24 / (2^-24 + 2^u): what the instructions flush is then beyond the least bf16. */
static V logistic2_near(const TsFn *f, V u) { return FMUL(inverse(f, FADD(exp2_flushed(f, u), NUM(0x1p-24))), NUM(0x1p-24)); }

static V sigmoid_near(const TsFn *f, V x) { return logistic2_near(f, FMA(x, NUM(-LOG2E), NUM(-24))); }
static V silu_near(const TsFn *f, V x) { return FMUL(x, sigmoid_near(f, x)); }

/* The exponent is off by 2^-23 of itself, at most 150. */
static V gelu_tanh_near(const TsFn *f, V x)
{
	const double a = -1.5957691216057308 * LOG2E, b = a * 0.044715;

	return FMUL(x, logistic2_near(f, FMA(x, FMA(FMUL(x, x), NUM(b), NUM(a)), NUM(-24))));
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
	V e = exp2_flushed(f, FMA(FMUL(a, a), NUM(-0.5 * LOG2E), NUM(24))), tail = FMUL(FMUL(FMUL(POLY(w, p), w), e), NUM(0x1p-24)); /* e times 2^24 is not flushed */

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
	if (n == 1 && !strcmp(word, "rsqrt"))
		return root_inverse_near(f, x[0]);
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
