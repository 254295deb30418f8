/* A context: memory hooks, the thread pool, and what the sessions of one model share. Workers sleep on a futex when nothing runs. A run
 * takes the pool if it is free and else computes on its own thread; workers that wake late join late, nobody waits for them.
 *
 * A forked child has a copy of the context and none of its threads: there the pool's words say what was true of the parent at that moment,
 * so nothing there waits on them. */
#include "rtlib/device.h"
#include "rtlib/sys.h"
#include <stdatomic.h>

#define OPEN 0x80000000u
enum { MAX_THREADS = 4096, DEVICE_THREADS = 8 };

typedef struct Shared {
	struct Shared *next;
	const void *key;
	void *value;
	void (*drop)(TesseraContext *, void *);
} Shared;

typedef struct Context {
	TesseraContext head;
	TesseraAllocator mem;
	const TsThreadOps *ops;
	size_t bytes;
	int64_t process;           /* that made it, and has its threads */
	int32_t threads, cpu, started;
	const char *weights;
	const TsDeviceOps *device_ops;
	void *device;              /* of device_ops; NULL on the CPU */
	TesseraDeviceInfo info;
	TsLock lock, child_lock;   /* of the shared list; a child of a fork may find the first taken by a thread that it hasn't got */
	Shared *_Atomic shared;
	/* the pool */
	_Atomic uint32_t taken;    /* a run owns the pool */
	_Atomic uint32_t job;      /* counts jobs; workers sleep on it */
	_Atomic uint32_t inside;   /* OPEN while workers may enter, plus the number that are in */
	_Atomic uint32_t tickets;
	_Atomic uint32_t quit;
	int32_t want;
	void (*body)(void *, int32_t);
	void *arg;
	TsThread thread[];
} Context;

static Context *context(TesseraContext *cx) { return (Context *)(void *)cx; }
static bool forked(const Context *c) { return c->process != ts_process(); }

/* ---- the pool ---- */

static bool enter(Context *c)
{
	uint32_t seen = atomic_load(&c->inside);
	while (seen & OPEN)
		if (atomic_compare_exchange_weak(&c->inside, &seen, seen + 1))
			return true;
	return false;
}

static void leave(Context *c)
{
	if (atomic_fetch_sub(&c->inside, 1) == 1) /* closed, and the last one out */
		ts_futex_wake(&c->inside, 1);
}

static void *worker(void *arg)
{
	Context *c = arg;
	uint32_t done = 0;
	while (!atomic_load(&c->quit)) {
		uint32_t job = atomic_load(&c->job);
		if (job == done) {
			ts_futex_wait(&c->job, job);
			continue;
		}
		done = job;
		if (!enter(c))
			continue;
		uint32_t ticket = atomic_fetch_add(&c->tickets, 1) + 1;
		if (ticket < (uint32_t)c->want)
			c->body(c->arg, (int32_t)ticket);
		leave(c);
	}
	return NULL;
}

static void wait_until_empty(Context *c)
{
	for (int i = 0; i < 200 && atomic_load(&c->inside); i++)
		__builtin_ia32_pause();
	for (uint32_t seen; (seen = atomic_load(&c->inside)) != 0;)
		ts_futex_wait(&c->inside, seen);
}

static void parallel(TesseraContext *cx, int32_t want, void (*body)(void *, int32_t), void *arg)
{
	Context *c = context(cx);
	if (want > c->started + 1)
		want = c->started + 1;
	if (want <= 1 || forked(c) || atomic_exchange(&c->taken, 1)) {
		body(arg, 0);
		return;
	}
	c->want = want;
	c->body = body;
	c->arg = arg;
	atomic_store(&c->tickets, 0);
	atomic_store(&c->inside, OPEN);
	atomic_fetch_add(&c->job, 1);
	ts_futex_wake(&c->job, want - 1);
	body(arg, 0);
	atomic_fetch_and(&c->inside, ~OPEN);
	wait_until_empty(c);
	atomic_store(&c->taken, 0);
}

static void start_workers(Context *c)
{
	while (c->started < c->threads - 1) {
		TsThread *t = &c->thread[c->started];
		t->main = worker;
		t->arg = c;
		if (!c->ops->start(t))
			break;
		c->started++;
	}
	c->threads = c->started + 1;
}

/* ---- memory and shared values ---- */

static void *default_alloc(void *user, size_t bytes, size_t align)
{
	(void)user;
	(void)align; /* pages are aligned to 4096, the most that is asked for */
	return ts_pages(bytes);
}
static void default_release(void *user, void *p, size_t bytes)
{
	(void)user;
	ts_pages_free(p, bytes);
}

