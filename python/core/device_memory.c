/* Memory for tensors. Large blocks come in size classes, eight to each doubling, and are kept when they are let go of, for the next tensor of
 * their class: memory that the system, or a GPU's driver, hands out anew is slow. On a GPU every block is used in the order of the default
 * stream; one that another stream used is passed on with an event that the default stream waits for. */
#include "python/core/device.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 512, CPU_ALIGN = 64 };
#define LARGE ((uint64_t)1 << 20)       /* of the CPU: what is smaller is the C library's */
#define CPU_KEPT ((uint64_t)256 << 20)  /* of the CPU: no more than this is kept */
#define GPU_LEAST ((uint64_t)512)

typedef struct Block { struct Block *next; uint8_t *memory; } Block;
typedef struct {
	pthread_mutex_t lock;
	Block *kept[CLASSES];
	uint64_t current, peak, reserved, kept_bytes;
} Pool;
static Pool pools[1 + CORE_GPUS]; /* the CPU's first */
static pthread_once_t pools_once = PTHREAD_ONCE_INIT;

static void init_locks(void)
{
	for (int i = 0; i <= CORE_GPUS; i++)
		pthread_mutex_init(&pools[i].lock, NULL);
}

static Pool *pool_of(DLDevice d)
{
	pthread_once(&pools_once, init_locks);
	return &pools[core_on_host(d) ? 0 : 1 + d.device_id];
}

/* another thread may have held a lock when the process forked */
void core_memory_forked(void) { init_locks(); }

static int class_of(uint64_t bytes, uint64_t *rounded)
{
	int top = 63 - __builtin_clzll(bytes);
	uint64_t step = (uint64_t)1 << (top - 3);
	*rounded = (bytes + step - 1) / step * step;
	top = 63 - __builtin_clzll(*rounded);
	return top * 8 + (int)(*rounded >> (top - 3) & 7);
}

static bool is_classed(DLDevice d, uint64_t bytes) { return !core_on_host(d) || bytes >= LARGE; }

static uint64_t held_bytes(DLDevice d, uint64_t bytes, int *class)
{
	uint64_t rounded = bytes;
	*class = -1;
	if (is_classed(d, bytes))
		*class = class_of(bytes < GPU_LEAST ? GPU_LEAST : bytes, &rounded);
	return rounded;
}

static uint8_t *take_kept(Pool *p, int class, uint64_t held)
{
	Block *b = class < 0 ? NULL : p->kept[class];
	if (!b)
		return NULL;
	uint8_t *memory = b->memory;
	p->kept[class] = b->next;
	p->kept_bytes -= held;
	free(b);
	return memory;
}

/* the address that free() wants lies before the first byte */
static uint8_t *raw_cpu(uint64_t bytes)
{
	uint64_t room;
	uint8_t *raw = __builtin_add_overflow(bytes, (uint64_t)CPU_ALIGN + sizeof raw, &room) ? NULL : malloc(room);
	if (!raw)
		return NULL;
	uint8_t *at = (uint8_t *)(((uintptr_t)raw + sizeof raw + CPU_ALIGN - 1) & ~(uintptr_t)(CPU_ALIGN - 1));
	memcpy(at - sizeof raw, &raw, sizeof raw);
	return at;
}

static void free_cpu(uint8_t *at)
{
	uint8_t *raw;
	memcpy(&raw, at - sizeof raw, sizeof raw);
	free(raw);
}

static void free_raw(DLDevice d, uint8_t *memory, uint64_t held)
{
	if (core_on_host(d))
		free_cpu(memory);
	else
		core_gpu_free(d, memory, held);
}

static void empty(DLDevice d)
{
	Pool *p = pool_of(d);
	pthread_mutex_lock(&p->lock);
	for (int i = 0; i < CLASSES; i++) {
		uint64_t held = i < 24 ? 0 : (uint64_t)(8 + i % 8) << (i / 8 - 3);
		for (uint8_t *memory; (memory = take_kept(p, i, held));) {
			p->reserved -= held;
			free_raw(d, memory, held);
		}
	}
	pthread_mutex_unlock(&p->lock);
}

static void count(Pool *p, uint64_t bytes, uint64_t held, bool is_new)
{
	p->current += bytes;
	p->reserved += is_new ? held : 0;
	p->peak = p->current > p->peak ? p->current : p->peak;
}

