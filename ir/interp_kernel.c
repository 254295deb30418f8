/* Kernels of the user's as they are defined: cell by cell in the order of the grid, tile by tile in loops; tiles at an edge are shorter. */
#include "ir/interp_int.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* p and the factor of l are 0 where nothing has counted yet: -inf less -inf would be NaN. */
bool ref_online(TsRef *r)
{
	const TsNum *s = r->in[0], *m = r->in[1], *l = r->in[2];
	TsNum *m1 = &r->out[0], *l1 = &r->out[1], *p = &r->out[2];
	for (int64_t i = 0; i < s->dim[0]; i++) {
		double most = m->f[i], sum = 0;
		for (int64_t j = 0; j < s->dim[1]; j++) {
			double x = s->f[i * s->dim[1] + j];
			if (x > most || isnan(x)) most = x;
			if (isnan(most)) break;
		}
		for (int64_t j = 0; j < s->dim[1]; j++) {
			double x = most == -INFINITY ? 0 : tr_round(r, exp(tr_round(r, s->f[i * s->dim[1] + j] - most)));
			p->f[i * s->dim[1] + j] = x;
			sum = tr_round(r, sum + x);
		}
		double keep = most == -INFINITY ? 0 : tr_round(r, exp(tr_round(r, m->f[i] - most)));
		m1->f[i] = most;
		l1->f[i] = tr_round(r, tr_round(r, l->f[i] * keep) + sum);
	}
	return true;
}

static bool write_tile(TsEval *e, const TsTileStore *s, const TsNum *x, TsNum *to)
{
	int64_t start[TS_MAX_RANK], step[TS_MAX_RANK], at[TS_MAX_RANK] = { 0 }, stride = 1, base = 0;
	int k = x->rank;
	for (int a = to->rank - 1; a >= 0; a--) {
		if (!ts_dim_eval(e->m->dims, s->start[a], e->symbols, &start[a])) return false;
		int64_t n = s->drop[a] ? 1 : x->dim[k - 1];
		if (start[a] < 0 || n > to->dim[a] || start[a] > to->dim[a] - n) return false;
		base += start[a] * stride;
		if (!s->drop[a]) step[--k] = stride;
		stride *= to->dim[a];
	}
	for (int64_t i = 0; i < x->n; i++) {
		int64_t o = base;
		for (int a = 0; a < x->rank; a++) o += at[a] * step[a];
		tr_copy(to, o, x, i);
		for (int a = x->rank - 1; a >= 0 && ++at[a] == x->dim[a]; a--) at[a] = 0;
	}
	return true;
}

/* One cell: its nodes, its stores; nothing of it is kept. */
static bool run_cell(TsEval *e, const TsUserKernel *k, TsNum **out)
{
	if (!ev_block(e, &k->cell)) return false;
	for (uint32_t i = 0; i < k->stores.n; i++)
		if (!write_tile(e, &k->stores.p[i], e->val[k->stores.p[i].v], out[k->stores.p[i].result])) {
			ts_error(e->m->cx, k->stores.p[i].at, "E_RANGE", "a cell writes outside its result");
			return false;
		}
	ev_end_block(e, &k->cell);
	return true;
}

static uint32_t symbol_of(const TsEval *e, TsDim d)
{
	int64_t c;
	uint32_t k = 0;
	ts_dim_is_scaled_symbol(e->m->dims, d, &c, &k);
	return k;
}

/* Every cell of the grid, the last axis fastest. */
static bool run_grid(TsEval *e, const TsUserKernel *k, uint32_t axis, TsNum **out)
{
	int64_t lo, hi;
	if (axis == k->ngrid) return run_cell(e, k, out);
	const TsTileVar *v = &k->vars.p[axis];
	if (!ts_dim_eval(e->m->dims, v->lo, e->symbols, &lo) || !ts_dim_eval(e->m->dims, v->hi, e->symbols, &hi)) return false;
	for (int64_t at = lo; at < hi; at += v->step) {
		e->symbols[symbol_of(e, v->symbol)] = at;
		if (!run_grid(e, k, axis + 1, out)) return false;
		if (at > INT64_MAX - v->step) break;
	}
	return true;
}

bool ev_kernel(TsEval *e, TsNode *n)
{
	const TsUserKernel *k = n->kernel;
	TsEval c = { .m = e->m, .g = k->graph, .mode = e->mode, .symbols = e->symbols, .live = e->live };
	c.val = calloc(c.g->vals.n, sizeof *c.val);
	c.last = calloc(c.g->vals.n, sizeof *c.last);
	c.owner = calloc(c.g->vals.n, sizeof *c.owner);
	TsNum **out = calloc(n->nout + 1, sizeof *out);
	bool ok = c.val && c.last && c.owner && out;
	if (!ok) ts_env_error(e->m->cx, "E_MEMORY", "no room to evaluate a kernel");
	for (uint32_t i = 0; ok && i < n->nout; i++) ok = (out[i] = ev_new(e, n->out[i])) != NULL;
	for (uint32_t i = 0; ok && i < n->nin; i++) c.val[k->graph->params.p[i]] = e->val[n->in[i]];
	ok = ok && run_grid(&c, k, 0, out);
	for (uint32_t i = 0; c.val && i < n->nin; i++) c.val[k->graph->params.p[i]] = NULL;
	for (uint32_t v = 1; c.val && v < c.g->vals.n; v++) ev_free(&c, v);
	free(c.val);
	free(c.last);
	free(c.owner);
	free(out);
	return ok;
}
