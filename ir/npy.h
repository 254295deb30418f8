/* NumPy's files. Reading takes .npy versions 1 to 3 in any order of axes and bytes, and .npz archives (stored or deflated); types
 * that NumPy spells: f2 f4 f8 i1 i2 i4 i8 u1 b1 c8, and bfloat16 or fp8 as the ml_dtypes package writes them (V2 or V1 with a
 * name) are not told apart by a file: `as` says which. Wrong, cut off or hostile files are E_NPY or E_NPZ. */
#pragma once
#include "ir/tensor.h"

/* as: the type wanted, or TS_DTYPE_NONE. The same number of bits in a void (V1, V2) or unsigned integer type is taken as it, as are
 * f4 and f8 for each other's and for narrower floats, and integers for each other, where every value fits exactly. */
bool ts_npy_read(TsCtx *cx, const char *path, TsDtype as, TsTensor *out);
bool ts_npy_parse(TsCtx *cx, const char *what, const uint8_t *p, size_t n, TsDtype as, TsTensor *out);
/* Types that NumPy lacks are written as the unsigned integers of their width (bf16 as u2); packed ones one a byte as i1 or u1. */
bool ts_npy_write(TsCtx *cx, const char *path, const TsTensor *t);

typedef struct { TsSym name; const uint8_t *p; uint64_t packed, size; uint32_t crc; bool deflated; } TsNpzEntry;
typedef struct { TsSym path; const uint8_t *map; size_t map_size; TS_VEC(TsNpzEntry) entries; } TsNpz;
bool ts_npz_open(TsCtx *cx, const char *path, TsNpz *out);              /* names without ".npy" */
bool ts_npz_read(TsCtx *cx, const TsNpz *z, TsSym name, TsDtype as, TsTensor *out);
void ts_npz_close(TsNpz *z);
