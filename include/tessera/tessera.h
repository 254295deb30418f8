/* tessera.h: how a program uses a compiled model. C99 and C++11; nothing to link but the artifact itself.
 *
 * A compiled artifact exports one descriptor, `<name>_tessera`. A context owns threads and memory hooks and may serve many artifacts.
 * A session belongs to one context and one model and owns its workspace and state. The tessera_* functions below are inline wrappers
 * over the artifact's function table, so any number of artifacts, of different versions, live in one process, linked or loaded.
 *
 *   extern const TesseraModel mlp_tessera;                       // or dlsym(handle, "mlp_tessera")
 *   TesseraError e = {0};
 *   TesseraContext *cx; TesseraSession *s;
 *   if (tessera_context_create(&mlp_tessera, NULL, &cx, &e) || tessera_session_create(&mlp_tessera, cx, NULL, &s, &e)) fail(e.message);
 *   if (tessera_run(s, 0, inputs, 1, outputs, 1, NULL, &e)) fail(e.message);
 *   tessera_session_destroy(s); tessera_context_destroy(cx);
 *
 * Every function that can fail returns TESSERA_OK or an error code and fills the caller's TesseraError (which may be NULL). Nothing
 * aborts, prints, or keeps a global. All functions may be called from any thread; one session runs one call at a time (a second is
 * refused with TESSERA_BUSY), different sessions run at once. The artifact that made a context must stay loaded while it lives.
 *
 * In a child of fork() that goes on without exec, a context of the parent has no threads but its caller's: its sessions run there alone,
 * with the same results, and sessions and context are destroyed there as in the parent, whose own are not touched. A session that was
 * inside a call of another thread when the process forked stays TESSERA_BUSY in the child and can only be destroyed. A child that wants
 * threads makes a context of its own. A context on a GPU is of no use in a child: every call gives TESSERA_LOST without calling the
 * driver, destroying works. A child of vfork() must call nothing here. */
#ifndef TESSERA_TESSERA_H
#define TESSERA_TESSERA_H
#include <stddef.h>
#include <stdint.h>
#include "dlpack.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TESSERA_ABI 2 /* 0.x: a table with another number is refused */

/* ---- errors ---------------------------------------------------------------------------------------------------------------- */

enum {
	TESSERA_OK = 0,
	TESSERA_INVALID = 1,     /* a wrong argument: message names it */
	TESSERA_BUSY = 2,        /* the session is running already */
	TESSERA_NO_MEMORY = 3,   /* the allocator said no, or the session's fixed size is too small */
	TESSERA_RANGE = 4,       /* a size is out of its declared range, or beyond 2^63 */
	TESSERA_UNSUPPORTED = 5, /* this machine or this build can't */
	TESSERA_FILE = 6,        /* a weight file is missing, wrong or unreadable */
	TESSERA_VERSION = 7,     /* artifact and context don't fit together */
	TESSERA_LOST = 8         /* the device failed, or something on it did, or a fork cut it off: no session of this context can go on; others, and the CPU, do */
};

typedef struct TesseraError {
	int32_t code;
	char message[508]; /* always terminated */
} TesseraError;

/* ---- handles and options ---------------------------------------------------------------------------------------------------- */

typedef struct TesseraModel TesseraModel;
typedef struct TesseraContext TesseraContext;
typedef struct TesseraSession TesseraSession;

/* Memory hooks. alloc returns memory aligned to `align` (a power of two, at most 4096) or NULL. Called while contexts and sessions are
 * made or prepared, never inside tessera_run with shapes that were prepared. */
typedef struct TesseraAllocator {
	void *user;
	void *(*alloc)(void *user, size_t bytes, size_t align);
	void (*release)(void *user, void *memory, size_t bytes);
} TesseraAllocator;

enum { TESSERA_CPU_AUTO = 0, TESSERA_CPU_V2 = 1, TESSERA_CPU_V3 = 2, TESSERA_CPU_V4 = 3 };

/* Where a context computes: on one device, and every tensor of its sessions lies there.
 * AUTO: the first GPU for which the artifact that makes the context holds code, else the CPU (tessera_device tells which). */
enum { TESSERA_DEVICE_AUTO = 0, TESSERA_DEVICE_CPU = kDLCPU, TESSERA_DEVICE_CUDA = kDLCUDA };

