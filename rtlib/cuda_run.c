/* run on a GPU: everything is checked before anything is enqueued. With addresses that the session has seen, the recorded graph is
 * launched and nothing else is done; new ones are checked, their tensor maps made again, and the nodes that hold them updated. While the
 * caller captures the stream, the kernels go into the capture one by one. Nothing here waits for the device. */
#include "rtlib/cuda.h"

#define STREAM_LEGACY ((TsCuHandle)(uintptr_t)1)

/* ---- where we are ---- */

static int32_t right_context(const TsCudaModel *m, TsCuScope *scope, TesseraError *e)
{
	TsCuHandle current = NULL;
	scope->pushed = false;
	if (ts_cuda_forked(&m->cu))
		return ts_fail(e, TESSERA_LOST, TS_FORKED);
	int32_t code = m->cu.CtxGetCurrent(&current);
	if (code)
		return ts_cuda_fail(&m->cu, code, e, "ask for the current CUDA context");
	if (current && current != m->info.native)
		return ts_fail(e, TESSERA_INVALID, "another CUDA context is current on this thread than the one of this Tessera context (cuda:%d)",
		               (int64_t)m->info.device.device_id);
	return current ? TESSERA_OK : ts_cuda_enter(&m->cu, m->info.native, scope, e);
}

/* the default stream can't be captured, and must not be asked while another one is */
static int32_t is_capturing(const TsCuda *cu, TsCuHandle stream, bool *yes, TesseraError *e)
{
	int32_t status = TS_CU_CAPTURE_NONE, rc;
	*yes = false;
	if (!stream || stream == STREAM_LEGACY)
		return TESSERA_OK;
	if ((rc = ts_cuda_fail(cu, cu->StreamIsCapturing(stream, &status), e, "use the stream")))
		return rc;
	*yes = status != TS_CU_CAPTURE_NONE;
	return TESSERA_OK;
}

static int32_t not_captured(const char *why, TesseraError *e)
{
	return ts_fail(e, TESSERA_INVALID, "the stream is being captured, and %s: prepare these sizes, and run once, before the capture", why);
}

/* ---- addresses ---- */

static const char *kind_of(const TsPlanEntry *en, uint32_t i) { return i < en->n_inputs ? "input" : "output"; }
static const char *name_of(const TsRtSession *s, const TsPlanEntry *en, uint32_t i)
{
	return ts_plan_str(s->plan, (TS_PLAN_TABLE(s->plan, TsPlanTensor, tensors) + en->tensor + i)->name);
}

static int32_t check_pointer(TsRtSession *s, const TsPlanEntry *en, uint32_t i, TesseraError *e)
{
	static const int32_t what[3] = { TS_CU_POINTER_TYPE, TS_CU_POINTER_MANAGED, TS_CU_POINTER_DEVICE };
	TsCudaSession *c = ts_cuda_session(s);
	int32_t type = 0, managed = 0, device = -1, want = s->head.device.device_id;
	void *values[3] = { &type, &managed, &device };
	c->count.pointers_checked++;
	int32_t rc = ts_cuda_fail(&c->model->cu, c->model->cu.PointerGetAttributes(3, what, values, (TsCuPtr)(uintptr_t)s->args[i].lo), e,
	                          "ask where %s '%s' lies", kind_of(en, i), name_of(s, en, i));
	if (rc || managed & 0xff)
		return rc;
	if (type != TS_CU_MEMORY_DEVICE)
		return ts_fail(e, TESSERA_INVALID, "%s '%s': its address is %s, wanted memory of cuda:%d", kind_of(en, i), name_of(s, en, i),
		               type == TS_CU_MEMORY_HOST ? "memory of the host" : "no memory that CUDA knows (of the host?)", (int64_t)want);
	if (device != want)
		return ts_fail(e, TESSERA_INVALID, "%s '%s': its address is memory of cuda:%d, wanted cuda:%d", kind_of(en, i), name_of(s, en, i), (int64_t)device, (int64_t)want);
	return TESSERA_OK;
}

