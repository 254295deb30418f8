/* Kernels without places: their words, slices of memory, and tiles whose sizes follow from what they meet. */
#include "frontend/graph_text/sema_int.h"
#include <math.h>
#include <string.h>

static TsVal op(Sema *s, TsOp o, TsSpan at, uint32_t n, const TsVal *in, const TsAttr *attr)
{
	TsNode *node = ts_add_op(s->m, s->g, s->b, o, n, in, attr, s->num, at);
	return node ? node->out[0] : 0;
}

static TsType type_of(Sema *s, TsVal v) { return ts_val(s->g, v)->type; }
static bool fail(Ent e) { (void)e; return false; }

static TsVal shaped(Sema *s, TsOp o, TsVal v, uint32_t rank, const TsDim *dim, TsSpan at)
{
	TsAttr *a = ts_attrs_new(s->m, o);
	a[0].none = false;
	a[0].n = rank;
	a[0].dims = ts_memdup(s->a, dim, (rank ? rank : 1) * sizeof *dim);
	return op(s, o, at, 1, &v, a);
}

TsVal ts_k_reshape(Sema *s, TsVal v, uint32_t rank, const TsDim *dim, TsSpan at) { return shaped(s, TS_OP_reshape, v, rank, dim, at); }

/* The open variable whose tiles have that length along an axis; NULL: none. */
static const TsTileVar *var_of_length(Sema *s, TsDim d)
{
	const TsTileVar *v = ts_k_var_in(s, d, NULL);
	return v && v->len == d ? v : NULL;
}

bool ts_k_axis_fits(Sema *s, TsDim wanted, TsDim found)
{
	const TsTileVar *v = var_of_length(s, found);
	int64_t c;
	return wanted == found || (v && ts_dim_is_const(s->d, wanted, &c) && c == v->step);
}

/* ---- tiles without sizes of their own ---- */

static bool is_one(Sema *s, TsDim d) { int64_t c; return ts_dim_is_const(s->d, d, &c) && c == 1; }

/* ENT_TILE: what it becomes where it meets axes dim: the sizes found, where they fit the written ones. */
static bool settle(Sema *s, Ent *e, uint32_t rank, const TsDim *dim, const char *what)
{
	TsDim to[TS_MAX_RANK];
	if (e->n > rank) return fail(ts_s_fail(s, e->at, "E_RANK", "%s: a tile of %u axes where %u are wanted", what, e->n, rank));
	for (uint32_t i = 0; i < e->n; i++) {
		TsDim have = e->tile[i], found = dim[rank - e->n + i];
		bool keeps = is_one(s, found) || is_one(s, have);
		to[i] = keeps ? have : found;
		if (keeps || ts_k_axis_fits(s, have, found) || (e->soft && !var_of_length(s, found))) continue;
		TsBuf x = { 0 }, y = { 0 };
		ts_dim_print(s->d, have, &x);
		ts_dim_print(s->d, found, &y);
		ts_error(s->cx, e->at, "E_SHAPE_MISMATCH", "%s: axis %u of this tile is written as %s and meets %s", what, i, x.p, y.p);
		ts_buf_free(&x);
		ts_buf_free(&y);
		return false;
	}
	TsVal v = shaped(s, TS_OP_broadcast, e->v, e->n, to, e->at);
	*e = ENT(ENT_VALUE, e->at, .v = v);
	return v != 0;
}

bool ts_k_fit(Sema *s, Ent *e, uint32_t rank, const TsDim *dim, const char *what)
{
	if (e->kind != ENT_TILE) return true;
	if (e->n != rank) return fail(ts_s_fail(s, e->at, "E_RANK", "%s: a tile of %u axes where %u are wanted", what, e->n, rank));
	return settle(s, e, rank, dim, what);
}

bool ts_k_filled(Sema *s, Ent *e, const TsType *want)
{
	TsVal v = ts_s_value(s, *e, want->elem);
	if (!v) return false;
	*e = ENT(ENT_TILE, e->at, .v = v, .n = want->rank, .tile = ts_memdup(s->a, want->dim, want->rank * sizeof *want->dim));
	return true;
}

/* d, d + 1, …: with a variable in d its tile's positions, else i of them. */
static TsVal positions(Sema *s, Ent e)
{
	TsAttr *a = ts_attrs_new(s->m, TS_OP_iota);
	const TsOpInfo *info = ts_op_info(s->cx, TS_OP_iota);
	const TsTileVar *var = ts_k_var_in(s, e.d, NULL);
	TsAttr *n = &a[ts_op_attr_index(info, "n")];
	if (var && var->step != e.i) return ts_s_fail(s, e.at, "E_SHAPE_MISMATCH", "tiles along %s have %lld elements, iota %lld", var->name, (long long)var->step, (long long)e.i).v;
	n->none = false;
	n->n = 1;
	n->dims = TS_NEW(s->a, TsDim);
	n->dims[0] = var ? var->len : ts_dim_const(s->d, e.i);
	a[ts_op_attr_index(info, "dtype")].t = (TsDtype)e.set;
	TsVal v = op(s, TS_OP_iota, e.at, 0, NULL, a);
	if (!v || !e.d) return v;
	TsVal from = ts_add_dim(s->m, s->g, s->b, e.d, e.at);
	if ((TsDtype)e.set != TS_INT64) {
		TsAttr *c = ts_attrs_new(s->m, TS_OP_cast);
		c[0].none = false;
		c[0].t = (TsDtype)e.set;
		from = op(s, TS_OP_cast, e.at, 1, &from, c);
	}
	return from ? op(s, TS_OP_add, e.at, 2, (TsVal[]){ v, from }, NULL) : 0;
}

