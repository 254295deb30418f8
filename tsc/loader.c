#include "tsc/loader.h"
#include "support/elf_read.h"
#include "support/file.h"
#include "tessera/tessera.h"
#include "tsc/find_tool.h"
#include "tsc/helper/protocol.h"
#include <errno.h>
#include <fcntl.h>
#include <elf.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- bytes ---- */

enum { NO_LIBRARY = 127 }; /* glibc's and musl's loaders end so, after saying which file they lack */

/* nothing of a C library is in tsc-load, and a shared object is loaded by the machine's own */
static void no_libc(TsCtx *cx, const char *helper)
{
	ts_env_error(cx, "E_TOOL", "cannot start '%s': it needs a C library, and this system has none: either glibc (/lib64/ld-linux-x86-64.so.2 with libc.so.6, libdl.so.2 "
	                           "and libpthread.so.0) or musl (/lib/ld-musl-x86_64.so.1); a program made with --emit exe needs nothing", helper);
}

/* The helper's end, told once: by a signal it is the artifact's fault, else the pipe just ended. */
static bool lost(TsLoader *l)
{
	int status = 0;
	if (l->pid > 0 && waitpid(l->pid, &status, 0) == l->pid) {
		if (WIFSIGNALED(status)) ts_error(l->cx, (TsSpan){ 0 }, "E_ARTIFACT", "'%s' ended with signal %d (%s)", l->path, WTERMSIG(status), strsignal(WTERMSIG(status)));
		else if (WEXITSTATUS(status) == NO_LIBRARY) no_libc(l->cx, "tsc-load");
		else ts_error(l->cx, (TsSpan){ 0 }, "E_ARTIFACT", "'%s' ended with status %d before it answered", l->path, WEXITSTATUS(status));
	}
	l->pid = 0;
	return false;
}

static bool get_bytes(TsLoader *l, void *p, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t part = l->pid ? read(l->from, (char *)p + at, n - at) : 0;
		if (part < 0 && errno == EINTR) continue;
		if (part <= 0) return l->pid ? lost(l) : false;
		at += (size_t)part;
	}
	return true;
}

static int64_t get(TsLoader *l)
{
	int64_t v = 0;
	return get_bytes(l, &v, sizeof v) ? v : 0;
}

static bool nonsense(TsLoader *l)
{
	if (l->pid) ts_error(l->cx, (TsSpan){ 0 }, "E_ARTIFACT", "'%s' gives answers that make no sense", l->path);
	return false;
}

/* A count within limits; anything else ends the conversation. */
static bool get_count(TsLoader *l, int64_t most, uint32_t *n)
{
	int64_t v = get(l);
	*n = (uint32_t)v;
	return l->pid && v >= 0 && v <= most ? true : nonsense(l);
}

static TsSym get_text(TsLoader *l)
{
	char buffer[TS_LOAD_MAX_TEXT];
	uint32_t n;
	if (!get_count(l, TS_LOAD_MAX_TEXT, &n) || !get_bytes(l, buffer, n)) return "";
	return ts_intern_n(l->cx, buffer, n);
}

static bool put_bytes(TsLoader *l, const void *p, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t part = l->pid ? write(l->to, (const char *)p + at, n - at) : 0;
		if (part < 0 && errno == EINTR) continue;
		if (part <= 0) return false; /* it may have said why: the answer tells */
		at += (size_t)part;
	}
	return true;
}

static void put(TsLoader *l, int64_t v) { put_bytes(l, &v, sizeof v); }

/* The status that opens an answer: true for 0, else reported. */
static bool get_status(TsLoader *l)
{
	int64_t status = get(l);
	if (!l->pid) return false;
	if (!status) return true;
	TsSym why = get_text(l);
	if (!l->pid) return false;
	if (status == 3) ts_env_error(l->cx, "E_RUN", "'%s': %s", l->path, why);
	else ts_error(l->cx, (TsSpan){ 0 }, "E_RUN", "'%s': %s", l->path, why);
	return false;
}

