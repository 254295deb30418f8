#include "tsc/model_file.h"
#include "support/elf_read.h"
#include "support/file.h"
#include "support/temp.h"
#include "tsc/pipeline.h"
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Programs with code for GPUs are linked as shared objects are, and name a dynamic linker. */
static bool asks_for_linker(const TsFile *f)
{
	TsElfFile e;
	TsElfSection s;
	return !ts_elf_open(&e, f->p, f->size) && ts_elf_find(&e, ".interp", &s) && ts_elf_find(&e, ".tessera.plan", &s);
}

/* *shared: the file is an ELF shared object, or a program; packs and text are not. */
static bool look(TsCtx *cx, const char *path, bool *shared)
{
	TsFile f;
	if (!ts_file_map(cx, path, &f)) return false;
	Elf64_Ehdr h = { 0 };
	if (f.size >= sizeof h) memcpy(&h, f.p, sizeof h);
	*shared = !memcmp(h.e_ident, ELFMAG, SELFMAG) && h.e_type != ET_REL;
	bool program = *shared && (h.e_type == ET_EXEC || asks_for_linker(&f)), object = !memcmp(h.e_ident, ELFMAG, SELFMAG) && h.e_type == ET_REL && strcmp(path + strlen(path) - 2, ".o") == 0;
	ts_file_unmap(&f);
	if (!program && !object) return true;
	ts_error(cx, (TsSpan){ 0 }, "E_ARTIFACT", "'%s' is %s", path, program ? "a program: run it as it is" : "an object file: link it into a program");
	if (program) ts_hint(cx, "%s%s --help", strchr(path, '/') ? "" : "./", path);
	return false;
}

static bool make_folder(TsCtx *cx, TsModelFile *m)
{
	const char *temp = getenv("TMPDIR");
	m->folder = ts_printf(ts_arena(cx), "%s/tsc-XXXXXX", temp && *temp ? temp : "/tmp");
	if (ts_temp_folder(cx, m->folder)) return true;
	ts_env_error(cx, "E_FILE", "cannot make the folder '%s': %s", m->folder, strerror(errno));
	m->folder = NULL;
	return false;
}

bool ts_model_open(TsCtx *cx, const char *input, TsOptions *o, TsModelFile *out)
{
	bool shared;
	*out = (TsModelFile){ .cx = cx, .path = input };
	if (!look(cx, input, &shared)) return false;
	if (shared) return true;
	if (!make_folder(cx, out)) return false;
	o->input = input;
	o->output = out->path = ts_printf(ts_arena(cx), "%s/model.so", out->folder);
	o->emit = TS_EMIT_SO;
	ts_compile(cx, o);
	if (!ts_error_count(cx)) return true;
	ts_model_close(out);
	return false;
}

void ts_model_close(TsModelFile *m)
{
	DIR *d = m->folder ? opendir(m->folder) : NULL;
	if (!d) return;
	for (struct dirent *e; (e = readdir(d));)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	rmdir(m->folder);
	ts_temp_done(m->cx, m->folder);
	m->folder = NULL;
}
