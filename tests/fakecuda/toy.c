/* The model of model.h as files, for programs that know nothing of the fake driver:
 *   toy so|exe|obj OUT KERNELS.o [cpu]     an artifact with code for sm_80 and sm_90a, or for the CPU alone
 * and, as a library (FAKE_CUDA), the devices and the kernels that the fake driver has then. */
#include "rtlib/cuda.h"
#include "tests/fakecuda/fakecuda.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static const Fake *fake_cuda_p;
#include "tests/fakecuda/model.h"

void fake_setup(const Fake *fake);
void fake_setup(const Fake *fake)
{
	fake_cuda_p = fake;
	fill_logical();
	fake->device(0, 90, 6, 232448);
	fake->device(1, 75, 6, 65536);
	fake->device(2, 80, 6, 166912);
	fake->device(3, 120, 10, 101376);
	test_kernels();
}

#ifndef FAKE_LIBRARY
int main(int argc, char **argv)
{
	static TestModel t;
	static const char *const kinds[] = { "so", "exe", "obj" };
	TsCtx *cx = ts_ctx_new();
	FILE *f = argc > 3 ? fopen(argv[3], "rb") : NULL;
	static char object[1 << 20];
	if (!f)
		return 2;
	TsBytes kernels = { object, fread(object, 1, sizeof object, f) };
	fclose(f);
	make_model(cx, &t, NULL, NULL);
	const TsDevicePlan plans[2] = { { "sm_80", { t.plans[0].plan, t.plans[0].plan_bytes } }, { "sm_90a", { t.plans[1].plan, t.plans[1].plan_bytes } } };
	const TsWeightPiece piece = { .size = BLOB, .data = t.blob };
	TsArtifact a = { .kind = (TsArtifactKind)4, .name = "toy", .objects = &kernels, .n_objects = 1, .plan = { t.m.plan, t.m.plan_bytes }, .device_plans = plans, .n_device_plans = argc > 4 ? 0 : 2,
	                 .device_code = { t.code, argc > 4 ? 0 : CODE }, .ops = { "tessera 1\n", 10 }, .meta = { "tsc: test\n", 10 }, .weights = &piece, .n_weights = 1, .weight_bytes = BLOB };
	for (int i = 0; i < 3; i++)
		if (!strcmp(argv[1], kinds[i]))
			a.kind = (TsArtifactKind)i;
	if (a.kind > TS_ARTIFACT_OBJ)
		return 2;
	if (ts_emit_artifact(cx, &a, argv[2]))
		ts_emit_header_beside(cx, a.plan, argv[2]);
	ts_diag_print(cx, stderr);
	return ts_exit_code(cx);
}
#endif
