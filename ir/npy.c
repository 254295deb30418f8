#include "ir/npy.h"
#include "support/file.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What the header says. kind: NumPy's letter; `u` with a name NumPy does not have is NONE. */
typedef struct { char kind; int bytes; bool swap, fortran; int rank; int64_t dim[TS_MAX_RANK]; } Header;
typedef struct { TsCtx *cx; const char *what, *p, *end; } Text;

__attribute__((format(printf, 3, 4))) static bool fail(TsCtx *cx, const char *what, const char *fmt, ...)
{
	TsBuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(&b, fmt, ap);
	va_end(ap);
	ts_error(cx, (TsSpan){ 0 }, "E_NPY", "%s: %s", what, b.p ? b.p : "");
	ts_buf_free(&b);
	return false;
}

static bool bad(Text *t) { return fail(t->cx, t->what, "the .npy header is not what NumPy writes"); }

static void blank(Text *t)
{
	while (t->p < t->end && (*t->p == ' ' || *t->p == '\n' || *t->p == '\t')) t->p++;
}

static bool word(Text *t, const char *w)
{
	blank(t);
	size_t n = strlen(w);
	if ((size_t)(t->end - t->p) < n || memcmp(t->p, w, n)) return false;
	t->p += n;
	return true;
}

/* descr = QUOTE ORDER KIND BYTES QUOTE */
static bool read_descr(Text *t, Header *h)
{
	char d[8] = { 0 };
	size_t n = 0;
	if (!word(t, "'") && !word(t, "\"")) return fail(t->cx, t->what, "arrays of records are not read");
	while (t->p < t->end && *t->p != '\'' && *t->p != '"' && n < sizeof d - 1) d[n++] = *t->p++;
	if (t->p >= t->end || (*t->p != '\'' && *t->p != '"')) return bad(t);
	t->p++;
	const char *s = strchr("<>|=", d[0]) && d[0] ? d + 1 : d;
	h->swap = d[0] == '>';
	h->kind = s[0];
	h->bytes = s[0] && s[1] >= '1' && s[1] <= '9' ? atoi(s + 1) : 0;
	if (strchr("fiubcV", h->kind) && h->kind && (h->bytes == 1 || h->bytes == 2 || h->bytes == 4 || h->bytes == 8)) return true;
	return fail(t->cx, t->what, "element type '%s' is not one that Tessera has", d);
}

/* shape = "(" { INT "," } [INT] ")" */
static bool read_shape(Text *t, Header *h)
{
	if (!word(t, "(")) return bad(t);
	while (!word(t, ")")) {
		int64_t v = 0;
		blank(t);
		const char *from = t->p;
		for (; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++)
			if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *t->p - '0', &v)) return bad(t);
		if (t->p == from) return bad(t);
		word(t, "L");
		if (h->rank == TS_MAX_RANK) return fail(t->cx, t->what, "more than %d axes", TS_MAX_RANK);
		h->dim[h->rank++] = v;
		if (!word(t, ",") && (blank(t), t->p >= t->end || *t->p != ')')) return bad(t);
	}
	return true;
}

static bool read_dict(Text *t, Header *h)
{
	bool descr = false, order = false, shape = false;
	if (!word(t, "{")) return bad(t);
	while (!word(t, "}")) {
		if (!descr && (word(t, "'descr':") || word(t, "\"descr\":"))) {
			if (!read_descr(t, h)) return false;
			descr = true;
		} else if (!order && (word(t, "'fortran_order':") || word(t, "\"fortran_order\":"))) {
			h->fortran = word(t, "True");
			if (!h->fortran && !word(t, "False")) return bad(t);
			order = true;
		} else if (!shape && (word(t, "'shape':") || word(t, "\"shape\":"))) {
			if (!read_shape(t, h)) return false;
			shape = true;
		} else return bad(t);
		word(t, ",");
	}
	return (descr && order && shape) || bad(t);
}

