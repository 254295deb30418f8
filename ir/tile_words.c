/* The words of Tile IR that every target has: one function each checks operands and says what the results are. */
#include "ir/tile_check.h"
#include "ir/op.h"
#include <string.h>

/* ---- what all words share ---- */
TsTree *tv_keyword(const TvCall *c, const char *name)
{
	for (uint32_t i = 1; i < c->call->n; i++)
		if (c->call->kid[i]->kind == TS_TREE_KW && !strcmp(c->call->kid[i]->name, name)) return c->call->kid[i]->kid[0];
	return NULL;
}

bool tv_keywords(TsVerify *v, TvCall *c, const char *allowed)
{
	for (uint32_t i = 1 + c->narg; i < c->call->n; i++) {
		const TsTree *kw = c->call->kid[i];
		size_t n = strlen(kw->name);
		const char *at = allowed;
		while ((at = strstr(at, kw->name)) && ((at != allowed && at[-1] != ' ') || (at[n] && at[n] != ' '))) at++;
		if (at) continue;
		tv_fail(v, kw, "E_TILE_ARGUMENT", "'%s' takes no '%s'", c->call->kid[0]->name, kw->name);
		if (*allowed) ts_hint(v->cx, "known: %s", allowed);
		return false;
	}
	return true;
}

bool tv_arity(TsVerify *v, TvCall *c, uint32_t lo, uint32_t hi)
{
	if (c->narg >= lo && c->narg <= hi) return true;
	const char *name = c->call->kid[0]->name;
	if (lo == hi) return tv_fail(v, c->call, "E_TILE_ARGUMENT", "'%s' takes %u operands, not %u", name, lo, c->narg);
	return tv_fail(v, c->call, "E_TILE_ARGUMENT", "'%s' takes %u to %u operands, not %u", name, lo, hi, c->narg);
}

bool tv_string(TsVerify *v, TvCall *c, const char *name, const char *choices, const char *unset, const char **out)
{
	TsTree *x = tv_keyword(c, name);
	*out = unset;
	if (!x) return unset ? true : tv_fail(v, c->call, "E_TILE_ARGUMENT", "'%s' needs %s = one of: %s", c->call->kid[0]->name, name, choices);
	size_t n = x->kind == TS_TREE_STR ? strlen(x->name) : 0;
	const char *at = n ? strstr(choices, x->name) : NULL;
	while (at && ((at != choices && at[-1] != ' ') || (at[n] && at[n] != ' '))) at = strstr(at + 1, x->name);
	if (!at) return tv_fail(v, x, "E_TILE_ARGUMENT", "%s is one of: %s", name, choices);
	*out = x->name;
	return true;
}

static bool give(TvCall *c, const TsTType *t)
{
	c->out[c->nout++] = *t;
	return true;
}

/* The tile type wanted of result i, with a layout. */
static bool wanted_tile(TsVerify *v, TvCall *c, uint32_t i, TsTType *out)
{
	if (i < c->nwant && c->want[i].form == TS_TT_TILE && c->want[i].layout) return *out = c->want[i], true;
	return tv_fail(v, c->call, "E_TILE_LAYOUT", "'%s' needs a result with type and layout: x: f32[64] @L = …", c->call->kid[0]->name);
}

/* A keyword or the positional operand after the first: a constant. */
static bool const_arg(TsVerify *v, TvCall *c, const char *name, uint32_t position, int64_t *out)
{
	TsTree *x = tv_keyword(c, name);
	if (!x && position < c->narg) x = c->arg[position];
	if (!x) return tv_fail(v, c->call, "E_TILE_ARGUMENT", "'%s' needs %s", c->call->kid[0]->name, name);
	return tv_const(v, x, out);
}

static bool axis_arg(TsVerify *v, TvCall *c, uint32_t position, int rank, int64_t *axis)
{
	if (!const_arg(v, c, "axis", position, axis)) return false;
	return (*axis >= 0 && *axis < rank) || tv_fail(v, c->call, "E_TILE_ARGUMENT", "axis %lld of a tile of %d axes", (long long)*axis, rank);
}

/* ---- pointwise ---- */
/* How the result's element type follows: the operator table's shape rule (same, compare, where, cast). */
static const char *type_rule(int32_t op)
{
	static const char *const rule[TS_OP_COUNT] = { "same",
#define OP(name, ins, attrs, flags, cls, types, shape, ref, adjoint, bound, doc) #shape,
#include "ir/ops.def"
	};
	return op < TS_TILE_POINTWISE ? "same" : rule[op - TS_TILE_POINTWISE];
}

