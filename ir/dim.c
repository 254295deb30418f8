/* Sizes in normal form. A polynomial is a sorted list of terms, a term a coefficient and a sorted list of atoms; atoms are symbols, floor
 * quotients, minima and maxima. A symbol S with multiple m is stored as m * S', so what divides is seen in the coefficients alone; a
 * remainder a % b is stored as a - b*(a // b), so each value has one form. Handle 0 is the empty sum. */
#include "ir/dim.h"
#include <string.h>

typedef struct { int64_t coef; uint32_t nf, *f; } Term;                 /* f: atoms, sorted, repeated for powers */
typedef struct { uint32_t n, hash, next, weight, depth; Term *t; } Poly;   /* weight: nodes of it as a tree; depth: quotients within quotients */
typedef enum { AT_SYMBOL, AT_DIV, AT_MIN, AT_MAX } AtomKind;
typedef struct { AtomKind kind; uint32_t a, b; } Atom;                  /* SYMBOL: a = symbol; else a, b = sizes */

/* Sizes share their parts, so that a few steps could make a tree that nobody walks to its end. */
enum { MAX_TERMS = 512, MAX_FACTORS = 32, MAX_WEIGHT = 1 << 17, MAX_DEPTH = 200, HASH = 1024 };
struct TsDims {
	TsCtx *cx;
	TsArena *arena;
	TS_VEC(Poly) polys;
	TS_VEC(Atom) atoms;
	TS_VEC(TsDimSym) syms;
	uint32_t bucket[HASH];                                              /* poly + 1 */
};

TsDims *ts_dims_new(TsCtx *cx)
{
	TsDims *t = TS_NEW(ts_arena(cx), TsDims);
	t->cx = cx;
	t->arena = ts_arena(cx);
	ts_push(t->arena, &t->polys, (Poly){ 0 });
	return t;
}

/* ---- sums ---- */

typedef struct { uint32_t n; bool bad; Term t[MAX_TERMS]; } Sum;

static int compare(const Term *a, const Term *b)
{
	if (a->nf != b->nf) return a->nf > b->nf ? -1 : 1; /* higher degree first, the constant last */
	for (uint32_t i = 0; i < a->nf; i++)
		if (a->f[i] != b->f[i]) return a->f[i] < b->f[i] ? -1 : 1;
	return 0;
}

static void sum_add(Sum *s, Term x)
{
	uint32_t i = 0;
	int c = -1;
	if (s->bad || !x.coef) return;
	while (i < s->n && (c = compare(&s->t[i], &x)) < 0) i++;
	if (i < s->n && c == 0) {
		if (__builtin_add_overflow(s->t[i].coef, x.coef, &s->t[i].coef)) s->bad = true;
		if (!s->t[i].coef) memmove(&s->t[i], &s->t[i + 1], (--s->n - i) * sizeof *s->t);
		return;
	}
	if (s->n == MAX_TERMS) { s->bad = true; return; }
	memmove(&s->t[i + 1], &s->t[i], (s->n++ - i) * sizeof *s->t);
	s->t[i] = x;
}

static uint32_t hash_sum(const Sum *s)
{
	uint64_t h = 1469598103934665603u;
	for (uint32_t i = 0; i < s->n; i++) {
		h = (h ^ (uint64_t)s->t[i].coef) * 1099511628211u;
		for (uint32_t j = 0; j < s->t[i].nf; j++) h = (h ^ s->t[i].f[j]) * 1099511628211u;
	}
	return (uint32_t)(h ^ h >> 29);
}

static bool same_sum(const Poly *p, const Sum *s)
{
	if (p->n != s->n) return false;
	for (uint32_t i = 0; i < s->n; i++)
		if (p->t[i].coef != s->t[i].coef || compare(&p->t[i], &s->t[i])) return false;
	return true;
}

