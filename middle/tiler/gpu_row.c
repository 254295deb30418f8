/* Reductions, softmax and norms on GPUs. A CTA holds a tile [kept, reduced] of the operand. Where the reduced dim runs along memory the
 * lanes lie along it: several rows share a CTA when rows are short, a warp or a whole CTA has one row as rows grow, in registers; longer
 * rows of softmax and norms lie in the shared memory of a CTA or of a cluster's, read once and walked there tile by tile; what does not fit
 * is walked in global memory, each pass reading it again. Otherwise the lanes lie along the kept dim and the warps share the reduced one.
 * Statistics are tiles over the kept dim. Sums are fixed trees: they depend on a row's length alone. */
#include "middle/tiler/gpu_row.h"
#include "ir/tile.h"
#include <string.h>

/* ---- statements on tiles [kept, reduced] and statistics [kept] ---- */
enum { STAT = 1, TILE = 3 };

static const char *word(TsRow *w, TsDtype e, uint32_t mask, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static const char *word(TsRow *w, TsDtype e, uint32_t mask, const char *fmt, ...)
{
	TsBuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(&b, fmt, ap);
	va_end(ap);
	const char *n = ts_kb_tmp(w->k);
	ts_kb_line(w->k, "%s: %s = %s", n, ts_kb_type(w->k, e, mask, &w->p), b.p);
	ts_buf_free(&b);
	return n;
}

static const char *spread(TsRow *w, TsDtype e, const char *stat) { return word(w, e, TILE, "bcast(%s, dims = [0])", stat); }

static const char *number(TsRow *w, double v)
{
	TsBuf b = { 0 };
	ts_buf_f64(&b, v);
	const char *s = ts_kb_fmt(w->k, "%s", b.p);
	ts_buf_free(&b);
	return s;
}

static TsTileVal full(TsRow *w, TsTileVal v)
{
	if (v.mask == TILE) return v;
	if (v.mask) return ts_kb_spread(w->k, v, TILE, &w->p);
	return (TsTileVal){ word(w, v.elem, TILE, "fill(%s)", v.name), TILE, v.elem };
}

/* Which elements of this tile exist, once for each tile; nothing where it is whole. The neighbours of a wide access exist together. */
static void set_inside(TsRow *w)
{
	w->in = NULL;
	if (!w->p.valid[1]) return;
	bool together = w->now->wide && w->along && w->wide.vec > 1 && ts_wide_holds(w->k->t, &w->wide, w->j->r.size[w->rd]);
	const char *lim = ts_kb_tmp(w->k), *at = together ? ts_kb_fmt(w->k, "iota(1, step = %d)", w->wide.vec) : "iota(1)";
	ts_kb_line(w->k, "%s: int32[] = cast(%s, int32)", lim, w->p.valid[1]);
	w->in = word(w, TS_BOOL, TILE, "lt(%s, %s)", word(w, TS_INT32, TILE, "%s", at), lim);
}

/* The tile's place in the row that shared memory holds. */
static const char *held_tile(TsRow *w)
{
	const char *at = ts_kb_fmt(w->k, "%s//%d", w->p.base[w->rd], w->now->cols);
	return ts_kb_fmt(w->k, "row[%s:%s + 1, 0:%d]", at, at, w->now->cols);
}

/* The operand's tile in the type of the sums. */
static const char *operand(TsRow *w)
{
	if (w->single && w->x.name) return w->x.name;
	if (w->now->held) {
		w->x = ts_kb_cast(w->k, (TsTileVal){ word(w, w->kept, TILE, "get(%s)", held_tile(w)), TILE, w->kept }, w->j->row.ct, &w->p);
		return w->x.name;
	}
	TsTileVal *memo = w->single ? w->memo : TS_NEW_N(w->k->t->a, TsTileVal, w->j->r.nodes.n);
	w->p.pad = w->pad;
	TsTileVal x = full(w, ts_kb_cast(w->k, ts_kb_eval(w->k, &w->j->r, w->j->row.x, &w->p, memo), w->j->row.ct, &w->p));
	w->p.pad = NULL;
	w->x = x;
	return x.name;
}

/* Elements that do not exist as `neutral`; nothing to do where they are that already. */
static const char *masked(TsRow *w, const char *x, const char *neutral)
{
	return w->in && !(w->pad && x == w->x.name && !strcmp(w->pad, neutral)) ? word(w, w->j->row.ct, TILE, "where(%s, %s, %s)", w->in, x, neutral) : x;
}

static const char *lowest(TsDtype t) { return ts_dtype_is_float(t) ? "-inf" : t == TS_INT32 ? "-2147483648" : "-9223372036854775808"; }
static const char *highest(TsDtype t) { return ts_dtype_is_float(t) ? "inf" : t == TS_INT32 ? "2147483647" : "9223372036854775807"; }

/* The tree over the reduced axis. */
static const char *fold(TsRow *w, const char *x, const char *op)
{
	const char *n = ts_kb_tmp(w->k), *via = "";
	if (w->across) via = ts_kb_fmt(w->k, ", via = red[%d, 0:%d]", w->exchanges++ % 2, w->now->warps * w->now->ctas * w->now->rows);
	ts_kb_line(w->k, "%s: %s = reduce(%s, op = \"%s\", axis = 1%s)", n, ts_kb_type(w->k, w->j->row.ct, STAT, &w->p), x, op, via);
	return n;
}

/* ---- passes over the reduced dims ---- */

/* One pass: step() gives the carries' next values for the tile at hand. */
typedef struct Pass { uint32_t n; TsDtype elem[2]; uint32_t mask; void (*step)(TsRow *w, struct Pass *ps, const char *const *in, const char **next); const char *stat; } Pass;

static void walk(TsRow *w, Pass *ps, uint32_t dim, const char *const *in, const char **out)
{
	TsKb *k = w->k;
	TsTl *t = k->t;
	const TsRegion *r = &w->j->r;
	if (dim == r->niter) {
		ps->step(w, ps, in, out);
		return;
	}
	bool tile = dim == w->rd;
	if (tile && w->now->cols && !w->now->loop) { /* one tile */
		w->p.base[dim] = "0";
		walk(w, ps, dim + 1, in, out);
		return;
	}
	TsBuf head = { 0 }, with = { 0 };
	const char *inner[2], *next[2], *var = ts_kb_tmp(k), *old = w->p.valid[1], *size = ts_kb_dim(k, r->size[dim]);
	for (uint32_t i = 0; i < ps->n; i++) {
		out[i] = ts_kb_tmp(k);
		inner[i] = ts_kb_tmp(k);
		ts_buf_fmt(&head, "%s%s: %s", i ? ", " : "", out[i], ts_kb_type(k, ps->elem[i], ps->mask, &w->p));
		ts_buf_fmt(&with, "%s%s = %s", i ? ", " : " with ", inner[i], in[i]);
	}
	if (tile && w->part) size = w->hi;
	if (tile) ts_kb_open(k, "%s%sfor %s in %s..%s step %d%s", head.p ? head.p : "", ps->n ? " = " : "", var, w->part ? w->lo : "0", size, w->now->cols, with.p ? with.p : "");
	else ts_kb_open(k, "%s%sfor %s in 0..%s%s", head.p ? head.p : "", ps->n ? " = " : "", var, size, with.p ? with.p : "");
	w->p.base[dim] = var;
	if (tile && !ts_whole(t, r->size[dim], w->now->cols)) {
		w->p.valid[1] = ts_kb_tmp(k);
		ts_kb_line(k, "%s: idx = %s - %s", w->p.valid[1], size, var);
	}
	if (tile) set_inside(w);
	walk(w, ps, dim + 1, inner, next);
	if (ps->n == 1) ts_kb_line(k, "yield %s", next[0]);
	if (ps->n == 2) ts_kb_line(k, "yield %s, %s", next[0], next[1]);
	ts_kb_close(k, "");
	w->p.valid[1] = old;
	ts_buf_free(&head);
	ts_buf_free(&with);
}

static const char *term_sum(TsRow *w, const char *stat) { (void)stat; return masked(w, operand(w), "0"); }
static const char *term_max(TsRow *w, const char *stat) { (void)stat; return masked(w, operand(w), lowest(w->j->row.ct)); }
static const char *term_min(TsRow *w, const char *stat) { (void)stat; return masked(w, operand(w), highest(w->j->row.ct)); }

/* How far from the mean, where there is one. */
static const char *deviation(TsRow *w, const char *stat)
{
	const char *x = operand(w);
	if (stat) x = word(w, w->j->row.ct, TILE, "sub(%s, %s)", x, spread(w, w->j->row.ct, stat));
	return w->pad && !stat ? x : masked(w, x, "0"); /* elements that do not exist came as zeros */
}

static const char *term_square(TsRow *w, const char *stat)
{
	const char *d = deviation(w, stat);
	return word(w, w->j->row.ct, TILE, "mul(%s, %s)", d, d);
}

/* exp(x - m). The difference comes first: times log2(e), elements beyond 2.36e38 would be infinite. */
static const char *power(TsRow *w, const char *x, const char *m)
{
	TsDtype ct = w->j->row.ct;
	const char *d = word(w, ct, TILE, "sub(%s, %s)", x, spread(w, ct, m));
	if (ct != TS_F32) return word(w, ct, TILE, "exp(%s)", d);
	return word(w, ct, TILE, "exp2(%s)", word(w, ct, TILE, "mul(%s, 1.4426950408889634)", d));
}

static const char *term_exp(TsRow *w, const char *stat)
{
	const char *e = power(w, operand(w), stat);
	if (!w->pad) e = masked(w, e, "0"); /* else it is exp(-inf) */
	if (w->single) w->power = e;
	return e;
}

typedef struct { Pass ps; const char *(*term)(TsRow *w, const char *stat); const char *op; } SumPass;

static void step_sum(TsRow *w, Pass *ps, const char *const *in, const char **next)
{
	SumPass *s = (SumPass *)(void *)ps;
	if (s->term == term_square) {
		const char *d = deviation(w, ps->stat);
		next[0] = word(w, w->j->row.ct, TILE, "fma(%s, %s, %s)", d, d, in[0]);
		return;
	}
	next[0] = word(w, w->j->row.ct, TILE, "%s(%s, %s)", s->op, in[0], s->term(w, ps->stat));
}

/* A statistic: the terms of all tiles combined element by element, then one tree. */
static const char *statistic(TsRow *w, const char *(*term)(TsRow *, const char *), const char *op, const char *tree, const char *init, const char *stat)
{
	SumPass s = { { .n = 1, .elem = { w->j->row.ct }, .mask = TILE, .step = step_sum, .stat = stat }, term, op };
	if (w->single) return fold(w, term(w, stat), tree);
	const char *in[2] = { word(w, w->j->row.ct, TILE, "fill(%s)", init) }, *out[2];
	walk(w, &s.ps, w->j->row.split, in, out);
	return fold(w, out[0], tree);
}

/* ---- the largest's place ---- */

/* The larger value wins, at equality the earlier one; the first NaN wins over everything after it. Index: counted over all reduced dims. */
static void step_argmax(TsRow *w, Pass *ps, const char *const *in, const char **next)
{
	(void)ps;
	TsKb *k = w->k;
	TsDtype ct = w->j->row.ct;
	const char *x = masked(w, operand(w), lowest(ct)), *v = ts_kb_tmp(k), *i = ts_kb_tmp(k), *at = ts_kb_tmp(k);
	ts_kb_line(k, "%s: int64[] = cast(%s, int64)", at, ts_kb_count_of(k, &w->j->r, w->p.base, w->j->row.split));
	const char *here = word(w, TS_INT64, TILE, "add(%s, %s)", word(w, TS_INT64, TILE, "iota(1)"), at);
	ts_kb_line(k, "%s: %s, %s: %s = argreduce(%s, %s, op = \"max\", axis = 1)", v, ts_kb_type(k, ct, STAT, &w->p), i, ts_kb_type(k, TS_INT64, STAT, &w->p), x, here);
	const char *take = word(w, TS_BOOL, STAT, "gt(%s, %s)", v, in[0]);
	if (ts_dtype_is_float(ct)) {
		const char *nan = word(w, TS_BOOL, STAT, "ne(%s, %s)", v, v), *seen = word(w, TS_BOOL, STAT, "eq(%s, %s)", in[0], in[0]);
		take = word(w, TS_BOOL, STAT, "`or`(%s, %s)", take, word(w, TS_BOOL, STAT, "`and`(%s, %s)", nan, seen));
	}
	next[0] = word(w, ct, STAT, "where(%s, %s, %s)", take, v, in[0]);
	next[1] = word(w, TS_INT64, STAT, "where(%s, %s, %s)", take, i, in[1]);
}

static const char *argmax(TsRow *w)
{
	Pass ps = { .n = 2, .elem = { w->j->row.ct, TS_INT64 }, .mask = STAT, .step = step_argmax };
	const char *in[2] = { word(w, ps.elem[0], STAT, "fill(%s)", lowest(ps.elem[0])), word(w, TS_INT64, STAT, "fill(0)") }, *out[2];
	walk(w, &ps, w->j->row.split, in, out);
	return out[1];
}

/* ---- whole operators ---- */

static const char *count(TsRow *w)
{
	TsKb *k = w->k;
	const TsRegion *r = &w->j->r;
	const char *n = ts_kb_dim(k, w->count ? w->count : r->size[w->j->row.split]), *c = ts_kb_tmp(k), *e = ts_dtype_name(w->j->row.ct);
	for (uint32_t i = w->j->row.split + 1; i < r->niter && !w->count; i++) n = ts_kb_fmt(k, "%s*%s", n, ts_kb_dim(k, r->size[i]));
	ts_kb_line(k, "%s: %s[] = cast(%s, %s)", c, e, n, e);
	return c;
}

typedef struct { Pass ps; const char *stat[2]; } FinalPass;

static void step_normalise(TsRow *w, Pass *ps, const char *const *in, const char **next)
{
	(void)in, (void)next;
	TsKb *k = w->k;
	TsJob *j = w->j;
	TsDtype ct = j->row.ct;
	FinalPass *f = (FinalPass *)(void *)ps;
	const char *x = operand(w), *y = x;
	TsTileVal *memo = w->single ? w->memo : TS_NEW_N(k->t->a, TsTileVal, j->r.nodes.n);
	bool soft = j->n->op == TS_OP_softmax;
	if (f->stat[0] && !soft) y = word(w, ct, TILE, "sub(%s, %s)", x, spread(w, ct, f->stat[0]));
	if (soft) {
		y = word(w, ct, TILE, "mul(%s, %s)", w->power ? w->power : power(w, x, f->stat[0]), spread(w, ct, f->stat[1]));
	} else {
		const uint32_t node[2] = { j->row.gamma, j->row.beta };
		const char *by[2] = { NULL, NULL };
		y = word(w, ct, TILE, "mul(%s, %s)", y, spread(w, ct, f->stat[1]));
		for (int i = 0; i < 2; i++)
			if (node[i]) by[i] = full(w, ts_kb_cast(k, ts_kb_eval(k, &j->r, node[i], &w->p, memo), ct, &w->p)).name;
		if (by[0] && by[1]) y = word(w, ct, TILE, "fma(%s, %s, %s)", y, by[0], by[1]);
		else if (by[0] || by[1]) y = word(w, ct, TILE, "%s(%s, %s)", by[0] ? "mul" : "add", y, by[0] ? by[0] : by[1]);
	}
	w->p.anchor = y;
	w->p.anchor_mask = TILE;
	w->p.anchor_elem = ct;
	ts_kb_store(k, &j->r, j->leaf, ts_kb_eval(k, &j->r, j->value, &w->p, memo), &w->p);
}

static void write_normalise(TsRow *w)
{
	TsDtype ct = w->j->row.ct;
	FinalPass f = { .ps = { .step = step_normalise } };
	if (w->j->n->op == TS_OP_softmax) {
		f.stat[0] = statistic(w, term_max, "maximum", "max", lowest(ct), NULL);
		f.stat[1] = word(w, ct, STAT, "div(1.0, %s)", statistic(w, term_exp, "add", "add", "0", f.stat[0])); /* one division a row */
	} else {
		const char *e = ts_dtype_name(ct), *each = ts_kb_tmp(w->k), *n = count(w), *eps = number(w, ts_attr(w->k->t->m, w->j->n, "eps")->f);
		ts_kb_line(w->k, "%s: %s[] = div(1.0, %s)", each, e, n); /* while the row is on its way */
		if (w->j->n->op == TS_OP_layer_norm) f.stat[0] = word(w, ct, STAT, "mul(%s, %s)", statistic(w, term_sum, "add", "add", "0", NULL), each);
		const char *var = word(w, ct, STAT, "mul(%s, %s)", statistic(w, term_square, "add", "add", "0", f.stat[0]), each);
		f.stat[1] = word(w, ct, STAT, "rsqrt(%s)", word(w, ct, STAT, "add(%s, %s)", var, eps));
	}
	const char *none[2] = { NULL, NULL }, *out[2];
	walk(w, &f.ps, w->j->row.split, none, out);
}

static void write_reduce(TsRow *w)
{
	TsDtype ct = w->j->row.ct, e = ct;
	TsPlace p;
	const char *s;
	switch (w->j->n->op) {
	case TS_OP_sum: s = statistic(w, term_sum, "add", "add", "0", NULL); break;
	case TS_OP_mean:
		if (w->part) { s = statistic(w, term_sum, "add", "add", "0", NULL); break; }
		s = word(w, ct, STAT, "div(%s, %s)", statistic(w, term_sum, "add", "add", "0", NULL), count(w));
		break;
	case TS_OP_max: s = statistic(w, term_max, "maximum", "max", lowest(ct), NULL); break;
	case TS_OP_min: s = statistic(w, term_min, "minimum", "min", highest(ct), NULL); break;
	default: s = argmax(w); e = TS_INT64;
	}
	p = w->p;
	p.anchor = s;
	p.anchor_mask = STAT;
	p.anchor_elem = e;
	for (uint32_t i = w->j->row.split; i < w->j->r.niter; i++) p.base[i] = "0";
	ts_kb_store(w->k, &w->j->r, w->j->leaf, ts_kb_eval(w->k, &w->j->r, w->j->value, &p, TS_NEW_N(w->k->t->a, TsTileVal, w->j->r.nodes.n)), &p);
}

bool ts_row_is_norm(const TsRow *w) { return ts_op_info(w->j->t->cx, w->j->n->op)->cls == TS_CLS_ROW; }

/* Nothing but the operator on one operand: then a CTA's registers leave room for a second CTA, whose loads hide the first one's sums. */
bool ts_row_is_bare(const TsRow *w)
{
	int tiles = 0;
	for (uint32_t i = 1; i < w->j->r.nodes.n; i++) {
		const TsRNode *d = &w->j->r.nodes.p[i];
		if (d->kind == TS_R_OP) return false;
		tiles += i != w->j->leaf && d->kind == TS_R_LOAD && d->coef[w->kd] && d->coef[w->rd];
	}
	return tiles == 1;
}

/* What the operand's load can give in place of elements that do not exist: the neutral element of the first pass over them. */
static const char *padding(const TsRow *w)
{
	const TsRNode *n = &w->j->r.nodes.p[w->j->row.x];
	TsDtype ct = w->j->row.ct;
	if (n->kind != TS_R_LOAD || !n->coef[w->rd] || (n->elem != ct && n->elem != TS_F16 && n->elem != TS_BF16)) return NULL;
	switch (w->j->n->op) {
	case TS_OP_softmax:
	case TS_OP_max:
	case TS_OP_argmax: return lowest(ct);
	case TS_OP_min: return highest(ct);
	default: return "0";
	}
}

/* ---- a kernel ---- */

static void open_grid(TsRow *w, TsDim *cells)
{
	TsKb *k = w->k;
	TsTl *t = k->t;
	const TsRegion *r = &w->j->r;
	const char *name[TS_MAX_ITER];
	TsDim size[TS_MAX_ITER];
	uint32_t n = 0;
	*cells = ts_dim_const(t->d, 1);
	for (uint32_t i = 0; i < w->j->row.split; i++) {
		w->p.base[i] = ts_kb_fmt(k, "i%u", i);
		*cells = ts_grid_cells(t, *cells, r->size[i], i == w->kd ? w->now->rows : 1);
		if (i == w->kd) continue;
		name[n] = w->p.base[i];
		size[n++] = r->size[i];
	}
	ts_kb_grid(k, n, name, size, ts_kb_fmt(k, "i%u in 0..%s step %d", w->kd, ts_kb_dim(k, r->size[w->kd]), w->now->rows), 1);
	if (ts_whole(t, r->size[w->kd], w->now->rows)) return;
	ts_kb_line(k, "left: idx = %s - i%u", ts_kb_dim(k, r->size[w->kd]), w->kd);
	w->p.valid[0] = "left";
}

/* ---- rows in shared memory ---- */

/* An operand that is memory as it is can be copied without passing registers. */
static bool is_copied(const TsRow *w)
{
	const TsRNode *n = &w->j->r.nodes.p[w->j->row.x];
	return n->kind == TS_R_LOAD && w->now->wide && n->coef[w->kd] && ts_is_one(w->k->t, n->coef[w->rd]) && w->wide.vec * ts_elem_bytes(n->elem) <= 16 && w->wide.vec * ts_elem_bytes(n->elem) >= 4;
}

TsDtype ts_row_kept_type(const TsRow *w)
{
	const TsRNode *n = &w->j->r.nodes.p[w->j->row.x];
	return n->kind == TS_R_LOAD && (n->elem == TS_BF16 || n->elem == TS_F16 || n->elem == w->j->row.ct) ? n->elem : w->j->row.ct;
}

static void step_hold(TsRow *w, Pass *ps, const char *const *in, const char **next)
{
	(void)ps, (void)in, (void)next;
	TsKb *k = w->k;
	const char *to = held_tile(w);
	if (is_copied(w)) {
		ts_kb_line(k, "copy_async(%s, %s, by = X%s)", to, ts_kb_access(k, &w->j->r, w->j->row.x, &w->p), ts_kb_valid(k, TILE, &w->p));
		return;
	}
	w->p.pad = w->pad;
	TsTileVal x = full(w, ts_kb_cast(k, ts_kb_eval(k, &w->j->r, w->j->row.x, &w->p, TS_NEW_N(k->t->a, TsTileVal, w->j->r.nodes.n)), w->kept, &w->p));
	w->p.pad = NULL;
	ts_kb_line(k, "put(%s, %s)", to, x.name);
}

/* Brings the row into shared memory. Each thread reads there what it wrote itself. */
static void hold(TsRow *w)
{
	Pass ps = { .step = step_hold };
	const char *none[2] = { NULL, NULL }, *out[2];
	walk(w, &ps, w->j->row.split, none, out);
	if (!is_copied(w)) return;
	ts_kb_line(w->k, "commit_copy()");
	ts_kb_line(w->k, "wait_copy(0)");
	if (w->pad && strcmp(w->pad, "0")) w->pad = NULL; /* elements that do not exist came as zeros */
}

/* The CTAs of a cluster take turns along the row, before what is left in registers; so do their parts of the row in memory. */
static void share(TsRow *w, TsGLayout *l)
{
	const TsRowForm *v = w->now;
	TsGDigit last = l->d[l->n - 1], mine = { 'c', v->ctas, v->cols / v->ctas, 1 };
	bool rest = last.axis == 'r' && last.stride > 1;
	if (rest) {
		mine.stride = last.stride;
		l->d[l->n - 1] = mine;
		last.stride *= v->ctas;
		l->d[l->n++] = last;
	} else {
		l->d[l->n++] = mine;
	}
	const char *more = rest ? ts_kb_fmt(w->k, " s%d:%dn", last.extent, last.stride) : "";
	ts_kb_line(w->k, "layout H[m, n] = s%d:1n c%d:%dn%s s%d:1m", mine.stride, v->ctas, mine.stride, more, v->held);
}

/* How many CTAs of 32-bit sums an SM shall have room for: their loads hide each other's sums. */
static int residents(const TsRow *w)
{
	const TsRowForm *v = w->now;
	if (!v->wide || !ts_row_is_bare(w) || ts_elem_bytes(w->j->row.ct) > 4) return 1;
	if (v->held) {
		int64_t fit = ts_tile_target(w->k->t->target->tile)->shared_bytes / ((int64_t)v->held * v->cols / v->ctas * ts_elem_bytes(w->kept) + 1024);
		return fit > 4 ? 4 : fit > 1 ? (int)fit : 1;
	}
	if (v->loop) return 1;
	if (ts_elem_bytes(w->kept) > 2) return TS_ROW_WARPS / v->warps; /* what is loaded takes more registers too */
	int n = v->warps == TS_ROW_WARPS ? 2 : v->warps == TS_ROW_WARPS / 2 ? 3 : v->rows < v->warps && v->warps > 2 ? 20 / v->warps : 28 / v->warps;
	bool two = w->j->row.gamma && w->j->row.beta && w->j->t->target->family != TS_FAMILY_SM90; /* both lie in registers too, and there addresses do */
	return two && n > 1 ? n - 1 : n;
}

void ts_row_write(void *user, TsKb *k, int i, TsChoice *c)
{
	TsRow *w = user;
	if (w->parts && i < w->parts->n) { ts_row_write(w->parts, k, i, c); return; }
	if (w->parts) i -= w->parts->n;
	const TsRowForm *v = w->now = &w->v[i];
	const TsRegion *r = &w->j->r;
	bool arg = w->j->n->op == TS_OP_argmax;
	int64_t n;
	w->k = k;
	w->p = (TsPlace){ .nv = 2, .vdim = { (int)w->kd, (int)w->rd }, .len = { v->rows, v->cols } };
	w->exchanges = 0;
	w->x = (TsTileVal){ 0 };
	w->power = NULL;
	w->pad = padding(w);
	w->memo = TS_NEW_N(k->t->a, TsTileVal, r->nodes.n);
	w->single = !v->loop && !arg && r->niter - w->j->row.split == 1;
	k->warps = v->warps;
	w->kept = ts_row_kept_type(w);
	k->ctas = residents(w);
	if (v->wide) ts_kb_wide(k, &w->wide);
	bool warps_on_rows = arg || v->rows >= v->warps;
	if (!w->along) warps_on_rows = arg;
	int part[2] = { v->rows, v->cols / v->ctas };
	TsGLayout l = ts_gl_tile(2, w->along, part, v->wide ? w->wide.vec : 1, v->warps, warps_on_rows ? 0 : 1);
	k->cluster = v->ctas;
	if (v->ctas > 1) share(w, &l);
	w->across = false;
	for (int d = 0; d < l.n; d++) w->across |= l.d[d].axis == 'w' && l.d[d].dim == 1;
	ts_gl_place(k, &l, "X", &w->p);
	if (w->across) ts_kb_line(k, "smem red: %s[2, %d]", ts_dtype_name(w->j->row.ct), v->warps * v->ctas * v->rows);
	if (v->held) ts_kb_line(k, "smem row: %s[%d, %d]%s", ts_dtype_name(w->kept), v->held, v->cols, v->ctas > 1 ? " @H" : "");
	open_grid(w, &c->cells);
	if (w->part) {
		ts_kb_line(k, "lo: idx = i0 * %d", w->span);
		ts_kb_line(k, "hi: idx = min(lo + %d, %s)", w->span, ts_kb_dim(k, r->size[w->rd]));
		w->lo = "lo", w->hi = "hi";
	}
	if (!v->loop && !(ts_dim_is_const(k->t->d, r->size[w->rd], &n) && n == v->cols)) w->p.valid[1] = ts_kb_dim(k, r->size[w->rd]);
	set_inside(w);
	for (uint32_t d = w->j->row.split; d < r->niter; d++) w->p.base[d] = "0";
	if (v->held) hold(w);
	if (ts_row_is_norm(w)) write_normalise(w);
	else write_reduce(w);
	c->guard_lhs = v->guard;
	c->label = ts_intern(k->t->cx, v->label);
	c->tile[0] = v->rows;
	c->tile[1] = v->cols;
}
