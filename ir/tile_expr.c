/* Types, expressions and memory views of Tile IR. */
#include "ir/tile_check.h"
#include <string.h>

/* ---- types ---- */
const char *tv_layout_text(TsVerify *v, const TsLayout *l)
{
	TsBuf b = { 0 };
	if (l) ts_layout_text(l, &b);
	else ts_buf_char(&b, '?');
	char *s = ts_strndup(ts_arena(v->cx), b.p, b.n);
	ts_buf_free(&b);
	return s;
}

const char *tv_type_text(TsVerify *v, const TsTType *t)
{
	static const char *const form[] = { "an idx", "a scalar", "a tile", "memory", "a ring", "a ring position", "a ring slot", "nothing", "unknown" };
	if (t->form == TS_TT_SCALAR && t->elem == TS_DTYPE_NONE) return "a literal";
	if (t->form != TS_TT_SCALAR && t->form != TS_TT_TILE && t->form != TS_TT_MEM) return form[t->form];
	TsBuf b = { 0 };
	ts_buf_fmt(&b, "%s%s[", t->form == TS_TT_MEM ? "memory " : "", ts_dtype_name(t->elem));
	for (int i = 0; i < t->rank; i++) {
		if (t->extent[i] < 0) ts_buf_fmt(&b, "%s?", i ? ", " : "");
		else ts_buf_fmt(&b, "%s%lld", i ? ", " : "", (long long)t->extent[i]);
	}
	ts_buf_str(&b, t->pending ? "]!" : "]");
	if (t->form == TS_TT_TILE && t->layout) {
		ts_buf_str(&b, " @(");
		ts_layout_text(t->layout, &b);
		ts_buf_char(&b, ')');
	}
	char *s = ts_strndup(ts_arena(v->cx), b.p, b.n);
	ts_buf_free(&b);
	return s;
}

bool tv_shape_eq(const TsTType *a, const TsTType *b)
{
	if (a->rank != b->rank) return false;
	for (int i = 0; i < a->rank; i++)
		if (a->extent[i] != b->extent[i]) return false;
	return true;
}

bool tv_type_eq(const TsTType *a, const TsTType *b)
{
	if (a->form == TS_TT_UNKNOWN || b->form == TS_TT_UNKNOWN) return true;
	if (a->form != b->form) return false;
	switch (a->form) {
	case TS_TT_SCALAR: return a->elem == b->elem;
	case TS_TT_TILE: return a->elem == b->elem && tv_shape_eq(a, b) && a->layout == b->layout && a->pending == b->pending;
	case TS_TT_POS: return a->decl == b->decl;
	default: return true;
	}
}

/* The layout named by the annotations from kid `first` on, or NULL; other annotations must be among `allowed`. */
static bool annotations(TsVerify *v, TsTree *type, const char *allowed, const TsLayout **out)
{
	*out = NULL;
	for (uint32_t i = 0; i < type->n; i++) {
		TsTree *a = type->kid[i];
		if (!a || a->kind != TS_TREE_ANNOT) continue;
		if (!strcmp(a->name, allowed)) continue;
		TsTree *decl = tv_lookup(v, a->name);
		if (!decl || decl->kind != TS_TREE_LAYOUT) return tv_fail(v, a, "E_TILE_LAYOUT", "no layout '%s'", a->name);
		if (*out) return tv_fail(v, a, "E_TILE_LAYOUT", "two layouts for one type");
		*out = ts_tinfo(decl)->type.layout;
		tv_info(v, a)->decl = decl;
		ts_tinfo(a)->type.layout = *out;
	}
	return true;
}

static uint32_t size_count(const TsTree *type)
{
	uint32_t n = 0;
	while (n < type->n && type->kid[n] && type->kid[n]->kind != TS_TREE_ANNOT) n++;
	return n;
}

static bool layout_fits(TsVerify *v, const TsTree *at, const TsTType *t, const TsLayout *l)
{
	const char *why = NULL;
	if (l->rank != t->rank) return tv_fail(v, at, "E_TILE_LAYOUT", "a layout of %d dims for a tile of %d", l->rank, t->rank);
	if (!ts_layout_check(l, t->extent, &why)) return tv_fail(v, at, "E_TILE_LAYOUT", "layout %s does not fit %s: %s", tv_layout_text(v, l), tv_type_text(v, t), why);
	return true;
}

