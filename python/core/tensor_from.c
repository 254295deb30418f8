/* What others call tensors and arrays, as ours, and back: each type of object is looked at once, then known by its address. */
#include "python/core/device.h"
#include <string.h>

/* ---- types of others ---- */

enum { KNOWN = 32 };
static CoreForeign known[KNOWN];     /* each holds its type, so that no other gets its address */
static int n_known;

/* is `type` a subclass of module.name, where that module is imported already? */
static bool derives(PyTypeObject *type, const char *module, const char *name)
{
	PyObject *modules = PyImport_GetModuleDict(); /* borrowed */
	PyObject *m = modules ? PyDict_GetItemString(modules, module) : NULL;
	PyObject *class = m ? PyObject_GetAttrString(m, name) : NULL;
	int yes = class ? PyObject_IsSubclass((PyObject *)type, class) : 0;
	Py_XDECREF(class);
	PyErr_Clear();
	return yes == 1;
}

/* by major version 1, which may be an older table behind the first */
static const DLPackExchangeAPI *exchange_of(PyTypeObject *type)
{
	PyObject *capsule = PyObject_GetAttrString((PyObject *)type, "__dlpack_c_exchange_api__");
	const DLPackExchangeAPIHeader *h = capsule && PyCapsule_CheckExact(capsule) ? PyCapsule_GetPointer(capsule, "dlpack_exchange_api") : NULL;
	PyErr_Clear();
	Py_XDECREF(capsule); /* the table lives as long as its library */
	while (h && h->version.major != 1)
		h = h->prev_api;
	return (const DLPackExchangeAPI *)(const void *)h;
}

static CoreForeign look(PyTypeObject *type)
{
	CoreForeign f = { type, CORE_KIND_OTHER, NULL };
	if (PyType_IsSubtype(type, core_tensor_type))
		f.kind = CORE_KIND_TS;
	else if (derives(type, "numpy.ma", "MaskedArray"))
		return f; /* elements without their mask would be wrong ones */
	else if (derives(type, "torch", "Tensor"))
		f.kind = CORE_KIND_TORCH;
	else if (derives(type, "numpy", "ndarray") || derives(type, "numpy", "generic"))
		f.kind = CORE_KIND_NUMPY;
	else if (derives(type, "jax", "Array"))
		f.kind = CORE_KIND_JAX;
	if (f.kind != CORE_KIND_TS)
		f.api = exchange_of(type);
	return f;
}

CoreForeign core_foreign(PyTypeObject *type)
{
	for (int i = 0; i < n_known; i++)
		if (known[i].type == type)
			return known[i];
	CoreForeign f = look(type);
	if (n_known < KNOWN && f.kind != CORE_KIND_OTHER) { /* what is of no library may become one's when that is imported */
		Py_INCREF((PyObject *)type);
		known[n_known++] = f;
	}
	return f;
}

bool core_may_write(PyTypeObject *type, bool flagged)
{
	CoreKind kind = core_foreign(type).kind;
	return kind != CORE_KIND_JAX && (flagged || kind != CORE_KIND_OTHER || derives(type, "cupy", "ndarray"));
}

/* ---- buffers ---- */

static CoreTensor *over_buffer(Py_buffer *b, const CoreDtype *t, int rank, const int64_t *shape, const int64_t *strides)
{
	CoreStorage *s = core_storage_lent(CORE_BUFFER, b, (DLDevice){ kDLCPU, 0 });
	if (!s)
		return NULL;
	s->lo = s->hi = b->buf;
	int64_t count = 1, reach = t->bytes;
	for (int i = 0; i < rank; i++)
		count *= shape[i];
	for (int i = 0; i < rank && strides && count; i++) {
		int64_t far = strides[i] * (shape[i] - 1) * t->bytes;
		if (far < 0)
			s->lo += far;
		else
			reach += far;
	}
	if (count)
		s->hi += strides ? reach : b->len;
	return core_tensor_over(NULL, s, t, b->buf, rank, shape, strides, b->readonly);
}

/* the buffer's bytes as elements of t: it must be contiguous */
static CoreTensor *reinterpret(Py_buffer *b, const CoreDtype *t, int rank, const int64_t *shape)
{
	int64_t flat[1], count, bytes;
	if (rank < 0) {
		flat[0] = t->bytes ? b->len / t->bytes : b->len * 2;
		if (t->bytes && b->len % t->bytes)
			PyErr_Format(PyExc_ValueError, "argument 'obj': %zd bytes are no whole number of elements of %s", b->len, t->name);
		rank = 1;
		shape = flat;
	}
	if (!PyErr_Occurred() && !core_check_shape("argument 'shape'", t, rank, shape, &count, &bytes)) {
		if (bytes > b->len)
			PyErr_Format(PyExc_ValueError, "argument 'obj': wanted %lld bytes, found %zd", (long long)bytes, b->len);
		else
			return over_buffer(b, t, rank, shape, NULL);
	}
	PyBuffer_Release(b);
	PyMem_Free(b);
	return NULL;
}

