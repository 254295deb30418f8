/* Memory. An access composes the tile's layout with the buffer's strides: per register it is one vector, one element for all lanes, or
 * an element per lane. `valid` gives two ways: everything inside, which costs one uniform branch, and the ragged rest, which uses the
 * target's masks, or single elements with the outside ones turned to a dummy, or copy.c. No way touches memory outside `valid`. */
#include "backend/llvm/lower.h"
#include <string.h>

typedef enum { ONE /* one element for all lanes */, ROW /* consecutive elements */, EACH } LaneForm;

typedef struct {
	Lower *w;
	const View *view;
	const Places *at;
	LaneForm form;
	Val origin;                /* address of element 0; packed: NULL, addresses are counted in elements */
	Val *lane_offset;          /* EACH: elements, without gathers */
	Val (*index)[TS_LAY_RANK]; /* per register: the gathers' integers, one per lane or one for all */
	bool limited;
	Val left[TS_LAY_RANK];     /* elements along the axis, in 0..extent; NULL: all */
	Val pad;
} Access;

bool lw_packed(TsDtype t) { return ts_dtype_bits(t) < 8; }

LLVMTypeRef lw_memory_type(Lower *w, TsDtype t, int lanes)
{
	return lw_type(w, t == TS_BOOL ? TS_UINT8 : t, lanes);
}

static unsigned align_of(TsDtype t) { return lw_packed(t) ? 1 : (unsigned)ts_dtype_bits(t) / 8; }

static Val as_register(Lower *w, TsDtype t, Val x)
{
	return t == TS_BOOL ? LLVMBuildICmp(w->b, LLVMIntNE, x, lw_const_int(w, TS_UINT8, 0, lw_lanes_of(x)), "") : x;
}

static Val as_memory(Lower *w, TsDtype t, Val x)
{
	return t == TS_BOOL ? LLVMBuildZExt(w->b, x, lw_type(w, TS_UINT8, lw_lanes_of(x)), "") : x;
}

/* ---- views ---- */
static Mem resolve(Lower *w, const TsTree *x)
{
	if (x->kind == TS_TREE_NAME) return *lw_mem(w, x);
	if (x->kind != TS_TREE_FIELD || strcmp(x->name, "T")) lw_fail(w, x, "no such memory on target %s", w->target->name);
	Mem m = resolve(w, x->kid[0]), t = m;
	for (int i = 0; i < 2; i++) {
		t.stride[i] = m.stride[1 - i];
		t.size[i] = m.size[1 - i];
	}
	return t;
}

static void view_axis(Lower *w, View *v, const TsTree *at, Val stride)
{
	const TsTInfo *info = ts_tinfo(at);
	if (at->kind == TS_TREE_RANGE) {
		Val step = at->kid[2] ? lw_idx(w, at->kid[2]) : lw_i64(w, 1);
		if (at->kid[0]) v->base = lw_add(w, v->base, lw_mul(w, lw_idx(w, at->kid[0]), stride));
		v->step[v->rank++] = lw_mul(w, step, stride);
	} else if (info->type.form == TS_TT_TILE) {
		v->gather[v->gathers++] = (Indexed){ lw_expr(w, at), v->rank, stride };
		v->rank += info->type.rank;
	} else {
		v->base = lw_add(w, v->base, lw_mul(w, lw_idx(w, at), stride));
	}
}

View lw_view(Lower *w, const TsTree *x)
{
	const TsTree *of = x->kind == TS_TREE_INDEX ? x->kid[0] : x;
	if (x->kind == TS_TREE_FIELD && x->kid[0]->kind == TS_TREE_INDEX) {
		View v = lw_view(w, x->kid[0]);
		if (v.gathers || strcmp(x->name, "T")) lw_fail(w, x, "no such memory on target %s", w->target->name);
		Val first = v.step[0];
		v.step[0] = v.step[1];
		v.step[1] = first;
		return v;
	}
	Mem m = resolve(w, of);
	View v = { .elem = m.elem, .memory = m.base, .base = lw_i64(w, 0) };
	if (x == of) {
		v.rank = m.rank;
		memcpy(v.step, m.stride, sizeof v.step);
	} else {
		for (int i = 0; i < m.rank; i++) view_axis(w, &v, x->kid[1 + i], m.stride[i]);
	}
	return v;
}

