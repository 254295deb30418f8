/* Element types: every bit pattern of the 8 and 16 bit types round trips, every midpoint rounds to even, nothing leaves a type's range. */
#include "ir/dtype.h"
#include "tests/unit/check.h"
#include <math.h>
#include <string.h>

static int patterns(TsDtype t)
{
	if (t == TS_FP6_E2M3 || t == TS_FP6_E3M2) return 64;
	return ts_dtype_bits(t) == 4 ? 16 : ts_dtype_bits(t) == 8 ? 256 : 65536;
}

static double value(TsDtype t, int bits)
{
	uint16_t p[2] = { (uint16_t)bits, 0 };
	return ts_elem_get(t, p, 0);
}

static int encode(TsDtype t, double x)
{
	uint16_t p[2] = { 0 };
	ts_elem_set(t, p, 0, x);
	return p[0];
}

/* Each value comes back as the same bits (any NaN as a NaN), and lies between its neighbours' midpoints. */
static void test_small(TsDtype t)
{
	int n = patterns(t), half = n / 2, bad = 0, ties = 0, nan_lost = 0;
	for (int i = 0; i < n; i++) {
		double x = value(t, i);
		if (isnan(x)) nan_lost += !isnan(value(t, encode(t, x)));
		else bad += encode(t, x) != i || signbit(x) != (i >= half);
	}
	for (int i = 0; i + 1 < half; i++) {
		double a = value(t, i), b = value(t, i + 1), mid = (a + b) / 2;
		if (isnan(b) || isinf(b)) break;
		int even = i % 2 ? i + 1 : i;
		ties += encode(t, mid) != even || encode(t, nextafter(mid, 0)) != i || encode(t, nextafter(mid, INFINITY)) != i + 1 || encode(t, -mid) != half + even;
	}
	const char *name = ts_dtype_name(t);
	char text[64];
	snprintf(text, sizeof text, "%s-round-trips", name);
	check(text, !bad && !nan_lost, "%d values, %d NaNs", bad, nan_lost);
	snprintf(text, sizeof text, "%s-ties-to-even", name);
	check(text, !ties, "%d midpoints", ties);
}

/* f16 and bf16 against the compiler's own conversion. */
static void test_against_compiler(void)
{
	int bad = 0;
	for (int i = 0; i < 65536; i++) {
		uint16_t h = (uint16_t)i;
		_Float16 f;
		memcpy(&f, &h, 2);
		uint32_t w = (uint32_t)i << 16;
		float b;
		memcpy(&b, &w, 4);
		bad += !isnan((double)f) && (double)f != value(TS_F16, i);
		bad += !isnan(b) && b != value(TS_BF16, i);
	}
	check("f16-and-bf16-decode-as-the-compiler-does", !bad, "%d differ", bad);
	bad = 0;
	uint64_t s = 1;
	for (int i = 0; i < 1000000; i++) {
		s = s * 6364136223846793005u + 1442695040888963407u;
		uint32_t w = (uint32_t)(s >> 33) & 0x47ffffff;          /* within and just above f16's range */
		float x;
		memcpy(&x, &w, 4);
		_Float16 f = (_Float16)x;
		uint16_t h;
		memcpy(&h, &f, 2);
		bad += h != encode(TS_F16, x);
	}
	check("f16-encodes-as-the-compiler-does", !bad, "%d of 1000000 differ", bad);
}

static void test_limits(void)
{
	check("e4m3-saturates", value(TS_FP8_E4M3, encode(TS_FP8_E4M3, 1e9)) == 448 && value(TS_FP8_E4M3, encode(TS_FP8_E4M3, -INFINITY)) == -448, "not 448");
	check("e5m2-overflows", isinf(value(TS_FP8_E5M2, encode(TS_FP8_E5M2, 61440))) && value(TS_FP8_E5M2, encode(TS_FP8_E5M2, 61439)) == 57344, "not at 61440");
	check("fp6-saturates", value(TS_FP6_E2M3, encode(TS_FP6_E2M3, 1e9)) == 7.5 && value(TS_FP6_E3M2, encode(TS_FP6_E3M2, 1e9)) == 28, "not 7.5 and 28");
	check("fp4-saturates", value(TS_FP4_E2M1, encode(TS_FP4_E2M1, 1e9)) == 6, "not 6");
	check("f16-overflows", isinf(value(TS_F16, encode(TS_F16, 65520))) && value(TS_F16, encode(TS_F16, 65519.99)) == 65504, "not at 65520");
	int64_t big = 0;
	ts_elem_set(TS_INT64, &big, 0, 1e30);
	check("int64-saturates", big == INT64_MAX, "%lld", (long long)big);
	ts_elem_set(TS_INT64, &big, 0, -1e30);
	check("int64-saturates-below", big == INT64_MIN, "%lld", (long long)big);
	ts_elem_set(TS_INT64, &big, 0, NAN);
	check("nan-is-0-as-an-integer", big == 0, "%lld", (long long)big);
	uint8_t u = 7;
	ts_elem_set(TS_UINT8, &u, 0, -3.0);
	check("uint8-saturates-below", u == 0, "%d", u);
	ts_elem_set_int(TS_UINT8, &u, 0, 300);
	check("uint8-saturates", u == 255, "%d", u);
	int8_t i = 0;
	ts_elem_set(TS_INT8, &i, 0, -1.9);
	check("to-integers-toward-zero", i == -1, "%d", i);
	int64_t exact = (INT64_C(1) << 53) + 1;
	ts_elem_set_int(TS_INT64, &big, 0, exact);
	check("int64-has-its-own-pair", ts_elem_get_int(TS_INT64, &big, 0) == exact, "%lld", (long long)big);
}

static void test_packed(void)
{
	uint8_t p[3] = { 0 };
	for (int i = 0; i < 5; i++) ts_elem_set_int(TS_INT4, p, i, i - 3);
	check("int4-low-nibble-first", p[0] == 0xed && p[1] == 0x0f && p[2] == 0x01, "%02x %02x %02x", p[0], p[1], p[2]);
	int bad = 0;
	for (int i = 0; i < 5; i++) bad += ts_elem_get_int(TS_INT4, p, i) != i - 3;
	check("int4-reads-back", !bad, "%d differ", bad);
	check("packed-bytes", ts_dtype_bytes(TS_INT4, 5) == 3 && ts_dtype_bytes(TS_FP6_E2M3, 5) == 5 && ts_dtype_bytes(TS_F64, INT64_MAX) == INT64_MAX, "wrong");
}

int main(void)
{
	static const TsDtype small[] = { TS_F16, TS_BF16, TS_FP8_E4M3, TS_FP8_E5M2, TS_FP6_E2M3, TS_FP6_E3M2, TS_FP4_E2M1 };
	for (size_t i = 0; i < sizeof small / sizeof *small; i++) test_small(small[i]);
	test_against_compiler();
	test_limits();
	test_packed();
	return check_failed;
}
