/* The table of DLPack functions that our tensors offer to other libraries' C code (__dlpack_c_exchange_api__). */
#include "python/core/runtime.h"

static int allocate(DLTensor *prototype, DLManagedTensorVersioned **out, void *error_ctx, void (*set_error)(void *error_ctx, const char *kind, const char *message))
{
	PyGILState_STATE state = PyGILState_Ensure();
	const CoreDtype *t = core_dtype_of(prototype->dtype);
	CoreTensor *made = t ? core_tensor_empty(t, prototype->ndim, prototype->shape, prototype->device) : NULL;
	*out = made ? core_managed_of(made, 0) : NULL;
	core_tensor_drop(made);
	PyErr_Clear();
	PyGILState_Release(state);
	if (!*out)
		set_error(error_ctx, t ? "MemoryError" : "TypeError", t ? "no memory for a tensor" : "the element type is none of Tessera's");
	return *out ? 0 : -1;
}

static int from_object(void *object, DLManagedTensorVersioned **out)
{
	*out = NULL;
	if (!core_is_tensor(object)) {
		PyErr_SetString(PyExc_TypeError, "wanted a tensor of Tessera");
		return -1;
	}
	*out = core_managed_of(object, 0);
	return *out ? 0 : -1;
}

static int to_object(DLManagedTensorVersioned *m, void **out)
{
	*out = core_tensor_of_managed(m);
	return *out ? 0 : -1;
}

static int borrow(void *object, DLTensor *out)
{
	if (!core_is_tensor(object)) {
		PyErr_SetString(PyExc_TypeError, "wanted a tensor of Tessera");
		return -1;
	}
	*out = ((CoreTensor *)object)->dl;
	return 0;
}

/* our work is on the default stream */
static int work_stream(DLDeviceType type, int32_t id, void **out)
{
	(void)type;
	(void)id;
	*out = NULL;
	return 0;
}

static DLPackExchangeAPI exchange = { { { 1, 1 }, NULL }, allocate, from_object, to_object, borrow, work_stream };

PyObject *core_exchange_capsule(void) { return PyCapsule_New(&exchange, "dlpack_exchange_api", NULL); }
