/* Cells, agents and control of the simulator. An agent is one warp (one worker on cpu). It runs statements from a stack of frames, so it
 * can stop at any word that waits and be tried again later. */
#include "ir/tile_sim_int.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CELLS = 1 << 20, MAX_INSTANCES = 8, MAX_SHARED = 1 << 24 };

bool sim_fail(Sim *s, const TsTree *at, const char *code, const char *fmt, ...)
{
	TsBuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(&b, fmt, ap);
	va_end(ap);
	ts_error(s->cx, at && at->at.file ? at->at : s->kernel->at, code, "%s", b.p);
	ts_buf_free(&b);
	return false;
}

uint32_t sim_random(Sim *s, uint32_t n)
{
	s->random += 0x9E3779B97F4A7C15u; /* splitmix64 */
	uint64_t z = s->random;
	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return (uint32_t)((z ^ z >> 31) >> 32) % n;
}

Meeting *sim_meeting(Sim *s, const Agent *a, const char *which)
{
	uint32_t roles = 0, mine = 0, block = s->kernel->kid[1]->n;
	for (uint32_t i = 0; i < block; i++) {
		const TsTree *t = s->kernel->kid[1]->kid[i];
		if (t == a->role) mine = roles;
		roles += t->kind == TS_TREE_ROLE;
	}
	uint32_t per = roles * MAX_INSTANCES + 1;
	if (!strcmp(which, "cluster")) return &s->meetings[per * (uint32_t)s->ctas];
	if (!strcmp(which, "cta")) return &s->meetings[per * (uint32_t)a->cta + per - 1];
	return &s->meetings[per * (uint32_t)a->cta + mine * MAX_INSTANCES + (uint32_t)a->instance];
}

bool sim_cta_lives(Sim *s, const TsTree *at, int cta)
{
	for (uint32_t i = 0; i < s->agents.n; i++)
		if (s->agents.p[i]->cta == cta && !s->agents.p[i]->done) return true;
	return sim_fail(s, at, "E_SIM_RACE", "CTA %d of the cluster has ended: nobody waits for its last user", cta);
}

/* ---- statements ---- */
static void assign(Agent *a, const TsTree *decl, Val v)
{
	Val *to = &a->vals[ts_tinfo(decl)->id];
	Val old = *to;
	*to = v;
	sim_drop(old);
}

static void enter(Sim *s, Agent *a, Frame f)
{
	ts_push(s->cell_arena, &a->stack, f);
}

static bool more(const Frame *f) { return f->step > 0 ? f->i < f->hi : f->i > f->hi; }

static void set_var(Agent *a, const Frame *f) { assign(a, f->owner, (Val){ .s.i = f->i }); }

/* The loop's results are what it carries. */
static void leave_for(Agent *a, const TsTree *owner, const TsTree *binds)
{
	const TsTree *with = owner->kid[1];
	for (uint32_t i = 0; binds && with && i < with->n; i++) assign(a, binds->kid[i], sim_keep(a->vals[ts_tinfo(with->kid[i])->id]));
}

static bool start_for(Sim *s, Agent *a, const TsTree *t, const TsTree *binds)
{
	const TsTree *r = t->kid[0], *with = t->kid[1];
	Frame f = { .block = t->kid[2], .owner = t, .binds = binds, .step = 1 };
	Val v[64];
	if (!sim_idx(s, a, r->kid[0], &f.i) || !sim_idx(s, a, r->kid[1], &f.hi) || (r->kid[2] && !sim_idx(s, a, r->kid[2], &f.step))) return false;
	if (!f.step) return sim_fail(s, r, "E_SIM_BOUNDS", "a step of 0 never ends");
	for (uint32_t i = 0; with && i < with->n; i++)
		if (!sim_eval(s, a, with->kid[i]->kid[0], &v[i])) return false;
	for (uint32_t i = 0; with && i < with->n; i++) assign(a, with->kid[i], v[i]);
	if (!more(&f)) return leave_for(a, t, binds), true;
	set_var(a, &f);
	enter(s, a, f);
	return true;
}

