/* Kernels without places (docs/tg.md, Kernels): the call, the grid, loops over tiles. A call reads the kernel's body anew, with its sizes
 * bound; what comes out is one node that holds the cell of a grid in Graph IR. */
#include "frontend/graph_text/sema_int.h"
#include <string.h>

enum { DEEPEST_LOOPS = 6, MOST_CARRIED = 64 };

/* ---- variables ---- */

static bool is_open(const KSema *k, TsDim symbol)
{
	for (uint32_t i = 0; i < k->open.n; i++)
		if (k->k->vars.p[k->open.p[i]].symbol == symbol) return true;
	return false;
}

static bool same_range(const TsTileVar *v, TsDim lo, TsDim hi, int64_t step) { return v->lo == lo && v->hi == hi && v->step == step; }

/* May that symbol stand for one more variable of this range? Loops one after the other may share one. */
static bool is_usable(const KSema *k, TsDim symbol, TsDim lo, TsDim hi, int64_t step)
{
	for (uint32_t i = 0; i < k->k->vars.n; i++)
		if (k->k->vars.p[i].symbol == symbol && !same_range(&k->k->vars.p[i], lo, hi, step)) return false;
	return !is_open(k, symbol);
}

/* A symbol of its own for each variable in scope. Its range is open, so that no size of a tile is decided by it. */
static TsDim var_symbol(Sema *s, TsSym name, TsDim lo, TsDim hi, int64_t step, TsSpan at)
{
	int64_t least = 0;
	if (!ts_dim_is_const(s->d, lo, &least)) least = 0;
	TsDimSym sym = { name, least, INT64_MAX, 1, at };
	TsDim d;
	for (uint32_t k = 2; ts_dim_find_symbol(s->d, sym.name, &d); k++) {
		int64_t c;
		uint32_t which;
		if (ts_dim_is_scaled_symbol(s->d, d, &c, &which) && !ts_map_find(&s->top.names, sym.name)) {
			const TsDimSym *old = ts_dim_symbol_info(s->d, which);
			if (old->min == least && old->max == INT64_MAX && old->multiple == 1 && is_usable(s->kernel, d, lo, hi, step)) return d;
		}
		sym.name = ts_intern_fmt(s->cx, "%s_%u", name, k);
	}
	return ts_dim_symbol(s->d, sym);
}

int ts_k_add_var(Sema *s, TsSym name, TsDim lo, TsDim hi, int64_t step, TsSpan at, bool grid)
{
	KSema *k = s->kernel;
	TsTileVar v = { .name = name, .lo = lo, .hi = hi, .step = step, .grid = grid };
	v.symbol = var_symbol(s, name, lo, hi, step, at);
	v.len = step == 1 ? ts_dim_const(s->d, 1) : ts_dim_min(s->d, ts_dim_const(s->d, step), ts_dim_sub(s->d, hi, v.symbol));
	uint32_t i = 0; /* the trial and the reading of a loop give one variable */
	while (i < k->k->vars.n && k->k->vars.p[i].symbol != v.symbol) i++;
	if (i == k->k->vars.n) ts_push(s->a, &k->k->vars, v);
	ts_push(s->a, &k->open, i);
	return (int)i;
}

typedef struct { Sema *s; const TsTileVar *found; } Search;

static uint32_t find_symbol(void *user, TsDimKind kind, int64_t v)
{
	Search *q = user;
	KSema *k = q->s->kernel;
	int64_t c;
	uint32_t which;
	for (uint32_t i = 0; kind == TS_DX_SYMBOL && i < k->k->vars.n; i++)
		if (ts_dim_is_scaled_symbol(q->s->d, k->k->vars.p[i].symbol, &c, &which) && which == (uint32_t)v && (!q->found || q->found->step <= k->k->vars.p[i].step)) q->found = &k->k->vars.p[i];
	return 0;
}

static uint32_t find_nothing(void *user, TsDimKind k, uint32_t a, uint32_t b) { (void)user; (void)k; (void)a; (void)b; return 0; }

