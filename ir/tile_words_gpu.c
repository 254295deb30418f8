/* The words of GPU targets: shared memory, rings, asynchronous copies, matrix instructions, barriers. What they do together over time is
 * checked by tile_protocol.c. */
#include "ir/tile_check.h"
#include <string.h>

static bool nothing(TsVerify *v, TvCall *c, const char *keywords)
{
	return tv_arity(v, c, 0, 0) && tv_keywords(v, c, keywords);
}

static bool give(TvCall *c, const TsTType *t)
{
	c->out[c->nout++] = *t;
	return true;
}

static bool in_one(TsVerify *v, TvCall *c, bool wanted)
{
	if (!v->one == !wanted) return true;
	return tv_fail(v, c->call, "E_TILE_SCOPE", wanted ? "'%s' is for one elected thread: put it in `one { … }`" : "'%s' needs all threads, it cannot stand in `one`", c->call->kid[0]->name);
}

static bool word_instance(TsVerify *v, TvCall *c)
{
	if (!v->role) return tv_fail(v, c->call, "E_TILE_ROLE", "instance() is for roles");
	return nothing(v, c, "") && give(c, &(TsTType){ .form = TS_TT_IDX });
}

static bool word_rank(TsVerify *v, TvCall *c)
{
	if (v->cluster < 2) return tv_fail(v, c->call, "E_TILE_SCOPE", "the kernel has no cluster");
	return nothing(v, c, "") && give(c, &(TsTType){ .form = TS_TT_IDX });
}

/* ---- shared memory ---- */
static bool shared_view(TsVerify *v, TsTree *x, TsTType *out)
{
	if (!tv_mem(v, x, out)) return false;
	return out->space == TS_SP_SHARED || tv_fail(v, x, "E_TILE_TYPE", "expected shared memory, this is global");
}

/* Each CTA reaches its own part of a buffer that lies over the CTAs of a cluster: where the thread's c digits are the buffer's, in a view of
 * all of that axis. reg: who accesses it, NULL: an engine. */
static bool own_part(TsVerify *v, const TsTree *x, const TsTType *mem, const TsLayout *reg)
{
	const TsLayout *l = mem->decl ? ts_tinfo(mem->decl)->type.layout : NULL;
	if (!l || ts_layout_axis_size(l, TS_AX_C) == 1) return true;
	bool same = reg && x->kind != TS_TREE_FIELD;
	for (uint32_t i = 1; same && x->kind == TS_TREE_INDEX && i < x->n; i++) same = x->kid[i]->kind == TS_TREE_RANGE;
	int k = 0;
	for (int i = 0; same && i < l->n; i++) {
		TsDigit d = l->d[i];
		if (d.axis != TS_AX_C) continue;
		while (k < reg->n && reg->d[k].axis != TS_AX_C) k++;
		same = k < reg->n && d.dim != TS_LAY_NODIM && reg->d[k].dim == d.dim && reg->d[k].extent == d.extent && reg->d[k].stride == d.stride && mem->extent[d.dim] == ts_tinfo(mem->decl)->type.extent[d.dim];
		if (same && x->kind == TS_TREE_INDEX && x->kid[1 + d.dim]->kid[0]) same = ts_tinfo(x->kid[1 + d.dim]->kid[0])->known; /* all of it: from 0 */
		k++;
	}
	return same || tv_fail(v, x, "E_TILE_LAYOUT", "this buffer lies over the CTAs of the cluster (%s): get, put and copy_async reach their own CTA's part, by a layout with the same c digits", tv_layout_text(v, l));
}

static bool word_get(TsVerify *v, TvCall *c)
{
	TsTType mem;
	TsTree *cta = tv_keyword(c, "cta"); /* in the shared memory of that CTA of the cluster */
	if (!tv_arity(v, c, 1, 1) || !tv_keywords(v, c, "cta") || !in_one(v, c, false) || !shared_view(v, c->arg[0], &mem) || (cta && !tv_idx(v, cta))) return false;
	if (cta && v->cluster < 2) return tv_fail(v, cta, "E_TILE_SCOPE", "the kernel has no cluster");
	if (cta && ts_tinfo(cta)->known && (ts_tinfo(cta)->value < 0 || ts_tinfo(cta)->value >= v->cluster)) return tv_fail(v, cta, "E_TILE_RANGE", "the cluster has %lld CTAs", (long long)v->cluster);
	if (!c->nwant || c->want[0].form != TS_TT_TILE || !c->want[0].layout) return tv_fail(v, c->call, "E_TILE_LAYOUT", "get needs a result with type and layout");
	if (!tv_shape_eq(&mem, &c->want[0]) || mem.elem != c->want[0].elem || c->want[0].pending) return tv_fail(v, c->call, "E_TILE_SHAPE", "the place holds %s, the result is %s", tv_type_text(v, &mem), tv_type_text(v, &c->want[0]));
	return own_part(v, c->arg[0], &mem, c->want[0].layout) && give(c, &c->want[0]);
}