static bool start_if(Sim *s, Agent *a, const TsTree *t, const TsTree *binds)
{
	for (const TsTree *x = t; x; x = x->kid[2]) {
		int64_t c = 1;
		if (x->kind == TS_TREE_IF && !sim_idx(s, a, x->kid[0], &c)) return false;
		if (!c) continue;
		enter(s, a, (Frame){ .block = x->kind == TS_TREE_IF ? x->kid[1] : x, .owner = t, .binds = binds });
		return true;
	}
	return true;
}

static bool yield(Sim *s, Agent *a, const TsTree *y)
{
	Val v[64];
	Frame f = a->stack.p[a->stack.n - 1];
	for (uint32_t i = 0; i < y->n; i++)
		if (!sim_eval(s, a, y->kid[i], &v[i])) return false;
	const TsTree *to = f.owner->kind == TS_TREE_FOR ? f.owner->kid[1] : f.binds;
	for (uint32_t i = 0; i < y->n; i++) assign(a, to->kid[i], v[i]);
	return true;
}

/* The end of the innermost block. */
static void leave(Agent *a)
{
	Frame *f = &a->stack.p[a->stack.n - 1];
	if (f->owner && f->owner->kind == TS_TREE_FOR) {
		bool over = __builtin_add_overflow(f->i, f->step, &f->i);
		if (!over && more(f)) {
			f->pc = 0;
			set_var(a, f);
			return;
		}
		leave_for(a, f->owner, f->binds);
	}
	a->stack.n--;
}

static int run_rhs(Sim *s, Agent *a, const TsTree *x, const TsTree *binds)
{
	Val out[64];
	uint32_t n = 1;
	Frame *f = &a->stack.p[a->stack.n - 1];
	if (x->kind == TS_TREE_FOR || x->kind == TS_TREE_IF) {
		f->pc++;
		return x->kind == TS_TREE_FOR ? start_for(s, a, x, binds) : start_if(s, a, x, binds);
	}
	int ok = x->kind == TS_TREE_CALL ? sim_word(s, a, x, binds, out, &n) : sim_eval(s, a, x, out);
	if (ok != true) return ok;
	for (uint32_t i = 0; i < n; i++) {
		const TsTree *bind = binds ? binds->kid[i] : NULL;
		if (bind && ts_tinfo(bind)->type.form == TS_TT_SCALAR && x->kind != TS_TREE_CALL && ts_tinfo(x)->type.form == TS_TT_IDX && ts_dtype_is_float(ts_tinfo(bind)->type.elem))
			out[i].s.f = sim_round(s, ts_tinfo(bind)->type.elem, (double)out[i].s.i);
		if (bind) assign(a, bind, out[i]);
		else sim_drop(out[i]);
	}
	f->pc++;
	return true;
}

static void set_grid(Sim *s, Agent *a, const TsTree *t)
{
	for (uint32_t i = 0; i < t->n; i++) assign(a, t->kid[i], (Val){ .s.i = s->coord[i] });
}

static int step(Sim *s, Agent *a)
{
	Frame *f = &a->stack.p[a->stack.n - 1];
	if (f->pc == f->block->n) {
		leave(a);
		a->done = a->stack.n == 0;
		return true;
	}
	const TsTree *t = f->block->kid[f->pc];
	a->waits = t;
	switch (t->kind) {
	case TS_TREE_LET: return run_rhs(s, a, t->kid[1], t->kid[0]);
	case TS_TREE_EXPR: return run_rhs(s, a, t->kid[0], NULL);
	case TS_TREE_CALL: case TS_TREE_FOR: case TS_TREE_IF: return run_rhs(s, a, t, NULL);
	default: break;
	}
	f->pc++;
	switch (t->kind) {
	case TS_TREE_YIELD: return yield(s, a, t);
	case TS_TREE_GRID: return set_grid(s, a, t), true;
	case TS_TREE_ROLE:
		if (t == a->role) enter(s, a, (Frame){ .block = t->kid[1] });
		return true;
	case TS_TREE_ONE:
		if (a->warp == 0) enter(s, a, (Frame){ .block = t->kid[0] });
		return true;
	default: return true;
	}
}

