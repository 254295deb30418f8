/* Weights on the GPU: the logical tensors, made from what the artifact keeps for the CPU. What lies there as it is needed is copied from
 * where it is mapped; panels are taken apart in a buffer of the host by the context's threads. */
#include "rtlib/cuda.h"
#include "rtlib/pack.h"
#include <stdatomic.h>

typedef struct { const TsPack *p; const uint8_t *from; uint8_t *to; int64_t first; _Atomic int64_t next; int64_t panels; } Job;

/* element [b, k, n] of panels goes to element first + b*stride_batch + k*stride_k + n*stride_n */
static void unpack_panel(const Job *j, int64_t i)
{
	const TsPack *p = j->p;
	int64_t per_batch = ts_pack_ceil(p->n, p->panel), groups = ts_pack_ceil(p->k, p->group), n0 = i % per_batch * p->panel;
	int64_t width = p->n - n0 < p->panel ? p->n - n0 : p->panel;
	const uint8_t *from = j->from + i * groups * p->panel * p->group * p->elem;
	uint8_t *to = j->to + (j->first + i / per_batch * p->stride_batch + n0 * p->stride_n) * p->elem;
	for (int64_t kg = 0; kg < groups; kg++, from += (int64_t)p->panel * p->group * p->elem)
		for (int64_t n = 0; n < width; n++)
			for (int64_t g = 0, k = kg * p->group; g < p->group && k < p->k; g++, k++)
				ts_pack_element(to + (k * p->stride_k + n * p->stride_n) * p->elem, from + (n * p->group + g) * p->elem, p->elem);
}

static void unpack_some(void *arg, int32_t worker)
{
	Job *j = arg;
	(void)worker;
	for (int64_t i; (i = atomic_fetch_add(&j->next, 1)) < j->panels;)
		unpack_panel(j, i);
}

static void unpack(TesseraContext *cx, const TsPlanPart *s, const uint8_t *from, uint8_t *to)
{
	Job j = { .p = &s->pack, .from = from, .to = to, .first = s->first };
	if (s->pack.kind == TS_PACK_COPY) {
		memcpy(to, from, s->bytes);
	} else if (s->pack.k && s->pack.n) {
		j.panels = s->pack.batch * ts_pack_ceil(s->pack.n, s->pack.panel);
		cx->api->parallel(cx, j.panels < 64 ? (int32_t)j.panels : 64, unpack_some, &j);
	}
}

static int32_t put(const TsCudaModel *c, const TsPlanWeight *w, const uint8_t *from, TesseraError *e)
{
	int32_t code = w->bytes ? c->cu.MemcpyHtoD(c->weights + w->offset, from, w->bytes) : 0;
	return ts_cuda_fail(&c->cu, code, e, "copy weight '%s' to cuda:%d", ts_plan_str(c->plan, w->name), (int64_t)c->info.device.device_id);
}

static int32_t embedded(const TsCudaModel *c, const TsPlanWeight *w, const uint8_t *blob, TesseraContext *cx, TesseraError *e)
{
	const TsPlanPart *s = TS_PLAN_TABLE(c->plan, TsPlanPart, parts) + w->part;
	int32_t rc;
	if (w->n_parts == 1 && s->pack.kind == TS_PACK_COPY)
		return put(c, w, blob + s->offset, e);
	uint8_t *whole = cx->api->alloc(cx, w->bytes + 64, 64);
	if (!whole)
		return ts_fail(e, TESSERA_NO_MEMORY, "no memory for %u bytes of weight '%s' on their way to the GPU", w->bytes, ts_plan_str(c->plan, w->name));
	memset(whole, 0, w->bytes);
	for (uint32_t i = 0; i < w->n_parts; i++)
		unpack(cx, &s[i], blob + s[i].offset, whole);
	rc = put(c, w, whole, e);
	cx->api->release(cx, whole, w->bytes + 64);
	return rc;
}

static int32_t external(const TsCudaModel *c, const TesseraModel *m, const char *path, uint32_t file, TesseraError *e)
{
	const TsPlanWeight *w = TS_PLAN_TABLE(c->plan, TsPlanWeight, weights);
	TsWeightMap map;
	int32_t rc = ts_weights_map(m, c->plan, path, file, &map, e);
	for (uint32_t i = 0; i < c->plan->weights.n && !rc; i++)
		if (w[i].where == TS_WEIGHT_EXTERNAL && w[i].file == file)
			rc = put(c, &w[i], map.p + w[i].file_offset, e);
	ts_weights_unmap(&map);
	return rc;
}

int32_t ts_cuda_upload(const TsCudaModel *c, const TesseraModel *m, TesseraContext *cx, const char *path, TesseraError *e)
{
	const TsPlanWeight *w = TS_PLAN_TABLE(c->plan, TsPlanWeight, weights);
	const uint8_t *blob = (const uint8_t *)(uintptr_t)((uintptr_t)m->weights + *m->weights);
	int32_t rc = TESSERA_OK;
	for (uint32_t i = 0; i < c->plan->weights.n && !rc; i++)
		if (w[i].where == TS_WEIGHT_EMBEDDED)
			rc = embedded(c, &w[i], blob, cx, e);
	for (uint32_t i = 0; i < c->plan->files.n && !rc; i++)
		rc = external(c, m, path, i, e);
	return rc;
}
