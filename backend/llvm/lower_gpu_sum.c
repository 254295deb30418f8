/* Sums across the warps of a CTA and the CTAs of a cluster: every warp writes its sums into shared memory, they meet, each reads all in order. */
#include "backend/llvm/lower.h"
#include <string.h>

/* The number of the first warp that this one shares sums with: its own number without the digits of the axis; digit[]: the other
 * numbers it adds, one for each combination, in order of warps. */
static int sharing(const TsLayout *l, int axis, bool all, const int64_t count[TS_AX_COUNT], int64_t *number, int max)
{
	int n = 0;
	int64_t place[TS_AX_COUNT] = { 0 }, kept[TS_LAY_RANK], c[TS_LAY_RANK];
	ts_layout_at(l, place, kept);
	for (int64_t i = 0; i < count[TS_AX_W] * count[TS_AX_G] * count[TS_AX_C] && n < max; i++) {
		place[TS_AX_W] = i % count[TS_AX_W];
		place[TS_AX_G] = i / count[TS_AX_W] % count[TS_AX_G];
		place[TS_AX_C] = i / count[TS_AX_W] / count[TS_AX_G];
		int64_t in[TS_AX_COUNT];
		memcpy(in, place, sizeof in);
		for (int a = TS_AX_W; a <= TS_AX_C; a++) in[a] %= ts_layout_axis_size(l, (TsAxis)a);
		ts_layout_at(l, in, c);
		bool same = true;
		for (int d = 0; d < l->rank; d++) same &= all || d == axis || c[d] == kept[d];
		if (same) number[n++] = i;
	}
	return n;
}

/* where sum k of warp `number` lies: the view's elements in order */
static Val sum_offset(Lower *w, const Shared *via, Val number, int64_t rows, Val row)
{
	Val left = lw_add(w, lw_mul(w, number, lw_i32(w, rows)), row), at[TS_LAY_RANK], c[TS_LAY_RANK];
	for (int i = via->tile_rank; i-- > 0;) {
		c[i] = i ? lg_remainder(w, left, via->extent[i]) : left;
		left = i ? lg_quotient(w, left, via->extent[i]) : left;
	}
	for (int i = 0; i < via->rank; i++) at[i] = via->axis[i] < 0 ? via->start[i] : lw_add(w, via->start[i], c[via->axis[i]]);
	Val byte = lw_mul(w, lg_linear_of(w, via, at), lw_i32(w, ts_dtype_bits(via->elem) / 8));
	return lw_add(w, via->base, lg_swizzled(w, via->layout, byte));
}

/* the number of the sum in register `to`, row major over the kept axes */
static Val row_number(Lower *w, const Frag *src, int axis, const Frag *dst, int to)
{
	Val row = lw_i32(w, 0);
	for (int d = 0, k = 0; d < src->at->rank; d++) {
		if (d == axis || axis < 0) continue;
		Val c = lw_add(w, lg_coord(w, src->at->layout, d), lw_i32(w, dst->at ? dst->at->reg[to][k] : 0));
		row = lw_add(w, lw_mul(w, row, lw_i32(w, ts_layout_extent(src->at->layout, d))), c);
		k++;
	}
	return row;
}

/* this warp's number less what its digits along the axis give */
static Val own_number(Lower *w, const TsLayout *l, int axis, bool all, const int64_t count[TS_AX_COUNT])
{
	int64_t weight[TS_AX_COUNT] = { 0 }, below[TS_AX_COUNT];
	Val sum = lw_i32(w, 0);
	weight[TS_AX_W] = 1;
	weight[TS_AX_G] = count[TS_AX_W];
	weight[TS_AX_C] = count[TS_AX_W] * count[TS_AX_G];
	for (int a = 0; a < TS_AX_COUNT; a++) below[a] = 1;
	for (int i = 0; i < l->n; i++) {
		TsDigit d = l->d[i];
		bool shared = all || d.dim == axis || d.dim == TS_LAY_NODIM;
		if (weight[d.axis] && !shared) {
			Val v = lg_remainder(w, lg_quotient(w, lg_axis(w, (TsAxis)d.axis), below[d.axis]), d.extent);
			sum = lw_add(w, sum, lw_mul(w, v, lw_i32(w, below[d.axis] * weight[d.axis])));
		}
		below[d.axis] *= d.extent;
	}
	return sum;
}

/* the address of an offset in the shared memory of CTA i of the cluster */
static Val in_cta(Lower *w, Val p, int64_t i)
{
	Val args[] = { p, lw_i32(w, i) };
	return lg_intrinsic(w, "llvm.nvvm.mapa.shared.cluster", args, 2);
}

static Val fold(Lower *w, const TsTree *call, const char *word, TsDtype elem, Val sum, Val next)
{
	Val x[] = { sum, next };
	return sum ? lw_word(w, call, word, elem, x, 2) : next;
}

/* the 32-bit address of p in CTA `rank` */
static Val remote(Lower *w, Val p, Val rank)
{
	Val args[] = { LLVMBuildPtrToInt(w->b, p, w->i32, ""), rank };
	return lg_asm(w, "mapa.shared::cluster.u32 $0, $1, $2;", "=r,r,r", w->i32, args, 2);
}