static TsDtype type_of(const Header *h)
{
	switch (h->kind) {
	case 'f': return h->bytes == 2 ? TS_F16 : h->bytes == 4 ? TS_F32 : h->bytes == 8 ? TS_F64 : TS_DTYPE_NONE;
	case 'i': return h->bytes == 1 ? TS_INT8 : h->bytes == 2 ? TS_INT16 : h->bytes == 4 ? TS_INT32 : TS_INT64;
	case 'u': return h->bytes == 1 ? TS_UINT8 : TS_DTYPE_NONE;
	case 'b': return h->bytes == 1 ? TS_BOOL : TS_DTYPE_NONE;
	case 'c': return h->bytes == 8 ? TS_COMPLEX64 : TS_DTYPE_NONE;
	default: return TS_DTYPE_NONE;
	}
}

/* Element i of the file, bytes in this machine's order. */
static void fetch(const Header *h, const uint8_t *p, int64_t i, uint8_t out[8])
{
	int part = h->kind == 'c' ? h->bytes / 2 : h->bytes;
	for (int k = 0; k < h->bytes; k++) out[k] = p[i * h->bytes + (h->swap ? k / part * part + part - 1 - k % part : k)];
}

/* Element i in row order lies at this place of a file in column order. */
static int64_t column_place(const Header *h, int64_t i)
{
	int64_t at[TS_MAX_RANK], place = 0;
	for (int k = h->rank - 1; k >= 0; k--) {
		at[k] = i % h->dim[k];
		i /= h->dim[k];
	}
	for (int k = h->rank - 1; k >= 0; k--) place = place * h->dim[k] + at[k];
	return place;
}

/* Puts an element of type `from` as `to`; false if the value would change. */
static bool put(TsDtype from, const void *e, TsTensor *out, int64_t i)
{
	if (from == out->elem && ts_dtype_bits(from) >= 8) {
		int64_t n = ts_dtype_bits(from) / 8;
		memcpy((char *)out->data + i * n, e, (size_t)n);
		return from != TS_BOOL || *(const uint8_t *)e <= 1;
	}
	if (ts_dtype_is_float(from)) {
		double x = ts_elem_get(from, e, 0);
		ts_elem_set(out->elem, out->data, i, x);
		return ts_elem_get(out->elem, out->data, i) == x || isnan(x);
	}
	int64_t v = ts_elem_get_int(from, e, 0);
	if (ts_dtype_is_float(out->elem)) {
		ts_elem_set(out->elem, out->data, i, (double)v);
		return v >= -(INT64_C(1) << 53) && v <= INT64_C(1) << 53 && ts_elem_get(out->elem, out->data, i) == (double)v;
	}
	ts_elem_set_int(out->elem, out->data, i, v);
	return ts_elem_get_int(out->elem, out->data, i) == v;
}

static bool convertible(TsDtype from, TsDtype to)
{
	if (from == to) return true;
	if (from == TS_DTYPE_NONE || from == TS_COMPLEX64 || to == TS_COMPLEX64 || from == TS_BOOL || to == TS_BOOL) return false;
	return ts_dtype_is_float(from) == ts_dtype_is_float(to);
}

static bool read_elements(TsCtx *cx, const char *what, const Header *h, const uint8_t *p, TsDtype as, TsTensor *out)
{
	TsDtype from = type_of(h);
	/* raw bits: what NumPy has no name for */
	bool raw = as != TS_DTYPE_NONE && (h->kind == 'V' || h->kind == 'u') && from != as && ts_dtype_bits(as) == 8 * h->bytes && ts_dtype_is_float(as);
	if (raw) from = as;
	if (from == TS_DTYPE_NONE) return fail(cx, what, "element type %c%d is not one that Tessera has", h->kind, h->bytes);
	if (as != TS_DTYPE_NONE && !convertible(from, as)) return fail(cx, what, "holds %s, wanted %s", ts_dtype_name(from), ts_dtype_name(as));
	if (!ts_tensor_new(cx, what, as != TS_DTYPE_NONE ? as : from, h->rank, h->dim, out)) return false;
	for (int64_t i = 0; i < out->count; i++) {
		uint8_t e[8];
		fetch(h, p, h->fortran ? column_place(h, i) : i, e);
		if (put(from, e, out, i)) continue;
		fail(cx, what, "element %lld is no %s", (long long)i, ts_dtype_name(out->elem));
		ts_tensor_free(out);
		return false;
	}
	return true;
}

