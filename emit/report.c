/* The page of `tsc explain --html`: emit/report.html with the plan's facts for given sizes as JSON in its middle. All drawing is the page's, which
 * takes names as text and never as markup; here `<` is written as an escape, so that no name ends the script that holds it. */
#include "emit/explain.h"
#include <inttypes.h>
#include <string.h>

extern const char ts_report_begin[], ts_report_end[];
static const char mark[] = "@DATA@";
enum { MOST_STEPS = 5000 };

typedef struct { TsCtx *cx; const TsPlanHeader *p; TsExplain *x; TsBuf *to; int64_t turns; uint32_t written; } Page;

/* ---- JSON ---- */

/* Bytes of the UTF-8 character at s, 0 where there is none. */
static int character(const unsigned char *s)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	int n = *s < 0x80 ? 1 : *s >= 0xc2 && *s < 0xe0 ? 2 : *s >= 0xe0 && *s < 0xf0 ? 3 : *s >= 0xf0 && *s < 0xf5 ? 4 : 0;
	uint32_t c = n == 1 ? *s : n ? *s & (0xffu >> (n + 1)) : 0;
	for (int i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80) return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	return n > 1 && (c < least[n] || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff) ? 0 : n;
}

static void text(Page *g, const char *s)
{
	ts_buf_char(g->to, '"');
	for (const unsigned char *c = (const unsigned char *)s; *c;) {
		int n = character(c);
		if (!n) ts_buf_str(g->to, "\\ufffd");
		else if (n == 1 && (*c < 32 || *c == 127 || strchr("\"\\<>&'", *c))) ts_buf_fmt(g->to, "\\u%04x", *c);
		else ts_buf_add(g->to, c, (size_t)n);
		c += n ? n : 1;
	}
	ts_buf_char(g->to, '"');
}

static void key(Page *g, const char *name) { ts_buf_fmt(g->to, ",\"%s\":", name); }
static void string(Page *g, const char *name, uint32_t s)
{
	key(g, name);
	text(g, ts_plan_str(g->p, s));
}
static void number(Page *g, const char *name, int64_t v) { ts_buf_fmt(g->to, ",\"%s\":%" PRId64, name, v); }

/* An expression's value, or null. */
static void value(Page *g, const char *name, uint32_t expr)
{
	int64_t v;
	if (ts_explain_value(g->x, expr, &v)) number(g, name, v);
	else ts_buf_fmt(g->to, ",\"%s\":null", name);
}

static void formula(Page *g, const char *name, uint32_t expr)
{
	TsBuf b = { 0 };
	if (expr != TS_NONE) ts_plan_expr_text(g->p, expr, &b);
	key(g, name);
	text(g, b.p ? b.p : "");
	ts_buf_free(&b);
}

/* ---- parts ---- */

static void tensors(Page *g, const char *name, uint32_t first, uint32_t n)
{
	const TsPlanTensor *t = TS_PLAN_TABLE(g->p, TsPlanTensor, tensors) + first;
	key(g, name);
	ts_buf_char(g->to, '[');
	for (uint32_t i = 0; i < n; i++) {
		ts_buf_fmt(g->to, "%s{\"type\":\"%s\"", i ? "," : "", ts_plan_type_text(t[i].dtype));
		string(g, "name", t[i].name);
		ts_buf_str(g->to, ",\"dims\":[");
		for (uint32_t k = 0; k < t[i].rank; k++) {
			int64_t v = 0;
			bool known = ts_explain_value(g->x, TS_PLAN_TABLE(g->p, uint32_t, words)[t[i].dims + k], &v);
			ts_buf_fmt(g->to, known ? "%s%" PRId64 : "%snull", k ? "," : "", v);
		}
		ts_buf_str(g->to, "]}");
	}
	ts_buf_char(g->to, ']');
}

static void variant(Page *g, const TsPlanChoice *c)
{
	const TsPlanKernel *k = TS_PLAN_TABLE(g->p, TsPlanKernel, kernels) + c->kernel;
	ts_buf_str(g->to, "{\"id\":0");
	string(g, "label", c->label);
	string(g, "kernel", k->name);
	formula(g, "guard", c->guard);
	formula(g, "grid", c->cells);
	value(g, "cells", c->cells);
	if (c->scratch != TS_NONE) value(g, "scratch", c->scratch);
	number(g, "per_sm", c->per_sm);
	number(g, "threads", k->threads);
	number(g, "cluster", k->cluster);
	number(g, "shared", k->shared_bytes);
	ts_buf_fmt(g->to, ",\"tile\":[%u,%u,%u]}", c->tile[0], c->tile[1], c->tile[2]);
}

static void launch(Page *g, const TsPlanStep *s)
{
	static const char *const names[] = { "flops", "read", "written" };
	const TsPlanChoice *c = TS_PLAN_TABLE(g->p, TsPlanChoice, choices) + s->choice;
	int64_t chosen = -1;
	string(g, "name", s->name);
	string(g, "values", s->values);
	string(g, "text", s->text);
	string(g, "operands", s->operands);
	for (uint32_t i = 0; i < 3; i++)
		if (s->n_cost) value(g, names[i], TS_PLAN_TABLE(g->p, uint32_t, words)[s->cost + i]);
	ts_buf_str(g->to, ",\"variants\":[");
	for (uint32_t i = 0; i < s->n_choices; i++) {
		int64_t holds = 0;
		if (i) ts_buf_char(g->to, ',');
		variant(g, &c[i]);
		if (chosen < 0 && ts_explain_value(g->x, c[i].guard, &holds) && holds) chosen = i;
	}
	ts_buf_char(g->to, ']');
	number(g, "chosen", chosen);
}

