/* For the tests of the vector math: functions that loop over arrays, made by a callback through the builders of math.h, compiled for each
 * level of x86-64 that this CPU runs, linked and loaded. Prints the tests' lines; `failed` is the exit status. */
#pragma once
#include "backend/llvm/math.h"
#include "emit/lld_shim.h"
#include <dlfcn.h>
#include <elf.h>
#include <float.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failed;

/* What the words of one element are, in f64. */
static inline double ref_rsqrt(double x) { return 1 / sqrt(x); }
static inline double ref_sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
static inline double ref_silu(double x) { return x * ref_sigmoid(x); }
static inline double ref_gelu(double x) { return x * 0.5 * erfc(-x * 0.70710678118654752440); }
static inline double ref_gelu_tanh(double x)
{
	if (fabs(x) > 1e3)
		return x == -INFINITY ? NAN : x < 0 ? -0.0 : x;
	return x * ref_sigmoid(2 * 0.7978845608028654 * (x + 0.044715 * x * x * x));
}


static void check(const char *name, bool ok, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void check(const char *name, bool ok, const char *fmt, ...)
{
	char why[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	if (ok)
		printf("ok %s\n", name);
	else
		printf("FAIL %s: %s\n", name, why), failed = 1;
	fflush(stdout);
}

/* ---- one .so for each level of x86-64 ---------------------------------------------------------------------------------------- */

enum { V2, V3, V4, LEVELS };
static const struct { const char *cpu; int bytes; bool fma; } level[] = { { "x86-64-v2", 16, false }, { "x86-64-v3", 32, true },
	{ "x86-64-v4", 64, true } };
static void *so[LEVELS];
static char dir[] = "/tmp/tessera-math-XXXXXX";

typedef struct { LLVMContextRef cx; LLVMModuleRef mod; LLVMBuilderRef b; TsMath m; LLVMTypeRef ptr, i64; } Gen;
typedef void (*GenFn)(Gen *g, int bytes);
typedef void (*BodyFn)(Gen *g, LLVMValueRef const *in, LLVMValueRef *out, const void *arg);

static LLVMTypeRef vec(LLVMTypeRef t, int lanes)
{
	return lanes > 1 ? LLVMVectorType(t, (unsigned)lanes) : t;
}

/* void name(const in *x0, …, out *y0, …, int64_t n): a loop of whole vectors over n elements */
static void gen_loop(Gen *g, const char *name, LLVMTypeRef in, int nin, LLVMTypeRef out, int nout, int lanes, BodyFn body, const void *arg)
{
	LLVMTypeRef params[16], fnty;
	LLVMValueRef fn, i, next, v[16], r[16], zero = LLVMConstInt(g->i64, 0, false);
	LLVMBasicBlockRef entry, loop, done;
	int np = nin + nout;

	for (int k = 0; k < np; k++)
		params[k] = g->ptr;
	params[np] = g->i64;
	fnty = LLVMFunctionType(LLVMVoidTypeInContext(g->cx), params, (unsigned)np + 1, false);
	fn = LLVMAddFunction(g->mod, name, fnty);
	entry = LLVMAppendBasicBlockInContext(g->cx, fn, "");
	loop = LLVMAppendBasicBlockInContext(g->cx, fn, "");
	done = LLVMAppendBasicBlockInContext(g->cx, fn, "");
	LLVMPositionBuilderAtEnd(g->b, entry);
	LLVMBuildBr(g->b, loop);
	LLVMPositionBuilderAtEnd(g->b, loop);
	i = LLVMBuildPhi(g->b, g->i64, "");
	for (int k = 0; k < nin; k++) {
		v[k] = LLVMBuildLoad2(g->b, vec(in, lanes), LLVMBuildGEP2(g->b, in, LLVMGetParam(fn, (unsigned)k), &i, 1, ""), "");
		LLVMSetAlignment(v[k], 1);
	}
	body(g, v, r, arg);
	for (int k = 0; k < nout; k++)
		LLVMSetAlignment(LLVMBuildStore(g->b, r[k], LLVMBuildGEP2(g->b, out, LLVMGetParam(fn, (unsigned)(nin + k)), &i, 1, "")), 1);
	next = LLVMBuildAdd(g->b, i, LLVMConstInt(g->i64, (unsigned)lanes, false), "");
	LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, next, LLVMGetParam(fn, (unsigned)np), ""), loop, done);
	LLVMAddIncoming(i, (LLVMValueRef[]){ zero, next }, (LLVMBasicBlockRef[]){ entry, loop }, 2);
	LLVMPositionBuilderAtEnd(g->b, done);
	LLVMBuildRetVoid(g->b);
}

/* ---- compile, link, load ----------------------------------------------------------------------------------------------------- */

