#include "emit/ptxas.h"
#include "support/child.h"
#include "support/file.h"
#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { SECONDS = 120, CUDA_MACHINE = 190 /* EM_CUDA */ };

/* ---- what ptxas says ---- */

static const char *line_end(const char *p) { const char *e = strchr(p, '\n'); return e ? e : p + strlen(p); }

/* The number before `word` in [p, end), or -1. */
static int64_t number_before(const char *p, const char *end, const char *word)
{
	const char *at = memmem(p, (size_t)(end - p), word, strlen(word));
	while (at && at > p && at[-1] == ' ') at--;
	const char *from = at;
	while (from && from > p && from[-1] >= '0' && from[-1] <= '9') from--;
	return from == at ? -1 : strtoll(from, NULL, 10);
}

/* The text between quotes behind `before`, or what stands behind it up to a space; NULL when the line has none. */
static const char *name_behind(TsCtx *cx, const char *p, const char *end, const char *before)
{
	const char *at = memmem(p, (size_t)(end - p), before, strlen(before));
	if (!at) return NULL;
	at += strlen(before);
	if (at < end && *at == '\'') at++;
	size_t n = strcspn(at, "' \n");
	return n && at + n <= end ? ts_intern_n(cx, at, n) : NULL;
}

static TsPtxKernel *kernel_named(TsCtx *cx, TsPtxModule *m, const char *name)
{
	for (uint32_t i = 0; i < m->n_kernels; i++)
		if (m->kernels[i].name == name) return &m->kernels[i];
	TsPtxKernel *more = TS_NEW_N(ts_arena(cx), TsPtxKernel, m->n_kernels + 1);
	if (m->n_kernels) memcpy(more, m->kernels, m->n_kernels * sizeof *more);
	m->kernels = more;
	more[m->n_kernels] = (TsPtxKernel){ .name = name };
	return &more[m->n_kernels++];
}

static int64_t at_least_0(int64_t n) { return n < 0 ? 0 : n; }

void ts_ptxas_read(TsCtx *cx, const char *said, TsPtxModule *m)
{
	const char *name, *of = NULL; /* the kernel that lines without a name speak of */
	for (const char *p = said; *p; p = *line_end(p) ? line_end(p) + 1 : line_end(p)) {
		const char *end = line_end(p), *loss = memmem(p, (size_t)(end - p), "(C75", 4);
		if ((name = name_behind(cx, p, end, "Compiling entry function ")) || (name = name_behind(cx, p, end, "Function properties for "))) {
			of = name;
			kernel_named(cx, m, of);
		} else if (loss) { /* the function's name stands in quotes at the end, where there is one */
			TsPtxKernel *k = (name = name_behind(cx, loss, end, "in function ")) || (name = name_behind(cx, loss, end, "in the function ")) || (name = of) ? kernel_named(cx, m, name) : NULL;
			if (k) k->loss = ts_strndup(ts_arena(cx), loss, (size_t)(end - loss));
		} else if (of && number_before(p, end, "bytes stack frame") >= 0) {
			TsPtxKernel *k = kernel_named(cx, m, of);
			k->stack = at_least_0(number_before(p, end, "bytes stack frame"));
			k->spill_stores = at_least_0(number_before(p, end, "bytes spill stores"));
			k->spill_loads = at_least_0(number_before(p, end, "bytes spill loads"));
		} else if (of && number_before(p, end, "registers") >= 0) {
			TsPtxKernel *k = kernel_named(cx, m, of);
			k->registers = (int)number_before(p, end, "registers");
			k->barriers = (int)at_least_0(number_before(p, end, "barriers"));
		}
	}
}

/* ---- what went wrong ---- */

/* The lines that speak of errors, without the name of the file that ptxas was given. */
static const char *errors_in(TsCtx *cx, const char *said)
{
	TsBuf b = { 0 };
	for (const char *p = said; *p && b.n < 1000; p = *line_end(p) ? line_end(p) + 1 : line_end(p)) {
		const char *end = line_end(p), *from = p;
		if (!memmem(p, (size_t)(end - p), "error", 5) && !memmem(p, (size_t)(end - p), "fatal", 5)) continue;
		if (!strncmp(from, "ptxas ", 6)) from += 6;
		if (!strncmp(from, ts_child_in(0), strlen(ts_child_in(0)))) from += strlen(ts_child_in(0)) + strspn(from + strlen(ts_child_in(0)), ", ");
		ts_buf_str(&b, b.n ? "; " : "");
		ts_buf_add(&b, from, (size_t)(end - from));
	}
	const char *text = ts_strndup(ts_arena(cx), b.n ? b.p : said, b.n ? b.n : strcspn(said, "\n"));
	ts_buf_free(&b);
	return text;
}

