#include "ir/weights.h"
#include "ir/json.h"
#include "ir/safetensors.h"
#include "support/elf_read.h"
#include "support/file.h"
#include <stdlib.h>
#include <string.h>

struct TsWeightMaps { TS_VEC(TsFile) files; };

typedef struct { TsModule *m; TsWeights *w; TsMap shards; /* path: file number + 1 */ TsMap chosen; /* by an index: name: file number + 1 */ } Open;

static bool add_tensor(Open *o, const TsSafeTensor *s, uint32_t file)
{
	TsArena *a = o->m->arena;
	uintptr_t *only = o->chosen.n ? ts_map_find(&o->chosen, s->name) : NULL;
	if (o->chosen.n && (!only || *only != file + 1)) return true;
	bool fresh;
	uintptr_t *at = ts_map_put(a, &o->w->by_name, s->name, &fresh);
	if (!fresh) {
		ts_error(o->m->cx, o->w->at, "E_WEIGHT_TWICE", "\"%s\" is in %s and in %s", s->name, o->w->files.p[o->w->tensors.p[*at].file], o->w->files.p[file]);
		return false;
	}
	*at = o->w->tensors.n;
	TsTensorInfo t = { .name = s->name, .type = { .elem = s->elem, .accum = TS_DTYPE_NONE, .rank = s->rank }, .file = file, .offset = s->offset, .size = s->size, .at = o->w->at };
	for (int k = 0; k < s->rank; k++) t.type.dim[k] = ts_dim_const(o->m->dims, s->dim[k]);
	ts_push(a, &o->w->tensors, t);
	return true;
}

static bool map_file(Open *o, TsSym path, TsFile *f)
{
	if (!ts_file_map(o->m->cx, path, f)) return false;
	ts_push(o->m->arena, &o->w->maps->files, *f);
	return true;
}

/* A shard lies beside its index: a name without folders. */
static bool is_plain_name(const char *name) { return *name && strcmp(name, ".") && strcmp(name, "..") && !strchr(name, '/') && !strchr(name, '\\'); }

static bool bad_index(Open *o, TsSym path, const char *what, const char *which)
{
	ts_error(o->m->cx, o->w->at, "E_WEIGHT_INDEX", "%s: %s%s%s", path, what, *which ? " " : "", which);
	return false;
}

/* {"weight_map": {tensor: file}}: the shards take the place of the index among w->files. */
static bool read_weight_map(Open *o, TsJson *j, TsSym path)
{
	TsArena *a = o->m->arena;
	TsSym tensor, file;
	bool first = true, fresh;
	if (!ts_json_begin(j, '{')) return false;
	while (ts_json_more(j, '{', &first)) {
		if (!ts_json_key(j, o->m->cx, &tensor) || !ts_json_string(j, o->m->cx, &file)) return false;
		if (!is_plain_name(file)) return bad_index(o, path, "a shard lies beside the index, found", file);
		TsSym full = ts_intern(o->m->cx, ts_path_beside(a, path, file));
		uintptr_t *n = ts_map_put(a, &o->shards, full, &fresh);
		if (fresh) {
			*n = o->w->files.n + 1;
			ts_push(a, &o->w->files, full);
		}
		uintptr_t *c = ts_map_put(a, &o->chosen, tensor, &fresh);
		if (!fresh) return bad_index(o, path, "there twice is", tensor);
		*c = *n;
	}
	return !j->why;
}

static bool read_index(Open *o, TsSym path)
{
	TsFile f;
	TsJson j;
	TsSym key;
	bool first = true, have = false;
	if (!ts_file_map(o->m->cx, path, &f)) return false;
	ts_json_open(&j, f.p, f.size);
	bool ok = ts_json_begin(&j, '{');
	uint32_t errors = ts_error_count(o->m->cx);
	while (ok && ts_json_more(&j, '{', &first)) {
		ok = ts_json_key(&j, o->m->cx, &key);
		if (ok && !strcmp(key, "weight_map") && !have) ok = have = read_weight_map(o, &j, path);
		else if (ok) ok = ts_json_skip(&j, o->m->cx);
	}
	ok = ok && !j.why && ts_json_end(&j);
	ts_file_unmap(&f);
	if (ts_error_count(o->m->cx) != errors) return false;
	if (!ok) return bad_index(o, path, "no valid JSON:", j.why ? j.why : "");
	return have || bad_index(o, path, "no \"weight_map\"", "");
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);
	return n >= k && !strcmp(s + n - k, end);
}

