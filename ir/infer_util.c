#include "ir/infer.h"
#include <string.h>

bool ti_has(const TsInfer *in, uint32_t i) { return i < in->n->nin && in->n->in[i]; }
const TsType *ti_type(const TsInfer *in, uint32_t i) { return &ts_val(in->g, in->n->in[i])->type; }
TsType *ti_result(const TsInfer *in, uint32_t i) { return &ts_val(in->g, in->n->out[i])->type; }
TsDim ti_const(const TsInfer *in, int64_t v) { return ts_dim_const(in->m->dims, v); }

TsAttr *ti_attr(const TsInfer *in, const char *name)
{
	int i = ts_op_attr_index(in->op, name);
	if (i < 0) ts_bug(in->m->cx, in->n->at, "%s has no attribute '%s'", in->op->name, name);
	return &in->n->attr[i];
}

const char *ti_name(const TsInfer *in, uint32_t i)
{
	const TsValue *v = ts_val(in->g, in->n->in[i]);
	if (v->name) return v->name;
	if (v->def && v->def->name) return v->def->name;
	if (v->def && v->def->op == TS_OP_const) return "the literal";
	return in->op->variadic ? ts_printf(in->m->arena, "operand %u", i) : in->op->in[i];
}

static const char *text_of(const TsInfer *in, TsBuf *b)
{
	const char *s = ts_strndup(in->m->arena, b->p ? b->p : "", b->n);
	ts_buf_free(b);
	return s;
}

const char *ti_type_text(const TsInfer *in, uint32_t i)
{
	TsBuf b = { 0 };
	ts_type_print(in->m, ti_type(in, i), &b);
	return text_of(in, &b);
}

const char *ti_dim_text(const TsInfer *in, TsDim d)
{
	TsBuf b = { 0 };
	if (d == TS_DIM_BAD) ts_buf_str(&b, "(out of range)");
	else ts_dim_print(in->m->dims, d, &b);
	return text_of(in, &b);
}

bool ti_error(const TsInfer *in, const char *code, const char *fmt, ...)
{
	TsBuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(&b, fmt, ap);
	va_end(ap);
	ts_error(in->m->cx, in->n->at, code, "%s", b.p ? b.p : "");
	ts_buf_free(&b);
	return false;
}

void ti_note_operands(const TsInfer *in)
{
	for (uint32_t i = 0; i < in->n->nin; i++) {
		if (!ti_has(in, i)) continue;
		const TsNode *def = ts_val(in->g, in->n->in[i])->def;
		ts_note(in->m->cx, def ? def->at : (TsSpan){ 0 }, "%s is %s", ti_name(in, i), ti_type_text(in, i));
	}
}

static void add_check(TsInfer *in, int kind, TsDim a, TsDim b, const char *what)
{
	for (uint32_t i = 0; i < in->g->checks.n; i++) {
		const TsCheck *c = &in->g->checks.p[i];
		if ((int)c->kind == kind && c->cond_lhs == a && c->cond_rhs == b) return;
	}
	TsCheck c = { .cond_lhs = a, .cond_rhs = b, .at = in->n->at, .text = ts_intern(in->m->cx, what) };
	c.kind = kind;
	ts_push(in->m->arena, &in->g->checks, c);
}

static bool demand_fails(TsInfer *in, TsDim a, TsDim b, const char *code, const char *what, const char *relation)
{
	ti_error(in, code, "%s: %s %s %s", what, ti_dim_text(in, a), relation, ti_dim_text(in, b));
	ti_note_operands(in);
	return false;
}

static bool bare_symbol(const TsInfer *in, TsDim d, uint32_t *sym)
{
	int64_t c;
	return ts_dim_is_scaled_symbol(in->m->dims, d, &c, sym) && c == 1;
}

