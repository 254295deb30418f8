#include "ir/layout.h"
#include <string.h>

static TsDigit digit(uint8_t axis, uint8_t dim, int64_t extent, int64_t stride)
{
	return (TsDigit){ axis, dim, (uint16_t)extent, dim == TS_LAY_NODIM ? 0 : (uint32_t)stride };
}

static bool push(TsLayout *l, TsDigit d)
{
	if (l->n == TS_LAY_MAX) return false;
	l->d[l->n++] = d;
	return true;
}

int64_t ts_layout_axis_size(const TsLayout *l, TsAxis a)
{
	int64_t size = 1;
	for (int i = 0; i < l->n; i++)
		if (l->d[i].axis == a && __builtin_mul_overflow(size, (int64_t)l->d[i].extent, &size)) return INT64_MAX;
	return size;
}

int64_t ts_layout_extent(const TsLayout *l, int dim)
{
	int64_t last = 0;
	for (int i = 0; i < l->n; i++)
		if (l->d[i].dim == dim) last += (int64_t)(l->d[i].extent - 1) * l->d[i].stride;
	return last + 1;
}

void ts_layout_at(const TsLayout *l, const int64_t place[TS_AX_COUNT], int64_t coord[TS_LAY_RANK])
{
	int64_t left[TS_AX_COUNT];
	memcpy(left, place, sizeof left);
	memset(coord, 0, sizeof(int64_t) * TS_LAY_RANK);
	for (int i = 0; i < l->n; i++) {
		const TsDigit *d = &l->d[i];
		if (d->dim != TS_LAY_NODIM) coord[d->dim] += left[d->axis] % d->extent * d->stride;
		left[d->axis] /= d->extent;
	}
}

/* The digits of one dim, by stride. */
static int by_stride(const TsLayout *l, int dim, int order[TS_LAY_MAX])
{
	int n = 0;
	for (int i = 0; i < l->n; i++) {
		if (l->d[i].dim != dim || l->d[i].extent == 1) continue;
		int k = n++;
		for (; k > 0 && l->d[order[k - 1]].stride > l->d[i].stride; k--) order[k] = order[k - 1];
		order[k] = i;
	}
	return n;
}

bool ts_layout_check(const TsLayout *l, const int64_t extent[TS_LAY_RANK], const char **why)
{
	for (int i = 0; i < l->n; i++) {
		if (l->d[i].extent == 0) return *why = "a digit has extent 0", false;
		if (l->d[i].dim != TS_LAY_NODIM && l->d[i].dim >= l->rank) return *why = "a digit names a dim the layout does not have", false;
	}
	for (int dim = 0; dim < l->rank; dim++) {
		int order[TS_LAY_MAX], n = by_stride(l, dim, order);
		int64_t covered = 1;
		for (int i = 0; i < n; i++) {
			const TsDigit *d = &l->d[order[i]];
			if (d->stride < covered) return *why = "two places hold the same element", false;
			if (d->stride > covered) return *why = "an element has no place", false;
			covered *= d->extent;
		}
		if (covered < extent[dim]) return *why = "it covers less than the tile", false;
		if (covered > extent[dim]) return *why = "it covers more than the tile", false;
	}
	return true;
}

TsLayout ts_layout_coalesce(const TsLayout *l)
{
	TsLayout out = { .rank = l->rank, .swizzle = l->swizzle };
	for (int axis = 0; axis < TS_AX_COUNT; axis++) {
		int first = out.n;
		for (int i = 0; i < l->n; i++) {
			TsDigit d = l->d[i];
			if (d.axis != axis || d.extent == 1) continue;
			if (d.dim == TS_LAY_NODIM) d.stride = 0;
			TsDigit *p = out.n > first ? &out.d[out.n - 1] : NULL;
			int64_t merged = p ? (int64_t)p->extent * d.extent : 0;
			if (p && p->dim == d.dim && merged <= UINT16_MAX && (d.dim == TS_LAY_NODIM || d.stride == (uint64_t)p->stride * p->extent)) p->extent = (uint16_t)merged;
			else push(&out, d);
		}
		if (axis == TS_AX_V && out.n == first + 1 && out.d[first].dim == TS_LAY_NODIM) memset(&out.d[--out.n], 0, sizeof out.d[0]);
	}
	return out;
}

