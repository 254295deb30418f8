#include "tsc/pipeline.h"
#include "backend/llvm/backend.h"
#include "emit/plan_write.h"
#include "emit/version.h"
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/print.h"
#include "frontend/graph_text/print_graph.h"
#include "frontend/graph_text/sema.h"
#include "ir/tile_abi.h"
#include "middle/rewrite/rewrite.h"
#include "support/file.h"
#include "tsc/commands.h"
#include "tsc/devices.h"
#include "tsc/fatbin.h"
#include "tsc/pack.h"
#include "tsc/progress.h"
#include "tsc/schedule_text.h"
#include "tsc/tile_input.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <time.h>

typedef struct {
	TsCtx *cx;
	const TsOptions *o;
	const char *path;
	bool is_pack;                     /* the input is a .tsr */
	TsSym name;                       /* of the model, as the pack has it */
	TsPackFiles pack_files;
	TsTree *tree;                     /* of the input */
	TsModule *module;
	TsSched *sched;
	TS_VEC(const TsTree *) kernels;   /* per TsKernel and clone: its verified KERNEL tree */
	TS_VEC(TsTree *) files;           /* the FILE trees that hold them */
	TsBuf *objects;
	uint32_t n_objects;
	TsDevices devices;                /* GPUs: the same for each */
	TsPlanned planned;
	bool made_folder;                 /* that of --save-temps was not there before */
} State;

/* ---- the stages ---- */

/* Text, or the text inside a pack, to syntax tree.  needs: nothing.  reports: every syntax error. */
static bool read_source(State *s)
{
	TsFile f;
	uint32_t source;
	if (!ts_file_map(s->cx, s->path, &f)) return false;
	s->is_pack = ts_is_elf(f.p, f.size);
	ts_file_unmap(&f);
	static const struct { const char *ending, *what; } written[] = { { ".ll", "LLVM IR" }, { ".s", "assembly" }, { ".h", "a header" } };
	for (size_t i = 0; i < sizeof written / sizeof *written && !s->is_pack; i++) {
		size_t n = strlen(s->path), m = strlen(written[i].ending);
		if (n <= m || strcmp(s->path + n - m, written[i].ending)) continue;
		ts_error(s->cx, (TsSpan){ 0 }, "E_LEVEL", "'%s' is %s, which is written and not read", s->path, written[i].what);
		ts_hint(s->cx, "give the .tg or .tile that it was made from");
		return false;
	}
	if (!(s->is_pack ? ts_pack_read(s->cx, s->path, &source, &s->name, &s->pack_files) : ts_read_source(s->cx, s->path, &source))) return false;
	s->tree = ts_parse(s->cx, source);
	return s->tree != NULL;
}

static TsSemaOptions weight_files(const State *s)
{
	TsSemaFile *files = TS_NEW_N(ts_arena(s->cx), TsSemaFile, s->o->n_weights_from);
	if (s->is_pack && !s->pack_files.external) return ts_pack_weights(s->cx, s->path, s->tree);
	for (uint32_t i = 0; i < s->o->n_weights_from; i++) files[i] = (TsSemaFile){ s->o->weights_from[i].name, s->o->weights_from[i].path };
	return (TsSemaOptions){ .weights_dir = s->o->weights_dir, .files = files, .n_files = s->o->n_weights_from };
}

/* Every --weights-file names weights of the model; one without a name is for the only ones. */
static bool check_weight_files(State *s)
{
	TsSym *names = TS_NEW_N(ts_arena(s->cx), TsSym, s->tree->n + 1);
	uint32_t n = 0;
	for (uint32_t i = 0; i < s->tree->n; i++)
		if (s->tree->kid[i]->kind == TS_TREE_WEIGHTS) names[n++] = s->tree->kid[i]->name;
	for (uint32_t i = 0; i < s->o->n_weights_from; i++) {
		TsSym want = s->o->weights_from[i].name;
		uint32_t k = 0;
		while (want && k < n && names[k] != want) k++;
		if (s->is_pack && !s->pack_files.external) {
			ts_error(s->cx, (TsSpan){ 0 }, "E_WEIGHTS_INSIDE", "--weights-file %s: '%s' holds its weights", s->o->weights_from[i].path, s->path);
			return false;
		}
		if (want ? k < n : n == 1) continue;
		if (want) ts_error(s->cx, (TsSpan){ 0 }, "E_UNKNOWN_NAME", "--weights-file: '%s' has no weights named '%s'", s->path, want);
		else ts_error(s->cx, (TsSpan){ 0 }, "E_UNKNOWN_NAME", "--weights-file %s: '%s' has %u sets of weights, name one: --weights-file W=FILE", s->o->weights_from[i].path, s->path, n);
		if (want) ts_hint_names(s->cx, want, names, n);
		return false;
	}
	return true;
}

