/* Statements that only kernels of Tile IR have (docs/tile.md): layout, smem, ring, role, one. Their words are words only where such a
 * statement may begin. */
#include "frontend/graph_text/parse_int.h"
#include <stdlib.h>
#include <string.h>

static TsTree *named_tree(P *p, TsTreeKind kind)
{
	TsTree *t = ts_tree(p->cx, kind, ts_p_span(p), 0);
	p->at++;
	t->name = ts_p_name(p, "a name");
	return t;
}

/* digit = AXIS EXTENT ":" (STRIDE NAME | "_"), written without spaces: v16:1n, r4:_ */
static TsTree *digit(P *p)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_DIGIT, ts_p_span(p), 1, NULL);
	TsSym word = ts_p_name(p, "a digit such as v16:1n");
	char *end;
	if (p->failed) return t;
	t->name = ts_intern_n(p->cx, word, 1);
	t->i = strtoll(word + 1, &end, 10);
	if (end == word + 1 || *end || !strchr("rvlwgcs", word[0])) {
		p->at--;
		ts_p_fail(p, "expected a digit: axis r v l w g c or s, extent, ':', stride, dim, as in v16:1n");
		return t;
	}
	ts_p_expect(p, TS_TOK_COLON);
	const TsTok *k = ts_p_peek(p);
	if (k->kind == TS_TOK_NAME && !strcmp(k->name, "_")) {
		p->at++;
	} else {
		int64_t stride = ts_p_int(p);
		if (stride > INT32_MAX && !p->failed) { p->at--; ts_p_fail(p, "stride is too large"); }
		t->sub = (int32_t)stride;
		k = ts_p_peek(p);
		TsSpan at = ts_p_span(p);
		TsSym dim = ts_p_name(p, "the digit's dim");
		t->kid[0] = ts_tree_name(p->cx, at, dim);
	}
	t->at = ts_p_from(p, t->at);
	return t;
}

/* "layout" NAME "[" NAME,+ "]" "=" { digit } ["swizzle" INT] */
static TsTree *layout(P *p)
{
	TsTree *t = named_tree(p, TS_TREE_LAYOUT), *dims = ts_tree(p->cx, TS_TREE_LIST, ts_p_span(p), 0);
	ts_tree_add(p->cx, t, dims);
	ts_p_expect(p, TS_TOK_LBRACKET);
	do {
		TsSpan at = ts_p_span(p);
		ts_tree_add(p->cx, dims, ts_tree_name(p->cx, at, ts_p_name(p, "a dim")));
	} while (ts_p_list_goes_on(p, TS_TOK_RBRACKET));
	ts_p_expect(p, TS_TOK_RBRACKET);
	ts_p_expect(p, TS_TOK_ASSIGN);
	while (ts_p_is(p, TS_TOK_NAME)) {
		if (strcmp(ts_p_peek(p)->name, "swizzle")) { ts_tree_add(p->cx, t, digit(p)); continue; }
		TsTree *s = ts_tree(p->cx, TS_TREE_SWIZZLE, ts_p_span(p), 0);
		p->at++;
		s->i = ts_p_int(p);
		s->at = ts_p_from(p, s->at);
		ts_tree_add(p->cx, t, s);
		break;
	}
	return t;
}

/* "smem" NAME ":" type [attrs] */
static TsTree *smem(P *p)
{
	TsTree *t = named_tree(p, TS_TREE_SMEM);
	ts_p_expect(p, TS_TOK_COLON);
	ts_tree_add(p->cx, t, ts_p_type(p));
	ts_tree_add(p->cx, t, ts_p_attrs_maybe(p));
	return t;
}

/* "ring" NAME "[" expr "]" "{" { NAME ":" type (NL | ",") } "}" [attrs] */
static TsTree *ring(P *p)
{
	TsTree *t = named_tree(p, TS_TREE_RING), *slots = ts_tree(p->cx, TS_TREE_LIST, ts_p_span(p), 0);
	ts_p_expect(p, TS_TOK_LBRACKET);
	ts_tree_add(p->cx, t, ts_p_expr(p));
	ts_p_expect(p, TS_TOK_RBRACKET);
	ts_p_expect(p, TS_TOK_LBRACE);
	ts_p_skip_lines(p);
	if (ts_p_accept(p, TS_TOK_RBRACE)) ts_p_fail(p, "a ring has at least one tensor in a slot");
	else do {
		TsTree *b = ts_tree(p->cx, TS_TREE_BIND, ts_p_span(p), 1, NULL);
		ts_p_attach(p, b, ts_p_inner(p, p->at));
		b->name = ts_p_name(p, "a name");
		ts_p_expect(p, TS_TOK_COLON);
		b->kid[0] = ts_p_type(p);
		b->at = ts_p_from(p, b->at);
		ts_tree_add(p->cx, slots, b);
	} while (ts_p_braced_goes_on(p));
	slots->at = ts_p_from(p, slots->at);
	ts_tree_add(p->cx, t, slots);
	ts_tree_add(p->cx, t, ts_p_attrs_maybe(p));
	return t;
}

/* "role" NAME "(" (NAME "=" expr),* ")" block */
static TsTree *role(P *p)
{
	TsTree *t = named_tree(p, TS_TREE_ROLE), *attrs = ts_tree(p->cx, TS_TREE_ATTRS, ts_p_span(p), 0);
	if (ts_p_is(p, TS_TOK_LPAREN)) ts_p_args(p, attrs);
	for (uint32_t i = 0; i < attrs->n && !p->failed; i++) {
		if (attrs->kid[i]->kind == TS_TREE_KW) continue;
		ts_error(p->cx, attrs->kid[i]->at, "E_SYNTAX", "a role takes 'name = value' only");
		p->failed = true;
	}
	ts_tree_add(p->cx, t, attrs);
	ts_tree_add(p->cx, t, ts_p_block(p));
	return t;
}

TsTree *ts_p_tile_stmt(P *p)
{
	const TsTok *k = ts_p_peek(p);
	uint8_t next = ts_p_peek2(p)->kind;
	if (k->kind != TS_TOK_NAME || k->quoted) return NULL;
	if (!strcmp(k->name, "one") && next == TS_TOK_LBRACE) {
		TsTree *t = ts_tree(p->cx, TS_TREE_ONE, ts_p_span(p), 0);
		p->at++;
		ts_tree_add(p->cx, t, ts_p_block(p));
		return t;
	}
	if (next != TS_TOK_NAME) return NULL;
	if (!strcmp(k->name, "layout")) return layout(p);
	if (!strcmp(k->name, "smem")) return smem(p);
	if (!strcmp(k->name, "ring")) return ring(p);
	if (!strcmp(k->name, "role")) return role(p);
	return NULL;
}
