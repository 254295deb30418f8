/* A graph of a program as something to call: arguments are held against what the graph wants, results are made where the arguments lie and of
 * their kind, and a session that nobody uses runs it without the GIL. Sessions are kept, as many as ever ran at once; on a GPU each belongs
 * to a stream. */
#include "python/core/call.h"
#include "python/core/profile.h"
#include <stdlib.h>
#include <string.h>

PyTypeObject *core_callable_type;

enum { GPU_SESSIONS = 16 }; /* that are kept of one callable; a run on one more stream costs an old one */

/* ---- do arguments fit? ---- */

static inline bool same_dtype(DLDataType have, const CoreDtype *want)
{
	return have.lanes == 1 && have.code == want->dl.code && (have.bits == want->dl.bits || (want->dl.bits == 6 && have.bits == 8));
}

static bool in_range(const TesseraDimInfo *d, int64_t n)
{
	return n >= d->min && (!d->max || n <= d->max) && (d->multiple_of <= 1 || n % d->multiple_of == 0);
}

static bool arg_fits(const CoreCallable *c, const CoreSpec *s, const CoreArg *a, int64_t *dims)
{
	if (a->kind == CORE_KIND_SCALAR)
		return !s->rank && core_scalar_fits(a->object, s->dtype);
	if (!same_dtype(a->dl.dtype, s->dtype) || a->dl.ndim != s->rank)
		return false;
	for (int k = 0; k < s->rank; k++) {
		int64_t want = s->dims[k], have = a->dl.shape[k];
		if (want >= 0 ? have != want : want == INT64_MIN ? false : dims[-1 - want] >= 0 && dims[-1 - want] != have)
			return false;
		if (want >= 0 || want == INT64_MIN || dims[-1 - want] == have)
			continue;
		if (!in_range(&c->dim[-1 - want], have))
			return false;
		dims[-1 - want] = have;
	}
	return true;
}

bool core_call_fits(const CoreCallable *c, const CoreArg *a, Py_ssize_t n, int64_t *dims, DLDevice *where)
{
	bool placed = false;
	if (n != c->n_in)
		return false;
	*where = c->device;
	for (int i = 0; i < c->n_dims; i++)
		dims[i] = -1;
	for (Py_ssize_t i = 0; i < n; i++) {
		if (!arg_fits(c, &c->spec[i], &a[i], dims))
			return false;
		if (a[i].kind == CORE_KIND_SCALAR)
			continue;
		DLDevice d = core_on_host(a[i].dl.device) ? (DLDevice){ kDLCPU, 0 } : a[i].dl.device;
		if (placed && (d.device_type != where->device_type || d.device_id != where->device_id))
			return false;
		*where = d;
		placed = true;
	}
	return true;
}

/* ---- sessions ---- */

static void session_free(CoreSession *s)
{
	tessera_session_destroy(s->head);
	free(s);
}

/* the sessions of a process that forked are of no use in its child */
static void forget_parents(CoreCallable *c)
{
	CoreSession **at = &c->sessions;
	while (*at) {
		CoreSession *s = *at;
		if (s->generation == core_generation()) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		if (!s->busy) /* one that another thread of the parent is inside of stays so for ever */
			session_free(s);
	}
}

static CoreSession *make_session(CoreCallable *c, DLDevice where, void *stream)
{
	TesseraContext *cx = core_context(where, c->model);
	CoreSession *s = cx ? calloc(1, sizeof *s) : NULL;
	TesseraError e = { 0 };
	int32_t rc;
	if (!s)
		return cx ? (CoreSession *)PyErr_NoMemory() : NULL;
	Py_BEGIN_ALLOW_THREADS
	rc = tessera_session_create(c->model, cx, NULL, &s->head, &e);
	Py_END_ALLOW_THREADS
	if (rc) {
		free(s);
		core_raise_tessera(rc, e.message);
		return NULL;
	}
	s->device = where;
	s->stream = stream;
	s->generation = core_generation();
	return s;
}

