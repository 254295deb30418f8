/* The schedule: what becomes a kernel, in which order kernels run, which bytes they touch. Made from a verified graph module by
 * ts_schedule for one target; read by the plan writer (emit) and the printers. Owns nothing outside the module's arena. Kernels are .tile
 * text: on the CPU one per machine family (most have one text for all), on a GPU one; equal texts are one kernel. Sizes are TsDim formulas
 * over the module's symbols. */
#pragma once
#include "ir/graph.h"

/* What is scheduled for. The family chooses the schedule functions; `tile` is the kernels' target, whose limits ir/tile_targets.def has;
 * `tune` the file of autotune_db/ (without .yaml) that has their tunables. The CPU is one target whose kernels have a text per clone. */
typedef enum { TS_FAMILY_CPU, TS_FAMILY_SM80 /* cp.async, mma.sync */, TS_FAMILY_SM90 /* TMA, wgmma */, TS_FAMILIES } TsFamily;
typedef struct { const char *name; TsFamily family; const char *tile, *tune; } TsSchedTarget;
const TsSchedTarget *ts_sched_target(const char *name); /* "cpu", "sm_80" …; NULL when unknown */

enum { TS_CPU_CLONES = 3 }; /* x86-64-v2, v3, v4, in this order */

typedef enum { TS_BUF_INPUT, TS_BUF_OUTPUT, TS_BUF_WORK, TS_BUF_WEIGHT } TsBufKind;

/* How a weight's bytes lie in the artifact: as in its file, or as panels [batch][N/panel][K][panel], zero padded, of B[k, n] read with
 * these strides (elements) from the published tensor. */
typedef struct { bool packed; int64_t batch, k, n, panel, batch_stride, k_stride, n_stride, offset; } TsPacking;

typedef struct {
	TsBufKind kind;
	TsDtype elem;
	TsDim count;               /* elements */
	uint32_t index;            /* INPUT, OUTPUT: number of the parameter or result */
	const TsNode *weight;      /* WEIGHT: its node (weight or const) */
	TsPacking packing;
	TsVal value;               /* WORK: what it holds; 0: something of a kernel's own */
	uint32_t slot;             /* WORK: memory slot; set by the memory plan */
	uint32_t first, last;      /* WORK: steps between which its bytes are live */
} TsBuffer;

typedef struct { uint32_t buf; TsDim offset; /* elements; may hold loop variables */ } TsArg;

typedef struct { TsSym name; TsSym text[TS_CPU_CLONES]; /* a GPU's kernel has text[0] alone */ } TsKernel;
typedef struct {
	uint32_t kernel;
	TsDim guard_lhs, guard_rhs; /* lhs <= rhs; both 0 = always */
	TsDim cells;
	int32_t per_sm;             /* GPU: 0: one CTA (or cluster) a cell; n: min(cells, n * multiprocessors) CTAs, their number as the last idx parameter */
	TsSym label;
	int32_t tile[3];            /* elements by axis of a cell; 0: none further */
	bool by_cost;               /* the guard also says that it is the best one: it is right wherever `need` is 0 */
	TsDim need;
} TsChoice;

typedef enum { TS_SCHED_LAUNCH, TS_SCHED_LOOP, TS_SCHED_END } TsSchedKind;
typedef struct {
	TsSchedKind kind;
	TsSpan at;
	TsSym what;                /* LAUNCH: the value it computes, for explain and profiles */
	TsVal root;                /* LAUNCH: that value; 0: none, it does a part of another step's work */
	TS_VEC(TsVal) values;      /* LAUNCH: the values it computes, fused ones too; none: it moves bytes */
	TS_VEC(TsChoice) choices;  /* LAUNCH: ordered, the last one unguarded */
	TS_VEC(TsArg) ptr;         /* LAUNCH: arguments, the same for all choices */
	TS_VEC(TsDim) num;
	const TsFor *loop;         /* LOOP */
} TsStep;

typedef struct {
	TsGraph *graph;
	TS_VEC(TsBuffer) bufs;
	TS_VEC(TsStep) steps;
	TsMap group;               /* node -> 1 + the step that alone computes it; the others are index maps, literals, weights */
	TS_VEC(TsDim) slot_bytes;
	TsDim workspace;           /* bytes at peak: the sum of the slots */
} TsEntry;

typedef struct { TsModule *m; const TsSchedTarget *target; TS_VEC(TsKernel) kernels; TsMap by_text; TS_VEC(TsEntry) entries; } TsSched;

/* Schedules every graph of the module. NULL after reporting (an operator without a schedule is such an error). */
TsSched *ts_schedule(TsModule *m, const TsSchedTarget *target);
static inline uint32_t ts_sched_texts(const TsSched *s) { return s->target->family == TS_FAMILY_CPU ? TS_CPU_CLONES : 1; } /* of each kernel */
/* Puts the nodes of every graph in the order of the kernels that compute them, those of one kernel side by side, views behind what they
 * view, leaves before their first use. The graph means the same; scheduling it again gives these kernels in this order. */
void ts_schedule_order(TsSched *s);