static void *ctx_alloc(TesseraContext *cx, size_t bytes, size_t align) { return context(cx)->mem.alloc(context(cx)->mem.user, bytes, align); }
static void ctx_release(TesseraContext *cx, void *p, size_t bytes)
{
	if (p)
		context(cx)->mem.release(context(cx)->mem.user, p, bytes);
}

static void *shared(TesseraContext *cx, const void *key, void *(*make)(TesseraContext *, void *), void (*drop)(TesseraContext *, void *), void *arg)
{
	Context *c = context(cx);
	void *value = NULL;
	TsLock *lock = forked(c) ? &c->child_lock : &c->lock;
	ts_lock(lock);
	Shared *s = c->shared;
	while (s && s->key != key)
		s = s->next;
	if (s) {
		value = s->value;
	} else if ((s = ctx_alloc(cx, sizeof *s, 64))) {
		value = make(cx, arg);
		if (value) {
			*s = (Shared){ c->shared, key, value, drop };
			c->shared = s;
		} else {
			ctx_release(cx, s, sizeof *s);
		}
	}
	ts_unlock(lock);
	return value;
}

static int32_t ctx_threads(TesseraContext *cx) { return context(cx)->threads; }
static int32_t ctx_cpu(TesseraContext *cx) { return context(cx)->cpu; }
static const char *ctx_weights(TesseraContext *cx) { return context(cx)->weights; }

/* ---- the device ---- */

static void ctx_device(TesseraContext *cx, TesseraDeviceInfo *out)
{
	if (out)
		*out = context(cx)->info;
}

/* a driver's handles are of one process */
static int32_t reachable(const Context *c, TesseraError *e)
{
	return !c->device || !forked(c) ? TESSERA_OK : ts_fail(e, TESSERA_LOST, TS_FORKED);
}

static int32_t device_alloc(TesseraContext *cx, uint64_t bytes, void **out, TesseraError *e)
{
	Context *c = context(cx);
	if (!out)
		return ts_fail(e, TESSERA_INVALID, "argument 'out' is NULL");
	*out = NULL;
	if (c->device)
		return reachable(c, e) ? TESSERA_LOST : c->device_ops->alloc(c->device, bytes ? bytes : 1, out, e);
	*out = ctx_alloc(cx, bytes ? bytes : 1, 256);
	return *out ? TESSERA_OK : ts_fail(e, TESSERA_NO_MEMORY, "no memory for %u bytes", bytes);
}

static int32_t device_release(TesseraContext *cx, void *memory, uint64_t bytes, TesseraError *e)
{
	Context *c = context(cx);
	if (reachable(c, e)) /* asked even for no memory: session_create finds out so */
		return TESSERA_LOST;
	if (memory && c->device)
		return c->device_ops->release(c->device, memory, e);
	ctx_release(cx, memory, bytes ? bytes : 1);
	return TESSERA_OK;
}

static int32_t copy(TesseraContext *cx, void *to, const void *from, uint64_t bytes, TesseraError *e)
{
	Context *c = context(cx);
	if (reachable(c, e))
		return TESSERA_LOST;
	if (bytes && (!to || !from))
		return ts_fail(e, TESSERA_INVALID, "argument '%s' is NULL", to ? "from" : "to");
	if (bytes && c->device)
		return c->device_ops->copy(c->device, to, from, bytes, e);
	memmove(to, from, bytes);
	return TESSERA_OK;
}

static int32_t wait_for(TesseraContext *cx, void *stream, TesseraError *e)
{
	Context *c = context(cx);
	return reachable(c, e) ? TESSERA_LOST : c->device ? c->device_ops->wait(c->device, stream, e) : TESSERA_OK;
}

/* AUTO with nothing but CPU code is the CPU, without a word */
static int32_t choose_device(Context *c, const TesseraModel *m, const TesseraContextOptions *o, TesseraError *e)
{
	c->info = (TesseraDeviceInfo){ .device = { kDLCPU, 0 }, .name = "CPU" };
	c->device_ops = m->device_ops;
	if (o->device == TESSERA_DEVICE_CPU || (o->device == TESSERA_DEVICE_AUTO && !c->device_ops))
		return TESSERA_OK;
	if (!c->device_ops)
		return ts_fail(e, TESSERA_UNSUPPORTED, "model '%s' holds no code for GPUs, and context option 'device' asks for cuda:%d", m->name, (int64_t)o->device_id);
	return c->device_ops->open(m, o, &c->head, &c->device, &c->info, e);
}

/* ---- life ---- */

