#include "tsc/pack.h"
#include "emit/emit.h"
#include "emit/version.h"
#include "frontend/graph_pack/tsr.h"
#include "frontend/graph_text/print.h"
#include "rtlib/sha256.h"
#include "support/file.h"
#include "tsc/safetensors_header.h"
#include <elf.h>
#include <stdlib.h>
#include <string.h>

bool ts_is_elf(const void *p, size_t size) { return size >= SELFMAG && !memcmp(p, ELFMAG, SELFMAG); }

/* ---- reading ---- */

/* The value of `key: value` among lines; NULL when there is none. */
static TsSym meta_value(TsCtx *cx, const char *p, size_t n, const char *key)
{
	size_t k = strlen(key);
	for (const char *end = p + n; p < end;) {
		const char *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl : end;
		if ((size_t)(stop - p) > k + 2 && !memcmp(p, key, k) && p[k] == ':') return ts_intern_n(cx, p + k + 2, (size_t)(stop - p) - k - 2);
		p = stop + 1;
	}
	return NULL;
}

/* The lines `file NAME.NUMBER: SIZE HASH`. */
static void read_files(TsCtx *cx, const char *p, size_t n, TsPackFiles *files)
{
	TsSym where = meta_value(cx, p, n, "weights");
	files->external = where && !strcmp(where, "external");
	for (const char *end = p + n; p < end;) {
		const char *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl : end, *colon = memchr(p, ':', (size_t)(stop - p));
		if (colon && stop - colon > 2 && colon - p > 5 && !memcmp(p, "file ", 5)) {
			TsPackFile f = { ts_intern_n(cx, p + 5, (size_t)(colon - p) - 5), ts_intern_n(cx, colon + 2, (size_t)(stop - colon) - 2) };
			ts_push(ts_arena(cx), &files->list, f);
		}
		p = stop + 1;
	}
}

bool ts_pack_read(TsCtx *cx, const char *path, uint32_t *source, TsSym *name, TsPackFiles *files)
{
	TsTsr t;
	if (!ts_tsr_open(cx, path, &t)) return false;
	bool ok = !t.has_code && t.text_size <= INT32_MAX;
	if (ok) {
		*source = ts_source_add(cx, path, t.text, t.text_size);
		*name = t.meta ? meta_value(cx, t.meta, t.meta_size, "name") : NULL;
		if (t.meta) read_files(cx, t.meta, t.meta_size, files);
	} else {
		ts_error(cx, (TsSpan){ 0 }, "E_PACK_BAD", "'%s' is compiled already: its weights are laid out for its code", path);
		ts_hint(cx, "compile from the text or from a pack (--emit tsr)");
	}
	ts_tsr_close(&t);
	return ok;
}

TsSemaOptions ts_pack_weights(TsCtx *cx, const char *path, const TsTree *file)
{
	TsSemaFile *files = TS_NEW_N(ts_arena(cx), TsSemaFile, file->n + 1);
	uint32_t n = 0;
	for (uint32_t i = 0; i < file->n; i++)
		if (file->kid[i]->kind == TS_TREE_WEIGHTS) files[n++] = (TsSemaFile){ file->kid[i]->name, ts_intern(cx, path) };
	return (TsSemaOptions){ .files = files, .n_files = n };
}

/* ---- weight files that stay outside ---- */

/* Size and SHA-256 of a file, as text; NULL after reporting. */
static TsSym identity(TsCtx *cx, const char *path)
{
	uint8_t hash[32];
	TsSha256 h;
	TsBuf b = { 0 };
	TsFile f;
	if (!ts_file_map(cx, path, &f)) return NULL;
	ts_sha256_init(&h);
	ts_sha256_add(&h, f.p, f.size);
	ts_sha256_end(&h, hash);
	ts_buf_fmt(&b, "%llu ", (unsigned long long)f.size);
	for (int i = 0; i < 32; i++) ts_buf_fmt(&b, "%02x", hash[i]);
	ts_file_unmap(&f);
	TsSym text = ts_intern_n(cx, b.p, b.n);
	ts_buf_free(&b);
	return text;
}

static bool add_identities(TsModule *m, const TsWeights *w, TsBuf *meta)
{
	for (uint32_t i = 0; i < w->files.n; i++) {
		TsSym text = identity(m->cx, w->files.p[i]);
		if (!text) return false;
		ts_buf_fmt(meta, "file %s.%u: %s\n", w->name, i, text);
	}
	return true;
}

