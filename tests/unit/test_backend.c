/* The backend's children: what happens when LLVM gives up, when a kernel cannot be lowered, and what the objects define. */
#include "frontend/graph_text/print.h"
#include "tests/unit/check.h"
#include "tests/unit/kernel_so.h"

static const char text[] = "tile 1\nkernel add_one(X: f32[N], N: idx) {\n  layout V[n] = v8:1n\n  x: f32[8] @V = load(X[0:8], valid = N)\n"
	"  y: f32[8] @V = add(x, 1.0)\n  store(X[0:8], y, valid = N)\n} { target = \"cpu\" }\n";

static void print(TsCtx *cx, const TsTree *tree, TsBuf *to)
{
	(void)cx;
	ts_print_tree(tree, to, false);
}

typedef struct { TsCtx *cx; const TsTree *kernel; const TsTarget *target; TsBackendOptions o; TsBuf out; bool ok; } Attempt;

static void attempt(void *user)
{
	Attempt *a = user;
	a->ok = ts_backend_compile(a->cx, &(TsUnit){ a->kernel, "k", a->target }, 1, &a->o, &a->out);
}

static const TsTree *parsed(TsCtx *cx, const char *source)
{
	TsTree *file = ts_parse(cx, ts_source_add(cx, "test.tile", source, strlen(source)));
	return file && ts_tile_verify(cx, file) ? file->kid[0] : NULL;
}

/* A 64-bit triple without 64 bits: LLVM ends itself. The user gets exit code 4 and a text that shows it. */
static void test_crash(void)
{
	char dir[] = "/tmp/tessera-test-XXXXXX", path[64];
	TsTarget broken = *ts_target_at(0);
	broken.features = "-64bit";
	if (!mkdtemp(dir)) abort();
	Attempt a = { .cx = ts_ctx_new(), .target = &broken, .o = { .opt_level = 1, .print = print, .crash_dir = dir } };
	a.kernel = parsed(a.cx, text);
	bool ended = ts_guard(a.cx, attempt, &a);
	check("backend-crash-is-a-bug", !ended && ts_exit_code(a.cx) == 4, "ended %d, exit code %d", ended, ts_exit_code(a.cx));
	snprintf(path, sizeof path, "%s/k.crash.tile", dir);
	FILE *f = fopen(path, "r");
	char again[2048] = "";
	if (f) {
		again[fread(again, 1, sizeof again - 1, f)] = 0;
		fclose(f);
	}
	TsCtx *other = ts_ctx_new();
	const TsTree *k = parsed(other, again);
	TsBuf texts[2] = { { 0 } };
	if (k) ts_print_tree(k, &texts[0], false);
	ts_print_tree(a.kernel, &texts[1], false);
	check("backend-reproducer", k && !strcmp(texts[0].p, texts[1].p), "is not the kernel: %s", again);
	ts_buf_free(&texts[0]);
	ts_buf_free(&texts[1]);
	unlink(path);
	rmdir(dir);
	ts_ctx_free(other);
	ts_ctx_free(a.cx);
}

static void test_refusal(void)
{
	static const char lanes[] = "tile 1\nkernel k(X: f32[32]) {\n  layout V[n] = l32:1n\n  x: f32[32] @V = load(X)\n  store(X, x)\n} { target = \"sm_80\" }\n";
	Attempt a = { .cx = ts_ctx_new(), .target = ts_target_at(0), .o = { .opt_level = 1 } };
	a.kernel = parsed(a.cx, lanes);
	bool ended = a.kernel && ts_guard(a.cx, attempt, &a);
	TsBuf said = { 0 };
	ts_diag_text(a.cx, &said);
	check("backend-refusal", ended && !a.ok && ts_exit_code(a.cx) == 1 && strstr(said.p, "E_TILE_LOWER") && strstr(said.p, "registers (r) and lanes (v)"), "%s", said.p ? said.p : "");
	ts_buf_free(&said);
	ts_ctx_free(a.cx);
}

