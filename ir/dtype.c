#include "ir/dtype.h"
#include <math.h>
#include <string.h>

typedef struct { const char *name; char kind; uint8_t bits, compute; } Row;
static const Row rows[TS_DTYPE_COUNT + 1] = {
#define TS_DTYPE(id, name, kind, bits, compute) [TS_##id] = { name, #kind[0], bits, compute },
#include "ir/dtypes.def"
	[TS_DTYPE_NONE] = { "none", 0, 0, 0 },
};

const char *ts_dtype_name(TsDtype t) { return rows[t].name; }
int ts_dtype_bits(TsDtype t) { return rows[t].bits; }
bool ts_dtype_is_float(TsDtype t) { return rows[t].kind == 'F'; }
bool ts_dtype_is_int(TsDtype t) { return rows[t].kind == 'I' || rows[t].kind == 'U'; }
bool ts_dtype_is_compute(TsDtype t) { return rows[t].compute; }

bool ts_dtype_find(const char *name, TsDtype *out)
{
	for (int t = 0; t < TS_DTYPE_COUNT; t++)
		if (!strcmp(rows[t].name, name)) return *out = (TsDtype)t, true;
	return false;
}

int64_t ts_dtype_bytes(TsDtype t, int64_t n)
{
	if (rows[t].bits == 4) return n / 2 + n % 2;
	int64_t each = rows[t].bits / 8;
	return n > INT64_MAX / (each ? each : 1) ? INT64_MAX : n * each;
}

/* A binary float of up to 16 bits: 1 sign, e exponent and m mantissa bits, subnormals at the smallest exponent.
 * special: what the all-ones exponent holds: 'I' infinities and NaNs, 'N' one NaN (all ones) and numbers else, 0 numbers only. */
typedef struct { uint8_t e, m; int bias; char special; } Small;

static const Small *small_format(TsDtype t)
{
	static const Small f16 = { 5, 10, 15, 'I' }, bf16 = { 8, 7, 127, 'I' }, e4m3 = { 4, 3, 7, 'N' }, e5m2 = { 5, 2, 15, 'I' },
		e2m3 = { 2, 3, 1, 0 }, e3m2 = { 3, 2, 3, 0 }, e2m1 = { 2, 1, 1, 0 };
	switch (t) {
	case TS_F16: return &f16;
	case TS_BF16: return &bf16;
	case TS_FP8_E4M3: return &e4m3;
	case TS_FP8_E5M2: return &e5m2;
	case TS_FP6_E2M3: return &e2m3;
	case TS_FP6_E3M2: return &e3m2;
	case TS_FP4_E2M1: return &e2m1;
	default: return NULL;
	}
}

static double small_decode(const Small *f, uint32_t bits)
{
	uint32_t man = bits & ((1u << f->m) - 1), exp = bits >> f->m & ((1u << f->e) - 1), ones = (1u << f->e) - 1;
	double sign = bits >> (f->e + f->m) & 1 ? -1 : 1;
	if (exp == ones && f->special == 'I') return man ? copysign(NAN, sign) : sign * INFINITY;
	if (exp == ones && f->special == 'N' && man == (1u << f->m) - 1) return copysign(NAN, sign);
	if (!exp) return sign * ldexp(man, 1 - f->bias - f->m);
	return sign * ldexp((1u << f->m) | man, (int)exp - f->bias - f->m);
}

/* Bits of the nearest value, ties to even; past the largest: infinity, or the largest for formats without it. */
static uint32_t small_encode(const Small *f, double x)
{
	uint32_t ones = (1u << f->e) - 1, full = (1u << f->m) - 1, sign = signbit(x) ? 1u << (f->e + f->m) : 0;
	uint32_t largest = f->special == 'I' ? ((ones - 1) << f->m | full) : f->special == 'N' ? (ones << f->m | (full - 1)) : (ones << f->m | full);
	if (isnan(x)) {
		if (f->special == 'I') return sign | ones << f->m | 1u << (f->m - 1);
		return f->special == 'N' ? (sign | ones << f->m | full) : largest;
	}
	double a = fabs(x);
	uint32_t past = f->special == 'I' ? ones << f->m : largest;
	if (isinf(a)) return sign | past;
	int e;
	frexp(a, &e);
	int exp = a > 0 && e - 1 > 1 - f->bias ? e - 1 : 1 - f->bias;       /* exponent of the unit in the last place, less m */
	double q = nearbyint(ldexp(a, f->m - exp));                         /* at most 2^(m+1): exact */
	if (q >= ldexp(1, f->m + 1)) q /= 2, exp++;
	if (q < ldexp(1, f->m)) return sign | (uint32_t)q;                  /* subnormal or zero */
	if (exp + f->bias > (int)ones) return sign | past;
	uint32_t bits = (uint32_t)(exp + f->bias) << f->m | ((uint32_t)q & full);
	return sign | (bits > largest ? past : bits);
}

