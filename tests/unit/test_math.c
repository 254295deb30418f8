/* The vector math against glibc: compiled for x86-64-v2, v3 and v4 as this CPU allows, linked, loaded and run. f32 functions of one
 * argument are compared with glibc's double functions (`test_math full`: on all 2^32 inputs, by `make test-math`; else on a stride that
 * still meets every exponent), f64 ones with long double on a seeded sample. v3 and v4 must agree in every bit. */
#include "tests/unit/vecmath.h"
#include <pthread.h>
#include <stdatomic.h>

/* ---- references -------------------------------------------------------------------------------------------------------------- */

static double ref_relu(double x) { return x < 0 ? 0 : x; }
static double ref_neg(double x) { return -x; }

static long double wide_rsqrt(long double x) { return 1 / sqrtl(x); }
static long double wide_sigmoid(long double x) { return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x)); }
static long double wide_silu(long double x) { return x * wide_sigmoid(x); }
static long double wide_relu(long double x) { return x < 0 ? 0 : x; }
static long double wide_neg(long double x) { return -x; }

/* erfc(-x/sqrt 2) with the rounding of the argument put right: erfc(z + d) = erfc(z) (1 - 2 z d) for large z */
static long double wide_gelu(long double x)
{
	__float128 q = -(__float128)x * 0.70710678118654752440084436210484903928Q;
	long double z = (long double)q, d = (long double)(q - z), t;

	if (x < -60)
		return x == -INFINITY ? NAN : -0.0L;
	if (x > 60)
		return x;
	t = erfcl(z);
	return x * 0.5L * (z > 1 ? t - t * 2 * z * d : t - expl(-z * z) * d * 1.12837916709551257390L);
}

static long double wide_gelu_tanh(long double x)
{
	__float128 c = 1.59576912160573071175978423973752747390Q, u;
	long double hi, lo, e;

	if (x < -60)
		return x == -INFINITY ? NAN : -0.0L;
	if (x > 60)
		return x;
	u = c * (x + 0.044715Q * x * x * x);
	hi = (long double)u, lo = (long double)(u - hi);
	e = expl(-fabsl(hi)) * (1 - (hi < 0 ? -lo : lo));
	return x < 0 ? x * e / (1 + e) : x / (1 + e);
}

/* bound in ulp, with fused multiply-add and without */
typedef struct { const char *name; double (*ref)(double); long double (*wide)(long double); double bound; } Word;
static const Word words[] = {
	{ "exp", exp, expl, 2 },
	{ "exp2", exp2, exp2l, 2 },
	{ "log", log, logl, 2 },
	{ "log2", log2, log2l, 4 },
	{ "sqrt", sqrt, sqrtl, 0.501 },
	{ "rsqrt", ref_rsqrt, wide_rsqrt, 1.6 },
	{ "tanh", tanh, tanhl, 4 },
	{ "erf", erf, erfl, 4 },
	{ "sigmoid", ref_sigmoid, wide_sigmoid, 4 },
	{ "silu", ref_silu, wide_silu, 4 },
	{ "gelu", ref_gelu, wide_gelu, 7 },
	{ "gelu_tanh", ref_gelu_tanh, wide_gelu_tanh, 4 },
	{ "relu", ref_relu, wide_relu, 0 },
	{ "sin", sin, sinl, 2 },
	{ "cos", cos, cosl, 2 },
	{ "floor", floor, floorl, 0 },
	{ "ceil", ceil, ceill, 0 },
	{ "round", rint, rintl, 0 },
	{ "abs", fabs, fabsl, 0 },
	{ "neg", ref_neg, wide_neg, 0 },
};
static const char *const pairs[] = { "pow", "mod", "floordiv", "minimum", "maximum" };
enum { NWORD = sizeof words / sizeof *words, NPAIR = sizeof pairs / sizeof *pairs };

static void body_word(Gen *g, LLVMValueRef const *in, LLVMValueRef *out, const void *arg)
{
	out[0] = ts_math_call(&g->m, arg, in, (unsigned)ts_math_arity(arg));
}

