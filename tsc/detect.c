/* `tsc --detect`: the machine's processor and GPUs. The driver is asked by tsc-load, since tsc itself loads nothing. */
#include "backend/llvm/backend.h"
#include "tsc/commands.h"
#include "tsc/loader.h"
#include <stdlib.h>
#include <string.h>

static const char *cpu_level(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("x86-64-v4") ? "x86-64-v4" : __builtin_cpu_supports("x86-64-v3") ? "x86-64-v3" : "x86-64-v2";
}

/* The newest architecture whose code a GPU runs; NULL when it is older than all. Code of a name that ends in `a` runs on that one alone. */
static const char *arch_for(int sm)
{
	const char *best = NULL;
	const TsTarget *t;
	for (uint32_t i = 0; (t = ts_target_at(i)); i++) {
		if (t->kind != TS_TK_NVPTX) continue;
		int own = atoi(t->name + 3);
		bool exact = t->name[strlen(t->name) - 1] == 'a';
		if (exact ? own == sm : own <= sm) best = t->name;
	}
	return best;
}

bool ts_detect(TsCtx *cx, FILE *to)
{
	TsFoundGpu *gpus = NULL;
	uint32_t n;
	TsSym why;
	if (!ts_loader_gpus(cx, &gpus, &n, &why)) return false;
	fprintf(to, "cpu     %s\n", cpu_level());
	for (uint32_t i = 0; i < n; i++) {
		const char *arch = arch_for(gpus[i].sm);
		if (arch) fprintf(to, "cuda:%-2u sm_%d, %s: --arch %.*s\n", i, gpus[i].sm, gpus[i].name, (int)strcspn(arch, "a"), arch);
		else fprintf(to, "cuda:%-2u sm_%d, %s: no code is made for it\n", i, gpus[i].sm, gpus[i].name);
	}
	if (*why) fprintf(to, "no GPU: %s\n", why);
	return true;
}
