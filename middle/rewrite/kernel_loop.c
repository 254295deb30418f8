/* Loops over tiles. What a loop carries must follow a rule whose result for all tiles is known: a sum, the largest, the smallest, or
 * online softmax with what is accumulated under it. */
#include "kernel_lift.h"
#include <math.h>
#include <string.h>

enum { MOST_TERMS = 64 };

typedef struct {
	Lift *l;
	TsNode *n;
	TsFor *f;
	int var;
	uint64_t *dep;               /* by value of the cell: carried values that it comes from */
	uint64_t from_zero;
	TS_VEC(Online *) online;
	TS_VEC(const TsNode *) inner; /* loops inside, counted from 0, that are done */
} Loop;

static TsNode *def(const Loop *q, TsVal v) { return ts_val(q->l->cell, v)->def; }
static const char *var_name(const Loop *q) { return q->l->k->vars.p[q->var].name; }

/* ---- what comes from what ---- */

static uint64_t inner_deps(const Loop *q, const TsBlock *b)
{
	uint64_t m = 0;
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		const TsNode *n = b->nodes.p[i];
		for (uint32_t k = 0; k < n->nin; k++) m |= n->in[k] ? q->dep[n->in[k]] : 0;
		if (n->op == TS_OP_for) m |= inner_deps(q, &n->loop->body);
	}
	for (uint32_t i = 0; i < b->results.n; i++) m |= q->dep[b->results.p[i]];
	return m;
}

static void find_deps(Loop *q)
{
	for (uint32_t i = 0; i < q->f->ncarry; i++) q->dep[q->f->body.args.p[i]] = (uint64_t)1 << i;
	for (uint32_t i = 0; i < q->f->body.nodes.n; i++) {
		const TsNode *n = q->f->body.nodes.p[i];
		uint64_t m = 0;
		for (uint32_t k = 0; k < n->nin; k++) m |= n->in[k] ? q->dep[n->in[k]] : 0;
		if (n->op == TS_OP_for) m |= inner_deps(q, &n->loop->body);
		for (uint32_t k = 0; k < n->nout; k++) q->dep[n->out[k]] = m;
	}
}

/* ---- online softmax ---- */

static int carried(const Loop *q, TsVal v)
{
	for (uint32_t i = 0; i < q->f->ncarry; i++)
		if (q->f->body.args.p[i] == v) return (int)i;
	return -1;
}

/* Which values of the body scale with p, row by row, so that a factor for each row may be taken out? */
static uint8_t *find_linear(const Loop *q, const Online *o)
{
	uint8_t *lin = ts_alloc(q->l->m->arena, q->l->cell->vals.n + 1);
	lin[o->node->out[2]] = 1;
	for (uint32_t i = 0; i < q->f->body.nodes.n; i++) {
		const TsNode *n = q->f->body.nodes.p[i];
		if (n->nout != 1 || !n->nin || !n->in[0]) continue;
		bool a = lin[n->in[0]], b = n->nin > 1 && n->in[1] && lin[n->in[1]], free1 = n->nin > 1 && !q->dep[n->in[1]];
		bool is = false;
		switch (n->op) {
		case TS_OP_neg: is = a; break;
		case TS_OP_cast: is = a && ts_dtype_is_float(ts_val(q->l->cell, n->out[0])->type.elem); break;
		case TS_OP_mul: is = (a && free1) || (b && !q->dep[n->in[0]]); break;
		case TS_OP_div: case TS_OP_matmul: is = a && free1; break;
		case TS_OP_add: case TS_OP_sub: is = a && b; break;
		default: break;
		}
		lin[n->out[0]] = is;
	}
	return lin;
}

static bool add_online(Loop *q, TsNode *n)
{
	int m = carried(q, n->in[1]), sum = carried(q, n->in[2]);
	const TsBlock *b = &q->f->body;
	if (q->dep[n->in[0]]) return lift_fail(q->l, n->at, "an online softmax of scores that come from the loop's other results");
	if (m < 0 || sum < 0 || b->results.p[m] != n->out[0] || b->results.p[sum] != n->out[1])
		return lift_fail(q->l, n->at, "an online softmax whose m and l are not what the loop carries on");
	Online *o = TS_NEW(q->l->m->arena, Online);
	*o = (Online){ .node = n, .loop = q->f, .var = q->var, .m = (uint32_t)m, .l = (uint32_t)sum, .m0 = q->n->in[m], .l0 = q->n->in[sum] };
	if (q->from_zero >> m & 1 || q->from_zero >> sum & 1) return lift_fail(q->l, n->at, "an online softmax that goes on over two loops");
	o->plain = lift_is_splat(q->l, o->m0, -INFINITY) && lift_is_splat(q->l, o->l0, 0);
	const Lifted *s = &q->l->of[n->in[0]];
	if (s->rank != 2 || s->partial >= 0 || s->along[1] != q->var || s->along[0] == q->var)
		return lift_fail(q->l, n->at, ts_printf(q->l->m->arena, "an online softmax whose columns are not the tile along %s", var_name(q)));
	o->linear = find_linear(q, o);
	ts_push(q->l->m->arena, &q->online, o);
	return true;
}

