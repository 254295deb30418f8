/* The law of canonical text: what is printed reads back to a module that verifies, has the same graphs and prints the same. Over small
 * texts that hold each thing a graph can, and over random bodies; with and without statement names left for values. */
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/print_graph.h"
#include "frontend/graph_text/sema.h"
#include "tests/unit/check.h"
#include <string.h>

static TsModule *read_text(TsCtx *cx, const char *name, const char *text)
{
	TsTree *t = ts_parse(cx, ts_source_add(cx, name, text, strlen(text)));
	return t ? ts_module_from_tree(cx, t, name, NULL) : NULL;
}

/* Prints, reads, prints. want: lines that the text must have (NULL: any). */
static void law(const char *name, const char *text, const char *want)
{
	TsCtx *cx = ts_ctx_new();
	TsBuf one = { 0 }, two = { 0 }, diag = { 0 };
	TsModule *m = read_text(cx, "model.tg", text), *again = NULL;
	const char *why = m ? NULL : "does not compile";
	if (m) {
		ts_verify(m, "sema");
		ts_print_module(m, &one);
		again = read_text(cx, "printed.tg", one.p);
		if (!again) why = "printed text does not compile";
	}
	if (again) {
		ts_verify(again, "sema");
		ts_print_module(again, &two);
		if (strcmp(one.p, two.p)) why = "printed, read and printed differs";
		else if (m->graphs.n != again->graphs.n) why = "another number of graphs";
		else if (want && !strstr(one.p, want)) why = "not the text wanted";
	}
	ts_diag_text(cx, &diag);
	if (strcmp(name, "random") || why) check(name, !why, "%s\n%s---- printed\n%s---- again\n%s---- wanted\n%s", why ? why : "", diag.p ? diag.p : "", one.p ? one.p : "", two.p ? two.p : "", want ? want : "");
	ts_buf_free(&one);
	ts_buf_free(&two);
	ts_buf_free(&diag);
	ts_ctx_free(cx);
}

