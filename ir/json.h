/* A strict JSON reader that builds nothing: the caller walks the text. After the first failure every call returns false and `why`
 * says what was expected; nothing is ever read past the end, and nesting is bounded. */
#pragma once
#include "support/ctx.h"

typedef struct { const char *p, *begin, *end, *why; int depth; } TsJson;

void ts_json_open(TsJson *j, const void *p, size_t n);
bool ts_json_fail(TsJson *j, const char *why);          /* returns false; keeps the first reason */
bool ts_json_begin(TsJson *j, char bracket);            /* '{' or '[' */
/* Whether another element follows; false at the closing bracket (which is read) or on failure: tell them apart by j->why. */
bool ts_json_more(TsJson *j, char bracket, bool *first); /* bracket as given to begin; *first true before the first */
bool ts_json_key(TsJson *j, TsCtx *cx, TsSym *key);     /* a string and its colon */
bool ts_json_string(TsJson *j, TsCtx *cx, TsSym *out);  /* valid UTF-8 without NUL */
bool ts_json_whole(TsJson *j, uint64_t *out);           /* a number without sign, fraction and exponent */
bool ts_json_skip(TsJson *j, TsCtx *cx);                /* one value of any kind */
bool ts_json_end(TsJson *j);                            /* only white space is left */
