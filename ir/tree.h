/* The syntax tree that all text levels share: .tg files, schedule and .tile. The parser makes it, the printer prints it, `tsc fmt` is
 * print(parse(t)) with comments; Graph IR is read from it; Tile IR *is* such a tree whose nodes carry types (note) once verified, and
 * schedule functions build it directly. A node has a kind, a place, maybe a name or number, and kids; NULL kids are omitted parts. */
#pragma once
#include "ir/dtype.h"

/* TS_TREE(kind, kids) */
#define TS_TREE_KINDS(X) \
	/* expressions */ \
	X(INT)       /* i */ \
	X(FLOAT)     /* f */ \
	X(BITS)      /* bits(i, f32): i, sub = dtype */ \
	X(STR)       /* name = the bytes, unescaped */ \
	X(NAME)      /* name */ \
	X(DTYPE)     /* i = TsDtype */ \
	X(TRUE) X(FALSE) X(NONE) X(INF) X(NAN) X(ELLIPSIS) \
	X(LIST)      /* items */ \
	X(NEG)       /* x */ \
	X(NOT)       /* x */ \
	X(BIN)       /* sub = TsInfix: a, b */ \
	X(CALL)      /* callee (NAME, or FIELD for x.f(...)), arguments, keyword ones as KW */ \
	X(KW)        /* name = value: value */ \
	X(FIELD)     /* x.name: x */ \
	X(WNAME)     /* x."name": x */ \
	X(INDEX)     /* x, indices: expression, RANGE, ELLIPSIS or NONE each */ \
	X(RANGE)     /* lo, hi, step (any may be NULL) */ \
	/* types */ \
	X(TYPE)      /* i = dtype, sub = 1 + accumulator dtype or 0: sizes (expression or SOME), then ANNOT; flag TS_TF_SCALAR_WORD: `idx` */ \
	X(TYPE_LIKE) /* i = dtype, name: annots */ \
	X(TYPE_OP)   /* LIST of types, LIST of types */ \
	X(TYPE_WORD) /* name: weights, and words of kernels: idx, pos, bar, tmap, buf */ \
	X(TYPE_NONE) /* annotations alone: annots */ \
	X(SOME)      /* name */ \
	X(ANNOT)     /* @name(args): args as in CALL */ \
	/* statements */ \
	X(LET)       /* LIST of BIND, rhs, ATTRS or NULL */ \
	X(BIND)      /* name: type or NULL */ \
	X(EXPR)      /* call statement: CALL, ATTRS or NULL */ \
	X(SET)       /* LIST of places, rhs, ATTRS or NULL */ \
	X(YIELD) X(EMIT) /* expressions */ \
	X(UNTIL)     /* x */ \
	X(NUMERICS)  /* ATTRS */ \
	X(ATTRS)     /* KW each */ \
	X(BLOCK)     /* statements */ \
	X(FOR)       /* name = variable: RANGE, WITH or NULL, BLOCK */ \
	X(SCAN)      /* LIST of KW (name in value), axis or NULL, WITH or NULL, BLOCK; i = reverse */ \
	X(LOOP)      /* WITH, max or NULL, BLOCK */ \
	X(IF)        /* condition, BLOCK, BLOCK or IF or NULL */ \
	X(WITH)      /* KW each */ \
	X(GRID)      /* KW (name in RANGE) each */ \
	X(GROUP)     /* name: LIST of args, BLOCK */ \
	X(DIMS)      /* DIM each */ \
	X(DIM)       /* name: lower bound, definition, upper bound, multiple (each may be NULL) */ \
	X(INPUT)     /* name: type, expr */ \
	X(EXPECT)    /* expr, within or NULL; or STR (error code) with i = 1 */ \
	/* statements of Tile IR (docs/tile.md) */ \
	X(LAYOUT)    /* name: LIST of dim NAMEs, DIGIT each, maybe SWIZZLE last */ \
	X(DIGIT)     /* name = axis letter, i = extent, sub = stride; kid 0: dim NAME or NULL when replicated */ \
	X(SWIZZLE)   /* i = bytes (128, 64, 32) */ \
	X(SMEM)      /* name: type, ATTRS or NULL */ \
	X(RING)      /* name: stage count, LIST of BIND, ATTRS or NULL */ \
	X(ROLE)      /* name: ATTRS, BLOCK */ \
	X(ONE)       /* BLOCK: run by one elected thread */ \
	/* items */ \
	X(FILE)      /* i = version, name = "tessera" or "tile": items */ \
	X(CONST)     /* name: type or NULL, expr */ \
	X(META)      /* ATTRS */ \
	X(SOURCE)    /* name: STR */ \
	X(WEIGHTS)   /* name: LIST of STR or NULL, seed or NULL, MANIFEST or NULL; i = trainable */ \
	X(MANIFEST)  /* ENTRY each */ \
	X(ENTRY)     /* name: type, expr or NULL */ \
	X(STATE)     /* name: type, expr */ \
	X(MESH)      /* name: KW each */ \
	X(IMPORT)    /* name: SIG, STR or NULL, ATTRS or NULL */ \
	X(GRAPH)     /* name: SIG, BLOCK, ATTRS or NULL; sub = 1 per_device */ \
	X(FN)        /* the same */ \
	X(KERNEL)    /* name: SIG, BLOCK, ATTRS or NULL */ \
	X(TEST)      /* STR, BLOCK */ \
	X(SIG)       /* LIST of PARAM, LIST of PARAM (results) or NULL */ \
	X(PARAM)     /* name: type; i = 1 const parameter (type a TYPE_WORD) */