static void gen_all(Gen *g, int bytes)
{
	LLVMTypeRef f32 = LLVMFloatTypeInContext(g->cx), f64 = LLVMDoubleTypeInContext(g->cx);
	char name[64];

	for (int k = 0; k < NWORD + NPAIR; k++) {
		const char *w = k < NWORD ? words[k].name : pairs[k - NWORD];
		int n = k < NWORD ? 1 : 2;

		snprintf(name, sizeof name, "%s_f32", w);
		gen_loop(g, name, f32, n, f32, 1, bytes / 4, body_word, w);
		snprintf(name, sizeof name, "%s_f64", w);
		gen_loop(g, name, f64, n, f64, 1, bytes / 8, body_word, w);
		snprintf(name, sizeof name, "%s_one", w);
		gen_loop(g, name, f32, n, f32, 1, 1, body_word, w);
	}
}

/* ---- comparison -------------------------------------------------------------------------------------------------------------- */

typedef struct { double worst, at; uint64_t wrong; double wrong_at; } Tally;

/* distance of got from ref in units of the last place of the type, whose precision is p and least exponent emin */
static double ulps(long double got, long double ref, int p, int emin, long double max)
{
	int e;

	if (isnan(ref) || isnan(got))
		return isnan(ref) && isnan(got) ? 0 : INFINITY;
	if (got == 0 && signbit(got) != signbit(ref))
		return INFINITY;
	if (isinf(ref) && isinf(got))
		return got == ref ? 0 : INFINITY;
	if (isinf(got))
		return fabsl(ref) > max * (1 - ldexpl(1, 2 - p)) && signbit(got) == signbit(ref) ? 0 : INFINITY;
	if (isinf(ref))
		return INFINITY;
	if (got == ref)
		return 0;
	frexpl(ref, &e);
	e = ref == 0 || e - 1 < emin ? emin : e - 1;
	return (double)ldexpl(fabsl(got - ref), p - 1 - e);
}

static void tally(Tally *t, double at, double err, double bound)
{
	if (err > t->worst)
		t->worst = err, t->at = at;
	if (!(err <= bound) && !t->wrong++)
		t->wrong_at = at;
}

static void report(const char *what, Tally t, double bound)
{
	char name[128];

	snprintf(name, sizeof name, "%-22s %6.3f ulp at %a (bound %g)", what, t.worst, t.at, bound);
	check(name, !t.wrong, "%llu wrong, first at %a (%.9g)", (unsigned long long)t.wrong, t.wrong_at, t.wrong_at);
}

static const double edges[] = { 0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, 2, -2, 3, -3, 0x1p-1074, -0x1p-1074, 0x1p-1022, -0x1p-1022, 0x1.fffffffffffffp-1023,
	DBL_MAX, -DBL_MAX, INFINITY, -INFINITY, NAN, 709.78, 709.79, -708.4, -745.13, -745.2, -746, 0x1p52, 0x1p53, 0x1.fffffffffffffp-1, 0x1.0000000000001p0,
	0x1.921fb54442d18p0, 0x1.6ac5b262ca1ffp+849 /* nearest any double comes to a multiple of pi/2 */, 0x1p1023, 0x1p-149, 0x1p-126, FLT_MAX, 1e-8, 1e-4 };
enum { NEDGE = sizeof edges / sizeof *edges };

/* f32, one argument: chunks of inputs are handed to threads */
typedef struct { const Word *w; Fn1 fn[LEVELS], one; uint32_t stride; atomic_uint next; pthread_mutex_t lock; Tally t[LEVELS]; uint64_t differ, lonely; } Sweep;

