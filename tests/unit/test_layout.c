/* Layouts: every law on every index of some hundred layouts, the fragments of the matrix units against the vendors' closed formulas, and
 * bank conflicts as counted on paper. */
#include "ir/layout.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static bool check(bool ok, const char *name, const char *why)
{
	if (!ok) printf("FAIL %s: %s\n", name, why), failures++;
	return ok;
}

/* "l4:2n l8:1m w2:_ swizzle 128", dims numbered as they stand in `dims` */
static TsLayout layout(const char *dims, const char *text)
{
	TsLayout l = { .rank = (uint8_t)strlen(dims) };
	while (*text) {
		char *end;
		if (*text == ' ') { text++; continue; }
		if (!strncmp(text, "swizzle ", 8)) { l.swizzle = (uint8_t)atoi(text + 8); break; }
		TsDigit d = { (uint8_t)(strchr("rvlwgcs", *text) - "rvlwgcs"), TS_LAY_NODIM, 0, 0 };
		d.extent = (uint16_t)strtol(text + 1, &end, 10);
		text = end + 1;
		if (*text == '_') text++;
		else {
			d.stride = (uint32_t)strtol(text, &end, 10);
			d.dim = (uint8_t)(strchr(dims, *end) - dims);
			text = end + 1;
		}
		l.d[l.n++] = d;
	}
	return l;
}

static int64_t places(const TsLayout *l)
{
	int64_t n = 1;
	for (int a = 0; a < TS_AX_COUNT; a++) n *= ts_layout_axis_size(l, (TsAxis)a);
	return n;
}

static void place_of(const TsLayout *l, int64_t i, int64_t place[TS_AX_COUNT])
{
	for (int a = 0; a < TS_AX_COUNT; a++) {
		int64_t n = ts_layout_axis_size(l, (TsAxis)a);
		place[a] = i % n;
		i /= n;
	}
}

/* ---- laws on generated layouts ---- */
static uint64_t seed = 88172645463325252u;
static int pick(int n)
{
	seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
	return (int)(seed % (uint64_t)n);
}

/* A layout that holds each element `copies` times, extents products of small factors. */
static TsLayout generate(bool memory, int64_t extent[TS_LAY_RANK], int64_t *copies)
{
	static const int factor[] = { 2, 2, 2, 3, 4, 5 };
	TsLayout l = { .rank = (uint8_t)(1 + pick(3)) };
	*copies = 1;
	for (int dim = 0; dim < l.rank; dim++) {
		extent[dim] = 1;
		for (int k = pick(4); k >= 0; k--) {
			int e = factor[pick(6)];
			if (places(&l) * e > 4096) break;
			l.d[l.n++] = (TsDigit){ memory ? TS_AX_S : (uint8_t)pick(TS_AX_S), (uint8_t)dim, (uint16_t)e, (uint32_t)extent[dim] };
			extent[dim] *= e;
		}
	}
	if (!memory && pick(3) == 0) {
		l.d[l.n++] = (TsDigit){ (uint8_t)(TS_AX_L + pick(3)), TS_LAY_NODIM, (uint16_t)(2 + pick(2)), 0 };
		*copies = l.d[l.n - 1].extent;
	}
	for (int i = l.n - 1; i > 0; i--) { /* shuffle */
		int k = pick(i + 1);
		TsDigit d = l.d[i];
		l.d[i] = l.d[k];
		l.d[k] = d;
	}
	return l;
}

/* Counts by enumeration: true when every coordinate of the box is held the same number of times. */
static bool tiles_box(const TsLayout *l, const int64_t extent[TS_LAY_RANK])
{
	int64_t size = 1, n = places(l);
	for (int i = 0; i < l->rank; i++) size *= extent[i];
	if (n % size) return false;
	int *count = calloc((size_t)size, sizeof(int));
	bool ok = true;
	for (int64_t i = 0; i < n && ok; i++) {
		int64_t place[TS_AX_COUNT], c[TS_LAY_RANK], at = 0;
		place_of(l, i, place);
		ts_layout_at(l, place, c);
		for (int k = 0; k < l->rank; k++) ok = ok && c[k] < extent[k], at = at * extent[k] + c[k];
		if (ok) ok = ++count[at] <= n / size;
	}
	free(count);
	return ok;
}

