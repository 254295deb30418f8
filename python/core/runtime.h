/* The runtime half of tessera._core: tensors, DLPack, loaded artifacts and their calls, GPUs. Nothing here knows of graphs or of the compiler;
 * all it has in common with the other half is the module. A tensor is a DLTensor over a storage: memory of ours, or what somebody lends (a
 * Python object, a buffer, a DLPack structure). Storages are counted without the GIL, so that a consumer of DLPack may let go of them from any
 * thread; everything else needs the GIL. Functions that return a PyObject give a new reference, or NULL with an exception set. */
#pragma once
#ifndef PY_SSIZE_T_CLEAN
#define PY_SSIZE_T_CLEAN
#endif
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "include/tessera/tessera.h"
#include "python/core/dlpack_abi.h"

enum { CORE_RANK = 16 }; /* of any tensor */

/* ---- element types (tensor_dtype.c) ---- */

typedef struct {
	const char *name;      /* as .tg says it */
	DLDataType dl;
	uint8_t bytes;         /* of an element; 0: two in a byte */
	const char *format;    /* of the buffer protocol; NULL: it has none */
	const char *typestr;   /* of the array interfaces; NULL: none */
	const char *numpy;     /* the dtype's name in NumPy, or in ml_dtypes */
	bool ml;               /* of ml_dtypes */
} CoreDtype;

const CoreDtype *core_dtype_of(DLDataType t);                         /* NULL: not one of ours */
/* A name, or an object whose text or .name is one ("bf16", ts.bf16, torch.float32, np.dtype("float32")). NULL with a TypeError. */
const CoreDtype *core_dtype_from(PyObject *o);
const CoreDtype *core_dtype_named(const char *name);                  /* NumPy's, torch's and .tg's names; NULL: none */
const CoreDtype *core_dtype_of_format(const char *format, Py_ssize_t itemsize, bool *swapped); /* of a buffer; NULL: none */
int64_t core_bytes(const CoreDtype *t, int64_t n);                    /* of n elements, compact; -1 beyond 2^63 */

/* ---- storages (tensor_storage.c) ---- */

typedef enum { CORE_OWN, CORE_OBJECT, CORE_BUFFER, CORE_LEGACY, CORE_MANAGED } CoreOwner;
typedef struct CoreStorage {
	_Atomic int64_t refs;
	CoreOwner owner;
	DLDevice device;
	uint8_t *memory;       /* of CORE_OWN */
	uint64_t bytes;        /* of CORE_OWN */
	uint8_t *lo, *hi;      /* where elements may lie: [lo, hi) */
	void *lent;            /* PyObject, Py_buffer, DLManagedTensor, DLManagedTensorVersioned */
	void *event;           /* of a GPU: the last work on another stream than the default one */
} CoreStorage;

CoreStorage *core_storage_new(uint64_t bytes, DLDevice device);       /* memory of ours, not initialised; NULL with an exception */
/* Takes what is lent over even when it fails (NULL with an exception). lo and hi are the caller's to set. */
CoreStorage *core_storage_lent(CoreOwner owner, void *lent, DLDevice device);
static inline CoreStorage *core_storage_hold(CoreStorage *s) { return atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed), s; }
void core_storage_drop(CoreStorage *s);                               /* from any thread, with the GIL or without; NULL is fine */

void core_storage_fail(CoreStorage *s);                               /* the same while an exception is set, which stays */

/* ---- tensors (tensor.c) ---- */

typedef struct CoreTensor {
	PyObject_HEAD
	DLTensor dl;           /* byte_offset 0, strides always given; shape and strides are those below */
	CoreStorage *storage;
	const CoreDtype *dtype;
	bool read_only, compact;
	int64_t count;         /* elements */
	int64_t dims[2 * CORE_RANK];
} CoreTensor;

