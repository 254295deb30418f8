/* Sums of the simulator: matrix products, reductions over registers, lanes and (through shared memory) warps. */
#include "ir/tile_sim_int.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *room(Sim *s, int64_t n, size_t size)
{
	void *p = calloc((size_t)(n > 0 ? n : 1), size);
	if (!p) ts_bug(s->cx, s->kernel->at, "out of memory");
	return p;
}

/* ---- reductions ---- */
typedef enum { ADD, MAX, MIN } Kind;

static Kind kind_of(const TsTree *call)
{
	const char *op = sim_keyword(call, "op")->name;
	return *op == 'a' ? ADD : op[1] == 'a' ? MAX : MIN;
}

static Cell combine(const Sim *s, Kind kind, TsDtype elem, Cell a, Cell b)
{
	if (!ts_dtype_is_float(elem)) {
		if (kind == ADD) a.i = sim_wrap(elem, (int64_t)((uint64_t)a.i + (uint64_t)b.i));
		else if (kind == MAX ? b.i > a.i : b.i < a.i) a = b;
		return a;
	}
	if (kind == ADD) a.f = sim_round(s, elem, a.f + b.f);
	else if (isnan(b.f) || (!isnan(a.f) && (kind == MAX ? b.f > a.f : b.f < a.f))) a = b;
	return a;
}

/* Sums of what this warp holds, by the coordinate without `axis` (row major; axis -1: one sum). Copies of an element count once; with
 * `lane` >= 0 only that lane's registers. has[k]: a term was found. */
static void warp_sums(Sim *s, Agent *a, const TsTType *t, const TileBuf *x, int axis, int64_t lane, Kind kind, Cell *sum, bool *has)
{
	int64_t n = sim_places(t->layout), registers = ts_layout_axis_size(t->layout, TS_AX_R), size = 1;
	const int32_t *coords = sim_coords(s, a, t->layout);
	for (int i = 0; i < t->rank; i++) size *= t->extent[i];
	int64_t *at = room(s, size, sizeof *at);
	for (int64_t p = 0; p < n; p++) {
		if (lane >= 0 && p / registers != lane) continue;
		int64_t k = 0;
		for (int i = 0; i < t->rank; i++) k = k * t->extent[i] + coords[p * t->rank + i];
		at[k] = p + 1;
	}
	for (int64_t k = 0; k < size; k++) {
		if (!at[k]) continue;
		int64_t left = k, out = 0, weight = 1;
		for (int i = t->rank; i-- > 0;) {
			int64_t c = left % t->extent[i];
			left /= t->extent[i];
			if (i == axis || axis < 0) continue;
			out += c * weight;
			weight *= t->extent[i];
		}
		Cell v = x->c[at[k] - 1];
		sum[out] = has[out] ? combine(s, kind, t->elem, sum[out], v) : v;
		has[out] = true;
	}
	free(at);
}

static int64_t rows_of(const TsTType *t, int axis)
{
	int64_t n = 1;
	for (int i = 0; i < t->rank; i++)
		if (i != axis && axis >= 0) n *= t->extent[i];
	return n;
}

static bool axis_of(Sim *s, Agent *a, const TsTree *call, int *axis)
{
	int64_t v = -1;
	const TsTree *x = sim_keyword(call, "axis");
	if (x && !sim_idx(s, a, x, &v)) return false;
	*axis = (int)v;
	return true;
}

/* The sums as the result's registers. */
static void spread(Sim *s, Agent *a, const TsTType *to, const Cell *sum, Val *out)
{
	if (to->form != TS_TT_TILE) {
		out->s = sum[0];
		return;
	}
	const int32_t *coords = sim_coords(s, a, to->layout);
	out->tile = sim_tile(s, sim_places(to->layout));
	for (int64_t p = 0; p < out->tile->n; p++) {
		int64_t k = 0;
		for (int i = 0; i < to->rank; i++) k = k * to->extent[i] + coords[p * to->rank + i];
		out->tile->c[p] = sum[k];
	}
}

/* part = true: each lane sums its own registers. */
static void parts(Sim *s, Agent *a, const TsTType *t, const TsTType *to, const TileBuf *x, int axis, Kind kind, Val *out)
{
	int64_t registers = ts_layout_axis_size(to->layout, TS_AX_R), lanes = sim_places(to->layout) / registers, rows = rows_of(t, axis);
	const int32_t *coords = sim_coords(s, a, to->layout);
	Cell *sum = room(s, rows, sizeof *sum);
	bool *has = room(s, rows, 1);
	out->tile = sim_tile(s, registers * lanes);
	for (int64_t lane = 0; lane < lanes; lane++) {
		memset(has, 0, (size_t)rows);
		warp_sums(s, a, t, x, axis, lane, kind, sum, has);
		for (int64_t p = lane * registers; p < (lane + 1) * registers; p++) {
			int64_t k = 0;
			for (int i = 0; i < to->rank; i++)
				if (i != axis) k = k * to->extent[i] + coords[p * to->rank + i];
			out->tile->c[p] = sum[k];
		}
	}
	free(sum), free(has);
}

