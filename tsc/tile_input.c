#include "tsc/tile_input.h"
#include "backend/llvm/backend.h"
#include "frontend/graph_text/print.h"
#include "ir/tile.h"
#include "support/file.h"
#include <string.h>

static void print_kernel(TsCtx *cx, const TsTree *tree, TsBuf *to)
{
	(void)cx;
	ts_print_tree(tree, to, false);
}

/* The clone a kernel is compiled for: the one it names, or the strongest asked for when it is written for every CPU. */
static const TsTarget *target_of(TsCtx *cx, const TsOptions *o, const TsTree *kernel)
{
	const TsTree *attrs = kernel->kid[2];
	const char *name = "cpu";
	for (uint32_t i = 0; attrs && i < attrs->n; i++)
		if (attrs->kid[i]->name == ts_intern(cx, "target")) name = attrs->kid[i]->kid[0]->name;
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

bool ts_compile_tile(TsCtx *cx, const TsOptions *o, TsTree *file)
{
	TsArena *a = ts_arena(cx);
	TsBuf b = { 0 };
	if (!ts_tile_verify(cx, file)) return false;
	if (o->emit == TS_EMIT_TILE) {
		ts_print_tree(file, &b, false);
		return write_text(cx, o, &b);
	}
	if (o->emit != TS_EMIT_LLVM && o->emit != TS_EMIT_ASM && o->emit != TS_EMIT_OBJ) {
		ts_error(cx, file->at, "E_LEVEL", "kernels alone make tile, llvm, asm or obj; the rest needs a graph");
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
	TsBackendForm form = o->emit == TS_EMIT_LLVM ? TS_FORM_LLVM_IR : o->emit == TS_EMIT_ASM ? TS_FORM_ASM : TS_FORM_OBJECT;
	TsBackendOptions bo = { .opt_level = o->opt_level, .form = form, .jobs = o->jobs, .print = print_kernel };
	return ts_backend_compile(cx, units.p, units.n, &bo, &b) && write_text(cx, o, &b);
}
