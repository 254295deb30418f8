/* DLPack in capsules: what others hand us by __dlpack__ or as a bare capsule, old and versioned; and what we hand out. */
#include "python/core/device.h"
#include <stdlib.h>
#include <string.h>

enum { MAJOR = 1, MINOR = 1 };
#define LEGACY "dltensor"
#define VERSIONED "dltensor_versioned"
#define LEGACY_USED "used_dltensor"
#define VERSIONED_USED "used_dltensor_versioned"

/* ---- in ---- */

/* where the elements of d lie; false: nowhere that can be */
static bool extent(const DLTensor *d, const CoreDtype *t, int64_t count, uint8_t **data, uint8_t **lo, uint8_t **hi)
{
	uint64_t at = (uint64_t)(uintptr_t)d->data;
	int64_t below = 0, above = t->bytes ? t->bytes : core_bytes(t, count);
	*data = *lo = *hi = d->data;
	if (!count)
		return true;
	for (int i = 0; i < d->ndim && d->strides; i++) {
		int64_t reach;
		if (__builtin_mul_overflow(d->strides[i], d->shape[i] - 1, &reach) || __builtin_mul_overflow(reach, (int64_t)(t->bytes ? t->bytes : 1), &reach) ||
		    __builtin_add_overflow(*(reach < 0 ? &below : &above), reach, reach < 0 ? &below : &above))
			return false;
	}
	if (!d->strides)
		above = core_bytes(t, count);
	if (!at || __builtin_add_overflow(at, d->byte_offset, &at) || at >> 62 || below < -(int64_t)at || above > INT64_MAX - (int64_t)at)
		return false;
	*data = (uint8_t *)(uintptr_t)at;
	*lo = *data + below;
	*hi = *data + above;
	return true;
}

CoreTensor *core_tensor_of_dl(const DLTensor *d, CoreStorage *s, bool read_only)
{
	const CoreDtype *t = core_dtype_of(d->dtype);
	int64_t count, bytes;
	uint8_t *data;
	if (!t) {
		PyErr_Format(PyExc_TypeError, "its element type (DLPack type %d, %d bits, %d lanes) is none of Tessera's", d->dtype.code, d->dtype.bits, d->dtype.lanes);
	} else if (d->ndim < 0 || (d->ndim && !d->shape)) {
		PyErr_SetString(PyExc_ValueError, "it has no shape");
	} else if (d->device.device_type != kDLCPU && d->device.device_type != kDLCUDAHost && d->device.device_type != kDLCUDA &&
	           d->device.device_type != kDLCUDAManaged) {
		PyErr_Format(PyExc_ValueError, "it lies on a device of DLPack's type %d, wanted the CPU or an NVIDIA GPU", d->device.device_type);
	} else if (d->device.device_type == kDLCUDA && (d->device.device_id < 0 || d->device.device_id >= CORE_GPUS)) {
		PyErr_Format(PyExc_ValueError, "there is no GPU cuda:%d", d->device.device_id);
	} else if (!core_check_shape("its shape", t, d->ndim, d->shape, &count, &bytes)) {
		if (extent(d, t, count, &data, &s->lo, &s->hi)) {
			CoreTensor *out = core_tensor_over(NULL, s, t, data, d->ndim, d->shape, d->strides, read_only);
			if (!out || t->bytes || out->compact)
				return out;
			core_tensor_drop(out);
			PyErr_SetString(PyExc_ValueError, "elements of half a byte must lie compact");
			return NULL;
		}
		PyErr_SetString(PyExc_ValueError, d->data ? "its strides reach beyond the address space" : "it has elements, and no address");
	}
	core_storage_fail(s);
	return NULL;
}

/* managed memory is the GPU's as far as calls go */
static DLDevice place_of(const DLTensor *d) { return d->device.device_type == kDLCUDAManaged ? (DLDevice){ kDLCUDA, d->device.device_id } : d->device; }

CoreTensor *core_tensor_of_managed(DLManagedTensorVersioned *m)
{
	if (m->version.major != MAJOR) {
		uint32_t major = m->version.major;
		if (m->deleter)
			m->deleter(m);
		PyErr_Format(PyExc_BufferError, "it speaks DLPack %u, wanted 1", major);
		return NULL;
	}
	CoreStorage *s = core_storage_lent(CORE_MANAGED, m, place_of(&m->dl_tensor));
	const CoreDtype *t = s ? core_dtype_of(m->dl_tensor.dtype) : NULL;
	if (t && !t->bytes && m->flags & DLPACK_FLAG_BITMASK_IS_SUBBYTE_TYPE_PADDED) {
		core_storage_drop(s);
		PyErr_SetString(PyExc_ValueError, "its elements of half a byte take a byte each, wanted two in a byte");
		return NULL;
	}
	return s ? core_tensor_of_dl(&m->dl_tensor, s, m->flags & DLPACK_FLAG_BITMASK_READ_ONLY) : NULL;
}

