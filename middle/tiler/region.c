#include "middle/tiler/tiler.h"
#include <string.h>

void ts_region_init(TsTl *t, TsRegion *r, uint32_t niter, const TsDim *size)
{
	*r = (TsRegion){ .niter = niter };
	for (uint32_t i = 0; i < niter; i++) r->size[i] = size[i];
	ts_push(t->a, &r->nodes, (TsRNode){ 0 }); /* 0 is none */
}

void ts_identity_idx(TsTl *t, uint32_t first, uint32_t rank, TsIdx *idx)
{
	memset(idx, 0, rank * sizeof *idx);
	for (uint32_t i = 0; i < rank; i++) idx[i].coef[first + i] = ts_dim_const(t->d, 1);
}

static uint32_t add(TsTl *t, TsRegion *r, TsRNode n)
{
	for (uint32_t i = 1; i < r->nodes.n; i++)
		if (!memcmp(&r->nodes.p[i], &n, sizeof n)) return i;
	ts_push(t->a, &r->nodes, n);
	return r->nodes.n - 1;
}

/* offset + sum over axes of stride * index, as one affine form over the iteration dims. */
static void affine(TsTl *t, const TsRegion *r, TsDim offset, const TsDim *stride, uint32_t rank, const TsIdx *idx, TsRNode *n)
{
	n->offset = offset;
	for (uint32_t a = 0; a < rank; a++) {
		n->offset = ts_dim_add(t->d, n->offset, ts_dim_mul(t->d, stride[a], idx[a].off));
		for (uint32_t k = 0; k < r->niter; k++)
			if (idx[a].coef[k]) n->coef[k] = ts_dim_add(t->d, n->coef[k], ts_dim_mul(t->d, stride[a], idx[a].coef[k]));
	}
}

uint32_t ts_region_leaf(TsTl *t, TsRegion *r, const TsReal *real, const TsType *ty, const TsIdx *idx)
{
	TsRNode n;
	memset(&n, 0, sizeof n);
	n.kind = TS_R_LOAD;
	n.elem = ty->elem;
	n.buf = real->buf;
	affine(t, r, real->offset, real->stride, ty->rank, idx, &n);
	return add(t, r, n);
}

/* Operand type `from` seen at indices of a result of rank `rank` (trailing axes; a literal 1 stretches). */
static void broadcast_idx(TsTl *t, const TsType *from, const TsType *to, const TsIdx *idx, TsIdx *out)
{
	memset(out, 0, TS_MAX_RANK * sizeof *out);
	for (uint32_t i = 0; i < from->rank; i++) {
		uint32_t j = i + to->rank - from->rank;
		if (ts_is_one(t, from->dim[i]) && !ts_is_one(t, to->dim[j])) continue;
		out[i] = idx[j];
	}
}

static uint32_t op_node(TsTl *t, TsRegion *r, const TsNode *n, TsDtype elem, const TsIdx *idx, TsVal anchor)
{
	TsRNode q;
	memset(&q, 0, sizeof q);
	q.kind = TS_R_OP;
	q.op = n->op;
	q.node = n;
	q.elem = elem;
	q.narg = n->nin;
	const TsType *to = &ts_val(t->g, n->out[0])->type;
	for (uint32_t i = 0; i < n->nin; i++) {
		TsIdx in[TS_MAX_RANK];
		if (!n->in[i]) continue;
		broadcast_idx(t, &ts_val(t->g, n->in[i])->type, to, idx, in);
		q.arg[i] = ts_region_value(t, r, n->in[i], in, anchor);
	}
	return add(t, r, q);
}

static uint32_t affine_leaf(TsTl *t, TsRegion *r, TsDtype elem, TsDim offset, const TsDim *stride, uint32_t rank, const TsIdx *idx)
{
	TsRNode q;
	memset(&q, 0, sizeof q);
	q.kind = TS_R_AFFINE;
	q.elem = elem;
	affine(t, r, offset, stride, rank, idx, &q);
	return add(t, r, q);
}

