/* Words on tiles: what moves elements between registers and lanes, reductions, and the outer product. */
#include "backend/llvm/lower.h"
#include <string.h>

/* ---- places ---- */
const Places *lw_places(Lower *w, const TsTree *at, const TsLayout *l)
{
	Places *p = ts_map_get(&w->places, l);
	if (p) return p;
	for (int i = 0; i < l->n; i++)
		if (!w->gpu && l->d[i].axis != TS_AX_R && l->d[i].axis != TS_AX_V) lw_fail(w, at, "a tile of target %s has registers (r) and lanes (v) only", w->target->name);
	p = TS_NEW(w->arena, Places);
	*p = (Places){ .rank = l->rank, .regs = (int)ts_layout_axis_size(l, TS_AX_R), .lanes = (int)ts_layout_axis_size(l, TS_AX_V), .layout = l };
	p->reg = ts_alloc_array(w->arena, (size_t)p->regs, sizeof *p->reg);
	p->lane = ts_alloc_array(w->arena, (size_t)p->lanes, sizeof *p->lane);
	int64_t place[TS_AX_COUNT] = { 0 }, coord[TS_LAY_RANK];
	for (int r = 0; r < p->regs; r++) {
		place[TS_AX_R] = r;
		ts_layout_at(l, place, coord);
		for (int d = 0; d < l->rank; d++) p->reg[r][d] = (int32_t)coord[d];
	}
	place[TS_AX_R] = 0;
	for (int v = 0; v < p->lanes; v++) {
		place[TS_AX_V] = v;
		ts_layout_at(l, place, coord);
		for (int d = 0; d < l->rank; d++) p->lane[v][d] = (int32_t)coord[d];
	}
	ts_map_set(w->arena, &w->places, l, p);
	return p;
}

/* ---- moving elements ---- */
typedef struct { int reg, lane; } Spot;

static int64_t box_of(const Places *p, int64_t extent[TS_LAY_RANK])
{
	int64_t n = 1;
	for (int d = 0; d < p->rank; d++) n *= extent[d] = ts_layout_extent(p->layout, d);
	return n;
}

/* where each coordinate of the box lies first; on GPUs most lie in other threads: register -1 */
static Spot *spots_of(Lower *w, const Places *p, const int64_t *extent, int64_t n)
{
	Spot *s = TS_NEW_N(w->arena, Spot, (size_t)n);
	for (int64_t i = 0; w->gpu && i < n; i++) s[i].reg = -1;
	for (int r = p->regs; r-- > 0;)
		for (int v = p->lanes; v-- > 0;) {
			int64_t at = 0;
			for (int d = 0; d < p->rank; d++) at = at * extent[d] + p->reg[r][d] + p->lane[v][d];
			s[at] = (Spot){ r, v };
		}
	return s;
}

static bool lanes_as_they_are(const Places *src, const Places *dst, int from, int to, const int *axis_of, const int64_t *at)
{
	if (src->lanes != dst->lanes) return false;
	for (int v = 0; v < dst->lanes; v++)
		for (int d = 0; d < src->rank; d++) {
			int64_t want = at[d] + (axis_of[d] >= 0 ? dst->reg[to][axis_of[d]] + dst->lane[v][axis_of[d]] : 0);
			if (src->reg[from][d] + src->lane[v][d] != want) return false;
		}
	return true;
}

/* One register from the lanes `spot[v]` of src: as few shuffles as registers take part. */
static Val assemble(Lower *w, const Frag *src, const Spot *spot, int lanes)
{
	if (lanes == 1) return lw_extract(w, src->v[spot[0].reg], spot[0].lane);
	bool uniform = true;
	for (int v = 1; v < lanes; v++) uniform &= spot[v].reg == spot[0].reg && spot[v].lane == spot[0].lane;
	if (uniform) return lw_splat(w, lw_extract(w, src->v[spot[0].reg], spot[0].lane), lanes);
	Val acc = NULL;
	int *mask = TS_NEW_N(w->arena, int, (size_t)lanes);
	bool *done = TS_NEW_N(w->arena, bool, (size_t)lanes);
	for (int first = 0; first < lanes; first++) {
		if (done[first]) continue;
		Val part = src->v[spot[first].reg];
		for (int v = 0; v < lanes; v++) mask[v] = spot[v].reg == spot[first].reg ? spot[v].lane : -1;
		part = src->lanes == 1 ? lw_splat(w, part, lanes) : lw_shuffle(w, part, NULL, mask, lanes);
		for (int v = 0; v < lanes; v++) {
			bool mine = spot[v].reg == spot[first].reg;
			mask[v] = mine ? lanes + v : v;
			done[v] |= mine;
		}
		acc = acc ? lw_shuffle(w, acc, part, mask, lanes) : part;
	}
	return acc;
}