static bool word_put(TsVerify *v, TvCall *c)
{
	TsTType mem, x;
	if (!tv_arity(v, c, 2, 2) || !tv_keywords(v, c, "") || !in_one(v, c, false) || !shared_view(v, c->arg[0], &mem) || !tv_tile(v, c->arg[1], &x) || !own_part(v, c->arg[0], &mem, x.layout)) return false;
	return (tv_shape_eq(&mem, &x) && mem.elem == x.elem) || tv_fail(v, c->call, "E_TILE_SHAPE", "the place holds %s, the value is %s", tv_type_text(v, &mem), tv_type_text(v, &x));
}

/* ---- rings ---- */
static bool first_position(TsVerify *v, TvCall *c)
{
	TsTType ring;
	if (!tv_arity(v, c, 1, 1) || !tv_keywords(v, c, "") || !tv_expr(v, c->arg[0], NULL, &ring)) return false;
	if (ring.form != TS_TT_RING) return tv_fail(v, c->arg[0], "E_TILE_RING", "expected a ring, this is %s", tv_type_text(v, &ring));
	return give(c, &(TsTType){ .form = TS_TT_POS, .decl = ring.decl });
}

static bool word_producer(TsVerify *v, TvCall *c) { return first_position(v, c); }
static bool word_consumer(TsVerify *v, TvCall *c) { return first_position(v, c); }

static bool word_next(TsVerify *v, TvCall *c)
{
	TsTType pos;
	if (!tv_arity(v, c, 1, 1) || !tv_keywords(v, c, "") || !tv_expr(v, c->arg[0], NULL, &pos)) return false;
	return pos.form == TS_TT_POS ? give(c, &pos) : tv_fail(v, c->arg[0], "E_TILE_RING", "expected a ring position, this is %s", tv_type_text(v, &pos));
}

static bool slot_word(TsVerify *v, TvCall *c)
{
	TsTType slot;
	return tv_arity(v, c, 1, 1) && tv_keywords(v, c, "") && tv_slot(v, c->arg[0], &slot);
}

static bool word_acquire(TsVerify *v, TvCall *c) { return in_one(v, c, true) && slot_word(v, c); }
static bool word_wait(TsVerify *v, TvCall *c) { return slot_word(v, c); }
static bool word_release(TsVerify *v, TvCall *c) { return slot_word(v, c); }

static bool word_expect_bytes(TsVerify *v, TvCall *c)
{
	TsTType slot;
	int64_t bytes;
	if (!in_one(v, c, true) || !tv_arity(v, c, 2, 2) || !tv_keywords(v, c, "") || !tv_slot(v, c->arg[0], &slot) || !tv_const(v, c->arg[1], &bytes)) return false;
	return (bytes > 0 && bytes < 1 << 20) || tv_fail(v, c->arg[1], "E_TILE_BYTES", "a barrier counts 1 to 1048575 bytes");
}

/* ---- asynchronous copies ---- */
/* A box of TMA: rank up to 5, at most 256 along an axis, whole 16 bytes along the last, no steps. */
static bool tma_box(TsVerify *v, TsTree *x, const TsTType *global, const TsTType *shared)
{
	if (global->space != TS_SP_GLOBAL || shared->space != TS_SP_SHARED) return tv_fail(v, x, "E_TILE_TMA", "TMA moves between global and shared memory");
	if (!own_part(v, x, shared, NULL)) return false;
	if (!tv_shape_eq(global, shared) || global->elem != shared->elem) return tv_fail(v, x, "E_TILE_SHAPE", "%s and %s", tv_type_text(v, global), tv_type_text(v, shared));
	if (global->rank < 1 || global->extent[global->rank - 1] * ts_dtype_bits(global->elem) % 128) return tv_fail(v, x, "E_TILE_TMA", "a box's last axis is a multiple of 16 bytes");
	for (int i = 0; i < global->rank; i++)
		if (global->extent[i] > 256) return tv_fail(v, x, "E_TILE_TMA", "a box has at most 256 elements along an axis, not %lld", (long long)global->extent[i]);
	for (uint32_t i = 1; x->kind == TS_TREE_INDEX && i < x->n; i++)
		if (ts_tinfo(x->kid[i])->type.form == TS_TT_TILE || (x->kid[i]->kind == TS_TREE_RANGE && ts_tinfo(x->kid[i])->step != 1)) return tv_fail(v, x->kid[i], "E_TILE_TMA", "a box is contiguous");
	const TsLayout *l = shared->decl ? ts_tinfo(shared->decl)->type.layout : NULL;
	if (l && l->swizzle && l->n && l->d[0].extent * ts_dtype_bits(global->elem) != l->swizzle * 8) return tv_fail(v, x, "E_TILE_TMA", "the rows of a box under swizzle %d are %d bytes", l->swizzle, l->swizzle);
	return true;
}

