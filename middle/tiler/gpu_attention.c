/* Attention on GPUs: a CTA has a block of query rows of one head and walks the keys in blocks counted from 0, with a running maximum and sum
 * for each row; a row's bits do not depend on its neighbours. A row that sees no key gives 0. Forms differ in how products are made. */
#include "middle/tiler/gpu_attention.h"
#include <string.h>

/* The largest score times log2(e) times the scale is taken off rounded, so what is left of it is no 0: for a scale that is known at run time alone
 * this is safe up to scores of 2^19. A 0, NaN or infinite one has its say before what is hidden is -inf. */
static const double LEAST_FOLDED = 1e-30, MOST_FOLDED = 256;
enum { FEW = 64 /* rows for which a smaller block is enough */, FAR = 1 << 20 /* beyond every distance within a tile */ };

TsOperand ts_at_operand(TsAt *w, const TsReal *r, const TsType *ty, bool kv, bool turn)
{
	TsJob *j = w->j;
	TsTl *t = j->t;
	TsOperand o = { .real = *r };
	for (uint32_t i = 0; i < j->at.nb; i++) {
		int d = (int)i - (int)(j->at.nb - (ty->rank - 2u));
		if (d < 0 || ts_is_one(t, ty->dim[d]) || !r->stride[d]) continue;
		bool grouped = kv && i + 1 == j->at.nb && !ts_is_one(t, j->at.group);
		const char *text = grouped ? ts_kb_fmt(w->k, "b%u // %s", i, ts_kb_dim(w->k, j->at.group)) : ts_kb_fmt(w->k, "b%u", i);
		o.at[o.n++] = (TsAxisAt){ text, ty->dim[d], r->stride[d] };
	}
	for (int i = 0; i < 2; i++) {
		int d = ty->rank - 2 + i; /* a bias may have fewer axes */
		o.size[turn ? 1 - i : i] = d < 0 ? ts_dim_const(t->d, 1) : ty->dim[d];
		o.stride[turn ? 1 - i : i] = d < 0 ? 0 : r->stride[d];
	}
	return o;
}

static bool has_offset(const TsAt *w) { return w->j->at.qoff.how == TS_REAL_VIEW; }
static bool is_causal(const TsAt *w) { return ts_attr(w->k->t->m, w->j->n, "causal")->i; }

bool ts_at_window(const TsAt *w, long long *n)
{
	const TsAttr *a = ts_attr(w->k->t->m, w->j->n, "window");
	*n = !a->none && a->i < (int64_t)1 << 40 ? a->i : (int64_t)1 << 40;
	return !a->none;
}

void ts_at_offset(TsAt *w)
{
	TsKb *k = w->k;
	long long n;
	if (!is_causal(w) && !ts_at_window(w, &n)) return;
	if (!has_offset(w)) {
		ts_kb_line(k, "off: idx = 0");
		return;
	}
	ts_kb_line(k, "oi: idx = cast(%s)", ts_kb_number(k, &w->j->at.qoff, TS_INT64));
	ts_kb_line(k, "off: idx = min(max(oi, -1099511627776), 1099511627776)");
}

void ts_at_key_range(TsAt *w)
{
	TsKb *k = w->k;
	const char *T = ts_kb_dim(k, w->j->at.T);
	long long n;
	if (is_causal(w)) ts_kb_line(k, "jhi: idx = max(min(%s, min(qb + %d, %s) + off), 0)", T, w->now->bm, ts_kb_dim(k, w->j->at.S));
	else ts_kb_line(k, "jhi: idx = %s", T);
	if (ts_at_window(w, &n)) ts_kb_line(k, "jlo: idx = min(max(qb + off - %lld, 0) // %d * %d, jhi)", n - 1, w->now->bn, w->now->bn);
	else ts_kb_line(k, "jlo: idx = 0");
}

bool ts_at_is_exp2(const TsAt *w) { return w->now->form != TS_AT_FMA; }
bool ts_at_has_sign(const TsAt *w) { return w->fold && w->j->at.ft; }
bool ts_at_is_log2(const TsAt *w) { return ts_at_is_exp2(w) && !w->j->at.bt; }

