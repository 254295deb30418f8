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

/* Where in the file; addresses lie as far apart. */
static void lay_out(TsImage im, TsAppended *a)
{
	a->code_at = up(im.n);
	a->weights_at = a->code_at + up(a->code_bytes);
}

/* One section of what is appended, mapped at `address`, and the word of .tessera.link that leads there. */
static const char *map_section(TsImage im, const char *name, Elf64_Shdr *link, int word, uint64_t address, uint64_t at, uint64_t size)
{
	Elf64_Shdr *s = ts_image_section(im, name);
	uint64_t from = (uint64_t)word * 8, distance = address - (link->sh_addr + from);
	if (!size)
		return NULL;
	if (!s || link->sh_size < from + 16)
		return "no sections for the weights";
	s->sh_flags = SHF_ALLOC;
	s->sh_addr = address;
	s->sh_offset = at;
	s->sh_size = size;
	s->sh_addralign = 64;
	memcpy(im.p + link->sh_offset + from, &distance, 8);
	return NULL;
}

const char *ts_image_append(TsImage im, TsAppended *a)
{
	uint64_t end;
	Elf64_Phdr *ph = spare_header(im, &end);
	Elf64_Shdr *link = ts_image_section(im, ".tessera.link");
	if (!ph)
		return "no spare program header";
	if (!link)
		return "no sections for the weights";
	lay_out(im, a);
	uint64_t at = up(end), size = a->weight_bytes ? a->weights_at - a->code_at + a->weight_bytes : a->code_bytes;
	*ph = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R, .p_offset = a->code_at, .p_vaddr = at, .p_paddr = at, .p_filesz = size, .p_memsz = size, .p_align = PAGE };
	const char *wrong = map_section(im, ".tessera.weights", link, 0, at + (a->weights_at - a->code_at), a->weights_at, a->weight_bytes);
	return wrong ? wrong : map_section(im, ".tessera.gpu", link, 2, at, a->code_at, a->code_bytes);
}

static const char *place_section(TsImage im, const char *name, uint64_t at, uint64_t size)
{
	Elf64_Shdr *s = ts_image_section(im, name);
	if (!size)
		return NULL;
	if (!s)
		return "no section for the weights";
	s->sh_offset = at;
	s->sh_size = size;
	s->sh_addralign = PAGE;
	return NULL;
}

const char *ts_image_place(TsImage im, TsAppended *a)
{
	lay_out(im, a);
	const char *wrong = place_section(im, ".tessera.gpu", a->code_at, a->code_bytes);
	return wrong ? wrong : place_section(im, ".tessera.weights", a->weights_at, a->weight_bytes);
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
