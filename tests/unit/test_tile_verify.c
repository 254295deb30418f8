/* The verifier of Tile IR: every golden text is accepted and prints as it reads; one wrong edit each is refused with its code. */
#include "tests/unit/tile_text.h"

static int failures;

static void fail(const char *name, const char *why, const char *more)
{
	printf("FAIL %s: %s %s\n", name, why, more);
	failures++;
}

static void round_trip(const char *name)
{
	TsCtx *cx = ts_ctx_new();
	char *text = read_golden(name);
	TsBuf first = { 0 }, second = { 0 }, diag = { 0 };
	TsTree *t = parse_text(cx, name, text), *again;
	if (!t || !ts_tile_verify(cx, t) || !ts_tile_verify(cx, t)) ts_diag_text(cx, &diag), fail(name, "is refused:", diag.p);
	if (t) {
		ts_print_tree(t, &first, false);
		again = parse_text(cx, "printed", first.p);
		if (again) ts_print_tree(again, &second, false);
		if (!again || strcmp(first.p, second.p) || !ts_tree_eq(t, again)) fail(name, "does not print as it reads", "");
		if (strcmp(first.p, text)) fail(name, "is not in standard form", "");
	}
	ts_buf_free(&first), ts_buf_free(&second), ts_buf_free(&diag);
	free(text);
	ts_ctx_free(cx);
}

