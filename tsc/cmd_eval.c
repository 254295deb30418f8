/* tsc eval: a graph by the reference interpreter, a kernel by the simulator. */
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/sema.h"
#include "ir/interp.h"
#include "ir/tile_sim.h"
#include "tsc/commands.h"
#include "tsc/options.h"
#include "tsc/tensor_file.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GRAPH = 1, INPUT, OUTPUT, DECLARED, NUM, SEED, HELP };

static const TsArgSpec spec[] = {
	{ GRAPH, "--graph", NULL, "NAME", "the graph to evaluate (the only one)" },
	{ INPUT, "--input", NULL, "X=FILE", "input x from FILE.npy, FILE.npz:key or FILE.safetensors:key (repeatable)" },
	{ OUTPUT, "--output", NULL, "Y=FILE", "result y to FILE.npy or FILE.safetensors (repeatable); results not named are printed" },
	{ DECLARED, "--declared", NULL, NULL, "round every operator to its declared type, in place of f64 throughout" },
	{ NUM, "--num", NULL, "N=INT", "kernel: idx parameter N is INT (repeatable)" },
	{ SEED, "--seed", NULL, "N", "kernel: seed of the order of its warps, engines and cells (0)" },
	{ TS_OPT_WEIGHTS_DIR, "--weights-dir", NULL, "DIR", "weight files lie here, not beside the model" },
	{ TS_OPT_WEIGHTS_FILE, "--weights-file", NULL, "[W=]FILE", "weights W come from FILE (repeatable)" },
	{ HELP, "--help", "-h", NULL, "this" },
};

static const char usage[] =
	"usage: tsc eval MODEL.tg [--graph NAME] --input X=FILE ... [--output Y=FILE ...] [--declared]\n"
	"       tsc eval KERNEL.tile [--graph NAME] --num N=INT ... --input X=FILE ... [--output Y=FILE ...] [--seed N]\n"
	"Evaluates a graph with the reference interpreter: what the graph means, slowly. Runs a kernel in the simulator of\n"
	"Tile IR, which also finds races, missing waits and fences, and deadlocks; buffers without --input are NaN or 0 at\n"
	"first and are results.\n";

typedef struct { TsSym name, path; bool used; } Named;
typedef struct { TsCtx *cx; const char *model, *graph; TsOptions options; TsEvalMode mode; TS_VEC(Named) in, out, num; uint64_t seed; bool help, usage; } Eval;

static bool add(Eval *e, TsArgs *a, int id)
{
	Named n = { 0 };
	if (!ts_args_pair(a, &n.name, &n.path)) return false;
	const Named *list = id == NUM ? e->num.p : id == INPUT ? e->in.p : e->out.p;
	for (uint32_t i = 0; i < (id == NUM ? e->num.n : id == INPUT ? e->in.n : e->out.n); i++)
		if (list[i].name == n.name) return ts_usage_error(e->cx, "%s %s is given twice", a->name, n.name), false;
	if (id == NUM) ts_push(ts_arena(e->cx), &e->num, n);
	else if (id == INPUT) ts_push(ts_arena(e->cx), &e->in, n);
	else ts_push(ts_arena(e->cx), &e->out, n);
	return true;
}

/* No file is to take two results. */
static bool one_file_each(Eval *e)
{
	TsArena *a = ts_arena(e->cx);
	const char **names = TS_NEW_N(a, const char *, e->out.n + 1), **paths = TS_NEW_N(a, const char *, e->out.n + 1);
	for (uint32_t i = 0; i < e->out.n; i++) {
		names[i] = ts_printf(a, "output '%s'", e->out.p[i].name);
		paths[i] = e->out.p[i].path;
	}
	return ts_outputs_differ(e->cx, e->out.n, names, paths);
}

