/* What the words of a kernel do together: rings and their barriers, accumulators in flight, fences. A walk over the annotated tree in
 * text order. It refuses what is decidably wrong; the simulator (ir/tile_sim.h) finds the rest by running. Rules:
 * - a position is used up by `next`, and acquired, waited for and released at most once; a loop may do so only with positions it carries
 * - every filler of a ring and every reader go through the same loops and branches with it (compared as text), so nobody waits for ever
 * - `expect_bytes` announces what the copies of its slot bring; barriers count the arrivals that the roles make
 * - a loop that keeps n positions of a ring holds n - 1 slots back: fewer than the ring has
 * - wgmma reads registers behind a fence_mma; wait_mma(n) leaves fewer groups in flight than were closed after the one it names,
 *   and names the registers that the product read (hold)
 * - what `put` wrote is read by TMA or wgmma behind fence_async and then a barrier */
#include "ir/tile_check.h"
#include <string.h>

typedef struct { const TsTree *decl; int64_t acquires, waits, releases, nexts; uint32_t loop; } Use;      /* of one position name */
typedef struct { const TsTree *slot; int64_t bytes, want; const TsTree *at; } Expect;
typedef struct { const TsTree *bind; int64_t commit; } Flight;                                            /* a tile made by wgmma */
typedef enum { CLEAN, DIRTY, FENCED } Proxy;
typedef struct { const TsTree *decl; Proxy state; } Written;
typedef struct { const TsTree *ring, *role; int64_t full, empty; } Arrivals; /* of one site of one role */

typedef struct {
	TsVerify *v;
	TS_VEC(Use) uses;
	TS_VEC(Expect) expects;
	TS_VEC(Flight) flights;
	TS_VEC(Written) written;
	TS_VEC(const TsTree *) borrowed; /* calls of wgmma whose left operand lies in registers, until a wait holds it */
	TS_VEC(Arrivals) arrivals;
	const TsTree *role;
	int64_t warps, times, commits;
	int32_t last, fence;           /* id of the last name declared, and what it was at the last fence_mma of this block (-1: none) */
	uint32_t loop, loops;          /* number of the innermost loop */
	bool one;
} Walk;

static bool walk_block(Walk *w, const TsTree *block);

static const TsTree *first_arg(const TsTree *call) { return call->n > 1 ? call->kid[1] : NULL; }
static const TsTree *slot_position(const TsTree *slot) { return ts_tinfo(slot->kid[1])->decl; }

static Arrivals *arrivals_of(Walk *w, const TsTree *ring)
{
	for (uint32_t i = 0; i < w->arrivals.n; i++)
		if (w->arrivals.p[i].ring == ring && w->arrivals.p[i].role == w->role) return &w->arrivals.p[i];
	ts_push(ts_arena(w->v->cx), &w->arrivals, (Arrivals){ .ring = ring, .role = w->role });
	return &w->arrivals.p[w->arrivals.n - 1];
}

/* ---- linear positions ---- */
static Use *use_of(Walk *w, const TsTree *decl)
{
	for (uint32_t i = 0; i < w->uses.n; i++)
		if (w->uses.p[i].decl == decl) return &w->uses.p[i];
	ts_push(ts_arena(w->v->cx), &w->uses, (Use){ .decl = decl, .loop = w->loop });
	return &w->uses.p[w->uses.n - 1];
}

static bool use_position(Walk *w, const TsTree *at, const TsTree *decl, int32_t op)
{
	if (!decl) return tv_fail(w->v, at, "E_TILE_LINEAR", "give the position a name first");
	Use *u = use_of(w, decl);
	int64_t *count = op == TS_TILE_next ? &u->nexts : op == TS_TILE_acquire ? &u->acquires : op == TS_TILE_wait ? &u->waits : &u->releases;
	const char *verb = ts_tile_op_info((TsTileOp)op)->name;
	if (u->loop != w->loop) return tv_fail(w->v, at, "E_TILE_LINEAR", "'%s' comes from outside the loop, which would %s it again and again; carry it", decl->name, verb);
	if (++*count > 1) return tv_fail(w->v, at, "E_TILE_LINEAR", "second %s of position '%s'", verb, decl->name);
	if (op == TS_TILE_acquire && u->nexts) return tv_fail(w->v, at, "E_TILE_LINEAR", "position '%s' is used up by next", decl->name);
	return true;
}

