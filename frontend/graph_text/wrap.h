/* Lines that are too long, broken. A statement is printed on one line with the places where it may break; one wider than TS_LINE_WIDTH
 * columns is cut, from its beginning, at the place of the lowest rank that the width reaches, the last of several; what follows goes to
 * a line that `blanks` blanks begin, and is cut in the same way. Without a place in reach it is cut at the next one. The result depends
 * on the text and its places alone, so that printing what was read back gives the same lines. Time is linear in the text. */
#pragma once
#include "support/buf.h"

enum { TS_LINE_WIDTH = 140 };
typedef struct { uint32_t at, rank; } TsBreak; /* a blank that follows `at`, counted from the line's first byte, goes with the break */

void ts_wrap_line(TsBuf *text, size_t line, int blanks, const TsBreak *b, size_t n);
