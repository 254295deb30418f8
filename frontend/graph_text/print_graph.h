/* Graph IR as canonical text (docs/tg.md): one operator per line, typed; operands are names, literals, sizes and weights; attributes in
 * the table's order, defaults omitted; steps of a value y are y.1, y.2, …; the dims, policies and weights that are used, with a manifest.
 * Reading the text gives a graph that prints the same. The module is not changed. */
#pragma once
#include "ir/graph.h"

void ts_print_module(TsModule *m, TsBuf *to);
