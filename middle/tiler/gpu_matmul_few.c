/* Contractions with few rows: what matters is how fast b is read. A warp takes some columns of b straight into registers, the next ones while
 * it multiplies these; the warps of a CTA share k, lie at different parts of it at a time, and meet once, at the end, in order. The
 * products are transposed (b's columns are the instruction's rows), so that 8 rows of a are enough to fill it. How k is divided depends on the
 * variant's `bk` and warps alone, not on the rows: a row has the same bits alone and in any batch. */
#include "middle/tiler/gpu_matmul.h"

typedef struct {
	TsMm *mm;
	TsKb *k;
	const TsMmVariant *v;
	bool mma, turned;           /* by the matrix instruction; b is contiguous along n */
	int vec;                    /* elements of a k-contiguous access: k of a lane that lie side by side */
	int nv;                     /* elements of b along n that lie side by side in a thread */
	int each;                   /* columns of a warp */
	TsOperand b;                /* its axes in the order of memory */
} Few;

static int ctas_of(const TsMmVariant *v) { return v->cluster ? v->cluster : 1; }

/* k: `vec` neighbours, four lanes, `bk` of a warp, then the warps */
static void along_k(const Few *f, TsGLayout *l, int dim, bool first)
{
	if (first) ts_gl_put(l, 'r', f->vec, 1, dim);
	else ts_gl_put(l, 'r', f->v->bk / (4 * f->vec), 4 * f->vec, dim);
}

/* n: eight lanes, what lies side by side first */
static void along_n(const Few *f, TsGLayout *l, int dim)
{
	if (f->nv == 1) ts_gl_put(l, 'r', f->each / 8, 8, dim);
	else ts_gl_put(l, 'r', f->each / (8 * f->nv), 8 * f->nv, dim);
}

static void layouts(const Few *f, TsPlace *p)
{
	const TsMmVariant *v = f->v;
	TsKb *k = f->k;
	int rows = v->bm / 8;
	/* dims of c in the order s, n, m are printed by hand: three axes */
	TsBuf c = { 0 };
	ts_buf_fmt(&c, f->mma ? "l4:2m l8:%dn" : "l4:1s l8:%dn", f->nv);
	if (v->wn > 1) ts_buf_fmt(&c, " w%d:%dn", v->wn, f->each);
	if (v->wm > 1) ts_buf_fmt(&c, " w%d:%ds", v->wm, f->mma ? 1 : 4);
	if (f->mma) ts_buf_str(&c, " r2:1m");
	if (f->nv > 1) ts_buf_fmt(&c, " r%d:1n", f->nv);
	if (f->each > 8 * f->nv) ts_buf_fmt(&c, " r%d:%dn", f->each / (8 * f->nv), 8 * f->nv);
	if (f->mma && rows > 1) ts_buf_fmt(&c, " r%d:8m", rows);
	if (!f->mma && v->bm > 1) ts_buf_fmt(&c, " r%d:1m", v->bm);
	ts_kb_line(k, "layout C[s, n, m] = %s", c.p);
	ts_buf_free(&c);
	TsGLayout a = { .rank = 2 }, b = { .rank = 2 };
	int bn = f->turned ? 1 : 0, bk = 1 - bn;
	along_k(f, &a, 1, true);
	ts_gl_put(&a, 'l', 4, f->vec, 1);
	if (f->mma) ts_gl_put(&a, 'l', 8, 1, 0);
	else ts_gl_put(&a, 'l', 8, 0, -1);
	ts_gl_put(&a, 'w', v->wn, 0, -1), ts_gl_put(&a, 'w', v->wm, v->bk, 1);
	along_k(f, &a, 1, false);
	if (f->mma) ts_gl_put(&a, 'r', rows, 8, 0);
	else ts_gl_put(&a, 'r', v->bm, 1, 0);
	ts_gl_print(k, &a, "FA", 3);
	if (f->turned) ts_gl_put(&b, 'r', f->nv, 1, bn);
	along_k(f, &b, bk, true);
	ts_gl_put(&b, 'l', 4, f->vec, bk), ts_gl_put(&b, 'l', 8, f->nv, bn);
	ts_gl_put(&b, 'w', v->wn, f->each, bn), ts_gl_put(&b, 'w', v->wm, v->bk, bk);
	along_k(f, &b, bk, false);
	along_n(f, &b, bn);
	ts_gl_print(k, &b, "FB", 3);
	int extent[2] = { v->bm / (ctas_of(v)), v->bn }, wide = f->mm->wide.vec;
	while (wide > 1 && wide * k->warps * TS_LANES > extent[0] * extent[1]) wide /= 2;
	TsGLayout x = ts_gl_tile(2, 1, extent, v->wide ? wide : 1, k->warps, 0);
	ts_gl_place(k, &x, "X", p);
}

