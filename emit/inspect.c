/* `tsc inspect`: what an artifact holds, read from the file alone. */
#include "emit/plan_text.h"
#include "support/elf_read.h"
#include "support/file.h"
#include "tessera/tessera.h"
#include <elf.h>
#include <inttypes.h>
#include <string.h>

static const char *expr_text(TsBuf *b, const TsPlanHeader *p, uint32_t e)
{
	b->n = 0;
	if (e == TS_NONE)
		return "0";
	ts_plan_expr_text(p, e, b);
	return b->p;
}

static void sections(const TsElfFile *e, FILE *to)
{
	TsElfSection s;
	fprintf(to, "sections\n");
	for (uint32_t i = 1; i < e->n; i++)
		if (ts_elf_at(e, i, &s) && *s.name)
			fprintf(to, "  %-24s %14" PRIu64 " bytes at %" PRIu64 "\n", s.name, s.size, s.offset);
}

static void dims(const TsPlanHeader *p, FILE *to)
{
	const TsPlanDim *d = TS_PLAN_TABLE(p, TsPlanDim, dims);
	fprintf(to, "dims\n");
	for (uint32_t i = 0; i < p->dims.n; i++) {
		fprintf(to, "  %" PRId64 " <= %s", d[i].min, ts_plan_str(p, d[i].name));
		if (d[i].max)
			fprintf(to, " <= %" PRId64, d[i].max);
		if (d[i].multiple_of > 1)
			fprintf(to, " multiple_of %" PRId64, d[i].multiple_of);
		fprintf(to, "\n");
	}
}

static void tensors(const TsPlanHeader *p, uint32_t first, uint32_t n, TsBuf *b, FILE *to)
{
	const TsPlanTensor *t = TS_PLAN_TABLE(p, TsPlanTensor, tensors);
	for (uint32_t i = first; i < first + n; i++) {
		fprintf(to, "%s%s: %s[", i > first ? ", " : "", ts_plan_str(p, t[i].name), ts_plan_type_text(t[i].dtype));
		for (uint32_t k = 0; k < t[i].rank; k++)
			fprintf(to, "%s%s", k ? ", " : "", expr_text(b, p, TS_PLAN_TABLE(p, uint32_t, words)[t[i].dims + k]));
		fprintf(to, "]");
	}
}

static void steps(const TsPlanHeader *p, const TsPlanEntry *en, TsBuf *b, FILE *to)
{
	const TsPlanStep *s = TS_PLAN_TABLE(p, TsPlanStep, steps);
	const TsPlanChoice *c = TS_PLAN_TABLE(p, TsPlanChoice, choices);
	int depth = 2;
	for (uint32_t i = en->step; i < en->step + en->n_steps; i++) {
		if (s[i].kind == TS_STEP_END) {
			depth--;
			continue;
		}
		fprintf(to, "%*s", depth * 2, "");
		if (s[i].kind == TS_STEP_LOOP) {
			fprintf(to, "for i%u in %s..", s[i].var, expr_text(b, p, s[i].lo));
			fprintf(to, "%s\n", expr_text(b, p, s[i].hi));
			depth++;
			continue;
		}
		fprintf(to, "%s\n", ts_plan_str(p, s[i].name));
		for (uint32_t k = s[i].choice; k < s[i].choice + s[i].n_choices; k++) {
			const char *label = ts_plan_str(p, c[k].label);
			fprintf(to, "%*s%s%skernel %s", depth * 2 + 2, "", label, *label ? ": " : "", ts_plan_str(p, TS_PLAN_TABLE(p, TsPlanKernel, kernels)[c[k].kernel].name));
			fprintf(to, ", cells %s", expr_text(b, p, c[k].cells));
			if (c[k].per_sm)
				fprintf(to, ", %u for each multiprocessor", c[k].per_sm);
			if (c[k].scratch != TS_NONE)
				fprintf(to, ", scratch %s", expr_text(b, p, c[k].scratch));
			if (c[k].guard != TS_NONE)
				fprintf(to, ", when %s", expr_text(b, p, c[k].guard));
			fprintf(to, "\n");
		}
	}
}

static void graphs(const TsPlanHeader *p, FILE *to)
{
	const TsPlanEntry *en = TS_PLAN_TABLE(p, TsPlanEntry, entries);
	TsBuf b = { 0 };
	fprintf(to, "graphs\n");
	for (uint32_t i = 0; i < p->entries.n; i++) {
		fprintf(to, "  %s(", ts_plan_str(p, en[i].name));
		tensors(p, en[i].tensor, en[i].n_inputs, &b, to);
		fprintf(to, ") -> (");
		tensors(p, en[i].tensor + en[i].n_inputs, en[i].n_outputs, &b, to);
		fprintf(to, ")\n    workspace bytes = %s\n", expr_text(&b, p, en[i].workspace));
		steps(p, &en[i], &b, to);
	}
	ts_buf_free(&b);
}

