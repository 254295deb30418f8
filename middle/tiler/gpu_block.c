#include "middle/tiler/gpu.h"
#include <string.h>

int ts_pow2(int64_t n)
{
	int p = 1;
	while (p < n && p < 1 << 20) p *= 2;
	return p;
}

int ts_elem_bytes(TsDtype t)
{
	int bits = ts_dtype_bits(t);
	return bits < 8 ? 1 : bits / 8;
}

bool ts_whole(TsTl *t, TsDim d, int64_t n) { return ts_dim_divides(t->d, n, d) == TS_YES; }

TsDim ts_over(TsTl *t, TsDim d, int64_t most)
{
	TsDim over = ts_dim_sub(t->d, d, ts_dim_const(t->d, most));
	return ts_dim_le(t->d, over, 0) == TS_YES ? 0 : ts_dim_max(t->d, over, 0);
}

TsDim ts_under(TsTl *t, TsDim d, int64_t least)
{
	TsDim missing = ts_dim_sub(t->d, ts_dim_const(t->d, least), d);
	return ts_dim_le(t->d, missing, 0) == TS_YES ? 0 : ts_dim_max(t->d, missing, 0);
}

TsDim ts_grid_cells(TsTl *t, TsDim cells, TsDim size, int step) { return ts_dim_mul(t->d, cells, step == 1 ? size : ts_dim_cdiv(t->d, size, ts_dim_const(t->d, step))); }

TsDim ts_gpu_batches(const TsJob *j, uint32_t n)
{
	TsDim all = ts_dim_const(j->t->d, 1);
	for (uint32_t i = 0; i < n; i++) all = ts_dim_mul(j->t->d, all, j->r.size[i]);
	return all;
}

void ts_gpu_batch(TsKb *k, const TsJob *j, uint32_t n, const char *at)
{
	for (uint32_t i = n; i-- > 1;) {
		const char *before = ts_kb_tmp(k);
		ts_kb_line(k, "%s, b%u = raster(%s, %s, %s, 1)", before, i, at, ts_kb_dim(k, ts_gpu_batches(j, i)), ts_kb_dim(k, j->r.size[i]));
		at = before;
	}
	if (n) ts_kb_line(k, "b0: idx = %s", at);
}

/* ---- layouts ---- */

void ts_gl_put(TsGLayout *l, char axis, int extent, int stride, int dim)
{
	if (extent > 1) l->d[l->n++] = (TsGDigit){ axis, extent, dim < 0 ? 0 : stride, dim };
}

/* Up to `most` places of an axis along dim, behind the elements that at[] counts; how many. */
static int take(TsGLayout *l, char axis, int most, int dim, const int *extent, int *at)
{
	int n = extent[dim] / at[dim] < most ? extent[dim] / at[dim] : most;
	ts_gl_put(l, axis, n, at[dim], dim);
	at[dim] *= n;
	return n;
}

TsGLayout ts_gl_tile(int rank, int fast, const int *extent, int vec, int warps, int warp_dim)
{
	TsGLayout l = { .rank = rank };
	int at[2] = { 1, 1 }, other = 1 - fast, left = TS_LANES;
	take(&l, 'r', vec, fast, extent, at);
	left /= take(&l, 'l', left, fast, extent, at);
	if (rank > 1) left /= take(&l, 'l', left, other, extent, at);
	ts_gl_put(&l, 'l', left, 0, -1);
	left = warps / take(&l, 'w', warps, warp_dim, extent, at);
	if (rank > 1) left /= take(&l, 'w', left, 1 - warp_dim, extent, at);
	ts_gl_put(&l, 'w', left, 0, -1);
	take(&l, 'r', 1 << 20, fast, extent, at);
	if (rank > 1) take(&l, 'r', 1 << 20, other, extent, at);
	return l;
}

