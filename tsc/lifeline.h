/* `--lifeline FD`: FD is the end to read of a pipe whose other end the caller keeps. When that is closed, as it is when the caller is killed, nobody
 * waits for the answer: the process ends as by SIGTERM, with what it would leave behind taken away. Whichever thread of the caller forked, and
 * however the caller ends, makes no difference; what the caller forked meanwhile keeps the pipe open. */
#pragma once
#include "tsc/options.h"

/* False after reporting: there is no such descriptor. */
bool ts_lifeline_hold(TsCtx *cx, const TsOptions *o);
