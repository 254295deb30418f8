/* Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011), and how a random operator reads it: docs/ops.md. */
#pragma once
#include <stdint.h>

static inline void ts_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
	uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
	for (int round = 0; round < 10; round++) {
		uint64_t p = (uint64_t)0xD2511F53u * c0, q = (uint64_t)0xCD9E8D57u * c2;
		c0 = (uint32_t)(q >> 32) ^ c1 ^ k0;
		c2 = (uint32_t)(p >> 32) ^ c3 ^ k1;
		c1 = (uint32_t)q;
		c3 = (uint32_t)p;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

/* The four words of element i of a stream. In iteration j of the enclosing loops (counted together) stream is n + 65536*j. */
static inline void ts_philox_element(int64_t seed, int64_t step, uint32_t stream, int64_t i, uint32_t out[4])
{
	uint64_t s = (uint64_t)seed, t = (uint64_t)step, e = (uint64_t)i;
	ts_philox((uint32_t[4]){ (uint32_t)e, (uint32_t)(e >> 32), stream, (uint32_t)t }, (uint32_t[2]){ (uint32_t)s, (uint32_t)(s >> 32) ^ (uint32_t)(t >> 32) }, out);
}
