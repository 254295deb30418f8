/* Statements: bindings, compile-time loops, numerics. */
#include "frontend/graph_text/sema_int.h"
#include <string.h>

/* ---- types ---- */

/* Whatever its symbols are, there are more than 2^62 elements, and no axis may be empty. */
static bool too_many(Sema *s, const TsType *ty)
{
	int64_t lo, hi;
	for (int i = 0; i < ty->rank; i++) {
		ts_dim_range(s->d, ty->dim[i], &lo, &hi);
		if (lo <= 0) return false;
	}
	TsDim n = ts_type_count(s->m, ty);
	if (n == TS_DIM_BAD) return true;
	ts_dim_range(s->d, n, &lo, &hi);
	return lo > INT64_C(1) << 62;
}

bool ts_s_type(Sema *s, TsTree *t, TsType *out)
{
	*out = (TsType){ .accum = TS_DTYPE_NONE };
	if (t->kind != TS_TREE_TYPE) { ts_s_not_yet(s, t->at, "this type"); return false; }
	out->elem = (TsDtype)t->i;
	if (t->sub) out->accum = (TsDtype)(t->sub - 1);
	for (uint32_t i = 0; i < t->n; i++) {
		TsTree *k = t->kid[i];
		int64_t v;
		if (k->kind == TS_TREE_ANNOT) {
			if (!strcmp(k->name, "shard")) { ts_s_not_yet(s, k->at, "@shard"); return false; }
			if (!strcmp(k->name, "packed") || !strcmp(k->name, "layout")) { ts_s_not_yet(s, k->at, ts_printf(s->a, "@%s", k->name)); return false; }
			continue;
		}
		if (k->kind == TS_TREE_SOME) { ts_s_not_yet(s, k->at, "a size known after the operator only"); return false; }
		if (out->rank == TS_MAX_RANK) { ts_s_fail(s, k->at, "E_RANK", "a tensor has at most %d axes", TS_MAX_RANK); return false; }
		if (!ts_s_size(s, k, &out->dim[out->rank])) return false;
		if (ts_dim_is_const(s->d, out->dim[out->rank], &v) && v < 0) { ts_s_fail(s, k->at, "E_SIZE", "a size is at least 0, found %lld", (long long)v); return false; }
		out->rank++;
	}
	if (!too_many(s, out)) return true;
	ts_s_fail(s, t->at, "E_SIZE", "a tensor has at most 2^62 elements");
	return false;
}

/* ---- numerics ---- */

static bool policy_bool(Sema *s, TsTree *kw, bool *out)
{
	Ent e = ts_s_expr(s, kw->kid[0]);
	if (e.kind == ENT_BOOL) { *out = e.i; return true; }
	if (e.kind != ENT_UNKNOWN) ts_error(s->cx, kw->at, "E_NUMERICS", "%s is true or false", kw->name);
	return false;
}

/* math = "tf32" lets products of f32 round their operands; "ieee" is the default, and what "none" means. */
static void policy_math(Sema *s, TsTree *kw, TsNumerics *n)
{
	const TsTree *x = kw->kid[0];
	const char *word = x->kind == TS_TREE_STR || x->kind == TS_TREE_NAME ? x->name : x->kind == TS_TREE_NONE ? "none" : "";
	if (!strcmp(word, "tf32")) n->tf32 = true;
	else if (!strcmp(word, "ieee") || !strcmp(word, "none")) n->tf32 = false;
	else if (!strcmp(word, "fast")) ts_s_not_yet(s, kw->at, "math = \"fast\"");
	else ts_error(s->cx, kw->at, "E_NUMERICS", "math is \"ieee\" or \"tf32\"");
}

