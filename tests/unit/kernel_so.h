/* Kernels for tests: .tile text through parser, verifier, backend and linker into a shared object of a temporary folder, loaded into this
 * process. Used by tests of the lowering; a kernel's symbol is its name. */
#pragma once
#include "backend/llvm/backend.h"
#include "emit/lld_shim.h"
#include "frontend/graph_text/parse.h"
#include "support/file.h"
#include "ir/tile_abi.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KERNEL_SO_MAX = 256 };
typedef void KernelFn(void *const *ptr, const int64_t *num, int64_t begin, int64_t end, void *scratch);
typedef struct { void *so; TsCtx *cx; TsTree *file; } KernelSo;

/* libc's functions that a kernel may call are bound by the loader, as this program has them */
static inline bool kernel_so_link(const TsBuf *object, const char *const *names, uint32_t n, char *dir, char *why, size_t cap)
{
	char o[64], so[64];
	static char def[KERNEL_SO_MAX][96];
	const char *argv[8 + KERNEL_SO_MAX] = { "ld.lld", "-shared", "-z", "noexecstack", "-o", so, o };
	int argc = 7;
	snprintf(o, sizeof o, "%s/k.o", dir);
	snprintf(so, sizeof so, "%s/k.so", dir);
	FILE *f = fopen(o, "wb");
	if (!f) return false;
	fwrite(object->p, 1, object->n, f);
	fclose(f);
	for (uint32_t i = 0; i < n; i++) {
		snprintf(def[i], sizeof def[i], "--defsym=test_%s=%s", names[i], names[i]);
		argv[argc++] = def[i];
	}
	return ts_lld_link(argc, argv, why, cap) == 0;
}

/* Compiles every kernel of the text. On failure so is NULL and the reason is on stderr. */
static inline KernelSo kernel_so(const char *text, const char *target, int level)
{
	KernelSo k = { .cx = ts_ctx_new() };
	const char *names[KERNEL_SO_MAX];
	TsUnit units[KERNEL_SO_MAX];
	uint32_t n = 0;
	char dir[] = "/tmp/tessera-test-XXXXXX", path[64], why[512] = "";
	TsBuf object = { 0 };
	TsBackendOptions o = { .opt_level = level };
	k.file = ts_parse(k.cx, ts_source_add(k.cx, "test.tile", text, strlen(text)));
	bool ok = k.file && ts_tile_verify(k.cx, k.file);
	for (uint32_t i = 0; ok && i < k.file->n && n < KERNEL_SO_MAX; i++) {
		if (k.file->kid[i]->kind != TS_TREE_KERNEL) continue;
		names[n] = k.file->kid[i]->name;
		units[n] = (TsUnit){ k.file->kid[i], names[n], ts_target_find(target) };
		n++;
	}
	ok = ok && ts_backend_compile(k.cx, units, n, &o, &object) && mkdtemp(dir);
	if (ok) {
		ok = kernel_so_link(&object, names, n, dir, why, sizeof why);
		snprintf(path, sizeof path, "%s/k.so", dir);
		if (ok && !(k.so = dlopen(path, RTLD_NOW))) fprintf(stderr, "%s\n", dlerror());
		unlink(path);
		snprintf(path, sizeof path, "%s/k.o", dir);
		unlink(path);
		rmdir(dir);
	}
	if (!ok) {
		ts_diag_print(k.cx, stderr);
		fputs(why, stderr);
	}
	ts_buf_free(&object);
	return k;
}

static inline KernelFn *kernel_fn(const KernelSo *k, const char *name)
{
	char symbol[160];
	snprintf(symbol, sizeof symbol, "test_%s", name);
	return k->so ? (KernelFn *)(uintptr_t)dlsym(k->so, symbol) : NULL;
}

static inline void kernel_so_free(KernelSo *k)
{
	if (k->so) dlclose(k->so);
	ts_ctx_free(k->cx);
}
