/* The tunables of GPUs. A file has the schedules of its family, each once, in order; what it accepts is legal: tiles are made of whole
 * instructions, threads and shared memory fit the target. */
#include "middle/tiler/db.h"
#include "middle/tiler/db_read.h"
#include "ir/tile.h"
#include <stddef.h>
#include <string.h>

enum { IN_ATTENTION = 1, IN_MATMUL_MMA = 2, IN_MATMUL_WGMMA = 4, IN_POINTWISE = 8, IN_ROW = 16, IN_ATTENTION_WGMMA = 32, IN_SPANS = 64, HEAD = 256 /* columns of the widest head */ };
static const struct { const char *op, *schedule; int in; bool hopper; } entry[TS_GT_ENTRIES] = {
	{ "attention", "attention_mma", IN_ATTENTION, false }, { "attention", "attention_spans", IN_SPANS, false }, { "attention", "attention_wgmma", IN_ATTENTION_WGMMA, true },
	{ "matmul", "matmul_mma", IN_MATMUL_MMA, false }, { "matmul", "matmul_mma_few", IN_MATMUL_MMA, false }, { "matmul", "matmul_mma_some", IN_MATMUL_MMA, false },
	{ "matmul", "matmul_wgmma_few", IN_MATMUL_WGMMA, true },
	{ "pointwise", "pointwise_tiles", IN_POINTWISE, false }, { "row", "row_tiles", IN_ROW, false },
};

typedef struct { TsTuneField f; size_t at; bool power; } Tunable; /* power: of two */
#define T(name, min, max, step, in, power) { { #name, min, max, step, in, false }, offsetof(TsGpuTuned, name), power }
static const Tunable tunable[] = {
	T(block_m, 16, 256, 16, IN_MATMUL_MMA | IN_MATMUL_WGMMA, true), T(block_n, 16, 256, 16, IN_MATMUL_MMA | IN_MATMUL_WGMMA, true),
	T(block_k, 64, 64, 64, IN_MATMUL_MMA | IN_MATMUL_WGMMA, true), T(stages, 2, 16, 1, IN_MATMUL_MMA | IN_MATMUL_WGMMA | IN_SPANS, false),
	T(warps_m, 1, 8, 1, IN_MATMUL_MMA, true), T(warps_n, 1, 8, 1, IN_MATMUL_MMA, true), T(rows, 16, 128, 16, IN_ATTENTION, true),
	T(keys, 32, 256, 32, IN_ATTENTION | IN_ATTENTION_WGMMA, true), T(keys_256, 32, 256, 32, IN_ATTENTION | IN_ATTENTION_WGMMA, true),
	T(warps, 1, 16, 1, IN_POINTWISE | IN_ROW, true), T(elements, 4, 64, 4, IN_POINTWISE | IN_ROW, true), T(longest, 512, 32768, 512, IN_ROW | IN_SPANS, true),
	T(cluster, 1, 16, 1, IN_ROW, true), T(cells, 1, 65536, 1, IN_SPANS, false), T(shortest, 64, 1024, 64, IN_SPANS, true),
};
enum { TUNABLES = sizeof tunable / sizeof *tunable };

static int *field(TsGpuTuned *t, int i) { return (int *)(void *)((char *)t + tunable[i].at); }

/* Do the stages of a tile by wgmma and its results under way fit? */
static bool fits_ring(TsCtx *cx, TsSpan at, const TsTileTarget *target, int bm, int bn, int bk, int stages)
{
	int parts = bn / 64;
	int64_t stage = (int64_t)(bm + bn) * bk * 2, results = (int64_t)(parts > 1 && parts % 2 ? 3 : 2) * bm * 64 * 2;
	return !ts_tune_illegal(cx, at, stage * stages + results + 1024 <= target->shared_bytes, "the stages and the results under way do not fit shared memory");
}

