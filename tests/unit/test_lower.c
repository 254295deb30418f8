/* The lowering of Tile IR on the host's own CPU: .tile text compiled for each clone that this CPU runs, against plain loops. Buffers end
 * at a guard page, so that a touch beyond `valid` is fatal; gaps between rows hold marks that must survive. */
#include "tests/unit/check.h"
#include "tests/unit/kernel_so.h"
#include <math.h>
#include <sys/mman.h>

static const char *const targets[] = { "x86-64-v2", "x86-64-v3", "x86-64-v4" };
enum { TARGETS = 3, PAGE = 4096 };

static bool runs_here(int t)
{
	__builtin_cpu_init();
	return t == 0 || (t == 1 ? __builtin_cpu_supports("x86-64-v3") : __builtin_cpu_supports("x86-64-v4"));
}

/* ---- memory and values ---- */
typedef struct { char *map; size_t size; void *p; } Guarded;

static Guarded guarded(int64_t bytes)
{
	Guarded g = { .size = ((size_t)bytes / PAGE + 3) * PAGE };
	g.map = mmap(NULL, g.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g.map == MAP_FAILED) abort();
	mprotect(g.map, PAGE, PROT_NONE);
	mprotect(g.map + g.size - PAGE, PAGE, PROT_NONE);
	g.p = g.map + g.size - PAGE - bytes;
	return g;
}

static void unguard(Guarded *g) { munmap(g->map, g->size); }

