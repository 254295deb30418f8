/* Dead code: nodes whose results nothing uses, and what a `for` carries or emits in vain. Parameters stay: they are the graph's ABI. */
#include "match.h"
#include <string.h>

typedef struct { TsRw *rw; uint8_t *live; bool again; } Dce;

static void mark_block(Dce *d, const TsBlock *b);

static void mark_carry(Dce *d, TsVal v)
{
	if (!d->live[v]) d->live[v] = 1, d->again = true;
}

/* A carried value is alive if the loop's result is, or if the body needs it for something alive. The latter may show only after the
 * body was walked: then everything is walked once more. */
static void mark_loop(Dce *d, const TsNode *n)
{
	const TsFor *f = n->loop;
	for (uint32_t k = 0; k < n->nout; k++)
		if (d->live[n->out[k]]) d->live[f->body.results.p[k]] = 1;
	mark_block(d, &f->body);
	for (uint32_t k = 0; k < f->ncarry; k++) {
		if (d->live[f->body.args.p[k]]) mark_carry(d, n->out[k]);
		if (d->live[n->out[k]]) d->live[n->in[k]] = 1;
	}
}

/* Backwards, as every use lies behind its definition. */
static void mark_block(Dce *d, const TsBlock *b)
{
	for (uint32_t i = b->nodes.n; i-- > 0;) {
		const TsNode *n = b->nodes.p[i];
		bool alive = false;
		for (uint32_t k = 0; k < n->nout; k++) alive |= d->live[n->out[k]];
		if (!alive) continue;
		if (n->op == TS_OP_for) mark_loop(d, n);
		else for (uint32_t k = 0; k < n->nin; k++) d->live[n->in[k]] = 1;
	}
}

static void drop_carries(Dce *d, TsNode *n)
{
	TsFor *f = n->loop;
	uint32_t carry = 0, out = 0;
	for (uint32_t k = 0; k < n->nout; k++) {
		if (!d->live[n->out[k]]) continue;
		if (k < f->ncarry) {
			n->in[carry] = n->in[k];
			f->body.args.p[carry++] = f->body.args.p[k];
		}
		f->body.results.p[out] = f->body.results.p[k];
		n->out[out] = n->out[k];
		ts_val(d->rw->g, n->out[out])->index = out;
		out++;
	}
	if (out == n->nout) return;
	f->ncarry = f->body.args.n = n->nin = carry;
	f->body.results.n = n->nout = out;
	ts_rw_trace(d->rw, "dce", n);
}

static void drop_block(Dce *d, TsBlock *b)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		TsNode *n = b->nodes.p[i];
		bool alive = n->op == TS_OP_param;
		for (uint32_t k = 0; k < n->nout; k++) alive |= d->live[n->out[k]];
		if (!alive) {
			/* leaves come and go with their users: not worth a line */
			if (ts_op_info(d->rw->cx, n->op)->cls != TS_CLS_LEAF) ts_rw_trace(d->rw, "dce", n);
			continue;
		}
		b->nodes.p[kept++] = n;
		if (n->op != TS_OP_for) continue;
		drop_carries(d, n);
		drop_block(d, &n->loop->body);
	}
	b->nodes.n = kept;
}

void ts_rw_dce(TsRw *rw)
{
	if (!ts_rw_pass_on(rw, "dce")) return;
	Dce d = { rw, ts_alloc(rw->a, rw->g->vals.n + 1), false };
	for (uint32_t i = 0; i < rw->g->body.results.n; i++) d.live[rw->g->body.results.p[i]] = 1;
	do {
		d.again = false;
		mark_block(&d, &rw->g->body);
	} while (d.again);
	drop_block(&d, &rw->g->body);
}