uint8_t *core_alloc(DLDevice d, uint64_t bytes)
{
	Pool *p = pool_of(d);
	int class;
	uint64_t held = held_bytes(d, bytes, &class);
	if (bytes >> 56) { /* beyond any address space */
		PyErr_Format(PyExc_MemoryError, "no memory for %llu bytes", (unsigned long long)bytes);
		return NULL;
	}
	if (!core_on_host(d) && !core_cuda())
		return NULL; /* in a forked child what is kept is of no use */
	pthread_mutex_lock(&p->lock);
	uint8_t *memory = take_kept(p, class, held);
	if (memory)
		count(p, bytes, held, false);
	pthread_mutex_unlock(&p->lock);
	for (int attempt = 0; attempt < 2 && !memory; attempt++) {
		PyErr_Clear();
		memory = core_on_host(d) ? raw_cpu(held) : core_gpu_alloc(d, held);
		if (!memory && core_on_host(d))
			PyErr_Format(PyExc_MemoryError, "no memory for %llu bytes", (unsigned long long)bytes);
		if (!memory && (attempt || !PyErr_ExceptionMatches(PyExc_MemoryError)))
			return NULL;
		if (!memory) {
			empty(d);
			continue;
		}
		pthread_mutex_lock(&p->lock);
		count(p, bytes, held, true);
		pthread_mutex_unlock(&p->lock);
	}
	return memory;
}

void core_release(DLDevice d, uint8_t *memory, uint64_t bytes, void *event)
{
	Pool *p = pool_of(d);
	int class;
	uint64_t held = held_bytes(d, bytes, &class);
	Block *b = class < 0 ? NULL : malloc(sizeof *b);
	if (event)
		core_gpu_wait_event(d, event);
	pthread_mutex_lock(&p->lock);
	p->current -= bytes;
	if (b && core_on_host(d) && p->kept_bytes + held > CPU_KEPT) {
		free(b);
		b = NULL;
	}
	if (b) {
		*b = (Block){ p->kept[class], memory };
		p->kept[class] = b;
		p->kept_bytes += held;
	} else {
		p->reserved -= held;
	}
	pthread_mutex_unlock(&p->lock);
	if (!b)
		free_raw(d, memory, held);
}

/* ---- for Python ---- */

static PyObject *memory_stats(PyObject *module, PyObject *device)
{
	DLDevice d;
	(void)module;
	if (core_device_from(device, &d))
		return NULL;
	Pool *p = pool_of(d);
	pthread_mutex_lock(&p->lock);
	unsigned long long current = p->current, peak = p->peak, reserved = p->reserved;
	pthread_mutex_unlock(&p->lock);
	return Py_BuildValue("{sKsKsK}", "current", current, "peak", peak, "reserved", reserved);
}

static PyObject *memory_reset_peak(PyObject *module, PyObject *device)
{
	DLDevice d;
	(void)module;
	if (core_device_from(device, &d))
		return NULL;
	Pool *p = pool_of(d);
	pthread_mutex_lock(&p->lock);
	p->peak = p->current;
	pthread_mutex_unlock(&p->lock);
	Py_RETURN_NONE;
}

static PyObject *empty_cache(PyObject *module, PyObject *args)
{
	PyObject *device = NULL;
	DLDevice d;
	(void)module;
	if (!PyArg_ParseTuple(args, "|O:empty_cache", &device) || (device && core_device_from(device, &d)))
		return NULL;
	if (device) {
		empty(d);
		Py_RETURN_NONE;
	}
	empty((DLDevice){ kDLCPU, 0 });
	for (int i = 0; i < CORE_GPUS; i++)
		empty((DLDevice){ kDLCUDA, i });
	Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
	{ "memory_stats", memory_stats, METH_O, "memory_stats(device) -> dict: bytes of tensors now (current), at most so far (peak), and held from the system (reserved)." },
	{ "memory_reset_peak", memory_reset_peak, METH_O, "memory_reset_peak(device): the peak is what is in use now." },
	{ "empty_cache", empty_cache, METH_VARARGS, "empty_cache(device): gives memory that no tensor uses back to the system; without a device, that of all." },
	{ NULL, NULL, 0, NULL },
};

int core_memory_init(PyObject *module) { return PyModule_AddFunctions(module, functions); }
