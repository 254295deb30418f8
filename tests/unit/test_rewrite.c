/* The rewriter: each line gives parameters, an expression and what it becomes. Both forms are evaluated by the interpreter: rules that
 * keep every bit are tried on inputs with NaN, infinities and zeros of both signs and must keep them, the others to 1e-5. */
#include "middle/rewrite/rewrite.h"
#include "tests/unit/build.h"
#include <ctype.h>
#include <math.h>

/* ---- expressions as text: (op operand ... attr=value ...), numbers take the type of the first operand that is none ------------------ */
static TsVal read_value(Build *b, const char **s, TsDtype literal);

static const char *word(Build *b, const char **s)
{
	while (isspace((unsigned char)**s)) ++*s;
	size_t n = strcspn(*s, " ()");
	const char *w = ts_strndup(ts_arena(b->cx), *s, n);
	*s += n;
	while (isspace((unsigned char)**s)) ++*s;
	return w;
}

static TsVal read_op(Build *b, const char **s)
{
	TsVal in[TS_MAX_OP_INS] = { 0 };
	const char *at[TS_MAX_OP_INS];
	bool late[TS_MAX_OP_INS] = { 0 };
	uint32_t n = 0;
	TsDtype t = TS_F32;
	bool typed = false;
	char attrs[256] = "";
	TsOp op = ts_op_find(b->cx, ts_intern(b->cx, word(b, s)));
	while (**s && **s != ')') {
		const char *end = *s + strcspn(*s, " ()");
		if (**s != '(' && memchr(*s, '=', (size_t)(end - *s))) {
			snprintf(attrs + strlen(attrs), sizeof attrs - strlen(attrs), "%s ", word(b, s));
			continue;
		}
		at[n] = *s;
		if (isdigit((unsigned char)**s) || **s == '-') late[n] = true, word(b, s);
		else if (**s == '_') word(b, s);
		else {
			in[n] = read_value(b, s, TS_F32);
			if (!typed && ts_val(b->g, in[n])->type.elem != TS_BOOL) t = ts_val(b->g, in[n])->type.elem, typed = true;
		}
		n++;
	}
	++*s;
	while (isspace((unsigned char)**s)) ++*s;
	for (uint32_t i = 0; i < n; i++)
		if (late[i]) in[i] = read_value(b, &at[i], t);
	return build_op(b, op, attrs, n, in);
}

static TsVal read_value(Build *b, const char **s, TsDtype literal)
{
	if (**s == '(') return ++*s, read_op(b, s);
	const char *w = word(b, s);
	if (isdigit((unsigned char)*w) || *w == '-') return ts_add_scalar(b->m, b->g, b->b, literal, strtod(w, NULL), (TsSpan){ 0 });
	for (uint32_t i = 0; i < b->g->params.n; i++)
		if (!strcmp(ts_val(b->g, b->g->params.p[i])->name, w)) return b->g->params.p[i];
	abort();
}

static void print_attr(Build *b, const TsAttr *a, TsBuf *to)
{
	switch (a->kind) {
	case TS_A_INT: case TS_A_BOOL: ts_buf_fmt(to, "%lld", (long long)a->i); break;
	case TS_A_FLOAT: ts_buf_fmt(to, "%.9g", a->f); break;
	case TS_A_ENUM: ts_buf_str(to, a->s); break;
	case TS_A_DTYPE: ts_buf_str(to, ts_dtype_name(a->t)); break;
	case TS_A_INTS: for (uint32_t i = 0; i < a->n; i++) ts_buf_fmt(to, "%s%lld", i ? "," : "", (long long)a->ints[i]); break;
	default:
		for (uint32_t i = 0; i < a->n; i++) {
			if (i) ts_buf_char(to, ',');
			ts_dim_print(b->m->dims, a->dims[i], to);
		}
	}
}

static bool is_default(Build *b, const TsAttr *a, TsOp op, int i)
{
	TsBuf x = { 0 }, y = { 0 };
	const TsAttr *d = &ts_attrs_new(b->m, op)[i];
	if (a->none || d->none) return a->none;
	print_attr(b, a, &x);
	print_attr(b, d, &y);
	bool same = !strcmp(x.p ? x.p : "", y.p ? y.p : "");
	ts_buf_free(&x);
	ts_buf_free(&y);
	return same;
}