static int by_text(const void *a, const void *b) { return strcmp(*(const TsSym *)a, *(const TsSym *)b); }

/* One index alone, or any number of safetensors files. */
static bool open_index(Open *o)
{
	TsWeights *w = o->w;
	TsSym path = w->files.n ? w->files.p[0] : NULL;
	bool any = false;
	for (uint32_t i = 0; i < w->files.n; i++) any |= ends_with(w->files.p[i], ".json");
	if (!any) return true;
	if (w->files.n != 1) {
		ts_error(o->m->cx, w->at, "E_WEIGHT_INDEX", "an index.json stands alone, found %u files", w->files.n);
		return false;
	}
	w->files.n = 0;
	if (!read_index(o, path)) return false;
	/* in the order of their names, whatever order the index had */
	TsSym *found = ts_memdup(o->m->arena, w->files.p, w->files.n * sizeof *found);
	if (w->files.n) qsort(w->files.p, w->files.n, sizeof *w->files.p, by_text);
	for (uint32_t i = 0; i < w->files.n; i++) *ts_map_find(&o->shards, w->files.p[i]) = i + 1;
	for (uint32_t i = 0; i < o->chosen.n; i++) o->chosen.vals[i] = *ts_map_find(&o->shards, found[o->chosen.vals[i] - 1]);
	return true;
}

/* Where the safetensors image lies: all of a file, or in a pack (.tsr) where its metadata say `image NAME: OFFSET SIZE` of these weights. */
static bool find_image(Open *o, TsSym path, const TsFile *f, uint64_t *at, uint64_t *size)
{
	TsElfFile elf;
	TsElfSection meta, weights;
	*at = 0;
	*size = f->size;
	if (f->size < 4 || memcmp(f->p, "\177ELF", 4)) return true;
	char *line = ts_printf(o->m->arena, "image %s: ", o->w->name);
	const char *wrong = ts_elf_open(&elf, f->p, f->size);
	if (!wrong && (!ts_elf_find(&elf, ".tessera.meta", &meta) || !ts_elf_find(&elf, ".tessera.weights", &weights))) wrong = "it holds no weights";
	if (!wrong) {
		const char *text = ts_strndup(o->m->arena, (const char *)f->p + meta.offset, meta.size), *p = text;
		while ((p = strstr(p, line)) && p != text && p[-1] != '\n') p++;
		char *end = NULL;
		*at = p ? strtoull(p + strlen(line), &end, 10) : 0;
		*size = end && *end == ' ' ? strtoull(end + 1, &end, 10) : 0;
		if (!p || !end || *end != '\n') wrong = "it holds no such weights";
		else if (*at > weights.size || *size > weights.size - *at) wrong = "they lie outside of it";
		else *at += weights.offset;
	}
	if (wrong) ts_error(o->m->cx, o->w->at, "E_PACK_BAD", "cannot read weights '%s' from '%s': %s", o->w->name, path, wrong);
	return !wrong;
}

static bool read_file(Open *o, uint32_t file)
{
	TsSafeTensors all;
	TsFile f;
	TsSym path = o->w->files.p[file];
	uint64_t at, size;
	if (!map_file(o, path, &f) || !find_image(o, path, &f, &at, &size) || !ts_safetensors_read(o->m->cx, o->w->at, path, f.p + at, size, &all)) return false;
	for (uint32_t i = 0; i < all.n; i++) {
		all.p[i].offset += at;
		if (!add_tensor(o, &all.p[i], file)) return false;
	}
	return true;
}

static int by_name(const void *a, const void *b) { return strcmp(((const TsTensorInfo *)a)->name, ((const TsTensorInfo *)b)->name); }