/* Names declared in this block or loop belong to its loop. */
static void declare(Walk *w, const TsTree *decl)
{
	if (ts_tinfo(decl)->id > w->last) w->last = ts_tinfo(decl)->id;
	if (ts_tinfo(decl)->type.form == TS_TT_POS) use_of(w, decl);
}

/* ---- expected bytes ---- */
static Expect *expect_of(Walk *w, const TsTree *slot)
{
	for (uint32_t i = 0; i < w->expects.n; i++)
		if (tv_same(w->expects.p[i].slot, slot)) return &w->expects.p[i];
	ts_push(ts_arena(w->v->cx), &w->expects, (Expect){ .slot = slot, .at = slot, .want = -1 });
	return &w->expects.p[w->expects.n - 1];
}

static bool check_expects(Walk *w, uint32_t from)
{
	for (uint32_t i = from; i < w->expects.n; i++) {
		const Expect *e = &w->expects.p[i];
		if (e->want < 0) return tv_fail(w->v, e->at, "E_TILE_BYTES", "copies into a slot that no `expect_bytes` in the same block announces");
		if (e->want != e->bytes) return tv_fail(w->v, e->at, "E_TILE_BYTES", "expects %lld bytes, the copies of the block bring %lld", (long long)e->want, (long long)e->bytes);
	}
	w->expects.n = from;
	return true;
}

/* ---- proxies ---- */
static const TsTree *shared_decl(const TsTree *x)
{
	const TsTree *d = x->note ? ts_tinfo(x)->type.decl : NULL;
	return d && ts_tinfo(x)->type.form == TS_TT_MEM && ts_tinfo(x)->type.space == TS_SP_SHARED ? d : NULL;
}

static bool async_read(Walk *w, const TsTree *at, const TsTree *x)
{
	const TsTree *decl = shared_decl(x);
	for (uint32_t i = 0; decl && i < w->written.n; i++) {
		if (w->written.p[i].decl != decl || w->written.p[i].state == CLEAN) continue;
		return tv_fail(w->v, at, "E_TILE_FENCE", "'%s' was written by put; %s comes before an asynchronous read", decl->name, w->written.p[i].state == DIRTY ? "fence_async() and then a sync" : "a sync");
	}
	return true;
}

static void put(Walk *w, const TsTree *x)
{
	const TsTree *decl = shared_decl(x);
	for (uint32_t i = 0; i < w->written.n; i++)
		if (w->written.p[i].decl == decl) {
			w->written.p[i].state = DIRTY;
			return;
		}
	ts_push(ts_arena(w->v->cx), &w->written, (Written){ decl, DIRTY });
}

static void pass_proxy(Walk *w, Proxy from, Proxy to)
{
	for (uint32_t i = 0; i < w->written.n; i++)
		if (w->written.p[i].state == from) w->written.p[i].state = to;
}

/* ---- flights ---- */
static const Flight *flight_of(const Walk *w, const TsTree *decl)
{
	for (uint32_t i = 0; i < w->flights.n; i++)
		if (w->flights.p[i].bind == decl) return &w->flights.p[i];
	return NULL;
}

static bool fenced(Walk *w, const TsTree *call, const TsTree *operand)
{
	const TsTree *decl = operand->kind == TS_TREE_NAME ? ts_tinfo(operand)->decl : NULL;
	if (ts_tinfo(operand)->type.form != TS_TT_TILE) return true;
	if (w->fence < 0) return tv_fail(w->v, call, "E_TILE_FENCE", "no fence_mma() before this wgmma in its block");
	if (!decl || flight_of(w, decl) || ts_tinfo(decl)->id <= w->fence) return true;
	return tv_fail(w->v, operand, "E_TILE_FENCE", "'%s' was made after the last fence_mma()", decl->name);
}

static bool walk_mma(Walk *w, const TsTree *call)
{
	bool wgmma = ts_tinfo(call)->type.pending;
	for (int i = 1; i <= 3; i++)
		if (!async_read(w, call->kid[i], call->kid[i])) return false;
	if (!wgmma) return true;
	if (ts_tinfo(call->kid[2])->type.form == TS_TT_TILE) ts_push(ts_arena(w->v->cx), &w->borrowed, call);
	return fenced(w, call, call->kid[1]) && fenced(w, call, call->kid[2]);
}

