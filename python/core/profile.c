/* What ts.profiler.profile() is told: profile_listen(f) has every run call f(callable, device, begin, end, launches) when it is over, the times in
 * nanoseconds of CLOCK_MONOTONIC. */
#include "python/core/profile.h"
#include "bench/peak.c"
#include <stdlib.h>
#include <string.h>

_Atomic bool core_profiling;
static PyObject *listener;              /* with the GIL */

typedef struct { TesseraLaunchTime *p; size_t n, room; bool lost; } Times;

static void take(void *user, const TesseraLaunchTime *t)
{
	Times *all = user;
	if (all->n == all->room) {
		size_t room = t->launches > all->room ? t->launches : all->room * 2 + 64;
		TesseraLaunchTime *p = realloc(all->p, room * sizeof *p);
		if (!p) {
			all->lost = true;
			return;
		}
		all->p = p;
		all->room = room;
	}
	memset(&all->p[all->n], 0, sizeof *t);
	memcpy(&all->p[all->n++], t, t->size < sizeof *t ? t->size : sizeof *t);
}

static int64_t nanoseconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* names are bytes of a model's text: UTF-8, or nearly */
static PyObject *text_of(const char *s) { return PyUnicode_DecodeUTF8(s ? s : "", (Py_ssize_t)strlen(s ? s : ""), "replace"); }

static PyObject *launch_of(const TesseraLaunchTime *t)
{
	PyObject *step = text_of(t->step), *values = text_of(t->values), *kernel = text_of(t->kernel), *variant = text_of(t->variant), *all = NULL;
	if (step && values && kernel && variant)
		all = Py_BuildValue("(OOOOLLLLLL)", step, values, kernel, variant, (long long)t->cells, (long long)t->flops, (long long)t->bytes_read, (long long)t->bytes_written,
		                    (long long)t->start_ns, (long long)t->duration_ns);
	Py_XDECREF(step);
	Py_XDECREF(values);
	Py_XDECREF(kernel);
	Py_XDECREF(variant);
	return all;
}

static PyObject *launches_of(const Times *t)
{
	PyObject *list = PyList_New((Py_ssize_t)t->n);
	for (size_t i = 0; list && i < t->n; i++) {
		PyObject *one = launch_of(&t->p[i]);
		if (!one || PyList_SetItem(list, (Py_ssize_t)i, one))
			Py_CLEAR(list);
	}
	return list;
}

/* A listener that fails disturbs no call. */
static void tell(PyObject *to, PyObject *callable, DLDevice where, int64_t begin, int64_t end, const Times *t)
{
	char device[24];
	PyObject *launches = launches_of(t);
	PyObject *said = launches ? PyObject_CallFunction(to, "OsLLO", callable, core_device_text(device, where), (long long)begin, (long long)end, launches) : NULL;
	if (!said)
		PyErr_WriteUnraisable(to);
	Py_XDECREF(said);
	Py_XDECREF(launches);
}

int32_t core_profile_run(PyObject *callable, TesseraSession *s, int graph, const DLTensor *const *in, int n_in, const DLTensor *const *out, int n_out,
                         void *stream, TesseraError *e)
{
	PyObject *to = listener ? Py_NewRef(listener) : NULL;
	DLDevice where = s->device;
	Times t = { 0 };
	int64_t begin, end;
	int32_t rc;
	Py_BEGIN_ALLOW_THREADS
	begin = nanoseconds();
	rc = to ? tessera_profile(s, graph, in, n_in, out, n_out, stream, take, &t, e) : TESSERA_VERSION;
	if (rc == TESSERA_VERSION || (rc == TESSERA_INVALID && strstr(e->message, "being captured"))) { /* of an older compiler, or part of a CUDA graph: run, untimed */
		e->message[0] = 0;
		rc = tessera_run(s, graph, in, n_in, out, n_out, stream, e);
	}
	end = nanoseconds();
	Py_END_ALLOW_THREADS
	if (!rc && to)
		tell(to, callable, where, begin, end, &t);
	free(t.p);
	Py_XDECREF(to);
	return rc;
}

static PyObject *listen(PyObject *module, PyObject *to)
{
	PyObject *old = listener;
	(void)module;
	if (to != Py_None && !PyCallable_Check(to)) {
		PyErr_SetString(PyExc_TypeError, "profile_listen: wanted something to call, or None");
		return NULL;
	}
	listener = to == Py_None ? NULL : Py_NewRef(to);
	atomic_store(&core_profiling, listener != NULL);
	Py_XDECREF(old);
	Py_RETURN_NONE;
}

static PyObject *peak(PyObject *module, PyObject *turns)
{
	long n = PyLong_AsLong(turns);
	double rate;
	(void)module;
	if (n == -1 && PyErr_Occurred())
		return NULL;
	if (n < 1 || n > 1000000000) {
		PyErr_SetString(PyExc_ValueError, "fma_peak: wanted 1 to 1000000000 turns");
		return NULL;
	}
	Py_BEGIN_ALLOW_THREADS
	rate = fma_peak(n);
	Py_END_ALLOW_THREADS
	return PyFloat_FromDouble(rate);
}

static PyMethodDef functions[] = {
	{ "profile_listen", listen, METH_O, "profile_listen(f): every run calls f(callable, device, begin, end, launches); None: no more." },
	{ "fma_peak", peak, METH_O, "fma_peak(turns) -> GFLOP/s of this thread's fused multiply-adds in f32; 0 where there are none." },
	{ NULL, NULL, 0, NULL },
};

int core_profile_init(PyObject *module) { return PyModule_AddFunctions(module, functions); }
