/* Weights on the GPU: the logical tensors, made from what the artifact keeps for the CPU. What lies there as it is needed is copied from
 * where it is mapped; panels are taken apart by the context's threads, some rows at a time, straight into what is sent (cuda_stage.c): a buffer for
 * all of a weight would cost more than the rest, as memory that was never touched is slow to get. */
#include "rtlib/cuda.h"
#include "rtlib/pack.h"
#include <stdatomic.h>

enum { K_BLOCK = 128 };

/* Part of a packed matrix that lies in a piece: rows k and columns n of one batch. */
typedef struct {
	const TsPack *p;
	const uint8_t *from;        /* the batch's panels */
	uint8_t *to;                /* the piece */
	int64_t first;              /* its element that [0, 0] would be, below 0 where that lies before it */
	int64_t k0, k1, n0, n1, blocks, items;
	_Atomic int64_t next;
} Job;

/* Element [k, n] goes to element first + k*stride_k + n*stride_n; the loop that writes far apart is the outer one. */
static inline __attribute__((always_inline)) void unpack_block(const Job *j, int64_t k0, int64_t k1, int64_t n0, int64_t n1, uint32_t elem)
{
	const TsPack *p = j->p;
	int64_t width = p->panel, g = p->group, at = n0 / width * width, to_group = (width - 1) * g; /* to the next k's, of the same n */
	const uint8_t *panel = j->from + at * ts_pack_ceil(p->k, g) * g * elem;
	if (p->stride_n <= p->stride_k)
		for (int64_t k = k0; k < k1; k++) {
			const uint8_t *from = panel + ((k / g * width + n0 - at) * g + k % g) * elem;
			uint8_t *to = j->to + (j->first + k * p->stride_k + n0 * p->stride_n) * elem;
			for (int64_t n = n0; n < n1; n++, from += g * elem, to += p->stride_n * elem)
				ts_pack_element(to, from, elem);
		}
	else
		for (int64_t n = n0; n < n1; n++) {
			const uint8_t *from = panel + ((k0 / g * width + n - at) * g + k0 % g) * elem;
			uint8_t *to = j->to + (j->first + k0 * p->stride_k + n * p->stride_n) * elem;
			for (int64_t k = k0, left = g - k0 % g; k < k1; k++, to += p->stride_k * elem, from += elem) {
				ts_pack_element(to, from, elem);
				if (!--left) {
					left = g;
					from += to_group * elem;
				}
			}
		}
}

static void unpack_item(const Job *j, int64_t i)
{
	const TsPack *p = j->p;
	int64_t width = p->panel, panel = (j->n0 / width + i / j->blocks) * width, block = (j->k0 / K_BLOCK + i % j->blocks) * K_BLOCK;
	int64_t n0 = panel > j->n0 ? panel : j->n0, n1 = panel + width < j->n1 ? panel + width : j->n1;
	int64_t k0 = block > j->k0 ? block : j->k0, k1 = block + K_BLOCK < j->k1 ? block + K_BLOCK : j->k1;
	if (p->group == 1 && p->stride_n == 1) {
		const uint8_t *from = j->from + (panel * p->k + n0 - panel) * p->elem;
		for (int64_t k = k0; k < k1; k++)
			memcpy(j->to + (j->first + k * p->stride_k + n0) * p->elem, from + k * width * p->elem, (size_t)((n1 - n0) * p->elem));
		return;
	}
	switch (p->elem) {
	case 1: unpack_block(j, k0, k1, n0, n1, 1); break;
	case 2: unpack_block(j, k0, k1, n0, n1, 2); break;
	case 4: unpack_block(j, k0, k1, n0, n1, 4); break;
	default: unpack_block(j, k0, k1, n0, n1, 8);
	}
}

static void unpack_some(void *arg, int32_t worker)
{
	Job *j = arg;
	(void)worker;
	for (int64_t i; (i = atomic_fetch_add(&j->next, 1)) < j->items;)
		unpack_item(j, i);
}

