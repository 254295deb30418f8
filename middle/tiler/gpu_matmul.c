/* Contractions on GPUs: which forms and tiles, and the form for every type: multiply-add on a register tile, operands through shared memory.
 * Sums go over k in order whatever the tile, so a row has the same bits in any batch. */
#include "middle/tiler/gpu_matmul.h"
#include "ir/tile.h"
#include <string.h>

enum { FEW = 16, SOME = 64, RASTER = 8 /* rows of tiles that are walked together, so that the cache has their columns */ };

void ts_mm_grid(TsMm *mm, TsKb *k, const TsMmVariant *v, TsPlace *p, TsDim *cells)
{
	TsJob *j = mm->j;
	TsTl *t = j->t;
	*cells = ts_grid_cells(t, ts_grid_cells(t, ts_dim_const(t->d, 1), j->mm.m, v->bm), j->mm.n, v->bn);
	for (uint32_t i = 0; i < j->mm.im; i++) {
		p->base[i] = ts_kb_fmt(k, "b%u", i);
		*cells = ts_dim_mul(t->d, *cells, j->r.size[i]);
	}
	const char *m = ts_kb_dim(k, j->mm.m), *n = ts_kb_dim(k, j->mm.n);
	ts_kb_grid(k, j->mm.im, p->base, j->r.size, ts_kb_fmt(k, "t in 0..cdiv(%s, %d) * cdiv(%s, %d)", m, v->bm, n, v->bn), 1);
	ts_kb_line(k, "ti, tj = raster(t, cdiv(%s, %d), cdiv(%s, %d), %d)", m, v->bm, n, v->bn, RASTER);
	ts_kb_line(k, "mb: idx = %d * ti", v->bm);
	ts_kb_line(k, "nb: idx = %d * tj", v->bn);
	ts_kb_line(k, "ml: idx = %s - mb", ts_kb_dim(k, j->mm.m));
	ts_kb_line(k, "nl: idx = %s - nb", ts_kb_dim(k, j->mm.n));
	p->nv = 2;
	p->vdim[0] = (int)j->mm.im;
	p->vdim[1] = (int)j->mm.in;
	p->base[j->mm.im] = "mb";
	p->base[j->mm.in] = "nb";
	p->len[0] = v->bm;
	p->len[1] = v->bn;
	p->valid[0] = ts_whole(t, j->mm.m, v->bm) ? NULL : "ml";
	p->valid[1] = ts_whole(t, j->mm.n, v->bn) ? NULL : "nl";
}

void ts_mm_epilogue(TsMm *mm, TsKb *k, TsPlace *p, const char *c)
{
	p->anchor = c;
	p->anchor_mask = 3;
	p->anchor_elem = mm->j->mm.ct;
	ts_kb_store(k, &mm->j->r, mm->j->leaf, ts_kb_eval(k, &mm->j->r, mm->j->value, p, TS_NEW_N(k->t->a, TsTileVal, mm->j->r.nodes.n)), p);
}

/* ---- multiply-add ---- */

/* One operand's side of the kernel: [k, x] in tiles of bk by `width`, into rows of shared memory that are a vector apart. */
typedef struct { TsOperand o; bool by_k; const char *param, *at, *name, *lay, *base, *left; TsDtype elem; int width; } Side;

static const char *load_side(TsMm *mm, TsKb *k, const Side *s, int bk, const char *k0)
{
	TsDtype ct = mm->j->mm.ct;
	const char *x = ts_kb_tmp(k), *e = ts_dtype_name(s->elem), *kl = ts_kb_tmp(k);
	ts_kb_line(k, "%s: idx = %s - %s", kl, ts_kb_dim(k, mm->j->mm.k), k0);
	const char *kr = ts_kb_fmt(k, "%s:%s + %d", k0, k0, bk), *xr = ts_kb_fmt(k, "%s:%s + %d", s->base, s->base, s->width);
	ts_kb_line(k, "%s: %s[%d, %d] @%s = load(%s[%s%s, %s]%s, valid = [%s, %s])", x, e, bk, s->width, s->lay, s->param, s->at, s->by_k ? xr : kr, s->by_k ? kr : xr, s->by_k ? ".T" : "", kl, s->left);
	if (s->elem == ct) return x;
	const char *y = ts_kb_tmp(k);
	ts_kb_line(k, "%s: %s[%d, %d] @%s = cast(%s, %s)", y, ts_dtype_name(ct), bk, s->width, s->lay, x, ts_dtype_name(ct));
	return y;
}

