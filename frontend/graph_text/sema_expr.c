/* Expressions: names, literals, sizes, infix and index sugar. */
#include "frontend/graph_text/sema_int.h"
#include <math.h>
#include <string.h>

Ent ts_s_unknown(TsSpan at) { return ENT(ENT_UNKNOWN, at); }

Ent ts_s_fail(Sema *s, TsSpan at, const char *code, const char *fmt, ...)
{
	TsBuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(&b, fmt, ap);
	va_end(ap);
	ts_error(s->cx, at, code, "%s", b.p ? b.p : "");
	ts_buf_free(&b);
	return ts_s_unknown(at);
}

Ent ts_s_not_yet(Sema *s, TsSpan at, const char *what) { return ts_s_fail(s, at, "E_NOT_YET", "%s cannot be compiled in this release", what); }

Ent *ts_s_find(Sema *s, TsSym name)
{
	for (Scope *c = s->scope; c; c = c->is_call ? &s->top : c->up) {
		Ent *e = ts_map_get(&c->names, name);
		if (e) return e;
		if (c == &s->top) break;
	}
	return NULL;
}

bool ts_s_bind(Sema *s, TsSym name, TsSpan at, Ent e)
{
	if (!strcmp(name, "_")) return true;
	for (Scope *c = s->scope; c; c = c->is_call ? &s->top : c->up) {
		Ent *old = ts_map_get(&c->names, name);
		if (old) {
			uint32_t line = 0, col;
			if (old->at.file) ts_source_line_col(s->cx, old->at.file, old->at.begin, &line, &col);
			ts_error(s->cx, at, "E_ASSIGNED_TWICE", "'%s' is already assigned (line %u)", name, line);
			if (c == &s->top) ts_hint(s->cx, "names of the file are not reused in it");
			else if (c == s->scope) ts_hint(s->cx, "names are assigned once; in a loop carry it: for … with %s = … { yield … }", name);
			else ts_hint(s->cx, "a block sees the names around it and does not reuse them");
			return false;
		}
		if (c == &s->top) break;
	}
	Ent *keep = TS_NEW(s->a, Ent);
	*keep = e;
	keep->at = at;
	ts_map_set(s->a, &s->scope->names, name, keep);
	return true;
}

static Ent unknown_name(Sema *s, TsTree *t)
{
	TS_VEC(TsSym) names = { 0 };
	for (Scope *c = s->scope; c; c = c->is_call ? &s->top : c->up) {
		for (uint32_t i = 0; i < c->names.n; i++) ts_push(s->a, &names, (TsSym)c->names.keys[i]);
		if (c == &s->top) break;
	}
	for (uint32_t i = 0; i < s->ended.n; i++) ts_push(s->a, &names, (TsSym)s->ended.keys[i]);
	Ent *gone = ts_map_get(&s->ended, t->name);
	TsSym near = gone ? t->name : ts_nearest(t->name, names.p, names.n);
	ts_error(s->cx, t->at, "E_UNKNOWN_NAME", "unknown name '%s'", t->name);
	if (near && !ts_s_find(s, near) && (gone = ts_map_get(&s->ended, near))) {
		uint32_t line, col;
		ts_source_line_col(s->cx, gone->at.file, gone->at.begin, &line, &col);
		if (gone->at.file == t->at.file) ts_hint(s->cx, "nearest: %s (line %u); it ends with the for block it was made in", near, line);
		return ts_s_unknown(t->at);
	}
	if (near) {
		Ent *e = ts_s_find(s, near);
		uint32_t line = 0, col;
		if (e && e->at.file) ts_source_line_col(s->cx, e->at.file, e->at.begin, &line, &col);
		if (line) ts_hint(s->cx, "nearest: %s (line %u)", near, line);
		else ts_hint(s->cx, "nearest: %s", near);
	}
	return ts_s_unknown(t->at);
}

static bool is_number(Ent e) { return e.kind == ENT_INT || e.kind == ENT_FLOAT; }
static double number(Ent e) { return e.kind == ENT_INT ? (double)e.i : e.f; }
static bool is_sizelike(Ent e) { return e.kind == ENT_SIZE || e.kind == ENT_INT; }
static TsDim size_of(Sema *s, Ent e) { return e.kind == ENT_SIZE ? e.d : ts_dim_const(s->d, e.i); }

/* ---- literals ---- */

