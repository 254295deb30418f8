/* One function compiled several ways: the first that takes the arguments is called; where none does, the package is asked for another.
 * Arguments that are dicts, lists and tuples count as the tensors in them, in order; what else they hold are constants of a way. */
#include "python/core/call.h"
#include <string.h>

typedef struct {
	CoreCallable *callable;
	DLDeviceType where;
	PyObject *after;            /* tuple of tensors of ours that follow the arguments, or NULL */
	PyObject *finish;           /* makes the result of the callable's, or NULL */
	uint8_t *key;               /* all of the arguments that is no leaf */
	Py_ssize_t n_key;
} Entry;
typedef struct {
	PyObject_HEAD
	PyObject *miss;
	Entry *entry;               /* the one that was called last first */
	Py_ssize_t n, room;
	int most_dims, most_after;
	uint64_t no_numbers;        /* bit i: argument i is never a Python number */
} CoreDispatcher;
typedef struct {                /* of one call */
	PyObject *args;
	const CoreWalk *walk;       /* NULL: the arguments are the leaves */
	CoreArg *a;
	int64_t *dims;
	Py_ssize_t n;
	int room_dims, room_after;
} Call;

static PyTypeObject *dispatcher_type;

static DLDeviceType place_of(DLDevice d) { return core_on_host(d) ? kDLCPU : kDLCUDA; }

static PyObject *leaf_of(const Call *c, Py_ssize_t i)
{
	return c->walk ? c->walk->leaf[i] : PyTuple_GetItem(c->args, i);
}

/* ---- entries ---- */

static bool same_key(const Entry *e, const CoreWalk *w)
{
	return e->n_key == (w ? w->n_key : 0) && (!e->n_key || !memcmp(e->key, w->key, (size_t)e->n_key));
}

static Py_ssize_t read_after(const Entry *e, CoreArg *a)
{
	Py_ssize_t n = e->after ? PyTuple_Size(e->after) : 0;
	for (Py_ssize_t i = 0; i < n; i++)
		core_arg_read(PyTuple_GetItem(e->after, i), &a[i]); /* of ours, which never fails */
	return n;
}

/* Reading arguments may have run Python, which may have added entries with more than there is room for. The references are held. */
static bool find(CoreDispatcher *d, const Call *c, Entry *found, DLDevice *where)
{
	for (Py_ssize_t i = 0; i < d->n; i++) {
		Entry e = d->entry[i];
		if (e.callable->n_dims > c->room_dims || (e.after && PyTuple_Size(e.after) > c->room_after) || !same_key(&e, c->walk))
			continue;
		Py_ssize_t n = c->n + read_after(&e, c->a + c->n);
		if (!core_call_fits(e.callable, c->a, n, c->dims, where) || place_of(*where) != e.where)
			continue;
		memmove(d->entry + 1, d->entry, (size_t)i * sizeof e);
		d->entry[0] = e;
		Py_INCREF((PyObject *)e.callable);
		Py_XINCREF(e.after);
		Py_XINCREF(e.finish);
		*found = e;
		return true;
	}
	return false;
}

static bool is_known(const CoreDispatcher *d, const CoreWalk *w, const CoreCallable *c, DLDeviceType where)
{
	for (Py_ssize_t i = 0; i < d->n; i++)
		if (d->entry[i].callable == c && d->entry[i].where == where && same_key(&d->entry[i], w))
			return true;
	return false;
}

static int add_entry(CoreDispatcher *d, const CoreWalk *w, CoreCallable *c, DLDeviceType where, PyObject *after, PyObject *finish)
{
	Py_ssize_t n_key = w ? w->n_key : 0;
	uint8_t *key = NULL;
	if (is_known(d, w, c, where)) /* another thread missed too */
		return 0;
	if (d->n == d->room) {
		Entry *more = PyMem_Realloc(d->entry, (size_t)(d->room * 2 + 4) * sizeof *more);
		if (!more) {
			PyErr_NoMemory();
			return -1;
		}
		d->entry = more;
		d->room = d->room * 2 + 4;
	}
	if (n_key && !(key = PyMem_Malloc((size_t)n_key))) {
		PyErr_NoMemory();
		return -1;
	}
	if (n_key)
		memcpy(key, w->key, (size_t)n_key);
	int n_after = after ? (int)PyTuple_Size(after) : 0;
	memmove(d->entry + 1, d->entry, (size_t)d->n * sizeof *d->entry);
	d->entry[0] = (Entry){ (CoreCallable *)Py_NewRef((PyObject *)c), where, Py_XNewRef(after), Py_XNewRef(finish), key, n_key };
	d->n++;
	d->most_dims = c->n_dims > d->most_dims ? c->n_dims : d->most_dims;
	d->most_after = n_after > d->most_after ? n_after : d->most_after;
	return 0;
}

