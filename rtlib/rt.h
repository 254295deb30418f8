/* What the parts of the runtime share. The runtime is freestanding C: it calls the kernel, the caller's hooks and nothing else, keeps
 * all state in contexts and sessions (but for xla.c, whose caller has neither), and never prints or aborts. Functions that can fail
 * return a TESSERA_* code and fill the caller's TesseraError. */
#ifndef TESSERA_RTLIB_RT_H
#define TESSERA_RTLIB_RT_H
#include <stdarg.h>
#include <stdbool.h>
#include "rtlib/plan.h"
#include "tessera/tessera.h"

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);

/* ---- text (text.c): %s string, %d int64_t, %u uint64_t, %c int, %e a reason of file.h (int64_t) ------------------------------- */
/* Always terminated; what doesn't fit is cut. clip: words that nobody would read to their end, such as a name of a hundred thousand
 * letters, are cut too, as messages do. */
typedef struct { char *p; size_t n, cap; bool clip; } TsText;
void ts_text_add(TsText *t, const char *fmt, ...);
void ts_text_vadd(TsText *t, const char *fmt, va_list ap);
int32_t ts_fail(TesseraError *e, int32_t code, const char *fmt, ...); /* returns code */
bool ts_str_eq(const char *a, const char *b);
const char *ts_reason(int64_t error); /* of file.h, in words; NULL for one that has none here */
typedef struct { const char *wanted, *best; size_t least; } TsNear; /* best: the nearest name tried so far, or NULL */
void ts_near_try(TsNear *n, const char *name);

/* ---- element types (tensor.c) ------------------------------------------------------------------------------------------------- */
int ts_plan_dtype_bits(uint32_t dtype);
const char *ts_plan_dtype_name(uint32_t dtype);
DLDataType ts_plan_dtype_dl(uint32_t dtype);
bool ts_plan_bytes(uint32_t dtype, int64_t n, int64_t *bytes); /* of n elements; false: beyond 2^63 */

/* ---- expressions (expr.c) ------------------------------------------------------------------------------------------------------ */
typedef struct {
	const TsPlanExpr *ex;
	uint32_t n, set;          /* set: mask of loop variables that have a value */
	const int64_t *dims;
	const int64_t *num;       /* of a launch, when ex are a kernel's formulas: ts_eval_dims evaluates them */
	int64_t loop[TS_MAX_LOOP];
	int64_t *value;           /* [n] */
	uint8_t *ok;              /* [n]: 0 where the value is an error */
	uint8_t *deps;            /* [n]: mask of the loop variables it depends on */
} TsEval;
void ts_eval_deps(TsEval *v);                 /* once per plan */
void ts_eval_dims(TsEval *v);                 /* after v->dims changed */
void ts_eval_loop(TsEval *v, uint32_t var);   /* after v->loop[var] changed */

/* ---- threads (thread.c) --------------------------------------------------------------------------------------------------------- */
typedef struct TsThread { void *(*main)(void *); void *arg; uintptr_t id; void *stack; _Atomic uint32_t alive; } TsThread;
typedef struct TsThreadOps { bool (*start)(TsThread *t); void (*join)(TsThread *t); } TsThreadOps;
extern const TsThreadOps ts_threads_libc;     /* pthread_create of the host process */
extern const TsThreadOps ts_threads_own;      /* clone(2): programs without libc */
int32_t ts_cpu_count(void);                   /* that this process may run on */
int32_t ts_cpu_level(void);                   /* TESSERA_CPU_V2.. of this machine, 0 below v2 */

/* a lock that sleeps; zero is unlocked */
typedef struct { _Atomic uint32_t state; } TsLock;
void ts_lock(TsLock *l);
void ts_unlock(TsLock *l);

int32_t ts_context_create(const TesseraModel *m, const TesseraContextOptions *o, const TsThreadOps *ops, TesseraContext **out, TesseraError *e);

/* ---- weights (weights.c) ---------------------------------------------------------------------------------------------------------- */
typedef struct TsExternal {
	uint8_t *memory;              /* packed weights */
	uint64_t bytes, self_bytes;
	void **at;                    /* [weight], NULL where embedded */
	uint64_t n_maps;
	struct { void *p; uint64_t bytes; } maps[];
} TsExternal;
/* One weight file of a plan, found, mapped for reading and accepted by its hash; empty after an error. */
typedef struct { const uint8_t *p; uint64_t bytes; } TsWeightMap;
int32_t ts_weights_map(const TesseraModel *m, const TsPlanHeader *plan, const char *path, uint32_t file, TsWeightMap *out, TesseraError *e);
void ts_weights_unmap(TsWeightMap *map);
int32_t ts_weights_open(const TesseraModel *m, TesseraContext *cx, const char *path, const TsExternal **out, TesseraError *e);

/* ---- tensors (tensor.c) ------------------------------------------------------------------------------------------------------------ */
typedef struct {
	uint8_t *data;                /* element 0, NULL when there are no elements */
	uint8_t *lo, *hi;             /* the bytes it touches: [lo, hi) */
	int64_t count, bytes;         /* elements; compact bytes */
	uint32_t rank;
	bool compact, aligned, overlaps; /* overlaps: two indices may share an element */
	int64_t shape[TS_MAX_RANK], strides[TS_MAX_RANK];
	int32_t elem;                 /* bytes of an element, 0 for packed types */
} TsArg;
/* Reads and checks everything about tensor t, due on device `where`, as argument `spec` but its sizes' meaning. kind is "input" or "output". */
int32_t ts_arg_read(const TsPlanHeader *plan, const TsPlanTensor *spec, const char *kind, DLDevice where, const DLTensor *t, bool with_data, TsArg *out,
                    TesseraError *e);
