/* Values of the simulator: registers of a warp, idx and scalars, pointwise words by the operator table's reference functions, moves. */
#include "ir/interp_int.h"
#include "ir/philox.h"
#include "ir/tile_sim_int.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- registers ---- */
TileBuf *sim_tile(Sim *s, int64_t n)
{
	TileBuf *t = calloc(1, sizeof *t + (size_t)n * sizeof(Cell));
	if (!t) ts_bug(s->cx, s->kernel->at, "out of memory for %lld registers", (long long)n);
	t->refs = 1;
	t->n = n;
	t->next = s->tiles;
	t->link = &s->tiles;
	if (t->next) t->next->link = &t->next;
	s->tiles = t;
	return t;
}

Val sim_keep(Val v)
{
	if (v.tile) v.tile->refs++;
	return v;
}

void sim_drop(Val v)
{
	if (!v.tile || --v.tile->refs) return;
	*v.tile->link = v.tile->next;
	if (v.tile->next) v.tile->next->link = v.tile->link;
	free(v.tile);
}

void sim_free_tiles(Sim *s)
{
	while (s->tiles) sim_drop((Val){ .tile = (s->tiles->refs = 1, s->tiles) });
}

double sim_round(const Sim *s, TsDtype t, double x)
{
	if (s->a->exact || t == TS_F64) return x;
	return t == TS_F32 ? (float)x : ts_dtype_round(t, x);
}

int64_t sim_wrap(TsDtype t, int64_t x)
{
	return t == TS_INT32 ? (int32_t)(uint32_t)(uint64_t)x : x;
}

/* ---- places ---- */
int64_t sim_places(const TsLayout *l) { return ts_layout_axis_size(l, TS_AX_R) * ts_layout_axis_size(l, TS_AX_V) * ts_layout_axis_size(l, TS_AX_L); }

/* Coordinates of all places of all warps, made once for each layout: register, v, lane, then warp, instance, CTA. */
const int32_t *sim_coords(Sim *s, const Agent *a, const TsLayout *l)
{
	int64_t size[TS_AX_COUNT], per = sim_places(l), all = per;
	for (int x = 0; x < TS_AX_COUNT; x++) size[x] = ts_layout_axis_size(l, (TsAxis)x);
	all *= size[TS_AX_W] * size[TS_AX_G] * size[TS_AX_C];
	int32_t *t = ts_map_get(&s->tables, l);
	if (!t) {
		t = TS_NEW_N(s->arena, int32_t, (size_t)all * l->rank + 1);
		for (int64_t p = 0; p < all; p++) {
			int64_t place[TS_AX_COUNT], left = p, c[TS_LAY_RANK];
			for (int x = 0; x < TS_AX_COUNT; x++) place[x] = left % size[x], left /= size[x];
			ts_layout_at(l, place, c);
			for (int i = 0; i < l->rank; i++) t[p * l->rank + i] = (int32_t)c[i];
		}
		ts_map_set(s->arena, &s->tables, l, t);
	}
	int64_t w = size[TS_AX_W] > 1 ? a->warp : 0, g = size[TS_AX_G] > 1 ? a->instance : 0, c = size[TS_AX_C] > 1 ? a->cta : 0;
	return t + per * l->rank * (w + size[TS_AX_W] * (g + size[TS_AX_G] * c));
}

/* For each place of `to`: the place of `from` in the same lane whose coordinate i is that of axis dims[i] plus add[i]; -1 when none. */
static int64_t *pull(Sim *s, const Agent *a, const TsLayout *to, const TsLayout *from, const int *dims, const int64_t *add)
{
	int64_t n = sim_places(to), rt = ts_layout_axis_size(to, TS_AX_R), vt = ts_layout_axis_size(to, TS_AX_V);
	int64_t rf = ts_layout_axis_size(from, TS_AX_R), vf = ts_layout_axis_size(from, TS_AX_V), lf = ts_layout_axis_size(from, TS_AX_L);
	const int32_t *ct = sim_coords(s, a, to), *cf = sim_coords(s, a, from);
	int64_t *out = malloc((size_t)n * sizeof *out);
	if (!out) ts_bug(s->cx, s->kernel->at, "out of memory");
	for (int64_t p = 0; p < n; p++) {
		int64_t lane = p / rt, v = vf > 1 ? lane % vt : 0, l = lf > 1 ? lane / vt : 0, base = rf * (v + vf * l);
		out[p] = -1;
		for (int64_t r = 0; r < rf && out[p] < 0; r++) {
			bool same = true;
			for (int i = 0; i < from->rank && same; i++) same = cf[(base + r) * from->rank + i] == ct[p * to->rank + dims[i]] + add[i];
			if (same) out[p] = base + r;
		}
	}
	return out;
}