static Side side(TsMm *mm, TsKb *k, const TsMmVariant *v, bool b)
{
	TsDtype ct = mm->j->mm.ct, elem = b ? mm->j->mm.be : mm->j->mm.ae;
	const TsOperand *o = b ? &mm->b : &mm->a;
	Side s = { .o = *o, .by_k = ts_operand_fast(k->t, o) == 0, .name = b ? "sb" : "sa", .lay = b ? "GB" : "GA", .base = b ? "nb" : "mb", .left = b ? "nl" : "ml", .elem = elem, .width = b ? v->bn : v->bm };
	if (s.by_k) {
		s.o.size[0] = o->size[1], s.o.size[1] = o->size[0];
		s.o.stride[0] = o->stride[1], s.o.stride[1] = o->stride[0];
	}
	int fast = ts_operand_fast(k->t, o), vec = v->wide ? mm->wide.vec : 1, extent[2] = { v->bk, s.width };
	s.param = ts_gpu_operand(k, &s.o, &s.at);
	while (vec > 1 && vec * v->wm * v->wn * TS_LANES > v->bk * s.width) vec /= 2; /* every thread has a part of its own */
	TsGLayout l = ts_gl_tile(2, fast < 0 ? 1 : fast, extent, vec, v->wm * v->wn, fast == 0 ? 1 : 0);
	ts_gl_print(k, &l, s.lay, 3);
	ts_kb_line(k, "smem %s: %s[2, %d, %d]", s.name, ts_dtype_name(ct), v->bk, s.width + 16 / ts_elem_bytes(ct));
	return s;
}

/* Rows of the accumulator that go through the region at a time: all where the registers do for it, else whole steps of the layout. */
static int part_rows(const TsMm *mm, const TsMmVariant *v, int step)
{
	enum { MOST = 255, ALL = 65536, SPARE = 24 };
	const TsJob *j = mm->j;
	int threads = v->wm * v->wn * TS_LANES, bytes = ts_elem_bytes(j->mm.ct), all = v->bm * v->bn / threads * bytes / 4, room = ALL / threads / (v->room > 1 ? v->room : 1);
	TsNeeds needs = ts_region_needs(j->t, &j->r, j->value, j->mm.im, j->mm.in);
	int part = ts_needs_part(&needs, all, all * step / v->bm, (room < MOST ? room : MOST) - SPARE);
	return v->bm * part / all;
}

/* The accumulator through the region, so many rows at a time. */
static void write_rows(TsMm *mm, TsKb *k, const TsMmVariant *v, TsPlace *p, int rows)
{
	TsJob *j = mm->j;
	if (rows == v->bm) {
		ts_mm_epilogue(mm, k, p, "acc");
		return;
	}
	ts_kb_open(k, "for q in 0..%d", v->bm / rows);
	ts_kb_line(k, "sync(\"cta\")"); /* so that what the next parts load does not lie in registers before its turn */
	ts_kb_line(k, "part: %s[%d, %d] @Z = slice(acc, axis = 0, at = %d * q, len = %d)", ts_dtype_name(j->mm.ct), rows, v->bn, rows, rows);
	ts_kb_line(k, "m0: idx = mb + %d * q", rows);
	if (p->valid[0]) ts_kb_line(k, "pl: idx = ml - %d * q", rows);
	p->base[j->mm.im] = "m0";
	p->len[0] = rows;
	if (p->valid[0]) p->valid[0] = "pl";
	ts_mm_epilogue(mm, k, p, "part");
	ts_kb_close(k, ts_kb_fmt(k, " { unroll = %d }", v->bm / rows));
}

