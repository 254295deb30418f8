/* f32 words for which NVIDIA GPUs have instructions that are near enough. */
#include "backend/llvm/math_impl.h"
#include <string.h>

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

V ts_math_nv(const TsFn *f, const char *word, V const *x, unsigned n)
{
	if (f->f64 || f->lanes)
		return NULL;
	if (n == 1 && !strcmp(word, "exp2"))
		return exp2_flushed(f, x[0]);
	if (n == 1 && !strcmp(word, "exp"))
		return exp_near(f, x[0]);
	if (n == 2 && !strcmp(word, "maximum"))
		return larger(f, x[0], x[1]);
	if (n == 2 && !strcmp(word, "minimum"))
		return smaller(f, x[0], x[1]);
	return NULL;
}