/* Zero means the default everywhere. */
typedef struct TesseraContextOptions {
	uint32_t size;              /* sizeof(TesseraContextOptions), or 0 */
	int32_t threads;            /* threads that compute, the caller included; 0: as many as the process may use (8 at most on a GPU, to unpack weights) */
	TesseraAllocator allocator; /* alloc NULL: anonymous mmap */
	int32_t cpu;                /* TESSERA_CPU_*: code for this x86-64 level, refused where the machine is older */
	int32_t device;             /* TESSERA_DEVICE_* */
	const char *weights;        /* folder (or, for a model with one weight file, the file) of external weights; NULL: the artifact's folder */
	int32_t device_id;          /* with TESSERA_DEVICE_CUDA: which GPU, as the driver counts them */
	uint32_t reserved;
} TesseraContextOptions;

/* The device of a context. On a GPU the context uses the CUDA context that is current on the calling thread, if that one is of this
 * GPU, and else retains the GPU's primary one; where a thread has a CUDA context when it calls tessera_run, it must be this one. */
typedef struct TesseraDeviceInfo {
	DLDevice device;            /* kDLCPU or kDLCUDA, as DLTensors say it */
	int32_t sm;                 /* compute capability: 90 for 9.0; 0 on the CPU */
	int32_t multiprocessors;
	uint64_t shared_bytes;      /* a CTA may use */
	void *native;               /* CUcontext; NULL on the CPU */
	char name[64];              /* "NVIDIA H200" */
	char note[128];             /* why TESSERA_DEVICE_AUTO took the CPU although the artifact has code for GPUs, or other code than the best; else empty */
} TesseraDeviceInfo;

enum { TESSERA_SESSION_STAGING = 1 }; /* reserve room to copy every input and output, so that strided tensors never allocate */

typedef struct TesseraSessionOptions {
	uint32_t size;              /* sizeof(TesseraSessionOptions), or 0 */
	uint32_t flags;
	const int64_t *max_dims;    /* largest size of each dim of the model, in its order; the session then never allocates again */
	int32_t n_max_dims;
	uint32_t reserved;
	const char *weights;        /* as in the context's options; wins over it */
} TesseraSessionOptions;

/* ---- what a model looks like ------------------------------------------------------------------------------------------------ */

typedef struct TesseraTensorInfo {
	const char *name;
	DLDataType dtype;
	int32_t rank;
	int32_t reserved;
	int64_t dims[16];           /* the size where it is fixed, else -1 - (number of the dim), or INT64_MIN for an expression */
} TesseraTensorInfo;

typedef struct TesseraDimInfo {
	const char *name;
	int64_t min, max, multiple_of; /* max 0: no limit */
} TesseraDimInfo;

typedef struct TesseraStats {   /* of one session */
	uint64_t workspace_bytes;   /* held for workspace, staging and scratch */
	uint64_t plan_bytes;        /* held for prepared launches */
	uint64_t external_bytes;    /* packed copies of external weights, shared by the context's sessions */
	uint64_t runs, prepares;
	uint64_t copied_tensors, copied_bytes; /* arguments that had to be copied: strides, alignment, aliasing */
	uint64_t launches;          /* of the prepared graph */
	int32_t threads, cpu;       /* threads of the context; TESSERA_CPU_V* in use */
	/* on a GPU; else 0. workspace_bytes is then memory of the GPU */
	int32_t sm, plan_sm;        /* of the GPU; the architecture of the code in use (sm_90a: 90) */
	uint32_t modules, jit;      /* modules of code; of them, those that the driver compiled from PTX */
	uint64_t upload_bytes;      /* weights on the GPU, shared by the context's sessions */
	uint64_t graph_runs, plain_runs; /* runs that launched the recorded graph; runs that launched kernel by kernel */
	uint64_t maps_encoded;      /* tensor maps made by prepare and run */
	uint64_t nodes_updated;     /* kernels of the recorded graph that got new pointers */
	uint64_t pointers_checked;  /* addresses not seen before */
} TesseraStats;

/* One launch of a profiled run. Strings belong to the artifact. */
typedef struct TesseraLaunchTime {
	uint32_t size;              /* sizeof(TesseraLaunchTime) of the artifact's tessera.h: fields are added at the end alone */
	uint32_t launch, launches;  /* number of this one, from 0; how many there are */
	uint32_t reserved;
	const char *step;           /* the value that it gives, or its kernel */
	const char *values;         /* the names of all values of the graph that it computes or helps to, parted by spaces */
	const char *kernel, *variant;
	int64_t cells;
	int64_t flops, bytes_read, bytes_written; /* of these values, tensors read once; -1: not known, or counted at another launch */
	int64_t start_ns, duration_ns;            /* start: of CLOCK_MONOTONIC */
} TesseraLaunchTime;

/* Where the artifact's custom call for XLA gets its contexts: one for each device, which lives as long as the process. May be called on any
 * thread, not by two at once. NULL with an error. */