static const char *type_text(TsModule *m, const TsType *t)
{
	TsBuf b = { 0 };
	ts_type_print(m, t, &b);
	const char *s = ts_strndup(m->arena, b.p, b.n);
	ts_buf_free(&b);
	return s;
}

/* What a manifest or an index asks for is there. */
static bool check_demands(Open *o, const TsTensorInfo *asked, uint32_t n)
{
	TsCtx *cx = o->m->cx;
	uint32_t errors = ts_error_count(cx);
	for (uint32_t i = 0; i < o->chosen.n; i++)
		if (!ts_map_find(&o->w->by_name, o->chosen.keys[i])) ts_error(cx, o->w->at, "E_WEIGHT_INDEX", "the index lists \"%s\" in %s, which does not have it", (const char *)o->chosen.keys[i], o->w->files.p[o->chosen.vals[i] - 1]);
	for (uint32_t i = 0; i < n; i++) {
		const TsTensorInfo *t = ts_weights_find(o->w, asked[i].name);
		if (!t) {
			ts_error(cx, asked[i].at, "E_NO_WEIGHT", "%s has no \"%s\"", o->w->file_names.n == 1 ? o->w->file_names.p[0] : "no file", asked[i].name);
			TsSym near = ts_weights_nearest(cx, o->w, asked[i].name);
			if (near) ts_hint(cx, "nearest: %s", near);
		} else if (!ts_type_eq(&t->type, &asked[i].type))
			ts_error(cx, asked[i].at, "E_WEIGHT_TYPE", "\"%s\" is %s in its file, here %s", t->name, type_text(o->m, &t->type), type_text(o->m, &asked[i].type));
	}
	return ts_error_count(cx) == errors;
}

bool ts_weights_open(TsModule *m, TsWeights *w)
{
	Open o = { .m = m, .w = w };
	TsTensorInfo *asked = w->tensors.n ? ts_memdup(m->arena, w->tensors.p, w->tensors.n * sizeof *asked) : NULL;
	uint32_t n = w->tensors.n;
	if (!w->files.n) n = 0;        /* nothing to read: what a manifest lists is all there is */
	else w->tensors.n = 0;
	if (w->maps) ts_weights_close(w);
	w->maps = TS_NEW(m->arena, struct TsWeightMaps);
	w->by_name = (TsMap){ 0 };
	bool ok = open_index(&o);
	for (uint32_t i = 0; ok && i < w->files.n; i++) ok = read_file(&o, i);
	if (ok && w->tensors.n) qsort(w->tensors.p, w->tensors.n, sizeof *w->tensors.p, by_name);
	w->by_name = (TsMap){ 0 };
	for (uint32_t i = 0; i < w->tensors.n; i++) *ts_map_put(m->arena, &w->by_name, w->tensors.p[i].name, NULL) = i;
	return ok && check_demands(&o, asked, n);
}

void ts_weights_close(TsWeights *w)
{
	if (!w->maps) return;
	for (uint32_t i = 0; i < w->maps->files.n; i++) ts_file_unmap(&w->maps->files.p[i]);
	w->maps = NULL;
}

const TsTensorInfo *ts_weights_find(const TsWeights *w, TsSym name)
{
	uintptr_t *i = ts_map_find(&w->by_name, name);
	return i ? &w->tensors.p[*i] : NULL;
}

TsSym ts_weights_nearest(TsCtx *cx, const TsWeights *w, TsSym name)
{
	TsSym *names = TS_NEW_N(ts_arena(cx), TsSym, w->tensors.n + 1);
	for (uint32_t i = 0; i < w->tensors.n; i++) names[i] = w->tensors.p[i].name;
	return ts_nearest(name, names, w->tensors.n);
}

const void *ts_weights_data(TsModule *m, const TsWeights *w, const TsTensorInfo *t)
{
	if (w->maps && t->file < w->maps->files.n && t->offset <= w->maps->files.p[t->file].size && t->size <= w->maps->files.p[t->file].size - t->offset)
		return w->maps->files.p[t->file].p + t->offset;
	ts_error(m->cx, t->at, "E_NO_WEIGHT", "no file gives \"%s\"", t->name);
	return NULL;
}
