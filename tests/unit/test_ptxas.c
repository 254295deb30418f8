/* The driver of ptxas: what is read from `-v`, and what a ptxas that is broken, old, or displeased with the text leads to. The programs run here
 * are small scripts; the real one is tried by the suite gpu_gates. */
#include "emit/ptxas.h"
#include "tests/unit/check.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char said[] =
	"ptxas info    : 0 bytes gmem\n"
	"ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to insufficient register resources for the wgmma pipeline in function 'slow'\n"
	"ptxas info    : Compiling entry function 'fast' for 'sm_90a'\n"
	"ptxas info    : Function properties for fast\n"
	"    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
	"ptxas info    : Used 168 registers, used 9 barriers\n"
	"ptxas info    : Compile time = 30.100 ms\n"
	"ptxas info    : Compiling entry function 'slow' for 'sm_90a'\n"
	"ptxas info    : Function properties for slow\n"
	"    32 bytes stack frame, 120 bytes spill stores, 96 bytes spill loads\n"
	"ptxas info    : Used 255 registers, used 1 barriers, 32 bytes cumulative stack size\n";

static void reading(TsCtx *cx)
{
	TsPtxModule m = { 0 };
	ts_ptxas_read(cx, said, &m);
	const TsPtxKernel *fast = NULL, *slow = NULL;
	for (uint32_t i = 0; i < m.n_kernels; i++) {
		if (!strcmp(m.kernels[i].name, "fast")) fast = &m.kernels[i];
		if (!strcmp(m.kernels[i].name, "slow")) slow = &m.kernels[i];
	}
	check("two_kernels", m.n_kernels == 2 && fast && slow, "%u kernels were read", m.n_kernels);
	if (!fast || !slow) return;
	check("fast", fast->registers == 168 && fast->barriers == 9 && !fast->stack && !fast->spill_stores && !fast->spill_loads && !fast->loss, "its numbers are others");
	check("slow", slow->registers == 255 && slow->stack == 32 && slow->spill_stores == 120 && slow->spill_loads == 96, "its numbers are others");
	check("loss", slow->loss && !strncmp(slow->loss, "(C7510)", 7), "the loss is not seen");
	TsPtxModule nothing = { 0 };
	ts_ptxas_read(cx, "bytes stack frame\n999999999999999999999 registers\nCompiling entry function '", &nothing);
	check("nothing", !nothing.n_kernels, "kernels were read from nonsense");
}

typedef struct { const char *name, *script; int code; const char *in_text; } Case;

static const char ptx[] = ".version 8.0\n.target sm_80\n.visible .entry one(\n.param .u64 p)\n{\n}\n.visible .entry two(\n.param .u64 p)\n{\nbad;\n}\n";

static const Case cases[] = {
	{ "no_cubin", "exit 0", 3, "is no working ptxas: it ended with 0 and wrote no cubin" },
	{ "no_elf", "echo nonsense > $OUT", 3, "wrote no cubin" },
	{ "other_program", "echo hello; exit 9", 3, "is no working ptxas: it ended with 9: hello" },
	{ "dies", "kill -SEGV $$", 3, "died of signal 11" },
	{ "old_version", "echo \"ptxas $IN, line 1; fatal   : Unsupported .version 8.0; current version is '7.1'\" >&2; exit 255", 3, "is too old for sm_80: line 1; fatal   : Unsupported" },
	{ "old_machine", "echo \"ptxas fatal   : Value 'sm_80' is not defined for option 'gpu-name'\" >&2; exit 255", 3, "is too old for sm_80" },
	{ "too_large", "echo \"ptxas error   : Entry function 'two' uses too much shared data (0x40000 bytes, 0xc000 max)\" >&2; exit 255", 1, "kernel 'two' asks for more than sm_80 has" },
	{ "bad_text", "echo \"ptxas $IN, line 10; error   : Parsing error near 'bad': syntax error\" >&2; exit 255", 4, "does not take the code of two for sm_80: line 10; error   : Parsing error" },
};

/* a script that is called as ptxas is */
static const char *fake(TsCtx *cx, const char *dir, const Case *c)
{
	const char *path = ts_printf(ts_arena(cx), "%s/%s", dir, c->name);
	FILE *f = fopen(path, "w");
	fprintf(f, "#!/bin/sh\nIN=$4 OUT=$6\n%s\n", c->script);
	fclose(f);
	chmod(path, 0755);
	return path;
}

static void bad_ones(const char *dir)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const Case *c = &cases[i];
		TsCtx *cx = ts_ctx_new();
		TsBuf text = { 0 };
		TsPtxPlace places[] = { { "one", { 0 } }, { "two", { 0 } } };
		TsPtxModule m = { .name = "g0", .arch = "sm_80", .ptx = ptx, .n = sizeof ptx - 1, .places = places, .n_places = 2 };
		TsPtxasOptions o = { .path = fake(cx, dir, c), .opt_level = 2, .crash_dir = dir };
		bool ok = ts_ptxas(cx, &o, &m, 1);
		ts_diag_text(cx, &text);
		check(c->name, !ok && ts_exit_code(cx) == c->code && text.p && strstr(text.p, c->in_text), "exit code %d: %s", ts_exit_code(cx), text.p ? text.p : "nothing");
		unlink(o.path);
		ts_buf_free(&text);
		ts_buf_free(&m.cubin);
		ts_ctx_free(cx);
	}
	char kept[200];
	snprintf(kept, sizeof kept, "%s/g0.sm_80.crash.ptx", dir);
	check("reproducer", !unlink(kept), "the text that was not taken is not kept");
}

/* a program that never says its version is named for that, not as another program */
static void hangs(const char *dir)
{
	static const Case c = { "hangs", "exec sleep 100", 3, "--version' gave no answer within 20 s: it hangs" };
	TsCtx *cx = ts_ctx_new();
	TsBuf text = { 0 };
	const char *path = fake(cx, dir, &c);
	bool none = !ts_ptxas_version(cx, path);
	ts_diag_text(cx, &text);
	check(c.name, none && ts_exit_code(cx) == c.code && text.p && strstr(text.p, c.in_text), "exit code %d: %s", ts_exit_code(cx), text.p ? text.p : "nothing");
	unlink(path);
	ts_buf_free(&text);
	ts_ctx_free(cx);
}

int main(void)
{
	char dir[] = "/tmp/tessera-ptxas-XXXXXX";
	TsCtx *cx = ts_ctx_new();
	reading(cx);
	check("no_version", !ts_ptxas_version(cx, "/bin/true") && !ts_ptxas_version(cx, "/nowhere"), "another program has a version of ptxas");
	ts_ctx_free(cx);
	if (!mkdtemp(dir)) return 1;
	bad_ones(dir);
	hangs(dir);
	rmdir(dir);
	return check_failed;
}