static bool int_fits(TsDtype t, int64_t v)
{
	switch (t) {
	case TS_INT32: return v >= INT32_MIN && v <= INT32_MAX;
	case TS_INT16: return v >= INT16_MIN && v <= INT16_MAX;
	case TS_INT8: return v >= -128 && v <= 127;
	case TS_UINT8: return v >= 0 && v <= 255;
	case TS_INT4: return v >= -8 && v <= 7;
	default: return true;
	}
}

static TsVal bad_literal(Sema *s, Ent e, TsDtype want, const char *text)
{
	ts_error(s->cx, e.at, "E_LITERAL_TYPE", "%s is no %s", text, ts_dtype_name(want));
	return 0;
}

static TsVal literal(Sema *s, Ent e, TsDtype want)
{
	TsBuf b = { 0 };
	TsVal v = 0;
	if (want == TS_DTYPE_NONE) want = e.kind == ENT_FLOAT ? TS_F32 : e.kind == ENT_BOOL ? TS_BOOL : TS_INT64;
	if (e.kind == ENT_FLOAT) ts_buf_f64(&b, e.f);
	else ts_buf_fmt(&b, e.kind == ENT_BOOL ? (e.i ? "true" : "false") : "%lld", (long long)e.i);
	bool over = want < TS_DTYPE_COUNT && ts_dtype_is_float(want) && isfinite(number(e)) && !isfinite(ts_dtype_round(want, number(e)));
	bool ok = e.kind == ENT_BOOL ? want == TS_BOOL : e.kind == ENT_FLOAT ? ts_dtype_is_float(want) : ts_dtype_is_float(want) || (ts_dtype_is_int(want) && int_fits(want, e.i));
	if (!ok || over) {
		bad_literal(s, e, want, b.p);
	} else if (ts_dtype_is_float(want)) {
		v = ts_add_scalar(s->m, s->g, s->b, want, number(e), e.at);
	} else {
		TsType ty = { .elem = want, .accum = TS_DTYPE_NONE };
		void *data = ts_alloc(s->a, 8);
		ts_elem_set_int(want, data, 0, e.i);
		v = ts_add_const(s->m, s->g, s->b, ty, data, e.at);
	}
	ts_buf_free(&b);
	return v;
}

/* ---- nested literal lists: [[1, 2], [3, 4]] ---- */

static bool list_shape(const Ent *e, int depth, int64_t *dim, int *rank, EntKind *kind)
{
	if (e->kind != ENT_LIST) {
		if (*rank < 0) *rank = depth;
		if (e->kind == ENT_FLOAT || *kind == ENT_UNKNOWN) *kind = e->kind == ENT_SIZE ? ENT_UNKNOWN : e->kind;
		return *rank == depth && (is_number(*e) || e->kind == ENT_BOOL);
	}
	if (depth >= TS_MAX_RANK) return false;
	if (dim[depth] >= 0 && dim[depth] != e->n) return false;
	dim[depth] = e->n;
	for (uint32_t i = 0; i < e->n; i++)
		if (!list_shape(&e->item[i], depth + 1, dim, rank, kind)) return false;
	if (!e->n && *rank < 0) *rank = depth + 1;
	return true;
}

static void list_fill(const Ent *e, TsDtype t, void *data, int64_t *at)
{
	if (e->kind == ENT_LIST) {
		for (uint32_t i = 0; i < e->n; i++) list_fill(&e->item[i], t, data, at);
		return;
	}
	if (ts_dtype_is_float(t)) ts_elem_set(t, data, *at, number(*e));
	else ts_elem_set_int(t, data, *at, e->i);
	++*at;
}

/* The first element that the type does not hold, or NULL. */
static const Ent *list_misfit(const Ent *e, TsDtype t)
{
	if (e->kind != ENT_LIST) {
		bool fits = e->kind == ENT_BOOL ? t == TS_BOOL : e->kind == ENT_FLOAT ? ts_dtype_is_float(t) : ts_dtype_is_float(t) || (ts_dtype_is_int(t) && int_fits(t, e->i));
		return fits ? NULL : e;
	}
	for (uint32_t i = 0; i < e->n; i++) {
		const Ent *bad = list_misfit(&e->item[i], t);
		if (bad) return bad;
	}
	return NULL;
}

static const char *float_text(Sema *s, double x)
{
	TsBuf b = { 0 };
	ts_buf_f64(&b, x);
	const char *text = ts_strdup(s->a, b.p);
	ts_buf_free(&b);
	return text;
}

