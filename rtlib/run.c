/* run: checks every argument before anything is written, copies what kernels can't read in place, and executes the prepared launches.
 * Launches run one after another; the cells of a launch go to whichever thread asks. A launch is over when its cells are, not when
 * all threads came by, so a worker that is slow to wake delays nobody. */
#include "rtlib/device.h"
#include "rtlib/sys.h"
#include <stdatomic.h>

enum { SPINS = 512 };

/* ---- execution ---- */

static void wait_past(TsRtSession *s, uint32_t launch)
{
	for (int i = 0; i < SPINS; i++) {
		if (atomic_load_explicit(&s->epoch, memory_order_acquire) > launch)
			return;
		__builtin_ia32_pause();
	}
	atomic_fetch_add(&s->waiters, 1);
	for (uint32_t seen; (seen = atomic_load(&s->epoch)) <= launch;)
		ts_futex_wait(&s->epoch, seen);
	atomic_fetch_sub(&s->waiters, 1);
}

static void finish(TsRtSession *s, uint32_t launch)
{
	atomic_store(&s->epoch, launch + 1);
	if (atomic_load(&s->waiters))
		ts_futex_wake(&s->epoch, INT32_MAX);
}

/* Inlined twice: a run that nobody profiles looks at no clock and no flag. A launch begins when the one before it is over. */
static inline __attribute__((always_inline)) void work_on(TsRtSession *s, int32_t worker, TsLaunchTimes *times)
{
	uint8_t *scratch = s->scratch + (s->need.scratch + 127) / 128 * 128 * (uint64_t)worker;
	uint32_t n = (uint32_t)s->need.launches;
	for (uint32_t i = atomic_load_explicit(&s->epoch, memory_order_acquire); i < n; i++) {
		TsLaunch *l = &s->launch[i];
		int64_t mine = 0, from;
		while ((from = atomic_fetch_add_explicit(&l->next, l->chunk, memory_order_relaxed)) < l->cells) {
			int64_t to = l->cells - from < l->chunk ? l->cells : from + l->chunk;
			l->fn(l->ptr, l->num, from, to, scratch);
			mine += to - from;
		}
		if (mine && atomic_fetch_add(&l->done, mine) + mine == l->cells) {
			if (times) {
				times[i].end = ts_now();
				if (i + 1 < n)
					times[i + 1].begin = times[i].end;
			}
			finish(s, i);
		} else {
			wait_past(s, i);
		}
	}
}

static void work(void *arg, int32_t worker) { work_on(arg, worker, NULL); }
static void timed_work(void *arg, int32_t worker) { work_on(arg, worker, ((TsRtSession *)arg)->times); }

void ts_execute(TsRtSession *s)
{
	for (uint64_t i = 0; i < s->need.launches; i++) {
		atomic_store_explicit(&s->launch[i].next, 0, memory_order_relaxed);
		atomic_store_explicit(&s->launch[i].done, 0, memory_order_relaxed);
	}
	atomic_store(&s->epoch, 0);
	int64_t want = s->need.most_cells < s->threads ? s->need.most_cells : s->threads;
	if (s->times)
		s->times[0].begin = ts_now();
	s->cx->api->parallel(s->cx, (int32_t)want, s->times ? timed_work : work, s);
}

/* ---- arguments ---- */

static bool touch(const TsArg *a, const TsArg *b) { return a->lo < b->hi && b->lo < a->hi; }

