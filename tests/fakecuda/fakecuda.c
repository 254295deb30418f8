#include "tests/fakecuda/fakecuda.h"
#include "rtlib/cuda_driver.h"
#include <dlfcn.h>
#include <elf.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
enum { MOST = 1 << 14, KERNELS = 32, NAMES = 1 << 16 };
enum { INVALID_CONTEXT = 201, INVALID_HANDLE = 400, CAPTURE_UNSUPPORTED = 900 };

typedef struct { const char *name; uint32_t ptrs, nums, maps; FakeKernel run; } Kernel;
typedef struct Context { int32_t device, held; bool primary; } Context;
typedef struct { Context *context; bool capturing; } Stream;
typedef struct { Context *context; const char *image; bool live; } Module;
typedef struct { Context *context; const Kernel *kernel; int32_t shared; } Function;
typedef struct { uint8_t *p; size_t n; Context *context; } Block;
typedef struct { TsCuPtr to; const uint8_t *from; size_t bytes; bool back; } HostCopy;
typedef struct Node { Function *function; FakeLaunch l; struct Node *after; } Node;
typedef struct { Node *node[1024]; uint32_t n; } Graph; /* also an instance of one */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	int32_t version, sm[FAKE_DEVICES], sms[FAKE_DEVICES], shared[FAKE_DEVICES], n_devices;
	Kernel kernel[KERNELS];
	uint32_t n_kernels;
	Context primary[FAKE_DEVICES];
	Block block[MOST];
	uint32_t n_blocks;
	int64_t live;
	uint64_t calls, fail_at, logged, captured_n;
	int32_t fail_code, lost;
	bool failing, refuse, refuse_ptx, loud;
	const char *name[NAMES], *misuse;
	FakeLaunch *log, *captured;
	uint64_t n_log, room_log, room_captured, recorded;
	struct HostCall *host[16];
	uint32_t n_host;
	HostCopy copy[16];
	Block locked[16];
	uint32_t n_copies, n_locked;
} g;
static _Thread_local Context *current;

static int32_t misuse(const char *what, int32_t code)
{
	if (!g.misuse && g.loud)
		fprintf(stderr, "fakecuda: %s\n", what);
	if (!g.misuse)
		g.misuse = what;
	return code;
}

static void finish_copies(void);

/* counts a call and says whether it is to fail; all but copies and marks between them comes after the copies before it */
static int32_t enter(const char *name, bool on_device)
{
	if (strcmp(name, "cuMemcpyHtoDAsync") && strcmp(name, "cuMemcpyDtoHAsync") && strcmp(name, "cuEventRecord"))
		finish_copies();
	uint64_t n = g.calls++;
	if (n < NAMES)
		g.name[n] = name;
	if (g.failing && n == g.fail_at) {
		g.failing = false;
		return g.fail_code;
	}
	return on_device ? g.lost : 0;
}

/* BEGIN(name, on the device): returns the planned failure; the lock is held until END */
#define BEGIN(call, device) \
	pthread_mutex_lock(&lock); \
	int32_t rc = enter(call, device); \
	if (rc) \
		return pthread_mutex_unlock(&lock), rc
#define NEED_CONTEXT \
	if (!current) \
		return pthread_mutex_unlock(&lock), misuse("a call without a context", INVALID_CONTEXT)
#define END(code) return rc = (code), pthread_mutex_unlock(&lock), rc

/* ---- the driver ---- */

EXPORT int32_t cuDriverGetVersion(int32_t *version)
{
	BEGIN("cuDriverGetVersion", false);
	*version = g.version;
	END(0);
}
static int32_t Init(uint32_t flags)
{
	BEGIN("cuInit", false);
	END(flags ? TS_CU_INVALID_VALUE : g.n_devices ? 0 : TS_CU_NO_DEVICE);
}
static int32_t DriverGetVersion(int32_t *version) { return cuDriverGetVersion(version); }
static int32_t GetErrorName(int32_t code, const char **name)
{
	static const struct { int32_t code; const char *name; } all[] = {
		{ 1, "CUDA_ERROR_INVALID_VALUE" }, { 2, "CUDA_ERROR_OUT_OF_MEMORY" }, { 100, "CUDA_ERROR_NO_DEVICE" }, { 201, "CUDA_ERROR_INVALID_CONTEXT" },
		{ 209, "CUDA_ERROR_NO_BINARY_FOR_GPU" }, { 214, "CUDA_ERROR_ECC_UNCORRECTABLE" }, { 218, "CUDA_ERROR_INVALID_PTX" }, { 222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION" }, { 400, "CUDA_ERROR_INVALID_HANDLE" },
		{ 500, "CUDA_ERROR_NOT_FOUND" }, { 719, "CUDA_ERROR_LAUNCH_FAILED" }, { 999, "CUDA_ERROR_UNKNOWN" },
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i].code == code)
			return *name = all[i].name, 0;
	*name = NULL;
	return TS_CU_INVALID_VALUE;
}
static int32_t DeviceGetCount(int32_t *n)
{
	BEGIN("cuDeviceGetCount", false);
	*n = g.n_devices;
	END(0);
}
static int32_t DeviceGet(int32_t *device, int32_t ordinal)
{
	BEGIN("cuDeviceGet", false);
	*device = ordinal;
	END(ordinal >= 0 && ordinal < g.n_devices ? 0 : TS_CU_INVALID_DEVICE);
}
static int32_t DeviceGetName(char *name, int32_t n, int32_t device)
{
	BEGIN("cuDeviceGetName", false);
	snprintf(name, (size_t)n, "Fake GPU %d", device);
	END(0);
}
static int32_t DeviceGetAttribute(int32_t *value, int32_t attribute, int32_t device)
{
	BEGIN("cuDeviceGetAttribute", false);
	switch (attribute) {
	case TS_CU_MAJOR: *value = g.sm[device] / 10; break;
	case TS_CU_MINOR: *value = g.sm[device] % 10; break;
	case TS_CU_MULTIPROCESSORS: *value = g.sms[device]; break;
	case TS_CU_SHARED_OPTIN: *value = g.shared[device]; break;
	default: rc = TS_CU_INVALID_VALUE;
	}
	END(rc);
}