const TsNumerics *ts_s_numerics(Sema *s, TsTree *attrs, const TsNumerics *outer)
{
	TsNumerics *n = TS_NEW(s->a, TsNumerics);
	*n = *outer;
	for (uint32_t i = 0; i < attrs->n; i++) {
		TsTree *kw = attrs->kid[i];
		const char *k = kw->name;
		if (!strcmp(k, "accum")) {
			Ent e = ts_s_expr(s, kw->kid[0]);
			if (e.kind != ENT_DTYPE || !ts_dtype_is_float((TsDtype)e.i)) { if (e.kind != ENT_UNKNOWN) ts_error(s->cx, kw->at, "E_NUMERICS", "accum is a float type"); continue; }
			n->accum = (TsDtype)e.i;
		} else if (!strcmp(k, "deterministic")) policy_bool(s, kw, &n->deterministic);
		else if (!strcmp(k, "batch_invariant")) {
			bool yes;
			if (policy_bool(s, kw, &yes)) n->batch_invariant = yes ? TS_YES : TS_NO;
		} else if (!strcmp(k, "excess")) {
			Ent e = kw->kid[0]->kind == TS_TREE_NAME ? ENT(ENT_STR, kw->at, .s = kw->kid[0]->name) : ts_s_expr(s, kw->kid[0]);
			if (e.kind == ENT_STR) n->excess = strcmp(e.s, "off") != 0;
			else n->excess = e.i;
		} else if (!strcmp(k, "reorder")) policy_bool(s, kw, &n->reorder);
		else if (!strcmp(k, "approx")) policy_bool(s, kw, &n->approx);
		else if (!strcmp(k, "math")) policy_math(s, kw, n);
		else if (!strcmp(k, "at") || !strcmp(k, "rounding")) { /* origin; nearest-even is what there is */
			if (strcmp(k, "at") && kw->kid[0]->kind == TS_TREE_STR && strcmp(kw->kid[0]->name, "nearest")) ts_s_not_yet(s, kw->at, ts_printf(s->a, "%s = \"%s\"", k, kw->kid[0]->name));
		} else {
			static const char *const known[] = { "accum", "deterministic", "batch_invariant", "excess", "reorder", "approx", "math", "rounding" };
			TsSym near = ts_nearest(k, known, sizeof known / sizeof *known);
			ts_error(s->cx, kw->at, "E_NUMERICS", "no policy named '%s'", k);
			if (near) ts_hint(s->cx, "nearest: %s", near);
		}
	}
	return n;
}

/* ---- bindings ---- */

/* A number bound to a typed name fills the shape. */
bool ts_s_fill(Sema *s, Ent *e, const TsType *want)
{
	TsVal v = ts_s_value(s, *e, want->elem);
	if (!v) return false;
	TsAttr *a = ts_attrs_new(s->m, TS_OP_broadcast);
	a[0].none = false;
	a[0].n = want->rank;
	a[0].dims = ts_memdup(s->a, want->dim, want->rank * sizeof *want->dim);
	Ent x = ENT(ENT_VALUE, e->at, .v = v);
	*e = ts_s_op(s, TS_OP_broadcast, e->at, 1, &x, a);
	return e->kind == ENT_VALUE;
}

/* The value under a written type: literals fill the shape, sizes are demands. */
static bool typed(Sema *s, TsTree *bind, Ent *e)
{
	TsTree *t = bind->kid[0];
	TsType want;
	if (!t || t->kind == TS_TREE_TYPE_NONE) {
		for (uint32_t i = 0; t && i < t->n; i++)
			if (!strcmp(t->kid[i]->name, "shard")) { ts_s_not_yet(s, t->kid[i]->at, "@shard"); return false; }
		return true;
	}
	if (e->kind == ENT_WEIGHTS || e->kind == ENT_FN || e->kind == ENT_STR) { ts_error(s->cx, bind->at, "E_TYPE_MISMATCH", "'%s' is declared as a tensor", bind->name); return false; }
	if (!ts_s_type(s, t, &want)) return false;
	bool fills = e->kind == ENT_INT || e->kind == ENT_FLOAT || e->kind == ENT_BOOL;
	if (fills && want.rank) return s->kernel ? ts_k_filled(s, e, &want) : ts_s_fill(s, e, &want);
	if (e->kind == ENT_TILE && want.rank && !ts_k_fit(s, e, want.rank, want.dim, bind->name)) return false;
	TsVal v = ts_s_value(s, *e, want.elem);
	if (!v) return false;
	*e = ENT(ENT_VALUE, e->at, .v = v);
	const TsType found = ts_val(s->g, v)->type;
	if (found.elem != want.elem || found.rank != want.rank) {
		TsBuf a = { 0 }, b = { 0 };
		ts_type_print(s->m, &want, &a);
		ts_type_print(s->m, &found, &b);
		ts_error(s->cx, bind->at, "E_TYPE_MISMATCH", "'%s' is declared %s and computed %s", bind->name, a.p, b.p);
		ts_buf_free(&a);
		ts_buf_free(&b);
		return false;
	}
	for (uint32_t i = 0; i < want.rank; i++)
		if (!(s->kernel && ts_k_axis_fits(s, want.dim[i], found.dim[i])) && !ts_s_demand(s, want.dim[i], found.dim[i], bind->at, ts_printf(s->a, "%s axis %u", bind->name, i))) return false;
	if (want.accum != TS_DTYPE_NONE) ts_val(s->g, v)->type.accum = want.accum;
	return true;
}

