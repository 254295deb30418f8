/* `tsc k.tile`: kernels written by hand or printed by --emit tile, compiled without a graph. */
#pragma once
#include "tsc/options.h"
#include "ir/tree.h"

/* Verifies a FILE tree of .tile and writes what the options ask for: tile, llvm, asm, or an object whose symbols are the kernels' names; of kernels
 * for a GPU PTX, or a cubin. --arch chooses among the kernels by their target, and one GPU alone takes those of others with the same words. Code is
 * made for one target: kernels of several are an error that lists them. */
bool ts_compile_tile(TsCtx *cx, const TsOptions *o, TsTree *file);