/* ---- what the artifact holds ---- */

static bool find_dtype(int64_t code, int64_t bits, TsDtype *out)
{
	static const struct { uint8_t code, bits; TsDtype t; } all[] = {
		{ kDLFloat, 64, TS_F64 }, { kDLFloat, 32, TS_F32 }, { kDLFloat, 16, TS_F16 }, { kDLBfloat, 16, TS_BF16 }, { kDLInt, 64, TS_INT64 },
		{ kDLInt, 32, TS_INT32 }, { kDLInt, 16, TS_INT16 }, { kDLInt, 8, TS_INT8 }, { kDLUInt, 8, TS_UINT8 }, { kDLInt, 4, TS_INT4 }, { kDLBool, 8, TS_BOOL },
		{ kDLComplex, 64, TS_COMPLEX64 }, { kDLFloat8_e4m3fn, 8, TS_FP8_E4M3 }, { kDLFloat8_e5m2, 8, TS_FP8_E5M2 }, { kDLFloat6_e2m3fn, 6, TS_FP6_E2M3 },
		{ kDLFloat6_e3m2fn, 6, TS_FP6_E3M2 }, { kDLFloat4_e2m1fn, 4, TS_FP4_E2M1 },
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i].code == code && all[i].bits == bits) return *out = all[i].t, true;
	return false;
}

static void put_dtype(TsLoader *l, const TsTensor *t)
{
	static const struct { uint8_t code, bits; } dl[TS_DTYPE_COUNT] = {
		[TS_F64] = { kDLFloat, 64 }, [TS_F32] = { kDLFloat, 32 }, [TS_F16] = { kDLFloat, 16 }, [TS_BF16] = { kDLBfloat, 16 }, [TS_INT64] = { kDLInt, 64 },
		[TS_INT32] = { kDLInt, 32 }, [TS_INT16] = { kDLInt, 16 }, [TS_INT8] = { kDLInt, 8 }, [TS_UINT8] = { kDLUInt, 8 }, [TS_INT4] = { kDLInt, 4 },
		[TS_BOOL] = { kDLBool, 8 }, [TS_COMPLEX64] = { kDLComplex, 64 }, [TS_FP8_E4M3] = { kDLFloat8_e4m3fn, 8 }, [TS_FP8_E5M2] = { kDLFloat8_e5m2, 8 },
		[TS_FP6_E2M3] = { kDLFloat6_e2m3fn, 6 }, [TS_FP6_E3M2] = { kDLFloat6_e3m2fn, 6 }, [TS_FP4_E2M1] = { kDLFloat4_e2m1fn, 4 },
	};
	put(l, dl[t->elem].code);
	put(l, dl[t->elem].bits);
}

static bool get_tensor_info(TsLoader *l, TsLoadedTensor *t)
{
	uint32_t rank;
	t->name = get_text(l);
	int64_t code = get(l), bits = get(l);
	if (!get_count(l, TS_MAX_RANK, &rank)) return false;
	t->rank = (int)rank;
	if (!get_bytes(l, t->dim, sizeof *t->dim * rank)) return false;
	return find_dtype(code, bits, &t->elem) || nonsense(l);
}

static bool get_graph(TsLoader *l, TsLoadedGraph *g)
{
	g->name = get_text(l);
	if (!get_count(l, TS_LOAD_MAX_TENSORS, &g->n_in) || !get_count(l, TS_LOAD_MAX_TENSORS, &g->n_out)) return false;
	g->tensor = TS_NEW_N(ts_arena(l->cx), TsLoadedTensor, g->n_in + g->n_out + 1);
	for (uint32_t i = 0; i < g->n_in + g->n_out; i++)
		if (!get_tensor_info(l, &g->tensor[i])) return false;
	return true;
}