/* The wait that retires a product gives its register operand back. */
static void give_back(Walk *w, const TsTree *wait)
{
	const TsTree *hold = NULL;
	uint32_t kept = 0;
	for (uint32_t i = 1; i < wait->n; i++)
		if (wait->kid[i]->kind == TS_TREE_KW) hold = wait->kid[i]->kid[0];
	for (uint32_t i = 0; i < w->borrowed.n; i++) {
		bool held = false;
		for (uint32_t k = 0; hold && k < hold->n; k++) held |= tv_same(hold->kid[k], w->borrowed.p[i]->kid[2]);
		if (!held) w->borrowed.p[kept++] = w->borrowed.p[i];
	}
	w->borrowed.n = kept;
}

static bool walk_wait_mma(Walk *w, const TsTree *call)
{
	int64_t n = ts_tinfo(call->kid[1])->value;
	for (uint32_t i = 2; i < call->n; i++) {
		if (call->kid[i]->kind == TS_TREE_KW) continue;
		const Flight *f = flight_of(w, ts_tinfo(call->kid[i])->decl);
		if (f && f->commit == w->commits) return tv_fail(w->v, call->kid[i], "E_TILE_IN_FLIGHT", "its group is not closed: commit_mma() is missing");
		int64_t after = f ? w->commits - f->commit - 1 : 0;
		if (n > after) return tv_fail(w->v, call, "E_TILE_IN_FLIGHT", "waiting down to %lld groups leaves this one in flight; %lld were closed after it", (long long)n, (long long)after);
	}
	return true;
}

/* ---- calls ---- */
static bool walk_slot(Walk *w, const TsTree *call, int32_t op)
{
	const TsTree *slot = first_arg(call), *ring = ts_tinfo(slot)->type.decl;
	Arrivals *a = arrivals_of(w, ring);
	if (op == TS_TILE_expect_bytes) {
		Expect *e = expect_of(w, slot);
		if (e->want >= 0) return tv_fail(w->v, call, "E_TILE_BYTES", "two `expect_bytes` for one slot");
		e->want = ts_tinfo(call->kid[2])->value;
		e->at = call;
		a->full = 1;
		return true;
	}
	const TsTree *ctas = ts_tile_attr(ring->kid[2], "cluster"); /* then a release arrives in each of them */
	int64_t arrive = (w->one ? 1 : w->warps) * w->times * (ctas ? ctas->i : 1);
	if (op == TS_TILE_release && a->empty && a->empty != arrive) return tv_fail(w->v, call, "E_TILE_ARRIVALS", "this release makes %lld arrivals, another one %lld", (long long)arrive, (long long)a->empty);
	if (op == TS_TILE_release) a->empty = arrive;
	return use_position(w, call, slot_position(slot), op);
}

static bool walk_copy(Walk *w, const TsTree *call)
{
	const TsTree *field = first_arg(call);
	const TsTType *t = &ts_tinfo(field)->type;
	int64_t bits = ts_dtype_bits(t->elem);
	for (int i = 0; i < t->rank; i++) bits *= t->extent[i];
	expect_of(w, (field->kind == TS_TREE_INDEX ? field->kid[0] : field)->kid[0])->bytes += bits / 8; /* a buffer of the slot, or a part of it */
	return true;
}

static bool walk_call(Walk *w, const TsTree *call)
{
	int32_t op = ts_tinfo(call)->op;
	switch (op) {
	case TS_TILE_acquire: case TS_TILE_wait: case TS_TILE_release: case TS_TILE_expect_bytes: return walk_slot(w, call, op);
	case TS_TILE_next: return use_position(w, call, first_arg(call)->kind == TS_TREE_NAME ? ts_tinfo(first_arg(call))->decl : NULL, op);
	case TS_TILE_copy: return walk_copy(w, call);
	case TS_TILE_put: return put(w, first_arg(call)), true;
	case TS_TILE_fence_async: return pass_proxy(w, DIRTY, FENCED), true;
	case TS_TILE_sync: return pass_proxy(w, FENCED, CLEAN), true;
	case TS_TILE_store_tma: return async_read(w, call, call->kid[2]);
	case TS_TILE_fence_mma: return w->fence = w->last, true;
	case TS_TILE_commit_mma: return w->commits++, true;
	case TS_TILE_mma: return walk_mma(w, call);
	case TS_TILE_wait_mma: return give_back(w, call), walk_wait_mma(w, call);
	default: return true;
	}
}

