/* Which tile of a contraction by wgmma is done first: the costs of autotune_db as formulas over the sizes, compared when sizes are known, at
 * compile time or at `prepare`. Sums go over k in order whatever the tile, so the choice decides no bit. */
#include "middle/tiler/gpu_matmul.h"

TsDim ts_mm_tiles(const TsMm *mm, int bm, int bn)
{
	TsTl *t = mm->j->t;
	TsDim tiles = ts_grid_cells(t, ts_grid_cells(t, ts_dim_const(t->d, 1), mm->j->mm.m, bm), mm->j->mm.n, bn);
	for (uint32_t i = 0; i < mm->j->mm.im; i++) tiles = ts_dim_mul(t->d, tiles, mm->j->r.size[i]);
	return tiles;
}

/* What tiles of odd rows wait for: TMA, which takes 2.15 ns for each of them, and for 64 columns no less than for 128. */
static int of_odd_rows(const TsGpuTile *g)
{
	int ns = 43 * (g->block_m + (g->block_n < 128 ? 128 : g->block_n) / g->ctas) / 20;
	return ns > g->step ? ns - g->step : 0;
}

TsDim ts_mm_step(const TsMm *mm, const TsGpuTile *g, TsMmOdd odd)
{
	TsDims *d = mm->j->t->d;
	TsDim step = ts_dim_add(d, ts_dim_const(d, g->step), ts_dim_mul(d, odd.b, ts_dim_const(d, g->odd)));
	return ts_dim_add(d, step, ts_dim_mul(d, odd.both, ts_dim_const(d, of_odd_rows(g))));
}

/* Waves over the multiprocessors, each of one tile's steps over k. */
static TsDim cost_of(const TsMm *mm, const TsGpuTile *g, TsMmOdd odd)
{
	TsTl *t = mm->j->t;
	TsDims *d = t->d;
	TsDim tiles = ts_mm_tiles(mm, g->block_m * g->ctas, g->block_n), k = ts_dim_const(d, mm->fp8 ? 2 * TS_MM_BLOCK_K : TS_MM_BLOCK_K); /* a step of 128 bytes */
	TsDim steps = ts_dim_mul(d, ts_dim_cdiv(d, mm->j->mm.k, k), ts_mm_step(mm, g, odd));
	return ts_dim_mul(d, ts_dim_cdiv(d, tiles, ts_dim_const(d, t->gpu->multiprocessors / g->ctas)), ts_dim_add(d, steps, ts_dim_const(d, g->tile)));
}

/* 1 where rows of an operand may begin at odd multiples of 16 bytes. */
static TsDim odd_rows(const TsMm *mm, const TsOperand *o)
{
	TsDims *d = mm->j->t->d;
	TsDim stride = o->stride[ts_operand_fast(mm->j->t, o) == 0 ? 1 : 0];
	return mm->fp8 ? 0 : ts_dim_min(d, ts_dim_const(d, 1), ts_dim_mod(d, stride, ts_dim_const(d, 16)));
}

static TsMmOdd odd_of(const TsMm *mm)
{
	TsDims *d = mm->j->t->d;
	TsDim a = odd_rows(mm, &mm->a), b = odd_rows(mm, &mm->b);
	TsMmOdd odd = { .both = a == b ? a : ts_dim_mul(d, a, b) };
	odd.b = a == b ? 0 : ts_dim_sub(d, b, odd.both);
	return odd;
}

/* Copies are for sizes that nothing is tuned for: three tiles will do. The same for 8-bit floats, whose narrower tiles wait for memory; three groups
 * of warps have no registers for two sums. */
static bool serves(const TsMm *mm, const TsGpuTile *g, bool packed, TsMmOdd odd)
{
	if (packed || mm->fp8) return g->ctas == 1 && g->block_m == 128 && g->block_n != 192;
	if (g->ctas == 1 && g->block_m == 128 && g->block_n == 128) return false; /* 64 x 256 costs the same, and fits more sizes */
	return g->ctas == 1 || odd.b || odd.both;
}