static void destroy(TesseraContext *cx)
{
	Context *c = context(cx);
	TesseraAllocator mem = c->mem;
	if (!forked(c)) {
		atomic_store(&c->quit, 1);
		atomic_fetch_add(&c->job, 1);
		ts_futex_wake(&c->job, MAX_THREADS);
		for (int32_t i = 0; i < c->started; i++)
			c->ops->join(&c->thread[i]);
	}
	for (Shared *s; (s = c->shared);) {
		c->shared = s->next;
		s->drop(cx, s->value);
		ctx_release(cx, s, sizeof *s);
	}
	if (c->device)
		c->device_ops->close(cx, c->device);
	mem.release(mem.user, c, c->bytes);
}

static const TesseraContextApi context_api = { TESSERA_ABI, sizeof(TesseraContextApi), destroy, ctx_alloc, ctx_release, ctx_threads, ctx_cpu,
                                               ctx_weights, parallel, shared, ctx_device, device_alloc, device_release, copy, wait_for };

static int32_t check_options(const TesseraContextOptions *o, int32_t level, TesseraError *e)
{
	static const char *const names[] = { "", "x86-64-v2", "x86-64-v3", "x86-64-v4" };
	if (o->size && o->size != sizeof *o)
		return ts_fail(e, TESSERA_VERSION, "context options of %u bytes, this artifact knows %u", (uint64_t)o->size, (uint64_t)sizeof *o);
	if (o->threads < 0 || o->threads > MAX_THREADS)
		return ts_fail(e, TESSERA_INVALID, "context option 'threads' is %d, wanted 0 to %d", (int64_t)o->threads, (int64_t)MAX_THREADS);
	if (o->cpu < 0 || o->cpu > TESSERA_CPU_V4)
		return ts_fail(e, TESSERA_INVALID, "context option 'cpu' is %d, wanted 0 to %d", (int64_t)o->cpu, (int64_t)TESSERA_CPU_V4);
	if (o->device != TESSERA_DEVICE_AUTO && o->device != TESSERA_DEVICE_CPU && o->device != TESSERA_DEVICE_CUDA)
		return ts_fail(e, TESSERA_INVALID, "context option 'device' is %d, wanted 0, 1 (the CPU) or 2 (CUDA)", (int64_t)o->device);
	if (o->device_id < 0 || (o->device_id && o->device != TESSERA_DEVICE_CUDA))
		return ts_fail(e, TESSERA_INVALID, "context option 'device_id' is %d, wanted a GPU's number, and 0 without TESSERA_DEVICE_CUDA", (int64_t)o->device_id);
	if (!o->allocator.alloc != !o->allocator.release)
		return ts_fail(e, TESSERA_INVALID, "context option 'allocator' has only one of alloc and release");
	if (!level)
		return ts_fail(e, TESSERA_UNSUPPORTED, "this processor is older than x86-64-v2");
	if (o->cpu > level)
		return ts_fail(e, TESSERA_UNSUPPORTED, "context option 'cpu' asks for %s, this processor is %s", names[o->cpu], names[level]);
	return TESSERA_OK;
}

int32_t ts_context_create(const TesseraModel *m, const TesseraContextOptions *o, const TsThreadOps *ops, TesseraContext **out, TesseraError *e)
{
	static const TesseraContextOptions none = { 0 };
	int32_t level = ts_cpu_level(), rc;
	if (!out)
		return ts_fail(e, TESSERA_INVALID, "argument 'out' is NULL");
	*out = NULL;
	o = o ? o : &none;
	if ((rc = check_options(o, level, e)))
		return rc;
	TesseraAllocator mem = o->allocator.alloc ? o->allocator : (TesseraAllocator){ NULL, default_alloc, default_release };
	int32_t threads = o->threads ? o->threads : ts_cpu_count();
	threads = threads > MAX_THREADS ? MAX_THREADS : threads;
	size_t path = o->weights ? strlen(o->weights) + 1 : 0, fixed = sizeof(Context) + sizeof(TsThread) * (size_t)threads;
	Context *c = mem.alloc(mem.user, fixed + path, 64);
	if (!c)
		return ts_fail(e, TESSERA_NO_MEMORY, "no memory for a context of %u bytes", (uint64_t)(fixed + path));
	memset(c, 0, fixed + path);
	c->head.api = &context_api;
	c->process = ts_process();
	c->mem = mem;
	c->ops = ops;
	c->bytes = fixed + path;
	c->threads = threads;
	c->cpu = o->cpu ? o->cpu : level;
	if (path)
		c->weights = memcpy((char *)c + fixed, o->weights, path);
	if ((rc = choose_device(c, m, o, e))) {
		mem.release(mem.user, c, c->bytes);
		return rc;
	}
	if (c->device && !o->threads && c->threads > DEVICE_THREADS)
		c->threads = DEVICE_THREADS;
	start_workers(c);
	*out = &c->head;
	return TESSERA_OK;
}
