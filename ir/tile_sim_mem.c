/* Memory of the simulator: views, bounds, who read and wrote which bytes, loads and stores. */
#include "ir/tile_sim_int.h"
#include <string.h>

/* ---- elements ---- */
Cell sim_get(const Memory *m, int64_t address)
{
	Cell c;
	int64_t i = m->space == TS_SP_GLOBAL ? address : address / m->elem_bytes;
	if (ts_dtype_is_float(m->elem)) c.f = ts_elem_get(m->elem, m->data, i);
	else c.i = ts_elem_get_int(m->elem, m->data, i);
	return c;
}

void sim_set(Memory *m, int64_t address, Cell c)
{
	int64_t i = m->space == TS_SP_GLOBAL ? address : address / m->elem_bytes;
	if (ts_dtype_is_float(m->elem)) ts_elem_set(m->elem, m->data, i, c.f);
	else ts_elem_set_int(m->elem, m->data, i, c.i);
}

/* ---- views ---- */
static Memory *find_memory(Sim *s, const Agent *a, const TsTree *decl)
{
	int32_t id = ts_tinfo(decl)->id;
	if (decl->kind == TS_TREE_PARAM) return &s->params[ts_tinfo(decl)->value];
	return s->shared[(int64_t)a->cta * s->nids + id];
}

static bool view_dim(Sim *s, Agent *a, const TsTree *at, ViewDim *d, View *out)
{
	const TsTInfo *info = ts_tinfo(at);
	*d = (ViewDim){ .axis = -1, .step = 1, .len = 1 };
	if (at->kind == TS_TREE_RANGE) {
		d->len = info->value;
		d->axis = out->rank;
		out->extent[out->rank++] = d->len;
		if (!at->kid[0]) return true;
		if (at->kid[2] && !sim_idx(s, a, at->kid[2], &d->step)) return false;
		return sim_idx(s, a, at->kid[0], &d->start);
	}
	if (info->type.form != TS_TT_TILE) return sim_idx(s, a, at, &d->start);
	Val v;
	if (!sim_eval(s, a, at, &v)) return false;
	if (!v.tile) return sim_fail(s, at, "E_SIM_WORD", "addresses that come from data need a run with values");
	d->tile = v.tile;
	d->coords = sim_coords(s, a, info->type.layout);
	d->trank = info->type.rank;
	d->axis = out->rank;
	for (int i = 0; i < d->trank; i++) out->extent[out->rank++] = info->type.extent[i];
	if (at->kind == TS_TREE_NAME) sim_drop(v); /* the name holds it as long as the view lives; another value stays until the end */
	return true;
}

bool sim_view(Sim *s, Agent *a, const TsTree *x, View *out)
{
	if (x->kind == TS_TREE_FIELD && !strcmp(x->name, "T")) {
		if (!sim_view(s, a, x->kid[0], out)) return false;
		out->transposed = !out->transposed;
		int64_t e = out->extent[0];
		out->extent[0] = out->extent[1];
		out->extent[1] = e;
		return true;
	}
	const TsTree *of = x->kind == TS_TREE_INDEX ? x->kid[0] : x;
	bool flip = of->kind == TS_TREE_FIELD && !strcmp(of->name, "T");
	*out = (View){ 0 };
	if (flip) return sim_fail(s, x, "E_SIM_WORD", "transpose a view after indexing it");
	const TsTree *decl = ts_tinfo(of)->decl;
	out->mem = find_memory(s, a, decl);
	if (of->kind == TS_TREE_FIELD) { /* R[p].a: the slot of this position */
		int64_t p;
		if (!sim_idx(s, a, of->kid[0]->kid[1], &p)) return false;
		const TsTree *ring = ts_tinfo(of->kid[0])->type.decl;
		out->base = p % ts_tinfo(ring)->value * (out->mem->bytes / ts_tinfo(ring)->value);
	}
	for (int i = 0; i < out->mem->rank; i++) {
		ViewDim *d = &out->d[i];
		if (x->kind == TS_TREE_INDEX) {
			if (!view_dim(s, a, x->kid[1 + i], d, out)) return false;
			continue;
		}
		*d = (ViewDim){ .axis = i, .step = 1, .len = out->mem->dim[i] };
		out->extent[out->rank++] = d->len;
	}
	return true;
}

