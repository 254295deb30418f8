/* The GPU of a context: found, or asked for by number; its CUDA context; memory and copies for callers; and which plan runs on it. */
#include "rtlib/cuda.h"
#include <stdatomic.h>

/* ---- plans ---- */

int32_t ts_cuda_plan_sm(const TsPlanHeader *p)
{
	const char *t = ts_plan_str(p, p->target);
	int32_t sm = 0;
	if (t[0] != 's' || t[1] != 'm' || t[2] != '_')
		return 0;
	for (t += 3; *t >= '0' && *t <= '9' && sm < 10000; t++)
		sm = sm * 10 + *t - '0';
	return sm;
}

static int32_t module_fit(const TsPlanModule *m, int32_t sm)
{
	int32_t of = (int32_t)m->sm;
	bool exact = m->flags & TS_MODULE_EXACT;
	if (m->cubin_bytes && of == sm)
		return 3;
	if (m->cubin_bytes && !exact && of / 10 == sm / 10 && of < sm)
		return 2;
	return m->ptx_bytes && (exact ? of == sm : of <= sm) ? 1 : 0;
}

int32_t ts_cuda_fit(const TsPlanHeader *p, int32_t sm, uint64_t shared_bytes)
{
	const TsPlanModule *m = TS_PLAN_TABLE(p, TsPlanModule, modules);
	const TsPlanKernel *k = TS_PLAN_TABLE(p, TsPlanKernel, kernels);
	int32_t fit = ts_cuda_plan_sm(p) == sm ? 3 : ts_cuda_plan_sm(p) / 10 == sm / 10 ? 2 : 1;
	for (uint32_t i = 0; i < p->modules.n; i++)
		fit = module_fit(&m[i], sm) < fit ? module_fit(&m[i], sm) : fit;
	for (uint32_t i = 0; i < p->kernels.n; i++)
		if (k[i].shared_bytes > shared_bytes)
			return 0;
	return ts_cuda_plan_sm(p) <= sm ? fit : 0;
}

int32_t ts_cuda_choose_plan(const TesseraModel *m, const TesseraDeviceInfo *d, int32_t *below, const TsPlanHeader **out, TesseraError *e)
{
	int32_t best = 0;
	*out = NULL;
	const char *wrong = ts_plan_check(m->plan, m->plan_bytes);
	for (uint32_t i = 0; i < m->n_device_plans && !wrong; i++) {
		const TesseraDevicePlan *dp = &m->device_plans[i];
		const TsPlanHeader *p = dp->plan;
		if ((wrong = ts_plan_check(p, dp->plan_bytes)) || (wrong = ts_plan_check_device(m->plan, p)))
			break;
		if (p->code_bytes > *m->device_code_bytes || p->weight_bytes > *m->weight_bytes || (p->weight_bytes && !*m->weights)) {
			wrong = "its code or weights for GPUs are cut off";
			break;
		}
		int32_t fit = ts_cuda_fit(p, d->sm, d->shared_bytes), rank = fit * 100000 + ts_cuda_plan_sm(p);
		if (fit && rank > best && rank < *below) {
			best = rank;
			*out = p;
		}
	}
	*below = best;
	return wrong ? ts_fail(e, TESSERA_VERSION, "model '%s' is damaged: %s", m->name, wrong) : TESSERA_OK;
}

/* "model 'm' holds code for sm_80, sm_90a, and none that runs on cuda:0 (NVIDIA …, sm_75)" */
static int32_t no_match(const TesseraModel *m, const TesseraDeviceInfo *d, TesseraError *e)
{
	char list[128];
	TsText t = { list, 0, sizeof list, false };
	bool newer = m->n_device_plans > 0; /* than all of them: they are for their own architectures alone */
	for (uint32_t i = 0; i < m->n_device_plans; i++) {
		ts_text_add(&t, i ? ", %s" : "%s", m->device_plans[i].target);
		newer = newer && d->sm > ts_cuda_plan_sm(m->device_plans[i].plan);
	}
	return ts_fail(e, TESSERA_UNSUPPORTED, "model '%s' holds code for %s, and none that runs on cuda:%d (%s, sm_%d)%s", m->name, t.n ? list : "no GPU",
	               (int64_t)d->device.device_id, d->name, (int64_t)d->sm, newer ? "; with --arch sm_80,... it also holds code for newer GPUs" : "");
}