/* the box of the tile in a compact buffer */
static View buffer_view(Lower *w, TsDtype t, Val memory, const int64_t *extent, int rank)
{
	View v = { .elem = lw_packed(t) ? TS_UINT8 : t, .rank = rank, .memory = memory, .base = lw_i64(w, 0) };
	int64_t weight = 1;
	for (int a = rank; a-- > 0; weight *= extent[a]) v.step[a] = lw_i64(w, weight);
	return v;
}

/* ---- accesses ---- */
static LaneForm lane_form(const Access *a)
{
	const Places *p = a->at;
	bool same = true, row = true;
	for (int v = 0; v < p->lanes; v++) {
		int64_t offset = 0, step;
		for (int d = 0; d < p->rank; d++) {
			if (!p->lane[v][d]) continue;
			same = false;
			if (!a->view->step[d] || !lw_is_const(a->view->step[d], &step)) row = false;
			else offset += step * p->lane[v][d];
		}
		row &= offset == v;
	}
	return same ? ONE : row ? ROW : EACH;
}

static void lane_offsets(Access *a)
{
	Lower *w = a->w;
	a->lane_offset = TS_NEW_N(w->arena, Val, (size_t)a->at->lanes);
	for (int v = 0; v < a->at->lanes; v++) {
		Val o = lw_i64(w, 0);
		for (int d = 0; d < a->at->rank; d++)
			if (a->view->step[d]) o = lw_add(w, o, lw_mul(w, a->view->step[d], lw_i64(w, a->at->lane[v][d])));
		a->lane_offset[v] = o;
	}
}

/* lays each gather's integers out as the tile lies */
static void lay_indices(Access *a, const TsTree *where)
{
	Lower *w = a->w;
	a->index = ts_alloc_array(w->arena, (size_t)a->at->regs, sizeof *a->index);
	for (int g = 0; g < a->view->gathers; g++) {
		const Indexed *x = &a->view->gather[g];
		int axis_of[TS_LAY_RANK] = { 0 };
		int64_t origin[TS_LAY_RANK] = { 0 };
		Frag as = { .elem = x->index.elem, .n = a->at->regs, .lanes = a->at->lanes, .at = a->at, .v = TS_NEW_N(w->arena, Val, (size_t)a->at->regs) };
		for (int d = 0; d < x->index.at->rank; d++) axis_of[d] = x->axis + d;
		lw_gather(w, where, &x->index, axis_of, origin, &as);
		for (int r = 0; r < as.n; r++) a->index[r][g] = as.v[r];
	}
}

static Access access_of(Lower *w, const TsTree *where, const View *v, const Places *at)
{
	Access a = { .w = w, .view = v, .at = at };
	a.form = lane_form(&a);
	if (v->gathers) lay_indices(&a, where);
	if (a.form == EACH) lane_offsets(&a);
	if (!lw_packed(v->elem)) a.origin = LLVMBuildGEP2(w->b, lw_memory_type(w, v->elem, 1), v->memory, (Val[]){ v->base }, 1, "");
	return a;
}

/* the same access lane by lane */
static Access by_lanes(const Access *a)
{
	Access each = *a;
	if (a->form != ROW) return each;
	each.form = EACH;
	lane_offsets(&each);
	return each;
}

/* offset of register r (and of lane v, for EACH) from the view's base: what is not constant, and *fixed */
static Val offset_of(const Access *a, int r, int v, int64_t *fixed)
{
	Lower *w = a->w;
	Val moving = lw_i64(w, 0);
	int64_t step, c;
	*fixed = 0;
	for (int d = 0; d < a->at->rank; d++) {
		if (!a->view->step[d]) continue;
		if (lw_is_const(a->view->step[d], &step)) *fixed += step * a->at->reg[r][d];
		else moving = lw_add(w, moving, lw_mul(w, a->view->step[d], lw_i64(w, a->at->reg[r][d])));
	}
	for (int g = 0; g < a->view->gathers; g++) {
		Val i = lw_extract(w, a->index[r][g], a->form == EACH ? v : 0);
		if (LLVMTypeOf(i) != w->i64) i = LLVMBuildSExt(w->b, i, w->i64, "");
		moving = lw_add(w, moving, lw_mul(w, i, a->view->gather[g].stride));
	}
	if (a->form != EACH) return moving;
	if (!lw_is_const(a->lane_offset[v], &c)) return lw_add(w, moving, a->lane_offset[v]);
	*fixed += c;
	return moving;
}

static Val element_offset(const Access *a, int r, int v)
{
	int64_t fixed;
	Val moving = offset_of(a, r, v, &fixed);
	return lw_add(a->w, lw_add(a->w, a->view->base, moving), lw_i64(a->w, fixed));
}

