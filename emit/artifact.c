#include "emit/elf_patch.h"
#include "emit/elf_write.h"
#include "emit/emit.h"
#include "emit/lld_shim.h"
#include "support/file.h"
#include "support/temp.h"
#include "tessera/tessera.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STREAM = 1 << 20 };
#ifndef SHF_X86_64_LARGE
#define SHF_X86_64_LARGE 0x10000000
#endif

/* ---- what goes beside the code ---- */

/* The note's program header is the one that later maps the weights; its text says what made the file. */
static const struct { uint32_t name, desc, type; char text[8]; uint32_t abi; } note = { 8, 4, 1, "Tessera", TESSERA_ABI };

/* lea rsi, [model]; jmp ts_xla_call */
static const uint8_t jump_to_xla[] = { 0x48, 0x8d, 0x35, 0, 0, 0, 0, 0xe9, 0, 0, 0, 0 };

/* Plans for devices: their sections, the table of them, and the place for the devices' code. */
typedef struct { uint32_t names, table, code, *plan, s_table, s_code; TesseraDevicePlan *rows; } Devices;

static void device_sections(TsCtx *cx, TsElf *e, const TsArtifact *a, bool so_or_exe, Devices *d)
{
	static const uint64_t hole = 0;
	TsArena *arena = ts_arena(cx);
	TsBuf names = { 0 };
	if (!a->n_device_plans)
		return;
	d->plan = TS_NEW_N(arena, uint32_t, a->n_device_plans);
	d->rows = TS_NEW_N(arena, TesseraDevicePlan, a->n_device_plans);
	for (uint32_t i = 0; i < a->n_device_plans; i++) {
		const TsDevicePlan *p = &a->device_plans[i];
		d->plan[i] = ts_elf_section(e, ts_printf(arena, ".tessera.plan.%s", p->target), SHT_PROGBITS, SHF_ALLOC, 64, p->plan.p, p->plan.n);
		d->rows[i].plan_bytes = p->plan.n;
		ts_buf_add(&names, p->target, strlen(p->target) + 1);
	}
	d->names = ts_elf_section(e, ".rodata.tessera.targets", SHT_PROGBITS, SHF_ALLOC, 1, ts_memdup(arena, names.p, names.n), names.n);
	d->table = ts_elf_section(e, ".data.rel.ro.tessera.plans", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, 16, d->rows, a->n_device_plans * sizeof *d->rows);
	if (a->device_code.n)
		d->code = ts_elf_section(e, ".tessera.gpu", SHT_PROGBITS, so_or_exe ? 0 : SHF_ALLOC | SHF_X86_64_LARGE, so_or_exe ? 1 : 64, &hole, 8);
	ts_buf_free(&names);
}

static void device_symbols(TsElf *e, const TsArtifact *a, Devices *d)
{
	int64_t name = 0;
	if (!a->n_device_plans)
		return;
	uint32_t s_names = ts_elf_symbol(e, "", d->names, 0, 0, STB_LOCAL, STV_DEFAULT);
	d->s_table = ts_elf_symbol(e, "", d->table, 0, 0, STB_LOCAL, STV_DEFAULT);
	if (a->device_code.n)
		d->s_code = ts_elf_symbol(e, "", d->code, 0, 0, STB_LOCAL, STV_DEFAULT);
	for (uint32_t i = 0; i < a->n_device_plans; i++) {
		uint64_t row = i * sizeof(TesseraDevicePlan);
		ts_elf_reloc(e, d->table, row + offsetof(TesseraDevicePlan, target), R_X86_64_64, s_names, name);
		ts_elf_reloc(e, d->table, row + offsetof(TesseraDevicePlan, plan), R_X86_64_64, ts_elf_symbol(e, "", d->plan[i], 0, 0, STB_LOCAL, STV_DEFAULT), 0);
		name += (int64_t)strlen(a->device_plans[i].target) + 1;
	}
}

/* NAME_xla: hands the model to the runtime's handler, behind the argument that XLA gives. A session keeps the states of a model from run to
 * run and XLA's calls have no session of their own, so a model with states exports none. */
static void xla_handler(TsCtx *cx, TsElf *e, const TsArtifact *a, uint32_t section, uint32_t model)
{
	uint32_t call = ts_elf_symbol(e, "ts_xla_call", 0, 0, 0, STB_GLOBAL, STV_HIDDEN);
	ts_elf_symbol(e, ts_printf(ts_arena(cx), "%s_xla", a->name), section, 0, sizeof jump_to_xla, STB_GLOBAL, STV_DEFAULT);
	ts_elf_reloc(e, section, 3, R_X86_64_PC32, model, -4);
	ts_elf_reloc(e, section, 8, R_X86_64_PLT32, call, -4);
}

