/* `tsc explain --arch` and `--html`: what a model does for given sizes, read from a plan in the artifact; nothing of it is run and no GPU is asked. */
#pragma once
#include "support/ctx.h"

/* The plan for arch ("sm_90a") in the artifact at path, called `model` in messages; dims as the model has them, -1 where not given. */
bool ts_explain_arch(TsCtx *cx, const char *path, const char *model, const char *arch, uint32_t graph, const int64_t *dims);
/* The same as a page, written to `page`; arch NULL: the CPU's plan. */
bool ts_explain_html(TsCtx *cx, const char *path, const char *model, const char *arch, uint32_t graph, const int64_t *dims, const char *page);
