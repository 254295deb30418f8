/* What the parts of the CUDA half share: the device of a context (cuda_context.c), an opened model on it (cuda_model.c), its weights (cuda_weights.c)
 * and long copies on their way (cuda_stage.c), a session's launches and graph (cuda_prepare.c), runs (cuda_run.c), profiled ones (cuda_time.c) and
 * strided copies (cuda_copy.c). Every function that calls the driver makes the CUDA context current around it, and leaves the thread with the one it had. */
#ifndef TESSERA_RTLIB_CUDA_H
#define TESSERA_RTLIB_CUDA_H
#include "rtlib/cuda_driver.h"
#include "rtlib/device.h"

/* Bytes on their way between host and device, a piece at a time over two slots: while one is copied by the device, the context's threads put the
 * next together, or take the last away. The slots are page-locked where there is much to copy, which is quicker than what the driver does with
 * other memory. */
enum { TS_STAGE_PIECE = 4 << 20, TS_STAGE_LOCKED = 4 * TS_STAGE_PIECE /* bytes in all: for fewer the driver's own way is as quick as locking pages */ };
typedef struct {
	const TsCuda *cu;
	TesseraContext *cx;
	uint8_t *slot[2];
	uint64_t piece;               /* bytes of a slot: the most that is sent at a time */
	TsCuHandle sent[2];
	uint32_t turn;
	bool used[2], locked;
} TsCudaStage;
int32_t ts_cuda_stage_open(TsCudaStage *g, const TsCuda *cu, TesseraContext *cx, uint64_t total, TesseraError *e);
int32_t ts_cuda_stage_room(TsCudaStage *g, uint8_t **slot, TesseraError *e); /* waits until the slot's last piece has left */
int32_t ts_cuda_stage_send(TsCudaStage *g, TsCuPtr to, uint64_t bytes, TesseraError *e); /* the first bytes of the slot that `room` gave */
int32_t ts_cuda_stage_put(TsCudaStage *g, TsCuPtr to, const uint8_t *from, uint64_t bytes, TesseraError *e); /* any number of bytes; they may still be on their way */
int32_t ts_cuda_stage_get(TsCudaStage *g, uint8_t *to, TsCuPtr from, uint64_t bytes, TesseraError *e); /* the other way; they are there when it returns */
int32_t ts_cuda_stage_wait(TsCudaStage *g, TesseraError *e);
void ts_cuda_stage_close(TsCudaStage *g); /* after a wait; also where open failed */

/* of a context */
typedef struct {
	TsCuda cu;
	TsCuHandle context;
	int32_t device;               /* as the driver numbers it */
	bool retained;                /* it is the primary context, and we hold it */
	TesseraContext *cx;
	TsCudaStage stage;            /* for long copies, from the first on */
	_Atomic uint32_t staging;     /* it is in use */
} TsCudaDevice;
int32_t ts_cuda_device_open(const TesseraModel *m, const TesseraContextOptions *o, TesseraContext *cx, void **out, TesseraDeviceInfo *info, TesseraError *e);
void ts_cuda_device_close(TesseraContext *cx, void *device);
int32_t ts_cuda_alloc(void *device, uint64_t bytes, void **out, TesseraError *e);
int32_t ts_cuda_release(void *device, void *memory, TesseraError *e);
int32_t ts_cuda_copy(void *device, void *to, const void *from, uint64_t bytes, TesseraError *e);
int32_t ts_cuda_wait(void *device, void *stream, TesseraError *e);

/* How well a plan fits a GPU: 0 not at all, 1 by PTX that the driver compiles, 2 by a cubin of an earlier GPU of the same major
 * version, 3 by a cubin of its own. */
int32_t ts_cuda_fit(const TsPlanHeader *p, int32_t sm, uint64_t shared_bytes);
/* The best plan of a model for a GPU of those worse than *below, which is then how good this one is; *out NULL when none fits. */
int32_t ts_cuda_choose_plan(const TesseraModel *m, const TesseraDeviceInfo *info, int32_t *below, const TsPlanHeader **out, TesseraError *e);
int32_t ts_cuda_plan(const TesseraModel *m, TesseraContext *cx, const TesseraDeviceInfo *info, const TsPlanHeader **out, TesseraError *e);
int32_t ts_cuda_plan_sm(const TsPlanHeader *p); /* 90 for sm_90a */

/* Of a context and a model, shared by the sessions: the best plan whose code the driver takes, that code, loaded with the context (of another
 * artifact's model with its first session), and its weights, uploaded with the first session. */