void lw_gather(Lower *w, const TsTree *where, const Frag *src, const int *axis_of, const int64_t *at, Frag *dst)
{
	const Places *s = src->at, *d = dst->at;
	int64_t extent[TS_LAY_RANK], n = box_of(s, extent);
	Spot *spots = spots_of(w, s, extent, n), *pick = TS_NEW_N(w->arena, Spot, (size_t)d->lanes);
	for (int r = 0; r < d->regs; r++) {
		for (int v = 0; v < d->lanes; v++) {
			int64_t k = 0;
			for (int a = 0; a < s->rank; a++) {
				int64_t c = at[a] + (axis_of[a] >= 0 ? d->reg[r][axis_of[a]] + d->lane[v][axis_of[a]] : 0);
				if (c < 0 || c >= extent[a]) lw_fail(w, where, "a coordinate lies outside its tile");
				k = k * extent[a] + c;
			}
			pick[v] = spots[k];
			if (pick[v].reg < 0) lw_fail(w, where, "the registers of the result do not lie in this thread");
		}
		int from = pick[0].reg;
		dst->v[r] = lanes_as_they_are(s, d, from, r, axis_of, at) ? src->v[from] : assemble(w, src, pick, d->lanes);
	}
}

static Frag moved(Lower *w, const TsTree *call, const Frag *src, const TsTType *type, const int *axis_of, const int64_t *at)
{
	if (type->form != TS_TT_TILE) lw_fail(w, call, "expected a tile as result");
	Frag dst = lw_frag(w, type);
	lw_gather(w, call, src, axis_of, at, &dst);
	return dst;
}

int64_t lw_const_of(Lower *w, const TsTree *x)
{
	int64_t v;
	if (!x || !lw_is_const(lw_idx(w, x), &v)) lw_fail(w, x, "expected a constant");
	return v;
}

/* a call's n-th argument, or the keyword of that name */
const TsTree *lw_argument(const TsTree *call, uint32_t n, const char *name)
{
	const TsTree *k = lw_keyword(call, name);
	if (k) return k;
	return 1 + n < call->n && call->kid[1 + n]->kind != TS_TREE_KW ? call->kid[1 + n] : NULL;
}

static Frag tile_operand(Lower *w, const TsTree *x)
{
	Frag f = lw_expr(w, x);
	if (!f.at) lw_fail(w, x, "expected a tile");
	return f;
}

static const int same_axes[TS_LAY_RANK] = { 0, 1, 2, 3 };

static Frag word_bcast(Lower *w, const TsTree *call, const TsTType *type)
{
	Frag x = lw_expr(w, call->kid[1]);
	const TsTree *dims = lw_argument(call, 1, "dims");
	int axis_of[TS_LAY_RANK] = { 0 };
	int64_t at[TS_LAY_RANK] = { 0 };
	if (!x.at) {
		Frag dst = lw_frag(w, type);
		for (int r = 0; r < dst.n; r++) dst.v[r] = lw_splat(w, x.v[0], dst.lanes);
		return dst;
	}
	for (int i = 0; i < x.at->rank; i++) axis_of[i] = dims && dims->kind == TS_TREE_LIST ? (int)lw_const_of(w, dims->kid[i]) : (int)lw_const_of(w, dims);
	return moved(w, call, &x, type, axis_of, at);
}

static Frag word_slice(Lower *w, const TsTree *call, const TsTType *type)
{
	Frag x = tile_operand(w, call->kid[1]);
	int64_t at[TS_LAY_RANK] = { 0 };
	at[lw_const_of(w, lw_argument(call, 1, "axis"))] = lw_const_of(w, lw_argument(call, 2, "at"));
	return moved(w, call, &x, type, same_axes, at);
}