static TsVal list_value(Sema *s, Ent e, TsDtype want)
{
	int64_t dim[TS_MAX_RANK + 1], n = 1, at = 0;
	int rank = -1;
	EntKind kind = ENT_UNKNOWN;
	for (int i = 0; i <= TS_MAX_RANK; i++) dim[i] = -1;
	if (!list_shape(&e, 0, dim, &rank, &kind)) {
		ts_error(s->cx, e.at, "E_LIST", "a list that is a tensor holds numbers, and its rows have equal lengths");
		return 0;
	}
	if (want == TS_DTYPE_NONE) want = kind == ENT_FLOAT ? TS_F32 : kind == ENT_BOOL ? TS_BOOL : TS_INT64;
	const Ent *bad = list_misfit(&e, want);
	if (bad) return bad_literal(s, *bad, want, bad->kind == ENT_FLOAT ? float_text(s, bad->f) : bad->kind == ENT_BOOL ? (bad->i ? "true" : "false") : ts_printf(s->a, "%lld", (long long)bad->i));
	TsType ty = { .elem = want, .accum = TS_DTYPE_NONE, .rank = (uint8_t)rank };
	for (int i = 0; i < rank; i++) { ty.dim[i] = ts_dim_const(s->d, dim[i]); n *= dim[i]; }
	void *data = ts_alloc(s->a, (size_t)ts_dtype_bytes(want, n) + 8);
	list_fill(&e, want, data, &at);
	return ts_add_const(s->m, s->g, s->b, ty, data, e.at);
}

TsVal ts_s_value(Sema *s, Ent e, TsDtype want)
{
	switch (e.kind) {
	case ENT_UNKNOWN: return 0;
	case ENT_VALUE: return e.v;
	case ENT_SIZE: return ts_add_dim(s->m, s->g, s->b, e.d, e.at);
	case ENT_INT: case ENT_FLOAT: case ENT_BOOL: return literal(s, e, want);
	case ENT_LIST: return list_value(s, e, want);
	case ENT_MULTI: ts_error(s->cx, e.at, "E_RESULTS", "%u results where one value is needed", e.n); return 0;
	case ENT_BUFFER: case ENT_RESULT: case ENT_TILE: case ENT_IOTA: return ts_k_value(s, e);
	default: ts_error(s->cx, e.at, "E_NOT_A_VALUE", "a tensor is needed here"); return 0;
	}
}

/* ---- sizes ---- */

bool ts_s_size(Sema *s, TsTree *t, TsDim *out)
{
	Ent e = ts_s_expr(s, t);
	if (e.kind == ENT_UNKNOWN) return false;
	if (!is_sizelike(e)) {
		ts_error(s->cx, t->at, "E_SIZE", "a size is an integer expression of dims and integers");
		return false;
	}
	*out = size_of(s, e);
	if (*out == TS_DIM_BAD) { ts_error(s->cx, t->at, "E_SIZE", "this size leaves 64 bits, or divides by 0"); return false; }
	return true;
}

bool ts_s_int(Sema *s, TsTree *t, int64_t *out)
{
	Ent e = ts_s_expr(s, t);
	if (e.kind == ENT_SIZE && ts_dim_is_const(s->d, e.d, out)) return true;
	if (e.kind == ENT_INT) { *out = e.i; return true; }
	if (e.kind != ENT_UNKNOWN) ts_error(s->cx, t->at, "E_CONST", "an integer known at compile time is needed here");
	return false;
}

bool ts_s_demand(Sema *s, TsDim wanted, TsDim found, TsSpan at, const char *what)
{
	TsTruth t = ts_dim_eq(s->d, wanted, found);
	int64_t cw, cf;
	uint32_t k, l;
	if (t == TS_YES) return true;
	bool names = ts_dim_is_scaled_symbol(s->d, wanted, &cw, &k) && ts_dim_is_scaled_symbol(s->d, found, &cf, &l) && cw == 1 && cf == 1; /* two names are never equal by chance */
	if (t == TS_NO || names) {
		TsBuf w = { 0 }, f = { 0 };
		ts_dim_print(s->d, wanted, &w);
		ts_dim_print(s->d, found, &f);
		ts_error(s->cx, at, "E_SHAPE_MISMATCH", "%s: wanted %s, found %s", what, w.p, f.p);
		ts_buf_free(&w);
		ts_buf_free(&f);
		return false;
	}
	TsCheck c = { .cond_lhs = wanted, .cond_rhs = found, .kind = TS_CHECK_EQ, .at = at, .text = ts_intern(s->cx, what) };
	ts_push(s->a, &s->g->checks, c);
	return true;
}