static void load_pair(const Few *f, const char *k0, const char *a, const char *b, const TsOperand *oa)
{
	TsKb *k = f->k;
	const TsMmVariant *v = f->v;
	const TsJob *j = f->mm->j;
	const char *at, *pa = ts_gpu_operand(k, oa, &at), *kl = ts_kb_tmp(k), *bt, *pb;
	int all = v->bk * v->wm;
	ts_kb_line(k, "%s: idx = %s - %s", kl, ts_kb_dim(k, j->mm.k), k0);
	const char *kr = ts_kb_fmt(k, "%s:%s + %d", k0, k0, all), *nr = ts_kb_fmt(k, "nb:nb + %d", v->bn);
	pb = ts_gpu_operand(k, &f->b, &bt);
	ts_kb_line(k, "%s: %s[%d, %d] @FB = load(%s[%s%s, %s], valid = [%s, %s], stream = true)", b, ts_dtype_name(j->mm.be), f->turned ? all : v->bn, f->turned ? v->bn : all, pb, bt, f->turned ? kr : nr,
		f->turned ? nr : kr, f->turned ? kl : "nl", f->turned ? "nl" : kl);
	ts_kb_line(k, "%s: %s[%d, %d] @FA = load(%s[%smb:mb + %d, %s], valid = [ml, %s])", a, ts_dtype_name(j->mm.ae), v->bm, all, pa, at, v->bm, kr, kl);
}

static TsOperand swapped(const TsOperand *o)
{
	TsOperand x = *o;
	x.size[0] = o->size[1], x.size[1] = o->size[0];
	x.stride[0] = o->stride[1], x.stride[1] = o->stride[0];
	return x;
}

/* The sums of the warps (and CTAs), in order. */
static void meet(const Few *f, TsPlace *p, int sums)
{
	TsKb *k = f->k;
	const TsMmVariant *v = f->v;
	const char *X = ts_kb_type(k, f->mm->j->mm.ct, 3, p), *sum = NULL, *rows = ts_kb_fmt(k, k->cluster > 1 ? "part:part + %d" : "0:%d", p->len[0]);
	if (k->cluster > 1) {
		ts_kb_line(k, "part: idx = %d * me", p->len[0]);
		ts_kb_line(k, "m0: idx = mb + part");
		ts_kb_line(k, "pl: idx = ml - part");
		p->base[f->mm->j->mm.im] = "m0";
		if (p->valid[0]) p->valid[0] = "pl";
	}
	ts_kb_line(k, "put(red[0:%d, 0:%d, 0:%d], acc)", sums, v->bn, v->bm);
	ts_kb_line(k, "sync(\"%s\")", k->cluster > 1 ? "cluster" : "cta");
	for (int i = 0; i < sums * (ctas_of(v)); i++) {
		const char *next = ts_kb_tmp(k), *both = ts_kb_tmp(k), *where = k->cluster > 1 ? ts_kb_fmt(k, ", cta = %d", i / sums) : "";
		ts_kb_line(k, "%s: %s = get(red[%d, 0:%d, %s].T%s)", next, X, i % sums, v->bn, rows, where);
		if (sum) ts_kb_line(k, "%s: %s = add(%s, %s)", both, X, sum, next);
		sum = sum ? both : next;
	}
	if (k->cluster > 1) ts_kb_line(k, "sync(\"cluster\")"); /* the others have read what lies here */
	ts_mm_epilogue(f->mm, k, p, sum);
}