/* *out NULL and an error when no plan is for this GPU */
static int32_t fits(const TesseraModel *m, const TesseraDeviceInfo *d, const TsPlanHeader **out, TesseraError *e)
{
	int32_t any = INT32_MAX, rc = ts_cuda_choose_plan(m, d, &any, out, e);
	return rc || *out ? rc : no_match(m, d, e);
}

int32_t ts_cuda_plan(const TesseraModel *m, TesseraContext *cx, const TesseraDeviceInfo *d, const TsPlanHeader **out, TesseraError *e)
{
	TesseraDeviceInfo info = *d;
	TsCudaModel *c;
	int32_t rc = fits(m, d, out, e);
	if (!rc && !(rc = ts_cuda_model_open(m, cx, &info, &c, e)))
		*out = c->plan;
	return rc;
}

/* ---- finding the GPU ---- */

static int32_t look(const TsCuda *cu, int32_t ordinal, int32_t *device, TesseraDeviceInfo *d, TesseraError *e)
{
	int32_t major = 0, minor = 0, shared = 0, code;
	*d = (TesseraDeviceInfo){ .device = { kDLCUDA, ordinal } };
	if ((code = cu->DeviceGet(device, ordinal)) || (code = cu->DeviceGetName(d->name, sizeof d->name - 1, *device)) ||
	    (code = cu->DeviceGetAttribute(&major, TS_CU_MAJOR, *device)) || (code = cu->DeviceGetAttribute(&minor, TS_CU_MINOR, *device)) ||
	    (code = cu->DeviceGetAttribute(&d->multiprocessors, TS_CU_MULTIPROCESSORS, *device)) ||
	    (code = cu->DeviceGetAttribute(&shared, TS_CU_SHARED_OPTIN, *device)))
		return ts_cuda_fail(cu, code, e, "ask about GPU cuda:%d", (int64_t)ordinal);
	d->sm = major * 10 + minor;
	d->shared_bytes = (uint64_t)shared;
	return TESSERA_OK;
}

/* ---- its CUDA context ---- */

/* the caller's if it is of this device, else the primary one. A current primary context is held like one that we made. */
static int32_t take_context(TsCudaDevice *c, TesseraError *e)
{
	const TsCuda *cu = &c->cu;
	TsCuHandle current = NULL;
	int32_t of = -1, active = 0, code = cu->CtxGetCurrent(&current);
	uint32_t flags;
	if (!code && current)
		code = cu->CtxGetDevice(&of);
	if (!code)
		code = cu->DevicePrimaryCtxGetState(c->device, &flags, &active);
	bool ours = current && of == c->device;
	if (!code && (!ours || active)) {
		code = cu->DevicePrimaryCtxRetain(&c->context, c->device);
		c->retained = !code;
	}
	if (!code && ours && c->context != current) {
		if (c->retained)
			cu->DevicePrimaryCtxRelease(c->device);
		c->retained = false;
		c->context = current;
	}
	return ts_cuda_fail(cu, code, e, "open GPU cuda:%d", (int64_t)c->device);
}

static void leave_context(TsCudaDevice *c)
{
	if (c->retained && !ts_cuda_forked(&c->cu))
		c->cu.DevicePrimaryCtxRelease(c->device);
	c->retained = false;
}

/* ---- which one ---- */

/* A GPU with the model's code on it. *elsewhere: it is none for this model, so the next may be. */
static int32_t take(TsCudaDevice *c, const TesseraModel *m, int32_t ordinal, TesseraDeviceInfo *d, bool *elsewhere, TesseraError *e)
{
	const TsPlanHeader *plan = NULL;
	TsCudaModel *code;
	int32_t rc = look(&c->cu, ordinal, &c->device, d, e);
	if (!rc)
		rc = fits(m, d, &plan, e);
	*elsewhere = rc == TESSERA_UNSUPPORTED;
	if (rc || (rc = take_context(c, e)))
		return rc;
	d->native = c->context;
	if ((rc = ts_cuda_model_open(m, c->cx, d, &code, e))) {
		*elsewhere = d->note[0];
		leave_context(c);
	}
	return rc;
}

