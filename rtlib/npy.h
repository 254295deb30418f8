/* NumPy's .npy format, versions 1 to 3, on memory: reads a header, writes a header. Element types that NumPy lacks travel as raw
 * bytes: bf16 as '<V2' (also read from '<u2'), fp8 and fp6 as '|V1' (also from '|u1'). 4-bit types are refused. Never allocates. */
#ifndef TESSERA_RTLIB_NPY_H
#define TESSERA_RTLIB_NPY_H
#include <stdbool.h>
#include "rtlib/plan.h"

typedef struct {
	char descr[8];            /* as in the file: "<f4" */
	uint32_t rank, size;      /* bytes of an element */
	bool fortran;
	int64_t shape[TS_MAX_RANK];
	uint64_t offset, bytes;   /* of the data in the file */
} TsNpy;

/* NULL, or what is wrong with the file (a static string). All data lies inside [p, p + n). */
const char *ts_npy_read(const void *p, uint64_t n, TsNpy *out);
bool ts_npy_fits(const TsNpy *a, uint32_t dtype);
const char *ts_npy_descr(uint32_t dtype);   /* NULL for types that .npy can't hold */
enum { TS_NPY_HEADER = 1024 };
/* Header for a compact array, at most TS_NPY_HEADER bytes; returns its length, a multiple of 64. */
uint32_t ts_npy_header(uint32_t dtype, uint32_t rank, const int64_t *shape, char out[TS_NPY_HEADER]);
#endif
