/* The texts of tests/golden/patterns and tests/golden/rewrite, before and after rewriting, give the same values: the interpreter runs
 * both. What they may differ by: LIMIT and HALF_LIMIT. Then masked attention with many fills: whatever the rewriter makes of them, rows
 * without any column included, has the values it had. */
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/sema.h"
#include "middle/rewrite/rewrite.h"
#include "support/file.h"
#include "tests/unit/build.h"
#include <dirent.h>
#include <math.h>

static TsModule *read_text(TsCtx *cx, const char *name, const char *text, size_t size)
{
	TsSemaOptions o = { 0 };
	TsTree *t = ts_parse(cx, ts_source_add(cx, name, text, size));
	return t ? ts_module_from_tree(cx, t, name, &o) : NULL;
}

static TsModule *load(TsCtx *cx, const char *path)
{
	TsFile f;
	if (!ts_file_map(cx, path, &f)) return NULL;
	TsModule *m = read_text(cx, path, (const char *)f.p, f.size);
	ts_file_unmap(&f);
	return m;
}

/* Numbers of a tensor: a complex one is a pair. */
static int64_t numbers(const TsTensor *t) { return t->elem == TS_COMPLEX64 ? 2 * t->count : t->count; }
static double number(const TsTensor *t, int64_t i) { return t->elem == TS_COMPLEX64 ? ((const float *)t->data)[i] : ts_elem_get(t->elem, t->data, i); }

static void fill(TsTensor *t, uint32_t state)
{
	for (int64_t i = 0; i < numbers(t); i++) {
		state = state * 1664525 + 1013904223;
		double x = (double)(state >> 8) / (1 << 24) * 4 - 2;
		if (t->elem == TS_COMPLEX64) { ((float *)t->data)[i] = (float)x; continue; }
		if (t->elem == TS_BOOL) x = x > 0;
		else if (ts_dtype_is_int(t->elem)) x = fabs(rint(x * 3));
		ts_elem_set(t->elem, t->data, i, x);
	}
}

/* Symbols are 3, 5, 7, ... in the order of the file. */
static bool evaluate(TsModule *m, TsTensor *out)
{
	TsGraph *g = m->graphs.p[0];
	TsTensor in[16];
	int64_t size[32], dim[TS_MAX_RANK];
	for (int i = 0; i < 32; i++) size[i] = 3 + 2 * i;
	for (uint32_t i = 0; i < g->params.n; i++) {
		const TsType *t = &ts_val(g, g->params.p[i])->type;
		for (int k = 0; k < t->rank; k++)
			if (!ts_dim_eval(m->dims, t->dim[k], size, &dim[k])) return false;
		if (!ts_tensor_new(m->cx, "input", t->elem, t->rank, dim, &in[i])) return false;
		fill(&in[i], 77 + i);
	}
	bool ok = ts_eval(m, g, TS_EVAL_DECLARED, in, out);
	for (uint32_t i = 0; i < g->params.n; i++) ts_tensor_free(&in[i]);
	return ok;
}

static bool has_half(TsModule *m)
{
	const TsGraph *g = m->graphs.p[0];
	for (uint32_t i = 1; i < g->vals.n; i++)
		if (g->vals.p[i].type.elem == TS_BF16 || g->vals.p[i].type.elem == TS_F16) return true;
	return false;
}

static double distance(const TsTensor *x, const TsTensor *y)
{
	double largest = 1, worst = 0;
	if (x->count != y->count || x->elem != y->elem) return INFINITY;
	for (int64_t i = 0; i < numbers(x); i++) {
		double a = number(x, i), b = number(y, i);
		if (isnan(a) && isnan(b)) continue;
		if (isfinite(a)) largest = fmax(largest, fabs(a));
		if (a != b) worst = isfinite(a - b) ? fmax(worst, fabs(a - b)) : INFINITY;
	}
	return worst / largest;
}

/* Relative to the largest value, or one. In f32 (u = 2^-24) both sides round a chain of about four values of that size: eight u between
 * them. Where a value is bf16 or f16, each side rounds its result to it once, by at most 2^-8 (bf16): twice that between them. */
#define LIMIT (8 * 0x1p-24)
#define HALF_LIMIT (2 * 0x1p-8)

