/* Sessions: creation, and prepare, which turns a plan and sizes into a flat array of launches with every pointer and number in place.
 * One walk over the steps serves twice: first to count what is needed, then to fill it in. */
#include "rtlib/device.h"
#include <stdatomic.h>

#define MAX_LAUNCHES (1u << 22)
#define MAX_CELLS ((int64_t)1 << 48)

static uint64_t up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

/* ---- sizes ---- */

const TsPlanEntry *ts_entry(const TsPlanHeader *p, int32_t graph, TesseraError *e)
{
	if (graph >= 0 && (uint32_t)graph < p->entries.n)
		return TS_PLAN_TABLE(p, TsPlanEntry, entries) + graph;
	ts_fail(e, TESSERA_INVALID, "argument 'graph' is %d, model '%s' has %d", (int64_t)graph, ts_plan_str(p, p->model), (int64_t)p->entries.n);
	return NULL;
}

int32_t ts_check_dims(const TsPlanHeader *p, const int64_t *dims, int32_t n, TesseraError *e)
{
	const TsPlanDim *d = TS_PLAN_TABLE(p, TsPlanDim, dims);
	if (n > 0 && !dims)
		return ts_fail(e, TESSERA_INVALID, "argument 'dims' is NULL, and n_dims is %d", (int64_t)n);
	if (n < 0 || (uint32_t)n != p->dims.n)
		return ts_fail(e, TESSERA_INVALID, "%d dims given, model '%s' has %d", (int64_t)n, ts_plan_str(p, p->model), (int64_t)p->dims.n);
	for (uint32_t i = 0; i < p->dims.n; i++) {
		const char *name = ts_plan_str(p, d[i].name);
		if (dims[i] == -1)
			continue;
		if (dims[i] < d[i].min)
			return ts_fail(e, TESSERA_RANGE, "dim %s is %d, wanted %d or more", name, dims[i], d[i].min);
		if (d[i].max && dims[i] > d[i].max)
			return ts_fail(e, TESSERA_RANGE, "dim %s is %d, wanted %d or less", name, dims[i], d[i].max);
		if (dims[i] % d[i].multiple_of)
			return ts_fail(e, TESSERA_RANGE, "dim %s is %d, wanted a multiple of %d", name, dims[i], d[i].multiple_of);
	}
	return TESSERA_OK;
}

static const char *kind_of(const TsPlanEntry *en, uint32_t tensor) { return tensor < en->n_inputs ? "input" : "output"; }

/* ", declared at model.tg:3:5" or nothing */
static void add_where(const TsPlanHeader *p, const TsPlanTensor *t, TesseraError *e)
{
	const char *where = ts_plan_str(p, t->where);
	if (e && *where) {
		TsText text = { e->message, strlen(e->message), sizeof e->message, false };
		ts_text_add(&text, " (%s)", where);
	}
}

static int32_t wrong_size(TsRtSession *s, const TsPlanEntry *en, uint32_t tensor, uint32_t axis, int64_t wanted, TesseraError *e)
{
	const TsPlanHeader *p = s->plan;
	const TsPlanTensor *t = TS_PLAN_TABLE(p, TsPlanTensor, tensors) + en->tensor + tensor;
	const TsPlanExpr *x = &s->eval.ex[TS_PLAN_TABLE(p, uint32_t, words)[t->dims + axis]];
	const char *dim = x->kind == TS_EX_DIM ? ts_plan_str(p, TS_PLAN_TABLE(p, TsPlanDim, dims)[x->a].name) : "";
	ts_fail(e, TESSERA_INVALID, "%s '%s': axis %d is %d, wanted %d%s%s", kind_of(en, tensor), ts_plan_str(p, t->name), (int64_t)axis,
	        s->args[tensor].shape[axis], wanted, *dim ? ", which is dim " : "", dim);
	add_where(p, t, e);
	return TESSERA_INVALID;
}

static int32_t bind_all(TsRtSession *s, const TsPlanEntry *en, uint32_t n_known, TesseraError *e)
{
	const TsPlanHeader *p = s->plan;
	const TsPlanBind *b = TS_PLAN_TABLE(p, TsPlanBind, binds) + en->bind;
	for (uint32_t i = 0; i < p->dims.n; i++)
		s->dims[i] = -1;
	for (uint32_t i = 0; i < en->n_binds; i++) {
		int64_t size, rest;
		if (b[i].tensor >= n_known || s->dims[b[i].dim] >= 0)
			continue;
		size = s->args[b[i].tensor].shape[b[i].axis];
		if (__builtin_sub_overflow(size, b[i].add, &rest) || rest < 0 || rest % b[i].mul) {
			const TsPlanTensor *t = TS_PLAN_TABLE(p, TsPlanTensor, tensors) + en->tensor + b[i].tensor;
			const char *dim = ts_plan_str(p, TS_PLAN_TABLE(p, TsPlanDim, dims)[b[i].dim].name);
			ts_fail(e, TESSERA_INVALID, b[i].add ? "%s '%s': axis %d is %d, wanted %d*%s + %d" : "%s '%s': axis %d is %d, wanted %d*%s", kind_of(en, b[i].tensor),
			        ts_plan_str(p, t->name), (int64_t)b[i].axis, size, b[i].mul, dim, b[i].add);
			add_where(p, t, e);
			return TESSERA_INVALID;
		}
		s->dims[b[i].dim] = rest / b[i].mul;
	}
	return TESSERA_OK;
}