typedef struct {
	TsCuda cu;                    /* of this artifact: the context may belong to another */
	TesseraDeviceInfo info;       /* note: which code was refused, and what is run instead */
	const TsPlanHeader *plan;
	uint64_t self_bytes;
	TsCuPtr weights;
	uint32_t n_modules, jit;
	TsCuHandle *module, *function; /* [plan modules], [plan kernels] */
} TsCudaModel;
/* info->note: the model's; where it fails and there is one, the driver takes none of the plans' code, and the note says why. */
int32_t ts_cuda_model_open(const TesseraModel *m, TesseraContext *cx, TesseraDeviceInfo *info, TsCudaModel **out, TesseraError *e);
int32_t ts_cuda_weights_open(TsCudaModel *c, const TesseraModel *m, TesseraContext *cx, const char *path, TesseraError *e);
/* Fills the plan's device weights; the device has them when it returns. */
int32_t ts_cuda_upload(const TsCudaModel *c, const TesseraModel *m, TesseraContext *cx, const char *path, TesseraError *e);

/* of a session; one launch on the device */
typedef struct {
	TsCuNode node;                /* function, grid, block, shared memory, parameters */
	TsCuHandle graph_node;
	uint32_t slot, n_slots;       /* its pointers in TsRtSession.ptr */
	uint32_t map, n_maps;
	bool moves;                   /* an input or an output is among them */
} TsCudaLaunch;
typedef struct { uint32_t slot, dtype, rank, swizzle, box[TS_MAP_RANK]; uint64_t dims[TS_MAP_RANK], strides[TS_MAP_RANK]; } TsCudaMap; /* innermost first */

/* what holds a stream while a profiled run is enqueued (cuda_time.c) */
typedef struct { _Atomic uint32_t open, passed; int64_t opened; } TsCudaGate;

typedef struct {
	TsCudaModel *model;
	uint64_t self_bytes;
	/* in the session's launch table */
	TsCuMap *map;
	TsCudaMap *map_of;
	TsCudaLaunch *launch;
	TsCuHandle graph, exec;
	bool placed;                  /* pointers and maps are those of base[] */
	bool graph_current;           /* and the graph's nodes hold them */
	uint64_t repeats;             /* runs since prepared, while there is no graph */
	uint8_t **base;               /* [tensors of an entry] what the kernels point to */
	uint8_t **checked;            /* [tensors of an entry] addresses known to be the device's */
	uint32_t n_base;
	int32_t entry;                /* that checked[] is about */
	TsCudaGate gate;
	TesseraStats count;
} TsCudaSession;

int32_t ts_cuda_attach(TsRtSession *s, const char *weights, TesseraError *e);
void ts_cuda_detach(TsRtSession *s);
int32_t ts_cuda_resize(TsRtSession *s, void **memory, uint64_t have, uint64_t want, const char *what, TesseraError *e);
void ts_cuda_drop(TsRtSession *s, void *memory);
int32_t ts_cuda_fill(TsRtSession *s, void *to, const void *from, uint64_t bytes, TesseraError *e);
uint64_t ts_cuda_plan_bytes(const TsNeed *n);
int32_t ts_cuda_prepared(TsRtSession *s, void *memory, bool record, TesseraError *e);
int32_t ts_cuda_record(TsRtSession *s, TesseraError *e);                 /* the graph of the launches as they are */
void ts_cuda_forget_graph(TsCudaSession *c);
int32_t ts_cuda_encode(TsRtSession *s, uint32_t map, TesseraError *e);   /* for the address in its slot */
int32_t ts_cuda_run(TsRtSession *s, const TsPlanEntry *en, int32_t graph, void *stream, TesseraError *e);
int32_t ts_cuda_launch(TsRtSession *s, uint64_t launch, TsCuHandle stream, TesseraError *e); /* one, by itself */
int32_t ts_cuda_time(TsRtSession *s, TsCuHandle stream, TesseraError *e);               /* all of them, and how long each takes */
void ts_cuda_explain(const TsRtSession *s, const TsLaunch *l, TsText *t);
void ts_cuda_stats(const TsRtSession *s, TesseraStats *out);

/* Compact memory of the device from argument a, or back. Few rectangles of it, or an error that names the argument. */
int32_t ts_cuda_gather(const TsCuda *cu, uint8_t *compact, const TsArg *a, bool back, const char *kind, const char *name, TsCuHandle stream, TesseraError *e);
/* Can it be done at all? Asked before anything is enqueued. */
bool ts_cuda_can_gather(const TsArg *a);

static inline TsCudaSession *ts_cuda_session(const TsRtSession *s) { return s->device; }
#endif
