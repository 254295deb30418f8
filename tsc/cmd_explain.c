/* tsc explain: what a model does for given sizes. The artifact itself decides, by the guards of its plan, and says so. */
#include "tsc/commands.h"
#include "tsc/explain_arch.h"
#include "tsc/loader.h"
#include "tsc/model_file.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DIMS = 1, THREADS, DEVICE, ARCH, CPU, HTML, HELP };

static const TsArgSpec spec[] = {
	{ DIMS, "--dims", NULL, "B=1,S=128", "the sizes (repeatable); those of the graph's symbolic dims" },
	{ THREADS, "--threads", NULL, "N", "threads that compute (as many as the process may use)" },
	{ DEVICE, "--device", NULL, "NAME", "auto (the first GPU that the model has code for, else the CPU), cpu, cuda or cuda:N" },
	{ ARCH, "--arch", NULL, "NAME", "what a GPU of this architecture (sm_90) would do; none is needed" },
	{ CPU, "--cpu", NULL, "LEVEL", "code for v2, v3 or v4 of x86-64 (the best that the machine has)" },
	{ HTML, "--html", NULL, "FILE", "write a page about it: graph, kernels, memory over time, roofline" },
	TS_OPTIONS_SHARED,
	{ HELP, "--help", "-h", NULL, "this" },
};

static const char usage[] =
	"usage: tsc explain MODEL --dims B=1,S=128     MODEL: .tg, .tsr, or .so made by tsc\n"
	"Prints each step with the kernel chosen for these sizes and its variant, and the bytes of workspace.\n";

typedef struct { TsSym name; int64_t size; } Size;
typedef struct {
	TsCtx *cx;
	const char *model, *weights, *html;
	TS_VEC(Size) sizes;
	int64_t threads;
	int cpu, device, device_id;
	bool help;
	TsOptions compile;
} Explain;

static bool take_dims(Explain *x, TsArgs *a)
{
	for (const char *p = a->value;;) {
		size_t len = strcspn(p, ",");
		const char *equals = memchr(p, '=', len);
		char *end = NULL;
		errno = 0;
		long long v = equals ? strtoll(equals + 1, &end, 10) : 0;
		if (!equals || equals == p || end != p + len || end == equals + 1 || errno || v < 0 || equals[1] == '+' || equals[1] == ' ') {
			ts_usage_error(x->cx, "--dims needs the form NAME=SIZE,NAME=SIZE, not '%s'", a->value);
			return false;
		}
		Size s = { ts_intern_n(x->cx, p, (size_t)(equals - p)), v };
		for (uint32_t i = 0; i < x->sizes.n; i++)
			if (x->sizes.p[i].name == s.name) return ts_usage_error(x->cx, "dim '%s' is given twice", s.name), false;
		ts_push(ts_arena(x->cx), &x->sizes, s);
		if (!p[len]) return true;
		p += len + 1;
	}
}

/* One GPU; its code is planned, not made. */
static bool take_arch(Explain *x, TsArgs *a)
{
	if (!ts_options_arch(&x->compile, a)) return false;
	if (x->compile.n_gpus != 1 || x->compile.cpu_named) return ts_usage_error(x->cx, "--arch is one GPU architecture here: sm_80, sm_90 ..."), false;
	x->compile.ptxas = "none";
	return true;
}

static bool take(Explain *x, TsArgs *a, int id)
{
	static const char *const levels[] = { "v2", "v3", "v4" };
	bool known;
	switch (id) {
	case TS_ARG_BAD: return false;
	case TS_ARG_OPERAND:
		if (x->model) return ts_usage_error(x->cx, "two models: '%s' and '%s'", x->model, a->value), false;
		x->model = a->value;
		return true;
	case DIMS: return take_dims(x, a);
	case ARCH: return take_arch(x, a);
	case THREADS: return ts_args_int(a, 1, 4096, &x->threads);
	case DEVICE: return ts_args_device(a, &x->device, &x->device_id);
	case CPU: return (x->cpu = 1 + ts_args_word(a, "level of x86-64", a->value, levels, 3)) != 0;
	case HTML: x->html = a->value; return true;
	case HELP: x->help = true; return true;
	}
	return ts_options_take(&x->compile, a, id, &known);
}