/* ---- a call that no entry takes ---- */

typedef struct { PyObject *callable, *leaves, *after, *finish; } Made; /* leaves NULL: those that the dispatcher found; borrowed of what miss gave */

static int read_made(PyObject *made, Made *m)
{
	memset(m, 0, sizeof *m);
	m->callable = made;
	if (PyTuple_Check(made) && PyTuple_Size(made) == 4) {
		m->callable = PyTuple_GetItem(made, 0);
		m->leaves = PyTuple_GetItem(made, 1);
		m->after = PyTuple_GetItem(made, 2);
		m->finish = PyTuple_GetItem(made, 3);
		m->finish = m->finish == Py_None ? NULL : m->finish;
		if (!PyTuple_Check(m->leaves) || !PyTuple_Check(m->after))
			m->callable = m->leaves;
		for (Py_ssize_t i = 0; m->callable != m->leaves && i < PyTuple_Size(m->after); i++)
			if (!core_is_tensor(PyTuple_GetItem(m->after, i)))
				m->callable = m->leaves;
	}
	if (PyType_IsSubtype(Py_TYPE(m->callable), core_callable_type))
		return 0;
	PyErr_Format(PyExc_TypeError, "miss() gave %R, wanted a Callable, or one with the tensors of the call, those after them, and what ends it", (PyObject *)Py_TYPE(made));
	return -1;
}

static PyObject *leaves_of(const Call *c)
{
	PyObject *t = PyTuple_New(c->n);
	for (Py_ssize_t i = 0; t && i < c->n; i++)
		PyTuple_SetItem(t, i, Py_NewRef(leaf_of(c, i)));
	return t;
}

/* are the leaves that the package found those that a dispatcher finds? Numbers may have become others. */
static bool same_leaves(const Call *c, PyObject *given)
{
	if (PyTuple_Size(given) != c->n)
		return false;
	for (Py_ssize_t i = 0; i < c->n; i++) {
		PyObject *mine = leaf_of(c, i), *other = PyTuple_GetItem(given, i);
		if (mine != other && !(PyFloat_Check(other) && (PyFloat_Check(mine) || PyLong_Check(mine))))
			return false;
	}
	return true;
}

static DLDeviceType place(const CoreArg *a, Py_ssize_t n)
{
	for (Py_ssize_t i = 0; i < n; i++)
		if (a[i].kind != CORE_KIND_SCALAR)
			return place_of(a[i].dl.device);
	return kDLCPU;
}

static PyObject *ended(PyObject *finish, PyObject *out)
{
	PyObject *done = out && finish ? PyObject_CallFunctionObjArgs(finish, out, NULL) : out;
	if (done != out)
		Py_DECREF(out);
	return out && !done ? NULL : done;
}

/* What was just made is called as such, with all that it says about wrong arguments; from now on it is an entry, unless arguments were left. */
static PyObject *missed(CoreDispatcher *d, const Call *c, bool readable)
{
	Made m;
	PyObject *miss = Py_NewRef(d->miss), *made = PyObject_CallFunctionObjArgs(miss, c->args, NULL), *leaves = NULL, *given = NULL, *out = NULL;
	Py_DECREF(miss);
	if (!made || read_made(made, &m)) {
		Py_XDECREF(made);
		return NULL;
	}
	bool mine = !m.leaves || same_leaves(c, m.leaves);
	if (m.leaves)
		leaves = Py_NewRef(m.leaves);
	else /* where the leaves do not do it is the arguments that are wrong */
		leaves = c->n == ((CoreCallable *)m.callable)->n_in ? leaves_of(c) : Py_NewRef(c->args);
	given = leaves && m.after && PyTuple_Size(m.after) ? PySequence_Concat(leaves, m.after) : Py_XNewRef(leaves);
	out = given ? PyObject_Call(m.callable, given, NULL) : NULL;
	if (out && readable && mine && PyTuple_Size(leaves) == c->n && add_entry(d, c->walk, (CoreCallable *)m.callable, place(c->a, c->n), m.after, m.finish))
		Py_CLEAR(out);
	out = ended(m.finish, out);
	Py_XDECREF(given);
	Py_XDECREF(leaves);
	Py_DECREF(made);
	return out;
}

/* ---- calls ---- */

/* numbers are arguments of their own, never parts of others */
static bool is_refused(const CoreDispatcher *d, const Call *c, Py_ssize_t i)
{
	return c->a[i].kind == CORE_KIND_SCALAR && !c->walk && i < 64 && d->no_numbers >> i & 1;
}

