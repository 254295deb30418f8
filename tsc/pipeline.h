/* The compiler from end to end: text in, artifact or any level's text out. The whole pipeline reads top to bottom in pipeline.c. */
#pragma once
#include "ir/graph.h"
#include "tsc/options.h"

/* Compiles o->inputs as the options say. Everything wrong is reported on cx; the exit code is ts_exit_code(cx). */
void ts_compile(TsCtx *cx, const TsOptions *o);
/* The same from a verified graph module on. */
void ts_compile_module(TsCtx *cx, const TsOptions *o, TsModule *m);
/* The names of passes in the options, before anything is done: E_USAGE for an unknown one, or one that cannot be left out. */
bool ts_check_passes(TsCtx *cx, const TsOptions *o);