bool ts_layout_same(const TsLayout *a, const TsLayout *b)
{
	TsLayout x = ts_layout_coalesce(a), y = ts_layout_coalesce(b);
	return !memcmp(&x, &y, sizeof x);
}

TsLayout ts_layout_row_major(const int64_t *extent, int rank)
{
	TsLayout l = { .rank = (uint8_t)rank };
	for (int dim = rank - 1; dim >= 0; dim--) {
		int64_t left = extent[dim], stride = 1;
		while (left > UINT16_MAX) { /* an extent beyond a digit is cut at a divisor */
			int64_t cut = 1 << 15;
			while (left % cut) cut--;
			if (cut == 1 || !push(&l, digit(TS_AX_S, (uint8_t)dim, cut, stride))) break;
			left /= cut;
			stride *= cut;
		}
		push(&l, digit(TS_AX_S, (uint8_t)dim, left, stride));
	}
	return ts_layout_coalesce(&l);
}

TsLayout ts_layout_transpose(const TsLayout *l)
{
	TsLayout out = *l;
	for (int i = 0; i < out.n; i++)
		if (out.d[i].dim != TS_LAY_NODIM) out.d[i].dim ^= 1;
	return out;
}

void ts_layout_text(const TsLayout *l, TsBuf *to)
{
	for (int i = 0; i < l->n; i++) {
		const TsDigit *d = &l->d[i];
		ts_buf_fmt(to, "%s%c%d:", i ? " " : "", "rvlwgcs"[d->axis], d->extent);
		if (d->dim == TS_LAY_NODIM) ts_buf_char(to, '_');
		else ts_buf_fmt(to, "%u%c", d->stride, "mnkj"[d->dim & 3]);
	}
	if (l->swizzle) ts_buf_fmt(to, " swizzle %d", l->swizzle);
}

/* Appends the digits of one axis of a and b, cut alike. */
static bool refine_axis(const TsLayout *a, const TsLayout *b, int axis, TsLayout *ra, TsLayout *rb)
{
	int i = -1, k = -1;
	TsDigit x = { .extent = 1 }, y = { .extent = 1 };
	for (;;) {
		if (x.extent == 1) {
			while (++i < a->n && (a->d[i].axis != axis || a->d[i].extent == 1)) {}
			if (i < a->n) x = a->d[i];
		}
		if (y.extent == 1) {
			while (++k < b->n && (b->d[k].axis != axis || b->d[k].extent == 1)) {}
			if (k < b->n) y = b->d[k];
		}
		if (i >= a->n || k >= b->n) return i >= a->n && k >= b->n && x.extent == 1 && y.extent == 1;
		int cut = x.extent < y.extent ? x.extent : y.extent;
		if (x.extent % cut || y.extent % cut) return false;
		if (!push(ra, digit(x.axis, x.dim, cut, x.stride)) || !push(rb, digit(y.axis, y.dim, cut, y.stride))) return false;
		x = digit(x.axis, x.dim, x.extent / cut, (int64_t)x.stride * cut);
		y = digit(y.axis, y.dim, y.extent / cut, (int64_t)y.stride * cut);
	}
}

bool ts_layout_refine(const TsLayout *a, const TsLayout *b, TsLayout *ra, TsLayout *rb)
{
	*ra = (TsLayout){ .rank = a->rank, .swizzle = a->swizzle };
	*rb = (TsLayout){ .rank = b->rank, .swizzle = b->swizzle };
	for (int axis = 0; axis < TS_AX_COUNT; axis++)
		if (!refine_axis(a, b, axis, ra, rb)) return false;
	return true;
}

TsLayout ts_layout_drop(const TsLayout *l, int dim)
{
	TsLayout out = { .rank = (uint8_t)(l->rank - 1), .swizzle = l->swizzle };
	for (int i = 0; i < l->n; i++) {
		TsDigit d = l->d[i];
		if (d.dim == dim) {
			if (d.axis == TS_AX_R || d.axis == TS_AX_S) continue;
			/* a lane's place stays, holding a copy. So does a v lane's where other lanes of v differ (coalesce drops a v axis that is all copies) */
			d = digit(d.axis, TS_LAY_NODIM, d.extent, 0);
		} else if (d.dim != TS_LAY_NODIM && d.dim > dim) {
			d.dim--;
		}
		push(&out, d);
	}
	return ts_layout_coalesce(&out);
}