static void drop_oldest(CoreCallable *c)
{
	CoreSession **oldest = NULL;
	int n = 0;
	for (CoreSession **at = &c->sessions; *at; at = &(*at)->next, n++)
		if (!(*at)->busy)
			oldest = at;
	if (n <= GPU_SESSIONS || !oldest)
		return;
	CoreSession *s = *oldest;
	*oldest = s->next;
	session_free(s);
}

static CoreSession *take_session(CoreCallable *c, DLDevice where, void *stream)
{
	CoreSession *s = c->sessions;
	if (s && s->generation != core_generation()) {
		forget_parents(c);
		s = c->sessions;
	}
	for (CoreSession **at = &c->sessions; (s = *at); at = &s->next) {
		if (s->busy || s->device.device_type != where.device_type || s->device.device_id != where.device_id || s->stream != stream)
			continue;
		*at = s->next;
		break;
	}
	if (!s && !(s = make_session(c, where, stream)))
		return NULL;
	s->next = c->sessions;
	c->sessions = s;
	s->busy = true;
	if (!core_on_host(where))
		drop_oldest(c);
	return s;
}

/* ---- results ---- */

typedef struct {
	DLTensor *dl;
	CoreTensor *tensor;                 /* of ours, or NULL */
	DLManagedTensorVersioned *managed;  /* of the library that gave the arguments */
	int64_t shape[CORE_RANK];
} Result;

static CoreKind kind_of_results(const CoreArg *a, int n, const DLPackExchangeAPI **api)
{
	bool seen[CORE_KIND_SCALAR + 1] = { false };
	*api = NULL;
	for (int i = 0; i < n; i++) {
		seen[a[i].kind] = true;
		if (a[i].kind == CORE_KIND_TORCH && a[i].api)
			*api = a[i].api;
	}
	if (seen[CORE_KIND_TORCH])
		return CORE_KIND_TORCH;
	if (seen[CORE_KIND_JAX])
		return CORE_KIND_JAX;
	return seen[CORE_KIND_NUMPY] && !seen[CORE_KIND_TS] && !seen[CORE_KIND_OTHER] ? CORE_KIND_NUMPY : CORE_KIND_TS;
}

static void on_error(void *context, const char *kind, const char *message)
{
	(void)context;
	(void)kind;
	(void)message; /* the runtime's own memory is tried then, which says so if there is none */
}

static int make_result(Result *r, const CoreDtype *t, int rank, DLDevice where, const DLPackExchangeAPI *api)
{
	DLTensor prototype = { .device = where, .ndim = rank, .dtype = t->dl, .shape = r->shape };
	r->tensor = NULL;
	r->managed = NULL;
	if (api && t->bytes && !api->managed_tensor_allocator(&prototype, &r->managed, NULL, on_error)) {
		r->dl = &r->managed->dl_tensor;
		return 0;
	}
	PyErr_Clear();
	r->managed = NULL;
	r->tensor = core_tensor_empty(t, rank, r->shape, where);
	r->dl = r->tensor ? &r->tensor->dl : NULL;
	return r->tensor ? 0 : -1;
}

static void drop_results(Result *r, int n)
{
	PyObject *type, *value, *trace;
	PyErr_Fetch(&type, &value, &trace);
	for (int i = 0; i < n; i++) {
		if (r[i].managed && r[i].managed->deleter)
			r[i].managed->deleter(r[i].managed);
		core_tensor_drop(r[i].tensor);
		r[i].managed = NULL;
		r[i].tensor = NULL;
	}
	PyErr_Restore(type, value, trace);
}

static PyObject *finish_result(Result *r, CoreKind kind, const DLPackExchangeAPI *api)
{
	void *object = NULL;
	CoreTensor *t = r->tensor;
	DLManagedTensorVersioned *m = r->managed;
	r->tensor = NULL;
	r->managed = NULL;
	if (!m)
		return core_wrap(kind, t);
	return api->managed_tensor_to_py_object_no_sync(m, &object) ? NULL : object; /* which takes m over */
}