static uint64_t state = 88172645463325252u;
static uint64_t any_bits(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* bytes of any pattern; bools are 0 and 1 */
static void scramble(TsDtype t, void *p, int64_t n)
{
	for (int64_t i = 0, bytes = ts_dtype_bytes(t, n); i < bytes; i++) ((uint8_t *)p)[i] = (uint8_t)(any_bits() >> 32) & (t == TS_BOOL ? 1 : 255);
}

/* floats: a third special, the rest of moderate size; ints: small, large and the ends */
static void fill_values(TsDtype t, void *p, int64_t n)
{
	static const double special[] = { 0.0, -0.0, INFINITY, -INFINITY, NAN, 1.0, -1.0, 0.5, 2.5, -3.5, 1e30, -1e-30, 1e-42, 65504.0 };
	scramble(t, p, n);
	for (int64_t i = 0; i < n; i++) {
		uint64_t r = any_bits() >> 20;
		if (ts_dtype_is_float(t)) ts_elem_set(t, p, i, r % 3 ? ((double)(r >> 3 & 0xffff) - 32768) / 1024 : special[(r >> 4) % (sizeof special / sizeof *special)]);
		else if (ts_dtype_is_int(t) && r % 4 == 0) ts_elem_set_int(t, p, i, (int64_t)(r >> 4 & 15) - 8);
		else if (ts_dtype_is_int(t) && r % 4 == 1) ts_elem_set_int(t, p, i, r & 8 ? INT64_MAX : INT64_MIN);
	}
}

static bool same(TsDtype t, const void *a, const void *b, int64_t i)
{
	if (!ts_dtype_is_float(t)) return ts_elem_get_int(t, a, i) == ts_elem_get_int(t, b, i);
	double x = ts_elem_get(t, a, i), y = ts_elem_get(t, b, i);
	return x == y || (isnan(x) && isnan(y));
}

/* ---- pointwise words ---- */
typedef struct { const char *name; int arity; double (*f)(double, double, double); int64_t (*i)(int64_t, int64_t, int64_t); bool boolean, flag; } Word;

#define F(name, expr) static double f_##name(double a, double b, double c) { (void)b, (void)c; return expr; }
#define I(name, expr) static int64_t i_##name(int64_t a, int64_t b, int64_t c) { (void)b, (void)c; return expr; }
static double lesser(double a, double b) { return isnan(a) || isnan(b) ? NAN : a < b ? a : b; }
static double greater(double a, double b) { return isnan(a) || isnan(b) ? NAN : a > b ? a : b; }
static int64_t quotient(int64_t a, int64_t b)
{
	if (!b) return 0;
	if (b == -1) return (int64_t)(0 - (uint64_t)a);
	return a / b - (a % b && (a % b < 0) != (b < 0));
}
F(add, a + b) F(sub, a - b) F(mul, a * b) F(div, a / b) F(neg, -a) F(abs, fabs(a)) F(minimum, lesser(a, b)) F(maximum, greater(a, b))
F(clamp, lesser(greater(a, b), c)) F(floor, floor(a)) F(ceil, ceil(a)) F(round, nearbyint(a)) F(relu, isnan(a) ? a : a > 0 ? a : 0) F(sqrt, sqrt(a))
F(eq, a == b) F(ne, a != b) F(lt, a < b) F(le, a <= b) F(gt, a > b) F(ge, a >= b)
I(add, (int64_t)((uint64_t)a + (uint64_t)b)) I(sub, (int64_t)((uint64_t)a - (uint64_t)b)) I(mul, (int64_t)((uint64_t)a * (uint64_t)b))
I(neg, (int64_t)(0 - (uint64_t)a)) I(abs, a < 0 ? (int64_t)(0 - (uint64_t)a) : a) I(minimum, a < b ? a : b) I(maximum, a > b ? a : b)
I(clamp, (a > b ? a : b) < c ? (a > b ? a : b) : c) I(relu, a > 0 ? a : 0) I(floordiv, quotient(a, b))
I(mod, b ? (int64_t)((uint64_t)a - (uint64_t)quotient(a, b) * (uint64_t)b) : 0)
I(eq, a == b) I(ne, a != b) I(lt, a < b) I(le, a <= b) I(gt, a > b) I(ge, a >= b) I(and, a && b) I(or, a || b) I(not, !a)

static const Word words[] = {
#define W(name, n) { #name, n, f_##name, i_##name, false, false }
	W(add, 2), W(sub, 2), W(mul, 2), W(neg, 1), W(abs, 1), W(minimum, 2), W(maximum, 2), W(clamp, 3), W(relu, 1),
	{ "div", 2, f_div, NULL, false, false }, { "floor", 1, f_floor, NULL, false, false }, { "ceil", 1, f_ceil, NULL, false, false },
	{ "round", 1, f_round, NULL, false, false }, { "sqrt", 1, f_sqrt, NULL, false, false },
	{ "floordiv", 2, NULL, i_floordiv, false, false }, { "mod", 2, NULL, i_mod, false, false },
#define C(name) { #name, 2, f_##name, i_##name, false, true }
	C(eq), C(ne), C(lt), C(le), C(gt), C(ge),
	{ "and", 2, NULL, i_and, true, false }, { "or", 2, NULL, i_or, true, false }, { "not", 1, NULL, i_not, true, false },
};
enum { WORDS = sizeof words / sizeof *words };
static const TsDtype compute[] = { TS_F32, TS_F64, TS_F16, TS_BF16, TS_INT64, TS_INT32, TS_BOOL };
enum { COMPUTES = sizeof compute / sizeof *compute };

static bool takes(const Word *w, TsDtype t)
{
	if (t == TS_BOOL) return w->boolean || (w->i && (!strcmp(w->name, "eq") || !strcmp(w->name, "ne")));
	return !w->boolean && (ts_dtype_is_float(t) ? w->f != NULL : w->i != NULL);
}

static int64_t wrap(TsDtype t, int64_t x) { return t == TS_INT32 ? (int32_t)(uint32_t)(uint64_t)x : x; }

static void word_text(TsBuf *b, const Word *w, TsDtype t)
{
	const char *T = ts_dtype_name(t), *R = w->flag ? "bool" : T;
	ts_buf_fmt(b, "kernel %s_%s(X: %s[N], Y: %s[N], Z: %s[N], O: %s[N], N: idx) {\n  layout V[n] = v8:1n r2:8n\n  for n in 0..N step 16 {\n", w->name, T, T, T, T, R);
	ts_buf_fmt(b, "    x: %s[16] @V = load(X[n:n + 16], valid = N - n)\n    y: %s[16] @V = load(Y[n:n + 16], valid = N - n)\n    z: %s[16] @V = load(Z[n:n + 16], valid = N - n)\n", T, T, T);
	const char *quote = w->boolean ? "`" : ""; /* words that are keywords too */
	ts_buf_fmt(b, "    o: %s[16] @V = %s%s%s(%s)\n    store(O[n:n + 16], o, valid = N - n)\n  }\n} { target = \"cpu\" }\n", R, quote, w->name, quote, w->arity == 1 ? "x" : w->arity == 2 ? "x, y" : "x, y, z");
}

static int64_t word_run(const Word *w, TsDtype t, KernelFn *fn, int64_t n)
{
	TsDtype r = w->flag ? TS_BOOL : t;
	Guarded x = guarded(ts_dtype_bytes(t, n)), y = guarded(ts_dtype_bytes(t, n)), z = guarded(ts_dtype_bytes(t, n)), o = guarded(ts_dtype_bytes(r, n)), e = guarded(ts_dtype_bytes(r, n));
	fill_values(t, x.p, n);
	fill_values(t, y.p, n);
	fill_values(t, z.p, n);
	int64_t bad = 0, at[] = { n };
	void *ptr[] = { x.p, y.p, z.p, o.p };
	fn(ptr, at, 0, 1, NULL);
	for (int64_t i = 0; i < n; i++) {
		if (ts_dtype_is_float(t)) {
			double v = w->f(ts_elem_get(t, x.p, i), ts_elem_get(t, y.p, i), ts_elem_get(t, z.p, i));
			if (w->flag) ts_elem_set_int(r, e.p, i, v != 0);
			else ts_elem_set(r, e.p, i, v);
		} else {
			ts_elem_set_int(r, e.p, i, wrap(r, w->i(ts_elem_get_int(t, x.p, i), ts_elem_get_int(t, y.p, i), ts_elem_get_int(t, z.p, i))));
		}
		bad += !same(r, o.p, e.p, i);
	}
	unguard(&x), unguard(&y), unguard(&z), unguard(&o), unguard(&e);
	return bad;
}

static const int64_t tails[] = { 0, 1, 3, 8, 15, 16, 17, 31, 33, 100 };
enum { TAILS = sizeof tails / sizeof *tails };

static void test_words(int target)
{
	TsBuf b = { 0 };
	ts_buf_str(&b, "tile 1\n");
	for (int w = 0; w < WORDS; w++)
		for (int t = 0; t < COMPUTES; t++)
			if (takes(&words[w], compute[t])) word_text(&b, &words[w], compute[t]);
	KernelSo so = kernel_so(b.p, targets[target], 1);
	int64_t bad = 0, runs = 0;
	char name[64], worst[64] = "no object";
	for (int w = 0; w < WORDS && so.so; w++)
		for (int t = 0; t < COMPUTES; t++) {
			if (!takes(&words[w], compute[t])) continue;
			snprintf(name, sizeof name, "%s_%s", words[w].name, ts_dtype_name(compute[t]));
			KernelFn *fn = kernel_fn(&so, name);
			for (int i = 0; fn && i < TAILS; i++) {
				int64_t k = word_run(&words[w], compute[t], fn, tails[i]);
				if (k) memcpy(worst, name, sizeof worst);
				bad += k;
				runs++;
			}
		}
	snprintf(name, sizeof name, "lower-words-%s", targets[target]);
	check(name, runs > 500 && !bad, "%lld elements differ in %lld runs, as in %s", (long long)bad, (long long)runs, worst);
	kernel_so_free(&so);
	ts_buf_free(&b);
}

/* ---- conversions ---- */
static void cast_reference(TsDtype from, const void *x, TsDtype to, void *o, int64_t i)
{
	if (to == TS_BOOL) { ts_elem_set_int(to, o, i, ts_dtype_is_float(from) ? ts_elem_get(from, x, i) != 0 : ts_elem_get_int(from, x, i) != 0); return; }
	if (ts_dtype_is_float(from)) {
		double v = ts_elem_get(from, x, i);
		ts_elem_set(to, o, i, ts_dtype_is_float(to) ? v : trunc(v));
		return;
	}
	int64_t v = ts_elem_get_int(from, x, i);
	if (to == TS_F32) ((float *)o)[i] = (float)v;
	else if (ts_dtype_is_float(to)) ts_elem_set(to, o, i, (double)v);
	else ts_elem_set_int(to, o, i, v);
}

static void cast_text(TsBuf *b, TsDtype from, TsDtype to)
{
	const char *A = ts_dtype_name(from), *B = ts_dtype_name(to);
	ts_buf_fmt(b, "kernel %s_%s(X: %s[N], O: %s[N], N: idx) {\n  layout V[n] = v8:1n r2:8n\n  for n in 0..N step 16 {\n", A, B, A, B);
	ts_buf_fmt(b, "    x: %s[16] @V = load(X[n:n + 16], valid = N - n)\n    o: %s[16] @V = cast(x, %s)\n    store(O[n:n + 16], o, valid = N - n)\n  }\n} { target = \"cpu\" }\n", A, B, B);
}

static int64_t cast_run(TsDtype from, TsDtype to, KernelFn *fn, int64_t n)
{
	Guarded x = guarded(ts_dtype_bytes(from, n)), o = guarded(ts_dtype_bytes(to, n)), e = guarded(ts_dtype_bytes(to, n));
	int64_t bad = 0, at[] = { n };
	if (any_bits() & 256) scramble(from, x.p, n);
	else fill_values(from, x.p, n);
	void *ptr[] = { x.p, o.p };
	fn(ptr, at, 0, 1, NULL);
	for (int64_t i = 0; i < n; i++) {
		cast_reference(from, x.p, to, e.p, i);
		bad += !same(to, o.p, e.p, i);
	}
	unguard(&x), unguard(&o), unguard(&e);
	return bad;
}

static void test_casts(int target)
{
	char name[64], worst[64] = "no object";
	int64_t bad = 0, runs = 0;
	for (int f = 0; f < TS_COMPLEX64; f++) {
		TsBuf b = { 0 };
		ts_buf_str(&b, "tile 1\n");
		for (int t = 0; t < TS_COMPLEX64; t++) cast_text(&b, (TsDtype)f, (TsDtype)t);
		KernelSo so = kernel_so(b.p, targets[target], 1);
		for (int t = 0; t < TS_COMPLEX64 && so.so; t++) {
			snprintf(name, sizeof name, "%s_%s", ts_dtype_name((TsDtype)f), ts_dtype_name((TsDtype)t));
			KernelFn *fn = kernel_fn(&so, name);
			for (int i = 0; fn && i < TAILS * 4; i++) {
				int64_t k = cast_run((TsDtype)f, (TsDtype)t, fn, tails[i % TAILS] + i);
				if (k) memcpy(worst, name, sizeof worst);
				bad += k;
				runs++;
			}
		}
		kernel_so_free(&so);
		ts_buf_free(&b);
	}
	snprintf(name, sizeof name, "lower-casts-%s", targets[target]);
	check(name, runs == (int64_t)TS_COMPLEX64 * TS_COMPLEX64 * TAILS * 4 && !bad, "%lld elements differ in %lld runs, as in %s", (long long)bad, (long long)runs, worst);
}

/* ---- memory ---- */
static const char *const tile_layouts[] = {
	"v8:1n r2:8n r4:1m",       /* rows in vectors */
	"v4:1m r16:1n",            /* lanes down the columns */
	"v8:_ r4:1m r16:1n",       /* every lane the same */
	"r4:1m r16:1n",            /* no lanes */
	"v2:1m v4:1n r2:2m r4:4n", /* both */
	"v16:1n r4:1m",
};
enum { LAYOUTS = sizeof tile_layouts / sizeof *tile_layouts };

/* out = in, tile by tile, from one pair of strides to another */
static void copy_text(TsBuf *b, TsDtype t, int layout)
{
	const char *T = ts_dtype_name(t);
	ts_buf_fmt(b, "kernel copy_%s_%d(X: %s[M, N] @strides(xm, xn), O: %s[M, N] @strides(om, 1), M: idx, N: idx, xm: idx, xn: idx, om: idx) {\n", T, layout, T, T);
	ts_buf_fmt(b, "  layout L[m, n] = %s\n  grid i in 0..M step 4, j in 0..N step 16\n", tile_layouts[layout]);
	ts_buf_fmt(b, "  x: %s[4, 16] @L = load(X[i:i + 4, j:j + 16], valid = [M - i, N - j])\n  store(O[i:i + 4, j:j + 16], x, valid = [M - i, N - j])\n} { target = \"cpu\" }\n", T);
}

static void move(TsDtype t, void *to, int64_t at, const void *from, int64_t i)
{
	if (t == TS_COMPLEX64) ((uint64_t *)to)[at] = ((const uint64_t *)from)[i];
	else if (ts_dtype_is_float(t) && t != TS_FP4_E2M1) memcpy((char *)to + at * ts_dtype_bits(t) / 8, (const char *)from + i * ts_dtype_bits(t) / 8, (size_t)ts_dtype_bits(t) / 8);
	else if (t == TS_FP4_E2M1) ts_elem_set(t, to, at, ts_elem_get(t, from, i));
	else ts_elem_set_int(t, to, at, ts_elem_get_int(t, from, i));
}

static bool copy_run(TsDtype t, KernelFn *fn, int64_t m, int64_t n, int64_t xm, int64_t xn, int64_t om)
{
	int64_t nx = m && n ? (m - 1) * xm + (n - 1) * xn + 1 : 0, no = m && n ? (m - 1) * om + n : 0, num[] = { m, n, xm, xn, om };
	Guarded x = guarded(ts_dtype_bytes(t, nx)), o = guarded(ts_dtype_bytes(t, no)), e = guarded(ts_dtype_bytes(t, no));
	int64_t cells = (m + 3) / 4 * ((n + 15) / 16);
	scramble(t, x.p, nx);
	memset(o.p, 0x5a, (size_t)ts_dtype_bytes(t, no));
	memset(e.p, 0x5a, (size_t)ts_dtype_bytes(t, no));
	void *ptr[] = { x.p, o.p };
	for (int64_t c = 0; c < cells; c += 2) fn(ptr, num, c, c + 2 < cells ? c + 2 : cells, NULL);
	for (int64_t i = 0; i < m; i++)
		for (int64_t j = 0; j < n; j++) move(t, e.p, i * om + j, x.p, i * xm + j * xn);
	bool ok = !memcmp(o.p, e.p, (size_t)ts_dtype_bytes(t, no));
	unguard(&x), unguard(&o), unguard(&e);
	return ok;
}

static void test_copies(int target)
{
	static const TsDtype types[] = { TS_F32, TS_F64, TS_F16, TS_INT8, TS_BOOL, TS_INT4, TS_FP4_E2M1, TS_COMPLEX64, TS_FP6_E2M3 };
	static const int64_t sizes[][2] = { { 0, 5 }, { 3, 0 }, { 1, 1 }, { 4, 16 }, { 5, 17 }, { 8, 32 }, { 7, 31 }, { 9, 50 } };
	char name[64], worst[64] = "no object";
	int64_t bad = 0, runs = 0;
	for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
		TsBuf b = { 0 };
		ts_buf_str(&b, "tile 1\n");
		for (int l = 0; l < LAYOUTS; l++) copy_text(&b, types[t], l);
		KernelSo so = kernel_so(b.p, targets[target], 1 + (int)t % 3);
		for (int l = 0; l < LAYOUTS && so.so; l++) {
			snprintf(name, sizeof name, "copy_%s_%d", ts_dtype_name(types[t]), l);
			KernelFn *fn = kernel_fn(&so, name);
			for (size_t s = 0; fn && s < sizeof sizes / sizeof *sizes; s++)
				for (int form = 0; form < 4; form++) {
					int64_t m = sizes[s][0], n = sizes[s][1], xm = form == 1 ? 1 : form == 2 ? n + 3 : form == 3 ? 0 : n, xn = form == 1 ? m : 1;
					runs++;
					if (copy_run(types[t], fn, m, n, xm, xn, form & 1 ? n + 5 : n)) continue;
					bad++;
					snprintf(worst, sizeof worst, "%.30s %lldx%lld form %d", name, (long long)m, (long long)n, form);
				}
		}
		kernel_so_free(&so);
		ts_buf_free(&b);
	}
	snprintf(name, sizeof name, "lower-copies-%s", targets[target]);
	check(name, runs == (int64_t)(sizeof types / sizeof *types) * LAYOUTS * 32 && !bad, "%lld of %lld runs, as in %s", (long long)bad, (long long)runs, worst);
}