void ts_at_scale(TsAt *w)
{
	TsKb *k = w->k;
	TsJob *j = w->j;
	const TsAttr *s = ts_attr(k->t->m, j->n, "scale");
	const char *own = j->at.ft ? "so" : "sc";
	TsBuf b = { 0 };
	if (s->none) {
		ts_kb_line(k, "hd: %s[] = cast(%s, %s)", w->ct, ts_kb_dim(k, j->at.D), w->ct);
		ts_kb_line(k, "%s: %s[] = rsqrt(hd)", own, w->ct);
	} else {
		ts_buf_f64(&b, s->f);
		ts_kb_line(k, "%s: %s[] = fill(%s)", own, w->ct, b.p);
		ts_buf_free(&b);
	}
	if (j->at.ft) ts_attention_factor(k, "sc", own, &j->at.factor, j->at.ft, j->at.ct);
	if (ts_at_has_sign(w)) {
		const char *all = ts_at_line(w, "f32[]", "mul(sc, 1.4426950408889634)"), *size = ts_at_line(w, "f32[]", "abs(%s)", all);
		const char *least = ts_at_line(w, "bool[]", "ge(%s, %g)", size, LEAST_FOLDED), *most = ts_at_line(w, "bool[]", "le(%s, %g)", size, MOST_FOLDED);
		const char *tame = ts_at_line(w, "bool[]", "`and`(%s, %s)", least, most), *minus = ts_at_line(w, "bool[]", "lt(%s, 0.0)", all);
		ts_kb_line(k, "sl: f32[] = where(%s, %s, 1.0)", tame, size);
		ts_kb_line(k, "sw: f32[] = where(%s, 1.0, %s)", tame, all);
		ts_kb_line(k, "wild: idx = cast(%s)", ts_at_line(w, "int64[]", "where(%s, 0, 1)", tame));
		ts_kb_line(k, "turn: idx = cast(%s)", ts_at_line(w, "int64[]", "where(%s, 1, 0)", ts_at_line(w, "bool[]", "`and`(%s, %s)", tame, minus)));
	} else if (ts_at_is_log2(w)) ts_kb_line(k, "sl: f32[] = mul(sc, 1.4426950408889634)");
}

void ts_at_grid(TsAt *w, TsDim *cells)
{
	TsKb *k = w->k;
	TsJob *j = w->j;
	TsTl *t = k->t;
	*cells = ts_grid_cells(t, ts_dim_const(t->d, 1), j->at.S, w->now->bm);
	const char *name[TS_MAX_ITER];
	for (uint32_t i = 0; i < j->at.nb; i++) {
		name[i] = ts_kb_fmt(k, "b%u", i);
		*cells = ts_dim_mul(t->d, *cells, j->r.size[i]);
	}
	const char *S = ts_kb_dim(k, j->at.S);
	ts_kb_grid(k, j->at.nb, name, j->r.size, ts_kb_fmt(k, "u in 0..cdiv(%s, %d)", S, w->now->bm), 1);
	if (is_causal(w)) ts_kb_line(k, "qb: idx = %d * (cdiv(%s, %d) - 1 - u)", w->now->bm, S, w->now->bm); /* the longest first */
	else ts_kb_line(k, "qb: idx = %d * u", w->now->bm);
	ts_kb_line(k, "il: idx = %s - qb", S);
	ts_at_offset(w);
	ts_at_key_range(w);
	ts_at_place(w, w->now->cap);
}

void ts_at_place(TsAt *w, int columns)
{
	TsKb *k = w->k;
	TsJob *j = w->j;
	for (uint32_t i = 0; i < j->at.nb; i++) w->p.base[i] = ts_kb_fmt(k, "b%u", i);
	w->p.nv = 2;
	w->p.vdim[0] = (int)j->at.nb;
	w->p.vdim[1] = (int)j->at.nb + 1;
	w->p.len[0] = w->now->bm;
	w->p.len[1] = columns;
	w->p.base[j->at.nb] = "qb";
	w->p.base[j->at.nb + 1] = "0";
	w->p.valid[0] = ts_whole(k->t, j->at.S, w->now->bm) ? NULL : "il";
	w->p.valid[1] = ts_kb_dim(k, j->at.E);
}

const char *ts_at_line(TsAt *w, const char *type, const char *fmt, ...)
{
	TsBuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(&b, fmt, ap);
	va_end(ap);
	const char *n = ts_kb_tmp(w->k);
	ts_kb_line(w->k, "%s: %s = %s", n, type, b.p);
	ts_buf_free(&b);
	return n;
}

/* A tile of bias or mask under the scores: [bm, bn], spread where it has one row or one column. */
static const char *under(TsAt *w, const TsReal *r, const TsType *ty, TsDtype to)
{
	TsKb *k = w->k;
	TsTl *t = k->t;
	TsOperand o = ts_at_operand(w, r, ty, false, false);
	bool row = o.stride[0] && !ts_is_one(t, o.size[0]), col = o.stride[1] && !ts_is_one(t, o.size[1]);
	uint32_t mask = (row ? 1u : 0) | (col ? 2u : 0);
	const char *at, *param = ts_gpu_operand(k, &o, &at);
	const char *valid = mask == 3 ? ts_kb_fmt(k, ", valid = [il, %s]", w->kl) : row ? ", valid = il" : col ? ts_kb_fmt(k, ", valid = %s", w->kl) : "";
	TsTileVal x = { ts_kb_tmp(k), mask, ty->elem };
	ts_kb_line(k, "%s: %s = load(%s[%s%s, %s]%s)", x.name, ts_kb_type(k, ty->elem, mask, &w->ps), param, at, row ? ts_kb_fmt(k, "qb:qb + %d", w->now->bm) : "0",
		col ? ts_kb_fmt(k, "%s:%s + %d", w->j0, w->j0, w->now->bn) : "0", valid);
	if (to != TS_BOOL) x = ts_kb_cast(k, x, to, &w->ps);
	x = ts_kb_spread(k, x, 3, &w->ps);
	return x.name;
}

