/* Pointwise kernels and movement on GPUs: a CTA computes one tile of the result, of rows along the dim in which the result is contiguous (pieces of
 * them side by side). Long rows of any length: gpu_span.c. Operands that run along another dim are turned in shared memory. */
#include "middle/tiler/gpu.h"
#include <string.h>

enum { NARROW = 512, SHORT = 64, MIDDLE = 128, TURN = 64, TURN_WARPS = 8, SPAN_ELEMENTS = 8, IN_FLIGHT = 64 /* bytes that each thread loads */ };

typedef enum { FLAT, ROWS, TURNED, TURNED_ODD, SPAN } Shape;
typedef struct { Shape shape; bool wide, tail /* the last tile of all may end within an access */; TsDim guard; int extent[2]; /* of ROWS */ } Variant;
typedef struct {
	TsJob *j;
	uint32_t fast, other;       /* dims of the tile; other: niter when there is none */
	int warps, elements;        /* of a thread */
	TsWide wide, leaves, span;  /* leaves: without what the sizes must be */
	int most, span_tile;        /* elements of an access of 16 bytes */
	Variant v[6];
	int n;
} Pw;

/* The dim along which the result is contiguous, else some operand, else the last. */
static uint32_t fast_dim(TsJob *j)
{
	const TsRegion *r = &j->r;
	for (uint32_t i = r->niter; i-- > 0;)
		if (ts_is_one(j->t, r->nodes.p[j->leaf].coef[i])) return i;
	for (uint32_t i = r->niter; i-- > 0;)
		for (uint32_t n = 1; n < r->nodes.n; n++)
			if (r->nodes.p[n].kind == TS_R_LOAD && ts_is_one(j->t, r->nodes.p[n].coef[i])) return i;
	return r->niter - 1;
}

/* An operand that is read across: it runs along another dim than the result. */
static bool is_turned(Pw *w, uint32_t id, uint32_t *along)
{
	const TsRegion *r = &w->j->r;
	const TsRNode *n = &r->nodes.p[id];
	int64_t size;
	if (n->kind != TS_R_LOAD || id == w->j->leaf || !n->coef[w->fast] || ts_is_one(w->j->t, n->coef[w->fast])) return false;
	for (uint32_t i = 0; i < r->niter; i++)
		if (i != w->fast && ts_is_one(w->j->t, n->coef[i]) && !(ts_dim_is_const(w->j->t->d, r->size[i], &size) && size < 8)) { *along = i; return true; }
	return false;
}

static void add_variant(Pw *w, Shape shape, bool wide, TsDim guard)
{
	w->v[w->n++] = (Variant){ .shape = shape, .wide = wide, .guard = guard };
}

/* ---- text ---- */

/* Rows of tables wait for their numbers: those come first, then what else lies along the tile, so that it is under way meanwhile. */
static void load_early(TsKb *k, Pw *w, TsPlace *p, TsTileVal *memo)
{
	const TsRegion *r = &w->j->r;
	bool waits = false;
	for (uint32_t i = 1; i < r->nodes.n; i++) {
		if (r->nodes.p[i].kind != TS_R_GATHER) continue;
		waits = true;
		ts_kb_eval(k, r, r->nodes.p[i].arg[0], p, memo);
	}
	for (uint32_t i = 1; waits && i < r->nodes.n; i++)
		if (i != w->j->leaf && r->nodes.p[i].kind == TS_R_LOAD && ts_is_one(k->t, r->nodes.p[i].coef[w->fast])) ts_kb_eval(k, r, i, p, memo);
}

static void store_at(TsKb *k, Pw *w, TsPlace *p, TsTileVal *memo)
{
	load_early(k, w, p, memo);
	ts_kb_store(k, &w->j->r, w->j->leaf, ts_kb_eval(k, &w->j->r, w->j->value, p, memo), p);
}