typedef TesseraContext *TesseraContextSource(void *user, DLDevice device, TesseraError *e);

/* ---- the function table of an artifact --------------------------------------------------------------------------------------- */

typedef struct TesseraApi {
	uint32_t abi, size;
	int32_t (*context_create)(const TesseraModel *, const TesseraContextOptions *, TesseraContext **, TesseraError *);
	int32_t (*session_create)(const TesseraModel *, TesseraContext *, const TesseraSessionOptions *, TesseraSession **, TesseraError *);
	void (*session_destroy)(TesseraSession *);
	int32_t (*prepare)(TesseraSession *, int32_t graph, const int64_t *dims, int32_t n_dims, TesseraError *);
	int32_t (*run)(TesseraSession *, int32_t graph, const DLTensor *const *in, int32_t n_in, const DLTensor *const *out, int32_t n_out,
	               void *stream, TesseraError *);
	int32_t (*output_shape)(TesseraSession *, int32_t graph, const DLTensor *const *in, int32_t n_in, int32_t output, int64_t *shape,
	                        int32_t *rank, TesseraError *);
	int32_t (*workspace)(const TesseraModel *, int32_t graph, const int64_t *dims, int32_t n_dims, uint64_t *bytes, TesseraError *);
	int32_t (*explain)(TesseraSession *, void (*line)(void *user, const char *text), void *user, TesseraError *);
	int32_t (*stats)(TesseraSession *, TesseraStats *);
	int32_t (*graph_count)(const TesseraModel *);
	const char *(*graph_name)(const TesseraModel *, int32_t graph);
	int32_t (*graph_inputs)(const TesseraModel *, int32_t graph);
	int32_t (*graph_outputs)(const TesseraModel *, int32_t graph);
	int32_t (*tensor_info)(const TesseraModel *, int32_t graph, int32_t tensor, TesseraTensorInfo *);
	int32_t (*dim_count)(const TesseraModel *);
	int32_t (*dim_info)(const TesseraModel *, int32_t dim, TesseraDimInfo *);
	/* not in the first artifacts of this ABI: `size` tells */
	int32_t (*profile)(TesseraSession *, int32_t graph, const DLTensor *const *in, int32_t n_in, const DLTensor *const *out, int32_t n_out,
	                   void *stream, void (*each)(void *user, const TesseraLaunchTime *), void *user, TesseraError *);
	void (*xla_contexts)(TesseraContextSource *source, void *user);
} TesseraApi;

/* How a model runs on one kind of device: its architecture ("sm_90a") and the plan for it. */
typedef struct TesseraDevicePlan {
	const char *target;
	const void *plan;
	uint64_t plan_bytes;
} TesseraDevicePlan;

/* What an artifact exports. Only abi, size, name and api are for callers. */
struct TesseraModel {
	uint32_t abi, size;
	const char *name;
	const TesseraApi *api;
	const void *plan;
	uint64_t plan_bytes;
	const void *kernels;
	const uint64_t *weights;    /* distance in bytes from this word to the weights, 0: none inside */
	const uint64_t *weight_bytes;
	const TesseraDevicePlan *device_plans; /* for GPUs, in the order of the architectures asked for; `plan` is the CPU's */
	uint32_t n_device_plans, reserved;
	const uint64_t *device_code; /* distance in bytes from this word to the GPUs' code, 0: none inside */
	const uint64_t *device_code_bytes;
	const void *device_ops;      /* the part of the runtime that drives GPUs; NULL without code for them */
};

/* The head of every context, fixed for all versions of this ABI: artifacts use one another's contexts through it. */
typedef struct TesseraContextApi {
	uint32_t abi, size;
	void (*destroy)(TesseraContext *);
	void *(*alloc)(TesseraContext *, size_t bytes, size_t align);
	void (*release)(TesseraContext *, void *memory, size_t bytes);
	int32_t (*threads)(TesseraContext *);
	int32_t (*cpu)(TesseraContext *);
	const char *(*weights)(TesseraContext *);
	/* body(arg, worker) on up to `want` threads, worker 0 the caller; on the caller alone when the pool is taken. Returns when all left. */
	void (*parallel)(TesseraContext *, int32_t want, void (*body)(void *arg, int32_t worker), void *arg);
	/* one value per key for the life of the context: make runs once, drop at the end; a failed make (NULL) is not kept */
	void *(*shared)(TesseraContext *, const void *key, void *(*make)(TesseraContext *, void *arg), void (*drop)(TesseraContext *, void *value), void *arg);
	void (*device)(TesseraContext *, TesseraDeviceInfo *);
	int32_t (*device_alloc)(TesseraContext *, uint64_t bytes, void **out, TesseraError *);
	int32_t (*device_release)(TesseraContext *, void *memory, uint64_t bytes, TesseraError *);
	int32_t (*copy)(TesseraContext *, void *to, const void *from, uint64_t bytes, TesseraError *);
	int32_t (*wait)(TesseraContext *, void *stream, TesseraError *);
} TesseraContextApi;
struct TesseraContext { const TesseraContextApi *api; };