static void bind_one(Sema *s, TsTree *bind, Ent e, TsSym doc)
{
	if (e.kind == ENT_MULTI && e.n == 1) e = e.item[0];
	if (e.kind == ENT_MULTI) {
		ts_error(s->cx, bind->at, "E_RESULTS", "%u results for the one name '%s'", e.n, bind->name);
		e.kind = ENT_UNKNOWN;
	}
	if (e.kind == ENT_PLACE && (!bind->kid[0] || bind->kid[0]->kind == TS_TREE_TYPE_NONE)) e.place->name = bind->name;
	if (e.kind != ENT_UNKNOWN && !typed(s, bind, &e)) e.kind = ENT_UNKNOWN;
	if (e.kind == ENT_LIST) {
		TsVal v = ts_s_value(s, e, TS_DTYPE_NONE);
		e = v ? ENT(ENT_VALUE, e.at, .v = v) : ts_s_unknown(e.at);
	}
	if (ts_s_bind(s, bind->name, bind->at, e) && e.kind == ENT_VALUE && strcmp(bind->name, "_")) {
		TsValue *v = ts_val(s->g, e.v);
		if (!v->name) v->name = bind->name;
		if (doc && v->def && !v->def->doc) v->def->doc = doc;
	}
}

static void let(Sema *s, TsTree *t)
{
	TsTree *binds = t->kid[0];
	const TsNumerics *num = s->num;
	if (t->kid[2]) s->num = ts_s_numerics(s, t->kid[2], s->num);
	uint32_t first = s->g->vals.n;
	Ent e = ts_s_expr(s, t->kid[1]);
	s->num = num;
	if (binds->n == 1) {
		bind_one(s, binds->kid[0], e, t->doc);
	} else {
		if (e.kind != ENT_UNKNOWN && (e.kind != ENT_MULTI || e.n != binds->n))
			e = ts_s_fail(s, binds->kid[0]->at, "E_RESULTS", "%u names for %u results", binds->n, e.kind == ENT_MULTI ? e.n : 1);
		for (uint32_t i = 0; i < binds->n; i++) bind_one(s, binds->kid[i], e.kind == ENT_MULTI ? e.item[i] : ts_s_unknown(t->at), t->doc);
	}
	/* Steps on the way are named after the statement. */
	uint32_t step = 0;
	TsSym base = binds->kid[0]->name;
	for (uint32_t v = first; v < s->g->vals.n; v++) {
		TsValue *x = ts_val(s->g, v);
		if (x->name || !x->def) continue;
		TsOpClass cls = ts_op_info(s->cx, x->def->op)->cls;
		if (cls != TS_CLS_LEAF) x->name = ts_intern_fmt(s->cx, "%s.%u", base, ++step);
	}
}

/* ---- for ---- */