static bool same_by_enumeration(const TsLayout *a, const TsLayout *b)
{
	for (int x = 0; x < TS_AX_COUNT; x++)
		if (ts_layout_axis_size(a, (TsAxis)x) != ts_layout_axis_size(b, (TsAxis)x)) return false;
	for (int64_t i = 0; i < places(a); i++) {
		int64_t place[TS_AX_COUNT], p[TS_LAY_RANK], q[TS_LAY_RANK];
		place_of(a, i, place);
		ts_layout_at(a, place, p);
		ts_layout_at(b, place, q);
		if (memcmp(p, q, sizeof p)) return false;
	}
	return true;
}

static void law_check(TsLayout l, int64_t extent[TS_LAY_RANK])
{
	const char *why;
	check(ts_layout_check(&l, extent, &why) && tiles_box(&l, extent), "check", "a generated layout is refused");
	for (int i = 0; i < l.rank; i++) check(ts_layout_extent(&l, i) == extent[i], "extent", "wrong extent");
	if (!l.n) return;
	TsDigit *d = &l.d[pick(l.n)];
	if (pick(2)) d->extent++;
	else d->stride += 1 + (uint32_t)pick(3);
	for (int i = 0; i < l.rank; i++) extent[i] = ts_layout_extent(&l, i);
	int64_t size = 1;
	for (int i = 0; i < l.rank; i++) size *= extent[i];
	if (size > 1 << 20) return;
	check(ts_layout_check(&l, extent, &why) == tiles_box(&l, extent), "check", "a changed layout: digits and enumeration disagree");
}

static void law_coalesce(const TsLayout *l)
{
	TsLayout c = ts_layout_coalesce(l), again = ts_layout_coalesce(&c), ra, rb;
	check(!memcmp(&c, &again, sizeof c), "coalesce", "not idempotent");
	check(same_by_enumeration(l, &c), "coalesce", "changes the map");
	check(ts_layout_same(l, &c), "same", "a layout differs from its normal form");
	check(ts_layout_refine(l, &c, &ra, &rb), "refine", "a layout and its normal form cannot be cut alike");
	check(same_by_enumeration(l, &ra) && same_by_enumeration(&c, &rb), "refine", "changes a map");
	check(ra.n == rb.n, "refine", "cut differently");
	for (int i = 0; i < ra.n; i++) check(ra.d[i].axis == rb.d[i].axis && ra.d[i].extent == rb.d[i].extent, "refine", "cut differently");
}

static void law_same(const TsLayout *a, const TsLayout *b)
{
	if (a->rank == b->rank) check(ts_layout_same(a, b) == same_by_enumeration(a, b), "same", "normal form and enumeration disagree");
}

/* Dropping a dim leaves the other coordinates where the lane-like places have them. */
static void law_drop(const TsLayout *l)
{
	for (int dim = 0; dim < l->rank; dim++) {
		TsLayout d = ts_layout_drop(l, dim);
		int64_t extent[TS_LAY_RANK] = { 0 };
		for (int i = 0, k = 0; i < l->rank; i++) if (i != dim) extent[k++] = ts_layout_extent(l, i);
		const char *why;
		check(d.rank == l->rank - 1 && ts_layout_check(&d, extent, &why), "drop", "the rest is no layout");
		for (int64_t i = 0; i < places(l); i++) { /* same lane: the value of some register */
			int64_t place[TS_AX_COUNT], c[TS_LAY_RANK], want[TS_LAY_RANK] = { 0 }, got[TS_LAY_RANK];
			place_of(l, i, place);
			ts_layout_at(l, place, c);
			for (int k = 0, j = 0; k < l->rank; k++) if (k != dim) want[j++] = c[k];
			bool found = false;
			if (ts_layout_axis_size(&d, TS_AX_V) == 1) place[TS_AX_V] = 0;
			for (int64_t r = 0; r < ts_layout_axis_size(&d, TS_AX_R) && !found; r++) {
				place[TS_AX_R] = r;
				ts_layout_at(&d, place, got);
				found = !memcmp(got, want, sizeof got);
			}
			if (!check(found, "drop", "a lane lost its row")) return;
		}
	}
}

