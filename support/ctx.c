#include "support/ctx.h"
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ERRORS = 20, MAX_TEXT = 4000 };
typedef struct { const char *name, *text; size_t size; } Source;

struct TsCtx {
	TsArena *arena;
	TsSym *table; /* open addressing, power of two */
	uint32_t cap, count;
	TS_VEC(Source) sources;
	TS_VEC(TsDiag) diags;
	uint32_t errors;
	bool muted, env, bug;
	void *slot[TS_SLOT_COUNT];
	jmp_buf *guard;
};

static void arena_failed(void *user, size_t size)
{
	TsCtx *cx = user;
	(void)size;
	cx->env = true;
	cx->errors++;
	fputs("tsc: error[E_MEMORY]: out of memory\n", stderr);
	if (cx->guard) longjmp(*cx->guard, 1);
	_Exit(3);
}

TsCtx *ts_ctx_new(void)
{
	TsArena *a = ts_arena_new();
	TsCtx *cx = TS_NEW(a, TsCtx);
	cx->arena = a;
	cx->cap = 1024;
	cx->table = TS_NEW_N(a, TsSym, cx->cap);
	ts_push(a, &cx->sources, (Source){ "", "", 0 });
	ts_arena_on_fail(a, arena_failed, cx);
	return cx;
}

void ts_ctx_free(TsCtx *cx) { if (cx) ts_arena_free(cx->arena); }
TsArena *ts_arena(TsCtx *cx) { return cx->arena; }
void **ts_ctx_slot(TsCtx *cx, TsSlot which) { return &cx->slot[which]; }

static uint32_t hash_bytes(const char *s, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;
	for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x100000001b3u;
	return (uint32_t)(h ^ h >> 32);
}

static void grow_table(TsCtx *cx)
{
	uint32_t cap = cx->cap * 2;
	TsSym *t = TS_NEW_N(cx->arena, TsSym, cap);
	for (uint32_t i = 0; i < cx->cap; i++) {
		if (!cx->table[i]) continue;
		uint32_t h = hash_bytes(cx->table[i], strlen(cx->table[i])) & (cap - 1);
		while (t[h]) h = (h + 1) & (cap - 1);
		t[h] = cx->table[i];
	}
	cx->table = t;
	cx->cap = cap;
}

TsSym ts_intern_n(TsCtx *cx, const char *s, size_t n)
{
	if (cx->count * 2 >= cx->cap) grow_table(cx);
	uint32_t h = hash_bytes(s, n) & (cx->cap - 1);
	for (; cx->table[h]; h = (h + 1) & (cx->cap - 1))
		if (!strncmp(cx->table[h], s, n) && !cx->table[h][n]) return cx->table[h];
	cx->count++;
	return cx->table[h] = ts_strndup(cx->arena, s, n);
}

TsSym ts_intern(TsCtx *cx, const char *s) { return ts_intern_n(cx, s, strlen(s)); }

TsSym ts_intern_fmt(TsCtx *cx, const char *fmt, ...)
{
	TsBuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(&b, fmt, ap);
	va_end(ap);
	TsSym s = ts_intern_n(cx, b.p ? b.p : "", b.n);
	ts_buf_free(&b);
	return s;
}

uint32_t ts_source_add(TsCtx *cx, const char *name, const char *text, size_t size)
{
	Source s = { ts_strdup(cx->arena, name), ts_strndup(cx->arena, text, size), size };
	ts_push(cx->arena, &cx->sources, s);
	return cx->sources.n - 1;
}

const char *ts_source_text(const TsCtx *cx, uint32_t file, size_t *size)
{
	if (size) *size = cx->sources.p[file].size;
	return cx->sources.p[file].text;
}

const char *ts_source_name(const TsCtx *cx, uint32_t file) { return cx->sources.p[file].name; }

void ts_source_line_col(const TsCtx *cx, uint32_t file, uint32_t at, uint32_t *line, uint32_t *col)
{
	const Source *s = &cx->sources.p[file];
	uint32_t l = 1, start = 0;
	for (uint32_t i = 0; i < at && i < s->size; i++)
		if (s->text[i] == '\n') { l++; start = i + 1; }
	*line = l;
	*col = at - start + 1;
}