static PyObject *finish_results(Result *r, int n, CoreKind kind, const DLPackExchangeAPI *api)
{
	PyObject *all = n == 1 ? NULL : PyTuple_New(n);
	if (n == 1)
		return finish_result(r, kind, api);
	for (int i = 0; all && i < n; i++) {
		PyObject *one = finish_result(&r[i], kind, api);
		if (!one || PyTuple_SetItem(all, i, one))
			Py_CLEAR(all);
	}
	if (!all)
		drop_results(r, n);
	return all;
}

/* ---- sizes of outputs ---- */

static bool was_asked(const CoreCallable *c, const CoreArg *a)
{
	if (!c->has_answer)
		return false;
	for (int i = 0; i < c->n_in; i++)
		for (int k = 0; k < c->spec[i].rank; k++)
			if (a[i].dl.shape[k] != c->asked[i * CORE_RANK + k])
				return false;
	return true;
}

/* the runtime evaluates the formulas */
static int ask(CoreCallable *c, CoreSession *s, const CoreArg *a, const DLTensor *const *in)
{
	TesseraError e = { 0 };
	int32_t rank = 0;
	if (was_asked(c, a))
		return 0;
	c->has_answer = false;
	for (int i = 0; i < c->n_out; i++) {
		int32_t rc = tessera_output_shape(s->head, c->graph, in, c->n_in, i, c->answer + i * CORE_RANK, &rank, &e);
		if (rc) {
			core_raise_tessera(rc, e.message);
			return -1;
		}
	}
	for (int i = 0; i < c->n_in; i++)
		for (int k = 0; k < c->spec[i].rank; k++)
			c->asked[i * CORE_RANK + k] = a[i].dl.shape[k];
	c->has_answer = true;
	return 0;
}

static void shape_of(const CoreCallable *c, int output, const int64_t *dims, int64_t *shape)
{
	const CoreSpec *s = &c->spec[c->n_in + output];
	for (int k = 0; k < s->rank; k++)
		shape[k] = c->answer ? c->answer[output * CORE_RANK + k] : s->dims[k] >= 0 ? s->dims[k] : dims[-1 - s->dims[k]];
}

/* ---- on a GPU ---- */

/* torch computes on its current stream, everybody else on the default one */
static int find_stream(const DLPackExchangeAPI *api, DLDevice where, void **stream)
{
	*stream = NULL;
	return core_on_host(where) || !api ? 0 : api->current_work_stream(where.device_type, where.device_id, stream);
}

static int place_scalars(CoreCallable *c, CoreArg *a, DLDevice where, void *stream)
{
	for (int i = 0; i < c->n_in; i++) {
		const CoreDtype *t = c->spec[i].dtype;
		if (a[i].kind != CORE_KIND_SCALAR)
			continue;
		if (core_scalar_read(&a[i], t)) {
			core_call_unreadable(c, i);
			return -1;
		}
		if (core_on_host(where))
			continue;
		a[i].made = core_tensor_empty(t, 0, NULL, where);
		if (!a[i].made || core_copy_in_order(where, a[i].made->dl.data, a[i].scalar, t->bytes, stream))
			return -1;
		a[i].dl = a[i].made->dl;
		a[i].storage = a[i].made->storage;
	}
	return 0;
}

static bool is_strided(const DLTensor *d)
{
	int64_t next = 1;
	for (int i = d->ndim; i-- > 0 && d->strides;) {
		if (d->shape[i] != 1 && d->strides[i] != next)
			return true;
		next *= d->shape[i];
	}
	return false;
}

/* The runtime makes strided arguments compact by rectangles. torch has kernels for it; others go by the host where there were too many. */
static int make_compact(const CoreCallable *c, CoreArg *a)
{
	for (int i = 0; i < c->n_in; i++) {
		CoreTensor *compact = NULL;
		if (a[i].kind == CORE_KIND_SCALAR || !is_strided(&a[i].dl))
			continue;
		if (!a[i].made && !(a[i].made = core_tensor_from(a[i].object)))
			return -1;
		if (a[i].kind == CORE_KIND_TORCH) {
			PyObject *o = PyObject_CallMethod(a[i].object, "contiguous", NULL);
			compact = o ? core_tensor_from(o) : NULL;
			Py_XDECREF(o);
		} else if (!core_is_scattered(a[i].made)) {
			continue;
		} else {
			compact = core_copy_to(a[i].made, a[i].dl.device);
		}
		if (!compact)
			return -1;
		core_tensor_drop(a[i].made);
		a[i].made = compact;
		a[i].dl = compact->dl;
		a[i].storage = compact->storage;
	}
	return 0;
}

