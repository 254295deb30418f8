/* Kernels of the user's: what the cells of a grid give one by one is what their operators give at once. Every operator that a kernel
 * takes x element type, and bodies that use them together, with tiles and sizes that end raggedly; bodies are also printed and read.
 * Usage: test_kernels [SEED] */
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/print_graph.h"
#include "frontend/graph_text/sema.h"
#include "ir/interp.h"
#include "middle/rewrite/rewrite.h"
#include "tests/unit/check.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_INPUTS = 6, MOST_RESULTS = 4 };

static uint64_t state;
static uint32_t random_below(uint32_t n) { state = state * 6364136223846793005u + 1442695040888963407u; return (uint32_t)(state >> 33) % n; }

static TsModule *read_text(TsCtx *cx, const char *name, const char *text)
{
	TsTree *t = ts_parse(cx, ts_source_add(cx, name, text, strlen(text)));
	TsModule *m = t ? ts_module_from_tree(cx, t, name, NULL) : NULL;
	return m && ts_verify(m, "read") ? m : NULL;
}

/* A size for each symbol; tensors of those sizes with elements of both signs and no ties at 0. */
static bool make_inputs(TsModule *m, TsGraph *g, TsTensor *in)
{
	int64_t size[64];
	for (uint32_t k = 0; k < ts_dim_symbol_count(m->dims); k++) size[k] = 1 + random_below(21);
	for (uint32_t i = 0; i < g->params.n; i++) {
		const TsType *t = &ts_val(g, g->params.p[i])->type;
		int64_t dim[TS_MAX_RANK];
		for (int a = 0; a < t->rank; a++)
			if (!ts_dim_eval(m->dims, t->dim[a], size, &dim[a])) return false;
		if (!ts_tensor_new(m->cx, "an input", t->elem, t->rank, dim, &in[i])) return false;
		for (int64_t k = 0; k < in[i].count; k++) {
			double x = ((double)random_below(2000001) - 1000000) / 400000;
			if (ts_dtype_is_float(t->elem)) ts_elem_set(t->elem, in[i].data, k, x);
			else ts_elem_set_int(t->elem, in[i].data, k, t->elem == TS_BOOL ? x > 0 : (int64_t)(x * 4));
		}
	}
	return true;
}

/* Same shape, and no element further off than `within` of the largest. */
static bool close_to(const TsTensor *a, const TsTensor *b, double within)
{
	double largest = 1;
	if (a->elem != b->elem || a->rank != b->rank || memcmp(a->dim, b->dim, a->rank * sizeof *a->dim)) return false;
	if (!ts_dtype_is_float(a->elem)) return !memcmp(a->data, b->data, (size_t)a->bytes);
	for (int64_t i = 0; i < b->count; i++) {
		double x = fabs(ts_elem_get(b->elem, b->data, i));
		if (isfinite(x) && x > largest) largest = x;
	}
	for (int64_t i = 0; i < a->count; i++) {
		double x = ts_elem_get(a->elem, a->data, i), y = ts_elem_get(b->elem, b->data, i);
		if (x != y && !(isnan(x) && isnan(y)) && !(fabs(x - y) <= within * largest)) return false;
	}
	return true;
}

static const char *printed_law(TsCtx *cx, TsModule *m)
{
	TsBuf one = { 0 }, two = { 0 };
	ts_print_module(m, &one);
	TsModule *again = read_text(cx, "printed.tg", one.p);
	if (again) ts_print_module(again, &two);
	const char *why = !again ? "printed text does not compile" : strcmp(one.p, two.p) ? "printed, read and printed differs" : NULL;
	ts_buf_free(&one);
	ts_buf_free(&two);
	return why;
}

static bool same_results(TsModule *m, TsTensor *in, const TsTensor *want, double within)
{
	TsTensor out[MOST_RESULTS] = { 0 };
	TsGraph *g = m->graphs.p[0];
	bool ok = ts_eval(m, g, TS_EVAL_F64, in, out);
	for (uint32_t i = 0; i < g->body.results.n; i++) {
		TsDtype t = ts_val(g, g->body.results.p[i])->type.elem; /* a cast rounds, a product with results of 16 bits does not */
		ok = ok && close_to(&out[i], &want[i], t == TS_BF16 || t == TS_F16 ? 0x1p-8 : within);
		ts_tensor_free(&out[i]);
	}
	return ok;
}

