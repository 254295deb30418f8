/* `test` blocks (docs/tg.md): their statements are run in order on real tensors. Calls of the file's graphs go to a hook, so that the
 * same block runs by the interpreter and by compiled code; everything between them (literals, operators, fns) is evaluated by the
 * interpreter in declared types. A call that fails where the next statement is `expect error "E_…"` is what was expected. */
#pragma once
#include "frontend/graph_text/sema.h"
#include "ir/tensor.h"

typedef struct {
	void *user;
	/* in: one tensor per parameter, of its type; out: made as ts_eval makes them, freed by the caller. False after reporting. */
	bool (*call)(void *user, TsGraph *g, TsSpan at, const TsTensor *in, TsTensor *out);
	/* got and want have one shape and element type. within: the largest |got - want| allowed is within * (1 + max|want|); 0: the same
	 * bits. Reports what is wrong and returns false. */
	bool (*expect)(void *user, TsSpan at, const TsTensor *got, const TsTensor *want, double within);
	/* The call failed with this code and was expected to fail with that one. Its reports are forgotten when this returns true. */
	bool (*expect_error)(void *user, TsSpan at, const char *wanted);
} TsTestHooks;

typedef struct TsSemaTests TsSemaTests;

/* As ts_module_from_tree, keeping what tests need to go on. The hooks see this module's graphs. */
TsModule *ts_sema_tests_open(TsCtx *cx, TsTree *file, const char *path, const TsSemaOptions *o, TsSemaTests **out);
/* Runs a TEST tree of the file; one that expects nothing is an error. False when anything was reported. */
bool ts_sema_test(TsSemaTests *tests, TsTree *test, const TsTestHooks *h);