bool tv_type(TsVerify *v, TsTree *type, TsTType *out)
{
	*out = (TsTType){ 0 };
	if (type->kind == TS_TREE_TYPE_WORD) {
		if (!strcmp(type->name, "idx")) out->form = TS_TT_IDX;
		else if (!strcmp(type->name, "pos")) out->form = TS_TT_POS;
		else return tv_fail(v, type, "E_TILE_TYPE", "no type '%s' here", type->name);
		return true;
	}
	if (type->kind != TS_TREE_TYPE || type->sub) return tv_fail(v, type, "E_TILE_TYPE", "expected idx, pos, a scalar such as f32[] or a tile such as f32[6, 64] @X");
	uint32_t n = size_count(type);
	out->elem = (TsDtype)type->i;
	out->pending = type->flags & TS_TF_PENDING;
	if (n == 0) {
		out->form = TS_TT_SCALAR;
		return out->pending ? tv_fail(v, type, "E_TILE_TYPE", "only tiles can be in flight") : annotations(v, type, "", &out->layout);
	}
	if (n > TS_LAY_RANK) return tv_fail(v, type, "E_TILE_TYPE", "a tile has at most %d axes", TS_LAY_RANK);
	out->form = TS_TT_TILE;
	out->rank = (uint8_t)n;
	for (uint32_t i = 0; i < n; i++) {
		if (!tv_const(v, type->kid[i], &out->extent[i])) return false;
		if (out->extent[i] < 1 || out->extent[i] > 1 << 20) return tv_fail(v, type->kid[i], "E_TILE_TYPE", "a tile's extent lies in 1..1048576");
	}
	if (!annotations(v, type, "", &out->layout)) return false;
	if (!out->layout) return true;
	if (ts_layout_axis_size(out->layout, TS_AX_S) > 1) return tv_fail(v, type, "E_TILE_LAYOUT", "a register tile takes no memory layout (s digits)");
	if (ts_layout_axis_size(out->layout, TS_AX_R) > TV_MAX_REGISTERS) return tv_fail(v, type, "E_TILE_SIZE", "more than %d registers for one tile", TV_MAX_REGISTERS);
	return layout_fits(v, type, out, out->layout) && tv_layout_fits_warps(v, type, out->layout);
}

bool tv_layout_fits_warps(TsVerify *v, const TsTree *at, const TsLayout *l)
{
	int64_t lanes = ts_layout_axis_size(l, TS_AX_L), warps = ts_layout_axis_size(l, TS_AX_W), group = ts_layout_axis_size(l, TS_AX_G), ctas = ts_layout_axis_size(l, TS_AX_C);
	if (v->target->cls == TS_TG_CPU) return (lanes == 1 && warps == 1 && group == 1 && ctas == 1) || tv_fail(v, at, "E_TILE_LAYOUT", "a layout on cpu has axes r and v only");
	if (ts_layout_axis_size(l, TS_AX_V) > 1) return tv_fail(v, at, "E_TILE_LAYOUT", "axis v is for cpu");
	if (lanes != v->target->warp) return tv_fail(v, at, "E_TILE_LAYOUT", "the layout has %lld lanes, a warp of %s has %d", (long long)lanes, v->target->name, v->target->warp);
	if (warps != v->warps) return tv_fail(v, at, "E_TILE_LAYOUT", "the layout has %lld warps, they are %lld here", (long long)warps, (long long)v->warps);
	if (group != v->times && group != 1) return tv_fail(v, at, "E_TILE_LAYOUT", "the layout has %lld instances, the role %lld", (long long)group, (long long)v->times);
	if (ctas != v->cluster && ctas != 1) return tv_fail(v, at, "E_TILE_LAYOUT", "the layout has %lld CTAs, the cluster %lld", (long long)ctas, (long long)v->cluster);
	return true;
}