static int32_t check_shapes(TsRtSession *s, const TsPlanEntry *en, uint32_t n_known, TesseraError *e)
{
	const TsPlanTensor *t = TS_PLAN_TABLE(s->plan, TsPlanTensor, tensors) + en->tensor;
	const uint32_t *words = TS_PLAN_TABLE(s->plan, uint32_t, words);
	for (uint32_t i = 0; i < n_known; i++)
		for (uint32_t k = 0; k < t[i].rank; k++) {
			uint32_t x = words[t[i].dims + k];
			if (!s->eval.ok[x])
				return ts_fail(e, TESSERA_RANGE, "%s '%s': the size of axis %d can't be computed from the dims", kind_of(en, i),
				               ts_plan_str(s->plan, t[i].name), (int64_t)k);
			if (s->eval.value[x] != s->args[i].shape[k])
				return wrong_size(s, en, i, k, s->eval.value[x], e);
		}
	return TESSERA_OK;
}

/* text with {0} and {1} replaced */
static int32_t failed_check(TsRtSession *s, const TsPlanCheck *c, TesseraError *e)
{
	if (!e)
		return TESSERA_INVALID;
	TsText t = { e->message, 0, sizeof e->message, false };
	for (const char *m = ts_plan_str(s->plan, c->message); *m; m++) {
		uint32_t x = m[0] == '{' && m[1] == '0' ? c->wanted : m[0] == '{' && m[1] == '1' ? c->found : TS_NONE;
		if (x != TS_NONE && m[2] == '}') {
			ts_text_add(&t, "%d", s->eval.value[x]);
			m += 2;
		} else {
			ts_text_add(&t, "%c", *m);
		}
	}
	e->code = TESSERA_INVALID;
	return TESSERA_INVALID;
}

static int32_t check_all(TsRtSession *s, const TsPlanEntry *en, TesseraError *e)
{
	const TsPlanCheck *c = TS_PLAN_TABLE(s->plan, TsPlanCheck, checks) + en->check;
	for (uint32_t i = 0; i < en->n_checks; i++)
		if (!s->eval.ok[c[i].expr] || !s->eval.value[c[i].expr])
			return failed_check(s, &c[i], e);
	return TESSERA_OK;
}

int32_t ts_bind(TsRtSession *s, const TsPlanEntry *en, uint32_t n_known, TesseraError *e)
{
	int32_t rc;
	s->ready = false;
	if ((rc = bind_all(s, en, n_known, e)) || (rc = ts_check_dims(s->plan, s->dims, (int32_t)s->plan->dims.n, e)))
		return rc;
	ts_eval_dims(&s->eval);
	if ((rc = check_shapes(s, en, n_known, e)))
		return rc;
	return check_all(s, en, e);
}

/* ---- the walk ---- */

typedef struct {
	TsRtSession *s;
	const TsPlanEntry *en;
	const TsPlanStep *steps;
	enum { COUNT, RESERVE, FILL } mode; /* RESERVE counts the worst of all choices */
	TsNeed n;
	TesseraError *e;
} Walk;

/* " for B = 0, N = 4611686018427387904": the sizes that this is about */
static int32_t add_dims(const Walk *w)
{
	const TsRtSession *s = w->s;
	const TsPlanDim *d = TS_PLAN_TABLE(s->plan, TsPlanDim, dims);
	const char *between = " for ";
	if (!w->e)
		return TESSERA_RANGE;
	TsText text = { w->e->message, strlen(w->e->message), sizeof w->e->message, true };
	for (uint32_t i = 0; i < s->plan->dims.n; i++)
		if (s->dims[i] >= 0) {
			ts_text_add(&text, "%s%s = %d", between, ts_plan_str(s->plan, d[i].name), s->dims[i]);
			between = ", ";
		}
	return TESSERA_RANGE;
}

