#include "support/buf.h"
#include <math.h>
#include <stdbool.h>
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

/* digits d, of which the first counts 10^exponent: with a point from 0.001 up to 1e6, else as is shorter: 0.5 1e-4 1e30 16777216.0 */
static void decimal(TsBuf *b, const char *d, int exponent)
{
	int n = (int)strlen(d), whole = exponent + 1;
	int size = snprintf(NULL, 0, "e%d", exponent) + n + (n > 1);
	bool point = exponent < 0 ? exponent >= -3 : exponent < 6 || (whole < n ? n + 1 : whole + 2) <= size;
	if (!point) ts_buf_fmt(b, "%.1s%s%se%d", d, n > 1 ? "." : "", d + 1, exponent);
	else if (whole <= 0) ts_buf_fmt(b, "0.%.*s%s", -whole, "00", d);
	else if (whole < n) ts_buf_fmt(b, "%.*s.%s", whole, d, d + whole);
	else {
		ts_buf_str(b, d);
		for (int i = n; i < whole; i++) ts_buf_char(b, '0');
		ts_buf_str(b, ".0");
	}
}

/* The fewest digits that read back to the same bits; for an f32 also by way of a double, as the parser reads. */
static void shortest(TsBuf *b, double x, int digits, bool is_f32)
{
	char s[40], d[24];
	if (isnan(x)) { ts_buf_str(b, "nan"); return; }
	if (signbit(x)) ts_buf_char(b, '-');
	x = fabs(x);
	if (isinf(x)) { ts_buf_str(b, "inf"); return; }
	for (int k = 1; k <= digits; k++) {
		snprintf(s, sizeof s, "%.*e", k - 1, x);
		double back = strtod(s, NULL);
		if (is_f32 ? (float)back == (float)x && strtof(s, NULL) == (float)x : back == x) break;
	}
	char *e = strchr(s, 'e');
	int n = 0;
	for (const char *c = s; c < e; c++)
		if (*c != '.') d[n++] = *c;
	while (n > 1 && d[n - 1] == '0') n--;
	d[n] = 0;
	decimal(b, d, (int)strtol(e + 1, NULL, 10));
}

void ts_buf_f64(TsBuf *b, double x) { shortest(b, x, 17, false); }
void ts_buf_f32(TsBuf *b, float x) { shortest(b, x, 9, true); }
