/* Random graphs through the rules that promise every bit: before and after, the interpreter gives the same bits, on inputs with NaN,
 * infinities and zeros of both signs. Then through all rules, which must end, verify and keep the types. */
#include "middle/rewrite/match.h"
#include "tests/unit/build.h"
#include <math.h>

/* Nothing that leaves the sign of a zero open (minimum, maximum, relu, max of a row). */
static const struct { TsOp op; const char *attrs[4]; } menu[] = {
	{ TS_OP_neg, { "" } }, { TS_OP_neg, { "" } }, { TS_OP_abs, { "" } }, { TS_OP_add, { "" } }, { TS_OP_add, { "" } }, { TS_OP_sub, { "" } }, { TS_OP_sub, { "" } }, { TS_OP_mul, { "" } }, { TS_OP_mul, { "" } },
	{ TS_OP_div, { "" } }, { TS_OP_pow, { "" } }, { TS_OP_floor, { "" } }, { TS_OP_round, { "" } }, { TS_OP_eq, { "" } }, { TS_OP_ne, { "" } }, { TS_OP_lt, { "" } }, { TS_OP_ge, { "" } },
	{ TS_OP_and, { "" } }, { TS_OP_or, { "" } }, { TS_OP_not, { "" } }, { TS_OP_not, { "" } }, { TS_OP_where, { "" } }, { TS_OP_where, { "" } }, { TS_OP_clamp, { "" } },
	{ TS_OP_cast, { "dtype=f32", "dtype=bf16", "dtype=f64", "dtype=int32" } }, { TS_OP_cast, { "dtype=f32", "dtype=f16", "dtype=bool", "dtype=int64" } },
	{ TS_OP_exp, { "" } }, { TS_OP_sqrt, { "" } }, { TS_OP_rsqrt, { "" } }, { TS_OP_tanh, { "" } }, { TS_OP_matmul, { "" } },
	{ TS_OP_sum, { "axis=0", "axis=1 keepdims=1", "axis=-1", "axis=0 keepdims=1" } }, { TS_OP_max, { "axis=0", "axis=1 keepdims=1", "axis=-1", "axis=0,1" } },
	{ TS_OP_transpose, { "perm=1,0", "perm=0,1", "perm=0,2,1", "perm=1,2,0" } }, { TS_OP_transpose, { "perm=1,0", "perm=2,0,1", "perm=2,1,0", "perm=1,0,2" } },
	{ TS_OP_reshape, { "shape=12", "shape=3,4", "shape=1,3,4", "shape=3,1,4" } }, { TS_OP_reshape, { "shape=4,3", "shape=1,4", "shape=3,4", "shape=4" } }, { TS_OP_reshape, { "shape=2,6", "shape=3,1", "shape=12,1", "shape=3,4,1" } },
	{ TS_OP_broadcast, { "shape=3,4", "shape=2,3,4", "shape=1,3,4", "shape=4,4" } }, { TS_OP_broadcast, { "shape=3,4", "shape=4,3", "shape=12,4", "shape=3,3,4" } },
	{ TS_OP_slice, { "start=1,0 stop=3,4", "start=0,0 stop=3,4", "start=0,1 stop=2,3", "start=1,0 stop=2,2" } }, { TS_OP_slice, { "start=0,0 stop=1,4", "start=3,0 stop=6,4", "start=2,1 stop=5,4", "start=0 stop=4" } },
	{ TS_OP_concat, { "axis=0", "axis=1", "axis=0", "axis=-1" } }, { TS_OP_pad, { "before=0,0 after=0,0", "before=1,0 after=0,1", "before=0,0 after=1,0", "before=0 after=0" } },
	{ TS_OP_gather, { "axis=0", "axis=1", "axis=0", "axis=0" } }, { TS_OP_split, { "n=1 axis=0", "n=2 axis=1", "n=1 axis=1", "n=2 axis=0" } },
};

typedef struct { uint32_t state; } Random;
static uint32_t next(Random *r, uint32_t below)
{
	r->state = r->state * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)(r->state >> 8) * below) >> 24);
}

enum { POOL = 40, STEPS = 60 };
static const double literals[] = { 0, -0.0, 1, -1, 2, 8, 0.5, 3, INFINITY };

static Build random_graph(uint32_t seed)
{
	Random r = { seed * 7919 + 1 };
	Build b = build_new();
	TsVal pool[POOL + 8];
	uint32_t n = 0;
	pool[n++] = build_param(&b, "x", TS_F32, "3 4");
	pool[n++] = build_param(&b, "y", TS_F32, "3 4");
	pool[n++] = build_param(&b, "r", TS_F32, "4");
	pool[n++] = build_param(&b, "i", TS_INT32, "3 4");
	pool[n++] = build_param(&b, "c", TS_BOOL, "3 4");
	pool[n++] = build_param(&b, "h", TS_BF16, "3 4");
	for (int step = 0; step < STEPS && n < POOL; step++) {
		uint32_t pick = next(&r, sizeof menu / sizeof *menu);
		const TsOpInfo *info = ts_op_info(b.cx, menu[pick].op);
		const char *attrs = menu[pick].attrs[1] ? menu[pick].attrs[next(&r, 4)] : "";
		TsVal in[TS_MAX_OP_INS];
		uint32_t nin = info->variadic ? 1 + next(&r, 3) : info->nin;
		for (uint32_t i = 0; i < nin; i++) {
			in[i] = pool[next(&r, 3) ? n - 1 - next(&r, n < 5 ? n : 5) : next(&r, n)];
			if (!next(&r, 4)) in[i] = ts_add_scalar(b.m, b.g, b.b, i ? ts_val(b.g, in[i - 1])->type.elem : TS_F32, literals[next(&r, sizeof literals / sizeof *literals)], (TsSpan){ 0 });
		}
		TsVal v = build_op(&b, menu[pick].op, attrs, nin, in);
		ts_diag_reset(b.cx);
		if (!v) continue;
		const TsNode *node = ts_val(b.g, v)->def;
		for (uint32_t k = 0; k < node->nout && n < POOL; k++) pool[n++] = node->out[k];
	}
	for (uint32_t k = 0; k < 4 && k < n; k++) build_result(&b, ts_printf(ts_arena(b.cx), "o%u", k), pool[n - 1 - k]);
	return b;
}

