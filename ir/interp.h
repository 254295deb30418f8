/* The reference interpreter: what a graph means, operator by operator, and the oracle of every test. Simple, not fast. It runs a
 * graph for given inputs: symbols are bound from the inputs' shapes, ranges, multiples and the graph's checks are tested first. */
#pragma once
#include "ir/tensor.h"

/* F64: every float is a double and nothing is rounded but inputs, literals, weights and casts, which have their declared types
 * (sums of f64 keep more than f64: an oracle errs less than what it judges); float results come back as f64. DECLARED: every operator's result is rounded to its declared type, sums run in ts_node_accum. */
typedef enum { TS_EVAL_F64, TS_EVAL_DECLARED } TsEvalMode;

/* inputs: one per parameter in order, of the parameter's type; outputs: one per result, made here, freed by the caller (also after
 * a failure: unmade ones have no data). Reports what is wrong with the inputs (E_CALL_…, E_CHECK) and returns false. */
bool ts_eval(TsModule *m, TsGraph *g, TsEvalMode mode, const TsTensor *inputs, TsTensor *outputs);

/* The graph's symbols bound from input shapes, as ts_eval does: values has ts_dim_symbol_count entries. Also tests every check. */
bool ts_bind_dims(TsModule *m, TsGraph *g, const TsTensor *inputs, int64_t *values);
