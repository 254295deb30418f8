/* Strict reading of tunables, shared by the files of CPU families and of GPUs. Functions that give bool report when they are false (those
 * that say what is wrong: when they are true). */
#pragma once
#include "middle/tiler/db_yaml.h"

/* name, range, what it must be a multiple of, which schedules have it (a set), must it agree between CPU families */
typedef struct { const char *name; int min, max, step, in; bool shared; } TsTuneField;
bool ts_tune_wrong_kind(TsCtx *cx, const TsYaml *n, TsYamlKind want, const char *what);
/* The values of a mapping by name: found[i] is names[i]'s value or NULL. */
bool ts_tune_keys(TsCtx *cx, const TsYaml *map, const char *what, const char *const *names, uint32_t n, const TsYaml **found);
bool ts_tune_need(TsCtx *cx, const TsYaml *in, const char *what, const char *name, const TsYaml *value);
bool ts_tune_number(TsCtx *cx, const TsYaml *n, const TsTuneField *f, int *out);
bool ts_tune_word(TsCtx *cx, const TsYaml *n, const char *what, const char *const *names, uint32_t count);
bool ts_tune_illegal(TsCtx *cx, TsSpan at, bool is_legal, const char *why);
