/* The interpreter against numbers worked out by hand (or, for Philox, published), loops, demands at the call, and both modes. */
#include "ir/philox.h"
#include "tests/unit/build.h"
#include <math.h>

#define D(...) (const double[]){ __VA_ARGS__ }
#define DIMS(...) (const int64_t[]){ __VA_ARGS__ }

/* Evaluates the graph whose only result is v. */
static void gives(const char *name, Build *b, TsVal v, TsEvalMode mode, const TsTensor *in, int64_t n, const double *want, double within)
{
	TsTensor out = { 0 };
	TsBuf t = { 0 };
	if (v && !b->g->body.results.n) build_result(b, "y", v);
	bool ok = v && ts_eval(b->m, b->g, mode, in, &out);
	if (!ok) ts_diag_text(b->cx, &t);
	else ts_tensor_print(&out, &t);
	bool same = ok && out.count == n;
	for (int64_t i = 0; same && i < n; i++) {
		double x = ts_elem_get(out.elem, out.data, i), w = want[i];
		same = isnan(w) ? isnan(x) : x == w || fabs(x - w) <= within * fmax(1, fabs(w));
	}
	check(name, same, "%s", t.p ? t.p : "");
	ts_buf_free(&t);
	ts_tensor_free(&out);
	ts_ctx_free(b->cx);
}

static void unary(const char *name, TsOp op, const char *attrs, TsDtype t, int64_t n, const double *x, const double *want, double within)
{
	Build b = build_new();
	TsVal v = build_op(&b, op, attrs, 1, (TsVal[]){ build_param(&b, "x", t, "N") });
	TsTensor in = build_tensor(&b, t, 1, &n, x);
	gives(name, &b, v, TS_EVAL_F64, &in, n, want, within);
	ts_tensor_free(&in);
}

static void binary(const char *name, TsOp op, TsDtype t, int64_t n, const double *x, const double *y, const double *want)
{
	Build b = build_new();
	TsVal v = build_op(&b, op, "", 2, (TsVal[]){ build_param(&b, "x", t, "N"), build_param(&b, "y", t, "N") });
	TsTensor in[] = { build_tensor(&b, t, 1, &n, x), build_tensor(&b, t, 1, &n, y) };
	gives(name, &b, v, TS_EVAL_F64, in, n, want, 0);
	ts_tensor_free(&in[0]);
	ts_tensor_free(&in[1]);
}

static void test_pointwise(void)
{
	binary("floordiv", TS_OP_floordiv, TS_INT32, 6, D(7, -7, 7, -7, 5, INT32_MIN), D(2, 2, -2, -2, 0, -1), D(3, -4, -4, 3, 0, INT32_MIN));
	binary("mod", TS_OP_mod, TS_INT32, 6, D(7, -7, 7, -7, 5, INT32_MIN), D(2, 2, -2, -2, 0, -1), D(1, 1, -1, -1, 0, 0));
	binary("int32-wraps", TS_OP_add, TS_INT32, 2, D(INT32_MAX, 1), D(1, 2), D(INT32_MIN, 3));
	binary("maximum-nan", TS_OP_maximum, TS_F32, 3, D(NAN, 1, 2), D(1, NAN, 3), D(NAN, NAN, 3));
	binary("ne-nan", TS_OP_ne, TS_F32, 2, D(NAN, 1), D(NAN, 1), D(1, 0));
	binary("pow", TS_OP_pow, TS_F64, 4, D(2, NAN, 1, -8), D(10, 0, NAN, 1.0 / 3), D(1024, 1, 1, NAN));
	unary("round-half-to-even", TS_OP_round, "", TS_F32, 5, D(0.5, 1.5, 2.5, -0.5, -2.5), D(0, 2, 2, -0.0, -2), 0);
	unary("abs-of-the-smallest", TS_OP_abs, "", TS_INT32, 2, D(INT32_MIN, -3), D(INT32_MIN, 3), 0);
	unary("cast-saturates", TS_OP_cast, "dtype=int8", TS_F32, 5, D(300, -300, 1.9, -1.9, NAN), D(127, -128, 1, -1, 0), 0);
	unary("cast-to-bool", TS_OP_cast, "dtype=bool", TS_F32, 3, D(0, 0.1, NAN), D(0, 1, 1), 0);
	unary("cast-rounds", TS_OP_cast, "dtype=bf16", TS_F32, 2, D(1.00390625, 1.01171875), D(1, 1.015625), 0);
	unary("cast-to-fp8", TS_OP_cast, "dtype=fp8_e4m3", TS_F32, 3, D(1000, 17, -1.0625), D(448, 16, -1), 0);
	unary("gelu-erf", TS_OP_gelu, "approximate=none", TS_F64, 3, D(1, -1, 0), D(0.84134474606854293, -0.15865525393145707, 0), 1e-15);
	unary("gelu-tanh", TS_OP_gelu, "", TS_F64, 2, D(1, -2), D(0.84119199060827676, -0.045402305912854), 1e-12);
	unary("sigmoid", TS_OP_sigmoid, "", TS_F64, 3, D(0, 1000, -1000), D(0.5, 1, 0), 1e-15);
	unary("silu", TS_OP_silu, "", TS_F64, 2, D(1, -1), D(0.7310585786300049, -0.2689414213699951), 1e-15);
}