void ts_mm_fma(TsMm *mm, TsKb *k, const TsMmVariant *v, TsChoice *c)
{
	TsPlace p = { 0 };
	const char *ct = ts_dtype_name(mm->j->mm.ct);
	int vn = 16 / ts_elem_bytes(mm->j->mm.ct), vm = v->bm >= 64 ? 4 : 1, ln = v->bm >= 64 ? 8 : 32;
	TsGLayout x = { .rank = 2 };
	ts_gl_put(&x, 'r', vn, 1, 1);
	ts_gl_put(&x, 'r', vm, 1, 0);
	ts_gl_put(&x, 'l', ln, vn, 1);
	ts_gl_put(&x, 'l', TS_LANES / ln, vm, 0);
	ts_gl_put(&x, 'w', v->wn, vn * ln, 1);
	ts_gl_put(&x, 'w', v->wm, vm * TS_LANES / ln, 0);
	ts_gl_put(&x, 'r', v->bn / (vn * ln * v->wn), vn * ln * v->wn, 1);
	TsGLayout part = x;
	int step = vm * (TS_LANES / ln) * v->wm, rows = part_rows(mm, v, step);
	ts_gl_put(&x, 'r', v->bm / step, step, 0);
	k->warps = v->wm * v->wn;
	k->ctas = v->room;
	ts_gl_place(k, &x, "X", &p);
	ts_gl_put(&part, 'r', rows / step, step, 0);
	if (rows < v->bm) ts_gl_place(k, &part, "Z", &p);
	Side a = side(mm, k, v, false), b = side(mm, k, v, true);
	ts_mm_grid(mm, k, v, &p, &c->cells);
	const char *X = ts_kb_fmt(k, "%s[%d, %d] @X", ct, v->bm, v->bn);
	ts_kb_line(k, "zero: %s = fill(0)", X);
	const char *a0 = load_side(mm, k, &a, v->bk, "0"), *b0 = load_side(mm, k, &b, v->bk, "0");
	ts_kb_open(k, "acc: %s, _, _ = for k0 in 0..%s step %d with c = zero, ga = %s, gb = %s", X, ts_kb_dim(k, mm->j->mm.k), v->bk, a0, b0);
	ts_kb_line(k, "s: idx = k0 // %d %% 2", v->bk);
	ts_kb_line(k, "put(sa[s, 0:%d, 0:%d], ga)", v->bk, v->bm);
	ts_kb_line(k, "put(sb[s, 0:%d, 0:%d], gb)", v->bk, v->bn);
	ts_kb_line(k, "sync(\"cta\")");
	ts_kb_line(k, "k1: idx = k0 + %d", v->bk);
	const char *a1 = load_side(mm, k, &a, v->bk, "k1"), *b1 = load_side(mm, k, &b, v->bk, "k1");
	ts_kb_open(k, "c1: %s = for q in 0..%d with d = c", X, v->bk);
	ts_kb_line(k, "x: %s[%d] @Xm = get(sa[s, q, 0:%d])", ct, v->bm, v->bm);
	ts_kb_line(k, "y: %s[%d] @Xn = get(sb[s, q, 0:%d])", ct, v->bn, v->bn);
	ts_kb_line(k, "e: %s = mma(d, x, y, atom = \"fma\")", X);
	ts_kb_line(k, "yield e");
	ts_kb_close(k, ts_kb_fmt(k, " { unroll = %d }", v->bk));
	ts_kb_line(k, "yield c1, %s, %s", a1, b1);
	ts_kb_close(k, "");
	write_rows(mm, k, v, &p, rows);
}

/* ---- which variants ---- */

static void write(void *user, TsKb *k, int i, TsChoice *c)
{
	TsMm *mm = user;
	const TsMmVariant *v = &mm->v[i];
	if (v->wide) ts_kb_wide(k, &mm->wide);
	if (v->form == TS_MM_FMA) ts_mm_fma(mm, k, v, c);
	else if (v->form == TS_MM_FEW) ts_mm_few(mm, k, v, c);
	else if (v->form == TS_MM_RING) ts_mm_ring(mm, k, v, c);
	else if (v->form == TS_MM_MMA) ts_mm_mma(mm, k, v, c);
	else ts_mm_wgmma(mm, k, v, c);
	c->guard_lhs = v->guard;
	c->guard_rhs = v->limit;
	c->by_cost = v->by_cost;
	c->need = v->need;
	c->label = ts_intern(k->t->cx, ts_kb_fmt(k, "%s%d x %d", v->label, v->bm, v->bn));
	c->tile[0] = v->bm;
	c->tile[1] = v->bn;
	c->tile[2] = v->bk;
}

