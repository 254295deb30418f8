/* Fuzz target: a file of the schedule database. What is accepted must be usable: whole tiles that fit their panels. */
#include "middle/tiler/db.h"
#include <stdlib.h>

typedef struct { TsCtx *cx; const uint8_t *p; size_t n; bool broken; } Run;

static void one(void *user)
{
	Run *r = user;
	TsTuneArch a;
	bool ok = ts_tune_read(r->cx, ts_source_add(r->cx, "fuzz.yaml", (const char *)r->p, r->n), &a);
	if (ok != !ts_error_count(r->cx)) r->broken = true;
	for (int e = 0; ok && e < TS_TUNE_POINTWISE; e++)
		if (a.entry[e].v[TS_TUNE_MR] < 1 || 64 % (a.entry[e].v[TS_TUNE_LANES] * a.entry[e].v[TS_TUNE_REGS])) r->broken = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Run r = { .cx = ts_ctx_new(), .p = data, .n = size };
	ts_guard(r.cx, one, &r);
	if (r.broken || ts_exit_code(r.cx) == 4) {
		ts_diag_print(r.cx, stderr);
		abort();
	}
	ts_ctx_free(r.cx);
	return 0;
}
