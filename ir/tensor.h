/* TsTensor: a tensor of known shape in memory, its elements compact in row order and in their element type. The data lie on the heap
 * and belong to the tensor: whoever holds it calls ts_tensor_free. Making one checks every product of sizes; it never aborts. */
#pragma once
#include "ir/graph.h"

typedef struct { TsDtype elem; uint8_t rank; int64_t dim[TS_MAX_RANK]; int64_t count, bytes; void *data; } TsTensor;

/* Zeroed. Reports E_SIZE for sizes out of range and E_MEMORY (environment) when there is no room; what: for the message. */
bool ts_tensor_new(TsCtx *cx, const char *what, TsDtype elem, int rank, const int64_t *dim, TsTensor *out);
void ts_tensor_free(TsTensor *t);
bool ts_shape_count(int rank, const int64_t *dim, int64_t *count); /* product; false if a size is negative or it passes 2^62 */
/* Text as `f32[2, 3] [[1.0, 2.5, 3.0], [...]]`, all elements. */
void ts_tensor_print(const TsTensor *t, TsBuf *to);
