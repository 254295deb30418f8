/* tsc fmt over random texts: the tree stays, formatting again changes nothing, each comment is there once, lines end where they must,
 * single empty lines stay. And numbers: what is printed reads back to the same bits, in the form a person writes. */
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/print.h"
#include "frontend/graph_text/wrap.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed, passed;

static void check(const char *name, bool ok, const char *why)
{
	if (ok) passed++;
	else printf("FAIL %s: %s\n", name, why);
	failed |= !ok;
}

/* ---- numbers ---- */

static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t draw(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1du;
}

static uint32_t below(uint32_t n) { return (uint32_t)(draw() >> 32) % n; }

static const struct { double x; const char *text; } forms[] = {
	{ 0, "0.0" }, { -0.0, "-0.0" }, { 1, "1.0" }, { -1.5, "-1.5" }, { 0.5, "0.5" }, { 0.1, "0.1" }, { 100, "100.0" }, { 1e-2, "0.01" }, { 1e-3, "0.001" },
	{ 0.0015, "0.0015" }, { 1e-4, "1e-4" }, { 1e-5, "1e-5" }, { 1.25e-7, "1.25e-7" }, { 123456, "123456.0" }, { 100000, "100000.0" }, { 1e6, "1e6" },
	{ 1.5e6, "1.5e6" }, { 1234567, "1234567.0" }, { 16777216, "16777216.0" }, { 1e30, "1e30" }, { 3.141592653589793, "3.141592653589793" },
	{ 1234567890.5, "1234567890.5" }, { 1.7976931348623157e308, "1.7976931348623157e308" }, { 5e-324, "5e-324" }, { 2.2250738585072014e-308, "2.2250738585072014e-308" },
	{ INFINITY, "inf" }, { -INFINITY, "-inf" }, { NAN, "nan" },
};

static void number_forms(void)
{
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		TsBuf b = { 0 };
		ts_buf_f64(&b, forms[i].x);
		check(forms[i].text, !strcmp(b.p, forms[i].text), b.p);
		b.n = 0;
		ts_buf_f32(&b, 0.1f);
		ts_buf_str(&b, " ");
		ts_buf_f32(&b, 3.4028234663852886e38f);
		check("f32", !strcmp(b.p, "0.1 3.4028235e38"), b.p);
		ts_buf_free(&b);
	}
}

static double random_double(bool f32)
{
	uint64_t bits = draw();
	double x;
	if (f32) { /* the bits of a float, the same value as a double */
		uint32_t half = (uint32_t)(bits >> 32);
		float y;
		memcpy(&y, &half, sizeof y);
		x = (double)y;
	} else if (below(3)) memcpy(&x, &bits, sizeof x);
	else x = (double)(int64_t)(bits >> below(64)) * pow(10, (int)below(40) - 20); /* what people write */
	return isfinite(x) ? x : 1;
}

static bool human(const char *s)
{
	const char *e = strchr(s, 'e'), *point = strchr(s, '.');
	if (strchr(s, '+') || (!e && !point)) return false;
	return !e || (e[1] == '-' ? e[2] : e[1]) != '0';
}

/* Lists of numbers, printed as a tree's floats, or as elements of a tensor are, and read by the parser. */
static void numbers(bool f32)
{
	enum { N = 500 };
	const char *name = f32 ? "random-f32" : "random-f64";
	for (int round = 0; round < 200; round++) {
		TsCtx *cx = ts_ctx_new();
		TsBuf text = { 0 };
		double x[N];
		bool ok = true;
		ts_buf_str(&text, "tessera 1\nconst c = [");
		for (int i = 0; i < N; i++) {
			size_t at = text.n;
			x[i] = random_double(f32);
			if (f32) ts_buf_f32(&text, (float)x[i]);
			else ts_print_tree(ts_tree_float(cx, (TsSpan){ 0 }, x[i]), &text, false);
			ok &= human(text.p + at);
			ts_buf_str(&text, ",\n");
		}
		ts_buf_str(&text, "]\n");
		check(name, ok, "not as a person writes it");
		TsTree *t = ts_parse(cx, ts_source_add(cx, name, text.p, text.n));
		const TsTree *list = t ? t->kid[0]->kid[1] : NULL;
		ok = list && list->n == N;
		for (int i = 0; ok && i < N; i++) {
			double got = list->kid[i]->f;
			float a = (float)got, b = (float)x[i];
			ok = list->kid[i]->kind == TS_TREE_FLOAT && (f32 ? !memcmp(&a, &b, sizeof a) : !memcmp(&got, &x[i], sizeof got));
			if (!ok) printf("%a read as %a\n", x[i], got);
		}
		check(name, ok, "reads back as another number");
		ts_buf_free(&text);
		ts_ctx_free(cx);
	}
}

