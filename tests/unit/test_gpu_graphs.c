/* Random graphs scheduled for GPUs: rewritten, scheduled, every kernel run in the simulator, compared as test_graphs.c does.
 * Usage: test_gpu_graphs [SEED | FIRST COUNT]; one seed prints its graph and kernels. */
#include "middle/rewrite/rewrite.h"
#include "tests/unit/graphcheck.h"
#include "tests/unit/simrun.h"

enum { GRAPHS = 120, TIMES = 2, MUST = 8 };

static GenPair pairs[1024];
static int npairs;
static uint64_t count = GRAPHS;

static bool simulated_agrees(Run *r, uint64_t seed)
{
	TsModule *m = r->g.b.m;
	TsCtx *cx = r->g.b.cx;
	int64_t syms[256] = { 0 };
	Rng rng = { seed };
	const TsSched *s = ts_rewrite(m, NULL) ? ts_schedule(m, ts_sched_target(seed % 2 ? "sm_90a" : "sm_80")) : NULL;
	for (uint32_t i = 0; i < ts_dim_symbol_count(m->dims); i++) {
		const char *name = ts_dim_symbol_info(m->dims, i)->name;
		syms[i] = name[0] == 'N' || name[0] == 'B' ? atoll(name + 1) : 0;
	}
	if (!make_outputs(r)) return false;
	if (s && sim_execute(cx, m, s, syms, &rng, r->in, r->out)) return results_agree(r);
	TsBuf t = { 0 };
	ts_diag_text(cx, &t);
	snprintf(r->why, sizeof r->why, "%s", t.p ? t.p : "no schedule");
	ts_buf_free(&t);
	return false;
}

static bool one_graph(uint64_t seed)
{
	static Cover unused;
	Run *r = calloc(1, sizeof *r);
	GenPair must[MUST];
	int nmust = seed_pairs(pairs, npairs, seed, count, TIMES, must, MUST);
	Rng rng = { seed };
	bool ok = gen_graph(&r->g, &rng, false, false, must, nmust, unused);
	r->ni = r->g.b.g->params.n;
	r->no = r->g.b.g->body.results.n;
	if (!ok) snprintf(r->why, sizeof r->why, "the generator made no graph");
	else ts_print_module(r->g.b.m, &r->text);
	ok = ok && ts_verify(r->g.b.m, "generator") && interpret(r, seed, must, nmust) && simulated_agrees(r, seed);
	if (ok) printf("ok gpu-graph-%llu\n", (unsigned long long)seed);
	else printf("FAIL gpu-graph-%llu: seed %llu: %s\n%s\n", (unsigned long long)seed, (unsigned long long)seed, r->why, r->text.p ? r->text.p : "");
	return ok;
}

int main(int argc, char **argv)
{
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, n = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : GRAPHS;
	TsCtx *cx = ts_ctx_new();
	npairs = gen_pairs(cx, pairs);
	print_launches = argc == 2;
	int failed = run_seeds(first, n, "gpu-graph-", one_graph);
	fprintf(stderr, "%llu graphs, %d failed\n", (unsigned long long)n, failed);
	return failed != 0;
}
