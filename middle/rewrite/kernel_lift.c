#include "kernel_lift.h"
#include "rewrite.h"
#include <math.h>
#include <string.h>

enum { MOST_VARS = 60 };

/* ---- building ---- */

TsVal lift_op(Lift *l, TsOp op, uint32_t n, const TsVal *in, const TsAttr *attr, TsSpan at)
{
	for (uint32_t i = 0; i < n; i++)
		if (!in[i]) { l->failed = true; return 0; }
	TsNode *x = ts_add_op(l->m, l->g, l->b, op, n, in, attr, l->num, at);
	if (!x) l->failed = true;
	return x ? x->out[0] : 0;
}

TsVal lift_shaped(Lift *l, TsOp op, TsVal v, uint32_t rank, const TsDim *dim, TsSpan at)
{
	TsAttr *a = ts_attrs_new(l->m, op);
	TsNode *made = v ? ts_val(l->g, v)->def : NULL;
	a[0].none = false;
	a[0].n = rank;
	a[0].dims = ts_memdup(l->m->arena, dim, (rank ? rank : 1) * sizeof *dim);
	for (int again = 0; op == TS_OP_reshape && v && again < 2; again++) {
		const TsType *t = &ts_val(l->g, v)->type;
		if (t->rank == rank && !memcmp(t->dim, dim, rank * sizeof *dim)) return v;
		if (again || v < l->first || !made || made->op != TS_OP_reshape) break;
		v = made->in[0];
	}
	return lift_op(l, op, 1, &v, a, at);
}

static TsAttr *attr_of(Lift *l, TsOp op, TsAttr *a, const char *name)
{
	TsAttr *x = &a[ts_op_attr_index(ts_op_info(l->m->cx, op), name)];
	x->none = false;
	return x;
}

static void set_ints(Lift *l, TsAttr *a, uint32_t n, const int64_t *v)
{
	a->n = n;
	a->ints = ts_memdup(l->m->arena, v, (n ? n : 1) * sizeof *v);
}

TsVal lift_reduce(Lift *l, TsOp op, TsVal v, uint32_t axis, bool keep, TsSpan at)
{
	TsAttr *a = ts_attrs_new(l->m, op);
	set_ints(l, attr_of(l, op, a, "axis"), 1, &(int64_t){ axis });
	attr_of(l, op, a, "keepdims")->i = keep;
	return lift_op(l, op, 1, &v, a, at);
}

TsVal lift_scalar(Lift *l, TsDtype t, double x, TsSpan at) { return ts_add_scalar(l->m, l->g, l->b, t, x, at); }

bool lift_fail(Lift *l, TsSpan at, const char *what)
{
	if (!l->failed) {
		ts_error(l->m->cx, at, "E_NOT_YET", "%s cannot be compiled in this release", what);
		ts_hint(l->m->cx, "'tsc eval' runs it");
	}
	l->failed = true;
	return false;
}

/* ---- variables and axes ---- */

uint32_t lift_leading(uint64_t batch) { return (uint32_t)__builtin_popcountll(batch); }

TsDim lift_extent(Lift *l, int var)
{
	const TsTileVar *v = &l->k->vars.p[var];
	return ts_dim_sub(l->m->dims, v->hi, v->lo);
}

int lift_var(Lift *l, TsDim symbol)
{
	for (uint32_t i = 0; i < l->k->vars.n; i++)
		if (l->k->vars.p[i].symbol == symbol) return (int)i;
	return -1;
}

typedef struct { Lift *l; int found, count; } Search;

static uint32_t see_symbol(void *user, TsDimKind kind, int64_t v)
{
	Search *q = user;
	int64_t c;
	uint32_t k;
	for (uint32_t i = 0; kind == TS_DX_SYMBOL && i < q->l->k->vars.n; i++)
		if (ts_dim_is_scaled_symbol(q->l->m->dims, q->l->k->vars.p[i].symbol, &c, &k) && k == (uint32_t)v && q->found != (int)i) q->found = (int)i, q->count++;
	return 0;
}

static uint32_t see_nothing(void *user, TsDimKind k, uint32_t a, uint32_t b) { (void)user; (void)k; (void)a; (void)b; return 0; }

/* Variables that d names: how many, and the last. */
static int vars_in(Lift *l, TsDim d, int *var)
{
	Search q = { l, -1, 0 };
	TsDimVisitor v = { &q, see_symbol, see_nothing };
	if (d != TS_DIM_BAD) ts_dim_visit(l->m->dims, d, &v);
	*var = q.found;
	return q.count;
}

/* A size of a tile as the size of what the tiles cover. */
static bool cover(Lift *l, TsDim d, TsSpan at, TsDim *out, int8_t *along)
{
	int var;
	int n = vars_in(l, d, &var);
	*out = d;
	*along = -1;
	if (!n) return true;
	if (n > 1 || l->k->vars.p[var].len != d) return lift_fail(l, at, "a tile whose size hangs on the cell");
	*out = lift_extent(l, var);
	*along = (int8_t)var;
	return true;
}

/* Axes of a cell's value, on the outside. */
bool lift_axes(Lift *l, TsVal v, TsSpan at, Lifted *to, TsDim *dim)
{
	const TsType *t = &ts_val(l->cell, v)->type;
	uint64_t seen = 0;
	to->rank = t->rank;
	to->elem = t->elem;
	to->partial = -1;
	for (uint32_t a = 0; a < t->rank; a++) {
		if (!cover(l, t->dim[a], at, &dim[a], &to->along[a])) return false;
		if (to->along[a] < 0) continue;
		if (seen >> to->along[a] & 1) return lift_fail(l, at, ts_printf(l->m->arena, "a tile with %s along both axes", l->k->vars.p[to->along[a]].name));
		seen |= (uint64_t)1 << to->along[a];
	}
	return true;
}