/* The weight and depth of a sum; false when they pass the limits. */
static bool measure(const TsDims *t, const Sum *s, uint32_t *weight, uint32_t *depth)
{
	*weight = *depth = 0;
	for (uint32_t i = 0; i < s->n; i++) {
		++*weight;
		for (uint32_t j = 0; j < s->t[i].nf; j++) {
			const Atom *a = &t->atoms.p[s->t[i].f[j]];
			++*weight;
			if (a->kind == AT_SYMBOL) continue;
			const Poly *x = &t->polys.p[a->a], *y = &t->polys.p[a->b];
			*weight += x->weight + y->weight;
			uint32_t under = 1 + (x->depth > y->depth ? x->depth : y->depth);
			if (under > *depth) *depth = under;
		}
	}
	return *weight <= MAX_WEIGHT && *depth <= MAX_DEPTH;
}

static TsDim intern(TsDims *t, const Sum *s)
{
	uint32_t weight, depth;
	if (s->bad || !measure(t, s, &weight, &depth)) return TS_DIM_BAD;
	if (!s->n) return 0;
	uint32_t h = hash_sum(s), *b = &t->bucket[h % HASH];
	for (uint32_t i = *b; i; i = t->polys.p[i - 1].next)
		if (t->polys.p[i - 1].hash == h && same_sum(&t->polys.p[i - 1], s)) return i - 1;
	Poly p = { s->n, h, *b, weight, depth, ts_memdup(t->arena, s->t, s->n * sizeof *s->t) };
	for (uint32_t i = 0; i < s->n; i++) p.t[i].f = ts_memdup(t->arena, s->t[i].f, s->t[i].nf * sizeof(uint32_t));
	ts_push(t->arena, &t->polys, p);
	*b = t->polys.n;
	return t->polys.n - 1;
}

static void sum_poly(Sum *s, const Poly *p, int64_t by)
{
	for (uint32_t i = 0; i < p->n; i++) {
		Term x = p->t[i];
		if (__builtin_mul_overflow(x.coef, by, &x.coef)) s->bad = true;
		sum_add(s, x);
	}
}

TsDim ts_dim_const(TsDims *t, int64_t v)
{
	Sum s = { .n = 0 };
	sum_add(&s, (Term){ v, 0, NULL });
	return intern(t, &s);
}

static TsDim atom(TsDims *t, AtomKind kind, uint32_t a, uint32_t b, int64_t coef)
{
	uint32_t i = 0;
	while (i < t->atoms.n && (t->atoms.p[i].kind != kind || t->atoms.p[i].a != a || t->atoms.p[i].b != b)) i++;
	if (i == t->atoms.n) ts_push(t->arena, &t->atoms, (Atom){ kind, a, b });
	Sum s = { .n = 0 };
	sum_add(&s, (Term){ coef, 1, &i });
	return intern(t, &s);
}

bool ts_dim_find_symbol(const TsDims *t, TsSym name, TsDim *out)
{
	for (uint32_t i = 0; i < t->syms.n; i++)
		if (t->syms.p[i].name == name) {
			*out = atom((TsDims *)(uintptr_t)t, AT_SYMBOL, i, 0, t->syms.p[i].multiple);
			return true;
		}
	return false;
}

TsDim ts_dim_symbol(TsDims *t, TsDimSym s)
{
	TsDim d;
	if (ts_dim_find_symbol(t, s.name, &d)) return d;
	if (s.multiple < 1) s.multiple = 1;
	ts_push(t->arena, &t->syms, s);
	return atom(t, AT_SYMBOL, t->syms.n - 1, 0, s.multiple);
}

TsDim ts_dim_add(TsDims *t, TsDim a, TsDim b)
{
	if (a == TS_DIM_BAD || b == TS_DIM_BAD) return TS_DIM_BAD;
	if (!a) return b;
	if (!b) return a;
	Sum s = { .n = 0 };
	sum_poly(&s, &t->polys.p[a], 1);
	sum_poly(&s, &t->polys.p[b], 1);
	return intern(t, &s);
}