static int32_t number(Walk *w, uint32_t expr, const char *step, const char *what, int64_t *out)
{
	*out = 0;
	if (expr == TS_NONE)
		return TESSERA_OK;
	*out = w->s->eval.value[expr];
	if (w->s->eval.ok[expr])
		return TESSERA_OK;
	ts_fail(w->e, TESSERA_RANGE, "graph '%s', step '%s': its %s can't be computed within 2^63", ts_plan_str(w->s->plan, w->en->name), step, what);
	return add_dims(w);
}

static int32_t misfit(Walk *w, const char *step, const char *what, int64_t value)
{
	ts_fail(w->e, TESSERA_RANGE, "graph '%s', step '%s': its %s is %d", ts_plan_str(w->s->plan, w->en->name), step, what, value);
	return add_dims(w);
}

/* Address of a pointer argument; INPUT and OUTPUT become a fixup instead. */
static int32_t pointer(Walk *w, const TsPlanArg *a, const char *step)
{
	TsRtSession *s = w->s;
	const TsPlanHeader *p = s->plan;
	int64_t offset, index = 0, limit = INT64_MAX;
	uint8_t *base = NULL;
	int32_t rc = number(w, a->offset, step, "offset", &offset);
	if (rc)
		return rc;
	if (a->kind == TS_ARG_WEIGHT) {
		if ((rc = number(w, a->index_expr, step, "weight number", &index)))
			return rc;
		if (index < 0 || index >= a->n_table)
			return misfit(w, step, "weight number", index);
		uint32_t k = TS_PLAN_TABLE(p, uint32_t, words)[a->table + index];
		const TsPlanWeight *wt = TS_PLAN_TABLE(p, TsPlanWeight, weights) + k;
		limit = (int64_t)wt->bytes;
		base = s->ops ? s->device_weights + wt->offset : wt->where == TS_WEIGHT_EXTERNAL ? s->external->at[k] : (uint8_t *)(uintptr_t)((uintptr_t)s->model->weights + *s->model->weights) + wt->offset;
	} else if (a->kind == TS_ARG_WORKSPACE) {
		limit = (int64_t)w->n.workspace;
		base = s->workspace;
	} else if (a->kind == TS_ARG_STATE) {
		limit = (int64_t)s->state_bytes[a->index];
		base = s->state[a->index];
	} else {
		if (w->mode == FILL)
			s->fixup[w->n.fixups] = (TsFixup){ (uint32_t)w->n.ptrs, (uint8_t)a->kind, { 0 },
			                                   a->index + (a->kind == TS_ARG_OUTPUT ? w->en->n_inputs : 0), offset };
		w->n.fixups++;
	}
	if (offset < 0 || offset > limit)
		return misfit(w, step, "offset", offset);
	if (w->mode == FILL)
		s->ptr[w->n.ptrs] = base ? base + offset : NULL;
	w->n.ptrs++;
	return TESSERA_OK;
}

/* the first choice whose guard holds, or TS_NONE */
static int32_t choose(Walk *w, const TsPlanStep *st, const char *step, uint32_t *choice)
{
	const TsPlanChoice *c = TS_PLAN_TABLE(w->s->plan, TsPlanChoice, choices);
	for (uint32_t i = st->choice; i < st->choice + st->n_choices; i++) {
		int64_t holds = 1;
		int32_t rc = c[i].guard == TS_NONE ? TESSERA_OK : number(w, c[i].guard, step, "guard", &holds);
		if (rc)
			return rc;
		if (holds) {
			*choice = i;
			return TESSERA_OK;
		}
	}
	*choice = TS_NONE;
	if (st->flags & TS_STEP_OPTIONAL)
		return TESSERA_OK;
	const char *last = st->n_choices ? ts_plan_str(w->s->plan, c[st->choice + st->n_choices - 1].label) : "";
	ts_fail(w->e, TESSERA_RANGE, *last ? "graph '%s', step '%s': no variant but '%s'" : "graph '%s', step '%s': no variant", ts_plan_str(w->s->plan, w->en->name), step, last);
	return add_dims(w);
}

static int32_t scratch(Walk *w, const TsPlanStep *st, const char *step, uint32_t choice)
{
	const TsPlanChoice *c = TS_PLAN_TABLE(w->s->plan, TsPlanChoice, choices);
	uint32_t first = w->mode == RESERVE ? st->choice : choice, n = w->mode == RESERVE ? st->n_choices : 1;
	for (uint32_t i = first; i < first + n; i++) {
		int64_t bytes;
		int32_t rc = number(w, c[i].scratch, step, "scratch", &bytes);
		if (rc && w->mode == RESERVE && i != choice)
			continue; /* of a variant that these sizes rule out */
		if (rc)
			return rc;
		if (bytes < 0 || bytes > (int64_t)1 << 40)
			return misfit(w, step, "scratch", bytes);
		if ((uint64_t)bytes > w->n.scratch)
			w->n.scratch = (uint64_t)bytes;
	}
	return TESSERA_OK;
}