/* ---- hand-written kernels, one per idea ---- */
static const char kernels[] =
	"tile 1\n"
	"kernel rows(T: f32[R, N], I: int64[B], O: f32[B, N], R: idx, B: idx, N: idx) {\n"
	"  layout L[m, n] = v8:1n r2:8n r4:1m\n  layout LM[m] = v8:_ r4:1m\n"
	"  for b in 0..B step 4 {\n    i: int64[4] @LM = load(I[b:b + 4], valid = B - b)\n    for n in 0..N step 16 {\n"
	"      x: f32[4, 16] @L = load(T[i, n:n + 16], valid = [B - b, N - n], pad = 1.0)\n"
	"      store(O[b:b + 4, n:n + 16], x, valid = [B - b, N - n])\n    }\n  }\n} { target = \"cpu\" }\n"
	"kernel pick(T: f32[R], I: int32[B], O: f32[B], S: f32[R], R: idx, B: idx) {\n"
	"  layout V[n] = v8:1n r2:8n\n  for b in 0..B step 16 {\n    i: int32[16] @V = load(I[b:b + 16], valid = B - b)\n"
	"    x: f32[16] @V = load(T[i], valid = B - b, pad = -inf)\n    store(O[b:b + 16], x, valid = B - b)\n    store(S[i], x, valid = B - b)\n  }\n} { target = \"cpu\" }\n"
	"kernel sums(X: f32[8, 32], A: f32[32], B: f32[8], C: f32[], D: f32[8], E: int64[8], F: f32[8]) {\n"
	"  layout L[m, n] = v8:1n r4:8n r8:1m\n  layout LN[n] = v8:1n r4:8n\n  layout LM[m] = r8:1m\n  layout LP[m, n] = v8:1n r8:1m\n"
	"  x: f32[8, 32] @L = load(X)\n  a: f32[32] @LN = reduce(x, op = \"add\", axis = 0)\n  store(A, a)\n"
	"  b: f32[8] @LM = reduce(x, op = \"add\", axis = 1)\n  store(B, b)\n  c: f32[] = reduce(x, op = \"max\")\n  store(C, c)\n"
	"  i: int64[8, 32] @L = iota(1)\n  d: f32[8] @LM, e: int64[8] @LM = argreduce(x, i, op = \"max\", axis = 1)\n  store(D, d)\n  store(E, e)\n"
	"  p: f32[8, 8] @LP = reduce(x, op = \"add\", axis = 1, part = true)\n  f: f32[8] @LM = reduce(p, op = \"add\", axis = 1)\n  store(F, f)\n} { target = \"cpu\" }\n"
	"kernel moves(X: f32[4, 16], A: f32[4, 16], B: f32[4, 8], C: f32[4, 16], D: f32[4, 16], E: f32[16, 4]) {\n"
	"  layout L[m, n] = v4:1n r4:4n r4:1m\n  layout K[m, n] = v4:1m r16:1n\n  layout H[m, n] = v4:1n r2:4n r4:1m\n  layout LM[m] = r4:1m\n"
	"  layout T[m, n] = v4:1m r4:4m r4:1n\n"
	"  x: f32[4, 16] @L = load(X)\n  k: f32[4, 16] @K = convert(x)\n  store(A, k)\n  h: f32[4, 8] @H = slice(x, axis = 1, at = 8, len = 8)\n  store(B, h)\n"
	"  g: f32[4, 8] @H = slice(x, axis = 1, at = 0, len = 8)\n  c: f32[4, 16] @L = concat([h, g], axis = 1)\n  store(C, c)\n"
	"  s: f32[4] @LM = reduce(x, op = \"min\", axis = 1)\n  d: f32[4, 16] @L = bcast(s, dims = [0])\n  store(D, d)\n"
	"  t: f32[16, 4] @T = load(X.T)\n  store(E, t)\n} { target = \"cpu\" }\n"
	"kernel loops(O: int64[6], a: idx, b: idx, s: idx) {\n"
	"  zero: int64[] = 0\n  x: int64[] = for i in a..b with t = zero {\n    u: int64[] = add(mul(t, 3), i)\n    yield u\n  } { unroll = 4 }\n  store(O[0], x)\n"
	"  y: int64[] = for i in a..b step s with t = zero {\n    u: int64[] = add(mul(t, 3), i)\n    yield u\n  }\n  store(O[1], y)\n"
	"  z: int64[] = for i in b..a step -2 with t = zero {\n    u: int64[] = add(mul(t, 3), i)\n    yield u\n  }\n  store(O[2], z)\n"
	"  w: int64[] = for i in 0..7 step 3 with t = zero {\n    u: int64[] = add(mul(t, 3), i)\n    yield u\n  } { unroll = 8 }\n  store(O[3], w)\n"
	"  v: int64[] = if a < b and not (a == 2) {\n    yield x\n  } else {\n    n: int64[] = cast(b - a)\n    yield n\n  }\n  store(O[4], v)\n"
	"  q = select(a > b, a // s, cdiv(b, s)) + min(a, b, 3) - max(-a, b % s)\n  r: int64[] = cast(q)\n  store(O[5], r)\n} { target = \"cpu\" }\n"
	"kernel cells(O: int64[A, B, C], A: idx, B: idx, C: idx) {\n"
	"  grid i in 0..A, j in 1..B step 2, k in 0..C step 3\n  v: int64[] = cast(i * 10000 + j * 100 + k)\n  store(O[i, j, k], v)\n} { target = \"cpu\" }\n"
	"kernel turn(A: f32[M, K], O: f32[40, 6], M: idx, K: idx) {\n"
	"  smem ap: f32[40, 6]\n  layout V[k, m] = r6:1m r40:1k\n  pack(ap[0:40, 0:6], A[0:6, 0:40], valid = [M, K], pad = 7.0)\n"
	"  x: f32[40, 6] @V = load(ap)\n  store(O, x)\n} { target = \"cpu\" }\n"
	"kernel wide(A: f32[M, K], O: f32[40, 48], M: idx, K: idx) {\n"
	"  smem ap: f32[40, 48]\n  layout V[k, m] = v16:1m r3:16m r40:1k\n  pack(ap[0:40, 0:48], A[0:48, 0:40], valid = [M, K], pad = 7.0)\n"
	"  x: f32[40, 48] @V = load(ap)\n  store(O, x)\n} { target = \"cpu\" }\n"
	"kernel outer(A: f32[6], B: f32[32], C: f32[6, 32]) {\n"
	"  layout X[m, n] = v8:1n r4:8n r6:1m\n  layout XA[m] = r6:1m\n  layout XB[n] = v8:1n r4:8n\n"
	"  a: f32[6] @XA = load(A)\n  b: f32[32] @XB = load(B)\n  c: f32[6, 32] @X = load(C)\n  d: f32[6, 32] @X = mma(c, a, b)\n  store(C, d)\n} { target = \"cpu\" }\n"
	"kernel random(O: int32[4, 8], n: idx) {\n"
	"  layout V[n] = v8:1n\n  c: int32[8] @V = iota(0)\n  a: int32[8] @V, b: int32[8] @V, d: int32[8] @V, e: int32[8] @V = philox(0, 0, c, n, 0, 0)\n"
	"  store(O[0, 0:8], a)\n  store(O[1, 0:8], b)\n  store(O[2, 0:8], d)\n  store(O[3, 0:8], e)\n} { target = \"cpu\" }\n"
	"kernel steps(X: f32[N], O: f32[N], N: idx, s: idx) {\n"
	"  layout V[n] = v4:1n r2:4n\n  x: f32[8] @V = load(X[1:1 + 8 * s:s])\n  y: f32[8] @V = load(X[0:16:2])\n  z: f32[8] @V = add(x, y)\n  store(O[0:24:3], z)\n} { target = \"cpu\" }\n"
	"kernel raster(O: int64[n, 2], n: idx, ni: idx, nj: idx, band: idx) {\n"
	"  for t in 0..n {\n    i, j = raster(t, ni, nj, band)\n    x: int64[] = cast(i)\n    y: int64[] = cast(j)\n    store(O[t, 0], x)\n    store(O[t, 1], y)\n  }\n} { target = \"cpu\" }\n";