static void print_value(Build *b, TsVal v, TsBuf *to)
{
	const TsNode *n = v ? ts_val(b->g, v)->def : NULL;
	if (!v) ts_buf_char(to, '_');
	else if (!n || n->op == TS_OP_param) ts_buf_str(to, ts_val(b->g, v)->name);
	else if (n->op == TS_OP_const) ts_buf_fmt(to, "%.9g", ts_elem_get(ts_val(b->g, v)->type.elem, n->data, 0));
	else {
		const TsOpInfo *info = ts_op_info(b->cx, n->op);
		uint32_t last = n->nin;
		ts_buf_fmt(to, "(%s", info->name);
		while (last && !n->in[last - 1]) last--;
		for (uint32_t i = 0; i < last; i++) ts_buf_char(to, ' '), print_value(b, n->in[i], to);
		for (int i = 0; i < info->nattr; i++) {
			if (is_default(b, &n->attr[i], n->op, i)) continue;
			ts_buf_fmt(to, " %s=", info->attr[i].name);
			print_attr(b, &n->attr[i], to);
		}
		ts_buf_char(to, ')');
	}
}

/* ---- one case ------------------------------------------------------------------------------------------------------------------------ */
static Build build_case(const char *params, const char *text, TsNumerics *num)
{
	Build b = build_new();
	if (num) b.m->numerics = *num;
	char *copy = ts_strdup(ts_arena(b.cx), params), *save;
	for (char *w = strtok_r(copy, ";", &save); w; w = strtok_r(NULL, ";", &save)) {
		char name[16], type[16];
		int at = 0;
		TsDtype t;
		if (sscanf(w, " %15s %15s %n", name, type, &at) < 2 || !ts_dtype_find(type, &t)) abort();
		build_param(&b, name, t, w + at);
	}
	TsVal y = read_value(&b, &text, TS_F32);
	if (!y) ts_diag_print(b.cx, stdout);
	build_result(&b, "y", y);
	return b;
}

/* Symbols are 5; a fixed sequence of numbers, `odd` ones among them. */
static TsTensor input(Build *b, const TsType *t, bool odd)
{
	static const double strange[] = { 0.0, -0.0, INFINITY, -INFINITY, NAN, 1, -1 };
	int64_t dim[TS_MAX_RANK], five[8] = { 5, 5, 5, 5, 5, 5, 5, 5 };
	for (int i = 0; i < t->rank; i++) ts_dim_eval(b->m->dims, t->dim[i], five, &dim[i]);
	TsTensor r;
	if (!ts_tensor_new(b->cx, "input", t->elem, t->rank, dim, &r)) abort();
	uint32_t state = 12345;
	for (int64_t i = 0; i < r.count; i++) {
		state = state * 1664525 + 1013904223;
		double x = (double)(state >> 8) / (1 << 24) * 4 - 2;
		if (odd && (state >> 28) < 8) x = strange[(state >> 12) % 7];
		if (t->elem == TS_BOOL) x = x > -1;
		else if (ts_dtype_is_int(t->elem)) x = rint(isfinite(x) ? x * 3 : 0);
		ts_elem_set(t->elem, r.data, i, x);
	}
	return r;
}

static TsTensor evaluate(Build *b, bool odd)
{
	TsTensor in[16], out = { 0 };
	for (uint32_t i = 0; i < b->g->params.n; i++) in[i] = input(b, &ts_val(b->g, b->g->params.p[i])->type, odd);
	ts_eval(b->m, b->g, TS_EVAL_DECLARED, in, &out);
	for (uint32_t i = 0; i < b->g->params.n; i++) ts_tensor_free(&in[i]);
	return out;
}

static bool close_enough(const TsTensor *a, const TsTensor *b, bool bits, double within)
{
	if (a->count != b->count || a->elem != b->elem || !a->data || !b->data) return false;
	for (int64_t i = 0; i < a->count; i++) {
		double x = ts_elem_get(a->elem, a->data, i), y = ts_elem_get(b->elem, b->data, i);
		if (isnan(x) && isnan(y)) continue;
		if (bits ? x != y || signbit(x) != signbit(y) : !(fabs(x - y) <= within * (1 + fabs(x)))) return false;
	}
	return true;
}

