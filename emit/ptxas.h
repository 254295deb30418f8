/* Assembling PTX: ptxas as a child process, one for each module, several at a time. What it says becomes diagnostics: a ptxas that cannot
 * be run, dies or is too old for the text is the environment's trouble (exit code 3); a kernel that asks for more than the machine has is
 * bad input, at the kernel's place; PTX that ptxas does not take is a bug of ours, and is written aside as a reproducer. What it says
 * about each kernel (`-v`) comes back as numbers. The same PTX gives the same cubin for the same ptxas, whatever else runs. */
#pragma once
#include "support/ctx.h"

typedef struct {
	const char *name;                      /* of the entry function */
	int registers, barriers;
	int64_t stack, spill_stores, spill_loads;
	const char *loss;                      /* a "potential performance loss" it was told of (C75xx), or NULL */
} TsPtxKernel;

typedef struct { const char *symbol; TsSpan at; } TsPtxPlace; /* where a kernel comes from */

typedef struct {
	const char *name, *arch;               /* of the module; "sm_90a" */
	const char *ptx;                       /* text, n bytes */
	size_t n;
	const TsPtxPlace *places;
	uint32_t n_places;
	TsBuf cubin;                           /* out: the caller frees it */
	TsPtxKernel *kernels;                  /* out: arena */
	uint32_t n_kernels;
} TsPtxModule;

typedef struct {
	const char *path;                      /* of ptxas */
	int opt_level, jobs;                   /* 0..3 as tsc's -O; processes at a time, 0: one per core */
	const char *crash_dir;                 /* where a reproducer goes; NULL: the working directory */
	void (*progress)(void *user, uint32_t done, uint32_t of); /* modules that are through; may be NULL */
	void *user;
} TsPtxasOptions;

/* Every module to a cubin. False after reporting. */
bool ts_ptxas(TsCtx *cx, const TsPtxasOptions *o, TsPtxModule *modules, uint32_t n);
/* "13.0", or NULL after reporting: this is no ptxas, or it gives no answer. Arena. */
const char *ts_ptxas_version(TsCtx *cx, const char *path);
/* What ptxas -v says, as records; for tests. */
void ts_ptxas_read(TsCtx *cx, const char *said, TsPtxModule *m);
