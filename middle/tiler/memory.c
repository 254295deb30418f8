/* The memory plan: work buffers share slots of one arena. A buffer takes a slot that is free over its whole life, preferring one that
 * provably holds it; a slot's size is the maximum of its buffers' as a formula of the dims, and the workspace is the sum of the slots. */
#include "middle/tiler/tiler.h"

static TsDim bytes_of(TsTl *t, const TsBuffer *b)
{
	TsDim n = ts_dim_mul(t->d, b->count, ts_dim_const(t->d, ts_dtype_bits(b->elem))), c = ts_dim_const(t->d, 512);
	return ts_dim_mul(t->d, ts_dim_cdiv(t->d, n, c), ts_dim_const(t->d, 64));
}

/* Steps in which a buffer is touched; a buffer from outside a loop that the loop touches lives through the whole loop. */
static void lifetimes(TsTl *t)
{
	TsEntry *e = t->e;
	for (uint32_t i = 0; i < e->steps.n; i++)
		for (uint32_t j = 0; j < e->steps.p[i].ptr.n; j++) {
			TsBuffer *b = &e->bufs.p[e->steps.p[i].ptr.p[j].buf];
			if (b->first == UINT32_MAX) b->first = i;
			b->last = i;
		}
	for (uint32_t again = 1; again;) {
		again = 0;
		for (uint32_t i = 0; i < e->steps.n; i++) {
			if (e->steps.p[i].kind != TS_SCHED_LOOP) continue;
			uint32_t end = i, depth = 0;
			for (;; end++) {
				if (e->steps.p[end].kind == TS_SCHED_LOOP) depth++;
				if (e->steps.p[end].kind == TS_SCHED_END && --depth == 0) break;
			}
			for (uint32_t j = 0; j < e->bufs.n; j++) {
				TsBuffer *b = &e->bufs.p[j];
				if (b->first == UINT32_MAX || b->last < i || b->first > end) continue;
				bool crosses = b->first < i || b->last > end;
				if (!crosses) continue;
				if (b->first > i) { b->first = i; again = 1; }
				if (b->last < end) { b->last = end; again = 1; }
			}
		}
	}
}

static bool slot_free(const TsEntry *e, uint32_t slot, const TsBuffer *b)
{
	for (uint32_t j = 0; j < e->bufs.n; j++) {
		const TsBuffer *o = &e->bufs.p[j];
		if (o == b || o->kind != TS_BUF_WORK || o->slot != slot + 1) continue;
		if (o->first <= b->last && b->first <= o->last) return false;
	}
	return true;
}

void ts_plan_memory(TsTl *t)
{
	TsEntry *e = t->e;
	TsDims *d = t->d;
	lifetimes(t);
	for (uint32_t i = 0; i < e->bufs.n; i++) {
		TsBuffer *b = &e->bufs.p[i];
		if (b->kind != TS_BUF_WORK || b->first == UINT32_MAX) continue;
		TsDim need = bytes_of(t, b);
		uint32_t pick = e->slot_bytes.n;
		for (uint32_t s = 0; s < e->slot_bytes.n; s++) {
			if (!slot_free(e, s, b)) continue;
			bool holds = ts_dim_le(d, need, e->slot_bytes.p[s]) == TS_YES, grows = ts_dim_le(d, e->slot_bytes.p[s], need) == TS_YES;
			if (holds || grows) { pick = s; if (holds) break; }
			else if (pick == e->slot_bytes.n) pick = s;
		}
		if (pick == e->slot_bytes.n) ts_push(t->a, &e->slot_bytes, need);
		else if (ts_dim_le(d, need, e->slot_bytes.p[pick]) != TS_YES) e->slot_bytes.p[pick] = ts_dim_max(d, e->slot_bytes.p[pick], need);
		b->slot = pick + 1; /* 0: none */
	}
	e->workspace = 0;
	for (uint32_t s = 0; s < e->slot_bytes.n; s++) e->workspace = ts_dim_add(d, e->workspace, e->slot_bytes.p[s]);
}
