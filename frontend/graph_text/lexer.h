/* Tokens of every text level. The whole text is cut at once: tokens, with a NL token where a statement ends (docs/tg.md: never
 * inside round or square brackets that close, after an infix operator, `,` `=` `:` `.` or an opening bracket, or before `->`), and
 * comments apart. Bad text is reported (E_SYNTAX) and leaves a BAD token, at which the parser stops without a second complaint. */
#pragma once
#include "support/ctx.h"

#define TS_TOKENS(X) \
	X(EOF, "end of file") X(NL, "end of line") X(BAD, "unreadable text") X(INT, "a number") X(FLOAT, "a number") X(STR, "a string") \
	X(NAME, "a name") X(DTYPE, "an element type") \
	X(SET, "set") X(YIELD, "yield") X(EMIT, "emit") X(UNTIL, "until") X(FOR, "for") X(SCAN, "scan") X(LOOP, "loop") X(IF, "if") \
	X(ELSE, "else") X(AND, "and") X(OR, "or") X(NOT, "not") X(TRUE, "true") X(FALSE, "false") X(NONE, "none") X(INF, "inf") \
	X(NAN, "nan") X(WEIGHTS, "weights") X(OP, "op") \
	X(LPAREN, "(") X(RPAREN, ")") X(LBRACKET, "[") X(RBRACKET, "]") X(LBRACE, "{") X(RBRACE, "}") X(COMMA, ",") X(COLON, ":") \
	X(ELLIPSIS, "...") X(DOTDOT, "..") X(DOT, ".") X(ARROW, "->") X(EQ, "==") X(NE, "!=") X(LE, "<=") X(GE, ">=") X(LT, "<") \
	X(GT, ">") X(ASSIGN, "=") X(ADD, "+") X(SUB, "-") X(POW, "**") X(MUL, "*") X(FLOORDIV, "//") X(DIV, "/") X(MOD, "%") X(AT, "@") \
	X(BANG, "!")

typedef enum {
#define X(id, text) TS_TOK_##id,
	TS_TOKENS(X)
#undef X
	TS_TOK_COUNT,
	TS_TOK_FIRST_WORD = TS_TOK_SET, TS_TOK_LAST_WORD = TS_TOK_OP, TS_TOK_FIRST_PUNCT = TS_TOK_LPAREN,
} TsTokKind;

typedef struct {
	uint8_t kind;
	bool first, blank;  /* first of its line; an empty line before it */
	bool quoted;        /* a name in backticks */
	uint32_t begin, end;
	TsSym name;         /* NAME, words, DTYPE: text; STR: the bytes, unescaped */
	union { uint64_t i; double f; }; /* DTYPE: i = TsDtype */
} TsTok;

typedef struct { uint32_t begin, end; bool doc, blank; TsSym text; } TsComment; /* text: doc without `##`, else all of it */

typedef struct {
	TsCtx *cx;
	uint32_t file;
	TS_VEC(TsTok) tok;       /* ends with NL, EOF */
	TS_VEC(TsComment) comment;
} TsTokens;

/* Tokens of a text whose first byte lies at `base` of `file`. */
void ts_lex(TsCtx *cx, uint32_t file, const char *text, size_t size, uint32_t base, TsTokens *out);
const char *ts_tok_text(TsTokKind k);
/* Whether `s` can be written without backticks. */
bool ts_is_plain_name(TsSym s);