const TsTileVar *ts_k_var_in(Sema *s, TsDim d, bool *sole)
{
	Search q = { s, NULL };
	TsDimVisitor v = { &q, find_symbol, find_nothing };
	if (d == TS_DIM_BAD) return NULL;
	ts_dim_visit(s->d, d, &v);
	if (sole) *sole = q.found && q.found->symbol == d;
	return q.found;
}

bool ts_k_range(Sema *s, TsTree *r, TsDim *lo, TsDim *hi, int64_t *step)
{
	*step = 1;
	if (!ts_s_size(s, r->kid[0], lo) || !ts_s_size(s, r->kid[1], hi) || (r->kid[2] && !ts_s_int(s, r->kid[2], step))) return false;
	if (*step < 1) return ts_s_fail(s, r->kid[2]->at, "E_LOOP", "the step of a loop is at least 1, found %lld", (long long)*step).kind == ENT_NONE;
	if (*step > TS_MAX_LOOP_BOUND) return ts_s_fail(s, r->kid[2]->at, "E_LIMIT", "bounds and step of a loop lie within 2^60").kind == ENT_NONE;
	if (ts_k_var_in(s, *lo, NULL) || ts_k_var_in(s, *hi, NULL)) return ts_s_not_yet(s, r->at, "a range whose bounds hang on the cell").kind == ENT_NONE;
	int64_t c;
	if (ts_dim_is_const(s->d, *lo, &c) && c < 0) return ts_s_fail(s, r->kid[0]->at, "E_RANGE", "tiles begin at 0 or later, found %lld", (long long)c).kind == ENT_NONE;
	return true;
}

/* ---- loops ---- */

typedef struct {
	TsTree *t;
	TsTree *with;
	TsDim lo, hi;
	int64_t step;
	uint32_t n, nwith;            /* carried: those of `with`, then places */
	KPlace *place[MOST_CARRIED];
	Ent init[MOST_CARRIED], yield[MOST_CARRIED];
	TsType type[MOST_CARRIED];
} Loop;

/* Does the block write that place? */
static bool writes(const TsTree *t, TsSym name)
{
	static const char *const writers[] = { "fill", "load_async", "update_accumulator" };
	if (t->kind == TS_TREE_CALL && t->kid[0]->kind == TS_TREE_NAME && t->n > 1 && t->kid[1]->kind == TS_TREE_NAME && t->kid[1]->name == name)
		for (size_t i = 0; i < sizeof writers / sizeof *writers; i++)
			if (!strcmp(t->kid[0]->name, writers[i])) return true;
	if (t->kind == TS_TREE_SET)
		for (uint32_t i = 0; i < t->kid[0]->n; i++)
			if (t->kid[0]->kid[i]->name == name) return true;
	for (uint32_t i = 0; i < t->n; i++)
		if (t->kid[i] && writes(t->kid[i], name)) return true;
	return false;
}

/* A value inside the loop that stands for carried value i: on trial whatever fits, then of the type found. */
static Ent argument(Sema *s, Loop *l, uint32_t i, bool trial, TsBlock *body)
{
	const Ent *e = &l->init[i];
	TsVal v = s->g->vals.n;
	TsType ty = l->type[i];
	if (trial) ty = ts_val(s->g, e->v)->type;
	ts_push(s->a, &s->g->vals, (TsValue){ .type = ty, .name = i < l->nwith ? l->with->kid[i]->name : l->place[i]->name });
	ts_push(s->a, &body->args, v);
	Ent r = trial ? *e : ENT(ENT_VALUE, e->at);
	r.v = v;
	return r;
}

static Ent wrong_yield(Sema *s, const Loop *l, uint32_t found)
{
	TsTree *body = l->t->kid[2], *last = body->n ? body->kid[body->n - 1] : l->t;
	ts_error(s->cx, last->kind == TS_TREE_YIELD ? last->at : l->t->at, "E_YIELD", "this for carries %u value%s, yield gives %u", l->nwith, l->nwith == 1 ? "" : "s", found);
	if (found < l->nwith) ts_hint(s->cx, "%s is missing", l->with->kid[found]->name);
	return ts_s_unknown(l->t->at);
}