/* ---- one cell ---- */
static Memory *shared_memory(Sim *s, const TsTree *decl, int64_t slots)
{
	const TsTType *t = &ts_tinfo(decl)->type;
	Memory *m = TS_NEW(s->cell_arena, Memory);
	*m = (Memory){ .decl = decl, .space = TS_SP_SHARED, .elem = t->elem, .rank = t->rank, .layout = t->layout, .count = slots };
	for (int i = 0; i < t->rank; i++) m->dim[i] = t->extent[i], m->count *= t->extent[i];
	m->elem_bytes = ts_dtype_bits(t->elem) / 8;
	if (m->elem_bytes == 0 || ts_dtype_bits(t->elem) % 8 || m->count > MAX_SHARED) {
		sim_fail(s, decl, "E_SIM_WORD", "the simulator holds no shared memory of %s of this size", ts_dtype_name(t->elem));
		return NULL;
	}
	m->bytes = m->count * m->elem_bytes;
	m->granule = t->layout->swizzle && m->bytes >= 4096 && 16 % m->elem_bytes == 0 ? 16 : m->elem_bytes; /* what engines and ldmatrix touch */
	m->data = ts_alloc(s->cell_arena, (size_t)m->bytes + 16);
	m->granules = TS_NEW_N(s->cell_arena, Granule, (size_t)(m->bytes / m->granule + 1));
	return m;
}

static bool make_ring(Sim *s, int cta, const TsTree *t)
{
	int64_t stages = ts_tinfo(t)->value, at = (int64_t)cta * s->nids;
	for (uint32_t i = 0; i < t->kid[1]->n; i++) {
		Memory *m = shared_memory(s, t->kid[1]->kid[i], stages);
		if (!m) return false;
		s->shared[at + ts_tinfo(t->kid[1]->kid[i])->id] = m;
	}
	Barrier *full = TS_NEW_N(s->cell_arena, Barrier, (size_t)stages), *empty = TS_NEW_N(s->cell_arena, Barrier, (size_t)stages);
	for (int64_t i = 0; i < stages; i++) {
		full[i].count = ts_tile_attr(t->kid[2], "full")->i;
		empty[i].count = ts_tile_attr(t->kid[2], "empty")->i;
	}
	s->full[at + ts_tinfo(t)->id] = full;
	s->empty[at + ts_tinfo(t)->id] = empty;
	return true;
}

static bool make_shared(Sim *s)
{
	size_t n = (size_t)s->ctas * s->nids;
	s->shared = TS_NEW_N(s->cell_arena, Memory *, n);
	s->full = TS_NEW_N(s->cell_arena, Barrier *, n);
	s->empty = TS_NEW_N(s->cell_arena, Barrier *, n);
	for (int cta = 0; cta < s->ctas; cta++)
		for (uint32_t i = 0; i < s->kernel->kid[1]->n; i++) {
			const TsTree *t = s->kernel->kid[1]->kid[i], *alias = t->kind == TS_TREE_SMEM && t->n > 1 ? ts_tile_attr(t->kid[1], "alias") : NULL;
			if (t->kind == TS_TREE_RING && !make_ring(s, cta, t)) return false;
			if (t->kind != TS_TREE_SMEM) continue;
			Memory *m = shared_memory(s, t, 1);
			if (!m) return false;
			s->shared[(int64_t)cta * s->nids + ts_tinfo(t)->id] = m;
			if (!alias) continue;
			Memory *root = s->shared[(int64_t)cta * s->nids + ts_tinfo(ts_tinfo(alias)->decl)->id];
			m->root = root->root ? root->root : root;
			m->data = m->root->data;
		}
	return true;
}