/* exp(m - m1), as a column: the online softmax that it belongs to. Its guarded form is 0 where m1 is -inf. */
static Online *factor(const Loop *q, TsVal v)
{
	TsNode *n = def(q, v);
	while (n && n->op == TS_OP_reshape) n = def(q, n->in[0]);
	TsNode *guard = n && n->op == TS_OP_where ? def(q, n->in[0]) : NULL;
	if (guard) {
		if (guard->op != TS_OP_eq || !lift_is_splat(q->l, guard->in[1], -INFINITY) || !lift_is_splat(q->l, n->in[1], 0)) return NULL;
		n = def(q, n->in[2]);
	}
	TsNode *d = n && n->op == TS_OP_exp ? def(q, n->in[0]) : NULL;
	if (!d || d->op != TS_OP_sub) return NULL;
	for (uint32_t i = 0; i < q->online.n; i++) {
		Online *o = q->online.p[i];
		if (d->in[0] == q->f->body.args.p[o->m] && d->in[1] == o->node->out[0] && (!guard || guard->in[0] == o->node->out[0])) return o;
	}
	return NULL;
}

/* y = arg * exp(m - m1) + x */
static Online *accumulates(const Loop *q, TsVal y, TsVal arg, TsVal *x)
{
	TsNode *n = def(q, y);
	if (!n || n->op != TS_OP_add) return NULL;
	for (int i = 0; i < 2; i++) {
		TsNode *p = def(q, n->in[i]);
		if (!p || p->op != TS_OP_mul) continue;
		for (int k = 0; k < 2; k++) {
			Online *o = p->in[k] == arg ? factor(q, p->in[1 - k]) : NULL;
			if (!o || !o->linear[n->in[1 - i]]) continue;
			*x = n->in[1 - i];
			return o;
		}
	}
	return NULL;
}

/* ---- sums ---- */

/* The value for all tiles from what every tile gives. */
static bool complete(const Loop *q, Lifted *x, TsOp kind, TsSpan at)
{
	Lift *l = q->l;
	if (x->partial == q->var) {
		if (x->kind != kind) return lift_fail(l, at, "a reduction of another kind than what the loop does with it");
		x->partial = -1;
		return true;
	}
	if (x->batch >> q->var & 1) {
		if (x->partial >= 0 && x->kind != kind) return lift_fail(l, at, "a reduction of another kind than what the loop does with it");
		x->v = lift_reduce(l, kind, x->v, lift_leading(x->batch & (((uint64_t)1 << q->var) - 1)), false, at);
		x->batch &= ~((uint64_t)1 << q->var);
		return x->v != 0;
	}
	return lift_fail(l, at, ts_printf(l->m->arena, "a loop that does the same for each %s", var_name(q)));
}

/* a + b, a - b, or the larger, or the smaller. a->v 0: b alone. */
static bool join(Lift *l, Lifted *a, Lifted *b, TsOp op, TsSpan at)
{
	if (!lift_force(l, b, at)) return false;
	if (!a->v && op != TS_OP_sub) { *a = *b; return true; }
	if (!a->v) {
		*a = *b;
		a->v = lift_op(l, TS_OP_neg, 1, &b->v, NULL, at);
		return a->v != 0;
	}
	if (a->partial != b->partial) return lift_fail(l, at, "a loop that adds a sum and single values");
	uint64_t batch = a->batch | b->batch;
	TsVal in[2] = { lift_align(l, a, batch, a->rank, at), lift_align(l, b, batch, b->rank, at) };
	a->v = lift_op(l, op, 2, in, NULL, at);
	a->batch = batch;
	return a->v != 0;
}