TsDim ts_dim_sub(TsDims *t, TsDim a, TsDim b)
{
	if (a == TS_DIM_BAD || b == TS_DIM_BAD) return TS_DIM_BAD;
	Sum s = { .n = 0 };
	sum_poly(&s, &t->polys.p[a], 1);
	sum_poly(&s, &t->polys.p[b], -1);
	return intern(t, &s);
}

static bool times(const Term *x, const Term *y, uint32_t *room, Term *out)
{
	uint32_t i = 0, j = 0, n = 0;
	if (x->nf + y->nf > MAX_FACTORS || __builtin_mul_overflow(x->coef, y->coef, &out->coef)) return false;
	while (i < x->nf || j < y->nf) room[n++] = j == y->nf || (i < x->nf && x->f[i] <= y->f[j]) ? x->f[i++] : y->f[j++];
	out->nf = n;
	out->f = room;
	return true;
}

TsDim ts_dim_mul(TsDims *t, TsDim a, TsDim b)
{
	if (a == TS_DIM_BAD || b == TS_DIM_BAD) return TS_DIM_BAD;
	if (!a || !b) return 0;
	Sum s = { .n = 0 };
	const Poly *p = &t->polys.p[a], *q = &t->polys.p[b];
	if ((uint64_t)p->n * q->n > MAX_TERMS) return TS_DIM_BAD;
	for (uint32_t i = 0; i < p->n; i++)
		for (uint32_t j = 0; j < q->n; j++) {
			uint32_t *room = TS_NEW_N(t->arena, uint32_t, p->t[i].nf + q->t[j].nf);
			Term x;
			if (!times(&p->t[i], &q->t[j], room, &x)) return TS_DIM_BAD;
			sum_add(&s, x);
		}
	return intern(t, &s);
}

bool ts_dim_is_short(const TsDims *t, TsDim d)
{
	enum { WEIGHT = 400, DEPTH = 20 };
	return d != TS_DIM_BAD && t->polys.p[d].weight <= WEIGHT && t->polys.p[d].depth <= DEPTH;
}

bool ts_dim_is_const(const TsDims *t, TsDim d, int64_t *v)
{
	if (d == TS_DIM_BAD) return false;
	const Poly *p = &t->polys.p[d];
	if (p->n > 1 || (p->n && p->t[0].nf)) return false;
	*v = p->n ? p->t[0].coef : 0;
	return true;
}

/* ---- ranges, with INT64_MIN and INT64_MAX as open ends ---- */

static int64_t sat_add(int64_t a, int64_t b)
{
	int64_t r;
	if (a == INT64_MIN || b == INT64_MIN) return INT64_MIN;
	if (a == INT64_MAX || b == INT64_MAX) return INT64_MAX;
	return __builtin_add_overflow(a, b, &r) ? (a < 0 ? INT64_MIN : INT64_MAX) : r;
}

