#include "ir/npy.h"
#include "support/file.h"
#include <string.h>
#include <stdlib.h>
#include <zlib.h>

/* A .npz is a zip archive of .npy files. Only what NumPy writes is read: stored or deflated members, with or without zip64 sizes. */
static bool fail(TsCtx *cx, const char *path, const char *why, const char *which)
{
	ts_error(cx, (TsSpan){ 0 }, "E_NPZ", "%s: %s%s%s", path, why, *which ? " " : "", which);
	return false;
}

static uint64_t little(const uint8_t *p, int n)
{
	uint64_t v = 0;
	for (int i = n - 1; i >= 0; i--) v = v << 8 | p[i];
	return v;
}

/* Sizes of 2^32 - 1 stand in the zip64 field of the extra data, in the order size, packed, offset. */
static bool zip64(const uint8_t *extra, size_t n, uint64_t *size, uint64_t *packed, uint64_t *offset)
{
	uint64_t *want[] = { size, packed, offset };
	while (n >= 4) {
		size_t id = little(extra, 2), len = little(extra + 2, 2);
		if (len > n - 4) return false;
		if (id == 1) {
			size_t at = 0;
			for (int i = 0; i < 3; i++) {
				if (*want[i] != UINT32_MAX) continue;
				if (len - at < 8) return false;
				*want[i] = little(extra + 4 + at, 8);
				at += 8;
			}
			return true;
		}
		extra += 4 + len;
		n -= 4 + len;
	}
	return *size != UINT32_MAX && *packed != UINT32_MAX && *offset != UINT32_MAX;
}

/* One entry of the central directory at p; *used bytes. */
static bool read_entry(TsCtx *cx, TsNpz *z, const uint8_t *p, size_t left, size_t *used)
{
	if (left < 46 || little(p, 4) != 0x02014b50) return fail(cx, z->path, "the directory is damaged", "");
	size_t name_len = little(p + 28, 2), extra = little(p + 30, 2), comment = little(p + 32, 2);
	*used = 46 + name_len + extra + comment;
	if (*used > left) return fail(cx, z->path, "the directory is cut off", "");
	uint32_t flags = (uint32_t)little(p + 8, 2), method = (uint32_t)little(p + 10, 2);
	TsNpzEntry e = { .crc = (uint32_t)little(p + 16, 4), .packed = little(p + 20, 4), .size = little(p + 24, 4), .deflated = method == 8 };
	uint64_t offset = little(p + 42, 4);
	if (memchr(p + 46, 0, name_len)) return fail(cx, z->path, "a NUL in a name", "");
	size_t stem = name_len > 4 && !memcmp(p + 46 + name_len - 4, ".npy", 4) ? name_len - 4 : name_len;
	e.name = ts_intern_n(cx, (const char *)p + 46, stem);
	if (flags & 1) return fail(cx, z->path, "is encrypted:", e.name);
	if (method && method != 8) return fail(cx, z->path, "neither stored nor deflated:", e.name);
	if ((e.size == UINT32_MAX || e.packed == UINT32_MAX || offset == UINT32_MAX) && !zip64(p + 46 + name_len, extra, &e.size, &e.packed, &offset))
		return fail(cx, z->path, "damaged sizes:", e.name);
	if (offset > z->map_size || z->map_size - offset < 30 || little(z->map + offset, 4) != 0x04034b50) return fail(cx, z->path, "lies outside the file:", e.name);
	size_t skip = 30 + little(z->map + offset + 26, 2) + little(z->map + offset + 28, 2);
	if (skip > z->map_size - offset || e.packed > z->map_size - offset - skip) return fail(cx, z->path, "lies outside the file:", e.name);
	if (!e.deflated && e.size != e.packed) return fail(cx, z->path, "damaged sizes:", e.name);
	e.p = z->map + offset + skip;
	for (uint32_t i = 0; i < z->entries.n; i++)
		if (z->entries.p[i].name == e.name) return fail(cx, z->path, "there twice:", e.name);
	ts_push(ts_arena(cx), &z->entries, e);
	return true;
}