/* Leading axes of `batch`: 1 where x has none. */
static uint32_t leading_dims(Lift *l, uint64_t all, uint64_t have, TsDim *dim)
{
	uint32_t n = 0;
	for (int i = 0; i < MOST_VARS; i++)
		if (all >> i & 1) dim[n++] = have >> i & 1 ? lift_extent(l, i) : ts_dim_const(l->m->dims, 1);
	return n;
}

TsVal lift_align(Lift *l, const Lifted *x, uint64_t batch, uint32_t rank, TsSpan at)
{
	TsDim dim[TS_MAX_RANK];
	const TsType t = ts_val(l->g, x->v)->type;
	uint32_t lead = lift_leading(batch);
	if (lead + rank > TS_MAX_RANK) return lift_fail(l, at, "a value of so many axes"), 0;
	if (!x->batch || (x->batch == batch && x->rank == rank)) return x->v;
	uint32_t n = leading_dims(l, batch, x->batch, dim);
	while (n < lead + rank - x->rank) dim[n++] = ts_dim_const(l->m->dims, 1);
	for (uint32_t a = 0; a < x->rank; a++) dim[n++] = t.dim[t.rank - x->rank + a];
	return lift_shaped(l, TS_OP_reshape, x->v, n, dim, at);
}

/* ---- loads ---- */

/* start = v // r on an axis of size n, for r*n places of v: v's number; *r. -1: something else. */
static int group_of(Lift *l, TsDim start, TsDim n, TsDim *r)
{
	int v;
	if (vars_in(l, start, &v) != 1 || l->k->vars.p[v].step != 1) return -1;
	*r = ts_dim_floordiv(l->m->dims, lift_extent(l, v), n);
	return *r != TS_DIM_BAD && ts_dim_floordiv(l->m->dims, l->k->vars.p[v].symbol, *r) == start ? v : -1;
}

/* Each place along axis i, r times. */
static TsVal repeated_axis(Lift *l, TsVal v, uint32_t i, TsDim r, TsDim all, TsSpan at)
{
	TsDim dim[TS_MAX_RANK + 1];
	const TsType t = ts_val(l->g, v)->type;
	if (t.rank + 1 > TS_MAX_RANK) return lift_fail(l, at, "a value of so many axes"), 0;
	memcpy(dim, t.dim, (i + 1) * sizeof *dim);
	dim[i + 1] = ts_dim_const(l->m->dims, 1);
	memcpy(dim + i + 2, t.dim + i + 1, (t.rank - i - 1) * sizeof *dim);
	v = lift_shaped(l, TS_OP_reshape, v, t.rank + 1u, dim, at);
	dim[i + 1] = r;
	v = v ? lift_shaped(l, TS_OP_broadcast, v, t.rank + 1u, dim, at) : 0;
	memcpy(dim, t.dim, t.rank * sizeof *dim);
	dim[i] = all;
	return v ? lift_shaped(l, TS_OP_reshape, v, t.rank, dim, at) : 0;
}

/* A part of an operand: indices that variables give become leading axes. */
static bool lift_load(Lift *l, TsNode *n, const Lifted *x, Lifted *to)
{
	const TsAttr *start = ts_attr(l->m, n, "start"), *stop = ts_attr(l->m, n, "stop");
	TsDims *d = l->m->dims;
	const TsType t = ts_val(l->g, x->v)->type;
	TsAttr *a = ts_attrs_new(l->m, TS_OP_slice), *from = attr_of(l, TS_OP_slice, a, "start"), *end = attr_of(l, TS_OP_slice, a, "stop");
	int64_t perm[TS_MAX_RANK];
	int cell[TS_MAX_RANK];
	TsDim times[TS_MAX_RANK] = { 0 };
	bool whole = true, moved = false;
	from->n = end->n = t.rank;
	from->dims = TS_NEW_N(l->m->arena, TsDim, t.rank + 1);
	end->dims = TS_NEW_N(l->m->arena, TsDim, t.rank + 1);
	for (uint32_t i = 0; i < t.rank; i++) {
		int v = lift_var(l, start->dims[i]), any, group = v < 0 ? group_of(l, start->dims[i], t.dim[i], &times[i]) : -1;
		cell[i] = -1;
		from->dims[i] = start->dims[i];
		end->dims[i] = stop->dims[i];
		if (v >= 0) {
			from->dims[i] = l->k->vars.p[v].lo;
			end->dims[i] = l->k->vars.p[v].hi;
			if (l->k->vars.p[v].step == 1) {
				if (to->batch >> v & 1) return lift_fail(l, n->at, "one variable as two indices of an operand");
				to->batch |= (uint64_t)1 << v;
				cell[i] = v;
			}
		} else if (group >= 0) {
			if (to->batch >> group & 1) return lift_fail(l, n->at, "one variable as two indices of an operand");
			to->batch |= (uint64_t)1 << group;
			cell[i] = group;
			from->dims[i] = 0;
			end->dims[i] = t.dim[i];
			continue;
		} else if (vars_in(l, start->dims[i], &any) || vars_in(l, stop->dims[i], &any)) return lift_fail(l, n->at, "a slice of a tile along its variable");
		whole &= from->dims[i] == ts_dim_const(d, 0) && end->dims[i] == t.dim[i];
	}
	TsVal v = whole ? x->v : lift_op(l, TS_OP_slice, 1, &x->v, a, n->at);
	for (uint32_t i = 0; i < t.rank && v; i++)
		if (cell[i] >= 0 && lift_var(l, start->dims[i]) < 0) v = repeated_axis(l, v, i, times[i], lift_extent(l, cell[i]), n->at);
	uint32_t p = 0;
	for (int k = 0; k < MOST_VARS; k++) /* leading axes in the variables' order */
		for (uint32_t i = 0; i < t.rank; i++)
			if (cell[i] == k) perm[p++] = i;
	for (uint32_t i = 0; i < t.rank; i++)
		if (cell[i] < 0) perm[p++] = i;
	for (uint32_t i = 0; i < t.rank; i++) moved |= perm[i] != (int64_t)i;
	if (moved) {
		TsAttr *q = ts_attrs_new(l->m, TS_OP_transpose);
		set_ints(l, attr_of(l, TS_OP_transpose, q, "perm"), t.rank, perm);
		v = lift_op(l, TS_OP_transpose, 1, &v, q, n->at);
	}
	TsDim dim[2 * TS_MAX_RANK], own[TS_MAX_RANK];
	if (!v || !lift_axes(l, n->out[0], n->at, to, own)) return false;
	uint32_t lead = leading_dims(l, to->batch, to->batch, dim);
	if (lead + to->rank > TS_MAX_RANK) return lift_fail(l, n->at, "a value of so many axes");
	memcpy(dim + lead, own, to->rank * sizeof *own);
	to->v = to->batch ? lift_shaped(l, TS_OP_reshape, v, lead + to->rank, dim, n->at) : v;
	return to->v != 0;
}

