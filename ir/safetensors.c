#include "ir/safetensors.h"
#include "ir/json.h"
#include "support/map.h"
#include <stdlib.h>
#include <string.h>

typedef struct { TsCtx *cx; TsSpan at; const char *path; TsJson j; uint64_t data, bytes; TsSafeTensors *out; } Reader;

static const struct { const char *name; TsDtype elem; uint8_t bits; } types[] = {
	{ "F64", TS_F64, 64 }, { "F32", TS_F32, 32 }, { "F16", TS_F16, 16 }, { "BF16", TS_BF16, 16 }, { "I64", TS_INT64, 64 }, { "I32", TS_INT32, 32 },
	{ "I16", TS_INT16, 16 }, { "I8", TS_INT8, 8 }, { "U8", TS_UINT8, 8 }, { "BOOL", TS_BOOL, 8 }, { "F8_E4M3", TS_FP8_E4M3, 8 }, { "F8_E5M2", TS_FP8_E5M2, 8 },
	{ "C64", TS_COMPLEX64, 64 }, { "F4", TS_FP4_E2M1, 4 }, { "U64", TS_DTYPE_NONE, 64 }, { "U32", TS_DTYPE_NONE, 32 }, { "U16", TS_DTYPE_NONE, 16 }, { "F8_E8M0", TS_DTYPE_NONE, 8 },
	{ "F6_E2M3", TS_DTYPE_NONE, 6 }, { "F6_E3M2", TS_DTYPE_NONE, 6 },
};

__attribute__((format(printf, 3, 4))) static bool fail(Reader *r, const char *code, const char *fmt, ...)
{
	TsBuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(&b, fmt, ap);
	va_end(ap);
	ts_error(r->cx, r->at, code, "%s: %s", r->path, b.p ? b.p : "");
	ts_buf_free(&b);
	return false;
}

static bool bad_json(Reader *r)
{
	return fail(r, "E_SAFETENSORS_HEADER", "the header is no valid JSON at byte %llu: %s", (unsigned long long)(8 + (uint64_t)(r->j.p - r->j.begin)), r->j.why ? r->j.why : "not what a header holds");
}

static bool read_shape(Reader *r, TsSafeTensor *t, bool *ok)
{
	bool first = true;
	uint64_t v;
	if (!ts_json_begin(&r->j, '[')) return false;
	while (ts_json_more(&r->j, '[', &first)) {
		if (!ts_json_whole(&r->j, &v)) return false;
		if (t->rank == TS_SAFE_RANK || v > UINT64_C(1) << 62) {
			if (*ok) fail(r, "E_SAFETENSORS_SHAPE", "\"%s\" has %s", t->name, t->rank == TS_SAFE_RANK ? "more than 16 axes" : "a size past 2^62");
			*ok = false;
		} else t->dim[t->rank++] = (int64_t)v;
	}
	return !r->j.why;
}

static bool read_offsets(Reader *r, uint64_t range[2])
{
	bool first = true;
	int n = 0;
	if (!ts_json_begin(&r->j, '[')) return false;
	while (ts_json_more(&r->j, '[', &first)) {
		if (n == 2) return ts_json_fail(&r->j, "data_offsets has two numbers");
		if (!ts_json_whole(&r->j, &range[n++])) return false;
	}
	return !r->j.why && (n == 2 || ts_json_fail(&r->j, "data_offsets has two numbers"));
}

/* Bytes of the tensor by its type and shape. */
static bool wanted_size(const TsSafeTensor *t, uint32_t bits, uint64_t *size)
{
	uint64_t n = 1;
	for (int k = 0; k < t->rank; k++)
		if (!t->dim[k]) return *size = 0, true;
	for (int k = 0; k < t->rank; k++)
		if (__builtin_mul_overflow(n, (uint64_t)t->dim[k], &n)) return false;
	if (n > (UINT64_C(1) << 62) || __builtin_mul_overflow(n, (uint64_t)bits, &n)) return false;
	*size = n / 8 + (n % 8 != 0);
	return true;
}

static bool check_tensor(Reader *r, TsSafeTensor *t, const uint64_t range[2])
{
	uint64_t want;
	size_t k = 0;
	while (k < sizeof types / sizeof *types && strcmp(types[k].name, t->dtype)) k++;
	if (k == sizeof types / sizeof *types) return fail(r, "E_SAFETENSORS_DTYPE", "\"%s\" has the unknown element type \"%s\"", t->name, t->dtype);
	t->elem = types[k].elem;
	if (range[0] > range[1] || range[1] > r->bytes)
		return fail(r, "E_SAFETENSORS_RANGE", "\"%s\" lies at bytes %llu to %llu, the file has %llu bytes of tensors", t->name, (unsigned long long)range[0], (unsigned long long)range[1], (unsigned long long)r->bytes);
	if (!wanted_size(t, types[k].bits, &want)) return fail(r, "E_SAFETENSORS_SHAPE", "\"%s\" has more than 2^62 elements", t->name);
	if (want != range[1] - range[0])
		return fail(r, "E_SAFETENSORS_SIZE", "\"%s\" has %llu bytes, its type and shape need %llu", t->name, (unsigned long long)(range[1] - range[0]), (unsigned long long)want);
	t->offset = r->data + range[0];
	t->size = want;
	return true;
}

