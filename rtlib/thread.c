/* Threads, locks and what the processor is. Inside a host process threads come from its pthread_create, found at load time if it has
 * one; a program of ours, which has no libc, makes them with clone(2). */
#include "rtlib/rt.h"
#include "rtlib/sys.h"
#include <stdatomic.h>
#include <cpuid.h>

/* ---- lock: 0 free, 1 taken, 2 taken and somebody sleeps ---- */

void ts_lock(TsLock *l)
{
	uint32_t seen = 0;
	if (atomic_compare_exchange_strong(&l->state, &seen, 1))
		return;
	while (atomic_exchange(&l->state, 2) != 0)
		ts_futex_wait(&l->state, 2);
}

void ts_unlock(TsLock *l)
{
	if (atomic_exchange(&l->state, 0) == 2)
		ts_futex_wake(&l->state, 1);
}

/* ---- threads of the host process ---- */

extern int pthread_create(uintptr_t *thread, const void *attributes, void *(*main)(void *), void *arg) __attribute__((weak, visibility("default")));
extern int pthread_join(uintptr_t thread, void **result) __attribute__((weak, visibility("default")));

/* Workers take no signals meant for the host: all are blocked but those of faults, of profilers, and the ones libc itself sends. A new
 * thread has the mask of the one that makes it; this one's goes to *old. */
static void mask_for_workers(uint64_t *old)
{
	enum { ILL = 4, TRAP = 5, BUS = 7, FPE = 8, SEGV = 11, PROF = 27, FIRST_OF_LIBC = 32 };
	const uint64_t open = 1ull << (ILL - 1) | 1ull << (TRAP - 1) | 1ull << (BUS - 1) | 1ull << (FPE - 1) | 1ull << (SEGV - 1) | 1ull << (PROF - 1) |
	                      7ull << (FIRST_OF_LIBC - 1);
	uint64_t block = ~open;
	ts_sys(TS_SYS_SIGMASK, 0 /* block */, (int64_t)(intptr_t)&block, (int64_t)(intptr_t)old, 8, 0, 0);
}
static void mask_again(const uint64_t *old) { ts_sys(TS_SYS_SIGMASK, 2 /* set */, (int64_t)(intptr_t)old, 0, 8, 0, 0); }

static bool libc_start(TsThread *t)
{
	uint64_t old;
	if (!pthread_create || !pthread_join)
		return false;
	mask_for_workers(&old);
	bool ok = pthread_create(&t->id, NULL, t->main, t->arg) == 0;
	mask_again(&old);
	return ok;
}
static void libc_join(TsThread *t) { pthread_join(t->id, NULL); }
const TsThreadOps ts_threads_libc = { libc_start, libc_join };

/* ---- threads of our own ---- */

enum { STACK = 1 << 20, GUARD = 4096 };

/* clone(flags, top of stack, -, &alive, -): the child calls main(arg) and exits; the kernel then clears alive and wakes the joiner */
static int64_t clone_thread(TsThread *t, void **top)
{
	/* VM | FS | FILES | SIGHAND | THREAD | SYSVSEM | CHILD_CLEARTID */
	int64_t flags = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x200000, r;
	register void *r10 __asm__("r10") = (void *)&t->alive;
	register int64_t r8 __asm__("r8") = 0;
	top[0] = (void *)t->main;
	top[1] = t->arg;
	__asm__ volatile(
		"syscall\n\t"
		"test %%rax, %%rax\n\t"
		"jnz 1f\n\t"
		"xor %%ebp, %%ebp\n\t"
		"pop %%rax\n\t"
		"pop %%rdi\n\t"
		"call *%%rax\n\t"
		"mov $60, %%eax\n\t"
		"xor %%edi, %%edi\n\t"
		"syscall\n\t"
		"1:"
		: "=a"(r) : "a"(56), "D"(flags), "S"(top), "d"(0), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
	return r;
}

static bool own_start(TsThread *t)
{
	uint8_t *stack = ts_pages(STACK);
	if (!stack)
		return false;
	ts_sys3(10 /* mprotect */, (int64_t)(intptr_t)stack, GUARD, 0);
	t->stack = stack;
	atomic_store(&t->alive, 1);
	uint64_t old;
	mask_for_workers(&old);
	int64_t id = clone_thread(t, (void **)(void *)(stack + STACK - 32)); /* the stack is 16-byte aligned where main is called */
	mask_again(&old);
	if (id > 0)
		return true;
	ts_pages_free(stack, STACK);
	return false;
}

static void own_join(TsThread *t)
{
	while (atomic_load(&t->alive)) /* the kernel's wake is a shared one */
		ts_sys(TS_SYS_FUTEX, (int64_t)(intptr_t)&t->alive, 0, 1, 0, 0, 0);
	ts_pages_free(t->stack, STACK);
}
const TsThreadOps ts_threads_own = { own_start, own_join };

/* ---- the processor ---- */

int32_t ts_cpu_count(void)
{
	uint64_t mask[128];
	int64_t bytes = ts_sys3(TS_SYS_AFFINITY, 0, sizeof mask, (int64_t)(intptr_t)mask);
	int32_t n = 0;
	for (int64_t i = 0; i < bytes / 8; i++)
		n += __builtin_popcountll(mask[i]);
	return n > 0 ? n : 1;
}

static uint64_t enabled_state(void)
{
	uint32_t lo, hi;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

int32_t ts_cpu_level(void)
{
	uint32_t a, b, c, d, c1, b7, c81;
	if (!__get_cpuid(1, &a, &b, &c1, &d))
		return 0;
	const uint32_t v2 = 1u << 0 | 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23; /* sse3 ssse3 cx16 sse4.1 sse4.2 popcnt */
	if ((c1 & v2) != v2)
		return 0;
	const uint32_t v3 = 1u << 12 | 1u << 22 | 1u << 27 | 1u << 28 | 1u << 29; /* fma movbe osxsave avx f16c */
	if ((c1 & v3) != v3 || (enabled_state() & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b7, &c, &d) || !__get_cpuid(0x80000001, &a, &b, &c81, &d))
		return TESSERA_CPU_V2;
	const uint32_t v3b = 1u << 3 | 1u << 5 | 1u << 8; /* bmi1 avx2 bmi2 */
	if ((b7 & v3b) != v3b || !(c81 >> 5 & 1) /* lzcnt */)
		return TESSERA_CPU_V2;
	const uint32_t v4 = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31; /* avx512 f dq cd bw vl */
	return (b7 & v4) == v4 && (enabled_state() & 0xe6) == 0xe6 ? TESSERA_CPU_V4 : TESSERA_CPU_V3;
}
