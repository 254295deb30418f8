/* What must not change a bit: the batch a row comes in, the number of threads, and running again. Random graphs (graphgen.h) whose axis
 * 0 is a batch axis: each of the rows of a batch of 64 also runs alone, and in batches of other sizes and at other places; the whole
 * batch runs over 100 times with each of 1, 2, 3 and 8 threads, in 16 sessions at once. Usage: test_invariance [SEED | FIRST COUNT].
 * With TESSERA_TEST_ARCH all of it happens on a GPU (tests/unit/device.h). */
#include "tests/unit/graphrun.h"
#include <pthread.h>

enum { GRAPHS = 56, BATCH = 64, SESSIONS = 16, RUNS = 7 /* of each session: 112 in all */, MUST = 6 };

static GenPair pairs[1024];
static int npairs;

/* Operators that can keep axis 0 to itself. */
static int row_pairs(TsCtx *cx, GenPair *to)
{
	GenPair all[1024];
	int n = gen_pairs(cx, all), k = 0;
	for (int i = 0; i < n; i++) {
		TsOpClass cls = ts_op_info(cx, all[i].op)->cls;
		if (cls != TS_CLS_RANDOM && all[i].op != TS_OP_iota) to[k++] = all[i];
	}
	return k;
}

typedef struct { Gen g; TsTensor in[32], all[16]; uint32_t ni, no; char why[1500]; TsBuf text; Artifact art; } Run;

/* Result i for a batch of `rows`. */
static bool make_outputs(Run *r, int64_t rows, TsTensor *out)
{
	for (uint32_t i = 0; i < r->no; i++) {
		const TsType *ty = &ts_val(r->g.b.g, r->g.b.g->body.results.p[i])->type;
		int64_t dim[TS_MAX_RANK];
		for (int k = 0; k < ty->rank; k++) dim[k] = gen_eval(&r->g, ty->dim[k]);
		if (ty->rank && ty->dim[0] == r->g.dim[0]) dim[0] = rows;
		if (!ts_tensor_new(r->g.b.cx, "output", ty->elem, ty->rank, dim, &out[i])) return false;
		memset(out[i].data, 0xa5, (size_t)out[i].bytes);
	}
	return true;
}

static bool has_rows(const Run *r, uint32_t i)
{
	const TsType *ty = &ts_val(r->g.b.g, r->g.b.g->body.results.p[i])->type;
	return ty->rank && ty->dim[0] == r->g.dim[0];
}

/* Rows from..from + rows of the whole batch by themselves: the same bits? */
static bool rows_agree(Run *r, int64_t from, int64_t rows)
{
	TsTensor in[32], out[16] = { 0 };
	TesseraError e = { 0 };
	bool ok = make_outputs(r, rows, out);
	for (uint32_t i = 0; i < r->ni; i++) {
		in[i] = r->in[i];
		if (!r->g.fill[i].row) continue;
		in[i].data = (char *)in[i].data + in[i].bytes / BATCH * from;
		in[i].dim[0] = rows;
		in[i].count = in[i].count / BATCH * rows;
		in[i].bytes = in[i].bytes / BATCH * rows;
	}
	const char *wrong = ok ? artifact_run(&r->art, r->ni, in, r->no, out, &e) : "memory";
	if (wrong) snprintf(r->why, sizeof r->why, "batch of %lld: %s", (long long)rows, wrong);
	for (uint32_t i = 0; i < r->no && !wrong; i++) {
		size_t per = has_rows(r, i) ? (size_t)(r->all[i].bytes / BATCH) : 0, bytes = per ? per * (size_t)rows : (size_t)r->all[i].bytes;
		if (!memcmp(out[i].data, (char *)r->all[i].data + per * (size_t)from, bytes)) continue;
		wrong = snprintf(r->why, sizeof r->why, "rows %lld..%lld by themselves change bits of result %u", (long long)from, (long long)(from + rows), i) ? r->why : "";
	}
	for (uint32_t i = 0; i < r->no; i++) ts_tensor_free(&out[i]);
	return !wrong;
}

static bool batches_agree(Run *r, Rng *rng)
{
	static const int64_t sizes[] = { 2, 3, 7, 15, 16, 17, 31, 33, 48, 63, 64 };
	for (int64_t row = 0; row < BATCH; row++)
		if (!rows_agree(r, row, 1)) return false;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (int k = 0; k < 2; k++)
			if (!rows_agree(r, (int64_t)rng_below(rng, (uint32_t)(BATCH - sizes[i]) + 1), sizes[i])) return false;
	return true;
}

/* One of the sessions that run side by side, on an operating system thread of its own. */
typedef struct { const Run *r; TesseraSession *session; TsTensor out[16]; pthread_barrier_t *start; pthread_t thread; int runs; TesseraError e; const char *wrong; } Beside;

