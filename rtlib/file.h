/* Files by the kernel's calls alone. Only regular files are read: opening anything else neither waits nor has an effect. Output is
 * written aside and renamed, so that a failure leaves nothing; it follows symbolic links to the file they mean, and devices and read
 * pipes are written as they are. Results are 0 or a reason, which ts_reason and the format %e say in words. */
#ifndef TESSERA_RTLIB_FILE_H
#define TESSERA_RTLIB_FILE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct { const void *p; uint64_t n; } TsPart;

/* A private mapping of the whole file; p is never NULL, and nothing is mapped when n is 0. */
int64_t ts_map_regular(const char *path, bool writable, const uint8_t **p, uint64_t *n);
int64_t ts_write_parts(const char *path, const TsPart *parts, uint32_t n);
/* Writing both would leave one file with what came last: the same file, or the same name of one that is yet to be made. */
bool ts_same_file(const char *p, const char *q);
#endif
