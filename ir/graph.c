#include "ir/graph.h"
#include <string.h>

TsModule *ts_module_new(TsCtx *cx)
{
	TsModule *m = TS_NEW(ts_arena(cx), TsModule);
	m->cx = cx;
	m->arena = ts_arena(cx);
	m->dims = ts_dims_new(cx);
	m->numerics = (TsNumerics){ .accum = TS_DTYPE_NONE, .deterministic = true, .batch_invariant = TS_OPEN, .excess = true };
	return m;
}

TsGraph *ts_graph_new(TsModule *m, TsSym name)
{
	TsGraph *g = TS_NEW(m->arena, TsGraph);
	g->name = name;
	ts_push(m->arena, &g->vals, (TsValue){ 0 });
	return g;
}

TsAttr *ts_attrs_new(TsModule *m, TsOp op)
{
	const TsOpInfo *info = ts_op_info(m->cx, op);
	TsAttr *at = TS_NEW_N(m->arena, TsAttr, info->nattr);
	for (int i = 0; i < info->nattr; i++) {
		const TsAttrInfo *d = &info->attr[i];
		at[i] = (TsAttr){ .kind = d->kind, .t = TS_DTYPE_NONE, .none = d->required || d->none_default };
		if (at[i].none) continue;
		switch (d->kind) {
		case TS_A_INT: case TS_A_BOOL: at[i].i = (int64_t)d->num; break;
		case TS_A_FLOAT: at[i].f = d->num; break;
		case TS_A_ENUM: at[i].s = ts_intern(m->cx, d->text); break;
		case TS_A_DTYPE: at[i].t = (TsDtype)d->num; break;
		case TS_A_INTS:
			at[i].n = 1;
			at[i].ints = TS_NEW(m->arena, int64_t);
			at[i].ints[0] = (int64_t)d->num;
			break;
		case TS_A_DIM: case TS_A_DIMS:
			at[i].n = 1;
			at[i].dims = TS_NEW(m->arena, TsDim);
			at[i].dims[0] = ts_dim_const(m->dims, (int64_t)d->num);
			break;
		}
	}
	return at;
}

/* Attributes are changed in place by inference, so a node owns its own. */
static TsAttr *copy_attrs(TsModule *m, TsOp op, const TsAttr *from)
{
	uint32_t n = ts_op_info(m->cx, op)->nattr;
	if (!from) return ts_attrs_new(m, op);
	TsAttr *to = TS_NEW_N(m->arena, TsAttr, n);
	for (uint32_t i = 0; i < n; i++) {
		to[i] = from[i];
		if (from[i].ints) to[i].ints = ts_memdup(m->arena, from[i].ints, from[i].n * sizeof *from[i].ints);
		if (from[i].dims) to[i].dims = ts_memdup(m->arena, from[i].dims, (from[i].n ? from[i].n : 1) * sizeof *from[i].dims);
	}
	return to;
}

TsNode *ts_node_new(TsModule *m, TsGraph *g, TsOp op, uint32_t nin, const TsVal *in, uint32_t nout)
{
	TsNode *n = TS_NEW(m->arena, TsNode);
	n->op = op;
	n->num = &m->numerics;
	n->nin = nin;
	n->nout = nout;
	n->in = TS_NEW_N(m->arena, TsVal, nin);
	n->out = TS_NEW_N(m->arena, TsVal, nout);
	if (nin) memcpy(n->in, in, nin * sizeof *in);
	for (uint32_t i = 0; i < nout; i++) {
		n->out[i] = g->vals.n;
		ts_push(m->arena, &g->vals, (TsValue){ .type = { .elem = TS_DTYPE_NONE, .accum = TS_DTYPE_NONE }, .def = n, .index = i });
	}
	return n;
}

/* One past the largest stream of the graph's random nodes: a node's place among them, kept when others are removed. */
static int64_t next_stream(TsModule *m, TsGraph *g)
{
	int64_t next = 0;
	for (uint32_t v = 1; v < g->vals.n; v++) {
		const TsNode *n = g->vals.p[v].def;
		if (!n) continue;
		const TsOpInfo *info = ts_op_info(m->cx, n->op);
		if (info->cls != TS_CLS_RANDOM || !n->attr) continue;
		const TsAttr *s = &n->attr[ts_op_attr_index(info, "stream")];
		if (!s->none && s->i >= next) next = s->i + 1;
	}
	return next;
}

static uint32_t result_count(TsModule *m, TsOp op, const TsAttr *attr)
{
	enum { MOST = 4096 };
	if (op == TS_OP_online_softmax) return 3;
	if (op != TS_OP_split) return 1;
	const TsAttr *n = &attr[ts_op_attr_index(ts_op_info(m->cx, op), "n")];
	return n->none || n->i < 1 || n->i > MOST ? 0 : (uint32_t)n->i;
}