static int32_t read_args(TsRtSession *s, const TsPlanEntry *en, const DLTensor *const *in, int32_t n_in, const DLTensor *const *out, int32_t n_out,
                         bool with_data, TesseraError *e)
{
	const TsPlanTensor *t = TS_PLAN_TABLE(s->plan, TsPlanTensor, tensors) + en->tensor;
	const char *name = ts_plan_str(s->plan, en->name);
	if (n_in > 0 && !in)
		return ts_fail(e, TESSERA_INVALID, "argument 'in' is NULL, and n_in is %d", (int64_t)n_in);
	if (n_in != (int32_t)en->n_inputs)
		return ts_fail(e, TESSERA_INVALID, "graph '%s' takes %d inputs, %d given", name, (int64_t)en->n_inputs, (int64_t)n_in);
	if (n_out > 0 && !out)
		return ts_fail(e, TESSERA_INVALID, "argument 'out' is NULL, and n_out is %d", (int64_t)n_out);
	if (n_out >= 0 && n_out != (int32_t)en->n_outputs)
		return ts_fail(e, TESSERA_INVALID, "graph '%s' gives %d outputs, %d given", name, (int64_t)en->n_outputs, (int64_t)n_out);
	for (int32_t i = 0; i < n_in; i++) {
		int32_t rc = ts_arg_read(s->plan, &t[i], "input", s->head.device, in[i], with_data, &s->args[i], e);
		if (rc)
			return rc;
	}
	for (int32_t i = 0; i < n_out; i++) {
		int32_t rc = ts_arg_read(s->plan, &t[n_in + i], "output", s->head.device, out[i], with_data, &s->args[n_in + i], e);
		if (rc)
			return rc;
	}
	return TESSERA_OK;
}

bool ts_shapes_ready(const TsRtSession *s, int32_t graph, uint32_t n)
{
	if (!s->ready || s->entry != graph)
		return false;
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < s->args[i].rank; k++)
			if (s->args[i].shape[k] != s->ready_shape[i * TS_MAX_RANK + k])
				return false;
	return true;
}

/* Which arguments have to be copied? Outputs must be places of their own. */
int32_t ts_plan_copies(TsRtSession *s, const TsPlanEntry *en, bool *any, TesseraError *e)
{
	const TsPlanTensor *t = TS_PLAN_TABLE(s->plan, TsPlanTensor, tensors) + en->tensor;
	uint32_t n_in = en->n_inputs, n = n_in + en->n_outputs;
	*any = false;
	for (uint32_t i = 0; i < n; i++)
		s->staged[i] = !s->args[i].compact || !s->args[i].aligned;
	for (uint32_t i = n_in; i < n; i++) {
		if (s->args[i].overlaps)
			return ts_fail(e, TESSERA_INVALID, "output '%s': its strides let two elements share memory", ts_plan_str(s->plan, t[i].name));
		for (uint32_t k = n_in; k < i; k++)
			if (touch(&s->args[i], &s->args[k]))
				return ts_fail(e, TESSERA_INVALID, "output '%s' shares memory with output '%s'", ts_plan_str(s->plan, t[i].name), ts_plan_str(s->plan, t[k].name));
		for (uint32_t k = 0; k < n_in; k++)
			s->staged[i] |= touch(&s->args[i], &s->args[k]);
	}
	for (uint32_t i = 0; i < n; i++)
		*any |= s->staged[i];
	return TESSERA_OK;
}

int32_t ts_no_staging(TsRtSession *s, const TsPlanEntry *en, TesseraError *e)
{
	const TsPlanTensor *t = TS_PLAN_TABLE(s->plan, TsPlanTensor, tensors) + en->tensor;
	uint32_t i = 0;
	while (!s->staged[i])
		i++;
	return ts_fail(e, TESSERA_INVALID, "%s '%s' has to be copied (%s), and this session of fixed size was made without TESSERA_SESSION_STAGING",
	               i < en->n_inputs ? "input" : "output", ts_plan_str(s->plan, t[i].name),
	               !s->args[i].compact ? "it is strided" : !s->args[i].aligned ? "its address is not aligned" : "it shares memory with an input");
}

