/* Attention on the CPU: one cell per block of query rows of one head. Keys come in blocks counted from 0, so a row's bits do not
 * depend on its neighbours: transpose the key block into scratch, scores as outer products, online softmax on the score tile, then
 * P V as outer products into the output tile, which waits in scratch. A row that sees no key gives 0. */
#include "middle/tiler/tiler.h"
#include <string.h>

enum { MAX_HEAD = 512 };

typedef struct {
	TsTl *t;
	TsKb *k;
	const TsNode *n;
	TsRegion r;                 /* iteration dims: batch..., head, query, column of v */
	uint32_t root, leaf;
	TsReal q, key, v, mask, bias, qoff, factor;
	const TsType *qt, *kt, *vt, *mt, *bt, *ft;
	TsDim S, T, D, E, group;    /* group: query heads per key head */
	uint32_t nb;                /* batch dims and the head: rank - 2 */
	TsDtype ct;
	int mr, lanes, regs, cols;  /* score and output tiles: mr x cols */
	int rows, keys;             /* of a cell; of a key block: they decide bits and the grid, so all clones have the same */
	const char *cname;
} Attn;

static const char *tile(Attn *w, const char *lay) { return ts_kb_fmt(w->k, "%s[%d, %d] @%s", w->cname, w->mr, w->cols, lay); }
static const char *rowt(Attn *w) { return ts_kb_fmt(w->k, "%s[%d] @XA", w->cname, w->mr); }

/* A param over (batch..., rows, columns) of a tensor with these strides, rows or columns it lacks being 1; access text for batch indices.
 * Head of k and v is h // group. */
static const char *view(Attn *w, const TsReal *r, const TsType *ty, bool kv, TsBuf *at)
{
	TsDim size[TS_MAX_ITER], stride[TS_MAX_ITER];
	uint32_t rank = 0;
	for (uint32_t i = 0; i < w->nb; i++) {
		int j = (int)i - (int)w->nb + (int)ty->rank - 2;
		int64_t c;
		if (j < 0 || (ts_dim_is_const(w->t->d, ty->dim[j], &c) && c == 1) || !r->stride[j]) continue;
		size[rank] = ty->dim[j];
		stride[rank++] = r->stride[j];
		bool grouped = kv && i + 1 == w->nb && w->group != ts_dim_const(w->t->d, 1);
		if (grouped) ts_buf_fmt(at, "b%u // %s, ", i, ts_kb_dim(w->k, w->group));
		else ts_buf_fmt(at, "b%u, ", i);
	}
	for (uint32_t back = 2; back > 0; back--) {
		TsDim one = ts_dim_const(w->t->d, 1);
		size[rank] = ty->rank >= back ? ty->dim[ty->rank - back] : one;
		stride[rank++] = ty->rank >= back ? r->stride[ty->rank - back] : one;
	}
	return ts_kb_param(w->k, r->buf, r->offset, rank, size, stride);
}

static TsDim axis_stride(const TsReal *r, const TsType *ty, uint32_t back) { return ty->rank >= back ? r->stride[ty->rank - back] : 0; }

/* kt[d, key] = K[j + key, d], keys past T as 0. */
static void transpose_keys(Attn *w)
{
	TsKb *k = w->k;
	TsBuf at = { 0 };
	const char *p = view(w, &w->key, w->kt, true, &at), *et = ts_dtype_name(w->kt->elem);
	ts_kb_open(k, "for d in 0..%s", ts_kb_dim(k, w->D));
	ts_kb_line(k, "kx: %s[%d] @K1 = load(%s[%sj:j + %d, d], valid = tl)", et, w->keys, p, at.p ? at.p : "", w->keys);
	if (w->kt->elem != w->ct) ts_kb_line(k, "kc: %s[%d] @K1 = cast(kx, %s)", w->cname, w->keys, w->cname);
	ts_kb_line(k, "store(kt[d, 0:%d], %s)", w->keys, w->kt->elem != w->ct ? "kc" : "kx");
	ts_kb_close(k, "");
	ts_buf_free(&at);
}