/* ---- what may be done with a sum that is complete before its loop is ---- */

static bool without(const Lifted *x, int var)
{
	if (x->batch >> var & 1) return false;
	for (uint32_t a = 0; a < x->rank; a++)
		if (x->along[a] == var) return false;
	return true;
}

/* Linear steps keep it; anything else would need the sum of one tile alone. */
static bool stays_partial(Lift *l, TsNode *n, Lifted *const *x, Lifted *to)
{
	int var = -1;
	TsOp kind = TS_OP_NONE;
	uint32_t many = 0, first = 0;
	for (uint32_t i = 0; i < n->nin; i++) {
		if (!x[i] || x[i]->partial < 0) continue;
		if (many && (x[i]->partial != var || x[i]->kind != kind)) return lift_fail(l, n->at, "a value that joins sums over different loops");
		if (!many++) first = i;
		var = x[i]->partial;
		kind = x[i]->kind;
	}
	if (!many) return true;
	bool sum = kind == TS_OP_sum, fits = false;
	for (uint32_t i = 0; i < n->nin; i++)
		if (x[i] && x[i]->partial < 0 && !without(x[i], var)) return lift_fail(l, n->at, ts_printf(l->m->arena, "a sum along %s that is used with single elements of the tile", l->k->vars.p[var].name));
	switch (n->op) {
	case TS_OP_neg: fits = sum; break;
	case TS_OP_cast: fits = !sum || (ts_dtype_is_float(to->elem) && ts_dtype_is_float(x[0]->elem)); break;
	case TS_OP_mul: fits = sum && many == 1; break;
	case TS_OP_div: fits = sum && many == 1 && !first; break;
	case TS_OP_add: case TS_OP_sub: fits = sum && many == 2; break;
	case TS_OP_maximum: fits = kind == TS_OP_max && many == 2; break;
	case TS_OP_minimum: fits = kind == TS_OP_min && many == 2; break;
	case TS_OP_sum: case TS_OP_matmul: fits = sum && many == 1; break;
	case TS_OP_max: case TS_OP_min: fits = n->op == kind; break;
	case TS_OP_reshape: case TS_OP_transpose: case TS_OP_broadcast: fits = true; break;
	default: break;
	}
	if (!fits) return lift_fail(l, n->at, ts_printf(l->m->arena, "a step on the part of a sum that one tile along %s gives", l->k->vars.p[var].name));
	to->partial = (int8_t)var;
	to->kind = kind;
	return true;
}

/* Axis a of x is summed over: complete at once for a loop, as all its tiles are there. */
static bool sum_over(Lift *l, TsNode *n, const Lifted *x, uint32_t a, TsOp kind, Lifted *to)
{
	int var = x->along[a];
	if (var < 0) return true;
	const char *name = l->k->vars.p[var].name;
	if (l->k->vars.p[var].grid) return lift_fail(l, n->at, ts_printf(l->m->arena, "a reduction along %s, over the elements of one cell", name));
	if (kind != TS_OP_sum && kind != TS_OP_max && kind != TS_OP_min) return lift_fail(l, n->at, ts_printf(l->m->arena, "'%s' along %s, over one tile", ts_op_info(l->m->cx, n->op)->name, name));
	if (to->partial >= 0 && (to->partial != var || to->kind != kind)) return lift_fail(l, n->at, "a reduction over the tiles of two loops");
	to->partial = (int8_t)var;
	to->kind = kind;
	return true;
}

/* ---- operators ---- */

/* a @ b with results of type t. */
static TsVal lift_product(Lift *l, TsVal a, TsVal b, TsDtype t, TsSpan at)
{
	TsAttr *attr = ts_attrs_new(l->m, TS_OP_matmul);
	if (a && ts_val(l->g, a)->type.elem != t) attr_of(l, TS_OP_matmul, attr, "out")->t = t;
	return lift_op(l, TS_OP_matmul, 2, (TsVal[]){ a, b }, attr, at);
}

/* cast(softmax @ b, t): the product's sums are rounded to t at once, as attention does it. */
static TsVal rounded_product(Lift *l, TsVal v, TsDtype t, TsSpan at)
{
	const TsNode *n = ts_val(l->g, v)->def;
	bool sums = n && n->op == TS_OP_matmul && ts_val(l->g, v)->type.elem == TS_F32 && (t == TS_BF16 || t == TS_F16);
	const TsNode *p = sums ? ts_val(l->g, n->in[0])->def : NULL;
	while (p && p->op == TS_OP_cast) p = ts_val(l->g, p->in[0])->def;
	return p && p->op == TS_OP_softmax ? lift_product(l, n->in[0], n->in[1], t, at) : 0;
}

