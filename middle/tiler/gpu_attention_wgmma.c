/* Attention by wgmma: CTAs stay and walk the tiles of queries. One warp fills rings of queries, keys and values by TMA, ahead of the groups of
 * four warps that have 64 query rows each. The scores of the next block are made while the weights of this one meet its values; blocks
 * are walked from the last key down. At least one block is walked: where no key is seen all is hidden. Results leave by TMA while the next
 * tile is on its way. No bit depends on the number of CTAs. */
#include "middle/tiler/gpu_attention.h"
#include "middle/tiler/gpu_matmul.h"

enum { GROUPS = 2, AHEAD = 2, PART = 128 /* columns of the result at a time, at most */, TOGETHER = 4 /* tiles of a head */ };

bool ts_at_has_maps(TsAt *w)
{
	TsTl *t = w->j->t;
	const TsReal *r[3] = { &w->j->at.q, &w->j->at.key, &w->j->at.v };
	const TsType *ty[3] = { w->j->at.qt, w->j->at.kt, w->j->at.vt };
	for (int i = 0; i < 3; i++) {
		TsOperand o = ts_at_operand(w, r[i], ty[i], i > 0, false);
		if (!ts_operand_is_map(t, &o) || ts_operand_fast(t, &o) != 1) return false;
	}
	return true;
}

typedef struct { const char *param, *at, *ring; int rows; } Ring;

static Ring ring(TsAt *w, const char *name, const TsReal *r, const TsType *ty, bool kv, int rows, int slots, int empty)
{
	TsKb *k = w->k;
	TsOperand o = ts_at_operand(w, r, ty, kv, false);
	Ring x = { .ring = name, .rows = rows };
	x.param = ts_gpu_operand(k, &o, &x.at);
	ts_gl_shared(k, ts_kb_fmt(k, "T%s", name), "md", 64, rows, w->now->cap, 1);
	ts_kb_line(k, "ring %s[%d] { x: %s[%d, %d] @T%s } { full = 1, empty = %d }", name, slots, ts_dtype_name(ty->elem), rows, w->now->cap, name, empty);
	return x;
}

/* The rows at `r` into the slot at position p. */
static void bring(TsAt *w, const Ring *x, const char *p, const char *r)
{
	TsKb *k = w->k;
	ts_kb_line(k, "acquire(%s[%s])", x->ring, p);
	ts_kb_line(k, "expect_bytes(%s[%s], %d)", x->ring, p, x->rows * w->now->cap * 2);
	ts_kb_line(k, "copy(%s[%s].x, %s[%s%s:%s + %d, 0:%d])", x->ring, p, x->param, x->at, r, r, x->rows, w->now->cap);
}

static bool is_causal(const TsAt *w) { return ts_attr(w->k->t->m, w->j->n, "causal")->i; }

/* Causal tiles of 128 columns count in 64 bits: measured, ptxas orders their loop over keys so that it is 10 % faster (0.95 to 1.05 of what it was
 * before there was a choice; 64 columns: 1.10 and 0.98, without causal: 1.02 to 1.05 and 0.93 to 1.05). */
static bool counts_far(const TsAt *w) { return is_causal(w) && w->now->cap == 128; }

/* Point `x` of columns: its row and column. */
static void divide(TsAt *w, const char *row, const char *column, const char *x, const char *rows, const char *columns)
{
	if (!counts_far(w)) {
		ts_kb_line(w->k, "%s, %s = raster(%s, %s, %s, 1)", row, column, x, rows, columns);
		return;
	}
	ts_kb_line(w->k, "%s: idx = %s // %s", row, x, columns);
	ts_kb_line(w->k, "%s: idx = %s - %s * %s", column, x, row, columns);
}

/* The loop over this CTA's tiles, which carries the positions pq, pk, pv. Causal tiles differ in length: the longest come first, TOGETHER of a
 * head side by side, so that they share what they read, and the order goes forth and back over the CTAs, which so get equal shares. */
