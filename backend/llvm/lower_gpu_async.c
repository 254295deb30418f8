/* Rings of slots with barriers, TMA, cp.async groups, fences. A ring position is two registers: the slot's number and the parity that its
 * barrier has when its round is over. */
#include "backend/llvm/lower.h"
#include <string.h>

enum { SLOT, PARITY, BARRIER = 8 };

/* ---- barriers ---- */
static const TsTree *ring_of(const TsTree *slot) { return ts_tinfo(slot->kid[0])->decl; }

static int64_t slots_of(const TsTree *ring) { return ts_tinfo(ring)->value; }

/* the full or empty barrier of slot R[p] */
static Val barrier_of(Lower *w, const TsTree *slot, bool empty)
{
	const TsTree *ring = ring_of(slot);
	Frag pos = lw_expr(w, slot->kid[1]);
	int64_t base = ts_tile_barrier_offset(w->kernel, ring) + (empty ? slots_of(ring) * BARRIER : 0);
	return lg_shared_at(w, lw_add(w, lw_i32(w, base), LLVMBuildShl(w->b, pos.v[SLOT], lw_i32(w, 3), "")));
}

void lg_wait_parity(Lower *w, Val barrier, Val parity)
{
	Block again = lw_block(w, "wait"), done = lw_block(w, "done");
	Val args[] = { barrier, parity };
	LLVMBuildBr(w->b, again);
	LLVMPositionBuilderAtEnd(w->b, again);
	LLVMBuildCondBr(w->b, lg_intrinsic(w, "llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta", args, 2), done, again);
	LLVMPositionBuilderAtEnd(w->b, done);
}

/* The arrival of one lane of each warp (inside `one`: of the thread that is there). A branch, not a predicate: the block ends here, so that
 * what stands before a wait is not moved below the release behind it. CTA scope: only engines read what a release frees, and a wider
 * scope puts a fence of all memory into the loop. */
static void arrive(Lower *w, Val barrier)
{
	Val args[] = { barrier, lw_i32(w, 1) };
	Branch b = lg_if(w, LLVMBuildICmp(w->b, LLVMIntEQ, w->lane, lw_i32(w, 0), ""));
	lg_intrinsic(w, "llvm.nvvm.mbarrier.arrive.scope.cta.space.cta", args, 2);
	lg_end(w, b);
}

static void word_wait(Lower *w, const TsTree *call, bool empty)
{
	const TsTree *slot = call->kid[1];
	if (empty && !ts_tile_attr(ring_of(slot)->kid[2], "empty")->i) return; /* nobody releases: each slot is filled once */
	lg_wait_parity(w, barrier_of(w, slot, empty), lw_expr(w, slot->kid[1]).v[PARITY]);
}

/* In a ring of the whole cluster lane i of each warp arrives in CTA i. */
static void word_release(Lower *w, const TsTree *call)
{
	const TsTree *ctas = ts_tile_attr(ring_of(call->kid[1])->kid[2], "cluster");
	Val barrier = barrier_of(w, call->kid[1], true);
	if (!ctas) { arrive(w, barrier); return; }
	Branch b = lg_if(w, LLVMBuildICmp(w->b, LLVMIntULT, w->lane, lw_i32(w, ctas->i), ""));
	Val to[] = { barrier, w->lane }, args[] = { lg_intrinsic(w, "llvm.nvvm.mapa.shared.cluster", to, 2), lw_i32(w, 1) };
	lg_intrinsic(w, "llvm.nvvm.mbarrier.arrive.scope.cta.space.cluster", args, 2);
	lg_end(w, b);
}

static void word_expect(Lower *w, const TsTree *call)
{
	Val args[] = { barrier_of(w, call->kid[1], false), LLVMBuildTrunc(w->b, lw_idx(w, call->kid[2]), w->i32, "") };
	lg_intrinsic(w, "llvm.nvvm.mbarrier.arrive.expect.tx.scope.cta.space.cta", args, 2);
}