/* The operands lie one after the other along the axis; each register of the result is assembled from the one that holds it. */
static Frag word_concat(Lower *w, const TsTree *call, const TsTType *type)
{
	const TsTree *list = call->kid[1], *axis_tree = lw_argument(call, 1, "axis");
	int axis = axis_tree ? (int)lw_const_of(w, axis_tree) : 0;
	Frag dst = lw_frag(w, type);
	int64_t begin = 0;
	for (uint32_t i = 0; i < list->n; i++) {
		Frag x = tile_operand(w, list->kid[i]);
		int64_t extent[TS_LAY_RANK], n = box_of(x.at, extent), at[TS_LAY_RANK] = { 0 };
		Spot *spots = spots_of(w, x.at, extent, n), *pick = TS_NEW_N(w->arena, Spot, (size_t)dst.lanes);
		at[axis] = -begin;
		for (int r = 0; r < dst.n; r++) {
			bool inside = true;
			for (int v = 0; v < dst.lanes; v++) {
				int64_t k = 0;
				for (int d = 0; d < dst.at->rank; d++) {
					int64_t c = dst.at->reg[r][d] + dst.at->lane[v][d] + at[d];
					if (d == axis && (c < 0 || c >= extent[d])) inside = false;
					k = k * extent[d] + c;
				}
				if (inside) pick[v] = spots[k];
				if (inside && pick[v].reg < 0) lw_fail(w, call, "the registers of the result do not lie in this thread");
			}
			if (inside) dst.v[r] = lanes_as_they_are(x.at, dst.at, pick[0].reg, r, same_axes, at) ? x.v[pick[0].reg] : assemble(w, &x, pick, dst.lanes);
		}
		begin += extent[axis];
	}
	for (int r = 0; r < dst.n; r++)
		if (!dst.v[r]) lw_fail(w, call, "a register of the result would hold lanes of two operands");
	return dst;
}

static Frag word_fill(Lower *w, const TsTree *call, const TsTType *type)
{
	Frag dst = lw_frag(w, type);
	Val x = lw_splat(w, lw_operand(w, call->kid[1], type->elem), dst.lanes);
	for (int r = 0; r < dst.n; r++) dst.v[r] = x;
	return dst;
}

/* Are the coordinates of first registers multiples of `step`? */
static bool begins_at_steps(const TsLayout *l, int axis, int64_t step)
{
	for (int i = 0; i < l->n; i++)
		if (l->d[i].dim == axis && l->d[i].axis != TS_AX_R && l->d[i].axis != TS_AX_V && l->d[i].stride % step) return false;
	return true;
}

static Frag word_iota(Lower *w, const TsTree *call, const TsTType *type)
{
	Frag dst = lw_frag(w, type);
	const TsTree *axis_tree = lw_argument(call, 0, "axis"), *step_tree = lw_keyword(call, "step");
	int axis = axis_tree ? (int)lw_const_of(w, axis_tree) : 0;
	int64_t step = step_tree ? lw_const_of(w, step_tree) : 1;
	bool begins = begins_at_steps(dst.at->layout, axis, step);
	Val *lane = TS_NEW_N(w->arena, Val, (size_t)dst.lanes);
	for (int r = 0; r < dst.n; r++) {
		for (int v = 0; v < dst.lanes; v++) {
			int64_t c = dst.at->reg[r][axis] + dst.at->lane[v][axis];
			if (begins) c -= c % step;
			lane[v] = lw_const_int(w, type->elem, c, 1);
		}
		dst.v[r] = dst.lanes > 1 ? LLVMConstVector(lane, (unsigned)dst.lanes) : lane[0];
	}
	if (!w->gpu) return dst;
	/* Opaque to the optimizer: sums with it would be kept in registers over a persistent loop, one for each column. */
	Val at = lg_coord(w, dst.at->layout, axis), own = lw_cast(w, call, lg_asm(w, "mov.b32 $0, $1;", "=r,r", w->i32, &at, 1), TS_INT32, type->elem);
	for (int r = 0; r < dst.n; r++) {
		dst.v[r] = lw_add(w, own, dst.v[r]);
		if (!begins) dst.v[r] = LLVMBuildAnd(w->b, dst.v[r], lw_const_int(w, type->elem, -step, 1), "");
	}
	return dst;
}

Frag lw_transposed(Lower *w, const TsTree *x, const TsTType *type)
{
	static const int64_t origin[TS_LAY_RANK];
	static const int swapped[TS_LAY_RANK] = { 1, 0 };
	Frag of = tile_operand(w, x->kid[0]);
	return moved(w, x, &of, type, swapped, origin);
}

/* ---- reductions ---- */
/* What is reduced together: `parts` values per element (1, or value and index), combined by `join`. */
typedef struct Reduction Reduction;
struct Reduction { Lower *w; const TsTree *call; const char *word; TsDtype elem; int parts; void (*join)(const Reduction *, Val *a, Val *b, Val *out); };

