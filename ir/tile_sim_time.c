/* Order: vector clocks, barriers with parity, meetings of warps, and engines that act when they like. An agent has two clocks: what is
 * ordered before it, and what of that is also fenced to the asynchronous proxy. */
#include "ir/tile_sim_int.h"
#include <string.h>

static void reach(Sim *s, Clock *c, uint32_t n)
{
	if (c->n >= n) return;
	if (c->cap < n) {
		uint32_t cap = n + n / 2 + 8, *t = TS_NEW_N(s->cell_arena, uint32_t, cap);
		if (c->n) memcpy(t, c->t, c->n * sizeof *t);
		c->t = t;
		c->cap = cap;
	}
	c->n = n; /* what lies above was never written: 0 */
}

void sim_join(Sim *s, Clock *to, const Clock *from)
{
	reach(s, to, from->n);
	for (uint32_t i = 0; i < from->n; i++)
		if (to->t[i] < from->t[i]) to->t[i] = from->t[i];
}

static void set_time(Sim *s, Clock *c, uint32_t id, uint32_t time)
{
	reach(s, c, id + 1);
	c->t[id] = time;
}

bool sim_before(Epoch e, const Clock *c) { return e.id < c->n && c->t[e.id] >= e.time; }
Epoch sim_now(const Agent *a) { return (Epoch){ a->id, a->vc.t[a->id] }; }
void sim_tick(Sim *s, Agent *a) { set_time(s, &a->vc, a->id, a->id < a->vc.n ? a->vc.t[a->id] + 1 : 1); }

/* ---- barriers in memory ---- */
static bool turn(Sim *s, const TsTree *at, Barrier *b)
{
	if (b->got > b->count) return sim_fail(s, at, "E_SIM_ARRIVALS", "arrival %lld at a barrier of %lld", (long long)b->got, (long long)b->count);
	if (b->got < b->count || b->tx) return true;
	b->phase++;
	b->got = 0;
	b->vc_out = b->vc;
	b->fv_out = b->fv;
	b->vc = b->fv = (Clock){ 0 };
	return true;
}

bool sim_arrive(Sim *s, const TsTree *at, Barrier *b, Agent *a, int64_t tx)
{
	sim_join(s, &b->vc, &a->vc);
	sim_join(s, &b->fv, &a->fv);
	b->got++;
	b->tx += tx;
	sim_tick(s, a);
	return turn(s, at, b);
}

/* The phase of this parity is over. */
bool sim_ready(const Barrier *b, int64_t parity) { return (b->phase & 1) != (parity & 1); }

void sim_pass(Sim *s, Agent *a, const Barrier *b)
{
	sim_join(s, &a->vc, &b->vc_out);
	sim_join(s, &a->fv, &b->fv_out);
}

/* ---- meetings ---- */
int sim_meet(Sim *s, Agent *a, Meeting *m)
{
	if (!a->arrived) {
		a->arrived = true;
		a->generation = m->generation;
		sim_join(s, &m->vc, &a->vc);
		sim_join(s, &m->fv, &a->fv);
		if (++m->got == m->count) {
			m->got = 0;
			m->generation++;
			m->vc_out = m->vc;
			m->fv_out = m->fv;
			m->vc = m->fv = (Clock){ 0 };
		}
	}
	if (m->generation == a->generation) return SIM_BLOCKED;
	a->arrived = false;
	sim_join(s, &a->vc, &m->vc_out);
	sim_join(s, &a->fv, &m->fv_out);
	sim_tick(s, a);
	return true;
}

/* ---- engines ---- */
Engine *sim_engine(Sim *s, Agent *a, EngineKind kind, const TsTree *at)
{
	Engine *e = TS_NEW(s->cell_arena, Engine);
	e->kind = kind;
	e->by = a;
	e->at = at;
	e->id = s->ids++;
	e->group = kind == ENGINE_MMA ? a->mma_groups : kind == ENGINE_CP ? a->copy_groups : kind == ENGINE_STORE ? a->store_groups : 0;
	sim_join(s, &e->vc, &a->vc);
	sim_join(s, &e->fv, &a->fv);
	set_time(s, &e->vc, e->id, 1);
	sim_tick(s, a);
	ts_push(s->cell_arena, &s->engines, e);
	return e;
}

bool sim_engines_left(Sim *s, Agent *a, EngineKind kind, int64_t keep, bool read, bool *left)
{
	int64_t closed = kind == ENGINE_MMA ? a->mma_groups : kind == ENGINE_CP ? a->copy_groups : a->store_groups;
	*left = false;
	for (uint32_t i = 0; i < s->engines.n; i++) {
		Engine *e = s->engines.p[i];
		if (e->by == a && e->kind == kind && e->group < closed - keep && !(e->done || (read && e->read))) *left = true;
	}
	if (*left) return true;
	for (uint32_t i = 0; i < s->engines.n; i++) {
		Engine *e = s->engines.p[i];
		if (e->by != a || e->kind != kind || e->group >= closed - keep) continue;
		sim_join(s, &a->vc, &e->vc);
		e->waited = true;
	}
	return true;
}

