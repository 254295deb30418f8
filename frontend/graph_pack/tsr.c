#include "frontend/graph_pack/tsr.h"
#include "support/elf_read.h"

bool ts_tsr_open(TsCtx *cx, const char *path, TsTsr *out)
{
	TsElfFile elf;
	TsElfSection s;
	*out = (TsTsr){ 0 };
	if (!ts_file_map(cx, path, &out->file))
		return false;
	const char *wrong = ts_elf_open(&elf, out->file.p, out->file.size);
	const char *cut = wrong ? NULL : ts_elf_cut_off(&elf);
	if (cut)
		wrong = ts_printf(ts_arena(cx), "it is cut off, section %s is not all there", cut);
	if (!wrong && !ts_elf_find(&elf, ".tessera.ops", &s))
		wrong = "it holds no graph (section .tessera.ops)";
	if (wrong) {
		ts_error(cx, (TsSpan){ 0 }, "E_PACK_BAD", "cannot read '%s' as an artifact: %s", path, wrong);
		ts_tsr_close(out);
		return false;
	}
	out->text = (const char *)out->file.p + s.offset;
	out->text_size = s.size;
	if (ts_elf_find(&elf, ".tessera.meta", &s)) {
		out->meta = (const char *)out->file.p + s.offset;
		out->meta_size = s.size;
	}
	if (ts_elf_find(&elf, ".tessera.plan", &s)) {
		out->plan = out->file.p + s.offset;
		out->plan_size = s.size;
		out->has_code = true;
	}
	if (ts_elf_find(&elf, ".tessera.weights", &s)) {
		out->weights_offset = s.offset;
		out->weights_size = s.size;
	}
	return true;
}

void ts_tsr_close(TsTsr *t)
{
	ts_file_unmap(&t->file);
	*t = (TsTsr){ 0 };
}
