#include "tsc/options.h"
#include "backend/llvm/backend.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { EMIT = 1, OUTPUT, ARCH, WEIGHTS, NAME, SAVE_TEMPS, ONLY, PRINT_AFTER, SKIP, PTXAS, PROGRESS, LIFELINE, DETECT, HELP, VERSION, LIST_OPS };

static const TsArgSpec spec[] = {
	{ 0, NULL, NULL, NULL, "What comes out:" },
	{ OUTPUT, "-o", "--output", "FILE", "write FILE; its ending is the kind: .so .o .tsr .h .tg .tile .ll .s .ptx .cubin .fatbin" },
	{ EMIT, "--emit", NULL, "KIND", "text: graph schedule tile llvm asm ptx header; files: obj so exe tsr cubin fatbin (so)" },
	{ NAME, "--name", NULL, "NAME", "the model's name, a C identifier (default: from the input's name)" },
	{ WEIGHTS, "--weights", NULL, "embedded|external", "inside the file, or the published files beside it (embedded)" },
	{ ARCH, "--arch", NULL, "LIST", "GPUs: sm_80 sm_86 sm_89 sm_90 sm_100 sm_120; CPUs: x86-64-v2, -v3, -v4 (all three)" },
	{ PTXAS, "--ptxas", NULL, "PATH", "assembles for GPUs (PATH, CUDA_HOME, VIRTUAL_ENV); none: the driver does" },
	{ 0, NULL, NULL, NULL, "How:" },
	TS_OPTIONS_SHARED,
	{ 0, NULL, NULL, NULL, "Looking inside:" },
	{ SAVE_TEMPS, "--save-temps", NULL, "DIR", "keep every level's text in DIR" },
	{ PRINT_AFTER, "--print-after", NULL, "PASS", "print the program after PASS to standard error" },
	{ ONLY, "--only", NULL, "PASS", "of the passes that may be left out, run PASS alone" },
	{ SKIP, "--skip", NULL, "PASS", "leave PASS out (repeatable)" },
	{ PROGRESS, "--progress", NULL, "FD", "tell descriptor FD each pass, and how many kernels are through" },
	{ LIFELINE, "--lifeline", NULL, "FD", "end when the other end of pipe FD is closed" },
	{ DETECT, "--detect", NULL, NULL, "the GPUs of this machine and what --arch makes code for them" },
	{ LIST_OPS, "--list-ops", NULL, NULL, "list the operators" },
	{ VERSION, "--version", NULL, NULL, "versions of tsc and LLVM" },
	{ HELP, "--help", "-h", NULL, "this" },
};
enum { NSPEC = sizeof spec / sizeof *spec };

static const char usage[] =
	"usage: tsc [options] MODEL.tg|MODEL.tile|MODEL.tsr     compile to one file that needs nothing\n"
	"       tsc COMMAND --help                              fmt, eval, test, run, inspect, explain\n"
	"@FILE stands for the words of FILE. Exit status: 0 ok, 1 bad input, 2 usage, 3 environment, 4 internal error.\n";

static const char *const emit_name[TS_EMIT_COUNT] = { "graph", "schedule", "tile", "llvm", "asm", "ptx", "obj", "so", "exe", "tsr", "header", "cubin", "fatbin" };
static const char *const emit_ending[TS_EMIT_COUNT] = { ".tg", ".tg", ".tile", ".ll", ".s", ".ptx", ".o", ".so", "", ".tsr", ".h", ".cubin", ".fatbin" };

void ts_options_help(FILE *to) { ts_args_help(usage, spec, NSPEC, to); }

void ts_options_init(TsOptions *o) { *o = (TsOptions){ .output = "-", .emit = TS_EMIT_COUNT, .opt_level = 2, .clones = TS_CLONE_ALL }; }

/* ---- what several commands share ---- */

static void add_word(TsCtx *cx, const char *const **list, uint32_t *n, const char *word)
{
	const char **more = TS_NEW_N(ts_arena(cx), const char *, *n + 1);
	if (*n) memcpy(more, *list, *n * sizeof *more);
	more[(*n)++] = word;
	*list = more;
}

