#include "frontend/graph_text/lexer.h"
#include "ir/dtype.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const tok_text[] = {
#define X(id, text) text,
	TS_TOKENS(X)
#undef X
};

static const char *const dtype_text[] = {
#define TS_DTYPE(id, name, kind, bits, compute) name,
#include "ir/dtypes.def"
};

typedef struct {
	TsTokens *out;
	TsCtx *cx;
	const char *s;
	uint32_t at, size, base;
	bool fresh_line, blank; /* no token on this line yet; an empty line lies before */
} Lexer;

const char *ts_tok_text(TsTokKind k) { return tok_text[k]; }

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
static bool is_word(char c) { return is_letter(c) || is_digit(c); }
static char look(const Lexer *l, uint32_t k) { return l->at + k < l->size ? l->s[l->at + k] : 0; }

static TsSpan span(const Lexer *l, uint32_t from, uint32_t to) { return (TsSpan){ l->out->file, l->base + from, l->base + to }; }

static TsTok *push(Lexer *l, TsTokKind kind, uint32_t from)
{
	TsTok t = { .kind = (uint8_t)kind, .first = l->fresh_line, .blank = l->blank, .begin = l->base + from, .end = l->base + l->at };
	l->fresh_line = l->blank = false;
	ts_push(ts_arena(l->cx), &l->out->tok, t);
	return &l->out->tok.p[l->out->tok.n - 1];
}

static bool keyword(const char *s, size_t n, TsTokKind *kind, uint64_t *dtype)
{
	for (int k = TS_TOK_FIRST_WORD; k <= TS_TOK_LAST_WORD; k++)
		if (strlen(tok_text[k]) == n && !memcmp(tok_text[k], s, n)) { *kind = (TsTokKind)k; return true; }
	for (size_t k = 0; k < sizeof dtype_text / sizeof *dtype_text; k++)
		if (strlen(dtype_text[k]) == n && !memcmp(dtype_text[k], s, n)) { *kind = TS_TOK_DTYPE; *dtype = k; return true; }
	return false;
}

bool ts_is_plain_name(TsSym s)
{
	size_t n = 0;
	TsTokKind kind;
	uint64_t dtype;
	if (!is_letter(s[0])) return false;
	while (is_word(s[n])) n++;
	if (keyword(s, n, &kind, &dtype)) return false;
	while (s[n] == '.' && is_digit(s[n + 1]))
		for (n++; is_digit(s[n]);) n++;
	return !s[n];
}

static void lex_name(Lexer *l)
{
	uint32_t from = l->at, n;
	TsTokKind kind = TS_TOK_NAME;
	uint64_t dtype = 0;
	while (is_word(look(l, 0))) l->at++;
	if (!keyword(l->s + from, l->at - from, &kind, &dtype)) {
		while (look(l, 0) == '.' && is_digit(look(l, 1))) { /* .digits, and only digits */
			for (n = 1; is_digit(look(l, n));) n++;
			if (is_letter(look(l, n))) break;
			l->at += n;
		}
	}
	TsTok *t = push(l, kind, from);
	t->name = ts_intern_n(l->cx, l->s + from, l->at - from);
	t->i = dtype;
}

static void lex_quoted_name(Lexer *l)
{
	uint32_t from = l->at++;
	while (l->at < l->size && look(l, 0) != '`' && (unsigned char)look(l, 0) >= 32) l->at++;
	bool closed = look(l, 0) == '`', empty = l->at == from + 1;
	TsSym name = ts_intern_n(l->cx, l->s + from + 1, l->at - from - 1);
	if (closed) l->at++;
	if (!closed || empty)
		ts_error(l->cx, span(l, from, l->at), "E_SYNTAX", closed ? "a name in backticks is empty" : "a name in backticks is not closed on its line");
	TsTok *t = push(l, closed && !empty ? TS_TOK_NAME : TS_TOK_BAD, from);
	t->name = name;
	t->quoted = true;
}

