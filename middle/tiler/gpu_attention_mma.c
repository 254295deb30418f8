/* Attention by mma: keys and values in shared memory one block ahead (cp.async), scores and weights in registers throughout. */
#include "middle/tiler/gpu_attention.h"
#include "middle/tiler/gpu_matmul.h"

enum { FEW_ROWS = 8 /* through registers at a time */ };
typedef struct { const char *param, *at, *lay, *smem; int rows; TsDim size; } Block;

/* rows x cap of an operand in `stages` of shared memory. */
static Block block(TsAt *w, const char *name, const TsReal *r, const TsType *ty, bool kv, int rows, int stages)
{
	TsKb *k = w->k;
	TsOperand o = ts_at_operand(w, r, ty, kv, false);
	int cap = w->now->cap, extent[2] = { w->now->copies ? rows : FEW_ROWS, cap };
	Block b = { .lay = ts_kb_fmt(k, "G%s", name), .smem = ts_kb_fmt(k, "s%s", name), .rows = rows, .size = o.size[1] };
	TsGLayout l = ts_gl_tile(2, 1, extent, w->now->wide ? w->wide.vec : 1, w->now->warps, 0);
	b.param = ts_gpu_operand(k, &o, &b.at);
	ts_gl_print(k, &l, b.lay, 3);
	ts_gl_shared(k, ts_kb_fmt(k, "T%s", name), "md", 64, rows, cap, stages);
	if (stages > 1) ts_kb_line(k, "smem %s: %s[%d, %d, %d] @T%s", b.smem, ts_dtype_name(ty->elem), stages, rows, cap, name);
	else ts_kb_line(k, "smem %s: %s[%d, %d] @T%s", b.smem, ts_dtype_name(ty->elem), rows, cap, name);
	return b;
}

/* Rows at r (rl of them exist) into shared memory: asynchronously, or a few at a time through registers. */
static void bring(TsAt *w, const Block *b, const char *stage, const char *r, const char *rl)
{
	TsKb *k = w->k;
	const char *cols = ts_kb_dim(k, b->size);
	if (w->now->copies) {
		ts_kb_line(k, "copy_async(%s[%s0:%d, 0:%d], %s[%s%s:%s + %d, 0:%d], by = %s, valid = [%s, %s])", b->smem, stage, b->rows, w->now->cap, b->param, b->at, r, r, b->rows, w->now->cap,
			b->lay, rl, cols);
		return;
	}
	const char *x = ts_kb_tmp(k), *i = ts_kb_tmp(k), *at = ts_kb_tmp(k), *row = ts_kb_tmp(k);
	ts_kb_open(k, "for %s in 0..%d", i, b->rows / FEW_ROWS);
	ts_kb_line(k, "%s: idx = %d * %s", at, FEW_ROWS, i);
	ts_kb_line(k, "%s: idx = %s + %s", row, r, at);
	ts_kb_line(k, "%s: %s[%d, %d] @%s = load(%s[%s%s:%s + %d, 0:%d], valid = [%s - %s, %s])", x, ts_dtype_name(w->j->at.qt->elem), FEW_ROWS, w->now->cap, b->lay, b->param, b->at, row, row,
		FEW_ROWS, w->now->cap, rl, at, cols);
	ts_kb_line(k, "put(%s[%s%s:%s + %d, 0:%d], %s)", b->smem, stage, at, at, FEW_ROWS, w->now->cap, x);
	ts_kb_close(k, "");
}

/* Rows of queries that the threads have 16 bytes each of. */
static int turned_rows(const TsAt *w) { return w->now->warps * TS_LANES * 8 / w->now->cap; }

/* The first block of keys is here, and with it the queries: they take the sign of the scale. */
static void turn_queries(TsAt *w)
{
	TsKb *k = w->k;
	int rows = turned_rows(w), cap = w->now->cap;
	const char *Q = ts_kb_fmt(k, "%s[%d, %d] @Q", ts_dtype_name(w->j->at.qt->elem), rows, cap);
	ts_kb_open(k, "if turn > 0 and j == jlo");
	ts_kb_open(k, "for i in 0..%d", w->now->bm / rows);
	ts_kb_line(k, "r: idx = %d * i", rows);
	ts_kb_line(k, "qp: %s = get(sq[r:r + %d, 0:%d])", Q, rows, cap);
	ts_kb_line(k, "qn: %s = neg(qp)", Q);
	ts_kb_line(k, "put(sq[r:r + %d, 0:%d], qn)", rows, cap);
	ts_kb_close(k, "");
	ts_kb_line(k, "sync(\"cta\")");
	ts_kb_close(k, "");
}