void ts_attention_factor(TsKb *k, const char *to, const char *scale, const TsReal *r, const TsType *ty, TsDtype ct)
{
	TsTileVal x = ts_kb_cast(k, (TsTileVal){ ts_kb_number(k, r, ty->elem), 0, ty->elem }, ct, NULL);
	ts_kb_line(k, "%s: %s[] = mul(%s, %s)", to, ts_dtype_name(ct), scale, x.name);
}

/* Scale, bias, mask, causal and window on the scores of rows i.., keys j + col..; leaves `s`. */
static void shape_scores(Attn *w)
{
	TsKb *k = w->k;
	TsTl *t = w->t;
	const TsAttr *scale = ts_attr(t->m, w->n, "scale"), *causal = ts_attr(t->m, w->n, "causal"), *window = ts_attr(t->m, w->n, "window");
	const char *X = tile(w, "X"), *s = "s0", *own = w->ft ? "so" : "sc";
	int n = 1;
	if (scale->none) {
		ts_kb_line(k, "dd: %s[] = cast(%s, %s)", w->cname, ts_kb_dim(k, w->D), w->cname);
		ts_kb_line(k, "dr: %s[] = sqrt(dd)", w->cname);
		ts_kb_line(k, "%s: %s[] = div(1.0, dr)", own, w->cname);
	} else {
		TsBuf b = { 0 };
		ts_buf_f64(&b, scale->f);
		ts_kb_line(k, "%s: %s[] = fill(%s)", own, w->cname, b.p);
		ts_buf_free(&b);
	}
	if (w->ft) ts_attention_factor(k, "sc", own, &w->factor, w->ft, w->ct);
	ts_kb_line(k, "s%d: %s = mul(%s, sc)", n, X, s);
	const TsReal *extra[2] = { &w->bias, &w->mask };
	const TsType *et[2] = { w->bt, w->mt };
	for (int e = 0; e < 2; e++) {
		if (!et[e]) continue;
		TsBuf at = { 0 };
		const char *p = view(w, extra[e], et[e], false, &at), *dt = ts_dtype_name(et[e]->elem), *x = e ? "mk" : "bs";
		int64_t one;
		bool by_row = axis_stride(extra[e], et[e], 2) && !(ts_dim_is_const(t->d, et[e]->dim[et[e]->rank - 2], &one) && one == 1);
		bool by_col = axis_stride(extra[e], et[e], 1) && !(ts_dim_is_const(t->d, et[e]->dim[et[e]->rank - 1], &one) && one == 1);
		const char *row = by_row ? ts_kb_fmt(k, "i:i + %d", w->mr) : "0", *col = by_col ? ts_kb_fmt(k, "jc:jc + %d", w->cols) : "0";
		const char *type = by_row && by_col ? ts_kb_fmt(k, "%s[%d, %d] @X", dt, w->mr, w->cols) : by_row ? ts_kb_fmt(k, "%s[%d] @XA", dt, w->mr) : by_col ? ts_kb_fmt(k, "%s[%d] @XB", dt, w->cols) : ts_kb_fmt(k, "%s[]", dt);
		const char *valid = by_row && by_col ? ", valid = [il, cl]" : by_row ? ", valid = il" : by_col ? ", valid = cl" : "";
		ts_kb_line(k, "%s0: %s = load(%s[%s%s, %s]%s)", x, type, p, at.p ? at.p : "", row, col, valid);
		const char *val = ts_kb_fmt(k, "%s0", x);
		if (by_row != by_col) {
			ts_kb_line(k, "%s1: %s[%d, %d] @X = bcast(%s, dims = [%d])", x, dt, w->mr, w->cols, val, by_row ? 0 : 1);
			val = ts_kb_fmt(k, "%s1", x);
		}
		if (!e && et[e]->elem != w->ct) {
			ts_kb_line(k, "%s2: %s = cast(%s, %s)", x, by_row || by_col ? X : ts_kb_fmt(k, "%s[]", w->cname), val, w->cname);
			val = ts_kb_fmt(k, "%s2", x);
		}
		if (e) ts_kb_line(k, "s%d: %s = where(%s, s%d, -inf)", n + 1, X, val, n);
		else ts_kb_line(k, "s%d: %s = add(s%d, %s)", n + 1, X, n, val);
		n++;
		ts_buf_free(&at);
	}
	const char *I = ts_kb_fmt(k, "int64[%d, %d] @X", w->mr, w->cols), *B = ts_kb_fmt(k, "bool[%d, %d] @X", w->mr, w->cols);
	ts_kb_line(k, "ci: %s = iota(1)", I);
	ts_kb_line(k, "c0: int64[] = cast(jc, int64)");
	ts_kb_line(k, "cj: %s = add(ci, c0)", I);
	ts_kb_line(k, "te: int64[] = cast(%s, int64)", ts_kb_dim(k, w->T));
	ts_kb_line(k, "kin: %s = lt(cj, te)", B);
	ts_kb_line(k, "s%d: %s = where(kin, s%d, -inf)", n + 1, X, n);
	n++;
	if (causal->i || !window->none) {
		ts_kb_line(k, "ri: %s = iota(0)", I);
		ts_kb_line(k, "r0: int64[] = cast(i + off, int64)");
		ts_kb_line(k, "rj: %s = add(ri, r0)", I);
	}
	if (causal->i) {
		ts_kb_line(k, "ca: %s = le(cj, rj)", B);
		ts_kb_line(k, "s%d: %s = where(ca, s%d, -inf)", n + 1, X, n);
		n++;
	}
	if (!window->none) {
		ts_kb_line(k, "wn: int64[] = cast(%lld, int64)", (long long)window->i);
		ts_kb_line(k, "wl: %s = sub(rj, wn)", I);
		ts_kb_line(k, "wi: %s = gt(cj, wl)", B);
		ts_kb_line(k, "s%d: %s = where(wi, s%d, -inf)", n + 1, X, n);
		n++;
	}
	ts_kb_line(k, "store(sc_s[0:%d, jc - j:jc - j + %d], s%d)", w->mr, w->cols, n);
}