Frag lg_position(Lower *w, const TsTree *call, const TsTType *type)
{
	Frag out = lw_frag(w, type);
	if (ts_tinfo(call)->op != TS_TILE_next) { /* the filling side finds all slots free: it waits for the round before the first */
		out.v[SLOT] = lw_i32(w, 0);
		out.v[PARITY] = lw_i32(w, ts_tinfo(call)->op == TS_TILE_producer);
		return out;
	}
	Frag p = lw_expr(w, call->kid[1]);
	const TsTree *ring = type->decl ? type->decl : ts_tinfo(call->kid[1])->type.decl;
	Val up = LLVMBuildAdd(w->b, p.v[SLOT], lw_i32(w, 1), ""), wraps = LLVMBuildICmp(w->b, LLVMIntEQ, up, lw_i32(w, slots_of(ring)), "");
	out.v[SLOT] = LLVMBuildSelect(w->b, wraps, lw_i32(w, 0), up, "");
	out.v[PARITY] = LLVMBuildXor(w->b, p.v[PARITY], LLVMBuildZExt(w->b, wraps, w->i32, ""), "");
	return out;
}

static void init_barriers(Lower *w, int64_t base, int64_t slots, int64_t arrivals)
{
	for (int64_t i = 0; i < slots && arrivals > 0; i++) {
		Val args[] = { lg_shared_at(w, lw_i32(w, base + i * BARRIER)), lw_i32(w, arrivals) };
		lg_intrinsic(w, "llvm.nvvm.mbarrier.init.shared", args, 2);
	}
}

static void prefetch_maps(Lower *w)
{
	LLVMTypeRef over[] = { LLVMPointerTypeInContext(w->lc, 0) };
	for (uint32_t i = 0; i < w->launch.n_maps; i++) {
		Val map[] = { LLVMGetParam(w->fn, w->first_map + i) };
		lw_intrinsic(w, "llvm.nvvm.prefetch.tensormap", over, 1, map, 1);
	}
}

void lg_init_rings(Lower *w, const TsTree *kernel)
{
	const TsTree *block = kernel->kid[1];
	uint32_t rings = 0;
	int64_t exchanges = ts_tile_exchanges(kernel);
	for (uint32_t i = 0; i < block->n; i++) rings += block->kid[i]->kind == TS_TREE_RING;
	if (!rings && w->launch.cluster == 1) return;
	Val first = LLVMBuildICmp(w->b, LLVMIntEQ, LLVMBuildOr(w->b, w->lane, w->warp, ""), lw_i32(w, 0), "");
	Branch b = lg_if(w, first);
	for (uint32_t i = 0; i < block->n; i++) {
		const TsTree *ring = block->kid[i];
		if (ring->kind != TS_TREE_RING) continue;
		int64_t base = ts_tile_barrier_offset(kernel, ring), slots = slots_of(ring);
		init_barriers(w, base, slots, ts_tile_attr(ring->kid[2], "full")->i);
		init_barriers(w, base + slots * BARRIER, slots, ts_tile_attr(ring->kid[2], "empty")->i);
	}
	init_barriers(w, ts_tile_shared_bytes(kernel) - exchanges * BARRIER, exchanges, 1);
	if (rings || exchanges) lg_intrinsic(w, "llvm.nvvm.fence.mbarrier_init.release.cluster", NULL, 0);
	if (rings) {
		lg_intrinsic(w, "llvm.nvvm.fence.proxy.async", NULL, 0);
		prefetch_maps(w);
	}
	lg_end(w, b);
	if (w->launch.cluster == 1) {
		lg_sync(w, "cta", kernel);
	} else { /* what must be seen was fenced above */
		lg_intrinsic(w, "llvm.nvvm.barrier.cluster.arrive.relaxed.aligned", NULL, 0);
		lg_intrinsic(w, "llvm.nvvm.barrier.cluster.wait.aligned", NULL, 0);
	}
}

/* ---- TMA ---- */
typedef struct { Val map, at[TS_LAY_RANK]; int rank; int64_t piece, pieces; } Box; /* piece: elements of the last axis in one copy */

