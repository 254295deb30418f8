/* Builder: one module with one graph that grows by calls. */
#include "python/core/core.h"
#include "frontend/graph_text/lexer.h"
#include <string.h>

PyTypeObject *core_builder_type;
enum { MOST_NAME = 4096 };

/* ---- entering and leaving ---- */

typedef struct { CoreBuilder *b; CoreBody body; PyObject *args, *kwargs, *result; } Enter;

static void enter_guarded(void *user)
{
	Enter *e = user;
	e->result = e->body(e->b, e->args, e->kwargs);
}

/* nested: a call from inside of another one of the same thread, by an argument's own code. The guards then lie within each other. */
static PyObject *enter(CoreBuilder *b, CoreBody body, PyObject *args, PyObject *kwargs, bool nested)
{
	Enter e = { b, body, args, kwargs, NULL };
	Py_INCREF((PyObject *)b);
	bool done = ts_guard(b->cx, enter_guarded, &e);
	if (!done) {
		b->broken = true;
		e.result = NULL;
		PyErr_Clear();
		core_raise_reported(b->cx);
	} else if (!e.result && !PyErr_Occurred()) {
		core_raise_reported(b->cx);
	}
	ts_diag_reset(b->cx);
	b->busy = nested;
	Py_DECREF((PyObject *)b);
	return e.result;
}

static PyObject *refuse(const CoreBuilder *b)
{
	return PyErr_Format(PyExc_RuntimeError, b->busy ? "this graph is in use by another call" : "this graph failed before and is of no use any more"), NULL;
}

PyObject *core_enter(CoreBuilder *b, CoreBody body, PyObject *args, PyObject *kwargs)
{
	if (b->broken || b->busy) return refuse(b);
	b->busy = true;
	b->owner = PyThread_get_thread_ident();
	return enter(b, body, args, kwargs, false);
}

PyObject *core_enter_size(CoreBuilder *b, CoreBody body, PyObject *args, PyObject *kwargs)
{
	if (!b->broken && b->busy && b->owner == PyThread_get_thread_ident()) return enter(b, body, args, kwargs, true);
	return core_enter(b, body, args, kwargs);
}

/* ---- arguments ---- */

TsSym core_text(CoreBuilder *b, PyObject *o, const char *what)
{
	Py_ssize_t n;
	if (!PyUnicode_Check(o)) {
		PyErr_Format(PyExc_TypeError, "%s is a string", what);
		return NULL;
	}
	const char *s = PyUnicode_AsUTF8AndSize(o, &n);
	if (!s) return NULL;
	if (memchr(s, 0, (size_t)n)) {
		PyErr_Format(PyExc_ValueError, "%s has a NUL byte", what);
		return NULL;
	}
	return ts_intern_n(b->cx, s, (size_t)n);
}

TsSym core_name(CoreBuilder *b, PyObject *o, const char *what)
{
	TsSym s = core_text(b, o, what);
	if (!s) return NULL;
	bool ok = *s && strlen(s) <= MOST_NAME && strcmp(s, "_") != 0;
	for (const char *c = s; ok && *c; c++) ok = (unsigned char)*c >= 32 && *c != '`';
	if (!ok) core_raise("E_SYNTAX", "%s: a name is 1 to %d bytes without backticks and control characters, and not '_'", what, MOST_NAME);
	return ok ? s : NULL;
}

bool core_dtype(PyObject *o, TsDtype *out)
{
	Py_ssize_t n;
	const char *s = PyUnicode_Check(o) ? PyUnicode_AsUTF8AndSize(o, &n) : NULL;
	if (!s && PyErr_Occurred()) return false;
	if (!s) return PyErr_Format(PyExc_TypeError, "an element type is a string such as 'f32'"), false;
	if (strlen(s) == (size_t)n && ts_dtype_find(s, out)) return true;
	core_raise("E_TYPE", "no element type '%.40s'", s);
	return false;
}