static int64_t chunk_of(const TsRtSession *s, int64_t cells)
{
	int64_t chunk = cells / ((int64_t)s->threads * 8);
	return chunk < 1 ? 1 : chunk;
}

/* tensor maps of the chosen kernel, or the most that a variant has */
static uint32_t most_maps(const Walk *w, const TsPlanStep *st, uint32_t choice)
{
	const TsPlanChoice *c = TS_PLAN_TABLE(w->s->plan, TsPlanChoice, choices);
	const TsPlanKernel *k = TS_PLAN_TABLE(w->s->plan, TsPlanKernel, kernels);
	uint32_t first = w->mode == RESERVE ? st->choice : choice, n = w->mode == RESERVE ? st->n_choices : 1, most = 0;
	for (uint32_t i = first; i < first + n; i++)
		most = k[c[i].kernel].n_maps > most ? k[c[i].kernel].n_maps : most;
	return most;
}

static int32_t launch(Walk *w, uint32_t at)
{
	TsRtSession *s = w->s;
	const TsPlanHeader *p = s->plan;
	const TsPlanStep *st = &w->steps[at];
	const char *step = ts_plan_str(p, st->name);
	uint32_t choice;
	int64_t cells;
	int32_t rc = choose(w, st, step, &choice);
	if (rc || choice == TS_NONE)
		return rc;
	const TsPlanChoice *c = TS_PLAN_TABLE(p, TsPlanChoice, choices) + choice;
	if ((rc = number(w, c->cells, step, "grid", &cells)) || (rc = scratch(w, st, step, choice)))
		return rc;
	if (cells < 0 || cells > MAX_CELLS)
		return misfit(w, step, "grid", cells);
	if (cells == 0 && w->mode != RESERVE)
		return TESSERA_OK;
	if (w->n.launches >= MAX_LAUNCHES)
		return ts_fail(w->e, TESSERA_RANGE, "graph '%s' would run more than %d kernels", ts_plan_str(p, w->en->name), (int64_t)MAX_LAUNCHES), add_dims(w);
	if (w->mode == FILL) {
		TsLaunch *l = &s->launch[w->n.launches];
		TsKernelFn fn = s->ops ? NULL : ((const TsKernelFn *)s->model->kernels)[(size_t)c->kernel * TS_CLONES + s->clone];
		memset(l, 0, sizeof *l);
		*l = (TsLaunch){ .fn = fn, .ptr = s->ptr + w->n.ptrs, .num = s->num + w->n.nums, .cells = cells, .chunk = chunk_of(s, cells), .step = at, .choice = choice };
	}
	w->n.launches++;
	w->n.most_cells = cells > w->n.most_cells ? cells : w->n.most_cells;
	for (uint32_t i = 0; i < st->n_args && !rc; i++)
		rc = pointer(w, TS_PLAN_TABLE(p, TsPlanArg, args) + st->arg + i, step);
	for (uint32_t i = 0; i < st->n_nums && !rc; i++) {
		int64_t x;
		rc = number(w, TS_PLAN_TABLE(p, uint32_t, words)[st->num + i], step, "argument", &x);
		if (w->mode == FILL)
			s->num[w->n.nums] = x;
		w->n.nums++;
	}
	if (s->ops) {
		w->n.nums++; /* how many CTAs a persistent kernel has */
		w->n.maps += most_maps(w, st, choice);
	}
	return rc;
}

static int32_t walk(Walk *w, uint32_t from, uint32_t to)
{
	int32_t rc = TESSERA_OK;
	for (uint32_t i = from; i < to && !rc; i++) {
		const TsPlanStep *st = &w->steps[i];
		if (st->kind == TS_STEP_LAUNCH) {
			rc = launch(w, i);
			continue;
		}
		TsEval *v = &w->s->eval;
		int64_t lo, hi;
		if ((rc = number(w, st->lo, "loop", "first value", &lo)) || (rc = number(w, st->hi, "loop", "last value", &hi)))
			return rc;
		if (hi > lo && (uint64_t)hi - (uint64_t)lo > MAX_LAUNCHES)
			return misfit(w, "loop", "last value", hi);
		v->set |= 1u << st->var;
		for (v->loop[st->var] = lo; v->loop[st->var] < hi && !rc; v->loop[st->var]++) {
			ts_eval_loop(v, st->var);
			rc = walk(w, i + 1, st->match); /* at most TS_MAX_LOOP deep */
		}
		v->set &= ~(1u << st->var);
		i = st->match;
	}
	return rc;
}

