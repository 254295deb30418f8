#include "frontend/graph_text/parse_int.h"
#include <string.h>

static TsTree *start(P *p, TsTreeKind kind) { return ts_tree(p->cx, kind, ts_p_span(p), 0); }

/* attrs = "{" { NAME "=" expr (NL | ",") } "}" */
TsTree *ts_p_attrs(P *p)
{
	TsTree *t = start(p, TS_TREE_ATTRS);
	if (!ts_p_enter(p)) return t;
	ts_p_expect(p, TS_TOK_LBRACE);
	ts_p_skip_lines(p);
	if (!ts_p_accept(p, TS_TOK_RBRACE)) {
		do {
			const TsTok *k = ts_p_peek(p);
			TsSpan at = ts_p_span(p);
			TsSym comment = ts_p_inner(p, p->at);
			if (k->kind >= TS_TOK_FIRST_WORD && k->kind <= TS_TOK_LAST_WORD) p->at++;
			else ts_p_name(p, "an attribute");
			ts_p_expect(p, TS_TOK_ASSIGN);
			TsTree *kw = ts_tree_kw(p->cx, k->name ? k->name : "", ts_p_expr(p));
			kw->at = ts_p_from(p, at);
			ts_p_attach(p, kw, comment);
			ts_tree_add(p->cx, t, kw);
		} while (ts_p_braced_goes_on(p));
	}
	if (!p->failed) t->tail = ts_p_inner(p, p->at - 1);
	ts_p_leave(p);
	t->at = ts_p_from(p, t->at);
	return t;
}

TsTree *ts_p_attrs_maybe(P *p) { return ts_p_is(p, TS_TOK_LBRACE) ? ts_p_attrs(p) : NULL; }

/* After a failed statement: on to the end of its line, at its depth, or to the brace that ends its block. */
void ts_p_resume(P *p, uint32_t first)
{
	p->failed = false;
	int depth = 0;
	for (uint32_t i = first; i < p->at; i++) depth += p->lex.tok.p[i].kind == TS_TOK_LBRACE ? 1 : p->lex.tok.p[i].kind == TS_TOK_RBRACE ? -1 : 0;
	for (;; p->at++) {
		uint8_t k = p->lex.tok.p[p->at].kind;
		if (k == TS_TOK_EOF) return;
		if (depth <= 0 && (k == TS_TOK_NL || k == TS_TOK_RBRACE)) return;
		depth += k == TS_TOK_LBRACE ? 1 : k == TS_TOK_RBRACE ? -1 : 0;
	}
}

/* block = "{" { stmt NL } "}" */
TsTree *ts_p_block(P *p)
{
	TsTree *t = start(p, TS_TREE_BLOCK);
	if (!ts_p_is(p, TS_TOK_LBRACE)) { ts_p_fail_expected(p, "'{'"); return t; }
	if (!ts_p_enter(p)) return t;
	ts_p_claim(p, ts_p_peek(p)->begin);
	p->at++;
	t->tail = ts_p_line_tail(p);
	ts_p_skip_lines(p);
	while (!ts_p_is(p, TS_TOK_RBRACE) && !ts_p_is(p, TS_TOK_EOF)) {
		uint32_t first = p->at;
		TsHeld outer = ts_p_begin(p, !t->n);
		TsTree *s = ts_p_stmt(p);
		if (!p->failed && !ts_p_is(p, TS_TOK_NL) && !ts_p_is(p, TS_TOK_RBRACE)) ts_p_fail_expected(p, "end of line");
		ts_p_end(p, outer, p->failed ? NULL : s);
		if (p->failed) {
			ts_p_resume(p, first);
		} else {
			ts_tree_add(p->cx, t, s);
		}
		ts_p_skip_lines(p);
	}
	t->comment = ts_p_last_lines(p, !t->n);
	ts_p_leave(p);
	if (!ts_p_is(p, TS_TOK_RBRACE)) {
		if (!p->failed) ts_error(p->cx, (TsSpan){ t->at.file, t->at.begin, t->at.begin + 1 }, "E_SYNTAX", "this block is not closed: '}' is missing");
		p->failed = true;
		return t;
	}
	p->at++;
	t->at = ts_p_from(p, t->at);
	return t;
}

