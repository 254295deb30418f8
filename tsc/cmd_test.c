/* tsc test: the `test` blocks of a file, by the interpreter and by compiled code. */
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/sema_test.h"
#include "ir/interp.h"
#include "tsc/commands.h"
#include "tsc/compare.h"
#include "tsc/loader.h"
#include "tsc/model_file.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MATCH = 1, INTERPRETER, THREADS, CPU, HELP };

static const TsArgSpec spec[] = {
	{ MATCH, "--match", NULL, "TEXT", "only tests whose name contains TEXT" },
	{ INTERPRETER, "--interpreter", NULL, NULL, "by the interpreter alone" },
	{ THREADS, "--threads", NULL, "N", "threads that compute (as many as the process may use)" },
	{ CPU, "--cpu", NULL, "LEVEL", "code for v2, v3 or v4 of x86-64 (the best that the machine has)" },
	TS_OPTIONS_SHARED,
	{ HELP, "--help", "-h", NULL, "this" },
};

static const char usage[] =
	"usage: tsc test FILE.tg ...\n"
	"Runs the test blocks of each file by the interpreter and by compiled code: every expectation must hold for both,\n"
	"and compiled code must be as near to the interpreter in f64 as it has to be. Exit status 1 when a test fails.\n";

typedef struct {
	TsCtx *cx;
	TsArgList files;
	const char *match;
	bool interpreter, help;
	int64_t threads;
	int cpu;
	uint32_t passed, failed;
	TS_VEC(TsSym) names;       /* of all tests, for --match */
	TsOptions compile;
	TsModule *m;
	const char *path;          /* of the file at work */
	TsModelFile model;         /* it, compiled */
	const char *by;            /* for messages */
} Tests;

/* ---- the two ways to run a graph ---- */

static bool call_interpreter(void *user, TsGraph *g, TsSpan at, const TsTensor *in, TsTensor *out)
{
	Tests *t = user;
	(void)at;
	return ts_eval(t->m, g, TS_EVAL_DECLARED, in, out);
}

static double epsilon(TsDtype t)
{
	switch (t) {
	case TS_F64: return DBL_EPSILON;
	case TS_F32: case TS_COMPLEX64: return FLT_EPSILON;
	case TS_F16: return 0x1p-10;
	case TS_BF16: return 0x1p-7;
	default: return 0x1p-2;
	}
}

static double largest_error(const TsTensor *v, const TsTensor *exact, double *largest)
{
	double most = 0;
	*largest = 0;
	for (int64_t i = 0; i < v->count; i++) {
		double a = ts_elem_get(v->elem, v->data, i), b = ts_elem_get(exact->elem, exact->data, i), e = a == b || (isnan(a) && isnan(b)) ? 0 : fabs(a - b);
		if (isnan(e)) e = INFINITY;
		if (e > most) most = e;
		if (isfinite(b) && fabs(b) > *largest) *largest = fabs(b);
	}
	return most;
}

/* A compiled result against the interpreter's: everything but floats is exact; a float's largest error against f64 is at most 3 times
 * that of the interpreter in declared types, or a few roundings of the largest element where that happens to be exact. */
static bool agrees(Tests *t, TsGraph *g, uint32_t i, TsSpan at, const TsTensor *got, const TsTensor *declared, const TsTensor *exact)
{
	const char *what = ts_printf(ts_arena(t->cx), "result '%s' of compiled '%s'", g->result_names.p[i], g->name);
	TsDifference d;
	double largest, other;
	if (!ts_dtype_is_float(got->elem)) return ts_tensor_expect(t->cx, at, what, "the interpreter", got, declared, (TsTolerance){ 0, 0 }, &d);
	if (!ts_same_shape(got, declared)) return ts_tensor_expect(t->cx, at, what, "the interpreter", got, declared, (TsTolerance){ 0, 0 }, &d);
	double error = largest_error(got, exact, &largest), bound = 3 * largest_error(declared, exact, &other) + 8 * epsilon(got->elem) * largest;
	if (error <= bound || (isinf(error) && isinf(bound))) return true;
	ts_error(t->cx, at, "E_MISMATCH", "%s is %g from the interpreter in f64, at most %g is allowed", what, error, bound);
	return false;
}

