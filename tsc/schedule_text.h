/* The schedule as text: the graph with a group for each kernel, whose arguments say which kernel runs when, on which bytes (docs/pipeline.md
 * has the words). scratch: bytes per kernel, or NULL while that is not known. */
#pragma once
#include "middle/tiler/sched.h"

void ts_print_schedule(const TsSched *s, const int64_t *scratch, TsBuf *to);
