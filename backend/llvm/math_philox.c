/* Philox4x32-10: ten rounds of two 32 x 32 -> 64 bit products, as published with Random123. */
#include "backend/llvm/math.h"

static LLVMValueRef same_type(LLVMValueRef like, uint32_t x)
{
	LLVMTypeRef t = LLVMTypeOf(like);
	LLVMValueRef c, all[1024];

	if (LLVMGetTypeKind(t) != LLVMVectorTypeKind)
		return LLVMConstInt(t, x, false);
	c = LLVMConstInt(LLVMGetElementType(t), x, false);
	for (unsigned i = 0; i < LLVMGetVectorSize(t) && i < 1024; i++)
		all[i] = c;
	return LLVMConstVector(all, LLVMGetVectorSize(t));
}

/* The high and low half of x * k, where x is seen as 64-bit lanes: a product of the lower halves and one of the upper halves, which is
 * what x86's vector multiplication does. */
static void mul_wide_pairs(const TsMath *m, LLVMValueRef x, uint32_t k, LLVMValueRef *hi, LLVMValueRef *lo)
{
	LLVMBuilderRef b = m->b;
	LLVMTypeRef t = LLVMTypeOf(x), wide = LLVMVectorType(LLVMInt64TypeInContext(m->cx), LLVMGetVectorSize(t) / 2);
	LLVMValueRef w = LLVMBuildBitCast(b, x, wide, ""), like = LLVMConstNull(wide), factor = same_type(like, k), by = same_type(like, 32);
	LLVMValueRef low = same_type(like, 0xffffffff), even, odd;

	even = LLVMBuildMul(b, LLVMBuildAnd(b, w, low, ""), factor, "");
	odd = LLVMBuildMul(b, LLVMBuildLShr(b, w, by, ""), factor, "");
	*hi = LLVMBuildOr(b, LLVMBuildLShr(b, even, by, ""), LLVMBuildAnd(b, odd, LLVMBuildNot(b, low, ""), ""), "");
	*lo = LLVMBuildOr(b, LLVMBuildAnd(b, even, low, ""), LLVMBuildShl(b, odd, by, ""), "");
	*hi = LLVMBuildBitCast(b, *hi, t, "");
	*lo = LLVMBuildBitCast(b, *lo, t, "");
}

static void mul_wide(const TsMath *m, LLVMValueRef x, uint32_t k, LLVMValueRef *hi, LLVMValueRef *lo)
{
	LLVMTypeRef t = LLVMTypeOf(x), i64 = LLVMInt64TypeInContext(m->cx), wide = i64;
	LLVMValueRef p, by;

	if (LLVMGetTypeKind(t) == LLVMVectorTypeKind) {
		if (LLVMGetVectorSize(t) % 2 == 0) {
			mul_wide_pairs(m, x, k, hi, lo);
			return;
		}
		wide = LLVMVectorType(i64, LLVMGetVectorSize(t));
	}
	p = LLVMBuildMul(m->b, LLVMBuildZExt(m->b, x, wide, ""), LLVMBuildZExt(m->b, same_type(x, k), wide, ""), "");
	by = LLVMBuildZExt(m->b, same_type(x, 32), wide, "");
	*hi = LLVMBuildTrunc(m->b, LLVMBuildLShr(m->b, p, by, ""), t, "");
	*lo = LLVMBuildTrunc(m->b, p, t, "");
}

void ts_math_philox(const TsMath *m, LLVMValueRef const ctr[4], LLVMValueRef const key[2], LLVMValueRef out[4])
{
	LLVMValueRef c[4] = { ctr[0], ctr[1], ctr[2], ctr[3] }, k0 = key[0], k1 = key[1], hi0, lo0, hi1, lo1;

	for (int round = 0; round < 10; round++) {
		mul_wide(m, c[0], 0xd2511f53, &hi0, &lo0);
		mul_wide(m, c[2], 0xcd9e8d57, &hi1, &lo1);
		c[0] = LLVMBuildXor(m->b, LLVMBuildXor(m->b, hi1, c[1], ""), k0, "");
		c[1] = lo1;
		c[2] = LLVMBuildXor(m->b, LLVMBuildXor(m->b, hi0, c[3], ""), k1, "");
		c[3] = lo0;
		k0 = LLVMBuildAdd(m->b, k0, same_type(k0, 0x9e3779b9), "");
		k1 = LLVMBuildAdd(m->b, k1, same_type(k1, 0xbb67ae85), "");
	}
	for (int i = 0; i < 4; i++)
		out[i] = c[i];
}