/* The output must not be one of the files that the model is made from. */
static bool spares_weights(State *s)
{
	struct stat out, in;
	if (stat(s->o->output, &out)) return true;
	for (uint32_t i = 0; i < s->module->weights.n; i++)
		for (uint32_t k = 0; k < s->module->weights.p[i].files.n; k++) {
			const char *path = s->module->weights.p[i].files.p[k];
			if (stat(path, &in) || in.st_dev != out.st_dev || in.st_ino != out.st_ino) continue;
			ts_error(s->cx, (TsSpan){ 0 }, "E_OUTPUT", "the output '%s' would overwrite the weights '%s'", s->o->output, path);
			return false;
		}
	return true;
}

/* Syntax tree to verified Graph IR.  keeps: names, places.  reports: names, types, shapes, weights. */
static bool read_graph(State *s)
{
	if (!check_weight_files(s)) return false;
	TsSemaOptions so = weight_files(s);
	so.graph = s->o->graph;
	s->module = ts_module_from_tree(s->cx, s->tree, s->path, &so);
	if (!s->module) return false;
	if (s->name) s->module->name = s->name;
	if (s->o->name) s->module->name = ts_intern(s->cx, s->o->name);
	return spares_weights(s) && ts_pack_check_files(s->module, &s->pack_files) && ts_verify(s->module, "read-graph");
}

/* Calls of the user's kernels to operators.  keeps: results.  reports: what such a kernel may say and no operators can. */
static bool lift_kernels(State *s)
{
	if (!ts_lift_kernels(s->module)) return false;
	ts_widen_sums(s->module);
	return ts_verify(s->module, "kernels");
}

/* Graph to graph by the rules.  keeps: results, names of results. */
static bool rewrite(State *s)
{
	TsRewriteOptions r = { .disabled = s->o->disabled, .ndisabled = s->o->n_disabled, .print = s->o->print_rewrites ? stderr : NULL };
	return ts_rewrite(s->module, &r) && ts_verify(s->module, "rewrite");
}

/* Graph to schedule: kernels as text, their order, where bytes lie. The first schedule says in which order the statements stand best, the
 * second is of that text: so the printed schedule, read back, is this one.  keeps: results.  reports: operators without a kernel. */
static bool schedule(State *s)
{
	if (!(s->sched = ts_schedule(s->module, ts_sched_target("cpu")))) return false;
	ts_schedule_order(s->sched);
	ts_name_values(s->module);
	if (!ts_verify(s->module, "schedule")) return false;
	return (s->sched = ts_schedule(s->module, ts_sched_target("cpu"))) && ts_devices_schedule(&s->devices, s->cx, s->o, s->module);
}

/* Kernel texts to verified Tile IR. Equal texts are parsed once. */
static bool read_tiles(State *s)
{
	TsMap seen = { 0 };
	TsArena *a = ts_arena(s->cx);
	for (uint32_t i = 0; i < s->sched->kernels.n; i++)
		for (int c = 0; c < TS_CPU_CLONES; c++) {
			const TsKernel *k = &s->sched->kernels.p[i];
			bool fresh;
			uintptr_t *at = ts_map_put(a, &seen, k->text[c], &fresh);
			if (fresh) {
				char *name = ts_printf(a, "<%s.tile>", k->name);
				TsTree *file = ts_parse(s->cx, ts_source_add(s->cx, name, k->text[c], strlen(k->text[c])));
				if (!file || !ts_tile_verify(s->cx, file)) {
					ts_bug(s->cx, (TsSpan){ 0 }, "tile: the schedule of kernel %s is not valid Tile IR", k->name);
				}
				ts_push(a, &s->files, file);
				*at = (uintptr_t)file->kid[file->n - 1];
			}
			ts_push(a, &s->kernels, (const TsTree *)*at);
		}
	return ts_devices_read_tiles(&s->devices);
}

