/* Attention of one query row for each head: what matters is how fast keys and values are read. A CTA takes SPAN keys of one head straight into
 * registers; each of its slots, one for every BN-th key, has a running maximum, sum and weighted values of its own, and they meet once, at
 * the end. A second kernel puts the spans of a head together, in order. How keys are divided depends on their number alone. */
#include "middle/tiler/gpu_attention.h"

enum { SPAN = 1024, BN = 64, WARPS = 8, MOST_HEAD = 256 };

typedef struct {
	TsJob *j;
	TsAt at;                    /* for what the forms share */
	TsReal sums, stats;         /* of a span: weighted values [.., spans, E]; its maximum and sum [.., spans, 2] */
	TsDim spans, batch[TS_MAX_RANK];
	TsWide wide;
	int cap, n;
	bool is_wide[2];
	TsDim guard[2];
} One;

static const char *line(TsKb *k, const char *type, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static const char *line(TsKb *k, const char *type, const char *fmt, ...)
{
	TsBuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(&b, fmt, ap);
	va_end(ap);
	const char *n = ts_kb_tmp(k);
	ts_kb_line(k, "%s: %s = %s", n, type, b.p);
	ts_buf_free(&b);
	return n;
}

/* A work buffer over [batches.., spans, width]. */
static TsOperand partial(One *o, TsKb *k, const TsReal *real, TsDim width)
{
	TsDims *d = k->t->d;
	TsOperand x = { .real = *real, .size = { o->spans, width }, .stride = { width, ts_dim_const(d, 1) } };
	for (uint32_t i = 0; i < o->j->at.nb; i++)
		x.at[x.n++] = (TsAxisAt){ ts_kb_fmt(k, "b%u", i), o->j->r.size[i], ts_dim_mul(d, o->batch[i], ts_dim_mul(d, o->spans, width)) };
	return x;
}

static const char *place(TsKb *k, const TsOperand *x, const char *span, const char *column)
{
	const char *at, *p = ts_gpu_operand(k, x, &at);
	return ts_kb_fmt(k, "%s[%s%s, %s]", p, at, span, column);
}

typedef struct { const char *exp, *scale; TsPlace p; const char *X, *R; } Forms;

/* Bias or mask under the scores of the keys at j. */
static const char *under(One *o, TsKb *k, const Forms *f, const TsReal *r, const TsType *ty)
{
	TsOperand x = ts_at_operand(&o->at, r, ty, false, false);
	const char *at, *p = ts_gpu_operand(k, &x, &at), *n = ts_kb_tmp(k);
	bool col = x.stride[1] && x.size[1] != ts_dim_const(k->t->d, 1);
	TsTileVal v = { n, col, ty->elem };
	ts_kb_line(k, "%s: %s = load(%s[%s0, %s]%s)", n, ts_kb_type(k, ty->elem, col, &f->p), p, at, col ? ts_kb_fmt(k, "j:j + %d", BN) : "0", col ? ", valid = kl" : "");
	return ty->elem == TS_BOOL ? v.name : ts_kb_cast(k, v, o->j->at.ct, &f->p).name;
}

/* Which keys count: those of this span, below jhi, and from jlow on where there is a window. */
static const char *hide(One *o, TsKb *k, const Forms *f, const char *s)
{
	const char *B = ts_kb_type(k, TS_BOOL, 1, &f->p), *I = ts_kb_type(k, TS_INT32, 1, &f->p);
	bool window = !ts_attr(k->t->m, o->j->n, "window")->none;
	if (o->j->at.mt) s = line(k, f->R, "where(%s, %s, -inf)", under(o, k, f, &o->j->at.mask, o->j->at.mt), s);
	ts_kb_line(k, "hi: idx = min(je - j, %d)", BN);
	ts_kb_line(k, "hi1: int32[] = cast(hi, int32)");
	ts_kb_line(k, "ci: %s = iota(0)", I);
	const char *in = line(k, B, "lt(ci, hi1)");
	if (window) {
		ts_kb_line(k, "lo: idx = max(min(jlow - j, %d), 0)", BN);
		ts_kb_line(k, "lo1: int32[] = cast(lo, int32)");
		in = line(k, B, "`and`(%s, %s)", in, line(k, B, "ge(ci, lo1)"));
	}
	return line(k, f->R, "where(%s, %s, -inf)", in, s);
}

/* One tile [BN, cap] of keys or values at j, in the type of the sums. */
static const char *read_tile(One *o, TsKb *k, const Forms *f, const TsReal *r, const TsType *ty, TsDim width)
{
	TsOperand x = ts_at_operand(&o->at, r, ty, true, false);
	const char *at, *p = ts_gpu_operand(k, &x, &at), *n = line(k, ts_kb_type(k, ty->elem, 3, &f->p), "load(%s[%sj:j + %d, 0:%d], valid = [kl, %s])", p, at, BN, o->cap, ts_kb_dim(k, width));
	return ts_kb_cast(k, (TsTileVal){ n, 3, ty->elem }, o->j->at.ct, &f->p).name;
}

/* Each slot's running maximum, sum and weighted values over the keys of the span. */
static void walk(One *o, TsKb *k, const Forms *f)
{
	TsJob *j = o->j;
	ts_kb_line(k, "zm: %s = fill(-inf)", f->R);
	ts_kb_line(k, "zl: %s = fill(0)", f->R);
	ts_kb_line(k, "zo: %s = fill(0)", f->X);
	ts_kb_open(k, "o1, m1, l1 = for j in jb..je step %d with o0 = zo, m0 = zm, l0 = zl", BN);
	ts_kb_line(k, "kl: idx = %s - j", ts_kb_dim(k, j->at.T));
	const char *kx = read_tile(o, k, f, &j->at.key, j->at.kt, j->at.D), *vx = read_tile(o, k, f, &j->at.v, j->at.vt, j->at.E);
	const char *s = line(k, f->R, "reduce(%s, op = \"add\", axis = 1)", line(k, f->X, "mul(%s, qx)", kx));
	if (j->at.bt) s = line(k, f->R, "add(%s, %s)", s, line(k, f->R, "mul(%s, %s)", line(k, f->R, "`add`(zl, %s)", under(o, k, f, &j->at.bias, j->at.bt)), f->scale));
	s = hide(o, k, f, s);
	const char *m = line(k, f->R, "maximum(m0, %s)", s), *none = line(k, ts_kb_type(k, TS_BOOL, 1, &f->p), "eq(%s, -inf)", m), *ms = line(k, f->R, "where(%s, 0.0, %s)", none, m);
	const char *al = line(k, f->R, "%s(%s)", f->exp, line(k, f->R, "sub(m0, %s)", ms)), *e = line(k, f->R, "%s(%s)", f->exp, line(k, f->R, "sub(%s, %s)", s, ms));
	const char *l = line(k, f->R, "fma(l0, %s, %s)", al, e), *old = line(k, f->X, "mul(o0, %s)", line(k, f->X, "bcast(%s, dims = [0])", al));
	/* A key that does not count has no part in the sums, whatever its value. */
	ts_kb_line(k, "yield %s, %s, %s", line(k, f->X, "fma(%s, %s, %s)", vx, line(k, f->X, "bcast(%s, dims = [0])", e), old), m, l);
	ts_kb_close(k, "");
}

/* The slots together: fixed trees over registers, lanes, then warps. */
static void meet(One *o, TsKb *k, const Forms *f, const TsOperand *sums, const TsOperand *stats)
{
	const char *ct = ts_dtype_name(o->j->at.ct), *S = ts_kb_fmt(k, "%s[]", ct), *to = ts_kb_fmt(k, "%s[%d] @Xn", ct, o->cap);
	ts_kb_line(k, "mx: %s = reduce(m1, op = \"max\", axis = 0, via = red[0, 0:%d])", S, WARPS);
	ts_kb_line(k, "ms: %s = where(eq(mx, -inf), 0.0, mx)", S);
	ts_kb_line(k, "w: %s = %s(%s)", f->R, f->exp, line(k, f->R, "sub(m1, ms)"));
	ts_kb_line(k, "lx: %s = reduce(%s, op = \"add\", axis = 0, via = red[1, 0:%d])", S, line(k, f->R, "mul(l1, w)"), WARPS);
	ts_kb_line(k, "ox: %s = reduce(%s, op = \"add\", axis = 0, via = ro)", to, line(k, f->X, "mul(o1, %s)", line(k, f->X, "bcast(w, dims = [0])")));
	ts_kb_line(k, "store(%s, ox, valid = %s)", place(k, sums, "sp", ts_kb_fmt(k, "0:%d", o->cap)), ts_kb_dim(k, o->j->at.E));
	ts_kb_line(k, "store(%s, mx)", place(k, stats, "sp", "0"));
	ts_kb_line(k, "store(%s, lx)", place(k, stats, "sp", "1"));
}

static void open_grid(One *o, TsKb *k, const char *rest, TsDim *cells)
{
	const char *name[TS_MAX_ITER];
	for (uint32_t i = 0; i < o->j->at.nb; i++) {
		name[i] = ts_kb_fmt(k, "b%u", i);
		*cells = ts_dim_mul(k->t->d, *cells, o->j->r.size[i]);
	}
	ts_kb_grid(k, o->j->at.nb, name, o->j->r.size, rest, *rest != 0);
	if (!*rest && !o->j->at.nb) ts_kb_line(k, "grid cell in 0..1");
}

static void write_spans(void *user, TsKb *k, int i, TsChoice *c)
{
	One *o = user;
	TsJob *j = o->j;
	TsDtype ct = j->at.ct;
	TsAtVariant v = { .form = ct == TS_F64 ? TS_AT_FMA : TS_AT_MMA, .bm = 1, .bn = BN };
	int extent[2] = { BN, o->cap };
	Forms f = { .exp = ct == TS_F64 ? "exp" : "exp2", .scale = ct == TS_F64 ? "1.0" : "1.4426950408889634", .p = { .nv = 2, .len = { BN, o->cap } } };
	TsGLayout l = ts_gl_tile(2, 1, extent, o->is_wide[i] ? o->wide.vec : 1, WARPS, 0);
	k->warps = WARPS;
	if (o->is_wide[i]) ts_kb_wide(k, &o->wide);
	o->at = (TsAt){ .j = j, .k = k, .now = &v, .ct = ts_dtype_name(ct) };
	ts_gl_place(k, &l, "X", &f.p);
	f.X = ts_kb_type(k, ct, 3, &f.p);
	f.R = ts_kb_type(k, ct, 1, &f.p);
	ts_kb_line(k, "smem red: %s[2, %d]", o->at.ct, WARPS);
	ts_kb_line(k, "smem ro: %s[%d]", o->at.ct, WARPS * o->cap);
	c->cells = o->spans;
	open_grid(o, k, ts_kb_fmt(k, "sp in 0..%s", ts_kb_dim(k, o->spans)), &c->cells);
	ts_kb_line(k, "qb: idx = 0");
	ts_at_key_range(&o->at);
	ts_at_scale(&o->at);
	ts_kb_line(k, "jb: idx = %d * sp", SPAN);
	ts_kb_line(k, "je: idx = min(jb + %d, jhi)", SPAN);
	const TsAttr *window = ts_attr(k->t->m, j->n, "window");
	if (!window->none) ts_kb_line(k, "jlow: idx = off + 1 - %lld", (long long)(window->i < (int64_t)1 << 40 ? window->i : (int64_t)1 << 40));
	TsOperand q = ts_at_operand(&o->at, &j->at.q, j->at.qt, false, false), sums = partial(o, k, &o->sums, j->at.E), stats = partial(o, k, &o->stats, ts_dim_const(k->t->d, 2));
	const char *at, *p = ts_gpu_operand(k, &q, &at), *row = ts_kb_type(k, j->at.qt->elem, 2, &f.p);
	TsTileVal x = { line(k, row, "load(%s[%s0, 0:%d], valid = %s)", p, at, o->cap, ts_kb_dim(k, j->at.D)), 2, j->at.qt->elem };
	x = ts_kb_cast(k, x, ct, &f.p);
	ts_kb_line(k, "qs: %s = mul(%s, %s)", ts_kb_type(k, ct, 2, &f.p), x.name, ct == TS_F64 ? "sc" : "sl");
	ts_kb_line(k, "qx: %s = bcast(qs, dims = [1])", f.X);
	walk(o, k, &f);
	meet(o, k, &f, &sums, &stats);
	c->guard_lhs = o->guard[i];
	c->label = ts_intern(k->t->cx, o->is_wide[i] ? "one query, wide" : "one query");
	c->tile[0] = 1;
	c->tile[1] = SPAN;
}

/* The spans of a head, one after the other. */
static void write_merge(void *user, TsKb *k, int i, TsChoice *c)
{
	(void)i;
	One *o = user;
	TsJob *j = o->j;
	const char *ct = ts_dtype_name(j->at.ct), *S = ts_kb_fmt(k, "%s[]", ct), *e = j->at.ct == TS_F64 ? "exp" : "exp2";
	int extent[1] = { o->cap };
	TsPlace p = { .nv = 1, .vdim = { (int)j->at.nb + 1 }, .len = { o->cap } };
	k->warps = 2;
	TsGLayout l = ts_gl_tile(1, 0, extent, 1, k->warps, 0);
	ts_gl_place(k, &l, "V", &p);
	const char *V = ts_kb_type(k, j->at.ct, 1, &p);
	c->cells = ts_dim_const(k->t->d, 1);
	open_grid(o, k, "", &c->cells);
	TsOperand sums = partial(o, k, &o->sums, j->at.E), stats = partial(o, k, &o->stats, ts_dim_const(k->t->d, 2));
	ts_kb_line(k, "zo: %s = fill(0)", V);
	ts_kb_line(k, "zm: %s = fill(-inf)", S);
	ts_kb_line(k, "zl: %s = fill(0)", S);
	ts_kb_open(k, "o1, _, l1 = for sp in 0..%s with o0 = zo, m0 = zm, l0 = zl", ts_kb_dim(k, o->spans));
	ts_kb_line(k, "ms: %s = load(%s)", S, place(k, &stats, "sp", "0"));
	ts_kb_line(k, "ls: %s = load(%s)", S, place(k, &stats, "sp", "1"));
	ts_kb_line(k, "os: %s = load(%s, valid = %s)", V, place(k, &sums, "sp", ts_kb_fmt(k, "0:%d", o->cap)), ts_kb_dim(k, j->at.E));
	ts_kb_line(k, "m: %s = maximum(m0, ms)", S);
	ts_kb_line(k, "mz: %s = where(eq(m, -inf), 0.0, m)", S);
	ts_kb_line(k, "a: %s = %s(sub(m0, mz))", S, e);
	ts_kb_line(k, "b: %s = %s(sub(ms, mz))", S, e);
	ts_kb_line(k, "l: %s = fma(l0, a, mul(ls, b))", S);
	ts_kb_line(k, "oa: %s = mul(o0, a)", V);
	ts_kb_line(k, "o: %s = fma(os, b, oa)", V);
	ts_kb_line(k, "yield o, m, l");
	ts_kb_close(k, "");
	ts_kb_line(k, "ln: %s = where(eq(l1, 0.0), 1.0, l1)", S); /* no key: 0 / 1 */
	ts_kb_line(k, "y: %s = div(o1, ln)", V);
	for (uint32_t d = 0; d < j->at.nb; d++) p.base[d] = ts_kb_fmt(k, "b%u", d);
	p.base[j->at.nb] = p.base[j->at.nb + 1] = "0";
	p.valid[0] = ts_kb_dim(k, j->at.E);
	p.anchor = "y";
	p.anchor_mask = 1;
	p.anchor_elem = j->at.ct;
	ts_kb_store(k, &j->r, j->leaf, ts_kb_eval(k, &j->r, j->value, &p, TS_NEW_N(k->t->a, TsTileVal, j->r.nodes.n)), &p);
	c->label = ts_intern(k->t->cx, "spans together");
}

static TsReal work(One *o, TsDim per)
{
	TsTl *t = o->j->t;
	TsDim n = ts_dim_mul(t->d, o->spans, per);
	for (uint32_t i = 0; i < o->j->at.nb; i++) n = ts_dim_mul(t->d, n, o->j->r.size[i]);
	return (TsReal){ .how = TS_REAL_VIEW, .buf = ts_new_buf(t, TS_BUF_WORK, o->j->at.ct, n) };
}

void ts_at_one_query(TsJob *j)
{
	TsTl *t = j->t;
	TsKb none;
	One o = { .j = j, .cap = MOST_HEAD };
	int64_t lo, hi;
	TsDim head = ts_dim_max(t->d, j->at.D, j->at.E), one = ts_dim_const(t->d, 1), span = ts_dim_const(t->d, SPAN);
	ts_kb_init(&none, t, NULL);
	o.at = (TsAt){ .j = j, .k = &none };
	o.spans = ts_dim_max(t->d, ts_dim_cdiv(t->d, j->at.T, span), one);
	for (uint32_t i = j->at.nb; i-- > 0; one = ts_dim_mul(t->d, one, j->r.size[i])) o.batch[i] = one;
	ts_dim_range(t->d, head, &lo, &hi);
	while (o.cap > 64 && hi <= o.cap / 2) o.cap /= 2;
	o.wide.vec = 16 / ts_elem_bytes(j->at.kt->elem);
	const TsReal *r[2] = { &j->at.key, &j->at.v };
	const TsType *ty[2] = { j->at.kt, j->at.vt };
	for (int i = 0; i < 2; i++) {
		TsOperand x = ts_at_operand(&o.at, r[i], ty[i], true, false);
		if (x.stride[1] != ts_dim_const(t->d, 1)) o.wide.vec = 1;
		ts_wide_operand(t, &o.wide, &x, 1);
	}
	TsDim mods = ts_wide_guard(t, &o.wide), over = ts_over(t, head, MOST_HEAD);
	if (o.wide.vec > 1) { o.is_wide[o.n] = true; o.guard[o.n++] = ts_dim_add(t->d, mods, over); }
	if (o.wide.vec == 1 || mods) o.guard[o.n++] = over;
	o.sums = work(&o, j->at.E);
	o.stats = work(&o, ts_dim_const(t->d, 2));
	TsJob spans = *j;
	spans.root = 0;
	ts_gpu_emit(&spans, &(TsVariants){ .name = "attention_span", .write = write_spans, .user = &o, .n = o.n });
	ts_gpu_emit(j, &(TsVariants){ .name = j->name, .write = write_merge, .user = &o, .n = 1 });
}
