#include "tsc/model_file.h"
#include "frontend/graph_pack/tsr.h"
#include "frontend/graph_text/parse.h"
#include "rtlib/plan.h"
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

/* ---- external weights ---- */

/* Does the text in an artifact name the set? Without a name there has to be one set alone. */
static bool names_set(TsCtx *cx, const char *path, const TsTree *file, const TsWeightsFrom *from)
{
	TsSym *names = TS_NEW_N(ts_arena(cx), TsSym, file->n + 1);
	uint32_t n = 0, k = 0;
	for (uint32_t i = 0; i < file->n; i++)
		if (file->kid[i]->kind == TS_TREE_WEIGHTS) names[n++] = file->kid[i]->name;
	while (from->name && k < n && names[k] != from->name) k++;
	if (from->name ? k < n : n == 1) return true;
	if (from->name) ts_error(cx, (TsSpan){ 0 }, "E_UNKNOWN_NAME", "--weights-file: '%s' has no weights named '%s'", path, from->name);
	else ts_error(cx, (TsSpan){ 0 }, "E_UNKNOWN_NAME", "--weights-file %s: '%s' has %u sets of weights, name one: --weights-file W=FILE", from->path, path, n);
	if (from->name) ts_hint_names(cx, from->name, names, n);
	return false;
}

/* The files that are opened when the artifact is loaded; its plan says also of weights inside where they came from. */
static uint32_t count_files(TsCtx *cx, const TsTsr *t)
{
	TsPlanHeader *p = t->plan ? ts_memdup(ts_arena(cx), t->plan, t->plan_size) : NULL;
	if (!p || ts_plan_check(p, t->plan_size)) return 0;
	for (uint32_t i = 0; i < p->weights.n; i++)
		if (TS_PLAN_TABLE(p, TsPlanWeight, weights)[i].where == TS_WEIGHT_EXTERNAL) return p->files.n;
	return 0;
}

bool ts_model_weights(const TsModelFile *m, const TsOptions *o, const char **path)
{
	TsTsr t;
	bool ok = true;
	*path = o->weights_dir;
	if (m->folder || !o->n_weights_from) return true; /* what was compiled here has read them */
	if (!ts_tsr_open(m->cx, m->path, &t)) return false;
	uint32_t files = count_files(m->cx, &t);
	TsTree *text = t.text_size <= INT32_MAX ? ts_parse(m->cx, ts_source_add(m->cx, m->path, t.text, t.text_size)) : NULL;
	ts_tsr_close(&t);
	for (uint32_t i = 0; text && ok && i < o->n_weights_from; i++) ok = names_set(m->cx, m->path, text, &o->weights_from[i]);
	if (!text || !ok) return false;
	*path = o->weights_from[0].path;
	if (files == 1 && o->n_weights_from == 1) return true;
	if (!files) {
		ts_error(m->cx, (TsSpan){ 0 }, "E_WEIGHTS_INSIDE", "--weights-file %s: '%s' holds its weights", *path, m->path);
	} else {
		ts_error(m->cx, (TsSpan){ 0 }, "E_WEIGHTS_FOLDER", "--weights-file: '%s' opens %u weight files, which lie in one folder under their own names", m->path, files);
		ts_hint(m->cx, "name the folder with --weights-dir");
	}
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
