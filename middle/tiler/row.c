/* Row kernels: reductions over any axes, softmax and norms, with pointwise work before and after. Iteration dims are the kept ones, then
 * the reduced ones. Where the reduced dim runs along memory it lies across the tile and one cell computes one row; otherwise the last
 * kept dim lies across the tile and the reduced dims are loops. Both forms are the same passes: only where a statistic lies differs. */
#include "middle/tiler/tiler.h"
#include <string.h>

enum { TILE = 64 };

typedef struct {
	TsTl *t;
	TsKb k;
	TsRegion r;
	TsPlace p;
	const TsNode *n;
	uint32_t split;            /* kept dims: [0, split), reduced: [split, niter) */
	bool along;                /* the last reduced dim lies across the tile */
	uint32_t x;                /* region node of the reduced operand */
	const char *count;         /* number of reduced elements, in ct */
	TsDtype ct;                /* type that sums are made in */
} Row;

/* One pass over the reduced dims. Carries start as init[]; step() writes statements for one tile (valid: elements left, or NULL) and
 * gives the carries' new names. Results: names of the final tiles. */
typedef struct Pass { uint32_t n; const char *init[2], *type[2], *out[2]; void (*step)(Row *w, struct Pass *ps, const char *const *in, const char **next, const char *valid); TsTileVal stat[2]; } Pass;

static void inner_step(Row *w, Pass *ps, const char *const *in, const char *valid, bool yields)
{
	const char *next[2];
	w->p.valid[0] = w->along ? valid : w->p.valid[0];
	ps->step(w, ps, in, next, valid);
	if (!ps->n || !yields) return;
	if (ps->n == 1) ts_kb_line(&w->k, "yield %s", next[0]);
	else ts_kb_line(&w->k, "yield %s, %s", next[0], next[1]);
}

/* `a, b = for v in lo..hi step s with a0 = x, b0 = y {`; names[] become the loop's inner names. */
static void open_loop(Row *w, Pass *ps, const char *var, const char *range, const char *const *in, const char **inner, const char **out)
{
	TsKb *k = &w->k;
	TsBuf head = { 0 }, with = { 0 };
	for (uint32_t i = 0; i < ps->n; i++) {
		out[i] = ts_kb_tmp(k);
		inner[i] = ts_kb_tmp(k);
		ts_buf_fmt(&head, "%s%s: %s", i ? ", " : "", out[i], ps->type[i]);
		ts_buf_fmt(&with, "%s%s = %s", i ? ", " : " with ", inner[i], in[i]);
	}
	ts_kb_open(k, "%s%sfor %s in %s%s", ps->n ? head.p : "", ps->n ? " = " : "", var, range, with.p ? with.p : "");
	ts_buf_free(&head);
	ts_buf_free(&with);
}

static void loops(Row *w, Pass *ps, uint32_t dim, const char *const *in, const char **out)
{
	TsKb *k = &w->k;
	const char *inner[2], *size = ts_kb_dim(k, w->r.size[dim]);
	bool last = dim + 1 == w->r.niter;
	const char *var = ts_kb_fmt(k, "%s", ts_kb_tmp(k));
	w->p.base[dim] = var;
	if (!last || !w->along) {
		open_loop(w, ps, var, ts_kb_fmt(k, "0..%s", size), in, inner, out);
		if (last) {
			inner_step(w, ps, inner, NULL, true);
		} else {
			const char *deep[2];
			loops(w, ps, dim + 1, inner, deep);
			if (ps->n == 1) ts_kb_line(k, "yield %s", deep[0]);
			if (ps->n == 2) ts_kb_line(k, "yield %s, %s", deep[0], deep[1]);
		}
		ts_kb_close(k, "");
		return;
	}
	int64_t n;
	bool whole = ts_dim_is_const(w->t->d, w->r.size[dim], &n) && n % TILE == 0;
	const char *full = ts_kb_tmp(k), *mid[2];
	ts_kb_line(k, "%s: idx = %s // %d * %d", full, size, TILE, TILE);
	open_loop(w, ps, var, ts_kb_fmt(k, "0..%s step %d", full, TILE), in, inner, whole ? out : mid);
	inner_step(w, ps, inner, NULL, true);
	ts_kb_close(k, "");
	if (whole) return;
	const char *tail = ts_kb_tmp(k), *left = ts_kb_tmp(k);
	w->p.base[dim] = tail;
	open_loop(w, ps, tail, ts_kb_fmt(k, "%s..%s step %d", full, size, TILE), mid, inner, out);
	ts_kb_line(k, "%s: idx = %s - %s", left, size, tail);
	inner_step(w, ps, inner, left, true);
	ts_kb_close(k, "");
	w->p.valid[0] = NULL;
}