/* The kernel cell by cell against its operators, as they are and rewritten. NULL when they agree. */
static const char *compare(const char *text, bool law, TsBuf *diag)
{
	TsCtx *cx = ts_ctx_new();
	TsTensor in[MOST_INPUTS] = { 0 }, want[MOST_RESULTS] = { 0 };
	TsModule *cells = read_text(cx, "k.tg", text), *whole = cells ? read_text(cx, "k.tg", text) : NULL;
	const char *why = whole ? NULL : "does not compile";
	if (!why && law) why = printed_law(cx, cells);
	if (!why && (!make_inputs(cells, cells->graphs.p[0], in) || !ts_eval(cells, cells->graphs.p[0], TS_EVAL_F64, in, want))) why = "the interpreter refuses it";
	if (!why && !(ts_lift_kernels(whole) && ts_verify(whole, "kernels"))) why = "no operators are found for it";
	if (!why && !same_results(whole, in, want, 1e-11)) why = "its operators give something else";
	if (!why && !(ts_rewrite(whole, NULL) && ts_verify(whole, "rewrite"))) why = "its operators cannot be rewritten";
	if (!why && !same_results(whole, in, want, 1e-6)) why = "rewritten, its operators give something else"; /* a softmax of nothing but -inf aside, f32 scales */
	ts_diag_text(cx, diag);
	for (int i = 0; i < MOST_INPUTS; i++) ts_tensor_free(&in[i]);
	for (int i = 0; i < MOST_RESULTS; i++) ts_tensor_free(&want[i]);
	ts_ctx_free(cx);
	return why;
}

/* ---- operator by operator ---- */

static void op_text(const TsOpInfo *op, TsDtype t, TsBuf *b)
{
	const char *type = ts_dtype_name(t), *to = op->cls == TS_CLS_POINTWISE && (!strcmp(op->name, "cast")) ? "f32" : type;
	bool choice = !strcmp(op->name, "where"), rows = op->cls == TS_CLS_REDUCE || op->cls == TS_CLS_ROW, dot = op->cls == TS_CLS_CONTRACT;
	static const char *const compares[] = { "eq", "ne", "lt", "le", "gt", "ge" };
	for (size_t i = 0; i < 6; i++)
		if (!strcmp(op->name, compares[i])) to = "bool";
	if (!strcmp(op->name, "argmax")) to = "int64";
	if (dot) to = t == TS_F64 ? "f64" : ts_dtype_is_float(t) ? "f32" : t == TS_INT64 ? "int64" : "int32";
	uint32_t n = op->cls == TS_CLS_ROW ? 1 : op->min_in, step = 1 + random_below(9), other = 1 + random_below(9);
	bool reduced = op->cls == TS_CLS_REDUCE;
	ts_buf_str(b, "tessera 1\ndims M, N, C\nkernel k(");
	for (uint32_t i = 0; i < n; i++) ts_buf_fmt(b, "%sX%u: %s[%s]", i ? ", " : "", i, choice && !i ? "bool" : type, dot ? (i ? "C, N" : "M, C") : "M, N");
	ts_buf_fmt(b, ") -> (Y: %s[%s]) {\n  grid i in 0..M step %u", to, reduced ? "M" : "M, N", step);
	if (!rows) ts_buf_fmt(b, ", j in 0..N step %u", other);
	ts_buf_fmt(b, "\n  store(Y[i:i + %u", step);
	if (!rows) ts_buf_fmt(b, ", j:j + %u", other);
	bool infix = !strcmp(op->name, "and") || !strcmp(op->name, "or");
	ts_buf_fmt(b, "], %s(", infix ? "" : op->name);
	for (uint32_t i = 0; i < n; i++) {
		ts_buf_fmt(b, "%s%s%sload(X%u[", i ? infix ? " " : ", " : "", i && infix ? op->name : "", i && infix ? " " : "", i);
		if (rows) ts_buf_fmt(b, "i:i + %u", step);
		else if (dot) { if (i) ts_buf_fmt(b, ":, j:j + %u", other); else ts_buf_fmt(b, "i:i + %u", step); }
		else ts_buf_fmt(b, "i:i + %u, j:j + %u", step, other);
		ts_buf_str(b, "])");
	}
	ts_buf_fmt(b, "%s))\n}\n", reduced ? ", axis = 1" : !strcmp(op->name, "cast") ? ", f32" : "");
	ts_buf_str(b, "graph f(");
	for (uint32_t i = 0; i < n; i++) ts_buf_fmt(b, "%sx%u: %s[%s]", i ? ", " : "", i, choice && !i ? "bool" : type, dot ? (i ? "C, N" : "M, C") : "M, N");
	ts_buf_fmt(b, ") -> (y: %s[%s]) { y = k(", to, reduced ? "M" : "M, N");
	for (uint32_t i = 0; i < n; i++) ts_buf_fmt(b, "%sx%u", i ? ", " : "", i);
	ts_buf_str(b, ") }\n");
}

