/* The GPUs that NVIDIA's driver shows, the contexts of this process, and what waits for what between streams. */
#include "python/core/device.h"
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { OUT_OF_MEMORY = 2, NO_DEVICE = 100, MAJOR = 75, MINOR = 76, CUDA_12 = 12000, EVENT_PLAIN = 2 /* CU_EVENT_DISABLE_TIMING */ };

static struct {
	CoreCuda cuda;
	bool tried, forked;
	int32_t n_gpus;
	char why[256];                     /* there is none */
	TesseraContext *context[1 + CORE_GPUS];
	TesseraDeviceInfo info[1 + CORE_GPUS];
	const TesseraModel *boot;
	bool boot_tried;
	uint32_t generation;
	pthread_mutex_t lock;              /* of the contexts; nobody who has it waits for the GIL */
} g = { .lock = PTHREAD_MUTEX_INITIALIZER };

uint32_t core_generation(void) { return g.generation; }
bool core_on_host(DLDevice d) { return d.device_type == kDLCPU || d.device_type == kDLCUDAHost; }

PyObject *core_error_class(const char *name, PyObject *plain)
{
	PyObject *m = name ? PyImport_ImportModule("tessera.errors") : NULL, *found = m ? PyObject_GetAttrString(m, name) : NULL;
	Py_XDECREF(m);
	if (found && PyExceptionClass_Check(found) && PyObject_IsSubclass(found, plain) == 1)
		return found;
	Py_XDECREF(found);
	PyErr_Clear();
	return Py_NewRef(plain);
}

PyObject *core_raise_tessera(int32_t code, const char *message)
{
	const char *name = NULL;
	PyObject *class = PyExc_RuntimeError;
	if (code == TESSERA_INVALID || code == TESSERA_RANGE)
		name = "ArgumentValueError", class = PyExc_ValueError;
	else if (code == TESSERA_LOST || code == TESSERA_UNSUPPORTED)
		name = "DeviceError";
	else if (code == TESSERA_NO_MEMORY)
		class = PyExc_MemoryError;
	else if (code == TESSERA_FILE)
		class = PyExc_OSError;
	class = core_error_class(name, class);
	PyErr_SetString(class, message);
	Py_DECREF(class);
	return NULL;
}

/* ---- the driver ---- */

typedef int32_t (*GetProc)(const char *name, void **out, int32_t version, uint64_t flags, int32_t *found);

static const char *const names[] = {
#define F(name, args) "cu" #name,
	CORE_CUDA_FUNCTIONS(F)
#undef F
};
_Static_assert(sizeof names / sizeof *names * sizeof(void *) == sizeof(CoreCuda), "the table is functions alone");

static void open_driver(void)
{
	void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	void **slot = (void **)(void *)&g.cuda;
	GetProc get;
	*(void **)(void *)&get = library ? dlsym(library, "cuGetProcAddress_v2") : NULL;
	g.tried = true;
	if (!library || !get) {
		snprintf(g.why, sizeof g.why, library ? "the NVIDIA driver is older than CUDA 12.0" : "there is no NVIDIA driver (libcuda.so.1)");
		return;
	}
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		int32_t found = 0;
		if (get(names[i], &slot[i], CUDA_12, 0, &found) || !slot[i]) {
			snprintf(g.why, sizeof g.why, "the NVIDIA driver has no function %s", names[i]);
			return;
		}
	}
	int32_t n = 0, code = g.cuda.Init(0);
	if (!code)
		code = g.cuda.DeviceGetCount(&n);
	g.n_gpus = code ? 0 : n > CORE_GPUS ? CORE_GPUS : n;
	if (code || !n)
		snprintf(g.why, sizeof g.why, code && code != NO_DEVICE ? "the NVIDIA driver can't be used (CUDA error %d)" : "the NVIDIA driver shows no GPU", code);
}

const CoreCuda *core_cuda(void)
{
	if (g.forked && g.n_gpus) {
		PyErr_SetString(PyExc_RuntimeError, "GPUs can't be used in a process that fork() made after the driver was opened; start it with the method 'spawn'");
		return NULL;
	}
	if (!g.tried)
		open_driver();
	if (g.why[0]) {
		PyErr_SetString(PyExc_RuntimeError, g.why);
		return NULL;
	}
	return &g.cuda;
}

