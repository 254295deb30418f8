/* Reads .rules files: recursive descent over the characters. */
#include "rules.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct { GenRules *out; TsCtx *cx; TsArena *a; const char *text; uint32_t file, at, end; bool failed; GenRule *rule; } Reader;

static TsSpan span(Reader *r, uint32_t from) { return (TsSpan){ r->file, from, r->at > from ? r->at : from + 1 }; }

static void fail(Reader *r, const char *want)
{
	if (!r->failed) ts_error(r->cx, (TsSpan){ r->file, r->at, r->at + 1 }, "E_RULE_SYNTAX", "expected %s", want);
	r->failed = true;
}

/* Blanks, comments, and line breaks that are followed by a blank: a rule goes on on indented lines. */
static void skip(Reader *r)
{
	for (; r->at < r->end; r->at++) {
		char c = r->text[r->at];
		if (c == '#' && (r->at + 1 == r->end || isspace((unsigned char)r->text[r->at + 1]))) {
			while (r->at < r->end && r->text[r->at] != '\n') r->at++;
			if (r->at == r->end) return;
			c = '\n';
		}
		if (c == '\n' && r->rule) {
			char next = r->at + 1 < r->end ? r->text[r->at + 1] : 'x';
			if (!isspace((unsigned char)next) && next != '#') return;
		} else if (!isspace((unsigned char)c)) return;
	}
}

static char peek(Reader *r) { skip(r); return r->at < r->end ? r->text[r->at] : 0; }
static bool starts(Reader *r, const char *s) { size_t n = strlen(s); skip(r); return r->end - r->at >= n && !memcmp(r->text + r->at, s, n); }
static bool take(Reader *r, const char *s) { if (!starts(r, s)) return false; r->at += (uint32_t)strlen(s); return true; }
static void need(Reader *r, const char *s) { if (!take(r, s)) fail(r, s); }

static TsSym name(Reader *r)
{
	skip(r);
	uint32_t from = r->at;
	while (r->at < r->end && (isalnum((unsigned char)r->text[r->at]) || r->text[r->at] == '_')) r->at++;
	if (from == r->at || isdigit((unsigned char)r->text[from])) return fail(r, "a name"), ts_intern(r->cx, "?");
	return ts_intern_n(r->cx, r->text + from, r->at - from);
}

static bool at_number(Reader *r)
{
	char c = peek(r);
	return isdigit((unsigned char)c) || (c == '-' && r->at + 1 < r->end && (isdigit((unsigned char)r->text[r->at + 1]) || r->text[r->at + 1] == 'i')) || starts(r, "inf");
}

static double number(Reader *r, bool *is_int)
{
	skip(r);
	char word[64] = { 0 }, *stop;
	uint32_t left = r->end - r->at;
	memcpy(word, r->text + r->at, left < sizeof word ? left : sizeof word - 1);
	double x = strtod(word, &stop);
	*is_int = isfinite(x) && memchr(word, '.', (size_t)(stop - word)) == NULL && memchr(word, 'e', (size_t)(stop - word)) == NULL;
	r->at += (uint32_t)(stop - word);
	return x;
}

/* call = NAME "(" [ NAME { "," NAME } ] ")" */
static GenCall call(Reader *r, TsSym fn, uint32_t from)
{
	GenCall c = { .name = fn };
	need(r, "(");
	while (!r->failed && !starts(r, ")")) {
		ts_push(r->a, &c.args, name(r));
		if (!take(r, ",")) break;
	}
	need(r, ")");
	c.at = span(r, from);
	return c;
}

/* NAME "=" ( literal | NAME | call ) */
static GenAttr attr(Reader *r, TsSym key, uint32_t from)
{
	GenAttr a = { .key = key };
	need(r, "=");
	bool is_int;
	if (at_number(r)) {
		a.f = number(r, &is_int);
		a.i = is_int ? (int64_t)a.f : 0;
		a.kind = is_int ? GV_INT : GV_FLOAT;
	} else if (take(r, "\"")) {
		uint32_t s = r->at;
		while (r->at < r->end && r->text[r->at] != '"') r->at++;
		a.kind = GV_STR;
		a.s = ts_intern_n(r->cx, r->text + s, r->at - s);
		need(r, "\"");
	} else {
		uint32_t s = r->at;
		a.s = name(r);
		a.kind = GV_NAME;
		if (!strcmp(a.s, "none")) a.kind = GV_NONE;
		else if (!strcmp(a.s, "true") || !strcmp(a.s, "false")) a.kind = GV_INT, a.i = a.s[0] == 't';
		else if (r->at < r->end && r->text[r->at] == '(') a.kind = GV_CALL, a.call = call(r, a.s, s);
	}
	a.at = span(r, from);
	return a;
}

