/* The tree of a module's canonical text is built here and printed by print.c. */
#include "frontend/graph_text/print_graph.h"
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/print_names.h"
#include "frontend/graph_text/print.h"
#include "ir/tree.h"
#include "ir/weights.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
	TsModule *m;
	TsCtx *cx;
	TsArena *a;
	TsGraph *g;
	TsNames names;       /* of g */
	uint8_t *used_sym;   /* symbols that the text mentions */
	TsMap *used_weight;  /* per set: name -> TsTensorInfo * */
	TS_VEC(const TsFor *) loops;
	const TsGroups *groups; /* of g, or NULL */
	uint32_t at;            /* groups that are in the text */
	TS_VEC(const TsTree *) kernels, defs; /* of the user's, that are called; consts and defined sizes that they name */
} Printer;

static TsTree *tree(Printer *p, TsTreeKind k) { return ts_tree(p->cx, k, (TsSpan){ 0 }, 0); }
static TsTree *name_tree(Printer *p, TsSym s) { return ts_tree_name(p->cx, (TsSpan){ 0 }, s); }
static TsTree *int_tree(Printer *p, int64_t v) { return ts_tree_int(p->cx, (TsSpan){ 0 }, v); }
static TsTree *str_tree(Printer *p, TsSym s) { return ts_tree_str(p->cx, (TsSpan){ 0 }, s); }

/* ---- sizes and types ---- */

static uint32_t mark_leaf(void *user, TsDimKind k, int64_t v)
{
	if (k == TS_DX_SYMBOL) ((uint8_t *)user)[v] = 1;
	return 0;
}

static uint32_t mark_node(void *user, TsDimKind k, uint32_t a, uint32_t b) { (void)user; (void)k; (void)a; (void)b; return 0; }

/* A size as its printed text, read back: an expression with the printer's own brackets. */
static TsTree *size_tree(Printer *p, TsDim d)
{
	int64_t v;
	if (ts_dim_is_const(p->m->dims, d, &v)) return int_tree(p, v);
	TsDimVisitor mark = { p->used_sym, mark_leaf, mark_node };
	ts_dim_visit(p->m->dims, d, &mark);
	TsBuf b = { 0 };
	ts_dim_print(p->m->dims, d, &b);
	TsTree *t = ts_parse_expr(p->cx, 0, b.p, b.n, 0);
	if (!t) ts_bug(p->cx, (TsSpan){ 0 }, "printing a graph: the size %s cannot be read back", b.p);
	ts_buf_free(&b);
	return t;
}

static TsTree *type_tree(Printer *p, const TsType *ty)
{
	TsTree *t = tree(p, TS_TREE_TYPE);
	t->i = ty->elem;
	t->sub = ty->accum == TS_DTYPE_NONE ? 0 : 1 + (int32_t)ty->accum;
	for (int i = 0; i < ty->rank; i++) ts_tree_add(p->cx, t, size_tree(p, ty->dim[i]));
	return t;
}

/* ---- literals ---- */

static TsTree *float_tree(Printer *p, TsDtype t, double x)
{
	if (isnan(x)) return tree(p, TS_TREE_NAN);
	if (isinf(x)) {
		TsTree *inf = tree(p, TS_TREE_INF);
		return x > 0 ? inf : ts_tree(p->cx, TS_TREE_NEG, (TsSpan){ 0 }, 1, inf);
	}
	double shown = x;
	for (int digits = 1; digits < 17 && t != TS_F64; digits++) { /* the shortest decimal that reads back to the same element */
		shown = strtod(ts_printf(p->a, "%.*g", digits, x), NULL);
		if (ts_dtype_round(t, shown) == x) break;
		shown = x;
	}
	return ts_tree_float(p->cx, (TsSpan){ 0 }, shown);
}

