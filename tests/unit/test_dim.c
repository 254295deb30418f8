/* Sizes: the normal form and everything decided from it, against plain evaluation of random expressions for random symbol values. */
#include "ir/dim.h"
#include "tests/unit/check.h"
#include <stdlib.h>
#include <string.h>

enum { NSYM = 5, NEXPR = 64, NVALUES = 24 };
static const TsDimSym info[NSYM] = {
	{ .name = "B", .min = 0, .max = 64, .multiple = 1 }, { .name = "S", .min = 1, .max = INT64_MAX, .multiple = 8 }, { .name = "D", .min = 16, .max = 4096, .multiple = 16 },
	{ .name = "N", .min = 1, .max = INT64_MAX, .multiple = 1 }, { .name = "K", .min = 2, .max = 9, .multiple = 1 },
};

typedef struct { TsDim d; int64_t v[NVALUES]; bool ok[NVALUES]; } Expr; /* ok: the value exists */
typedef struct { TsCtx *cx; TsDims *t; uint32_t seed; int64_t sym[NVALUES][NSYM]; Expr e[NEXPR]; uint32_t n; } World;

static uint32_t next(World *w, uint32_t below)
{
	w->seed = w->seed * 1664525u + 1013904223u;
	return (w->seed >> 8) % below;
}

static int64_t floordiv(int64_t a, int64_t b) { return a / b - (a % b && (a < 0) != (b < 0)); }

static void start(World *w, uint32_t seed)
{
	*w = (World){ .cx = ts_ctx_new(), .seed = seed };
	w->t = ts_dims_new(w->cx);
	for (int i = 0; i < NSYM; i++) {
		TsDimSym s = info[i];
		s.name = ts_intern(w->cx, s.name);
		Expr *e = &w->e[w->n++];
		e->d = ts_dim_symbol(w->t, s);
		for (int k = 0; k < NVALUES; k++) {
			int64_t most = s.max == INT64_MAX ? 300 : s.max, least = (s.min + s.multiple - 1) / s.multiple;
			e->v[k] = w->sym[k][i] = s.multiple * (least + next(w, (uint32_t)(most / s.multiple - least + 1)));
			e->ok[k] = true;
		}
	}
	static const int64_t number[] = { 0, 1, 2, 3, 8, -1, 16, 7 };
	for (int i = 0; i < 8; i++) {
		Expr *e = &w->e[w->n++];
		e->d = ts_dim_const(w->t, number[i]);
		for (int k = 0; k < NVALUES; k++) e->v[k] = number[i], e->ok[k] = true;
	}
}

/* One more expression out of two of those there are. */
static void grow(World *w)
{
	const Expr *a = &w->e[next(w, w->n)], *b = &w->e[next(w, w->n)];
	Expr *r = &w->e[w->n];
	uint32_t op = next(w, 8);
	TsDim (*make[])(TsDims *, TsDim, TsDim) = { ts_dim_add, ts_dim_sub, ts_dim_mul, ts_dim_floordiv, ts_dim_mod, ts_dim_cdiv, ts_dim_min, ts_dim_max };
	r->d = make[op](w->t, a->d, b->d);
	if (r->d == TS_DIM_BAD) return;
	for (int k = 0; k < NVALUES; k++) {
		int64_t x = a->v[k], y = b->v[k];
		r->ok[k] = a->ok[k] && b->ok[k] && (op < 3 || op > 5 || y) && llabs(x) < 1000000 && llabs(y) < 1000000;
		if (!r->ok[k]) continue;
		r->v[k] = op == 0 ? x + y : op == 1 ? x - y : op == 2 ? x * y : op == 3 ? floordiv(x, y) : op == 4 ? x - y * floordiv(x, y) : op == 5 ? floordiv(x + y - 1, y)
			: op == 6 ? (x < y ? x : y) : (x > y ? x : y);
	}
	w->n++;
}

static const char *text(World *w, TsDim d)
{
	TsBuf b = { 0 };
	ts_dim_print(w->t, d, &b);
	const char *s = ts_strndup(ts_arena(w->cx), b.p, b.n);
	ts_buf_free(&b);
	return s;
}

static void values_agree(World *w, const Expr *e)
{
	int64_t lo, hi, got;
	ts_dim_range(w->t, e->d, &lo, &hi);
	for (int k = 0; k < NVALUES; k++) {
		if (!e->ok[k]) continue;
		bool known = ts_dim_eval(w->t, e->d, w->sym[k], &got);
		if (!known || got != e->v[k]) { check("value", false, "%s is %lld, evaluated %lld (%d)", text(w, e->d), (long long)e->v[k], (long long)got, known); return; }
		if (got < lo || got > hi) { check("range", false, "%s is %lld, outside %lld to %lld", text(w, e->d), (long long)got, (long long)lo, (long long)hi); return; }
		for (int64_t m = 2; m < 17; m++) {
			TsTruth t = ts_dim_divides(w->t, m, e->d);
			if ((t == TS_YES && got % m) || (t == TS_NO && got % m == 0)) { check("divides", false, "%lld and %s = %lld: %d", (long long)m, text(w, e->d), (long long)got, t); return; }
		}
	}
}

