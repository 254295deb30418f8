#include "ir/tile_abi.h"
#include <string.h>

enum { SCRATCH_ALIGN = 64, SWIZZLE_ALIGN = 1024, SHARED_ALIGN = 128, BARRIER_BYTES = 8, RING_BARRIERS = 2 };

static const TsTree *attrs_of(const TsTree *kernel) { return kernel->n > 2 ? kernel->kid[2] : NULL; }

static int64_t int_attr(const TsTree *attrs, const char *name, int64_t unset)
{
	const TsTree *x = ts_tile_attr(attrs, name);
	return x ? x->i : unset;
}

const TsTileTarget *ts_tile_target_of(const TsTree *kernel)
{
	const TsTree *t = ts_tile_attr(attrs_of(kernel), "target");
	return t && t->kind == TS_TREE_STR ? ts_tile_target(t->name) : NULL;
}

static bool on_cpu(const TsTree *kernel)
{
	const TsTileTarget *t = ts_tile_target_of(kernel);
	return !t || t->cls == TS_TG_CPU;
}

/* ---- shared memory ---- */
static int64_t up(int64_t n, int64_t to) { return n > INT64_MAX - to ? INT64_MAX / 2 : (n + to - 1) / to * to; }

static int64_t bytes_of(const TsTType *t)
{
	int64_t n = 1;
	for (int i = 0; i < t->rank; i++)
		if (__builtin_mul_overflow(n, t->extent[i], &n)) return INT64_MAX / 2;
	return ts_dtype_bytes(t->elem, t->layout ? n / ts_layout_axis_size(t->layout, TS_AX_C) : n); /* of one CTA's memory */
}

int64_t ts_tile_smem_bytes(const TsTree *smem) { return bytes_of(&ts_tinfo(smem)->type); }

static int64_t align_of(const TsTree *kernel, const TsTType *t)
{
	return on_cpu(kernel) ? SCRATCH_ALIGN : t->layout && t->layout->swizzle ? SWIZZLE_ALIGN : SHARED_ALIGN;
}

/* the offset of `until` in a slot, or the bytes of a slot when it is NULL */
static int64_t slot_end(const TsTree *kernel, const TsTree *ring, const TsTree *until)
{
	int64_t at = 0, most = SHARED_ALIGN;
	const TsTree *binds = ring->kid[1];
	for (uint32_t i = 0; i < binds->n; i++) {
		const TsTType *t = &ts_tinfo(binds->kid[i])->type;
		int64_t align = align_of(kernel, t), bytes = bytes_of(t);
		at = up(at, align);
		if (binds->kid[i] == until) return at;
		if (align > most) most = align;
		if (__builtin_add_overflow(at, bytes, &at)) return INT64_MAX / 2;
	}
	return up(at, most);
}

int64_t ts_tile_slot_bytes(const TsTree *kernel, const TsTree *ring) { return slot_end(kernel, ring, NULL); }

static int64_t slots_of(const TsTree *ring) { return ts_tinfo(ring)->value; }

typedef struct { int64_t begin, end; } Place;

/* Where declaration t lies when everything before it ends at `at`. */
static Place place_of(const TsTree *kernel, const TsTree *t, int64_t at)
{
	int64_t bytes, align = SWIZZLE_ALIGN;
	Place p;
	if (t->kind == TS_TREE_RING) {
		if (__builtin_mul_overflow(ts_tile_slot_bytes(kernel, t), slots_of(t), &bytes)) bytes = INT64_MAX / 2;
	} else {
		bytes = ts_tile_smem_bytes(t);
		align = align_of(kernel, &ts_tinfo(t)->type);
	}
	p.begin = up(at, align);
	if (__builtin_add_overflow(p.begin, bytes, &p.end)) p.end = INT64_MAX / 2;
	return p;
}