/* ---- memory ---- */

static int32_t tensor_bytes(TsRtSession *s, const TsPlanEntry *en, uint32_t tensor, uint64_t *bytes, TesseraError *e)
{
	const TsPlanTensor *t = TS_PLAN_TABLE(s->plan, TsPlanTensor, tensors) + en->tensor + tensor;
	int64_t n = 1, b = 0;
	bool ok = true, zero = false;
	for (uint32_t k = 0; k < t->rank; k++) {
		uint32_t x = TS_PLAN_TABLE(s->plan, uint32_t, words)[t->dims + k];
		int64_t size = s->eval.value[x];
		ok &= s->eval.ok[x] && size >= 0;
		s->ready_shape[tensor * TS_MAX_RANK + k] = size;
		zero |= size == 0;
	}
	for (uint32_t k = 0; k < t->rank && ok; k++) { /* a size of 0 excuses no other */
		int64_t size = s->ready_shape[tensor * TS_MAX_RANK + k];
		ok = !size || !__builtin_mul_overflow(n, size, &n);
	}
	if (!ok || !ts_plan_bytes(t->dtype, n, &b) || b > INT64_MAX / 4)
		return ts_fail(e, TESSERA_RANGE, "%s '%s': its size is beyond 2^63 for these dims", kind_of(en, tensor), ts_plan_str(s->plan, t->name));
	*bytes = zero ? 0 : (uint64_t)b;
	return TESSERA_OK;
}

/* the sizes of all arguments, and the place of each in staging */
static int32_t layout_arguments(TsRtSession *s, const TsPlanEntry *en, bool staging, uint64_t *total, TesseraError *e)
{
	*total = 0;
	for (uint32_t i = 0; i < en->n_inputs + en->n_outputs; i++) {
		uint64_t bytes = 0;
		int32_t rc = tensor_bytes(s, en, i, &bytes, e);
		if (rc)
			return rc;
		s->stage_at[i] = (int64_t)*total;
		if (staging && (*total += up(bytes, 64)) > (uint64_t)1 << 60)
			return ts_fail(e, TESSERA_RANGE, "graph '%s': copies of its arguments would take more than 2^60 bytes", ts_plan_str(s->plan, en->name));
	}
	return TESSERA_OK;
}

static uint64_t table_size(const TsNeed *n) { return n->launches * sizeof(TsLaunch) + n->ptrs * 8 + n->nums * 8 + n->fixups * sizeof(TsFixup); }
static uint64_t plan_size(const TsRtSession *s, const TsNeed *n) { return s->ops ? up(table_size(n), 64) + s->ops->plan_bytes(n) : table_size(n); }
static uint64_t work_size(const TsRtSession *s, const TsNeed *n)
{
	return up(n->workspace, 64) + up(n->scratch, 128) * (uint64_t)s->threads + n->staging + 64;
}

static int32_t grow(TsRtSession *s, bool device, void **memory, uint64_t *have, uint64_t want, const char *what, TesseraError *e)
{
	if (want <= *have)
		return TESSERA_OK;
	if (s->fixed)
		return ts_fail(e, TESSERA_NO_MEMORY, "%s takes %u bytes for these sizes, the session was made with max_dims that need %u", what, want, *have);
	if (device) {
		int32_t rc = s->ops->resize(s, memory, *have, want, what, e);
		*have = rc ? 0 : want;
		return rc;
	}
	s->cx->api->release(s->cx, *memory, *have);
	*have = 0;
	*memory = s->cx->api->alloc(s->cx, want, 64);
	if (!*memory)
		return ts_fail(e, TESSERA_NO_MEMORY, "no memory for %u bytes of %s", want, what);
	*have = want;
	return TESSERA_OK;
}

static int32_t make_room(TsRtSession *s, const TsNeed *n, TesseraError *e)
{
	int32_t rc = grow(s, false, &s->plan_memory, &s->plan_bytes, plan_size(s, n), "the launch table", e);
	return rc ? rc : grow(s, s->ops, &s->work_memory, &s->work_bytes, work_size(s, n), "workspace", e);
}

static void place(TsRtSession *s, const TsNeed *n)
{
	s->launch = s->plan_memory;
	s->ptr = (void **)(void *)(s->launch + n->launches);
	s->num = (int64_t *)(void *)(s->ptr + n->ptrs);
	s->fixup = (TsFixup *)(void *)(s->num + n->nums);
	s->workspace = s->work_memory;
	s->scratch = s->workspace + up(n->workspace, 64);
	s->staging_at = s->scratch + up(n->scratch, 128) * (uint64_t)s->threads;
}

