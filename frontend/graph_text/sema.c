/* The items of a file, and the graphs. */
#include "frontend/graph_text/sema_int.h"
#include <string.h>

bool ts_s_results(Sema *s, TsTree *sig, Ent *out);

/* ---- dims ---- */

static bool bound(Sema *s, TsTree *t, int64_t *out) { return !t || ts_s_int(s, t, out); }

void ts_s_dim_item(Sema *s, TsTree *t)
{
	TsDimSym sym = { t->name, 1, INT64_MAX, 1, t->at };
	Ent e = ENT(ENT_SIZE, t->at, .tree = t);
	if (t->kid[1]) { /* a definition */
		TsDim d;
		int64_t v;
		if (!ts_s_size(s, t->kid[1], &d)) { ts_s_bind(s, t->name, t->at, ts_s_unknown(t->at)); return; }
		Ent def = ts_dim_is_const(s->d, d, &v) ? ENT(ENT_INT, t->at, .i = v) : ENT(ENT_SIZE, t->at, .d = d);
		if (def.kind == ENT_INT && v < 0) ts_error(s->cx, t->at, "E_SIZE", "a size is at least 0, found %lld", (long long)v);
		ts_s_bind(s, t->name, t->at, def);
		return;
	}
	if (!bound(s, t->kid[0], &sym.min) || !bound(s, t->kid[2], &sym.max) || !bound(s, t->kid[3], &sym.multiple)) return;
	if (sym.min < 0) { ts_error(s->cx, t->at, "E_SIZE", "a size is at least 0, found %lld", (long long)sym.min); return; }
	if (sym.multiple < 1) { ts_error(s->cx, t->at, "E_SIZE", "a multiple is at least 1, found %lld", (long long)sym.multiple); return; }
	int64_t first = sym.min % sym.multiple ? sym.min / sym.multiple * sym.multiple + sym.multiple : sym.min;
	if (first > sym.max || first < sym.min) {
		ts_error(s->cx, t->at, "E_EMPTY_DIM", "no size satisfies the constraints on %s", t->name);
		return;
	}
	e.d = ts_dim_symbol(s->d, sym);
	if (ts_dim_symbol_count(s->d) > 1000) { ts_error(s->cx, t->at, "E_LIMIT", "at most 1000 dims"); return; }
	ts_s_bind(s, t->name, t->at, e);
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

/* Names first, so that items may come in any order: dims, then consts, then what stands on them. */
static void items(Sema *s)
{
	TsTree *f = s->file;
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
				for (uint32_t k = 0; k < t->n; k++) ts_s_dim_item(s, t->kid[k]);
				break;
			case TS_TREE_CONST: ts_s_bind(s, t->name, t->at, const_item(s, t)); break;
			case TS_TREE_NUMERICS: s->m->numerics = *ts_s_numerics(s, t->kid[0], &s->m->numerics); break;
			default:
				if (!ts_s_weights_item(s, t) && !ts_map_find(&s->top.names, t->name)) ts_s_bind(s, t->name, t->at, ts_s_unknown(t->at));
			}
		}
}

/* ---- graphs ---- */

/* A symbol that stands alone, or with a constant factor, in some input is found at the call; others cannot be. */
static void check_solved(Sema *s, TsTree *t)
{
	uint32_t n = ts_dim_symbol_count(s->d);
	int64_t c;
	bool *found = TS_NEW_N(s->a, bool, n + 1);
	uint32_t k;
	for (uint32_t i = 0; i < s->g->params.n; i++) {
		const TsType *ty = &ts_val(s->g, s->g->params.p[i])->type;
		for (int a = 0; a < ty->rank; a++)
			if (ts_dim_is_scaled_symbol(s->d, ty->dim[a], &c, &k)) found[k] = true;
	}
	for (k = 0; k < n; k++) {
		if (found[k]) continue;
		for (uint32_t i = 0; i < s->g->params.n; i++) {
			const TsType *ty = &ts_val(s->g, s->g->params.p[i])->type;
			for (int a = 0; a < ty->rank; a++) { /* does this size depend on symbol k? */
				TsDim *sub = TS_NEW_N(s->a, TsDim, n);
				for (uint32_t j = 0; j < n; j++) sub[j] = TS_DIM_BAD;
				sub[k] = ts_dim_const(s->d, 0);
				if (ts_dim_subst(s->d, ty->dim[a], sub) == ty->dim[a]) continue;
				ts_error(s->cx, t->kid[0]->kid[0]->kid[i]->at, "E_UNSOLVED_DIM", "%s cannot be found from the arguments", ts_dim_symbol_info(s->d, k)->name);
				ts_hint(s->cx, "it must stand alone, or with a constant factor, in some input");
				return;
			}
		}
	}
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
	for (uint32_t i = 0; i < params->n; i++) {
		TsTree *p = params->kid[i];
		TsType ty;
		Ent e = ts_s_unknown(p->at);
		if (p->i || (p->kid[0]->kind == TS_TREE_TYPE_WORD)) { ts_error(s->cx, p->at, "E_TYPE_MISMATCH", "a graph's inputs are tensors; const and weights parameters are for fns"); continue; }
		if (ts_s_type(s, p->kid[0], &ty)) e = ENT(ENT_VALUE, p->at, .v = ts_add_param(s->m, s->g, p->name, ty, p->at));
		ts_s_bind(s, p->name, p->at, e);
	}
	check_solved(s, t);
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
	items(s);
	for (uint32_t i = 0; i < file->n; i++) {
		TsTree *t = file->kid[i];
		if (t->kind != TS_TREE_GRAPH || (s->o->graph && strcmp(s->o->graph, t->name))) continue;
		done++;
		graph(s, t);
	}
	if (ts_error_count(cx) != errors) return NULL;
	if (!done) {
		if (s->o->graph) ts_error(cx, file->at, "E_NO_GRAPH", "no graph named '%s'", s->o->graph);
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
