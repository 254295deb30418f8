#include "frontend/graph_text/parse_int.h"
#include <string.h>

/* ---- the token stream ---- */

static const TsTok still = { .kind = TS_TOK_BAD };

const TsTok *ts_p_peek(const P *p) { return p->failed ? &still : &p->lex.tok.p[p->at]; }
const TsTok *ts_p_peek2(const P *p) { return p->failed || p->at + 1 >= p->lex.tok.n ? &still : &p->lex.tok.p[p->at + 1]; }
bool ts_p_is(const P *p, TsTokKind k) { return ts_p_peek(p)->kind == k; }

bool ts_p_is_word(const P *p, TsWord w)
{
	const TsTok *t = ts_p_peek(p);
	return t->kind == TS_TOK_NAME && !t->quoted && t->name == p->word[w];
}

bool ts_p_accept(P *p, TsTokKind k)
{
	if (!ts_p_is(p, k)) return false;
	p->at++;
	return true;
}

bool ts_p_accept_word(P *p, TsWord w)
{
	if (!ts_p_is_word(p, w)) return false;
	p->at++;
	return true;
}

TsSpan ts_p_span(const P *p)
{
	const TsTok *t = &p->lex.tok.p[p->at < p->lex.tok.n ? p->at : p->lex.tok.n - 1];
	return (TsSpan){ p->lex.file, t->begin, t->end };
}

TsSpan ts_p_from(const P *p, TsSpan begin)
{
	uint32_t end = p->at > 0 ? p->lex.tok.p[p->at - 1].end : begin.end;
	return (TsSpan){ begin.file, begin.begin, end > begin.end ? end : begin.end };
}

void ts_p_fail(P *p, const char *fmt, ...)
{
	if (p->failed) return;
	p->failed = true;
	if (p->lex.tok.p[p->at].kind == TS_TOK_BAD) return; /* the lexer has complained */
	TsBuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(&b, fmt, ap);
	va_end(ap);
	ts_error(p->cx, ts_p_span(p), "E_SYNTAX", "%s", b.p ? b.p : "");
	ts_buf_free(&b);
}

void ts_p_fail_expected(P *p, const char *what)
{
	const TsTok *t = ts_p_peek(p);
	if (t->kind == TS_TOK_NAME) ts_p_fail(p, "expected %s, found name '%s'", what, t->name);
	else if (t->kind == TS_TOK_DTYPE) ts_p_fail(p, "expected %s, found element type '%s'", what, t->name);
	else if (t->kind >= TS_TOK_FIRST_WORD && t->kind <= TS_TOK_LAST_WORD) ts_p_fail(p, "expected %s, found keyword '%s'", what, t->name);
	else if (t->kind >= TS_TOK_FIRST_PUNCT) ts_p_fail(p, "expected %s, found '%s'", what, ts_tok_text(t->kind));
	else ts_p_fail(p, "expected %s, found %s", what, ts_tok_text(t->kind));
}

void ts_p_expect(P *p, TsTokKind k)
{
	char quoted[32];
	if (ts_p_accept(p, k)) return;
	if (k < TS_TOK_FIRST_WORD) { ts_p_fail_expected(p, ts_tok_text(k)); return; }
	snprintf(quoted, sizeof quoted, "'%s'", ts_tok_text(k));
	ts_p_fail_expected(p, quoted);
}

void ts_p_expect_word(P *p, TsWord w)
{
	char quoted[32];
	if (ts_p_accept_word(p, w)) return;
	snprintf(quoted, sizeof quoted, "'%s'", p->word[w]);
	ts_p_fail_expected(p, quoted);
}

TsSym ts_p_name(P *p, const char *what)
{
	const TsTok *t = ts_p_peek(p);
	if (t->kind != TS_TOK_NAME) { ts_p_fail_expected(p, what); return ts_intern(p->cx, ""); }
	p->at++;
	return t->name;
}