static void unpack(TesseraContext *cx, Job *j)
{
	if (j->k0 >= j->k1 || j->n0 >= j->n1)
		return;
	j->blocks = ts_pack_ceil(j->k1, K_BLOCK) - j->k0 / K_BLOCK;
	j->items = (ts_pack_ceil(j->n1, j->p->panel) - j->n0 / j->p->panel) * j->blocks;
	cx->api->parallel(cx, j->items < 64 ? (int32_t)j->items : 64, unpack_some, j);
}

static inline int64_t clamp(int64_t x, int64_t most) { return x < 0 ? 0 : x > most ? most : x; }

/* Rows [r0, r1) of `row` elements each, as far as this part has them; row 0: all of it, in one piece. */
static void fill_part(TesseraContext *cx, const TsPlanPart *s, const uint8_t *from, int64_t row, int64_t r0, int64_t r1, uint8_t *to)
{
	const TsPack *p = &s->pack;
	bool by_k = p->stride_k >= p->stride_n;
	int64_t panels = ts_pack_ceil(p->n, p->panel) * p->panel * ts_pack_ceil(p->k, p->group) * p->group * p->elem;
	for (int64_t b = 0; b < p->batch; b++) {
		int64_t first = s->first + b * p->stride_batch, here = row ? first / row : 0;
		Job j = { .p = p, .from = from + b * panels, .to = to, .first = first - r0 * row, .k1 = p->k, .n1 = p->n };
		if (row && by_k)
			j.k0 = clamp(r0 - here, p->k), j.k1 = clamp(r1 - here, p->k);
		else if (row)
			j.n0 = clamp(r0 - here, p->n), j.n1 = clamp(r1 - here, p->n);
		unpack(cx, &j);
	}
}

/* Elements from a row to the next if the weight can be made some rows at a time: each part's rows are whole rows, or lie inside of one each. Else 0. */
static int64_t row_of(const TsPlanPart *s, uint32_t n)
{
	int64_t row = 0;
	for (uint32_t i = 0; i < n; i++) {
		const TsPack *p = &s[i].pack;
		bool by_k = p->stride_k >= p->stride_n;
		int64_t far = by_k ? p->stride_k : p->stride_n, near = by_k ? p->stride_n : p->stride_k, across = by_k ? p->n : p->k, reach;
		if (p->kind != TS_PACK_PANELS || far <= 0 || near < 0 || s[i].first < 0 || p->stride_batch < 0 || (i && far != row) || (p->batch > 1 && p->stride_batch % far) ||
		    !across || __builtin_mul_overflow(across - 1, near, &reach) || reach >= far - s[i].first % far)
			return 0;
		row = far;
	}
	return row;
}

/* Do the parts reach every element? They never overlap. */
static bool is_covered(const TsPlanWeight *w, const TsPlanPart *s)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < w->n_parts; i++)
		bytes += s[i].pack.kind == TS_PACK_COPY ? s[i].bytes : (uint64_t)(s[i].pack.batch * s[i].pack.k * s[i].pack.n) * s[i].pack.elem;
	return bytes == w->bytes;
}

