/* Contractions on GPUs: what the multiply-add form and the matrix instruction form share. Private to middle/tiler. */
#pragma once
#include "middle/tiler/gpu.h"

enum { TS_MM_VARIANTS = 16, TS_MM_BLOCK_K = 64 /* of k in a stage of the ring */ };
typedef enum { TS_MM_FMA, TS_MM_MMA, TS_MM_WGMMA } TsMmForm;
typedef struct { TsMmForm form; int bm, bn, bk, wm, wn, stages; bool wide, copies /* cp.async */, packed /* reads the copies of the operands */; TsDim guard, limit /* guard <= limit */; bool by_cost; TsDim need /* as in TsChoice */; const char *label; bool fp8; } TsMmVariant; /* wm x wn warps; wgmma: wm groups of four; fp8: the operands as they are */
typedef struct {
	TsJob *j;
	TsOperand a, b;             /* a: [k, m]; b: [k, n] */
	TsDtype mma;                /* the type that the matrix instruction multiplies, or TS_DTYPE_NONE */
	TsOperand packed[2];        /* where a and b are copied for TMA, if they are */
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
void ts_mm_mma(TsMm *mm, TsKb *k, const TsMmVariant *v, TsChoice *c);
/* gpu_fp8.c */
bool ts_mm_is_fp8(const TsMm *mm);
bool ts_mm_lies_along(const TsMm *mm);                       /* both operands along k */
void ts_mm_fp8_shared(TsKb *k, const char *name, int rows);  /* the layout of [rows, 128] */
void ts_mm_fp8_sums(TsKb *k, const TsMmVariant *v);          /* acc: the sums over the ring of one tile; p1 */
bool ts_mm_has_maps(const TsMm *mm);                         /* can TMA read both operands? */
/* Adds a variant for every tile that may be the best one of some sizes; each needs `need` to be 0. packed: on copies of the operands. */
void ts_mm_by_cost(TsMm *mm, TsDim need, bool packed);
bool ts_mm_can_pack(const TsMm *mm);
/* Copies the operands so that TMA can read them; wanted: 1, or 0 where they are not. */
void ts_mm_pack(TsMm *mm, TsDim wanted);
void ts_mm_wgmma(TsMm *mm, TsKb *k, const TsMmVariant *v, TsChoice *c);
