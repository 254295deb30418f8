/* The schedule database: the files tsc carries agree with the code generator's targets, and each way of being wrong is refused with its
 * place. Wrong files are the good one with one text replaced. */
#include "backend/llvm/backend.h"
#include "middle/tiler/db.h"
#include <stdlib.h>
#include <string.h>

static int failed, passed;

static void check(const char *name, bool ok, const char *why)
{
	if (ok) passed++;
	else { printf("FAIL %s: %s\n", name, why); failed = 1; }
}

static const char *const FILE_V3 =
	"architecture: x86-64-v3\n"
	"limits: {vector_bytes: 32, vector_registers: 16, l1_bytes: 32768, l2_bytes: 262144, l3_bytes: 8388608}\n"
	"schedules:\n"
	"- {op: attention, element_bytes: 4, schedule: {name: attention_online, mr: 6, lanes: 8, regs: 2, rows: 48, keys: 64}}\n"
	"- {op: attention, element_bytes: 8, schedule: {name: attention_online, mr: 6, lanes: 4, regs: 2, rows: 48, keys: 64}}\n"
	"- {op: matmul, element_bytes: 4, schedule: {name: matmul_panels, mr: 6, lanes: 8, regs: 2, block_m: 96, block_n: 128, block_k: 384, small_m: 16}}\n"
	"- {op: matmul, element_bytes: 8, schedule: {name: matmul_panels, mr: 6, lanes: 4, regs: 2, block_m: 96, block_n: 128, block_k: 384, small_m: 16}}\n"
	"- {op: pointwise, schedule: {name: pointwise_chunks, chunk: 4096}}\n";

/* One text replaced, once; the message that must come. */
static const struct { const char *name, *from, *to, *message; } wrong[] = {
	{ "unknown-key", "lanes: 8", "lane: 8", "4:79: error[E_TUNE]: this schedule has no key 'lane'" },
	{ "nearest", "lanes: 8", "lane: 8", "nearest: lanes" },
	{ "unknown-key-top", "limits:", "limit:", "2:1: error[E_TUNE]: the file has no key 'limit'" },
	{ "unknown-op", "op: matmul", "op: matmol", "6:8: error[E_TUNE]: op: unknown 'matmol'" },
	{ "unknown-architecture", "x86-64-v3", "x86-64-v9", "1:15: error[E_TUNE]: architecture: unknown 'x86-64-v9'" },
	{ "unknown-schedule", "attention_online", "attention_on", "4:54: error[E_TUNE]: name: unknown 'attention_on'" },
	{ "twice", "mr: 6,", "mr: 6, mr: 6,", "4:79: error[E_TUNE]: key 'mr' stands here twice" },
	{ "missing-key", "chunk: 4096", "", "8:29: error[E_TUNE]: this schedule lacks 'chunk'" },
	{ "missing-entry", "- {op: pointwise, schedule: {name: pointwise_chunks, chunk: 4096}}\n", "", "error[E_TUNE]: schedules: 4 entries of 5" },
	{ "order", "op: attention, element_bytes: 4", "op: attention, element_bytes: 8", "4:3: error[E_TUNE]: before this entry one of 'attention' is missing" },
	{ "entry-twice", "op: attention, element_bytes: 8", "op: attention, element_bytes: 4", "5:3: error[E_TUNE]: this entry stands here twice, or out of order" },
	{ "no-element-bytes", "op: matmul, element_bytes: 4", "op: matmul", "6:3: error[E_TUNE]: 'matmul' needs element_bytes: 4 or 8" },
	{ "text-for-number", "chunk: 4096", "chunk: many", "8:61: error[E_TUNE]: chunk: expected a whole number" },
	{ "quoted-number", "chunk: 4096", "chunk: '4096'", "chunk: expected a whole number" },
	{ "list-for-number", "chunk: 4096", "chunk: [4096]", "chunk: expected a whole number" },
	{ "negative", "chunk: 4096", "chunk: -64", "chunk: expected a whole number" },
	{ "huge", "chunk: 4096", "chunk: 99999999999999999999", "chunk: expected a whole number" },
	{ "range", "mr: 6", "mr: 17", "mr is 17; it must be from 1 to 16" },
	{ "zero", "regs: 2", "regs: 0", "regs is 0; it must be from 1 to 8" },
	{ "multiple", "block_n: 128", "block_n: 100", "block_n is 100; it must be a multiple of 64" },
	{ "registers", "mr: 6", "mr: 8", "more than vector_registers" },
	{ "lanes", "lanes: 8", "lanes: 16", "lanes times element_bytes is not vector_bytes" },
	{ "panel", "lanes: 8, regs: 2", "lanes: 8, regs: 3", "does not divide 64" },
	{ "rows", "rows: 48", "rows: 50", "rows is no multiple of mr" },
	{ "small-m", "small_m: 16", "small_m: 97", "small_m is more than block_m" },
	{ "cache", "block_k: 384", "block_k: 2048", "a panel of block_k rows does not fit l2_bytes" },
	{ "block", "block_m: 96", "block_m: 960", "block_m times block_n elements do not fit l2_bytes" },
	{ "caches", "l1_bytes: 32768", "l1_bytes: 1048576", "a cache is smaller than the one before it" },
	{ "list-for-mapping", "limits: {", "limits: [{", "not YAML" },
	{ "mapping-for-list", "schedules:\n", "schedules: {a: 1}\n", "not YAML" },
	{ "anchor", "chunk: 4096", "chunk: &c 4096", "an anchor" },
	{ "alias", "chunk: 4096", "chunk: *c", "an alias" },
	{ "tag", "chunk: 4096", "chunk: !!int 4096", "a tag" },
	{ "deep", "chunk: 4096", "chunk: [[[[[[[[[[1]]]]]]]]]]", "nested too deeply" },
	{ "second-document", "chunk: 4096}}\n", "chunk: 4096}}\n---\na: 1\n", "a second document" },
	{ "tab", "mr: 6", "mr:\t6", "byte 0x09" },
	{ "not-ascii", "mr: 6", "mr: \xd9\xa6", "byte 0xd9" },
};

