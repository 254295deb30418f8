/* Command lines: response files, and one pass over options as a table describes them. The table is also what --help prints and where
 * the nearest name of a mistyped option comes from. Everything wrong is reported on the context as E_USAGE (a response file that
 * cannot be read as E_FILE); ts_usage_status says which exit status that is. Never prints and never exits. */
#pragma once
#include "support/ctx.h"

typedef struct {
	int id;             /* above 0; 0: a heading, whose text is help */
	const char *name;   /* "--emit", or "-o" whose value may be joined (-ofile) */
	const char *alias;  /* another spelling, or NULL */
	const char *value;  /* what stands for the value in --help; NULL: takes none */
	const char *help;   /* NULL: not shown */
} TsArgSpec;

enum { TS_ARG_END = 0, TS_ARG_BAD = -1, TS_ARG_OPERAND = -2 };

typedef struct {
	TsCtx *cx;
	const TsArgSpec *spec;
	uint32_t nspec;
	const char *command;       /* "tsc run": for hints */
	const char *const *argv;   /* without the command's own name */
	uint32_t argc, at;
	bool only_operands;        /* after `--` */
	const char *name, *value;  /* of what ts_args_next returned; the operand is in value */
} TsArgs;

typedef TS_VEC(const char *) TsArgList;

/* The arguments with each @file replaced by the words of that file: parted by white space, with '…', "…" and \ as in a shell.
 * Files may name files, 8 deep and 64 in all. False after reporting. */
bool ts_args_expand(TsCtx *cx, int argc, char *const *argv, TsArgList *out);

/* The id of the next option (its value checked to be there), TS_ARG_OPERAND, TS_ARG_END, or TS_ARG_BAD after reporting. */
int ts_args_next(TsArgs *a);

/* Whole decimal number in [lo, hi]; false after reporting, naming the option. */
bool ts_args_int(TsArgs *a, int64_t lo, int64_t hi, int64_t *out);
bool ts_args_double(TsArgs *a, const char *text, double *out);
/* `name=value` cut at the first `=`, both sides non-empty. */
bool ts_args_pair(TsArgs *a, TsSym *name, TsSym *value);
/* Number of value among the n words, or -1 after reporting them with the nearest. what: "kind of output". */
int ts_args_word(TsArgs *a, const char *what, const char *value, const char *const *words, uint32_t n);

/* auto, cpu, cuda or cuda:N, as TsLoadRequest (tsc/loader.h) says them; false after reporting. */
bool ts_args_device(TsArgs *a, int *device, int *device_id);

/* usage lines, then the table; fits on one screen. */
void ts_args_help(const char *usage, const TsArgSpec *spec, uint32_t nspec, FILE *to);

void ts_usage_error(TsCtx *cx, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* 2, or 3 when what was reported is a failure of the environment. */
int ts_usage_status(const TsCtx *cx);