/* a <= b, or b divides a. */
bool ts_s_demand_of(Sema *s, int kind, TsDim a, TsDim b, TsSpan at, const char *what)
{
	int64_t k = 0;
	bool divides = kind == TS_CHECK_DIVIDES;
	TsTruth t = divides ? (ts_dim_is_const(s->d, b, &k) ? ts_dim_divides(s->d, k, a) : TS_OPEN) : ts_dim_le(s->d, a, b);
	if (t == TS_NO) {
		TsBuf x = { 0 }, y = { 0 };
		ts_dim_print(s->d, a, &x);
		ts_dim_print(s->d, b, &y);
		ts_error(s->cx, at, "E_SHAPE_MISMATCH", "%s: %s is %s %s", what, x.p, divides ? "not a multiple of" : "more than", y.p);
		ts_buf_free(&x);
		ts_buf_free(&y);
		return false;
	}
	if (t == TS_YES) return true;
	TsCheck c = { .cond_lhs = a, .cond_rhs = b, .at = at, .text = ts_intern(s->cx, what) };
	c.kind = kind;
	ts_push(s->a, &s->g->checks, c);
	return true;
}

/* ---- infix ---- */

static const TsOp infix_op[] = { [TS_IN_OR] = TS_OP_or, [TS_IN_AND] = TS_OP_and, [TS_IN_EQ] = TS_OP_eq, [TS_IN_NE] = TS_OP_ne, [TS_IN_LT] = TS_OP_lt,
	[TS_IN_LE] = TS_OP_le, [TS_IN_GT] = TS_OP_gt, [TS_IN_GE] = TS_OP_ge, [TS_IN_ADD] = TS_OP_add, [TS_IN_SUB] = TS_OP_sub, [TS_IN_MUL] = TS_OP_mul,
	[TS_IN_DIV] = TS_OP_div, [TS_IN_FLOORDIV] = TS_OP_floordiv, [TS_IN_MOD] = TS_OP_mod, [TS_IN_MATMUL] = TS_OP_matmul, [TS_IN_POW] = TS_OP_pow };

static Ent size_infix(Sema *s, TsTree *t, Ent a, Ent b)
{
	TsDim x = size_of(s, a), y = size_of(s, b), r;
	int64_t v;
	switch (t->sub) {
	case TS_IN_ADD: r = ts_dim_add(s->d, x, y); break;
	case TS_IN_SUB: r = ts_dim_sub(s->d, x, y); break;
	case TS_IN_MUL: r = ts_dim_mul(s->d, x, y); break;
	case TS_IN_FLOORDIV: r = ts_dim_floordiv(s->d, x, y); break;
	case TS_IN_MOD: r = ts_dim_mod(s->d, x, y); break;
	default: return ENT(ENT_NONE, t->at);
	}
	if (r == TS_DIM_BAD) return ts_s_fail(s, t->at, "E_SIZE", "this size leaves 64 bits, or divides by 0");
	if (ts_dim_is_const(s->d, r, &v)) return ENT(ENT_INT, t->at, .i = v);
	return ENT(ENT_SIZE, t->at, .d = r);
}

static Ent number_infix(Sema *s, TsTree *t, Ent a, Ent b)
{
	double x = number(a), y = number(b), r;
	switch (t->sub) {
	case TS_IN_ADD: r = x + y; break;
	case TS_IN_SUB: r = x - y; break;
	case TS_IN_MUL: r = x * y; break;
	case TS_IN_DIV: r = x / y; break;
	case TS_IN_POW: r = pow(x, y); break;
	default: return ENT(ENT_NONE, t->at);
	}
	if (isinf(r) && isfinite(x) && isfinite(y) && !(t->sub == TS_IN_DIV && y == 0)) return ts_s_fail(s, t->at, "E_LITERAL_TYPE", "this number is too large for any float");
	if (t->sub == TS_IN_POW && a.kind == ENT_INT && b.kind == ENT_INT && b.i >= 0 && fabs(r) <= 0x1p53) return ENT(ENT_INT, t->at, .i = (int64_t)r);
	return ENT(ENT_FLOAT, t->at, .f = r);
}