/* ---- idx and scalars ---- */
bool sim_idx(Sim *s, Agent *a, const TsTree *x, int64_t *out)
{
	Val v;
	if (!sim_eval(s, a, x, &v)) return false;
	*out = v.s.i;
	sim_drop(v);
	return true;
}

static int64_t floordiv(int64_t a, int64_t b)
{
	if (b == -1) return (int64_t)(0 - (uint64_t)a);
	return a / b - (a % b && (a < 0) != (b < 0));
}

static bool eval_bin(Sim *s, Agent *a, const TsTree *x, int64_t *out)
{
	int64_t p, q;
	if (!sim_idx(s, a, x->kid[0], &p) || !sim_idx(s, a, x->kid[1], &q)) return false;
	if ((x->sub == TS_IN_FLOORDIV || x->sub == TS_IN_MOD) && !q) return sim_fail(s, x, "E_SIM_BOUNDS", "division by 0");
	switch (x->sub) {
	case TS_IN_OR: *out = p | q; break;
	case TS_IN_AND: *out = p & q; break;
	case TS_IN_EQ: *out = p == q; break;
	case TS_IN_NE: *out = p != q; break;
	case TS_IN_LT: *out = p < q; break;
	case TS_IN_LE: *out = p <= q; break;
	case TS_IN_GT: *out = p > q; break;
	case TS_IN_GE: *out = p >= q; break;
	case TS_IN_ADD: *out = (int64_t)((uint64_t)p + (uint64_t)q); break;
	case TS_IN_SUB: *out = (int64_t)((uint64_t)p - (uint64_t)q); break;
	case TS_IN_MUL: *out = (int64_t)((uint64_t)p * (uint64_t)q); break;
	case TS_IN_FLOORDIV: *out = floordiv(p, q); break;
	default: *out = q == -1 ? 0 : p - floordiv(p, q) * q; break;
	}
	return true;
}

static bool literal(const TsTree *x, Cell *out)
{
	TsDtype elem = ts_tinfo(x)->type.elem;
	switch (x->kind) {
	case TS_TREE_FLOAT: out->f = elem < TS_DTYPE_COUNT ? ts_dtype_round(elem, x->f) : x->f; return true;
	case TS_TREE_INF: out->f = INFINITY; return true;
	case TS_TREE_NAN: out->f = NAN; return true;
	case TS_TREE_TRUE: out->i = 1; return true;
	case TS_TREE_FALSE: out->i = 0; return true;
	case TS_TREE_BITS: {
		uint64_t bits = (uint64_t)x->i;
		if (ts_dtype_is_float((TsDtype)x->sub)) out->f = ts_elem_get((TsDtype)x->sub, &bits, 0);
		else out->i = ts_elem_get_int((TsDtype)x->sub, &bits, 0);
		return true;
	}
	default: return false;
	}
}

bool sim_eval(Sim *s, Agent *a, const TsTree *x, Val *out)
{
	*out = (Val){ 0 };
	switch (x->kind) {
	case TS_TREE_INT: out->s.i = x->i; return true;
	case TS_TREE_NAME: {
		const TsTree *decl = ts_tinfo(x)->decl;
		if (decl->kind == TS_TREE_PARAM && ts_tinfo(decl)->type.form == TS_TT_IDX) out->s.i = s->a->numbers[ts_tinfo(decl)->value];
		else *out = sim_keep(a->vals[ts_tinfo(decl)->id]);
		return true;
	}
	case TS_TREE_BIN: return eval_bin(s, a, x, &out->s.i);
	case TS_TREE_NOT:
		if (!sim_idx(s, a, x->kid[0], &out->s.i)) return false;
		out->s.i = !out->s.i;
		return true;
	case TS_TREE_NEG:
		if (!sim_eval(s, a, x->kid[0], out)) return false;
		if (ts_tinfo(x)->type.form == TS_TT_IDX) out->s.i = (int64_t)(0 - (uint64_t)out->s.i);
		else out->s.f = -out->s.f;
		return true;
	case TS_TREE_FIELD: return sim_eval(s, a, x->kid[0], out); /* x.T of a tile: the same registers */
	case TS_TREE_CALL: {
		uint32_t n = 0;
		int ok = sim_word(s, a, x, NULL, out, &n);
		if (ok == SIM_BLOCKED) return sim_fail(s, x, "E_SIM_WORD", "'%s' may wait: make it a statement of its own", x->kid[0]->name);
		return ok;
	}
	default:
		return literal(x, &out->s) || sim_fail(s, x, "E_SIM_WORD", "%s is no value", ts_tree_kind_name(x->kind));
	}
}