static void add_utf8(TsBuf *b, uint32_t c)
{
	if (c < 0x80) ts_buf_char(b, (char)c);
	else if (c < 0x800) { ts_buf_char(b, (char)(0xc0 | c >> 6)); ts_buf_char(b, (char)(0x80 | (c & 63))); }
	else if (c < 0x10000) { ts_buf_char(b, (char)(0xe0 | c >> 12)); ts_buf_char(b, (char)(0x80 | (c >> 6 & 63))); ts_buf_char(b, (char)(0x80 | (c & 63))); }
	else { ts_buf_char(b, (char)(0xf0 | c >> 18)); ts_buf_char(b, (char)(0x80 | (c >> 12 & 63))); ts_buf_char(b, (char)(0x80 | (c >> 6 & 63))); ts_buf_char(b, (char)(0x80 | (c & 63))); }
}

/* escape = `\"` `\\` `\n` `\t` `\u{hex}`; NULL, or what is wrong with it. */
static const char *lex_escape(Lexer *l, TsBuf *b)
{
	char c = look(l, 1);
	l->at += 2;
	switch (c) {
	case '"': case '\\': ts_buf_char(b, c); return NULL;
	case 'n': ts_buf_char(b, '\n'); return NULL;
	case 't': ts_buf_char(b, '\t'); return NULL;
	case 'u': {
		uint32_t v = 0, n = 0;
		if (look(l, 0) != '{') return "\\u needs {hex digits}";
		for (l->at++; is_hex(look(l, 0)) && n < 7; l->at++, n++) {
			char h = look(l, 0);
			v = v * 16 + (uint32_t)(is_digit(h) ? h - '0' : (h | 32) - 'a' + 10);
		}
		if (look(l, 0) != '}' || !n) return "\\u needs {hex digits}";
		l->at++;
		if (!v || v > 0x10ffff || (v >= 0xd800 && v < 0xe000)) return "\\u{…} is no character that a string may hold";
		add_utf8(b, v);
		return NULL;
	}
	default: l->at -= c && c != '\n' ? 0 : 1; return "unknown escape; there are \\\" \\\\ \\n \\t \\u{…}";
	}
}

static void lex_string(Lexer *l)
{
	uint32_t from = l->at++;
	bool bad = false;
	TsBuf b = { 0 };
	while (l->at < l->size && look(l, 0) != '"' && look(l, 0) != '\n') {
		uint32_t here = l->at;
		if (look(l, 0) == '\\') {
			const char *why = lex_escape(l, &b);
			if (l->at > l->size) l->at = l->size;
			if (why && !bad) { ts_error(l->cx, span(l, here, l->at), "E_SYNTAX", "%s", why); bad = true; }
		} else if ((unsigned char)look(l, 0) < 32 || look(l, 0) == 127) {
			if (!bad) ts_error(l->cx, span(l, here, here + 1), "E_SYNTAX", "control character in a string; write \\t, \\n or \\u{…}");
			bad = true;
			l->at++;
		} else {
			ts_buf_char(&b, look(l, 0));
			l->at++;
		}
	}
	if (look(l, 0) == '"') l->at++;
	else if (!bad) { ts_error(l->cx, span(l, from, l->at), "E_SYNTAX", "string is not closed on its line"); bad = true; }
	TsTok *t = push(l, bad ? TS_TOK_BAD : TS_TOK_STR, from);
	t->name = ts_intern_n(l->cx, b.p ? b.p : "", b.n);
	ts_buf_free(&b);
}

static bool lex_exponent(Lexer *l, char e)
{
	uint32_t n = 1;
	if ((look(l, 0) | 32) != e) return false;
	if (look(l, n) == '+' || look(l, n) == '-') n++;
	if (!is_digit(look(l, n))) return false;
	while (is_digit(look(l, n))) n++;
	l->at += n;
	return true;
}

