/* The order of a scheduled graph: the text of a schedule shows each kernel's statements side by side, and reading that text back must
 * give the same schedule. So the nodes themselves are put in the order of the kernels, once, and the graph is scheduled in that order. */
#include "middle/tiler/tiler.h"
#include <string.h>

typedef TS_VEC(TsNode *) Nodes;
typedef struct {
	TsTl *t;
	TsMap placed;      /* nodes that have their place */
	Nodes *users;      /* per value: the nodes of no step that read it */
	Nodes *members;    /* per step + 1: the nodes it computes */
	Nodes *order;      /* the block being ordered */
	TsMap *here;       /* its nodes */
	uint32_t at;       /* the next step */
} Order;

static uint32_t step_of(Order *o, const TsNode *n)
{
	uintptr_t *s = ts_map_find(&o->t->e->group, n);
	return s ? (uint32_t)*s : 0;
}

static bool is_placed(Order *o, const TsNode *n) { return !n || ts_map_find(&o->placed, n); }

static bool is_ready(Order *o, const TsNode *n)
{
	for (uint32_t i = 0; i < n->nin; i++)
		if (n->in[i] && !is_placed(o, ts_val(o->t->g, n->in[i])->def)) return false;
	return true;
}

/* n, and behind it what views it: a floating node stands as early as it can. */
static void put(Order *o, TsNode *n)
{
	if (is_placed(o, n) || !ts_map_find(o->here, n)) return;
	ts_map_set(o->t->a, &o->placed, n, n);
	ts_push(o->t->a, o->order, n);
	for (uint32_t i = 0; i < n->nout; i++)
		for (uint32_t j = 0; j < o->users[n->out[i]].n; j++) {
			TsNode *u = o->users[n->out[i]].p[j];
			if (is_ready(o, u)) put(o, u);
		}
}

static void put_operands(Order *o, const TsNode *n, uint32_t step);

/* What n needs, then n. With a step: only what that step does not compute itself, and no weights, which have no line in the text. */
static void need(Order *o, TsNode *n, uint32_t step)
{
	if (is_placed(o, n) || !ts_map_find(o->here, n)) return;
	if (step && (step_of(o, n) == step || n->op == TS_OP_weight)) return;
	put_operands(o, n, 0);
	put(o, n);
}

static void put_operands(Order *o, const TsNode *n, uint32_t step)
{
	for (uint32_t i = 0; i < n->nin; i++)
		if (n->in[i]) need(o, ts_val(o->t->g, n->in[i])->def, step);
}

static void put_captured(Order *o, const TsBlock *b)
{
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		const TsNode *n = b->nodes.p[i];
		put_operands(o, n, 0);
		if (n->loop) put_captured(o, &n->loop->body);
	}
	for (uint32_t i = 0; i < b->results.n; i++) {
		TsNode *n = ts_val(o->t->g, b->results.p[i])->def;
		if (n) need(o, n, 0);
	}
}

static void order_block(Order *o, TsBlock *b);

static void put_loop(Order *o, TsNode *n)
{
	put_operands(o, n, 0);
	put_captured(o, &n->loop->body);
	put(o, n);
}

/* The nodes of one step, in the order they had. */
static void put_step(Order *o, uint32_t step)
{
	const Nodes *m = &o->members[step];
	for (uint32_t i = 0; i < m->n; i++) put_operands(o, m->p[i], step);
	for (uint32_t i = 0; i < m->n; i++) {
		put_operands(o, m->p[i], 0);
		put(o, m->p[i]);
	}
}

static TsNode *loop_node(const TsBlock *b, const TsFor *f)
{
	for (uint32_t i = 0; i < b->nodes.n; i++)
		if (b->nodes.p[i]->loop == f) return b->nodes.p[i];
	return NULL;
}

