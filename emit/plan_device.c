/* Kernels of a device in its plan: how each is launched, as ts_tile_launch reads it off the verified text, and its tensor maps, whose sizes and
 * strides are formulas over the kernel's idx parameters. */
#include "emit/plan_write_int.h"
#include "ir/tile_abi.h"
#include <stdlib.h>
#include <string.h>

typedef struct { TsPlanWriter *w; const TsTree *kernel; TsPlanExpr f[TS_MAX_FORMULAS]; uint32_t n; } Formulas;

_Noreturn static void no_formula(const Formulas *k, const TsTree *at, const char *why)
{
	ts_bug(k->w->m->cx, at->at, "plan: a size in kernel '%s' %s", k->kernel->name, why);
}

/* equal formulas are one */
static uint32_t add(Formulas *k, const TsTree *at, TsPlanExpr x)
{
	for (uint32_t i = 0; i < k->n; i++)
		if (!memcmp(&k->f[i], &x, sizeof x)) return i;
	if (k->n == TS_MAX_FORMULAS) no_formula(k, at, "takes too many formulas");
	k->f[k->n] = x;
	return k->n++;
}

static uint32_t constant(Formulas *k, const TsTree *at, int64_t v) { return add(k, at, (TsPlanExpr){ .kind = TS_EX_CONST, .value = v }); }

static uint32_t two(Formulas *k, const TsTree *at, TsExprKind kind, uint32_t x, uint32_t y)
{
	const TsPlanExpr *p = &k->f[x], *q = &k->f[y];
	int64_t v;
	if (kind == TS_EX_MUL && p->kind == TS_EX_CONST && q->kind == TS_EX_CONST && !__builtin_mul_overflow(p->value, q->value, &v)) return constant(k, at, v);
	if (kind == TS_EX_MUL && p->kind == TS_EX_CONST && p->value == 1) return y;
	return add(k, at, (TsPlanExpr){ .kind = kind, .a = x, .b = y });
}

static uint32_t formula(Formulas *k, const TsTree *x);

static uint32_t call(Formulas *k, const TsTree *x)
{
	const char *name = x->kid[0]->name;
	if (x->n == 3 && (!strcmp(name, "min") || !strcmp(name, "max"))) return two(k, x, name[1] == 'i' ? TS_EX_MIN : TS_EX_MAX, formula(k, x->kid[1]), formula(k, x->kid[2]));
	if (x->n == 3 && !strcmp(name, "cdiv")) { /* -(-a // b) */
		uint32_t a = two(k, x, TS_EX_SUB, constant(k, x, 0), formula(k, x->kid[1]));
		return two(k, x, TS_EX_SUB, constant(k, x, 0), two(k, x, TS_EX_DIV, a, formula(k, x->kid[2])));
	}
	no_formula(k, x, "calls what has no formula");
}

/* An idx expression of a parameter's type. */
static uint32_t formula(Formulas *k, const TsTree *x)
{
	static const struct { int infix; TsExprKind kind; } map[] = { { TS_IN_ADD, TS_EX_ADD }, { TS_IN_SUB, TS_EX_SUB }, { TS_IN_MUL, TS_EX_MUL }, { TS_IN_FLOORDIV, TS_EX_DIV }, { TS_IN_MOD, TS_EX_MOD } };
	const TsTInfo *info = ts_tinfo(x);
	if (x->kind == TS_TREE_INT) return constant(k, x, x->i);
	if (info && info->known) return constant(k, x, info->value);
	if (x->kind == TS_TREE_NEG) return two(k, x, TS_EX_SUB, constant(k, x, 0), formula(k, x->kid[0]));
	if (x->kind == TS_TREE_CALL) return call(k, x);
	if (x->kind == TS_TREE_NAME && info && info->decl && info->decl->kind == TS_TREE_PARAM)
		return add(k, x, (TsPlanExpr){ .kind = TS_EX_NUM, .a = (uint32_t)ts_tinfo(info->decl)->value });
	for (size_t i = 0; x->kind == TS_TREE_BIN && i < sizeof map / sizeof *map; i++)
		if (x->sub == map[i].infix) return two(k, x, map[i].kind, formula(k, x->kid[0]), formula(k, x->kid[1]));
	no_formula(k, x, "has no formula");
}

/* ---- maps ---- */