static void print_kernel(TsCtx *cx, const TsTree *tree, TsBuf *to)
{
	(void)cx;
	ts_print_tree(tree, to, false);
}

static const char *clone_name(int c)
{
	static const char *const name[TS_CPU_CLONES] = { "x86-64-v2", "x86-64-v3", "x86-64-v4" };
	return name[c];
}

/* The code that clone c runs: its own, or, where that was not asked for, the nearest weaker one that was, else the weakest. */
static int clone_for(const State *s, int c)
{
	for (int k = c; k >= 0; k--)
		if (s->o->clones & 1u << k) return k;
	for (int k = c; k < TS_CPU_CLONES; k++)
		if (s->o->clones & 1u << k) return k;
	return c;
}

static void tell_generated(void *user, uint32_t done, uint32_t of) { ts_progress(user, "generate", done, of); }

static TsBackendOptions backend_options(const State *s, TsBackendForm form)
{
	return (TsBackendOptions){ .opt_level = s->o->opt_level, .form = form, .jobs = s->o->jobs, .print = print_kernel };
}

/* Tile IR to objects, one symbol per kernel and clone, and the table of them that the runtime reads; for GPUs to PTX. */
static bool generate(State *s)
{
	TsArena *a = ts_arena(s->cx);
	uint32_t n = s->kernels.n, n_units = 0, n_own = 0, *first = NULL;
	TsUnit *units = TS_NEW_N(a, TsUnit, n + ts_devices_count(&s->devices) + 1);
	const char **symbols = TS_NEW_N(a, const char *, n);
	for (uint32_t i = 0; i < n; i++) {
		int c = (int)(i % TS_CPU_CLONES), use = clone_for(s, c);
		symbols[i] = ts_printf(a, "k%u_v%d", i / TS_CPU_CLONES, use + 2);
		if (c == use) units[n_units++] = (TsUnit){ s->kernels.p[i], symbols[i], ts_target_find(clone_name(c)) };
	}
	TsBackendOptions bo = backend_options(s, TS_FORM_OBJECT);
	bo.progress = tell_generated;
	bo.user = (void *)(uintptr_t)s->o;
	TsBuf *objects = NULL, table = { 0 };
	uint32_t count = 0;
	uint32_t n_cpu = n_units;
	n_units += ts_devices_units(&s->devices, units + n_units);
	if (n_units && !ts_backend_compile_all(s->cx, units, n_units, &bo, &objects, &count, &first)) return false;
	while (n_own < count && first[n_own] < n_cpu) n_own++;
	for (uint32_t i = n_own; i < count; i++) first[i] -= n_cpu;
	ts_devices_take(&s->devices, objects + n_own, first + n_own, count - n_own);
	if (!ts_backend_table(s->cx, "ts_kernels", symbols, n, &table)) return false;
	s->objects = TS_NEW_N(a, TsBuf, n_own + 1);
	if (n_own) memcpy(s->objects, objects, n_own * sizeof *objects);
	s->objects[n_own] = table;
	s->n_objects = n_own + 1;
	return true;
}

/* PTX to cubins. */
static bool assemble(State *s) { return ts_devices_assemble(&s->devices); }

/* Per kernel: what a thread needs beside the buffers, for the clone that needs most. */
static int64_t *scratch_bytes(State *s)
{
	int64_t *scratch = TS_NEW_N(ts_arena(s->cx), int64_t, s->sched->kernels.n + 1);
	for (uint32_t i = 0; i < s->kernels.n; i++) {
		int64_t b = ts_tile_shared_bytes(s->kernels.p[i]), *most = &scratch[i / TS_CPU_CLONES];
		if (b > *most) *most = b;
	}
	return scratch;
}

/* The host program as data. */
static bool plan(State *s)
{
	TsPlanOptions po = { .external = s->o->external_weights, .scratch = scratch_bytes(s), .producer = "tsc " TS_VERSION };
	return ts_write_plan(s->sched, &po, ts_devices_for_plan(&s->devices), s->devices.n, &s->planned);
}