/* iota(n) < n, for all positions there are: what a text says that masks the end of the last tile itself. */
static bool is_inside(Lift *l, TsVal v)
{
	TsNode *n = ts_val(l->g, v)->def;
	while (n && n->op == TS_OP_reshape) n = ts_val(l->g, n->in[0])->def;
	if (!n || (n->op != TS_OP_lt && n->op != TS_OP_gt)) return false;
	const TsNode *i = ts_val(l->g, n->in[n->op == TS_OP_gt])->def, *d = ts_val(l->g, n->in[n->op == TS_OP_lt])->def;
	if (!i || !d || i->op != TS_OP_iota || (d->op != TS_OP_dim && d->op != TS_OP_const)) return false;
	TsDim size = ts_attr(l->m, i, "n")->dims[0];
	int64_t c;
	if (d->op == TS_OP_dim) return d->dim == size;
	return !ts_val(l->g, d->out[0])->type.rank && ts_dim_is_const(l->m->dims, size, &c) && ts_elem_get_int(ts_val(l->g, d->out[0])->type.elem, d->data, 0) == c;
}

static bool same_place(Lift *l, TsNode *n, uint32_t i, const Lifted *x, const Lifted *to)
{
	const TsType *a = &ts_val(l->cell, n->in[i])->type, *b = &ts_val(l->cell, n->out[0])->type;
	return x->batch == to->batch && a->rank == b->rank && !memcmp(a->dim, b->dim, a->rank * sizeof *a->dim);
}

/* A mask that hides nothing: what it is to leave is left as it is. */
static TsVal unmasked(Lift *l, TsNode *n, Lifted **x, const Lifted *to)
{
	if (n->op == TS_OP_where && is_inside(l, x[0]->v) && same_place(l, n, 1, x[1], to)) return x[1]->v;
	for (uint32_t i = 0; n->op == TS_OP_and && i < 2; i++)
		if (is_inside(l, x[i]->v) && same_place(l, n, 1 - i, x[1 - i], to)) return x[1 - i]->v;
	return 0;
}

static bool lift_pointwise(Lift *l, TsNode *n, Lifted **x, Lifted *to)
{
	TsVal in[TS_MAX_OP_INS];
	if (n->op == TS_OP_cast && x[0]->partial < 0 && (to->v = rounded_product(l, x[0]->v, to->elem, n->at))) return true;
	if ((to->v = unmasked(l, n, x, to))) return stays_partial(l, n, x, to);
	for (uint32_t i = 0; i < n->nin; i++) in[i] = lift_align(l, x[i], to->batch, to->rank, n->at);
	to->v = lift_op(l, n->op, n->nin, in, n->attr, n->at);
	return to->v && stays_partial(l, n, x, to);
}

static bool lift_reduction(Lift *l, TsNode *n, Lifted **x, Lifted *to)
{
	const TsOpInfo *info = ts_op_info(l->m->cx, n->op);
	int at = ts_op_attr_index(info, "axis");
	uint32_t lead = lift_leading(to->batch), count = 0;
	int64_t axes[TS_MAX_RANK];
	const TsAttr *had = at >= 0 ? &n->attr[at] : NULL;
	if (!stays_partial(l, n, x, to)) return false;
	for (uint32_t a = 0; a < x[0]->rank; a++) {
		bool reduced = had ? had->none : a == x[0]->rank - 1u; /* norms: the last */
		for (uint32_t i = 0; had && !had->none && i < had->n; i++) reduced |= had->ints[i] == (int64_t)a || had->ints[i] == (int64_t)a - x[0]->rank;
		if (!reduced) continue;
		if (!sum_over(l, n, x[0], a, n->op, to)) return false;
		axes[count++] = lead + a;
	}
	TsAttr *attr = n->attr;
	if (had) {
		attr = ts_memdup(l->m->arena, n->attr, info->nattr * sizeof *attr);
		attr[at].none = false;
		set_ints(l, &attr[at], count, axes);
	}
	TsVal in[TS_MAX_OP_INS];
	for (uint32_t i = 0; i < n->nin; i++) {
		in[i] = x[i] ? x[i]->v : 0;
		if (i && x[i] && x[i]->batch) return lift_fail(l, n->at, "a norm whose weights hang on the cell");
	}
	uint32_t nin = n->nin;
	while (nin && !in[nin - 1]) nin--;
	if (had && !count) { to->v = in[0]; return x[0]->rank == to->rank; } /* a scalar */
	TsNode *made = ts_add_op(l->m, l->g, l->b, n->op, nin, in, attr, l->num, n->at);
	if (!made) return l->failed = true, false;
	to->v = made->out[0];
	return true;
}

static bool lift_matmul(Lift *l, TsNode *n, Lifted **x, Lifted *to)
{
	uint32_t k = x[0]->rank - 1u, rank = x[0]->rank > x[1]->rank ? x[0]->rank : x[1]->rank;
	if (!stays_partial(l, n, x, to) || !sum_over(l, n, x[0], k, TS_OP_sum, to)) return false;
	TsVal in[2] = { lift_align(l, x[0], to->batch, rank, n->at), lift_align(l, x[1], to->batch, rank, n->at) };
	to->v = lift_product(l, in[0], in[1], to->elem, n->at);
	return to->v != 0;
}

static bool is_one(Lift *l, TsDim d) { int64_t c; return ts_dim_is_const(l->m->dims, d, &c) && c == 1; }

/* Axes of size 1 come and go; the others stay in order. */
static bool only_ones(Lift *l, const TsType *a, const TsType *b)
{
	uint32_t i = 0, j = 0;
	for (;;) {
		while (i < a->rank && is_one(l, a->dim[i])) i++;
		while (j < b->rank && is_one(l, b->dim[j])) j++;
		if (i == a->rank || j == b->rank) return i == a->rank && j == b->rank;
		if (a->dim[i++] != b->dim[j++]) return false;
	}
}