/* The tile type of a running statistic: one value per lane in either form. */
static const char *lane_type(Row *w, TsDtype e) { return ts_kb_type(&w->k, e, 1, &w->p); }

static TsTileVal eval(Row *w, uint32_t id, TsTileVal *memo) { return ts_kb_eval(&w->k, &w->r, id, &w->p, memo); }

static TsTileVal *fresh_memo(Row *w) { return TS_NEW_N(w->t->a, TsTileVal, w->r.nodes.n); }

/* x of this tile as a full tile in type ct, elements past the end replaced by `neutral`. */
static TsTileVal operand(Row *w, const char *valid, const char *neutral)
{
	TsKb *k = &w->k;
	TsTileVal x = ts_kb_cast(k, eval(w, w->x, fresh_memo(w)), w->ct, &w->p);
	if (!x.mask) {
		const char *s = ts_kb_tmp(k);
		ts_kb_line(k, "%s: %s = fill(%s)", s, lane_type(w, w->ct), x.name);
		x = (TsTileVal){ s, 1, w->ct };
	}
	if (!valid || !neutral) return x;
	const char *io = ts_kb_tmp(k), *lim = ts_kb_tmp(k), *in = ts_kb_tmp(k), *m = ts_kb_tmp(k);
	ts_kb_line(k, "%s: %s = iota(0)", io, lane_type(w, TS_INT64));
	ts_kb_line(k, "%s: int64[] = cast(%s, int64)", lim, valid);
	ts_kb_line(k, "%s: %s = lt(%s, %s)", in, lane_type(w, TS_BOOL), io, lim);
	ts_kb_line(k, "%s: %s = where(%s, %s, %s)", m, lane_type(w, w->ct), in, x.name, neutral);
	return (TsTileVal){ m, 1, w->ct };
}

static const char *op2(Row *w, const char *op, TsDtype e, const char *a, const char *b)
{
	const char *t = ts_kb_tmp(&w->k);
	ts_kb_line(&w->k, "%s: %s = %s(%s, %s)", t, lane_type(w, e), op, a, b);
	return t;
}

static const char *op1(Row *w, const char *op, TsDtype e, const char *a)
{
	const char *t = ts_kb_tmp(&w->k);
	ts_kb_line(&w->k, "%s: %s = %s(%s)", t, lane_type(w, e), op, a);
	return t;
}

static const char *filled(Row *w, TsDtype e, const char *v)
{
	const char *t = ts_kb_tmp(&w->k);
	ts_kb_line(&w->k, "%s: %s = fill(%s)", t, lane_type(w, e), v);
	return t;
}

/* ---- the passes' steps ---- */

static void step_sum(Row *w, Pass *ps, const char *const *in, const char **next, const char *valid)
{
	(void)ps;
	next[0] = op2(w, "add", w->ct, in[0], operand(w, valid, w->along ? "0" : NULL).name);
}

static const char *lowest(TsDtype t) { return ts_dtype_is_float(t) ? "-inf" : t == TS_INT32 ? "-2147483648" : t == TS_BOOL ? "false" : "-9223372036854775808"; }
static const char *highest(TsDtype t) { return ts_dtype_is_float(t) ? "inf" : t == TS_INT32 ? "2147483647" : t == TS_BOOL ? "true" : "9223372036854775807"; }

static void step_max(Row *w, Pass *ps, const char *const *in, const char **next, const char *valid)
{
	(void)ps;
	next[0] = op2(w, "maximum", w->ct, in[0], operand(w, valid, w->along ? lowest(w->ct) : NULL).name);
}

static void step_min(Row *w, Pass *ps, const char *const *in, const char **next, const char *valid)
{
	(void)ps;
	next[0] = op2(w, "minimum", w->ct, in[0], operand(w, valid, w->along ? highest(w->ct) : NULL).name);
}

