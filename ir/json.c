#include "ir/json.h"
#include <string.h>

enum { DEEPEST = 64 };

void ts_json_open(TsJson *j, const void *p, size_t n) { *j = (TsJson){ p, p, (const char *)p + n, NULL, 0 }; }

bool ts_json_fail(TsJson *j, const char *why)
{
	if (!j->why) j->why = why;
	return false;
}

static char peek(TsJson *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r')) j->p++;
	return j->p < j->end ? *j->p : 0;
}

static bool take(TsJson *j, char c, const char *why)
{
	if (j->why || peek(j) != c) return ts_json_fail(j, why);
	j->p++;
	return true;
}

bool ts_json_begin(TsJson *j, char bracket)
{
	if (!take(j, bracket, bracket == '{' ? "expected '{'" : "expected '['")) return false;
	return ++j->depth <= DEEPEST || ts_json_fail(j, "nested too deeply");
}

bool ts_json_more(TsJson *j, char bracket, bool *first)
{
	if (j->why) return false;
	char close = bracket == '{' ? '}' : ']', c = peek(j);
	if (c == close) {
		j->p++;
		j->depth--;
		return false;
	}
	if (*first) *first = false;
	else if (!take(j, ',', bracket == '{' ? "expected ',' or '}'" : "expected ',' or ']'")) return false;
	else if (peek(j) == close) return ts_json_fail(j, "expected a value after ','");
	return true;
}

static bool hex4(TsJson *j, uint32_t *v)
{
	*v = 0;
	for (int i = 0; i < 4; i++, j->p++) {
		char c = j->p < j->end ? *j->p : 0;
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (d < 0) return ts_json_fail(j, "expected four hexadecimal digits");
		*v = *v << 4 | (uint32_t)d;
	}
	return true;
}

static void put_utf8(TsBuf *b, uint32_t c)
{
	if (c < 0x80) ts_buf_char(b, (char)c);
	else if (c < 0x800) ts_buf_char(b, (char)(0xc0 | c >> 6));
	else if (c < 0x10000) ts_buf_char(b, (char)(0xe0 | c >> 12));
	else ts_buf_char(b, (char)(0xf0 | c >> 18));
	if (c >= 0x10000) ts_buf_char(b, (char)(0x80 | (c >> 12 & 63)));
	if (c >= 0x800) ts_buf_char(b, (char)(0x80 | (c >> 6 & 63)));
	if (c >= 0x80) ts_buf_char(b, (char)(0x80 | (c & 63)));
}

static bool escape(TsJson *j, TsBuf *b)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	char c = j->p < j->end ? *j->p++ : 0;
	const char *at = c ? strchr(from, c) : NULL;
	if (at) return ts_buf_char(b, to[at - from]), true;
	uint32_t u, low;
	if (c != 'u') return ts_json_fail(j, "unknown escape in a string");
	if (!hex4(j, &u)) return false;
	if (u >= 0xd800 && u < 0xdc00) {
		if (j->end - j->p < 6 || j->p[0] != '\\' || j->p[1] != 'u') return ts_json_fail(j, "half a surrogate pair in a string");
		j->p += 2;
		if (!hex4(j, &low)) return false;
		if (low < 0xdc00 || low > 0xdfff) return ts_json_fail(j, "half a surrogate pair in a string");
		u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
	} else if (u >= 0xdc00 && u < 0xe000) return ts_json_fail(j, "half a surrogate pair in a string");
	if (!u) return ts_json_fail(j, "a NUL in a string");
	put_utf8(b, u);
	return true;
}

/* Length of the UTF-8 sequence at p, 0 if it is none: no overlong forms, surrogates or values past U+10FFFF. */
static int utf8_length(const unsigned char *p, size_t left)
{
	int n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;
	if (!n || (size_t)n > left) return 0;
	for (int i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80) return 0;
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f)) return 0;
	return n;
}

