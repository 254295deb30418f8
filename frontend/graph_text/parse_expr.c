#include "frontend/graph_text/parse_int.h"

/* Binding powers. `not` stands between `and` and the comparisons, unary minus between the products and `**`. */
enum { BP_OR = 1, BP_AND, BP_NOT, BP_CMP, BP_ADD, BP_MUL, BP_NEG, BP_POW };
typedef struct { int bp; TsInfix op; } Infix;

static Infix infix_of(uint8_t k)
{
	switch (k) {
	case TS_TOK_OR: return (Infix){ BP_OR, TS_IN_OR };
	case TS_TOK_AND: return (Infix){ BP_AND, TS_IN_AND };
	case TS_TOK_EQ: return (Infix){ BP_CMP, TS_IN_EQ };
	case TS_TOK_NE: return (Infix){ BP_CMP, TS_IN_NE };
	case TS_TOK_LT: return (Infix){ BP_CMP, TS_IN_LT };
	case TS_TOK_LE: return (Infix){ BP_CMP, TS_IN_LE };
	case TS_TOK_GT: return (Infix){ BP_CMP, TS_IN_GT };
	case TS_TOK_GE: return (Infix){ BP_CMP, TS_IN_GE };
	case TS_TOK_ADD: return (Infix){ BP_ADD, TS_IN_ADD };
	case TS_TOK_SUB: return (Infix){ BP_ADD, TS_IN_SUB };
	case TS_TOK_MUL: return (Infix){ BP_MUL, TS_IN_MUL };
	case TS_TOK_DIV: return (Infix){ BP_MUL, TS_IN_DIV };
	case TS_TOK_FLOORDIV: return (Infix){ BP_MUL, TS_IN_FLOORDIV };
	case TS_TOK_MOD: return (Infix){ BP_MUL, TS_IN_MOD };
	case TS_TOK_AT: return (Infix){ BP_MUL, TS_IN_MATMUL };
	case TS_TOK_POW: return (Infix){ BP_POW, TS_IN_POW };
	default: return (Infix){ 0, 0 };
	}
}

static TsTree *expr_bp(P *p, int min);

/* Sets the height of a node from that of its highest kid; trees that would be too deep to walk are refused. */
static TsTree *grown(P *p, TsTree *t, uint32_t kids)
{
	p->height = kids + 1;
	if (p->height > TS_MAX_HEIGHT && !p->failed) {
		ts_error(p->cx, t->at, "E_LIMIT", "expression is deeper than %d operations", TS_MAX_HEIGHT);
		ts_hint(p->cx, "name its parts");
		p->failed = true;
	}
	return t;
}

static TsTree *leaf(P *p, TsTreeKind kind)
{
	TsTree *t = ts_tree(p->cx, kind, ts_p_span(p), 0);
	p->at++;
	p->height = 1;
	return t;
}

/* arg = [NAME "="] expr; a keyword argument may be called like a keyword (`op = "sum"`). */
static TsTree *arg(P *p, bool *keyed)
{
	const TsTok *t = ts_p_peek(p);
	bool word = t->kind == TS_TOK_NAME || t->kind == TS_TOK_DTYPE || (t->kind >= TS_TOK_FIRST_WORD && t->kind <= TS_TOK_LAST_WORD);
	if (!word || ts_p_peek2(p)->kind != TS_TOK_ASSIGN) {
		TsSpan at = ts_p_span(p);
		TsTree *x = ts_p_expr(p);
		if (!p->failed && ts_p_is(p, TS_TOK_ASSIGN)) ts_p_fail(p, "the left side of a keyword argument is one name");
		else if (!p->failed && *keyed) {
			ts_error(p->cx, ts_p_from(p, at), "E_SYNTAX", "positional arguments come before keyword ones");
			p->failed = true;
		}
		return x;
	}
	*keyed = true;
	TsSpan at = ts_p_span(p);
	TsSym name = t->name, comment = ts_p_inner(p, p->at);
	p->at += 2;
	TsTree *kw = ts_tree_kw(p->cx, name, ts_p_expr(p));
	ts_p_attach(p, kw, comment);
	kw->at = ts_p_from(p, at);
	return kw;
}

