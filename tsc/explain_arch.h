/* `tsc explain --arch`: what a model does on a GPU for given sizes, read from the plan in the artifact; no GPU is asked. */
#pragma once
#include "support/ctx.h"

/* The plan for arch ("sm_90a") in the artifact at path, called `model` in messages; dims as the model has them, -1 where not given. */
bool ts_explain_arch(TsCtx *cx, const char *path, const char *model, const char *arch, uint32_t graph, const int64_t *dims);
