/* Pieces of the runtime by themselves: 16-bit conversions at every rounding boundary, remainders, memory functions, packing, .npy headers,
 * SHA-256, and plan expressions with overflow. The runtime's sources are included under other names, beside those of the C library. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "emit/plan_build.h"
#include "rtlib/npy.h"
#include "rtlib/pack.h"
#include "rtlib/sha256.h"

static double libm_fmod(double x, double y) { return fmod(x, y); }
static float libm_fmodf(float x, float y) { return fmodf(x, y); }
static void *libc_memmove(void *a, const void *b, size_t n) { return memmove(a, b, n); }
static int libc_memcmp(const void *a, const void *b, size_t n) { return memcmp(a, b, n); }

#define fmod rt_fmod
#define fmodf rt_fmodf
#define memcpy rt_memcpy
#define memmove rt_memmove
#define memset rt_memset
#define memcmp rt_memcmp
#define bcmp rt_bcmp
#define strlen rt_strlen
#define __extendhfsf2 rt_extendhfsf2
#define __extendhfdf2 rt_extendhfdf2
#define __truncsfhf2 rt_truncsfhf2
#define __truncdfhf2 rt_truncdfhf2
#define __truncsfbf2 rt_truncsfbf2
#define __truncdfbf2 rt_truncdfbf2
#define __extendbfsf2 rt_extendbfsf2
#define __gnu_h2f_ieee rt_gnu_h2f
#define __gnu_f2h_ieee rt_gnu_f2h
#include "rtlib/mem.c"
#include "rtlib/half.c"
#include "rtlib/file.c"
#include "rtlib/text.c"
#include "rtlib/npy.c"
#include "rtlib/expr.c"

static int failed;
static void report(const char *name, const char *wrong)
{
	if (wrong)
		failed = 1;
	printf(wrong ? "FAIL %s: %s\n" : "ok %s\n", name, wrong);
}

/* ---- 16-bit floats ---- */

static uint16_t bits16(_Float16 x) { return (F16){ .f = x }.u; }

/* value of a small float, by its definition */
static double value16(uint16_t x, int exp, int mant)
{
	int e = x >> mant & ((1 << exp) - 1), bias = (1 << (exp - 1)) - 1;
	double m = x & ((1 << mant) - 1), v;
	if (e == (1 << exp) - 1)
		v = m != 0 ? (double)NAN : (double)INFINITY;
	else
		v = e ? ldexp(1 + ldexp(m, -mant), e - bias) : ldexp(m, 1 - bias - mant);
	return x >> 15 ? -v : v;
}

static uint16_t from_double(double x, int bf) { return bits16(bf ? rt_truncdfbf2(x) : rt_truncdfhf2(x)); }
static uint16_t from_float(float x, int bf) { return bits16(bf ? rt_truncsfbf2(x) : rt_truncsfhf2(x)); }

static const char *check_one(double x, uint16_t want, int bf)
{
	static char text[128];
	uint16_t d = from_double(x, bf), f = from_float((float)x, bf);
	if (d == want && ((double)(float)x != x || f == want) && from_double(-x, bf) == (want ^ 0x8000))
		return NULL;
	sprintf(text, "%a gives %04x and %04x, wanted %04x", x, d, f, want);
	return text;
}

/* at every boundary: the midpoint of two neighbours goes to the even one, one bit beside it to the nearer one */
static const char *check_narrow(int bf)
{
	int exp = bf ? 8 : 5, mant = bf ? 7 : 10;
	uint16_t inf = (uint16_t)(((1 << exp) - 1) << mant);
	const char *wrong = NULL;
	for (uint16_t h = 0; h < inf && !wrong; h++) {
		double a = value16(h, exp, mant), b = h + 1 == inf ? ldexp(1, (1 << (exp - 1))) : value16((uint16_t)(h + 1), exp, mant), mid = (a + b) / 2;
		wrong = check_one(a, h, bf);
		if (!wrong)
			wrong = check_one(mid, h & 1 ? (uint16_t)(h + 1) : h, bf);
		if (!wrong)
			wrong = check_one(nextafter(mid, 0), h, bf);
		if (!wrong)
			wrong = check_one(nextafter(mid, INFINITY), (uint16_t)(h + 1), bf);
		if (!wrong && (double)(float)mid == mid)
			wrong = check_one((double)nextafterf((float)mid, 0), h, bf);
		if (!wrong && (double)(float)mid == mid)
			wrong = check_one((double)nextafterf((float)mid, INFINITY), (uint16_t)(h + 1), bf);
	}
	if (!wrong)
		wrong = check_one((double)INFINITY, inf, bf);
	if (!wrong)
		wrong = check_one(1e300, inf, bf);
	if (!wrong)
		wrong = check_one(5e-324, 0, bf);
	uint16_t nan = from_double((double)NAN, bf), nanf = from_float(NAN, bf);
	return wrong ? wrong : (nan & inf) == inf && nan != inf && (nanf & inf) == inf && nanf != inf ? NULL : "NaN is lost";
}