bool core_int(PyObject *o, const char *what, int64_t *out)
{
	int overflow = 0;
	if (!PyIndex_Check(o)) return PyErr_Format(PyExc_TypeError, "%s is an int", what), false;
	PyObject *i = PyNumber_Index(o);
	if (!i) return false;
	long long v = PyLong_AsLongLongAndOverflow(i, &overflow);
	Py_DECREF(i);
	if (overflow) core_raise("E_SIZE", "%s is out of range", what);
	*out = v;
	return !overflow && !PyErr_Occurred();
}

/* ---- names ---- */

bool core_is_loop_name(CoreBuilder *b, TsSym name)
{
	for (uint32_t i = 0; i < b->loops.n; i++)
		if (b->loops.p[i].node->loop->var == name) return true;
	return false;
}

bool core_take_name(CoreBuilder *b, TsSym name, int kind)
{
	bool fresh;
	uintptr_t *have = ts_map_put(b->m->arena, &b->names, name, &fresh);
	if (!fresh && *have) {
		static const char *const words[] = { "", "a size", "an input", "a set of weights", "the variable of a loop", "a kernel", "a constant of a kernel" };
		core_raise("E_ASSIGNED_TWICE", "'%s' names %s already", name, words[*have]);
		return false;
	}
	*have = (uintptr_t)kind;
	return true;
}

/* ---- values ---- */

PyObject *core_id(CoreBuilder *b, TsVal v) { return PyLong_FromUnsignedLongLong((uint64_t)b->serial << 32 | v); }

PyObject *core_ids(CoreBuilder *b, const TsVal *v, uint32_t n)
{
	PyObject *t = PyTuple_New(n);
	for (uint32_t i = 0; t && i < n; i++) {
		PyObject *id = core_id(b, v[i]);
		if (!id || PyTuple_SetItem(t, (Py_ssize_t)i, id) < 0) Py_CLEAR(t);
	}
	return t;
}

TsVal core_val(CoreBuilder *b, PyObject *id, const char *what)
{
	if (!PyLong_Check(id) || PyBool_Check(id)) {
		PyErr_Format(PyExc_TypeError, "%s is the id of a value", what);
		return 0;
	}
	int overflow = 0;
	long long i = PyLong_AsLongLongAndOverflow(id, &overflow);
	TsVal v = (TsVal)i;
	if (overflow || i <= 0 || (uint64_t)i >> 32 != b->serial || !v || v >= b->g->vals.n) {
		core_raise("E_UNKNOWN_NAME", "%s is no value of this graph", what);
		return 0;
	}
	uint32_t scope = b->places.p[v].scope;
	bool visible = !scope;
	for (uint32_t k = 0; k < b->loops.n; k++) visible |= b->loops.p[k].scope == scope;
	if (!visible) core_raise("E_UNKNOWN_NAME", "%s is a value of a loop that is over", what);
	return visible ? v : 0;
}

void core_set_place(CoreBuilder *b, TsVal v, uint32_t n, TsSym file, int line)
{
	uint32_t scope = b->loops.n ? b->loops.p[b->loops.n - 1].scope : 0;
	if (b->places.n > v) b->places.n = v;
	while (b->places.n < v) ts_push(b->m->arena, &b->places, (CorePlace){ 0 });
	for (uint32_t i = 0; i < n; i++) ts_push(b->m->arena, &b->places, (CorePlace){ file, line, scope });
}

static PyObject *type_in(CoreBuilder *b, PyObject *id, PyObject *unused)
{
	(void)unused;
	TsVal v = core_val(b, id, "the value");
	if (!v) return NULL;
	const TsType t = ts_val(b->g, v)->type;
	PyObject *dims = PyTuple_New(t.rank);
	for (int i = 0; dims && i < t.rank; i++) {
		PyObject *d = core_dim(b, t.dim[i]);
		if (!d || PyTuple_SetItem(dims, i, d) < 0) Py_CLEAR(dims);
	}
	return dims ? Py_BuildValue("sNz", ts_dtype_name(t.elem), dims, t.accum == TS_DTYPE_NONE ? NULL : ts_dtype_name(t.accum)) : NULL;
}

