/* Small formatted text for error messages and explain. */
#include "rtlib/rt.h"

static void put(TsText *t, char c)
{
	if (t->n + 1 < t->cap)
		t->p[t->n++] = c;
}

static void put_number(TsText *t, uint64_t x)
{
	char digits[20];
	int n = 0;
	do
		digits[n++] = (char)('0' + x % 10);
	while (x /= 10);
	while (n)
		put(t, digits[--n]);
}

void ts_text_vadd(TsText *t, const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put(t, *fmt);
			continue;
		}
		switch (*++fmt) {
		case 's': {
			const char *s = va_arg(ap, const char *);
			while (*s)
				put(t, *s++);
			break;
		}
		case 'd': {
			int64_t x = va_arg(ap, int64_t);
			if (x < 0)
				put(t, '-');
			put_number(t, x < 0 ? -(uint64_t)x : (uint64_t)x);
			break;
		}
		case 'u': put_number(t, va_arg(ap, uint64_t)); break;
		case 'c': put(t, (char)va_arg(ap, int)); break;
		default: put(t, *fmt);
		}
	}
	if (t->cap)
		t->p[t->n] = 0;
}

void ts_text_add(TsText *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	ts_text_vadd(t, fmt, ap);
	va_end(ap);
}

int32_t ts_fail(TesseraError *e, int32_t code, const char *fmt, ...)
{
	if (e) {
		TsText t = { e->message, 0, sizeof e->message };
		va_list ap;
		va_start(ap, fmt);
		ts_text_vadd(&t, fmt, ap);
		va_end(ap);
		e->code = code;
	}
	return code;
}

bool ts_str_eq(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}
