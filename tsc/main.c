/* tsc's entry: the only file that sees the process (arguments, signals, exit status). */
#include "support/temp.h"
#include "tsc/commands.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

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

typedef struct { TsCtx *cx; int argc; char **argv; int status; sigset_t ends; } Process;

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

/* A thread waits for the signals that end the process, takes away what would be left behind, and lets the signal do its work. */
static void *wait_for_end(void *user)
{
	Process *p = user;
	int number = 0;
	while (sigwait(&p->ends, &number)) {}
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	ts_temps_remove(p->cx);
	signal(number, SIG_DFL);
	pthread_sigmask(SIG_UNBLOCK, &p->ends, NULL);
	kill(getpid(), number);
	return NULL; /* not reached: the signal has come */
}

static bool watch(Process *p, pthread_t *thread)
{
	static const int number[] = { SIGHUP, SIGINT, SIGTERM };
	sigemptyset(&p->ends);
	for (size_t i = 0; i < sizeof number / sizeof *number; i++) {
		struct sigaction was;
		if (!sigaction(number[i], NULL, &was) && was.sa_handler != SIG_IGN) sigaddset(&p->ends, number[i]);
	}
	pthread_sigmask(SIG_BLOCK, &p->ends, NULL);
	*ts_ctx_slot(p->cx, TS_SLOT_TEMPS) = ts_temps_new();
	if (!pthread_create(thread, NULL, wait_for_end, p)) return true;
	pthread_sigmask(SIG_UNBLOCK, &p->ends, NULL);
	return false;
}

static void unwatch(Process *p, pthread_t thread)
{
	pthread_cancel(thread);
	pthread_join(thread, NULL);
	pthread_sigmask(SIG_UNBLOCK, &p->ends, NULL);
}

int main(int argc, char **argv)
{
	TsCtx *cx = ts_ctx_new();
	Process p = { .cx = cx, .argc = argc, .argv = argv };
	pthread_t thread;
	bool watched = watch(&p, &thread);
	if (!ts_guard(cx, run, &p)) p.status = ts_exit_code(cx);
	if ((fflush(stdout) || ferror(stdout)) && !p.status) {
		ts_env_error(cx, "E_FILE", "cannot write standard output: %s", strerror(errno));
		p.status = 3;
	}
	ts_diag_print(cx, stderr);
	if (watched) unwatch(&p, thread);
	ts_temps_free(*ts_ctx_slot(cx, TS_SLOT_TEMPS));
	ts_ctx_free(cx);
	return p.status;
}
