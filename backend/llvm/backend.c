/* Modules, passes, machine code; children, pipes, groups. */
#include "backend/llvm/lower.h"
#include "support/file.h"
#include <errno.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/ErrorHandling.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- targets ---- */
const TsTarget *ts_target_at(uint32_t i)
{
	static const TsTarget target[] = {
#define TS_TARGET(name, kind, triple, cpu, features, bytes, mask, fma, f16c) { name, kind, triple, cpu, features, bytes, mask, fma, f16c },
#include "backend/llvm/targets.def"
	};
	return i < sizeof target / sizeof *target ? &target[i] : NULL;
}

const TsTarget *ts_target_find(const char *name)
{
	for (uint32_t i = 0; ts_target_at(i); i++)
		if (!strcmp(ts_target_at(i)->name, name)) return ts_target_at(i);
	return NULL;
}

/* ---- in the child: one module ---- */
typedef struct {
	Lower w;
	const TsBackendOptions *o;
	LLVMTargetMachineRef machine;
	TsBuf *out;
	char why[512];
	TsSpan at;
	bool bug;          /* LLVM's fault, not the text's */
} Job;

static bool failed(Job *j, bool bug, TsSpan at, const char *why)
{
	snprintf(j->why, sizeof j->why, "%s", why ? why : "");
	j->bug = bug;
	j->at = at;
	return false;
}

static void init_target(TsTargetKind kind)
{
#define INIT(T) (LLVMInitialize##T##TargetInfo(), LLVMInitialize##T##Target(), LLVMInitialize##T##TargetMC(), LLVMInitialize##T##AsmPrinter())
	switch (kind) {
	case TS_TK_CPU: INIT(X86); break;
	case TS_TK_NVPTX: {
		/* what hides behind a copy or a matrix instruction stands before its wait in the text, and has to stay there */
		static const char *const stay[] = { "tsc", "-instcombine-code-sinking=0", "-disable-machine-sink" };
		INIT(NVPTX);
		LLVMParseCommandLineOptions(3, stay, NULL);
		break;
	}
	case TS_TK_AMDGPU: INIT(AMDGPU); break;
	}
#undef INIT
}

static bool start(Job *j, TsCtx *cx, const TsTarget *t)
{
	char *why = NULL;
	LLVMTargetRef target;
	init_target(t->kind);
	if (LLVMGetTargetFromTriple(t->triple, &target, &why)) return failed(j, true, (TsSpan){ 0 }, why);
	LLVMCodeGenOptLevel level = j->o->opt_level == 0 ? LLVMCodeGenLevelNone : j->o->opt_level == 1 ? LLVMCodeGenLevelLess : LLVMCodeGenLevelDefault;
	j->machine = LLVMCreateTargetMachine(target, t->triple, t->cpu, t->features, level, LLVMRelocPIC, LLVMCodeModelDefault);
	if (!j->machine) return failed(j, true, (TsSpan){ 0 }, "no such machine");
	Lower *w = &j->w;
	w->cx = cx;
	w->arena = ts_arena(cx);
	w->target = t;
	w->lc = LLVMContextCreate();
	w->mod = LLVMModuleCreateWithNameInContext("tessera", w->lc);
	w->b = LLVMCreateBuilderInContext(w->lc);
	LLVMSetTarget(w->mod, t->triple);
	LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(j->machine);
	LLVMSetModuleDataLayout(w->mod, layout);
	LLVMDisposeTargetData(layout);
	w->gpu = t->kind != TS_TK_CPU;
	w->math = (TsMath){ .cx = w->lc, .mod = w->mod, .b = w->b, .fma = t->fma, .nvptx = t->kind == TS_TK_NVPTX };
	w->i1 = LLVMInt1TypeInContext(w->lc);
	w->i8 = LLVMInt8TypeInContext(w->lc);
	w->i16 = LLVMInt16TypeInContext(w->lc);
	w->i32 = LLVMInt32TypeInContext(w->lc);
	w->i64 = LLVMInt64TypeInContext(w->lc);
	w->f32 = LLVMFloatTypeInContext(w->lc);
	w->f64 = LLVMDoubleTypeInContext(w->lc);
	w->ptr = LLVMPointerTypeInContext(w->lc, w->gpu ? 1 : 0);
	w->shared_ptr = LLVMPointerTypeInContext(w->lc, 3);
	w->none = LLVMVoidTypeInContext(w->lc);
	return true;
}

static bool lower_all(Job *j, const TsUnit *units, uint32_t n)
{
	jmp_buf fail;
	j->w.fail = &fail;
	if (setjmp(fail)) return failed(j, false, j->w.fail_at, j->w.why);
	for (uint32_t i = 0; i < n; i++) (j->w.gpu ? lg_kernel : lw_kernel)(&j->w, units[i].kernel, units[i].symbol);
	return true;
}

