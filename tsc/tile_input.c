#include "tsc/tile_input.h"
#include "backend/llvm/backend.h"
#include "frontend/graph_text/print.h"
#include "ir/tile.h"
#include "support/file.h"
#include "tsc/devices.h"
#include <string.h>

static void print_kernel(TsCtx *cx, const TsTree *tree, TsBuf *to)
{
	(void)cx;
	ts_print_tree(tree, to, false);
}

/* Kernels written for one GPU run on another that has the same words. */
static bool same_class(const char *kernel, const char *arch)
{
	const TsTileTarget *k = ts_tile_target(kernel), *a = ts_tile_target(arch);
	const uint32_t old = TS_TG_SM80 | TS_TG_SM89;
	return k && k->cls & old && (!a || (a->cls & old && (k->cls == TS_TG_SM80 || a->cls == TS_TG_SM89)));
}

/* The target a kernel is written for; "cpu" is every CPU. */
static const char *target_name(TsCtx *cx, const TsTree *kernel)
{
	const TsTree *attrs = kernel->kid[2];
	for (uint32_t i = 0; attrs && i < attrs->n; i++)
		if (attrs->kid[i]->name == ts_intern(cx, "target")) return attrs->kid[i]->kid[0]->name;
	return "cpu";
}

static bool is_any_cpu(const char *name) { return !strcmp(name, "cpu"); }

/* The one GPU that --arch names takes kernels of its kind. */
static bool is_for_the_gpu(const TsOptions *o, const char *name) { return o->n_gpus == 1 && !o->cpu_named && same_class(name, o->gpus[0]); }

/* Does --arch name a kernel's target? Without --arch all are wanted. */
static bool is_wanted(const TsOptions *o, const char *name)
{
	const TsTarget *t;
	if ((!o->cpu_named && !o->n_gpus) || is_for_the_gpu(o, name)) return true;
	for (uint32_t i = 0; i < o->n_gpus; i++)
		if (!strcmp(o->gpus[i], name)) return true;
	for (uint32_t i = 0; o->cpu_named && (t = ts_target_at(i)) && t->kind == TS_TK_CPU; i++)
		if (o->clones & 1u << i && (is_any_cpu(name) || !strcmp(t->name, name))) return true;
	return false;
}

/* Each target that kernels name, once. */
static void list_targets(TsCtx *cx, const TsTree *file, TsBuf *to)
{
	for (uint32_t i = 0; i < file->n; i++) {
		const TsTree *k = file->kid[i];
		bool fresh = k->kind == TS_TREE_KERNEL;
		for (uint32_t j = 0; j < i && fresh; j++) fresh = file->kid[j]->kind != TS_TREE_KERNEL || strcmp(target_name(cx, file->kid[j]), target_name(cx, k)) != 0;
		if (fresh) ts_buf_fmt(to, "%s%s", to->n ? ", " : "", target_name(cx, k));
	}
}

/* The kernels that --arch names, as a file of their own. */
static bool choose_kernels(TsCtx *cx, const TsOptions *o, TsTree *file)
{
	TsBuf all = { 0 };
	uint32_t n = 0, kernels = 0, chosen = 0;
	list_targets(cx, file, &all);
	for (uint32_t i = 0; i < file->n; i++) {
		bool kernel = file->kid[i]->kind == TS_TREE_KERNEL, wanted = !kernel || is_wanted(o, target_name(cx, file->kid[i]));
		kernels += kernel;
		chosen += kernel && wanted;
		if (wanted) file->kid[n++] = file->kid[i];
	}
	file->n = n;
	if (kernels && !chosen) ts_error(cx, file->at, "E_TARGET", "no kernel here is for what --arch names: they are for %s", all.p);
	ts_buf_free(&all);
	return !kernels || chosen;
}

static const TsTarget *one_target_only(TsCtx *cx, const TsTree *file, TsSpan at)
{
	TsBuf all = { 0 };
	list_targets(cx, file, &all);
	ts_error(cx, at, "E_TARGET", "the kernels here are for %s; code is made for one target at a time", all.p);
	ts_hint(cx, "name it with --arch");
	ts_buf_free(&all);
	return NULL;
}

