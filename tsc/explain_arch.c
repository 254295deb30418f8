#include "tsc/explain_arch.h"
#include "emit/emit.h"
#include "support/elf_read.h"
#include "support/file.h"
#include <string.h>

/* Names of the architectures that the file has plans for. */
static const char *others(TsCtx *cx, const TsElfFile *e)
{
	static const char prefix[] = ".tessera.plan.";
	TsElfSection s;
	TsBuf b = { 0 };
	for (uint32_t i = 1; i < e->n; i++)
		if (ts_elf_at(e, i, &s) && !strncmp(s.name, prefix, sizeof prefix - 1)) ts_buf_fmt(&b, "%s%s", b.n ? ", " : "", s.name + sizeof prefix - 1);
	const char *text = b.n ? ts_printf(ts_arena(cx), "it has %s", b.p) : "it has code for the CPU alone";
	ts_buf_free(&b);
	return text;
}

/* The checked plan of arch (NULL: the CPU) in the file; NULL after reporting. */
static const TsPlanHeader *read_plan(TsCtx *cx, const char *path, const char *model, const char *arch, uint32_t graph)
{
	TsFile f;
	TsElfFile e;
	TsElfSection s;
	const TsPlanHeader *p = NULL;
	if (!ts_file_map(cx, path, &f)) return NULL;
	const char *wrong = ts_elf_open(&e, f.p, f.size);
	if (!wrong && !ts_elf_find(&e, arch ? ts_printf(ts_arena(cx), ".tessera.plan.%s", arch) : ".tessera.plan", &s)) {
		ts_error(cx, (TsSpan){ 0 }, "E_ARCH", "'%s' has no code for %s", model, arch ? arch : "the CPU");
		ts_hint(cx, "%s", others(cx, &e));
	} else {
		p = wrong ? NULL : ts_memdup(ts_arena(cx), f.p + s.offset, s.size); /* aligned */
		if (!wrong) wrong = ts_plan_check(p, s.size);
		if (!wrong && graph >= p->entries.n) wrong = "it is the plan of another model";
		if (wrong) ts_error(cx, (TsSpan){ 0 }, "E_PACK_BAD", "cannot read '%s' as an artifact: %s", model, wrong);
		if (wrong) p = NULL;
	}
	ts_file_unmap(&f);
	return p;
}

bool ts_explain_arch(TsCtx *cx, const char *path, const char *model, const char *arch, uint32_t graph, const int64_t *dims)
{
	const TsPlanHeader *p = read_plan(cx, path, model, arch, graph);
	return p && ts_explain_plan(cx, p, graph, dims, stdout);
}

bool ts_explain_html(TsCtx *cx, const char *path, const char *model, const char *arch, uint32_t graph, const int64_t *dims, const char *page)
{
	const TsPlanHeader *p = read_plan(cx, path, model, arch, graph);
	TsBuf b = { 0 };
	bool ok = p && ts_explain_page(cx, p, graph, dims, &b) && ts_write_file(cx, page, b.p, b.n);
	ts_buf_free(&b);
	return ok;
}
