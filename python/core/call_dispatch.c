/* One function compiled several ways: the first that takes the arguments is called; where none does, the package is asked for another.
 * Arguments that are dicts, lists and tuples count as the tensors in them, in order; a way belongs to the structure that they came in. */
#include "python/core/call.h"
#include <string.h>

enum { DEEPEST = 32, FEW_LEAVES = 24, FEW_TOKENS = 64 };

typedef struct { PyObject *o; Py_ssize_t n; } Token;  /* a container's type and length; a key of a dict (-1); NULL: a leaf */
typedef struct {
	PyObject **leaf, *few_leaves[FEW_LEAVES];
	Token *token, few_tokens[FEW_TOKENS];
	Py_ssize_t n, room, n_tokens, token_room;
} Walk;

typedef struct { CoreCallable *callable; DLDeviceType where; Token *token; Py_ssize_t n_tokens; } Entry;
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

/* ---- the structure of arguments ---- */

static bool is_tree(PyObject *o) { return PyDict_CheckExact(o) || PyTuple_CheckExact(o) || PyList_CheckExact(o); }

/* room for one more; what is there stays */
static void *grow(void *old, void *few, Py_ssize_t n, Py_ssize_t *room, size_t size)
{
	void *more = old == few ? PyMem_Malloc((size_t)*room * 4 * size) : PyMem_Realloc(old, (size_t)*room * 4 * size);
	if (!more) {
		PyErr_NoMemory();
		return NULL;
	}
	if (old == few)
		memcpy(more, few, (size_t)n * size);
	*room *= 4;
	return more;
}

static int add_token(Walk *w, PyObject *o, Py_ssize_t n)
{
	void *more = w->n_tokens < w->token_room ? w->token : grow(w->token, w->few_tokens, w->n_tokens, &w->token_room, sizeof *w->token);
	if (!more)
		return -1;
	w->token = more;
	w->token[w->n_tokens++] = (Token){ Py_XNewRef(o), n };
	return 0;
}

static int add_leaf(Walk *w, PyObject *o)
{
	void *more = w->n < w->room ? w->leaf : grow(w->leaf, w->few_leaves, w->n, &w->room, sizeof *w->leaf);
	if (!more)
		return -1;
	w->leaf = more;
	w->leaf[w->n++] = Py_NewRef(o);
	return add_token(w, NULL, 0);
}

/* runs no Python, so nothing changes under it */
static int walk(Walk *w, PyObject *o, int depth)
{
	PyObject *key, *value;
	Py_ssize_t at = 0, n;
	if (!is_tree(o))
		return add_leaf(w, o);
	if (depth > DEEPEST) {
		PyErr_SetString(PyExc_ValueError, "the arguments are nested more than 32 deep");
		return -1;
	}
	n = PyDict_CheckExact(o) ? PyDict_Size(o) : PyTuple_CheckExact(o) ? PyTuple_Size(o) : PyList_Size(o);
	if (add_token(w, (PyObject *)Py_TYPE(o), n))
		return -1;
	while (PyDict_CheckExact(o) && PyDict_Next(o, &at, &key, &value))
		if (add_token(w, key, -1) || walk(w, value, depth + 1))
			return -1;
	for (Py_ssize_t i = 0; i < n && !PyDict_CheckExact(o); i++)
		if (walk(w, PyTuple_CheckExact(o) ? PyTuple_GetItem(o, i) : PyList_GetItem(o, i), depth + 1))
			return -1;
	return 0;
}

static void drop_tokens(Token *t, Py_ssize_t n)
{
	for (Py_ssize_t i = 0; i < n; i++)
		Py_XDECREF(t[i].o);
}

static void walk_end(Walk *w)
{
	for (Py_ssize_t i = 0; i < w->n; i++)
		Py_DECREF(w->leaf[i]);
	drop_tokens(w->token, w->n_tokens);
	if (w->leaf != w->few_leaves)
		PyMem_Free(w->leaf);
	if (w->token != w->few_tokens)
		PyMem_Free(w->token);
}

/* keys that are not text are told apart by being the same object */
static bool same_structure(const Entry *e, const Walk *w)
{
	Py_ssize_t n = w ? w->n_tokens : 0;
	if (e->n_tokens != n)
		return false;
	for (Py_ssize_t i = 0; i < n; i++) {
		const Token *a = &e->token[i], *b = &w->token[i];
		if (a->n != b->n || (a->o != b->o && !(a->n < 0 && PyUnicode_CheckExact(a->o) && PyUnicode_CheckExact(b->o) && !PyUnicode_Compare(a->o, b->o))))
			return false;
	}
	return true;
}

/* ---- entries ---- */

/* room: of dims; reading arguments may have run Python, which may have added entries with more */
static CoreCallable *find(CoreDispatcher *d, const Walk *w, const CoreArg *a, Py_ssize_t n, int64_t *dims, int room, DLDevice *where)
{
	for (Py_ssize_t i = 0; i < d->n; i++) {
		Entry e = d->entry[i];
		if (e.callable->n_dims > room || !same_structure(&e, w) || !core_call_fits(e.callable, a, n, dims, where) || place_of(*where) != e.where)
			continue;
		memmove(d->entry + 1, d->entry, (size_t)i * sizeof e);
		d->entry[0] = e;
		return e.callable;
	}
	return NULL;
}

