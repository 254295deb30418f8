/* Contractions on the CPU: C[m, n] = sum_k A[m, k] B[k, n] as outer products into a register tile, B in panels of 64 columns (weights are
 * packed when the artifact is made, anything else by a kernel before). The partition of K depends on K alone, so a row has the same bits
 * in any batch. The register tile is the machine family's; panels are the same bytes for all. */
#include "middle/tiler/tiler.h"
#include <string.h>

enum { PANEL = 64 };

typedef struct {
	TsTl *t;
	TsRegion r;                 /* iteration dims: batch..., m, n */
	uint32_t out, leaf;         /* region nodes */
	uint32_t im, in;            /* which iteration dims are m and n */
	TsReal a, b;                /* b: panels */
	TsDim a_batch[TS_MAX_ITER], b_batch[TS_MAX_ITER], a_m, a_k, m, n, k;
	TsDtype ct, ae, be;
	TsPlace p;
} Mm;

/* Tunables of a clone; the blocks are the same for all. */
static const int *tuned(const Mm *mm, int clone)
{
	return mm->t->tune->arch[clone].entry[ts_dtype_bits(mm->ct) == 64 ? TS_TUNE_MATMUL_8 : TS_TUNE_MATMUL_4].v;
}

static TsDtype compute_type(TsDtype a, TsDtype b)
{
	if (a == TS_F64 || b == TS_F64) return TS_F64;
	if (ts_dtype_is_float(a) || ts_dtype_is_float(b)) return TS_F32;
	return a == TS_INT64 || b == TS_INT64 ? TS_INT64 : TS_INT32;
}

/* ---- B as panels ---- */

static TsDim panels(TsTl *t, TsDim n) { return ts_dim_cdiv(t->d, n, ts_dim_const(t->d, PANEL)); }

static bool const_stride(TsTl *t, TsDim d, int64_t *v) { return ts_dim_is_const(t->d, d, v); }

/* A weight read in place becomes a packed weight; its strides are in the published tensor. */
static bool pack_weight(Mm *mm, const TsReal *b, TsDim k_stride, TsDim n_stride)
{
	TsTl *t = mm->t;
	const TsBuffer *w = &t->e->bufs.p[b->buf];
	TsPacking p = { .packed = true, .batch = 1, .panel = PANEL };
	if (w->kind != TS_BUF_WEIGHT || ts_dtype_bits(w->elem) < 8) return false;
	if (!const_stride(t, mm->k, &p.k) || !const_stride(t, mm->n, &p.n) || !const_stride(t, k_stride, &p.k_stride) || !const_stride(t, n_stride, &p.n_stride) ||
		!const_stride(t, b->offset, &p.offset)) return false;
	for (uint32_t i = 0; i < mm->im; i++)
		if (mm->b_batch[i]) return false;
	const TsNode *node = w->weight;
	for (uint32_t i = 0; i < t->e->bufs.n; i++) {
		const TsBuffer *o = &t->e->bufs.p[i];
		if (o->weight == node && !memcmp(&o->packing, &p, sizeof p)) { mm->b.buf = i; return true; }
	}
	TsDtype elem = w->elem;
	mm->b.buf = ts_new_buf(t, TS_BUF_WEIGHT, elem, ts_dim_const(t->d, (p.n + PANEL - 1) / PANEL * PANEL * p.k));
	t->e->bufs.p[mm->b.buf].weight = node;
	t->e->bufs.p[mm->b.buf].packing = p;
	mm->be = elem;
	return true;
}

/* The batch axes of an operand with these strides, in front of `tail` more axes, and the text of their indices. A buffer of Tile IR has four
 * axes at most: where there are more, the batch becomes one axis, indexed by the element it adds up to. */
static const char *batch_axes(Mm *mm, TsKb *k, const TsDim *batch, uint32_t tail, TsDim *size, TsDim *stride, uint32_t *rank)
{
	TsDims *d = mm->t->d;
	TsDim one = ts_dim_const(d, 1), reach = one;
	TsBuf b = { 0 };
	uint32_t n = 0;
	for (uint32_t i = 0; i < mm->im; i++) n += batch[i] != 0;
	*rank = 0;
	for (uint32_t i = 0; i < mm->im; i++) {
		if (!batch[i]) continue;
		if (n + tail > 4) {
			ts_buf_fmt(&b, "%sb%u*%s", b.n ? " + " : "", i, ts_kb_dim(k, batch[i]));
			reach = ts_dim_add(d, reach, ts_dim_mul(d, ts_dim_sub(d, mm->r.size[i], one), batch[i]));
			continue;
		}
		ts_buf_fmt(&b, "b%u, ", i);
		size[*rank] = mm->r.size[i];
		stride[(*rank)++] = batch[i];
	}
	if (n + tail > 4) {
		ts_buf_str(&b, ", ");
		size[0] = reach;
		stride[0] = one;
		*rank = 1;
	}
	const char *text = ts_strndup(mm->t->a, b.p ? b.p : "", b.n);
	ts_buf_free(&b);
	return text;
}