static TsTree *elem_tree(Printer *p, TsDtype t, const void *data, int64_t i)
{
	if (ts_dtype_is_float(t)) return float_tree(p, t, ts_elem_get(t, data, i));
	int64_t v = ts_elem_get_int(t, data, i);
	return t == TS_BOOL ? tree(p, v ? TS_TREE_TRUE : TS_TREE_FALSE) : int_tree(p, v);
}

static TsTree *list_tree(Printer *p, const TsType *ty, const void *data, int axis, int64_t *at)
{
	int64_t n = 0;
	if (axis == ty->rank) return elem_tree(p, ty->elem, data, (*at)++);
	TsTree *t = tree(p, TS_TREE_LIST);
	ts_dim_is_const(p->m->dims, ty->dim[axis], &n);
	for (int64_t i = 0; i < n; i++) ts_tree_add(p->cx, t, list_tree(p, ty, data, axis + 1, at));
	return t;
}

static TsTree *const_tree(Printer *p, const TsNode *n)
{
	int64_t at = 0;
	if (n->op == TS_OP_dim) return size_tree(p, n->dim);
	return list_tree(p, &ts_val(p->g, n->out[0])->type, n->data, 0, &at);
}

/* ---- operands ---- */

/* Each tensor that a weight node stands for, through all iterations of the loops it lies in. */
static void use_weight(Printer *p, const TsNode *n)
{
	const TsWeights *w = &p->m->weights.p[n->weights];
	TsSym *vars = TS_NEW_N(p->a, TsSym, p->loops.n + 1);
	int64_t *vals = TS_NEW_N(p->a, int64_t, p->loops.n + 1);
	const TsFor **loop = TS_NEW_N(p->a, const TsFor *, p->loops.n + 1);
	uint32_t k = 0;
	for (uint32_t i = 0; i < p->loops.n; i++) {
		const TsFor *f = p->loops.p[i];
		if (!ts_names_mention(n->name, f->var)) continue;
		if (f->hi <= f->lo) return;
		loop[k] = f;
		vars[k] = f->var;
		vals[k++] = f->lo;
	}
	for (;;) {
		TsSym name = ts_weight_name(p->cx, n->name, k, vars, vals);
		const TsTensorInfo *t = name ? ts_weights_find(w, name) : NULL;
		if (t) ts_map_set(p->a, &p->used_weight[n->weights], name, t);
		uint32_t i = 0;
		for (; i < k; i++) {
			if ((vals[i] += loop[i]->step) < loop[i]->hi) break;
			vals[i] = loop[i]->lo;
		}
		if (i == k) return;
	}
}

static TsTree *atom(Printer *p, TsVal v)
{
	const TsNode *n = ts_val(p->g, v)->def;
	TsSym name = ts_names_of(&p->names, v);
	if (name) return name_tree(p, name);
	if (n->op == TS_OP_weight) {
		TsTree *t = ts_tree(p->cx, TS_TREE_WNAME, (TsSpan){ 0 }, 1, name_tree(p, p->m->weights.p[n->weights].name));
		t->name = n->name;
		return t;
	}
	return const_tree(p, n);
}

static TsTree *operand(Printer *p, const TsNode *n, uint32_t i)
{
	return ts_names_in_place(&p->names, n, i) ? const_tree(p, ts_val(p->g, n->in[i])->def) : atom(p, n->in[i]);
}

/* ---- attributes ---- */

static bool is_default(Printer *p, const TsAttrInfo *info, const TsAttr *a)
{
	int64_t v;
	if (a->none || info->none_default || info->required) return a->none && info->none_default;
	switch (info->kind) {
	case TS_A_INT: case TS_A_BOOL: return a->i == (int64_t)info->num;
	case TS_A_FLOAT: return a->f == info->num && signbit(a->f) == signbit(info->num);
	case TS_A_ENUM: return !strcmp(a->s, info->text);
	case TS_A_DTYPE: return a->t == (TsDtype)info->num;
	case TS_A_INTS: return a->n == 1 && a->ints[0] == (int64_t)info->num;
	case TS_A_DIM: case TS_A_DIMS: return a->n == 1 && ts_dim_is_const(p->m->dims, a->dims[0], &v) && v == (int64_t)info->num;
	}
	return false;
}

