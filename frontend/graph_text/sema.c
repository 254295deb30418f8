/* The items of a file, and the graphs. */
#include "frontend/graph_text/sema_int.h"
#include <string.h>

bool ts_s_results(Sema *s, TsTree *sig, Ent *out);

/* ---- dims ---- */

static bool bound(Sema *s, TsTree *t, int64_t *out) { return !t || ts_s_int(s, t, out); }

static void definition(Sema *s, TsTree *t)
{
	TsDim d;
	int64_t v;
	if (!ts_s_size(s, t->kid[1], &d)) { ts_s_bind(s, t->name, t->at, ts_s_unknown(t->at)); return; }
	Ent def = ts_dim_is_const(s->d, d, &v) ? ENT(ENT_INT, t->at, .i = v) : ENT(ENT_SIZE, t->at, .d = d, .tree = t);
	if (def.kind == ENT_INT && v < 0) def = ts_s_fail(s, t->at, "E_SIZE", "a size is at least 0, found %lld", (long long)v);
	ts_s_bind(s, t->name, t->at, def);
}

/* The smallest common multiple; false when it leaves 64 bits. */
static bool common_multiple(int64_t a, int64_t b, int64_t *out)
{
	int64_t x = a, y = b;
	while (y) { int64_t r = x % y; x = y; y = r; }
	return !__builtin_mul_overflow(a / x, b, out);
}

/* One more line of constraints on sym, which all hold together. */
static bool constrain(Sema *s, TsTree *t, TsDimSym *sym)
{
	int64_t min = 1, max = INT64_MAX, multiple = 1;
	if (!bound(s, t->kid[0], &min) || !bound(s, t->kid[2], &max) || !bound(s, t->kid[3], &multiple)) return false;
	if (min < 0 || multiple < 1) {
		if (min < 0) ts_error(s->cx, t->at, "E_SIZE", "a size is at least 0, found %lld", (long long)min);
		else ts_error(s->cx, t->at, "E_SIZE", "a multiple is at least 1, found %lld", (long long)multiple);
		return false;
	}
	bool first = sym->min < 0;
	if (first || (t->kid[0] && min > sym->min)) sym->min = min;
	if (max < sym->max) sym->max = max;
	bool fits = common_multiple(sym->multiple, multiple, &sym->multiple);
	int64_t m = sym->multiple, up = fits ? sym->min % m ? sym->min / m : sym->min / m - 1 : 0, least = 0;
	if (!fits || __builtin_add_overflow(up, 1, &up) || __builtin_mul_overflow(up, m, &least) || least > sym->max) {
		ts_error(s->cx, t->at, "E_EMPTY_DIM", "no size satisfies the constraints on %s", t->name);
		return false;
	}
	return true;
}

/* dims S <= 64, and later dims S multiple_of 8: every line about a dim of the file counts, wherever its first one is met. */
static void constrain_all(Sema *s, TsTree *t, TsDimSym *sym, bool *ok)
{
	for (uint32_t i = 0; i < s->file->n && s->scope == &s->top; i++) {
		TsTree *dims = s->file->kid[i];
		for (uint32_t k = 0; dims->kind == TS_TREE_DIMS && k < dims->n; k++) {
			TsTree *d = dims->kid[k];
			if (d->name != t->name) continue;
			if (d->kid[1]) {
				ts_error(s->cx, d->at, "E_ASSIGNED_TWICE", "'%s' has a definition and constraints of its own", t->name);
				*ok = false;
			} else if (*ok) {
				*ok = constrain(s, d, sym);
			}
		}
	}
	if (sym->min < 0 && *ok) *ok = constrain(s, t, sym);
}

void ts_s_dim_item(Sema *s, TsTree *t)
{
	TsDimSym sym = { t->name, -1, INT64_MAX, 1, t->at };
	bool ok = true;
	Ent *old = s->scope == &s->top ? ts_map_get(&s->top.names, t->name) : NULL;
	if (old && old->kind == ENT_SIZE && old->tree && !old->tree->kid[1] && !t->kid[1]) return; /* its first line saw to this one */
	if (old && old->kind == ENT_UNKNOWN) return;
	if (t->kid[1]) { definition(s, t); return; }
	if (old && !(old->kind == ENT_SIZE && old->tree)) { ts_s_bind(s, t->name, t->at, *old); return; }
	constrain_all(s, t, &sym, &ok);
	if (ok && ts_dim_symbol_count(s->d) >= 1000) { ts_error(s->cx, t->at, "E_LIMIT", "at most 1000 dims"); ok = false; }
	ts_s_bind(s, t->name, t->at, ok ? ENT(ENT_SIZE, t->at, .d = ts_dim_symbol(s->d, sym), .tree = t) : ts_s_unknown(t->at));
}