/* A kernel that writes B into panels [batch...][N/64][K][64] of the workspace, in the compute type when B is a packed storage type. */
static void pack_at_run(Mm *mm, const TsReal *b, TsDim k_stride, TsDim n_stride)
{
	TsTl *t = mm->t;
	TsDims *d = t->d;
	TsKb k;
	TsDtype from = t->e->bufs.p[b->buf].elem;
	mm->be = ts_dtype_bits(from) < 8 ? mm->ct : from;
	TsDim per = ts_dim_mul(d, ts_dim_mul(d, panels(t, mm->n), mm->k), ts_dim_const(d, PANEL)), total = per, cells = panels(t, mm->n);
	TsDim size[TS_MAX_ITER], src[TS_MAX_ITER];
	uint32_t rank = 0, nb = 0;
	const char *name[TS_MAX_ITER];
	TsDim batch[TS_MAX_ITER];
	for (uint32_t i = mm->im; i > 0; i--) {
		if (!mm->b_batch[i - 1]) continue;
		mm->b_batch[i - 1] = total;
		total = ts_dim_mul(d, total, mm->r.size[i - 1]);
	}
	mm->b.buf = ts_new_buf(t, TS_BUF_WORK, mm->be, total);
	ts_kb_init(&k, t, NULL);
	for (uint32_t i = 0; i < mm->im; i++) {
		if (!mm->b_batch[i]) continue;
		cells = ts_dim_mul(d, cells, mm->r.size[i]);
		name[nb] = ts_kb_fmt(&k, "b%u", i);
		batch[nb++] = mm->r.size[i];
	}
	TsDim one = ts_dim_const(d, 1), panel = ts_dim_const(d, PANEL);
	const char *at = batch_axes(mm, &k, b->stride, 2, size, src, &rank);
	size[rank] = mm->k;
	src[rank] = k_stride;
	size[rank + 1] = mm->n;
	src[rank + 1] = n_stride;
	const char *from_name = ts_kb_param(&k, b->buf, b->offset, rank + 2, size, src);
	TsDim psize[TS_MAX_ITER], pstride[TS_MAX_ITER];
	const char *to_at = batch_axes(mm, &k, mm->b_batch, 3, psize, pstride, &rank);
	psize[rank] = panels(t, mm->n);
	pstride[rank] = ts_dim_mul(d, mm->k, panel);
	psize[rank + 1] = mm->k;
	pstride[rank + 1] = panel;
	psize[rank + 2] = panel;
	pstride[rank + 2] = one;
	const char *to_name = ts_kb_param(&k, mm->b.buf, 0, rank + 3, psize, pstride);
	ts_kb_line(&k, "layout V[n] = v16:1n r4:16n");
	ts_kb_grid(&k, nb, name, batch, ts_kb_fmt(&k, "j in 0..%s", ts_kb_dim(&k, psize[rank])), 1);
	ts_kb_line(&k, "left: idx = %s - 64*j", ts_kb_dim(&k, mm->n));
	ts_kb_open(&k, "for k in 0..%s", ts_kb_dim(&k, mm->k));
	ts_kb_line(&k, "x: %s[64] @V = load(%s[%sk, 64*j:64*j + 64], valid = left)", ts_dtype_name(from), from_name, at);
	if (mm->be != from) ts_kb_line(&k, "y: %s[64] @V = cast(x, %s)", ts_dtype_name(mm->be), ts_dtype_name(mm->be));
	ts_kb_line(&k, "store(%s[%sj, k, 0:64], %s)", to_name, to_at, mm->be != from ? "y" : "x");
	ts_kb_close(&k, "");
	TsChoice c = { .cells = cells };
	TsSym text = ts_kb_finish(&k, "cpu"), all[TS_CPU_CLONES] = { text, text, text };
	c.kernel = ts_add_kernel(t, "pack", all);
	c.tile[0] = PANEL;
	ts_emit_step(t, 0, &k, NULL, &c, 1);
}

/* ---- the kernel ---- */