static TsTree *attr_tree(Printer *p, const TsAttrInfo *info, const TsAttr *a)
{
	TsTree *t;
	if (a->none) return tree(p, TS_TREE_NONE);
	switch (info->kind) {
	case TS_A_INT: return int_tree(p, a->i);
	case TS_A_BOOL: return tree(p, a->i ? TS_TREE_TRUE : TS_TREE_FALSE);
	case TS_A_FLOAT: return float_tree(p, TS_F64, a->f);
	case TS_A_ENUM: return str_tree(p, a->s);
	case TS_A_DTYPE:
		t = tree(p, TS_TREE_DTYPE);
		t->i = a->t;
		return t;
	case TS_A_DIM: return size_tree(p, a->dims[0]);
	case TS_A_INTS:
		if (a->n == 1) return int_tree(p, a->ints[0]);
		t = tree(p, TS_TREE_LIST);
		for (uint32_t i = 0; i < a->n; i++) ts_tree_add(p->cx, t, int_tree(p, a->ints[i]));
		return t;
	default:
		t = tree(p, TS_TREE_LIST);
		for (uint32_t i = 0; i < a->n; i++) ts_tree_add(p->cx, t, size_tree(p, a->dims[i]));
		return t;
	}
}

/* Whether an attribute may stand by its place alone: those that every call has. */
static bool by_place(TsOp op, const TsAttrInfo *info) { return info->required || op == TS_OP_transpose; }

/* A kernel is printed as it is written, with the constants and sizes of the file that it names. */
static void use_names(Printer *p, const TsTree *t);

static void use_name(Printer *p, TsSym name)
{
	const TsTree *file = p->m->source;
	for (uint32_t i = 0; i < file->n; i++) {
		const TsTree *item = file->kid[i];
		if (item->kind == TS_TREE_CONST && item->name == name) {
			for (uint32_t k = 0; k < p->defs.n; k++)
				if (p->defs.p[k] == item) return;
			ts_push(p->a, &p->defs, item);
			use_names(p, item);
		}
		for (uint32_t k = 0; item->kind == TS_TREE_DIMS && k < item->n; k++) {
			TsTree *d = item->kid[k];
			TsDim dim;
			int64_t c;
			uint32_t which, q = 0;
			if (d->name != name) continue;
			if (!d->kid[1] && ts_dim_find_symbol(p->m->dims, name, &dim) && ts_dim_is_scaled_symbol(p->m->dims, dim, &c, &which)) p->used_sym[which] = 1;
			if (!d->kid[1]) continue;
			while (q < p->defs.n && p->defs.p[q]->kid[0] != d) q++;
			if (q < p->defs.n) continue;
			ts_push(p->a, &p->defs, ts_tree(p->cx, TS_TREE_DIMS, (TsSpan){ 0 }, 1, d));
			use_names(p, d);
		}
	}
}

static void use_names(Printer *p, const TsTree *t)
{
	if (t->kind == TS_TREE_NAME) use_name(p, t->name);
	for (uint32_t i = 0; i < t->n; i++)
		if (t->kid[i]) use_names(p, t->kid[i]);
}

static void use_kernel(Printer *p, const TsTree *item)
{
	for (uint32_t i = 0; i < p->kernels.n; i++)
		if (p->kernels.p[i] == item) return;
	ts_push(p->a, &p->kernels, item);
	use_names(p, item);
}