static void box_coord(const View *v, int64_t k, int64_t c[SIM_RANK])
{
	for (int i = v->rank; i-- > 0;) c[i] = k % v->extent[i], k /= v->extent[i];
}

/* A store's first half: takes the elements out of shared memory, which may be written again from then on. Of rows that lie outside it takes none. */
static bool take_box(Sim *s, Engine *e, int64_t n)
{
	int64_t row = e->from.extent[e->from.rank - 1];
	View part = e->from;
	for (int i = 0; i + 1 < part.rank; i++) part.extent[i] = 1;
	if (!s->a->protocol) e->taken = TS_NEW_N(s->cell_arena, Cell, (size_t)n);
	for (int64_t k = 0; k < n; k += row) {
		int64_t c[SIM_RANK] = { 0 }, at;
		box_coord(&e->from, k, c);
		if (!sim_element(s, e->at, &e->to, c, &at, true)) return false;
		if (at < 0) continue;
		for (int i = 0; i < part.mem->rank; i++) part.d[i].start = e->from.d[i].start + (e->from.d[i].axis < 0 ? 0 : c[e->from.d[i].axis] * e->from.d[i].step);
		if (!sim_touch(s, e->at, &part, false, true, (Epoch){ e->id, 1 }, &e->vc, &e->fv)) return false;
		for (int64_t i = 0; i < row && !s->a->protocol; i++, c[part.rank - 1]++) {
			if (!sim_element(s, e->at, &e->from, c, &at, false)) return false;
			e->taken[k + i] = sim_get(e->from.mem, at);
		}
	}
	e->read = true;
	return true;
}

/* One box between global and shared memory, with the clocks of the engine. What lies outside the tensor is 0, or dropped. */
static bool move_box(Sim *s, Engine *e)
{
	bool load = e->kind == ENGINE_COPY;
	int64_t n = 1;
	for (int i = 0; i < e->to.rank; i++) n *= e->to.extent[i];
	if (!load && !e->read) return take_box(s, e, n);
	if (load && !sim_touch(s, e->at, &e->to, true, true, (Epoch){ e->id, 1 }, &e->vc, &e->fv)) return false;
	const View *global = load ? &e->from : &e->to;
	for (int64_t k = 0; k < n; k++) {
		int64_t c[SIM_RANK] = { 0 }, element, to;
		box_coord(global, k, c);
		if (!sim_element(s, e->at, global, c, &element, true) || (element >= 0 && !sim_global(s, e->at, global->mem, element, !load))) return false;
		if (s->a->protocol) continue;
		if (!load && element >= 0) sim_set(global->mem, element, e->taken[k]);
		if (load && !sim_element(s, e->at, &e->to, c, &to, false)) return false;
		if (load) sim_set(e->to.mem, to, element < 0 ? (Cell){ 0 } : sim_get(global->mem, element));
	}
	return true;
}

/* cp.async: the pieces of one warp; elements past `valid` become 0. Ordinary proxy. */
static bool move_pieces(Sim *s, Engine *e)
{
	int64_t places = sim_places(e->by_layout);
	const int32_t *coords = sim_coords(s, e->by, e->by_layout);
	for (int64_t p = 0; p < places; p++) {
		int64_t c[SIM_RANK] = { 0 }, to, from = -1;
		bool in = true;
		for (int i = 0; i < e->to.rank; i++) {
			c[i] = coords[p * e->to.rank + i];
			in = in && c[i] < e->valid[i];
		}
		if (!sim_element(s, e->at, &e->to, c, &to, false) || (in && !sim_element(s, e->at, &e->from, c, &from, false))) return false;
		if (in && !sim_global(s, e->at, e->from.mem, from, false)) return false;
		if (!sim_access(s, e->at, e->to.mem, to, true, false, (Epoch){ e->id, 1 }, &e->vc, &e->fv)) return false;
		if (!s->a->protocol) sim_set(e->to.mem, to, in ? sim_get(e->from.mem, from) : (Cell){ 0 });
	}
	return true;
}

/* Lets the engine act. Matrix instructions of one warp keep their order; a store reads first and writes later. */
bool sim_act(Sim *s, Engine *e)
{
	bool store_reads = e->kind == ENGINE_STORE && !e->read;
	bool ok = e->kind == ENGINE_MMA ? sim_mma_run(s, e->by, e->flight, e) : e->kind == ENGINE_CP ? move_pieces(s, e) : move_box(s, e);
	if (!ok) return false;
	if (store_reads) return true;
	e->done = true;
	if (!e->full) return true;
	sim_join(s, &e->full->vc, &e->vc);
	e->full->tx -= e->bytes;
	return turn(s, e->at, e->full);
}
