/* LZ4 blocks as the library writes them come out whole; damaged ones, cut ones and wrong sizes are refused, and nothing outside is touched. */
#include "rtlib/cuda_lz4.c" /* runtime code: no archive of the compiler has it */
#include <lz4hc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 70000, EDGE = 64, KINDS = 4 };
static int failed;
static uint64_t state = 20261121;

static void check(const char *name, int ok)
{
	printf(ok ? "ok %s\n" : "FAIL %s: wrong bytes, or bytes outside\n", name);
	failed |= !ok;
}

static uint32_t next(void) { return (uint32_t)((state = state * 6364136223846793005u + 1442695040888963407u) >> 33); }

/* noise, one byte, words of a text, periods */
static void fill(uint8_t *p, int n, int kind)
{
	static const char *const word[] = { "add.f32 ", "%r12, ", "ld.shared.v4 ", "\n\t" };
	for (int i = 0; i < n;) {
		if (kind == 0) p[i++] = (uint8_t)next();
		else if (kind == 1) p[i++] = 'x';
		else if (kind == 2)
			for (const char *w = word[next() % 4]; *w && i < n;) p[i++] = (uint8_t)*w++;
		else { p[i] = (uint8_t)(i < 7 ? next() : p[i - 7]); i++; }
	}
}

static int edges_whole(const uint8_t *room, uint64_t n)
{
	for (int i = 0; i < EDGE; i++)
		if (room[i] != 0xa5 || room[EDGE + n + (uint64_t)i] != 0xa5) return 0;
	return 1;
}

/* Into a room with edges. -1: an edge was written. */
static int unpack(const uint8_t *block, uint64_t bytes, uint8_t *room, uint64_t n)
{
	uint8_t *exact = malloc(bytes + !bytes); /* a sanitizer sees a read behind it */
	memcpy(exact, block, bytes);
	memset(room, 0xa5, n + 2 * EDGE);
	int ok = ts_lz4_unpack(exact, bytes, room + EDGE, n);
	free(exact);
	return edges_whole(room, n) ? ok : -1;
}

int main(void)
{
	static uint8_t text[MOST], block[2 * MOST], room[MOST + 2 * EDGE + 1], damaged[2 * MOST];
	static const int sizes[] = { 1, 2, 4, 5, 12, 13, 14, 15, 16, 17, 64, 255, 270, 271, 4096, 65535, 65536, MOST };
	static const char *const names[KINDS] = { "noise", "one-byte", "text", "periods" };
	for (int kind = 0; kind < KINDS; kind++) {
		int whole = 1, other = 1, safe = 1;
		for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
			int n = sizes[s];
			fill(text, n, kind);
			int bytes = LZ4_compress_HC((const char *)text, (char *)block, n, sizeof block, LZ4HC_CLEVEL_MAX);
			whole &= unpack(block, (uint64_t)bytes, room, (uint64_t)n) == 1 && !memcmp(room + EDGE, text, (size_t)n);
			other &= unpack(block, (uint64_t)bytes, room, (uint64_t)n - 1) == 0 && unpack(block, (uint64_t)bytes, room, (uint64_t)n + 1) == 0 && unpack(block, (uint64_t)bytes - 1, room, (uint64_t)n) == 0;
			for (int i = 0; i < 200; i++) {
				memcpy(damaged, block, (size_t)bytes);
				for (int k = 0; k < 3; k++) damaged[next() % (uint32_t)bytes] = (uint8_t)next();
				safe &= unpack(damaged, (uint64_t)bytes, room, (uint64_t)n) >= 0;
			}
		}
		char name[64];
		snprintf(name, sizeof name, "%s-comes-out-whole", names[kind]), check(name, whole);
		snprintf(name, sizeof name, "%s-of-another-size-is-refused", names[kind]), check(name, other);
		snprintf(name, sizeof name, "%s-damaged-stays-inside", names[kind]), check(name, safe);
	}
	check("nothing-is-no-block", unpack(block, 0, room, 0) == 0);
	return failed;
}
