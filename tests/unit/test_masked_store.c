/* A store touches its valid elements and no other, also where the compiler knows how many they are: every element type, counts around
 * whole registers, the values computed in wider registers, as kernels do. What follows the last valid element belongs to other threads. */
#include "tests/unit/check.h"
#include "tests/unit/kernel_so.h"
#include "ir/dtype.h"

static const TsDtype types[] = { TS_F32, TS_F16, TS_BF16, TS_INT32, TS_INT16, TS_INT8, TS_UINT8, TS_FP8_E4M3, TS_FP8_E5M2 };
enum { TYPES = sizeof types / sizeof *types, TILE = 64 };
static const int counts[] = { 0, 1, 2, 3, 8, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63 };
enum { COUNTS = sizeof counts / sizeof *counts };

static bool only_valid(const KernelSo *so, const char *name, TsDtype t, int count)
{
	float f32[TILE];
	int64_t i64[TILE];
	uint8_t out[TILE * 4 + 64], was = 0xa5;
	void *ptr[] = { ts_dtype_is_float(t) ? (void *)f32 : i64, out };
	KernelFn *fn = kernel_fn(so, name);
	for (int i = 0; i < TILE; i++) f32[i] = (float)(i64[i] = 1 + i % 7);
	memset(out, was, sizeof out);
	if (!fn) return false;
	fn(ptr, NULL, 0, 1, NULL);
	size_t bytes = (size_t)count * (size_t)ts_dtype_bits(t) / 8;
	for (size_t i = bytes; i < sizeof out; i++)
		if (out[i] != was) return false;
	for (int i = 0; i < count; i++)
		if (ts_dtype_is_float(t) ? ts_elem_get(t, out, i) != 1 + i % 7 : ts_elem_get_int(t, out, i) != 1 + i % 7) return false;
	return true;
}

static void try_type(TsDtype t, const char *target)
{
	const char *from = ts_dtype_is_float(t) ? "f32" : "int64", *to = ts_dtype_name(t);
	char name[64];
	TsBuf text = { 0 };
	int bad = -1;
	ts_buf_str(&text, "tile 1\n");
	for (int c = 0; c < COUNTS; c++)
		ts_buf_fmt(&text, "kernel store%d(P0: %s[64], P1: %s[64]) {\n  layout V[n] = v16:1n r4:16n\n  grid i in 0..1\n  x: %s[64] @V = load(P0[0:64])\n"
			"  y: %s[64] @V = cast(x, %s)\n  store(P1[0:64], y, valid = %d)\n} { target = \"cpu\" }\n", c, from, to, from, to, to, counts[c]);
	KernelSo so = kernel_so(text.p, target, 2);
	for (int c = 0; c < COUNTS && so.so; c++) {
		snprintf(name, sizeof name, "store%d", c);
		if (!only_valid(&so, name, t, counts[c])) bad = counts[c];
	}
	snprintf(name, sizeof name, "store-%s-%s", to, target);
	check(name, so.so && bad < 0, "a store of %d elements", bad);
	kernel_so_free(&so);
	ts_buf_free(&text);
}

int main(void)
{
	bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
	bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")
		&& __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
	for (int t = 0; t < TYPES; t++) {
		try_type(types[t], "x86-64-v2");
		if (v3) try_type(types[t], "x86-64-v3");
		if (v4) try_type(types[t], "x86-64-v4");
	}
	return check_failed;
}
