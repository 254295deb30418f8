/* Values of a plan's expressions for given sizes, as the runtime would find them. Loop variables have none until they are given one. */
#pragma once
#include "emit/emit.h"

typedef struct TsExplain TsExplain;
TsExplain *ts_explain_new(TsCtx *cx, const TsPlanHeader *p, const int64_t *dims);       /* dims: -1 where not given. NULL after reporting */
bool ts_explain_value(const TsExplain *x, uint32_t expr, int64_t *out);                 /* TS_NONE is 1; false: it has none */
void ts_explain_turn(TsExplain *x, uint32_t var, const int64_t *turn);                  /* NULL: outside the loop again */
