/* Speed of the AVX-512 matmul text: `gemm_tile FILE.tile [M N K [level]]` compiles it, runs it, by default at 1024^3, prints GFLOP/s of
 * this thread's own time beside the peak of fused multiply-adds measured between the runs, and checks the result against double sums.
 * Both are what the core does while nobody else disturbs it: the best peak of windows of about a millisecond, and the sum of the least
 * times of the kernel's cells, about a millisecond each. A hypervisor takes the core away for longer than that, now and then.
 * Needs a machine with AVX-512. */
#include "tests/unit/kernel_so.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* 24 independent chains of one vector each */
static const char peak_text[] =
	"tile 1\n"
	"kernel peak(Y: f32[24, 16], X: f32[16], n: idx) {\n"
	"  layout P[m, n] = v16:1n r24:1m\n"
	"  layout PN[n] = v16:1n\n"
	"  layout PM[m] = v16:_ r24:1m\n"
	"  x: f32[16] @PN = load(X)\n"
	"  y: f32[24, 16] @P = load(Y)\n"
	"  z: f32[24, 16] @P = bcast(x, dims = [1])\n"
	"  r: f32[24, 16] @P = for i in 0..n with acc = y {\n"
	"    a: f32[24, 16] @P = fma(acc, z, z)\n"
	"    yield a\n"
	"  } { unroll = 2 }\n"
	"  store(Y, r)\n"
	"} { target = \"cpu\" }\n";

static double peak(KernelFn *f)
{
	enum { TURNS = 150000 };
	static float y[24 * 16], x[16];
	int64_t n = TURNS;
	void *ptr[] = { y, x };
	double best = 0;
	for (int i = 0; i < 2; i++) {
		double t = now();
		f(ptr, &n, 0, 1, NULL);
		double g = 2.0 * 24 * 16 * TURNS / (now() - t) * 1e-9;
		if (g > best) best = g;
	}
	return best;
}

/* Room of at least `size` bytes in pages of 2 MiB where the system has them, so that no run depends on where small pages lie. */
static void *pages(size_t size)
{
	size_t page = (size_t)2 << 20;
	size = (size + page - 1) / page * page;
	void *p = aligned_alloc(page, size);
	if (!p) exit(1);
	madvise(p, size, MADV_HUGEPAGE);
	return p;
}

static float value(int64_t i) { return (float)((i * 2654435761u >> 7) % 257) / 128.0f - 1.0f; }

int main(int argc, char **argv)
{
	size_t size;
	static char text[1 << 16];
	FILE *f = argc > 1 ? fopen(argv[1], "r") : NULL;
	if (!f) return fputs("usage: gemm_tile FILE.tile [M N K]\n", stderr), 2;
	size = fread(text, 1, sizeof text - 1, f);
	text[size] = 0;
	fclose(f);
	int64_t m = argc > 4 ? atoll(argv[2]) : 1024, n = argc > 4 ? atoll(argv[3]) : 1024, k = argc > 4 ? atoll(argv[4]) : 1024;
	KernelSo so = kernel_so(text, "x86-64-v4", argc > 5 ? atoi(argv[5]) : 2), po = kernel_so(peak_text, "x86-64-v4", 2);
	KernelFn *fn = kernel_fn(&so, "matmul"), *pf = kernel_fn(&po, "peak");
	if (!fn || !pf) return 1;
	int mc = 0, nc = 0;
	const char *grid = strstr(text, "grid mb in ");
	if (!grid || sscanf(grid, "grid mb in 0..M step %d, ns in 0..N step %d", &mc, &nc) != 2 || mc < 1 || nc < 1) return fputs("no grid\n", stderr), 2;
	int64_t nb = (n + 63) / 64, cells = ((m + mc - 1) / mc) * ((n + nc - 1) / nc);
	float *a = pages((size_t)(m * k) * 4), *bp = pages((size_t)(nb * k) * 64 * 4), *c = pages((size_t)(m * n) * 4);
	void *scratch = pages(1 << 20);
	for (int64_t i = 0; i < m * k; i++) a[i] = value(i);
	for (int64_t i = 0; i < nb * k * 64; i++) bp[i] = value(i + 12345);
	void *ptr[] = { a, bp, c };
	int64_t num[] = { m, n, k };
	double p0 = peak(pf), best = 0, total = 0, *least = malloc((size_t)cells * sizeof *least);
	int runs = 0;
	for (int64_t i = 0; i < cells; i++) least[i] = 1e9;
	for (double begin = now(); now() - begin < 1.0; runs++) {
		for (int64_t i = 0; i < cells; i++) {
			double t = now();
			fn(ptr, num, i, i + 1, scratch);
			t = now() - t;
			total += t;
			if (t < least[i]) least[i] = t;
		}
		double p = peak(pf);
		if (p > p0) p0 = p;
	}
	for (int64_t i = 0; i < cells; i++) best += least[i];
	double work = 2.0 * (double)m * (double)n * (double)k * 1e-9, p = p0, worst = 0;
	for (int64_t i = 0; i < m; i += 37)
		for (int64_t j = 0; j < n; j += 41) {
			double s = 0, sum = 0;
			for (int64_t q = 0; q < k; q++) {
				double x = (double)a[i * k + q] * bp[(j / 64 * k + q) * 64 + j % 64];
				s += x;
				sum += fabs(x);
			}
			double e = fabs(s - c[i * n + j]) / (sum * 0x1p-24 * (double)(k + 8) + 1e-30);
			if (e > worst) worst = e;
		}
	printf("peak %.1f GFLOP/s, best %.1f (%.1f %%), mean %.1f (%.1f %%) over %d runs, error %.3f of the bound\npercent %.2f\n", p, work / best, 100 * work / best / p,
		work * runs / total, 100 * work * runs / total / p, runs, worst, 100 * work / best / p);
	return worst > 1;
}