/* ---- what is asked for ---- */

static bool write_text(State *s, TsBuf *text)
{
	bool ok = ts_write_file(s->cx, s->o->output, text->p ? text->p : "", text->n);
	ts_buf_free(text);
	return ok;
}

static bool emit_graph(State *s)
{
	TsBuf b = { 0 };
	ts_print_module(s->module, &b);
	return write_text(s, &b);
}

/* The GPU whose text is asked for: the one that --arch names, when it names no CPU; NULL: the CPU's. */
static const TsDevice *shown_device(const State *s) { return s->devices.n == 1 && !s->o->cpu_named ? &s->devices.p[0] : NULL; }

static bool emit_schedule(State *s)
{
	TsBuf b = { 0 };
	const TsDevice *v = shown_device(s);
	if (v) ts_print_schedule(v->sched, NULL, &b);
	else ts_print_schedule(s->sched, scratch_bytes(s), &b);
	return write_text(s, &b);
}

static TsTree *tile_file(State *s)
{
	TsTree *file = ts_tree(s->cx, TS_TREE_FILE, (TsSpan){ 0 }, 0);
	file->name = ts_intern(s->cx, "tile");
	file->i = 1;
	return file;
}

static void add_kernel(State *s, TsTree *file, const TsTree *kernel, TsSym name)
{
	TsTree *x = TS_NEW(ts_arena(s->cx), TsTree);
	*x = *kernel;
	x->name = name;
	ts_tree_add(s->cx, file, x);
}

static void print_device_tiles(State *s, const TsDevice *v, TsBuf *to)
{
	TsTree *file = tile_file(s);
	for (uint32_t i = 0; i < v->sched->kernels.n; i++) add_kernel(s, file, v->kernels[i], v->sched->kernels.p[i].name);
	ts_print_tree(file, to, false);
}

/* Every kernel once, as a file of Tile IR; one written anew for each clone has the clone in its name, and is there for those asked for. */
static void print_tiles(State *s, TsBuf *to)
{
	TsTree *file = tile_file(s);
	if (shown_device(s)) {
		print_device_tiles(s, shown_device(s), to);
		return;
	}
	for (uint32_t i = 0; i < s->sched->kernels.n; i++) {
		const TsKernel *k = &s->sched->kernels.p[i];
		bool all = k->text[0] == k->text[TS_CPU_CLONES - 1];
		for (int c = 0; c < TS_CPU_CLONES; c++) {
			if (all ? c > 0 : clone_for(s, c) != c) continue;
			add_kernel(s, file, s->kernels.p[i * TS_CPU_CLONES + (uint32_t)c], all ? k->name : ts_intern_fmt(s->cx, "%s_v%d", k->name, c + 2));
		}
	}
	ts_print_tree(file, to, false);
}

static bool emit_tile(State *s)
{
	TsBuf b = { 0 };
	print_tiles(s, &b);
	return write_text(s, &b);
}

/* LLVM IR or assembly of every kernel for the strongest clone asked for, or for a GPU. */
static bool print_target(State *s, TsBackendForm form, TsBuf *to)
{
	if (shown_device(s)) return ts_device_print(&s->devices, shown_device(s), form, to);
	uint32_t n = s->kernels.n / TS_CPU_CLONES, c = (uint32_t)clone_for(s, TS_CPU_CLONES - 1);
	TsUnit *units = TS_NEW_N(ts_arena(s->cx), TsUnit, n);
	for (uint32_t i = 0; i < n; i++) units[i] = (TsUnit){ s->kernels.p[i * TS_CPU_CLONES + c], s->sched->kernels.p[i].name, ts_target_find(clone_name((int)c)) };
	TsBackendOptions bo = backend_options(s, form);
	return ts_backend_compile(s->cx, units, n, &bo, to);
}

static bool emit_target(State *s, TsBackendForm form)
{
	TsBuf b = { 0 };
	return print_target(s, form, &b) && write_text(s, &b);
}

/* ---- code of GPUs by itself ---- */