static void operand(TsJob *j, TsOperand *o, bool b)
{
	*o = (TsOperand){ .real = b ? j->mm.b : j->mm.a, .size = { j->mm.k, b ? j->mm.n : j->mm.m }, .stride = { b ? j->mm.b_k : j->mm.a_k, b ? j->mm.b_n : j->mm.a_m } };
	for (uint32_t i = 0; i < j->mm.im; i++)
		o->at[o->n++] = (TsAxisAt){ ts_printf(j->t->a, "b%u", i), j->r.size[i], b ? j->mm.b_batch[i] : j->mm.a_batch[i] };
}

/* Tiles of bm x bn that the product has, all batches. */
static TsDim tiles_of(TsMm *mm, int bm, int bn)
{
	TsTl *t = mm->j->t;
	TsDim n = ts_grid_cells(t, ts_grid_cells(t, ts_dim_const(t->d, 1), mm->j->mm.m, bm), mm->j->mm.n, bn);
	for (uint32_t i = 0; i < mm->j->mm.im; i++) n = ts_dim_mul(t->d, n, mm->j->r.size[i]);
	return n;
}

/* Smaller tiles where the large ones would leave multiprocessors idle. A b that is contiguous along n needs fewer registers for its way into
 * shared memory; then narrow tiles, three at a time, are the fastest once they make several waves. */
/* Does the epilogue read a tile of [m, n], as a residual is? */
static bool reads_tiles(const TsJob *j)
{
	for (uint32_t i = 0; i < j->r.nodes.n; i++) {
		const TsRNode *n = &j->r.nodes.p[i];
		if (i != j->leaf && n->kind == TS_R_LOAD && n->coef[j->mm.im] && n->coef[j->mm.in]) return true;
	}
	return false;
}

static void choose_fma(TsMm *mm)
{
	enum { FILL = 132, WAVES = 1024, SHALLOW = 128 };
	static const TsMmVariant few[2] = { { TS_MM_FMA, 16, 128, 16, 4, 1, 2, .label = "few rows, " }, { TS_MM_FMA, 16, 64, 16, 4, 1, 2, .label = "few rows, " } };
	static const TsMmVariant some = { TS_MM_FMA, 64, 64, 16, 2, 2, 2, .room = 2, .label = "" }, tall = { TS_MM_FMA, 64, 128, 16, 2, 2, 2, .room = 3, .label = "" };
	static const TsMmVariant big[2] = { { TS_MM_FMA, 128, 128, 16, 4, 2, 2, .room = 2, .label = "" }, { TS_MM_FMA, 64, 64, 16, 4, 1, 2, .label = "" } };
	TsTl *t = mm->j->t;
	int wide8 = ts_elem_bytes(mm->j->mm.ct) == 8;
	TsDim mods = ts_wide_guard(t, &mm->wide), waves = ts_dim_sub(t->d, ts_dim_const(t->d, WAVES), tiles_of(mm, 64, 128));
	bool wide = mm->wide.vec > 1;
	int64_t depth, least, fewest, columns;
	ts_dim_range(t->d, mm->j->mm.k, &least, &depth);
	ts_dim_range(t->d, mm->j->mm.n, &fewest, &columns);
	bool slim = !wide8 && columns <= 64; /* one tile of the smallest has them all */
	if (wide && ts_mm_add_few(mm, mods)) return;
	for (int w = wide; w >= 0; w--) {
		const TsMmVariant shape[4] = { few[wide8], some, tall, big[wide8] };
		TsDim limit[4] = { ts_over(t, mm->j->mm.m, FEW), slim ? 0 : ts_over(t, tiles_of(mm, 128, 128), FILL), ts_over(t, waves, 0), 0 };
		TsDim size[4] = { mm->j->mm.m, tiles_of(mm, 128, 128), waves, 0 };
		int64_t most[4] = { FEW, FILL, 0, INT64_MAX };
		for (int i = 0; i < 4; i++) {
			int64_t lo = 0, hi;
			if ((i == 1 || i == 2) && wide8) continue;
			if (i == 2 && (!w || ts_operand_fast(t, &mm->b) != 1)) continue;
			if (i < 3) ts_dim_range(t->d, size[i], &lo, &hi);
			if (lo > most[i] && limit[i]) continue;
			mm->v[mm->n] = shape[i];
			mm->v[mm->n].wide = w;
			bool narrow = w && mm->wide.vec * ts_elem_bytes(mm->j->mm.ct) < 16;
			if (i == 3 && (narrow || ts_operand_fast(t, &mm->b) == 1 || depth <= SHALLOW || t->target->family != TS_FAMILY_SM90 || reads_tiles(mm->j))) mm->v[mm->n].room = 1; /* two do not fit without spilling */
			mm->v[mm->n++].guard = ts_dim_add(t->d, w ? mods : 0, limit[i]);
			if (!limit[i]) break;
		}
		if (!mm->v[mm->n - 1].guard) return;
	}
}