/* Replacing the n-th `find` by `with` in a golden text must be refused with `code`. */
typedef struct { const char *text, *find, *with; int n; const char *code; } Case;
static const Case cases[] = {
	{ "scale_cpu", "target = \"cpu\"", "target = \"vax\"", 0, "E_TILE_TARGET" },
	{ "scale_cpu", "mul(x, 2.0)", "mull(x, 2.0)", 0, "E_TILE_WORD" },
	{ "scale_cpu", "mul(x, 2.0)", "mul(z, 2.0)", 0, "E_TILE_NAME" },
	{ "scale_cpu", "mul(x, 2.0)", "mul(x, true)", 0, "E_TILE_TYPE" },
	{ "scale_cpu", "mul(x, 2.0)", "mul(x)", 0, "E_TILE_ARGUMENT" },
	{ "scale_cpu", "mul(x, 2.0)", "mul(x, 2.0, z = 1)", 0, "E_TILE_ARGUMENT" },
	{ "scale_cpu", "mul(x, 2.0)", "acquire(x)", 0, "E_TILE_TARGET" },
	{ "scale_cpu", "y: f32[64] @V = mul", "x: f32[64] @V = mul", 0, "E_TILE_REDEFINED" },
	{ "scale_cpu", "x: f32[64] @V = load(X[r, n:n + 64]", "x: f32[64] @V = load(X[r, n:n + 65]", 0, "E_TILE_SHAPE" },
	{ "scale_cpu", "X[r, n:n + 64]", "X[r, n:e]", 0, "E_TILE_RANGE" },
	{ "scale_cpu", "X[r, n:n + 64]", "X[r, n, 0:64]", 0, "E_TILE_TYPE" },
	{ "scale_cpu", "X[r, n:n + 64]", "X[0 - 1, n:n + 64]", 0, "E_TILE_BOUNDS" },
	{ "scale_cpu", "x: f32[64] @V = load", "x: f16[64] @V = load", 0, "E_TILE_SHAPE" },
	{ "scale_cpu", "x: f32[64] @V = load", "x: f32[64] = load", 0, "E_TILE_LAYOUT" },
	{ "scale_cpu", "x: f32[64] @V = load", "x: f32[64] @W = load", 0, "E_TILE_LAYOUT" },
	{ "scale_cpu", "x: f32[64] @V = load", "x: f32[R] @V = load", 0, "E_TILE_CONST" },
	{ "scale_cpu", "v16:1n r4:16n", "v16:1n r4:8n", 0, "E_TILE_LAYOUT" },
	{ "scale_cpu", "v16:1n r4:16n", "v16:1n r8:16n", 0, "E_TILE_LAYOUT" },
	{ "scale_cpu", "v16:1n r4:16n", "l16:1n r4:16n", 0, "E_TILE_LAYOUT" },
	{ "scale_cpu", "v16:1n r4:16n", "s16:1n r4:16n", 0, "E_TILE_LAYOUT" },
	{ "scale_cpu", "min(c + 4096, N)", "min(c + 4096, 2.0)", 0, "E_TILE_TYPE" },
	{ "scale_cpu", "e = min(c + 4096, N)", "e = c / 2", 0, "E_TILE_TYPE" },
	{ "scale_cpu", "valid = e - n", "valid = [e - n, 1]", 0, "E_TILE_ARGUMENT" },
	{ "scale_cpu", "y, valid = e - n", "y, from = e - n", 0, "E_TILE_TARGET" },
	{ "linear_gelu_sm80", "from = [128*i - m0, 0]", "from = 128*i - m0", 0, "E_TILE_ARGUMENT" },
	{ "scale_cpu", "for n in c..e step 64", "for n in c..e step 0", 0, "E_TILE_RANGE" },
	{ "scale_cpu", "  }\n}", "    yield y\n  }\n}", 0, "E_TILE_YIELD" },
	{ "softmax_cluster_sm90a", "s2048:1n c4:2048n s2:8192n", "s2048:1n s4:2048n c2:8192n", 0, "E_TILE_LAYOUT" },
	{ "softmax_cluster_sm90a", "s2048:1n c4:2048n s2:8192n", "s4096:1n c4:4096n", 0, "E_TILE_LAYOUT" },
	{ "softmax_cluster_sm90a", "s2048:1n c4:2048n", "r2048:1n c4:2048n", 0, "E_TILE_LAYOUT" },
	{ "softmax_cluster_sm90a", "16384] @H", "16384]", 0, "E_TILE_SMEM" }, /* of all four CTAs */
	{ "softmax_cluster_sm90a", "cluster = 4", "cluster = 2", 0, "E_TILE_LAYOUT" },
	{ "softmax_cluster_sm90a", "max: f32[1] @K = reduce(top, op = \"max\", axis = 1, via = red[0, 0:4, 0:8])", "max: f32[1] @K = reduce(top, op = \"max\", axis = 1)", 0, "E_TILE_EXCHANGE" },
	{ "layer_norm_cpu", "yield s.1", "yield x", 1, NULL },
	{ "layer_norm_cpu", "yield s.1", "yield total", 1, "E_TILE_TYPE" },
	{ "layer_norm_cpu", "op = \"add\"", "op = \"mul\"", 0, "E_TILE_ARGUMENT" },
	{ "layer_norm_cpu", "lt(at, N - n)", "lt(x, N - n)", 0, NULL },
	{ "layer_norm_cpu", "where(in, d, 0.0)", "where(d, d, 0.0)", 0, "E_TILE_TYPE" },
	{ "linear_gelu_avx512", "smem ap: f32[48, 128, 6]", "smem ap: f32[480, 128, 600]", 0, "E_TILE_SMEM" },
	{ "linear_gelu_avx512", "ap[(i - mb)//6, 0:128, 0:6]", "ap[(i - mb)//6, 0:6, 0:128]", 0, "E_TILE_BOUNDS" },
	{ "linear_gelu_avx512", "b: f32[64] @XB = load(Bp", "b: f32[64] @XC = load(Bp", 0, "E_TILE_LAYOUT" },
	{ "linear_gelu_avx512", "layout XB[n] = v16:1n r4:16n", "layout XB[n] = r4:1n v16:4n", 0, "E_TILE_LAYOUT" },
	{ "linear_gelu_avx512", "dims = [1]", "dims = [0]", 0, "E_TILE_SHAPE" },
	{ "linear_gelu_avx512", "mma(acc, a, b)", "mma(acc, b, a)", 0, "E_TILE_SHAPE" },
	{ "linear_gelu_avx512", "mma(acc, a, b)", "mma(acc, a, b, atom = \"wgmma\")", 0, "E_TILE_TARGET" },
	{ "linear_gelu_sm80", "by = G", "by = FA", 0, "E_TILE_LAYOUT" },
	{ "linear_gelu_sm80", "w2:64n w2:64m", "w2:64n w2:64m r2:128m", 0, "E_TILE_LAYOUT" },
	{ "linear_gelu_sm80", "layout FB[n, k] = l4:2k l8:1n", "layout FB[n, k] = l8:1n l4:2k", 0, "E_TILE_LAYOUT" },
	{ "linear_gelu_sm80", "warps = 4", "warps = 8", 0, "E_TILE_LAYOUT" },
	{ "linear_gelu_sm80", "mma(d, x, y.T", "mma(d, x, y", 0, "E_TILE_SHAPE" },
	{ "linear_gelu_sm80", "smem a: bf16[3, 128, 64]", "smem a: bf16[9, 128, 64]", 0, "E_TILE_LAYOUT" },
	{ "linear_gelu_sm90a", "64 * q, len", "32 * q, len", 0, "E_TILE_LAYOUT" },
	{ "linear_gelu_sm90a", "unroll = 4", "unroll = 2", 0, "E_TILE_CONST" },
	{ "linear_gelu_sm90a", "wait_mma(0, c1)", "wait_mma(1, c1)", 0, "E_TILE_IN_FLIGHT" },
	{ "linear_gelu_sm90a", "slice(acc,", "slice(c1,", 0, "E_TILE_IN_FLIGHT" },
	{ "linear_gelu_sm90a", "        fence_mma()\n", "", 0, "E_TILE_FENCE" },
	{ "linear_gelu_sm90a", "        fence_async()\n", "", 0, "E_TILE_FENCE" },
	{ "linear_gelu_sm90a", "        sync(\"role\")\n", "", 1, "E_TILE_FENCE" },
	{ "linear_gelu_sm90a", "49152", "49153", 0, "E_TILE_BYTES" },
	{ "linear_gelu_sm90a", "          expect_bytes(R[q], 49152)\n", "", 0, "E_TILE_BYTES" },
	{ "linear_gelu_sm90a", "empty = 8", "empty = 4", 0, "E_TILE_ARRIVALS" },
	{ "linear_gelu_sm90a", "full = 1", "full = 2", 0, "E_TILE_ARRIVALS" },
	{ "linear_gelu_sm90a", "ring R[4]", "ring R[1]", 0, "E_TILE_RING" },
	{ "linear_gelu_sm90a", "ring R[4]", "ring R[5]", 0, "E_TILE_SMEM" },
	{ "linear_gelu_sm90a", "for k in 0..nk with q = p {", "for k in 1..nk with q = p {", 0, "E_TILE_TRIPS" },
	{ "linear_gelu_sm90a", "acquire(R[q])", "acquire(R[p])", 0, "E_TILE_LINEAR" },
	{ "linear_gelu_sm90a", "          q.1 = next(q)\n", "          q.1 = next(q)\n          q.2 = next(q)\n", 0, "E_TILE_LINEAR" },
	{ "linear_gelu_sm90a", "    one {\n      p0 = producer(R)", "    if nk > 0 {\n      p0 = producer(R)", 0, "E_TILE_SCOPE" },
	{ "linear_gelu_sm90a", "regs = 232", "regs = 248", 0, "E_TILE_ROLE" },
	{ "linear_gelu_sm90a", "regs = 232", "regs = 233", 0, "E_TILE_ROLE" },
	{ "linear_gelu_sm90a", "times = 2, regs = 232", "times = 3, regs = 152", 0, "E_TILE_LAYOUT" },
	{ "linear_gelu_sm90a", "R[q].b.T", "R[q].b", 0, "E_TILE_SHAPE" },
	{ "linear_gelu_sm90a", "R[q].b.T", "R[q].c.T", 0, "E_TILE_RING" },
	{ "linear_gelu_sm90a", "64*k:64*k + 64", "64*k:64*k + 128:2", 0, "E_TILE_TMA" },
	{ "linear_gelu_sm90a", "copy(R[q].a, A[128*i:128*i + 128, 64*k:64*k + 64])", "copy(R[q].a[0:96, 0:64], A[128*i + 0:128*i + 96, 64*k:64*k + 64])\ncopy(R[q].a[96:128, 0:64], A[128*i + 96:128*i + 128, 64*k:64*k + 64])", 0, NULL },
	{ "linear_gelu_sm90a", "copy(R[q].a, A[128*i:128*i + 128, 64*k:64*k + 64])", "copy(R[q].a[0:64, 0:64], A[128*i + 0:128*i + 64, 64*k:64*k + 64])", 0, "E_TILE_BYTES" },
	{ "linear_gelu_sm90a", "copy(R[q].a, A[128*i:128*i + 128, 64*k:64*k + 64])", "copy(R[q].a[0:100, 0:64], A[128*i + 0:128*i + 100, 64*k:64*k + 64])\ncopy(R[q].a[100:128, 0:64], A[128*i + 100:128*i + 128, 64*k:64*k + 64])", 0, "E_TILE_TMA" },
	{ "linear_gelu_sm90a", "copy(R[q].a, A[128*i:128*i + 128, 64*k:64*k + 64])", "copy(R[q].a[0:128, 0:32], A[128*i:128*i + 128, 64*k:64*k + 32])\ncopy(R[q].a[0:128, 32:64], A[128*i:128*i + 128, 64*k + 32:64*k + 64])", 0, "E_TILE_TMA" },
	{ "linear_gelu_sm90a", "sync(\"role\")", "sync(\"cta\")", 0, "E_TILE_SCOPE" },
	{ "linear_gelu_sm90a", "role load(warps = 4", "role load(warps = 1", 0, "E_TILE_ROLE" },
	{ "linear_gelu_sm90a", "g = instance()", "g = rank()", 0, "E_TILE_SCOPE" },
	{ "attention_sm90a", "wait_mma(1, s)", "wait_mma(2, s)", 0, "E_TILE_IN_FLIGHT" },
	{ "attention_sm90a", "        commit_mma()\n", "", 1, "E_TILE_IN_FLIGHT" },
	{ "attention_sm90a", "for j in last..0 step -1 with o", "for j in last..1 step -1 with o", 0, "E_TILE_TRIPS" },
	{ "attention_sm90a", "reduce(s2, op = \"max\", axis = 1)", "reduce(s2, op = \"max\", axis = 0)", 0, "E_TILE_EXCHANGE" },
	{ "attention_sm90a", "      fence_async()\n", "", 0, "E_TILE_FENCE" },
	{ "attention_sm90a", ", hold = [w1]", "", 0, "E_TILE_IN_FLIGHT" },
	{ "layer_norm_sm90a", ", via = red[0, 0:4]", "", 0, "E_TILE_EXCHANGE" },
	{ "layer_norm_sm90a", "red[0, 0:4]", "red[0, 0:2]", 0, "E_TILE_EXCHANGE" },
	{ "linear_gelu_gfx942", "\"mfma\"", "\"wmma\"", 0, "E_TILE_LAYOUT" },
	{ "linear_gelu_gfx942", "\"mfma\"", "\"mma\"", 0, "E_TILE_TARGET" },
	{ "linear_gelu_gfx942", "smem a: bf16[256, 64] @KT", "ring a[2] { x: bf16[256, 64] @KT } { full = 1, empty = 1 }", 0, "E_TILE_RING" },
};

