/* tsc run: a model on tensors from files. */
#include "support/file.h"
#include "tsc/commands.h"
#include "tsc/compare.h"
#include "tsc/loader.h"
#include "tsc/model_file.h"
#include "tsc/tensor_file.h"
#include <stdlib.h>
#include <string.h>

enum { INPUT = 1, OUTPUT, THREADS, DEVICE, CPU, BENCH, CHECK, TOLERANCE, HELP };

static const TsArgSpec spec[] = {
	{ INPUT, "--input", NULL, "NAME=FILE", "an input: x=x.npy, x=all.npz:key, x=all.safetensors:key" },
	{ OUTPUT, "--output", "-o", "[NAME=]FILE", "write a result to .npy or .safetensors; without NAME all inputs and results" },
	{ CHECK, "--check", NULL, "FILE.safetensors", "compare each result with the tensor of its name; inputs not given come from it too" },
	{ TOLERANCE, "--tolerance", NULL, "ABS,REL", "for --check: |got - want| <= ABS + REL*|want| (1e-5,1e-5)" },
	{ BENCH, "--bench", NULL, "N", "run N times more and print how long a run takes" },
	{ THREADS, "--threads", NULL, "N", "threads that compute (as many as the process may use)" },
	{ DEVICE, "--device", NULL, "NAME", "auto (the first GPU that the model has code for, else the CPU), cpu, cuda or cuda:N" },
	{ CPU, "--cpu", NULL, "LEVEL", "code for v2, v3 or v4 of x86-64 (the best that the machine has)" },
	TS_OPTIONS_SHARED,
	{ HELP, "--help", "-h", NULL, "this" },
};

static const char usage[] =
	"usage: tsc run MODEL --input x=x.npy --output y=y.npy     MODEL: .tg, .tsr, or .so made by tsc\n"
	"Without --output, --check and --bench the results are printed. Exit status 1 when --check finds a difference.\n";

typedef struct { TsSym name, path; } Binding;
typedef TS_VEC(Binding) Bindings;

typedef struct {
	TsCtx *cx;
	const char *model, *check, *weights, *all; /* all: --output without a name */
	Bindings in, out;
	TsTolerance tolerance;
	int64_t bench, threads;
	int cpu, device, device_id;
	bool help;
	TsOptions compile;
} Run;

/* ---- the command line ---- */

static bool add_binding(Run *r, TsArgs *a, Bindings *list, const char *kind)
{
	Binding b;
	if (!ts_args_pair(a, &b.name, &b.path)) return false;
	for (uint32_t i = 0; i < list->n; i++)
		if (list->p[i].name == b.name) return ts_usage_error(r->cx, "%s '%s' is given twice", kind, b.name), false;
	ts_push(ts_arena(r->cx), list, b);
	return true;
}

static bool take_output(Run *r, TsArgs *a)
{
	if (strchr(a->value, '=')) return add_binding(r, a, &r->out, "output");
	if (r->all) return ts_usage_error(r->cx, "two files for all results: '%s' and '%s'", r->all, a->value), false;
	if (!ts_has_ending(a->value, ".safetensors")) return ts_usage_error(r->cx, "--output without NAME= needs a .safetensors file, not '%s'", a->value), false;
	r->all = a->value;
	return true;
}

/* No file is to take two results. */
static bool check_outputs(Run *r)
{
	TsArena *a = ts_arena(r->cx);
	const char **names = TS_NEW_N(a, const char *, r->out.n + 1), **paths = TS_NEW_N(a, const char *, r->out.n + 1);
	uint32_t n = 0;
	for (; n < r->out.n; n++) {
		names[n] = ts_printf(a, "output '%s'", r->out.p[n].name);
		paths[n] = r->out.p[n].path;
	}
	if (r->all) {
		names[n] = "all results";
		paths[n++] = r->all;
	}
	return ts_outputs_differ(r->cx, n, names, paths);
}

static bool take_tolerance(Run *r, TsArgs *a)
{
	const char *comma = strchr(a->value, ',');
	if (!comma) return ts_usage_error(r->cx, "--tolerance needs two numbers, ABS,REL, not '%s'", a->value), false;
	return ts_args_double(a, ts_strndup(ts_arena(r->cx), a->value, (size_t)(comma - a->value)), &r->tolerance.abs) && ts_args_double(a, comma + 1, &r->tolerance.rel);
}

