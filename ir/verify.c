#include "ir/graph.h"
#include <string.h>

typedef struct { TsModule *m; TsGraph *g; const char *after; uint8_t *defined; } Verify;

static void fail(Verify *v, const TsNode *n, const char *why)
{
	ts_bug(v->m->cx, n ? n->at : v->g->at, "after %s, graph %s, %s: %s", v->after, v->g->name ? v->g->name : "?", n ? ts_op_info(v->m->cx, n->op)->name : "body", why);
}

static void need(Verify *v, const TsNode *n, TsVal x)
{
	if (x >= v->g->vals.n) fail(v, n, "an operand is no value of this graph");
	if (!v->defined[x]) fail(v, n, "an operand is used before or outside the block it is made in");
}

static void define(Verify *v, const TsNode *n, TsVal x)
{
	if (!x || x >= v->g->vals.n) fail(v, n, "a result is no value of this graph");
	if (v->defined[x]) fail(v, n, "a value is assigned twice");
	v->defined[x] = 1;
}

static void check_block(Verify *v, const TsNode *owner, const TsBlock *b);

/* Inferring again gives the types the node has. */
static void check_types(Verify *v, TsNode *n)
{
	TsType *had = TS_NEW_N(v->m->arena, TsType, n->nout);
	for (uint32_t i = 0; i < n->nout; i++) had[i] = ts_val(v->g, n->out[i])->type;
	if (!ts_infer(v->m, v->g, n)) fail(v, n, "its operands' types do not fit");
	for (uint32_t i = 0; i < n->nout; i++) {
		TsType *t = &ts_val(v->g, n->out[i])->type;
		if (!ts_type_eq(&had[i], t)) {
			TsBuf a = { 0 }, b = { 0 };
			ts_type_print(v->m, &had[i], &a);
			ts_type_print(v->m, t, &b);
			const char *why = ts_printf(v->m->arena, "result %u is %s and should be %s", i, a.p, b.p);
			ts_buf_free(&a);
			ts_buf_free(&b);
			fail(v, n, why);
		}
		*t = had[i];          /* keeps a written accumulator */
	}
}

static void check_node(Verify *v, TsNode *n)
{
	if (n->op <= TS_OP_NONE || n->op >= TS_OP_COUNT) fail(v, NULL, "a node has no operator");
	const TsOpInfo *info = ts_op_info(v->m->cx, n->op);
	if (!info->variadic && n->nin != info->nin) fail(v, n, "wrong number of operands");
	if (info->nattr && !n->attr) fail(v, n, "no attributes");
	if (!n->num) fail(v, n, "no numerics");
	if (n->op == TS_OP_const && !n->data) fail(v, n, "a literal without data");
	if (n->op == TS_OP_weight && n->weights >= v->m->weights.n) fail(v, n, "no such weights");
	for (uint32_t i = 0; i < n->nin; i++)
		if (n->in[i]) need(v, n, n->in[i]);
	if (n->op == TS_OP_for) {
		if (!n->loop) fail(v, n, "a loop without a body");
		check_block(v, n, &n->loop->body);
	}
	for (uint32_t i = 0; i < n->nout; i++) {
		define(v, n, n->out[i]);
		if (ts_val(v->g, n->out[i])->def != n || ts_val(v->g, n->out[i])->index != i) fail(v, n, "a result names another node as its maker");
	}
	check_types(v, n);
}

static void check_block(Verify *v, const TsNode *owner, const TsBlock *b)
{
	for (uint32_t i = 0; i < b->args.n; i++) define(v, owner, b->args.p[i]);
	for (uint32_t i = 0; i < b->nodes.n; i++) check_node(v, b->nodes.p[i]);
	for (uint32_t i = 0; i < b->results.n; i++) {
		if (!b->results.p[i]) fail(v, owner, "a result of the block is missing");
		need(v, owner, b->results.p[i]);
	}
	/* a block's values end with it */
	if (!owner) return;
	for (uint32_t i = 0; i < b->args.n; i++) v->defined[b->args.p[i]] = 0;
	for (uint32_t i = 0; i < b->nodes.n; i++)
		for (uint32_t k = 0; k < b->nodes.p[i]->nout; k++) v->defined[b->nodes.p[i]->out[k]] = 0;
}

bool ts_verify(TsModule *m, const char *after)
{
	for (uint32_t i = 0; i < m->graphs.n; i++) {
		TsGraph *g = m->graphs.p[i];
		Verify v = { m, g, after, ts_alloc(m->arena, g->vals.n + 1) };
		check_block(&v, NULL, &g->body);
		if (g->result_names.n != g->body.results.n) fail(&v, NULL, "results and their names differ in number");
		for (uint32_t k = 0; k < g->params.n; k++) {
			need(&v, NULL, g->params.p[k]);
			if (ts_val(g, g->params.p[k])->def->op != TS_OP_param) fail(&v, NULL, "a parameter is no param node");
		}
	}
	return true;
}
