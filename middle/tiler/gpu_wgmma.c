/* Contractions of 16-bit types by wgmma: persistent CTAs, one warp that fills a ring by TMA, groups of four warps that multiply from it.
 * Results of two bytes leave by TMA, a quarter of the tile at a time, while the next tile is on its way. Operands lie in shared memory as
 * they do in memory; batches are axes of the tensor maps, so that nothing beyond a matrix is ever read. */
#include "middle/tiler/gpu_matmul.h"

enum { PART = 64, LEAST = 16 /* columns of the result at a time */, ROWS = 64 /* of a group */ };
static int registers_of(const TsMmVariant *v) { return v->wm > 2 ? 152 : 232; } /* of the groups that multiply */

/* As many as the epilogue has registers for beside the sums. */
static int columns_of(TsMm *mm, const TsMmVariant *v)
{
	TsJob *j = mm->j;
	TsNeeds n = ts_region_needs(j->t, &j->r, j->value, j->mm.im, j->mm.in);
	int part = v->bn < PART ? v->bn : PART;
	return v->split ? part : 2 * ts_needs_part(&n, part / 2, LEAST / 2, registers_of(v) - v->bn / 2); /* a group has half of a part's columns in each thread */
}

static int part_of(const TsMmVariant *v) { return v->part; }
static int parts_of(const TsMmVariant *v) { return v->bn / part_of(v); }
/* Buffers of results under way, in turn: as many parts ago their store was the last of the same buffer, in every tile. */
static int turns_of(const TsMmVariant *v) { return parts_of(v) % 2 == 0 ? 2 : parts_of(v) == 1 ? 1 : 3; }
static int buffers_of(const TsMmVariant *v) { return turns_of(v) > 2 ? 3 : 2; }

typedef struct { TsOperand o; bool by_x; const char *param, *at; int width; } Side;

bool ts_mm_has_maps(const TsMm *mm) { return ts_operand_is_map(mm->j->t, &mm->a) && ts_operand_is_map(mm->j->t, &mm->b); }

static Side side(TsMm *mm, TsKb *k, const TsMmVariant *v, bool b)
{
	Side s = { .o = v->packed ? mm->packed[b] : b ? mm->b : mm->a, .width = b ? v->bn : v->bm };
	s.by_x = ts_operand_fast(k->t, &s.o) == 1;
	int rows = s.by_x ? v->bk : s.width, cols = s.by_x ? s.width : v->bk;
	if (!s.by_x) {
		TsDim size = s.o.size[0], stride = s.o.stride[0];
		s.o.size[0] = s.o.size[1], s.o.size[1] = size;
		s.o.stride[0] = s.o.stride[1], s.o.stride[1] = stride;
	}
	s.param = ts_gpu_operand(k, &s.o, &s.at);
	if (v->fp8) ts_mm_fp8_shared(k, b ? "KB" : "KA", rows);
	else ts_gl_shared(k, b ? "KB" : "KA", "mn", cols < 64 ? cols : 64, rows, cols, 1);
	return s;
}

/* The result as an operand of [m, n], where TMA can write it. */
static bool result(TsMm *mm, TsKb *k, const TsMmVariant *v, TsOperand *o)
{
	TsJob *j = mm->j;
	const TsRNode *leaf = &j->r.nodes.p[j->leaf];
	*o = (TsOperand){ .real = { .buf = leaf->buf, .offset = leaf->offset }, .size = { j->mm.m, j->mm.n }, .stride = { leaf->coef[j->mm.im], leaf->coef[j->mm.in] } };
	for (uint32_t i = 0; i < j->mm.im; i++) o->at[o->n++] = (TsAxisAt){ ts_kb_fmt(k, "b%u", i), j->r.size[i], leaf->coef[i] };
	bool even = v->wide || (ts_whole(k->t, o->stride[0], 8) && ts_whole(k->t, o->real.offset, 8));
	for (uint32_t i = 0; i < o->n && !v->wide; i++) even = even && ts_whole(k->t, o->at[i].stride, 8);
	return even && ts_dtype_bits(leaf->elem) == 16 && ts_operand_is_map(k->t, o) && ts_operand_fast(k->t, o) == 1;
}

