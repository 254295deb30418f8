/* The simulator of Tile IR: the golden texts against plain loops, and their protocols on ragged shapes under many orders. */
#include "ir/tile_sim.h"
#include "tests/unit/tile_text.h"
#include <math.h>

static int failures;
enum { MAX_BUFFERS = 6, MAX_NUMBERS = 6 };
typedef struct { TsCtx *cx; TsTree *file; TsTensor buf[MAX_BUFFERS]; int64_t num[MAX_NUMBERS]; TsSimArgs args; } Run;

static void fail(const char *name, const char *why, const char *more)
{
	printf("FAIL %s: %s %s\n", name, why, more);
	failures++;
}

static bool start(Run *r, const char *name)
{
	char *text = read_golden(name);
	memset(r, 0, sizeof *r);
	r->cx = ts_ctx_new();
	r->file = parse_text(r->cx, name, text);
	free(text);
	r->args.buffers = r->buf;
	r->args.numbers = r->num;
	if (!r->file) fail(name, "does not parse", "");
	return r->file;
}

static uint64_t state = 12345;
static double noise(void)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (double)(int64_t)(state >> 40) / (1 << 24) * 2 - 1;
}

/* A buffer of noise; outputs (fill NAN) hold NaN, which a missing store leaves. */
static void buffer(Run *r, TsDtype elem, int rank, const int64_t *dim, double fill)
{
	TsTensor *t = &r->buf[r->args.nbuffers++];
	if (!ts_tensor_new(r->cx, "test", elem, rank, dim, t)) abort();
	for (int64_t i = 0; i < t->count; i++) ts_elem_set(elem, t->data, i, isnan(fill) ? NAN : fill == 0 ? noise() : fill);
}
#define DIMS(...) (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / 8), (int64_t[]){ __VA_ARGS__ }
static void number(Run *r, int64_t n) { r->num[r->args.nnumbers++] = n; }
static double at(const Run *r, int b, int64_t i) { return ts_elem_get(r->buf[b].elem, r->buf[b].data, i); }

static bool simulate(Run *r, const char *name)
{
	bool ok = ts_tile_sim(r->cx, r->file, &r->args);
	TsBuf diag = { 0 };
	ts_diag_text(r->cx, &diag);
	if (!ok) fail(name, "does not run clean:", diag.p ? diag.p : "");
	ts_buf_free(&diag);
	return ok;
}

static void finish(Run *r)
{
	for (uint32_t i = 0; i < r->args.nbuffers; i++) ts_tensor_free(&r->buf[i]);
	ts_ctx_free(r->cx);
}

static bool near(const char *name, int64_t i, double got, double want, double bound)
{
	if (fabs(got - want) <= bound) return true;
	char why[100];
	snprintf(why, sizeof why, "element %lld is %.9g, expected %.9g", (long long)i, got, want);
	fail(name, why, "");
	return false;
}

static double gelu(double x) { return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))); }

/* ---- kernels against loops ---- */
static void scale(int64_t rows, int64_t n)
{
	Run r;
	if (!start(&r, "scale_cpu")) return;
	buffer(&r, TS_F32, DIMS(rows, n), 0), buffer(&r, TS_F32, DIMS(rows, n), NAN), number(&r, rows), number(&r, n);
	if (simulate(&r, "scale_cpu"))
		for (int64_t i = 0; i < rows * n && near("scale_cpu", i, at(&r, 1, i), 2 * at(&r, 0, i), 0); i++) {}
	finish(&r);
}

static void layer_norm(const char *name, TsDtype elem, int64_t rows, int64_t n, bool ctas)
{
	Run r;
	if (!start(&r, name)) return;
	buffer(&r, elem, DIMS(rows, n), 0), buffer(&r, TS_F32, DIMS(n), 0), buffer(&r, TS_F32, DIMS(n), 0), buffer(&r, elem, DIMS(rows, n), NAN);
	buffer(&r, TS_F32, 0, NULL, 1e-5), number(&r, rows), number(&r, n);
	if (ctas) number(&r, 2);
	bool ok = simulate(&r, name);
	for (int64_t i = 0; i < rows && ok; i++) {
		double mean = 0, var = 0;
		for (int64_t k = 0; k < n; k++) mean += at(&r, 0, i * n + k) / (double)n;
		for (int64_t k = 0; k < n; k++) var += pow(at(&r, 0, i * n + k) - mean, 2) / (double)n;
		for (int64_t k = 0; k < n && ok; k++) {
			double want = (at(&r, 0, i * n + k) - mean) / sqrt(var + 1e-5) * at(&r, 1, k) + at(&r, 2, k);
			ok = near(name, i * n + k, at(&r, 3, i * n + k), want, (elem == TS_F32 ? 1e-5 : 1e-2) * (1 + fabs(want)));
		}
	}
	finish(&r);
}