static Val map_of(Lower *w, const TsTree *call, const TsTileMap *m)
{
	for (uint32_t i = 0; i < w->launch.n_maps; i++)
		if (ts_tile_map_same(&w->launch.map[i], m)) return LLVMGetParam(w->fn, w->first_map + i);
	lw_fail(w, call, "no tensor map for this copy");
}

static Box box_of(Lower *w, const TsTree *call, const TsTree *global)
{
	TsTileMap m = ts_tile_map_of(call);
	Box b = { .map = map_of(w, call, &m), .rank = ts_tinfo(m.buffer)->type.rank, .pieces = 1 };
	for (int i = 0; i < b.rank; i++) {
		const TsTree *at = global->kind == TS_TREE_INDEX ? global->kid[1 + i] : NULL, *lo = at && at->kind == TS_TREE_RANGE ? at->kid[0] : at;
		b.at[i] = lo ? LLVMBuildTrunc(w->b, lw_idx(w, lo), w->i32, "") : lw_i32(w, 0);
		if (i + 1 < b.rank) continue;
		b.piece = m.box[i];
		b.pieces = at && at->kind == TS_TREE_RANGE ? ts_tinfo(at)->value / b.piece : 1;
	}
	if (global->kind != TS_TREE_INDEX || b.rank < 1) lw_fail(w, call, "TMA moves a box of a tensor: name it by ranges");
	return b;
}

/* Where piece i of the box lies in shared memory; and it must lie there as TMA writes: rows of the piece's width, one after the other. */
static Val piece_address(Lower *w, const TsTree *call, const Shared *s, const Box *b, int64_t i)
{
	int64_t c[TS_LAY_RANK] = { 0 }, dense = 1;
	for (int a = s->rank; a-- > 0;) {
		if (s->axis[a] < 0 || s->extent[s->axis[a]] == 1) continue;
		c[a] = 1;
		if (lg_linear(s->layout, c) != dense) lw_fail(w, call, "the buffer's layout is not that of a box");
		c[a] = 0;
		dense *= s->axis[a] == s->tile_rank - 1 ? b->piece : s->extent[s->axis[a]];
	}
	for (int a = 0; a < s->rank; a++)
		if (s->axis[a] == s->tile_rank - 1) c[a] = i * b->piece;
	int64_t bytes = ts_dtype_bits(s->elem) / 8;
	Val start = lw_mul(w, lg_linear_of(w, s, s->start), lw_i32(w, bytes));
	return lg_shared_at(w, lw_add(w, lw_add(w, s->base, start), lw_i32(w, lg_linear(s->layout, c) * bytes)));
}

/* coordinates of piece i, last axis first */
static unsigned coordinates(Lower *w, const Box *b, int64_t i, Val *out)
{
	for (int k = 0; k < b->rank; k++) {
		Val at = b->at[b->rank - 1 - k];
		out[k] = k ? at : lw_add(w, at, lw_i32(w, i * b->piece));
	}
	return (unsigned)b->rank;
}

static void word_copy(Lower *w, const TsTree *call)
{
	const TsTree *slot = call->kid[1]->kind == TS_TREE_INDEX ? call->kid[1]->kid[0]->kid[0] : call->kid[1]->kid[0];
	Shared s = lg_shared(w, call->kid[1]);
	Box b = box_of(w, call, call->kid[2]);
	Val barrier = barrier_of(w, slot, false);
	int64_t shares = lw_keyword(call, "shares") ? lw_const_of(w, lw_keyword(call, "shares")) : 1;
	if (shares > 1) { /* this CTA's rows of the box, for all */
		Val first = lw_mul(w, w->cta, lw_i32(w, s.extent[0] / shares));
		int global = 0, shared = 0;
		while (call->kid[2]->kid[1 + global]->kind != TS_TREE_RANGE) global++;
		while (s.axis[shared] != 0) shared++;
		b.at[global] = lw_add(w, b.at[global], first);
		s.start[shared] = lw_add(w, s.start[shared], first);
		s.extent[0] /= shares;
	}
	LLVMTypeRef cluster = LLVMPointerTypeInContext(w->lc, 7);
	for (int64_t i = 0; i < b.pieces; i++) {
		Val args[16] = { LLVMBuildIntToPtr(w->b, LLVMBuildPtrToInt(w->b, piece_address(w, call, &s, &b, i), w->i64, ""), cluster, ""), barrier, b.map };
		unsigned n = 3 + coordinates(w, &b, i, args + 3);
		args[n++] = LLVMConstInt(w->i16, shares > 1 ? (1u << shares) - 1 : 0, 0);
		args[n++] = lw_i64(w, 0);                        /* a cache policy: */
		args[n++] = LLVMConstInt(w->i1, shares > 1, 0);  /* to several CTAs */
		args[n++] = LLVMConstInt(w->i1, 0, 0);           /* the policy is not used */
		args[n++] = lw_i32(w, 0);
		lg_intrinsic(w, ts_printf(w->arena, "llvm.nvvm.cp.async.bulk.tensor.g2s.tile.%dd", b.rank), args, n);
	}
}