typedef struct { Mm *mm; TsKb *k; const char *pa, *pb, *batch_a, *batch_b; int rows, cols; bool blocked; const char *kend; } Body;

/* Accumulates over k in lo..hi from c0; names the result `c`. */
static void k_loop(Body *b, const char *lo, const char *hi, const char *c0, const char *i, const char *c)
{
	Mm *mm = b->mm;
	TsKb *k = b->k;
	const char *ct = ts_dtype_name(mm->ct), *acc = ts_kb_tmp(k), *a = ts_kb_tmp(k), *w = ts_kb_tmp(k), *next = ts_kb_tmp(k), *kk = ts_kb_tmp(k);
	const char *sfx = b->rows == 1 ? "1" : "";
	ts_kb_open(k, "%s: %s[%d, %d] @X%s = for %s in %s..%s with %s = %s", c, ct, b->rows, b->cols, sfx, kk, lo, hi, acc, c0);
	ts_kb_line(k, "%s: %s[%d] @XA%s = load(%s[%s%s:%s + %d, %s])", a, ts_dtype_name(mm->ae), b->rows, sfx, b->pa, b->batch_a, i, i, b->rows, kk);
	ts_kb_line(k, "%s: %s[%d] @XB = load(%s[%sj // 64, %s, j %% 64:j %% 64 + %d])", w, ts_dtype_name(mm->be), b->cols, b->pb, b->batch_b, kk, b->cols);
	if (mm->ae != mm->ct) {
		const char *t = ts_kb_tmp(k);
		ts_kb_line(k, "%s: %s[%d] @XA%s = cast(%s, %s)", t, ct, b->rows, sfx, a, ct);
		a = t;
	}
	if (mm->be != mm->ct) {
		const char *t = ts_kb_tmp(k);
		ts_kb_line(k, "%s: %s[%d] @XB = cast(%s, %s)", t, ct, b->cols, w, ct);
		w = t;
	}
	ts_kb_line(k, "%s: %s[%d, %d] @X%s = mma(%s, %s, %s, atom = \"fma\")", next, ct, b->rows, b->cols, sfx, acc, a, w);
	ts_kb_line(k, "yield %s", next);
	ts_kb_close(k, b->rows > 1 ? " { unroll = 4 }" : " { unroll = 2 }");
}

static void finish_tile(Body *b, const char *c, const char *i)
{
	Mm *mm = b->mm;
	TsKb *k = b->k;
	const char *sfx = b->rows == 1 ? "1" : "";
	TsPlace p = mm->p;
	p.base[mm->im] = i;
	p.base[mm->in] = "j";
	p.nv = 2;
	p.vdim[0] = (int)mm->im;
	p.vdim[1] = (int)mm->in;
	p.len[0] = b->rows;
	p.len[1] = b->cols;
	p.lay[1] = ts_kb_fmt(k, "XA%s", sfx);
	p.lay[2] = "XB";
	p.lay[3] = ts_kb_fmt(k, "X%s", sfx);
	int64_t n;
	bool whole = ts_dim_is_const(mm->t->d, mm->n, &n) && n % PANEL == 0;
	const char *left = whole ? NULL : ts_kb_tmp(k);
	if (left) ts_kb_line(k, "%s: idx = %s - j", left, ts_kb_dim(k, mm->n));
	p.valid[0] = NULL;
	p.valid[1] = left;
	p.anchor = c;
	p.anchor_mask = 3;
	p.anchor_elem = mm->ct;
	TsTileVal *memo = TS_NEW_N(mm->t->a, TsTileVal, mm->r.nodes.n);
	ts_kb_store(k, &mm->r, mm->leaf, ts_kb_eval(k, &mm->r, mm->out, &p, memo), &p);
}

