/* One function compiled several ways: the first that takes the arguments is called; where none does, the package is asked for another. */
#include "python/core/call.h"
#include <string.h>

typedef struct { CoreCallable *callable; DLDeviceType where; } Entry;
typedef struct {
	PyObject_HEAD
	PyObject *miss;
	Entry *entry;               /* the one that was called last first */
	Py_ssize_t n, room;
	int most_dims;
	uint64_t no_numbers;        /* bit i: argument i is never a Python number */
} CoreDispatcher;

static PyTypeObject *dispatcher_type;

static DLDeviceType place_of(DLDevice d) { return core_on_host(d) ? kDLCPU : kDLCUDA; }

/* room: of dims; reading arguments may have run Python, which may have added entries with more */
static CoreCallable *find(CoreDispatcher *d, const CoreArg *a, Py_ssize_t n, int64_t *dims, int room, DLDevice *where)
{
	for (Py_ssize_t i = 0; i < d->n; i++) {
		Entry e = d->entry[i];
		if (e.callable->n_dims > room || !core_call_fits(e.callable, a, n, dims, where) || place_of(*where) != e.where)
			continue;
		memmove(d->entry + 1, d->entry, (size_t)i * sizeof e);
		d->entry[0] = e;
		return e.callable;
	}
	return NULL;
}

static int add_entry(CoreDispatcher *d, CoreCallable *c, DLDevice where)
{
	if (d->n == d->room) {
		Entry *more = PyMem_Realloc(d->entry, (size_t)(d->room * 2 + 4) * sizeof *more);
		if (!more) {
			PyErr_NoMemory();
			return -1;
		}
		d->entry = more;
		d->room = d->room * 2 + 4;
	}
	memmove(d->entry + 1, d->entry, (size_t)d->n * sizeof *d->entry);
	d->entry[0] = (Entry){ (CoreCallable *)Py_NewRef((PyObject *)c), place_of(where) };
	d->n++;
	d->most_dims = c->n_dims > d->most_dims ? c->n_dims : d->most_dims;
	return 0;
}

/* a callable that was just made is called as such, with all that it says about wrong arguments */
static PyObject *missed(CoreDispatcher *d, PyObject *args, const CoreArg *a, Py_ssize_t n)
{
	DLDevice where = { kDLCPU, 0 };
	PyObject *miss = Py_NewRef(d->miss), *made = PyObject_CallFunctionObjArgs(miss, args, NULL);
	Py_DECREF(miss);
	if (!made)
		return NULL;
	if (!PyType_IsSubtype(Py_TYPE(made), core_callable_type)) {
		PyErr_Format(PyExc_TypeError, "miss() gave %R, wanted a Callable", (PyObject *)Py_TYPE(made));
		Py_DECREF(made);
		return NULL;
	}
	CoreCallable *c = (CoreCallable *)made;
	int64_t *dims = PyMem_Malloc(((size_t)c->n_dims + 1) * sizeof *dims);
	PyObject *out = NULL;
	if (!dims)
		PyErr_NoMemory();
	else if (!a || !core_call_fits(c, a, n, dims, &where) || !add_entry(d, c, where))
		out = PyObject_Call(made, args, NULL);
	PyMem_Free(dims);
	Py_DECREF(made);
	return out;
}

static bool is_refused(const CoreDispatcher *d, const CoreArg *a, Py_ssize_t i) { return a->kind == CORE_KIND_SCALAR && i < 64 && d->no_numbers >> i & 1; }

static PyObject *call_with(CoreDispatcher *d, PyObject *args, CoreArg *a, int64_t *dims, int room)
{
	Py_ssize_t n = PyTuple_Size(args), read = 0;
	DLDevice where;
	while (read < n && !core_arg_read(PyTuple_GetItem(args, read), &a[read]) && !is_refused(d, &a[read], read))
		read++;
	PyErr_Clear(); /* what is wrong with an argument is said where it has a name */
	CoreCallable *c = read == n ? find(d, a, n, dims, room, &where) : NULL;
	PyObject *out;
	if (c) {
		Py_INCREF((PyObject *)c);
		out = core_call_run(c, a, dims, where);
		Py_DECREF((PyObject *)c);
	} else {
		out = missed(d, args, read == n ? a : NULL, n);
	}
	for (Py_ssize_t i = 0; i < read; i++)
		core_arg_drop(&a[i]);
	return out;
}

