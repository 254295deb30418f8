/* A profiled run: kernel by kernel, an event before and one behind each. A gate holds the stream until a part of the launches is enqueued, so
 * that the time between two events is the kernel's and not the host's; should the driver want the stream itself meanwhile, the gate opens
 * by itself after a moment. */
#include "rtlib/cuda.h"
#include "rtlib/sys.h"
#include <stdatomic.h>

enum { AT_ONCE = 128 /* launches behind a gate: the driver takes this many without waiting */, PATIENCE_NS = 20000000 };
typedef struct { TsRtSession *s; const TsCuda *cu; TsCuHandle stream, event[2 * AT_ONCE]; uint32_t n_events; TsCudaGate *gate; } Timer;

/* on a thread of the driver's, which nothing may be called from */
static void wait_at(void *arg)
{
	TsCudaGate *g = arg;
	int64_t until = ts_now() + PATIENCE_NS;
	for (int64_t left = PATIENCE_NS; !atomic_load(&g->open) && left > 0; left = until - ts_now())
		ts_futex_wait_ns(&g->open, 0, left);
	g->opened = ts_now();
	atomic_store(&g->passed, 1);
	ts_futex_wake(&g->passed, 1);
}

static void open_gate(TsCudaGate *g)
{
	atomic_store(&g->open, 1);
	ts_futex_wake(&g->open, 1);
}

/* After a failure: the gate is the session's memory, so who comes to it later than this does no harm but to a session that is gone. */
static void wait_for(TsCudaGate *g)
{
	int64_t until = ts_now() + PATIENCE_NS;
	for (int64_t left = PATIENCE_NS; !atomic_load(&g->passed) && left > 0; left = until - ts_now())
		ts_futex_wait_ns(&g->passed, 0, left);
}

static int32_t mark(Timer *t, uint32_t event, TesseraError *e) { return ts_cuda_fail(t->cu, t->cu->EventRecord(t->event[event], t->stream), e, "record an event"); }

static int32_t enqueue(Timer *t, uint64_t first, uint32_t n, TesseraError *e)
{
	int32_t rc = TESSERA_OK;
	for (uint32_t i = 0; i < n && !rc; i++) {
		rc = mark(t, 2 * i, e);
		rc = rc ? rc : ts_cuda_launch(t->s, first + i, t->stream, e);
		rc = rc ? rc : mark(t, 2 * i + 1, e);
	}
	return rc;
}

static int32_t since_gate(Timer *t, uint32_t event, int64_t *ns, TesseraError *e)
{
	float ms = 0;
	int32_t rc = event ? ts_cuda_fail(t->cu, t->cu->EventElapsedTime(&ms, t->event[0], t->event[event]), e, "ask how long a kernel took") : TESSERA_OK;
	*ns = t->gate->opened + (int64_t)((double)ms * 1e6);
	return rc;
}

static int32_t part(Timer *t, uint64_t first, uint32_t n, TesseraError *e)
{
	atomic_store(&t->gate->open, 0);
	atomic_store(&t->gate->passed, 0);
	int32_t rc = ts_cuda_fail(t->cu, t->cu->LaunchHostFunc(t->stream, wait_at, t->gate), e, "hold the stream");
	if (rc)
		return rc;
	rc = enqueue(t, first, n, e);
	open_gate(t->gate);
	int32_t waited = ts_cuda_fail(t->cu, t->cu->StreamSynchronize(t->stream), rc ? NULL : e, "wait for the run");
	rc = rc ? rc : waited;
	if (rc)
		wait_for(t->gate);
	for (uint32_t i = 0; i < n && !rc; i++) {
		TsLaunchTimes *at = &t->s->times[first + i];
		rc = since_gate(t, 2 * i, &at->begin, e);
		rc = rc ? rc : since_gate(t, 2 * i + 1, &at->end, e);
	}
	return rc;
}

int32_t ts_cuda_time(TsRtSession *s, TsCuHandle stream, TesseraError *e)
{
	Timer t = { .s = s, .cu = &ts_cuda_session(s)->model->cu, .stream = stream, .gate = &ts_cuda_session(s)->gate };
	uint64_t launches = s->need.launches;
	int32_t rc = ts_cuda_fail(t.cu, t.cu->StreamSynchronize(stream), e, "wait for the stream");
	for (; !rc && t.n_events < 2 * AT_ONCE && t.n_events < 2 * launches; t.n_events += !rc)
		rc = ts_cuda_fail(t.cu, t.cu->EventCreate(&t.event[t.n_events], 0), e, "make an event");
	for (uint64_t first = 0; first < launches && !rc; first += AT_ONCE)
		rc = part(&t, first, launches - first < AT_ONCE ? (uint32_t)(launches - first) : AT_ONCE, e);
	while (t.n_events)
		t.cu->EventDestroy(t.event[--t.n_events]);
	ts_cuda_session(s)->count.plain_runs += !rc;
	return rc;
}
