/* Builder.text: the canonical .tg of what some results need. */
#include "python/core/core.h"
#include "frontend/graph_text/print_graph.h"
#include "frontend/graph_text/print_names.h"
#include <string.h>

enum { MOST_RESULTS = 4096 };

/* ---- what is needed ---- */

static void mark_block(CoreBuilder *b, const TsBlock *from, uint8_t *need);

static void mark_node(CoreBuilder *b, const TsNode *n, uint8_t *need)
{
	bool any = false;
	for (uint32_t i = 0; i < n->nout; i++) any |= need[n->out[i]];
	if (!any) return;
	for (uint32_t i = 0; i < n->nout; i++) need[n->out[i]] = 1;
	for (uint32_t i = 0; i < n->nin; i++) need[n->in[i]] = 1;
	if (!n->loop) return;
	for (uint32_t i = 0; i < n->loop->body.results.n; i++) need[n->loop->body.results.p[i]] = 1;
	mark_block(b, &n->loop->body, need);
}

/* Nodes stand after their operands, so one walk back is enough. */
static void mark_block(CoreBuilder *b, const TsBlock *from, uint8_t *need)
{
	for (uint32_t i = from->nodes.n; i-- > 0;) mark_node(b, from->nodes.p[i], need);
}

static void copy_block(CoreBuilder *b, const TsBlock *from, const uint8_t *need, TsBlock *to)
{
	TsArena *a = b->m->arena;
	to->results = from->results;
	to->args = from->args;
	for (uint32_t i = 0; i < from->nodes.n; i++) {
		TsNode *n = from->nodes.p[i];
		if (n->op == TS_OP_param || !n->nout || !need[n->out[0]]) continue;
		if (n->loop) {
			TsNode *own = ts_memdup(a, n, sizeof *n);
			own->loop = ts_memdup(a, n->loop, sizeof *n->loop);
			own->loop->body = (TsBlock){ 0 };
			copy_block(b, &n->loop->body, need, &own->loop->body);
			n = own;
		}
		ts_push(a, &to->nodes, n);
	}
}

/* ---- sizes that a call can find ---- */

typedef struct { CoreBuilder *b; uint8_t *found; TsSym missing; CorePlace at; } Solve;

static uint32_t see_leaf(void *user, TsDimKind k, int64_t v)
{
	Solve *s = user;
	if (k != TS_DX_SYMBOL || s->found[v] || s->missing) return 0;
	TsSym name = ts_dim_symbol_info(s->b->m->dims, (uint32_t)v)->name;
	uintptr_t *kind = ts_map_find(&s->b->names, name);
	if (kind && *kind == CORE_NAME_DIM) s->missing = name;
	return 0;
}

static uint32_t see_node(void *user, TsDimKind k, uint32_t a, uint32_t b) { (void)user; (void)k; (void)a; (void)b; return 0; }

static void see(Solve *s, const TsNode *n, TsDim d)
{
	bool before = s->missing != NULL;
	ts_dim_visit(s->b->m->dims, d, &(TsDimVisitor){ s, see_leaf, see_node });
	if (!before && s->missing && n->nout) s->at = s->b->places.p[n->out[0]];
}

static void see_block(Solve *s, const TsBlock *block)
{
	for (uint32_t i = 0; i < block->nodes.n; i++) {
		const TsNode *n = block->nodes.p[i];
		const TsOpInfo *op = ts_op_info(s->b->cx, n->op);
		const TsType *t = n->op == TS_OP_param ? &ts_val(s->b->g, n->out[0])->type : NULL;
		for (int k = 0; t && k < t->rank; k++) see(s, n, t->dim[k]);
		if (n->op == TS_OP_dim) see(s, n, n->dim);
		for (uint32_t k = 0; n->attr && k < op->nattr; k++)
			for (uint32_t j = 0; !n->attr[k].none && (op->attr[k].kind == TS_A_DIM || op->attr[k].kind == TS_A_DIMS) && j < n->attr[k].n; j++) see(s, n, n->attr[k].dims[j]);
		if (n->loop) see_block(s, &n->loop->body);
	}
}

/* A call finds a size where it stands alone, or with a constant factor, in some input. */
static bool is_solved(CoreBuilder *b, const TsGraph *g)
{
	Solve s = { .b = b, .found = ts_alloc(b->m->arena, ts_dim_symbol_count(b->m->dims) + 1) };
	int64_t c;
	uint32_t k;
	for (uint32_t i = 0; i < g->params.n; i++) {
		const TsType *t = &ts_val(b->g, g->params.p[i])->type;
		for (int a = 0; a < t->rank; a++)
			if (ts_dim_is_scaled_symbol(b->m->dims, t->dim[a], &c, &k)) s.found[k] = 1;
	}
	see_block(&s, &g->body);
	if (!s.missing) return true;
	core_raise("E_UNSOLVED_DIM", "the size %s cannot be found from the inputs\n  hint: %s must stand alone, or with a constant factor, in the shape of one", s.missing, s.missing);
	core_raise_where(s.at.file, s.at.line);
	return false;
}