/* Steps [i, end), each once; a loop's by its first turn. */
static void steps(Page *g, uint32_t i, uint32_t end, int depth)
{
	const TsPlanStep *st = TS_PLAN_TABLE(g->p, TsPlanStep, steps);
	for (; i < end && g->written < MOST_STEPS; i++) {
		ts_buf_fmt(g->to, "%s{\"at\":%u", g->written++ ? ",\n" : "", i);
		number(g, "depth", depth);
		number(g, "turns", g->turns);
		if (st[i].kind == TS_STEP_LAUNCH) {
			launch(g, &st[i]);
			ts_buf_char(g->to, '}');
			continue;
		}
		int64_t lo = 0, hi = 0, outer = g->turns;
		ts_explain_value(g->x, st[i].lo, &lo);
		ts_explain_value(g->x, st[i].hi, &hi);
		number(g, "loop", hi > lo ? hi - lo : 0);
		number(g, "end", st[i].match);
		ts_buf_char(g->to, '}');
		ts_explain_turn(g->x, st[i].var, &lo);
		if (hi < lo || __builtin_mul_overflow(outer, hi - lo, &g->turns)) g->turns = 0;
		steps(g, i + 1, st[i].match, depth + 1);
		g->turns = outer;
		ts_explain_turn(g->x, st[i].var, NULL);
		i = st[i].match;
	}
}

static void buffers(Page *g, const TsPlanEntry *en)
{
	const TsPlanBuffer *b = TS_PLAN_TABLE(g->p, TsPlanBuffer, buffers) + en->buffer;
	ts_buf_str(g->to, ",\"buffers\":[");
	for (uint32_t i = 0; i < en->n_buffers && i < MOST_STEPS; i++) {
		ts_buf_fmt(g->to, "%s{\"first\":%u,\"last\":%u", i ? "," : "", b[i].first, b[i].last);
		string(g, "name", b[i].name);
		value(g, "offset", b[i].offset);
		value(g, "bytes", b[i].bytes);
		ts_buf_char(g->to, '}');
	}
	ts_buf_char(g->to, ']');
}

static void head(Page *g, const TsPlanEntry *en, const int64_t *dims)
{
	const TsPlanDim *d = TS_PLAN_TABLE(g->p, TsPlanDim, dims);
	ts_buf_str(g->to, "{\"version\":1");
	string(g, "model", g->p->model);
	string(g, "producer", g->p->producer);
	string(g, "target", g->p->target);
	string(g, "graph", en->name);
	string(g, "doc", en->doc);
	formula(g, "workspace_formula", en->workspace);
	value(g, "workspace", en->workspace);
	number(g, "weights", (int64_t)(ts_plan_is_cpu(g->p) ? g->p->weight_bytes + g->p->external_bytes : g->p->device_bytes));
	number(g, "step", en->step);
	number(g, "steps", en->n_steps);
	ts_buf_str(g->to, ",\"dims\":[");
	for (uint32_t i = 0, any = 0; i < g->p->dims.n; i++) {
		if (dims[i] < 0) continue;
		ts_buf_fmt(g->to, "%s{\"size\":%" PRId64, any++ ? "," : "", dims[i]);
		string(g, "name", d[i].name);
		ts_buf_char(g->to, '}');
	}
	ts_buf_char(g->to, ']');
	tensors(g, "inputs", en->tensor, en->n_inputs);
	tensors(g, "outputs", en->tensor + en->n_inputs, en->n_outputs);
}

/* Every dim that the entry uses has a size. */
static bool dims_given(TsCtx *cx, const TsPlanHeader *p, const TsPlanEntry *en, const int64_t *dims)
{
	const TsPlanBind *b = TS_PLAN_TABLE(p, TsPlanBind, binds) + en->bind;
	for (uint32_t i = 0; i < en->n_binds; i++)
		if (dims[b[i].dim] < 0) {
			ts_error(cx, (TsSpan){ 0 }, "E_NO_DIM", "dim %s of graph '%s' is not given", ts_plan_str(p, TS_PLAN_TABLE(p, TsPlanDim, dims)[b[i].dim].name), ts_plan_str(p, en->name));
			ts_hint(cx, "give its size: --dims %s=1", ts_plan_str(p, TS_PLAN_TABLE(p, TsPlanDim, dims)[b[i].dim].name));
			return false;
		}
	return true;
}

bool ts_explain_page(TsCtx *cx, const TsPlanHeader *p, uint32_t entry, const int64_t *dims, TsBuf *to)
{
	const TsPlanEntry *en = TS_PLAN_TABLE(p, TsPlanEntry, entries) + entry;
	Page g = { .cx = cx, .p = p, .to = to, .turns = 1 };
	const char *at = strstr(ts_report_begin, mark);
	if (!dims_given(cx, p, en, dims) || !(g.x = ts_explain_new(cx, p, dims))) return false;
	if (!at) ts_bug(cx, (TsSpan){ 0 }, "the page has no place for its data");
	ts_buf_add(to, ts_report_begin, (size_t)(at - ts_report_begin));
	head(&g, en, dims);
	ts_buf_str(to, ",\"list\":[\n");
	steps(&g, en->step, en->step + en->n_steps, 0);
	ts_buf_char(to, ']');
	buffers(&g, en);
	ts_buf_char(to, '}');
	at += sizeof mark - 1;
	ts_buf_add(to, at, (size_t)(ts_report_end - at));
	return true;
}