static bool lift_view(Lift *l, TsNode *n, Lifted **x, Lifted *to, const TsDim *own)
{
	TsDim dim[2 * TS_MAX_RANK];
	uint32_t lead = leading_dims(l, to->batch, to->batch, dim);
	if (lead + to->rank > TS_MAX_RANK) return lift_fail(l, n->at, "a value of so many axes");
	memcpy(dim + lead, own, to->rank * sizeof *own);
	if (!stays_partial(l, n, x, to)) return false;
	if (n->op == TS_OP_transpose) {
		const TsAttr *perm = ts_attr(l->m, n, "perm");
		int64_t p[TS_MAX_RANK];
		TsAttr *a = ts_attrs_new(l->m, TS_OP_transpose);
		for (uint32_t i = 0; i < lead; i++) p[i] = i;
		for (uint32_t i = 0; i < to->rank; i++) p[lead + i] = lead + perm->ints[i];
		set_ints(l, attr_of(l, TS_OP_transpose, a, "perm"), lead + to->rank, p);
		to->v = lift_op(l, TS_OP_transpose, 1, &x[0]->v, a, n->at);
		return to->v != 0;
	}
	if (n->op == TS_OP_reshape && !only_ones(l, &ts_val(l->cell, n->in[0])->type, &ts_val(l->cell, n->out[0])->type)) return lift_fail(l, n->at, "a reshape of a tile that does more than add or drop axes of size 1");
	TsVal v = n->op == TS_OP_broadcast ? lift_align(l, x[0], to->batch, to->rank, n->at) : x[0]->v;
	to->v = lift_shaped(l, n->op, v, lead + to->rank, dim, n->at);
	return to->v != 0;
}

/* A part of a tile: axes along a variable whole, others as they are. */
static bool lift_slice(Lift *l, TsNode *n, Lifted **x, Lifted *to)
{
	TsAttr *a = ts_memdup(l->m->arena, n->attr, ts_op_info(l->m->cx, TS_OP_slice)->nattr * sizeof *a);
	const TsAttr *start = ts_attr(l->m, n, "start"), *stop = ts_attr(l->m, n, "stop"), *step = ts_attr(l->m, n, "step");
	TsAttr *from = attr_of(l, TS_OP_slice, a, "start"), *end = attr_of(l, TS_OP_slice, a, "stop");
	uint32_t lead = lift_leading(to->batch);
	const TsType t = ts_val(l->g, x[0]->v)->type;
	TsDim lo[TS_MAX_RANK], hi[TS_MAX_RANK];
	int64_t by[TS_MAX_RANK];
	if (!stays_partial(l, n, x, to)) return false;
	for (uint32_t i = 0; i < t.rank; i++) {
		lo[i] = 0;
		hi[i] = t.dim[i];
		by[i] = 1;
		if (i < lead) continue;
		uint32_t k = i - lead;
		if (x[0]->along[k] >= 0) {
			if (start->dims[k] != 0 || stop->dims[k] != l->k->vars.p[x[0]->along[k]].len || (!step->none && step->ints[k] != 1)) return lift_fail(l, n->at, "a slice of a tile along its variable");
			continue;
		}
		lo[i] = start->dims[k];
		hi[i] = stop->dims[k];
		if (!step->none) by[i] = step->ints[k];
	}
	from->n = end->n = t.rank;
	from->dims = ts_memdup(l->m->arena, lo, (t.rank + 1u) * sizeof *lo);
	end->dims = ts_memdup(l->m->arena, hi, (t.rank + 1u) * sizeof *hi);
	if (!step->none) set_ints(l, attr_of(l, TS_OP_slice, a, "step"), t.rank, by);
	to->v = lift_op(l, TS_OP_slice, 1, &x[0]->v, a, n->at);
	return to->v != 0;
}

static TsVal count_to(Lift *l, TsDim n, TsDtype t, TsSpan at)
{
	TsAttr *a = ts_attrs_new(l->m, TS_OP_iota), *size = attr_of(l, TS_OP_iota, a, "n");
	size->n = 1;
	size->dims = ts_memdup(l->m->arena, &n, sizeof n);
	a[ts_op_attr_index(ts_op_info(l->m->cx, TS_OP_iota), "dtype")].t = t;
	return lift_op(l, TS_OP_iota, 0, NULL, a, at);
}

/* 0, 1, … + add in type t, for all of the variable's range. */
static TsVal places(Lift *l, int var, TsDim add, TsDtype t, TsSpan at)
{
	TsDim from = ts_dim_add(l->m->dims, l->k->vars.p[var].lo, add);
	TsVal v = count_to(l, lift_extent(l, var), t, at);
	if (!v || !from) return v;
	TsVal d = ts_add_dim(l->m, l->g, l->b, from, at);
	if (t != TS_INT64) {
		TsAttr *a = ts_attrs_new(l->m, TS_OP_cast);
		attr_of(l, TS_OP_cast, a, "dtype")->t = t;
		d = lift_op(l, TS_OP_cast, 1, &d, a, at);
	}
	return lift_op(l, TS_OP_add, 2, (TsVal[]){ v, d }, NULL, at);
}

/* A size as a number: of the caller, or the place of a cell. */
static bool lift_dim(Lift *l, TsNode *n, Lifted *to)
{
	int var;
	int many = vars_in(l, n->dim, &var);
	if (!many) { to->v = ts_add_dim(l->m, l->g, l->b, n->dim, n->at); return true; }
	TsDim add = ts_dim_sub(l->m->dims, n->dim, l->k->vars.p[var].symbol);
	int any;
	if (many > 1 || vars_in(l, add, &any)) return lift_fail(l, n->at, "a number computed from several variables");
	to->role = LIFT_PLACE;
	to->var = (int8_t)var;
	to->add = add;
	return true;
}