static int32_t measure(Walk *w, bool staging)
{
	int64_t bytes;
	int32_t rc = number(w, w->en->workspace, "workspace", "size", &bytes);
	if (rc)
		return rc;
	if (bytes < 0 || bytes > (int64_t)1 << 60)
		return misfit(w, "workspace", "size", bytes);
	w->n = (TsNeed){ .workspace = (uint64_t)bytes };
	if ((rc = layout_arguments(w->s, w->en, staging, &w->n.staging, w->e)))
		return rc;
	return walk(w, w->en->step, w->en->step + w->en->n_steps);
}

int32_t ts_resolve(TsRtSession *s, int32_t graph, bool staging, bool record, TesseraError *e)
{
	const TsPlanHeader *p = s->plan;
	const TsPlanEntry *en = TS_PLAN_TABLE(p, TsPlanEntry, entries) + graph;
	Walk w = { .s = s, .en = en, .steps = TS_PLAN_TABLE(p, TsPlanStep, steps), .mode = COUNT, .e = e };
	int32_t rc;
	s->ready = false;
	if ((rc = measure(&w, staging)))
		return rc;
	TsNeed need = w.n;
	if ((rc = make_room(s, &need, e)))
		return rc;
	place(s, &need);
	w.mode = FILL;
	w.n = (TsNeed){ .workspace = need.workspace, .staging = need.staging };
	if ((rc = walk(&w, en->step, en->step + en->n_steps)))
		return rc;
	s->need = need;
	s->entry = graph;
	s->staging = staging;
	if (s->ops && (rc = s->ops->prepared(s, (uint8_t *)s->plan_memory + up(table_size(&need), 64), record, e)))
		return rc;
	s->ready = true;
	s->stats.prepares++;
	return TESSERA_OK;
}

/* ---- creation ---- */

/* memory for every graph at the largest sizes, once and for all */
static int32_t reserve(TsRtSession *s, const TesseraSessionOptions *o, TesseraError *e)
{
	const TsPlanHeader *p = s->plan;
	const TsPlanDim *d = TS_PLAN_TABLE(p, TsPlanDim, dims);
	int32_t rc = ts_check_dims(p, o->max_dims, o->n_max_dims, e);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < p->dims.n; i++)
		s->dims[i] = o->max_dims[i] == -1 && d[i].max ? d[i].max : o->max_dims[i];
	ts_eval_dims(&s->eval);
	for (uint32_t i = 0; i < p->entries.n; i++) {
		Walk w = { .s = s, .en = TS_PLAN_TABLE(p, TsPlanEntry, entries) + i, .steps = TS_PLAN_TABLE(p, TsPlanStep, steps), .mode = RESERVE, .e = e };
		if ((rc = measure(&w, s->staging)) || (rc = make_room(s, &w.n, e)))
			return rc;
	}
	s->fixed = true;
	return TESSERA_OK;
}

static int32_t make_device_state(TsRtSession *s, uint32_t i, const TsPlanState *st, TesseraError *e)
{
	const TsPlanWeight *w = TS_PLAN_TABLE(s->plan, TsPlanWeight, weights);
	uint64_t bytes = s->state_bytes[i], n = st->init == TS_NONE ? 0 : w[st->init].bytes < bytes ? w[st->init].bytes : bytes;
	void *memory = NULL;
	int32_t rc = s->ops->resize(s, &memory, 0, bytes + 64, "a state", e);
	s->state[i] = memory;
	if (!rc && n)
		rc = s->ops->fill(s, memory, s->device_weights + w[st->init].offset, n, e);
	return rc || n == bytes ? rc : s->ops->fill(s, (uint8_t *)memory + n, NULL, bytes - n, e);
}

static int32_t make_states(TsRtSession *s, TesseraError *e)
{
	const TsPlanHeader *p = s->plan;
	const TsPlanState *st = TS_PLAN_TABLE(p, TsPlanState, states);
	const TsPlanWeight *weights = TS_PLAN_TABLE(p, TsPlanWeight, weights);
	for (uint32_t i = 0; i < p->states.n; i++) {
		int64_t bytes = s->eval.value[st[i].bytes];
		if (!s->eval.ok[st[i].bytes] || bytes < 0)
			return ts_fail(e, TESSERA_INVALID, "state '%s' has a size that depends on dims: give max_dims", ts_plan_str(p, st[i].name));
		s->state_bytes[i] = (uint64_t)bytes;
		if (s->ops) {
			int32_t rc = make_device_state(s, i, &st[i], e);
			if (rc)
				return rc;
			continue;
		}
		s->state[i] = s->cx->api->alloc(s->cx, (size_t)bytes + 64, 64);
		if (!s->state[i])
			return ts_fail(e, TESSERA_NO_MEMORY, "no memory for %d bytes of state '%s'", bytes, ts_plan_str(p, st[i].name));
		memset(s->state[i], 0, (size_t)bytes);
		if (st[i].init != TS_NONE) {
			const TsPlanWeight *w = &weights[st[i].init];
			const void *from = w->where == TS_WEIGHT_EXTERNAL ? s->external->at[st[i].init] : (const uint8_t *)s->model->weights + *s->model->weights + w->offset;
			memcpy(s->state[i], from, w->bytes < (uint64_t)bytes ? w->bytes : (uint64_t)bytes);
		}
	}
	return TESSERA_OK;
}

