#include "middle/tiler/tiler.h"
#include <string.h>

void ts_compact_strides(TsTl *t, const TsType *ty, TsDim *stride)
{
	TsDim s = ts_dim_const(t->d, 1);
	for (int i = ty->rank - 1; i >= 0; i--) {
		stride[i] = s;
		s = ts_dim_mul(t->d, s, ty->dim[i]);
	}
}

/* New strides for the same bytes read as `to`. Walks both shapes from the left in groups of equal element count; inside a group the old
 * axes must lie one behind the other (stride[i] = stride[i + 1] * size[i + 1]). False: only a copy will do. */
static bool reshape_strides(TsTl *t, const TsType *from, const TsDim *stride, const TsType *to, TsDim *out)
{
	uint32_t i = 0, j = 0;
	TsDims *d = t->d;
	while (i < from->rank || j < to->rank) {
		uint32_t i0 = i, j0 = j;
		TsDim a = i < from->rank ? from->dim[i++] : ts_dim_const(d, 1), b = j < to->rank ? to->dim[j++] : ts_dim_const(d, 1);
		while (a != b) { /* extend the group until both sides count the same; the shorter side takes another axis */
			if (i < from->rank && (j == to->rank || ts_dim_le(d, a, b) == TS_YES)) a = ts_dim_mul(d, a, from->dim[i++]);
			else if (j < to->rank) b = ts_dim_mul(d, b, to->dim[j++]);
			else if (i < from->rank) a = ts_dim_mul(d, a, from->dim[i++]);
			else return false;
		}
		uint32_t last = i;
		while (last > i0 && ts_is_one(t, from->dim[last - 1])) last--;
		TsDim step = last > i0 ? stride[last - 1] : ts_dim_const(d, 1), run = step;
		for (uint32_t k = last; k > i0; k--) {
			if (ts_is_one(t, from->dim[k - 1])) continue;
			if (stride[k - 1] != run) return false;
			run = ts_dim_mul(d, run, from->dim[k - 1]);
		}
		for (uint32_t k = j; k > j0; k--) {
			out[k - 1] = step;
			step = ts_dim_mul(d, step, to->dim[k - 1]);
		}
	}
	return true;
}

bool ts_view_of(TsTl *t, const TsNode *n, TsReal *out)
{
	const TsReal *src = &t->real[n->in[0]];
	const TsType *from = &ts_val(t->g, n->in[0])->type, *to = &ts_val(t->g, n->out[0])->type;
	if (src->how != TS_REAL_VIEW) return false;
	*out = *src;
	switch (n->op) {
	case TS_OP_reshape:
		return reshape_strides(t, from, src->stride, to, out->stride);
	case TS_OP_transpose: {
		const TsAttr *p = ts_attr(t->m, n, "perm");
		for (uint32_t i = 0; i < to->rank; i++) out->stride[i] = src->stride[p->ints[i]];
		return true;
	}
	case TS_OP_broadcast:
		for (uint32_t i = 0; i < to->rank; i++) {
			int j = (int)i - (int)(to->rank - from->rank);
			bool stretch = j < 0 || (ts_is_one(t, from->dim[j]) && !ts_is_one(t, to->dim[i]));
			out->stride[i] = stretch ? ts_dim_const(t->d, 0) : src->stride[j];
		}
		return true;
	case TS_OP_slice: {
		const TsAttr *start = ts_attr(t->m, n, "start"), *step = ts_attr(t->m, n, "step");
		for (uint32_t i = 0; i < from->rank; i++) {
			out->offset = ts_dim_add(t->d, out->offset, ts_dim_mul(t->d, start->dims[i], src->stride[i]));
			if (!step->none) out->stride[i] = ts_dim_mul(t->d, src->stride[i], ts_dim_const(t->d, step->ints[i]));
		}
		return true;
	}
	case TS_OP_split:
		return true; /* the caller adds the part's offset */
	default:
		return false;
	}
}