enum { BITS, NEAR, SHAPE /* not evaluated: no kernel or differs where it should */ };
static TsNumerics *policy;
static TsNumerics loose = { .accum = TS_DTYPE_NONE, .deterministic = true, .excess = true, .reorder = true, .approx = true };

static void becomes(const char *name, int how, const char *params, const char *text, const char *want)
{
	TsBuf got = { 0 };
	Build a = build_case(params, text, policy), b = build_case(params, text, policy);
	bool ok = ts_rewrite(b.m, NULL) && ts_verify(b.m, "rewrite");
	print_value(&b, b.g->body.results.p[0], &got);
	check(name, ok && !strcmp(got.p, want), "%s, wanted %s", got.p, want);
	if (how != SHAPE) {
		TsTensor x = evaluate(&a, how == BITS), y = evaluate(&b, how == BITS);
		check(ts_printf(ts_arena(a.cx), "%s-value", name), close_enough(&x, &y, how == BITS, ts_val(b.g, b.g->body.results.p[0])->type.elem == TS_F32 ? 1e-5 : 2e-2), "the values differ");
		ts_tensor_free(&x);
		ts_tensor_free(&y);
	}
	ts_buf_free(&got);
	ts_ctx_free(a.cx);
	ts_ctx_free(b.cx);
}

static const char x34[] = "x f32 3 4; y f32 3 4; i int32 3 4; c bool 3 4; h bf16 3 4; r f32 4";

