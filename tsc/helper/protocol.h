/* What tsc and tsc-load say to each other: tsc-load writes to its standard output and reads from its standard input, in turns. Every
 * number is a little-endian int64; a text is its length and its bytes; data are their length and their bytes.
 *
 *   tsc-load, first      MAGIC, then a status: 0 or an exit code and a text. After status 0:
 *                        dims: count, then name, min, max, multiple each
 *                        graphs: count, then name, inputs, outputs, and for each tensor name, code, bits, rank, rank sizes
 *   tsc                  one request: kind, graph, runs, threads, cpu, device (0 auto, else a DLPack type), its number, weights (text, empty:
 *                        default), then
 *                        TS_LOAD_RUN: for each input its code, bits, rank, sizes, data; for each output 1 if it is wanted
 *                        TS_LOAD_EXPLAIN: a size for each dim, -1 where there is none
 *   tsc-load, last       status as above. After status 0:
 *                        workspace bytes, threads, cpu, external bytes, device (text, empty: the CPU), why it or its code is not the best (text, mostly empty), then the lines of explain: count, texts;
 *                        TS_LOAD_RUN: `runs` times in nanoseconds, the first run before them; for each wanted output rank, sizes, data
 *
 * `tsc-load --detect` reads nothing and says MAGIC, then a status: 0, or an exit code and why there are no GPUs; after status 0 their count, and
 * name and compute capability (90 for 9.0) of each.
 *
 * Both come from one build of Tessera, so there is one version of this and no compatibility. */
#ifndef TESSERA_TSC_PROTOCOL_H
#define TESSERA_TSC_PROTOCOL_H
#include <stdint.h>

enum { TS_LOAD_MAGIC = 0x4c545301 };
enum { TS_LOAD_RUN = 1, TS_LOAD_EXPLAIN = 2 };
enum { TS_LOAD_MAX_TEXT = 1 << 16, TS_LOAD_MAX_TENSORS = 4096, TS_LOAD_MAX_LINES = 1 << 20 };
#endif