/* ---- contexts ---- */

static int32_t DevicePrimaryCtxGetState(int32_t device, uint32_t *flags, int32_t *active)
{
	BEGIN("cuDevicePrimaryCtxGetState", false);
	*flags = 0;
	*active = g.primary[device].held > 0;
	END(0);
}
static int32_t DevicePrimaryCtxRetain(TsCuHandle *context, int32_t device)
{
	BEGIN("cuDevicePrimaryCtxRetain", true);
	g.primary[device].held++;
	g.live++;
	*context = &g.primary[device];
	END(0);
}
static int32_t DevicePrimaryCtxRelease(int32_t device)
{
	pthread_mutex_lock(&lock);
	int32_t rc = enter("cuDevicePrimaryCtxRelease", false);
	if (g.primary[device].held-- <= 0)
		END(misuse("a context given back too often", INVALID_CONTEXT));
	g.live--;
	END(rc);
}
static int32_t CtxGetCurrent(TsCuHandle *context)
{
	BEGIN("cuCtxGetCurrent", false);
	*context = current;
	END(0);
}
static _Thread_local Context *stack[16];
static _Thread_local int depth;
static int32_t CtxPushCurrent(TsCuHandle context)
{
	BEGIN("cuCtxPushCurrent", false);
	if (!context || depth == 16)
		END(misuse("no context to push", INVALID_CONTEXT));
	stack[depth++] = current;
	current = context;
	END(0);
}
static int32_t CtxPopCurrent(TsCuHandle *context)
{
	pthread_mutex_lock(&lock);
	int32_t rc = enter("cuCtxPopCurrent", false);
	*context = current;
	if (!depth)
		END(misuse("no context to pop", INVALID_CONTEXT));
	current = stack[--depth]; /* even when it is told to fail: a thread's context must not depend on it */
	END(rc);
}
static int32_t CtxGetDevice(int32_t *device)
{
	BEGIN("cuCtxGetDevice", false);
	NEED_CONTEXT;
	*device = current->device;
	END(0);
}
static int32_t CtxSynchronize(void)
{
	BEGIN("cuCtxSynchronize", true);
	NEED_CONTEXT;
	END(0);
}

/* ---- code ---- */