static int32_t embedded(const TsCudaModel *c, const TsPlanWeight *w, const uint8_t *blob, TsCudaStage *g, TesseraError *e)
{
	const TsPlanPart *s = TS_PLAN_TABLE(c->plan, TsPlanPart, parts) + w->part;
	TesseraContext *cx = g->cx;
	TsCuPtr to = c->weights + w->offset;
	if (w->n_parts == 1 && s->pack.kind == TS_PACK_COPY)
		return ts_cuda_stage_put(g, to, blob + s->offset, w->bytes, e);
	int64_t row = w->bytes > g->piece ? row_of(s, w->n_parts) : 0, rows = row ? (int64_t)g->piece / (row * s->pack.elem) : 0;
	uint8_t *whole = NULL, *buffer;
	bool covered = is_covered(w, s);
	int32_t rc = TESSERA_OK;
	if (!rows) {
		row = 0;
		if (w->bytes > g->piece && !(whole = cx->api->alloc(cx, w->bytes, 64)))
			return ts_fail(e, TESSERA_NO_MEMORY, "no memory for %u bytes of weight '%s' on their way to the GPU", w->bytes, ts_plan_str(c->plan, w->name));
	}
	uint64_t piece = row ? (uint64_t)(rows * row) * s->pack.elem : w->bytes;
	for (uint64_t at = 0; at < w->bytes && !rc; at += piece) {
		int64_t r0 = row ? (int64_t)(at / piece) * rows : 0;
		uint64_t bytes = w->bytes - at < piece ? w->bytes - at : piece;
		if ((buffer = whole, !whole) && (rc = ts_cuda_stage_room(g, &buffer, e)))
			break;
		if (!covered)
			memset(buffer, 0, bytes);
		for (uint32_t i = 0; i < w->n_parts; i++)
			if (s[i].pack.kind == TS_PACK_COPY)
				memcpy(buffer + s[i].first * s[i].pack.elem, blob + s[i].offset, s[i].bytes);
			else
				fill_part(cx, &s[i], blob + s[i].offset, row, r0, r0 + rows, buffer);
		rc = whole ? ts_cuda_stage_put(g, to, whole, bytes, e) : ts_cuda_stage_send(g, to + at, bytes, e);
	}
	cx->api->release(cx, whole, w->bytes);
	return rc;
}

/* A file whose weights lie inside the artifact is named by its plan, and not needed. */
static bool is_read(const TsCudaModel *c, uint32_t file)
{
	const TsPlanWeight *w = TS_PLAN_TABLE(c->plan, TsPlanWeight, weights);
	for (uint32_t i = 0; i < c->plan->weights.n; i++)
		if (w[i].where == TS_WEIGHT_EXTERNAL && w[i].file == file)
			return true;
	return false;
}

static int32_t external(const TsCudaModel *c, const TesseraModel *m, const char *path, uint32_t file, TsCudaStage *g, TesseraError *e)
{
	const TsPlanWeight *w = TS_PLAN_TABLE(c->plan, TsPlanWeight, weights);
	TsWeightMap map;
	int32_t rc = ts_weights_map(m, c->plan, path, file, &map, e);
	for (uint32_t i = 0; i < c->plan->weights.n && !rc; i++)
		if (w[i].where == TS_WEIGHT_EXTERNAL && w[i].file == file)
			rc = ts_cuda_stage_put(g, c->weights + w[i].offset, map.p + w[i].file_offset, w[i].bytes, e);
	ts_weights_unmap(&map);
	return rc;
}

int32_t ts_cuda_upload(const TsCudaModel *c, const TesseraModel *m, TesseraContext *cx, const char *path, TesseraError *e)
{
	const TsPlanWeight *w = TS_PLAN_TABLE(c->plan, TsPlanWeight, weights);
	const uint8_t *blob = (const uint8_t *)(uintptr_t)((uintptr_t)m->weights + *m->weights);
	TsCudaStage g;
	TesseraError late;
	int32_t rc = ts_cuda_stage_open(&g, &c->cu, cx, c->plan->device_bytes, e);
	for (uint32_t i = 0; i < c->plan->weights.n && !rc; i++)
		if (w[i].where == TS_WEIGHT_EMBEDDED)
			rc = embedded(c, &w[i], blob, &g, e);
	for (uint32_t i = 0; i < c->plan->files.n && !rc; i++)
		if (is_read(c, i))
			rc = external(c, m, path, i, &g, e);
	int32_t end = ts_cuda_stage_wait(&g, rc ? &late : e);
	ts_cuda_stage_close(&g);
	return rc ? rc : end;
}
