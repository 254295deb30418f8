/* What the shape rules share. A rule reads its operands' types and attributes, writes the types of the node's results and may add
 * run-time checks; it reports what is wrong and returns false. Names in messages are the values' names, or the operands' of the table. */
#pragma once
#include "ir/graph.h"

typedef struct { TsModule *m; TsGraph *g; TsNode *n; const TsOpInfo *op; } TsInfer;

#define OP(name, ins, attrs, flags, cls, types, shape, ref, adjoint, bound, doc) bool infer_##shape(TsInfer *);
#include "ir/ops.def"

bool ti_has(const TsInfer *in, uint32_t i);                  /* operand i is there */
const TsType *ti_type(const TsInfer *in, uint32_t i);
const char *ti_name(const TsInfer *in, uint32_t i);          /* "x", "up.weight" */
const char *ti_type_text(const TsInfer *in, uint32_t i);
const char *ti_dim_text(const TsInfer *in, TsDim d);
TsAttr *ti_attr(const TsInfer *in, const char *name);
TsType *ti_result(const TsInfer *in, uint32_t i);
TsDim ti_const(const TsInfer *in, int64_t v);

bool ti_error(const TsInfer *in, const char *code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void ti_note_operands(const TsInfer *in);                    /* one note per operand: its type and where it comes from */
/* Demands. what: a sentence piece naming both sides. False (reported with code) if it can't hold; open ones become checks.
 * ti_equal also refuses two different bare symbols: two names are never equal by chance. */
bool ti_equal(TsInfer *in, TsDim a, TsDim b, const char *code, const char *what);
bool ti_at_most(TsInfer *in, TsDim a, TsDim b, const char *code, const char *what);
bool ti_multiple(TsInfer *in, TsDim a, int64_t k, const char *code, const char *what);
/* Operands from..to-1 have one element type out of `types`. */
bool ti_one_type(TsInfer *in, uint32_t from, uint32_t to, uint32_t types);
bool ti_accepts(TsInfer *in, uint32_t i, uint32_t types);
uint32_t ti_type_set(TsDtype t);                             /* its TS_T_ set */
/* Trailing axes of a and b, less the last `skip` of each, broadcast into out (whose rank and leading sizes it sets). */
bool ti_broadcast(TsInfer *in, uint32_t a, uint32_t b, int skip, TsType *out);
bool ti_broadcast_all(TsInfer *in, TsType *out);             /* all operands */
bool ti_axis(TsInfer *in, int64_t *axis, int rank);          /* negative axes become positive */
/* The set of axes as a bit mask; an absent list means all. The attribute becomes a sorted list. */
bool ti_axes(TsInfer *in, const char *attr, int rank, uint32_t *mask);
bool ti_rank_at_least(TsInfer *in, uint32_t i, int rank);
