#include "tsc/tensor_file.h"
#include "ir/npy.h"
#include "ir/safetensors.h"
#include "support/file.h"
#include <string.h>

bool ts_has_ending(const char *path, const char *ending)
{
	size_t n = strlen(path), m = strlen(ending);
	return n > m && !strcmp(path + n - m, ending);
}

/* ---- reading ---- */

/* Cuts `file.npz:key` at the colon after the ending. False when spec has no such ending; key stays as it was when there is none. */
static bool cut(TsCtx *cx, const char *spec, const char *ending, const char **path, TsSym *key)
{
	const char *at = NULL;
	for (const char *p = spec; (p = strstr(p, ending)); p++)
		if (p != spec && (p[strlen(ending)] == ':' || !p[strlen(ending)])) at = p + strlen(ending);
	if (!at) return false;
	*path = ts_strndup(ts_arena(cx), spec, (size_t)(at - spec));
	if (*at && at[1]) *key = ts_intern(cx, at + 1);
	return true;
}

static bool report_missing(TsCtx *cx, const char *path, TsSym key, const TsSym *names, uint32_t n)
{
	const char *near = ts_nearest(key, names, n);
	ts_error(cx, (TsSpan){ 0 }, "E_NO_TENSOR", "'%s' has no tensor '%s'", path, key);
	if (near) ts_hint(cx, "nearest: %s", near);
	else if (n) ts_hint(cx, "it has %u, the first is '%s'", n, names[0]);
	return false;
}

static bool read_npz(TsCtx *cx, const char *path, TsSym key, TsDtype as, TsTensor *out)
{
	TsNpz z;
	if (!ts_npz_open(cx, path, &z)) return false;
	const TsSym *names = NULL;
	uint32_t n = z.entries.n, at = n;
	TsSym *all = TS_NEW_N(ts_arena(cx), TsSym, n + 1);
	for (uint32_t i = 0; i < n; i++) {
		all[i] = z.entries.p[i].name;
		if (all[i] == key) at = i;
	}
	names = all;
	bool ok = at < n ? ts_npz_read(cx, &z, key, as, out) : report_missing(cx, path, key, names, n);
	ts_npz_close(&z);
	return ok;
}

static bool copy_tensor(TsCtx *cx, const char *path, const TsFile *f, const TsSafeTensor *s, TsDtype as, TsTensor *out)
{
	if (s->elem == TS_DTYPE_NONE || (as != TS_DTYPE_NONE && as != s->elem)) {
		ts_error(cx, (TsSpan){ 0 }, "E_TYPE_MISMATCH", "'%s': tensor '%s' is %s, wanted %s", path, s->name, s->dtype, as == TS_DTYPE_NONE ? "a type that Tessera has" : ts_dtype_name(as));
		return false;
	}
	if (!ts_tensor_new(cx, path, s->elem, s->rank, s->dim, out)) return false;
	memcpy(out->data, f->p + s->offset, (size_t)s->size);
	return true;
}

static bool read_safetensors(TsCtx *cx, const char *path, TsSym key, TsDtype as, TsTensor *out)
{
	TsFile f;
	TsSafeTensors all = { 0 };
	if (!ts_file_map(cx, path, &f)) return false;
	bool ok = ts_safetensors_read(cx, (TsSpan){ 0 }, path, f.p, f.size, &all);
	if (ok) {
		TsSym *names = TS_NEW_N(ts_arena(cx), TsSym, all.n + 1);
		uint32_t at = all.n;
		for (uint32_t i = 0; i < all.n; i++) {
			names[i] = all.p[i].name;
			if (names[i] == key) at = i;
		}
		ok = at < all.n ? copy_tensor(cx, path, &f, &all.p[at], as, out) : report_missing(cx, path, key, names, all.n);
	}
	ts_file_unmap(&f);
	return ok;
}

bool ts_tensor_is_in(TsCtx *cx, const char *path, TsSym name)
{
	TsFile f;
	TsSafeTensors all = { 0 };
	bool found = false;
	if (!ts_file_map(cx, path, &f)) return false;
	if (ts_safetensors_read(cx, (TsSpan){ 0 }, path, f.p, f.size, &all))
		for (uint32_t i = 0; i < all.n; i++) found |= all.p[i].name == name;
	ts_file_unmap(&f);
	return found;
}

