/* The operator table: everything a stage may want to know of an operator, read from ops.def. Nothing else lists operators. */
#pragma once
#include "ir/dtype.h"

typedef enum {
	TS_OP_NONE,
#define OP(name, ins, attrs, flags, cls, types, shape, ref, adjoint, bound, doc) TS_OP_##name,
#include "ir/ops.def"
	TS_OP_COUNT
} TsOp;

/* How an operator is scheduled. */
typedef enum { TS_CLS_LEAF, TS_CLS_POINTWISE, TS_CLS_REDUCE, TS_CLS_ROW, TS_CLS_CONTRACT, TS_CLS_ATTENTION, TS_CLS_VIEW, TS_CLS_MOVE, TS_CLS_GATHER,
	TS_CLS_RANDOM, TS_CLS_CONTROL, TS_CLS_NONE } TsOpClass;
/* LEAF: param, weight, const, dim value. ROW: softmax, norms (several passes over the reduced axes). VIEW: an index map, no bytes moved
 * (reshape, transpose, broadcast, slice, split). MOVE: concat, pad. NONE: no native schedule yet (fft): a compile error that says so. */

enum { TS_F_PURE = 1, TS_F_COMM = 2, TS_F_ASSOC = 4, TS_F_IDEMPOTENT = 8, TS_F_LINEAR = 16, TS_F_INVOLUTION = 32, TS_F_BROADCAST = 64,
	TS_F_TILE = 128 /* also a pointwise word of Tile IR */ };
/* Element types an operator takes, as sets. */
enum { TS_T_FLOAT = 1 /* f32 f64 f16 bf16 */, TS_T_INT = 2 /* int64 int32 */, TS_T_BOOL = 4, TS_T_STORAGE = 8 /* all not compute */, TS_T_COMPLEX = 16,
	TS_T_NUM = 3, TS_T_COMPUTE = 7, TS_T_ANY = 31 };

typedef enum { TS_A_INT, TS_A_FLOAT, TS_A_BOOL, TS_A_ENUM, TS_A_DTYPE, TS_A_INTS, TS_A_DIM, TS_A_DIMS } TsAttrKind;
/* Text form in ops.def: `name:kind=default`, kinds int float bool enum(a|b) dtype ints dim dims; no default = required; `=none` = absent. */
typedef struct { const char *name; TsAttrKind kind; bool required, none_default; double num; const char *text; const char *choices; } TsAttrInfo;

enum { TS_MAX_OP_INS = 8, TS_MAX_OP_ATTRS = 8 };
typedef struct {
	const char *name, *doc;
	uint32_t flags, types;
	TsOpClass cls;
	uint8_t nin, min_in;    /* named operands; the first min_in are required */
	bool variadic;          /* the only operand is a list: concat([a, b]) */
	const char *in[TS_MAX_OP_INS];
	uint8_t nattr;
	TsAttrInfo attr[TS_MAX_OP_ATTRS];
	const char *bound, *adjoint;
} TsOpInfo;

/* Valid for the life of the process; parsed once per context. */
const TsOpInfo *ts_op_info(TsCtx *cx, TsOp op);
TsOp ts_op_find(TsCtx *cx, TsSym name); /* TS_OP_NONE when unknown */
int ts_op_attr_index(const TsOpInfo *info, const char *name); /* -1 when unknown */