/* int32 of an idx that is kept within a tile's reach. */
static const char *near(TsAt *w, const char *text)
{
	const char *i = ts_at_line(w, "idx", "min(max(%s, -%d), %d)", text, FAR, FAR);
	return ts_at_line(w, "int32[]", "cast(%s, int32)", i);
}

/* Which ends of what a row sees may lie in the block at hand. Blocks walked down from the last one meet the end of the keys in that one alone,
 * and so the diagonal where blocks of queries and of keys are equal. */
typedef struct { bool keys, diagonal, window, always; } Edges;
static Edges edges_of(TsAt *w)
{
	long long n;
	bool causal = is_causal(w), below = w->down && !w->top, square = !has_offset(w) && w->now->bm <= w->now->bn;
	Edges e = { .window = ts_at_window(w, &n), .diagonal = causal && !(below && square) };
	if (w->spans) return (Edges){ .window = e.window, .keys = causal || !ts_whole(w->k->t, w->j->at.T, w->now->bn) };
	e.keys = !below && !ts_whole(w->k->t, w->j->at.T, w->now->bn) && !(causal && !has_offset(w) && w->j->at.S == w->j->at.T); /* a key past the end is past the diagonal */
	e.always = w->down && w->top && causal && square && !e.window;
	return e;
}

/* Scores that the edges hide are -inf. */
static const char *hide(TsAt *w, const char *s, const Edges *e)
{
	TsKb *k = w->k;
	const char *I = ts_kb_type(k, TS_INT32, 3, &w->ps), *B = ts_kb_type(k, TS_BOOL, 3, &w->ps), *in = NULL;
	const char *ci = ts_at_line(w, I, "iota(1)"), *ri = e->diagonal || (e->window && !w->spans) ? ts_at_line(w, I, "iota(0)") : NULL;
	if (e->keys) in = ts_at_line(w, B, "lt(%s, %s)", ci, near(w, w->kl));
	if (e->diagonal) {
		const char *d = ts_at_line(w, B, "le(%s, %s)", ci, ts_at_line(w, I, "add(%s, %s)", ri, near(w, ts_kb_fmt(k, "qb + off - %s", w->j0))));
		in = in ? ts_at_line(w, B, "`and`(%s, %s)", in, d) : d;
	}
	if (e->window) {
		long long n;
		ts_at_window(w, &n);
		const char *lo = near(w, ts_kb_fmt(k, "%soff - %s - %lld", w->spans ? "" : "qb + ", w->j0, n)), *d = ts_at_line(w, B, "gt(%s, %s)", ci, ri ? ts_at_line(w, I, "add(%s, %s)", ri, lo) : lo);
		in = in ? ts_at_line(w, B, "`and`(%s, %s)", in, d) : d;
	}
	return ts_at_line(w, w->X, "where(%s, %s, -inf)", in, s);
}

/* A scale that does not go into the argument of exp. */
static const char *times_wild(TsAt *w, const char *s)
{
	TsKb *k = w->k;
	const char *out = ts_kb_tmp(k);
	ts_kb_open(k, "%s: %s = if wild > 0", out, w->X);
	ts_kb_line(k, "yield %s", ts_at_line(w, w->X, "mul(%s, sw)", s));
	ts_kb_close(k, " else {");
	k->depth++;
	ts_kb_line(k, "yield %s", s);
	ts_kb_close(k, "");
	return out;
}