TsVal ts_k_value(Sema *s, Ent e)
{
	if (e.kind == ENT_IOTA) return positions(s, e);
	if (e.kind == ENT_TILE) return settle(s, &e, e.n, e.tile, "here") ? e.v : 0;
	ts_error(s->cx, e.at, "E_KERNEL", "operands and results of a kernel lie in memory: load(X[…]) gives a tile, store(Y[…], y) takes one");
	return 0;
}

Ent ts_k_name(Sema *s, Ent e, TsTree *t)
{
	if (e.kind == ENT_WEIGHTS) return ts_s_not_yet(s, t->at, "a kernel that reads weights (give them as operands)");
	KPlace *p = e.place;
	if (p->cur.kind == ENT_NONE) return ts_s_fail(s, t->at, "E_UNASSIGNED", "'%s' holds nothing here", p->name);
	if (!p->written) p->read_first = true;
	Ent r = p->cur;
	r.at = t->at;
	return r;
}

Ent ts_k_index_tile(Sema *s, TsTree *t, Ent x)
{
	TsDim dim[TS_MAX_RANK];
	uint32_t n = 0, axis = 0;
	for (uint32_t i = 1; i < t->n; i++) {
		TsTree *k = t->kid[i];
		bool whole = k->kind == TS_TREE_RANGE && !k->kid[0] && !k->kid[1] && !k->kid[2];
		if (n == TS_MAX_RANK || (whole && axis == x.n)) return ts_s_fail(s, k->at, "E_RANK", "too many indices");
		if (k->kind == TS_TREE_NONE) dim[n++] = ts_dim_const(s->d, 1);
		else if (whole) dim[n++] = x.tile[axis++];
		else return ts_s_fail(s, k->at, "E_KERNEL", "a tile of one number everywhere is indexed by ':' and none alone");
	}
	while (axis < x.n && n < TS_MAX_RANK) dim[n++] = x.tile[axis++];
	x.n = n;
	x.tile = ts_memdup(s->a, dim, (n + 1) * sizeof *dim);
	x.at = t->at;
	return x;
}

/* ---- operands ---- */

/* Sizes of the values among the operands, broadcast; 0 axes when there are none. */
static uint32_t common_shape(Sema *s, uint32_t n, const Ent *in, TsDim *dim)
{
	uint32_t rank = 0;
	for (uint32_t i = 0; i < n; i++)
		if (in[i].kind == ENT_VALUE && type_of(s, in[i].v).rank > rank) rank = type_of(s, in[i].v).rank;
	for (uint32_t a = 0; a < rank; a++) dim[a] = ts_dim_const(s->d, 1);
	for (uint32_t i = 0; i < n; i++) {
		if (in[i].kind != ENT_VALUE) continue;
		const TsType t = type_of(s, in[i].v);
		for (uint32_t a = 0; a < t.rank; a++)
			if (is_one(s, dim[rank - t.rank + a])) dim[rank - t.rank + a] = t.dim[a];
	}
	return rank;
}

/* A row vector, one element for each row of a tile, stands beside it without [:, none]. */
static bool as_column(Sema *s, Ent *e, const TsDim *dim)
{
	bool tile = e->kind == ENT_TILE;
	if (!tile && e->kind != ENT_VALUE) return true;
	const TsType t = tile ? (TsType){ .rank = (uint8_t)e->n, .dim = { e->n == 1 ? e->tile[0] : 0 } } : type_of(s, e->v);
	if (t.rank != 1 || is_one(s, t.dim[0])) return true;
	if (tile ? ts_k_axis_fits(s, t.dim[0], dim[1]) || !ts_k_axis_fits(s, t.dim[0], dim[0]) : t.dim[0] == dim[1] || t.dim[0] != dim[0]) return true;
	TsDim column[2] = { t.dim[0], ts_dim_const(s->d, 1) };
	if (tile) {
		e->n = 2;
		e->tile = ts_memdup(s->a, column, sizeof column);
		return true;
	}
	return (e->v = ts_k_reshape(s, e->v, 2, column, e->at)) != 0;
}

/* Numbers and tiles of one number alone: one number again, with the larger of the shapes. */
static bool of_tiles(Sema *s, TsOp o, TsSpan at, uint32_t n, Ent *in, const TsAttr *attr, Ent *r)
{
	const Ent *big = NULL;
	Ent elem[TS_MAX_OP_INS];
	for (uint32_t i = 0; i < n; i++) {
		elem[i] = in[i];
		if (in[i].kind == ENT_TILE) elem[i] = ENT(ENT_VALUE, in[i].at, .v = in[i].v);
		if (in[i].kind == ENT_TILE && (!big || in[i].n > big->n)) big = &in[i];
	}
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t a = 0; in[i].kind == ENT_TILE && a < in[i].n; a++) {
			TsDim x = in[i].tile[in[i].n - 1 - a], y = big->tile[big->n - 1 - a];
			if (x != y && !is_one(s, x) && !is_one(s, y)) return *r = ts_s_fail(s, at, "E_BROADCAST", "tiles of different sizes"), false;
		}
	Ent keep = *big, e = ts_s_op(s, o, at, n, elem, attr);
	*r = e;
	if (e.kind == ENT_VALUE) {
		*r = keep;
		r->v = e.v;
		r->at = at;
	}
	return false;
}