/* "cubin 90a" runs on 9.0 alone, "cubin 80" on 8.x; PTX begins with ".version" or a comment; an ELF file is believed */
static int32_t image_fits(const char *image, const int32_t *options, void **values, uint32_t n)
{
	int32_t sm = g.sm[current->device], of;
	char a = 0;
	if (!memcmp(image, "\177ELF", 4))
		return g.refuse ? TS_CU_NO_BINARY_FOR_GPU : 0;
	if (sscanf(image, "cubin %d%c", &of, &a) >= 1)
		return !g.refuse && (of == sm || (a != 'a' && of / 10 == sm / 10 && of < sm)) ? 0 : TS_CU_NO_BINARY_FOR_GPU;
	if (memcmp(image, ".version", 8) && memcmp(image, "//", 2))
		return TS_CU_INVALID_IMAGE;
	if (g.refuse_ptx || strstr(image, "future"))
		return TS_CU_UNSUPPORTED_PTX;
	if (!strstr(image, "broken"))
		return 0;
	for (uint32_t i = 0; i < n; i++)
		if (options[i] == TS_CU_JIT_ERROR_LOG)
			strcpy(values[i], "ptxas application ptx input, line 1; fatal : broken\nmore");
	return TS_CU_INVALID_PTX;
}
static int32_t ModuleLoadDataEx(TsCuHandle *module, const void *image, uint32_t n, const int32_t *options, void **values)
{
	BEGIN("cuModuleLoadDataEx", true);
	NEED_CONTEXT;
	if ((rc = image_fits(image, options, values, n)))
		END(rc);
	Module *m = calloc(1, sizeof *m);
	*m = (Module){ current, memcmp(image, "\177ELF", 4) ? strdup(image) : image, true }; /* PTX is compiled here and now: the caller may free it */
	g.live++;
	*module = m;
	END(0);
}
static int32_t ModuleUnload(TsCuHandle module)
{
	Module *m = module;
	pthread_mutex_lock(&lock);
	int32_t rc = enter("cuModuleUnload", true);
	if (!m || !m->live || m->context != current)
		END(misuse("a module that is none of this context", INVALID_HANDLE));
	m->live = false; /* stays allocated, so that its use is seen */
	g.live--;
	END(rc);
}
/* What a kernel takes, as its own code says: parameters of 8 bytes, and tensor maps behind them. */
static bool params_of_elf(const char *image, const char *name, Kernel *k)
{
	const uint8_t *p = (const uint8_t *)image;
	const Elf64_Ehdr *h = (const Elf64_Ehdr *)(const void *)p;
	const Elf64_Shdr *s = (const Elf64_Shdr *)(const void *)(p + h->e_shoff);
	const char *names = image + s[h->e_shstrndx].sh_offset;
	for (int i = 0; i < h->e_shnum; i++) {
		if (strncmp(names + s[i].sh_name, ".nv.info.", 9) || strcmp(names + s[i].sh_name + 9, name))
			continue;
		const uint8_t *at = p + s[i].sh_offset, *end = at + s[i].sh_size;
		while (at < end) { /* form, kind, 16 bits of value or size */
			uint32_t size = at[0] == 4 ? at[2] | at[3] << 8 : 0, word;
			if (at[0] == 4 && at[1] == 0x17) { /* a parameter: the size in the upper bits of its third word */
				memcpy(&word, at + 12, 4);
				*(word >> 18 == 128 ? &k->maps : &k->nums) += 1;
			}
			at += 4 + size;
		}
		return true;
	}
	return false;
}
static bool params_of_ptx(const char *image, const char *name, Kernel *k)
{
	size_t n = strlen(name);
	for (const char *p = image; (p = strstr(p, ".entry ")); p += 7) {
		if (strncmp(p + 7, name, n) || p[7 + n] != '(')
			continue;
		for (const char *q = p; *q && *q != ')'; q++)
			if (!strncmp(q, ".param", 6)) {
				size_t line = strcspn(q, "\n");
				*(memmem(q, line, "[128]", 5) ? &k->maps : &k->nums) += 1;
			}
		return true;
	}
	return false;
}
static const Kernel *compiled_kernel(const char *image, const char *name)
{
	Kernel *k = calloc(1, sizeof *k);
	k->name = strdup(name);
	return (memcmp(image, "\177ELF", 4) ? params_of_ptx : params_of_elf)(image, name, k) && k->nums < FAKE_PARAMS && k->maps < FAKE_PARAMS ? k : NULL;
}
static int32_t ModuleGetFunction(TsCuHandle *function, TsCuHandle module, const char *name)
{
	Module *m = module;
	BEGIN("cuModuleGetFunction", true);
	NEED_CONTEXT;
	if (!m || !m->live || m->context != current)
		END(misuse("a module that is none of this context", INVALID_HANDLE));
	for (uint32_t i = 0; i < g.n_kernels; i++)
		if (!strcmp(g.kernel[i].name, name)) {
			Function *f = calloc(1, sizeof *f);
			*f = (Function){ current, &g.kernel[i], 0 };
			*function = f;
			END(0);
		}
	Function *f = calloc(1, sizeof *f);
	*f = (Function){ current, compiled_kernel(m->image, name), 0 };
	*function = f;
	END(f->kernel ? 0 : TS_CU_NOT_FOUND);
}
static int32_t FuncSetAttribute(TsCuHandle function, int32_t attribute, int32_t value)
{
	Function *f = function;
	BEGIN("cuFuncSetAttribute", true);
	NEED_CONTEXT;
	if (attribute == TS_CU_FUNC_MAX_SHARED && (value < 0 || value > g.shared[current->device]))
		END(TS_CU_INVALID_VALUE);
	if (attribute == TS_CU_FUNC_MAX_SHARED)
		f->shared = value;
	END(0);
}

/* ---- memory ---- */

