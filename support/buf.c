#include "support/buf.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reserve(TsBuf *b, size_t more)
{
	size_t want = b->n + more + 1;
	if (want <= b->cap) return;
	size_t cap = b->cap ? b->cap : 256;
	while (cap < want) cap = cap > SIZE_MAX / 2 ? want : cap * 2;
	char *p = want < more ? NULL : realloc(b->p, cap);
	if (!p) { fputs("tsc: out of memory\n", stderr); _Exit(3); }
	b->p = p;
	b->cap = cap;
}

void ts_buf_add(TsBuf *b, const void *p, size_t n)
{
	reserve(b, n);
	if (n) memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = 0;
}

void ts_buf_str(TsBuf *b, const char *s) { ts_buf_add(b, s, strlen(s)); }
void ts_buf_char(TsBuf *b, char c) { ts_buf_add(b, &c, 1); }

void ts_buf_vfmt(TsBuf *b, const char *fmt, va_list ap)
{
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	if (n > 0) {
		reserve(b, (size_t)n);
		vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
		b->n += (size_t)n;
	}
	va_end(again);
}

void ts_buf_fmt(TsBuf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(b, fmt, ap);
	va_end(ap);
}

void *ts_buf_space(TsBuf *b, size_t n)
{
	reserve(b, n);
	void *p = b->p + b->n;
	memset(p, 0, n);
	b->n += n;
	b->p[b->n] = 0;
	return p;
}

void ts_buf_align(TsBuf *b, size_t align) { ts_buf_space(b, (align - b->n % align) % align); }

void ts_buf_free(TsBuf *b)
{
	free(b->p);
	*b = (TsBuf){ 0 };
}

static void shortest(TsBuf *b, double x, int digits, int is_f32)
{
	char s[40];
	if (isnan(x)) { ts_buf_str(b, "nan"); return; }
	if (isinf(x)) { ts_buf_str(b, x < 0 ? "-inf" : "inf"); return; }
	for (int d = 1; d <= digits; d++) {
		snprintf(s, sizeof s, "%.*g", d, x);
		if (is_f32 ? strtof(s, NULL) == (float)x : strtod(s, NULL) == x) break;
	}
	if (!strpbrk(s, ".e")) strcat(s, ".0");
	ts_buf_str(b, s);
}

void ts_buf_f64(TsBuf *b, double x) { shortest(b, x, 17, 0); }
void ts_buf_f32(TsBuf *b, float x) { shortest(b, x, 9, 1); }
