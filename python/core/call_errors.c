/* What is wrong with the arguments of a call: which one, what was wanted, what was found. Runs only when a call has failed. */
#include "python/core/call.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct { char s[1024]; size_t n; } Text;

__attribute__((format(printf, 2, 3))) static void add(Text *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(t->s + t->n, sizeof t->s - t->n, fmt, ap);
	va_end(ap);
	t->n = n < 0 || (size_t)n >= sizeof t->s - t->n ? sizeof t->s - 1 : t->n + (size_t)n;
}

/* "bf16[B, H, 64]" */
static void add_spec(Text *t, const CoreCallable *c, const CoreSpec *s)
{
	add(t, "%s[", s->dtype->name);
	for (int i = 0; i < s->rank; i++) {
		int64_t d = s->dims[i];
		if (d >= 0)
			add(t, "%s%lld", i ? ", " : "", (long long)d);
		else
			add(t, "%s%s", i ? ", " : "", d == INT64_MIN ? "…" : c->dim[-1 - d].name);
	}
	add(t, "]");
}

static void add_found(Text *t, const CoreArg *a)
{
	char text[512];
	PyObject *name = a->kind == CORE_KIND_SCALAR ? PyObject_GetAttrString((PyObject *)Py_TYPE(a->object), "__name__") : NULL;
	const char *s = name ? PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
	add(t, "%s", a->kind != CORE_KIND_SCALAR ? core_shape_text(text, sizeof text, a->dl.dtype, a->dl.ndim, a->dl.shape) : s ? s : "a number");
	Py_XDECREF(name);
}

static const char *name_of(const CoreCallable *c, Py_ssize_t i)
{
	PyObject *name = PyTuple_GetItem(c->names, i);
	const char *s = name ? PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
	return s ? s : c->spec[i].name;
}

/* class: PyExc_TypeError or PyExc_ValueError, of which those of tessera.errors are raised, or another one */
/* "<tessera._core.Callable f(x: f32[N]) -> (y: f32[N])>" */
PyObject *core_call_repr(PyObject *self)
{
	CoreCallable *c = (CoreCallable *)self;
	Text t = { "", 0 };
	add(&t, "<tessera._core.Callable %s(", tessera_graph_name(c->model, c->graph));
	for (int i = 0; i < c->n_in + c->n_out; i++) {
		add(&t, "%s%s: ", i == c->n_in ? ") -> (" : i ? ", " : "", i < c->n_in ? name_of(c, i) : c->spec[i].name);
		add_spec(&t, c, &c->spec[i]);
	}
	return PyUnicode_FromFormat("%s)>", t.s);
}

static PyObject *raise(PyObject *class, const char *text)
{
	class = core_error_class(class == PyExc_TypeError ? "ArgumentTypeError" : class == PyExc_ValueError ? "ArgumentValueError" : NULL, class);
	PyErr_SetString(class, text);
	Py_DECREF(class);
	return NULL;
}

static PyObject *wrong_count(const CoreCallable *c, Py_ssize_t n)
{
	Text t = { "", 0 };
	add(&t, "%s() takes %d argument%s", tessera_graph_name(c->model, c->graph), c->n_in, c->n_in == 1 ? "" : "s");
	for (int i = 0; i < c->n_in && i < 8; i++)
		add(&t, "%s'%s'", i ? ", " : " (", name_of(c, i));
	add(&t, "%s, and %zd %s given", !c->n_in ? "" : c->n_in > 8 ? ", …)" : ")", n, n == 1 ? "was" : "were");
	return raise(PyExc_TypeError, t.s);
}

/* which earlier argument gave dim its size */
static Py_ssize_t giver(const CoreCallable *c, int64_t dim)
{
	for (Py_ssize_t i = 0; i < c->n_in; i++)
		for (int k = 0; k < c->spec[i].rank; k++)
			if (c->spec[i].dims[k] == dim)
				return i;
	return -1;
}

