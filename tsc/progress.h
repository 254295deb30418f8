/* `--progress FD`: what a long compile is doing, for a program that shows it. Each pass is one line with its name when it begins, `emit` the
 * last; where kernels are counted a line `generate 3/36` follows whenever some are through (for GPUs `assemble 1/4`: modules). A reader
 * that went away, or a full pipe that does not block, loses lines and disturbs nothing. */
#pragma once
#include "tsc/options.h"

/* of 0: only the name. Nothing happens without --progress. */
void ts_progress(const TsOptions *o, const char *pass, uint32_t done, uint32_t of);
/* Before the first line. False after reporting: there is no such descriptor. */
bool ts_progress_open(TsCtx *cx, const TsOptions *o);