static void open_tiles(TsAt *w)
{
	TsKb *k = w->k;
	if (!is_causal(w)) {
		ts_kb_open(k, "_, _, _ = for ti in cta..all step ctas with pq = pq0, pk = pk0, pv = pv0");
		ts_kb_line(k, "h, u = raster(ti, heads, nq, 1)");
		ts_kb_line(k, "qb: idx = %d * u", w->now->bm);
		return;
	}
	ts_kb_open(k, "_, _, _ = for r in 0..mine with pq = pq0, pk = pk0, pv = pv0");
	ts_kb_line(k, "ti: idx = r * ctas + select(r %% 2 == 0, cta, ctas - 1 - cta)");
	if (!counts_far(w)) {
		ts_kb_line(k, "u, h = raster(ti, nq, heads, %d)", TOGETHER);
		ts_kb_line(k, "qb: idx = %d * (nq - 1 - u)", w->now->bm);
		return;
	}
	ts_kb_line(k, "ug: idx = ti // (%d * heads)", TOGETHER); /* the same order */
	ts_kb_line(k, "un: idx = min(nq - %d * ug, %d)", TOGETHER, TOGETHER);
	ts_kb_line(k, "ur: idx = ti - %d * heads * ug", TOGETHER);
	ts_kb_line(k, "h: idx = ur // un");
	ts_kb_line(k, "qb: idx = %d * (nq - 1 - %d * ug - ur + h * un)", w->now->bm, TOGETHER);
}

static void close_tiles(TsAt *w)
{
	ts_kb_line(w->k, "yield pq1, pk2, pv2");
	ts_kb_close(w->k, "");
}

/* Batch and head of h, blocks of keys of its rows at qb. */
static void tile_at(TsAt *w)
{
	TsKb *k = w->k;
	TsJob *j = w->j;
	const char *h = "h";
	for (uint32_t i = j->at.nb; i-- > 1;) {
		const char *next = ts_kb_tmp(k);
		divide(w, next, ts_kb_fmt(k, "b%u", i), h, ts_kb_dim(k, ts_gpu_batches(j, i)), ts_kb_dim(k, j->r.size[i]));
		h = next;
	}
	if (j->at.nb) ts_kb_line(k, "b0: idx = %s", h);
	ts_kb_line(k, "il: idx = %s - qb", ts_kb_dim(k, j->at.S));
	ts_at_key_range(w);
	ts_kb_line(k, "blocks: idx = max(cdiv(jhi - jlo, %d), 1)", w->now->bn);
	ts_kb_line(k, "jt: idx = jlo + %d * (blocks - 1)", w->now->bn);
}

static void load_role(TsAt *w, const Ring *q, const Ring *key, const Ring *v)
{
	TsKb *k = w->k;
	int bn = w->now->bn;
	ts_kb_open(k, "role load(warps = 4, regs = 24)");
	ts_kb_open(k, "one");
	ts_kb_line(k, "pq0 = producer(RQ)");
	ts_kb_line(k, "pk0 = producer(RK)");
	ts_kb_line(k, "pv0 = producer(RV)");
	open_tiles(w);
	tile_at(w);
	bring(w, q, "pq", "qb");
	ts_kb_line(k, "pq1 = next(pq)");
	bring(w, key, "pk", "jt");
	ts_kb_line(k, "pk1 = next(pk)");
	ts_kb_open(k, "pk2, pv1 = for b in 1..blocks with qk = pk1, qv = pv");
	ts_kb_line(k, "j: idx = jt - %d * b", bn);
	ts_kb_line(k, "jv: idx = j + %d", bn);
	bring(w, key, "qk", "j");
	bring(w, v, "qv", "jv");
	ts_kb_line(k, "qk1 = next(qk)");
	ts_kb_line(k, "qv1 = next(qv)");
	ts_kb_line(k, "yield qk1, qv1");
	ts_kb_close(k, "");
	bring(w, v, "pv1", "jlo");
	ts_kb_line(k, "pv2 = next(pv1)");
	close_tiles(w);
	ts_kb_close(k, "");
	ts_kb_close(k, "");
}

/* Where more is read than queries, keys and values, there are no registers for the places of the queries' parts. */
static const char *late(TsAt *w)
{
	TsJob *j = w->j;
	TsNeeds n = ts_region_needs(j->t, &j->r, j->value, j->at.nb, j->at.nb + 1);
	return j->at.bt || j->at.mt || n.loads ? ", late = true" : "";
}

/* The queries of this group take the sign of the scale, which is known at run time alone: in place, exactly. */
static void turn_queries(TsAt *w)
{
	TsKb *k = w->k;
	const char *Q = ts_kb_fmt(k, "%s[%d, %d] @Q", ts_dtype_name(w->j->at.qt->elem), w->now->bm, w->now->cap), *part = ts_kb_fmt(k, "RQ[pq].x[0:%d, 0:%d]", w->now->bm, w->now->cap);
	ts_kb_open(k, "if turn > 0");
	ts_kb_line(k, "qx: %s = get(%s)", Q, part);
	ts_kb_line(k, "qn: %s = neg(qx)", Q);
	ts_kb_line(k, "put(%s, qn)", part);
	ts_kb_line(k, "fence_async()");
	ts_kb_line(k, "sync(\"role\")");
	ts_kb_close(k, "");
}