static Val address(const Access *a, int r, int v)
{
	Lower *w = a->w;
	LLVMTypeRef type = lw_memory_type(w, a->view->elem, 1);
	int64_t fixed, c;
	Val moving = offset_of(a, r, v, &fixed), p = a->origin, by;
	if (!lw_is_const(moving, &c) || c) p = LLVMBuildGEP2(w->b, type, p, &moving, 1, "");
	by = lw_i64(w, fixed);
	return fixed ? LLVMBuildGEP2(w->b, type, p, &by, 1, "") : p;
}

Val lw_load_at(Lower *w, TsDtype t, Val p, int lanes)
{
	Val x = LLVMBuildLoad2(w->b, lw_memory_type(w, t, lanes), p, "");
	LLVMSetAlignment(x, align_of(t));
	return as_register(w, t, x);
}

void lw_store_at(Lower *w, TsDtype t, Val x, Val p)
{
	LLVMSetAlignment(LLVMBuildStore(w->b, as_memory(w, t, x), p), align_of(t));
}

/* ---- limits ---- */
static void read_limits(Access *a, const TsTree *call, const int64_t *extent)
{
	Lower *w = a->w;
	const TsTree *valid = lw_keyword(call, "valid");
	int64_t c;
	for (int d = 0; valid && d < a->at->rank; d++) {
		Val n = lw_idx(w, valid->kind == TS_TREE_LIST ? valid->kid[d] : valid);
		if (lw_is_const(n, &c) && c >= extent[d]) continue;
		a->left[d] = lw_max(w, lw_min(w, n, lw_i64(w, extent[d])), lw_i64(w, 0));
		a->limited = true;
	}
}

static Val all_inside(const Access *a, const int64_t *extent)
{
	Lower *w = a->w;
	Val all = LLVMConstInt(w->i1, 1, 0);
	for (int d = 0; d < a->at->rank; d++)
		if (a->left[d]) all = LLVMBuildAnd(w->b, all, LLVMBuildICmp(w->b, LLVMIntEQ, a->left[d], lw_i64(w, extent[d]), ""), "");
	return all;
}

/* packed rows are read by whole bytes: every register must begin at an even element */
static Val evenly_placed(const Access *a)
{
	Lower *w = a->w;
	Val odd = a->view->base;
	for (int d = 0; d < a->at->rank; d++)
		for (int r = 0; r < a->at->regs && a->view->step[d]; r++)
			if (a->at->reg[r][d] & 1) { odd = LLVMBuildOr(w->b, odd, a->view->step[d], ""); break; }
	return LLVMBuildICmp(w->b, LLVMIntEQ, LLVMBuildAnd(w->b, odd, lw_i64(w, 1), ""), lw_i64(w, 0), "");
}

static bool lanes_move(const Places *p, int d)
{
	for (int v = 0; v < p->lanes; v++)
		if (p->lane[v][d]) return true;
	return false;
}

/* which lanes of register r lie inside, in integers of the element's width: one compare per register */
static Val mask_of(const Access *a, int r)
{
	Lower *w = a->w;
	int lanes = a->at->lanes, bits = ts_dtype_bits(a->view->elem);
	Val mask = NULL, uniform = LLVMConstInt(w->i1, 1, 0), *lane = TS_NEW_N(w->arena, Val, (size_t)lanes);
	for (int d = 0; d < a->at->rank; d++) {
		if (!a->left[d]) continue;
		if (!lanes_move(a->at, d)) {
			uniform = LLVMBuildAnd(w->b, uniform, LLVMBuildICmp(w->b, LLVMIntSGT, a->left[d], lw_i64(w, a->at->reg[r][d]), ""), "");
			continue;
		}
		int64_t extent = ts_layout_extent(a->at->layout, d);
		LLVMTypeRef type = bits == 8 && extent < 256 ? w->i8 : bits <= 16 && extent < 65536 ? w->i16 : w->i32;
		for (int v = 0; v < lanes; v++) lane[v] = LLVMConstInt(type, (uint64_t)(a->at->reg[r][d] + a->at->lane[v][d]), 0);
		Val left = lw_splat(w, LLVMBuildTrunc(w->b, a->left[d], type, ""), lanes);
		Val in = LLVMBuildICmp(w->b, LLVMIntUGT, left, LLVMConstVector(lane, (unsigned)lanes), "");
		mask = mask ? LLVMBuildAnd(w->b, mask, in, "") : in;
	}
	if (!mask) return lw_splat(w, uniform, lanes);
	return LLVMIsConstant(uniform) ? mask : LLVMBuildAnd(w->b, mask, lw_splat(w, uniform, lanes), "");
}