const char *ts_at_scores(TsAt *w, const char *s)
{
	TsKb *k = w->k;
	TsJob *j = w->j;
	const char *T = w->spans ? "jhi" : ts_kb_dim(k, j->at.T);
	int bm = w->now->bm, bn = w->now->bn;
	w->kl = ts_at_line(w, "idx", "%s - %s", T, w->j0);
	if (j->at.bt) s = ts_at_line(w, w->X, "fma(%s, sc, %s)", s, under(w, &j->at.bias, j->at.bt, j->at.ct));
	else if (!w->fold) s = ts_at_line(w, w->X, "mul(%s, %s)", s, ts_at_is_exp2(w) ? "sl" : "sc");
	else if (ts_at_has_sign(w)) s = times_wild(w, s);
	if (j->at.mt) s = ts_at_line(w, w->X, "where(%s, %s, -inf)", under(w, &j->at.mask, j->at.mt, TS_BOOL), s);
	Edges e = edges_of(w);
	if (!e.keys && !e.diagonal && !e.window) return s;
	if (e.always) return hide(w, s, &e);
	TsBuf edge = { 0 };
	long long n;
	ts_at_window(w, &n);
	if (e.keys) ts_buf_fmt(&edge, "%s + %d > %s", w->j0, bn, T);
	if (e.diagonal) ts_buf_fmt(&edge, "%s%s + %d > qb + off", edge.n ? " or " : "", w->j0, bn - 1);
	if (e.window && w->spans) ts_buf_fmt(&edge, "%s%s <= off - %lld", edge.n ? " or " : "", w->j0, n);
	else if (e.window) ts_buf_fmt(&edge, "%s%s <= qb + %d + off - %lld", edge.n ? " or " : "", w->j0, bm - 1, n);
	const char *out = ts_kb_tmp(k);
	ts_kb_open(k, "%s: %s = if %s", out, w->X, edge.p); /* blocks in the middle have nothing to hide */
	ts_buf_free(&edge);
	ts_kb_line(k, "yield %s", hide(w, s, &e));
	ts_kb_close(k, " else {");
	k->depth++;
	ts_kb_line(k, "yield %s", s);
	ts_kb_close(k, "");
	return out;
}

/* May a row have seen no key yet? Then its maximum is -inf. */
static bool may_see_none(TsAt *w)
{
	long long n;
	return w->j->at.bt || w->j->at.mt || has_offset(w) || ts_at_window(w, &n) || !w->down || (is_causal(w) && w->now->bm > w->now->bn);
}

TsAtSoft ts_at_softmax(TsAt *w, const char *s, const char *m, const char *l)
{
	const char *R = w->R, *f = ts_at_is_exp2(w) ? "exp2" : "exp", *d, *by, *part = w->L == w->R ? "" : ", part = true";
	TsAtSoft o = { 0 };
	o.m = ts_at_line(w, R, "reduce(%s, op = \"max\", axis = 1)", s);
	if (m) o.m = ts_at_line(w, R, "maximum(%s, %s)", m, o.m);
	const char *ms = o.m;
	if (may_see_none(w)) { /* then the argument of exp is -inf, never NaN */
		const char *nokey = ts_at_line(w, ts_kb_type(w->k, TS_BOOL, 1, &w->ps), "eq(%s, -inf)", o.m);
		ms = ts_at_line(w, R, "where(%s, 0.0, %s)", nokey, o.m);
	}
	if (w->fold) {
		by = ts_at_line(w, R, "neg(%s)", ts_at_line(w, R, "mul(%s, sl)", ms));
		d = ts_at_line(w, w->X, "fma(%s, sl, %s)", s, ts_at_line(w, w->X, "bcast(%s, dims = [0])", by));
		if (m) o.al = ts_at_line(w, R, "%s(%s)", f, ts_at_line(w, R, "fma(%s, sl, %s)", m, by));
	} else {
		bool scale = ts_at_is_exp2(w) && !ts_at_is_log2(w); /* the difference: a bias may be the least finite number, which times log2(e) is none */
		d = ts_at_line(w, w->X, "sub(%s, %s)", s, ts_at_line(w, w->X, "bcast(%s, dims = [0])", ms));
		if (scale) d = ts_at_line(w, w->X, "mul(%s, 1.4426950408889634)", d);
		if (m) o.al = ts_at_line(w, R, "sub(%s, %s)", m, ms);
		if (m && scale) o.al = ts_at_line(w, R, "mul(%s, 1.4426950408889634)", o.al);
		if (m) o.al = ts_at_line(w, R, "%s(%s)", f, o.al);
	}
	o.e = ts_at_line(w, w->X, "%s(%s)", f, d);
	o.l = ts_at_line(w, w->L, "reduce(%s, op = \"add\", axis = 1%s)", o.e, part);
	if (l) o.l = ts_at_line(w, w->L, "fma(%s, %s, %s)", l, *part ? ts_at_line(w, w->L, "bcast(%s, dims = [0])", o.al) : o.al, o.l);
	return o;
}

const char *ts_at_inverse(TsKb *k, const char *type, const char *x)
{
	const char *r = ts_kb_tmp(k), *y = ts_kb_tmp(k);
	ts_kb_line(k, "%s: %s = rsqrt(%s)", r, type, x);
	ts_kb_line(k, "%s: %s = mul(%s, %s)", y, type, r, r);
	return y;
}