/* The last block's scores and weights: nothing to overlap with yet. */
static TsAtSoft top_block(TsAt *w)
{
	TsKb *k = w->k;
	ts_kb_line(k, "wait(RQ[pq])");
	if (ts_at_has_sign(w)) turn_queries(w);
	ts_kb_line(k, "wait(RK[pk])");
	ts_kb_line(k, "fence_mma()");
	ts_kb_line(k, "sf: f32[%d, %d]! @X = mma(zs, RQ[pq].x, RK[pk].x.T, atom = \"wgmma\", zero_if = true%s)", w->now->bm, w->now->bn, late(w));
	ts_kb_line(k, "commit_mma()");
	ts_kb_line(k, "s1: %s = wait_mma(0, sf)", w->X);
	ts_kb_line(k, "release(RK[pk])");
	ts_kb_line(k, "pk1 = next(pk)");
	w->j0 = "jt";
	w->top = true;
	return ts_at_softmax(w, ts_at_scores(w, "s1"), NULL, NULL);
}

static void blocks_below(TsAt *w, const char *W, const TsAtSoft *first)
{
	TsKb *k = w->k;
	ts_kb_open(k, "o1, w1, _, l1, pk2, pv1 = for b in 1..blocks with o = zo, w = w0, m0 = %s, l0 = %s, qk = pk1, qv = pv", first->m, first->l);
	ts_kb_line(k, "wait(RK[qk])");
	ts_kb_line(k, "fence_mma()");
	ts_kb_line(k, "sg: f32[%d, %d]! @X = mma(zs, RQ[pq].x, RK[qk].x.T, atom = \"wgmma\", zero_if = true%s)", w->now->bm, w->now->bn, late(w));
	ts_kb_line(k, "commit_mma()");
	ts_kb_line(k, "wait(RV[qv])");
	ts_kb_line(k, "fence_mma()");
	ts_kb_line(k, "oy: f32[%d, %d]! @Y = mma(o, w, RV[qv].x, atom = \"wgmma\")", w->now->bm, w->now->cap);
	ts_kb_line(k, "commit_mma()");
	ts_kb_line(k, "s2: %s = wait_mma(1, sg)", w->X);
	ts_kb_line(k, "release(RK[qk])");
	ts_kb_line(k, "qk1 = next(qk)");
	ts_kb_line(k, "j: idx = jt - %d * b", w->now->bn);
	w->j0 = "j";
	w->top = false;
	TsAtSoft soft = ts_at_softmax(w, ts_at_scores(w, "s2"), "m0", "l0");
	ts_kb_line(k, "o2: %s = wait_mma(0, oy, hold = [w])", w->Y);
	ts_kb_line(k, "release(RV[qv])");
	ts_kb_line(k, "qv1 = next(qv)");
	ts_kb_line(k, "ab: %s = bcast(%s, dims = [0])", w->Y, soft.al);
	ts_kb_line(k, "o3: %s = mul(o2, ab)", w->Y);
	ts_kb_line(k, "w2: %s = cast(%s)", W, soft.e);
	ts_kb_line(k, "yield o3, w2, %s, %s, qk1, qv1", soft.m, soft.l);
	ts_kb_close(k, "");
}

static int part_of(TsAt *w) { return ts_at_columns(w, w->now->cap < PART ? w->now->cap : PART); }

