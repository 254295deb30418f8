/* What an epilogue reads along n alone (bias, scales) is asked for one part ahead: that of the first part while the tile's last products are on
 * their way, that of the others while the part before is computed. Else every part would wait for memory. */
#include "middle/tiler/gpu_matmul.h"

/* Marks the nodes that `id` is made of. */
static void reach(const TsRegion *r, uint32_t id, bool *seen)
{
	if (seen[id]) return;
	seen[id] = true;
	for (uint32_t i = 0; i < r->nodes.p[id].narg; i++) reach(r, r->nodes.p[id].arg[i], seen);
}

/* Loads the columns of a part that begins at `from`. */
static void load(TsMm *mm, TsKb *k, const TsPlace *p, const char *from, const char *left, TsMmColumns *c)
{
	TsPlace part = *p;
	part.base[mm->j->mm.in] = from;
	part.valid[1] = left;
	for (int i = 0; i < c->n; i++) c->value[i] = ts_kb_load(k, &mm->j->r, c->node[i], &part);
}

TsMmColumns ts_mm_columns(TsMm *mm, TsKb *k, const TsPlace *p)
{
	TsJob *j = mm->j;
	TsMmColumns c = { 0 };
	bool *seen = TS_NEW_N(k->t->a, bool, j->r.nodes.n);
	reach(&j->r, j->value, seen);
	for (uint32_t id = 1; id < j->r.nodes.n && c.n < TS_MM_COLUMNS; id++) {
		const TsRNode *n = &j->r.nodes.p[id];
		if (seen[id] && n->kind == TS_R_LOAD && !n->coef[j->mm.im] && n->coef[j->mm.in]) c.node[c.n++] = id;
	}
	if (c.n) ts_kb_line(k, "nr: idx = %s - nb", ts_kb_dim(k, j->mm.n));
	load(mm, k, p, "nb", "nr", &c);
	return c;
}

const char *ts_mm_columns_with(TsKb *k, TsMmColumns *c, const char **results)
{
	const char *with = "", *names = "";
	for (int i = 0; i < c->n; i++) {
		with = ts_kb_fmt(k, "%s%sv%d = %s", with, i ? ", " : " with ", i, c->value[i].name);
		names = ts_kb_fmt(k, "%s_%s", names, i + 1 < c->n ? ", " : " = ");
		c->value[i].name = ts_kb_fmt(k, "v%d", i);
	}
	*results = names;
	return with;
}

const char *ts_mm_columns_next(TsMm *mm, TsKb *k, TsMmColumns *c, int cols, const TsPlace *p, TsTileVal *memo)
{
	TsMmColumns next = *c;
	const char *yield = "";
	if (!c->n) return yield;
	ts_kb_line(k, "nq: idx = n0 + %d", cols);
	ts_kb_line(k, "lq: idx = nl - %d", cols);
	load(mm, k, p, "nq", "lq", &next);
	for (int i = 0; i < c->n; i++) {
		TsTileVal v = c->value[i];
		memo[c->node[i]] = v.elem == TS_F16 || v.elem == TS_BF16 ? ts_kb_cast(k, v, TS_F32, p) : v;
		yield = ts_kb_fmt(k, "%s%s%s", yield, i ? ", " : "yield ", next.value[i].name);
	}
	return yield;
}