static const char *check_widen(void)
{
	for (uint32_t i = 0; i < 65536; i++) {
		double want = value16((uint16_t)i, 5, 10);
		float f = rt_extendhfsf2((F16){ .u = (uint16_t)i }.f), g = rt_gnu_h2f((uint16_t)i);
		double d = rt_extendhfdf2((F16){ .u = (uint16_t)i }.f), b = (double)rt_extendbfsf2((F16){ .u = (uint16_t)i }.f), bw = value16((uint16_t)i, 8, 7);
		bool nan = want != want;
		if (nan ? f == f || d == d || g == g : (double)f != want || d != want || (double)g != want || !signbit(f) != !(i >> 15))
			return "a half has another value";
		if (bw != bw ? b == b : b != bw)
			return "a bf16 has another value";
	}
	return NULL;
}

/* ---- remainders ---- */

static uint64_t state = 88172645463325252u;
static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

static const char *check_fmod(void)
{
	for (int i = 0; i < 400000; i++) {
		F64 x = { .u = next() }, y = { .u = next() };
		F32 a = { .u = (uint32_t)next() }, b = { .u = (uint32_t)next() };
		if (i % 4 == 0) { /* near exponents, and small integers */
			y.u = (y.u & ~(0x7ffull << 52)) | (x.u & (0x7ffull << 52));
			b.u = (b.u & 0x807fffff) | (a.u & 0x7f800000);
		} else if (i % 4 == 1) {
			x.f = (double)(int64_t)(next() % 2001) - 1000;
			y.f = (double)(int64_t)(next() % 21) - 10;
			a.f = (float)x.f;
			b.f = (float)y.f;
		} else if (i % 4 == 2) {
			x.u &= 0x800fffffffffffff;
			y.u &= 0x80000000ffffffff;
			a.u &= 0x807fffff;
			b.u &= 0x8000ffff;
		}
		F64 want = { .f = libm_fmod(x.f, y.f) }, have = { .f = rt_fmod(x.f, y.f) };
		F32 wantf = { .f = libm_fmodf(a.f, b.f) }, havef = { .f = rt_fmodf(a.f, b.f) };
		static char text[128];
		if (want.f != want.f ? have.f == have.f : want.u != have.u) {
			sprintf(text, "fmod(%a, %a) is %a, wanted %a", x.f, y.f, have.f, want.f);
			return text;
		}
		if (wantf.f != wantf.f ? havef.f == havef.f : wantf.u != havef.u) {
			sprintf(text, "fmodf(%a, %a) is %a, wanted %a", (double)a.f, (double)b.f, (double)havef.f, (double)wantf.f);
			return text;
		}
	}
	return NULL;
}

/* ---- memory ---- */

static const char *check_memory(void)
{
	static uint8_t a[20000], b[20000], pattern[20000];
	for (size_t i = 0; i < sizeof pattern; i++)
		pattern[i] = (uint8_t)(i * 131 + i / 251);
	for (int i = 0; i < 6000; i++) {
		size_t n = i < 3000 ? (size_t)i % 150 : next() % 9000, from = next() % 200, to = i % 3 ? next() % 200 : from + next() % (n + 1);
		libc_memmove(a, pattern, sizeof a);
		libc_memmove(b, pattern, sizeof b);
		libc_memmove(a + to, a + from, n);
		rt_memmove(b + to, b + from, n);
		if (libc_memcmp(a, b, sizeof a))
			return "memmove differs";
		rt_memcpy(b + to, pattern + from, n);
		libc_memmove(a + to, pattern + from, n);
		if (libc_memcmp(a, b, sizeof a))
			return "memcpy differs";
		rt_memset(b + to, i, n);
		for (size_t k = 0; k < n; k++)
			a[to + k] = (uint8_t)i;
		if (libc_memcmp(a, b, sizeof a))
			return "memset differs";
		size_t at = next() % (n + 1);
		int want = at < n ? -1 : 0;
		libc_memmove(a, b, sizeof a);
		if (at < n) {
			a[to + at] = 1;
			b[to + at] = 2;
		}
		int have = rt_memcmp(a + to, b + to, n);
		if (have != want || rt_bcmp(b + to, a + to, n) != -want)
			return "memcmp differs";
	}
	return rt_strlen("") == 0 && rt_strlen("four") == 4 ? NULL : "strlen differs";
}

/* ---- packing, by the equation in its header ---- */