static bool known_operator(Sema *s, TsOp o, TsSpan at, Ent *r)
{
	const TsOpInfo *info = ts_op_info(s->cx, o);
	switch (info->cls) {
	case TS_CLS_POINTWISE: case TS_CLS_REDUCE: case TS_CLS_ROW: case TS_CLS_CONTRACT: return true;
	case TS_CLS_VIEW: if (o != TS_OP_split) return true; break;
	default: if (o == TS_OP_online_softmax || o == TS_OP_iota) return true;
	}
	*r = ts_s_not_yet(s, at, ts_printf(s->a, "'%s' in a kernel", info->name));
	return false;
}

/* Sums of products run, and come out, in the accumulator's type. */
static const TsAttr *accumulated(Sema *s, const Ent *a, const TsAttr *attr)
{
	const TsOpInfo *info = ts_op_info(s->cx, TS_OP_matmul);
	int out = ts_op_attr_index(info, "out");
	if ((attr && !attr[out].none) || a->kind != ENT_VALUE) return attr;
	TsDtype t = type_of(s, a->v).elem, acc = s->num->accum;
	if (acc == TS_DTYPE_NONE || !ts_dtype_is_float(t)) acc = t == TS_F64 ? TS_F64 : ts_dtype_is_float(t) ? TS_F32 : t == TS_INT64 ? TS_INT64 : TS_INT32;
	TsAttr *own = ts_attrs_new(s->m, TS_OP_matmul);
	own[out].none = false;
	own[out].t = acc;
	return own;
}

bool ts_k_operands(Sema *s, TsOp o, TsSpan at, uint32_t n, Ent *in, const TsAttr **attr, Ent *r)
{
	TsDim dim[TS_MAX_RANK];
	bool pointwise = ts_op_info(s->cx, o)->cls == TS_CLS_POINTWISE, tiles = false;
	if (!known_operator(s, o, at, r)) return false;
	*r = ts_s_unknown(at);
	if ((o == TS_OP_add || o == TS_OP_sub) && n == 2) /* a place in an iota's count */
		for (uint32_t i = 0; i < 2; i++) {
			const Ent *x = &in[i], *y = &in[1 - i];
			if (x->kind != ENT_IOTA || (y->kind != ENT_SIZE && y->kind != ENT_INT) || (o == TS_OP_sub && i)) continue;
			TsDim d = y->kind == ENT_SIZE ? y->d : ts_dim_const(s->d, y->i);
			*r = *x;
			r->at = at;
			r->d = o == TS_OP_add ? ts_dim_add(s->d, x->d, d) : ts_dim_sub(s->d, x->d, d);
			return false;
		}
	for (uint32_t i = 0; i < n; i++) {
		if (in[i].kind != ENT_IOTA) continue;
		TsVal v = positions(s, in[i]);
		if (!v) return false;
		in[i] = ENT(ENT_VALUE, in[i].at, .v = v);
	}
	if (o == TS_OP_matmul && n == 2) *attr = accumulated(s, &in[0], *attr);
	if (!pointwise) return true;
	uint32_t rank = common_shape(s, n, in, dim);
	for (uint32_t i = 0; i < n; i++) {
		tiles |= in[i].kind == ENT_TILE;
		if (rank == 2 && !as_column(s, &in[i], dim)) return false;
	}
	if (!tiles) return true;
	if (!rank) return n <= TS_MAX_OP_INS && of_tiles(s, o, at, n, in, *attr, r);
	for (uint32_t i = 0; i < n; i++)
		if (in[i].kind == ENT_TILE && !settle(s, &in[i], in[i].n > rank ? in[i].n : rank, dim, ts_op_info(s->cx, o)->name)) return false;
	return true;
}

/* ---- slices of memory ---- */

enum { PART_WHOLE, PART_RANGE, PART_ONE, PART_CELL, PART_GROUP, PART_TILE }; /* all; a fixed range or place; a variable's place, the
                                                                               * one that r of its places share, or its tile */
typedef struct { int kind; const TsTileVar *var; TsDim start, stop; } Part;

static bool is_batch(const KSema *k, const TsType *t) { return k->batch_var >= 0 && t->rank && t->dim[0] == k->batch_size; }

/* h // r: one place for r of h's, all of them used. */
static bool group_place(Sema *s, TsTree *t, const TsTileVar *v, TsDim at, TsDim size)
{
	TsDim r;
	int64_t lo;
	bool divides = t->kind == TS_TREE_BIN && t->sub == TS_IN_FLOORDIV && v->step == 1 && ts_dim_is_const(s->d, v->lo, &lo) && !lo;
	if (!divides || !ts_s_size(s, t->kid[1], &r) || ts_k_var_in(s, r, NULL) || ts_dim_floordiv(s->d, v->symbol, r) != at)
		return fail(ts_s_not_yet(s, t->at, "an index computed from a variable"));
	return ts_s_demand(s, v->hi, ts_dim_mul(s->d, size, r), t->at, ts_printf(s->a, "the range of %s and the places it shares", v->name));
}