/* Half a unit of f32 and a little more, which a double cannot hold. */
static void test_int64_to_f32(void)
{
	Build b = build_new();
	TsVal v = build_op(&b, TS_OP_cast, "dtype=f32", 1, (TsVal[]){ build_param(&b, "x", TS_INT64, "2") });
	TsTensor in = build_tensor(&b, TS_INT64, 1, DIMS(2), D(0, 0));
	ts_elem_set_int(TS_INT64, in.data, 0, (INT64_C(1) << 53) + (INT64_C(1) << 29) + 1);
	ts_elem_set_int(TS_INT64, in.data, 1, -(INT64_C(1) << 53) - (INT64_C(1) << 29) - 1);
	gives("int64-to-f32-rounds-once", &b, v, TS_EVAL_F64, &in, 2, D(0x1p53 + 0x1p30, -0x1p53 - 0x1p30), 0);
	ts_tensor_free(&in);
}

static void test_reduce(void)
{
	static const int64_t dim[] = { 2, 3 };
	static const double x[] = { 1, 5, 5, -1, NAN, 7 };
	static const struct { const char *name; TsOp op; const char *attrs; int64_t n; double want[6]; } t[] = {
		{ "sum-axis-0", TS_OP_sum, "axis=0", 3, { 0, NAN, 12 } },
		{ "max-rows", TS_OP_max, "axis=1", 2, { 5, NAN } },
		{ "argmax-ties-and-nan", TS_OP_argmax, "axis=1", 2, { 1, 1 } },
		{ "argmax-of-all", TS_OP_argmax, "", 1, { 4 } },
		{ "min-columns", TS_OP_min, "axis=0 keepdims=1", 3, { -1, NAN, 5 } },
		{ "mean-rows", TS_OP_mean, "axis=1", 2, { 11.0 / 3, NAN } },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		Build b = build_new();
		TsVal v = build_op(&b, t[i].op, t[i].attrs, 1, (TsVal[]){ build_param(&b, "x", TS_F64, "A B") });
		TsTensor in = build_tensor(&b, TS_F64, 2, dim, x);
		gives(t[i].name, &b, v, TS_EVAL_F64, &in, t[i].n, t[i].want, 1e-15);
		ts_tensor_free(&in);
	}
	Build b = build_new();
	TsVal v = build_op(&b, TS_OP_max, "axis=0", 1, (TsVal[]){ build_param(&b, "x", TS_F32, "0 2") });
	TsTensor in = build_tensor(&b, TS_F32, 2, DIMS(0, 2), NULL);
	gives("max-of-nothing", &b, v, TS_EVAL_F64, &in, 2, D(-INFINITY, -INFINITY), 0);
	ts_tensor_free(&in);
	unary("softmax", TS_OP_softmax, "", TS_F64, 3, D(0, log(2), -INFINITY), D(1.0 / 3, 2.0 / 3, 0), 1e-15);
	unary("layer-norm", TS_OP_layer_norm, "eps=0", TS_F64, 2, D(1, 3), D(-1, 1), 0);
	unary("rms-norm", TS_OP_rms_norm, "eps=0", TS_F64, 2, D(3, 4), D(3 / sqrt(12.5), 4 / sqrt(12.5)), 1e-15);
}

