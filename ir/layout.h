/* Layouts: how a tile's elements lie over registers, lanes, warps and memory. A layout is a list of digits `axis extent:stride dim`,
 * least significant digit of its axis first. The place (one number per axis, mixed radix over the digits of that axis) maps to a tile
 * coordinate: coordinate[dim] = sum of digit value * stride. A digit with no dim replicates. Axes: r register, v SIMD lane (cpu), l lane,
 * w warp, g warpgroup, c CTA of a cluster, s element offset in memory. An optional swizzle (memory only) xors byte-address bits 4.. with
 * bits 7..: 128 -> 3 bits, 64 -> 2, 32 -> 1. One concept for memory, fragments of every matrix unit and pointwise tiles. */
#pragma once
#include "support/ctx.h"

typedef enum { TS_AX_R, TS_AX_V, TS_AX_L, TS_AX_W, TS_AX_G, TS_AX_C, TS_AX_S, TS_AX_COUNT } TsAxis;
enum { TS_LAY_MAX = 16, TS_LAY_RANK = 4, TS_LAY_NODIM = 0xff };
typedef struct { uint8_t axis, dim; uint16_t extent; uint32_t stride; } TsDigit;
typedef struct { uint8_t n, rank; uint8_t swizzle; TsDigit d[TS_LAY_MAX]; } TsLayout; /* swizzle: 0, 32, 64, 128 */

/* Every function says what it ensures; tests/unit/test_layout.c loops over every index. */
int64_t ts_layout_axis_size(const TsLayout *l, TsAxis a);      /* product of the extents on that axis */
int64_t ts_layout_extent(const TsLayout *l, int dim);          /* 1 + largest coordinate */
/* coord[0..rank) of the element at place[axis]. */
void ts_layout_at(const TsLayout *l, const int64_t place[TS_AX_COUNT], int64_t coord[TS_LAY_RANK]);
/* Every coordinate of the box exactly once per replica; false and *why otherwise. Decided from the digits: those of a dim, by stride,
 * must chain (stride of one = stride * extent of the one before, from 1). */
bool ts_layout_check(const TsLayout *l, const int64_t extent[TS_LAY_RANK], const char **why);
/* Same map as functions of place: same coordinates everywhere, digits may be cut differently. */
bool ts_layout_same(const TsLayout *a, const TsLayout *b);
/* Fewest digits for the same map, axes in the order of TsAxis: a normal form, so equal maps give equal structs. On the v axis alone a
 * wholly replicated axis vanishes: a value that all SIMD lanes of a core share is one register (`v16:_ r6:1m` is `r6:1m`). */
TsLayout ts_layout_coalesce(const TsLayout *l);
TsLayout ts_layout_row_major(const int64_t *extent, int rank);  /* memory: s digits, last axis fastest */
TsLayout ts_layout_transpose(const TsLayout *l);                /* rank 2: dims swapped */
void ts_layout_text(const TsLayout *l, TsBuf *to);              /* dims are written m n k j */
/* Cuts digits so that both lists cut alike on every axis (r16:8k = r2:8k r8:16k). False when they cannot be cut alike. */
bool ts_layout_refine(const TsLayout *a, const TsLayout *b, TsLayout *ra, TsLayout *rb);
/* Drops dim: its r and s digits go, its v l w g c digits become replicated (an all-replicated v axis vanishes, as in coalesce); other dims
 * are renumbered. Row statistics. */
TsLayout ts_layout_drop(const TsLayout *l, int dim);
/* The part with coordinate[dim] in [at, at + len): legal when len and at fall on a cut of pure r digits. *first_register is where its
 * register 0 lies in l; the others follow by coordinate. */
bool ts_layout_slice(const TsLayout *l, int dim, int64_t at, int64_t len, TsLayout *out, int64_t *first_register);
/* Byte offset in memory of coordinate (s axis of a memory layout), swizzle applied. */
int64_t ts_layout_offset(const TsLayout *mem, const int64_t coord[TS_LAY_RANK], int elem_bytes);
/* Register of l that holds coord for lane-like place 0 (r axis only is searched); -1 when none does. */
int64_t ts_layout_register(const TsLayout *l, const int64_t coord[TS_LAY_RANK]);
/* Worst number of 32-bit words per bank in one phase of a warp-wide access of `width` bytes per lane; counted by enumeration. */
int ts_layout_conflicts(const TsLayout *reg, const TsLayout *mem, int elem_bytes, int width);
