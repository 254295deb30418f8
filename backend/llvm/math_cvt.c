/* Storage types to and from f32 in integer code, without F16C or any other instruction of its own. The rules are ir/dtype.h's. */
#include "backend/llvm/math_impl.h"

/* sign, e exponent and m mantissa bits. top: what the all-ones exponent holds: infinities and NaNs, or one NaN (all ones), or numbers. */
typedef enum { TOP_IEEE, TOP_ONE_NAN, TOP_NUMBERS } Top;
typedef struct { int e, m, bias; Top top; } Small;

static const Small small[TS_DTYPE_COUNT] = {
	[TS_F16] = { 5, 10, 15, TOP_IEEE },
	[TS_BF16] = { 8, 7, 127, TOP_IEEE },
	[TS_FP8_E4M3] = { 4, 3, 7, TOP_ONE_NAN },
	[TS_FP8_E5M2] = { 5, 2, 15, TOP_IEEE },
	[TS_FP6_E2M3] = { 2, 3, 1, TOP_NUMBERS },
	[TS_FP6_E3M2] = { 3, 2, 3, TOP_NUMBERS },
	[TS_FP4_E2M1] = { 2, 1, 1, TOP_NUMBERS },
};

int ts_cvt_bits(TsDtype t)
{
	if ((unsigned)t >= TS_DTYPE_COUNT)
		return 0;
	return t == TS_INT4 ? 8 : !small[t].e ? 0 : small[t].e + small[t].m > 7 ? 16 : 8;
}

static bool is_lanes_of(LLVMTypeRef t, LLVMTypeKind kind, unsigned *lanes)
{
	bool vec = LLVMGetTypeKind(t) == LLVMVectorTypeKind;

	*lanes = vec ? LLVMGetVectorSize(t) : 0;
	return LLVMGetTypeKind(vec ? LLVMGetElementType(t) : t) == kind && *lanes <= 1024;
}

/* f32 builder of so many lanes */
static TsFn f32_of(const TsMath *m, unsigned lanes)
{
	TsFn any = { .cx = m->cx, .mod = m->mod, .b = m->b, .fma = m->fma, .lanes = lanes }, f;

	ts_fn_as(&f, &any, false);
	return f;
}

/* ---- to f32 ------------------------------------------------------------------------------------------------------------------ */

/* Numbers whose exponent field is 0 are mant * 2^place: their bits go below the point of 2^(place + 23), which is then taken away.
 * Multiplying a subnormal f32 would do as well, but costs an assist on some CPUs. */
static V decode_small(const TsFn *f, const Small *s, V bits)
{
	uint64_t ones = (1ull << s->e) - 1, mag = (1ull << (s->e + s->m)) - 1, inf = ones << s->m;
	int place = 1 - s->bias - s->m;
	V a = AND(bits, INT(mag)), sign = SHL(AND(bits, INT(mag + 1)), INT(31 - s->e - s->m)), base, r;

	if (s->bias == 127) /* bf16: the upper half of an f32 */
		return FLT(SHL(bits, INT(16)));
	base = NUM(__builtin_ldexp(1, place + 23));
	r = IADD(SHL(a, INT(23 - s->m)), INT((uint64_t)(127 - s->bias) << 23));
	r = SEL(ICMP(ULT, a, INT(1ull << s->m)), BITS(FSUB(FLT(OR(a, BITS(base))), base)), r);
	if (s->top == TOP_IEEE)
		r = SEL(ICMP(UGE, a, INT(inf)), OR(r, INT(0x7f800000)), r);
	if (s->top == TOP_ONE_NAN)
		r = SEL(ICMP(EQ, a, INT(mag)), INT(0x7fc00000), r);
	return FLT(OR(r, sign));
}

V ts_cvt_from(const TsMath *m, TsDtype t, V ints)
{
	unsigned lanes;
	TsFn fn, *f = &fn;
	V x;

	if (!ts_cvt_bits(t) || !is_lanes_of(LLVMTypeOf(ints), LLVMIntegerTypeKind, &lanes))
		return NULL;
	fn = f32_of(m, lanes);
	x = LLVMBuildZExt(f->b, ints, f->it, "");
	if (t != TS_INT4)
		return decode_small(f, &small[t], x);
	x = ISUB(XOR(AND(x, INT(15)), INT(8)), INT(8));
	return LLVMBuildSIToFP(f->b, x, f->ft, "");
}

/* ---- from f32 ---------------------------------------------------------------------------------------------------------------- */

/* |x| rounded to m bits by adding half a unit, less one if the bit above is even; or, below the smallest normal number, by adding the
 * power of two whose last place is the smallest subnormal. */
static V encode_small(const TsFn *f, const Small *s, V x)
{
	uint64_t ones = (1ull << s->e) - 1, full = (1ull << s->m) - 1, inf = ones << s->m;
	uint64_t largest = s->top == TOP_IEEE ? inf : s->top == TOP_ONE_NAN ? inf | (full - 1) : inf | full;
	int drop = 23 - s->m, place = 1 - s->bias - s->m;
	V u = BITS(x), a = AND(u, INT(0x7fffffff)), sign = AND(SHR(u, INT(31 - s->e - s->m)), INT(1ull << (s->e + s->m))), r, tiny, base, is_nan;

	r = IADD(IADD(a, INT((1ull << (drop - 1)) - 1)), AND(SHR(a, INT(drop)), INT(1)));
	r = ISUB(SHR(r, INT(drop)), INT((uint64_t)(127 - s->bias) << s->m));
	if (s->bias != 127) { /* bf16's subnormals are f32's: nothing to do */
		base = NUM(__builtin_ldexp(1, place + 23));
		tiny = ISUB(BITS(FADD(FLT(a), base)), BITS(base));
		r = SEL(ICMP(ULT, a, INT((uint64_t)(128 - s->bias) << 23)), tiny, r);
	}
	r = SEL(ICMP(UGT, r, INT(largest)), INT(largest), r); /* infinity, where there is one */
	is_nan = ICMP(UGT, a, INT(0x7f800000));
	if (s->top == TOP_NUMBERS)
		return SEL(is_nan, INT(largest), OR(r, sign));
	return OR(SEL(is_nan, INT(s->top == TOP_IEEE ? inf | 1ull << (s->m - 1) : inf | full), r), sign);
}

/* toward zero, within [-8, 7], NaN to 0 */
static V encode_int4(const TsFn *f, V x)
{
	x = ts_fmax_keep(f, ts_fmin_keep(f, x, 7), -8);
	x = SEL(CMP(UNO, x, x), NUM(0), x);
	return AND(LLVMBuildFPToSI(f->b, x, f->it, ""), INT(15));
}

V ts_cvt_to(const TsMath *m, TsDtype t, V f32s)
{
	unsigned lanes;
	TsFn fn, *f = &fn;
	V r;

	if (!ts_cvt_bits(t) || !is_lanes_of(LLVMTypeOf(f32s), LLVMFloatTypeKind, &lanes))
		return NULL;
	fn = f32_of(m, lanes);
	r = t == TS_INT4 ? encode_int4(f, f32s) : encode_small(f, &small[t], f32s);
	return LLVMBuildTrunc(f->b, r, ts_fn_ints(f, (unsigned)ts_cvt_bits(t)), "");
}