/* The point of the grid: batches, then tiles in bands. */
static void tile_of(TsMm *mm, TsKb *k, const TsMmVariant *v)
{
	const char *tile = "t";
	if (v->split) {
		ts_kb_line(k, "sp, tp = raster(t, %s, one, 1)", ts_kb_dim(k, mm->split.parts));
		ts_kb_line(k, "ka: idx = %s * sp", ts_kb_dim(k, mm->split.blocks));
		ts_kb_line(k, "kb: idx = max(min(ka + %s, nk), ka + 1)", ts_kb_dim(k, mm->split.blocks));
		tile = "tp";
	}
	if (mm->j->mm.im) {
		ts_kb_line(k, "bt, tt = raster(%s, %s, tiles, 1)", tile, ts_kb_dim(k, ts_gpu_batches(mm->j, mm->j->mm.im)));
		ts_gpu_batch(k, mm->j, mm->j->mm.im, "bt");
		tile = "tt";
	}
	ts_kb_line(k, "ti, tj = raster(%s, nm, nn, 16)", tile);
	if (v->pair) ts_kb_line(k, "mb: idx = %d * ti + %d * rk", 2 * v->bm, v->bm);
	else ts_kb_line(k, "mb: idx = %d * ti", v->bm);
	ts_kb_line(k, "nb: idx = %d * tj", v->bn);
}

static void copy_side(TsKb *k, const Side *s, const char *name, const char *base, int bk, bool pair)
{
	const char *x = ts_kb_fmt(k, "%s:%s + %d", base, base, s->width), *r = ts_kb_fmt(k, "%d*k:%d*k + %d", bk, bk, bk);
	ts_kb_line(k, "copy(R[q].%s, %s[%s%s, %s]%s)", name, s->param, s->at, s->by_x ? r : x, s->by_x ? x : r, pair ? ", shares = 2" : "");
}

/* Rows past the end of a tensor cost 2.3 ns each in every step, as TMA fills them with zeros. So where a tile may have such rows each group's come by
 * themselves, and those that would reach past the end begin so much earlier: the group has sums of rows that others have too, from the same k in the
 * same order, and neither reads nor writes anything else there (`from`; a TMA store begins behind them, and ends with the tensor). Whole tiles are
 * copied so too: two boxes take no longer than one, but a branch around them does. */
static void copy_groups(TsKb *k, const Side *s, const TsMmVariant *v)
{
	for (int i = 0; i < v->bm; i += ROWS)
		ts_kb_line(k, "copy(R[q].a%s, %s[%sm%d:m%d + %d, %d*k:%d*k + %d])", v->bm > ROWS ? ts_kb_fmt(k, "[%d:%d, 0:%d]", i, i + ROWS, v->bk) : "", s->param, s->at, i, i, ROWS, v->bk, v->bk, v->bk);
}

static bool begins_early(TsMm *mm, const TsMmVariant *v, const Side *a)
{
	return v->by_cost && !v->packed && !a->by_x && !ts_whole(mm->j->t, mm->j->mm.m, v->bm * (v->pair ? 2 : 1));
}

static void load_role(TsMm *mm, TsKb *k, const TsMmVariant *v, const Side s[2])
{
	ts_kb_open(k, "role load(warps = 4, regs = 40)");
	ts_kb_open(k, "one");
	ts_kb_line(k, "p0 = producer(R)");
	ts_kb_open(k, "_ = for t in cta..all step ctas with p = p0");
	tile_of(mm, k, v);
	for (int i = 0; v->early && i < v->bm; i += ROWS) ts_kb_line(k, "m%d: idx = min(mb + %d, mx)", i, i);
	ts_kb_open(k, "p1 = for k in %s with q = p", v->split ? "ka..kb" : "0..nk");
	ts_kb_line(k, "acquire(R[q])");
	ts_kb_line(k, "expect_bytes(R[q], %d)", (v->bm + v->bn) * v->bk * (v->fp8 ? 1 : 2));
	if (v->early) copy_groups(k, &s[0], v);
	else copy_side(k, &s[0], "a", "mb", v->bk, false);
	copy_side(k, &s[1], "b", "nb", v->bk, v->pair);
	ts_kb_line(k, "q1 = next(q)");
	ts_kb_line(k, "yield q1");
	ts_kb_close(k, "");
	ts_kb_line(k, "yield p1");
	ts_kb_close(k, "");
	ts_kb_close(k, "");
	if (v->pair) ts_kb_line(k, "sync(\"cluster\")"); /* who has ended can be written to no more */
	ts_kb_close(k, "");
}