/* The tile among the operands that gives extents and layout (NULL: all uniform) and the element type of operands `from` on. */
static bool common_type(TsVerify *v, TvCall *c, TsTType *have, uint32_t from, const TsTType **shape, TsDtype *elem)
{
	*shape = NULL;
	*elem = TS_DTYPE_NONE;
	for (uint32_t i = 0; i < c->narg; i++) {
		if (!tv_expr(v, c->arg[i], NULL, &have[i])) return false;
		TsTType *t = &have[i];
		if (t->form == TS_TT_UNKNOWN) continue;
		if (t->form > TS_TT_TILE) return tv_fail(v, c->arg[i], "E_TILE_TYPE", "expected a tile, scalar or idx, this is %s", tv_type_text(v, t));
		if (t->pending) return tv_fail(v, c->arg[i], "E_TILE_IN_FLIGHT", "this tile is in flight; take it from wait_mma first");
		if (t->form == TS_TT_TILE && !*shape) *shape = t;
		else if (t->form == TS_TT_TILE && !tv_shape_eq(t, *shape)) return tv_fail(v, c->arg[i], "E_TILE_SHAPE", "%s beside %s", tv_type_text(v, t), tv_type_text(v, *shape));
		else if (t->form == TS_TT_TILE && t->layout != (*shape)->layout) return tv_fail(v, c->arg[i], "E_TILE_LAYOUT", "%s beside %s; convert one", tv_type_text(v, t), tv_type_text(v, *shape));
		if (i >= from && *elem == TS_DTYPE_NONE && t->form != TS_TT_IDX) *elem = t->elem;
	}
	return true;
}

static bool accepts(uint32_t types, TsDtype t)
{
	if (!ts_dtype_is_compute(t)) return types & TS_T_STORAGE;
	return types & (t == TS_BOOL ? TS_T_BOOL : ts_dtype_is_int(t) ? TS_T_INT : TS_T_FLOAT);
}

static bool give_pointwise(TvCall *c, const TsTType *shape, TsDtype elem)
{
	TsTType t = { .form = TS_TT_SCALAR, .elem = elem };
	if (shape) {
		t = *shape;
		t.elem = elem;
		t.decl = NULL;
	}
	return give(c, &t);
}

static bool check_cast(TsVerify *v, TvCall *c)
{
	TsTType have[8];
	const TsTType *shape;
	TsDtype from, to = TS_DTYPE_NONE;
	TsTree *named = c->narg == 2 && c->arg[1]->kind == TS_TREE_DTYPE ? c->arg[1] : NULL;
	for (uint32_t i = 1; i < c->call->n && !named; i++)
		if (c->call->kid[i]->kind == TS_TREE_KW && c->call->kid[i]->kid[0]->kind == TS_TREE_DTYPE) named = c->call->kid[i]->kid[0];
	if (named && c->narg == 2) c->narg = 1;
	if (!tv_arity(v, c, 1, 1) || !common_type(v, c, have, 0, &shape, &from)) return false;
	if (!named && c->nwant && c->want[0].form == TS_TT_IDX) {
		if (have[0].form != TS_TT_IDX && (have[0].form != TS_TT_SCALAR || !ts_dtype_is_int(have[0].elem))) return tv_fail(v, c->call, "E_TILE_TYPE", "only an integer scalar becomes an idx, this is %s", tv_type_text(v, &have[0]));
		return give(c, &c->want[0]);
	}
	if (named) to = (TsDtype)named->i;
	else if (c->nwant && (c->want[0].form == TS_TT_SCALAR || c->want[0].form == TS_TT_TILE)) to = c->want[0].elem;
	if (to == TS_DTYPE_NONE) return tv_fail(v, c->call, "E_TILE_TYPE", "cast to what? cast(x, f32), or give the result a type");
	if (have[0].form == TS_TT_SCALAR && have[0].elem == TS_DTYPE_NONE) return tv_fail(v, c->arg[0], "E_TILE_TYPE", "a literal has no type to cast from");
	return give_pointwise(c, shape, to);
}