static int32_t check_pointers(TsRtSession *s, const TsPlanEntry *en, TesseraError *e)
{
	TsCudaSession *c = ts_cuda_session(s);
	for (uint32_t i = 0; i < en->n_inputs + en->n_outputs; i++) {
		if (s->args[i].count && s->args[i].lo != c->checked[i]) {
			int32_t rc = check_pointer(s, en, i, e);
			if (rc)
				return rc;
			c->checked[i] = s->args[i].lo;
		}
		if (s->staged[i] && !ts_cuda_can_gather(&s->args[i]))
			return ts_fail(e, TESSERA_INVALID, "%s '%s': its strides would take more than 1024 copies on the device; make it compact first", kind_of(en, i),
			               name_of(s, en, i));
	}
	return TESSERA_OK;
}

/* the address that kernels get for each argument; true when one is another than before */
static bool find_bases(TsRtSession *s, const TsPlanEntry *en)
{
	TsCudaSession *c = ts_cuda_session(s);
	bool changed = !c->placed;
	for (uint32_t i = 0; i < en->n_inputs + en->n_outputs; i++) {
		uint8_t *at = s->staged[i] ? s->staging_at + s->stage_at[i] : s->args[i].data ? s->args[i].data : s->workspace;
		changed |= at != c->base[i];
		c->base[i] = at;
	}
	return changed;
}

static int32_t move_slot(TsRtSession *s, const TsCudaLaunch *l, uint32_t slot, void *to, TesseraError *e)
{
	TsCudaSession *c = ts_cuda_session(s);
	int32_t rc = TESSERA_OK;
	s->ptr[slot] = to;
	for (uint32_t m = l->map; m < l->map + l->n_maps && !rc; m++)
		if (c->map_of[m].slot == slot)
			rc = ts_cuda_encode(s, m, e);
	if (rc)
		s->ptr[slot] = NULL; /* so that the next run makes the map */
	return rc;
}

/* pointers and maps for base[]; with `nodes` also in the graph, all of it if it missed an earlier change */
static int32_t place(TsRtSession *s, bool nodes, TesseraError *e)
{
	TsCudaSession *c = ts_cuda_session(s);
	const TsCuda *cu = &c->model->cu;
	bool all = !c->graph_current;
	c->placed = c->graph_current = false;
	uint64_t f = 0;
	for (uint64_t i = 0; i < s->need.launches; i++) {
		TsCudaLaunch *l = &c->launch[i];
		bool changed = false;
		int32_t rc;
		for (; f < s->need.fixups && s->fixup[f].slot < l->slot + l->n_slots; f++) {
			uint8_t *to = c->base[s->fixup[f].tensor] + s->fixup[f].offset;
			if (s->ptr[s->fixup[f].slot] == to)
				continue;
			changed = true;
			if ((rc = move_slot(s, l, s->fixup[f].slot, to, e)))
				return rc;
		}
		if (!nodes || !l->moves || !(changed || all))
			continue;
		c->count.nodes_updated++;
		if ((rc = ts_cuda_fail(cu, cu->GraphExecKernelNodeSetParams(c->exec, l->graph_node, &l->node), e, "give kernel %u of the graph new addresses", i)))
			return rc;
	}
	c->placed = true;
	c->graph_current = nodes;
	return TESSERA_OK;
}

/* ---- execution ---- */

static int32_t copies(TsRtSession *s, const TsPlanEntry *en, bool outputs, TsCuHandle stream, TesseraError *e)
{
	TsCudaSession *c = ts_cuda_session(s);
	uint32_t n = en->n_inputs + en->n_outputs;
	for (uint32_t i = outputs ? en->n_inputs : 0; i < (outputs ? n : en->n_inputs); i++) {
		if (!s->staged[i])
			continue;
		int32_t rc = ts_cuda_gather(&c->model->cu, c->base[i], &s->args[i], outputs, kind_of(en, i), name_of(s, en, i), stream, e);
		if (rc)
			return rc;
		s->stats.copied_tensors++;
		s->stats.copied_bytes += (uint64_t)s->args[i].bytes;
	}
	return TESSERA_OK;
}

