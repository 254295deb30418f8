/* A model opened on a GPU: its modules and its weights, once per context, shared by the sessions. A cubin that this driver refuses gives
 * way to PTX, which the driver compiles. */
#include "rtlib/cuda.h"
#include "rtlib/cuda_lz4.h"

enum { LOG = 1024 };

typedef struct { const TesseraModel *m; const TsPlanHeader *plan; const char *weights; TesseraError *e; } Opening;

static const uint8_t *code_at(const TesseraModel *m, uint64_t offset)
{
	return (const uint8_t *)(uintptr_t)((uintptr_t)m->device_code + *m->device_code + offset);
}

/* ---- modules ---- */

static bool refused(int32_t code) { return code == TS_CU_INVALID_IMAGE || code == TS_CU_NO_BINARY_FOR_GPU; }

/* the driver's own words about PTX, up to the end of a line */
static int32_t jit_failed(const TsCudaModel *c, int32_t code, const char *name, const char *log, TesseraError *e)
{
	int32_t rc = ts_cuda_fail(&c->cu, code, e, "compile the PTX of module '%s' for cuda:%d", name, (int64_t)c->info.device.device_id);
	if (!e || !*log)
		return rc;
	TsText t = { e->message, strlen(e->message), sizeof e->message, false };
	ts_text_add(&t, ": ");
	for (; *log && *log != '\n'; log++)
		ts_text_add(&t, "%c", *log);
	return rc;
}

static int32_t load_ptx(TsCudaModel *c, const TesseraModel *m, TesseraContext *cx, uint32_t i, TesseraError *e)
{
	const TsPlanModule *k = TS_PLAN_TABLE(c->plan, TsPlanModule, modules) + i;
	const char *name = ts_plan_str(c->plan, k->name);
	char log[LOG] = "";
	const int32_t options[2] = { TS_CU_JIT_ERROR_LOG, TS_CU_JIT_ERROR_LOG_BYTES };
	void *values[2] = { log, (void *)(uintptr_t)(LOG - 1) };
	uint8_t *text = cx->api->alloc(cx, k->ptx_text, 64);
	if (!text)
		return ts_fail(e, TESSERA_NO_MEMORY, "no %u bytes for the PTX of module '%s'", k->ptx_text, name);
	bool whole = ts_lz4_unpack(code_at(m, k->ptx), k->ptx_bytes, text, k->ptx_text) && !text[k->ptx_text - 1];
	int32_t code = whole ? c->cu.ModuleLoadDataEx(&c->module[i], text, 2, options, values) : 0;
	cx->api->release(cx, text, k->ptx_text);
	if (!whole)
		return ts_fail(e, TESSERA_VERSION, "module '%s' is damaged: its PTX has no end", name);
	if (code)
		return jit_failed(c, code, name, log, e);
	c->jit++;
	return TESSERA_OK;
}

static int32_t load(TsCudaModel *c, const TesseraModel *m, TesseraContext *cx, uint32_t i, TesseraError *e)
{
	const TsPlanModule *k = TS_PLAN_TABLE(c->plan, TsPlanModule, modules) + i;
	const char *name = ts_plan_str(c->plan, k->name);
	int32_t sm = c->info.sm, of = (int32_t)k->sm, code = TS_CU_NO_BINARY_FOR_GPU;
	bool exact = k->flags & TS_MODULE_EXACT, ptx = k->ptx_bytes && (exact ? of == sm : of <= sm);
	if (k->cubin_bytes && (of == sm || (!exact && of / 10 == sm / 10 && of < sm)))
		code = c->cu.ModuleLoadDataEx(&c->module[i], code_at(m, k->cubin), 0, NULL, NULL);
	if (code && refused(code) && ptx)
		return load_ptx(c, m, cx, i, e);
	return ts_cuda_fail(&c->cu, code, e, "load module '%s' on cuda:%d", name, (int64_t)c->info.device.device_id);
}

