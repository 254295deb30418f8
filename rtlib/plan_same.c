/* Do two plans of an artifact describe one model? A session of a device's plan takes dims, tensors and states as the CPU's plan has them. */
#include "rtlib/plan.h"

static int same_text(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static int same_dims(const TsPlanHeader *a, const TsPlanHeader *b)
{
	const TsPlanDim *x = TS_PLAN_TABLE(a, TsPlanDim, dims), *y = TS_PLAN_TABLE(b, TsPlanDim, dims);
	if (a->dims.n != b->dims.n)
		return 0;
	for (uint32_t i = 0; i < a->dims.n; i++)
		if (x[i].min != y[i].min || x[i].max != y[i].max || x[i].multiple_of != y[i].multiple_of || !same_text(ts_plan_str(a, x[i].name), ts_plan_str(b, y[i].name)))
			return 0;
	return 1;
}

static int same_tensors(const TsPlanHeader *a, const TsPlanHeader *b)
{
	const TsPlanTensor *x = TS_PLAN_TABLE(a, TsPlanTensor, tensors), *y = TS_PLAN_TABLE(b, TsPlanTensor, tensors);
	if (a->tensors.n != b->tensors.n)
		return 0;
	for (uint32_t i = 0; i < a->tensors.n; i++)
		if (x[i].dtype != y[i].dtype || x[i].rank != y[i].rank || !same_text(ts_plan_str(a, x[i].name), ts_plan_str(b, y[i].name)))
			return 0;
	return 1;
}

static int same_entries(const TsPlanHeader *a, const TsPlanHeader *b)
{
	const TsPlanEntry *x = TS_PLAN_TABLE(a, TsPlanEntry, entries), *y = TS_PLAN_TABLE(b, TsPlanEntry, entries);
	if (a->entries.n != b->entries.n)
		return 0;
	for (uint32_t i = 0; i < a->entries.n; i++)
		if (x[i].tensor != y[i].tensor || x[i].n_inputs != y[i].n_inputs || x[i].n_outputs != y[i].n_outputs || x[i].n_checks != y[i].n_checks)
			return 0;
	return 1;
}

static int same_states(const TsPlanHeader *a, const TsPlanHeader *b)
{
	const TsPlanState *x = TS_PLAN_TABLE(a, TsPlanState, states), *y = TS_PLAN_TABLE(b, TsPlanState, states);
	if (a->states.n != b->states.n)
		return 0;
	for (uint32_t i = 0; i < a->states.n; i++)
		if (x[i].dtype != y[i].dtype || x[i].rank != y[i].rank)
			return 0;
	return 1;
}

const char *ts_plan_check_device(const TsPlanHeader *cpu, const TsPlanHeader *plan)
{
	if (ts_plan_is_cpu(plan) || !ts_plan_is_cpu(cpu))
		return "it is no plan for a device";
	if (!same_dims(cpu, plan) || !same_tensors(cpu, plan) || !same_entries(cpu, plan) || !same_states(cpu, plan) || cpu->files.n != plan->files.n || cpu->weight_bytes != plan->weight_bytes)
		return "it is the plan of another model";
	return NULL;
}