/* INT = digits | 0x hex; FLOAT = digits . digits [e] | digits e | 0x hex [. hex] p. Digits stand on both sides of a point. */
static void lex_number(Lexer *l)
{
	uint32_t from = l->at;
	bool hex = look(l, 0) == '0' && look(l, 1) == 'x' && is_hex(look(l, 2)), real = false;
	bool (*digit)(char) = hex ? is_hex : is_digit;
	if (hex) l->at += 2;
	while (digit(look(l, 0))) l->at++;
	if (look(l, 0) == '.' && digit(look(l, 1))) {
		real = true;
		for (l->at++; digit(look(l, 0));) l->at++;
	}
	bool exponent = lex_exponent(l, hex ? 'p' : 'e');
	char text[512];
	uint32_t n = l->at - from;
	const char *why = NULL;
	if (n >= sizeof text) { why = "number is too long"; n = 0; }
	memcpy(text, l->s + from, n);
	text[n] = 0;
	if (hex && real && !exponent) why = "a hexadecimal fraction needs an exponent: 0x1.8p0";
	if (!hex && n > 1 && text[0] == '0' && is_digit(text[1])) why = "a number does not start with 0";
	if (!is_digit(text[0]) && !why) why = "not a number";
	errno = 0;
	TsTok *t = push(l, real || exponent ? TS_TOK_FLOAT : TS_TOK_INT, from);
	if (t->kind == TS_TOK_INT) {
		t->i = strtoull(text, NULL, hex ? 16 : 10);
		if (errno == ERANGE && !why) why = "number is too large";
	} else {
		t->f = strtod(text, NULL);
		if (t->f > 1.7976931348623157e308 && !why) why = "number is too large";
	}
	if (why) { ts_error(l->cx, span(l, from, l->at), "E_SYNTAX", "%s", why); t->kind = TS_TOK_BAD; }
}

static bool lex_punct(Lexer *l)
{
	for (int k = TS_TOK_FIRST_PUNCT; k < TS_TOK_COUNT; k++) { /* the longer ones stand first in the table */
		size_t n = strlen(tok_text[k]);
		if (l->size - l->at >= n && !memcmp(l->s + l->at, tok_text[k], n)) {
			uint32_t from = l->at;
			l->at += (uint32_t)n;
			push(l, (TsTokKind)k, from);
			return true;
		}
	}
	return false;
}

static void lex_comment(Lexer *l)
{
	uint32_t from = l->at, to, text;
	while (l->at < l->size && look(l, 0) != '\n') l->at++;
	for (to = l->at; to > from && (l->s[to - 1] == ' ' || l->s[to - 1] == '\t' || l->s[to - 1] == '\r');) to--;
	for (uint32_t i = from; i < to; i++) {
		unsigned char ch = (unsigned char)l->s[i];
		if ((ch >= 32 && ch != 127) || ch == '\t') continue;
		ts_error(l->cx, span(l, i, i + 1), "E_SYNTAX", "control character 0x%02x in a comment", ch);
		break;
	}
	TsComment c = { .begin = l->base + from, .end = l->base + l->at, .doc = to - from >= 2 && l->s[from + 1] == '#', .blank = l->blank };
	text = !c.doc ? from : from + 2 < to && l->s[from + 2] == ' ' ? from + 3 : from + 2;
	c.text = ts_intern_n(l->cx, l->s + text, to - text);
	l->blank = false;
	ts_push(ts_arena(l->cx), &l->out->comment, c);
}

/* Length of the valid UTF-8 sequence at s, or 0. */
static uint32_t utf8_length(const unsigned char *s, uint32_t left)
{
	uint32_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
	if (!n || n > left) return 0;
	for (uint32_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80) return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90)) return 0;
	return n;
}

static bool check_utf8(Lexer *l)
{
	for (uint32_t i = 0, n; i < l->size; i += n) {
		n = utf8_length((const unsigned char *)l->s + i, l->size - i);
		if (n && l->s[i]) continue;
		ts_error(l->cx, span(l, i, i + 1), "E_SYNTAX", n ? "the text holds a zero byte" : "the text is not UTF-8: byte 0x%02x", (unsigned char)l->s[i]);
		return false;
	}
	return true;
}

static void lex_unknown(Lexer *l)
{
	uint32_t from = l->at, n = utf8_length((const unsigned char *)l->s + l->at, l->size - l->at);
	l->at += n ? n : 1;
	if ((unsigned char)l->s[from] < 32 || l->s[from] == 127) ts_error(l->cx, span(l, from, l->at), "E_SYNTAX", "control character 0x%02x", (unsigned char)l->s[from]);
	else ts_error(l->cx, span(l, from, l->at), "E_SYNTAX", "unexpected character '%.*s'", (int)n, l->s + from);
	push(l, TS_TOK_BAD, from);
}

static void lex_all(Lexer *l)
{
	bool empty_line = false; /* the line so far holds nothing at all */
	while (l->at < l->size) {
		char c = look(l, 0);
		if (c == '\n') {
			l->blank |= empty_line;
			empty_line = l->fresh_line = true;
			l->at++;
			continue;
		}
		if (c == ' ' || c == '\t' || (c == '\r' && (look(l, 1) == '\n' || l->at + 1 == l->size))) { l->at++; continue; }
		empty_line = false;
		if (c == '#') lex_comment(l);
		else if (is_letter(c)) lex_name(l);
		else if (is_digit(c)) lex_number(l);
		else if (c == '"') lex_string(l);
		else if (c == '`') lex_quoted_name(l);
		else if (!lex_punct(l)) lex_unknown(l);
	}
}