typedef enum {
#define X(k) TS_TREE_##k,
	TS_TREE_KINDS(X)
#undef X
} TsTreeKind;

typedef enum { TS_IN_OR, TS_IN_AND, TS_IN_EQ, TS_IN_NE, TS_IN_LT, TS_IN_LE, TS_IN_GT, TS_IN_GE, TS_IN_ADD, TS_IN_SUB, TS_IN_MUL, TS_IN_DIV,
	TS_IN_FLOORDIV, TS_IN_MOD, TS_IN_MATMUL, TS_IN_POW } TsInfix;

enum { TS_TF_PENDING = 1 /* type f32[..]!: an asynchronous result in flight */, TS_TF_PER_DEVICE = 2 };

/* control characters, which no comment holds */
#define TS_DOC_HERE "\001"
#define TS_BESIDE "\002"

typedef struct TsTree TsTree;
struct TsTree {
	uint16_t kind, flags;
	int32_t sub;
	TsSpan at;
	TsSym name;
	union { int64_t i; double f; };
	uint32_t n, cap;
	TsTree **kid;
	TsSym doc;          /* `##` text of an item or statement */
	/* Plain comments, kept for fmt only. Statements and items: the lines before it, a line TS_DOC_HERE standing for each line of doc that
	 * has its place among them, and `tail` after it on its line, with as many blanks before it as its column when it is to stand in one.
	 * Blocks: tail after the brace, comment before the closing one. Other nodes: comment before it inside its statement, tail before its
	 * closing bracket; a line that begins with TS_BESIDE ends the line before. */
	TsSym comment, tail;
	void *note;         /* what the level's verifier found: a type, a declaration; not printed */
};

TsTree *ts_tree(TsCtx *cx, TsTreeKind kind, TsSpan at, uint32_t n, ...);  /* n kids as TsTree * arguments */
TsTree *ts_tree_int(TsCtx *cx, TsSpan at, int64_t v);
TsTree *ts_tree_float(TsCtx *cx, TsSpan at, double v);
TsTree *ts_tree_name(TsCtx *cx, TsSpan at, const char *name);
TsTree *ts_tree_str(TsCtx *cx, TsSpan at, const char *s);
TsTree *ts_tree_bin(TsCtx *cx, TsInfix op, TsTree *a, TsTree *b);
TsTree *ts_tree_kw(TsCtx *cx, const char *name, TsTree *value);
void ts_tree_add(TsCtx *cx, TsTree *to, TsTree *kid);
const char *ts_infix_text(TsInfix op);
const char *ts_tree_kind_name(TsTreeKind k);
/* Same text when printed (comments and places aside). */
bool ts_tree_eq(const TsTree *a, const TsTree *b);
