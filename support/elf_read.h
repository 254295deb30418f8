/* Reading sections of a 64-bit little-endian ELF file by name, for artifacts and .tsr packs. Trusts nothing: every offset is checked,
 * so any bytes may be passed. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef struct { const char *name; uint32_t type; uint64_t flags, address, offset, size; } TsElfSection;
typedef struct { const uint8_t *p; uint64_t size; uint16_t type, machine; uint32_t n; uint64_t table, names, names_size; } TsElfFile;

/* NULL, or why these bytes are no ELF file that can be read (a static string). */
const char *ts_elf_open(TsElfFile *e, const void *p, uint64_t size);
/* Section i of e->n; false when its header or its bytes lie outside the file. name is always terminated. */
bool ts_elf_at(const TsElfFile *e, uint32_t i, TsElfSection *out);
/* The name of the first section whose bytes end behind the file, of a file that was cut off; NULL when all are there. */
const char *ts_elf_cut_off(const TsElfFile *e);
bool ts_elf_find(const TsElfFile *e, const char *name, TsElfSection *out);