static Block *block_of(uint64_t at)
{
	for (uint32_t i = 0; i < g.n_blocks; i++)
		if (g.block[i].p && at - (uint64_t)(uintptr_t)g.block[i].p < g.block[i].n)
			return &g.block[i];
	return NULL;
}
static bool inside(uint64_t at, size_t n)
{
	Block *b = block_of(at);
	return b && n <= b->n - (at - (uint64_t)(uintptr_t)b->p);
}
static int32_t MemAlloc(TsCuPtr *at, size_t bytes)
{
	BEGIN("cuMemAlloc", true);
	NEED_CONTEXT;
	uint8_t *p = NULL;
	uint32_t i = 0;
	while (i < g.n_blocks && g.block[i].p)
		i++;
	if (!bytes)
		END(TS_CU_INVALID_VALUE);
	if (i == MOST || bytes > (size_t)1 << 36 || posix_memalign((void **)&p, 256, bytes))
		END(TS_CU_OUT_OF_MEMORY);
	memset(p, 0xa5, bytes);
	g.block[i] = (Block){ p, bytes, current };
	g.n_blocks = i == g.n_blocks ? i + 1 : g.n_blocks;
	g.live++;
	*at = (TsCuPtr)(uintptr_t)p;
	END(0);
}
static int32_t MemFree(TsCuPtr at)
{
	pthread_mutex_lock(&lock);
	int32_t rc = enter("cuMemFree", true);
	Block *b = block_of(at);
	if (!current || !b || (uint64_t)(uintptr_t)b->p != at || b->context != current)
		END(misuse("memory given back that is none of this context", TS_CU_INVALID_VALUE));
	free(b->p); /* even when it is told to fail: what was given back is gone */
	b->p = NULL;
	g.live--;
	END(rc);
}
static int32_t Memcpy(TsCuPtr to, TsCuPtr from, size_t bytes)
{
	BEGIN("cuMemcpy", true);
	NEED_CONTEXT;
	if (!inside(to, bytes) && !inside(from, bytes))
		END(misuse("a copy that touches no device memory", TS_CU_INVALID_VALUE));
	memmove((void *)(uintptr_t)to, (const void *)(uintptr_t)from, bytes);
	END(0);
}
/* FAKE_CUDA_UPLOADS: a file that gets a line for each copy to the device, its bytes and their CRC-32 */
static void note_upload(const uint8_t *p, size_t n)
{
	const char *path = getenv("FAKE_CUDA_UPLOADS");
	FILE *f = path ? fopen(path, "a") : NULL;
	uint32_t table[256], crc = ~0u;
	if (!f)
		return;
	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
	}
	for (size_t i = 0; i < n; i++)
		crc = crc >> 8 ^ table[(crc ^ p[i]) & 255];
	fprintf(f, "%zu %08x\n", n, ~crc);
	fclose(f);
}
/* A copy from page-locked memory is done as late as a driver may do it, so that whoever writes over the source too early copies that. */
static void finish_copies(void)
{
	for (uint32_t i = 0; i < g.n_copies; i++) {
		if (!g.copy[i].back)
			note_upload(g.copy[i].from, g.copy[i].bytes);
		memcpy((void *)(uintptr_t)g.copy[i].to, g.copy[i].from, g.copy[i].bytes);
	}
	g.n_copies = 0;
}
static bool is_locked(const uint8_t *p, size_t bytes)
{
	for (uint32_t i = 0; i < g.n_locked; i++)
		if (p >= g.locked[i].p && p + bytes <= g.locked[i].p + g.locked[i].n)
			return true;
	return false;
}
static int32_t MemcpyHtoDAsync(TsCuPtr to, const void *from, size_t bytes, TsCuHandle stream)
{
	BEGIN("cuMemcpyHtoDAsync", true);
	NEED_CONTEXT;
	if (!inside(to, bytes))
		END(misuse("a copy to no device memory", TS_CU_INVALID_VALUE));
	if (stream && ((Stream *)stream)->capturing)
		END(misuse("a copy from the host in a capture", CAPTURE_UNSUPPORTED));
	if (g.n_copies == sizeof g.copy / sizeof *g.copy)
		finish_copies();
	g.copy[g.n_copies++] = (HostCopy){ to, from, bytes, false };
	if (!is_locked(from, bytes))
		finish_copies();
	END(0);
}
static int32_t MemcpyDtoHAsync(void *to, TsCuPtr from, size_t bytes, TsCuHandle stream)
{
	BEGIN("cuMemcpyDtoHAsync", true);
	NEED_CONTEXT;
	if (!inside(from, bytes))
		END(misuse("a copy from no device memory", TS_CU_INVALID_VALUE));
	if (stream && ((Stream *)stream)->capturing)
		END(misuse("a copy to the host in a capture", CAPTURE_UNSUPPORTED));
	if (g.n_copies == sizeof g.copy / sizeof *g.copy)
		finish_copies();
	g.copy[g.n_copies++] = (HostCopy){ (TsCuPtr)(uintptr_t)to, (const uint8_t *)(uintptr_t)from, bytes, true };
	if (!is_locked(to, bytes))
		finish_copies();
	END(0);
}
static int32_t MemHostRegister(void *at, size_t bytes, uint32_t flags)
{
	BEGIN("cuMemHostRegister", true);
	NEED_CONTEXT;
	if (flags || g.n_locked == sizeof g.locked / sizeof *g.locked)
		END(TS_CU_INVALID_VALUE);
	g.locked[g.n_locked++] = (Block){ at, bytes, current };
	g.live++;
	END(0);
}
static int32_t MemHostUnregister(void *at)
{
	pthread_mutex_lock(&lock);
	int32_t rc = enter("cuMemHostUnregister", true);
	uint32_t i = 0;
	while (i < g.n_locked && g.locked[i].p != at)
		i++;
	if (i == g.n_locked || g.n_copies)
		END(misuse(g.n_copies ? "memory is unlocked before it was copied" : "memory is unlocked that was not locked", TS_CU_INVALID_VALUE));
	g.locked[i] = g.locked[--g.n_locked];
	g.live--;
	END(rc);
}
static int32_t MemsetD8(TsCuPtr to, uint8_t byte, size_t n)
{
	BEGIN("cuMemsetD8", true);
	NEED_CONTEXT;
	if (!inside(to, n))
		END(misuse("memory set that is none of the device", TS_CU_INVALID_VALUE));
	memset((void *)(uintptr_t)to, byte, n);
	END(0);
}
static int32_t MemcpyDtoDAsync(TsCuPtr to, TsCuPtr from, size_t bytes, TsCuHandle stream)
{
	(void)stream;
	BEGIN("cuMemcpyDtoDAsync", true);
	NEED_CONTEXT;
	if (!inside(to, bytes) || !inside(from, bytes))
		END(misuse("a copy outside device memory", TS_CU_INVALID_VALUE));
	memmove((void *)(uintptr_t)to, (const void *)(uintptr_t)from, bytes);
	END(0);
}
static int32_t Memcpy2DAsync(const TsCuCopy2D *c, TsCuHandle stream)
{
	(void)stream;
	BEGIN("cuMemcpy2DAsync", true);
	NEED_CONTEXT;
	if (c->from_type != TS_CU_MEMORY_DEVICE || c->to_type != TS_CU_MEMORY_DEVICE || c->from_pitch < c->width || c->to_pitch < c->width || !c->height)
		END(misuse("a copy of no rectangle", TS_CU_INVALID_VALUE));
	if (!inside(c->from, c->from_pitch * (c->height - 1) + c->width) || !inside(c->to, c->to_pitch * (c->height - 1) + c->width))
		END(misuse("a copy outside device memory", TS_CU_INVALID_VALUE));
	for (size_t i = 0; i < c->height; i++)
		memmove((uint8_t *)(uintptr_t)c->to + i * c->to_pitch, (const uint8_t *)(uintptr_t)c->from + i * c->from_pitch, c->width);
	END(0);
}
static int32_t PointerGetAttributes(uint32_t n, const int32_t *attributes, void **values, TsCuPtr at)
{
	BEGIN("cuPointerGetAttributes", false);
	NEED_CONTEXT;
	const Block *b = block_of(at);
	for (uint32_t i = 0; i < n; i++) {
		if (attributes[i] == TS_CU_POINTER_TYPE)
			*(int32_t *)values[i] = b ? TS_CU_MEMORY_DEVICE : 0;
		else if (attributes[i] == TS_CU_POINTER_DEVICE)
			*(int32_t *)values[i] = b ? b->context->device : -2;
		else
			*(uint8_t *)values[i] = 0;
	}
	END(0);
}