/* Iterations of a loop, times those of the loops around it; a run is one kernel or more for each. */
static bool few_iterations(Sema *s, TsTree *range, const TsFor *f)
{
	int64_t all = ts_for_trips(f);
	if (all > TS_MAX_ITERATIONS) ts_error(s->cx, range->at, "E_LIMIT", "a loop of %lld iterations; at most %d are possible", (long long)all, TS_MAX_ITERATIONS);
	for (OpenFor *o = s->loops; o && all <= TS_MAX_ITERATIONS; o = o->up) {
		all *= ts_for_trips(o->f);
		if (all > TS_MAX_ITERATIONS)
			ts_error(s->cx, range->at, "E_LIMIT", "with the loops around it, a loop of %lld iterations; at most %d are possible", (long long)all, TS_MAX_ITERATIONS);
	}
	return all <= TS_MAX_ITERATIONS;
}

static bool fold_range(Sema *s, TsTree *r, TsFor *f)
{
	f->step = 1;
	if (!ts_s_int(s, r->kid[0], &f->lo) || !ts_s_int(s, r->kid[1], &f->hi) || (r->kid[2] && !ts_s_int(s, r->kid[2], &f->step))) return false;
	if (f->step < 1) { ts_error(s->cx, r->at, "E_LOOP", "the step of a loop is at least 1, found %lld", (long long)f->step); return false; }
	if (f->lo < -TS_MAX_LOOP_BOUND || f->hi > TS_MAX_LOOP_BOUND || f->step > TS_MAX_LOOP_BOUND || f->hi < -TS_MAX_LOOP_BOUND || f->lo > TS_MAX_LOOP_BOUND) {
		ts_error(s->cx, r->at, "E_LIMIT", "bounds and step of a loop lie within 2^60");
		return false;
	}
	return few_iterations(s, r, f);
}

static TsDim loop_symbol(Sema *s, TsSym var, const TsFor *f, TsSpan at)
{
	TsDimSym sym = { var, f->lo, f->hi > f->lo ? f->hi - 1 : f->lo, 1, at };
	TsDim d;
	for (uint32_t k = 2; ts_dim_find_symbol(s->d, sym.name, &d); k++) {
		int64_t c;
		uint32_t which;
		if (ts_dim_is_scaled_symbol(s->d, d, &c, &which)) {
			const TsDimSym *old = ts_dim_symbol_info(s->d, which);
			if (old->min == sym.min && old->max == sym.max && old->multiple == 1 && ts_map_find(&s->top.names, sym.name) == NULL) {
				bool open = false;
				for (OpenFor *o = s->loops; o; o = o->up) open |= o->f->symbol == d;
				if (!open) return d;
			}
		}
		sym.name = ts_intern_fmt(s->cx, "%s_%u", var, k);
	}
	return ts_dim_symbol(s->d, sym);
}

static Ent wrong_yield(Sema *s, TsTree *t, TsTree *with, uint32_t found)
{
	TsBuf names = { 0 };
	TsTree *body = t->kid[2], *last = body->n ? body->kid[body->n - 1] : t;
	uint32_t n = with ? with->n : 0;
	for (uint32_t i = 0; i < n; i++) ts_buf_fmt(&names, "%s%s", i ? ", " : "", with->kid[i]->name);
	ts_error(s->cx, last->kind == TS_TREE_YIELD ? last->at : t->at, "E_YIELD", "this for carries %u value%s%s%s%s, yield gives %u", n, n == 1 ? "" : "s", n ? " (" : "", names.p ? names.p : "", n ? ")" : "", found);
	if (found < n) ts_hint(s->cx, "%s is missing", with->kid[found]->name);
	ts_buf_free(&names);
	return ts_s_unknown(t->at);
}

