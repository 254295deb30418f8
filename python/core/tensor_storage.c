/* Storages: who owns memory, counted. The last one to let go may be a thread that Python does not know, at a time when Python is gone. */
#include "python/core/runtime.h"
#include <stdlib.h>

CoreStorage *core_storage_new(uint64_t bytes, DLDevice device)
{
	uint8_t *memory = core_alloc(device, bytes);
	CoreStorage *s = memory ? calloc(1, sizeof *s) : NULL;
	if (!s) {
		if (memory) {
			core_release(device, memory, bytes, NULL);
			PyErr_NoMemory();
		}
		return NULL;
	}
	*s = (CoreStorage){ .owner = CORE_OWN, .device = device, .memory = memory, .bytes = bytes, .lo = memory, .hi = memory + bytes };
	atomic_init(&s->refs, 1);
	return s;
}

/* What belongs to Python is let go of with the GIL; where the interpreter is gone already, never. */
static void give_back_python(CoreStorage *s)
{
	if (!Py_IsInitialized())
		return;
	PyGILState_STATE state = PyGILState_Ensure();
	if (s->owner == CORE_BUFFER) {
		PyBuffer_Release(s->lent);
		PyMem_Free(s->lent);
	} else {
		Py_DECREF((PyObject *)s->lent);
	}
	PyGILState_Release(state);
}

static void give_back(CoreStorage *s)
{
	DLManagedTensor *legacy = s->lent;
	DLManagedTensorVersioned *managed = s->lent;
	switch (s->owner) {
	case CORE_OWN: core_release(s->device, s->memory, s->bytes, s->event); break;
	case CORE_OBJECT:
	case CORE_BUFFER: give_back_python(s); break;
	case CORE_LEGACY:
		if (legacy->deleter)
			legacy->deleter(legacy);
		break;
	case CORE_MANAGED:
		if (managed->deleter)
			managed->deleter(managed);
		break;
	}
}

CoreStorage *core_storage_lent(CoreOwner owner, void *lent, DLDevice device)
{
	CoreStorage *s = malloc(sizeof *s), lost = { .owner = owner, .device = device, .lent = lent };
	if (!s) {
		give_back(&lost); /* no exception is set yet */
		PyErr_NoMemory();
		return NULL;
	}
	*s = lost;
	atomic_init(&s->refs, 1);
	return s;
}

void core_storage_drop(CoreStorage *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	give_back(s);
	free(s);
}

/* a deleter may run Python, which must not find an exception set */
void core_storage_fail(CoreStorage *s)
{
	PyObject *type, *value, *trace;
	PyErr_Fetch(&type, &value, &trace);
	core_storage_drop(s);
	PyErr_Restore(type, value, trace);
}