static bool check_strides(TsVerify *v, TsTree *type, int rank)
{
	for (uint32_t i = 0; i < type->n; i++) {
		TsTree *a = type->kid[i];
		if (!a || a->kind != TS_TREE_ANNOT || strcmp(a->name, "strides")) continue;
		if (a->n != (uint32_t)rank) return tv_fail(v, a, "E_TILE_TYPE", "%u strides for %d axes", a->n, rank);
		for (uint32_t j = 0; j < a->n; j++)
			if (!tv_idx(v, a->kid[j])) return false;
	}
	return true;
}

bool tv_mem_type(TsVerify *v, TsTree *type, TsTSpace space, TsTType *out)
{
	*out = (TsTType){ .form = TS_TT_MEM, .space = space };
	if (type->kind != TS_TREE_TYPE || type->sub || type->flags & TS_TF_PENDING) return tv_fail(v, type, "E_TILE_TYPE", "expected the type of a buffer, such as f32[M, N]");
	uint32_t n = size_count(type);
	if (n > TS_LAY_RANK) return tv_fail(v, type, "E_TILE_TYPE", "a buffer has at most %d axes", TS_LAY_RANK);
	out->elem = (TsDtype)type->i;
	out->rank = (uint8_t)n;
	for (uint32_t i = 0; i < n; i++) {
		if (!tv_idx(v, type->kid[i])) return false;
		TsTInfo *size = ts_tinfo(type->kid[i]);
		out->extent[i] = size->known ? size->value : -1;
		if (size->known && (size->value < 0 || (space == TS_SP_SHARED && (size->value < 1 || size->value > 1 << 24))))
			return tv_fail(v, type->kid[i], "E_TILE_TYPE", "a size of %lld", (long long)size->value);
		if (space == TS_SP_SHARED && !size->known) return tv_fail(v, type->kid[i], "E_TILE_TYPE", "shared memory has constant sizes");
	}
	if (!annotations(v, type, space == TS_SP_GLOBAL ? "strides" : "", &out->layout)) return false;
	if (space == TS_SP_GLOBAL) return out->layout ? tv_fail(v, type, "E_TILE_LAYOUT", "a parameter is row major or has @strides(…)") : check_strides(v, type, out->rank);
	if (!out->layout) {
		TsLayout l = ts_layout_row_major(out->extent, out->rank);
		out->layout = tv_layout(v, &l);
	}
	if (ts_layout_axis_size(out->layout, TS_AX_R) * ts_layout_axis_size(out->layout, TS_AX_L) > 1) return tv_fail(v, type, "E_TILE_LAYOUT", "shared memory takes a memory layout (s digits)");
	return layout_fits(v, type, out, out->layout);
}

/* ---- idx and literals ---- */
static bool is_literal(const TsTree *x)
{
	while (x->kind == TS_TREE_NEG) x = x->kid[0];
	return x->kind == TS_TREE_FLOAT || x->kind == TS_TREE_INF || x->kind == TS_TREE_NAN || x->kind == TS_TREE_TRUE || x->kind == TS_TREE_FALSE || x->kind == TS_TREE_BITS;
}

static void note_idx(TsVerify *v, TsTree *x)
{
	TsTInfo *info = tv_info(v, x);
	info->type = (TsTType){ .form = TS_TT_IDX };
	TvLin l = tv_lin(v, x);
	info->known = tv_lin_const(&l, &info->value);
}

bool tv_idx(TsVerify *v, TsTree *x)
{
	TsTType t, want = { .form = TS_TT_IDX };
	if (!tv_expr(v, x, &want, &t)) return false;
	return t.form == TS_TT_IDX || t.form == TS_TT_UNKNOWN || tv_fail(v, x, "E_TILE_TYPE", "expected an idx, this is %s", tv_type_text(v, &t));
}

bool tv_const(TsVerify *v, TsTree *x, int64_t *out)
{
	if (!tv_idx(v, x)) return false;
	*out = ts_tinfo(x)->value;
	return ts_tinfo(x)->known || tv_fail(v, x, "E_TILE_CONST", "this must be a compile-time constant");
}

