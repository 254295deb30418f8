/* Arguments as trees: dicts, lists and tuples are taken apart into the tensors in them; all else that they hold goes into the key, byte by byte,
 * so that trees of equal keys differ in their leaves alone. */
#include "python/core/call.h"
#include <string.h>

enum { DEEPEST = 32 };

enum { TYPES = 4 };
static PyTypeObject *constant_type[TYPES]; /* their objects live for ever: they are told apart by their address */
static int n_types;

/* room for one more; what is there stays */
static void *grow(void *old, void *few, Py_ssize_t n, Py_ssize_t need, Py_ssize_t *room, size_t size)
{
	Py_ssize_t wanted = *room * 4 > need ? *room * 4 : need;
	void *more = old == few ? PyMem_Malloc((size_t)wanted * size) : PyMem_Realloc(old, (size_t)wanted * size);
	if (!more) {
		PyErr_NoMemory();
		return NULL;
	}
	if (old == few)
		memcpy(more, few, (size_t)n * size);
	*room = wanted;
	return more;
}

void core_walk_begin(CoreWalk *w)
{
	w->n = w->n_key = 0;
	w->room = CORE_FEW_LEAVES;
	w->key_room = CORE_FEW_BYTES;
	w->leaf = w->few_leaves;
	w->key = w->few_bytes;
}

void core_walk_end(CoreWalk *w)
{
	for (Py_ssize_t i = 0; i < w->n; i++)
		Py_DECREF(w->leaf[i]);
	if (w->leaf != w->few_leaves)
		PyMem_Free(w->leaf);
	if (w->key != w->few_bytes)
		PyMem_Free(w->key);
}

int core_walk_bytes(CoreWalk *w, const void *bytes, Py_ssize_t n)
{
	if (w->n_key + n > w->key_room) {
		void *more = grow(w->key, w->few_bytes, w->n_key, w->n_key + n, &w->key_room, 1);
		if (!more)
			return -1;
		w->key = more;
	}
	memcpy(w->key + w->n_key, bytes, (size_t)n);
	w->n_key += n;
	return 0;
}

static int add_tagged(CoreWalk *w, char tag, const void *bytes, size_t n)
{
	return core_walk_bytes(w, &tag, 1) || core_walk_bytes(w, bytes, (Py_ssize_t)n) ? -1 : 0;
}

static int add_leaf(CoreWalk *w, char tag, PyObject *o)
{
	if (w->n == w->room) {
		void *more = grow(w->leaf, w->few_leaves, w->n, w->n + 1, &w->room, sizeof *w->leaf);
		if (!more)
			return -1;
		w->leaf = more;
	}
	w->leaf[w->n++] = Py_NewRef(o);
	return core_walk_bytes(w, &tag, 1);
}

static int add_text(CoreWalk *w, PyObject *o)
{
	Py_ssize_t n;
	const char *s = PyUnicode_AsUTF8AndSize(o, &n);
	if (!s) { /* half of a surrogate pair */
		PyErr_Clear();
		return CORE_REFUSED;
	}
	return add_tagged(w, 's', &n, sizeof n) || core_walk_bytes(w, s, n) ? -1 : 0;
}

/* a number by what it is, bit by bit: 1, 1.0 and True are three, and so are 0.0 and -0.0 */
int core_walk_number(CoreWalk *w, PyObject *o)
{
	if (PyBool_Check(o))
		return add_tagged(w, o == Py_True ? 'y' : 'z', NULL, 0);
	if (PyFloat_Check(o)) {
		double x = PyFloat_AsDouble(o);
		return add_tagged(w, 'f', &x, sizeof x);
	}
	int overflow;
	long long i = PyLong_AsLongLongAndOverflow(o, &overflow);
	return overflow ? CORE_REFUSED : add_tagged(w, 'i', &i, sizeof i);
}

static bool is_tree(PyObject *o) { return PyDict_CheckExact(o) || PyTuple_CheckExact(o) || PyList_CheckExact(o); }
static bool is_number(PyObject *o) { return PyLong_Check(o) || PyFloat_Check(o); }

static bool is_constant(PyObject *o)
{
	bool yes = o == Py_None || PyUnicode_CheckExact(o);
	for (int i = 0; i < n_types && !yes; i++)
		yes = Py_TYPE(o) == constant_type[i];
	return yes;
}

bool core_walk_needed(PyObject *o, bool numbers) { return is_tree(o) || is_constant(o) || (!numbers && is_number(o)); }

static int add_constant(CoreWalk *w, PyObject *o)
{
	if (o == Py_None)
		return add_tagged(w, 'n', NULL, 0);
	return PyUnicode_CheckExact(o) ? add_text(w, o) : add_tagged(w, 'o', &o, sizeof(PyObject *));
}

/* runs no Python, so nothing changes under it */
static int walk(CoreWalk *w, PyObject *o, CoreNumbers numbers, int depth)
{
	PyObject *key, *value;
	Py_ssize_t at = 0;
	int rc = 0;
	if (is_number(o) && numbers == CORE_NUMBERS_ARE_LEAVES)
		return add_leaf(w, PyBool_Check(o) ? 'B' : PyFloat_Check(o) ? 'F' : 'I', o);
	if (is_number(o)) /* numbers of other classes may be equal and not the same */
		return PyBool_Check(o) || PyLong_CheckExact(o) || PyFloat_CheckExact(o) ? core_walk_number(w, o) : CORE_REFUSED;
	if (is_constant(o))
		return add_constant(w, o);
	if (!is_tree(o))
		return add_leaf(w, 'L', o);
	if (depth > DEEPEST) {
		PyErr_SetString(PyExc_ValueError, "the arguments are nested more than 32 deep");
		return -1;
	}
	Py_ssize_t n = PyDict_CheckExact(o) ? PyDict_Size(o) : PyTuple_CheckExact(o) ? PyTuple_Size(o) : PyList_Size(o);
	if (add_tagged(w, PyDict_CheckExact(o) ? 'd' : PyTuple_CheckExact(o) ? 't' : 'l', &n, sizeof n))
		return -1;
	if (PyDict_CheckExact(o)) {
		while (!rc && PyDict_Next(o, &at, &key, &value)) {
			rc = PyUnicode_CheckExact(key) ? add_text(w, key) : PyLong_CheckExact(key) ? core_walk_number(w, key) : CORE_REFUSED;
			rc = rc ? rc : walk(w, value, CORE_NUMBERS_ARE_PARTS, depth + 1);
		}
		return rc;
	}
	for (Py_ssize_t i = 0; !rc && i < n; i++)
		rc = walk(w, PyTuple_CheckExact(o) ? PyTuple_GetItem(o, i) : PyList_GetItem(o, i), numbers, depth + 1);
	return rc;
}

int core_walk(CoreWalk *w, PyObject *o, CoreNumbers numbers) { return walk(w, o, numbers, 0); }

PyObject *core_add_constant_type(PyObject *module, PyObject *type)
{
	(void)module;
	if (!PyType_Check(type))
		return PyErr_Format(PyExc_TypeError, "argument 'type': wanted a class, found %R", type);
	if (n_types == TYPES)
		return PyErr_Format(PyExc_RuntimeError, "no more than %d classes", TYPES);
	constant_type[n_types++] = (PyTypeObject *)Py_NewRef(type);
	Py_RETURN_NONE;
}