/* The 16-bit type in which both operands are exact, if there is one; f32 where it may be rounded to TF32. */
static TsDtype mma_type(const TsJob *j)
{
	TsDtype t[2] = { j->mm.ae, j->mm.be }, out = TS_F16;
	bool half = false;
	if (j->mm.ct != TS_F32) return TS_DTYPE_NONE;
	if (t[0] == TS_F32 && t[1] == TS_F32 && j->n && j->n->num->tf32) return TS_F32;
	for (int i = 0; i < 2; i++)
		if (t[i] == TS_F16 || t[i] == TS_BF16) { out = t[i]; half = true; }
	for (int i = 0; i < 2; i++) {
		if (t[i] == out) continue;
		if (ts_dtype_is_compute(t[i]) || ts_dtype_bits(t[i]) > 8 || (!half && ts_dtype_is_int(t[i]))) return TS_DTYPE_NONE;
	}
	return out;
}

static TsMmVariant tuned(const TsMm *mm, TsGpuEntry e, const char *label)
{
	const TsGpuTuned *g = &mm->j->t->gpu->entry[e];
	bool ring = !g->warps_m;
	return (TsMmVariant){ ring ? TS_MM_WGMMA : TS_MM_MMA, g->block_m, g->block_n, g->block_k, ring ? g->block_m / 64 : g->warps_m, ring ? 1 : g->warps_n, g->stages,
		.wide = true, .copies = !ring, .label = label };
}

/* max(least - d, 0): a guard that d >= least */
static TsDim below(TsTl *t, TsDim d, int64_t least) { return ts_over(t, ts_dim_sub(t->d, ts_dim_const(t->d, least), d), 0); }

/* Is there a variant already that is taken wherever this holds? */
static bool has_guard(const TsMm *mm, TsDim guard)
{
	for (int i = 0; i < mm->n; i++)
		if (mm->v[i].guard == guard) return true;
	return false;
}

/* The same instruction for any number of rows, so that a row's bits do not depend on it: narrow tiles for few, else those that are done
 * first. A map has no empty axis: without k, another form. */
static void add_wgmma(TsMm *mm, TsDim mods)
{
	TsTl *t = mm->j->t;
	TsDim rows = ts_over(t, mm->j->mm.m, SOME), need = ts_dim_add(t->d, mods, below(t, mm->j->mm.k, 1));
	int64_t lo, hi;
	ts_dim_range(t->d, mm->j->mm.m, &lo, &hi);
	if (lo <= SOME && !has_guard(mm, ts_dim_add(t->d, need, rows))) {
		mm->v[mm->n] = tuned(mm, TS_GT_MATMUL_WGMMA_FEW, "few rows, ");
		if (mm->fp8) mm->v[mm->n].fp8 = true, mm->v[mm->n].bk *= 2;
		mm->v[mm->n++].guard = ts_dim_add(t->d, need, rows);
	}
	if (rows) ts_mm_by_cost(mm, need, false);
}

/* More rows whose operands TMA cannot read as they are, where `mods` is not 0 (the dim 0: anywhere): from copies. */
static void add_packed(TsMm *mm, TsDim mods)
{
	TsTl *t = mm->j->t;
	TsDim one = ts_dim_const(t->d, 1), some = ts_dim_min(t->d, one, ts_over(t, mm->j->mm.m, SOME)), odd = mods ? ts_dim_min(t->d, one, mods) : one;
	TsDim wanted = ts_dim_mul(t->d, ts_dim_mul(t->d, some, odd), ts_mm_pays(mm)), never = ts_dim_sub(t->d, one, wanted);
	if (!wanted) return;
	ts_mm_pack(mm, wanted);
	ts_mm_by_cost(mm, ts_dim_add(t->d, below(t, mm->j->mm.k, 1), never), true);
}

