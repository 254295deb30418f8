#include "emit/elf_patch.h"
#include <string.h>

enum { PAGE = 4096 };

static Elf64_Ehdr *header(TsImage im) { return (Elf64_Ehdr *)(void *)im.p; }
static Elf64_Shdr *sections(TsImage im) { return (Elf64_Shdr *)(void *)(im.p + header(im)->e_shoff); }
static uint64_t up(uint64_t n) { return (n + PAGE - 1) / PAGE * PAGE; }

Elf64_Shdr *ts_image_section(TsImage im, const char *name)
{
	Elf64_Shdr *s = sections(im);
	const char *names = (const char *)im.p + s[header(im)->e_shstrndx].sh_offset;
	for (int i = 1; i < header(im)->e_shnum; i++)
		if (!strcmp(names + s[i].sh_name, name))
			return &s[i];
	return NULL;
}

/* Program headers that map memory must rise by address; the new one has the highest and takes the place of the note, behind them all. */
static Elf64_Phdr *spare_header(TsImage im, uint64_t *end)
{
	Elf64_Phdr *ph = (Elf64_Phdr *)(void *)(im.p + header(im)->e_phoff), *spare = NULL;
	*end = 0;
	for (int i = 0; i < header(im)->e_phnum; i++) {
		if (ph[i].p_type == PT_NOTE)
			spare = &ph[i];
		if (ph[i].p_type != PT_LOAD)
			continue;
		if (spare)
			return NULL;
		*end = ph[i].p_vaddr + ph[i].p_memsz > *end ? ph[i].p_vaddr + ph[i].p_memsz : *end;
	}
	return spare;
}

const char *ts_image_add_weights(TsImage im, uint64_t size, uint64_t *offset)
{
	uint64_t end;
	Elf64_Phdr *ph = spare_header(im, &end);
	Elf64_Shdr *link = ts_image_section(im, ".tessera.link"), *weights = ts_image_section(im, ".tessera.weights");
	if (!ph)
		return "no spare program header";
	if (!link || !weights || link->sh_size < 16)
		return "no sections for the weights";
	*offset = up(im.n);
	uint64_t at = up(end), distance = at - link->sh_addr;
	*ph = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R, .p_offset = *offset, .p_vaddr = at, .p_paddr = at, .p_filesz = size, .p_memsz = size, .p_align = PAGE };
	weights->sh_flags = SHF_ALLOC;
	weights->sh_addr = at;
	weights->sh_offset = *offset;
	weights->sh_size = size;
	weights->sh_addralign = 64;
	memcpy(im.p + link->sh_offset, &distance, 8);
	return NULL;
}

const char *ts_image_place_weights(TsImage im, uint64_t size, uint64_t *offset)
{
	Elf64_Shdr *weights = ts_image_section(im, ".tessera.weights");
	if (!weights)
		return "no section for the weights";
	*offset = up(im.n);
	weights->sh_offset = *offset;
	weights->sh_size = size;
	weights->sh_addralign = PAGE;
	return NULL;
}

static bool to_hide(const Elf64_Sym *s)
{
	return s->st_shndx != SHN_UNDEF && ELF64_ST_BIND(s->st_info) != STB_LOCAL && ELF64_ST_VISIBILITY(s->st_other) == STV_HIDDEN;
}

/* Locals must come before globals, so symbols move, and every relocation follows. */
const char *ts_image_hide(TsCtx *cx, TsImage im)
{
	Elf64_Shdr *s = sections(im), *tab = NULL;
	uint32_t which = 0;
	for (uint32_t i = 1; i < header(im)->e_shnum; i++)
		if (s[i].sh_type == SHT_SYMTAB)
			tab = &s[which = i];
	if (!tab)
		return "no symbol table";
	Elf64_Sym *sym = (Elf64_Sym *)(void *)(im.p + tab->sh_offset);
	uint32_t n = (uint32_t)(tab->sh_size / sizeof *sym), locals = 0, k = 0;
	uint32_t *moved = TS_NEW_N(ts_arena(cx), uint32_t, n);
	Elf64_Sym *sorted = TS_NEW_N(ts_arena(cx), Elf64_Sym, n);
	for (int global = 0; global < 2; global++)
		for (uint32_t i = 0; i < n; i++) {
			bool local = ELF64_ST_BIND(sym[i].st_info) == STB_LOCAL || to_hide(&sym[i]);
			if (local == global)
				continue;
			sorted[k] = sym[i];
			if (to_hide(&sym[i])) {
				sorted[k].st_info = ELF64_ST_INFO(STB_LOCAL, ELF64_ST_TYPE(sym[i].st_info));
				sorted[k].st_other = STV_DEFAULT;
			}
			locals += local;
			moved[i] = k++;
		}
	memcpy(sym, sorted, n * sizeof *sym);
	tab->sh_info = locals;
	for (uint32_t i = 1; i < header(im)->e_shnum; i++) {
		if (s[i].sh_type == SHT_GROUP && s[i].sh_link == which)
			s[i].sh_info = moved[s[i].sh_info];
		if (s[i].sh_type != SHT_RELA || s[i].sh_link != which)
			continue;
		Elf64_Rela *r = (Elf64_Rela *)(void *)(im.p + s[i].sh_offset);
		for (uint64_t j = 0; j < s[i].sh_size / sizeof *r; j++)
			r[j].r_info = ELF64_R_INFO((uint64_t)moved[ELF64_R_SYM(r[j].r_info)], ELF64_R_TYPE(r[j].r_info));
	}
	return NULL;
}
