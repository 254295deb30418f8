/* What the steps of a plan say of themselves: the values that a launch computes, their statements, what it reads, how many operations and
 * bytes that is. Nothing here changes what is run; profilers and `tsc explain --html` show it. */
#include "emit/plan_write_int.h"
#include <string.h>

enum { MOST_TEXT = 6000, MOST_DEPTH = 8 };
typedef struct { TsVal v; TsDim count; } Operand;
typedef struct {
	TsPlanWriter *w;
	TsPlanAbout *about;
	TsGraph *g;
	TsDims *d;
	TS_VEC(TsVal) values;
	TS_VEC(Operand) operands;
} About;

static const TsOpInfo *info_of(About *x, const TsNode *n) { return ts_op_info(x->w->m->cx, n->op); }
static TsDim count_of(About *x, TsVal v) { return ts_type_count(x->w->m, &ts_val(x->g, v)->type); }
static bool is_inside(About *x, TsVal v) { return x->about->seen[v] == x->about->stamp; }
static bool is_view(About *x, const TsNode *n) { return n && info_of(x, n)->cls == TS_CLS_VIEW; }

/* ---- places: values in the order of the text ---- */

static void number(TsPlanAbout *a, const TsBlock *b, uint32_t *next)
{
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		const TsNode *n = b->nodes.p[i];
		if (n->loop) number(a, &n->loop->body, next);
		for (uint32_t j = 0; j < n->nout; j++) a->place[n->out[j]] = ++*next;
	}
}

TsPlanAbout ts_plan_about(TsPlanWriter *w, const TsEntry *e)
{
	TsPlanAbout a = { .place = TS_NEW_N(w->a, uint32_t, e->graph->vals.n + 1), .seen = TS_NEW_N(w->a, uint32_t, e->graph->vals.n + 1) };
	uint32_t next = 0;
	number(&a, &e->graph->body, &next);
	return a;
}

static void add_value(About *x, TsVal v)
{
	const TsNode *n = ts_val(x->g, v)->def;
	if (is_inside(x, v) || (n && info_of(x, n)->cls == TS_CLS_LEAF)) return;
	x->about->seen[v] = x->about->stamp;
	ts_push(x->w->a, &x->values, v);
	for (uint32_t i = x->values.n - 1; i && x->about->place[x->values.p[i - 1]] > x->about->place[v]; i--) {
		x->values.p[i] = x->values.p[i - 1];
		x->values.p[i - 1] = v;
	}
}

/* ---- operands ---- */

static TsDim least(About *x, TsDim a, TsDim b)
{
	if (ts_dim_le(x->d, a, b) == TS_YES) return a;
	return ts_dim_le(x->d, b, a) == TS_YES ? b : ts_dim_min(x->d, a, b);
}

/* What a value is another name of: a loop's result is its last turn's. */
static TsVal source_of(About *x, TsVal v)
{
	const TsNode *n = ts_val(x->g, v)->def;
	for (uint32_t i = 0; n && n->loop && i < n->nout && i < n->loop->body.results.n; i++)
		if (n->out[i] == v) return n->loop->body.results.p[i];
	return is_view(x, n) ? n->in[0] : 0;
}

/* v, of which at most `most` elements are read, through its views to what lies in memory. */
static void add_operand(About *x, TsVal v, TsDim most)
{
	TsDim count = least(x, most, count_of(x, v));
	for (TsVal from; !is_inside(x, v) && (from = source_of(x, v));) {
		bool view = is_view(x, ts_val(x->g, v)->def);
		v = from;
		if (view) count = least(x, count, count_of(x, v)); /* an emitted value is one turn's of many */
	}
	const TsNode *n = ts_val(x->g, v)->def;
	if (is_inside(x, v) || (n && (n->op == TS_OP_dim || n->op == TS_OP_iota || (n->op == TS_OP_const && !ts_val(x->g, v)->type.rank)))) return;
	for (uint32_t i = 0; i < x->operands.n; i++)
		if (x->operands.p[i].v == v) {
			if (ts_dim_le(x->d, count, x->operands.p[i].count) != TS_YES) x->operands.p[i].count = ts_dim_max(x->d, count, x->operands.p[i].count);
			return;
		}
	ts_push(x->w->a, &x->operands, ((Operand){ v, count }));
}

static void find_operands(About *x, TsVal root)
{
	for (uint32_t i = 0; i < x->values.n; i++) {
		const TsNode *n = ts_val(x->g, x->values.p[i])->def;
		if (!n || n->loop || n->op == TS_OP_concat || n->op == TS_OP_pad) continue; /* their parts are steps of their own */
		for (uint32_t j = 0; j < n->nin; j++)
			if (n->in[j]) add_operand(x, n->in[j], info_of(x, n)->cls == TS_CLS_GATHER && !j ? count_of(x, n->out[0]) : count_of(x, n->in[j]));
	}
	if (root && !is_inside(x, root)) add_operand(x, root, count_of(x, root)); /* a copy */
}

/* ---- cost ---- */

