#include "middle/tiler/db.h"
#include "middle/tiler/db_read.h"
#include <inttypes.h>
#include <string.h>

enum { PANEL = 64 };           /* columns of a packed weight panel: the artifact's format, no tunable */

static const char *const arch_name[TS_CPU_CLONES] = { "x86-64-v2", "x86-64-v3", "x86-64-v4" };
static const struct { const char *op, *schedule; int bytes; } entry_key[TS_TUNE_ENTRIES] = {
	{ "attention", "attention_online", 4 }, { "attention", "attention_online", 8 }, { "matmul", "matmul_panels", 4 }, { "matmul", "matmul_panels", 8 },
	{ "pointwise", "pointwise_chunks", 0 },
};
enum { IN_ATTENTION = 1, IN_MATMUL = 2, IN_POINTWISE = 4 };
static const int entry_class[TS_TUNE_ENTRIES] = { IN_ATTENTION, IN_ATTENTION, IN_MATMUL, IN_MATMUL, IN_POINTWISE };

static const TsTuneField tunable[TS_TUNABLES] = {
	{ "mr", 1, 16, 1, IN_ATTENTION | IN_MATMUL, false }, { "lanes", 1, 64, 1, IN_ATTENTION | IN_MATMUL, false },
	{ "regs", 1, 8, 1, IN_ATTENTION | IN_MATMUL, false }, { "block_m", 1, 1024, 1, IN_MATMUL, true }, { "block_n", PANEL, 1024, PANEL, IN_MATMUL, true },
	{ "block_k", 16, 4096, 16, IN_MATMUL, true }, { "small_m", 1, 1024, 1, IN_MATMUL, true }, { "rows", 1, 1024, 1, IN_ATTENTION, true },
	{ "keys", 64, 256, 64, IN_ATTENTION, true }, { "chunk", 64, 1 << 20, 64, IN_POINTWISE, true },
};
static const TsTuneField limit[TS_LIMITS] = {
	{ "vector_bytes", 16, 64, 16, 0, false }, { "vector_registers", 16, 32, 16, 0, false }, { "l1_bytes", 4096, 1 << 24, 1024, 0, false },
	{ "l2_bytes", 4096, 1 << 28, 1024, 0, false }, { "l3_bytes", 4096, 1 << 30, 1024, 0, false },
};

bool ts_tune_wrong_kind(TsCtx *cx, const TsYaml *n, TsYamlKind want, const char *what)
{
	static const char *const kind[] = { "a value", "a list", "a mapping" };
	if (n->kind == want) return false;
	ts_error(cx, n->at, "E_TUNE", "%s: expected %s, found %s", what, kind[want], kind[n->kind]);
	return true;
}

/* The values of a mapping by name: found[i] is names[i]'s value or NULL. */
bool ts_tune_keys(TsCtx *cx, const TsYaml *map, const char *what, const char *const *names, uint32_t n, const TsYaml **found)
{
	if (ts_tune_wrong_kind(cx, map, TS_YAML_MAP, what)) return false;
	for (uint32_t i = 0; i < map->kid.n; i += 2) {
		const TsYaml *key = map->kid.p[i];
		uint32_t j = 0;
		while (j < n && strcmp(names[j], key->text) != 0) j++;
		if (j < n) { found[j] = map->kid.p[i + 1]; continue; }
		const char *near = ts_nearest(key->text, names, n);
		ts_error(cx, key->at, "E_TUNE", "%s has no key '%s'", what, key->text);
		if (near) ts_hint(cx, "nearest: %s", near);
		return false;
	}
	return true;
}

bool ts_tune_need(TsCtx *cx, const TsYaml *in, const char *what, const char *name, const TsYaml *value)
{
	if (!value) ts_error(cx, in->at, "E_TUNE", "%s lacks '%s'", what, name);
	return value != NULL;
}

/* A whole number without sign, leading zero or fraction. */
bool ts_tune_number(TsCtx *cx, const TsYaml *n, const TsTuneField *f, int *out)
{
	int64_t v = 0;
	size_t len = n->kind == TS_YAML_SCALAR ? strlen(n->text) : 0;
	bool ok = len && len < 11 && n->plain && (n->text[0] != '0' || len == 1);
	for (size_t i = 0; ok && i < len; i++) {
		ok = n->text[i] >= '0' && n->text[i] <= '9';
		v = v * 10 + (n->text[i] - '0');
	}
	if (!ok) ts_error(cx, n->at, "E_TUNE", "%s: expected a whole number", f->name);
	else if (v < f->min || v > f->max) ts_error(cx, n->at, "E_TUNE", "%s is %" PRId64 "; it must be from %d to %d", f->name, v, f->min, f->max);
	else if (v % f->step) ts_error(cx, n->at, "E_TUNE", "%s is %" PRId64 "; it must be a multiple of %d", f->name, v, f->step);
	else { *out = (int)v; return true; }
	return false;
}

