#include "tsc/devices.h"
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/print.h"
#include "ir/tile.h"
#include "tsc/find_tool.h"
#include "tsc/progress.h"
#include <inttypes.h>
#include <lz4hc.h>
#include <stdlib.h>
#include <string.h>

static bool is_exact(const TsDevice *v) { return v->code->name[strlen(v->code->name) - 1] == 'a'; }

/* ---- schedules and kernels ---- */

/* Does no variant of the step serve the sizes, whatever the dims are? The last one needs least. */
static bool is_unserved(const TsDims *d, const TsStep *s)
{
	bool any = !s->choices.n || s->kind != TS_SCHED_LAUNCH;
	for (uint32_t i = 0; i < s->choices.n && !any; i++) {
		const TsChoice *c = &s->choices.p[i];
		int64_t least, most, l, r;
		ts_dim_range(d, c->guard_lhs, &least, &most);
		ts_dim_range(d, c->guard_rhs, &l, &r);
		any = (!c->guard_lhs && !c->guard_rhs) || most <= l || (i + 1 == s->choices.n && least <= r);
	}
	return !any;
}

/* Step i, or the one behind it whose work it does a part of. */
static const TsStep *whole_of(const TsEntry *en, uint32_t i)
{
	while (i + 1 < en->steps.n && !en->steps.p[i].root) i++;
	return &en->steps.p[i];
}

static bool is_unserved_by(const TsDevice *v, const TsModule *m, uint32_t entry, TsSym what)
{
	const TsEntry *en = &v->sched->entries.p[entry];
	for (uint32_t i = 0; i < en->steps.n; i++)
		if (is_unserved(m->dims, &en->steps.p[i]) && whole_of(en, i)->what == what) return true;
	return false;
}

/* "head dim 300": the larger of an attention's, if both are known */
static const char *head_dim(TsCtx *cx, const TsModule *m, const TsEntry *en, const TsStep *s)
{
	const TsNode *n = s->root ? ts_val(en->graph, s->root)->def : NULL;
	int64_t most = 0;
	for (int j = 0; n && n->op == TS_OP_attention && j < 3; j += 2) {
		const TsType *ty = &ts_val(en->graph, n->in[j])->type;
		int64_t lo, hi;
		ts_dim_range(m->dims, ty->dim[ty->rank - 1], &lo, &hi);
		most = lo > most ? lo : most;
	}
	return most ? ts_printf(ts_arena(cx), "head dim %" PRId64, most) : "these sizes";
}

/* Known sizes without a variant on a GPU: the file's code for it could only fail. Said once for all architectures. */
static void warn_unserved(const TsDevices *d, const TsModule *m, uint32_t entry, const TsStep *part, const TsStep *s)
{
	TsBuf b = { 0 };
	const char *label = part->choices.p[part->choices.n - 1].label, *head = strstr(label, "head dim"); /* "head dim <= 256, wide", "one query, head dim <= 256" */
	if (head) label = head;
	for (uint32_t i = 0; i < d->n; i++)
		if (is_unserved_by(&d->p[i], m, entry, s->what)) ts_buf_fmt(&b, "%s%s", b.n ? ", " : "", d->p[i].code->name);
	ts_warn(d->cx, s->at, "W_NO_VARIANT", "'%s' has no code for %s on %s, where it takes %.*s: this graph fails there when it is prepared", s->what,
	        head_dim(d->cx, m, &d->p[0].sched->entries.p[entry], s), b.p, (int)strcspn(label, ","), label);
	ts_buf_free(&b);
}

static void check_served(const TsDevices *d, const TsModule *m)
{
	for (uint32_t i = 0; i < d->n; i++)
		for (uint32_t e = 0; e < d->p[i].sched->entries.n; e++) {
			const TsEntry *en = &d->p[i].sched->entries.p[e];
			for (uint32_t k = 0; k < en->steps.n; k++) {
				bool said = !is_unserved(m->dims, &en->steps.p[k]);
				for (uint32_t j = 0; j < i && !said; j++) said = is_unserved_by(&d->p[j], m, e, whole_of(en, k)->what);
				if (!said) warn_unserved(d, m, e, &en->steps.p[k], whole_of(en, k));
			}
		}
}

