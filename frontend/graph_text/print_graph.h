/* Graph IR as canonical text (docs/tg.md): one operator per line, typed; operands are names, literals, sizes and weights; attributes in
 * the table's order, defaults omitted; steps of a value y are y.1, y.2, …; the dims, policies and weights that are used, with a manifest.
 * Reading the text gives a graph that prints the same. The module is not changed. */
#pragma once
#include "ir/graph.h"

void ts_print_module(TsModule *m, TsBuf *to);

/* The schedule's groups of one graph, in the order of its kernels; those of a loop's body lie between its OPEN and CLOSE. */
typedef enum { TS_GROUP_KERNEL, TS_GROUP_OPEN, TS_GROUP_CLOSE } TsGroupKind;
typedef struct { TsGroupKind kind; TsSym name; struct TsTree *args; /* LIST */ } TsGroup;
typedef struct { TS_VEC(TsGroup) groups; const TsMap *of; /* node -> its group, [0] being about the whole graph */ } TsGroups;
/* The same text with each kernel's statements in its group; a kernel that only moves bytes has an empty one. per graph: TsGroups. */
void ts_print_module_grouped(TsModule *m, const TsGroups *groups, TsBuf *to);
/* Gives the values the names that the text has. */
void ts_name_values(TsModule *m);
