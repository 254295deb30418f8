/* Pointwise chains of long rows that 16-byte accesses do not divide: the result is walked as if it had one dim, so that every tile but the last
 * is whole and aligned whatever the rows' length. A tile is no longer than a row, so it meets two rows at most: what is the same along a row
 * is two scalars, between which each element chooses; what is the same in every row is read element by element at the place in the row. */
#include "middle/tiler/gpu.h"
#include <string.h>

typedef enum { FLAT, COLUMN /* one element a row */, AGAIN /* the last dims of the result, for each of the others again */ } Kind;

/* From which dim on the leaf lies as the result does: coef[i] = coef[i + 1] * size[i + 1]. */
static uint32_t flat_from(TsTl *t, const TsRegion *r, const TsRNode *n)
{
	uint32_t i = r->niter - 1;
	while (i > 0 && n->coef[i - 1] == ts_dim_mul(t->d, n->coef[i], r->size[i])) i--;
	return i;
}

static Kind kind_of(TsTl *t, const TsRegion *r, const TsRNode *n)
{
	if (!n->coef[r->niter - 1]) return COLUMN;
	return flat_from(t, r, n) ? AGAIN : FLAT;
}

static bool is_leaf(const TsRNode *n) { return n->kind == TS_R_LOAD || n->kind == TS_R_AFFINE; }

/* Does nothing depend on the iteration? Then it is a scalar wherever it stands. */
static bool is_same(const TsRegion *r, const TsRNode *n)
{
	for (uint32_t i = 0; i < r->niter; i++)
		if (n->coef[i]) return false;
	return true;
}

bool ts_span_fits(const TsJob *j, int tile)
{
	TsTl *t = j->t;
	const TsRegion *r = &j->r;
	uint32_t fast = r->niter - 1;
	int64_t least, longest;
	ts_dim_range(t->d, r->size[fast], &least, &longest);
	if (longest < tile || r->niter < 2 || kind_of(t, r, &r->nodes.p[j->leaf]) != FLAT) return false;
	for (uint32_t i = 1; i < r->nodes.n; i++) {
		const TsRNode *n = &r->nodes.p[i];
		if (n->kind == TS_R_GATHER) return false;
		if (!is_leaf(n) || is_same(r, n)) continue;
		Kind kind = kind_of(t, r, n);
		if (kind != FLAT && !ts_dtype_is_compute(ts_reg_type(n->elem))) return false; /* there is no choice between such values */
		if (n->kind != TS_R_LOAD || kind == COLUMN) continue;
		if (ts_dtype_bits(n->elem) < 8 || !ts_is_one(t, n->coef[fast])) return false;
		for (uint32_t k = 0, from = flat_from(t, r, n); k < from; k++)
			if (n->coef[k]) return false;
	}
	return true;
}

void ts_span_wide(TsTl *t, TsWide *w, const TsJob *j)
{
	for (uint32_t i = 1; i < j->r.nodes.n; i++) {
		const TsRNode *n = &j->r.nodes.p[i];
		if (n->kind == TS_R_LOAD && !is_same(&j->r, n) && kind_of(t, &j->r, n) == FLAT) ts_wide_need(t, w, n->offset);
	}
}

static TsDim product(TsTl *t, const TsRegion *r, uint32_t from, uint32_t to)
{
	TsDim all = ts_dim_const(t->d, 1);
	for (uint32_t i = from; i < to; i++) all = ts_dim_mul(t->d, all, r->size[i]);
	return all;
}

TsDim ts_span_guard(const TsJob *j, int tile)
{
	TsTl *t = j->t;
	return ts_dim_add(t->d, ts_under(t, j->r.size[j->r.niter - 1], tile), ts_over(t, product(t, &j->r, 0, j->r.niter), INT32_MAX));
}

/* ---- text ---- */

typedef struct {
	TsKb *k;
	const TsRegion *r;
	TsPlace flat, row[2];       /* the tile; the rows in which it begins and ends */
	const char *at, *over;      /* by element: its place in its row; does it lie in the second one? */
} Span;

static const char *line(TsKb *k, const char *type, const char *text)
{
	const char *t = ts_kb_tmp(k);
	ts_kb_line(k, "%s: %s = %s", t, type, text);
	return t;
}

/* The outer dims of a row by its number. */
static void place_row(Span *s, TsPlace *p, const char *at)
{
	for (uint32_t i = s->r->niter - 1; i-- > 1;) {
		const char *before = ts_kb_tmp(s->k);
		p->base[i] = ts_kb_tmp(s->k);
		ts_kb_line(s->k, "%s, %s = raster(%s, %s, %s, 1)", before, p->base[i], at, ts_kb_dim(s->k, product(s->k->t, s->r, 0, i)), ts_kb_dim(s->k, s->r->size[i]));
		at = before;
	}
	p->base[0] = at;
}