TsTileVal ts_at_value(TsAt *w, const char *o, const char *l)
{
	if (w->L != w->R) l = ts_at_line(w, w->R, "reduce(%s, op = \"add\", axis = 1)", l);
	const char *nil = ts_at_line(w, ts_kb_type(w->k, TS_BOOL, 1, &w->ps), "eq(%s, 0.0)", l), *n = ts_at_line(w, w->R, "where(%s, 1.0, %s)", nil, l); /* no key: 0 / 1 */
	bool once = w->now->form != TS_AT_FMA; /* one division a row; operands there are 16 bits wide */
	if (once) n = ts_at_inverse(w->k, w->R, n);
	const char *Y = ts_kb_type(w->k, w->j->at.ct, 3, &w->p);
	w->p.anchor = ts_at_line(w, Y, "%s(%s, %s)", once ? "mul" : "div", o, ts_at_line(w, Y, "bcast(%s, dims = [0])", n));
	w->p.anchor_mask = 3;
	w->p.anchor_elem = w->j->at.ct;
	return ts_kb_eval(w->k, &w->j->r, w->j->value, &w->p, TS_NEW_N(w->k->t->a, TsTileVal, w->j->r.nodes.n));
}

int ts_at_columns(TsAt *w, int most)
{
	enum { LEAST = 32, REGISTERS = 255 };
	int registers = w->now->form == TS_AT_WGMMA ? TS_AT_RING_REGISTERS : REGISTERS;
	TsNeeds n = ts_region_needs(w->j->t, &w->j->r, w->j->value, w->j->at.nb, w->j->at.nb + 1);
	return 2 * ts_needs_part(&n, most / 2, LEAST / 2, registers - w->now->cap / 2); /* 64 rows of four warps: half of the columns in each thread */
}

/* All columns of a row group lie in its lanes' registers: parts of them are parts of the registers. */
void ts_at_finish(TsAt *w, const char *o, const char *l)
{
	TsKb *k = w->k;
	TsJob *j = w->j;
	int cap = w->now->cap, cols = w->now->form == TS_AT_MMA ? ts_at_columns(w, cap) : cap;
	if (cols == cap || w->p.len[1] < cap) {
		ts_kb_store(k, &j->r, j->leaf, ts_at_value(w, o, l), &w->p);
		return;
	}
	ts_kb_open(k, "for q in 0..%d", cap / cols);
	ts_kb_line(k, "sync(\"cta\")"); /* so that what the next parts load does not lie in registers before its turn */
	ts_kb_line(k, "oq: %s[%d, %d] @Z = slice(%s, axis = 1, at = %d * q, len = %d)", w->ct, w->now->bm, cols, o, cols, cols);
	ts_kb_line(k, "n0: idx = %d * q", cols);
	ts_kb_line(k, "nl: idx = %s - n0", ts_kb_dim(k, j->at.E));
	w->p.base[j->at.nb + 1] = "n0";
	w->p.valid[1] = "nl";
	memcpy(w->p.lay, w->parts.lay, sizeof w->p.lay);
	w->p.len[1] = cols;
	ts_kb_store(k, &j->r, j->leaf, ts_at_value(w, "oq", l), &w->p);
	ts_kb_close(k, ts_kb_fmt(k, " { unroll = %d }", cap / cols));
}

/* ---- multiply-add, for every type: operands through shared memory in parts ---- */

enum { D_PART = 32, K_PART = 16 };
typedef struct { const char *param, *at, *lay, *smem; TsDtype elem; int rows, width; } Part;

/* [rows, width] of an operand, converted, into its part of shared memory. */
static void fill_part(TsAt *w, const Part *s, const char *r, const char *rl, const char *c, const char *cl)
{
	TsKb *k = w->k;
	const char *x = ts_kb_tmp(k);
	ts_kb_line(k, "%s: %s[%d, %d] @%s = load(%s[%s%s:%s + %d, %s:%s + %d], valid = [%s, %s])", x, ts_dtype_name(s->elem), s->rows, s->width, s->lay, s->param, s->at, r, r, s->rows, c, c, s->width, rl, cl);
	if (s->elem != w->j->at.ct) {
		const char *y = ts_kb_tmp(k);
		ts_kb_line(k, "%s: %s[%d, %d] @%s = cast(%s, %s)", y, w->ct, s->rows, s->width, s->lay, x, w->ct);
		x = y;
	}
	ts_kb_line(k, "put(%s[0:%d, 0:%d], %s)", s->smem, s->rows, s->width, x);
}

static Part part(TsAt *w, const char *name, const TsReal *r, const TsType *ty, bool kv, bool turn, int rows, int width)
{
	TsKb *k = w->k;
	TsOperand o = ts_at_operand(w, r, ty, kv, turn);
	int extent[2] = { rows, width }, fast = ts_operand_fast(k->t, &o), vec = w->now->wide ? w->wide.vec : 1, pad = 16 / ts_elem_bytes(w->j->at.ct);
	while (vec > 1 && vec * w->now->warps * TS_LANES > rows * width) vec /= 2;
	Part s = { .lay = ts_kb_fmt(k, "G%s", name), .smem = ts_kb_fmt(k, "s%s", name), .elem = ty->elem, .rows = rows, .width = width };
	s.param = ts_gpu_operand(k, &o, &s.at);
	if (fast < 0) fast = 1;
	TsGLayout l = ts_gl_tile(2, fast, extent, vec, w->now->warps, 1 - fast);
	ts_gl_print(k, &l, s.lay, 3);
	ts_kb_line(k, "smem %s: %s[%d, %d]", s.smem, w->ct, rows, width + pad);
	return s;
}