static bool read_tensor(Reader *r, TsSym name)
{
	TsSafeTensor t = { .name = name };
	uint64_t range[2];
	bool first = true, ok = true, have[3] = { false };
	TsSym key;
	if (!ts_json_begin(&r->j, '{')) return bad_json(r);
	while (ts_json_more(&r->j, '{', &first)) {
		if (!ts_json_key(&r->j, r->cx, &key)) return bad_json(r);
		int which = !strcmp(key, "dtype") ? 0 : !strcmp(key, "shape") ? 1 : !strcmp(key, "data_offsets") ? 2 : 3;
		if (which == 3 || have[which]) return fail(r, "E_SAFETENSORS_HEADER", "\"%s\" has %s entry \"%s\"", name, which == 3 ? "an unknown" : "a second", key);
		have[which] = true;
		if (!(which == 0 ? ts_json_string(&r->j, r->cx, &t.dtype) : which == 1 ? read_shape(r, &t, &ok) : read_offsets(r, range))) return bad_json(r);
	}
	if (r->j.why) return bad_json(r);
	if (!have[0] || !have[1] || !have[2]) return fail(r, "E_SAFETENSORS_HEADER", "\"%s\" has no \"%s\"", name, !have[0] ? "dtype" : !have[1] ? "shape" : "data_offsets");
	if (!ok || !check_tensor(r, &t, range)) return false;
	ts_push(ts_arena(r->cx), r->out, t);
	return true;
}

static bool read_header(Reader *r)
{
	bool first = true;
	TsMap seen = { 0 };
	TsSym name;
	if (!ts_json_begin(&r->j, '{')) return bad_json(r);
	while (ts_json_more(&r->j, '{', &first)) {
		bool fresh;
		if (!ts_json_key(&r->j, r->cx, &name)) return bad_json(r);
		ts_map_put(ts_arena(r->cx), &seen, name, &fresh);
		if (!fresh) return fail(r, "E_SAFETENSORS_DUPLICATE", "\"%s\" is there twice", name);
		if (!strcmp(name, "__metadata__")) {
			if (!ts_json_skip(&r->j, r->cx)) return bad_json(r);
		} else if (!read_tensor(r, name)) return false;
	}
	return !r->j.why && ts_json_end(&r->j) ? true : bad_json(r);
}

static int by_place(const void *a, const void *b)
{
	const TsSafeTensor *x = a, *y = b;
	if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
	if (x->size != y->size) return x->size < y->size ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* Side by side from the first byte to the last. */
static bool check_cover(Reader *r)
{
	uint64_t end = r->data;
	if (r->out->n) qsort(r->out->p, r->out->n, sizeof *r->out->p, by_place);
	for (uint32_t i = 0; i < r->out->n; i++) {
		const TsSafeTensor *t = &r->out->p[i];
		if (t->offset < end) return fail(r, "E_SAFETENSORS_OVERLAP", "\"%s\" and \"%s\" overlap", r->out->p[i - 1].name, t->name);
		if (t->offset > end) return fail(r, "E_SAFETENSORS_RANGE", "%llu bytes before \"%s\" belong to no tensor", (unsigned long long)(t->offset - end), t->name);
		end = t->offset + t->size;
	}
	if (end != r->data + r->bytes) return fail(r, "E_SAFETENSORS_RANGE", "%llu bytes at the end belong to no tensor", (unsigned long long)(r->data + r->bytes - end));
	return true;
}

bool ts_safetensors_read(TsCtx *cx, TsSpan at, const char *path, const uint8_t *p, size_t size, TsSafeTensors *out)
{
	const uint64_t longest = 100000000;
	Reader r = { .cx = cx, .at = at, .path = path, .out = out };
	uint64_t n = 0;
	*out = (TsSafeTensors){ 0 };
	if (size < 8) return fail(&r, "E_SAFETENSORS_HEADER", "%zu bytes are too few for a header", size);
	for (int i = 7; i >= 0; i--) n = n << 8 | p[i];
	if (n > longest) return fail(&r, "E_SAFETENSORS_HEADER", "a header of %llu bytes, at most %llu are allowed", (unsigned long long)n, (unsigned long long)longest);
	if (n > size - 8) return fail(&r, "E_SAFETENSORS_HEADER", "a header of %llu bytes in a file of %zu: it is cut off", (unsigned long long)n, size);
	ts_json_open(&r.j, p + 8, (size_t)n);
	r.data = 8 + n;
	r.bytes = size - r.data;
	return read_header(&r) && check_cover(&r);
}