/* the same as ulps for f32, fast for the usual cases */
static inline double fast_ulps(float got, double ref)
{
	double m = fabs(ref), scale;
	union { double d; uint64_t u; } b = { m };
	float nearest = (float)ref;

	if (!memcmp(&got, &nearest, sizeof got) || (got != got && ref != ref))
		return 0; /* half an ulp at most */

	if (got == 0 || !(m <= FLT_MAX) || isinf(got) || isnan(got))
		return ulps(got, ref, 24, -126, FLT_MAX);
	b.u = (m < 0x1p-126 ? 0x381ull : b.u >> 52) << 52; /* 2^exponent */
	scale = b.d * 0x1p-23;
	return fabs(got - ref) / scale;
}

/* what a stride would miss: the edges, and both ends of every binade */
static void add_edges(float *x)
{
	uint32_t mant[] = { 0, 1, 0x7fffff };

	for (int i = 0; i < NEDGE; i++)
		x[i] = (float)edges[i];
	for (uint32_t i = 0; i < 3 * 512; i++) {
		uint32_t u = i / 3 << 23 | mant[i % 3];

		memcpy(&x[NEDGE + i], &u, 4);
	}
}

static void sweep_chunk(Sweep *s, uint32_t first, Tally t[LEVELS], uint64_t *differ, uint64_t *lonely)
{
	static _Thread_local float x[CHUNK], y[LEVELS][CHUNK], one[CHUNK];

	for (int i = 0; i < CHUNK; i++) {
		uint32_t u = (first + (uint32_t)i) * s->stride;

		memcpy(&x[i], &u, 4);
	}
	if (!first && s->stride > 1)
		add_edges(x);
	for (int lv = 0; lv < LEVELS; lv++)
		if (s->fn[lv])
			s->fn[lv](x, y[lv], CHUNK);
	for (int i = 0; i < CHUNK; i++) {
		double ref = s->w->ref(x[i]);

		for (int lv = 0; lv < LEVELS; lv++)
			if (s->fn[lv] && !(lv == V4 && s->fn[V3]))
				tally(&t[lv], x[i], fast_ulps(y[lv][i], ref), s->w->bound);
	}
	if (s->fn[V3] && s->fn[V4] && memcmp(y[V3], y[V4], sizeof y[0]))
		for (int i = 0; i < CHUNK; i++)
			*differ += memcmp(&y[V3][i], &y[V4][i], 4) && !(isnan(y[V3][i]) && isnan(y[V4][i]));
	if (s->one && (first & (63 * CHUNK)) == 0) {
		s->one(x, one, CHUNK);
		for (int i = 0; i < CHUNK; i++)
			*lonely += memcmp(&y[V2][i], &one[i], 4) && !(isnan(y[V2][i]) && isnan(one[i]));
	}
}