/* The result a part at a time: through shared memory and out by TMA while the next tile is on its way, or from registers. */
static void store_rows(TsAt *w, const char *out, const char *at)
{
	TsKb *k = w->k;
	TsDtype to = w->j->r.nodes.p[w->j->leaf].elem;
	int cols = part_of(w), n = w->now->cap / cols;
	ts_kb_open(k, "for q in 0..%d", n);
	ts_kb_line(k, "oq: f32[%d, %d] @Z = slice(o5, axis = 1, at = %d * q, len = %d)", w->now->bm, cols, cols, cols);
	ts_kb_line(k, "n0: idx = %d * q", cols);
	ts_kb_line(k, "nl: idx = %s - n0", ts_kb_dim(k, w->j->at.E));
	w->p.base[w->j->at.nb + 1] = "n0";
	w->p.valid[1] = "nl";
	if (!out) {
		ts_at_finish(w, "oq", "l2");
		ts_kb_close(k, ts_kb_fmt(k, " { unroll = %d }", n));
		return;
	}
	TsTileVal z = ts_at_value(w, "oq", "l2");
	z = ts_kb_cast(k, ts_kb_spread(k, z, 3, &w->p), to, &w->p);
	ts_kb_open(k, "one");
	ts_kb_line(k, "wait_store(0, read = true)");
	ts_kb_close(k, "");
	ts_kb_line(k, "sync(\"role\")");
	ts_kb_line(k, "put(ob[0:%d, 0:%d], %s)", w->now->bm, cols, z.name);
	ts_kb_line(k, "fence_async()");
	ts_kb_line(k, "sync(\"role\")");
	ts_kb_open(k, "one");
	ts_kb_line(k, "store_tma(%s[%sqb + 64*g:qb + 64*g + 64, n0:n0 + %d], ob[64*g:64*g + 64, 0:%d])", out, at, cols, cols);
	ts_kb_line(k, "commit_store()");
	ts_kb_close(k, "");
	ts_kb_close(k, ts_kb_fmt(k, " { unroll = %d }", n));
}

static void math_role(TsAt *w, const char *out, const char *at)
{
	TsKb *k = w->k;
	const char *e = ts_dtype_name(w->j->at.qt->elem), *W = ts_kb_fmt(k, "%s[%d, %d] @X", e, w->now->bm, w->now->bn);
	ts_kb_open(k, "role math(warps = 4, times = %d, regs = %d)", GROUPS, TS_AT_RING_REGISTERS);
	ts_kb_line(k, "g = instance()");
	ts_at_scale(w);
	ts_kb_line(k, "zs: %s = fill(0.0)", w->X);
	ts_kb_line(k, "zo: %s = fill(0.0)", w->Y);
	ts_kb_line(k, "pq0 = consumer(RQ)");
	ts_kb_line(k, "pk0 = consumer(RK)");
	ts_kb_line(k, "pv0 = consumer(RV)");
	open_tiles(w);
	tile_at(w);
	TsAtSoft first = top_block(w);
	ts_kb_line(k, "w0: %s = cast(%s)", W, first.e);
	blocks_below(w, W, &first);
	ts_kb_line(k, "release(RQ[pq])");
	ts_kb_line(k, "pq1 = next(pq)");
	ts_kb_line(k, "wait(RV[pv1])");
	ts_kb_line(k, "fence_mma()");
	ts_kb_line(k, "o4: f32[%d, %d]! @Y = mma(o1, w1, RV[pv1].x, atom = \"wgmma\")", w->now->bm, w->now->cap);
	ts_kb_line(k, "commit_mma()");
	ts_kb_line(k, "o5: %s = wait_mma(0, o4, hold = [w1])", w->Y);
	ts_kb_line(k, "release(RV[pv1])");
	ts_kb_line(k, "pv2 = next(pv1)");
	ts_kb_line(k, "l2: %s = reduce(l1, op = \"add\", axis = 1)", w->R);
	w->L = w->R;
	store_rows(w, out, at);
	close_tiles(w);
	if (out) {
		ts_kb_open(k, "one");
		ts_kb_line(k, "wait_store(0)");
		ts_kb_close(k, "");
	}
	ts_kb_close(k, "");
}

static void layout(TsAt *w, const char *name, int cols, TsPlace *p)
{
	TsGLayout d = { .rank = 2 };
	ts_gl_put(&d, 'l', 4, 2, 1), ts_gl_put(&d, 'l', 8, 1, 0), ts_gl_put(&d, 'w', 4, 16, 0), ts_gl_put(&d, 'g', GROUPS, 64, 0);
	ts_gl_put(&d, 'r', 2, 1, 1), ts_gl_put(&d, 'r', 2, 8, 0), ts_gl_put(&d, 'r', cols / 8, 8, 1);
	if (p) ts_gl_place(w->k, &d, name, p);
	else ts_gl_print(w->k, &d, name, 3);
}

/* Queries of a group, 16 bytes of a row to a lane. */
static void layout_of_queries(TsAt *w)
{
	TsGLayout d = { .rank = 2 };
	ts_gl_put(&d, 'r', 8, 1, 1), ts_gl_put(&d, 'l', 8, 8, 1), ts_gl_put(&d, 'l', 4, 1, 0), ts_gl_put(&d, 'w', 4, 4, 0), ts_gl_put(&d, 'g', GROUPS, 64, 0);
	ts_gl_put(&d, 'r', 4, 16, 0), ts_gl_put(&d, 'r', w->now->cap / 64, 64, 1);
	ts_gl_print(w->k, &d, "Q", 3);
}

