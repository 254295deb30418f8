/* Registers that a region takes of a thread, so that schedules cut what they evaluate at a time to what there is: ptxas spills what is too much. */
#include "middle/tiler/gpu.h"
#include <string.h>

typedef struct { const TsRegion *r; uint32_t a, b; uint32_t *uses; bool *done, *tile; int now, most, loads; } Count;

/* How often each value is asked for, and which are tiles: those that a load along both dims goes into, and the anchor. */
static void look(Count *c, uint32_t id)
{
	const TsRNode *n = &c->r->nodes.p[id];
	if (c->uses[id]++) return;
	for (uint32_t i = 0; i < n->narg; i++) {
		look(c, n->arg[i]);
		c->tile[id] |= c->tile[n->arg[i]];
	}
	if (n->kind == TS_R_LOAD || n->kind == TS_R_GATHER || n->kind == TS_R_AFFINE) c->tile[id] |= n->coef[c->a] && n->coef[c->b];
	if (n->kind == TS_R_ANCHOR) c->tile[id] = true;
	if (n->kind == TS_R_LOAD && c->tile[id]) c->loads++;
}

/* Values in the order in which the text makes them; what is loaded counts from the beginning to the end, as loads are asked for early. */
static void make(Count *c, uint32_t id)
{
	const TsRNode *n = &c->r->nodes.p[id];
	if (c->done[id]) return;
	c->done[id] = true;
	for (uint32_t i = 0; i < n->narg; i++) make(c, n->arg[i]);
	for (uint32_t i = 0; i < n->narg; i++) {
		const TsRNode *from = &c->r->nodes.p[n->arg[i]];
		bool own = from->kind == TS_R_OP || from->kind == TS_R_GATHER || from->kind == TS_R_AFFINE;
		if (!--c->uses[n->arg[i]] && own && c->tile[n->arg[i]]) c->now--;
	}
	if (c->tile[id] && (n->kind == TS_R_OP || n->kind == TS_R_GATHER || n->kind == TS_R_AFFINE)) c->now++;
	if (c->now > c->most) c->most = c->now;
}

/* Functions that go by polynomials of many terms. */
static bool is_long(const TsRNode *n)
{
	if (n->kind != TS_R_OP) return false;
	if (n->op == TS_OP_gelu && n->node) return !strcmp(n->node->attr[0].s, "none");
	return n->op == TS_OP_erf || n->op == TS_OP_sin || n->op == TS_OP_cos || n->op == TS_OP_pow;
}

TsNeeds ts_region_needs(TsTl *t, const TsRegion *r, uint32_t value, uint32_t a, uint32_t b)
{
	enum { PLACES = 32 /* addresses, limits, what is the same in all of a row */, TERMS = 16 };
	uint32_t n = r->nodes.n;
	Count c = { .r = r, .a = a, .b = b, .uses = TS_NEW_N(t->a, uint32_t, n), .done = TS_NEW_N(t->a, bool, n), .tile = TS_NEW_N(t->a, bool, n) };
	look(&c, value);
	TsNeeds out = { .values = c.loads, .loads = c.loads, .fixed = PLACES };
	bool terms = false;
	for (uint32_t i = 1; i < n; i++) terms |= c.uses[i] && is_long(&r->nodes.p[i]);
	make(&c, value);
	out.values += c.most;
	if (terms) out.fixed += TERMS;
	return out;
}

int ts_needs_part(const TsNeeds *n, int part, int least, int room)
{
	while (part > least && n->values * part + n->fixed > room) part /= 2;
	return part;
}
