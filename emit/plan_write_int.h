/* What the writers of plans share: plan_write.c (sizes, steps, entries), plan_about.c (what steps say of themselves), plan_weights.c (weights, where their bytes lie in the file) and
 * plan_device.c (kernels of devices). One Writer for each plan; all of an artifact's share one TsBlob. */
#pragma once
#include "emit/plan_build.h"
#include "emit/plan_write.h"
#include "ir/weights.h"

/* One weight as the file has it: the tensor, which part of it, in which layout, where. */
typedef struct { uint32_t set; TsSym name; const TsNode *node; TsPacking packing; TsPack pack; uint64_t offset, bytes; } TsStored;
/* The embedded weights of an artifact: every plan's, each stored once. */
typedef struct { TS_VEC(TsStored) stored; TS_VEC(TsWeightPiece) pieces; uint64_t bytes; } TsBlob;

typedef struct { const TsFor *f; uint32_t var, begin; } TsOpenLoop;
typedef struct { uint32_t set; TsSym name; const TsNode *node; TsPacking packing; uint32_t id; } TsPacked;
typedef struct {
	const TsSched *s;
	const TsPlanOptions *o;
	const TsDeviceSched *device;      /* NULL: the CPU */
	TsModule *m;
	TsArena *a;
	TsPlanBuild *b;
	TsBlob *blob;
	uint32_t *dim;                    /* per symbol: plan dim, or TS_NONE */
	uint32_t *loop;                   /* per symbol: loop variable + 1 while its loop is open */
	TS_VEC(TsOpenLoop) open;
	TS_VEC(TsPacked) weights;
	TS_VEC(uint32_t) files;           /* per (set, file): plan file, parallel to file_keys */
	TS_VEC(uint64_t) file_keys;
	uint64_t external;                /* bytes of weights outside the blob: packed at open, or on the device */
	uint32_t consts;                  /* literals named so far */
	bool failed;
} TsPlanWriter;

uint32_t ts_plan_dtype(TsDtype t);
uint32_t ts_plan_size(TsPlanWriter *w, TsDim d);   /* as an expression of the plan */
/* plan_about.c: what launch number `step` of the entry says of itself, to people and profilers. */
typedef struct { uint32_t *place, *seen, stamp; } TsPlanAbout; /* per value: where it stands in the text; the last step that computed it */
TsPlanAbout ts_plan_about(TsPlanWriter *w, const TsEntry *e);
void ts_plan_describe(TsPlanWriter *w, TsPlanAbout *about, const TsEntry *e, uint32_t step, TsPlanStep *out);
/* Numbers of the tensor for every turn of the open loops, as a table, and the expression that finds this turn's. */
void ts_plan_weight_arg(TsPlanWriter *w, const TsGraph *g, const TsBuffer *b, TsPlanArg *arg);
/* Kernels and modules of w->device. */
void ts_plan_device_kernels(TsPlanWriter *w);
