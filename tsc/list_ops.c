/* tsc --list-ops: the operator table as a page. */
#include "ir/op.h"
#include "tsc/commands.h"

static void print_signature(const TsOpInfo *op, TsBuf *to)
{
	ts_buf_fmt(to, "%s(", op->name);
	for (int i = 0; i < op->nin; i++)
		ts_buf_fmt(to, "%s%s%s%s", i ? ", " : "", op->variadic ? "[" : "", op->in[i], op->variadic ? ", ...]" : i >= op->min_in ? "?" : "");
	for (int i = 0; i < op->nattr; i++) {
		const TsAttrInfo *at = &op->attr[i];
		ts_buf_fmt(to, "%s%s", op->nin || i ? ", " : "", at->name);
		if (at->none_default) ts_buf_str(to, " = none");
		else if (at->text && !at->required) ts_buf_fmt(to, at->kind == TS_A_ENUM ? " = \"%s\"" : " = %s", at->text);
		else if (!at->required) ts_buf_fmt(to, at->kind == TS_A_BOOL ? at->num != 0 ? " = true" : " = false" : " = %g", at->num);
	}
	ts_buf_char(to, ')');
}

void ts_list_ops(TsCtx *cx, FILE *to)
{
	for (TsOp id = TS_OP_NONE + 1; id < TS_OP_COUNT; id++) {
		const TsOpInfo *op = ts_op_info(cx, id);
		TsBuf b = { 0 };
		if (op->cls == TS_CLS_LEAF || op->cls == TS_CLS_CONTROL) continue;
		print_signature(op, &b);
		fprintf(to, "%s\n    %s%s\n", b.p, op->doc, op->cls == TS_CLS_NONE ? " (interpreter alone: no compiled code in this release)" : "");
		ts_buf_free(&b);
	}
}