/* The buffer of a slot that a copy fills, or fills a part of. */
static const TsTree *filled(const TsTree *to) { return to->kind == TS_TREE_INDEX ? to->kid[0] : to; }

/* A part of a buffer that a box can fill: rows of the first axis from a multiple of eight on, where the swizzle begins anew. */
static bool some_rows(TsVerify *v, const TsTree *part)
{
	for (uint32_t i = 1; i < part->n; i++) {
		const TsTree *r = part->kid[i], *at = r->kind == TS_TREE_RANGE ? r->kid[0] : NULL;
		bool whole = r->kind == TS_TREE_RANGE && (!at || (ts_tinfo(at)->known && ts_tinfo(at)->value == 0)) && ts_tinfo(r)->value == ts_tinfo(part->kid[0])->type.extent[i - 1];
		if (i > 1 ? !whole : r->kind != TS_TREE_RANGE || (at && ts_tile_multiple(at) % 8)) return tv_fail(v, r, "E_TILE_TMA", "a part of a slot's buffer is rows of its first axis, from a multiple of 8 on");
	}
	return true;
}

static bool tma(TsVerify *v, TvCall *c, bool load)
{
	TsTType to, from;
	if (!in_one(v, c, true) || !tv_arity(v, c, 2, 2) || !tv_keywords(v, c, load ? "shares" : "") || !tv_mem(v, c->arg[0], &to) || !tv_mem(v, c->arg[1], &from)) return false;
	if (load && filled(c->arg[0])->kind != TS_TREE_FIELD) return tv_fail(v, c->arg[0], "E_TILE_RING", "copy fills one buffer of a slot, or a part of it: copy(R[p].a, …)");
	if (load && c->arg[0]->kind == TS_TREE_INDEX && !some_rows(v, c->arg[0])) return false;
	return load ? tma_box(v, c->arg[1], &from, &to) : tma_box(v, c->arg[0], &to, &from);
}

/* Which CTA runs this, seen through definitions. */
static bool has_rank(const TsTree *x, int depth)
{
	const TsTInfo *info = x->note ? ts_tinfo(x) : NULL;
	if (info && x->kind == TS_TREE_CALL && info->op == TS_TILE_rank) return true;
	const TsTree *def = info && x->kind == TS_TREE_NAME && info->decl && info->decl->kind == TS_TREE_BIND ? ts_tinfo(info->decl)->def : NULL;
	if (def && (depth == 0 || has_rank(def, depth - 1))) return true;
	for (uint32_t i = 0; i < x->n; i++)
		if (x->kid[i] && has_rank(x->kid[i], depth)) return true;
	return false;
}

/* shares: the CTAs of the cluster bring one box together, each its rows for all; so it must be the same box everywhere. */
static bool word_copy(TsVerify *v, TvCall *c)
{
	TsTree *shares = tv_keyword(c, "shares");
	int64_t n;
	if (!tma(v, c, true)) return false;
	if (!shares) return true;
	if (c->arg[0]->kind != TS_TREE_FIELD) return tv_fail(v, shares, "E_TILE_TMA", "a box that is shared fills a whole buffer of the slot");
	const TsTType *to = &ts_tinfo(c->arg[0])->type;
	const TsTree *ring = ts_tinfo(c->arg[0]->kid[0])->type.decl;
	if (!tv_const(v, shares, &n)) return false;
	if (n < 2 || n != v->cluster || !ts_tile_attr(ring->kid[2], "cluster")) return tv_fail(v, shares, "E_TILE_TMA", "a box is shared by all CTAs of the cluster, in a ring that says `cluster`");
	if (to->rank < 2 || to->extent[0] % (8 * n)) return tv_fail(v, shares, "E_TILE_TMA", "a share is 8 rows of the first axis, or 16, …");
	return !has_rank(c->arg[1], 16) || tv_fail(v, c->arg[1], "E_TILE_TMA", "a shared box is the same in every CTA: it cannot depend on rank()");
}
static bool word_store_tma(TsVerify *v, TvCall *c) { return tma(v, c, false); }
static bool word_commit_store(TsVerify *v, TvCall *c) { return in_one(v, c, true) && nothing(v, c, ""); }
static bool word_commit_copy(TsVerify *v, TvCall *c) { return nothing(v, c, ""); }