/* Reads the body once. False after reporting. */
static bool read_body(Sema *s, Loop *l, bool trial, TsBlock *body, int *var)
{
	Scope inner = { .up = s->scope }, *outer = s->scope;
	TsBlock *block = s->b;
	KSema *k = s->kernel;
	Ent got[MOST_CARRIED];
	uint32_t ny = 0, ne = 0, errors = ts_error_count(s->cx);
	s->scope = &inner;
	s->b = body;
	*var = ts_k_add_var(s, l->t->name, l->lo, l->hi, l->step, l->t->at, false);
	ts_s_bind(s, l->t->name, l->t->at, ENT(ENT_SIZE, l->t->at, .d = k->k->vars.p[*var].symbol));
	for (uint32_t i = 0; i < l->n; i++) {
		Ent a = argument(s, l, i, trial, body);
		if (i < l->nwith) ts_s_bind(s, l->with->kid[i]->name, l->with->kid[i]->at, a);
		else l->place[i]->cur = a;
	}
	k->depth++;
	k->trial += trial;
	ts_s_block(s, l->t->kid[2], got, &ny, &ne, MOST_CARRIED);
	k->trial -= trial;
	k->depth--;
	bool ok = ts_error_count(s->cx) == errors;
	if (ok && ne) ok = ts_s_not_yet(s, l->t->at, "emit in a kernel").kind == ENT_NONE;
	if (ok && ny != l->nwith) ok = wrong_yield(s, l, ny).kind == ENT_NONE;
	for (uint32_t i = 0; ok && i < l->n; i++) {
		l->yield[i] = i < l->nwith ? got[i] : l->place[i]->cur;
		ok = l->yield[i].kind != ENT_UNKNOWN;
	}
	s->b = block;
	s->scope = outer;
	k->open.n--;
	if (!trial)
		for (uint32_t i = 0; i < inner.names.n; i++) ts_map_set(s->a, &s->ended, inner.names.keys[i], (void *)inner.names.vals[i]);
	return ok;
}

/* The type that carried value i has in every iteration, by what the trial yielded. */
static bool carried_type(Sema *s, Loop *l, uint32_t i)
{
	Ent e = l->yield[i];
	const TsType *had = &ts_val(s->g, l->init[i].v)->type;
	const char *name = i < l->nwith ? l->with->kid[i]->name : l->place[i]->name;
	if (l->init[i].kind != ENT_TILE) { l->type[i] = *had; return true; }
	TsType *ty = &l->type[i];
	if (e.kind == ENT_TILE || e.kind == ENT_INT || e.kind == ENT_FLOAT) { /* nothing settles its sizes */
		*ty = (TsType){ .elem = had->elem, .accum = TS_DTYPE_NONE, .rank = (uint8_t)l->init[i].n };
		memcpy(ty->dim, l->init[i].tile, ty->rank * sizeof *ty->dim);
		return true;
	}
	TsVal v = ts_s_value(s, e, had->elem);
	if (!v) return false;
	*ty = ts_val(s->g, v)->type;
	for (int a = 0; a < ty->rank; a++) {
		const TsTileVar *var = ts_k_var_in(s, ty->dim[a], NULL);
		if (!var || is_open(s->kernel, var->symbol)) continue;
		ts_s_fail(s, l->t->at, "E_LOOP_TYPE", "axis %d of '%s' runs along %s, which differs between iterations", a, name, var->name);
		return false;
	}
	return true;
}