static PyObject *call(PyObject *self, PyObject *args, PyObject *kwargs)
{
	CoreDispatcher *d = (CoreDispatcher *)self;
	CoreArg few[CORE_ARGS];
	int64_t dims[CORE_ARGS];
	Py_ssize_t n = PyTuple_Size(args);
	if (kwargs && PyDict_Size(kwargs))
		return PyErr_Format(PyExc_TypeError, "a Dispatcher takes no keyword arguments");
	if (n <= CORE_ARGS && d->most_dims <= CORE_ARGS)
		return call_with(d, args, few, dims, CORE_ARGS);
	int room = d->most_dims;
	CoreArg *a = PyMem_Malloc((size_t)n * sizeof *a + (size_t)room * sizeof *dims + 1);
	PyObject *out = a ? call_with(d, args, a, (int64_t *)(void *)(a + n), room) : PyErr_NoMemory();
	PyMem_Free(a);
	return out;
}

/* ---- the type ---- */

static PyObject *dispatcher_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "miss", "numbers", NULL };
	PyObject *miss, *numbers = Py_None;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:Dispatcher", words, &miss, &numbers))
		return NULL;
	if (!PyCallable_Check(miss))
		return PyErr_Format(PyExc_TypeError, "argument 'miss': wanted something to call, found %R", (PyObject *)Py_TYPE(miss));
	CoreDispatcher *d = (CoreDispatcher *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
	if (!d)
		return NULL;
	d->miss = Py_NewRef(miss);
	Py_ssize_t n = numbers == Py_None ? 0 : PySequence_Size(numbers);
	for (Py_ssize_t i = 0; i < n && i < 64; i++) {
		PyObject *may = PySequence_GetItem(numbers, i);
		d->no_numbers |= may && PyObject_IsTrue(may) == 0 ? (uint64_t)1 << i : 0;
		Py_XDECREF(may);
	}
	if (PyErr_Occurred())
		Py_CLEAR(d);
	return (PyObject *)d;
}

static int traverse(PyObject *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(((CoreDispatcher *)self)->miss);
	return 0;
}

static int clear(PyObject *self)
{
	Py_CLEAR(((CoreDispatcher *)self)->miss);
	return 0;
}

static void dispatcher_dealloc(PyObject *self)
{
	CoreDispatcher *d = (CoreDispatcher *)self;
	PyTypeObject *type = Py_TYPE(self);
	PyObject_GC_UnTrack(self);
	clear(self);
	for (Py_ssize_t i = 0; i < d->n; i++)
		Py_DECREF((PyObject *)d->entry[i].callable);
	PyMem_Free(d->entry);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyObject *length(PyObject *self, void *closure)
{
	(void)closure;
	return PyLong_FromSsize_t(((CoreDispatcher *)self)->n);
}

static PyGetSetDef getset[] = {
	{ "entries", length, NULL, "How many callables it knows.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};
static PyType_Slot slots[] = {
	{ Py_tp_doc, "Dispatcher(miss, numbers=None): calls the first of its Callables that takes the arguments; miss(args) gives one for arguments that none takes, "
	             "or that can't be read. numbers: for each argument, whether a Python number is one that a Callable may take." },
	{ Py_tp_new, dispatcher_new },
	{ Py_tp_dealloc, dispatcher_dealloc },
	{ Py_tp_traverse, traverse },
	{ Py_tp_clear, clear },
	{ Py_tp_call, call },
	{ Py_tp_getset, getset },
	{ 0, NULL },
};
static PyType_Spec spec = { "tessera._core.Dispatcher", sizeof(CoreDispatcher), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots };

int core_dispatch_init(PyObject *module)
{
	dispatcher_type = core_add_type(module, &spec);
	return dispatcher_type ? 0 : -1;
}