static const TsTree *alias_of(const TsTree *t)
{
	const TsTree *alias = t->kind == TS_TREE_SMEM && t->n > 1 ? ts_tile_attr(t->kid[1], "alias") : NULL;
	return alias ? ts_tinfo(alias)->decl : NULL;
}

/* The place of declaration t, or of everything when t is NULL (its end). Declarations that the verifier has not reached yet do not count. */
static bool find(const TsTree *kernel, const TsTree *t, Place *out)
{
	const TsTree *block = kernel->kid[1];
	int64_t at = 0;
	while (t && alias_of(t)) t = alias_of(t);
	for (uint32_t i = 0; i < block->n; i++) {
		const TsTree *s = block->kid[i];
		if ((s->kind != TS_TREE_SMEM && s->kind != TS_TREE_RING) || !ts_tinfo(s) || alias_of(s)) continue;
		*out = place_of(kernel, s, at);
		at = out->end;
		if (s == t) return true;
	}
	out->begin = out->end = at;
	return !t;
}

int64_t ts_tile_smem_offset(const TsTree *kernel, const TsTree *smem)
{
	Place p;
	return find(kernel, smem, &p) ? p.begin : -1;
}

int64_t ts_tile_slot_offset(const TsTree *kernel, const TsTree *ring, const TsTree *bind)
{
	Place p;
	return find(kernel, ring, &p) ? p.begin + slot_end(kernel, ring, bind) : -1;
}

/* barriers begin behind all buffers */
static int64_t barriers_before(const TsTree *kernel, const TsTree *until)
{
	Place all;
	find(kernel, NULL, &all);
	int64_t at = up(all.end, BARRIER_BYTES);
	for (uint32_t i = 0; i < kernel->kid[1]->n; i++) {
		const TsTree *s = kernel->kid[1]->kid[i];
		if (s == until) break;
		if (s->kind == TS_TREE_RING && ts_tinfo(s)) at += slots_of(s) * RING_BARRIERS * BARRIER_BYTES;
	}
	return at;
}

int64_t ts_tile_barrier_offset(const TsTree *kernel, const TsTree *ring) { return barriers_before(kernel, ring); }

/* Is it a sum over CTAs, met by a barrier of its own? */
static bool is_exchange(const TsTree *s)
{
	const TsTree *call = s->kind == TS_TREE_LET ? s->kid[1] : NULL;
	if (!call || call->kind != TS_TREE_CALL || !ts_tinfo(call) || ts_tinfo(call)->op != TS_TILE_reduce) return false;
	const TsTInfo *x = ts_tinfo(call->kid[1]);
	return x && x->type.layout && ts_layout_axis_size(x->type.layout, TS_AX_C) > 1;
}

static int64_t exchanges_before(const TsTree *kernel, const TsTree *call, bool *found)
{
	int64_t n = 0;
	*found = false;
	for (uint32_t i = 0; i < kernel->kid[1]->n && !*found; i++) {
		const TsTree *s = kernel->kid[1]->kid[i];
		if (!is_exchange(s)) continue;
		if (s->kid[1] == call) *found = true;
		else n++;
	}
	return n;
}

int64_t ts_tile_exchanges(const TsTree *kernel)
{
	bool found;
	return exchanges_before(kernel, NULL, &found);
}

int64_t ts_tile_shared_bytes(const TsTree *kernel)
{
	return up(barriers_before(kernel, NULL), on_cpu(kernel) ? SCRATCH_ALIGN : 16) + ts_tile_exchanges(kernel) * BARRIER_BYTES;
}

int64_t ts_tile_exchange_offset(const TsTree *kernel, const TsTree *call)
{
	bool found;
	int64_t n = exchanges_before(kernel, call, &found);
	return found ? ts_tile_shared_bytes(kernel) + (n - ts_tile_exchanges(kernel)) * BARRIER_BYTES : -1;
}