/* ---- texts ---- */

/* A text being made: comments may stand wherever its lines may break; each has a number. */
typedef struct { TsBuf b; uint32_t comments, noise; } Gen;

static void put(Gen *g, const char *s) { ts_buf_str(&g->b, s); }

static void gap(Gen *g) /* the statement goes on whatever stands here */
{
	if (g->noise && !below(g->noise)) {
		if (below(2)) ts_buf_fmt(&g->b, "%*s# c%u.", (int)below(6), "", g->comments++);
		put(g, "\n");
		for (uint32_t n = below(3); n--;) {
			if (below(2)) put(g, "\n");
			ts_buf_fmt(&g->b, "%*s# c%u.\n", (int)below(9), "", g->comments++);
		}
	}
	ts_buf_fmt(&g->b, "%*s", (int)below(3), "");
}

static void ident(Gen *g) { ts_buf_fmt(&g->b, "%.*s%u", (int)(1 + below(below(8) ? 8 : 60)), "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnop", below(100)); }

static void expression(Gen *g, int depth);

static void list(Gen *g, int depth, const char *open, const char *close, bool keys)
{
	put(g, open);
	gap(g);
	for (uint32_t n = below(below(6) ? 4 : 30), i = 0; i < n; i++) {
		if (keys && i + 2 >= n) { ident(g); put(g, " ="); gap(g); }
		expression(g, depth - 1);
		if (i + 1 < n || !below(4)) { put(g, ","); gap(g); }
	}
	if (g->b.p[g->b.n - 1] == '.') put(g, "\n");
	gap(g);
	put(g, close);
}

static void expression(Gen *g, int depth)
{
	static const char *const infix[] = { " +", " -", " *", " /", " //", " %", " @", " and", " or", " **" };
	switch (depth <= 0 ? below(4) : below(12)) {
	case 0: ident(g); break;
	case 1: ts_buf_fmt(&g->b, "%u", below(100000)); break;
	case 2: ts_buf_f64(&g->b, fabs(random_double(false))); break;
	case 3: ts_buf_fmt(&g->b, "\"%.*s é, #, \\\" {i}\"", (int)below(20), "aaaaaaaaaaaaaaaaaaaaa"); break;
	case 4: case 5: ident(g); list(g, depth, "(", ")", true); break;
	case 6: list(g, depth, "[", "]", false); break;
	case 7: put(g, "("); gap(g); expression(g, depth - 1); put(g, ")"); break;
	case 8: put(g, "-"); put(g, " "); expression(g, depth - 1); break;
	case 9: ident(g); put(g, "[0:"); expression(g, depth - 1); put(g, ", ...]"); put(g, ".T"); break;
	default: expression(g, depth - 1); put(g, infix[below(10)]); gap(g); put(g, " "); expression(g, depth - 1); break;
	}
}

static void signature(Gen *g, const char *word)
{
	put(g, word);
	ident(g);
	put(g, "(");
	for (uint32_t n = below(9); n--;) {
		gap(g);
		ident(g);
		put(g, ": f32[B,");
		gap(g);
		put(g, "2*S] @at(k = 3)");
		if (n) put(g, ",");
		gap(g);
	}
	put(g, below(2) ? ") -> (y: f32[B])" : ")\n  # before\n  -> (y: f32[B, 1], z: idx)");
}

static void between(Gen *g, int indent)
{
	put(g, "\n");
	for (uint32_t n = below(5); n-- > 2;) put(g, "\n");
	if (!below(4)) ts_buf_fmt(&g->b, "%*s%s c%u.\n%s", indent, "", below(2) ? "#" : "##", g->comments++, below(3) ? "" : "\n");
	ts_buf_fmt(&g->b, "%*s", indent, "");
}