static const char *check_pack(void)
{
	static uint8_t source[40000], out[200000];
	static const uint32_t elems[] = { 1, 2, 4, 8 }, groups[] = { 1, 2, 4 }, panels[] = { 1, 8, 16, 64 };
	for (size_t i = 0; i < sizeof source; i++)
		source[i] = (uint8_t)(i * 197 + 1 + i / 256);
	for (int i = 0; i < 300; i++) {
		TsPack p = { .kind = TS_PACK_PANELS, .elem = elems[next() % 4], .group = groups[next() % 3], .panel = panels[next() % 4], .batch = (int64_t)(next() % 3),
		             .k = (int64_t)(next() % 19), .n = (int64_t)(next() % 70) };
		bool transposed = next() & 1;
		p.stride_n = transposed ? p.k + 1 : 1;
		p.stride_k = transposed ? 1 : p.n + 2;
		p.stride_batch = transposed ? (p.k + 1) * p.n : (p.n + 2) * p.k;
		int64_t bytes, reads;
		if (!ts_pack_bytes(&p, &bytes) || !ts_pack_source_bytes(&p, &reads) || bytes > (int64_t)sizeof out || reads > (int64_t)sizeof source)
			return "wrong size";
		int64_t np = ts_pack_ceil(p.n, p.panel), kg = ts_pack_ceil(p.k, p.group), at = 0, total = np * p.batch;
		for (int64_t done = 0, part; done < total; done += part) { /* in uneven pieces */
			part = total - done < 3 ? total - done : 1 + (int64_t)(next() % 3);
			ts_pack_panels(&p, source, done, part, out + done * kg * p.panel * p.group * p.elem);
		}
		for (int64_t b = 0; b < p.batch; b++)
			for (int64_t n = 0; n < np; n++)
				for (int64_t k = 0; k < kg; k++)
					for (int64_t j = 0; j < p.panel; j++)
						for (int64_t g = 0; g < p.group; g++)
							for (uint32_t byte = 0; byte < p.elem; byte++) {
								int64_t col = n * p.panel + j, row = k * p.group + g;
								bool in = col < p.n && row < p.k;
								uint8_t want = in ? source[(b * p.stride_batch + row * p.stride_k + col * p.stride_n) * p.elem + byte] : 0;
								if (out[at++] != want)
									return "another byte";
							}
		if (at != bytes)
			return "another number of bytes";
	}
	TsPack huge = { .kind = TS_PACK_PANELS, .elem = 8, .group = 4, .panel = 64, .batch = 1 << 30, .k = 1 << 30, .n = 1 << 30 };
	int64_t n;
	return ts_pack_bytes(&huge, &n) ? "no overflow" : NULL;
}

/* ---- .npy ---- */

static const char *check_npy(void)
{
	char file[TS_NPY_HEADER + 4096] = { 0 };
	int64_t shape[3] = { 3, 1, 7 };
	for (uint32_t t = 0; t < TS_PLAN_DTYPES; t++)
		for (uint32_t rank = 0; rank <= 3; rank++) {
			TsNpy a;
			if (!ts_npy_descr(t))
				continue;
			uint32_t n = ts_npy_header(t, rank, shape, file);
			const char *wrong = ts_npy_read(file, n + 4096, &a);
			if (wrong || n % 64 || a.offset != n || a.rank != rank || a.fortran || !ts_npy_fits(&a, t) || libc_memcmp(a.shape, shape, rank * 8))
				return wrong ? wrong : "it does not read back";
		}
	uint32_t n = ts_npy_header(TS_PLAN_F32, 3, shape, file);
	for (int i = 0; i < 100000; i++) { /* damaged headers: refused or read, never past the end */
		uint32_t size = (uint32_t)(next() % (n + 90));
		char *copy = malloc(size ? size : 1);
		libc_memmove(copy, file, size);
		for (uint64_t k = next() % 4; k && size; k--)
			copy[next() % size] = (char)next();
		TsNpy a;
		if (!ts_npy_read(copy, size, &a) && (a.offset > size || a.bytes > size - a.offset))
			return "data beyond the end";
		free(copy);
	}
	return NULL;
}

static const char *check_sha(void)
{
	static const struct { const char *text; uint8_t begin[4]; } known[] = {
		{ "", { 0xe3, 0xb0, 0xc4, 0x42 } }, { "abc", { 0xba, 0x78, 0x16, 0xbf } },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", { 0x24, 0x8d, 0x6a, 0x61 } },
	};
	uint8_t out[32], again[32];
	for (int i = 0; i < 3; i++) {
		TsSha256 s;
		ts_sha256_init(&s);
		ts_sha256_add(&s, known[i].text, rt_strlen(known[i].text));
		ts_sha256_end(&s, out);
		if (libc_memcmp(out, known[i].begin, 4))
			return "a known text has another hash";
	}
	TsSha256 a, b;
	static uint8_t data[5000];
	ts_sha256_init(&a);
	ts_sha256_init(&b);
	ts_sha256_add(&a, data, sizeof data);
	for (size_t at = 0, n; at < sizeof data; at += n) {
		n = next() % 200;
		n = n < sizeof data - at ? n : sizeof data - at;
		ts_sha256_add(&b, data + at, n);
	}
	ts_sha256_end(&a, out);
	ts_sha256_end(&b, again);
	return libc_memcmp(out, again, 32) ? "pieces give another hash" : NULL;
}