/* ---- arguments ---- */

static bool take_params(CoreBuilder *b, PyObject *params, TsGraph *g)
{
	if (!params || params == Py_None) {
		g->params = b->g->params;
		return true;
	}
	PyObject *ids = PySequence_Tuple(params);
	bool ok = ids != NULL;
	uint8_t *seen = ts_alloc(b->m->arena, b->g->vals.n + 1);
	for (Py_ssize_t i = 0; ok && i < PyTuple_Size(ids); i++) {
		TsVal v = core_val(b, PyTuple_GetItem(ids, i), "an entry of params");
		ok = v != 0;
		const TsNode *def = ok ? ts_val(b->g, v)->def : NULL;
		if (ok && (!def || def->op != TS_OP_param || seen[v])) ok = core_raise("E_ARGUMENTS", "an entry of params is %s", def && seen[v] ? "there twice" : "no input") != NULL;
		if (ok) seen[v] = 1;
		if (ok) ts_push(b->m->arena, &g->params, v);
	}
	Py_XDECREF(ids);
	return ok;
}

static bool name_is_free(CoreBuilder *b, TsGraph *g, TsSym name)
{
	uintptr_t *kind = ts_map_find(&b->names, name);
	bool taken = kind && *kind && *kind != CORE_NAME_PARAM;
	for (uint32_t i = 0; i < g->params.n; i++) taken |= ts_val(g, g->params.p[i])->name == name;
	for (uint32_t i = 0; i < g->result_names.n; i++) taken |= g->result_names.p[i] == name;
	if (taken) core_raise("E_ASSIGNED_TWICE", "the result '%s' has the name of something else in the graph", name);
	return !taken;
}

static bool take_results(CoreBuilder *b, PyObject *results, TsGraph *g)
{
	PyObject *items = PySequence_Tuple(results);
	bool ok = items != NULL;
	Py_ssize_t n = ok ? PyTuple_Size(items) : 0;
	if (ok && (!n || n > MOST_RESULTS)) ok = core_raise("E_ARGUMENTS", "a graph has 1 to %d results", MOST_RESULTS) != NULL;
	for (Py_ssize_t i = 0; ok && i < n; i++) {
		PyObject *pair = PyTuple_GetItem(items, i);
		ok = PyTuple_Check(pair) && PyTuple_Size(pair) == 2;
		if (!ok) { PyErr_Format(PyExc_TypeError, "results is a sequence of (name, id)"); break; }
		TsSym name = core_name(b, PyTuple_GetItem(pair, 0), "the name of a result");
		TsVal v = name ? core_val(b, PyTuple_GetItem(pair, 1), name) : 0;
		ok = v && name_is_free(b, g, name);
		if (!ok) break;
		ts_push(b->m->arena, &g->body.results, v);
		ts_push(b->m->arena, &g->result_names, name);
	}
	Py_XDECREF(items);
	return ok;
}

/* ---- printing ---- */

/* The graph's name gives way to all others, and to operators, which a graph of that name would hide. */
static TsSym graph_name(CoreBuilder *b, const TsGraph *g)
{
	TsSym name = b->g->name;
	for (bool taken = true; taken;) {
		uintptr_t *kind = ts_map_find(&b->names, name);
		taken = (kind && *kind) || ts_op_find(b->cx, name) != TS_OP_NONE;
		for (uint32_t i = 0; i < g->result_names.n; i++) taken |= g->result_names.p[i] == name;
		if (taken) name = ts_intern_fmt(b->cx, "%s_", name);
	}
	return name;
}

/* Names inside of kernels are the only ones that were not told apart when they were made: the text is read back. */
static bool reads_back(const TsBuf *text)
{
	TsDiag d = { 0 };
	uint32_t line = 0, col = 0, i = 0;
	TsCtx *cx = core_check_text(text->p, text->n, "<text>", false);
	while (ts_diag_get(cx, i, &d) && d.kind != TS_DIAG_ERROR) i++;
	bool ok = !ts_exit_code(cx);
	if (!ok && d.at.file) ts_source_line_col(cx, d.at.file, d.at.begin, &line, &col);
	if (!ok) core_raise(d.code ? d.code : "E_MEMORY", "the graph with its kernels, in line %u of its text: %s", line, d.text ? d.text : "out of memory");
	ts_ctx_free(cx);
	return ok;
}

