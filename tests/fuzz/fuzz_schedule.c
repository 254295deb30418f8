/* Fuzz target: what sema accepts, rewritten and scheduled for the CPU and for GPUs. A schedule's kernels are Tile IR that reads and verifies. */
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/sema.h"
#include "ir/tile.h"
#include "middle/rewrite/rewrite.h"
#include "middle/tiler/sched.h"
#include <stdlib.h>
#include <string.h>

typedef struct { TsCtx *cx; const uint8_t *p; size_t n; TsSym text; bool broken; } Run;

static void kernels(Run *r, const TsSched *s)
{
	for (uint32_t i = 0; i < s->kernels.n; i++)
		for (uint32_t c = 0; c < ts_sched_texts(s); c++) {
			r->text = s->kernels.p[i].text[c];
			if (c && r->text == s->kernels.p[i].text[c - 1]) continue;
			TsTree *t = ts_parse(r->cx, ts_source_add(r->cx, "kernel", r->text, strlen(r->text)));
			if (!t || !ts_tile_verify(r->cx, t)) { r->broken = true; return; }
		}
}

static void one(void *user)
{
	Run *r = user;
	TsTree *tree = ts_parse(r->cx, ts_source_add(r->cx, "fuzz.tg", (const char *)r->p, r->n));
	if (!tree || !tree->name || strcmp(tree->name, "tessera")) return;
	TsSemaOptions o = { .weights_dir = "tests/golden/tg" };
	TsModule *m = ts_module_from_tree(r->cx, tree, "fuzz.tg", &o);
	if (!m || !ts_lift_kernels(m) || !ts_rewrite(m, NULL)) return;
	static const char *const targets[] = { "cpu", "sm_80", "sm_90a" };
	for (int i = 0; i < 3 && !r->broken; i++) {
		const TsSched *s = ts_schedule(m, ts_sched_target(targets[i]));
		if (s) kernels(r, s);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Run r = { .cx = ts_ctx_new(), .p = data, .n = size };
	ts_guard(r.cx, one, &r);
	if (r.broken || ts_exit_code(r.cx) == 4) {
		fprintf(stderr, "%s\n", r.text ? r.text : "");
		ts_diag_print(r.cx, stderr);
		abort();
	}
	ts_ctx_free(r.cx);
	return 0;
}