static void statements(Gen *g, int depth, int indent)
{
	for (uint32_t n = 1 + below(5), i = 0; i < n; i++) {
		between(g, indent);
		switch (below(depth > 0 ? 7 : 4)) {
		case 0: ident(g); put(g, ": bf16[B, 4*S], _ = "); expression(g, 3); if (!below(3)) { put(g, " { accum ="); gap(g); put(g, "f32,"); gap(g); put(g, "at = py(1, 2) }"); } break;
		case 1: put(g, "emit "); expression(g, 2); put(g, ","); gap(g); expression(g, 3); break;
		case 2: ident(g); list(g, 3, "(", ")", true); break;
		case 3: ident(g); put(g, " ="); gap(g); expression(g, 5); break;
		case 4: put(g, "if "); expression(g, 2); put(g, " {"); statements(g, depth - 1, indent + 3); put(g, "\n} else {"); statements(g, depth - 1, 0); put(g, "\n}"); break;
		case 5: ident(g); put(g, " = for i in 0..4 with a ="); gap(g); expression(g, 2); put(g, ","); gap(g); put(g, "b = c {"); statements(g, depth - 1, 1); put(g, "\n}"); break;
		default: put(g, "group g("); expression(g, 2); put(g, ") {"); statements(g, depth - 1, indent); put(g, "\n}"); break;
		}
		if (!below(5)) ts_buf_fmt(&g->b, "%*s# c%u.", (int)below(30), "", g->comments++);
	}
}

static void whole(Gen *g)
{
	*g = (Gen){ .noise = below(3) ? 4 + below(20) : 0 };
	put(g, "tessera 1\n");
	for (uint32_t n = 1 + below(4); n--;) {
		between(g, 0);
		switch (below(3)) {
		case 0: put(g, "dims "); for (uint32_t k = below(20); k--;) { put(g, "2 <= "); ident(g); put(g, " <= 64,"); gap(g); } put(g, "Z = 4*B"); break;
		case 1: put(g, "const "); ident(g); put(g, " ="); gap(g); expression(g, 4); break;
		default: signature(g, below(2) ? "graph " : "fn "); put(g, " {"); statements(g, 2, 2); put(g, "\n}"); break;
		}
	}
	put(g, "\n\n\n");
}

/* The first thing about the formatted lines that is not as docs/tg.md says, or NULL. */
static const char *bad_lines(const TsBuf *b, uint32_t comments)
{
	if (b->n < 2 || b->p[b->n - 1] != '\n' || b->p[b->n - 2] == '\n') return "the text does not end with one line break";
	if (strstr(b->p, "\n\n\n")) return "two empty lines";
	if (strstr(b->p, " \n") || strchr(b->p, '\t')) return "blanks at the end of a line, or a tab";
	for (uint32_t i = 0; i < comments; i++) {
		char c[24];
		snprintf(c, sizeof c, " c%u.", i);
		const char *once = strstr(b->p, c);
		if (!once || strstr(once + 1, c)) return "a comment is not there once";
	}
	for (const char *s = b->p, *end; *s; s = end + 1) {
		uint32_t columns = 0;
		const char *blank = NULL;
		bool quoted = false;
		end = strchr(s, '\n');
		for (const char *c = s; c < end && (quoted || *c != '#'); c++) {
			columns += ((unsigned char)*c & 0xc0) != 0x80;
			if (*c == '"' && c[-1] != '\\') quoted = !quoted;
			if (!quoted && *c == ',' && c[1] == ' ' && c[2] != '#' && c[2] != ' ' && columns <= TS_LINE_WIDTH) blank = c;
		}
		while (columns && end[-1] == ' ') end--, columns--;
		if (columns > TS_LINE_WIDTH && blank && !memchr(s, '#', (size_t)(end - s))) return "a line is too long, and a comma is in reach";
		end = strchr(s, '\n');
	}
	return NULL;
}

static bool random_text(uint32_t k)
{
	Gen g;
	TsCtx *cx = ts_ctx_new();
	TsBuf kept = { 0 }, again = { 0 };
	const char *why = NULL;
	state = 0x9e3779b97f4a7c15u * (k + 1);
	whole(&g);
	uint32_t source = ts_source_add(cx, "random", g.b.p, g.b.n);
	TsTree *t = ts_parse(cx, source), *u = NULL;
	if (!t && strstr(g.b.p, "##")) why = ""; /* documentation that nothing follows, or of the version line: not a valid text */
	else if (!t) why = "does not parse";
	else if (!ts_fmt(cx, source, &kept)) why = "is not formatted";
	else if (!(u = ts_parse(cx, ts_source_add(cx, "formatted", kept.p, kept.n)))) why = "the formatted text does not parse";
	else if (!ts_tree_eq(t, u)) why = "parse(fmt(x)) != parse(x)";
	else {
		ts_print_tree(u, &again, true);
		why = again.n != kept.n || memcmp(again.p, kept.p, kept.n) ? "fmt(fmt(x)) != fmt(x)" : bad_lines(&kept, g.comments);
	}
	bool skipped = why && !*why;
	if (skipped) why = NULL;
	char name[32];
	snprintf(name, sizeof name, "random-text-%u", k);
	check(name, !why, why ? why : "");
	if (why) {
		ts_diag_print(cx, stdout);
		printf("---- text\n%s---- formatted\n%s---- again\n%s", g.b.p, kept.p ? kept.p : "", again.p ? again.p : "");
	}
	ts_buf_free(&g.b);
	ts_buf_free(&kept);
	ts_buf_free(&again);
	ts_ctx_free(cx);
	return !skipped && !why;
}