/* args = "(" arg,* ")" */
TsTree *ts_p_args(P *p, TsTree *call)
{
	uint32_t height = p->height;
	bool keyed = false;
	if (!ts_p_enter(p)) return call;
	ts_p_expect(p, TS_TOK_LPAREN);
	if (!ts_p_is(p, TS_TOK_RPAREN)) {
		do {
			ts_tree_add(p->cx, call, arg(p, &keyed));
			if (p->height > height) height = p->height;
		} while (ts_p_list_goes_on(p, TS_TOK_RPAREN));
	}
	call->tail = ts_p_inner(p, p->at);
	ts_p_expect(p, TS_TOK_RPAREN);
	ts_p_leave(p);
	call->at = ts_p_from(p, call->at);
	return grown(p, call, height);
}

/* index = "..." | expr [":" [expr] [":" expr]] | ":" [expr] [":" expr] */
static TsTree *one_index(P *p)
{
	TsSpan at = ts_p_span(p);
	TsTree *part[3] = { 0 };
	uint32_t height = 0;
	if (ts_p_is(p, TS_TOK_ELLIPSIS)) return leaf(p, TS_TREE_ELLIPSIS);
	if (!ts_p_is(p, TS_TOK_COLON)) {
		part[0] = ts_p_expr(p);
		height = p->height;
		if (!ts_p_is(p, TS_TOK_COLON)) return part[0];
	}
	for (int i = 1; i < 3 && ts_p_accept(p, TS_TOK_COLON); i++) {
		if (ts_p_is(p, TS_TOK_COMMA) || ts_p_is(p, TS_TOK_RBRACKET) || (i == 1 && ts_p_is(p, TS_TOK_COLON))) continue;
		part[i] = ts_p_expr(p);
		if (p->height > height) height = p->height;
	}
	return grown(p, ts_tree(p->cx, TS_TREE_RANGE, ts_p_from(p, at), 3, part[0], part[1], part[2]), height);
}

TsTree *ts_p_index(P *p, TsTree *x)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_INDEX, x->at, 1, x);
	uint32_t height = p->height;
	if (!ts_p_enter(p)) return t;
	ts_p_expect(p, TS_TOK_LBRACKET);
	do {
		ts_tree_add(p->cx, t, one_index(p));
		if (p->height > height) height = p->height;
	} while (ts_p_list_goes_on(p, TS_TOK_RBRACKET));
	ts_p_expect(p, TS_TOK_RBRACKET);
	ts_p_leave(p);
	t->at = ts_p_from(p, t->at);
	return grown(p, t, height);
}

static TsTree *list(P *p)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_LIST, ts_p_span(p), 0);
	uint32_t height = 0;
	if (!ts_p_enter(p)) return t;
	ts_p_expect(p, TS_TOK_LBRACKET);
	if (!ts_p_is(p, TS_TOK_RBRACKET)) {
		do {
			ts_tree_add(p->cx, t, ts_p_expr(p));
			if (p->height > height) height = p->height;
		} while (ts_p_list_goes_on(p, TS_TOK_RBRACKET));
	}
	t->tail = ts_p_inner(p, p->at);
	ts_p_expect(p, TS_TOK_RBRACKET);
	ts_p_leave(p);
	t->at = ts_p_from(p, t->at);
	return grown(p, t, height);
}

/* bits(INT, DTYPE): any float by its bits */
static TsTree *bits(P *p)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_BITS, ts_p_span(p), 0);
	p->at++;
	ts_p_expect(p, TS_TOK_LPAREN);
	t->i = (int64_t)ts_p_peek(p)->i;
	ts_p_expect(p, TS_TOK_INT);
	ts_p_expect(p, TS_TOK_COMMA);
	t->sub = (int32_t)ts_p_peek(p)->i;
	ts_p_expect(p, TS_TOK_DTYPE);
	ts_p_expect(p, TS_TOK_RPAREN);
	t->at = ts_p_from(p, t->at);
	p->height = 1;
	return t;
}

