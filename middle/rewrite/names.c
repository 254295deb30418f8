/* Names after rewriting. Steps of a value y are y.1, y.2, ... in text order; what rules made without a name becomes a step of the next
 * named value; a value moved out of a loop onto a name already taken there becomes a step of that name. */
#include "match.h"
#include <ctype.h>
#include <string.h>

typedef struct { TsRw *rw; TsMap taken; TS_VEC(TsVal) vals; } Names;

TsSym ts_rw_name_base(TsCtx *cx, TsSym name)
{
	const char *dot = name ? strrchr(name, '.') : NULL;
	if (!dot || dot == name || !dot[1] || dot[1 + strspn(dot + 1, "0123456789")]) return name;
	return ts_intern_n(cx, name, (size_t)(dot - name));
}

static bool is_free(Names *s, TsSym name)
{
	uintptr_t *v = ts_map_find(&s->taken, name);
	return !v || !*v;
}

static TsSym step_name(Names *s, TsMap *next, TsSym base)
{
	uintptr_t *n = ts_map_put(s->rw->a, next, base, NULL);
	for (;;) {
		TsSym name = ts_intern_fmt(s->rw->cx, "%s.%llu", base, (unsigned long long)++*n);
		if (is_free(s, name)) return name;
	}
}

/* Values that need a name, in text order. */
static uint32_t collect(Names *s, const TsBlock *b)
{
	uint32_t first = s->vals.n;
	for (uint32_t i = 0; i < b->args.n; i++) ts_push(s->rw->a, &s->vals, b->args.p[i]);
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		const TsNode *n = b->nodes.p[i];
		bool leaf = n->op == TS_OP_weight || n->op == TS_OP_const || n->op == TS_OP_dim;
		for (uint32_t k = 0; k < n->nout; k++)
			if (!leaf || ts_val(s->rw->g, n->out[k])->name) ts_push(s->rw->a, &s->vals, n->out[k]);
	}
	return first;
}

static void name_block(Names *s, const TsBlock *b)
{
	TsGraph *g = s->rw->g;
	TsMap next = { 0 };
	uint32_t first = collect(s, b), last = s->vals.n;
	uint8_t *step = ts_alloc(s->rw->a, last - first + 1);
	TsSym base = g->result_names.n ? g->result_names.p[0] : ts_intern(s->rw->cx, "t");
	for (uint32_t i = last; i-- > first;) {
		TsValue *v = ts_val(g, s->vals.p[i]);
		TsSym own = ts_rw_name_base(s->rw->cx, v->name);
		bool fixed = v->def && v->def->op == TS_OP_param;
		if (own) base = own;
		step[i - first] = !fixed && own != v->name;
		if (!v->name) v->name = base, step[i - first] = 1;
	}
	for (uint32_t i = first; i < last; i++) {
		TsValue *v = ts_val(g, s->vals.p[i]);
		if (!step[i - first] && !is_free(s, v->name)) step[i - first] = 1;
		if (!step[i - first]) *ts_map_put(s->rw->a, &s->taken, v->name, NULL) = 1;
	}
	for (uint32_t i = first; i < last; i++) {
		TsValue *v = ts_val(g, s->vals.p[i]);
		if (!step[i - first]) continue;
		v->name = step_name(s, &next, ts_rw_name_base(s->rw->cx, v->name));
		*ts_map_put(s->rw->a, &s->taken, v->name, NULL) = 1;
	}
	for (uint32_t i = 0; i < b->nodes.n; i++)
		if (b->nodes.p[i]->op == TS_OP_for) name_block(s, &b->nodes.p[i]->loop->body);
	for (uint32_t i = first; i < last; i++) *ts_map_put(s->rw->a, &s->taken, ts_val(g, s->vals.p[i])->name, NULL) = 0;
	s->vals.n = first;
}

void ts_rw_names(TsRw *rw)
{
	Names s = { .rw = rw };
	name_block(&s, &rw->g->body);
}
