#include "ir/infer.h"
#include <string.h>

static TsDim at_iteration(TsInfer *in, TsDim d, uint32_t symbol, int64_t i, TsDim *with)
{
	uint32_t n = ts_dim_symbol_count(in->m->dims);
	for (uint32_t s = 0; s < n; s++) with[s] = TS_DIM_BAD;
	with[symbol] = ti_const(in, i);
	return ts_dim_subst(in->m->dims, d, with);
}

static bool put_check(TsInfer *in, TsCheck c)
{
	TsDims *d = in->m->dims;
	int64_t k;
	TsTruth t = c.kind == TS_CHECK_EQ ? ts_dim_eq(d, c.cond_lhs, c.cond_rhs) : c.kind == TS_CHECK_LE ? ts_dim_le(d, c.cond_lhs, c.cond_rhs)
		: ts_dim_is_const(d, c.cond_rhs, &k) ? ts_dim_divides(d, k, c.cond_lhs) : TS_OPEN;
	if (c.cond_lhs == TS_DIM_BAD || c.cond_rhs == TS_DIM_BAD) t = TS_NO;
	if (t == TS_NO) {
		ts_error(in->m->cx, c.at, "E_SHAPE_MISMATCH", "%s: %s and %s, in one iteration of the loop", c.text, ti_dim_text(in, c.cond_lhs), ti_dim_text(in, c.cond_rhs));
		return false;
	}
	for (uint32_t i = 0; t == TS_OPEN && i < in->g->checks.n; i++) {
		const TsCheck *o = &in->g->checks.p[i];
		if (o->kind == c.kind && o->cond_lhs == c.cond_lhs && o->cond_rhs == c.cond_rhs) return true;
	}
	if (t == TS_OPEN) ts_push(in->m->arena, &in->g->checks, c);
	return true;
}

/* Demands that mention the loop's variable, listed for each iteration: the caller checks before the first one runs. */
static bool unroll_checks(TsInfer *in, const TsFor *f, uint32_t symbol, TsDim *with)
{
	enum { MOST = 4096 };
	uint32_t n = in->g->checks.n;
	TsCheck *all = ts_memdup(in->m->arena, in->g->checks.p, n * sizeof *all);
	in->g->checks.n = 0;
	for (uint32_t i = 0; i < n; i++) {
		TsCheck c = all[i];
		if (at_iteration(in, c.cond_lhs, symbol, f->lo, with) == c.cond_lhs && at_iteration(in, c.cond_rhs, symbol, f->lo, with) == c.cond_rhs) {
			ts_push(in->m->arena, &in->g->checks, c);
			continue;
		}
		if (ts_for_trips(f) > MOST) return ti_error(in, "E_LOOP", "a loop with sizes that depend on its variable runs at most %d times, found %lld", MOST, (long long)ts_for_trips(f));
		for (int64_t k = 0, v = f->lo; k < ts_for_trips(f); k++, v += f->step) {
			c.cond_lhs = at_iteration(in, all[i].cond_lhs, symbol, v, with);
			c.cond_rhs = at_iteration(in, all[i].cond_rhs, symbol, v, with);
			if (!put_check(in, c)) return false;
		}
	}
	return true;
}

/* A value that leaves an iteration has a size that does not depend on which. */
static bool is_uniform(TsInfer *in, const TsFor *f, uint32_t symbol, TsDim *with)
{
	for (uint32_t k = 0; k < f->body.results.n; k++) {
		const TsType *t = &ts_val(in->g, f->body.results.p[k])->type;
		for (int i = 0; i < t->rank; i++)
			if (at_iteration(in, t->dim[i], symbol, f->lo, with) != t->dim[i])
				return ti_error(in, "E_LOOP_TYPE", "axis %d of a value the loop gives is %s, which differs between iterations", i, ti_dim_text(in, t->dim[i]));
	}
	return true;
}

static bool same_type(TsInfer *in, const TsType *a, const TsType *b, const char *what, uint32_t k)
{
	if (ts_type_eq(a, b)) return true;
	TsBuf x = { 0 }, y = { 0 };
	ts_type_print(in->m, a, &x);
	ts_type_print(in->m, b, &y);
	ti_error(in, "E_LOOP_TYPE", "value %u carried by the loop changes its type: %s, %s %s", k, x.p, what, y.p);
	ts_buf_free(&x);
	ts_buf_free(&y);
	return false;
}

/* Results: the carried values, then the emitted ones with the iterations as a new axis 0. */
bool infer_for(TsInfer *in)
{
	TsFor *f = in->n->loop;
	if (!f) return ti_error(in, "E_LOOP", "a loop without a body");
	if (f->step < 1) return ti_error(in, "E_LOOP", "the step of a loop is at least 1, found %lld", (long long)f->step);
	if (in->n->nin != f->ncarry || f->body.args.n != f->ncarry) return ti_error(in, "E_LOOP", "this loop carries %u values and is given %u", f->ncarry, in->n->nin);
	if (f->body.results.n != in->n->nout || in->n->nout < f->ncarry) return ti_error(in, "E_YIELD", "this loop carries %u values, its body gives %u", f->ncarry, f->body.results.n);
	for (uint32_t k = 0; k < f->ncarry; k++) {
		const TsType *arg = &ts_val(in->g, f->body.args.p[k])->type;
		if (!same_type(in, ti_type(in, k), arg, "inside", k)) return false;
		if (!same_type(in, arg, &ts_val(in->g, f->body.results.p[k])->type, "yielded as", k)) return false;
		*ti_result(in, k) = *ti_type(in, k);
	}
	for (uint32_t k = f->ncarry; k < in->n->nout; k++) {
		const TsType *t = &ts_val(in->g, f->body.results.p[k])->type;
		if (t->rank == TS_MAX_RANK) return ti_error(in, "E_RANK", "an emitted value has at most %d axes", TS_MAX_RANK - 1);
		TsType *r = ti_result(in, k);
		*r = *t;
		memmove(r->dim + 1, t->dim, t->rank * sizeof *t->dim);
		r->dim[0] = ti_const(in, ts_for_trips(f));
		r->rank++;
	}
	int64_t c;
	uint32_t symbol;
	if (!ts_dim_is_scaled_symbol(in->m->dims, f->symbol, &c, &symbol)) return true;   /* no size uses the variable */
	TsDim *with = TS_NEW_N(in->m->arena, TsDim, ts_dim_symbol_count(in->m->dims));
	return is_uniform(in, f, symbol, with) && unroll_checks(in, f, symbol, with);
}