static bool read_directory(TsCtx *cx, TsNpz *z)
{
	enum { MOST = 4096 };
	const uint8_t *p = z->map;
	size_t n = z->map_size, end = n >= 22 ? n - 22 : 0, used = 0;
	if (n < 22) return fail(cx, z->path, "this is no .npz file", "");
	while (little(p + end, 4) != 0x06054b50) {
		if (!end || n - end > 22 + 65535) return fail(cx, z->path, "this is no .npz file", "");
		end--;
	}
	uint64_t count = little(p + end + 10, 2), at = little(p + end + 16, 4);
	if (at == UINT32_MAX || count == UINT16_MAX) return fail(cx, z->path, "an archive of more than 4 GiB or 65534 arrays is not read", "");
	if (count > MOST) return fail(cx, z->path, "more than 4096 arrays", "");
	if (at > end) return fail(cx, z->path, "the directory lies outside the file", "");
	for (uint64_t i = 0; i < count; i++, at += used)
		if (!read_entry(cx, z, p + at, end - at, &used)) return false;
	return true;
}

bool ts_npz_open(TsCtx *cx, const char *path, TsNpz *out)
{
	TsFile f;
	*out = (TsNpz){ .path = ts_intern(cx, path) };
	if (!ts_file_map(cx, path, &f)) return false;
	out->map = f.p;
	out->map_size = f.size;
	if (read_directory(cx, out)) return true;
	ts_npz_close(out);
	return false;
}

void ts_npz_close(TsNpz *z)
{
	TsFile f = { .p = z->map, .size = z->map_size };
	if (z->map) ts_file_unmap(&f);
	*z = (TsNpz){ 0 };
}

/* Deflate makes at most 1032 bytes of one: a size beyond that is a lie, found before anything is allocated. */
static uint8_t *inflate_entry(TsCtx *cx, const TsNpz *z, const TsNpzEntry *e)
{
	if (e->size / 1032 > e->packed || e->packed > UINT32_MAX || e->size > UINT32_MAX) return fail(cx, z->path, "damaged sizes:", e->name), NULL;
	uint8_t *to = malloc(e->size ? e->size : 1);
	z_stream s = { .next_in = (Bytef *)(uintptr_t)e->p, .avail_in = (uInt)e->packed, .next_out = to, .avail_out = (uInt)e->size };
	if (!to || inflateInit2(&s, -MAX_WBITS) != Z_OK) {
		ts_env_error(cx, "E_MEMORY", "no room for the %llu bytes of %s", (unsigned long long)e->size, e->name);
		free(to);
		return NULL;
	}
	int rc = inflate(&s, Z_FINISH);
	bool ok = rc == Z_STREAM_END && s.total_out == e->size && crc32(0, to, (uInt)e->size) == e->crc;
	inflateEnd(&s);
	if (ok) return to;
	free(to);
	return fail(cx, z->path, "damaged data:", e->name), NULL;
}

bool ts_npz_read(TsCtx *cx, const TsNpz *z, TsSym name, TsDtype as, TsTensor *out)
{
	const TsNpzEntry *e = NULL;
	*out = (TsTensor){ 0 };
	for (uint32_t i = 0; i < z->entries.n; i++)
		if (z->entries.p[i].name == name) e = &z->entries.p[i];
	if (!e) return fail(cx, z->path, "has no array", name);
	const char *what = ts_printf(ts_arena(cx), "%s in %s", name, z->path);
	if (!e->deflated) {
		uLong crc = crc32(0, NULL, 0);
		for (uint64_t at = 0; at < e->size; at += 1 << 30) crc = crc32(crc, e->p + at, (uInt)(e->size - at < 1 << 30 ? e->size - at : 1 << 30));
		if (crc != e->crc) return fail(cx, z->path, "damaged data:", name);
		return ts_npy_parse(cx, what, e->p, e->size, as, out);
	}
	uint8_t *p = inflate_entry(cx, z, e);
	bool ok = p && ts_npy_parse(cx, what, p, e->size, as, out);
	free(p);
	return ok;
}
