/* Operators on data: what was compiled for a pattern of types and sizes is found by all that the pattern says, as bytes. In a pattern sizes of 0 and
 * 1 are themselves and equal sizes share a name, as tessera/eager.py says; what of the arguments it leaves open but matters to a way (the values of
 * numbers, the very sizes) is a second part of its key. */
#include "python/core/call.h"
#include <string.h>

enum { SIZES = 32 }; /* different ones in a pattern */

typedef struct {
	PyObject_HEAD
	PyObject *ways;             /* dict: key -> Callable, or the int that says what the second part of the key is */
} CoreWays;

#define EXACT ((uint64_t)1 << 63) /* the sizes matter; bit i: the value of leaf i does */

typedef struct {
	CoreWalk walk;
	CoreArg few[CORE_ARGS], *a;
	Py_ssize_t read;
} Ask;

static PyTypeObject *ways_type;

/* ---- the key ---- */

static bool is_ready(PyObject *o)
{
	return core_is_tensor(o) || PyLong_Check(o) || PyFloat_Check(o) || core_foreign(Py_TYPE(o)).kind != CORE_KIND_OTHER;
}

/* the leaves, but for numbers that are parts of the key; 0, or CORE_REFUSED for what is better said elsewhere */
static int read_leaves(Ask *q, uint64_t parts)
{
	for (Py_ssize_t i = 0; i < q->walk.n; i++) {
		PyObject *o = q->walk.leaf[i];
		if (i < 63 && parts >> i & 1)
			continue;
		if (!is_ready(o) || core_arg_read(o, &q->a[q->read])) {
			PyErr_Clear();
			return CORE_REFUSED;
		}
		q->read++;
	}
	return 0;
}

static void drop_leaves(Ask *q)
{
	for (Py_ssize_t i = 0; i < q->read; i++)
		core_arg_drop(&q->a[i]);
	q->read = 0;
}

static int add_pattern(CoreWalk *w, const CoreArg *a, Py_ssize_t n)
{
	int64_t sizes[SIZES];
	int known = 0;
	bool placed = false;
	for (Py_ssize_t i = 0; i < n; i++) {
		const DLTensor *t = &a[i].dl;
		uint8_t what[8 + CORE_RANK] = { t->dtype.code, t->dtype.bits, (uint8_t)t->dtype.lanes, (uint8_t)t->ndim };
		if (a[i].kind == CORE_KIND_SCALAR)
			continue;
		if (t->ndim > CORE_RANK)
			return CORE_REFUSED;
		for (int k = 0; k < t->ndim; k++) {
			int s = 0;
			while (s < known && sizes[s] != t->shape[k])
				s++;
			if (t->shape[k] >= 2 && s == known) {
				if (known == SIZES)
					return CORE_REFUSED;
				sizes[known++] = t->shape[k];
			}
			what[4 + k] = (uint8_t)(t->shape[k] < 2 ? t->shape[k] : s + 2);
		}
		if (!placed && core_walk_bytes(w, core_on_host(t->device) ? "c" : "g", 1))
			return -1;
		placed = true;
		if (core_walk_bytes(w, what, 4 + t->ndim))
			return -1;
	}
	return placed ? 0 : CORE_REFUSED; /* numbers alone */
}

static int add_exact(CoreWalk *w, const CoreArg *a, Py_ssize_t n, uint64_t flags)
{
	int rc = 0;
	for (Py_ssize_t i = 0; i < w->n && i < 63 && !rc; i++)
		if (flags >> i & 1)
			rc = PyLong_Check(w->leaf[i]) || PyFloat_Check(w->leaf[i]) ? core_walk_number(w, w->leaf[i]) : CORE_REFUSED;
	for (Py_ssize_t i = 0; i < n && !rc && flags & EXACT; i++)
		if (a[i].kind != CORE_KIND_SCALAR)
			rc = core_walk_bytes(w, a[i].dl.shape, a[i].dl.ndim * (Py_ssize_t)sizeof(int64_t));
	return rc;
}