bool tv_operand(TsVerify *v, TsTree *x, const TsTType *have, TsDtype elem)
{
	bool integer = have->form == TS_TT_IDX, literal = have->form == TS_TT_SCALAR && have->elem == TS_DTYPE_NONE;
	if (have->form == TS_TT_UNKNOWN) return true;
	if (!integer && !literal) return have->elem == elem || tv_fail(v, x, "E_TILE_TYPE", "element type %s, expected %s", ts_dtype_name(have->elem), ts_dtype_name(elem));
	if (integer && elem == TS_BOOL) return tv_fail(v, x, "E_TILE_TYPE", "an idx is no bool");
	if (literal) {
		const TsTree *l = x;
		while (l->kind == TS_TREE_NEG) l = l->kid[0];
		bool truth = l->kind == TS_TREE_TRUE || l->kind == TS_TREE_FALSE;
		if (l->kind == TS_TREE_BITS ? l->sub != (int32_t)elem : truth != (elem == TS_BOOL) || (!truth && !ts_dtype_is_float(elem)))
			return tv_fail(v, x, "E_TILE_TYPE", "this literal is no %s", ts_dtype_name(elem));
		tv_info(v, x)->type = (TsTType){ .form = TS_TT_SCALAR, .elem = elem };
		if (x->kind == TS_TREE_NEG) return tv_operand(v, x->kid[0], have, elem);
	}
	return true;
}

static bool check_bin(TsVerify *v, TsTree *x, TsTType *out)
{
	TsTType a, b;
	if (!tv_expr(v, x->kid[0], NULL, &a) || !tv_expr(v, x->kid[1], NULL, &b)) return false;
	bool logic = x->sub == TS_IN_OR || x->sub == TS_IN_AND;
	for (int i = 0; i < 2; i++) {
		const TsTType *t = i ? &b : &a;
		if (t->form == TS_TT_UNKNOWN) continue;
		if (logic ? t->form == TS_TT_SCALAR && t->elem == TS_BOOL : t->form == TS_TT_IDX) continue;
		tv_fail(v, x->kid[i], "E_TILE_TYPE", "'%s' works on %s, this is %s", ts_infix_text(x->sub), logic ? "bools" : "idx", tv_type_text(v, t));
		if (!logic) ts_hint(v->cx, "tiles and scalars use words: add, sub, mul, div, lt, …");
		return false;
	}
	if (x->sub == TS_IN_DIV || x->sub == TS_IN_MATMUL || x->sub == TS_IN_POW) return tv_fail(v, x, "E_TILE_TYPE", "no '%s' on idx; integer division is //", ts_infix_text(x->sub));
	if (logic || (x->sub >= TS_IN_EQ && x->sub <= TS_IN_GE)) {
		*out = tv_info(v, x)->type = (TsTType){ .form = TS_TT_SCALAR, .elem = TS_BOOL };
		return true;
	}
	TsTInfo *by = ts_tinfo(x->kid[1]);
	if ((x->sub == TS_IN_FLOORDIV || x->sub == TS_IN_MOD) && by->known && by->value == 0) return tv_fail(v, x->kid[1], "E_TILE_TYPE", "division by 0");
	note_idx(v, x);
	*out = ts_tinfo(x)->type;
	return true;
}

/* ---- names ---- */
static bool unknown_name(TsVerify *v, const TsTree *x)
{
	TS_VEC(TsSym) names = { 0 };
	for (uint32_t i = 0; i < v->scope.n; i++) ts_push(ts_arena(v->cx), &names, v->scope.p[i].name);
	TsSym near = ts_nearest(x->name, names.p, names.n);
	tv_fail(v, x, "E_TILE_NAME", "no value '%s' here", x->name);
	if (near) ts_hint(v->cx, "nearest: %s", near);
	return false;
}