/* iota + place: positions along the variable. */
static bool lift_positions(Lift *l, TsNode *n, const Lifted *count, const Lifted *place, Lifted *to)
{
	if (count->var != place->var) return lift_fail(l, n->at, "positions along one variable at the place of another");
	to->v = places(l, place->var, place->add, to->elem, n->at);
	return to->v != 0;
}

static bool is_operand(Lift *l, TsVal v)
{
	const TsNode *d = ts_val(l->cell, v)->def;
	return d && d->op == TS_OP_param;
}

static bool lift_online_tile(Lift *l, TsNode *n)
{
	Lifted *s = &l->of[n->in[0]], *m = &l->of[n->in[1]], *sum = &l->of[n->in[2]];
	if (!lift_force(l, s, n->at) || !lift_force(l, m, n->at) || !lift_force(l, sum, n->at)) return false;
	if (s->along[1] >= 0 || s->partial >= 0 || m->partial >= 0 || sum->partial >= 0) return lift_fail(l, n->at, "an online softmax over one tile, which its loop does not carry on");
	uint64_t batch = s->batch | m->batch | sum->batch;
	uint32_t lead = lift_leading(batch);
	Lifted row = { .batch = batch, .rank = 1, .along = { s->along[0] }, .partial = -1, .elem = s->elem }, wide = row;
	wide.rank = 2;
	wide.along[1] = -1;
	TsDim dim[TS_MAX_RANK];
	Lifted most = *s;
	most.rank = 1;
	most.v = lift_reduce(l, TS_OP_max, s->v, lift_leading(s->batch) + 1, false, n->at);
	if (!most.v || lead + 2 > TS_MAX_RANK) return false;
	Lifted m1 = row;
	m1.v = lift_op(l, TS_OP_maximum, 2, (TsVal[]){ lift_align(l, m, batch, 1, n->at), lift_align(l, &most, batch, 1, n->at) }, NULL, n->at);
	if (!m1.v) return false;
	const TsType t = ts_val(l->g, m1.v)->type;
	memcpy(dim, t.dim, t.rank * sizeof *dim);
	dim[t.rank] = ts_dim_const(l->m->dims, 1);
	TsVal low = lift_scalar(l, s->elem, -INFINITY, n->at), zero = lift_scalar(l, s->elem, 0, n->at);
	TsVal none = lift_op(l, TS_OP_eq, 2, (TsVal[]){ m1.v, low }, NULL, n->at), safe = lift_op(l, TS_OP_where, 3, (TsVal[]){ none, zero, m1.v }, NULL, n->at);
	TsVal column = lift_shaped(l, TS_OP_reshape, safe, t.rank + 1u, dim, n->at);
	TsVal p = lift_op(l, TS_OP_sub, 2, (TsVal[]){ lift_align(l, s, batch, 2, n->at), column }, NULL, n->at);
	p = lift_op(l, TS_OP_exp, 1, &p, NULL, n->at);
	TsVal f = lift_op(l, TS_OP_sub, 2, (TsVal[]){ lift_align(l, m, batch, 1, n->at), safe }, NULL, n->at);
	f = lift_op(l, TS_OP_exp, 1, &f, NULL, n->at);
	TsVal kept = lift_op(l, TS_OP_mul, 2, (TsVal[]){ lift_align(l, sum, batch, 1, n->at), f }, NULL, n->at);
	TsVal more = p ? lift_reduce(l, TS_OP_sum, p, lead + 1, false, n->at) : 0;
	Lifted l1 = row, out = wide;
	l1.v = lift_op(l, TS_OP_add, 2, (TsVal[]){ kept, more }, NULL, n->at);
	out.v = p;
	l->of[n->out[0]] = m1;
	l->of[n->out[1]] = l1;
	l->of[n->out[2]] = out;
	return l1.v && p;
}

/* The column of a value that is made when asked for. */
static bool keeps_role(Lift *l, TsNode *n, const Lifted *x, Lifted *to)
{
	if (n->op != TS_OP_reshape || (x->role != LIFT_SUM && x->role != LIFT_MOST) || x->column) return false;
	const TsType *t = &ts_val(l->cell, n->out[0])->type;
	if (t->rank != 2 || !is_one(l, t->dim[1])) return false;
	*to = *x;
	to->column = true;
	return true;
}

