/* Builder.loop_begin, loop_end, loop_abort: a compile-time `for`, one body for every iteration. What is made between is the body's. */
#include "python/core/core.h"
#include <string.h>

enum { MOST_CARRIED = 64, MOST_DEPTH = 16 };

/* ids of a sequence as values; their number, or -1 with an exception. */
static int values(CoreBuilder *b, PyObject *ids, const char *what, TsVal *out, int room)
{
	if (!ids || ids == Py_None) return 0;
	PyObject *items = PySequence_Tuple(ids);
	Py_ssize_t n = items ? PyTuple_Size(items) : -1;
	if (n > room) {
		core_raise("E_LIMIT", "%s: a loop has at most %d", what, room);
		n = -1;
	}
	for (Py_ssize_t i = 0; n >= 0 && i < n; i++)
		if (!(out[i] = core_val(b, PyTuple_GetItem(items, i), what))) n = -1;
	Py_XDECREF(items);
	return (int)n;
}

static bool few_iterations(CoreBuilder *b, int64_t trips)
{
	int64_t all = trips;
	bool ok = trips >= 0 && trips <= TS_MAX_ITERATIONS;
	for (uint32_t i = 0; ok && i < b->loops.n; i++) {
		all *= ts_for_trips(b->loops.p[i].node->loop);
		ok = all <= TS_MAX_ITERATIONS;
	}
	if (!ok) core_raise("E_LIMIT", "a loop has 0 to %d iterations, together with the loops around it", TS_MAX_ITERATIONS);
	return ok;
}

/* A name for the variable: i, or i_2 and so on where that is taken. Loops one after the other with one range share it. */
static bool loop_symbol(CoreBuilder *b, TsFor *f)
{
	f->var = ts_intern(b->cx, "i");
	for (uint32_t k = 2;; k++) {
		uintptr_t *kind = ts_map_find(&b->names, f->var);
		int64_t c;
		uint32_t which;
		TsDim d;
		bool symbol = ts_dim_find_symbol(b->m->dims, f->var, &d);   /* of a kernel's, where it has no kind */
		if (!symbol && (!kind || !*kind)) break;
		const TsDimSym *old = symbol && kind && *kind == CORE_NAME_LOOP && ts_dim_is_scaled_symbol(b->m->dims, d, &c, &which)
			? ts_dim_symbol_info(b->m->dims, which) : NULL;
		if (old && old->min == f->lo && old->max == (f->hi ? f->hi - 1 : 0) && !core_is_loop_name(b, f->var)) {
			f->symbol = d;
			return true;
		}
		f->var = ts_intern_fmt(b->cx, "i_%u", k);
	}
	if (!core_take_name(b, f->var, CORE_NAME_LOOP)) return false;
	f->symbol = ts_dim_symbol(b->m->dims, (TsDimSym){ .name = f->var, .min = f->lo, .max = f->hi ? f->hi - 1 : 0, .multiple = 1 });
	return true;
}

/* The values inside that stand for the carried ones. */
static void add_arguments(CoreBuilder *b, TsFor *f, const TsVal *init)
{
	TsVal first = b->g->vals.n;
	for (uint32_t i = 0; i < f->ncarry; i++) {
		TsType t = ts_val(b->g, init[i])->type;
		ts_push(b->m->arena, &f->body.args, b->g->vals.n);
		ts_push(b->m->arena, &b->g->vals, (TsValue){ .type = t });
	}
	core_set_place(b, first, f->ncarry, NULL, 0);
}

PyObject *core_loop_begin(CoreBuilder *b, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "trips", "carried_ids", "file", "line", NULL };
	PyObject *trips, *carried = NULL, *file = NULL;
	TsVal init[MOST_CARRIED];
	int64_t times;
	int line = 0;
	TsSym where;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|OOi:loop_begin", words, &trips, &carried, &file, &line)) return NULL;
	if (!core_int(trips, "the number of iterations", &times) || !few_iterations(b, times) || !core_file(b, file, &where)) return NULL;
	if (b->loops.n == MOST_DEPTH) return core_raise("E_LIMIT", "loops nest at most %d deep", MOST_DEPTH);
	int n = values(b, carried, "a carried value", init, MOST_CARRIED);
	if (n < 0) return NULL;
	TsFor *f = TS_NEW(b->m->arena, TsFor);
	*f = (TsFor){ .hi = times, .step = 1, .ncarry = (uint32_t)n };
	if (!loop_symbol(b, f)) return NULL;
	TsNode *node = ts_node_new(b->m, b->g, TS_OP_for, f->ncarry, init, 0);
	node->attr = ts_attrs_new(b->m, TS_OP_for);
	node->loop = f;
	ts_push(b->m->arena, &b->loops, (CoreLoop){ node, b->block, ++b->scopes, where, line });
	b->block = &f->body;
	add_arguments(b, f, init);
	PyObject *index = core_dim(b, f->symbol), *inside = core_ids(b, f->body.args.p, f->ncarry);
	if (index && inside) return Py_BuildValue("NN", index, inside);
	Py_XDECREF(index);
	Py_XDECREF(inside);
	return NULL;
}

PyObject *core_loop_end(CoreBuilder *b, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "yield_ids", "emit_ids", NULL };
	PyObject *yields, *emits = NULL;
	TsVal out[2 * MOST_CARRIED];
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:loop_end", words, &yields, &emits)) return NULL;
	if (!b->loops.n) return core_raise("E_LOOP", "no loop is open");
	CoreLoop open = b->loops.p[b->loops.n - 1];
	TsFor *f = open.node->loop;
	int ny = values(b, yields, "a yielded value", out, MOST_CARRIED);
	int ne = ny < 0 ? -1 : values(b, emits, "an emitted value", out + ny, MOST_CARRIED);
	if (ne < 0) return NULL;
	if ((uint32_t)ny != f->ncarry) return core_raise("E_ARGUMENTS", "this loop carries %u value%s, and %d %s yielded", f->ncarry, f->ncarry == 1 ? "" : "s", ny, ny == 1 ? "is" : "are");
	TsNode *n = open.node;
	TsVal first = b->g->vals.n;
	f->body.results.n = 0;
	for (int i = 0; i < ny + ne; i++) ts_push(b->m->arena, &f->body.results, out[i]);
	n->nout = (uint32_t)(ny + ne);
	n->out = TS_NEW_N(b->m->arena, TsVal, n->nout);
	for (uint32_t i = 0; i < n->nout; i++) {
		n->out[i] = b->g->vals.n;
		ts_push(b->m->arena, &b->g->vals, (TsValue){ .type = { .elem = TS_DTYPE_NONE, .accum = TS_DTYPE_NONE }, .def = n, .index = i });
	}
	if (!ts_infer(b->m, b->g, n)) {
		b->g->vals.n = first;
		return core_raise_reported(b->cx);
	}
	b->loops.n--;
	b->block = open.block;
	ts_push(b->m->arena, &b->block->nodes, n);
	core_set_place(b, first, n->nout, open.file, open.line);
	return core_ids(b, n->out, n->nout);
}

PyObject *core_loop_abort(CoreBuilder *b, PyObject *unused, PyObject *no_words)
{
	(void)unused;
	(void)no_words;
	if (!b->loops.n) return core_raise("E_LOOP", "no loop is open");
	b->block = b->loops.p[--b->loops.n].block;
	return Py_NewRef(Py_None);
}