static bool read_text(TsCtx *cx, const char *text, size_t n, TsTuneArch *a) { return ts_tune_read(cx, ts_source_add(cx, "t.yaml", text, n), a); }

static void refused(size_t i)
{
	TsCtx *cx = ts_ctx_new();
	TsBuf text = { 0 }, said = { 0 };
	TsTuneArch a;
	const char *at = strstr(FILE_V3, wrong[i].from);
	if (!at) { check(wrong[i].name, false, "the text to replace is not there"); return; }
	ts_buf_add(&text, FILE_V3, (size_t)(at - FILE_V3));
	ts_buf_str(&text, wrong[i].to);
	ts_buf_str(&text, at + strlen(wrong[i].from));
	bool ok = read_text(cx, text.p, text.n, &a);
	ts_diag_text(cx, &said);
	check(wrong[i].name, !ok && said.p && strstr(said.p, wrong[i].message) && ts_error_count(cx) == 1, said.p ? said.p : "accepted");
	ts_buf_free(&text);
	ts_buf_free(&said);
	ts_ctx_free(cx);
}

/* Clones share what decides bits. */
static void shared(void)
{
	TsCtx *cx = ts_ctx_new();
	const TsTuneDb *good = ts_tune_load(cx);
	for (int i = TS_TUNE_BLOCK_M; good && i < TS_TUNABLES; i++) {
		TsTuneDb db = *good;
		int e = i <= TS_TUNE_SMALL_M ? TS_TUNE_MATMUL_4 : i <= TS_TUNE_KEYS ? TS_TUNE_ATTENTION_8 : TS_TUNE_POINTWISE;
		db.arch[2].entry[e].v[i] += 64;
		check("shared", !ts_tune_agree(cx, &db), "clones that differ in what decides bits were accepted");
	}
	ts_ctx_free(cx);
}