static bool exports_xla(const TsArtifact *a)
{
	const TsPlanHeader *p = a->plan.p;
	return a->kind != TS_ARTIFACT_EXE && a->n_objects && a->plan.n >= sizeof *p && !p->states.n;
}

/* An object with the descriptor, the plans, the texts and empty places for the devices' code and the weights. */
static void make_glue(TsCtx *cx, const TsArtifact *a, TsBuf *out)
{
	bool so_or_exe = a->kind == TS_ARTIFACT_SO || a->kind == TS_ARTIFACT_EXE;
	uint64_t words[4] = { 0, a->weight_bytes, 0, a->device_code.n }, hole = 0;
	TesseraModel m = { .abi = TESSERA_ABI, .size = sizeof m, .plan_bytes = a->plan.n, .n_device_plans = a->n_device_plans };
	TsElf *e = ts_elf_new(cx);
	Devices d = { 0 };
	ts_elf_section(e, ".note.tessera", SHT_NOTE, SHF_ALLOC, 4, &note, sizeof note);
	uint32_t name = ts_elf_section(e, ".rodata.tessera", SHT_PROGBITS, SHF_ALLOC, 1, a->name, strlen(a->name) + 1);
	uint32_t plan = ts_elf_section(e, ".tessera.plan", SHT_PROGBITS, SHF_ALLOC, 64, a->plan.p, a->plan.n);
	uint32_t link = ts_elf_section(e, ".tessera.link", SHT_PROGBITS, SHF_ALLOC, 16, words, sizeof words);
	uint32_t data = ts_elf_section(e, ".data.rel.ro.tessera", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, 16, &m, sizeof m);
	uint32_t weights = ts_elf_section(e, ".tessera.weights", SHT_PROGBITS, so_or_exe ? 0 : SHF_ALLOC | SHF_X86_64_LARGE, so_or_exe ? 1 : 64, &hole,
	                                  a->weight_bytes || so_or_exe ? 8 : 0);
	device_sections(cx, e, a, so_or_exe, &d);
	ts_elf_section(e, ".tessera.ops", SHT_PROGBITS, 0, 1, a->ops.p, a->ops.n);
	ts_elf_section(e, ".tessera.meta", SHT_PROGBITS, 0, 1, a->meta.p, a->meta.n);
	uint32_t jump = exports_xla(a) ? ts_elf_section(e, ".text.tessera.xla", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 16, jump_to_xla, sizeof jump_to_xla) : 0;
	uint32_t s_name = ts_elf_symbol(e, "", name, 0, 0, STB_LOCAL, STV_DEFAULT), s_plan = ts_elf_symbol(e, "", plan, 0, 0, STB_LOCAL, STV_DEFAULT);
	uint32_t s_link = ts_elf_symbol(e, "", link, 0, 0, STB_LOCAL, STV_DEFAULT), s_weights = ts_elf_symbol(e, "", weights, 0, 0, STB_LOCAL, STV_DEFAULT);
	uint32_t s_data = jump ? ts_elf_symbol(e, "", data, 0, 0, STB_LOCAL, STV_DEFAULT) : 0;
	device_symbols(e, a, &d);
	if (jump)
		xla_handler(cx, e, a, jump, s_data);
	ts_elf_symbol(e, ts_printf(ts_arena(cx), "%s_tessera", a->name), data, 0, sizeof m, STB_GLOBAL, STV_DEFAULT);
	ts_elf_symbol(e, "ts_model", data, 0, sizeof m, STB_GLOBAL, STV_HIDDEN);
	uint32_t s_api = ts_elf_symbol(e, "ts_api", 0, 0, 0, STB_GLOBAL, STV_HIDDEN);
	ts_elf_reloc(e, data, offsetof(TesseraModel, name), R_X86_64_64, s_name, 0);
	ts_elf_reloc(e, data, offsetof(TesseraModel, api), R_X86_64_64, s_api, 0);
	ts_elf_reloc(e, data, offsetof(TesseraModel, plan), R_X86_64_64, s_plan, 0);
	ts_elf_reloc(e, data, offsetof(TesseraModel, weights), R_X86_64_64, s_link, 0);
	ts_elf_reloc(e, data, offsetof(TesseraModel, weight_bytes), R_X86_64_64, s_link, 8);
	ts_elf_reloc(e, data, offsetof(TesseraModel, device_code), R_X86_64_64, s_link, 16);
	ts_elf_reloc(e, data, offsetof(TesseraModel, device_code_bytes), R_X86_64_64, s_link, 24);
	if (a->n_device_plans)
		ts_elf_reloc(e, data, offsetof(TesseraModel, device_plans), R_X86_64_64, d.s_table, 0);
	if (a->n_device_plans) /* what brings the runtime's part for GPUs in */
		ts_elf_reloc(e, data, offsetof(TesseraModel, device_ops), R_X86_64_64, ts_elf_symbol(e, "ts_cuda_ops", 0, 0, 0, STB_GLOBAL, STV_HIDDEN), 0);
	if (a->n_objects)
		ts_elf_reloc(e, data, offsetof(TesseraModel, kernels), R_X86_64_64, ts_elf_symbol(e, "ts_kernels", 0, 0, 0, STB_GLOBAL, STV_HIDDEN), 0);
	if (!so_or_exe && a->weight_bytes)
		ts_elf_reloc(e, link, 0, R_X86_64_PC64, s_weights, 0);
	if (!so_or_exe && a->device_code.n)
		ts_elf_reloc(e, link, 16, R_X86_64_PC64, d.s_code, 0);
	ts_elf_finish(e, out);
}

