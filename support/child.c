#include "support/child.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { OUT_FD = 199, FIRST_IN_FD = 200, MOST_WORDS = 1 << 20 };
static const rlim_t memory_limit = (rlim_t)16 << 30;

typedef struct { TsChild *c; pid_t pid; int said, out; double until; } Running;

int ts_core_count(void)
{
	cpu_set_t set;
	return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

const char *ts_child_in(uint32_t i)
{
	static const char name[TS_CHILD_INPUTS][20] = {
#define IN(n) "/proc/self/fd/2" #n
		IN(00), IN(01), IN(02), IN(03), IN(04), IN(05), IN(06), IN(07), IN(08), IN(09), IN(10), IN(11), IN(12), IN(13), IN(14), IN(15), IN(16), IN(17), IN(18), IN(19),
		IN(20), IN(21), IN(22), IN(23), IN(24), IN(25), IN(26), IN(27), IN(28), IN(29), IN(30), IN(31), IN(32), IN(33), IN(34), IN(35), IN(36), IN(37), IN(38), IN(39),
#undef IN
	};
	return name[i];
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* a file without a name that holds these bytes; -1 and errno */
static int memory_file(const void *p, size_t n)
{
	int fd = memfd_create("tessera", MFD_CLOEXEC);
	for (const char *s = p; fd >= 0 && n;) {
		ssize_t k = write(fd, s, n);
		if (k < 0 && errno == EINTR) continue;
		if (k <= 0) {
			int why = k ? errno : EIO;
			close(fd);
			errno = why;
			return -1;
		}
		s += k;
		n -= (size_t)k;
	}
	return fd;
}

/* Files get their numbers: high ones first, so that none is in another's way. */
static bool hand_over(const TsChild *c, int out, const int *in, int said)
{
	int null = open("/dev/null", O_RDONLY), high[TS_CHILD_INPUTS];
	if (null < 0 || dup2(null, 0) < 0 || dup2(said, 1) < 0 || dup2(said, 2) < 0) return false;
	for (uint32_t i = 0; i < c->n_in; i++)
		if ((high[i] = fcntl(in[i], F_DUPFD_CLOEXEC, FIRST_IN_FD + TS_CHILD_INPUTS)) < 0) return false;
	int high_out = fcntl(out, F_DUPFD_CLOEXEC, FIRST_IN_FD + TS_CHILD_INPUTS);
	if (high_out < 0 || dup2(high_out, OUT_FD) < 0) return false;
	for (uint32_t i = 0; i < c->n_in; i++)
		if (dup2(high[i], FIRST_IN_FD + (int)i) < 0) return false;
	return true;
}

_Noreturn static void become(const TsChild *c, int out, const int *in, int said, int trouble, pid_t parent)
{
	struct rlimit cpu = { (rlim_t)c->seconds, (rlim_t)c->seconds + 1 }, memory = { memory_limit, memory_limit }, core = { 0, 0 };
	int high = fcntl(trouble, F_DUPFD_CLOEXEC, FIRST_IN_FD + TS_CHILD_INPUTS);
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) _exit(127);
	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_AS, &memory);
	setrlimit(RLIMIT_CORE, &core);
	signal(SIGPIPE, SIG_DFL);
	if (hand_over(c, out, in, said)) execv(c->argv[0], (char *const *)(uintptr_t)c->argv);
	int why = errno;
	if (write(high, &why, sizeof why) < 0) _exit(126);
	_exit(127);
}

static void close_all(int *fd, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (fd[i] >= 0) close(fd[i]);
}

/* Starts one; false, with `end` and `code` set, when it could not be. */
static bool start(TsChild *c, Running *r)
{
	int in[TS_CHILD_INPUTS], said[2] = { -1, -1 }, trouble[2] = { -1, -1 }, out = memory_file(NULL, 0), why = 0;
	bool ok = out >= 0 && !pipe2(said, O_CLOEXEC) && !pipe2(trouble, O_CLOEXEC);
	for (uint32_t i = 0; i < c->n_in; i++) {
		in[i] = ok ? memory_file(c->in[i].p, c->in[i].n) : -1;
		ok = ok && in[i] >= 0;
	}
	c->end = TS_CHILD_NOT_STARTED;
	c->code = errno;
	if (ok) {
		pid_t self = getpid();
		fflush(NULL);
		r->pid = fork();
		if (!r->pid) become(c, out, in, said[1], trouble[1], self);
		c->code = errno;
		ok = r->pid > 0;
	}
	close_all(in, c->n_in);
	close_all(&said[1], 1);
	close_all(&trouble[1], 1);
	while (ok && read(trouble[0], &why, sizeof why) < 0 && errno == EINTR) {}
	close_all(trouble, 1);
	if (ok && why) {
		while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR) {}
		c->code = why;
		ok = false;
	}
	if (!ok) {
		close_all(said, 1);
		close_all(&out, 1);
		return false;
	}
	setpgid(r->pid, r->pid); /* whoever comes first, the child or we */
	*r = (Running){ c, r->pid, said[0], out, now() + c->seconds };
	return true;
}

/* Takes what has come; false at the end. */
static bool listen_to(Running *r)
{
	char some[65536];
	ssize_t n = read(r->said, some, sizeof some);
	if (n < 0 && errno == EINTR) return true;
	if (n > 0 && r->c->said.n < MOST_WORDS) ts_buf_add(&r->c->said, some, (size_t)n);
	return n > 0;
}

/* It has ended (but was not yet waited for), or its time is over. Whatever is left of its group goes. */
static void finish(Running *r, bool too_long)
{
	int status = 0;
	kill(-r->pid, SIGKILL);
	while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR) {}
	r->c->end = too_long || (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU) ? TS_CHILD_TOO_LONG : WIFSIGNALED(status) ? TS_CHILD_SIGNAL : TS_CHILD_EXITED;
	r->c->code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
	off_t size = lseek(r->out, 0, SEEK_END);
	void *p = size > 0 ? mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, r->out, 0) : MAP_FAILED;
	if (p != MAP_FAILED) {
		ts_buf_add(&r->c->out, p, (size_t)size);
		munmap(p, (size_t)size);
	}
	close(r->said);
	close(r->out);
}

/* Does the child itself live on, though it closed its output? Then its time still runs. */
static bool gone(const Running *r)
{
	siginfo_t info = { 0 };
	return waitid(P_PID, (id_t)r->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == r->pid;
}

void ts_children_run(TsChild *child, uint32_t n, int at_a_time)
{
	enum { MOST = 64 };
	Running run[MOST];
	struct pollfd fds[MOST];
	int live = 0, most = at_a_time < 1 ? 1 : at_a_time > MOST ? MOST : at_a_time;
	for (uint32_t next = 0; next < n || live;) {
		while (next < n && live < most) {
			TsChild *c = &child[next++];
			if (start(c, &run[live])) {
				fds[live] = (struct pollfd){ .fd = run[live].said, .events = POLLIN };
				live++;
			}
		}
		if (!live) continue;
		poll(fds, (nfds_t)live, 100);
		for (int i = 0; i < live; i++) {
			bool late = now() > run[i].until;
			if (!late && fds[i].fd >= 0 && (!fds[i].revents || listen_to(&run[i]))) continue;
			fds[i].fd = -1; /* nothing more to hear */
			if (!late && !gone(&run[i])) continue;
			TsChild *c = run[i].c;
			finish(&run[i], late);
			if (c->over) c->over(c->user);
			run[i] = run[--live];
			fds[i] = fds[live];
			i--;
		}
	}
}