/* The operands' places do not include brackets or the operator: it is the first thing after the left one that is neither. */
TsSpan ts_s_infix_span(Sema *s, TsTree *t)
{
	size_t size, n = strlen(ts_infix_text((TsInfix)t->sub));
	if (!t->at.file) return t->at;
	const char *text = ts_source_text(s->cx, t->at.file, &size);
	for (uint32_t i = t->kid[0]->at.end; i < t->kid[1]->at.begin && i < size; i++) {
		if (text[i] == '#') {
			while (i < size && text[i] != '\n') i++;
			continue;
		}
		if (size - i >= n && !memcmp(text + i, ts_infix_text((TsInfix)t->sub), n)) return (TsSpan){ t->at.file, i, i + (uint32_t)n };
	}
	return t->at;
}

static Ent infix(Sema *s, TsTree *t)
{
	Ent a = ts_s_expr(s, t->kid[0]), b = ts_s_expr(s, t->kid[1]), r = { .kind = ENT_NONE };
	if (a.kind == ENT_UNKNOWN || b.kind == ENT_UNKNOWN) return ts_s_unknown(t->at);
	if (is_sizelike(a) && is_sizelike(b)) r = size_infix(s, t, a, b);
	if (r.kind == ENT_NONE && is_number(a) && is_number(b)) r = number_infix(s, t, a, b);
	if (r.kind != ENT_NONE) return r;
	if (a.kind == ENT_WEIGHTS || b.kind == ENT_WEIGHTS || a.kind == ENT_FN || b.kind == ENT_FN) return ts_s_not_yet(s, t->at, "arithmetic on operators or sets of weights");
	TsOp op = infix_op[t->sub];
	Ent in[2] = { a, b };
	return ts_s_op(s, op, ts_s_infix_span(s, t), 2, in, NULL);
}

static Ent negate(Sema *s, TsTree *t)
{
	Ent a = ts_s_expr(s, t->kid[0]);
	if (a.kind == ENT_INT && a.i != INT64_MIN) return ENT(ENT_INT, t->at, .i = -a.i);
	if (a.kind == ENT_FLOAT) return ENT(ENT_FLOAT, t->at, .f = -a.f);
	if (a.kind == ENT_SIZE) return ENT(ENT_SIZE, t->at, .d = ts_dim_sub(s->d, 0, a.d));
	return a.kind == ENT_UNKNOWN ? a : ts_s_op(s, TS_OP_neg, t->at, 1, &a, NULL);
}

/* ---- x[...] ---- */

static bool index_bound(Sema *s, TsTree *t, TsDim size, TsDim *out)
{
	int64_t v;
	if (!ts_s_size(s, t, out)) return false;
	if (ts_dim_is_const(s->d, *out, &v) && v < 0) *out = ts_dim_add(s->d, size, *out);
	return true;
}

