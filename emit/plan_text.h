/* Plan expressions as text. Shared nodes are written out where they are used, so both depth and length are bounded: what is too long
 * ends in "...". */
#pragma once
#include "emit/emit.h"

/* The same expression in C, over variables called name(user, dim); false when it was cut. */
bool ts_plan_expr_c(const TsPlanHeader *plan, uint32_t expr, const char *(*name)(void *user, uint32_t dim), void *user, TsBuf *to);