/* ---- items ---- */

static Ent const_item(Sema *s, TsTree *t)
{
	Ent e = ts_s_expr(s, t->kid[1]);
	if (t->kid[0] && t->kid[0]->kind == TS_TREE_TYPE && t->kid[0]->n) return ts_s_not_yet(s, t->at, "a const that is no scalar");
	if (t->kid[0] && t->kid[0]->kind == TS_TREE_TYPE && ts_dtype_is_float((TsDtype)t->kid[0]->i) && e.kind == ENT_INT) e = ENT(ENT_FLOAT, e.at, .f = (double)e.i);
	if (e.kind == ENT_VALUE || e.kind == ENT_MULTI) return ts_s_fail(s, t->at, "E_CONST", "a const is known at compile time");
	return e;
}

static void dim_or_const(Sema *s, TsTree *t)
{
	if (t->kind == TS_TREE_DIM) ts_s_dim_item(s, t);
	else ts_s_bind(s, t->name, t->at, const_item(s, t));
}

bool ts_s_work_out(Sema *s, TsSym name)
{
	TsTree *t = ts_map_get(&s->later, name);
	if (!t) return false;
	Scope *scope = s->scope;
	ts_map_set(s->a, &s->later, name, NULL);
	s->scope = &s->top;
	dim_or_const(s, t);
	s->scope = scope;
	return true;
}

/* Dims and consts may stand on each other in any order: the first use works one out. */
static void list_later(Sema *s)
{
	for (uint32_t i = 0; i < s->file->n; i++) {
		TsTree *t = s->file->kid[i];
		if (t->kind == TS_TREE_CONST && !ts_map_get(&s->later, t->name)) ts_map_set(s->a, &s->later, t->name, t);
		for (uint32_t k = 0; t->kind == TS_TREE_DIMS && k < t->n; k++)
			if (!ts_map_get(&s->later, t->kid[k]->name)) ts_map_set(s->a, &s->later, t->kid[k]->name, t->kid[k]);
	}
}

/* An item of a name that an earlier one has: another line of constraints, or a mistake. */
static void take_item(Sema *s, TsTree *t)
{
	Ent *old = ts_map_get(&s->top.names, t->name);
	if (ts_map_get(&s->later, t->name) == t) ts_s_work_out(s, t->name);
	else if (!old || old->at.file != t->at.file || old->at.begin != t->at.begin) dim_or_const(s, t);
}

/* Names first, so that items may come in any order: dims, then consts, then what stands on them. */
void ts_s_items(Sema *s)
{
	TsTree *f = s->file;
	list_later(s);
	static const TsTreeKind order[] = { TS_TREE_DIMS, TS_TREE_CONST, TS_TREE_NUMERICS, TS_TREE_WEIGHTS };
	for (uint32_t i = 0; i < f->n; i++) {
		TsTree *t = f->kid[i];
		if (t->kind == TS_TREE_FN || t->kind == TS_TREE_KERNEL || t->kind == TS_TREE_GRAPH || t->kind == TS_TREE_IMPORT) {
			if (t->sub == 1 && t->kind != TS_TREE_KERNEL) ts_s_not_yet(s, t->at, "per_device");
			ts_s_bind(s, t->name, t->at, ENT(ENT_FN, t->at, .tree = t));
		}
		if (t->kind == TS_TREE_STATE) { ts_s_not_yet(s, t->at, "a state"); ts_s_bind(s, t->name, t->at, ts_s_unknown(t->at)); }
		if (t->kind == TS_TREE_MESH) { ts_s_not_yet(s, t->at, "a mesh"); ts_s_bind(s, t->name, t->at, ts_s_unknown(t->at)); }
	}
	for (size_t o = 0; o < sizeof order / sizeof *order; o++)
		for (uint32_t i = 0; i < f->n; i++) {
			TsTree *t = f->kid[i];
			if (t->kind != order[o]) continue;
			switch (order[o]) {
			case TS_TREE_DIMS:
				for (uint32_t k = 0; k < t->n; k++) take_item(s, t->kid[k]);
				break;
			case TS_TREE_CONST: take_item(s, t); break;
			case TS_TREE_NUMERICS: s->m->numerics = *ts_s_numerics(s, t->kid[0], &s->m->numerics); break;
			default:
				if (!ts_s_weights_item(s, t) && !ts_map_find(&s->top.names, t->name)) ts_s_bind(s, t->name, t->at, ts_s_unknown(t->at));
			}
		}
}

