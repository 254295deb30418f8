#include "frontend/graph_text/parse_int.h"
#include <string.h>

static TsTree *start(P *p, TsTreeKind kind) { return ts_tree(p->cx, kind, ts_p_span(p), 0); }

/* After the item's word: its name. */
static TsTree *named_item(P *p, TsTreeKind kind, const char *what)
{
	TsTree *t = start(p, kind);
	p->at++;
	t->name = ts_p_name(p, what);
	return t;
}

static TsTree *string(P *p)
{
	const TsTok *k = ts_p_peek(p);
	TsSpan at = ts_p_span(p);
	if (k->kind != TS_TOK_STR) { ts_p_fail_expected(p, "a string"); return ts_tree_str(p->cx, at, ""); }
	p->at++;
	return ts_tree_str(p->cx, at, k->name);
}

static TsTree *integer(P *p)
{
	TsSpan at = ts_p_span(p);
	return ts_tree_int(p->cx, at, ts_p_int(p));
}

/* dim = INT "<=" NAME ["<=" INT] ["multiple_of" INT] | NAME ("=" expr | ["<=" INT] ["multiple_of" INT]) */
static TsTree *dim(P *p)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_DIM, ts_p_span(p), 4, NULL, NULL, NULL, NULL);
	ts_p_attach(p, t, ts_p_inner(p, p->at));
	if (ts_p_is(p, TS_TOK_INT)) {
		t->kid[0] = integer(p);
		ts_p_expect(p, TS_TOK_LE);
	}
	t->name = ts_p_name(p, "a dim's name");
	if (!t->kid[0] && ts_p_accept(p, TS_TOK_ASSIGN)) {
		t->kid[1] = ts_p_expr(p);
	} else {
		if (ts_p_accept(p, TS_TOK_LE)) t->kid[2] = integer(p);
		if (ts_p_accept_word(p, W_multiple_of)) t->kid[3] = integer(p);
	}
	t->at = ts_p_from(p, t->at);
	return t;
}

/* "dims" dim,+ */
TsTree *ts_p_dims(P *p)
{
	TsTree *t = start(p, TS_TREE_DIMS);
	do ts_tree_add(p->cx, t, dim(p));
	while (ts_p_accept(p, TS_TOK_COMMA));
	return t;
}

/* entry = STRING ":" type ["=" expr] */
static TsTree *entry(P *p)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_ENTRY, ts_p_span(p), 2, NULL, NULL);
	t->name = string(p)->name;
	ts_p_expect(p, TS_TOK_COLON);
	t->kid[0] = ts_p_type(p);
	if (ts_p_accept(p, TS_TOK_ASSIGN)) t->kid[1] = ts_p_expr(p);
	t->at = ts_p_from(p, t->at);
	return t;
}

/* manifest = "{" { entry (NL | ",") } "}" */
static TsTree *manifest(P *p)
{
	TsTree *t = start(p, TS_TREE_MANIFEST);
	ts_p_claim(p, ts_p_peek(p)->begin);
	p->at++;
	t->tail = ts_p_line_tail(p);
	ts_p_skip_lines(p);
	while (!ts_p_is(p, TS_TOK_RBRACE) && !p->failed) {
		TsHeld outer = ts_p_begin(p, !t->n);
		TsTree *e = entry(p);
		bool parted = ts_p_accept(p, TS_TOK_COMMA) || ts_p_is(p, TS_TOK_NL);
		ts_p_end(p, outer, p->failed ? NULL : e);
		ts_tree_add(p->cx, t, e);
		ts_p_skip_lines(p);
		if (!parted && !ts_p_is(p, TS_TOK_RBRACE)) ts_p_fail_expected(p, "',', end of line or '}'");
	}
	if (!p->failed) t->comment = ts_p_last_lines(p, !t->n);
	ts_p_expect(p, TS_TOK_RBRACE);
	t->at = ts_p_from(p, t->at);
	return t;
}