int core_cuda_check(int32_t code, const char *what)
{
	const char *name = NULL;
	if (!code)
		return 0;
	g.cuda.GetErrorName(code, &name);
	PyErr_Format(code == OUT_OF_MEMORY ? PyExc_MemoryError : PyExc_RuntimeError, "cannot %s: %s", what, name ? name : "unknown CUDA error");
	return -1;
}

static PyObject *gpu_entry(int32_t ordinal)
{
	int32_t device = 0, major = 0, minor = 0;
	size_t bytes = 0;
	char name[128] = "";
	if (core_cuda_check(g.cuda.DeviceGet(&device, ordinal), "find a GPU") || core_cuda_check(g.cuda.DeviceGetName(name, sizeof name - 1, device), "ask for a GPU's name") ||
	    core_cuda_check(g.cuda.DeviceGetAttribute(&major, MAJOR, device), "ask about a GPU") ||
	    core_cuda_check(g.cuda.DeviceGetAttribute(&minor, MINOR, device), "ask about a GPU") ||
	    core_cuda_check(g.cuda.DeviceTotalMem(&bytes, device), "ask about a GPU's memory"))
		return NULL;
	return Py_BuildValue("(siK)", name, major * 10 + minor, (unsigned long long)bytes);
}

static PyObject *gpus(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	PyObject *list = PyList_New(0);
	if (!list || !core_cuda()) {
		if (list)
			PyErr_Clear();
		return list;
	}
	for (int32_t i = 0; i < g.n_gpus; i++) {
		PyObject *entry = gpu_entry(i);
		if (!entry || PyList_Append(list, entry)) {
			Py_XDECREF(entry);
			Py_DECREF(list);
			return NULL;
		}
		Py_DECREF(entry);
	}
	return list;
}

/* ---- contexts ---- */

/* _boot.so lies beside this library; without it (a library on its own) the first program makes the contexts */
static const TesseraModel *boot(void)
{
	Dl_info self;
	char path[PATH_MAX];
	if (g.boot_tried)
		return g.boot;
	g.boot_tried = true;
	if (!dladdr((void *)(uintptr_t)boot, &self) || !self.dli_fname)
		return NULL;
	const char *slash = strrchr(self.dli_fname, '/');
	int n = snprintf(path, sizeof path, "%.*s_boot.so", slash ? (int)(slash - self.dli_fname) + 1 : 0, self.dli_fname);
	void *library = n > 0 && n < (int)sizeof path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	g.boot = library ? dlsym(library, "tessera_boot_tessera") : NULL;
	if (g.boot && g.boot->abi != TESSERA_ABI)
		g.boot = NULL;
	return g.boot;
}

static int32_t make_context(DLDevice d, const TesseraModel *m, TesseraContext **out, TesseraError *e)
{
	TesseraContextOptions o = { .device = core_on_host(d) ? TESSERA_DEVICE_CPU : TESSERA_DEVICE_CUDA, .device_id = core_on_host(d) ? 0 : d.device_id };
	const TesseraModel *b = boot();
	int32_t rc = b ? tessera_context_create(b, &o, out, e) : TESSERA_UNSUPPORTED;
	if (!b) {
		e->code = TESSERA_UNSUPPORTED;
		snprintf(e->message, sizeof e->message, "the file _boot.so of the package is missing");
	}
	if (rc && m)
		rc = tessera_context_create(m, &o, out, e);
	return rc;
}

/* the process's context in this slot, made where there is none; without the GIL */
static TesseraContext *context_in(int slot, DLDevice d, const TesseraModel *m, TesseraError *e)
{
	pthread_mutex_lock(&g.lock);
	TesseraContext *made = NULL;
	if (!g.context[slot] && !make_context(d, m, &made, e)) {
		tessera_device(made, &g.info[slot]);
		g.context[slot] = made;
	}
	made = g.context[slot];
	pthread_mutex_unlock(&g.lock);
	return made;
}

TesseraContext *core_context_for_xla(void *user, DLDevice d, TesseraError *e)
{
	int slot = core_on_host(d) ? 0 : 1 + d.device_id;
	(void)user;
	if (slot >= 0 && slot <= CORE_GPUS && !(slot && g.forked))
		return context_in(slot, d, NULL, e);
	e->code = TESSERA_UNSUPPORTED;
	snprintf(e->message, sizeof e->message, g.forked ? "GPUs can't be used in a process that fork() made after the driver was opened" : "there is no GPU cuda:%d", slot - 1);
	return NULL;
}

