/* Common values, dead code, loop invariants, names and the log of the rewriter, on graphs with a `for`. */
#include "middle/rewrite/rewrite.h"
#include "tests/unit/build.h"

/* OP_ within OP_: a macro does not expand in itself. */
#define IN_(b, op, attrs, ...) build_op((b), TS_OP_##op, attrs, sizeof((TsVal[]){ 0, ##__VA_ARGS__ }) / sizeof(TsVal) - 1, (TsVal[]){ 0, ##__VA_ARGS__ } + 1)

static uint32_t count_ops(const TsBlock *b, TsOp op)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < b->nodes.n; i++) n += b->nodes.p[i]->op == op;
	return n;
}

static TsNode *only(const TsBlock *b, TsOp op)
{
	for (uint32_t i = 0; i < b->nodes.n; i++)
		if (b->nodes.p[i]->op == op) return b->nodes.p[i];
	return NULL;
}

static TsVal named(Build *b, const char *name, TsVal v)
{
	ts_val(b->g, v)->name = ts_intern(b->cx, name);
	return v;
}

/* for i in 0..6 with carried values; the body is filled through b->b until build_end. */
static TsNode *build_for(Build *b, uint32_t n, const TsVal *init)
{
	TsNode *f = ts_node_new(b->m, b->g, TS_OP_for, n, init, n);
	f->loop = TS_NEW(ts_arena(b->cx), TsFor);
	*f->loop = (TsFor){ .var = ts_intern(b->cx, "i"), .hi = 6, .step = 1, .ncarry = n };
	f->loop->symbol = ts_dim_symbol(b->m->dims, (TsDimSym){ .name = f->loop->var, .min = 0, .max = 5, .multiple = 1 });
	for (uint32_t k = 0; k < n; k++) {
		ts_push(ts_arena(b->cx), &b->g->vals, (TsValue){ .type = ts_val(b->g, init[k])->type, .name = ts_intern_fmt(b->cx, "c%u", k), .index = k });
		ts_push(ts_arena(b->cx), &f->loop->body.args, b->g->vals.n - 1);
	}
	b->b = &f->loop->body;
	return f;
}

static void build_end(Build *b, TsNode *f, uint32_t n, const TsVal *yield)
{
	for (uint32_t k = 0; k < n; k++) ts_push(ts_arena(b->cx), &f->loop->body.results, yield[k]);
	b->b = &b->g->body;
	if (!ts_infer(b->m, b->g, f)) ts_diag_print(b->cx, stdout);
	ts_push(ts_arena(b->cx), &b->b->nodes, f);
}

static bool rewrite(Build *b, const char *disabled, FILE *log)
{
	TsRewriteOptions o = { .disabled = &disabled, .ndisabled = disabled != NULL, .print = log };
	return ts_rewrite(b->m, &o) && ts_verify(b->m, "rewrite");
}

static void test_cse(void)
{
	Build b = build_new();
	TsVal x = build_param(&b, "x", TS_F32, "3 4"), y = build_param(&b, "y", TS_F32, "3 4"), key = build_param(&b, "key", TS_INT64, "2");
	TsVal s = OP_(&b, add, "", x, y), t = OP_(&b, add, "", y, x), d = OP_(&b, sub, "", x, y), e = OP_(&b, sub, "", y, x);
	build_result(&b, "a", OP_(&b, mul, "", s, t));
	build_result(&b, "b", OP_(&b, mul, "", d, e));
	build_result(&b, "c", OP_(&b, add, "", IN_(&b, normal, "shape=3,4", key), IN_(&b, normal, "shape=3,4", key)));
	TsNode *same = ts_val(b.g, OP_(&b, normal, "shape=3,4 stream=9", key))->def, *twin = ts_val(b.g, OP_(&b, normal, "shape=3,4 stream=9", key))->def;
	build_result(&b, "d", OP_(&b, add, "", same->out[0], twin->out[0]));
	check("cse", rewrite(&b, NULL, NULL), "no rewrite");
	check("cse-commutes", count_ops(&b.g->body, TS_OP_add) == 3, "%u additions", count_ops(&b.g->body, TS_OP_add));
	check("cse-order-of-sub", count_ops(&b.g->body, TS_OP_sub) == 2, "%u subtractions", count_ops(&b.g->body, TS_OP_sub));
	check("cse-random-by-stream", count_ops(&b.g->body, TS_OP_normal) == 3, "%u draws", count_ops(&b.g->body, TS_OP_normal));
	ts_ctx_free(b.cx);
}