static void too_large(void)
{
	TsCtx *cx = ts_ctx_new();
	size_t n = 70000;
	char *p = malloc(n);
	TsTuneArch a;
	if (!p) abort();
	memset(p, '[', n);
	check("large", !read_text(cx, p, n, &a), "accepted");
	check("brackets", !read_text(cx, p, 60000, &a), "accepted");
	check("empty", !read_text(cx, "", 0, &a), "accepted");
	free(p);
	ts_ctx_free(cx);
}

/* GPU files: what is carried reads, and each way of being wrong is refused. */
static const char *const FILE_SM80 =
	"architecture: sm_80\n"
	"schedules:\n"
	"- {op: attention, schedule: {name: attention_mma, rows: 64, keys: 64, keys_256: 32}}\n"
	"- {op: attention, schedule: {name: attention_spans, stages: 2, longest: 1024, cells: 432, shortest: 128}}\n"
	"- {op: matmul, schedule: {name: matmul_mma, block_m: 128, block_n: 128, block_k: 64, stages: 3, warps_m: 2, warps_n: 2}}\n"
	"- {op: matmul, schedule: {name: matmul_mma_few, block_m: 16, block_n: 128, block_k: 64, stages: 4, warps_m: 1, warps_n: 4}}\n"
	"- {op: matmul, schedule: {name: matmul_mma_some, block_m: 64, block_n: 128, block_k: 64, stages: 3, warps_m: 2, warps_n: 2}}\n"
	"- {op: pointwise, schedule: {name: pointwise_tiles, warps: 4, elements: 16}}\n"
	"- {op: row, schedule: {name: row_tiles, warps: 4, elements: 16, longest: 16384, cluster: 1}}\n";
static const struct { const char *name, *from, *to, *message; } gpu_wrong[] = {
	{ "gpu-key", "rows: 64", "row: 64", "this schedule has no key 'row'" },
	{ "gpu-missing", "rows: 64, ", "", "this schedule lacks 'rows'" },
	{ "gpu-architecture", "sm_80", "sm_81", "architecture: unknown 'sm_81'" },
	{ "gpu-order", "matmul_mma_few", "matmul_mma_some", "name: unknown 'matmul_mma_some'" },
	{ "gpu-power", "block_n: 128", "block_n: 96", "this must be a power of two" },
	{ "gpu-range", "elements: 16", "elements: 128", "elements is 128; it must be from 4 to 64" },
	{ "gpu-warps", "block_m: 16, block_n: 128, block_k: 64, stages: 4, warps_m: 1", "block_m: 16, block_n: 128, block_k: 64, stages: 4, warps_m: 2", "not made of 16 rows" },
	{ "gpu-shared", "stages: 3", "stages: 8", "the stages do not fit shared memory" },
	{ "gpu-blocks", "keys_256: 32", "keys_256: 128", "the blocks of queries, keys and values do not fit" },
	{ "gpu-cells", "cells: 432", "cells: 0", "cells is 0" },
	{ "gpu-few", "- {op: row, schedule: {name: row_tiles, warps: 4, elements: 16, longest: 16384, cluster: 1}}\n", "", "an entry is missing" },
	{ "gpu-many", "cluster: 1}}\n", "cluster: 1}}\n- {op: row, schedule: {name: row_tiles, warps: 4, elements: 16, longest: 16384, cluster: 1}}\n", "an entry too many" },
};

extern const char ts_tune_sm_90a[], ts_tune_end[];