static bool carries_from_zero(Loop *q, TsNode *inner, TsVal y, TsOp kind, TsVal *before)
{
	uint64_t zero = 0;
	uint32_t which = ts_val(q->l->cell, y)->index;
	uint64_t inside = inner_deps(q, &inner->loop->body);
	if (kind != TS_OP_sum || inside) return false;
	for (uint32_t i = 0; i < inner->loop->ncarry; i++)
		if (q->dep[inner->in[i]]) zero |= (uint64_t)1 << i;
	uint32_t k = 0;
	while (k < q->inner.n && q->inner.p[k] != inner) k++;
	if (k == q->inner.n && !lift_for(q->l, inner, zero)) return false;
	if (k == q->inner.n) ts_push(q->l->m->arena, &q->inner, inner);
	*before = inner->in[which];
	return true;
}

/* y = arg op t1 op t2 …, op one of add and sub, maximum, minimum: the whole loop's. */
static bool chain(Loop *q, uint32_t i, TsOp kind, Lifted *to)
{
	Lift *l = q->l;
	TsVal y = q->f->body.results.p[i], arg = q->f->body.args.p[i], term[MOST_TERMS];
	TsOp with[MOST_TERMS];
	uint32_t n = 0;
	while (y != arg) {
		TsNode *d = def(q, y);
		TsVal before;
		if (!d || n == MOST_TERMS) return false;
		bool first = d->nin == 2 && !q->dep[d->in[0]], second = d->nin == 2 && !q->dep[d->in[1]], sum = kind == TS_OP_sum;
		bool adds = sum ? d->op == TS_OP_add : kind == TS_OP_max ? d->op == TS_OP_maximum : d->op == TS_OP_minimum;
		if ((adds && (first != second)) || (sum && d->op == TS_OP_sub && second && !first)) {
			with[n] = d->op;
			term[n++] = d->in[first ? 0 : 1];
			y = d->in[first ? 1 : 0];
		} else if (d->op == TS_OP_for && carries_from_zero(q, d, y, kind, &before)) {
			with[n] = TS_OP_add;
			term[n++] = y;
			y = before;
		} else return false;
	}
	TsVal init = q->n->in[i];
	bool none = q->from_zero >> i & 1 || lift_is_splat(l, init, kind == TS_OP_sum ? 0 : kind == TS_OP_max ? -INFINITY : INFINITY);
	*to = (Lifted){ .partial = -1, .var = -1 };
	if (q->from_zero >> i & 1 && kind != TS_OP_sum) return false;
	if (!none) {
		Lifted first = l->of[init];
		if (!join(l, to, &first, TS_OP_add, q->n->at)) return false;
	}
	while (n--) {
		Lifted x = l->of[term[n]];
		TsSpan at = def(q, term[n]) ? def(q, term[n])->at : q->n->at;
		if (!lift_force(l, &x, at) || !complete(q, &x, kind, at) || !join(l, to, &x, with[n], at)) return false;
	}
	return true;
}

/* ---- one carried value ---- */

static bool in_online(const Loop *q, uint32_t i, Lifted *to)
{
	for (uint32_t k = 0; k < q->online.n; k++) {
		Online *o = q->online.p[k];
		if (i != o->m && i != o->l) continue;
		*to = (Lifted){ .partial = -1, .var = -1, .role = i == o->m ? LIFT_MOST : LIFT_SUM, .online = o };
		return true;
	}
	return false;
}

static bool carry(Loop *q, uint32_t i, Lifted *to)
{
	Lift *l = q->l;
	TsVal y = q->f->body.results.p[i], arg = q->f->body.args.p[i], x;
	static const TsOp kinds[] = { TS_OP_sum, TS_OP_max, TS_OP_min };
	if (in_online(q, i, to)) return true;
	if (y == arg && !(q->from_zero >> i & 1)) { *to = l->of[q->n->in[i]]; return true; }
	Online *o = accumulates(q, y, arg, &x);
	if (o) {
		if (q->from_zero >> i & 1) return lift_fail(l, q->n->at, "an online softmax that goes on over two loops");
		*to = (Lifted){ .partial = -1, .var = -1, .role = LIFT_ACC, .online = o, .product = x, .begin = q->n->in[i] };
		return true;
	}
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds && !l->failed; k++)
		if (chain(q, i, kinds[k], to)) return true;
	const char *name = ts_val(l->cell, arg)->name;
	TsNode *d = def(q, y);
	return lift_fail(l, d ? d->at : q->n->at, ts_printf(l->m->arena, "'%s', which the loop over %s carries on neither as a sum, a maximum or minimum, nor under an online softmax,", name ? name : "a value", var_name(q)));
}