static void layouts(TsAt *w)
{
	TsKb *k = w->k;
	int W = w->now->warps, cols[2] = { w->now->bn, w->now->cap }, part = w->spans ? w->now->cap : ts_at_columns(w, w->now->cap);
	for (int i = 0; i < 2; i++) {
		TsGLayout d = { .rank = 2 }, b = { .rank = 2 };
		ts_gl_put(&d, 'l', 4, 2, 1), ts_gl_put(&d, 'l', 8, 1, 0);
		ts_gl_put(&d, 'r', 2, 1, 1), ts_gl_put(&d, 'r', 2, 8, 0), ts_gl_put(&d, 'r', cols[i] / 8, 8, 1), ts_gl_put(&d, 'w', W, 16, 0);
		ts_gl_put(&b, 'l', 4, 2, 1), ts_gl_put(&b, 'l', 8, 1, 0);
		ts_gl_put(&b, 'r', 2, 1, 1), ts_gl_put(&b, 'r', 2, 8, 1), ts_gl_put(&b, 'r', cols[i] / 8, 8, 0), ts_gl_put(&b, 'w', W, 0, -1);
		ts_gl_place(k, &d, i ? "Y" : "X", i ? &w->p : &w->ps);
		ts_gl_print(k, &b, i ? "FV" : "FK", 3);
	}
	if (part < w->now->cap) {
		TsGLayout z = { .rank = 2 };
		ts_gl_put(&z, 'l', 4, 2, 1), ts_gl_put(&z, 'l', 8, 1, 0);
		ts_gl_put(&z, 'r', 2, 1, 1), ts_gl_put(&z, 'r', 2, 8, 0), ts_gl_put(&z, 'r', part / 8, 8, 1), ts_gl_put(&z, 'w', W, 16, 0);
		ts_gl_place(k, &z, "Z", &w->parts);
	}
	TsGLayout a = { .rank = 2 };
	ts_gl_put(&a, 'l', 4, 2, 1), ts_gl_put(&a, 'l', 8, 1, 0);
	ts_gl_put(&a, 'r', 2, 1, 1), ts_gl_put(&a, 'r', 2, 8, 0), ts_gl_put(&a, 'r', 2, 8, 1), ts_gl_put(&a, 'w', W, 16, 0);
	ts_gl_print(k, &a, "FQ", 3);
	if (ts_at_has_sign(w)) {
		TsGLayout q = ts_gl_tile(2, 1, (int[2]){ turned_rows(w), w->now->cap }, 8, W, 0);
		ts_gl_print(k, &q, "Q", 3);
	}
	TsGLayout p = { .rank = 2 }; /* what a lane has of a row's sum */
	ts_gl_put(&p, 'l', 4, 1, 1), ts_gl_put(&p, 'l', 8, 1, 0), ts_gl_put(&p, 'r', 2, 8, 0), ts_gl_put(&p, 'w', W, 16, 0);
	ts_gl_print(k, &p, "Xp", 3);
}

static void write_scores(TsAt *w, const char *stage)
{
	TsKb *k = w->k;
	const char *e = ts_dtype_name(w->j->at.qt->elem);
	ts_kb_open(k, "s0: %s = for q in 0..%d with sa = zs", w->X, w->now->cap / 16);
	ts_kb_line(k, "qx: %s[%d, 16] @FQ = get(sq[0:%d, 16*q:16*q + 16])", e, w->now->bm, w->now->bm);
	ts_kb_line(k, "kx: %s[%d, 16] @FK = get(sk[%s0:%d, 16*q:16*q + 16])", e, w->now->bn, stage, w->now->bn);
	ts_kb_line(k, "sx: %s = mma(sa, qx, kx.T, atom = \"mma\")", w->X);
	ts_kb_line(k, "yield sx");
	ts_kb_close(k, w->now->copies && (!w->spans || w->now->cap <= 128) ? ts_kb_fmt(k, " { unroll = %d }", w->now->cap / 16) : ""); /* unrolled, the places take registers, which the other form needs */
}