/* memory of ours belongs to the default stream: another one waits for it before, and is waited for before the memory is used again */
static int order_storages(const CoreCallable *c, const CoreArg *a, const Result *r, DLDevice where, void *stream, bool after)
{
	bool any = false;
	if (!stream || core_on_host(where))
		return 0;
	for (int i = 0; i < c->n_in; i++) {
		any |= a[i].storage != NULL;
		if (after && a[i].storage && a[i].storage->owner == CORE_OWN && core_storage_used_on(a[i].storage, stream))
			return -1;
	}
	for (int i = 0; i < c->n_out; i++) {
		any |= r[i].tensor != NULL;
		if (after && r[i].tensor && (core_storage_used_on(r[i].tensor->storage, stream) || core_default_after_stream(where, stream)))
			return -1;
	}
	return any && !after ? core_stream_after_default(where, stream) : 0;
}

/* ---- the call ---- */

static int run(CoreCallable *c, CoreSession *s, const DLTensor *const *in, const DLTensor *const *out)
{
	TesseraError e;
	int32_t rc;
	bool pushed;
	if (core_push_context(s->device, &pushed))
		return -1;
	e.message[0] = 0;
	if (atomic_load_explicit(&core_profiling, memory_order_relaxed)) {
		rc = core_profile_run((PyObject *)c, s->head, c->graph, in, c->n_in, out, c->n_out, s->stream, &e);
	} else {
		Py_BEGIN_ALLOW_THREADS
		rc = tessera_run(s->head, c->graph, in, c->n_in, out, c->n_out, s->stream, &e);
		Py_END_ALLOW_THREADS
	}
	core_pop_context(pushed);
	if (rc)
		core_raise_tessera(rc, e.message);
	return rc ? -1 : 0;
}

static PyObject *run_with(CoreCallable *c, CoreArg *a, const int64_t *dims, DLDevice where, const DLTensor **in, const DLTensor **out, Result *r)
{
	const DLPackExchangeAPI *api;
	CoreKind kind = kind_of_results(a, c->n_in, &api);
	void *stream;
	int made = 0;
	CoreSession *s = find_stream(api, where, &stream) ? NULL : take_session(c, where, stream);
	if (!s)
		return NULL;
	bool ok = !place_scalars(c, a, where, stream) && (core_on_host(where) || !make_compact(c, a));
	for (int i = 0; i < c->n_in; i++)
		in[i] = &a[i].dl;
	ok = ok && (!c->answer || !ask(c, s, a, in));
	for (int i = 0; ok && i < c->n_out; i++) /* all at once: others may ask about other sizes while results are made */
		shape_of(c, i, dims, r[i].shape);
	for (; ok && made < c->n_out; made += ok) {
		const CoreSpec *sp = &c->spec[c->n_in + made];
		ok = !make_result(&r[made], sp->dtype, sp->rank, where, kind == CORE_KIND_TORCH ? api : NULL);
		out[made] = r[made].dl;
	}
	ok = ok && !order_storages(c, a, r, where, stream, false) && !run(c, s, in, out) && !order_storages(c, a, r, where, stream, true);
	s->busy = false;
	if (!ok) {
		drop_results(r, made);
		return NULL;
	}
	return finish_results(r, c->n_out, kind, api);
}

PyObject *core_call_run(CoreCallable *c, CoreArg *a, const int64_t *dims, DLDevice where)
{
	const DLTensor *in_few[CORE_ARGS], *out_few[CORE_ARGS];
	Result few[CORE_ARGS];
	if (c->n_in <= CORE_ARGS && c->n_out <= CORE_ARGS)
		return run_with(c, a, dims, where, in_few, out_few, few);
	const DLTensor **in = PyMem_Calloc((size_t)(c->n_in + c->n_out), sizeof *in);
	Result *r = PyMem_Calloc((size_t)c->n_out + 1, sizeof *r);
	PyObject *out = in && r ? run_with(c, a, dims, where, in, in + c->n_in, r) : PyErr_NoMemory();
	PyMem_Free(in);
	PyMem_Free(r);
	return out;
}