/* The grid over all dims, those of the tile in steps of its extents; bases and valid counts of the place. */
static void open_grid(TsKb *k, const TsJob *j, TsPlace *p, TsDim *cells)
{
	TsTl *t = j->t;
	const TsRegion *r = &j->r;
	const char *name[TS_MAX_ITER];
	TsDim size[TS_MAX_ITER];
	uint32_t n = 0;
	TsBuf rest = { 0 };
	*cells = ts_dim_const(t->d, 1);
	for (uint32_t i = 0; i < r->niter; i++) {
		int v = p->vdim[0] == (int)i ? 0 : p->nv > 1 && p->vdim[1] == (int)i ? 1 : -1;
		p->base[i] = ts_kb_fmt(k, "i%u", i);
		*cells = ts_grid_cells(t, *cells, r->size[i], v < 0 ? 1 : p->len[v]);
		if (v < 0) {
			name[n] = p->base[i];
			size[n++] = r->size[i];
		} else {
			ts_buf_fmt(&rest, "%si%u in 0..%s step %d", rest.n ? ", " : "", i, ts_kb_dim(k, r->size[i]), p->len[v]);
		}
	}
	ts_kb_grid(k, n, name, size, rest.p, p->nv);
	ts_buf_free(&rest);
	for (int v = 0; v < p->nv; v++) {
		uint32_t i = (uint32_t)p->vdim[v];
		if (ts_whole(t, r->size[i], p->len[v])) continue;
		ts_kb_line(k, "e%u: idx = %s - i%u", i, ts_kb_dim(k, r->size[i]), i);
		p->valid[v] = ts_kb_fmt(k, "e%u", i);
	}
}

static void write_flat(TsKb *k, Pw *w, int vec, TsChoice *c)
{
	int64_t size;
	int most = w->warps * TS_LANES * w->elements, extent[1] = { most };
	if (ts_dim_is_const(w->j->t->d, w->j->r.size[w->fast], &size) && ts_pow2(size) < most) extent[0] = ts_pow2(size) < TS_LANES ? TS_LANES : ts_pow2(size);
	TsPlace p = { .nv = 1, .vdim = { (int)w->fast }, .len = { extent[0] } };
	TsGLayout l = ts_gl_tile(1, 0, extent, vec, w->warps, 0);
	ts_gl_place(k, &l, "V", &p);
	open_grid(k, w->j, &p, &c->cells);
	c->tile[0] = extent[0];
	store_at(k, w, &p, TS_NEW_N(k->t->a, TsTileVal, w->j->r.nodes.n));
}

/* The two dims in order, so that axis m of the tile is the earlier one. */
static int order(Pw *w, uint32_t other, TsPlace *p, int fast_len, int other_len)
{
	int f = w->fast > other;
	p->nv = 2;
	p->vdim[f] = (int)w->fast;
	p->vdim[1 - f] = (int)other;
	p->len[f] = fast_len;
	p->len[1 - f] = other_len;
	return f;
}

static void write_rows(TsKb *k, Pw *w, const Variant *v, int vec, TsChoice *c)
{
	TsPlace p = { 0 };
	int f = order(w, w->other, &p, v->extent[0], v->extent[1]);
	TsGLayout l = ts_gl_tile(2, f, p.len, vec, w->warps, v->extent[0] < NARROW ? 1 - f : f);
	ts_gl_place(k, &l, "X", &p);
	open_grid(k, w->j, &p, &c->cells);
	c->tile[0] = p.len[0];
	c->tile[1] = p.len[1];
	store_at(k, w, &p, TS_NEW_N(k->t->a, TsTileVal, w->j->r.nodes.n));
}

/* Elements between two rows in shared memory, so that few lanes meet in a bank on either way. */
static int apart(TsDtype e, int vec) { return ts_elem_bytes(e) != 2 ? 1 : vec > 1 ? 5 : 2; }

static bool is_one_of(const uint32_t *id, uint32_t n, uint32_t i)
{
	while (n-- > 0)
		if (id[n] == i) return true;
	return false;
}

static uint32_t find_turned(Pw *w, uint32_t id[TS_MOST_TURNED])
{
	uint32_t along = 0, n = 0;
	for (uint32_t i = 1; i < w->j->r.nodes.n && n < TS_MOST_TURNED; i++)
		if (is_turned(w, i, &along) && along == w->other) id[n++] = i;
	return n;
}

static void write_odd(TsKb *k, Pw *w, TsChoice *c)
{
	enum { BYTES = 8 };
	TsTurned all = { .fast = w->fast, .other = w->other, .vec = BYTES / ts_elem_bytes(w->j->r.nodes.p[w->j->leaf].elem) };
	all.n = find_turned(w, all.id);
	ts_turned_write(k, w->j, &all, open_grid, c);
}

/* Operands read across arrive along their own dim, go through shared memory as they are in memory,
 * and leave along the result's. */
