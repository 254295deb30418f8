/* SHA-256: the portable rounds, and the processor's own instructions where it has them (a weight file may be gigabytes). */
#include "rtlib/sha256.h"
#include <cpuid.h>
#include <immintrin.h>

static const uint32_t K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
	0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
	0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
	0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
	0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
	0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t ror(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void rounds_plain(uint32_t h[8], const uint8_t *p, size_t blocks)
{
	for (; blocks; blocks--, p += 64) {
		uint32_t w[64], s[8];
		for (int i = 0; i < 16; i++) {
			__builtin_memcpy(&w[i], p + 4 * i, 4);
			w[i] = __builtin_bswap32(w[i]);
		}
		for (int i = 16; i < 64; i++)
			w[i] = w[i - 16] + w[i - 7] + (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) +
			       (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
		for (int i = 0; i < 8; i++)
			s[i] = h[i];
		for (int i = 0; i < 64; i++) {
			uint32_t t = s[7] + (ror(s[4], 6) ^ ror(s[4], 11) ^ ror(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + K[i] + w[i];
			uint32_t u = (ror(s[0], 2) ^ ror(s[0], 13) ^ ror(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
			for (int k = 7; k > 0; k--)
				s[k] = s[k - 1];
			s[4] += t;
			s[0] = t + u;
		}
		for (int i = 0; i < 8; i++)
			h[i] += s[i];
	}
}

/* state lies as ABEF and CDGH; four rounds at a time, the schedule in a ring of four vectors */
__attribute__((target("sha,sse4.1,ssse3"))) static void rounds_sha(uint32_t h[8], const uint8_t *p, size_t blocks)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bll, 0x0405060700010203ll);
	__m128i t = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)h), 0xb1);
	__m128i y = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(h + 4)), 0x1b);
	__m128i x = _mm_alignr_epi8(t, y, 8);
	y = _mm_blend_epi16(y, t, 0xf0);
	for (; blocks; blocks--, p += 64) {
		__m128i x0 = x, y0 = y, m[4];
		for (int i = 0; i < 16; i++) {
			if (i < 4) {
				m[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i)), swap);
			} else {
				__m128i a = _mm_sha256msg1_epu32(m[i & 3], m[(i + 1) & 3]);
				a = _mm_add_epi32(a, _mm_alignr_epi8(m[(i + 3) & 3], m[(i + 2) & 3], 4));
				m[i & 3] = _mm_sha256msg2_epu32(a, m[(i + 3) & 3]);
			}
			__m128i k = _mm_add_epi32(m[i & 3], _mm_loadu_si128((const __m128i *)(const void *)(K + 4 * i)));
			y = _mm_sha256rnds2_epu32(y, x, k);
			x = _mm_sha256rnds2_epu32(x, y, _mm_shuffle_epi32(k, 0x0e));
		}
		x = _mm_add_epi32(x, x0);
		y = _mm_add_epi32(y, y0);
	}
	t = _mm_shuffle_epi32(x, 0x1b);
	y = _mm_shuffle_epi32(y, 0xb1);
	_mm_storeu_si128((__m128i *)(void *)h, _mm_blend_epi16(t, y, 0xf0));
	_mm_storeu_si128((__m128i *)(void *)(h + 4), _mm_alignr_epi8(y, t, 8));
}

static void rounds(uint32_t h[8], const uint8_t *p, size_t blocks)
{
	unsigned a, b = 0, c, d;
	if (blocks && __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1)
		rounds_sha(h, p, blocks);
	else
		rounds_plain(h, p, blocks);
}

void ts_sha256_init(TsSha256 *s)
{
	static const uint32_t start[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
	for (int i = 0; i < 8; i++)
		s->h[i] = start[i];
	s->bytes = 0;
}

void ts_sha256_add(TsSha256 *s, const void *from, size_t n)
{
	const uint8_t *p = from;
	size_t have = s->bytes % 64;
	s->bytes += n;
	if (have) {
		size_t take = n < 64 - have ? n : 64 - have;
		__builtin_memcpy(s->block + have, p, take);
		p += take;
		n -= take;
		if (have + take < 64)
			return;
		rounds(s->h, s->block, 1);
	}
	rounds(s->h, p, n / 64);
	__builtin_memcpy(s->block, p + n / 64 * 64, n % 64);
}

void ts_sha256_end(TsSha256 *s, uint8_t out[32])
{
	uint64_t bits = __builtin_bswap64(s->bytes * 8);
	uint8_t pad[72] = { 0x80 };
	size_t n = 64 - (s->bytes + 8) % 64;
	__builtin_memcpy(pad + n, &bits, 8);
	ts_sha256_add(s, pad, n + 8);
	for (int i = 0; i < 8; i++) {
		uint32_t w = __builtin_bswap32(s->h[i]);
		__builtin_memcpy(out + 4 * i, &w, 4);
	}
}