bool ts_devices_schedule(TsDevices *d, TsCtx *cx, const TsOptions *o, TsModule *m)
{
	*d = (TsDevices){ .cx = cx, .o = o, .n = o->n_gpus, .p = TS_NEW_N(ts_arena(cx), TsDevice, o->n_gpus + 1) };
	for (uint32_t i = 0; i < d->n; i++) {
		d->p[i].code = ts_target_find(o->gpus[i]);
		if (!(d->p[i].sched = ts_schedule(m, ts_sched_target(o->gpus[i])))) return false;
	}
	check_served(d, m);
	return true;
}

bool ts_devices_read_tiles(TsDevices *d)
{
	TsArena *a = ts_arena(d->cx);
	for (uint32_t i = 0; i < d->n; i++) {
		TsDevice *v = &d->p[i];
		v->kernels = TS_NEW_N(a, const TsTree *, v->sched->kernels.n + 1);
		for (uint32_t k = 0; k < v->sched->kernels.n; k++) {
			const TsKernel *q = &v->sched->kernels.p[k];
			TsTree *file = ts_parse(d->cx, ts_source_add(d->cx, ts_printf(a, "<%s.%s.tile>", q->name, v->code->name), q->text[0], strlen(q->text[0])));
			if (!file || !ts_tile_verify(d->cx, file)) ts_bug(d->cx, (TsSpan){ 0 }, "tile: the schedule of kernel %s for %s is not valid Tile IR", q->name, v->code->name);
			v->kernels[k] = file->kid[file->n - 1];
		}
	}
	return true;
}

/* ---- code ---- */

uint32_t ts_devices_count(const TsDevices *d)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < d->n; i++) n += d->p[i].sched->kernels.n;
	return n;
}

uint32_t ts_devices_units(const TsDevices *d, TsUnit *units)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < d->n; i++)
		for (uint32_t k = 0; k < d->p[i].sched->kernels.n; k++) units[n++] = (TsUnit){ d->p[i].kernels[k], d->p[i].sched->kernels.p[k].name, d->p[i].code };
	return n;
}

/* Where the model says what kernel k computes: the value of the first step that may launch it. */
static TsSpan source_of(const TsDevice *v, uint32_t k)
{
	const TsSched *s = v->sched;
	for (uint32_t e = 0; e < s->entries.n; e++)
		for (uint32_t i = 0; i < s->entries.p[e].steps.n; i++) {
			const TsStep *step = &s->entries.p[e].steps.p[i];
			for (uint32_t c = 0; c < step->choices.n; c++)
				if (step->choices.p[c].kernel == k && step->at.file) return step->at;
		}
	return v->kernels[k]->at;
}

/* Kernels [begin, end) of a device are module `ptx`. */
static void add_module(TsDevices *d, TsDevice *v, TsBuf *ptx, uint32_t begin, uint32_t end)
{
	TsArena *a = ts_arena(d->cx);
	TsPtxPlace *places = TS_NEW_N(a, TsPtxPlace, end - begin);
	for (uint32_t k = begin; k < end; k++) {
		places[k - begin] = (TsPtxPlace){ v->sched->kernels.p[k].name, source_of(v, k) };
		v->module_of[k] = v->n_modules;
	}
	v->ptx[v->n_modules] = *ptx;
	*ptx = (TsBuf){ 0 };
	TsBuf *own = &v->ptx[v->n_modules];
	v->modules[v->n_modules] = (TsPtxModule){ .name = ts_printf(a, "%s.m%u", d->p[0].sched->m->name, v->n_modules), .arch = v->code->name, .ptx = own->p, .n = own->n, .places = places, .n_places = end - begin };
	v->n_modules++;
}