bool tv_pointwise(TsVerify *v, TvCall *c, int32_t op)
{
	const char *name = c->call->kid[0]->name;
	const TsOpInfo *info = op < TS_TILE_POINTWISE ? NULL : ts_op_info(v->cx, (TsOp)(op - TS_TILE_POINTWISE));
	const char *rule = type_rule(op);
	if (!strcmp(rule, "cast")) return check_cast(v, c);
	bool where = !strcmp(rule, "where");
	TsTType have[TS_MAX_OP_INS];
	const TsTType *shape;
	TsDtype elem;
	uint32_t own = op == TS_TILE_fma ? 3 : 1;
	if (!tv_arity(v, c, info ? info->min_in : own, info ? info->nin : own) || !common_type(v, c, have, where, &shape, &elem)) return false;
	if (elem == TS_DTYPE_NONE && c->nwant) elem = c->want[0].form == TS_TT_SCALAR || c->want[0].form == TS_TT_TILE ? c->want[0].elem : elem;
	if (elem == TS_DTYPE_NONE) return tv_fail(v, c->call, "E_TILE_TYPE", "no operand of '%s' has an element type", name);
	if (!where && !accepts(info ? info->types : TS_T_FLOAT, elem)) return tv_fail(v, c->call, "E_TILE_TYPE", "'%s' does not take %s", name, ts_dtype_name(elem));
	for (uint32_t i = 0; i < c->narg; i++)
		if (!tv_operand(v, c->arg[i], &have[i], where && i == 0 ? TS_BOOL : elem)) return false;
	for (uint32_t i = 1 + c->narg; i < c->call->n; i++) {
		TsTree *kw = c->call->kid[i];
		int64_t bits;
		if (info && !strcmp(kw->name, "bits") && !strncmp(info->bound, "ulp", 3) && elem == TS_F32) {
			if (!tv_const(v, kw->kid[0], &bits)) return false;
			if (bits < 8 || bits > 24) return tv_fail(v, kw, "E_TILE_ARGUMENT", "bits is in 8..24");
			continue;
		}
		if (!info || ts_op_attr_index(info, kw->name) < 0) return tv_fail(v, kw, "E_TILE_ARGUMENT", "'%s' takes no '%s'", name, kw->name);
	}
	return give_pointwise(c, shape, !strcmp(rule, "compare") ? TS_BOOL : elem);
}

/* ---- idx ---- */
static bool give_idx(TsVerify *v, TvCall *c, uint32_t n)
{
	for (uint32_t i = 0; i < c->narg; i++)
		if (!tv_idx(v, c->arg[i])) return false;
	for (uint32_t i = 0; i < n; i++) give(c, &(TsTType){ .form = TS_TT_IDX });
	return tv_keywords(v, c, "");
}

static bool word_min(TsVerify *v, TvCall *c) { return tv_arity(v, c, 2, 8) && give_idx(v, c, 1); }
static bool word_max(TsVerify *v, TvCall *c) { return word_min(v, c); }
static bool word_cdiv(TsVerify *v, TvCall *c) { return tv_arity(v, c, 2, 2) && give_idx(v, c, 1); }
static bool word_xor(TsVerify *v, TvCall *c) { return tv_arity(v, c, 2, 2) && give_idx(v, c, 1); }
static bool word_raster(TsVerify *v, TvCall *c) { return tv_arity(v, c, 4, 4) && give_idx(v, c, 2); }

static bool word_select(TsVerify *v, TvCall *c)
{
	TsTType cond;
	if (!tv_arity(v, c, 3, 3) || !tv_keywords(v, c, "") || !tv_expr(v, c->arg[0], NULL, &cond)) return false;
	if (cond.form != TS_TT_SCALAR || cond.elem != TS_BOOL) return tv_fail(v, c->arg[0], "E_TILE_TYPE", "the condition of select is a bool, this is %s", tv_type_text(v, &cond));
	return tv_idx(v, c->arg[1]) && tv_idx(v, c->arg[2]) && give(c, &(TsTType){ .form = TS_TT_IDX });
}

/* ---- values ---- */
static bool word_fma(TsVerify *v, TvCall *c) { return tv_pointwise(v, c, TS_TILE_fma); }

static bool word_exp2(TsVerify *v, TvCall *c) { return tv_pointwise(v, c, TS_TILE_exp2); }

static bool word_tf32(TsVerify *v, TvCall *c)
{
	if (!tv_pointwise(v, c, TS_TILE_tf32)) return false;
	return c->out[0].elem == TS_F32 || tv_fail(v, c->call, "E_TILE_TYPE", "tf32 rounds f32, not %s", ts_dtype_name(c->out[0].elem));
}

static bool word_fill(TsVerify *v, TvCall *c)
{
	TsTType x, to;
	if (!tv_arity(v, c, 1, 1) || !tv_keywords(v, c, "") || !tv_expr(v, c->arg[0], NULL, &x)) return false;
	if (c->nwant && c->want[0].form == TS_TT_SCALAR) to = c->want[0]; /* a typed scalar from a literal or an idx */
	else if (!wanted_tile(v, c, 0, &to)) return false;
	if (x.form != TS_TT_IDX && x.form != TS_TT_SCALAR) return tv_fail(v, c->arg[0], "E_TILE_TYPE", "fill takes one scalar, this is %s", tv_type_text(v, &x));
	return tv_operand(v, c->arg[0], &x, to.elem) && give(c, &to);
}

static bool word_iota(TsVerify *v, TvCall *c)
{
	TsTType to;
	int64_t axis, step = 1;
	TsTree *x = tv_keyword(c, "step");
	if (!tv_arity(v, c, 0, 1) || !tv_keywords(v, c, "axis step") || !wanted_tile(v, c, 0, &to) || !axis_arg(v, c, 0, to.rank, &axis)) return false;
	if (x && !tv_const(v, x, &step)) return false;
	if (step < 1 || step > 1024 || (step & (step - 1))) return tv_fail(v, x, "E_TILE_ARGUMENT", "step is a power of two up to 1024");
	if (to.elem != TS_INT32 && to.elem != TS_INT64) return tv_fail(v, c->call, "E_TILE_TYPE", "iota gives int32 or int64, not %s", ts_dtype_name(to.elem));
	return !to.pending ? give(c, &to) : tv_fail(v, c->call, "E_TILE_IN_FLIGHT", "iota is never in flight");
}

