/* Few tiles and a long k: the blocks of k are divided among the multiprocessors, whose partial sums, in f32, a second kernel adds up in order.
 * How k is divided depends on the sizes alone. */
#include "middle/tiler/gpu_matmul.h"

enum { LEAST = 4 /* blocks of k in a part, but for the last */, AT_ONCE = 4 /* parts that are read before they are added */, ROWS = 4, COLUMNS = 128, WARPS = 4 };

/* The tile of 128 x 128, if there is one. */
static const TsGpuTile *tile_for(const TsGpuTune *g)
{
	for (int i = 0; i < g->tiles; i++)
		if (g->tile[i].block_m == 128 && g->tile[i].block_n == 128 && g->tile[i].ctas == 1) return &g->tile[i];
	return NULL;
}

void ts_mm_split(TsMm *mm, TsDim need, TsDim best, TsMmOdd odd)
{
	TsTl *t = mm->j->t;
	TsDims *d = t->d;
	const TsGpuTune *gpu = t->gpu;
	const TsGpuTile *g = tile_for(gpu);
	TsDim one = ts_dim_const(d, 1);
	int64_t on;
	if (!g) return;
	TsDim tiles = ts_dim_max(d, ts_mm_tiles(mm, g->block_m, g->block_n), one), steps = ts_dim_max(d, ts_dim_cdiv(d, mm->j->mm.k, ts_dim_const(d, TS_MM_BLOCK_K)), one);
	TsDim room = ts_dim_max(d, ts_dim_floordiv(d, ts_dim_const(d, gpu->multiprocessors), tiles), one); /* parts that are done in one wave */
	mm->split.blocks = ts_dim_max(d, ts_dim_cdiv(d, steps, room), ts_dim_const(d, LEAST));
	mm->split.parts = ts_dim_cdiv(d, steps, mm->split.blocks);
	TsDim waves = ts_dim_cdiv(d, ts_dim_mul(d, tiles, mm->split.parts), ts_dim_const(d, gpu->multiprocessors));
	TsDim each = ts_dim_add(d, ts_dim_const(d, g->tile), ts_dim_mul(d, mm->split.blocks, ts_mm_step(mm, g, odd)));
	TsDim cost = ts_dim_add(d, ts_dim_mul(d, waves, each), ts_dim_add(d, ts_dim_const(d, gpu->sum), ts_dim_mul(d, mm->split.parts, ts_dim_add(d, ts_dim_const(d, gpu->part), ts_dim_mul(d, tiles, ts_dim_const(d, gpu->part_tile))))));
	TsDim gain = ts_dim_min(d, one, ts_dim_max(d, ts_dim_sub(d, best, cost), 0)), fits = ts_dim_sub(d, one, ts_dim_min(d, one, need));
	TsDim many = ts_dim_min(d, one, ts_over(t, mm->j->mm.m, TS_MM_SOME)), several = ts_dim_min(d, one, ts_dim_sub(d, mm->split.parts, one));
	mm->split.on = ts_dim_mul(d, ts_dim_mul(d, gain, several), ts_dim_mul(d, fits, many));
	if (ts_dim_is_const(d, mm->split.on, &on) && !on) { mm->split.on = 0; return; }
	TsDim count = ts_dim_mul(d, mm->split.on, ts_dim_mul(d, mm->split.parts, ts_dim_mul(d, mm->j->mm.m, mm->j->mm.n)));
	for (uint32_t i = 0; i < mm->j->mm.im; i++) count = ts_dim_mul(d, count, mm->j->r.size[i]);
	mm->split.sums = (TsReal){ .how = TS_REAL_VIEW, .buf = ts_new_buf(t, TS_BUF_WORK, TS_F32, count) };
	TsDim off = ts_dim_sub(d, one, mm->split.on);
	mm->v[mm->n++] = (TsMmVariant){ TS_MM_WGMMA, g->block_m, g->block_n, TS_MM_BLOCK_K, g->block_m / 64, 1, g->stages, .wide = true, .split = true, .by_cost = true, .guard = off, .need = off,
		.label = "k in parts, " };
}

TsOperand ts_mm_partial(TsMm *mm, TsKb *k)
{
	TsDims *d = k->t->d;
	TsDim row = mm->j->mm.n, part = ts_dim_mul(d, mm->j->mm.m, row);
	TsOperand o = { .real = mm->split.sums, .n = mm->j->mm.im + 1, .size = { mm->j->mm.m, mm->j->mm.n }, .stride = { row, ts_dim_const(d, 1) } };
	for (uint32_t i = mm->j->mm.im; i-- > 0; part = ts_dim_mul(d, part, mm->j->r.size[i])) o.at[i + 1] = (TsAxisAt){ ts_kb_fmt(k, "b%u", i), mm->j->r.size[i], part };
	o.at[0] = (TsAxisAt){ "sp", mm->split.parts, part };
	return o;
}

static void write_sum(void *user, TsKb *k, int i, TsChoice *c)
{
	(void)i;
	TsMm *mm = user;
	TsPlace p = { 0 };
	int extent[2] = { ROWS, COLUMNS };
	const TsMmVariant v = { .bm = ROWS, .bn = COLUMNS };
	TsGLayout l = ts_gl_tile(2, 1, extent, 4, WARPS, 0);
	k->warps = WARPS;
	ts_kb_wide(k, &mm->wide);
	ts_gl_place(k, &l, "X", &p);
	ts_mm_grid(mm, k, &v, &p, &c->cells);
	const char *X = ts_kb_fmt(k, "f32[%d, %d] @X", ROWS, COLUMNS), *parts = ts_kb_dim(k, mm->split.parts), *sum = "c";
	ts_kb_line(k, "zero: %s = fill(0.0)", X);
	ts_kb_open(k, "acc: %s = for s in 0..%s step %d with c = zero", X, parts, AT_ONCE);
	for (int u = 0; u < AT_ONCE; u++) {
		const char *at, *sums;
		TsOperand o = ts_mm_partial(mm, k);
		ts_kb_line(k, "s%d: idx = s + %d", u, u);
		ts_kb_line(k, "n%d: idx = select(s%d < %s, nl, 0)", u, u, parts);
		o.at[0].text = ts_kb_fmt(k, "s%d", u);
		sums = ts_gpu_operand(k, &o, &at);
		ts_kb_line(k, "x%d: %s = load(%s[%smb:mb + %d, nb:nb + %d], valid = [ml, n%d])", u, X, sums, at, ROWS, COLUMNS, u);
	}
	for (int u = 0; u < AT_ONCE; u++) {
		ts_kb_line(k, "c%d: %s = add(%s, x%d)", u, X, sum, u);
		sum = ts_kb_fmt(k, "c%d", u);
	}
	ts_kb_line(k, "yield %s", sum);
	ts_kb_close(k, "");
	ts_mm_epilogue(mm, k, &p, "acc");
	c->cells = ts_dim_mul(k->t->d, c->cells, mm->split.on);
	c->label = ts_intern(k->t->cx, "parts together");
}

void ts_mm_sum(TsMm *mm)
{
	TsJob j = *mm->j;
	j.root = 0;
	ts_gpu_emit(&j, &(TsVariants){ .name = "matmul_sum", .write = write_sum, .user = mm, .n = 1 });
}
