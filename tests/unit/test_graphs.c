/* Random graphs: interpreted and compiled, compared. Usage: test_graphs [SEED | FIRST COUNT]; one seed prints its graph.
 * The tolerance of a result is 3 times the larger of two errors, plus one unit in the last place of the element: that of the declared
 * types' interpreter against f64 (its worst over the tensor), and how far f64 itself moves when every operator errs by what its bound
 * in ops.def allows (graphgen.h; the worst of NOISE runs). The first alone is not enough: a tensor of few elements may be rounded
 * luckily, and the interpreter adds in another order than the kernel. Both are worst cases of samples, so 3 covers the luck of the
 * draw: with errors even on -e..e, 4 samples all stay below e/3 once in 81, and a kernel's own error is near e as rarely. Exact results
 * (moves, comparisons, integers) compare without any tolerance. */
#include "tests/unit/graphrun.h"

enum { GRAPHS = 330, TIMES = 4, NOISE = 4, MUST = 8 };

static bool verbose;
static Cover *cover;      /* shared by all processes */
static GenPair pairs[1024];
static int npairs;
static uint64_t count = GRAPHS;

typedef struct { Gen g; TsTensor in[32], f64[16], dec[16], out[16], far[16]; uint32_t ni, no; double spread[16]; bool exact[16]; char why[1500]; TsBuf text; Artifact art; } Run;

/* How far results move when operators err. */
static bool measure_spread(Run *r, uint64_t seed, const GenPair *must, int nmust)
{
	static Cover unused;
	Gen n;
	Rng rng = { seed };
	if (!gen_graph(&n, &rng, true, false, must, nmust, unused)) return false;
	int64_t two = 2;
	TsTensor key;
	bool ok = n.b.g->body.results.n == r->no && n.b.g->params.n == r->ni + 1 && ts_tensor_new(n.b.cx, "key", TS_INT64, 1, &two, &key);
	for (int run = 0; ok && run < NOISE; run++) {
		((int64_t *)key.data)[0] = (int64_t)seed;
		((int64_t *)key.data)[1] = run;
		r->in[r->ni] = key;
		ok = ts_eval(n.b.m, n.b.g, TS_EVAL_F64, r->in, r->far);
		for (uint32_t i = 0; ok && i < r->no; i++)
			for (int64_t k = 0; k < r->far[i].count && r->far[i].elem == TS_F64; k++) {
				double d = fabs(((double *)r->far[i].data)[k] - ((double *)r->f64[i].data)[k]);
				if (isfinite(d) && d > r->spread[i]) r->spread[i] = d;
			}
		for (uint32_t i = 0; i < r->no; i++) ts_tensor_free(&r->far[i]);
	}
	if (!ok) {
		TsBuf t = { 0 };
		ts_diag_text(n.b.cx, &t);
		snprintf(r->why, sizeof r->why, "noisy: %s", t.p ? t.p : "other results");
	}
	r->in[r->ni] = (TsTensor){ 0 };
	ts_tensor_free(&key);
	ts_ctx_free(n.b.cx);
	return ok;
}

static bool interpret(Run *r, uint64_t seed, const GenPair *must, int nmust)
{
	Gen *g = &r->g;
	Rng rng = { seed ^ 0x5eed };
	for (uint32_t i = 0; i < r->ni; i++)
		if (!gen_input(g, i, &rng, -1, &r->in[i])) return false;
	if (!ts_eval(g->b.m, g->b.g, TS_EVAL_F64, r->in, r->f64) || !ts_eval(g->b.m, g->b.g, TS_EVAL_DECLARED, r->in, r->dec)) {
		TsBuf t = { 0 };
		ts_diag_text(g->b.cx, &t);
		snprintf(r->why, sizeof r->why, "interpreter: %s", t.p ? t.p : "");
		return false;
	}
	for (uint32_t i = 0; i < r->no; i++) {
		TsVal v = g->b.g->body.results.p[i];
		r->exact[i] = ts_val(g->b.g, v)->def->op == TS_OP_param;
		for (int k = 0; k < g->n; k++)
			if (g->pool[k].v == v) r->exact[i] = g->pool[k].exact;
	}
	return measure_spread(r, seed, must, nmust);
}

static bool compiled_agrees(Run *r, uint64_t seed)
{
	TesseraError e = { 0 };
	if (graph_compile(&r->g, clone_of((int)(seed % 3)), &r->art, 2, r->why, sizeof r->why)) return false;
	for (uint32_t i = 0; i < r->no; i++) {
		if (!ts_tensor_new(r->g.b.cx, "output", r->dec[i].elem, r->dec[i].rank, r->dec[i].dim, &r->out[i])) return false;
		memset(r->out[i].data, 0xa5, (size_t)r->out[i].bytes);
	}
	const char *wrong = artifact_run(&r->art, r->ni, r->in, r->no, r->out, &e);
	if (wrong) return snprintf(r->why, sizeof r->why, "run: %s", wrong), false;
	for (uint32_t i = 0; i < r->no; i++) {
		Verdict q = compare(&r->out[i], &r->f64[i], &r->dec[i], r->exact[i] ? 0 : 1, 3 * r->spread[i]);
		if (!q.bad) continue;
		snprintf(r->why, sizeof r->why, "result %u element %lld: want %.9g, got %.9g (declared %.9g), error %.3g over %.3g", i, (long long)q.at, q.want, q.got, q.declared, q.worst, q.limit);
		return false;
	}
	return true;
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