Val lw_dummy(Lower *w)
{
	if (!w->dummy) w->dummy = lw_at_entry(w, w->i8, 16, 16);
	return w->dummy;
}

static Val spill(Lower *w, int64_t bytes)
{
	enum { MAX_SPILL = 1 << 20 };
	if (!w->spill) w->spill = lw_at_entry(w, w->i8, 1, 64);
	if (bytes > MAX_SPILL) lw_fail(w, NULL, "a ragged access to a tile of %lld bytes; cut it", (long long)bytes);
	if (bytes > w->spill_bytes) w->spill_bytes = bytes;
	return w->spill;
}

/* ---- loads ---- */
static Val load_row_packed(const Access *a, int r)
{
	Lower *w = a->w;
	int lanes = a->at->lanes, *mask = TS_NEW_N(w->arena, int, (size_t)lanes);
	Val at = LLVMBuildLShr(w->b, element_offset(a, r, 0), lw_i64(w, 1), ""), p = LLVMBuildGEP2(w->b, w->i8, a->view->memory, &at, 1, "");
	Val bytes = LLVMBuildLoad2(w->b, lw_type(w, TS_UINT8, lanes / 2), p, "");
	LLVMSetAlignment(bytes, 1);
	Val low = LLVMBuildAnd(w->b, bytes, lw_const_int(w, TS_UINT8, 15, lanes / 2), ""), high = LLVMBuildLShr(w->b, bytes, lw_const_int(w, TS_UINT8, 4, lanes / 2), "");
	for (int v = 0; v < lanes; v++) mask[v] = v / 2 + v % 2 * (lanes / 2);
	if (lanes > 2) return lw_shuffle(w, low, high, mask, lanes);
	Val two = LLVMBuildInsertElement(w->b, LLVMGetPoison(lw_type(w, TS_UINT8, 2)), low, lw_i32(w, 0), "");
	return LLVMBuildInsertElement(w->b, two, high, lw_i32(w, 1), "");
}

/* one element; outside (inside false) it is pad */
static Val load_element(const Access *a, int r, int v, Val inside)
{
	Lower *w = a->w;
	TsDtype t = a->view->elem;
	if (lw_packed(t)) {
		Val at = element_offset(a, r, v), base = a->view->memory;
		if (inside) at = LLVMBuildSelect(w->b, inside, at, lw_i64(w, 0), "");
		if (inside) base = LLVMBuildSelect(w->b, inside, base, lw_dummy(w), "");
		Val x = lw_nibble_get(w, base, at);
		return inside ? LLVMBuildSelect(w->b, inside, x, a->pad, "") : x;
	}
	Val p = address(a, r, v);
	if (inside) p = LLVMBuildSelect(w->b, inside, p, lw_dummy(w), "");
	Val x = lw_load_at(w, t, p, 1);
	return inside ? LLVMBuildSelect(w->b, inside, x, a->pad, "") : x;
}

static Val load_each(const Access *a, int r, Val mask)
{
	Lower *w = a->w;
	int lanes = a->at->lanes;
	if (lanes == 1) return load_element(a, r, 0, mask);
	Val x = LLVMGetPoison(lw_type(w, a->view->elem, lanes));
	for (int v = 0; v < lanes; v++) x = LLVMBuildInsertElement(w->b, x, load_element(a, r, v, mask ? lw_extract(w, mask, v) : NULL), lw_i32(w, v), "");
	return x;
}

static void load_all(const Access *a, Frag *out)
{
	Lower *w = a->w;
	for (int r = 0; r < out->n; r++) {
		if (a->form == ONE) out->v[r] = lw_splat(w, load_element(a, r, 0, NULL), out->lanes);
		else if (a->form == EACH) out->v[r] = load_each(a, r, NULL);
		else out->v[r] = lw_packed(a->view->elem) ? load_row_packed(a, r) : lw_load_at(w, a->view->elem, address(a, r, 0), out->lanes);
	}
}

static Val with_align(Lower *w, Val call, unsigned param, unsigned align)
{
	LLVMAddCallSiteAttribute(call, (LLVMAttributeIndex)param, LLVMCreateEnumAttribute(w->lc, LLVMGetEnumAttributeKindForName("align", 5), align));
	return call;
}