static bool compare_all(Tests *t, TsGraph *g, TsSpan at, const TsTensor *in, const TsTensor *out)
{
	uint32_t n = g->body.results.n;
	TsTensor *declared = TS_NEW_N(ts_arena(t->cx), TsTensor, n + 1), *exact = TS_NEW_N(ts_arena(t->cx), TsTensor, n + 1);
	bool ok = ts_eval(t->m, g, TS_EVAL_DECLARED, in, declared) && ts_eval(t->m, g, TS_EVAL_F64, in, exact);
	for (uint32_t i = 0; i < n; i++) {
		ok = ok && agrees(t, g, i, at, &out[i], &declared[i], &exact[i]);
		ts_tensor_free(&declared[i]);
		ts_tensor_free(&exact[i]);
	}
	return ok;
}

static bool call_compiled(void *user, TsGraph *g, TsSpan at, const TsTensor *in, TsTensor *out)
{
	Tests *t = user;
	TsLoader l;
	TsLoadReply reply = { 0 };
	uint32_t n = g->body.results.n;
	bool *wanted = TS_NEW_N(ts_arena(t->cx), bool, n + 1);
	memset(wanted, 1, n);
	if (!ts_loader_open(t->cx, t->model.path, t->path, &l)) return false;
	int graph = ts_loader_graph(&l, g->name);
	TsLoadRequest q = { .graph = (uint32_t)graph, .threads = (int)t->threads, .cpu = t->cpu, .device = 1 /* the CPU's answers are what is tested */, .runs = 1, .in = in, .wanted = wanted };
	bool ok = graph >= 0 && ts_loader_run(&l, &q, &reply);
	ts_loader_close(&l);
	for (uint32_t i = 0; reply.out && i < n; i++) out[i] = reply.out[i];
	return ok && compare_all(t, g, at, in, out);
}

/* ---- expectations ---- */

static bool expect(void *user, TsSpan at, const TsTensor *got, const TsTensor *want, double within)
{
	Tests *t = user;
	TsDifference d;
	double largest = 0;
	for (int64_t i = 0; within > 0 && ts_dtype_is_float(want->elem) && i < want->count; i++) {
		double v = fabs(ts_elem_get(want->elem, want->data, i));
		if (isfinite(v) && v > largest) largest = v;
	}
	return ts_tensor_expect(t->cx, at, ts_printf(ts_arena(t->cx), "%s: the left side", t->by), "the right side", got, want, (TsTolerance){ within * (1 + largest), 0 }, &d);
}

/* The code of the last error reported; compiled code reports every refusal as E_RUN. */
static bool expect_error(void *user, TsSpan at, const char *wanted)
{
	Tests *t = user;
	TsBuf b = { 0 };
	ts_diag_text(t->cx, &b);
	bool ok = strstr(b.p ? b.p : "", ts_printf(ts_arena(t->cx), " error[%s]: ", wanted)) || strstr(b.p ? b.p : "", " error[E_RUN]: ");
	ts_buf_free(&b);
	if (ok) ts_diag_reset(t->cx);
	else ts_note(t->cx, at, "%s was expected", wanted);
	return ok;
}

/* ---- tests ---- */

/* What was reported belongs to this test: it is printed with it, and the next one starts clean. */
static bool finish(Tests *t, const char *path, const char *name, bool ok)
{
	if (ts_error_count(t->cx)) ok = false;
	fflush(stdout);
	ts_diag_print(t->cx, stderr);
	printf("%s %s: %s (%s)\n", ok ? "ok" : "FAIL", path, name, t->by);
	*(ok ? &t->passed : &t->failed) += 1;
	ts_diag_reset(t->cx);
	return ok;
}

static void run_test(Tests *t, const char *path, TsSemaTests *tests, TsTree *test)
{
	TsTestHooks h = { t, call_interpreter, expect, expect_error };
	const char *name = test->kid[0]->name;
	t->by = "interpreter";
	if (!finish(t, path, name, ts_sema_test(tests, test, &h)) || t->interpreter) return;
	t->by = "compiled";
	h.call = call_compiled;
	finish(t, path, name, ts_sema_test(tests, test, &h));
}