/* the first undefined symbol of an object, or NULL */
static const char *undefined_symbol(const char *obj)
{
	const Elf64_Ehdr *h = (const Elf64_Ehdr *)obj;
	const Elf64_Shdr *s = (const Elf64_Shdr *)(obj + h->e_shoff);

	for (int i = 0; i < h->e_shnum; i++) {
		const Elf64_Sym *sym = (const Elf64_Sym *)(obj + s[i].sh_offset);

		if (s[i].sh_type != SHT_SYMTAB)
			continue;
		for (size_t k = 1; k < s[i].sh_size / sizeof *sym; k++)
			if (sym[k].st_shndx == SHN_UNDEF)
				return obj + s[s[i].sh_link].sh_offset + sym[k].st_name;
	}
	return NULL;
}

static bool write_object(int lv, const char *path, GenFn gen)
{
	char *err = NULL, label[64];
	const char *undef;
	Gen g = { .cx = LLVMContextCreate() };
	LLVMTargetRef target;
	LLVMTargetMachineRef tm;
	LLVMTargetDataRef layout;
	LLVMPassBuilderOptionsRef o = LLVMCreatePassBuilderOptions();
	LLVMMemoryBufferRef buf;
	LLVMErrorRef bad;
	FILE *f;
	bool ok;

	g.mod = LLVMModuleCreateWithNameInContext("math", g.cx);
	g.b = LLVMCreateBuilderInContext(g.cx);
	g.m = (TsMath){ .cx = g.cx, .mod = g.mod, .b = g.b, .fma = level[lv].fma };
	g.ptr = LLVMPointerTypeInContext(g.cx, 0);
	g.i64 = LLVMInt64TypeInContext(g.cx);
	gen(&g, level[lv].bytes);
	snprintf(label, sizeof label, "%s-verifies", level[lv].cpu);
	ok = !LLVMVerifyModule(g.mod, LLVMReturnStatusAction, &err);
	check(label, ok, "%s", err);
	LLVMDisposeMessage(err);
	if (!ok || LLVMGetTargetFromTriple("x86_64-unknown-linux-gnu", &target, &err))
		return false;
	LLVMSetTarget(g.mod, "x86_64-unknown-linux-gnu");
	tm = LLVMCreateTargetMachine(target, "x86_64-unknown-linux-gnu", level[lv].cpu, lv == V4 ? "-prefer-256-bit" : "",
		LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelDefault);
	layout = LLVMCreateTargetDataLayout(tm);
	LLVMSetModuleDataLayout(g.mod, layout);
	LLVMDisposeTargetData(layout);
	bad = LLVMRunPasses(g.mod, "default<O2>", tm, o);
	if (bad || LLVMTargetMachineEmitToMemoryBuffer(tm, g.mod, LLVMObjectFile, &err, &buf))
		return false;
	undef = undefined_symbol(LLVMGetBufferStart(buf));
	snprintf(label, sizeof label, "%s-calls-nothing", level[lv].cpu);
	check(label, !undef, "undefined symbol %s", undef);
	f = fopen(path, "wb");
	ok = f && fwrite(LLVMGetBufferStart(buf), 1, LLVMGetBufferSize(buf), f) == LLVMGetBufferSize(buf) && !fclose(f);
	LLVMDisposeMemoryBuffer(buf);
	LLVMDisposePassBuilderOptions(o);
	LLVMDisposeTargetMachine(tm);
	LLVMDisposeBuilder(g.b);
	LLVMDisposeModule(g.mod);
	LLVMContextDispose(g.cx);
	return ok;
}

static void load_level(int lv, GenFn gen)
{
	char obj[64], lib[64], err[512] = "";

	snprintf(obj, sizeof obj, "%s/%s.o", dir, level[lv].cpu);
	snprintf(lib, sizeof lib, "%s/%s.so", dir, level[lv].cpu);
	if (write_object(lv, obj, gen)) {
		const char *argv[] = { "ld.lld", "-shared", "-z", "noexecstack", "--build-id=none", "-o", lib, obj };

		if (ts_lld_link(sizeof argv / sizeof *argv, argv, err, sizeof err) == 0)
			so[lv] = dlopen(lib, RTLD_NOW | RTLD_LOCAL);
	}
	check(level[lv].cpu, so[lv] != NULL, "does not build: %s", err);
	unlink(obj);
	unlink(lib);
}

static void *find(int lv, const char *word, const char *type)
{
	char name[64];

	snprintf(name, sizeof name, "%s%s", word, type);
	return so[lv] ? dlsym(so[lv], name) : NULL;
}

/* all levels this CPU runs; false if not even the lowest loads */
static bool load_levels(GenFn gen)
{
	LLVMInitializeX86TargetInfo();
	LLVMInitializeX86Target();
	LLVMInitializeX86TargetMC();
	LLVMInitializeX86AsmPrinter();
	if (!mkdtemp(dir))
		return false;
	load_level(V2, gen);
	if (__builtin_cpu_supports("x86-64-v3"))
		load_level(V3, gen);
	if (__builtin_cpu_supports("x86-64-v4"))
		load_level(V4, gen);
	rmdir(dir);
	return so[V2] != NULL;
}

typedef void (*Fn1)(const void *x, void *y, int64_t n);
enum { CHUNK = 1 << 14 };