/* a capsule is used up by renaming it */
CoreTensor *core_tensor_of_capsule(PyObject *capsule)
{
	if (PyCapsule_IsValid(capsule, VERSIONED)) {
		DLManagedTensorVersioned *m = PyCapsule_GetPointer(capsule, VERSIONED);
		return PyCapsule_SetName(capsule, VERSIONED_USED) ? NULL : core_tensor_of_managed(m);
	}
	if (PyCapsule_IsValid(capsule, LEGACY)) {
		DLManagedTensor *m = PyCapsule_GetPointer(capsule, LEGACY);
		CoreStorage *s = PyCapsule_SetName(capsule, LEGACY_USED) ? NULL : core_storage_lent(CORE_LEGACY, m, place_of(&m->dl_tensor));
		return s ? core_tensor_of_dl(&m->dl_tensor, s, false) : NULL;
	}
	const char *name = PyCapsule_CheckExact(capsule) ? PyCapsule_GetName(capsule) : NULL;
	PyErr_Clear();
	PyErr_Format(PyExc_ValueError, "wanted a capsule '" LEGACY "' or '" VERSIONED "', found '%s'%s", name ? name : "",
	             name && (!strcmp(name, LEGACY_USED) || !strcmp(name, VERSIONED_USED)) ? ", which somebody took already" : "");
	return NULL;
}

/* o.__dlpack_device__() says on which device */
static int device_of(PyObject *o, DLDevice *d)
{
	int type = 0, id = 0;
	PyObject *pair = PyObject_CallMethod(o, "__dlpack_device__", NULL);
	bool ok = pair && PyTuple_Check(pair) && PyTuple_Size(pair) == 2;
	if (pair && !ok)
		PyErr_SetString(PyExc_TypeError, "its __dlpack_device__() gives no pair of ints");
	if (ok) {
		type = (int)PyLong_AsLong(PyTuple_GetItem(pair, 0)); /* of enums too, which are ints */
		id = (int)PyLong_AsLong(PyTuple_GetItem(pair, 1));
	}
	Py_XDECREF(pair);
	*d = (DLDevice){ (DLDeviceType)type, id };
	return PyErr_Occurred() ? -1 : 0;
}

/* The producer orders its work before the default stream's (stream 1). One that knows no max_version is asked again without. PyTorch hands out tensors of the
   current GPU only: theirs is made the current one. Arrays of JAX never change, whatever their capsule says; an unversioned capsule says nothing, and then only
   libraries whose arrays are known to be written in place are taken at their word. */
CoreTensor *core_tensor_of_dlpack(PyObject *o)
{
	DLDevice d;
	bool pushed = false;
	PyObject *kwargs = NULL, *method = NULL, *none = NULL, *capsule = NULL;
	if (!device_of(o, &d) && !(d.device_type == kDLCUDA && core_push_context(d, &pushed)) && (method = PyObject_GetAttrString(o, "__dlpack__")) && (none = PyTuple_New(0)))
		kwargs = d.device_type == kDLCUDA ? Py_BuildValue("{s(ii)si}", "max_version", MAJOR, MINOR, "stream", 1) : Py_BuildValue("{s(ii)}", "max_version", MAJOR, MINOR);
	if (kwargs)
		capsule = PyObject_Call(method, none, kwargs);
	if (kwargs && !capsule && PyErr_ExceptionMatches(PyExc_TypeError)) {
		PyErr_Clear();
		capsule = PyDict_DelItemString(kwargs, "max_version") ? NULL : PyObject_Call(method, none, kwargs);
	}
	core_pop_context(pushed);
	Py_XDECREF(none);
	Py_XDECREF(method);
	Py_XDECREF(kwargs);
	bool silent = capsule && PyCapsule_IsValid(capsule, LEGACY);
	CoreTensor *t = capsule ? core_tensor_of_capsule(capsule) : NULL;
	Py_XDECREF(capsule);
	if (t && !core_may_write(Py_TYPE(o), !silent))
		t->read_only = true;
	return t;
}