static void fma_layout(TsAt *w, const char *name, int cols, TsPlace *p)
{
	int bytes = ts_elem_bytes(w->j->at.ct), vn = 16 / bytes, vm = w->now->bm / 4 / w->now->warps;
	TsGLayout l = { .rank = 2 };
	ts_gl_put(&l, 'r', vn, 1, 1), ts_gl_put(&l, 'r', vm, 1, 0);
	ts_gl_put(&l, 'l', 8, vn, 1), ts_gl_put(&l, 'l', 4, vm, 0);
	ts_gl_put(&l, 'w', w->now->warps, 4 * vm, 0), ts_gl_put(&l, 'r', cols / 8 / vn, 8 * vn, 1);
	ts_gl_place(w->k, &l, name, p);
}

static void multiply(TsAt *w, const char *out, const char *type, const char *acc, int n, const char *a, const char *la, const char *b, const char *lb, int wa, int wb)
{
	TsKb *k = w->k;
	const char *q = ts_kb_tmp(k), *d = ts_kb_tmp(k);
	ts_kb_open(k, "%s: %s = for %s in 0..%d with %s = %s", out, type, q, n, d, acc);
	const char *x = ts_kb_tmp(k), *y = ts_kb_tmp(k);
	ts_kb_line(k, "%s: %s[%d] @%s = get(%s%s, 0:%d])", x, w->ct, wa, la, a, q, wa);
	ts_kb_line(k, "%s: %s[%d] @%s = get(%s%s, 0:%d])", y, w->ct, wb, lb, b, q, wb);
	ts_kb_line(k, "yield %s", ts_at_line(w, type, "mma(%s, %s, %s, atom = \"fma\")", d, x, y));
	ts_kb_close(k, " { unroll = 8 }");
}

void ts_at_fma(TsAt *w, TsChoice *c)
{
	TsKb *k = w->k;
	TsJob *j = w->j;
	int bm = w->now->bm, bn = w->now->bn, cap = w->now->cap;
	const char *D = ts_kb_dim(k, j->at.D), *E = ts_kb_dim(k, j->at.E);
	k->warps = w->now->warps;
	fma_layout(w, "X", bn, &w->ps);
	fma_layout(w, "Y", cap, &w->p);
	Part q = part(w, "q", &j->at.q, j->at.qt, false, true, D_PART, bm), key = part(w, "k", &j->at.key, j->at.kt, true, true, D_PART, bn);
	Part v = part(w, "v", &j->at.v, j->at.vt, true, false, K_PART, cap);
	ts_kb_line(k, "smem sp: %s[%d, %d]", w->ct, bn, bm + 16 / ts_elem_bytes(j->at.ct));
	ts_at_grid(w, &c->cells);
	ts_at_scale(w);
	ts_kb_line(k, "zs: %s = fill(0)", w->X);
	ts_kb_line(k, "zo: %s = fill(0)", w->Y);
	ts_kb_line(k, "zm: %s = fill(-inf)", w->R);
	ts_kb_line(k, "zl: %s = fill(0)", w->R);
	ts_kb_open(k, "o: %s, _, l: %s = for j in jlo..jhi step %d with o0 = zo, m0 = zm, l0 = zl", w->Y, w->R, bn);
	ts_kb_open(k, "s0: %s = for dd in 0..%s step %d with sa = zs", w->X, D, D_PART);
	ts_kb_line(k, "sync(\"cta\")");
	fill_part(w, &q, "dd", ts_kb_fmt(k, "%s - dd", D), "qb", "il");
	fill_part(w, &key, "dd", ts_kb_fmt(k, "%s - dd", D), "j", ts_kb_fmt(k, "%s - j", ts_kb_dim(k, j->at.T)));
	ts_kb_line(k, "sync(\"cta\")");
	multiply(w, "sx", w->X, "sa", D_PART, "sq[", "Xm", "sk[", "Xn", bm, bn);
	ts_kb_line(k, "yield sx");
	ts_kb_close(k, "");
	TsAtSoft soft = ts_at_softmax(w, ts_at_scores(w, "s0"), "m0", "l0");
	ts_kb_line(k, "sync(\"cta\")"); /* the last block's terms are read */
	ts_kb_line(k, "put(sp[0:%d, 0:%d], %s.T)", bn, bm, soft.e);
	ts_kb_line(k, "ab: %s = bcast(%s, dims = [0])", w->Y, soft.al);
	ts_kb_line(k, "o1: %s = mul(o0, ab)", w->Y);
	ts_kb_open(k, "o2: %s = for kc in 0..%d step %d with oa = o1", w->Y, bn, K_PART);
	ts_kb_line(k, "sync(\"cta\")");
	ts_kb_line(k, "jk: idx = j + kc");
	fill_part(w, &v, "jk", ts_kb_fmt(k, "%s - jk", ts_kb_dim(k, j->at.T)), "0", E);
	ts_kb_line(k, "sync(\"cta\")");
	multiply(w, "ox", w->Y, "oa", K_PART, "sp[kc + ", "Xm", "sv[", "Yn", bm, cap);
	ts_kb_line(k, "yield ox");
	ts_kb_close(k, "");
	ts_kb_line(k, "yield o2, %s, %s", soft.m, soft.l);
	ts_kb_close(k, "");
	ts_at_finish(w, "o", "l");
}

