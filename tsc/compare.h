/* Comparing results with expected ones: |got - want| <= abs + rel * |want| element by element; equal values, two NaN, and equal
 * infinities always pass. */
#pragma once
#include "ir/tensor.h"

typedef struct { double abs, rel; } TsTolerance;
typedef struct { int64_t wrong, worst; double error; /* largest |got - want| */ } TsDifference; /* worst: index of the worst wrong element */

bool ts_same_shape(const TsTensor *a, const TsTensor *b);
/* Of tensors of one shape. */
TsDifference ts_tensor_compare(const TsTensor *got, const TsTensor *want, TsTolerance t);
/* Compares and reports E_MISMATCH, naming the worst element; what: "output 'y'", wanted: what it differs from. */
bool ts_tensor_expect(TsCtx *cx, TsSpan at, const char *what, const char *wanted, const TsTensor *got, const TsTensor *want, TsTolerance t, TsDifference *d);
