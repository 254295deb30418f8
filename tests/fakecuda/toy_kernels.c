/* The CPU's kernels of the model of model.h, in the order of its plan: copy, layer, one, count. Weights lie in panels of 8 columns. */
#include "rtlib/plan.h"

static void copy(void *const *ptr, const int64_t *num, int64_t begin, int64_t end, void *scratch)
{
	(void)scratch;
	for (int64_t i = begin * num[1]; i < end * num[1]; i++)
		((float *)ptr[1])[i] = ((const float *)ptr[0])[i];
}
static void layer(void *const *ptr, const int64_t *num, int64_t begin, int64_t end, void *scratch)
{
	const float *w = ptr[1];
	(void)scratch;
	for (int64_t i = begin * num[1]; i < end * num[1]; i++) {
		int64_t at = i % num[1] % 60, k = at / 10, n = at % 10; /* of [6, 10] */
		((float *)ptr[4])[i] = ((const float *)ptr[0])[i] * w[n / 8 * 48 + k * 8 + n % 8] + 1;
	}
}
static void one(void *const *ptr, const int64_t *num, int64_t begin, int64_t end, void *scratch)
{
	(void)scratch;
	for (int64_t i = begin * num[1]; i < end * num[1]; i++)
		((float *)ptr[1])[i] = ((const float *)ptr[0])[i] + 1;
}
static void count(void *const *ptr, const int64_t *num, int64_t begin, int64_t end, void *scratch)
{
	(void)num;
	(void)begin;
	(void)end;
	(void)scratch;
	for (int i = 0; i < 4; i++)
		((int32_t *)ptr[1])[i] = ++((int32_t *)ptr[0])[i];
}
__attribute__((visibility("hidden"))) extern const TsKernelFn ts_kernels[4 * TS_CLONES];
const TsKernelFn ts_kernels[4 * TS_CLONES] = { copy, copy, copy, layer, layer, layer, one, one, one, count, count, count };