/* y = for c0 = x, c1 = x, c2 = x { yield c0 * exp(w), c1 + c2, c2 }: c1 and c2 are never read outside. */
static Build build_loop(void)
{
	Build b = build_new();
	TsVal x = build_param(&b, "x", TS_F32, "3 4"), w = build_param(&b, "w", TS_F32, "3 4");
	TsNode *f = build_for(&b, 3, (TsVal[]){ x, x, x });
	const TsVal *c = f->loop->body.args.p;
	TsVal e = named(&b, "e", OP_(&b, exp, "", w));
	build_end(&b, f, 3, (TsVal[]){ named(&b, "h", OP_(&b, mul, "", c[0], e)), OP_(&b, add, "", c[1], c[2]), c[2] });
	named(&b, "y", f->out[0]);
	build_result(&b, "y", f->out[0]);
	return b;
}

static void test_loop(void)
{
	Build b = build_loop(), off = build_loop(), need = build_loop();
	check("loop", rewrite(&b, NULL, NULL), "no rewrite");
	TsNode *f = only(&b.g->body, TS_OP_for);
	check("dce-carries", f->nout == 1 && f->nin == 1 && f->loop->ncarry == 1 && f->loop->body.args.n == 1, "%u carried", f->loop->ncarry);
	check("hoist", count_ops(&b.g->body, TS_OP_exp) == 1 && f->loop->body.nodes.n == 1, "%u nodes in the body", f->loop->body.nodes.n);
	check("disable-hoist", rewrite(&off, "hoist", NULL) && !count_ops(&off.g->body, TS_OP_exp), "hoisted all the same");
	/* c1 is read outside, so c2 is needed too */
	build_result(&need, "z", only(&need.g->body, TS_OP_for)->out[1]);
	check("dce-keeps-needed", rewrite(&need, NULL, NULL) && only(&need.g->body, TS_OP_for)->nout == 3, "a carried value is gone");
	ts_ctx_free(b.cx);
	ts_ctx_free(off.cx);
	ts_ctx_free(need.cx);
}

/* What depends on the loop's variable stays: sizes, names of weights; random operators stay anyhow. */
static void test_hoist(void)
{
	Build b = build_new();
	TsVal x = build_param(&b, "x", TS_F32, "4 4"), key = build_param(&b, "key", TS_INT64, "2");
	TsWeights w = { .name = ts_intern(b.cx, "W") };
	ts_push(ts_arena(b.cx), &b.m->weights, w);
	TsNode *f = build_for(&b, 1, &x);
	TsType t = build_type(&b, TS_F32, "4 4");
	TsVal each = ts_add_weight(b.m, b.g, b.b, 0, ts_intern(b.cx, "layer.{i + 1}.w"), t, (TsSpan){ 0 }), same = ts_add_weight(b.m, b.g, b.b, 0, ts_intern(b.cx, "i.{{i}}"), t, (TsSpan){ 0 });
	TsVal n = OP_(&b, cast, "dtype=f32", ts_add_dim(b.m, b.g, b.b, f->loop->symbol, (TsSpan){ 0 }));
	TsVal h = OP_(&b, matmul, "", f->loop->body.args.p[0], IN_(&b, transpose, "", each));
	h = OP_(&b, matmul, "", h, IN_(&b, transpose, "", same));
	h = OP_(&b, add, "", IN_(&b, mul, "", h, n), IN_(&b, normal, "shape=4,4", key));
	build_end(&b, f, 1, &h);
	build_result(&b, "y", f->out[0]);
	check("hoist-weights", rewrite(&b, NULL, NULL), "no rewrite");
	check("hoist-invariant-weight", count_ops(&b.g->body, TS_OP_transpose) == 1, "%u outside", count_ops(&b.g->body, TS_OP_transpose));
	check("hoist-keeps-variable-weight", count_ops(&f->loop->body, TS_OP_transpose) == 1, "%u inside", count_ops(&f->loop->body, TS_OP_transpose));
	check("hoist-keeps-sizes", count_ops(&f->loop->body, TS_OP_cast) == 1, "the size went out");
	check("hoist-keeps-random", count_ops(&f->loop->body, TS_OP_normal) == 1, "the draw went out");
	ts_ctx_free(b.cx);
}