static bool one_place(Sema *s, TsTree *t, TsDim at, TsDim size, Part *p)
{
	bool sole = false;
	int64_t c;
	if (ts_dim_is_const(s->d, at, &c) && c < 0) at = ts_dim_add(s->d, size, at);
	const TsTileVar *v = ts_k_var_in(s, at, &sole);
	*p = (Part){ v ? PART_CELL : PART_ONE, v, at, ts_dim_add(s->d, at, ts_dim_const(s->d, 1)) };
	if (!v) return true;
	if (!sole) {
		p->kind = PART_GROUP;
		return group_place(s, t, v, at, size);
	}
	if (v->step != 1) {
		ts_s_fail(s, t->at, "E_KERNEL", "%s goes in steps of %lld; it takes a tile, not one element", v->name, (long long)v->step);
		ts_hint(s->cx, "%s:%s + %lld", v->name, v->name, (long long)v->step);
		return false;
	}
	return ts_s_demand_of(s, TS_CHECK_LE, v->hi, size, t->at, ts_printf(s->a, "the range of %s and the axis it indexes", v->name));
}

static bool range_part(Sema *s, TsTree *t, TsDim size, Part *p)
{
	TsDim lo = 0, hi = size;
	int64_t n, c;
	bool sole = false;
	if (t->kid[2]) return fail(ts_s_not_yet(s, t->at, "a slice with a step"));
	if (!t->kid[0] && !t->kid[1]) { *p = (Part){ PART_WHOLE, NULL, 0, size }; return true; }
	if ((t->kid[0] && !ts_s_size(s, t->kid[0], &lo)) || (t->kid[1] && !ts_s_size(s, t->kid[1], &hi))) return false;
	const TsTileVar *v = ts_k_var_in(s, lo, &sole);
	if (!v) {
		if (ts_dim_is_const(s->d, lo, &c) && c < 0) lo = ts_dim_add(s->d, size, lo);
		if (ts_dim_is_const(s->d, hi, &c) && c < 0) hi = ts_dim_add(s->d, size, hi);
		*p = (Part){ lo == 0 && hi == size ? PART_WHOLE : PART_RANGE, NULL, lo, hi };
		return !ts_k_var_in(s, hi, NULL) || fail(ts_s_not_yet(s, t->at, "a slice whose length hangs on the cell"));
	}
	if (!sole) return fail(ts_s_not_yet(s, t->at, "a slice that does not begin where a tile does"));
	if (!ts_dim_is_const(s->d, ts_dim_sub(s->d, hi, lo), &n) || n != v->step) {
		ts_s_fail(s, t->at, "E_KERNEL", "tiles along %s have %lld elements", v->name, (long long)v->step);
		ts_hint(s->cx, "%s:%s + %lld", v->name, v->name, (long long)v->step);
		return false;
	}
	*p = (Part){ PART_TILE, v, lo, ts_dim_add(s->d, lo, v->len) };
	return ts_s_demand_of(s, TS_CHECK_LE, v->hi, size, t->at, ts_printf(s->a, "the range of %s and the axis it runs along", v->name));
}

static Part cell_part(Sema *s, int var, bool tile)
{
	const TsTileVar *v = &s->kernel->k->vars.p[var];
	return (Part){ tile ? PART_TILE : PART_CELL, v, v->symbol, ts_dim_add(s->d, v->symbol, tile ? v->len : ts_dim_const(s->d, 1)) };
}

/* X[…], or X: a part for each axis. bare: a result stored whole, along the loop that became an axis of the grid. */
static bool parts(Sema *s, TsTree *t, const TsType *ty, bool result, Part *p)
{
	KSema *k = s->kernel;
	TsTree *list = t->kind == TS_TREE_INDEX ? t : NULL;
	uint32_t given = 0, axis = 0, n = list ? list->n : 1;
	for (uint32_t i = 1; i < n; i++) {
		if (list->kid[i]->kind == TS_TREE_NONE) return fail(ts_s_fail(s, list->kid[i]->at, "E_INDEX", "none adds an axis to a tile, not to memory"));
		if (list->kid[i]->kind != TS_TREE_ELLIPSIS) given++;
	}
	bool implied = is_batch(k, ty) && given < ty->rank;
	if (given + implied > ty->rank) return fail(ts_s_fail(s, t->at, "E_RANK", "%u indices for a tensor of %d axes", given, ty->rank));
	for (uint32_t a = 0; a < ty->rank; a++) p[a] = (Part){ PART_WHOLE, NULL, 0, ty->dim[a] };
	if (implied) p[axis++] = cell_part(s, k->batch_var, false);
	if (!given && result && k->sunk_var >= 0 && k->sunk_axis < ty->rank && ty->dim[k->sunk_axis] == k->k->vars.p[k->sunk_var].hi) p[k->sunk_axis] = cell_part(s, k->sunk_var, true);
	bool rest = false;
	for (uint32_t i = 1; i < n; i++) {
		TsTree *x = list->kid[i];
		if (x->kind == TS_TREE_ELLIPSIS) {
			if (rest) return fail(ts_s_fail(s, x->at, "E_INDEX", "one ... stands for the axes not indexed"));
			rest = true;
			axis += ty->rank - given - implied;
			continue;
		}
		TsDim at;
		if (x->kind == TS_TREE_RANGE ? !range_part(s, x, ty->dim[axis], &p[axis]) : !ts_s_size(s, x, &at) || !one_place(s, x, at, ty->dim[axis], &p[axis])) return false;
		axis++;
	}
	return true;
}

/* The buffer that X or X[…] names; NULL after reporting. */
static Ent *memory(Sema *s, TsTree *t, EntKind kind, const char *what)
{
	TsTree *x = t->kind == TS_TREE_INDEX ? t->kid[0] : t;
	Ent *e = x->kind == TS_TREE_NAME ? ts_s_find(s, x->name) : NULL;
	if (e && e->kind == kind) return e;
	if (e && e->kind == ENT_UNKNOWN) return NULL;
	if (x->kind == TS_TREE_NAME && !e) ts_s_expr(s, x);
	else ts_error(s->cx, t->at, "E_KERNEL", "%s", what);
	return NULL;
}

