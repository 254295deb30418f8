/* Builder.kernel, call_kernel: programs on tiles (docs/tg.md, Kernels) that the graph calls like operators. */
#include "python/core/core.h"
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/sema_build.h"
#include <string.h>

enum { MOST_TEXT = 1 << 20, MOST_LINES = 1 << 16, MOST_ARGS = 64 };

/* ---- the text ---- */

static bool take_lines(CoreBuilder *b, PyObject *lines, CoreKernel *k)
{
	if (!lines || lines == Py_None) return true;
	PyObject *items = PySequence_Tuple(lines);
	Py_ssize_t n = items ? PyTuple_Size(items) : -1;
	bool ok = n >= 0 && n <= MOST_LINES;
	if (!ok && items) core_raise("E_LIMIT", "the text of a kernel has at most %d lines", MOST_LINES);
	k->n = ok ? (uint32_t)n : 0;
	k->files = TS_NEW_N(b->m->arena, TsSym, k->n + 1);
	k->lines = TS_NEW_N(b->m->arena, int, k->n + 1);
	for (uint32_t i = 0; ok && i < k->n; i++) {
		PyObject *at = PyTuple_GetItem(items, (Py_ssize_t)i), *file;
		if (at == Py_None) continue;
		ok = PyTuple_Check(at) && PyArg_ParseTuple(at, "Oi", &file, &k->lines[i]) && core_file(b, file, &k->files[i]);
		if (!ok && !PyErr_Occurred()) PyErr_Format(PyExc_TypeError, "file_lines has (file, line) or None for each line");
	}
	Py_XDECREF(items);
	return ok;
}

/* Raises what was reported, with the Python place of the line as `where`. */
static PyObject *raise_at_line(CoreBuilder *b)
{
	TsDiag d = { 0 };
	const char *file = NULL;
	uint32_t line, col, i = 0;
	int python_line = 0;
	while (ts_diag_get(b->cx, i, &d) && d.kind != TS_DIAG_ERROR) i++;
	for (i = 0; d.at.file && i < b->texts.n; i++) {
		const CoreKernel *k = &b->texts.p[i];
		if (k->source != d.at.file) continue;
		ts_source_line_col(b->cx, d.at.file, d.at.begin, &line, &col);
		if (line > k->n) continue;
		file = k->files[line - 1];
		python_line = k->lines[line - 1];
	}
	core_raise_reported(b->cx);
	return core_raise_where(file, python_line);
}

static bool take_names(CoreBuilder *b, const TsTree *file)
{
	for (uint32_t i = 0; i < file->n; i++) {
		const TsTree *t = file->kid[i];
		for (uint32_t k = 0; t->kind == TS_TREE_DIMS && k < t->n; k++) {
			uintptr_t *kind = ts_map_find(&b->names, t->kid[k]->name);
			if (!(kind && *kind == CORE_NAME_DIM) && !core_take_name(b, t->kid[k]->name, CORE_NAME_DIM)) return false;
		}
		if (t->kind != TS_TREE_CONST && t->kind != TS_TREE_KERNEL) continue;
		if (ts_op_find(b->cx, t->name) != TS_OP_NONE) return core_raise("E_ASSIGNED_TWICE", "'%s' is an operator: a kernel needs another name", t->name), false;
		if (!core_take_name(b, t->name, t->kind == TS_TREE_CONST ? CORE_NAME_CONST : CORE_NAME_KERNEL)) return false;
	}
	return true;
}

static void forget_names(CoreBuilder *b, const TsTree *file)
{
	for (uint32_t i = 0; i < file->n; i++) {
		const TsTree *t = file->kid[i];
		if (t->kind == TS_TREE_CONST || t->kind == TS_TREE_KERNEL) *ts_map_put(b->m->arena, &b->names, t->name, NULL) = 0;
	}
}

static PyObject *names_of(const TsTree *file)
{
	PyObject *list = PyList_New(0), *tuple;
	for (uint32_t i = 0; list && i < file->n; i++) {
		PyObject *name = file->kid[i]->kind == TS_TREE_KERNEL ? PyUnicode_FromString(file->kid[i]->name) : Py_NewRef(Py_None);
		if (!name || (name != Py_None && PyList_Append(list, name) < 0)) Py_CLEAR(list);
		Py_XDECREF(name);
	}
	tuple = list ? PyList_AsTuple(list) : NULL;
	Py_XDECREF(list);
	return tuple;
}