static void test_matmul(void)
{
	Build b = build_new();
	TsVal v = build_op(&b, TS_OP_matmul, "", 2, (TsVal[]){ build_param(&b, "x", TS_F32, "2 1 2"), build_param(&b, "w", TS_F32, "2 3") });
	TsTensor in[] = { build_tensor(&b, TS_F32, 3, DIMS(2, 1, 2), D(1, 2, 3, 4)), build_tensor(&b, TS_F32, 2, DIMS(2, 3), D(1, 0, -1, 10, 20, 30)) };
	gives("matmul-broadcasts", &b, v, TS_EVAL_F64, in, 6, D(21, 40, 59, 43, 80, 117), 0);
	ts_tensor_free(&in[0]);
	ts_tensor_free(&in[1]);
	/* 1 + 2^-24 + 2^-24: lost one by one in f32, kept in f64 */
	for (int mode = 0; mode < 2; mode++) {
		Build c = build_new();
		TsVal y = build_op(&c, TS_OP_sum, "", 1, (TsVal[]){ build_param(&c, "x", TS_F32, "3") });
		TsTensor x = build_tensor(&c, TS_F32, 1, DIMS(3), D(1, 0x1p-24, 0x1p-24));
		gives(mode ? "declared-mode-sums-in-f32" : "f64-mode-sums-in-f64", &c, y, (TsEvalMode)mode, &x, 1, D(mode ? 1 : 1 + 0x1p-23), 0);
		ts_tensor_free(&x);
	}
}

/* q = 0: every visible column has the same weight, so a row is the mean of the v it sees. */
static void attention(const char *name, const char *attrs, const double *mask, const double *offset, const double *want)
{
	Build b = build_new();
	TsVal q = build_param(&b, "q", TS_F32, "1 2 2 1"), k = build_param(&b, "k", TS_F32, "1 1 4 1"), v = build_param(&b, "v", TS_F32, "1 1 4 1");
	TsVal m = mask ? build_param(&b, "mask", TS_BOOL, "2 4") : 0, n = offset ? build_param(&b, "n", TS_INT64, "") : 0;
	TsVal y = build_op(&b, TS_OP_attention, attrs, 6, (TsVal[]){ q, k, v, m, 0, n });
	TsTensor in[5] = { build_tensor(&b, TS_F32, 4, DIMS(1, 2, 2, 1), D(0, 0, 0, 0)), build_tensor(&b, TS_F32, 4, DIMS(1, 1, 4, 1), D(1, 2, 3, 4)), build_tensor(&b, TS_F32, 4, DIMS(1, 1, 4, 1), D(1, 2, 4, 8)) };
	int at = 3;
	if (mask) in[at++] = build_tensor(&b, TS_BOOL, 2, DIMS(2, 4), mask);
	if (offset) in[at++] = build_tensor(&b, TS_INT64, 0, NULL, offset);
	gives(name, &b, y, TS_EVAL_F64, in, 4, want, 1e-15);
	for (int i = 0; i < at; i++) ts_tensor_free(&in[i]);
}

static void test_attention(void)
{
	attention("attention-full-and-grouped-heads", "", NULL, NULL, D(3.75, 3.75, 3.75, 3.75));
	attention("attention-causal", "causal=1", NULL, NULL, D(1, 1.5, 1, 1.5));
	attention("attention-causal-offset", "causal=1", NULL, D(2), D(7.0 / 3, 3.75, 7.0 / 3, 3.75));
	attention("attention-window", "causal=1 window=1", NULL, D(1), D(2, 4, 2, 4));
	attention("attention-masked-row-is-0", "", D(0, 0, 0, 0, 0, 1, 0, 1), NULL, D(0, 5, 0, 5));
	attention("attention-before-every-column", "causal=1", NULL, D(-5), D(0, 0, 0, 0));
}

