/* Questions about a model and a session, and the function table that answers them all. */
#include "rtlib/device.h"
#include "rtlib/sys.h"

static const TsPlanHeader *plan_of(const TesseraModel *m) { return ts_plan_check(m->plan, m->plan_bytes) ? NULL : m->plan; }

static const TsPlanEntry *entry_of(const TesseraModel *m, int32_t graph)
{
	const TsPlanHeader *p = plan_of(m);
	return p ? ts_entry(p, graph, NULL) : NULL;
}

static int32_t graph_count(const TesseraModel *m)
{
	const TsPlanHeader *p = plan_of(m);
	return p ? (int32_t)p->entries.n : 0;
}

static const char *graph_name(const TesseraModel *m, int32_t graph)
{
	const TsPlanEntry *en = entry_of(m, graph);
	return en ? ts_plan_str(m->plan, en->name) : NULL;
}

static int32_t graph_inputs(const TesseraModel *m, int32_t graph)
{
	const TsPlanEntry *en = entry_of(m, graph);
	return en ? (int32_t)en->n_inputs : -1;
}

static int32_t graph_outputs(const TesseraModel *m, int32_t graph)
{
	const TsPlanEntry *en = entry_of(m, graph);
	return en ? (int32_t)en->n_outputs : -1;
}

static int32_t tensor_info(const TesseraModel *m, int32_t graph, int32_t tensor, TesseraTensorInfo *out)
{
	const TsPlanEntry *en = entry_of(m, graph);
	if (!out || !en || tensor < 0 || (uint32_t)tensor >= en->n_inputs + en->n_outputs)
		return TESSERA_INVALID;
	const TsPlanHeader *p = m->plan;
	const TsPlanTensor *t = TS_PLAN_TABLE(p, TsPlanTensor, tensors) + en->tensor + tensor;
	const TsPlanExpr *ex = TS_PLAN_TABLE(p, TsPlanExpr, exprs);
	memset(out, 0, sizeof *out);
	out->name = ts_plan_str(p, t->name);
	out->dtype = ts_plan_dtype_dl(t->dtype);
	out->rank = (int32_t)t->rank;
	for (uint32_t k = 0; k < t->rank; k++) {
		const TsPlanExpr *x = &ex[TS_PLAN_TABLE(p, uint32_t, words)[t->dims + k]];
		out->dims[k] = x->kind == TS_EX_CONST ? x->value : x->kind == TS_EX_DIM ? -1 - (int64_t)x->a : INT64_MIN;
	}
	return TESSERA_OK;
}

static int32_t dim_count(const TesseraModel *m)
{
	const TsPlanHeader *p = plan_of(m);
	return p ? (int32_t)p->dims.n : 0;
}

static int32_t dim_info(const TesseraModel *m, int32_t dim, TesseraDimInfo *out)
{
	const TsPlanHeader *p = plan_of(m);
	if (!out || !p || dim < 0 || (uint32_t)dim >= p->dims.n)
		return TESSERA_INVALID;
	const TsPlanDim *d = TS_PLAN_TABLE(p, TsPlanDim, dims) + dim;
	*out = (TesseraDimInfo){ ts_plan_str(p, d->name), d->min, d->max, d->multiple_of };
	return TESSERA_OK;
}