/* ---- pointwise ---- */
static bool (*const refs[TS_OP_COUNT])(TsRef *) = { NULL,
#define OP(name, ins, attrs, flags, cls, types, shape, ref, adjoint, bound, doc) ref_##ref,
#include "ir/ops.def"
};

static uint32_t positional(const TsTree *call)
{
	uint32_t n = 0;
	while (n + 1 < call->n && call->kid[1 + n]->kind != TS_TREE_KW && call->kid[1 + n]->kind != TS_TREE_DTYPE) n++;
	return n;
}

/* An operand as numbers: a tile, or one element of the type the others have. */
static void operand(const TsTree *x, const Val *v, TsDtype elem, int64_t *i, double *f, TsNum *out)
{
	const TsTType *t = &ts_tinfo(x)->type;
	*out = (TsNum){ .elem = t->form == TS_TT_IDX || t->elem >= TS_DTYPE_COUNT ? elem : t->elem, .n = 1 };
	bool fl = ts_dtype_is_float(out->elem);
	if (t->form == TS_TT_TILE) {
		out->rank = 1;
		out->dim[0] = out->n = v->tile->n;
		if (fl) out->f = &v->tile->c[0].f;
		else out->i = &v->tile->c[0].i;
		return;
	}
	*f = t->form == TS_TT_IDX ? (double)v->s.i : v->s.f;
	*i = sim_wrap(out->elem, v->s.i);
	if (fl) out->f = f;
	else out->i = i;
}

static void set_attrs(TsModule *m, TsNode *node, const TsTree *call, TsDtype to)
{
	const TsOpInfo *info = ts_op_info(m->cx, node->op);
	node->attr = ts_attrs_new(m, node->op);
	for (int k = 0; k < info->nattr; k++)
		if (info->attr[k].kind == TS_A_DTYPE) node->attr[k].t = to;
	for (uint32_t i = 1; i < call->n; i++) {
		const TsTree *kw = call->kid[i];
		int k = kw->kind == TS_TREE_KW ? ts_op_attr_index(info, kw->name) : -1;
		if (k < 0) continue;
		const TsTree *x = kw->kid[0];
		TsAttr *at = &node->attr[k];
		at->none = false;
		if (x->kind == TS_TREE_STR) at->s = x->name;
		else if (x->kind == TS_TREE_FLOAT) at->f = x->f;
		else if (x->kind == TS_TREE_INT) at->i = x->i, at->f = (double)x->i;
		else if (x->kind == TS_TREE_TRUE || x->kind == TS_TREE_FALSE) at->i = x->kind == TS_TREE_TRUE;
	}
}

/* to 11 significant bits, ties away from zero; subnormals to theirs */
static double round_tf32(double x)
{
	if (!isfinite(x) || x == 0) return x;
	int e = ilogb(x);
	double unit = ldexp(1, (e < -126 ? -126 : e) - 10);
	return round(x / unit) * unit;
}

static void own_word(int32_t op, TsNum in[], const int64_t stride[], TsNum *out)
{
	for (int64_t o = 0; o < out->n; o++) {
		double x = in[0].f[o * stride[0]];
		out->f[o] = op == TS_TILE_exp2 ? exp2(x) : op == TS_TILE_tf32 ? round_tf32(x) : fma(x, in[1].f[o * stride[1]], in[2].f[o * stride[2]]);
	}
}