static PyObject *from_dlpack(PyObject *module, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "x", "stream", NULL };
	PyObject *o, *stream = Py_None;
	(void)module;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:from_dlpack", names, &o, &stream))
		return NULL;
	CoreTensor *t;
	if (PyCapsule_CheckExact(o))
		t = core_tensor_of_capsule(o);
	else if (PyObject_HasAttrString(o, "__dlpack__"))
		t = core_tensor_of_dlpack(o);
	else
		return PyErr_Format(PyExc_TypeError, "argument 'x': wanted a DLPack capsule or an object with __dlpack__, found %R", (PyObject *)Py_TYPE(o));
	long long number = t && stream != Py_None ? PyLong_AsLongLong(stream) : 1;
	if (t && !PyErr_Occurred() && number > 2 && t->dl.device.device_type == kDLCUDA)
		core_default_after_stream(t->dl.device, (void *)(uintptr_t)number);
	if (PyErr_Occurred())
		Py_CLEAR(t);
	return (PyObject *)t;
}

/* ---- out ---- */

typedef struct {
	union { DLManagedTensor legacy; DLManagedTensorVersioned versioned; } m;
	CoreStorage *storage;
	int64_t dims[2 * CORE_RANK];
} Export;

static void delete_legacy(DLManagedTensor *m)
{
	core_storage_drop(((Export *)m->manager_ctx)->storage);
	free(m->manager_ctx);
}
static void delete_versioned(DLManagedTensorVersioned *m)
{
	core_storage_drop(((Export *)m->manager_ctx)->storage);
	free(m->manager_ctx);
}

static Export *export_new(CoreTensor *t, DLTensor *d)
{
	Export *x = calloc(1, sizeof *x);
	if (!x) {
		PyErr_NoMemory();
		return NULL;
	}
	int rank = t->dl.ndim;
	x->storage = core_storage_hold(t->storage);
	memcpy(x->dims, t->dims, sizeof(int64_t) * 2 * (size_t)rank);
	*d = t->dl;
	d->shape = x->dims;
	d->strides = x->dims + rank;
	return x;
}

DLManagedTensorVersioned *core_managed_of(CoreTensor *t, uint64_t flags)
{
	DLTensor d;
	Export *x = export_new(t, &d);
	if (!x)
		return NULL;
	flags |= t->read_only ? DLPACK_FLAG_BITMASK_READ_ONLY : 0;
	x->m.versioned = (DLManagedTensorVersioned){ { MAJOR, MINOR }, x, delete_versioned, flags, d };
	return &x->m.versioned;
}

static void drop_capsule(PyObject *capsule)
{
	if (PyCapsule_IsValid(capsule, VERSIONED)) {
		DLManagedTensorVersioned *m = PyCapsule_GetPointer(capsule, VERSIONED);
		m->deleter(m);
	} else if (PyCapsule_IsValid(capsule, LEGACY)) {
		DLManagedTensor *m = PyCapsule_GetPointer(capsule, LEGACY);
		m->deleter(m);
	}
}

PyObject *core_dlpack_capsule(CoreTensor *t, bool versioned, uint64_t flags)
{
	PyObject *capsule;
	if (versioned) {
		DLManagedTensorVersioned *m = core_managed_of(t, flags);
		capsule = m ? PyCapsule_New(m, VERSIONED, drop_capsule) : NULL;
		if (m && !capsule)
			m->deleter(m);
		return capsule;
	}
	if (t->read_only) {
		PyErr_SetString(PyExc_BufferError, "a read-only tensor can't be handed out as an unversioned DLPack capsule, which has no word for it; ask with max_version=(1, 0)");
		return NULL;
	}
	DLTensor d;
	Export *x = export_new(t, &d);
	if (!x)
		return NULL;
	x->m.legacy = (DLManagedTensor){ d, x, delete_legacy };
	capsule = PyCapsule_New(&x->m.legacy, LEGACY, drop_capsule);
	if (!capsule)
		delete_legacy(&x->m.legacy);
	return capsule;
}