static uint32_t type_set(TsDtype t) { return ts_dtype_is_float(t) ? TS_T_FLOAT : t == TS_BOOL ? TS_T_BOOL : TS_T_INT; }

static void operators(void)
{
	static const TsDtype types[] = { TS_F32, TS_F64, TS_F16, TS_BF16, TS_INT64, TS_INT32, TS_BOOL };
	TsCtx *cx = ts_ctx_new();
	for (int o = 1; o < TS_OP_COUNT; o++) {
		const TsOpInfo *op = ts_op_info(cx, (TsOp)o);
		if (op->cls != TS_CLS_POINTWISE && op->cls != TS_CLS_REDUCE && op->cls != TS_CLS_ROW && op->cls != TS_CLS_CONTRACT) continue;
		for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
			if (!(op->types & type_set(types[i]))) continue;
			TsBuf text = { 0 }, diag = { 0 };
			op_text(op, types[i], &text);
			const char *why = compare(text.p, false, &diag);
			char name[64];
			snprintf(name, sizeof name, "%s-%s", op->name, ts_dtype_name(types[i]));
			check(name, !why, "%s\n%s%s", why, text.p, diag.p ? diag.p : "");
			ts_buf_free(&text);
			ts_buf_free(&diag);
		}
	}
	ts_ctx_free(cx);
}

/* ---- bodies ---- */