static bool get_description(TsLoader *l)
{
	if (get(l) != TS_LOAD_MAGIC) return nonsense(l);
	if (!get_status(l) || !get_count(l, TS_LOAD_MAX_TENSORS, &l->n_dims)) return false;
	l->dim = TS_NEW_N(ts_arena(l->cx), TsLoadedDim, l->n_dims + 1);
	for (uint32_t i = 0; i < l->n_dims; i++) {
		l->dim[i].name = get_text(l);
		l->dim[i].min = get(l);
		l->dim[i].max = get(l);
		l->dim[i].multiple_of = get(l);
	}
	if (!get_count(l, TS_LOAD_MAX_TENSORS, &l->n_graphs)) return false;
	l->graph = TS_NEW_N(ts_arena(l->cx), TsLoadedGraph, l->n_graphs + 1);
	for (uint32_t i = 0; i < l->n_graphs; i++)
		if (!get_graph(l, &l->graph[i])) return false;
	return l->n_graphs ? true : nonsense(l);
}

/* ---- the helper ---- */

/* The artifact's descriptor among a shared object's symbols: NAME_tessera. NULL after reporting. */
static const char *find_descriptor(TsCtx *cx, const char *path)
{
	static const char ending[] = "_tessera";
	TsFile f;
	TsElfFile elf;
	TsElfSection sym, str;
	const char *found = NULL;
	if (!ts_file_map(cx, path, &f)) return NULL;
	const char *wrong = ts_elf_open(&elf, f.p, f.size);
	if (!wrong && elf.type != ET_DYN) wrong = "it is no shared object";
	if (!wrong && (!ts_elf_find(&elf, ".dynsym", &sym) || !ts_elf_find(&elf, ".dynstr", &str))) wrong = "it exports nothing";
	for (uint64_t i = 0; !wrong && !found && i + sizeof(Elf64_Sym) <= sym.size; i += sizeof(Elf64_Sym)) {
		Elf64_Sym s;
		memcpy(&s, f.p + sym.offset + i, sizeof s);
		if (!s.st_shndx || s.st_name >= str.size || ELF64_ST_TYPE(s.st_info) != STT_OBJECT) continue;
		const char *name = (const char *)f.p + str.offset + s.st_name;
		size_t n = strnlen(name, (size_t)(str.size - s.st_name));
		if (n > sizeof ending - 1 && n < str.size - s.st_name && !memcmp(name + n - (sizeof ending - 1), ending, sizeof ending - 1)) found = ts_intern_n(cx, name, n);
	}
	if (!wrong && !found) wrong = "it exports no model (NAME_tessera)";
	if (wrong) ts_error(cx, (TsSpan){ 0 }, "E_ARTIFACT", "'%s' is no artifact that can be loaded: %s", path, wrong);
	ts_file_unmap(&f);
	return found;
}

/* The file that this process runs, by what the kernel or the caller calls it: place 0 is sure where /proc is mounted, the others are what
 * execve and argv[0] said. NULL when there is no such name. */
static const char *own_file(TsCtx *cx, int place)
{
	char self[PATH_MAX];
	const char *name = place == 1 ? (const char *)(uintptr_t)getauxval(AT_EXECFN) : program_invocation_name;
	if (place == 0) {
		ssize_t n = readlink("/proc/self/exe", self, sizeof self);
		return n > 0 && n < (ssize_t)sizeof self ? ts_intern_n(cx, self, (size_t)n) : NULL;
	}
	if (name && !strchr(name, '/')) name = place == 2 ? ts_find_in_path(cx, name) : NULL;
	return name && *name && realpath(name, self) ? ts_intern(cx, self) : NULL; /* links may lead into an installation */
}

/* tsc-load beside tsc, or where an installation has it. */
static const char *find_helper(TsCtx *cx)
{
	static const char *const places[] = { "tsc-load", "../lib/tessera/tsc-load" };
	const char *first = "tsc-load";
	for (int place = 0; place < 3; place++) {
		const char *self = own_file(cx, place);
		for (size_t i = 0; self && i < 2; i++) {
			const char *path = ts_path_beside(ts_arena(cx), self, places[i]);
			if (!access(path, X_OK)) return path;
			if (!i) first = path;
		}
	}
	ts_env_error(cx, "E_TOOL", "cannot find the helper '%s', which loads shared objects", first);
	return NULL;
}