/* ---- the calls -------------------------------------------------------------------------------------------------------------- */

static inline int32_t tessera_version_error(TesseraError *e)
{
	static const char text[] = "the artifact was built for another version of tessera.h";
	size_t i;
	if (e) {
		e->code = TESSERA_VERSION;
		for (i = 0; i < sizeof text; i++)
			e->message[i] = text[i];
	}
	return TESSERA_VERSION;
}

/* A context, made with the code of artifact m and usable with any other that has code for its device. options may be NULL. */
static inline int32_t tessera_context_create(const TesseraModel *m, const TesseraContextOptions *options, TesseraContext **out, TesseraError *e)
{
	return m->abi != TESSERA_ABI ? tessera_version_error(e) : m->api->context_create(m, options, out, e);
}
/* After all its sessions are gone. NULL is fine. */
static inline void tessera_context_destroy(TesseraContext *cx)
{
	if (cx)
		cx->api->destroy(cx);
}

/* Where the context computes. */
static inline void tessera_device(TesseraContext *cx, TesseraDeviceInfo *out) { cx->api->device(cx, out); }
/* Memory on the context's device, for callers who have no other way to it: aligned to 256, not initialised. Tensors may lie in any
 * memory of the device, whoever made it. copy goes between any two of host and device memory and returns when it is done; wait returns when
 * the work that `stream` holds is. On the CPU these are the allocator, a plain copy, and nothing. */
static inline int32_t tessera_device_alloc(TesseraContext *cx, uint64_t bytes, void **out, TesseraError *e) { return cx->api->device_alloc(cx, bytes, out, e); }
static inline int32_t tessera_device_release(TesseraContext *cx, void *memory, uint64_t bytes, TesseraError *e)
{
	return cx->api->device_release(cx, memory, bytes, e);
}
static inline int32_t tessera_copy(TesseraContext *cx, void *to, const void *from, uint64_t bytes, TesseraError *e)
{
	return cx->api->copy(cx, to, from, bytes, e);
}
static inline int32_t tessera_wait(TesseraContext *cx, void *stream, TesseraError *e) { return cx->api->wait(cx, stream, e); }

static inline int32_t tessera_session_create(const TesseraModel *m, TesseraContext *cx, const TesseraSessionOptions *options,
                                             TesseraSession **out, TesseraError *e)
{
	return m->abi != TESSERA_ABI || cx->api->abi != TESSERA_ABI ? tessera_version_error(e) : m->api->session_create(m, cx, options, out, e);
}

/* Every session starts with this, so that the wrappers find its artifact. */
struct TesseraSession {
	const TesseraApi *api;
	DLDevice device;            /* where its tensors lie */
	void *stream;               /* what the typed functions of a model's own header pass to tessera_run; the caller's to set, NULL at first */
};

static inline void tessera_session_destroy(TesseraSession *s)
{
	if (s)
		s->api->session_destroy(s);
}
/* Choose variants and lay out memory for these sizes: one per dim of the model, in its order; -1 for dims the graph doesn't use. */
static inline int32_t tessera_prepare(TesseraSession *s, int32_t graph, const int64_t *dims, int32_t n_dims, TesseraError *e)
{
	return s->api->prepare(s, graph, dims, n_dims, e);
}
/* Compute. Shapes other than the prepared ones are prepared first. With a shape seen just before: no allocation, no locks, no system
 * calls but waking and waiting. On an error before the first kernel nothing was written. stream must be NULL on the CPU.
 * On a GPU stream is a CUstream of the context's CUDA context (NULL: its default stream); the work is put on it in order, and the call
 * returns without waiting. The session's workspace belongs to one run at a time: runs of one session go to one stream, or are ordered by
 * the caller. While the stream is being captured, the kernels become part of the caller's graph, which is valid as long as the session
 * lives and isn't prepared or run with other sizes. */