/* ---- which variants ---- */

void ts_at_begin(TsAt *w, TsKb *k, const TsAtVariant *v)
{
	w->now = v;
	w->k = k;
	w->ct = ts_dtype_name(w->j->at.ct);
	w->p = w->ps = (TsPlace){ .nv = 2, .len = { v->bm, v->bn } };
	w->X = ts_kb_fmt(k, "%s[%d, %d] @X", w->ct, v->bm, v->bn);
	w->Y = ts_kb_fmt(k, "%s[%d, %d] @Y", w->ct, v->bm, v->cap);
	w->R = ts_kb_fmt(k, "%s[%d] @Xm", w->ct, v->bm);
	w->L = v->form == TS_AT_FMA ? w->R : ts_kb_fmt(k, "%s[%d, 4] @Xp", w->ct, v->bm);
	w->down = w->top = false;
	const TsAttr *scale = ts_attr(k->t->m, w->j->n, "scale");
	w->j0 = "j";
	w->fold = v->form != TS_AT_FMA && !w->j->at.bt && (w->j->at.ft ? !w->j->at.mt : scale->none || scale->f > 0);
}

static void write(void *user, TsKb *k, int i, TsChoice *c)
{
	TsAt *w = user, at;
	const TsAtVariant *v = &w->v[i];
	ts_at_begin(w, k, v);
	at = *w;
	if (v->form != TS_AT_MERGE) at.spans = NULL;
	if (v->wide) ts_kb_wide(k, &w->wide);
	if (v->form == TS_AT_FMA) ts_at_fma(&at, c);
	else if (v->form == TS_AT_MMA) ts_at_mma(&at, c);
	else if (v->form == TS_AT_WGMMA) ts_at_wgmma(&at, c);
	else ts_at_merge(&at, c);
	c->guard_lhs = v->guard;
	c->label = ts_intern(k->t->cx, v->form == TS_AT_MERGE ? "one query, spans together" : ts_kb_fmt(k, "head dim <= %d%s", v->cap, v->wide ? ", wide" : ""));
	c->tile[0] = v->form == TS_AT_MERGE ? 1 : v->bm;
	c->tile[1] = v->form == TS_AT_MERGE ? 0 : v->bn;
}

static TsAtVariant form(TsAt *w, int cap, bool wide)
{
	TsDtype e = w->j->at.qt->elem;
	bool half = e == TS_F16 || e == TS_BF16;
	const TsGpuTuned *g = &w->j->t->gpu->entry[TS_GT_ATTENTION_MMA];
	bool under = w->j->at.bt || w->j->at.mt; /* takes registers, which wide heads read element by element have not */
	if (half && (wide || !under || cap <= 128)) return (TsAtVariant){ .form = TS_AT_MMA, .bm = g->rows, .bn = cap > 128 ? g->keys_256 : g->keys, .cap = cap, .warps = g->rows / 16, .stages = 2, .wide = wide, .copies = wide };
	int bm = w->j->at.ct == TS_F64 ? 32 : 64;
	return (TsAtVariant){ .form = TS_AT_FMA, .bm = bm, .bn = bm, .cap = cap, .warps = 8, .wide = wide };
}

/* Registers of a thread that a block of bn keys takes at once: scores, weights of the block before, result, what lies under the scores. */
static int ring_registers(const TsAt *w, int cap, int bn)
{
	int under = (w->j->at.bt != NULL) + (w->j->at.mt != NULL);
	return bn / 2 + bn / 4 + cap / 2 + under * bn / 2;
}

static TsAtVariant ring_form(TsAt *w, int cap)
{
	enum { ROOM = 200, LEAST = 32 };
	const TsGpuTuned *g = &w->j->t->gpu->entry[TS_GT_ATTENTION_WGMMA];
	int bn = cap <= 128 ? g->keys : g->keys_256;
	while (bn > LEAST && ring_registers(w, cap, bn) > ROOM) bn /= 2;
	return (TsAtVariant){ .form = TS_AT_WGMMA, .bm = 128, .bn = bn, .cap = cap, .warps = 8, .wide = true };
}

