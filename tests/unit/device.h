/* Where compiled code of the differential tests runs: on the CPU, or, when the environment names an architecture (TESSERA_TEST_ARCH=sm_90a),
 * on the first GPU, in that architecture's code. Tensors of the tests lie in host memory; for a GPU they are copied. */
#pragma once
#include "include/tessera/tessera.h"
#include "tsc/options.h"
#include <dlfcn.h>
#include <stdlib.h>

static inline const char *device_arch(void) { return getenv("TESSERA_TEST_ARCH"); }
static inline const char *device_name(void) { return device_arch() ? device_arch() : "cpu"; }

/* Keeps the GPU's primary context alive, so that a test that opens hundreds of artifacts sets it up once. */
static inline void device_hold(void)
{
	static void *held;
	void *lib = device_arch() && !held ? dlopen("libcuda.so.1", RTLD_NOW) : NULL;
	if (!lib) return;
	int (*init)(unsigned), (*retain)(void **, int);
	*(void **)&init = dlsym(lib, "cuInit");
	*(void **)&retain = dlsym(lib, "cuDevicePrimaryCtxRetain");
	if (init && retain && !init(0)) retain(&held, 0);
}

static inline void device_compile_for(TsOptions *o)
{
	static const char *arch[1];
	arch[0] = device_arch();
	if (!arch[0]) return;
	o->gpus = arch;
	o->n_gpus = 1;
	device_hold();
}

static inline void device_context(TesseraContextOptions *o)
{
	o->device = device_arch() ? TESSERA_DEVICE_CUDA : TESSERA_DEVICE_CPU;
}

/* One graph on tensors in host memory, wherever it computes. */
static inline int32_t device_run(TesseraContext *cx, TesseraSession *s, DLTensor *in, int32_t n_in, DLTensor *out, int32_t n_out, TesseraError *e)
{
	enum { MAX = 32 };
	const DLTensor *pi[MAX], *po[MAX];
	void *host[2 * MAX] = { 0 }, *memory[2 * MAX] = { 0 };
	uint64_t bytes[2 * MAX] = { 0 };
	TesseraDeviceInfo info;
	int32_t rc = TESSERA_OK, n = n_in + n_out;
	tessera_device(cx, &info);
	for (int32_t i = 0; i < n; i++) {
		DLTensor *t = i < n_in ? &in[i] : &out[i - n_in];
		if (i < n_in) pi[i] = t; else po[i - n_in] = t;
		if (info.device.device_type == kDLCPU || rc) continue;
		uint64_t count = 1;
		for (int k = 0; k < t->ndim; k++) count *= (uint64_t)t->shape[k];
		bytes[i] = (count * (t->dtype.bits == 6 ? 8 : t->dtype.bits) + 7) / 8;
		host[i] = t->data;
		t->device = info.device;
		rc = tessera_device_alloc(cx, bytes[i] ? bytes[i] : 1, &memory[i], e);
		t->data = memory[i];
		if (!rc && bytes[i]) rc = tessera_copy(cx, memory[i], host[i], bytes[i], e);
	}
	if (!rc) rc = tessera_run(s, 0, pi, n_in, po, n_out, NULL, e);
	if (!rc) rc = tessera_wait(cx, NULL, e);
	for (int32_t i = 0; i < n; i++) {
		if (!memory[i]) continue;
		if (!rc && i >= n_in && bytes[i]) rc = tessera_copy(cx, host[i], memory[i], bytes[i], e);
		tessera_device_release(cx, memory[i], bytes[i] ? bytes[i] : 1, NULL);
	}
	return rc;
}