bool sim_pointwise(Sim *s, Agent *a, const TsTree *call, Val *out)
{
	const TsTInfo *info = ts_tinfo(call);
	const TsTType *to = &info->type;
	uint32_t nin = positional(call);
	Val v[TS_MAX_OP_INS];
	double f[TS_MAX_OP_INS], rf;
	int64_t i[TS_MAX_OP_INS], ri, stride[TS_MAX_OP_INS];
	TsNum num[TS_MAX_OP_INS], *in[TS_MAX_OP_INS], res = { .elem = to->form == TS_TT_IDX ? TS_INT64 : to->elem, .n = 1 };
	bool where = nin == 3 && ts_tinfo(call->kid[1])->type.elem == TS_BOOL && ts_tinfo(call->kid[1])->type.form != TS_TT_IDX, compute = to->form != TS_TT_TILE || !s->a->protocol;
	TsDtype elem = TS_DTYPE_NONE;
	for (uint32_t k = where; k < nin && elem >= TS_DTYPE_COUNT; k++)
		if (ts_tinfo(call->kid[1 + k])->type.form != TS_TT_IDX) elem = ts_tinfo(call->kid[1 + k])->type.elem;
	if (elem >= TS_DTYPE_COUNT) elem = info->op == TS_TILE_POINTWISE + TS_OP_cast ? TS_INT64 : res.elem;
	*out = (Val){ 0 };
	for (uint32_t k = 0; k < nin; k++)
		if (!sim_eval(s, a, call->kid[1 + k], &v[k])) return false;
	for (uint32_t k = 0; k < nin && compute; k++) {
		operand(call->kid[1 + k], &v[k], elem, &i[k], &f[k], &num[k]);
		in[k] = &num[k];
		stride[k] = num[k].rank;
	}
	if (compute) {
		bool fl = ts_dtype_is_float(res.elem);
		if (to->form == TS_TT_TILE) {
			out->tile = sim_tile(s, sim_places(to->layout));
			res.rank = 1;
			res.dim[0] = res.n = out->tile->n;
		}
		if (fl) res.f = out->tile ? &out->tile->c[0].f : &rf;
		else res.i = out->tile ? &out->tile->c[0].i : &ri;
		if (info->op < TS_TILE_POINTWISE) own_word(info->op, num, stride, &res);
		else {
			TsModule m = { .cx = s->cx, .arena = s->cell_arena };
			TsNode node = { .op = (TsOp)(info->op - TS_TILE_POINTWISE), .nin = nin };
			set_attrs(&m, &node, call, res.elem);
			TsRef r = { .m = &m, .n = &node, .in = in, .out = &res, .exact = s->a->exact, .acc = res.elem };
			if (!refs[node.op](&r)) return false;
		}
		for (int64_t k = 0; k < res.n; k++) {
			if (fl) res.f[k] = sim_round(s, res.elem, res.f[k]);
			else res.i[k] = sim_wrap(res.elem, res.i[k]);
		}
		if (!out->tile && fl) out->s.f = rf;
		else if (!out->tile) out->s.i = ri;
	}
	for (uint32_t k = 0; k < nin; k++) sim_drop(v[k]);
	return true;
}

/* ---- moves ---- */
static const TsTree *argument(const TsTree *call, const char *name, uint32_t position)
{
	const TsTree *x = sim_keyword(call, name);
	return x || 1 + position >= call->n || call->kid[1 + position]->kind == TS_TREE_KW ? x : call->kid[1 + position];
}

static bool word_fill(Sim *s, Agent *a, const TsTree *call, const TsTType *to, Val *out)
{
	Val v;
	if (!sim_eval(s, a, call->kid[1], &v)) return false;
	const TsTType *t = &ts_tinfo(call->kid[1])->type;
	if (t->form == TS_TT_IDX && ts_dtype_is_float(to->elem)) v.s.f = sim_round(s, to->elem, (double)v.s.i);
	else if (t->form == TS_TT_IDX) v.s.i = sim_wrap(to->elem, v.s.i);
	out->s = v.s;
	if (to->form != TS_TT_TILE || s->a->protocol) return true;
	out->tile = sim_tile(s, sim_places(to->layout));
	for (int64_t p = 0; p < out->tile->n; p++) out->tile->c[p] = v.s;
	return true;
}

static bool word_iota(Sim *s, Agent *a, const TsTree *call, const TsTType *to, Val *out)
{
	int64_t axis, step = 1;
	const TsTree *x = sim_keyword(call, "step");
	if (!sim_idx(s, a, argument(call, "axis", 0), &axis) || (x && !sim_idx(s, a, x, &step))) return false;
	const int32_t *c = sim_coords(s, a, to->layout);
	out->tile = sim_tile(s, sim_places(to->layout));
	for (int64_t p = 0; p < out->tile->n; p++) out->tile->c[p].i = c[p * to->rank + axis] / step * step;
	return true;
}