static bool coerce(Sema *s, Loop *l, uint32_t i, Ent e, TsVal *out, const char *what)
{
	const TsType ty = l->type[i];
	const char *name = i < l->nwith ? l->with->kid[i]->name : l->place[i]->name;
	if (e.kind == ENT_TILE && !ts_k_fit(s, &e, ty.rank, ty.dim, name)) return false;
	TsVal v = ts_s_value(s, e, ty.elem);
	if (!v) return false;
	if (ts_type_eq(&ty, &ts_val(s->g, v)->type)) { *out = v; return true; }
	TsBuf x = { 0 }, y = { 0 };
	ts_type_print(s->m, &ty, &x);
	ts_type_print(s->m, &ts_val(s->g, v)->type, &y);
	ts_error(s->cx, l->t->at, "E_LOOP_TYPE", "'%s' carried by the loop is %s, %s %s", name, x.p, what, y.p);
	ts_buf_free(&x);
	ts_buf_free(&y);
	return false;
}

static bool carry(Sema *s, Loop *l, Ent e)
{
	if (l->n == MOST_CARRIED) return ts_s_fail(s, l->t->at, "E_LIMIT", "a loop carries at most %d values", MOST_CARRIED).kind == ENT_NONE;
	if (e.kind != ENT_TILE) {
		TsVal v = ts_s_value(s, e, TS_DTYPE_NONE);
		if (!v) return false;
		e = ENT(ENT_VALUE, e.at, .v = v);
	}
	l->init[l->n++] = e;
	return true;
}

static Ent loop_node(Sema *s, Loop *l, TsBlock *body, int var)
{
	const TsTileVar *v = &s->kernel->k->vars.p[var];
	TsVal init[MOST_CARRIED];
	for (uint32_t i = 0; i < l->n; i++) {
		TsBlock *block = s->b;
		TsVal y;
		s->b = body;
		bool ok = coerce(s, l, i, l->yield[i], &y, "yielded as");
		s->b = block;
		if (!ok || !coerce(s, l, i, l->init[i], &init[i], "and begins as")) return ts_s_unknown(l->t->at);
		ts_push(s->a, &body->results, y);
	}
	TsNode *n = ts_node_new(s->m, s->g, TS_OP_for, l->n, init, l->n);
	n->at = l->t->at;
	n->num = s->num;
	n->attr = ts_attrs_new(s->m, TS_OP_for);
	n->loop = TS_NEW(s->a, TsFor);
	*n->loop = (TsFor){ .var = l->t->name, .step = l->step, .ncarry = l->n, .symbol = v->symbol, .body = *body, .tiles = true, .from = l->lo, .to = l->hi };
	for (uint32_t i = 0; i < l->n; i++) ts_val(s->g, n->out[i])->type = l->type[i];
	ts_push(s->a, &s->b->nodes, n);
	Ent r = ENT(ENT_MULTI, l->t->at, .n = l->nwith);
	r.item = TS_NEW_N(s->a, Ent, l->nwith + 1);
	for (uint32_t i = 0; i < l->n; i++) {
		Ent e = ENT(ENT_VALUE, l->t->at, .v = n->out[i]);
		if (i < l->nwith) r.item[i] = e;
		else l->place[i]->cur = e, l->place[i]->written = true;
	}
	return r;
}

