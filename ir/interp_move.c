#include "ir/interp_int.h"
#include <string.h>

static void each_copy(TsRef *r, const int64_t *at, int64_t o) { tr_copy(r->out, o, r->in[0], at[0]); }

bool ref_reshape(TsRef *r)
{
	for (int64_t i = 0; i < r->out->n; i++) tr_copy(r->out, i, r->in[0], i);
	return true;
}

bool ref_broadcast(TsRef *r)
{
	int64_t stride[1][TS_MAX_RANK];
	tr_strides(r->in[0], r->out->rank, stride[0]);
	tr_each(r, r->out->rank, r->out->dim, 1, stride, each_copy);
	return true;
}

bool ref_transpose(TsRef *r)
{
	int64_t own[TS_MAX_RANK], stride[1][TS_MAX_RANK];
	const TsAttr *perm = ts_attr(r->m, r->n, "perm");
	tr_strides(r->in[0], r->in[0]->rank, own);
	for (int k = 0; k < r->out->rank; k++) stride[0][k] = r->in[0]->dim[perm->ints[k]] == 1 ? 0 : own[perm->ints[k]];
	tr_each(r, r->out->rank, r->out->dim, 1, stride, each_copy);
	return true;
}

static int64_t size_at(const TsRef *r, TsDim d)
{
	int64_t v = 0;
	ts_dim_eval(r->m->dims, d, r->symbols, &v);
	return v;
}

/* Copies the box of `from` that starts at `start` and steps by `step` onto the box of `to` that starts at `base`, dim long. */
static void copy_box(TsNum *to, const int64_t *base, const TsNum *from, const int64_t *start, const int64_t *step, int rank, const int64_t *dim)
{
	int64_t at[TS_MAX_RANK] = { 0 }, n;
	ts_shape_count(rank, dim, &n);
	for (int64_t e = 0; e < n; e++) {
		int64_t o = 0, i = 0;
		for (int k = 0; k < rank; k++) {
			o = o * to->dim[k] + base[k] + at[k];
			i = i * from->dim[k] + start[k] + at[k] * step[k];
		}
		tr_copy(to, o, from, i);
		for (int k = rank - 1; k >= 0 && ++at[k] == dim[k]; k--) at[k] = 0;
	}
}

static const int64_t zeros[TS_MAX_RANK], ones[TS_MAX_RANK] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };

bool ref_slice(TsRef *r)
{
	const TsAttr *start = ts_attr(r->m, r->n, "start"), *step = ts_attr(r->m, r->n, "step");
	int64_t at[TS_MAX_RANK] = { 0 };
	for (int k = 0; k < r->out->rank; k++) at[k] = size_at(r, start->dims[k]);
	copy_box(r->out, zeros, r->in[0], at, step->none ? ones : step->ints, r->out->rank, r->out->dim);
	return true;
}

bool ref_split(TsRef *r)
{
	int64_t axis = ts_attr(r->m, r->n, "axis")->i, at[TS_MAX_RANK] = { 0 };
	for (uint32_t i = 0; i < r->n->nout; i++) {
		at[axis] = (int64_t)i * r->out[i].dim[axis];
		copy_box(&r->out[i], zeros, r->in[0], at, ones, r->out[i].rank, r->out[i].dim);
	}
	return true;
}

bool ref_concat(TsRef *r)
{
	int64_t axis = ts_attr(r->m, r->n, "axis")->i, at[TS_MAX_RANK] = { 0 };
	for (uint32_t i = 0; i < r->n->nin; i++) {
		copy_box(r->out, at, r->in[i], zeros, ones, r->out->rank, r->in[i]->dim);
		at[axis] += r->in[i]->dim[axis];
	}
	return true;
}

bool ref_pad(TsRef *r)
{
	const TsAttr *before = ts_attr(r->m, r->n, "before");
	double value = ts_dtype_round(r->out->elem, ts_attr(r->m, r->n, "value")->f);
	int64_t at[TS_MAX_RANK] = { 0 };
	for (int64_t o = 0; o < r->out->n; o++) {
		if (r->out->elem == TS_COMPLEX64) r->out->f[2 * o] = value;
		else if (r->out->f) r->out->f[o] = value;
		else r->out->i[o] = (int64_t)value;
	}
	for (int k = 0; k < r->out->rank; k++) at[k] = size_at(r, before->dims[k]);
	copy_box(r->out, at, r->in[0], zeros, ones, r->out->rank, r->in[0]->dim);
	return true;
}

static bool gather_along(TsRef *r, int64_t axis)
{
	const TsNum *x = r->in[0], *idx = r->in[1];
	int64_t outer = 1, inner = 1, size = x->dim[axis];
	for (int k = 0; k < axis; k++) outer *= x->dim[k];
	for (int k = (int)axis + 1; k < x->rank; k++) inner *= x->dim[k];
	if (!r->out->n) return true;
	for (int64_t a = 0; a < outer; a++)
		for (int64_t j = 0; j < idx->n; j++)
			for (int64_t c = 0; c < inner && idx->i[j] >= 0 && idx->i[j] < size; c++)
				tr_copy(r->out, (a * idx->n + j) * inner + c, x, (a * size + idx->i[j]) * inner + c);
	return true;
}

bool ref_gather(TsRef *r) { return gather_along(r, ts_attr(r->m, r->n, "axis")->i); }
bool ref_embedding(TsRef *r) { return gather_along(r, 0); }

bool ref_iota(TsRef *r)
{
	for (int64_t i = 0; i < r->out->n; i++) {
		if (r->out->f) r->out->f[i] = (double)i;
		else r->out->i[i] = i;
	}
	return true;
}

bool ref_one_hot(TsRef *r)
{
	const TsNum *ids = r->in[0];
	int64_t n = r->out->dim[r->out->rank - 1];
	for (int64_t i = 0; n && i < ids->n; i++) {
		if (ids->i[i] < 0 || ids->i[i] >= n) continue;
		if (r->out->f) r->out->f[i * n + ids->i[i]] = 1;
		else r->out->i[i * n + ids->i[i]] = 1;
	}
	return true;
}