extern PyTypeObject *core_tensor_type;                                /* TensorBase */
static inline void core_tensor_drop(CoreTensor *t) { Py_XDECREF((PyObject *)t); } /* NULL is fine */
static inline bool core_is_tensor(PyObject *o) { return Py_TYPE(o) == core_tensor_type || PyType_IsSubtype(Py_TYPE(o), core_tensor_type); }

/* Sizes that make a tensor: not negative, elements and bytes below 2^63, rank at most CORE_RANK. -1 with a ValueError that begins with `what`. */
int core_check_shape(const char *what, const CoreDtype *t, int rank, const int64_t *shape, int64_t *count, int64_t *bytes);
/* A tensor of the class that results have, over a storage that it takes over (also when it fails). strides NULL: compact. */
CoreTensor *core_tensor_over(PyTypeObject *type, CoreStorage *s, const CoreDtype *t, void *data, int rank, const int64_t *shape, const int64_t *strides,
                             bool read_only);
CoreTensor *core_tensor_empty(const CoreDtype *t, int rank, const int64_t *shape, DLDevice device);
PyTypeObject *core_result_type(void);                                 /* what set_tensor_type said */
/* Tuples and lists of ints as sizes: the number of them, -1 with an exception. */
int core_sizes_from(PyObject *o, const char *what, int64_t *out);
PyObject *core_tuple_of(const int64_t *n, int rank);
/* "f32[2, 3]", for messages; and of any DLTensor */
const char *core_shape_text(char *text, size_t room, DLDataType t, int rank, const int64_t *shape);
int core_device_from(PyObject *o, DLDevice *out);                     /* "cpu", "cuda", "cuda:1", or an object whose text is such; None: the CPU */
const char *core_device_text(char text[24], DLDevice d);
bool core_on_host(DLDevice d);

/* tensor_copy.c: strided to compact, and the other way; count elements of the CPU */
void core_gather(const CoreTensor *t, void *compact);
bool core_is_scattered(const CoreTensor *t);                          /* so that the runtime refuses to make it compact on a GPU, or is slow at it */
PyObject *core_item(const CoreDtype *t, const void *element);         /* memory of the CPU as a Python scalar */
/* A compact copy on the device. NULL with an exception. */
CoreTensor *core_copy_to(CoreTensor *t, DLDevice device);
PyObject *core_tensor_item(PyObject *self, PyObject *unused);
PyObject *core_tensor_tobytes(PyObject *self, PyObject *unused);
PyObject *core_tensor_copy_to(PyObject *self, PyObject *device);
PyObject *core_tensor_copy_from(PyObject *self, PyObject *source);