/* One file holds PTX or a cubin for one architecture. */
static const TsDevice *one_device(State *s)
{
	const char *kind = s->o->emit == TS_EMIT_PTX ? "ptx" : "cubin";
	if (s->devices.n == 1) return &s->devices.p[0];
	ts_error(s->cx, (TsSpan){ 0 }, "E_ARCH", "--emit %s is for one GPU architecture, as --arch sm_80 names it", kind);
	return NULL;
}

static bool emit_ptx(State *s)
{
	TsBuf b = { 0 };
	const TsDevice *v = one_device(s);
	return v && ts_device_print(&s->devices, v, TS_FORM_ASM, &b) && write_text(s, &b);
}

static bool emit_cubin(State *s)
{
	TsBuf ptx = { 0 }, cubin = { 0 };
	const TsDevice *v = one_device(s);
	if (!v) return false;
	uint32_t n = v->sched->kernels.n;
	TsPtxPlace *places = TS_NEW_N(ts_arena(s->cx), TsPtxPlace, n + 1);
	for (uint32_t i = 0; i < n; i++) places[i] = (TsPtxPlace){ v->sched->kernels.p[i].name, v->kernels[i]->at };
	bool ok = ts_device_print(&s->devices, v, TS_FORM_ASM, &ptx) && ts_device_cubin(s->cx, s->o, v->code->name, &ptx, places, n, &cubin);
	ok = ok && ts_write_file(s->cx, s->o->output, cubin.p, cubin.n);
	ts_buf_free(&ptx);
	ts_buf_free(&cubin);
	return ok;
}

static bool emit_fatbin(State *s)
{
	TsBuf b = { 0 };
	return ts_fatbin(&s->devices, &b) && write_text(s, &b);
}

/* The files that a model is: everything that the pipeline made. */
static void add_devices(const State *s, TsArtifact *art, TsBuf *meta)
{
	const TsDevices *d = &s->devices;
	for (uint32_t i = 0; i < d->n; i++) ts_buf_fmt(meta, " %s", d->p[i].code->name);
	if (d->n) ts_buf_fmt(meta, "\nptxas: %s", d->ptxas_version ? d->ptxas_version : "none");
	art->device_plans = s->planned.device_plans;
	art->n_device_plans = s->planned.n_device_plans;
	art->device_code = (TsBytes){ d->code.p, d->code.n };
}

static bool emit_artifact(State *s, TsArtifactKind kind)
{
	TsArena *a = ts_arena(s->cx);
	TsBuf ops = { 0 }, meta = { 0 };
	ts_print_module(s->module, &ops);
	TsBuf llvm = { 0 };
	ts_llvm_version(&llvm);
	ts_buf_fmt(&meta, "producer: tsc %s\nname: %s\nllvm: %s\narch:", TS_VERSION, s->module->name, llvm.p);
	for (int c = 0; c < TS_CPU_CLONES; c++)
		if (s->o->clones & 1u << c) ts_buf_fmt(&meta, " %s", clone_name(c));
	TsArtifact art = { .kind = kind, .name = s->module->name };
	add_devices(s, &art, &meta);
	ts_buf_fmt(&meta, "\nweights: %s\n", s->o->external_weights ? "external" : "embedded");
	ts_buf_free(&llvm);
	TsBytes *objects = TS_NEW_N(a, TsBytes, s->n_objects + 1);
	for (uint32_t i = 0; i < s->n_objects; i++) objects[i] = (TsBytes){ s->objects[i].p, s->objects[i].n };
	art.objects = objects;
	art.n_objects = s->n_objects;
	art.plan = s->planned.plan;
	art.ops = (TsBytes){ ops.p, ops.n };
	art.meta = (TsBytes){ meta.p, meta.n };
	art.weights = s->planned.pieces;
	art.n_weights = s->planned.n_pieces;
	art.weight_bytes = s->planned.weight_bytes;
	const char *temp = getenv("TMPDIR");
	bool special = ts_out_is_special(s->o->output); /* no folder for the linker is made in /dev, and no header */
	if (special) art.temp_dir = temp && *temp ? temp : "/tmp";
	bool ok = ts_emit_artifact(s->cx, &art, s->o->output);
	if (ok && !special && (kind == TS_ARTIFACT_SO || kind == TS_ARTIFACT_OBJ)) ok = ts_emit_header_beside(s->cx, s->planned.plan, s->o->output);
	ts_buf_free(&ops);
	ts_buf_free(&meta);
	return ok;
}

