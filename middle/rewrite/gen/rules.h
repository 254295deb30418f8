/* The rule language as the generator sees it. docs/rewrites.md describes it for writers of rules.
 *
 *   rule    = NAME ":" pattern [ "where" call { "," call } ] "=>" make [ "!exacter" | "!fuse" | "!reorder" | "!approx" ]
 *   pattern = NAME | "_" | NUMBER | "#" NAME | [ NAME ":" ] "(" ops ( { pattern } | "..." ) { NAME "=" literal-or-NAME } ")"
 *   ops     = OP { "|" OP } | "@" FLAG | "^"
 *   make    = NAME | NUMBER | "#" call | call | "(" ( OP | "^" ) { make } { NAME "=" ( literal | NAME | call ) } ")"
 *   call    = NAME "(" [ NAME { "," NAME } ] ")"
 * A rule ends where the next line begins in column 1; # starts a comment when a space or nothing follows it. */
#pragma once
#include "ir/op.h"
#include "support/map.h"

typedef struct { TsSym name; TsSpan at; TS_VEC(TsSym) args; TS_VEC(uint8_t) slots; } GenCall;

typedef enum { GV_NAME, GV_INT, GV_FLOAT, GV_STR, GV_NONE, GV_CALL } GenValueKind;
typedef struct { TsSym key; TsSpan at; GenValueKind kind; int64_t i; double f; TsSym s; GenCall call; uint8_t index, slot; TsAttrKind type; } GenAttr;

typedef enum { GP_VAR, GP_ANY, GP_NUM, GP_UNIFORM, GP_OP } GenPatKind;
typedef struct GenPat GenPat;
struct GenPat {
	GenPatKind kind;
	TsSpan at;
	TsSym name;            /* VAR, UNIFORM; OP when bound, else NULL */
	uint8_t slot;          /* 255: none */
	double num;
	bool same, rest;       /* `^`, `...` */
	TS_VEC(TsOp) ops;      /* in table order */
	TS_VEC(TsSym) words;   /* as written */
	TsSym flag;
	TS_VEC(GenPat *) kids;
	TS_VEC(GenAttr) attrs;
};

typedef enum { GM_VAR, GM_NUM, GM_NUMCALL, GM_CALL, GM_OP } GenMakeKind;
typedef struct GenMake GenMake;
struct GenMake {
	GenMakeKind kind;
	TsSpan at;
	TsSym name;            /* VAR, OP */
	uint8_t slot;
	double num;
	bool same;
	TsOp op;
	GenCall call;
	TS_VEC(GenMake *) kids;
	TS_VEC(GenAttr) attrs;
};

typedef enum { GS_VALUE, GS_NUMBER, GS_ATTR } GenSlotKind;
typedef struct {
	TsSym name;
	TsSpan at, text;       /* text: from the pattern to the end, for the manual */
	GenPat *pat;
	TS_VEC(GenCall) where;
	GenMake *make;
	int mark;              /* 0 none, then as TsMark */
	TS_VEC(TsSym) slot_names;
	TS_VEC(uint8_t) slot_kinds;
	TS_VEC(uint8_t) slot_uses;
} GenRule;

typedef struct { TsCtx *cx; TS_VEC(GenRule *) rules; } GenRules;

/* Each reports with place and returns false on a mistake. */
bool gen_parse(GenRules *r, uint32_t file);
bool gen_check(GenRules *r);
void gen_emit(GenRules *r, FILE *to);
void gen_doc(GenRules *r, FILE *to);