static void point(TsRtSession *s, const TsPlanEntry *en)
{
	uint32_t n = en->n_inputs + en->n_outputs;
	for (uint32_t i = 0; i < n; i++) {
		/* an argument without elements still gets an address that may be formed */
		s->base[i] = s->staged[i] ? s->staging_at + s->stage_at[i] : s->args[i].data ? s->args[i].data : s->workspace;
		if (s->staged[i]) {
			s->stats.copied_tensors++;
			s->stats.copied_bytes += (uint64_t)s->args[i].bytes;
			if (i < en->n_inputs)
				ts_arg_gather(s->base[i], &s->args[i]);
		}
	}
	for (uint64_t i = 0; i < s->need.fixups; i++)
		s->ptr[s->fixup[i].slot] = s->base[s->fixup[i].tensor] + s->fixup[i].offset;
}

static int32_t run(TsRtSession *s, const TsPlanEntry *en, int32_t graph, TesseraError *e)
{
	uint32_t n = en->n_inputs + en->n_outputs;
	bool any;
	int32_t rc;
	if (!ts_shapes_ready(s, graph, n) && ((rc = ts_bind(s, en, n, e)) || (rc = ts_resolve(s, graph, s->staging, false, e))))
		return rc;
	if ((rc = ts_plan_copies(s, en, &any, e)))
		return rc;
	if (any && !s->staging) {
		if (s->fixed)
			return ts_no_staging(s, en, e);
		if ((rc = ts_bind(s, en, n, e)) || (rc = ts_resolve(s, graph, true, false, e)))
			return rc;
	}
	if (s->profiled && (rc = ts_times_new(s, e)))
		return rc;
	point(s, en);
	ts_execute(s);
	for (uint32_t i = en->n_inputs; i < n; i++)
		if (s->staged[i])
			ts_arg_scatter(&s->args[i], s->base[i]);
	s->stats.runs++;
	return TESSERA_OK;
}

int32_t ts_times_new(TsRtSession *s, TesseraError *e)
{
	uint64_t bytes = s->need.launches * sizeof *s->times;
	if (!bytes)
		return TESSERA_OK;
	s->times = s->cx->api->alloc(s->cx, bytes, 64);
	return s->times ? TESSERA_OK : ts_fail(e, TESSERA_NO_MEMORY, "no memory for %u bytes of times", bytes);
}

/* -1: not known */
static int64_t cost_of(const TsRtSession *s, const TsPlanStep *st, uint32_t i)
{
	if (!st->n_cost)
		return -1;
	uint32_t x = TS_PLAN_TABLE(s->plan, uint32_t, words)[st->cost + i];
	return s->eval.ok[x] && !s->eval.deps[x] && s->eval.value[x] >= 0 ? s->eval.value[x] : -1; /* the loops are over */
}

static void report(const TsRtSession *s, void (*each)(void *, const TesseraLaunchTime *), void *user)
{
	const TsPlanHeader *p = s->plan;
	for (uint64_t i = 0; i < s->need.launches; i++) {
		const TsLaunch *l = &s->launch[i];
		const TsPlanStep *st = TS_PLAN_TABLE(p, TsPlanStep, steps) + l->step;
		const TsPlanChoice *c = TS_PLAN_TABLE(p, TsPlanChoice, choices) + l->choice;
		TesseraLaunchTime t = {
			.size = sizeof t, .launch = (uint32_t)i, .launches = (uint32_t)s->need.launches, .step = ts_plan_str(p, st->name), .values = ts_plan_str(p, st->values),
			.kernel = ts_plan_str(p, TS_PLAN_TABLE(p, TsPlanKernel, kernels)[c->kernel].name), .variant = ts_plan_str(p, c->label), .cells = l->cells,
			.flops = cost_of(s, st, 0), .bytes_read = cost_of(s, st, 1), .bytes_written = cost_of(s, st, 2),
			.start_ns = s->times[i].begin, .duration_ns = s->times[i].end - s->times[i].begin,
		};
		each(user, &t);
	}
}

typedef struct { void (*each)(void *, const TesseraLaunchTime *); void *user; } Profile;

