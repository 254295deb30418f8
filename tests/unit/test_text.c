/* The laws of the text forms: parse(print(t)) == t, parse(fmt(x)) == parse(x), fmt(fmt(x)) == fmt(x), over every .tg and .tile under
 * tests/golden and examples, and over small texts for each production. Broken texts give errors and nothing else. */
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/print.h"
#include "support/file.h"
#include <dirent.h>
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

static TsTree *parse_text(TsCtx *cx, const char *name, const char *text, size_t n) { return ts_parse(cx, ts_source_add(cx, name, text, n)); }

static bool laws(const char *name, const char *text, size_t n)
{
	TsCtx *cx = ts_ctx_new();
	TsBuf bare = { 0 }, kept = { 0 }, again = { 0 };
	const char *why = NULL;
	TsTree *t = parse_text(cx, name, text, n), *u;
	if (!t) why = "does not parse";
	if (!why) {
		ts_print_tree(t, &bare, false);
		u = parse_text(cx, "printed", bare.p, bare.n);
		if (!u) why = "printed text does not parse";
		else if (!ts_tree_eq(t, u)) why = "parse(print(t)) != t";
	}
	if (!why) {
		ts_print_tree(t, &kept, true);
		u = parse_text(cx, "formatted", kept.p, kept.n);
		if (!u) why = "formatted text does not parse";
		else if (!ts_tree_eq(t, u)) why = "parse(fmt(x)) != parse(x)";
		else ts_print_tree(u, &again, true);
		if (!why && (again.n != kept.n || memcmp(again.p, kept.p, kept.n))) why = "fmt(fmt(x)) != fmt(x)";
	}
	if (!why) for (const char *c = text; c < text + n && !why; c++) { /* no comment is lost */
		if (*c != '#') continue;
		size_t len = strcspn(c, "\r\n");
		while (len > 1 && (c[len - 1] == ' ' || c[len - 1] == '\t')) len--;
		if (c[1] != '#' && !memmem(kept.p, kept.n, c, len)) why = "fmt lost a comment";
		c += len - 1;
	}
	check(name, !why, why ? why : "");
	if (why) {
		ts_diag_print(cx, stdout);
		printf("---- printed\n%s---- formatted\n%s---- again\n%s", bare.p ? bare.p : "", kept.p ? kept.p : "", again.p ? again.p : "");
	}
	ts_buf_free(&bare);
	ts_buf_free(&kept);
	ts_buf_free(&again);
	ts_ctx_free(cx);
	return !why;
}

/* Each text cut short anywhere, and with any one byte changed, is read or refused, never more. */
static void broken(const char *name, const char *text, size_t n)
{
	uint32_t seed = 12345;
	char *copy = malloc(n + 1);
	for (uint32_t k = 0; k < 300; k++) {
		TsCtx *cx = ts_ctx_new();
		seed = seed * 1664525u + 1013904223u;
		size_t at = seed % (n + 1);
		memcpy(copy, text, n + 1);
		seed = seed * 1664525u + 1013904223u;
		if (k % 2 && at < n) copy[at] = "()[]{},:.=+-*/%@\"`# \nx0"[seed >> 8 & 15];
		size_t size = k % 2 ? n : at;
		TsTree *t = parse_text(cx, name, copy, size);
		if ((t != NULL) == (ts_error_count(cx) != 0)) check(name, false, "a tree and an error, or neither");
		TsBuf b = { 0 };
		if (t) {
			ts_print_tree(t, &b, true);
			TsTree *u = parse_text(cx, "printed", b.p, b.n);
			if (!u || !ts_tree_eq(t, u)) { check(name, false, "a changed text breaks parse(print(t)) == t"); printf("%s\n", b.p); ts_diag_print(cx, stdout); }
		}
		ts_buf_free(&b);
		ts_ctx_free(cx);
	}
	free(copy);
}

static void folder(TsCtx *cx, const char *path)
{
	struct dirent **e;
	int n = scandir(path, &e, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		char full[512];
		size_t len = strlen(e[i]->d_name);
		TsFile f;
		snprintf(full, sizeof full, "%s/%s", path, e[i]->d_name);
		bool text = (len > 3 && !strcmp(e[i]->d_name + len - 3, ".tg")) || (len > 5 && !strcmp(e[i]->d_name + len - 5, ".tile"));
		if (e[i]->d_name[0] != '.' && e[i]->d_type == DT_DIR && strcmp(e[i]->d_name, "errors")) folder(cx, full);
		else if (text && ts_file_map(cx, full, &f)) {
			char *copy = malloc(f.size + 1);
			memcpy(copy, f.p, f.size);
			copy[f.size] = 0;
			if (laws(full, copy, f.size)) broken(full, copy, f.size);
			free(copy);
			ts_file_unmap(&f);
		}
		free(e[i]);
	}
	if (n >= 0) free(e);
}