/* with = "with" (NAME "=" expr),+ */
static TsTree *with(P *p)
{
	TsTree *t = start(p, TS_TREE_WITH);
	do {
		TsSpan at = ts_p_span(p);
		TsSym comment = ts_p_inner(p, p->at);
		TsSym name = ts_p_name(p, "the name of a carried value");
		ts_p_expect(p, TS_TOK_ASSIGN);
		TsTree *kw = ts_tree_kw(p->cx, name, ts_p_expr(p));
		ts_p_attach(p, kw, comment);
		kw->at = ts_p_from(p, at);
		ts_tree_add(p->cx, t, kw);
	} while (ts_p_accept(p, TS_TOK_COMMA));
	t->at = ts_p_from(p, t->at);
	return t;
}

static TsTree *with_maybe(P *p) { return ts_p_accept_word(p, W_with) ? with(p) : NULL; }

/* NAME "in" x */
static TsTree *in(P *p, TsTree *(*value)(P *))
{
	TsSpan at = ts_p_span(p);
	TsSym name = ts_p_name(p, "a name");
	ts_p_expect_word(p, W_in);
	TsTree *kw = ts_tree_kw(p->cx, name, value(p));
	kw->at = ts_p_from(p, at);
	return kw;
}

/* "for" NAME "in" range [with] block */
static TsTree *parse_for(P *p)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_FOR, ts_p_span(p), 3, NULL, NULL, NULL);
	p->at++;
	t->name = ts_p_name(p, "the loop's variable");
	ts_p_expect_word(p, W_in);
	t->kid[0] = ts_p_range(p);
	t->kid[1] = with_maybe(p);
	t->kid[2] = ts_p_block(p);
	return t;
}

/* "scan" (NAME "in" expr),+ ["axis" INT] ["reverse"] [with] block */
static TsTree *parse_scan(P *p)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_SCAN, ts_p_span(p), 4, NULL, NULL, NULL, NULL);
	p->at++;
	t->kid[0] = start(p, TS_TREE_LIST);
	do ts_tree_add(p->cx, t->kid[0], in(p, ts_p_expr));
	while (ts_p_accept(p, TS_TOK_COMMA));
	if (ts_p_accept_word(p, W_axis)) {
		TsSpan at = ts_p_span(p);
		t->kid[1] = ts_tree_int(p->cx, at, ts_p_int(p));
	}
	t->i = ts_p_accept_word(p, W_reverse);
	t->kid[2] = with_maybe(p);
	t->kid[3] = ts_p_block(p);
	return t;
}

/* "loop" with ["max" expr] block */
static TsTree *parse_loop(P *p)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_LOOP, ts_p_span(p), 3, NULL, NULL, NULL);
	p->at++;
	ts_p_expect_word(p, W_with);
	t->kid[0] = with(p);
	if (ts_p_accept_word(p, W_max)) t->kid[1] = ts_p_expr(p);
	t->kid[2] = ts_p_block(p);
	return t;
}

/* "if" expr block ["else" (block | "if" …)] */
static TsTree *parse_if(P *p)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_IF, ts_p_span(p), 3, NULL, NULL, NULL);
	if (!ts_p_enter(p)) return t;
	p->at++;
	t->kid[0] = ts_p_expr(p);
	t->kid[1] = ts_p_block(p);
	if (ts_p_accept(p, TS_TOK_ELSE)) t->kid[2] = ts_p_is(p, TS_TOK_IF) ? parse_if(p) : ts_p_block(p);
	ts_p_leave(p);
	return t;
}

/* control = for … | scan … | loop … | if …; NULL when none begins here */
static TsTree *control(P *p)
{
	TsTree *t;
	switch (ts_p_peek(p)->kind) {
	case TS_TOK_FOR: t = parse_for(p); break;
	case TS_TOK_SCAN: t = parse_scan(p); break;
	case TS_TOK_LOOP: t = parse_loop(p); break;
	case TS_TOK_IF: t = parse_if(p); break;
	default: return NULL;
	}
	t->at = ts_p_from(p, t->at);
	return t;
}