/* tensor_buffer.c: the buffer protocol and the array interfaces, outwards */
int core_tensor_getbuffer(PyObject *self, Py_buffer *view, int flags);
void core_tensor_releasebuffer(PyObject *self, Py_buffer *view);
PyObject *core_tensor_array(PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *core_tensor_cuda_interface(PyObject *self, void *closure);
PyObject *core_to_numpy(CoreTensor *t);                               /* no copy; an array of NumPy */

/* ---- whatever is like a tensor, as one (tensor_from.c) ---- */

/* Where an argument came from, which says what the results are. */
typedef enum { CORE_KIND_TS, CORE_KIND_TORCH, CORE_KIND_JAX, CORE_KIND_NUMPY, CORE_KIND_OTHER, CORE_KIND_SCALAR } CoreKind;
typedef struct {
	PyTypeObject *type;
	CoreKind kind;
	const DLPackExchangeAPI *api;  /* or NULL */
} CoreForeign;

CoreForeign core_foreign(PyTypeObject *type);                         /* looked up once for each type */
bool core_may_write(PyTypeObject *type, bool flagged);                /* may arrays of that type be written? flagged: what handed one over can say no, and did not */
/* Without copying, by whichever means the object has; NULL with a TypeError, ValueError or BufferError. */
CoreTensor *core_tensor_from(PyObject *o);
CoreTensor *core_tensor_from_buffer(PyObject *o, const CoreDtype *t, int rank, const int64_t *shape); /* t NULL: the buffer's own type and shape */
PyObject *core_wrap(CoreKind kind, CoreTensor *t);                    /* steals t; an array or tensor of that kind over the same memory */
int core_check_torch(PyObject *torch_tensor, const DLTensor *d);      /* d tells all of it: no gradient is wanted of it, no bit changes its elements */

/* ---- DLPack (dlpack.c, dlpack_api.c) ---- */

/* A DLTensor of somebody as a tensor; storage as in core_tensor_over, whose lo and hi are set here. */
CoreTensor *core_tensor_of_dl(const DLTensor *d, CoreStorage *s, bool read_only);
CoreTensor *core_tensor_of_managed(DLManagedTensorVersioned *m);      /* takes m over */
CoreTensor *core_tensor_of_capsule(PyObject *capsule);
CoreTensor *core_tensor_of_dlpack(PyObject *o);                       /* by o.__dlpack__ */
DLManagedTensorVersioned *core_managed_of(CoreTensor *t, uint64_t flags);
PyObject *core_dlpack_capsule(CoreTensor *t, bool versioned, uint64_t flags);
PyObject *core_tensor_dlpack(PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *core_tensor_dlpack_device(PyObject *self, PyObject *unused);
PyObject *core_exchange_capsule(void);                                /* __dlpack_c_exchange_api__ of our own tensors */

/* ---- devices (device.c, device_memory.c) ---- */

uint8_t *core_alloc(DLDevice device, uint64_t bytes);                 /* aligned to 64, on a GPU to 256; NULL with an exception */
void core_release(DLDevice device, uint8_t *memory, uint64_t bytes, void *event); /* takes the event over; any thread, no GIL needed */
void core_memory_forked(void);
TesseraContext *core_context(DLDevice device, const TesseraModel *m); /* the process's, made when it is first asked for; NULL with an exception */
TesseraContext *core_context_for_xla(void *user, DLDevice device, TesseraError *e); /* the same, from any thread, without the GIL */
uint32_t core_generation(void);                                       /* changes in a forked child */
int core_copy(DLDevice to_device, void *to, DLDevice from_device, const void *from, uint64_t bytes); /* done when it returns; -1 with an exception */
int core_copy_in_order(DLDevice device, void *to, const void *from_host, uint64_t bytes, void *stream); /* small, from the host, behind the stream's work */
/* Work on `stream` waits for what the default stream has now, or the other way. -1 with an exception. */
int core_stream_after_default(DLDevice device, void *stream);
int core_default_after_stream(DLDevice device, void *stream);
int core_storage_used_on(CoreStorage *s, void *stream);               /* its memory is not used again before what `stream` has now is done */
int core_push_context(DLDevice device, bool *pushed);                 /* makes the GPU's CUDA context current where it is not */
void core_pop_context(bool pushed);
PyObject *core_raise_tessera(int32_t code, const char *message);      /* the Python exception for TESSERA_* */
/* A class of tessera.errors (a new reference), or the built-in one that it derives from where there is none of that name. */
PyObject *core_error_class(const char *name, PyObject *plain);

/* ---- programs and calls ---- */

typedef struct CoreProgram {
	PyObject_HEAD
	const TesseraModel *model;
	void *library;                /* dlopen's, open for good */
	PyObject *path, *name;
} CoreProgram;
extern PyTypeObject *core_program_type, *core_callable_type;

/* ---- adding to the module ---- */

int core_runtime_init(PyObject *module);
int core_tensor_init(PyObject *module);
int core_dlpack_init(PyObject *module);
int core_device_init(PyObject *module);
int core_program_init(PyObject *module);
int core_call_init(PyObject *module);
int core_dispatch_init(PyObject *module);
int core_ways_init(PyObject *module);
PyTypeObject *core_add_type(PyObject *module, PyType_Spec *spec);