void ts_mm_few(TsMm *mm, TsKb *k, const TsMmVariant *v, TsChoice *c)
{
	TsPlace p = { 0 };
	TsJob *j = mm->j;
	Few f = { .mm = mm, .k = k, .v = v, .mma = mm->mma != TS_DTYPE_NONE, .turned = ts_operand_fast(k->t, &mm->b) == 1, .each = v->bn / v->wn };
	f.vec = f.mma ? 8 : 16 / ts_elem_bytes(j->mm.ct);
	f.nv = !f.turned ? 1 : f.each / 8 < f.vec ? f.each / 8 : f.vec;
	f.b = f.turned ? mm->b : swapped(&mm->b);
	TsOperand a = swapped(&mm->a);
	int sums = v->wm * (f.mma ? 1 : 4), all = v->bk * v->wm, ctas = ctas_of(v);
	k->warps = v->wm * v->wn;
	k->cluster = v->cluster;
	k->ctas = v->room;
	layouts(&f, &p);
	ts_kb_line(k, "layout RED[s, n, m] = s%d:1n s%d:1m s%d:1s", v->bn + 4, v->bm, sums);
	ts_kb_line(k, "smem red: %s[%d, %d, %d] @RED", ts_dtype_name(j->mm.ct), sums, v->bn + 4, v->bm);
	ts_mm_grid(mm, k, v, &p, &c->cells);
	const char *C = ts_kb_fmt(k, "%s[%d, %d, %d] @C", ts_dtype_name(j->mm.ct), sums, v->bn, v->bm);
	ts_kb_line(k, "zero: %s = fill(0)", C);
	if (ctas > 1) ts_kb_line(k, "me = rank()");
	if (ctas > 1) p.len[0] = v->bm / ctas;
	const char *k0 = ctas > 1 ? ts_kb_fmt(k, "%d * me", all) : "0", *K = ts_kb_dim(k, j->mm.k);
	if (v->copies) {
		if (ctas > 1) ts_kb_line(k, "kb = %s", k0);
		load_pair(&f, ctas > 1 ? "kb" : "0", "x0", "w0", &a);
		ts_kb_open(k, "acc: %s, _, _ = for k0 in %s..%s step %d with c = zero, gx = x0, gw = w0", C, k0, K, all * ctas);
		ts_kb_line(k, "k1: idx = k0 + %d", all * ctas);
		load_pair(&f, "k1", "x1", "w1", &a);
	} else {
		ts_kb_open(k, "acc: %s = for k0 in %s..%s step %d with c = zero", C, k0, K, all * ctas);
		load_pair(&f, "k0", "gx", "gw", &a);
	}
	ts_kb_line(k, "c1: %s = mma(c, gw%s, gx.T, atom = \"%s\")", C, f.turned ? ".T" : "", f.mma ? "mma" : "fma");
	ts_kb_line(k, v->copies ? "yield c1, x1, w1" : "yield c1");
	ts_kb_close(k, "");
	meet(&f, &p, sums);
}

/* ---- up to 64 rows, by wgmma ---- */

enum { PARTS = 3 /* of the rows that a tile may lack */ };
static const int part[PARTS + 1] = { 0, 32, 48, 64 }; /* up to 32 rows have a tile of their own */

/* A warp fills a ring by TMA; groups of four warps multiply 64 columns of b each. The CTAs of a cluster share k, step by step in turn: each has
 * its own sums, and writes its part of the rows from the sums of all, in order. */