/* Every place of the result from one place of x in the same lane. */
static bool moved(Sim *s, Agent *a, const TsTree *x, const TsTType *to, const int *dims, const int64_t *add, Val *out)
{
	Val v;
	if (!sim_eval(s, a, x, &v)) return false;
	int64_t *from = pull(s, a, to->layout, ts_tinfo(x)->type.layout, dims, add);
	if (!out->tile) out->tile = sim_tile(s, sim_places(to->layout));
	for (int64_t p = 0; p < out->tile->n; p++)
		if (from[p] >= 0) out->tile->c[p] = v.tile->c[from[p]];
	free(from);
	sim_drop(v);
	return true;
}

static bool word_bcast(Sim *s, Agent *a, const TsTree *call, const TsTType *to, Val *out)
{
	const TsTree *list = sim_keyword(call, "dims");
	int dims[SIM_RANK] = { 0 };
	int64_t add[SIM_RANK] = { 0 }, d;
	for (uint32_t i = 0; i < list->n; i++) {
		if (!sim_idx(s, a, list->kid[i], &d)) return false;
		dims[i] = (int)d;
	}
	return moved(s, a, call->kid[1], to, dims, add, out);
}

static bool word_slice(Sim *s, Agent *a, const TsTree *call, const TsTType *to, Val *out)
{
	int dims[SIM_RANK] = { 0, 1, 2, 3 };
	int64_t add[SIM_RANK] = { 0 }, axis;
	return sim_idx(s, a, argument(call, "axis", 1), &axis) && sim_idx(s, a, argument(call, "at", 2), &add[axis]) && moved(s, a, call->kid[1], to, dims, add, out);
}

static bool word_concat(Sim *s, Agent *a, const TsTree *call, const TsTType *to, Val *out)
{
	int dims[SIM_RANK] = { 0, 1, 2, 3 };
	int64_t add[SIM_RANK] = { 0 }, axis;
	const TsTree *list = call->kid[1];
	if (!sim_idx(s, a, argument(call, "axis", 1), &axis)) return false;
	for (uint32_t i = 0; i < list->n; i++) {
		if (!moved(s, a, list->kid[i], to, dims, add, out)) return false;
		add[axis] -= ts_tinfo(list->kid[i])->type.extent[axis];
	}
	return true;
}

/* Within a warp: any lane that holds the element gives it. */
static bool word_convert(Sim *s, Agent *a, const TsTree *call, const TsTType *to, Val *out)
{
	Val v;
	const TsTType *from = &ts_tinfo(call->kid[1])->type;
	if (!sim_eval(s, a, call->kid[1], &v)) return false;
	int64_t size = 1, n = sim_places(from->layout);
	for (int i = 0; i < to->rank; i++) size *= to->extent[i];
	int64_t *at = malloc((size_t)size * sizeof *at);
	if (!at) ts_bug(s->cx, call->at, "out of memory");
	memset(at, 0xff, (size_t)size * sizeof *at);
	const int32_t *cf = sim_coords(s, a, from->layout), *ct = sim_coords(s, a, to->layout);
	for (int64_t p = 0; p < n; p++) {
		int64_t k = 0;
		for (int i = 0; i < to->rank; i++) k = k * to->extent[i] + cf[p * to->rank + i];
		at[k] = p;
	}
	out->tile = sim_tile(s, sim_places(to->layout));
	bool ok = true;
	for (int64_t p = 0; p < out->tile->n && ok; p++) {
		int64_t k = 0;
		for (int i = 0; i < to->rank; i++) k = k * to->extent[i] + ct[p * to->rank + i];
		ok = at[k] >= 0 || sim_fail(s, call, "E_SIM_WORD", "convert would move elements between warps");
		if (ok) out->tile->c[p] = v.tile->c[at[k]];
	}
	free(at);
	sim_drop(v);
	return ok;
}

static bool word_philox(Sim *s, Agent *a, const TsTree *call, const TsTType *to, Val out[4])
{
	Val v[6];
	for (int k = 0; k < 6; k++)
		if (!sim_eval(s, a, call->kid[1 + k], &v[k])) return false;
	if (!s->a->protocol) {
		int64_t n = sim_places(to->layout);
		for (int k = 0; k < 4; k++) out[k].tile = sim_tile(s, n);
		for (int64_t p = 0; p < n; p++) {
			uint32_t w[6], r[4];
			for (int k = 0; k < 6; k++) w[k] = (uint32_t)(uint64_t)(v[k].tile ? v[k].tile->c[p].i : v[k].s.i);
			ts_philox(w + 2, w, r);
			for (int k = 0; k < 4; k++) out[k].tile->c[p].i = (int32_t)r[k];
		}
	}
	for (int k = 0; k < 6; k++) sim_drop(v[k]);
	return true;
}