static void join_word(const Reduction *r, Val *a, Val *b, Val *out)
{
	Val args[2] = { a[0], b[0] };
	out[0] = lw_word(r->w, r->call, r->word, r->elem, args, 2);
}

/* b wins where it is better, or NaN against a number, or as good with the lower index */
static void join_arg(const Reduction *r, Val *a, Val *b, Val *out)
{
	LLVMBuilderRef bd = r->w->b;
	bool max = !strcmp(r->word, "max");
	Val better, tie, lower = LLVMBuildICmp(bd, LLVMIntSLT, b[1], a[1], "");
	if (ts_dtype_is_float(r->elem)) {
		Val nan_a = LLVMBuildFCmp(bd, LLVMRealUNO, a[0], a[0], ""), nan_b = LLVMBuildFCmp(bd, LLVMRealUNO, b[0], b[0], "");
		better = LLVMBuildOr(bd, LLVMBuildFCmp(bd, max ? LLVMRealOGT : LLVMRealOLT, b[0], a[0], ""), LLVMBuildAnd(bd, nan_b, LLVMBuildNot(bd, nan_a, ""), ""), "");
		tie = LLVMBuildOr(bd, LLVMBuildFCmp(bd, LLVMRealOEQ, a[0], b[0], ""), LLVMBuildAnd(bd, nan_a, nan_b, ""), "");
	} else {
		better = LLVMBuildICmp(bd, max ? LLVMIntSGT : LLVMIntSLT, b[0], a[0], "");
		tie = LLVMBuildICmp(bd, LLVMIntEQ, a[0], b[0], "");
	}
	Val wins = LLVMBuildOr(bd, better, LLVMBuildAnd(bd, tie, lower, ""), "");
	for (int i = 0; i < 2; i++) out[i] = LLVMBuildSelect(bd, wins, b[i], a[i], "");
}

/* x[0..n) by halving: x[i] with x[i + half]. Values lie x[i * parts]. On GPUs one after the other: threads hide the latency of a chain, and its
 * length tells ptxas that what feeds it comes before the waits that stand behind it. */
static void tree(const Reduction *r, Val *x, int n)
{
	for (int i = 1; r->w->gpu && i < n; i++) r->join(r, x, &x[i * r->parts], x);
	if (r->w->gpu) return;
	while (n > 1) {
		int half = (n + 1) / 2;
		for (int i = 0; i + half < n; i++) r->join(r, &x[i * r->parts], &x[(i + half) * r->parts], &x[i * r->parts]);
		n = half;
	}
}

typedef struct { int extent; bool gone; } LaneDigit;

/* lanes of x whose digit k lies in [lo, lo + len), in order */
static Val lanes_with(Lower *w, Val x, const LaneDigit *d, int n, int k, int lo, int len)
{
	int total = 1, below = 1, out = 0;
	for (int i = 0; i < n; i++) total *= d[i].extent;
	for (int i = 0; i < k; i++) below *= d[i].extent;
	int *mask = TS_NEW_N(w->arena, int, (size_t)total);
	for (int v = 0; v < total; v++) {
		int digit = v / below % d[k].extent;
		if (digit >= lo && digit < lo + len) mask[out++] = v;
	}
	return out == 1 ? lw_extract(w, x, mask[0]) : lw_shuffle(w, x, NULL, mask, out);
}

/* Takes out one digit of the lanes: halving while even, then a tree over what is left. */
static void fold_digit(const Reduction *r, Val *x, LaneDigit *d, int n, int k)
{
	while (d[k].extent > 1) {
		int e = d[k].extent, piece = e % 2 ? 1 : e / 2, count = e / piece;
		Val *part = TS_NEW_N(r->w->arena, Val, (size_t)(count * r->parts));
		for (int i = 0; i < count; i++)
			for (int p = 0; p < r->parts; p++) part[i * r->parts + p] = lanes_with(r->w, x[p], d, n, k, i * piece, piece);
		tree(r, part, count);
		memcpy(x, part, sizeof *x * (size_t)r->parts);
		d[k].extent = piece;
	}
}