static bool bind_dims(Explain *x, const TsLoader *l, int64_t *dims)
{
	TsSym *names = TS_NEW_N(ts_arena(x->cx), TsSym, l->n_dims + 1);
	for (uint32_t k = 0; k < l->n_dims; k++) {
		names[k] = l->dim[k].name;
		dims[k] = -1;
	}
	for (uint32_t i = 0; i < x->sizes.n; i++) {
		uint32_t k = 0;
		while (k < l->n_dims && names[k] != x->sizes.p[i].name) k++;
		if (k < l->n_dims) {
			dims[k] = x->sizes.p[i].size;
			continue;
		}
		ts_error(x->cx, (TsSpan){ 0 }, "E_NO_DIM", "'%s' has no dim '%s'", x->model, x->sizes.p[i].name);
		ts_hint_names(x->cx, x->sizes.p[i].name, names, l->n_dims);
	}
	return !ts_error_count(x->cx);
}

static void print_sizes(const Explain *x, const char *graph)
{
	printf("graph %s", graph);
	for (uint32_t i = 0; i < x->sizes.n; i++) printf("%s %s = %lld", i ? "," : ":", x->sizes.p[i].name, (long long)x->sizes.p[i].size);
	putchar('\n');
}

static void print_reply(const Explain *x, const char *graph, const TsLoadReply *r)
{
	print_sizes(x, graph);
	for (uint32_t i = 0; i < r->n_lines; i++) puts(r->lines[i]);
	if (*r->device) printf("workspace: %lld bytes on %s\n", (long long)r->workspace, r->device);
	else printf("workspace: %lld bytes for %lld threads, x86-64-v%lld\n", (long long)r->workspace, (long long)r->threads, (long long)r->cpu + 1);
	if (r->external) printf("external weights: %lld bytes packed when opened\n", (long long)r->external);
}

static void explain_graph(Explain *x, TsLoader *l, const char *path, uint32_t graph)
{
	int64_t *dims = TS_NEW_N(ts_arena(x->cx), int64_t, l->n_dims + 1);
	TsLoadRequest q = { .graph = graph, .runs = 1, .threads = (int)x->threads, .cpu = x->cpu, .device = x->device, .device_id = x->device_id, .dims = dims, .weights = x->weights };
	TsLoadReply reply;
	if (!bind_dims(x, l, dims)) return;
	if (x->html) {
		ts_explain_html(x->cx, path, x->model, x->compile.n_gpus ? x->compile.gpus[0] : NULL, graph, dims, x->html);
	} else if (x->compile.n_gpus) {
		print_sizes(x, l->graph[graph].name);
		ts_explain_arch(x->cx, path, x->model, x->compile.gpus[0], graph, dims);
	} else if (ts_loader_explain(l, &q, &reply)) print_reply(x, l->graph[graph].name, &reply);
}

int ts_cmd_explain(TsCtx *cx, const TsArgList *args)
{
	Explain x = { .cx = cx };
	TsArgs a = { .cx = cx, .spec = spec, .nspec = sizeof spec / sizeof *spec, .command = "tsc explain", .argv = args->p, .argc = args->n };
	TsModelFile m;
	TsLoader l;
	ts_options_init(&x.compile);
	for (int id; (id = ts_args_next(&a)) != TS_ARG_END;) {
		if (!take(&x, &a, id)) return ts_usage_status(cx);
		if (x.help) return ts_args_help(usage, spec, a.nspec, stdout), 0;
	}
	if (!x.model) return ts_usage_error(cx, "no model: tsc explain MODEL --dims B=1"), 2;
	if (!ts_model_open(cx, x.model, &x.compile, &m)) return ts_exit_code(cx);
	if (ts_model_weights(&m, &x.compile, &x.weights) && ts_loader_open(cx, m.path, x.model, &l)) {
		int graph = ts_loader_graph(&l, x.compile.graph);
		if (graph >= 0) explain_graph(&x, &l, m.path, (uint32_t)graph);
		ts_loader_close(&l);
	}
	ts_model_close(&m);
	return ts_exit_code(cx);
}
