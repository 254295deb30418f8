/* What a plan does for given sizes, without its device: its expressions are evaluated as the runtime does it. */
#include "emit/explain.h"
#include "rtlib/expr.c"
#include <inttypes.h>

enum { MOST_LINES = 100000 };
typedef struct TsExplain { TsCtx *cx; const TsPlanHeader *p; TsEval v; FILE *to; uint32_t lines; } Explain;

static bool value(Explain *x, uint32_t e, const char *step, const char *what, int64_t *out)
{
	if (ts_explain_value(x, e, out)) return true;
	ts_error(x->cx, (TsSpan){ 0 }, "E_NO_DIM", "%s: %s depends on a dim that --dims does not give, or is beyond 2^63", step, what);
	return false;
}

/* what `prepare` would refuse; the walk goes on */
static void refuse(Explain *x, const char *step, const char *why)
{
	const TsPlanDim *d = TS_PLAN_TABLE(x->p, TsPlanDim, dims);
	TsBuf b = { 0 };
	for (uint32_t i = 0; i < x->p->dims.n; i++)
		if (x->v.dims[i] >= 0) ts_buf_fmt(&b, "%s%s = %" PRId64, b.n ? ", " : " for ", ts_plan_str(x->p, d[i].name), x->v.dims[i]);
	ts_error(x->cx, (TsSpan){ 0 }, "E_SIZE", "step '%s': %s%s", step, why, b.n ? b.p : "");
	ts_buf_free(&b);
}

static bool launch(Explain *x, const TsPlanStep *st)
{
	const TsPlanHeader *p = x->p;
	const TsPlanChoice *c = TS_PLAN_TABLE(p, TsPlanChoice, choices) + st->choice;
	const char *step = ts_plan_str(p, st->name);
	int64_t holds, cells;
	for (uint32_t i = 0; i < st->n_choices; i++, c++) {
		if (!value(x, c->guard, step, "a guard", &holds)) return false;
		if (!holds) continue;
		if (!value(x, c->cells, step, "the number of cells", &cells)) return false;
		const TsPlanKernel *k = TS_PLAN_TABLE(p, TsPlanKernel, kernels) + c->kernel;
		const char *label = ts_plan_str(p, c->label);
		fprintf(x->to, "%s: %s%s, kernel %s, %" PRId64 " cells", step, *label ? "variant " : "one variant", label, ts_plan_str(p, k->name), cells);
		if (c->per_sm) fprintf(x->to, " by %u CTA%s for each multiprocessor", c->per_sm, c->per_sm > 1 ? "s" : "");
		if (k->cluster > 1) fprintf(x->to, ", clusters of %u", k->cluster);
		fprintf(x->to, ", %u threads", k->threads);
		if (k->shared_bytes) fprintf(x->to, ", %u bytes shared", k->shared_bytes);
		fputc('\n', x->to);
		if (k->cluster && cells > INT32_MAX / (int64_t)k->cluster) refuse(x, step, ts_printf(ts_arena(x->cx), "its grid is %" PRId64 ", a GPU's has at most %d cells,", cells, INT32_MAX));
		return ++x->lines < MOST_LINES;
	}
	if (!(st->flags & TS_STEP_OPTIONAL)) {
		const char *last = st->n_choices ? ts_plan_str(p, c[-1].label) : "";
		refuse(x, step, *last ? ts_printf(ts_arena(x->cx), "no variant but '%s'", last) : "no variant");
	}
	fprintf(x->to, "%s: %s\n", step, st->flags & TS_STEP_OPTIONAL ? "not run" : "no variant serves these sizes");
	return ++x->lines < MOST_LINES;
}

/* steps [i, end) */
static bool steps(Explain *x, uint32_t i, uint32_t end)
{
	const TsPlanStep *st = TS_PLAN_TABLE(x->p, TsPlanStep, steps);
	for (; i < end; i++) {
		int64_t lo, hi;
		if (st[i].kind == TS_STEP_LAUNCH) {
			if (!launch(x, &st[i])) return false;
			continue;
		}
		if (!value(x, st[i].lo, "a loop", "its first turn", &lo) || !value(x, st[i].hi, "a loop", "its last turn", &hi)) return false;
		for (int64_t turn = lo; turn < hi && st[i].match > i + 1; turn++) {
			ts_explain_turn(x, st[i].var, &turn);
			if (!steps(x, i + 1, st[i].match)) return false;
		}
		ts_explain_turn(x, st[i].var, NULL);
		i = st[i].match;
	}
	return true;
}

static bool dims_fit(TsCtx *cx, const TsPlanHeader *p, const int64_t *dims)
{
	const TsPlanDim *d = TS_PLAN_TABLE(p, TsPlanDim, dims);
	for (uint32_t i = 0; i < p->dims.n; i++)
		if (dims[i] >= 0 && (dims[i] < d[i].min || (d[i].max && dims[i] > d[i].max) || dims[i] % d[i].multiple_of)) {
			ts_error(cx, (TsSpan){ 0 }, "E_SIZE", "%s cannot be %" PRId64, ts_plan_str(p, d[i].name), dims[i]);
			return false;
		}
	return true;
}

Explain *ts_explain_new(TsCtx *cx, const TsPlanHeader *p, const int64_t *dims)
{
	TsArena *a = ts_arena(cx);
	Explain *x = TS_NEW(a, Explain);
	*x = (Explain){ .cx = cx, .p = p, .v = { .ex = TS_PLAN_TABLE(p, TsPlanExpr, exprs), .n = p->exprs.n, .dims = dims, .value = TS_NEW_N(a, int64_t, p->exprs.n + 1),
		.ok = TS_NEW_N(a, uint8_t, p->exprs.n + 1), .deps = TS_NEW_N(a, uint8_t, p->exprs.n + 1) } };
	if (!dims_fit(cx, p, dims)) return NULL;
	ts_eval_deps(&x->v);
	ts_eval_dims(&x->v);
	return x;
}

bool ts_explain_value(const Explain *x, uint32_t expr, int64_t *out)
{
	*out = expr == TS_NONE ? 1 : x->v.value[expr];
	return expr == TS_NONE || x->v.ok[expr];
}

void ts_explain_turn(Explain *x, uint32_t var, const int64_t *turn)
{
	x->v.set = turn ? x->v.set | 1u << var : x->v.set & ~(1u << var);
	x->v.loop[var] = turn ? *turn : 0;
	ts_eval_loop(&x->v, var);
}

bool ts_explain_plan(TsCtx *cx, const TsPlanHeader *p, uint32_t entry, const int64_t *dims, FILE *to)
{
	const TsPlanEntry *en = TS_PLAN_TABLE(p, TsPlanEntry, entries) + entry;
	Explain *x = ts_explain_new(cx, p, dims);
	int64_t bytes;
	if (!x) return false;
	x->to = to;
	if (!steps(x, en->step, en->step + en->n_steps)) {
		if (x->lines >= MOST_LINES) fprintf(to, "and more launches\n");
		return x->lines >= MOST_LINES;
	}
	if (!value(x, en->workspace, "the workspace", "its size", &bytes)) return false;
	fprintf(to, "workspace: %" PRId64 " bytes on %s; weights: %" PRIu64 " bytes\n", bytes, ts_plan_str(p, p->target), p->device_bytes);
	return true;
}