bool ts_tune_word(TsCtx *cx, const TsYaml *n, const char *what, const char *const *names, uint32_t count)
{
	if (ts_tune_wrong_kind(cx, n, TS_YAML_SCALAR, what)) return false;
	for (uint32_t i = 0; i < count; i++)
		if (!strcmp(n->text, names[i])) return true;
	const char *near = ts_nearest(n->text, names, count);
	ts_error(cx, n->at, "E_TUNE", "%s: unknown '%s'", what, n->text);
	if (near) ts_hint(cx, "nearest: %s", near);
	return false;
}

bool ts_tune_illegal(TsCtx *cx, TsSpan at, bool is_legal, const char *why)
{
	if (!is_legal) ts_error(cx, at, "E_TUNE", "%s", why);
	return !is_legal;
}

/* What a range alone does not say. */
static bool check_entry(TsCtx *cx, const TsTuneArch *a, int e)
{
	const TsTuned *t = &a->entry[e];
	const int *v = t->v, bytes = entry_key[e].bytes, l2 = a->limit[TS_LIMIT_L2_BYTES];
	if (entry_class[e] == IN_POINTWISE) return true;
	int tile = v[TS_TUNE_LANES] * v[TS_TUNE_REGS], in_use = (v[TS_TUNE_MR] + 1) * v[TS_TUNE_REGS] + 1;
	if (ts_tune_illegal(cx, t->at[TS_TUNE_LANES], v[TS_TUNE_LANES] * bytes == a->limit[TS_LIMIT_VECTOR_BYTES], "lanes times element_bytes is not vector_bytes") ||
		ts_tune_illegal(cx, t->at[TS_TUNE_REGS], PANEL % tile == 0, "lanes times regs does not divide 64, the columns of a panel") ||
		ts_tune_illegal(cx, t->at[TS_TUNE_MR], in_use <= a->limit[TS_LIMIT_VECTOR_REGISTERS], "the register tile, a row of B and one element of A are more than vector_registers"))
		return false;
	if (entry_class[e] == IN_ATTENTION) return !ts_tune_illegal(cx, t->at[TS_TUNE_ROWS], v[TS_TUNE_ROWS] % v[TS_TUNE_MR] == 0, "rows is no multiple of mr");
	return !ts_tune_illegal(cx, t->at[TS_TUNE_SMALL_M], v[TS_TUNE_SMALL_M] <= v[TS_TUNE_BLOCK_M], "small_m is more than block_m") &&
		!ts_tune_illegal(cx, t->at[TS_TUNE_BLOCK_N], (int64_t)v[TS_TUNE_BLOCK_M] * v[TS_TUNE_BLOCK_N] * bytes <= l2, "block_m times block_n elements do not fit l2_bytes") &&
		!ts_tune_illegal(cx, t->at[TS_TUNE_BLOCK_K], (int64_t)v[TS_TUNE_BLOCK_K] * PANEL * bytes <= l2, "a panel of block_k rows does not fit l2_bytes");
}

static bool read_tunables(TsCtx *cx, const TsYaml *map, int e, TsTuned *out)
{
	const char *names[TS_TUNABLES + 1] = { "name" };
	const TsYaml *found[TS_TUNABLES + 1] = { 0 };
	int which[TS_TUNABLES + 1] = { 0 };
	uint32_t n = 1;
	for (int i = 0; i < TS_TUNABLES; i++)
		if (tunable[i].in & entry_class[e]) { names[n] = tunable[i].name; which[n++] = i; }
	if (!ts_tune_keys(cx, map, "this schedule", names, n, found)) return false;
	for (uint32_t i = 0; i < n; i++)
		if (!ts_tune_need(cx, map, "this schedule", names[i], found[i])) return false;
	if (!ts_tune_word(cx, found[0], "name", &entry_key[e].schedule, 1)) return false;
	for (uint32_t i = 1; i < n; i++) {
		out->at[which[i]] = found[i]->at;
		if (!ts_tune_number(cx, found[i], &tunable[which[i]], &out->v[which[i]])) return false;
	}
	return true;
}

/* entry = {op, element_bytes, schedule}; the next one in order must be number e. */
static bool read_entry(TsCtx *cx, const TsYaml *n, int e, TsTuneArch *out)
{
	static const char *const names[] = { "op", "element_bytes", "schedule" }, *const ops[] = { "attention", "matmul", "pointwise" };
	static const TsTuneField bytes_field = { "element_bytes", 4, 8, 4, 0, false };
	const TsYaml *f[3] = { 0 };
	int bytes = 0, is = 0;
	if (!ts_tune_keys(cx, n, "an entry", names, 3, f) || !ts_tune_need(cx, n, "an entry", "op", f[0]) || !ts_tune_need(cx, n, "an entry", "schedule", f[2])) return false;
	if (!ts_tune_word(cx, f[0], "op", ops, 3) || (f[1] && !ts_tune_number(cx, f[1], &bytes_field, &bytes))) return false;
	while (is < TS_TUNE_ENTRIES && (strcmp(entry_key[is].op, f[0]->text) != 0 || entry_key[is].bytes != bytes)) is++;
	if (is == TS_TUNE_ENTRIES) {
		ts_error(cx, (f[1] ? f[1] : n)->at, "E_TUNE", bytes ? "'%s' has no element_bytes" : "'%s' needs element_bytes: 4 or 8", f[0]->text);
		return false;
	}
	if (is != e) {
		ts_error(cx, n->at, "E_TUNE", is < e ? "this entry stands here twice, or out of order" : "before this entry one of '%s' is missing", entry_key[e < TS_TUNE_ENTRIES ? e : is].op);
		return false;
	}
	return read_tunables(cx, f[2], e, &out->entry[e]) && check_entry(cx, out, e);
}

