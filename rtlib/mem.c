/* The memory functions that compilers call without being asked. Hidden, so that each artifact uses its own. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
int bcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);

typedef uint64_t __attribute__((aligned(1), may_alias)) Word;
typedef uint32_t __attribute__((aligned(1), may_alias)) Half;
typedef uint16_t __attribute__((aligned(1), may_alias)) Quarter;
typedef long long __attribute__((vector_size(16), aligned(1), may_alias)) Vec;

/* n < 16; reads all before it writes, so overlap is fine */
static void copy_small(uint8_t *d, const uint8_t *s, size_t n)
{
	if (n >= 8) {
		uint64_t a = *(const Word *)s, b = *(const Word *)(s + n - 8);
		*(Word *)d = a;
		*(Word *)(d + n - 8) = b;
	} else if (n >= 4) {
		uint32_t a = *(const Half *)s, b = *(const Half *)(s + n - 4);
		*(Half *)d = a;
		*(Half *)(d + n - 4) = b;
	} else if (n >= 2) {
		uint16_t a = *(const Quarter *)s, b = *(const Quarter *)(s + n - 2);
		*(Quarter *)d = a;
		*(Quarter *)(d + n - 2) = b;
	} else if (n) {
		*d = *s;
	}
}

void *memmove(void *to, const void *from, size_t n)
{
	uint8_t *d = to;
	const uint8_t *s = from;
	if (n < 16) {
		copy_small(d, s, n);
	} else if ((uintptr_t)d - (uintptr_t)s >= n) { /* d before s, or no overlap: upwards */
		Vec last = *(const Vec *)(s + n - 16);
		size_t i = 0;
		for (; i + 64 <= n; i += 64) {
			Vec a = *(const Vec *)(s + i), b = *(const Vec *)(s + i + 16), c = *(const Vec *)(s + i + 32), e = *(const Vec *)(s + i + 48);
			*(Vec *)(d + i) = a;
			*(Vec *)(d + i + 16) = b;
			*(Vec *)(d + i + 32) = c;
			*(Vec *)(d + i + 48) = e;
		}
		for (; i + 16 < n; i += 16)
			*(Vec *)(d + i) = *(const Vec *)(s + i);
		*(Vec *)(d + n - 16) = last;
	} else {
		Vec first = *(const Vec *)s;
		size_t i = n;
		for (; i > 16; i -= 16)
			*(Vec *)(d + i - 16) = *(const Vec *)(s + i - 16);
		*(Vec *)d = first;
	}
	return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	if (n >= 4096) { /* the processor's own string move is at its best here */
		void *d = to;
		const void *s = from;
		__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
		return to;
	}
	return memmove(to, from, n);
}

void *memset(void *to, int byte, size_t n)
{
	uint8_t *d = to;
	uint64_t w = 0x0101010101010101u * (uint8_t)byte;
	if (n < 8) {
		for (size_t i = 0; i < n; i++)
			d[i] = (uint8_t)byte;
		return to;
	}
	if (n >= 4096) {
		void *p = to;
		__asm__ volatile("rep stosb" : "+D"(p), "+c"(n) : "a"(byte) : "memory");
		return to;
	}
	for (size_t i = 0; i + 8 < n; i += 8)
		*(Word *)(d + i) = w;
	*(Word *)(d + n - 8) = w;
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;
	for (size_t i = 0; i < n; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

int bcmp(const void *a, const void *b, size_t n) { return memcmp(a, b, n); }

size_t strlen(const char *s)
{
	size_t n = 0;
	while (s[n])
		n++;
	return n;
}
