/* External weights: the published files as they are. A context opens them once per model: found beside the artifact or where the caller
 * says, mapped, accepted by hash, and packed into memory as the plan's recipes say. Weights that kernels read unpacked and that lie
 * aligned in the file are used in the mapping. All sessions of the context share the result. */
#include "rtlib/file.h"
#include "rtlib/pack.h"
#include "rtlib/rt.h"
#include "rtlib/sha256.h"
#include "rtlib/sys.h"

typedef struct { const TesseraModel *m; const char *path; TesseraError *e; } Opening;
typedef TsWeightMap Map;

/* ---- finding ---- */

static int hex(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

static uint64_t read_hex(const char **p)
{
	uint64_t x = 0;
	while (hex(**p) >= 0)
		x = x * 16 + (uint64_t)hex(*(*p)++);
	return x;
}

/* one line of /proc/self/maps: does it cover `at`, and from which file? */
static bool covers(const char *line, uint64_t at, TsText *path)
{
	uint64_t lo = read_hex(&line), hi;
	if (*line++ != '-')
		return false;
	hi = read_hex(&line);
	if (at < lo || at >= hi)
		return false;
	while (*line && *line != '/')
		line++;
	ts_text_add(path, "%s", line);
	return path->n > 0;
}

/* the folder of the file this artifact was loaded from, with its slash; empty when the system doesn't tell */
static void own_folder(const void *at, TsText *out)
{
	char buffer[8192], line[4096 + 128];
	size_t n = 0;
	int64_t fd = ts_sys3(TS_SYS_OPEN, (int64_t)(intptr_t) "/proc/self/maps", 0x80000, 0), got;
	if (fd < 0)
		return;
	bool found = false;
	while (!found && (got = ts_sys3(TS_SYS_READ, fd, (int64_t)(intptr_t)buffer, sizeof buffer)) > 0)
		for (int64_t i = 0; i < got && !found; i++) {
			if (buffer[i] != '\n') {
				if (n < sizeof line - 1)
					line[n++] = buffer[i];
				continue;
			}
			line[n] = 0;
			n = 0;
			found = covers(line, (uint64_t)(uintptr_t)at, out);
		}
	ts_sys3(TS_SYS_CLOSE, fd, 0, 0);
	while (out->n && out->p[out->n - 1] != '/')
		out->n--;
	out->p[out->n] = 0;
}

static const char *base_name(const char *path)
{
	const char *base = path;
	for (; *path; path++)
		if (*path == '/')
			base = path + 1;
	return base;
}

static bool is_folder(const char *path)
{
	int64_t fd = ts_sys3(TS_SYS_OPEN, (int64_t)(intptr_t)path, 0x90000 /* directory, close on exec */, 0);
	if (fd >= 0)
		ts_sys3(TS_SYS_CLOSE, fd, 0, 0);
	return fd >= 0;
}

static int32_t find(const Opening *o, const char *name, uint32_t n_files, TsText *out)
{
	if (!o->path)
		own_folder(o->m->plan, out);
	else if (n_files == 1 && !is_folder(o->path))
		ts_text_add(out, "%s", o->path);
	else
		ts_text_add(out, "%s/", o->path);
	if (!o->path || n_files > 1 || is_folder(o->path))
		ts_text_add(out, "%s", base_name(name));
	return out->n + 1 < out->cap ? TESSERA_OK : ts_fail(o->e, TESSERA_FILE, "weight file '%s': its path is too long", name);
}

/* ---- reading ---- */

static int32_t map_file(const Opening *o, const TsPlanFile *f, const char *path, Map *map)
{
	const uint8_t *p;
	uint64_t n;
	int64_t why = ts_map_regular(path, false, &p, &n);
	if (why)
		return ts_fail(o->e, TESSERA_FILE, "weight file '%s' can't be read: %e", path, why);
	*map = (Map){ p, n };
	if (n == f->bytes)
		return TESSERA_OK;
	if (n)
		ts_pages_free((void *)(uintptr_t)p, n);
	*map = (Map){ NULL, 0 };
	return ts_fail(o->e, TESSERA_FILE, "weight file '%s' has %u bytes, wanted %u: not the file this model was compiled with", path, n, f->bytes);
}

static int32_t check_hash(const Opening *o, const TsPlanFile *f, const char *path, const Map *map)
{
	TsSha256 s;
	uint8_t have[32];
	ts_sha256_init(&s);
	ts_sha256_add(&s, map->p, map->bytes);
	ts_sha256_end(&s, have);
	return memcmp(have, f->sha256, 32) == 0
	               ? TESSERA_OK
	               : ts_fail(o->e, TESSERA_FILE, "weight file '%s' has another SHA-256 than the one this model was compiled with", path);
}

int32_t ts_weights_map(const TesseraModel *m, const TsPlanHeader *plan, const char *path, uint32_t file, TsWeightMap *out, TesseraError *e)
{
	const TsPlanFile *f = TS_PLAN_TABLE(plan, TsPlanFile, files) + file;
	Opening o = { m, path, e };
	char text[4096];
	TsText found = { text, 0, sizeof text, false };
	int32_t rc;
	*out = (TsWeightMap){ NULL, 0 };
	if ((rc = find(&o, ts_plan_str(plan, f->name), plan->files.n, &found)) || (rc = map_file(&o, f, text, out)))
		return rc;
	if ((rc = check_hash(&o, f, text, out)))
		ts_weights_unmap(out);
	return rc;
}

void ts_weights_unmap(TsWeightMap *map)
{
	if (map->bytes)
		ts_pages_free((void *)(uintptr_t)map->p, map->bytes);
	*map = (TsWeightMap){ NULL, 0 };
}

/* whether the weight can be read where the file is mapped */
static bool in_place(const TsPlanWeight *w, const uint8_t *from) { return w->pack.kind == TS_PACK_COPY && (uintptr_t)from % 64 == 0 && w->bytes <= w->file_bytes; }

static int32_t place(const Opening *o, const TsPlanWeight *w, const Map *map, uint8_t *memory, void **at)
{
	const char *name = ts_plan_str(o->m->plan, w->name);
	const uint8_t *from = map->p + w->file_offset;
	int64_t packed = (int64_t)w->file_bytes, source = packed;
	if (in_place(w, from)) {
		*at = (void *)(uintptr_t)from;
		return TESSERA_OK;
	}
	if (w->pack.kind == TS_PACK_PANELS && (!ts_pack_bytes(&w->pack, &packed) || !ts_pack_source_bytes(&w->pack, &source)))
		return ts_fail(o->e, TESSERA_VERSION, "weight '%s': its packing is beyond 2^63 bytes", name);
	if (packed > (int64_t)w->bytes || source > (int64_t)w->file_bytes)
		return ts_fail(o->e, TESSERA_VERSION, "weight '%s': its packing doesn't fit its bytes", name);
	*at = memory + w->offset;
	memset(memory + w->offset + packed, 0, w->bytes - (uint64_t)packed);
	if (w->pack.kind == TS_PACK_COPY)
		memcpy(*at, from, (size_t)packed);
	else if (packed)
		ts_pack_panels(&w->pack, from, 0, w->pack.batch * ts_pack_ceil(w->pack.n, w->pack.panel), *at);
	return TESSERA_OK;
}

/* ---- the shared value ---- */

static size_t struct_bytes(const TsPlanHeader *p) { return sizeof(TsExternal) + p->files.n * 16ull + p->weights.n * 8ull; }

static void drop(TesseraContext *cx, void *value)
{
	TsExternal *x = value;
	for (uint32_t i = 0; i < x->n_maps; i++)
		if (x->maps[i].bytes)
			ts_pages_free(x->maps[i].p, x->maps[i].bytes);
	cx->api->release(cx, x->memory, x->bytes);
	cx->api->release(cx, x, x->self_bytes);
}

static int32_t fill(const Opening *o, TsExternal *x)
{
	const TsPlanHeader *p = o->m->plan;
	const TsPlanWeight *w = TS_PLAN_TABLE(p, TsPlanWeight, weights);
	int32_t rc = TESSERA_OK;
	for (uint32_t i = 0; i < p->files.n && !rc; i++) {
		Map map;
		rc = ts_weights_map(o->m, p, o->path, i, &map, o->e);
		x->maps[i].p = (void *)(uintptr_t)map.p;
		x->maps[i].bytes = map.bytes;
		for (uint32_t k = 0; k < p->weights.n && !rc; k++)
			if (w[k].where == TS_WEIGHT_EXTERNAL && w[k].file == i)
				rc = place(o, &w[k], &map, x->memory, &x->at[k]);
	}
	return rc;
}

static void *make(TesseraContext *cx, void *arg)
{
	Opening *o = arg;
	const TsPlanHeader *p = o->m->plan;
	size_t bytes = struct_bytes(p);
	TsExternal *x = cx->api->alloc(cx, bytes, 64);
	uint8_t *memory = x ? cx->api->alloc(cx, p->external_bytes, 4096) : NULL;
	if (!memory) {
		cx->api->release(cx, x, bytes);
		ts_fail(o->e, TESSERA_NO_MEMORY, "no memory for %u bytes of packed weights", p->external_bytes);
		return NULL;
	}
	memset(x, 0, bytes);
	x->memory = memory;
	x->bytes = p->external_bytes;
	x->self_bytes = bytes;
	x->n_maps = p->files.n;
	x->at = (void **)(void *)&x->maps[p->files.n];
	if (fill(o, x) == TESSERA_OK)
		return x;
	drop(cx, x);
	return NULL;
}

int32_t ts_weights_open(const TesseraModel *m, TesseraContext *cx, const char *path, const TsExternal **out, TesseraError *e)
{
	TesseraError own = { .code = TESSERA_NO_MEMORY, .message = "no memory for weights" };
	Opening o = { m, path, &own };
	*out = cx->api->shared(cx, m, make, drop, &o);
	if (*out)
		return TESSERA_OK;
	return ts_fail(e, own.code, "%s", own.message);
}
