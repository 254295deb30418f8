/* gen-rules [--doc] FILE.rules ...: compiles rewrite rules to C tables on standard output, or lists them for docs/rewrites.md.
 * Exit code 1 with a diagnostic on unknown operators, duplicate patterns, unreachable rules and mistakes of syntax. */
#include "rules.h"
#include "support/file.h"
#include <string.h>

int main(int argc, char **argv)
{
	TsCtx *cx = ts_ctx_new();
	GenRules all = { .cx = cx };
	bool doc = argc > 1 && !strcmp(argv[1], "--doc"), ok = true;
	for (int i = 1 + doc; i < argc && ok; i++) {
		TsFile f;
		ok = ts_file_map(cx, argv[i], &f);
		if (!ok) break;
		ok = gen_parse(&all, ts_source_add(cx, argv[i], (const char *)f.p, f.size));
		ts_file_unmap(&f);
	}
	ok = ok && gen_check(&all);
	if (ok && doc) gen_doc(&all, stdout);
	else if (ok) gen_emit(&all, stdout);
	ts_diag_print(cx, stderr);
	int code = ts_exit_code(cx);
	ts_ctx_free(cx);
	return ok ? 0 : code ? code : 1;
}