bool ts_pack_check_files(TsModule *m, const TsPackFiles *files)
{
	for (uint32_t i = 0; files->external && i < m->weights.n; i++) {
		const TsWeights *w = &m->weights.p[i];
		for (uint32_t k = 0; k < w->files.n; k++) {
			TsSym key = ts_intern_fmt(m->cx, "%s.%u", w->name, k), have = identity(m->cx, w->files.p[k]);
			uint32_t at = 0;
			while (at < files->list.n && files->list.p[at].key != key) at++;
			if (!have) return false;
			if (at < files->list.n && files->list.p[at].value == have) continue;
			ts_error(m->cx, w->at, "E_PACK_WEIGHTS", "'%s' is not the file that this pack was made with: its size or SHA-256 is another", w->files.p[k]);
			return false;
		}
	}
	return true;
}

/* ---- writing ---- */

typedef struct { TsWeightPiece *piece; uint32_t n, cap; uint64_t at; TsBuf *meta; } Images;

static uint64_t align64(uint64_t x) { return (x + 63) & ~UINT64_C(63); }

/* One set of weights: header, then the tensors' bytes from their files. */
static bool add_image(TsModule *m, const TsWeights *w, Images *im)
{
	TsBuf head = { 0 };
	uint32_t n = w->tensors.n;
	uint64_t begin = align64(im->at), at;
	TsHeaderTensor *t = TS_NEW_N(m->arena, TsHeaderTensor, n + 1);
	for (uint32_t i = 0; i < n; i++) {
		const TsTensorInfo *info = &w->tensors.p[i];
		t[i] = (TsHeaderTensor){ .name = info->name, .elem = info->type.elem, .rank = info->type.rank, .bytes = info->size };
		for (int k = 0; k < info->type.rank; k++)
			if (!ts_dim_is_const(m->dims, info->type.dim[k], &t[i].dim[k])) ts_bug(m->cx, info->at, "pack: a weight without fixed size");
	}
	if (!ts_safetensors_header(m->cx, "the pack", n, t, &head)) return false;
	im->piece[im->n++] = (TsWeightPiece){ .at = begin, .size = head.n, .data = ts_memdup(m->arena, head.p, head.n) };
	at = begin + head.n;
	ts_buf_free(&head);
	for (uint32_t i = 0; i < n; i++) {
		const TsTensorInfo *info = &w->tensors.p[i];
		if (info->size) im->piece[im->n++] = (TsWeightPiece){ .at = at, .size = info->size, .path = w->files.p[info->file], .path_offset = info->offset };
		at += info->size;
	}
	ts_buf_fmt(im->meta, "image %s: %llu %llu\n", w->name, (unsigned long long)begin, (unsigned long long)(at - begin));
	im->at = at;
	return true;
}

/* The text without comments and tests, whose files stay behind. */
static void print_text(TsModule *m, const TsTree *tree, TsBuf *to)
{
	TsTree copy = *tree;
	copy.kid = TS_NEW_N(m->arena, TsTree *, tree->n + 1);
	copy.n = copy.cap = 0;
	for (uint32_t i = 0; i < tree->n; i++)
		if (tree->kid[i]->kind != TS_TREE_TEST) copy.kid[copy.n++] = tree->kid[i];
	ts_print_tree(&copy, to, false);
}

bool ts_pack_write(TsModule *m, const TsTree *tree, bool external, const char *path)
{
	TsBuf text = { 0 }, meta = { 0 };
	uint32_t room = 0;
	for (uint32_t i = 0; i < m->weights.n; i++) room += m->weights.p[i].tensors.n + 1;
	Images im = { .piece = TS_NEW_N(m->arena, TsWeightPiece, room + 1), .meta = &meta };
	ts_buf_fmt(&meta, "producer: tsc %s\nname: %s\nweights: %s\n", TS_VERSION, m->name, external ? "external" : "embedded");
	bool ok = true;
	for (uint32_t i = 0; ok && i < m->weights.n; i++)
		if (m->weights.p[i].files.n) ok = external ? add_identities(m, &m->weights.p[i], &meta) : add_image(m, &m->weights.p[i], &im);
	print_text(m, tree, &text);
	TsArtifact a = { .kind = TS_ARTIFACT_TSR, .name = m->name, .ops = { text.p, text.n }, .meta = { meta.p, meta.n }, .weights = im.piece, .n_weights = im.n, .weight_bytes = im.at };
	ok = ok && ts_emit_artifact(m->cx, &a, path);
	ts_buf_free(&text);
	ts_buf_free(&meta);
	return ok;
}