bool ts_tensor_read(TsCtx *cx, const char *spec, TsSym name, TsDtype as, TsTensor *out)
{
	const char *path;
	TsSym key = name;
	*out = (TsTensor){ 0 };
	if (ts_has_ending(spec, ".npy")) return ts_npy_read(cx, spec, as, out);
	if (cut(cx, spec, ".npz", &path, &key)) return read_npz(cx, path, key, as, out);
	if (cut(cx, spec, ".safetensors", &path, &key)) return read_safetensors(cx, path, key, as, out);
	ts_error(cx, (TsSpan){ 0 }, "E_TENSOR_FILE", "cannot tell what '%s' is: tensors come from .npy, .npz:key or .safetensors:key", spec);
	return false;
}

/* ---- writing ---- */

static const char *safe_name(TsDtype t)
{
	switch (t) {
	case TS_F64: return "F64";
	case TS_F32: return "F32";
	case TS_F16: return "F16";
	case TS_BF16: return "BF16";
	case TS_FP8_E4M3: return "F8_E4M3";
	case TS_FP8_E5M2: return "F8_E5M2";
	case TS_INT64: return "I64";
	case TS_INT32: return "I32";
	case TS_INT16: return "I16";
	case TS_INT8: return "I8";
	case TS_UINT8: return "U8";
	case TS_BOOL: return "BOOL";
	case TS_COMPLEX64: return "C64";
	default: return NULL;
	}
}

static void json_string(TsBuf *b, const char *s)
{
	ts_buf_char(b, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\') ts_buf_char(b, '\\');
		if ((unsigned char)*s < 32) ts_buf_fmt(b, "\\u%04x", *s);
		else ts_buf_char(b, *s);
	}
	ts_buf_char(b, '"');
}

static bool header(TsCtx *cx, const char *path, uint32_t n, const TsSym *names, const TsTensor *const *t, TsBuf *b)
{
	uint64_t at = 0;
	ts_buf_space(b, 8);
	for (uint32_t i = 0; i < n; i++) {
		if (!safe_name(t[i]->elem)) {
			ts_error(cx, (TsSpan){ 0 }, "E_TENSOR_FILE", "cannot write '%s': safetensors has no place for %s ('%s')", path, ts_dtype_name(t[i]->elem), names[i]);
			return false;
		}
		ts_buf_char(b, i ? ',' : '{');
		json_string(b, names[i]);
		ts_buf_fmt(b, ":{\"dtype\":\"%s\",\"shape\":[", safe_name(t[i]->elem));
		for (int k = 0; k < t[i]->rank; k++) ts_buf_fmt(b, k ? ",%lld" : "%lld", (long long)t[i]->dim[k]);
		ts_buf_fmt(b, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at, (unsigned long long)at + (uint64_t)t[i]->bytes);
		at += (uint64_t)t[i]->bytes;
	}
	ts_buf_str(b, n ? "}" : "{}");
	while (b->n % 8) ts_buf_char(b, ' ');
	uint64_t size = b->n - 8;
	memcpy(b->p, &size, 8);
	return true;
}

bool ts_safetensors_write(TsCtx *cx, const char *path, uint32_t n, const TsSym *names, const TsTensor *const *tensors)
{
	TsBuf b = { 0 };
	TsOut out;
	bool ok = header(cx, path, n, names, tensors, &b) && ts_out_open(cx, path, &out);
	if (ok) {
		ok = ts_out_write(cx, &out, b.p, b.n);
		for (uint32_t i = 0; ok && i < n; i++) ok = ts_out_write(cx, &out, tensors[i]->data, (size_t)tensors[i]->bytes);
		ok = ts_out_close(cx, &out, ok) && ok;
	}
	ts_buf_free(&b);
	return ok;
}

bool ts_tensor_write(TsCtx *cx, const char *path, TsSym name, const TsTensor *t)
{
	if (ts_has_ending(path, ".npy")) return ts_npy_write(cx, path, t);
	if (ts_has_ending(path, ".safetensors")) return ts_safetensors_write(cx, path, 1, &name, &t);
	ts_error(cx, (TsSpan){ 0 }, "E_TENSOR_FILE", "cannot tell what '%s' shall be: tensors go to .npy or .safetensors", path);
	return false;
}
