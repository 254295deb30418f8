/* Pointwise kernels, and movement: every element of the result from affine reads. The last merged dim lies across the tile, the others
 * and chunks of the last are grid cells. */
#include "middle/tiler/tiler.h"
#include <string.h>

enum { TILE = 64 };

/* One tile's statements: the region at `base`, stored. */
static void body(TsKb *k, const TsRegion *r, uint32_t root, uint32_t leaf, TsPlace *p, const char *at, const char *valid)
{
	TsTileVal *memo = TS_NEW_N(k->t->a, TsTileVal, r->nodes.n);
	p->base[p->vdim[0]] = at;
	p->valid[0] = valid;
	ts_kb_store(k, r, leaf, ts_kb_eval(k, r, root, p, memo), p);
}

/* Elements of a cell, the same for all clones. */
static int chunk_of(const TsTl *t) { return t->tune->arch[0].entry[TS_TUNE_POINTWISE].v[TS_TUNE_CHUNK]; }

/* Tile length for an innermost extent: small constant extents take a shorter tile. */
static int tile_length(TsTl *t, TsDim inner)
{
	int64_t n;
	if (!ts_dim_is_const(t->d, inner, &n) || n > 32) return TILE;
	return n > 16 ? 32 : 16;
}

static void write_kernel(TsTl *t, const TsRegion *r, uint32_t root, uint32_t leaf, TsKb *k, TsDim *cells)
{
	uint32_t last = r->niter - 1;
	int len = tile_length(t, r->size[last]), chunk = chunk_of(t);
	TsPlace p = { .nv = 1, .vdim = { (int)last }, .len = { len }, .lay = { NULL, "V" } };
	const char *n = ts_kb_dim(k, r->size[last]);
	ts_kb_line(k, "layout V[n] = v16:1n%s", len == 64 ? " r4:16n" : len == 32 ? " r2:16n" : "");
	*cells = ts_dim_cdiv(t->d, r->size[last], ts_dim_const(t->d, chunk));
	for (uint32_t i = 0; i < last; i++) {
		p.base[i] = ts_kb_fmt(k, "i%u", i);
		*cells = ts_dim_mul(t->d, *cells, r->size[i]);
	}
	bool serial = ts_dtype_bits(r->nodes.p[leaf].elem) < 8; /* cells would share bytes: one cell writes everything */
	if (serial) {
		*cells = ts_dim_const(t->d, 1);
		ts_kb_line(k, "grid cell in 0..1");
		for (uint32_t i = 0; i < last; i++) ts_kb_open(k, "for %s in 0..%s", p.base[i], ts_kb_dim(k, r->size[i]));
		ts_kb_open(k, "for c in 0..%s step %d", n, chunk);
	} else {
		ts_kb_grid(k, last, p.base, r->size, ts_kb_fmt(k, "c in 0..%s step %d", n, chunk), 1);
	}
	ts_kb_line(k, "e: idx = min(c + %d, %s)", chunk, n);
	ts_kb_line(k, "f: idx = c + (e - c) // %d * %d", len, len);
	ts_kb_open(k, "for n in c..f step %d", len);
	body(k, r, root, leaf, &p, "n", NULL);
	ts_kb_close(k, "");
	int64_t size;
	if (!ts_dim_is_const(t->d, r->size[last], &size) || size % len) {
		ts_kb_open(k, "if f < e");
		ts_kb_line(k, "left: idx = e - f");
		body(k, r, root, leaf, &p, "f", "left");
		ts_kb_close(k, "");
	}
	for (uint32_t i = 0; serial && i <= last; i++) ts_kb_close(k, "");
}

void ts_cpu_pointwise(TsJob *j)
{
	TsTl *t = j->t;
	TsKb k;
	TsChoice c = { 0 };
	ts_kb_init(&k, t, NULL);
	write_kernel(t, &j->r, j->value, j->leaf, &k, &c.cells);
	TsSym text = ts_kb_finish(&k, "cpu"), all[TS_CPU_CLONES] = { text, text, text };
	c.kernel = ts_add_kernel(t, j->name, all);
	c.tile[0] = chunk_of(t);
	ts_emit_step(t, j->root, &k, j->root ? &j->r : NULL, &c, 1);
}

void ts_sched_pointwise(TsTl *t, TsVal root, const TsReal *out)
{
	const TsType *ty = &ts_val(t->g, root)->type;
	TsIdx idx[TS_MAX_RANK];
	TsDim one = ts_dim_const(t->d, 1);
	TsJob j = { .t = t, .root = root };
	ts_region_init(t, &j.r, ty->rank ? ty->rank : 1, ty->rank ? ty->dim : &one);
	ts_identity_idx(t, 0, ty->rank, idx);
	j.value = ts_region_value(t, &j.r, root, idx, 0);
	j.leaf = ts_region_leaf(t, &j.r, out, ty, idx);
	ts_region_merge(t, &j.r, j.r.niter);
	bool bytes = t->real[root].how == TS_REAL_VIEW;
	j.name = bytes ? "copy" : ts_op_info(t->cx, ts_val(t->g, root)->def->op)->name;
	ts_write_kernels(&j, TS_CLS_POINTWISE);
}

/* Fills `out`, of shape ty, with a literal. */
static void fill(TsTl *t, const TsType *ty, double value, const TsReal *out)
{
	TsIdx idx[TS_MAX_RANK];
	TsJob j = { .t = t, .name = "fill" };
	TsRNode c = { .kind = TS_R_CONST, .elem = ty->elem, .value = value, .ivalue = ts_dtype_is_float(ty->elem) ? 0 : (int64_t)value };
	ts_region_init(t, &j.r, ty->rank, ty->dim);
	ts_identity_idx(t, 0, ty->rank, idx);
	ts_push(t->a, &j.r.nodes, c);
	j.value = j.r.nodes.n - 1;
	j.leaf = ts_region_leaf(t, &j.r, out, ty, idx);
	ts_region_merge(t, &j.r, j.r.niter);
	ts_write_kernels(&j, TS_CLS_POINTWISE);
}

void ts_sched_parts(TsTl *t, const TsNode *n, const TsReal *out)
{
	const TsType *ty = &ts_val(t->g, n->out[0])->type;
	uint32_t since = t->e->steps.n;
	if (n->op == TS_OP_concat) {
		uint32_t axis = (uint32_t)ts_attr(t->m, n, "axis")->i;
		TsReal part = *out;
		for (uint32_t i = 0; i < n->nin; i++) {
			if (!ts_is_empty(t, n->in[i])) ts_sched_pointwise(t, n->in[i], &part);
			TsDim size = ts_val(t->g, n->in[i])->type.dim[axis];
			part.offset = ts_dim_add(t->d, part.offset, ts_dim_mul(t->d, size, part.stride[axis]));
		}
		ts_completes(t, n->out[0], since);
		return;
	}
	const TsAttr *before = ts_attr(t->m, n, "before");
	TsReal inner = *out;
	fill(t, ty, ts_attr(t->m, n, "value")->f, out);
	for (uint32_t i = 0; i < ty->rank; i++)
		inner.offset = ts_dim_add(t->d, inner.offset, ts_dim_mul(t->d, before->dims[i], inner.stride[i]));
	if (!ts_is_empty(t, n->in[0])) ts_sched_pointwise(t, n->in[0], &inner);
	ts_completes(t, n->out[0], since);
}
