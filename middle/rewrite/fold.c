/* Constant folding: a pure operator whose operands are all literals is computed by the reference interpreter at the declared types. */
#include "match.h"
#include "ir/interp.h"
#include <string.h>

static bool is_literal(TsRw *rw, TsVal v)
{
	const TsNode *n = v ? ts_val(rw->g, v)->def : NULL;
	return n && n->op == TS_OP_const;
}

/* Complex literals and packed ones have no text yet; views and iota of anything large are cheaper than a table. */
static bool foldable(TsRw *rw, const TsNode *n, int64_t most)
{
	const TsOpInfo *info = ts_op_info(rw->cx, n->op);
	const TsType *t = &ts_val(rw->g, n->out[0])->type;
	int64_t count;
	if (n->nout != 1 || !n->nin || !(info->flags & TS_F_PURE) || info->cls == TS_CLS_RANDOM || info->cls == TS_CLS_NONE) return false;
	if (t->elem == TS_COMPLEX64 || ts_dtype_bits(t->elem) % 8) return false;
	for (uint32_t i = 0; i < n->nin; i++)
		if (n->in[i] && !is_literal(rw, n->in[i])) return false;
	if (!ts_dim_is_const(rw->m->dims, ts_type_count(rw->m, t), &count) || count > most || count < 1) return false;
	return info->cls != TS_CLS_VIEW || count == 1 || n->op == TS_OP_transpose || n->op == TS_OP_slice || n->op == TS_OP_reshape;
}

/* The node alone, as a graph of its own. */
static bool compute(TsRw *rw, const TsNode *n, TsTensor *out)
{
	TsGraph *g = TS_NEW(rw->a, TsGraph);
	TsVal in[TS_MAX_OP_INS] = { 0 };
	if (n->nin > TS_MAX_OP_INS) return false;
	ts_push(rw->a, &g->vals, (TsValue){ 0 });
	for (uint32_t i = 0; i < n->nin; i++) {
		if (!n->in[i]) continue;
		const TsValue *v = ts_val(rw->g, n->in[i]);
		in[i] = ts_add_const(rw->m, g, &g->body, v->type, v->def->data, n->at);
	}
	TsNode *copy = ts_add_op(rw->m, g, &g->body, n->op, n->nin, in, n->attr, n->num, n->at);
	if (!copy) return false;
	ts_push(rw->a, &g->body.results, copy->out[0]);
	ts_push(rw->a, &g->result_names, ts_intern(rw->cx, "y"));
	g->name = ts_intern(rw->cx, "fold");
	return ts_eval(rw->m, g, TS_EVAL_DECLARED, NULL, out);
}

/* The node becomes the literal, so that its users see it without being touched. */
static void fold_node(TsRw *rw, TsNode *n)
{
	TsTensor y = { 0 };
	if (compute(rw, n, &y)) {
		ts_rw_trace(rw, "fold", n);
		n->op = TS_OP_const;
		n->data = ts_memdup(rw->a, y.data, y.bytes ? (size_t)y.bytes : 1);
		n->nin = 0;
		n->attr = ts_attrs_new(rw->m, TS_OP_const);
		ts_val(rw->g, n->out[0])->name = NULL;
	}
	ts_tensor_free(&y);
}

static void fold_block(TsRw *rw, TsBlock *b, int64_t most)
{
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		TsNode *n = b->nodes.p[i];
		if (n->op == TS_OP_for) fold_block(rw, &n->loop->body, most);
		else if (n->nout && foldable(rw, n, most)) fold_node(rw, n);
	}
}

void ts_rw_fold(TsRw *rw, int64_t most)
{
	if (ts_rw_pass_on(rw, "fold")) fold_block(rw, &rw->g->body, most);
}
