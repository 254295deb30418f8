#include "ir/infer.h"
#include <string.h>

/* Leaves are typed when they are made. */
bool infer_leaf(TsInfer *in)
{
	const TsType *t = ti_result(in, 0);
	return t->elem < TS_DTYPE_COUNT || ti_error(in, "E_TYPE", "%s without an element type", in->op->name);
}

bool infer_dim(TsInfer *in)
{
	*ti_result(in, 0) = (TsType){ .elem = TS_INT64, .accum = TS_DTYPE_NONE };
	return in->n->dim != TS_DIM_BAD || ti_error(in, "E_SIZE", "a size is out of range");
}

static bool make(TsInfer *in, TsDtype t, uint32_t types, uint32_t rank, const TsDim *dims)
{
	if (t >= TS_DTYPE_COUNT || !(ti_type_set(t) & types)) return ti_error(in, "E_TYPE", "%s cannot make %s", in->op->name, ts_dtype_name(t));
	if (rank > TS_MAX_RANK) return ti_error(in, "E_RANK", "%s: %u axes, at most %d", in->op->name, rank, TS_MAX_RANK);
	TsType *r = ti_result(in, 0);
	*r = (TsType){ .elem = t, .accum = TS_DTYPE_NONE, .rank = (uint8_t)rank };
	if (rank) memcpy(r->dim, dims, rank * sizeof *dims);
	return true;
}

bool infer_iota(TsInfer *in)
{
	return make(in, ti_attr(in, "dtype")->t, in->op->types, 1, ti_attr(in, "n")->dims);
}

bool infer_one_hot(TsInfer *in)
{
	if (!ti_accepts(in, 0, in->op->types)) return false;
	const TsType *ids = ti_type(in, 0);
	TsDim dims[TS_MAX_RANK + 1];
	memcpy(dims, ids->dim, ids->rank * sizeof *dims);
	dims[ids->rank] = ti_attr(in, "n")->dims[0];
	return make(in, ti_attr(in, "dtype")->t, TS_T_COMPUTE, ids->rank + 1u, dims);
}

static bool check_range(TsInfer *in)
{
	if (in->n->op == TS_OP_randint) {
		int64_t lo = ti_attr(in, "low")->i, hi = ti_attr(in, "high")->i, span;
		if (__builtin_sub_overflow(hi, lo, &span) || span < 1 || span > INT64_C(1) << 31) return ti_error(in, "E_ATTR", "randint: high is low + 1 to low + 2**31, found %lld to %lld", (long long)lo, (long long)hi);
		TsDtype t = ti_attr(in, "dtype")->t;
		if (t == TS_INT32 && (lo < INT32_MIN || hi - 1 > INT32_MAX)) return ti_error(in, "E_ATTR", "randint: %lld to %lld leaves int32", (long long)lo, (long long)hi - 1);
	}
	const TsAttr *stream = ti_attr(in, "stream");
	enum { STREAMS = 1 << 16 };
	return (stream->i >= 0 && stream->i < STREAMS) || ti_error(in, "E_ATTR", "%s: stream is 0 to %d, found %lld", in->op->name, STREAMS - 1, (long long)stream->i);
}

bool infer_random(TsInfer *in)
{
	const TsType *key = ti_type(in, 0);
	int64_t two;
	if (key->elem != TS_INT64 || key->rank != 1 || !ts_dim_is_const(in->m->dims, key->dim[0], &two) || two != 2)
		return ti_error(in, "E_TYPE", "%s takes a key int64[2] (seed, step), %s is %s", in->op->name, ti_name(in, 0), ti_type_text(in, 0));
	const TsAttr *shape = ti_attr(in, "shape");
	return check_range(in) && make(in, ti_attr(in, "dtype")->t, in->n->op == TS_OP_randint ? TS_T_INT : TS_T_FLOAT, shape->n, shape->dims);
}

bool infer_fft(TsInfer *in)
{
	if (!ti_accepts(in, 0, in->op->types) || !ti_axis(in, &ti_attr(in, "axis")->i, ti_type(in, 0)->rank)) return false;
	*ti_result(in, 0) = *ti_type(in, 0);
	return true;
}