/* Operands first, then the word itself. */
static bool walk_expr(Walk *w, const TsTree *x)
{
	if (!x || x->kind == TS_TREE_BLOCK) return true;
	for (uint32_t i = x->kind == TS_TREE_CALL ? 1 : 0; i < x->n; i++)
		if (!walk_expr(w, x->kid[i])) return false;
	return x->kind != TS_TREE_CALL || !x->note || walk_call(w, x);
}

/* ---- statements ---- */
static bool nested(Walk *w, const TsTree *block)
{
	int32_t fence = w->fence;
	int64_t commits = w->commits;
	w->fence = -1;
	bool ok = walk_block(w, block);
	w->fence = fence;
	w->commits = commits; /* maybe none of them ran */
	return ok;
}

static bool walk_for(Walk *w, const TsTree *t)
{
	const TsTree *with = t->kid[1];
	if (!walk_expr(w, t->kid[0]) || !walk_expr(w, with)) return false;
	uint32_t outer = w->loop;
	w->loop = ++w->loops;
	for (uint32_t i = 0; with && i < with->n; i++) {
		const TsTree *kw = with->kid[i];
		declare(w, kw);
		if (ts_tinfo(kw)->type.form != TS_TT_POS) continue;
		int64_t kept = -1;
		for (uint32_t k = 0; k < with->n; k++) kept += ts_tinfo(with->kid[k])->type.form == TS_TT_POS && ts_tinfo(with->kid[k])->type.decl == ts_tinfo(kw)->type.decl;
		const TsTree *ring = ts_tinfo(kw)->type.decl;
		if (kept >= ts_tinfo(ring)->value) return tv_fail(w->v, kw, "E_TILE_RING", "the loop holds back %lld slots of '%s', which has %lld", (long long)kept, ring->name, (long long)ts_tinfo(ring)->value);
	}
	bool ok = nested(w, t->kid[2]);
	w->loop = outer;
	return ok;
}

static Use *copy_uses(Walk *w, uint32_t n)
{
	Use *copy = TS_NEW_N(ts_arena(w->v->cx), Use, n);
	for (uint32_t i = 0; i < n; i++) copy[i] = w->uses.p[i];
	return copy;
}

/* What a branch brings to slots that are announced before it, beyond what they had. */
static int64_t *brought(Walk *w, uint32_t n, const int64_t *had)
{
	int64_t *b = TS_NEW_N(ts_arena(w->v->cx), int64_t, n + 1);
	for (uint32_t i = 0; i < n; i++) b[i] = w->expects.p[i].bytes - (had ? had[i] : 0);
	return b;
}

/* Either branch may use a position, so each starts from the uses before; and both bring the same bytes. */
static bool walk_if(Walk *w, const TsTree *t)
{
	if (!walk_expr(w, t->kid[0])) return false;
	uint32_t n = w->uses.n, slots = w->expects.n;
	Use *before = copy_uses(w, n);
	int64_t *had = brought(w, slots, NULL);
	if (!nested(w, t->kid[1])) return false;
	int64_t *yes = brought(w, slots, had);
	for (uint32_t i = 0; i < slots; i++) {
		if (yes[i] && !t->kid[2]) return tv_fail(w->v, t, "E_TILE_BYTES", "copies under `if` without `else` into a slot that is announced before it");
		w->expects.p[i].bytes = had[i];
	}
	if (!t->kid[2]) return true;
	Use *after = copy_uses(w, n);
	for (uint32_t i = 0; i < n; i++) w->uses.p[i] = before[i];
	bool ok = t->kid[2]->kind == TS_TREE_IF ? walk_if(w, t->kid[2]) : nested(w, t->kid[2]);
	int64_t *no = brought(w, slots, had);
	for (uint32_t i = 0; i < slots && ok; i++)
		if (yes[i] != no[i]) return tv_fail(w->v, t, "E_TILE_BYTES", "one branch brings %lld bytes, the other %lld", (long long)yes[i], (long long)no[i]);
	for (uint32_t i = 0; i < n; i++) {
		Use *u = &w->uses.p[i], *a = &after[i];
		if (a->acquires > u->acquires) u->acquires = a->acquires;
		if (a->waits > u->waits) u->waits = a->waits;
		if (a->releases > u->releases) u->releases = a->releases;
		if (a->nexts > u->nexts) u->nexts = a->nexts;
	}
	return ok;
}