Ent ts_s_index(Sema *s, TsTree *t)
{
	Ent x = ts_s_expr(s, t->kid[0]);
	if (x.kind == ENT_TILE) return ts_k_index_tile(s, t, x);
	TsVal v = ts_s_value(s, x, TS_DTYPE_NONE);
	if (!v) return ts_s_unknown(t->at);
	TsType ty = ts_val(s->g, v)->type;
	TsDim start[TS_MAX_RANK], stop[TS_MAX_RANK], shape[3 * TS_MAX_RANK];
	int64_t step[TS_MAX_RANK];
	uint32_t taken = 0, axis = 0, nshape = 0;
	bool whole = true, reshapes = false, rest = false;
	for (uint32_t i = 1; i < t->n; i++) {
		if (t->kid[i]->kind == TS_TREE_ELLIPSIS && rest) return ts_s_fail(s, t->kid[i]->at, "E_INDEX", "one ... stands for the axes not indexed");
		rest |= t->kid[i]->kind == TS_TREE_ELLIPSIS;
	}
	for (uint32_t i = 1; i < t->n; i++) taken += t->kid[i]->kind != TS_TREE_NONE && t->kid[i]->kind != TS_TREE_ELLIPSIS;
	if (taken > ty.rank) return ts_s_fail(s, t->at, "E_RANK", "%u indices for a tensor of %d axes", taken, ty.rank);
	if (t->n - 1 > TS_MAX_RANK * 2) return ts_s_fail(s, t->at, "E_RANK", "too many indices");
	for (uint32_t i = 0; i < ty.rank; i++) { start[i] = 0; stop[i] = ty.dim[i]; step[i] = 1; }
	for (uint32_t i = 1; i < t->n; i++) {
		TsTree *k = t->kid[i];
		if (k->kind == TS_TREE_NONE) { shape[nshape++] = ts_dim_const(s->d, 1); reshapes = true; continue; }
		if (k->kind == TS_TREE_ELLIPSIS) {
			for (uint32_t skip = ty.rank - taken; skip; skip--) shape[nshape++] = ty.dim[axis++];
			continue;
		}
		if (k->kind == TS_TREE_RANGE) {
			if (k->kid[0] && !index_bound(s, k->kid[0], ty.dim[axis], &start[axis])) return ts_s_unknown(t->at);
			if (k->kid[1] && !index_bound(s, k->kid[1], ty.dim[axis], &stop[axis])) return ts_s_unknown(t->at);
			if (k->kid[2] && !ts_s_int(s, k->kid[2], &step[axis])) return ts_s_unknown(t->at);
			if (step[axis] < 1) return ts_s_fail(s, k->at, "E_STEP", "the step of a slice is at least 1, found %lld", (long long)step[axis]);
			whole &= start[axis] == 0 && stop[axis] == ty.dim[axis] && step[axis] == 1;
			TsDim len = ts_dim_cdiv(s->d, ts_dim_sub(s->d, stop[axis], start[axis]), ts_dim_const(s->d, step[axis]));
			shape[nshape++] = len;
			axis++;
			continue;
		}
		if (!index_bound(s, k, ty.dim[axis], &start[axis])) return ts_s_unknown(t->at);
		stop[axis] = ts_dim_add(s->d, start[axis], ts_dim_const(s->d, 1));
		whole = false;
		reshapes = true;
		axis++;
	}
	while (axis < ty.rank) shape[nshape++] = ty.dim[axis++];
	Ent r = ENT(ENT_VALUE, t->at, .v = v);
	if (!whole) {
		TsAttr *a = ts_attrs_new(s->m, TS_OP_slice);
		const TsOpInfo *info = ts_op_info(s->cx, TS_OP_slice);
		TsAttr *b = &a[ts_op_attr_index(info, "start")], *e = &a[ts_op_attr_index(info, "stop")], *p = &a[ts_op_attr_index(info, "step")];
		bool steps = false;
		for (uint32_t i = 0; i < ty.rank; i++) steps |= step[i] != 1;
		b->none = e->none = false;
		b->n = e->n = ty.rank;
		b->dims = ts_memdup(s->a, start, sizeof *start * ty.rank);
		e->dims = ts_memdup(s->a, stop, sizeof *stop * ty.rank);
		if (steps) { p->none = false; p->n = ty.rank; p->ints = ts_memdup(s->a, step, sizeof *step * ty.rank); }
		r = ts_s_op(s, TS_OP_slice, t->at, 1, &r, a);
	}
	if (reshapes && r.kind == ENT_VALUE) {
		if (nshape > TS_MAX_RANK) return ts_s_fail(s, t->at, "E_RANK", "a tensor has at most %d axes", TS_MAX_RANK);
		TsAttr *a = ts_attrs_new(s->m, TS_OP_reshape);
		a[0].none = false;
		a[0].n = nshape;
		a[0].dims = ts_memdup(s->a, shape, sizeof *shape * nshape);
		r = ts_s_op(s, TS_OP_reshape, t->at, 1, &r, a);
	}
	return r;
}

/* ---- the rest ---- */

Ent ts_s_unsolved(Sema *s, TsSym dim, TsSpan at)
{
	ts_s_fail(s, at, "E_UNSOLVED_DIM", "%s cannot be found from the arguments", dim);
	ts_hint(s->cx, "%s must stand alone, or with a constant factor, in some input", dim);
	return ts_s_unknown(at);
}

/* A dim of the file where a value or size is wanted. Inside a fn its own binding was found before; a definition means the sizes here. */
static Ent dim_value(Sema *s, TsTree *t, const Ent *e)
{
	int64_t c;
	uint32_t k;
	if (e->tree->kid[1]) {
		Ent r = ts_s_expr(s, e->tree->kid[1]);
		r.at = t->at;
		return r;
	}
	for (Scope *o = s->scope; o && o != &s->top; o = o->up)
		if (o->is_call) return ts_s_unsolved(s, t->name, t->at);
	if (s->solved && ts_dim_is_scaled_symbol(s->d, e->d, &c, &k) && !s->solved[k]) return ts_s_unsolved(s, t->name, t->at);
	return ENT(ENT_SIZE, t->at, .d = e->d);
}