/* its own type and shape; t: its type, or what its bytes mean */
static CoreTensor *as_it_is(Py_buffer *b, const CoreDtype *t)
{
	int64_t shape[CORE_RANK], strides[CORE_RANK], count, bytes;
	if (b->ndim > CORE_RANK) {
		PyErr_Format(PyExc_ValueError, "wanted at most %d axes, found %d", CORE_RANK, b->ndim);
		goto fail;
	}
	for (int i = 0; i < b->ndim; i++) {
		shape[i] = b->shape ? b->shape[i] : b->len / b->itemsize;
		strides[i] = b->strides ? b->strides[i] / t->bytes : 1;
		if (b->strides && b->strides[i] % t->bytes) {
			PyErr_Format(PyExc_ValueError, "its strides are no whole number of elements (%zd bytes for axis %d)", b->strides[i], i);
			goto fail;
		}
	}
	if (!core_check_shape("its shape", t, b->ndim, shape, &count, &bytes))
		return over_buffer(b, t, b->ndim, shape, b->strides ? strides : NULL);
fail:
	PyBuffer_Release(b);
	PyMem_Free(b);
	return NULL;
}

static CoreTensor *refuse_buffer(Py_buffer *b, bool swapped)
{
	PyErr_Format(PyExc_TypeError, swapped ? "its elements are in the other byte order (format '%s')" : "its elements (format '%s') are none of Tessera's types",
	             b->format ? b->format : "B");
	PyBuffer_Release(b);
	PyMem_Free(b);
	return NULL;
}

CoreTensor *core_tensor_from_buffer(PyObject *o, const CoreDtype *t, int rank, const int64_t *shape)
{
	Py_buffer *b = PyMem_Malloc(sizeof *b);
	bool swapped = false;
	if (!b)
		return (CoreTensor *)PyErr_NoMemory();
	if (PyObject_GetBuffer(o, b, t ? PyBUF_C_CONTIGUOUS | PyBUF_FORMAT : PyBUF_RECORDS_RO)) {
		PyMem_Free(b);
		if (!t && PyErr_ExceptionMatches(PyExc_ValueError)) /* so NumPy says of types that buffers have no letter for */
			PyErr_SetString(PyExc_TypeError, "its elements are none of Tessera's types, and no buffer's");
		return NULL;
	}
	const CoreDtype *own = core_dtype_of_format(b->format, b->itemsize, &swapped);
	if (swapped || (b->format && strchr(b->format, 'O')))
		return refuse_buffer(b, swapped);
	return t ? reinterpret(b, t, rank, shape) : own ? as_it_is(b, own) : refuse_buffer(b, false);
}

/* the type of an array of ml_dtypes; NULL without an exception for other arrays */
static const CoreDtype *ml_dtype_of(PyObject *o)
{
	PyObject *dtype = PyObject_GetAttrString(o, "dtype"), *name = dtype ? PyObject_GetAttrString(dtype, "name") : NULL;
	const char *text = name ? PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
	const CoreDtype *t = text ? core_dtype_named(text) : NULL;
	t = t && t->ml && !strcmp(text, t->numpy) ? t : NULL;
	PyErr_Clear();
	Py_XDECREF(name);
	Py_XDECREF(dtype);
	return t;
}

/* NumPy makes no buffer of such arrays, but of the same bytes as unsigned integers */
static CoreTensor *from_ml_array(PyObject *o, const CoreDtype *t)
{
	PyObject *raw = PyObject_CallMethod(o, "view", "s", t->bytes == 2 ? "uint16" : "uint8");
	Py_buffer *b = raw ? PyMem_Malloc(sizeof *b) : NULL;
	if (raw && (!b || PyObject_GetBuffer(raw, b, PyBUF_RECORDS_RO))) {
		PyMem_Free(b);
		b = NULL;
	}
	Py_XDECREF(raw);
	return b ? as_it_is(b, t) : NULL;
}

/* ---- the CUDA array interface ---- */

static int interface_strides(PyObject *given, const CoreDtype *t, int rank, int64_t *strides)
{
	int n = core_sizes_from(given, "strides", strides);
	for (int i = 0; i < n; i++) {
		if (strides[i] % t->bytes) {
			PyErr_SetString(PyExc_ValueError, "its strides are no whole number of elements");
			return -1;
		}
		strides[i] /= t->bytes;
	}
	if (n >= 0 && n != rank)
		PyErr_SetString(PyExc_ValueError, "it has another number of strides than of sizes");
	return PyErr_Occurred() ? -1 : 0;
}