static void weights(const TsPlanHeader *p, FILE *to)
{
	const TsPlanWeight *w = TS_PLAN_TABLE(p, TsPlanWeight, weights);
	const TsPlanFile *f = TS_PLAN_TABLE(p, TsPlanFile, files);
	if (p->files.n)
		fprintf(to, "weight files\n");
	for (uint32_t i = 0; i < p->files.n; i++) {
		fprintf(to, "  %s, %" PRIu64 " bytes, sha256 ", ts_plan_str(p, f[i].name), f[i].bytes);
		for (int k = 0; k < 32; k++)
			fprintf(to, "%02x", f[i].sha256[k]);
		fprintf(to, "\n");
	}
	fprintf(to, "weights: %u, %" PRIu64 " bytes inside, %" PRIu64 " packed at open\n", p->weights.n, p->weight_bytes, p->external_bytes);
	for (uint32_t i = 0; i < p->weights.n; i++) {
		fprintf(to, "  %s: %s[", ts_plan_str(p, w[i].name), ts_plan_type_text(w[i].dtype));
		for (uint32_t k = 0; k < w[i].rank; k++)
			fprintf(to, "%s%" PRId64, k ? ", " : "", TS_PLAN_TABLE(p, int64_t, longs)[w[i].dims + k]);
		fprintf(to, "] %" PRIu64 " bytes at %" PRIu64 ", %s", w[i].bytes, w[i].offset, w[i].where == TS_WEIGHT_EXTERNAL ? "external" : "embedded");
		if (w[i].pack.kind == TS_PACK_PANELS)
			fprintf(to, ", panels of %u x %u", w[i].pack.panel, w[i].pack.group);
		fprintf(to, "\n");
	}
}

static void plan(const TsPlanHeader *p, FILE *to)
{
	fprintf(to, "model %s, made by %s, plan version %u, runtime ABI %d\n", ts_plan_str(p, p->model), ts_plan_str(p, p->producer), p->version, TESSERA_ABI);
	dims(p, to);
	graphs(p, to);
	fprintf(to, "kernels: %u, each for x86-64-v2, x86-64-v3, x86-64-v4\n", p->kernels.n);
	for (uint32_t i = 0; i < p->kernels.n; i++)
		fprintf(to, "  %s\n", ts_plan_str(p, TS_PLAN_TABLE(p, TsPlanKernel, kernels)[i].name));
	weights(p, to);
}

/* ---- plans for devices ---- */

static void modules(const TsPlanHeader *p, FILE *to)
{
	const TsPlanModule *m = TS_PLAN_TABLE(p, TsPlanModule, modules);
	uint64_t cubins = 0, ptx = 0;
	for (uint32_t i = 0; i < p->modules.n; i++) {
		cubins += m[i].cubin_bytes;
		ptx += m[i].ptx_bytes;
	}
	fprintf(to, "  modules: %u, cubins of %" PRIu64 " bytes, PTX of %" PRIu64 " bytes%s\n", p->modules.n, cubins, ptx,
	        !p->modules.n || cubins ? "" : "; the driver compiles them when the model is loaded");
	for (uint32_t i = 0; i < p->modules.n; i++) {
		fprintf(to, "    %s:", ts_plan_str(p, m[i].name));
		if (m[i].cubin_bytes)
			fprintf(to, " cubin of %" PRIu64 " bytes at %" PRIu64, m[i].cubin_bytes, m[i].cubin);
		if (m[i].ptx_bytes)
			fprintf(to, "%s PTX of %" PRIu64 " bytes (%" PRIu64 " unpacked) at %" PRIu64, m[i].cubin_bytes ? "," : "", m[i].ptx_bytes, m[i].ptx_text, m[i].ptx);
		fprintf(to, "%s\n", m[i].flags & TS_MODULE_EXACT ? ", for this architecture alone" : "");
	}
}

static void formula_list(const TsPlanHeader *p, const TsPlanKernel *k, uint32_t first, uint32_t n, TsBuf *b)
{
	for (uint32_t i = 0; i < n; i++) {
		ts_buf_str(b, i ? ", " : "");
		ts_plan_formula_text(p, k, TS_PLAN_TABLE(p, uint32_t, words)[first + i], b);
	}
}

static void maps(const TsPlanHeader *p, const TsPlanKernel *k, FILE *to)
{
	const TsPlanMap *m = TS_PLAN_TABLE(p, TsPlanMap, maps);
	for (uint32_t i = k->map; i < k->map + k->n_maps; i++) {
		TsBuf b = { 0 };
		ts_buf_fmt(&b, "      map of argument %u: %s[", m[i].arg, ts_plan_type_text(m[i].dtype));
		formula_list(p, k, m[i].dims, m[i].rank, &b);
		ts_buf_str(&b, "], strides [");
		formula_list(p, k, m[i].strides, m[i].rank, &b);
		ts_buf_str(&b, "], box [");
		for (uint32_t a = 0; a < m[i].rank; a++)
			ts_buf_fmt(&b, "%s%u", a ? ", " : "", TS_PLAN_TABLE(p, uint32_t, words)[m[i].box + a]);
		fprintf(to, "%s], swizzle %u\n", b.p, m[i].swizzle);
		ts_buf_free(&b);
	}
}

