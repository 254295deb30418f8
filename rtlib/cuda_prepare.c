/* A session on a GPU: its memory there, and its launches: kernel, grid, parameters and tensor maps of each, and the graph that holds
 * them one behind another. The resolved launches (session.c) give kernels, pointers and numbers. */
#include "rtlib/cuda.h"

static uint64_t up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

/* ---- memory ---- */

int32_t ts_cuda_attach(TsRtSession *s, const char *weights, TesseraError *e)
{
	const TsPlanEntry *en = TS_PLAN_TABLE(s->plan, TsPlanEntry, entries);
	uint32_t most = 0;
	for (uint32_t i = 0; i < s->plan->entries.n; i++)
		most = en[i].n_inputs + en[i].n_outputs > most ? en[i].n_inputs + en[i].n_outputs : most;
	uint64_t bytes = sizeof(TsCudaSession) + most * 2ull * sizeof(void *);
	TesseraDeviceInfo info;
	TsCudaModel *model;
	s->cx->api->device(s->cx, &info);
	int32_t rc = ts_cuda_model_open(s->model, s->cx, &info, &model, e);
	if (rc || (rc = ts_cuda_weights_open(model, s->model, s->cx, weights, e)))
		return rc;
	TsCudaSession *c = s->cx->api->alloc(s->cx, bytes, 64);
	if (!c)
		return ts_fail(e, TESSERA_NO_MEMORY, "no memory for a session of %u bytes", bytes);
	memset(c, 0, bytes);
	c->self_bytes = bytes;
	c->model = model;
	c->base = (uint8_t **)(void *)(c + 1);
	c->checked = c->base + most;
	c->n_base = most;
	c->entry = -1;
	s->device = c;
	s->device_weights = (uint8_t *)(uintptr_t)model->weights;
	return TESSERA_OK;
}

void ts_cuda_forget_graph(TsCudaSession *c)
{
	const TsCuda *cu = &c->model->cu;
	if (c->exec)
		cu->GraphExecDestroy(c->exec);
	if (c->graph)
		cu->GraphDestroy(c->graph);
	c->exec = c->graph = NULL;
	c->graph_current = false;
}

void ts_cuda_detach(TsRtSession *s)
{
	TsCudaSession *c = ts_cuda_session(s);
	TsCuScope scope;
	if (!c)
		return;
	if (!ts_cuda_enter(&c->model->cu, c->model->info.native, &scope, NULL)) {
		ts_cuda_forget_graph(c);
		ts_cuda_leave(&c->model->cu, &scope);
	}
	s->cx->api->release(s->cx, c, c->self_bytes);
	s->device = NULL;
}

/* What is given back may still be in use by what was enqueued. */
static void give_back(const TsCuda *cu, void *memory)
{
	if (!memory)
		return;
	cu->CtxSynchronize();
	cu->MemFree((TsCuPtr)(uintptr_t)memory);
}

void ts_cuda_drop(TsRtSession *s, void *memory)
{
	TsCudaModel *m = ts_cuda_session(s)->model;
	TsCuScope scope;
	if (ts_cuda_enter(&m->cu, m->info.native, &scope, NULL))
		return;
	give_back(&m->cu, memory);
	ts_cuda_leave(&m->cu, &scope);
}

int32_t ts_cuda_resize(TsRtSession *s, void **memory, uint64_t have, uint64_t want, const char *what, TesseraError *e)
{
	TsCudaModel *m = ts_cuda_session(s)->model;
	TsCuScope scope;
	TsCuPtr at = 0;
	(void)have;
	int32_t rc = ts_cuda_enter(&m->cu, m->info.native, &scope, e);
	if (rc)
		return rc;
	give_back(&m->cu, *memory);
	rc = ts_cuda_fail(&m->cu, m->cu.MemAlloc(&at, want), e, "get %u bytes of %s on cuda:%d", want, what, (int64_t)m->info.device.device_id);
	ts_cuda_leave(&m->cu, &scope);
	*memory = rc ? NULL : (void *)(uintptr_t)at;
	return rc;
}

int32_t ts_cuda_fill(TsRtSession *s, void *to, const void *from, uint64_t bytes, TesseraError *e)
{
	TsCudaModel *m = ts_cuda_session(s)->model;
	TsCuScope scope;
	TsCuPtr at = (TsCuPtr)(uintptr_t)to;
	int32_t rc = ts_cuda_enter(&m->cu, m->info.native, &scope, e), code;
	if (rc)
		return rc;
	code = from ? m->cu.Memcpy(at, (TsCuPtr)(uintptr_t)from, bytes) : m->cu.MemsetD8(at, 0, bytes);
	if (!code) /* both may run on after they return */
		code = m->cu.StreamSynchronize(NULL);
	rc = ts_cuda_fail(&m->cu, code, e, "fill a state on cuda:%d", (int64_t)m->info.device.device_id);
	ts_cuda_leave(&m->cu, &scope);
	return rc;
}