/* $1 and $2 are steps. */
static const struct { const char *name, *text; } bodies[] = {
	{ "attention", "kernel k(Q: f32[B, S, D], K: f32[B, T, D], V: f32[B, T, E]) -> (O: f32[B, S, E], L: f32[B, S], Most: f32[B, S]) {\n  grid b in 0..B, i in 0..S step $1\n  q = load(Q[b, i:i + $1, :])\n  m0: f32[$1] = -inf\n  l0: f32[$1] = 0\n  a0: f32[$1, E] = 0\n"
		"  m, l, a = for j in 0..T step $2 with m = m0, l = l0, a = a0 {\n    s = q @ load(K[b, j:j + $2]).T * 0.5\n    m1, l1, p = online_softmax(s, m, l)\n    yield m1, l1, a * exp(m - m1)[:, none] + p @ load(V[b, j:j + $2])\n  }\n"
		"  store(O[b, i:i + $1, :], a / l)\n  store(L[b, i:i + $1], m + log(l))\n  store(Most[b, i:i + $1], m)\n}\ngraph f(q: f32[B, S, D], kk: f32[B, T, D], v: f32[B, T, E]) -> (o: f32[B, S, E], l: f32[B, S], m: f32[B, S]) { o, l, m = k(q, kk, v) }\n" },
	{ "masked", "kernel k(Q: f32[S, D], K: f32[S, D], V: f32[S, D]) -> (O: f32[S, D], A: f32[S, D]) {\n  grid i in 0..S step $1\n  m0: f32[$1] = -inf\n  l0: f32[$1] = 0\n  a0: f32[$1, D] = 0\n"
		"  m, l, a = for j in 0..S step $2 with m = m0, l = l0, a = a0 {\n    at = (i + iota($1))[:, none] - (j + iota($2))[none, :]\n    s = where(at > -3 and at < 6 and (j + iota($2) < S)[none, :] and (j + iota($2) < 19)[none, :], load(Q[i:i + $1]) @ load(K[j:j + $2]).T, -inf)\n    m1, l1, p = online_softmax(s, m, l)\n"
		"    w = load(V[j:j + $2])\n    yield m1, l1, update_accumulator(a, p @ w, m, m1, l, l1)\n  }\n  store(O[i:i + $1, :], a / l)\n  store(A[i:i + $1, :], a)\n}\ngraph f(q: f32[S, D], kk: f32[S, D], v: f32[S, D]) -> (o: f32[S, D], a: f32[S, D]) { o, a = k(q, kk, v) }\n" },
	{ "nothing", "kernel k(X: f32[S, T], V: f32[T, D]) -> (A: f32[S, D], L: f32[S]) {\n  grid i in 0..S step $1\n  m0: f32[$1] = -inf\n  l0: f32[$1] = 0\n  a0: f32[$1, D] = 0\n  m, l, a = for j in 0..T step $2 with m = m0, l = l0, a = a0 {\n"
		"    x = where(j + iota($2) < (T + 1)//2, load(X[i:i + $1, j:j + $2]), -inf)\n    m1, l1, p = online_softmax(where((i + iota($1) > 2)[:, none], x, -inf), m, l)\n    yield m1, l1, update_accumulator(a, p @ load(V[j:j + $2]), m, m1, l, l1)\n  }\n"
		"  store(A[i:i + $1, :], a)\n  store(L[i:i + $1], l)\n}\ngraph f(x: f32[S, T], v: f32[T, D]) -> (a: f32[S, D], l: f32[S]) { a, l = k(x, v) }\n" },
	{ "begun", "kernel k(X: f32[S, T], V: f32[T, D], M0: f32[S], L0: f32[S], A0: f32[S, D]) -> (O: f32[S, D], P: f32[S, D], U: f32[S]) {\n  grid i in 0..S step $1\n  z: f32[$1, D] = 0\n  m, l, a, b = for j in 0..T step $2 with m = load(M0[i:i + $1]), l = exp(load(L0[i:i + $1])), a = load(A0[i:i + $1]), b = z {\n    m1, l1, p = online_softmax(load(X[i:i + $1, j:j + $2]), m, l)\n"
		"    v = p @ load(V[j:j + $2])\n    yield m1, l1, update_accumulator(a, v, m, m1, l, l1), update_accumulator(b, v, m, m1, l, l1)\n  }\n  store(O[i:i + $1, :], a / l)\n  store(P[i:i + $1, :], b / l)\n  store(U[i:i + $1], m)\n}\ngraph f(x: f32[S, T], v: f32[T, D], m: f32[S], l: f32[S], a: f32[S, D]) -> (o: f32[S, D], p: f32[S, D], u: f32[S]) { o, p, u = k(x, v, m, l, a) }\n" },
	{ "literal", "kernel k(Q: bf16[B*H, S, D], K: bf16[B*H, S, D], V: bf16[B*H, S, D], scale: f32[]) -> (O: bf16[B*H, S, D]) {\n  q = alloc_shared($1, 64, dtype = bf16)\n  kk = alloc_shared($2, 64, dtype = bf16)\n  v = alloc_shared($2, 64, dtype = bf16)\n  m = alloc_register($1, dtype = f32)\n  l = alloc_register($1, dtype = f32)\n"
		"  acc = alloc_register($1, 64, dtype = f32)\n  fill(m, -inf)\n  fill(l, 0.0)\n  fill(acc, 0.0)\n  for i in 0..S step $1 {\n    load_async(q, Q[i:i + $1])\n    for j in 0..S step $2 {\n      load_async(kk, K[j:j + $2])\n      load_async(v, V[j:j + $2])\n      barrier()\n"
		"      s = matmul(q, kk.T) * scale\n      m1, l1, p = online_softmax(s, m, l)\n      update_accumulator(acc, matmul(p, v), m, m1, l, l1)\n      set m = m1\n      set l = l1\n    }\n  }\n  store(O, acc / l)\n}\n"
		"graph f(q: bf16[B, H, S, D], kk: bf16[B, H, S, D], v: bf16[B, H, S, D], scale: f32[]) -> (o: bf16[B*H, S, D]) { o = k(q.reshape([B*H, S, D]), kk.reshape([B*H, S, D]), v.reshape([B*H, S, D]), scale) }\n" },
	{ "scaled", "kernel k(Q: f32[B, S, D], K: f32[B, S, D], V: f32[B, S, D], c: f32[]) -> (O: f32[B, S, D]) {\n  grid b in 0..B, i in 0..S step $1\n  m0: f32[$1] = -inf\n  l0: f32[$1] = 0\n  a0: f32[$1, D] = 0\n"
		"  m, l, a = for j in 0..S step $2 with m = m0, l = l0, a = a0 {\n    s = c * (load(Q[b, i:i + $1]) @ load(K[b, j:j + $2]).T)\n    m1, l1, p = online_softmax(where((j + iota($2))[none, :] <= (i + iota($1))[:, none], s, -inf), m, l)\n"
		"    yield m1, l1, update_accumulator(a, p @ load(V[b, j:j + $2]), m, m1, l, l1)\n  }\n  store(O[b, i:i + $1, :], a / l)\n}\ngraph f(q: f32[B, S, D], kk: f32[B, S, D], v: f32[B, S, D], c: f32[]) -> (o: f32[B, S, D]) { o = k(q, kk, v, c) }\n" },
	{ "groups", "kernel k(Q: f32[B, 6, S, D], K: f32[B, 3, T, D], V: f32[B, 3, T, D]) -> (O: f32[B, 6, S, D]) {\n  grid b in 0..B, h in 0..6, i in 0..S step $1\n  m0: f32[$1] = -inf\n  l0: f32[$1] = 0\n  a0: f32[$1, D] = 0\n"
		"  m, l, a = for j in 0..T step $2 with m = m0, l = l0, a = a0 {\n    m1, l1, p = online_softmax(load(Q[b, h, i:i + $1]) @ load(K[b, h // 2, j:j + $2]).T, m, l)\n    yield m1, l1, update_accumulator(a, p @ load(V[b, h // 2, j:j + $2]), m, m1, l, l1)\n  }\n"
		"  store(O[b, h, i:i + $1, :], a / l)\n}\ngraph f(q: f32[B, 6, S, D], kk: f32[B, 3, T, D], v: f32[B, 3, T, D]) -> (o: f32[B, 6, S, D]) { o = k(q, kk, v) }\n" },
	{ "product", "kernel k(A: f32[M, C], W: f32[N, C], c: f32[N]) -> (Y: f32[M, N]) {\n  grid i in 0..M step $1, n in 0..N step $2\n  z: f32[$1, $2] = 0\n  y = for t in 0..C step 5 with y = z {\n    a = load(A[i:i + $1, t:t + 5])\n    yield y + a @ load(W[n:n + $2, t:t + 5]).T - sum(a * a, axis = 1)[:, none]\n  }\n"
		"  store(Y[i:i + $1, n:n + $2], relu(y + load(c[n:n + $2])[none, :]))\n}\ngraph f(a: f32[M, C], w: f32[N, C], c: f32[N]) -> (y: f32[M, N]) { y = k(a, w, c) }\n" },
	{ "sums", "kernel k(X: f32[S, T]) -> (A: f32[S], L: f32[S], G: f32[S], Z: f32[S]) {\n  grid i in 0..S step $1\n  z: f32[$1] = 0\n  hi: f32[$1] = inf\n  lo: f32[$1] = 1.5\n  a, l, g = for j in 0..T step $2 with a = lo, l = hi, g = lo {\n    x = load(X[i:i + $1, j:j + $2])\n"
		"    yield a + sum(x, axis = 1) * 2.0 - sum(x * cast(j + iota($2), f32)[none, :], axis = 1), minimum(min(x, axis = 1), l), maximum(g, max(x, axis = 1))\n  }\n  store(A[i:i + $1], a / cast(T, f32))\n  store(L[i:i + $1], l)\n  store(G[i:i + $1], g)\n  store(Z[i:i + $1], z)\n}\n"
		"graph f(x: f32[S, T]) -> (a: f32[S], l: f32[S], g: f32[S], z: f32[S]) { a, l, g, z = k(x) }\n" },
	{ "indices", "kernel k(Q: f32[S, H, D], W: f32[H, D, N]) -> (Y: f32[S, N], P: f32[H, S, N]) {\n  grid i in 0..S step $1, n in 0..N step $2\n  z: f32[$1, $2] = 0\n  y = for h in 0..H with y = z {\n    t = for d in 0..D step 4 with t = y {\n      yield t + load(Q[i:i + $1, h, d:d + 4]) @ load(W[h, d:d + 4, n:n + $2])\n    }\n    yield t\n  }\n"
		"  store(Y[i:i + $1, n:n + $2], y)\n  store(P[:, i:i + $1, n:n + $2], load(W[:, 0, n:n + $2])[:, none, :] + load(Q[i:i + $1, :, 0]).T[:, :, none])\n}\ngraph f(q: f32[S, H, D], w: f32[H, D, N]) -> (y: f32[S, N], p: f32[H, S, N]) { y, p = k(q, w) }\n" },
	{ "moved", "kernel k(X: int32[B, M, N], c: int32[]) -> (Y: int32[N, M, B], Z: int32[B, M]) {\n  grid b in 0..B, i in 0..M step $1\n  store(Y[:, i:i + $1, b], load(X[b, i:i + $1, :]).T * c + cast(b, int32))\n  store(Z[b, i:i + $1], i + 3 + iota($1, dtype = int32))\n}\ngraph f(x: int32[B, M, N], c: int32[]) -> (y: int32[N, M, B], z: int32[B, M]) { y, z = k(x, c) }\n" },
	{ "rows", "const eps = 1e-5\ndims W = 2*D\nkernel k(X: f32[M, W], g: f32[W]) -> (Y: f32[M, W], Z: f32[M, W], U: f32[M, D]) {\n  for i in 0..M step $1 {\n    x = load(X[i:i + $1])\n    y = x * rsqrt(mean(x * x, axis = 1) + eps)\n    store(Y, y * load(g)[none, :])\n    store(Z, softmax(x))\n    store(U, x[:, 0:D] - x[:, ::2])\n  }\n}\n"
		"graph f(x: f32[M, 2*D], g: f32[2*D]) -> (y: f32[M, 2*D], z: f32[M, 2*D], u: f32[M, D]) { y, z, u = k(x, g) }\n" },
};

static void body(uint32_t which, uint32_t turn)
{
	TsBuf text = { 0 }, diag = { 0 };
	uint32_t step[2] = { 2 + random_below(9), 2 + random_below(9) };
	char name[64];
	ts_buf_str(&text, "tessera 1\ndims B, H, S, T, D, E, M, N, C\n");
	for (const char *c = bodies[which].text; *c; c++) {
		if (*c == '$') ts_buf_fmt(&text, "%u", step[*++c - '1']);
		else ts_buf_char(&text, *c);
	}
	const char *why = compare(text.p, true, &diag);
	snprintf(name, sizeof name, "%s-%u", bodies[which].name, turn);
	check(name, !why, "%s (steps %u, %u)\n%s%s", why, step[0], step[1], text.p, diag.p ? diag.p : "");
	ts_buf_free(&text);
	ts_buf_free(&diag);
}

int main(int argc, char **argv)
{
	state = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	operators();
	for (uint32_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
		for (uint32_t turn = 0; turn < 6; turn++) body(i, turn);
	return check_failed;
}
