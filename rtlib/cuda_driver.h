/* The part of NVIDIA's driver interface that the runtime uses, declared here because no machine needs the CUDA toolkit. The library is
 * found by dlopen when a context first asks for a GPU, its functions by cuGetProcAddress in the form that CUDA 12.0 gave them. A table
 * belongs to whoever opened it: there is no global. Every call returns the driver's own code; ts_cuda_fail turns it into an error that
 * names what was tried and what the driver called it. */
#ifndef TESSERA_RTLIB_CUDA_DRIVER_H
#define TESSERA_RTLIB_CUDA_DRIVER_H
#include "rtlib/rt.h"

typedef uint64_t TsCuPtr;          /* CUdeviceptr */
typedef void *TsCuHandle;          /* contexts, modules, functions, streams, graphs: all opaque pointers */

enum {
	TS_CU_OK = 0, TS_CU_INVALID_VALUE = 1, TS_CU_OUT_OF_MEMORY = 2, TS_CU_DEINITIALIZED = 4, TS_CU_NO_DEVICE = 100, TS_CU_INVALID_DEVICE = 101,
	TS_CU_INVALID_IMAGE = 200, TS_CU_NO_BINARY_FOR_GPU = 209, TS_CU_INVALID_PTX = 218, TS_CU_NO_COMPILER = 221, TS_CU_UNSUPPORTED_PTX = 222,
	TS_CU_NO_COMPILING = 223, TS_CU_NOT_FOUND = 500
};
enum { TS_CU_MULTIPROCESSORS = 16, TS_CU_MAJOR = 75, TS_CU_MINOR = 76, TS_CU_SHARED_OPTIN = 97, TS_CU_MAX_PITCH = 11 }; /* of devices */
enum { TS_CU_FUNC_MAX_SHARED = 8, TS_CU_FUNC_WIDE_CLUSTER = 14 };                                  /* of functions */
enum { TS_CU_POINTER_TYPE = 2, TS_CU_POINTER_MANAGED = 8, TS_CU_POINTER_DEVICE = 9 };              /* of addresses */
enum { TS_CU_MEMORY_HOST = 1, TS_CU_MEMORY_DEVICE = 2 };
enum { TS_CU_JIT_ERROR_LOG = 5, TS_CU_JIT_ERROR_LOG_BYTES = 6 };
enum { TS_CU_CAPTURE_NONE = 0 };
enum { TS_CU_EVENT_NO_TIME = 2 };

typedef struct { _Alignas(64) uint64_t word[16]; } TsCuMap; /* CUtensorMap */

typedef struct {                   /* CUDA_KERNEL_NODE_PARAMS_v2 */
	TsCuHandle function;
	uint32_t grid[3], block[3], shared;
	void **params, **extra;
	TsCuHandle kernel, context;
} TsCuNode;

typedef struct {                   /* CUDA_MEMCPY2D_v2 */
	size_t from_x, from_y;
	uint32_t from_type;
	const void *from_host;
	TsCuPtr from;
	TsCuHandle from_array;
	size_t from_pitch, to_x, to_y;
	uint32_t to_type;
	void *to_host;
	TsCuPtr to;
	TsCuHandle to_array;
	size_t to_pitch, width, height;
} TsCuCopy2D;