static TsTree *number(P *p)
{
	const TsTok *t = ts_p_peek(p);
	if (t->kind == TS_TOK_INT && t->i > INT64_MAX) ts_p_fail(p, "number is too large for 64 bits");
	TsTree *x = t->kind == TS_TOK_INT ? ts_tree_int(p->cx, ts_p_span(p), (int64_t)t->i) : ts_tree_float(p->cx, ts_p_span(p), t->f);
	p->at++;
	p->height = 1;
	return x;
}

static TsTree *named(P *p, TsTreeKind kind)
{
	const TsTok *t = ts_p_peek(p);
	TsTree *x = leaf(p, kind);
	if (kind == TS_TREE_DTYPE) x->i = (int64_t)t->i;
	else x->name = t->name;
	return x;
}

/* primary = INT | FLOAT | STRING | NAME | DTYPE | true | false | none | inf | nan | "(" expr ")" | "[" expr,* "]" */
static TsTree *primary(P *p)
{
	switch (ts_p_peek(p)->kind) {
	case TS_TOK_INT: case TS_TOK_FLOAT: return number(p);
	case TS_TOK_STR: return named(p, TS_TREE_STR);
	case TS_TOK_NAME:
		if (ts_p_is_word(p, W_bits) && ts_p_peek2(p)->kind == TS_TOK_LPAREN) return bits(p);
		return named(p, TS_TREE_NAME);
	case TS_TOK_DTYPE: return named(p, TS_TREE_DTYPE);
	case TS_TOK_TRUE: return leaf(p, TS_TREE_TRUE);
	case TS_TOK_FALSE: return leaf(p, TS_TREE_FALSE);
	case TS_TOK_NONE: return leaf(p, TS_TREE_NONE);
	case TS_TOK_INF: return leaf(p, TS_TREE_INF);
	case TS_TOK_NAN: return leaf(p, TS_TREE_NAN);
	case TS_TOK_LBRACKET: return list(p);
	case TS_TOK_LPAREN: {
		TsTree *x = NULL;
		if (ts_p_enter(p)) {
			p->at++;
			x = ts_p_expr(p);
			ts_p_expect(p, TS_TOK_RPAREN);
			ts_p_leave(p);
		}
		return x ? x : ts_tree(p->cx, TS_TREE_NONE, ts_p_span(p), 0);
	}
	default:
		ts_p_fail_expected(p, "an expression");
		p->height = 1;
		return ts_tree(p->cx, TS_TREE_NONE, ts_p_span(p), 0);
	}
}

/* field = "." (NAME | STRING) */
static TsTree *field(P *p, TsTree *x)
{
	p->at++;
	const TsTok *t = ts_p_peek(p);
	bool word = t->kind == TS_TOK_NAME || t->kind == TS_TOK_DTYPE || (t->kind >= TS_TOK_FIRST_WORD && t->kind <= TS_TOK_LAST_WORD);
	if (!word && t->kind != TS_TOK_STR) {
		ts_p_fail_expected(p, "a name or a string after '.'");
		return x;
	}
	p->at++;
	TsTree *f = ts_tree(p->cx, t->kind == TS_TOK_STR ? TS_TREE_WNAME : TS_TREE_FIELD, ts_p_from(p, x->at), 1, x);
	f->name = t->name;
	return grown(p, f, p->height);
}

static TsTree *postfix(P *p)
{
	TsTree *x = primary(p);
	for (;;) {
		switch (ts_p_peek(p)->kind) {
		case TS_TOK_LPAREN: x = ts_p_args(p, ts_tree(p->cx, TS_TREE_CALL, x->at, 1, x)); break;
		case TS_TOK_LBRACKET: x = ts_p_index(p, x); break;
		case TS_TOK_DOT: x = field(p, x); break;
		default: return x;
		}
	}
}