void ts_devices_take(TsDevices *d, TsBuf *objects, const uint32_t *first, uint32_t count)
{
	TsArena *a = ts_arena(d->cx);
	uint32_t base = 0, object = 0;
	for (uint32_t i = 0; i < d->n; i++) {
		TsDevice *v = &d->p[i];
		uint32_t n = v->sched->kernels.n;
		v->module_of = TS_NEW_N(a, uint32_t, n + 1);
		v->ptx = TS_NEW_N(a, TsBuf, n + 1);
		v->modules = TS_NEW_N(a, TsPtxModule, n + 1);
		for (; object < count && first[object] < base + n; object++) /* an object never spans two targets */
			add_module(d, v, &objects[object], first[object] - base, (object + 1 < count && first[object + 1] < base + n ? first[object + 1] : base + n) - base);
		base += n;
	}
}

const TsDevice *ts_devices_fallback(const TsDevices *d)
{
	for (uint32_t i = 0; i < d->n; i++)
		if (!is_exact(&d->p[i])) return &d->p[i];
	return NULL;
}

/* ---- cubins ---- */

static void tell_assembled(void *user, uint32_t done, uint32_t of) { ts_progress(user, "assemble", done, of); }

static bool look_for_ptxas(TsDevices *d)
{
	if (!ts_find_ptxas(d->cx, d->o, &d->ptxas)) return false;
	if (d->ptxas && !(d->ptxas_version = ts_ptxas_version(d->cx, d->ptxas))) return false;
	if (!d->ptxas && !d->o->ptxas) {
		ts_warn(d->cx, (TsSpan){ 0 }, "W_NO_PTXAS", "there is no ptxas: the file gets PTX alone, which the GPU's driver compiles when the model is loaded");
		ts_hint(d->cx, "give it with --ptxas PATH; --ptxas none says that none is wanted");
	}
	return true;
}

static bool assemble_all(TsDevices *d)
{
	TS_VEC(TsPtxModule) all = { 0 };
	TsPtxasOptions po = { .path = d->ptxas, .opt_level = d->o->opt_level, .jobs = d->o->jobs, .progress = tell_assembled, .user = (void *)(uintptr_t)d->o };
	for (uint32_t i = 0; i < d->n; i++)
		for (uint32_t k = 0; k < d->p[i].n_modules; k++) ts_push(ts_arena(d->cx), &all, d->p[i].modules[k]);
	bool ok = ts_ptxas(d->cx, &po, all.p, all.n);
	for (uint32_t i = 0, n = 0; i < d->n; i++)
		for (uint32_t k = 0; k < d->p[i].n_modules; k++) d->p[i].modules[k] = all.p[n++];
	return ok;
}

/* Bytes in the section, where equal ones lie already or at its end. */
static uint64_t place(TsDevices *d, const TsPlanModule *placed, uint32_t n, const void *p, size_t size)
{
	for (uint32_t i = 0; i < n; i++) {
		if (placed[i].cubin_bytes == size && size && !memcmp(d->code.p + placed[i].cubin, p, size)) return placed[i].cubin;
		if (placed[i].ptx_bytes == size && size && !memcmp(d->code.p + placed[i].ptx, p, size)) return placed[i].ptx;
	}
	ts_buf_align(&d->code, 64);
	uint64_t at = d->code.n;
	ts_buf_add(&d->code, p, size);
	return at;
}

/* One LZ4 block: PTX is four times as large. */
static size_t pack(TsBuf *to, const char *text, size_t n)
{
	void *room = ts_buf_space(to, (size_t)LZ4_compressBound((int)n));
	return to->n = (size_t)LZ4_compress_HC(text, room, (int)n, (int)to->n, LZ4HC_CLEVEL_MAX);
}