/* The index that a tile of integers holds at part of `coord`: any place of this warp with these coordinates. */
static int64_t gathered(const ViewDim *d, const int64_t *coord)
{
	for (int64_t p = 0; p < d->tile->n; p++) {
		bool same = true;
		for (int i = 0; i < d->trank && same; i++) same = d->coords[p * d->trank + i] == coord[d->axis + i];
		if (same) return d->tile->c[p].i;
	}
	return -1;
}

bool sim_element(Sim *s, const TsTree *at, const View *v, const int64_t *coord, int64_t *address, bool clip)
{
	int64_t c[SIM_RANK] = { 0 }, k[SIM_RANK];
	const Memory *m = v->mem;
	memcpy(k, coord, sizeof k);
	if (v->transposed) k[0] = coord[1], k[1] = coord[0];
	*address = -1;
	for (int i = 0; i < m->rank; i++) {
		const ViewDim *d = &v->d[i];
		int64_t off = 0;
		bool far = !d->tile && ((d->axis >= 0 && __builtin_mul_overflow(k[d->axis], d->step, &off)) || __builtin_add_overflow(d->start, off, &off));
		c[i] = d->tile ? gathered(d, k) : far ? -1 : off;
		if (c[i] >= 0 && c[i] < m->dim[i]) continue;
		if (clip && m->space == TS_SP_GLOBAL) return true;
		return sim_fail(s, at, "E_SIM_BOUNDS", "index %lld of axis %d of '%s', which has %lld", (long long)c[i], i, m->decl->name, (long long)m->dim[i]);
	}
	if (m->space == TS_SP_SHARED) {
		*address = v->base + (m->rank ? ts_layout_offset(m->layout, c, m->elem_bytes) : 0);
		return true;
	}
	*address = 0;
	for (int i = 0; i < m->rank; i++) {
		int64_t off;
		if (__builtin_mul_overflow(c[i], m->stride[i], &off) || __builtin_add_overflow(*address, off, address)) *address = INT64_MAX;
		if (*address == INT64_MAX) break;
	}
	if (*address >= 0 && *address < m->count) return true;
	return sim_fail(s, at, "E_SIM_BOUNDS", "element %lld of '%s', which has %lld in memory", (long long)*address, m->decl->name, (long long)m->count);
}

/* ---- who touched what ---- */
bool sim_global(Sim *s, const TsTree *at, Memory *m, int64_t element, bool write)
{
	uint32_t *w = &m->writer[element];
	if (*w && *w != s->cell + 1)
		return sim_fail(s, at, "E_SIM_OVERLAP", "element %lld of '%s' is %s here and was written by another cell", (long long)element, m->decl->name, write ? "written" : "read");
	if (write) *w = s->cell + 1;
	return true;
}

bool sim_access(Sim *s, const TsTree *at, Memory *m, int64_t address, bool write, bool async, Epoch who, const Clock *vc, const Clock *fv)
{
	Memory *root = m->root ? m->root : m;
	Granule *g = &root->granules[address / root->granule];
	const char *name = m->decl->name;
	if (g->written) {
		if (!sim_before(g->write, vc)) return sim_fail(s, at, "E_SIM_RACE", "%s '%s' at byte %lld while a write may still come", write ? "writes" : "reads", name, (long long)address);
		if (async && !g->async && !sim_before(g->write, fv)) return sim_fail(s, at, "E_SIM_FENCE", "%s '%s' at byte %lld asynchronously, written by put without fence_async() after it", write ? "writes" : "reads", name, (long long)address);
	} else if (!write) {
		return sim_fail(s, at, "E_SIM_POISON", "reads '%s' at byte %lld, which nobody wrote", name, (long long)address);
	}
	uint32_t kept = 0;
	for (uint32_t i = 0; i < g->n; i++) {
		bool before = sim_before(g->readers[i], vc);
		if (write && !before) return sim_fail(s, at, "E_SIM_RACE", "writes '%s' at byte %lld while it may still be read", name, (long long)address);
		if (!before) g->readers[kept++] = g->readers[i]; /* what is ordered before this reader is ordered before who waits for it */
	}
	g->n = kept;
	if (write) {
		g->n = 0;
		g->written = true;
		g->write = who;
		g->async = async;
		return true;
	}
	if (g->n == g->cap) {
		uint32_t cap = g->cap ? 2 * g->cap : 4;
		Epoch *more = TS_NEW_N(s->cell_arena, Epoch, cap);
		if (g->n) memcpy(more, g->readers, g->n * sizeof *more);
		g->readers = more;
		g->cap = cap;
	}
	g->readers[g->n++] = who;
	return true;
}

