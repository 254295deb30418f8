/* Weight and tensor files: what is read, and that wrong, cut off and hostile ones are refused for the stated reason. Every prefix and
 * every flipped byte of a good file is tried too: refused or read, never a crash. */
#include "ir/npy.h"
#include "ir/safetensors.h"
#include "ir/weights.h"
#include "support/file.h"
#include "support/temp.h"
#include "tests/unit/check.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];

static void refused(TsCtx *cx, const char *name, bool ok, const char *code, const char *words)
{
	TsBuf t = { 0 };
	ts_diag_text(cx, &t);
	check(name, !ok && t.p && strstr(t.p, code) && strstr(t.p, words), "\"%s\", wanted %s and \"%s\"", ok ? "accepted" : t.p, code, words);
	ts_buf_free(&t);
	ts_diag_reset(cx);
}

/* A .safetensors image: header text and so many bytes of data. */
static uint8_t *image(const char *header, size_t data, size_t *size)
{
	size_t n = strlen(header);
	*size = 8 + n + data;
	uint8_t *p = calloc(1, *size);
	for (int i = 0; i < 8; i++) p[i] = (uint8_t)((uint64_t)n >> (8 * i));
	memcpy(p + 8, header, n);
	for (size_t i = 0; i < data; i++) p[8 + n + i] = (uint8_t)i;
	return p;
}

static bool read_image(TsCtx *cx, const uint8_t *p, size_t n, TsSafeTensors *out)
{
	/* at the end of a heap block, so that the sanitizer sees a byte too many */
	uint8_t *copy = malloc(n ? n : 1);
	memcpy(copy, p, n);
	bool ok = ts_safetensors_read(cx, (TsSpan){ 0 }, "m.safetensors", copy, n, out);
	free(copy);
	return ok;
}

static const char good[] = "{\"__metadata__\":{\"format\":\"pt\"},\"a.b\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},\"c\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[16,18]},\"\\u00e9\":{\"dtype\":\"U8\",\"shape\":[0,3],\"data_offsets\":[18,18]}}   ";