/* Scores of rows i..i + mr against the keys at j, in columns of the register tile, into sc_s; m1 is the new running maximum. */
static void scores(Attn *w)
{
	TsKb *k = w->k;
	TsBuf at = { 0 };
	const char *p = view(w, &w->q, w->qt, false, &at), *qe = ts_dtype_name(w->qt->elem);
	ts_kb_open(k, "mx: %s = for jc in j..j + %d step %d with ma = m0", rowt(w), w->keys, w->cols);
	ts_kb_line(k, "cl: idx = %s - jc", ts_kb_dim(k, w->T));
	ts_kb_line(k, "z: %s = fill(0)", tile(w, "X"));
	ts_kb_open(k, "s0: %s = for d in 0..%s with acc = z", tile(w, "X"), ts_kb_dim(k, w->D));
	ts_kb_line(k, "qv: %s[%d] @XA = load(%s[%si:i + %d, d], valid = il)", qe, w->mr, p, at.p ? at.p : "", w->mr);
	if (w->qt->elem != w->ct) ts_kb_line(k, "qc: %s = cast(qv, %s)", rowt(w), w->cname);
	ts_kb_line(k, "kv: %s[%d] @XB = load(kt[d, jc - j:jc - j + %d])", w->cname, w->cols, w->cols);
	ts_kb_line(k, "a1: %s = mma(acc, %s, kv, atom = \"fma\")", tile(w, "X"), w->qt->elem != w->ct ? "qc" : "qv");
	ts_kb_line(k, "yield a1");
	ts_kb_close(k, " { unroll = 2 }");
	shape_scores(w);
	ts_kb_line(k, "sl: %s = load(sc_s[0:%d, jc - j:jc - j + %d])", tile(w, "X"), w->mr, w->cols);
	ts_kb_line(k, "rm: %s = reduce(sl, op = \"max\", axis = 1)", rowt(w));
	ts_kb_line(k, "mb: %s = maximum(ma, rm)", rowt(w));
	ts_kb_line(k, "yield mb");
	ts_kb_close(k, "");
	ts_buf_free(&at);
}

