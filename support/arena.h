/* Arena memory. An arena owns everything allocated from it and frees it in one go; nothing is freed singly.
 * Memory is zeroed and 16-byte aligned. Running out of memory, or passing the arena's limit, never returns NULL:
 * it jumps to the handler set with ts_arena_on_fail (see TsCtx), so callers need no checks. */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct TsArena TsArena;

TsArena *ts_arena_new(void);
void ts_arena_free(TsArena *a);
/* fail(user, size) must not return; without one the process ends with exit code 3. */
void ts_arena_on_fail(TsArena *a, void (*fail)(void *user, size_t size), void *user);
void *ts_alloc(TsArena *a, size_t size);
void *ts_alloc_array(TsArena *a, size_t n, size_t size); /* n * size, overflow is "out of memory" */
void *ts_memdup(TsArena *a, const void *p, size_t size);
char *ts_strdup(TsArena *a, const char *s);
char *ts_strndup(TsArena *a, const char *s, size_t n);
char *ts_printf(TsArena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3), nonnull(2)));
size_t ts_arena_used(const TsArena *a);

#define TS_NEW(a, T) ((T *)ts_alloc((a), sizeof(T)))
#define TS_NEW_N(a, T, n) ((T *)ts_alloc_array((a), (n), sizeof(T)))

/* Growable array in an arena: TS_VEC(int) v = {0}; ts_push(a, &v, 3); v.p[i], v.n. */
#define TS_VEC(T) struct { T *p; uint32_t n, cap; }
#define ts_push(a, v, ...) \
	((v)->n == (v)->cap ? (void)((v)->p = ts_vec_grow((a), (v)->p, &(v)->cap, sizeof *(v)->p)) : (void)0, \
	 (v)->p[(v)->n++] = (__VA_ARGS__))
void *ts_vec_grow(TsArena *a, void *p, uint32_t *cap, size_t size);