/* One sum of a row that all warps of the cluster share, outside of loops: the warps of a CTA first, then the CTAs' sums, which are sent with
 * the bytes that a barrier in the receiver waits for. So no fence of all memory is needed, which the cluster's own barrier brings along. */
static void send(Lower *w, const TsTree *call, const Shared *via, int64_t ctas, int64_t barrier, const char *word, Frag *dst)
{
	int bytes = ts_dtype_bits(dst->elem) / 8;
	Val zero = lw_i32(w, 0), bar = lg_shared_at(w, lw_i32(w, barrier)), first = lw_mul(w, w->cta, lw_i32(w, w->warps)), x, sum = NULL;
	lg_store_shared(w, dst->elem, lg_shared_at(w, sum_offset(w, via, lw_add(w, first, w->warp), 1, zero)), 1, dst->v);
	lg_sync(w, "cta", call);
	for (int64_t i = 0; i < w->warps; i++) {
		lg_load_shared(w, dst->elem, lg_shared_at(w, sum_offset(w, via, lw_add(w, first, lw_i32(w, i)), 1, zero)), 1, &x);
		sum = fold(w, call, word, dst->elem, sum, x);
	}
	Val thread = LLVMBuildOr(w->b, w->lane, LLVMBuildShl(w->b, w->warp, lw_i32(w, 5), ""), ""), all[] = { bar, lw_i32(w, bytes * (ctas - 1)) };
	Branch one = lg_if(w, LLVMBuildICmp(w->b, LLVMIntEQ, thread, zero, ""));
	lg_intrinsic(w, "llvm.nvvm.mbarrier.arrive.expect.tx.scope.cta.space.cta", all, 2);
	lg_end(w, one);
	Val other = LLVMBuildAnd(w->b, LLVMBuildICmp(w->b, LLVMIntULT, thread, lw_i32(w, ctas), ""), LLVMBuildICmp(w->b, LLVMIntNE, thread, w->cta, ""), "");
	Branch each = lg_if(w, other);
	Val bits = LLVMBuildBitCast(w->b, sum, bytes == 8 ? w->i64 : w->i32, "");
	Val args[] = { remote(w, lg_shared_at(w, sum_offset(w, via, first, 1, zero)), thread), bits, remote(w, bar, thread) };
	lg_asm(w, ts_printf(w->arena, "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.b%d [$0], $1, [$2];", bytes * 8), bytes == 8 ? "r,l,r,~{memory}" : "r,r,r,~{memory}", w->none, args, 3);
	lg_end(w, each);
	lg_wait_parity(w, bar, zero);
	Val total = NULL;
	for (int64_t c = 0; c < ctas; c++) {
		lg_load_shared(w, dst->elem, lg_shared_at(w, sum_offset(w, via, lw_i32(w, c * w->warps), 1, zero)), 1, &x);
		total = fold(w, call, word, dst->elem, total, LLVMBuildSelect(w->b, LLVMBuildICmp(w->b, LLVMIntEQ, w->cta, lw_i32(w, c), ""), sum, x, ""));
	}
	dst->v[0] = total;
}

void lg_exchange(Lower *w, const TsTree *call, const Frag *src, int axis, const char *word, Frag *dst)
{
	enum { MAX_WARPS = 512 };
	const TsLayout *l = src->at->layout;
	Shared via = lg_shared(w, lw_keyword(call, "via"));
	int64_t rows = 1, count[TS_AX_COUNT] = { 0 }, number[MAX_WARPS], ctas = ts_layout_axis_size(l, TS_AX_C);
	bool all = axis < 0;
	count[TS_AX_W] = w->warps, count[TS_AX_G] = w->times, count[TS_AX_C] = ctas;
	for (int d = 0; d < src->at->rank; d++)
		if (d != axis && !all) rows *= ts_layout_extent(l, d);
	int n = sharing(l, axis, all, count, number, MAX_WARPS);
	int64_t barrier = ts_tile_exchange_offset(w->kernel, call);
	if (barrier >= 0 && rows == 1 && n == w->warps * ctas) {
		send(w, call, &via, ctas, barrier, word, dst);
		return;
	}
	Val me = lw_add(w, w->warp, lw_mul(w, lw_add(w, w->instance, lw_mul(w, ctas > 1 ? w->cta : lw_i32(w, 0), lw_i32(w, w->times))), lw_i32(w, w->warps)));
	for (int to = 0; to < dst->n; to++) {
		Val p = lg_shared_at(w, sum_offset(w, &via, me, rows, row_number(w, src, axis, dst, to)));
		for (int64_t c = 0; c < ctas; c++) lg_store_shared(w, dst->elem, ctas > 1 ? in_cta(w, p, c) : p, 1, &dst->v[to]);
	}
	lg_sync(w, ctas > 1 ? "cluster" : w->role ? "role" : "cta", call);
	Val first = own_number(w, l, axis, all, count);
	for (int to = 0; to < dst->n; to++) {
		Val sum = NULL, row = row_number(w, src, axis, dst, to), x;
		for (int i = 0; i < n; i++) {
			lg_load_shared(w, dst->elem, lg_shared_at(w, sum_offset(w, &via, lw_add(w, first, lw_i32(w, number[i])), rows, row)), 1, &x);
			sum = fold(w, call, word, dst->elem, sum, x);
		}
		dst->v[to] = sum;
	}
}