/* The kernel whose text has line `line` of the PTX. */
static const TsPtxPlace *kernel_at(const TsPtxModule *m, long line)
{
	const char *end = m->ptx + m->n, *last = NULL;
	long at = 1;
	for (const char *p = m->ptx; p < end && at <= line; at++) {
		const char *next = memchr(p, '\n', (size_t)(end - p)), *stop = next ? next : end, *entry = memmem(p, (size_t)(stop - p), ".entry ", 7);
		if (entry) last = entry + 7;
		p = next ? next + 1 : end;
	}
	for (uint32_t i = 0; last && i < m->n_places; i++) {
		size_t n = strlen(m->places[i].symbol);
		if ((size_t)(end - last) > n && !memcmp(last, m->places[i].symbol, n) && strchr("( \t\n", last[n])) return &m->places[i];
	}
	return NULL;
}

/* The kernel that the first error is about: by its line, or by a name in quotes. */
static const TsPtxPlace *place_of(const TsPtxModule *m, const char *said)
{
	const char *line = strstr(said, ", line ");
	if (line) return kernel_at(m, strtol(line + 7, NULL, 10));
	for (uint32_t i = 0; i < m->n_places; i++) {
		const char *at = strstr(said, m->places[i].symbol);
		size_t n = strlen(m->places[i].symbol);
		if (at && at > said && at[-1] == '\'' && at[n] == '\'') return &m->places[i];
	}
	return m->n_places == 1 ? &m->places[0] : NULL;
}

static bool says(const char *said, const char *const *words)
{
	for (; *words; words++)
		if (strstr(said, *words)) return true;
	return false;
}

static const char *keep_ptx(TsCtx *cx, const TsPtxasOptions *o, const TsPtxModule *m)
{
	const char *path = ts_printf(ts_arena(cx), "%s/%s.%s.crash.ptx", o->crash_dir ? o->crash_dir : ".", m->name, m->arch);
	return ts_write_file(cx, path, m->ptx, m->n) ? path : NULL;
}

static bool refused(TsCtx *cx, const TsPtxasOptions *o, const TsPtxModule *m, const char *said)
{
	static const char *const old[] = { "Unsupported .version", "is not defined for option 'gpu-name'", "Unsupported gpu architecture", NULL };
	static const char *const large[] = { "too much", "out of memory", "exceed", "too many", NULL };
	const char *errors = errors_in(cx, said);
	const TsPtxPlace *k = place_of(m, said);
	if (says(said, old)) {
		ts_env_error(cx, "E_PTXAS", "'%s' is too old for %s: %s", o->path, m->arch, errors);
		return false;
	}
	if (says(said, large)) {
		ts_error(cx, k ? k->at : (TsSpan){ 0 }, "E_TILE_SIZE", "kernel '%s' asks for more than %s has: %s", k ? k->symbol : m->name, m->arch, errors);
		return false;
	}
	const char *path = keep_ptx(cx, o, m);
	ts_bug(cx, k ? k->at : (TsSpan){ 0 }, "ptxas does not take the code of %s for %s: %s%s%s", k ? k->symbol : m->name, m->arch, errors, path ? "; reproducer: " : "", path ? path : "");
}

static bool is_cubin(const TsBuf *b)
{
	const Elf64_Ehdr *h = (const void *)b->p;
	return b->n > sizeof *h && !memcmp(h->e_ident, ELFMAG, SELFMAG) && h->e_machine == CUDA_MACHINE;
}

