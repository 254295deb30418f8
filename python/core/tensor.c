/* TensorBase: sizes and strides over a storage. */
#include "python/core/runtime.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <structmember.h>

PyTypeObject *core_tensor_type;
static PyTypeObject *result_type;      /* what results are: TensorBase, or the package's own class */
static allocfunc result_alloc;

PyTypeObject *core_result_type(void) { return result_type; }

/* ---- sizes ---- */

const char *core_shape_text(char *text, size_t room, DLDataType d, int rank, const int64_t *shape)
{
	const CoreDtype *t = core_dtype_of(d);
	size_t n = t ? (size_t)snprintf(text, room, "%s[", t->name) : (size_t)snprintf(text, room, "(DLPack type %d, %d bits)[", d.code, d.bits);
	for (int i = 0; i < rank && n + 24 < room; i++)
		n += (size_t)snprintf(text + n, room - n, "%s%lld", i ? ", " : "", (long long)shape[i]);
	snprintf(text + n, room - n, "]");
	return text;
}

/* without its zeros a shape must still make sense: strides are made of it */
int core_check_shape(const char *what, const CoreDtype *t, int rank, const int64_t *shape, int64_t *count, int64_t *bytes)
{
	int64_t rest = 1;
	bool zero = false;
	if (rank > CORE_RANK) {
		PyErr_Format(PyExc_ValueError, "%s: wanted at most %d axes, found %d", what, CORE_RANK, rank);
		return -1;
	}
	for (int i = 0; i < rank; i++) {
		if (shape[i] < 0) {
			PyErr_Format(PyExc_ValueError, "%s: wanted sizes from 0 on, found %lld for axis %d", what, (long long)shape[i], i);
			return -1;
		}
		zero |= shape[i] == 0;
		if (shape[i] && __builtin_mul_overflow(rest, shape[i], &rest))
			rest = -1;
		if (rest < 0)
			break;
	}
	*bytes = rest < 0 ? -1 : core_bytes(t, rest);
	if (*bytes < 0) {
		PyErr_Format(PyExc_ValueError, "%s: its sizes multiply to more than 2^63 bytes", what);
		return -1;
	}
	*count = zero ? 0 : rest;
	*bytes = zero ? 0 : *bytes;
	return 0;
}

int core_sizes_from(PyObject *o, const char *what, int64_t *out)
{
	PyObject *list = PySequence_Fast(o, "");
	if (!list) {
		PyErr_Clear();
		PyErr_Format(PyExc_TypeError, "argument '%s': wanted a tuple of ints, found %R", what, (PyObject *)Py_TYPE(o));
		return -1;
	}
	Py_ssize_t n = PySequence_Size(list);
	if (n > CORE_RANK)
		PyErr_Format(PyExc_ValueError, "argument '%s': wanted at most %d axes, found %zd", what, CORE_RANK, n);
	for (Py_ssize_t i = 0; i < n && n <= CORE_RANK; i++) {
		PyObject *item = PySequence_GetItem(list, i);
		PyObject *number = item ? PyNumber_Index(item) : NULL;
		out[i] = number ? PyLong_AsLongLong(number) : -1;
		if (number && PyErr_ExceptionMatches(PyExc_OverflowError)) {
			PyErr_Clear();
			PyErr_Format(PyExc_ValueError, "argument '%s': wanted sizes below 2^63, found %R", what, number);
		}
		Py_XDECREF(number);
		Py_XDECREF(item);
		if (PyErr_Occurred())
			break;
	}
	Py_DECREF(list);
	return PyErr_Occurred() ? -1 : (int)n;
}

PyObject *core_tuple_of(const int64_t *n, int rank)
{
	PyObject *t = PyTuple_New(rank);
	for (int i = 0; t && i < rank; i++) {
		PyObject *v = PyLong_FromLongLong(n[i]);
		if (!v || PyTuple_SetItem(t, i, v)) {
			Py_DECREF(t);
			return NULL;
		}
	}
	return t;
}

/* compact: the strides are those of rows wherever it matters */
static void set_strides(CoreTensor *t, const int64_t *strides)
{
	int64_t next = 1;
	t->compact = true;
	for (int i = t->dl.ndim; i-- > 0;) {
		int64_t size = t->dl.shape[i];
		t->dl.strides[i] = strides ? strides[i] : next;
		if (size != 1)
			t->compact &= t->dl.strides[i] == next;
		if (size)
			next *= size;
	}
	if (!t->count)
		t->compact = true;
}

/* ---- making ---- */