static void test_names(void)
{
	Build b = build_new();
	TsVal x = build_param(&b, "x.1", TS_F32, "3 4");
	TsVal u = named(&b, "y.3", OP_(&b, exp, "", x)), v = named(&b, "y.7", OP_(&b, neg, "", IN_(&b, neg, "", u)));
	TsVal s = named(&b, "y", OP_(&b, mul, "", IN_(&b, sigmoid, "", v), v));
	build_result(&b, "y", s);
	char *text = NULL;
	size_t size;
	FILE *log = open_memstream(&text, &size);
	check("names", rewrite(&b, NULL, log), "no rewrite");
	fclose(log);
	const TsBlock *body = &b.g->body;
	check("names-kept", !strcmp(ts_val(b.g, body->results.p[0])->name, "y") && !strcmp(ts_val(b.g, b.g->params.p[0])->name, "x.1"), "%s", ts_val(b.g, body->results.p[0])->name);
	check("names-steps", !strcmp(ts_val(b.g, only(body, TS_OP_exp)->out[0])->name, "y.1"), "%s", ts_val(b.g, only(body, TS_OP_exp)->out[0])->name);
	check("log", !strcmp(text, "involution: neg y.7\nsilu_left: mul y\n") || strstr(text, "silu_left: mul y\n"), "%s", text);
	free(text);
	ts_ctx_free(b.cx);
}

static void test_options(void)
{
	Build b = build_new();
	TsVal x = build_param(&b, "x", TS_F32, "3 4");
	build_result(&b, "y", OP_(&b, neg, "", IN_(&b, neg, "", x)));
	TsBuf t = { 0 };
	check("unknown-rule", !rewrite(&b, "involutoin", NULL), "accepted");
	ts_diag_text(b.cx, &t);
	check("unknown-rule-nearest", t.p && strstr(t.p, "E_UNKNOWN_REWRITE") && strstr(t.p, "nearest: involution"), "%s", t.p ? t.p : "");
	ts_diag_reset(b.cx);
	check("disabled", rewrite(&b, "involution", NULL) && count_ops(&b.g->body, TS_OP_neg) == 2, "fired all the same");
	check("enabled", rewrite(&b, NULL, NULL) && !count_ops(&b.g->body, TS_OP_neg), "did not fire");
	ts_buf_free(&t);
	ts_ctx_free(b.cx);
}

/* A chain as long as models are deep, and one that meets a rule at every node. */
static void test_long(void)
{
	enum { N = 20000 };
	Build b = build_new();
	TsVal x = build_param(&b, "x", TS_F32, "3 4"), y = x;
	for (int i = 0; i < N; i++) y = OP_(&b, neg, "", y);
	for (int i = 0; i < N; i++) y = OP_(&b, exp, "", y);
	build_result(&b, "y", y);
	check("long-chain", rewrite(&b, NULL, NULL) && !count_ops(&b.g->body, TS_OP_neg) && count_ops(&b.g->body, TS_OP_exp) == N, "%u neg left", count_ops(&b.g->body, TS_OP_neg));
	ts_ctx_free(b.cx);
}

int main(void)
{
	test_cse();
	test_loop();
	test_hoist();
	test_names();
	test_options();
	test_long();
	return check_failed;
}
