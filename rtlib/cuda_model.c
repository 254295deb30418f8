/* A model opened on a GPU: its modules and its weights, once per context, shared by the sessions. A cubin that this driver refuses gives
 * way to its PTX, which the driver compiles, and a plan of which nothing is taken to the next that fits. */
#include "rtlib/cuda.h"
#include "rtlib/cuda_lz4.h"

enum { LOG = 1024 };

typedef struct {
	const TesseraModel *m;
	TesseraDeviceInfo *info;
	TesseraError *e;
	int32_t code;              /* with which the driver refused something, the first time; of which target, */
	const char *target;
	const char *release;       /* and the release of ptxas in it, up to a comma, or NULL */
	bool refused;              /* what was tried last */
} Opening;
typedef struct { TsCudaModel *c; const TesseraModel *m; const char *weights; TesseraError *e; } Filling;

static const uint8_t *code_at(const TesseraModel *m, uint64_t offset)
{
	return (const uint8_t *)(uintptr_t)((uintptr_t)m->device_code + *m->device_code + offset);
}

/* ---- modules ---- */

/* which a driver older than the code says, or one that compiles nothing: other code may do */
static bool refused(int32_t code)
{
	return code == TS_CU_INVALID_IMAGE || code == TS_CU_NO_BINARY_FOR_GPU || (code >= TS_CU_NO_COMPILER && code <= TS_CU_NO_COMPILING) || code == TS_CU_INVALID_PTX;
}

/* ptxas writes its release into a note */
static const char *release_in(const uint8_t *cubin, uint64_t bytes)
{
	static const char words[] = "Cuda compilation tools, release ";
	for (uint64_t i = 0; i + sizeof words + 16 < bytes; i++)
		if (cubin[i] == 'C' && !memcmp(cubin + i, words, sizeof words - 1))
			return (const char *)cubin + i + sizeof words - 1;
	return NULL;
}

static void note_refusal(Opening *o, const TsCudaModel *c, int32_t code, const uint8_t *cubin, uint64_t bytes)
{
	o->refused = refused(code);
	if (!o->refused || o->code)
		return;
	o->code = code;
	o->target = ts_plan_str(c->plan, c->plan->target);
	o->release = release_in(cubin, bytes);
}

static void add_release(TsText *t, const char *release)
{
	for (int i = 0; i < 8 && (*release == '.' || (*release >= '0' && *release <= '9')); i++)
		ts_text_add(t, "%c", *release++);
}


/* the driver's own words about PTX, up to the end of a line */
static int32_t jit_failed(const TsCudaModel *c, int32_t code, const char *name, const char *log, TesseraError *e)
{
	int32_t rc = ts_cuda_fail(&c->cu, code, e, "compile the PTX of module '%s' for cuda:%d", name, (int64_t)c->info.device.device_id);
	if (!e || !*log)
		return rc;
	TsText t = { e->message, strlen(e->message), sizeof e->message, false };
	ts_text_add(&t, ": ");
	for (; *log && *log != '\n' && t.n < sizeof e->message - 128; log++)
		ts_text_add(&t, "%c", *log);
	return rc;
}

static int32_t load_ptx(TsCudaModel *c, Opening *o, TesseraContext *cx, uint32_t i, TesseraError *e)
{
	const TsPlanModule *k = TS_PLAN_TABLE(c->plan, TsPlanModule, modules) + i;
	const char *name = ts_plan_str(c->plan, k->name);
	char log[LOG] = "";
	const int32_t options[2] = { TS_CU_JIT_ERROR_LOG, TS_CU_JIT_ERROR_LOG_BYTES };
	void *values[2] = { log, (void *)(uintptr_t)(LOG - 1) };
	uint8_t *text = cx->api->alloc(cx, k->ptx_text, 64);
	o->refused = false; /* by now it is about the PTX */
	if (!text)
		return ts_fail(e, TESSERA_NO_MEMORY, "no %u bytes for the PTX of module '%s'", k->ptx_text, name);
	bool whole = ts_lz4_unpack(code_at(o->m, k->ptx), k->ptx_bytes, text, k->ptx_text) && !text[k->ptx_text - 1];
	int32_t code = whole ? c->cu.ModuleLoadDataEx(&c->module[i], text, 2, options, values) : 0;
	cx->api->release(cx, text, k->ptx_text);
	if (!whole)
		return ts_fail(e, TESSERA_VERSION, "module '%s' is damaged: its PTX has no end", name);
	note_refusal(o, c, code, NULL, 0);
	if (code)
		return jit_failed(c, code, name, log, e);
	c->jit++;
	return TESSERA_OK;
}