/* The file of Hopper, with one thing changed. */
static void hopper(void)
{
	static const struct { const char *name, *from, *to, *message; } wrong[] = {
		{ "hopper-name", "wgmma_tiles:", "wgmma_tile:", "the file has no key 'wgmma_tile'" },
		{ "hopper-count", "multiprocessors: 132", "multiprocessors: 0", "multiprocessors is 0" },
		{ "hopper-tile", "step: 573, odd: 40, tile: 1000", "step: 573, odd: 40", "tile" },
		{ "hopper-step", "step: 573", "step: 0", "step is 0" },
		{ "hopper-columns", "block_n: 192", "block_n: 96", "multiple of 64" },
		{ "hopper-room", "stages: 4, step: 573", "stages: 5, step: 573", "do not fit shared memory" },
		{ "hopper-groups", "block_m: 192, block_n: 128, ctas: 1, stages: 4", "block_m: 192, block_n: 192, ctas: 1, stages: 2", "three groups of warps" },
	};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		TsCtx *cx = ts_ctx_new();
		TsBuf text = { 0 }, said = { 0 };
		TsGpuTune g;
		size_t n = (size_t)((uintptr_t)ts_tune_end - (uintptr_t)ts_tune_sm_90a);
		char *file = ts_strndup(ts_arena(cx), ts_tune_sm_90a, n), *at = strstr(file, wrong[i].from);
		if (!at) abort();
		ts_buf_add(&text, file, (size_t)(at - file));
		ts_buf_str(&text, wrong[i].to);
		ts_buf_str(&text, at + strlen(wrong[i].from));
		bool ok = ts_tune_read_gpu(cx, ts_source_add(cx, "t.yaml", text.p, text.n), "sm_90a", &g);
		ts_diag_text(cx, &said);
		check(wrong[i].name, !ok && said.p && strstr(said.p, wrong[i].message) && ts_error_count(cx) == 1, said.p ? said.p : "accepted");
		ts_buf_free(&text);
		ts_buf_free(&said);
		ts_ctx_free(cx);
	}
}

static void gpus(void)
{
	static const char *const arch[] = { "sm_80", "sm_86", "sm_90a" };
	TsCtx *cx = ts_ctx_new();
	TsGpuTune g;
	for (int i = 0; i < 3; i++) check(arch[i], ts_tune_load_gpu(cx, arch[i]) != NULL, "the file that tsc carries is refused");
	check("gpu-good", ts_tune_read_gpu(cx, ts_source_add(cx, "t.yaml", FILE_SM80, strlen(FILE_SM80)), "sm_80", &g), "the unchanged text is refused");
	ts_diag_print(cx, stdout);
	ts_ctx_free(cx);
	for (size_t i = 0; i < sizeof gpu_wrong / sizeof *gpu_wrong; i++) {
		TsBuf text = { 0 }, said = { 0 };
		const char *at = strstr(FILE_SM80, gpu_wrong[i].from);
		cx = ts_ctx_new();
		if (!at) abort();
		ts_buf_add(&text, FILE_SM80, (size_t)(at - FILE_SM80));
		ts_buf_str(&text, gpu_wrong[i].to);
		ts_buf_str(&text, at + strlen(gpu_wrong[i].from));
		bool ok = ts_tune_read_gpu(cx, ts_source_add(cx, "t.yaml", text.p, text.n), "sm_80", &g);
		ts_diag_text(cx, &said);
		check(gpu_wrong[i].name, !ok && said.p && strstr(said.p, gpu_wrong[i].message) && ts_error_count(cx) == 1, said.p ? said.p : "accepted");
		ts_buf_free(&text);
		ts_buf_free(&said);
		ts_ctx_free(cx);
	}
}

int main(void)
{
	TsCtx *cx = ts_ctx_new();
	const TsTuneDb *db = ts_tune_load(cx);
	ts_diag_print(cx, stdout);
	check("carried", db != NULL, "the files that tsc carries are refused");
	for (int i = 0; db && i < TS_CPU_CLONES; i++) {
		const TsTarget *t = ts_target_find(db->arch[i].name);
		check("target", t && (int)t->vector_bytes == db->arch[i].limit[TS_LIMIT_VECTOR_BYTES], db->arch[i].name);
	}
	TsTuneArch a;
	check("good", read_text(cx, FILE_V3, strlen(FILE_V3), &a), "the unchanged text is refused");
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) refused(i);
	shared();
	too_large();
	gpus();
	hopper();
	if (!failed) printf("ok tune (%d checks)\n", passed);
	ts_ctx_free(cx);
	return failed;
}
