/* Type inference: what each family of operators gives, what it refuses and in which words, and which demands wait for the call. */
#include "tests/unit/build.h"

/* The type of v, or the text of the error that kept it from being made. */
static void is(const char *name, Build *b, TsVal v, const char *want)
{
	TsBuf t = { 0 };
	if (v) ts_type_print(b->m, &ts_val(b->g, v)->type, &t);
	else ts_diag_text(b->cx, &t);
	check(name, v && !strcmp(t.p, want), "%s, wanted %s", t.p, want);
	ts_buf_free(&t);
	ts_diag_reset(b->cx);
}

static void refused(const char *name, Build *b, TsVal v, const char *code, const char *words)
{
	TsBuf t = { 0 };
	ts_diag_text(b->cx, &t);
	check(name, !v && t.p && strstr(t.p, code) && strstr(t.p, words), "\"%s\", wanted %s and \"%s\"", v ? "accepted" : t.p, code, words);
	ts_buf_free(&t);
	ts_diag_reset(b->cx);
}

static void checks(const char *name, Build *b, uint32_t n)
{
	check(name, b->g->checks.n == n, "%u demands wait, wanted %u", b->g->checks.n, n);
}

static void test_pointwise(void)
{
	Build b = build_new();
	TsVal x = build_param(&b, "x", TS_F32, "B S 4"), y = build_param(&b, "y", TS_F32, "4"), z = build_param(&b, "z", TS_F32, "S 1"), i = build_param(&b, "i", TS_INT32, "S 4");
	TsVal t = build_param(&b, "t", TS_F32, "T 4"), h = build_param(&b, "h", TS_BF16, "S 4"), q = build_param(&b, "q", TS_INT8, "4"), five = build_param(&b, "five", TS_F32, "5");
	TsVal c = build_param(&b, "c", TS_BOOL, "S 1");
	is("add-broadcasts-trailing-axes", &b, OP_(&b, add, "", x, y), "f32[B, S, 4]");
	is("a-literal-1-stretches", &b, OP_(&b, mul, "", y, z), "f32[S, 4]");
	is("compare-gives-bool", &b, OP_(&b, lt, "", i, i), "bool[S, 4]");
	is("where-broadcasts-three", &b, OP_(&b, where, "", c, x, y), "f32[B, S, 4]");
	is("cast-of-storage", &b, OP_(&b, cast, "dtype=f32", q), "f32[4]");
	checks("nothing-waits", &b, 0);
	refused("two-names-are-not-equal", &b, OP_(&b, add, "", x, t), "E_BROADCAST", "add: axis 1 is S in x and T in t, and only a literal 1 stretches");
	refused("4-is-not-5", &b, OP_(&b, add, "", x, five), "E_BROADCAST", "axis 2 is 4 in x and 5 in five");
	refused("one-element-type", &b, OP_(&b, add, "", x, h), "E_TYPE_MISMATCH", "add takes one element type: x is f32[B, S, 4], h is bf16[S, 4]");
	refused("exp-of-integers", &b, OP_(&b, exp, "", i), "E_TYPE", "exp takes f32 f64 f16 bf16, i is int32[S, 4]");
	refused("storage-does-not-compute", &b, OP_(&b, add, "", q, q), "E_TYPE", "q is int8[4]");
	refused("condition-is-bool", &b, OP_(&b, where, "", x, x, y), "E_TYPE", "where takes bool");
	refused("gelu-has-two-forms", &b, OP_(&b, gelu, "approximate=erf", x), "E_ATTR", "none|tanh");
	refused("cast-needs-a-type", &b, OP_(&b, cast, "", x), "E_ATTR", "needs the attribute 'dtype'");
	refused("arity", &b, OP_(&b, add, "", x), "E_ARITY", "add takes 2 operands, found 1");
	ts_ctx_free(b.cx);
}