static bool take(Run *r, TsArgs *a, int id)
{
	static const char *const levels[] = { "v2", "v3", "v4" };
	bool known;
	switch (id) {
	case TS_ARG_BAD: return false;
	case TS_ARG_OPERAND:
		if (r->model) return ts_usage_error(r->cx, "two models: '%s' and '%s'", r->model, a->value), false;
		r->model = a->value;
		return true;
	case INPUT: return add_binding(r, a, &r->in, "input");
	case OUTPUT: return take_output(r, a);
	case CHECK: r->check = a->value; return true;
	case TOLERANCE: return take_tolerance(r, a);
	case BENCH: return ts_args_int(a, 1, 1000000, &r->bench);
	case THREADS: return ts_args_int(a, 1, 4096, &r->threads);
	case DEVICE: return ts_args_device(a, &r->device, &r->device_id);
	case CPU: return (r->cpu = 1 + ts_args_word(a, "level of x86-64", a->value, levels, 3)) != 0;
	case HELP: r->help = true; return true;
	}
	return ts_options_take(&r->compile, a, id, &known);
}

/* ---- tensors in and out ---- */

static const Binding *find(const Bindings *list, TsSym name)
{
	for (uint32_t i = 0; i < list->n; i++)
		if (list->p[i].name == name) return &list->p[i];
	return NULL;
}

/* Every bound name is one of the n tensors. */
static bool check_names(Run *r, const Bindings *list, const TsLoadedGraph *g, const TsLoadedTensor *t, uint32_t n, const char *kind)
{
	TsSym *names = TS_NEW_N(ts_arena(r->cx), TsSym, n + 1);
	for (uint32_t i = 0; i < n; i++) names[i] = t[i].name;
	for (uint32_t i = 0; i < list->n; i++) {
		bool known = false;
		for (uint32_t k = 0; k < n; k++) known |= names[k] == list->p[i].name;
		if (known) continue;
		ts_error(r->cx, (TsSpan){ 0 }, "E_NO_TENSOR", "graph '%s' has no %s '%s'", g->name, kind, list->p[i].name);
		ts_hint_names(r->cx, list->p[i].name, names, n);
	}
	return !ts_error_count(r->cx);
}

static bool read_inputs(Run *r, const TsLoadedGraph *g, TsTensor *in)
{
	for (uint32_t i = 0; i < g->n_in; i++) {
		const TsLoadedTensor *t = &g->tensor[i];
		const Binding *b = find(&r->in, t->name);
		const char *from = b ? b->path : r->check && ts_tensor_is_in(r->cx, r->check, t->name) ? r->check : NULL;
		if (ts_error_count(r->cx)) return false;
		if (!from) {
			ts_error(r->cx, (TsSpan){ 0 }, "E_CALL_MISSING", "input '%s' of graph '%s' is missing: --input %s=FILE", t->name, g->name, t->name);
			return false;
		}
		if (!ts_tensor_read(r->cx, from, t->name, t->elem, &in[i])) return false;
	}
	return true;
}

static bool check_results(Run *r, const TsLoadedGraph *g, const TsTensor *out)
{
	for (uint32_t i = 0; i < g->n_out; i++) {
		TsSym name = g->tensor[g->n_in + i].name;
		TsTensor want;
		TsDifference d;
		if (!ts_tensor_read(r->cx, r->check, name, TS_DTYPE_NONE, &want)) return false;
		if (ts_tensor_expect(r->cx, (TsSpan){ 0 }, ts_printf(ts_arena(r->cx), "output '%s'", name), r->check, &out[i], &want, r->tolerance, &d))
			printf("%s: as expected, largest difference %g\n", name, d.error);
		ts_tensor_free(&want);
	}
	return !ts_error_count(r->cx);
}

static bool write_all(Run *r, const TsLoadedGraph *g, const TsTensor *in, const TsTensor *out)
{
	uint32_t n = g->n_in + g->n_out;
	TsSym *names = TS_NEW_N(ts_arena(r->cx), TsSym, n);
	const TsTensor **t = TS_NEW_N(ts_arena(r->cx), const TsTensor *, n);
	for (uint32_t i = 0; i < n; i++) {
		names[i] = g->tensor[i].name;
		t[i] = i < g->n_in ? &in[i] : &out[i - g->n_in];
	}
	return ts_safetensors_write(r->cx, r->all, n, names, t);
}