/* ---- tensor maps ---- */
/* The parameter at the root of a view. */
static const TsTree *root_of(const TsTree *view)
{
	while (view->kind == TS_TREE_INDEX || view->kind == TS_TREE_FIELD) view = view->kid[0];
	return ts_tinfo(view)->decl;
}

/* The extents of a view, dropped axes as 1, for each axis of its buffer. */
static void box_of(const TsTree *view, int rank, int64_t *box)
{
	for (int i = 0; i < rank; i++) {
		const TsTree *at = view->kind == TS_TREE_INDEX && (uint32_t)i + 1 < view->n ? view->kid[1 + i] : NULL;
		box[i] = at && at->kind == TS_TREE_RANGE ? ts_tinfo(at)->value : 1;
	}
}

static const TsLayout *shared_layout(const TsTree *view)
{
	while (view->kind == TS_TREE_INDEX) view = view->kid[0];
	return ts_tinfo(ts_tinfo(view)->decl)->type.layout;
}

TsTileMap ts_tile_map_of(const TsTree *call)
{
	bool load = ts_tinfo(call)->op == TS_TILE_copy;
	const TsTree *global = call->kid[load ? 2 : 1], *shared = call->kid[load ? 1 : 2];
	const TsLayout *l = shared_layout(shared);
	TsTileMap m = { .buffer = root_of(global), .swizzle = l->swizzle };
	const TsTType *t = &ts_tinfo(m.buffer)->type;
	int64_t share = 1;
	box_of(global, t->rank, m.box);
	for (uint32_t i = 1; load && i < call->n; i++)
		if (call->kid[i]->kind == TS_TREE_KW && !strcmp(call->kid[i]->name, "shares")) share = ts_tinfo(call->kid[i]->kid[0])->value;
	for (int i = 0; share > 1 && i < t->rank; i++) /* of the first axis that the box does not drop */
		if (m.box[i] > 1) { m.box[i] /= share; break; }
	int64_t row = m.swizzle ? m.swizzle * 8 / ts_dtype_bits(t->elem) : 0; /* a swizzled row is one piece, a wider box several of them */
	if (row && t->rank && m.box[t->rank - 1] > row) m.box[t->rank - 1] = row;
	return m;
}

bool ts_tile_map_same(const TsTileMap *a, const TsTileMap *b)
{
	return a->buffer == b->buffer && a->swizzle == b->swizzle && !memcmp(a->box, b->box, sizeof a->box);
}

static bool collect(const TsTree *t, TsTileLaunch *l)
{
	if (!t) return true;
	if (t->kind == TS_TREE_CALL && ts_tinfo(t) && (ts_tinfo(t)->op == TS_TILE_copy || ts_tinfo(t)->op == TS_TILE_store_tma)) {
		TsTileMap m = ts_tile_map_of(t);
		for (uint32_t i = 0; i < l->n_maps; i++)
			if (ts_tile_map_same(&l->map[i], &m)) return true;
		if (l->n_maps == TS_TILE_MAPS) return false;
		l->map[l->n_maps++] = m;
		return true;
	}
	for (uint32_t i = 0; i < t->n; i++)
		if (!collect(t->kid[i], l)) return false;
	return true;
}

bool ts_tile_launch(const TsTree *kernel, TsTileLaunch *out)
{
	const TsTree *block = kernel->kid[1];
	int warp = ts_tile_target_of(kernel)->warp;
	*out = (TsTileLaunch){ .cluster = (int)int_attr(attrs_of(kernel), "cluster", 1), .shared_bytes = ts_tile_shared_bytes(kernel) };
	for (uint32_t i = 0; i < block->n; i++)
		if (block->kid[i]->kind == TS_TREE_ROLE) out->threads += (int)(ts_tinfo(block->kid[i])->value * ts_tinfo(block->kid[i])->step) * warp;
	if (!out->threads) out->threads = (int)int_attr(attrs_of(kernel), "warps", 1) * warp;
	return collect(block, out);
}
