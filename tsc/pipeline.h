/* The compiler from end to end: text in, artifact or any level's text out. The whole pipeline reads top to bottom in pipeline.c. */
#pragma once
#include "tsc/options.h"

/* Compiles o->inputs as the options say. Everything wrong is reported on cx; the exit code is ts_exit_code(cx). */
void ts_compile(TsCtx *cx, const TsOptions *o);