static bool word_idx(Sim *s, Agent *a, const TsTree *call, Val *out, uint32_t *nout)
{
	int64_t v[8] = { 0 };
	uint32_t n = positional(call);
	for (uint32_t i = 0; i < n && i < 8; i++)
		if (!sim_idx(s, a, call->kid[1 + i], &v[i])) return false;
	switch (ts_tinfo(call)->op) {
	case TS_TILE_min: for (uint32_t i = 1; i < n; i++) if (v[i] < v[0]) v[0] = v[i]; break;
	case TS_TILE_max: for (uint32_t i = 1; i < n; i++) if (v[i] > v[0]) v[0] = v[i]; break;
	case TS_TILE_xor: v[0] ^= v[1]; break;
	case TS_TILE_select: v[0] = v[0] ? v[1] : v[2]; break;
	case TS_TILE_cdiv:
		if (v[1] <= 0 || v[0] == INT64_MIN) return sim_fail(s, call, "E_SIM_BOUNDS", "cdiv by %lld", (long long)v[1]);
		v[0] = -floordiv(-v[0], v[1]);
		break;
	default: { /* raster: bands of `band` rows, each walked down its columns */
		int64_t t = v[0], ni = v[1], nj = v[2], band = v[3];
		if (ni < 1 || nj < 1 || band < 1 || t < 0 || band > INT32_MAX || nj > INT32_MAX) return sim_fail(s, call, "E_SIM_BOUNDS", "raster of an empty grid");
		int64_t first = t / (band * nj) * band, rows = ni - first < band ? ni - first : band, in = t % (band * nj);
		if (rows < 1) return sim_fail(s, call, "E_SIM_BOUNDS", "raster point %lld of %lld x %lld", (long long)t, (long long)ni, (long long)nj);
		out[0].s.i = first + in % rows;
		out[1].s.i = in / rows;
		*nout = 2;
		return true;
	}
	}
	out[0].s.i = v[0];
	return true;
}

/* The words that only make values. 3: not among them. */
static int value_word(Sim *s, Agent *a, const TsTree *call, const TsTType *to, Val *out, uint32_t *nout)
{
	int32_t op = ts_tinfo(call)->op;
	bool tile = to && to->form == TS_TT_TILE;
	if (op >= TS_TILE_POINTWISE || op == TS_TILE_fma || op == TS_TILE_exp2 || op == TS_TILE_tf32) return sim_pointwise(s, a, call, out);
	switch (op) {
	case TS_TILE_min: case TS_TILE_max: case TS_TILE_xor: case TS_TILE_cdiv: case TS_TILE_select: case TS_TILE_raster: return word_idx(s, a, call, out, nout);
	case TS_TILE_instance: return out->s.i = a->instance, true;
	case TS_TILE_rank: return out->s.i = a->cta, true;
	case TS_TILE_fill: return word_fill(s, a, call, to, out);
	case TS_TILE_philox: return *nout = 4, word_philox(s, a, call, to, out);
	case TS_TILE_iota: case TS_TILE_bcast: case TS_TILE_slice: case TS_TILE_concat: case TS_TILE_convert:
		if (s->a->protocol && tile) return true;
		return op == TS_TILE_iota ? word_iota(s, a, call, to, out) : op == TS_TILE_bcast ? word_bcast(s, a, call, to, out) : op == TS_TILE_slice ? word_slice(s, a, call, to, out)
			: op == TS_TILE_concat ? word_concat(s, a, call, to, out) : word_convert(s, a, call, to, out);
	case TS_TILE_reduce:
		if (sim_keyword(call, "via")) return sim_exchange(s, a, call, to, out);
		return sim_reduce(s, a, call, to, out);
	case TS_TILE_argreduce: return *nout = 2, sim_argreduce(s, a, call, out);
	default: return 3;
	}
}

