/* Sums that are asked for in f64 over narrower operands (`accum = f64`, `f32@f64`): the operands are cast to f64, what comes out back to
 * the declared type, so that a kernel adds what its operands' type says. Exact on the way in, one rounding on the way out. */
#include "middle/rewrite/rewrite.h"
#include <string.h>

/* The attributes of an operator whose result's type attribute `name` says: `from` where it has none. matmul and cast have no other. */
static TsAttr *giving(TsModule *m, TsOp op, TsAttr *from, const char *name, TsDtype t)
{
	int i = ts_op_attr_index(ts_op_info(m->cx, op), name);
	if (i < 0) return from;
	TsAttr *at = ts_attrs_new(m, op);
	at[i].none = false;
	at[i].t = t;
	return at;
}

static TsVal cast(TsModule *m, TsGraph *g, TsBlock *b, const TsNode *n, TsVal v)
{
	return ts_add_op(m, g, b, TS_OP_cast, 1, &v, giving(m, TS_OP_cast, NULL, "dtype", TS_F64), n->num, n->at)->out[0];
}

/* Operators whose bound is that of a sum of products or elements, as ops.def says. */
static bool is_narrow(TsModule *m, TsGraph *g, const TsNode *n)
{
	const TsOpInfo *info = ts_op_info(m->cx, n->op);
	if ((info->cls != TS_CLS_CONTRACT && info->cls != TS_CLS_REDUCE) || strcmp(info->bound, "sum") != 0) return false;
	TsDtype t = ts_val(g, n->out[0])->type.elem;
	return ts_dtype_is_float(t) && t != TS_F64 && ts_node_accum(m, g, n) == TS_F64;
}

/* n itself becomes the cast back, so its value keeps name, type and uses. */
static void widen(TsModule *m, TsGraph *g, TsBlock *b, TsNode *n)
{
	TsVal in[TS_MAX_OP_INS] = { 0 };
	for (uint32_t i = 0; i < n->nin; i++) in[i] = ts_val(g, n->in[i])->type.elem == TS_F64 ? n->in[i] : cast(m, g, b, n, n->in[i]);
	TsVal wide = ts_add_op(m, g, b, n->op, n->nin, in, giving(m, n->op, n->attr, "out", TS_F64), n->num, n->at)->out[0];
	n->op = TS_OP_cast;
	n->nin = 1;
	n->in[0] = wide;
	n->attr = giving(m, TS_OP_cast, NULL, "dtype", ts_val(g, n->out[0])->type.elem);
}

static void widen_block(TsModule *m, TsGraph *g, TsBlock *b)
{
	TsBlock old = *b;
	b->nodes.p = NULL;
	b->nodes.n = b->nodes.cap = 0;
	for (uint32_t i = 0; i < old.nodes.n; i++) {
		TsNode *n = old.nodes.p[i];
		if (n->op == TS_OP_for) widen_block(m, g, &n->loop->body);
		else if (is_narrow(m, g, n)) widen(m, g, b, n);
		ts_push(m->arena, &b->nodes, n);
	}
}

void ts_widen_sums(TsModule *m)
{
	for (uint32_t i = 0; i < m->graphs.n; i++) widen_block(m, m->graphs.p[i], &m->graphs.p[i]->body);
}
