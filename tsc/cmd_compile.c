/* tsc without a command's name: compile. */
#include "emit/version.h"
#include "tsc/commands.h"
#include "tsc/options.h"
#include "tsc/lifeline.h"
#include "tsc/progress.h"
#include "tsc/pipeline.h"

static void print_version(void)
{
	TsBuf llvm = { 0 };
	ts_llvm_version(&llvm);
	printf("tsc %s\nLLVM %s\n", TS_VERSION, llvm.p);
	ts_buf_free(&llvm);
}

int ts_cmd_compile(TsCtx *cx, const TsArgList *args)
{
	TsOptions o;
	TsAsk ask;
	if (!ts_options_parse(cx, args, &o, &ask)) return ts_usage_status(cx);
	switch (ask) {
	case TS_ASK_HELP: ts_options_help(stdout); return 0;
	case TS_ASK_VERSION: print_version(); return 0;
	case TS_ASK_OPS: ts_list_ops(cx, stdout); return 0;
	case TS_ASK_DETECT: return ts_detect(cx, stdout) ? 0 : ts_exit_code(cx);
	case TS_ASK_NOTHING: break;
	}
	if (!ts_check_passes(cx, &o) || !ts_progress_open(cx, &o) || !ts_lifeline_hold(cx, &o)) return ts_usage_status(cx);
	ts_compile(cx, &o);
	return ts_exit_code(cx);
}
