#include "support/elf_read.h"
#include <elf.h>
#include <string.h>

static bool inside(const TsElfFile *e, uint64_t at, uint64_t n) { return at <= e->size && n <= e->size - at; }

static bool header_at(const TsElfFile *e, uint32_t i, Elf64_Shdr *h)
{
	if (i >= e->n)
		return false;
	memcpy(h, e->p + e->table + (uint64_t)i * sizeof *h, sizeof *h); /* the table was checked */
	return true;
}

const char *ts_elf_open(TsElfFile *e, const void *p, uint64_t size)
{
	Elf64_Ehdr h;
	Elf64_Shdr names;
	*e = (TsElfFile){ .p = p, .size = size };
	if (size < sizeof h || memcmp(p, ELFMAG, SELFMAG))
		return "it is no ELF file";
	memcpy(&h, p, sizeof h);
	if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB)
		return "it is not 64-bit little-endian";
	if (!h.e_shnum || h.e_shentsize != sizeof names || !inside(e, h.e_shoff, (uint64_t)h.e_shnum * sizeof names))
		return "its section table is missing or cut off";
	e->type = h.e_type;
	e->machine = h.e_machine;
	e->table = h.e_shoff;
	e->n = h.e_shnum;
	if (!header_at(e, h.e_shstrndx, &names) || !names.sh_size || !inside(e, names.sh_offset, names.sh_size) ||
	    e->p[names.sh_offset + names.sh_size - 1])
		return "its section names are missing or cut off";
	e->names = names.sh_offset;
	e->names_size = names.sh_size;
	return NULL;
}

bool ts_elf_at(const TsElfFile *e, uint32_t i, TsElfSection *out)
{
	Elf64_Shdr h;
	if (!header_at(e, i, &h) || h.sh_name >= e->names_size || (h.sh_type != SHT_NOBITS && h.sh_type != SHT_NULL && !inside(e, h.sh_offset, h.sh_size)))
		return false;
	*out = (TsElfSection){ (const char *)e->p + e->names + h.sh_name, h.sh_type, h.sh_flags, h.sh_addr, h.sh_offset, h.sh_size };
	return true;
}

const char *ts_elf_cut_off(const TsElfFile *e)
{
	Elf64_Shdr h;
	TsElfSection s;
	for (uint32_t i = 1; i < e->n; i++)
		if (!ts_elf_at(e, i, &s))
			return header_at(e, i, &h) && h.sh_name < e->names_size ? (const char *)e->p + e->names + h.sh_name : "without a name";
	return NULL;
}

bool ts_elf_find(const TsElfFile *e, const char *name, TsElfSection *out)
{
	for (uint32_t i = 1; i < e->n; i++)
		if (ts_elf_at(e, i, out) && out->type != SHT_NOBITS && !strcmp(out->name, name))
			return true;
	return false;
}