static void test_algebra(void)
{
	becomes("const-right", BITS, x34, "(add 2 x)", "(add x 2)");
	becomes("involution", BITS, x34, "(neg (neg x))", "x");
	becomes("involution-not", BITS, x34, "(not (not c))", "c");
	becomes("idempotent", BITS, x34, "(floor (floor x))", "(floor x)");
	becomes("idempotent-pair", BITS, x34, "(maximum x x)", "x");
	becomes("mul-by-one", BITS, x34, "(mul 1 x)", "x");
	becomes("div-by-one", BITS, x34, "(div x 1)", "x");
	becomes("add-zero-stays", BITS, x34, "(add x 0)", "(add x 0)");
	becomes("add-minus-zero", BITS, x34, "(add x -0)", "x");
	becomes("add-zero-int", BITS, x34, "(add i 0)", "i");
	becomes("mul-zero-stays", BITS, x34, "(mul x 0)", "(mul x 0)");
	becomes("sub-zero", BITS, x34, "(sub x 0)", "x");
	becomes("sub-self", BITS, x34, "(sub i i)", "(broadcast 0 shape=3,4)");
	becomes("mul-minus-one", BITS, x34, "(mul x -1)", "(neg x)");
	becomes("mul-of-negs", BITS, x34, "(mul (neg x) (neg y))", "(mul x y)");
	becomes("add-neg", BITS, x34, "(add x (neg y))", "(sub x y)");
	becomes("neg-add", BITS, x34, "(add (neg x) y)", "(sub y x)");
	becomes("sub-neg", BITS, x34, "(sub x (neg y))", "(add x y)");
	becomes("abs-neg", BITS, x34, "(abs (neg x))", "(abs x)");
	becomes("square-of-abs", BITS, x34, "(mul (abs x) (abs x))", "(mul x x)");
	becomes("div-by-pow2", BITS, x34, "(div x 8)", "(mul x 0.125)");
	becomes("div-by-three-stays", BITS, x34, "(div x 3)", "(div x 3)");
	becomes("add-literals", BITS, x34, "(add (add i 2) 3)", "(add i 5)");
	becomes("sub-literal", BITS, x34, "(sub i 3)", "(add i -3)");
	becomes("mul-literals-not-by-default", BITS, x34, "(mul (mul x 3) 5)", "(mul (mul x 3) 5)");
	becomes("pow-two", NEAR, x34, "(pow x 2)", "(mul x x)");
	becomes("pow-one", NEAR, x34, "(pow x 1)", "x");
	becomes("pow-minus-one", NEAR, x34, "(pow x -1)", "(div 1 x)");
	becomes("pow-half-not-by-default", BITS, x34, "(pow x 0.5)", "(pow x 0.5)");
	becomes("mul-reciprocal", NEAR, x34, "(mul x (div 1 y))", "(div x y)");
	becomes("recip-of-div", NEAR, x34, "(div 1 (div x y))", "(div y x)");
	becomes("log-of-exp", NEAR, x34, "(log (exp x))", "x");
	becomes("not-eq", BITS, x34, "(not (eq x y))", "(ne x y)");
	becomes("not-lt-float-stays", BITS, x34, "(not (lt x y))", "(not (lt x y))");
	becomes("not-lt-int", BITS, x34, "(not (lt i i))", "(ge i i)");
	becomes("where-same", BITS, x34, "(where c x x)", "x");
	becomes("where-not", BITS, x34, "(where (not c) x y)", "(where c y x)");
	becomes("relu", NEAR, x34, "(maximum 0 x)", "(relu x)");
	becomes("clamp", BITS, x34, "(minimum (maximum x -1) 1)", "(clamp x -1 1)");
	becomes("clamp-turned", BITS, x34, "(maximum (minimum x 1) -1)", "(clamp x -1 1)");
	becomes("clamp-crossed-stays", BITS, x34, "(maximum (minimum x -1) 1)", "(maximum (minimum x -1) 1)");
	becomes("cast-same", BITS, x34, "(cast x dtype=f32)", "x");
	becomes("cast-there-and-back", BITS, x34, "(cast (cast h dtype=f32) dtype=bf16)", "h");
	becomes("cast-losing-stays", BITS, x34, "(cast (cast x dtype=bf16) dtype=f32)", "(cast (cast x dtype=bf16) dtype=f32)");
	becomes("max-of-max", BITS, "x f32 2 3 4", "(max (max x axis=1) axis=1)", "(max x axis=1,2)");
	becomes("sum-of-sum-not-by-default", BITS, "x f32 2 3 4", "(sum (sum x axis=1) axis=1)", "(sum (sum x axis=1) axis=1)");
	becomes("matmul-order-not-by-default", BITS, "a f32 9 2; b f32 2 9; c f32 9 2", "(matmul (matmul a b) c)", "(matmul (matmul a b) c)");
	becomes("ifft-of-fft", SHAPE, "z complex64 3 4", "(ifft (fft z))", "z");
	becomes("fft-other-axis-stays", SHAPE, "z complex64 3 4", "(ifft (fft z axis=0))", "(ifft (fft z axis=0) axis=1)");
	becomes("common-factor", BITS, x34, "(add (mul x y) (mul y x))", "(add (mul x y) (mul x y))");
	becomes("fold", BITS, x34, "(mul x (add 1 2))", "(mul x 3)");
}

static void test_loose(void)
{
	policy = &loose;
	becomes("mul-literals", NEAR, x34, "(mul (mul x 3) 5)", "(mul x 15)");
	becomes("pow-half", SHAPE, x34, "(pow x 0.5)", "(sqrt x)");
	becomes("recip-of-sqrt", SHAPE, x34, "(div 1 (sqrt x))", "(rsqrt x)");
	becomes("div-by-sqrt", SHAPE, x34, "(div y (sqrt x))", "(mul y (rsqrt x))");
	becomes("sum-of-sum", NEAR, "x f32 2 3 4", "(sum (sum x axis=1) axis=1)", "(sum x axis=1,2)");
	becomes("sum-of-sum-keepdims", NEAR, "x f32 2 3 4", "(sum (sum x axis=0 keepdims=1) axis=2 keepdims=1)", "(sum x axis=0,2 keepdims=1)");
	becomes("matmul-right", NEAR, "a f32 9 2; b f32 2 9; c f32 9 2", "(matmul (matmul a b) c)", "(matmul a (matmul b c))");
	becomes("matmul-left", NEAR, "a f32 2 9; b f32 9 2; c f32 2 9", "(matmul a (matmul b c))", "(matmul (matmul a b) c)");
	policy = NULL;
}

