/* Weights that a loop names by its variable, from a file: packed for matmuls, read in place, loops that start anywhere and step by more
 * than one, nested. Each turn's weights differ, so a wrong one shows. Interpreted and compiled, compared. */
#include "tests/unit/diff.h"
#include "ir/weights.h"

enum { LAYERS = 9, K = 37, ROWS = 5 };

static int failed;
static char file[64];

static void check(const char *name, const char *why)
{
	if (why) { printf("FAIL %s: %s\n", name, why); failed = 1; }
	else printf("ok %s\n", name);
}

/* h.0.w [K, K], h.0.b [K], ... as one safetensors file. */
static bool write_file(Rng *rng)
{
	TsBuf head = { 0 };
	size_t at = 0;
	for (int i = 0; i < LAYERS; i++) {
		ts_buf_fmt(&head, "%s\"h.%d.b\":{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[%zu,%zu]}", i ? "," : "{", i, K, at, at + 4 * K);
		at += 4 * K;
		ts_buf_fmt(&head, ",\"h.%d.w\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]}", i, K, K, at, at + 4 * K * K);
		at += 4 * K * K;
	}
	ts_buf_char(&head, '}');
	while (head.n % 8) ts_buf_char(&head, ' ');
	FILE *f = fopen(file, "wb");
	if (!f) return false;
	uint64_t n = head.n;
	fwrite(&n, 8, 1, f);
	fwrite(head.p, 1, head.n, f);
	for (size_t i = 0; i < at / 4; i++) {
		float v = (float)(rng_normal(rng) / 6);
		fwrite(&v, 4, 1, f);
	}
	ts_buf_free(&head);
	return !fclose(f);
}

typedef struct { Build b; TsFor *f; TsNode *n; TsBlock *block; } Loop;

static TsType weight_type(Build *b, int rank)
{
	TsDim k = ts_dim_const(b->m->dims, K);
	return (TsType){ .elem = TS_F32, .accum = TS_DTYPE_NONE, .rank = (uint8_t)rank, .dim = { k, k } };
}

static TsVal add(Build *b, TsBlock *at, TsOp op, TsAttr *a, TsVal x, TsVal y)
{
	TsVal in[2] = { x, y };
	return ts_add_op(b->m, b->g, at, op, y ? 2 : 1, in, a, &b->m->numerics, (TsSpan){ 0 })->out[0];
}

/* `for var in lo..hi step s with c = x { body }`: gives the node and the carried value; the caller fills the body and ends it. */
static TsNode *open_loop(Build *b, const char *var, int64_t lo, int64_t hi, int64_t step, TsVal x, TsVal *carried)
{
	TsFor *f = TS_NEW(b->m->arena, TsFor);
	*f = (TsFor){ .var = ts_intern(b->cx, var), .lo = lo, .hi = hi, .step = step, .ncarry = 1 };
	f->symbol = ts_dim_symbol(b->m->dims, (TsDimSym){ f->var, lo, hi - 1, 1, { 0 } });
	TsNode *n = ts_node_new(b->m, b->g, TS_OP_for, 1, &x, 0);
	n->attr = ts_attrs_new(b->m, TS_OP_for);
	n->loop = f;
	*carried = b->g->vals.n;
	ts_push(b->m->arena, &b->g->vals, (TsValue){ .type = ts_val(b->g, x)->type });
	ts_push(b->m->arena, &f->body.args, *carried);
	return n;
}

static TsVal close_loop(Build *b, TsBlock *outside, TsNode *n, TsVal result)
{
	ts_push(b->m->arena, &n->loop->body.results, result);
	n->nout = 1;
	n->out = TS_NEW(b->m->arena, TsVal);
	n->out[0] = b->g->vals.n;
	ts_push(b->m->arena, &b->g->vals, (TsValue){ .type = { .elem = TS_DTYPE_NONE, .accum = TS_DTYPE_NONE }, .def = n });
	if (!ts_infer(b->m, b->g, n)) return 0;
	ts_push(b->m->arena, &outside->nodes, n);
	return n->out[0];
}

/* tanh(x @ w + b) with the weights of this name; turn: w.T. */
static TsVal layer(Build *b, TsBlock *at, TsVal x, const char *name, bool turn)
{
	TsVal w = ts_add_weight(b->m, b->g, at, 0, ts_intern_fmt(b->cx, "h.%s.w", name), weight_type(b, 2), (TsSpan){ 0 });
	TsVal bias = ts_add_weight(b->m, b->g, at, 0, ts_intern_fmt(b->cx, "h.%s.b", name), weight_type(b, 1), (TsSpan){ 0 });
	if (turn) w = add(b, at, TS_OP_transpose, NULL, w, 0);
	return add(b, at, TS_OP_tanh, NULL, add(b, at, TS_OP_add, NULL, add(b, at, TS_OP_matmul, NULL, x, w), bias), 0);
}