static void softmax(const char *name, int64_t rows, int64_t n)
{
	Run r;
	if (!start(&r, name)) return;
	buffer(&r, TS_BF16, DIMS(rows, n), 0), buffer(&r, TS_BF16, DIMS(rows, n), NAN), number(&r, rows), number(&r, n);
	bool ok = simulate(&r, name);
	for (int64_t i = 0; i < rows && ok; i++) {
		double top = -INFINITY, sum = 0;
		for (int64_t k = 0; k < n; k++) top = fmax(top, at(&r, 0, i * n + k));
		for (int64_t k = 0; k < n; k++) sum += exp(at(&r, 0, i * n + k) - top);
		for (int64_t k = 0; k < n && ok; k++) {
			double want = exp(at(&r, 0, i * n + k) - top) / sum;
			ok = near(name, i * n + k, at(&r, 1, i * n + k), want, 1e-2 * want + 1e-9);
		}
	}
	finish(&r);
}

/* The texts of C = act(A B (+ bias)): B as [N, K], or packed in panels. */
static void linear(const char *name, TsDtype elem, int64_t m, int64_t n, int64_t k, int panels, bool bias, bool ctas, uint64_t seed)
{
	Run r;
	if (!start(&r, name)) return;
	int64_t kb = panels == 128 ? (k + 127) / 128 : 1, kp = panels == 128 ? 128 : k, nb = (n + 63) / 64;
	buffer(&r, elem, DIMS(m, k), 0);
	if (panels) buffer(&r, elem, panels == 128 ? 4 : 3, panels == 128 ? (int64_t[]){ kb, nb, 128, 64 } : (int64_t[]){ nb, k, 64 }, 0);
	else buffer(&r, elem, DIMS(n, k), 0);
	if (bias) buffer(&r, TS_F32, DIMS(n), 0);
	buffer(&r, elem, DIMS(m, n), NAN), number(&r, m), number(&r, n), number(&r, k);
	if (ctas) number(&r, 3);
	r.args.seed = seed;
	r.args.latest = seed & 1;
	bool ok = simulate(&r, name);
	for (int64_t i = 0; i < m && ok; i++)
		for (int64_t j = 0; j < n && ok; j++) {
			double sum = 0, size = 1;
			for (int64_t q = 0; q < k; q++) {
				double b = panels ? at(&r, 1, ((q / kp * nb + j / 64) * kp + q % kp) * 64 + j % 64) : at(&r, 1, j * k + q);
				sum += at(&r, 0, i * k + q) * b;
				size += fabs(at(&r, 0, i * k + q) * b);
			}
			double want = bias ? gelu(sum + at(&r, 2, j)) : sum;
			ok = near(name, i * n + j, at(&r, bias ? 3 : 2, i * n + j), want, elem == TS_F32 ? 1e-5 * size : 1e-2 * (1 + fabs(want)));
		}
	finish(&r);
}