static bool check_name(TsVerify *v, TsTree *x, TsTType *out)
{
	TsTree *decl = tv_lookup(v, x->name);
	if (!decl) return unknown_name(v, x);
	if (decl->kind == TS_TREE_LAYOUT) return tv_fail(v, x, "E_TILE_TYPE", "'%s' is a layout, not a value", x->name);
	TsTInfo *info = tv_info(v, x), *of = ts_tinfo(decl);
	info->decl = decl;
	info->type = of->type;
	if (of->type.form == TS_TT_IDX) note_idx(v, x);
	info->decl = decl;
	*out = info->type;
	return true;
}

bool tv_expr(TsVerify *v, TsTree *x, const TsTType *want, TsTType *out)
{
	TsTType open = { .form = TS_TT_NONE }, results[TV_MAX_VALUES];
	if (++v->depth > TV_MAX_DEPTH) return tv_fail(v, x, "E_TILE_SIZE", "expressions nest deeper than %d", TV_MAX_DEPTH);
	bool ok = true;
	switch (x->kind) {
	case TS_TREE_INT:
		note_idx(v, x);
		*out = ts_tinfo(x)->type;
		break;
	case TS_TREE_NAME: ok = check_name(v, x, out); break;
	case TS_TREE_BIN: ok = check_bin(v, x, out); break;
	case TS_TREE_NOT:
		ok = tv_expr(v, x->kid[0], NULL, out);
		if (ok && (out->form != TS_TT_SCALAR || out->elem != TS_BOOL)) ok = tv_fail(v, x, "E_TILE_TYPE", "'not' works on bools");
		tv_info(v, x)->type = *out;
		break;
	case TS_TREE_CALL: {
		TvCall c = { .call = x, .arg = x->kid + 1, .want = want ? want : &open, .nwant = 1, .out = results };
		ok = tv_call(v, &c);
		if (ok && c.nout != 1) ok = tv_fail(v, x, "E_TILE_RESULTS", "this word has %u results; one is needed here", c.nout);
		if (ok) *out = tv_info(v, x)->type = results[0];
		if (ok && out->form == TS_TT_IDX) note_idx(v, x);
		break;
	}
	case TS_TREE_INDEX:
	case TS_TREE_FIELD: ok = tv_mem(v, x, out); break;
	default:
		if (is_literal(x)) {
			*out = tv_info(v, x)->type = (TsTType){ .form = TS_TT_SCALAR, .elem = TS_DTYPE_NONE };
		} else if (x->kind == TS_TREE_NEG) {
			ok = tv_idx(v, x->kid[0]);
			if (ok) note_idx(v, x), *out = ts_tinfo(x)->type;
		} else {
			ok = tv_fail(v, x, "E_TILE_EXPR", "%s is no value of Tile IR", ts_tree_kind_name(x->kind));
		}
	}
	v->depth--;
	return ok;
}

bool tv_tile(TsVerify *v, TsTree *x, TsTType *out)
{
	if (!tv_expr(v, x, NULL, out)) return false;
	if (out->form != TS_TT_TILE) return tv_fail(v, x, "E_TILE_TYPE", "expected a tile, this is %s", tv_type_text(v, out));
	return !out->pending || tv_fail(v, x, "E_TILE_IN_FLIGHT", "this tile is in flight; take it from wait_mma first");
}

