/* Peak of fused multiply-adds on the calling thread, in GFLOP/s: chains of the widest vectors that this machine has, enough of them to
 * fill the pipelines, and nothing else. bench/run.py compiles and calls it between the runs that it is compared with. */
#include <immintrin.h>
#include <time.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The empty asm keeps each chain in its register and every step in place. */
#define STEP(i) a##i = FMA(a##i, x, y); __asm__ volatile("" : "+v"(a##i));
#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
#define INIT(i) VEC a##i = y;
#define SUM(i) s = ADD(s, a##i);

#define VEC __m512
#define FMA _mm512_fmadd_ps
#define ADD _mm512_add_ps
__attribute__((target("avx512f"))) static float chains_512(long turns)
{
	__m512 x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(1.0f), s = _mm512_setzero_ps();
	EACH(INIT)
	for (long i = 0; i < turns; i++) { EACH(STEP) }
	EACH(SUM)
	return _mm512_reduce_add_ps(s);
}
#undef VEC
#undef FMA
#undef ADD

#define VEC __m256
#define FMA _mm256_fmadd_ps
#define ADD _mm256_add_ps
__attribute__((target("avx2,fma"))) static float chains_256(long turns)
{
	__m256 x = _mm256_set1_ps(0.5f), y = _mm256_set1_ps(1.0f), s = _mm256_setzero_ps();
	EACH(INIT)
	for (long i = 0; i < turns; i++) { EACH(STEP) }
	EACH(SUM)
	return ((float *)&s)[0];
}

/* GFLOP/s of the better of three tries; 0 where the machine has no fused multiply-add. */
double fma_peak(long turns)
{
	int wide = __builtin_cpu_supports("avx512f"), lanes = wide ? 16 : 8;
	volatile float keep;
	double best = 0;
	if (!__builtin_cpu_supports("fma")) return 0;
	for (int i = 0; i < 3; i++) {
		double start = now();
		keep = wide ? chains_512(turns) : chains_256(turns);
		double rate = 2.0 * 12 * lanes * (double)turns / (now() - start) * 1e-9;
		if (rate > best) best = rate;
	}
	(void)keep;
	return best;
}