/* The code comes unrolled and vectorised out of the text, so that a few cheap passes are all it needs. */
static const char *passes_of(int level)
{
	switch (level) {
	case 0: return "function(early-cse)";
	case 1: return "function(early-cse,instcombine<no-verify-fixpoint>,simplifycfg)";
	case 2: return "function(early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm),early-cse)";
	default: return "function(early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm),gvn,instcombine<no-verify-fixpoint>,simplifycfg)";
	}
}

static bool optimise(Job *j)
{
	char *why = NULL;
	if (LLVMVerifyModule(j->w.mod, LLVMReturnStatusAction, &why)) return failed(j, true, (TsSpan){ 0 }, why);
	LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
	LLVMErrorRef e = LLVMRunPasses(j->w.mod, passes_of(j->o->opt_level), j->machine, options);
	LLVMDisposePassBuilderOptions(options);
	return e ? failed(j, true, (TsSpan){ 0 }, LLVMGetErrorMessage(e)) : true;
}

static bool emit(Job *j)
{
	char *why = NULL;
	if (j->o->form == TS_FORM_LLVM_IR) {
		char *text = LLVMPrintModuleToString(j->w.mod);
		ts_buf_str(j->out, text);
		return true;
	}
	LLVMMemoryBufferRef code;
	LLVMCodeGenFileType type = j->o->form == TS_FORM_ASM || j->w.target->kind == TS_TK_NVPTX ? LLVMAssemblyFile : LLVMObjectFile;
	if (LLVMTargetMachineEmitToMemoryBuffer(j->machine, j->w.mod, type, &why, &code)) return failed(j, true, (TsSpan){ 0 }, why);
	ts_buf_add(j->out, LLVMGetBufferStart(code), LLVMGetBufferSize(code));
	return true;
}

/* ---- children ---- */
/* What a child makes: fill(user, job) emits IR into job->w.mod. */
typedef bool Fill(Job *j, const void *user);
typedef struct { uint8_t ok, bug; TsSpan at; } Answer; /* then the code, or the reason */
typedef struct { pid_t pid; int fd; TsBuf got; } Child;

static bool write_all(int fd, const void *p, size_t n)
{
	for (const char *s = p; n;) {
		ssize_t k = write(fd, s, n);
		if (k < 0 && errno == EINTR) continue;
		if (k <= 0) return false;
		s += k;
		n -= (size_t)k;
	}
	return true;
}

/* where a child writes its answer: a fixed number, so that LLVM's error handler, which has no argument of its own, finds it */
enum { ANSWER_FD = 197, CPU_SECONDS = 100 };
static const rlim_t memory_limit = (rlim_t)8 << 30; /* beyond what the parent had */

_Noreturn static void answer(bool ok, bool bug, TsSpan at, const void *p, size_t n)
{
	Answer a = { ok, bug, at };
	_exit(write_all(ANSWER_FD, &a, sizeof a) && write_all(ANSWER_FD, p, n) ? 0 : 3);
}

static void llvm_failed(const char *why) { answer(false, true, (TsSpan){ 0 }, why, strlen(why)); }

typedef struct { TsCtx *cx; const TsTarget *target; const TsBackendOptions *o; Fill *fill; const void *user; } Work;

static void child_work(void *user)
{
	const Work *k = user;
	TsBuf out = { 0 };
	Job *j = TS_NEW(ts_arena(k->cx), Job);
	j->o = k->o;
	j->out = &out;
	LLVMInstallFatalErrorHandler(llvm_failed);
	if (start(j, k->cx, k->target) && k->fill(j, k->user) && optimise(j) && emit(j)) answer(true, false, j->at, out.p, out.n);
	answer(false, j->bug, j->at, j->why, strlen(j->why));
}

