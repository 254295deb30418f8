/* What kernels of the user's have: the call, and online softmax on one tile. */
#include "ir/infer.h"

bool infer_kernel(TsInfer *in)
{
	const TsUserKernel *k = in->n->kernel;
	if (!k || in->n->nin != k->graph->params.n || in->n->nout != k->results.n) return ti_error(in, "E_ARITY", "a call of a kernel that does not fit it");
	for (uint32_t i = 0; i < in->n->nin; i++)
		if (!ts_type_eq(ti_type(in, i), &ts_val(k->graph, k->graph->params.p[i])->type)) return ti_error(in, "E_TYPE_MISMATCH", "%s is not what the kernel was read for", ti_name(in, i));
	for (uint32_t i = 0; i < in->n->nout; i++) *ti_result(in, i) = k->results.p[i];
	return true;
}

/* s[R, C], m[R], l[R] -> m'[R], l'[R], p[R, C] */
bool infer_online(TsInfer *in)
{
	const TsType *s = ti_type(in, 0);
	if (!ti_one_type(in, 0, 3, TS_T_FLOAT)) return false;
	if (s->rank != 2) return ti_error(in, "E_RANK", "online_softmax takes scores of two axes, found %s", ti_type_text(in, 0));
	for (uint32_t i = 1; i < 3; i++) {
		const TsType *x = ti_type(in, i);
		if (x->rank != 1) return ti_error(in, "E_RANK", "online_softmax: %s has one element for each row, found %s", i == 1 ? "m" : "l", ti_type_text(in, i));
		if (!ti_equal(in, s->dim[0], x->dim[0], "E_SHAPE_MISMATCH", i == 1 ? "online_softmax: rows of the scores and of m" : "online_softmax: rows of the scores and of l")) return false;
		*ti_result(in, i - 1) = *x;
	}
	*ti_result(in, 2) = *s;
	return true;
}