static const CoreDtype *interface_dtype(PyObject *typestr)
{
	static const char *const names[] = { "f32", "f64", "f16", "int64", "int32", "bool", "int16", "int8", "uint8", "complex64" };
	const char *text = typestr && PyUnicode_Check(typestr) ? PyUnicode_AsUTF8AndSize(typestr, NULL) : NULL;
	for (size_t i = 0; text && i < sizeof names / sizeof *names; i++) {
		const CoreDtype *t = core_dtype_named(names[i]);
		if (!strcmp(text + 1, t->typestr + 1) && (*text == *t->typestr || t->bytes == 1))
			return t;
	}
	PyErr_Format(PyExc_TypeError, "its elements (typestr %R) are none of Tessera's types", typestr ? typestr : Py_None);
	return NULL;
}

/* The device is the one that the interface doesn't name: asked of the driver by the address would cost a call, __dlpack_device__ knows it;
 * an object that has neither lies on the first GPU. */
static CoreTensor *from_interface(PyObject *o, PyObject *dict)
{
	int64_t shape[CORE_RANK], strides[CORE_RANK], count, bytes;
	unsigned long long at = 0;
	int read_only = 0;
	if (!PyDict_Check(dict)) {
		PyErr_SetString(PyExc_TypeError, "its __cuda_array_interface__ is no dict");
		return NULL;
	}
	PyObject *given_shape = PyDict_GetItemString(dict, "shape"), *given_strides = PyDict_GetItemString(dict, "strides"), *data = PyDict_GetItemString(dict, "data");
	PyObject *mask = PyDict_GetItemString(dict, "mask"), *stream = PyDict_GetItemString(dict, "stream");
	const CoreDtype *t = interface_dtype(PyDict_GetItemString(dict, "typestr"));
	int rank = t && given_shape ? core_sizes_from(given_shape, "shape", shape) : -1;
	if (t && (!given_shape || !data || !PyTuple_Check(data) || (mask && mask != Py_None)))
		PyErr_SetString(PyExc_ValueError, "its __cuda_array_interface__ lacks 'shape' or 'data', or has a mask");
	if (rank < 0 || PyErr_Occurred() || !PyArg_ParseTuple(data, "Kp", &at, &read_only) || core_check_shape("its shape", t, rank, shape, &count, &bytes))
		return NULL;
	bool strided = given_strides && given_strides != Py_None;
	if (strided && interface_strides(given_strides, t, rank, strides))
		return NULL;
	long long order = stream && stream != Py_None ? PyLong_AsLongLong(stream) : 1;
	DLDevice device = { kDLCUDA, 0 };
	if (PyErr_Occurred() || (order > 1 && core_default_after_stream(device, (void *)(uintptr_t)order)))
		return NULL;
	CoreStorage *s = core_storage_lent(CORE_OBJECT, Py_NewRef(o), device);
	DLTensor d = { .data = (void *)(uintptr_t)at, .device = device, .ndim = rank, .dtype = t->dl, .shape = shape, .strides = strided ? strides : NULL };
	return s ? core_tensor_of_dl(&d, s, read_only) : NULL;
}

/* ---- torch ---- */

/* "torch", found among the modules that are imported; borrowed */
static PyObject *torch(void)
{
	PyObject *modules = PyImport_GetModuleDict();
	return modules ? PyDict_GetItemString(modules, "torch") : NULL;
}

/* and gradients are being recorded; true also with an exception */
static bool needs_grad(PyObject *o)
{
	static PyObject *name;
	if (!name && !(name = PyUnicode_InternFromString("requires_grad")))
		return true;
	PyObject *needs = PyObject_GetAttr(o, name);
	bool yes = needs != Py_False;
	Py_XDECREF(needs);
	if (!yes || PyErr_Occurred())
		return yes;
	PyObject *on = torch() ? PyObject_CallMethod(torch(), "is_grad_enabled", NULL) : NULL;
	yes = on != Py_False;
	Py_XDECREF(on);
	return yes;
}

/* work of torch's current stream comes first */
static int after_work(const DLPackExchangeAPI *api, DLDevice d)
{
	void *stream = NULL;
	if (d.device_type != kDLCUDA)
		return 0;
	if (api->current_work_stream(d.device_type, d.device_id, &stream))
		return -1;
	return stream ? core_default_after_stream(d, stream) : 0;
}

/* method() of a tensor of torch; true also with an exception */
static bool says(PyObject *o, const char *method)
{
	PyObject *answer = PyObject_CallMethod(o, method, NULL);
	bool yes = answer != Py_False;
	Py_XDECREF(answer);
	return yes;
}

/* Complex tensors may be kept conjugated, and imaginary parts of such negated, by a bit that DLPack knows nothing of. Imaginary parts lie two
 * apart, so that most tensors need not be asked. */
