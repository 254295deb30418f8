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
	return k && k->cls == TS_TG_SM80 && (!a || a->cls == TS_TG_SM80);
}

/* The clone a kernel is compiled for: the one it names, or the strongest asked for when it is written for every CPU. */
static const TsTarget *target_of(TsCtx *cx, const TsOptions *o, const TsTree *kernel)
{
	const TsTree *attrs = kernel->kid[2];
	const char *name = "cpu";
	for (uint32_t i = 0; attrs && i < attrs->n; i++)
		if (attrs->kid[i]->name == ts_intern(cx, "target")) name = attrs->kid[i]->kid[0]->name;
	if (o->n_gpus == 1 && !o->cpu_named && same_class(name, o->gpus[0])) name = o->gpus[0];
	if (!strcmp(name, "cpu")) name = o->clones & TS_CLONE_V4 ? "x86-64-v4" : o->clones & TS_CLONE_V3 ? "x86-64-v3" : "x86-64-v2";
	const TsTarget *t = ts_target_find(name);
	if (!t || t->kind == TS_TK_AMDGPU) ts_error(cx, kernel->at, "E_TARGET", "code for target '%s' is not in this release", name);
	return t;
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
	bool gpu = t && t->kind == TS_TK_NVPTX, gpu_kind = o->emit == TS_EMIT_PTX || o->emit == TS_EMIT_CUBIN;
	if (!t || (gpu_kind ? gpu : !gpu || o->emit != TS_EMIT_OBJ)) return true;
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
	if (!ts_tile_verify(cx, file)) return false;
	if (o->emit == TS_EMIT_TILE) {
		ts_print_tree(file, &b, false);
		return write_text(cx, o, &b);
	}
	if (o->emit != TS_EMIT_LLVM && o->emit != TS_EMIT_ASM && o->emit != TS_EMIT_OBJ && o->emit != TS_EMIT_PTX && o->emit != TS_EMIT_CUBIN) {
		ts_error(cx, file->at, "E_LEVEL", "kernels alone make tile, llvm, asm, ptx, cubin or obj; the rest needs a graph");
		return false;
	}
	TS_VEC(TsUnit) units = { 0 };
	for (uint32_t i = 0; i < file->n; i++) {
		const TsTree *k = file->kid[i];
		if (k->kind != TS_TREE_KERNEL) continue;
		TsUnit u = { k, k->name, target_of(cx, o, k) };
		if (!u.target) return false;
		if (units.n && units.p[0].target != u.target) {
			ts_error(cx, k->at, "E_TARGET", "kernel '%s' is for %s, the first one for %s: one target per file", k->name, u.target->name, units.p[0].target->name);
			return false;
		}
		ts_push(a, &units, u);
	}
	if (!fits(cx, o, file, units.n ? units.p[0].target : NULL)) return false;
	TsBackendForm form = o->emit == TS_EMIT_LLVM ? TS_FORM_LLVM_IR : o->emit == TS_EMIT_OBJ ? TS_FORM_OBJECT : TS_FORM_ASM;
	TsBackendOptions bo = { .opt_level = o->opt_level, .form = form, .jobs = o->jobs, .print = print_kernel };
	bool ok = ts_backend_compile(cx, units.p, units.n, &bo, &b) && (o->emit != TS_EMIT_CUBIN || to_cubin(cx, o, units.p, units.n, &b));
	if (ok) return write_text(cx, o, &b);
	ts_buf_free(&b);
	return false;
}