static bool add_weights_from(TsOptions *o, TsArgs *a)
{
	TsWeightsFrom *all = TS_NEW_N(ts_arena(a->cx), TsWeightsFrom, o->n_weights_from + 1), *w = &all[o->n_weights_from];
	if (o->n_weights_from) memcpy(all, o->weights_from, o->n_weights_from * sizeof *all);
	*w = (TsWeightsFrom){ NULL, ts_intern(a->cx, a->value) };
	const char *equals = strchr(a->value, '=');
	if (equals && !memchr(a->value, '/', (size_t)(equals - a->value)) && !ts_args_pair(a, &w->name, &w->path)) return false;
	for (uint32_t i = 0; i < o->n_weights_from; i++)
		if (all[i].name == w->name) {
			if (w->name) ts_usage_error(a->cx, "--weights-file gives weights '%s' twice", w->name);
			else ts_usage_error(a->cx, "--weights-file without a name is given twice");
			return false;
		}
	o->weights_from = all;
	o->n_weights_from++;
	return true;
}

bool ts_options_take(TsOptions *o, TsArgs *a, int id, bool *known)
{
	int64_t n = 0;
	*known = true;
	switch (id) {
	case TS_OPT_LEVEL:
		if (!ts_args_int(a, 0, 3, &n)) return false;
		o->opt_level = (int)n;
		return true;
	case TS_OPT_JOBS:
		if (!ts_args_int(a, 1, 1024, &n)) return false;
		o->jobs = (int)n;
		return true;
	case TS_OPT_GRAPH: o->graph = a->value; return true;
	case TS_OPT_WEIGHTS_DIR: o->weights_dir = a->value; return true;
	case TS_OPT_WEIGHTS_FILE: return add_weights_from(o, a);
	case TS_OPT_DISABLE: add_word(a->cx, &o->disabled, &o->n_disabled, a->value); return true;
	case TS_OPT_PRINT_REWRITES: o->print_rewrites = true; return true;
	case TS_OPT_VERBOSE: o->verbose = true; return true;
	case TS_OPT_TIME: o->time_report = true; return true;
	}
	*known = false;
	return true;
}

/* ---- architectures ---- */

/* "sm_90" means code for 9.0 and nothing else, which the tools call sm_90a; "90" is short for it. */
static const char *gpu_name(TsArgs *a, const char *name)
{
	if (isdigit((unsigned char)*name)) name = ts_printf(ts_arena(a->cx), "sm_%s", name);
	return !strcmp(name, "sm_90") ? "sm_90a" : name;
}

static int capability(const char *name) { return atoi(name + 3); }

static bool named_twice(TsArgs *a, const char *name)
{
	ts_usage_error(a->cx, "--arch names '%s' twice", name);
	return false;
}

/* In order of age: what is written does not depend on the order of words. */
static bool add_gpu(TsOptions *o, TsArgs *a, const char *name)
{
	const char **all = TS_NEW_N(ts_arena(a->cx), const char *, o->n_gpus + 1);
	uint32_t n = 0;
	for (uint32_t i = 0; i < o->n_gpus; i++)
		if (!strcmp(o->gpus[i], name)) return named_twice(a, name);
	while (n < o->n_gpus && capability(o->gpus[n]) < capability(name)) all[n] = o->gpus[n], n++;
	all[n] = name;
	for (; n < o->n_gpus; n++) all[n + 1] = o->gpus[n];
	o->gpus = all;
	o->n_gpus++;
	return true;
}