/* ---- streams ---- */

/* ---- events: time is a count of what was recorded, a millisecond apart; a host function runs beside the stream until somebody waits ---- */

typedef struct { Context *context; uint64_t at; } Event;
typedef struct HostCall { pthread_t thread; void (*function)(void *); void *arg; } HostCall;

static void *host_call(void *arg)
{
	HostCall *h = arg;
	h->function(h->arg);
	return h;
}
static int32_t EventCreate(TsCuHandle *event, uint32_t flags)
{
	BEGIN("cuEventCreate", true);
	NEED_CONTEXT;
	Event *e = calloc(1, sizeof *e);
	e->context = current;
	g.live++;
	*event = e;
	END(flags & ~2u ? TS_CU_INVALID_VALUE : 0); /* 2: without a time */
}
static int32_t EventDestroy(TsCuHandle event)
{
	pthread_mutex_lock(&lock);
	int32_t rc = enter("cuEventDestroy", true);
	free(event);
	g.live--;
	END(rc);
}
static int32_t EventRecord(TsCuHandle event, TsCuHandle stream)
{
	BEGIN("cuEventRecord", true);
	NEED_CONTEXT;
	if (stream && ((Stream *)stream)->capturing)
		END(misuse("an event of a profile in a capture", CAPTURE_UNSUPPORTED));
	((Event *)event)->at = ++g.recorded;
	END(0);
}
static int32_t EventSynchronize(TsCuHandle event)
{
	BEGIN("cuEventSynchronize", true);
	NEED_CONTEXT;
	END(((Event *)event)->at ? 0 : TS_CU_INVALID_VALUE);
}
static int32_t EventElapsedTime(float *ms, TsCuHandle from, TsCuHandle to)
{
	BEGIN("cuEventElapsedTime", true);
	NEED_CONTEXT;
	const Event *a = from, *b = to;
	if (!a->at || !b->at || g.n_host)
		END(misuse("time between events that are not over", INVALID_HANDLE));
	*ms = (float)(b->at - a->at);
	END(0);
}
static int32_t LaunchHostFunc(TsCuHandle stream, void (*function)(void *), void *arg)
{
	(void)stream;
	BEGIN("cuLaunchHostFunc", true);
	NEED_CONTEXT;
	HostCall *h = calloc(1, sizeof *h);
	*h = (HostCall){ .function = function, .arg = arg };
	if (g.n_host == sizeof g.host / sizeof *g.host || pthread_create(&h->thread, NULL, host_call, h))
		END(misuse("too many host functions", TS_CU_OUT_OF_MEMORY));
	g.host[g.n_host++] = h;
	END(0);
}
/* what a stream holds is done when somebody has waited for it; the lock is held, which no host function takes */
static void finish_host_calls(void)
{
	while (g.n_host) {
		HostCall *h = g.host[--g.n_host];
		pthread_join(h->thread, NULL);
		free(h);
	}
}

