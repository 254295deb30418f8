/* Children: what goes in and comes out, how they end, that none of a group outlives its time. */
#include "support/child.h"
#include "tests/unit/check.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MANY = 23 };

static TsChild shell(const char **argv, const char *script)
{
	argv[0] = "/bin/sh";
	argv[1] = "-c";
	argv[2] = script;
	argv[3] = NULL;
	return (TsChild){ .argv = argv, .seconds = 20 };
}

static void drop(TsChild *c)
{
	ts_buf_free(&c->said);
	ts_buf_free(&c->out);
}

static bool text_is(const TsBuf *b, const char *want) { return b->n == strlen(want) && !memcmp(b->p ? b->p : "", want, b->n); }

static void files(void)
{
	const char *argv[4];
	char script[200];
	snprintf(script, sizeof script, "cat %s %s > %s; echo said; echo complained >&2; exit 7", ts_child_in(1), ts_child_in(0), TS_CHILD_OUT);
	TsChild c = shell(argv, script);
	char *large = malloc(3 << 20);
	memset(large, 'x', 3 << 20);
	c.in[0] = (TsChildInput){ large, 3 << 20 };
	c.in[1] = (TsChildInput){ "first ", 6 };
	c.n_in = 2;
	ts_children_run(&c, 1, 1);
	check("exit_status", c.end == TS_CHILD_EXITED && c.code == 7, "it ended %d with %d", (int)c.end, c.code);
	check("said", text_is(&c.said, "said\ncomplained\n"), "it said %zu bytes", c.said.n);
	check("files", c.out.n == (3 << 20) + 6 && !memcmp(c.out.p, "first xxx", 9), "%zu bytes came back", c.out.n);
	drop(&c);
	free(large);
}

static void ends(void)
{
	const char *argv[4], *no_such[] = { "/nowhere/at/all", NULL };
	TsChild c = shell(argv, "kill -SEGV $$");
	ts_children_run(&c, 1, 1);
	check("signal", c.end == TS_CHILD_SIGNAL && c.code == SIGSEGV, "it ended %d with %d", (int)c.end, c.code);
	drop(&c);
	c = (TsChild){ .argv = no_such, .seconds = 5 };
	ts_children_run(&c, 1, 1);
	check("not_started", c.end == TS_CHILD_NOT_STARTED && c.code == ENOENT, "it ended %d with %d", (int)c.end, c.code);
	drop(&c);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The pid that a child wrote is gone, or a zombie of somebody else's. */
static bool alive(const TsBuf *out)
{
	char path[64], state = 0;
	snprintf(path, sizeof path, "/proc/%ld/stat", strtol(out->p ? out->p : "0", NULL, 10));
	FILE *f = fopen(path, "r");
	if (!f) return false;
	bool read = fscanf(f, "%*d (%*[^)]) %c", &state) == 1;
	fclose(f);
	return read && state != 'Z';
}

static void time_is_over(const char *name, const char *script)
{
	const char *argv[4];
	double from = now();
	TsChild c = shell(argv, script);
	c.seconds = 1;
	ts_children_run(&c, 1, 1);
	check(name, c.end == TS_CHILD_TOO_LONG && now() - from < 10, "it ended %d after %.1f s", (int)c.end, now() - from);
	usleep(50000);
	check(name, !alive(&c.out), "what it started lives on");
	drop(&c);
}

static void many(void)
{
	static TsChild c[MANY];
	static const char *argv[MANY][4];
	static char script[MANY][64];
	int wrong = 0;
	for (int i = 0; i < MANY; i++) {
		snprintf(script[i], sizeof script[i], "sleep 0.0%d; echo %d", (i * 7) % 10, i);
		c[i] = shell(argv[i], script[i]);
	}
	ts_children_run(c, MANY, 5);
	for (int i = 0; i < MANY; i++) {
		char want[16];
		snprintf(want, sizeof want, "%d\n", i);
		wrong += c[i].end != TS_CHILD_EXITED || c[i].code || !text_is(&c[i].said, want);
		drop(&c[i]);
	}
	check("many", !wrong, "%d of %d went wrong", wrong, MANY);
}

int main(void)
{
	files();
	ends();
	time_is_over("too_long", "sleep 100 & echo $! > " TS_CHILD_OUT "; sleep 100");
	time_is_over("silent_and_too_long", "exec >/dev/null 2>&1; sleep 100 & echo $! > " TS_CHILD_OUT "; sleep 100");
	many();
	return check_failed;
}