bool lift_node(Lift *l, TsNode *n)
{
	TsOpClass cls = ts_op_info(l->m->cx, n->op)->cls;
	Lifted *x[TS_MAX_OP_INS] = { 0 }, to = { .partial = -1, .var = -1 };
	TsDim own[TS_MAX_RANK];
	const TsNumerics *num = l->num;
	if (l->failed) return false;
	if (n->op == TS_OP_for) return lift_for(l, n, 0);
	if (n->op == TS_OP_online_softmax) return lift_online_tile(l, n);
	for (uint32_t i = 0; i < n->nin; i++) x[i] = n->in[i] ? &l->of[n->in[i]] : NULL;
	l->num = n->num;
	bool ok = true;
	if (n->op == TS_OP_div && x[0]->role == LIFT_ACC && x[1]->role == LIFT_SUM && x[1]->column && lift_divide(l, x[0], x[1], n->at, &to)) goto done;
	if (n->nin == 1 && keeps_role(l, n, x[0], &to)) goto done;
	TsDtype elem = ts_val(l->cell, n->out[0])->type.elem;
	if (n->op == TS_OP_cast && x[0]->role == LIFT_PLACE && (elem == TS_INT32 || elem == TS_INT64)) {
		to = *x[0];
		to.elem = elem;
		goto done;
	}
	if (!(ok = lift_axes(l, n->out[0], n->at, &to, own))) goto done;
	if (n->op == TS_OP_add && ((x[0]->role == LIFT_COUNT && x[1]->role == LIFT_PLACE) || (x[1]->role == LIFT_COUNT && x[0]->role == LIFT_PLACE))) {
		ok = lift_positions(l, n, x[x[0]->role == LIFT_PLACE], x[x[1]->role == LIFT_PLACE], &to);
		goto done;
	}
	for (uint32_t i = 0; ok && i < n->nin; i++) {
		if (!x[i]) continue;
		ok = lift_force(l, x[i], n->at);
		to.batch |= x[i]->batch;
	}
	if (!ok) goto done;
	if (lift_leading(to.batch) + to.rank > TS_MAX_RANK) { ok = lift_fail(l, n->at, "a value of so many axes"); goto done; }
	switch (n->op) {
	case TS_OP_const: to.v = ts_add_const(l->m, l->g, l->b, ts_val(l->cell, n->out[0])->type, n->data, n->at); break;
	case TS_OP_dim: ok = lift_dim(l, n, &to); break;
	case TS_OP_iota:
		to.role = to.along[0] >= 0 ? LIFT_COUNT : LIFT_PLAIN;
		to.var = to.along[0];
		if (to.role == LIFT_PLAIN) to.v = count_to(l, own[0], to.elem, n->at);
		break;
	case TS_OP_matmul: ok = lift_matmul(l, n, x, &to); break;
	case TS_OP_slice: ok = is_operand(l, n->in[0]) ? lift_load(l, n, x[0], &to) : lift_slice(l, n, x, &to); break;
	case TS_OP_transpose: case TS_OP_reshape: case TS_OP_broadcast: ok = lift_view(l, n, x, &to, own); break;
	default:
		ok = cls == TS_CLS_POINTWISE ? lift_pointwise(l, n, x, &to) : cls == TS_CLS_REDUCE || cls == TS_CLS_ROW ? lift_reduction(l, n, x, &to)
			: lift_fail(l, n->at, ts_printf(l->m->arena, "'%s' in a kernel", ts_op_info(l->m->cx, n->op)->name));
	}
done:
	l->num = num;
	if (ok && to.role == LIFT_PLAIN && !to.v) ok = false;
	if (!ok) return l->failed = true, false;
	TsValue *v = to.v ? ts_val(l->g, to.v) : NULL;
	if (v && !v->name && v->def && v->def->op != TS_OP_param) v->name = ts_val(l->cell, n->out[0])->name;
	l->of[n->out[0]] = to;
	return true;
}

/* A number that a variable gives, as a leading axis. */
static bool force_place(Lift *l, Lifted *x, TsSpan at)
{
	const TsTileVar *v = &l->k->vars.p[x->var];
	if (v->step != 1) return lift_fail(l, at, ts_printf(l->m->arena, "%s as a number (write %s + iota(%lld))", v->name, v->name, (long long)v->step));
	x->v = places(l, x->var, x->add, x->elem, at);
	x->batch = (uint64_t)1 << x->var;
	x->role = LIFT_PLAIN;
	return x->v != 0;
}

bool lift_is_splat(Lift *l, TsVal v, double want)
{
	const TsNode *n = ts_val(l->cell, v)->def;
	while (n && n->op == TS_OP_broadcast) {
		v = n->in[0];
		n = ts_val(l->cell, v)->def;
	}
	const TsType *t = &ts_val(l->cell, v)->type;
	if (!n || n->op != TS_OP_const || t->rank) return false;
	if (!ts_dtype_is_float(t->elem)) return t->elem != TS_BOOL && ts_elem_get_int(t->elem, n->data, 0) == (int64_t)want && isfinite(want);
	return ts_elem_get(t->elem, n->data, 0) == want;
}

/* ---- results ---- */

/* A tile of one element along a variable of step 1 has an axis that says nothing: the leading one is it. */
static TsVal without_ones(Lift *l, const TsTileStore *s, const int *var, uint32_t rank, Lifted *x)
{
	TsDim dim[TS_MAX_RANK];
	const TsType t = ts_val(l->g, x->v)->type;
	uint32_t lead = lift_leading(x->batch), n = 0, own = 0, kept = 0;
	for (; n < lead; n++) dim[n] = t.dim[n];
	for (uint32_t a = 0; a < rank; a++) {
		if (s->drop[a]) continue;
		if (var[a] < 0) dim[n++] = t.dim[lead + own], kept++;
		own++;
	}
	x->rank = (uint8_t)kept;
	return n == t.rank ? x->v : lift_shaped(l, TS_OP_reshape, x->v, n, dim, s->at);
}

/* Leading and own axes in the order of the result; repeated over the cells that all write the same. */
static TsVal placed(Lift *l, const TsTileStore *s)
{
	Lifted x = l->of[s->v];
	const TsType *want = &l->k->results.p[s->result];
	TsDim dim[TS_MAX_RANK];
	int64_t perm[TS_MAX_RANK];
	int var[TS_MAX_RANK];
	uint32_t n = 0;
	uint64_t used = 0;
	bool moved = false, repeated = false;
	if (!lift_force(l, &x, s->at)) return 0;
	if (x.partial >= 0) return lift_fail(l, s->at, "a store of the part of a sum"), 0;
	for (uint32_t a = 0; a < want->rank; a++) {
		var[a] = lift_var(l, s->start[a]);
		if (var[a] >= 0 && l->k->vars.p[var[a]].step != 1) var[a] = -1;
	}
	TsVal v = without_ones(l, s, var, want->rank, &x);
	uint32_t own = lift_leading(x.batch);
	for (uint32_t a = 0; a < want->rank; a++) {
		dim[a] = want->dim[a];
		if (var[a] >= 0 && !(x.batch >> var[a] & 1)) { dim[a] = ts_dim_const(l->m->dims, 1); repeated = true; continue; }
		if (var[a] >= 0) used |= (uint64_t)1 << var[a];
		perm[n++] = var[a] >= 0 ? lift_leading(x.batch & (((uint64_t)1 << var[a]) - 1)) : own++;
	}
	if (x.batch & ~used) return lift_fail(l, s->at, "a store of a value that hangs on the cell in another way"), 0;
	for (uint32_t i = 0; i < n; i++) moved |= perm[i] != (int64_t)i;
	if (moved) {
		TsAttr *a = ts_attrs_new(l->m, TS_OP_transpose);
		set_ints(l, attr_of(l, TS_OP_transpose, a, "perm"), n, perm);
		v = lift_op(l, TS_OP_transpose, 1, &v, a, s->at);
	}
	if (!v || !repeated) return v;
	v = lift_shaped(l, TS_OP_reshape, v, want->rank, dim, s->at);
	return v ? lift_shaped(l, TS_OP_broadcast, v, want->rank, want->dim, s->at) : 0;
}

