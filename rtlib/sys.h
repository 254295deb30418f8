/* The kernel's interface, called directly: an artifact has no libc. Results are the kernel's own: negative values are -errno. */
#ifndef TESSERA_RTLIB_SYS_H
#define TESSERA_RTLIB_SYS_H
#include <stddef.h>
#include <stdint.h>

enum { TS_SYS_READ = 0, TS_SYS_WRITE = 1, TS_SYS_OPEN = 2, TS_SYS_CLOSE = 3, TS_SYS_STAT = 4, TS_SYS_FSTAT = 5, TS_SYS_MMAP = 9, TS_SYS_MUNMAP = 11, TS_SYS_SIGMASK = 14,
       TS_SYS_PREAD = 17, TS_SYS_YIELD = 24, TS_SYS_GETPID = 39, TS_SYS_EXIT = 60, TS_SYS_FCNTL = 72, TS_SYS_RENAME = 82,
       TS_SYS_UNLINK = 87, TS_SYS_READLINK = 89, TS_SYS_FUTEX = 202, TS_SYS_AFFINITY = 204, TS_SYS_CLOCK = 228,
       TS_SYS_EXIT_GROUP = 231 };

static inline int64_t ts_sys(int64_t n, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f)
{
	int64_t r;
	register int64_t r10 __asm__("r10") = d;
	register int64_t r8 __asm__("r8") = e;
	register int64_t r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return r;
}
static inline int64_t ts_sys3(int64_t n, int64_t a, int64_t b, int64_t c) { return ts_sys(n, a, b, c, 0, 0, 0); }

static inline int64_t ts_process(void) { return ts_sys3(TS_SYS_GETPID, 0, 0, 0); }

/* nanoseconds of CLOCK_MONOTONIC */
static inline int64_t ts_now(void)
{
	int64_t t[2] = { 0, 0 };
	ts_sys3(TS_SYS_CLOCK, 1, (int64_t)(intptr_t)t, 0);
	return t[0] * 1000000000 + t[1];
}

/* private futexes: sleep while *word == seen; wake up to n sleepers */
static inline void ts_futex_wait(const void *word, uint32_t seen) { ts_sys(TS_SYS_FUTEX, (int64_t)(intptr_t)word, 128, seen, 0, 0, 0); }
/* the same, for at most this long */
static inline void ts_futex_wait_ns(const void *word, uint32_t seen, int64_t ns)
{
	int64_t t[2] = { ns / 1000000000, ns % 1000000000 };
	ts_sys(TS_SYS_FUTEX, (int64_t)(intptr_t)word, 128, seen, (int64_t)(intptr_t)t, 0, 0);
}
static inline void ts_futex_wake(const void *word, int32_t n) { ts_sys3(TS_SYS_FUTEX, (int64_t)(intptr_t)word, 129, n); }

/* whole pages, zeroed; NULL when there are none */
static inline void *ts_pages(size_t bytes)
{
	int64_t r = ts_sys(TS_SYS_MMAP, 0, (int64_t)bytes, 3 /* read, write */, 0x22 /* private, anonymous */, -1, 0);
	return r < 0 && r > -4096 ? NULL : (void *)(intptr_t)r;
}
static inline void ts_pages_free(void *p, size_t bytes) { ts_sys3(TS_SYS_MUNMAP, (int64_t)(intptr_t)p, (int64_t)bytes, 0); }
#endif