static void fill_small(float *p, int n)
{
	for (int i = 0; i < n; i++) p[i] = (float)((int)(any_bits() >> 40 & 63) - 32);
}

static void test_gathers(const KernelSo *so, const char *at)
{
	enum { R = 5, B = 19, N = 21 };
	float table[R * N], line[R], spread[R];
	Guarded o = guarded(B * N * 4), p = guarded(B * 4), ids = guarded(B * 8), small = guarded(B * 4);
	int64_t *id = ids.p, num[] = { R, B, N }, num2[] = { R, B };
	int32_t *id4 = small.p;
	fill_small(table, R * N);
	fill_small(line, R);
	for (int i = 0; i < B; i++) id4[i] = (int32_t)(id[i] = (int64_t)(any_bits() >> 33) % R);
	memset(spread, 0, sizeof spread);
	kernel_fn(so, "rows")((void *[]){ table, id, o.p }, num, 0, 1, NULL);
	kernel_fn(so, "pick")((void *[]){ line, id4, p.p, spread }, num2, 0, 1, NULL);
	int bad = 0;
	for (int i = 0; i < B; i++) {
		for (int j = 0; j < N; j++) bad += ((float *)o.p)[i * N + j] != table[id[i] * N + j];
		bad += ((float *)p.p)[i] != line[id4[i]] || spread[id4[i]] != line[id4[i]];
	}
	char name[64];
	snprintf(name, sizeof name, "lower-gather-%s", at);
	check(name, !bad, "%d elements", bad);
	unguard(&o), unguard(&p), unguard(&ids), unguard(&small);
}