static void test_views(void)
{
	becomes("transpose-none", BITS, "x f32 2 3 4", "(transpose x perm=0,1,2)", "x");
	becomes("transpose-twice", BITS, "x f32 2 3 4", "(transpose (transpose x perm=1,2,0) perm=2,0,1)", "x");
	becomes("transpose-composed", BITS, "x f32 2 3 4", "(transpose (transpose x perm=1,2,0) perm=0,2,1)", "(transpose x perm=1,0,2)");
	becomes("transpose-units", BITS, "x f32 1 3 4", "(transpose x perm=1,0,2)", "(reshape x shape=3,1,4)");
	becomes("reshape-twice", BITS, "x f32 2 3 4", "(reshape (reshape x shape=6,4) shape=24)", "(reshape x shape=24)");
	becomes("reshape-back", BITS, "x f32 S 3 4", "(reshape (reshape x shape=-1,4) shape=S,3,4)", "x");
	becomes("keepdims", BITS, "x f32 S 3 4", "(reshape (sum x axis=1) shape=S,1,4)", "(sum x axis=1 keepdims=1)");
	becomes("broadcast-twice", BITS, "x f32 3 1", "(broadcast (broadcast x shape=3,4) shape=2,3,4)", "(broadcast x shape=2,3,4)");
	becomes("broadcast-units", BITS, "x f32 3 4", "(broadcast x shape=1,3,4)", "(reshape x shape=1,3,4)");
	becomes("broadcast-operand", BITS, "x f32 3 4; r f32 4", "(add (broadcast r shape=3,4) x)", "(add r x)");
	becomes("broadcast-needed", BITS, "r f32 4; k f32 3 1", "(exp (broadcast r shape=3,4))", "(exp (broadcast r shape=3,4))");
	becomes("matmul-broadcast", BITS, "x f32 5 3 4; w f32 4 2", "(matmul x (broadcast w shape=5,4,2))", "(matmul x w)");
	becomes("slice-all", BITS, "x f32 S 4", "(slice x start=0,0 stop=S,4)", "x");
	becomes("slice-twice", BITS, "x f32 9 4", "(slice (slice x start=1,0 stop=9,4) start=2,1 stop=5,4)", "(slice x start=3,1 stop=6,4)");
	becomes("slice-of-concat", BITS, "x f32 3 4; y f32 5 4", "(slice (concat x y axis=0) start=4,0 stop=6,4)", "(slice y start=1,0 stop=3,4)");
	becomes("slice-across-concat", BITS, "x f32 3 4; y f32 5 4", "(slice (concat x y axis=0) start=2,0 stop=6,4)", "(slice (concat x y) start=2,0 stop=6,4)");
	becomes("slice-is-part", BITS, "x f32 3 4; y f32 5 4", "(slice (concat x y axis=0) start=3,0 stop=8,4)", "y");
	becomes("concat-one", BITS, "x f32 3 4", "(concat x axis=0)", "x");
	becomes("split-one", BITS, "x f32 3 4", "(split x n=1 axis=0)", "x");
	becomes("pad-none", BITS, "x f32 3 4", "(pad x before=0,0 after=0,0)", "x");
	becomes("one-hot", NEAR, "t f32 7 4; i int64 3", "(matmul (one_hot i n=7) t)", "(embedding t i)");
}