static Val load_masked(const Access *a, int r)
{
	Lower *w = a->w;
	TsDtype t = a->view->elem;
	LLVMTypeRef type = lw_memory_type(w, t, a->at->lanes), over[] = { type, w->ptr };
	Val args[] = { address(a, r, 0), mask_of(a, r), lw_splat(w, as_memory(w, t, a->pad), a->at->lanes) };
	return as_register(w, t, with_align(w, lw_intrinsic(w, "llvm.masked.load", over, 2, args, 3), 1, align_of(t)));
}

/* how the ragged rest is done */
typedef enum { BY_MASK, BY_ELEMENT, BY_BOX } RaggedWay;

static RaggedWay ragged_way(const Access *a)
{
	enum { FEW = 4 }; /* registers: masks for many cost more than a copy now and then */
	int bits = a->w->target->mask_bits;
	if (a->form == ROW && bits && ts_dtype_bits(a->view->elem) >= bits && (a->at->regs <= FEW || a->view->gathers)) return BY_MASK;
	if (a->view->gathers || a->at->regs * (a->form == ONE ? 1 : a->at->lanes) <= FEW) return BY_ELEMENT;
	return BY_BOX;
}

/* the tile's box moved between memory and a buffer; returns the buffer */
static Val copy_box(const Access *a, const int64_t *extent, bool storing)
{
	Lower *w = a->w;
	TsDtype t = a->view->elem;
	int64_t n = 1;
	Val count[TS_LAY_RANK];
	for (int d = 0; d < a->at->rank; d++) {
		n *= extent[d];
		count[d] = a->left[d] ? a->left[d] : lw_i64(w, extent[d]);
	}
	Val buf = spill(w, lw_packed(t) ? n : ts_dtype_bytes(t, n));
	lw_copy_box(w, t, buf, a->view->memory, a->view->base, a->view->step, count, extent, a->at->rank, storing ? NULL : as_memory(w, t, a->pad));
	return buf;
}

static void load_ragged(const Access *a, RaggedWay way, const int64_t *extent, Frag *out)
{
	Lower *w = a->w;
	if (way == BY_BOX) {
		View v = buffer_view(w, a->view->elem, copy_box(a, extent, false), extent, a->at->rank);
		Access from = access_of(w, NULL, &v, a->at);
		load_all(&from, out);
		return;
	}
	Access each = by_lanes(a);
	for (int r = 0; r < out->n; r++) {
		if (way == BY_MASK) out->v[r] = load_masked(a, r);
		else if (a->form == ONE) out->v[r] = lw_splat(w, load_element(a, r, 0, lw_extract(w, mask_of(a, r), 0)), out->lanes);
		else out->v[r] = load_each(&each, r, mask_of(a, r));
	}
}

typedef struct { Block yes, no, end; } Fork;

static Fork fork_on(Lower *w, Val inside)
{
	Fork f = { lw_block(w, "whole"), lw_block(w, "ragged"), lw_block(w, "end") };
	LLVMBuildCondBr(w->b, inside, f.yes, f.no);
	LLVMPositionBuilderAtEnd(w->b, f.yes);
	return f;
}

static void second_way(Lower *w, Fork *f)
{
	f->yes = LLVMGetInsertBlock(w->b);
	LLVMBuildBr(w->b, f->end);
	LLVMPositionBuilderAtEnd(w->b, f->no);
}

static void ways_meet(Lower *w, Fork *f)
{
	f->no = LLVMGetInsertBlock(w->b);
	LLVMBuildBr(w->b, f->end);
	LLVMPositionBuilderAtEnd(w->b, f->end);
}

static void extents_of(const Places *at, int64_t *extent)
{
	for (int d = 0; d < at->rank; d++) extent[d] = ts_layout_extent(at->layout, d);
}

/* The condition of the whole way, or NULL when it always holds. */
static Val whole_condition(const Access *a, const int64_t *extent)
{
	Lower *w = a->w;
	Val whole = a->limited ? all_inside(a, extent) : NULL;
	if (!lw_packed(a->view->elem) || a->form != ROW) return whole;
	Val even = evenly_placed(a);
	return whole ? LLVMBuildAnd(w->b, whole, even, "") : even;
}

/* packed rows with a gather, or of an odd number of lanes, have no whole way */
static void settle_form(Access *a)
{
	if (!lw_packed(a->view->elem) || a->form != ROW || (!a->view->gathers && a->at->lanes % 2 == 0)) return;
	*a = by_lanes(a);
}

