/* Attention by wgmma: one warp fills rings of keys and values by TMA, two groups of four warps have 64 query rows each. The scores of the next
 * block are made while the weights of this one meet its values. At least one block of keys is walked: where no key is seen all is hidden. */
#include "middle/tiler/gpu_attention.h"
#include "middle/tiler/gpu_matmul.h"

enum { GROUPS = 2, AHEAD = 2 };

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

static void load_role(TsAt *w, const Ring *q, const Ring *key, const Ring *v)
{
	TsKb *k = w->k;
	int bn = w->now->bn;
	ts_kb_open(k, "role load(warps = 4, regs = 24)");
	ts_kb_open(k, "one");
	ts_kb_line(k, "pq = producer(RQ)");
	bring(w, q, "pq", "qb");
	ts_kb_line(k, "pk = producer(RK)");
	bring(w, key, "pk", "jlo");
	ts_kb_line(k, "pk1 = next(pk)");
	ts_kb_line(k, "pv = producer(RV)");
	ts_kb_open(k, "_, pv1 = for b in 1..blocks with qk = pk1, qv = pv");
	ts_kb_line(k, "j: idx = jlo + %d * b", bn);
	ts_kb_line(k, "jv: idx = j - %d", bn);
	bring(w, key, "qk", "j");
	bring(w, v, "qv", "jv");
	ts_kb_line(k, "qk1 = next(qk)");
	ts_kb_line(k, "qv1 = next(qv)");
	ts_kb_line(k, "yield qk1, qv1");
	ts_kb_close(k, "");
	ts_kb_line(k, "jl: idx = jlo + %d * (blocks - 1)", bn);
	bring(w, v, "pv1", "jl");
	ts_kb_close(k, "");
	ts_kb_close(k, "");
}

/* The first block's scores and weights: nothing to overlap with yet. */
static TsAtSoft first_block(TsAt *w)
{
	TsKb *k = w->k;
	ts_kb_line(k, "pq = consumer(RQ)");
	ts_kb_line(k, "wait(RQ[pq])");
	ts_kb_line(k, "pk = consumer(RK)");
	ts_kb_line(k, "wait(RK[pk])");
	ts_kb_line(k, "fence_mma()");
	ts_kb_line(k, "sf: f32[%d, %d]! @X = mma(zs, RQ[pq].x, RK[pk].x.T, atom = \"wgmma\", zero_if = true)", w->now->bm, w->now->bn);
	ts_kb_line(k, "commit_mma()");
	ts_kb_line(k, "s0: %s = wait_mma(0, sf)", w->X);
	ts_kb_line(k, "release(RK[pk])");
	ts_kb_line(k, "pk1 = next(pk)");
	w->j0 = "jlo";
	return ts_at_softmax(w, ts_at_scores(w, "s0"), "zm", "zl");
}

static void next_blocks(TsAt *w, const char *W, const TsAtSoft *first)
{
	TsKb *k = w->k;
	ts_kb_open(k, "o1, w1, _, l1, _, pv1 = for b in 1..blocks with o = zo, w = w0, m0 = %s, l0 = %s, qk = pk1, qv = pv", first->m, first->l);
	ts_kb_line(k, "wait(RK[qk])");
	ts_kb_line(k, "fence_mma()");
	ts_kb_line(k, "sf1: f32[%d, %d]! @X = mma(zs, RQ[pq].x, RK[qk].x.T, atom = \"wgmma\", zero_if = true)", w->now->bm, w->now->bn);
	ts_kb_line(k, "commit_mma()");
	ts_kb_line(k, "wait(RV[qv])");
	ts_kb_line(k, "fence_mma()");
	ts_kb_line(k, "oy: f32[%d, %d]! @Y = mma(o, w, RV[qv].x, atom = \"wgmma\")", w->now->bm, w->now->cap);
	ts_kb_line(k, "commit_mma()");
	ts_kb_line(k, "s1: %s = wait_mma(1, sf1)", w->X);
	ts_kb_line(k, "release(RK[qk])");
	ts_kb_line(k, "qk1 = next(qk)");
	ts_kb_line(k, "j: idx = jlo + %d * b", w->now->bn);
	w->j0 = "j";
	TsAtSoft soft = ts_at_softmax(w, ts_at_scores(w, "s1"), "m0", "l0");
	ts_kb_line(k, "o2: %s = wait_mma(0, oy, hold = [w])", w->Y);
	ts_kb_line(k, "release(RV[qv])");
	ts_kb_line(k, "qv1 = next(qv)");
	ts_kb_line(k, "ab: %s = bcast(%s, dims = [0])", w->Y, soft.al);
	ts_kb_line(k, "o3: %s = mul(o2, ab)", w->Y);
	ts_kb_line(k, "w2: %s = cast(%s)", W, soft.e);
	ts_kb_line(k, "yield o3, w2, %s, %s, qk1, qv1", soft.m, soft.l);
	ts_kb_close(k, "");
}