/* ---- sizes and inputs ---- */

static PyObject *dim_in(CoreBuilder *b, PyObject *size, PyObject *unused)
{
	(void)unused;
	TsDim d;
	return core_size(b, size, "a size", &d) ? core_dim(b, d) : NULL;
}

static PyObject *declare_in(CoreBuilder *b, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "name", "min", "max", "multiple_of", NULL };
	PyObject *name, *min = NULL, *max = NULL, *multiple = NULL;
	int64_t lo = 1, hi = INT64_MAX, step = 1;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|OOO:declare", words, &name, &min, &max, &multiple)) return NULL;
	TsSym s = core_text(b, name, "the name of a size");
	if (!s || (min && min != Py_None && !core_int(min, "min", &lo)) || (max && max != Py_None && !core_int(max, "max", &hi))
		|| (multiple && multiple != Py_None && !core_int(multiple, "multiple_of", &step))) return NULL;
	TsDim d;
	if (!core_declare(b, s, lo, hi, step) || !ts_dim_find_symbol(b->m->dims, s, &d)) return NULL;
	return core_dim(b, d);
}

bool core_file(CoreBuilder *b, PyObject *file, TsSym *out)
{
	*out = NULL;
	if (!file || file == Py_None) return true;
	return (*out = core_text(b, file, "file")) != NULL;
}

bool core_type(CoreBuilder *b, PyObject *dtype, PyObject *dims, PyObject *accum, const char *what, TsType *out)
{
	*out = (TsType){ .accum = TS_DTYPE_NONE };
	if (!core_dtype(dtype, &out->elem) || (accum && accum != Py_None && !core_dtype(accum, &out->accum)) || !core_shape(b, dims, what, &out->rank, out->dim)) return false;
	int64_t lo = 1, hi;
	bool empty = false;
	for (int i = 0; i < out->rank; i++) {
		ts_dim_range(b->m->dims, out->dim[i], &lo, &hi);
		empty |= lo <= 0;
	}
	TsDim n = ts_type_count(b->m, out);
	if (n != TS_DIM_BAD) ts_dim_range(b->m->dims, n, &lo, &hi);
	if (empty || (n != TS_DIM_BAD && lo <= INT64_C(1) << 62)) return true;
	core_raise("E_SIZE", "%s: a tensor has at most 2^62 elements", what);
	return false;
}

static PyObject *param_in(CoreBuilder *b, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "name", "dtype", "dims", "accum", "file", "line", NULL };
	PyObject *name, *dtype, *dims, *accum = NULL, *file = NULL;
	int line = 0;
	TsType type;
	TsSym where;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO|OOi:param", words, &name, &dtype, &dims, &accum, &file, &line)) return NULL;
	TsSym s = core_name(b, name, "the name of an input");
	if (!s || !core_file(b, file, &where) || !core_type(b, dtype, dims, accum, s, &type) || !core_take_name(b, s, CORE_NAME_PARAM)) return NULL;
	TsVal v = ts_add_param(b->m, b->g, s, type, (TsSpan){ 0 });
	core_set_place(b, v, 1, where, line);
	b->places.p[v].scope = 0;      /* an input is one for the whole graph, wherever it is declared */
	return core_id(b, v);
}

#define WITH_WORDS(name, body) \
	static PyObject *builder_##name(PyObject *self, PyObject *args, PyObject *kwargs) { return core_enter((CoreBuilder *)self, body, args, kwargs); }