static int32_t load(TsCudaModel *c, Opening *o, TesseraContext *cx, uint32_t i, TesseraError *e)
{
	const TsPlanModule *k = TS_PLAN_TABLE(c->plan, TsPlanModule, modules) + i;
	const char *name = ts_plan_str(c->plan, k->name);
	int32_t sm = c->info.sm, of = (int32_t)k->sm;
	bool exact = k->flags & TS_MODULE_EXACT, ptx = k->ptx_bytes && (exact ? of == sm : of <= sm);
	if (!k->cubin_bytes || (of != sm && (exact || of / 10 != sm / 10 || of > sm)))
		return load_ptx(c, o, cx, i, e); /* there is some, as the plan fits */
	int32_t code = c->cu.ModuleLoadDataEx(&c->module[i], code_at(o->m, k->cubin), 0, NULL, NULL);
	note_refusal(o, c, code, code_at(o->m, k->cubin), k->cubin_bytes);
	if (o->refused && ptx)
		return load_ptx(c, o, cx, i, e);
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

/* ---- what is shared ---- */

static void drop(TesseraContext *cx, void *value)
{
	TsCudaModel *c = value;
	TsCuScope scope;
	if (!ts_cuda_enter(&c->cu, c->info.native, &scope, NULL)) {
		c->cu.CtxSynchronize(); /* kernels of it may still be running */
		for (uint32_t i = 0; i < c->n_modules; i++)
			if (c->module[i])
				c->cu.ModuleUnload(c->module[i]);
		ts_cuda_leave(&c->cu, &scope);
	}
	cx->api->release(cx, c, c->self_bytes);
}

static int32_t load_all(TsCudaModel *c, Opening *o, TesseraContext *cx, TesseraError *e)
{
	TsCuScope scope;
	int32_t rc = ts_cuda_open(&c->cu, e);
	if (rc)
		c->cu.process = 0; /* half a table: of no process, so that nothing of it is called */
	if (rc || (rc = ts_cuda_enter(&c->cu, c->info.native, &scope, e)))
		return rc;
	for (uint32_t i = 0; i < c->n_modules && !rc; i++)
		rc = load(c, o, cx, i, e);
	for (uint32_t i = 0; i < c->plan->kernels.n && !rc; i++)
		rc = find_kernel(c, i, e);
	ts_cuda_leave(&c->cu, &scope);
	return rc;
}

/* "the driver (CUDA 12.2) refused code of ptxas 13.0 for sm_90a (CUDA_ERROR_…)" */
static void add_refusal(TsText *t, const TsCuda *cu, const Opening *o)
{
	ts_text_add(t, "the driver (CUDA %d.%d) refused code", (int64_t)cu->version / 1000, (int64_t)cu->version % 1000 / 10);
	if (o->release)
		ts_text_add(t, " of ptxas ");
	if (o->release)
		add_release(t, o->release);
	ts_text_add(t, " for %s (", o->target);
	ts_cuda_add_code(cu, t, o->code);
	ts_text_add(t, ")");
}

static void add_note(TsCudaModel *c, const Opening *o)
{
	TsText t = { c->info.note, 0, sizeof c->info.note, false };
	const char *of = ts_plan_str(c->plan, c->plan->target);
	c->info.note[0] = 0;
	if (o->code) {
		add_refusal(&t, &c->cu, o);
		ts_text_add(&t, c->jit ? "; it compiled %s's PTX" : "; it took %s's", of);
	} else if (c->jit) {
		ts_text_add(&t, "there is no machine code for sm_%d, the driver compiled %s's PTX", (int64_t)c->info.sm, of);
	}
}

static TsCudaModel *open_plan(TesseraContext *cx, Opening *o, const TsPlanHeader *p, TesseraError *e)
{
	uint64_t bytes = sizeof(TsCudaModel) + (p->modules.n + (uint64_t)p->kernels.n) * sizeof(TsCuHandle);
	TsCudaModel *c = cx->api->alloc(cx, bytes, 64);
	o->refused = false;
	if (!c) {
		ts_fail(e, TESSERA_NO_MEMORY, "no memory for a model of %u bytes", bytes);
		return NULL;
	}
	memset(c, 0, bytes);
	c->self_bytes = bytes;
	c->plan = p;
	c->info = *o->info;
	c->n_modules = p->modules.n;
	c->module = (TsCuHandle *)(void *)(c + 1);
	c->function = c->module + p->modules.n;
	if (!load_all(c, o, cx, e)) {
		add_note(c, o);
		return c;
	}
	if (o->refused && e == o->e) {
		TsText t = { e->message, strlen(e->message), sizeof e->message, false }, note = { o->info->note, 0, sizeof o->info->note, false };
		add_refusal(&note, &c->cu, o);
		ts_text_add(&t, "; %s", o->info->note);
	}
	drop(cx, c);
	return NULL;
}

/* plan by plan, the best first; when the driver refuses all of them, the error is that of the first */
static void *make(TesseraContext *cx, void *arg)
{
	Opening *o = arg;
	const TsPlanHeader *p;
	TesseraError later, *e = o->e;
	TsCudaModel *c = NULL;
	int32_t rank = INT32_MAX;
	while (!ts_cuda_choose_plan(o->m, o->info, &rank, &p, e) && p && !(c = open_plan(cx, o, p, e)) && o->refused)
		e = &later;
	if (!c && !o->refused && e == &later)
		*o->e = later;
	return c;
}

int32_t ts_cuda_model_open(const TesseraModel *m, TesseraContext *cx, TesseraDeviceInfo *info, TsCudaModel **out, TesseraError *e)
{
	TesseraError own = { .code = TESSERA_NO_MEMORY, .message = "no memory for a model" };
	Opening o = { .m = m, .info = info, .e = &own };
	info->note[0] = 0;
	*out = cx->api->shared(cx, m->device_plans, make, drop, &o);
	if (*out)
		memcpy(info->note, (*out)->info.note, sizeof info->note);
	else if (!o.refused)
		info->note[0] = 0;
	return *out ? TESSERA_OK : ts_fail(e, own.code, "%s", own.message);
}

/* ---- weights ---- */

static void drop_weights(TesseraContext *cx, void *value)
{
	TsCudaModel *c = value;
	TsCuScope scope;
	(void)cx;
	if (c->weights && !ts_cuda_enter(&c->cu, c->info.native, &scope, NULL)) {
		c->cu.CtxSynchronize();
		c->cu.MemFree(c->weights);
		ts_cuda_leave(&c->cu, &scope);
	}
	c->weights = 0;
}

static void *fill(TesseraContext *cx, void *arg)
{
	const Filling *f = arg;
	TsCudaModel *c = f->c;
	uint64_t bytes = c->plan->device_bytes;
	TsCuScope scope;
	int32_t rc = ts_cuda_enter(&c->cu, c->info.native, &scope, f->e);
	if (rc)
		return NULL;
	if (bytes && !(rc = ts_cuda_fail(&c->cu, c->cu.MemAlloc(&c->weights, bytes), f->e, "get %u bytes for weights on cuda:%d", bytes, (int64_t)c->info.device.device_id)))
		rc = ts_cuda_upload(c, f->m, cx, f->weights, f->e);
	ts_cuda_leave(&c->cu, &scope);
	if (rc)
		drop_weights(cx, c);
	return rc ? NULL : c;
}

int32_t ts_cuda_weights_open(TsCudaModel *c, const TesseraModel *m, TesseraContext *cx, const char *path, TesseraError *e)
{
	TesseraError own = { .code = TESSERA_NO_MEMORY, .message = "no memory for a model" };
	Filling f = { c, m, path, &own };
	return cx->api->shared(cx, &c->weights, fill, drop_weights, &f) ? TESSERA_OK : ts_fail(e, own.code, "%s", own.message);
}
