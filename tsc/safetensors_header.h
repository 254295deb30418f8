/* Writing the head of a safetensors image: 8 bytes of length, then JSON padded to a multiple of 8; the tensors' bytes follow in order. */
#pragma once
#include "ir/dtype.h"

typedef struct { TsSym name; TsDtype elem; int rank; int64_t dim[16]; uint64_t bytes; } TsHeaderTensor;

/* what: the file, for the message about an element type that safetensors lacks. */
bool ts_safetensors_header(TsCtx *cx, const char *what, uint32_t n, const TsHeaderTensor *t, TsBuf *to);
