#include "rtlib/file.h"
#include "rtlib/rt.h"
#include "rtlib/sys.h"

enum { WRITE = 1, CREATE = 0100, EXCLUSIVE = 0200, NO_TTY = 0400, APPEND = 02000, NO_WAIT = 04000, CLOSE_ON_EXEC = 02000000 };
enum { KIND = 0170000, FIFO = 0010000, CHAR = 0020000, FOLDER = 0040000, BLOCK = 0060000, REGULAR = 0100000, SOCKET = 0140000 };
enum { INTERRUPTED = 4, NO_ENTRY = 2, NO_READER = 6, IS_FOLDER = 21, TOO_LONG = 36 };
enum { LONGEST = 4096, BASE = 200, OWN = 4096, UNREAD = OWN + 32 }; /* reasons from OWN on: a kind of file that is not read; from UNREAD on, not written */

typedef struct { uint64_t dev, ino, size; uint32_t mode; } Stat;

/* ---- words ---- */

static const struct { int16_t error; const char *words; } words[] = {
	{ 1, "Operation not permitted" }, { 2, "No such file or directory" }, { 4, "Interrupted system call" }, { 5, "Input/output error" },
	{ 6, "No such device or address" }, { 9, "Bad file descriptor" }, { 11, "Resource temporarily unavailable" }, { 12, "Cannot allocate memory" },
	{ 13, "Permission denied" }, { 16, "Device or resource busy" }, { 17, "File exists" }, { 19, "No such device" }, { 20, "Not a directory" },
	{ 21, "Is a directory" }, { 22, "Invalid argument" }, { 23, "Too many open files in system" }, { 24, "Too many open files" },
	{ 26, "Text file busy" }, { 27, "File too large" }, { 28, "No space left on device" }, { 30, "Read-only file system" }, { 32, "Broken pipe" },
	{ 36, "File name too long" }, { 40, "Too many levels of symbolic links" }, { 75, "Value too large for defined data type" },
	{ 116, "Stale file handle" }, { 122, "Disk quota exceeded" },
	{ OWN + (FIFO >> 12), "it is a pipe, not a regular file" }, { OWN + (CHAR >> 12), "it is a device, not a regular file" },
	{ OWN + (FOLDER >> 12), "it is a folder, not a regular file" }, { OWN + (BLOCK >> 12), "it is a device, not a regular file" },
	{ OWN + (SOCKET >> 12), "it is a socket, not a regular file" }, { UNREAD + (FIFO >> 12), "it is a pipe that nobody reads" },
	{ UNREAD + (SOCKET >> 12), "it is a socket" },
};

const char *ts_reason(int64_t error)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (words[i].error == error)
			return words[i].words;
	return NULL;
}

/* ---- reading ---- */

/* struct stat of x86-64: device, node, links, mode and owner, group, device, size */
static int64_t look(int64_t call, int64_t what, Stat *out)
{
	uint64_t s[18];
	int64_t rc = ts_sys3(call, what, (int64_t)(intptr_t)s, 0);
	if (!rc)
		*out = (Stat){ s[0], s[1], s[6], (uint32_t)s[3] };
	return -rc;
}

static int64_t look_at(const char *path, Stat *out) { return look(TS_SYS_STAT, (int64_t)(intptr_t)path, out); }

int64_t ts_map_regular(const char *path, bool writable, const uint8_t **p, uint64_t *n)
{
	Stat st;
	*p = (const uint8_t *)"";
	*n = 0;
	if (!look_at(path, &st) && (st.mode & KIND) != REGULAR)
		return OWN + ((st.mode & KIND) >> 12);
	int64_t fd = ts_sys3(TS_SYS_OPEN, (int64_t)(intptr_t)path, CLOSE_ON_EXEC | NO_WAIT, 0), at = 0;
	if (fd < 0)
		return -fd;
	int64_t why = look(TS_SYS_FSTAT, fd, &st);
	if (!why && (st.mode & KIND) != REGULAR) /* it became another */
		why = OWN + ((st.mode & KIND) >> 12);
	if (!why && st.size) {
		at = ts_sys(TS_SYS_MMAP, 0, (int64_t)st.size, writable ? 3 : 1, 2 /* private */, fd, 0);
		why = at < 0 && at > -4096 ? -at : 0;
	}
	ts_sys3(TS_SYS_CLOSE, fd, 0, 0);
	if (!why && st.size) {
		*p = (const uint8_t *)(intptr_t)at;
		*n = st.size;
	}
	return why;
}

/* ---- where output goes ---- */

static bool begins(const char *s, const char *start)
{
	while (*start && *s == *start)
		s++, start++;
	return !*start;
}

/* /proc and /dev/fd hold names of open files */
static bool is_open_file(const char *path) { return begins(path, "/proc/") || begins(path, "/dev/fd/"); }

/* Length of the folder's part of a path, with its slash. */
static size_t folder_of(const char *path)
{
	size_t n = strlen(path);
	while (n && path[n - 1] != '/')
		n--;
	return n;
}

