/* TsCtx: all state of one compile. Owns the arenas, the interned strings, the source files and the diagnostics.
 * First argument of nearly every function. Two contexts in one process are independent. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "support/arena.h"
#include "support/buf.h"

typedef struct TsCtx TsCtx;

/* An interned string: equal text means equal pointer, so names are compared with ==. NUL-terminated; NULL is "no name". */
typedef const char *TsSym;

/* Byte range of a source file. file 0 means "no place". */
typedef struct { uint32_t file, begin, end; } TsSpan;

TsCtx *ts_ctx_new(void);
void ts_ctx_free(TsCtx *cx);
TsArena *ts_arena(TsCtx *cx); /* lives as long as the context */
/* One pointer each for what a level parses once per context, and for what the process set up (support/temp.h); NULL at first. */
typedef enum { TS_SLOT_OPS, TS_SLOT_TEMPS, TS_SLOT_COUNT } TsSlot;
void **ts_ctx_slot(TsCtx *cx, TsSlot which);

TsSym ts_intern(TsCtx *cx, const char *s);
TsSym ts_intern_n(TsCtx *cx, const char *s, size_t n);
TsSym ts_intern_fmt(TsCtx *cx, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sources. Text is copied; returns the file's number (1 and up). */
uint32_t ts_source_add(TsCtx *cx, const char *name, const char *text, size_t size);
const char *ts_source_text(const TsCtx *cx, uint32_t file, size_t *size);
const char *ts_source_name(const TsCtx *cx, uint32_t file);
void ts_source_line_col(const TsCtx *cx, uint32_t file, uint32_t at, uint32_t *line, uint32_t *col); /* 1-based; col counts bytes */
static inline TsSpan ts_span_join(TsSpan a, TsSpan b) { return a.file ? (TsSpan){ a.file, a.begin, b.file == a.file && b.end > a.end ? b.end : a.end } : b; }

/* Diagnostics: `file:line:col: error[CODE]: text`, the line, a caret. Codes are stable names such as "E_SHAPE_MISMATCH".
 * Notes and hints belong to the last error or warning. At most 20 errors are kept; the rest is counted. Words that
 * nobody would read to their end, such as a name of a hundred thousand letters, are cut. */
typedef enum { TS_DIAG_ERROR, TS_DIAG_WARNING, TS_DIAG_NOTE, TS_DIAG_HINT } TsDiagKind;
void ts_error(TsCtx *cx, TsSpan at, const char *code, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void ts_warn(TsCtx *cx, TsSpan at, const char *code, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void ts_note(TsCtx *cx, TsSpan at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void ts_hint(TsCtx *cx, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A failure of the environment (missing file, full disk, missing tool): exit code 3. file_or_tool may be NULL. */
void ts_env_error(TsCtx *cx, const char *code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A compiler bug: names the pass; exit code 4. Does not return: jumps to the driver's handler. */
_Noreturn void ts_bug(TsCtx *cx, TsSpan at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

uint32_t ts_error_count(const TsCtx *cx);
int ts_exit_code(const TsCtx *cx); /* 0, 1 bad input, 3 environment, 4 bug: by what was reported */
/* Diagnostic i in the order of reporting; false past the last. code: NULL for notes and hints. */
typedef struct { TsDiagKind kind; TsSpan at; const char *code, *text; } TsDiag;
bool ts_diag_get(const TsCtx *cx, uint32_t i, TsDiag *out);
void ts_diag_print(const TsCtx *cx, FILE *to);
void ts_diag_text(const TsCtx *cx, TsBuf *to);
void ts_diag_reset(TsCtx *cx);     /* forget everything reported (tests; speculative parsing) */
/* Runs fn(user) under the context's guard: ts_bug and out-of-memory return here. true if fn returned. */
bool ts_guard(TsCtx *cx, void (*fn)(void *user), void *user);

/* The nearest of n names by edit distance, or one that begins with what is wanted; NULL when nothing is near. */
TsSym ts_nearest(TsSym wanted, const TsSym *names, size_t n);
/* The hint after "unknown name": the nearest; else all of them, where they are few. */
void ts_hint_names(TsCtx *cx, TsSym wanted, const TsSym *names, size_t n);

/* Greatest common divisor, not negative; of 0 and n it is |n|. Neither is INT64_MIN. */
static inline int64_t ts_gcd(int64_t a, int64_t b)
{
	if (a < 0) a = -a;
	if (b < 0) b = -b;
	while (b) {
		int64_t r = a % b;
		a = b;
		b = r;
	}
	return a;
}