TesseraContext *core_context(DLDevice d, const TesseraModel *m)
{
	int slot = core_on_host(d) ? 0 : 1 + d.device_id;
	TesseraError e = { 0 };
	TesseraContext *cx;
	if (slot < 0 || slot > CORE_GPUS) {
		PyErr_Format(PyExc_ValueError, "there is no GPU cuda:%d", slot - 1);
		return NULL;
	}
	if (slot && !core_cuda())
		return NULL;
	if (g.context[slot])
		return g.context[slot];
	Py_BEGIN_ALLOW_THREADS
	cx = context_in(slot, d, m, &e);
	Py_END_ALLOW_THREADS
	if (!cx)
		core_raise_tessera(e.code, e.message);
	return cx;
}

static void in_child(void)
{
	pthread_mutex_init(&g.lock, NULL);
	core_memory_forked();
	g.context[0] = NULL; /* the parent's has no threads here; a new one has */
	g.generation++;
	g.forked = true;
}

int core_push_context(DLDevice d, bool *pushed)
{
	void *current = NULL;
	*pushed = false;
	if (core_on_host(d))
		return 0;
	const CoreCuda *cu = core_cuda();
	if (!cu || !core_context(d, NULL) || core_cuda_check(cu->CtxGetCurrent(&current), "ask for the current CUDA context"))
		return -1;
	void *ours = g.info[1 + d.device_id].native;
	if (current == ours)
		return 0;
	*pushed = true;
	return core_cuda_check(cu->CtxPushCurrent(ours), "make a CUDA context current");
}

void core_pop_context(bool pushed)
{
	void *old;
	if (pushed)
		g.cuda.CtxPopCurrent(&old);
}

/* ---- memory of GPUs ---- */

uint8_t *core_gpu_alloc(DLDevice d, uint64_t bytes)
{
	TesseraContext *cx = core_context(d, NULL);
	TesseraError e = { 0 };
	void *out = NULL;
	int32_t rc = cx ? tessera_device_alloc(cx, bytes, &out, &e) : TESSERA_OK;
	if (rc)
		core_raise_tessera(rc, e.message);
	return out;
}

void core_gpu_free(DLDevice d, uint8_t *memory, uint64_t bytes)
{
	TesseraError e;
	if (!g.forked)
		tessera_device_release(g.context[1 + d.device_id], memory, bytes, &e);
}

int core_copy(DLDevice to_device, void *to, DLDevice from_device, const void *from, uint64_t bytes)
{
	TesseraError e = { 0 };
	if (core_on_host(to_device) && core_on_host(from_device)) {
		memmove(to, from, bytes);
		return 0;
	}
	TesseraContext *cx = core_context(core_on_host(to_device) ? from_device : to_device, NULL);
	int32_t rc = TESSERA_OK;
	if (!cx)
		return -1;
	Py_BEGIN_ALLOW_THREADS
	rc = tessera_copy(cx, to, from, bytes, &e);
	Py_END_ALLOW_THREADS
	if (rc)
		core_raise_tessera(rc, e.message);
	return rc ? -1 : 0;
}

/* memory of the host that is not pinned has been read when this returns */
int core_copy_in_order(DLDevice d, void *to, const void *from_host, uint64_t bytes, void *stream)
{
	bool pushed;
	if (core_push_context(d, &pushed))
		return -1;
	int rc = core_cuda_check(g.cuda.MemcpyHtoDAsync((CoreCuPtr)(uintptr_t)to, from_host, bytes, stream), "copy to the GPU");
	core_pop_context(pushed);
	return rc;
}

/* ---- streams ---- */

/* A stream that is being captured into somebody's graph knows nothing of other streams: who captures orders them. */
static int is_capturing(void *stream, bool *yes)
{
	int32_t status = 0;
	int rc = stream ? core_cuda_check(g.cuda.StreamIsCapturing(stream, &status), "use the stream") : 0;
	*yes = status != 0;
	return rc;
}

/* what `after` gets from now on waits for what `before` has now */
static int order(DLDevice d, void *before, void *after)
{
	bool pushed, capturing = false;
	void *event = NULL;
	if (core_push_context(d, &pushed))
		return -1;
	int rc = is_capturing(before ? before : after, &capturing);
	if (!rc && !capturing) {
		rc = core_cuda_check(g.cuda.EventCreate(&event, EVENT_PLAIN), "make an event");
		if (!rc)
			rc = core_cuda_check(g.cuda.EventRecord(event, before), "record an event");
		if (!rc)
			rc = core_cuda_check(g.cuda.StreamWaitEvent(after, event, 0), "wait for a stream");
		if (event)
			g.cuda.EventDestroy(event); /* what waits for it still does */
	}
	core_pop_context(pushed);
	return rc;
}