/* What a lane has of a row's sum. */
static void layout_of_sums(TsAt *w)
{
	TsGLayout d = { .rank = 2 };
	ts_gl_put(&d, 'l', 4, 1, 1), ts_gl_put(&d, 'l', 8, 1, 0), ts_gl_put(&d, 'w', 4, 16, 0), ts_gl_put(&d, 'g', GROUPS, 64, 0), ts_gl_put(&d, 'r', 2, 8, 0);
	ts_gl_print(w->k, &d, "Xp", 3);
}

/* The result as TMA writes it: its parameter, or NULL. */
static const char *result(TsAt *w, const char **at)
{
	TsKb *k = w->k;
	TsJob *j = w->j;
	const TsRNode *leaf = &j->r.nodes.p[j->leaf];
	TsOperand o = { .real = { .buf = leaf->buf, .offset = leaf->offset }, .size = { j->at.S, j->at.E }, .stride = { leaf->coef[j->at.nb], leaf->coef[j->at.nb + 1] } };
	for (uint32_t i = 0; i < j->at.nb; i++) o.at[o.n++] = (TsAxisAt){ ts_kb_fmt(k, "b%u", i), j->r.size[i], leaf->coef[i] };
	if (leaf->elem != j->at.qt->elem || !ts_operand_is_map(k->t, &o) || ts_operand_fast(k->t, &o) != 1) return NULL;
	if (!ts_wide_holds(k->t, &w->wide, o.stride[0])) return NULL;
	for (uint32_t i = 0; i < o.n; i++)
		if (!ts_wide_holds(k->t, &w->wide, o.at[i].stride)) return NULL;
	return ts_gpu_operand(k, &o, at);
}

/* How many tiles there are, and of this CTA. */
static void tiles(TsAt *w, TsChoice *c)
{
	TsKb *k = w->k;
	TsJob *j = w->j;
	TsDim heads = ts_gpu_batches(j, j->at.nb);
	c->cells = ts_grid_cells(k->t, heads, j->at.S, w->now->bm);
	c->per_sm = 1;
	ts_kb_line(k, "grid cta in 0..ctas");
	ts_kb_line(k, "nq: idx = cdiv(%s, %d)", ts_kb_dim(k, j->at.S), w->now->bm);
	ts_kb_line(k, "heads: idx = %s", ts_kb_dim(k, heads));
	ts_kb_line(k, "all: idx = nq * heads");
	if (is_causal(w)) {
		divide(w, "rounds", "over", "all", "all + 1", "ctas");
		ts_kb_line(k, "last: idx = select(rounds %% 2 == 0, cta, ctas - 1 - cta)");
		ts_kb_line(k, "mine: idx = rounds + select(last < over, 1, 0)");
	}
	ts_at_offset(w);
}

void ts_at_wgmma(TsAt *w, TsChoice *c)
{
	TsKb *k = w->k;
	TsJob *j = w->j;
	int bm = w->now->bm, bn = w->now->bn, cols = part_of(w);
	const char *at = "";
	k->warps = 0;
	k->persistent = true;
	w->down = true;
	layout(w, "X", bn, &w->ps);
	layout(w, "Y", w->now->cap, NULL);
	layout(w, "Z", cols, &w->p);
	layout_of_sums(w);
	if (ts_at_has_sign(w)) layout_of_queries(w);
	Ring q = ring(w, "RQ", &j->at.q, j->at.qt, false, bm, w->now->cap > 128 ? 1 : AHEAD, 4 * GROUPS), key = ring(w, "RK", &j->at.key, j->at.kt, true, bn, AHEAD, 4 * GROUPS);
	Ring v = ring(w, "RV", &j->at.v, j->at.vt, true, bn, AHEAD, 4 * GROUPS);
	const char *out = result(w, &at);
	if (out) {
		ts_gl_shared(k, "TO", "md", 64, bm, cols, 1);
		ts_kb_line(k, "smem ob: %s[%d, %d] @TO", ts_dtype_name(j->at.qt->elem), bm, cols);
	}
	tiles(w, c);
	ts_at_place(w, cols);
	load_role(w, &q, &key, &v);
	math_role(w, out, at);
}