static void test_reductions(const KernelSo *so, const char *at)
{
	float x[8 * 32], a[32], b[8], c, d[8], f[8];
	int64_t e[8];
	int bad = 0;
	char name[64];
	for (int round = 0; round < 3; round++) {
		fill_small(x, 8 * 32);
		if (round == 1) x[2 * 32 + 7] = x[2 * 32 + 19] = NAN;
		kernel_fn(so, "sums")((void *[]){ x, a, b, &c, d, e, f }, NULL, 0, 1, NULL);
		float most = -INFINITY;
		for (int i = 0; i < 8; i++) {
			float s = 0, top = x[i * 32];
			int64_t where = 0;
			for (int j = 0; j < 32; j++) {
				float v = x[i * 32 + j];
				s += v;
				if (v > top || (isnan(v) && !isnan(top))) top = v, where = j;
				most = (float)greater(most, v);
			}
			bad += !(b[i] == s || (isnan(s) && isnan(b[i]))) || !(f[i] == s || (isnan(s) && isnan(f[i]))) || e[i] != where || !(d[i] == top || (isnan(top) && isnan(d[i])));
		}
		for (int j = 0; j < 32; j++) {
			float s = 0;
			for (int i = 0; i < 8; i++) s += x[i * 32 + j];
			bad += !(a[j] == s || (isnan(s) && isnan(a[j])));
		}
		bad += !(c == most || (isnan(c) && isnan(most)));
	}
	snprintf(name, sizeof name, "lower-reduce-%s", at);
	check(name, !bad, "%d results", bad);
}