/* What all kernels are compiled for: the target that they name, or, when they are written for every CPU, the strongest asked for. */
static const TsTarget *one_target(TsCtx *cx, const TsOptions *o, const TsTree *file)
{
	const char *found = NULL;
	TsSpan at = file->at, any_cpu = { 0 };
	bool some_any_cpu = false;
	for (uint32_t i = 0; i < file->n; i++) {
		if (file->kid[i]->kind != TS_TREE_KERNEL) continue;
		const char *name = target_name(cx, file->kid[i]);
		if (is_any_cpu(name)) {
			any_cpu = file->kid[i]->at;
			some_any_cpu = true;
			continue;
		}
		if (is_for_the_gpu(o, name)) name = o->gpus[0];
		if (found && strcmp(found, name)) return one_target_only(cx, file, file->kid[i]->at);
		found = name;
		at = file->kid[i]->at;
	}
	if (!found) found = o->clones & TS_CLONE_V4 ? "x86-64-v4" : o->clones & TS_CLONE_V3 ? "x86-64-v3" : "x86-64-v2";
	const TsTarget *t = ts_target_find(found);
	if (!t || t->kind == TS_TK_AMDGPU) {
		ts_error(cx, at, "E_TARGET", "code for target '%s' is not in this release", found);
		return NULL;
	}
	return some_any_cpu && t->kind != TS_TK_CPU ? one_target_only(cx, file, any_cpu) : t;
}

static bool write_text(TsCtx *cx, const TsOptions *o, TsBuf *b)
{
	bool ok = ts_write_file(cx, o->output, b->p ? b->p : "", b->n);
	ts_buf_free(b);
	return ok;
}

/* Does the kind of output exist for the target? */
static bool fits(TsCtx *cx, const TsOptions *o, const TsTree *file, const TsTarget *t)
{
	bool gpu = t->kind == TS_TK_NVPTX, gpu_kind = o->emit == TS_EMIT_PTX || o->emit == TS_EMIT_CUBIN;
	if (gpu_kind ? gpu : !gpu || o->emit != TS_EMIT_OBJ) return true;
	if (gpu) ts_error(cx, file->at, "E_LEVEL", "kernels for %s make no object: --emit ptx or --emit cubin", t->name);
	else ts_error(cx, file->at, "E_LEVEL", "kernels for the CPU make neither PTX nor a cubin");
	return false;
}

/* PTX to a cubin, in place. */
static bool to_cubin(TsCtx *cx, const TsOptions *o, const TsUnit *units, uint32_t n, TsBuf *b)
{
	TsPtxPlace *places = TS_NEW_N(ts_arena(cx), TsPtxPlace, n + 1);
	TsBuf cubin = { 0 };
	for (uint32_t i = 0; i < n; i++) places[i] = (TsPtxPlace){ units[i].symbol, units[i].kernel->at };
	bool ok = n && ts_device_cubin(cx, o, units[0].target->name, b, places, n, &cubin);
	ts_buf_free(b);
	*b = cubin;
	return ok;
}

bool ts_compile_tile(TsCtx *cx, const TsOptions *o, TsTree *file)
{
	TsArena *a = ts_arena(cx);
	TsBuf b = { 0 };
	if (!ts_tile_verify(cx, file) || !choose_kernels(cx, o, file)) return false;
	if (o->emit == TS_EMIT_TILE) {
		ts_print_tree(file, &b, false);
		return write_text(cx, o, &b);
	}
	if (o->emit != TS_EMIT_LLVM && o->emit != TS_EMIT_ASM && o->emit != TS_EMIT_OBJ && o->emit != TS_EMIT_PTX && o->emit != TS_EMIT_CUBIN) {
		ts_error(cx, file->at, "E_LEVEL", "kernels alone make tile, llvm, asm, ptx, cubin or obj; the rest needs a graph");
		return false;
	}
	const TsTarget *target = one_target(cx, o, file);
	if (!target || !fits(cx, o, file, target)) return false;
	TS_VEC(TsUnit) units = { 0 };
	for (uint32_t i = 0; i < file->n; i++) {
		TsUnit u = { file->kid[i], file->kid[i]->name, target };
		if (u.kernel->kind == TS_TREE_KERNEL) ts_push(a, &units, u);
	}
	TsBackendForm form = o->emit == TS_EMIT_LLVM ? TS_FORM_LLVM_IR : o->emit == TS_EMIT_OBJ ? TS_FORM_OBJECT : TS_FORM_ASM;
	TsBackendOptions bo = { .opt_level = o->opt_level, .form = form, .jobs = o->jobs, .print = print_kernel };
	bool ok = ts_backend_compile(cx, units.p, units.n, &bo, &b) && (o->emit != TS_EMIT_CUBIN || to_cubin(cx, o, units.p, units.n, &b));
	if (ok) return write_text(cx, o, &b);
	ts_buf_free(&b);
	return false;
}
