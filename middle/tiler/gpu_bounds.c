/* Sizes that no call of a graph can have on a GPU: attention refuses wide heads when it is prepared, so the other steps of the graph need no
 * forms for them. The symbols' ranges are narrowed while those steps are scheduled, and as they were for attention, which tells. */
#include "middle/tiler/gpu_attention.h"

/* Is the value of node n always computed, in one of the graph's results? Loops may have no turn: what they alone read is not. */
static bool is_needed(const TsTl *t, const TsNode *n)
{
	const TsBlock *b = &t->g->body;
	bool *needed = TS_NEW_N(t->a, bool, t->g->vals.n);
	for (uint32_t i = 0; i < b->results.n; i++) needed[b->results.p[i]] = true;
	for (uint32_t i = b->nodes.n; i-- > 0 && b->nodes.p[i] != n;) {
		const TsNode *c = b->nodes.p[i];
		bool any = false;
		for (uint32_t j = 0; j < c->nout; j++) any |= needed[c->out[j]];
		for (uint32_t j = 0; j < c->nin && any && !c->loop; j++) needed[c->in[j]] = true;
	}
	return needed[n->out[0]];
}

static bool fits(const TsTl *t, TsDim head)
{
	int64_t lo, hi;
	ts_dim_range(t->d, head, &lo, &hi);
	return hi <= TS_AT_HEAD;
}

/* The largest value of the one symbol that keeps `head` within what attention takes. */
static void bound(TsTl *t, TsDim head)
{
	for (uint32_t k = 0; k < t->n_bounds && !fits(t, head); k++) {
		int64_t least = ts_dim_symbol_info(t->d, k)->min, most = t->bound[k], past;
		ts_dim_set_max(t->d, k, least);
		if (!fits(t, head)) { ts_dim_set_max(t->d, k, most); continue; }
		for (past = most; past - least > 1;) {
			int64_t mid = least + (past - least) / 2;
			ts_dim_set_max(t->d, k, mid);
			if (fits(t, head)) least = mid;
			else past = mid;
		}
		ts_dim_set_max(t->d, k, t->bound[k] = least);
	}
}

void ts_gpu_bounds(TsTl *t)
{
	t->n_bounds = ts_dim_symbol_count(t->d);
	t->bound = TS_NEW_N(t->a, int64_t, 2 * t->n_bounds + 1);
	t->open = t->bound + t->n_bounds;
	for (uint32_t k = 0; k < t->n_bounds; k++) t->bound[k] = t->open[k] = ts_dim_symbol_info(t->d, k)->max;
	for (uint32_t i = 0; i < t->g->body.nodes.n; i++) {
		const TsNode *n = t->g->body.nodes.p[i];
		if (n->op != TS_OP_attention || ts_is_empty(t, n->out[0]) || !is_needed(t, n)) continue;
		for (int j = 0; j < 3; j += 2) { /* q and v */
			const TsType *ty = &ts_val(t->g, n->in[j])->type;
			bound(t, ty->dim[ty->rank - 1]);
		}
	}
}

void ts_gpu_narrow(TsTl *t, bool on)
{
	for (uint32_t k = 0; k < t->n_bounds; k++) ts_dim_set_max(t->d, k, on ? t->bound[k] : t->open[k]);
}