/* p = exp(s - m) in place, l and the rescale factor al. */
static void softmax(Attn *w)
{
	TsKb *k = w->k;
	const char *R = rowt(w), *X = tile(w, "X");
	ts_kb_line(k, "nokey: bool[%d] @XA = eq(mx, -inf)", w->mr);
	ts_kb_line(k, "ms: %s = where(nokey, 0.0, mx)", R); /* a row without keys: keep exp's argument finite or -inf, never NaN */
	ts_kb_line(k, "dm: %s = sub(m0, ms)", R);
	ts_kb_line(k, "al: %s = exp(dm)", R);
	ts_kb_line(k, "mt: %s = bcast(ms, dims = [0])", X);
	ts_kb_line(k, "lz: %s = mul(l0, al)", R);
	ts_kb_open(k, "l1: %s = for jc in 0..%d step %d with la = lz", R, w->keys, w->cols);
	ts_kb_line(k, "sv: %s = load(sc_s[0:%d, jc:jc + %d])", X, w->mr, w->cols);
	ts_kb_line(k, "sd: %s = sub(sv, mt)", X);
	ts_kb_line(k, "pe: %s = exp(sd)", X);
	ts_kb_line(k, "store(sc_s[0:%d, jc:jc + %d], pe)", w->mr, w->cols);
	ts_kb_line(k, "ps: %s = reduce(pe, op = \"add\", axis = 1)", R);
	ts_kb_line(k, "lb: %s = add(la, ps)", R);
	ts_kb_line(k, "yield lb");
	ts_kb_close(k, "");
	ts_kb_line(k, "store(st_m[i - ib:i - ib + %d], mx)", w->mr);
	ts_kb_line(k, "store(st_l[i - ib:i - ib + %d], l1)", w->mr);
}

/* o = o * al + p v, columns in register tiles. */
static void accumulate(Attn *w)
{
	TsKb *k = w->k;
	TsBuf at = { 0 };
	const char *p = view(w, &w->v, w->vt, true, &at), *ve = ts_dtype_name(w->vt->elem), *X = tile(w, "X");
	ts_kb_line(k, "at: %s = bcast(al, dims = [0])", X);
	ts_kb_line(k, "kn: idx = min(%d, tl)", w->keys);
	ts_kb_open(k, "for e in 0..%s step %d", ts_kb_dim(k, w->E), w->cols);
	ts_kb_line(k, "el: idx = %s - e", ts_kb_dim(k, w->E));
	ts_kb_line(k, "o0: %s = load(st_o[i - ib:i - ib + %d, e:e + %d])", X, w->mr, w->cols);
	ts_kb_line(k, "o1: %s = mul(o0, at)", X);
	ts_kb_open(k, "o2: %s = for kk in 0..kn with oa = o1", X);
	ts_kb_line(k, "pv: %s = load(sc_s[0:%d, kk])", rowt(w), w->mr);
	ts_kb_line(k, "vv: %s[%d] @XB = load(%s[%sj + kk, e:e + %d], valid = el)", ve, w->cols, p, at.p ? at.p : "", w->cols);
	if (w->vt->elem != w->ct) ts_kb_line(k, "vc: %s[%d] @XB = cast(vv, %s)", w->cname, w->cols, w->cname);
	ts_kb_line(k, "ob: %s = mma(oa, pv, %s, atom = \"fma\")", X, w->vt->elem != w->ct ? "vc" : "vv");
	ts_kb_line(k, "yield ob");
	ts_kb_close(k, " { unroll = 2 }");
	ts_kb_line(k, "store(st_o[i - ib:i - ib + %d, e:e + %d], o2)", w->mr, w->cols);
	ts_kb_close(k, "");
	ts_buf_free(&at);
}