bool lift_for(Lift *l, TsNode *n, uint64_t from_zero)
{
	Loop q = { .l = l, .n = n, .f = n->loop, .var = lift_var(l, n->loop->symbol), .from_zero = from_zero };
	const TsBlock *b = &n->loop->body;
	const TsNumerics *num = l->num;
	if (q.var < 0) return lift_fail(l, n->at, "this loop");
	l->num = n->num;
	q.dep = TS_NEW_N(l->m->arena, uint64_t, l->cell->vals.n + 1);
	find_deps(&q);
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		TsNode *x = b->nodes.p[i];
		bool comes = false;
		for (uint32_t k = 0; k < x->nout; k++) comes |= q.dep[x->out[k]] != 0;
		if (comes ? x->op == TS_OP_online_softmax && !add_online(&q, x) : !lift_node(l, x)) return false;
	}
	Lifted *out = TS_NEW_N(l->m->arena, Lifted, n->nout + 1);
	for (uint32_t i = 0; i < n->nout; i++) {
		TsDim dim[TS_MAX_RANK];
		if (!carry(&q, i, &out[i])) return false;
		Lifted as = { 0 };
		if (!lift_axes(l, n->out[i], n->at, &as, dim)) return false;
		out[i].rank = as.rank;
		out[i].elem = as.elem;
		memcpy(out[i].along, as.along, sizeof as.along);
	}
	for (uint32_t i = 0; i < n->nout; i++) l->of[n->out[i]] = out[i];
	l->num = num;
	return true;
}

/* ---- online softmax, when its values are asked for ---- */

/* With m0, l0 and the accumulator's first value the leading axes may be more than the scores'. */
static bool rows_of(Lift *l, Online *o, TsVal begin, uint64_t *batch)
{
	Lifted *s = &l->of[o->node->in[0]], *m0 = &l->of[o->m0], *l0 = &l->of[o->l0];
	TsSpan at = o->node->at;
	if (!lift_force(l, s, at) || !lift_force(l, m0, at) || !lift_force(l, l0, at)) return false;
	*batch = s->batch | m0->batch | l0->batch;
	if (*batch != s->batch || (begin && l->of[begin].batch & ~s->batch)) return lift_fail(l, at, "an online softmax that begins with values of other cells");
	return true;
}

static TsVal column(Lift *l, TsVal v, TsSpan at)
{
	TsDim dim[TS_MAX_RANK + 1];
	const TsType t = ts_val(l->g, v)->type;
	memcpy(dim, t.dim, t.rank * sizeof *dim);
	dim[t.rank] = ts_dim_const(l->m->dims, 1);
	return lift_shaped(l, TS_OP_reshape, v, t.rank + 1u, dim, at);
}

/* The largest of each row, 0 where that is -inf: what the exponents are counted from. */
static TsVal counted_from(Lift *l, Online *o)
{
	TsSpan at = o->node->at;
	TsDtype t = l->of[o->node->in[0]].elem;
	TsVal low = lift_scalar(l, t, -INFINITY, at), zero = lift_scalar(l, t, 0, at);
	TsVal none = lift_op(l, TS_OP_eq, 2, (TsVal[]){ o->most, low }, NULL, at);
	return lift_op(l, TS_OP_where, 3, (TsVal[]){ none, zero, o->most }, NULL, at);
}

static bool make_exps(Lift *l, Online *o, TsVal begin)
{
	uint64_t batch;
	TsSpan at = o->node->at;
	if (o->exps) return true;
	if (!rows_of(l, o, begin, &batch)) return false;
	Lifted *s = &l->of[o->node->in[0]];
	uint32_t last = lift_leading(batch) + 1;
	o->most = lift_reduce(l, TS_OP_max, s->v, last, false, at);
	if (!o->plain) o->most = lift_op(l, TS_OP_maximum, 2, (TsVal[]){ o->most, lift_align(l, &l->of[o->m0], batch, 1, at) }, NULL, at);
	TsVal from = o->most ? counted_from(l, o) : 0, d = from ? column(l, from, at) : 0;
	d = lift_op(l, TS_OP_sub, 2, (TsVal[]){ s->v, d }, NULL, at);
	o->exps = lift_op(l, TS_OP_exp, 1, &d, NULL, at);
	return o->exps != 0;
}

/* exp(m0 - m): what remains of the values that the loop began with. */
static TsVal remains(Lift *l, Online *o)
{
	const Lifted *s = &l->of[o->node->in[0]];
	TsVal d = lift_op(l, TS_OP_sub, 2, (TsVal[]){ lift_align(l, &l->of[o->m0], s->batch, 1, o->node->at), counted_from(l, o) }, NULL, o->node->at);
	return lift_op(l, TS_OP_exp, 1, &d, NULL, o->node->at);
}

