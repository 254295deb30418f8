/* Element types: the table dtypes.def as an enum, and exact conversion of single elements to and from f64. The byte forms are
 * those of DLPack 1.1; integers outside a type's range saturate, float to float rounds to nearest even, and for types
 * without infinity (fp8_e4m3, fp6, fp4) values past the largest saturate while NaN stays NaN where the type has one. */
#pragma once
#include "support/ctx.h"

typedef enum {
#define TS_DTYPE(id, name, kind, bits, compute) TS_##id,
#include "ir/dtypes.def"
	TS_DTYPE_COUNT,
	TS_DTYPE_NONE = TS_DTYPE_COUNT,
} TsDtype;

const char *ts_dtype_name(TsDtype t);
bool ts_dtype_find(const char *name, TsDtype *out);
int ts_dtype_bits(TsDtype t);                                /* 4 for packed types, else a multiple of 8 */
int64_t ts_dtype_bytes(TsDtype t, int64_t n);                /* bytes of n elements */
bool ts_dtype_is_float(TsDtype t);                           /* real floating point of any size */
bool ts_dtype_is_int(TsDtype t);                             /* signed or unsigned, not bool */
bool ts_dtype_is_compute(TsDtype t);
/* Element i of a compact array. Floats round trip exactly through double; int64 has its own pair. */
double ts_elem_get(TsDtype t, const void *p, int64_t i);
void ts_elem_set(TsDtype t, void *p, int64_t i, double x);
int64_t ts_elem_get_int(TsDtype t, const void *p, int64_t i); /* integers and bool */
void ts_elem_set_int(TsDtype t, void *p, int64_t i, int64_t x);
double ts_dtype_round(TsDtype t, double x);                  /* the value of x after a round trip through t */
