#include "ir/infer.h"
#include <string.h>

static bool (*const rules[TS_OP_COUNT])(TsInfer *) = {
#define OP(name, ins, attrs, flags, cls, types, shape, ref, adjoint, bound, doc) [TS_OP_##name] = infer_##shape,
#include "ir/ops.def"
};

static bool check_attrs(TsInfer *in)
{
	for (int i = 0; i < in->op->nattr; i++) {
		const TsAttrInfo *d = &in->op->attr[i];
		const TsAttr *a = &in->n->attr[i];
		if (a->none && d->required) return ti_error(in, "E_ATTR", "%s needs the attribute '%s'", in->op->name, d->name);
		if (a->none && !d->none_default) return ti_error(in, "E_ATTR", "%s: '%s' cannot be none", in->op->name, d->name);
		if (a->none || d->kind != TS_A_ENUM) continue;
		size_t n = strlen(a->s);
		bool known = false;
		for (const char *c = d->choices; c && *c; c += strcspn(c, "|"), c += *c == '|') known |= strcspn(c, "|") == n && !memcmp(c, a->s, n);
		if (!known) return ti_error(in, "E_ATTR", "%s: %s is one of %s, found \"%s\"", in->op->name, d->name, d->choices, a->s);
	}
	return true;
}

/* Sizes are never negative, and every product of sizes stays below 2^62. */
static bool check_result(TsInfer *in, const TsType *t)
{
	const int64_t most = INT64_C(1) << 62;
	for (int i = 0; i < t->rank; i++) {
		if (t->dim[i] == TS_DIM_BAD) return ti_error(in, "E_SIZE", "%s: the size of axis %d of the result is out of range", in->op->name, i);
		int64_t low, high;
		ts_dim_range(in->m->dims, t->dim[i], &low, &high);
		if (high < 0) return ti_error(in, "E_SIZE", "%s: axis %d of the result would be %s", in->op->name, i, ti_dim_text(in, t->dim[i]));
		if (!ti_at_most(in, ti_const(in, 0), t->dim[i], "E_SIZE", ts_printf(in->m->arena, "%s: axis %d of the result", in->op->name, i))) return false;
	}
	TsDim n = ts_type_count(in->m, t);
	int64_t lo = INT64_MAX, hi;
	bool zero = false;
	for (int i = 0; i < t->rank; i++) {
		int64_t l, h;
		ts_dim_range(in->m->dims, t->dim[i], &l, &h);
		zero |= l <= 0;
	}
	if (n != TS_DIM_BAD) ts_dim_range(in->m->dims, n, &lo, &hi);
	if (lo > most && !zero) return ti_error(in, "E_SIZE", "%s: the result has more than 2^62 elements", in->op->name);
	return true;
}

bool ts_infer(TsModule *m, TsGraph *g, TsNode *n)
{
	TsInfer in = { m, g, n, ts_op_info(m->cx, n->op) };
	if (n->op <= TS_OP_NONE || n->op >= TS_OP_COUNT) ts_bug(m->cx, n->at, "node without an operator");
	for (uint32_t i = 0; i < n->nin; i++) {
		if (!n->in[i] && !in.op->variadic && i >= in.op->min_in) continue;
		if (!n->in[i] || n->in[i] >= g->vals.n) return ti_error(&in, "E_ARITY", "%s: operand %s is missing", in.op->name, in.op->variadic ? "of the list" : in.op->in[i]);
	}
	if (n->op != TS_OP_for && !check_attrs(&in)) return false;
	if (!rules[n->op](&in)) return false;
	for (uint32_t i = 0; i < n->nout; i++)
		if (!check_result(&in, ti_result(&in, i))) return false;
	return true;
}