static PyObject *call_with(CoreCallable *c, PyObject *args, CoreArg *a, int64_t *dims)
{
	Py_ssize_t n = PyTuple_Size(args), read = 0;
	PyObject *out = NULL;
	DLDevice where;
	if (n != c->n_in)
		return core_call_wrong(c, NULL, n);
	while (read < n && !core_arg_read(PyTuple_GetItem(args, read), &a[read]))
		read++;
	if (read < n)
		core_call_unreadable(c, read);
	else
		out = core_call_fits(c, a, n, dims, &where) ? core_call_run(c, a, dims, where) : core_call_wrong(c, a, n);
	for (Py_ssize_t i = 0; i < read; i++)
		core_arg_drop(&a[i]);
	return out;
}

static PyObject *call(PyObject *self, PyObject *args, PyObject *kwargs)
{
	CoreCallable *c = (CoreCallable *)self;
	CoreArg few[CORE_ARGS];
	int64_t dims[CORE_ARGS];
	Py_ssize_t n = PyTuple_Size(args);
	if (kwargs && PyDict_Size(kwargs))
		return PyErr_Format(PyExc_TypeError, "%s() takes no keyword arguments", tessera_graph_name(c->model, c->graph));
	if (n <= CORE_ARGS && c->n_dims <= CORE_ARGS)
		return call_with(c, args, few, dims);
	CoreArg *a = PyMem_Malloc((size_t)n * sizeof *a + (size_t)c->n_dims * sizeof *dims + 1);
	PyObject *out = a ? call_with(c, args, a, (int64_t *)(void *)(a + n)) : PyErr_NoMemory();
	PyMem_Free(a);
	return out;
}

/* ---- looking inside ---- */

static CoreSession *last_session(CoreCallable *c)
{
	if (!c->sessions)
		PyErr_SetString(PyExc_ValueError, "it has not been called yet");
	else if (c->sessions->busy)
		PyErr_SetString(PyExc_RuntimeError, "it is running in another thread");
	return PyErr_Occurred() ? NULL : c->sessions;
}

static PyObject *stats(PyObject *self, PyObject *unused)
{
	CoreSession *s = last_session((CoreCallable *)self);
	TesseraStats t = { 0 };
	(void)unused;
	if (!s)
		return NULL;
	tessera_stats(s->head, &t);
	return Py_BuildValue("{sKsKsKsKsKsKsKsKsisisisisIsIsKsKsKsKsKsK}", "workspace_bytes", t.workspace_bytes, "plan_bytes", t.plan_bytes, "external_bytes",
	                     t.external_bytes, "runs", t.runs, "prepares", t.prepares, "copied_tensors", t.copied_tensors, "copied_bytes", t.copied_bytes, "launches",
	                     t.launches, "threads", t.threads, "cpu", t.cpu, "sm", t.sm, "plan_sm", t.plan_sm, "modules", t.modules, "jit", t.jit, "upload_bytes",
	                     t.upload_bytes, "graph_runs", t.graph_runs, "plain_runs", t.plain_runs, "maps_encoded", t.maps_encoded, "nodes_updated", t.nodes_updated,
	                     "pointers_checked", t.pointers_checked);
}

static void add_line(void *list, const char *text)
{
	PyObject *line = PyUnicode_FromString(text);
	if (!line || PyList_Append(list, line))
		PyErr_Clear();
	Py_XDECREF(line);
}

static PyObject *explain(PyObject *self, PyObject *unused)
{
	CoreSession *s = last_session((CoreCallable *)self);
	TesseraError e = { 0 };
	PyObject *list = s ? PyList_New(0) : NULL;
	int32_t rc = list ? tessera_explain(s->head, add_line, list, &e) : 0;
	(void)unused;
	if (rc) {
		Py_CLEAR(list);
		core_raise_tessera(rc, e.message);
	}
	return list;
}