#define WITH_ONE(name, body) static PyObject *builder_##name(PyObject *self, PyObject *one) { return core_enter((CoreBuilder *)self, body, one, NULL); }
WITH_WORDS(op, core_op)
WITH_WORDS(const, core_const)
WITH_WORDS(scalar, core_scalar)
WITH_WORDS(weight, core_weight)
WITH_WORDS(weights_file, core_weights_file)
WITH_WORDS(loop_begin, core_loop_begin)
WITH_WORDS(loop_end, core_loop_end)
WITH_WORDS(kernel, core_kernel)
WITH_WORDS(call_kernel, core_call_kernel)
WITH_WORDS(text, core_print)
WITH_WORDS(param, param_in)
WITH_WORDS(declare, declare_in)
static PyObject *builder_dim(PyObject *self, PyObject *size) { return core_enter_size((CoreBuilder *)self, dim_in, size, NULL); }
WITH_ONE(dim_value, core_dim_value)
WITH_ONE(type, type_in)
WITH_ONE(where, core_where)
WITH_ONE(name, core_value_name)
WITH_ONE(loop_abort, core_loop_abort)

/* ---- the object ---- */

static PyObject *start_in(CoreBuilder *b, PyObject *name, PyObject *unused)
{
	(void)unused;
	TsSym s = name ? core_name(b, name, "the name of a graph") : ts_intern(b->cx, "f");
	if (!s) return NULL;
	b->m = ts_module_new(b->cx);
	b->m->name = s;
	b->m->path = s;
	b->g = ts_graph_new(b->m, s);
	b->block = &b->g->body;
	ts_push(b->m->arena, &b->places, (CorePlace){ 0 });
	return Py_NewRef(Py_None);
}

static PyObject *builder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "name", NULL };
	static uint32_t serials;       /* the GIL is held */
	PyObject *name = NULL;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Builder", words, &name)) return NULL;
	CoreBuilder *b = PyObject_New(CoreBuilder, type);
	if (!b) return NULL;
	memset((char *)b + sizeof(PyObject), 0, sizeof *b - sizeof(PyObject));
	serials = serials == INT32_MAX ? 1 : serials + 1;
	b->serial = serials;
	b->cx = ts_ctx_new();
	PyObject *ok = core_enter(b, start_in, name, NULL);
	if (!ok) { Py_DECREF((PyObject *)b); return NULL; }
	Py_DECREF(ok);
	return (PyObject *)b;
}

static void builder_free(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	ts_ctx_free(((CoreBuilder *)self)->cx);
	PyObject_Free(self);
	Py_DECREF((PyObject *)type);
}