Val lw_pad(Lower *w, const TsTree *call, TsDtype t)
{
	const TsTree *pad = lw_keyword(call, "pad");
	return pad ? lw_operand(w, pad, t) : LLVMConstNull(lw_elem_type(w, t));
}

static Frag load_scalar(Lower *w, const TsTree *call, const View *v)
{
	Frag f = { .elem = v->elem, .n = 1, .lanes = 1, .v = TS_NEW(w->arena, Val) };
	(void)call;
	if (lw_packed(v->elem)) f.v[0] = lw_nibble_get(w, v->memory, v->base);
	else f.v[0] = lw_load_at(w, v->elem, LLVMBuildGEP2(w->b, lw_memory_type(w, v->elem, 1), v->memory, (Val[]){ v->base }, 1, ""), 1);
	return f;
}

/* What of memory or buffer is used from where the two ways meet: values would all be live there at once, an address is one register. */
static View either(Lower *w, const View *a, const View *b, Val (*pick)(Lower *, Val, Val, const void *), const void *user)
{
	View v = *a;
	v.elem = b->elem;
	v.memory = pick(w, a->memory, b->memory, user);
	v.base = lw_i64(w, 0);
	for (int d = 0; d < v.rank; d++) v.step[d] = a->step[d] == b->step[d] ? a->step[d] : pick(w, a->step[d], b->step[d], user);
	return v;
}

static Val pick_phi(Lower *w, Val a, Val b, const void *user)
{
	const Fork *f = user;
	Val phi = LLVMBuildPhi(w->b, LLVMTypeOf(a), "");
	LLVMAddIncoming(phi, &a, (Block *)&f->yes, 1);
	LLVMAddIncoming(phi, &b, (Block *)&f->no, 1);
	return phi;
}

static Val pick_select(Lower *w, Val a, Val b, const void *user) { return LLVMBuildSelect(w->b, (Val)user, a, b, ""); }

/* the view with its first element as memory */
static View rebased(const Access *a)
{
	View v = *a->view;
	v.memory = a->origin;
	return v;
}

static void load_boxed(Access *a, Val whole, const int64_t *extent, Frag *out)
{
	Lower *w = a->w;
	Fork f = fork_on(w, whole);
	second_way(w, &f);
	View memory = rebased(a), buffer = buffer_view(w, a->view->elem, copy_box(a, extent, false), extent, a->at->rank);
	ways_meet(w, &f);
	View v = either(w, &memory, &buffer, pick_phi, &f);
	Access from = access_of(w, NULL, &v, a->at);
	load_all(&from, out);
}

Frag lw_load(Lower *w, const TsTree *call, const TsTType *type)
{
	View v = lw_view(w, call->kid[1]);
	if (type->form != TS_TT_TILE) return load_scalar(w, call, &v);
	Frag out = lw_frag(w, type), other = lw_frag(w, type);
	int64_t extent[TS_LAY_RANK];
	Access a = access_of(w, call, &v, out.at);
	settle_form(&a);
	extents_of(a.at, extent);
	read_limits(&a, call, extent);
	Val whole = whole_condition(&a, extent);
	if (!whole) return load_all(&a, &out), out;
	a.pad = lw_pad(w, call, v.elem);
	RaggedWay way = ragged_way(&a);
	if (way == BY_MASK && out.n == 1) return load_ragged(&a, way, extent, &out), out;
	if (way == BY_BOX && !lw_packed(v.elem)) return load_boxed(&a, whole, extent, &out), out;
	if (way == BY_ELEMENT && out.n * (a.form == ONE ? 1 : out.lanes) == 1) return load_ragged(&a, way, extent, &out), out;
	Fork f = fork_on(w, whole);
	load_all(&a, &out);
	second_way(w, &f);
	load_ragged(&a, way, extent, &other);
	ways_meet(w, &f);
	for (int r = 0; r < out.n; r++) {
		Val phi = LLVMBuildPhi(w->b, LLVMTypeOf(out.v[r]), "");
		LLVMAddIncoming(phi, &out.v[r], &f.yes, 1);
		LLVMAddIncoming(phi, &other.v[r], &f.no, 1);
		out.v[r] = phi;
	}
	return out;
}

