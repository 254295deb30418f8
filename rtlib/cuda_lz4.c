#include "rtlib/cuda_lz4.h"

enum { LONG = 15 /* a length of 4 bits goes on in bytes */, LEAST = 4 /* bytes of a match */ };
typedef struct { const uint8_t *p, *end; } Reader;

/* The length that begins with `n`, at most `most`; most + 1: longer, or cut off. */
static uint64_t length(Reader *r, uint64_t n, uint64_t most)
{
	uint8_t more = n == LONG ? 255 : 0;
	while (more == 255) {
		if (r->p == r->end || n > most)
			return most + 1;
		more = *r->p++;
		n += more;
	}
	return n <= most ? n : most + 1;
}

/* A sequence: literals, then a match further back in the output; the last one has literals alone. */
int32_t ts_lz4_unpack(const uint8_t *from, uint64_t bytes, uint8_t *to, uint64_t size)
{
	Reader r = { from, from + bytes };
	uint64_t at = 0;
	while (r.p < r.end) {
		uint8_t token = *r.p++;
		uint64_t n = length(&r, token >> 4, size - at);
		if (n > size - at || n > (uint64_t)(r.end - r.p))
			return 0;
		for (uint64_t i = 0; i < n; i++)
			to[at++] = *r.p++;
		if (r.p == r.end)
			return at == size;
		if (r.end - r.p < 2)
			return 0;
		uint64_t back = r.p[0] | (uint64_t)r.p[1] << 8;
		r.p += 2;
		n = length(&r, token & LONG, size);
		if (!back || back > at || n + LEAST > size - at)
			return 0;
		for (n += LEAST; n; n--, at++)
			to[at] = to[at - back];
	}
	return 0;
}
