/* Running what graphgen.h makes: the operators a seed must have, inputs, compiling and loading, and seeds spread over processes, so
 * that a graph that crashes or hangs is one failure and the others go on. */
#pragma once
#include "frontend/graph_text/print_graph.h"
#include "tests/unit/graphgen.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { MAX_PROCESSES = 64, RUN_SECONDS = 100 /* one graph, sanitizers and a busy machine included */ };

typedef uint16_t Cover[TS_OP_COUNT][TS_DTYPE_COUNT];

/* The pairs that seed `seed` must have, so that seeds 1..count together have each pair `times` times: a fixed shuffle, dealt out. */
static inline int seed_pairs(const GenPair *all, int n, uint64_t seed, uint64_t count, int times, GenPair *must, int room)
{
	int order[1024], per = (int)(((uint64_t)n * (uint64_t)times + count - 1) / count), got = 0;
	Rng r = { 0x7e55 };
	for (int i = 0; i < n; i++) order[i] = i;
	for (int i = n - 1; i > 0; i--) { int j = (int)rng_below(&r, (uint32_t)i + 1), s = order[i]; order[i] = order[j]; order[j] = s; }
	for (int k = 0; k < per && got < room; k++) must[got++] = all[order[((seed - 1) * (uint64_t)per + (uint64_t)k) % (uint64_t)n]];
	return got;
}

/* An input for parameter i, its symbols' sizes taken from their names; B: the batch, or -1 for the name's. */
static inline bool gen_input(Gen *g, uint32_t i, Rng *r, int64_t batch, TsTensor *out)
{
	const TsType *ty = &ts_val(g->b.g, g->b.g->params.p[i])->type;
	int64_t dim[TS_MAX_RANK];
	for (int k = 0; k < ty->rank; k++) dim[k] = gen_eval(g, ty->dim[k]);
	if (batch >= 0 && g->fill[i].row) dim[0] = batch;
	if (!ts_tensor_new(g->b.cx, "input", ty->elem, ty->rank, dim, out)) return false;
	fill_tensor(r, out, g->fill[i].below ? FILL_INDEX : FILL_NORMAL, g->fill[i].below, false);
	return true;
}

/* The strongest code of `want` (0..2: x86-64-v2, -v3, -v4) and below that this machine runs. */
static inline uint32_t clone_of(int want)
{
	if (want == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")) return TS_CLONE_V4;
	return want && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? TS_CLONE_V3 : TS_CLONE_V2;
}

/* Compiles the graph's module and opens it. NULL, or what went wrong (in `why`). */
static inline const char *graph_compile(Gen *g, uint32_t clones, Artifact *art, int threads, char *why, size_t room)
{
	TsOptions o;
	TesseraError e = { 0 };
	ts_options_init(&o);
	o.emit = TS_EMIT_SO;
	o.clones = clones;
	device_compile_for(&o);
	o.jobs = 1;
	snprintf(art->path, sizeof art->path, "/tmp/tsgraph-%ld.so", (long)getpid());
	o.output = art->path;
	ts_compile_module(g->b.cx, &o, g->b.m);
	if (ts_error_count(g->b.cx)) {
		TsBuf t = { 0 };
		ts_diag_text(g->b.cx, &t);
		snprintf(why, room, "%s", t.p);
		ts_buf_free(&t);
		return why;
	}
	const char *wrong = artifact_open(art, &e, threads);
	if (!wrong) return NULL;
	snprintf(why, room, "%s", wrong);
	return why;
}

/* ---- processes ---- */

/* TESSERA_TEST_JOBS, or 2 */
static inline int run_processes(void)
{
	const char *jobs = getenv("TESSERA_TEST_JOBS");
	int n = jobs ? atoi(jobs) : 2;
	return n < 1 ? 1 : n > MAX_PROCESSES ? MAX_PROCESSES : n;
}

/* one(seed) in a process each, as many at a time as run_processes says; it prints its own line and returns whether all was well. Failures. */
static inline int run_seeds(uint64_t from, uint64_t count, const char *what, bool (*one)(uint64_t seed))
{
	struct { pid_t pid; uint64_t seed; } at[MAX_PROCESSES] = { 0 };
	int processes = run_processes();
	int busy = 0, failed = 0;
	fflush(stdout);
	for (uint64_t next = from; next < from + count || busy;) {
		if (next < from + count && busy < processes) {
			pid_t p = fork();
			if (p == 0) {
				static char buffer[1 << 20];
				setvbuf(stdout, buffer, _IOFBF, sizeof buffer); /* one write: lines of two processes don't mix */
				alarm(RUN_SECONDS);
				bool ok = one(next);
				fflush(stdout);
				_exit(!ok);
			}
			if (p < 0) { printf("FAIL %s%llu: no process\n", what, (unsigned long long)next); return failed + 1; }
			for (int i = 0; i < processes; i++)
				if (!at[i].pid) { at[i].pid = p; at[i].seed = next; break; }
			busy++;
			next++;
			continue;
		}
		int status;
		pid_t p = wait(&status);
		if (p < 0) { printf("FAIL %s: a process was lost\n", what); return failed + 1; }
		for (int i = 0; i < processes; i++) {
			if (at[i].pid != p) continue;
			if (WIFSIGNALED(status)) {
				printf("FAIL %s%llu: %s\n", what, (unsigned long long)at[i].seed, WTERMSIG(status) == SIGALRM ? "hangs" : strsignal(WTERMSIG(status)));
				fflush(stdout);
				char path[64];
				snprintf(path, sizeof path, "/tmp/tsgraph-%ld.so", (long)p);
				unlink(path);
			}
			failed += !WIFEXITED(status) || WEXITSTATUS(status);
			at[i].pid = 0;
			busy--;
		}
	}
	return failed;
}