/* Places that the body writes: those it reads first are carried, the others hold nothing afterwards. */
static bool find_places(Sema *s, Loop *l)
{
	KSema *k = s->kernel;
	uint32_t many = k->places.n;
	KPlace *was = TS_NEW_N(s->a, KPlace, many + 1);
	bool *touched = TS_NEW_N(s->a, bool, many + 1);
	int var;
	for (uint32_t i = 0; i < many; i++) {
		KPlace *p = k->places.p[i];
		was[i] = *p;
		if (!(touched[i] = writes(l->t->kid[2], p->name))) continue;
		if (p->cur.kind != ENT_NONE) {
			if (!carry(s, l, p->cur)) return false;
			l->place[l->n - 1] = p;
		}
		p->read_first = p->written = false;
	}
	TsBlock body = { 0 };
	bool ok = read_body(s, l, true, &body, &var);
	for (uint32_t i = 0; ok && i < l->n; i++) ok = i >= l->nwith && !l->place[i]->read_first ? true : carried_type(s, l, i);
	uint32_t n = l->nwith;
	for (uint32_t i = l->nwith; i < l->n; i++) { /* keep those that are carried */
		if (!l->place[i]->read_first) continue;
		l->place[n] = l->place[i];
		l->init[n] = l->init[i];
		l->type[n++] = l->type[i];
	}
	l->n = n;
	k->places.n = many;
	for (uint32_t i = 0; i < many; i++) {
		KPlace *p = k->places.p[i];
		bool reads = touched[i] && p->read_first;
		if (!touched[i]) { if (p->read_first) was[i].read_first = true; was[i].written |= p->written; }
		*p = was[i];
		if (reads && !p->written) p->read_first = true;
		if (touched[i] && !reads) p->cur = ENT(ENT_NONE, p->at);
	}
	return ok;
}

Ent ts_k_for(Sema *s, TsTree *t)
{
	Loop *l = TS_NEW(s->a, Loop);
	KSema *k = s->kernel;
	int var;
	l->t = t;
	l->with = t->kid[1];
	if (k->depth >= DEEPEST_LOOPS) return ts_s_fail(s, t->at, "E_LIMIT", "loops of a kernel nest %d deep at most", DEEPEST_LOOPS);
	if (!ts_k_range(s, t->kid[0], &l->lo, &l->hi, &l->step)) return ts_s_unknown(t->at);
	for (uint32_t i = 0; l->with && i < l->with->n; i++)
		if (!carry(s, l, ts_s_expr(s, l->with->kid[i]->kid[0]))) return ts_s_unknown(t->at);
	l->nwith = l->n;
	uint32_t errors = ts_error_count(s->cx), many = k->places.n;
	if (!find_places(s, l) || ts_error_count(s->cx) != errors) return ts_s_unknown(t->at);
	TsBlock body = { 0 };
	if (!read_body(s, l, false, &body, &var)) return ts_s_unknown(t->at);
	k->places.n = many;
	for (uint32_t i = 0; i < many; i++)
		if (writes(t->kid[2], k->places.p[i]->name)) k->places.p[i]->cur = ENT(ENT_NONE, k->places.p[i]->at);
	return loop_node(s, l, &body, var);
}

/* ---- sizes of the signature ---- */

/* N*M*…, of names alone. */
static bool is_product(const TsTree *t)
{
	if (t->kind != TS_TREE_BIN || t->sub != TS_IN_MUL) return false;
	for (int i = 0; i < 2; i++)
		if (t->kid[i]->kind != TS_TREE_NAME && !is_product(t->kid[i])) return false;
	return true;
}

bool ts_k_bind_product(Sema *s, TsTree *size, TsDim found, TsSpan at, const char *what, bool *done)
{
	KSema *k = s->kernel;
	if (!is_product(size)) return true;
	*done = true;
	if (!k->batch) {
		k->batch = size;
		k->batch_size = found;
		return true;
	}
	if (!ts_tree_eq(k->batch, size)) return ts_s_fail(s, size->at, "E_KERNEL", "one product of sizes may lead the operands of a kernel").kind == ENT_NONE;
	return ts_s_demand(s, k->batch_size, found, at, what);
}

static bool result_type(Sema *s, TsTree *p, TsType *out)
{
	KSema *k = s->kernel;
	TsTree *t = p->kid[0];
	if (!t || t->kind != TS_TREE_TYPE) return ts_s_fail(s, p->at, "E_KERNEL", "a kernel's result has a written type").kind == ENT_NONE;
	if (!k->batch || !t->n || !ts_tree_eq(k->batch, t->kid[0])) return ts_s_type(s, t, out);
	TsTree rest = *t;
	rest.kid = t->kid + 1;
	rest.n = t->n - 1;
	if (!ts_s_type(s, &rest, out)) return false;
	if (out->rank == TS_MAX_RANK) return ts_s_fail(s, t->at, "E_RANK", "a tensor has at most %d axes", TS_MAX_RANK).kind == ENT_NONE;
	memmove(out->dim + 1, out->dim, out->rank * sizeof *out->dim);
	out->dim[0] = k->batch_size;
	out->rank++;
	return true;
}

