/* What a random graph's results may be: interpreted in f64 and in the declared types, and run again with errors of the allowed size.
 * test_graphs.c says how the tolerance follows. */
#pragma once
#include "tests/unit/graphrun.h"

enum { NOISE = 4 };

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

/* Outputs full of what nobody wrote. */
static bool make_outputs(Run *r)
{
	for (uint32_t i = 0; i < r->no; i++) {
		if (!ts_tensor_new(r->g.b.cx, "output", r->dec[i].elem, r->dec[i].rank, r->dec[i].dim, &r->out[i])) return false;
		memset(r->out[i].data, 0xa5, (size_t)r->out[i].bytes);
	}
	return true;
}

static bool results_agree(Run *r)
{
	for (uint32_t i = 0; i < r->no; i++) {
		Verdict q = compare(&r->out[i], &r->f64[i], &r->dec[i], r->exact[i] ? 0 : 1, 3 * r->spread[i]);
		if (!q.bad) continue;
		snprintf(r->why, sizeof r->why, "result %u element %lld: want %.9g, got %.9g (declared %.9g), error %.3g over %.3g", i, (long long)q.at, q.want, q.got, q.declared, q.worst, q.limit);
		return false;
	}
	return true;
}