static void device_plan(const TsPlanHeader *p, FILE *to)
{
	const TsPlanKernel *k = TS_PLAN_TABLE(p, TsPlanKernel, kernels);
	const TsPlanModule *m = TS_PLAN_TABLE(p, TsPlanModule, modules);
	fprintf(to, "target %s: %" PRIu64 " bytes of weights on the device\n", ts_plan_str(p, p->target), p->device_bytes);
	modules(p, to);
	graphs(p, to);
	fprintf(to, "  kernels: %u\n", p->kernels.n);
	for (uint32_t i = 0; i < p->kernels.n; i++) {
		fprintf(to, "    %s: module %s, %u threads, %u bytes shared", ts_plan_str(p, k[i].name), ts_plan_str(p, m[k[i].module].name), k[i].threads, k[i].shared_bytes);
		if (k[i].cluster > 1)
			fprintf(to, ", clusters of %u", k[i].cluster);
		fprintf(to, "%s\n", k[i].flags & TS_KERNEL_PERSISTENT ? ", persistent" : "");
		maps(p, &k[i], to);
	}
}

/* Every plan of the file but the CPU's. NULL, or what is wrong. */
static const char *device_plans(TsCtx *cx, const TsElfFile *e, const TsPlanHeader *cpu, FILE *to)
{
	static const char prefix[] = ".tessera.plan.";
	TsElfSection s;
	for (uint32_t i = 1; i < e->n; i++) {
		if (!ts_elf_at(e, i, &s) || strncmp(s.name, prefix, sizeof prefix - 1) || s.type == SHT_NOBITS || s.type == SHT_RELA)
			continue;
		void *copy = ts_memdup(ts_arena(cx), e->p + s.offset, s.size);
		const char *wrong = ts_plan_check(copy, s.size);
		if (!wrong)
			wrong = ts_plan_check_device(cpu, copy);
		if (wrong)
			return wrong;
		if (to)
			device_plan(copy, to);
	}
	return NULL;
}

/* a section of lines, each indented; unprintable bytes are shown as '?' */
static void text(const TsElfFile *e, const char *name, FILE *to)
{
	TsElfSection s;
	if (!ts_elf_find(e, name, &s) || !s.size)
		return;
	fprintf(to, "%s\n  ", name + 9);
	for (uint64_t i = 0; i < s.size; i++) {
		uint8_t c = e->p[s.offset + i];
		fputc((c >= 32 && c != 127) || c == '\n' || c == '\t' ? c : '?', to);
		if (c == '\n' && i + 1 < s.size)
			fputs("  ", to);
	}
	if (e->p[s.offset + s.size - 1] != '\n')
		fputc('\n', to);
}

/* Static ones are of type EXEC; those with code for GPUs ask for a dynamic linker. */
static bool is_program(const TsElfFile *e)
{
	TsElfSection s;
	return e->type == ET_EXEC || (e->type == ET_DYN && ts_elf_find(e, ".interp", &s));
}

bool ts_inspect(TsCtx *cx, const char *path, FILE *to)
{
	TsFile f;
	TsElfFile e;
	TsElfSection s;
	if (!ts_file_map(cx, path, &f))
		return false;
	const char *wrong = ts_elf_open(&e, f.p, f.size);
	const char *cut = wrong ? NULL : ts_elf_cut_off(&e);
	if (cut)
		wrong = ts_printf(ts_arena(cx), "it is cut off, section %s is not all there", cut);
	if (!wrong && !ts_elf_find(&e, ".tessera.ops", &s) && !ts_elf_find(&e, ".tessera.plan", &s))
		wrong = "it holds neither a graph nor a plan";
	bool has_plan = !wrong && ts_elf_find(&e, ".tessera.plan", &s) && s.size;
	void *copy = has_plan ? ts_memdup(ts_arena(cx), f.p + s.offset, s.size) : NULL; /* aligned */
	if (has_plan)
		wrong = ts_plan_check(copy, s.size);
	if (has_plan && !wrong && !ts_plan_is_cpu(copy))
		wrong = "its plan is for another target than the CPU";
	if (has_plan && !wrong)
		wrong = device_plans(cx, &e, copy, NULL);
	if (wrong) {
		ts_error(cx, (TsSpan){ 0 }, "E_PACK_BAD", "cannot read '%s' as an artifact: %s", path, wrong);
	} else {
		fprintf(to, "%s: %s, %" PRIu64 " bytes\n", path, is_program(&e) ? "executable" : e.type == 3 ? "shared object" : has_plan ? "object" : "pack without code", (uint64_t)f.size);
		sections(&e, to);
		if (has_plan) {
			plan(copy, to);
			device_plans(cx, &e, copy, to);
		}
		text(&e, ".tessera.meta", to);
		text(&e, ".tessera.ops", to);
	}
	ts_file_unmap(&f);
	return !wrong;
}
