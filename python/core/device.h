/* What the files that know GPUs share: the driver, found when somebody first asks for a GPU, and one context for each device of the process.
 * The driver's handles are of the process that opened it: in a forked child every function here fails with an exception, but for freeing, which
 * does nothing. */
#pragma once
#include "python/core/runtime.h"

enum { CORE_GPUS = 64 };

typedef uint64_t CoreCuPtr;
/* F(name in the driver without `cu`, arguments) */
#define CORE_CUDA_FUNCTIONS(F) \
	F(Init, (uint32_t flags)) \
	F(GetErrorName, (int32_t code, const char **name)) \
	F(DeviceGetCount, (int32_t *n)) \
	F(DeviceGet, (int32_t *device, int32_t ordinal)) \
	F(DeviceGetName, (char *name, int32_t n, int32_t device)) \
	F(DeviceGetAttribute, (int32_t *value, int32_t attribute, int32_t device)) \
	F(DeviceTotalMem, (size_t *bytes, int32_t device)) \
	F(CtxGetCurrent, (void **context)) \
	F(CtxPushCurrent, (void *context)) \
	F(CtxPopCurrent, (void **context)) \
	F(CtxSynchronize, (void)) \
	F(EventCreate, (void **event, uint32_t flags)) \
	F(EventRecord, (void *event, void *stream)) \
	F(EventDestroy, (void *event)) \
	F(StreamWaitEvent, (void *stream, void *event, uint32_t flags)) \
	F(StreamIsCapturing, (void *stream, int32_t *status)) \
	F(MemcpyHtoDAsync, (CoreCuPtr to, const void *from, size_t bytes, void *stream)) \
	F(MemcpyDtoDAsync, (CoreCuPtr to, CoreCuPtr from, size_t bytes, void *stream))

typedef struct {
#define F(name, args) int32_t (*name) args;
	CORE_CUDA_FUNCTIONS(F)
#undef F
} CoreCuda;

const CoreCuda *core_cuda(void);                                      /* NULL with a RuntimeError that says why not */
int core_cuda_check(int32_t code, const char *what);                  /* 0; or -1 with an exception: "cannot WHAT: CUDA_ERROR_…" */
uint8_t *core_gpu_alloc(DLDevice d, uint64_t bytes);                  /* NULL with an exception */
void core_gpu_free(DLDevice d, uint8_t *memory, uint64_t bytes);      /* any thread, no GIL needed */
void core_gpu_wait_event(DLDevice d, void *event);                    /* the default stream waits for it; destroys it. any thread, no GIL needed */
int core_memory_init(PyObject *module);
