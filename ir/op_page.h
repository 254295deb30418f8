/* docs/ops.md, the operators' manual page, out of the operator table. A unit test keeps the file current. */
#pragma once
#include "ir/op.h"

void ts_op_signature(const TsOpInfo *op, TsBuf *to);  /* gelu(x, approximate = "tanh") */
void ts_op_page(TsCtx *cx, TsBuf *to);