/* The larger value wins, at equality the earlier one; the first NaN wins over everything after it. */
static void step_argmax(Row *w, Pass *ps, const char *const *in, const char **next, const char *valid)
{
	(void)ps;
	TsKb *k = &w->k;
	TsTileVal x = operand(w, valid, w->along ? lowest(w->ct) : NULL);
	const char *at = ts_kb_tmp(k), *take = op2(w, "gt", TS_BOOL, x.name, in[0]);
	if (ts_dtype_is_float(w->ct)) {
		const char *xnan = op2(w, "ne", TS_BOOL, x.name, x.name), *seen = op2(w, "eq", TS_BOOL, in[0], in[0]);
		const char *first = ts_kb_tmp(k), *any = ts_kb_tmp(k);
		ts_kb_line(k, "%s: %s = `and`(%s, %s)", first, lane_type(w, TS_BOOL), xnan, seen);
		ts_kb_line(k, "%s: %s = `or`(%s, %s)", any, lane_type(w, TS_BOOL), take, first);
		take = any;
	}
	ts_kb_line(k, "%s: int64[] = cast(%s, int64)", at, ts_kb_count_of(k, &w->r, w->p.base, w->split));
	const char *here = w->along ? op2(w, "add", TS_INT64, op1(w, "iota", TS_INT64, "0"), at) : filled(w, TS_INT64, at);
	const char *v = ts_kb_tmp(k), *i = ts_kb_tmp(k);
	ts_kb_line(k, "%s: %s = where(%s, %s, %s)", v, lane_type(w, w->ct), take, x.name, in[0]);
	ts_kb_line(k, "%s: %s = where(%s, %s, %s)", i, lane_type(w, TS_INT64), take, here, in[1]);
	next[0] = v;
	next[1] = i;
}

static void step_square_sum(Row *w, Pass *ps, const char *const *in, const char **next, const char *valid)
{
	const char *x = operand(w, ps->stat[0].name ? NULL : valid, w->along ? "0" : NULL).name, *s;
	if (ps->stat[0].name) { /* deviation from the mean; what lies past the end must not count */
		const char *d = op2(w, "sub", w->ct, x, ps->stat[0].name);
		if (valid && w->along) {
			const char *lim = ts_kb_tmp(&w->k), *m = ts_kb_tmp(&w->k), *io = op1(w, "iota", TS_INT64, "0");
			ts_kb_line(&w->k, "%s: int64[] = cast(%s, int64)", lim, valid);
			ts_kb_line(&w->k, "%s: %s = where(%s, %s, 0)", m, lane_type(w, w->ct), op2(w, "lt", TS_BOOL, io, lim), d);
			d = m;
		}
		x = d;
	}
	s = op2(w, "mul", w->ct, x, x);
	next[0] = op2(w, "add", w->ct, in[0], s);
}

static void step_exp_sum(Row *w, Pass *ps, const char *const *in, const char **next, const char *valid)
{
	const char *x = operand(w, valid, w->along ? "-inf" : NULL).name;
	next[0] = op2(w, "add", w->ct, in[0], op1(w, "exp", w->ct, op2(w, "sub", w->ct, x, ps->stat[0].name)));
}

/* Runs a pass with one carry and folds the lanes: a scalar along the row, a tile across. */
static TsTileVal reduce_pass(Row *w, void (*step)(Row *, Pass *, const char *const *, const char **, const char *), const char *init, const char *fold, TsTileVal stat)
{
	Pass ps = { .n = 1, .step = step, .stat = { stat } };
	ps.type[0] = lane_type(w, w->ct);
	const char *in[2] = { filled(w, w->ct, init) }, *out[2];
	loops(w, &ps, w->split, in, out);
	if (!w->along) return (TsTileVal){ out[0], 1, w->ct };
	const char *t = ts_kb_tmp(&w->k);
	ts_kb_line(&w->k, "%s: %s[] = reduce(%s, op = \"%s\")", t, ts_dtype_name(w->ct), out[0], fold);
	return (TsTileVal){ t, 0, w->ct };
}

static TsTileVal stat2(Row *w, const char *op, TsTileVal a, const char *b)
{
	const char *t = ts_kb_tmp(&w->k);
	ts_kb_line(&w->k, "%s: %s = %s(%s, %s)", t, ts_kb_type(&w->k, a.elem, a.mask, &w->p), op, a.name, b);
	return (TsTileVal){ t, a.mask, a.elem };
}

