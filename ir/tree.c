#include "ir/tree.h"
#include <stdarg.h>

TsTree *ts_tree(TsCtx *cx, TsTreeKind kind, TsSpan at, uint32_t n, ...)
{
	TsTree *t = TS_NEW(ts_arena(cx), TsTree);
	t->kind = (uint16_t)kind;
	t->at = at;
	t->n = t->cap = n;
	t->kid = TS_NEW_N(ts_arena(cx), TsTree *, n);
	va_list ap;
	va_start(ap, n);
	for (uint32_t i = 0; i < n; i++) t->kid[i] = va_arg(ap, TsTree *);
	va_end(ap);
	return t;
}

TsTree *ts_tree_int(TsCtx *cx, TsSpan at, int64_t v)
{
	TsTree *t = ts_tree(cx, TS_TREE_INT, at, 0);
	t->i = v;
	return t;
}

TsTree *ts_tree_float(TsCtx *cx, TsSpan at, double v)
{
	TsTree *t = ts_tree(cx, TS_TREE_FLOAT, at, 0);
	t->f = v;
	return t;
}

TsTree *ts_tree_name(TsCtx *cx, TsSpan at, const char *name)
{
	TsTree *t = ts_tree(cx, TS_TREE_NAME, at, 0);
	t->name = ts_intern(cx, name);
	return t;
}

TsTree *ts_tree_str(TsCtx *cx, TsSpan at, const char *s)
{
	TsTree *t = ts_tree(cx, TS_TREE_STR, at, 0);
	t->name = ts_intern(cx, s);
	return t;
}

TsTree *ts_tree_bin(TsCtx *cx, TsInfix op, TsTree *a, TsTree *b)
{
	TsTree *t = ts_tree(cx, TS_TREE_BIN, ts_span_join(a->at, b->at), 2, a, b);
	t->sub = (int32_t)op;
	return t;
}

TsTree *ts_tree_kw(TsCtx *cx, const char *name, TsTree *value)
{
	TsTree *t = ts_tree(cx, TS_TREE_KW, value ? value->at : (TsSpan){ 0 }, 1, value);
	t->name = ts_intern(cx, name);
	return t;
}

void ts_tree_add(TsCtx *cx, TsTree *to, TsTree *kid)
{
	TsTree **grown = to->kid;
	if (to->n >= to->cap) {
		to->cap = to->n ? to->n * 2 : 4;
		grown = TS_NEW_N(ts_arena(cx), TsTree *, to->cap);
		for (uint32_t i = 0; i < to->n; i++) grown[i] = to->kid[i];
	}
	to->kid = grown;
	to->kid[to->n++] = kid;
}

const char *ts_infix_text(TsInfix op)
{
	static const char *const text[] = { "or", "and", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "//", "%", "@", "**" };
	return text[op];
}

const char *ts_tree_kind_name(TsTreeKind k)
{
	static const char *const name[] = {
#define X(k) #k,
		TS_TREE_KINDS(X)
#undef X
	};
	return name[k];
}

bool ts_tree_eq(const TsTree *a, const TsTree *b)
{
	if (a == b) return true;
	if (!a || !b || a->kind != b->kind || a->sub != b->sub || a->flags != b->flags || a->name != b->name || a->i != b->i || a->n != b->n || a->doc != b->doc) return false;
	for (uint32_t i = 0; i < a->n; i++)
		if (!ts_tree_eq(a->kid[i], b->kid[i])) return false;
	return true;
}