/* Putting spans together: a few at a time by the warps that a head needs, or many. */
static void merge_forms(TsAt *w, TsDim head, int64_t lo, int64_t hi)
{
	TsTl *t = w->j->t;
	TsDim no = ts_dim_sub(t->d, ts_dim_const(t->d, 1), w->spans->is), many = ts_over(t, w->spans->n, TS_AT_SPANS);
	int cap = 64;
	for (; cap < TS_AT_HEAD && lo > cap; cap *= 2) continue;
	for (bool last = false; !last; cap *= 2) {
		last = cap == TS_AT_HEAD || hi <= cap;
		TsDim must = last ? no : ts_dim_add(t->d, no, ts_over(t, head, cap));
		w->v[w->n++] = (TsAtVariant){ .form = TS_AT_MERGE, .bm = TS_AT_SPANS, .cap = cap, .warps = cap > 128 ? 2 : 1, .guard = ts_dim_add(t->d, must, many) };
		if (many) w->v[w->n++] = (TsAtVariant){ .form = TS_AT_MERGE, .bm = TS_AT_MANY, .cap = cap, .warps = 8, .guard = must };
	}
}

/* Heads of known size get the columns they need; others one of three, the largest also without wide accesses. */
static void choose(TsAt *w)
{
	static const int caps[] = { 64, 128, TS_AT_HEAD };
	TsTl *t = w->j->t;
	int64_t lo, hi;
	TsDim head = ts_dim_max(t->d, w->j->at.D, w->j->at.E), mods = ts_wide_guard(t, &w->wide);
	bool wide = w->wide.vec == 16 / ts_elem_bytes(w->j->at.qt->elem);
	bool ring = t->target->family == TS_FAMILY_SM90 && wide && w->j->at.qt->elem != TS_F32 && w->j->at.qt->elem != TS_F64 && ts_at_has_maps(w);
	ts_dim_range(t->d, head, &lo, &hi);
	if (w->spans) {
		merge_forms(w, head, lo, hi);
		if (ts_is_one(t, w->spans->is)) return;
	}
	for (int i = 0; i < 3; i++) {
		if (i < 2 && lo > caps[i]) continue;
		bool last = hi <= caps[i] || i == 2;
		TsDim over = ts_over(t, head, caps[i]);
		if (wide && ring) {
			TsDim few = ts_over(t, w->j->at.S, FEW), some = ts_over(t, ts_dim_sub(t->d, ts_dim_const(t->d, 1), w->j->at.T), 0); /* a map has no empty axis */
			int64_t slo, shi;
			ts_dim_range(t->d, w->j->at.S, &slo, &shi);
			if (slo <= FEW) { w->v[w->n] = form(w, caps[i], true); w->v[w->n++].guard = ts_dim_add(t->d, ts_dim_add(t->d, mods, over), few); }
			if (few && shi > FEW) { w->v[w->n] = ring_form(w, caps[i]); w->v[w->n++].guard = ts_dim_add(t->d, ts_dim_add(t->d, mods, over), some); }
		} else if (wide) {
			w->v[w->n] = form(w, caps[i], true);
			w->v[w->n++].guard = ts_dim_add(t->d, mods, over);
		}
		if (last && (!wide || w->v[w->n - 1].guard != over)) { w->v[w->n] = form(w, caps[i], false); w->v[w->n++].guard = over; }
		if (last) return;
	}
}

void ts_gpu_attention(TsJob *j)
{
	TsTl *t = j->t;
	TsKb none;
	ts_kb_init(&none, t, NULL);
	TsAt w = { .j = j, .k = &none };
	TsAtSpans spans;
	if (ts_at_spans(j, &spans)) w.spans = &spans;
	w.wide.vec = 16 / ts_elem_bytes(j->at.qt->elem);
	const TsReal *r[3] = { &j->at.q, &j->at.key, &j->at.v };
	const TsType *ty[3] = { j->at.qt, j->at.kt, j->at.vt };
	for (int i = 0; i < 3; i++) {
		TsOperand o = ts_at_operand(&w, r[i], ty[i], false, false);
		if (!ts_is_one(t, o.stride[1])) w.wide.vec = 1;
		ts_wide_operand(t, &w.wide, &o, 1);
	}
	const TsRNode *leaf = &j->r.nodes.p[j->leaf];
	int64_t c;
	for (uint32_t i = 0; i <= j->at.nb; i++) /* the result's rows, where sizes are open: then it can leave by TMA as well */
		if (!ts_dim_is_const(t->d, leaf->coef[i], &c)) ts_wide_need(t, &w.wide, leaf->coef[i]);
	choose(&w);
	ts_gpu_emit(j, &(TsVariants){ .name = j->name, .write = write, .user = &w, .n = w.n, .partial = true });
}