TsNode *ts_add_op(TsModule *m, TsGraph *g, TsBlock *b, TsOp op, uint32_t nin, const TsVal *in, const TsAttr *attr, const TsNumerics *num, TsSpan at)
{
	const TsOpInfo *info = ts_op_info(m->cx, op);
	if (!info->variadic && (nin < info->min_in || nin > info->nin)) {
		ts_error(m->cx, at, "E_ARITY", "%s takes %s%u operand%s, found %u", info->name, info->min_in == info->nin ? "" : "up to ", info->nin, info->nin == 1 ? "" : "s", nin);
		return NULL;
	}
	TsVal full[TS_MAX_OP_INS] = { 0 };
	if (!info->variadic) {
		if (nin) memcpy(full, in, nin * sizeof *in);
		in = full;
		nin = info->nin;
	}
	uint32_t vals = g->vals.n;
	TsAttr *own = copy_attrs(m, op, attr);
	if (info->cls == TS_CLS_RANDOM) {
		TsAttr *stream = &own[ts_op_attr_index(info, "stream")];
		if (stream->none) *stream = (TsAttr){ .kind = TS_A_INT, .t = TS_DTYPE_NONE, .i = next_stream(m, g) };
	}
	TsNode *n = ts_node_new(m, g, op, nin, in, result_count(m, op, own));
	n->at = at;
	n->attr = own;
	if (num) n->num = num;
	if (!ts_infer(m, g, n)) {
		g->vals.n = vals;
		return NULL;
	}
	ts_push(m->arena, &b->nodes, n);
	return n;
}

static TsNode *add_leaf(TsModule *m, TsGraph *g, TsBlock *b, TsOp op, TsType type, TsSpan at)
{
	TsNode *n = ts_node_new(m, g, op, 0, NULL, 1);
	n->at = at;
	n->attr = ts_attrs_new(m, op);
	ts_val(g, n->out[0])->type = type;
	ts_push(m->arena, &b->nodes, n);
	return n;
}

TsVal ts_add_param(TsModule *m, TsGraph *g, TsSym name, TsType type, TsSpan at)
{
	TsNode *n = add_leaf(m, g, &g->body, TS_OP_param, type, at);
	n->name = name;
	ts_val(g, n->out[0])->name = name;
	ts_push(m->arena, &g->params, n->out[0]);
	return n->out[0];
}

TsVal ts_add_weight(TsModule *m, TsGraph *g, TsBlock *b, uint32_t weights, TsSym name, TsType type, TsSpan at)
{
	TsNode *n = add_leaf(m, g, b, TS_OP_weight, type, at);
	n->name = name;
	n->weights = weights;
	return n->out[0];
}

TsVal ts_add_const(TsModule *m, TsGraph *g, TsBlock *b, TsType type, const void *data, TsSpan at)
{
	TsNode *n = add_leaf(m, g, b, TS_OP_const, type, at);
	n->data = data;
	return n->out[0];
}

TsVal ts_add_scalar(TsModule *m, TsGraph *g, TsBlock *b, TsDtype t, double v, TsSpan at)
{
	void *data = ts_alloc(m->arena, 8);
	ts_elem_set(t, data, 0, v);
	return ts_add_const(m, g, b, (TsType){ .elem = t, .accum = TS_DTYPE_NONE }, data, at);
}

TsVal ts_add_dim(TsModule *m, TsGraph *g, TsBlock *b, TsDim d, TsSpan at)
{
	TsNode *n = add_leaf(m, g, b, TS_OP_dim, (TsType){ .elem = TS_INT64, .accum = TS_DTYPE_NONE }, at);
	n->dim = d;
	return n->out[0];
}

const TsAttr *ts_attr(TsModule *m, const TsNode *n, const char *name)
{
	const TsOpInfo *info = ts_op_info(m->cx, n->op);
	int i = ts_op_attr_index(info, name);
	if (i < 0) ts_bug(m->cx, n->at, "%s has no attribute '%s'", info->name, name);
	return &n->attr[i];
}

TsDtype ts_node_accum(TsModule *m, TsGraph *g, const TsNode *n)
{
	TsOpClass cls = ts_op_info(m->cx, n->op)->cls;
	const TsType *out = &ts_val(g, n->out[0])->type;
	bool wide = out->elem == TS_F64, wide_int = out->elem == TS_INT64, ints = true;
	for (uint32_t i = 0; i < n->nin; i++) {
		if (!n->in[i]) continue;
		const TsType *t = &ts_val(g, n->in[i])->type;
		if (t->accum != TS_DTYPE_NONE) return t->accum;
		ints &= ts_dtype_is_int(t->elem);
		wide |= t->elem == TS_F64;
		wide_int |= t->elem == TS_INT64;
	}
	if ((cls == TS_CLS_CONTRACT || cls == TS_CLS_REDUCE) && ints) return wide_int ? TS_INT64 : TS_INT32;
	if (out->accum != TS_DTYPE_NONE) return out->accum;
	if (wide) return TS_F64;
	return n->num->accum != TS_DTYPE_NONE ? n->num->accum : TS_F32;
}

bool ts_type_eq(const TsType *a, const TsType *b)
{
	return a->elem == b->elem && a->rank == b->rank && !memcmp(a->dim, b->dim, a->rank * sizeof *a->dim);
}

void ts_type_print(const TsModule *m, const TsType *t, TsBuf *to)
{
	ts_buf_str(to, ts_dtype_name(t->elem));
	if (t->accum != TS_DTYPE_NONE) ts_buf_fmt(to, "@%s", ts_dtype_name(t->accum));
	ts_buf_char(to, '[');
	for (int i = 0; i < t->rank; i++) {
		if (i) ts_buf_str(to, ", ");
		ts_dim_print(m->dims, t->dim[i], to);
	}
	ts_buf_char(to, ']');
}

TsDim ts_type_count(TsModule *m, const TsType *t)
{
	TsDim n = ts_dim_const(m->dims, 1);
	for (int i = 0; i < t->rank; i++) n = ts_dim_mul(m->dims, n, t->dim[i]);
	return n;
}