static Agent *make_agent(Sim *s, const TsTree *role, int cta, int instance, int warp, int64_t warps, int64_t times)
{
	Agent *a = TS_NEW(s->cell_arena, Agent);
	*a = (Agent){ .id = s->ids++, .cta = cta, .warp = warp, .instance = instance, .role = role, .warps = warps, .times = times };
	a->vals = TS_NEW_N(s->cell_arena, Val, s->nids + 1);
	sim_tick(s, a);
	enter(s, a, (Frame){ .block = s->kernel->kid[1] });
	ts_push(s->cell_arena, &s->agents, a);
	return a;
}

static void make_agents(Sim *s)
{
	const TsTree *attrs = s->kernel->n > 2 ? s->kernel->kid[2] : NULL, *w = ts_tile_attr(attrs, "warps");
	uint32_t roles = 0;
	for (uint32_t i = 0; i < s->kernel->kid[1]->n; i++) roles += s->kernel->kid[1]->kid[i]->kind == TS_TREE_ROLE;
	uint32_t per = roles * MAX_INSTANCES + 1;
	s->meetings = TS_NEW_N(s->cell_arena, Meeting, per * (uint32_t)s->ctas + 1);
	for (int cta = 0; cta < s->ctas; cta++) {
		uint32_t before = s->agents.n, role = 0;
		for (uint32_t i = 0; i < s->kernel->kid[1]->n; i++) {
			const TsTree *t = s->kernel->kid[1]->kid[i];
			if (t->kind != TS_TREE_ROLE) continue;
			int64_t times = ts_tinfo(t)->value, warps = ts_tinfo(t)->step;
			for (int64_t k = 0; k < times * warps; k++) make_agent(s, t, cta, (int)(k / warps), (int)(k % warps), warps, times);
			for (int64_t k = 0; k < times; k++) s->meetings[per * (uint32_t)cta + role * MAX_INSTANCES + (uint32_t)k].count = warps;
			role++;
		}
		int64_t warps = w ? w->i : 1;
		for (int64_t k = 0; k < warps && !roles; k++) make_agent(s, NULL, cta, 0, (int)k, warps, 1);
		s->meetings[per * (uint32_t)cta + per - 1].count = s->agents.n - before;
	}
	s->meetings[per * (uint32_t)s->ctas].count = s->agents.n;
}

/* May this engine act now? Matrix instructions of a warp act in order. */
static bool may_act(const Sim *s, uint32_t k)
{
	const Engine *e = s->engines.p[k];
	if (e->done) return false;
	for (uint32_t i = 0; i < k && e->kind == ENGINE_MMA; i++)
		if (s->engines.p[i]->by == e->by && s->engines.p[i]->kind == ENGINE_MMA && !s->engines.p[i]->done) return false;
	return true;
}

static bool forgotten(const Engine *e) { return e->done && (e->waited || e->kind == ENGINE_COPY); }

/* 0: none could. 1: one did. 2: it failed. */
static int act_one(Sim *s)
{
	uint32_t kept = 0, start;
	for (uint32_t i = 0; i < s->engines.n; i++)
		if (!forgotten(s->engines.p[i])) s->engines.p[kept++] = s->engines.p[i];
	s->engines.n = kept;
	if (!kept) return 0;
	start = sim_random(s, kept);
	for (uint32_t i = 0; i < kept; i++) {
		uint32_t k = (start + i) % kept;
		if (may_act(s, k)) return sim_act(s, s->engines.p[k]) ? 1 : 2;
	}
	return 0;
}