static const struct { const char *name, *text, *want; } cases[] = {
	{ "sugar", "tessera 1\ndims B, S\ngraph f(x: f32[B, S], w: f32[8, S]) -> (y: f32[B, 8]) {\n  y = gelu(x @ w.T + 1)\n}\n",
		"  y.1: f32[S, 8] = transpose(w, [1, 0])\n  y.2: f32[B, 8] = matmul(x, y.1)\n  y.3: f32[B, 8] = add(y.2, 1.0)\n  y: f32[B, 8] = gelu(y.3)\n" },
	{ "dims", "tessera 1\ndims 0 <= B <= 64, S multiple_of 8, D = 32, U\ngraph f(x: f32[B, S, D]) -> (y: f32[B, 2*S + 1, D]) {\n  y = pad(x, [0, 0, 0], [0, S + 1, 0])\n}\n",
		"dims 0 <= B <= 64\ndims S multiple_of 8\n\ngraph f(x: f32[B, S, 32]) -> (y: f32[B, 2*S + 1, 32]) {\n" },
	{ "alias", "tessera 1\ndims B\ngraph f(x: f32[B]) -> (y: f32[B], z: f32[B], n: int64[], h: f32[], a: f32[B], b: f32[B]) {\n  y = x\n  t = x + 1\n  a = t\n  b = t\n  z = x\n  n = B\n  h = 0.5\n}\n",
		"  a: f32[B] = add(x, 1.0)\n  y: f32[B] = x\n  z: f32[B] = x\n  n: int64[] = B\n  h: f32[] = 0.5\n  b: f32[B] = a\n" },
	{ "literals", "tessera 1\ndims B\ngraph f(x: f16[B], k: int32[B], c: bool[B]) -> (y: f16[B], z: int32[B], u: f32[B], e: f32[]) {\n  y = where(c, x, 0.1) + inf\n  z = where(k > -3, k, 7)\n  u = where(c, 0.25, -1e-7)\n  e = exp(2.0)\n}\n", "where(c, x, 0.1)" },
	{ "lists", "tessera 1\ndims B\ngraph f(x: f32[B, 3]) -> (y: f32[B, 3], k: int64[2, 2], z: f32[4]) {\n  y = x * [1.5, -2, 3]\n  k = [[1, 2], [3, 4]]\n  z = normal(key = [1, 0], shape = [4]) + uniform([2, 0], [4], low = -1)\n}\n", "stream = 1" },
	{ "loop", "tessera 1\ndims B\nweights W {\n  \"l.{0..4}.w\": f32[8, 8]\n}\ngraph f(x: f32[B, 8]) -> (y: f32[B, 8], v: f32[2, 8, 8]) {\n  y, v = for i in 0..2 with a = x {\n    emit W.\"l.{2*i + 1}.w\"\n    b = a @ W.\"l.{i}.w\"\n    yield b + a\n  }\n}\n",
		"  y: f32[B, 8], v: f32[2, 8, 8] = for i in 0..2 with a = x {\n" },
	{ "loops", "tessera 1\ndims B\nweights W {\n  \"l.{0..4}.w\": f32[8, 8]\n}\ngraph f(x: f32[B, 8]) -> (y: f32[B, 8]) {\n  h = for i in 0..2 with a = x {\n    yield a @ W.\"l.{i}.w\"\n  }\n  y = for i in 1..4 step 2 with a = h {\n    yield a @ W.\"l.{i}.w\"\n  }\n}\n", NULL },
	{ "nested", "tessera 1\ndims B\nweights W {\n  \"l.{0..4}.{0..2}.w\": f32[8, 8]\n}\nfn in(x: f32[B, 8], p: weights) -> (y: f32[B, 8]) {\n  y = for i in 0..2 with a = x {\n    yield a @ p.\"{i}.w\" + cast(i, f32)\n  }\n}\ngraph f(x: f32[B, 8]) -> (y: f32[B, 8]) {\n  y = for i in 0..4 with z = x {\n    yield in(z, W.\"l.{i}.*\")\n  }\n}\n", NULL },
	{ "inlined", "tessera 1\ndims B, N\nfn two(t: f32[N]) -> (a: f32[N], b: f32[N]) {\n  h = t + 1\n  a = h * 2\n  b = exp(h)\n}\ngraph f(x: f32[B], h: f32[2*B]) -> (p: f32[B], q: f32[B], r: f32[2*B]) {\n  p, u = two(x)\n  q, _ = two(p + u)\n  r, _ = two(h)\n}\n", NULL },
	{ "numerics", "tessera 1\ndims B\nnumerics { accum = f64 }\ngraph f(x: f32[B, 8], w: bf16@f32[8, 8]) -> (y: f32[], z: f32[B, 8]) {\n  y = sum(x) { accum = f32, reorder = true }\n  z = matmul(x, w)\n}\n",
		"numerics { accum = f64 }\n\ngraph f(x: f32[B, 8], w: bf16@f32[8, 8]) -> (y: f32[], z: f32[B, 8]) {\n  y: f32[] = sum(x) { accum = f32, reorder = true }\n" },
	{ "operands", "tessera 1\ndims B, S\ngraph f(q: f32[B, 4, S, 8], k: f32[B, 2, S, 8], m: f32[1, 1, S, S], x: f32[B, 8], b: f32[8]) -> (o: f32[B, 4, S, 8], n: f32[B, 8], c: f32[2*B, 8], s: f32[B, 4]) {\n  o = attention(q, k, k, bias = m, scale = 0.25, window = 16)\n  n = layer_norm(x, beta = b)\n  c = concat([x, x])\n  s, _ = split(x, 2)\n}\n", NULL },
	{ "names", "tessera 1\ndims B\n## the graph\ngraph f(`input.1`: f32[B], x: f32[B]) -> (`for`: f32[B]) {\n  ## a step\n  `h 1` = `input.1` * x + 1\n  `for` = `h 1` ** 2\n}\n", NULL },
	{ "two-graphs", "tessera 1\ndims B, S\ngraph f(x: f32[B]) -> (y: f32[B]) {\n  y = relu(x)\n}\ngraph g(x: f32[S, B]) -> (y: f32[S, B]) {\n  y = x[:, 0:B] + 1\n}\n", NULL },
};

/* Random straight-line bodies with names reused by fns and steps written out, read and printed. */
static void random_body(uint32_t seed)
{
	static const char *const form[] = { "v%u = v%u + v%u", "v%u = two(v%u * v%u)", "v%u = -v%u * (v%u - 0.5)", "v%u: f32[B] = where(v%u > v%u, 1.0, 2.0)", "v%u = exp(v%u) / (v%u + S)" };
	TsBuf b = { 0 };
	ts_buf_str(&b, "tessera 1\ndims B, S\nfn two(t: f32[B]) -> (v1: f32[B]) {\n  u = t * 3\n  v1 = u + u\n}\ngraph f(v0: f32[B], v1: f32[B], z: f32[S]) -> (y: f32[B], v2: f32[B]) {\n");
	for (uint32_t k = 2; k < 12; k++) {
		seed = seed * 1664525u + 1013904223u;
		uint32_t f = (seed >> 8) % 5, x = (seed >> 13) % k, y = (seed >> 20) % k;
		ts_buf_str(&b, "  ");
		if (f == 4) ts_buf_fmt(&b, "v%u = exp(v%u) / (v%u + cast(S, f32))", k, x, y);
		else ts_buf_fmt(&b, form[f], k, x, y);
		ts_buf_char(&b, '\n');
	}
	ts_buf_str(&b, "  y = v11\n}\n");
	law("random", b.p, NULL);
	ts_buf_free(&b);
}

int main(void)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) law(cases[i].name, cases[i].text, cases[i].want);
	for (uint32_t i = 0; i < 40; i++) random_body(i * 2654435761u + 1);
	return check_failed;
}