/* What a range alone does not say. */
static bool check_entry(TsCtx *cx, TsSpan at, const TsTileTarget *target, int in, const TsGpuTuned *t)
{
	int64_t stage = (int64_t)(t->block_m + t->block_n) * t->block_k * 2, room = target->shared_bytes;
	if (in == IN_MATMUL_MMA)
		return !ts_tune_illegal(cx, at, t->block_m % (16 * t->warps_m) == 0 && t->block_n % (16 * t->warps_n) == 0, "a warp's part of the tile is not made of 16 rows and 16 columns") &&
			!ts_tune_illegal(cx, at, stage * t->stages <= room, "the stages do not fit shared memory");
	if (in == IN_MATMUL_WGMMA)
		return !ts_tune_illegal(cx, at, t->block_m == 64 || t->block_m == 128, "block_m is 64 or 128: one or two groups of warps have 64 rows each") &&
			fits_ring(cx, at, target, t->block_m, t->block_n, t->block_k, t->stages);
	if (in == IN_ATTENTION) {
		int64_t narrow = (t->rows + 4 * t->keys) * 128 * 2, wide = (t->rows + 4 * t->keys_256) * HEAD * 2;
		return !ts_tune_illegal(cx, at, narrow <= room && wide <= room, "the blocks of queries, keys and values do not fit shared memory");
	}
	if (in == IN_SPANS) return !ts_tune_illegal(cx, at, (int64_t)(16 * HEAD + 2 * t->stages * 4096) * 2 <= room, "the stages do not fit shared memory");
	if (in == IN_ATTENTION_WGMMA) {
		int64_t narrow = (128 + 4 * t->keys) * 128 * 2, wide = (128 + 4 * t->keys_256) * HEAD * 2;
		return !ts_tune_illegal(cx, at, narrow + 1024 <= room && wide + 1024 <= room, "the blocks of queries, keys and values do not fit shared memory");
	}
	return true;
}

static bool read_tunables(TsCtx *cx, const TsYaml *map, const TsTileTarget *target, int e, TsGpuTuned *out)
{
	const char *names[TUNABLES + 1] = { "name" };
	const TsYaml *found[TUNABLES + 1] = { 0 };
	int which[TUNABLES + 1] = { 0 };
	uint32_t n = 1;
	for (int i = 0; i < TUNABLES; i++)
		if (tunable[i].f.in & entry[e].in) { names[n] = tunable[i].f.name; which[n++] = i; }
	if (!ts_tune_keys(cx, map, "this schedule", names, n, found)) return false;
	for (uint32_t i = 0; i < n; i++)
		if (!ts_tune_need(cx, map, "this schedule", names[i], found[i])) return false;
	if (!ts_tune_word(cx, found[0], "name", &entry[e].schedule, 1)) return false;
	for (uint32_t i = 1; i < n; i++) {
		int *v = field(out, which[i]);
		if (!ts_tune_number(cx, found[i], &tunable[which[i]].f, v)) return false;
		if (tunable[which[i]].power && ts_tune_illegal(cx, found[i]->at, (*v & (*v - 1)) == 0, "this must be a power of two")) return false;
	}
	return check_entry(cx, map->at, target, entry[e].in, out);
}

static bool read_entry(TsCtx *cx, const TsYaml *n, const TsTileTarget *target, int e, TsGpuTuned *out)
{
	static const char *const names[] = { "op", "schedule" };
	const TsYaml *f[2] = { 0 };
	if (!ts_tune_keys(cx, n, "an entry", names, 2, f) || !ts_tune_need(cx, n, "an entry", "op", f[0]) || !ts_tune_need(cx, n, "an entry", "schedule", f[1])) return false;
	return ts_tune_word(cx, f[0], "op", &entry[e].op, 1) && read_tunables(cx, f[1], target, e, out);
}

static bool read_tile(TsCtx *cx, const TsYaml *map, const TsTileTarget *target, TsGpuTile *out)
{
	static const TsTuneField f[] = { { "block_m", 64, 192, 64, 0, false }, { "block_n", 64, 256, 64, 0, false }, { "ctas", 1, 2, 1, 0, false },
		{ "stages", 2, 16, 1, 0, false }, { "step", 1, 10000, 1, 0, false }, { "odd", 0, 10000, 1, 0, false }, { "tile", 1, 100000, 1, 0, false } };
	enum { N = sizeof f / sizeof *f };
	const char *names[N];
	const TsYaml *found[N] = { 0 };
	int v[N] = { 0 };
	for (int i = 0; i < N; i++) names[i] = f[i].name;
	if (!ts_tune_keys(cx, map, "a tile", names, N, found)) return false;
	for (int i = 0; i < N; i++)
		if (!ts_tune_need(cx, map, "a tile", names[i], found[i]) || !ts_tune_number(cx, found[i], &f[i], &v[i])) return false;
	*out = (TsGpuTile){ v[0], v[1], v[2], v[3], v[4], v[5], v[6] };
	return !ts_tune_illegal(cx, map->at, v[0] < 192 || v[1] <= 128, "three groups of warps hold 128 columns") && fits_ring(cx, map->at, target, v[0], v[1], 64, v[3]);
}