static bool read_args(Eval *e, const TsArgList *args)
{
	TsArgs a = { .cx = e->cx, .spec = spec, .nspec = sizeof spec / sizeof *spec, .command = "tsc eval", .argv = args->p, .argc = args->n };
	for (int id; (id = ts_args_next(&a)) != TS_ARG_END;) {
		switch (id) {
		case GRAPH: e->graph = a.value; break;
		case INPUT: case OUTPUT: case NUM:
			if (!add(e, &a, id)) return false;
			break;
		case SEED: {
			char *end;
			e->seed = strtoull(a.value, &end, 10);
			if (end == a.value || *end) return ts_usage_error(e->cx, "--seed takes a number, not '%s'", a.value), false;
			break;
		}
		case DECLARED: e->mode = TS_EVAL_DECLARED; break;
		case HELP: e->help = true; return true;
		case TS_ARG_OPERAND:
			if (e->model) return ts_usage_error(e->cx, "one model at a time: '%s' and '%s'", e->model, a.value), false;
			e->model = a.value;
			break;
		case TS_OPT_WEIGHTS_DIR: case TS_OPT_WEIGHTS_FILE: {
			bool known;
			if (!ts_options_take(&e->options, &a, id, &known)) return false;
			break;
		}
		default: return false;
		}
	}
	if (!e->model) ts_usage_error(e->cx, "no input: tsc eval MODEL.tg");
	return e->model && one_file_each(e);
}

static TsModule *read_model(Eval *e)
{
	uint32_t source;
	TsTree *tree = ts_read_source(e->cx, e->model, &source) ? ts_parse(e->cx, source) : NULL;
	TsSemaFile *files = TS_NEW_N(ts_arena(e->cx), TsSemaFile, e->options.n_weights_from + 1);
	for (uint32_t i = 0; i < e->options.n_weights_from; i++) files[i] = (TsSemaFile){ e->options.weights_from[i].name, e->options.weights_from[i].path };
	TsSemaOptions o = { .weights_dir = e->options.weights_dir, .files = files, .n_files = e->options.n_weights_from, .graph = e->graph };
	return tree ? ts_module_from_tree(e->cx, tree, e->model, &o) : NULL;
}

static TsGraph *choose_graph(Eval *e, TsModule *m)
{
	TsSym *names = TS_NEW_N(m->arena, TsSym, m->graphs.n + 1);
	for (uint32_t i = 0; i < m->graphs.n; i++) {
		names[i] = m->graphs.p[i]->name;
		if (e->graph ? !strcmp(names[i], e->graph) : m->graphs.n == 1) return m->graphs.p[i];
	}
	if (!e->graph) ts_error(e->cx, (TsSpan){ 0 }, "E_NO_GRAPH", m->graphs.n ? "%s has %u graphs: choose one with --graph" : "%s has no graph", e->model, m->graphs.n);
	else {
		ts_error(e->cx, (TsSpan){ 0 }, "E_NO_GRAPH", "%s has no graph '%s'", e->model, e->graph);
		ts_hint_names(e->cx, e->graph, names, m->graphs.n);
	}
	return NULL;
}

static bool bad_usage(Eval *e, const char *what, TsSym name)
{
	e->usage = true;
	ts_usage_error(e->cx, "%s '%s'", what, name);
	return false;
}

static bool unknown(Eval *e, const char *what, TsSym name, const TsSym *names, size_t n)
{
	bad_usage(e, what, name);
	ts_hint_names(e->cx, name, names, n);
	return false;
}

static bool read_inputs(Eval *e, TsGraph *g, TsTensor *in)
{
	for (uint32_t i = 0; i < g->params.n; i++) {
		const TsValue *p = ts_val(g, g->params.p[i]);
		Named *from = NULL;
		for (uint32_t k = 0; k < e->in.n; k++)
			if (e->in.p[k].name == p->name) from = &e->in.p[k];
		if (!from) return bad_usage(e, "no --input for", p->name);
		from->used = true;
		if (!ts_tensor_read(e->cx, from->path, p->name, p->type.elem, &in[i])) return false;
	}
	TsSym *names = TS_NEW_N(ts_arena(e->cx), TsSym, g->params.n + 1);
	for (uint32_t i = 0; i < g->params.n; i++) names[i] = ts_val(g, g->params.p[i])->name;
	for (uint32_t k = 0; k < e->in.n; k++)
		if (!e->in.p[k].used) return unknown(e, "the graph has no input", e->in.p[k].name, names, g->params.n);
	return true;
}