/* The layout of a tile with every axis of `keep` (a set) only. */
static const TsLayout *keep_axes(TsVerify *v, const TsLayout *l, int rank, uint32_t keep)
{
	TsLayout out = *l;
	for (int axis = rank - 1; axis >= 0; axis--)
		if (!(keep >> axis & 1)) out = ts_layout_drop(&out, axis);
	return tv_layout(v, &out);
}

static bool word_bcast(TsVerify *v, TvCall *c)
{
	TsTType x, to;
	TsTree *dims = tv_keyword(c, "dims");
	if (!tv_arity(v, c, 1, 1) || !tv_keywords(v, c, "dims") || !tv_tile(v, c->arg[0], &x) || !wanted_tile(v, c, 0, &to)) return false;
	if (!dims || dims->kind != TS_TREE_LIST || dims->n != x.rank) return tv_fail(v, c->call, "E_TILE_ARGUMENT", "bcast needs dims = a list of %d axes of the result", x.rank);
	uint32_t keep = 0;
	int64_t last = -1;
	for (uint32_t i = 0; i < dims->n; i++) {
		int64_t d;
		if (!tv_const(v, dims->kid[i], &d)) return false;
		if (d <= last || d >= to.rank) return tv_fail(v, dims->kid[i], "E_TILE_ARGUMENT", "axes of the result in rising order, below %d", to.rank);
		if (to.extent[d] != x.extent[i]) return tv_fail(v, dims->kid[i], "E_TILE_SHAPE", "axis %u has %lld elements, axis %lld of the result %lld", i, (long long)x.extent[i], (long long)d, (long long)to.extent[d]);
		keep |= 1u << d;
		last = d;
	}
	const TsLayout *need = keep_axes(v, to.layout, to.rank, keep);
	if (x.layout != need) return tv_fail(v, c->arg[0], "E_TILE_LAYOUT", "the operand lies as %s; the result's layout without its other axes is %s", tv_layout_text(v, x.layout), tv_layout_text(v, need));
	if (x.elem != to.elem) return tv_fail(v, c->arg[0], "E_TILE_TYPE", "element type %s, expected %s", ts_dtype_name(x.elem), ts_dtype_name(to.elem));
	return give(c, &to);
}

/* `at` is a constant, or one for each iteration of a fully unrolled loop: the part lies alike in all of them. */
static bool word_slice(TsVerify *v, TvCall *c)
{
	TsTType x;
	int64_t axis, at[64], len, first;
	int n;
	TsLayout l;
	TsTree *offset = tv_keyword(c, "at");
	if (!offset && c->narg > 2) offset = c->arg[2];
	if (!tv_arity(v, c, 1, 4) || !tv_keywords(v, c, "axis at len") || !tv_tile(v, c->arg[0], &x)) return false;
	if (!axis_arg(v, c, 1, x.rank, &axis) || !const_arg(v, c, "len", 3, &len)) return false;
	if (!offset) return tv_fail(v, c->call, "E_TILE_ARGUMENT", "slice(x, axis, at, len) needs at");
	if (!tv_idx(v, offset)) return false;
	if (!tv_static_values(v, offset, at, 64, &n)) return tv_fail(v, offset, "E_TILE_CONST", "at is a constant, or follows the variable of a fully unrolled loop");
	for (int i = 0; i < n; i++)
		if (!ts_layout_slice(x.layout, (int)axis, at[i], len, &l, &first))
			return tv_fail(v, c->call, "E_TILE_LAYOUT", "elements %lld to %lld of axis %lld are no set of whole registers of %s", (long long)at[i], (long long)(at[i] + len - 1), (long long)axis, tv_layout_text(v, x.layout));
	x.extent[axis] = len;
	x.layout = tv_layout(v, &l);
	x.decl = NULL;
	return give(c, &x);
}