/* Bytes of address space in use: a program that drives a GPU has reserved far more of it than there is memory. */
static rlim_t in_use(void)
{
	unsigned long long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (f && fscanf(f, "%llu", &pages) != 1) pages = 0;
	if (f) fclose(f);
	return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* Under a guard of its own: the parent's would send the child back into the driver. */
_Noreturn static void child_main(Work *k, int fd)
{
	TsBuf why = { 0 };
	rlim_t most = in_use() + memory_limit;
	struct rlimit cpu = { CPU_SECONDS, CPU_SECONDS + 1 }, memory = { most, most };
	if (dup2(fd, ANSWER_FD) < 0) _exit(3);
	close(fd);
	signal(SIGPIPE, SIG_IGN);
	setrlimit(RLIMIT_CPU, &cpu);
#ifndef __SANITIZE_ADDRESS__ /* which reserves terabytes */
	setrlimit(RLIMIT_AS, &memory);
#else
	(void)memory;
#endif
	ts_diag_reset(k->cx);
	ts_guard(k->cx, child_work, k);
	ts_diag_text(k->cx, &why);
	answer(false, true, (TsSpan){ 0 }, why.p, why.n);
}

static bool child_start(TsCtx *cx, const TsTarget *t, const TsBackendOptions *o, Fill *fill, const void *user, Child *c)
{
	int ends[2];
	if (pipe(ends)) return ts_env_error(cx, "E_PROCESS", "no pipe for code generation: %s", strerror(errno)), false;
	fflush(NULL);
	c->pid = fork();
	if (c->pid < 0) {
		close(ends[0]);
		close(ends[1]);
		return ts_env_error(cx, "E_PROCESS", "no process for code generation: %s", strerror(errno)), false;
	}
	if (!c->pid) {
		close(ends[0]);
		child_main(&(Work){ cx, t, o, fill, user }, ends[1]);
	}
	close(ends[1]);
	c->fd = ends[0];
	return true;
}

/* Takes what has come; false at the end. */
static bool child_read(Child *c)
{
	char some[65536];
	ssize_t n = read(c->fd, some, sizeof some);
	if (n < 0 && errno == EINTR) return true;
	if (n > 0) ts_buf_add(&c->got, some, (size_t)n);
	return n > 0;
}

static int child_end(Child *c)
{
	int status = 0;
	close(c->fd);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {}
	return status;
}

typedef struct { TsCtx *cx; const TsUnit *units; uint32_t n; const TsBackendOptions *o; } Group;

static bool fill_group(Job *j, const void *user)
{
	const Group *g = user;
	return lower_all(j, g->units, g->n);
}

/* The kernels as text, written aside; its path, or NULL. */
static const char *reproducer(const Group *g)
{
	if (!g->o->print || !g->n) return NULL;
	TsBuf text = { 0 };
	ts_buf_str(&text, "tile 1\n");
	for (uint32_t i = 0; i < g->n; i++) g->o->print(g->cx, g->units[i].kernel, &text);
	const char *path = ts_printf(ts_arena(g->cx), "%s/%s.crash.tile", g->o->crash_dir ? g->o->crash_dir : ".", g->units[0].symbol);
	bool ok = ts_write_file(g->cx, path, text.p, text.n);
	ts_buf_free(&text);
	return ok ? path : NULL;
}

_Noreturn static void report_bug(const Group *g, const TsTarget *t, const char *how)
{
	const char *path = reproducer(g);
	ts_bug(g->cx, g->n ? g->units[0].kernel->at : (TsSpan){ 0 }, "code generation for %s %s (kernels from '%s' on)%s%s", t->name, how,
		g->n ? g->units[0].symbol : "", path ? "; reproducer: " : "", path ? path : "");
}

/* Turns what a finished child sent into out; does not return when it died. */
static bool child_result(const Group *g, const TsTarget *t, Child *c, int status, TsBuf *out)
{
	Answer a = { 0 };
	if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL)) {
		ts_error(g->cx, g->n ? g->units[0].kernel->at : (TsSpan){ 0 }, "E_TILE_SIZE", "code generation for %s takes too long or too much memory; make tiles or unrolled loops smaller", t->name);
		return false;
	}
	if (WIFSIGNALED(status)) report_bug(g, t, ts_printf(ts_arena(g->cx), "died of signal %d", WTERMSIG(status)));
	if (c->got.n < sizeof a || WEXITSTATUS(status)) {
		if (WIFEXITED(status) && WEXITSTATUS(status) == 3) return ts_env_error(g->cx, "E_PROCESS", "code generation ran out of memory"), false;
		report_bug(g, t, "ended early");
	}
	memcpy(&a, c->got.p, sizeof a);
	const char *rest = c->got.p + sizeof a;
	if (a.ok) return ts_buf_add(out, rest, c->got.n - sizeof a), true;
	if (a.bug) report_bug(g, t, ts_printf(ts_arena(g->cx), "failed: %s", rest));
	ts_error(g->cx, a.at, "E_TILE_LOWER", "%s", rest);
	return false;
}

