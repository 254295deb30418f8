#include "tsc/progress.h"
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

bool ts_progress_open(TsCtx *cx, const TsOptions *o)
{
	if (!o->progress) return true;
	int mode = fcntl(o->progress, F_GETFL);
	if (mode < 0 || (mode & O_ACCMODE) == O_RDONLY) {
		ts_usage_error(cx, "--progress %d: this descriptor is not open for writing", o->progress);
		return false;
	}
	signal(SIGPIPE, SIG_IGN); /* the compile goes on when nobody listens any more */
	return true;
}

void ts_progress(const TsOptions *o, const char *pass, uint32_t done, uint32_t of)
{
	char line[64];
	if (!o->progress) return;
	int n = of ? snprintf(line, sizeof line, "%s %u/%u\n", pass, done, of) : snprintf(line, sizeof line, "%s\n", pass);
	if (write(o->progress, line, (size_t)n) < 0) return; /* one write: lines below PIPE_BUF are never torn */
}