static void write_turned(TsKb *k, Pw *w, int vec, TsChoice *c)
{
	const TsRegion *r = &w->j->r;
	TsPlace p = { 0 }, q;
	uint32_t id[TS_MOST_TURNED], n = find_turned(w, id);
	int f = order(w, w->other, &p, TURN, TURN);
	TsGLayout l = ts_gl_tile(2, f, p.len, vec, TURN_WARPS, 1 - f), lt = ts_gl_tile(2, 1 - f, p.len, vec, TURN_WARPS, f);
	k->warps = TURN_WARPS;
	ts_gl_place(k, &l, "X", &p);
	TsPlace turned = p;
	ts_gl_place(k, &lt, "T", &turned);
	for (uint32_t i = 0; i < n; i++) {
		TsDtype e = r->nodes.p[id[i]].elem;
		ts_kb_line(k, "smem s%u: %s[%d, %d]", i, ts_dtype_name(e == TS_COMPLEX64 ? TS_INT64 : e), TURN, TURN + apart(e, vec));
	}
	open_grid(k, w->j, &p, &c->cells);
	q = p;
	memcpy(q.lay, turned.lay, sizeof q.lay);
	TsTileVal *memo = TS_NEW_N(k->t->a, TsTileVal, r->nodes.n), first[TS_MOST_TURNED];
	for (uint32_t i = 0; i < n; i++) first[i] = ts_kb_load(k, r, id[i], &q);
	for (uint32_t i = 1; i < r->nodes.n; i++) /* all loads are under way before the threads meet */
		if (i != w->j->leaf && r->nodes.p[i].kind == TS_R_LOAD && !is_one_of(id, n, i) && ts_is_one(k->t, r->nodes.p[i].coef[w->fast])) ts_kb_eval(k, r, i, &p, memo);
	for (uint32_t i = 0; i < n; i++) ts_kb_line(k, "put(s%u[0:%d, 0:%d], %s)", i, TURN, TURN, first[i].name);
	ts_kb_line(k, "sync(\"cta\")");
	for (uint32_t i = 0; i < n; i++) {
		TsTileVal x = { ts_kb_tmp(k), 3, first[i].elem };
		ts_kb_line(k, "%s: %s = get(s%u[0:%d, 0:%d])", x.name, ts_kb_type(k, x.elem, 3, &p), i, TURN, TURN);
		memo[id[i]] = ts_reg_type(x.elem) == x.elem ? x : ts_kb_cast(k, x, ts_reg_type(x.elem), &p);
	}
	c->tile[0] = c->tile[1] = TURN;
	store_at(k, w, &p, memo);
}

/* Elements of less than a byte: neighbours share bytes, so one warp writes everything, each of its lanes the same. */
static void write_serial(TsKb *k, Pw *w, TsChoice *c)
{
	const TsRegion *r = &w->j->r;
	TsPlace p = { .nv = 1, .vdim = { (int)w->fast }, .len = { 64 } };
	TsGLayout l = { .rank = 1 };
	ts_gl_put(&l, 'l', TS_LANES, 0, -1);
	ts_gl_put(&l, 'r', 64, 1, 0);
	k->warps = 1;
	ts_gl_place(k, &l, "V", &p);
	ts_kb_line(k, "grid cell in 0..1");
	for (uint32_t i = 0; i < r->niter; i++) {
		p.base[i] = ts_kb_fmt(k, "i%u", i);
		ts_kb_open(k, "for i%u in 0..%s%s", i, ts_kb_dim(k, r->size[i]), i == w->fast ? " step 64" : "");
	}
	ts_kb_line(k, "left: idx = %s - i%u", ts_kb_dim(k, r->size[w->fast]), w->fast);
	p.valid[0] = "left";
	store_at(k, w, &p, TS_NEW_N(k->t->a, TsTileVal, r->nodes.n));
	for (uint32_t i = 0; i < r->niter; i++) ts_kb_close(k, "");
	c->cells = ts_dim_const(k->t->d, 1);
	c->tile[0] = 64;
}