bool sim_reduce(Sim *s, Agent *a, const TsTree *call, const TsTType *to, Val *out)
{
	const TsTType *t = &ts_tinfo(call->kid[1])->type;
	Val x;
	int axis;
	if (!sim_eval(s, a, call->kid[1], &x) || !axis_of(s, a, call, &axis)) return false;
	if (!x.tile) return true;
	if (sim_keyword(call, "part")) parts(s, a, t, to, x.tile, axis, kind_of(call), out);
	else {
		int64_t rows = rows_of(t, axis);
		Cell *sum = room(s, rows, sizeof *sum);
		bool *has = room(s, rows, 1);
		warp_sums(s, a, t, x.tile, axis, -1, kind_of(call), sum, has);
		spread(s, a, to, sum, out);
		free(sum), free(has);
	}
	sim_drop(x);
	return true;
}

static Cell neutral(Kind kind, TsDtype elem)
{
	Cell c = { 0 };
	if (kind == ADD) return c;
	if (ts_dtype_is_float(elem)) c.f = kind == MAX ? -INFINITY : INFINITY;
	else c.i = elem == TS_INT32 ? (kind == MAX ? INT32_MIN : INT32_MAX) : kind == MAX ? INT64_MIN : INT64_MAX;
	return c;
}

/* via: every warp writes its sums into the buffer of every CTA it shares the axis with, they meet, every warp reads all of them in order. */
int sim_exchange(Sim *s, Agent *a, const TsTree *call, const TsTType *to, Val *out)
{
	const TsTType *t = &ts_tinfo(call->kid[1])->type;
	View via;
	int axis;
	if (!axis_of(s, a, call, &axis) || !sim_view(s, a, sim_keyword(call, "via"), &via)) return false;
	int64_t rows = rows_of(t, axis), ctas = ts_layout_axis_size(t->layout, TS_AX_C), all = a->warps * a->times * ctas, c[SIM_RANK], address;
	int64_t me = a->warp + a->warps * (a->instance + a->times * (ctas > 1 ? a->cta : 0));
	Meeting *m = sim_meeting(s, a, ctas > 1 ? "cluster" : a->role ? "role" : "cta");
	Cell *sum = room(s, rows, sizeof *sum);
	bool *has = room(s, rows, 1), ok = true;
	if (!a->arrived) {
		Val x;
		if (!(ok = sim_eval(s, a, call->kid[1], &x))) goto end;
		if (x.tile) warp_sums(s, a, t, x.tile, axis, -1, kind_of(call), sum, has);
		sim_drop(x);
		for (int64_t cta = 0; cta < ctas && ok; cta++) {
			View to_cta = via;
			if (ctas > 1) to_cta.mem = s->shared[cta * s->nids + ts_tinfo(via.mem->decl)->id];
			for (int64_t k = 0; k < rows && ok; k++) {
				int64_t left = me * rows + k;
				for (int i = via.rank; i-- > 0;) c[i] = left % via.extent[i], left /= via.extent[i];
				ok = sim_element(s, call, &to_cta, c, &address, false) && sim_access(s, call, to_cta.mem, address, true, false, sim_now(a), &a->vc, &a->fv);
				if (ok && !s->a->protocol) sim_set(to_cta.mem, address, has[k] ? sum[k] : neutral(kind_of(call), t->elem));
			}
		}
		if (!ok) goto end;
	}
	if (sim_meet(s, a, m) == SIM_BLOCKED) {
		free(sum), free(has);
		return SIM_BLOCKED;
	}
	memset(has, 0, (size_t)rows);
	for (int64_t w = 0; w < all && ok; w++)
		for (int64_t k = 0; k < rows && ok; k++) {
			int64_t left = w * rows + k;
			for (int i = via.rank; i-- > 0;) c[i] = left % via.extent[i], left /= via.extent[i];
			ok = sim_element(s, call, &via, c, &address, false) && sim_access(s, call, via.mem, address, false, false, sim_now(a), &a->vc, &a->fv);
			if (!ok || s->a->protocol) continue;
			Cell v = sim_get(via.mem, address);
			sum[k] = has[k] ? combine(s, kind_of(call), t->elem, sum[k], v) : v;
			has[k] = true;
		}
	if (ok && (to->form != TS_TT_TILE || !s->a->protocol)) spread(s, a, to, sum, out);
end:
	free(sum), free(has);
	return ok;
}