/* Slices of equal length cover the axis, and each register of a slice is where ts_layout_register says. */
static void law_slice(const TsLayout *l)
{
	for (int dim = 0; dim < l->rank; dim++)
		for (int64_t extent = ts_layout_extent(l, dim), len = 1; len <= extent; len++) {
			TsLayout s;
			int64_t first;
			if (extent % len || !ts_layout_slice(l, dim, 0, len, &s, &first)) continue;
			for (int64_t at = 0; at < extent; at += len) {
				check(ts_layout_slice(l, dim, at, len, &s, &first) && ts_layout_extent(&s, dim) == len, "slice", "one part is refused");
				for (int64_t i = 0; i < places(&s); i++) {
					int64_t place[TS_AX_COUNT], c[TS_LAY_RANK], of[TS_LAY_RANK], corner[TS_AX_COUNT] = { 0 }, reg[TS_LAY_RANK];
					place_of(&s, i, place);
					ts_layout_at(&s, place, c);
					corner[TS_AX_R] = place[TS_AX_R];
					ts_layout_at(&s, corner, reg);
					reg[dim] += at;
					c[dim] += at;
					place[TS_AX_R] = ts_layout_register(l, reg);
					if (!check(place[TS_AX_R] >= 0, "slice", "no register holds it")) return;
					if (i == 0) check(place[TS_AX_R] == first, "slice", "first register is wrong");
					ts_layout_at(l, place, of);
					if (!check(!memcmp(c, of, sizeof c), "slice", "a register holds another element")) return;
				}
			}
		}
}

static void law_offset(const TsLayout *m, const int64_t extent[TS_LAY_RANK], int swizzle)
{
	TsLayout l = *m;
	l.swizzle = (uint8_t)swizzle;
	int64_t size = 1;
	for (int i = 0; i < l.rank; i++) size *= extent[i];
	if (swizzle && size % 512) return; /* the xor stays inside 1024 bytes */
	char *seen = calloc((size_t)size, 1);
	for (int64_t i = 0; i < size; i++) {
		int64_t place[TS_AX_COUNT] = { [TS_AX_S] = i }, c[TS_LAY_RANK];
		ts_layout_at(&l, place, c);
		int64_t o = ts_layout_offset(&l, c, 2);
		if (!check(o >= 0 && o < 2 * size && !(o & 1) && !seen[o / 2], "offset", "two elements at one place")) break;
		seen[o / 2] = 1;
		if (!swizzle && !check(o == 2 * i, "offset", "not the inverse of the map")) break;
		if (swizzle == 128 && !check(o == ((2 * i) ^ ((2 * i >> 7 & 7) << 4)), "offset", "not the 128-byte swizzle")) break;
	}
	free(seen);
}

static void laws(void)
{
	TsLayout before = { 0 };
	for (int n = 0; n < 400; n++) {
		int64_t extent[TS_LAY_RANK] = { 0 }, copies;
		TsLayout l = generate(n % 4 == 0, extent, &copies);
		check(places(&l) >= copies, "generate", "no places");
		law_coalesce(&l);
		law_same(&l, &before);
		before = l;
		if (n % 4) law_drop(&l), law_slice(&l);
		else for (int s = 0; s <= 128; s = s ? s * 2 : 32) law_offset(&l, extent, s);
		law_check(l, extent);
	}
	int64_t extent[TS_LAY_RANK] = { 2, 3, 64 };
	TsLayout row = ts_layout_row_major(extent, 3);
	check(ts_layout_offset(&row, (int64_t[TS_LAY_RANK]){ 1, 2, 5 }, 4) == 4 * (1 * 192 + 2 * 64 + 5), "row_major", "wrong offset");
	law_offset(&row, extent, 0);
}

