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

/* what a launcher of a device reads: modules, maps, their formulas, parts of weights */
static void read_device(const TsPlanHeader *p)
{
	uint64_t sum = 0;
	const uint32_t *words = TS_PLAN_TABLE(p, uint32_t, words);
	const TsPlanKernel *k = TS_PLAN_TABLE(p, TsPlanKernel, kernels);
	const TsPlanMap *m = TS_PLAN_TABLE(p, TsPlanMap, maps);
	const TsPlanExpr *f = TS_PLAN_TABLE(p, TsPlanExpr, formulas);
	const TsPlanWeight *w = TS_PLAN_TABLE(p, TsPlanWeight, weights);
	const TsPlanPart *s = TS_PLAN_TABLE(p, TsPlanPart, parts);
	if (ts_plan_is_cpu(p)) return;
	for (uint32_t i = 0; i < p->kernels.n; i++) {
		sum += TS_PLAN_TABLE(p, TsPlanModule, modules)[k[i].module].cubin_bytes;
		for (uint32_t j = k[i].map; j < k[i].map + k[i].n_maps; j++)
			for (uint32_t a = 0; a < m[j].rank; a++)
				sum += f[k[i].formula + words[m[j].dims + a]].kind + f[k[i].formula + words[m[j].strides + a]].kind + words[m[j].box + a];
	}
	for (uint32_t i = 0; i < p->weights.n; i++)
		for (uint32_t j = w[i].part; j < w[i].part + w[i].n_parts; j++)
			if (s[j].offset + s[j].bytes > p->weight_bytes) abort();
	sink = (unsigned)sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	void *copy = NULL;                     /* its own aligned block: a byte read past the end is seen */
	if (posix_memalign(&copy, 16, size ? size : 1)) return 0;
	memcpy(copy, data, size);
	if (!ts_plan_check(copy, size)) {
		read_names(copy);
		read_device(copy);
	}
	free(copy);
	return 0;
}