static bool count_arg(TsVerify *v, TvCall *c, const char *keywords)
{
	int64_t n;
	if (!tv_arity(v, c, 1, 1) || !tv_keywords(v, c, keywords) || !tv_const(v, c->arg[0], &n)) return false;
	return (n >= 0 && n < 64) || tv_fail(v, c->arg[0], "E_TILE_ARGUMENT", "a number of groups in 0..63");
}

static bool word_wait_copy(TsVerify *v, TvCall *c) { return count_arg(v, c, ""); }

static bool word_wait_store(TsVerify *v, TvCall *c)
{
	TsTree *read = tv_keyword(c, "read");
	if (read && read->kind != TS_TREE_TRUE && read->kind != TS_TREE_FALSE) return tv_fail(v, read, "E_TILE_ARGUMENT", "read is true or false");
	return in_one(v, c, true) && count_arg(v, c, "read");
}

static bool word_copy_async(TsVerify *v, TvCall *c)
{
	TsTType to, from;
	TsTree *by = tv_keyword(c, "by"), *valid = tv_keyword(c, "valid");
	if (!in_one(v, c, false) || !tv_arity(v, c, 2, 2) || !tv_keywords(v, c, "by valid") || !shared_view(v, c->arg[0], &to) || !tv_mem(v, c->arg[1], &from)) return false;
	if (from.space != TS_SP_GLOBAL || !tv_shape_eq(&to, &from) || to.elem != from.elem) return tv_fail(v, c->call, "E_TILE_SHAPE", "%s from %s", tv_type_text(v, &to), tv_type_text(v, &from));
	TsTree *decl = by && by->kind == TS_TREE_NAME ? tv_lookup(v, by->name) : NULL;
	if (!decl || decl->kind != TS_TREE_LAYOUT) return tv_fail(v, c->call, "E_TILE_LAYOUT", "copy_async needs by = the layout that says which thread copies what");
	tv_info(v, by)->decl = decl;
	const TsLayout *l = ts_tinfo(by)->type.layout = ts_tinfo(decl)->type.layout;
	const char *why;
	if (l->rank != to.rank || !ts_layout_check(l, to.extent, &why)) return tv_fail(v, by, "E_TILE_LAYOUT", "'%s' does not cover %s", by->name, tv_type_text(v, &to));
	int piece = l->n && l->d[0].axis == TS_AX_R && l->d[0].dim == l->rank - 1 && l->d[0].stride == 1 ? l->d[0].extent * ts_dtype_bits(to.elem) / 8 : 0;
	if (piece != 4 && piece != 8 && piece != 16) return tv_fail(v, by, "E_TILE_LAYOUT", "each piece of cp.async is 4, 8 or 16 bytes along the last axis, this layout has %d", piece);
	if (!tv_layout_fits_warps(v, by, l) || !own_part(v, c->arg[0], &to, l)) return false;
	if (!valid) return true;
	uint32_t n = valid->kind == TS_TREE_LIST ? valid->n : 1;
	if (n != to.rank) return tv_fail(v, valid, "E_TILE_ARGUMENT", "valid counts elements along %d axes, %u given", to.rank, n);
	for (uint32_t i = 0; i < n; i++)
		if (!tv_idx(v, valid->kind == TS_TREE_LIST ? valid->kid[i] : valid)) return false;
	return true;
}

/* ---- order ---- */
static bool word_fence_mma(TsVerify *v, TvCall *c) { return in_one(v, c, false) && nothing(v, c, ""); }
static bool word_commit_mma(TsVerify *v, TvCall *c) { return in_one(v, c, false) && nothing(v, c, ""); }
static bool word_fence_async(TsVerify *v, TvCall *c) { return nothing(v, c, ""); }