static TsVal load(Sema *s, TsTree *t)
{
	Ent *e = memory(s, t, ENT_BUFFER, "load takes a slice of an operand: load(X[…])");
	Part p[TS_MAX_RANK];
	if (!e) return 0;
	const TsType ty = type_of(s, e->v);
	if (!parts(s, t, &ty, false, p)) return 0;
	const TsOpInfo *info = ts_op_info(s->cx, TS_OP_slice);
	TsAttr *a = ts_attrs_new(s->m, TS_OP_slice), *from = &a[ts_op_attr_index(info, "start")], *to = &a[ts_op_attr_index(info, "stop")];
	TsDim keep[TS_MAX_RANK];
	uint32_t n = 0, checks = s->g->checks.n;
	bool whole = true;
	from->none = to->none = false;
	from->n = to->n = ty.rank;
	from->dims = TS_NEW_N(s->a, TsDim, ty.rank + 1);
	to->dims = TS_NEW_N(s->a, TsDim, ty.rank + 1);
	for (uint32_t i = 0; i < ty.rank; i++) {
		from->dims[i] = p[i].start;
		to->dims[i] = p[i].stop;
		whole &= p[i].kind == PART_WHOLE;
		if (p[i].kind != PART_CELL && p[i].kind != PART_GROUP && p[i].kind != PART_ONE) keep[n++] = ts_dim_sub(s->d, p[i].stop, p[i].start);
	}
	TsVal v = whole ? e->v : op(s, TS_OP_slice, t->at, 1, &e->v, a);
	uint32_t left = checks; /* what holds for every tile by what a variable is */
	for (uint32_t i = checks; i < s->g->checks.n; i++)
		if (!ts_k_var_in(s, s->g->checks.p[i].cond_lhs, NULL) && !ts_k_var_in(s, s->g->checks.p[i].cond_rhs, NULL)) s->g->checks.p[left++] = s->g->checks.p[i];
	s->g->checks.n = left;
	return v && n != ty.rank ? ts_k_reshape(s, v, n, keep, t->at) : v;
}

/* pad: what lies outside takes part in nothing, so only what could not be told from that may be asked for. */
static bool pad_is_neutral(Sema *s, TsTree *kw)
{
	Ent e = ts_s_expr(s, kw->kid[0]);
	if (e.kind == ENT_UNKNOWN) return false;
	if (strcmp(kw->name, "pad")) return fail(ts_s_fail(s, kw->at, "E_UNKNOWN_ARGUMENT", "load takes no '%s'", kw->name));
	bool fine = (e.kind == ENT_INT && !e.i) || (e.kind == ENT_FLOAT && (e.f == 0 || isinf(e.f)));
	return fine || fail(ts_s_fail(s, kw->at, "E_ATTR", "pad is 0, inf or -inf: elements past the end take part in nothing"));
}

/* ---- stores ---- */

static bool covers(Sema *s, TsTree *t, const TsType *ty, const Part *p)
{
	KSema *k = s->kernel;
	int64_t c;
	for (uint32_t a = 0; a < ty->rank; a++) {
		const TsTileVar *v = p[a].var;
		if (p[a].kind == PART_WHOLE) continue;
		if (!v) return fail(ts_s_not_yet(s, t->at, "a store of a fixed part of a result"));
		if (p[a].kind == PART_GROUP) return fail(ts_s_fail(s, t->at, "E_WRITE_OVERLAP", "several of the grid's %s write the same elements", v->name));
		if (!v->grid) return fail(ts_s_fail(s, t->at, "E_WRITE_OVERLAP", "a store stands outside loops: iterations of %s run in one cell", v->name));
		if (!ts_dim_is_const(s->d, v->lo, &c) || c || !ts_s_demand(s, ty->dim[a], v->hi, t->at, ts_printf(s->a, "the range of %s, which is to cover axis %u of the result", v->name, a)))
			return c ? fail(ts_s_fail(s, t->at, "E_UNASSIGNED", "%s leaves out the first elements of axis %u", v->name, a)) : false;
	}
	for (uint32_t i = 0; i < k->open.n; i++) {
		const TsTileVar *v = &k->k->vars.p[k->open.p[i]];
		uint32_t uses = 0;
		for (uint32_t a = 0; a < ty->rank; a++) uses += p[a].var == v;
		if (!v->grid) return fail(ts_s_fail(s, t->at, "E_WRITE_OVERLAP", "a store stands outside loops: iterations of %s write the same elements", v->name));
		if (uses == 1) continue;
		if (uses) return fail(ts_s_fail(s, t->at, "E_UNASSIGNED", "%s stands for two axes, so most of the result is not written", v->name));
		ts_s_fail(s, t->at, "E_WRITE_OVERLAP", "grid cells %s and %s + %lld write the same elements", v->name, v->name, (long long)v->step);
		ts_hint(s->cx, v->step == 1 ? "use %s as an index" : "use %s:%s + %lld as an index", v->name, v->name, (long long)v->step);
		return false;
	}
	return true;
}

static TsVal as_elem(Sema *s, TsVal v, TsDtype t, TsSpan at)
{
	if (type_of(s, v).elem == t) return v;
	TsAttr *a = ts_attrs_new(s->m, TS_OP_cast);
	a[0].none = false;
	a[0].t = t;
	return op(s, TS_OP_cast, at, 1, &v, a);
}

