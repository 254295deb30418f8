#include "support/file.h"
#include "support/temp.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What stands at a path in place of a regular file. */
static const char *kind_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR: return "it is a folder";
	case S_IFIFO: return "it is a pipe";
	case S_IFSOCK: return "it is a socket";
	case S_IFCHR: case S_IFBLK: return "it is a device";
	default: return "it is of an unknown kind";
	}
}

int ts_file_open(TsCtx *cx, const char *path, size_t *size)
{
	struct stat st;
	const char *wrong = NULL;
	int fd = -1;
	if (!stat(path, &st) && !S_ISREG(st.st_mode)) wrong = kind_of(st.st_mode);
	else if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) < 0 || fstat(fd, &st) < 0) {
		ts_env_error(cx, "E_FILE", "cannot open '%s': %s", path, strerror(errno));
		if (fd >= 0) close(fd);
		return -1;
	} else if (!S_ISREG(st.st_mode)) wrong = kind_of(st.st_mode); /* it became another */
	*size = (size_t)st.st_size;
	if (!wrong) return fd;
	ts_env_error(cx, "E_FILE", "cannot read '%s': %s, not a regular file", path, wrong);
	if (fd >= 0) close(fd);
	return -1;
}

bool ts_file_map(TsCtx *cx, const char *path, TsFile *out)
{
	*out = (TsFile){ .path = path };
	int fd = ts_file_open(cx, path, &out->size);
	if (fd < 0) return false;
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

/* The file that a write to path means: symbolic links lead to it, even to one that is yet to be made. Those below /proc stand for
 * open files, and lead nowhere. */
static const char *follow(TsArena *a, const char *path)
{
	char link[4096];
	for (int i = 0; i < 40 && strncmp(path, "/proc/", 6) != 0 && strncmp(path, "/dev/fd/", 8) != 0; i++) {
		ssize_t n = readlink(path, link, sizeof link - 1);
		if (n <= 0 || n == sizeof link - 1) break;
		link[n] = 0;
		path = ts_path_beside(a, path, link);
	}
	return path;
}

/* Devices, pipes and open files are written in place. A pipe without a reader would wait for one: it is refused. */
static bool open_in_place(TsCtx *cx, TsOut *out, mode_t mode)
{
	if (S_ISDIR(mode)) { errno = EISDIR; return fail(cx, out); }
	int fd = S_ISSOCK(mode) ? -1 : open(out->path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && (S_ISSOCK(mode) || (S_ISFIFO(mode) && errno == ENXIO))) {
		ts_env_error(cx, "E_FILE", "cannot write '%s': %s", out->path, S_ISSOCK(mode) ? "it is a socket" : "it is a pipe that nobody reads");
		out->failed = true;
		return false;
	}
	if (fd < 0) return fail(cx, out);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return (out->to = fdopen(fd, "wb")) || fail(cx, out);
}

bool ts_out_is_special(const char *path)
{
	struct stat st;
	return !stat(path, &st) && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

bool ts_out_open(TsCtx *cx, const char *path, TsOut *out)
{
	TsArena *a = ts_arena(cx);
	struct stat st;
	*out = (TsOut){ .path = ts_strdup(a, path), .mode = 0666 };
	if (!strcmp(path, "-")) { out->to = stdout; return true; }
	out->target = follow(a, out->path);
	bool there = !stat(path, &st);
	if (!there && errno != ENOENT) return fail(cx, out); /* such as links in a circle */
	if (there && (!S_ISREG(st.st_mode) || !strncmp(out->target, "/proc/", 6) || !strncmp(out->target, "/dev/fd/", 8)))
		return open_in_place(cx, out, st.st_mode);
	const char *slash = strrchr(out->target, '/');
	int folder = slash ? (int)(slash + 1 - out->target) : 0;
	out->temp = ts_printf(a, "%.*s%.200s.tmp%ld", folder, out->target, out->target + folder, (long)getpid()); /* a name of 255 bytes has room */
	unlink(out->temp); /* what a process of this number left when it was killed */
	out->to = ts_temp_file(cx, out->temp);
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
		if (chmod(out->temp, out->exact ? out->mode : out->mode & ~mask) < 0 || rename(out->temp, out->target) < 0) fail(cx, out);
		else return ts_temp_done(cx, out->temp), true;
	}
	unlink(out->temp);
	ts_temp_done(cx, out->temp);
	return !out->failed;
}

bool ts_write_file(TsCtx *cx, const char *path, const void *p, size_t n)
{
	TsOut out;
	if (!ts_out_open(cx, path, &out)) return false;
	ts_out_write(cx, &out, p, n);
	return ts_out_close(cx, &out, true);
}

bool ts_rewrite_file(TsCtx *cx, const char *path, const void *p, size_t n)
{
	TsOut out;
	struct stat st;
	if (!ts_out_open(cx, path, &out)) return false;
	out.exact = out.temp && !stat(out.target, &st);
	if (out.exact) out.mode = st.st_mode & 07777;
	ts_out_write(cx, &out, p, n);
	return ts_out_close(cx, &out, true);
}

bool ts_same_output(TsArena *a, const char *p, const char *q)
{
	struct stat x, y;
	p = follow(a, p);
	q = follow(a, q);
	bool made = !stat(p, &x), other = !stat(q, &y);
	if (made || other) return made && other && x.st_dev == y.st_dev && x.st_ino == y.st_ino && !S_ISCHR(x.st_mode);
	const char *pb = strrchr(p, '/'), *qb = strrchr(q, '/');
	if (strcmp(pb ? pb + 1 : p, qb ? qb + 1 : q) != 0) return false;
	made = !stat(pb ? ts_strndup(a, p, (size_t)(pb + 1 - p)) : ".", &x);
	other = !stat(qb ? ts_strndup(a, q, (size_t)(qb + 1 - q)) : ".", &y);
	return made && other ? x.st_dev == y.st_dev && x.st_ino == y.st_ino : !strcmp(p, q);
}

char *ts_path_beside(TsArena *a, const char *file, const char *name)
{
	const char *slash = strrchr(file, '/');
	if (name[0] == '/' || !slash) return ts_strdup(a, name);
	return ts_printf(a, "%.*s/%s", (int)(slash - file), file, name);
}