static bool deadlock(Sim *s)
{
	const Agent *first = NULL;
	uint32_t waiting = 0;
	for (uint32_t i = 0; i < s->agents.n; i++)
		if (!s->agents.p[i]->done) {
			waiting++;
			if (!first) first = s->agents.p[i];
		}
	sim_fail(s, first->waits, "E_SIM_DEADLOCK", "%u warps wait and nothing can end it; the first is warp %d of instance %d of %s", waiting, first->warp, first->instance, first->role ? first->role->name : "the kernel");
	for (uint32_t i = 0; i < s->agents.n; i++) {
		const Agent *a = s->agents.p[i];
		if (a->done || a->role == first->role) continue;
		ts_note(s->cx, a->waits->at, "a warp of %s waits here", a->role ? a->role->name : "the kernel");
		break;
	}
	return false;
}

/* A warp must not end while its engines use shared memory or registers. */
static bool check_end(Sim *s, const Agent *a)
{
	for (uint32_t i = 0; i < s->engines.n; i++) {
		const Engine *e = s->engines.p[i];
		if (e->by == a && e->kind != ENGINE_COPY && !e->waited) return sim_fail(s, e->at, "E_SIM_RACE", "the kernel ends without waiting for this");
	}
	return true;
}

static bool run_agents(Sim *s)
{
	for (;;) {
		bool moved = false, live = false;
		if (!s->a->latest && s->engines.n && sim_random(s, 10) < 3 && act_one(s) == 2) return false;
		uint32_t start = sim_random(s, s->agents.n);
		for (uint32_t i = 0; i < s->agents.n && !moved; i++) {
			Agent *a = s->agents.p[(start + i) % s->agents.n];
			for (uint32_t burst = 1 + sim_random(s, 6); !a->done && burst; burst--) {
				live = true;
				if (++s->steps > s->max_steps) return sim_fail(s, a->waits, "E_SIM_LIMIT", "more than %lld statements", (long long)s->max_steps);
				int r = step(s, a);
				if (!r || (a->done && !check_end(s, a))) return false;
				if (r == SIM_BLOCKED) break;
				moved = true;
			}
		}
		if (moved) continue;
		if (!live) return true;
		int acted = act_one(s);
		if (acted == 2) return false;
		if (!acted) return deadlock(s);
	}
}

/* What was filled must have been waited for: a filler that goes further than its readers gives them wrong slots later. */
static bool check_rings(Sim *s)
{
	for (int cta = 0; cta < s->ctas; cta++)
		for (uint32_t i = 0; i < s->kernel->kid[1]->n; i++) {
			const TsTree *t = s->kernel->kid[1]->kid[i];
			for (int64_t k = 0; t->kind == TS_TREE_RING && k < ts_tinfo(t)->value; k++) {
				const Barrier *b = &s->full[(int64_t)cta * s->nids + ts_tinfo(t)->id][k];
				if (b->phase != b->waited || b->got || b->tx) return sim_fail(s, t, "E_SIM_ARRIVALS", "slot %lld was filled %lld times and waited for %lld times", (long long)k, (long long)b->phase + (b->got || b->tx), (long long)b->waited);
			}
		}
	return true;
}

static bool run_cell(Sim *s)
{
	s->cell_arena = ts_arena_new();
	s->agents.n = s->agents.cap = s->engines.n = s->engines.cap = 0;
	s->ids = 0;
	bool ok = make_shared(s);
	if (ok) make_agents(s);
	ok = ok && run_agents(s);
	for (int r; ok && (r = act_one(s)); ) ok = r == 1;
	ok = ok && check_rings(s);
	sim_free_tiles(s);
	ts_arena_free(s->cell_arena);
	return ok;
}

