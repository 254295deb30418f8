/* Inside the rewriter: the shape of the compiled rules (gen/ writes them), the state of one rewrite, and what the C functions named in
 * rules may use. A function gets the match and the arguments it was given in the rule; building puts nodes before the matched one. */
#pragma once
#include "middle/rewrite/rewrite.h"

typedef struct TsRw TsRw;
typedef struct TsMatch TsMatch;
/* What a name of a pattern stands for: value (also for #c), attribute, number (#c). */
typedef struct { TsVal v; const TsAttr *attr; double num; } TsArg;

typedef struct {
	uint8_t n, arg[6];
	bool (*cond)(TsMatch *, const TsArg *);
	TsVal (*value)(TsMatch *, const TsArg *);   /* 0: the rule does not fire */
	TsAttr (*attr)(TsMatch *, const TsArg *);
	double (*number)(TsMatch *, const TsArg *);
} TsCall;

typedef enum { TS_MP_VAR, TS_MP_ANY, TS_MP_NUM, TS_MP_UNIFORM, TS_MP_OP } TsPatKind;
typedef struct { uint8_t kind, slot, nin, nattr, nops; uint16_t ops, attrs; double num; bool same, rest; } TsPat;  /* in preorder */
typedef enum { TS_MV_SLOT, TS_MV_INT, TS_MV_FLOAT, TS_MV_STR, TS_MV_NONE, TS_MV_CALL } TsMakeValue;
typedef struct { uint8_t index, kind, slot; uint16_t call; int64_t i; double f; const char *s; } TsMakeAttr;
typedef enum { TS_MM_VAR, TS_MM_NUM, TS_MM_NUMCALL, TS_MM_CALL, TS_MM_OP } TsMakeKind;
typedef struct { uint8_t kind, slot, op; bool same; uint8_t nin, nattr; uint16_t attrs, call; double num; } TsMake;
typedef enum { TS_MARK_EXACT, TS_MARK_EXACTER, TS_MARK_FUSE, TS_MARK_REORDER, TS_MARK_APPROX } TsMark;
typedef struct { const char *name, *file; uint32_t line; TsMark mark; uint16_t pat, make, where; uint8_t nwhere, nslots; } TsRule;

enum { TS_MAX_SLOTS = 16 };
struct TsMatch {
	TsRw *rw;
	TsNode *root;
	TsBlock made;              /* nodes built for the replacement */
	TsArg slot[TS_MAX_SLOTS];
};

struct TsRw {
	TsModule *m;
	TsCtx *cx;
	TsArena *a;
	TsGraph *g;
	const TsRewriteOptions *opt;
	const bool *off;           /* by rule */
	uint64_t steps, limit;
	bool changed;
	TS_VEC(TsVal) repl;        /* repl.p[v]: what stands for v now, 0: itself */
	TS_VEC(uint32_t) uses;     /* at the beginning of the sweep, kept up roughly; larger than 0 when alive */
};

/* ---- for the driver ---- */
uint32_t ts_rule_count(void);
const TsRule *ts_rule(uint32_t i);
/* Tries the rules for n's operator in file order; on success the new nodes are in `made` and the value that replaces n's is returned. */
TsVal ts_match_node(TsRw *rw, TsNode *n, TsBlock *made, const TsRule **fired);
bool ts_rw_pass_on(const TsRw *rw, const char *pass);
bool ts_rw_same_numerics(const TsNumerics *a, const TsNumerics *b);
bool ts_rw_same_attr(const TsAttr *a, const TsAttr *b);
void ts_rw_trace(TsRw *rw, const char *what, const TsNode *n);
/* One walk each; sets rw->changed when something happened. */
void ts_rw_cse(TsRw *rw);
void ts_rw_dce(TsRw *rw);
void ts_rw_hoist(TsRw *rw);
void ts_rw_fold(TsRw *rw, int64_t most);   /* results of at most `most` elements */
void ts_rw_names(TsRw *rw);
TsSym ts_rw_name_base(TsCtx *cx, TsSym name);   /* y.12 -> y; a name without number is its own base, NULL is NULL */

/* ---- for the functions of rules ---- */
#define RW_COND(name) bool ts_rw_cond_##name(__attribute__((unused)) TsMatch *m, __attribute__((unused)) const TsArg *a)
#define RW_VALUE(name) TsVal ts_rw_value_##name(__attribute__((unused)) TsMatch *m, __attribute__((unused)) const TsArg *a)
#define RW_ATTR(name) TsAttr ts_rw_attr_##name(__attribute__((unused)) TsMatch *m, __attribute__((unused)) const TsArg *a)
#define RW_NUMBER(name) double ts_rw_number_##name(__attribute__((unused)) TsMatch *m, __attribute__((unused)) const TsArg *a)

TsVal ts_rw_now(const TsRw *rw, TsVal v);                       /* what stands for v */
TsNode *ts_rw_def(const TsMatch *m, TsVal v);                   /* its node, NULL for 0 and for arguments of bodies */
bool ts_rw_is(const TsMatch *m, TsVal v, TsOp op, TsNode **n);  /* *n may be NULL */
TsVal ts_rw_in(const TsMatch *m, const TsNode *n, uint32_t i);
const TsType *ts_rw_type(const TsMatch *m, TsVal v);
bool ts_rw_once(const TsMatch *m, TsVal v);                     /* used at one place at most */
/* All elements are the same literal: seen through broadcast, reshape and transpose. */
bool ts_rw_uniform(const TsMatch *m, TsVal v, double *x);
/* x and y are the same number in type t, give or take a unit or two in the last place. */
bool ts_rw_near(TsDtype t, double x, double y);
bool ts_rw_broadcasts(const TsMatch *m, const TsType *t, const TsType *to); /* t stretches to `to` by the trailing-axes rule */
/* Building. op with operands in[0..nin); attr NULL: defaults. */
TsVal ts_rw_op(TsMatch *m, TsOp op, uint32_t nin, const TsVal *in, const TsAttr *attr);
TsVal ts_rw_scalar(TsMatch *m, TsDtype t, double x);
TsVal ts_rw_reshape(TsMatch *m, TsVal x, uint32_t rank, const TsDim *dim);
TsVal ts_rw_transpose(TsMatch *m, TsVal x, uint32_t rank, const int64_t *perm);
TsAttr *ts_rw_attrs(TsMatch *m, TsOp op);
TsAttr *ts_rw_attr_of(TsMatch *m, TsOp op, TsAttr *list, const char *name);
/* Axes of a reduction or softmax as a bit mask; the permutation of a transpose. */
uint32_t ts_rw_axes(const TsMatch *m, const TsNode *n);
void ts_rw_perm(const TsMatch *m, const TsNode *transpose, int64_t perm[TS_MAX_RANK]);
bool ts_rw_keepdims(const TsMatch *m, const TsNode *n);
