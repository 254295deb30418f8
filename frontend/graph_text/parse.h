/* Text to syntax tree, for every level: `tessera 1` files (graphs, schedules) and `tile 1` files. The grammar is LL(1) and stands above
 * the functions that parse it; expressions go by precedence climbing. Every error is E_SYNTAX, E_LIMIT or E_VERSION with a place;
 * parsing resumes at the next line of the same depth. A tree is returned only when there was no error.
 * Conventions beyond ir/tree.h: a control statement without results is an EXPR whose kid 0 is the FOR, SCAN, LOOP or IF; a negative
 * number is an INT or FLOAT below 0, not a NEG; `comment` holds whole lines (an empty one for a blank line), each ended by a line break;
 * a BLOCK's tail stands after its `{`, its comment before its `}`; in a FILE's comment a form feed parts what comes before the header
 * line from what comes after the last item. */
#pragma once
#include "ir/tree.h"

/* The FILE tree of a source, or NULL after reporting. */
TsTree *ts_parse(TsCtx *cx, uint32_t source);
/* One expression, for `{…}` inside weight names: `text` lies at byte `base` of `file`. NULL after reporting. */
TsTree *ts_parse_expr(TsCtx *cx, uint32_t file, const char *text, size_t size, uint32_t base);
