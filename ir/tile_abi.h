/* The launch ABI of a Tile IR kernel as the backend, the plan writer and the simulator share it. Shared memory (`smem`) of a kernel on
 * `cpu` is scratch that the caller gives: each buffer at a multiple of 64, in order of declaration. Kernels are verified ones. */
#pragma once
#include "ir/tile.h"

int64_t ts_tile_scratch_bytes(const TsTree *kernel);                     /* a multiple of 64; 0: scratch may be NULL */
int64_t ts_tile_smem_offset(const TsTree *kernel, const TsTree *smem);   /* of one SMEM statement; -1 when it is not in this kernel */
int64_t ts_tile_smem_bytes(const TsTree *smem);