static const char *const good[] = {
	"tessera 1\n",
	"# one\n# two\ntessera 1 # here\n# last\n",
	"tessera 1\ndims B, 2 <= S <= 4096 multiple_of 8, D = 512, F = 4*D, 0 <= N\n",
	"tessera 1\n## doc\n##\n## more\ndims B # t\n\n\n# x\n\nconst c: f32[] = -0.5\nconst d = 3\n",
	"tessera 1\nmeta { producer = \"x\", n = 3 }\nsource py = \"model.py\"\nnumerics { accum = f32\n deterministic = true }\n",
	"tessera 1\nweights W = [\"a\", \"b\"]\nweights V = \"c\" {\n  # first\n  \"a\": f32[1] # tail\n  \"b.{0..12}.c\": bf16[2, 3] @packed(int32, axis = 0) = uniform(-0.5, 0.5)\n  # end\n}\ntrainable weights U seed 0 { \"x\": f32[] = 0, \"y\": f32[] }\n",
	"tessera 1\nstate K: f32[12, B, 4*T] = 0\nstate m: f32 like W = 0\nmesh M = [dp = 2, tp = 4]\n",
	"tessera 1\nimport f(x: f32[N, 2]) -> (y: f32[N, 1]) from \"libf.so\" { effect = \"pure\", adjoint = df }\nimport g() -> ()\n",
	"tessera 1\nper_device graph f(x: bf16@f32[B, 2*S + 1] @shard(dp, _, [tp, ep]), p: weights, const n: int, const t: dtype, const b: bool, a: op(f32[N, 2] -> f32[N, 1])) -> () {\n}\n",
	"tessera 1\nfn f() {\n  x = a or b and not c == d + e * f ** -g ** 2\n  y = (a or b) and (not c) == (d < e)\n  z = -a ** 2 + (-a) ** 2 - (-3) ** 2 - -3 - (a - b) - (2 ** 3) ** 4\n  w = a @ b.T @ (c @ d) // 2 % 3\n  v = -9223372036854775808 + 0x10 + 1e-12 + 0x1.8p3 + 1e6 + bits(0x7fc00001, f32) - inf + nan\n}\n",
	"tessera 1\nfn f() {\n  a = x[..., 0, 1:2, :, ::2, 3:, :4, none, i:i + 4*s:s]\n  b = W.\"h.{i}.*\".\"a\\\"\\\\\\n\\t\\u{e9}\"[0:S]\n  `input.1`, _, y.1: f32[] = f(`set`, x.2, [1, [2.5, -1]], op = \"sum\", axis = -1)\n  c: @reg = g(x)(y).z(k = none)[0].T\n}\n",
	"tessera 1\nfn f() {\n  h = for i in 0..6 step 2 with x = x0, y = y0 { # tail\n    emit a, b\n    yield f(x), y\n    # last\n  } { accum = f16, at = py(41, 9) }\n  hT, ys = scan x in xs, y in ys axis 1 reverse with h = h0 {\n    yield h\n  }\n  x = loop with x = x0, k = 0 max 50 {\n    until done\n    yield x1, k + 1\n  }\n  y = if c { yield a } else if d { yield b } else { yield e }\n}\n",
	"tessera 1\nfn f() {\n  set K[i, :, n:n + S] = heads(k)\n  set W, m = adamw(W, g)\n  numerics { accum = f32 }\n  store(a, b) { x = 1 }\n  group k0(tile = [128, 256], stages = 4) {\n    y = x\n  }\n  input = 1\n  expect = 2\n  grid: f32[] = 3\n}\n",
	"tessera 1\ntest \"a \\\"b\\\"\" {\n  dims T = 8\n  input x: f32[1, 2] = [[1.0, -2.0]]\n  y = f(x)\n  `expect`(y)\n  expect y == z within 1e-5\n  expect error \"E_X\"\n  expect (a) == b\n}\n",
	"tessera 1\nkernel k(X: f32[R, N] @strides(N, 1), R: idx, N: idx) {\n  grid b in 0..R, i in 0..N step 128\n  x: f32[64] @V = load(X[b, i:i + 128, :], pad = 0)\n}\n",
	"tile 1\nkernel k(X: f32[R, N], R: idx, N: idx) {\n  layout V[m, n] = v16:1n r4:16n l2:_ r6:1m swizzle 128\n  smem a: f32[48, 128] @L\n  ring R[4] { a: bf16[128, 64] @KA, b: bf16[64, 128] @KB } { full = 1, empty = 2 }\n  role load(warps = 4, regs = 40) {\n    one {\n      x: f32[64, 256]! @D = mma(c, a, b, atom = \"fma\")\n    }\n    yield\n  }\n  for n in c..e step 64 {\n    y = x\n  } { unroll = 4 }\n  if a < b {\n    f(x)\n  }\n} { target = \"cpu\" }\n",
	"tessera 1\nfn f(\n  x: f32[], # one\n  y: f32[], # two\n)\n  -> (z: f32[]) {\n  z = x + # left\n      # between\n      y   # right\n  w = f(\n    x,\n    y,\n  )\n}\n",
};

