/* Where the tools of CUDA are: what --ptxas names, else the first found in PATH, in CUDA_HOME and CUDA_PATH (their bin folders), and in the Python
 * environment that VIRTUAL_ENV names, where the packages nvidia-cuda-nvcc and triton bring them. */
#pragma once
#include "tsc/options.h"

const char *ts_find_in_path(TsCtx *cx, const char *name); /* the first program of that name in PATH; NULL when there is none */

/* Path of ptxas, NULL when there is none or none is wanted. False after reporting: what --ptxas names is no program. */
bool ts_find_ptxas(TsCtx *cx, const TsOptions *o, const char **path);
/* The same of another tool: where ptxas was named or found, then as above. NULL when there is none. */
const char *ts_find_tool(TsCtx *cx, const char *name, const char *beside);