/* dl_device: None, where the tensor lies, or the CPU (a copy); copy: None, True, False. 1: copy to *to; 0: no copy; -1: an exception */
static int wants_copy(CoreTensor *t, PyObject *dl_device, PyObject *copy, DLDevice *to)
{
	int type = 0, id = 0;
	*to = t->dl.device;
	if (dl_device != Py_None) {
		if (!PyTuple_Check(dl_device) || !PyArg_ParseTuple(dl_device, "ii", &type, &id)) {
			PyErr_Clear();
			PyErr_SetString(PyExc_TypeError, "argument 'dl_device': wanted a pair of ints");
			return -1;
		}
		*to = (DLDevice){ (DLDeviceType)type, id };
	}
	bool moves = to->device_type != t->dl.device.device_type || to->device_id != t->dl.device.device_id;
	if (moves && (copy == Py_False || (to->device_type != kDLCPU && to->device_type != kDLCUDA))) {
		PyErr_Format(PyExc_BufferError, "argument 'dl_device': the tensor is not on device (%d, %d)%s", type, id, copy == Py_False ? ", and may not be copied" : "");
		return -1;
	}
	return moves || copy == Py_True;
}

/* By the standard: None is the default stream, as 1 is; 2 the thread's; -1: no ordering. The CPU has none. */
static int order_for(CoreTensor *t, PyObject *stream)
{
	long long number = stream == Py_None ? 1 : PyLong_AsLongLong(stream);
	if (PyErr_Occurred()) {
		PyErr_Clear();
		PyErr_Format(PyExc_TypeError, "argument 'stream': wanted an int or None, found %R", stream);
		return -1;
	}
	if (core_on_host(t->dl.device)) {
		if (stream == Py_None || number == -1)
			return 0;
		PyErr_SetString(PyExc_BufferError, "argument 'stream': wanted None, for a tensor on the CPU");
		return -1;
	}
	if (number < -1 || number == 0) {
		PyErr_Format(PyExc_ValueError, "argument 'stream': wanted 1, 2, -1 or a stream's address, found %lld", number);
		return -1;
	}
	return number == -1 || number == 1 ? 0 : core_stream_after_default(t->dl.device, (void *)(uintptr_t)number);
}

/* __dlpack__(*, stream=None, max_version=None, dl_device=None, copy=None) */
PyObject *core_tensor_dlpack(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "stream", "max_version", "dl_device", "copy", NULL };
	PyObject *stream = Py_None, *max_version = Py_None, *dl_device = Py_None, *copy = Py_None;
	CoreTensor *t = (CoreTensor *)self, *copied = NULL;
	int major = 0, minor = 0;
	DLDevice to;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OOOO:__dlpack__", names, &stream, &max_version, &dl_device, &copy))
		return NULL;
	if (max_version != Py_None && (!PyTuple_Check(max_version) || !PyArg_ParseTuple(max_version, "ii", &major, &minor))) {
		PyErr_Clear();
		return PyErr_Format(PyExc_TypeError, "argument 'max_version': wanted a pair of ints, found %R", max_version);
	}
	int wanted = wants_copy(t, dl_device, copy, &to);
	if (wanted < 0 || (wanted && !(copied = core_copy_to(t, to))))
		return NULL;
	t = copied ? copied : t;
	PyObject *capsule = wanted && core_on_host(to) && stream != Py_None ? core_dlpack_capsule(t, major >= MAJOR, DLPACK_FLAG_BITMASK_IS_COPIED)
	                    : order_for(t, stream)                        ? NULL
	                                                                  : core_dlpack_capsule(t, major >= MAJOR, wanted ? DLPACK_FLAG_BITMASK_IS_COPIED : 0);
	core_tensor_drop(copied);
	return capsule;
}

PyObject *core_tensor_dlpack_device(PyObject *self, PyObject *unused)
{
	DLDevice d = ((CoreTensor *)self)->dl.device;
	(void)unused;
	return Py_BuildValue("(ii)", (int)d.device_type, (int)d.device_id);
}

static PyObject *to_dlpack(PyObject *module, PyObject *o)
{
	(void)module;
	CoreTensor *t = core_tensor_from(o);
	PyObject *capsule = t ? core_dlpack_capsule(t, false, 0) : NULL;
	core_tensor_drop(t);
	return capsule;
}

static PyMethodDef functions[] = {
	{ "from_dlpack", (PyCFunction)(void (*)(void))from_dlpack, METH_VARARGS | METH_KEYWORDS,
	  "from_dlpack(x, stream=None): what x, an object with __dlpack__ or a capsule, holds, without copying. stream: whose work made a capsule's elements." },
	{ "to_dlpack", to_dlpack, METH_O, "to_dlpack(x): an unversioned DLPack capsule over the memory of x." },
	{ NULL, NULL, 0, NULL },
};

int core_dlpack_init(PyObject *module) { return PyModule_AddFunctions(module, functions); }
