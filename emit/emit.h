/* The artifact writer: takes compiled kernels, a plan, texts and weights, and makes the one file that the user asked for. It links in
 * process, streams weights through a small buffer at their place behind the linked image, writes beside the target and renames, so
 * that a failure of any kind leaves nothing. The bytes depend on its input alone: not on folders, times, or the machine.
 * emit/plan_build.h makes plans; docs/artifact.md describes the file. */
#pragma once
#include "rtlib/plan.h"
#include "support/ctx.h"

typedef enum { TS_ARTIFACT_SO, TS_ARTIFACT_EXE, TS_ARTIFACT_OBJ, TS_ARTIFACT_TSR } TsArtifactKind;

/* A run of bytes of the embedded weights blob: from memory, from a file, or from a function called with rising offsets.
 * Pieces are sorted by `at`, do not overlap, and leave zeros between them. */
typedef struct {
	uint64_t at, size;
	const void *data;                 /* memory, or NULL */
	const char *path;                 /* file, or NULL */
	uint64_t path_offset;
	bool (*read)(void *user, uint64_t offset, void *to, size_t n); /* bytes [offset, offset + n) of this piece; false: it reported */
	void *user;
} TsWeightPiece;

typedef struct { const void *p; size_t n; } TsBytes;
typedef struct { const char *target; TsBytes plan; } TsDevicePlan;

typedef struct {
	TsArtifactKind kind;
	const char *name;                 /* model name, a C identifier: `<name>_tessera` */
	const TsBytes *objects;           /* ELF relocatables from the backend; one defines ts_kernels. None: a .tsr without code */
	uint32_t n_objects;
	TsBytes plan;                     /* the CPU's; may be empty in a .tsr without code */
	const TsDevicePlan *device_plans; /* one for each architecture of GPUs: sections .tessera.plan.<target> */
	uint32_t n_device_plans;
	TsBytes device_code;              /* what their modules lie in: section .tessera.gpu, mapped with the weights, page aligned */
	TsBytes ops;                      /* canonical .tg: section .tessera.ops */
	TsBytes meta;                     /* text lines `key: value`: section .tessera.meta */
	const TsWeightPiece *weights;     /* what goes inside the file; all of it for embedded weights, constants only for external ones */
	uint32_t n_weights;
	uint64_t weight_bytes;            /* size of the blob, at least the end of the last piece */
	const char *temp_dir;             /* for linker input; NULL: beside the output */
} TsArtifact;

/* Write the artifact to path. False after reporting (exit code by the context: 3 for disk and tools, 4 for a link that should work). */
bool ts_emit_artifact(TsCtx *cx, const TsArtifact *a, const char *path);

/* The C header of a model, typed: one inline function per graph. Text in arena memory. */
char *ts_emit_header(TsCtx *cx, TsBytes plan);
/* The same, to the path of the artifact with its ending replaced by .h. */
bool ts_emit_header_beside(TsCtx *cx, TsBytes plan, const char *artifact_path);

/* `tsc inspect`: everything an artifact (.so, executable, .o or .tsr) holds, as text. */
bool ts_inspect(TsCtx *cx, const char *path, FILE *to);

/* An expression of a plan as readable text, as inspect prints it: "64*B*S + 4096". */
void ts_plan_expr_text(const TsPlanHeader *plan, uint32_t expr, TsBuf *to);
/* The same of a device kernel's formula, in terms of the launch: "8*num0". */
void ts_plan_formula_text(const TsPlanHeader *plan, const TsPlanKernel *k, uint32_t formula, TsBuf *to);

const char *ts_plan_type_text(uint32_t dtype); /* "f32" */

/* `tsc explain --arch`: the launches of a graph for these sizes (one for each dim of the plan, -1: not given) by a device's checked plan, and
 * its workspace. False after reporting. */
bool ts_explain_plan(TsCtx *cx, const TsPlanHeader *plan, uint32_t entry, const int64_t *dims, FILE *to);

/* `tsc explain --html`: a page by itself that shows the same, and the graph, the memory over time and the roofline. False after reporting. */
bool ts_explain_page(TsCtx *cx, const TsPlanHeader *plan, uint32_t entry, const int64_t *dims, TsBuf *to);

/* The runtime objects carried inside tsc; the second one goes into artifacts with code for GPUs alone. */
extern const unsigned char ts_rtlib_begin[], ts_rtlib_end[], ts_rtlib_cuda_begin[], ts_rtlib_cuda_end[];