/* The product of p, given as `p` on the outside, with what it is accumulated with. */
static bool product_with(Lift *l, const Lifted *acc, TsVal p, Lifted *out)
{
	const Online *o = acc->online;
	const TsBlock *b = &o->loop->body;
	uint8_t *need = ts_alloc(l->m->arena, l->cell->vals.n + 1);
	Lifted *s = &l->of[o->node->in[0]], *at = &l->of[o->node->out[2]];
	*at = *s;
	at->v = p;
	need[acc->product] = 1;
	uint64_t *dep = TS_NEW_N(l->m->arena, uint64_t, l->cell->vals.n + 1);
	Loop q = { .l = l, .f = (TsFor *)o->loop, .dep = dep, .var = o->var };
	find_deps(&q);
	for (uint32_t i = b->nodes.n; i-- > 0;) {
		const TsNode *n = b->nodes.p[i];
		bool wanted = false;
		for (uint32_t k = 0; k < n->nout; k++) wanted |= need[n->out[k]] && dep[n->out[k]];
		for (uint32_t k = 0; wanted && n != o->node && k < n->nin; k++) need[n->in[k]] = 1;
	}
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		TsNode *n = b->nodes.p[i];
		if (n == o->node || n->nout != 1 || !need[n->out[0]] || !dep[n->out[0]]) continue;
		if (!lift_node(l, n)) return false;
	}
	*out = l->of[acc->product];
	return complete(&q, out, TS_OP_sum, o->node->at);
}

bool lift_divide(Lift *l, const Lifted *a, const Lifted *b, TsSpan at, Lifted *out)
{
	Online *o = a->online;
	uint64_t batch;
	if (a->online != b->online || !o->plain || !lift_is_splat(l, a->begin, 0) || l->failed) return false;
	if (!rows_of(l, o, a->begin, &batch)) return false;
	if (!o->softmax) {
		TsAttr *x = ts_attrs_new(l->m, TS_OP_softmax), *axis = &x[0];
		axis->ints = TS_NEW(l->m->arena, int64_t);
		axis->ints[0] = lift_leading(batch) + 1;
		axis->n = 1;
		o->softmax = lift_op(l, TS_OP_softmax, 1, &l->of[o->node->in[0]].v, x, o->node->at);
	}
	(void)at;
	return o->softmax && product_with(l, a, o->softmax, out);
}

bool lift_online_value(Lift *l, Lifted *x, TsSpan at)
{
	Online *o = x->online;
	Lifted r = *x;
	if (!make_exps(l, o, x->role == LIFT_ACC ? x->begin : 0)) return false;
	const Lifted *s = &l->of[o->node->in[0]];
	if (x->role == LIFT_MOST) r.v = o->most;
	if (x->role == LIFT_SUM) {
		r.v = lift_reduce(l, TS_OP_sum, o->exps, lift_leading(s->batch) + 1, false, at);
		if (!o->plain) {
			TsVal kept = lift_op(l, TS_OP_mul, 2, (TsVal[]){ lift_align(l, &l->of[o->l0], s->batch, 1, at), remains(l, o) }, NULL, at);
			r.v = lift_op(l, TS_OP_add, 2, (TsVal[]){ kept, r.v }, NULL, at);
		}
	}
	r.batch = s->batch;
	if (x->role == LIFT_ACC) {
		Lifted sum;
		if (!product_with(l, x, o->exps, &sum)) return false;
		r.v = sum.v;
		r.batch = sum.batch;
		if (!lift_is_splat(l, x->begin, 0)) {
			Lifted *begin = &l->of[x->begin], f = { .batch = s->batch, .rank = 2, .partial = -1 };
			TsVal row = remains(l, o);
			if (!row || !lift_force(l, begin, at)) return false;
			f.v = column(l, row, at);
			uint64_t batch = begin->batch | f.batch;
			TsVal kept = lift_op(l, TS_OP_mul, 2, (TsVal[]){ lift_align(l, begin, batch, 2, at), lift_align(l, &f, batch, 2, at) }, NULL, at);
			Lifted k = { .v = kept, .batch = batch, .rank = 2, .partial = -1 };
			if (!kept || !join(l, &k, &sum, TS_OP_add, at)) return false;
			r.v = k.v;
			r.batch = k.batch;
		}
	}
	if (x->column && r.v) r.v = column(l, r.v, at);
	r.role = LIFT_PLAIN;
	*x = r;
	return r.v != 0 && !l->failed;
}