static bool word_concat(TsVerify *v, TvCall *c)
{
	TsTType to, part;
	int64_t axis, at = 0, first;
	if (!tv_arity(v, c, 1, 2) || !tv_keywords(v, c, "axis") || !wanted_tile(v, c, 0, &to) || !axis_arg(v, c, 1, to.rank, &axis)) return false;
	TsTree *list = c->arg[0];
	if (list->kind != TS_TREE_LIST || !list->n) return tv_fail(v, list, "E_TILE_ARGUMENT", "concat takes a list of tiles");
	for (uint32_t i = 0; i < list->n; i++) {
		TsLayout l;
		TsTType need = to;
		if (!tv_tile(v, list->kid[i], &part)) return false;
		need.extent[axis] = part.extent[axis];
		if (!tv_shape_eq(&need, &part) || part.elem != to.elem) return tv_fail(v, list->kid[i], "E_TILE_SHAPE", "%s is no part of %s along axis %lld", tv_type_text(v, &part), tv_type_text(v, &to), (long long)axis);
		if (at + part.extent[axis] > to.extent[axis]) break;
		if (!ts_layout_slice(to.layout, (int)axis, at, part.extent[axis], &l, &first) || tv_layout(v, &l) != part.layout)
			return tv_fail(v, list->kid[i], "E_TILE_LAYOUT", "%s does not lie as that part of the result", tv_type_text(v, &part));
		at += part.extent[axis];
	}
	if (at != to.extent[axis]) return tv_fail(v, list, "E_TILE_SHAPE", "the parts do not make up axis %lld of %s", (long long)axis, tv_type_text(v, &to));
	return give(c, &to);
}

static bool word_convert(TsVerify *v, TvCall *c)
{
	TsTType x, to;
	if (!tv_arity(v, c, 1, 1) || !tv_keywords(v, c, "") || !tv_tile(v, c->arg[0], &x) || !wanted_tile(v, c, 0, &to)) return false;
	if (!tv_shape_eq(&x, &to) || x.elem != to.elem) return tv_fail(v, c->call, "E_TILE_TYPE", "convert changes the layout only: %s to %s", tv_type_text(v, &x), tv_type_text(v, &to));
	if (ts_layout_axis_size(x.layout, TS_AX_W) != ts_layout_axis_size(to.layout, TS_AX_W) || ts_layout_axis_size(x.layout, TS_AX_G) != ts_layout_axis_size(to.layout, TS_AX_G) ||
	    ts_layout_axis_size(x.layout, TS_AX_C) != ts_layout_axis_size(to.layout, TS_AX_C))
		return tv_fail(v, c->call, "E_TILE_LAYOUT", "convert moves elements within a warp; across warps use put, sync and get");
	return give(c, &to);
}

/* Result of dropping `axis`: a tile, or a scalar when it was the only one. */
static void dropped(TsVerify *v, const TsTType *x, int64_t axis, TsTType *out)
{
	*out = (TsTType){ .form = TS_TT_SCALAR, .elem = x->elem };
	if (x->rank == 1) return;
	TsLayout l = ts_layout_drop(x->layout, (int)axis);
	out->form = TS_TT_TILE;
	out->layout = tv_layout(v, &l);
	for (int i = 0; i < x->rank; i++)
		if (i != axis) out->extent[out->rank++] = x->extent[i];
}

/* part = true: only registers are reduced. The axis keeps its other digits, now dense: l4:2n r2:1n r8:8n -> l4:1n. */
static void part_type(TsVerify *v, const TsTType *x, int64_t axis, TsTType *out)
{
	TsLayout l = { .rank = x->layout->rank };
	int64_t dense = 1;
	for (uint32_t stride = 0, seen = 1; seen;) { /* digits of the axis in order of stride */
		seen = 0;
		for (int i = 0; i < x->layout->n; i++) seen = x->layout->d[i].dim == axis && x->layout->d[i].stride > stride && (!seen || x->layout->d[i].stride < seen) ? x->layout->d[i].stride : seen;
		stride = seen;
	}
	for (int i = 0; i < x->layout->n; i++) {
		TsDigit d = x->layout->d[i];
		if (d.dim == axis && d.axis == TS_AX_R) continue;
		if (d.dim == axis) {
			int64_t s = 1;
			for (int k = 0; k < x->layout->n; k++) {
				const TsDigit *o = &x->layout->d[k];
				if (o->dim == axis && o->axis != TS_AX_R && o->stride < d.stride) s *= o->extent;
			}
			d.stride = (uint32_t)s;
			dense *= d.extent;
		}
		l.d[l.n++] = d;
	}
	*out = *x;
	out->extent[axis] = dense;
	out->layout = tv_layout(v, &l);
	out->decl = NULL;
}

static bool across_warps(const TsLayout *l, int64_t axis)
{
	for (int i = 0; i < l->n; i++)
		if ((axis < 0 ? l->d[i].dim != TS_LAY_NODIM : l->d[i].dim == axis) && l->d[i].axis >= TS_AX_W && l->d[i].axis <= TS_AX_C) return true;
	return false;
}