static void int_limits(TsDtype t, int64_t *lo, int64_t *hi)
{
	int b = rows[t].bits;
	*lo = rows[t].kind == 'U' ? 0 : (int64_t)(~0ull << (b - 1));
	*hi = rows[t].kind == 'U' ? (int64_t)((1ull << b) - 1) : (int64_t)((1ull << (b - 1)) - 1);
}

static uint32_t nibble(const void *p, int64_t i) { return ((const uint8_t *)p)[i / 2] >> (i % 2 * 4) & 15; }

static void set_nibble(void *p, int64_t i, uint32_t v)
{
	uint8_t *b = (uint8_t *)p + i / 2;
	*b = i % 2 ? (uint8_t)((*b & 15) | v << 4) : (uint8_t)((*b & 0xf0) | (v & 15));
}

int64_t ts_elem_get_int(TsDtype t, const void *p, int64_t i)
{
	const char *at = (const char *)p + (rows[t].bits == 4 ? 0 : i * (rows[t].bits / 8));
	switch (t) {
	case TS_INT64: { int64_t v; memcpy(&v, at, 8); return v; }
	case TS_INT32: { int32_t v; memcpy(&v, at, 4); return v; }
	case TS_INT16: { int16_t v; memcpy(&v, at, 2); return v; }
	case TS_INT8: return *(const int8_t *)at;
	case TS_UINT8: return *(const uint8_t *)at;
	case TS_BOOL: return *(const uint8_t *)at != 0;
	case TS_INT4: return ((int64_t)nibble(p, i) ^ 8) - 8;
	default: return 0;
	}
}

void ts_elem_set_int(TsDtype t, void *p, int64_t i, int64_t x)
{
	char *at = (char *)p + (rows[t].bits == 4 ? 0 : i * (rows[t].bits / 8));
	if (t == TS_BOOL) { *at = x != 0; return; }
	int64_t lo, hi;
	int_limits(t, &lo, &hi);
	x = x < lo ? lo : x > hi ? hi : x;
	switch (t) {
	case TS_INT64: memcpy(at, &x, 8); break;
	case TS_INT32: { int32_t v = (int32_t)x; memcpy(at, &v, 4); break; }
	case TS_INT16: { int16_t v = (int16_t)x; memcpy(at, &v, 2); break; }
	case TS_INT8: *(int8_t *)at = (int8_t)x; break;
	case TS_UINT8: *(uint8_t *)at = (uint8_t)x; break;
	case TS_INT4: set_nibble(p, i, (uint32_t)x & 15); break;
	default: break;
	}
}

static int64_t saturate(double x)
{
	if (isnan(x)) return 0;
	return x >= 0x1p63 ? INT64_MAX : x <= -0x1p63 ? INT64_MIN : (int64_t)x;
}

double ts_elem_get(TsDtype t, const void *p, int64_t i)
{
	const Small *f = small_format(t);
	if (f) {
		uint16_t h;
		if (rows[t].bits == 4) return small_decode(f, nibble(p, i));
		if (rows[t].bits == 8) return small_decode(f, ((const uint8_t *)p)[i]);
		memcpy(&h, (const char *)p + i * 2, 2);
		return small_decode(f, h);
	}
	if (t == TS_F64) { double v; memcpy(&v, (const char *)p + i * 8, 8); return v; }
	if (t == TS_F32 || t == TS_COMPLEX64) { float v; memcpy(&v, (const char *)p + i * (t == TS_F32 ? 4 : 8), 4); return v; }
	return (double)ts_elem_get_int(t, p, i);
}

void ts_elem_set(TsDtype t, void *p, int64_t i, double x)
{
	const Small *f = small_format(t);
	if (f) {
		uint32_t b = small_encode(f, x);
		uint16_t h = (uint16_t)b;
		if (rows[t].bits == 4) set_nibble(p, i, b);
		else if (rows[t].bits == 8) ((uint8_t *)p)[i] = (uint8_t)b;
		else memcpy((char *)p + i * 2, &h, 2);
	} else if (t == TS_F64) memcpy((char *)p + i * 8, &x, 8);
	else if (t == TS_F32) { float v = (float)x; memcpy((char *)p + i * 4, &v, 4); }
	else if (t == TS_COMPLEX64) { float v[2] = { (float)x, 0 }; memcpy((char *)p + i * 8, v, 8); }
	else if (t == TS_BOOL) ((uint8_t *)p)[i] = x != 0;
	else ts_elem_set_int(t, p, i, saturate(x));
}

double ts_dtype_round(TsDtype t, double x)
{
	if (t == TS_F32) return (float)x;
	if (t == TS_F64) return x;
	const Small *f = small_format(t);
	if (f) return small_decode(f, small_encode(f, x));
	uint64_t bits = 0;
	ts_elem_set(t, &bits, 0, x);
	return ts_elem_get(t, &bits, 0);
}