TsDim ts_mm_pays(const TsMm *mm)
{
	TsTl *t = mm->j->t;
	TsDims *d = t->d;
	TsDim waves = ts_dim_cdiv(d, ts_mm_tiles(mm, 64, 64), ts_dim_const(d, 2 * t->gpu->multiprocessors)), best = 0;
	TsDim any = ts_dim_mul(d, waves, ts_dim_mul(d, ts_dim_cdiv(d, mm->j->mm.k, ts_dim_const(d, TS_MM_BLOCK_K)), ts_dim_const(d, t->gpu->any)));
	const TsMmOdd none = { 0 };
	for (int i = 0; i < t->gpu->tiles; i++) {
		if (!serves(mm, &t->gpu->tile[i], true, none)) continue;
		TsDim cost = ts_dim_add(d, cost_of(mm, &t->gpu->tile[i], none), ts_dim_const(d, t->gpu->pack));
		best = best ? ts_dim_min(d, best, cost) : cost;
	}
	return ts_dim_min(d, ts_dim_const(d, 1), ts_dim_max(d, ts_dim_sub(d, any, best), 0));
}

void ts_mm_by_cost(TsMm *mm, TsDim need, bool packed)
{
	TsTl *t = mm->j->t;
	TsDims *d = t->d;
	TsDim cost[TS_GPU_TILES], best = 0;
	TsMmOdd odd = { 0 };
	int order[TS_GPU_TILES], n = 0;
	if (!packed) odd = odd_of(mm);
	for (int i = 0; i < t->gpu->tiles; i++) cost[i] = cost_of(mm, &t->gpu->tile[i], odd);
	for (int i = 0; i < t->gpu->tiles; i++) {
		bool wins = serves(mm, &t->gpu->tile[i], packed, odd);
		for (int j = 0; j < t->gpu->tiles && wins; j++)
			wins = i == j || !serves(mm, &t->gpu->tile[j], packed, odd) || ts_dim_le(d, ts_dim_add(d, cost[j], ts_dim_const(d, j > i)), cost[i]) != TS_YES;
		if (wins) order[n++] = i;
	}
	for (int i = 0; i < n; i++) best = i ? ts_dim_min(d, best, cost[order[i]]) : cost[order[i]];
	if (!packed && !mm->fp8) ts_mm_split(mm, need, best, odd);
	TsDim legal = !packed && mm->split.on ? ts_dim_add(d, need, mm->split.on) : need;
	if (ts_dim_le(d, ts_dim_const(d, 1), legal) == TS_YES) return;
	/* The first whose cost is no more than those behind it; a need that isn't met costs more than a century. */
	for (int i = n - 1; i >= 0; i--) {
		const TsGpuTile *g = &t->gpu->tile[order[i]];
		TsMmVariant *v = &mm->v[mm->n + i];
		*v = (TsMmVariant){ TS_MM_WGMMA, g->block_m, g->block_n, mm->fp8 ? 2 * TS_MM_BLOCK_K : TS_MM_BLOCK_K, g->block_m / 64, 1, g->stages, .wide = !packed, .packed = packed, .pair = g->ctas > 1,
			.by_cost = true, .need = legal, .label = packed ? "copied, " : g->ctas > 1 ? "pairs, " : "persistent, ", .fp8 = mm->fp8 };
		v->guard = i == n - 1 ? need : ts_dim_add(d, cost[order[i]], ts_dim_mul(d, ts_dim_min(d, need, ts_dim_const(d, 1)), ts_dim_const(d, (int64_t)1 << 44))) /* once: 2^44 * M * N would pass 2^63 */;
		v->limit = i == n - 1 ? 0 : best;
		best = i == n - 1 ? cost[order[i]] : ts_dim_min(d, cost[order[i]], best);
	}
	mm->n += n;
}