/* One part of the accumulator through the region and out. out: the parameter of a TMA store, or NULL. */
static void write_part(TsMm *mm, TsKb *k, const TsMmVariant *v, TsPlace *p, TsMmColumns *c, const char *out, const char *at)
{
	TsJob *j = mm->j;
	TsDtype to = j->r.nodes.p[j->leaf].elem;
	int cols = part_of(v);
	const char *results, *with = ts_mm_columns_with(k, c, &results);
	ts_kb_open(k, "%sfor q in 0..%d%s", results, parts_of(v), with);
	if (out) {
		ts_kb_open(k, "one");
		ts_kb_line(k, "wait_store(%d, read = true)", turns_of(v) - 1);
		ts_kb_close(k, "");
		ts_kb_line(k, "sync(\"role\")");
	}
	ts_kb_line(k, "part: f32[%d, %d] @X = slice(acc, axis = 1, at = %d * q, len = %d)", v->bm, cols, cols, cols);
	ts_kb_line(k, "n0: idx = nb + %d * q", cols);
	ts_kb_line(k, "nl: idx = %s - n0", ts_kb_dim(k, j->mm.n));
	p->base[j->mm.in] = "n0";
	p->valid[1] = "nl";
	if (v->split) {
		const char *at, *sums;
		TsOperand o = ts_mm_partial(mm, k);
		sums = ts_gpu_operand(k, &o, &at);
		ts_kb_line(k, "store(%s[%s%s:%s + %d, n0:n0 + %d], part%s)", sums, at, p->base[j->mm.im], p->base[j->mm.im], v->bm, cols, ts_kb_valid(k, 3, p));
		ts_kb_close(k, ts_kb_fmt(k, " { unroll = %d }", parts_of(v)));
		return;
	}
	p->anchor = "part";
	p->anchor_mask = 3;
	p->anchor_elem = TS_F32;
	TsTileVal *memo = TS_NEW_N(k->t->a, TsTileVal, j->r.nodes.n);
	const char *yield = ts_mm_columns_next(mm, k, c, cols, p, memo);
	TsTileVal z = ts_kb_eval(k, &j->r, j->value, p, memo);
	if (!out) {
		ts_kb_store(k, &j->r, j->leaf, z, p);
		if (*yield) ts_kb_line(k, "%s", yield);
		ts_kb_close(k, ts_kb_fmt(k, " { unroll = %d }", parts_of(v)));
		return;
	}
	z = ts_kb_cast(k, ts_kb_spread(k, z, 3, p), to, p);
	ts_kb_line(k, "put(cb[q %% %d, 0:%d, 0:%d], %s)", turns_of(v), v->bm, cols, z.name);
	ts_kb_line(k, "fence_async()");
	ts_kb_line(k, "sync(\"role\")");
	ts_kb_open(k, "one");
	const char *from = v->early ? "own" : "64*g";
	ts_kb_line(k, "store_tma(%s[%smb + 64*g:mb + 64*g + 64, n0:n0 + %d], cb[q %% %d, %s:%s + 64, 0:%d])", out, at, cols, turns_of(v), from, from, cols);
	ts_kb_line(k, "commit_store()");
	ts_kb_close(k, "");
	if (*yield) ts_kb_line(k, "%s", yield);
	ts_kb_close(k, ts_kb_fmt(k, " { unroll = %d }", parts_of(v)));
}