static bool check_outputs(Eval *e, TsGraph *g)
{
	for (uint32_t k = 0; k < e->out.n; k++) {
		bool found = false;
		for (uint32_t i = 0; i < g->result_names.n; i++) found |= g->result_names.p[i] == e->out.p[k].name;
		if (!found) return unknown(e, "the graph has no result", e->out.p[k].name, g->result_names.p, g->result_names.n);
	}
	return true;
}

static bool write_output(Eval *e, TsSym name, const TsTensor *t)
{
	bool named = false;
	for (uint32_t k = 0; k < e->out.n; k++) {
		if (e->out.p[k].name != name) continue;
		named = true;
		if (!ts_tensor_write(e->cx, e->out.p[k].path, name, t)) return false;
	}
	if (named) return true;
	TsBuf b = { 0 };
	ts_tensor_print(t, &b);
	printf("%s: %s\n", name, b.p);
	ts_buf_free(&b);
	return true;
}

static bool evaluate(Eval *e, TsModule *m, TsGraph *g)
{
	TsTensor *in = TS_NEW_N(m->arena, TsTensor, g->params.n + 1), *out = TS_NEW_N(m->arena, TsTensor, g->result_names.n + 1);
	bool ok = check_outputs(e, g) && read_inputs(e, g, in) && ts_eval(m, g, e->mode, in, out);
	for (uint32_t i = 0; ok && i < g->result_names.n; i++) ok = write_output(e, g->result_names.p[i], &out[i]);
	for (uint32_t i = 0; i < g->params.n; i++) ts_tensor_free(&in[i]);
	for (uint32_t i = 0; i < g->result_names.n; i++) ts_tensor_free(&out[i]);
	return ok;
}

/* ---- kernels ---- */

static bool unknown_parameter(Eval *e, const char *what, TsSym name, const TsTree *params, bool idx)
{
	TsSym *names = TS_NEW_N(ts_arena(e->cx), TsSym, params->n + 1);
	uint32_t n = 0;
	for (uint32_t i = 0; i < params->n; i++)
		if ((ts_tinfo(params->kid[i])->type.form == TS_TT_IDX) == idx) names[n++] = params->kid[i]->name;
	return unknown(e, what, name, names, n);
}

static bool read_numbers(Eval *e, const TsTree *params, int64_t *num)
{
	for (uint32_t i = 0; i < params->n; i++) {
		const TsTree *p = params->kid[i];
		Named *from = NULL;
		char *end;
		if (ts_tinfo(p)->type.form != TS_TT_IDX) continue;
		for (uint32_t k = 0; k < e->num.n; k++)
			if (e->num.p[k].name == p->name) from = &e->num.p[k];
		if (!from) return bad_usage(e, "no --num for", p->name);
		from->used = true;
		num[ts_tinfo(p)->value] = strtoll(from->path, &end, 10);
		if (end == from->path || *end) return bad_usage(e, "--num takes a number, not", from->path);
	}
	for (uint32_t k = 0; k < e->num.n; k++)
		if (!e->num.p[k].used) return unknown_parameter(e, "the kernel has no idx parameter", e->num.p[k].name, params, true);
	return true;
}

