/* The texts of tests/golden/patterns and tests/golden/rewrite, before and after rewriting, give the same values: the interpreter runs
 * both. Graphs of 16-bit types are compared to two places, the others to 5e-6 of the largest value or one. */
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/sema.h"
#include "middle/rewrite/rewrite.h"
#include "support/file.h"
#include "tests/unit/build.h"
#include <dirent.h>
#include <math.h>

static TsModule *load(TsCtx *cx, const char *path)
{
	TsFile f;
	TsSemaOptions o = { 0 };
	if (!ts_file_map(cx, path, &f)) return NULL;
	TsTree *t = ts_parse(cx, ts_source_add(cx, path, (const char *)f.p, f.size));
	ts_file_unmap(&f);
	return t ? ts_module_from_tree(cx, t, path, &o) : NULL;
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

static void one(const char *path)
{
	TsCtx *cx = ts_ctx_new();
	TsModule *before = load(cx, path), *after = load(cx, path);
	TsTensor x = { 0 }, y = { 0 };
	bool ok = before && after && evaluate(before, &x) && ts_rewrite(after, NULL) && ts_verify(after, "rewrite") && evaluate(after, &y);
	double d = ok ? distance(&x, &y) : INFINITY;
	check(path + strlen("tests/golden/"), ok && x.count && d <= (has_half(before) ? 2e-2 : 5e-6), ok ? "values differ by %g" : "not evaluated (%g)", d);
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

int main(void)
{
	static const char *const folders[] = { "tests/golden/rewrite", "tests/golden/patterns/found/attention", "tests/golden/patterns/found/gelu", "tests/golden/patterns/found/layer_norm",
		"tests/golden/patterns/miss/attention", "tests/golden/patterns/miss/gelu", "tests/golden/patterns/miss/layer_norm" };
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) check(folders[i], folder(folders[i]) > 0, "no texts: run from the root of the tree");
	return check_failed;
}