/* ---- tensor maps ---- */

static const int8_t map_types[TS_PLAN_DTYPES] = { /* CUtensorMapDataType; -1: none */
	[TS_PLAN_F32] = 7, [TS_PLAN_F64] = 8, [TS_PLAN_F16] = 6, [TS_PLAN_BF16] = 9, [TS_PLAN_INT64] = 5, [TS_PLAN_INT32] = 3, [TS_PLAN_BOOL] = 0,
	[TS_PLAN_INT16] = 1, [TS_PLAN_INT8] = 0, [TS_PLAN_UINT8] = 0, [TS_PLAN_INT4] = -1, [TS_PLAN_FP8_E4M3] = 0, [TS_PLAN_FP8_E5M2] = 0,
	[TS_PLAN_FP6_E2M3] = 0, [TS_PLAN_FP6_E3M2] = 0, [TS_PLAN_FP4_E2M1] = -1, [TS_PLAN_COMPLEX64] = 4,
};

static int32_t bad_map(const TsRtSession *s, const TsLaunch *l, uint32_t map, const char *what, int64_t value, TesseraError *e)
{
	const TsPlanStep *st = TS_PLAN_TABLE(s->plan, TsPlanStep, steps) + l->step;
	return ts_fail(e, TESSERA_RANGE, "step '%s': tensor map %d can't be made: its %s is %d for these sizes", ts_plan_str(s->plan, st->name), (int64_t)map,
	               what, value);
}

/* sizes and strides of map m for this launch, from the kernel's formulas; the driver counts axes from the innermost */
static int32_t measure_map(const TsRtSession *s, const TsLaunch *l, const TsEval *v, uint32_t number, const TsPlanMap *m, TsCudaMap *out, TesseraError *e)
{
	const uint32_t *w = TS_PLAN_TABLE(s->plan, uint32_t, words);
	int bits = ts_plan_dtype_bits(m->dtype);
	if (map_types[m->dtype] < 0)
		return bad_map(s, l, number, "element's size in bits", bits, e);
	*out = (TsCudaMap){ .slot = (uint32_t)(l->ptr - (void *const *)s->ptr) + m->arg, .dtype = m->dtype, .rank = m->rank, .swizzle = m->swizzle };
	for (uint32_t i = 0; i < m->rank; i++) {
		uint32_t at = m->rank - 1 - i, size = w[m->dims + at], step = w[m->strides + at];
		int64_t bytes = 0;
		if (!v->ok[size] || !v->ok[step] || v->value[size] < 0 || v->value[size] > (int64_t)1 << 32)
			return bad_map(s, l, number, "size", v->value[size], e);
		out->dims[i] = v->value[size] ? (uint64_t)v->value[size] : 1; /* nothing of it is read, but a map has no empty axis */
		out->box[i] = w[m->box + at];
		if (i && (__builtin_mul_overflow(v->value[step], (int64_t)bits / 8, &bytes) || bytes < 0 || bytes % 16 || bytes >= (int64_t)1 << 40) && out->dims[i] > 1)
			return bad_map(s, l, number, "stride in bytes (wanted a multiple of 16 below 2^40)", bytes, e);
		out->strides[i] = out->dims[i] > 1 || (bytes > 0 && bytes % 16 == 0 && bytes < (int64_t)1 << 40) ? (uint64_t)bytes : 16;
	}
	return TESSERA_OK;
}

int32_t ts_cuda_encode(TsRtSession *s, uint32_t map, TesseraError *e)
{
	static const uint32_t ones[TS_MAP_RANK] = { 1, 1, 1, 1, 1 };
	TsCudaSession *c = ts_cuda_session(s);
	const TsCudaMap *m = &c->map_of[map];
	int32_t swizzle = m->swizzle == 128 ? 3 : m->swizzle == 64 ? 2 : m->swizzle == 32 ? 1 : 0;
	c->count.maps_encoded++;
	return ts_cuda_fail(&c->model->cu,
	                    c->model->cu.TensorMapEncodeTiled(&c->map[map], map_types[m->dtype], m->rank, s->ptr[m->slot], m->dims, m->strides + 1, m->box, ones, 0,
	                                                      swizzle, 3 /* 256 bytes at a time into the second cache */, 0),
	                    e, "make a tensor map of %d axes", (int64_t)m->rank);
}