static TsSemaOptions sema_options(Tests *t)
{
	TsSemaFile *files = TS_NEW_N(ts_arena(t->cx), TsSemaFile, t->compile.n_weights_from + 1);
	for (uint32_t i = 0; i < t->compile.n_weights_from; i++) files[i] = (TsSemaFile){ t->compile.weights_from[i].name, t->compile.weights_from[i].path };
	return (TsSemaOptions){ .weights_dir = t->compile.weights_dir, .files = files, .n_files = t->compile.n_weights_from };
}

/* The names of a file's tests; a file without any is an error: who tests it believes that something was tested. */
static bool take_names(Tests *t, const char *path, const TsTree *file)
{
	uint32_t before = t->names.n;
	for (uint32_t i = 0; i < file->n; i++)
		if (file->kid[i]->kind == TS_TREE_TEST) ts_push(ts_arena(t->cx), &t->names, file->kid[i]->kid[0]->name);
	if (t->names.n == before) ts_error(t->cx, (TsSpan){ 0 }, "E_TEST_EMPTY", "'%s' has no test blocks", path);
	return t->names.n > before;
}

static bool is_chosen(const Tests *t, const TsTree *item) { return item->kind == TS_TREE_TEST && (!t->match || strstr(item->kid[0]->name, t->match)); }

/* False when the file itself is bad; failed tests are counted. */
static bool run_file(Tests *t, const char *path)
{
	uint32_t source, chosen = 0;
	TsSemaTests *tests;
	TsTree *file = ts_read_source(t->cx, path, &source) ? ts_parse(t->cx, source) : NULL;
	TsSemaOptions so = sema_options(t);
	for (uint32_t i = 0; file && i < file->n; i++) chosen += is_chosen(t, file->kid[i]);
	t->path = path;
	if (!file || !take_names(t, path, file)) return false;
	if (!chosen) return true;
	t->m = ts_sema_tests_open(t->cx, file, path, &so, &tests);
	if (!t->m || (!t->interpreter && !ts_model_open(t->cx, path, &t->compile, &t->model))) return false;
	for (uint32_t i = 0; i < file->n; i++)
		if (is_chosen(t, file->kid[i])) run_test(t, path, tests, file->kid[i]);
	if (!t->interpreter) ts_model_close(&t->model);
	return true;
}

static bool take(Tests *t, TsArgs *a, int id)
{
	static const char *const levels[] = { "v2", "v3", "v4" };
	bool known;
	switch (id) {
	case TS_ARG_BAD: return false;
	case TS_ARG_OPERAND: ts_push(ts_arena(t->cx), &t->files, a->value); return true;
	case MATCH: t->match = a->value; return true;
	case INTERPRETER: t->interpreter = true; return true;
	case THREADS: return ts_args_int(a, 1, 4096, &t->threads);
	case CPU: return (t->cpu = 1 + ts_args_word(a, "level of x86-64", a->value, levels, 3)) != 0;
	case HELP: t->help = true; return true;
	}
	return ts_options_take(&t->compile, a, id, &known);
}

int ts_cmd_test(TsCtx *cx, const TsArgList *args)
{
	Tests t = { .cx = cx };
	TsArgs a = { .cx = cx, .spec = spec, .nspec = sizeof spec / sizeof *spec, .command = "tsc test", .argv = args->p, .argc = args->n };
	ts_options_init(&t.compile);
	for (int id; (id = ts_args_next(&a)) != TS_ARG_END;) {
		if (!take(&t, &a, id)) return ts_usage_status(cx);
		if (t.help) return ts_args_help(usage, spec, a.nspec, stdout), 0;
	}
	if (!t.files.n) return ts_usage_error(cx, "no input: tsc test FILE.tg"), 2;
	for (uint32_t i = 0; i < t.files.n; i++)
		if (!run_file(&t, t.files.p[i])) return ts_exit_code(cx);
	if (!t.passed && !t.failed) {
		ts_error(cx, (TsSpan){ 0 }, "E_TEST_EMPTY", "--match %s: no test has this in its name", t.match);
		ts_hint_names(cx, t.match, t.names.p, t.names.n);
		return ts_exit_code(cx);
	}
	printf("%u passed, %u failed\n", t.passed, t.failed);
	return t.failed != 0;
}