typedef struct { uint8_t *p; uint64_t n; } Carve;
static void *carve(Carve *c, uint64_t bytes)
{
	uint8_t *r = c->p ? c->p + c->n : NULL;
	c->n += up(bytes, 64);
	return r;
}

/* everything whose size the plan alone decides, in one block; with c->p NULL only measured */
static void carve_session(TsRtSession *s, const TsPlanHeader *p, Carve *c)
{
	const TsPlanEntry *en = TS_PLAN_TABLE(p, TsPlanEntry, entries);
	uint64_t most = 0;
	for (uint32_t i = 0; i < p->entries.n; i++)
		if (en[i].n_inputs + en[i].n_outputs > most)
			most = en[i].n_inputs + en[i].n_outputs;
	carve(c, sizeof *s);
	s->eval.value = carve(c, p->exprs.n * 8ull);
	s->eval.ok = carve(c, p->exprs.n);
	s->eval.deps = carve(c, p->exprs.n);
	s->dims = carve(c, p->dims.n * 8ull);
	s->args = carve(c, most * sizeof(TsArg));
	s->ready_shape = carve(c, most * TS_MAX_RANK * 8);
	s->base = carve(c, most * 8);
	s->staged = carve(c, most);
	s->stage_at = carve(c, most * 8);
	s->state = carve(c, p->states.n * 8ull);
	s->state_bytes = carve(c, p->states.n * 8ull);
}

static int32_t check_model(const TesseraModel *m, const TesseraSessionOptions *o, TesseraError *e)
{
	const char *wrong = ts_plan_check(m->plan, m->plan_bytes);
	if (wrong)
		return ts_fail(e, TESSERA_VERSION, "model '%s' is damaged: %s", m->name, wrong);
	const TsPlanHeader *p = m->plan;
	if (!ts_plan_is_cpu(p))
		return ts_fail(e, TESSERA_VERSION, "model '%s' is damaged: its plan is for another target", m->name);
	if (p->weight_bytes > *m->weight_bytes || (p->weight_bytes && !*m->weights))
		return ts_fail(e, TESSERA_VERSION, "model '%s' is damaged: its weights are missing", m->name);
	if (!m->kernels && p->kernels.n)
		return ts_fail(e, TESSERA_UNSUPPORTED, "model '%s' holds no code for this machine", m->name);
	if (o->size && o->size != sizeof *o)
		return ts_fail(e, TESSERA_VERSION, "session options of %u bytes, this artifact knows %u", (uint64_t)o->size, (uint64_t)sizeof *o);
	if (o->flags & ~(uint32_t)TESSERA_SESSION_STAGING)
		return ts_fail(e, TESSERA_INVALID, "session option 'flags' has unknown bits");
	return TESSERA_OK;
}

static int32_t fill_session(TsRtSession *s, const TesseraSessionOptions *o, TesseraError *e)
{
	const TsPlanHeader *p = s->plan;
	int32_t rc = TESSERA_OK;
	s->eval.ex = TS_PLAN_TABLE(p, TsPlanExpr, exprs);
	s->eval.n = p->exprs.n;
	s->eval.dims = s->dims;
	s->entry = -1;
	s->threads = s->cx->api->threads(s->cx);
	s->clone = s->cx->api->cpu(s->cx) - TESSERA_CPU_V2;
	s->staging = o->flags & TESSERA_SESSION_STAGING;
	ts_eval_deps(&s->eval);
	for (uint32_t i = 0; i < p->dims.n; i++)
		s->dims[i] = -1;
	ts_eval_dims(&s->eval);
	if (s->ops)
		rc = s->ops->attach(s, o->weights ? o->weights : s->cx->api->weights(s->cx), e);
	else if (p->external_bytes)
		rc = ts_weights_open(s->model, s->cx, o->weights ? o->weights : s->cx->api->weights(s->cx), &s->external, e);
	if (!rc && (o->max_dims || o->n_max_dims))
		rc = reserve(s, o, e);
	return rc ? rc : make_states(s, e);
}