static void ring_fill(const Few *f, const TsOperand *a)
{
	TsKb *k = f->k;
	const TsMmVariant *v = f->v;
	const char *at, *bt, *pa = ts_gpu_operand(k, a, &at), *pb = ts_gpu_operand(k, &f->b, &bt), *kr = ts_kb_fmt(k, "kb:kb + %d", v->bk), *nr = ts_kb_fmt(k, "nb:nb + %d", v->bn);
	/* TMA takes 5 ns for each row that it fills with zeros: rows that may lack many come in parts, and a part without any repeats the first. */
	bool ragged = v->bm == 64 && !ts_whole(k->t, f->mm->j->mm.m, v->bm);
	ts_kb_open(k, "role load(warps = 1)");
	ts_kb_open(k, "one");
	for (int i = 1; ragged && i < PARTS; i++) ts_kb_line(k, "x_%d: idx = mb + select(ml > %d, %d, 0)", part[i], part[i], part[i]);
	ts_kb_line(k, "p0 = producer(R)");
	ts_kb_open(k, "_ = for k in 0..nk with q = p0");
	ts_kb_line(k, "kb: idx = %d * (%d * k + me)", v->bk, ctas_of(v));
	ts_kb_line(k, "acquire(R[q])");
	ts_kb_line(k, "expect_bytes(R[q], %d)", (v->bm + v->bn) * v->bk * 2);
	ts_kb_line(k, "copy(R[q].w, %s[%s%s, %s])", pb, bt, f->turned ? kr : nr, f->turned ? nr : kr);
	if (ragged) ts_kb_open(k, "if ml >= %d", v->bm);
	ts_kb_line(k, "copy(R[q].x, %s[%smb:mb + %d, %s])", pa, at, v->bm, kr);
	if (ragged) {
		ts_kb_close(k, " else {");
		k->depth++;
	}
	for (int i = 0; ragged && i < PARTS; i++) {
		const char *from = i ? ts_kb_fmt(k, "x_%d", part[i]) : "mb";
		ts_kb_line(k, "copy(R[q].x[%d:%d, 0:%d], %s[%s%s:%s + %d, %s])", part[i], part[i + 1], v->bk, pa, at, from, from, part[i + 1] - part[i], kr);
	}
	if (ragged) ts_kb_close(k, "");
	ts_kb_line(k, "q1 = next(q)");
	ts_kb_line(k, "yield q1");
	ts_kb_close(k, "");
	ts_kb_close(k, "");
	for (int i = 0; i < 2 && v->cluster > 1; i++) ts_kb_line(k, "sync(\"cluster\")"); /* as the other warps do */
	ts_kb_close(k, "");
}

static void ring_multiply(const Few *f, TsPlace *p)
{
	TsKb *k = f->k;
	const TsMmVariant *v = f->v;
	const char *D = ts_kb_fmt(k, "f32[%d, %d]", v->bn, v->bm);
	ts_kb_open(k, "role math(warps = 4, times = %d)", v->wm);
	ts_kb_line(k, "zero: %s! @D = fill(0.0)", D);
	ts_kb_line(k, "p0 = consumer(R)");
	ts_kb_open(k, "c1, p1, last = for k in 0..nk with c = zero, q = p0, prev = p0");
	ts_kb_line(k, "wait(R[q])");
	ts_kb_line(k, "fence_mma()");
	ts_kb_line(k, "sum: %s! @D = mma(c, R[q].w%s, R[q].x.T, atom = \"wgmma\", zero_if = k == 0)", D, f->turned ? ".T" : "");
	ts_kb_line(k, "commit_mma()");
	ts_kb_line(k, "wait_mma(1)");
	ts_kb_open(k, "if k > 0");
	ts_kb_line(k, "release(R[prev])");
	ts_kb_close(k, "");
	ts_kb_line(k, "q1 = next(q)");
	ts_kb_line(k, "yield sum, q1, q");
	ts_kb_close(k, "");
	ts_kb_line(k, "acc: %s @D = wait_mma(0, c1)", D);
	ts_kb_open(k, "if nk > 0");
	ts_kb_line(k, "release(R[last])");
	ts_kb_close(k, "");
	if (v->cluster > 1) {
		int part = p->len[0];
		ts_kb_line(k, "part: idx = %d * me", part);
		ts_kb_line(k, "m0: idx = mb + part");
		ts_kb_line(k, "pl: idx = ml - part");
		p->base[f->mm->j->mm.im] = "m0";
		if (p->valid[0]) p->valid[0] = "pl";
	}
	const char *X = ts_kb_type(k, TS_F32, 3, p), *sum = NULL, *rows = ts_kb_fmt(k, v->cluster > 1 ? "part:part + %d" : "0:%d", p->len[0]);
	ts_kb_line(k, "put(red[0:%d, 0:%d], acc)", v->bn, v->bm);
	ts_kb_line(k, "sync(\"%s\")", v->cluster > 1 ? "cluster" : "role");
	for (int i = 0; i < ctas_of(v); i++) {
		const char *next = ts_kb_tmp(k), *both = ts_kb_tmp(k);
		ts_kb_line(k, "%s: %s = get(red[0:%d, %s].T%s)", next, X, v->bn, rows, v->cluster > 1 ? ts_kb_fmt(k, ", cta = %d", i) : "");
		if (sum) ts_kb_line(k, "%s: %s = add(%s, %s)", both, X, sum, next);
		sum = sum ? both : next;
	}
	if (v->cluster > 1) ts_kb_line(k, "sync(\"cluster\")"); /* the others have read what lies here */
	ts_mm_epilogue(f->mm, k, p, sum);
	ts_kb_close(k, "");
}

