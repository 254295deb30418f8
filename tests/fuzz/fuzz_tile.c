/* Fuzz target: `tile 1` text through parser, printer and verifier; printed text must read as itself and get the same verdict. */
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/print.h"
#include "ir/tile.h"
#include <stdlib.h>
#include <string.h>

typedef struct { TsCtx *cx; const uint8_t *p; size_t n; bool broken; } Run;

static void broken(Run *r, const char *what, const char *text)
{
	fprintf(stderr, "%s\n%s\n", what, text ? text : "");
	ts_diag_print(r->cx, stderr);
	r->broken = true;
}

/* The tree printed to a, read, printed to b: the same text and the same tree. */
static TsTree *printed_again(Run *r, const TsTree *tree, TsBuf *a, TsBuf *b, bool comments)
{
	ts_print_tree(tree, a, comments);
	TsTree *again = ts_parse(r->cx, ts_source_add(r->cx, "printed", a->p ? a->p : "", a->n));
	if (again) ts_print_tree(again, b, comments);
	if (!again || a->n != b->n || (a->n && memcmp(a->p, b->p, a->n))) broken(r, "printed text does not read as itself", a->p);
	else if (!ts_tree_eq(tree, again)) broken(r, "printed text means something else", a->p);
	return again;
}

static void one(void *user)
{
	Run *r = user;
	TsTree *tree = ts_parse(r->cx, ts_source_add(r->cx, "fuzz.tile", (const char *)r->p, r->n));
	if (!tree) {
		if (!ts_error_count(r->cx)) broken(r, "refused without a word", NULL);
		return;
	}
	TsBuf a = { 0 }, b = { 0 };
	TsTree *again = printed_again(r, tree, &a, &b, true);
	a.n = b.n = 0;
	if (!r->broken) again = printed_again(r, tree, &a, &b, false);
	if (!r->broken && tree->name && !strcmp(tree->name, "tile")) {
		bool first = ts_tile_verify(r->cx, tree);
		if (!first && !ts_error_count(r->cx)) broken(r, "refused without a word", a.p);
		ts_diag_reset(r->cx);
		if (ts_tile_verify(r->cx, again) != first) broken(r, "printed text gets another verdict", a.p);
	}
	ts_buf_free(&a);
	ts_buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Run r = { .cx = ts_ctx_new(), .p = data, .n = size };
	ts_guard(r.cx, one, &r);
	if (ts_exit_code(r.cx) == 4) broken(&r, "a bug of the compiler", NULL);
	if (r.broken) abort();
	ts_ctx_free(r.cx);
	return 0;
}