bool ti_equal(TsInfer *in, TsDim a, TsDim b, const char *code, const char *what)
{
	TsDims *d = in->m->dims;
	if (a == b) return a != TS_DIM_BAD || demand_fails(in, a, b, code, what, "and");
	TsTruth t = a == TS_DIM_BAD || b == TS_DIM_BAD ? TS_NO : ts_dim_eq(d, a, b);
	uint32_t s, u;
	if (t == TS_NO || (t == TS_OPEN && bare_symbol(in, a, &s) && bare_symbol(in, b, &u) && s != u)) return demand_fails(in, a, b, code, what, "and");
	if (t == TS_OPEN) add_check(in, TS_CHECK_EQ, a, b, what);
	return true;
}

bool ti_at_most(TsInfer *in, TsDim a, TsDim b, const char *code, const char *what)
{
	TsTruth t = a == TS_DIM_BAD || b == TS_DIM_BAD ? TS_NO : ts_dim_le(in->m->dims, a, b);
	if (t == TS_NO) return demand_fails(in, a, b, code, what, "is more than");
	if (t == TS_OPEN) add_check(in, TS_CHECK_LE, a, b, what);
	return true;
}

bool ti_multiple(TsInfer *in, TsDim a, int64_t k, const char *code, const char *what)
{
	TsTruth t = a == TS_DIM_BAD || k < 1 ? TS_NO : ts_dim_divides(in->m->dims, k, a);
	if (t == TS_NO) return demand_fails(in, a, ti_const(in, k), code, what, "is not a multiple of");
	if (t == TS_OPEN) add_check(in, TS_CHECK_DIVIDES, a, ti_const(in, k), what);
	return true;
}

uint32_t ti_type_set(TsDtype t)
{
	if (t == TS_BOOL) return TS_T_BOOL;
	if (t == TS_COMPLEX64) return TS_T_COMPLEX;
	if (!ts_dtype_is_compute(t)) return TS_T_STORAGE;
	return ts_dtype_is_float(t) ? TS_T_FLOAT : TS_T_INT;
}

static const char *set_text(const TsInfer *in, uint32_t types)
{
	TsBuf b = { 0 };
	for (int t = 0; t < TS_DTYPE_COUNT; t++)
		if (ti_type_set((TsDtype)t) & types) ts_buf_fmt(&b, "%s%s", b.n ? " " : "", ts_dtype_name((TsDtype)t));
	return text_of(in, &b);
}

bool ti_accepts(TsInfer *in, uint32_t i, uint32_t types)
{
	TsDtype t = ti_type(in, i)->elem;
	if (t < TS_DTYPE_COUNT && ti_type_set(t) & types) return true;
	ti_error(in, "E_TYPE", "%s takes %s, %s is %s", in->op->name, set_text(in, types), ti_name(in, i), ti_type_text(in, i));
	if (t != TS_COMPLEX64) ts_hint(in->m->cx, "cast(%s, %s)", ti_name(in, i), types & TS_T_FLOAT ? "f32" : types & TS_T_INT ? "int64" : "bool");
	return false;
}

bool ti_one_type(TsInfer *in, uint32_t from, uint32_t to, uint32_t types)
{
	uint32_t first = from;
	while (first < to && !ti_has(in, first)) first++;
	for (uint32_t i = first; i < to; i++) {
		if (!ti_has(in, i)) continue;
		if (!ti_accepts(in, i, types)) return false;
		if (ti_type(in, i)->elem == ti_type(in, first)->elem) continue;
		ti_error(in, "E_TYPE_MISMATCH", "%s takes one element type: %s is %s, %s is %s", in->op->name, ti_name(in, first), ti_type_text(in, first), ti_name(in, i), ti_type_text(in, i));
		ts_hint(in->m->cx, "cast(%s, %s)", ti_name(in, i), ts_dtype_name(ti_type(in, first)->elem));
		return false;
	}
	return true;
}