static void finish(Attn *w)
{
	TsKb *k = w->k;
	TsPlace p = { .nv = 2, .vdim = { (int)w->nb, (int)w->nb + 1 }, .len = { w->mr, w->cols }, .valid = { "il", "el" }, .lay = { NULL, "XA", "XB", "X" } };
	for (uint32_t i = 0; i < w->nb; i++) p.base[i] = ts_kb_fmt(k, "b%u", i);
	p.base[w->nb] = "i";
	p.base[w->nb + 1] = "e";
	ts_kb_open(k, "for i in ib..ie step %d", w->mr);
	ts_kb_line(k, "il: idx = ie - i");
	ts_kb_line(k, "l: %s = load(st_l[i - ib:i - ib + %d])", rowt(w), w->mr);
	ts_kb_line(k, "nil: bool[%d] @XA = eq(l, 0.0)", w->mr);
	ts_kb_line(k, "ln: %s = where(nil, 1.0, l)", rowt(w)); /* no key: 0 / 1 */
	ts_kb_line(k, "lb: %s = bcast(ln, dims = [0])", tile(w, "X"));
	ts_kb_open(k, "for e in 0..%s step %d", ts_kb_dim(k, w->E), w->cols);
	ts_kb_line(k, "el: idx = %s - e", ts_kb_dim(k, w->E));
	ts_kb_line(k, "o: %s = load(st_o[i - ib:i - ib + %d, e:e + %d])", tile(w, "X"), w->mr, w->cols);
	ts_kb_line(k, "y: %s = div(o, lb)", tile(w, "X"));
	p.anchor = "y";
	p.anchor_mask = 3;
	p.anchor_elem = w->ct;
	TsTileVal *memo = TS_NEW_N(w->t->a, TsTileVal, w->r.nodes.n);
	ts_kb_store(k, &w->r, w->leaf, ts_kb_eval(k, &w->r, w->root, &p, memo), &p);
	ts_kb_close(k, "");
	ts_kb_close(k, "");
}

static void clear_state(Attn *w)
{
	TsKb *k = w->k;
	ts_kb_open(k, "for i in ib..ie step %d", w->mr);
	ts_kb_line(k, "mi: %s = fill(-inf)", rowt(w));
	ts_kb_line(k, "li: %s = fill(0)", rowt(w));
	ts_kb_line(k, "oi: %s = fill(0)", tile(w, "X"));
	ts_kb_line(k, "store(st_m[i - ib:i - ib + %d], mi)", w->mr);
	ts_kb_line(k, "store(st_l[i - ib:i - ib + %d], li)", w->mr);
	ts_kb_open(k, "for e in 0..%s step %d", ts_kb_dim(k, w->E), w->cols);
	ts_kb_line(k, "store(st_o[i - ib:i - ib + %d, e:e + %d], oi)", w->mr, w->cols);
	ts_kb_close(k, "");
	ts_kb_close(k, "");
}

static int64_t head_limit(TsTl *t, TsDim d)
{
	int64_t lo, hi;
	ts_dim_range(t->d, d, &lo, &hi);
	return hi < MAX_HEAD ? hi : MAX_HEAD;
}

/* Keys that some row of this block can see: j from jlo to jhi, whole blocks counted from 0. */
static void key_range(Attn *w)
{
	TsKb *k = w->k;
	TsTl *t = w->t;
	const char *T = ts_kb_dim(k, w->T);
	bool causal = ts_attr(t->m, w->n, "causal")->i, window = !ts_attr(t->m, w->n, "window")->none;
	if (w->qoff.how == TS_REAL_VIEW) {
		ts_kb_line(k, "off: idx = cast(%s)", ts_kb_number(k, &w->qoff, TS_INT64));
	} else if (causal || window) {
		ts_kb_line(k, "off: idx = 0");
	}
	if (causal) ts_kb_line(k, "jhi: idx = max(min(%s, ie + off), 0)", T);
	else ts_kb_line(k, "jhi: idx = %s", T);
	if (window) ts_kb_line(k, "jlo: idx = min(max(ib + off - %lld, 0) // %d * %d, jhi)", (long long)ts_attr(t->m, w->n, "window")->i - 1, w->keys, w->keys);
	else ts_kb_line(k, "jlo: idx = 0");
}