static void test_gather(void)
{
	Build b = build_new();
	TsVal v = build_op(&b, TS_OP_embedding, "", 2, (TsVal[]){ build_param(&b, "t", TS_F32, "2 2"), build_param(&b, "i", TS_INT64, "3") });
	TsTensor in[] = { build_tensor(&b, TS_F32, 2, DIMS(2, 2), D(1, 2, 3, 4)), build_tensor(&b, TS_INT64, 1, DIMS(3), D(1, -1, 2)) };
	gives("an-id-outside-gives-zeros", &b, v, TS_EVAL_F64, in, 6, D(3, 4, 0, 0, 0, 0), 0);
	ts_tensor_free(&in[0]);
	ts_tensor_free(&in[1]);
}

/* x -> x * 2 + i for i in 0..3 step 1, emitting x: a loop with carried and emitted values. */
static void test_for(void)
{
	Build b = build_new();
	TsVal x = build_param(&b, "x", TS_F32, "N");
	TsFor *f = TS_NEW(b.m->arena, TsFor);
	*f = (TsFor){ .var = ts_intern(b.cx, "i"), .lo = 0, .hi = 3, .step = 1, .ncarry = 1 };
	f->symbol = ts_dim_symbol(b.m->dims, (TsDimSym){ .name = f->var, .min = 0, .max = 2, .multiple = 1 });
	TsNode *n = ts_node_new(b.m, b.g, TS_OP_for, 1, &x, 2);
	n->loop = f;
	TsVal arg = b.g->vals.n;
	ts_push(b.m->arena, &b.g->vals, (TsValue){ .type = ts_val(b.g, x)->type, .name = ts_intern(b.cx, "c"), .def = n });
	ts_push(b.m->arena, &f->body.args, arg);
	b.b = &f->body;
	TsVal i = build_op(&b, TS_OP_cast, "dtype=f32", 1, (TsVal[]){ ts_add_dim(b.m, b.g, b.b, f->symbol, (TsSpan){ 0 }) });
	TsVal two = build_op(&b, TS_OP_add, "", 2, (TsVal[]){ arg, arg }), next = build_op(&b, TS_OP_add, "", 2, (TsVal[]){ two, i });
	ts_push(b.m->arena, &f->body.results, next);
	ts_push(b.m->arena, &f->body.results, arg);
	b.b = &b.g->body;
	bool ok = ts_infer(b.m, b.g, n);
	ts_push(b.m->arena, &b.b->nodes, n);
	build_result(&b, "y", n->out[0]);
	build_result(&b, "ys", n->out[1]);
	TsTensor in = build_tensor(&b, TS_F32, 1, DIMS(2), D(1, -1)), out[2] = { 0 };
	ok = ok && ts_verify(b.m, "a test") && ts_eval(b.m, b.g, TS_EVAL_F64, &in, out);
	TsBuf t = { 0 };
	for (int k = 0; ok && k < 2; k++) ts_tensor_print(&out[k], &t);
	if (!ok) ts_diag_text(b.cx, &t);
	check("for-carries-and-emits", ok && !strcmp(t.p, "f64[2] [12.0, -4.0]f64[3, 2] [[1.0, -1.0], [2.0, -2.0], [5.0, -3.0]]"), "%s", t.p);
	ts_buf_free(&t);
	for (int k = 0; k < 2; k++) ts_tensor_free(&out[k]);
	ts_tensor_free(&in);
	ts_ctx_free(b.cx);
}

static void refuses(const char *name, int64_t rows, int64_t cols, const char *words)
{
	Build b = build_new();
	TsDims *d = b.m->dims;
	TsDim s = ts_dim_symbol(d, (TsDimSym){ .name = ts_intern(b.cx, "S"), .min = 8, .max = 64, .multiple = 8 });
	TsType t = build_type(&b, TS_F32, "1 1");
	t.dim[0] = s;
	t.dim[1] = ts_dim_add(d, s, ts_dim_const(d, 1));
	TsVal x = ts_add_param(b.m, b.g, ts_intern(b.cx, "x"), t, (TsSpan){ 0 });
	build_result(&b, "y", build_op(&b, TS_OP_slice, "start=20,0 stop=24,1", 1, &x));
	TsTensor in = build_tensor(&b, TS_F32, 2, DIMS(rows, cols), (double[8192]){ 0 }), out = { 0 };
	bool ok = ts_eval(b.m, b.g, TS_EVAL_F64, &in, &out);
	TsBuf text = { 0 };
	ts_diag_text(b.cx, &text);
	check(name, words ? !ok && text.p && strstr(text.p, words) : ok, "%s", text.p ? text.p : "accepted");
	ts_buf_free(&text);
	ts_tensor_free(&in);
	ts_tensor_free(&out);
	ts_ctx_free(b.cx);
}