/* ---- the kernel ---- */
static bool bind_buffer(Sim *s, Agent *a, const TsTree *p, const TsTensor *t, Memory *m)
{
	const TsTType *type = &ts_tinfo(p)->type;
	const TsTree *ty = p->kid[0], *strides = NULL;
	*m = (Memory){ .decl = p, .space = TS_SP_GLOBAL, .elem = type->elem, .rank = type->rank, .data = t->data, .count = t->count, .elem_bytes = 1, .granule = 1 };
	if (t->elem != type->elem) return sim_fail(s, p, "E_SIM_ARGS", "'%s' is %s, not %s", p->name, ts_dtype_name(type->elem), ts_dtype_name(t->elem));
	for (uint32_t i = 0; i < ty->n; i++)
		if (ty->kid[i]->kind == TS_TREE_ANNOT && !strcmp(ty->kid[i]->name, "strides")) strides = ty->kid[i];
	int64_t size = 1;
	for (int i = type->rank; i-- > 0;) {
		if (!sim_idx(s, a, ty->kid[i], &m->dim[i])) return false;
		m->stride[i] = size;
		if (m->dim[i] < 0 || __builtin_mul_overflow(size, m->dim[i], &size)) return sim_fail(s, p, "E_SIM_ARGS", "'%s' has a size of %lld", p->name, (long long)m->dim[i]);
		if (strides && !sim_idx(s, a, strides->kid[i], &m->stride[i])) return false;
	}
	m->writer = TS_NEW_N(s->arena, uint32_t, (size_t)t->count + 1);
	return true;
}

/* The statements before the grid are run once here, for its ranges; every cell runs them again. */
static bool grid_cells(Sim *s, Agent *a, int64_t lo[3], int64_t step_[3], int64_t n[3], int64_t *cells)
{
	*cells = 1;
	for (int i = 0; i < 3; i++) lo[i] = 0, step_[i] = n[i] = 1;
	for (uint32_t k = 0; k < s->kernel->kid[1]->n; k++) {
		const TsTree *t = s->kernel->kid[1]->kid[k];
		if (t->kind == TS_TREE_LET && ts_tinfo(t->kid[0]->kid[0])->type.form == TS_TT_IDX && t->kid[1]->kind != TS_TREE_FOR && t->kid[1]->kind != TS_TREE_IF) {
			a->stack.p[0].pc = k;
			if (run_rhs(s, a, t->kid[1], t->kid[0]) != true) return false;
		}
		if (t->kind != TS_TREE_GRID) continue;
		for (uint32_t i = 0; i < t->n; i++) {
			const TsTree *r = t->kid[i]->kid[0];
			int64_t hi;
			if (!sim_idx(s, a, r->kid[0], &lo[i]) || !sim_idx(s, a, r->kid[1], &hi) || (r->kid[2] && !sim_idx(s, a, r->kid[2], &step_[i]))) return false;
			if (step_[i] <= 0) return sim_fail(s, r, "E_SIM_BOUNDS", "a grid's step is positive");
			int64_t span = 0;
			if (hi > lo[i] && __builtin_sub_overflow(hi, lo[i], &span)) span = INT64_MAX;
			n[i] = span / step_[i] + (span % step_[i] != 0);
			if (__builtin_mul_overflow(*cells, n[i], cells) || *cells > MAX_CELLS) return sim_fail(s, r, "E_SIM_LIMIT", "more than %d cells", MAX_CELLS);
		}
		break;
	}
	return true;
}