static int32_t measure_maps(TsRtSession *s, const TsLaunch *l, const TsPlanKernel *k, uint32_t first, TesseraError *e)
{
	TsCudaSession *c = ts_cuda_session(s);
	int64_t value[TS_MAX_FORMULAS];
	uint8_t ok[TS_MAX_FORMULAS];
	TsEval v = { .ex = TS_PLAN_TABLE(s->plan, TsPlanExpr, formulas) + k->formula, .n = k->n_formulas, .num = l->num, .value = value, .ok = ok };
	if (!k->n_maps)
		return TESSERA_OK;
	ts_eval_dims(&v);
	for (uint32_t i = 0; i < k->n_maps; i++) {
		int32_t rc = measure_map(s, l, &v, i, TS_PLAN_TABLE(s->plan, TsPlanMap, maps) + k->map + i, &c->map_of[first + i], e);
		if (rc || (rc = ts_cuda_encode(s, first + i, e)))
			return rc;
	}
	return TESSERA_OK;
}

/* ---- launches ---- */

uint64_t ts_cuda_plan_bytes(const TsNeed *n)
{
	return n->maps * (sizeof(TsCuMap) + sizeof(TsCudaMap)) + n->launches * sizeof(TsCudaLaunch) + (n->ptrs + n->nums + n->maps) * sizeof(void *) + 64;
}

static int32_t grid_of(TsRtSession *s, const TsLaunch *l, const TsPlanChoice *choice, const TsPlanKernel *k, TsCuNode *node, TesseraError *e)
{
	const TsPlanStep *st = TS_PLAN_TABLE(s->plan, TsPlanStep, steps) + l->step;
	int64_t cells = l->cells, most = (int64_t)choice->per_sm * ts_cuda_session(s)->model->info.multiprocessors / k->cluster;
	if (cells > INT32_MAX / (int64_t)k->cluster) /* also where few CTAs walk them: kernels count cells in 32 bits */
		return ts_fail(e, TESSERA_RANGE, "step '%s': its grid is %d for these sizes, a GPU's has at most %d cells", ts_plan_str(s->plan, st->name),
		               l->cells, (int64_t)INT32_MAX);
	if (k->flags & TS_KERNEL_PERSISTENT) {
		most = most < 1 ? 1 : most;
		cells = cells < most ? cells : most;
		((int64_t *)(uintptr_t)l->num)[st->n_nums] = cells;
	}
	*node = (TsCuNode){ .grid = { (uint32_t)cells * k->cluster, 1, 1 }, .block = { k->threads, 1, 1 }, .shared = k->shared_bytes };
	return TESSERA_OK;
}

/* where the next launch's parts go */
typedef struct { void **params; uint32_t map; uint64_t fixup; } At;

static int32_t set_launch(TsRtSession *s, uint64_t i, At *at, TesseraError *e)
{
	TsCudaSession *c = ts_cuda_session(s);
	const TsLaunch *l = &s->launch[i];
	const TsPlanStep *st = TS_PLAN_TABLE(s->plan, TsPlanStep, steps) + l->step;
	const TsPlanChoice *choice = TS_PLAN_TABLE(s->plan, TsPlanChoice, choices) + l->choice;
	const TsPlanKernel *k = TS_PLAN_TABLE(s->plan, TsPlanKernel, kernels) + choice->kernel;
	TsCudaLaunch *d = &c->launch[i];
	uint32_t n_nums = st->n_nums + (k->flags & TS_KERNEL_PERSISTENT ? 1 : 0);
	memset(d, 0, sizeof *d);
	int32_t rc = grid_of(s, l, choice, k, &d->node, e);
	if (rc)
		return rc;
	d->node.function = c->model->function[choice->kernel];
	d->node.params = at->params;
	d->slot = (uint32_t)(l->ptr - (void *const *)s->ptr);
	d->n_slots = st->n_args;
	d->map = at->map;
	d->n_maps = k->n_maps;
	for (; at->fixup < s->need.fixups && s->fixup[at->fixup].slot < d->slot + d->n_slots; at->fixup++) {
		s->ptr[s->fixup[at->fixup].slot] = s->workspace; /* until a run says where */
		d->moves = true;
	}
	for (uint32_t n = 0; n < st->n_args; n++)
		*at->params++ = &s->ptr[d->slot + n];
	for (uint32_t n = 0; n < n_nums; n++)
		*at->params++ = (void *)(uintptr_t)&l->num[n];
	for (uint32_t n = 0; n < k->n_maps; n++)
		*at->params++ = &c->map[at->map + n];
	rc = measure_maps(s, l, k, at->map, e);
	at->map += k->n_maps;
	return rc;
}