/* Copies text with every word of more than 80 bytes cut to 60 and "…"; words with a slash, which are paths, from 400 on. */
static void clip(TsBuf *to, const char *text, size_t n)
{
	enum { NAME = 80, KEPT = 60, PATH = 400 };
	for (size_t i = 0; i < n;) {
		size_t from = i, slashes = 0;
		for (; i < n && !strchr(" \t\n'\"`()[]{},;", text[i]); i++) slashes += text[i] == '/';
		size_t len = i - from, kept = len <= NAME || (slashes && len <= PATH) ? len : KEPT;
		while (kept < len && kept && ((unsigned char)text[from + kept] & 0xc0) == 0x80) kept--;
		for (size_t k = 0; k < kept; k++) ts_buf_char(to, text[from + k]);
		if (kept < len) ts_buf_str(to, "…");
		if (i < n) ts_buf_char(to, text[i++]);
	}
}

static void report(TsCtx *cx, TsDiagKind kind, TsSpan at, const char *code, const char *fmt, va_list ap)
{
	if (kind == TS_DIAG_ERROR) cx->muted = ++cx->errors > MAX_ERRORS;
	else if (kind == TS_DIAG_WARNING) cx->muted = false;
	if (cx->muted) return;
	TsBuf whole = { 0 }, b = { 0 };
	ts_buf_vfmt(&whole, fmt, ap);
	clip(&b, whole.p, whole.n);
	if (b.n > MAX_TEXT) {
		b.n = MAX_TEXT;
		while (((unsigned char)b.p[b.n] & 0xc0) == 0x80) b.n--;
		ts_buf_str(&b, "…");
	}
	TsDiag d = { kind, at, code, ts_strndup(cx->arena, b.p ? b.p : "", b.n) };
	ts_push(cx->arena, &cx->diags, d);
	ts_buf_free(&whole);
	ts_buf_free(&b);
}

#define REPORT(kind, at, code) do { va_list ap; va_start(ap, fmt); report(cx, kind, at, code, fmt, ap); va_end(ap); } while (0)
void ts_error(TsCtx *cx, TsSpan at, const char *code, const char *fmt, ...) { REPORT(TS_DIAG_ERROR, at, code); }
void ts_warn(TsCtx *cx, TsSpan at, const char *code, const char *fmt, ...) { REPORT(TS_DIAG_WARNING, at, code); }
void ts_note(TsCtx *cx, TsSpan at, const char *fmt, ...) { REPORT(TS_DIAG_NOTE, at, NULL); }
void ts_hint(TsCtx *cx, const char *fmt, ...) { TsSpan at = { 0 }; REPORT(TS_DIAG_HINT, at, NULL); }

void ts_env_error(TsCtx *cx, const char *code, const char *fmt, ...)
{
	TsSpan at = { 0 };
	REPORT(TS_DIAG_ERROR, at, code);
	cx->env = true;
}

void ts_bug(TsCtx *cx, TsSpan at, const char *fmt, ...)
{
	REPORT(TS_DIAG_ERROR, at, "E_INTERNAL");
	cx->bug = true;
	if (cx->guard) longjmp(*cx->guard, 1);
	ts_diag_print(cx, stderr);
	_Exit(4);
}

bool ts_guard(TsCtx *cx, void (*fn)(void *), void *user)
{
	jmp_buf here, *outer = cx->guard;
	bool done = false;
	cx->guard = &here;
	if (!setjmp(here)) { fn(user); done = true; }
	cx->guard = outer;
	return done;
}

uint32_t ts_error_count(const TsCtx *cx) { return cx->errors; }
int ts_exit_code(const TsCtx *cx) { return cx->bug ? 4 : cx->env ? 3 : cx->errors ? 1 : 0; }
bool ts_diag_get(const TsCtx *cx, uint32_t i, TsDiag *out)
{
	if (i < cx->diags.n) *out = cx->diags.p[i];
	return i < cx->diags.n;
}

void ts_diag_reset(TsCtx *cx) { cx->diags.n = cx->errors = 0; cx->muted = cx->env = cx->bug = false; }