static PyObject *call_with(CoreDispatcher *d, Call *c, bool refused)
{
	Py_ssize_t read = 0;
	DLDevice where;
	Entry e;
	PyObject *out;
	while (read < c->n && !core_arg_read(leaf_of(c, read), &c->a[read]) && !is_refused(d, c, read))
		read++;
	PyErr_Clear(); /* what is wrong with an argument is said where it has a name */
	if (read == c->n && !refused && find(d, c, &e, &where)) {
		out = ended(e.finish, core_call_run(e.callable, c->a, c->dims, where));
		Py_DECREF((PyObject *)e.callable);
		Py_XDECREF(e.after);
		Py_XDECREF(e.finish);
	} else {
		out = missed(d, c, read == c->n && !refused);
	}
	for (Py_ssize_t i = 0; i < read; i++)
		core_arg_drop(&c->a[i]);
	return out;
}

static PyObject *call_leaves(CoreDispatcher *d, Call *c, bool refused)
{
	CoreArg few[CORE_ARGS];
	int64_t dims[CORE_ARGS];
	c->n = c->walk ? c->walk->n : PyTuple_Size(c->args);
	if (c->n + d->most_after <= CORE_ARGS && d->most_dims <= CORE_ARGS) {
		c->a = few;
		c->dims = dims;
		c->room_dims = CORE_ARGS;
		c->room_after = CORE_ARGS - (int)c->n;
		return call_with(d, c, refused);
	}
	c->room_dims = d->most_dims;
	c->room_after = d->most_after;
	size_t n = (size_t)c->n + (size_t)c->room_after;
	CoreArg *a = PyMem_Malloc(n * sizeof *a + (size_t)c->room_dims * sizeof(int64_t) + 1);
	c->a = a;
	c->dims = (int64_t *)(void *)(a + n);
	PyObject *out = a ? call_with(d, c, refused) : PyErr_NoMemory();
	PyMem_Free(a);
	return out;
}

static bool takes_numbers(const CoreDispatcher *d, Py_ssize_t i) { return i >= 64 || !(d->no_numbers >> i & 1); }

static PyObject *call_tree(CoreDispatcher *d, Call *c)
{
	CoreWalk w;
	int rc = 0;
	PyObject *out = NULL;
	core_walk_begin(&w);
	for (Py_ssize_t i = 0; rc >= 0 && i < PyTuple_Size(c->args); i++) {
		PyObject *o = PyTuple_GetItem(c->args, i);
		bool leaf = takes_numbers(d, i) && (PyLong_Check(o) || PyFloat_Check(o));
		int one = core_walk(&w, o, leaf ? CORE_NUMBERS_ARE_LEAVES : CORE_NUMBERS_ARE_PARTS);
		rc = one < 0 ? one : rc | one;
	}
	c->walk = &w;
	if (rc >= 0)
		out = call_leaves(d, c, rc == CORE_REFUSED);
	core_walk_end(&w);
	return out;
}

static PyObject *call(PyObject *self, PyObject *args, PyObject *kwargs)
{
	CoreDispatcher *d = (CoreDispatcher *)self;
	Py_ssize_t n = PyTuple_Size(args);
	Call c = { .args = args };
	bool tree = false;
	if (kwargs && PyDict_Size(kwargs))
		return PyErr_Format(PyExc_TypeError, "a Dispatcher takes no keyword arguments");
	for (Py_ssize_t i = 0; i < n && !tree; i++)
		tree = core_walk_needed(PyTuple_GetItem(args, i), takes_numbers(d, i));
	return tree ? call_tree(d, &c) : call_leaves(d, &c, false);
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
	CoreDispatcher *d = (CoreDispatcher *)self;
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(d->miss);
	for (Py_ssize_t i = 0; i < d->n; i++)
		Py_VISIT(d->entry[i].finish);
	return 0;
}

static int clear(PyObject *self)
{
	CoreDispatcher *d = (CoreDispatcher *)self;
	while (d->n) {
		Entry e = d->entry[--d->n];
		Py_DECREF((PyObject *)e.callable);
		Py_XDECREF(e.after);
		Py_XDECREF(e.finish);
		PyMem_Free(e.key);
	}
	Py_CLEAR(d->miss);
	return 0;
}

static void dispatcher_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	PyObject_GC_UnTrack(self);
	clear(self);
	PyMem_Free(((CoreDispatcher *)self)->entry);
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
	             "or that can't be read: a Callable, or (Callable, leaves, after, finish) with all tensors of the call, those of ours that follow them in calls of this kind, "
	             "and what makes the result of the Callable's. numbers: for each argument, whether a Python number is one that a Callable may take. "
	             "Dicts, lists and tuples count as the tensors in them; numbers, strings and None are constants of a Callable." },
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
