/* A relocatable x86-64 ELF object, built in memory: sections, symbols, 64-bit relocations. Used for what goes into an artifact beside
 * compiled code, and for .tsr files. Section and symbol numbers are those returned; nothing is looked up by name. */
#pragma once
#include "support/ctx.h"
#include <elf.h>

typedef struct TsElf TsElf;
TsElf *ts_elf_new(TsCtx *cx);
/* data is borrowed until ts_elf_finish; size 0 is fine */
uint32_t ts_elf_section(TsElf *e, const char *name, uint32_t type, uint64_t flags, uint64_t align, const void *data, size_t size);
/* section 0: undefined. binding STB_*, visibility STV_*. Locals must come first. */
uint32_t ts_elf_symbol(TsElf *e, const char *name, uint32_t section, uint64_t value, uint64_t size, int binding, int visibility);
/* at section + offset: R_X86_64_* of symbol + addend */
void ts_elf_reloc(TsElf *e, uint32_t section, uint64_t offset, uint32_t type, uint32_t symbol, int64_t addend);
void ts_elf_finish(TsElf *e, TsBuf *out);