static uint32_t const_leaf(TsTl *t, TsRegion *r, TsDtype elem, double v, int64_t i)
{
	TsRNode q;
	memset(&q, 0, sizeof q);
	q.kind = TS_R_CONST;
	q.elem = elem;
	q.value = v;
	q.ivalue = i;
	return add(t, r, q);
}

static uint32_t binary(TsTl *t, TsRegion *r, TsOp op, TsDtype elem, uint32_t a, uint32_t b, uint32_t c)
{
	TsRNode q;
	memset(&q, 0, sizeof q);
	q.kind = TS_R_OP;
	q.op = op;
	q.elem = elem;
	q.narg = c ? 3 : 2;
	q.arg[0] = a;
	q.arg[1] = b;
	q.arg[2] = c;
	return add(t, r, q);
}

/* table[..., ids[...], ...]: `axis` of the table is replaced by the axes of ids. */
static uint32_t gather_node(TsTl *t, TsRegion *r, const TsNode *n, TsVal table, TsVal ids, uint32_t axis, const TsIdx *idx, TsVal anchor)
{
	const TsType *tt = &ts_val(t->g, table)->type, *it = &ts_val(t->g, ids)->type;
	TsReal real = ts_materialise(t, table);
	TsRNode q;
	memset(&q, 0, sizeof q);
	q.kind = TS_R_GATHER;
	q.op = n->op;
	q.elem = tt->elem;
	q.buf = real.buf;
	TsIdx in[TS_MAX_RANK];
	memset(in, 0, sizeof in);
	for (uint32_t i = 0; i < tt->rank; i++) {
		if (i < axis) in[i] = idx[i];
		else if (i > axis) in[i] = idx[i + it->rank - 1];
	}
	affine(t, r, real.offset, real.stride, tt->rank, in, &q);
	q.index_stride = real.stride[axis];
	q.index_size = tt->dim[axis];
	q.narg = 1;
	q.arg[0] = ts_region_value(t, r, ids, idx + axis, anchor);
	return add(t, r, q);
}

static uint32_t one_hot_node(TsTl *t, TsRegion *r, const TsNode *n, const TsIdx *idx, TsVal anchor)
{
	const TsType *it = &ts_val(t->g, n->in[0])->type, *ot = &ts_val(t->g, n->out[0])->type;
	TsDim one = ts_dim_const(t->d, 1);
	uint32_t ids = ts_region_value(t, r, n->in[0], idx, anchor);
	uint32_t at = affine_leaf(t, r, it->elem, 0, &one, 1, &idx[it->rank]);
	uint32_t eq = binary(t, r, TS_OP_eq, TS_BOOL, ids, at, 0);
	return binary(t, r, TS_OP_where, ot->elem, eq, const_leaf(t, r, ot->elem, 1, 1), const_leaf(t, r, ot->elem, 0, 0));
}

static uint32_t random_node(TsTl *t, TsRegion *r, const TsNode *n, const TsIdx *idx)
{
	const TsType *ty = &ts_val(t->g, n->out[0])->type;
	TsDim stride[TS_MAX_RANK];
	TsReal key = ts_materialise(t, n->in[0]);
	TsIdx at;
	TsRNode q;
	memset(&q, 0, sizeof q);
	q.kind = TS_R_OP;
	q.op = n->op;
	q.node = n;
	q.elem = ty->elem;
	q.narg = 3;
	for (int i = 0; i < 2; i++) {
		memset(&at, 0, sizeof at);
		at.off = ts_dim_const(t->d, i);
		q.arg[i] = ts_region_leaf(t, r, &key, &ts_val(t->g, n->in[0])->type, &at);
	}
	ts_compact_strides(t, ty, stride);
	q.arg[2] = affine_leaf(t, r, TS_INT64, 0, stride, ty->rank, idx);
	q.offset = ts_dim_add(t->d, ts_dim_const(t->d, ts_attr(t->m, n, "stream")->i), ts_dim_mul(t->d, t->turn, ts_dim_const(t->d, 65536)));
	return add(t, r, q);
}