static const struct { const char *name, *text, *code; } bad[] = {
	{ "empty", "", "E_SYNTAX" }, { "version", "tessera 2\n", "E_VERSION" }, { "no-version", "graph f() {}\n", "E_SYNTAX" },
	{ "not-utf8", "tessera 1\nconst c = \"\xff\"\n", "E_SYNTAX" }, { "open-string", "tessera 1\nconst c = \"a\n", "E_SYNTAX" },
	{ "octal", "tessera 1\nconst c = 012\n", "E_SYNTAX" }, { "large", "tessera 1\nconst c = 99999999999999999999\n", "E_SYNTAX" },
	{ "chain", "tessera 1\nconst c = a < b < c\n", "E_SYNTAX" }, { "half", "tessera 1\nconst c = 1.\n", "E_SYNTAX" },
	{ "positional", "tessera 1\nconst c = f(a = 1, b)\n", "E_SYNTAX" }, { "no-brace", "tessera 1\nfn f() {\n", "E_SYNTAX" },
	{ "doc-last", "tessera 1\nfn f() {\n  ## nothing\n}\n", "E_SYNTAX" }, { "zero-byte", "tessera 1\nconst c = \"\\u{0}\"\n", "E_SYNTAX" },
};

static void refusals(void)
{
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		TsCtx *cx = ts_ctx_new();
		TsBuf b = { 0 };
		bool none = !parse_text(cx, bad[i].name, bad[i].text, strlen(bad[i].text));
		ts_diag_text(cx, &b);
		check(bad[i].name, none && b.p && strstr(b.p, bad[i].code), b.p ? b.p : "no error");
		ts_buf_free(&b);
		ts_ctx_free(cx);
	}
}

/* Deep nesting and long chains end in E_LIMIT, not on the stack. */
static void limits(const char *name, const char *open, const char *close, size_t n, bool fits)
{
	TsCtx *cx = ts_ctx_new();
	TsBuf b = { 0 }, d = { 0 };
	ts_buf_str(&b, "tessera 1\nconst c = ");
	for (size_t i = 0; i < n; i++) ts_buf_str(&b, open);
	ts_buf_str(&b, "x");
	for (size_t i = 0; i < n; i++) ts_buf_str(&b, close);
	ts_buf_str(&b, "\n");
	bool parsed = parse_text(cx, name, b.p, b.n) != NULL;
	ts_diag_text(cx, &d);
	check(name, fits ? parsed : !parsed && strstr(d.p, "E_LIMIT"), d.p ? d.p : "no error");
	ts_buf_free(&b);
	ts_buf_free(&d);
	ts_ctx_free(cx);
}

int main(void)
{
	TsCtx *cx = ts_ctx_new();
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		char name[32];
		snprintf(name, sizeof name, "text-%zu", i);
		if (laws(name, good[i], strlen(good[i]))) broken(name, good[i], strlen(good[i]));
	}
	folder(cx, "tests/golden");
	folder(cx, "examples");
	refusals();
	limits("nesting-60", "(", ")", 60, true);
	limits("nesting-100000", "(", ")", 100000, false);
	limits("lists-100000", "[", "]", 100000, false);
	limits("minus-100000", "- ", "", 100000, false);
	limits("power-100000", "2 ** ", "", 100000, false);
	limits("chain-400", "1 + ", "", 400, true);
	limits("chain-100000", "1 + ", "", 100000, false);
	limits("postfix-100000", "", ".T", 100000, false);
	limits("calls-100000", "f(", ")", 100000, false);
	if (!failed) printf("ok text (%d checks)\n", passed);
	ts_ctx_free(cx);
	return failed;
}