/* ---- what is said in docs/tg.md ---- */

static const struct { const char *name, *text, *want; } examples[] = {
	{ "empty-lines", "tessera 1\n\n\ndims B\n\n\n\nfn f() {\n\n  a = 1\n\n\n  b = 2\n\n}\n\n", "tessera 1\n\ndims B\n\nfn f() {\n  a = 1\n\n  b = 2\n}\n" },
	{ "documentation", "tessera 1\n## a\n\n# b\n## c\n\ndims B ## d\n", "tessera 1\n## a\n\n# b\n## c\n\n## d\ndims B\n" },
	{ "columns", "tessera 1\ndims B         # b\ndims  Long    # l\ndims C # c\n", "tessera 1\ndims B         # b\ndims Long     # l\ndims C  # c\n" },
	{ "inside", "tessera 1\nfn f(\n  x: f32[], # x\n  # both\n  y: f32[]\n) { z = x + # x\n y }\n",
	  "tessera 1\nfn f(x: f32[],  # x\n    # both\n    y: f32[]) {\n  z = x +  # x\n      y\n}\n" },
	{ "no-place", "tessera 1\nfn f() {\n  yield ( # a\n    b)\n}\n", "tessera 1\nfn f() {\n  # a\n  yield b\n}\n" },
	{ "joined", "tessera 1\nfn f(\n    x: f32[],\n    y: f32[],\n)\n    -> (z: f32[]) {\n  z = x +\n    y\n}\n", "tessera 1\nfn f(x: f32[], y: f32[]) -> (z: f32[]) {\n  z = x + y\n}\n" },
	{ "brackets", "tessera 1\nconst c = concat([aaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, cccccccccccccccccccccccccccccc, dddddddddddddddddd], 1, eeeeeeeeeeeeee + ffffffffff)\n",
	  "tessera 1\nconst c = concat([aaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, cccccccccccccccccccccccccccccc, dddddddddddddddddd], 1,\n    eeeeeeeeeeeeee + ffffffffff)\n" },
	{ "last-in-its-block", "tessera 1\nfn f() {\n  yield aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, ccccccccccccccccccccccc\n}\n",
	  "tessera 1\nfn f() {\n  yield aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb,\n      ccccccccccccccccccccccc\n}\n" },
	{ "operators", "tessera 1\nconst c = f(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbb) * ddddddddddddddddddddddddd + ccccccccccccccccccccccccccccccccc * eeeeeeeeeeeeeee\n",
	  "tessera 1\nconst c = f(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbb) * ddddddddddddddddddddddddd +\n    ccccccccccccccccccccccccccccccccc * eeeeeeeeeeeeeee\n" },
	{ "far-comment", "tessera 1\ndims B                                                                                                   # far\n", "tessera 1\ndims B  # far\n" },
	{ "arrow", "tessera 1\nfn f(aaaaaaaaaaaaaaaaaaaaaaaa: f32[B, S], bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb: f32[B, S], cccccccccccccccccccccccc: f32[B, S]) -> (ddddddddddd: f32[B, S]) {\n}\n",
	  "tessera 1\nfn f(aaaaaaaaaaaaaaaaaaaaaaaa: f32[B, S], bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb: f32[B, S], cccccccccccccccccccccccc: f32[B, S])\n    -> (ddddddddddd: f32[B, S]) {\n}\n" },
};

static void documented(void)
{
	for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
		TsCtx *cx = ts_ctx_new();
		TsBuf b = { 0 };
		bool ok = ts_fmt(cx, ts_source_add(cx, examples[i].name, examples[i].text, strlen(examples[i].text)), &b);
		ok = ok && !strcmp(b.p, examples[i].want);
		check(examples[i].name, ok, b.p ? b.p : "refused");
		ts_buf_free(&b);
		ts_ctx_free(cx);
	}
}

int main(void)
{
	uint32_t valid = 0;
	number_forms();
	numbers(false);
	numbers(true);
	documented();
	for (uint32_t k = 0; k < 3000 && !failed; k++) valid += random_text(k);
	check("random-texts", failed || valid > 2000, "too few of them are valid");
	if (!failed) printf("ok fmt (%d checks)\n", passed);
	return failed;
}
