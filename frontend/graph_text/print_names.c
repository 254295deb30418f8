#include "frontend/graph_text/print_names.h"
#include "ir/tree.h"
#include <string.h>

static bool is_literal(const TsNode *n) { return n->op == TS_OP_const || n->op == TS_OP_dim; }

/* y.12 -> y; a name without number is its own base. */
static TsSym base_of(TsCtx *cx, TsSym name)
{
	const char *dot = name ? strrchr(name, '.') : NULL;
	if (!dot || dot == name || !dot[1] || dot[1 + strspn(dot + 1, "0123456789")]) return name;
	return base_of(cx, ts_intern_n(cx, name, (size_t)(dot - name)));
}

/* ---- which literals need a line ---- */

/* A size in value place is read as one anywhere; a number is not. */
static bool is_size(const TsNames *s, const TsNode *d)
{
	int64_t v;
	return d->op == TS_OP_dim && !ts_dim_is_const(s->m->dims, d->dim, &v);
}

/* All operands from `from` on are literals: then they are read as f32, int64 or bool. */
static bool typed_by_default(const TsNames *s, const TsNode *n, uint32_t from, TsDtype own)
{
	for (uint32_t k = from; k < n->nin; k++) {
		const TsValue *v = n->in[k] ? ts_val(s->g, n->in[k]) : NULL;
		if (!v || v->def->op != TS_OP_const || v->type.elem != own || v->type.rank) return false;
	}
	return own == TS_F32 || own == TS_INT64 || own == TS_BOOL;
}

bool ts_names_in_place(const TsNames *s, const TsNode *n, uint32_t i)
{
	const TsOpInfo *info = ts_op_info(s->m->cx, n->op);
	const TsValue *lit = ts_val(s->g, n->in[i]);
	uint32_t from = n->op == TS_OP_where ? 1 : 0;
	if (!lit->def || !is_literal(lit->def)) return false;
	if (n->op == TS_OP_kernel) return !lit->type.rank; /* the parameter's type decides */
	if (is_size(s, lit->def)) return true;
	if (n->op == TS_OP_for) return !lit->type.rank && (lit->type.elem == TS_F32 || lit->type.elem == TS_INT64 || lit->type.elem == TS_BOOL); /* each by itself */
	if (lit->type.rank || (info->cls != TS_CLS_POINTWISE && n->op != TS_OP_matmul && !info->variadic)) return false;
	if (i < from) return lit->type.elem == TS_BOOL;
	for (uint32_t k = from; k < n->nin; k++) {
		const TsValue *v = n->in[k] ? ts_val(s->g, n->in[k]) : NULL;
		if (v && !(v->def && is_literal(v->def))) return v->type.elem == lit->type.elem; /* the first that has a type decides */
	}
	return typed_by_default(s, n, from, lit->type.elem);
}

static void needs_line(TsNames *s, TsVal v)
{
	const TsNode *d = v ? ts_val(s->g, v)->def : NULL;
	if (d && is_literal(d)) s->line[v] = true;
}

static void find_lines(TsNames *s, const TsBlock *b)
{
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		const TsNode *n = b->nodes.p[i];
		for (uint32_t k = 0; k < n->nin; k++)
			if (n->in[k] && !ts_names_in_place(s, n, k)) needs_line(s, n->in[k]);
		if (n->op != TS_OP_for) continue;
		find_lines(s, &n->loop->body);
		for (uint32_t k = 0; k < n->loop->body.results.n; k++) needs_line(s, n->loop->body.results.p[k]);
	}
}

/* ---- names ---- */

static bool is_free(const TsNames *s, TsSym name)
{
	uintptr_t *v = ts_map_find(&s->taken, name);
	return !v || !*v;
}

static void take(TsNames *s, TsSym name, bool is) { *ts_map_put(s->m->arena, &s->taken, name, NULL) = is; }

static uint32_t collect(TsNames *s, const TsBlock *b)
{
	uint32_t first = s->vals.n;
	for (uint32_t i = 0; i < b->args.n; i++) ts_push(s->m->arena, &s->vals, b->args.p[i]);
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		const TsNode *n = b->nodes.p[i];
		if (n->op == TS_OP_param || n->op == TS_OP_weight) continue;
		for (uint32_t k = 0; k < n->nout; k++)
			if (!is_literal(n) || s->line[n->out[k]]) ts_push(s->m->arena, &s->vals, n->out[k]);
	}
	return first;
}

