#include "ir/infer.h"
#include <string.h>

static bool too_long(TsInfer *in, const char *attr, uint32_t n)
{
	return ti_error(in, "E_RANK", "%s: '%s' has %u entries, at most %d axes", in->op->name, attr, n, TS_MAX_RANK);
}

static bool is_minus_one(TsInfer *in, TsDim d)
{
	int64_t v;
	return ts_dim_is_const(in->m->dims, d, &v) && v == -1;
}

/* The size that stands for -1: what is left of the count. */
static bool fill_wildcard(TsInfer *in, TsAttr *shape, TsDim count)
{
	TsDims *d = in->m->dims;
	int64_t zero;
	TsDim rest = ti_const(in, 1);
	int hole = -1;
	for (uint32_t i = 0; i < shape->n; i++) {
		if (!is_minus_one(in, shape->dims[i])) rest = ts_dim_mul(d, rest, shape->dims[i]);
		else if (hole >= 0) return ti_error(in, "E_ATTR", "reshape: only one size may be -1");
		else hole = (int)i;
	}
	if (hole < 0) return true;
	if (rest == TS_DIM_BAD || (ts_dim_is_const(d, rest, &zero) && !zero)) return ti_error(in, "E_ELEMENT_COUNT", "reshape: the other sizes give %s, which leaves no size for -1", ti_dim_text(in, rest));
	shape->dims[hole] = ts_dim_floordiv(d, count, rest);
	return true;
}

bool infer_reshape(TsInfer *in)
{
	const TsType *x = ti_type(in, 0);
	TsAttr *shape = ti_attr(in, "shape");
	if (shape->n > TS_MAX_RANK) return too_long(in, "shape", shape->n);
	TsDim have = ts_type_count(in->m, x);
	if (!fill_wildcard(in, shape, have)) return false;
	TsType *r = ti_result(in, 0);
	*r = (TsType){ .elem = x->elem, .accum = x->accum, .rank = (uint8_t)shape->n };
	memcpy(r->dim, shape->dims, shape->n * sizeof *shape->dims);
	TsDim want = ts_type_count(in->m, r);
	if (want != TS_DIM_BAD && ts_dim_eq(in->m->dims, have, want) == TS_NO) {
		ti_error(in, "E_ELEMENT_COUNT", "reshape keeps the element count: %s has %s, the new shape %s", ti_name(in, 0), ti_dim_text(in, have), ti_dim_text(in, want));
		ti_note_operands(in);
		return false;
	}
	return ti_equal(in, have, want, "E_ELEMENT_COUNT", ts_printf(in->m->arena, "reshape keeps the element count: %s and the new shape", ti_name(in, 0)));
}

bool infer_transpose(TsInfer *in)
{
	const TsType *x = ti_type(in, 0);
	TsAttr *perm = ti_attr(in, "perm");
	if (perm->none) {
		if (!ti_rank_at_least(in, 0, 2)) return false;
		*perm = (TsAttr){ .kind = TS_A_INTS, .t = TS_DTYPE_NONE, .n = x->rank, .ints = TS_NEW_N(in->m->arena, int64_t, x->rank) };
		for (int k = 0; k < x->rank; k++) perm->ints[k] = k < x->rank - 2 ? k : 2 * x->rank - 3 - k;
	}
	if (perm->n != x->rank) return ti_error(in, "E_AXIS", "transpose: perm has %u entries, %s is %s", perm->n, ti_name(in, 0), ti_type_text(in, 0));
	TsType *r = ti_result(in, 0);
	*r = *x;
	uint32_t seen = 0;
	for (uint32_t k = 0; k < perm->n; k++) {
		if (!ti_axis(in, &perm->ints[k], x->rank)) return false;
		if (seen >> perm->ints[k] & 1) return ti_error(in, "E_AXIS", "transpose: axis %lld is named twice", (long long)perm->ints[k]);
		seen |= 1u << perm->ints[k];
		r->dim[k] = x->dim[perm->ints[k]];
	}
	return true;
}