/* ["trainable"] "weights" NAME ["=" (STRING | "[" STRING,+ "]")] ["seed" INT] [manifest] */
static TsTree *weights(P *p)
{
	TsTree *t = start(p, TS_TREE_WEIGHTS), *files = NULL, *seed = NULL;
	t->i = ts_p_accept_word(p, W_trainable);
	ts_p_expect(p, TS_TOK_WEIGHTS);
	t->name = ts_p_name(p, "the name of the weight set");
	if (ts_p_accept(p, TS_TOK_ASSIGN)) {
		files = start(p, TS_TREE_LIST);
		if (ts_p_accept(p, TS_TOK_LBRACKET)) {
			do ts_tree_add(p->cx, files, string(p));
			while (ts_p_list_goes_on(p, TS_TOK_RBRACKET));
			ts_p_expect(p, TS_TOK_RBRACKET);
		} else {
			ts_tree_add(p->cx, files, string(p));
		}
		files->at = ts_p_from(p, files->at);
	}
	if (ts_p_accept_word(p, W_seed)) seed = integer(p);
	ts_tree_add(p->cx, t, files);
	ts_tree_add(p->cx, t, seed);
	ts_tree_add(p->cx, t, ts_p_is(p, TS_TOK_LBRACE) ? manifest(p) : NULL);
	return t;
}

static bool is_const_type(const TsTok *t)
{
	static const char *const word[] = { "int", "float", "bool", "string", "dtype" };
	if (t->kind != TS_TOK_NAME && t->kind != TS_TOK_DTYPE) return false;
	for (size_t i = 0; i < sizeof word / sizeof *word; i++)
		if (!strcmp(t->name, word[i])) return true;
	return false;
}

/* param = NAME ":" type | "const" NAME ":" ("int" | "float" | "bool" | "string" | "dtype") */
static TsTree *param(P *p, bool result)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_PARAM, ts_p_span(p), 1, NULL);
	ts_p_attach(p, t, ts_p_inner(p, p->at));
	t->i = !result && ts_p_is_word(p, W_const) && ts_p_peek2(p)->kind == TS_TOK_NAME;
	p->at += (uint32_t)t->i;
	t->name = ts_p_name(p, result ? "a result's name" : "a parameter's name");
	ts_p_expect(p, TS_TOK_COLON);
	if (t->i) {
		const TsTok *k = ts_p_peek(p);
		if (!is_const_type(k)) ts_p_fail_expected(p, "int, float, bool, string or dtype");
		t->kid[0] = start(p, TS_TREE_TYPE_WORD);
		t->kid[0]->name = k->name;
		p->at += !p->failed;
	} else {
		t->kid[0] = ts_p_type(p);
	}
	t->at = ts_p_from(p, t->at);
	return t;
}

static TsTree *params(P *p, bool result)
{
	TsTree *t = start(p, TS_TREE_LIST);
	if (!ts_p_enter(p)) return t;
	ts_p_expect(p, TS_TOK_LPAREN);
	if (!ts_p_is(p, TS_TOK_RPAREN)) {
		do ts_tree_add(p->cx, t, param(p, result));
		while (ts_p_list_goes_on(p, TS_TOK_RPAREN));
	}
	t->tail = ts_p_inner(p, p->at);
	ts_p_expect(p, TS_TOK_RPAREN);
	ts_p_leave(p);
	t->at = ts_p_from(p, t->at);
	return t;
}

/* sig = "(" param,* ")" ["->" "(" (NAME ":" type),* ")"] */
static TsTree *sig(P *p)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_SIG, ts_p_span(p), 2, NULL, NULL);
	t->kid[0] = params(p, false);
	TsSym comment = ts_p_is(p, TS_TOK_ARROW) ? ts_p_inner(p, p->at) : NULL;
	if (ts_p_accept(p, TS_TOK_ARROW)) {
		t->kid[1] = params(p, true);
		ts_p_attach(p, t->kid[1], comment);
	}
	t->at = ts_p_from(p, t->at);
	return t;
}

/* ["per_device"] ("graph" | "fn") NAME sig block [attrs] | "kernel" NAME sig block [attrs] */
static TsTree *function(P *p)
{
	bool per_device = ts_p_accept_word(p, W_per_device);
	TsTreeKind kind = ts_p_is_word(p, W_graph) ? TS_TREE_GRAPH : ts_p_is_word(p, W_fn) ? TS_TREE_FN : TS_TREE_KERNEL;
	if (kind == TS_TREE_KERNEL && per_device) ts_p_fail_expected(p, "'graph' or 'fn'");
	TsTree *t = named_item(p, kind, "a name");
	t->sub = per_device;
	ts_tree_add(p->cx, t, sig(p));
	p->in_kernel = kind == TS_TREE_KERNEL;
	ts_tree_add(p->cx, t, ts_p_block(p));
	p->in_kernel = false;
	ts_tree_add(p->cx, t, ts_p_attrs_maybe(p));
	return t;
}