/* the plan for the device of a context, which another artifact may have made */
static int32_t device_plan(const TesseraModel *m, TesseraContext *cx, const TesseraDeviceInfo *info, const TsDeviceOps **ops, const TsPlanHeader **plan, TesseraError *e)
{
	*ops = m->device_ops;
	if (!*ops)
		return ts_fail(e, TESSERA_UNSUPPORTED, "model '%s' holds no code for GPUs, and the context is on cuda:%d", m->name, (int64_t)info->device.device_id);
	return (*ops)->plan(m, cx, info, plan, e);
}

int32_t ts_session_create(const TesseraModel *m, TesseraContext *cx, const TesseraSessionOptions *o, TesseraSession **out, TesseraError *e)
{
	static const TesseraSessionOptions none = { 0 };
	TsRtSession probe;
	Carve c = { NULL, 0 };
	if (!out)
		return ts_fail(e, TESSERA_INVALID, "argument 'out' is NULL");
	*out = NULL;
	o = o ? o : &none;
	int32_t rc = check_model(m, o, e);
	if (rc)
		return rc;
	TesseraDeviceInfo info;
	const TsPlanHeader *plan = m->plan;
	const TsDeviceOps *ops = NULL;
	cx->api->device(cx, &info);
	if (info.device.device_type != kDLCPU && ((rc = cx->api->device_release(cx, NULL, 0, e)) || (rc = device_plan(m, cx, &info, &ops, &plan, e))))
		return rc;
	carve_session(&probe, plan, &c);
	TsRtSession *s = cx->api->alloc(cx, c.n, 64);
	if (!s)
		return ts_fail(e, TESSERA_NO_MEMORY, "no memory for a session of %u bytes", c.n);
	memset(s, 0, c.n);
	Carve real = { (uint8_t *)s, 0 };
	carve_session(s, plan, &real);
	s->head.api = m->api;
	s->model = m;
	s->plan = plan;
	s->ops = ops;
	s->head.device = info.device;
	s->cx = cx;
	s->self_bytes = c.n;
	if ((rc = fill_session(s, o, e))) {
		ts_session_destroy(&s->head);
		return rc;
	}
	*out = &s->head;
	return TESSERA_OK;
}

void ts_session_destroy(TesseraSession *head)
{
	TsRtSession *s = ts_session(head);
	TesseraContext *cx = s->cx;
	for (uint32_t i = 0; i < s->plan->states.n; i++)
		if (s->state[i] && s->ops)
			s->ops->drop(s, s->state[i]);
		else if (s->state[i])
			cx->api->release(cx, s->state[i], s->state_bytes[i] + 64);
	if (s->ops) {
		if (s->work_memory)
			s->ops->drop(s, s->work_memory);
		s->ops->detach(s);
	} else {
		cx->api->release(cx, s->work_memory, s->work_bytes);
	}
	cx->api->release(cx, s->plan_memory, s->plan_bytes);
	cx->api->release(cx, s, s->self_bytes);
}

/* ---- prepare ---- */

bool ts_enter(TsRtSession *s, TesseraError *e)
{
	if (!atomic_exchange(&s->busy, 1))
		return true;
	ts_fail(e, TESSERA_BUSY, "this session is in another call; one call at a time, or one session per thread");
	return false;
}
void ts_leave(TsRtSession *s) { atomic_store(&s->busy, 0); }

/* the binds of an entry say which dims it uses */
static int32_t take_dims(TsRtSession *s, const TsPlanEntry *en, const int64_t *dims, int32_t n, TesseraError *e)
{
	const TsPlanHeader *p = s->plan;
	const TsPlanBind *b = TS_PLAN_TABLE(p, TsPlanBind, binds) + en->bind;
	int32_t rc = ts_check_dims(p, dims, n, e);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < en->n_binds; i++)
		if (dims[b[i].dim] == -1)
			return ts_fail(e, TESSERA_INVALID, "dim %s of graph '%s' is not given", ts_plan_str(p, TS_PLAN_TABLE(p, TsPlanDim, dims)[b[i].dim].name),
			               ts_plan_str(p, en->name));
	s->ready = false;
	memcpy(s->dims, dims, (size_t)n * 8);
	ts_eval_dims(&s->eval);
	return check_all(s, en, e);
}

int32_t ts_session_prepare(TesseraSession *head, int32_t graph, const int64_t *dims, int32_t n, TesseraError *e)
{
	TsRtSession *s = ts_session(head);
	const TsPlanEntry *en = ts_entry(s->plan, graph, e);
	if (!en)
		return TESSERA_INVALID;
	if (!ts_enter(s, e))
		return TESSERA_BUSY;
	int32_t rc = take_dims(s, en, dims, n, e);
	if (!rc)
		rc = ts_resolve(s, graph, s->staging, true, e);
	ts_leave(s);
	return rc;
}