/* The size of axis `axis` of out and operand i together. who: the operand that gave out's. */
static bool stretch(TsInfer *in, TsDim *out, int axis, uint32_t who, uint32_t i, TsDim d)
{
	int64_t v;
	if (*out == d) return d != TS_DIM_BAD;
	if (ts_dim_is_const(in->m->dims, d, &v) && v == 1) return true;
	if (ts_dim_is_const(in->m->dims, *out, &v) && v == 1) return *out = d, true;
	uint32_t errors = ts_error_count(in->m->cx);
	const char *what = ts_printf(in->m->arena, "%s: axis %d of %s and %s", in->op->name, axis, ti_name(in, who), ti_name(in, i));
	TsTruth t = ts_dim_eq(in->m->dims, *out, d);
	uint32_t s, u;
	if (t == TS_NO || (bare_symbol(in, *out, &s) && bare_symbol(in, d, &u))) {
		ti_error(in, "E_BROADCAST", "%s: axis %d is %s in %s and %s in %s, and only a literal 1 stretches", in->op->name, axis, ti_dim_text(in, *out), ti_name(in, who), ti_dim_text(in, d), ti_name(in, i));
		ti_note_operands(in);
	} else ti_equal(in, *out, d, "E_BROADCAST", what);
	if (ts_dim_is_const(in->m->dims, d, &v)) *out = d;
	return ts_error_count(in->m->cx) == errors;
}

static bool merge(TsInfer *in, TsType *out, uint32_t who, uint32_t i, int skip)
{
	const TsType *t = ti_type(in, i);
	int have = out->rank, want = t->rank - skip > have ? t->rank - skip : have;
	for (int k = have - 1; k >= 0; k--) out->dim[k + want - have] = out->dim[k];
	for (int k = 0; k < want - have; k++) out->dim[k] = ti_const(in, 1);
	out->rank = (uint8_t)want;
	for (int k = 0; k < t->rank - skip; k++)
		if (!stretch(in, &out->dim[want - (t->rank - skip) + k], want - (t->rank - skip) + k, who, i, t->dim[k])) return false;
	return true;
}

bool ti_broadcast(TsInfer *in, uint32_t a, uint32_t b, int skip, TsType *out)
{
	out->rank = (uint8_t)(ti_type(in, a)->rank - skip);
	memcpy(out->dim, ti_type(in, a)->dim, out->rank * sizeof *out->dim);
	return merge(in, out, a, b, skip);
}

bool ti_broadcast_all(TsInfer *in, TsType *out)
{
	out->rank = 0;
	for (uint32_t i = 0; i < in->n->nin; i++)
		if (!merge(in, out, i ? i - 1 : 0, i, 0)) return false;
	return true;
}

bool ti_axis(TsInfer *in, int64_t *axis, int rank)
{
	if (*axis < -rank || *axis >= rank) {
		ti_error(in, "E_AXIS", "%s: axis %lld is not in %d to %d", in->op->name, (long long)*axis, -rank, rank - 1);
		ti_note_operands(in);
		return false;
	}
	if (*axis < 0) *axis += rank;
	return true;
}

bool ti_axes(TsInfer *in, const char *attr, int rank, uint32_t *mask)
{
	TsAttr *a = ti_attr(in, attr);
	*mask = 0;
	if (a->none) return *mask = (1u << rank) - 1, true;
	for (uint32_t i = 0; i < a->n; i++) {
		int64_t axis = a->ints[i];
		if (!ti_axis(in, &axis, rank)) return false;
		if (*mask >> axis & 1) return ti_error(in, "E_AXIS", "%s: axis %lld is named twice", in->op->name, (long long)axis);
		*mask |= 1u << axis;
	}
	uint32_t n = 0;
	for (int k = 0; k < rank; k++)
		if (*mask >> k & 1) a->ints[n++] = k;
	return true;
}

bool ti_rank_at_least(TsInfer *in, uint32_t i, int rank)
{
	if (ti_type(in, i)->rank >= rank) return true;
	return ti_error(in, "E_RANK", "%s takes at least %d ax%ss, %s is %s", in->op->name, rank, rank == 1 ? "i" : "e", ti_name(in, i), ti_type_text(in, i));
}