static TsTree *call_tree(Printer *p, const TsNode *n)
{
	const TsOpInfo *info = ts_op_info(p->cx, n->op);
	TsTree *t = ts_tree(p->cx, TS_TREE_CALL, (TsSpan){ 0 }, 1, name_tree(p, n->op == TS_OP_kernel ? n->kernel->item->name : info->name));
	bool placed = true;
	if (n->op == TS_OP_kernel) {
		use_kernel(p, n->kernel->item);
		for (uint32_t i = 0; i < n->nin; i++) ts_tree_add(p->cx, t, operand(p, n, i));
		return t;
	}
	if (n->op == TS_OP_and || n->op == TS_OP_or) return ts_tree_bin(p->cx, n->op == TS_OP_and ? TS_IN_AND : TS_IN_OR, operand(p, n, 0), operand(p, n, 1)); /* keywords */
	if (n->op == TS_OP_not) return ts_tree(p->cx, TS_TREE_NOT, (TsSpan){ 0 }, 1, operand(p, n, 0));
	if (info->variadic) {
		TsTree *list = tree(p, TS_TREE_LIST);
		for (uint32_t i = 0; i < n->nin; i++) ts_tree_add(p->cx, list, operand(p, n, i));
		ts_tree_add(p->cx, t, list);
	}
	for (uint32_t i = 0; i < n->nin && !info->variadic; i++) {
		if (!n->in[i]) placed = false;
		else ts_tree_add(p->cx, t, placed ? operand(p, n, i) : ts_tree_kw(p->cx, info->in[i], operand(p, n, i)));
	}
	placed &= !info->variadic;
	for (int i = 0; i < info->nattr; i++) {
		placed &= by_place(n->op, &info->attr[i]);
		if (is_default(p, &info->attr[i], &n->attr[i])) continue;
		TsTree *x = attr_tree(p, &info->attr[i], &n->attr[i]);
		ts_tree_add(p->cx, t, placed ? x : ts_tree_kw(p->cx, info->attr[i].name, x));
	}
	return t;
}

static void policy(Printer *p, TsTree *to, const char *name, bool is, bool outer)
{
	if (is != outer) ts_tree_add(p->cx, to, ts_tree_kw(p->cx, name, tree(p, is ? TS_TREE_TRUE : TS_TREE_FALSE)));
}

/* What differs from the numerics outside, or NULL. */
static TsTree *numerics_tree(Printer *p, const TsNumerics *is, const TsNumerics *outer)
{
	TsTree *t = tree(p, TS_TREE_ATTRS);
	if (is->accum != outer->accum && is->accum != TS_DTYPE_NONE) {
		TsTree *d = tree(p, TS_TREE_DTYPE);
		d->i = is->accum;
		ts_tree_add(p->cx, t, ts_tree_kw(p->cx, "accum", d));
	}
	policy(p, t, "deterministic", is->deterministic, outer->deterministic);
	if (is->batch_invariant != outer->batch_invariant) policy(p, t, "batch_invariant", is->batch_invariant == TS_YES, is->batch_invariant != TS_YES);
	policy(p, t, "excess", is->excess, outer->excess);
	policy(p, t, "reorder", is->reorder, outer->reorder);
	policy(p, t, "approx", is->approx, outer->approx);
	if (is->tf32 != outer->tf32) {
		TsTree *m = tree(p, TS_TREE_STR);
		m->name = ts_intern(p->cx, is->tf32 ? "tf32" : "ieee");
		ts_tree_add(p->cx, t, ts_tree_kw(p->cx, "math", m));
	}
	return t->n ? t : NULL;
}

/* ---- statements ---- */

static TsTree *bind_tree(Printer *p, TsSym name, const TsType *ty, TsTreeKind kind)
{
	TsTree *t = ts_tree(p->cx, kind, (TsSpan){ 0 }, 1, type_tree(p, ty));
	t->name = name;
	return t;
}

static TsTree *block_tree(Printer *p, const TsBlock *b, const TsFor *loop);

