/* Attention of one query row for each head: what matters is how fast keys and values are read. A cell takes a span of keys of one head of keys: their
 * sums, maximum and sum of terms go to work buffers, and a second kernel puts the spans of a head together, in order. How keys are
 * divided depends on the sizes alone: see span_keys. Types of 16 bits go through the matrix instruction with the heads of a group as its rows, so that
 * keys and values are read once; others straight into registers, where each slot, one for every key of a step, has a running maximum, sum
 * and weighted values of its own, which meet once, at the end. */
#include "middle/tiler/gpu_attention.h"

enum { BN = 64, WARPS = 8, MANY_WAVES = 4, BLOCK = 4096 /* elements of keys that arrive together */ };

typedef TsAtSpans One;

/* Keys that a step through registers takes: so many that the tiles of keys, values and sums fit into them. */
static int rows_of(const One *o) { return BN * 4 / ts_elem_bytes(o->j->at.ct); }

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
static TsOperand partial(const One *o, TsKb *k, const TsReal *real, TsDim width)
{
	TsDims *d = k->t->d;
	TsOperand x = { .real = *real, .size = { o->n, width }, .stride = { width, ts_dim_const(d, 1) } };
	for (uint32_t i = 0; i < o->j->at.nb; i++)
		x.at[x.n++] = (TsAxisAt){ ts_kb_fmt(k, "b%u", i), o->j->r.size[i], ts_dim_mul(d, o->batch[i], ts_dim_mul(d, o->n, width)) };
	return x;
}

static const char *place(TsKb *k, const TsOperand *x, const char *span, const char *column)
{
	const char *at, *p = ts_gpu_operand(k, x, &at);
	return ts_kb_fmt(k, "%s[%s%s, %s]", p, at, span, column);
}

/* exp(a - b) of scores as the spans keep them: f64's own, in units of log 2 where nothing is added to the scores, else their difference
 * scaled: a bias may be the least finite number, which times log2(e) is none. */
static const char *power(const One *o, TsKb *k, const char *type, const char *a, const char *b)
{
	const char *d = line(k, type, "sub(%s, %s)", a, b);
	if (o->j->at.ct == TS_F64) return line(k, type, "exp(%s)", d);
	return line(k, type, "exp2(%s)", o->j->at.bt ? line(k, type, "mul(%s, 1.4426950408889634)", d) : d);
}

typedef struct { TsPlace p; const char *X, *R; } Forms;

/* Bias or mask under the scores of the keys at j. */
static const char *under(One *o, TsKb *k, const Forms *f, const TsReal *r, const TsType *ty)
{
	TsOperand x = ts_at_operand(&o->at, r, ty, false, false);
	const char *at, *p = ts_gpu_operand(k, &x, &at), *n = ts_kb_tmp(k);
	bool col = x.stride[1] && x.size[1] != ts_dim_const(k->t->d, 1);
	TsTileVal v = { n, col, ty->elem };
	ts_kb_line(k, "%s: %s = load(%s[%s0, %s]%s)", n, ts_kb_type(k, ty->elem, col, &f->p), p, at, col ? ts_kb_fmt(k, "j:j + %d", rows_of(o)) : "0", col ? ", valid = kl" : "");
	return ty->elem == TS_BOOL ? v.name : ts_kb_cast(k, v, o->j->at.ct, &f->p).name;
}

/* Which keys count: those of this span, below jhi, and from jlow on where there is a window. */
static const char *hide(One *o, TsKb *k, const Forms *f, const char *s)
{
	const char *B = ts_kb_type(k, TS_BOOL, 1, &f->p), *I = ts_kb_type(k, TS_INT32, 1, &f->p);
	bool window = !ts_attr(k->t->m, o->j->n, "window")->none;
	if (o->j->at.mt) s = line(k, f->R, "where(%s, %s, -inf)", under(o, k, f, &o->j->at.mask, o->j->at.mt), s);
	ts_kb_line(k, "hi: idx = min(je - j, %d)", rows_of(o));
	ts_kb_line(k, "hi1: int32[] = cast(hi, int32)");
	ts_kb_line(k, "ci: %s = iota(0)", I);
	const char *in = line(k, B, "lt(ci, hi1)");
	if (window) {
		ts_kb_line(k, "lo: idx = max(min(jlow - j, %d), 0)", rows_of(o));
		ts_kb_line(k, "lo1: int32[] = cast(lo, int32)");
		in = line(k, B, "`and`(%s, %s)", in, line(k, B, "ge(ci, lo1)"));
	}
	return line(k, f->R, "where(%s, %s, -inf)", in, s);
}