/* Pairs of a query and a key that a mask known here leaves. */
static TsDim pairs(About *x, const TsNode *n)
{
	const TsType *q = &ts_val(x->g, n->in[0])->type, *k = &ts_val(x->g, n->in[1])->type;
	TsDim s = q->dim[q->rank - 2], t = k->dim[k->rank - 2], one = ts_dim_const(x->d, 1);
	const TsAttr *window = ts_attr(x->w->m, n, "window");
	if (!window->none) t = least(x, t, ts_dim_const(x->d, window->i));
	if (!ts_attr(x->w->m, n, "causal")->i || (n->nin > 5 && n->in[5])) return ts_dim_mul(x->d, s, t);
	TsDim m = least(x, s, t), triangle = ts_dim_floordiv(x->d, ts_dim_mul(x->d, m, ts_dim_add(x->d, m, one)), ts_dim_const(x->d, 2));
	return ts_dim_add(x->d, triangle, ts_dim_mul(x->d, ts_dim_sub(x->d, s, m), t));
}

static TsDim attention_ops(About *x, const TsNode *n)
{
	const TsType *q = &ts_val(x->g, n->in[0])->type, *v = &ts_val(x->g, n->in[2])->type;
	TsDim c = ts_dim_mul(x->d, pairs(x, n), ts_dim_add(x->d, q->dim[q->rank - 1], v->dim[v->rank - 1]));
	for (int i = 0; i + 2 < q->rank; i++) c = ts_dim_mul(x->d, c, q->dim[i]);
	return ts_dim_mul(x->d, c, ts_dim_const(x->d, 2));
}

static TsDim ops_of(About *x, const TsNode *n)
{
	const TsType *a = n->nin && n->in[0] ? &ts_val(x->g, n->in[0])->type : NULL;
	TsDim out = count_of(x, n->out[0]);
	switch (info_of(x, n)->cls) {
	case TS_CLS_POINTWISE: return n->op == TS_OP_cast ? 0 : out;
	case TS_CLS_CONTRACT: return ts_dim_mul(x->d, ts_dim_mul(x->d, out, a->dim[a->rank - 1]), ts_dim_const(x->d, 2));
	case TS_CLS_ATTENTION: return attention_ops(x, n);
	case TS_CLS_REDUCE: return count_of(x, n->in[0]);
	case TS_CLS_ROW: return ts_dim_mul(x->d, out, ts_dim_const(x->d, n->op == TS_OP_softmax ? 4 : 6)); /* largest, exp, sum, quotient; sums, scaling */
	default: return 0;
	}
}

static TsDim bytes_of(About *x, TsVal v, TsDim count)
{
	int bits = ts_dtype_bits(ts_val(x->g, v)->type.elem);
	return bits % 8 ? ts_dim_floordiv(x->d, ts_dim_mul(x->d, count, ts_dim_const(x->d, bits)), ts_dim_const(x->d, 8)) : ts_dim_mul(x->d, count, ts_dim_const(x->d, bits / 8));
}

static void cost(About *x, TsVal root, TsPlanStep *out)
{
	TsDim sums[3] = { 0, 0, bytes_of(x, root, count_of(x, root)) };
	uint32_t exprs[3];
	for (uint32_t i = 0; i < x->values.n; i++) {
		const TsNode *n = ts_val(x->g, x->values.p[i])->def;
		if (n && n->nout && n->out[0] == x->values.p[i]) sums[0] = ts_dim_add(x->d, sums[0], ops_of(x, n));
	}
	for (uint32_t i = 0; i < x->operands.n; i++) sums[1] = ts_dim_add(x->d, sums[1], bytes_of(x, x->operands.p[i].v, x->operands.p[i].count));
	for (int i = 0; i < 3; i++) {
		if (sums[i] == TS_DIM_BAD) return; /* beyond 2^63 */
		exprs[i] = ts_plan_size(x->w, sums[i]);
	}
	out->cost = ts_plan_add_words(x->w->b, exprs, 3);
	out->n_cost = 3;
}

/* ---- text ---- */

static void print_operand(About *x, TsVal v, int depth, TsBuf *to)
{
	const TsNode *n = ts_val(x->g, v)->def;
	TsSym name = ts_val(x->g, v)->name;
	if (n && n->op == TS_OP_weight) ts_buf_fmt(to, "%s.\"%s\"", x->w->m->weights.p[n->weights].name, n->name);
	else if (is_view(x, n) && !is_inside(x, v) && depth < MOST_DEPTH) {
		ts_buf_fmt(to, "%s(", info_of(x, n)->name);
		print_operand(x, n->in[0], depth + 1, to);
		ts_buf_str(to, ")");
	} else if (n && n->op == TS_OP_dim) ts_dim_print(x->d, n->dim, to);
	else if (n && n->op == TS_OP_const && !ts_val(x->g, v)->type.rank) ts_buf_fmt(to, "%g", ts_elem_get(ts_val(x->g, v)->type.elem, n->data, 0));
	else if (name && *name) ts_buf_str(to, name);
	else ts_buf_str(to, n ? info_of(x, n)->name : "value");
}