static bool judge(TsCtx *cx, const TsPtxasOptions *o, TsPtxModule *m, TsChild *c)
{
	const char *said = c->said.p ? c->said.p : "", *first = ts_strndup(ts_arena(cx), said, strcspn(said, "\n"));
	switch (c->end) {
	case TS_CHILD_NOT_STARTED:
		ts_env_error(cx, "E_PTXAS", "cannot run '%s': %s", o->path, strerror(c->code));
		return false;
	case TS_CHILD_SIGNAL:
		ts_env_error(cx, "E_PTXAS", "'%s' died of signal %d on the code for %s%s%s", o->path, c->code, m->arch, *first ? ": " : "", first);
		return false;
	case TS_CHILD_TOO_LONG:
		ts_env_error(cx, "E_PTXAS", "'%s' gave no answer within %d s for the code of '%s' for %s: it hangs, or tiles and unrolled loops are too large for it", o->path, SECONDS, m->name, m->arch);
		return false;
	case TS_CHILD_EXITED: break;
	}
	if (c->code && (strstr(said, "error") || strstr(said, "fatal"))) return refused(cx, o, m, said);
	if (c->code || !is_cubin(&c->out)) {
		ts_env_error(cx, "E_PTXAS", "'%s' is no working ptxas: it ended with %d%s%s%s", o->path, c->code, c->code ? "" : " and wrote no cubin", *first ? ": " : "", first);
		return false;
	}
	ts_ptxas_read(cx, said, m);
	m->cubin = c->out;
	c->out = (TsBuf){ 0 };
	return true;
}

/* ---- running it ---- */

typedef struct { TsCtx *cx; const TsPtxasOptions *o; TsPtxModule *m; TsChild *c; uint32_t n; bool ok; } Judging;

static void judge_all(void *user)
{
	Judging *j = user;
	for (uint32_t i = 0; i < j->n; i++)
		if (!judge(j->cx, j->o, &j->m[i], &j->c[i])) {
			j->ok = false;
			break; /* the others fail alike */
		}
}

typedef struct { const TsPtxasOptions *o; uint32_t done, of; } Counting;

static void count(void *user)
{
	Counting *k = user;
	k->o->progress(k->o->user, ++k->done, k->of);
}

bool ts_ptxas(TsCtx *cx, const TsPtxasOptions *o, TsPtxModule *modules, uint32_t n)
{
	TsArena *a = ts_arena(cx);
	TsChild *c = TS_NEW_N(a, TsChild, n + 1);
	Counting counting = { o, 0, n };
	for (uint32_t i = 0; i < n; i++) {
		const char **argv = TS_NEW_N(a, const char *, 8);
		argv[0] = o->path;
		argv[1] = "-v";
		argv[2] = ts_printf(a, "-arch=%s", modules[i].arch);
		argv[3] = o->opt_level ? "-O3" : "-O1";
		argv[4] = ts_child_in(0);
		argv[5] = "-o";
		argv[6] = TS_CHILD_OUT;
		c[i] = (TsChild){ .argv = argv, .in = { { modules[i].ptx, modules[i].n } }, .n_in = 1, .seconds = SECONDS, .over = o->progress ? count : NULL, .user = &counting };
	}
	ts_children_run(c, n, o->jobs > 0 ? o->jobs : ts_core_count());
	Judging j = { cx, o, modules, c, n, true };
	bool returned = ts_guard(cx, judge_all, &j); /* what was said is freed even when it shows a bug */
	for (uint32_t i = 0; i < n; i++) {
		ts_buf_free(&c[i].said);
		ts_buf_free(&c[i].out);
	}
	return returned && j.ok;
}

const char *ts_ptxas_version(TsCtx *cx, const char *path)
{
	const char *argv[] = { path, "--version", NULL };
	enum { PATIENCE = 20 };
	TsChild c = { .argv = argv, .seconds = PATIENCE };
	ts_children_run(&c, 1, 1);
	const char *release = c.end == TS_CHILD_EXITED && !c.code && c.said.p && strstr(c.said.p, "ptxas") ? strstr(c.said.p, "release ") : NULL;
	const char *version = release ? ts_strndup(ts_arena(cx), release + 8, strcspn(release + 8, ",\n ")) : NULL;
	ts_buf_free(&c.said);
	ts_buf_free(&c.out);
	if (version && *version) return version;
	if (c.end == TS_CHILD_TOO_LONG) ts_env_error(cx, "E_PTXAS", "'%s --version' gave no answer within %d s: it hangs", path, PATIENCE);
	else ts_env_error(cx, "E_PTXAS", "'%s' is no working ptxas", path);
	return NULL;
}