/* keep: which axes stay. Replicated digits of lanes stay when the result has them (some axis stays), else lane 0 stands for all. */
static void fold_lanes(const Reduction *r, const Places *src, const bool *keep, bool any, Val *x)
{
	LaneDigit d[TS_LAY_MAX];
	int n = 0;
	for (int i = 0; i < src->layout->n; i++) {
		TsDigit g = src->layout->d[i];
		if (g.axis == TS_AX_V) d[n++] = (LaneDigit){ g.extent, g.dim == TS_LAY_NODIM ? !any : !keep[g.dim] };
	}
	int k = n;
	for (int i = src->layout->n; i-- > 0;) {
		TsDigit g = src->layout->d[i];
		if (g.axis != TS_AX_V) continue;
		k--;
		if (!d[k].gone || d[k].extent == 1) continue;
		if (g.dim != TS_LAY_NODIM) { fold_digit(r, x, d, n, k); continue; }
		for (int p = 0; p < r->parts; p++) x[p] = lanes_with(r->w, x[p], d, n, k, 0, 1);
		d[k].extent = 1;
	}
}

/* The same over the lanes of a warp: butterflies, after which every lane has the sum. Sums are commutative, so all get the same bits. */
static void fold_threads(const Reduction *r, const Places *src, const bool *keep, bool any, bool exchanged, Val *x)
{
	int64_t below = 1;
	for (int i = 0; i < src->layout->n; i++) {
		TsDigit g = src->layout->d[i];
		bool gone = g.dim != TS_LAY_NODIM && !(any && keep[g.dim]);
		if (gone && (g.axis == TS_AX_W || g.axis == TS_AX_G || g.axis == TS_AX_C) && !exchanged) lw_fail(r->w, r->call, "the axis lies over several warps: reduce it through shared memory (via)");
		if (g.axis != TS_AX_L) continue;
		if (gone && g.extent & (g.extent - 1)) lw_fail(r->w, r->call, "a digit of %d lanes; lanes are reduced by halving", g.extent);
		for (int64_t m = g.extent / 2; gone && m >= 1; m /= 2) {
			Val other[2];
			for (int p = 0; p < r->parts; p++) other[p] = lg_shuffle(r->w, x[p], lw_i32(r->w, m * below), true);
			r->join(r, x, other, x);
		}
		below *= g.extent;
	}
}

static bool agrees(const Places *src, int r, const int32_t *want, const bool *keep)
{
	for (int a = 0, k = 0; a < src->rank; a++)
		if (keep[a] && src->reg[r][a] != want[k++]) return false;
	return true;
}

/* one of several registers that hold the same elements (replicated r digits) is enough */
static bool repeats(const Places *src, int r)
{
	for (int q = 0; q < r; q++)
		if (!memcmp(src->reg[q], src->reg[r], sizeof src->reg[0])) return true;
	return false;
}

static void reduce_to(const Reduction *r, const Frag *src, const bool *keep, bool exchanged, Frag *dst)
{
	static const int32_t origin[TS_LAY_RANK];
	const Places *s = src[0].at;
	bool any = false;
	for (int a = 0; a < s->rank; a++) any |= keep[a];
	Val *x = TS_NEW_N(r->w->arena, Val, (size_t)(s->regs * r->parts));
	for (int to = 0; to < dst[0].n; to++) {
		const int32_t *want = dst[0].at ? dst[0].at->reg[to] : origin;
		int n = 0;
		for (int q = 0; q < s->regs; q++) {
			if (!agrees(s, q, want, keep) || repeats(s, q)) continue;
			for (int p = 0; p < r->parts; p++) x[n * r->parts + p] = src[p].v[q];
			n++;
		}
		if (!n) lw_fail(r->w, r->call, "the result's layout is not the operand's without the axis");
		tree(r, x, n);
		if (r->w->gpu) fold_threads(r, s, keep, any, exchanged, x);
		else fold_lanes(r, s, keep, any, x);
		if (lw_lanes_of(x[0]) != dst[0].lanes) lw_fail(r->w, r->call, "the result's layout is not the operand's without the axis");
		for (int p = 0; p < r->parts; p++) dst[p].v[to] = x[p];
	}
}

static void axes_kept(Lower *w, const TsTree *call, int rank, bool keep[TS_LAY_RANK])
{
	const TsTree *axis = lw_keyword(call, "axis");
	for (int a = 0; a < rank; a++) keep[a] = axis != NULL;
	if (axis) keep[lw_const_of(w, axis)] = false;
}

static Frag cast_all(Lower *w, const TsTree *at, Frag f, TsDtype to)
{
	Frag out = f;
	out.elem = to;
	out.v = TS_NEW_N(w->arena, Val, (size_t)f.n);
	for (int i = 0; i < f.n; i++) out.v[i] = lw_cast(w, at, f.v[i], f.elem, to);
	return out;
}

