/* `tsc k.tile`: kernels written by hand or printed by --emit tile, compiled without a graph. */
#pragma once
#include "tsc/options.h"
#include "ir/tree.h"

/* Verifies a FILE tree of .tile and writes what the options ask for: tile, llvm, asm or an object whose symbols are the kernels' names. */
bool ts_compile_tile(TsCtx *cx, const TsOptions *o, TsTree *file);