static void truths_agree(World *w, const Expr *a, const Expr *b)
{
	TsTruth eq = ts_dim_eq(w->t, a->d, b->d), le = ts_dim_le(w->t, a->d, b->d);
	for (int k = 0; k < NVALUES; k++) {
		if (!a->ok[k] || !b->ok[k]) continue;
		bool is = a->v[k] == b->v[k], less = a->v[k] <= b->v[k];
		if ((eq == TS_YES && !is) || (eq == TS_NO && is)) check("equal", false, "%s and %s: %d, values %lld %lld", text(w, a->d), text(w, b->d), eq, (long long)a->v[k], (long long)b->v[k]);
		if ((le == TS_YES && !less) || (le == TS_NO && less)) check("at-most", false, "%s and %s: %d, values %lld %lld", text(w, a->d), text(w, b->d), le, (long long)a->v[k], (long long)b->v[k]);
		if (check_failed) return;
	}
}

/* Putting numbers for symbols gives the value. */
static void substitution(World *w, const Expr *e)
{
	for (int k = 0; k < 4; k++) {
		TsDim with[NSYM];
		int64_t v;
		if (!e->ok[k]) continue;
		for (int i = 0; i < NSYM; i++) with[i] = ts_dim_const(w->t, w->sym[k][i]);
		TsDim d = ts_dim_subst(w->t, e->d, with);
		if (d == TS_DIM_BAD || !ts_dim_is_const(w->t, d, &v) || v != e->v[k]) { check("substitution", false, "%s is %lld", text(w, e->d), (long long)e->v[k]); return; }
		for (int i = 0; i < NSYM; i++) with[i] = TS_DIM_BAD;
		if (ts_dim_subst(w->t, e->d, with) != e->d) { check("substitution-of-nothing", false, "%s changes", text(w, e->d)); return; }
	}
}

/* Identities that the normal form decides. */
static void identities(void)
{
	World w;
	start(&w, 1);
	TsDims *t = w.t;
	TsDim B = w.e[0].d, S = w.e[1].d, D = w.e[2].d, N = w.e[3].d, one = ts_dim_const(t, 1), two = ts_dim_const(t, 2), eight = ts_dim_const(t, 8);
	TsDim half = ts_dim_floordiv(t, S, two);
	check("multiples", ts_dim_mul(t, eight, ts_dim_floordiv(t, S, eight)) == S, "8*(S//8) is %s", text(&w, ts_dim_mul(t, eight, ts_dim_floordiv(t, S, eight))));
	check("rounding", ts_dim_add(t, ts_dim_floordiv(t, ts_dim_sub(t, S, one), two), one) == half, "(S - 1)//2 + 1 is %s", text(&w, ts_dim_add(t, ts_dim_floordiv(t, ts_dim_sub(t, S, one), two), one)));
	check("commutes", ts_dim_mul(t, ts_dim_mul(t, B, S), D) == ts_dim_mul(t, D, ts_dim_mul(t, S, B)), "B*S*D");
	check("distributes", ts_dim_mul(t, N, ts_dim_add(t, B, S)) == ts_dim_add(t, ts_dim_mul(t, S, N), ts_dim_mul(t, N, B)), "N*(B + S)");
	check("remainder", ts_dim_eq(t, ts_dim_mod(t, D, ts_dim_const(t, 16)), 0) == TS_YES, "D %% 16");
	check("open", ts_dim_eq(t, B, N) == TS_OPEN && ts_dim_divides(t, 3, N) == TS_OPEN, "B and N");
	check("never", ts_dim_eq(t, B, ts_dim_const(t, 65)) == TS_NO && ts_dim_le(t, D, eight) == TS_NO, "B is 65");
	check("division-by-zero", ts_dim_floordiv(t, N, 0) == TS_DIM_BAD, "N//0");
	check("overflow", ts_dim_mul(t, ts_dim_const(t, INT64_MAX), two) == TS_DIM_BAD && ts_dim_add(t, TS_DIM_BAD, one) == TS_DIM_BAD, "2^64");
	check("printed", !strcmp(text(&w, ts_dim_add(t, ts_dim_mul(t, two, ts_dim_mul(t, B, S)), one)), "2*B*S + 1") && !strcmp(text(&w, ts_dim_floordiv(t, S, eight)), "S//8"), "%s", text(&w, ts_dim_floordiv(t, S, eight)));
	ts_ctx_free(w.cx);
}

int main(void)
{
	uint32_t made = 0;
	identities();
	for (uint32_t seed = 1; seed <= 400 && !check_failed; seed++) {
		World w;
		start(&w, seed * 2654435761u);
		for (int tries = 0; tries < 200 && w.n < NEXPR; tries++) grow(&w);
		made += w.n;
		for (uint32_t i = 0; i < w.n && !check_failed; i++) {
			values_agree(&w, &w.e[i]);
			substitution(&w, &w.e[i]);
			for (uint32_t k = 0; k < 8 && !check_failed; k++) truths_agree(&w, &w.e[i], &w.e[next(&w, w.n)]);
		}
		ts_ctx_free(w.cx);
	}
	if (!check_failed) printf("ok random-sizes (%u expressions)\n", made);
	return check_failed;
}
