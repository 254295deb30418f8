/* Inside of the parser, shared by parse*.c. After an error the token stream stands still at a BAD token, so that every loop ends and
 * no function needs to look at results; the statement loop (parse_block, parse_file) reports once, drops the statement and goes on. */
#pragma once
#include "frontend/graph_text/lexer.h"
#include "frontend/graph_text/parse.h"

enum { TS_MAX_DEPTH = 64, TS_MAX_HEIGHT = 500 };

typedef struct {
	TsCtx *cx;
	TsTokens lex;
	uint32_t at;        /* token */
	uint32_t depth;     /* of nesting: brackets, blocks */
	uint32_t height;    /* of the expression parsed last */
	uint32_t comments;  /* claimed so far */
	bool failed;        /* this statement */
	bool tile, in_test, in_kernel;
	TsBuf lines, docs;  /* of the statement being parsed: its comments before and inside it */
	bool has_doc;
	TsSym word[32];     /* contextual words, by TsWord */
} P;

#define TS_WORDS(X) X(graph) X(fn) X(dims) X(const) X(numerics) X(meta) X(source) X(trainable) X(state) X(mesh) X(import) X(per_device) \
	X(kernel) X(test) X(grid) X(group) X(input) X(expect) X(step) X(axis) X(reverse) X(max) X(with) X(like) X(within) X(some) X(in) \
	X(from) X(seed) X(multiple_of) X(error) X(bits)
typedef enum {
#define X(w) W_##w,
	TS_WORDS(X)
#undef X
} TsWord;

const TsTok *ts_p_peek(const P *p);
const TsTok *ts_p_peek2(const P *p);
bool ts_p_is(const P *p, TsTokKind k);
bool ts_p_is_word(const P *p, TsWord w);
bool ts_p_accept(P *p, TsTokKind k);
bool ts_p_accept_word(P *p, TsWord w);
void ts_p_expect(P *p, TsTokKind k);
void ts_p_expect_word(P *p, TsWord w);
TsSym ts_p_name(P *p, const char *what);           /* a NAME token; "" after reporting */
int64_t ts_p_int(P *p);
TsSpan ts_p_span(const P *p);                      /* of the current token */
TsSpan ts_p_from(const P *p, TsSpan begin);        /* from there to the last token read */
void ts_p_fail(P *p, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* at the current token */
void ts_p_fail_expected(P *p, const char *what);
bool ts_p_enter(P *p);                             /* one level deeper; pairs with leave */
void ts_p_leave(P *p);
void ts_p_skip_lines(P *p);
bool ts_p_list_goes_on(P *p, TsTokKind close);     /* after an element of a list: `,` and no closing bracket next */
/* After an element of `{ x NL x NL }`: whether another follows; otherwise eats the `}`. */
bool ts_p_braced_goes_on(P *p);

void ts_p_resume(P *p, uint32_t first);            /* goes on after the failed statement that began at that token */

TsTree *ts_p_expr(P *p);
TsTree *ts_p_args(P *p, TsTree *call);             /* "(" … ")" appended to call */
TsTree *ts_p_index(P *p, TsTree *x);
TsTree *ts_p_range(P *p);                          /* a..b step c */
TsTree *ts_p_type(P *p);
TsTree *ts_p_attrs(P *p);                          /* "{" … "}" */
TsTree *ts_p_attrs_maybe(P *p);                    /* NULL when none */
TsTree *ts_p_block(P *p);
TsTree *ts_p_stmt(P *p);
TsTree *ts_p_dims(P *p);                           /* after the word */
TsTree *ts_p_item(P *p);
TsTree *ts_p_tile_stmt(P *p);                      /* a statement of Tile IR, or NULL when none begins here */

/* Comments: lines before the current token go to the statement begun; at its end the rest goes to it or its tail. */
typedef struct { TsBuf lines, docs; bool has_doc; } TsHeld;
TsHeld ts_p_begin(P *p, bool first_in_block);
void ts_p_end(P *p, TsHeld outer, TsTree *t);      /* t may be NULL: a failed statement */
void ts_p_claim(P *p, uint32_t before);            /* comments inside a statement become lines before it */
TsSym ts_p_inner(P *p, uint32_t at);               /* comments inside a statement, before token `at`, that keep their place; or NULL */
void ts_p_attach(P *p, TsTree *t, TsSym comment);  /* to be printed before t */
TsSym ts_p_last_lines(P *p, bool empty);           /* comments that no statement follows, before `}` or the end; NULL when none */
TsSym ts_p_line_tail(P *p);                        /* a comment that ends the line of the last token, or NULL */
