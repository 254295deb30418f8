/* Which tile of a contraction by wgmma is done first: the costs of autotune_db as formulas over the sizes, compared when sizes are known, at
 * compile time or at `prepare`. Sums go over k in order whatever the tile, so the choice decides no bit. */
#include "middle/tiler/gpu_matmul.h"

/* Waves over the multiprocessors, each of one tile's steps over k. */
static TsDim cost_of(const TsMm *mm, const TsGpuTile *g)
{
	TsTl *t = mm->j->t;
	TsDims *d = t->d;
	TsDim tiles = ts_grid_cells(t, ts_grid_cells(t, ts_dim_const(d, 1), mm->j->mm.m, g->block_m), mm->j->mm.n, g->block_n);
	for (uint32_t i = 0; i < mm->j->mm.im; i++) tiles = ts_dim_mul(d, tiles, mm->j->r.size[i]);
	TsDim steps = ts_dim_mul(d, ts_dim_cdiv(d, mm->j->mm.k, ts_dim_const(d, mm->fp8 ? 2 * TS_MM_BLOCK_K : TS_MM_BLOCK_K)), ts_dim_const(d, g->step)); /* a step of 128 bytes */
	return ts_dim_mul(d, ts_dim_cdiv(d, tiles, ts_dim_const(d, t->gpu->multiprocessors)), ts_dim_add(d, steps, ts_dim_const(d, g->tile)));
}

/* Copies are for sizes that nothing is tuned for: three tiles will do. The same for 8-bit floats, whose narrower tiles wait for memory; three groups
 * of warps have no registers for two sums. */
static bool serves(const TsMm *mm, const TsGpuTile *g, bool packed) { return (!packed && !mm->fp8) || (g->block_m == 128 && g->block_n != 192); }

void ts_mm_by_cost(TsMm *mm, TsDim need, bool packed)
{
	TsTl *t = mm->j->t;
	TsDims *d = t->d;
	TsDim cost[TS_GPU_TILES], best = 0;
	int order[TS_GPU_TILES], n = 0;
	for (int i = 0; i < t->gpu->tiles; i++) cost[i] = cost_of(mm, &t->gpu->tile[i]);
	for (int i = 0; i < t->gpu->tiles; i++) {
		bool wins = serves(mm, &t->gpu->tile[i], packed);
		for (int j = 0; j < t->gpu->tiles && wins; j++)
			wins = i == j || !serves(mm, &t->gpu->tile[j], packed) || ts_dim_le(d, ts_dim_add(d, cost[j], ts_dim_const(d, j > i)), cost[i]) != TS_YES;
		if (wins) order[n++] = i;
	}
	/* The first whose cost is no more than those behind it; a need that isn't met costs more than a century. */
	for (int i = n - 1; i >= 0; i--) {
		const TsGpuTile *g = &t->gpu->tile[order[i]];
		TsMmVariant *v = &mm->v[mm->n + i];
		*v = (TsMmVariant){ TS_MM_WGMMA, g->block_m, g->block_n, mm->fp8 ? 2 * TS_MM_BLOCK_K : TS_MM_BLOCK_K, g->block_m / 64, 1, g->stages, .wide = !packed, .packed = packed, .by_cost = true, .need = need,
			.label = packed ? "copied, " : "persistent, ", .fp8 = mm->fp8 };
		v->guard = i == n - 1 ? need : ts_dim_add(d, cost[order[i]], ts_dim_mul(d, ts_dim_min(d, need, ts_dim_const(d, 1)), ts_dim_const(d, (int64_t)1 << 44))) /* once: 2^44 * M * N would pass 2^63 */;
		v->limit = i == n - 1 ? 0 : best;
		best = i == n - 1 ? cost[order[i]] : ts_dim_min(d, cost[order[i]], best);
	}
	mm->n += n;
}
