/* tsc inspect: everything that an artifact holds, as text. */
#include "emit/emit.h"
#include "tsc/commands.h"

enum { HELP = 1 };

static const TsArgSpec spec[] = { { HELP, "--help", "-h", NULL, "this" } };

static const char usage[] =
	"usage: tsc inspect FILE ...     FILE: .so, .o, .tsr or program made by tsc\n"
	"Prints what a file holds: graphs, sizes, steps, kernels, weights, architectures, versions, sections.\n";

int ts_cmd_inspect(TsCtx *cx, const TsArgList *args)
{
	TsArgs a = { .cx = cx, .spec = spec, .nspec = sizeof spec / sizeof *spec, .command = "tsc inspect", .argv = args->p, .argc = args->n };
	TsArgList files = { 0 };
	for (int id; (id = ts_args_next(&a)) != TS_ARG_END;) {
		if (id == TS_ARG_BAD) return ts_usage_status(cx);
		if (id == HELP) return ts_args_help(usage, spec, a.nspec, stdout), 0;
		ts_push(ts_arena(cx), &files, a.value);
	}
	if (!files.n) return ts_usage_error(cx, "no input: tsc inspect FILE"), 2;
	for (uint32_t i = 0; i < files.n; i++) ts_inspect(cx, files.p[i], stdout);
	return ts_exit_code(cx);
}