static TsTileVal stat1(Row *w, const char *op, TsTileVal a)
{
	const char *t = ts_kb_tmp(&w->k);
	ts_kb_line(&w->k, "%s: %s = %s(%s)", t, ts_kb_type(&w->k, a.elem, a.mask, &w->p), op, a.name);
	return (TsTileVal){ t, a.mask, a.elem };
}

static const char *literal(Row *w, double v)
{
	TsBuf b = { 0 };
	ts_buf_f64(&b, v);
	const char *s = ts_kb_fmt(&w->k, "%s", b.p);
	ts_buf_free(&b);
	return s;
}

/* Number of reduced elements as a scalar of type ct. */
static const char *reduced_count(Row *w)
{
	TsKb *k = &w->k;
	const char *n = ts_kb_dim(k, w->r.size[w->split]), *t = ts_kb_tmp(k);
	for (uint32_t i = w->split + 1; i < w->r.niter; i++) n = ts_kb_fmt(k, "%s*%s", n, ts_kb_dim(k, w->r.size[i]));
	ts_kb_line(k, "%s: %s[] = cast(%s, %s)", t, ts_dtype_name(w->ct), n, ts_dtype_name(w->ct));
	return t;
}

/* ---- a whole operator ---- */

typedef struct { uint32_t out, leaf, gamma, beta; } Roots;
typedef struct { Roots roots; TsTileVal stat[2]; } Final;
typedef struct { Pass ps; Final *f; } FinalPass;

static void step_normalise(Row *w, Pass *ps, const char *const *in, const char **next, const char *valid)
{
	(void)in; (void)next; (void)valid;
	Final *f = ((FinalPass *)(void *)ps)->f;
	TsTileVal *memo = fresh_memo(w);
	TsKb *k = &w->k;
	TsTileVal x = ts_kb_cast(k, eval(w, w->x, memo), w->ct, &w->p);
	if (!x.mask) x = (TsTileVal){ filled(w, w->ct, x.name), 1, w->ct };
	const char *y;
	if (w->n->op == TS_OP_softmax) {
		y = op2(w, "div", w->ct, op1(w, "exp", w->ct, op2(w, "sub", w->ct, x.name, f->stat[0].name)), f->stat[1].name);
	} else {
		y = w->n->op == TS_OP_layer_norm ? op2(w, "sub", w->ct, x.name, f->stat[0].name) : x.name;
		y = op2(w, "mul", w->ct, y, f->stat[1].name);
		if (f->roots.gamma) y = op2(w, "mul", w->ct, y, ts_kb_cast(k, eval(w, f->roots.gamma, memo), w->ct, &w->p).name);
		if (f->roots.beta) y = op2(w, "add", w->ct, y, ts_kb_cast(k, eval(w, f->roots.beta, memo), w->ct, &w->p).name);
	}
	w->p.anchor = y;
	w->p.anchor_mask = 1;
	w->p.anchor_elem = w->ct;
	ts_kb_store(k, &w->r, f->roots.leaf, eval(w, f->roots.out, memo), &w->p);
}

static void write_normalise(Row *w, const Roots *roots)
{
	Final f = { .roots = *roots };
	if (w->n->op == TS_OP_softmax) {
		f.stat[0] = reduce_pass(w, step_max, "-inf", "max", (TsTileVal){ 0 });
		f.stat[1] = reduce_pass(w, step_exp_sum, "0", "add", f.stat[0]);
	} else {
		const char *n = reduced_count(w), *eps = literal(w, ts_attr(w->t->m, w->n, "eps")->f);
		TsTileVal none = { 0 };
		if (w->n->op == TS_OP_layer_norm) f.stat[0] = stat2(w, "div", reduce_pass(w, step_sum, "0", "add", none), n);
		TsTileVal var = stat2(w, "div", reduce_pass(w, step_square_sum, "0", "add", f.stat[0]), n);
		f.stat[1] = stat1(w, "rsqrt", stat2(w, "add", var, eps));
	}
	FinalPass fp = { .ps = { .n = 0, .step = step_normalise }, .f = &f };
	loops(w, &fp.ps, w->split, NULL, NULL);
}

