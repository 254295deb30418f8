#include "emit/elf_write.h"
#include <string.h>

typedef struct { uint32_t section; Elf64_Rela r; } Reloc;
struct TsElf {
	TsCtx *cx;
	TS_VEC(Elf64_Shdr) sections;
	TS_VEC(const void *) data;
	TS_VEC(Elf64_Sym) symbols;
	TS_VEC(Reloc) relocs;
	TsBuf names, strings;
};

static uint32_t text(TsBuf *b, const char *s)
{
	uint32_t at = (uint32_t)b->n;
	ts_buf_add(b, s, strlen(s) + 1);
	return at;
}

static uint32_t add_section(TsElf *e, const char *name, Elf64_Shdr h, const void *data)
{
	TsArena *a = ts_arena(e->cx);
	h.sh_name = text(&e->names, name);
	ts_push(a, &e->sections, h);
	ts_push(a, &e->data, data);
	return e->sections.n - 1;
}

TsElf *ts_elf_new(TsCtx *cx)
{
	TsElf *e = TS_NEW(ts_arena(cx), TsElf);
	e->cx = cx;
	add_section(e, "", (Elf64_Shdr){ 0 }, NULL);
	ts_buf_char(&e->strings, 0);
	ts_push(ts_arena(cx), &e->symbols, (Elf64_Sym){ 0 });
	return e;
}

uint32_t ts_elf_section(TsElf *e, const char *name, uint32_t type, uint64_t flags, uint64_t align, const void *data, size_t size)
{
	return add_section(e, name, (Elf64_Shdr){ .sh_type = type, .sh_flags = flags, .sh_addralign = align, .sh_size = size }, data);
}

uint32_t ts_elf_symbol(TsElf *e, const char *name, uint32_t section, uint64_t value, uint64_t size, int binding, int visibility)
{
	Elf64_Sym s = { .st_name = *name ? text(&e->strings, name) : 0, .st_info = ELF64_ST_INFO(binding, section ? STT_OBJECT : STT_NOTYPE),
	                .st_other = (uint8_t)visibility, .st_shndx = (uint16_t)section, .st_value = value, .st_size = size };
	ts_push(ts_arena(e->cx), &e->symbols, s);
	return e->symbols.n - 1;
}

void ts_elf_reloc(TsElf *e, uint32_t section, uint64_t offset, uint32_t type, uint32_t symbol, int64_t addend)
{
	Reloc r = { section, { .r_offset = offset, .r_info = ELF64_R_INFO((uint64_t)symbol, type), .r_addend = addend } };
	ts_push(ts_arena(e->cx), &e->relocs, r);
}

/* the relocations of each section, as sections of their own */
static void add_relocs(TsElf *e, uint32_t symtab)
{
	TsArena *a = ts_arena(e->cx);
	uint32_t n = e->sections.n;
	for (uint32_t s = 1; s < n; s++) {
		TS_VEC(Elf64_Rela) r = { 0 };
		for (uint32_t i = 0; i < e->relocs.n; i++)
			if (e->relocs.p[i].section == s)
				ts_push(a, &r, e->relocs.p[i].r);
		if (r.n)
			add_section(e, ".rela", (Elf64_Shdr){ .sh_type = SHT_RELA, .sh_flags = SHF_INFO_LINK, .sh_link = symtab, .sh_info = s, .sh_addralign = 8,
			                                      .sh_entsize = sizeof(Elf64_Rela), .sh_size = r.n * sizeof(Elf64_Rela) }, r.p);
	}
}

static void add_symbols(TsElf *e)
{
	uint32_t locals = 0;
	while (locals < e->symbols.n && ELF64_ST_BIND(e->symbols.p[locals].st_info) == STB_LOCAL)
		locals++;
	if (e->symbols.n == 1)
		return;
	uint32_t strtab = add_section(e, ".strtab", (Elf64_Shdr){ .sh_type = SHT_STRTAB, .sh_addralign = 1, .sh_size = e->strings.n }, e->strings.p);
	uint32_t symtab = add_section(e, ".symtab", (Elf64_Shdr){ .sh_type = SHT_SYMTAB, .sh_link = strtab, .sh_info = locals, .sh_addralign = 8,
	                                                          .sh_entsize = sizeof(Elf64_Sym), .sh_size = e->symbols.n * sizeof(Elf64_Sym) }, e->symbols.p);
	add_relocs(e, symtab);
}

void ts_elf_finish(TsElf *e, TsBuf *out)
{
	add_symbols(e);
	uint32_t names = add_section(e, ".shstrtab", (Elf64_Shdr){ .sh_type = SHT_STRTAB, .sh_addralign = 1 }, NULL);
	e->sections.p[names].sh_size = e->names.n;
	e->data.p[names] = e->names.p;
	size_t base = out->n;
	ts_buf_space(out, sizeof(Elf64_Ehdr));
	for (uint32_t i = 1; i < e->sections.n; i++) {
		Elf64_Shdr *h = &e->sections.p[i];
		ts_buf_space(out, (h->sh_addralign - (out->n - base) % h->sh_addralign) % h->sh_addralign);
		h->sh_offset = out->n - base;
		if (h->sh_type != SHT_NOBITS && h->sh_size)
			ts_buf_add(out, e->data.p[i], h->sh_size);
	}
	ts_buf_space(out, (8 - (out->n - base) % 8) % 8);
	Elf64_Ehdr eh = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_REL, .e_machine = EM_X86_64,
	                  .e_version = EV_CURRENT, .e_shoff = out->n - base, .e_ehsize = sizeof eh, .e_shentsize = sizeof(Elf64_Shdr),
	                  .e_shnum = (uint16_t)e->sections.n, .e_shstrndx = (uint16_t)names };
	ts_buf_add(out, e->sections.p, e->sections.n * sizeof(Elf64_Shdr));
	memcpy(out->p + base, &eh, sizeof eh);
	ts_buf_free(&e->names);
	ts_buf_free(&e->strings);
}