/* Names of a text that was refused are free again: it took those that were free. */
static PyObject *add_text(CoreBuilder *b, TsTree *tree)
{
	TsMap *names = &b->names;
	TsTree mine = *tree;
	for (uint32_t i = 0; i < tree->n; i++) {
		TsSym name = tree->kid[i]->name;
		uintptr_t *kind = name ? ts_map_find(names, name) : NULL;
		if (kind && *kind && tree->kid[i]->kind != TS_TREE_DIMS) mine.n = i < mine.n ? i : mine.n;   /* from here on they are others' */
	}
	if (take_names(b, tree)) {
		if (!b->kernels) b->kernels = ts_kernels_new(b->m);
		if (ts_kernels_add(b->kernels, tree)) return names_of(tree);
		raise_at_line(b);
	}
	forget_names(b, &mine);
	return NULL;
}

PyObject *core_kernel(CoreBuilder *b, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "text", "file_lines", NULL };
	PyObject *text, *lines = NULL;
	CoreKernel k = { 0 };
	size_t size;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:kernel", words, &text, &lines)) return NULL;
	TsSym s = core_text(b, text, "the text of a kernel");
	if (!s || !take_lines(b, lines, &k)) return NULL;
	if (strlen(s) > MOST_TEXT) return core_raise("E_LIMIT", "the text of a kernel has at most %d bytes", MOST_TEXT);
	for (uint32_t i = 0; i < b->texts.n; i++)      /* a second time is none */
		if (b->texts.p[i].tree && !strcmp(ts_source_text(b->cx, b->texts.p[i].source, &size), s)) return names_of(b->texts.p[i].tree);
	k.source = ts_source_add(b->cx, "<kernel>", s, strlen(s));
	ts_push(b->m->arena, &b->texts, k);
	TsTree *tree = ts_parse(b->cx, k.source);
	PyObject *names = tree ? add_text(b, tree) : raise_at_line(b);
	if (names) b->texts.p[b->texts.n - 1].tree = tree;
	else b->texts.n--;
	return names;
}

/* ---- calls ---- */

static int arguments(CoreBuilder *b, TsSym name, PyObject *inputs, TsKernelArg *arg)
{
	PyObject *items = PySequence_Tuple(inputs);
	Py_ssize_t n = items ? PyTuple_Size(items) : -1;
	if (n > MOST_ARGS) {
		core_raise("E_ARGUMENTS", "'%s' takes at most %d arguments", name, MOST_ARGS);
		n = -1;
	}
	for (Py_ssize_t i = 0; n >= 0 && i < n; i++) {
		PyObject *o = PyTuple_GetItem(items, i);
		arg[i] = (TsKernelArg){ .is_float = PyFloat_Check(o) != 0 };
		if (arg[i].is_float) arg[i].f = PyFloat_AsDouble(o);
		else if (!(arg[i].v = core_val(b, o, ts_printf(b->m->arena, "%s: operand %zd", name, i)))) n = -1;
	}
	Py_XDECREF(items);
	return (int)n;
}

PyObject *core_call_kernel(CoreBuilder *b, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "name", "inputs", "file", "line", "numerics", NULL };
	PyObject *name, *inputs, *file = NULL, *numerics = NULL;
	int line = 0;
	uint32_t set = 0;
	TsKernelArg arg[MOST_ARGS];
	TsNumerics values = b->m->numerics;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|OiO:call_kernel", words, &name, &inputs, &file, &line, &numerics)) return NULL;
	TsSym s = core_text(b, name, "the name of a kernel"), where = NULL;
	if (!s || !core_file(b, file, &where) || !core_numerics(b, numerics, &values, &set)) return NULL;
	if (!b->kernels) return core_raise("E_UNKNOWN_NAME", "no kernel named '%s'", s);
	int n = arguments(b, s, inputs, arg);
	if (n < 0) return NULL;
	TsVal first = b->g->vals.n;
	TsNode *node = ts_kernels_call(b->kernels, b->g, b->block, s, (uint32_t)n, arg, core_policy(b, &values, set), (TsSpan){ 0 });
	if (node) return core_added(b, first, node, where, line);
	core_set_place(b, first, b->g->vals.n - first, where, line);
	return raise_at_line(b);
}