static TsTensor input(Build *b, const TsType *t, uint32_t seed)
{
	static const double strange[] = { 0.0, -0.0, INFINITY, -INFINITY, NAN, 1, -1 };
	int64_t dim[TS_MAX_RANK];
	Random r = { seed };
	TsTensor x;
	for (int i = 0; i < t->rank; i++) ts_dim_is_const(b->m->dims, t->dim[i], &dim[i]);
	if (!ts_tensor_new(b->cx, "input", t->elem, t->rank, dim, &x)) abort();
	for (int64_t i = 0; i < x.count; i++) {
		double v = next(&r, 3) ? next(&r, 1000) / 100.0 - 5 : strange[next(&r, 7)];
		if (t->elem == TS_BOOL) v = next(&r, 2);
		else if (ts_dtype_is_int(t->elem)) v = next(&r, 9) - 4.0;
		ts_elem_set(t->elem, x.data, i, v);
	}
	return x;
}

static bool evaluate(Build *b, uint32_t seed, TsTensor out[4])
{
	TsTensor in[8];
	for (uint32_t i = 0; i < b->g->params.n; i++) in[i] = input(b, &ts_val(b->g, b->g->params.p[i])->type, seed + i);
	bool ok = ts_eval(b->m, b->g, TS_EVAL_DECLARED, in, out);
	for (uint32_t i = 0; i < b->g->params.n; i++) ts_tensor_free(&in[i]);
	return ok;
}

static bool same_bits(const TsTensor *a, const TsTensor *b)
{
	if (a->elem != b->elem || a->count != b->count || a->rank != b->rank) return false;
	for (int64_t i = 0; i < a->count; i++) {
		double x = ts_elem_get(a->elem, a->data, i), y = ts_elem_get(b->elem, b->data, i);
		if (!(isnan(x) && isnan(y)) && (x != y || signbit(x) != signbit(y))) return false;
	}
	return true;
}

/* What may change bits, to be left out. */
static uint32_t marked_rules(const char **names)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < ts_rule_count(); i++)
		if (ts_rule(i)->mark != TS_MARK_EXACT) names[n++] = ts_rule(i)->name;
	return n;
}

static bool keeps_bits(uint32_t seed, char **log)
{
	const char *marked[256];
	size_t size;
	FILE *to = open_memstream(log, &size);
	Build a = random_graph(seed), b = random_graph(seed);
	TsRewriteOptions o = { .disabled = marked, .ndisabled = marked_rules(marked), .print = to };
	TsTensor x[4] = { 0 }, y[4] = { 0 };
	bool ok = ts_rewrite(b.m, &o) && ts_verify(b.m, "rewrite") && evaluate(&a, seed, x) && evaluate(&b, seed, y);
	fclose(to);
	for (uint32_t k = 0; k < a.g->body.results.n; k++) {
		ok = ok && same_bits(&x[k], &y[k]);
		ts_tensor_free(&x[k]);
		ts_tensor_free(&y[k]);
	}
	ts_ctx_free(a.cx);
	ts_ctx_free(b.cx);
	return ok;
}

static bool all_rules_hold(uint32_t seed)
{
	Build a = random_graph(seed), b = random_graph(seed);
	b.m->numerics.reorder = b.m->numerics.approx = true;
	bool ok = ts_rewrite(b.m, NULL) && ts_verify(b.m, "rewrite");
	for (uint32_t k = 0; ok && k < a.g->body.results.n; k++) {
		const TsType *s = &ts_val(a.g, a.g->body.results.p[k])->type, *t = &ts_val(b.g, b.g->body.results.p[k])->type;
		ok = s->elem == t->elem && s->rank == t->rank;
	}
	ts_ctx_free(a.cx);
	ts_ctx_free(b.cx);
	return ok;
}

int main(int argc, char **argv)
{
	uint32_t count = argc > 1 ? (uint32_t)atoi(argv[1]) : 400, fired = 0, bad = 0;
	for (uint32_t seed = 0; seed < count; seed++) {
		char *log = NULL;
		if (!keeps_bits(seed, &log)) {
			if (bad++ < 5) check("random-graph", false, "seed %u has other bits after\n%s", seed, log);
		}
		for (const char *p = log; (p = strchr(p, '\n')); p++) fired++;
		free(log);
		if (!all_rules_hold(seed)) check("random-all-rules", false, "seed %u", seed);
	}
	check("random-bits", !bad, "%u of %u graphs changed bits", bad, count);
	check("random-fired", fired > count, "only %u rewrites in %u graphs", fired, count);
	return check_failed;
}