static PyObject *print(CoreBuilder *b, TsGraph *g)
{
	TsBuf text = { 0 };
	b->m->graphs.n = 0;
	ts_push(b->m->arena, &b->m->graphs, g);
	ts_print_module(b->m, &text);
	b->printed = g;
	b->printed_names = NULL;
	PyObject *s = !b->kernels || reads_back(&text) ? PyUnicode_DecodeUTF8(text.p ? text.p : "", (Py_ssize_t)text.n, NULL) : NULL;
	ts_buf_free(&text);
	return s;
}

PyObject *core_print(CoreBuilder *b, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "results", "params", "numerics", NULL };
	PyObject *results, *params = NULL, *numerics = NULL;
	uint32_t set;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO:text", words, &results, &params, &numerics)) return NULL;
	if (b->loops.n) return core_raise("E_LOOP", "a loop of the graph is not ended");
	TsNumerics file = ts_module_new(b->cx)->numerics;
	if (!core_numerics(b, numerics, &file, &set)) return NULL;
	b->m->numerics = file;
	for (uint32_t i = 0; i < b->policies.n; i++) {
		*b->policies.p[i].num = file;
		core_fold_numerics(b->policies.p[i].num, &b->policies.p[i].values, b->policies.p[i].set);
	}
	TsGraph *g = ts_memdup(b->m->arena, b->g, sizeof *b->g);
	g->body = (TsBlock){ 0 };
	memset(&g->params, 0, sizeof g->params);
	memset(&g->result_names, 0, sizeof g->result_names);
	if (!take_params(b, params, g) || !take_results(b, results, g)) return NULL;
	g->name = graph_name(b, g);
	uint8_t *need = ts_alloc(b->m->arena, b->g->vals.n + 1);
	for (uint32_t i = 0; i < g->body.results.n; i++) need[g->body.results.p[i]] = 1;
	mark_block(b, &b->g->body, need);
	for (uint32_t i = 0; i < b->g->params.n; i++) {
		TsVal v = b->g->params.p[i];
		bool listed = false;
		for (uint32_t k = 0; k < g->params.n && !listed && need[v]; k++) listed = g->params.p[k] == v;
		if (need[v] && !listed) return core_raise("E_ARGUMENTS", "a result needs the input '%s', which params does not list", ts_val(g, v)->name);
	}
	for (uint32_t i = 0; i < g->params.n; i++) ts_push(b->m->arena, &g->body.nodes, ts_val(g, g->params.p[i])->def);
	TsBlock rest = { 0 };
	copy_block(b, &b->g->body, need, &rest);
	for (uint32_t i = 0; i < rest.nodes.n; i++) ts_push(b->m->arena, &g->body.nodes, rest.nodes.p[i]);
	return is_solved(b, g) ? print(b, g) : NULL;
}

/* ---- names in what was printed last ---- */

static void list_names(CoreBuilder *b, const TsNames *names, const TsBlock *block)
{
	for (uint32_t i = 0; i < block->nodes.n; i++) {
		const TsNode *n = block->nodes.p[i];
		for (uint32_t k = 0; k < n->nout; k++) {
			TsSym s = ts_names_of(names, n->out[k]);
			uintptr_t *v = s ? ts_map_put(b->m->arena, &b->by_name, s, NULL) : NULL;
			if (v && !*v) *v = n->out[k];
		}
		if (n->loop) list_names(b, names, &n->loop->body);
	}
}

/* The names of the last text; NULL with an exception when there is none. */
static const TsNames *last_names(CoreBuilder *b)
{
	if (!b->printed) return core_raise("E_UNKNOWN_NAME", "nothing has been printed yet"), NULL;
	if (b->printed_names) return b->printed_names;
	TsNames *names = TS_NEW(b->m->arena, TsNames);
	ts_names_make(b->m, b->printed, names);
	b->by_name = (TsMap){ 0 };
	list_names(b, names, &b->printed->body);
	return b->printed_names = names;
}

PyObject *core_where(CoreBuilder *b, PyObject *name, PyObject *unused)
{
	(void)unused;
	TsSym s = core_text(b, name, "the name of a value");
	if (!s || !last_names(b)) return NULL;
	uintptr_t *v = ts_map_find(&b->by_name, s);
	const CorePlace *p = v ? &b->places.p[*v] : NULL;
	return p && p->file ? Py_BuildValue("si", p->file, p->line) : Py_NewRef(Py_None);
}

PyObject *core_value_name(CoreBuilder *b, PyObject *id, PyObject *unused)
{
	(void)unused;
	TsVal v = core_val(b, id, "the value");
	if (!v) return NULL;
	TsSym s = ts_val(b->g, v)->name;
	const TsNames *names = !s && b->printed && v < b->printed->vals.n ? last_names(b) : NULL;
	if (names) s = ts_names_of(names, v);
	return PyUnicode_FromString(s ? s : "");
}