/* The first axis that is wrong, with what else fixes its size. dims: sizes known so far, -1 else. */
static bool add_wrong_size(Text *t, const CoreCallable *c, const CoreSpec *s, const CoreArg *a, Py_ssize_t argument, int64_t *dims)
{
	for (int k = 0; k < s->rank; k++) {
		int64_t have = a->dl.shape[k], want = s->dims[k];
		if (want == INT64_MIN)
			continue;
		if (want >= 0) {
			if (have != want)
				return true;
			continue;
		}
		const TesseraDimInfo *d = &c->dim[-1 - want];
		if (dims[-1 - want] >= 0 && dims[-1 - want] != have) {
			Py_ssize_t by = giver(c, want);
			add(t, "; %s is %lld", d->name, (long long)dims[-1 - want]);
			if (by >= 0 && by != argument)
				add(t, " by argument '%s'", name_of(c, by));
			return true;
		}
		dims[-1 - want] = have;
		if (have < d->min || (d->max && have > d->max) || (d->multiple_of > 1 && have % d->multiple_of)) {
			add(t, "; %s is at least %lld", d->name, (long long)d->min);
			if (d->max)
				add(t, " and at most %lld", (long long)d->max);
			if (d->multiple_of > 1)
				add(t, ", a multiple of %lld", (long long)d->multiple_of);
			return true;
		}
	}
	return false;
}

static PyObject *wrong_place(const CoreCallable *c, const CoreArg *a, Py_ssize_t i, Py_ssize_t first)
{
	char want[24], have[24];
	Text t = { "", 0 };
	add(&t, "argument '%s': wanted a tensor on %s, where argument '%s' lies, found one on %s", name_of(c, i), core_device_text(want, a[first].dl.device),
	    name_of(c, first), core_device_text(have, a[i].dl.device));
	return raise(PyExc_ValueError, t.s);
}

PyObject *core_call_wrong(CoreCallable *c, CoreArg *a, Py_ssize_t n)
{
	int64_t few[32], *dims = c->n_dims > 32 ? PyMem_Calloc((size_t)c->n_dims, sizeof *dims) : few;
	Py_ssize_t first = -1;
	PyObject *class = NULL;
	Text t = { "", 0 };
	if (n != c->n_in)
		wrong_count(c, n);
	for (int i = 0; i < c->n_dims && dims; i++)
		dims[i] = -1;
	for (Py_ssize_t i = 0; i < n && n == c->n_in && !class && dims && !PyErr_Occurred(); i++) {
		const CoreSpec *s = &c->spec[i];
		Text more = { "", 0 };
		bool scalar = a[i].kind == CORE_KIND_SCALAR;
		if (scalar ? s->rank || !core_scalar_fits(a[i].object, s->dtype) : core_dtype_of(a[i].dl.dtype) != s->dtype)
			class = PyExc_TypeError;
		else if (!scalar && (a[i].dl.ndim != s->rank || add_wrong_size(&more, c, s, &a[i], i, dims)))
			class = PyExc_ValueError;
		if (class) {
			add(&t, "argument '%s': wanted ", name_of(c, i));
			add_spec(&t, c, s);
			add(&t, ", found ");
			add_found(&t, &a[i]);
			add(&t, "%s", more.s);
		} else if (!scalar) {
			first = first < 0 ? i : first;
			DLDevice x = a[first].dl.device, y = a[i].dl.device;
			if (core_on_host(x) != core_on_host(y) || (!core_on_host(x) && x.device_id != y.device_id))
				wrong_place(c, a, i, first);
		}
	}
	if (dims != few)
		PyMem_Free(dims);
	if (!PyErr_Occurred())
		raise(class ? class : PyExc_ValueError, class ? t.s : "these arguments do not fit");
	return NULL;
}

PyObject *core_call_unreadable(CoreCallable *c, Py_ssize_t argument)
{
	PyObject *type, *value, *trace;
	Text t = { "", 0 };
	PyErr_Fetch(&type, &value, &trace);
	PyObject *text = value ? PyObject_Str(value) : NULL;
	const char *why = text ? PyUnicode_AsUTF8AndSize(text, NULL) : NULL;
	add(&t, "argument '%s': wanted ", argument < c->n_in ? name_of(c, argument) : "?");
	if (argument < c->n_in)
		add_spec(&t, c, &c->spec[argument]);
	static const char generic[] = "wanted a tensor or an array, found ";
	bool kind = why && !strncmp(why, generic, strlen(generic)), number = why && !strncmp(why, "a number ", 9);
	add(&t, ", found %s%s", !why ? "something else" : kind ? why + strlen(generic) : number ? why : "a tensor that can't be read: ", why && !kind && !number ? why : "");
	PyErr_Clear();
	raise(type ? type : PyExc_TypeError, t.s);
	Py_XDECREF(text);
	Py_XDECREF(type);
	Py_XDECREF(value);
	Py_XDECREF(trace);
	return NULL;
}