Ent ts_s_for(Sema *s, TsTree *t)
{
	enum { MOST = 64 };
	TsFor *f = TS_NEW(s->a, TsFor);
	TsTree *with = t->kid[1];
	TsVal init[MOST];
	Ent got[MOST];
	uint32_t ny = 0, ne = 0;
	if (!fold_range(s, t->kid[0], f)) return ts_s_unknown(t->at);
	f->ncarry = with ? with->n : 0;
	if (f->ncarry > MOST) return ts_s_fail(s, t->at, "E_LIMIT", "a loop carries at most %d values", MOST);
	for (uint32_t i = 0; i < f->ncarry; i++) {
		Ent e = ts_s_expr(s, with->kid[i]->kid[0]);
		init[i] = ts_s_value(s, e, TS_DTYPE_NONE);
		if (!init[i]) return ts_s_unknown(t->at);
	}
	f->symbol = loop_symbol(s, t->name, f, t->at);
	int64_t one;
	uint32_t symbol;
	if (!ts_dim_is_scaled_symbol(s->d, f->symbol, &one, &symbol)) return ts_s_unknown(t->at);
	f->var = ts_dim_symbol_info(s->d, symbol)->name; /* the written name, or a free one: names of weights mention it */
	TsNode *n = ts_node_new(s->m, s->g, TS_OP_for, f->ncarry, init, 0);
	n->at = t->at;
	n->attr = ts_attrs_new(s->m, TS_OP_for);
	n->loop = f;
	n->num = s->num;
	Scope inner = { .up = s->scope }, *outer = s->scope;
	OpenFor open = { s->loops, f };
	TsBlock *block = s->b;
	uint32_t errors = ts_error_count(s->cx);
	s->scope = &inner;
	s->loops = &open;
	s->b = &f->body;
	ts_s_bind(s, t->name, t->at, ENT(ENT_SIZE, t->at, .d = f->symbol));
	for (uint32_t i = 0; i < f->ncarry; i++) {
		TsVal v = s->g->vals.n;
		TsType ty = ts_val(s->g, init[i])->type;
		ts_push(s->a, &s->g->vals, (TsValue){ .type = ty, .name = with->kid[i]->name });
		ts_push(s->a, &f->body.args, v);
		ts_s_bind(s, with->kid[i]->name, with->kid[i]->at, ENT(ENT_VALUE, with->kid[i]->at, .v = v));
	}
	ts_s_block(s, t->kid[2], got, &ny, &ne, MOST);
	for (uint32_t i = 0; i < ny + ne; i++) {
		TsDtype want = i < f->ncarry ? ts_val(s->g, f->body.args.p[i])->type.elem : TS_DTYPE_NONE;
		TsVal v = ts_s_value(s, got[i], want);
		if (v) ts_push(s->a, &f->body.results, v);
	}
	s->b = block;
	s->loops = open.up;
	s->scope = outer;
	for (uint32_t i = 0; i < inner.names.n; i++) ts_map_set(s->a, &s->ended, inner.names.keys[i], (void *)inner.names.vals[i]);
	if (ts_error_count(s->cx) != errors || f->body.results.n != ny + ne) return ts_s_unknown(t->at);
	if (ny != f->ncarry) return wrong_yield(s, t, with, ny);
	n->nout = ny + ne;
	n->out = TS_NEW_N(s->a, TsVal, n->nout);
	for (uint32_t i = 0; i < n->nout; i++) {
		n->out[i] = s->g->vals.n;
		ts_push(s->a, &s->g->vals, (TsValue){ .type = { .elem = TS_DTYPE_NONE, .accum = TS_DTYPE_NONE }, .def = n, .index = i });
	}
	if (!ts_infer(s->m, s->g, n)) return ts_s_unknown(t->at);
	ts_push(s->a, &s->b->nodes, n);
	Ent r = ENT(ENT_MULTI, t->at, .n = n->nout);
	r.item = TS_NEW_N(s->a, Ent, n->nout);
	for (uint32_t i = 0; i < n->nout; i++) r.item[i] = ENT(ENT_VALUE, t->at, .v = n->out[i]);
	return r;
}

/* ---- blocks ---- */

static void collect(Sema *s, TsTree *t, Ent *results, uint32_t *count, uint32_t at, uint32_t room)
{
	for (uint32_t i = 0; i < t->n; i++) {
		if (at + *count >= room) { ts_error(s->cx, t->at, "E_LIMIT", "too many values leave this block"); return; }
		results[at + (*count)++] = ts_s_expr(s, t->kid[i]);
	}
}