bool sim_argreduce(Sim *s, Agent *a, const TsTree *call, Val *out)
{
	const TsTType *t = &ts_tinfo(call->kid[1])->type;
	Val x, at;
	int axis;
	if (!sim_eval(s, a, call->kid[1], &x) || !sim_eval(s, a, call->kid[2], &at) || !axis_of(s, a, call, &axis)) return false;
	if (!x.tile) return true;
	bool max = kind_of(call) == MAX, fl = ts_dtype_is_float(t->elem);
	int64_t rows = rows_of(t, axis), n = sim_places(t->layout);
	int64_t *best = room(s, rows, sizeof *best);
	const int32_t *coords = sim_coords(s, a, t->layout);
	for (int64_t p = 0; p < n; p++) {
		int64_t k = 0;
		for (int i = 0; i < t->rank; i++)
			if (i != axis) k = k * t->extent[i] + coords[p * t->rank + i];
		const Cell *v = &x.tile->c[p], *b = best[k] ? &x.tile->c[best[k] - 1] : NULL;
		bool nan = fl && isnan(v->f), bnan = b && fl && isnan(b->f);
		bool better = !b || (nan && !bnan) || (!bnan && (fl ? max ? v->f > b->f : v->f < b->f : max ? v->i > b->i : v->i < b->i));
		bool tie = b && !better && (nan ? bnan : fl ? v->f == b->f : v->i == b->i);
		if (better || (tie && at.tile->c[p].i < at.tile->c[best[k] - 1].i)) best[k] = p + 1;
	}
	Cell *v = room(s, rows, sizeof *v), *w = room(s, rows, sizeof *w);
	for (int64_t k = 0; k < rows; k++)
		if (best[k]) v[k] = x.tile->c[best[k] - 1], w[k] = at.tile->c[best[k] - 1];
	TsTType to = { .form = TS_TT_SCALAR, .elem = t->elem };
	TsLayout l;
	if (t->rank > 1) {
		to = *t;
		l = ts_layout_drop(t->layout, axis);
		to.layout = ts_memdup(s->arena, &l, sizeof l);
		to.rank--;
		for (int i = axis; i < to.rank; i++) to.extent[i] = t->extent[i + 1];
	}
	spread(s, a, &to, v, &out[0]);
	spread(s, a, &to, w, &out[1]);
	free(best), free(v), free(w);
	sim_drop(x), sim_drop(at);
	return true;
}

/* ---- products ---- */
/* What the matrix instructions add up: f32 without its low 13 bits (TF32) and 16-bit operands in full; 8-bit ones as Hopper does, 32
 * products and the sum so far cut off 13 bits below the exponent of the largest. */
enum { FP8_K = 32, FP8_BITS = 13 };

static double fp8_sum(const double *x, const double *y, int64_t n, double sum)
{
	double most = fabs(sum), unit;
	for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(x[i] * y[i]));
	if (!(most > 0) || !isfinite(most)) {
		for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
		return sum;
	}
	unit = ldexp(1, ilogb(most) - FP8_BITS);
	double units = trunc(sum / unit);
	for (int64_t i = 0; i < n; i++) units += trunc(x[i] * y[i] / unit);
	return units * unit;
}

static double upper_19_bits(double x)
{
	float f = (float)x;
	uint32_t u;
	memcpy(&u, &f, sizeof u);
	if (isfinite(x)) u &= ~UINT32_C(0x1fff);
	memcpy(&f, &u, sizeof f);
	return f;
}

/* Where the places of a warp lie in the last two axes of the sums, and which of the places. */
typedef struct { const int32_t *coords; int rank; int64_t from, to; } At;
static int64_t at_dim(const At *x, int64_t p, int dim) { return x->coords[x->rank * p + x->rank - 2 + dim]; }

/* c + a b for the places of one warp; a: rows x k, b: k x columns, dense. elem: of a. */
static void multiply(const Sim *s, const TsTType *t, const At *at, const Cell *c, const double *a, const double *b, const int64_t *row, const int64_t *col, int64_t k, TsDtype elem, Cell *out)
{
	bool eight = !s->a->exact && ts_dtype_bits(elem) == 8;
	for (int64_t p = at->from; p < at->to; p++) {
		const double *x = a + row[at_dim(at, p, 0)] * k, *y = b + col[at_dim(at, p, 1)] * k;
		double sum = c ? c[p].f : 0;
		for (int64_t i = 0; i < k && eight; i += FP8_K) sum = fp8_sum(x + i, y + i, k - i < FP8_K ? k - i : FP8_K, sum);
		for (int64_t i = 0; i < k && !eight; i++) sum += x[i] * y[i];
		out[p].f = sim_round(s, t->elem, sum);
	}
}