/* ---- the body ---- */

static bool grid(Sema *s, TsTree *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		TsDim lo, hi;
		int64_t step;
		if (t->kid[i]->kid[0]->kind != TS_TREE_RANGE) return ts_s_fail(s, t->kid[i]->at, "E_KERNEL", "an axis of the grid is a range").kind == ENT_NONE;
		if (!ts_k_range(s, t->kid[i]->kid[0], &lo, &hi, &step)) return false;
		int v = ts_k_add_var(s, t->kid[i]->name, lo, hi, step, t->kid[i]->at, true);
		if (!ts_s_bind(s, t->kid[i]->name, t->kid[i]->at, ENT(ENT_SIZE, t->kid[i]->at, .d = s->kernel->k->vars.p[v].symbol))) return false;
	}
	return true;
}

/* The first loop of the top level over all of an axis of a result: its iterations are cells (R22). */
static TsTree *parallel_loop(Sema *s, TsTree *block, uint32_t *axis)
{
	KSema *k = s->kernel;
	for (uint32_t i = 0; i < block->n; i++) {
		TsTree *t = block->kid[i]->kind == TS_TREE_EXPR ? block->kid[i]->kid[0] : NULL;
		TsDim lo, hi;
		int64_t step, c;
		if (!t || t->kind != TS_TREE_FOR) continue;
		if (t->kid[1] || !ts_k_range(s, t->kid[0], &lo, &hi, &step) || !ts_dim_is_const(s->d, lo, &c) || c) return NULL;
		for (uint32_t r = 0; r < k->k->results.n; r++) {
			const TsType *ty = &k->k->results.p[r];
			for (uint32_t a = k->batch_var >= 0 && ty->rank && ty->dim[0] == k->batch_size; a < ty->rank; a++)
				if (ty->dim[a] == hi) { *axis = a; return t; }
		}
		return NULL;
	}
	return NULL;
}

static void statements(Sema *s, TsTree *block, uint32_t from)
{
	for (uint32_t i = from; i < block->n; i++) {
		TsTree *t = block->kid[i];
		if (t->kind == TS_TREE_YIELD || t->kind == TS_TREE_EMIT) ts_error(s->cx, t->at, "E_YIELD", "%s belongs in a loop", t->kind == TS_TREE_YIELD ? "yield" : "emit");
		else ts_s_statement(s, t);
	}
}

static void sunk_body(Sema *s, TsTree *block, TsTree *loop, uint32_t axis)
{
	KSema *k = s->kernel;
	TsDim lo, hi;
	int64_t step;
	if (!ts_k_range(s, loop->kid[0], &lo, &hi, &step)) return;
	k->sunk_var = ts_k_add_var(s, loop->name, lo, hi, step, loop->at, true);
	k->sunk_axis = axis;
	for (uint32_t i = 0; i < block->n; i++) {
		if (block->kid[i]->kind != TS_TREE_EXPR || block->kid[i]->kid[0] != loop) {
			TsTree one = { .kind = TS_TREE_BLOCK, .at = block->at, .n = 1, .kid = &block->kid[i] };
			statements(s, &one, 0);
			continue;
		}
		Scope inner = { .up = s->scope }, *outer = s->scope;
		s->scope = &inner;
		ts_s_bind(s, loop->name, loop->at, ENT(ENT_SIZE, loop->at, .d = k->k->vars.p[k->sunk_var].symbol));
		statements(s, loop->kid[2], 0);
		s->scope = outer;
		for (uint32_t j = 0; j < inner.names.n; j++) ts_map_set(s->a, &s->ended, inner.names.keys[j], (void *)inner.names.vals[j]);
		k->after = true;
	}
}

