/* Graph -> Graph: algebra, patterns, folding, common values, dead code, loop invariants. The rules are data (*.rules, compiled at build
 * time; docs/rewrites.md lists them). A rule keeps type, shape and, unless marked, every bit; !exacter and !fuse (same mathematics, within
 * the operator's bound; not where `excess` is off) are on by default, !reorder and !approx fire where the numerics of the node allow it.
 * Values that stay keep their names; what replaces a value takes its name, place and numerics. The number of steps is bounded. */
#pragma once
#include "ir/graph.h"

typedef struct {
	const char *const *disabled;   /* names of rules, or of the passes fold cse dce hoist */
	uint32_t ndisabled;
	FILE *print;                   /* --print-rewrites: one line for each step; NULL: silent */
} TsRewriteOptions;

/* Calls of the user's kernels become operators; before anything else. False after reporting what cannot be compiled. */
bool ts_lift_kernels(TsModule *m);

/* Sums in f64 over narrower operands (`accum`) become operators in f64 between casts. After ts_lift_kernels. */
void ts_widen_sums(TsModule *m);

/* opt may be NULL. False after reporting (an unknown name in `disabled`). */
bool ts_rewrite(TsModule *m, const TsRewriteOptions *opt);
/* All names that `disabled` knows, rules first in file order; NULL when i is past the end. */
const char *ts_rewrite_name(uint32_t i);