static bool emit_header(State *s)
{
	const char *text = ts_emit_header(s->cx, s->planned.plan);
	return ts_write_file(s->cx, s->o->output, text, strlen(text));
}

/* ---- the pipeline ---- */

typedef enum { LV_SOURCE, LV_TREE, LV_GRAPH, LV_SCHED, LV_TILE, LV_CODE, LV_CUBIN, LV_PLAN } Level;
typedef struct { const char *name; bool (*run)(State *); Level from, to; bool optional; } Pass;

static const Pass pipeline[] = { /* the whole compiler in order */
	{ "parse",    read_source, LV_SOURCE, LV_TREE,  false },
	{ "graph",    read_graph,  LV_TREE,   LV_GRAPH, false },
	{ "kernels",  lift_kernels, LV_GRAPH, LV_GRAPH, false },
	{ "rewrite",  rewrite,     LV_GRAPH,  LV_GRAPH, true },
	{ "schedule", schedule,    LV_GRAPH,  LV_SCHED, false },
	{ "tile",     read_tiles,  LV_SCHED,  LV_TILE,  false },
	{ "generate", generate,    LV_TILE,   LV_CODE,  false },
	{ "assemble", assemble,    LV_CODE,   LV_CUBIN, false },
	{ "plan",     plan,        LV_CUBIN,  LV_PLAN,  false },
};
enum { NPASSES = sizeof pipeline / sizeof *pipeline };

/* Who must come before whom, and why; checked whenever the pipeline runs. */
static const struct { const char *first, *then, *why; } order[] = {
	{ "parse",    "graph",    "names and types are found on the syntax tree" },
	{ "graph",    "kernels",  "a cell is checked Graph IR before it is taken apart" },
	{ "kernels",  "rewrite",  "rules know operators alone" },
	{ "graph",    "rewrite",  "rules match verified operators, not text" },
	{ "rewrite",  "schedule", "a kernel takes in what the rules have joined, and no rule knows kernels" },
	{ "schedule", "tile",     "a schedule is what writes the kernels' text" },
	{ "tile",     "generate", "code is made from verified Tile IR alone" },
	{ "generate", "assemble", "ptxas reads the PTX that code generation made" },
	{ "assemble", "plan",     "the plan says where in the file each module lies" },
	{ "generate", "plan",     "the plan names the kernels by their place in the code's table" },
	{ "tile",     "plan",     "the plan says how much scratch memory a kernel's text asks for" },
};

static size_t place_of(const char *name)
{
	size_t i = 0;
	while (i < NPASSES && strcmp(pipeline[i].name, name) != 0) i++;
	return i;
}

static void check_order(TsCtx *cx)
{
	for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
		size_t first = place_of(order[i].first), then = place_of(order[i].then);
		if (first >= then || then == NPASSES) ts_bug(cx, (TsSpan){ 0 }, "pipeline: '%s' must come before '%s': %s", order[i].first, order[i].then, order[i].why);
	}
	for (size_t i = 1; i < NPASSES; i++)
		if (pipeline[i].from > pipeline[i - 1].to) ts_bug(cx, (TsSpan){ 0 }, "pipeline: nothing makes what '%s' reads", pipeline[i].name);
}

/* What is printed or written, and the level it needs. */
static Level level_of(TsEmit e)
{
	switch (e) {
	case TS_EMIT_GRAPH: case TS_EMIT_TSR: return LV_GRAPH;
	case TS_EMIT_SCHEDULE: case TS_EMIT_TILE: case TS_EMIT_LLVM: case TS_EMIT_ASM: case TS_EMIT_PTX: case TS_EMIT_CUBIN: return LV_TILE;
	case TS_EMIT_FATBIN: return LV_CUBIN;
	default: return LV_PLAN;
	}
}

static bool check_pass(TsCtx *cx, const char *option, const char *name, bool optional)
{
	const char *names[NPASSES];
	for (uint32_t i = 0; i < NPASSES; i++) {
		names[i] = pipeline[i].name;
		if (strcmp(name, names[i]) != 0) continue;
		if (optional && !pipeline[i].optional) ts_usage_error(cx, "%s %s: this pass cannot be left out", option, name);
		return !optional || pipeline[i].optional;
	}
	ts_usage_error(cx, "%s: no pass named '%s'", option, name);
	ts_hint_names(cx, name, names, NPASSES);
	return false;
}