static bool walk_rhs(Walk *w, const TsTree *x)
{
	return x->kind == TS_TREE_FOR ? walk_for(w, x) : x->kind == TS_TREE_IF ? walk_if(w, x) : walk_expr(w, x);
}

static bool walk_let(Walk *w, const TsTree *t)
{
	const TsTree *binds = t->kid[0], *rhs = t->kid[1];
	if (!walk_rhs(w, rhs)) return false;
	for (uint32_t i = 0; i < binds->n; i++) {
		declare(w, binds->kid[i]);
		if (rhs->kind == TS_TREE_CALL && ts_tinfo(rhs)->op == TS_TILE_mma && ts_tinfo(binds->kid[i])->type.pending)
			ts_push(ts_arena(w->v->cx), &w->flights, (Flight){ binds->kid[i], w->commits });
	}
	return true;
}

static bool walk_role(Walk *w, const TsTree *t)
{
	w->role = t;
	w->times = ts_tinfo(t)->value;
	w->warps = ts_tinfo(t)->step;
	w->uses.n = w->written.n = 0;
	return nested(w, t->kid[1]);
}

static bool walk_block(Walk *w, const TsTree *block)
{
	uint32_t expects = w->expects.n, borrowed = w->borrowed.n;
	for (uint32_t i = 0; i < block->n; i++) {
		const TsTree *t = block->kid[i];
		bool ok = true;
		switch (t->kind) {
		case TS_TREE_LET: ok = walk_let(w, t); break;
		case TS_TREE_EXPR: ok = walk_rhs(w, t->kid[0]); break;
		case TS_TREE_FOR: case TS_TREE_IF: case TS_TREE_CALL: ok = walk_rhs(w, t); break;
		case TS_TREE_YIELD: ok = walk_expr(w, t); break;
		case TS_TREE_ROLE: ok = walk_role(w, t); break;
		case TS_TREE_ONE:
			w->one = true;
			ok = nested(w, t->kid[0]);
			w->one = false;
			break;
		default: break;
		}
		if (!ok) return false;
	}
	if (w->borrowed.n > borrowed)
		return tv_fail(w->v, w->borrowed.p[borrowed]->kid[2], "E_TILE_IN_FLIGHT", "wgmma reads these registers until a wait_mma of the same block names them: hold = [%s]", w->borrowed.p[borrowed]->kid[2]->kind == TS_TREE_NAME ? w->borrowed.p[borrowed]->kid[2]->name : "x");
	return check_expects(w, expects);
}

/* ---- traces: which loops and branches a ring's fillers and readers go through, as text ---- */
typedef struct { TsVerify *v; const TsTree *ring; int32_t op; TsBuf out; const TsTree *loop[TV_MAX_DEPTH]; int depth; } Trace;

static void trace_expr(Trace *t, const TsTree *x, int depth)
{
	const TsTInfo *info = x->note ? ts_tinfo(x) : NULL;
	if (x->kind == TS_TREE_NAME && info && info->decl) {
		const TsTInfo *decl = ts_tinfo(info->decl);
		for (int i = 0; i < t->depth; i++)
			if (t->loop[i] == info->decl) {
				ts_buf_fmt(&t->out, "$%d", i);
				return;
			}
		if (info->decl->kind == TS_TREE_BIND && decl->def && decl->type.form == TS_TT_IDX && depth < 8) {
			if (decl->def->kind == TS_TREE_CALL && !decl->known) ts_buf_fmt(&t->out, "%lld.", (long long)decl->value); /* which result */
			trace_expr(t, decl->def, depth + 1);
		} else ts_buf_fmt(&t->out, "%s#%d", x->name, decl->id);
		return;
	}
	ts_buf_fmt(&t->out, "(%d.%d.%lld%s", x->kind, (int)x->sub, (long long)x->i, x->name ? x->name : "");
	for (uint32_t i = 0; i < x->n; i++)
		if (x->kid[i]) trace_expr(t, x->kid[i], depth);
	ts_buf_char(&t->out, ')');
}

static bool trace_block(Trace *t, const TsTree *block);

