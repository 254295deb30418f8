/* The targets that graphs are scheduled for, and which schedule function each family has for a class of operators. */
#include "middle/tiler/tiler.h"
#include <string.h>

const TsSchedTarget *ts_sched_target(const char *name)
{
	static const TsSchedTarget target[] = {
		{ "cpu", TS_FAMILY_CPU, "cpu", NULL },
		{ "sm_80", TS_FAMILY_SM80, "sm_80", "sm_80" }, { "sm_86", TS_FAMILY_SM80, "sm_86", "sm_86" }, { "sm_89", TS_FAMILY_SM80, "sm_89", "sm_86" },
		{ "sm_90a", TS_FAMILY_SM90, "sm_90a", "sm_90a" },
		{ "sm_100", TS_FAMILY_SM80, "sm_80", "sm_80" }, { "sm_120", TS_FAMILY_SM80, "sm_89", "sm_86" },
	};
	for (size_t i = 0; i < sizeof target / sizeof *target; i++)
		if (!strcmp(target[i].name, name)) return &target[i];
	return NULL;
}

void ts_write_kernels(TsJob *j, TsOpClass cls)
{
	static TsScheduleFn *const table[][TS_FAMILIES] = {
		[TS_CLS_POINTWISE] = { ts_cpu_pointwise, ts_gpu_pointwise, ts_gpu_pointwise },
		[TS_CLS_ROW] = { ts_cpu_row, ts_gpu_row, ts_gpu_row },
		[TS_CLS_CONTRACT] = { ts_cpu_matmul, ts_gpu_matmul, ts_gpu_matmul },
		[TS_CLS_ATTENTION] = { ts_cpu_attention, ts_gpu_attention, ts_gpu_attention },
	};
	TsTl *t = j->t;
	TsScheduleFn *fn = table[cls][t->target->family];
	if (fn) {
		if (cls == TS_CLS_ATTENTION) ts_gpu_narrow(t, false);
		fn(j);
		if (cls == TS_CLS_ATTENTION) ts_gpu_narrow(t, true);
		return;
	}
	ts_error(t->cx, j->n ? j->n->at : t->g->at, "E_NO_SCHEDULE", "%s has no kernel for %s yet", j->name, t->target->name);
	t->failed = true;
}

bool ts_batch_invariant(const TsJob *j)
{
	TsTruth asked = j->n ? j->n->num->batch_invariant : TS_OPEN;
	return asked == TS_OPEN ? j->t->target->family == TS_FAMILY_CPU : asked == TS_YES;
}