bool sim_touch(Sim *s, const TsTree *at, const View *v, bool write, bool async, Epoch who, const Clock *vc, const Clock *fv)
{
	const Memory *m = v->mem;
	int64_t step[SIM_RANK] = { 1, 1, 1, 1 }, count[SIM_RANK], n = 1, c[SIM_RANK] = { 0 }, per = (m->root ? m->root : m)->granule / m->elem_bytes;
	for (int i = 0; i < v->rank; i++) {
		int dim = m->layout->n && m->layout->d[0].stride == 1 ? m->layout->d[0].dim : -1;
		const ViewDim *d = dim >= 0 && dim < SIM_RANK ? &v->d[dim] : NULL;
		int axis = v->transposed && v->rank == 2 ? 1 - i : i;
		if (d && d->axis == axis && d->step == 1 && per > 1 && m->layout->d[0].extent % per == 0 && d->start % per == 0 && v->extent[i] % per == 0) step[i] = per;
		count[i] = v->extent[i] / step[i];
		n *= count[i];
	}
	for (int64_t k = 0; k < n; k++) {
		int64_t left = k, address;
		for (int i = v->rank; i-- > 0;) c[i] = left % count[i] * step[i], left /= count[i];
		if (!sim_element(s, at, v, c, &address, false) || !sim_access(s, at, v->mem, address, write, async, who, vc, fv)) return false;
	}
	return true;
}

/* ---- loads and stores of one warp ---- */
typedef struct { int64_t from[SIM_RANK], to[SIM_RANK]; } Limits; /* of what exists, along each axis */

static bool limit(Sim *s, Agent *a, const TsTree *call, const char *name, int64_t none, int64_t out[SIM_RANK])
{
	const TsTree *x = sim_keyword(call, name);
	for (int i = 0; i < SIM_RANK; i++) out[i] = none;
	if (!x) return true;
	if (x->kind != TS_TREE_LIST) return sim_idx(s, a, x, &out[0]);
	for (uint32_t i = 0; i < x->n; i++)
		if (!sim_idx(s, a, x->kid[i], &out[i])) return false;
	return true;
}

static bool limits(Sim *s, Agent *a, const TsTree *call, Limits *l) { return limit(s, a, call, "valid", INT64_MAX, l->to) && limit(s, a, call, "from", 0, l->from); }

static bool touch_one(Sim *s, Agent *a, const TsTree *at, const View *v, int64_t address, bool write)
{
	if (v->mem->space == TS_SP_GLOBAL) return sim_global(s, at, v->mem, address, write);
	return sim_access(s, at, v->mem, address, write, false, sim_now(a), &a->vc, &a->fv);
}

static bool inside(const int64_t *c, const Limits *l, int rank)
{
	for (int i = 0; i < rank; i++)
		if (c[i] >= l->to[i] || c[i] < l->from[i]) return false;
	return true;
}

static Cell pad_cell(TsDtype elem, const TsTree *x, Val v)
{
	Cell c = { 0 };
	if (!x) return c;
	if (!ts_dtype_is_float(elem)) return v.s;
	c.f = ts_tinfo(x)->type.form == TS_TT_IDX ? (double)v.s.i : v.s.f;
	return c;
}

