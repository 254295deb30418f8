/* The driver, found at run time, and its errors by name. */
#include "rtlib/cuda_driver.h"
#include "rtlib/device.h"
#include "rtlib/sys.h"

enum { NOW = 2 /* RTLD_NOW, local */, WANTED = 12000 /* CUDA 12.0, the first with tensor maps */ };

extern void *dlopen(const char *path, int flags) __attribute__((weak, visibility("default")));
extern void *dlsym(void *library, const char *name) __attribute__((weak, visibility("default")));

typedef int32_t (*GetProc)(const char *name, void **out, int32_t version, uint64_t flags, int32_t *found);

static const char *const names[] = {
#define F(name, args) "cu" #name,
	TS_CUDA_FUNCTIONS(F)
#undef F
};
enum { FUNCTIONS = sizeof names / sizeof *names };
_Static_assert(offsetof(TsCuda, process) == FUNCTIONS * sizeof(void *), "the table begins with functions alone");
_Static_assert(sizeof(TsCuNode) == 72 && sizeof(TsCuCopy2D) == 128 && sizeof(TsCuMap) == 128, "structures of the driver");

bool ts_cuda_is_lost(int32_t code)
{
	switch (code) {
	case TS_CU_DEINITIALIZED:
	case 46:  /* DEVICE_UNAVAILABLE */
	case 214: /* ECC_UNCORRECTABLE */
	case 220: /* NVLINK_UNCORRECTABLE */
	case 226: /* CONTAINED */
	case 700: /* ILLEGAL_ADDRESS */
	case 702: /* LAUNCH_TIMEOUT */
	case 709: /* CONTEXT_IS_DESTROYED */
	case 710: /* ASSERT */
	case 714: /* HARDWARE_STACK_ERROR */
	case 715: /* ILLEGAL_INSTRUCTION */
	case 716: /* MISALIGNED_ADDRESS */
	case 717: /* INVALID_ADDRESS_SPACE */
	case 718: /* INVALID_PC */
	case 719: /* LAUNCH_FAILED */
	case 721: /* TENSOR_MEMORY_LEAK */
	case 802: /* SYSTEM_NOT_READY */
	case 911: /* EXTERNAL_DEVICE */
		return true;
	default: return false;
	}
}

void ts_cuda_add_code(const TsCuda *cu, TsText *t, int32_t code)
{
	const char *name = NULL;
	if (!cu->GetErrorName || cu->GetErrorName(code, &name) || !name)
		ts_text_add(t, "CUDA error %d", (int64_t)code);
	else
		ts_text_add(t, "%s", name);
}

int32_t ts_cuda_fail(const TsCuda *cu, int32_t code, TesseraError *e, const char *what, ...)
{
	if (code == TS_CU_OK)
		return TESSERA_OK;
	int32_t rc = code == TS_CU_OUT_OF_MEMORY ? TESSERA_NO_MEMORY : ts_cuda_is_lost(code) ? TESSERA_LOST : TESSERA_UNSUPPORTED;
	if (!e)
		return rc;
	TsText t = { e->message, 0, sizeof e->message, false };
	va_list ap;
	va_start(ap, what);
	ts_text_add(&t, "cannot ");
	ts_text_vadd(&t, what, ap);
	va_end(ap);
	ts_text_add(&t, ": ");
	ts_cuda_add_code(cu, &t, code);
	if (rc == TESSERA_LOST)
		ts_text_add(&t, "; the device is lost to this CUDA context: nothing on it can go on");
	e->code = rc;
	return rc;
}

/* ---- finding ---- */

static int32_t too_old(int32_t version, TesseraError *e)
{
	return ts_fail(e, TESSERA_UNSUPPORTED, "the NVIDIA driver is too old: it is one for CUDA %d.%d, wanted %d.%d or newer", (int64_t)version / 1000,
	               (int64_t)version % 1000 / 10, (int64_t)WANTED / 1000, (int64_t)WANTED % 1000 / 10);
}

static int32_t find_all(TsCuda *cu, void *library, TesseraError *e)
{
	GetProc get = (GetProc)dlsym(library, "cuGetProcAddress_v2");
	void **slot = (void **)(void *)cu;
	for (uint32_t i = 0; i < FUNCTIONS; i++) {
		int32_t found = 0;
		if (!get || get(names[i], &slot[i], WANTED, 0, &found) || !slot[i])
			return ts_fail(e, TESSERA_UNSUPPORTED, "the NVIDIA driver (libcuda.so.1) has no function %s", get ? names[i] : "cuGetProcAddress_v2");
	}
	return TESSERA_OK;
}

int32_t ts_cuda_open(TsCuda *cu, TesseraError *e)
{
	int32_t version = 0, n = 0, rc;
	memset(cu, 0, sizeof *cu);
	void *library = dlopen && dlsym ? dlopen("libcuda.so.1", NOW) : NULL;
	if (!library)
		return ts_fail(e, TESSERA_UNSUPPORTED, "there is no NVIDIA driver: libcuda.so.1 can't be loaded");
	int32_t (*get_version)(int32_t *) = (int32_t (*)(int32_t *))dlsym(library, "cuDriverGetVersion"); /* any age of driver has it */
	int32_t code = get_version ? get_version(&version) : 0;
	if (code)
		return ts_fail(e, TESSERA_UNSUPPORTED, "cannot ask the NVIDIA driver for its version: CUDA error %d", (int64_t)code);
	if (version < WANTED)
		return too_old(version, e);
	cu->process = ts_process();
	cu->version = version;
	if ((rc = find_all(cu, library, e)))
		return rc;
	if ((rc = ts_cuda_fail(cu, cu->Init(0), e, "start the NVIDIA driver")) || (rc = ts_cuda_fail(cu, cu->DeviceGetCount(&n), e, "count the GPUs")))
		return rc;
	return n > 0 ? TESSERA_OK : ts_fail(e, TESSERA_UNSUPPORTED, "the NVIDIA driver shows no GPU");
}

/* ---- the current context ---- */

bool ts_cuda_forked(const TsCuda *cu) { return cu->process != ts_process(); }

int32_t ts_cuda_enter(const TsCuda *cu, TsCuHandle context, TsCuScope *scope, TesseraError *e)
{
	TsCuHandle current = NULL;
	scope->pushed = false;
	if (ts_cuda_forked(cu))
		return ts_fail(e, TESSERA_LOST, TS_FORKED);
	int32_t code = cu->CtxGetCurrent(&current);
	if (code || current != context) { /* where it can't be asked, one more does no harm */
		code = cu->CtxPushCurrent(context);
		scope->pushed = !code;
	}
	return ts_cuda_fail(cu, code, e, "use the CUDA context");
}

void ts_cuda_leave(const TsCuda *cu, TsCuScope *scope)
{
	TsCuHandle old;
	if (scope->pushed)
		cu->CtxPopCurrent(&old);
	scope->pushed = false;
}