/* Numbers the rows (columns) that this warp's places have; the count. */
static int64_t number(const At *at, int dim, int64_t extent, int64_t *index)
{
	for (int64_t i = 0; i < extent; i++) index[i] = -1;
	int64_t count = 0;
	for (int64_t p = at->from; p < at->to; p++) index[at_dim(at, p, dim)] = 0;
	for (int64_t i = 0; i < extent; i++)
		if (index[i] == 0) index[i] = count++;
	return count;
}

/* An operand's rows as doubles, k fastest. From registers (all in this warp, or in one lane; k that lies elsewhere counts as 0) or from shared
 * memory. */
static bool gather(Sim *s, Agent *a, const TsTree *x, const Val *v, const View *view, bool k_first, int64_t k, const int64_t *index, int64_t extent, int64_t lane, double *out)
{
	const TsTType *t = &ts_tinfo(x)->type;
	if (!view) {
		const int32_t *coords = sim_coords(s, a, t->layout);
		int64_t n = sim_places(t->layout), each = ts_layout_axis_size(t->layout, TS_AX_R);
		for (int64_t p = lane < 0 ? 0 : lane * each; p < (lane < 0 ? n : lane * each + each); p++) {
			int64_t i = coords[2 * p + k_first], at = coords[2 * p + !k_first];
			if (index[i] >= 0) out[index[i] * k + at] = v->tile->c[p].f;
		}
		return true;
	}
	for (int64_t i = 0; i < extent; i++)
		for (int64_t at = 0; at < k && index[i] >= 0; at++) {
			int64_t c[SIM_RANK] = { k_first ? at : i, k_first ? i : at }, address;
			if (!sim_element(s, x, view, c, &address, false)) return false;
			out[index[i] * k + at] = sim_get(view->mem, address).f;
		}
	return true;
}

/* lane: of the threads of a warp this one alone, or -1: all together */
static bool product(Sim *s, Agent *a, const TsTree *call, const TsTType *t, int64_t lane, const Cell *c, const Val *va, const View *wa, const Val *vb, const View *wb, Cell *out)
{
	int64_t n = sim_places(t->layout), k = ts_tinfo(call->kid[2])->type.extent[1], each = ts_layout_axis_size(t->layout, TS_AX_R);
	const int64_t *extent = t->extent + t->rank - 2;
	At at = { sim_coords(s, a, t->layout), t->rank, lane < 0 ? 0 : lane * each, lane < 0 ? n : lane * each + each };
	int64_t *row = room(s, extent[0], sizeof *row), *col = room(s, extent[1], sizeof *col);
	int64_t rows = number(&at, 0, extent[0], row), cols = number(&at, 1, extent[1], col);
	double *x = room(s, rows * k, sizeof *x), *y = room(s, cols * k, sizeof *y);
	bool ok = gather(s, a, call->kid[2], va, wa, false, k, row, extent[0], lane, x) && gather(s, a, call->kid[3], vb, wb, true, k, col, extent[1], lane, y);
	TsDtype elem = ts_tinfo(call->kid[2])->type.elem;
	for (int64_t i = 0; i < rows * k && elem == TS_F32 && lane < 0 && !s->a->exact; i++) x[i] = upper_19_bits(x[i]);
	for (int64_t i = 0; i < cols * k && elem == TS_F32 && lane < 0 && !s->a->exact; i++) y[i] = upper_19_bits(y[i]);
	if (ok) multiply(s, t, &at, c, x, y, row, col, k, elem, out);
	free(row), free(col), free(x), free(y);
	return ok;
}