static void caret_lines(const TsCtx *cx, TsSpan at, TsBuf *to, const char *hint)
{
	const Source *s = &cx->sources.p[at.file];
	uint32_t from = at.begin > s->size ? (uint32_t)s->size : at.begin, to_end;
	while (from > 0 && s->text[from - 1] != '\n') from--;
	for (to_end = from; to_end < s->size && s->text[to_end] != '\n'; to_end++) {}
	uint32_t len = to_end - from, shown = len > 200 ? 200 : len;
	ts_buf_str(to, "  ");
	for (uint32_t i = 0; i < shown; i++) ts_buf_char(to, (unsigned char)s->text[from + i] < 32 && s->text[from + i] != '\t' ? '?' : s->text[from + i]);
	ts_buf_str(to, "\n");
	if (at.begin - from >= shown && shown) { if (hint) ts_buf_fmt(to, "  hint: %s\n", hint); return; }
	ts_buf_str(to, "  ");
	for (uint32_t i = from; i < at.begin; i++) {
		unsigned char c = (unsigned char)s->text[i];
		if ((c & 0xc0) != 0x80) ts_buf_char(to, c == '\t' ? '\t' : ' ');
	}
	ts_buf_char(to, '^');
	uint32_t end = at.end < to_end ? at.end : to_end;
	for (uint32_t i = at.begin + 1; i < end && i < from + shown; i++)
		if (((unsigned char)s->text[i] & 0xc0) != 0x80) ts_buf_char(to, '~');
	if (hint) ts_buf_fmt(to, "  hint: %s", hint);
	ts_buf_str(to, "\n");
}

void ts_diag_text(const TsCtx *cx, TsBuf *to)
{
	static const char *const word[] = { "error", "warning", "note", "hint" };
	for (uint32_t i = 0; i < cx->diags.n; i++) {
		const TsDiag *d = &cx->diags.p[i];
		const char *hint = NULL;
		if (d->kind == TS_DIAG_HINT) { ts_buf_fmt(to, "  hint: %s\n", d->text); continue; }
		if (i + 1 < cx->diags.n && cx->diags.p[i + 1].kind == TS_DIAG_HINT) hint = cx->diags.p[i + 1].text;
		if (d->at.file) {
			uint32_t line, col;
			ts_source_line_col(cx, d->at.file, d->at.begin, &line, &col);
			ts_buf_fmt(to, "%s:%u:%u: ", ts_source_name(cx, d->at.file), line, col);
		} else {
			ts_buf_str(to, "tsc: ");
		}
		ts_buf_str(to, word[d->kind]);
		if (d->code) ts_buf_fmt(to, "[%s]", d->code);
		ts_buf_fmt(to, ": %s\n", d->text);
		if (d->at.file) { caret_lines(cx, d->at, to, hint); i += hint != NULL; }
	}
	if (cx->errors > MAX_ERRORS) ts_buf_fmt(to, "tsc: %u more errors not shown\n", cx->errors - MAX_ERRORS);
}

void ts_diag_print(const TsCtx *cx, FILE *to)
{
	TsBuf b = { 0 };
	ts_diag_text(cx, &b);
	if (b.n) fwrite(b.p, 1, b.n, to);
	ts_buf_free(&b);
}

/* Edits from a to b, or some number from limit on when there are so many. */
static size_t edit_distance(const char *a, const char *b, size_t limit)
{
	enum { MAX = 200 };
	size_t la = strlen(a), lb = strlen(b), row[MAX + 1];
	if (la > MAX || lb > MAX || (la > lb ? la - lb : lb - la) >= limit) return limit;
	for (size_t j = 0; j <= lb; j++) row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diag = row[0], least = i;
		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t up = row[j], best = diag + (a[i - 1] != b[j - 1]);
			if (up + 1 < best) best = up + 1;
			if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
			diag = up;
			row[j] = best;
			if (best < least) least = best;
		}
		if (least >= limit) return limit;
	}
	return row[lb];
}

static bool begins_with(const char *s, const char *start) { return !strncmp(s, start, strlen(start)); }

TsSym ts_nearest(TsSym wanted, const TsSym *names, size_t n)
{
	size_t len = strlen(wanted), best = len < 3 ? 2 : len / 3 + 2;
	const size_t far = best;
	TsSym found = NULL;
	for (size_t i = 0; i < n; i++) {
		size_t d = names[i] ? edit_distance(wanted, names[i], best) : best;
		if (d >= far && names[i] && len >= 2 && begins_with(names[i], wanted)) d = far - 1;
		if (d < best) { best = d; found = names[i]; }
	}
	return found;
}

void ts_hint_names(TsCtx *cx, TsSym wanted, const TsSym *names, size_t n)
{
	enum { FEW = 10 };
	TsSym near = ts_nearest(wanted, names, n);
	TsBuf all = { 0 };
	if (near) {
		ts_hint(cx, "nearest: %s", near);
	} else if (n && n <= FEW) {
		for (size_t i = 0; i < n; i++) ts_buf_fmt(&all, "%s%s", i ? ", " : "", names[i]);
		ts_hint(cx, n == 1 ? "there is %s" : "there are %s", all.p);
	}
	ts_buf_free(&all);
}