/* ---- words of memory and time ---- */
static int slot_word(Sim *s, Agent *a, const TsTree *call)
{
	const TsTree *slot = call->kid[1], *ring = ts_tinfo(slot)->type.decl;
	int32_t op = ts_tinfo(call)->op;
	int64_t p, stages = ts_tinfo(ring)->value, bytes;
	if (!sim_idx(s, a, slot->kid[1], &p)) return false;
	int64_t at = (int64_t)a->cta * s->nids + ts_tinfo(ring)->id, round = p / stages;
	Barrier *full = &s->full[at][p % stages], *empty = &s->empty[at][p % stages];
	switch (op) {
	case TS_TILE_acquire:
		if (!sim_ready(empty, (round & 1) ^ 1)) return SIM_BLOCKED;
		sim_pass(s, a, empty);
		return true;
	case TS_TILE_wait:
		if (!sim_ready(full, round & 1)) return SIM_BLOCKED;
		sim_pass(s, a, full);
		if (full->waited <= round) full->waited = round + 1;
		return true;
	case TS_TILE_release:
		if (!ts_tile_attr(ring->kid[2], "cluster")) return sim_arrive(s, call, empty, a, 0);
		for (int cta = 0; cta < s->ctas; cta++)
			if (!sim_cta_lives(s, call, cta) || !sim_arrive(s, call, &s->empty[(int64_t)cta * s->nids + ts_tinfo(ring)->id][p % stages], a, 0)) return false;
		return true;
	default: return sim_idx(s, a, call->kid[2], &bytes) && sim_arrive(s, call, full, a, bytes);
	}
}

/* A share of the box for every CTA, this one's rows of it. */
static bool copy_shares(Sim *s, Agent *a, const TsTree *call, View to, View from, int64_t slot)
{
	const TsTree *ring = ts_tinfo(call->kid[1]->kid[0])->type.decl;
	int64_t rows = to.extent[0] / s->ctas, bytes = to.mem->elem_bytes * rows;
	View *side[2] = { &to, &from };
	for (int i = 1; i < to.rank; i++) bytes *= to.extent[i];
	for (int k = 0; k < 2; k++) {
		side[k]->extent[0] = rows;
		for (int i = 0; i < side[k]->mem->rank; i++)
			if (side[k]->d[i].axis == 0) side[k]->d[i].start += a->cta * rows * side[k]->d[i].step;
	}
	for (int cta = 0; cta < s->ctas; cta++) {
		if (!sim_cta_lives(s, call, cta)) return false;
		Engine *e = sim_engine(s, a, ENGINE_COPY, call);
		e->to = to;
		e->to.mem = s->shared[(int64_t)cta * s->nids + ts_tinfo(to.mem->decl)->id];
		e->from = from;
		e->full = &s->full[(int64_t)cta * s->nids + ts_tinfo(ring)->id][slot];
		e->bytes = bytes;
	}
	return true;
}

static bool copy_word(Sim *s, Agent *a, const TsTree *call, EngineKind kind)
{
	View to, from;
	if (!sim_view(s, a, call->kid[1], &to) || !sim_view(s, a, call->kid[2], &from)) return false;
	const TsTree *filled = call->kid[1]->kind == TS_TREE_INDEX ? call->kid[1]->kid[0] : call->kid[1]; /* a buffer of the slot, or a part of it */
	const TsTree *slot = kind == ENGINE_COPY ? filled->kid[0] : NULL, *ring = slot ? ts_tinfo(slot)->type.decl : NULL;
	int64_t p = 0;
	if (slot && !sim_idx(s, a, slot->kid[1], &p)) return false;
	for (int i = 0; kind == ENGINE_STORE && i < to.mem->rank; i++) /* a GPU ends with an illegal instruction */
		if (to.d[i].start < 0) return sim_fail(s, call, "E_SIM_BOUNDS", "a TMA store begins at index %lld of axis %d", (long long)to.d[i].start, i);
	if (slot && sim_keyword(call, "shares")) return copy_shares(s, a, call, to, from, p % ts_tinfo(ring)->value);
	Engine *e = sim_engine(s, a, kind, call);
	e->to = to;
	e->from = from;
	if (kind == ENGINE_COPY) {
		e->full = &s->full[(int64_t)a->cta * s->nids + ts_tinfo(ring)->id][p % ts_tinfo(ring)->value];
		e->bytes = to.mem->elem_bytes;
		for (int i = 0; i < to.rank; i++) e->bytes *= to.extent[i];
	} else if (kind == ENGINE_CP) {
		const TsTree *valid = sim_keyword(call, "valid");
		e->by_layout = ts_tinfo(sim_keyword(call, "by"))->type.layout;
		for (int i = 0; i < SIM_RANK; i++) e->valid[i] = INT64_MAX;
		for (uint32_t i = 0; valid && valid->kind == TS_TREE_LIST && i < valid->n; i++)
			if (!sim_idx(s, a, valid->kid[i], &e->valid[i])) return false;
		if (valid && valid->kind != TS_TREE_LIST && !sim_idx(s, a, valid, &e->valid[0])) return false;
	}
	return true;
}

