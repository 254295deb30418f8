/* The launch ABI of a Tile IR kernel as the verifier, the backend, the plan writer and the simulator share it: where shared memory lies,
 * and what a launcher must know. Shared memory (`smem`) of a kernel on `cpu` is scratch that the caller gives: each buffer at a multiple of
 * 64, in order of declaration. On GPUs it is dynamic shared memory, from offset 0, aligned to 1024: buffers and ring slots in order of
 * declaration, swizzled ones at multiples of 1024, others of 128; behind them the barriers of the rings. Kernels are verified ones
 * (the offsets need only the declarations, which the verifier itself asks for). */
#pragma once
#include "ir/tile.h"

const TsTileTarget *ts_tile_target_of(const TsTree *kernel);             /* of its attribute; NULL when there is none */
int64_t ts_tile_shared_bytes(const TsTree *kernel);                      /* all of it; 0: none */
int64_t ts_tile_smem_offset(const TsTree *kernel, const TsTree *smem);   /* of one SMEM statement; -1 when it is not in this kernel */
int64_t ts_tile_smem_bytes(const TsTree *smem);

/* A ring: slot i of buffer b lies at offset(b) + i * slot_bytes; the full barrier of slot i at barrier + 8 i, its empty one 8 * slots behind. */
int64_t ts_tile_slot_bytes(const TsTree *kernel, const TsTree *ring);
int64_t ts_tile_slot_offset(const TsTree *kernel, const TsTree *ring, const TsTree *bind);
int64_t ts_tile_barrier_offset(const TsTree *kernel, const TsTree *ring);
/* The barriers at the very end, 8 bytes each: one for each `reduce(…, via = …)` over the CTAs of a cluster that stands in no block. */
int64_t ts_tile_exchanges(const TsTree *kernel);
int64_t ts_tile_exchange_offset(const TsTree *kernel, const TsTree *call); /* -1: the call has none */

/* A tensor map of TMA: boxes of `box` elements along the axes of global buffer `buffer` (a PARAM), last axis contiguous, laid into shared
 * memory with `swizzle` (0, 32, 64, 128 bytes). Kernel parameters hold one for each different (buffer, box, swizzle), in order of the text. */
typedef struct { const TsTree *buffer; int swizzle; int64_t box[TS_LAY_RANK]; } TsTileMap;
enum { TS_TILE_MAPS = 16 };
/* How a GPU kernel is launched: parameters are all buffers (addresses, multiples of 16), all idx (int64), all maps (128 bytes each). */
typedef struct { int threads /* of a CTA */, cluster /* CTAs */; int64_t shared_bytes; uint32_t n_maps; TsTileMap map[TS_TILE_MAPS]; } TsTileLaunch;
/* False (with nothing reported) when the kernel needs more maps than TS_TILE_MAPS. */
bool ts_tile_launch(const TsTree *kernel, TsTileLaunch *out);
/* The map of one `copy` or `store_tma` statement's call. */
TsTileMap ts_tile_map_of(const TsTree *call);
bool ts_tile_map_same(const TsTileMap *a, const TsTileMap *b);