static bool continues_after(uint8_t k)
{
	switch (k) {
	case TS_TOK_COMMA: case TS_TOK_ASSIGN: case TS_TOK_COLON: case TS_TOK_DOT: case TS_TOK_DOTDOT: case TS_TOK_ARROW: case TS_TOK_LPAREN:
	case TS_TOK_LBRACKET: case TS_TOK_LBRACE: case TS_TOK_EQ: case TS_TOK_NE: case TS_TOK_LE: case TS_TOK_GE: case TS_TOK_LT: case TS_TOK_GT:
	case TS_TOK_ADD: case TS_TOK_SUB: case TS_TOK_POW: case TS_TOK_MUL: case TS_TOK_FLOORDIV: case TS_TOK_DIV: case TS_TOK_MOD: case TS_TOK_AT:
	case TS_TOK_AND: case TS_TOK_OR: case TS_TOK_NOT: return true;
	default: return false;
	}
}

/* closes[i]: whether round or square bracket i has its partner before the next brace. Only such brackets swallow line ends, so that
 * one forgotten bracket does not swallow the rest of the file. */
static void match_brackets(TsCtx *cx, const TsTok *tok, uint32_t n, bool *closes)
{
	TS_VEC(uint32_t) open = { 0 };
	for (uint32_t i = 0; i < n; i++) {
		uint8_t k = tok[i].kind;
		if (k == TS_TOK_LPAREN || k == TS_TOK_LBRACKET) ts_push(ts_arena(cx), &open, i);
		else if (k == TS_TOK_LBRACE || k == TS_TOK_RBRACE) open.n = 0;
		else if (k == TS_TOK_RPAREN || k == TS_TOK_RBRACKET) {
			uint32_t m = open.n;
			while (m > 0 && tok[open.p[m - 1]].kind != (k == TS_TOK_RPAREN ? TS_TOK_LPAREN : TS_TOK_LBRACKET)) m--;
			if (!m) continue;
			closes[open.p[m - 1]] = closes[i] = true;
			open.n = m - 1;
		}
	}
}

static void insert_line_ends(TsTokens *out)
{
	TsTok *raw = out->tok.p;
	uint32_t n = out->tok.n, depth = 0;
	bool *closes = TS_NEW_N(ts_arena(out->cx), bool, n + 1);
	match_brackets(out->cx, raw, n, closes);
	out->tok.p = NULL;
	out->tok.n = out->tok.cap = 0;
	for (uint32_t i = 0; i < n; i++) {
		bool end = raw[i].kind == TS_TOK_EOF;
		if (i > 0 && (raw[i].first || end) && !depth && (end || (raw[i].kind != TS_TOK_ARROW && !continues_after(raw[i - 1].kind))))
			ts_push(ts_arena(out->cx), &out->tok, (TsTok){ .kind = TS_TOK_NL, .begin = raw[i - 1].end, .end = raw[i - 1].end });
		if (closes[i]) depth += raw[i].kind == TS_TOK_LPAREN || raw[i].kind == TS_TOK_LBRACKET ? 1u : -1u;
		ts_push(ts_arena(out->cx), &out->tok, raw[i]);
	}
}

void ts_lex(TsCtx *cx, uint32_t file, const char *text, size_t size, uint32_t base, TsTokens *out)
{
	*out = (TsTokens){ .cx = cx, .file = file };
	Lexer l = { .out = out, .cx = cx, .s = text, .size = (uint32_t)size, .base = base, .fresh_line = true };
	if (size >= INT32_MAX) {
		ts_error(cx, (TsSpan){ 0 }, "E_LIMIT", "%s is larger than 2^31 bytes", ts_source_name(cx, file));
		l.size = 0;
	} else if (check_utf8(&l)) {
		if (size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) l.at = 3;
		lex_all(&l);
	} else {
		push(&l, TS_TOK_BAD, 0);
	}
	push(&l, TS_TOK_EOF, l.size);
	insert_line_ends(out);
}
