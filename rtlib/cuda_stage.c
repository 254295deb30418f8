/* Bytes on their way between host and device, over two slots. */
#include "rtlib/cuda.h"
#include <stdatomic.h>

enum { BLOCK = 256 << 10 /* what one thread copies at a time */, PAGE = 4096 };

typedef struct { uint8_t *to; const uint8_t *from; uint64_t bytes; _Atomic uint64_t next; } Job;

static int32_t failed(const TsCudaStage *g, int32_t code, TesseraError *e) { return ts_cuda_fail(g->cu, code, e, "copy between host and GPU"); }

int32_t ts_cuda_stage_open(TsCudaStage *g, const TsCuda *cu, TesseraContext *cx, uint64_t total, TesseraError *e)
{
	*g = (TsCudaStage){ .cu = cu, .cx = cx, .piece = total < TS_STAGE_PIECE ? (total + PAGE) / PAGE * PAGE : TS_STAGE_PIECE };
	uint8_t *memory = cx->api->alloc(cx, 2 * g->piece, PAGE);
	if (!memory)
		return ts_fail(e, TESSERA_NO_MEMORY, "no memory for %u bytes on their way between host and GPU", 2 * g->piece);
	g->slot[0] = memory;
	g->slot[1] = memory + g->piece;
	int32_t code = total >= TS_STAGE_LOCKED ? cu->MemHostRegister(memory, 2 * g->piece, 0) : 0;
	g->locked = total >= TS_STAGE_LOCKED && !code;
	if (!ts_cuda_is_lost(code)) /* a system that does not allow it loses speed, nothing else */
		code = 0;
	for (int i = 0; i < 2 && !code; i++)
		if ((code = cu->EventCreate(&g->sent[i], TS_CU_EVENT_NO_TIME)))
			g->sent[i] = NULL;
	return failed(g, code, e);
}

int32_t ts_cuda_stage_room(TsCudaStage *g, uint8_t **slot, TesseraError *e)
{
	*slot = g->slot[g->turn];
	return g->used[g->turn] ? failed(g, g->cu->EventSynchronize(g->sent[g->turn]), e) : TESSERA_OK;
}

/* the slot's copy was asked for, with this code of the driver's */
static int32_t mark(TsCudaStage *g, int32_t code, TesseraError *e)
{
	uint32_t i = g->turn;
	if (!code)
		code = g->cu->EventRecord(g->sent[i], NULL);
	g->used[i] = true;
	g->turn = 1 - i;
	return failed(g, code, e);
}

int32_t ts_cuda_stage_send(TsCudaStage *g, TsCuPtr to, uint64_t bytes, TesseraError *e)
{
	return mark(g, bytes ? g->cu->MemcpyHtoDAsync(to, g->slot[g->turn], bytes, NULL) : 0, e);
}

static void copy_some(void *arg, int32_t worker)
{
	Job *j = arg;
	(void)worker;
	for (uint64_t at; (at = atomic_fetch_add(&j->next, BLOCK)) < j->bytes;)
		memcpy(j->to + at, j->from + at, j->bytes - at < BLOCK ? j->bytes - at : BLOCK);
}

static void copy(TsCudaStage *g, uint8_t *to, const uint8_t *from, uint64_t bytes)
{
	Job j = { .to = to, .from = from, .bytes = bytes };
	g->cx->api->parallel(g->cx, (int32_t)((bytes + BLOCK - 1) / BLOCK), copy_some, &j);
}

static uint64_t piece_at(const TsCudaStage *g, uint64_t at, uint64_t bytes) { return bytes - at < g->piece ? bytes - at : g->piece; }

int32_t ts_cuda_stage_put(TsCudaStage *g, TsCuPtr to, const uint8_t *from, uint64_t bytes, TesseraError *e)
{
	int32_t rc = TESSERA_OK;
	for (uint64_t at = 0; at < bytes && !rc; at += g->piece) {
		uint64_t n = piece_at(g, at, bytes);
		uint8_t *slot;
		if ((rc = ts_cuda_stage_room(g, &slot, e)))
			break;
		copy(g, slot, from + at, n);
		rc = ts_cuda_stage_send(g, to + at, n, e);
	}
	return rc;
}

int32_t ts_cuda_stage_get(TsCudaStage *g, uint8_t *to, TsCuPtr from, uint64_t bytes, TesseraError *e)
{
	uint32_t first = g->turn;
	uint64_t asked = 0;
	int32_t rc = ts_cuda_stage_wait(g, e);
	for (uint64_t at = 0; at < bytes && !rc; at += g->piece) {
		for (; asked < bytes && asked < at + 2 * g->piece && !rc; asked += g->piece)
			rc = mark(g, g->cu->MemcpyDtoHAsync(g->slot[g->turn], from + asked, piece_at(g, asked, bytes), NULL), e);
		uint32_t i = (first + (uint32_t)(at / g->piece)) & 1;
		if (!rc && !(rc = failed(g, g->cu->EventSynchronize(g->sent[i]), e)))
			copy(g, to + at, g->slot[i], piece_at(g, at, bytes));
	}
	return rc;
}

int32_t ts_cuda_stage_wait(TsCudaStage *g, TesseraError *e) { return failed(g, g->cu->StreamSynchronize(NULL), e); }

void ts_cuda_stage_close(TsCudaStage *g)
{
	bool reachable = g->cx && !ts_cuda_forked(g->cu);
	for (int i = 0; i < 2 && reachable; i++)
		if (g->sent[i])
			g->cu->EventDestroy(g->sent[i]);
	if (g->locked && reachable)
		g->cu->MemHostUnregister(g->slot[0]);
	if (g->cx)
		g->cx->api->release(g->cx, g->slot[0], 2 * g->piece);
	*g = (TsCudaStage){ 0 };
}