static TsTree *for_tree(Printer *p, const TsNode *n)
{
	const TsFor *f = n->loop;
	TsTree *range = ts_tree(p->cx, TS_TREE_RANGE, (TsSpan){ 0 }, 3, int_tree(p, f->lo), int_tree(p, f->hi), f->step == 1 ? NULL : int_tree(p, f->step));
	TsTree *with = f->ncarry ? tree(p, TS_TREE_WITH) : NULL;
	for (uint32_t i = 0; i < f->ncarry; i++) ts_tree_add(p->cx, with, ts_tree_kw(p->cx, ts_names_of(&p->names, f->body.args.p[i]), operand(p, n, i)));
	ts_push(p->a, &p->loops, f);
	TsTree *t = ts_tree(p->cx, TS_TREE_FOR, (TsSpan){ 0 }, 3, range, with, block_tree(p, &f->body, f));
	p->loops.n--;
	t->name = f->var;
	return t;
}

static TsTree *line_tree(Printer *p, const TsNode *n)
{
	TsTree *binds = tree(p, TS_TREE_LIST);
	bool literal = n->op == TS_OP_const || n->op == TS_OP_dim;
	for (uint32_t i = 0; i < n->nout; i++) ts_tree_add(p->cx, binds, bind_tree(p, ts_names_of(&p->names, n->out[i]), &ts_val(p->g, n->out[i])->type, TS_TREE_BIND));
	TsTree *rhs = literal ? const_tree(p, n) : n->op == TS_OP_for ? for_tree(p, n) : call_tree(p, n);
	TsTree *t = ts_tree(p->cx, TS_TREE_LET, (TsSpan){ 0 }, 3, binds, rhs, literal || n->op == TS_OP_for ? NULL : numerics_tree(p, n->num, &p->m->numerics));
	t->doc = n->doc;
	return t;
}

/* ---- groups ---- */

/* Opens the group `at` in block t: the block that its statements go to. */
static TsTree *open_group(Printer *p, TsTree *t)
{
	const TsGroup *g = &p->groups->groups.p[p->at++];
	TsTree *body = tree(p, TS_TREE_BLOCK), *x = ts_tree(p->cx, TS_TREE_GROUP, (TsSpan){ 0 }, 2, g->args, body);
	x->name = g->name;
	ts_tree_add(p->cx, t, x);
	return body;
}

/* Groups that stand before group `to`, in this block, and compute nothing. */
static void empty_groups(Printer *p, TsTree *t, uint32_t to)
{
	while (p->groups && p->at < to && p->at < p->groups->groups.n && p->groups->groups.p[p->at].kind == TS_GROUP_KERNEL) open_group(p, t);
}

/* Where the line of n goes: to the block itself, or to its group. inside: the group that is open, 0 for none. */
static TsTree *place_of(Printer *p, const TsNode *n, TsTree *t, uint32_t *inside, TsTree *open)
{
	uintptr_t *g = p->groups ? ts_map_find(p->groups->of, n) : NULL;
	uint32_t want = g ? (uint32_t)*g : 0;
	if (n->loop && p->groups) {
		empty_groups(p, t, UINT32_MAX);
		p->at++; /* its OPEN */
	}
	if (want && want == *inside) return open;
	*inside = 0;
	if (want < p->at || !want) return t; /* none, or a group that has passed */
	empty_groups(p, t, want);
	*inside = want;
	return open_group(p, t);
}

static TsTree *block_tree(Printer *p, const TsBlock *b, const TsFor *loop)
{
	TsTree *t = tree(p, TS_TREE_BLOCK), *yield = tree(p, TS_TREE_YIELD), *emit = tree(p, TS_TREE_EMIT), *to = t;
	uint32_t inside = 0;
	if (!loop) empty_groups(p, t, 1); /* about the whole graph */
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		const TsNode *n = b->nodes.p[i];
		if (n->op == TS_OP_weight) use_weight(p, n);
		else if (n->op != TS_OP_param && (!n->nout || ts_names_of(&p->names, n->out[0]))) {
			to = place_of(p, n, t, &inside, to);
			ts_tree_add(p->cx, to, line_tree(p, n));
		}
	}
	for (uint32_t i = 0; loop && i < b->results.n; i++) ts_tree_add(p->cx, i < loop->ncarry ? yield : emit, atom(p, b->results.p[i]));
	empty_groups(p, t, UINT32_MAX);
	p->at++; /* the loop's CLOSE */
	if (emit->n) ts_tree_add(p->cx, t, emit);
	if (yield->n) ts_tree_add(p->cx, t, yield);
	return t;
}

