/* Conversions and remainders that compilers call by name where the processor has no instruction: exact, one rounding to nearest even,
 * NaN stays a (quiet) NaN with its sign. Halves travel as _Float16 in the ABI of x86-64, bf16 as __bf16: both in xmm registers. */
#include <stdint.h>

typedef union { float f; uint32_t u; } F32;
typedef union { double f; uint64_t u; } F64;
typedef union { _Float16 f; uint16_t u; } F16;
/* older compilers have no __bf16, whose values travel in the same register as _Float16 ones */
typedef _Float16 Bf16Register;

float __extendhfsf2(_Float16 x);
double __extendhfdf2(_Float16 x);
_Float16 __truncsfhf2(float x);
_Float16 __truncdfhf2(double x);
Bf16Register __truncsfbf2(float x);
Bf16Register __truncdfbf2(double x);
float __extendbfsf2(Bf16Register x);
float __gnu_h2f_ieee(uint16_t x);
uint16_t __gnu_f2h_ieee(float x);
double fmod(double x, double y);
float fmodf(float x, float y);

/* x, given as sign, exponent and 53-bit significand of a double, rounded to a float format with `mant` stored bits and `exp` exponent
 * bits. Rounds once, from all the bits of x. */
static uint16_t narrow(uint64_t x, int exp, int mant)
{
	uint16_t sign = (uint16_t)(x >> 63 << 15), inf = (uint16_t)(((1u << exp) - 1) << mant);
	int e = (int)(x >> 52 & 0x7ff);
	uint64_t m = x & ((1ull << 52) - 1);
	if (e == 0x7ff)
		return (uint16_t)(sign | inf | (m ? (1u << (mant - 1)) | (m >> (52 - mant) & ((1u << (mant - 1)) - 1)) : 0));
	if (e == 0)
		return sign; /* zero, or a double's subnormal, far below half of the smallest */
	m |= 1ull << 52;
	int unbiased = e - 1023, lowest = 2 - (1 << (exp - 1)); /* exponent of the smallest normal */
	int shift = 52 - mant + (unbiased < lowest ? lowest - unbiased : 0);
	if (shift > 54)
		return sign;
	uint64_t kept = m >> shift, rest = m & ((1ull << shift) - 1), half = 1ull << (shift - 1);
	kept += rest > half || (rest == half && (kept & 1));
	/* kept holds the hidden bit for normals; a carry into the exponent is right by itself */
	uint64_t bits = unbiased < lowest ? kept : kept + ((uint64_t)(unbiased - lowest) << mant);
	return (uint16_t)(sign | (bits >= inf ? inf : bits));
}

/* a float's bits as those of the equal double; NaN stays quiet or signalling by its top bit, made quiet by narrow */
static uint64_t widen(uint32_t x)
{
	uint64_t sign = (uint64_t)(x >> 31) << 63;
	uint32_t e = x >> 23 & 0xff, m = x & 0x7fffff;
	if (e == 0xff)
		return sign | 0x7ffull << 52 | (uint64_t)m << 29;
	if (e)
		return sign | (uint64_t)(e - 127 + 1023) << 52 | (uint64_t)m << 29;
	if (!m)
		return sign;
	int up = __builtin_clz(m) - 8;
	return sign | (uint64_t)(1023 - 126 - up) << 52 | ((uint64_t)m << (29 + up) & ((1ull << 52) - 1));
}

static uint32_t half_to_float(uint16_t x)
{
	uint32_t sign = (uint32_t)(x >> 15) << 31, e = x >> 10 & 31, m = x & 0x3ff;
	if (e == 31)
		return sign | 0x7f800000 | (m ? 0x400000 | m << 13 : 0);
	if (e)
		return sign | (e - 15 + 127) << 23 | m << 13;
	if (!m)
		return sign;
	uint32_t up = (uint32_t)__builtin_clz(m) - 21;
	return sign | (127 - 14 - up) << 23 | (m << (13 + up) & 0x7fffff);
}

float __extendhfsf2(_Float16 x) { return (F32){ .u = half_to_float((F16){ .f = x }.u) }.f; }
double __extendhfdf2(_Float16 x) { return (F32){ .u = half_to_float((F16){ .f = x }.u) }.f; }
_Float16 __truncsfhf2(float x) { return (F16){ .u = narrow(widen((F32){ .f = x }.u), 5, 10) }.f; }
_Float16 __truncdfhf2(double x) { return (F16){ .u = narrow((F64){ .f = x }.u, 5, 10) }.f; }
float __gnu_h2f_ieee(uint16_t x) { return (F32){ .u = half_to_float(x) }.f; }
uint16_t __gnu_f2h_ieee(float x) { return narrow(widen((F32){ .f = x }.u), 5, 10); }
Bf16Register __truncsfbf2(float x) { return (F16){ .u = narrow(widen((F32){ .f = x }.u), 8, 7) }.f; }
Bf16Register __truncdfbf2(double x) { return (F16){ .u = narrow((F64){ .f = x }.u, 8, 7) }.f; }
float __extendbfsf2(Bf16Register x) { return (F32){ .u = (uint32_t)(F16){ .f = x }.u << 16 }.f; }

/* significand with its top bit in place, subnormal or not; the exponent to go with it */
static int64_t normal(uint64_t x, int mant, uint64_t *m)
{
	uint64_t hidden = 1ull << mant;
	int64_t e = (int64_t)(x >> mant);
	*m = x & (hidden - 1);
	if (e)
		*m |= hidden;
	else
		for (e = 1; *m < hidden; e--)
			*m <<= 1;
	return e;
}

/* x - n*y for the integer n that x/y truncates to: long division of the significands, bit by bit, so exact */
static uint64_t remainder_bits(uint64_t x, uint64_t y, int mant, uint64_t inf)
{
	uint64_t sign_bit = (inf + (1ull << mant)), hidden = 1ull << mant, sign = x & sign_bit, a = x & (sign_bit - 1), b = y & (sign_bit - 1);
	if (b > inf || a >= inf || b == 0)
		return inf | hidden >> 1; /* NaN, or an invalid operation */
	if (a < b)
		return x;
	if (b == inf)
		return x;
	uint64_t ma, mb;
	int64_t ea = normal(a, mant, &ma), eb = normal(b, mant, &mb);
	for (; ea > eb; ea--)
		ma = (ma >= mb ? ma - mb : ma) << 1;
	if (ma >= mb)
		ma -= mb;
	if (!ma)
		return sign;
	for (; ma < hidden; ea--)
		ma <<= 1;
	return sign | (ea >= 1 ? ((uint64_t)ea << mant) | (ma & (hidden - 1)) : ma >> (1 - ea)); /* the bits shifted out are zeros */
}

double fmod(double x, double y) { return (F64){ .u = remainder_bits((F64){ .f = x }.u, (F64){ .f = y }.u, 52, 0x7ffull << 52) }.f; }
float fmodf(float x, float y) { return (F32){ .u = (uint32_t)remainder_bits((F32){ .f = x }.u, (F32){ .f = y }.u, 23, 0xffull << 23) }.f; }