static int64_t sat_mul(int64_t a, int64_t b)
{
	int64_t r;
	if (!a || !b) return 0;
	bool open = a == INT64_MIN || a == INT64_MAX || b == INT64_MIN || b == INT64_MAX;
	return open || __builtin_mul_overflow(a, b, &r) ? ((a < 0) != (b < 0) ? INT64_MIN : INT64_MAX) : r;
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static void range_mul(int64_t *lo, int64_t *hi, int64_t l, int64_t h)
{
	int64_t c[4] = { sat_mul(*lo, l), sat_mul(*lo, h), sat_mul(*hi, l), sat_mul(*hi, h) };
	*lo = *hi = c[0];
	for (int i = 1; i < 4; i++) {
		if (c[i] < *lo) *lo = c[i];
		if (c[i] > *hi) *hi = c[i];
	}
}

static void atom_range(const TsDims *t, uint32_t i, int64_t *lo, int64_t *hi)
{
	const Atom *a = &t->atoms.p[i];
	int64_t al, ah, bl, bh;
	if (a->kind == AT_SYMBOL) {
		const TsDimSym *s = &t->syms.p[a->a];
		*lo = s->min == INT64_MIN ? s->min : -floor_div(-s->min, s->multiple);
		*hi = s->max == INT64_MAX ? s->max : floor_div(s->max, s->multiple);
		return;
	}
	ts_dim_range(t, a->a, &al, &ah);
	ts_dim_range(t, a->b, &bl, &bh);
	if (a->kind == AT_MIN) { *lo = al < bl ? al : bl; *hi = ah < bh ? ah : bh; return; }
	if (a->kind == AT_MAX) { *lo = al > bl ? al : bl; *hi = ah > bh ? ah : bh; return; }
	*lo = INT64_MIN;
	*hi = INT64_MAX;
	if (bl < 1) return; /* quotients by positive sizes only */
	if (al != INT64_MIN) *lo = al >= 0 ? (bh == INT64_MAX ? 0 : al / bh) : floor_div(al, bl);
	if (ah != INT64_MAX) *hi = ah >= 0 ? ah / bl : bh == INT64_MAX ? -1 : floor_div(ah, bh);
}

void ts_dim_range(const TsDims *t, TsDim d, int64_t *lo, int64_t *hi)
{
	*lo = INT64_MIN;
	*hi = INT64_MAX;
	if (d == TS_DIM_BAD) return;
	const Poly *p = &t->polys.p[d];
	int64_t sl = 0, sh = 0;
	for (uint32_t i = 0; i < p->n; i++) {
		int64_t l = p->t[i].coef, h = l, al, ah;
		for (uint32_t j = 0; j < p->t[i].nf; j++) {
			atom_range(t, p->t[i].f[j], &al, &ah);
			range_mul(&l, &h, al, ah);
		}
		sl = sat_add(sl, l);
		sh = sat_add(sh, h);
	}
	*lo = sl;
	*hi = sh;
}

TsTruth ts_dim_le(const TsDims *t, TsDim a, TsDim b)
{
	int64_t lo, hi;
	if (a == b) return a == TS_DIM_BAD ? TS_OPEN : TS_YES;
	ts_dim_range(t, ts_dim_sub((TsDims *)(uintptr_t)t, b, a), &lo, &hi);
	return lo >= 0 ? TS_YES : hi < 0 ? TS_NO : TS_OPEN;
}

/* Does k divide every coefficient but perhaps the constant's, and what is that constant? */
static bool divides_terms(const Poly *p, int64_t k, int64_t *constant)
{
	*constant = 0;
	for (uint32_t i = 0; i < p->n; i++) {
		if (!p->t[i].nf) *constant = p->t[i].coef;
		else if (p->t[i].coef % k) return false;
	}
	return true;
}

TsTruth ts_dim_divides(const TsDims *t, int64_t k, TsDim d)
{
	int64_t c;
	if (d == TS_DIM_BAD || k < 1) return TS_OPEN;
	if (!divides_terms(&t->polys.p[d], k, &c)) return TS_OPEN;
	return c % k ? TS_NO : TS_YES;
}

TsTruth ts_dim_eq(const TsDims *t, TsDim a, TsDim b)
{
	int64_t lo, hi, c;
	if (a == TS_DIM_BAD || b == TS_DIM_BAD) return TS_OPEN;
	if (a == b) return TS_YES;
	TsDim diff = ts_dim_sub((TsDims *)(uintptr_t)t, a, b);
	ts_dim_range(t, diff, &lo, &hi);
	if (lo > 0 || hi < 0) return TS_NO;
	if (diff == TS_DIM_BAD) return TS_OPEN;
	/* all coefficients share a factor that the constant lacks: never 0 */
	int64_t g = 0;
	const Poly *p = &t->polys.p[diff];
	for (uint32_t i = 0; i < p->n; i++) {
		if (!p->t[i].nf) continue;
		int64_t x = p->t[i].coef < 0 ? -p->t[i].coef : p->t[i].coef;
		while (x) { int64_t r = g % x; g = x; x = r; }
	}
	return g > 1 && divides_terms(p, g, &c) && c % g ? TS_NO : TS_OPEN;
}

/* ---- quotients ---- */

/* q + (rest // k): whole multiples of k leave the quotient, common factors cancel, quotients of quotients join. */
static TsDim div_const(TsDims *t, TsDim a, int64_t k)
{
	Sum q = { .n = 0 }, r = { .n = 0 };
	const Poly *p = &t->polys.p[a];
	int64_t g = k, lo, hi;
	if (k < 0) return k == INT64_MIN ? TS_DIM_BAD : div_const(t, ts_dim_sub(t, 0, a), -k);
	for (uint32_t i = 0; i < p->n; i++) {
		Term x = p->t[i];
		int64_t whole = x.nf ? x.coef / k : floor_div(x.coef, k), rest = x.coef - whole * k;
		sum_add(&q, (Term){ whole, x.nf, x.f });
		sum_add(&r, (Term){ rest, x.nf, x.f });
		if (x.nf) g = ts_gcd(g, rest);
	}
	TsDim quot = intern(t, &q), rest = intern(t, &r);
	if (rest == TS_DIM_BAD || quot == TS_DIM_BAD) return TS_DIM_BAD;
	ts_dim_range(t, rest, &lo, &hi);
	if (lo >= 0 && hi < k) return quot;
	if (g > 1) {
		Sum s = { .n = 0 };
		p = &t->polys.p[rest];
		for (uint32_t i = 0; i < p->n; i++) sum_add(&s, (Term){ floor_div(p->t[i].coef, g), p->t[i].nf, p->t[i].f });
		return ts_dim_add(t, quot, div_const(t, intern(t, &s), k / g));
	}
	p = &t->polys.p[rest];
	if (p->n == 1 && p->t[0].nf == 1 && p->t[0].coef == 1) {
		Atom in = t->atoms.p[p->t[0].f[0]];
		int64_t inner, both;
		if (in.kind == AT_DIV && ts_dim_is_const(t, in.b, &inner) && inner > 0 && !__builtin_mul_overflow(inner, k, &both))
			return ts_dim_add(t, quot, div_const(t, in.a, both));
	}
	return ts_dim_add(t, quot, atom(t, AT_DIV, rest, ts_dim_const(t, k), 1));
}

/* x / y for single terms, when it is exact. */
static bool divide_term(const Term *x, const Term *y, uint32_t *room, Term *out)
{
	uint32_t j = 0, n = 0;
	if (x->coef % y->coef) return false;
	for (uint32_t i = 0; i < x->nf; i++) {
		if (j < y->nf && x->f[i] == y->f[j]) j++;
		else room[n++] = x->f[i];
	}
	*out = (Term){ x->coef / y->coef, n, room };
	return j == y->nf;
}

TsDim ts_dim_floordiv(TsDims *t, TsDim a, TsDim b)
{
	int64_t k, lo, hi;
	if (a == TS_DIM_BAD || b == TS_DIM_BAD || b == 0) return TS_DIM_BAD;
	if (!a) return 0;
	if (ts_dim_is_const(t, b, &k)) return div_const(t, a, k);
	const Poly *q = &t->polys.p[b];
	ts_dim_range(t, b, &lo, &hi);
	if (q->n == 1 && lo >= 1) {
		Sum s = { .n = 0 }, left = { .n = 0 };
		const Poly *p = &t->polys.p[a];
		for (uint32_t i = 0; i < p->n; i++) {
			Term x;
			if (divide_term(&p->t[i], &q->t[0], TS_NEW_N(t->arena, uint32_t, p->t[i].nf), &x)) sum_add(&s, x);
			else sum_add(&left, p->t[i]);
		}
		TsDim whole = intern(t, &s), rest = intern(t, &left);
		if (rest == TS_DIM_BAD || whole == TS_DIM_BAD) return TS_DIM_BAD;
		if (!rest) return whole;
		return ts_dim_add(t, whole, atom(t, AT_DIV, rest, b, 1));
	}
	if (a == b && (lo >= 1 || hi <= -1)) return ts_dim_const(t, 1);
	return atom(t, AT_DIV, a, b, 1);
}

TsDim ts_dim_mod(TsDims *t, TsDim a, TsDim b) { return ts_dim_sub(t, a, ts_dim_mul(t, b, ts_dim_floordiv(t, a, b))); }
TsDim ts_dim_cdiv(TsDims *t, TsDim a, TsDim b) { return ts_dim_floordiv(t, ts_dim_add(t, a, ts_dim_sub(t, b, ts_dim_const(t, 1))), b); }

static TsDim extreme(TsDims *t, AtomKind kind, TsDim a, TsDim b)
{
	if (a == TS_DIM_BAD || b == TS_DIM_BAD) return TS_DIM_BAD;
	if (ts_dim_le(t, a, b) == TS_YES) return kind == AT_MIN ? a : b;
	if (ts_dim_le(t, b, a) == TS_YES) return kind == AT_MIN ? b : a;
	return a < b ? atom(t, kind, a, b, 1) : atom(t, kind, b, a, 1);
}

TsDim ts_dim_min(TsDims *t, TsDim a, TsDim b) { return extreme(t, AT_MIN, a, b); }
TsDim ts_dim_max(TsDims *t, TsDim a, TsDim b) { return extreme(t, AT_MAX, a, b); }

/* ---- looking in ---- */

uint32_t ts_dim_symbol_count(const TsDims *t) { return t->syms.n; }
const TsDimSym *ts_dim_symbol_info(const TsDims *t, uint32_t symbol) { return &t->syms.p[symbol]; }
void ts_dim_set_max(TsDims *t, uint32_t symbol, int64_t max) { t->syms.p[symbol].max = max; }

bool ts_dim_is_scaled_symbol(const TsDims *t, TsDim d, int64_t *c, uint32_t *symbol)
{
	if (d == TS_DIM_BAD) return false;
	const Poly *p = &t->polys.p[d];
	if (p->n != 1 || p->t[0].nf != 1 || t->atoms.p[p->t[0].f[0]].kind != AT_SYMBOL) return false;
	uint32_t s = t->atoms.p[p->t[0].f[0]].a;
	int64_t m = t->syms.p[s].multiple, k = p->t[0].coef;
	if (k < 1 || k % m) return false;
	*c = k / m;
	*symbol = s;
	return true;
}

TsDim ts_dim_subst(TsDims *t, TsDim d, const TsDim *with)
{
	if (d == TS_DIM_BAD) return d;
	TsDim sum = 0;
	for (uint32_t i = 0; i < t->polys.p[d].n; i++) {
		Term x = t->polys.p[d].t[i];
		TsDim prod = ts_dim_const(t, x.coef);
		for (uint32_t j = 0; j < x.nf; j++) {
			Atom a = t->atoms.p[x.f[j]];
			TsDim f;
			if (a.kind == AT_SYMBOL) {
				bool keep = with[a.a] == TS_DIM_BAD;
				f = keep ? atom(t, AT_SYMBOL, a.a, 0, 1) : ts_dim_floordiv(t, with[a.a], ts_dim_const(t, t->syms.p[a.a].multiple));
			} else {
				TsDim p = ts_dim_subst(t, a.a, with), q = ts_dim_subst(t, a.b, with);
				f = a.kind == AT_DIV ? ts_dim_floordiv(t, p, q) : extreme(t, a.kind, p, q);
			}
			prod = ts_dim_mul(t, prod, f);
		}
		sum = ts_dim_add(t, sum, prod);
	}
	return sum;
}

static bool eval_atom(const TsDims *t, uint32_t i, const int64_t *symbols, int64_t *out)
{
	const Atom *a = &t->atoms.p[i];
	int64_t x, y;
	if (a->kind == AT_SYMBOL) { *out = floor_div(symbols[a->a], t->syms.p[a->a].multiple); return true; }
	if (!ts_dim_eval(t, a->a, symbols, &x) || !ts_dim_eval(t, a->b, symbols, &y)) return false;
	if (a->kind == AT_MIN) *out = x < y ? x : y;
	else if (a->kind == AT_MAX) *out = x > y ? x : y;
	else if (!y || (x == INT64_MIN && y == -1)) return false;
	else *out = floor_div(x, y);
	return true;
}

bool ts_dim_eval(const TsDims *t, TsDim d, const int64_t *symbols, int64_t *out)
{
	int64_t sum = 0;
	if (d == TS_DIM_BAD) return false;
	for (uint32_t i = 0; i < t->polys.p[d].n; i++) {
		Term x = t->polys.p[d].t[i];
		int64_t v = x.coef, f;
		for (uint32_t j = 0; j < x.nf; j++)
			if (!eval_atom(t, x.f[j], symbols, &f) || __builtin_mul_overflow(v, f, &v)) return false;
		if (__builtin_add_overflow(sum, v, &sum)) return false;
	}
	*out = sum;
	return true;
}

/* ---- text ---- */

static void print_operand(const TsDims *t, TsDim d, TsBuf *to)
{
	const Poly *p = &t->polys.p[d];
	bool simple = !p->n || (p->n == 1 && (!p->t[0].nf || (p->t[0].nf == 1 && (p->t[0].coef == 1 || t->atoms.p[p->t[0].f[0]].kind == AT_SYMBOL))));
	if (p->n == 1 && p->t[0].coef < 0) simple = false;
	if (!simple) ts_buf_char(to, '(');
	ts_dim_print(t, d, to);
	if (!simple) ts_buf_char(to, ')');
}

static void print_atom(const TsDims *t, uint32_t i, int64_t over, TsBuf *to)
{
	const Atom *a = &t->atoms.p[i];
	if (a->kind == AT_SYMBOL) {
		ts_buf_str(to, t->syms.p[a->a].name);
		if (over > 1) ts_buf_fmt(to, "//%lld", (long long)over);
		return;
	}
	if (a->kind == AT_DIV) {
		print_operand(t, a->a, to);
		ts_buf_str(to, "//");
		print_operand(t, a->b, to);
		return;
	}
	ts_buf_str(to, a->kind == AT_MIN ? "min(" : "max(");
	ts_dim_print(t, a->a, to);
	ts_buf_str(to, ", ");
	ts_dim_print(t, a->b, to);
	ts_buf_char(to, ')');
}

/* A term's coefficient is spread over its symbols' multiples: m*S' is S, and c*S' with c below m is S//(m/c) or c*(S//m). */
static void print_term(const TsDims *t, const Term *x, int64_t coef, TsBuf *to)
{
	int64_t over[MAX_FACTORS];
	bool quotient = false;
	for (uint32_t j = 0; j < x->nf; j++) {
		const Atom *a = &t->atoms.p[x->f[j]];
		over[j] = a->kind == AT_SYMBOL ? t->syms.p[a->a].multiple : 1;
		int64_t g = ts_gcd(coef, over[j]);
		if (g == over[j] || x->nf == 1 || over[j] % coef == 0) { coef /= g; over[j] /= g; }
		quotient |= over[j] > 1 || a->kind == AT_DIV;
	}
	bool star = false;
	if (coef != 1 || !x->nf) { ts_buf_fmt(to, "%lld", (long long)coef); star = true; }
	for (uint32_t j = 0; j < x->nf; j++) {
		bool wrap = quotient && (star || x->nf > 1) && (over[j] > 1 || t->atoms.p[x->f[j]].kind == AT_DIV);
		if (star) ts_buf_char(to, '*');
		if (wrap) ts_buf_char(to, '(');
		print_atom(t, x->f[j], over[j], to);
		if (wrap) ts_buf_char(to, ')');
		star = true;
	}
}

void ts_dim_print(const TsDims *t, TsDim d, TsBuf *to)
{
	if (d == TS_DIM_BAD) { ts_buf_str(to, "?"); return; }
	const Poly *p = &t->polys.p[d];
	if (!p->n) ts_buf_char(to, '0');
	for (uint32_t i = 0; i < p->n; i++) {
		int64_t c = p->t[i].coef;
		bool minus = c < 0 && c != INT64_MIN;
		if (i) ts_buf_str(to, minus ? " - " : " + ");
		else if (minus) ts_buf_char(to, '-');
		print_term(t, &p->t[i], minus ? -c : c, to);
	}
}

/* ---- as an expression tree ---- */

static uint32_t visit_atom(const TsDims *t, uint32_t i, const TsDimVisitor *v)
{
	static const TsDimKind kind[] = { [AT_DIV] = TS_DX_FLOORDIV, [AT_MIN] = TS_DX_MIN, [AT_MAX] = TS_DX_MAX };
	const Atom *a = &t->atoms.p[i];
	if (a->kind == AT_SYMBOL) {
		uint32_t s = v->leaf(v->user, TS_DX_SYMBOL, a->a);
		int64_t m = t->syms.p[a->a].multiple;
		return m == 1 ? s : v->node(v->user, TS_DX_FLOORDIV, s, v->leaf(v->user, TS_DX_CONST, m));
	}
	uint32_t x = ts_dim_visit(t, a->a, v), y = ts_dim_visit(t, a->b, v);
	return v->node(v->user, kind[a->kind], x, y);
}

static uint32_t visit_term(const TsDims *t, const Term *x, const TsDimVisitor *v)
{
	uint32_t product = UINT32_MAX;
	int64_t coef = x->coef;
	for (uint32_t j = 0; j < x->nf; j++) {
		const Atom *a = &t->atoms.p[x->f[j]];
		int64_t m = a->kind == AT_SYMBOL ? t->syms.p[a->a].multiple : 1;
		uint32_t f;
		if (m > 1 && coef % m == 0) {
			f = v->leaf(v->user, TS_DX_SYMBOL, a->a);
			coef /= m;
		} else {
			f = visit_atom(t, x->f[j], v);
		}
		product = product == UINT32_MAX ? f : v->node(v->user, TS_DX_MUL, product, f);
	}
	if (product == UINT32_MAX) return v->leaf(v->user, TS_DX_CONST, coef);
	return coef == 1 ? product : v->node(v->user, TS_DX_MUL, v->leaf(v->user, TS_DX_CONST, coef), product);
}

uint32_t ts_dim_visit(const TsDims *t, TsDim d, const TsDimVisitor *v)
{
	if (d == TS_DIM_BAD) { /* of a value, or of what a schedule counts */
		if (!ts_error_count(t->cx)) ts_error(t->cx, (TsSpan){ 0 }, "E_SIZE", "a number of elements or bytes of this graph passes 2^63");
		return v->leaf(v->user, TS_DX_CONST, 0);
	}
	const Poly *p = &t->polys.p[d];
	if (!p->n) return v->leaf(v->user, TS_DX_CONST, 0);
	uint32_t sum = visit_term(t, &p->t[0], v);
	for (uint32_t i = 1; i < p->n; i++) sum = v->node(v->user, TS_DX_ADD, sum, visit_term(t, &p->t[i], v));
	return sum;
}
