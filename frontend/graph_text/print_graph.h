/* Graph IR as canonical text. */
#pragma once
#include "ir/graph.h"
static inline void ts_print_module(TsModule *m, TsBuf *to) { (void)m; ts_buf_str(to, "tessera 1\n"); }