/* One word of --arch. */
static bool add_arch(TsOptions *o, TsArgs *a, const char *name)
{
	const char *names[32];
	uint32_t n = 0, cpus = 0;
	if (!strncmp(name, "gfx", 3)) {
		ts_usage_error(a->cx, "architecture '%s' is not in this release: it generates code for x86-64 CPUs and NVIDIA GPUs", name);
		return false;
	}
	if (!strcmp(name, "cpu")) return true;
	for (const TsTarget *t; n < 32 && (t = ts_target_at(n)); n++) {
		names[n] = t->name;
		cpus += t->kind == TS_TK_CPU;
	}
	int i = ts_args_word(a, "architecture", gpu_name(a, name), names, n);
	if (i < 0) return false;
	if ((uint32_t)i >= cpus) return add_gpu(o, a, names[i]);
	if (!o->cpu_named) o->clones = 0;
	o->cpu_named = true;
	if (o->clones & 1u << i) return named_twice(a, names[i]);
	o->clones |= 1u << i;
	return true;
}

bool ts_options_arch(TsOptions *o, TsArgs *a)
{
	o->clones = TS_CLONE_ALL;
	o->cpu_named = false;
	o->n_gpus = 0;
	for (const char *p = a->value;;) {
		size_t len = strcspn(p, ",");
		if (!add_arch(o, a, ts_strndup(ts_arena(a->cx), p, len))) return false;
		if (!p[len]) return true;
		p += len + 1;
	}
}

/* ---- the command line ---- */

static bool is_identifier(const char *s)
{
	if (!isalpha((unsigned char)*s) && *s != '_') return false;
	size_t n = 1;
	while (isalnum((unsigned char)s[n]) || s[n] == '_') n++;
	return !s[n] && n <= 100;
}

static bool take(TsOptions *o, TsArgs *a, int id, TsAsk *ask)
{
	static const char *const where[] = { "embedded", "external" };
	int64_t n = 0;
	int i;
	switch (id) {
	case EMIT:
		if ((i = ts_args_word(a, "kind of output", a->value, emit_name, TS_EMIT_COUNT)) < 0) return false;
		if (o->emit != TS_EMIT_COUNT && o->emit != (TsEmit)i) return ts_usage_error(a->cx, "--emit %s and --emit %s: one kind at a time", emit_name[o->emit], a->value), false;
		o->emit = (TsEmit)i;
		return true;
	case OUTPUT:
		if (o->output) return ts_usage_error(a->cx, "two outputs: '%s' and '%s'", o->output, a->value), false;
		o->output = a->value;
		return true;
	case NAME:
		if (!is_identifier(a->value)) return ts_usage_error(a->cx, "--name needs a C identifier of at most 100 characters, not '%s'", a->value), false;
		o->name = a->value;
		return true;
	case WEIGHTS:
		if ((i = ts_args_word(a, "place for weights", a->value, where, 2)) < 0) return false;
		o->external_weights = i == 1;
		return true;
	case ARCH: return ts_options_arch(o, a);
	case PTXAS: o->ptxas = a->value; return true;
	case SAVE_TEMPS: o->save_temps = a->value; return true;
	case ONLY: o->only = a->value; return true;
	case PRINT_AFTER: o->print_after = a->value; return true;
	case SKIP: add_word(a->cx, &o->skip, &o->n_skip, a->value); return true;
	case PROGRESS:
		if (!ts_args_int(a, 1, 1 << 20, &n)) return false;
		o->progress = (int)n;
		return true;
	case LIFELINE:
		if (!ts_args_int(a, 1, 1 << 20, &n)) return false;
		o->lifeline = (int)n;
		return true;
	case DETECT: *ask = TS_ASK_DETECT; return true;
	case HELP: *ask = TS_ASK_HELP; return true;
	case VERSION: *ask = TS_ASK_VERSION; return true;
	case LIST_OPS: *ask = TS_ASK_OPS; return true;
	}
	return false;
}

static const char *ending_of(const char *path)
{
	const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
	return dot && dot != path && dot[-1] != '/' ? dot : "";
}

static bool shows_one_target(TsEmit e) { return e == TS_EMIT_SCHEDULE || e == TS_EMIT_TILE || e == TS_EMIT_LLVM || e == TS_EMIT_ASM; }
static bool is_text(TsEmit e) { return e <= TS_EMIT_PTX || e == TS_EMIT_HEADER; }

