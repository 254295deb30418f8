/* The schedule database: autotune_db/NAME.yaml, one file per CPU machine family with its limits and the tunables of its schedules, carried
 * inside tsc. The reader is strict: a key or name it does not know, a value out of range, an entry twice, missing or out of order, or an
 * anchor is an error with its place (E_TUNE). What it accepts is legal: tiles fit the registers, blocks the caches, and the
 * tunables that decide bits or the grid agree between families, because clones of a kernel must. Everything lies in the context's arena. */
#pragma once
#include "middle/tiler/sched.h"

typedef enum { TS_TUNE_ATTENTION_4, TS_TUNE_ATTENTION_8, TS_TUNE_MATMUL_4, TS_TUNE_MATMUL_8, TS_TUNE_POINTWISE, TS_TUNE_ENTRIES } TsTuneEntry; /* 4, 8: bytes per element */
typedef enum {
	TS_TUNE_MR, TS_TUNE_LANES, TS_TUNE_REGS,                          /* register tile: mr rows, regs registers of lanes elements */
	TS_TUNE_BLOCK_M, TS_TUNE_BLOCK_N, TS_TUNE_BLOCK_K, TS_TUNE_SMALL_M, /* matmul: cell, k at a time, rows that count as few */
	TS_TUNE_ROWS, TS_TUNE_KEYS,                                       /* attention: query rows of a cell, keys at a time */
	TS_TUNE_CHUNK,                                                    /* pointwise: elements of a cell */
	TS_TUNABLES
} TsTunable;
typedef enum { TS_LIMIT_VECTOR_BYTES, TS_LIMIT_VECTOR_REGISTERS, TS_LIMIT_L1_BYTES, TS_LIMIT_L2_BYTES, TS_LIMIT_L3_BYTES, TS_LIMITS } TsLimit;

typedef struct { int v[TS_TUNABLES]; TsSpan at[TS_TUNABLES]; } TsTuned;
typedef struct { TsSym name; int limit[TS_LIMITS]; TsTuned entry[TS_TUNE_ENTRIES]; } TsTuneArch;
typedef struct TsTuneDb { TsTuneArch arch[TS_CPU_CLONES]; } TsTuneDb;

/* The same for a GPU: one file each, NAME.yaml, for the limits of ir/tile_targets.def. Fields that a schedule lacks are 0. */
typedef enum { TS_GT_ATTENTION_MMA, TS_GT_ATTENTION_SPANS, TS_GT_ATTENTION_WGMMA, TS_GT_MATMUL_MMA, TS_GT_MATMUL_MMA_FEW, TS_GT_MATMUL_MMA_SOME, TS_GT_MATMUL_WGMMA_FEW,
	TS_GT_POINTWISE, TS_GT_ROW, TS_GT_ENTRIES } TsGpuEntry;
typedef struct { int block_m, block_n, block_k, stages, warps_m, warps_n, rows, keys, keys_256, warps, elements, longest, cluster, cells, shortest; } TsGpuTuned;
/* A tile of matmul by wgmma and what it costs: `step` ns for each block_k, `odd` more where rows of b do not begin at multiples of 32 bytes, `tile` ns
 * beside them, on one multiprocessor. ctas: as many, one below the other, share b. */
enum { TS_GPU_TILES = 12 };
typedef struct { int block_m, block_n, ctas, stages, step, odd, tile; } TsGpuTile;
typedef struct TsGpuTune {
	TsGpuTuned entry[TS_GT_ENTRIES];
	int multiprocessors, sum, part, part_tile, pack, any, tiles; /* with wgmma: of the machine that the costs are of; ns to add up partial sums, and for each, and
		for each tile of each; to copy the operands; of a step of the form for any operands; how many tiles */
	TsGpuTile tile[TS_GPU_TILES];
} TsGpuTune;
bool ts_tune_read_gpu(TsCtx *cx, uint32_t source, const char *arch, TsGpuTune *out); /* one file, for that architecture. False after reporting */
const TsGpuTune *ts_tune_load_gpu(TsCtx *cx, const char *arch);  /* what tsc carries, or NULL after reporting */

bool ts_tune_read(TsCtx *cx, uint32_t source, TsTuneArch *out);  /* one file. False after reporting */
bool ts_tune_agree(TsCtx *cx, const TsTuneDb *db);               /* do the families fit together? False after reporting */
const TsTuneDb *ts_tune_load(TsCtx *cx);                         /* what tsc carries, or NULL after reporting */