static bool run_kernel(Sim *s)
{
	const TsTree *params = s->kernel->kid[0]->kid[0], *attrs = s->kernel->n > 2 ? s->kernel->kid[2] : NULL, *cluster = ts_tile_attr(attrs, "cluster");
	uint32_t nbuf = 0, nnum = 0;
	for (uint32_t i = 0; i < params->n; i++) *(ts_tinfo(params->kid[i])->type.form == TS_TT_MEM ? &nbuf : &nnum) += 1;
	if (nbuf != s->a->nbuffers || nnum != s->a->nnumbers) return sim_fail(s, s->kernel, "E_SIM_ARGS", "the kernel takes %u buffers and %u numbers, not %u and %u", nbuf, nnum, s->a->nbuffers, s->a->nnumbers);
	s->nids = (uint32_t)ts_tinfo(s->kernel)->id;
	s->ctas = cluster ? (int)cluster->i : 1;
	s->params = TS_NEW_N(s->arena, Memory, nbuf + 1);
	s->cell_arena = s->arena;
	Agent *a = make_agent(s, NULL, 0, 0, 0, 1, 1);
	for (uint32_t i = 0; i < params->n; i++) {
		int64_t at = ts_tinfo(params->kid[i])->value, step = ts_tinfo(params->kid[i])->step;
		if (ts_tinfo(params->kid[i])->type.form == TS_TT_IDX && s->a->numbers[at] % step) return sim_fail(s, params->kid[i], "E_SIM_ARGS", "'%s' is %lld, no multiple of %lld", params->kid[i]->name, (long long)s->a->numbers[at], (long long)step);
		if (ts_tinfo(params->kid[i])->type.form == TS_TT_MEM && !bind_buffer(s, a, params->kid[i], &s->a->buffers[at], &s->params[at])) return false;
	}
	int64_t lo[3], by[3], n[3], cells;
	if (!grid_cells(s, a, lo, by, n, &cells)) return false;
	uint32_t *order = TS_NEW_N(s->arena, uint32_t, (size_t)cells + 1);
	for (int64_t i = 0; i < cells; i++) order[i] = (uint32_t)i;
	for (int64_t i = cells - 1; i > 0; i--) {
		uint32_t k = sim_random(s, (uint32_t)i + 1), t = order[i];
		order[i] = order[k];
		order[k] = t;
	}
	for (int64_t i = 0; i < cells; i++) {
		int64_t left = s->cell = order[i];
		for (int k = 2; k >= 0; k--) s->coord[k] = lo[k] + left % n[k] * by[k], left /= n[k];
		if (!run_cell(s)) return false;
	}
	return true;
}

TsTree *ts_tile_sim_kernel(TsCtx *cx, TsTree *file, const TsSimArgs *args)
{
	TsTree *kernel = NULL;
	if (!ts_tile_annotate(cx, file)) return NULL;
	for (uint32_t i = 0; i < file->n; i++) {
		TsTree *k = file->kid[i];
		if (k->kind != TS_TREE_KERNEL || (args->kernel && strcmp(args->kernel, k->name))) continue;
		if (kernel) return ts_error(cx, k->at, "E_SIM_ARGS", "the file has several kernels; name one"), NULL;
		kernel = k;
	}
	if (!kernel) ts_error(cx, file->at, "E_SIM_ARGS", "no kernel '%s'", args->kernel ? args->kernel : "");
	return kernel;
}

bool ts_tile_sim_dims(TsCtx *cx, TsTree *kernel, const TsSimArgs *args, const TsTree *param, int64_t dim[TS_LAY_RANK])
{
	Sim s = { .cx = cx, .a = args, .kernel = kernel, .ctas = 1, .nids = (uint32_t)ts_tinfo(kernel)->id };
	s.arena = s.cell_arena = ts_arena_new();
	Agent *a = make_agent(&s, NULL, 0, 0, 0, 1, 1);
	bool ok = true;
	for (int i = 0; i < ts_tinfo(param)->type.rank && ok; i++) ok = sim_idx(&s, a, param->kid[0]->kid[i], &dim[i]);
	ts_arena_free(s.arena);
	return ok;
}

bool ts_tile_sim(TsCtx *cx, TsTree *file, const TsSimArgs *args)
{
	Sim s = { .cx = cx, .a = args, .random = args->seed, .max_steps = args->max_steps ? args->max_steps : 200000000 };
	s.kernel = ts_tile_sim_kernel(cx, file, args);
	if (!s.kernel) return false;
	s.arena = ts_arena_new();
	bool ok = run_kernel(&s);
	sim_free_tiles(&s);
	ts_arena_free(s.arena);
	return ok;
}