static void choose_mma(TsMm *mm)
{
	static const TsMmVariant any = { TS_MM_MMA, 64, 64, 64, 2, 2, 2, .label = "any, " };
	TsTl *t = mm->j->t;
	TsDim mods = ts_wide_guard(t, &mm->wide), over[3] = { ts_over(t, mm->j->mm.m, FEW), ts_over(t, mm->j->mm.m, SOME), 0 };
	/* 8-bit operands have sums of their own: half the tile */
	const TsMmVariant shape[3] = { tuned(mm, TS_GT_MATMUL_MMA_FEW, "few rows, "), tuned(mm, TS_GT_MATMUL_MMA_SOME, "some rows, "), tuned(mm, mm->fp8 ? TS_GT_MATMUL_MMA_SOME : TS_GT_MATMUL_MMA, "") };
	int bytes = mm->fp8 ? 1 : ts_elem_bytes(mm->mma);
	int64_t lo, hi;
	bool wide = mm->wide.vec == 16 / bytes && (mm->fp8 ? ts_mm_lies_along(mm) : (mm->mma == mm->j->mm.ae && mm->mma == mm->j->mm.be)) && ts_operand_fast(t, &mm->a) >= 0 && ts_operand_fast(t, &mm->b) >= 0;
	ts_dim_range(t->d, mm->j->mm.m, &lo, &hi);
	bool hopper = t->target->family == TS_FAMILY_SM90 && mm->mma != TS_F32, ring = hopper && ts_mm_has_maps(mm);
	bool has = !mm->fp8 || ts_tile_target(t->target->tile)->cls & TS_TG_SM89;
	if (wide && !mm->fp8 && mm->mma != TS_F32 && ts_mm_add_few(mm, mods)) return;
	if (wide && ring) add_wgmma(mm, mods);
	if (hopper && ts_mm_can_pack(mm) && (!wide || !ring || mods)) add_packed(mm, wide && ring ? mods : 0);
	for (int i = 0; i < 3 && wide && !ring && has; i++) {
		if ((i == 0 && lo > FEW) || (i == 1 && lo > SOME)) continue;
		mm->v[mm->n] = shape[i];
		mm->v[mm->n].bk = 128 / bytes;
		mm->v[mm->n].fp8 = mm->fp8;
		mm->v[mm->n++].guard = ts_dim_add(t->d, mods, over[i]);
		if (!over[i]) break;
	}
	if (mm->n && !mm->v[mm->n - 1].guard) return;
	mm->v[mm->n] = any;
	if (mm->mma == TS_F32) mm->v[mm->n].bk /= 2;
	mm->v[mm->n].by_cost = true;
	mm->v[mm->n++].need = mm->split.on;
}

void ts_gpu_matmul(TsJob *j)
{
	TsTl *t = j->t;
	TsMm mm = { .j = j };
	operand(j, &mm.a, false);
	operand(j, &mm.b, true);
	mm.mma = mma_type(j);
	mm.fp8 = ts_mm_is_fp8(&mm);
	mm.wide.vec = mm.fp8 ? 16 : mm.mma != TS_DTYPE_NONE ? 16 / ts_elem_bytes(mm.mma) : 16 / ts_elem_bytes(j->mm.ct);
	for (int i = 0; i < 2; i++) {
		const TsOperand *o = i ? &mm.b : &mm.a;
		int fast = ts_operand_fast(t, o);
		if (fast >= 0 && ts_dtype_bits(t->e->bufs.p[o->real.buf].elem) >= 8) ts_wide_operand(t, &mm.wide, o, fast);
	}
	ts_wide_region(t, &mm.wide, &j->r, j->mm.in);
	ts_region_bits(t, &j->r, j->value, j->r.nodes.p[j->leaf].elem);
	if (mm.mma != TS_DTYPE_NONE) choose_mma(&mm);
	else choose_fma(&mm);
	ts_gpu_emit(j, &(TsVariants){ .name = j->name, .write = write, .user = &mm, .n = mm.n });
	if (mm.split.on) ts_mm_sum(&mm);
}