/* A .tsr without code: the texts, the plan if there is one, and a place for the weights. */
static void make_pack(TsCtx *cx, const TsArtifact *a, TsBuf *out)
{
	TsElf *e = ts_elf_new(cx);
	uint64_t hole = 0;
	ts_elf_section(e, ".note.tessera", SHT_NOTE, 0, 4, &note, sizeof note);
	ts_elf_section(e, ".tessera.ops", SHT_PROGBITS, 0, 1, a->ops.p, a->ops.n);
	ts_elf_section(e, ".tessera.meta", SHT_PROGBITS, 0, 1, a->meta.p, a->meta.n);
	if (a->plan.n)
		ts_elf_section(e, ".tessera.plan", SHT_PROGBITS, 0, 64, a->plan.p, a->plan.n);
	ts_elf_section(e, ".tessera.weights", SHT_PROGBITS, 0, 64, &hole, a->weight_bytes ? 8 : 0);
	ts_elf_finish(e, out);
}

/* ---- linking ---- */

typedef struct { TsCtx *cx; const char *dir; TS_VEC(const char *) args; TS_VEC(const char *) files; uint64_t bytes; /* of the input */ } Link;

static bool open_dir(Link *l, const TsArtifact *a, const char *path)
{
	TsArena *arena = ts_arena(l->cx);
	char *dir = a->temp_dir ? ts_printf(arena, "%s/tessera-XXXXXX", a->temp_dir) : ts_path_beside(arena, path, ".tessera-XXXXXX");
	if (!ts_temp_folder(l->cx, dir)) {
		ts_env_error(l->cx, "E_FILE", "cannot write '%s': %s", a->temp_dir ? dir : path, strerror(errno));
		return false;
	}
	l->dir = dir;
	return true;
}

static void close_dir(Link *l)
{
	for (uint32_t i = 0; i < l->files.n; i++)
		unlink(l->files.p[i]);
	if (!l->dir)
		return;
	rmdir(l->dir);
	ts_temp_done(l->cx, l->dir);
}

static const char *temp_file(Link *l, const char *name)
{
	const char *path = ts_printf(ts_arena(l->cx), "%s/%s", l->dir, name);
	ts_push(ts_arena(l->cx), &l->files, path);
	return path;
}

static void arg(Link *l, const char *s) { ts_push(ts_arena(l->cx), &l->args, s); }

static bool input(Link *l, const char *name, const void *p, size_t n)
{
	const char *path = temp_file(l, name);
	arg(l, path);
	l->bytes += n;
	return ts_write_file(l->cx, path, p, n);
}

/* what the linker said, as our error: its own trouble with the disk is the environment's, anything else is ours */
static bool link_failed(Link *l, const char *text, int rc)
{
	size_t n = strlen(text);
	while (n && text[n - 1] == '\n')
		n--;
	if (strstr(text, "failed to write") || strstr(text, "No space left") || strstr(text, "cannot open output"))
		ts_env_error(l->cx, "E_FILE", "linking failed: %.*s", (int)n, text);
	else
		ts_bug(l->cx, (TsSpan){ 0 }, "link: lld gave %d: %.*s", rc, (int)n, text);
	return false;
}

/* Is there room for the image? lld writes to a mapping, where a full disk is a signal, so it is asked beforehand. */
static bool has_room(Link *l)
{
	const char *path = temp_file(l, "room");
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), rc = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)(l->bytes + l->bytes / 4 + (64 << 10)));
	if (fd >= 0)
		close(fd);
	unlink(path);
	if (rc)
		ts_env_error(l->cx, "E_FILE", "cannot write '%s': %s", path, strerror(rc));
	return !rc;
}

