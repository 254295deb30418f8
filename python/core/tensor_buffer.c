/* A tensor for those who read the buffer protocol or an array interface. Types that the buffer protocol has no letter for (bf16) are given to who
 * asks for bare bytes, and to NumPy as the types of ml_dtypes, or as unsigned integers of their size where that can't be imported. */
#include "python/core/runtime.h"

/* shape and strides of a view, in Py_ssize_t, live until it is released */
typedef struct { Py_ssize_t shape[CORE_RANK], strides[CORE_RANK]; } Layout;

static bool is_fortran(const CoreTensor *t)
{
	int64_t next = 1;
	for (int i = 0; i < t->dl.ndim; i++) {
		if (t->dl.shape[i] != 1 && t->dl.strides[i] != next)
			return false;
		next *= t->dl.shape[i];
	}
	return true;
}

static const char *refusal(const CoreTensor *t, int flags)
{
	if (!core_on_host(t->dl.device))
		return "a tensor on a GPU has no buffer; copy it to the CPU first";
	if (!t->dtype->bytes)
		return "elements of half a byte have no buffer; tobytes() gives them";
	if (!t->dtype->format && flags & PyBUF_FORMAT)
		return "the buffer protocol has no letter for this element type; __array__() and tobytes() give its elements";
	if (t->read_only && (flags & PyBUF_WRITABLE) == PyBUF_WRITABLE)
		return "the tensor is read-only";
	if ((flags & PyBUF_C_CONTIGUOUS) == PyBUF_C_CONTIGUOUS && !t->compact)
		return "the tensor is not contiguous";
	if ((flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS && !is_fortran(t))
		return "the tensor is not contiguous in Fortran's order";
	if ((flags & PyBUF_ANY_CONTIGUOUS) == PyBUF_ANY_CONTIGUOUS && !t->compact && !is_fortran(t))
		return "the tensor is not contiguous";
	return (flags & PyBUF_STRIDES) != PyBUF_STRIDES && !t->compact ? "the tensor is not contiguous" : NULL;
}

int core_tensor_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
	CoreTensor *t = (CoreTensor *)self;
	const char *why = refusal(t, flags);
	Layout *l = why ? NULL : PyMem_Malloc(sizeof *l);
	view->obj = NULL;
	if (!l) {
		if (why)
			PyErr_SetString(PyExc_BufferError, why);
		else
			PyErr_NoMemory();
		return -1;
	}
	for (int i = 0; i < t->dl.ndim; i++) {
		l->shape[i] = (Py_ssize_t)t->dl.shape[i];
		l->strides[i] = (Py_ssize_t)t->dl.strides[i] * t->dtype->bytes;
	}
	*view = (Py_buffer){ .buf = t->dl.data, .len = (Py_ssize_t)core_bytes(t->dtype, t->count), .itemsize = t->dtype->bytes, .readonly = t->read_only,
	                     .ndim = t->dl.ndim, .internal = l };
	view->format = flags & PyBUF_FORMAT ? (char *)(uintptr_t)t->dtype->format : NULL;
	view->shape = flags & PyBUF_ND ? l->shape : NULL;
	view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? l->strides : NULL;
	Py_INCREF(self);
	view->obj = self;
	return 0;
}

void core_tensor_releasebuffer(PyObject *self, Py_buffer *view)
{
	(void)self;
	PyMem_Free(view->internal);
}

/* ---- NumPy ---- */

/* ml_dtypes' type; NULL without an exception where it is not there */
static PyObject *ml_type(const CoreDtype *t)
{
	PyObject *ml = PyImport_ImportModule("ml_dtypes");
	PyObject *type = ml ? PyObject_GetAttrString(ml, t->numpy) : NULL;
	PyErr_Clear();
	Py_XDECREF(ml);
	return type;
}