void ts_gl_print(TsKb *k, const TsGLayout *l, const char *name, uint32_t mask)
{
	TsBuf b = { 0 };
	const char *dims = l->rank == 1 || mask == 2 ? "n" : mask == 1 ? "m" : "m, n";
	for (int i = 0; i < l->n; i++) {
		const TsGDigit *d = &l->d[i];
		bool gone = d->dim >= 0 && !(mask >> d->dim & 1);
		if (gone && d->axis == 'r') continue;
		if (gone || d->dim < 0) ts_buf_fmt(&b, " %c%d:_", d->axis, d->extent);
		else ts_buf_fmt(&b, " %c%d:%d%c", d->axis, d->extent, d->stride, l->rank == 1 || d->dim == 1 ? 'n' : 'm');
	}
	ts_kb_line(k, "layout %s[%s] =%s", name, dims, b.p ? b.p : " r1:0");
	ts_buf_free(&b);
}

void ts_gl_place(TsKb *k, const TsGLayout *l, const char *name, TsPlace *p)
{
	p->lay[1] = l->rank == 1 ? name : ts_kb_fmt(k, "%sm", name);
	ts_gl_print(k, l, p->lay[1], 1);
	if (l->rank == 1) return;
	p->lay[2] = ts_kb_fmt(k, "%sn", name);
	p->lay[3] = name;
	ts_gl_print(k, l, p->lay[2], 2);
	ts_gl_print(k, l, name, 3);
}

/* ---- wide accesses ---- */

void ts_wide_need(TsTl *t, TsWide *w, TsDim d)
{
	int64_t v;
	if (ts_dim_is_const(t->d, d, &v)) {
		while (w->vec > 1 && v % w->vec) w->vec /= 2;
		return;
	}
	for (uint32_t i = 0; i < w->n; i++)
		if (w->d[i] == d) return;
	if (w->n < sizeof w->d / sizeof *w->d) w->d[w->n++] = d;
	else w->vec = 1; /* too many to ask for */
}

bool ts_wide_holds(TsTl *t, const TsWide *w, TsDim d)
{
	if (ts_whole(t, d, w->vec)) return true;
	for (uint32_t i = 0; i < w->n; i++)
		if (w->d[i] == d) return true;
	return false;
}

static bool runs(TsTl *t, const TsRNode *n, uint32_t fast)
{
	return (n->kind == TS_R_LOAD || n->kind == TS_R_GATHER) && ts_is_one(t, n->coef[fast]) && ts_dtype_bits(t->e->bufs.p[n->buf].elem) >= 8;
}

void ts_wide_leaves(TsTl *t, TsWide *w, const TsRegion *r, uint32_t fast)
{
	for (uint32_t i = 1; i < r->nodes.n; i++) {
		const TsRNode *n = &r->nodes.p[i];
		if (!runs(t, n, fast)) continue;
		ts_wide_need(t, w, n->offset);
		if (n->kind == TS_R_GATHER) ts_wide_need(t, w, n->index_stride);
		for (uint32_t k = 0; k < r->niter; k++)
			if (k != fast && n->coef[k]) ts_wide_need(t, w, n->coef[k]);
	}
}

void ts_wide_region(TsTl *t, TsWide *w, const TsRegion *r, uint32_t fast)
{
	ts_wide_need(t, w, r->size[fast]);
	ts_wide_leaves(t, w, r, fast);
}

TsDim ts_wide_guard(TsTl *t, TsWide *w)
{
	TsDim sum = 0, by = ts_dim_const(t->d, w->vec);
	for (uint32_t i = 0; i < w->n; i++)
		if (!ts_whole(t, w->d[i], w->vec)) sum = ts_dim_add(t->d, sum, ts_dim_mod(t->d, w->d[i], by));
	return sum;
}

int ts_wide_vec(TsTl *t, const TsRegion *r, uint32_t fast)
{
	int bytes = 16, least = 0;
	for (uint32_t i = 1; i < r->nodes.n; i++) {
		if (!runs(t, &r->nodes.p[i], fast)) continue;
		int b = ts_elem_bytes(t->e->bufs.p[r->nodes.p[i].buf].elem);
		if (b < bytes) bytes = b;
		if (b > least) least = b;
	}
	return bytes == 1 && least > 1 ? 8 : 16 / bytes; /* one byte beside wider elements: half a vector of it */
}

void ts_kb_wide(TsKb *k, const TsWide *w)
{
	k->vec = w->vec;
	for (uint32_t i = 0; i < w->n; i++) ts_push(k->t->a, &k->multiple, w->d[i]);
}