static void test_calls(void)
{
	refuses("a-call-that-fits", 24, 25, NULL);
	refuses("below-the-range", 0, 1, "x axis 0: S is 0, wanted at least 8");
	refuses("above-the-range", 72, 73, "wanted at most 64");
	refuses("no-multiple", 12, 13, "S is 12, wanted a multiple of 8");
	refuses("derived-size", 24, 24, "x axis 1 is 24, wanted 25 (S + 1)");
	refuses("a-demand-that-waited", 16, 17, "slice: stop and the size of axis 0 of x: 24 and S are 24 and 16");
}

static void test_random(void)
{
	/* the published known answers of Philox4x32-10 */
	static const struct { uint32_t c[4], k[2], out[4]; } kat[] = {
		{ { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
		{ { ~0u, ~0u, ~0u, ~0u }, { ~0u, ~0u }, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
		{ { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, { 0xa4093822, 0x299f31d0 }, { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
	};
	for (size_t i = 0; i < 3; i++) {
		uint32_t out[4];
		ts_philox(kat[i].c, kat[i].k, out);
		check("philox-known-answer", !memcmp(out, kat[i].out, sizeof out), "%08x %08x %08x %08x", out[0], out[1], out[2], out[3]);
	}
	Build b = build_new();
	TsVal v = build_op(&b, TS_OP_uniform, "shape=1", 1, (TsVal[]){ build_param(&b, "key", TS_INT64, "2") });
	TsTensor in = build_tensor(&b, TS_INT64, 1, DIMS(2), D(0, 0));
	gives("uniform-of-key-0", &b, v, TS_EVAL_DECLARED, &in, 1, D(0x6627e8 * 0x1p-24), 0);
	Build c = build_new();
	v = build_op(&c, TS_OP_mean, "", 1, (TsVal[]){ build_op(&c, TS_OP_normal, "shape=100000 mean=3 std=2", 1, (TsVal[]){ build_param(&c, "key", TS_INT64, "2") }) });
	gives("normal-has-its-mean", &c, v, TS_EVAL_F64, &in, 1, D(3), 0.01);
	Build d = build_new();
	v = build_op(&d, TS_OP_max, "", 1, (TsVal[]){ build_op(&d, TS_OP_randint, "shape=10000 low=-3 high=4", 1, (TsVal[]){ build_param(&d, "key", TS_INT64, "2") }) });
	gives("randint-stays-below-high", &d, v, TS_EVAL_F64, &in, 1, D(3), 0);
	ts_tensor_free(&in);
}

static void test_fft(void)
{
	Build b = build_new();
	TsVal x = build_op(&b, TS_OP_cast, "dtype=complex64", 1, (TsVal[]){ build_param(&b, "x", TS_F32, "5") });
	TsVal v = build_op(&b, TS_OP_ifft, "", 1, (TsVal[]){ build_op(&b, TS_OP_fft, "", 1, (TsVal[]){ x }) });
	TsTensor in = build_tensor(&b, TS_F32, 1, DIMS(5), D(1, 2, -3, 0.5, 8));
	gives("ifft-of-fft", &b, v, TS_EVAL_F64, &in, 5, D(1, 2, -3, 0.5, 8), 1e-6);
	ts_tensor_free(&in);
}

int main(void)
{
	test_pointwise();
	test_int64_to_f32();
	test_reduce();
	test_matmul();
	test_attention();
	test_gather();
	test_for();
	test_calls();
	test_random();
	test_fft();
	return check_failed;
}
