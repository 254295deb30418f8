#include "support/file.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool ts_file_map(TsCtx *cx, const char *path, TsFile *out)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	*out = (TsFile){ .path = path };
	if (fd < 0 || fstat(fd, &st) < 0) {
		ts_env_error(cx, "E_FILE", "cannot open '%s': %s", path, strerror(errno));
		if (fd >= 0) close(fd);
		return false;
	}
	if (!S_ISREG(st.st_mode)) {
		ts_env_error(cx, "E_FILE", "cannot read '%s': %s", path, S_ISDIR(st.st_mode) ? "it is a folder" : "it is no regular file");
		close(fd);
		return false;
	}
	out->size = (size_t)st.st_size;
	out->p = (const uint8_t *)"";
	if (out->size) {
		void *p = mmap(NULL, out->size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (p == MAP_FAILED) {
			ts_env_error(cx, "E_FILE", "cannot read '%s': %s", path, strerror(errno));
			close(fd);
			return false;
		}
		out->p = p;
	}
	close(fd);
	return true;
}

void ts_file_unmap(TsFile *f)
{
	if (f->size) munmap((void *)(uintptr_t)f->p, f->size);
	*f = (TsFile){ 0 };
}

static bool fail(TsCtx *cx, TsOut *out)
{
	if (!out->failed) ts_env_error(cx, "E_FILE", "cannot write '%s': %s", out->path, strerror(errno));
	out->failed = true;
	return false;
}

bool ts_out_open(TsCtx *cx, const char *path, TsOut *out)
{
	TsArena *a = ts_arena(cx);
	*out = (TsOut){ .path = ts_strdup(a, path), .mode = 0666 };
	if (!strcmp(path, "-")) { out->to = stdout; return true; }
	struct stat st;
	if (!stat(path, &st) && !S_ISREG(st.st_mode)) { /* a device such as /dev/null is written in place */
		if (S_ISDIR(st.st_mode)) { errno = EISDIR; return fail(cx, out); }
		return (out->to = fopen(path, "wb")) || fail(cx, out);
	}
	out->temp = ts_printf(a, "%s.tmp%ld", path, (long)getpid());
	out->to = fopen(out->temp, "wb");
	return out->to || fail(cx, out);
}

bool ts_out_write(TsCtx *cx, TsOut *out, const void *p, size_t n)
{
	if (out->failed) return false;
	return fwrite(p, 1, n, out->to) == n || fail(cx, out);
}

bool ts_out_close(TsCtx *cx, TsOut *out, bool keep)
{
	if (!out->to) return false;
	if (out->to == stdout) return fflush(stdout) == 0 || fail(cx, out);
	if (fflush(out->to) != 0 && keep) fail(cx, out);
	if (fclose(out->to) != 0 && keep) fail(cx, out);
	out->to = NULL;
	if (!out->temp) return !out->failed;
	if (keep && !out->failed) {
		mode_t mask = umask(0);
		umask(mask);
		if (chmod(out->temp, out->mode & ~mask) < 0 || rename(out->temp, out->path) < 0) fail(cx, out);
		else return true;
	}
	unlink(out->temp);
	return !out->failed;
}

bool ts_write_file(TsCtx *cx, const char *path, const void *p, size_t n)
{
	TsOut out;
	if (!ts_out_open(cx, path, &out)) return false;
	ts_out_write(cx, &out, p, n);
	return ts_out_close(cx, &out, true);
}

char *ts_path_beside(TsArena *a, const char *file, const char *name)
{
	const char *slash = strrchr(file, '/');
	if (name[0] == '/' || !slash) return ts_strdup(a, name);
	return ts_printf(a, "%.*s/%s", (int)(slash - file), file, name);
}