static int wait_groups(Sim *s, Agent *a, const TsTree *call, EngineKind kind, Val *out, uint32_t *nout)
{
	bool left, read = sim_keyword(call, "read") && sim_keyword(call, "read")->kind == TS_TREE_TRUE;
	if (!sim_engines_left(s, a, kind, ts_tinfo(call->kid[1])->value, read, &left)) return false;
	if (left) return SIM_BLOCKED;
	for (uint32_t i = 2; i < call->n && call->kid[i]->kind != TS_TREE_KW; i++) {
		Val v;
		if (!sim_eval(s, a, call->kid[i], &v)) return false;
		Val *to = &out[i - 2];
		if (v.flight && v.flight->engine->group >= a->mma_groups - ts_tinfo(call->kid[1])->value) return sim_fail(s, call->kid[i], "E_SIM_RACE", "the sum is still in flight: too few groups are waited for");
		*to = v.flight ? sim_keep((Val){ .tile = v.flight->out }) : v;
		*nout = i - 1;
	}
	return true;
}

int sim_word(Sim *s, Agent *a, const TsTree *call, const TsTree *binds, Val *out, uint32_t *nout)
{
	int32_t op = ts_tinfo(call)->op;
	const TsTree *bind = binds ? binds->kid[0] : NULL;
	const TsTType *to = bind ? &ts_tinfo(bind)->type : &ts_tinfo(call)->type;
	memset(out, 0, sizeof *out * (binds ? binds->n : 1));
	*nout = 1;
	int ok = value_word(s, a, call, to, out, nout);
	if (ok != 3) return ok;
	switch (op) {
	case TS_TILE_load: case TS_TILE_get: return sim_load(s, a, call, to, out);
	case TS_TILE_mma: return sim_mma(s, a, call, bind, out);
	case TS_TILE_producer: case TS_TILE_consumer: return true;
	case TS_TILE_next:
		if (!sim_idx(s, a, call->kid[1], &out->s.i)) return false;
		out->s.i++;
		return true;
	case TS_TILE_wait_mma: return *nout = 0, wait_groups(s, a, call, ENGINE_MMA, out, nout);
	default: *nout = 0;
	}
	switch (op) {
	case TS_TILE_store: case TS_TILE_put: return sim_store(s, a, call);
	case TS_TILE_pack: return sim_pack(s, a, call);
	case TS_TILE_prefetch: case TS_TILE_fence_mma: return true;
	case TS_TILE_acquire: case TS_TILE_wait: case TS_TILE_release: case TS_TILE_expect_bytes: return slot_word(s, a, call);
	case TS_TILE_copy: return copy_word(s, a, call, ENGINE_COPY);
	case TS_TILE_store_tma: return copy_word(s, a, call, ENGINE_STORE);
	case TS_TILE_copy_async: return copy_word(s, a, call, ENGINE_CP);
	case TS_TILE_commit_mma: return a->mma_groups++, true;
	case TS_TILE_commit_store: return a->store_groups++, true;
	case TS_TILE_commit_copy: return a->copy_groups++, true;
	case TS_TILE_wait_store: return wait_groups(s, a, call, ENGINE_STORE, out, nout);
	case TS_TILE_wait_copy: return wait_groups(s, a, call, ENGINE_CP, out, nout);
	case TS_TILE_fence_async:
		sim_join(s, &a->fv, &a->vc);
		sim_tick(s, a);
		return true;
	case TS_TILE_sync:
		if (!strcmp(call->kid[1]->name, "warp")) return true; /* a warp is one agent */
		return sim_meet(s, a, sim_meeting(s, a, call->kid[1]->name));
	default: return sim_fail(s, call, "E_SIM_WORD", "the simulator does not know '%s'", call->kid[0]->name);
	}
}