/* what, operands, attributes: the leaves and the first part of the key */
static int ask(Ask *q, PyObject *const *args, CoreNumbers numbers)
{
	CoreWalk *w = &q->walk;
	int rc = core_walk(w, args[0], CORE_NUMBERS_ARE_PARTS);
	rc = rc ? rc : core_walk(w, args[1], numbers);
	rc = rc ? rc : core_walk(w, args[2], CORE_NUMBERS_ARE_PARTS);
	if (rc)
		return rc;
	if (w->n > CORE_ARGS && !(q->a = PyMem_Malloc((size_t)w->n * sizeof *q->a))) {
		PyErr_NoMemory();
		return -1;
	}
	rc = read_leaves(q, 0);
	return rc ? rc : add_pattern(w, q->a, q->read);
}

static void begin(Ask *q)
{
	core_walk_begin(&q->walk);
	q->a = q->few;
	q->read = 0;
}

static void end(Ask *q)
{
	drop_leaves(q);
	if (q->a != q->few)
		PyMem_Free(q->a);
	core_walk_end(&q->walk);
}

/* ---- finding ---- */

static PyObject *look(CoreWays *s, const Ask *q)
{
	PyObject *key = PyBytes_FromStringAndSize((const char *)q->walk.key, q->walk.n_key);
	PyObject *way = key ? PyDict_GetItemWithError(s->ways, key) : NULL;
	Py_XDECREF(key);
	return Py_XNewRef(way);
}

/* the way for these arguments, which are read for it then. NULL: none, or an exception */
static CoreCallable *find(CoreWays *s, Ask *q)
{
	PyObject *way = look(s, q);
	if (way && PyLong_Check(way)) {
		uint64_t flags = PyLong_AsUnsignedLongLong(way);
		Py_CLEAR(way);
		if (add_exact(&q->walk, q->a, q->read, flags))
			return NULL;
		if (flags & ~EXACT) {
			drop_leaves(q);
			if (read_leaves(q, flags & ~EXACT))
				return NULL;
		}
		way = look(s, q);
	}
	if (way && !PyType_IsSubtype(Py_TYPE(way), core_callable_type))
		Py_CLEAR(way);
	return (CoreCallable *)way;
}

static PyObject *call_it(CoreCallable *c, Ask *q)
{
	int64_t few[CORE_ARGS], *dims = c->n_dims > CORE_ARGS ? PyMem_Malloc((size_t)c->n_dims * sizeof *dims) : few;
	DLDevice where;
	PyObject *out;
	if (!dims)
		return PyErr_NoMemory();
	if (core_call_fits(c, q->a, q->read, dims, &where))
		out = core_call_run(c, q->a, dims, where);
	else /* on several devices */
		out = Py_NewRef(Py_NotImplemented);
	if (dims != few)
		PyMem_Free(dims);
	return out;
}

static bool check_count(Py_ssize_t n, Py_ssize_t wanted)
{
	if (n != wanted)
		PyErr_Format(PyExc_TypeError, "wanted %zd arguments, found %zd", wanted, n);
	return n == wanted;
}

static PyObject *ways_call(CoreWays *s, PyObject *const *args, CoreNumbers numbers)
{
	Ask q;
	begin(&q);
	int rc = ask(&q, args, numbers);
	CoreCallable *c = rc ? NULL : find(s, &q);
	PyObject *out = c ? call_it(c, &q) : rc < 0 || PyErr_Occurred() ? NULL : Py_NewRef(Py_NotImplemented);
	Py_XDECREF((PyObject *)c);
	end(&q);
	return out;
}

static PyObject *run_op(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
	return check_count(n, 3) ? ways_call((CoreWays *)self, args, CORE_NUMBERS_ARE_LEAVES) : NULL;
}

