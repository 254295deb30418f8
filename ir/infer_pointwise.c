#include "ir/infer.h"

static bool result(TsInfer *in, TsDtype t)
{
	TsType *out = ti_result(in, 0);
	TsDtype accum = ti_type(in, in->n->nin - 1)->accum;
	*out = (TsType){ .elem = t, .accum = t == ti_type(in, in->n->nin - 1)->elem ? accum : TS_DTYPE_NONE };
	return ti_broadcast_all(in, out);
}

/* One element type in and out. */
bool infer_same(TsInfer *in)
{
	return ti_one_type(in, 0, in->n->nin, in->op->types) && result(in, ti_type(in, 0)->elem);
}

bool infer_compare(TsInfer *in)
{
	return ti_one_type(in, 0, 2, in->op->types) && result(in, TS_BOOL);
}

bool infer_where(TsInfer *in)
{
	return ti_accepts(in, 0, TS_T_BOOL) && ti_one_type(in, 1, 3, in->op->types) && result(in, ti_type(in, 1)->elem);
}

bool infer_cast(TsInfer *in)
{
	TsDtype to = ti_attr(in, "dtype")->t, from = ti_type(in, 0)->elem;
	if (to >= TS_DTYPE_COUNT) return ti_error(in, "E_ATTR", "cast: 'dtype' must be an element type");
	bool complex_ok = from == to || (to == TS_COMPLEX64 ? ts_dtype_is_float(from) : from != TS_COMPLEX64);
	if (!complex_ok) return ti_error(in, "E_TYPE", "cast from %s to %s has no meaning (%s)", ts_dtype_name(from), ts_dtype_name(to), ti_name(in, 0));
	*ti_result(in, 0) = *ti_type(in, 0);
	ti_result(in, 0)->elem = to;
	ti_result(in, 0)->accum = TS_DTYPE_NONE;
	return true;
}
