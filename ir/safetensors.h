/* The header of a .safetensors file: 8 bytes of length, then JSON {name: {dtype, shape, data_offsets}}, then the tensors' bytes. The
 * whole header is checked: every tensor lies inside the file, is as long as its type and shape say, overlaps no other and leaves no
 * gap. Element types that Tessera lacks are read as TS_DTYPE_NONE. Bytes are never copied. */
#pragma once
#include "ir/dtype.h"

enum { TS_SAFE_RANK = 16 };
typedef struct { TsSym name, dtype; TsDtype elem; uint8_t rank; int64_t dim[TS_SAFE_RANK]; uint64_t offset, size; } TsSafeTensor; /* offset: in the file */
typedef TS_VEC(TsSafeTensor) TsSafeTensors;

/* Tensors in the order of their bytes. Reports at `at`, naming path: E_SAFETENSORS_HEADER, _DTYPE, _SHAPE, _RANGE, _SIZE, _OVERLAP, _DUPLICATE. */
bool ts_safetensors_read(TsCtx *cx, TsSpan at, const char *path, const uint8_t *p, size_t size, TsSafeTensors *out);