static int add_entry(CoreDispatcher *d, const Walk *w, CoreCallable *c, DLDevice where)
{
	Py_ssize_t n_tokens = w ? w->n_tokens : 0;
	Token *token = NULL;
	if (d->n == d->room) {
		Entry *more = PyMem_Realloc(d->entry, (size_t)(d->room * 2 + 4) * sizeof *more);
		if (!more) {
			PyErr_NoMemory();
			return -1;
		}
		d->entry = more;
		d->room = d->room * 2 + 4;
	}
	if (n_tokens && !(token = PyMem_Malloc((size_t)n_tokens * sizeof *token))) {
		PyErr_NoMemory();
		return -1;
	}
	for (Py_ssize_t i = 0; i < n_tokens; i++)
		token[i] = (Token){ Py_XNewRef(w->token[i].o), w->token[i].n };
	memmove(d->entry + 1, d->entry, (size_t)d->n * sizeof *d->entry);
	d->entry[0] = (Entry){ (CoreCallable *)Py_NewRef((PyObject *)c), place_of(where), token, n_tokens };
	d->n++;
	d->most_dims = c->n_dims > d->most_dims ? c->n_dims : d->most_dims;
	return 0;
}

static PyObject *flat(const Walk *w)
{
	PyObject *t = PyTuple_New(w->n);
	for (Py_ssize_t i = 0; t && i < w->n; i++)
		PyTuple_SetItem(t, i, Py_NewRef(w->leaf[i]));
	return t;
}

/* a callable that was just made is called as such, with all that it says about wrong arguments */
static PyObject *missed(CoreDispatcher *d, PyObject *args, const Walk *w, const CoreArg *a, Py_ssize_t n)
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
	PyObject *out = NULL, *given = w && w->n == c->n_in ? flat(w) : Py_NewRef(args);
	if (!dims)
		PyErr_NoMemory();
	else if (given && (!a || !core_call_fits(c, a, n, dims, &where) || !add_entry(d, w, c, where)))
		out = PyObject_Call(made, given, NULL);
	PyMem_Free(dims);
	Py_XDECREF(given);
	Py_DECREF(made);
	return out;
}

/* numbers are arguments of their own, never parts of others */
static bool is_refused(const CoreDispatcher *d, const Walk *w, const CoreArg *a, Py_ssize_t i)
{
	return a->kind == CORE_KIND_SCALAR && (w || (i < 64 && d->no_numbers >> i & 1));
}

static PyObject *call_with(CoreDispatcher *d, PyObject *args, const Walk *w, CoreArg *a, int64_t *dims, int room)
{
	Py_ssize_t n = w ? w->n : PyTuple_Size(args), read = 0;
	DLDevice where;
	while (read < n && !core_arg_read(w ? w->leaf[read] : PyTuple_GetItem(args, read), &a[read]) && !is_refused(d, w, &a[read], read))
		read++;
	PyErr_Clear(); /* what is wrong with an argument is said where it has a name */
	CoreCallable *c = read == n ? find(d, w, a, n, dims, room, &where) : NULL;
	PyObject *out;
	if (c) {
		Py_INCREF((PyObject *)c);
		out = core_call_run(c, a, dims, where);
		Py_DECREF((PyObject *)c);
	} else {
		out = missed(d, args, w, read == n ? a : NULL, n);
	}
	for (Py_ssize_t i = 0; i < read; i++)
		core_arg_drop(&a[i]);
	return out;
}

static PyObject *call_tree(CoreDispatcher *d, PyObject *args)
{
	Walk w = { .room = FEW_LEAVES, .token_room = FEW_TOKENS };
	w.leaf = w.few_leaves;
	w.token = w.few_tokens;
	int room = d->most_dims;
	PyObject *out = NULL;
	if (!walk(&w, args, 0)) {
		CoreArg *a = PyMem_Malloc((size_t)w.n * sizeof *a + (size_t)room * sizeof(int64_t) + 1);
		out = a ? call_with(d, args, &w, a, (int64_t *)(void *)(a + w.n), room) : PyErr_NoMemory();
		PyMem_Free(a);
	}
	walk_end(&w);
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
	for (Py_ssize_t i = 0; i < n; i++)
		if (is_tree(PyTuple_GetItem(args, i)))
			return call_tree(d, args);
	if (n <= CORE_ARGS && d->most_dims <= CORE_ARGS)
		return call_with(d, args, NULL, few, dims, CORE_ARGS);
	int room = d->most_dims;
	CoreArg *a = PyMem_Malloc((size_t)n * sizeof *a + (size_t)room * sizeof *dims + 1);
	PyObject *out = a ? call_with(d, args, NULL, a, (int64_t *)(void *)(a + n), room) : PyErr_NoMemory();
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
	for (Py_ssize_t i = 0; i < d->n; i++) {
		Py_DECREF((PyObject *)d->entry[i].callable);
		drop_tokens(d->entry[i].token, d->entry[i].n_tokens);
		PyMem_Free(d->entry[i].token);
	}
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
	             "or that can't be read. numbers: for each argument, whether a Python number is one that a Callable may take. Dicts, lists and tuples count as the tensors in them." },
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
