/* Which kernels there are for rows: forms by a row's length, with wide accesses and without; and sums of few long rows, whose spans are summed
 * by CTAs of their own and then put together, in order. */
#include "middle/tiler/gpu_row.h"
#include "ir/tile.h"
#include <string.h>

enum { LONG = 4096 /* a tile of rows that are walked */, SHORT = 1024, HELD = 65536 /* bytes of a row in a CTA's shared memory */, FARTHEST = 262144,
	SPAN = 16384, SPAN_ACROSS = 1024 /* of a row along memory, across it */, FEW = 1024 /* cells that leave a GPU idle */, FEW_COLUMNS = 8, MANY = 512,
	LEAST = 16 /* rows of columns: a place for each warp and for the lanes that wide columns leave */ };

static bool runs_along(TsTl *t, const TsRegion *r, uint32_t dim)
{
	for (uint32_t i = 1; i < r->nodes.n; i++)
		if (r->nodes.p[i].kind == TS_R_LOAD && r->nodes.p[i].coef[dim] == ts_dim_const(t->d, 1)) return true;
	return false;
}

/* How a row of up to `cols` elements is held in registers; its reduced axis stays within warps for argmax. */
static TsRowForm shape(TsRow *w, int cols)
{
	bool arg = w->j->n->op == TS_OP_argmax;
	const TsGpuTuned *g = &w->j->t->gpu->entry[TS_GT_ROW];
	int each = TS_LANES * g->elements;
	TsRowForm v = { .cols = cols, .rows = 1, .warps = g->warps, .ctas = 1, .label = "rows in registers" };
	int64_t kept;
	if (arg || cols <= each) { /* a warp, or part of one, for each row: no exchange between warps */
		v.rows = v.warps * each / 2 / cols;
		if (v.rows < v.warps) v.rows = v.warps;
		if (ts_dim_is_const(w->j->t->d, w->j->r.size[w->kd], &kept))
			while (v.rows > v.warps && v.rows / 2 >= kept) v.rows /= 2;
		return v;
	}
	while (v.warps < TS_ROW_WARPS && v.warps * each < cols) v.warps *= 2;
	return v;
}

/* Longer rows, tile by tile in global memory. */
static TsRowForm walked(TsRow *w)
{
	bool arg = w->j->n->op == TS_OP_argmax;
	TsRowForm v = shape(w, arg ? SHORT : LONG);
	v.loop = true;
	v.label = "long rows";
	if (!arg) v.warps = TS_ROW_WARPS / 2;
	return v;
}

/* Rows in the shared memory of `ctas` CTAs, `bytes` in each. Where threads meet twice for a row, fewer of them do more each. */
static TsRowForm held(TsRow *w, int ctas, int bytes)
{
	int cols = ctas * LONG;
	return (TsRowForm){ .cols = cols, .rows = 1, .warps = w->j->n->op == TS_OP_rms_norm ? TS_ROW_WARPS : TS_ROW_WARPS / 2, .ctas = ctas, .loop = true, .held = bytes / (LONG * ts_elem_bytes(ts_row_kept_type(w))), .label = ctas > 1 ? "rows in clusters" : "rows in shared memory" };
}

typedef struct { TsRowForm v; int64_t longest; } Form;
enum { FORMS = 12 };

/* Has a thread of the largest CTA registers for its part of so long a row, and for what the region makes of it? */
static bool fits(TsRow *w, int cols)
{
	enum { REGISTERS = 65536 };
	const TsRegion *r = &w->j->r;
	TsNeeds n = ts_region_needs(w->j->t, r, w->j->value, w->rd, w->rd);
	int threads = TS_ROW_WARPS * TS_LANES;
	return n.values * (cols / threads) * ts_elem_bytes(w->j->row.ct) / 4 + n.fixed <= REGISTERS / threads;
}

/* All forms that hold a row, shortest rows first; few: what pays without wide accesses. */
static int forms(TsRow *w, bool few, Form *f)
{
	TsTl *t = w->j->t;
	const TsGpuTuned *g = &t->gpu->entry[TS_GT_ROW];
	bool arg = w->j->n->op == TS_OP_argmax, centred = w->j->n->op == TS_OP_layer_norm && !few && w->j->r.niter - w->j->row.split == 1;
	int each = TS_LANES * g->elements, n = 0, most = arg ? SHORT : centred || (!ts_row_is_bare(w) && (few || !fits(w, g->longest))) ? g->longest / 2 : g->longest; /* what many threads need registers for */
	const struct { int cols; bool few; } step[] = { { each / 4, false }, { each / 2, false }, { each, true }, { 2 * each, false }, { 4 * each, true }, { 8 * each, true }, { g->longest, true } };
	for (int i = 0; i < 7; i++)
		if (step[i].few >= few && (!i || step[i].cols > step[i - 1].cols) && step[i].cols <= most) f[n++] = (Form){ shape(w, step[i].cols), step[i].cols };
	if (arg || !ts_row_is_norm(w) || w->j->r.niter - w->j->row.split != 1) return n;
	/* LayerNorm meets twice and reads twice more: half a row's registers and half the shared memory leave room for more rows at a time. */
	for (int ctas = 1, bytes = centred ? HELD / 2 : HELD;;) {
		TsRowForm v = held(w, ctas, bytes);
		int64_t most = (int64_t)v.held * v.cols;
		bool last = ctas == g->cluster;
		if (most > f[n - 1].longest && (!few || ctas == 2 || last)) f[n++] = (Form){ v, most };
		if (most >= FARTHEST || bytes > HELD || (few && last)) return n;
		if (bytes < HELD) bytes *= 2;
		else if (!last) ctas *= 2;
		else if (2 * bytes + 4096 <= ts_tile_target(t->target->tile)->shared_bytes) bytes *= 2;
		else return n;
	}
}