bool ts_layout_slice(const TsLayout *l, int dim, int64_t at, int64_t len, TsLayout *out, int64_t *first_register)
{
	*out = (TsLayout){ .rank = l->rank, .swizzle = l->swizzle };
	*first_register = 0;
	if (len <= 0 || at < 0 || at % len || at + len > ts_layout_extent(l, dim)) return false;
	int64_t registers = 1;
	for (int i = 0; i < l->n; i++) {
		TsDigit d = l->d[i];
		int64_t keep = d.extent;
		if (d.dim == dim && d.extent > 1) {
			if (d.stride >= len) keep = 1;
			else if (d.stride * (int64_t)d.extent > len) {
				if (len % d.stride || d.extent % (len / d.stride)) return false;
				keep = len / d.stride;
			}
			int64_t cut = d.extent / keep;
			if (cut > 1) {
				if (d.axis != TS_AX_R || (d.stride * keep) % len) return false;
				*first_register += registers * keep * (at / (d.stride * keep) % cut);
			}
		}
		if (d.axis == TS_AX_R) registers *= d.extent;
		if (!push(out, digit(d.axis, d.dim, keep, d.stride))) return false;
	}
	*out = ts_layout_coalesce(out);
	return true;
}

int64_t ts_layout_offset(const TsLayout *mem, const int64_t coord[TS_LAY_RANK], int elem_bytes)
{
	int64_t offset = 0, weight = 1;
	for (int i = 0; i < mem->n; i++) {
		const TsDigit *d = &mem->d[i];
		if (d->axis != TS_AX_S) continue;
		if (d->dim != TS_LAY_NODIM) offset += coord[d->dim] / d->stride % d->extent * weight;
		weight *= d->extent;
	}
	offset *= elem_bytes;
	int64_t mask = mem->swizzle == 128 ? 7 : mem->swizzle == 64 ? 3 : mem->swizzle == 32 ? 1 : 0;
	return offset ^ ((offset >> 7 & mask) << 4);
}

int64_t ts_layout_register(const TsLayout *l, const int64_t coord[TS_LAY_RANK])
{
	int64_t reg = 0, weight = 1, left[TS_LAY_RANK];
	memcpy(left, coord, sizeof left);
	for (int i = 0; i < l->n; i++) {
		const TsDigit *d = &l->d[i];
		if (d->axis != TS_AX_R) continue;
		if (d->dim != TS_LAY_NODIM) {
			int64_t v = coord[d->dim] / d->stride % d->extent;
			reg += v * weight;
			left[d->dim] -= v * d->stride;
		}
		weight *= d->extent;
	}
	for (int i = 0; i < l->rank; i++)
		if (left[i]) return -1;
	return reg;
}

/* Distinct words per bank among the n addresses of one phase, worst bank. */
static int phase_conflicts(const int64_t *address, int n, int width)
{
	enum { BANKS = 32 };
	int64_t word[128];
	int words = 0, count[BANKS] = { 0 }, worst = 1;
	for (int i = 0; i < n; i++)
		for (int b = 0; b < width; b += 4) {
			int64_t w = (address[i] + b) / 4;
			bool seen = false;
			for (int k = 0; k < words && !seen; k++) seen = word[k] == w;
			if (seen || words == 128) continue;
			word[words++] = w;
			if (++count[w % BANKS] > worst) worst = count[w % BANKS];
		}
	return worst;
}

int ts_layout_conflicts(const TsLayout *reg, const TsLayout *mem, int elem_bytes, int width)
{
	int64_t lanes = ts_layout_axis_size(reg, TS_AX_L), registers = ts_layout_axis_size(reg, TS_AX_R);
	int step = width / elem_bytes > 0 ? width / elem_bytes : 1, phase = width > 4 ? 128 / width : 32, worst = 1;
	for (int64_t r = 0; r < registers; r += step)
		for (int64_t l0 = 0; l0 < lanes; l0 += phase) {
			int64_t address[32];
			int n = 0;
			for (int64_t l = l0; l < lanes && l < l0 + phase; l++) {
				int64_t place[TS_AX_COUNT] = { [TS_AX_R] = r, [TS_AX_L] = l }, coord[TS_LAY_RANK];
				ts_layout_at(reg, place, coord);
				address[n++] = ts_layout_offset(mem, coord, elem_bytes);
			}
			int c = phase_conflicts(address, n, width);
			if (c > worst) worst = c;
		}
	return worst;
}