static void test_matmul(void)
{
	Build b = build_new();
	TsVal x = build_param(&b, "x", TS_BF16, "B S 512"), w = build_param(&b, "w", TS_FP8_E4M3, "512 2048"), v = build_param(&b, "v", TS_BF16, "2048 512"), n = build_param(&b, "n", TS_BF16, "B D 7");
	TsVal i = build_param(&b, "i", TS_INT8, "4 512"), k = build_param(&b, "k", TS_INT64, "512 3"), r = build_param(&b, "r", TS_BF16, "512");
	is("matmul-gives-the-first-type", &b, OP_(&b, matmul, "", x, w), "bf16[B, S, 2048]");
	is("matmul-out", &b, OP_(&b, matmul, "out=f32", x, w), "f32[B, S, 2048]");
	is("matmul-of-integers", &b, OP_(&b, matmul, "out=int32", i, k), "int32[4, 3]");
	checks("matmul-waits-for-nothing", &b, 0);
	is("open-inner-size", &b, OP_(&b, matmul, "", x, n), "bf16[B, S, 7]");
	checks("open-inner-size-waits", &b, 1);
	refused("matmul-inner", &b, OP_(&b, matmul, "", x, v), "E_SHAPE_MISMATCH", "matmul inner sizes differ: 512 (x axis 2) and 2048 (v axis 0)");
	Build c = build_new();
	TsVal cx = build_param(&c, "x", TS_F32, "2 512"), cv = build_param(&c, "v", TS_F32, "2048 512");
	refused("matmul-suggests-T", &c, OP_(&c, matmul, "", cx, cv), "hint", "v.T");
	ts_ctx_free(c.cx);
	refused("storage-first-needs-out", &b, OP_(&b, matmul, "", w, v), "E_TYPE", "out = f32");
	refused("matmul-rank", &b, OP_(&b, matmul, "", x, r), "E_RANK", "at least 2 axes");
	refused("float-to-integers", &b, OP_(&b, matmul, "out=int32", x, w), "E_TYPE", "cannot give int32");
	ts_ctx_free(b.cx);
}

static void test_attention(void)
{
	Build b = build_new();
	TsVal q = build_param(&b, "q", TS_F32, "B 12 S 64"), k = build_param(&b, "k", TS_F32, "B 4 T 64"), v = build_param(&b, "v", TS_F32, "B 4 T 32"), mask = build_param(&b, "mask", TS_BOOL, "B 1 1 T");
	TsVal five = build_param(&b, "five", TS_F32, "B 5 T 64"), off = build_param(&b, "n", TS_INT64, ""), bias = build_param(&b, "bias", TS_F32, "12 S T");
	is("attention", &b, OP_(&b, attention, "causal=1", q, k, v, mask, bias, off), "f32[B, 12, S, 32]");
	is("attention-without-mask", &b, OP_(&b, attention, "window=7", q, k, v, 0, bias), "f32[B, 12, S, 32]");
	TsVal one = build_param(&b, "c", TS_F32, ""), many = build_param(&b, "cs", TS_F32, "S");
	is("attention-with-a-factor", &b, OP_(&b, attention, "", q, k, v, 0, 0, 0, one), "f32[B, 12, S, 32]");
	checks("attention-waits-for-nothing", &b, 0);
	refused("factor-of-many", &b, OP_(&b, attention, "", q, k, v, 0, 0, 0, many), "E_RANK", "factor is one number");
	refused("factor-of-integers", &b, OP_(&b, attention, "", q, k, v, 0, 0, 0, off), "E_TYPE_MISMATCH", "factor may be that or f32");
	refused("heads-multiple", &b, OP_(&b, attention, "", q, five, five), "E_SHAPE_MISMATCH", "heads are a multiple");
	refused("bias-is-no-mask", &b, OP_(&b, attention, "", q, k, v, bias), "E_TYPE", "bool");
	refused("window", &b, OP_(&b, attention, "window=0", q, k, v), "E_ATTR", "at least 1");
	ts_ctx_free(b.cx);
}

static void test_reduce(void)
{
	Build b = build_new();
	TsVal x = build_param(&b, "x", TS_F32, "B S 4"), g = build_param(&b, "g", TS_F32, "4"), g5 = build_param(&b, "g5", TS_F32, "5");
	is("sum-all", &b, OP_(&b, sum, "", x), "f32[]");
	is("sum-axis", &b, OP_(&b, sum, "axis=-2", x), "f32[B, 4]");
	is("mean-keepdims", &b, OP_(&b, mean, "axis=2,0 keepdims=1", x), "f32[1, S, 1]");
	is("argmax", &b, OP_(&b, argmax, "axis=-1", x), "int64[B, S]");
	is("softmax", &b, OP_(&b, softmax, "", x), "f32[B, S, 4]");
	is("layer-norm", &b, OP_(&b, layer_norm, "eps=0.1", x, g, g), "f32[B, S, 4]");
	refused("axis-range", &b, OP_(&b, sum, "axis=3", x), "E_AXIS", "axis 3 is not in -3 to 2");
	refused("axis-twice", &b, OP_(&b, sum, "axis=1,-2", x), "E_AXIS", "axis 1 is named twice");
	refused("gamma", &b, OP_(&b, layer_norm, "", x, g5), "E_SHAPE_MISMATCH", "4 and 5");
	ts_ctx_free(b.cx);
}

