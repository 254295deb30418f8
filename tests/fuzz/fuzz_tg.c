/* Fuzz target: `tessera 1` text through lexer, parser, printer, sema, verifier, rewriter. Beyond not crashing: printed text is read again
 * as the same text, a module that sema made verifies before and after rewriting, and the compiler never calls something its own bug. */
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/print.h"
#include "frontend/graph_text/print_graph.h"
#include "frontend/graph_text/sema.h"
#include "middle/rewrite/rewrite.h"
#include <stdlib.h>
#include <string.h>

typedef struct { TsCtx *cx; const uint8_t *p; size_t n; bool broken; } Run;

static void broken(Run *r, const char *what, const TsBuf *a, const TsBuf *b)
{
	fprintf(stderr, "%s\n---- first\n%s\n---- second\n%s\n", what, a && a->p ? a->p : "", b && b->p ? b->p : "");
	ts_diag_print(r->cx, stderr);
	r->broken = true;
}

static bool same(const TsBuf *a, const TsBuf *b) { return a->n == b->n && (!a->n || !memcmp(a->p, b->p, a->n)); }

static void printer_law(Run *r, TsTree *tree, bool comments)
{
	TsBuf a = { 0 }, b = { 0 };
	ts_print_tree(tree, &a, comments);
	TsTree *again = ts_parse(r->cx, ts_source_add(r->cx, "printed", a.p ? a.p : "", a.n));
	if (again) ts_print_tree(again, &b, comments);
	if (!again || !same(&a, &b)) broken(r, "printed text does not read as itself", &a, &b);
	else if (!ts_tree_eq(tree, again)) broken(r, "printed text means something else", &a, NULL);
	ts_buf_free(&a);
	ts_buf_free(&b);
}

static void one(void *user)
{
	Run *r = user;
	TsCtx *cx = r->cx;
	TsTree *tree = ts_parse(cx, ts_source_add(cx, "fuzz.tg", (const char *)r->p, r->n));
	if (!tree) {
		if (!ts_error_count(cx)) broken(r, "refused without a word", NULL, NULL);
		return;
	}
	printer_law(r, tree, false);
	printer_law(r, tree, true);
	if (r->broken || !tree->name || strcmp(tree->name, "tessera")) return;
	TsSemaOptions o = { .weights_dir = "tests/golden/tg" };
	TsModule *m = ts_module_from_tree(cx, tree, "fuzz.tg", &o);
	if (!m) {
		if (!ts_error_count(cx) && !ts_exit_code(cx)) broken(r, "no module and no word", NULL, NULL);
		return;
	}
	if (!ts_verify(m, "sema")) broken(r, "sema made a wrong module", NULL, NULL);
	else if (!ts_lift_kernels(m)) {
		if (!ts_error_count(cx)) broken(r, "a kernel refused without a word", NULL, NULL);
	} else if (!ts_verify(m, "kernels")) broken(r, "kernels made a wrong module", NULL, NULL);
	else if (ts_rewrite(m, NULL) && !ts_verify(m, "rewrite")) broken(r, "rewriting made a wrong module", NULL, NULL);
	TsBuf b = { 0 };
	ts_print_module(m, &b);
	ts_buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Run r = { .cx = ts_ctx_new(), .p = data, .n = size };
	ts_guard(r.cx, one, &r);
	if (ts_exit_code(r.cx) == 4) broken(&r, "a bug of the compiler", NULL, NULL);
	if (r.broken) abort();
	ts_ctx_free(r.cx);
	return 0;
}
