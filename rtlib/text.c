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

/* Words of more than 80 bytes are cut to 60 and "…"; words with a slash, which are paths, from 400 on. */
static void put_clipped(TsText *t, const char *s)
{
	while (*s) {
		size_t len = 0, kept;
		bool path = false;
		for (; s[len] && s[len] != ' '; len++)
			path |= s[len] == '/';
		kept = len <= 80 || (path && len <= 400) ? len : 60;
		while (kept < len && ((unsigned char)s[kept] & 0xc0) == 0x80 && kept)
			kept--;
		for (size_t i = 0; i < kept; i++)
			put(t, s[i]);
		for (const char *dots = kept < len ? "…" : ""; *dots; dots++)
			put(t, *dots);
		s += len;
		while (*s == ' ')
			put(t, *s++);
	}
}

static void put_reason(TsText *t, int64_t error)
{
	const char *words = ts_reason(error);
	if (words)
		for (; *words; words++)
			put(t, *words);
	else
		ts_text_add(t, "error %d of the system", error);
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
			if (t->clip)
				put_clipped(t, s);
			while (!t->clip && *s)
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
		case 'e': put_reason(t, va_arg(ap, int64_t)); break;
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
		TsText t = { e->message, 0, sizeof e->message, true };
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

static size_t edits(const char *a, const char *b)
{
	enum { MOST = 64 };
	size_t la = strlen(a), lb = strlen(b), row[MOST + 1];
	if (la > MOST || lb > MOST)
		return SIZE_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t up = row[j], best = diagonal + (a[i - 1] != b[j - 1]);
			best = up + 1 < best ? up + 1 : best;
			best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
			diagonal = up;
			row[j] = best;
		}
	}
	return row[lb];
}

void ts_near_try(TsNear *n, const char *name)
{
	size_t len = strlen(n->wanted), far = len < 3 ? 2 : len / 3 + 2, d = edits(n->wanted, name);
	if (len >= 2 && len < strlen(name) && !memcmp(n->wanted, name, len) && d >= far)
		d = far - 1; /* it begins so */
	if (d < far && (!n->best || d < n->least)) {
		n->best = name;
		n->least = d;
	}
}