static void order_block(Order *o, TsBlock *b)
{
	TsTl *t = o->t;
	TsEntry *e = t->e;
	TsMap here = { 0 }, *outer_here = o->here;
	Nodes order = { 0 }, *outer = o->order;
	for (uint32_t i = 0; i < b->nodes.n; i++) ts_map_set(t->a, &here, b->nodes.p[i], b->nodes.p[i]);
	for (uint32_t i = 0; i < b->nodes.n; i++)
		if (b->nodes.p[i]->op == TS_OP_param) {
			ts_map_set(t->a, &o->placed, b->nodes.p[i], b->nodes.p[i]);
			ts_push(t->a, &order, b->nodes.p[i]);
		}
	o->here = &here;
	o->order = &order;
	while (o->at < e->steps.n) {
		const TsStep *st = &e->steps.p[o->at++];
		if (st->kind == TS_SCHED_END) break;
		if (st->kind == TS_SCHED_LAUNCH) { put_step(o, o->at); continue; }
		TsNode *n = loop_node(b, st->loop);
		put_loop(o, n);
		order_block(o, &n->loop->body);
		o->here = &here;
		o->order = &order;
	}
	for (uint32_t i = 0; i < b->nodes.n; i++) { /* what no kernel asked for */
		if (is_placed(o, b->nodes.p[i])) continue;
		put_operands(o, b->nodes.p[i], 0);
		put(o, b->nodes.p[i]);
	}
	if (order.n != b->nodes.n) ts_bug(t->cx, t->g->at, "schedule: %u nodes of a block of %u are in order", order.n, b->nodes.n);
	if (order.n) memcpy(b->nodes.p, order.p, order.n * sizeof *order.p);
	o->here = outer_here;
	o->order = outer;
}

static void index_block(Order *o, const TsBlock *b)
{
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		TsNode *n = b->nodes.p[i];
		uint32_t step = step_of(o, n);
		if (step) ts_push(o->t->a, &o->members[step], n);
		if (n->loop) { index_block(o, &n->loop->body); continue; }
		for (uint32_t j = 0; j < n->nin && !step; j++)
			if (n->in[j]) ts_push(o->t->a, &o->users[n->in[j]], n);
	}
}

static void mark_block(TsTl *t, TsMap *owner, const TsBlock *b, const TsFor *loop)
{
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		ts_map_set(t->a, owner, b->nodes.p[i], loop);
		if (b->nodes.p[i]->loop) mark_block(t, owner, &b->nodes.p[i]->loop->body, b->nodes.p[i]->loop);
	}
}

void ts_find_groups(TsTl *t)
{
	TsEntry *e = t->e;
	TsMap owner = { 0 };
	TS_VEC(const TsFor *) open = { 0 };
	mark_block(t, &owner, &t->g->body, NULL);
	for (uint32_t i = 0; i < e->steps.n; i++) {
		const TsStep *st = &e->steps.p[i];
		if (st->kind == TS_SCHED_LOOP) ts_push(t->a, &open, st->loop);
		if (st->kind == TS_SCHED_END) open.n--;
		for (uint32_t j = 0; j < st->values.n; j++) {
			const TsNode *n = ts_val(t->g, st->values.p[j])->def;
			bool fresh;
			if (!n || ts_map_get(&owner, n) != (open.n ? open.p[open.n - 1] : NULL)) continue;
			uintptr_t *s = ts_map_put(t->a, &e->group, n, &fresh);
			*s = fresh || *s == i + 1 ? i + 1 : 0;
		}
	}
}

void ts_schedule_order(TsSched *s)
{
	for (uint32_t i = 0; i < s->entries.n; i++) {
		TsEntry *e = &s->entries.p[i];
		TsTl t = { .s = s, .m = s->m, .cx = s->m->cx, .a = s->m->arena, .d = s->m->dims, .g = e->graph, .e = e };
		Order o = { .t = &t, .users = TS_NEW_N(t.a, Nodes, e->graph->vals.n), .members = TS_NEW_N(t.a, Nodes, e->steps.n + 1) };
		index_block(&o, &e->graph->body);
		order_block(&o, &e->graph->body);
	}
}