/* One tile [rows, cap] of keys or values at j, in the type of the sums. */
static const char *read_tile(One *o, TsKb *k, const Forms *f, const TsReal *r, const TsType *ty, TsDim width)
{
	TsOperand x = ts_at_operand(&o->at, r, ty, true, false);
	const char *at, *p = ts_gpu_operand(k, &x, &at), *n = line(k, ts_kb_type(k, ty->elem, 3, &f->p), "load(%s[%sj:j + %d, 0:%d], valid = [kl, %s])", p, at, rows_of(o), o->cap, ts_kb_dim(k, width));
	return ts_kb_cast(k, (TsTileVal){ n, 3, ty->elem }, o->j->at.ct, &f->p).name;
}

/* Each slot's running maximum, sum and weighted values over the keys of the span. */
static void walk(One *o, TsKb *k, const Forms *f)
{
	TsJob *j = o->j;
	ts_kb_line(k, "zm: %s = fill(-inf)", f->R);
	ts_kb_line(k, "zl: %s = fill(0)", f->R);
	ts_kb_line(k, "zo: %s = fill(0)", f->X);
	ts_kb_open(k, "o1, m1, l1 = for j in jb..je step %d with o0 = zo, m0 = zm, l0 = zl", rows_of(o));
	ts_kb_line(k, "kl: idx = %s - j", ts_kb_dim(k, j->at.T));
	const char *kx = read_tile(o, k, f, &j->at.key, j->at.kt, j->at.D), *vx = read_tile(o, k, f, &j->at.v, j->at.vt, j->at.E);
	const char *s = line(k, f->R, "reduce(%s, op = \"add\", axis = 1)", line(k, f->X, "mul(%s, qx)", kx));
	if (j->at.bt) s = line(k, f->R, "add(%s, %s)", s, under(o, k, f, &j->at.bias, j->at.bt));
	s = hide(o, k, f, s);
	const char *m = line(k, f->R, "maximum(m0, %s)", s), *none = line(k, ts_kb_type(k, TS_BOOL, 1, &f->p), "eq(%s, -inf)", m), *ms = line(k, f->R, "where(%s, 0.0, %s)", none, m);
	const char *al = power(o, k, f->R, "m0", ms), *e = power(o, k, f->R, s, ms);
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
	const char *w = power(o, k, f->R, "m1", "ms");
	ts_kb_line(k, "lx: %s = reduce(%s, op = \"add\", axis = 0, via = red[1, 0:%d])", S, line(k, f->R, "mul(l1, %s)", w), WARPS);
	ts_kb_line(k, "ox: %s = reduce(%s, op = \"add\", axis = 0, via = ro)", to, line(k, f->X, "mul(o1, %s)", line(k, f->X, "bcast(%s, dims = [0])", w)));
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

static void write_by_registers(One *o, TsKb *k, bool wide, TsChoice *c)
{
	TsJob *j = o->j;
	TsDtype ct = j->at.ct;
	TsAtVariant v = { .form = ct == TS_F64 ? TS_AT_FMA : TS_AT_MMA, .bm = 1, .bn = rows_of(o) };
	int extent[2] = { rows_of(o), o->cap };
	Forms f = { .p = { .nv = 2, .len = { rows_of(o), o->cap } } };
	TsGLayout l = ts_gl_tile(2, 1, extent, wide ? o->wide.vec : 1, WARPS, 0);
	k->warps = WARPS;
	o->at = (TsAt){ .j = j, .k = k, .now = &v, .ct = ts_dtype_name(ct) };
	ts_gl_place(k, &l, "X", &f.p);
	f.X = ts_kb_type(k, ct, 3, &f.p);
	f.R = ts_kb_type(k, ct, 1, &f.p);
	ts_kb_line(k, "smem red: %s[2, %d]", o->at.ct, WARPS);
	ts_kb_line(k, "smem ro: %s[%d]", o->at.ct, WARPS * o->cap);
	c->cells = o->n;
	open_grid(o, k, ts_kb_fmt(k, "sp in 0..%s", ts_kb_dim(k, o->n)), &c->cells);
	ts_kb_line(k, "qb: idx = 0");
	ts_at_offset(&o->at);
	ts_at_key_range(&o->at);
	ts_at_scale(&o->at);
	ts_kb_line(k, "jb: idx = %s * sp", ts_kb_dim(k, o->keys));
	ts_kb_line(k, "je: idx = min(jb + %s, jhi)", ts_kb_dim(k, o->keys));
	long long n;
	if (ts_at_window(&o->at, &n)) ts_kb_line(k, "jlow: idx = off + 1 - %lld", n);
	TsOperand q = ts_at_operand(&o->at, &j->at.q, j->at.qt, false, false), sums = partial(o, k, &o->sums, j->at.E), stats = partial(o, k, &o->stats, ts_dim_const(k->t->d, 2));
	const char *at, *p = ts_gpu_operand(k, &q, &at), *row = ts_kb_type(k, j->at.qt->elem, 2, &f.p);
	TsTileVal x = { line(k, row, "load(%s[%s0, 0:%d], valid = %s)", p, at, o->cap, ts_kb_dim(k, j->at.D)), 2, j->at.qt->elem };
	x = ts_kb_cast(k, x, ct, &f.p);
	ts_kb_line(k, "qs: %s = mul(%s, %s)", ts_kb_type(k, ct, 2, &f.p), x.name, ts_at_is_log2(&o->at) ? "sl" : "sc");
	ts_kb_line(k, "qx: %s = bcast(qs, dims = [1])", f.X);
	walk(o, k, &f);
	meet(o, k, &f, &sums, &stats);
}

void ts_at_span_grid(TsAt *w, TsChoice *c)
{
	TsKb *k = w->k;
	const One *o = w->spans;
	TsJob *j = w->j;
	const char *name[TS_MAX_ITER];
	long long n;
	c->cells = ts_grid_cells(k->t, o->n, j->at.S, w->now->bm);
	for (uint32_t i = 0; i < j->at.nb; i++) {
		name[i] = ts_kb_fmt(k, "b%u", i);
		c->cells = ts_dim_mul(k->t->d, c->cells, j->r.size[i]);
	}
	ts_kb_grid(k, j->at.nb, name, j->r.size, ts_kb_fmt(k, "u in 0..cdiv(%s, %d), sp in 0..%s", ts_kb_dim(k, j->at.S), w->now->bm, ts_kb_dim(k, o->n)), 2);
	ts_kb_line(k, "qb: idx = %d * u", w->now->bm);
	ts_kb_line(k, "il: idx = %s - qb", ts_kb_dim(k, j->at.S));
	ts_at_offset(w);
	const char *keys = ts_kb_dim(k, o->keys), *T = ts_kb_dim(k, j->at.T);
	ts_kb_line(k, "jb: idx = %s * sp", keys);
	if (ts_attr(k->t->m, j->n, "causal")->i) ts_kb_line(k, "jhi: idx = max(min(min(jb + %s, %s), off + 1), 0)", keys, T);
	else ts_kb_line(k, "jhi: idx = min(jb + %s, %s)", keys, T);
	if (ts_at_window(w, &n)) ts_kb_line(k, "jlo: idx = min(max(off + 1 - %lld, jb) // %d * %d, jb + %s)", n, w->now->bn, w->now->bn, keys);
	else ts_kb_line(k, "jlo: idx = jb");
}

void ts_at_span_store(TsAt *w, const char *o, const char *m, const char *l)
{
	TsKb *k = w->k;
	TsDims *d = k->t->d;
	const One *s = w->spans;
	TsJob *j = w->j;
	TsDim wide[2] = { j->at.E, ts_dim_const(d, 2) };
	const TsReal *real[2] = { &s->sums, &s->stats };
	const char *at[2], *p[2];
	for (int i = 0; i < 2; i++) {
		TsDim head = ts_dim_mul(d, s->n, wide[i]);
		TsOperand x = { .real = *real[i], .size = { j->at.S, wide[i] }, .stride = { head, ts_dim_const(d, 1) } };
		for (uint32_t b = 0; b < j->at.nb; b++) {
			TsDim heads = b + 1 == j->at.nb ? j->at.S : s->batch[b];
			x.at[x.n++] = (TsAxisAt){ ts_kb_fmt(k, "b%u", b), j->r.size[b], ts_dim_mul(d, heads, head) };
		}
		x.at[x.n++] = (TsAxisAt){ "sp", s->n, wide[i] };
		p[i] = ts_gpu_operand(k, &x, &at[i]);
	}
	if (w->fold) m = ts_at_line(w, w->R, "mul(%s, sl)", m); /* in units of log 2 for the step behind it */
	ts_kb_line(k, "lr: %s = reduce(%s, op = \"add\", axis = 1)", w->R, l);
	ts_kb_line(k, "store(%s[%sqb:qb + %d, 0:%d], %s, valid = [il, %s])", p[0], at[0], w->now->bm, w->now->cap, o, ts_kb_dim(k, j->at.E));
	ts_kb_line(k, "store(%s[%sqb:qb + %d, 0], %s, valid = il)", p[1], at[1], w->now->bm, m);
	ts_kb_line(k, "store(%s[%sqb:qb + %d, 1], lr, valid = il)", p[1], at[1], w->now->bm);
}

static void write_spans(void *user, TsKb *k, int i, TsChoice *c)
{
	One *o = user;
	const TsAtSpanForm *f = &o->form[i];
	if (f->wide) ts_kb_wide(k, &o->wide);
	if (f->mma) {
		TsAtVariant v = { .form = TS_AT_MMA, .bm = 16, .bn = BLOCK / f->cap, .cap = f->cap, .warps = 1, .stages = k->t->gpu->entry[TS_GT_ATTENTION_SPANS].stages, .wide = true, .copies = true };
		o->at = (TsAt){ .j = &o->packed, .spans = o, .wide = o->wide };
		ts_at_begin(&o->at, k, &v);
		ts_at_mma(&o->at, c);
	} else {
		o->cap = f->cap;
		write_by_registers(o, k, f->wide, c);
	}
	c->guard_lhs = f->guard;
	c->label = ts_intern(k->t->cx, ts_kb_fmt(k, "one query, head dim <= %d%s", f->cap, f->wide ? ", wide" : ""));
	c->tile[0] = f->mma ? 16 : 1;
	c->tile[1] = f->mma ? o->at.now->bn : rows_of(o);
}

/* Some spans of a head at a time, in order. */
static void put_together(const One *o, TsKb *k, const char *S, const TsPlace *p, bool meet)
{
	const char *X = ts_kb_type(k, o->j->at.ct, 3, p), *R = ts_kb_type(k, o->j->at.ct, 1, p), *V = ts_kb_type(k, o->j->at.ct, 2, p);
	TsOperand sums = partial(o, k, &o->sums, o->j->at.E), stats = partial(o, k, &o->stats, ts_dim_const(k->t->d, 2));
	const char *some = ts_kb_fmt(k, "sp:sp + %d", p->len[0]), *via[3] = { "", "", "" };
	if (meet) via[0] = ts_kb_fmt(k, ", via = red[0, 0:%d]", k->warps), via[1] = ts_kb_fmt(k, ", via = red[1, 0:%d]", k->warps), via[2] = ", via = ro";
	ts_kb_line(k, "zo: %s = fill(0)", V);
	ts_kb_line(k, "zm: %s = fill(-inf)", S);
	ts_kb_line(k, "zl: %s = fill(0)", S);
	ts_kb_open(k, "o1, _, l1 = for sp in 0..%s step %d with o0 = zo, m0 = zm, l0 = zl", ts_kb_dim(k, o->n), p->len[0]);
	ts_kb_line(k, "sl: idx = %s - sp", ts_kb_dim(k, o->n));
	ts_kb_line(k, "ms: %s = load(%s, valid = sl, pad = -inf)", R, place(k, &stats, some, "0"));
	ts_kb_line(k, "ls: %s = load(%s, valid = sl)", R, place(k, &stats, some, "1"));
	ts_kb_line(k, "os: %s = load(%s, valid = [sl, %s])", X, place(k, &sums, some, ts_kb_fmt(k, "0:%d", p->len[1])), ts_kb_dim(k, o->j->at.E));
	ts_kb_line(k, "mx: %s = reduce(ms, op = \"max\", axis = 0%s)", S, via[0]);
	ts_kb_line(k, "m: %s = maximum(m0, mx)", S);
	ts_kb_line(k, "mz: %s = where(eq(m, -inf), 0.0, m)", S);
	const char *a = power(o, k, S, "m0", "mz"), *b = power(o, k, R, "ms", "mz");
	ts_kb_line(k, "lb: %s = mul(ls, %s)", R, b);
	ts_kb_line(k, "lx: %s = reduce(lb, op = \"add\", axis = 0%s)", S, via[1]);
	ts_kb_line(k, "l: %s = fma(l0, %s, lx)", S, a);
	ts_kb_line(k, "bb: %s = bcast(%s, dims = [0])", X, b);
	ts_kb_line(k, "ob: %s = mul(os, bb)", X);
	ts_kb_line(k, "ox: %s = reduce(ob, op = \"add\", axis = 0%s)", V, via[2]);
	ts_kb_line(k, "o: %s = fma(o0, %s, ox)", V, a);
	ts_kb_line(k, "yield o, m, l");
	ts_kb_close(k, "");
}

void ts_at_merge(TsAt *w, TsChoice *c)
{
	TsKb *k = w->k;
	One *o = w->spans;
	TsJob *j = o->j;
	int cap = w->now->cap, spans = w->now->bm, extent[2] = { spans, cap };
	bool meet = spans > TS_AT_SPANS; /* many: they lie over the warps */
	const char *ct = ts_dtype_name(j->at.ct), *S = ts_kb_fmt(k, "%s[]", ct);
	k->warps = w->now->warps;
	TsPlace p = { .nv = 2, .vdim = { -1, (int)j->at.nb + 1 }, .len = { spans, cap } }, out = { .nv = 1, .vdim = { (int)j->at.nb + 1 }, .len = { cap } };
	TsGLayout l = ts_gl_tile(2, 1, extent, cap / TS_LANES / (meet ? 1 : k->warps), k->warps, !meet);
	ts_gl_place(k, &l, "V", &p);
	out.lay[1] = p.lay[2];
	if (meet) ts_kb_line(k, "smem red: %s[2, %d]", ct, k->warps);
	if (meet) ts_kb_line(k, "smem ro: %s[%d]", ct, k->warps * cap);
	c->cells = ts_dim_const(k->t->d, 1);
	open_grid(o, k, "", &c->cells);
	put_together(o, k, S, &p, meet);
	ts_kb_line(k, "ln: %s = where(eq(l1, 0.0), 1.0, l1)", S); /* no key: 0 / 1 */
	bool once = ts_dtype_bits(j->at.qt->elem) == 16; /* one division, as ts_at_value says */
	ts_kb_line(k, "y: %s = %s", ts_kb_type(k, j->at.ct, 1, &out), once ? ts_kb_fmt(k, "mul(o1, %s)", ts_at_inverse(k, S, "ln")) : "div(o1, ln)");
	for (uint32_t d = 0; d < j->at.nb; d++) out.base[d] = ts_kb_fmt(k, "b%u", d);
	out.base[j->at.nb] = out.base[j->at.nb + 1] = "0";
	out.valid[0] = ts_kb_dim(k, j->at.E);
	out.anchor = "y";
	out.anchor_mask = 1;
	out.anchor_elem = j->at.ct;
	ts_kb_store(k, &j->r, j->leaf, ts_kb_eval(k, &j->r, j->value, &out, TS_NEW_N(k->t->a, TsTileVal, j->r.nodes.n)), &out);
}

static TsReal work(One *o, TsDim per)
{
	TsTl *t = o->j->t;
	TsDim n = ts_dim_mul(t->d, o->n, per);
	for (uint32_t i = 0; i < o->j->at.nb; i++) n = ts_dim_mul(t->d, n, o->j->r.size[i]);
	return (TsReal){ .how = TS_REAL_VIEW, .buf = ts_new_buf(t, TS_BUF_WORK, o->j->at.ct, n) };
}

/* A bias or mask for heads of a group as rows. */
static const TsType *pack(One *o, TsReal *r, const TsType *ty)
{
	TsTl *t = o->j->t;
	if (!ty) return NULL;
	TsType *p = TS_NEW(t->a, TsType);
	int row = ty->rank - 2, head = ty->rank - 3;
	TsDim one = ts_dim_const(t->d, 1);
	bool spread = head < 0 || ts_is_one(t, ty->dim[head]) || !r->stride[head];
	*p = *ty;
	if (row >= 0) {
		p->dim[row] = spread ? one : o->packed.at.S;
		r->stride[row] = spread ? 0 : r->stride[head];
	}
	if (!spread) {
		p->dim[head] = o->packed.r.size[o->j->at.nb - 1];
		r->stride[head] = ts_dim_mul(t->d, r->stride[head], o->packed.at.S);
	}
	return p;
}

/* The job whose rows are the heads that share keys. */
static void pack_heads(One *o)
{
	TsJob *j = o->j, *p = &o->packed;
	*p = *j;
	p->at.S = j->at.group;
	p->at.group = ts_dim_const(j->t->d, 1);
	if (j->at.nb) p->r.size[j->at.nb - 1] = j->at.kt->dim[j->at.nb - 1];
	p->at.qt = pack(o, &p->at.q, j->at.qt);
	p->at.mt = pack(o, &p->at.mask, j->at.mt);
	p->at.bt = pack(o, &p->at.bias, j->at.bt);
}

static void choose_forms(One *o)
{
	static const int caps[] = { 64, 128, TS_AT_HEAD };
	TsTl *t = o->j->t;
	TsDtype e = o->j->at.kt->elem;
	int64_t lo, hi;
	TsDim head = ts_dim_max(t->d, o->j->at.D, o->j->at.E), mods;
	TsJob *from = &o->packed;
	const TsReal *r[3] = { &from->at.key, &from->at.v, &from->at.q };
	const TsType *ty[3] = { from->at.kt, from->at.vt, from->at.qt };
	o->wide.vec = 16 / ts_elem_bytes(e);
	o->at = (TsAt){ .j = from, .k = o->at.k };
	for (int i = 0; i < 3; i++) {
		TsOperand x = ts_at_operand(&o->at, r[i], ty[i], i < 2, false);
		if (!ts_is_one(t, x.stride[1])) o->wide.vec = 1;
		ts_wide_operand(t, &o->wide, &x, 1);
	}
	mods = ts_wide_guard(t, &o->wide);
	ts_dim_range(t->d, head, &lo, &hi);
	bool mma = o->wide.vec == 8 && (e == TS_F16 || e == TS_BF16), last = false;
	for (int i = 0; i < 3 && !last; i++) {
		if (i < 2 && lo > caps[i]) continue;
		last = hi <= caps[i] || i == 2;
		TsDim over = ts_over(t, head, caps[i]);
		o->cap = caps[i];
		if (mma || (last && o->wide.vec > 1)) o->form[o->forms++] = (TsAtSpanForm){ .mma = mma, .wide = true, .cap = caps[i], .guard = ts_dim_add(t->d, mods, over) };
		if (last && (!o->forms || o->form[o->forms - 1].guard != over)) o->form[o->forms++] = (TsAtSpanForm){ .cap = caps[i], .guard = ts_dim_mul(t->d, o->is, over) }; /* else the next step tells */
	}
}

/* Keys of a span, whole blocks. As many CTAs as the machine holds at a time: once, where that leaves no span with more than `longest` to twice as many
 * keys, else several times; four times where the heads alone are a good part of so many, for what is left over then is short. Where a row
 * is to have the same bits in any batch: as many keys always. */
static TsDim span_keys(const One *o)
{
	TsTl *t = o->j->t;
	TsDims *d = t->d;
	const TsGpuTuned *g = &t->gpu->entry[TS_GT_ATTENTION_SPANS];
	TsDim one = ts_dim_const(d, 1), heads = one, block = ts_dim_const(d, BN), cells = ts_dim_const(d, g->cells);
	if (ts_batch_invariant(o->j)) return ts_dim_const(d, TS_AT_FEW_KEYS);
	for (uint32_t i = 0; i < o->j->at.nb; i++) heads = ts_dim_mul(d, heads, o->packed.r.size[i]);
	heads = ts_dim_max(d, heads, one);
	TsDim keys = ts_dim_mul(d, heads, o->j->at.T), many = ts_dim_min(d, ts_dim_floordiv(d, ts_dim_mul(d, heads, ts_dim_const(d, MANY_WAVES)), cells), ts_dim_const(d, MANY_WAVES));
	TsDim waves = ts_dim_min(d, many, ts_dim_floordiv(d, keys, ts_dim_const(d, (int64_t)g->cells * TS_AT_FEW_KEYS)));
	waves = ts_dim_max(d, ts_dim_max(d, waves, ts_dim_floordiv(d, keys, ts_dim_const(d, (int64_t)g->cells * g->longest))), one);
	TsDim spans = ts_dim_max(d, ts_dim_floordiv(d, ts_dim_mul(d, waves, cells), heads), one);
	return ts_dim_mul(d, block, ts_dim_max(d, ts_dim_cdiv(d, o->j->at.T, ts_dim_mul(d, spans, block)), ts_dim_const(d, g->shortest / BN)));
}

bool ts_at_spans(TsJob *j, One *o)
{
	TsTl *t = j->t;
	TsDims *d = t->d;
	TsKb none;
	int64_t lo, hi;
	TsDim one = ts_dim_const(d, 1);
	*o = (One){ .j = j };
	ts_dim_range(d, j->at.S, &lo, &hi);
	if (lo > 1 || hi < 1 || ts_dim_le(d, j->at.T, j->at.S) == TS_YES) return false; /* a row that sees itself alone has one key */
	TsDim alone = ts_dim_sub(d, ts_dim_min(d, ts_dim_max(d, ts_dim_sub(d, ts_dim_const(d, 2), j->at.S), 0), one), ts_dim_max(d, ts_dim_sub(d, one, j->at.S), 0));
	o->is = ts_dim_mul(d, alone, ts_dim_min(d, ts_dim_max(d, ts_dim_sub(d, j->at.T, ts_dim_const(d, TS_AT_FEW_KEYS)), 0), one));
	ts_dim_range(d, j->at.T, &lo, &hi);
	if (hi <= TS_AT_FEW_KEYS) return false;
	ts_kb_init(&none, t, NULL);
	o->at.k = &none;
	pack_heads(o);
	o->keys = span_keys(o);
	o->n = ts_dim_mul(d, o->is, ts_dim_cdiv(d, j->at.T, o->keys));
	for (uint32_t i = j->at.nb; i-- > 0; one = ts_dim_mul(d, one, j->r.size[i])) o->batch[i] = one;
	choose_forms(o);
	o->sums = work(o, j->at.E);
	o->stats = work(o, ts_dim_const(d, 2));
	TsJob spans = *j;
	spans.root = 0;
	ts_gpu_emit(&spans, &(TsVariants){ .name = "attention_span", .write = write_spans, .user = o, .n = o->forms, .partial = true });
	return true;
}