/* ---- graphs ---- */

static uint32_t note_symbol(void *user, TsDimKind k, int64_t v)
{
	if (k == TS_DX_SYMBOL) ((uint8_t *)user)[v] = 1;
	return 0;
}

static uint32_t note_nothing(void *user, TsDimKind k, uint32_t a, uint32_t b) { (void)user; (void)k; (void)a; (void)b; return 0; }

/* Where the type of that parameter writes that axis. */
static TsSpan size_span(TsTree *graph, TsSym param, int axis)
{
	TsTree *params = graph->kid[0]->kid[0];
	for (uint32_t i = 0; i < params->n; i++)
		if (params->kid[i]->name == param && params->kid[i]->kid[0]->n > (uint32_t)axis) return params->kid[i]->kid[0]->kid[axis]->at;
	return graph->at;
}

/* A symbol that stands alone, or with a constant factor, in some input is found at the call; others cannot be. */
static uint8_t *solve(Sema *s, TsTree *t)
{
	uint32_t n = ts_dim_symbol_count(s->d), k;
	int64_t c;
	uint8_t *found = ts_alloc(s->a, n + 1), *told = ts_alloc(s->a, n + 1);
	for (uint32_t i = 0; i < s->g->params.n; i++) {
		const TsType *ty = &ts_val(s->g, s->g->params.p[i])->type;
		for (int a = 0; a < ty->rank; a++)
			if (ts_dim_is_scaled_symbol(s->d, ty->dim[a], &c, &k)) found[k] = 1;
	}
	for (uint32_t i = 0; i < s->g->params.n; i++) {
		const TsType *ty = &ts_val(s->g, s->g->params.p[i])->type;
		for (int a = 0; a < ty->rank; a++) {
			uint8_t *in = ts_alloc(s->a, n + 1);
			TsDimVisitor v = { in, note_symbol, note_nothing };
			ts_dim_visit(s->d, ty->dim[a], &v);
			for (k = 0; k < n; k++) {
				if (!in[k] || found[k] || told[k]) continue;
				told[k] = 1;
				ts_s_unsolved(s, ts_dim_symbol_info(s->d, k)->name, size_span(t, ts_val(s->g, s->g->params.p[i])->name, a));
			}
		}
	}
	for (k = 0; k < n; k++) found[k] |= told[k]; /* told once */
	return found;
}

static void graph(Sema *s, TsTree *t)
{
	Scope scope = { .up = &s->top };
	TsTree *params = t->kid[0]->kid[0], *results = t->kid[0]->kid[1];
	s->g = ts_graph_new(s->m, t->name);
	s->g->at = t->at;
	s->g->doc = t->doc;
	s->b = &s->g->body;
	s->scope = &scope;
	s->num = &s->m->numerics;
	s->loops = NULL;
	s->solved = NULL;
	s->streams = 0;
	for (uint32_t i = 0; i < params->n; i++) {
		TsTree *p = params->kid[i];
		TsType ty;
		Ent e = ts_s_unknown(p->at);
		if (p->i || (p->kid[0]->kind == TS_TREE_TYPE_WORD)) { ts_error(s->cx, p->at, "E_TYPE_MISMATCH", "a graph's inputs are tensors; const and weights parameters are for fns"); continue; }
		if (ts_s_type(s, p->kid[0], &ty)) e = ENT(ENT_VALUE, p->at, .v = ts_add_param(s->m, s->g, p->name, ty, p->at));
		ts_s_bind(s, p->name, p->at, e);
	}
	s->solved = solve(s, t);
	if (t->kid[2]) s->num = ts_s_numerics(s, t->kid[2], s->num);
	ts_s_block(s, t->kid[1], NULL, NULL, NULL, 0);
	uint32_t n = results ? results->n : 0;
	Ent *out = TS_NEW_N(s->a, Ent, n);
	if (!ts_s_results(s, t->kid[0], out)) return;
	for (uint32_t i = 0; i < n; i++) {
		ts_push(s->a, &s->g->body.results, out[i].v);
		ts_push(s->a, &s->g->result_names, results->kid[i]->name);
	}
	ts_push(s->a, &s->m->graphs, s->g);
}