static int32_t StreamSynchronize(TsCuHandle stream)
{
	BEGIN("cuStreamSynchronize", true);
	NEED_CONTEXT;
	finish_host_calls();
	END(stream && ((Stream *)stream)->capturing ? misuse("waiting for a captured stream", CAPTURE_UNSUPPORTED) : 0);
}
static int32_t StreamIsCapturing(TsCuHandle stream, int32_t *status)
{
	BEGIN("cuStreamIsCapturing", true);
	NEED_CONTEXT;
	*status = stream && ((Stream *)stream)->capturing;
	END(0);
}

/* ---- tensor maps: the 128 bytes hold what was asked for ---- */

typedef struct { uint32_t magic, type, rank, swizzle; uint64_t at, dims[5], strides[4]; uint16_t box[5]; } Encoded;
_Static_assert(sizeof(Encoded) <= 128, "fits into a map");
enum { MAGIC = 0x70616d74 };

static int32_t map_rules(const TsCuMap *map, int32_t type, uint32_t rank, uint64_t at, const uint64_t *dims, const uint64_t *strides, const uint32_t *box, int32_t swizzle)
{
	static const uint8_t bytes[] = { 1, 2, 4, 4, 8, 8, 2, 4, 8, 2 };
	static const uint32_t span[] = { 1 << 20, 32, 64, 128 };
	if ((uintptr_t)map % 64 || type < 0 || type > 9 || rank < 1 || rank > 5 || at % 16 || swizzle < 0 || swizzle > 3 || box[0] * bytes[type] > span[swizzle] ||
	    box[0] * bytes[type] % 16)
		return TS_CU_INVALID_VALUE;
	for (uint32_t i = 0; i < rank; i++)
		if (!dims[i] || dims[i] > (uint64_t)1 << 32 || !box[i] || box[i] > 256 || (i && (strides[i - 1] % 16 || strides[i - 1] >= (uint64_t)1 << 40)))
			return TS_CU_INVALID_VALUE;
	return 0;
}
static int32_t TensorMapEncodeTiled(TsCuMap *map, int32_t type, uint32_t rank, void *at, const uint64_t *dims, const uint64_t *strides, const uint32_t *box,
                                    const uint32_t *steps, int32_t interleave, int32_t swizzle, int32_t promotion, int32_t fill)
{
	BEGIN("cuTensorMapEncodeTiled", false);
	if (interleave || fill || promotion < 0 || promotion > 3 || steps[0] != 1 ||
	    (rc = map_rules(map, type, rank, (uint64_t)(uintptr_t)at, dims, strides, box, swizzle)))
		END(misuse("a tensor map that breaks a rule", TS_CU_INVALID_VALUE));
	Encoded e = { .magic = MAGIC, .type = (uint32_t)type, .rank = rank, .swizzle = (uint32_t)swizzle, .at = (uint64_t)(uintptr_t)at };
	for (uint32_t i = 0; i < rank; i++) {
		e.dims[i] = dims[i];
		e.box[i] = (uint16_t)box[i];
		if (i)
			e.strides[i - 1] = strides[i - 1];
	}
	memset(map, 0, sizeof *map);
	memcpy(map, &e, sizeof e);
	END(0);
}

/* ---- launches ---- */

static int32_t read_map(const void *param, FakeMap *out)
{
	Encoded e;
	memcpy(&e, param, sizeof e);
	if ((uintptr_t)param % 64 || e.magic != MAGIC)
		return misuse("a kernel gets a tensor map that was never made", TS_CU_INVALID_VALUE);
	*out = (FakeMap){ .at = e.at, .type = e.type, .rank = e.rank, .swizzle = e.swizzle };
	for (int i = 0; i < 5; i++) {
		out->dims[i] = e.dims[i];
		out->box[i] = e.box[i];
		out->strides[i] = i ? e.strides[i - 1] : 0;
	}
	return 0;
}