/* Nodes from `first` on that nothing uses go. */
static void sweep(Lift *l, uint32_t first, uint32_t nkeep, const TsVal *keep)
{
	uint8_t *live = ts_alloc(l->m->arena, l->g->vals.n + 1);
	for (uint32_t i = 0; i < nkeep; i++) live[keep[i]] = 1;
	uint32_t to = l->b->nodes.n;
	for (uint32_t i = l->b->nodes.n; i-- > first;) {
		TsNode *n = l->b->nodes.p[i];
		bool alive = false;
		for (uint32_t k = 0; k < n->nout; k++) alive |= live[n->out[k]];
		if (!alive) { l->b->nodes.p[i] = NULL; continue; }
		for (uint32_t k = 0; k < n->nin; k++) live[n->in[k]] = 1;
	}
	uint32_t at = first;
	for (uint32_t i = first; i < to; i++)
		if (l->b->nodes.p[i]) l->b->nodes.p[at++] = l->b->nodes.p[i];
	l->b->nodes.n = at;
}

/* The operators of one call, at the end of block b; with: what stands for its results. */
static bool lift_call(TsModule *m, TsGraph *g, TsBlock *b, TsNode *n, TsVal *with)
{
	const TsUserKernel *k = n->kernel;
	Lift l = { .m = m, .g = g, .b = b, .k = k, .cell = k->graph, .num = n->num, .first = g->vals.n };
	uint32_t first = b->nodes.n;
	if (k->vars.n > MOST_VARS) return lift_fail(&l, n->at, "a kernel of so many loops");
	l.of = TS_NEW_N(m->arena, Lifted, k->graph->vals.n + 1);
	for (uint32_t i = 0; i < n->nin; i++) {
		Lifted *x = &l.of[k->graph->params.p[i]];
		const TsType *t = &ts_val(g, n->in[i])->type;
		*x = (Lifted){ .v = n->in[i], .rank = t->rank, .partial = -1, .elem = t->elem, .var = -1 };
		memset(x->along, -1, sizeof x->along);
	}
	for (uint32_t i = 0; i < k->cell.nodes.n; i++)
		if (!lift_node(&l, k->cell.nodes.p[i])) return false;
	TsVal *keep = TS_NEW_N(m->arena, TsVal, k->stores.n + 1);
	for (uint32_t i = 0; i < k->stores.n; i++) {
		TsVal v = placed(&l, &k->stores.p[i]);
		if (!v || l.failed) return false;
		uint32_t r = k->stores.p[i].result;
		keep[i] = with[r] = v;
		TsSym name = ts_val(g, n->out[r])->name;
		if (name && ts_val(g, v)->def->op != TS_OP_param && ts_val(g, v)->def->op != TS_OP_weight) ts_val(g, v)->name = name;
	}
	sweep(&l, first, k->stores.n, keep);
	return true;
}

bool lift_force(Lift *l, Lifted *x, TsSpan at)
{
	if (x->role == LIFT_PLAIN) return x->v != 0;
	if (x->role == LIFT_PLACE) return force_place(l, x, at);
	if (x->role == LIFT_COUNT) return lift_fail(l, at, "positions within one tile");
	return lift_online_value(l, x, at);
}

/* ---- graphs ---- */

typedef struct { TsModule *m; TsGraph *g; TsVal *with; uint32_t room; bool any; } Calls;

static void grow(Calls *c)
{
	if (c->g->vals.n < c->room) return;
	uint32_t room = c->g->vals.n * 2;
	TsVal *with = TS_NEW_N(c->m->arena, TsVal, room);
	if (c->room) memcpy(with, c->with, c->room * sizeof *with);
	c->with = with;
	c->room = room;
}

static TsVal now(const Calls *c, TsVal v) { return v < c->room && c->with[v] ? c->with[v] : v; }

static bool lift_block(Calls *c, TsBlock *b)
{
	TsBlock out = { .args = b->args, .results = b->results };
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		TsNode *n = b->nodes.p[i];
		for (uint32_t k = 0; k < n->nin; k++) n->in[k] = now(c, n->in[k]);
		if (n->op == TS_OP_for && !lift_block(c, &n->loop->body)) return false;
		if (n->op != TS_OP_kernel) {
			ts_push(c->m->arena, &out.nodes, n);
			continue;
		}
		grow(c);
		if (!lift_call(c->m, c->g, &out, n, c->with + n->out[0])) return false;
		c->any = true;
	}
	for (uint32_t k = 0; k < out.results.n; k++) out.results.p[k] = now(c, out.results.p[k]);
	*b = out;
	return true;
}

bool ts_lift_kernels(TsModule *m)
{
	for (uint32_t i = 0; i < m->graphs.n; i++) {
		Calls c = { .m = m, .g = m->graphs.p[i] };
		if (!lift_block(&c, &c.g->body)) return false;
	}
	return true;
}