/* The section: every device's cubins, and the PTX that is kept. */
static void lay_out(TsDevices *d)
{
	TS_VEC(TsPlanModule) all = { 0 };
	const TsDevice *fallback = ts_devices_fallback(d);
	for (uint32_t i = 0; i < d->n; i++) {
		TsDevice *v = &d->p[i];
		v->placed = TS_NEW_N(ts_arena(d->cx), TsPlanModule, v->n_modules + 1);
		for (uint32_t k = 0; k < v->n_modules; k++) {
			TsPlanModule m = { .flags = is_exact(v) ? TS_MODULE_EXACT : 0, .sm = (uint32_t)atoi(v->code->name + 3) };
			if (d->ptxas) {
				m.cubin = place(d, all.p, all.n, v->modules[k].cubin.p, v->modules[k].cubin.n);
				m.cubin_bytes = v->modules[k].cubin.n;
			}
			if (!d->ptxas || v == fallback) {
				TsBuf packed = { 0 };
				m.ptx_text = v->ptx[k].n + 1; /* the driver wants its NUL */
				m.ptx_bytes = pack(&packed, v->ptx[k].p, m.ptx_text);
				m.ptx = place(d, all.p, all.n, packed.p, packed.n);
				ts_buf_free(&packed);
			}
			v->placed[k] = m;
			ts_push(ts_arena(d->cx), &all, m);
		}
	}
	ts_buf_align(&d->code, 64);
}

bool ts_devices_assemble(TsDevices *d)
{
	if (!d->n) return true;
	if (!look_for_ptxas(d) || (d->ptxas && !assemble_all(d))) return false;
	lay_out(d);
	return true;
}

const TsDeviceSched *ts_devices_for_plan(TsDevices *d)
{
	TsDeviceSched *s = TS_NEW_N(ts_arena(d->cx), TsDeviceSched, d->n + 1);
	for (uint32_t i = 0; i < d->n; i++) {
		const TsDevice *v = &d->p[i];
		s[i] = (TsDeviceSched){ v->code->name, v->sched, v->kernels, v->module_of, v->placed, v->n_modules, d->code.n };
	}
	return s;
}

void ts_devices_free(TsDevices *d)
{
	for (uint32_t i = 0; i < d->n; i++)
		for (uint32_t k = 0; k < d->p[i].n_modules; k++) {
			ts_buf_free(&d->p[i].ptx[k]);
			ts_buf_free(&d->p[i].modules[k].cubin);
		}
	ts_buf_free(&d->code);
}

/* ---- looking inside ---- */

static void print_kernel(TsCtx *cx, const TsTree *tree, TsBuf *to)
{
	(void)cx;
	ts_print_tree(tree, to, false);
}

bool ts_device_print(TsDevices *d, const TsDevice *v, TsBackendForm form, TsBuf *to)
{
	uint32_t n = v->sched->kernels.n;
	TsUnit *units = TS_NEW_N(ts_arena(d->cx), TsUnit, n + 1);
	for (uint32_t k = 0; k < n; k++) units[k] = (TsUnit){ v->kernels[k], v->sched->kernels.p[k].name, v->code };
	TsBackendOptions bo = { .opt_level = d->o->opt_level, .form = form, .jobs = d->o->jobs, .print = print_kernel };
	return ts_backend_compile(d->cx, units, n, &bo, to);
}

bool ts_device_cubin(TsCtx *cx, const TsOptions *o, const char *arch, const TsBuf *ptx, const TsPtxPlace *places, uint32_t n_places, TsBuf *cubin)
{
	TsPtxasOptions po = { .opt_level = o->opt_level, .jobs = 1 };
	TsPtxModule m = { .name = "kernels", .arch = arch, .ptx = ptx->p, .n = ptx->n, .places = places, .n_places = n_places };
	if (!ts_find_ptxas(cx, o, &po.path)) return false;
	if (!po.path) {
		ts_env_error(cx, "E_PTXAS", o->ptxas ? "a cubin takes ptxas, which --ptxas none leaves out" : "a cubin takes ptxas, which is not in PATH, CUDA_HOME or VIRTUAL_ENV");
		ts_hint(cx, "give it with --ptxas PATH");
		return false;
	}
	bool ok = ts_ptxas(cx, &po, &m, 1);
	*cubin = m.cubin;
	return ok;
}
