#include "frontend/graph_text/wrap.h"

/* Bytes of s that fit in so many columns; a code point is one. */
static size_t fitting(const char *s, size_t n, size_t columns)
{
	size_t i = 0;
	for (; i < n; i++) {
		if (((unsigned char)s[i] & 0xc0) == 0x80) continue;
		if (!columns--) break;
	}
	return i;
}

/* The place to cut s, of n bytes from `from` on: one of b[*next] on, which moves past it; n when there is none. */
static size_t cut(const char *s, size_t from, size_t n, size_t columns, const TsBreak *b, size_t nb, size_t *next)
{
	size_t reach = from + fitting(s + from, n - from, columns), best = nb, i = *next;
	while (i < nb && b[i].at <= from) i++;
	for (size_t k = i; k < nb && b[k].at <= reach; k++)
		if (best == nb || b[k].rank <= b[best].rank) best = k;
	if (best == nb) best = i;
	*next = best;
	return best < nb ? b[best].at : n;
}

void ts_wrap_line(TsBuf *text, size_t line, int blanks, const TsBreak *b, size_t n)
{
	size_t size = text->n - line, at = 0, next = 0, columns = TS_LINE_WIDTH;
	if (fitting(text->p + line, size, columns) == size) return;
	TsBuf old = { 0 };
	ts_buf_add(&old, text->p + line, size);
	text->n = line;
	while (fitting(old.p + at, size - at, columns) < size - at) {
		size_t to = cut(old.p, at, size, columns, b, n, &next);
		if (to >= size) break;
		ts_buf_add(text, old.p + at, to - at);
		ts_buf_fmt(text, "\n%*s", blanks, "");
		at = to + (old.p[to] == ' ');
		columns = blanks < TS_LINE_WIDTH ? (size_t)(TS_LINE_WIDTH - blanks) : 1;
	}
	ts_buf_add(text, old.p + at, size - at);
	ts_buf_free(&old);
}