static void *sweep_thread(void *arg)
{
	Sweep *s = arg;
	Tally t[LEVELS] = { 0 };
	uint64_t differ = 0, lonely = 0, total = (0x100000000ull + s->stride - 1) / s->stride;

	for (;;) {
		uint64_t first = (uint64_t)atomic_fetch_add(&s->next, 1) * CHUNK;

		if (first >= total)
			break;
		sweep_chunk(s, (uint32_t)first, t, &differ, &lonely);
	}
	pthread_mutex_lock(&s->lock);
	for (int lv = 0; lv < LEVELS; lv++) {
		if (!s->t[lv].wrong)
			s->t[lv].wrong_at = t[lv].wrong_at;
		s->t[lv].wrong += t[lv].wrong;
		if (t[lv].worst > s->t[lv].worst)
			s->t[lv].worst = t[lv].worst, s->t[lv].at = t[lv].at;
	}
	s->differ += differ;
	s->lonely += lonely;
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void sweep(const Word *w, uint32_t stride, int threads)
{
	Sweep s = { .w = w, .stride = stride, .lock = PTHREAD_MUTEX_INITIALIZER };
	pthread_t th[256];
	char name[64];

	for (int lv = 0; lv < LEVELS; lv++)
		s.fn[lv] = (Fn1)find(lv, w->name, "_f32");
	s.one = (Fn1)find(V2, w->name, "_one");
	for (int i = 0; i < threads; i++)
		pthread_create(&th[i], NULL, sweep_thread, &s);
	for (int i = 0; i < threads; i++)
		pthread_join(th[i], NULL);
	for (int lv = 0; lv < LEVELS; lv++) {
		if (!s.fn[lv] || (lv == V4 && s.fn[V3]))
			continue;
		snprintf(name, sizeof name, "%s f32 %s", w->name, level[lv].cpu + 7);
		report(name, s.t[lv], w->bound);
	}
	snprintf(name, sizeof name, "%s f32 same bits on v3, v4 and any width", w->name);
	check(name, !s.differ && !s.lonely, "%llu differ between v3 and v4, %llu between vector and scalar", (unsigned long long)s.differ,
		(unsigned long long)s.lonely);
}

/* ---- f64 and functions of two arguments: seeded samples ---------------------------------------------------------------------- */

static uint64_t seed = 1;

static uint64_t rnd(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* a third any bits, a third of moderate size, a third near 1 or small; the edges first */
static double sample(int i)
{
	uint64_t u = rnd();
	double r;

	if (i < NEDGE)
		return edges[i];
	if (i % 3 == 0) {
		memcpy(&r, &u, 8);
		return r;
	}
	r = (double)(int64_t)u * 0x1p-63;
	return i % 3 == 1 ? r * 750 : i % 2 ? r * 6 : r * ldexp(1, -(int)(rnd() % 30)) + (rnd() & 1);
}

static void check_f64(const Word *w, int chunks)
{
	static double x[CHUNK], y[LEVELS][CHUNK];
	Tally t[LEVELS] = { 0 };
	uint64_t differ = 0;
	char name[64];
	Fn1 fn[LEVELS];

	for (int lv = 0; lv < LEVELS; lv++)
		fn[lv] = (Fn1)find(lv, w->name, "_f64");
	for (int c = 0; c < chunks; c++) {
		for (int i = 0; i < CHUNK; i++)
			x[i] = sample(c ? i + NEDGE : i);
		for (int lv = 0; lv < LEVELS; lv++)
			if (fn[lv])
				fn[lv](x, y[lv], CHUNK);
		for (int i = 0; i < CHUNK; i++) {
			long double ref = w->wide(x[i]);

			for (int lv = 0; lv < LEVELS; lv++)
				if (fn[lv])
					tally(&t[lv], x[i], ulps(y[lv][i], ref, 53, -1022, DBL_MAX), w->bound);
			if (fn[V3] && fn[V4])
				differ += memcmp(&y[V3][i], &y[V4][i], 8) && !isnan(y[V3][i]);
		}
	}
	for (int lv = 0; lv < LEVELS; lv++) {
		snprintf(name, sizeof name, "%s f64 %s", w->name, level[lv].cpu + 7);
		if (fn[lv])
			report(name, t[lv], w->bound);
	}
	snprintf(name, sizeof name, "%s f64 same bits on v3 and v4", w->name);
	check(name, !differ, "%llu differ", (unsigned long long)differ);
}

typedef void (*Fn2)(const void *a, const void *b, void *y, int64_t n);

/* in the type's own arithmetic: r + b is rounded once */
static double python_mod(double a, double b, bool f64)
{
	double r = fmod(a, b);

	if (r == 0)
		return copysign(0, b);
	if ((r < 0) != (b < 0))
		r = f64 ? r + b : (double)((float)r + (float)b);
	return r;
}

static long double ref_pair(int k, double a, double b, bool f64)
{
	double m, q, fl;
	float mf, qf;

	if (isnan(a) || isnan(b))
		return k ? NAN : pow(a, b);
	switch (k) {
	case 0: return f64 ? powl(a, b) : (long double)pow(a, b);
	case 1: return python_mod(a, b, f64);
	case 2: /* in the type's own arithmetic: the quotient of the exact multiple of b */
		if (b == 0)
			return f64 ? a / b : (double)((float)a / (float)b);
		m = fmod(a, b), mf = (float)m;
		q = (a - m) / b, qf = ((float)a - mf) / (float)b;
		q = f64 ? q : qf;
		if (m != 0 && (m < 0) != (b < 0))
			q = f64 ? q - 1 : (double)(float)(q - 1);
		fl = floor(q);
		fl = q - fl > 0.5 ? fl + 1 : fl;
		return q == 0 ? copysign(0, a / b) : fl;
	case 3: return a < b || (a == b && signbit(a)) ? a : b;
	default: return a > b || (a == b && !signbit(a)) ? a : b;
	}
}

static void check_pair(int k, bool f64, int chunks)
{
	static double a[CHUNK], b[CHUNK], y[CHUNK], y3[CHUNK];
	static float fa[CHUNK], fb[CHUNK], fy[CHUNK];
	double bound = k == 0 ? f64 ? 2 : 1 : 0;
	char name[64];

	for (int lv = 0; lv < LEVELS; lv++) {
		Fn2 fn = (Fn2)find(lv, pairs[k], f64 ? "_f64" : "_f32");
		Tally t = { 0 };
		uint64_t differ = 0;

		seed = 7;
		for (int c = 0; fn && c < chunks; c++) {
			for (int i = 0; i < CHUNK; i++) {
				a[i] = c == 0 && i < NEDGE * NEDGE ? edges[i / NEDGE] : sample(i + NEDGE);
				b[i] = c == 0 && i < NEDGE * NEDGE ? edges[i % NEDGE] : sample(i / 3 + NEDGE);
				if (i % 4 == 3 && c && isfinite(b[i]))
					b[i] = k == 0 ? 700 * (double)(rnd() % 2048) / 1024 / (fabs(log(fabs(a[i]))) + 0.1) : floor(b[i]);
				if (!f64)
					a[i] = fa[i] = (float)a[i], b[i] = fb[i] = (float)b[i];
			}
			fn(f64 ? (void *)a : fa, f64 ? (void *)b : fb, f64 ? (void *)y : fy, CHUNK);
			for (int i = 0; i < CHUNK; i++) {
				double got = f64 ? y[i] : fy[i];
				long double ref = ref_pair(k, a[i], b[i], f64);

				tally(&t, a[i], f64 ? ulps(got, ref, 53, -1022, DBL_MAX) : ulps(got, k ? (float)ref : ref, 24, -126, FLT_MAX), bound);
				if (c == 0 && lv == V3)
					y3[i] = got;
				else if (c == 0 && lv == V4)
					differ += got != y3[i] && !isnan(got);
			}
		}
		snprintf(name, sizeof name, "%s %s %s", pairs[k], f64 ? "f64" : "f32", level[lv].cpu + 7);
		if (fn)
			report(name, t, bound);
		if (fn && lv == V4) {
			snprintf(name, sizeof name, "%s %s same bits on v3 and v4", pairs[k], f64 ? "f64" : "f32");
			check(name, !differ, "%llu differ", (unsigned long long)differ);
		}
	}
}

int main(int argc, char **argv)
{
	bool full = argc > 1 && !strcmp(argv[1], "full");
	int threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
	const char *only = argc > 2 ? argv[2] : argc > 1 && !full ? argv[1] : NULL;

	check("unknown-word", !ts_math_arity("conv2d"), "has an arity");
	if (!load_levels(gen_all))
		return 1;
	threads = threads > 256 ? 256 : threads < 1 ? 1 : threads;
	for (int k = 0; k < NWORD; k++) {
		if (only && strcmp(only, words[k].name))
			continue;
		sweep(&words[k], full ? 1 : 1021, threads); /* odd and prime: all exponents, all low bits */
		check_f64(&words[k], full ? 400 : 8);
	}
	for (int k = 0; k < NPAIR; k++) {
		if (only && strcmp(only, pairs[k]))
			continue;
		check_pair(k, false, full ? 200 : 6);
		check_pair(k, true, full ? 200 : 6);
	}
	return failed;
}
