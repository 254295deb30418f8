#include "ir/interp.h"
#include <string.h>

static const char *dim_text(TsModule *m, TsDim d)
{
	TsBuf b = { 0 };
	ts_dim_print(m->dims, d, &b);
	const char *s = ts_strndup(m->arena, b.p ? b.p : "", b.n);
	ts_buf_free(&b);
	return s;
}

static bool check_rank(TsModule *m, const TsValue *p, const TsTensor *t)
{
	if (t->elem != p->type.elem) {
		ts_error(m->cx, p->def->at, "E_CALL_TYPE", "%s is %s, wanted %s", p->name, ts_dtype_name(t->elem), ts_dtype_name(p->type.elem));
		return false;
	}
	if (t->rank == p->type.rank) return true;
	ts_error(m->cx, p->def->at, "E_CALL_RANK", "%s has %d axes, wanted %d", p->name, t->rank, p->type.rank);
	return false;
}

/* A size found for a symbol lies in its range and is a multiple of what it promises. */
static bool check_symbol(TsModule *m, const TsValue *p, int axis, uint32_t symbol, int64_t v)
{
	const TsDimSym *s = ts_dim_symbol_info(m->dims, symbol);
	const char *what = v < s->min ? "at least" : v > s->max ? "at most" : s->multiple > 1 && v % s->multiple ? "a multiple of" : NULL;
	if (!what) return true;
	ts_error(m->cx, p->def->at, "E_CALL_DIM", "%s axis %d: %s is %lld, wanted %s %lld", p->name, axis, s->name, (long long)v, what, (long long)(v < s->min ? s->min : v > s->max ? s->max : s->multiple));
	return false;
}

/* Sizes that are a symbol, or a constant times one, give it its value. */
static bool bind_axis(TsModule *m, const TsValue *p, const TsTensor *t, int axis, int64_t *values, bool *bound)
{
	int64_t c;
	uint32_t symbol;
	if (!ts_dim_is_scaled_symbol(m->dims, p->type.dim[axis], &c, &symbol) || bound[symbol]) return true;
	if (t->dim[axis] % c) {
		ts_error(m->cx, p->def->at, "E_CALL_DIM", "%s axis %d is %lld, wanted %s, a multiple of %lld", p->name, axis, (long long)t->dim[axis], dim_text(m, p->type.dim[axis]), (long long)c);
		return false;
	}
	bound[symbol] = true;
	values[symbol] = t->dim[axis] / c;
	return check_symbol(m, p, axis, symbol, values[symbol]);
}

static bool compare_axis(TsModule *m, const TsValue *p, const TsTensor *t, int axis, const int64_t *values)
{
	int64_t want;
	if (!ts_dim_eval(m->dims, p->type.dim[axis], values, &want)) {
		ts_error(m->cx, p->def->at, "E_CALL_DIM", "%s axis %d: %s has no value here", p->name, axis, dim_text(m, p->type.dim[axis]));
		return false;
	}
	if (want == t->dim[axis]) return true;
	ts_error(m->cx, p->def->at, "E_CALL_DIM", "%s axis %d is %lld, wanted %lld (%s)", p->name, axis, (long long)t->dim[axis], (long long)want, dim_text(m, p->type.dim[axis]));
	return false;
}

static bool test_check(TsModule *m, const TsCheck *c, const int64_t *values)
{
	int64_t a, b;
	static const char *const wanted[] = { [TS_CHECK_EQ] = "equal sizes", [TS_CHECK_LE] = "the first at most the second", [TS_CHECK_DIVIDES] = "a multiple of the second" };
	bool known = ts_dim_eval(m->dims, c->cond_lhs, values, &a) && ts_dim_eval(m->dims, c->cond_rhs, values, &b);
	if (known && (c->kind == TS_CHECK_EQ ? a == b : c->kind == TS_CHECK_LE ? a <= b : b && a % b == 0)) return true;
	const char *found = known ? ts_printf(m->arena, "%lld and %lld", (long long)a, (long long)b) : "no value";
	ts_error(m->cx, c->at, "E_CHECK", "%s: %s and %s are %s, wanted %s", c->text, dim_text(m, c->cond_lhs), dim_text(m, c->cond_rhs), found, wanted[c->kind]);
	return false;
}

bool ts_bind_dims(TsModule *m, TsGraph *g, const TsTensor *inputs, int64_t *values)
{
	uint32_t n = ts_dim_symbol_count(m->dims);
	bool *bound = TS_NEW_N(m->arena, bool, n ? n : 1);
	memset(values, 0, n * sizeof *values);
	for (uint32_t i = 0; i < g->params.n; i++) {
		const TsValue *p = ts_val(g, g->params.p[i]);
		if (!check_rank(m, p, &inputs[i])) return false;
		for (int k = 0; k < p->type.rank; k++)
			if (!bind_axis(m, p, &inputs[i], k, values, bound)) return false;
	}
	for (uint32_t i = 0; i < g->params.n; i++) {
		const TsValue *p = ts_val(g, g->params.p[i]);
		for (int k = 0; k < p->type.rank; k++)
			if (!compare_axis(m, p, &inputs[i], k, values)) return false;
	}
	for (uint32_t i = 0; i < g->checks.n; i++)
		if (!test_check(m, &g->checks.p[i], values)) return false;
	return true;
}