/* The value in the shape of the part that it is stored to. */
static TsVal stored_value(Sema *s, TsTree *t, Ent e, const TsType *ty, const Part *p)
{
	TsDim dim[TS_MAX_RANK];
	uint32_t n = 0;
	for (uint32_t a = 0; a < ty->rank; a++)
		if (p[a].kind != PART_CELL) dim[n++] = p[a].kind == PART_TILE ? p[a].var->len : ty->dim[a];
	if (e.kind == ENT_TILE && !ts_k_fit(s, &e, n, dim, "store")) return 0;
	TsVal v = ts_s_value(s, e, ty->elem);
	if (!v) return 0;
	const TsType found = type_of(s, v);
	if (found.rank != n) return ts_s_fail(s, t->at, "E_SHAPE_MISMATCH", "store: a tile of %d axes to a slice of %u", found.rank, n).v;
	for (uint32_t a = 0; a < n; a++)
		if (!ts_s_demand(s, dim[a], found.dim[a], t->at, ts_printf(s->a, "store: axis %u of the tile", a))) return 0;
	return as_elem(s, v, ty->elem, t->at);
}

static bool store(Sema *s, TsTree *t)
{
	KSema *k = s->kernel;
	Part p[TS_MAX_RANK];
	if (t->n != 3) return fail(ts_s_fail(s, t->at, "E_ARGUMENTS", "store(Y[…], y)"));
	Ent *e = memory(s, t->kid[1], ENT_RESULT, "store takes a slice of a result: store(Y[…], y)"), x = ts_s_expr(s, t->kid[2]);
	if (!e || x.kind == ENT_UNKNOWN) return false;
	uint32_t r = (uint32_t)e->i;
	const TsType ty = k->k->results.p[r];
	if (!parts(s, t->kid[1], &ty, true, p) || !covers(s, t, &ty, p)) return false;
	if (k->stored[r]) return fail(ts_s_fail(s, t->at, "E_ASSIGNED_TWICE", "this result is stored twice"));
	TsTileStore st = { .v = stored_value(s, t, x, &ty, p), .result = r, .at = t->at };
	if (!st.v) return false;
	for (uint32_t a = 0; a < ty.rank; a++) {
		st.start[a] = p[a].start;
		st.drop[a] = p[a].kind == PART_CELL;
	}
	if (k->after) ts_warn(s->cx, t->at, "W_TILE_SINK", "this store stands after the loop over %s and is done at the end of each of its iterations, which are cells of the grid", k->k->vars.p[k->sunk_var].name);
	k->stored[r] = true;
	ts_push(s->a, &k->k->stores, st);
	ts_push(s->a, &k->k->cell.results, st.v);
	return true;
}

/* ---- places ---- */

static KPlace *place(Sema *s, TsTree *t)
{
	Ent *e = t->kind == TS_TREE_NAME ? ts_s_find(s, t->name) : NULL;
	if (e && e->kind == ENT_PLACE) return e->place;
	if (e && e->kind == ENT_UNKNOWN) return NULL;
	if (!e && t->kind == TS_TREE_NAME) { ts_s_expr(s, t); return NULL; }
	ts_error(s->cx, t->at, "E_KERNEL", "only what alloc_shared or alloc_register made is written again");
	ts_hint(s->cx, "x = alloc_register(128, 64, dtype = f32)");
	return NULL;
}

static bool hold(Sema *s, KPlace *p, Ent e, TsSpan at)
{
	if (e.kind == ENT_INT || e.kind == ENT_FLOAT || e.kind == ENT_BOOL) {
		TsVal v = ts_s_value(s, e, p->elem);
		if (!v) return false;
		e = ENT(ENT_TILE, at, .v = v, .n = p->rank, .tile = p->tile, .soft = true);
	} else {
		if (e.kind == ENT_UNKNOWN) return false;
		if (e.kind != ENT_TILE) {
			TsVal v = ts_s_value(s, e, p->elem);
			if (!v) return false;
			e = ENT(ENT_VALUE, at, .v = v);
		}
		const TsType ty = type_of(s, e.v);
		uint32_t rank = e.kind == ENT_TILE ? e.n : ty.rank;
		if (ty.elem != p->elem) return fail(ts_s_fail(s, at, "E_TYPE_MISMATCH", "'%s' holds %s, this is %s", p->name, ts_dtype_name(p->elem), ts_dtype_name(ty.elem)));
		if (rank != p->rank) return fail(ts_s_fail(s, at, "E_SHAPE_MISMATCH", "'%s' has %u axes, this tile has %u", p->name, p->rank, rank));
		for (uint32_t a = 0; a < rank && e.kind == ENT_VALUE; a++) {
			const TsTileVar *v = var_of_length(s, ty.dim[a]);
			if (v && !ts_k_axis_fits(s, p->tile[a], ty.dim[a])) return fail(ts_s_fail(s, at, "E_SHAPE_MISMATCH", "axis %u of '%s': tiles along %s have %lld elements", a, p->name, v->name, (long long)v->step));
		}
	}
	p->cur = e;
	p->written = true;
	return true;
}

/* What failed is not complained about again. */
static bool put(Sema *s, KPlace *p, Ent e, TsSpan at)
{
	if (hold(s, p, e, at)) return true;
	p->cur = ts_s_unknown(at);
	p->written = true;
	return false;
}