static void write_output(TsAt *w, const TsAtSoft *soft, const char *stage)
{
	TsKb *k = w->k;
	const char *e = ts_dtype_name(w->j->at.qt->elem);
	ts_kb_line(k, "pe: %s[%d, %d] @X = cast(%s, %s)", e, w->now->bm, w->now->bn, soft->e, e);
	ts_kb_line(k, "ab: %s = bcast(%s, dims = [0])", w->Y, soft->al);
	ts_kb_line(k, "o1: %s = mul(o0, ab)", w->Y);
	ts_kb_open(k, "o2: %s = for q in 0..%d with oa = o1", w->Y, w->now->bn / 16);
	ts_kb_line(k, "px: %s[%d, 16] @FQ = slice(pe, axis = 1, at = 16*q, len = 16)", e, w->now->bm);
	ts_kb_line(k, "vx: %s[%d, 16] @FV = get(sv[%s16*q:16*q + 16, 0:%d].T)", e, w->now->cap, stage, w->now->cap);
	ts_kb_line(k, "ox: %s = mma(oa, px, vx.T, atom = \"mma\")", w->Y);
	ts_kb_line(k, "yield ox");
	ts_kb_close(k, ts_kb_fmt(k, " { unroll = %d }", w->now->bn / 16));
}

void ts_at_mma(TsAt *w, TsChoice *c)
{
	TsKb *k = w->k;
	TsJob *j = w->j;
	int bn = w->now->bn;
	int stages = w->now->copies ? w->now->stages : 1;
	bool ahead = stages > 1;
	const char *T = ts_kb_dim(k, j->at.T), *stage = ahead ? "st, " : "";
	k->warps = w->now->warps;
	layouts(w);
	Block q = block(w, "q", &j->at.q, j->at.qt, false, w->now->bm, 1), key = block(w, "k", &j->at.key, j->at.kt, true, bn, stages);
	Block v = block(w, "v", &j->at.v, j->at.vt, true, bn, stages);
	if (w->spans) ts_at_span_grid(w, c);
	else ts_at_grid(w, &c->cells);
	ts_at_scale(w);
	ts_kb_line(k, "zs: %s = fill(0.0)", w->X);
	ts_kb_line(k, "zo: %s = fill(0.0)", w->Y);
	ts_kb_line(k, "zm: %s = fill(-inf)", w->R);
	ts_kb_line(k, "zl: %s = fill(0.0)", w->L);
	bring(w, &q, "", "qb", "il");
	for (int i = 0; i < stages - 1; i++) { /* so many blocks are on their way */
		const char *at = ts_kb_fmt(k, "jlo + %d", bn * i);
		if (i) ts_kb_open(k, "if %s < jhi", at);
		ts_kb_line(k, "tl%d: idx = %s - (%s)", i, T, at);
		bring(w, &key, ts_kb_fmt(k, "%d, ", i), at, ts_kb_fmt(k, "tl%d", i));
		bring(w, &v, ts_kb_fmt(k, "%d, ", i), at, ts_kb_fmt(k, "tl%d", i));
		if (i) ts_kb_close(k, "");
		ts_kb_line(k, "commit_copy()");
	}
	ts_kb_open(k, "o, %s, l = for j in jlo..jhi step %d with o0 = zo, m0 = zm, l0 = zl", w->spans ? "m" : "_", bn);
	if (ahead) {
		ts_kb_line(k, "st: idx = (j - jlo) // %d %% %d", bn, stages);
		ts_kb_line(k, "wait_copy(%d)", stages - 2);
		ts_kb_line(k, "sync(\"cta\")");
		ts_kb_line(k, "j1: idx = j + %d", bn * (stages - 1));
		ts_kb_open(k, "if j1 < jhi");
		ts_kb_line(k, "tn: idx = %s - j1", T);
		if (stages > 2) ts_kb_line(k, "sn: idx = (st + %d) %% %d", stages - 1, stages);
		const char *next = stages > 2 ? "sn, " : "1 - st, ";
		bring(w, &key, next, "j1", "tn");
		bring(w, &v, next, "j1", "tn");
		ts_kb_close(k, "");
		ts_kb_line(k, "commit_copy()");
	} else {
		ts_kb_line(k, "tl: idx = %s - j", T);
		ts_kb_line(k, "sync(\"cta\")");
		bring(w, &key, "", "j", "tl");
		bring(w, &v, "", "j", "tl");
		ts_kb_line(k, "sync(\"cta\")");
	}
	if (ts_at_has_sign(w)) turn_queries(w);
	write_scores(w, stage);
	TsAtSoft soft = ts_at_softmax(w, ts_at_scores(w, "s0"), "m0", "l0");
	write_output(w, &soft, stage);
	ts_kb_line(k, "yield o2, %s, %s", soft.m, soft.l);
	ts_kb_close(k, "");
	if (ahead) ts_kb_line(k, "wait_copy(0)");
	if (w->spans) ts_at_span_store(w, "o", "m", "l");
	else ts_at_finish(w, "o", "l");
}