/* ---- stores ---- */
static void store_element(const Access *a, int r, int v, Val x, Val inside)
{
	Lower *w = a->w;
	if (lw_packed(a->view->elem)) {
		Val at = element_offset(a, r, v), base = a->view->memory;
		if (inside) at = LLVMBuildSelect(w->b, inside, at, lw_i64(w, 0), "");
		if (inside) base = LLVMBuildSelect(w->b, inside, base, lw_dummy(w), "");
		lw_nibble_set(w, base, at, x);
		return;
	}
	Val p = address(a, r, v);
	if (inside) p = LLVMBuildSelect(w->b, inside, p, lw_dummy(w), "");
	lw_store_at(w, a->view->elem, x, p);
}

static void store_row_packed(const Access *a, int r, Val x)
{
	Lower *w = a->w;
	int half = a->at->lanes / 2, *mask = TS_NEW_N(w->arena, int, (size_t)half);
	for (int v = 0; v < half; v++) mask[v] = 2 * v;
	Val low = half > 1 ? lw_shuffle(w, x, NULL, mask, half) : lw_extract(w, x, 0);
	for (int v = 0; v < half; v++) mask[v] = 2 * v + 1;
	Val high = half > 1 ? lw_shuffle(w, x, NULL, mask, half) : lw_extract(w, x, 1);
	Val at = LLVMBuildLShr(w->b, element_offset(a, r, 0), lw_i64(w, 1), ""), p = LLVMBuildGEP2(w->b, w->i8, a->view->memory, &at, 1, "");
	Val bytes = LLVMBuildOr(w->b, low, LLVMBuildShl(w->b, high, lw_const_int(w, TS_UINT8, 4, half), ""), "");
	LLVMSetAlignment(LLVMBuildStore(w->b, bytes, p), 1);
}

static void store_each(const Access *a, int r, Val x, Val mask)
{
	for (int v = 0; v < a->at->lanes; v++) store_element(a, r, v, lw_extract(a->w, x, v), mask ? lw_extract(a->w, mask, v) : NULL);
}

static void store_all(const Access *a, const Frag *x)
{
	for (int r = 0; r < x->n; r++) {
		if (a->form == ONE) store_element(a, r, 0, lw_extract(a->w, x->v[r], 0), NULL);
		else if (a->form == EACH) store_each(a, r, x->v[r], NULL);
		else if (lw_packed(a->view->elem)) store_row_packed(a, r, x->v[r]);
		else lw_store_at(a->w, a->view->elem, x->v[r], address(a, r, 0));
	}
}

static void store_masked(const Access *a, int r, Val x)
{
	Lower *w = a->w;
	TsDtype t = a->view->elem;
	LLVMTypeRef over[] = { lw_memory_type(w, t, a->at->lanes), w->ptr };
	Val args[] = { as_memory(w, t, x), address(a, r, 0), mask_of(a, r) };
	with_align(w, lw_intrinsic(w, "llvm.masked.store", over, 2, args, 3), 2, align_of(t));
}

/* The same access with limits that the optimizer knows nothing of. LLVM 22 makes a masked store of one known element, of an integer that
 * was truncated on the way, a plain store of what it was before (X86ISelLowering, combineMaskedStore), which overwrites its neighbours. */
static Access hide_limits(const Access *a)
{
	Lower *w = a->w;
	Access hidden = *a;
	LLVMTypeRef memory = LLVMGetElementType(lw_memory_type(w, a->view->elem, 2)), fn = LLVMFunctionType(w->i64, (LLVMTypeRef[]){ w->i64 }, 1, 0);
	if (w->target->kind != TS_TK_CPU || LLVMGetTypeKind(memory) != LLVMIntegerTypeKind) return hidden;
	for (int d = 0; d < a->at->rank; d++)
		if (a->left[d]) hidden.left[d] = LLVMBuildCall2(w->b, fn, LLVMGetInlineAsm(fn, "", 0, "=r,0", 4, 0, 0, LLVMInlineAsmDialectATT, 0), &hidden.left[d], 1, "");
	return hidden;
}

static void store_ragged(const Access *a, RaggedWay way, const int64_t *extent, const Frag *x)
{
	Lower *w = a->w;
	if (way == BY_BOX) {
		View v = buffer_view(w, a->view->elem, spill(w, 0), extent, a->at->rank);
		Access to = access_of(w, NULL, &v, a->at);
		store_all(&to, x);
		copy_box(a, extent, true);
		return;
	}
	Access each = by_lanes(a), masked = way == BY_MASK ? hide_limits(a) : each;
	for (int r = 0; r < x->n; r++) {
		if (way == BY_MASK) store_masked(&masked, r, x->v[r]);
		else if (a->form == ONE) store_element(a, r, 0, lw_extract(w, x->v[r], 0), lw_extract(w, mask_of(a, r), 0));
		else store_each(&each, r, x->v[r], mask_of(a, r));
	}
}