/* symbol NULL: there is one argument, the path. */
static int start(TsLoader *l, const char *helper, const char *symbol, int in, int out)
{
	static const char musl[] = "/lib/ld-musl-x86_64.so.1";
	char *argv[] = { (char *)(uintptr_t)musl, (char *)(uintptr_t)helper, (char *)(uintptr_t)l->path, (char *)(uintptr_t)symbol, NULL };
	posix_spawn_file_actions_t fa;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in, 0);
	posix_spawn_file_actions_adddup2(&fa, out, 1);
	posix_spawnattr_t at;
	sigset_t none; /* signals that this process waits for end the helper */
	sigemptyset(&none);
	posix_spawnattr_init(&at);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK);
	int err = posix_spawn(&l->pid, helper, &fa, &at, argv + 1, environ);
	if (err == ENOENT) err = posix_spawn(&l->pid, musl, &fa, &at, argv, environ); /* a system without glibc */
	posix_spawnattr_destroy(&at);
	posix_spawn_file_actions_destroy(&fa);
	return err;
}

/* The helper with two pipes. False after reporting. */
static bool connect(TsLoader *l, const char *symbol)
{
	int down[2], up[2];
	TsCtx *cx = l->cx;
	const char *helper = find_helper(cx);
	if (!helper) return false;
	if (pipe2(down, O_CLOEXEC)) return ts_env_error(cx, "E_FILE", "cannot make a pipe: %s", strerror(errno)), false;
	if (pipe2(up, O_CLOEXEC)) {
		ts_env_error(cx, "E_FILE", "cannot make a pipe: %s", strerror(errno));
		close(down[0]);
		close(down[1]);
		return false;
	}
	signal(SIGPIPE, SIG_IGN); /* a helper that died is told by what it leaves unanswered */
	int err = start(l, helper, symbol, down[0], up[1]);
	close(down[0]);
	close(up[1]);
	l->to = down[1];
	l->from = up[0];
	if (err) {
		l->pid = 0;
		if (err == ENOENT) no_libc(cx, helper);
		else ts_env_error(cx, "E_TOOL", "cannot start '%s': %s", helper, strerror(err));
		ts_loader_close(l);
		return false;
	}
	return true;
}

bool ts_loader_open(TsCtx *cx, const char *path, const char *shown, TsLoader *l)
{
	*l = (TsLoader){ .cx = cx, .path = strchr(path, '/') ? path : ts_printf(ts_arena(cx), "./%s", path), .to = -1, .from = -1 };
	const char *symbol = find_descriptor(cx, path);
	if (!symbol || !connect(l, symbol)) return false;
	l->path = shown;
	if (get_description(l)) return true;
	ts_loader_close(l);
	return false;
}

bool ts_loader_gpus(TsCtx *cx, TsFoundGpu **gpus, uint32_t *n, TsSym *why)
{
	TsLoader l = { .cx = cx, .path = "--detect", .to = -1, .from = -1 };
	*n = 0;
	*why = "";
	if (!connect(&l, NULL)) return false;
	if (get(&l) != TS_LOAD_MAGIC) nonsense(&l);
	else if (get(&l)) *why = get_text(&l);
	else if (get_count(&l, TS_LOAD_MAX_TENSORS, n)) {
		*gpus = TS_NEW_N(ts_arena(cx), TsFoundGpu, *n + 1);
		for (uint32_t i = 0; i < *n && l.pid; i++) {
			(*gpus)[i].name = get_text(&l);
			(*gpus)[i].sm = (int)get(&l);
		}
	}
	bool ok = !ts_error_count(cx);
	ts_loader_close(&l);
	return ok;
}

