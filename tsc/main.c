/* tsc's entry: the only file that sees the process (arguments, exit status). */
#include "tsc/commands.h"
#include <errno.h>
#include <string.h>

typedef struct { const char *name; int (*run)(TsCtx *cx, const TsArgList *args); } Command;

static const Command commands[] = {
	{ "compile", ts_cmd_compile }, /* what happens without a command's name */
	{ "fmt", ts_cmd_fmt },
	{ "eval", ts_cmd_eval },
	{ "test", ts_cmd_test },
	{ "run", ts_cmd_run },
	{ "inspect", ts_cmd_inspect },
	{ "explain", ts_cmd_explain },
};
enum { NCOMMANDS = sizeof commands / sizeof *commands };

typedef struct { TsCtx *cx; int argc; char **argv; int status; } Process;

static void run(void *user)
{
	Process *p = user;
	TsArgList args = { 0 };
	if (!ts_args_expand(p->cx, p->argc - 1, p->argv + 1, &args)) {
		p->status = ts_usage_status(p->cx);
		return;
	}
	const Command *c = commands;
	for (uint32_t i = 1; args.n && i < NCOMMANDS; i++)
		if (!strcmp(args.p[0], commands[i].name)) c = &commands[i];
	if (c != commands) args.p++, args.n--;
	p->status = c->run(p->cx, &args);
	if (p->status != 2 || c != commands || !args.n || args.p[0][0] == '-' || strpbrk(args.p[0], "./")) return;
	const char *names[NCOMMANDS];
	for (uint32_t i = 0; i < NCOMMANDS; i++) names[i] = commands[i].name;
	const char *near = ts_nearest(args.p[0], names, NCOMMANDS);
	if (near) ts_hint(p->cx, "did you mean the command '%s'?", near);
}

int main(int argc, char **argv)
{
	TsCtx *cx = ts_ctx_new();
	Process p = { cx, argc, argv, 0 };
	if (!ts_guard(cx, run, &p)) p.status = ts_exit_code(cx);
	if ((fflush(stdout) || ferror(stdout)) && !p.status) {
		ts_env_error(cx, "E_FILE", "cannot write standard output: %s", strerror(errno));
		p.status = 3;
	}
	ts_diag_print(cx, stderr);
	ts_ctx_free(cx);
	return p.status;
}