/* parameters are copied when a kernel is enqueued, or put into a graph */
static int32_t read_launch(const TsCuNode *p, FakeLaunch *l)
{
	Function *f = p->function;
	const Kernel *k = f->kernel;
	*l = (FakeLaunch){ .kernel = k->name, .grid = p->grid[0], .block = p->block[0], .shared = p->shared, .n_ptrs = k->ptrs, .n_nums = k->nums, .n_maps = k->maps };
	if (f->context != current)
		return misuse("a kernel of another context", INVALID_CONTEXT);
	if (!l->grid || l->grid > INT32_MAX || p->grid[1] != 1 || p->grid[2] != 1 || !l->block || l->block > 1024 || p->block[1] != 1 || p->block[2] != 1 ||
	    (int32_t)l->shared > f->shared)
		return misuse("a launch that cannot be", TS_CU_INVALID_VALUE);
	for (uint32_t i = 0; i < k->ptrs; i++)
		l->ptr[i] = *(void **)p->params[i];
	for (uint32_t i = 0; i < k->nums; i++)
		l->num[i] = *(int64_t *)p->params[k->ptrs + i];
	int32_t rc = 0;
	for (uint32_t i = 0; i < k->maps && !rc; i++)
		rc = read_map(p->params[k->ptrs + k->nums + i], &l->map[i]);
	return rc;
}
static void keep(FakeLaunch **list, uint64_t *n, uint64_t *room, const FakeLaunch *l)
{
	if (*n == *room)
		*list = realloc(*list, (*room = *room * 2 + 64) * sizeof **list);
	(*list)[(*n)++] = *l;
}
static int32_t start(const Function *f, FakeLaunch *l, Stream *stream)
{
	l->stream = stream;
	for (uint32_t i = 0; i < l->n_ptrs; i++)
		if (!block_of((uint64_t)(uintptr_t)l->ptr[i]) || (uintptr_t)l->ptr[i] % 16)
			return misuse("a kernel gets an address that is not the device's, or not aligned", TS_CU_INVALID_VALUE);
	l->captured = stream && stream->capturing;
	if (l->captured) {
		keep(&g.captured, &g.captured_n, &g.room_captured, l);
		return 0;
	}
	keep(&g.log, &g.n_log, &g.room_log, l);
	if (f->kernel->run)
		f->kernel->run(l);
	return 0;
}
static int32_t LaunchKernel(TsCuHandle function, uint32_t gx, uint32_t gy, uint32_t gz, uint32_t bx, uint32_t by, uint32_t bz, uint32_t shared, TsCuHandle stream,
                            void **params, void **extra)
{
	BEGIN("cuLaunchKernel", true);
	NEED_CONTEXT;
	TsCuNode p = { .function = function, .grid = { gx, gy, gz }, .block = { bx, by, bz }, .shared = shared, .params = params, .extra = extra };
	FakeLaunch l;
	if (!(rc = read_launch(&p, &l)))
		rc = start(function, &l, stream);
	END(rc);
}
static int32_t GraphCreate(TsCuHandle *graph, uint32_t flags)
{
	BEGIN("cuGraphCreate", true);
	*graph = calloc(1, sizeof(Graph));
	g.live++;
	END(flags ? TS_CU_INVALID_VALUE : 0);
}
static int32_t GraphAddKernelNode(TsCuHandle *node, TsCuHandle graph, const TsCuHandle *after, size_t n_after, const TsCuNode *params)
{
	Graph *gr = graph;
	BEGIN("cuGraphAddKernelNode", true);
	NEED_CONTEXT;
	if (gr->n == 1024 || n_after != (gr->n ? 1 : 0) || (n_after && *after != gr->node[gr->n - 1]))
		END(misuse("a graph that is no chain", TS_CU_INVALID_VALUE));
	Node *k = calloc(1, sizeof *k);
	k->function = params->function;
	gr->node[gr->n++] = k;
	*node = k;
	END(read_launch(params, &k->l));
}
static int32_t GraphInstantiateWithFlags(TsCuHandle *exec, TsCuHandle graph, uint64_t flags)
{
	Graph *from = graph;
	BEGIN("cuGraphInstantiateWithFlags", true);
	NEED_CONTEXT;
	Graph *to = calloc(1, sizeof *to);
	for (; to->n < from->n; to->n++) {
		to->node[to->n] = malloc(sizeof(Node));
		*to->node[to->n] = *from->node[to->n];
		to->node[to->n]->after = from->node[to->n]; /* which node of the graph it is */
	}
	g.live++;
	*exec = to;
	END(flags ? TS_CU_INVALID_VALUE : 0);
}
static int32_t GraphExecKernelNodeSetParams(TsCuHandle exec, TsCuHandle node, const TsCuNode *params)
{
	Graph *gr = exec;
	BEGIN("cuGraphExecKernelNodeSetParams", true);
	NEED_CONTEXT;
	for (uint32_t i = 0; i < gr->n; i++)
		if (gr->node[i]->after == node) {
			if (params->function != (TsCuHandle)gr->node[i]->function)
				END(misuse("a node that changes its kernel", TS_CU_INVALID_VALUE));
			END(read_launch(params, &gr->node[i]->l));
		}
	END(misuse("a node that the graph doesn't have", INVALID_HANDLE));
}
static int32_t GraphLaunch(TsCuHandle exec, TsCuHandle stream)
{
	Graph *gr = exec;
	BEGIN("cuGraphLaunch", true);
	NEED_CONTEXT;
	for (uint32_t i = 0; i < gr->n && !rc; i++) {
		FakeLaunch l = gr->node[i]->l;
		l.by_graph = true;
		rc = start(gr->node[i]->function, &l, stream);
	}
	END(rc);
}
static void free_graph(Graph *gr)
{
	for (uint32_t i = 0; i < gr->n; i++)
		free(gr->node[i]);
	free(gr);
	g.live--;
}
static int32_t GraphExecDestroy(TsCuHandle exec)
{
	pthread_mutex_lock(&lock);
	int32_t rc = enter("cuGraphExecDestroy", true);
	free_graph(exec);
	END(rc);
}
static int32_t GraphDestroy(TsCuHandle graph)
{
	pthread_mutex_lock(&lock);
	int32_t rc = enter("cuGraphDestroy", true);
	free_graph(graph);
	END(rc);
}

/* ---- what the Python package calls beside the runtime ---- */