static bool read_limits(TsCtx *cx, const TsYaml *map, TsTuneArch *out)
{
	const char *names[TS_LIMITS];
	const TsYaml *f[TS_LIMITS] = { 0 };
	for (int i = 0; i < TS_LIMITS; i++) names[i] = limit[i].name;
	if (!ts_tune_keys(cx, map, "limits", names, TS_LIMITS, f)) return false;
	for (int i = 0; i < TS_LIMITS; i++)
		if (!ts_tune_need(cx, map, "limits", names[i], f[i]) || !ts_tune_number(cx, f[i], &limit[i], &out->limit[i])) return false;
	return !ts_tune_illegal(cx, map->at, out->limit[TS_LIMIT_L1_BYTES] <= out->limit[TS_LIMIT_L2_BYTES] && out->limit[TS_LIMIT_L2_BYTES] <= out->limit[TS_LIMIT_L3_BYTES],
		"a cache is smaller than the one before it");
}

bool ts_tune_read(TsCtx *cx, uint32_t source, TsTuneArch *out)
{
	static const char *const names[] = { "architecture", "limits", "schedules" };
	const TsYaml *f[3] = { 0 }, *top = ts_yaml_read(cx, source);
	*out = (TsTuneArch){ 0 };
	if (!top || !ts_tune_keys(cx, top, "the file", names, 3, f)) return false;
	for (int i = 0; i < 3; i++)
		if (!ts_tune_need(cx, top, "the file", names[i], f[i])) return false;
	if (!ts_tune_word(cx, f[0], "architecture", arch_name, TS_CPU_CLONES) || !read_limits(cx, f[1], out) || ts_tune_wrong_kind(cx, f[2], TS_YAML_LIST, "schedules")) return false;
	out->name = f[0]->text;
	for (uint32_t i = 0; i < f[2]->kid.n; i++)
		if (!read_entry(cx, f[2]->kid.p[i], (int)i, out)) return false;
	if (f[2]->kid.n == TS_TUNE_ENTRIES) return true;
	ts_error(cx, f[2]->at, "E_TUNE", "schedules: %u entries of %d", f[2]->kid.n, TS_TUNE_ENTRIES);
	return false;
}

bool ts_tune_agree(TsCtx *cx, const TsTuneDb *db)
{
	for (int a = 1; a < TS_CPU_CLONES; a++)
		for (int e = 0; e < TS_TUNE_ENTRIES; e++)
			for (int i = 0; i < TS_TUNABLES; i++) {
				const TsTuned *t = &db->arch[a].entry[e], *first = &db->arch[0].entry[e];
				if (!tunable[i].shared || t->v[i] == first->v[i]) continue;
				ts_error(cx, t->at[i], "E_TUNE", "%s is %d here and %d for %s: it decides bits or the grid, so clones share it", tunable[i].name, t->v[i], first->v[i], db->arch[0].name);
				ts_note(cx, first->at[i], "the other value");
				return false;
			}
	return true;
}

extern const char ts_tune_x86_64_v2[], ts_tune_x86_64_v3[], ts_tune_x86_64_v4[], ts_tune_sm_80[]; /* db_blob.S */

const TsTuneDb *ts_tune_load(TsCtx *cx)
{
	const char *const at[TS_CPU_CLONES + 1] = { ts_tune_x86_64_v2, ts_tune_x86_64_v3, ts_tune_x86_64_v4, ts_tune_sm_80 };
	TsTuneDb *db = TS_NEW(ts_arena(cx), TsTuneDb);
	for (int i = 0; i < TS_CPU_CLONES; i++) {
		uint32_t source = ts_source_add(cx, ts_intern_fmt(cx, "autotune_db/%s.yaml", arch_name[i]), at[i], (size_t)((uintptr_t)at[i + 1] - (uintptr_t)at[i]));
		if (!ts_tune_read(cx, source, &db->arch[i])) return NULL;
		if (strcmp(db->arch[i].name, arch_name[i]) != 0) {
			ts_error(cx, (TsSpan){ source, 0, 0 }, "E_TUNE", "this file is for %s", db->arch[i].name);
			return NULL;
		}
	}
	return ts_tune_agree(cx, db) ? db : NULL;
}