/* one chain: each kernel behind the one before */
int32_t ts_cuda_record(TsRtSession *s, TesseraError *e)
{
	TsCudaSession *c = ts_cuda_session(s);
	const TsCuda *cu = &c->model->cu;
	int32_t code = cu->GraphCreate(&c->graph, 0);
	for (uint64_t i = 0; i < s->need.launches && !code; i++)
		code = cu->GraphAddKernelNode(&c->launch[i].graph_node, c->graph, i ? &c->launch[i - 1].graph_node : NULL, i ? 1 : 0, &c->launch[i].node);
	if (!code)
		code = cu->GraphInstantiateWithFlags(&c->exec, c->graph, 0);
	if (code)
		ts_cuda_forget_graph(c);
	c->graph_current = !code;
	return ts_cuda_fail(cu, code, e, "record the graph of %u kernels", s->need.launches);
}

static int32_t set_all(TsRtSession *s, uint8_t *memory, bool record, TesseraError *e)
{
	TsCudaSession *c = ts_cuda_session(s);
	const TsNeed *n = &s->need;
	c->map = (TsCuMap *)(void *)(memory + (up((uintptr_t)memory, 64) - (uintptr_t)memory));
	c->map_of = (TsCudaMap *)(void *)(c->map + n->maps);
	c->launch = (TsCudaLaunch *)(void *)(c->map_of + n->maps);
	At at = { .params = (void **)(void *)(c->launch + n->launches) };
	for (uint64_t i = 0; i < n->launches; i++) {
		int32_t rc = set_launch(s, i, &at, e);
		if (rc)
			return rc;
	}
	return record && n->launches ? ts_cuda_record(s, e) : TESSERA_OK;
}

int32_t ts_cuda_prepared(TsRtSession *s, void *memory, bool record, TesseraError *e)
{
	TsCudaSession *c = ts_cuda_session(s);
	const TsCuda *cu = &c->model->cu;
	TsCuScope scope;
	int32_t rc = ts_cuda_enter(cu, c->model->info.native, &scope, e);
	if (rc)
		return rc;
	ts_cuda_forget_graph(c);
	c->placed = false;
	c->repeats = 0;
	if (c->entry != s->entry)
		memset(c->checked, 0, c->n_base * sizeof *c->checked);
	c->entry = s->entry;
	rc = set_all(s, memory, record, e);
	ts_cuda_leave(cu, &scope);
	return rc;
}

/* ---- what there is ---- */

void ts_cuda_explain(const TsRtSession *s, const TsLaunch *l, TsText *t)
{
	const TsCudaSession *c = ts_cuda_session(s);
	const TsCudaModel *m = c->model;
	if (!l) {
		ts_text_add(t, "device cuda:%d, %s, sm_%d, code for %s", (int64_t)m->info.device.device_id, m->info.name, (int64_t)m->info.sm,
		            ts_plan_str(s->plan, s->plan->target));
		if (m->jit)
			ts_text_add(t, ", %u of %u modules compiled from PTX by the driver", (uint64_t)m->jit, (uint64_t)m->n_modules);
		ts_text_add(t, c->exec ? ", recorded as a graph" : "");
		return;
	}
	const TsCudaLaunch *d = &c->launch[l - s->launch];
	ts_text_add(t, ", %u CTAs of %u threads", (uint64_t)d->node.grid[0], (uint64_t)d->node.block[0]);
	if (d->node.shared)
		ts_text_add(t, ", %u bytes shared", (uint64_t)d->node.shared);
	if (d->n_maps)
		ts_text_add(t, d->n_maps == 1 ? ", a tensor map" : ", %u tensor maps", (uint64_t)d->n_maps);
}

void ts_cuda_stats(const TsRtSession *s, TesseraStats *out)
{
	const TsCudaSession *c = ts_cuda_session(s);
	out->sm = c->model->info.sm;
	out->plan_sm = ts_cuda_plan_sm(s->plan);
	out->modules = c->model->n_modules;
	out->jit = c->model->jit;
	out->upload_bytes = s->plan->device_bytes;
	out->graph_runs = c->count.graph_runs;
	out->plain_runs = c->count.plain_runs;
	out->maps_encoded = c->count.maps_encoded;
	out->nodes_updated = c->count.nodes_updated;
	out->pointers_checked = c->count.pointers_checked;
}

const TsDeviceOps ts_cuda_ops = {
	.open = ts_cuda_device_open, .close = ts_cuda_device_close, .alloc = ts_cuda_alloc, .release = ts_cuda_release, .copy = ts_cuda_copy, .wait = ts_cuda_wait,
	.plan = ts_cuda_plan, .attach = ts_cuda_attach, .detach = ts_cuda_detach, .resize = ts_cuda_resize, .drop = ts_cuda_drop, .fill = ts_cuda_fill,
	.plan_bytes = ts_cuda_plan_bytes, .prepared = ts_cuda_prepared, .run = ts_cuda_run, .explain = ts_cuda_explain, .stats = ts_cuda_stats,
};