static void refused(const Case *k)
{
	char *text = read_golden(k->text), *changed = edit(text, k->find, k->with, k->n), name[300];
	snprintf(name, sizeof name, "%s with '%s' for '%s'", k->text, k->with, k->find);
	if (!changed) fail(name, "cannot be made", "");
	TsCtx *cx = ts_ctx_new();
	TsTree *t = changed ? parse_text(cx, k->text, changed) : NULL;
	if (changed && !t) fail(name, "does not parse", "");
	bool ok = t && ts_tile_verify(cx, t);
	TsBuf diag = { 0 };
	ts_diag_text(cx, &diag);
	char want[64];
	snprintf(want, sizeof want, "error[%s]", k->code ? k->code : "");
	if (t && k->code && ok) fail(name, "is accepted", "");
	else if (t && k->code && !strstr(diag.p ? diag.p : "", want)) fail(name, "gives another error:", diag.p);
	else if (t && !k->code && !ok) fail(name, "is refused:", diag.p);
	ts_buf_free(&diag);
	ts_ctx_free(cx);
	free(text), free(changed);
}

int main(void)
{
	for (int i = 0; i < GOLDEN_TEXTS; i++) round_trip(golden_texts[i]);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) refused(&cases[i]);
	if (!failures) printf("ok tile verify: %d texts, %zu edits\n", GOLDEN_TEXTS, sizeof cases / sizeof *cases);
	return failures != 0;
}