/* A library in name only, for programs that ask the C library for dlopen and dlsym: their names have no version, so that any will do. */
static bool libc_name(Link *l, const char *name)
{
	static const char code[] = "\xc3";
	const char *source = temp_file(l, ts_printf(ts_arena(l->cx), "%s.o", name)), *out = temp_file(l, name);
	const char *const argv[] = { "ld.lld", "-shared", "--build-id=none", "-soname", name, "-o", out, source };
	char said[4096];
	TsBuf object = { 0 };
	TsElf *e = ts_elf_new(l->cx);
	uint32_t text = ts_elf_section(e, ".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 16, code, 1);
	ts_elf_symbol(e, "dlopen", text, 0, 1, STB_GLOBAL, STV_DEFAULT);
	ts_elf_symbol(e, "dlsym", text, 0, 1, STB_GLOBAL, STV_DEFAULT);
	ts_elf_finish(e, &object);
	bool ok = ts_write_file(l->cx, source, object.p, object.n) && has_room(l);
	ts_buf_free(&object);
	arg(l, out);
	int rc = ok ? ts_lld_link(sizeof argv / sizeof *argv, argv, said, sizeof said) : 0;
	return rc ? link_failed(l, said, rc) : ok;
}

static bool inputs(Link *l, const TsArtifact *a)
{
	TsBuf glue = { 0 };
	make_glue(l->cx, a, &glue);
	bool ok = input(l, "model.o", glue.p, glue.n);
	ts_buf_free(&glue);
	for (uint32_t i = 0; i < a->n_objects && ok; i++)
		ok = input(l, ts_printf(ts_arena(l->cx), "code%u.o", i), a->objects[i].p, a->objects[i].n);
	if (ok && a->n_device_plans && a->kind == TS_ARTIFACT_EXE)
		ok = libc_name(l, "libc.so.6") && libc_name(l, "libdl.so.2"); /* where they lay before glibc 2.34 */
	if (ok && a->n_device_plans)
		ok = input(l, "rtlib_cuda.o", ts_rtlib_cuda_begin, (size_t)(ts_rtlib_cuda_end - ts_rtlib_cuda_begin));
	return ok && input(l, "rtlib.o", ts_rtlib_begin, (size_t)(ts_rtlib_end - ts_rtlib_begin));
}

static void options(Link *l, const TsArtifact *a)
{
	static const char *const final[] = { "--gc-sections", "-s", "-z", "noexecstack", "-z", "now", "-z", "defs", "--build-id=none", "--no-rosegment" };
	arg(l, "ld.lld");
	if (a->kind == TS_ARTIFACT_SO) {
		arg(l, "-shared");
		arg(l, "-soname");
		arg(l, ts_printf(ts_arena(l->cx), "%s.so", a->name));
	} else if (a->kind == TS_ARTIFACT_EXE && a->n_device_plans) { /* a driver is loaded by dlopen, which takes a C library */
		arg(l, "-pie");
		arg(l, "--dynamic-linker");
		arg(l, "/lib64/ld-linux-x86-64.so.2");
		arg(l, "--entry=ts_exe_start");
	} else if (a->kind == TS_ARTIFACT_EXE) {
		arg(l, "-static");
		arg(l, "--entry=ts_exe_start");
	} else {
		arg(l, "-r");
	}
	for (size_t i = 0; i < sizeof final / sizeof *final && (a->kind == TS_ARTIFACT_SO || a->kind == TS_ARTIFACT_EXE); i++)
		arg(l, final[i]);
}

static bool link_image(Link *l, const TsArtifact *a, TsBuf *image)
{
	char said[4096];
	options(l, a);
	if (!inputs(l, a) || !has_room(l))
		return false;
	const char *out = temp_file(l, "image");
	arg(l, "-o");
	arg(l, out);
	int rc = ts_lld_link((int)l->args.n, l->args.p, said, sizeof said);
	if (rc) {
		close_dir(l);
		l->dir = NULL;
		return link_failed(l, said, rc);
	}
	TsFile f;
	if (!ts_file_map(l->cx, out, &f))
		return false;
	ts_buf_add(image, f.p, f.size);
	ts_file_unmap(&f);
	return true;
}

/* ---- writing ---- */

typedef struct { TsCtx *cx; TsOut to; uint64_t at; uint8_t *buffer; } Stream;

static bool zeros(Stream *s, uint64_t n)
{
	memset(s->buffer, 0, n < STREAM ? n : STREAM);
	for (; n; ) {
		uint64_t part = n < STREAM ? n : STREAM;
		if (!ts_out_write(s->cx, &s->to, s->buffer, part))
			return false;
		n -= part;
		s->at += part;
	}
	return true;
}

static bool read_file(Stream *s, const TsWeightPiece *w, int fd, uint64_t done, size_t n)
{
	for (size_t have = 0; have < n;) {
		ssize_t got = pread(fd, s->buffer + have, n - have, (off_t)(w->path_offset + done + have));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			ts_env_error(s->cx, "E_FILE", "cannot read '%s': %s", w->path, got < 0 ? strerror(errno) : "it became shorter while it was read");
			return false;
		}
		have += (size_t)got;
	}
	return true;
}