/* Rows [from, to) in steps of `rows` for the column tile j and the k block (when blocked). */
static void row_loop(Body *b, const char *from, const char *to)
{
	Mm *mm = b->mm;
	TsKb *k = b->k;
	const char *ct = ts_dtype_name(mm->ct), *i = ts_kb_tmp(k), *c0 = ts_kb_tmp(k), *c = ts_kb_tmp(k), *sfx = b->rows == 1 ? "1" : "";
	const char *ty = ts_kb_fmt(k, "%s[%d, %d] @X%s", ct, b->rows, b->cols, sfx);
	ts_kb_open(k, "for %s in %s..%s step %d", i, from, to, b->rows);
	if (!b->blocked) {
		ts_kb_line(k, "%s: %s = fill(0)", c0, ty);
		k_loop(b, "0", b->kend, c0, i, c);
		finish_tile(b, c, i);
	} else {
		const char *at = ts_kb_fmt(k, "acc[%s - mb:%s - mb + %d, j - nb:j - nb + %d]", i, i, b->rows, b->cols), *z = ts_kb_tmp(k), *l = ts_kb_tmp(k);
		ts_kb_open(k, "%s: %s = if kb == 0", c0, ty);
		ts_kb_line(k, "%s: %s = fill(0)", z, ty);
		ts_kb_line(k, "yield %s", z);
		ts_kb_close(k, " else {");
		k->depth++;
		ts_kb_line(k, "%s: %s = load(%s)", l, ty, at);
		ts_kb_line(k, "yield %s", l);
		ts_kb_close(k, "");
		k_loop(b, "kb", "ke", c0, i, c);
		ts_kb_open(k, "if ke < %s", b->kend);
		ts_kb_line(k, "store(%s, %s)", at, c);
		ts_kb_close(k, " else {");
		k->depth++;
		finish_tile(b, c, i);
		ts_kb_close(k, "");
	}
	ts_kb_close(k, "");
}

static const char *operand_a(Mm *mm, TsKb *k, const char **batch)
{
	TsDim size[TS_MAX_ITER], stride[TS_MAX_ITER];
	uint32_t rank = 0;
	*batch = batch_axes(mm, k, mm->a_batch, 2, size, stride, &rank);
	size[rank] = mm->m;
	stride[rank++] = mm->a_m;
	size[rank] = mm->k;
	stride[rank++] = mm->a_k;
	return ts_kb_param(k, mm->a.buf, mm->a.offset, rank, size, stride);
}

static const char *operand_b(Mm *mm, TsKb *k, const char **batch)
{
	TsDims *d = mm->t->d;
	TsDim size[TS_MAX_ITER], stride[TS_MAX_ITER], panel = ts_dim_const(d, PANEL);
	uint32_t rank = 0;
	*batch = batch_axes(mm, k, mm->b_batch, 3, size, stride, &rank);
	size[rank] = panels(mm->t, mm->n);
	stride[rank++] = ts_dim_mul(d, mm->k, panel);
	size[rank] = mm->k;
	stride[rank++] = panel;
	size[rank] = panel;
	stride[rank++] = ts_dim_const(d, 1);
	return ts_kb_param(k, mm->b.buf, 0, rank, size, stride);
}

static void write_kernel(Mm *mm, TsKb *k, int clone, int block_m, int block_n, TsDim *cells)
{
	TsTl *t = mm->t;
	TsDims *d = t->d;
	const int *tune = tuned(mm, clone);
	struct { int mr, lanes, regs, block_k; } mi = { tune[TS_TUNE_MR], tune[TS_TUNE_LANES], tune[TS_TUNE_REGS], tune[TS_TUNE_BLOCK_K] };
	int64_t kc;
	Body b = { .mm = mm, .k = k, .cols = mi.lanes * mi.regs };
	b.pa = operand_a(mm, k, &b.batch_a);
	b.pb = operand_b(mm, k, &b.batch_b);
	b.blocked = !(ts_dim_is_const(d, mm->k, &kc) && kc <= mi.block_k);
	b.kend = ts_kb_dim(k, mm->k);
	ts_kb_line(k, "layout X[m, n] = v%d:1n r%d:%dn r%d:1m", mi.lanes, mi.regs, mi.lanes, mi.mr);
	ts_kb_line(k, "layout XA[m] = v%d:_ r%d:1m", mi.lanes, mi.mr);
	ts_kb_line(k, "layout XB[n] = v%d:1n r%d:%dn", mi.lanes, mi.regs, mi.lanes);
	ts_kb_line(k, "layout X1[m, n] = v%d:1n r%d:%dn", mi.lanes, mi.regs, mi.lanes);
	ts_kb_line(k, "layout XA1[m] = v%d:_", mi.lanes);
	*cells = ts_dim_mul(d, ts_dim_cdiv(d, mm->m, ts_dim_const(d, block_m)), ts_dim_cdiv(d, mm->n, ts_dim_const(d, block_n)));
	for (uint32_t i = 0; i < mm->im; i++) {
		mm->p.base[i] = ts_kb_fmt(k, "b%u", i);
		*cells = ts_dim_mul(d, *cells, mm->r.size[i]);
	}
	const char *m = ts_kb_dim(k, mm->m), *n = ts_kb_dim(k, mm->n);
	ts_kb_grid(k, mm->im, mm->p.base, mm->r.size, ts_kb_fmt(k, "mb in 0..%s step %d, nb in 0..%s step %d", m, block_m, n, block_n), 2);
	if (b.blocked) ts_kb_line(k, "smem acc: %s[%d, %d]", ts_dtype_name(mm->ct), block_m, block_n);
	ts_kb_line(k, "me: idx = min(mb + %d, %s)", block_m, m);
	ts_kb_line(k, "mf: idx = mb + (me - mb) // %d * %d", mi.mr, mi.mr);
	ts_kb_line(k, "ne: idx = min(nb + %d, %s)", block_n, n);
	if (b.blocked) {
		ts_kb_open(k, "for kb in 0..max(%s, 1) step %d", b.kend, mi.block_k);
		ts_kb_line(k, "ke: idx = min(kb + %d, %s)", mi.block_k, b.kend);
	}
	ts_kb_open(k, "for j in nb..ne step %d", b.cols);
	b.rows = mi.mr;
	row_loop(&b, "mb", "mf");
	b.rows = 1;
	row_loop(&b, "mf", "me");
	ts_kb_close(k, "");
	if (b.blocked) ts_kb_close(k, "");
}