/* the one asked for, or the first that takes the code; else the reason of the first in e, and the first refusal in d->note */
static int32_t find(TsCudaDevice *c, const TesseraModel *m, const TesseraContextOptions *o, TesseraDeviceInfo *d, bool *elsewhere, TesseraError *e)
{
	TesseraError other;
	int32_t n = 0, i = o->device_id, rc = ts_cuda_open(&c->cu, e);
	if (!rc)
		rc = ts_cuda_fail(&c->cu, c->cu.DeviceGetCount(&n), e, "count the GPUs");
	*elsewhere = rc == TESSERA_UNSUPPORTED;
	if (rc)
		return rc;
	if (i >= n)
		return ts_fail(e, TESSERA_UNSUPPORTED, "there is no GPU cuda:%d, the NVIDIA driver shows %d", (int64_t)i, (int64_t)n);
	rc = take(c, m, i, d, elsewhere, e);
	TesseraDeviceInfo first = *d;
	while (rc && *elsewhere && o->device == TESSERA_DEVICE_AUTO && ++i < n) {
		if ((rc = take(c, m, i, d, elsewhere, &other)) && !*elsewhere)
			*e = other;
		if (!first.note[0])
			first = *d;
	}
	if (rc)
		*d = first;
	return rc;
}

static void no_gpu(TesseraDeviceInfo *info, const char *why)
{
	TsText t = { info->note, 0, sizeof info->note, false };
	*info = (TesseraDeviceInfo){ .device = { kDLCPU, 0 }, .name = "CPU" };
	ts_text_add(&t, "%s", why);
}

int32_t ts_cuda_device_open(const TesseraModel *m, const TesseraContextOptions *o, TesseraContext *cx, void **out, TesseraDeviceInfo *info, TesseraError *e)
{
	TesseraError why = { 0 };
	TesseraDeviceInfo d = { 0 };
	bool elsewhere = false;
	TsCudaDevice *c = cx->api->alloc(cx, sizeof *c, 64);
	if (!c)
		return ts_fail(e, TESSERA_NO_MEMORY, "no memory for a device of %u bytes", (uint64_t)sizeof *c);
	memset(c, 0, sizeof *c);
	c->cx = cx;
	int32_t rc = find(c, m, o, &d, &elsewhere, &why);
	if (!rc) {
		*info = d;
		*out = c;
		return TESSERA_OK;
	}
	cx->api->release(cx, c, sizeof *c);
	if (o->device != TESSERA_DEVICE_AUTO || !elsewhere)
		return ts_fail(e, rc, "%s", why.message);
	no_gpu(info, d.note[0] ? d.note : why.message); /* no driver, no GPU, no code that it takes: the CPU */
	return TESSERA_OK;
}

void ts_cuda_device_close(TesseraContext *cx, void *device)
{
	TsCudaDevice *c = device;
	TsCuScope scope;
	bool entered = c->stage.cx && !ts_cuda_enter(&c->cu, c->context, &scope, NULL);
	ts_cuda_stage_close(&c->stage);
	if (entered)
		ts_cuda_leave(&c->cu, &scope);
	leave_context(c);
	cx->api->release(cx, c, sizeof *c);
}

/* ---- memory for callers ---- */

int32_t ts_cuda_alloc(void *device, uint64_t bytes, void **out, TesseraError *e)
{
	TsCudaDevice *c = device;
	TsCuScope scope;
	TsCuPtr at = 0;
	int32_t rc = ts_cuda_enter(&c->cu, c->context, &scope, e);
	if (rc)
		return rc;
	rc = ts_cuda_fail(&c->cu, c->cu.MemAlloc(&at, bytes), e, "get %u bytes of memory on cuda:%d", bytes, (int64_t)c->device);
	ts_cuda_leave(&c->cu, &scope);
	*out = (void *)(uintptr_t)at;
	return rc;
}