static bool piece(Stream *s, const TsWeightPiece *w)
{
	bool ok = true;
	int fd = -1;
	size_t size;
	if (!w->data && w->path && (fd = ts_file_open(s->cx, w->path, &size)) < 0)
		return false;
	for (uint64_t done = 0; done < w->size && ok;) {
		size_t n = w->size - done < STREAM ? (size_t)(w->size - done) : STREAM;
		const void *from = s->buffer;
		if (w->data)
			from = (const uint8_t *)w->data + done;
		else
			ok = w->path ? read_file(s, w, fd, done, n) : w->read(w->user, done, s->buffer, n);
		ok = ok && ts_out_write(s->cx, &s->to, from, n);
		done += n;
		s->at += n;
	}
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool all_pieces(Stream *s, const TsArtifact *a, uint64_t base)
{
	for (uint32_t i = 0; i < a->n_weights; i++) {
		const TsWeightPiece *w = &a->weights[i];
		if (base + w->at < s->at || w->at > a->weight_bytes || w->size > a->weight_bytes - w->at)
			ts_bug(s->cx, (TsSpan){ 0 }, "emit: weight piece %u overlaps or lies outside the blob", i);
		if (!zeros(s, base + w->at - s->at) || !piece(s, w))
			return false;
	}
	return zeros(s, base + a->weight_bytes - s->at);
}

static bool write_all(TsCtx *cx, const TsArtifact *a, const TsBuf *image, const TsAppended *at, const char *path)
{
	Stream s = { .cx = cx, .buffer = ts_alloc(ts_arena(cx), STREAM) };
	if (!ts_out_open(cx, path, &s.to))
		return false;
	s.to.mode = a->kind == TS_ARTIFACT_SO || a->kind == TS_ARTIFACT_EXE ? 0777 : 0666;
	bool ok = ts_out_write(cx, &s.to, image->p, image->n);
	s.at = image->n;
	if (ok && at->code_bytes) {
		ok = zeros(&s, at->code_at - s.at) && ts_out_write(cx, &s.to, a->device_code.p, a->device_code.n);
		s.at = at->code_at + a->device_code.n;
	}
	if (ok && at->weight_bytes)
		ok = zeros(&s, at->weights_at - s.at) && all_pieces(&s, a, at->weights_at);
	return ts_out_close(cx, &s.to, ok) && ok;
}

static bool prepare_image(TsCtx *cx, const TsArtifact *a, TsBuf *image, TsAppended *at)
{
	TsImage im = { (uint8_t *)image->p, image->n };
	bool final = a->kind == TS_ARTIFACT_SO || a->kind == TS_ARTIFACT_EXE;
	const char *wrong = NULL;
	if (final && !a->weight_bytes)
		ts_image_section(im, ".tessera.weights")->sh_size = 0;
	if (at->weight_bytes || at->code_bytes)
		wrong = final ? ts_image_append(im, at) : ts_image_place(im, at);
	if (!wrong && !final && a->n_objects)
		wrong = ts_image_hide(cx, im);
	if (wrong)
		ts_bug(cx, (TsSpan){ 0 }, "emit: %s", wrong);
	return true;
}

bool ts_emit_artifact(TsCtx *cx, const TsArtifact *a, const char *path)
{
	Link l = { .cx = cx };
	TsBuf image = { 0 };
	bool pack = a->kind == TS_ARTIFACT_TSR && !a->n_objects, ok = true;
	TsAppended at = { .weight_bytes = a->weight_bytes, .code_bytes = pack ? 0 : a->device_code.n };
	if (pack)
		make_pack(cx, a, &image);
	else
		ok = open_dir(&l, a, path) && link_image(&l, a, &image);
	close_dir(&l);
	ok = ok && prepare_image(cx, a, &image, &at) && write_all(cx, a, &image, &at, path);
	ts_buf_free(&image);
	return ok;
}
