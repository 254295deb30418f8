#include "ir/infer.h"

static bool reduce_to(TsInfer *in, TsDtype elem)
{
	const TsType *x = ti_type(in, 0);
	uint32_t mask;
	if (!ti_accepts(in, 0, in->op->types) || !ti_axes(in, "axis", x->rank, &mask)) return false;
	bool keep = ti_attr(in, "keepdims")->i;
	TsType *r = ti_result(in, 0);
	*r = (TsType){ .elem = elem, .accum = elem == x->elem ? x->accum : TS_DTYPE_NONE };
	for (int k = 0; k < x->rank; k++) {
		bool gone = mask >> k & 1;
		if (!gone || keep) r->dim[r->rank++] = gone ? ti_const(in, 1) : x->dim[k];
	}
	return true;
}

bool infer_reduce(TsInfer *in) { return reduce_to(in, ti_type(in, 0)->elem); }
bool infer_argmax(TsInfer *in) { return reduce_to(in, TS_INT64); }

/* softmax: a result like its operand. */
bool infer_rowwise(TsInfer *in)
{
	uint32_t mask;
	if (!ti_accepts(in, 0, in->op->types) || !ti_axes(in, "axis", ti_type(in, 0)->rank, &mask)) return false;
	*ti_result(in, 0) = *ti_type(in, 0);
	return true;
}

/* layer_norm, rms_norm: gamma and beta are vectors as long as the last axis. */
bool infer_norm(TsInfer *in)
{
	if (!ti_one_type(in, 0, in->n->nin, in->op->types) || !ti_rank_at_least(in, 0, 1)) return false;
	const TsType *x = ti_type(in, 0);
	for (uint32_t i = 1; i < in->n->nin; i++) {
		if (!ti_has(in, i)) continue;
		if (ti_type(in, i)->rank != 1) return ti_error(in, "E_RANK", "%s: %s has one axis, found %s", in->op->name, ti_name(in, i), ti_type_text(in, i));
		const char *what = ts_printf(in->m->arena, "%s: the last axis of %s and the length of %s", in->op->name, ti_name(in, 0), ti_name(in, i));
		if (!ti_equal(in, x->dim[x->rank - 1], ti_type(in, i)->dim[0], "E_SHAPE_MISMATCH", what)) return false;
	}
	if (!(ti_attr(in, "eps")->f >= 0)) return ti_error(in, "E_ATTR", "%s: eps is at least 0", in->op->name);
	*ti_result(in, 0) = *x;
	return true;
}
