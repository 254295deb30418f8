/* Random graphs: interpreted and compiled, compared. Usage: test_graphs [SEED | FIRST COUNT]; one seed prints its graph.
 * The tolerance of a result is 3 times the larger of two errors, plus one unit in the last place of the element: that of the declared
 * types' interpreter against f64 (its worst over the tensor), and how far f64 itself moves when every operator errs by what its bound
 * in ops.def allows (graphgen.h; the worst of NOISE runs). The first alone is not enough: a tensor of few elements may be rounded
 * luckily, and the interpreter adds in another order than the kernel. Both are worst cases of samples, so 3 covers the luck of the
 * draw: with errors even on -e..e, 4 samples all stay below e/3 once in 81, and a kernel's own error is near e as rarely. Exact results
 * (moves, comparisons, integers) compare without any tolerance. */
#include "tests/unit/graphcheck.h"

enum { GRAPHS = 330, TIMES = 4, MUST = 8 };

static bool verbose;
static Cover *cover;      /* shared by all processes */
static GenPair pairs[1024];
static int npairs;
static uint64_t count = GRAPHS;

static bool compiled_agrees(Run *r, uint64_t seed)
{
	TesseraError e = { 0 };
	if (graph_compile(&r->g, clone_of((int)(seed % 3)), &r->art, 2, r->why, sizeof r->why)) return false;
	if (!make_outputs(r)) return false;
	const char *wrong = artifact_run(&r->art, r->ni, r->in, r->no, r->out, &e);
	if (wrong) return snprintf(r->why, sizeof r->why, "run: %s", wrong), false;
	return results_agree(r);
}

/* Its kernels, on standard output. */
static void print_kernels(uint64_t seed, const GenPair *must, int nmust)
{
	static Cover unused;
	Gen g;
	Rng rng = { seed };
	TsOptions o;
	if (!gen_graph(&g, &rng, false, false, must, nmust, unused)) return;
	ts_options_init(&o);
	o.emit = TS_EMIT_TILE;
	o.output = "-";
	fflush(stdout);
	ts_compile_module(g.b.cx, &o, g.b.m);
}

static bool one_graph(uint64_t seed)
{
	Run *r = calloc(1, sizeof *r);
	GenPair must[MUST];
	int nmust = seed_pairs(pairs, npairs, seed, count, TIMES, must, MUST);
	Rng rng = { seed };
	bool ok = gen_graph(&r->g, &rng, false, false, must, nmust, *cover);
	if (!ok) {
		TsBuf t = { 0 };
		ts_diag_text(r->g.b.cx, &t);
		snprintf(r->why, sizeof r->why, "the generator made no graph: %s", t.p ? t.p : "");
	}
	r->ni = r->g.b.g->params.n;
	r->no = r->g.b.g->body.results.n;
	if (ok) {
		ts_print_module(r->g.b.m, &r->text);
		ok = ts_verify(r->g.b.m, "generator") && interpret(r, seed, must, nmust) && compiled_agrees(r, seed);
	}
	artifact_close(&r->art);
	if (ok) printf("ok graph-%llu\n", (unsigned long long)seed);
	else printf("FAIL graph-%llu: seed %llu: %s\n", (unsigned long long)seed, (unsigned long long)seed, r->why);
	if ((!ok || verbose) && r->text.p) {
		printf("%s\n", r->text.p);
		for (uint32_t i = 0; i < r->ni; i++) {
			printf("  %s:", ts_val(r->g.b.g, r->g.b.g->params.p[i])->name);
			for (int k = 0; k < r->in[i].rank; k++) printf(" %lld", (long long)r->in[i].dim[k]);
			printf("\n");
		}
	}
	if (verbose) print_kernels(seed, must, nmust);
	return ok;
}

/* Each pair at least 3 times, printed as a table. */
static bool covered(TsCtx *cx)
{
	bool ok = true;
	printf("# operator x type: times in a graph\n# %-12s", "");
	for (size_t t = 0; t < sizeof gen_types / sizeof *gen_types; t++) printf(" %6s", ts_dtype_name(gen_types[t]));
	for (int i = 0; i < npairs; i++) {
		if (!i || pairs[i].op != pairs[i - 1].op) printf("\n# %-12s", ts_op_info(cx, pairs[i].op)->name);
		for (size_t t = 0; (!i || pairs[i].op != pairs[i - 1].op) && t < sizeof gen_types / sizeof *gen_types; t++) printf(" %6u", (*cover)[pairs[i].op][gen_types[t]]);
	}
	printf("\n");
	for (int i = 0; i < npairs; i++) {
		uint32_t n = (*cover)[pairs[i].op][pairs[i].t];
		if (n >= 3) continue;
		printf("FAIL coverage-%s-%s: in %u graphs\n", ts_op_info(cx, pairs[i].op)->name, ts_dtype_name(pairs[i].t), n);
		ok = false;
	}
	if (ok) printf("ok coverage\n");
	return ok;
}

int main(int argc, char **argv)
{
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, n = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : GRAPHS;
	TsCtx *cx = ts_ctx_new();
	npairs = gen_pairs(cx, pairs);
	cover = mmap(NULL, sizeof *cover, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (cover == MAP_FAILED) return 1;
	verbose = argc == 2;
	int failed = run_seeds(first, n, "graph-", one_graph);
	if (n >= GRAPHS && !covered(cx)) failed++;
	fprintf(stderr, "%llu graphs, %d failed\n", (unsigned long long)n, failed);
	return failed != 0;
}
