/* Conditions and functions of algebra.rules. */
#include "match.h"
#include <math.h>
#include <string.h>

static TsDtype elem(const TsMatch *m, TsVal v) { return ts_rw_type(m, v)->elem; }

RW_COND(not_const) { double x; return !ts_rw_uniform(m, a[0].v, &x); }
RW_COND(integer) { return ts_dtype_is_int(elem(m, a[0].v)); }
RW_COND(same_type) { return ts_type_eq(ts_rw_type(m, a[0].v), ts_rw_type(m, a[1].v)); }
RW_COND(ordered) { return a[0].num <= a[1].num; }

/* Both c and 1/c are normal powers of two of the type, so x/c and x*(1/c) round the same number. */
RW_COND(power_of_two)
{
	int e;
	TsDtype t = elem(m, a[0].v);
	double c = fabs(a[0].num), r = 1 / c, tiny = t == TS_F16 ? 0x1p-14 : t == TS_F64 ? 0x1p-1022 : 0x1p-126;
	return ts_dtype_is_float(t) && isfinite(c) && isfinite(r) && frexp(c, &e) == 0.5 && c >= tiny && r >= tiny && ts_dtype_round(t, r) == r;
}

RW_NUMBER(reciprocal) { return 1 / a[0].num; }

/* x is of integers; the literals and their sum are exact as doubles and in the type. */
RW_COND(small_int) { return ts_dtype_is_int(elem(m, a[0].v)) && fabs(a[1].num) < 1 << 24 && fabs(a[2].num) < 1 << 24; }
RW_NUMBER(sum) { return a[0].num + a[1].num; }
RW_NUMBER(minus) { return -a[0].num; }
RW_NUMBER(product) { return a[0].num * a[1].num; }

RW_COND(literals_meet)
{
	TsDtype t = elem(m, a[0].v);
	double p = ts_dtype_is_float(t) ? ts_dtype_round(t, a[1].num * a[2].num) : a[1].num * a[2].num;
	return isfinite(p) && p != 0 && (ts_dtype_is_float(t) || fabs(p) < 1 << 24);
}

RW_VALUE(zeros)
{
	const TsType *t = ts_rw_type(m, m->root->out[0]);
	TsDim dim[TS_MAX_RANK];
	uint32_t rank = t->rank;
	memcpy(dim, t->dim, sizeof dim);
	TsVal z = ts_rw_scalar(m, t->elem, 0);
	if (!rank) return z;
	TsAttr *at = ts_rw_attrs(m, TS_OP_broadcast), *s = ts_rw_attr_of(m, TS_OP_broadcast, at, "shape");
	s->n = rank;
	s->dims = dim;
	return ts_rw_op(m, TS_OP_broadcast, 1, &z, at);
}

/* ---- conversion ---------------------------------------------------------------------------------------------------------------- */
/* Bits of precision, smallest and largest exponent. */
typedef struct { int bits, min, max; } FloatShape;
static bool float_shape(TsDtype t, FloatShape *s)
{
	switch ((int)t) {
	case TS_F64: *s = (FloatShape){ 53, -1022, 1023 }; return true;
	case TS_F32: *s = (FloatShape){ 24, -126, 127 }; return true;
	case TS_F16: *s = (FloatShape){ 11, -14, 15 }; return true;
	case TS_BF16: *s = (FloatShape){ 8, -126, 127 }; return true;
	default: return false;
	}
}

/* Every value of element type x has its own, equal value in y. */
static bool contains(TsDtype y, TsDtype x)
{
	FloatShape fx, fy;
	if (x == y) return true;
	if (x == TS_BOOL) return ts_dtype_is_int(y) || float_shape(y, &fy);
	if (float_shape(x, &fx)) return float_shape(y, &fy) && fy.bits >= fx.bits && fy.min <= fx.min && fy.max >= fx.max;
	if (x == TS_INT32) return y == TS_INT64 || y == TS_F64;
	return false;
}

RW_COND(keeps_value) { return contains(elem(m, a[1].v), elem(m, a[0].v)); }

/* ---- reductions ------------------------------------------------------------------------------------------------------------------ */
/* r(r(x, inner), outer) = r(x, inner | outer), the outer axes counted in x's. */
RW_VALUE(merge_reductions)
{
	TsNode *outer = m->root, *inner = ts_rw_def(m, ts_rw_in(m, outer, 0));
	bool keep = ts_rw_keepdims(m, outer);
	if (keep != ts_rw_keepdims(m, inner)) return 0;
	TsVal x = ts_rw_in(m, inner, 0);
	uint32_t in = ts_rw_axes(m, inner), out = ts_rw_axes(m, outer), mask = in;
	int rank = ts_rw_type(m, x)->rank;
	for (int axis = 0, k = 0; axis < rank; axis++) {
		if (!keep && in >> axis & 1) continue;
		if (out >> k++ & 1) mask |= 1u << axis;
	}
	TsAttr *at = ts_rw_attrs(m, outer->op), *axes = ts_rw_attr_of(m, outer->op, at, "axis");
	axes->n = 0;
	axes->ints = TS_NEW_N(m->rw->a, int64_t, TS_MAX_RANK);
	for (int axis = 0; axis < rank; axis++)
		if (mask >> axis & 1) axes->ints[axes->n++] = axis;
	ts_rw_attr_of(m, outer->op, at, "keepdims")->i = keep;
	return ts_rw_op(m, outer->op, 1, &x, at);
}

/* ---- contraction ----------------------------------------------------------------------------------------------------------------- */
/* Multiplications of a[i, k] b[k, l] c[l, j]: left first i*k*l + i*l*j, right first k*l*j + i*k*j. Known sizes and one type only. */
static bool cheaper(TsMatch *m, const TsArg *s, bool right)
{
	const TsType *t[3];
	double n[3][2];
	for (int i = 0; i < 3; i++) {
		t[i] = ts_rw_type(m, s[i].v);
		if (t[i]->rank != 2 || t[i]->elem != t[0]->elem) return false;
		for (int k = 0; k < 2; k++) {
			int64_t v;
			if (!ts_dim_is_const(m->rw->m->dims, t[i]->dim[k], &v)) return false;
			n[i][k] = (double)v;
		}
	}
	double left_first = n[0][0] * n[0][1] * n[1][1] + n[0][0] * n[1][1] * n[2][1], right_first = n[1][0] * n[1][1] * n[2][1] + n[0][0] * n[0][1] * n[2][1];
	return right ? right_first < left_first : left_first < right_first;
}

RW_COND(cheaper_right) { return cheaper(m, a, true) && ts_rw_once(m, ts_rw_in(m, m->root, 0)); }
RW_COND(cheaper_left) { return cheaper(m, a, false) && ts_rw_once(m, ts_rw_in(m, m->root, 1)); }