static int32_t call(TsRtSession *s, int32_t graph, const DLTensor *const *in, int32_t n_in, const DLTensor *const *out, int32_t n_out, void *stream,
                    const Profile *profile, TesseraError *e)
{
	const TsPlanEntry *en = ts_entry(s->plan, graph, e);
	if (!en)
		return TESSERA_INVALID;
	if (stream && !s->ops)
		return ts_fail(e, TESSERA_INVALID, "argument 'stream' must be NULL on the CPU");
	if (n_out < 0)
		return ts_fail(e, TESSERA_INVALID, "argument 'n_out' is %d", (int64_t)n_out);
	if (!ts_enter(s, e))
		return TESSERA_BUSY;
	int32_t rc = read_args(s, en, in, n_in, out, n_out, true, e);
	s->profiled = profile != NULL;
	if (!rc)
		rc = s->ops ? s->ops->run(s, en, graph, stream, e) : run(s, en, graph, e);
	if (s->times) {
		if (!rc)
			report(s, profile->each, profile->user);
		s->cx->api->release(s->cx, s->times, s->need.launches * sizeof *s->times);
		s->times = NULL;
	}
	ts_leave(s);
	return rc;
}

int32_t ts_session_run(TesseraSession *head, int32_t graph, const DLTensor *const *in, int32_t n_in, const DLTensor *const *out, int32_t n_out,
                       void *stream, TesseraError *e)
{
	return call(ts_session(head), graph, in, n_in, out, n_out, stream, NULL, e);
}

int32_t ts_session_profile(TesseraSession *head, int32_t graph, const DLTensor *const *in, int32_t n_in, const DLTensor *const *out, int32_t n_out,
                           void *stream, void (*each)(void *, const TesseraLaunchTime *), void *user, TesseraError *e)
{
	Profile profile = { each, user };
	if (!each)
		return ts_fail(e, TESSERA_INVALID, "argument 'each' is NULL");
	return call(ts_session(head), graph, in, n_in, out, n_out, stream, &profile, e);
}

/* Sizes of inputs alone; a dim that only outputs have stays unknown and is an error. */
int32_t ts_session_output_shape(TesseraSession *head, int32_t graph, const DLTensor *const *in, int32_t n_in, int32_t output, int64_t *shape,
                                int32_t *rank, TesseraError *e)
{
	TsRtSession *s = ts_session(head);
	const TsPlanEntry *en = ts_entry(s->plan, graph, e);
	if (!en)
		return TESSERA_INVALID;
	if (output < 0 || (uint32_t)output >= en->n_outputs)
		return ts_fail(e, TESSERA_INVALID, "argument 'output' is %d, graph '%s' has %d", (int64_t)output, ts_plan_str(s->plan, en->name), (int64_t)en->n_outputs);
	if (!shape || !rank)
		return ts_fail(e, TESSERA_INVALID, "argument '%s' is NULL", shape ? "rank" : "shape");
	if (!ts_enter(s, e))
		return TESSERA_BUSY;
	int32_t rc = read_args(s, en, in, n_in, NULL, -1, false, e);
	if (!rc)
		rc = ts_bind(s, en, en->n_inputs, e);
	const TsPlanTensor *t = TS_PLAN_TABLE(s->plan, TsPlanTensor, tensors) + en->tensor + en->n_inputs + output;
	for (uint32_t k = 0; !rc && k < t->rank; k++) {
		uint32_t x = TS_PLAN_TABLE(s->plan, uint32_t, words)[t->dims + k];
		shape[k] = s->eval.value[x];
		if (!s->eval.ok[x] || shape[k] < 0)
			rc = ts_fail(e, TESSERA_RANGE, "output '%s': the size of axis %d can't be computed from the inputs", ts_plan_str(s->plan, t->name), (int64_t)k);
	}
	if (!rc)
		*rank = (int32_t)t->rank;
	ts_leave(s);
	return rc;
}