static bool word_reduce(TsVerify *v, TvCall *c)
{
	TsTType x, out, via;
	const char *op;
	int64_t axis = -1;
	TsTree *buffer = tv_keyword(c, "via"), *part = tv_keyword(c, "part");
	if (!tv_arity(v, c, 1, 1) || !tv_keywords(v, c, "op axis via part") || !tv_tile(v, c->arg[0], &x) || !tv_string(v, c, "op", "add max min", NULL, &op)) return false;
	if (tv_keyword(c, "axis") && !axis_arg(v, c, 9, x.rank, &axis)) return false;
	if (!ts_dtype_is_compute(x.elem) || x.elem == TS_BOOL) return tv_fail(v, c->arg[0], "E_TILE_TYPE", "reduce does not take %s", ts_dtype_name(x.elem));
	if (part && (part->kind != TS_TREE_TRUE || axis < 0 || buffer)) return tv_fail(v, part, "E_TILE_ARGUMENT", "part = true goes with an axis and without via");
	if (part) return part_type(v, &x, axis, &out), give(c, &out);
	if (across_warps(x.layout, axis) && !buffer) return tv_fail(v, c->call, "E_TILE_EXCHANGE", "the axis lies across warps (%s); give a shared buffer: via = red", tv_layout_text(v, x.layout));
	if (buffer) {
		if (!tv_mem(v, buffer, &via)) return false;
		int64_t room = 1, need = ts_layout_axis_size(x.layout, TS_AX_W) * ts_layout_axis_size(x.layout, TS_AX_G) * ts_layout_axis_size(x.layout, TS_AX_C);
		for (int i = 0; i < via.rank; i++) room *= via.extent[i];
		if (via.space != TS_SP_SHARED || via.elem != x.elem) return tv_fail(v, buffer, "E_TILE_EXCHANGE", "via is a shared buffer of %s", ts_dtype_name(x.elem));
		if (axis >= 0 && x.rank > 1) for (int i = 0; i < x.rank; i++) need *= i == axis ? 1 : x.extent[i];
		if (via.decl && ts_layout_axis_size(ts_tinfo(via.decl)->type.layout, TS_AX_C) > 1) return tv_fail(v, buffer, "E_TILE_EXCHANGE", "each CTA has a buffer of its own for via");
		if (room < need) return tv_fail(v, buffer, "E_TILE_EXCHANGE", "via has room for %lld elements, %lld are needed (one for each warp and row)", (long long)room, (long long)need);
	}
	if (axis < 0) out = (TsTType){ .form = TS_TT_SCALAR, .elem = x.elem };
	else dropped(v, &x, axis, &out);
	return give(c, &out);
}

static bool word_argreduce(TsVerify *v, TvCall *c)
{
	TsTType x, at, out;
	const char *op;
	int64_t axis;
	if (!tv_arity(v, c, 2, 2) || !tv_keywords(v, c, "op axis") || !tv_tile(v, c->arg[0], &x) || !tv_tile(v, c->arg[1], &at) || !tv_string(v, c, "op", "max min", NULL, &op)) return false;
	if (!axis_arg(v, c, 9, x.rank, &axis)) return false;
	if (!tv_shape_eq(&x, &at) || x.layout != at.layout || !ts_dtype_is_int(at.elem)) return tv_fail(v, c->arg[1], "E_TILE_TYPE", "the index is an integer tile like the value, this is %s beside %s", tv_type_text(v, &at), tv_type_text(v, &x));
	if (across_warps(x.layout, axis)) return tv_fail(v, c->call, "E_TILE_EXCHANGE", "argreduce stays within a warp; the axis lies across warps");
	dropped(v, &x, axis, &out);
	give(c, &out);
	dropped(v, &at, axis, &out);
	return give(c, &out);
}

static bool mma_fma(TsVerify *v, TvCall *c, const TsTType *acc)
{
	TsTType side[2];
	for (int i = 0; i < 2; i++) {
		if (!tv_tile(v, c->arg[1 + i], &side[i])) return false;
		const TsLayout *need = keep_axes(v, acc->layout, 2, 1u << i);
		if (side[i].rank != 1 || side[i].extent[0] != acc->extent[i] || side[i].elem != acc->elem) return tv_fail(v, c->arg[1 + i], "E_TILE_SHAPE", "fma takes a column and a row of %s, this is %s", tv_type_text(v, acc), tv_type_text(v, &side[i]));
		if (side[i].layout != need) return tv_fail(v, c->arg[1 + i], "E_TILE_LAYOUT", "the operand lies as %s, the accumulator's %s as %s", tv_layout_text(v, side[i].layout), i ? "columns" : "rows", tv_layout_text(v, need));
	}
	return give(c, acc);
}

