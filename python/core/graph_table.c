/* The compiler's tables as Python data, and its front end on texts. */
#include "python/core/core.h"
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/print.h"
#include "frontend/graph_text/sema.h"
#include "ir/infer.h"
#include "ir/op_page.h"
#include "ir/weights.h"
#include <string.h>

/* ---- the operator table ---- */

/* Puts a new reference into a dict, and drops it. */
static bool put(PyObject *dict, const char *key, PyObject *value)
{
	bool ok = value && PyDict_SetItemString(dict, key, value) == 0;
	Py_XDECREF(value);
	return ok;
}

static bool add(PyObject *list, PyObject *value)
{
	bool ok = value && PyList_Append(list, value) == 0;
	Py_XDECREF(value);
	return ok;
}

static PyObject *default_of(const TsAttrInfo *a)
{
	if (a->required || a->none_default) return Py_NewRef(Py_None);
	switch (a->kind) {
	case TS_A_INT: case TS_A_INTS: case TS_A_DIM: case TS_A_DIMS: return PyLong_FromDouble(a->num);
	case TS_A_FLOAT: return PyFloat_FromDouble(a->num);
	case TS_A_BOOL: return PyBool_FromLong(a->num != 0);
	default: return PyUnicode_FromString(a->text);
	}
}

static PyObject *choices_of(const TsAttrInfo *a)
{
	PyObject *text = PyUnicode_FromString(a->choices ? a->choices : ""), *bar = PyUnicode_FromString("|");
	PyObject *list = !text || !bar ? NULL : a->choices ? PyUnicode_Split(text, bar, -1) : PyList_New(0), *tuple = list ? PyList_AsTuple(list) : NULL;
	Py_XDECREF(text);
	Py_XDECREF(bar);
	Py_XDECREF(list);
	return tuple;
}

static PyObject *attr_of(const TsAttrInfo *a)
{
	static const char *const kinds[] = { [TS_A_INT] = "int", [TS_A_FLOAT] = "float", [TS_A_BOOL] = "bool", [TS_A_ENUM] = "enum", [TS_A_DTYPE] = "dtype",
		[TS_A_INTS] = "ints", [TS_A_DIM] = "dim", [TS_A_DIMS] = "dims" };
	PyObject *value = default_of(a), *choices = choices_of(a);
	if (value && choices) return Py_BuildValue("ssNNN", a->name, kinds[a->kind], PyBool_FromLong(a->required), value, choices);
	Py_XDECREF(value);
	Py_XDECREF(choices);
	return NULL;
}

static PyObject *flags_of(uint32_t flags)
{
	static const char *const names[] = { "pure", "comm", "assoc", "idempotent", "linear", "involution", "broadcast", "tile" };
	PyObject *list = PyList_New(0), *tuple;
	for (uint32_t i = 0; list && i < sizeof names / sizeof *names; i++)
		if (flags >> i & 1 && !add(list, PyUnicode_FromString(names[i]))) Py_CLEAR(list);
	tuple = list ? PyList_AsTuple(list) : NULL;
	Py_XDECREF(list);
	return tuple;
}

static PyObject *types_of(uint32_t types)
{
	PyObject *list = PyList_New(0), *tuple;
	for (int t = 0; list && t < TS_DTYPE_COUNT; t++)
		if (ti_type_set((TsDtype)t) & types && !add(list, PyUnicode_FromString(ts_dtype_name((TsDtype)t)))) Py_CLEAR(list);
	tuple = list ? PyList_AsTuple(list) : NULL;
	Py_XDECREF(list);
	return tuple;
}

static PyObject *op_of(const TsOpInfo *op)
{
	static const char *const classes[] = { [TS_CLS_LEAF] = "leaf", [TS_CLS_POINTWISE] = "pointwise", [TS_CLS_REDUCE] = "reduce", [TS_CLS_ROW] = "row", [TS_CLS_CONTRACT] = "contract",
		[TS_CLS_ATTENTION] = "attention", [TS_CLS_VIEW] = "view", [TS_CLS_MOVE] = "move", [TS_CLS_GATHER] = "gather", [TS_CLS_RANDOM] = "random", [TS_CLS_CONTROL] = "control",
		[TS_CLS_NONE] = "none" };
	PyObject *d = PyDict_New(), *operands = PyList_New(0), *attrs = PyList_New(0);
	TsBuf signature = { 0 };
	ts_op_signature(op, &signature);
	bool ok = d && operands && attrs;
	for (uint32_t i = 0; ok && i < op->nin; i++) ok = add(operands, Py_BuildValue("sN", op->in[i], PyBool_FromLong(i >= op->min_in && !op->variadic)));
	for (uint32_t i = 0; ok && i < op->nattr; i++) ok = add(attrs, attr_of(&op->attr[i]));
	ok = ok && put(d, "name", PyUnicode_FromString(op->name)) && put(d, "doc", PyUnicode_FromString(op->doc)) && put(d, "signature", PyUnicode_FromString(signature.p))
		&& put(d, "variadic", PyBool_FromLong(op->variadic)) && put(d, "cls", PyUnicode_FromString(classes[op->cls])) && put(d, "types", types_of(op->types))
		&& put(d, "flags", flags_of(op->flags)) && put(d, "bound", PyUnicode_FromString(op->bound)) && put(d, "operands", PyList_AsTuple(operands)) && put(d, "attrs", PyList_AsTuple(attrs));
	ts_buf_free(&signature);
	Py_XDECREF(operands);
	Py_XDECREF(attrs);
	if (!ok) Py_CLEAR(d);
	return d;
}