CoreTensor *core_tensor_over(PyTypeObject *type, CoreStorage *s, const CoreDtype *dtype, void *data, int rank, const int64_t *shape, const int64_t *strides,
                             bool read_only)
{
	allocfunc alloc = !type || type == result_type ? result_alloc : (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
	CoreTensor *t = s ? (CoreTensor *)alloc(type ? type : result_type, 0) : NULL;
	if (!t) {
		if (s)
			core_storage_fail(s);
		return NULL;
	}
	t->storage = s;
	t->dtype = dtype;
	t->read_only = read_only;
	t->dl = (DLTensor){ .data = data, .device = s->device, .ndim = rank, .dtype = dtype->dl, .shape = t->dims, .strides = t->dims + rank };
	t->count = 1;
	for (int i = 0; i < rank; i++)
		t->count *= t->dims[i] = shape[i];
	set_strides(t, strides);
	return t;
}

CoreTensor *core_tensor_empty(const CoreDtype *t, int rank, const int64_t *shape, DLDevice device)
{
	int64_t count, bytes;
	if (core_check_shape("argument 'shape'", t, rank, shape, &count, &bytes))
		return NULL;
	CoreStorage *s = core_storage_new((uint64_t)bytes, device);
	return s ? core_tensor_over(NULL, s, t, s->memory, rank, shape, NULL, false) : NULL;
}

/* TensorBase(x): x, whatever holds it, as a tensor of this class over the same memory */
static PyObject *tensor_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	PyObject *from = NULL;
	if ((kwargs && PyDict_Size(kwargs)) || !PyArg_ParseTuple(args, "O", &from)) {
		PyErr_Clear();
		PyErr_SetString(PyExc_TypeError, "a tensor is made of one argument, something that holds elements; empty(), from_buffer() and from_dlpack() make others");
		return NULL;
	}
	CoreTensor *t = core_tensor_from(from);
	if (!t)
		return NULL;
	CoreTensor *out = core_tensor_over(type, core_storage_hold(t->storage), t->dtype, t->dl.data, t->dl.ndim, t->dl.shape, t->dl.strides, t->read_only);
	core_tensor_drop(t);
	return (PyObject *)out;
}

static void tensor_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	core_storage_drop(((CoreTensor *)self)->storage);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

/* ---- attributes ---- */

static PyObject *get_shape(PyObject *self, void *closure)
{
	const DLTensor *d = &((CoreTensor *)self)->dl;
	return core_tuple_of(closure ? d->strides : d->shape, d->ndim);
}

static PyObject *get_dtype(PyObject *self, void *closure)
{
	(void)closure;
	return PyUnicode_InternFromString(((CoreTensor *)self)->dtype->name);
}

static PyObject *get_device(PyObject *self, void *closure)
{
	char text[24];
	(void)closure;
	return PyUnicode_FromString(core_device_text(text, ((CoreTensor *)self)->dl.device));
}

static PyObject *get_nbytes(PyObject *self, void *closure)
{
	CoreTensor *t = (CoreTensor *)self;
	(void)closure;
	return PyLong_FromLongLong(core_bytes(t->dtype, t->count));
}

static PyObject *get_data_ptr(PyObject *self, void *closure)
{
	(void)closure;
	return PyLong_FromVoidPtr(((CoreTensor *)self)->dl.data);
}

static PyObject *is_contiguous(PyObject *self, PyObject *unused)
{
	(void)unused;
	return PyBool_FromLong(((CoreTensor *)self)->compact);
}

/* ---- views ---- */

/* Do the elements that sizes and strides reach lie in the storage? Both are checked to be below 2^63 elements in any direction. */
static bool inside(const CoreTensor *t, const uint8_t *data, int rank, const int64_t *shape, const int64_t *strides)
{
	int64_t lo = 0, hi = 0, elem = t->dtype->bytes;
	for (int i = 0; i < rank; i++) {
		int64_t reach;
		if (!shape[i])
			return true;
		if (__builtin_mul_overflow(strides[i], shape[i] - 1, &reach) || __builtin_mul_overflow(reach, elem, &reach) ||
		    __builtin_add_overflow(*(reach < 0 ? &lo : &hi), reach, reach < 0 ? &lo : &hi))
			return false;
	}
	return lo >= t->storage->lo - data && hi <= t->storage->hi - data - elem;
}