/* One set of stores, to memory or to the buffer, which is then copied out. */
static void store_boxed(Access *a, Val whole, const int64_t *extent, const Frag *x)
{
	Lower *w = a->w;
	View memory = rebased(a), buffer = buffer_view(w, a->view->elem, spill(w, 0), extent, a->at->rank);
	View v = either(w, &memory, &buffer, pick_select, whole);
	Access to = access_of(w, NULL, &v, a->at);
	store_all(&to, x);
	Fork f = fork_on(w, whole);
	second_way(w, &f);
	copy_box(a, extent, true);
	ways_meet(w, &f);
}

static void store_scalar(Lower *w, const View *v, Val x)
{
	if (lw_packed(v->elem)) lw_nibble_set(w, v->memory, v->base, x);
	else lw_store_at(w, v->elem, x, LLVMBuildGEP2(w->b, lw_memory_type(w, v->elem, 1), v->memory, (Val[]){ v->base }, 1, ""));
}

void lw_store(Lower *w, const TsTree *call)
{
	View v = lw_view(w, call->kid[1]);
	const TsTInfo *info = ts_tinfo(call->kid[2]);
	if (!info || info->type.form != TS_TT_TILE) return store_scalar(w, &v, lw_operand(w, call->kid[2], v.elem));
	Frag x = lw_expr(w, call->kid[2]);
	int64_t extent[TS_LAY_RANK];
	Access a = access_of(w, call, &v, x.at);
	settle_form(&a);
	extents_of(a.at, extent);
	read_limits(&a, call, extent);
	Val whole = whole_condition(&a, extent);
	if (!whole) return store_all(&a, &x);
	RaggedWay way = ragged_way(&a);
	if (way == BY_MASK && x.n == 1) return store_ragged(&a, way, extent, &x);
	if (way == BY_BOX && !lw_packed(v.elem)) return store_boxed(&a, whole, extent, &x);
	if (way == BY_ELEMENT && x.n * (a.form == ONE ? 1 : x.lanes) == 1) return store_ragged(&a, way, extent, &x);
	Fork f = fork_on(w, whole);
	store_all(&a, &x);
	second_way(w, &f);
	store_ragged(&a, way, extent, &x);
	ways_meet(w, &f);
}

/* ---- hints ---- */
void lw_prefetch(Lower *w, const TsTree *call)
{
	enum { LINE = 64, MAX_LINES = 96 };
	const TsTree *place = call->kid[1], *write = lw_keyword(call, "write");
	View v = lw_view(w, place);
	const TsTType *type = &ts_tinfo(place)->type;
	int row = -1, lines = 0;
	int64_t step, rows = 1, per_row = 1;
	if (lw_packed(v.elem) || v.gathers) return; /* a hint may be dropped */
	for (int d = 0; d < v.rank; d++)
		if (lw_is_const(v.step[d], &step) && step == 1) row = d;
	for (int d = 0; d < v.rank; d++) {
		if (d == row) per_row = (ts_dtype_bytes(v.elem, type->extent[d]) + LINE - 1) / LINE;
		else rows *= type->extent[d];
	}
	Val origin = LLVMBuildGEP2(w->b, lw_memory_type(w, v.elem, 1), v.memory, (Val[]){ v.base }, 1, "");
	LLVMTypeRef over[] = { w->ptr };
	for (int64_t r = 0; r < rows; r++) {
		Val at = lw_i64(w, 0);
		int64_t rest = r;
		for (int d = v.rank; d-- > 0;) {
			if (d == row) continue;
			at = lw_add(w, at, lw_mul(w, v.step[d], lw_i64(w, rest % type->extent[d])));
			rest /= type->extent[d];
		}
		Val p = LLVMBuildGEP2(w->b, lw_memory_type(w, v.elem, 1), origin, &at, 1, "");
		for (int64_t l = 0; l < per_row && lines < MAX_LINES; l++, lines++) {
			Val by = lw_i64(w, l * LINE);
			Val args[] = { LLVMBuildGEP2(w->b, w->i8, p, &by, 1, ""), lw_i32(w, write && write->kind == TS_TREE_TRUE), lw_i32(w, 3), lw_i32(w, 1) };
			lw_intrinsic(w, "llvm.prefetch", over, 1, args, 4);
		}
	}
}