static const char *op_of(const TsTree *call)
{
	const TsTree *op = lw_keyword(call, "op");
	return op ? op->name : "";
}

/* part = true: only the registers along the axis are combined. Register digits of the axis leave the register's number. */
static void reduce_part(const Reduction *r, const Frag *src, int axis, Frag *dst)
{
	const TsLayout *l = src->at->layout;
	for (int to = 0; to < dst->n; to++) {
		Val *x = TS_NEW_N(r->w->arena, Val, (size_t)src->n);
		int n = 0;
		for (int q = 0; q < src->n; q++) {
			int rest = q, kept = 0, weight = 1;
			for (int i = 0; i < l->n; i++) {
				if (l->d[i].axis != TS_AX_R) continue;
				int digit = rest % l->d[i].extent;
				rest /= l->d[i].extent;
				if (l->d[i].dim == axis) continue;
				kept += digit * weight;
				weight *= l->d[i].extent;
			}
			if (kept == to) x[n++] = src->v[q];
		}
		if (!n || dst->lanes != src->lanes) lw_fail(r->w, r->call, "the result's layout is not the operand's without registers of the axis");
		tree(r, x, n);
		dst->v[to] = x[0];
	}
}

static Frag word_reduce(Lower *w, const TsTree *call, const TsTType *type)
{
	Frag x = tile_operand(w, call->kid[1]), dst = lw_frag(w, type);
	const char *op = *op_of(call) ? op_of(call) : "add", *word = !strcmp(op, "max") ? "maximum" : !strcmp(op, "min") ? "minimum" : op;
	bool keep[TS_LAY_RANK], narrow = x.elem == TS_F16 || x.elem == TS_BF16;
	if (narrow) x = cast_all(w, call, x, TS_F32);
	axes_kept(w, call, x.at->rank, keep);
	Reduction r = { w, call, word, x.elem, 1, join_word };
	dst.elem = x.elem;
	if (lw_keyword(call, "part")) reduce_part(&r, &x, (int)lw_const_of(w, lw_keyword(call, "axis")), &dst);
	else reduce_to(&r, &x, keep, lw_keyword(call, "via"), &dst);
	if (w->gpu && lw_keyword(call, "via")) lg_exchange(w, call, &x, lw_keyword(call, "axis") ? (int)lw_const_of(w, lw_keyword(call, "axis")) : -1, word, &dst);
	return narrow ? cast_all(w, call, dst, type->elem) : dst;
}

static void word_argreduce(Lower *w, const TsTree *call, Frag *out)
{
	Frag x[2] = { tile_operand(w, call->kid[1]), tile_operand(w, call->kid[2]) };
	TsDtype elem = x[0].elem;
	bool keep[TS_LAY_RANK], narrow = elem == TS_F16 || elem == TS_BF16;
	if (narrow) x[0] = cast_all(w, call, x[0], TS_F32);
	axes_kept(w, call, x[0].at->rank, keep);
	Reduction r = { w, call, op_of(call), x[0].elem, 2, join_arg };
	out[0].elem = x[0].elem;
	reduce_to(&r, x, keep, false, out);
	if (narrow) out[0] = cast_all(w, call, out[0], elem);
}

/* ---- outer product ---- */
/* c[m, n] + a[m] * b[n]; on GPUs a [m, k] and b [k, n] too, into [s, m, n] */
static Frag word_mma(Lower *w, const TsTree *call, const TsTType *type)
{
	static const int64_t origin[TS_LAY_RANK];
	static const int rows[TS_LAY_RANK] = { 0 }, columns[TS_LAY_RANK] = { 1 };
	const TsTree *atom = lw_keyword(call, "atom");
	if (w->gpu && ((atom && strcmp(atom->name, "fma")) || type->rank == 3)) return lg_mma(w, call, type, atom ? atom->name : "fma");
	Frag c = tile_operand(w, call->kid[1]), a = tile_operand(w, call->kid[2]), b = tile_operand(w, call->kid[3]);
	if (atom && strcmp(atom->name, "fma")) lw_fail(w, call, "target %s has no mma atom '%s'", w->target->name, atom->name);
	bool whole = ts_dtype_is_int(c.elem);
	if ((c.elem != TS_F32 && c.elem != TS_F64 && !whole) || a.elem != c.elem || b.elem != c.elem) lw_fail(w, call, "mma fma takes f32, f64 or integer tiles of one type");
	Frag acc = lw_frag(w, type), x = lw_frag(w, type), y = lw_frag(w, type);
	lw_gather(w, call, &a, rows, origin, &x);
	lw_gather(w, call, &b, columns, origin, &y);
	for (int r = 0; r < acc.n; r++)
		acc.v[r] = whole ? LLVMBuildAdd(w->b, LLVMBuildMul(w->b, x.v[r], y.v[r], ""), c.v[r], "") : ts_math_fma(&w->math, x.v[r], y.v[r], c.v[r]);
	return acc;
}