static void one(const char *path)
{
	TsCtx *cx = ts_ctx_new();
	TsModule *before = load(cx, path), *after = load(cx, path);
	TsTensor x = { 0 }, y = { 0 };
	bool ok = before && after && evaluate(before, &x) && ts_rewrite(after, NULL) && ts_verify(after, "rewrite") && evaluate(after, &y);
	double d = ok ? distance(&x, &y) : INFINITY;
	check(path + strlen("tests/golden/"), ok && x.count && d <= (has_half(before) ? HALF_LIMIT : LIMIT), ok ? "values differ by %g" : "not evaluated (%g)", d);
	if (!ok) ts_diag_print(cx, stdout);
	ts_tensor_free(&x);
	ts_tensor_free(&y);
	ts_ctx_free(cx);
}

static int compare_names(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static uint32_t folder(const char *path)
{
	struct dirent **list;
	uint32_t found = 0;
	int n = scandir(path, &list, NULL, compare_names);
	for (int i = 0; i < n; i++) {
		char name[512];
		size_t len = strlen(list[i]->d_name);
		snprintf(name, sizeof name, "%s/%s", path, list[i]->d_name);
		if (len > 3 && !strcmp(list[i]->d_name + len - 3, ".tg")) one(name), found++;
		free(list[i]);
	}
	if (n >= 0) free(list);
	return found;
}

/* ---- masked attention ------------------------------------------------------------------------------------------------------------ */
/* Scores of f with their mask: @ is the fill. m is false throughout for some rows. Found always, where the fill is low, or for -inf alone. */
typedef enum { ALWAYS, WHEN_LOW, NEVER } Found;
static const struct { const char *name, *scores; Found found; } masked[] = {
	{ "where", "where(m, s, @)", WHEN_LOW },
	{ "where-turned", "where(not m, @, s)", WHEN_LOW },
	{ "where-of-columns", "where(c, s, @)", WHEN_LOW },
	{ "added", "s + where(m, 0.0, @)", ALWAYS },
	{ "added-in-a-table", "s + [[0.0, 0.0, @, @, @]]", ALWAYS },
	{ "scaled-down", "where(m, s, @) * 0.0625", WHEN_LOW },
	{ "causal", "where(i >= j, s, @)", WHEN_LOW },
	{ "causal-added", "s + where(i >= j, 0.0, @)", ALWAYS },
	{ "strictly-causal", "where(i > j, s, @)", WHEN_LOW },
	{ "strictly-causal-added", "s + where(i > j, 0.0, @)", ALWAYS },
	{ "causal-and-columns", "where(i >= j and c, s, @)", WHEN_LOW },
	{ "causal-over-columns", "where(i >= j, where(c, s, -inf), @)", WHEN_LOW },
	{ "columns-over-causal", "where(c, where(i >= j, s, -inf), @)", WHEN_LOW },
	{ "causal-under-a-mask", "where(m, where(i >= j, s, @), -inf)", WHEN_LOW },
	{ "causal-and-columns-added", "where(i >= j, s, @) + where(c, 0.0, -1e9)", WHEN_LOW },
	{ "window", "where(i - j < 2, s, @)", WHEN_LOW },
	{ "causal-window", "where(i >= j, where(i - j < 2, s, @), @)", WHEN_LOW },
	{ "two-fills", "where(m, where(c, s, @), -3e38)", WHEN_LOW },
	{ "two-fills-turned", "where(m, where(c, s, -3e38), @)", WHEN_LOW },
	{ "bias-inside", "where(m, s + b, @)", WHEN_LOW },
	{ "bias-outside", "where(m, s, @) + b", WHEN_LOW },
	{ "past-the-largest", "where(m, s, @) * 1e9 * 1e-9", NEVER },
	{ "through-f16", "cast(cast(where(m, s, @), f16), f32)", NEVER },
};

static uint32_t next(uint32_t *state) { return (*state = *state * 1664525 + 1013904223) >> 8; }

/* Params q, k, v, m, c, b: numbers up to `size`; of m's 7 rows some hold nothing, and c may hold nothing at all. */
static bool make_inputs(TsModule *m, double size, uint32_t *state, TsTensor *in, uint32_t *n)
{
	TsGraph *g = m->graphs.p[0];
	for (*n = 0; *n < g->params.n; ++*n) {
		const TsType *t = &ts_val(g, g->params.p[*n])->type;
		TsTensor *x = &in[*n];
		int64_t dim[TS_MAX_RANK];
		bool empty = next(state) % 2;
		for (int k = 0; k < t->rank; k++) ts_dim_is_const(m->dims, t->dim[k], &dim[k]);
		if (!ts_tensor_new(m->cx, "input", t->elem, t->rank, dim, x)) return false;
		for (int64_t i = 0; i < x->count; i++) {
			bool nothing = x->count > 5 ? i / 5 % 3 == 0 : empty;
			double u = (double)next(state) / (1 << 24);
			ts_elem_set(t->elem, x->data, i, t->elem == TS_BOOL ? !nothing && u > 0.4 : (2 * u - 1) * (*n < 2 ? size : 1));
		}
	}
	return true;
}

/* A row that was NaN because -inf masked all of it is 0 in attention. */
static double rows_distance(const TsTensor *x, const TsTensor *y, bool zero_for_nan)
{
	double worst = 0;
	for (int64_t i = 0; i < x->count; i++) {
		double a = number(x, i), b = number(y, i);
		if (isnan(a)) a = zero_for_nan ? 0 : a;
		if (isnan(a) && isnan(b)) continue;
		worst = isnan(a - b) ? INFINITY : fmax(worst, fabs(a - b));
	}
	return worst;
}

static bool has_op(TsModule *m, TsOp op)
{
	const TsBlock *b = &m->graphs.p[0]->body;
	for (uint32_t i = 0; i < b->nodes.n; i++)
		if (b->nodes.p[i]->op == op) return true;
	return false;
}

static void fill_case(uint32_t which, const char *fill, double size, uint32_t state)
{
	char name[160];
	TsBuf text = { 0 };
	const double x = strtod(fill, NULL);
	TsCtx *cx = ts_ctx_new();
	TsTensor in[8], y = { 0 }, z = { 0 };
	uint32_t n = 0;
	snprintf(name, sizeof name, "fill-%s/%s/scores-to-%g", masked[which].name, fill, size * size);
	ts_buf_fmt(&text, "tessera 1\ngraph f(q: f32[1, 2, 7, 4], k: f32[1, 2, 5, 4], v: f32[1, 2, 5, 3], m: bool[1, 1, 7, 5], c: bool[1, 1, 1, 5], b: f32[2, 7, 5])"
		" -> (y: f32[1, 2, 7, 3]) {\n  i = iota(7)[:, none]\n  j = iota(5)[none, :]\n  s = q @ k.T * 0.25\n  y = softmax(");
	for (const char *c = masked[which].scores; *c; c++) *c == '@' ? ts_buf_fmt(&text, "%s", fill) : ts_buf_fmt(&text, "%c", *c);
	ts_buf_fmt(&text, ") @ v\n}\n");
	TsModule *before = read_text(cx, name, text.p, strlen(text.p)), *after = read_text(cx, name, text.p, strlen(text.p));
	bool ok = before && after && ts_rewrite(after, NULL) && ts_verify(after, "rewrite") && make_inputs(before, size, &state, in, &n);
	ok = ok && ts_eval(before, before->graphs.p[0], TS_EVAL_DECLARED, in, &y) && ts_eval(after, after->graphs.p[0], TS_EVAL_DECLARED, in, &z);
	bool found = ok && has_op(after, TS_OP_attention), want = masked[which].found == ALWAYS || isinf(x) || (masked[which].found == WHEN_LOW && x <= -1e30);
	double d = ok ? rows_distance(&y, &z, found) : INFINITY;
	check(name, ok && found == want && d <= (has_half(before) ? HALF_LIMIT : LIMIT), !ok ? "not evaluated (%g)" : found != want ? "attention found or missed against the rule (%g)" : "values differ by %g", d);
	if (!ok) ts_diag_print(cx, stdout);
	for (uint32_t i = 0; i < n; i++) ts_tensor_free(&in[i]);
	ts_tensor_free(&y);
	ts_tensor_free(&z);
	ts_buf_free(&text);
	ts_ctx_free(cx);
}

static void test_fills(void)
{
	static const char *const fills[] = { "-inf", "-3.4028234e38", "-1e36", "-1e32", "-1e29", "-1e9", "-1e7", "-1e6", "-1e5", "-65504.0", "-30000.0", "-1e4" };
	static const double sizes[] = { 1, 12, 300 };
	for (uint32_t i = 0; i < sizeof masked / sizeof *masked; i++)
		for (uint32_t f = 0; f < sizeof fills / sizeof *fills; f++)
			for (uint32_t s = 0; s < 3; s++) fill_case(i, fills[f], sizes[s], 91 * i + 7 * f + s);
}

int main(void)
{
	test_fills();
	static const char *const folders[] = { "tests/golden/rewrite", "tests/golden/patterns/found/attention", "tests/golden/patterns/found/gelu", "tests/golden/patterns/found/layer_norm",
		"tests/golden/patterns/miss/attention", "tests/golden/patterns/miss/gelu", "tests/golden/patterns/miss/layer_norm" };
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) check(folders[i], folder(folders[i]) > 0, "no texts: run from the root of the tree");
	return check_failed;
}
