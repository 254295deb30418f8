/* The names that values of a graph have in canonical text, without changing the graph. A written name is kept where it is free; other
 * values become steps of the next named one: y.1, y.2, … in text order. Names end with their block; none shadows another, a dim, a
 * weight set, a graph or a loop variable. Literals and sizes have a name, and so a line, only where their type would not be read
 * back from the operands beside them. */
#pragma once
#include "ir/graph.h"

typedef struct { TsModule *m; TsGraph *g; TsSym *name; bool *line; TsMap taken; TS_VEC(TsVal) vals; } TsNames;

void ts_names_make(TsModule *m, TsGraph *g, TsNames *out);
/* Whether operand i of n is a literal or size that is written in place. */
bool ts_names_in_place(const TsNames *s, const TsNode *n, uint32_t i);
/* Whether a weight's name such as `l.{2*i}.w` has that loop variable in its braces. */
bool ts_names_mention(TsSym pattern, TsSym var);
static inline TsSym ts_names_of(const TsNames *n, TsVal v) { return n->name[v]; } /* NULL: it has no line */