/* Kernels of one step share their parameters, so each text starts from the list of the one before; the last list serves all. Two rounds,
 * because a parameter that appears late must be in the head of every text. */
static uint32_t add_variant(Mm *mm, TsKb *like, bool keep, const char *name, int block_m, int block_n, TsDim *cells)
{
	TsSym text[TS_CPU_CLONES];
	static const char *const target[TS_CPU_CLONES] = { "x86-64-v2", "x86-64-v3", "x86-64-v4" };
	for (int c = 0; c < TS_CPU_CLONES; c++) {
		TsKb k;
		ts_kb_init(&k, mm->t, like);
		write_kernel(mm, &k, c, block_m, block_n, cells);
		text[c] = ts_kb_finish(&k, target[c]);
		*like = k;
	}
	return keep ? ts_add_kernel(mm->t, name, text) : 0;
}

static void operand_strides(TsTl *t, const TsReal *r, const TsType *ty, uint32_t batch, TsDim *stride)
{
	for (uint32_t i = 0; i < batch; i++) {
		int j = (int)i - (int)(batch - (ty->rank - 2));
		int64_t one;
		stride[i] = j < 0 || (ts_dim_is_const(t->d, ty->dim[j], &one) && one == 1) ? 0 : r->stride[j];
	}
}

/* The operands' batch strides ride along as two more leaves, so that dims merge only where they agree. */
static void merge_dims(TsJob *j, const TsType *at, const TsType *bt, uint32_t rank)
{
	TsTl *t = j->t;
	const TsReal *a = &j->mm.a, *b = &j->mm.b;
	uint32_t batch = rank - 2;
	TsRegion *r = &j->r;
	TsRNode ra = { .kind = TS_R_LOAD, .elem = j->mm.ae, .buf = a->buf, .offset = a->offset }, rb = { .kind = TS_R_LOAD, .elem = j->mm.be, .buf = b->buf, .offset = b->offset };
	operand_strides(t, a, at, batch, ra.coef);
	operand_strides(t, b, bt, batch, rb.coef);
	ra.coef[batch] = a->stride[at->rank - 2];
	rb.coef[batch + 1] = b->stride[bt->rank - 1];
	ts_push(t->a, &r->nodes, ra);
	uint32_t na = r->nodes.n - 1;
	ts_push(t->a, &r->nodes, rb);
	uint32_t nb = na + 1;
	ts_region_merge(t, r, rank - 1u);
	if (r->niter < 2) ts_bug(t->cx, j->n->at, "schedule: matmul lost a dim");
	if (r->nodes.p[nb].coef[r->niter - 2]) { /* the only row dim was 1 and is gone, what stands there is a batch: put the row back */
		uint32_t at_ = r->niter - 1;
		r->size[at_ + 1] = r->size[at_];
		r->size[at_] = ts_dim_const(t->d, 1);
		for (uint32_t i = 1; i < r->nodes.n; i++) {
			r->nodes.p[i].coef[at_ + 1] = r->nodes.p[i].coef[at_];
			r->nodes.p[i].coef[at_] = 0;
		}
		r->nodes.p[j->leaf].coef[at_] = ts_dim_const(t->d, 1); /* the tile still has rows to store */
		r->niter++;
	}
	j->mm.im = r->niter - 2;
	j->mm.in = r->niter - 1;
	j->mm.m = r->size[j->mm.im];
	j->mm.n = r->size[j->mm.in];
	j->mm.a_m = r->nodes.p[na].coef[j->mm.im];
	for (uint32_t i = 0; i < j->mm.im; i++) {
		j->mm.a_batch[i] = r->nodes.p[na].coef[i];
		j->mm.b_batch[i] = r->nodes.p[nb].coef[i];
	}
}