void ts_mm_ring(TsMm *mm, TsKb *k, const TsMmVariant *v, TsChoice *c)
{
	TsPlace p = { 0 };
	TsJob *j = mm->j;
	Few f = { .mm = mm, .k = k, .v = v, .mma = true, .turned = ts_operand_fast(k->t, &mm->b) == 1 };
	f.b = f.turned ? mm->b : swapped(&mm->b);
	TsOperand a = swapped(&mm->a);
	const char *e = ts_dtype_name(mm->mma);
	int part = v->bm / ctas_of(v), wr = f.turned ? v->bk : v->bn, wc = f.turned ? v->bn : v->bk;
	k->cluster = v->cluster;
	k->ctas = v->room;
	ts_kb_line(k, "layout D[n, m] = l4:2m l8:1n w4:16n%s r2:1m r2:8n%s", v->wm > 1 ? ts_kb_fmt(k, " g%d:64n", v->wm) : "", v->bm > 8 ? ts_kb_fmt(k, " r%d:8m", v->bm / 8) : "");
	TsGLayout x = { .rank = 2 };
	int rows = part < 8 ? part : 8; /* 64 columns of a group: 8 lanes of 8 where results can be wide */
	ts_gl_put(&x, 'r', 8, 1, 1), ts_gl_put(&x, 'l', 8, 8, 1), ts_gl_put(&x, 'l', rows < 4 ? rows : 4, 1, 0);
	if (rows < 4) ts_gl_put(&x, 'l', 4 / rows, 0, -1);
	ts_gl_put(&x, 'w', part >= 16 ? 4 : part > 4 ? part / 4 : 1, 4, 0);
	if (part < 16) ts_gl_put(&x, 'w', part > 4 ? 4 / (part / 4) : 4, 0, -1);
	ts_gl_put(&x, 'g', v->wm, 64, 1);
	if (part > 16) ts_gl_put(&x, 'r', part / 16, 16, 0);
	ts_gl_place(k, &x, "X", &p);
	ts_gl_shared(k, "KW", "mn", wc < 64 ? wc : 64, wr, wc, 1);
	ts_gl_shared(k, "KX", "mn", 64, v->bm, v->bk, 1);
	ts_kb_line(k, "ring R[%d] { w: %s[%d, %d] @KW, x: %s[%d, %d] @KX } { full = 1, empty = %d }", v->stages, e, wr, wc, e, v->bm, v->bk, 4 * v->wm);
	ts_kb_line(k, "layout RED[n, m] = s%d:1n s%d:1m", v->bn + 4, v->bm);
	ts_kb_line(k, "smem red: f32[%d, %d] @RED", v->bn + 4, v->bm);
	ts_mm_grid(mm, k, v, &p, &c->cells);
	p.len[0] = part;
	ts_kb_line(k, "me: idx = %s", v->cluster > 1 ? "rank()" : "0");
	ts_kb_line(k, "nk: idx = cdiv(max(%s - %d * me, 0), %d)", ts_kb_dim(k, j->mm.k), v->bk, v->bk * ctas_of(v));
	ring_multiply(&f, &p); /* first: groups of four warps begin at multiples of four */
	ring_fill(&f, &a);
}