/* Index maps of views over values that are not bytes yet. False: the operand must become bytes first. */
static bool view_idx(TsTl *t, const TsNode *n, uint32_t result, const TsIdx *idx, TsIdx *in)
{
	const TsType *from = &ts_val(t->g, n->in[0])->type, *to = &ts_val(t->g, n->out[result])->type;
	memset(in, 0, TS_MAX_RANK * sizeof *in);
	switch (n->op) {
	case TS_OP_transpose: {
		const TsAttr *p = ts_attr(t->m, n, "perm");
		for (uint32_t i = 0; i < to->rank; i++) in[p->ints[i]] = idx[i];
		return true;
	}
	case TS_OP_broadcast:
		broadcast_idx(t, from, to, idx, in);
		return true;
	case TS_OP_slice: {
		const TsAttr *start = ts_attr(t->m, n, "start"), *step = ts_attr(t->m, n, "step");
		for (uint32_t i = 0; i < from->rank; i++) {
			in[i] = idx[i];
			if (!step->none) {
				TsDim by = ts_dim_const(t->d, step->ints[i]);
				in[i].off = ts_dim_mul(t->d, in[i].off, by);
				for (int k = 0; k < TS_MAX_ITER; k++) in[i].coef[k] = ts_dim_mul(t->d, in[i].coef[k], by);
			}
			in[i].off = ts_dim_add(t->d, in[i].off, start->dims[i]);
		}
		return true;
	}
	case TS_OP_reshape: { /* only axes of size 1 come or go */
		uint32_t i = 0, j = 0;
		while (i < from->rank || j < to->rank) {
			if (i < from->rank && j < to->rank && from->dim[i] == to->dim[j]) { in[i++] = idx[j++]; continue; }
			if (i < from->rank && ts_is_one(t, from->dim[i])) { i++; continue; }
			if (j < to->rank && ts_is_one(t, to->dim[j])) { j++; continue; }
			return false;
		}
		return true;
	}
	default:
		return false;
	}
}

static uint32_t inline_value(TsTl *t, TsRegion *r, TsVal v, const TsIdx *idx, TsVal anchor)
{
	const TsValue *val = ts_val(t->g, v);
	const TsNode *n = val->def;
	TsIdx in[TS_MAX_RANK];
	switch (n->op) {
	case TS_OP_const:
		return const_leaf(t, r, val->type.elem, ts_dtype_is_float(val->type.elem) ? ts_elem_get(val->type.elem, n->data, 0) : 0,
			ts_dtype_is_float(val->type.elem) ? 0 : ts_elem_get_int(val->type.elem, n->data, 0));
	case TS_OP_dim:
		return affine_leaf(t, r, TS_INT64, n->dim, NULL, 0, NULL);
	case TS_OP_iota: {
		TsDim one = ts_dim_const(t->d, 1);
		return affine_leaf(t, r, val->type.elem, 0, &one, 1, idx);
	}
	case TS_OP_one_hot:
		return one_hot_node(t, r, n, idx, anchor);
	case TS_OP_embedding:
		return gather_node(t, r, n, n->in[0], n->in[1], 0, idx, anchor);
	case TS_OP_gather:
		return gather_node(t, r, n, n->in[0], n->in[1], (uint32_t)ts_attr(t->m, n, "axis")->i, idx, anchor);
	default:
		break;
	}
	TsOpClass cls = ts_op_info(t->cx, n->op)->cls;
	if (cls == TS_CLS_RANDOM) return random_node(t, r, n, idx);
	if (cls == TS_CLS_POINTWISE) return op_node(t, r, n, val->type.elem, idx, anchor);
	if (cls == TS_CLS_VIEW && view_idx(t, n, val->index, idx, in)) return ts_region_value(t, r, n->in[0], in, anchor);
	return 0;
}