static void write_kernel(Attn *w, TsDim *cells)
{
	TsKb *k = w->k;
	TsTl *t = w->t;
	TsDims *d = t->d;
	const char *name[TS_MAX_ITER];
	int rows = w->rows;
	*cells = ts_dim_cdiv(d, w->S, ts_dim_const(d, rows));
	for (uint32_t i = 0; i < w->nb; i++) {
		name[i] = ts_kb_fmt(k, "b%u", i);
		*cells = ts_dim_mul(d, *cells, w->r.size[i]);
	}
	ts_kb_line(k, "layout X[m, n] = v%d:1n r%d:%dn r%d:1m", w->lanes, w->regs, w->lanes, w->mr);
	ts_kb_line(k, "layout XA[m] = v%d:_ r%d:1m", w->lanes, w->mr);
	ts_kb_line(k, "layout XB[n] = v%d:1n r%d:%dn", w->lanes, w->regs, w->lanes);
	ts_kb_line(k, "layout K1[n] = v16:1n r%d:16n", w->keys / 16);
	ts_kb_grid(k, w->nb, name, w->r.size, ts_kb_fmt(k, "ib in 0..%s step %d", ts_kb_dim(k, w->S), rows), 1);
	ts_kb_line(k, "smem kt: %s[%lld, %d]", w->cname, (long long)head_limit(t, w->D), w->keys);
	ts_kb_line(k, "smem sc_s: %s[%d, %d]", w->cname, w->mr, w->keys);
	ts_kb_line(k, "smem st_m: %s[%d]", w->cname, rows);
	ts_kb_line(k, "smem st_l: %s[%d]", w->cname, rows);
	ts_kb_line(k, "smem st_o: %s[%d, %lld]", w->cname, rows, (long long)(head_limit(t, w->E) + 63) / 64 * 64);
	ts_kb_line(k, "ie: idx = min(ib + %d, %s)", rows, ts_kb_dim(k, w->S));
	key_range(w);
	clear_state(w);
	ts_kb_open(k, "for j in jlo..jhi step %d", w->keys);
	ts_kb_line(k, "tl: idx = %s - j", ts_kb_dim(k, w->T));
	transpose_keys(w);
	ts_kb_open(k, "for i in ib..ie step %d", w->mr);
	ts_kb_line(k, "il: idx = ie - i");
	ts_kb_line(k, "m0: %s = load(st_m[i - ib:i - ib + %d])", rowt(w), w->mr);
	ts_kb_line(k, "l0: %s = load(st_l[i - ib:i - ib + %d])", rowt(w), w->mr);
	scores(w);
	softmax(w);
	accumulate(w);
	ts_kb_close(k, "");
	ts_kb_close(k, "");
	finish(w);
}

static TsReal optional(TsTl *t, const TsNode *n, const char *name, const TsType **ty)
{
	const TsOpInfo *info = ts_op_info(t->cx, n->op);
	for (uint32_t i = 0; i < info->nin && i < n->nin; i++)
		if (!strcmp(info->in[i], name) && n->in[i]) {
			*ty = &ts_val(t->g, n->in[i])->type;
			return ts_materialise(t, n->in[i]);
		}
	*ty = NULL;
	return (TsReal){ 0 };
}