static void write_reduce(Row *w, const Roots *roots)
{
	TsTileVal s, none = { 0 };
	TsKb *k = &w->k;
	switch (w->n->op) {
	case TS_OP_sum: s = reduce_pass(w, step_sum, "0", "add", none); break;
	case TS_OP_mean: s = reduce_pass(w, step_sum, "0", "add", none); s = stat2(w, "div", s, reduced_count(w)); break;
	case TS_OP_max: s = reduce_pass(w, step_max, lowest(w->ct), "max", none); break;
	case TS_OP_min: s = reduce_pass(w, step_min, highest(w->ct), "min", none); break;
	default: { /* argmax */
		Pass ps = { .n = 2, .step = step_argmax };
		ps.type[0] = lane_type(w, w->ct);
		ps.type[1] = lane_type(w, TS_INT64);
		const char *in[2] = { filled(w, w->ct, lowest(w->ct)), w->along ? op1(w, "iota", TS_INT64, "0") : filled(w, TS_INT64, "0") }, *out[2];
		loops(w, &ps, w->split, in, out);
		s = (TsTileVal){ out[1], 1, TS_INT64 };
		if (w->along) {
			const char *v = ts_kb_tmp(k), *i = ts_kb_tmp(k);
			ts_kb_line(k, "%s: %s[], %s: int64[] = argreduce(%s, %s, op = \"max\", axis = 0)", v, ts_dtype_name(w->ct), i, out[0], out[1]);
			s = (TsTileVal){ i, 0, TS_INT64 };
		}
	}
	}
	TsPlace one = w->p; /* the result: a scalar along the row, a tile across */
	one.anchor = s.name;
	one.anchor_mask = s.mask;
	one.anchor_elem = s.elem;
	one.nv = w->along ? 0 : 1;
	for (uint32_t i = w->split; i < w->r.niter; i++) one.base[i] = "0";
	ts_kb_store(k, &w->r, roots->leaf, ts_kb_eval(k, &w->r, roots->out, &one, fresh_memo(w)), &one);
}

/* Does some load of the region move by one element along dim? */
static bool runs_along(TsTl *t, const TsRegion *r, uint32_t dim)
{
	for (uint32_t i = 1; i < r->nodes.n; i++)
		if (r->nodes.p[i].kind == TS_R_LOAD && r->nodes.p[i].coef[dim] == ts_dim_const(t->d, 1)) return true;
	return false;
}

static void write_kernel(Row *w, const Roots *roots, TsDim *cells)
{
	TsTl *t = w->t;
	TsKb *k = &w->k;
	TsRegion *r = &w->r;
	uint32_t last = w->split - 1;
	w->along = runs_along(t, r, r->niter - 1) || !runs_along(t, r, last);
	w->p = (TsPlace){ .nv = 1, .vdim = { (int)(w->along ? r->niter - 1 : last) }, .len = { TILE }, .lay = { NULL, "V" } };
	ts_kb_line(k, "layout V[n] = v16:1n r4:16n");
	*cells = ts_dim_const(t->d, 1);
	for (uint32_t i = 0; i < w->split; i++) {
		bool across = !w->along && i == last;
		w->p.base[i] = ts_kb_fmt(k, "i%u", i);
		*cells = ts_dim_mul(t->d, *cells, across ? ts_dim_cdiv(t->d, r->size[i], ts_dim_const(t->d, TILE)) : r->size[i]);
	}
	if (w->along) ts_kb_grid(k, w->split, w->p.base, r->size, "", 0);
	else ts_kb_grid(k, last, w->p.base, r->size, ts_kb_fmt(k, "i%u in 0..%s step 64", last, ts_kb_dim(k, r->size[last])), 1);
	if (!w->along) {
		int64_t n;
		if (!ts_dim_is_const(t->d, r->size[last], &n) || n % TILE) {
			ts_kb_line(k, "left: idx = %s - i%u", ts_kb_dim(k, r->size[last]), last);
			w->p.valid[0] = "left";
		}
	}
	if (ts_op_info(t->cx, w->n->op)->cls == TS_CLS_ROW) write_normalise(w, roots);
	else write_reduce(w, roots);
}