/* ---- pointwise ---- */
/* The word as written: names of pointwise words are the operator table's, which this folder does not see. */
static const char *pointwise_name(const TsTree *call)
{
	int32_t op = ts_tinfo(call)->op;
	return op == TS_TILE_fma || op == TS_TILE_exp2 || op == TS_TILE_tf32 || op >= TS_TILE_POINTWISE ? call->kid[0]->name : NULL;
}

static bool settles_type(const TsTree *x)
{
	const TsTInfo *t = ts_tinfo(x);
	return t && (t->type.form == TS_TT_TILE || t->type.form == TS_TT_SCALAR) && t->type.elem != TS_DTYPE_NONE;
}

/* The element type in which the word computes: that of its operands after the first `from`. */
static TsDtype operand_type(const TsTree *call, uint32_t from, uint32_t n, const TsTType *type)
{
	for (int pass = 0; pass < 2; pass++)
		for (uint32_t i = from; i < n; i++) {
			const TsTree *x = call->kid[1 + i];
			if (settles_type(x) && (pass || ts_tinfo(x)->type.form == TS_TT_TILE)) return ts_tinfo(x)->type.elem;
		}
	return type->elem;
}

static Frag one_element(Lower *w, Val x, TsDtype elem)
{
	Frag f = { .elem = elem, .n = 1, .lanes = 1, .v = TS_NEW(w->arena, Val) };
	f.v[0] = x;
	return f;
}

static Frag one_operand(Lower *w, const TsTree *x, TsDtype elem)
{
	const TsTInfo *t = ts_tinfo(x);
	if (t && t->type.form == TS_TT_TILE) return lw_expr(w, x);
	return one_element(w, lw_operand(w, x, elem), elem);
}

static Frag word_pointwise(Lower *w, const TsTree *call, const char *word, const TsTType *type)
{
	enum { MAX_ARGS = 8 };
	Frag arg[MAX_ARGS], dst = lw_frag(w, type);
	Val x[MAX_ARGS];
	uint32_t n = 0;
	while (1 + n < call->n && call->kid[1 + n]->kind != TS_TREE_KW && call->kid[1 + n]->kind != TS_TREE_DTYPE && n < MAX_ARGS) n++;
	bool choice = !strcmp(word, "where"), cast = !strcmp(word, "cast");
	TsDtype elem = operand_type(call, choice, n, type);
	for (uint32_t i = 0; i < n; i++) arg[i] = one_operand(w, call->kid[1 + i], choice && !i ? TS_BOOL : elem);
	if (w->gpu && cast && lg_cast_pairs(w, &arg[0], &dst)) return dst;
	for (int r = 0; r < dst.n; r++) {
		for (uint32_t i = 0; i < n; i++) x[i] = arg[i].at ? arg[i].v[r] : lw_splat(w, arg[i].v[0], dst.lanes);
		dst.v[r] = cast ? lw_cast(w, call, x[0], arg[0].is_idx ? TS_INT64 : arg[0].elem, type->elem) : lw_word(w, call, word, elem, x, n);
	}
	return dst;
}

Frag lw_tile_word(Lower *w, const TsTree *call, const TsTType *type)
{
	int32_t op = ts_tinfo(call)->op;
	const char *word = pointwise_name(call);
	if (word) return word_pointwise(w, call, word, type);
	switch (op) {
	case TS_TILE_fill: return word_fill(w, call, type);
	case TS_TILE_iota: return word_iota(w, call, type);
	case TS_TILE_bcast: return word_bcast(w, call, type);
	case TS_TILE_slice: return word_slice(w, call, type);
	case TS_TILE_concat: return word_concat(w, call, type);
	case TS_TILE_reduce: return word_reduce(w, call, type);
	case TS_TILE_mma: return word_mma(w, call, type);
	case TS_TILE_load: return w->gpu ? lg_load(w, call, type) : lw_load(w, call, type);
	case TS_TILE_convert: {
		static const int64_t origin[TS_LAY_RANK];
		Frag x = tile_operand(w, call->kid[1]);
		return w->gpu ? lg_convert(w, call, &x, type) : moved(w, call, &x, type, same_axes, origin);
	}
	case TS_TILE_get: return lg_get(w, call, type);
	case TS_TILE_wait_mma: return lg_wait_mma(w, call, type);
	case TS_TILE_producer:
	case TS_TILE_consumer:
	case TS_TILE_next: return lg_position(w, call, type);
	default: lw_fail(w, call, "target %s has no word %s", w->target->name, call->kid[0]->name);
	}
}