static void test_patterns(void)
{
	const char *gelu = "(gelu x approximate=none)", *tanh = "(gelu x)", *ln = "(layer_norm x)", *soft = "(softmax x axis=1)";
	becomes("sigmoid", NEAR, x34, "(div 1 (add 1 (exp (neg x))))", "(sigmoid x)");
	becomes("silu", NEAR, x34, "(mul (sigmoid x) x)", "(silu x)");
	becomes("gelu-erf", NEAR, x34, "(mul (mul x 0.5) (add 1 (erf (div x 1.41421356))))", gelu);
	becomes("gelu-sum", NEAR, x34, "(add (mul 0.5 x) (mul (mul x 0.5) (erf (mul x 0.70710678))))", gelu);
	becomes("gelu-wrong-root", BITS, x34, "(mul (mul x 0.5) (add (erf (mul x 0.7)) 1))", "(mul (mul x 0.5) (add (erf (mul x 0.699999988)) 1))");
	becomes("gelu-tanh", NEAR, x34, "(mul (mul x 0.5) (add 1 (tanh (mul 0.79788456 (add x (mul 0.044715 (pow x 3)))))))", tanh);
	becomes("gelu-sigmoid", NEAR, x34, "(mul x (sigmoid (mul 1.59576912 (add x (mul 0.044715 (mul x (mul x x)))))))", tanh);
	becomes("softmax", NEAR, x34, "(div (exp (sub x (max x axis=1 keepdims=1))) (sum (exp (sub x (max x axis=1 keepdims=1))) axis=1 keepdims=1))", soft);
	becomes("mean-of-sum", NEAR, x34, "(div (sum x axis=1) 4)", "(mean x axis=1)");
	becomes("mean-of-sum-wrong", NEAR, x34, "(div (sum x axis=1) 3)", "(div (sum x axis=1) 3)");
	becomes("layer-norm", NEAR, x34, "(div (sub x (mean x axis=1 keepdims=1)) (sqrt (add (mean (pow (sub x (mean x axis=1 keepdims=1)) 2) axis=1 keepdims=1) 0.00001)))", ln);
	becomes("layer-norm-moments", NEAR, x34, "(mul (sub x (mean x axis=-1 keepdims=1)) (rsqrt (add (sub (mean (mul x x) axis=1 keepdims=1) (pow (mean x axis=1 keepdims=1) 2)) 0.00001)))", ln);
	becomes("layer-norm-weights", NEAR, "x f32 3 4; g f32 4; b f32 1 4", "(add b (mul g (layer_norm x)))", "(layer_norm x g (reshape b shape=4))");
	becomes("layer-norm-fused-scale", NEAR, "x f32 3 4; g f32 4; b f32 4", "(add (mul x (mul (rsqrt (add (mean (pow (sub x (mean x axis=1 keepdims=1)) 2) axis=1 keepdims=1) 0.00001)) g)) (sub b (mul (mul (mean x axis=1 keepdims=1) (rsqrt (add (mean (pow (sub x (mean x axis=1 keepdims=1)) 2) axis=1 keepdims=1) 0.00001))) g)))", "(layer_norm x g b)");
	becomes("rms-norm", NEAR, "x f32 3 4; g f32 4", "(mul (mul x (rsqrt (add (mean (mul x x) axis=1 keepdims=1) 0.000001))) g)", "(rms_norm x g eps=1e-06)");
	becomes("rms-norm-other-axis", NEAR, x34, "(mul x (rsqrt (add (mean (mul x x) axis=0 keepdims=1) 1)))", "(mul x (rsqrt (add (mean (mul x x) axis=0 keepdims=1) 1)))");
}

/* softmax(q k^T / 4 + table) v and softmax(where(table, q k^T / 4, -inf)) v with a literal table of shape, read as [rows, 6]. */
static void table_case(const char *name, const char *shape, const char *reshape, const double *x, bool additive, const char *want)
{
	Build b = build_new();
	TsBuf got = { 0 };
	TsVal q = build_param(&b, "q", TS_F32, "1 2 4 16"), k = build_param(&b, "k", TS_F32, "1 2 6 16"), v = build_param(&b, "v", TS_F32, "1 2 6 8");
	TsType t = build_type(&b, additive ? TS_F32 : TS_BOOL, shape);
	void *data = ts_alloc(ts_arena(b.cx), 24 * sizeof(float));
	for (int i = 0; i < 24; i++) ts_elem_set(t.elem, data, i, x[i]);
	TsVal table = OP_(&b, reshape, reshape, ts_add_const(b.m, b.g, b.b, t, data, (TsSpan){ 0 })), kt = OP_(&b, transpose, "", k), s = OP_(&b, matmul, "", q, kt);
	s = OP_(&b, mul, "", s, ts_add_scalar(b.m, b.g, b.b, TS_F32, 0.25, (TsSpan){ 0 }));
	s = additive ? OP_(&b, add, "", s, table) : OP_(&b, where, "", table, s, ts_add_scalar(b.m, b.g, b.b, TS_F32, -INFINITY, (TsSpan){ 0 }));
	TsVal p = OP_(&b, softmax, "", s);
	build_result(&b, "y", OP_(&b, matmul, "", p, v));
	bool ok = ts_rewrite(b.m, NULL) && ts_verify(b.m, "rewrite");
	print_value(&b, b.g->body.results.p[0], &got);
	check(name, ok && !strncmp(got.p, want, strlen(want)), "%s, wanted %s", got.p, want);
	ts_buf_free(&got);
	ts_ctx_free(b.cx);
}