static bool read_tiles(TsCtx *cx, const TsYaml *map, const TsTileTarget *target, TsGpuTune *out)
{
	static const TsTuneField number[] = { { "multiprocessors", 1, 1024, 1, 0, false }, { "sum", 1, 100000, 1, 0, false }, { "part", 1, 10000, 1, 0, false },
		{ "part_tile", 1, 10000, 1, 0, false }, { "pack", 1, 100000, 1, 0, false }, { "any", 1, 100000, 1, 0, false } };
	enum { COSTS = sizeof number / sizeof *number };
	static const char *const names[COSTS + 1] = { "multiprocessors", "sum", "part", "part_tile", "pack", "any", "tiles" };
	const TsYaml *f[COSTS + 1] = { 0 }, *list;
	int *to[COSTS] = { &out->multiprocessors, &out->sum, &out->part, &out->part_tile, &out->pack, &out->any };
	if (!ts_tune_keys(cx, map, "wgmma_tiles", names, COSTS + 1, f)) return false;
	for (int i = 0; i <= COSTS; i++)
		if (!ts_tune_need(cx, map, "wgmma_tiles", names[i], f[i])) return false;
	for (int i = 0; i < COSTS; i++)
		if (!ts_tune_number(cx, f[i], &number[i], to[i])) return false;
	list = f[COSTS];
	if (ts_tune_wrong_kind(cx, list, TS_YAML_LIST, "tiles") || ts_tune_illegal(cx, list->at, list->kid.n >= 1 && list->kid.n <= TS_GPU_TILES, "there must be one tile to twelve")) return false;
	for (; out->tiles < (int)list->kid.n; out->tiles++)
		if (!read_tile(cx, list->kid.p[out->tiles], target, &out->tile[out->tiles])) return false;
	return true;
}

bool ts_tune_read_gpu(TsCtx *cx, uint32_t source, const char *arch, TsGpuTune *out)
{
	static const char *const names[] = { "architecture", "schedules", "wgmma_tiles" };
	const TsYaml *f[3] = { 0 }, *top = ts_yaml_read(cx, source);
	const TsTileTarget *target = ts_tile_target(arch);
	*out = (TsGpuTune){ 0 };
	int parts = target->cls & TS_TG_HOPPER ? 3 : 2;
	if (!top || !ts_tune_keys(cx, top, "the file", names, (uint32_t)parts, f)) return false;
	for (int i = 0; i < parts; i++)
		if (!ts_tune_need(cx, top, "the file", names[i], f[i])) return false;
	if (!ts_tune_word(cx, f[0], "architecture", &arch, 1) || ts_tune_wrong_kind(cx, f[1], TS_YAML_LIST, "schedules")) return false;
	uint32_t at = 0;
	for (int e = 0; e < TS_GT_ENTRIES; e++) {
		if (entry[e].hopper && !(target->cls & TS_TG_HOPPER)) continue;
		if (ts_tune_illegal(cx, f[1]->at, at < f[1]->kid.n, "schedules: an entry is missing")) return false;
		if (!read_entry(cx, f[1]->kid.p[at++], target, e, &out->entry[e])) return false;
	}
	return !ts_tune_illegal(cx, f[1]->at, at == f[1]->kid.n, "schedules: an entry too many") && (parts < 3 || read_tiles(cx, f[2], target, out));
}

extern const char ts_tune_sm_80[], ts_tune_sm_86[], ts_tune_sm_90a[], ts_tune_end[]; /* db_blob.S */

const TsGpuTune *ts_tune_load_gpu(TsCtx *cx, const char *arch)
{
	static const struct { const char *name, *from, *to; } files[] = { { "sm_80", ts_tune_sm_80, ts_tune_sm_86 }, { "sm_86", ts_tune_sm_86, ts_tune_sm_90a }, { "sm_90a", ts_tune_sm_90a, ts_tune_end } };
	TsGpuTune *out = TS_NEW(ts_arena(cx), TsGpuTune);
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		if (strcmp(files[i].name, arch)) continue;
		uint32_t source = ts_source_add(cx, ts_intern_fmt(cx, "autotune_db/%s.yaml", arch), files[i].from, (size_t)((uintptr_t)files[i].to - (uintptr_t)files[i].from));
		return ts_tune_read_gpu(cx, source, arch, out) ? out : NULL;
	}
	ts_bug(cx, (TsSpan){ 0 }, "no tunables for %s", arch);
	return NULL;
}