static void *run_beside(void *user)
{
	Beside *w = user;
	const Run *r = w->r;
	Artifact own = r->art;
	own.session = w->session;
	pthread_barrier_wait(w->start);
	for (; w->runs < RUNS && !w->wrong; w->runs++) {
		for (uint32_t i = 0; i < r->no; i++) memset(w->out[i].data, 0xa5, (size_t)w->out[i].bytes);
		w->wrong = artifact_run(&own, r->ni, r->in, r->no, w->out, &w->e);
		for (uint32_t i = 0; i < r->no && !w->wrong; i++)
			if (memcmp(w->out[i].data, r->all[i].data, (size_t)r->all[i].bytes)) w->wrong = "bits of a result changed";
	}
	return NULL;
}

/* SESSIONS sessions of one context at once, RUNS times the whole batch in each. */
static bool sessions_agree(Run *r, TesseraContext *c, Beside *w)
{
	pthread_barrier_t start;
	TesseraError e = { 0 };
	int n = 0;
	bool ok = true;
	for (int i = 0; i < SESSIONS; i++) {
		w[i] = (Beside){ .r = r, .start = &start };
		if (tessera_session_create(r->art.model, c, NULL, &w[i].session, &e) || !make_outputs(r, BATCH, w[i].out)) ok = false;
	}
	if (!ok) snprintf(r->why, sizeof r->why, "no session: %s", e.message);
	pthread_barrier_init(&start, NULL, SESSIONS);
	while (ok && n < SESSIONS && !pthread_create(&w[n].thread, NULL, run_beside, &w[n])) n++;
	if (ok && n < SESSIONS) { printf("FAIL threads: %d of %d started\n", n, SESSIONS); fflush(stdout); _exit(1); } /* the others wait at the barrier */
	for (int i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		if (w[i].wrong && ok) {
			snprintf(r->why, sizeof r->why, "%s (session %d, run %d)", w[i].wrong, i, w[i].runs);
			ok = false;
		}
	}
	pthread_barrier_destroy(&start);
	for (int i = 0; i < SESSIONS; i++) {
		for (uint32_t k = 0; k < r->no; k++) ts_tensor_free(&w[i].out[k]);
		if (w[i].session) tessera_session_destroy(w[i].session);
	}
	return ok;
}

/* The whole batch on other numbers of threads, again and again. */
static bool threads_agree(Run *r)
{
	static const int threads[] = { 1, 2, 3, 8 };
	Beside *w = calloc(SESSIONS, sizeof *w);
	bool ok = true;
	for (size_t t = 0; ok && t < sizeof threads / sizeof *threads; t++) {
		TesseraError e = { 0 };
		TesseraContextOptions o = { .size = sizeof o, .threads = threads[t] };
		TesseraContext *c = NULL;
		ok = !tessera_context_create(r->art.model, &o, &c, &e);
		if (!ok) snprintf(r->why, sizeof r->why, "%s", e.message);
		ok = ok && sessions_agree(r, c, w);
		if (!ok) snprintf(r->why + strlen(r->why), sizeof r->why - strlen(r->why), " (%d threads)", threads[t]);
		if (c) tessera_context_destroy(c);
	}
	free(w);
	return ok;
}

static bool one_graph(uint64_t seed)
{
	static Cover unused;
	Run *r = calloc(1, sizeof *r);
	GenPair must[MUST];
	int nmust = seed_pairs(pairs, npairs, seed, GRAPHS, 1, must, MUST);
	Rng rng = { seed + 1000000 };
	bool ok = gen_graph(&r->g, &rng, false, true, must, nmust, unused);
	if (device_arch()) r->g.b.m->numerics.batch_invariant = TS_YES; /* of every node; GPUs promise it only where it is written */
	r->ni = r->g.b.g->params.n;
	r->no = r->g.b.g->body.results.n;
	if (!ok) {
		TsBuf t = { 0 };
		ts_diag_text(r->g.b.cx, &t);
		snprintf(r->why, sizeof r->why, "the generator made no graph: %s", t.p ? t.p : "");
	}
	if (ok) ts_print_module(r->g.b.m, &r->text);
	Rng data = { seed ^ 0x5eed };
	for (uint32_t i = 0; ok && i < r->ni; i++) ok = gen_input(&r->g, i, &data, BATCH, &r->in[i]);
	TesseraError e = { 0 };
	ok = ok && make_outputs(r, BATCH, r->all) && !graph_compile(&r->g, clone_of((int)(seed % 3)), &r->art, 2, r->why, sizeof r->why);
	const char *wrong = ok ? artifact_run(&r->art, r->ni, r->in, r->no, r->all, &e) : NULL;
	if (wrong) snprintf(r->why, sizeof r->why, "%s", wrong);
	ok = ok && !wrong && batches_agree(r, &data) && threads_agree(r);
	artifact_close(&r->art);
	if (ok) printf("ok rows-%llu\n", (unsigned long long)seed);
	else printf("FAIL rows-%llu: seed %llu: %s\n%s\n", (unsigned long long)seed, (unsigned long long)seed, r->why, r->text.p ? r->text.p : "");
	return ok;
}

int main(int argc, char **argv)
{
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, n = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : GRAPHS;
	TsCtx *cx = ts_ctx_new();
	npairs = row_pairs(cx, pairs);
	int failed = run_seeds(first, n, "rows-", one_graph);
	fprintf(stderr, "%llu graphs, %d failed\n", (unsigned long long)n, failed);
	return failed != 0;
}
