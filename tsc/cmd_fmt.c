/* tsc fmt: text files in standard form. */
#include "frontend/graph_text/print.h"
#include "support/file.h"
#include "tsc/commands.h"
#include <errno.h>
#include <string.h>

enum { IN_PLACE = 1, CHECK, HELP };

static const TsArgSpec spec[] = {
	{ IN_PLACE, "-i", "--in-place", NULL, "write the files anew, those that change" },
	{ CHECK, "--check", NULL, NULL, "print the names of files that are not in standard form; exit status 1 if any" },
	{ HELP, "--help", "-h", NULL, "this" },
};

static const char usage[] =
	"usage: tsc fmt [-i|--check] FILE.tg|FILE.tile ...\n"
	"Prints each file in standard form: comments, sugar and single empty lines stay, the meaning does not change.\n"
	"The file - is standard input.\n";

typedef enum { PRINT, REWRITE, COMPARE } Mode;

static bool is_stdin(const char *path) { return !strcmp(path, "-"); }

static bool read_text(TsCtx *cx, const char *path, uint32_t *source)
{
	if (!is_stdin(path)) return ts_read_source(cx, path, source);
	TsBuf text = { 0 };
	char part[65536];
	for (size_t n; text.n <= INT32_MAX && (n = fread(part, 1, sizeof part, stdin)) > 0;) ts_buf_add(&text, part, n);
	bool ok = !ferror(stdin);
	if (!ok) ts_env_error(cx, "E_FILE", "cannot read standard input: %s", strerror(errno));
	else *source = ts_source_add(cx, "<stdin>", text.p ? text.p : "", text.n);
	ts_buf_free(&text);
	return ok;
}

/* One file; *differs: it was not in standard form. */
static bool format(TsCtx *cx, const char *path, Mode mode, bool *differs)
{
	TsBuf text = { 0 };
	uint32_t source;
	size_t size;
	bool ok = read_text(cx, path, &source) && ts_fmt(cx, source, &text);
	if (ok) {
		const char *old = ts_source_text(cx, source, &size);
		*differs = size != text.n || memcmp(old, text.p, size) != 0;
		if (mode == PRINT) fwrite(text.p, 1, text.n, stdout);
		else if (mode == COMPARE && *differs) puts(is_stdin(path) ? "<stdin>" : path);
		else if (mode == REWRITE && *differs) ok = ts_rewrite_file(cx, path, text.p, text.n);
	}
	ts_buf_free(&text);
	return ok;
}

int ts_cmd_fmt(TsCtx *cx, const TsArgList *args)
{
	TsArgs a = { .cx = cx, .spec = spec, .nspec = sizeof spec / sizeof *spec, .command = "tsc fmt", .argv = args->p, .argc = args->n };
	TsArgList files = { 0 };
	Mode mode = PRINT;
	bool any = false, differs = false;
	int from_stdin = 0;
	for (int id; (id = ts_args_next(&a)) != TS_ARG_END;) {
		Mode wanted = id == CHECK ? COMPARE : REWRITE;
		if (id == TS_ARG_BAD) return ts_usage_status(cx);
		if (id == HELP) return ts_args_help(usage, spec, a.nspec, stdout), 0;
		if (id == TS_ARG_OPERAND && is_stdin(a.value)) from_stdin++;
		if (id == TS_ARG_OPERAND) { ts_push(ts_arena(cx), &files, a.value); continue; }
		if (mode != PRINT && mode != wanted) return ts_usage_error(cx, "-i and --check contradict each other"), 2;
		mode = wanted;
	}
	if (from_stdin && (from_stdin > 1 || mode == REWRITE))
		return ts_usage_error(cx, from_stdin > 1 ? "standard input can be read once" : "-i rewrites files; standard input is none"), 2;
	if (!files.n) return ts_usage_error(cx, "no input: tsc fmt FILE.tg"), 2;
	for (uint32_t i = 0; i < files.n; i++) any |= format(cx, files.p[i], mode, &differs) && differs;
	return ts_error_count(cx) ? ts_exit_code(cx) : mode == COMPARE && any;
}