/* The file that a write to path means: symbolic links lead to it, even to one that is yet to be made. */
static int64_t follow(const char *path, char out[LONGEST])
{
	char link[LONGEST];
	if (strlen(path) >= LONGEST)
		return TOO_LONG;
	memcpy(out, path, strlen(path) + 1);
	for (int i = 0; i < 40 && !is_open_file(out); i++) {
		int64_t n = ts_sys3(TS_SYS_READLINK, (int64_t)(intptr_t)out, (int64_t)(intptr_t)link, LONGEST - 1);
		if (n <= 0)
			break;
		size_t at = link[0] == '/' ? 0 : folder_of(out);
		if (at + (size_t)n >= LONGEST)
			return TOO_LONG;
		memcpy(out + at, link, (size_t)n);
		out[at + (size_t)n] = 0;
	}
	return 0;
}

bool ts_same_file(const char *p, const char *q)
{
	char a[LONGEST], b[LONGEST];
	Stat x, y;
	if (follow(p, a) || follow(q, b))
		return false;
	int64_t first = look_at(a, &x), second = look_at(b, &y);
	if (!first || !second)
		return !first && !second && x.dev == y.dev && x.ino == y.ino && (x.mode & KIND) != CHAR;
	size_t na = folder_of(a), nb = folder_of(b);
	if (!ts_str_eq(a + na, b + nb))
		return false;
	a[na] = b[nb] = 0;
	return !look_at(na ? a : ".", &x) && !look_at(nb ? b : ".", &y) && x.dev == y.dev && x.ino == y.ino;
}

/* ---- writing ---- */

static int64_t write_all(int64_t fd, const TsPart *part)
{
	for (uint64_t at = 0; at < part->n;) {
		uint64_t left = part->n - at;
		int64_t n = ts_sys3(TS_SYS_WRITE, fd, (int64_t)(intptr_t)part->p + (int64_t)at, (int64_t)(left < 1u << 30 ? left : 1u << 30));
		if (n == -INTERRUPTED)
			continue;
		if (n <= 0)
			return n ? -n : 5;
		at += (uint64_t)n;
	}
	return 0;
}

static int64_t write_and_close(int64_t fd, const TsPart *parts, uint32_t n)
{
	int64_t why = 0;
	for (uint32_t i = 0; i < n && !why; i++)
		why = write_all(fd, &parts[i]);
	int64_t closed = ts_sys3(TS_SYS_CLOSE, fd, 0, 0);
	return why ? why : -closed;
}

/* Devices, pipes and open files. A pipe without a reader would wait for one: it is refused. */
static int64_t write_in_place(const char *path, uint32_t kind, const TsPart *parts, uint32_t n)
{
	if (kind == FOLDER || kind == SOCKET)
		return kind == FOLDER ? IS_FOLDER : UNREAD + (SOCKET >> 12);
	int64_t fd = ts_sys3(TS_SYS_OPEN, (int64_t)(intptr_t)path, WRITE | APPEND | NO_TTY | NO_WAIT | CLOSE_ON_EXEC, 0);
	if (fd < 0)
		return kind == FIFO && fd == -NO_READER ? UNREAD + (FIFO >> 12) : -fd;
	ts_sys3(TS_SYS_FCNTL, fd, 4 /* set flags */, WRITE | APPEND);
	return write_and_close(fd, parts, n);
}

/* Makes temp, which becomes target. The signals that end a process (hang-up, interrupt, terminate) wait until it has: they leave nothing.
 * Other threads of this process have them blocked for good. */
static int64_t write_aside(const char *temp, const char *target, const TsPart *parts, uint32_t n)
{
	uint64_t ends = 1u << (1 - 1) | 1u << (2 - 1) | 1u << (15 - 1), old;
	ts_sys(TS_SYS_SIGMASK, 0 /* block */, (int64_t)(intptr_t)&ends, (int64_t)(intptr_t)&old, 8, 0, 0);
	ts_sys3(TS_SYS_UNLINK, (int64_t)(intptr_t)temp, 0, 0); /* what a process of this number left when it was killed */
	int64_t fd = ts_sys3(TS_SYS_OPEN, (int64_t)(intptr_t)temp, WRITE | CREATE | EXCLUSIVE | CLOSE_ON_EXEC, 0666);
	int64_t why = fd < 0 ? -fd : write_and_close(fd, parts, n);
	if (!why)
		why = -ts_sys3(TS_SYS_RENAME, (int64_t)(intptr_t)temp, (int64_t)(intptr_t)target, 0);
	if (why && fd >= 0)
		ts_sys3(TS_SYS_UNLINK, (int64_t)(intptr_t)temp, 0, 0);
	ts_sys(TS_SYS_SIGMASK, 2 /* set */, (int64_t)(intptr_t)&old, 0, 8, 0, 0);
	return why;
}

int64_t ts_write_parts(const char *path, const TsPart *parts, uint32_t n)
{
	char target[LONGEST], temp[LONGEST + 32];
	Stat st;
	int64_t why = follow(path, target), there = look_at(path, &st);
	if (why || (there && there != NO_ENTRY))
		return why ? why : there;
	if (!there && ((st.mode & KIND) != REGULAR || is_open_file(target)))
		return write_in_place(path, st.mode & KIND, parts, n);
	size_t folder = folder_of(target), keep = strlen(target);
	if (keep - folder > BASE) /* a name of 255 bytes has room */
		keep = folder + BASE;
	memcpy(temp, target, keep);
	TsText t = { temp, keep, sizeof temp, false };
	ts_text_add(&t, ".tmp%d", ts_sys3(TS_SYS_GETPID, 0, 0, 0));
	return write_aside(temp, target, parts, n);
}
