#include "tsc/schedule_text.h"
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/print_graph.h"
#include "ir/tree.h"

typedef struct { const TsSched *s; const TsEntry *e; TsCtx *cx; TsDims *d; const int64_t *scratch; } Text;

static TsTree *call(Text *t, const char *name) { return ts_tree(t->cx, TS_TREE_CALL, (TsSpan){ 0 }, 1, ts_tree_name(t->cx, (TsSpan){ 0 }, ts_intern(t->cx, name))); }
static TsTree *number(Text *t, int64_t v) { return ts_tree_int(t->cx, (TsSpan){ 0 }, v); }
static void word(Text *t, TsTree *to, const char *name, TsTree *x) { ts_tree_add(t->cx, to, ts_tree_kw(t->cx, ts_intern(t->cx, name), x)); }

static TsTree *size(Text *t, TsDim d)
{
	int64_t v;
	if (ts_dim_is_const(t->d, d, &v)) return number(t, v);
	TsBuf b = { 0 };
	ts_dim_print(t->d, d, &b);
	TsTree *x = ts_parse_expr(t->cx, 0, b.p, b.n, 0);
	if (!x) ts_bug(t->cx, (TsSpan){ 0 }, "printing a schedule: the size %s cannot be read back", b.p);
	ts_buf_free(&b);
	return x;
}

static TsDim bytes(Text *t, TsDim elements, TsDtype elem)
{
	return ts_dim_floordiv(t->d, ts_dim_mul(t->d, elements, ts_dim_const(t->d, ts_dtype_bits(elem))), ts_dim_const(t->d, 8));
}

/* matmul_3(when = m <= 16, tile = [16, 64, 384], cells = …, scratch = …) */
static TsTree *variant(Text *t, const TsChoice *c)
{
	TsTree *x = call(t, t->s->kernels.p[c->kernel].name), *tile = ts_tree(t->cx, TS_TREE_LIST, (TsSpan){ 0 }, 0);
	if (c->guard_lhs || c->guard_rhs) word(t, x, "when", ts_tree_bin(t->cx, TS_IN_LE, size(t, c->guard_lhs), size(t, c->guard_rhs)));
	for (int i = 0; i < 3 && c->tile[i]; i++) ts_tree_add(t->cx, tile, number(t, c->tile[i]));
	if (tile->n) word(t, x, "tile", tile);
	word(t, x, "cells", size(t, c->cells));
	if (c->per_sm) word(t, x, "per_sm", number(t, c->per_sm));
	if (t->scratch && t->scratch[c->kernel]) word(t, x, "scratch", number(t, t->scratch[c->kernel]));
	return x;
}

/* A weight as it is named in the graph; packed ones say into which panels. */
static TsTree *weight(Text *t, const TsBuffer *b)
{
	const TsNode *n = b->weight;
	TsTree *w;
	if (n->op == TS_OP_weight) {
		w = ts_tree(t->cx, TS_TREE_WNAME, (TsSpan){ 0 }, 1, ts_tree_name(t->cx, (TsSpan){ 0 }, t->s->m->weights.p[n->weights].name));
		w->name = n->name;
	} else {
		TsSym name = ts_val(t->e->graph, n->out[0])->name;
		w = name ? ts_tree_name(t->cx, (TsSpan){ 0 }, name) : call(t, "literal");
	}
	if (!b->packing.packed) return w;
	TsTree *x = call(t, "packed"), *shape = ts_tree(t->cx, TS_TREE_LIST, (TsSpan){ 0 }, 0);
	ts_tree_add(t->cx, x, w);
	ts_tree_add(t->cx, shape, number(t, (b->packing.n + b->packing.panel - 1) / b->packing.panel));
	ts_tree_add(t->cx, shape, number(t, b->packing.k));
	ts_tree_add(t->cx, shape, number(t, b->packing.panel));
	ts_tree_add(t->cx, x, shape);
	return x;
}