/* x, y = wait_mma(n, x, y, hold = [p]): the results out of flight; held registers may be written again. */
static bool word_wait_mma(TsVerify *v, TvCall *c)
{
	int64_t n;
	TsTType t;
	TsTree *hold = tv_keyword(c, "hold");
	if (!in_one(v, c, false) || !tv_arity(v, c, 1, 9) || !tv_keywords(v, c, "hold") || !tv_const(v, c->arg[0], &n)) return false;
	if (n < 0 || n > 7) return tv_fail(v, c->arg[0], "E_TILE_ARGUMENT", "a number of groups in 0..7");
	for (uint32_t i = 1; i < c->narg; i++) {
		if (!tv_expr(v, c->arg[i], NULL, &t)) return false;
		if (t.form != TS_TT_TILE || !t.pending) return tv_fail(v, c->arg[i], "E_TILE_IN_FLIGHT", "only a tile in flight is waited for, this is %s", tv_type_text(v, &t));
		t.pending = false;
		t.decl = NULL;
		give(c, &t);
	}
	if (hold && hold->kind != TS_TREE_LIST) return tv_fail(v, hold, "E_TILE_ARGUMENT", "hold is a list of tiles");
	for (uint32_t i = 0; hold && i < hold->n; i++)
		if (!tv_tile(v, hold->kid[i], &t)) return false;
	return true;
}

bool tv_string_in(TsVerify *v, const TsTree *x, const char *what, const char *choices)
{
	size_t n = x && x->kind == TS_TREE_STR ? strlen(x->name) : 0;
	const char *at = n ? strstr(choices, x->name) : NULL;
	while (at && ((at != choices && at[-1] != ' ') || (at[n] && at[n] != ' '))) at = strstr(at + 1, x->name);
	return at || tv_fail(v, x, "E_TILE_ARGUMENT", "%s is one of: %s", what, choices);
}

static bool word_sync(TsVerify *v, TvCall *c)
{
	if (!in_one(v, c, false) || !tv_arity(v, c, 1, 1) || !tv_keywords(v, c, "") || !tv_string_in(v, c->arg[0], "a barrier", "warp role cta cluster")) return false;
	if (!strcmp(c->arg[0]->name, "role") && !v->role) return tv_fail(v, c->call, "E_TILE_ROLE", "sync(\"role\") is for roles");
	if (!strcmp(c->arg[0]->name, "cluster") && v->cluster < 2) return tv_fail(v, c->call, "E_TILE_SCOPE", "the kernel has no cluster");
	if (!strcmp(c->arg[0]->name, "cta") && v->role) return tv_fail(v, c->call, "E_TILE_SCOPE", "sync(\"cta\") in a role would wait for warps of other roles");
	return true;
}

/* ---- matrix instructions ---- */
/* "l4:2n l8:1m w4:16m r2:_" over two dims named by `dims`. */
static TsLayout atom_layout(const char *text, const char *dims)
{
	TsLayout l = { .rank = 2 };
	while (*text) {
		TsDigit d = { (uint8_t)(strchr("rvlwgcs", *text) - "rvlwgcs"), TS_LAY_NODIM, 0, 0 };
		for (text++; *text != ':'; text++) d.extent = (uint16_t)(d.extent * 10 + *text - '0');
		for (text++; *text >= '0' && *text <= '9'; text++) d.stride = d.stride * 10 + (uint32_t)(*text - '0');
		if (*text != '_') d.dim = *text == dims[0] ? 0 : 1;
		text++;
		l.d[l.n++] = d;
		if (*text == ' ') text++;
	}
	return l;
}

/* What is left of one axis when the atom's digits are cut off its low end; false when it begins otherwise. */
static bool strip_axis(const TsLayout *l, const TsLayout *atom, int axis, TsLayout *rest)
{
	int k = 0;
	TsDigit d = { 0 };
	bool have = false;
	for (int i = 0; i < atom->n; i++) {
		TsDigit want = atom->d[i];
		if (want.axis != axis) continue;
		if (!have) {
			while (k < l->n && l->d[k].axis != axis) k++;
			if (k == l->n) return false;
			d = l->d[k++];
			have = true;
		}
		if (d.dim != want.dim || (d.dim != TS_LAY_NODIM && d.stride != want.stride) || d.extent % want.extent) return false;
		d.extent = (uint16_t)(d.extent / want.extent);
		d.stride *= want.extent;
		have = d.extent > 1;
	}
	if (have) rest->d[rest->n++] = d;
	for (; k < l->n; k++)
		if (l->d[k].axis == axis) rest->d[rest->n++] = l->d[k];
	return true;
}

static bool strip(TsVerify *v, const TsLayout *l, const TsLayout *atom, TsLayout *rest)
{
	TsLayout normal = ts_layout_coalesce(atom);
	*rest = (TsLayout){ .rank = l->rank };
	(void)v;
	for (int axis = 0; axis < TS_AX_COUNT; axis++)
		if (!strip_axis(l, &normal, axis, rest)) return false;
	return true;
}

static bool same_along(const TsLayout *a, int adim, const TsLayout *b, int bdim)
{
	TsLayout x = ts_layout_drop(a, 1 - adim), y = ts_layout_drop(b, 1 - bdim);
	return ts_layout_same(&x, &y);
}