/* Runs a block's statements. results: yielded values, then emitted ones (NULL: neither is allowed). */
void ts_s_block(Sema *s, TsTree *block, Ent *results, uint32_t *nyield, uint32_t *nemit, uint32_t room)
{
	enum { MOST = 64 };
	Ent emits[MOST];
	uint32_t ne = 0, ny = 0;
	const TsNumerics *num = s->num;
	for (uint32_t i = 0; i < block->n; i++) {
		TsTree *t = block->kid[i];
		if (t->kind == TS_TREE_YIELD || t->kind == TS_TREE_EMIT) {
			if (!results) { ts_error(s->cx, t->at, "E_YIELD", "%s belongs in a loop", t->kind == TS_TREE_YIELD ? "yield" : "emit"); continue; }
			if (ny) { ts_error(s->cx, t->at, "E_YIELD", "yield ends the block"); continue; }
			if (t->kind == TS_TREE_YIELD) collect(s, t, results, &ny, 0, room);
			else collect(s, t, emits, &ne, 0, MOST);
			continue;
		}
		if (ny) { ts_error(s->cx, t->at, "E_YIELD", "yield ends the block"); continue; }
		ts_s_statement(s, t);
	}
	for (uint32_t i = 0; i < ne && ny + i < room; i++) results[ny + i] = emits[i];
	if (nyield) *nyield = ny;
	if (nemit) *nemit = ne;
	s->num = num;
}

static void set(Sema *s, TsTree *t)
{
	static const char *const what[] = { [ENT_VALUE] = "a result", [ENT_SIZE] = "a dim", [ENT_INT] = "a const", [ENT_FLOAT] = "a const", [ENT_WEIGHTS] = "a set of weights", [ENT_FN] = "a fn" };
	if (s->kernel) { ts_k_set(s, t); return; }
	TsTree *place = t->kid[0]->kid[0]->kind == TS_TREE_INDEX ? t->kid[0]->kid[0]->kid[0] : t->kid[0]->kid[0];
	Ent *e = ts_s_find(s, place->name);
	if (e && e->kind == ENT_UNKNOWN) return; /* a state: refused where it is declared */
	const char *is = e && e->kind < sizeof what / sizeof *what && what[e->kind] ? what[e->kind] : "a new name";
	ts_error(s->cx, place->at, "E_NOT_STATE", "'%s' is %s, not a state", place->name, is);
	if (!e) ts_hint(s->cx, "drop 'set'");
}

void ts_s_statement(Sema *s, TsTree *t)
{
	switch ((TsTreeKind)t->kind) {
	case TS_TREE_LET: let(s, t); break;
	case TS_TREE_NUMERICS: s->num = ts_s_numerics(s, t->kid[0], s->num); break;
	case TS_TREE_GROUP: ts_s_block(s, t->kid[1], NULL, NULL, NULL, 0); break; /* transparent */
	case TS_TREE_EXPR: {
		Ent e = ts_s_expr(s, t->kid[0]);
		if (e.kind == ENT_VALUE || (e.kind == ENT_MULTI && e.n)) ts_error(s->cx, t->at, "E_UNUSED", "the result of this statement has no name; write `_ = …` to drop it");
		break;
	}
	case TS_TREE_SET: set(s, t); break;
	case TS_TREE_UNTIL: ts_s_not_yet(s, t->at, "until"); break;
	case TS_TREE_GRID:
		if (s->kernel) ts_error(s->cx, t->at, "E_KERNEL", "grid stands once, as the first statement of its kernel");
		else ts_error(s->cx, t->at, "E_SYNTAX", "grid belongs in a kernel");
		break;
	default:
		if (s->kernel) {
			ts_error(s->cx, t->at, "E_KERNEL", "kernels of a model say nothing of layouts, roles or rings; those stand in .tile texts");
			break;
		}
		ts_error(s->cx, t->at, "E_SYNTAX", "this statement does not belong in a graph"); break;
	}
}
