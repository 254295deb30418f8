/* Packing of weights into panels, shared source of compiler and runtime so that both make the same bytes. Packed layout, for a logical
 * source [batch, k, n] of `elem`-byte elements at any strides:
 *   packed[b][n / P][k / G][n % P][k % G] = source[b, k, n], with P = panel and G = group,
 * dimensions rounded up to whole panels and groups and filled with zeros. COPY keeps the bytes as they are. */
#ifndef TESSERA_RTLIB_PACK_H
#define TESSERA_RTLIB_PACK_H
#include <stdbool.h>
#include "rtlib/plan.h"

static inline int64_t ts_pack_ceil(int64_t a, int64_t b) { return a / b + (a % b != 0); }

/* Bytes of the packed form; false: beyond 2^63. */
static inline bool ts_pack_bytes(const TsPack *p, int64_t *bytes)
{
	int64_t row = (int64_t)p->panel * p->group * p->elem, x;
	return !__builtin_mul_overflow(ts_pack_ceil(p->k, p->group), row, &x) && !__builtin_mul_overflow(ts_pack_ceil(p->n, p->panel), x, &x) &&
	       !__builtin_mul_overflow(p->batch, x, bytes);
}

/* Bytes of source that packing reads: from element 0 to the last one touched. False: negative reach, or beyond 2^63. */
static inline bool ts_pack_source_bytes(const TsPack *p, int64_t *bytes)
{
	int64_t a, b, c, n;
	if (p->batch == 0 || p->k == 0 || p->n == 0) {
		*bytes = 0;
		return true;
	}
	if (p->stride_batch < 0 || p->stride_k < 0 || p->stride_n < 0)
		return false;
	return !__builtin_mul_overflow(p->stride_batch, p->batch - 1, &a) && !__builtin_mul_overflow(p->stride_k, p->k - 1, &b) &&
	       !__builtin_mul_overflow(p->stride_n, p->n - 1, &c) && !__builtin_add_overflow(a, b, &n) && !__builtin_add_overflow(n, c, &n) &&
	       !__builtin_add_overflow(n, 1, &n) && !__builtin_mul_overflow(n, (int64_t)p->elem, bytes);
}

static inline void ts_pack_element(uint8_t *to, const uint8_t *from, uint32_t elem)
{
	switch (elem) {
	case 1: *to = *from; break;
	case 2: __builtin_memcpy(to, from, 2); break;
	case 4: __builtin_memcpy(to, from, 4); break;
	default: __builtin_memcpy(to, from, 8);
	}
}

/* Panels [first, first + count) of all batch*ceil(n/P) ones, to `to`. Each is ceil(k/G)*P*G*elem bytes and independent of the others, so
 * a caller may stream them in any pieces. */
static inline void ts_pack_panels(const TsPack *p, const void *source, int64_t first, int64_t count, void *to)
{
	int64_t per_batch = ts_pack_ceil(p->n, p->panel), groups = ts_pack_ceil(p->k, p->group);
	uint8_t *out = (uint8_t *)to;
	for (int64_t i = first; i < first + count; i++) {
		int64_t n0 = i % per_batch * p->panel;
		const uint8_t *base = (const uint8_t *)source + (i / per_batch * p->stride_batch + n0 * p->stride_n) * p->elem;
		for (int64_t kg = 0; kg < groups; kg++)
			for (int64_t j = 0; j < p->panel; j++)
				for (int64_t g = 0; g < p->group; g++, out += p->elem) {
					int64_t k = kg * p->group + g;
					if (k < p->k && n0 + j < p->n)
						ts_pack_element(out, base + (k * p->stride_k + j * p->stride_n) * p->elem, p->elem);
					else
						__builtin_memset(out, 0, p->elem);
				}
	}
}
#endif