PyObject *core_ops(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	TsCtx *cx = ts_ctx_new();
	PyObject *list = PyList_New(0);
	for (int op = 1; list && op < TS_OP_COUNT; op++)
		if (!add(list, op_of(ts_op_info(cx, (TsOp)op)))) Py_CLEAR(list);
	ts_ctx_free(cx);
	return list;
}

PyObject *core_dtypes(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	PyObject *list = PyList_New(0);
	for (int i = 0; list && i < TS_DTYPE_COUNT; i++) {
		static const char kinds[] = {
#define TS_DTYPE(id, name, kind, bits, compute) #kind[0],
#include "ir/dtypes.def"
		};
		char kind[] = { kinds[i], 0 };
		TsDtype t = (TsDtype)i;
		if (!add(list, Py_BuildValue("ssiN", ts_dtype_name(t), kind, ts_dtype_bits(t), PyBool_FromLong(ts_dtype_is_compute(t))))) Py_CLEAR(list);
	}
	return list;
}

/* ---- texts ---- */

typedef struct { TsCtx *cx; const char *text, *name; size_t size; bool weights, ok; TsBuf out; } Work;

/* What a manifest lists is all there is to know of a set, where its files are not to be opened. */
static void forget_files(TsTree *file)
{
	for (uint32_t i = 0; i < file->n; i++)
		if (file->kid[i]->kind == TS_TREE_WEIGHTS && file->kid[i]->kid[2]) file->kid[i]->kid[0] = NULL;
}

static void check(void *user)
{
	Work *w = user;
	TsTree *t = ts_parse(w->cx, ts_source_add(w->cx, w->name, w->text, w->size));
	if (t && !w->weights) forget_files(t);
	TsModule *m = t ? ts_module_from_tree(w->cx, t, w->name, NULL) : NULL;
	if (m) ts_verify(m, "the text");
	for (uint32_t i = 0; m && i < m->weights.n; i++) ts_weights_close(&m->weights.p[i]);
}

static void format(void *user)
{
	Work *w = user;
	w->ok = ts_fmt(w->cx, ts_source_add(w->cx, "<text>", w->text, w->size), &w->out);
}

TsCtx *core_check_text(const char *text, size_t size, const char *name, bool weights)
{
	Work w = { .cx = ts_ctx_new(), .text = text, .size = size, .name = name, .weights = weights };
	ts_guard(w.cx, check, &w);
	return w.cx;
}

/* Runs fn without the GIL: it sees the context of *w and no Python object. */
static void without_gil(Work *w, void (*fn)(void *))
{
	w->cx = ts_ctx_new();
	Py_BEGIN_ALLOW_THREADS
	ts_guard(w->cx, fn, w);
	Py_END_ALLOW_THREADS
}

static bool text_arg(PyObject *o, Work *w)
{
	Py_ssize_t n;
	if (!PyUnicode_Check(o)) return PyErr_Format(PyExc_TypeError, "a text is a string"), false;
	w->text = PyUnicode_AsUTF8AndSize(o, &n);
	w->size = (size_t)n;
	if (w->text && n > INT32_MAX) return PyErr_Format(PyExc_ValueError, "a text has at most 2^31 bytes"), false;
	return w->text != NULL;
}

static PyObject *diagnostic(const TsCtx *cx, const TsDiag *d)
{
	static const char *const words[] = { "error", "warning", "note", "hint" };
	uint32_t line = 0, col = 0;
	if (d->at.file) ts_source_line_col(cx, d->at.file, d->at.begin, &line, &col);
	PyObject *text = PyUnicode_DecodeUTF8(d->text, (Py_ssize_t)strlen(d->text), "replace");
	return text ? Py_BuildValue("ssIIN", words[d->kind], d->code ? d->code : "", line, col, text) : NULL;
}

PyObject *core_check(PyObject *module, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "text", "filename", "weights", NULL };
	Work w = { .name = "<text>" };
	PyObject *text;
	int weights = 0;
	TsDiag d;
	(void)module;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|sp:check", words, &text, &w.name, &weights) || !text_arg(text, &w)) return NULL;
	w.weights = weights;
	without_gil(&w, check);
	PyObject *list = PyList_New(0);
	for (uint32_t i = 0; list && ts_diag_get(w.cx, i, &d); i++)
		if (!add(list, diagnostic(w.cx, &d))) Py_CLEAR(list);
	if (list && ts_exit_code(w.cx) && !PyList_Size(list)) {
		Py_CLEAR(list);
		PyErr_NoMemory();
	}
	ts_ctx_free(w.cx);
	return list;
}

PyObject *core_format(PyObject *module, PyObject *text)
{
	Work w = { 0 };
	PyObject *r = NULL;
	(void)module;
	if (!text_arg(text, &w)) return NULL;
	without_gil(&w, format);
	if (w.ok) r = PyUnicode_DecodeUTF8(w.out.p ? w.out.p : "", (Py_ssize_t)w.out.n, "replace");
	else core_raise_reported(w.cx);
	ts_buf_free(&w.out);
	ts_ctx_free(w.cx);
	return r;
}

PyObject *core_archs(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	PyObject *list = PyList_New(0);
#define TS_TARGET(name, kind, triple, ...) if (list && !strncmp(name, "sm_", 3) && !add(list, PyUnicode_FromString(name))) Py_CLEAR(list);
#include "backend/llvm/targets.def"
	return list;
}

PyObject *core_targets(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	PyObject *list = PyList_New(0);
#define TILE_TARGET(name, cls, warp, simd, threads, regs, shared, bars) if (list && !add(list, Py_BuildValue("si", name, shared))) Py_CLEAR(list);
#include "ir/tile_targets.def"
	return list;
}