/* F(name in the driver without `cu`, arguments) */
#define TS_CUDA_FUNCTIONS(F) \
	F(Init, (uint32_t flags)) \
	F(DriverGetVersion, (int32_t *version)) \
	F(GetErrorName, (int32_t code, const char **name)) \
	F(DeviceGetCount, (int32_t *n)) \
	F(DeviceGet, (int32_t *device, int32_t ordinal)) \
	F(DeviceGetName, (char *name, int32_t n, int32_t device)) \
	F(DeviceGetAttribute, (int32_t *value, int32_t attribute, int32_t device)) \
	F(DevicePrimaryCtxGetState, (int32_t device, uint32_t *flags, int32_t *active)) \
	F(DevicePrimaryCtxRetain, (TsCuHandle *context, int32_t device)) \
	F(DevicePrimaryCtxRelease, (int32_t device)) \
	F(CtxGetCurrent, (TsCuHandle *context)) \
	F(CtxPushCurrent, (TsCuHandle context)) \
	F(CtxPopCurrent, (TsCuHandle *context)) \
	F(CtxGetDevice, (int32_t *device)) \
	F(CtxSynchronize, (void)) \
	F(ModuleLoadDataEx, (TsCuHandle *module, const void *image, uint32_t n, const int32_t *options, void **values)) \
	F(ModuleUnload, (TsCuHandle module)) \
	F(ModuleGetFunction, (TsCuHandle *function, TsCuHandle module, const char *name)) \
	F(FuncSetAttribute, (TsCuHandle function, int32_t attribute, int32_t value)) \
	F(MemAlloc, (TsCuPtr *at, size_t bytes)) \
	F(MemFree, (TsCuPtr at)) \
	F(Memcpy, (TsCuPtr to, TsCuPtr from, size_t bytes)) \
	F(MemcpyHtoDAsync, (TsCuPtr to, const void *from, size_t bytes, TsCuHandle stream)) \
	F(MemcpyDtoHAsync, (void *to, TsCuPtr from, size_t bytes, TsCuHandle stream)) \
	F(MemHostRegister, (void *at, size_t bytes, uint32_t flags)) \
	F(MemHostUnregister, (void *at)) \
	F(MemsetD8, (TsCuPtr to, uint8_t byte, size_t n)) \
	F(MemcpyDtoDAsync, (TsCuPtr to, TsCuPtr from, size_t bytes, TsCuHandle stream)) \
	F(Memcpy2DAsync, (const TsCuCopy2D *copy, TsCuHandle stream)) \
	F(PointerGetAttributes, (uint32_t n, const int32_t *attributes, void **values, TsCuPtr at)) \
	F(StreamSynchronize, (TsCuHandle stream)) \
	F(EventCreate, (TsCuHandle *event, uint32_t flags)) \
	F(EventRecord, (TsCuHandle event, TsCuHandle stream)) \
	F(EventSynchronize, (TsCuHandle event)) \
	F(EventElapsedTime, (float *milliseconds, TsCuHandle from, TsCuHandle to)) \
	F(EventDestroy, (TsCuHandle event)) \
	F(LaunchHostFunc, (TsCuHandle stream, void (*function)(void *), void *arg)) \
	F(StreamIsCapturing, (TsCuHandle stream, int32_t *status)) \
	F(TensorMapEncodeTiled, (TsCuMap *map, int32_t type, uint32_t rank, void *at, const uint64_t *dims, const uint64_t *strides, const uint32_t *box, \
	                         const uint32_t *steps, int32_t interleave, int32_t swizzle, int32_t promotion, int32_t fill)) \
	F(LaunchKernel, (TsCuHandle function, uint32_t gx, uint32_t gy, uint32_t gz, uint32_t bx, uint32_t by, uint32_t bz, uint32_t shared, TsCuHandle stream, \
	                 void **params, void **extra)) \
	F(GraphCreate, (TsCuHandle *graph, uint32_t flags)) \
	F(GraphAddKernelNode, (TsCuHandle *node, TsCuHandle graph, const TsCuHandle *after, size_t n_after, const TsCuNode *params)) \
	F(GraphInstantiateWithFlags, (TsCuHandle *exec, TsCuHandle graph, uint64_t flags)) \
	F(GraphExecKernelNodeSetParams, (TsCuHandle exec, TsCuHandle node, const TsCuNode *params)) \
	F(GraphLaunch, (TsCuHandle exec, TsCuHandle stream)) \
	F(GraphExecDestroy, (TsCuHandle exec)) \
	F(GraphDestroy, (TsCuHandle graph))

typedef struct TsCuda {
#define F(name, args) int32_t (*name) args;
	TS_CUDA_FUNCTIONS(F)
#undef F
	int64_t process;              /* that opened the driver: another, a forked child, must not call it */
	int32_t version;             /* of the driver: 12020 for CUDA 12.2 */
} TsCuda;

/* Finds and initialises the driver. TESSERA_UNSUPPORTED: there is none, or it is older than CUDA 12.0, or no GPU. */
int32_t ts_cuda_open(TsCuda *cu, TesseraError *e);
bool ts_cuda_forked(const TsCuda *cu); /* nothing of the driver may be called in this process */

/* "cannot WHAT: CUDA_ERROR_…", with the code that fits: TESSERA_NO_MEMORY, TESSERA_LOST, else TESSERA_UNSUPPORTED. TESSERA_OK for code 0. */
int32_t ts_cuda_fail(const TsCuda *cu, int32_t code, TesseraError *e, const char *what, ...);
void ts_cuda_add_code(const TsCuda *cu, TsText *t, int32_t code); /* "CUDA_ERROR_…" */
bool ts_cuda_is_lost(int32_t code); /* the CUDA context is of no use from now on */

/* A context is made current around what needs it, and the thread gets back what it had. */
typedef struct { bool pushed; } TsCuScope;
int32_t ts_cuda_enter(const TsCuda *cu, TsCuHandle context, TsCuScope *scope, TesseraError *e);
void ts_cuda_leave(const TsCuda *cu, TsCuScope *scope);
#endif