static void test_moves(const KernelSo *so, const char *at)
{
	float x[64], a[64], b[32], c[64], d[64], e[64];
	int bad = 0;
	fill_small(x, 64);
	kernel_fn(so, "moves")((void *[]){ x, a, b, c, d, e }, NULL, 0, 1, NULL);
	for (int i = 0; i < 4; i++) {
		float low = INFINITY;
		for (int j = 0; j < 16; j++) low = x[i * 16 + j] < low ? x[i * 16 + j] : low;
		for (int j = 0; j < 16; j++) {
			bad += a[i * 16 + j] != x[i * 16 + j] || c[i * 16 + j] != x[i * 16 + (j + 8) % 16] || d[i * 16 + j] != low || e[j * 4 + i] != x[i * 16 + j];
			if (j < 8) bad += b[i * 8 + j] != x[i * 16 + 8 + j];
		}
	}
	char name[64];
	snprintf(name, sizeof name, "lower-moves-%s", at);
	check(name, !bad, "%d elements", bad);
}

static int64_t folded(int64_t from, int64_t to, int64_t step)
{
	int64_t t = 0;
	for (int64_t i = from; step > 0 ? i < to : i > to; i += step) t = t * 3 + i;
	return t;
}

static void test_control(const KernelSo *so, const char *at)
{
	int bad = 0;
	char name[64];
	for (int64_t a = -3; a <= 4; a++)
		for (int64_t b = -4; b <= 12; b++)
			for (int64_t s = 1; s <= 3; s++) {
				int64_t o[6], num[] = { a, b, s }, m = a < b ? a : b;
				kernel_fn(so, "loops")((void *[]){ o }, num, 0, 1, NULL);
				int64_t q = (a > b ? quotient(a, s) : -quotient(-b, s)) + (m < 3 ? m : 3), r = b - quotient(b, s) * s;
				q -= -a > r ? -a : r;
				bad += o[0] != folded(a, b, 1) || o[1] != folded(a, b, s) || o[2] != folded(b, a, -2) || o[3] != folded(0, 7, 3) ||
					o[4] != (a < b && a != 2 ? o[0] : b - a) || o[5] != q;
			}
	snprintf(name, sizeof name, "lower-control-%s", at);
	check(name, !bad, "%d runs", bad);
	enum { A = 3, B = 8, C = 10 };
	int64_t o[A * B * C], num[] = { A, B, C }, cells = A * 4 * 4;
	memset(o, 0xff, sizeof o);
	for (int64_t c = 0; c < cells; c += 5) kernel_fn(so, "cells")((void *[]){ o }, num, c, c + 5 < cells ? c + 5 : cells, NULL);
	bad = 0;
	for (int i = 0; i < A; i++)
		for (int j = 0; j < B; j++)
			for (int k = 0; k < C; k++) bad += o[(i * B + j) * C + k] != (j % 2 && k % 3 == 0 ? i * 10000 + j * 100 + k : -1);
	snprintf(name, sizeof name, "lower-grid-%s", at);
	check(name, !bad, "%d cells", bad);
}