/* ---- memory views ---- */
/* (hi - lo) / step as a number: both constant, or hi - lo a constant multiple of step. */
static bool range_length(TsVerify *v, TsTree *r, int64_t *len, int64_t *step)
{
	if (!tv_idx(v, r->kid[0]) || !tv_idx(v, r->kid[1])) return false;
	TvLin lo = tv_lin(v, r->kid[0]), hi = tv_lin(v, r->kid[1]), d = tv_lin_sub(&hi, &lo);
	int64_t c;
	*step = 1;
	if (r->kid[2]) {
		if (!tv_idx(v, r->kid[2])) return false;
		TvLin s = tv_lin(v, r->kid[2]);
		if (!tv_lin_const(&s, step)) {
			*step = 0;
			if (!d.ok || !s.ok || !s.n || d.n != s.n || s.t[0].coef == 0) return tv_fail(v, r, "E_TILE_RANGE", "the range's length must be a compile-time constant");
			int64_t k = 0;
			for (int i = 0; i < d.n; i++)
				if (tv_same(d.t[i].atom, s.t[0].atom)) k = d.t[i].coef / s.t[0].coef;
			bool fits = k >= 1 && k <= 1 << 24 && !__builtin_mul_overflow(s.c, k, &s.c);
			for (int i = 0; i < s.n && fits; i++) fits = !__builtin_mul_overflow(s.t[i].coef, k, &s.t[i].coef);
			TvLin rest = tv_lin_sub(&d, &s);
			if (!fits || !tv_lin_const(&rest, &c) || c != 0) return tv_fail(v, r, "E_TILE_RANGE", "the range's length must be a compile-time constant");
			*len = k;
			return true;
		}
	}
	if (!tv_lin_const(&d, &c)) return tv_fail(v, r, "E_TILE_RANGE", "the range's length must be a compile-time constant");
	if (*step == 0 || (*step < 0) != (c < 0) || c == 0) return tv_fail(v, r, "E_TILE_RANGE", "the range is empty");
	*len = c / *step + (c % *step != 0);
	return *len <= 1 << 24 || tv_fail(v, r, "E_TILE_RANGE", "a range of %lld elements", (long long)*len);
}

static bool check_index(TsVerify *v, TsTree *x, uint32_t axis, const TsTType *base, TsTType *out)
{
	TsTree *at = x->kid[1 + axis];
	TsTInfo *info = tv_info(v, at);
	int64_t size = base->extent[axis], first, last;
	if (at->kind == TS_TREE_RANGE) {
		int64_t len = size;
		info->step = 1;
		info->type = (TsTType){ .form = TS_TT_IDX };
		if (!at->kid[0] && !at->kid[1] && !at->kid[2]) {
			if (size < 1) return tv_fail(v, at, "E_TILE_RANGE", "':' takes the whole axis only where its size is a constant");
		} else {
			if (!at->kid[0] || !at->kid[1]) return tv_fail(v, at, "E_TILE_RANGE", "a range of a tile has both ends");
			if (!range_length(v, at, &len, &info->step)) return false;
			TsTInfo *lo = ts_tinfo(at->kid[0]);
			if (lo->known && size >= 0 && info->step && (base->space == TS_SP_SHARED || lo->value < 0)) {
				first = lo->value;
				if (__builtin_mul_overflow(len - 1, info->step, &last) || __builtin_add_overflow(first, last, &last)) last = -1;
				if (first < 0 || last < 0 || last >= size || first >= size) return tv_fail(v, at, "E_TILE_BOUNDS", "elements %lld to %lld of an axis of %lld", (long long)first, (long long)last, (long long)size);
			}
		}
		info->value = len;
		if (out->rank == TS_LAY_RANK) return tv_fail(v, x, "E_TILE_TYPE", "a tile has at most %d axes", TS_LAY_RANK);
		out->extent[out->rank++] = len;
		return true;
	}
	TsTType t;
	if (!tv_expr(v, at, NULL, &t)) return false;
	if (t.form == TS_TT_IDX) {
		if (info->known && (info->value < 0 || (size >= 0 && info->value >= size))) return tv_fail(v, at, "E_TILE_BOUNDS", "index %lld of an axis of %lld", (long long)info->value, (long long)size);
		return true;
	}
	if (t.form != TS_TT_TILE || !ts_dtype_is_int(t.elem) || t.pending) return tv_fail(v, at, "E_TILE_TYPE", "an index is an idx, a range or a tile of integers, this is %s", tv_type_text(v, &t));
	if (out->rank + t.rank > TS_LAY_RANK) return tv_fail(v, x, "E_TILE_TYPE", "a tile has at most %d axes", TS_LAY_RANK);
	for (int i = 0; i < t.rank; i++) out->extent[out->rank++] = t.extent[i];
	return true;
}