static bool word_mma(TsVerify *v, TvCall *c)
{
	TsTType acc;
	const char *atom;
	if (!tv_arity(v, c, 3, 3) || !tv_keywords(v, c, "atom zero_if late") || !tv_string(v, c, "atom", "fma wgmma mma mma_tf32 mfma wmma", "fma", &atom) || !tv_expr(v, c->arg[0], NULL, &acc)) return false;
	bool parts = acc.form == TS_TT_TILE && acc.rank == 3 && (v->target->cls & TS_TG_GPU); /* [s, m, n]: k in s parts, summed apart */
	bool whole = ts_dtype_is_int(acc.elem) && ts_dtype_is_compute(acc.elem) && !strcmp(atom, "fma") && !parts; /* integers: multiply and add, wrapping */
	if (acc.form != TS_TT_TILE || (acc.rank != 2 && !parts) || (!ts_dtype_is_float(acc.elem) && !whole)) return tv_fail(v, c->arg[0], "E_TILE_TYPE", "the accumulator is a tile of two axes (on GPUs three) that this atom adds into, this is %s", tv_type_text(v, &acc));
	acc.decl = NULL;
	if (strcmp(atom, "fma") || (parts && !acc.pending)) return tv_mma_gpu(v, c, atom, &acc);
	if (tv_keyword(c, "zero_if") || tv_keyword(c, "late")) return tv_fail(v, c->call, "E_TILE_ARGUMENT", "zero_if and late go with wgmma only");
	return acc.pending ? tv_fail(v, c->arg[0], "E_TILE_IN_FLIGHT", "fma accumulators are never in flight") : mma_fma(v, c, &acc);
}

static bool word_philox(TsVerify *v, TvCall *c)
{
	TsTType have[8];
	const TsTType *shape;
	TsDtype elem;
	if (!tv_arity(v, c, 6, 6) || !tv_keywords(v, c, "") || !common_type(v, c, have, 0, &shape, &elem)) return false;
	if (!shape) return tv_fail(v, c->call, "E_TILE_TYPE", "philox(k0, k1, c0, c1, c2, c3): at least one counter word is an int32 tile");
	for (uint32_t i = 0; i < 6; i++)
		if (have[i].form != TS_TT_IDX && have[i].elem != TS_INT32) return tv_fail(v, c->arg[i], "E_TILE_TYPE", "philox takes int32 tiles and scalars, and idx (their low 32 bits); this is %s", tv_type_text(v, &have[i]));
	for (int i = 0; i < 4; i++) give_pointwise(c, shape, TS_INT32);
	return true;
}

/* ---- memory ---- */
/* valid = k or one for each axis of the view; from = likewise, on GPUs. */
static bool check_limit(TsVerify *v, TvCall *c, int rank, const char *name)
{
	TsTree *limit = tv_keyword(c, name);
	if (!limit) return true;
	uint32_t n = limit->kind == TS_TREE_LIST ? limit->n : 1;
	if (n != (uint32_t)rank) return tv_fail(v, limit, "E_TILE_ARGUMENT", "%s counts elements along %d axes, %u given", name, rank, n);
	for (uint32_t i = 0; i < n; i++)
		if (!tv_idx(v, limit->kind == TS_TREE_LIST ? limit->kid[i] : limit)) return false;
	return true;
}

static bool check_valid(TsVerify *v, TvCall *c, const TsTType *mem)
{
	TsTree *from = tv_keyword(c, "from");
	if (from && (v->target->cls == TS_TG_CPU || ts_dtype_bits(mem->elem) < 8)) return tv_fail(v, from, "E_TILE_TARGET", "'from' is for GPUs, and for elements of whole bytes");
	return check_limit(v, c, mem->rank, "valid") && check_limit(v, c, mem->rank, "from");
}

static bool check_pad(TsVerify *v, TvCall *c, TsDtype elem)
{
	TsTree *pad = tv_keyword(c, "pad");
	TsTType t;
	if (!pad) return true;
	if (!tv_expr(v, pad, NULL, &t)) return false;
	if (t.form != TS_TT_IDX && t.form != TS_TT_SCALAR) return tv_fail(v, pad, "E_TILE_TYPE", "pad is one scalar, this is %s", tv_type_text(v, &t));
	return tv_operand(v, pad, &t, elem);
}

static bool load_type(TsVerify *v, TvCall *c, const TsTType *mem)
{
	TsTType to = { .form = TS_TT_SCALAR, .elem = mem->elem };
	if (mem->rank == 0) return give(c, &to);
	if (!wanted_tile(v, c, 0, &to)) return false;
	if (to.pending) return tv_fail(v, c->call, "E_TILE_IN_FLIGHT", "a loaded tile is never in flight");
	if (!tv_shape_eq(mem, &to) || mem->elem != to.elem) return tv_fail(v, c->call, "E_TILE_SHAPE", "the place holds %s, the result is %s", tv_type_text(v, mem), tv_type_text(v, &to));
	return give(c, &to);
}

static bool word_load(TsVerify *v, TvCall *c)
{
	TsTType mem;
	TsTree *stream = tv_keyword(c, "stream");
	if (!tv_arity(v, c, 1, 1) || !tv_keywords(v, c, "valid from pad stream") || !tv_mem(v, c->arg[0], &mem)) return false;
	if (stream && stream->kind != TS_TREE_TRUE) return tv_fail(v, stream, "E_TILE_ARGUMENT", "stream = true is the only choice");
	return check_valid(v, c, &mem) && check_pad(v, c, mem.elem) && load_type(v, c, &mem);
}