static PyObject *run_function(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
	return check_count(n, 3) ? ways_call((CoreWays *)self, args, CORE_NUMBERS_ARE_PARTS) : NULL;
}

/* ---- adding ---- */

static int put(CoreWays *s, const Ask *q, PyObject *way)
{
	PyObject *key = PyBytes_FromStringAndSize((const char *)q->walk.key, q->walk.n_key);
	int rc = key ? PyDict_SetItem(s->ways, key, way) : -1;
	Py_XDECREF(key);
	return rc;
}

static PyObject *add(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
	CoreWays *s = (CoreWays *)self;
	if (!check_count(n, 6))
		return NULL;
	if (!PyType_IsSubtype(Py_TYPE(args[4]), core_callable_type))
		return PyErr_Format(PyExc_TypeError, "argument 'callable': wanted a Callable, found %R", (PyObject *)Py_TYPE(args[4]));
	int numbers = PyObject_IsTrue(args[3]);
	uint64_t flags = PyLong_AsUnsignedLongLong(args[5]);
	if (numbers < 0 || PyErr_Occurred())
		return NULL;
	Ask q;
	begin(&q);
	int rc = ask(&q, args, numbers ? CORE_NUMBERS_ARE_LEAVES : CORE_NUMBERS_ARE_PARTS);
	if (!rc && flags) {
		rc = put(s, &q, args[5]);
		rc = rc ? rc : add_exact(&q.walk, q.a, q.read, flags);
	}
	if (!rc)
		rc = put(s, &q, args[4]);
	end(&q);
	return rc < 0 ? NULL : PyBool_FromLong(!rc);
}

/* ---- the type ---- */

static PyObject *ways_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { NULL };
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Ways", words))
		return NULL;
	CoreWays *s = (CoreWays *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
	if (s && !(s->ways = PyDict_New()))
		Py_CLEAR(s);
	return (PyObject *)s;
}

static void ways_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	Py_XDECREF(((CoreWays *)self)->ways);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyObject *length(PyObject *self, void *closure)
{
	(void)closure;
	return PyLong_FromSsize_t(PyDict_Size(((CoreWays *)self)->ways));
}

static PyGetSetDef getset[] = {
	{ "entries", length, NULL, "How many keys it knows.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};
static PyMethodDef methods[] = {
	{ "run_op", (PyCFunction)(void (*)(void))run_op, METH_FASTCALL, "run_op(what, operands, attrs): the result, or NotImplemented where nothing was added for them. Numbers among "
	                                                                "the operands are arguments." },
	{ "run_function", (PyCFunction)(void (*)(void))run_function, METH_FASTCALL, "run_function(what, args, kwargs): the same, numbers being constants." },
	{ "add", (PyCFunction)(void (*)(void))add, METH_FASTCALL, "add(what, operands, attrs, numbers, callable, flags): what runs for them. numbers: whether numbers are arguments; flags: "
	                                                          "bit i: number i is a constant after all, bit 63: the way is for these very sizes. False: a key can't say it." },
	{ NULL, NULL, 0, NULL },
};
static PyType_Slot slots[] = {
	{ Py_tp_doc, "Ways(): the compiled graphs of operators on data, by the pattern of types and sizes of their operands." },
	{ Py_tp_new, ways_new },
	{ Py_tp_dealloc, ways_dealloc },
	{ Py_tp_getset, getset },
	{ Py_tp_methods, methods },
	{ 0, NULL },
};
static PyType_Spec spec = { "tessera._core.Ways", sizeof(CoreWays), 0, Py_TPFLAGS_DEFAULT, slots };

static PyMethodDef functions[] = {
	{ "add_constant_type", core_add_constant_type, METH_O, "add_constant_type(cls): objects of this class are constants of a call; they live for ever." },
	{ NULL, NULL, 0, NULL },
};

int core_ways_init(PyObject *module)
{
	ways_type = core_add_type(module, &spec);
	return ways_type && !PyModule_AddFunctions(module, functions) ? 0 : -1;
}