/* philox(k0, k1, c0, c1, c2, c3): int32 tiles and scalars, and the low 32 bits of idx */
static void word_philox(Lower *w, const TsTree *call, Frag *out)
{
	enum { WORDS = 6 };
	Frag arg[WORDS];
	for (uint32_t i = 0; i < WORDS; i++) {
		arg[i] = lw_expr(w, call->kid[1 + i]);
		if (arg[i].is_idx) arg[i] = one_element(w, LLVMBuildTrunc(w->b, arg[i].v[0], w->i32, ""), TS_INT32);
	}
	for (int r = 0; r < out[0].n; r++) {
		Val x[WORDS], y[4];
		for (int i = 0; i < WORDS; i++) x[i] = arg[i].at ? arg[i].v[r] : lw_splat(w, arg[i].v[0], out[0].lanes);
		ts_math_philox(&w->math, &x[2], x, y);
		for (int i = 0; i < 4; i++) out[i].v[r] = y[i];
	}
}

/* The same on GPUs, where a grid has fewer than 2^31 points: 32 bits are a tenth of the code of 64, which there is no instruction to divide. */
static void raster_short(Lower *w, Val t, Val ni, Val nj, Val band, Frag *out)
{
	LLVMBuilderRef b = w->b;
	int64_t one;
	Val most = lw_i64(w, INT32_MAX), x = LLVMBuildTrunc(b, t, w->i32, ""), per = LLVMBuildTrunc(b, lw_min(w, lw_mul(w, band, nj), most), w->i32, "");
	Val q = LLVMBuildUDiv(b, x, per, ""), in = LLVMBuildSub(b, x, LLVMBuildMul(b, q, per, ""), "");
	if (lw_is_const(band, &one) && one == 1) { /* row and column */
		out[0].v[0] = LLVMBuildZExt(b, q, w->i64, "");
		out[1].v[0] = LLVMBuildZExt(b, in, w->i64, "");
		return;
	}
	Val first = lw_mul(w, LLVMBuildZExt(b, q, w->i64, ""), band), rows = LLVMBuildTrunc(b, lw_min(w, LLVMBuildSub(b, ni, first, ""), band), w->i32, "");
	Val column = LLVMBuildUDiv(b, in, rows, ""), row = LLVMBuildSub(b, in, LLVMBuildMul(b, column, rows, ""), "");
	out[0].v[0] = lw_add(w, first, LLVMBuildZExt(b, row, w->i64, ""));
	out[1].v[0] = LLVMBuildZExt(b, column, w->i64, "");
}

/* point t of an ni x nj grid walked in bands of `band` rows: down each column of the band, then on to the next column */
static void word_raster(Lower *w, const TsTree *call, Frag *out)
{
	Val t = lw_idx(w, call->kid[1]), ni = lw_idx(w, call->kid[2]), nj = lw_idx(w, call->kid[3]), band = lw_idx(w, call->kid[4]);
	if (w->gpu) {
		raster_short(w, t, ni, nj, band, out);
		return;
	}
	Val per = lw_mul(w, band, nj), first = lw_mul(w, lw_floordiv(w, t, per), band), in = lw_floormod(w, t, per);
	Val rows = lw_min(w, LLVMBuildSub(w->b, ni, first, ""), band);
	out[0].v[0] = lw_add(w, first, lw_floormod(w, in, rows));
	out[1].v[0] = lw_floordiv(w, in, rows);
}

void lw_tile_words(Lower *w, const TsTree *call, Frag *out, uint32_t n)
{
	switch (ts_tinfo(call)->op) {
	case TS_TILE_argreduce: word_argreduce(w, call, out); break;
	case TS_TILE_philox: word_philox(w, call, out); break;
	case TS_TILE_raster: word_raster(w, call, out); break;
	default: lw_fail(w, call, "target %s has no word %s of %u results", w->target->name, call->kid[0]->name, n);
	}
}