static void word_store(Lower *w, const TsTree *call)
{
	Shared s = lg_shared(w, call->kid[2]);
	Box b = box_of(w, call, call->kid[1]);
	for (int64_t i = 0; i < b.pieces; i++) {
		Val args[12] = { piece_address(w, call, &s, &b, i), b.map };
		unsigned n = 2 + coordinates(w, &b, i, args + 2);
		args[n++] = lw_i64(w, 0);
		args[n++] = LLVMConstInt(w->i1, 0, 0);
		lg_intrinsic(w, ts_printf(w->arena, "llvm.nvvm.cp.async.bulk.tensor.s2g.tile.%dd", b.rank), args, n);
	}
}

/* ---- groups, fences ---- */
static void wait_store(Lower *w, const TsTree *call)
{
	const TsTree *read = lw_keyword(call, "read");
	Val n[] = { lw_i32(w, lw_const_of(w, call->kid[1])) };
	lg_intrinsic(w, read && read->kind == TS_TREE_TRUE ? "llvm.nvvm.cp.async.bulk.wait.group.read" : "llvm.nvvm.cp.async.bulk.wait.group", n, 1);
}

static void wait_copy(Lower *w, const TsTree *call)
{
	Val n[] = { lw_i32(w, lw_const_of(w, call->kid[1])) };
	lg_intrinsic(w, "llvm.nvvm.cp.async.wait.group", n, 1);
}

static void wait_mma(Lower *w, const TsTree *call)
{
	Val n[] = { lw_i64(w, lw_const_of(w, call->kid[1])) };
	lg_intrinsic(w, "llvm.nvvm.wgmma.wait_group.sync.aligned", n, 1);
}

bool lg_async(Lower *w, const TsTree *call)
{
	switch (ts_tinfo(call)->op) {
	case TS_TILE_acquire: word_wait(w, call, true); return true;
	case TS_TILE_wait: word_wait(w, call, false); return true;
	case TS_TILE_release: word_release(w, call); return true;
	case TS_TILE_expect_bytes: word_expect(w, call); return true;
	case TS_TILE_copy: word_copy(w, call); return true;
	case TS_TILE_store_tma: word_store(w, call); return true;
	case TS_TILE_commit_store: lg_intrinsic(w, "llvm.nvvm.cp.async.bulk.commit.group", NULL, 0); return true;
	case TS_TILE_wait_store: wait_store(w, call); return true;
	case TS_TILE_commit_copy: lg_intrinsic(w, "llvm.nvvm.cp.async.commit.group", NULL, 0); return true;
	case TS_TILE_wait_copy: wait_copy(w, call); return true;
	case TS_TILE_fence_mma: lg_intrinsic(w, "llvm.nvvm.wgmma.fence.sync.aligned", NULL, 0); return true;
	case TS_TILE_commit_mma: lg_intrinsic(w, "llvm.nvvm.wgmma.commit_group.sync.aligned", NULL, 0); return true;
	case TS_TILE_wait_mma: wait_mma(w, call); return true;
	case TS_TILE_fence_async: lg_intrinsic(w, "llvm.nvvm.fence.proxy.async.shared_cta", NULL, 0); return true;
	default: return false;
	}
}