static void add(TsRow *w, TsRowForm v, bool wide, TsDim guard)
{
	v.wide = wide;
	v.guard = guard;
	w->v[w->n++] = v;
}

/* Where accesses are wide, then for all sizes. */
static void choose_along(TsRow *w)
{
	TsTl *t = w->j->t;
	TsDim size = w->j->r.size[w->rd], mods = ts_wide_guard(t, &w->wide);
	int64_t n, lo, hi;
	Form f[FORMS];
	bool is_const = ts_dim_is_const(t->d, size, &n);
	ts_dim_range(t->d, size, &lo, &hi);
	for (int wide = w->wide.vec > 1; wide >= 0; wide--) {
		int count = forms(w, !wide, f), i = 0;
		TsDim guard = wide ? mods : 0, over = 0;
		while (i < count && f[i].longest < lo) i++;
		if (is_const) {
			TsRowForm v = i == count ? walked(w) : f[i].v.held ? f[i].v : shape(w, ts_pow2(n));
			if (v.held) v.held = ts_pow2((n + v.cols - 1) / v.cols);
			add(w, v, wide, guard);
		}
		for (; i < count && !is_const; i++) {
			over = ts_over(t, size, (int)f[i].longest);
			add(w, f[i].v, wide, ts_dim_add(t->d, guard, over));
			if (!over) break;
		}
		if (!is_const && i == count) add(w, walked(w), wide, guard);
		if (!guard) return;
	}
}

/* Lanes along the kept dim; the warps share the reduced one. Few columns: more of the reduced dim at once. */
static void choose_across(TsRow *w)
{
	TsTl *t = w->j->t;
	int64_t n, lo, hi;
	bool arg = w->j->n->op == TS_OP_argmax;
	TsRowForm v = { .rows = arg ? 128 : 64, .cols = arg ? 16 : 64, .warps = arg ? 4 : 8, .ctas = 1, .label = "columns" };
	TsDim columns = w->j->r.size[w->kd];
	bool is_const = ts_dim_is_const(t->d, w->j->r.size[w->rd], &n);
	if (w->wide.vec > (arg ? 2 : 4)) w->wide.vec = arg ? 2 : 4;
	TsDim guard = ts_wide_guard(t, &w->wide), over = ts_over(t, columns, FEW_COLUMNS);
	v.loop = !is_const || n > v.cols;
	if (!v.loop) v.cols = arg ? ts_pow2(n) : n <= LEAST ? LEAST : ts_pow2(n);
	ts_dim_range(t->d, columns, &lo, &hi);
	if (!arg && v.loop && lo <= FEW_COLUMNS && (!is_const || n >= MANY)) {
		TsRowForm few = v;
		few.rows = FEW_COLUMNS;
		few.cols = MANY;
		few.label = "few columns";
		add(w, few, false, over);
		if (!over) return;
	}
	if (w->wide.vec > 1) {
		TsRowForm wide = v;
		if (arg) wide.rows *= w->wide.vec; /* so that the warps find room beside the lanes */
		add(w, wide, true, guard);
	}
	if (w->wide.vec == 1 || guard) add(w, v, false, 0);
}

/* ---- few long rows ---- */

/* The region with one more dim in front, which nothing moves along, or with other sizes. */
static void copy_region(TsTl *t, const TsRegion *from, uint32_t shift, TsRegion *to)
{
	*to = *from;
	memset(&to->nodes, 0, sizeof to->nodes);
	for (uint32_t i = 0; i < from->nodes.n; i++) {
		TsRNode n = from->nodes.p[i];
		if (shift) {
			memmove(n.coef + 1, n.coef, (TS_MAX_ITER - 1) * sizeof *n.coef);
			n.coef[0] = 0;
		}
		ts_push(t->a, &to->nodes, n);
	}
	if (!shift) return;
	memmove(to->size + 1, to->size, (TS_MAX_ITER - 1) * sizeof *to->size);
	to->niter++;
}

/* Sums of spans lie as [kept…, span]. */
static TsRNode span_sums(TsRow *w, uint32_t buf, TsDim spans, uint32_t shift)
{
	TsTl *t = w->j->t;
	TsRNode n = { .kind = TS_R_LOAD, .elem = w->j->row.ct, .buf = buf };
	TsDim stride = spans;
	for (uint32_t i = w->j->row.split; i-- > 0;) {
		n.coef[i + shift] = stride;
		stride = ts_dim_mul(t->d, stride, w->j->r.size[i]);
	}
	n.coef[shift ? 0 : w->j->row.split] = ts_dim_const(t->d, 1);
	return n;
}