#define WORDS (METH_VARARGS | METH_KEYWORDS)
#define METHOD(f) ((PyCFunction)(void (*)(void))f)
static PyMethodDef methods[] = {
	{ "dim", builder_dim, METH_O, "dim(size)\n--\n\nA size from text such as '3*D', an int or a Dim; new names are declared." },
	{ "declare", METHOD(builder_declare), WORDS, "declare(name, min=1, max=None, multiple_of=1)\n--\n\nDeclares the name of a size and what is known of it." },
	{ "param", METHOD(builder_param), WORDS, "param(name, dtype, dims, accum=None, file=None, line=0)\n--\n\nAdds an input; its id." },
	{ "const", METHOD(builder_const), WORDS, "const(dtype, shape, buffer)\n--\n\nA literal out of its elements' bytes, compact and in row order." },
	{ "scalar", METHOD(builder_scalar), WORDS, "scalar(dtype, value)\n--\n\nA literal of rank 0, which must fit its type." },
	{ "dim_value", builder_dim_value, METH_O, "dim_value(size)\n--\n\nA size as a value, int64[]." },
	{ "weight", METHOD(builder_weight), WORDS, "weight(set, name, dtype, dims)\n--\n\nA tensor of a set of weights; {i} in its name is the variable of an open loop." },
	{ "weights_file", METHOD(builder_weights_file), WORDS, "weights_file(set, path)\n--\n\nOne more file that holds the set, as the text is to write it." },
	{ "op", METHOD(builder_op), WORDS, "op(name, inputs, attrs=None, file=None, line=0, numerics=None)\n--\n\nAdds an operator; the ids of its results." },
	{ "loop_begin", METHOD(builder_loop_begin), WORDS, "loop_begin(trips, carried_ids=(), file=None, line=0)\n--\n\nOpens a loop: (its variable, the carried values inside)." },
	{ "loop_end", METHOD(builder_loop_end), WORDS, "loop_end(yield_ids, emit_ids=())\n--\n\nEnds the innermost loop: ids of the carried values, then of the emitted ones "
		"stacked. When it raises, the loop is still open." },
	{ "loop_abort", builder_loop_abort, METH_NOARGS, "loop_abort()\n--\n\nDrops the innermost loop with all that is in it." },
	{ "kernel", METHOD(builder_kernel), WORDS, "kernel(text, file_lines=None)\n--\n\nChecks `kernel` items, with the dims and consts that they name, and keeps them for calls; their names. "
		"file_lines: (file, line) for each line of the text." },
	{ "call_kernel", METHOD(builder_call_kernel), WORDS, "call_kernel(name, inputs, file=None, line=0, numerics=None)\n--\n\nCalls a kernel on values and numbers; the ids of its results." },
	{ "type", builder_type, METH_O, "type(id)\n--\n\n(dtype, dims, accum) of a value." },
	{ "name", builder_name, METH_O, "name(id)\n--\n\nAn input's name, or what the last text calls the value; '' when it has none." },
	{ "where", builder_where, METH_O, "where(name)\n--\n\n(file, line) of what made the value of that name in the last text, or None." },
	{ "text", METHOD(builder_text), WORDS, "text(results, params=None, numerics=None)\n--\n\nThe canonical .tg of what the results [(name, id)] need." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot slots[] = {
	{ Py_tp_doc, "Builder(name='f')\n--\n\nA graph under construction. Values are ints of this builder; shapes and types are the compiler's." },
	{ Py_tp_new, builder_new },
	{ Py_tp_dealloc, builder_free },
	{ Py_tp_methods, methods },
	{ 0, NULL },
};
static PyType_Spec spec = { "tessera._core.Builder", sizeof(CoreBuilder), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, slots };

static PyMethodDef functions[] = {
	{ "ops", core_ops, METH_NOARGS, "ops()\n--\n\nThe operator table: a dict for each operator." },
	{ "dtypes", core_dtypes, METH_NOARGS, "dtypes()\n--\n\nThe element types: (name, kind, bits, whether operators compute in it)." },
	{ "archs", core_archs, METH_NOARGS, "archs()\n--\n\nThe GPU architectures that the compiler makes code for, oldest first." },
	{ "targets", core_targets, METH_NOARGS, "targets()\n--\n\nThe targets of Tile IR: (name, bytes of shared memory that a CTA may use)." },
	{ "check", METHOD(core_check), WORDS, "check(text, filename='<text>', weights=False)\n--\n\nWhat the front end says of a .tg text: (severity, code, line, column, text) "
		"each. Without weights, files of weights are not opened." },
	{ "same_size", core_same_size, METH_VARARGS, "same_size(a, b)\n--\n\nWhether two sizes are one number or one expression of one graph; unlike a == b, which raises "
		"where that cannot be decided." },
	{ "format", core_format, METH_O, "format(text)\n--\n\nA .tg or .tile text in standard form." },
	{ NULL, NULL, 0, NULL },
};

int core_graph_init(PyObject *module)
{
	core_builder_type = (PyTypeObject *)PyType_FromSpec(&spec);
	if (!core_dim_init() || !core_builder_type || PyModule_AddFunctions(module, functions) < 0) return -1;
	return PyModule_AddType(module, core_dim_type) < 0 || PyModule_AddType(module, core_builder_type) < 0 ? -1 : 0;
}