/* rhs = (expr | control) [attrs] */
static void rhs(P *p, TsTree *to)
{
	TsTree *x = control(p);
	if (!x) {
		x = ts_p_expr(p);
		uint8_t k = ts_p_peek(p)->kind;
		if (!p->failed && x->kind == TS_TREE_NAME && k == TS_TOK_NAME) {
			const TsSym words[] = { ts_intern(p->cx, "for"), ts_intern(p->cx, "scan"), ts_intern(p->cx, "loop"), ts_intern(p->cx, "if") };
			TsSym near = ts_nearest(x->name, words, 4);
			ts_p_fail_expected(p, "end of line");
			if (near) ts_hint(p->cx, "'%s %s …'", near, ts_p_peek(p)->name);
		}
	}
	ts_tree_add(p->cx, to, x);
	ts_tree_add(p->cx, to, ts_p_attrs_maybe(p));
}

/* bind = NAME [":" type] */
static TsTree *bind(P *p)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_BIND, ts_p_span(p), 1, NULL);
	ts_p_attach(p, t, ts_p_inner(p, p->at));
	t->name = ts_p_name(p, "a name");
	if (ts_p_accept(p, TS_TOK_COLON)) t->kid[0] = ts_p_type(p);
	t->at = ts_p_from(p, t->at);
	return t;
}

/* bind {"," bind} "=" rhs | NAME args [attrs] */
static TsTree *let_or_call(P *p)
{
	TsTree *t;
	if (ts_p_peek2(p)->kind == TS_TOK_LPAREN) {
		t = start(p, TS_TREE_EXPR);
		TsTree *name = ts_tree_name(p->cx, ts_p_span(p), ts_p_peek(p)->name);
		p->at++;
		p->height = 1;
		ts_tree_add(p->cx, t, ts_p_args(p, ts_tree(p->cx, TS_TREE_CALL, name->at, 1, name)));
		ts_tree_add(p->cx, t, ts_p_attrs_maybe(p));
		return t;
	}
	t = start(p, TS_TREE_LET);
	TsTree *binds = start(p, TS_TREE_LIST);
	do ts_tree_add(p->cx, binds, bind(p));
	while (ts_p_accept(p, TS_TOK_COMMA));
	binds->at = ts_p_from(p, binds->at);
	ts_tree_add(p->cx, t, binds);
	if (!ts_p_is(p, TS_TOK_ASSIGN)) { ts_p_fail_expected(p, "'='"); return t; }
	p->at++;
	rhs(p, t);
	return t;
}

/* "set" place,+ "=" rhs        place = NAME ["[" index,+ "]"] */
static TsTree *parse_set(P *p)
{
	TsTree *t = start(p, TS_TREE_SET);
	p->at++;
	TsTree *places = start(p, TS_TREE_LIST);
	do {
		TsSpan at = ts_p_span(p);
		TsTree *x = ts_tree_name(p->cx, at, ts_p_name(p, "a state"));
		p->height = 1;
		ts_tree_add(p->cx, places, ts_p_is(p, TS_TOK_LBRACKET) ? ts_p_index(p, x) : x);
	} while (ts_p_accept(p, TS_TOK_COMMA));
	places->at = ts_p_from(p, places->at);
	ts_tree_add(p->cx, t, places);
	ts_p_expect(p, TS_TOK_ASSIGN);
	rhs(p, t);
	return t;
}

/* "yield" expr,* | "emit" expr,+ */
static TsTree *exprs(P *p, TsTreeKind kind)
{
	TsTree *t = start(p, kind);
	p->at++;
	if (kind == TS_TREE_YIELD && (ts_p_is(p, TS_TOK_NL) || ts_p_is(p, TS_TOK_RBRACE))) return t;
	do ts_tree_add(p->cx, t, ts_p_expr(p));
	while (ts_p_accept(p, TS_TOK_COMMA));
	return t;
}

/* "grid" (NAME "in" range),+ */
static TsTree *grid(P *p)
{
	TsTree *t = start(p, TS_TREE_GRID);
	p->at++;
	do ts_tree_add(p->cx, t, in(p, ts_p_range));
	while (ts_p_accept(p, TS_TOK_COMMA));
	return t;
}