static int32_t DeviceTotalMem(size_t *bytes, int32_t device)
{
	BEGIN("cuDeviceTotalMem", false);
	*bytes = (size_t)1 << 30;
	END(device < 0 || device >= g.n_devices ? TS_CU_INVALID_DEVICE : 0);
}
static int32_t StreamWaitEvent(TsCuHandle stream, TsCuHandle event, uint32_t flags)
{
	BEGIN("cuStreamWaitEvent", true);
	NEED_CONTEXT;
	if (stream && ((Stream *)stream)->capturing)
		END(misuse("a stream that is captured waits for one that is not", CAPTURE_UNSUPPORTED));
	END(!((Event *)event)->at || flags ? TS_CU_INVALID_VALUE : 0);
}

EXPORT int32_t cuGetProcAddress_v2(const char *name, void **out, int32_t version, uint64_t flags, int32_t *found)
{
	static const struct { const char *name; void *function; } all[] = {
#define F(name, args) { "cu" #name, (void *)name },
		TS_CUDA_FUNCTIONS(F)
#undef F
		{ "cuDeviceTotalMem", (void *)DeviceTotalMem }, { "cuStreamWaitEvent", (void *)StreamWaitEvent },
	};
	BEGIN("cuGetProcAddress", false);
	*out = NULL;
	if (version != 12000 || flags)
		END(TS_CU_INVALID_VALUE);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (!strcmp(all[i].name, name))
			*out = all[i].function;
	*found = *out ? 0 : 1;
	END(0);
}

/* ---- the test's side ---- */

static void reset(void)
{
	finish_host_calls();
	for (uint32_t i = 0; i < g.n_blocks; i++)
		free(g.block[i].p);
	free(g.log);
	free(g.captured);
	memset(&g, 0, sizeof g);
	g.version = 13000;
	current = NULL;
	depth = 0;
}
static void device(int32_t ordinal, int32_t sm, int32_t sms, int32_t shared)
{
	g.sm[ordinal] = sm;
	g.sms[ordinal] = sms;
	g.shared[ordinal] = shared;
	g.primary[ordinal] = (Context){ ordinal, 0, true };
	g.n_devices = ordinal >= g.n_devices ? ordinal + 1 : g.n_devices;
}
static void version(int32_t v) { g.version = v; }
static void kernel(const char *name, uint32_t ptrs, uint32_t nums, uint32_t maps, FakeKernel run) { g.kernel[g.n_kernels++] = (Kernel){ name, ptrs, nums, maps, run }; }
static void fail_call(uint64_t call, int32_t code)
{
	g.failing = true;
	g.fail_at = g.calls + call;
	g.fail_code = code;
}
static void lose(int32_t code) { g.lost = code; }
static void refuse_cubins(bool yes) { g.refuse = yes; }
static uint64_t calls(void) { return g.calls; }
static const char *call_name(uint64_t n) { return n < g.calls && n < NAMES ? g.name[n] : ""; }
static uint64_t count(const char *name)
{
	uint64_t n = 0;
	for (uint64_t i = 0; i < g.calls && i < NAMES; i++)
		n += !strcmp(g.name[i], name);
	return n;
}
static int64_t live(void) { return g.live; }
static const char *misused(void) { return g.misuse; }
static uint64_t launches(void) { return g.n_log; }
static FakeLaunch launch(uint64_t n) { return g.log[n]; }
static void *new_context(int32_t ordinal)
{
	Context *c = calloc(1, sizeof *c);
	c->device = ordinal;
	return c;
}
static void set_current(void *context) { current = context; }
static void *get_current(void) { return current; }
static void *new_stream(void *context)
{
	Stream *s = calloc(1, sizeof *s);
	s->context = context;
	return s;
}
static void capture(void *stream, bool on)
{
	((Stream *)stream)->capturing = on;
	if (on)
		g.captured_n = 0;
}
static void replay(void *stream)
{
	(void)stream;
	for (uint64_t i = 0; i < g.captured_n; i++)
		for (uint32_t k = 0; k < g.n_kernels; k++)
			if (!strcmp(g.kernel[k].name, g.captured[i].kernel) && g.kernel[k].run)
				g.kernel[k].run(&g.captured[i]);
}
/* programs that know nothing of the fake: FAKE_CUDA names a library whose fake_setup says what devices and kernels there are */
__attribute__((constructor)) static void setup(void)
{
	const char *path = getenv("FAKE_CUDA");
	void *library = path ? dlopen(path, RTLD_NOW) : NULL;
	void (*fill)(const Fake *) = library ? (void (*)(const Fake *))dlsym(library, "fake_setup") : NULL;
	extern const Fake fake_cuda;
	g.version = 13000;
	g.loud = fill;
	if (fill)
		fill(&fake_cuda);
	const char *refuse = getenv("FAKE_CUDA_REFUSE"); /* "cubins", or "all": PTX too */
	g.refuse = refuse;
	g.refuse_ptx = refuse && !strcmp(refuse, "all");
}

EXPORT extern const Fake fake_cuda;
EXPORT const Fake fake_cuda = { reset, device, version, kernel, fail_call, lose, refuse_cubins, calls, call_name, count, live, misused, launches, launch,
                                new_context, set_current, get_current, new_stream, capture, replay };