/* k over registers only may be cut differently: compares the digits as they follow, up to how m or n stand between them. */
static bool matches(TsVerify *v, const char *c, const char *a, const char *b, const TsLayout *lc, const TsLayout *la, const TsLayout *lb)
{
	TsLayout atom = atom_layout(c, "mn"), rc, ra, rb;
	if (!strip(v, lc, &atom, &rc)) return false;
	if (la) {
		atom = atom_layout(a, "mk");
		if (!strip(v, la, &atom, &ra) || !same_along(&rc, 0, &ra, 0)) return false;
	}
	if (lb) {
		atom = atom_layout(b, "nk");
		if (!strip(v, lb, &atom, &rb) || !same_along(&rc, 1, &rb, 0)) return false;
	}
	if (!la || !lb) return true;
	TsLayout ka = ts_layout_drop(&ra, 0), kb = ts_layout_drop(&rb, 0);
	return ts_layout_axis_size(&ka, TS_AX_R) == ts_layout_axis_size(&kb, TS_AX_R) && ts_layout_extent(&ka, 0) == ts_layout_extent(&kb, 0);
}

/* ---- operands in registers, by where their elements lie ---- */
/* The atom `mma` is m16 n8 k16 of a warp: lane 4g + t holds of C the rows of g at columns 2t, 2t + 1; of A the rows of g, of B column g, both at
 * the k of t. Which rows g has and which k t has is free, as long as C and A, and A and B, agree. `fma` multiplies what a thread holds. In
 * both, k that lies over warps (for fma: lanes too) is summed apart: C's first axis of three says where. */
typedef struct { const TsLayout *c, *a, *b /* [n, k] */; bool matrix; int64_t sums; } Product;

static bool one_place(const Product *x, const int64_t *place, int64_t *k_of)
{
	int64_t c[TS_LAY_RANK], a[TS_LAY_RANK], b[TS_LAY_RANK], first[TS_AX_COUNT], c0[TS_LAY_RANK], a0[TS_LAY_RANK], b0[TS_LAY_RANK], at[TS_LAY_RANK];
	int m = x->c->rank - 2, n = m + 1;
	memcpy(first, place, sizeof first);
	ts_layout_at(x->c, place, c), ts_layout_at(x->a, place, a), ts_layout_at(x->b, place, b);
	if (c[m] != a[0] || a[1] != b[1]) return false;
	if (x->matrix) {
		int64_t t = place[TS_AX_L] % 4, g = place[TS_AX_L] / 4;
		first[TS_AX_L] = 0;
		ts_layout_at(x->c, first, c0), ts_layout_at(x->a, first, a0), ts_layout_at(x->b, first, b0);
		if (c[n] - c0[n] != 2 * t || b[0] - b0[0] != g || c0[n] != b0[0] || (m && c[0] != c0[0])) return false;
		first[TS_AX_L] = 4 * g;
		ts_layout_at(x->a, first, at);
		if (at[0] != a[0]) return false;
		first[TS_AX_L] = t;
		ts_layout_at(x->a, first, at);
		if (at[1] != a[1]) return false;
		a[1] = a0[1];
	} else if (c[n] != b[0]) {
		return false;
	}
	int64_t *k = &k_of[m ? c[0] : 0];
	if (*k < 0) *k = a[1];
	return *k == a[1];
}

/* registers along one dim */
static int64_t registers_of(const TsLayout *l, int dim)
{
	int64_t n = 1;
	for (int i = 0; i < l->n; i++)
		if (l->d[i].axis == TS_AX_R && l->d[i].dim == dim) n *= l->d[i].extent;
	return n;
}

static bool agree(const Product *x)
{
	enum { MOST = 1024 };
	int64_t k_of[MOST], size[TS_AX_COUNT], place[TS_AX_COUNT] = { 0 };
	int m = x->c->rank - 2;
	for (int i = 0; i < TS_AX_COUNT; i++) {
		size[i] = i == TS_AX_R ? 1 : ts_layout_axis_size(x->c, (TsAxis)i);
		if (i != TS_AX_R && (ts_layout_axis_size(x->a, (TsAxis)i) != size[i] || ts_layout_axis_size(x->b, (TsAxis)i) != size[i])) return false;
	}
	if (x->sums > MOST || (m && registers_of(x->c, 0) > 1)) return false;
	if (x->matrix && (size[TS_AX_L] != 32 || registers_of(x->a, 0) % 2 || registers_of(x->a, 1) % 4 || registers_of(x->c, m + 1) % 2)) return false;
	for (int64_t i = 0; i < x->sums; i++) k_of[i] = -1;
	for (place[TS_AX_C] = 0; place[TS_AX_C] < size[TS_AX_C]; place[TS_AX_C]++)
		for (place[TS_AX_G] = 0; place[TS_AX_G] < size[TS_AX_G]; place[TS_AX_G]++)
			for (place[TS_AX_W] = 0; place[TS_AX_W] < size[TS_AX_W]; place[TS_AX_W]++)
				for (place[TS_AX_L] = 0; place[TS_AX_L] < size[TS_AX_L]; place[TS_AX_L]++)
					if (!one_place(x, place, k_of)) return false;
	for (int64_t i = 0; i < x->sums; i++)
		for (int64_t j = 0; j < i; j++)
			if (k_of[i] == k_of[j]) return false;
	return true;
}