/* Is the next thing NAME "="? */
static bool at_attr(Reader *r)
{
	skip(r);
	uint32_t i = r->at;
	while (i < r->end && (isalnum((unsigned char)r->text[i]) || r->text[i] == '_')) i++;
	return i > r->at && i < r->end && r->text[i] == '=' && r->text[i + 1] != '>';
}

static GenPat *pattern(Reader *r, int depth);

/* "(" ops ( { pattern } | "..." ) { attr } ")" */
static void op_pattern(Reader *r, GenPat *p, int depth)
{
	p->kind = GP_OP;
	need(r, "(");
	if (take(r, "^")) p->same = true;
	else if (take(r, "@")) p->flag = name(r);
	else do ts_push(r->a, &p->words, name(r)); while (take(r, "|"));
	while (!r->failed && !starts(r, ")")) {
		uint32_t from = r->at;
		if (take(r, "...")) p->rest = true;
		else if (at_attr(r)) { TsSym key = name(r); ts_push(r->a, &p->attrs, attr(r, key, from)); }
		else ts_push(r->a, &p->kids, pattern(r, depth + 1));
	}
	need(r, ")");
}

static GenPat *pattern(Reader *r, int depth)
{
	GenPat *p = TS_NEW(r->a, GenPat);
	bool is_int;
	char c = peek(r);
	uint32_t from = r->at;
	p->slot = 255;
	if (depth > 16) fail(r, "a shallower pattern");
	else if (c == '(') op_pattern(r, p, depth);
	else if (take(r, "#")) p->kind = GP_UNIFORM, p->name = name(r);
	else if (at_number(r)) p->kind = GP_NUM, p->num = number(r, &is_int);
	else {
		p->name = name(r);
		p->kind = strcmp(p->name, "_") ? GP_VAR : GP_ANY;
		if (r->at < r->end && r->text[r->at] == ':') r->at++, op_pattern(r, p, depth);
	}
	p->at = span(r, from);
	return p;
}

static GenMake *make(Reader *r, int depth)
{
	GenMake *m = TS_NEW(r->a, GenMake);
	bool is_int;
	skip(r);
	uint32_t from = r->at;
	if (depth > 16) fail(r, "a shallower replacement");
	else if (take(r, "(")) {
		m->kind = GM_OP;
		if (take(r, "^")) m->same = true;
		else m->name = name(r);
		while (!r->failed && !starts(r, ")")) {
			skip(r);
			uint32_t s = r->at;
			if (at_attr(r)) { TsSym key = name(r); ts_push(r->a, &m->attrs, attr(r, key, s)); }
			else ts_push(r->a, &m->kids, make(r, depth + 1));
		}
		need(r, ")");
	} else if (take(r, "#")) {
		uint32_t s = r->at;
		TsSym fn = name(r);
		m->kind = GM_NUMCALL;
		m->call = call(r, fn, s);
	} else if (at_number(r)) m->kind = GM_NUM, m->num = number(r, &is_int);
	else {
		m->name = name(r);
		m->kind = GM_VAR;
		if (r->at < r->end && r->text[r->at] == '(') m->kind = GM_CALL, m->call = call(r, m->name, from);
	}
	m->at = span(r, from);
	return m;
}

static void rule(Reader *r)
{
	static const char *const marks[] = { "!exacter", "!fuse", "!reorder", "!approx" };
	GenRule *g = r->rule = TS_NEW(r->a, GenRule);
	uint32_t from = r->at;
	g->name = name(r);
	g->at = span(r, from);
	need(r, ":");
	skip(r);
	uint32_t text = r->at;
	g->pat = pattern(r, 0);
	if (!r->failed && g->pat->kind != GP_OP) fail(r, "an operator pattern before this point");
	if (take(r, "where ")) do {
		skip(r);
		uint32_t s = r->at;
		TsSym fn = name(r);
		ts_push(r->a, &g->where, call(r, fn, s));
	} while (!r->failed && take(r, ","));
	need(r, "=>");
	g->make = make(r, 0);
	g->text = (TsSpan){ r->file, text, r->at };
	for (int i = 0; i < 4; i++)
		if (!g->mark && take(r, marks[i])) g->mark = i + 1, g->text.end = r->at;
	skip(r);
	if (!r->failed && r->at < r->end && r->text[r->at] != '\n') fail(r, "the end of the rule");
	ts_push(r->a, &r->out->rules, g);
	r->rule = NULL;
}

bool gen_parse(GenRules *out, uint32_t file)
{
	size_t n;
	Reader r = { .out = out, .cx = out->cx, .a = ts_arena(out->cx), .file = file };
	r.text = ts_source_text(out->cx, file, &n);
	r.end = (uint32_t)n;
	while (skip(&r), r.at < r.end && !r.failed) rule(&r);
	return !r.failed;
}