/* acc: the sums of one tile; p1: the position behind them. */
static TsMmColumns sums(TsMm *mm, TsKb *k, const TsMmVariant *v, const Side s[2], const TsPlace *p, const char *D)
{
	const char *from = v->split ? "ka" : "0", *to = v->split ? "kb" : "nk";
	ts_kb_open(k, "c1, p1, last = for k in %s..%s with c = zero, q = p, prev = p", from, to);
	ts_kb_line(k, "wait(R[q])");
	ts_kb_line(k, "fence_mma()");
	ts_kb_line(k, "sum: %s! @D = mma(c, R[q].a%s, R[q].b%s, atom = \"wgmma\", zero_if = k == %s)", D, s[0].by_x ? ".T" : "", s[1].by_x ? "" : ".T", from);
	ts_kb_line(k, "commit_mma()");
	ts_kb_line(k, "wait_mma(1)");
	ts_kb_open(k, "if k > %s", from);
	ts_kb_line(k, "release(R[prev])");
	ts_kb_close(k, "");
	ts_kb_line(k, "q1 = next(q)");
	ts_kb_line(k, "yield sum, q1, q");
	ts_kb_close(k, "");
	TsMmColumns c = { 0 }; /* parts of k have no epilogue, three groups no registers left */
	if (!v->split && v->wm <= 2) c = ts_mm_columns(mm, k, p);
	ts_kb_line(k, "acc: %s @D = wait_mma(0, c1)", D);
	if (v->wm > 2) ts_kb_open(k, "if nk > 0");
	ts_kb_line(k, "release(R[last])");
	if (v->wm > 2) ts_kb_close(k, "");
	return c;
}

static void math_role(TsMm *mm, TsKb *k, const TsMmVariant *v, const Side s[2], TsPlace *p, const char *out, const char *at)
{
	const char *D = ts_kb_fmt(k, "f32[%d, %d]", v->bm, v->bn);
	ts_kb_open(k, "role math(warps = 4, times = %d, regs = %d)", v->wm, registers_of(v));
	ts_kb_line(k, "g = instance()");
	if (!v->fp8) ts_kb_line(k, "zero: %s! @D = fill(0.0)", D);
	ts_kb_line(k, "p0 = consumer(R)");
	ts_kb_open(k, "_ = for t in cta..all step ctas with p = p0");
	tile_of(mm, k, v);
	if (v->fp8) ts_mm_fp8_sums(k, v);
	TsMmColumns c = v->fp8 ? ts_mm_columns(mm, k, p) : sums(mm, k, v, s, p, D);
	if (v->early) {
		ts_kb_line(k, "me: idx = max(mb + %d*g - mx, 0)", ROWS);
		ts_kb_line(k, "ms: idx = mb - me");
		ts_kb_line(k, "mf: idx = %d*g + me", ROWS);
		if (out) ts_kb_line(k, "own: idx = %d*g + me %% %d", ROWS, ROWS);
	} else ts_kb_line(k, "ml: idx = %s%s - mb%s", v->pair ? "max(" : "", ts_kb_dim(k, mm->j->mm.m), v->pair ? ", 0)" : ""); /* the second of a pair may have none */
	write_part(mm, k, v, p, &c, out, at);
	ts_kb_line(k, "yield p1");
	ts_kb_close(k, "");
	if (out) {
		ts_kb_open(k, "one");
		ts_kb_line(k, "wait_store(0)");
		ts_kb_close(k, "");
	}
	if (v->pair) ts_kb_line(k, "sync(\"cluster\")");
	ts_kb_close(k, "");
}

static void layout(TsKb *k, int groups, int cols, const char *name, TsPlace *p)
{
	TsGLayout d = { .rank = 2 };
	ts_gl_put(&d, 'l', 4, 2, 1), ts_gl_put(&d, 'l', 8, 1, 0), ts_gl_put(&d, 'w', 4, 16, 0), ts_gl_put(&d, 'g', groups, 64, 0);
	ts_gl_put(&d, 'r', 2, 1, 1), ts_gl_put(&d, 'r', 2, 8, 0), ts_gl_put(&d, 'r', cols / 8, 8, 1);
	if (p) ts_gl_place(k, &d, name, p);
	else ts_gl_print(k, &d, name, 3);
}