/* ---- which ---- */

/* A variant for at most `rows` rows where `need` is 0, unless there are certainly more. */
static void add(TsMm *mm, TsMmVariant v, TsDim need, int64_t rows)
{
	TsTl *t = mm->j->t;
	int64_t lo, hi;
	ts_dim_range(t->d, mm->j->mm.m, &lo, &hi);
	if (lo > rows) return;
	v.wide = true;
	int bytes = ts_elem_bytes(mm->j->mm.ct);
	bool narrow = mm->mma == TS_DTYPE_NONE && mm->wide.vec * bytes < 16; /* accesses that need more registers for addresses */
	if (t->target->family != TS_FAMILY_SM90 || bytes == 8 || narrow) v.room = 1; /* two CTAs' registers: found not to spill elsewhere only */
	v.label = "few rows, ";
	v.guard = rows == INT64_MAX ? need : ts_dim_add(t->d, need, ts_over(t, mm->j->mm.m, rows));
	mm->v[mm->n++] = v;
}

/* need plus "at most", "at least"; false where that is never 0 */
static bool most(TsTl *t, TsDim *need, TsDim d, int64_t n)
{
	int64_t lo, hi;
	ts_dim_range(t->d, d, &lo, &hi);
	*need = ts_dim_add(t->d, *need, ts_over(t, d, n));
	return lo <= n;
}

static bool least(TsTl *t, TsDim *need, TsDim d, int64_t n) { return most(t, need, ts_dim_sub(t->d, ts_dim_const(t->d, n), d), 0); }

static TsDim batches(TsMm *mm)
{
	TsDim n = ts_dim_const(mm->j->t->d, 1);
	for (uint32_t i = 0; i < mm->j->mm.im; i++) n = ts_dim_mul(mm->j->t->d, n, mm->j->r.size[i]);
	return n;
}

/* Rings: b's columns in tiles of 64, of 128 where there are many; where tiles would leave multiprocessors idle, and k is long, CTAs share it. So the order of a sum is a
 * function of n and k: all rows up to 64 have the same bits in any batch. Where n is open there are fewer forms, so that the code stays small. */
static void add_rings(TsMm *mm, TsDim mods)
{
	enum { LONG = 1024, ANY = INT32_MAX };
	static const struct { int64_t columns; int ctas, groups; bool open; } share[] = { { 2048, 4, 1, false }, { 4224, 2, 1, true }, { 16896, 0, 1, false }, { ANY, 0, 2, true } };
	static const struct { int rows, stages[2]; } ring[] = { { 16, { 9, 5 } }, { 32, { 8, 4 } }, { 64, { 6, 8 } } };
	TsTl *t = mm->j->t;
	int64_t n;
	bool open = !ts_dim_is_const(t->d, mm->j->mm.n, &n);
	for (int i = 0; i < 4; i++) {
		TsDim need = mods;
		if (open && !share[i].open) continue;
		bool all = open && ts_over(t, mm->j->mm.n, share[i].columns) == 0; /* then forms for a short k would be chosen where everything is small */
		if (!least(t, &need, mm->j->mm.k, share[i].ctas && !all ? LONG : 1)) continue;
		if ((share[i].columns < ANY && !most(t, &need, mm->j->mm.n, share[i].columns)) || (share[i].ctas && !most(t, &need, batches(mm), 1))) continue;
		for (int r = 0; r < 3; r++) {
			if (open && ring[r].rows == 32 && !share[i].ctas) continue; /* where CTAs share k, rows that TMA fills with zeros take as long as others twice over */
			bool tall = ring[r].rows == 64 && !share[i].ctas;
			int groups = tall ? 2 : share[i].groups;
			if (tall && share[i].groups == 1 && need != mods) continue; /* as in the next line, for any number of columns */
			add(mm, (TsMmVariant){ TS_MM_RING, ring[r].rows, 64 * groups, TS_MM_BLOCK_K, groups, 1, ring[r].stages[groups - 1], .room = tall ? 1 : 2, .cluster = share[i].ctas }, need, ring[r].rows);
			if (mm->n && !mm->v[mm->n - 1].guard) return;
		}
		if (need == mods) return;
	}
}

