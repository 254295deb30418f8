#include "support/arena.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Chunk { struct Chunk *next; size_t size; } Chunk;
struct TsArena {
	Chunk *chunks;
	char *at, *end;
	size_t used;
	void (*fail)(void *, size_t);
	void *user;
};
enum { CHUNK = 1 << 16, HEADER = (sizeof(Chunk) + 15) & ~15u };

TsArena *ts_arena_new(void)
{
	TsArena *a = calloc(1, sizeof *a);
	if (!a) { fputs("tsc: out of memory\n", stderr); _Exit(3); }
	return a;
}

void ts_arena_free(TsArena *a)
{
	if (!a) return;
	for (Chunk *c = a->chunks, *n; c; c = n) { n = c->next; free(c); }
	free(a);
}

void ts_arena_on_fail(TsArena *a, void (*fail)(void *, size_t), void *user) { a->fail = fail; a->user = user; }

static void out_of_memory(TsArena *a, size_t size)
{
	if (a->fail) a->fail(a->user, size);
	fputs("tsc: out of memory\n", stderr);
	_Exit(3);
}

void *ts_alloc(TsArena *a, size_t size)
{
	if (size > SIZE_MAX / 2) out_of_memory(a, size);
	size = (size + 15) & ~(size_t)15;
	if ((size_t)(a->end - a->at) < size) {
		size_t body = size > CHUNK ? size : CHUNK;
		Chunk *c = calloc(1, HEADER + body);
		if (!c) out_of_memory(a, size);
		c->size = body;
		c->next = a->chunks;
		a->chunks = c;
		/* A large block gets a chunk of its own; the current chunk stays in use when more of it is left. */
		if (size >= CHUNK && a->at) { a->used += size; return (char *)c + HEADER; }
		a->at = (char *)c + HEADER;
		a->end = a->at + body;
	}
	void *p = a->at;
	a->at += size;
	a->used += size;
	return p;
}

void *ts_alloc_array(TsArena *a, size_t n, size_t size)
{
	size_t total;
	if (__builtin_mul_overflow(n, size, &total)) out_of_memory(a, SIZE_MAX);
	return ts_alloc(a, total);
}

void *ts_memdup(TsArena *a, const void *p, size_t size)
{
	void *q = ts_alloc(a, size);
	if (size) memcpy(q, p, size);
	return q;
}

char *ts_strndup(TsArena *a, const char *s, size_t n)
{
	char *q = ts_alloc(a, n + 1);
	if (n) memcpy(q, s, n);
	return q;
}

char *ts_strdup(TsArena *a, const char *s) { return ts_strndup(a, s, strlen(s)); }

char *ts_printf(TsArena *a, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	char *s = ts_alloc(a, (size_t)(n < 0 ? 0 : n) + 1);
	if (n > 0) vsnprintf(s, (size_t)n + 1, fmt, again);
	va_end(again);
	return s;
}

size_t ts_arena_used(const TsArena *a) { return a->used; }

void *ts_vec_grow(TsArena *a, void *p, uint32_t *cap, size_t size)
{
	uint32_t old = *cap, now = old ? old * 2 : 8;
	if (now < old) out_of_memory(a, SIZE_MAX);
	void *q = ts_alloc_array(a, now, size);
	if (old) memcpy(q, p, old * size);
	*cap = now;
	return q;
}