/* _view(offset, shape, strides): offset and strides in elements. Elements of half a byte lie compact from a whole byte on. */
static PyObject *view(PyObject *self, PyObject *args)
{
	CoreTensor *t = (CoreTensor *)self;
	PyObject *shape_given, *strides_given;
	int64_t shape[CORE_RANK], strides[CORE_RANK], count, bytes;
	long long offset;
	if (!PyArg_ParseTuple(args, "LOO", &offset, &shape_given, &strides_given))
		return NULL;
	int rank = core_sizes_from(shape_given, "shape", shape);
	if (rank < 0 || core_check_shape("argument 'shape'", t->dtype, rank, shape, &count, &bytes))
		return NULL;
	int n = core_sizes_from(strides_given, "strides", strides);
	if (n < 0)
		return NULL;
	if (n != rank)
		return PyErr_Format(PyExc_ValueError, "argument 'strides': wanted %d of them, found %d", rank, n);
	int64_t at = t->dtype->bytes ? 0 : offset / 2;
	bool ok = t->dtype->bytes ? !__builtin_mul_overflow((int64_t)offset, (int64_t)t->dtype->bytes, &at) : offset >= 0 && offset % 2 == 0;
	if (count && (!ok || at < t->storage->lo - (uint8_t *)t->dl.data || at > t->storage->hi - (uint8_t *)t->dl.data))
		return PyErr_Format(PyExc_ValueError, "argument 'offset': %lld is not inside of this tensor's memory", offset);
	uint8_t *data = count ? (uint8_t *)t->dl.data + at : t->dl.data;
	CoreTensor *out = core_tensor_over(Py_TYPE(self), core_storage_hold(t->storage), t->dtype, data, rank, shape, strides, t->read_only);
	if (!out || !count)
		return (PyObject *)out;
	if (t->dtype->bytes ? !inside(t, data, rank, shape, strides) : !out->compact || bytes > t->storage->hi - data) {
		core_tensor_drop(out);
		return PyErr_Format(PyExc_ValueError, "argument 'strides': with these sizes they reach beyond this tensor's memory");
	}
	return (PyObject *)out;
}

/* ---- functions of the module ---- */

static PyObject *empty(PyObject *module, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "shape", "dtype", "device", NULL };
	PyObject *shape_given, *dtype_given, *device_given = Py_None;
	int64_t shape[CORE_RANK];
	DLDevice device;
	(void)module;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|O:empty", names, &shape_given, &dtype_given, &device_given))
		return NULL;
	int rank = core_sizes_from(shape_given, "shape", shape);
	const CoreDtype *t = rank < 0 ? NULL : core_dtype_from(dtype_given);
	if (!t || core_device_from(device_given, &device))
		return NULL;
	return (PyObject *)core_tensor_empty(t, rank, shape, device);
}

static PyObject *from_buffer(PyObject *module, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "obj", "dtype", "shape", NULL };
	PyObject *o, *dtype_given = Py_None, *shape_given = Py_None;
	int64_t shape[CORE_RANK];
	(void)module;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO:from_buffer", names, &o, &dtype_given, &shape_given))
		return NULL;
	const CoreDtype *t = dtype_given == Py_None ? NULL : core_dtype_from(dtype_given);
	if (!t && dtype_given != Py_None)
		return NULL;
	if (!t && shape_given != Py_None)
		return PyErr_Format(PyExc_TypeError, "argument 'shape' needs a dtype beside it");
	int rank = shape_given == Py_None ? -1 : core_sizes_from(shape_given, "shape", shape);
	if (shape_given != Py_None && rank < 0)
		return NULL;
	return (PyObject *)core_tensor_from_buffer(o, t, rank, shape);
}

static PyObject *as_tensor(PyObject *module, PyObject *o)
{
	(void)module;
	return (PyObject *)core_tensor_from(o);
}

static PyObject *set_tensor_type(PyObject *module, PyObject *type)
{
	(void)module;
	if (!PyType_Check(type) || !PyType_IsSubtype((PyTypeObject *)type, core_tensor_type))
		return PyErr_Format(PyExc_TypeError, "argument 'type': wanted a subclass of TensorBase, found %R", type);
	Py_INCREF(type);
	Py_XDECREF((PyObject *)result_type);
	result_type = (PyTypeObject *)type;
	result_alloc = (allocfunc)PyType_GetSlot(result_type, Py_tp_alloc);
	Py_RETURN_NONE;
}

/* ---- the type ---- */

