#include "ir/graph.h"
#include <ctype.h>
#include <string.h>

/* name = { text | "{{" | "{" sum "}" }   sum = product { ("+" | "-") product }   product = unit { ("*" | "//" | "%") unit }
 * unit = INT | NAME | "-" unit | "(" sum ")" */
typedef struct { TsCtx *cx; const char *p; uint32_t n, depth; const TsSym *vars; const int64_t *vals; bool bad; } Reader;

static int64_t read_sum(Reader *r);

static void skip(Reader *r)
{
	while (*r->p == ' ') r->p++;
}

static int64_t read_unit(Reader *r)
{
	enum { DEEPEST = 64 };
	skip(r);
	int64_t v = 0;
	if (++r->depth > DEEPEST) r->bad = true;
	if (r->bad) return 0;
	if (isdigit((unsigned char)*r->p)) {
		for (; isdigit((unsigned char)*r->p); r->p++) r->bad |= __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *r->p - '0', &v);
	} else if (isalpha((unsigned char)*r->p) || *r->p == '_') {
		const char *from = r->p;
		while (isalnum((unsigned char)*r->p) || *r->p == '_') r->p++;
		TsSym name = ts_intern_n(r->cx, from, (size_t)(r->p - from));
		uint32_t i = r->n;
		while (i && r->vars[i - 1] != name) i--;       /* the innermost loop of that name */
		if (i) v = r->vals[i - 1];
		else r->bad = true;
	} else if (*r->p == '-') {
		r->p++;
		r->bad |= __builtin_sub_overflow(0, read_unit(r), &v);
	} else if (*r->p == '(') {
		r->p++;
		v = read_sum(r);
		skip(r);
		if (*r->p == ')') r->p++;
		else r->bad = true;
	} else r->bad = true;
	r->depth--;
	return v;
}

static int64_t floor_div(Reader *r, int64_t a, int64_t b)
{
	if (!b || (a == INT64_MIN && b == -1)) return r->bad = true, 0;
	return a / b - (a % b && (a < 0) != (b < 0));
}

static int64_t read_product(Reader *r)
{
	int64_t v = read_unit(r);
	for (skip(r); !r->bad; skip(r)) {
		if (*r->p == '*') r->p++, r->bad |= __builtin_mul_overflow(v, read_unit(r), &v);
		else if (r->p[0] == '/' && r->p[1] == '/') r->p += 2, v = floor_div(r, v, read_unit(r));
		else if (*r->p == '%') {
			r->p++;
			int64_t b = read_unit(r), q = floor_div(r, v, b);
			if (!r->bad) v -= q * b;
		} else break;
	}
	return v;
}

static int64_t read_sum(Reader *r)
{
	int64_t v = read_product(r);
	for (skip(r); !r->bad && (*r->p == '+' || *r->p == '-'); skip(r)) {
		bool minus = *r->p++ == '-';
		int64_t b = read_product(r);
		r->bad |= minus ? __builtin_sub_overflow(v, b, &v) : __builtin_add_overflow(v, b, &v);
	}
	return v;
}

TsSym ts_weight_name(TsCtx *cx, TsSym pattern, uint32_t nvars, const TsSym *vars, const int64_t *vals)
{
	if (!strchr(pattern, '{')) return pattern;
	TsBuf b = { 0 };
	Reader r = { .cx = cx, .p = pattern, .n = nvars, .vars = vars, .vals = vals };
	while (*r.p && !r.bad) {
		if (*r.p != '{') { ts_buf_char(&b, *r.p++); continue; }
		if (r.p[1] == '{') { ts_buf_char(&b, '{'); r.p += 2; continue; }
		r.p++;
		int64_t v = read_sum(&r);
		skip(&r);
		r.bad |= *r.p != '}';
		if (r.bad) break;
		r.p++;
		ts_buf_fmt(&b, "%lld", (long long)v);
	}
	TsSym name = r.bad ? NULL : ts_intern_n(cx, b.p, b.n);
	ts_buf_free(&b);
	return name;
}
