#include "frontend/graph_text/sema_build.h"
#include "frontend/graph_text/sema_int.h"

struct TsKernels { Sema s; };

enum { MOST_ARGS = 64 };

TsKernels *ts_kernels_new(TsModule *m)
{
	static const TsSemaOptions plain;
	TsKernels *k = TS_NEW(m->arena, TsKernels);
	k->s = (Sema){ .cx = m->cx, .a = m->arena, .m = m, .d = m->dims, .o = &plain };
	m->source = ts_tree(m->cx, TS_TREE_FILE, (TsSpan){ 0 }, 0);
	return k;
}

/* Back to where nothing is open. */
static void start(TsKernels *k, TsGraph *g, TsBlock *b, const TsNumerics *num)
{
	Sema *s = &k->s;
	s->scope = &s->top;
	s->g = g;
	s->b = b;
	s->num = num;
	s->kernel = NULL;
	s->loops = NULL;
	s->active.n = 0;
	s->broken = (TsMap){ 0 };
}

static TsNode *call(TsKernels *k, TsTree *item, uint32_t n, const Ent *arg, TsSpan at)
{
	Sema *s = &k->s;
	TsSym kw[MOST_ARGS] = { 0 };
	TsTree *t = ts_tree(s->cx, TS_TREE_CALL, at, 1, ts_tree_name(s->cx, at, item->name));
	uint32_t nodes = s->b->nodes.n;
	TsBlock *b = s->b;
	Ent r = ts_k_call(s, item, t, n, arg, kw);
	return r.kind == ENT_UNKNOWN || b->nodes.n == nodes ? NULL : b->nodes.p[b->nodes.n - 1];
}

/* The kernel on inputs of the types that its parameters have. */
static bool try_kernel(TsKernels *k, TsTree *item)
{
	Sema *s = &k->s;
	TsTree *params = item->kid[0]->kid[0];
	TsGraph *g = ts_graph_new(s->m, item->name);
	Ent arg[MOST_ARGS];
	start(k, g, &g->body, &s->m->numerics);
	if (params->n > MOST_ARGS) return ts_s_fail(s, item->at, "E_ARGUMENTS", "more than %d arguments", MOST_ARGS).kind == ENT_NONE;
	for (uint32_t i = 0; i < params->n; i++) {
		TsTree *p = params->kid[i];
		TsType ty;
		if (p->i || p->kid[0]->kind != TS_TREE_TYPE) return ts_s_not_yet(s, p->at, "a parameter of a kernel that is no tensor").kind == ENT_NONE;
		if (!ts_s_type(s, p->kid[0], &ty)) return false;
		arg[i] = ENT(ENT_VALUE, p->at, .v = ts_add_param(s->m, g, p->name, ty, p->at));
	}
	return call(k, item, params->n, arg, item->at) != NULL;
}

bool ts_kernels_add(TsKernels *k, TsTree *file)
{
	Sema *s = &k->s;
	uint32_t errors = ts_error_count(s->cx), before = s->m->source->n;
	for (uint32_t i = 0; i < file->n; i++) {
		TsTree *t = file->kid[i];
		if (t->kind != TS_TREE_DIMS && t->kind != TS_TREE_CONST && t->kind != TS_TREE_KERNEL)
			return ts_s_fail(s, t->at, "E_KERNEL", "beside kernels there are dims and consts here, nothing else").kind == ENT_NONE;
	}
	TsMap known = { 0 };
	for (uint32_t i = 0; i < s->top.names.n; i++) ts_map_set(s->a, &known, s->top.names.keys[i], (void *)s->top.names.vals[i]);
	TsGraph *scratch = ts_graph_new(s->m, ts_intern(s->cx, ""));
	start(k, scratch, &scratch->body, &s->m->numerics);
	s->file = file;
	ts_s_items(s);
	s->file = s->m->source;
	for (uint32_t i = 0; i < file->n; i++) ts_tree_add(s->cx, s->m->source, file->kid[i]);
	bool ok = ts_error_count(s->cx) == errors;
	for (uint32_t i = 0; ok && i < file->n; i++) ok = file->kid[i]->kind != TS_TREE_KERNEL || try_kernel(k, file->kid[i]);
	if (ok) return true;
	s->m->source->n = before;
	s->top.names = known;
	return false;
}

TsNode *ts_kernels_call(TsKernels *k, TsGraph *g, TsBlock *b, TsSym name, uint32_t n, const TsKernelArg *arg, const TsNumerics *num, TsSpan at)
{
	Sema *s = &k->s;
	Ent *e = ts_map_get(&s->top.names, name), in[MOST_ARGS];
	start(k, g, b, num);
	if (!e || e->kind != ENT_FN) return ts_s_fail(s, at, "E_UNKNOWN_NAME", "no kernel named '%s'", name), NULL;
	if (n > MOST_ARGS) return ts_s_fail(s, at, "E_ARGUMENTS", "more than %d arguments", MOST_ARGS), NULL;
	for (uint32_t i = 0; i < n; i++)
		in[i] = arg[i].v ? ENT(ENT_VALUE, at, .v = arg[i].v) : arg[i].is_float ? ENT(ENT_FLOAT, at, .f = arg[i].f) : ENT(ENT_INT, at, .i = arg[i].i);
	return call(k, e->tree, n, in, at);
}