static int core_count(void)
{
	cpu_set_t set;
	return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

/* All groups through at most `jobs` children at a time; results in order of the groups. */
static bool run_groups(TsCtx *cx, const Group *groups, uint32_t n, int jobs, TsBuf *out)
{
	Child *child = TS_NEW_N(ts_arena(cx), Child, n);
	struct pollfd *poll_fd = TS_NEW_N(ts_arena(cx), struct pollfd, (size_t)jobs);
	uint32_t *slot = TS_NEW_N(ts_arena(cx), uint32_t, (size_t)jobs);
	int *status = TS_NEW_N(ts_arena(cx), int, n), live = 0;
	uint32_t next = 0, done = 0, of = 0;
	bool ok = true;
	for (uint32_t i = 0; i < n; i++) of += groups[i].n;
	while (next < n || live) {
		while (ok && next < n && live < jobs) {
			if (!child_start(cx, groups[next].units[0].target, groups[next].o, fill_group, &groups[next], &child[next])) { ok = false; break; }
			slot[live] = next;
			poll_fd[live++] = (struct pollfd){ .fd = child[next++].fd, .events = POLLIN };
		}
		if (!live) break;
		if (poll(poll_fd, (nfds_t)live, -1) < 0 && errno != EINTR) break;
		for (int i = 0; i < live; i++) {
			if (!poll_fd[i].revents || child_read(&child[slot[i]])) continue;
			status[slot[i]] = child_end(&child[slot[i]]);
			const Group *g = &groups[slot[i]];
			done += g->n;
			if (g->o->progress) g->o->progress(g->o->user, done, of);
			live--;
			slot[i] = slot[live];
			poll_fd[i--] = poll_fd[live];
		}
	}
	uint32_t started = next;
	for (uint32_t i = 0; i < started; i++)
		if (!child_result(&groups[i], groups[i].units[0].target, &child[i], status[i], &out[i])) ok = false;
	for (uint32_t i = 0; i < started; i++) ts_buf_free(&child[i].got);
	return ok && started == n;
}

/* ---- groups ---- */
static uint64_t weight_of(const TsTree *t)
{
	uint64_t n = 1;
	for (uint32_t i = 0; t && i < t->n; i++) n += t->kid[i] ? weight_of(t->kid[i]) : 0;
	return n;
}

bool ts_backend_compile(TsCtx *cx, const TsUnit *units, uint32_t n, const TsBackendOptions *o, TsBuf *out)
{
	if (!n) return true;
	return run_groups(cx, &(Group){ cx, units, n, o }, 1, 1, out);
}

/* A group ends where the target changes or enough text is in it: a child costs a few milliseconds, a long one leaves a core idle. */
bool ts_backend_compile_all(TsCtx *cx, const TsUnit *units, uint32_t n, const TsBackendOptions *o, TsBuf **objects, uint32_t *count, uint32_t **first)
{
	enum { ENOUGH = 4000 };
	TS_VEC(Group) groups = { 0 };
	uint64_t weight = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t own = weight_of(units[i].kernel);
		Group *last = groups.n ? &groups.p[groups.n - 1] : NULL;
		if (last && last->units[0].target == units[i].target && weight + own <= ENOUGH) {
			last->n++;
			weight += own;
			continue;
		}
		ts_push(ts_arena(cx), &groups, (Group){ cx, &units[i], 1, o });
		weight = own;
	}
	*count = groups.n;
	*objects = TS_NEW_N(ts_arena(cx), TsBuf, groups.n + 1);
	if (first) *first = TS_NEW_N(ts_arena(cx), uint32_t, groups.n + 1);
	for (uint32_t i = 0; first && i < groups.n; i++) (*first)[i] = (uint32_t)(groups.p[i].units - units);
	return !groups.n || run_groups(cx, groups.p, groups.n, o->jobs > 0 ? o->jobs : core_count(), *objects);
}

/* ---- the table of kernels ---- */
typedef struct { const char *name; const char *const *symbols; uint32_t n; } Table;

static bool fill_table(Job *j, const void *user)
{
	const Table *t = user;
	Lower *w = &j->w;
	LLVMValueRef *entry = TS_NEW_N(w->arena, LLVMValueRef, t->n + 1);
	LLVMTypeRef fn = LLVMFunctionType(w->none, NULL, 0, 0);
	for (uint32_t i = 0; i < t->n; i++) {
		entry[i] = LLVMGetNamedFunction(w->mod, t->symbols[i]);
		if (!entry[i]) entry[i] = LLVMAddFunction(w->mod, t->symbols[i], fn);
		LLVMSetVisibility(entry[i], LLVMHiddenVisibility);
	}
	LLVMValueRef table = LLVMAddGlobal(w->mod, LLVMArrayType2(w->ptr, t->n), t->name);
	LLVMSetInitializer(table, LLVMConstArray2(w->ptr, entry, t->n));
	LLVMSetGlobalConstant(table, 1);
	LLVMSetVisibility(table, LLVMHiddenVisibility);
	return true;
}

bool ts_backend_table(TsCtx *cx, const char *name, const char *const *symbols, uint32_t n, TsBuf *out)
{
	static const TsBackendOptions plain;
	Table table = { name, symbols, n };
	Child c = { 0 };
	const TsTarget *t = ts_target_at(0);
	if (!child_start(cx, t, &plain, fill_table, &table, &c)) return false;
	while (child_read(&c)) {}
	int status = child_end(&c);
	bool ok = child_result(&(Group){ cx, NULL, 0, &plain }, t, &c, status, out);
	ts_buf_free(&c.got);
	return ok;
}
