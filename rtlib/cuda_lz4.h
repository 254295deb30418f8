/* One block of the LZ4 block format (lz4.org): PTX lies in an artifact that way, a quarter of its size. No state, no allocation; a damaged
 * block is an error, never an access outside of both ranges. */
#ifndef TESSERA_RTLIB_CUDA_LZ4_H
#define TESSERA_RTLIB_CUDA_LZ4_H
#include <stdint.h>

/* Fills to[0, size) from the block of `bytes`. 1: the block gives exactly that many bytes, 0: it does not. */
int32_t ts_lz4_unpack(const uint8_t *from, uint64_t bytes, uint8_t *to, uint64_t size);
#endif