int64_t ts_p_int(P *p)
{
	const TsTok *t = ts_p_peek(p);
	if (t->kind != TS_TOK_INT) { ts_p_fail_expected(p, "an integer"); return 0; }
	if (t->i > INT64_MAX) { ts_p_fail(p, "number is too large for 64 bits"); return 0; }
	p->at++;
	return (int64_t)t->i;
}

bool ts_p_enter(P *p)
{
	if (p->depth >= TS_MAX_DEPTH) {
		if (!p->failed) ts_error(p->cx, ts_p_span(p), "E_LIMIT", "more than %d levels of nesting", TS_MAX_DEPTH);
		p->failed = true;
		return false;
	}
	p->depth++;
	return true;
}

void ts_p_leave(P *p) { p->depth--; }

void ts_p_skip_lines(P *p) { while (ts_p_accept(p, TS_TOK_NL)) {} }

bool ts_p_list_goes_on(P *p, TsTokKind close)
{
	if (p->failed) return false;
	if (ts_p_accept(p, TS_TOK_COMMA)) return !ts_p_is(p, close);
	if (ts_p_is(p, close)) return false;
	char what[32];
	snprintf(what, sizeof what, "',' or '%s'", ts_tok_text(close));
	ts_p_fail_expected(p, what);
	return false;
}

bool ts_p_braced_goes_on(P *p)
{
	bool parted = ts_p_accept(p, TS_TOK_COMMA) || ts_p_is(p, TS_TOK_NL);
	ts_p_skip_lines(p);
	if (ts_p_accept(p, TS_TOK_RBRACE)) return false;
	if (!parted || ts_p_is(p, TS_TOK_EOF)) { ts_p_fail_expected(p, "',', end of line or '}'"); return false; }
	return !p->failed;
}

/* ---- comments ---- */

static void add_line(TsBuf *b, const char *text)
{
	bool after_empty = !b->n || (b->n >= 2 ? b->p[b->n - 2] == '\n' : b->p[0] == '\n');
	if (!*text && b->n && after_empty) return; /* one empty line is enough */
	ts_buf_str(b, text);
	ts_buf_char(b, '\n');
}

static void add_doc(P *p, TsSym text)
{
	if (p->has_doc) ts_buf_char(&p->docs, '\n');
	ts_buf_str(&p->docs, text);
	ts_buf_str(&p->lines, TS_DOC_HERE "\n");
	p->has_doc = true;
}

static void claim(P *p, uint32_t before, bool blanks)
{
	for (; p->comments < p->lex.comment.n && p->lex.comment.p[p->comments].begin < before; p->comments++) {
		const TsComment *c = &p->lex.comment.p[p->comments];
		if (c->blank && blanks) add_line(&p->lines, "");
		if (c->doc) add_doc(p, c->text);
		else add_line(&p->lines, c->text);
	}
}

void ts_p_claim(P *p, uint32_t before) { claim(p, before, false); }

TsSym ts_p_inner(P *p, uint32_t at)
{
	TsBuf b = { 0 };
	const char *text = ts_source_text(p->cx, p->lex.file, NULL);
	uint32_t last = at > 0 ? p->lex.tok.p[at - 1].end : 0;
	for (; p->comments < p->lex.comment.n && p->lex.comment.p[p->comments].begin < p->lex.tok.p[at].begin; p->comments++) {
		const TsComment *c = &p->lex.comment.p[p->comments];
		if (c->doc) { add_doc(p, c->text); continue; }
		bool beside = c->begin >= last && !memchr(text + last, '\n', c->begin - last);
		ts_buf_fmt(&b, "%s%s\n", beside ? TS_BESIDE : "", c->text);
	}
	TsSym s = b.n ? ts_intern_n(p->cx, b.p, b.n - 1) : NULL;
	ts_buf_free(&b);
	return s;
}

void ts_p_attach(P *p, TsTree *t, TsSym comment)
{
	if (comment) t->comment = t->comment ? ts_intern_fmt(p->cx, "%s\n%s", comment, t->comment) : comment;
}