void ts_k_set(Sema *s, TsTree *t)
{
	if (t->kid[0]->n != 1 || t->kid[0]->kid[0]->kind != TS_TREE_NAME) { ts_s_not_yet(s, t->at, "set of several places, or of a part of one, in a kernel"); return; }
	KPlace *p = place(s, t->kid[0]->kid[0]);
	Ent e = ts_s_expr(s, t->kid[1]);
	if (p) put(s, p, e, t->at);
}

/* alloc_shared(128, 64, dtype = bf16): sizes, then the element type. Where it lies is the compiler's. */
static Ent alloc(Sema *s, TsTree *t)
{
	KPlace *p = TS_NEW(s->a, KPlace);
	TsDim dim[TS_MAX_RANK];
	*p = (KPlace){ .name = "a place", .at = t->at, .elem = TS_F32, .cur = ENT(ENT_NONE, t->at) };
	for (uint32_t i = 1; i < t->n; i++) {
		TsTree *a = t->kid[i];
		if (a->kind == TS_TREE_KW) {
			Ent e = ts_s_expr(s, a->kid[0]);
			if (strcmp(a->name, "dtype")) return ts_s_fail(s, a->at, "E_UNKNOWN_ARGUMENT", "%s takes no '%s'", t->kid[0]->name, a->name);
			if (e.kind != ENT_DTYPE) return e.kind == ENT_UNKNOWN ? e : ts_s_fail(s, a->at, "E_ATTR", "dtype is an element type");
			p->elem = (TsDtype)e.i;
			continue;
		}
		if (p->rank == TS_MAX_RANK) return ts_s_fail(s, a->at, "E_RANK", "a tensor has at most %d axes", TS_MAX_RANK);
		if (!ts_s_size(s, a, &dim[p->rank++])) return ts_s_unknown(t->at);
	}
	p->tile = ts_memdup(s->a, dim, (p->rank + 1) * sizeof *dim);
	if (s->kernel->places.n >= 256) return ts_s_fail(s, t->at, "E_LIMIT", "more than 256 places");
	ts_push(s->a, &s->kernel->places, p);
	return ENT(ENT_PLACE, t->at, .place = p);
}

/* ---- attention's words ---- */

/* Arguments as values; those from `rows` on have one element for each row of the first. */
static bool tile_arguments(Sema *s, TsTree *t, uint32_t n, uint32_t rows, TsVal *v)
{
	Ent e[TS_MAX_OP_INS];
	if (t->n != n + 1) return fail(ts_s_fail(s, t->at, "E_ARGUMENTS", "%s takes %u arguments, %u are given", t->kid[0]->name, n, t->n - 1));
	for (uint32_t i = 0; i < n; i++) {
		e[i] = ts_s_expr(s, t->kid[i + 1]);
		if (e[i].kind == ENT_UNKNOWN) return false;
	}
	uint32_t first = rows == 1 ? 0 : 1; /* update_accumulator: the product says what the accumulator's sizes are */
	if (!(v[first] = ts_s_value(s, e[first], TS_F32))) return false;
	const TsType ty = type_of(s, v[first]);
	if (ty.rank != 2) return fail(ts_s_fail(s, t->kid[first + 1]->at, "E_RANK", "%s takes tiles of two axes", t->kid[0]->name));
	for (uint32_t i = 0; i < n; i++) {
		if (i == first) continue;
		if (e[i].kind == ENT_TILE && !ts_k_fit(s, &e[i], i < rows ? 2 : 1, ty.dim, t->kid[0]->name)) return false;
		if (!(v[i] = ts_s_value(s, e[i], ty.elem))) return false;
		const TsType x = type_of(s, v[i]);
		if (x.elem == ty.elem && x.rank == (i < rows ? 2 : 1) && x.dim[0] == ty.dim[0] && (i >= rows || x.dim[1] == ty.dim[1])) continue;
		TsBuf b = { 0 };
		ts_type_print(s->m, &x, &b);
		ts_error(s->cx, t->kid[i + 1]->at, "E_SHAPE_MISMATCH", "%s: %s does not go with the rows of the tile", t->kid[0]->name, b.p);
		ts_buf_free(&b);
		return false;
	}
	return true;
}

static Ent online_softmax(Sema *s, TsTree *t)
{
	TsVal v[3];
	if (!tile_arguments(s, t, 3, 1, v)) return ts_s_unknown(t->at);
	TsNode *n = ts_add_op(s->m, s->g, s->b, TS_OP_online_softmax, 3, v, NULL, s->num, t->at);
	if (!n) return ts_s_unknown(t->at);
	Ent r = ENT(ENT_MULTI, t->at, .n = 3);
	r.item = TS_NEW_N(s->a, Ent, 3);
	for (uint32_t i = 0; i < 3; i++) r.item[i] = ENT(ENT_VALUE, t->at, .v = n->out[i]);
	return r;
}