/* ---- items ---- */

static TsTree *graph_tree(Printer *p, TsGraph *g)
{
	TsTree *params = tree(p, TS_TREE_LIST), *results = tree(p, TS_TREE_LIST);
	p->g = g;
	p->at = 0;
	ts_names_make(p->m, g, &p->names);
	for (uint32_t i = 0; i < g->params.n; i++) {
		const TsValue *v = ts_val(g, g->params.p[i]);
		ts_tree_add(p->cx, params, bind_tree(p, v->name, &v->type, TS_TREE_PARAM));
	}
	TsTree *body = block_tree(p, &g->body, NULL);
	for (uint32_t i = 0; i < g->result_names.n; i++) {
		TsVal v = g->body.results.p[i];
		TsSym name = g->result_names.p[i];
		const TsType *ty = &ts_val(g, v)->type;
		ts_tree_add(p->cx, results, bind_tree(p, name, ty, TS_TREE_PARAM));
		if (ts_names_of(&p->names, v) == name) continue;
		TsTree *binds = ts_tree(p->cx, TS_TREE_LIST, (TsSpan){ 0 }, 1, bind_tree(p, name, ty, TS_TREE_BIND));
		ts_tree_add(p->cx, body, ts_tree(p->cx, TS_TREE_LET, (TsSpan){ 0 }, 3, binds, atom(p, v), NULL));
	}
	TsTree *t = ts_tree(p->cx, TS_TREE_GRAPH, (TsSpan){ 0 }, 3, ts_tree(p->cx, TS_TREE_SIG, (TsSpan){ 0 }, 2, params, results), body, NULL);
	t->name = g->name;
	t->doc = g->doc;
	return t;
}

static int by_name(const void *a, const void *b) { return strcmp((*(const TsTensorInfo *const *)a)->name, (*(const TsTensorInfo *const *)b)->name); }

/* A tensor's name in a manifest: `{` begins a range there. */
static TsSym manifest_name(Printer *p, TsSym name)
{
	TsBuf b = { 0 };
	for (; *name; name++) {
		if (*name == '{') ts_buf_char(&b, '{');
		ts_buf_char(&b, *name);
	}
	TsSym s = ts_intern_n(p->cx, b.p ? b.p : "", b.n);
	ts_buf_free(&b);
	return s;
}

static TsTree *weights_tree(Printer *p, const TsWeights *w, const TsMap *used)
{
	TsTree *files = w->file_names.n ? tree(p, TS_TREE_LIST) : NULL, *manifest = tree(p, TS_TREE_MANIFEST);
	for (uint32_t i = 0; i < w->file_names.n; i++) ts_tree_add(p->cx, files, str_tree(p, w->file_names.p[i]));
	const TsTensorInfo **all = TS_NEW_N(p->a, const TsTensorInfo *, used->n);
	for (uint32_t i = 0; i < used->n; i++) all[i] = (const TsTensorInfo *)used->vals[i];
	qsort(all, used->n, sizeof *all, by_name);
	for (uint32_t i = 0; i < used->n; i++) {
		TsTree *e = ts_tree(p->cx, TS_TREE_ENTRY, (TsSpan){ 0 }, 2, type_tree(p, &all[i]->type), NULL);
		e->name = manifest_name(p, all[i]->name);
		ts_tree_add(p->cx, manifest, e);
	}
	TsTree *t = ts_tree(p->cx, TS_TREE_WEIGHTS, (TsSpan){ 0 }, 3, files, NULL, manifest);
	t->name = w->name;
	return t;
}