/* "group" NAME args block */
static TsTree *group(P *p)
{
	TsTree *t = start(p, TS_TREE_GROUP);
	p->at++;
	t->name = ts_p_name(p, "the group's name");
	TsTree *args = start(p, TS_TREE_LIST);
	p->height = 0;
	if (!ts_p_is(p, TS_TOK_LPAREN)) ts_p_fail_expected(p, "'('");
	else ts_p_args(p, args);
	ts_tree_add(p->cx, t, args);
	ts_tree_add(p->cx, t, ts_p_block(p));
	return t;
}

/* "expect" ("error" STRING | expr ["within" expr]) */
static TsTree *expect(P *p)
{
	TsTree *t = start(p, TS_TREE_EXPECT);
	p->at++;
	if (ts_p_is_word(p, W_error) && ts_p_peek2(p)->kind == TS_TOK_STR) {
		p->at++;
		t->i = 1;
		ts_tree_add(p->cx, t, ts_tree_str(p->cx, ts_p_span(p), ts_p_peek(p)->name));
		p->at++;
		return t;
	}
	ts_tree_add(p->cx, t, ts_p_expr(p));
	ts_tree_add(p->cx, t, ts_p_accept_word(p, W_within) ? ts_p_expr(p) : NULL);
	return t;
}

/* "input" NAME ":" type "=" expr */
static TsTree *input(P *p)
{
	TsTree *t = start(p, TS_TREE_INPUT);
	p->at++;
	t->name = ts_p_name(p, "the input's name");
	ts_p_expect(p, TS_TOK_COLON);
	ts_tree_add(p->cx, t, ts_p_type(p));
	ts_p_expect(p, TS_TOK_ASSIGN);
	ts_tree_add(p->cx, t, ts_p_expr(p));
	return t;
}

/* Statements that begin with a word which is one only there; NULL when none does. */
static TsTree *word_stmt(P *p)
{
	uint8_t next = ts_p_peek2(p)->kind;
	TsTree *t;
	if (ts_p_is_word(p, W_numerics) && next == TS_TOK_LBRACE) {
		t = start(p, TS_TREE_NUMERICS);
		p->at++;
		ts_tree_add(p->cx, t, ts_p_attrs(p));
		return t;
	}
	if (p->in_test) {
		if (ts_p_is_word(p, W_input) && next == TS_TOK_NAME) return input(p);
		if (ts_p_is_word(p, W_expect) && next != TS_TOK_ASSIGN && next != TS_TOK_COLON && next != TS_TOK_COMMA) return expect(p);
		if (ts_p_is_word(p, W_dims) && (next == TS_TOK_NAME || next == TS_TOK_INT)) { p->at++; return ts_p_dims(p); }
		return NULL;
	}
	if (ts_p_is_word(p, W_grid) && next == TS_TOK_NAME && p->in_kernel) return grid(p);
	if (ts_p_is_word(p, W_group) && next == TS_TOK_NAME) return group(p);
	return p->in_kernel ? ts_p_tile_stmt(p) : NULL;
}

/* stmt = let | call | set | yield | emit | until | numerics | control [attrs] | grid | group | dims | input | expect | Tile IR */
TsTree *ts_p_stmt(P *p)
{
	TsTree *t = NULL, *c;
	TsSpan at = ts_p_span(p);
	switch (ts_p_peek(p)->kind) {
	case TS_TOK_SET: t = parse_set(p); break;
	case TS_TOK_YIELD: t = exprs(p, TS_TREE_YIELD); break;
	case TS_TOK_EMIT: t = exprs(p, TS_TREE_EMIT); break;
	case TS_TOK_UNTIL:
		t = start(p, TS_TREE_UNTIL);
		p->at++;
		ts_tree_add(p->cx, t, ts_p_expr(p));
		break;
	case TS_TOK_NAME:
		t = word_stmt(p);
		if (!t) t = let_or_call(p);
		break;
	default:
		c = control(p);
		if (!c) { ts_p_fail_expected(p, "a statement"); break; }
		t = ts_tree(p->cx, TS_TREE_EXPR, at, 2, c, ts_p_attrs_maybe(p));
		break;
	}
	if (t) t->at = ts_p_from(p, at);
	return t;
}