uint32_t ts_region_value(TsTl *t, TsRegion *r, TsVal v, const TsIdx *idx, TsVal anchor)
{
	const TsType *ty = &ts_val(t->g, v)->type;
	if (v == anchor) {
		TsRNode n;
		memset(&n, 0, sizeof n);
		n.kind = TS_R_ANCHOR;
		n.elem = ty->elem;
		r->anchored = true;
		ts_push(t->a, &r->vals, v);
		return add(t, r, n);
	}
	if (t->real[v].how == TS_REAL_INLINE) {
		uint32_t id = inline_value(t, r, v, idx, anchor);
		if (id) {
			ts_push(t->a, &r->vals, v);
			return id;
		}
	}
	TsReal real = ts_materialise(t, v);
	return ts_region_leaf(t, r, &real, ty, idx);
}

static bool merges(TsTl *t, const TsRegion *r, uint32_t i)
{
	for (uint32_t k = 1; k < r->nodes.n; k++) {
		const TsRNode *n = &r->nodes.p[k];
		if (n->kind != TS_R_LOAD && n->kind != TS_R_AFFINE && n->kind != TS_R_GATHER) continue;
		if (n->coef[i] != ts_dim_mul(t->d, n->coef[i + 1], r->size[i + 1])) return false;
	}
	return true;
}

uint32_t ts_region_merge(TsTl *t, TsRegion *r, uint32_t split)
{
	for (uint32_t i = 0; i < r->niter;) {
		bool unit = ts_is_one(t, r->size[i]) && r->niter > 1 && !(i < split && split == 1) && !(i >= split && r->niter - split == 1);
		bool pair = i + 1 < r->niter && i + 1 != split && merges(t, r, i);
		if (!unit && !pair) { i++; continue; }
		if (!unit) r->size[i + 1] = ts_dim_mul(t->d, r->size[i], r->size[i + 1]);
		for (uint32_t j = i; j + 1 < r->niter; j++) r->size[j] = r->size[j + 1];
		for (uint32_t k = 1; k < r->nodes.n; k++) {
			TsDim *c = r->nodes.p[k].coef;
			memmove(c + i, c + i + 1, (TS_MAX_ITER - 1 - i) * sizeof *c);
			c[TS_MAX_ITER - 1] = 0;
		}
		r->niter--;
		if (i < split) split--;
		if (i) i--;
	}
	return split;
}

enum { BITS_OF_HALF = 16 /* four more than f16 keeps */, EXACT = 255 };

/* May operand i of this operator be off by as much as its result? */
static bool passes(TsOp op, uint32_t i)
{
	if (op == TS_OP_where) return i > 0;
	return op == TS_OP_mul || op == TS_OP_div || op == TS_OP_neg || op == TS_OP_abs || op == TS_OP_relu || op == TS_OP_cast;
}

static bool is_half(TsDtype t) { return ts_dtype_bits(t) == 16 && ts_dtype_is_float(t); }

void ts_region_bits(TsTl *t, TsRegion *r, uint32_t root, TsDtype to)
{
	int *need = TS_NEW_N(t->a, int, r->nodes.n);
	need[root] = is_half(to) ? BITS_OF_HALF : EXACT;
	for (uint32_t id = r->nodes.n; id-- > 1;) { /* operands come before what they are operands of */
		TsRNode *n = &r->nodes.p[id];
		if (!need[id]) continue;
		n->bits = need[id] == BITS_OF_HALF || is_half(n->elem) ? BITS_OF_HALF : 0; /* a value declared in 16 bits may be rounded to them, whatever takes it */
		bool rounds = n->kind == TS_R_OP && n->op == TS_OP_cast && is_half(n->elem);
		for (uint32_t i = 0; i < n->narg; i++) {
			int want = rounds ? BITS_OF_HALF : n->kind == TS_R_OP && n->node && passes(n->op, i) && ts_dtype_is_float(n->elem) ? need[id] : EXACT;
			if (want > need[n->arg[i]]) need[n->arg[i]] = want;
		}
	}
}