static void print_results(const TsLoadedGraph *g, const TsTensor *out)
{
	for (uint32_t i = 0; i < g->n_out; i++) {
		TsBuf b = { 0 };
		ts_tensor_print(&out[i], &b);
		printf("%s: %s\n", g->tensor[g->n_in + i].name, b.p);
		ts_buf_free(&b);
	}
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static void print_bench(const Run *r, TsLoadReply *reply)
{
	int64_t first = reply->took[0], *t = reply->took + 1, n = r->bench, sum = 0;
	qsort(t, (size_t)n, sizeof *t, by_size);
	for (int64_t i = 0; i < n; i++) sum += t[i];
	printf("first run %.3f ms; %lld runs: best %.3f ms, median %.3f ms, mean %.3f ms, worst %.3f ms\n", (double)first / 1e6, (long long)n, (double)t[0] / 1e6,
	       (double)t[n / 2] / 1e6, (double)sum / (double)n / 1e6, (double)t[n - 1] / 1e6);
	if (*reply->note) printf("%s: %s\n", *reply->device ? "code" : "on the CPU", reply->note);
	if (*reply->device) printf("%s, %lld bytes of workspace\n", reply->device, (long long)reply->workspace);
	else printf("%lld threads, x86-64-v%lld, %lld bytes of workspace\n", (long long)reply->threads, (long long)reply->cpu + 1, (long long)reply->workspace);
}

static bool deliver(Run *r, const TsLoadedGraph *g, const TsTensor *in, TsLoadReply *reply)
{
	if (*reply->note) fprintf(stderr, "tsc: note: %s%s\n", *reply->device ? "" : "on the CPU: ", reply->note);
	if (r->bench) print_bench(r, reply);
	if (!r->out.n && !r->all && !r->check && !r->bench) print_results(g, reply->out);
	if (r->check && !check_results(r, g, reply->out)) return false;
	for (uint32_t i = 0; i < g->n_out; i++) {
		const Binding *b = find(&r->out, g->tensor[g->n_in + i].name);
		if (b && !ts_tensor_write(r->cx, b->path, b->name, &reply->out[i])) return false;
	}
	return !r->all || write_all(r, g, in, reply->out);
}

/* ---- the run ---- */

static bool run_graph(Run *r, TsLoader *l, uint32_t graph)
{
	const TsLoadedGraph *g = &l->graph[graph];
	TsTensor *in = TS_NEW_N(ts_arena(r->cx), TsTensor, g->n_in + 1);
	bool *wanted = TS_NEW_N(ts_arena(r->cx), bool, g->n_out + 1);
	TsLoadReply reply = { 0 };
	for (uint32_t i = 0; i < g->n_out; i++) wanted[i] = r->all || r->check || !r->bench || find(&r->out, g->tensor[g->n_in + i].name);
	TsLoadRequest q = { .graph = graph, .threads = (int)r->threads, .cpu = r->cpu, .device = r->device, .device_id = r->device_id, .runs = r->bench + 1, .in = in, .wanted = wanted, .weights = r->weights };
	bool ok = check_names(r, &r->in, g, g->tensor, g->n_in, "input") && check_names(r, &r->out, g, g->tensor + g->n_in, g->n_out, "output") &&
	          read_inputs(r, g, in) && ts_loader_run(l, &q, &reply) && deliver(r, g, in, &reply);
	for (uint32_t i = 0; i < g->n_in; i++) ts_tensor_free(&in[i]);
	for (uint32_t i = 0; reply.out && i < g->n_out; i++) ts_tensor_free(&reply.out[i]);
	return ok;
}

int ts_cmd_run(TsCtx *cx, const TsArgList *args)
{
	Run r = { .cx = cx, .tolerance = { 1e-5, 1e-5 } };
	TsArgs a = { .cx = cx, .spec = spec, .nspec = sizeof spec / sizeof *spec, .command = "tsc run", .argv = args->p, .argc = args->n };
	TsModelFile m;
	TsLoader l;
	ts_options_init(&r.compile);
	for (int id; (id = ts_args_next(&a)) != TS_ARG_END;) {
		if (!take(&r, &a, id)) return ts_usage_status(cx);
		if (r.help) return ts_args_help(usage, spec, a.nspec, stdout), 0;
	}
	if (!r.model) return ts_usage_error(cx, "no model: tsc run MODEL --input x=x.npy"), 2;
	if (!check_outputs(&r)) return 2;
	if (!ts_model_open(cx, r.model, &r.compile, &m)) return ts_exit_code(cx);
	if (ts_model_weights(&m, &r.compile, &r.weights) && ts_loader_open(cx, m.path, r.model, &l)) {
		int graph = ts_loader_graph(&l, r.compile.graph);
		if (graph >= 0) run_graph(&r, &l, (uint32_t)graph);
		ts_loader_close(&l);
	}
	ts_model_close(&m);
	return ts_exit_code(cx);
}