static void print_value(About *x, TsVal v, TsBuf *to)
{
	const TsNode *n = ts_val(x->g, v)->def;
	ts_buf_fmt(to, "%s%s: ", to->n ? "\n" : "", ts_val(x->g, v)->name ? ts_val(x->g, v)->name : "value");
	ts_type_print(x->w->m, &ts_val(x->g, v)->type, to);
	if (!n) return;
	ts_buf_fmt(to, " = %s(", info_of(x, n)->name);
	for (uint32_t i = 0, any = 0; i < n->nin; i++) {
		if (!n->in[i]) continue;
		if (any++) ts_buf_str(to, ", ");
		print_operand(x, n->in[i], 0, to);
	}
	ts_buf_str(to, ")");
}

static uint32_t take(About *x, TsBuf *b)
{
	uint32_t s = b->n ? ts_plan_add_str(x->w->b, b->p) : 0;
	ts_buf_free(b);
	return s;
}

static uint32_t texts(About *x)
{
	TsBuf b = { 0 };
	for (uint32_t i = 0; i < x->values.n; i++) {
		if (b.n > MOST_TEXT) {
			ts_buf_fmt(&b, "\nand %u more", x->values.n - i);
			break;
		}
		print_value(x, x->values.p[i], &b);
	}
	return take(x, &b);
}

static uint32_t names(About *x)
{
	TsBuf b = { 0 };
	for (uint32_t i = 0; i < x->values.n; i++)
		if (ts_val(x->g, x->values.p[i])->name) ts_buf_fmt(&b, "%s%s", b.n ? " " : "", ts_val(x->g, x->values.p[i])->name);
	return take(x, &b);
}

static uint32_t sources(About *x)
{
	TsBuf b = { 0 };
	for (uint32_t i = 0; i < x->operands.n; i++) {
		TsVal v = x->operands.p[i].v;
		const TsNode *n = ts_val(x->g, v)->def;
		bool weight = n && n->op == TS_OP_weight;
		ts_buf_fmt(&b, "%s%s ", i ? "\n" : "", weight ? "weight" : n && n->op == TS_OP_param ? "input" : "value");
		print_operand(x, v, MOST_DEPTH, &b);
	}
	return take(x, &b);
}

/* ---- steps ---- */

static bool share_memory(const TsEntry *e, const TsStep *a, const TsStep *b)
{
	for (uint32_t i = 0; i < a->ptr.n; i++)
		for (uint32_t j = 0; j < b->ptr.n; j++)
			if (a->ptr.p[i].buf == b->ptr.p[j].buf && (e->bufs.p[a->ptr.p[i].buf].kind == TS_BUF_WORK || e->bufs.p[a->ptr.p[i].buf].kind == TS_BUF_OUTPUT)) return true;
	return false;
}

/* The step whose work `step` does a part of: the next that shares memory with it and says what it computes, else the one before. */
static const TsStep *whole_of(const TsEntry *e, uint32_t step)
{
	const TsStep *st = &e->steps.p[step], *before = NULL;
	if (st->root) return st;
	for (uint32_t i = step; i-- > 0 && !before && e->steps.p[i].kind == TS_SCHED_LAUNCH;)
		if (e->steps.p[i].root && share_memory(e, st, &e->steps.p[i])) before = &e->steps.p[i];
	if (before && step && before == &e->steps.p[step - 1]) return before; /* sums of partial results follow at once */
	for (uint32_t i = step + 1; i < e->steps.n && e->steps.p[i].kind == TS_SCHED_LAUNCH; i++)
		if (e->steps.p[i].root && share_memory(e, st, &e->steps.p[i])) return &e->steps.p[i];
	return before;
}

/* A copy gives what it copies, under the name that a loop carries it by. */
static uint32_t copied(About *x, const TsEntry *e, const TsStep *st)
{
	TsSym name = ts_val(x->g, st->root)->name, to = NULL;
	for (uint32_t i = 0; i < st->ptr.n; i++) {
		TsVal v = e->bufs.p[st->ptr.p[i].buf].value;
		if (v && !ts_val(x->g, v)->def) to = ts_val(x->g, v)->name;
	}
	return ts_plan_add_str(x->w->b, !name || !to || name == to ? name ? name : to : ts_printf(x->w->a, "%s %s", name, to));
}

void ts_plan_describe(TsPlanWriter *w, TsPlanAbout *about, const TsEntry *e, uint32_t step, TsPlanStep *out)
{
	const TsStep *st = whole_of(e, step);
	About x = { .w = w, .about = about, .g = e->graph, .d = w->m->dims };
	about->stamp++;
	if (!st) return;
	for (uint32_t i = 0; i < st->values.n; i++) add_value(&x, st->values.p[i]);
	find_operands(&x, st->root);
	out->values = names(&x);
	if (st != &e->steps.p[step]) return;
	if (!x.values.n) out->values = copied(&x, e, st);
	out->text = texts(&x);
	out->operands = sources(&x);
	cost(&x, st->root, out);
}
