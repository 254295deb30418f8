/* The sub-commands. Each takes its arguments without its own name (response files expanded) and reports what is wrong on the context;
 * it returns the exit status: 0, or ts_exit_code(cx), or for a bad command line ts_usage_status(cx). `--help` fits on one screen. */
#pragma once
#include "tsc/args.h"

int ts_cmd_compile(TsCtx *cx, const TsArgList *args);
int ts_cmd_fmt(TsCtx *cx, const TsArgList *args);
int ts_cmd_eval(TsCtx *cx, const TsArgList *args);
int ts_cmd_test(TsCtx *cx, const TsArgList *args);
int ts_cmd_run(TsCtx *cx, const TsArgList *args);
int ts_cmd_inspect(TsCtx *cx, const TsArgList *args);
int ts_cmd_explain(TsCtx *cx, const TsArgList *args);

/* The text of a file as a source of the context. False after reporting. */
bool ts_read_source(TsCtx *cx, const char *path, uint32_t *source);
/* `tsc --list-ops`: how each operator is written, and what it means. */
void ts_list_ops(TsCtx *cx, FILE *to);
/* `tsc --detect`: the CPU and the GPUs of this machine, and what --arch makes code for each. False after reporting. */
bool ts_detect(TsCtx *cx, FILE *to);