bool sim_load(Sim *s, Agent *a, const TsTree *call, const TsTType *to, Val *out)
{
	View v;
	Limits exist;
	int64_t address, zero[SIM_RANK] = { 0 };
	Val pad = { 0 };
	const TsTree *px = sim_keyword(call, "pad"), *cta = sim_keyword(call, "cta");
	int64_t other;
	*out = (Val){ 0 };
	if (!sim_view(s, a, call->kid[1], &v) || (cta && !sim_idx(s, a, cta, &other))) return false;
	if (cta && (other < 0 || other >= s->ctas)) return sim_fail(s, cta, "E_SIM_BOUNDS", "the cluster has %d CTAs", s->ctas);
	if (cta) v.mem = s->shared[other * s->nids + ts_tinfo(v.mem->decl)->id];
	if (!limits(s, a, call, &exist) || (px && !sim_eval(s, a, px, &pad))) return false;
	if (v.rank == 0) {
		if (!sim_element(s, call, &v, zero, &address, false) || !touch_one(s, a, call, &v, address, false)) return false;
		out->s = sim_get(v.mem, address);
		return true;
	}
	int64_t n = sim_places(to->layout);
	const int32_t *coords = sim_coords(s, a, to->layout);
	if (!s->a->protocol) out->tile = sim_tile(s, n);
	for (int64_t p = 0; p < n; p++) {
		int64_t c[SIM_RANK] = { 0 };
		for (int i = 0; i < v.rank; i++) c[i] = coords[p * v.rank + i];
		bool in = inside(c, &exist, v.rank);
		if (in && (!sim_element(s, call, &v, c, &address, false) || !touch_one(s, a, call, &v, address, false))) return false;
		if (out->tile) out->tile->c[p] = in ? sim_get(v.mem, address) : pad_cell(to->elem, px, pad);
	}
	return true;
}

bool sim_store(Sim *s, Agent *a, const TsTree *call)
{
	View v;
	Val x;
	Limits exist;
	int64_t address, zero[SIM_RANK] = { 0 };
	const TsTree *value = call->kid[2];
	if (!sim_view(s, a, call->kid[1], &v) || !limits(s, a, call, &exist) || !sim_eval(s, a, value, &x)) return false;
	if (v.rank == 0) {
		if (!sim_element(s, call, &v, zero, &address, false) || !touch_one(s, a, call, &v, address, true)) return false;
		if (!s->a->protocol) sim_set(v.mem, address, pad_cell(v.mem->elem, value, x));
		return true;
	}
	const TsLayout *l = ts_tinfo(value)->type.layout;
	int64_t n = sim_places(l);
	const int32_t *coords = sim_coords(s, a, l);
	bool ok = true;
	for (int64_t p = 0; p < n && ok; p++) {
		int64_t c[SIM_RANK] = { 0 };
		for (int i = 0; i < v.rank; i++) c[i] = coords[p * v.rank + i];
		if (!inside(c, &exist, v.rank)) continue;
		ok = sim_element(s, call, &v, c, &address, false) && touch_one(s, a, call, &v, address, true);
		if (ok && x.tile) sim_set(v.mem, address, x.tile->c[p]);
	}
	sim_drop(x);
	return ok;
}

bool sim_pack(Sim *s, Agent *a, const TsTree *call)
{
	View to, from;
	Val pad = { 0 };
	Limits exist;
	const TsTree *px = sim_keyword(call, "pad");
	if (!sim_view(s, a, call->kid[1], &to) || !sim_view(s, a, call->kid[2], &from) || !limits(s, a, call, &exist) || (px && !sim_eval(s, a, px, &pad))) return false;
	for (int64_t i = 0; i < from.extent[0]; i++)
		for (int64_t k = 0; k < from.extent[1]; k++) {
			int64_t c[SIM_RANK] = { i, k }, t[SIM_RANK] = { k, i }, src = -1, dst;
			bool in = inside(c, &exist, 2);
			if (in && (!sim_element(s, call, &from, c, &src, false) || !touch_one(s, a, call, &from, src, false))) return false;
			if (!sim_element(s, call, &to, t, &dst, false) || !touch_one(s, a, call, &to, dst, true)) return false;
			if (!s->a->protocol) sim_set(to.mem, dst, in ? sim_get(from.mem, src) : pad_cell(to.mem->elem, px, pad));
		}
	return true;
}
