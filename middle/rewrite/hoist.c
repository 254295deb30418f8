/* Loop invariants: what the body of a `for` computes alike in every iteration is computed once, before it. Random operators stay. */
#include "match.h"
#include <ctype.h>
#include <string.h>

typedef struct { TsRw *rw; uint8_t *inside; } Hoist;

/* Does a weight's name `layer.{i + 1}.bias` use the variable? */
static bool name_uses(TsSym name, TsSym var)
{
	size_t n = var ? strlen(var) : 0;
	bool open = false;
	if (!name || !n) return false;
	for (const char *p = name; *p; p++) {
		if (p[0] == '{' && p[1] == '{' && !open) { p++; continue; }
		if (*p == '{') open = true;
		else if (*p == '}') open = false;
		if (!open || strncmp(p, var, n)) continue;
		bool starts = p == name || !(isalnum((unsigned char)p[-1]) || p[-1] == '_' || p[-1] == '.');
		if (starts && !(isalnum((unsigned char)p[n]) || p[n] == '_')) return true;
	}
	return false;
}

static bool dim_uses(TsModule *m, TsDim d, const TsDim *with) { return d != TS_DIM_BAD && ts_dim_subst(m->dims, d, with) != d; }

/* Does anything a node says about sizes name the loop's variable? */
static bool node_uses(Hoist *h, const TsNode *n, const TsFor *f)
{
	TsModule *m = h->rw->m;
	int64_t c;
	uint32_t symbol;
	if (name_uses(n->name, f->var)) return true;
	if (!ts_dim_is_scaled_symbol(m->dims, f->symbol, &c, &symbol)) return false;
	uint32_t count = ts_dim_symbol_count(m->dims);
	TsDim *with = TS_NEW_N(m->arena, TsDim, count);
	for (uint32_t i = 0; i < count; i++) with[i] = i == symbol ? ts_dim_const(m->dims, 0) : TS_DIM_BAD;
	if (n->op == TS_OP_dim && dim_uses(m, n->dim, with)) return true;
	for (int i = 0; n->attr && i < ts_op_info(h->rw->cx, n->op)->nattr; i++)
		for (uint32_t k = 0; n->attr[i].dims && k < n->attr[i].n; k++)
			if (dim_uses(m, n->attr[i].dims[k], with)) return true;
	for (uint32_t i = 0; i < n->nout; i++) {
		const TsType *t = &ts_val(h->rw->g, n->out[i])->type;
		for (int k = 0; k < t->rank; k++)
			if (dim_uses(m, t->dim[k], with)) return true;
	}
	return false;
}

static bool invariant(Hoist *h, const TsNode *n, const TsFor *f)
{
	const TsOpInfo *info = ts_op_info(h->rw->cx, n->op);
	if (info->cls != TS_CLS_LEAF && (!(info->flags & TS_F_PURE) || info->cls == TS_CLS_RANDOM)) return false;
	for (uint32_t i = 0; i < n->nin; i++)
		if (n->in[i] && h->inside[n->in[i]]) return false;
	return !node_uses(h, n, f);
}

static void hoist_block(Hoist *h, TsBlock *b);

/* Moves what can go from the loop's body to `out`, which lies before the loop. */
static void hoist_loop(Hoist *h, TsBlock *out, TsNode *n)
{
	TsFor *f = n->loop;
	hoist_block(h, &f->body);
	if (f->hi <= f->lo) return;
	for (uint32_t i = 0; i < f->body.args.n; i++) h->inside[f->body.args.p[i]] = 1;
	uint32_t kept = 0;
	for (uint32_t i = 0; i < f->body.nodes.n; i++) {
		TsNode *x = f->body.nodes.p[i];
		if (invariant(h, x, f)) {
			ts_push(h->rw->a, &out->nodes, x);
			if (ts_op_info(h->rw->cx, x->op)->cls != TS_CLS_LEAF) ts_rw_trace(h->rw, "hoist", x);
			continue;
		}
		for (uint32_t k = 0; k < x->nout; k++) h->inside[x->out[k]] = 1;
		f->body.nodes.p[kept++] = x;
	}
	f->body.nodes.n = kept;
	/* the block around this loop asks about its own body only */
	for (uint32_t i = 0; i < f->body.args.n; i++) h->inside[f->body.args.p[i]] = 0;
	for (uint32_t i = 0; i < kept; i++)
		for (uint32_t k = 0; k < f->body.nodes.p[i]->nout; k++) h->inside[f->body.nodes.p[i]->out[k]] = 0;
}

static void hoist_block(Hoist *h, TsBlock *b)
{
	TsBlock old = *b;
	b->nodes.p = NULL;
	b->nodes.n = b->nodes.cap = 0;
	for (uint32_t i = 0; i < old.nodes.n; i++) {
		TsNode *n = old.nodes.p[i];
		if (n->op == TS_OP_for) hoist_loop(h, b, n);
		ts_push(h->rw->a, &b->nodes, n);
	}
}

void ts_rw_hoist(TsRw *rw)
{
	if (!ts_rw_pass_on(rw, "hoist")) return;
	Hoist h = { rw, ts_alloc(rw->a, rw->g->vals.n + 1) };
	hoist_block(&h, &rw->g->body);
}
