#include "tsc/lifeline.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

enum { SECONDS_TO_END = 10 };

/* what is written into the pipe means nothing, and is read so that its end can be seen */
static void *wait_for_close(void *user)
{
	struct pollfd fd = { (int)(intptr_t)user, POLLIN, 0 };
	char some[256];
	for (;;) {
		int n = poll(&fd, 1, -1);
		if (n < 0 && errno != EINTR) return NULL;
		if (n > 0 && fd.revents & POLLIN && read(fd.fd, some, sizeof some) > 0) continue;
		if (n > 0) break;
	}
	kill(getpid(), SIGTERM);
	sleep(SECONDS_TO_END); /* who began with SIGTERM ignored goes on to here */
	kill(getpid(), SIGKILL);
	return NULL;
}

bool ts_lifeline_hold(TsCtx *cx, const TsOptions *o)
{
	pthread_t thread;
	if (!o->lifeline) return true;
	int mode = fcntl(o->lifeline, F_GETFL);
	if (mode < 0 || (mode & O_ACCMODE) == O_WRONLY) {
		ts_usage_error(cx, "--lifeline %d: this descriptor is not open for reading", o->lifeline);
		return false;
	}
	/* without a thread the compile goes on to its end */
	if (!pthread_create(&thread, NULL, wait_for_close, (void *)(intptr_t)o->lifeline)) pthread_detach(thread);
	return true;
}