static int pack_run(KernelFn *fn, int64_t rows, int64_t m, int64_t k)
{
	static char scratch[48 * 40 * 4] __attribute__((aligned(64)));
	int bad = 0;
	Guarded a = guarded(m * k * 4);
	float o[48 * 40], *p = a.p;
	int64_t num[] = { m, k };
	fill_small(p, (int)(m * k));
	fn((void *[]){ p, o }, num, 0, 1, scratch);
	for (int64_t i = 0; i < rows; i++)
		for (int64_t j = 0; j < 40; j++) bad += o[j * rows + i] != (i < m && j < k ? p[i * k + j] : 7.0f);
	unguard(&a);
	return bad;
}

static void test_pack(const KernelSo *so, const char *at)
{
	int bad = 0;
	char name[64];
	for (int64_t k = 0; k <= 45; k++) {
		for (int64_t m = 0; m <= 7; m++) bad += pack_run(kernel_fn(so, "turn"), 6, m, k);
		for (int64_t m = 0; m <= 50; m += m % 4 ? 1 : 3) bad += pack_run(kernel_fn(so, "wide"), 48, m, k);
	}
	snprintf(name, sizeof name, "lower-pack-%s", at);
	check(name, !bad, "%d elements", bad);
}

static void test_rest(const KernelSo *so, const char *at)
{
	int bad = 0;
	char name[64];
	float a[6], b[32], c[192], e[192], x[25], o[24];
	fill_small(a, 6);
	fill_small(b, 32);
	fill_small(c, 192);
	for (int i = 0; i < 192; i++) e[i] = c[i] + a[i / 32] * b[i % 32];
	kernel_fn(so, "outer")((void *[]){ a, b, c }, NULL, 0, 1, NULL);
	bad += memcmp(c, e, sizeof c) != 0;
	fill_small(x, 25);
	memset(o, 0, sizeof o);
	kernel_fn(so, "steps")((void *[]){ x, o }, (int64_t[]){ 25, 3 }, 0, 1, NULL);
	for (int i = 0; i < 24; i++) bad += o[i] != (i % 3 ? 0 : x[1 + i] + x[i / 3 * 2]);
	int32_t r[32];
	kernel_fn(so, "random")((void *[]){ r }, (int64_t[]){ 0 }, 0, 1, NULL);
	/* Random123's answer for key 0, counter 0 */
	bad += (uint32_t)r[0] != 0x6627e8d5 || (uint32_t)r[8] != 0xe169c58d || (uint32_t)r[16] != 0xbc57ac4c || (uint32_t)r[24] != 0x9b00dbd8;
	int64_t places[35 * 2], seen[35] = { 0 };
	kernel_fn(so, "raster")((void *[]){ places }, (int64_t[]){ 35, 5, 7, 2 }, 0, 1, NULL);
	for (int t = 0; t < 35; t++) seen[places[2 * t] * 7 + places[2 * t + 1]]++;
	for (int t = 0; t < 35; t++) bad += seen[t] != 1;
	bad += places[2] != 1 || places[3] != 0 || places[4] != 0 || places[5] != 1;
	snprintf(name, sizeof name, "lower-rest-%s", at);
	check(name, !bad, "%d", bad);
}