static void place_elements(Span *s, const char *column)
{
	TsKb *k = s->k;
	const char *n = ts_kb_dim(k, s->r->size[s->r->niter - 1]), *type = ts_kb_type(k, TS_INT32, 1, &s->flat);
	const char *first = line(k, "int32[]", ts_kb_fmt(k, "cast(%s, int32)", column)), *size = line(k, "int32[]", ts_kb_fmt(k, "cast(%s, int32)", n));
	const char *far = line(k, type, ts_kb_fmt(k, "add(%s, %s)", line(k, type, "iota(0)"), first));
	s->over = line(k, ts_kb_type(k, TS_BOOL, 1, &s->flat), ts_kb_fmt(k, "ge(%s, %s)", far, size));
	s->at = line(k, type, ts_kb_fmt(k, "where(%s, %s, %s)", s->over, line(k, type, ts_kb_fmt(k, "sub(%s, %s)", far, size)), far));
}

/* first, or second where the element lies in the second row. */
static TsTileVal choose(Span *s, const TsTileVal v[2])
{
	TsKb *k = s->k;
	const char *type = ts_kb_type(k, v->elem, 1, &s->flat);
	const char *a = line(k, type, ts_kb_fmt(k, "fill(%s)", v[0].name)), *b = line(k, type, ts_kb_fmt(k, "fill(%s)", v[1].name));
	return (TsTileVal){ line(k, type, ts_kb_fmt(k, "where(%s, %s, %s)", s->over, b, a)), 1, v->elem };
}

/* offset + sum of coef * index over the outer dims, in each of the two rows. */
static void at_rows(Span *s, const TsRNode *n, TsDim offset, TsDtype elem, TsTileVal out[2])
{
	TsKb *k = s->k;
	for (int i = 0; i < 2; i++) {
		const char *sum = ts_kb_dim(k, offset);
		for (uint32_t d = 0; d + 1 < s->r->niter; d++)
			if (n->coef[d]) sum = ts_kb_fmt(k, "%s + %s*%s", sum, ts_kb_dim(k, n->coef[d]), s->row[i].base[d]);
		out[i] = (TsTileVal){ line(k, ts_kb_type(k, elem, 0, &s->flat), ts_kb_fmt(k, "cast(%s, %s)", line(k, "idx", sum), ts_dtype_name(elem))), 0, elem };
	}
}

static TsTileVal column(Span *s, uint32_t id)
{
	TsTileVal v[2];
	for (int i = 0; i < 2; i++) {
		TsTileVal *memo = TS_NEW_N(s->k->t->a, TsTileVal, s->r->nodes.n);
		v[i] = ts_kb_eval(s->k, s->r, id, &s->row[i], memo);
	}
	return choose(s, v);
}

static TsTileVal again(Span *s, const TsRNode *n)
{
	TsKb *k = s->k;
	TsTileVal base[2];
	uint32_t from = flat_from(k->t, s->r, n);
	const char *index = s->at, *type = ts_kb_type(k, TS_INT32, 1, &s->flat);
	if (from + 1 < s->r->niter) {
		at_rows(s, n, 0, TS_INT32, base);
		index = line(k, type, ts_kb_fmt(k, "add(%s, %s)", index, choose(s, base).name));
	}
	TsRNode at = *n;
	TsPlace whole = s->flat;
	memset(at.coef, 0, sizeof at.coef);
	memset(whole.valid, 0, sizeof whole.valid); /* what lies beyond the last row has places in it too */
	at.index_stride = ts_dim_const(k->t->d, 1);
	at.index_size = product(k->t, s->r, from, s->r->niter);
	TsTileVal v = ts_kb_load_at(k, s->r, &at, &whole, index, 1);
	return ts_kb_cast(k, v, ts_reg_type(v.elem), &s->flat);
}

static TsTileVal numbers(Span *s, const TsRNode *n)
{
	TsKb *k = s->k;
	TsTileVal base[2];
	const char *type = ts_kb_type(k, TS_INT64, 1, &s->flat);
	at_rows(s, n, n->offset, TS_INT64, base);
	const char *at = line(k, type, ts_kb_fmt(k, "cast(%s, int64)", s->at)), *by = line(k, "int64[]", ts_kb_fmt(k, "cast(%s, int64)", ts_kb_dim(k, n->coef[s->r->niter - 1])));
	TsTileVal v = { line(k, type, ts_kb_fmt(k, "add(%s, %s)", line(k, type, ts_kb_fmt(k, "mul(%s, %s)", at, by)), choose(s, base).name)), 1, TS_INT64 };
	return ts_kb_cast(k, ts_kb_cast(k, v, n->elem, &s->flat), ts_reg_type(n->elem), &s->flat);
}