static void test_safetensors(TsCtx *cx)
{
	TsSafeTensors out;
	size_t n;
	uint8_t *p = image(good, 18, &n);
	bool ok = read_image(cx, p, n, &out);
	check("safetensors", ok && out.n == 3 && !strcmp(out.p[0].name, "a.b") && out.p[0].dim[1] == 2 && out.p[0].offset == n - 18 && out.p[1].elem == TS_BF16 && out.p[1].size == 2 && !strcmp(out.p[2].name, "é"), "read wrongly");
	for (size_t k = 0; k < n; k++) {
		ok = read_image(cx, p, k, &out);
		ts_diag_reset(cx);
		if (ok) break;
	}
	check("safetensors-no-prefix-is-good", !ok, "one was accepted");
	for (size_t k = 0; k < n - 18; k++)
		for (int bit = 0; bit < 8; bit++) {
			p[k] ^= (uint8_t)(1 << bit);
			read_image(cx, p, n, &out);
			ts_diag_reset(cx);
			p[k] ^= (uint8_t)(1 << bit);
		}
	check("safetensors-survives-flipped-bits", true, " ");
	free(p);
	static const struct { const char *name, *header; size_t data; const char *code, *words; } bad[] = {
		{ "safetensors-overlap", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6, "E_SAFETENSORS_OVERLAP", "\"a\" and \"b\"" },
		{ "safetensors-gap", "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}", 4, "E_SAFETENSORS_RANGE", "2 bytes before \"a\"" },
		{ "safetensors-rest", "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 4, "E_SAFETENSORS_RANGE", "2 bytes at the end" },
		{ "safetensors-range", "{\"a\":{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,9]}}", 4, "E_SAFETENSORS_RANGE", "has 4 bytes" },
		{ "safetensors-backwards", "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[4,2]}}", 4, "E_SAFETENSORS_RANGE", "4 to 2" },
		{ "safetensors-size", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "E_SAFETENSORS_SIZE", "need 8" },
		{ "safetensors-overflow", "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,0]}}", 0, "E_SAFETENSORS_SHAPE", "2^62" },
		{ "safetensors-dtype", "{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "E_SAFETENSORS_DTYPE", "F33" },
		{ "safetensors-twice", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, "E_SAFETENSORS_DUPLICATE", "\"a\"" },
		{ "safetensors-rank", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, "E_SAFETENSORS_SHAPE", "16 axes" },
		{ "safetensors-negative", "{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1, "E_SAFETENSORS_HEADER", "whole number" },
		{ "safetensors-json", "{\"a\":{\"dtype\":\"U8\",}}", 0, "E_SAFETENSORS_HEADER", "byte 27" },
		{ "safetensors-field", "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0],\"x\":1}}", 0, "E_SAFETENSORS_HEADER", "unknown entry \"x\"" },
		{ "safetensors-missing", "{\"a\":{\"dtype\":\"U8\",\"shape\":[0]}}", 0, "E_SAFETENSORS_HEADER", "no \"data_offsets\"" },
		{ "safetensors-nul", "{\"a\\u0000\":{}}", 0, "E_SAFETENSORS_HEADER", "NUL" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		p = image(bad[i].header, bad[i].data, &n);
		refused(cx, bad[i].name, read_image(cx, p, n, &out), bad[i].code, bad[i].words);
		free(p);
	}
	uint8_t huge[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f };
	refused(cx, "safetensors-huge-header", read_image(cx, huge, 16, &out), "E_SAFETENSORS_HEADER", "at most 100000000");
	char deep[400];
	memcpy(deep, "{\"__metadata__\":", 16);
	memset(deep + 16, '[', 300);
	deep[316] = 0;
	p = image(deep, 0, &n);
	refused(cx, "safetensors-deep", read_image(cx, p, n, &out), "E_SAFETENSORS_HEADER", "nested too deeply");
	free(p);
}

static const char *path(TsCtx *cx, const char *name) { return ts_printf(ts_arena(cx), "%s/%s", folder, name); }

static void write_image(TsCtx *cx, const char *name, const char *header, size_t data)
{
	size_t n;
	uint8_t *p = image(header, data, &n);
	ts_write_file(cx, path(cx, name), p, n);
	free(p);
}

static TsWeights weights(TsCtx *cx, const char *file)
{
	TsWeights w = { .name = ts_intern(cx, "W") };
	ts_push(ts_arena(cx), &w.files, ts_intern(cx, path(cx, file)));
	ts_push(ts_arena(cx), &w.file_names, ts_intern(cx, file));
	return w;
}

static void test_weights(TsCtx *cx)
{
	TsModule *m = ts_module_new(cx);
	write_image(cx, "b.safetensors", "{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2);
	write_image(cx, "a.safetensors", "{\"y\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},\"hidden\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[3,4]}}", 4);
	static const struct { const char *file, *text; } index[] = {
		{ "i.json", "{\"metadata\":{\"total_size\":5},\"weight_map\":{\"x\":\"b.safetensors\",\"y\":\"a.safetensors\"}}" },
		{ "wrong.json", "{\"weight_map\":{\"x\":\"a.safetensors\"}}" },
		{ "up.json", "{\"weight_map\":{\"x\":\"../b.safetensors\"}}" },
		{ "none.json", "{\"metadata\":{}}" },
		{ "cut.json", "{\"weight_map\":{\"x\":" },
	};
	for (size_t i = 0; i < sizeof index / sizeof *index; i++) ts_write_file(cx, path(cx, index[i].file), index[i].text, strlen(index[i].text));
	TsWeights w = weights(cx, "i.json");
	bool ok = ts_weights_open(m, &w);
	const TsTensorInfo *y = ts_weights_find(&w, ts_intern(cx, "y"));
	const uint8_t *data = y ? ts_weights_data(m, &w, y) : NULL;
	check("index-lists-the-shards", ok && w.files.n == 2 && w.tensors.n == 2 && y && y->file == 0 && data && data[2] == 2 && !ts_weights_find(&w, ts_intern(cx, "hidden")), "read wrongly");
	check("nearest-weight", ts_weights_nearest(cx, &w, ts_intern(cx, "yy")) == ts_intern(cx, "y"), "none");
	ts_weights_close(&w);
	static const struct { const char *file, *code, *words; } bad[] = {
		{ "wrong.json", "E_WEIGHT_INDEX", "lists \"x\"" }, { "up.json", "E_WEIGHT_INDEX", "../b.safetensors" }, { "none.json", "E_WEIGHT_INDEX", "no \"weight_map\"" },
		{ "cut.json", "E_WEIGHT_INDEX", "expected a string" }, { "nowhere.safetensors", "E_FILE", "nowhere" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		w = weights(cx, bad[i].file);
		refused(cx, bad[i].file, ts_weights_open(m, &w), bad[i].code, bad[i].words);
		ts_weights_close(&w);
	}
	w = weights(cx, "b.safetensors");
	ts_push(ts_arena(cx), &w.files, ts_intern(cx, path(cx, "b.safetensors")));
	refused(cx, "weight-in-two-files", ts_weights_open(m, &w), "E_WEIGHT_TWICE", "\"x\"");
	ts_weights_close(&w);
	w = weights(cx, "b.safetensors");
	ts_push(ts_arena(cx), &w.tensors, (TsTensorInfo){ .name = ts_intern(cx, "x"), .type = { .elem = TS_F32, .accum = TS_DTYPE_NONE } });
	refused(cx, "manifest", ts_weights_open(m, &w), "E_WEIGHT_TYPE", "uint8[2] in its file, here f32[]");
	ts_weights_close(&w);
}

/* What is made is removed when the process is told to end; what is done with is not. Nothing else of the context is touched. */
static void test_temps(TsCtx *cx)
{
	char *dir = ts_printf(ts_arena(cx), "%s/temps-XXXXXX", folder);
	const char *kept = path(cx, "kept.tmp"), *lost = path(cx, "lost.tmp");
	*ts_ctx_slot(cx, TS_SLOT_TEMPS) = ts_temps_new();
	FILE *a = ts_temp_file(cx, kept), *b = ts_temp_file(cx, lost);
	check("temps-made", a && b && ts_temp_folder(cx, dir) && !ts_temp_file(cx, kept), "a file or folder is not there, or was made twice");
	const char *inside = ts_printf(ts_arena(cx), "%s/inside", dir);
	check("temps-inside", ts_write_file(cx, inside, "x", 1) && !access(inside, F_OK), "nothing was written");
	ts_temp_done(cx, kept);
	ts_temps_remove(cx);
	check("temps-removed", access(lost, F_OK) && access(dir, F_OK), "something is left");
	check("temps-kept", !access(kept, F_OK), "it is gone");
	ts_temps_free(*ts_ctx_slot(cx, TS_SLOT_TEMPS));
	*ts_ctx_slot(cx, TS_SLOT_TEMPS) = NULL;
	if (a) fclose(a);
	if (b) fclose(b);
	unlink(kept);
}

static void test_weight_names(TsCtx *cx)
{
	TsSym vars[] = { ts_intern(cx, "i"), ts_intern(cx, "j") };
	int64_t vals[] = { 3, 10 };
	static const struct { const char *pattern, *want; } t[] = {
		{ "a.b", "a.b" }, { "h.{i}.w", "h.3.w" }, { "{i + 2*j}-{(j - 1)//i}", "23-3" }, { "{{i}", "{i}" }, { "{-i % 4}", "1" }, { "{k}", NULL }, { "{i", NULL }, { "{i//0}", NULL }, { "{9223372036854775807 + 1}", NULL },
	};
	for (size_t k = 0; k < sizeof t / sizeof *t; k++) {
		TsSym got = ts_weight_name(cx, ts_intern(cx, t[k].pattern), 2, vars, vals);
		check("weight-name", t[k].want ? got && !strcmp(got, t[k].want) : !got, "%s gave %s", t[k].pattern, got ? got : "nothing");
	}
}

/* The bytes of a .npy with this header text. */
static size_t npy(uint8_t *to, const char *dict, const void *data, size_t n)
{
	memcpy(to, "\x93NUMPY\x01\x00", 8);
	to[8] = (uint8_t)strlen(dict);
	to[9] = 0;
	memcpy(to + 10, dict, strlen(dict));
	if (n) memcpy(to + 10 + strlen(dict), data, n);
	return 10 + strlen(dict) + n;
}

static void test_npy(TsCtx *cx)
{
	uint8_t file[512];
	TsTensor t, u;
	const uint8_t six[] = { 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6 };
	size_t n = npy(file, "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n", six, 12);
	bool ok = ts_npy_parse(cx, "x", file, n, TS_INT64, &t);
	static const int64_t want[] = { 1, 3, 5, 2, 4, 6 };
	check("npy-any-order", ok && t.elem == TS_INT64 && t.count == 6 && !memcmp(t.data, want, sizeof want), "read wrongly");
	ok = ok && ts_npy_write(cx, path(cx, "t.npy"), &t) && ts_npy_read(cx, path(cx, "t.npy"), TS_DTYPE_NONE, &u);
	check("npy-write-and-read", ok && u.elem == TS_INT64 && u.rank == 2 && !memcmp(u.data, want, sizeof want), "differs");
	ts_tensor_free(&t);
	ts_tensor_free(&u);
	const uint8_t bf[] = { 0x80, 0x3f };
	n = npy(file, "{'descr': '<V2', 'fortran_order': False, 'shape': (1,), }\n", bf, 2);
	check("npy-raw-bf16", ts_npy_parse(cx, "x", file, n, TS_BF16, &t) && ts_elem_get(TS_BF16, t.data, 0) == 1, "read wrongly");
	ts_tensor_free(&t);
	for (size_t k = 0; k < n; k++) {
		ok = ts_npy_parse(cx, "x", file, k, TS_BF16, &t);
		ts_diag_reset(cx);
		if (ok) break;
	}
	check("npy-no-prefix-is-good", !ok, "one was accepted");
	for (size_t k = 0; k < n; k++)
		for (int bit = 0; bit < 8; bit++) {
			file[k] ^= (uint8_t)(1 << bit);
			if (ts_npy_parse(cx, "x", file, n, TS_DTYPE_NONE, &t)) ts_tensor_free(&t);
			ts_diag_reset(cx);
			file[k] ^= (uint8_t)(1 << bit);
		}
	static const struct { const char *name, *dict; TsDtype as; const char *words; } bad[] = {
		{ "npy-shape-overflow", "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 16), }\n", TS_DTYPE_NONE, "out of range" },
		{ "npy-objects", "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", TS_DTYPE_NONE, "'|O'" },
		{ "npy-records", "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n", TS_DTYPE_NONE, "records" },
		{ "npy-too-short", "{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }\n", TS_DTYPE_NONE, "needs 20" },
		{ "npy-too-long", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", TS_DTYPE_NONE, "only 8" },
		{ "npy-kind", "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n", TS_INT64, "holds f32, wanted int64" },
		{ "npy-value", "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }\n", TS_INT8, "is no int8" },
		{ "npy-unsigned", "{'descr': '<u4', 'fortran_order': False, 'shape': (3,), }\n", TS_DTYPE_NONE, "u4" },
		{ "npy-no-shape", "{'descr': '<u4', 'fortran_order': False, }\n", TS_DTYPE_NONE, "header" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		n = npy(file, bad[i].dict, six, 12);
		refused(cx, bad[i].name, ts_npy_parse(cx, "x.npy", file, n, bad[i].as, &t), "E_NPY", bad[i].words);
	}
}

/* A zip of one stored member, as NumPy's savez writes it. */
static void test_npz(TsCtx *cx)
{
	static const uint8_t zip[] = "PK\3\4\24\0\0\0\0\0\0\0\0\0\x85\x11\x4a\x0d\x0b\0\0\0\x0b\0\0\0\5\0\0\0" "x.npyhello world"
		"PK\1\2\24\3\24\0\0\0\0\0\0\0\0\0\x85\x11\x4a\x0d\x0b\0\0\0\x0b\0\0\0\5\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" "x.npy" "PK\5\6\0\0\0\0\1\0\1\0\x33\0\0\0\x2e\0\0\0\0\0";
	uint8_t p[sizeof zip - 1];
	memcpy(p, zip, sizeof p);
	TsNpz z;
	TsTensor t;
	ts_write_file(cx, path(cx, "z.npz"), p, sizeof p);
	bool ok = ts_npz_open(cx, path(cx, "z.npz"), &z);
	check("npz-directory", ok && z.entries.n == 1 && !strcmp(z.entries.p[0].name, "x") && z.entries.p[0].size == 11, "read wrongly");
	if (ok) refused(cx, "npz-member-is-no-npy", ts_npz_read(cx, &z, ts_intern(cx, "x"), TS_DTYPE_NONE, &t), "E_NPY", "no .npy file");
	if (ok) refused(cx, "npz-no-such-array", ts_npz_read(cx, &z, ts_intern(cx, "y"), TS_DTYPE_NONE, &t), "E_NPZ", "has no array y");
	ts_npz_close(&z);
	for (size_t k = 0; k < sizeof p; k++)
		for (int bit = 0; bit < 8; bit += 3) {
			p[k] ^= (uint8_t)(1 << bit);
			ts_write_file(cx, path(cx, "z.npz"), p, sizeof p);
			if (ts_npz_open(cx, path(cx, "z.npz"), &z)) {
				for (uint32_t i = 0; i < z.entries.n; i++)
					if (ts_npz_read(cx, &z, z.entries.p[i].name, TS_DTYPE_NONE, &t)) ts_tensor_free(&t);
				ts_npz_close(&z);
			}
			ts_diag_reset(cx);
			p[k] ^= (uint8_t)(1 << bit);
		}
	check("npz-survives-flipped-bits", true, " ");
	ts_write_file(cx, path(cx, "z.npz"), "PK", 2);
	refused(cx, "npz-too-short", ts_npz_open(cx, path(cx, "z.npz"), &z), "E_NPZ", "no .npz file");
}

int main(void)
{
	snprintf(folder, sizeof folder, "/tmp/tessera-files-XXXXXX");
	if (!mkdtemp(folder)) return 1;
	TsCtx *cx = ts_ctx_new();
	test_safetensors(cx);
	test_weights(cx);
	test_weight_names(cx);
	test_temps(cx);
	test_npy(cx);
	test_npz(cx);
	static const char *const files[] = { "a.safetensors", "b.safetensors", "i.json", "wrong.json", "up.json", "none.json", "cut.json", "t.npy", "z.npz" };
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) unlink(path(cx, files[i]));
	check("nothing-is-left-behind", rmdir(folder) == 0, "%s is not empty", folder);
	ts_ctx_free(cx);
	return check_failed;
}
