/* `tsc k.tile`: kernels written by hand or printed by --emit tile, compiled without a graph. */
#pragma once
#include "tsc/options.h"
#include "ir/tree.h"

/* Verifies a FILE tree of .tile and writes what the options ask for: tile, llvm, asm, or an object whose symbols are the kernels' names; of kernels
 * for a GPU PTX, or a cubin. A kernel names its target; an --arch that names one GPU wins over that, where the kernel's words are the same. */
bool ts_compile_tile(TsCtx *cx, const TsOptions *o, TsTree *file);
