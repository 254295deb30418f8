/* Contractions on GPUs: what the multiply-add form and the matrix instruction form share. Private to middle/tiler. */
#pragma once
#include "middle/tiler/gpu.h"

enum { TS_MM_VARIANTS = 32, TS_MM_BLOCK_K = 64 /* of k in a stage of the ring */, TS_MM_SOME = 64 /* rows that are few */ };
typedef enum { TS_MM_FMA, TS_MM_MMA, TS_MM_WGMMA, TS_MM_FEW, TS_MM_RING } TsMmForm;
typedef struct { TsMmForm form; int bm, bn, bk, wm, wn, stages; bool wide, copies /* cp.async */, packed /* reads the copies of the operands */, split /* of k: writes partial sums */, pair /* two CTAs, one below the other, share b */; TsDim guard, limit /* guard <= limit */; bool by_cost; TsDim need /* as in TsChoice */; int cluster /* CTAs that share k; 0: one */, room /* CTAs an SM shall have room for */; const char *label; bool fp8; int part /* columns of the result at a time */; bool early /* rows that would reach past the end begin before it */; } TsMmVariant; /* wm x wn warps; wgmma: wm groups of four; few rows: wm warps share k, bk each at a time; fp8: the operands as they are */
typedef struct {
	TsJob *j;
	TsOperand a, b;             /* a: [k, m]; b: [k, n] */
	TsDtype mma;                /* the type that the matrix instruction multiplies, or TS_DTYPE_NONE */
	TsOperand packed[2];        /* where a and b are copied for TMA, if they are */
	struct { TsDim on /* 1 where k is split, else 0 (the dim 0: nowhere) */, parts, blocks /* of k in a part */; TsReal sums; } split;
	bool fp8;                   /* both operands are 8-bit floats, which the target's instruction takes where they lie along k */
	TsWide wide;
	TsMmVariant v[TS_MM_VARIANTS];
	int n;
} TsMm;

/* The grid over batches and tiles of bm x bn at mb, nb, and the place of the epilogue there. */
void ts_mm_grid(TsMm *mm, TsKb *k, const TsMmVariant *v, TsPlace *p, TsDim *cells);
/* The accumulator `c` through the region, stored. */
void ts_mm_epilogue(TsMm *mm, TsKb *k, TsPlace *p, const char *c);
/* A swizzled memory layout of [y, x] (letters of dims): rows of `row` 16-bit elements of x, `rows` of y, then the rest of x, then stages. */
void ts_gl_shared(TsKb *k, const char *name, const char *dims, int row, int rows, int columns, int stages);
void ts_mm_fma(TsMm *mm, TsKb *k, const TsMmVariant *v, TsChoice *c);
/* Few rows (gpu_matmul_few.c): variants behind `mods` == 0; true when one of them fits always. */
bool ts_mm_add_few(TsMm *mm, TsDim mods);
void ts_mm_few(TsMm *mm, TsKb *k, const TsMmVariant *v, TsChoice *c);
void ts_mm_ring(TsMm *mm, TsKb *k, const TsMmVariant *v, TsChoice *c);
void ts_mm_mma(TsMm *mm, TsKb *k, const TsMmVariant *v, TsChoice *c);
/* gpu_columns.c: operands of the epilogue along n, one part ahead. The first part's loads; what the loop over parts carries, and its results;
 * in the loop, behind n0 and nl: the loads of the next part, this one's values into memo, and the loop's yield. */
enum { TS_MM_COLUMNS = 4 };
typedef struct { int n; uint32_t node[TS_MM_COLUMNS]; TsTileVal value[TS_MM_COLUMNS]; } TsMmColumns;
TsMmColumns ts_mm_columns(TsMm *mm, TsKb *k, const TsPlace *p);
const char *ts_mm_columns_with(TsKb *k, TsMmColumns *c, const char **results);
const char *ts_mm_columns_next(TsMm *mm, TsKb *k, TsMmColumns *c, int cols, const TsPlace *p, TsTileVal *memo);
/* gpu_fp8.c */
bool ts_mm_is_fp8(const TsMm *mm);
bool ts_mm_lies_along(const TsMm *mm);                       /* both operands along k */
void ts_mm_fp8_shared(TsKb *k, const char *name, int rows);  /* the layout of [rows, 128] */
void ts_mm_fp8_sums(TsKb *k, const TsMmVariant *v);          /* acc: the sums over the ring of one tile; p1 */
bool ts_mm_has_maps(const TsMm *mm);                         /* can TMA read both operands? */
/* Adds a variant for every tile that may be the best one of some sizes; each needs `need` to be 0. packed: on copies of the operands. */
void ts_mm_by_cost(TsMm *mm, TsDim need, bool packed);
bool ts_mm_can_pack(const TsMm *mm);
TsDim ts_mm_pays(const TsMm *mm);                            /* 1 where copies beat the form for any operands, else 0 */
/* Copies the operands so that TMA can read them; wanted: 1, or 0 where they are not. */
void ts_mm_pack(TsMm *mm, TsDim wanted);
/* 1 where rows of b alone, of both operands, begin at odd multiples of 16 bytes, which TMA reads slowly; and what a step over k costs then. */
typedef struct { TsDim b, both; } TsMmOdd;
TsDim ts_mm_step(const TsMm *mm, const TsGpuTile *g, TsMmOdd odd);
/* Adds the variant that splits k where that beats `best`, the cost of all others. */
void ts_mm_split(TsMm *mm, TsDim need, TsDim best, TsMmOdd odd);
TsOperand ts_mm_partial(TsMm *mm, TsKb *k);                  /* the partial sums: [part, batches.., m, n] */
void ts_mm_sum(TsMm *mm);                                    /* the step that adds them up, in order */
TsDim ts_mm_tiles(const TsMm *mm, int bm, int bn);
void ts_mm_wgmma(TsMm *mm, TsKb *k, const TsMmVariant *v, TsChoice *c);
