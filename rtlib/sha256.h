/* SHA-256 (FIPS 180-4), by which published weight files are recognised. Shared source of compiler and runtime. */
#ifndef TESSERA_RTLIB_SHA256_H
#define TESSERA_RTLIB_SHA256_H
#include <stddef.h>
#include <stdint.h>

typedef struct { uint32_t h[8]; uint64_t bytes; uint8_t block[64]; } TsSha256;
void ts_sha256_init(TsSha256 *s);
void ts_sha256_add(TsSha256 *s, const void *p, size_t n);
void ts_sha256_end(TsSha256 *s, uint8_t out[32]);
#endif
