/* What one compile is asked for, as the command line says it. ts_options_parse checks all that can be checked without reading the
 * model: unknown words (with the nearest), numbers, architectures, choices that contradict each other; names of passes and rewrites
 * are checked by those who know them. Sub-commands that compile on the way take the same options through TS_OPTIONS_SHARED. */
#pragma once
#include "tsc/args.h"

typedef enum { TS_EMIT_GRAPH, TS_EMIT_SCHEDULE, TS_EMIT_TILE, TS_EMIT_LLVM, TS_EMIT_ASM, TS_EMIT_PTX, TS_EMIT_OBJ, TS_EMIT_SO, TS_EMIT_EXE, TS_EMIT_TSR, TS_EMIT_HEADER,
	TS_EMIT_CUBIN, TS_EMIT_FATBIN, TS_EMIT_COUNT } TsEmit;

enum { TS_CLONE_V2 = 1, TS_CLONE_V3 = 2, TS_CLONE_V4 = 4, TS_CLONE_ALL = 7 }; /* x86-64-v2, -v3, -v4 */

typedef struct { TsSym name, path; } TsWeightsFrom; /* --weights-file W=path; name NULL: the only weights of the model */

typedef struct {
	const char *input;
	const char *output;            /* never NULL after parsing: "-" for text on standard output */
	TsEmit emit;
	int opt_level;                 /* 0..3 */
	uint32_t clones;               /* TS_CLONE_*: what code is generated for; never 0 */
	bool cpu_named;                /* --arch names a CPU; without one all clones are made */
	const char *const *gpus;       /* GPU architectures, lowest first, as backend/llvm/targets.def calls them */
	uint32_t n_gpus;
	const char *ptxas;             /* --ptxas: its path, "none", or NULL: look for it */
	const char *graph;             /* compile this graph alone; NULL: all */
	const char *name;              /* of the model, a C identifier; NULL: from the file's name */
	bool external_weights;
	const char *weights_dir;       /* folder of the weight files; NULL: beside the model */
	const TsWeightsFrom *weights_from;
	uint32_t n_weights_from;
	const char *const *disabled;   /* rewrites not to use */
	uint32_t n_disabled;
	bool print_rewrites, verbose, time_report;
	const char *save_temps;        /* folder for every level's text; NULL: none */
	const char *only, *print_after; /* names of passes, or NULL */
	const char *const *skip;
	uint32_t n_skip;
	int jobs;                      /* 0: one per core */
	int progress;                  /* descriptor that is told what is done; 0: none */
	int lifeline;                  /* descriptor whose end is this process's; 0: none */
} TsOptions;

void ts_options_init(TsOptions *o);

/* The command line of `tsc` itself without its name, response files expanded. False after reporting; when *ask is not TS_ASK_NOTHING
 * a question was asked and o is not to be used. */
typedef enum { TS_ASK_NOTHING, TS_ASK_HELP, TS_ASK_VERSION, TS_ASK_OPS, TS_ASK_DETECT } TsAsk;
bool ts_options_parse(TsCtx *cx, const TsArgList *args, TsOptions *o, TsAsk *ask);
void ts_options_help(FILE *to);
bool ts_options_arch(TsOptions *o, TsArgs *a); /* --arch LIST. False after reporting */

/* Options of the compiler proper that run, test and explain share: rows for their table, and the function that takes them.
 * ts_options_take returns false after reporting; *known false: the id is another's. */
enum { TS_OPT_LEVEL = 1000, TS_OPT_GRAPH, TS_OPT_WEIGHTS_DIR, TS_OPT_WEIGHTS_FILE, TS_OPT_DISABLE, TS_OPT_PRINT_REWRITES, TS_OPT_JOBS, TS_OPT_VERBOSE, TS_OPT_TIME };
#define TS_OPTIONS_SHARED \
	{ TS_OPT_LEVEL, "-O", NULL, "0..3", "how much LLVM optimises (2)" }, \
	{ TS_OPT_GRAPH, "--graph", NULL, "NAME", "this graph of the model alone" }, \
	{ TS_OPT_WEIGHTS_DIR, "--weights-dir", NULL, "DIR", "weight files lie here, not beside the model" }, \
	{ TS_OPT_WEIGHTS_FILE, "--weights-file", NULL, "[W=]FILE", "weights W come from FILE (repeatable)" }, \
	{ TS_OPT_DISABLE, "--disable-rewrite", NULL, "NAME", "leave out a rewrite rule (repeatable)" }, \
	{ TS_OPT_PRINT_REWRITES, "--print-rewrites", NULL, NULL, "say which rule fired where" }, \
	{ TS_OPT_JOBS, "-j", NULL, "N", "processes that generate code (one per core)" }, \
	{ TS_OPT_VERBOSE, "-v", "--verbose", NULL, "say what is done" }, \
	{ TS_OPT_TIME, "--time-report", NULL, NULL, "milliseconds of each pass" }
bool ts_options_take(TsOptions *o, TsArgs *a, int id, bool *known);
