/* Plan expressions: every node is evaluated once per change of what it depends on, in table order, overflow checked. A failed node is
 * marked and fails its users; nobody is told until a failed value is used. */
#include "rtlib/rt.h"

static bool floor_div(int64_t a, int64_t b, int64_t *q, int64_t *r)
{
	if (b == 0 || (a == INT64_MIN && b == -1))
		return false;
	*q = a / b;
	*r = a % b;
	if (*r && (*r < 0) != (b < 0)) {
		*q -= 1;
		*r += b;
	}
	return true;
}

static bool arithmetic(uint32_t kind, int64_t a, int64_t b, int64_t *out)
{
	int64_t other;
	switch (kind) {
	case TS_EX_ADD: return !__builtin_add_overflow(a, b, out);
	case TS_EX_SUB: return !__builtin_sub_overflow(a, b, out);
	case TS_EX_MUL: return !__builtin_mul_overflow(a, b, out);
	case TS_EX_DIV: return floor_div(a, b, out, &other);
	case TS_EX_MOD: return floor_div(a, b, &other, out);
	case TS_EX_MIN: *out = a < b ? a : b; return true;
	case TS_EX_MAX: *out = a > b ? a : b; return true;
	case TS_EX_EQ: *out = a == b; return true;
	case TS_EX_NE: *out = a != b; return true;
	case TS_EX_LT: *out = a < b; return true;
	case TS_EX_LE: *out = a <= b; return true;
	default: return false;
	}
}

/* a decides alone when it is `deciding` (0 for and, 1 for or) */
static bool logic(const TsEval *v, const TsPlanExpr *x, int64_t deciding, int64_t *out)
{
	if (!v->ok[x->a])
		return false;
	*out = v->value[x->a] != 0;
	if (*out == deciding)
		return true;
	*out = v->value[x->b] != 0;
	return v->ok[x->b];
}

static void eval(TsEval *v, uint32_t i)
{
	const TsPlanExpr *x = &v->ex[i];
	int64_t *out = &v->value[i];
	bool ok = true;
	switch (x->kind) {
	case TS_EX_CONST: *out = x->value; break;
	case TS_EX_DIM: *out = v->dims[x->a]; ok = *out >= 0; break;
	case TS_EX_LOOP: *out = v->loop[x->a]; ok = v->set >> x->a & 1; break;
	case TS_EX_NUM: *out = v->num[x->a]; break;
	case TS_EX_AND: ok = logic(v, x, 0, out); break;
	case TS_EX_OR: ok = logic(v, x, 1, out); break;
	case TS_EX_SELECT: {
		uint32_t side = v->value[x->a] ? x->b : x->c;
		ok = v->ok[x->a] && v->ok[side];
		*out = v->value[side];
		break;
	}
	default: ok = v->ok[x->a] && v->ok[x->b] && arithmetic(x->kind, v->value[x->a], v->value[x->b], out);
	}
	if (!ok)
		*out = 0;
	v->ok[i] = ok;
}

void ts_eval_deps(TsEval *v)
{
	for (uint32_t i = 0; i < v->n; i++) {
		const TsPlanExpr *x = &v->ex[i];
		if (x->kind == TS_EX_CONST || x->kind == TS_EX_DIM || x->kind == TS_EX_NUM)
			v->deps[i] = 0;
		else if (x->kind == TS_EX_LOOP)
			v->deps[i] = (uint8_t)(1u << x->a);
		else
			v->deps[i] = v->deps[x->a] | v->deps[x->b] | (x->kind == TS_EX_SELECT ? v->deps[x->c] : 0);
	}
}

void ts_eval_dims(TsEval *v)
{
	v->set = 0;
	for (uint32_t i = 0; i < v->n; i++)
		eval(v, i);
}

void ts_eval_loop(TsEval *v, uint32_t var)
{
	for (uint32_t i = 0; i < v->n; i++)
		if (v->deps[i] >> var & 1)
			eval(v, i);
}