static void body(Sema *s, TsTree *block)
{
	KSema *k = s->kernel;
	uint32_t axis = 0;
	if (block->n && block->kid[0]->kind == TS_TREE_GRID) {
		if (!grid(s, block->kid[0])) return;
		k->k->ngrid = k->k->vars.n;
		statements(s, block, 1);
		return;
	}
	if (k->batch) k->batch_var = ts_k_add_var(s, ts_intern(s->cx, "cell"), ts_dim_const(s->d, 0), k->batch_size, 1, k->fn->at, true);
	uint32_t errors = ts_error_count(s->cx);
	TsTree *loop = parallel_loop(s, block, &axis);
	if (ts_error_count(s->cx) != errors) return;
	if (loop) sunk_body(s, block, loop, axis);
	else statements(s, block, 0);
	k->k->ngrid = 0;
	while (k->k->ngrid < k->k->vars.n && k->k->vars.p[k->k->ngrid].grid) k->k->ngrid++;
}

/* ---- the call ---- */

/* Demands about the sizes of single tiles cannot be put to a caller; the others can. */
static bool pass_checks(Sema *s, TsGraph *cell, TsGraph *caller)
{
	for (uint32_t i = 0; i < cell->checks.n; i++) {
		const TsCheck *c = &cell->checks.p[i];
		if (c->kind == TS_CHECK_LE && !c->cond_lhs && ts_k_var_in(s, c->cond_rhs, NULL)) continue; /* no tile has less than one element */
		if (ts_k_var_in(s, c->cond_lhs, NULL) || ts_k_var_in(s, c->cond_rhs, NULL)) {
			TsBuf x = { 0 }, y = { 0 };
			ts_dim_print(s->d, c->cond_lhs, &x);
			ts_dim_print(s->d, c->cond_rhs, &y);
			ts_error(s->cx, c->at, "E_SHAPE_MISMATCH", "%s: %s and %s, which differ between tiles", c->text, x.p, y.p);
			ts_buf_free(&x);
			ts_buf_free(&y);
			return false;
		}
		ts_push(s->a, &caller->checks, *c);
	}
	return true;
}

/* Parameters as the cell sees them: scalars are values, tensors lie in memory. */
static void enter(Sema *s, TsTree *params, TsVal *operand)
{
	KSema *k = s->kernel;
	TsGraph *caller = s->g;
	s->g = k->k->graph;
	s->b = &k->k->cell;
	for (uint32_t i = 0; i < params->n; i++) {
		TsTree *p = params->kid[i];
		Ent *e = ts_map_get(&s->scope->names, p->name);
		if (p->i || !e || e->kind != ENT_VALUE) continue;
		TsType ty = ts_val(caller, e->v)->type;
		ty.accum = TS_DTYPE_NONE;
		operand[k->k->graph->params.n] = e->v;
		e->v = ts_add_param(s->m, s->g, p->name, ty, p->at);
		if (ty.rank) *e = ENT(ENT_BUFFER, e->at, .v = e->v);
	}
}

static bool all_stored(Sema *s, TsTree *results)
{
	for (uint32_t i = 0; i < results->n; i++)
		if (!s->kernel->stored[i]) return ts_s_fail(s, results->kid[i]->at, "E_UNASSIGNED", "result '%s' is never stored", results->kid[i]->name).kind == ENT_NONE;
	return true;
}

static Ent call_node(Sema *s, TsTree *call, const TsVal *operand)
{
	TsUserKernel *k = s->kernel->k;
	TsNode *n = ts_node_new(s->m, s->g, TS_OP_kernel, k->graph->params.n, operand, k->results.n);
	n->at = call->at;
	n->num = s->num;
	n->attr = ts_attrs_new(s->m, TS_OP_kernel);
	n->kernel = k;
	for (uint32_t i = 0; i < k->results.n; i++) ts_val(s->g, n->out[i])->type = k->results.p[i];
	ts_push(s->a, &s->b->nodes, n);
	Ent r = ENT(ENT_MULTI, call->at, .n = n->nout);
	r.item = TS_NEW_N(s->a, Ent, r.n + 1);
	for (uint32_t i = 0; i < r.n; i++) r.item[i] = ENT(ENT_VALUE, call->at, .v = n->out[i]);
	return r.n == 1 ? r.item[0] : r;
}