/* The next unclaimed comment, if it ends the line of the last token read. */
static const TsComment *line_end_comment(const P *p)
{
	if (p->comments >= p->lex.comment.n || p->at == 0) return NULL;
	const TsComment *c = &p->lex.comment.p[p->comments];
	const TsTok *next = &p->lex.tok.p[p->at];
	const char *text = ts_source_text(p->cx, p->lex.file, NULL);
	uint32_t from = p->lex.tok.p[p->at - 1].end;
	if (c->begin < from || memchr(text + from, '\n', c->begin - from)) return NULL;
	return next->kind == TS_TOK_NL || next->kind == TS_TOK_EOF || c->begin < next->begin ? c : NULL;
}

TsSym ts_p_line_tail(P *p)
{
	const TsComment *c = line_end_comment(p);
	if (!c || c->doc) return NULL;
	p->comments++;
	/* one that stands further off is in a column of comments: that is kept as blanks before it, unless far out */
	const char *text = ts_source_text(p->cx, p->lex.file, NULL);
	uint32_t column = 0, gap = c->begin - p->lex.tok.p[p->at - 1].end;
	for (uint32_t i = c->begin; i > 0 && text[i - 1] != '\n'; i--) column += ((unsigned char)text[i - 1] & 0xc0) != 0x80;
	return gap < 3 || column > 100 ? c->text : ts_intern_fmt(p->cx, "%*s%s", (int)column, "", c->text);
}

static void drop_first_empty(TsBuf *b)
{
	size_t skip = 0;
	while (skip < b->n && b->p[skip] == '\n') skip++;
	if (!skip) return;
	memmove(b->p, b->p + skip, b->n - skip + 1);
	b->n -= skip;
}

TsHeld ts_p_begin(P *p, bool first_in_block)
{
	TsHeld outer = { p->lines, p->docs, p->has_doc };
	const TsTok *t = &p->lex.tok.p[p->at];
	p->lines = p->docs = (TsBuf){ 0 };
	p->has_doc = false;
	claim(p, t->begin, true);
	if (t->blank) add_line(&p->lines, "");
	if (first_in_block) drop_first_empty(&p->lines);
	return outer;
}

static void give_back(P *p, TsHeld outer)
{
	ts_buf_free(&p->lines);
	ts_buf_free(&p->docs);
	p->lines = outer.lines;
	p->docs = outer.docs;
	p->has_doc = outer.has_doc;
}

void ts_p_end(P *p, TsHeld outer, TsTree *t)
{
	if (t) {
		claim(p, p->lex.tok.p[p->at - 1].end, false);
		const TsComment *c = line_end_comment(p);
		if (c && c->doc) { /* `##` at the end of a line documents that line */
			add_doc(p, c->text);
			p->comments++;
		} else {
			t->tail = ts_p_line_tail(p);
		}
		if (p->lines.n) t->comment = ts_intern_n(p->cx, p->lines.p, p->lines.n);
		if (p->has_doc) t->doc = ts_intern_n(p->cx, p->docs.p ? p->docs.p : "", p->docs.n);
	}
	give_back(p, outer);
}

TsSym ts_p_last_lines(P *p, bool empty)
{
	TsHeld outer = ts_p_begin(p, empty);
	if (p->has_doc) {
		ts_error(p->cx, ts_p_span(p), "E_SYNTAX", "'##' documents the next statement or item, and none follows");
		ts_hint(p->cx, "'#' begins a plain comment");
	}
	while (p->lines.n && p->lines.p[p->lines.n - 1] == '\n' && (p->lines.n == 1 || p->lines.p[p->lines.n - 2] == '\n')) p->lines.n--;
	TsSym s = p->lines.n ? ts_intern_n(p->cx, p->lines.p, p->lines.n) : NULL;
	give_back(p, outer);
	return s;
}

/* ---- whole texts ---- */