static TsTree *dim_tree(Printer *p, const TsDimSym *s)
{
	TsTree *lo = s->min == 1 ? NULL : int_tree(p, s->min), *hi = s->max == INT64_MAX ? NULL : int_tree(p, s->max);
	TsTree *d = ts_tree(p->cx, TS_TREE_DIM, (TsSpan){ 0 }, 4, lo, NULL, hi, s->multiple == 1 ? NULL : int_tree(p, s->multiple));
	d->name = s->name;
	return ts_tree(p->cx, TS_TREE_DIMS, (TsSpan){ 0 }, 1, d);
}

static void forget_loop_symbols(Printer *p, const TsBlock *b)
{
	int64_t c;
	uint32_t k;
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		if (b->nodes.p[i]->op != TS_OP_for) continue;
		const TsFor *f = b->nodes.p[i]->loop;
		if (ts_dim_is_scaled_symbol(p->m->dims, f->symbol, &c, &k)) p->used_sym[k] = 0;
		forget_loop_symbols(p, &f->body);
	}
}

void ts_print_module(TsModule *m, TsBuf *to) { ts_print_module_grouped(m, NULL, to); }

void ts_print_module_grouped(TsModule *m, const TsGroups *groups, TsBuf *to)
{
	Printer p = { .m = m, .cx = m->cx, .a = m->arena };
	uint32_t nsym = ts_dim_symbol_count(m->dims);
	p.used_sym = ts_alloc(p.a, nsym + 1);
	p.used_weight = TS_NEW_N(p.a, TsMap, m->weights.n + 1);
	TsTree *file = tree(&p, TS_TREE_FILE), **graph = TS_NEW_N(p.a, TsTree *, m->graphs.n + 1);
	file->name = ts_intern(p.cx, "tessera");
	file->i = 1;
	for (uint32_t i = 0; i < m->graphs.n; i++) {
		p.groups = groups ? &groups[i] : NULL;
		graph[i] = graph_tree(&p, m->graphs.p[i]);
	}
	for (uint32_t i = 0; i < m->graphs.n; i++) forget_loop_symbols(&p, &m->graphs.p[i]->body);
	for (uint32_t k = 0; k < nsym; k++)
		if (p.used_sym[k]) ts_tree_add(p.cx, file, dim_tree(&p, ts_dim_symbol_info(m->dims, k)));
	for (uint32_t i = 0; i < p.defs.n; i++)
		if (p.defs.p[i]->kind == TS_TREE_DIMS) ts_tree_add(p.cx, file, (TsTree *)p.defs.p[i]);
	TsTree *num = numerics_tree(&p, &m->numerics, &ts_module_new(m->cx)->numerics);
	if (num) ts_tree_add(p.cx, file, ts_tree(p.cx, TS_TREE_NUMERICS, (TsSpan){ 0 }, 1, num));
	for (uint32_t i = 0; i < p.defs.n; i++)
		if (p.defs.p[i]->kind == TS_TREE_CONST) ts_tree_add(p.cx, file, (TsTree *)p.defs.p[i]);
	for (uint32_t i = 0; i < m->weights.n; i++)
		if (p.used_weight[i].n) ts_tree_add(p.cx, file, weights_tree(&p, &m->weights.p[i], &p.used_weight[i]));
	for (uint32_t i = 0; i < p.kernels.n; i++) ts_tree_add(p.cx, file, (TsTree *)p.kernels.p[i]);
	for (uint32_t i = 0; i < m->graphs.n; i++) ts_tree_add(p.cx, file, graph[i]);
	ts_print_tree(file, to, false);
}

void ts_name_values(TsModule *m)
{
	for (uint32_t i = 0; i < m->graphs.n; i++) {
		TsGraph *g = m->graphs.p[i];
		TsNames names;
		ts_names_make(m, g, &names);
		for (uint32_t v = 1; v < g->vals.n; v++)
			if (ts_names_of(&names, v)) ts_val(g, v)->name = ts_names_of(&names, v);
	}
}