/* Straight into registers, by mma. The forms for more rows add up k in one run: where batches must not matter, these do not fit. */
static void add_mma(TsMm *mm, TsDim need)
{
	bool turned = ts_operand_fast(mm->j->t, &mm->b) == 1;
	TsMmVariant v = { TS_MM_FEW, 8, turned ? 32 : 16, turned ? 64 : 128, 8, 1, 1, .room = 2 };
	if (mm->j->n->num->batch_invariant == TS_YES || !least(mm->j->t, &need, mm->j->mm.k, 512)) return;
	add(mm, v, need, 8);
	v.bm = 16;
	add(mm, v, need, 16);
}

/* Multiply-add: the same order of sums for any number of rows but one alone, which has a form of its own. */
static void add_fma(TsMm *mm, TsDim need)
{
	enum { WAVES = 264, MORE = 400, NARROW = 2048 };
	TsTl *t = mm->j->t;
	int bytes = ts_elem_bytes(mm->j->mm.ct);
	TsMmVariant one = { TS_MM_FEW, 1, 16, 512 / bytes, 8, 1, 1, .room = 2 }, few = { TS_MM_FEW, 8, 32, 16, 8, 1, 1, .room = 2 }, some = { TS_MM_FEW, 16, 32, 16, 8, 1, 1, .room = 2 };
	if (ts_operand_fast(t, &mm->b) < 0 || !ts_dtype_is_float(mm->j->mm.ct) || mm->j->mm.ae != mm->j->mm.ct || mm->j->mm.be != mm->j->mm.ct || !least(t, &need, mm->j->mm.k, 128)) return;
	if (bytes == 8) some = few;
	if (ts_operand_fast(t, &mm->b) == 1) one.bn = 32;
	if (mm->j->n->num->batch_invariant != TS_YES) add(mm, one, need, 1);
	TsDim cells = ts_grid_cells(t, ts_grid_cells(t, batches(mm), mm->j->mm.m, 8), mm->j->mm.n, 32), some_cells = ts_grid_cells(t, ts_grid_cells(t, batches(mm), mm->j->mm.m, 16), mm->j->mm.n, 32);
	TsDim waves = need, narrow = need;
	if (most(t, &waves, cells, WAVES)) {
		TsMmVariant ahead = few;
		ahead.copies = true, ahead.room = 1;
		narrow = waves;
		if (most(t, &narrow, mm->j->mm.n, NARROW)) add(mm, ahead, narrow, INT64_MAX);
		if (narrow != waves) add(mm, few, waves, INT64_MAX);
	}
	add(mm, some, need, 64);
	if (most(t, &need, some_cells, MORE)) add(mm, some, need, INT64_MAX);
}

bool ts_mm_add_few(TsMm *mm, TsDim mods)
{
	TsTl *t = mm->j->t;
	if (ts_operand_fast(t, &mm->a) != 0 || !mm->j->n) return false;
	if (mm->mma == TS_DTYPE_NONE) add_fma(mm, mods);
	else if (t->target->family == TS_FAMILY_SM90 && ts_mm_has_maps(mm)) add_rings(mm, mods);
	else add_mma(mm, mods);
	return mm->n && !mm->v[mm->n - 1].guard;
}