/* Longer names are no names. */
static bool read_string(TsJson *j, TsBuf *b)
{
	const size_t longest = 1 << 16;
	if (!take(j, '"', "expected a string")) return false;
	while (j->p < j->end && *j->p != '"') {
		if (b->n > longest) return ts_json_fail(j, "a string is longer than 65536 bytes");
		if (*j->p == '\\') {
			j->p++;
			if (!escape(j, b)) return false;
			continue;
		}
		if ((unsigned char)*j->p < 0x20) return ts_json_fail(j, "a control character in a string");
		int n = utf8_length((const unsigned char *)j->p, (size_t)(j->end - j->p));
		if (!n) return ts_json_fail(j, "a string is no UTF-8");
		ts_buf_add(b, j->p, (size_t)n);
		j->p += n;
	}
	return take(j, '"', "a string does not end");
}

bool ts_json_string(TsJson *j, TsCtx *cx, TsSym *out)
{
	TsBuf b = { 0 };
	bool ok = !j->why && read_string(j, &b);
	if (ok) *out = ts_intern_n(cx, b.p ? b.p : "", b.n);
	ts_buf_free(&b);
	return ok;
}

bool ts_json_key(TsJson *j, TsCtx *cx, TsSym *key) { return ts_json_string(j, cx, key) && take(j, ':', "expected ':'"); }

bool ts_json_whole(TsJson *j, uint64_t *out)
{
	*out = 0;
	const char *from = (peek(j), j->p);
	for (; j->p < j->end && *j->p >= '0' && *j->p <= '9'; j->p++)
		if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, (uint64_t)(*j->p - '0'), out)) return ts_json_fail(j, "a number is too large");
	bool bad = j->p == from || (*from == '0' && j->p > from + 1) || (j->p < j->end && (*j->p == '.' || *j->p == 'e' || *j->p == 'E'));
	return !bad || ts_json_fail(j, "expected a whole number of at least 0");
}

static bool digits(TsJson *j)
{
	const char *from = j->p;
	while (j->p < j->end && *j->p >= '0' && *j->p <= '9') j->p++;
	return j->p > from || ts_json_fail(j, "expected a digit");
}

static bool skip_number(TsJson *j)
{
	if (*j->p == '-') j->p++;
	const char *from = j->p;
	if (!digits(j)) return false;
	if (*from == '0' && j->p > from + 1) return ts_json_fail(j, "a number starts with 0");
	if (j->p < j->end && *j->p == '.') {
		j->p++;
		if (!digits(j)) return false;
	}
	if (j->p < j->end && (*j->p == 'e' || *j->p == 'E')) {
		j->p++;
		if (j->p < j->end && (*j->p == '+' || *j->p == '-')) j->p++;
		if (!digits(j)) return false;
	}
	return true;
}

bool ts_json_skip(TsJson *j, TsCtx *cx)
{
	TsSym s;
	if (j->why) return false;
	char c = peek(j);
	if (c == '"') return ts_json_string(j, cx, &s);
	if (c == '-' || (c >= '0' && c <= '9')) return skip_number(j);
	if (c == '{' || c == '[') {
		bool first = true;
		if (!ts_json_begin(j, c)) return false;
		while (ts_json_more(j, c, &first)) {
			if (c == '{' && !ts_json_key(j, cx, &s)) return false;
			if (!ts_json_skip(j, cx)) return false;
		}
		return !j->why;
	}
	static const char *const words[] = { "true", "false", "null" };
	for (size_t i = 0; i < 3; i++) {
		size_t n = strlen(words[i]);
		if ((size_t)(j->end - j->p) >= n && !memcmp(j->p, words[i], n)) return j->p += n, true;
	}
	return ts_json_fail(j, "expected a value");
}

bool ts_json_end(TsJson *j)
{
	if (j->why) return false;
	peek(j);
	return j->p == j->end || ts_json_fail(j, "text after the end");
}