/* The region over one dim: leaves that lie as the result does go along it, the others are values already. */
static TsRegion flatten(TsTl *t, const TsRegion *r)
{
	TsRegion f = { .niter = 1, .size = { product(t, r, 0, r->niter) } };
	for (uint32_t i = 0; i < r->nodes.n; i++) {
		TsRNode n = r->nodes.p[i];
		TsDim step = n.coef[r->niter - 1];
		memset(n.coef, 0, sizeof n.coef);
		if (i && is_leaf(&n)) n.coef[0] = step;
		ts_push(t->a, &f.nodes, n);
	}
	return f;
}

/* What lies as the result does is asked for first. */
static TsTileVal *load_flat(Span *s, const TsRegion *f, uint32_t leaf, const TsPlace *p)
{
	TsKb *k = s->k;
	TsTileVal *memo = TS_NEW_N(k->t->a, TsTileVal, f->nodes.n);
	for (uint32_t i = 1; i < f->nodes.n; i++)
		if (i != leaf && f->nodes.p[i].kind == TS_R_LOAD && kind_of(k->t, s->r, &s->r->nodes.p[i]) == FLAT) ts_kb_eval(k, f, i, p, memo);
	return memo;
}

/* A tile within one row. */
static void write_one_row(Span *s, const TsRegion *f, const TsJob *j)
{
	TsPlace p = s->flat, q;
	p.valid[0] = NULL;
	TsTileVal *memo = load_flat(s, f, j->leaf, &p);
	q = s->row[0];
	q.nv = 1;
	q.vdim[0] = (int)s->r->niter - 1;
	q.len[0] = p.len[0];
	q.base[q.vdim[0]] = "column";
	memcpy(q.lay, p.lay, sizeof q.lay);
	TsTileVal v = ts_kb_eval(s->k, s->r, j->value, &q, memo);
	ts_kb_store(s->k, f, j->leaf, v, &p);
}

static void write_two_rows(Span *s, const TsRegion *f, const TsJob *j)
{
	TsKb *k = s->k;
	const TsRegion *r = s->r;
	TsTileVal *memo = load_flat(s, f, j->leaf, &s->flat);
	const char *rows = ts_kb_dim(k, product(k->t, r, 0, r->niter - 1));
	ts_kb_line(k, "next: idx = min(row + 1, %s - 1)", rows);
	place_row(s, &s->row[1], "next");
	place_elements(s, "column");
	for (uint32_t i = 1; i < r->nodes.n; i++) {
		const TsRNode *n = &r->nodes.p[i];
		if (!is_leaf(n) || is_same(r, n)) continue;
		Kind kind = kind_of(k->t, r, n);
		if (kind == COLUMN) memo[i] = column(s, i);
		else if (kind == AGAIN) memo[i] = n->kind == TS_R_LOAD ? again(s, n) : numbers(s, n);
	}
	ts_kb_store(k, f, j->leaf, ts_kb_eval(k, f, j->value, &s->flat, memo), &s->flat);
}

void ts_span_write(TsKb *k, const TsJob *j, int vec, int tile, TsChoice *c)
{
	TsTl *t = k->t;
	const TsRegion *r = &j->r;
	TsRegion f = flatten(t, r);
	Span s = { .k = k, .r = r, .flat = { .nv = 1, .len = { tile }, .base = { "f0" } } };
	TsGLayout l = ts_gl_tile(1, 0, &tile, vec, k->warps, 0);
	const char *length = ts_kb_dim(k, r->size[r->niter - 1]);
	ts_gl_place(k, &l, "V", &s.flat);
	ts_kb_line(k, "grid f0 in 0..%s step %d", ts_kb_dim(k, f.size[0]), tile);
	ts_kb_line(k, "row, column = raster(f0, %s, %s, 1)", ts_kb_dim(k, product(t, r, 0, r->niter - 1)), length);
	place_row(&s, &s.row[0], "row");
	ts_kb_open(k, "if column + %d <= %s", tile, length);
	write_one_row(&s, &f, j);
	ts_kb_close(k, " else {");
	k->depth++;
	if (!ts_whole(t, f.size[0], tile)) {
		ts_kb_line(k, "left: idx = %s - f0", ts_kb_dim(k, f.size[0]));
		s.flat.valid[0] = "left";
	}
	write_two_rows(&s, &f, j);
	ts_kb_close(k, "");
	c->cells = ts_dim_cdiv(t->d, f.size[0], ts_dim_const(t->d, tile));
	c->tile[0] = tile;
}