static int32_t find_kernel(TsCudaModel *c, uint32_t i, TesseraError *e)
{
	const TsPlanKernel *k = TS_PLAN_TABLE(c->plan, TsPlanKernel, kernels) + i;
	const char *name = ts_plan_str(c->plan, k->name);
	int32_t code = c->cu.ModuleGetFunction(&c->function[i], c->module[k->module], name);
	if (!code) /* also makes a driver that loads lazily load it now */
		code = c->cu.FuncSetAttribute(c->function[i], TS_CU_FUNC_MAX_SHARED, (int32_t)k->shared_bytes);
	if (!code && k->cluster > 8)
		code = c->cu.FuncSetAttribute(c->function[i], TS_CU_FUNC_WIDE_CLUSTER, 1);
	return ts_cuda_fail(&c->cu, code, e, "load kernel '%s' on cuda:%d", name, (int64_t)c->info.device.device_id);
}

/* ---- the shared value ---- */

static void drop(TesseraContext *cx, void *value)
{
	TsCudaModel *c = value;
	TsCuScope scope;
	if (!ts_cuda_enter(&c->cu, c->info.native, &scope, NULL)) {
		c->cu.CtxSynchronize(); /* kernels of it may still be running */
		if (c->weights)
			c->cu.MemFree(c->weights);
		for (uint32_t i = 0; i < c->n_modules; i++)
			if (c->module[i])
				c->cu.ModuleUnload(c->module[i]);
		ts_cuda_leave(&c->cu, &scope);
	}
	cx->api->release(cx, c, c->self_bytes);
}

static int32_t fill(TsCudaModel *c, TesseraContext *cx, const Opening *o)
{
	const TsPlanHeader *p = o->plan;
	int32_t rc = TESSERA_OK;
	for (uint32_t i = 0; i < p->modules.n && !rc; i++)
		rc = load(c, o->m, cx, i, o->e);
	for (uint32_t i = 0; i < p->kernels.n && !rc; i++)
		rc = find_kernel(c, i, o->e);
	if (!rc && p->device_bytes)
		rc = ts_cuda_fail(&c->cu, c->cu.MemAlloc(&c->weights, p->device_bytes), o->e, "get %u bytes for weights on cuda:%d", p->device_bytes,
		                  (int64_t)c->info.device.device_id);
	return rc || !p->device_bytes ? rc : ts_cuda_upload(c, o->m, cx, o->weights, o->e);
}

static void *make(TesseraContext *cx, void *arg)
{
	Opening *o = arg;
	const TsPlanHeader *p = o->plan;
	uint64_t bytes = sizeof(TsCudaModel) + (p->modules.n + (uint64_t)p->kernels.n) * sizeof(TsCuHandle);
	TsCudaModel *c = cx->api->alloc(cx, bytes, 64);
	TsCuScope scope;
	if (!c) {
		ts_fail(o->e, TESSERA_NO_MEMORY, "no memory for a model of %u bytes", bytes);
		return NULL;
	}
	memset(c, 0, bytes);
	c->self_bytes = bytes;
	c->plan = p;
	c->n_modules = p->modules.n;
	c->module = (TsCuHandle *)(void *)(c + 1);
	c->function = c->module + p->modules.n;
	cx->api->device(cx, &c->info);
	int32_t rc = ts_cuda_open(&c->cu, o->e);
	if (rc) {
		cx->api->release(cx, c, bytes);
		return NULL;
	}
	if (!(rc = ts_cuda_enter(&c->cu, c->info.native, &scope, o->e))) {
		rc = fill(c, cx, o);
		ts_cuda_leave(&c->cu, &scope);
	}
	if (!rc)
		return c;
	drop(cx, c);
	return NULL;
}

int32_t ts_cuda_model_open(const TesseraModel *m, TesseraContext *cx, const TsPlanHeader *plan, const char *weights, TsCudaModel **out, TesseraError *e)
{
	TesseraError own = { .code = TESSERA_NO_MEMORY, .message = "no memory for a model" };
	Opening o = { m, plan, weights, &own };
	*out = cx->api->shared(cx, plan, make, drop, &o);
	return *out ? TESSERA_OK : ts_fail(e, own.code, "%s", own.message);
}