/* A buffer from its file, or one to be written: floats hold NaN, which a missing store leaves there. */
static bool make_buffer(Eval *e, TsTree *kernel, const TsSimArgs *a, const TsTree *p, TsTensor *out)
{
	int64_t dim[TS_LAY_RANK];
	const TsTType *t = &ts_tinfo(p)->type;
	for (uint32_t k = 0; k < e->in.n; k++)
		if (e->in.p[k].name == p->name) return e->in.p[k].used = true, ts_tensor_read(e->cx, e->in.p[k].path, p->name, t->elem, out);
	if (!ts_tile_sim_dims(e->cx, kernel, a, p, dim) || !ts_tensor_new(e->cx, p->name, t->elem, t->rank, dim, out)) return false;
	for (int64_t i = 0; i < out->count && ts_dtype_is_float(t->elem); i++) ts_elem_set(t->elem, out->data, i, NAN);
	return true;
}

/* Buffers without an input are results, and those an --output names. */
static bool is_result(const Eval *e, TsSym name)
{
	for (uint32_t k = 0; k < e->out.n; k++)
		if (e->out.p[k].name == name) return true;
	for (uint32_t k = 0; k < e->in.n; k++)
		if (e->in.p[k].name == name) return false;
	return true;
}

static bool check_buffers(Eval *e, const TsTree *params)
{
	for (uint32_t k = 0; k < e->out.n; k++) {
		bool found = false;
		for (uint32_t i = 0; i < params->n; i++) found |= params->kid[i]->name == e->out.p[k].name && ts_tinfo(params->kid[i])->type.form == TS_TT_MEM;
		if (!found) return unknown_parameter(e, "the kernel has no buffer", e->out.p[k].name, params, false);
	}
	for (uint32_t k = 0; k < e->in.n; k++)
		if (!e->in.p[k].used) return unknown_parameter(e, "the kernel has no buffer", e->in.p[k].name, params, false);
	return true;
}

static bool simulate(Eval *e, TsTree *file)
{
	TsArena *arena = ts_arena(e->cx);
	TsSimArgs a = { .kernel = e->graph, .seed = e->seed, .exact = e->mode == TS_EVAL_F64 };
	TsTree *kernel = ts_tile_sim_kernel(e->cx, file, &a);
	if (!kernel) return false;
	const TsTree *params = kernel->kid[0]->kid[0];
	int64_t *num = TS_NEW_N(arena, int64_t, params->n + 1);
	a.buffers = TS_NEW_N(arena, TsTensor, params->n + 1);
	a.numbers = num;
	bool ok = read_numbers(e, params, num);
	for (uint32_t i = 0; i < params->n && ok; i++) {
		const TsTInfo *p = ts_tinfo(params->kid[i]);
		if (p->type.form == TS_TT_IDX) a.nnumbers++;
		else a.nbuffers++, ok = make_buffer(e, kernel, &a, params->kid[i], &a.buffers[p->value]);
	}
	ok = ok && check_buffers(e, params) && ts_tile_sim(e->cx, file, &a);
	params = kernel->kid[0]->kid[0];
	for (uint32_t i = 0; i < params->n && ok; i++)
		if (ts_tinfo(params->kid[i])->type.form == TS_TT_MEM && is_result(e, params->kid[i]->name)) ok = write_output(e, params->kid[i]->name, &a.buffers[ts_tinfo(params->kid[i])->value]);
	for (uint32_t i = 0; i < a.nbuffers; i++) ts_tensor_free(&a.buffers[i]);
	return ok;
}

int ts_cmd_eval(TsCtx *cx, const TsArgList *args)
{
	Eval e = { .cx = cx, .mode = TS_EVAL_F64 };
	ts_options_init(&e.options);
	if (!read_args(&e, args)) return ts_usage_status(cx);
	if (e.help) return ts_args_help(usage, spec, sizeof spec / sizeof *spec, stdout), 0;
	if (ts_has_ending(e.model, ".tile")) {
		uint32_t source;
		TsTree *file = ts_read_source(cx, e.model, &source) ? ts_parse(cx, source) : NULL;
		if (file) simulate(&e, file);
	} else {
		TsModule *m = read_model(&e);
		TsGraph *g = m ? choose_graph(&e, m) : NULL;
		if (g) evaluate(&e, m, g);
	}
	return e.usage ? ts_usage_status(cx) : ts_exit_code(cx);
}