bool infer_broadcast(TsInfer *in)
{
	const TsType *x = ti_type(in, 0);
	TsAttr *shape = ti_attr(in, "shape");
	if (shape->n > TS_MAX_RANK) return too_long(in, "shape", shape->n);
	if (shape->n < x->rank) return ti_error(in, "E_BROADCAST", "broadcast: %s is %s, the new shape has only %u axes", ti_name(in, 0), ti_type_text(in, 0), shape->n);
	TsType *r = ti_result(in, 0);
	*r = (TsType){ .elem = x->elem, .accum = x->accum, .rank = (uint8_t)shape->n };
	memcpy(r->dim, shape->dims, shape->n * sizeof *shape->dims);
	for (int k = 0; k < x->rank; k++) {
		int64_t v;
		int to = r->rank - x->rank + k;
		if (ts_dim_is_const(in->m->dims, x->dim[k], &v) && v == 1) continue;
		if (!ti_equal(in, x->dim[k], r->dim[to], "E_BROADCAST", ts_printf(in->m->arena, "broadcast: %s axis %d and axis %d of the new shape", ti_name(in, 0), k, to))) return false;
	}
	return true;
}

/* A literal below 0 counts from the end of an axis of size n. */
static void from_end(TsInfer *in, TsDim *d, TsDim n)
{
	int64_t v;
	if (ts_dim_is_const(in->m->dims, *d, &v) && v < 0) *d = ts_dim_add(in->m->dims, n, *d);
}

static bool slice_axis(TsInfer *in, int k, TsDim *lo, TsDim *hi, int64_t step, TsDim *size)
{
	TsDims *d = in->m->dims;
	TsDim n = ti_type(in, 0)->dim[k];
	const char *x = ti_name(in, 0);
	if (step < 1) return ti_error(in, "E_ATTR", "slice: the step of axis %d is at least 1, found %lld", k, (long long)step);
	from_end(in, lo, n);
	from_end(in, hi, n);
	if (!ti_at_most(in, ti_const(in, 0), *lo, "E_RANGE", ts_printf(in->m->arena, "slice: start on axis %d of %s", k, x))) return false;
	if (!ti_at_most(in, *lo, *hi, "E_RANGE", ts_printf(in->m->arena, "slice: start and stop on axis %d of %s", k, x))) return false;
	if (!ti_at_most(in, *hi, n, "E_RANGE", ts_printf(in->m->arena, "slice: stop and the size of axis %d of %s", k, x))) return false;
	*size = ts_dim_sub(d, *hi, *lo);
	if (step > 1) *size = ts_dim_cdiv(d, *size, ti_const(in, step));
	return true;
}

bool infer_slice(TsInfer *in)
{
	const TsType *x = ti_type(in, 0);
	TsAttr *start = ti_attr(in, "start"), *stop = ti_attr(in, "stop"), *step = ti_attr(in, "step");
	if (start->n != x->rank || stop->n != x->rank || (!step->none && step->n != x->rank)) {
		ti_error(in, "E_ATTR", "slice: start, stop and step have one entry for each axis of %s", ti_name(in, 0));
		ti_note_operands(in);
		return false;
	}
	TsType *r = ti_result(in, 0);
	*r = *x;
	bool unit = true;
	for (int k = 0; k < x->rank; k++) {
		int64_t by = step->none ? 1 : step->ints[k];
		unit &= by == 1;
		if (!slice_axis(in, k, &start->dims[k], &stop->dims[k], by, &r->dim[k])) return false;
	}
	if (unit) *step = (TsAttr){ .kind = TS_A_INTS, .t = TS_DTYPE_NONE, .none = true };
	return true;
}

bool infer_split(TsInfer *in)
{
	const TsType *x = ti_type(in, 0);
	int64_t n = ti_attr(in, "n")->i;
	TsAttr *axis = ti_attr(in, "axis");
	if (n < 1 || n != in->n->nout) return ti_error(in, "E_ATTR", "split: n is 1 to 4096, found %lld", (long long)n);
	if (!ti_axis(in, &axis->i, x->rank)) return false;
	TsDim whole = x->dim[axis->i];
	if (!ti_multiple(in, whole, n, "E_SHAPE_MISMATCH", ts_printf(in->m->arena, "split: axis %lld of %s", (long long)axis->i, ti_name(in, 0)))) return false;
	for (uint32_t i = 0; i < in->n->nout; i++) {
		*ti_result(in, i) = *x;
		ti_result(in, i)->dim[axis->i] = ts_dim_floordiv(in->m->dims, whole, ti_const(in, n));
	}
	return true;
}