bool ts_check_passes(TsCtx *cx, const TsOptions *o)
{
	bool ok = (!o->only || check_pass(cx, "--only", o->only, true)) && (!o->print_after || check_pass(cx, "--print-after", o->print_after, false));
	for (uint32_t i = 0; ok && i < o->n_skip; i++) ok = check_pass(cx, "--skip", o->skip[i], true);
	return ok;
}

static bool is_left_out(const TsOptions *o, const Pass *p)
{
	if (!p->optional) return false;
	if (o->emit == TS_EMIT_TSR) return true; /* a pack holds the model as it is */
	for (uint32_t i = 0; i < o->n_skip; i++)
		if (!strcmp(o->skip[i], p->name)) return true;
	return o->only && strcmp(o->only, p->name) != 0;
}

/* ---- looking inside ---- */

/* The program as it stands after a pass; false where that has no text. */
static bool print_level(State *s, Level at, TsBuf *to)
{
	switch (at) {
	case LV_TREE: ts_print_tree(s->tree, to, false); return true;
	case LV_GRAPH: ts_print_module(s->module, to); return true;
	case LV_SCHED: ts_print_schedule(s->sched, NULL, to); return true;
	case LV_TILE: print_tiles(s, to); return true;
	default: return false;
	}
}

static void save(State *s, const char *ending, const void *p, size_t n)
{
	ts_write_file(s->cx, ts_printf(ts_arena(s->cx), "%s/%s%s", s->o->save_temps, s->module ? s->module->name : "model", ending), p, n);
}

static void save_code(State *s)
{
	static const struct { TsBackendForm form; const char *ending; } forms[] = { { TS_FORM_LLVM_IR, ".ll" }, { TS_FORM_ASM, ".s" } };
	for (int i = 0; i < 2; i++) {
		TsBuf b = { 0 };
		if (s->kernels.n && print_target(s, forms[i].form, &b)) save(s, forms[i].ending, b.p, b.n);
		ts_buf_free(&b);
	}
	for (uint32_t i = 0; i < s->n_objects; i++) save(s, ts_printf(ts_arena(s->cx), ".%u.o", i), s->objects[i].p, s->objects[i].n);
}

/* Of each GPU: its schedule and kernels as text and the PTX, then the cubins. */
static void save_devices(State *s, Level at)
{
	for (uint32_t i = 0; i < s->devices.n; i++) {
		const TsDevice *v = &s->devices.p[i];
		TsBuf b = { 0 };
		if (at == LV_CODE) {
			ts_print_schedule(v->sched, NULL, &b);
			save(s, ts_printf(ts_arena(s->cx), ".%s.schedule.tg", v->code->name), b.p, b.n);
			b.n = 0;
			print_device_tiles(s, v, &b);
			save(s, ts_printf(ts_arena(s->cx), ".%s.tile", v->code->name), b.p, b.n);
		}
		for (uint32_t k = 0; k < v->n_modules; k++) {
			if (at == LV_CODE) save(s, ts_printf(ts_arena(s->cx), ".%s.%u.ptx", v->code->name, k), v->ptx[k].p, v->ptx[k].n);
			else if (v->modules[k].cubin.n) save(s, ts_printf(ts_arena(s->cx), ".%s.%u.cubin", v->code->name, k), v->modules[k].cubin.p, v->modules[k].cubin.n);
		}
		ts_buf_free(&b);
	}
}