enum { TS_AE_HALF = 1, TS_AE_FP8 = 2, TS_AE_TF32 = 4 };

static int elems_of(TsDtype t)
{
	return t == TS_BF16 || t == TS_F16 ? TS_AE_HALF : t == TS_FP8_E4M3 || t == TS_FP8_E5M2 ? TS_AE_FP8 : t == TS_F32 ? TS_AE_TF32 : 0;
}

/* Does a shared operand lie along its axis `axis`? */
static bool lies_along(const TsTree *x, int axis)
{
	const TsTType *t;
	int at = -1;
	for (; x->kind == TS_TREE_FIELD && !ts_tinfo(x)->decl; x = x->kid[0]) axis = 1 - axis; /* .T */
	t = &ts_tinfo(ts_tinfo(x->kind == TS_TREE_INDEX ? x->kid[0] : x)->decl)->type;
	if (x->kind != TS_TREE_INDEX) at = axis;
	for (uint32_t i = 1, n = 0; x->kind == TS_TREE_INDEX && i < x->n; i++)
		if (x->kid[i]->kind == TS_TREE_RANGE && (int)n++ == axis) at = (int)i - 1;
	return t->layout->n && t->layout->d[0].dim == at;
}

bool tv_mma_gpu(TsVerify *v, TvCall *c, const char *atom, const TsTType *acc)
{
	static const struct { const char *name; uint32_t targets; const char *c, *a, *b; int elems; } table[] = {
#define TILE_ATOM(name, targets, c, a, b, elems) { name, targets, c, a, b, elems },
#include "ir/tile_atoms.def"
	};
	bool wgmma = !strcmp(atom, "wgmma"), fma = !strcmp(atom, "fma"), parts = acc->rank == 3;
	const int64_t *mn = acc->extent + parts;
	int elems = 0;
	TsTType a, b, cond, out = *acc;
	TsTree *zero = tv_keyword(c, "zero_if"), *late = tv_keyword(c, "late");
	if (late && (!wgmma || late->kind != TS_TREE_TRUE)) return tv_fail(v, late, "E_TILE_ARGUMENT", "late = true is the only choice, for wgmma");
	if (!in_one(v, c, false) || !tv_expr(v, c->arg[1], NULL, &a) || !tv_expr(v, c->arg[2], NULL, &b)) return false;
	if (zero && !tv_expr(v, zero, NULL, &cond)) return false;
	if (zero && (!wgmma || cond.form != TS_TT_SCALAR || (cond.elem != TS_BOOL && zero->kind != TS_TREE_TRUE && zero->kind != TS_TREE_FALSE))) return tv_fail(v, zero, "E_TILE_TYPE", "zero_if is a bool, for wgmma");
	if (zero && !tv_operand(v, zero, &cond, TS_BOOL)) return false;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (!strcmp(table[i].name, atom) && table[i].targets & v->target->cls) elems |= table[i].elems;
	if (!elems && !fma) return tv_fail(v, c->call, "E_TILE_TARGET", "%s has no '%s'", v->target->name, atom);
	for (int i = 0; i < 2; i++) {
		const TsTType *t = i ? &b : &a;
		bool shared = t->form == TS_TT_MEM && t->space == TS_SP_SHARED, reg = t->form == TS_TT_TILE && !t->pending;
		if (t->rank != 2 || !(wgmma ? shared || (reg && i == 0) : reg)) return tv_fail(v, c->arg[1 + i], "E_TILE_TYPE", "'%s' takes %s here, this is %s", atom, wgmma ? i ? "shared memory" : "shared memory or registers" : "a register tile", tv_type_text(v, t));
		if (!fma && !(elems_of(t->elem) & elems)) return tv_fail(v, c->arg[1 + i], "E_TILE_TYPE", "'%s' multiplies %s, not %s", atom, elems == TS_AE_TF32 ? "f32" : elems & TS_AE_FP8 ? "bf16, f16, fp8_e4m3 or fp8_e5m2" : "bf16 or f16", ts_dtype_name(t->elem));
		if (shared && elems_of(t->elem) == TS_AE_FP8 && !lies_along(c->arg[1 + i], 1 - i)) return tv_fail(v, c->arg[1 + i], "E_TILE_LAYOUT", "8-bit operands of '%s' lie along k in shared memory", atom);
		if (shared && !own_part(v, c->arg[1 + i], t, NULL)) return false;
	}
	if (parts && ((strcmp(atom, "mma") && !fma) || a.elem != b.elem || (!fma && elems_of(a.elem) != TS_AE_HALF) || acc->elem != (fma ? a.elem : TS_F32)))
		return tv_fail(v, c->call, "E_TILE_TYPE", "sums of three axes are for 'fma', and for 'mma' on bf16 or f16, this is %s by '%s'", ts_dtype_name(a.elem), atom);
	if (!parts && ((a.elem != b.elem && elems_of(a.elem) != TS_AE_FP8) || elems_of(a.elem) != elems_of(b.elem) || acc->elem != TS_F32)) return tv_fail(v, c->call, "E_TILE_TYPE", "%s and %s into %s", ts_dtype_name(a.elem), ts_dtype_name(b.elem), ts_dtype_name(acc->elem));
	if (mn[0] != a.extent[0] || a.extent[1] != b.extent[0] || b.extent[1] != mn[1])
		return tv_fail(v, c->call, "E_TILE_SHAPE", "[%lld, %lld] is no product of [%lld, %lld] and [%lld, %lld]", (long long)mn[0], (long long)mn[1], (long long)a.extent[0], (long long)a.extent[1], (long long)b.extent[0], (long long)b.extent[1]);
	if (acc->pending && !wgmma) return tv_fail(v, c->arg[0], "E_TILE_IN_FLIGHT", "only wgmma accumulates in flight");
	int step = 256 / ts_dtype_bits(a.elem);
	if (wgmma && (a.extent[1] % step || v->warps != 4)) return tv_fail(v, c->call, "E_TILE_ROLE", "wgmma runs in roles of 4 warps, on k in steps of %d", step);
	if (wgmma && (v->threads / v->target->warp - v->warps * v->times) % 4) return tv_fail(v, c->call, "E_TILE_ROLE", "a group of four warps begins at a multiple of four; put this role first");
	TsLayout bt = { 0 };
	if (b.form == TS_TT_TILE) bt = ts_layout_coalesce(&(TsLayout){ 0 }), bt = ts_layout_transpose(b.layout), bt = ts_layout_coalesce(&bt);
	if (parts) {
		Product x = { .c = acc->layout, .a = a.layout, .b = &bt, .matrix = !fma, .sums = acc->extent[0] };
		return agree(&x) ? give(c, &out) : tv_fail(v, c->call, "E_TILE_LAYOUT", "the operands do not lie as the sums do: c %s, a %s, b %s", tv_layout_text(v, acc->layout), tv_layout_text(v, a.layout), tv_layout_text(v, &bt));
	}
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		if (strcmp(table[i].name, atom) || !(table[i].targets & v->target->cls) || table[i].elems != elems_of(a.elem)) continue;
		if (!matches(v, table[i].c, table[i].a, table[i].b, acc->layout, a.form == TS_TT_TILE ? a.layout : NULL, b.form == TS_TT_TILE ? &bt : NULL)) continue;
		out.pending = wgmma;
		return give(c, &out);
	}
	return tv_fail(v, c->call, "E_TILE_LAYOUT", "these layouts are no pattern of '%s': c %s, a %s, b %s", atom, tv_layout_text(v, acc->layout),
		a.form == TS_TT_TILE ? tv_layout_text(v, a.layout) : "shared", b.form == TS_TT_TILE ? tv_layout_text(v, &bt) : "shared");
}

TvWord *tv_word_gpu(TsTileOp op)
{
	static TvWord *const word[TS_TILE_OP_COUNT] = {
#define W(name) [TS_TILE_##name] = word_##name
		W(instance), W(rank), W(get), W(put), W(producer), W(consumer), W(next), W(acquire), W(expect_bytes), W(copy), W(wait), W(release), W(copy_async), W(commit_copy),
		W(wait_copy), W(store_tma), W(commit_store), W(wait_store), W(fence_mma), W(commit_mma), W(wait_mma), W(fence_async), W(sync),
#undef W
	};
	return word[op];
}