bool infer_concat(TsInfer *in)
{
	if (!in->n->nin) return ti_error(in, "E_ARITY", "concat takes at least one operand");
	if (!ti_one_type(in, 0, in->n->nin, in->op->types)) return false;
	const TsType *x = ti_type(in, 0);
	TsAttr *axis = ti_attr(in, "axis");
	if (!ti_axis(in, &axis->i, x->rank)) return false;
	TsType *r = ti_result(in, 0);
	*r = *x;
	for (uint32_t i = 1; i < in->n->nin; i++) {
		const TsType *t = ti_type(in, i);
		if (t->rank != x->rank) return ti_error(in, "E_RANK", "concat takes equal ranks: %s is %s, %s is %s", ti_name(in, 0), ti_type_text(in, 0), ti_name(in, i), ti_type_text(in, i));
		for (int k = 0; k < x->rank; k++) {
			if (k == axis->i) r->dim[k] = ts_dim_add(in->m->dims, r->dim[k], t->dim[k]);
			else if (!ti_equal(in, x->dim[k], t->dim[k], "E_SHAPE_MISMATCH", ts_printf(in->m->arena, "concat: axis %d of %s and %s", k, ti_name(in, 0), ti_name(in, i)))) return false;
		}
	}
	return true;
}

bool infer_pad(TsInfer *in)
{
	const TsType *x = ti_type(in, 0);
	const TsAttr *before = ti_attr(in, "before"), *after = ti_attr(in, "after"), *value = ti_attr(in, "value");
	if (before->n != x->rank || after->n != x->rank) return ti_error(in, "E_ATTR", "pad: before and after have one entry for each axis, %s is %s", ti_name(in, 0), ti_type_text(in, 0));
	if (!ts_dtype_is_float(x->elem) && x->elem != TS_COMPLEX64 && ts_dtype_round(x->elem, value->f) != value->f)
		return ti_error(in, "E_ATTR", "pad: %g is no %s (%s is %s)", value->f, ts_dtype_name(x->elem), ti_name(in, 0), ti_type_text(in, 0));
	TsType *r = ti_result(in, 0);
	*r = *x;
	for (int k = 0; k < x->rank; k++) {
		const TsDim each[] = { before->dims[k], after->dims[k] };
		for (int j = 0; j < 2; j++) {
			if (!ti_at_most(in, ti_const(in, 0), each[j], "E_RANGE", ts_printf(in->m->arena, "pad: axis %d of %s", k, ti_name(in, 0)))) return false;
			r->dim[k] = ts_dim_add(in->m->dims, r->dim[k], each[j]);
		}
	}
	return true;
}

/* x without `axis`, idx's axes in its place. */
static bool gather_along(TsInfer *in, int64_t axis)
{
	const TsType *x = ti_type(in, 0), *idx = ti_type(in, 1);
	if (!ti_accepts(in, 0, in->op->types) || !ti_accepts(in, 1, TS_T_INT)) return false;
	if (x->rank - 1 + idx->rank > TS_MAX_RANK) return ti_error(in, "E_RANK", "%s: the result would have %d axes, at most %d", in->op->name, x->rank - 1 + idx->rank, TS_MAX_RANK);
	TsType *r = ti_result(in, 0);
	*r = (TsType){ .elem = x->elem, .accum = x->accum };
	for (int k = 0; k < x->rank; k++) {
		if (k != axis) r->dim[r->rank++] = x->dim[k];
		else for (int j = 0; j < idx->rank; j++) r->dim[r->rank++] = idx->dim[j];
	}
	return true;
}

bool infer_gather(TsInfer *in)
{
	TsAttr *axis = ti_attr(in, "axis");
	return ti_rank_at_least(in, 0, 1) && ti_axis(in, &axis->i, ti_type(in, 0)->rank) && gather_along(in, axis->i);
}

bool infer_embedding(TsInfer *in)
{
	if (ti_type(in, 0)->rank != 2) return ti_error(in, "E_RANK", "embedding: the table has two axes, %s is %s", ti_name(in, 0), ti_type_text(in, 0));
	return gather_along(in, 0);
}
