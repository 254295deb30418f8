/* Hash map from an interned name (or any non-NULL pointer) to a pointer-sized value, in an arena. Iteration is in
 * insertion order (keys[i], vals[i]), so nothing that is printed depends on addresses. */
#pragma once
#include "support/arena.h"
#include <stdbool.h>

typedef struct { const void **keys; uintptr_t *vals; uint32_t n, cap, *slots, nslots; } TsMap;

/* The value's place, or NULL. */
uintptr_t *ts_map_find(const TsMap *m, const void *key);
/* The value's place; *fresh (may be NULL) says whether it was made now, with value 0. */
uintptr_t *ts_map_put(TsArena *a, TsMap *m, const void *key, bool *fresh);
static inline void *ts_map_get(const TsMap *m, const void *key) { uintptr_t *v = ts_map_find(m, key); return v ? (void *)*v : NULL; }
static inline void ts_map_set(TsArena *a, TsMap *m, const void *key, const void *val) { *ts_map_put(a, m, key, NULL) = (uintptr_t)val; }
