/* Conditions and functions of views.rules. */
#include "match.h"
#include <string.h>

static bool is_one(const TsMatch *m, TsDim d) { int64_t v; return ts_dim_is_const(m->rw->m->dims, d, &v) && v == 1; }

RW_COND(identity)
{
	for (uint32_t i = 0; i < a[0].attr->n; i++)
		if (a[0].attr->ints[i] != (int64_t)i) return false;
	return true;
}

/* Axis i of the result is axis q[i] of the middle one, which is axis p[q[i]] of x. */
RW_ATTR(compose)
{
	const TsAttr *p = a[0].attr, *q = a[1].attr;
	TsAttr r = *q;
	r.ints = TS_NEW_N(m->rw->a, int64_t, q->n);
	for (uint32_t i = 0; i < q->n; i++) r.ints[i] = p->ints[q->ints[i]];
	return r;
}

/* The axes that are not 1 keep their order. */
RW_COND(moves_units)
{
	const TsType *t = ts_rw_type(m, a[0].v);
	int64_t last = -1;
	for (uint32_t i = 0; i < a[1].attr->n; i++) {
		int64_t from = a[1].attr->ints[i];
		if (is_one(m, t->dim[from])) continue;
		if (from < last) return false;
		last = from;
	}
	return true;
}

RW_ATTR(shape_of)
{
	const TsType *t = ts_rw_type(m, a[0].v);
	TsAttr s = { .kind = TS_A_DIMS, .t = TS_DTYPE_NONE, .n = t->rank };
	s.dims = ts_memdup(m->rw->a, t->dim, (t->rank ? t->rank : 1) * sizeof *t->dim);
	return s;
}

/* Only new leading axes of size 1. */
RW_COND(adds_units)
{
	const TsType *x = ts_rw_type(m, a[0].v), *y = ts_rw_type(m, a[1].v);
	for (int i = 0; i < y->rank - x->rank; i++)
		if (!is_one(m, y->dim[i])) return false;
	return !memcmp(x->dim, y->dim + y->rank - x->rank, x->rank * sizeof *x->dim);
}

/* The reshape puts back, as ones, the axes that the reduction dropped. */
RW_VALUE(with_keepdims)
{
	TsNode *r = ts_rw_def(m, a[0].v);
	TsVal x = ts_rw_in(m, r, 0);
	const TsType *t = ts_rw_type(m, x), *y = ts_rw_type(m, m->root->out[0]);
	uint32_t mask = ts_rw_axes(m, r);
	if (t->rank != y->rank) return 0;
	for (int i = 0; i < t->rank; i++)
		if (mask >> i & 1 ? !is_one(m, y->dim[i]) : y->dim[i] != t->dim[i]) return 0;
	TsAttr *at = ts_rw_attrs(m, r->op);
	*ts_rw_attr_of(m, r->op, at, "axis") = *ts_attr(m->rw->m, r, "axis");
	ts_rw_attr_of(m, r->op, at, "keepdims")->i = 1;
	return ts_rw_op(m, r->op, 1, &x, at);
}

RW_ATTR(add)
{
	TsAttr r = *a[1].attr;
	r.dims = TS_NEW_N(m->rw->a, TsDim, r.n + 1);
	for (uint32_t i = 0; i < r.n; i++) r.dims[i] = ts_dim_add(m->rw->m->dims, a[0].attr->dims[i], a[1].attr->dims[i]);
	return r;
}

/* A slice that lies in one part of the concatenation is a slice of that part. */
RW_VALUE(slice_of_concat)
{
	TsDims *d = m->rw->m->dims;
	TsNode *cat = ts_rw_def(m, ts_rw_in(m, m->root, 0));
	int64_t axis = ts_attr(m->rw->m, cat, "axis")->i;
	TsDim lo = ts_attr(m->rw->m, m->root, "start")->dims[axis], hi = ts_attr(m->rw->m, m->root, "stop")->dims[axis], at = ts_dim_const(d, 0);
	for (uint32_t i = 0; i < cat->nin; i++) {
		TsVal part = ts_rw_in(m, cat, i);
		TsDim end = ts_dim_add(d, at, ts_rw_type(m, part)->dim[axis]);
		if (end == TS_DIM_BAD) return 0;
		if (ts_dim_le(d, at, lo) == TS_YES && ts_dim_le(d, hi, end) == TS_YES) {
			TsAttr *attr = ts_rw_attrs(m, TS_OP_slice);
			memcpy(attr, m->root->attr, ts_op_info(m->rw->cx, TS_OP_slice)->nattr * sizeof *attr);
			TsAttr *start = ts_rw_attr_of(m, TS_OP_slice, attr, "start"), *stop = ts_rw_attr_of(m, TS_OP_slice, attr, "stop");
			start->dims = ts_memdup(m->rw->a, start->dims, start->n * sizeof *start->dims);
			stop->dims = ts_memdup(m->rw->a, stop->dims, stop->n * sizeof *stop->dims);
			start->dims[axis] = ts_dim_sub(d, lo, at);
			stop->dims[axis] = ts_dim_sub(d, hi, at);
			const TsAttr *step = ts_attr(m->rw->m, m->root, "step");
			if (step->none) ts_rw_attr_of(m, TS_OP_slice, attr, "step")->none = true;
			return ts_rw_op(m, TS_OP_slice, 1, &part, attr);
		}
		at = end;
	}
	return 0;
}

/* concat(split(x)) along the same axis, all parts in order. */
RW_VALUE(joined_split)
{
	TsNode *split = ts_rw_def(m, ts_rw_in(m, m->root, 0));
	if (!split || split->op != TS_OP_split || split->nout != m->root->nin) return 0;
	if (ts_attr(m->rw->m, split, "axis")->i != ts_attr(m->rw->m, m->root, "axis")->i) return 0;
	for (uint32_t i = 0; i < m->root->nin; i++)
		if (ts_rw_in(m, m->root, i) != split->out[i]) return 0;
	return ts_rw_in(m, split, 0);
}

/* Only leading axes, which matmul stretches itself. */
RW_COND(same_matrix)
{
	const TsType *b = ts_rw_type(m, a[0].v), *y = ts_rw_type(m, a[1].v);
	return y->rank >= 2 && !memcmp(b->dim + b->rank - 2, y->dim + y->rank - 2, 2 * sizeof *y->dim);
}

RW_COND(is_table)
{
	return ts_rw_type(m, a[0].v)->rank == 2 && ts_rw_type(m, a[0].v)->elem == ts_rw_type(m, m->root->out[0])->elem;
}