void ts_sched_attention(TsTl *t, TsVal root, TsVal anchor, const TsReal *out)
{
	const TsNode *n = ts_val(t->g, anchor)->def;
	const TsType *ty = &ts_val(t->g, root)->type, *ot;
	TsJob j = { .t = t, .root = root, .n = n, .name = ts_op_info(t->cx, n->op)->name };
	TsIdx idx[TS_MAX_RANK];
	j.at.q = ts_materialise(t, n->in[0]);
	j.at.key = ts_materialise(t, n->in[1]);
	j.at.v = ts_materialise(t, n->in[2]);
	j.at.qt = &ts_val(t->g, n->in[0])->type;
	j.at.kt = &ts_val(t->g, n->in[1])->type;
	j.at.vt = &ts_val(t->g, n->in[2])->type;
	j.at.mask = optional(t, n, "mask", &j.at.mt);
	j.at.bias = optional(t, n, "bias", &j.at.bt);
	j.at.qoff = optional(t, n, "q_offset", &ot);
	j.at.factor = optional(t, n, "factor", &j.at.ft);
	j.at.nb = j.at.qt->rank - 2u;
	j.at.S = j.at.qt->dim[j.at.nb];
	j.at.D = j.at.qt->dim[j.at.nb + 1];
	j.at.T = j.at.kt->dim[j.at.nb];
	j.at.E = j.at.vt->dim[j.at.nb + 1];
	j.at.group = j.at.nb ? ts_dim_floordiv(t->d, j.at.qt->dim[j.at.nb - 1], j.at.kt->dim[j.at.nb - 1]) : ts_dim_const(t->d, 1);
	j.at.ct = j.at.qt->elem == TS_F64 ? TS_F64 : TS_F32;
	ts_region_init(t, &j.r, ty->rank, ty->dim);
	ts_identity_idx(t, 0, ty->rank, idx);
	j.value = ts_region_value(t, &j.r, root, idx, anchor);
	j.leaf = ts_region_leaf(t, &j.r, out, ty, idx);
	ts_write_kernels(&j, TS_CLS_ATTENTION);
}

void ts_cpu_attention(TsJob *j)
{
	static const char *const target[TS_CPU_CLONES] = { "x86-64-v2", "x86-64-v3", "x86-64-v4" };
	TsTl *t = j->t;
	Attn w = { .t = t, .n = j->n, .r = j->r, .root = j->value, .leaf = j->leaf, .q = j->at.q, .key = j->at.key, .v = j->at.v, .mask = j->at.mask, .bias = j->at.bias,
		.qoff = j->at.qoff, .factor = j->at.factor, .ft = j->at.ft, .qt = j->at.qt, .kt = j->at.kt, .vt = j->at.vt, .mt = j->at.mt, .bt = j->at.bt, .S = j->at.S, .T = j->at.T, .D = j->at.D, .E = j->at.E,
		.group = j->at.group, .nb = j->at.nb, .ct = j->at.ct, .cname = ts_dtype_name(j->at.ct) };
	TsKb like;
	TsChoice c = { 0 };
	TsSym text[TS_CPU_CLONES];
	ts_kb_init(&like, t, NULL);
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < TS_CPU_CLONES; i++) {
			TsKb k;
			const int *tune = t->tune->arch[i].entry[w.ct == TS_F64 ? TS_TUNE_ATTENTION_8 : TS_TUNE_ATTENTION_4].v;
			ts_kb_init(&k, t, &like);
			w.k = &k;
			w.mr = tune[TS_TUNE_MR];
			w.lanes = tune[TS_TUNE_LANES];
			w.regs = tune[TS_TUNE_REGS];
			w.rows = tune[TS_TUNE_ROWS];
			w.keys = tune[TS_TUNE_KEYS];
			w.cols = w.lanes * w.regs;
			write_kernel(&w, &c.cells);
			text[i] = ts_kb_finish(&k, target[i]);
			like = k;
		}
	c.kernel = ts_add_kernel(t, "attention", text);
	int64_t most = MAX_HEAD, lo, hi;
	ts_dim_range(t->d, w.D, &lo, &hi);
	if (hi > most) { /* head dims beyond the scratch are refused when sizes are known */
		c.guard_lhs = ts_dim_max(t->d, w.D, w.E);
		c.guard_rhs = ts_dim_const(t->d, most);
	}
	c.label = ts_intern(t->cx, "head dim <= 512");
	c.tile[0] = w.rows;
	c.tile[1] = w.keys;
	ts_emit_step(t, j->root, &like, &w.r, &c, 1);
}