/* Adds nothing and says false when no event lies below. */
static bool trace_stmt(Trace *t, const TsTree *x)
{
	size_t mark = t->out.n;
	bool any = false;
	if (!x) return false;
	switch (x->kind) {
	case TS_TREE_LET: return trace_stmt(t, x->kid[1]);
	case TS_TREE_EXPR: case TS_TREE_ONE: return x->kid[0]->kind == TS_TREE_BLOCK ? trace_block(t, x->kid[0]) : trace_stmt(t, x->kid[0]);
	case TS_TREE_CALL:
		if (ts_tinfo(x)->op != t->op || ts_tinfo(first_arg(x))->type.decl != t->ring) return false;
		ts_buf_char(&t->out, '!');
		return true;
	case TS_TREE_FOR:
		ts_buf_str(&t->out, "for");
		for (int i = 0; i < 3; i++)
			if (x->kid[0]->kid[i]) trace_expr(t, x->kid[0]->kid[i], 0);
		if (t->depth == TV_MAX_DEPTH) return false;
		t->loop[t->depth++] = x;
		ts_buf_char(&t->out, '{');
		any = trace_block(t, x->kid[2]);
		ts_buf_char(&t->out, '}');
		t->depth--;
		break;
	case TS_TREE_IF:
		ts_buf_str(&t->out, "if");
		trace_expr(t, x->kid[0], 0);
		ts_buf_char(&t->out, '{');
		any = trace_block(t, x->kid[1]);
		ts_buf_str(&t->out, "}{");
		if (x->kid[2]) any |= x->kid[2]->kind == TS_TREE_IF ? trace_stmt(t, x->kid[2]) : trace_block(t, x->kid[2]);
		ts_buf_char(&t->out, '}');
		break;
	default: break;
	}
	if (!any) t->out.n = mark;
	return any;
}

static bool trace_block(Trace *t, const TsTree *block)
{
	bool any = false;
	for (uint32_t i = 0; i < block->n; i++) any |= trace_stmt(t, block->kid[i]);
	return any;
}

static bool check_traces(TsVerify *v, const TsTree *ring)
{
	Trace first = { .v = v, .ring = ring };
	const TsTree *from = NULL;
	bool ok = true, filled = false;
	for (uint32_t i = 0; i < v->kernel->kid[1]->n && ok; i++) {
		const TsTree *role = v->kernel->kid[1]->kid[i];
		if (role->kind != TS_TREE_ROLE) continue;
		for (int side = 0; side < 2 && ok; side++) {
			Trace t = { .v = v, .ring = ring, .op = side ? TS_TILE_wait : TS_TILE_acquire };
			bool any = trace_block(&t, role->kid[1]);
			filled |= any && !side;
			if (any && !from) from = role, first = t;
			else if (any && (t.out.n != first.out.n || memcmp(t.out.p, first.out.p, t.out.n)))
				ok = tv_fail(v, role, "E_TILE_TRIPS", "role '%s' goes through ring '%s' by other loops than role '%s': one would wait for ever", role->name, ring->name, from->name);
			if (t.out.p != first.out.p) ts_buf_free(&t.out);
		}
	}
	ts_buf_free(&first.out);
	if (ok && !filled) return tv_fail(v, ring, "E_TILE_RING", "nobody fills ring '%s'", ring->name);
	return ok;
}

static bool check_arrivals(Walk *w, const TsTree *ring)
{
	int64_t full = ts_tile_attr(ring->kid[2], "full")->i, empty = ts_tile_attr(ring->kid[2], "empty")->i, fills = 0, releases = 0;
	for (uint32_t i = 0; i < w->arrivals.n; i++)
		if (w->arrivals.p[i].ring == ring) fills += w->arrivals.p[i].full, releases += w->arrivals.p[i].empty;
	if (fills != full) return tv_fail(w->v, ring, "E_TILE_ARRIVALS", "full = %lld, the roles' expect make %lld arrivals", (long long)full, (long long)fills);
	if (releases != empty) return tv_fail(w->v, ring, "E_TILE_ARRIVALS", "empty = %lld, the roles' release make %lld arrivals", (long long)empty, (long long)releases);
	return true;
}

bool tv_protocol(TsVerify *v)
{
	Walk w = { .v = v, .warps = v->warps, .times = 1, .fence = -1 };
	if (!walk_block(&w, v->kernel->kid[1])) return false;
	for (uint32_t i = 0; i < v->kernel->kid[1]->n; i++) {
		const TsTree *t = v->kernel->kid[1]->kid[i];
		if (t->kind == TS_TREE_RING && (!check_arrivals(&w, t) || !check_traces(v, t))) return false;
	}
	return true;
}