/* ---- operands ---- */

int ts_operand_fast(TsTl *t, const TsOperand *o)
{
	for (int i = 1; i >= 0; i--)
		if (ts_is_one(t, o->stride[i])) return i;
	return -1;
}

bool ts_operand_is_map(TsTl *t, const TsOperand *o)
{
	TsKb k;
	uint32_t n = 0;
	ts_kb_init(&k, t, NULL);
	for (uint32_t i = 0; i < o->n; i++) n += o->at[i].stride != 0;
	return n <= 2 && ts_kb_is_address(&k, o->real.buf, o->real.offset) && ts_operand_fast(t, o) >= 0;
}

void ts_wide_operand(TsTl *t, TsWide *w, const TsOperand *o, int fast)
{
	ts_wide_need(t, w, o->real.offset);
	ts_wide_need(t, w, o->size[fast]);
	ts_wide_need(t, w, o->stride[1 - fast]);
	for (uint32_t i = 0; i < o->n; i++)
		if (o->at[i].stride) ts_wide_need(t, w, o->at[i].stride);
}

/* A buffer of Tile IR has four axes: more batches become one, indexed by the element they add up to. */
const char *ts_gpu_operand(TsKb *k, const TsOperand *o, const char **prefix)
{
	TsDims *d = k->t->d;
	TsDim one = ts_dim_const(d, 1), size[TS_MAX_ITER + 3], stride[TS_MAX_ITER + 3], offset = o->real.offset, reach = one;
	TsAxisAt at[TS_MAX_ITER + 1];
	uint32_t n = 0, rank = 0;
	TsBuf b = { 0 };
	for (uint32_t i = 0; i < o->n; i++)
		if (o->at[i].stride) at[n++] = o->at[i];
	if (!ts_kb_is_address(k, o->real.buf, offset)) {
		at[n++] = (TsAxisAt){ ts_kb_dim(k, offset), ts_dim_add(d, offset, one), one };
		offset = 0;
	}
	bool fold = n > 2;
	for (uint32_t i = 0; i < n; i++) {
		if (fold) {
			ts_buf_fmt(&b, "%s(%s)*%s", i ? " + " : "", at[i].text, ts_kb_dim(k, at[i].stride));
			reach = ts_dim_add(d, reach, ts_dim_mul(d, ts_dim_sub(d, at[i].size, one), at[i].stride));
			continue;
		}
		ts_buf_fmt(&b, "%s, ", at[i].text);
		size[rank] = at[i].size;
		stride[rank++] = at[i].stride;
	}
	if (fold) {
		ts_buf_str(&b, ", ");
		size[rank] = reach;
		stride[rank++] = one;
	}
	for (int i = 0; i < 2; i++) {
		size[rank] = o->size[i];
		stride[rank++] = o->stride[i];
	}
	*prefix = ts_strndup(k->t->a, b.p ? b.p : "", b.n);
	ts_buf_free(&b);
	return ts_kb_param(k, o->real.buf, offset, rank, size, stride);
}

/* ---- variants ---- */

/* Each text starts from the parameters of the one before; with several, in two rounds, as a late one must be in the head of every text. */
void ts_gpu_emit(TsJob *j, const TsVariants *v)
{
	TsTl *t = j->t;
	TsChoice c[TS_VARIANTS] = { 0 };
	TsKb like;
	ts_kb_init(&like, t, NULL);
	for (int round = v->n > 1 ? 0 : 1; round < 2; round++)
		for (int i = 0; i < v->n; i++) {
			TsKb k;
			c[i] = (TsChoice){ 0 };
			ts_kb_init(&k, t, &like);
			v->write(v->user, &k, i, &c[i]);
			TsSym text = ts_kb_finish(&k, t->target->tile), all[TS_CPU_CLONES] = { text };
			if (round) c[i].kernel = ts_add_kernel(t, v->name, all);
			like = k;
		}
	if (!v->partial && c[v->n - 1].guard_lhs) ts_bug(t->cx, j->n ? j->n->at : (TsSpan){ 0 }, "'%s' has no variant for all sizes", v->name);
	ts_emit_step(t, j->root, &like, j->root ? &j->r : NULL, c, (uint32_t)v->n);
}