/* ---- fragments: m n (or k) of element r of lane l of warp w, by the vendors' documents ---- */
typedef struct { int r, l, w, g; } At;
typedef struct { int a, b; } Rc;
static Rc wgmma_d(At p) { return (Rc){ 64 * p.g + 16 * p.w + p.l / 4 + 8 * (p.r / 2 % 2), 8 * (p.r / 4) + 2 * (p.l % 4) + p.r % 2 }; }
static Rc wgmma_a(At p) { return (Rc){ 16 * p.w + p.l / 4 + 8 * (p.r / 2 % 2), 16 * (p.r / 8) + 8 * (p.r / 4 % 2) + 2 * (p.l % 4) + p.r % 2 }; }
static Rc mma_c(At p) { return (Rc){ p.l / 4 + 8 * (p.r / 2), 2 * (p.l % 4) + p.r % 2 }; }
static Rc mma_a(At p) { return (Rc){ p.l / 4 + 8 * (p.r / 2 % 2), 2 * (p.l % 4) + p.r % 2 + 8 * (p.r / 4) }; }
static Rc mma_b(At p) { return (Rc){ p.l / 4, 2 * (p.l % 4) + p.r % 2 + 8 * (p.r / 2) }; } /* n, k */
static Rc mfma_d(At p) { return (Rc){ p.r / 4 * 8 + p.r % 4 + 4 * (p.l / 32), p.l % 32 }; }
static Rc mfma_a(At p) { return (Rc){ p.l % 32, 4 * (p.l / 32) + p.r }; }
static Rc mfma_a16(At p) { return (Rc){ p.l % 32, 8 * (p.l / 32) + p.r }; } /* two k8 steps, k permuted alike in A and B */
static Rc mfma16_d(At p) { return (Rc){ p.l / 16 * 4 + p.r, p.l % 16 }; }
static Rc wmma_d(At p) { return (Rc){ 2 * p.r + p.l / 16, p.l % 16 }; }
static Rc wmma_a(At p) { return (Rc){ p.l % 16, p.r }; } /* the upper half of the wave repeats the lower */
static Rc avx_c(At p) { return (Rc){ p.r / 4, 16 * (p.r % 4) + p.l }; } /* l: the SIMD lane */
static Rc ldmatrix_rows(At p) { return (Rc){ p.l % 16, 8 * (p.l / 16) }; }

static void fragment(const char *name, const char *text, int rows, int cols, Rc (*formula)(At), bool simd)
{
	TsLayout l = layout("mn", text);
	int64_t extent[TS_LAY_RANK] = { rows, cols };
	const char *why;
	if (!check(ts_layout_check(&l, extent, &why), name, why)) return;
	for (int64_t i = 0; i < places(&l); i++) {
		int64_t p[TS_AX_COUNT], c[TS_LAY_RANK];
		place_of(&l, i, p);
		ts_layout_at(&l, p, c);
		Rc f = formula((At){ (int)p[TS_AX_R], (int)p[simd ? TS_AX_V : TS_AX_L], (int)p[TS_AX_W], (int)p[TS_AX_G] });
		if (!check(c[0] == f.a && c[1] == f.b, name, "differs from the vendor's formula")) return;
	}
}

static void fragments(void)
{
	fragment("wgmma D m64n256 x2", "l4:2n l8:1m w4:16m g2:64m r2:1n r2:8m r32:8n", 128, 256, wgmma_d, false);
	for (int n = 8; n <= 256; n += 8) {
		char text[80];
		snprintf(text, sizeof text, "l4:2n l8:1m w4:16m r2:1n r2:8m r%d:8n", n / 8);
		fragment("wgmma D m64nN", text, 64, n, wgmma_d, false);
	}
	fragment("wgmma A", "l4:2n l8:1m w4:16m r2:1n r2:8m r2:8n r8:16n", 64, 128, wgmma_a, false);
	fragment("mma.sync C", "l4:2n l8:1m r2:1n r2:8m", 16, 8, mma_c, false);
	fragment("mma.sync A", "l4:2n l8:1m r2:1n r2:8m r2:8n", 16, 16, mma_a, false);
	fragment("mma.sync B", "l4:2n l8:1m r2:1n r2:8n", 8, 16, mma_b, false);
	fragment("MFMA 32x32x8 D", "l32:1n l2:4m r4:1m r4:8m", 32, 32, mfma_d, false);
	fragment("MFMA 32x32x8 A", "l32:1m l2:4n r4:1n", 32, 8, mfma_a, false);
	fragment("MFMA 32x32 A, two steps", "l32:1m l2:8n r8:1n", 32, 16, mfma_a16, false);
	fragment("MFMA 16x16 D", "l16:1n l4:4m r4:1m", 16, 16, mfma16_d, false);
	fragment("WMMA D", "l16:1n l2:1m r8:2m", 16, 16, wmma_d, false);
	fragment("WMMA A", "l16:1m l2:_ r16:1n", 16, 16, wmma_a, false);
	fragment("AVX-512 6x64", "v16:1n r4:16n r6:1m", 6, 64, avx_c, true);
	TsLayout s = layout("mn", "l4:2n l8:1m w4:16m r2:1n r2:8m r16:8n"), a = layout("mn", "l4:2n l8:1m w4:16m r2:1n r2:8m r2:8n r8:16n");
	check(ts_layout_same(&s, &a), "S to P", "the accumulator is not the register operand");
	TsLayout c = layout("mn", "v16:1n r4:16n r6:1m"), column = ts_layout_drop(&c, 1), row = ts_layout_drop(&c, 0);
	TsLayout xa = layout("m", "v16:_ r6:1m"), xb = layout("n", "v16:1n r4:16n");
	check(ts_layout_same(&column, &xa) && ts_layout_same(&row, &xb), "AVX-512 sides", "not the accumulator's rows and columns");
}

