/* Fuzz target: the plan of an artifact. What the checker accepts is then walked by the reader that `tsc inspect` uses for names. */
#include "rtlib/plan.h"
#include <stdlib.h>
#include <string.h>

static volatile unsigned sink;

static void read_names(const TsPlanHeader *p)
{
	unsigned sum = 0;
	const TsPlanKernel *k = TS_PLAN_TABLE(p, TsPlanKernel, kernels);
	const TsPlanWeight *w = TS_PLAN_TABLE(p, TsPlanWeight, weights);
	const int64_t *longs = TS_PLAN_TABLE(p, int64_t, longs);
	for (uint32_t i = 0; i < p->kernels.n; i++) sum += (unsigned)strlen(ts_plan_str(p, k[i].name));
	for (uint32_t i = 0; i < p->weights.n; i++) {
		sum += (unsigned)strlen(ts_plan_str(p, w[i].name));
		for (uint32_t j = 0; j < w[i].rank; j++) sum += (unsigned)longs[w[i].dims + j];
	}
	sink = sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	void *copy = NULL;                     /* its own aligned block: a byte read past the end is seen */
	if (posix_memalign(&copy, 16, size ? size : 1)) return 0;
	memcpy(copy, data, size);
	if (!ts_plan_check(copy, size)) read_names(copy);
	free(copy);
	return 0;
}