/* needs no session, so the expressions are evaluated in pages of its own */
static int32_t workspace(const TesseraModel *m, int32_t graph, const int64_t *dims, int32_t n_dims, uint64_t *bytes, TesseraError *e)
{
	const char *wrong = ts_plan_check(m->plan, m->plan_bytes);
	if (wrong)
		return ts_fail(e, TESSERA_VERSION, "model '%s' is damaged: %s", m->name, wrong);
	const TsPlanHeader *p = m->plan;
	const TsPlanEntry *en = ts_entry(p, graph, e);
	int32_t rc = !en ? TESSERA_INVALID : bytes ? ts_check_dims(p, dims, n_dims, e) : ts_fail(e, TESSERA_INVALID, "argument 'bytes' is NULL");
	if (rc)
		return rc;
	size_t n = p->exprs.n, size = n * 10 + 64;
	int64_t *value = ts_pages(size);
	if (!value)
		return ts_fail(e, TESSERA_NO_MEMORY, "no memory for %u bytes", (uint64_t)size);
	TsEval v = { .ex = TS_PLAN_TABLE(p, TsPlanExpr, exprs), .n = p->exprs.n, .dims = dims, .value = value, .ok = (uint8_t *)(value + n) };
	ts_eval_dims(&v);
	if (!v.ok[en->workspace] || value[en->workspace] < 0)
		rc = ts_fail(e, TESSERA_RANGE, "graph '%s': its workspace can't be computed within 2^63 for these dims", ts_plan_str(p, en->name));
	else
		*bytes = (uint64_t)value[en->workspace];
	ts_pages_free(value, size);
	return rc;
}

static int32_t explain(TesseraSession *head, void (*line)(void *, const char *), void *user, TesseraError *e)
{
	TsRtSession *s = ts_session(head);
	char buffer[512];
	if (!line)
		return ts_fail(e, TESSERA_INVALID, "argument 'line' is NULL");
	if (!ts_enter(s, e))
		return TESSERA_BUSY;
	if (!s->ready) {
		ts_leave(s);
		return ts_fail(e, TESSERA_INVALID, "nothing is prepared yet");
	}
	if (s->ops) {
		TsText t = { buffer, 0, sizeof buffer, false };
		s->ops->explain(s, NULL, &t);
		line(user, buffer);
	}
	for (uint64_t i = 0; i < s->need.launches; i++) {
		const TsLaunch *l = &s->launch[i];
		const TsPlanStep *st = TS_PLAN_TABLE(s->plan, TsPlanStep, steps) + l->step;
		const TsPlanChoice *c = TS_PLAN_TABLE(s->plan, TsPlanChoice, choices) + l->choice;
		const TsPlanKernel *k = TS_PLAN_TABLE(s->plan, TsPlanKernel, kernels) + c->kernel;
		const char *label = ts_plan_str(s->plan, c->label);
		TsText t = { buffer, 0, sizeof buffer, false };
		ts_text_add(&t, "%s: %s%s%s, kernel %s, %d cells", ts_plan_str(s->plan, st->name), *label ? "variant " : "", label,
		            *label ? "" : "one variant", ts_plan_str(s->plan, k->name), l->cells);
		if (s->ops)
			s->ops->explain(s, l, &t);
		line(user, buffer);
	}
	ts_leave(s);
	return TESSERA_OK;
}

static int32_t stats(TesseraSession *head, TesseraStats *out)
{
	TsRtSession *s = ts_session(head);
	if (!out)
		return TESSERA_INVALID;
	*out = s->stats;
	out->workspace_bytes = s->work_bytes;
	out->plan_bytes = s->plan_bytes + s->self_bytes;
	out->external_bytes = s->external ? s->external->bytes : 0;
	out->launches = s->ready ? s->need.launches : 0;
	out->threads = s->threads;
	out->cpu = s->clone + TESSERA_CPU_V2;
	if (s->ops)
		s->ops->stats(s, out);
	return TESSERA_OK;
}

static int32_t context_create(const TesseraModel *m, const TesseraContextOptions *o, TesseraContext **out, TesseraError *e)
{
	return ts_context_create(m, o, &ts_threads_libc, out, e);
}

const TesseraApi ts_api = {
	TESSERA_ABI, sizeof(TesseraApi), context_create, ts_session_create, ts_session_destroy, ts_session_prepare, ts_session_run,
	ts_session_output_shape, workspace, explain, stats, graph_count, graph_name, graph_inputs, graph_outputs, tensor_info, dim_count, dim_info, ts_session_profile,
	ts_xla_contexts,
};