void ts_mm_wgmma(TsMm *mm, TsKb *k, const TsMmVariant *of, TsChoice *c)
{
	TsJob *j = mm->j;
	TsMmVariant now = *of, *v = &now;
	now.part = columns_of(mm, of);
	TsTl *t = k->t;
	TsPlace p = { .nv = 2, .vdim = { (int)j->mm.im, (int)j->mm.in }, .len = { v->bm, part_of(v) }, .valid = { "ml", "nl" } };
	TsOperand o;
	const char *out = NULL, *at = "", *ea = ts_dtype_name(v->fp8 ? j->mm.ae : mm->mma), *eb = ts_dtype_name(v->fp8 ? j->mm.be : mm->mma);
	k->warps = 0;
	k->persistent = true;
	k->cluster = v->pair ? 2 : 0;
	c->per_sm = 1;
	layout(k, v->wm, v->bn, "D", NULL);
	layout(k, v->wm, part_of(v), "X", &p);
	Side s[2] = { side(mm, k, v, false), side(mm, k, v, true) };
	if (!v->split && result(mm, k, v, &o)) out = ts_gpu_operand(k, &o, &at);
	v->early = begins_early(mm, v, &s[0]) && (!out || part_of(v) == PART); /* a TMA store begins at multiples of 128 bytes */
	if (v->early) p.valid[0] = NULL, p.from[0] = "mf";
	if (out) {
		ts_gl_shared(k, "CB", "mn", part_of(v), v->bm, part_of(v), buffers_of(v));
		ts_kb_line(k, "smem cb: %s[%d, %d, %d] @CB", ts_dtype_name(j->r.nodes.p[j->leaf].elem), buffers_of(v), v->bm, part_of(v));
	}
	ts_kb_line(k, "ring R[%d] { a: %s[%d, %d] @KA, b: %s[%d, %d] @KB } { full = 1, empty = %d%s }", v->stages, ea, s[0].by_x ? v->bk : v->bm, s[0].by_x ? v->bm : v->bk, eb,
		s[1].by_x ? v->bk : v->bn, s[1].by_x ? v->bn : v->bk, 4 * v->wm * (v->pair ? 2 : 1), v->pair ? ", cluster = 2" : "");
	ts_kb_line(k, "grid cta in 0..ctas");
	int rows = v->pair ? 2 * v->bm : v->bm;
	if (v->pair) ts_kb_line(k, "rk = rank()");
	ts_kb_line(k, "nm = cdiv(%s, %d)", ts_kb_dim(k, j->mm.m), rows);
	ts_kb_line(k, "nn = cdiv(%s, %d)", ts_kb_dim(k, j->mm.n), v->bn);
	ts_kb_line(k, v->wm > 2 ? "nk = cdiv(%s, %d)" : "nk = max(cdiv(%s, %d), 1)", ts_kb_dim(k, j->mm.k), v->bk); /* no form of maps is taken without k; three groups spill when told */
	ts_kb_line(k, "tiles = nm * nn");
	c->cells = ts_grid_cells(t, ts_grid_cells(t, ts_dim_const(t->d, 1), j->mm.m, rows), j->mm.n, v->bn);
	const char *all = "tiles";
	for (uint32_t i = 0; i < j->mm.im; i++) {
		p.base[i] = ts_kb_fmt(k, "b%u", i);
		c->cells = ts_dim_mul(t->d, c->cells, j->r.size[i]);
		all = ts_kb_fmt(k, "%s * %s", all, ts_kb_dim(k, j->r.size[i]));
	}
	if (v->split) {
		c->cells = ts_dim_mul(t->d, c->cells, mm->split.parts);
		ts_kb_line(k, "one = %s", all);
		all = ts_kb_fmt(k, "one * %s", ts_kb_dim(k, mm->split.parts));
	}
	ts_kb_line(k, "all = %s", all);
	if (v->early) ts_kb_line(k, "mx: idx = %s - %d", ts_kb_dim(k, j->mm.m), ROWS); /* up to 64 rows are another variant's */
	p.base[j->mm.im] = v->early ? "ms" : "mb";
	load_role(mm, k, v, s);
	math_role(mm, k, v, s, &p, out, at);
}