int32_t ts_cuda_release(void *device, void *memory, TesseraError *e)
{
	TsCudaDevice *c = device;
	TsCuScope scope;
	int32_t rc = ts_cuda_enter(&c->cu, c->context, &scope, e);
	if (rc)
		return rc;
	rc = ts_cuda_fail(&c->cu, c->cu.MemFree((TsCuPtr)(uintptr_t)memory), e, "give back memory of cuda:%d", (int64_t)c->device);
	ts_cuda_leave(&c->cu, &scope);
	return rc;
}

/* TS_CU_MEMORY_*; 0: memory of the host that the driver knows nothing of */
static int32_t kind_of(const TsCuda *cu, const void *p, int32_t *kind)
{
	static const int32_t what[1] = { TS_CU_POINTER_TYPE };
	void *values[1] = { kind };
	*kind = 0;
	return cu->PointerGetAttributes(1, what, values, (TsCuPtr)(uintptr_t)p);
}

/* A long copy to or from memory that the driver knows nothing of goes over a stage of the context's, unless another thread has it. */
static int32_t copy_staged(TsCudaDevice *c, void *to, const void *from, uint64_t bytes, bool *done, TesseraError *e)
{
	TesseraError late;
	int32_t to_kind = 0, from_kind = 0, rc = ts_cuda_fail(&c->cu, kind_of(&c->cu, to, &to_kind), e, "ask where memory lies");
	if (!rc)
		rc = ts_cuda_fail(&c->cu, kind_of(&c->cu, from, &from_kind), e, "ask where memory lies");
	bool put = from_kind == 0 && to_kind == TS_CU_MEMORY_DEVICE, get = to_kind == 0 && from_kind == TS_CU_MEMORY_DEVICE;
	if (rc || !(put || get) || atomic_exchange(&c->staging, 1))
		return rc;
	if (!c->stage.cx && (rc = ts_cuda_stage_open(&c->stage, &c->cu, c->cx, bytes, e)))
		ts_cuda_stage_close(&c->stage);
	if (!rc)
		rc = put ? ts_cuda_stage_put(&c->stage, (TsCuPtr)(uintptr_t)to, from, bytes, e) : ts_cuda_stage_get(&c->stage, to, (TsCuPtr)(uintptr_t)from, bytes, e);
	if (c->stage.cx) { /* after a failure too: nothing of it may be under way when the next copy, or the end, comes */
		int32_t end = ts_cuda_stage_wait(&c->stage, rc ? &late : e);
		rc = rc ? rc : end;
	}
	*done = !rc;
	atomic_store(&c->staging, 0);
	return rc;
}

/* unified addresses: the driver knows where each side lies */
int32_t ts_cuda_copy(void *device, void *to, const void *from, uint64_t bytes, TesseraError *e)
{
	TsCudaDevice *c = device;
	TsCuScope scope;
	bool done = false;
	int32_t rc = ts_cuda_enter(&c->cu, c->context, &scope, e), code;
	if (rc)
		return rc;
	if (bytes >= TS_STAGE_LOCKED)
		rc = copy_staged(c, to, from, bytes, &done, e);
	if (!rc && !done) {
		code = c->cu.Memcpy((TsCuPtr)(uintptr_t)to, (TsCuPtr)(uintptr_t)from, bytes);
		if (!code) /* copies within the device may still be under way */
			code = c->cu.StreamSynchronize(NULL);
		rc = ts_cuda_fail(&c->cu, code, e, "copy %u bytes to or from cuda:%d", bytes, (int64_t)c->device);
	}
	ts_cuda_leave(&c->cu, &scope);
	return rc;
}

int32_t ts_cuda_wait(void *device, void *stream, TesseraError *e)
{
	TsCudaDevice *c = device;
	TsCuScope scope;
	int32_t rc = ts_cuda_enter(&c->cu, c->context, &scope, e);
	if (rc)
		return rc;
	rc = ts_cuda_fail(&c->cu, c->cu.StreamSynchronize(stream), e, "finish the work on cuda:%d", (int64_t)c->device);
	ts_cuda_leave(&c->cu, &scope);
	return rc;
}