static void write(void *user, TsKb *k, int i, TsChoice *c)
{
	Pw *w = user;
	const Variant *v = &w->v[i];
	int vec = v->tail ? w->leaves.vec : v->wide ? w->wide.vec : 1;
	k->warps = w->warps;
	if (v->wide) ts_kb_wide(k, &w->wide);
	if (v->tail) ts_kb_wide(k, &w->leaves);
	if (v->shape == SPAN) ts_kb_wide(k, &w->span);
	c->guard_lhs = v->guard;
	c->label = ts_intern(k->t->cx, v->wide ? "wide" : v->shape == ROWS ? "short rows" : v->shape == SPAN ? "long rows" : "any");
	if (ts_dtype_bits(w->j->r.nodes.p[w->j->leaf].elem) < 8) write_serial(k, w, c);
	else if (v->shape == FLAT) write_flat(k, w, vec, c);
	else if (v->shape == SPAN) ts_span_write(k, w->j, w->span.vec, w->span_tile, c);
	else if (v->shape == ROWS) write_rows(k, w, v, vec, c);
	else if (v->shape == TURNED_ODD) write_odd(k, w, c);
	else write_turned(k, w, vec, c);
}

/* ---- which variants ---- */

/* Long rows that wide accesses don't divide: 8 bytes at a time, as with wider ones what the lanes read beside each other lies in more of the cache's
 * lines; tiles so short that most lie within a row. */
static bool add_span(Pw *w) /* is it for all sizes that are left? */
{
	enum { BYTES = 8 };
	TsTl *t = w->j->t;
	if (!ts_span_fits(w->j, w->span_tile)) return false;
	w->span.vec = w->most * BYTES / 16;
	ts_span_wide(t, &w->span, w->j);
	if (w->span.vec <= 1) return false;
	add_variant(w, SPAN, false, ts_dim_add(t->d, ts_span_guard(w->j, w->span_tile), ts_wide_guard(t, &w->span)));
	return !w->v[w->n - 1].guard;
}

/* Rows side by side in a tile, or pieces of `most` elements and less of longer ones: of a known size as long as most elements of a tile exist. */
static void add_rows(Pw *w, bool wide, TsDim guard, int most)
{
	TsTl *t = w->j->t;
	int64_t size, others;
	int tile = w->warps * TS_LANES * w->elements, piece = most;
	if (ts_dim_is_const(t->d, w->j->r.size[w->fast], &size)) {
		if (size <= most) piece = ts_pow2(size);
		for (int half = piece / 2; size > most && half >= MIDDLE; half /= 2)
			if ((size + half - 1) / half * half < (size + piece - 1) / piece * piece) piece = half;
	}
	add_variant(w, ROWS, wide, guard);
	Variant *v = &w->v[w->n - 1];
	v->extent[0] = piece;
	v->extent[1] = tile / piece;
	if (ts_dim_is_const(t->d, w->j->r.size[w->other], &others) && ts_pow2(others) < v->extent[1]) v->extent[1] = ts_pow2(others);
}

/* Several rows a tile are for nothing where there are fewer of them: such long ones go as one dim. */
static TsDim has_rows(Pw *w)
{
	TsDims *d = w->j->t->d;
	int64_t others;
	if (ts_dim_is_const(d, w->j->r.size[w->other], &others)) return 0;
	return ts_dim_mul(d, ts_under(w->j->t, w->j->r.size[w->other], w->warps * TS_LANES * w->elements / NARROW), ts_over(w->j->t, w->j->r.size[w->fast], w->span_tile - 1));
}

