/* A libcuda.so.1 for tests without a GPU: device memory is host memory, streams run at once, kernels are C functions given by the test,
 * every call is counted and can be made to fail. It is as strict as the real one, or stricter: a call without a context, memory that
 * is not its own, a tensor map that breaks a rule are errors, and what a well-behaved program never does is kept as `misuse`. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FAKE_DEVICES = 4, FAKE_PARAMS = 64 };

typedef struct { uint64_t at, dims[5], strides[5]; uint32_t type, rank, swizzle, box[5]; } FakeMap; /* innermost axis first, strides in bytes */
typedef struct {
	const char *kernel;
	uint32_t grid, block, shared;
	void *stream;
	bool by_graph, captured;
	uint32_t n_ptrs, n_nums, n_maps;
	void *ptr[FAKE_PARAMS];
	int64_t num[FAKE_PARAMS];
	FakeMap map[FAKE_PARAMS];
} FakeLaunch;
typedef void (*FakeKernel)(const FakeLaunch *l);

typedef struct {
	void (*reset)(void);                              /* forget everything; devices, kernels and settings too */
	void (*device)(int32_t ordinal, int32_t sm, int32_t multiprocessors, int32_t shared_bytes);
	void (*version)(int32_t version);                 /* of the driver: 13000 */
	void (*kernel)(const char *name, uint32_t ptrs, uint32_t nums, uint32_t maps, FakeKernel run); /* that modules hold */
	void (*fail)(uint64_t call, int32_t code);        /* the call of this number from now on, counted from 0, fails once */
	void (*lose)(int32_t code);                       /* every call that reaches the device fails from now on; 0: no more */
	void (*refuse_cubins)(bool yes);                  /* as a driver older than ptxas does */
	uint64_t (*calls)(void);                          /* since reset */
	const char *(*call)(uint64_t number);             /* its name */
	uint64_t (*count)(const char *name);              /* calls of this name since reset */
	int64_t (*live)(void);                            /* allocations, modules, graphs and held contexts that were not given back */
	const char *(*misuse)(void);                      /* the first, or NULL */
	uint64_t (*launches)(void);
	FakeLaunch (*launch)(uint64_t number);
	void *(*new_context)(int32_t ordinal);            /* not the primary one */
	void (*set_current)(void *context);               /* of this thread; NULL: none */
	void *(*get_current)(void);
	void *(*new_stream)(void *context);
	void (*capture)(void *stream, bool on);           /* off: what was captured may be replayed */
	void (*replay)(void *stream);
} Fake;
/* The library exports one, fake_cuda, beside the driver's functions. A program that knows nothing of it gets devices and kernels from
 * fake_setup(const Fake *) of the library that FAKE_CUDA in its environment names. */
