#include "tsc/args.h"
#include "support/file.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ARGS = 1 << 16, MAX_FILES = 64, MAX_NESTING = 8, MAX_FILE_BYTES = 16 << 20 };

void ts_usage_error(TsCtx *cx, const char *fmt, ...)
{
	TsBuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(&b, fmt, ap);
	va_end(ap);
	ts_error(cx, (TsSpan){ 0 }, "E_USAGE", "%s", b.p ? b.p : "");
	ts_buf_free(&b);
}

int ts_usage_status(const TsCtx *cx) { return ts_exit_code(cx) == 1 ? 2 : ts_exit_code(cx); }

/* ---- response files ---- */

typedef struct { TsCtx *cx; TsArgList *out; uint32_t files; } Expand;

static bool expand_word(Expand *e, const char *word, uint32_t depth);

/* One word of a response file from s[*at]; NULL when a quote stays open. */
static char *read_word(TsCtx *cx, const char *s, size_t n, size_t *at)
{
	TsBuf b = { 0 };
	char quote = 0;
	size_t i = *at;
	for (; i < n; i++) {
		char c = s[i];
		if (!quote && strchr(" \t\r\n\f\v", c)) break;
		if (c == quote) quote = 0;
		else if (!quote && (c == '"' || c == '\'')) quote = c;
		else if (c == '\\' && quote != '\'' && i + 1 < n) ts_buf_char(&b, s[++i]);
		else ts_buf_char(&b, c);
	}
	*at = i;
	char *word = quote ? NULL : ts_strndup(ts_arena(cx), b.p ? b.p : "", b.n);
	ts_buf_free(&b);
	return word;
}

static bool expand_file(Expand *e, const char *path, uint32_t depth)
{
	TsFile f;
	if (depth > MAX_NESTING) return ts_usage_error(e->cx, "response files are nested more than %d deep at '@%s'", MAX_NESTING, path), false;
	if (++e->files > MAX_FILES) return ts_usage_error(e->cx, "more than %d response files, at '@%s'", MAX_FILES, path), false;
	if (!ts_file_map(e->cx, path, &f)) return false;
	bool ok = true;
	if (f.size > MAX_FILE_BYTES || memchr(f.p, 0, f.size)) {
		ts_usage_error(e->cx, "response file '%s' is %s", path, f.size > MAX_FILE_BYTES ? "too large: 16 MiB at most" : "not text: it holds a zero byte");
		ok = false;
	}
	for (size_t at = 0; ok && at < f.size;) {
		const char *s = (const char *)f.p;
		if (strchr(" \t\r\n\f\v", s[at])) { at++; continue; }
		const char *word = read_word(e->cx, s, f.size, &at);
		if (!word) ts_usage_error(e->cx, "response file '%s' ends inside quotes", path);
		ok = word && expand_word(e, word, depth);
	}
	ts_file_unmap(&f);
	return ok;
}

static bool expand_word(Expand *e, const char *word, uint32_t depth)
{
	if (word[0] == '@' && word[1]) return expand_file(e, word + 1, depth + 1);
	if (e->out->n >= MAX_ARGS) return ts_usage_error(e->cx, "more than %d arguments", MAX_ARGS), false;
	ts_push(ts_arena(e->cx), e->out, word);
	return true;
}

bool ts_args_expand(TsCtx *cx, int argc, char *const *argv, TsArgList *out)
{
	Expand e = { cx, out, 0 };
	for (int i = 0; i < argc; i++)
		if (!expand_word(&e, argv[i], 0)) return false;
	return true;
}

/* ---- options ---- */

static const TsArgSpec *find(const TsArgs *a, const char *name, size_t len)
{
	for (uint32_t i = 0; i < a->nspec; i++) {
		const TsArgSpec *s = &a->spec[i];
		if (!s->id) continue;
		if (strlen(s->name) == len && !memcmp(s->name, name, len)) return s;
		if (s->alias && strlen(s->alias) == len && !memcmp(s->alias, name, len)) return s;
	}
	return NULL;
}

static int unknown(TsArgs *a, const char *word, size_t len)
{
	const char **names = TS_NEW_N(ts_arena(a->cx), const char *, a->nspec);
	uint32_t n = 0;
	for (uint32_t i = 0; i < a->nspec; i++)
		if (a->spec[i].id && a->spec[i].name[1] == '-') names[n++] = a->spec[i].name;
	const char *bare = ts_strndup(ts_arena(a->cx), word, len), *near = ts_nearest(bare, names, n);
	ts_usage_error(a->cx, "unknown option '%s'", bare);
	if (near) ts_hint(a->cx, "did you mean '%s'?", near);
	else ts_hint(a->cx, "'%s --help' lists the options", a->command);
	return TS_ARG_BAD;
}

