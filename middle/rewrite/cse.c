/* Common subexpressions: a node that says the same as an earlier one in reach gives way to it. Operands of commutative operators are
 * compared in either order. Random operators are the same only with the same stream, which is an attribute. */
#include "match.h"
#include <string.h>

typedef struct { uint64_t hash; TsNode *node; uint32_t next; } Entry;
typedef struct { TsRw *rw; TS_VEC(Entry) entries; uint32_t *slots; uint32_t mask; } Cse;

static uint64_t mix(uint64_t h, uint64_t x) { return (h ^ x) * 0x9e3779b97f4a7c15u ^ (h >> 29); }
static uint64_t mix_bytes(uint64_t h, const void *p, size_t n)
{
	const uint8_t *b = p;
	for (size_t i = 0; i < n; i++) h = mix(h, b[i]);
	return h;
}

static uint64_t bits_of(double x) { uint64_t u; memcpy(&u, &x, sizeof u); return u; }

static size_t const_bytes(Cse *c, const TsNode *n)
{
	const TsType *t = &ts_val(c->rw->g, n->out[0])->type;
	int64_t count;
	if (!ts_dim_is_const(c->rw->m->dims, ts_type_count(c->rw->m, t), &count)) return 0;
	return (size_t)ts_dtype_bytes(t->elem, count);
}

/* Only what the attribute's kind means. */
static uint64_t hash_attr(uint64_t h, const TsAttr *a)
{
	if (a->none) return mix(h, 1);
	switch (a->kind) {
	case TS_A_INT: case TS_A_BOOL: return mix(h, (uint64_t)a->i);
	case TS_A_FLOAT: return mix(h, bits_of(a->f));
	case TS_A_ENUM: return mix(h, (uintptr_t)a->s);
	case TS_A_DTYPE: return mix(h, (uint64_t)a->t);
	case TS_A_INTS: return mix_bytes(h, a->ints, a->n * sizeof *a->ints);
	case TS_A_DIM: case TS_A_DIMS: return mix_bytes(h, a->dims, a->n * sizeof *a->dims);
	}
	return h;
}

static uint64_t hash_node(Cse *c, const TsNode *n)
{
	const TsOpInfo *info = ts_op_info(c->rw->cx, n->op);
	uint64_t h = mix(0, n->op);
	if (info->flags & TS_F_COMM && n->nin == 2) h = mix(h, (uint64_t)n->in[0] * n->in[1] + n->in[0] + n->in[1]);
	else for (uint32_t i = 0; i < n->nin; i++) h = mix(h, n->in[i]);
	for (int i = 0; n->attr && i < info->nattr; i++) h = hash_attr(h, &n->attr[i]);
	h = mix(mix(mix(h, n->dim), (uintptr_t)n->name), n->weights);
	if (n->op == TS_OP_const) h = mix_bytes(h, n->data, const_bytes(c, n));
	return h;
}

static bool same_node(Cse *c, const TsNode *a, const TsNode *b)
{
	const TsOpInfo *info = ts_op_info(c->rw->cx, a->op);
	const TsType *ta = &ts_val(c->rw->g, a->out[0])->type, *tb = &ts_val(c->rw->g, b->out[0])->type;
	bool leaf = info->cls == TS_CLS_LEAF;
	if (a->op != b->op || a->nin != b->nin || a->nout != b->nout || a->dim != b->dim || a->name != b->name || a->weights != b->weights) return false;
	if (!ts_type_eq(ta, tb) || ta->accum != tb->accum || (!leaf && !ts_rw_same_numerics(a->num, b->num))) return false;
	bool straight = !memcmp(a->in, b->in, a->nin * sizeof *a->in);
	bool crossed = info->flags & TS_F_COMM && a->nin == 2 && a->in[0] == b->in[1] && a->in[1] == b->in[0];
	if (!straight && !crossed) return false;
	for (int i = 0; a->attr && b->attr && i < info->nattr; i++)
		if (!ts_rw_same_attr(&a->attr[i], &b->attr[i])) return false;
	return a->op != TS_OP_const || !memcmp(a->data, b->data, const_bytes(c, a));
}

static bool mergeable(Cse *c, const TsNode *n)
{
	const TsOpInfo *info = ts_op_info(c->rw->cx, n->op);
	if (n->op == TS_OP_param || n->op == TS_OP_for || !n->nout) return false;
	if (info->cls == TS_CLS_LEAF) return true;
	if (!(info->flags & TS_F_PURE)) return false;
	return info->cls != TS_CLS_RANDOM || !n->attr[ts_op_attr_index(info, "stream")].none;
}

static TsNode *find_or_add(Cse *c, TsNode *n)
{
	uint64_t h = hash_node(c, n);
	for (uint32_t i = c->slots[h & c->mask]; i; i = c->entries.p[i - 1].next)
		if (c->entries.p[i - 1].hash == h && same_node(c, c->entries.p[i - 1].node, n)) return c->entries.p[i - 1].node;
	Entry e = { h, n, c->slots[h & c->mask] };
	ts_push(c->rw->a, &c->entries, e);
	c->slots[h & c->mask] = c->entries.n;
	return NULL;
}

/* Forget what a body made: nothing outside may use it. Entries leave in the reverse order of their coming. */
static void forget(Cse *c, uint32_t until)
{
	for (; c->entries.n > until; c->entries.n--) {
		const Entry *e = &c->entries.p[c->entries.n - 1];
		c->slots[e->hash & c->mask] = e->next;
	}
}

static void walk(Cse *c, TsBlock *b)
{
	uint32_t first = c->entries.n, kept = 0;
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		TsNode *n = b->nodes.p[i];
		for (uint32_t k = 0; k < n->nin; k++) n->in[k] = ts_rw_now(c->rw, n->in[k]);
		if (n->op == TS_OP_for) walk(c, &n->loop->body);
		TsNode *same = mergeable(c, n) ? find_or_add(c, n) : NULL;
		if (!same) {
			b->nodes.p[kept++] = n;
			continue;
		}
		if (ts_op_info(c->rw->cx, n->op)->cls != TS_CLS_LEAF) ts_rw_trace(c->rw, "cse", n);
		for (uint32_t k = 0; k < n->nout; k++) c->rw->repl.p[n->out[k]] = same->out[k];
	}
	b->nodes.n = kept;
	for (uint32_t i = 0; i < b->results.n; i++) b->results.p[i] = ts_rw_now(c->rw, b->results.p[i]);
	forget(c, first);
}

void ts_rw_cse(TsRw *rw)
{
	if (!ts_rw_pass_on(rw, "cse")) return;
	Cse c = { .rw = rw, .mask = 255 };
	while (c.mask < rw->g->vals.n) c.mask = c.mask * 2 + 1;
	c.slots = TS_NEW_N(rw->a, uint32_t, c.mask + 1);
	while (rw->repl.n < rw->g->vals.n) ts_push(rw->a, &rw->repl, 0);
	memset(rw->repl.p, 0, rw->repl.n * sizeof *rw->repl.p);
	walk(&c, &rw->g->body);
}