/* max(least - d, 0) */
static TsDim under(TsTl *t, TsDim d, int64_t least) { return ts_over(t, ts_dim_sub(t->d, ts_dim_const(t->d, least), d), 0); }

/* Sums each span of the rows and makes `parts` the variant that puts them together; what that takes to be chosen: 0: always. false: not here. */
static bool sum_spans(TsRow *w, TsRow *parts, TsJob *merge, TsDim *must)
{
	TsJob *j = w->j;
	TsTl *t = j->t;
	int64_t n, span = w->along ? SPAN : SPAN_ACROSS;
	if (ts_row_is_norm(w) || j->n->op == TS_OP_argmax || j->r.niter - j->row.split != 1 || j->r.niter == TS_MAX_ITER || ts_batch_invariant(j)) return false;
	TsDim one = ts_dim_const(t->d, 1), size = j->r.size[w->rd], cells = one, rows = one, spans = ts_dim_cdiv(t->d, size, ts_dim_const(t->d, span));
	for (uint32_t i = 0; i < j->row.split; i++) {
		rows = ts_dim_mul(t->d, rows, j->r.size[i]);
		cells = ts_grid_cells(t, cells, j->r.size[i], !w->along && i == w->kd ? 64 : 1);
	}
	*must = ts_dim_add(t->d, ts_over(t, cells, FEW), under(t, size, 4 * span));
	if (*must && (ts_dim_is_const(t->d, *must, &n) || ts_dim_le(t->d, one, *must) == TS_YES)) return false; /* never */
	if (*must) spans = ts_dim_mul(t->d, spans, ts_dim_sub(t->d, one, ts_dim_min(t->d, *must, one))); /* none where they are not asked for */
	uint32_t buf = ts_new_buf(t, TS_BUF_WORK, j->row.ct, ts_dim_mul(t->d, rows, spans));

	TsJob *sums = TS_NEW(t->a, TsJob);
	*sums = *j;
	copy_region(t, &j->r, 1, &sums->r);
	sums->r.size[0] = spans;
	sums->root = 0;
	sums->row.split++;
	TsRNode anchor = { .kind = TS_R_ANCHOR, .elem = j->row.ct };
	ts_push(t->a, &sums->r.nodes, anchor);
	sums->value = sums->r.nodes.n - 1;
	ts_push(t->a, &sums->r.nodes, span_sums(w, buf, spans, 1));
	sums->leaf = sums->r.nodes.n - 1;
	TsRow s = { .j = sums, .kd = w->kd + 1, .rd = w->rd + 1, .along = w->along, .wide = w->wide, .part = true, .span = (int)span };
	if (w->along) {
		TsDim guard = ts_wide_guard(t, &s.wide);
		if (s.wide.vec > 1) add(&s, walked(&s), true, guard);
		if (s.wide.vec == 1 || guard) add(&s, walked(&s), false, 0);
	} else {
		choose_across(&s);
		for (int i = 0; i < s.n; i++) s.v[i].loop = true;
	}
	ts_gpu_emit(sums, &(TsVariants){ .name = "span_sums", .write = ts_row_write, .user = &s, .n = s.n });

	*merge = *j;
	copy_region(t, &j->r, 0, &merge->r);
	merge->r.size[j->row.split] = spans;
	ts_push(t->a, &merge->r.nodes, span_sums(w, buf, spans, 0));
	merge->row.x = merge->r.nodes.n - 1;
	*parts = (TsRow){ .j = merge, .kd = w->kd, .rd = w->rd, .along = true, .wide = { .vec = 1 }, .count = size };
	add(parts, walked(parts), false, *must);
	return true;
}

void ts_gpu_row(TsJob *j)
{
	TsTl *t = j->t;
	TsRow w = { .j = j, .kd = j->row.split - 1, .rd = j->r.niter - 1 }, parts;
	TsJob merge;
	TsDim must = 0;
	if (!j->r.nodes.p[j->leaf].coef[w.kd]) j->r.nodes.p[j->leaf].coef[w.kd] = ts_dim_const(t->d, 1); /* a single kept element is a tile too */
	w.along = runs_along(t, &j->r, w.rd) || !runs_along(t, &j->r, w.kd);
	uint32_t fast = w.along ? w.rd : w.kd;
	w.wide.vec = ts_wide_vec(t, &j->r, fast);
	ts_wide_region(t, &w.wide, &j->r, fast);
	if (sum_spans(&w, &parts, &merge, &must)) w.parts = &parts;
	if (!w.parts || must) {
		if (w.along) choose_along(&w);
		else choose_across(&w);
	}
	ts_gpu_emit(j, &(TsVariants){ .name = j->name, .write = ts_row_write, .user = &w, .n = w.n + (w.parts ? parts.n : 0) });
}