/* acc * exp(m - m') + v, where the factor is 0 as long as m' is -inf. */
static Ent update_accumulator(Sema *s, TsTree *t)
{
	TsVal v[6];
	if (!tile_arguments(s, t, 6, 2, v)) return ts_s_unknown(t->at);
	const TsType ty = type_of(s, v[0]), row = type_of(s, v[2]);
	TsVal low = ts_add_scalar(s->m, s->g, s->b, ty.elem, -INFINITY, t->at), zero = ts_add_scalar(s->m, s->g, s->b, ty.elem, 0, t->at);
	TsVal d = op(s, TS_OP_sub, t->at, 2, (TsVal[]){ v[2], v[3] }, NULL);
	TsVal f = op(s, TS_OP_exp, t->at, 1, &d, NULL), none = op(s, TS_OP_eq, t->at, 2, (TsVal[]){ v[3], low }, NULL);
	f = op(s, TS_OP_where, t->at, 3, (TsVal[]){ none, zero, f }, NULL);
	f = ts_k_reshape(s, f, 2, (TsDim[]){ row.dim[0], ts_dim_const(s->d, 1) }, t->at);
	TsVal y = op(s, TS_OP_mul, t->at, 2, (TsVal[]){ v[0], f }, NULL);
	Ent r = ENT(ENT_VALUE, t->at, .v = op(s, TS_OP_add, t->at, 2, (TsVal[]){ y, v[1] }, NULL));
	Ent *e = t->kid[1]->kind == TS_TREE_NAME ? ts_s_find(s, t->kid[1]->name) : NULL;
	if (!e || e->kind != ENT_PLACE) return r;
	return put(s, e->place, r, t->at) ? ENT(ENT_NONE, t->at) : ts_s_unknown(t->at);
}

/* ---- words ---- */

static Ent done(bool ok, TsTree *t) { return ok ? ENT(ENT_NONE, t->at) : ts_s_unknown(t->at); }

static Ent word_load(Sema *s, TsTree *t)
{
	if (t->n < 2 || t->n > 3 || (t->n == 3 && t->kid[2]->kind != TS_TREE_KW)) return ts_s_fail(s, t->at, "E_ARGUMENTS", "load(X[…]) or load(X[…], pad = 0)");
	if (t->n == 3 && !pad_is_neutral(s, t->kid[2])) return ts_s_unknown(t->at);
	TsVal v = load(s, t->kid[1]);
	return v ? ENT(ENT_VALUE, t->at, .v = v) : ts_s_unknown(t->at);
}

static Ent word_load_async(Sema *s, TsTree *t)
{
	if (t->n != 3) return ts_s_fail(s, t->at, "E_ARGUMENTS", "load_async(place, X[…])");
	KPlace *p = place(s, t->kid[1]);
	TsVal v = load(s, t->kid[2]);
	return done(p && put(s, p, v ? ENT(ENT_VALUE, t->at, .v = v) : ts_s_unknown(t->at), t->at), t);
}

static Ent word_store(Sema *s, TsTree *t) { return done(store(s, t), t); }

static Ent word_fill(Sema *s, TsTree *t)
{
	if (t->n != 3) return ts_s_fail(s, t->at, "E_ARGUMENTS", "fill(place, number)");
	KPlace *p = place(s, t->kid[1]);
	Ent e = ts_s_expr(s, t->kid[2]);
	if (!p) return ts_s_unknown(t->at);
	if (e.kind != ENT_UNKNOWN && e.kind != ENT_INT && e.kind != ENT_FLOAT && e.kind != ENT_BOOL) return ts_s_fail(s, t->kid[2]->at, "E_CONST", "fill takes a number");
	return done(put(s, p, e, t->at), t);
}

/* A tile is whole before it is used, whatever the text says: a barrier is checked for its form alone. */
static Ent word_barrier(Sema *s, TsTree *t) { return t->n == 1 ? ENT(ENT_NONE, t->at) : ts_s_fail(s, t->at, "E_ARGUMENTS", "barrier()"); }

static Ent word_iota(Sema *s, TsTree *t)
{
	int64_t n;
	TsDtype type = TS_INT64;
	if (t->n < 2 || t->n > 3) return ts_s_fail(s, t->at, "E_ARGUMENTS", "iota(n) or iota(n, dtype = int32)");
	if (!ts_s_int(s, t->kid[1], &n)) return ts_s_unknown(t->at);
	if (n < 0) return ts_s_fail(s, t->kid[1]->at, "E_SIZE", "a size is at least 0, found %lld", (long long)n);
	if (t->n == 3) {
		TsTree *a = t->kid[2];
		Ent e = ts_s_expr(s, a->kind == TS_TREE_KW ? a->kid[0] : a);
		if (a->kind == TS_TREE_KW && strcmp(a->name, "dtype")) return ts_s_fail(s, a->at, "E_UNKNOWN_ARGUMENT", "iota takes no '%s'", a->name);
		if (e.kind != ENT_DTYPE || (e.i != TS_INT32 && e.i != TS_INT64)) return e.kind == ENT_UNKNOWN ? e : ts_s_fail(s, a->at, "E_ATTR", "positions are int32 or int64");
		type = (TsDtype)e.i;
	}
	return ENT(ENT_IOTA, t->at, .i = n, .set = (uint32_t)type);
}

static const struct { const char *name; Ent (*run)(Sema *, TsTree *); } words[] = {
	{ "load", word_load }, { "store", word_store }, { "load_async", word_load_async }, { "fill", word_fill }, { "barrier", word_barrier }, { "iota", word_iota },
	{ "alloc_shared", alloc }, { "alloc_register", alloc }, { "online_softmax", online_softmax }, { "update_accumulator", update_accumulator },
};

bool ts_k_word_known(TsSym name)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (!strcmp(words[i].name, name)) return true;
	return false;
}

bool ts_k_word(Sema *s, TsTree *t, Ent *r)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (strcmp(words[i].name, t->kid[0]->name)) continue;
		*r = words[i].run(s, t);
		return true;
	}
	return false;
}