static void name_block(TsNames *s, const TsBlock *b, TsSym fallback)
{
	TsCtx *cx = s->m->cx;
	TsMap next = { 0 };
	uint32_t first = collect(s, b), last = s->vals.n;
	TsSym *base = TS_NEW_N(s->m->arena, TsSym, last - first + 1), down = fallback;
	for (uint32_t i = last; i-- > first;) {
		TsVal v = s->vals.p[i];
		TsSym written = s->name[v] ? s->name[v] : ts_val(s->g, v)->name;
		base[i - first] = down = written ? base_of(cx, written) : down;
	}
	for (uint32_t i = first; i < last; i++) { /* written names that are free; steps are counted anew */
		TsVal v = s->vals.p[i];
		TsSym written = ts_val(s->g, v)->name;
		if (s->name[v] || !written || written != base[i - first] || !strcmp(written, "_") || !is_free(s, written)) continue;
		s->name[v] = written;
		take(s, written, true);
	}
	for (uint32_t i = first; i < last; i++) {
		TsVal v = s->vals.p[i];
		if (s->name[v]) continue;
		uintptr_t *n = ts_map_put(s->m->arena, &next, base[i - first], NULL);
		do s->name[v] = ts_intern_fmt(cx, "%s.%llu", base[i - first], (unsigned long long)++*n);
		while (!is_free(s, s->name[v]));
		take(s, s->name[v], true);
	}
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		const TsNode *n = b->nodes.p[i];
		if (n->op == TS_OP_for) name_block(s, &n->loop->body, n->nout ? base_of(cx, s->name[n->out[0]]) : fallback);
	}
	for (uint32_t i = first; i < last; i++) take(s, s->name[s->vals.p[i]], false);
	s->vals.n = first;
}

static void reserve_loop_vars(TsNames *s, const TsBlock *b)
{
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		if (b->nodes.p[i]->op == TS_OP_kernel) take(s, b->nodes.p[i]->kernel->item->name, true);
		if (b->nodes.p[i]->op != TS_OP_for) continue;
		take(s, b->nodes.p[i]->loop->var, true);
		reserve_loop_vars(s, &b->nodes.p[i]->loop->body);
	}
}

/* A result that some operator of the body makes has the result's name, once; others are named at the end of the text. */
static void name_results(TsNames *s)
{
	for (uint32_t i = 0; i < s->g->result_names.n; i++) {
		TsVal v = s->g->body.results.p[i];
		const TsNode *d = ts_val(s->g, v)->def;
		bool leaf = !d || d->op == TS_OP_param || d->op == TS_OP_weight || is_literal(d);
		take(s, s->g->result_names.p[i], true);
		if (!leaf && !s->name[v]) s->name[v] = s->g->result_names.p[i];
	}
}

bool ts_names_mention(TsSym pattern, TsSym var)
{
	static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
	bool inside = false;
	for (const char *p = pattern; *p; p++) {
		if (!inside && p[0] == '{' && p[1] == '{') { p++; continue; }
		if (*p == '{' || *p == '}') inside = *p == '{';
		size_t n = inside ? strspn(p, word) : 0;
		if (n && n == strlen(var) && !memcmp(p, var, n)) return true;
		if (n) p += n - 1;
	}
	return false;
}

void ts_names_make(TsModule *m, TsGraph *g, TsNames *out)
{
	*out = (TsNames){ .m = m, .g = g };
	out->name = TS_NEW_N(m->arena, TsSym, g->vals.n + 1);
	out->line = TS_NEW_N(m->arena, bool, g->vals.n + 1);
	for (uint32_t i = 0; i < ts_dim_symbol_count(m->dims); i++) take(out, ts_dim_symbol_info(m->dims, i)->name, true);
	for (uint32_t i = 0; i < m->weights.n; i++) take(out, m->weights.p[i].name, true);
	for (uint32_t i = 0; i < m->graphs.n; i++) take(out, m->graphs.p[i]->name, true);
	reserve_loop_vars(out, &g->body);
	for (uint32_t i = 0; i < g->params.n; i++) {
		out->name[g->params.p[i]] = ts_val(g, g->params.p[i])->name;
		take(out, out->name[g->params.p[i]], true);
	}
	name_results(out);
	find_lines(out, &g->body);
	name_block(out, &g->body, g->result_names.n ? g->result_names.p[0] : ts_intern(m->cx, "t"));
}