static void test_move(void)
{
	Build b = build_new();
	TsVal x = build_param(&b, "x", TS_F32, "B S 512"), i = build_param(&b, "i", TS_INT64, "B S"), q = build_param(&b, "q", TS_INT4, "6 4");
	is("reshape", &b, OP_(&b, reshape, "shape=B,S,8,64", x), "f32[B, S, 8, 64]");
	is("reshape-rest", &b, OP_(&b, reshape, "shape=B,-1,64", x), "f32[B, 8*S, 64]");
	is("transpose", &b, OP_(&b, transpose, "perm=2,0,1", x), "f32[512, B, S]");
	is("transpose-last-two", &b, OP_(&b, transpose, "", x), "f32[B, 512, S]");
	is("broadcast", &b, OP_(&b, broadcast, "shape=3,B,S,512", x), "f32[3, B, S, 512]");
	is("slice-from-the-end", &b, OP_(&b, slice, "start=0,-1,0 stop=B,S,511 step=1,1,2", x), "f32[B, 1, 256]");
	is("concat", &b, OP_(&b, concat, "axis=1", x, x), "f32[B, 2*S, 512]");
	is("split", &b, OP_(&b, split, "n=4", x), "f32[B, S, 128]");
	is("pad", &b, OP_(&b, pad, "before=0,1,2 after=0,0,3", x), "f32[B, S + 1, 517]");
	is("gather", &b, OP_(&b, gather, "axis=1", x, i), "f32[B, B, S, 512]");
	is("embedding-of-storage", &b, OP_(&b, embedding, "", q, i), "int4[B, S, 4]");
	is("one-hot", &b, OP_(&b, one_hot, "n=10 dtype=bf16", i), "bf16[B, S, 10]");
	is("iota", &b, OP_(&b, iota, "n=S"), "int64[S]");
	checks("movement-waits-for-nothing", &b, 0);
	refused("element-count", &b, OP_(&b, reshape, "shape=B,S,511", x), "E_ELEMENT_COUNT", "x has 512*B*S, the new shape 511*B*S");
	refused("split-multiple", &b, OP_(&b, split, "n=3", x), "E_SHAPE_MISMATCH", "512 is not a multiple of 3");
	refused("split-many", &b, OP_(&b, split, "n=100000000000", x), "E_ATTR", "1 to 4096");
	refused("perm-twice", &b, OP_(&b, transpose, "perm=0,0,1", x), "E_AXIS", "named twice");
	refused("slice-past-the-end", &b, OP_(&b, slice, "start=0,0,0 stop=B,S,513", x), "E_RANGE", "513 is more than 512");
	refused("pad-value", &b, OP_(&b, pad, "before=0,0 after=0,0 value=0.5", i), "E_ATTR", "0.5 is no int64");
	TsVal y = OP_(&b, slice, "start=0,3,0 stop=B,8,512", x);
	is("open-slice", &b, y, "f32[B, 5, 512]");
	checks("open-slice-waits", &b, 1);
	ts_ctx_free(b.cx);
}

static void test_random(void)
{
	Build b = build_new();
	TsVal key = build_param(&b, "key", TS_INT64, "2"), bad = build_param(&b, "bad", TS_INT64, "3");
	TsVal u = OP_(&b, uniform, "shape=S,3", key), n = OP_(&b, normal, "shape=4 dtype=bf16", key);
	is("uniform", &b, u, "f32[S, 3]");
	is("normal", &b, n, "bf16[4]");
	check("streams-count-up", ts_attr(b.m, ts_val(b.g, u)->def, "stream")->i == 0 && ts_attr(b.m, ts_val(b.g, n)->def, "stream")->i == 1, "not 0 and 1");
	refused("key", &b, OP_(&b, uniform, "shape=S", bad), "E_TYPE", "int64[2]");
	refused("randint-range", &b, OP_(&b, randint, "shape=S low=3 high=3", key), "E_ATTR", "low + 1");
	ts_ctx_free(b.cx);
}

