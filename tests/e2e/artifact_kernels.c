/* Hand-written kernels for the artifact tests, in the form the compiler emits: one function per clone behind the table ts_kernels. */
#include "rtlib/plan.h"

/* y[c, :] = x[c, :] for rows c; num: row length */
static void copy(void *const *ptr, const int64_t *num, int64_t begin, int64_t end, void *scratch)
{
	(void)scratch;
	const float *x = ptr[0];
	float *y = ptr[1];
	for (int64_t i = begin * num[0]; i < end * num[0]; i++)
		y[i] = x[i];
}

/* y[c, n] = x[c, n] * w[n % 4] + 1, through scratch */
static void layer(void *const *ptr, const int64_t *num, int64_t begin, int64_t end, void *scratch)
{
	const float *x = ptr[0], *w = ptr[1];
	float *y = ptr[2], *t = scratch;
	for (int64_t c = begin; c < end; c++) {
		for (int64_t n = 0; n < num[0]; n++)
			t[n] = x[c * num[0] + n] * w[n % 4];
		for (int64_t n = 0; n < num[0]; n++)
			y[c * num[0] + n] = t[n] + 1;
	}
}

/* s[c] = sum of row c, and which clone did it in which[0] */
#define SUM(clone) \
	static void sum##clone(void *const *ptr, const int64_t *num, int64_t begin, int64_t end, void *scratch) \
	{ \
		(void)scratch; \
		const float *x = ptr[0]; \
		float *s = ptr[1]; \
		for (int64_t c = begin; c < end; c++) { \
			float sum = 0; \
			for (int64_t n = 0; n < num[0]; n++) \
				sum += x[c * num[0] + n]; \
			s[c] = sum; \
		} \
		*(int32_t *)ptr[2] = clone; \
	}
SUM(1) SUM(2) SUM(3)

__attribute__((visibility("hidden"))) extern const TsKernelFn ts_kernels[][TS_CLONES];
const TsKernelFn ts_kernels[][TS_CLONES] = { { copy, copy, copy }, { layer, layer, layer }, { sum1, sum2, sum3 } };