static Ent name(Sema *s, TsTree *t)
{
	Ent *e = ts_s_find(s, t->name);
	if (!e && ts_s_work_out(s, t->name)) e = ts_s_find(s, t->name);
	if (!e) return unknown_name(s, t);
	if (e->kind == ENT_SIZE && e->tree) return dim_value(s, t, e);
	Ent r = *e;
	r.at = t->at;
	return r.kind == ENT_PLACE || (s->kernel && r.kind == ENT_WEIGHTS) ? ts_k_name(s, r, t) : r;
}

static Ent field(Sema *s, TsTree *t)
{
	if (!strcmp(t->name, "T")) {
		Ent x = ts_s_expr(s, t->kid[0]);
		return x.kind == ENT_UNKNOWN ? x : ts_s_op(s, TS_OP_transpose, t->at, 1, &x, NULL);
	}
	if (!strcmp(t->name, "H")) return ts_s_not_yet(s, t->at, "the adjoint of an operator");
	return ts_s_fail(s, t->at, "E_UNKNOWN_NAME", "no field '%s'; write .%s(…) to call an operator", t->name, t->name);
}

static Ent list(Sema *s, TsTree *t)
{
	Ent e = ENT(ENT_LIST, t->at, .n = t->n);
	e.item = TS_NEW_N(s->a, Ent, t->n);
	for (uint32_t i = 0; i < t->n; i++) {
		e.item[i] = ts_s_expr(s, t->kid[i]);
		if (e.item[i].kind == ENT_UNKNOWN) e.kind = ENT_UNKNOWN;
	}
	return e;
}

Ent ts_s_expr(Sema *s, TsTree *t)
{
	switch ((TsTreeKind)t->kind) {
	case TS_TREE_INT: return ENT(ENT_INT, t->at, .i = t->i);
	case TS_TREE_FLOAT: return ENT(ENT_FLOAT, t->at, .f = t->f);
	case TS_TREE_TRUE: return ENT(ENT_BOOL, t->at, .i = 1);
	case TS_TREE_FALSE: return ENT(ENT_BOOL, t->at);
	case TS_TREE_NONE: return ENT(ENT_NONE, t->at);
	case TS_TREE_INF: return ENT(ENT_FLOAT, t->at, .f = INFINITY);
	case TS_TREE_NAN: return ENT(ENT_FLOAT, t->at, .f = NAN);
	case TS_TREE_STR: return ENT(ENT_STR, t->at, .s = t->name);
	case TS_TREE_DTYPE: return ENT(ENT_DTYPE, t->at, .i = t->i);
	case TS_TREE_BITS: {
		TsType ty = { .elem = (TsDtype)t->sub, .accum = TS_DTYPE_NONE };
		return ENT(ENT_VALUE, t->at, .v = ts_add_const(s->m, s->g, s->b, ty, ts_memdup(s->a, &t->i, 8), t->at));
	}
	case TS_TREE_NAME: return name(s, t);
	case TS_TREE_LIST: return list(s, t);
	case TS_TREE_NEG: return negate(s, t);
	case TS_TREE_NOT: {
		Ent x = ts_s_expr(s, t->kid[0]);
		if (x.kind == ENT_BOOL) return ENT(ENT_BOOL, t->at, .i = !x.i);
		return x.kind == ENT_UNKNOWN ? x : ts_s_op(s, TS_OP_not, t->at, 1, &x, NULL);
	}
	case TS_TREE_BIN: return infix(s, t);
	case TS_TREE_CALL: return ts_s_call(s, t);
	case TS_TREE_FIELD: return field(s, t);
	case TS_TREE_WNAME: return ts_s_weight(s, t, ts_s_expr(s, t->kid[0]));
	case TS_TREE_INDEX: return ts_s_index(s, t);
	case TS_TREE_FOR: return s->kernel ? ts_k_for(s, t) : ts_s_for(s, t);
	case TS_TREE_SCAN: return ts_s_not_yet(s, t->at, "scan");
	case TS_TREE_LOOP: return ts_s_not_yet(s, t->at, "loop");
	case TS_TREE_IF: return ts_s_not_yet(s, t->at, "if");
	default: return ts_s_fail(s, t->at, "E_EXPR", "this is no expression of a graph");
	}
}