/* ---- bank conflicts ---- */
static void conflict(const char *name, const char *reg, const char *mem, int bytes, int width, int want)
{
	TsLayout r = layout("mn", reg), m = layout("mn", mem);
	int got = ts_layout_conflicts(&r, &m, bytes, width);
	char why[64];
	snprintf(why, sizeof why, "%d words a bank, expected %d", got, want);
	check(got == want, name, why);
}

static void conflicts(void)
{
	const char *matrix = "l8:1m l2:8m l2:8n r8:1n", *mfma = "l32:1m l2:8n r8:1n", *pair = "l4:2n l8:1m r2:1n r2:8m r8:8n";
	TsLayout rows = layout("mn", "l8:1m l2:8m l2:8n");
	for (int l = 0; l < 32; l++) {
		int64_t c[TS_LAY_RANK];
		ts_layout_at(&rows, (int64_t[TS_AX_COUNT]){ [TS_AX_L] = l }, c);
		Rc f = ldmatrix_rows((At){ .l = l });
		check(c[0] == f.a && c[1] == f.b, "ldmatrix x4 addresses", "differs from the vendor's formula");
	}
	conflict("ldmatrix, plain", matrix, "s64:1n s64:1m", 2, 16, 8);
	conflict("ldmatrix, swizzle 128", matrix, "s64:1n s64:1m swizzle 128", 2, 16, 1);
	conflict("fragment 4-byte store, plain", pair, "s64:1n s64:1m", 2, 4, 8);
	conflict("fragment 4-byte store, swizzle 128", pair, "s64:1n s64:1m swizzle 128", 2, 4, 1);
	conflict("16-byte copy, plain", "r8:1n l8:8n l4:1m", "s64:1n s64:1m", 2, 16, 1);
	conflict("16-byte copy, swizzle 128", "r8:1n l8:8n l4:1m", "s64:1n s64:1m swizzle 128", 2, 16, 1);
	conflict("MFMA b128, plain", mfma, "s64:1n s64:1m", 2, 16, 8);
	conflict("MFMA b128, swizzle 128", mfma, "s64:1n s64:1m swizzle 128", 2, 16, 1);
	conflict("MFMA b64, plain", "l32:1m l2:4n r4:1n", "s64:1n s64:1m", 2, 8, 16);
	conflict("MFMA b64, swizzle 128", "l32:1m l2:4n r4:1n", "s64:1n s64:1m swizzle 128", 2, 8, 2);
	conflict("sm_80 epilogue, 16-byte read", "r8:1n l16:8n l2:1m", "s64:1n s128:1m s2:64n swizzle 128", 2, 16, 1);
	conflict("gfx942 epilogue, 8-byte write", "r4:1n l32:1m l2:4n", "s64:1n s64:1m s4:64n swizzle 128", 2, 8, 2);
	conflict("gfx942 epilogue, pitch 512", "r4:1n l32:1m l2:4n", "s256:1n s64:1m swizzle 128", 2, 8, 8);
	conflict("transpose 64x64, pitch 64", "l32:1m", "s64:1n s64:1m", 4, 4, 32);
}

int main(void)
{
	laws();
	fragments();
	conflicts();
	if (!failures) printf("ok layout\n");
	return failures != 0;
}