/* Loops that would unroll to millions of statements end in an error, soon. */
static void test_too_large(void)
{
	static const char deep[] = "tile 1\nkernel k(O: int64[4]) {\n  for a in 0..64 {\n    for b in 0..64 {\n      for c in 0..64 {\n        x: int64[] = cast(a * b + c)\n"
		"        store(O[1], x)\n      } { unroll = 64 }\n    } { unroll = 64 }\n  } { unroll = 64 }\n} { target = \"cpu\" }\n";
	Attempt a = { .cx = ts_ctx_new(), .target = ts_target_at(0), .o = { .opt_level = 1 } };
	a.kernel = parsed(a.cx, deep);
	bool ended = a.kernel && ts_guard(a.cx, attempt, &a);
	TsBuf said = { 0 };
	ts_diag_text(a.cx, &said);
	check("backend-too-large", ended && !a.ok && ts_exit_code(a.cx) == 1 && strstr(said.p, "unrolls to more than"), "%s", said.p ? said.p : "");
	ts_buf_free(&said);
	ts_ctx_free(a.cx);
}

static void test_forms(void)
{
	static const struct { TsBackendForm form; const char *has; } form[] = { { TS_FORM_ASM, "vaddps" }, { TS_FORM_LLVM_IR, "define hidden void @k(" }, { TS_FORM_OBJECT, "\177ELF" } };
	for (int i = 0; i < 3; i++) {
		Attempt a = { .cx = ts_ctx_new(), .target = ts_target_find("x86-64-v3"), .o = { .opt_level = 2, .form = form[i].form } };
		a.kernel = parsed(a.cx, text);
		char name[32];
		bool ok = a.kernel && ts_guard(a.cx, attempt, &a) && a.ok && (form[i].form == TS_FORM_OBJECT ? !memcmp(a.out.p, form[i].has, 4) : strstr(a.out.p, form[i].has) != NULL);
		snprintf(name, sizeof name, "backend-form-%d", i);
		check(name, ok, "no %s", form[i].has + (form[i].form == TS_FORM_OBJECT));
		ts_buf_free(&a.out);
		ts_ctx_free(a.cx);
	}
}

/* The table holds its functions in order, one of them twice. */
static void test_table(void)
{
	static const char *const symbols[] = { "k0", "k1", "k0", "k2" };
	char o[2][48], so[48], why[256] = "", dir[] = "/tmp/tessera-test-XXXXXX";
	TsCtx *cx = ts_ctx_new();
	TsBuf object[2] = { { 0 } };
	const TsTree *k = parsed(cx, text);
	TsUnit units[] = { { k, "k0", ts_target_at(0) }, { k, "k1", ts_target_at(0) }, { k, "k2", ts_target_at(0) } };
	TsBackendOptions options = { .opt_level = 1 };
	bool ok = k && ts_backend_compile(cx, units, 3, &options, &object[0]) && ts_backend_table(cx, "ts_kernels", symbols, 4, &object[1]) && mkdtemp(dir);
	snprintf(so, sizeof so, "%s/k.so", dir);
	for (int i = 0; ok && i < 2; i++) {
		snprintf(o[i], sizeof o[i], "%s/%d.o", dir, i);
		ok = ts_write_file(cx, o[i], object[i].p, object[i].n);
	}
	const char *argv[] = { "ld.lld", "-shared", "-z", "noexecstack", "--defsym=test_table=ts_kernels", "--defsym=a=k0", "--defsym=b=k1", "--defsym=c=k2", "-o", so, o[0], o[1] };
	ok = ok && !ts_lld_link(sizeof argv / sizeof *argv, argv, why, sizeof why);
	void *lib = ok ? dlopen(so, RTLD_NOW) : NULL;
	void **table = lib ? dlsym(lib, "test_table") : NULL;
	check("backend-table", table && table[0] == dlsym(lib, "a") && table[1] == dlsym(lib, "b") && table[2] == table[0] && table[3] == dlsym(lib, "c"), "%s", why);
	unlink(so);
	for (int i = 0; i < 2; i++) {
		unlink(o[i]);
		ts_buf_free(&object[i]);
	}
	rmdir(dir);
	ts_ctx_free(cx);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	test_crash();
	test_refusal();
	test_too_large();
	test_forms();
	test_table();
	return check_failed;
}