int core_stream_after_default(DLDevice d, void *stream) { return order(d, NULL, stream); }
int core_default_after_stream(DLDevice d, void *stream) { return order(d, stream, NULL); }

/* an event of an earlier use becomes the default stream's concern at once */
int core_storage_used_on(CoreStorage *s, void *stream)
{
	bool pushed, capturing = false;
	if (core_push_context(s->device, &pushed))
		return -1;
	int rc = is_capturing(stream, &capturing);
	if (!rc && !capturing) {
		rc = s->event ? core_cuda_check(g.cuda.StreamWaitEvent(NULL, s->event, 0), "wait for a stream")
		              : core_cuda_check(g.cuda.EventCreate(&s->event, EVENT_PLAIN), "make an event");
		if (!rc)
			rc = core_cuda_check(g.cuda.EventRecord(s->event, stream), "record an event");
	}
	core_pop_context(pushed);
	return rc;
}

void core_gpu_wait_event(DLDevice d, void *event)
{
	void *old;
	if (g.forked || g.cuda.CtxPushCurrent(g.info[1 + d.device_id].native))
		return;
	g.cuda.StreamWaitEvent(NULL, event, 0);
	g.cuda.EventDestroy(event);
	g.cuda.CtxPopCurrent(&old);
}

static PyObject *synchronize(PyObject *module, PyObject *device)
{
	DLDevice d;
	bool pushed;
	int32_t code;
	(void)module;
	if (core_device_from(device, &d) || core_push_context(d, &pushed))
		return NULL;
	if (core_on_host(d))
		Py_RETURN_NONE;
	Py_BEGIN_ALLOW_THREADS
	code = g.cuda.CtxSynchronize();
	Py_END_ALLOW_THREADS
	core_pop_context(pushed);
	if (core_cuda_check(code, "wait for the GPU"))
		return NULL;
	Py_RETURN_NONE;
}

/* ---- devices as text ---- */

const char *core_device_text(char text[24], DLDevice d)
{
	if (core_on_host(d))
		return strcpy(text, "cpu");
	snprintf(text, 24, d.device_type == kDLCUDA ? "cuda:%d" : "device %d of another kind", d.device_id);
	return text;
}

int core_device_from(PyObject *o, DLDevice *out)
{
	*out = (DLDevice){ kDLCPU, 0 };
	if (o == Py_None)
		return 0;
	PyObject *text = PyObject_Str(o);
	const char *s = text ? PyUnicode_AsUTF8AndSize(text, NULL) : NULL;
	bool ok = s && !strcmp(s, "cpu");
	if (s && !strncmp(s, "cuda", 4) && (!s[4] || (s[4] == ':' && s[5] >= '0' && s[5] <= '9' && strlen(s) <= 7))) {
		int n = 0;
		for (const char *p = s[4] ? s + 5 : s + 4; *p; p++)
			n = n * 10 + (*p - '0');
		ok = n < CORE_GPUS && (strlen(s) < 7 || (s[6] >= '0' && s[6] <= '9'));
		*out = (DLDevice){ kDLCUDA, n };
	}
	if (!ok) {
		PyErr_Clear();
		PyErr_Format(PyExc_ValueError, "argument 'device': wanted 'cpu', 'cuda' or 'cuda:N', found %R", o);
	}
	Py_XDECREF(text);
	return ok ? 0 : -1;
}

static PyMethodDef functions[] = {
	{ "gpus", gpus, METH_NOARGS, "gpus() -> list of (name, architecture as 90 for sm_90, bytes of memory); empty without a driver or a GPU." },
	{ "synchronize", synchronize, METH_O, "synchronize(device): waits for all work of the device." },
	{ NULL, NULL, 0, NULL },
};

int core_device_init(PyObject *module)
{
	static bool registered;
	if (!registered && pthread_atfork(NULL, NULL, in_child)) {
		PyErr_NoMemory();
		return -1;
	}
	registered = true;
	return PyModule_AddFunctions(module, functions) || core_memory_init(module) ? -1 : 0;
}