static TsTree *buffer(Text *t, const TsArg *a)
{
	const TsBuffer *b = &t->e->bufs.p[a->buf];
	const TsGraph *g = t->e->graph;
	TsTree *x = NULL;
	switch (b->kind) {
	case TS_BUF_INPUT:
		x = call(t, "input");
		ts_tree_add(t->cx, x, ts_tree_name(t->cx, (TsSpan){ 0 }, g->vals.p[g->params.p[b->index]].name));
		break;
	case TS_BUF_OUTPUT:
		x = call(t, "output");
		ts_tree_add(t->cx, x, ts_tree_name(t->cx, (TsSpan){ 0 }, g->result_names.p[b->index]));
		break;
	case TS_BUF_WEIGHT:
		x = call(t, "weight");
		ts_tree_add(t->cx, x, weight(t, b));
		break;
	case TS_BUF_WORK:
		x = call(t, "work");
		ts_tree_add(t->cx, x, number(t, b->slot - 1));
		break;
	}
	if (a->offset) word(t, x, "at", size(t, bytes(t, a->offset, b->elem)));
	return x;
}

/* kernels in the order they are tried, the bytes they get, the sizes they get */
static TsTree *facts(Text *t, const TsStep *st)
{
	TsTree *x = ts_tree(t->cx, TS_TREE_LIST, (TsSpan){ 0 }, 0), *on = ts_tree(t->cx, TS_TREE_LIST, (TsSpan){ 0 }, 0), *with = ts_tree(t->cx, TS_TREE_LIST, (TsSpan){ 0 }, 0);
	for (uint32_t i = 0; i < st->choices.n; i++) ts_tree_add(t->cx, x, variant(t, &st->choices.p[i]));
	for (uint32_t i = 0; i < st->ptr.n; i++) ts_tree_add(t->cx, on, buffer(t, &st->ptr.p[i]));
	for (uint32_t i = 0; i < st->num.n; i++) ts_tree_add(t->cx, with, size(t, st->num.p[i]));
	word(t, x, "buffers", on);
	if (with->n) word(t, x, "sizes", with);
	return x;
}

/* Where slots begin and what all of them take: an empty group before all others. */
static TsTree *memory(Text *t)
{
	TsTree *x = ts_tree(t->cx, TS_TREE_LIST, (TsSpan){ 0 }, 0), *slots = ts_tree(t->cx, TS_TREE_LIST, (TsSpan){ 0 }, 0);
	for (uint32_t i = 0; i < t->e->slot_bytes.n; i++) ts_tree_add(t->cx, slots, size(t, t->e->slot_bytes.p[i]));
	if (slots->n) word(t, x, "slots", slots);
	word(t, x, "peak_bytes", size(t, t->e->workspace));
	return x;
}

static void groups_of(Text *t, TsGroups *out)
{
	TsArena *a = t->s->m->arena;
	out->of = &t->e->group;
	ts_push(a, &out->groups, (TsGroup){ TS_GROUP_KERNEL, ts_intern(t->cx, "memory"), memory(t) });
	for (uint32_t i = 0, n = 0; i < t->e->steps.n; i++) {
		const TsStep *st = &t->e->steps.p[i];
		TsGroup g = { .kind = st->kind == TS_SCHED_LOOP ? TS_GROUP_OPEN : st->kind == TS_SCHED_END ? TS_GROUP_CLOSE : TS_GROUP_KERNEL };
		if (g.kind == TS_GROUP_KERNEL) {
			g.name = ts_intern_fmt(t->cx, "k%u", n++);
			g.args = facts(t, st);
		}
		ts_push(a, &out->groups, g);
	}
}

void ts_print_schedule(const TsSched *s, const int64_t *scratch, TsBuf *to)
{
	TsModule *m = s->m;
	TsGroups *groups = TS_NEW_N(m->arena, TsGroups, m->graphs.n);
	for (uint32_t i = 0; i < s->entries.n; i++) {
		Text t = { .s = s, .e = &s->entries.p[i], .cx = m->cx, .d = m->dims, .scratch = scratch };
		groups_of(&t, &groups[i]);
	}
	ts_print_module_grouped(m, groups, to);
}