static void test_sizes(void)
{
	Build b = build_new();
	TsVal x = build_param(&b, "x", TS_F32, "1");
	refused("too-many-elements", &b, OP_(&b, broadcast, "shape=2147483648,2147483648,2", x), "E_SIZE", "2^62");
	refused("negative-size", &b, OP_(&b, iota, "n=-3"), "E_SIZE", "axis 0 of the result would be -3");
	is("zero-times-anything", &b, OP_(&b, broadcast, "shape=0,4611686018427387904,1", x), "f32[0, 4611686018427387904, 1]");
	ts_ctx_free(b.cx);
}

/* for i in 0..3 with c = x: yields `result` of a body that slices s[i:i + 1]. */
static void test_for(bool grows)
{
	Build b = build_new();
	TsVal x = build_param(&b, "x", TS_F32, "4"), s = build_param(&b, "s", TS_F32, "S");
	TsFor *f = TS_NEW(b.m->arena, TsFor);
	*f = (TsFor){ .var = ts_intern(b.cx, "i"), .lo = 0, .hi = 3, .step = 1, .ncarry = 1 };
	f->symbol = ts_dim_symbol(b.m->dims, (TsDimSym){ .name = f->var, .min = 0, .max = 2, .multiple = 1 });
	TsNode *n = ts_node_new(b.m, b.g, TS_OP_for, 1, &x, 1);
	n->loop = f;
	TsVal arg = b.g->vals.n;
	ts_push(b.m->arena, &b.g->vals, (TsValue){ .type = ts_val(b.g, x)->type, .name = ts_intern(b.cx, "c"), .def = n });
	ts_push(b.m->arena, &f->body.args, arg);
	b.b = &f->body;
	TsAttr *at = ts_attrs_new(b.m, TS_OP_slice);
	TsDim start = f->symbol, stop = ts_dim_add(b.m->dims, start, ts_dim_const(b.m->dims, 1));
	at[0] = (TsAttr){ .kind = TS_A_DIMS, .n = 1, .dims = &start };
	at[1] = (TsAttr){ .kind = TS_A_DIMS, .n = 1, .dims = &stop };
	TsNode *one = ts_add_op(b.m, b.g, b.b, TS_OP_slice, 1, &s, at, NULL, (TsSpan){ 0 });
	TsVal sum = build_op(&b, grows ? TS_OP_concat : TS_OP_add, "", 2, (TsVal[]){ arg, one->out[0] });
	ts_push(b.m->arena, &f->body.results, sum);
	bool ok = ts_infer(b.m, b.g, n);
	if (grows) refused("a-carried-value-keeps-its-type", &b, ok, "E_LOOP_TYPE", "f32[4], yielded as f32[5]");
	else is("for", &b, ok ? n->out[0] : 0, "f32[4]");
	if (!grows) checks("demands-of-each-iteration-wait", &b, 2); /* 2 <= S and 3 <= S; 1 <= S is known */
	ts_ctx_free(b.cx);
}

static void verify(void *user) { ts_verify(((Build *)user)->m, "a test"); }

static void test_verify(void)
{
	Build b = build_new();
	TsVal x = build_param(&b, "x", TS_F32, "S 4"), y = OP_(&b, exp, "", x);
	build_result(&b, "y", y);
	check("a-good-graph-verifies", ts_guard(b.cx, verify, &b) && ts_exit_code(b.cx) == 0, "it does not");
	ts_val(b.g, y)->type.elem = TS_F64;
	check("a-wrong-type-is-a-bug", !ts_guard(b.cx, verify, &b) && ts_exit_code(b.cx) == 4, "it is not");
	ts_diag_reset(b.cx);
	ts_val(b.g, y)->type.elem = TS_F32;
	ts_val(b.g, y)->def->in[0] = y;
	check("use-before-definition-is-a-bug", !ts_guard(b.cx, verify, &b), "it is not");
	ts_ctx_free(b.cx);
}

int main(void)
{
	test_pointwise();
	test_matmul();
	test_attention();
	test_reduce();
	test_move();
	test_random();
	test_sizes();
	test_for(false);
	test_for(true);
	test_verify();
	return check_failed;
}