static void choose(Pw *w)
{
	TsTl *t = w->j->t;
	const TsRegion *r = &w->j->r;
	uint32_t along;
	int64_t size;
	for (uint32_t i = 1; i < r->nodes.n; i++)
		if (is_turned(w, i, &along)) {
			w->other = along;
			ts_wide_region(t, &w->wide, r, along);
			TsDim guard = ts_wide_guard(t, &w->wide);
			if (w->wide.vec > 1) add_variant(w, TURNED, true, guard);
			if (w->wide.vec > 1 && !guard) return;
			TsDim large = ts_turned_guard(w->j, w->fast, along);
			bool odd = ts_turned_fits(w->j, w->fast, along);
			if (odd) add_variant(w, TURNED_ODD, false, large);
			if (!odd || large) add_variant(w, TURNED, false, 0);
			return;
		}
	w->other = w->fast ? w->fast - 1 : 1;
	bool is_const = ts_dim_is_const(t->d, r->size[w->fast], &size), wide;
	TsDim guard = ts_wide_guard(t, &w->wide);
	wide = w->wide.vec > 1;
	if (w->other >= r->niter) {
		if (wide) add_variant(w, FLAT, true, guard);
		if (wide && !guard) return;
		add_variant(w, FLAT, false, 0);
		if (!ts_wide_guard(t, &w->leaves)) w->v[w->n - 1].tail = w->leaves.vec > 1;
		return;
	}
	bool spans = ts_span_fits(w->j, w->span_tile) && (is_const || guard || !wide);
	for (int form = wide; form >= 0; form--) {
		static const int most[2][2] = { { SHORT, SHORT * 4 }, { MIDDLE, MIDDLE } };
		TsDim must = form ? guard : 0, over = ts_dim_const(t->d, 1);
		if (!form && spans && add_span(w)) return;
		for (int i = 0; i < 2 - form && !is_const && over; i++) {
			over = ts_over(t, r->size[w->fast], most[form][i]);
			if (over) add_rows(w, form, ts_dim_add(t->d, must, over), most[form][i]);
			else add_rows(w, form, must, most[form][i]);
		}
		if (form && spans && over) must = ts_dim_add(t->d, must, has_rows(w));
		if (over) add_rows(w, form, must, NARROW);
		if (!must) return;
	}
}

/* So many, or a half of them, and so on: those whose values the registers hold. What comes from many operands has some of them on their way while
 * others are added up, whatever their number; their addresses take registers as well. */
static int fitting(TsJob *j, uint32_t fast, int n)
{
	enum { REGISTERS = 192, ON_THEIR_WAY = 12, LEAST = 8 };
	TsNeeds needs = ts_region_needs(j->t, &j->r, j->value, fast, fast);
	if (needs.loads > ON_THEIR_WAY) needs.values -= needs.loads - ON_THEIR_WAY;
	int words = (ts_elem_bytes(ts_reg_type(j->r.nodes.p[j->value].elem)) + 3) / 4;
	return n <= LEAST ? n : ts_needs_part(&needs, n * words, LEAST * words, REGISTERS) / words;
}

/* Elements of each thread: more where few bytes are loaded for each, but for functions that take many registers. */
static int elements(TsJob *j, uint32_t fast)
{
	int n = j->t->gpu->entry[TS_GT_POINTWISE].elements, bytes = 0;
	for (uint32_t i = 1; i < j->r.nodes.n; i++)
		if (j->r.nodes.p[i].kind == TS_R_OP && (j->r.nodes.p[i].op == TS_OP_sin || j->r.nodes.p[i].op == TS_OP_cos)) return n;
	for (uint32_t i = 1; i < j->r.nodes.n; i++)
		if (i != j->leaf && (j->r.nodes.p[i].kind == TS_R_LOAD || j->r.nodes.p[i].kind == TS_R_GATHER) && ts_is_one(j->t, j->r.nodes.p[i].coef[fast])) bytes += ts_elem_bytes(j->r.nodes.p[i].elem);
	while (bytes && n * bytes < IN_FLIGHT && n < 32) n *= 2;
	return fitting(j, fast, n);
}

void ts_gpu_pointwise(TsJob *j)
{
	if (j->r.niter == 1 && !j->r.nodes.p[j->leaf].coef[0]) j->r.nodes.p[j->leaf].coef[0] = ts_dim_const(j->t->d, 1); /* one element is a tile too */
	ts_region_bits(j->t, &j->r, j->value, j->r.nodes.p[j->leaf].elem);
	Pw w = { .j = j, .fast = fast_dim(j), .warps = j->t->gpu->entry[TS_GT_POINTWISE].warps };
	w.elements = elements(j, w.fast);
	w.span_tile = w.warps * TS_LANES * (w.elements < SPAN_ELEMENTS ? w.elements : SPAN_ELEMENTS);
	w.wide.vec = w.leaves.vec = w.most = ts_wide_vec(j->t, &j->r, w.fast);
	ts_wide_region(j->t, &w.wide, &j->r, w.fast);
	ts_wide_leaves(j->t, &w.leaves, &j->r, w.fast);
	if (ts_dtype_bits(j->r.nodes.p[j->leaf].elem) < 8) add_variant(&w, FLAT, false, 0);
	else choose(&w);
	ts_gpu_emit(j, &(TsVariants){ .name = j->name, .write = write, .user = &w, .n = w.n });
}