/* prefix = postfix | ("-" | "not") expr; a minus before a number makes it negative */
static TsTree *prefix(P *p)
{
	TsSpan at = ts_p_span(p);
	bool neg = ts_p_is(p, TS_TOK_SUB);
	if (!neg && !ts_p_is(p, TS_TOK_NOT)) return postfix(p);
	p->at++;
	const TsTok *t = ts_p_peek(p);
	if (neg && t->kind == TS_TOK_INT && t->i == (uint64_t)INT64_MAX + 1) {
		p->at++;
		p->height = 1;
		return ts_tree_int(p->cx, ts_p_from(p, at), INT64_MIN);
	}
	if (!ts_p_enter(p)) return ts_tree(p->cx, TS_TREE_NONE, at, 0);
	TsTree *x = expr_bp(p, neg ? BP_NEG : BP_NOT);
	ts_p_leave(p);
	TsSpan all = ts_p_from(p, at);
	if (neg && x->kind == TS_TREE_INT && x->i > 0) { x->i = -x->i; x->at = all; return x; }
	if (neg && x->kind == TS_TREE_FLOAT && !__builtin_signbit(x->f)) { x->f = -x->f; x->at = all; return x; }
	return grown(p, ts_tree(p->cx, neg ? TS_TREE_NEG : TS_TREE_NOT, all, 1, x), p->height);
}

static TsTree *expr_bp(P *p, int min)
{
	TsSym comment = ts_p_inner(p, p->at);
	TsTree *a = prefix(p);
	ts_p_attach(p, a, comment);
	for (;;) {
		Infix in = infix_of(ts_p_peek(p)->kind);
		if (!in.bp || in.bp < min) return a;
		uint32_t height = p->height;
		bool right = in.bp == BP_POW; /* each step nests; the others go round this loop */
		p->at++;
		if (right && !ts_p_enter(p)) return a;
		TsTree *b = expr_bp(p, right ? BP_POW : in.bp + 1);
		if (right) ts_p_leave(p);
		a = grown(p, ts_tree_bin(p->cx, in.op, a, b), height > p->height ? height : p->height);
		if (in.bp == BP_CMP && infix_of(ts_p_peek(p)->kind).bp == BP_CMP) { ts_p_fail(p, "comparisons do not chain; write 'a < b and b < c'"); return a; }
	}
}

TsTree *ts_p_expr(P *p) { return expr_bp(p, BP_OR); }

/* range = expr ".." expr ["step" expr] */
TsTree *ts_p_range(P *p)
{
	TsTree *lo = ts_p_expr(p), *step = NULL;
	ts_p_expect(p, TS_TOK_DOTDOT);
	TsTree *hi = ts_p_expr(p);
	if (ts_p_accept_word(p, W_step)) step = ts_p_expr(p);
	return ts_tree(p->cx, TS_TREE_RANGE, ts_p_from(p, lo->at), 3, lo, hi, step);
}

/* annot = "@" NAME [args] */
static void annots(P *p, TsTree *to)
{
	while (ts_p_is(p, TS_TOK_AT)) {
		TsTree *a = ts_tree(p->cx, TS_TREE_ANNOT, ts_p_span(p), 0);
		p->at++;
		a->name = ts_p_name(p, "an annotation's name");
		a->at = ts_p_from(p, a->at);
		p->height = 0;
		if (ts_p_is(p, TS_TOK_LPAREN)) ts_p_args(p, a);
		ts_tree_add(p->cx, to, a);
	}
}

/* size = "some" NAME | expr */
static TsTree *size(P *p)
{
	if (!ts_p_is_word(p, W_some) || ts_p_peek2(p)->kind != TS_TOK_NAME) return ts_p_expr(p);
	TsTree *t = ts_tree(p->cx, TS_TREE_SOME, ts_p_span(p), 0);
	p->at++;
	t->name = ts_p_name(p, "a dim");
	t->at = ts_p_from(p, t->at);
	return t;
}