static int take_value(TsArgs *a, const TsArgSpec *s, const char *joined)
{
	a->value = joined;
	if (!s->value) {
		if (!joined) return s->id;
		ts_usage_error(a->cx, "%s takes no value", a->name);
		return TS_ARG_BAD;
	}
	if (!joined && a->at < a->argc) a->value = a->argv[a->at++];
	if (a->value && *a->value) return s->id;
	ts_usage_error(a->cx, "%s needs a value: %s %s", a->name, s->name, s->value);
	return TS_ARG_BAD;
}

int ts_args_next(TsArgs *a)
{
	if (a->at >= a->argc) return TS_ARG_END;
	const char *word = a->argv[a->at++];
	if (a->only_operands || word[0] != '-' || !word[1]) {
		a->value = word;
		return TS_ARG_OPERAND;
	}
	if (!strcmp(word, "--")) {
		a->only_operands = true;
		return ts_args_next(a);
	}
	if (word[1] == '-') {
		const char *equals = strchr(word, '=');
		size_t len = equals ? (size_t)(equals - word) : strlen(word);
		const TsArgSpec *s = find(a, word, len);
		if (!s) return unknown(a, word, len);
		a->name = s->name;
		return take_value(a, s, equals ? equals + 1 : NULL);
	}
	const TsArgSpec *s = find(a, word, strlen(word));
	if (!s && word[2] && !((s = find(a, word, 2)) && s->value)) return unknown(a, word, strlen(word));
	if (!s) return unknown(a, word, strlen(word));
	a->name = s->name;
	return take_value(a, s, strlen(word) > 2 && s->name[1] != '-' && strcmp(s->name, word) ? word + 2 : NULL);
}

bool ts_args_int(TsArgs *a, int64_t lo, int64_t hi, int64_t *out)
{
	char *end;
	errno = 0;
	long long v = strtoll(a->value, &end, 10);
	if (errno || end == a->value || *end || strchr(" \t\n+", a->value[0]) || v < lo || v > hi) {
		ts_usage_error(a->cx, "%s needs a whole number from %lld to %lld, not '%s'", a->name, (long long)lo, (long long)hi, a->value);
		return false;
	}
	*out = v;
	return true;
}

bool ts_args_double(TsArgs *a, const char *text, double *out)
{
	char *end;
	*out = strtod(text, &end);
	if (end != text && !*end && *out >= 0 && *out <= 1e300) return true;
	ts_usage_error(a->cx, "%s needs numbers that are 0 or more, not '%s'", a->name, text);
	return false;
}

bool ts_args_pair(TsArgs *a, TsSym *name, TsSym *value)
{
	const char *equals = strchr(a->value, '=');
	if (!equals || equals == a->value || !equals[1]) {
		ts_usage_error(a->cx, "%s needs the form NAME=VALUE, not '%s'", a->name, a->value);
		return false;
	}
	*name = ts_intern_n(a->cx, a->value, (size_t)(equals - a->value));
	*value = ts_intern(a->cx, equals + 1);
	return true;
}

int ts_args_word(TsArgs *a, const char *what, const char *value, const char *const *words, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (!strcmp(words[i], value)) return (int)i;
	TsBuf all = { 0 };
	for (uint32_t i = 0; i < n; i++) ts_buf_fmt(&all, "%s%s", i ? ", " : "", words[i]);
	const char *near = ts_nearest(value, words, n);
	ts_usage_error(a->cx, "unknown %s '%s'", what, value);
	if (near) ts_hint(a->cx, "did you mean '%s'? There are %s", near, all.p);
	else ts_hint(a->cx, "there are %s", all.p);
	ts_buf_free(&all);
	return -1;
}

bool ts_args_device(TsArgs *a, int *device, int *device_id)
{
	static const char *const words[] = { "auto", "cpu", "cuda" };
	const char *number = strncmp(a->value, "cuda:", 5) ? NULL : a->value + 5;
	size_t digits = number ? strspn(number, "0123456789") : 0;
	bool numbered = digits && digits < 4 && !number[digits];
	*device_id = numbered ? atoi(number) : 0;
	*device = numbered ? 2 : ts_args_word(a, "device", a->value, words, 3); /* 0, and DLPack's 1 and 2 */
	return *device >= 0;
}

/* ---- help ---- */

void ts_args_help(const char *usage, const TsArgSpec *spec, uint32_t nspec, FILE *to)
{
	fputs(usage, to);
	for (uint32_t i = 0; i < nspec; i++) {
		const TsArgSpec *s = &spec[i];
		char left[64];
		if (!s->help) continue;
		if (!s->id) { fprintf(to, "%s\n", s->help); continue; }
		const char *first = s->name[1] == '-' && s->alias ? s->alias : s->name, *second = !s->alias ? NULL : first == s->name ? s->alias : s->name;
		snprintf(left, sizeof left, "%s%s%s%s%s", first, second ? ", " : "", second ? second : "",
		         !s->value || !strcmp(s->name, "-O") ? "" : " ", s->value ? s->value : "");
		fprintf(to, "  %-26s %s\n", left, s->help);
	}
}