/* dims: {name: size}, or a sequence with one for each dim of the program */
static int read_dims(CoreCallable *c, PyObject *given, int64_t *dims)
{
	for (int i = 0; i < c->n_dims; i++) {
		PyObject *size = PyDict_Check(given) ? Py_XNewRef(PyDict_GetItemString(given, c->dim[i].name)) : PySequence_GetItem(given, i);
		dims[i] = size ? PyLong_AsLongLong(size) : -1;
		Py_XDECREF(size);
		if (PyErr_Occurred())
			return -1;
	}
	return 0;
}

static PyObject *prepare(PyObject *self, PyObject *given)
{
	CoreCallable *c = (CoreCallable *)self;
	TesseraError e = { 0 };
	int32_t rc = 0;
	bool pushed;
	int64_t *dims = PyMem_Malloc(((size_t)c->n_dims + 1) * sizeof *dims);
	CoreSession *s = !dims ? (CoreSession *)PyErr_NoMemory() : read_dims(c, given, dims) ? NULL : take_session(c, c->device, NULL);
	if (s && !core_push_context(s->device, &pushed)) {
		Py_BEGIN_ALLOW_THREADS
		rc = tessera_prepare(s->head, c->graph, dims, c->n_dims, &e);
		Py_END_ALLOW_THREADS
		core_pop_context(pushed);
	}
	if (s)
		s->busy = false;
	PyMem_Free(dims);
	if (rc)
		core_raise_tessera(rc, e.message);
	if (PyErr_Occurred())
		return NULL;
	Py_RETURN_NONE;
}

/* ---- the type ---- */

/* is this size of an output one that an input has too? Else it is a formula, or a dim that only formulas of inputs hold. */
static bool has_input_of(const CoreCallable *c, int64_t dim)
{
	for (int i = 0; i < c->n_in; i++)
		for (int k = 0; k < c->spec[i].rank; k++)
			if (c->spec[i].dims[k] == dim && dim != INT64_MIN)
				return true;
	return false;
}

static int read_model(CoreCallable *c)
{
	bool formulas = false;
	c->n_in = tessera_graph_inputs(c->model, c->graph);
	c->n_out = tessera_graph_outputs(c->model, c->graph);
	c->n_dims = tessera_dim_count(c->model);
	c->spec = PyMem_Calloc((size_t)(c->n_in + c->n_out) + 1, sizeof *c->spec);
	c->dim = PyMem_Calloc((size_t)c->n_dims + 1, sizeof *c->dim);
	if (!c->spec || !c->dim) {
		PyErr_NoMemory();
		return -1;
	}
	for (int i = 0; i < c->n_dims; i++)
		tessera_dim_info(c->model, i, &c->dim[i]);
	for (int i = 0; i < c->n_in + c->n_out; i++) {
		TesseraTensorInfo t;
		if (tessera_tensor_info(c->model, c->graph, i, &t) || t.rank < 0 || t.rank > CORE_RANK || !core_dtype_of(t.dtype)) {
			PyErr_SetString(PyExc_RuntimeError, "the model is damaged");
			return -1;
		}
		c->spec[i] = (CoreSpec){ .name = t.name, .dtype = core_dtype_of(t.dtype), .rank = t.rank };
		memcpy(c->spec[i].dims, t.dims, sizeof c->spec[i].dims);
		for (int k = 0; k < t.rank && i >= c->n_in; k++)
			formulas |= t.dims[k] < 0 && !has_input_of(c, t.dims[k]);
	}
	if (formulas && !(c->asked = PyMem_Calloc((size_t)(c->n_in + c->n_out) * CORE_RANK + 1, sizeof *c->asked))) {
		PyErr_NoMemory();
		return -1;
	}
	c->answer = formulas ? c->asked + c->n_in * CORE_RANK : NULL;
	return 0;
}