static void add_map(Formulas *k, const TsTileMap *m)
{
	const TsTInfo *info = ts_tinfo(m->buffer);
	const TsTree *type = m->buffer->kid[0], *strides = ts_tile_strides(type);
	int rank = info->type.rank;
	uint32_t dims[TS_MAP_RANK], stride[TS_MAP_RANK], box[TS_MAP_RANK];
	if (rank < 1 || rank > TS_MAP_RANK) no_formula(k, m->buffer, "belongs to a tensor map of no valid rank");
	uint32_t weight = constant(k, type, 1);
	for (int i = rank; i-- > 0;) {
		dims[i] = formula(k, type->kid[i]);
		stride[i] = strides ? formula(k, strides->kid[i]) : weight;
		if (i && !strides) weight = two(k, type, TS_EX_MUL, weight, dims[i]);
		box[i] = (uint32_t)m->box[i];
	}
	ts_plan_add_map(k->w->b, (TsPlanMap){ .arg = (uint32_t)info->value, .dtype = ts_plan_dtype(info->type.elem), .rank = (uint32_t)rank, .swizzle = (uint32_t)m->swizzle }, dims, stride, box);
}

/* ---- kernels ---- */

/* Parameters of one form that a kernel has. */
static uint32_t params(const TsTree *kernel, TsTForm form)
{
	const TsTree *list = kernel->kid[0]->kid[0];
	uint32_t n = 0;
	for (uint32_t i = 0; i < list->n; i++) n += ts_tinfo(list->kid[i]) && ts_tinfo(list->kid[i])->type.form == form;
	return n;
}

/* A launch gives a kernel what it declares: the number of CTAs is a persistent one's last integer, which the runtime adds. */
static void check_launch(TsPlanWriter *w, const TsStep *st, const TsChoice *c)
{
	const TsTree *k = w->device->kernels[c->kernel];
	if (params(k, TS_TT_MEM) != st->ptr.n || params(k, TS_TT_IDX) != st->num.n + (c->per_sm > 0))
		ts_bug(w->m->cx, st->at, "plan: kernel '%s' takes other arguments than its launch has", w->s->kernels.p[c->kernel].name);
}

/* Is kernel `id` persistent? All choices that run it say the same. */
static bool persistent(TsPlanWriter *w, uint32_t id)
{
	int found = -1;
	for (uint32_t e = 0; e < w->s->entries.n; e++)
		for (uint32_t i = 0; i < w->s->entries.p[e].steps.n; i++) {
			const TsStep *st = &w->s->entries.p[e].steps.p[i];
			for (uint32_t c = 0; c < st->choices.n; c++) {
				int is = st->choices.p[c].per_sm > 0;
				if (st->choices.p[c].kernel != id) continue;
				check_launch(w, st, &st->choices.p[c]);
				if (found >= 0 && found != is) ts_bug(w->m->cx, st->at, "plan: kernel '%s' is persistent in one place only", w->s->kernels.p[id].name);
				found = is;
			}
		}
	return found > 0;
}

static void add_kernel(TsPlanWriter *w, uint32_t id)
{
	Formulas k = { .w = w, .kernel = w->device->kernels[id] };
	TsTileLaunch l;
	if (!ts_tile_launch(k.kernel, &l)) ts_bug(w->m->cx, k.kernel->at, "plan: kernel '%s' needs too many tensor maps", k.kernel->name);
	uint32_t first = ts_plan_next_map(w->b);
	for (uint32_t i = 0; i < l.n_maps; i++) add_map(&k, &l.map[i]);
	ts_plan_add_device_kernel(w->b, w->s->kernels.p[id].name, k.f, k.n, (TsPlanKernel){ .flags = persistent(w, id) ? TS_KERNEL_PERSISTENT : 0, .module = w->device->module[id],
		.threads = (uint32_t)l.threads, .cluster = (uint32_t)l.cluster, .shared_bytes = (uint32_t)l.shared_bytes, .map = first });
}

void ts_plan_device_kernels(TsPlanWriter *w)
{
	for (uint32_t i = 0; i < w->device->n_modules; i++) ts_plan_add_module(w->b, ts_printf(w->a, "m%u", i), w->device->modules[i]);
	for (uint32_t i = 0; i < w->s->kernels.n; i++) add_kernel(w, i);
}