/* ---- expressions and plans ---- */

static const char *check_exprs(TsCtx *cx)
{
	TsPlanBuild *p = ts_plan_new(cx, "m", "test");
	uint32_t d = ts_plan_dim(p, ts_plan_add_dim(p, "B", 0, 0, 1)), i = ts_plan_loop(p, 1), c = ts_plan_const(p, -7), zero = ts_plan_op(p, TS_EX_SUB, d, d);
	uint32_t e[] = {
		ts_plan_op(p, TS_EX_DIV, c, d), ts_plan_op(p, TS_EX_MOD, c, d), ts_plan_op(p, TS_EX_DIV, d, zero), ts_plan_op(p, TS_EX_MUL, ts_plan_const(p, INT64_MAX), d),
		ts_plan_select(p, ts_plan_op(p, TS_EX_LT, d, c), ts_plan_op(p, TS_EX_DIV, d, zero), d), ts_plan_op(p, TS_EX_AND, zero, ts_plan_op(p, TS_EX_DIV, d, zero)),
		ts_plan_op(p, TS_EX_OR, d, ts_plan_op(p, TS_EX_DIV, d, zero)), ts_plan_op(p, TS_EX_AND, d, ts_plan_op(p, TS_EX_DIV, d, zero)),
		ts_plan_op(p, TS_EX_ADD, i, d), ts_plan_align(p, d, 64), ts_plan_op(p, TS_EX_MIN, c, d), ts_plan_op(p, TS_EX_MAX, c, d),
	};
	int64_t want[] = { -4, 1, 0, 0, 2, 0, 1, 0, 12, 64, -7, 2 };
	uint8_t good[] = { 1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1 };
	if (ts_plan_op(p, TS_EX_MUL, ts_plan_const(p, 6), c) != ts_plan_const(p, -42) || ts_plan_op(p, TS_EX_ADD, d, ts_plan_const(p, 0)) != d ||
	    ts_plan_op(p, TS_EX_DIV, d, zero) != e[2])
		return "expressions are not folded or shared";
	TsBytes plan = ts_plan_finish(p, 0, 0);
	const TsPlanHeader *h = plan.p;
	int64_t dims[1] = { 2 }, value[64];
	uint8_t ok[64], deps[64];
	TsEval v = { .ex = TS_PLAN_TABLE(h, TsPlanExpr, exprs), .n = h->exprs.n, .dims = dims, .value = value, .ok = ok, .deps = deps };
	ts_eval_deps(&v);
	ts_eval_dims(&v);
	if (ok[e[8]])
		return "a loop variable has a value outside its loop";
	v.set = 2;
	v.loop[1] = 10;
	ts_eval_loop(&v, 1);
	for (int k = 0; k < 12; k++)
		if (ok[e[k]] != good[k] || value[e[k]] != want[k]) {
			static char text[64];
			sprintf(text, "expression %d is %d, ok %d", k, (int)value[e[k]], ok[e[k]]);
			return text;
		}
	const TsPlanExpr formula[] = { { .kind = TS_EX_NUM, .a = 1 }, { .kind = TS_EX_CONST, .value = 3 }, { .kind = TS_EX_MUL, .a = 0, .b = 1 } };
	const int64_t nums[2] = { 5, 7 };
	TsEval launch = { .ex = formula, .n = 3, .num = nums, .value = value, .ok = ok };
	ts_eval_dims(&launch);
	if (!ok[2] || value[2] != 21)
		return "a formula over a launch's numbers has another value";
	for (int k = 0; k < 50000; k++) { /* damaged plans: refused, or as good as new */
		uint8_t *copy = aligned_alloc(16, plan.n);
		libc_memmove(copy, plan.p, plan.n);
		for (uint64_t n = 1 + next() % 3; n; n--)
			copy[next() % plan.n] ^= (uint8_t)(1 << next() % 8);
		ts_plan_check(copy, next() % 3 ? plan.n : next() % plan.n);
		free(copy);
	}
	return NULL;
}

int main(void)
{
	TsCtx *cx = ts_ctx_new();
	report("half-to-float", check_widen());
	report("to-half", check_narrow(0));
	report("to-bf16", check_narrow(1));
	report("fmod", check_fmod());
	report("memory", check_memory());
	report("pack", check_pack());
	report("npy", check_npy());
	report("sha256", check_sha());
	report("expressions", check_exprs(cx));
	ts_ctx_free(cx);
	return failed;
}