void ts_sched_matmul(TsTl *t, TsVal root, TsVal anchor, const TsReal *out)
{
	const TsNode *node = ts_val(t->g, anchor)->def;
	const TsType *at = &ts_val(t->g, node->in[0])->type, *bt = &ts_val(t->g, node->in[1])->type, *ty = &ts_val(t->g, root)->type;
	TsIdx idx[TS_MAX_RANK];
	TsJob j = { .t = t, .root = root, .n = node, .name = ts_op_info(t->cx, node->op)->name };
	j.mm.a = ts_materialise(t, node->in[0]);
	j.mm.b = ts_materialise(t, node->in[1]);
	j.mm.ae = at->elem;
	j.mm.be = bt->elem;
	j.mm.ct = compute_type(at->elem, bt->elem);
	j.mm.k = at->dim[at->rank - 1];
	j.mm.a_k = j.mm.a.stride[at->rank - 1];
	j.mm.b_k = j.mm.b.stride[bt->rank - 2];
	j.mm.b_n = j.mm.b.stride[bt->rank - 1];
	ts_region_init(t, &j.r, ty->rank, ty->dim);
	ts_identity_idx(t, 0, ty->rank, idx);
	j.value = ts_region_value(t, &j.r, root, idx, anchor);
	j.leaf = ts_region_leaf(t, &j.r, out, ty, idx);
	merge_dims(&j, at, bt, ty->rank);
	ts_write_kernels(&j, TS_CLS_CONTRACT);
}

void ts_cpu_matmul(TsJob *j)
{
	TsTl *t = j->t;
	Mm mm = { .t = t, .r = j->r, .out = j->value, .leaf = j->leaf, .im = j->mm.im, .in = j->mm.in, .a = j->mm.a, .a_m = j->mm.a_m, .a_k = j->mm.a_k, .m = j->mm.m,
		.n = j->mm.n, .k = j->mm.k, .ct = j->mm.ct, .ae = j->mm.ae, .be = j->mm.be };
	TsReal src = j->mm.b;
	for (uint32_t i = 0; i < mm.im; i++) {
		mm.a_batch[i] = j->mm.a_batch[i];
		mm.b_batch[i] = src.stride[i] = j->mm.b_batch[i];
	}
	if (!pack_weight(&mm, &j->mm.b, j->mm.b_k, j->mm.b_n)) pack_at_run(&mm, &src, j->mm.b_k, j->mm.b_n);
	TsChoice c[2] = { 0 };
	const int *tune = tuned(&mm, 0);
	TsKb like;
	ts_kb_init(&like, t, NULL);
	/* Few rows: narrow blocks, so that every core has columns to do. The bits are the same: each element is one chain over k. */
	for (int round = 0; round < 2; round++) {
		c[0].kernel = add_variant(&mm, &like, round == 1, "matmul_few_rows", tune[TS_TUNE_SMALL_M], PANEL, &c[0].cells);
		c[1].kernel = add_variant(&mm, &like, round == 1, "matmul", tune[TS_TUNE_BLOCK_M], tune[TS_TUNE_BLOCK_N], &c[1].cells);
	}
	c[0].guard_lhs = mm.m;
	c[0].guard_rhs = ts_dim_const(t->d, tune[TS_TUNE_SMALL_M]);
	c[0].label = ts_intern(t->cx, ts_kb_fmt(&like, "few rows (m <= %d)", tune[TS_TUNE_SMALL_M]));
	c[1].label = ts_intern(t->cx, ts_kb_fmt(&like, "blocks of %d x %d", tune[TS_TUNE_BLOCK_M], tune[TS_TUNE_BLOCK_N]));
	for (int i = 0; i < 2; i++) {
		c[i].tile[0] = tune[i ? TS_TUNE_BLOCK_M : TS_TUNE_SMALL_M];
		c[i].tile[1] = i ? tune[TS_TUNE_BLOCK_N] : PANEL;
		c[i].tile[2] = tune[TS_TUNE_BLOCK_K];
	}
	ts_emit_step(t, j->root, &like, &mm.r, c, 2);
}