static PyMemberDef members[] = {
	{ "ndim", T_INT, offsetof(CoreTensor, dl.ndim), READONLY, "Number of axes." },
	{ "size", T_LONGLONG, offsetof(CoreTensor, count), READONLY, "Number of elements." },
	{ "read_only", T_BOOL, offsetof(CoreTensor, read_only), READONLY, "Whoever owns the memory doesn't want it to be written." },
	{ NULL, 0, 0, 0, NULL },
};
static PyGetSetDef getset[] = {
	{ "shape", get_shape, NULL, "Sizes, a tuple.", NULL },
	{ "strides", get_shape, NULL, "Elements from one index to the next of each axis, a tuple.", "" },
	{ "dtype", get_dtype, NULL, "The element type's name: 'f32'.", NULL },
	{ "device", get_device, NULL, "'cpu' or 'cuda:0'.", NULL },
	{ "nbytes", get_nbytes, NULL, "Bytes of the elements, compact.", NULL },
	{ "data_ptr", get_data_ptr, NULL, "Address of element 0.", NULL },
	{ "__cuda_array_interface__", core_tensor_cuda_interface, NULL, "Version 3; tensors of a GPU alone have it.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};
static PyMethodDef methods[] = {
	{ "is_contiguous", is_contiguous, METH_NOARGS, "True where the elements lie one after another, the last axis fastest." },
	{ "_view", view, METH_VARARGS, "_view(offset, shape, strides), in elements: other sizes over the same memory." },
	{ "_item", core_tensor_item, METH_NOARGS, "The only element, as a Python scalar." },
	{ "_copy_to", core_tensor_copy_to, METH_O, "_copy_to(device): a compact copy." },
	{ "_copy_from", core_tensor_copy_from, METH_O, "_copy_from(tensor): writes the elements of another one of this type and shape." },
	{ "tobytes", core_tensor_tobytes, METH_NOARGS, "The elements' bytes, compact." },
	{ "__array__", (PyCFunction)(void (*)(void))core_tensor_array, METH_VARARGS | METH_KEYWORDS, "A NumPy array over the same memory." },
	{ "__dlpack__", (PyCFunction)(void (*)(void))core_tensor_dlpack, METH_VARARGS | METH_KEYWORDS, "A DLPack capsule over the same memory." },
	{ "__dlpack_device__", core_tensor_dlpack_device, METH_NOARGS, "(device type, device number), as DLPack counts them." },
	{ NULL, NULL, 0, NULL },
};
static PyType_Slot slots[] = {
	{ Py_tp_doc, "A tensor: sizes, strides and an element type over memory of the CPU or of a GPU." },
	{ Py_tp_new, tensor_new },
	{ Py_tp_dealloc, tensor_dealloc },
	{ Py_tp_members, members },
	{ Py_tp_getset, getset },
	{ Py_tp_methods, methods },
	{ Py_bf_getbuffer, core_tensor_getbuffer },
	{ Py_bf_releasebuffer, core_tensor_releasebuffer },
	{ 0, NULL },
};
static PyType_Spec spec = { "tessera._core.TensorBase", sizeof(CoreTensor), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots };

static PyMethodDef functions[] = {
	{ "empty", (PyCFunction)(void (*)(void))empty, METH_VARARGS | METH_KEYWORDS, "empty(shape, dtype, device='cpu'): a tensor whose elements are anything." },
	{ "from_buffer", (PyCFunction)(void (*)(void))from_buffer, METH_VARARGS | METH_KEYWORDS,
	  "from_buffer(obj, dtype=None, shape=None): the memory of obj, of bytes or an array, without copying; dtype says how to read it." },
	{ "as_tensor", as_tensor, METH_O, "as_tensor(x): what x holds as a tensor, without copying. x: a tensor or array of any library." },
	{ "set_tensor_type", set_tensor_type, METH_O, "set_tensor_type(cls): what results are, a subclass of TensorBase." },
	{ NULL, NULL, 0, NULL },
};

PyTypeObject *core_add_type(PyObject *module, PyType_Spec *s)
{
	PyObject *type = PyType_FromModuleAndSpec(module, s, NULL);
	if (type && PyModule_AddType(module, (PyTypeObject *)type))
		Py_CLEAR(type);
	return (PyTypeObject *)type;
}

int core_tensor_init(PyObject *module)
{
	core_tensor_type = core_add_type(module, &spec);
	if (!core_tensor_type || PyModule_AddFunctions(module, functions))
		return -1;
	PyObject *capsule = core_exchange_capsule();
	int rc = capsule ? PyObject_SetAttrString((PyObject *)core_tensor_type, "__dlpack_c_exchange_api__", capsule) : -1;
	PyObject *none = rc ? NULL : set_tensor_type(NULL, (PyObject *)core_tensor_type);
	Py_XDECREF(capsule);
	Py_XDECREF(none);
	return none ? 0 : -1;
}
