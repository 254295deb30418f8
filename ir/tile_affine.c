/* idx expressions as sums of products with constants, so that `n:n + 64` has a length and a divisor of both sides cancels. */
#include "ir/tile_check.h"
#include <string.h>

static bool add_term(TvLin *l, const TsTree *atom, int64_t coef)
{
	for (int i = 0; i < l->n; i++) {
		if (!tv_same(l->t[i].atom, atom)) continue;
		if (__builtin_add_overflow(l->t[i].coef, coef, &l->t[i].coef)) return false;
		if (!l->t[i].coef) l->t[i] = l->t[--l->n];
		return true;
	}
	if (l->n == TV_MAX_TERMS) return false;
	if (coef) l->t[l->n++] = (TvTerm){ atom, coef };
	return true;
}

/* a + k * b; not ok on overflow or too many terms. */
static TvLin add_scaled(const TvLin *a, const TvLin *b, int64_t k)
{
	TvLin out = *a;
	int64_t c;
	out.ok = a->ok && b->ok && !__builtin_mul_overflow(b->c, k, &c) && !__builtin_add_overflow(out.c, c, &out.c);
	for (int i = 0; out.ok && i < b->n; i++) out.ok = !__builtin_mul_overflow(b->t[i].coef, k, &c) && add_term(&out, b->t[i].atom, c);
	return out;
}

TvLin tv_lin_sub(const TvLin *a, const TvLin *b)
{
	return add_scaled(a, b, -1);
}

bool tv_lin_const(const TvLin *a, int64_t *out)
{
	*out = a->c;
	return a->ok && a->n == 0;
}

bool tv_same(const TsTree *a, const TsTree *b)
{
	if (a == b) return true;
	if (!a || !b || a->kind != b->kind || a->sub != b->sub || a->n != b->n) return false;
	if (a->kind == TS_TREE_NAME && a->note && b->note) return ts_tinfo(a)->decl ? ts_tinfo(a)->decl == ts_tinfo(b)->decl : a->name == b->name;
	if (a->name != b->name || a->i != b->i) return false;
	for (uint32_t i = 0; i < a->n; i++)
		if (!tv_same(a->kid[i], b->kid[i])) return false;
	return true;
}

static TvLin lin_const(int64_t c)
{
	return (TvLin){ .ok = true, .c = c };
}

static TvLin lin_atom(const TsTree *x)
{
	TvLin l = { .ok = true, .n = 1 };
	l.t[0] = (TvTerm){ x, 1 };
	return l;
}

static int64_t floordiv(int64_t a, int64_t b)
{
	int64_t q = a / b;
	return q - (a % b && (a < 0) != (b < 0));
}

static TvLin lin_bin(TsVerify *v, const TsTree *x)
{
	TvLin a = tv_lin(v, x->kid[0]), b = tv_lin(v, x->kid[1]), none = { .ok = true };
	int64_t p, q;
	bool ka = tv_lin_const(&a, &p), kb = tv_lin_const(&b, &q);
	switch (x->sub) {
	case TS_IN_ADD: return add_scaled(&a, &b, 1);
	case TS_IN_SUB: return add_scaled(&a, &b, -1);
	case TS_IN_MUL:
		if (kb) return add_scaled(&none, &a, q);
		if (ka) return add_scaled(&none, &b, p);
		break;
	case TS_IN_FLOORDIV:
		if (ka && kb && q && q != -1) return lin_const(floordiv(p, q));
		break;
	case TS_IN_MOD:
		if (ka && kb && q && q != -1) return lin_const(p - floordiv(p, q) * q);
		break;
	}
	return lin_atom(x);
}

/* min, max and cdiv of constants. */
static TvLin lin_call(TsVerify *v, const TsTree *x)
{
	int32_t op = x->note ? ts_tinfo(x)->op : -1;
	if ((op != TS_TILE_min && op != TS_TILE_max && op != TS_TILE_cdiv) || x->n < 3) return lin_atom(x);
	int64_t out = 0;
	for (uint32_t i = 1; i < x->n; i++) {
		TvLin a = tv_lin(v, x->kid[i]);
		int64_t k;
		if (!tv_lin_const(&a, &k)) return lin_atom(x);
		if (i == 1) out = k;
		else if (op == TS_TILE_cdiv) {
			if (k <= 0) return lin_atom(x);
			if (out == INT64_MIN) return lin_atom(x);
			out = -floordiv(-out, k);
		} else if (op == TS_TILE_min ? k < out : k > out) out = k;
	}
	return lin_const(out);
}

TvLin tv_lin(TsVerify *v, const TsTree *x)
{
	TvLin none = { .ok = true };
	switch (x->kind) {
	case TS_TREE_INT: return lin_const(x->i);
	case TS_TREE_BIN: return lin_bin(v, x);
	case TS_TREE_CALL: return lin_call(v, x);
	case TS_TREE_NEG: {
		TvLin a = tv_lin(v, x->kid[0]);
		return add_scaled(&none, &a, -1);
	}
	case TS_TREE_NAME: {
		const TsTree *decl = x->note ? ts_tinfo(x)->decl : NULL;
		const TvLin *l = decl ? ts_map_get(&v->lins, decl) : NULL;
		return l ? *l : lin_atom(x);
	}
	default: return lin_atom(x);
	}
}

bool tv_static_values(TsVerify *v, const TsTree *x, int64_t *out, int max, int *n)
{
	TvLin l = tv_lin(v, x);
	*n = 1;
	out[0] = l.c;
	if (!l.ok || l.n > 1) return false;
	if (l.n == 0) return true;
	const TsTree *decl = l.t[0].atom->kind == TS_TREE_NAME ? ts_tinfo(l.t[0].atom)->decl : NULL;
	const TsTree *range = decl && decl->kind == TS_TREE_FOR ? ts_tinfo(decl)->def : NULL;
	if (!range) return false;
	int64_t lo = ts_tinfo(range->kid[0])->value, hi = ts_tinfo(range->kid[1])->value, step = ts_tinfo(range)->step;
	*n = 0;
	for (int64_t i = lo; step > 0 ? i < hi : i > hi;) {
		int64_t at;
		if (*n == max || __builtin_mul_overflow(l.t[0].coef, i, &at) || __builtin_add_overflow(at, l.c, &out[*n])) return false;
		++*n;
		if (__builtin_add_overflow(i, step, &i)) break;
	}
	return *n > 0;
}