/* The column-times-row form of one worker. */
static void outer(Sim *s, Agent *a, const TsTree *call, const TsTType *t, const Val v[3], Cell *out)
{
	int64_t n = sim_places(t->layout);
	const int32_t *coords = sim_coords(s, a, t->layout);
	double *side[2];
	int64_t *iside[2];
	for (int i = 0; i < 2; i++) {
		const TsTType *ts = &ts_tinfo(call->kid[2 + i])->type;
		const int32_t *c = sim_coords(s, a, ts->layout);
		side[i] = room(s, t->extent[i], sizeof(double));
		iside[i] = room(s, t->extent[i], sizeof(int64_t));
		for (int64_t p = 0; p < sim_places(ts->layout); p++) side[i][c[p]] = v[1 + i].tile->c[p].f, iside[i][c[p]] = v[1 + i].tile->c[p].i;
	}
	bool fl = ts_dtype_is_float(t->elem);
	for (int64_t p = 0; p < n; p++) {
		int64_t m = coords[2 * p], k = coords[2 * p + 1];
		if (fl) out[p].f = sim_round(s, t->elem, fma(side[0][m], side[1][k], v[0].tile->c[p].f));
		else out[p].i = sim_wrap(t->elem, (int64_t)((uint64_t)iside[0][m] * (uint64_t)iside[1][k] + (uint64_t)v[0].tile->c[p].i));
	}
	for (int i = 0; i < 2; i++) free(side[i]), free(iside[i]);
}

static bool start_wgmma(Sim *s, Agent *a, const TsTree *call, const TsTType *t, Val *out)
{
	Flight *f = TS_NEW(s->cell_arena, Flight);
	const TsTree *zero = sim_keyword(call, "zero_if");
	int64_t z = 0;
	f->call = call;
	f->type = t;
	f->a_shared = ts_tinfo(call->kid[2])->type.form == TS_TT_MEM;
	if (zero && !sim_idx(s, a, zero, &z)) return false;
	f->zero = z != 0;
	if (!sim_eval(s, a, call->kid[1], &f->c)) return false;
	if (f->a_shared ? !sim_view(s, a, call->kid[2], &f->va) : !sim_eval(s, a, call->kid[2], &f->a)) return false;
	if (!sim_view(s, a, call->kid[3], &f->vb)) return false;
	f->engine = sim_engine(s, a, ENGINE_MMA, call);
	f->engine->flight = f;
	out->flight = f;
	return true;
}

/* This warp's rows of the left operand and all of the right one are read when the engine gets there. */
bool sim_mma_run(Sim *s, Agent *a, Flight *f, const Engine *e)
{
	Epoch who = { e->id, 1 };
	const TsTType *t = f->type;
	int64_t n = sim_places(t->layout), lo = t->extent[0], hi = 0;
	const int32_t *coords = sim_coords(s, a, t->layout);
	for (int64_t p = 0; p < n; p++) {
		if (coords[2 * p] < lo) lo = coords[2 * p];
		if (coords[2 * p] > hi) hi = coords[2 * p];
	}
	if (f->a_shared) {
		View rows = f->va;
		int under = rows.transposed ? 1 : 0;
		for (int i = 0; i < rows.mem->rank; i++)
			if (rows.d[i].axis == under) rows.d[i].start += lo * rows.d[i].step;
		rows.extent[0] = hi - lo + 1;
		if (!sim_touch(s, e->at, &rows, false, true, who, &e->vc, &e->fv)) return false;
	}
	if (!sim_touch(s, e->at, &f->vb, false, true, who, &e->vc, &e->fv)) return false;
	bool ok = true;
	if (!s->a->protocol) {
		const TileBuf *c = f->zero ? NULL : f->c.flight ? f->c.flight->out : f->c.tile;
		f->out = sim_tile(s, n);
		ok = product(s, a, f->call, t, -1, c ? c->c : NULL, &f->a, f->a_shared ? &f->va : NULL, NULL, &f->vb, f->out->c);
	}
	sim_drop(f->c), sim_drop(f->a);
	return ok;
}

int sim_mma(Sim *s, Agent *a, const TsTree *call, const TsTree *bind, Val *out)
{
	const TsTType *t = bind ? &ts_tinfo(bind)->type : &ts_tinfo(call)->type;
	const TsTree *atom = sim_keyword(call, "atom");
	Val v[3];
	if (atom && !strcmp(atom->name, "wgmma")) return start_wgmma(s, a, call, t, out);
	for (int i = 0; i < 3; i++)
		if (!sim_eval(s, a, call->kid[1 + i], &v[i])) return false;
	bool ok = true;
	if (!s->a->protocol) {
		out->tile = sim_tile(s, sim_places(t->layout));
		bool fma = !atom || !strcmp(atom->name, "fma");
		int64_t lanes = fma ? ts_layout_axis_size(t->layout, TS_AX_L) : 1;
		if (fma && t->rank == 2) outer(s, a, call, t, v, out->tile->c);
		else for (int64_t l = 0; l < lanes && ok; l++) ok = product(s, a, call, t, fma ? l : -1, v[0].tile->c, &v[1], NULL, &v[2], NULL, out->tile->c);
	}
	for (int i = 0; i < 3; i++) sim_drop(v[i]);
	return ok;
}