bool tv_slot(TsVerify *v, TsTree *x, TsTType *out)
{
	TsTType ring, pos;
	if (x->kind != TS_TREE_INDEX || x->n != 2) return tv_fail(v, x, "E_TILE_RING", "expected a slot of a ring: R[p]");
	if (!tv_expr(v, x->kid[0], NULL, &ring)) return false;
	if (ring.form != TS_TT_RING) return tv_fail(v, x->kid[0], "E_TILE_RING", "expected a ring, this is %s", tv_type_text(v, &ring));
	if (!tv_expr(v, x->kid[1], NULL, &pos)) return false;
	if (pos.form != TS_TT_POS || pos.decl != ring.decl) return tv_fail(v, x->kid[1], "E_TILE_RING", "expected a position of this ring, this is %s", tv_type_text(v, &pos));
	*out = tv_info(v, x)->type = (TsTType){ .form = TS_TT_SLOT, .decl = ring.decl };
	return true;
}

/* R[p].a, or x.T */
static bool check_field(TsVerify *v, TsTree *x, TsTType *out)
{
	TsTree *of = x->kid[0];
	if (!strcmp(x->name, "T")) {
		if (!tv_expr(v, of, NULL, out)) return false;
		if ((out->form != TS_TT_MEM && out->form != TS_TT_TILE) || out->rank != 2 || out->pending) return tv_fail(v, x, "E_TILE_TYPE", ".T transposes a tile or memory of two axes, this is %s", tv_type_text(v, out));
		int64_t e = out->extent[0];
		out->extent[0] = out->extent[1];
		out->extent[1] = e;
		if (out->layout && out->layout->rank == 2) {
			TsLayout l = ts_layout_transpose(out->layout);
			out->layout = tv_layout(v, &l);
		}
		tv_info(v, x)->type = *out;
		return true;
	}
	TsTType slot;
	if (!tv_slot(v, of, &slot)) return false;
	TsTree *ring = slot.decl, *binds = ring->kid[1];
	for (uint32_t i = 0; i < binds->n; i++) {
		if (binds->kid[i]->name != x->name) continue;
		TsTInfo *info = tv_info(v, x);
		info->decl = binds->kid[i];
		*out = info->type = ts_tinfo(binds->kid[i])->type;
		return true;
	}
	return tv_fail(v, x, "E_TILE_RING", "ring '%s' has no buffer '%s'", ring->name, x->name);
}

bool tv_mem(TsVerify *v, TsTree *x, TsTType *out)
{
	TsTType base;
	if (x->kind == TS_TREE_FIELD) {
		if (!check_field(v, x, out)) return false;
	} else if (x->kind == TS_TREE_NAME) {
		if (!check_name(v, x, out)) return false;
	} else if (x->kind == TS_TREE_INDEX) {
		TsTree *of = x->kid[0];
		if (of->kind != TS_TREE_NAME && of->kind != TS_TREE_FIELD) return tv_fail(v, of, "E_TILE_TYPE", "only a buffer's name is indexed");
		if (!(of->kind == TS_TREE_NAME ? check_name(v, of, &base) : check_field(v, of, &base))) return false;
		if (base.form != TS_TT_MEM) return tv_fail(v, of, "E_TILE_TYPE", "only memory is indexed, this is %s", tv_type_text(v, &base));
		if (x->n - 1 != base.rank) return tv_fail(v, x, "E_TILE_TYPE", "%u indices for %d axes", x->n - 1, base.rank);
		*out = base;
		out->rank = 0;
		for (uint32_t i = 0; i + 1 < x->n; i++)
			if (!check_index(v, x, i, &base, out)) return false;
		tv_info(v, x)->type = *out;
	} else {
		return tv_fail(v, x, "E_TILE_TYPE", "expected memory: a buffer, or a part of one such as A[i, k:k + 64]");
	}
	if (out->form == TS_TT_TILE && x->kind == TS_TREE_FIELD) return true; /* x.T of a register tile, which only tv_expr asks for */
	if (out->form != TS_TT_MEM) return tv_fail(v, x, "E_TILE_TYPE", "expected memory, this is %s", tv_type_text(v, out));
	for (int i = 0; i < out->rank; i++)
		if (out->extent[i] < 0) return tv_fail(v, x, "E_TILE_RANGE", "axis %d has no constant length; select a range of it", i);
	return true;
}