void ts_cpu_row(TsJob *j)
{
	Row w = { .t = j->t, .r = j->r, .n = j->n, .split = j->row.split, .x = j->row.x, .ct = j->row.ct };
	Roots roots = { .out = j->value, .leaf = j->leaf, .gamma = j->row.gamma, .beta = j->row.beta };
	TsChoice c = { 0 };
	ts_kb_init(&w.k, j->t, NULL);
	write_kernel(&w, &roots, &c.cells);
	TsSym text = ts_kb_finish(&w.k, "cpu"), all[TS_CPU_CLONES] = { text, text, text };
	c.kernel = ts_add_kernel(j->t, j->name, all);
	c.tile[0] = TILE;
	ts_emit_step(j->t, j->root, &w.k, &w.r, &c, 1);
}

/* Is axis a of the operand reduced by n? */
static bool is_reduced(TsTl *t, const TsNode *n, uint32_t rank, uint32_t a)
{
	const TsOpInfo *info = ts_op_info(t->cx, n->op);
	if (ts_op_attr_index(info, "axis") >= 0) {
		const TsAttr *at = ts_attr(t->m, n, "axis");
		if (at->kind == TS_A_INT) return !at->none && at->i == (int64_t)a;
		if (at->none) return true;
		for (uint32_t i = 0; i < at->n; i++)
			if (at->ints[i] == (int64_t)a) return true;
		return false;
	}
	return a + 1 == rank; /* norms: the last axis */
}

static TsDtype sum_type(TsTl *t, TsVal anchor, const TsNode *n)
{
	TsDtype in = ts_reg_type(ts_val(t->g, n->in[0])->type.elem), out = ts_reg_type(ts_val(t->g, anchor)->type.elem);
	return n->op == TS_OP_sum || n->op == TS_OP_mean ? out : in;
}

void ts_sched_row(TsTl *t, TsVal root, TsVal anchor, const TsReal *out)
{
	const TsNode *n = ts_val(t->g, anchor)->def;
	const TsType *xt = &ts_val(t->g, n->in[0])->type, *rt = &ts_val(t->g, root)->type;
	bool norm = ts_op_info(t->cx, n->op)->cls == TS_CLS_ROW, keep = rt->rank == xt->rank;
	TsJob j = { .t = t, .root = root, .n = n, .name = ts_op_info(t->cx, n->op)->name, .row = { .ct = sum_type(t, anchor, n) } };
	TsDim size[TS_MAX_ITER], one = ts_dim_const(t->d, 1);
	TsIdx xi[TS_MAX_RANK], oi[TS_MAX_RANK];
	uint32_t place[TS_MAX_RANK], niter = 0, nred = 0, at = 0;
	memset(xi, 0, sizeof xi);
	memset(oi, 0, sizeof oi);
	for (uint32_t a = 0; a < xt->rank; a++)
		if (!is_reduced(t, n, xt->rank, a)) { size[niter] = xt->dim[a]; place[a] = niter++; }
	if (!niter) size[niter++] = one;
	j.row.split = niter;
	for (uint32_t a = 0; a < xt->rank; a++)
		if (is_reduced(t, n, xt->rank, a)) { size[niter] = xt->dim[a]; place[a] = niter++; nred++; }
	if (!nred) size[niter++] = one;
	for (uint32_t a = 0; a < xt->rank; a++) {
		xi[a].coef[place[a]] = one;
		bool red = place[a] >= j.row.split;
		if (norm || !red) oi[at].coef[place[a]] = one;
		if (norm || keep || !red) at++;
	}
	ts_region_init(t, &j.r, niter, size);
	j.row.x = ts_region_value(t, &j.r, n->in[0], xi, 0);
	if (n->nin > 1 && n->in[1]) j.row.gamma = ts_region_value(t, &j.r, n->in[1], xi + xt->rank - 1, 0);
	if (n->nin > 2 && n->in[2]) j.row.beta = ts_region_value(t, &j.r, n->in[2], xi + xt->rank - 1, 0);
	j.value = ts_region_value(t, &j.r, root, oi, anchor);
	j.leaf = ts_region_leaf(t, &j.r, out, rt, oi);
	if (n->op != TS_OP_argmax || nred <= 1) j.row.split = ts_region_merge(t, &j.r, j.row.split);
	ts_write_kernels(&j, TS_CLS_ROW);
}