void ts_loader_close(TsLoader *l)
{
	if (l->to >= 0) close(l->to);
	if (l->from >= 0) close(l->from);
	if (l->pid > 0) waitpid(l->pid, NULL, 0);
	l->to = l->from = -1;
	l->pid = 0;
}

int ts_loader_graph(TsLoader *l, const char *name)
{
	TsSym *names = TS_NEW_N(ts_arena(l->cx), TsSym, l->n_graphs);
	for (uint32_t i = 0; i < l->n_graphs; i++) {
		names[i] = l->graph[i].name;
		if (!name || !strcmp(names[i], name)) return (int)i;
	}
	ts_error(l->cx, (TsSpan){ 0 }, "E_NO_GRAPH", "'%s' has no graph '%s'", l->path, name);
	ts_hint_names(l->cx, name, names, l->n_graphs);
	return -1;
}

/* ---- requests ---- */

static void put_head(TsLoader *l, int64_t kind, const TsLoadRequest *r)
{
	put(l, kind);
	put(l, r->graph);
	put(l, r->runs);
	put(l, r->threads);
	put(l, r->cpu);
	put(l, r->device);
	put(l, r->device_id);
	put(l, r->weights ? (int64_t)strlen(r->weights) : 0);
	if (r->weights) put_bytes(l, r->weights, strlen(r->weights));
}

static bool get_facts(TsLoader *l, TsLoadReply *out)
{
	*out = (TsLoadReply){ 0 };
	if (!get_status(l)) return false;
	out->workspace = get(l);
	out->threads = get(l);
	out->cpu = get(l);
	out->external = get(l);
	out->device = get_text(l);
	out->note = get_text(l);
	if (!get_count(l, TS_LOAD_MAX_LINES, &out->n_lines)) return false;
	out->lines = TS_NEW_N(ts_arena(l->cx), const char *, out->n_lines + 1);
	for (uint32_t i = 0; i < out->n_lines && l->pid; i++) out->lines[i] = get_text(l);
	return l->pid != 0;
}

static bool get_output(TsLoader *l, const TsLoadedTensor *info, TsTensor *t)
{
	int64_t dim[TS_MAX_RANK];
	uint32_t rank;
	if (!get_count(l, TS_MAX_RANK, &rank) || !get_bytes(l, dim, sizeof *dim * rank)) return false;
	if (!ts_tensor_new(l->cx, info->name, info->elem, (int)rank, dim, t)) return false;
	if (get(l) != t->bytes) return nonsense(l);
	return get_bytes(l, t->data, (size_t)t->bytes);
}

bool ts_loader_run(TsLoader *l, const TsLoadRequest *r, TsLoadReply *out)
{
	const TsLoadedGraph *g = &l->graph[r->graph];
	TsArena *a = ts_arena(l->cx);
	put_head(l, TS_LOAD_RUN, r);
	for (uint32_t i = 0; i < g->n_in; i++) {
		const TsTensor *t = &r->in[i];
		put_dtype(l, t);
		put(l, t->rank);
		put_bytes(l, t->dim, sizeof *t->dim * t->rank);
		put(l, t->bytes);
		put_bytes(l, t->data, (size_t)t->bytes);
	}
	for (uint32_t i = 0; i < g->n_out; i++) put(l, r->wanted[i]);
	if (!get_facts(l, out)) return false;
	out->took = TS_NEW_N(a, int64_t, (size_t)r->runs);
	out->out = TS_NEW_N(a, TsTensor, g->n_out + 1);
	if (!get_bytes(l, out->took, sizeof *out->took * (size_t)r->runs)) return false;
	for (uint32_t i = 0; i < g->n_out; i++)
		if (r->wanted[i] && !get_output(l, &g->tensor[g->n_in + i], &out->out[i])) return false;
	return true;
}

bool ts_loader_explain(TsLoader *l, const TsLoadRequest *r, TsLoadReply *out)
{
	put_head(l, TS_LOAD_EXPLAIN, r);
	put_bytes(l, r->dims, sizeof *r->dims * l->n_dims);
	return get_facts(l, out);
}
