/* Running artifacts: starts tsc-load (tsc/helper/), which loads a shared object and serves one request. What the artifact says of
 * itself is known after ts_loader_open; ts_loader_run or ts_loader_explain may be called once, then ts_loader_close. An artifact is
 * code and can do what its user can: only whether its process answers is checked here. Failures are reported; a process that dies is
 * E_ARTIFACT. */
#pragma once
#include "ir/tensor.h"

typedef struct { TsSym name; int64_t min, max, multiple_of; } TsLoadedDim;   /* max 0: no limit */
typedef struct { TsSym name; TsDtype elem; int rank; int64_t dim[TS_MAX_RANK]; /* below 0: see TesseraTensorInfo */ } TsLoadedTensor;
typedef struct { TsSym name; uint32_t n_in, n_out; TsLoadedTensor *tensor; /* inputs, then outputs */ } TsLoadedGraph;

typedef struct {
	TsCtx *cx;
	const char *path;
	int pid, to, from;
	TsLoadedDim *dim;
	uint32_t n_dims;
	TsLoadedGraph *graph;
	uint32_t n_graphs;
} TsLoader;

typedef struct {
	uint32_t graph;
	int threads, cpu;          /* 0: as the machine has */
	int device, device_id;     /* 0: the first GPU that fits, else the CPU; a DLPack type and a number */
	int64_t runs;              /* 1 and up */
	const char *weights;       /* folder or file of external weights, or NULL */
	const TsTensor *in;        /* run: one per input */
	const bool *wanted;        /* run: one per output */
	const int64_t *dims;       /* explain: one per dim */
} TsLoadRequest;

typedef struct {
	int64_t workspace, threads, cpu, external;
	const char *device;        /* a GPU's name; "" on the CPU */
	const char *note;          /* why it is the CPU, or other code than the best; else "" */
	const char **lines;        /* of explain */
	uint32_t n_lines;
	int64_t *took;             /* run: nanoseconds of each run */
	TsTensor *out;             /* run: one per output, those wanted with data, freed by the caller */
} TsLoadReply;

/* shown: what messages call it. */
bool ts_loader_open(TsCtx *cx, const char *path, const char *shown, TsLoader *l);
bool ts_loader_run(TsLoader *l, const TsLoadRequest *r, TsLoadReply *out);
bool ts_loader_explain(TsLoader *l, const TsLoadRequest *r, TsLoadReply *out);
void ts_loader_close(TsLoader *l);

typedef struct { TsSym name; int sm; } TsFoundGpu;
/* The GPUs that the driver shows, in its order; arena. None: *why says what is missing. False after reporting. */
bool ts_loader_gpus(TsCtx *cx, TsFoundGpu **gpus, uint32_t *n, TsSym *why);
/* By name; NULL: the only graph, or the first. Reports an unknown one with the nearest; returns its number or -1. */
int ts_loader_graph(TsLoader *l, const char *name);