void ts_arg_gather(void *compact, const TsArg *a);
void ts_arg_scatter(const TsArg *a, const void *compact);

/* ---- sessions (session.c prepares, run.c executes) -------------------------------------------------------------------------------- */
typedef struct {
	TsKernelFn fn;
	void *const *ptr;
	const int64_t *num;
	int64_t cells, chunk;
	uint32_t step, choice;        /* in the plan, for explain */
	uint8_t pad0[16];
	_Atomic int64_t next, done;   /* cells handed out, cells finished: own cache line */
	uint8_t pad1[48];
} TsLaunch;
_Static_assert(sizeof(TsLaunch) == 128, "a launch is two cache lines");
/* of a profiled run: when each launch began and ended, written by whoever runs it */
typedef struct { int64_t begin, end; } TsLaunchTimes;
typedef struct { uint32_t slot; uint8_t kind; uint8_t pad[3]; uint32_t tensor; int64_t offset; } TsFixup;

/* what a prepared graph needs: entries of the launch tables, bytes of work memory (scratch: of one worker) */
typedef struct { uint64_t launches, ptrs, nums, fixups, maps, workspace, scratch, staging; int64_t most_cells; } TsNeed;

typedef struct TsRtSession {
	TesseraSession head;
	const TesseraModel *model;
	const TsPlanHeader *plan;
	TesseraContext *cx;
	const TsExternal *external;
	const struct TsDeviceOps *ops;/* NULL on the CPU */
	void *device;                 /* what ops->attach made */
	uint8_t *device_weights;
	_Atomic uint32_t busy;
	bool fixed, staging;          /* memory never grows; there is room to copy arguments */
	int32_t clone, threads;
	uint64_t self_bytes;
	TsEval eval;
	int64_t *dims;                /* [plan dims], -1 where not bound */
	int32_t entry;                /* prepared graph, -1: none */
	bool ready;
	TsNeed need;                  /* of the prepared graph */
	TsArg *args;                  /* [most tensors of an entry] */
	int64_t *ready_shape;         /* [most tensors][TS_MAX_RANK] the prepared sizes */
	uint8_t **base, *staged;      /* per tensor: address kernels get; needs a copy in this run */
	int64_t *stage_at;            /* per tensor: its place in staging */
	TsLaunch *launch;
	void **ptr;                   /* arguments of all launches, in a row */
	int64_t *num;
	TsFixup *fixup;
	void *plan_memory, *work_memory;
	uint64_t plan_bytes, work_bytes;
	uint8_t *workspace, *scratch, *staging_at;
	uint8_t **state;              /* [states] */
	uint64_t *state_bytes;
	/* the running graph */
	TsLaunchTimes *times;         /* [launches], NULL when nobody asked */
	bool profiled;                /* somebody asks: `times` is made when the launches are known */
	_Atomic uint32_t epoch, waiters;
	TesseraStats stats;
} TsRtSession;

static inline TsRtSession *ts_session(TesseraSession *s) { return (TsRtSession *)(void *)s; }
int32_t ts_session_create(const TesseraModel *m, TesseraContext *cx, const TesseraSessionOptions *o, TesseraSession **out, TesseraError *e);
void ts_session_destroy(TesseraSession *s);
int32_t ts_session_prepare(TesseraSession *s, int32_t graph, const int64_t *dims, int32_t n_dims, TesseraError *e);
int32_t ts_session_run(TesseraSession *s, int32_t graph, const DLTensor *const *in, int32_t n_in, const DLTensor *const *out, int32_t n_out,
                       void *stream, TesseraError *e);
int32_t ts_session_profile(TesseraSession *s, int32_t graph, const DLTensor *const *in, int32_t n_in, const DLTensor *const *out, int32_t n_out,
                           void *stream, void (*each)(void *user, const TesseraLaunchTime *), void *user, TesseraError *e);
int32_t ts_session_output_shape(TesseraSession *s, int32_t graph, const DLTensor *const *in, int32_t n_in, int32_t output, int64_t *shape,
                                int32_t *rank, TesseraError *e);

/* Room for the times of the prepared launches. */
int32_t ts_times_new(TsRtSession *s, TesseraError *e);

/* for run.c: the sizes in s->args give the dims, are checked, and everything is resolved for them */
int32_t ts_bind(TsRtSession *s, const TsPlanEntry *en, uint32_t n_known, TesseraError *e);
int32_t ts_resolve(TsRtSession *s, int32_t graph, bool staging, bool record, TesseraError *e); /* record: for repeated runs */
bool ts_shapes_ready(const TsRtSession *s, int32_t graph, uint32_t n);
int32_t ts_plan_copies(TsRtSession *s, const TsPlanEntry *en, bool *any, TesseraError *e); /* which arguments have to be copied; sets s->staged */
int32_t ts_no_staging(TsRtSession *s, const TsPlanEntry *en, TesseraError *e);
const TsPlanEntry *ts_entry(const TsPlanHeader *plan, int32_t graph, TesseraError *e);
int32_t ts_check_dims(const TsPlanHeader *plan, const int64_t *dims, int32_t n, TesseraError *e); /* -1 is "not given" */
void ts_execute(TsRtSession *s);
bool ts_enter(TsRtSession *s, TesseraError *e); /* false: another call is inside */
void ts_leave(TsRtSession *s);

/* ---- the custom call for XLA (xla.c) ------------------------------------------------------------------------------------------------ */
void ts_xla_contexts(TesseraContextSource *source, void *user);

extern const TesseraApi ts_api;
#endif