PyObject *core_to_numpy(CoreTensor *t)
{
	PyObject *numpy = PyImport_ImportModule("numpy");
	if (!numpy)
		return NULL;
	const CoreDtype *raw = !t->dtype->ml ? t->dtype : core_dtype_named(t->dtype->bytes == 2 ? "int16" : "uint8");
	CoreTensor *plain = core_tensor_over(core_tensor_type, core_storage_hold(t->storage), raw, t->dl.data, t->dl.ndim, t->dl.shape, t->dl.strides, t->read_only);
	PyObject *memory = plain ? PyMemoryView_FromObject((PyObject *)plain) : NULL;
	PyObject *array = memory ? PyObject_CallMethod(numpy, "asarray", "O", memory) : NULL;
	core_tensor_drop(plain);
	Py_XDECREF(memory);
	Py_DECREF(numpy);
	PyObject *type = array && t->dtype->ml ? ml_type(t->dtype) : NULL;
	if (array && t->dtype->ml && !type)
		type = PyUnicode_FromString(t->dtype->bytes == 2 ? "uint16" : "uint8");
	if (type) {
		PyObject *typed = PyObject_CallMethod(array, "view", "O", type);
		Py_DECREF(array);
		Py_DECREF(type);
		array = typed;
	}
	return array;
}

/* __array__(dtype=None, copy=None) */
PyObject *core_tensor_array(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "dtype", "copy", NULL };
	PyObject *dtype = Py_None, *copy = Py_None;
	CoreTensor *t = (CoreTensor *)self;
	char device[24];
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO:__array__", names, &dtype, &copy))
		return NULL;
	if (!core_on_host(t->dl.device))
		return PyErr_Format(PyExc_TypeError, "a tensor on %s can't become a NumPy array without a copy; copy it to the CPU first", core_device_text(device, t->dl.device));
	PyObject *array = core_to_numpy(t);
	if (array && dtype != Py_None) {
		PyObject *cast = PyObject_CallMethod(array, "astype", "O", dtype);
		PyObject *keep = cast ? PyObject_GetAttrString(array, "dtype") : NULL;
		PyObject *have = keep ? PyObject_GetAttrString(cast, "dtype") : NULL;
		int same = have ? PyObject_RichCompareBool(keep, have, Py_EQ) : -1;
		Py_XDECREF(keep);
		Py_XDECREF(have);
		if (same == 0 && copy == Py_False) {
			PyErr_SetString(PyExc_ValueError, "another dtype can't be had without a copy");
			same = -1;
		}
		if (same == 1) {
			Py_CLEAR(cast);
		} else {
			Py_DECREF(array);
			array = cast;
			if (same < 0)
				Py_CLEAR(array);
			return array;
		}
	}
	if (array && copy != Py_None && PyObject_IsTrue(copy) == 1) {
		PyObject *own = PyObject_CallMethod(array, "copy", NULL);
		Py_DECREF(array);
		array = own;
	}
	return array;
}

/* ---- the CUDA array interface ---- */

PyObject *core_tensor_cuda_interface(PyObject *self, void *closure)
{
	CoreTensor *t = (CoreTensor *)self;
	int64_t bytes[CORE_RANK];
	(void)closure;
	if (t->dl.device.device_type != kDLCUDA || !t->dtype->typestr) {
		PyErr_SetString(PyExc_AttributeError, t->dtype->typestr ? "__cuda_array_interface__: the tensor is not on a GPU"
		                                                        : "__cuda_array_interface__: it knows no elements of half a byte");
		return NULL;
	}
	for (int i = 0; i < t->dl.ndim; i++)
		bytes[i] = t->dl.strides[i] * t->dtype->bytes;
	PyObject *strides = t->compact ? Py_NewRef(Py_None) : core_tuple_of(bytes, t->dl.ndim);
	PyObject *shape = core_tuple_of(t->dl.shape, t->dl.ndim);
	if (!shape || !strides) {
		Py_XDECREF(shape);
		Py_XDECREF(strides);
		return NULL;
	}
	return Py_BuildValue("{sisNsss(NO)sNsi}", "version", 3, "shape", shape, "typestr", t->dtype->typestr, "data",
	                     PyLong_FromVoidPtr(t->count ? t->dl.data : NULL), t->read_only ? Py_True : Py_False, "strides", strides, "stream", 1);
}