static void test_tables(void)
{
	double seen[24], bias[24], hole[24];
	for (int i = 0; i < 4; i++)
		for (int j = 0; j < 6; j++) seen[i * 6 + j] = j <= i + 2, bias[i * 6 + j] = j <= i + 2 ? 0 : -1e30;
	memcpy(hole, seen, sizeof hole);
	hole[6] = 0;
	table_case("table-causal", "4 6", "shape=1,1,4,6", seen, false, "(attention q k v _ _ 2 causal=1)");
	table_case("table-causal-bias", "1 1 4 6", "shape=4,6", bias, true, "(attention q k v _ _ 2 causal=1)");
	bias[23] = -1e9;
	table_case("table-not-so-low", "1 1 4 6", "shape=4,6", bias, true, "(attention q k v _ 0)");
	table_case("table-with-a-hole", "4 6", "shape=1,1,4,6", hole, false, "(attention q k v ");
	table_case("table-with-a-hole-is-a-mask", "4 6", "shape=4,6", hole, false, "(attention q k v 1");
	table_case("table-of-other-rows", "6 4", "shape=4,6", seen, false, "(attention q k v 1");
}

static void test_attention(void)
{
	static const char qkv[] = "q f32 B 2 S 16; k f32 B 2 T 16; v f32 B 2 T 8; m bool B 1 1 T; b f32 2 S T";
	becomes("attention", NEAR, qkv, "(matmul (softmax (div (matmul q (transpose k)) 4)) v)", "(attention q k v)");
	becomes("attention-scale", NEAR, qkv, "(matmul (softmax (matmul (mul q 0.5) (transpose k))) v)", "(attention q k v scale=0.5)");
	becomes("attention-mask", NEAR, qkv, "(matmul (softmax (where m (mul (matmul q (transpose k)) 0.25) -inf)) v)", "(attention q k v m)");
	becomes("attention-bias", NEAR, qkv, "(matmul (softmax (add b (mul (matmul q (transpose k)) 0.25))) v)", "(attention q k v _ b)");
	becomes("attention-finite-mask", NEAR, qkv, "(matmul (softmax (where m (mul (matmul q (transpose k)) 0.25) -1e30)) v)", "(attention q k v _ (where m 0 -1.00000002e+30))");
	becomes("attention-causal", NEAR, "q f32 1 2 S 4; k f32 1 2 S 4; v f32 1 2 S 4", "(matmul (softmax (where (ge (reshape (iota n=S) shape=S,1) (iota n=S)) (mul (matmul q (transpose k)) 0.5) -1e30)) v)", "(attention q k v causal=1)");
	test_tables();
	becomes("attention-softmax-other-axis", NEAR, qkv, "(matmul (softmax (matmul q (transpose k)) axis=2) v)", "(matmul (softmax (matmul q (transpose k perm=0,1,3,2)) axis=2) v)");
	becomes("attention-rank-3", NEAR, "q f32 B S 16; k f32 B T 16; v f32 B T 8", "(matmul (softmax (div (matmul q (transpose k)) 4)) v)", "(reshape (attention (reshape q shape=B,1,S,16) (reshape k shape=B,1,T,16) (reshape v shape=B,1,T,8)) shape=B,S,8)");
	becomes("attention-grouped", NEAR, "q f32 B 4 S 16; k f32 B 2 T 16; v f32 B 2 T 8", "(matmul (softmax (div (matmul q (transpose (reshape (broadcast (reshape k shape=B,2,1,T,16) shape=B,2,2,T,16) shape=B,4,T,16))) 4)) (reshape (broadcast (reshape v shape=B,2,1,T,8) shape=B,2,2,T,8) shape=B,4,T,8))", "(attention q k v)");
}

int main(void)
{
	test_algebra();
	test_loose();
	test_views();
	test_patterns();
	test_attention();
	return check_failed;
}