static TsTree *type_list(P *p, TsTokKind close)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_LIST, ts_p_span(p), 0);
	if (ts_p_is(p, close)) return t;
	do ts_tree_add(p->cx, t, ts_p_type(p));
	while (ts_p_list_goes_on(p, close));
	return t;
}

/* "op" "(" type,* "->" type,* ")" */
static TsTree *op_type(P *p)
{
	TsSpan at = ts_p_span(p);
	p->at++;
	TsTree *t = ts_tree(p->cx, TS_TREE_TYPE_OP, at, 2, NULL, NULL);
	if (!ts_p_enter(p)) return t;
	ts_p_expect(p, TS_TOK_LPAREN);
	t->kid[0] = type_list(p, TS_TOK_ARROW);
	ts_p_expect(p, TS_TOK_ARROW);
	t->kid[1] = type_list(p, TS_TOK_RPAREN);
	ts_p_expect(p, TS_TOK_RPAREN);
	ts_p_leave(p);
	t->at = ts_p_from(p, at);
	return t;
}

/* DTYPE ["@" DTYPE] ("like" NAME | "[" size,* "]" ["!"] { annot }) */
static TsTree *tensor_type(P *p)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_TYPE, ts_p_span(p), 0);
	t->i = (int64_t)ts_p_peek(p)->i;
	p->at++;
	if (ts_p_is(p, TS_TOK_AT)) {
		p->at++;
		if (ts_p_is(p, TS_TOK_DTYPE)) t->sub = 1 + (int32_t)ts_p_peek(p)->i;
		ts_p_expect(p, TS_TOK_DTYPE);
	}
	if (ts_p_accept_word(p, W_like)) {
		t->kind = TS_TREE_TYPE_LIKE;
		t->name = ts_p_name(p, "a bundle's name");
	} else {
		ts_p_expect(p, TS_TOK_LBRACKET);
		if (!ts_p_is(p, TS_TOK_RBRACKET)) {
			do ts_tree_add(p->cx, t, size(p));
			while (ts_p_list_goes_on(p, TS_TOK_RBRACKET));
		}
		ts_p_expect(p, TS_TOK_RBRACKET);
		if (ts_p_accept(p, TS_TOK_BANG)) t->flags |= TS_TF_PENDING;
	}
	t->at = ts_p_from(p, t->at);
	annots(p, t);
	return t;
}

static bool is_type_word(TsSym s)
{
	static const char *const word[] = { "idx", "pos", "bar", "tmap", "buf" };
	for (size_t i = 0; i < sizeof word / sizeof *word; i++)
		if (!__builtin_strcmp(s, word[i])) return true;
	return false;
}

/* type = "weights" | "op" … | DTYPE … | annot { annot } | a word of kernels */
static TsTree *bare_type(P *p)
{
	const TsTok *k = ts_p_peek(p);
	TsTree *t;
	switch (k->kind) {
	case TS_TOK_DTYPE: return tensor_type(p);
	case TS_TOK_OP: return op_type(p);
	case TS_TOK_AT:
		t = ts_tree(p->cx, TS_TREE_TYPE_NONE, ts_p_span(p), 0);
		annots(p, t);
		t->at = ts_p_from(p, t->at);
		return t;
	case TS_TOK_WEIGHTS: return named(p, TS_TREE_TYPE_WORD);
	case TS_TOK_NAME:
		if (is_type_word(k->name)) {
			t = named(p, TS_TREE_TYPE_WORD);
			annots(p, t);
			return t;
		}
		break;
	default: break;
	}
	ts_p_fail_expected(p, "a type");
	return ts_tree(p->cx, TS_TREE_TYPE_NONE, ts_p_span(p), 0);
}

TsTree *ts_p_type(P *p)
{
	TsSym comment = ts_p_inner(p, p->at);
	TsTree *t = bare_type(p);
	ts_p_attach(p, t, comment);
	return t;
}