/* What --print-after, --save-temps and -v want to see of a pass that went well. */
static void show(State *s, const Pass *p)
{
	TsBuf b = { 0 };
	bool print = s->o->print_after && !strcmp(s->o->print_after, p->name);
	if (s->o->verbose) fprintf(stderr, "tsc: %s%s\n", p->name, p->to == LV_TILE ? ts_printf(ts_arena(s->cx), ": %u kernels", s->sched->kernels.n) : "");
	if ((print || s->o->save_temps) && print_level(s, p->to, &b)) {
		if (print) fwrite(b.p ? b.p : "", 1, b.n, stderr);
		if (s->o->save_temps && p->to > LV_TREE) save(s, p->to == LV_TILE ? ".tile" : ts_printf(ts_arena(s->cx), ".%s.tg", p->name), b.p ? b.p : "", b.n);
	} else if (print) {
		ts_warn(s->cx, (TsSpan){ 0 }, "W_NO_TEXT", "there is no text of the program after %s", p->name);
	}
	ts_buf_free(&b);
	if (s->o->save_temps && p->to == LV_CODE) save_code(s);
	if (s->o->save_temps && (p->to == LV_CODE || p->to == LV_CUBIN)) save_devices(s, p->to);
}

static bool make_temps_folder(State *s)
{
	if (!s->o->save_temps) return true;
	s->made_folder = !mkdir(s->o->save_temps, 0777);
	if (s->made_folder || errno == EEXIST) return true;
	ts_env_error(s->cx, "E_FILE", "cannot make the folder '%s': %s", s->o->save_temps, strerror(errno));
	return false;
}

static bool finish(State *s)
{
	switch (s->o->emit) {
	case TS_EMIT_GRAPH: return emit_graph(s);
	case TS_EMIT_SCHEDULE: return emit_schedule(s);
	case TS_EMIT_COUNT: break;
	case TS_EMIT_TILE: return emit_tile(s);
	case TS_EMIT_LLVM: return emit_target(s, TS_FORM_LLVM_IR);
	case TS_EMIT_ASM: return emit_target(s, TS_FORM_ASM);
	case TS_EMIT_PTX: return emit_ptx(s);
	case TS_EMIT_CUBIN: return emit_cubin(s);
	case TS_EMIT_FATBIN: return emit_fatbin(s);
	case TS_EMIT_OBJ: return emit_artifact(s, TS_ARTIFACT_OBJ);
	case TS_EMIT_SO: return emit_artifact(s, TS_ARTIFACT_SO);
	case TS_EMIT_EXE: return emit_artifact(s, TS_ARTIFACT_EXE);
	case TS_EMIT_TSR: return ts_pack_write(s->module, s->tree, s->o->external_weights, s->o->output);
	case TS_EMIT_HEADER: return emit_header(s);
	}
	return false;
}

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void run(void *user)
{
	State *s = user;
	Level want = level_of(s->o->emit);
	check_order(s->cx);
	if (!make_temps_folder(s)) return;
	for (size_t i = 0; i < sizeof pipeline / sizeof *pipeline; i++) {
		const Pass *p = &pipeline[i];
		if (p->to > want) break;
		if ((s->module && p->from < LV_GRAPH) || is_left_out(s->o, p)) continue;
		double from = now_ms();
		ts_progress(s->o, p->name, 0, 0);
		bool ok = p->run(s) && !ts_error_count(s->cx);
		if (s->o->time_report) fprintf(stderr, "%-10s %8.1f ms\n", p->name, now_ms() - from);
		if (!ok) return;
		show(s, p);
		if (s->tree && s->tree->name == ts_intern(s->cx, "tile")) { ts_compile_tile(s->cx, s->o, s->tree); return; }
	}
	double from = now_ms();
	ts_progress(s->o, "emit", 0, 0);
	if (!ts_error_count(s->cx) && finish(s) && s->o->verbose) fprintf(stderr, "tsc: wrote %s\n", s->o->output);
	if (s->o->time_report) fprintf(stderr, "%-10s %8.1f ms\n", "emit", now_ms() - from);
}

static void compile(State *s)
{
	ts_guard(s->cx, run, s);
	if (s->made_folder && ts_error_count(s->cx)) rmdir(s->o->save_temps); /* goes only where it is empty */
	for (uint32_t i = 0; i < s->n_objects; i++) ts_buf_free(&s->objects[i]);
	ts_devices_free(&s->devices);
}

void ts_compile(TsCtx *cx, const TsOptions *o)
{
	State s = { .cx = cx, .o = o, .path = o->input };
	compile(&s);
}

void ts_compile_module(TsCtx *cx, const TsOptions *o, TsModule *m)
{
	State s = { .cx = cx, .o = o, .module = m };
	compile(&s);
}