/* The model's name: the file's, without folder and ending, as a C identifier. */
static TsSym model_name(Sema *s, const char *path)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
	char *n = ts_strndup(s->a, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
	for (char *c = n; *c; c++)
		if (!(*c >= 'a' && *c <= 'z') && !(*c >= 'A' && *c <= 'Z') && !(*c >= '0' && *c <= '9' && c != n)) *c = '_';
	return ts_intern(s->cx, *n ? n : "model");
}

/* Names that tests call count as used. */
static void calls_in(Sema *s, TsTree *t, TsMap *called)
{
	TsTree *f = t->kind == TS_TREE_CALL ? t->kid[0] : NULL;
	if (f && f->name) ts_map_set(s->a, called, f->name, f);
	for (uint32_t i = 0; i < t->n; i++)
		if (t->kid[i]) calls_in(s, t->kid[i], called);
}

/* A fn is checked where it is called; one that nothing calls is not. */
static void unused_fns(Sema *s)
{
	TsMap called = { 0 };
	if (s->o->graph || ts_error_count(s->cx)) return;
	for (uint32_t i = 0; i < s->file->n; i++)
		if (s->file->kid[i]->kind == TS_TREE_TEST) calls_in(s, s->file->kid[i], &called);
	for (uint32_t i = 0; i < s->file->n; i++) {
		TsTree *t = s->file->kid[i];
		if (t->kind != TS_TREE_FN || ts_map_get(&s->used, t) || ts_map_get(&called, t->name)) continue;
		ts_warn(s->cx, (TsSpan){ t->at.file, t->at.begin, t->kid[0]->at.begin }, "W_UNUSED_FN", "nothing calls '%s', so its body is not checked", t->name);
	}
}

static void no_such_graph(Sema *s, TsTree *file)
{
	TsSym *names = TS_NEW_N(s->a, TsSym, file->n + 1);
	uint32_t n = 0;
	for (uint32_t i = 0; i < file->n; i++)
		if (file->kid[i]->kind == TS_TREE_GRAPH) names[n++] = file->kid[i]->name;
	ts_error(s->cx, file->at, "E_NO_GRAPH", "no graph named '%s'", s->o->graph);
	ts_hint_names(s->cx, s->o->graph, names, n);
}

TsModule *ts_s_module(Sema *s, TsCtx *cx, TsTree *file, const char *path, const TsSemaOptions *o)
{
	static const TsSemaOptions plain;
	*s = (Sema){ .cx = cx, .a = ts_arena(cx), .file = file, .o = o ? o : &plain };
	uint32_t errors = ts_error_count(cx), done = 0;
	s->m = ts_module_new(cx);
	s->d = s->m->dims;
	s->scope = &s->top;
	s->m->path = ts_intern(cx, path);
	s->m->name = model_name(s, path);
	s->m->source = file;
	TsGraph *scratch = ts_graph_new(s->m, ts_intern(cx, "")); /* constants of items are worked out in it */
	s->g = scratch;
	s->b = &scratch->body;
	s->num = &s->m->numerics;
	ts_s_items(s);
	for (uint32_t i = 0; i < file->n; i++) {
		TsTree *t = file->kid[i];
		if (t->kind != TS_TREE_GRAPH || (s->o->graph && strcmp(s->o->graph, t->name))) continue;
		done++;
		graph(s, t);
		s->solved = NULL;
	}
	unused_fns(s);
	if (ts_error_count(cx) != errors) return NULL;
	if (!done) {
		if (s->o->graph) no_such_graph(s, file);
		else ts_error(cx, file->at, "E_NO_GRAPH", "this file has no graph to compile");
		return NULL;
	}
	return s->m;
}

TsModule *ts_module_from_tree(TsCtx *cx, TsTree *file, const char *path, const TsSemaOptions *o)
{
	Sema s;
	return ts_s_module(&s, cx, file, path, o);
}