static void attention(int64_t heads, int64_t len, uint64_t seed)
{
	Run r;
	if (!start(&r, "attention_sm90a")) return;
	for (int i = 0; i < 4; i++) buffer(&r, TS_BF16, DIMS(heads, len, 128), i < 3 ? 0 : NAN);
	buffer(&r, TS_F32, 0, NULL, 1.4426950408889634 / 11.313708498984761), number(&r, heads), number(&r, len), number(&r, 2);
	r.args.seed = seed;
	bool ok = simulate(&r, "attention_sm90a");
	for (int64_t h = 0; h < heads && ok; h++)
		for (int64_t i = 0; i < len && ok; i++) {
			double p[512], sum = 0, out[128] = { 0 };
			for (int64_t j = 0; j <= i; j++) {
				double s = 0;
				for (int d = 0; d < 128; d++) s += at(&r, 0, (h * len + i) * 128 + d) * at(&r, 1, (h * len + j) * 128 + d);
				sum += p[j] = exp(s / 11.313708498984761);
			}
			for (int64_t j = 0; j <= i; j++)
				for (int d = 0; d < 128; d++) out[d] += p[j] / sum * at(&r, 2, (h * len + j) * 128 + d);
			for (int d = 0; d < 128 && ok; d++) ok = near("attention_sm90a", (h * len + i) * 128 + d, at(&r, 3, (h * len + i) * 128 + d), out[d], 1.5e-2);
		}
	finish(&r);
}

/* ---- protocols ---- */
static void protocol(const char *name, TsDtype elem, const int64_t *shape, bool attn, int seeds)
{
	for (int seed = 0; seed < seeds; seed++) {
		Run r;
		if (!start(&r, name)) return;
		int64_t m = shape[0], n = shape[1], k = shape[2];
		if (attn) {
			for (int i = 0; i < 4; i++) buffer(&r, elem, DIMS(m, n, 128), 0);
			buffer(&r, TS_F32, 0, NULL, 1), number(&r, m), number(&r, n), number(&r, 2);
		} else {
			buffer(&r, elem, DIMS(m, k), 0), buffer(&r, elem, DIMS(n, k), 0), buffer(&r, TS_F32, DIMS(n), 0), buffer(&r, elem, DIMS(m, n), 0);
			number(&r, m), number(&r, n), number(&r, k);
			if (strstr(name, "90a")) number(&r, 2);
		}
		r.args.protocol = true;
		r.args.seed = (uint64_t)seed;
		r.args.latest = seed % 4 == 3;
		bool ok = simulate(&r, name);
		finish(&r);
		if (!ok) return;
	}
}

int main(void)
{
	scale(3, 1), scale(2, 64), scale(1, 4097);
	layer_norm("layer_norm_cpu", TS_F32, 3, 70, false), layer_norm("layer_norm_cpu", TS_F32, 1, 1, false);
	linear("linear_gelu_avx512", TS_F32, 13, 70, 37, 128, true, false, 1), linear("linear_gelu_avx512", TS_F32, 7, 65, 130, 128, true, false, 2);
	linear("matmul_avx512", TS_F32, 53, 67, 20, 64, false, false, 3), linear("matmul_avx512", TS_F32, 5, 3, 1030, 64, false, false, 4);
	layer_norm("layer_norm_sm90a", TS_BF16, 5, 776, true), layer_norm("layer_norm_cluster_sm90a", TS_BF16, 1, 20000, true);
	softmax("softmax_cluster_sm90a", 2, 40000), softmax("softmax_cluster_sm90a", 1, 8);
	linear("linear_gelu_sm90a", TS_BF16, 130, 264, 72, 0, true, true, 5), linear("linear_gelu_sm90a", TS_BF16, 8, 8, 8, 0, true, true, 6);
	linear("linear_gelu_sm80", TS_BF16, 130, 136, 200, 0, true, false, 7), linear("linear_gelu_gfx942", TS_BF16, 70, 260, 72, 0, true, false, 8);
	attention(2, 131, 9), attention(1, 300, 10);
	if (!failures) printf("ok tile sim: kernels against loops\n");
	protocol("linear_gelu_sm90a", TS_BF16, (int64_t[]){ 300, 520, 72 * 5 }, false, 20);
	protocol("linear_gelu_sm90a", TS_BF16, (int64_t[]){ 100, 80, 0 }, false, 4);
	protocol("attention_sm90a", TS_BF16, (int64_t[]){ 2, 500, 0 }, true, 20);
	protocol("linear_gelu_sm80", TS_BF16, (int64_t[]){ 140, 104, 328 }, false, 20);
	protocol("linear_gelu_gfx942", TS_BF16, (int64_t[]){ 40, 100, 200 }, false, 5);
	if (!failures) printf("ok tile sim: protocols\n");
	return failures != 0;
}