static bool is_lazy(PyObject *o, const DLTensor *d)
{
	int64_t next = 1;
	bool apart = false;
	for (int i = d->ndim; i-- > 0;) {
		apart |= d->shape[i] != 1 && d->strides && d->strides[i] != next;
		next *= d->shape[i];
	}
	return (d->dtype.code == kDLComplex && says(o, "is_conj")) || ((apart || next == 1) && d->dtype.code == kDLFloat && says(o, "is_neg"));
}

int core_check_torch(PyObject *o, const DLTensor *d)
{
	if (needs_grad(o)) {
		if (!PyErr_Occurred())
			PyErr_SetString(PyExc_ValueError, "it requires a gradient, and this release computes none: use it under torch.no_grad(), or its .detach()");
		return -1;
	}
	if (is_lazy(o, d)) {
		if (!PyErr_Occurred())
			PyErr_SetString(PyExc_ValueError, "it is conjugated or negated by a bit alone; .resolve_conj() and .resolve_neg() give plain elements");
		return -1;
	}
	return 0;
}

/* what the table can't give, __dlpack__ can't either, and says why in fewer words */
static CoreTensor *by_exchange(PyObject *o, const CoreForeign *f)
{
	DLManagedTensorVersioned *m = NULL;
	if (f->api->managed_tensor_from_py_object_no_sync(o, &m)) {
		PyErr_Clear();
		return core_tensor_of_dlpack(o);
	}
	CoreTensor *t = core_tensor_of_managed(m);
	if (t && !core_may_write(f->type, true))
		t->read_only = true;
	if (t && ((f->kind == CORE_KIND_TORCH && core_check_torch(o, &t->dl)) || after_work(f->api, t->dl.device))) {
		core_tensor_drop(t);
		return NULL;
	}
	return t;
}

/* ---- any of them ---- */

static CoreTensor *by_buffer(PyObject *o, CoreKind kind)
{
	CoreTensor *t = core_tensor_from_buffer(o, NULL, -1, NULL);
	PyObject *type, *value, *trace;
	if (t || kind != CORE_KIND_NUMPY)
		return t;
	PyErr_Fetch(&type, &value, &trace);
	const CoreDtype *ml = ml_dtype_of(o);
	if (!ml) {
		PyErr_Restore(type, value, trace);
		return NULL;
	}
	Py_XDECREF(type);
	Py_XDECREF(value);
	Py_XDECREF(trace);
	return from_ml_array(o, ml);
}

CoreTensor *core_tensor_from(PyObject *o)
{
	if (core_is_tensor(o))
		return (CoreTensor *)Py_NewRef(o);
	CoreForeign f = core_foreign(Py_TYPE(o));
	if (f.api)
		return by_exchange(o, &f);
	if (f.kind == CORE_KIND_NUMPY)
		return by_buffer(o, f.kind);
	if (f.kind == CORE_KIND_OTHER && derives(Py_TYPE(o), "numpy.ma", "MaskedArray")) {
		PyErr_SetString(PyExc_TypeError, "the mask of a masked array would be lost; its .filled(value) is a plain array");
		return NULL;
	}
	if (f.kind != CORE_KIND_OTHER || PyObject_HasAttrString(o, "__dlpack__"))
		return core_tensor_of_dlpack(o);
	PyObject *dict = PyObject_GetAttrString(o, "__cuda_array_interface__");
	PyErr_Clear();
	if (dict) {
		CoreTensor *t = from_interface(o, dict);
		Py_DECREF(dict);
		return t;
	}
	if (PyObject_CheckBuffer(o))
		return by_buffer(o, f.kind);
	PyErr_Format(PyExc_TypeError, "wanted a tensor or an array, found %R", (PyObject *)Py_TYPE(o));
	return NULL;
}

/* ---- and back ---- */

static PyObject *by_function(const char *module, const char *function, CoreTensor *t)
{
	PyObject *m = PyImport_ImportModule(module);
	PyObject *out = m ? PyObject_CallMethod(m, function, "O", (PyObject *)t) : NULL;
	Py_XDECREF(m);
	return out;
}

PyObject *core_wrap(CoreKind kind, CoreTensor *t)
{
	PyObject *out;
	if (!t || kind == CORE_KIND_TS || kind == CORE_KIND_OTHER || kind == CORE_KIND_SCALAR || (kind == CORE_KIND_NUMPY && !core_on_host(t->dl.device)) || !t->dtype->bytes)
		return (PyObject *)t;
	if (kind == CORE_KIND_NUMPY)
		out = core_to_numpy(t);
	else
		out = kind == CORE_KIND_TORCH ? by_function("torch", "from_dlpack", t) : by_function("jax.dlpack", "from_dlpack", t);
	core_tensor_drop(t);
	return out;
}