static inline int32_t tessera_run(TesseraSession *s, int32_t graph, const DLTensor *const *in, int32_t n_in, const DLTensor *const *out,
                                  int32_t n_out, void *stream, TesseraError *e)
{
	return s->api->run(s, graph, in, n_in, out, n_out, stream, e);
}
/* tessera_run, and how long each launch took: each() is called for them in order once the results are there, and must not call the session.
 * On a GPU the call waits for the stream before and after, launches kernel by kernel with events around them, and refuses a stream that is
 * being captured. An artifact made before there was this call gives TESSERA_VERSION. */
static inline int32_t tessera_profile(TesseraSession *s, int32_t graph, const DLTensor *const *in, int32_t n_in, const DLTensor *const *out,
                                      int32_t n_out, void *stream, void (*each)(void *user, const TesseraLaunchTime *), void *user, TesseraError *e)
{
	if (s->api->size < offsetof(TesseraApi, profile) + sizeof s->api->profile)
		return tessera_version_error(e);
	return s->api->profile(s, graph, in, n_in, out, n_out, stream, each, user, e);
}
/* The handler NAME_xla that an artifact exports beside its descriptor makes a context of its own for each device that XLA calls it on; with
 * this, before its first call, it uses the caller's. An artifact made before there was such a handler gives TESSERA_VERSION. */
static inline int32_t tessera_xla_contexts(const TesseraModel *m, TesseraContextSource *source, void *user, TesseraError *e)
{
	if (m->abi != TESSERA_ABI || m->api->size < offsetof(TesseraApi, xla_contexts) + sizeof m->api->xla_contexts)
		return tessera_version_error(e);
	m->api->xla_contexts(source, user);
	return TESSERA_OK;
}
/* The shape that output number `output` will have for these inputs (their data is not looked at). shape holds 16. */
static inline int32_t tessera_output_shape(TesseraSession *s, int32_t graph, const DLTensor *const *in, int32_t n_in, int32_t output,
                                           int64_t *shape, int32_t *rank, TesseraError *e)
{
	return s->api->output_shape(s, graph, in, n_in, output, shape, rank, e);
}
/* Peak bytes of workspace for these sizes: the model's exported formula, evaluated. */
static inline int32_t tessera_workspace(const TesseraModel *m, int32_t graph, const int64_t *dims, int32_t n_dims, uint64_t *bytes, TesseraError *e)
{
	return m->api->workspace(m, graph, dims, n_dims, bytes, e);
}
/* One line per launch of what was prepared last: step, chosen variant, cells. */
static inline int32_t tessera_explain(TesseraSession *s, void (*line)(void *user, const char *text), void *user, TesseraError *e)
{
	return s->api->explain(s, line, user, e);
}
static inline int32_t tessera_stats(TesseraSession *s, TesseraStats *out) { return s->api->stats(s, out); }

static inline int32_t tessera_graph_count(const TesseraModel *m) { return m->api->graph_count(m); }
static inline const char *tessera_graph_name(const TesseraModel *m, int32_t graph) { return m->api->graph_name(m, graph); }
static inline int32_t tessera_graph_inputs(const TesseraModel *m, int32_t graph) { return m->api->graph_inputs(m, graph); }
static inline int32_t tessera_graph_outputs(const TesseraModel *m, int32_t graph) { return m->api->graph_outputs(m, graph); }
/* tensor counts the inputs, then the outputs */
static inline int32_t tessera_tensor_info(const TesseraModel *m, int32_t graph, int32_t tensor, TesseraTensorInfo *out)
{
	return m->api->tensor_info(m, graph, tensor, out);
}
static inline int32_t tessera_dim_count(const TesseraModel *m) { return m->api->dim_count(m); }
static inline int32_t tessera_dim_info(const TesseraModel *m, int32_t dim, TesseraDimInfo *out) { return m->api->dim_info(m, dim, out); }

/* the number of the graph called name, or -1 */
static inline int32_t tessera_find_graph(const TesseraModel *m, const char *name)
{
	int32_t i, n = tessera_graph_count(m);
	for (i = 0; i < n; i++) {
		const char *a = tessera_graph_name(m, i), *b = name;
		while (*a && *a == *b)
			a++, b++;
		if (*a == *b)
			return i;
	}
	return -1;
}

/* A compact CPU tensor over memory and a shape of the caller's. */
static inline DLTensor tessera_tensor(void *data, DLDataType dtype, int32_t ndim, int64_t *shape)
{
	DLTensor t;
	t.data = data;
	t.device.device_type = kDLCPU;
	t.device.device_id = 0;
	t.ndim = ndim;
	t.dtype = dtype;
	t.shape = shape;
	t.strides = NULL;
	t.byte_offset = 0;
	return t;
}

#ifdef __cplusplus
}
#endif
#endif