/* "import" NAME sig ["from" STRING] [attrs] */
static TsTree *import(P *p)
{
	TsTree *t = named_item(p, TS_TREE_IMPORT, "the function's name");
	ts_tree_add(p->cx, t, sig(p));
	ts_tree_add(p->cx, t, ts_p_accept_word(p, W_from) ? string(p) : NULL);
	ts_tree_add(p->cx, t, ts_p_attrs_maybe(p));
	return t;
}

/* "mesh" NAME "=" "[" (NAME "=" INT),+ "]" */
static TsTree *mesh(P *p)
{
	TsTree *t = named_item(p, TS_TREE_MESH, "the mesh's name");
	ts_p_expect(p, TS_TOK_ASSIGN);
	ts_p_expect(p, TS_TOK_LBRACKET);
	do {
		TsSpan at = ts_p_span(p);
		TsSym name = ts_p_name(p, "an axis");
		ts_p_expect(p, TS_TOK_ASSIGN);
		TsTree *kw = ts_tree_kw(p->cx, name, integer(p));
		kw->at = ts_p_from(p, at);
		ts_tree_add(p->cx, t, kw);
	} while (ts_p_list_goes_on(p, TS_TOK_RBRACKET));
	ts_p_expect(p, TS_TOK_RBRACKET);
	return t;
}

/* "const" NAME [":" type] "=" expr | "state" NAME ":" type "=" expr */
static TsTree *constant(P *p, TsTreeKind kind)
{
	TsTree *t = named_item(p, kind, "a name"), *type = NULL;
	if (kind == TS_TREE_STATE) ts_p_expect(p, TS_TOK_COLON);
	if (kind == TS_TREE_STATE || ts_p_accept(p, TS_TOK_COLON)) type = ts_p_type(p);
	ts_p_expect(p, TS_TOK_ASSIGN);
	ts_tree_add(p->cx, t, type);
	ts_tree_add(p->cx, t, ts_p_expr(p));
	return t;
}

/* "test" STRING block */
static TsTree *test(P *p)
{
	TsTree *t = start(p, TS_TREE_TEST);
	p->at++;
	ts_tree_add(p->cx, t, string(p));
	p->in_test = true;
	ts_tree_add(p->cx, t, ts_p_block(p));
	p->in_test = false;
	return t;
}

static TsTree *unknown_item(P *p)
{
	const TsTok *k = ts_p_peek(p);
	TsSym words[W_test + 2];
	uint32_t n = 0;
	for (int w = W_graph; w <= W_test; w++) words[n++] = p->word[w];
	words[n++] = ts_intern(p->cx, "weights");
	TsSym near = k->kind == TS_TOK_NAME ? ts_nearest(k->name, words, n) : NULL;
	ts_p_fail_expected(p, "an item (graph, fn, dims, weights, const, test, …)");
	if (near) ts_hint(p->cx, "nearest: %s", near);
	return NULL;
}

/* item: the word that begins it decides */
TsTree *ts_p_item(P *p)
{
	TsSpan at = ts_p_span(p);
	TsTree *t;
	if (ts_p_is_word(p, W_graph) || ts_p_is_word(p, W_fn) || ts_p_is_word(p, W_kernel) || ts_p_is_word(p, W_per_device)) t = function(p);
	else if (ts_p_accept_word(p, W_dims)) t = ts_p_dims(p);
	else if (ts_p_is(p, TS_TOK_WEIGHTS) || ts_p_is_word(p, W_trainable)) t = weights(p);
	else if (ts_p_is_word(p, W_const)) t = constant(p, TS_TREE_CONST);
	else if (ts_p_is_word(p, W_state)) t = constant(p, TS_TREE_STATE);
	else if (ts_p_is_word(p, W_mesh)) t = mesh(p);
	else if (ts_p_is_word(p, W_import)) t = import(p);
	else if (ts_p_is_word(p, W_test)) t = test(p);
	else if (ts_p_is_word(p, W_numerics) || ts_p_is_word(p, W_meta)) {
		t = start(p, ts_p_is_word(p, W_meta) ? TS_TREE_META : TS_TREE_NUMERICS);
		p->at++;
		ts_tree_add(p->cx, t, ts_p_attrs(p));
	} else if (ts_p_is_word(p, W_source)) {
		t = named_item(p, TS_TREE_SOURCE, "a name");
		ts_p_expect(p, TS_TOK_ASSIGN);
		ts_tree_add(p->cx, t, string(p));
	} else {
		t = unknown_item(p);
	}
	if (t) t->at = ts_p_from(p, at);
	return t;
}
