/* Kernels of the user's for a graph that is built by calls instead of read from a file: their texts are parsed and checked one after the
 * other, and their calls become nodes, as the semantic pass makes them of a whole file. */
#pragma once
#include "ir/graph.h"
#include "ir/tree.h"

typedef struct TsKernels TsKernels;
typedef struct { TsVal v; bool is_float; int64_t i; double f; } TsKernelArg;      /* v 0: a number */

/* m->source becomes the file that they are items of. */
TsKernels *ts_kernels_new(TsModule *m);
/* The dims, consts and kernels of a FILE tree, which holds nothing else. Each kernel is tried on operands of just its types. Names must be
 * new, but for those of dims. False after reporting; nothing of the tree is known then. */
bool ts_kernels_add(TsKernels *k, TsTree *file);
/* A call at the end of block b of graph g; NULL after reporting. Literals of their own may come before it. */
TsNode *ts_kernels_call(TsKernels *k, TsGraph *g, TsBlock *b, TsSym name, uint32_t n, const TsKernelArg *arg, const TsNumerics *num, TsSpan at);