/* The kind by the output's ending; TS_EMIT_COUNT when the ending says nothing. */
static TsEmit kind_of(const char *path)
{
	for (int i = 0; *ending_of(path) && i < TS_EMIT_COUNT; i++)
		if (!strcmp(ending_of(path), emit_ending[i])) return (TsEmit)i;
	return TS_EMIT_COUNT;
}

static bool choose_kind(TsCtx *cx, TsOptions *o)
{
	TsEmit by_name = o->output ? kind_of(o->output) : TS_EMIT_COUNT;
	if (o->emit == TS_EMIT_COUNT) o->emit = by_name == TS_EMIT_COUNT ? TS_EMIT_SO : by_name;
	else if (by_name != TS_EMIT_COUNT && strcmp(emit_ending[o->emit], emit_ending[by_name]) != 0) {
		ts_usage_error(cx, "--emit %s and the name '%s' contradict each other", emit_name[o->emit], o->output);
		return false;
	}
	if (o->output && !strcmp(o->output, "-") && !is_text(o->emit)) {
		ts_usage_error(cx, "--emit %s is no text: it needs a file, -o FILE", emit_name[o->emit]);
		return false;
	}
	return true;
}

/* Text goes to standard output; an artifact into the working directory, under the input's name with its own ending. */
static void choose_output(TsCtx *cx, TsOptions *o)
{
	if (o->output) return;
	const char *slash = strrchr(o->input, '/'), *base = slash ? slash + 1 : o->input;
	o->output = is_text(o->emit) ? "-" : ts_printf(ts_arena(cx), "%.*s%s", (int)(strlen(base) - strlen(ending_of(base))), base, emit_ending[o->emit]);
}

static bool output_is_no_input(TsCtx *cx, const TsOptions *o)
{
	struct stat in, out;
	if (stat(o->input, &in) || stat(o->output, &out) || in.st_dev != out.st_dev || in.st_ino != out.st_ino) return true;
	ts_usage_error(cx, "the output '%s' is the input: give another name with -o", o->output);
	return false;
}

bool ts_options_parse(TsCtx *cx, const TsArgList *args, TsOptions *o, TsAsk *ask)
{
	TsArgs a = { .cx = cx, .spec = spec, .nspec = NSPEC, .command = "tsc", .argv = args->p, .argc = args->n };
	*ask = TS_ASK_NOTHING;
	ts_options_init(o);
	o->output = NULL;
	for (int id; (id = ts_args_next(&a)) != TS_ARG_END;) {
		bool known = true;
		if (id == TS_ARG_BAD) return false;
		if (id == TS_ARG_OPERAND) {
			if (o->input) return ts_usage_error(cx, "two inputs: '%s' and '%s'", o->input, a.value), false;
			o->input = a.value;
			continue;
		}
		if (!ts_options_take(o, &a, id, &known) || (!known && !take(o, &a, id, ask))) return false;
		if (*ask != TS_ASK_NOTHING) return true;
	}
	if (!o->input) {
		ts_usage_error(cx, "no input: tsc MODEL.tg -o MODEL.so");
		ts_hint(cx, "'tsc --help' lists the options");
		return false;
	}
	if (o->only && o->n_skip) return ts_usage_error(cx, "--only and --skip contradict each other"), false;
	if (!choose_kind(cx, o)) return false;
	if (shows_one_target(o->emit) && o->n_gpus + o->cpu_named > 1) return ts_usage_error(cx, "--emit %s shows the code of one target, and --arch names several", emit_name[o->emit]), false;
	if ((o->emit == TS_EMIT_PTX || o->emit == TS_EMIT_CUBIN) && o->n_gpus != 1 && strcmp(ending_of(o->input), ".tile") != 0) /* kernels say themselves what they are for */
		return ts_usage_error(cx, "--emit %s is for one GPU architecture, as --arch sm_80 names it", emit_name[o->emit]), false;
	if (o->emit == TS_EMIT_FATBIN && !o->n_gpus) return ts_usage_error(cx, "--emit fatbin needs GPU architectures: --arch sm_80,sm_90"), false;
	choose_output(cx, o);
	return output_is_no_input(cx, o);
}