/* Through the slot of the queries, which nobody reads any more, and out by TMA. */
static void store_rows(TsAt *w, const char *out, const char *at)
{
	TsKb *k = w->k;
	TsDtype to = w->j->r.nodes.p[w->j->leaf].elem;
	TsTileVal z = ts_at_value(w, "o5", "l1");
	z = ts_kb_cast(k, ts_kb_spread(k, z, 3, &w->p), to, &w->p);
	ts_kb_line(k, "put(RQ[pq].x[0:%d, 0:%d], %s)", w->now->bm, w->now->cap, z.name);
	ts_kb_line(k, "fence_async()");
	ts_kb_line(k, "sync(\"role\")");
	ts_kb_open(k, "one");
	ts_kb_line(k, "store_tma(%s[%sqb + 64*g:qb + 64*g + 64, 0:%d], RQ[pq].x[64*g:64*g + 64, 0:%d])", out, at, w->now->cap, w->now->cap);
	ts_kb_line(k, "commit_store()");
	ts_kb_line(k, "wait_store(0)");
	ts_kb_close(k, "");
}

static void math_role(TsAt *w, const char *out, const char *at)
{
	TsKb *k = w->k;
	const char *e = ts_dtype_name(w->j->at.qt->elem), *W = ts_kb_fmt(k, "%s[%d, %d] @X", e, w->now->bm, w->now->bn);
	ts_kb_open(k, "role math(warps = 4, times = %d, regs = 240)", GROUPS);
	ts_kb_line(k, "g = instance()");
	ts_at_scale(w);
	ts_kb_line(k, "zs: %s = fill(0.0)", w->X);
	ts_kb_line(k, "zo: %s = fill(0.0)", w->Y);
	ts_kb_line(k, "zm: %s = fill(-inf)", w->R);
	ts_kb_line(k, "zl: %s = fill(0.0)", w->R);
	TsAtSoft first = first_block(w);
	ts_kb_line(k, "w0: %s = cast(%s)", W, first.e);
	ts_kb_line(k, "pv = consumer(RV)");
	next_blocks(w, W, &first);
	ts_kb_line(k, "wait(RV[pv1])");
	ts_kb_line(k, "fence_mma()");
	ts_kb_line(k, "o4: f32[%d, %d]! @Y = mma(o1, w1, RV[pv1].x, atom = \"wgmma\")", w->now->bm, w->now->cap);
	ts_kb_line(k, "commit_mma()");
	ts_kb_line(k, "o5: %s = wait_mma(0, o4, hold = [w1])", w->Y);
	ts_kb_line(k, "release(RV[pv1])");
	if (out) store_rows(w, out, at);
	else ts_at_finish(w, "o5", "l1");
	ts_kb_close(k, "");
}

static void layout(TsAt *w, const char *name, int cols, TsPlace *p)
{
	TsGLayout d = { .rank = 2 };
	ts_gl_put(&d, 'l', 4, 2, 1), ts_gl_put(&d, 'l', 8, 1, 0), ts_gl_put(&d, 'w', 4, 16, 0), ts_gl_put(&d, 'g', GROUPS, 64, 0);
	ts_gl_put(&d, 'r', 2, 1, 1), ts_gl_put(&d, 'r', 2, 8, 0), ts_gl_put(&d, 'r', cols / 8, 8, 1);
	ts_gl_place(w->k, &d, name, p);
}

void ts_at_wgmma(TsAt *w, TsChoice *c)
{
	TsKb *k = w->k;
	TsJob *j = w->j;
	const TsRNode *leaf = &j->r.nodes.p[j->leaf];
	int bm = w->now->bm, bn = w->now->bn;
	k->warps = 0;
	layout(w, "X", bn, &w->ps);
	layout(w, "Y", w->now->cap, &w->p);
	Ring q = ring(w, "RQ", &j->at.q, j->at.qt, false, bm, 1, 0), key = ring(w, "RK", &j->at.key, j->at.kt, true, bn, AHEAD, 4 * GROUPS);
	Ring v = ring(w, "RV", &j->at.v, j->at.vt, true, bn, AHEAD, 4 * GROUPS);
	TsOperand o = { .real = { .buf = leaf->buf, .offset = leaf->offset }, .size = { j->at.S, j->at.E }, .stride = { leaf->coef[j->at.nb], leaf->coef[j->at.nb + 1] } };
	for (uint32_t i = 0; i < j->at.nb; i++) o.at[o.n++] = (TsAxisAt){ ts_kb_fmt(k, "b%u", i), j->r.size[i], leaf->coef[i] };
	bool out = leaf->elem == j->at.qt->elem && ts_operand_is_map(k->t, &o) && ts_operand_fast(k->t, &o) == 1, whole = ts_wide_holds(k->t, &w->wide, o.stride[0]);
	for (uint32_t i = 0; i < o.n; i++) whole = whole && ts_wide_holds(k->t, &w->wide, o.at[i].stride);
	const char *at = "", *param = out && whole ? ts_gpu_operand(k, &o, &at) : NULL;
	ts_at_grid(w, &c->cells);
	ts_kb_line(k, "blocks: idx = max(cdiv(jhi - jlo, %d), 1)", bn);
	load_role(w, &q, &key, &v);
	math_role(w, param, at);
}