int32_t ts_cuda_launch(TsRtSession *s, uint64_t launch, TsCuHandle stream, TesseraError *e)
{
	const TsCudaSession *c = ts_cuda_session(s);
	const TsCuNode *k = &c->launch[launch].node;
	const TsPlanStep *st = TS_PLAN_TABLE(s->plan, TsPlanStep, steps) + s->launch[launch].step;
	return ts_cuda_fail(&c->model->cu, c->model->cu.LaunchKernel(k->function, k->grid[0], 1, 1, k->block[0], 1, 1, k->shared, stream, k->params, NULL), e,
	                    "launch step '%s'", ts_plan_str(s->plan, st->name));
}

static int32_t launch_all(TsRtSession *s, TsCuHandle stream, TesseraError *e)
{
	for (uint64_t i = 0; i < s->need.launches; i++) {
		int32_t rc = ts_cuda_launch(s, i, stream, e);
		if (rc)
			return rc;
	}
	ts_cuda_session(s)->count.plain_runs++;
	return TESSERA_OK;
}

static int32_t execute(TsRtSession *s, bool graph, TsCuHandle stream, TesseraError *e)
{
	TsCudaSession *c = ts_cuda_session(s);
	if (s->times)
		return ts_cuda_time(s, stream, e);
	if (!graph)
		return launch_all(s, stream, e);
	int32_t rc = ts_cuda_fail(&c->model->cu, c->model->cu.GraphLaunch(c->exec, stream), e, "launch the graph of %u kernels", s->need.launches);
	c->count.graph_runs += !rc;
	return rc;
}

/* sizes and room for copies as this run needs them */
static int32_t make_ready(TsRtSession *s, const TsPlanEntry *en, int32_t graph, bool capturing, TesseraError *e)
{
	uint32_t n = en->n_inputs + en->n_outputs;
	bool any, staging = s->staging;
	int32_t rc;
	if (!ts_shapes_ready(s, graph, n)) {
		if (capturing)
			return not_captured("these sizes are not the prepared ones", e);
		if ((rc = ts_bind(s, en, n, e)) || (rc = ts_resolve(s, graph, staging, false, e)))
			return rc;
	}
	if ((rc = ts_plan_copies(s, en, &any, e)) || !any || s->staging)
		return rc;
	if (s->fixed)
		return ts_no_staging(s, en, e);
	if (capturing)
		return not_captured("an argument has to be copied, for which there is no room yet", e);
	return (rc = ts_bind(s, en, n, e)) ? rc : ts_resolve(s, graph, true, false, e);
}

static int32_t run(TsRtSession *s, const TsPlanEntry *en, int32_t graph, TsCuHandle stream, TesseraError *e)
{
	TsCudaSession *c = ts_cuda_session(s);
	bool capturing;
	int32_t rc = is_capturing(&c->model->cu, stream, &capturing, e);
	if (rc || (rc = make_ready(s, en, graph, capturing, e)) || (rc = check_pointers(s, en, e)))
		return rc;
	if (s->profiled && (rc = capturing ? ts_fail(e, TESSERA_INVALID, "the stream is being captured: such a run cannot be profiled") : ts_times_new(s, e)))
		return rc;
	bool moved = find_bases(s, en), by_graph = c->exec && !capturing && !s->profiled;
	if ((moved || (by_graph && !c->graph_current)) && (rc = place(s, by_graph, e)))
		return rc;
	if (!capturing && !s->profiled && !c->exec && c->repeats++ == 1 && s->need.launches) { /* sizes that come again are worth a graph, and do without one */
		if ((rc = ts_cuda_record(s, e)) == TESSERA_LOST)
			return rc;
		by_graph = !rc;
	}
	if ((rc = copies(s, en, false, stream, e)) || (s->need.launches && (rc = execute(s, by_graph, stream, e))) || (rc = copies(s, en, true, stream, e)))
		return rc;
	s->stats.runs++;
	return s->profiled ? ts_cuda_fail(&c->model->cu, c->model->cu.StreamSynchronize(stream), e, "wait for the run") : TESSERA_OK;
}

int32_t ts_cuda_run(TsRtSession *s, const TsPlanEntry *en, int32_t graph, void *stream, TesseraError *e)
{
	TsCudaModel *m = ts_cuda_session(s)->model;
	TsCuScope scope;
	int32_t rc = right_context(m, &scope, e);
	if (rc)
		return rc;
	rc = run(s, en, graph, stream, e);
	ts_cuda_leave(&m->cu, &scope);
	return rc;
}