bool ts_npy_parse(TsCtx *cx, const char *what, const uint8_t *p, size_t n, TsDtype as, TsTensor *out)
{
	*out = (TsTensor){ 0 };
	if (n < 10 || memcmp(p, "\x93NUMPY", 6)) return fail(cx, what, "this is no .npy file");
	int version = p[6];
	size_t at = version == 1 ? 10 : 12, len = version == 1 ? p[8] | (size_t)p[9] << 8 : 0;
	if (version < 1 || version > 3) return fail(cx, what, "version %d of .npy, 1 to 3 are read", version);
	if (version > 1 && n >= 12) len = p[8] | (size_t)p[9] << 8 | (size_t)p[10] << 16 | (size_t)p[11] << 24;
	if (n < at || len > n - at) return fail(cx, what, "the header is cut off");
	Header h = { 0 };
	Text t = { cx, what, (const char *)p + at, (const char *)p + at + len };
	if (!read_dict(&t, &h)) return false;
	int64_t count;
	if (!ts_shape_count(h.rank, h.dim, &count) || count > INT64_MAX / 8) return fail(cx, what, "its size is out of range");
	size_t have = n - at - len, want = (size_t)count * (size_t)h.bytes;
	if (have < want) return fail(cx, what, "%zu bytes of data, its shape needs %zu: it is cut off", have, want);
	if (have > want) return fail(cx, what, "%zu bytes of data, its shape needs only %zu", have, want);
	return read_elements(cx, what, &h, p + at + len, as, out);
}

bool ts_npy_read(TsCtx *cx, const char *path, TsDtype as, TsTensor *out)
{
	TsFile f;
	*out = (TsTensor){ 0 };
	if (!ts_file_map(cx, path, &f)) return false;
	bool ok = ts_npy_parse(cx, path, f.p, f.size, as, out);
	ts_file_unmap(&f);
	return ok;
}

static const char *descr_of(TsDtype t)
{
	switch (t) {
	case TS_F64: return "<f8";
	case TS_F32: return "<f4";
	case TS_F16: return "<f2";
	case TS_BF16: return "<u2";
	case TS_INT64: return "<i8";
	case TS_INT32: return "<i4";
	case TS_INT16: return "<i2";
	case TS_INT8: case TS_INT4: return "|i1";
	case TS_BOOL: return "|b1";
	case TS_COMPLEX64: return "<c8";
	default: return "|u1";
	}
}

bool ts_npy_write(TsCtx *cx, const char *path, const TsTensor *t)
{
	TsBuf b = { 0 };
	ts_buf_add(&b, "\x93NUMPY\x01\x00\x00\x00", 10);
	ts_buf_fmt(&b, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr_of(t->elem));
	for (int i = 0; i < t->rank; i++) ts_buf_fmt(&b, "%s%lld", i ? ", " : "", (long long)t->dim[i]);
	ts_buf_str(&b, t->rank == 1 ? ",), }" : "), }");
	while ((b.n + 1) % 64) ts_buf_char(&b, ' ');
	ts_buf_char(&b, '\n');
	b.p[8] = (char)((b.n - 10) & 255);
	b.p[9] = (char)((b.n - 10) >> 8);
	if (ts_dtype_bits(t->elem) >= 8) ts_buf_add(&b, t->data, (size_t)t->bytes);
	else for (int64_t i = 0; i < t->count; i++) ts_buf_char(&b, (char)(t->elem == TS_INT4 ? ts_elem_get_int(t->elem, t->data, i) : ((const uint8_t *)t->data)[i / 2] >> (i % 2 * 4) & 15));
	bool ok = ts_write_file(cx, path, b.p, b.n);
	ts_buf_free(&b);
	return ok;
}