static bool store_check(TsVerify *v, const TsTType *mem, TsTree *value)
{
	TsTType x;
	if (!tv_expr(v, value, NULL, &x)) return false;
	if (x.pending) return tv_fail(v, value, "E_TILE_IN_FLIGHT", "this tile is in flight; take it from wait_mma first");
	if (mem->rank == 0 ? x.form != TS_TT_SCALAR && x.form != TS_TT_IDX : x.form != TS_TT_TILE || !tv_shape_eq(mem, &x))
		return tv_fail(v, value, "E_TILE_SHAPE", "the place holds %s, the value is %s", tv_type_text(v, mem), tv_type_text(v, &x));
	return tv_operand(v, value, &x, mem->elem);
}

static bool word_store(TsVerify *v, TvCall *c)
{
	TsTType mem;
	if (!tv_arity(v, c, 2, 2) || !tv_keywords(v, c, "valid from") || !tv_mem(v, c->arg[0], &mem)) return false;
	return check_valid(v, c, &mem) && store_check(v, &mem, c->arg[1]);
}

static bool word_prefetch(TsVerify *v, TvCall *c)
{
	TsTType mem;
	TsTree *write = tv_keyword(c, "write");
	if (write && write->kind != TS_TREE_TRUE && write->kind != TS_TREE_FALSE) return tv_fail(v, write, "E_TILE_ARGUMENT", "write is true or false");
	return tv_arity(v, c, 1, 1) && tv_keywords(v, c, "write") && tv_mem(v, c->arg[0], &mem);
}

static bool word_pack(TsVerify *v, TvCall *c)
{
	TsTType to, from;
	if (!tv_arity(v, c, 2, 2) || !tv_keywords(v, c, "valid pad") || !tv_mem(v, c->arg[0], &to) || !tv_mem(v, c->arg[1], &from)) return false;
	if (to.rank != 2 || from.rank != 2 || to.extent[0] != from.extent[1] || to.extent[1] != from.extent[0] || to.elem != from.elem)
		return tv_fail(v, c->call, "E_TILE_SHAPE", "pack transposes: %s into %s", tv_type_text(v, &from), tv_type_text(v, &to));
	return check_valid(v, c, &from) && check_pad(v, c, from.elem);
}

/* ---- dispatch ---- */
TvWord *tv_word(TsTileOp op)
{
	static TvWord *const word[TS_TILE_OP_COUNT] = {
#define W(name) [TS_TILE_##name] = word_##name
		W(min), W(max), W(cdiv), W(xor), W(select), W(raster), W(fma), W(exp2), W(tf32), W(fill), W(iota), W(bcast), W(slice), W(concat), W(convert), W(reduce), W(argreduce),
		W(mma), W(philox), W(load), W(store), W(prefetch), W(pack),
#undef W
	};
	return word[op] ? word[op] : tv_word_gpu(op);
}

static bool unknown_word(TsVerify *v, const TsTree *callee)
{
	TsSym names[TS_TILE_OP_COUNT];
	for (int i = 0; i < TS_TILE_OP_COUNT; i++) names[i] = ts_tile_op_info((TsTileOp)i)->name;
	tv_fail(v, callee, "E_TILE_WORD", "no word '%s' in Tile IR", callee->name ? callee->name : "");
	TsSym near = callee->name ? ts_nearest(callee->name, names, TS_TILE_OP_COUNT) : NULL;
	if (near) ts_hint(v->cx, "nearest: %s", near);
	return false;
}

static bool note_result(TsTInfo *info, const TvCall *c)
{
	if (c->nout) info->type = c->out[0];
	return true;
}

bool tv_call(TsVerify *v, TvCall *c)
{
	TsTree *callee = c->call->kid[0];
	TsTInfo *info = tv_info(v, c->call);
	c->nout = 0;
	if (callee->kind != TS_TREE_NAME) return unknown_word(v, callee);
	for (c->narg = 0; c->narg + 1 < c->call->n && c->call->kid[1 + c->narg]->kind != TS_TREE_KW;) c->narg++;
	for (int op = 0; op < TS_TILE_OP_COUNT; op++) {
		const TsTileOpInfo *word = ts_tile_op_info((TsTileOp)op);
		if (strcmp(word->name, callee->name)) continue;
		if (!(word->targets & v->target->cls)) return tv_fail(v, callee, "E_TILE_TARGET", "'%s' is no word of target %s", callee->name, v->target->name);
		info->op = op;
		return tv_word((TsTileOp)op)(v, c) && note_result(info, c);
	}
	TsOp op = ts_op_find(v->cx, callee->name);
	if (op == TS_OP_NONE || !(ts_op_info(v->cx, op)->flags & TS_F_TILE)) return unknown_word(v, callee);
	info->op = TS_TILE_POINTWISE + (int32_t)op;
	return tv_pointwise(v, c, info->op) && note_result(info, c);
}