static void set_up(P *p, TsCtx *cx)
{
	static const char *const text[] = {
#define X(w) #w,
		TS_WORDS(X)
#undef X
	};
	*p = (P){ .cx = cx };
	_Static_assert(sizeof text / sizeof *text <= sizeof p->word / sizeof *p->word, "P.word holds every word");
	for (size_t i = 0; i < sizeof text / sizeof *text; i++) p->word[i] = ts_intern(cx, text[i]);
}

/* header = ("tessera" | "tile") INT NL */
static void header(P *p, TsTree *file)
{
	const TsTok *t = ts_p_peek(p);
	bool known = t->kind == TS_TOK_NAME && (!strcmp(t->name, "tessera") || !strcmp(t->name, "tile"));
	if (!known) {
		ts_p_fail(p, "a file begins with its version: 'tessera 1', or 'tile 1' for kernels of Tile IR");
		return;
	}
	p->tile = !strcmp(t->name, "tile");
	file->name = t->name;
	p->at++;
	TsSpan at = ts_p_span(p);
	file->i = ts_p_int(p);
	if (!p->failed && file->i != 1) {
		ts_error(p->cx, at, "E_VERSION", "this tsc reads versions 1 to 1");
		if (file->i > 1) ts_hint(p->cx, "written by a newer tsc; see 'meta'");
		p->failed = true;
	}
	if (!ts_p_is(p, TS_TOK_NL)) ts_p_fail_expected(p, "end of line");
}

/* file = header { item NL } */
static TsTree *file_tree(P *p)
{
	TsTree *t = ts_tree(p->cx, TS_TREE_FILE, ts_p_span(p), 0);
	ts_p_skip_lines(p);
	TsHeld outer = ts_p_begin(p, true);
	header(p, t);
	if (p->failed) { give_back(p, outer); return NULL; }
	ts_p_end(p, outer, t);
	ts_p_skip_lines(p);
	while (!ts_p_is(p, TS_TOK_EOF)) {
		uint32_t first = p->at;
		outer = ts_p_begin(p, false);
		TsTree *item = ts_p_item(p);
		if (!p->failed && !ts_p_is(p, TS_TOK_NL)) ts_p_fail_expected(p, "end of line");
		ts_p_end(p, outer, p->failed ? NULL : item);
		if (p->failed) {
			ts_p_resume(p, first);
			while (ts_p_accept(p, TS_TOK_RBRACE)) {} /* one that closes nothing */
		} else ts_tree_add(p->cx, t, item);
		ts_p_skip_lines(p);
	}
	TsSym last = ts_p_last_lines(p, false);
	if (t->doc) {
		ts_error(p->cx, t->at, "E_SYNTAX", "the version line takes no documentation");
		ts_hint(p->cx, "'#' begins a plain comment");
	}
	t->at = ts_p_from(p, t->at);
	if (last) t->comment = ts_intern_fmt(p->cx, "%s\f%s", t->comment ? t->comment : "", last);
	return t;
}

TsTree *ts_parse(TsCtx *cx, uint32_t source)
{
	P p;
	size_t size;
	const char *text = ts_source_text(cx, source, &size);
	uint32_t errors = ts_error_count(cx);
	set_up(&p, cx);
	ts_lex(cx, source, text, size, 0, &p.lex);
	TsTree *t = file_tree(&p);
	ts_buf_free(&p.lines);
	ts_buf_free(&p.docs);
	return ts_error_count(cx) == errors ? t : NULL;
}

TsTree *ts_parse_expr(TsCtx *cx, uint32_t file, const char *text, size_t size, uint32_t base)
{
	P p;
	uint32_t errors = ts_error_count(cx);
	set_up(&p, cx);
	ts_lex(cx, file, text, size, base, &p.lex);
	TsTree *t = ts_p_expr(&p);
	if (!ts_p_is(&p, TS_TOK_NL) && !ts_p_is(&p, TS_TOK_EOF)) ts_p_fail_expected(&p, "end of the expression");
	return ts_error_count(cx) == errors ? t : NULL;
}
