#include "tsc/tensor_file.h"
#include "ir/npy.h"
#include "ir/safetensors.h"
#include "support/file.h"
#include "tsc/args.h"
#include "tsc/safetensors_header.h"
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
	ts_error(cx, (TsSpan){ 0 }, "E_NO_TENSOR", "'%s' has no tensor '%s'", path, key);
	if (n <= 8 || ts_nearest(key, names, n)) ts_hint_names(cx, key, names, n);
	else ts_hint(cx, "it has %u, the first is '%s'", n, names[0]);
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

bool ts_safetensors_write(TsCtx *cx, const char *path, uint32_t n, const TsSym *names, const TsTensor *const *tensors)
{
	TsBuf b = { 0 };
	TsOut out;
	TsHeaderTensor *t = TS_NEW_N(ts_arena(cx), TsHeaderTensor, n + 1);
	for (uint32_t i = 0; i < n; i++) {
		t[i] = (TsHeaderTensor){ .name = names[i], .elem = tensors[i]->elem, .rank = tensors[i]->rank, .bytes = (uint64_t)tensors[i]->bytes };
		memcpy(t[i].dim, tensors[i]->dim, sizeof t[i].dim);
	}
	bool ok = ts_safetensors_header(cx, path, n, t, &b) && ts_out_open(cx, path, &out);
	if (ok) {
		ok = ts_out_write(cx, &out, b.p, b.n);
		for (uint32_t i = 0; ok && i < n; i++) ok = ts_out_write(cx, &out, tensors[i]->data, (size_t)tensors[i]->bytes);
		ok = ts_out_close(cx, &out, ok) && ok;
	}
	ts_buf_free(&b);
	return ok;
}

bool ts_outputs_differ(TsCtx *cx, uint32_t n, const char *const *names, const char *const *paths)
{
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < i; k++) {
			if (!ts_same_output(ts_arena(cx), paths[i], paths[k])) continue;
			const char *also = strcmp(paths[i], paths[k]) ? ts_printf(ts_arena(cx), ", which is '%s'", paths[i]) : "";
			ts_usage_error(cx, "%s and %s would go into one file, '%s'%s", names[k], names[i], paths[k], also);
			return false;
		}
	return true;
}

bool ts_tensor_write(TsCtx *cx, const char *path, TsSym name, const TsTensor *t)
{
	if (ts_has_ending(path, ".npy")) return ts_npy_write(cx, path, t);
	if (ts_has_ending(path, ".safetensors")) return ts_safetensors_write(cx, path, 1, &name, &t);
	ts_error(cx, (TsSpan){ 0 }, "E_TENSOR_FILE", "cannot tell what '%s' shall be: tensors go to .npy or .safetensors", path);
	return false;
}