static const char *agrees(Build *b, char *why, size_t room)
{
	Rng rng = { 11 };
	TsTensor in = { 0 }, f64 = { 0 }, dec = { 0 }, out = { 0 };
	Artifact art = { 0 };
	TsOptions o;
	TesseraError e = { 0 };
	int64_t dim[2] = { ROWS, K };
	const char *wrong = NULL;
	if (!ts_verify(b->m, "test") || !ts_tensor_new(b->cx, "input", TS_F32, 2, dim, &in)) return "graph";
	fill_tensor(&rng, &in, FILL_NORMAL, 0, false);
	if (!ts_eval(b->m, b->g, TS_EVAL_F64, &in, &f64) || !ts_eval(b->m, b->g, TS_EVAL_DECLARED, &in, &dec)) return "interpreter";
	ts_options_init(&o);
	o.emit = TS_EMIT_SO;
	snprintf(art.path, sizeof art.path, "/tmp/tsloop-%ld.so", (long)getpid());
	o.output = art.path;
	ts_compile_module(b->cx, &o, b->m);
	if (ts_error_count(b->cx)) {
		TsBuf t = { 0 };
		ts_diag_text(b->cx, &t);
		snprintf(why, room, "%s", t.p);
		ts_buf_free(&t);
		return why;
	}
	if (!(wrong = artifact_open(&art, &e, 2)) && ts_tensor_new(b->cx, "output", TS_F32, 2, dim, &out)) wrong = artifact_run(&art, 1, &in, 1, &out, &e);
	if (wrong) wrong = (snprintf(why, room, "%s", wrong), why);
	if (!wrong) {
		Verdict v = compare(&out, &f64, &dec, 4, 0); /* tanh's bound; the sums' share is the interpreter's error, times 3 */
		if (v.bad) wrong = (snprintf(why, room, "element %lld: want %.9g, got %.9g", (long long)v.at, v.want, v.got), why);
	}
	artifact_close(&art);
	ts_tensor_free(&in);
	ts_tensor_free(&f64);
	ts_tensor_free(&dec);
	ts_tensor_free(&out);
	return wrong;
}

static Build begin(Rng *rng, TsVal *x)
{
	Build b = build_begin(rng);
	TsDim dim[2] = { ts_dim_const(b.m->dims, ROWS), ts_dim_const(b.m->dims, K) };
	TsWeights w = { .name = ts_intern(b.cx, "W") };
	ts_push(b.m->arena, &w.files, ts_intern(b.cx, file));
	ts_push(b.m->arena, &w.file_names, ts_intern(b.cx, "w.safetensors"));
	if (!ts_weights_open(b.m, &w)) abort();
	ts_push(b.m->arena, &b.m->weights, w);
	*x = build_param(&b, TS_F32, 2, dim);
	return b;
}

static void one_loop(Rng *rng, const char *name, int64_t lo, int64_t hi, int64_t step, const char *pattern, bool turn)
{
	char why[600];
	TsVal x, c;
	Build b = begin(rng, &x);
	TsNode *n = open_loop(&b, "i", lo, hi, step, x, &c);
	build_result(&b, close_loop(&b, &b.g->body, n, layer(&b, &n->loop->body, c, pattern, turn)));
	check(name, agrees(&b, why, sizeof why));
	ts_weights_close(&b.m->weights.p[0]);
	ts_ctx_free(b.cx);
}

static void nested(Rng *rng)
{
	char why[600];
	TsVal x, c, d;
	Build b = begin(rng, &x);
	TsNode *n = open_loop(&b, "i", 0, 3, 1, x, &c), *m = open_loop(&b, "j", 1, 5, 2, c, &d);
	TsVal inner = close_loop(&b, &n->loop->body, m, layer(&b, &m->loop->body, d, "{i + j}", false));
	build_result(&b, close_loop(&b, &b.g->body, n, layer(&b, &n->loop->body, inner, "{2*i}", true)));
	check("nested-loops", agrees(&b, why, sizeof why));
	ts_weights_close(&b.m->weights.p[0]);
	ts_ctx_free(b.cx);
}

int main(void)
{
	Rng rng = { 7 };
	snprintf(file, sizeof file, "/tmp/tsloop-%ld.safetensors", (long)getpid());
	if (!write_file(&rng)) check("file", "could not be written");
	one_loop(&rng, "layers-in-order", 0, LAYERS, 1, "{i}", false);
	one_loop(&rng, "layers-transposed", 0, 4, 1, "{i}", true);
	one_loop(&rng, "loop-from-2-by-3", 2, 9, 3, "{i}", false);
	one_loop(&rng, "names-computed", 1, 5, 1, "{2*i}", false);
	one_loop(&rng, "one-turn", 3, 4, 1, "{i}", false);
	nested(&rng);
	unlink(file);
	return failed;
}