/* Parameters and results bound, the body read; s->g is the cell's graph afterwards. */
static bool read_kernel(Sema *s, TsTree *fn, const Ent *arg, const TsSym *kw, uint32_t n, TsVal *operand)
{
	TsTree *params = fn->kid[0]->kid[0], *results = fn->kid[0]->kid[1];
	KSema *k = s->kernel;
	for (uint32_t i = 0; i < n; i++) {
		const Ent *a = &arg[i];
		for (uint32_t j = 0; j < n; j++)
			if (kw[j] == params->kid[i]->name) a = &arg[j];
		if (params->kid[i]->i || params->kid[i]->kid[0]->kind != TS_TREE_TYPE) return ts_s_not_yet(s, params->kid[i]->at, "a parameter of a kernel that is no tensor").kind == ENT_NONE;
		if (!ts_s_bind_param(s, params->kid[i], *a)) return false;
	}
	for (uint32_t i = 0; i < results->n; i++) {
		TsType ty;
		if (!result_type(s, results->kid[i], &ty)) return false;
		ts_push(s->a, &k->k->results, ty);
		if (!ts_s_bind(s, results->kid[i]->name, results->kid[i]->at, ENT(ENT_RESULT, results->kid[i]->at, .i = i))) return false;
	}
	uint32_t errors = ts_error_count(s->cx);
	enter(s, params, operand);
	if (fn->kid[2]) s->num = ts_s_numerics(s, fn->kid[2], s->num);
	body(s, fn->kid[1]);
	return ts_error_count(s->cx) == errors && all_stored(s, results);
}

Ent ts_k_call(Sema *s, TsTree *fn, TsTree *call, uint32_t n, const Ent *arg, const TsSym *kw)
{
	enum { MOST_CALLS = 2000 };
	TsTree *results = fn->kid[0]->kid[1];
	Scope inner = { .up = s->scope, .is_call = true }, *outer = s->scope;
	const TsNumerics *num = s->num;
	TsGraph *g = s->g;
	TsBlock *b = s->b;
	KSema k = { .fn = fn, .batch_var = -1, .sunk_var = -1 };
	Ent why;
	if (!ts_s_call_fits(s, fn, call, n, arg, kw, &why)) return why;
	if (!results || !results->n) return ts_s_fail(s, fn->at, "E_KERNEL", "a kernel names its results: -> (O: …)");
	if (++s->inlined > MOST_CALLS) return ts_s_fail(s, call->at, "E_LIMIT", "each call of a kernel is compiled by itself, and these are too many");
	k.k = TS_NEW(s->a, TsUserKernel);
	k.k->item = fn;
	k.k->graph = ts_graph_new(s->m, fn->name);
	k.k->graph->at = fn->at;
	k.stored = TS_NEW_N(s->a, bool, results->n);
	TsVal *operand = TS_NEW_N(s->a, TsVal, n + 1);
	uint32_t errors = ts_error_count(s->cx);
	s->kernel = &k;
	s->scope = &inner;
	ts_push(s->a, &s->active, fn);
	bool ok = read_kernel(s, fn, arg, kw, n, operand) && pass_checks(s, k.k->graph, g);
	s->active.n--;
	s->scope = outer;
	s->num = num;
	s->g = g;
	s->b = b;
	Ent r = ok ? call_node(s, call, operand) : ts_s_unknown(call->at);
	s->kernel = NULL;
	if (ts_error_count(s->cx) != errors) {
		ts_note(s->cx, call->at, "called here");
		ts_map_set(s->a, &s->broken, fn, fn);
	}
	return r;
}
