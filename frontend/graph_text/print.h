/* Syntax tree to text, for every level: the only printer. Two spaces per block, one statement per line, which is wrapped (wrap.h);
 * brackets only where the grammar needs them. With comments: `tsc fmt`, which keeps sugar, comments and single blank lines; without:
 * canonical text, where only `##` documentation is left. Expressions and types alone are one line. parse(print(t)) == t for every tree
 * that the parser or the compiler makes. */
#pragma once
#include "ir/tree.h"

void ts_print_tree(const TsTree *t, TsBuf *to, bool keep_comments);  /* a FILE, item, statement, type or expression */
void ts_print_string(TsSym s, TsBuf *to);                            /* quoted and escaped */
void ts_print_name(TsSym s, TsBuf *to);                              /* in backticks where needed */
/* The source in standard form. False after reporting. */
bool ts_fmt(TsCtx *cx, uint32_t source, TsBuf *to);