/* ---- the same bits ---- */
static void test_bits(void)
{
	if (!runs_here(2)) return;
	float x[8 * 32], out[2][32 + 8 + 1 + 8 + 8];
	int64_t e[8];
	for (int i = 0; i < 8 * 32; i++) x[i] = (float)(int32_t)(any_bits() >> 32) * 1.7e-5f;
	for (int t = 1; t <= 2; t++) {
		KernelSo so = kernel_so(kernels, targets[t], 2);
		float *o = out[t - 1];
		if (so.so) kernel_fn(&so, "sums")((void *[]){ x, o, o + 32, o + 40, o + 41, e, o + 49 }, NULL, 0, 1, NULL);
		kernel_so_free(&so);
	}
	check("lower-clones-agree", !memcmp(out[0], out[1], sizeof out[0]), "v3 and v4 differ");
}

static void test_repeatable(void)
{
	TsBuf object[2] = { { 0 } };
	for (int i = 0; i < 2; i++) {
		TsCtx *cx = ts_ctx_new();
		TsTree *file = ts_parse(cx, ts_source_add(cx, "test.tile", kernels, sizeof kernels - 1));
		TsUnit units[64];
		uint32_t n = 0, count;
		TsBuf *parts;
		TsBackendOptions o = { .opt_level = 2, .jobs = 1 + i };
		if (file && ts_tile_verify(cx, file))
			for (uint32_t k = 0; k < file->n && n + 2 < 64; k++)
				for (int t = 0; t < TARGETS; t++)
					if (file->kid[k]->kind == TS_TREE_KERNEL && t != 1) units[n++] = (TsUnit){ file->kid[k], ts_printf(ts_arena(cx), "%s_%d", file->kid[k]->name, t), ts_target_find(targets[t]) };
		if (ts_backend_compile_all(cx, units, n, &o, &parts, &count, NULL))
			for (uint32_t k = 0; k < count; k++) {
				ts_buf_add(&object[i], parts[k].p, parts[k].n);
				ts_buf_free(&parts[k]);
			}
		ts_ctx_free(cx);
	}
	check("lower-repeatable", object[0].n && object[0].n == object[1].n && !memcmp(object[0].p, object[1].p, object[0].n), "%zu and %zu bytes", object[0].n, object[1].n);
	ts_buf_free(&object[0]);
	ts_buf_free(&object[1]);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int t = 0; t < TARGETS; t++) {
		if (!runs_here(t)) continue;
		test_words(t);
		test_casts(t);
		test_copies(t);
		for (int level = 0; level <= 3; level++) {
			char at[32];
			snprintf(at, sizeof at, "%s-O%d", targets[t], level);
			KernelSo so = kernel_so(kernels, targets[t], level);
			check(at, so.so != NULL, "does not compile");
			if (!so.so) continue;
			test_gathers(&so, at);
			test_reductions(&so, at);
			test_moves(&so, at);
			test_control(&so, at);
			test_pack(&so, at);
			test_rest(&so, at);
			kernel_so_free(&so);
		}
	}
	test_bits();
	test_repeatable();
	return check_failed;
}