static PyObject *names_of(CoreCallable *c, PyObject *given)
{
	PyObject *names = given == Py_None ? PyTuple_New(c->n_in) : PySequence_Tuple(given);
	for (int i = 0; names && given == Py_None && i < c->n_in; i++) {
		PyObject *name = PyUnicode_FromString(c->spec[i].name);
		if (!name || PyTuple_SetItem(names, i, name))
			Py_CLEAR(names);
	}
	if (names && PyTuple_Size(names) != c->n_in) {
		PyErr_Format(PyExc_ValueError, "argument 'names': wanted %d of them, found %zd", c->n_in, PyTuple_Size(names));
		Py_CLEAR(names);
	}
	for (int i = 0; names && i < c->n_in; i++)
		if (!PyUnicode_Check(PyTuple_GetItem(names, i))) {
			PyErr_SetString(PyExc_TypeError, "argument 'names': wanted strings");
			Py_CLEAR(names);
		}
	return names;
}

static PyObject *callable_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "program", "graph", "names", "device", NULL };
	PyObject *program, *graph = NULL, *names = Py_None, *device = Py_None;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|OOO:Callable", words, core_program_type, &program, &graph, &names, &device))
		return NULL;
	int number = graph ? core_program_graph((CoreProgram *)program, graph) : 0;
	CoreCallable *c = number < 0 ? NULL : (CoreCallable *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
	if (!c)
		return NULL;
	c->program = (CoreProgram *)Py_NewRef(program);
	c->model = c->program->model;
	c->graph = number;
	if (core_device_from(device, &c->device) || read_model(c) || !(c->names = names_of(c, names))) {
		Py_DECREF((PyObject *)c);
		return NULL;
	}
	return (PyObject *)c;
}

static void callable_dealloc(PyObject *self)
{
	CoreCallable *c = (CoreCallable *)self;
	PyTypeObject *type = Py_TYPE(self);
	for (CoreSession *s; (s = c->sessions);) {
		c->sessions = s->next;
		session_free(s);
	}
	PyMem_Free(c->spec);
	PyMem_Free(c->dim);
	PyMem_Free(c->asked);
	Py_XDECREF(c->names);
	Py_XDECREF((PyObject *)c->program);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyObject *get_part(PyObject *self, void *closure)
{
	CoreCallable *c = (CoreCallable *)self;
	const char *what = closure;
	if (*what == 'p')
		return Py_NewRef((PyObject *)c->program);
	return *what == 'n' ? Py_NewRef(c->names) : PyUnicode_FromString(tessera_graph_name(c->model, c->graph));
}

static PyObject *n_sessions(PyObject *self, void *closure)
{
	long n = 0;
	(void)closure;
	for (CoreSession *s = ((CoreCallable *)self)->sessions; s; s = s->next)
		n++;
	return PyLong_FromLong(n);
}

static PyGetSetDef getset[] = {
	{ "program", get_part, NULL, "The program that it is of.", "program" },
	{ "names", get_part, NULL, "What the arguments are called.", "names" },
	{ "graph", get_part, NULL, "The graph's name.", "graph" },
	{ "sessions", n_sessions, NULL, "Sessions that were made: as many as ever ran at once.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};
static PyMethodDef methods[] = {
	{ "stats", stats, METH_NOARGS, "stats() -> dict: what the session counts that ran last." },
	{ "explain", explain, METH_NOARGS, "explain() -> list of str: one line for each launch of the last run." },
	{ "prepare", prepare, METH_O, "prepare(dims): ready for these sizes, a dict by name or a sequence, before the first call." },
	{ NULL, NULL, 0, NULL },
};
static PyType_Slot slots[] = {
	{ Py_tp_doc, "Callable(program, graph=0, names=None, device='cpu'): a graph of a program, called with tensors or arrays of any library. "
	             "device: where it runs when no argument lies anywhere." },
	{ Py_tp_new, callable_new },
	{ Py_tp_dealloc, callable_dealloc },
	{ Py_tp_call, call },
	{ Py_tp_repr, core_call_repr },
	{ Py_tp_getset, getset },
	{ Py_tp_methods, methods },
	{ 0, NULL },
};
static PyType_Spec spec = { "tessera._core.Callable", sizeof(CoreCallable), 0, Py_TPFLAGS_DEFAULT, slots };

int core_call_init(PyObject *module)
{
	core_callable_type = core_add_type(module, &spec);
	return core_callable_type ? 0 : -1;
}
