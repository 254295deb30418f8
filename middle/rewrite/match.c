/* Walks the compiled rules: match a pattern upward from a node, then build the replacement. */
#include "match.h"
#include <math.h>
#include <string.h>
#include "rules.inc"

uint32_t ts_rule_count(void) { return sizeof rule_table / sizeof *rule_table; }
const TsRule *ts_rule(uint32_t i) { return &rule_table[i]; }

bool ts_rw_same_numerics(const TsNumerics *a, const TsNumerics *b)
{
	return a == b || (a->accum == b->accum && a->deterministic == b->deterministic && a->batch_invariant == b->batch_invariant && a->excess == b->excess &&
		a->reorder == b->reorder && a->approx == b->approx && a->tf32 == b->tf32);
}

static bool mark_allowed(TsMark mark, const TsNumerics *n)
{
	switch (mark) {
	case TS_MARK_EXACT: case TS_MARK_EXACTER: return true;
	case TS_MARK_FUSE: return n->excess;
	case TS_MARK_REORDER: return n->reorder;
	case TS_MARK_APPROX: return n->approx;
	}
	return false;
}

/* ---- matching --------------------------------------------------------------------------------------------------------------- */
/* The pattern after p and all that is below it. */
static const TsPat *skip(const TsPat *p)
{
	const TsPat *next = p + 1;
	for (int i = 0; i < p->nin; i++) next = skip(next);
	return next;
}

static bool ints_equal(const TsAttr *a, const TsAttr *b)
{
	return a->n == b->n && (!a->n || (a->ints && !memcmp(a->ints, b->ints, a->n * sizeof *a->ints)));
}

bool ts_rw_same_attr(const TsAttr *a, const TsAttr *b)
{
	if (a->kind != b->kind || a->none != b->none) return false;
	if (a->none) return true;
	switch (a->kind) {
	case TS_A_INT: case TS_A_BOOL: return a->i == b->i;
	case TS_A_FLOAT: return !memcmp(&a->f, &b->f, sizeof a->f);
	case TS_A_ENUM: return a->s == b->s;
	case TS_A_DTYPE: return a->t == b->t;
	case TS_A_INTS: return ints_equal(a, b);
	case TS_A_DIM: case TS_A_DIMS: return a->n == b->n && !memcmp(a->dims, b->dims, a->n * sizeof *a->dims);
	}
	return false;
}

static bool match_attr(TsMatch *m, const TsNode *n, const TsMakeAttr *w)
{
	const TsAttr *a = &n->attr[w->index];
	TsArg *s = &m->slot[w->slot];
	switch ((TsMakeValue)w->kind) {
	case TS_MV_SLOT:
		if (s->attr) return ts_rw_same_attr(s->attr, a);
		s->attr = a;
		return true;
	case TS_MV_NONE: return a->none;
	case TS_MV_INT: return !a->none && (a->kind == TS_A_INTS ? a->n == 1 && a->ints[0] == w->i : a->i == w->i);
	case TS_MV_FLOAT: return !a->none && a->f == w->f;
	case TS_MV_STR: return !a->none && !strcmp(a->s, w->s);
	case TS_MV_CALL: break;
	}
	return false;
}

static bool bind_value(TsMatch *m, uint8_t slot, TsVal v)
{
	if (slot == 255) return true;
	if (m->slot[slot].v) return m->slot[slot].v == v;
	m->slot[slot].v = v;
	return true;
}

static bool match_value(TsMatch *m, const TsPat *p, TsVal v);

static bool match_op(TsMatch *m, const TsPat *p, const TsNode *n)
{
	bool known = p->same ? n->op == m->root->op : false;
	for (int i = 0; i < p->nops && !known && !p->same; i++) known = rule_ops[p->ops + i] == n->op;
	if (!known || (n != m->root && (n->nout != 1 || !ts_rw_same_numerics(n->num, m->root->num)))) return false;
	if (!p->rest) {
		if (n->nin < p->nin) return false;
		const TsPat *kid = p + 1;
		for (uint32_t i = 0; i < n->nin; i++) {
			if (i >= p->nin) {
				if (n->in[i]) return false;
				continue;
			}
			if (!n->in[i] || !match_value(m, kid, ts_rw_now(m->rw, n->in[i]))) return false;
			kid = skip(kid);
		}
	}
	for (int i = 0; i < p->nattr; i++)
		if (!match_attr(m, n, &rule_pat_attrs[p->attrs + i])) return false;
	return true;
}

/* A number of a pattern: the literal's value and sign. An integer zero has the sign +. */
static bool match_number(TsMatch *m, const TsPat *p, TsVal v)
{
	double x;
	return ts_rw_uniform(m, v, &x) && x == p->num && !signbit(x) == !signbit(p->num);
}

static bool match_value(TsMatch *m, const TsPat *p, TsVal v)
{
	if (!v) return false;
	switch ((TsPatKind)p->kind) {
	case TS_MP_ANY: return true;
	case TS_MP_VAR: return bind_value(m, p->slot, v);
	case TS_MP_NUM: return match_number(m, p, v);
	case TS_MP_UNIFORM: {
		double x;
		if (!ts_rw_uniform(m, v, &x)) return false;
		if (m->slot[p->slot].v) return !memcmp(&m->slot[p->slot].num, &x, sizeof x);
		m->slot[p->slot] = (TsArg){ .v = v, .num = x };
		return true;
	}
	case TS_MP_OP: {
		TsNode *n = ts_rw_def(m, v);
		return n && bind_value(m, p->slot, v) && match_op(m, p, n);
	}
	}
	return false;
}

/* ---- building --------------------------------------------------------------------------------------------------------------- */
static void call_args(TsMatch *m, const TsCall *c, TsArg a[6])
{
	for (int i = 0; i < c->n; i++) a[i] = m->slot[c->arg[i]];
}

static void make_attr(TsMatch *m, TsAttr *list, const TsMakeAttr *w)
{
	TsAttr *a = &list[w->index];
	TsArg args[6];
	TsAttrKind kind = a->kind;
	switch ((TsMakeValue)w->kind) {
	case TS_MV_SLOT: *a = *m->slot[w->slot].attr; break;
	case TS_MV_NONE: a->none = true; break;
	case TS_MV_INT: a->none = false; a->i = w->i; break;
	case TS_MV_FLOAT: a->none = false; a->f = w->f; break;
	case TS_MV_STR: a->none = false; a->s = ts_intern(m->rw->cx, w->s); break;
	case TS_MV_CALL:
		call_args(m, &rule_calls[w->call], args);
		*a = rule_calls[w->call].attr(m, args);
		break;
	}
	a->kind = kind;
}

static const TsMake *skip_make(const TsMake *k)
{
	const TsMake *next = k + 1;
	for (int i = 0; i < k->nin; i++) next = skip_make(next);
	return next;
}

static TsVal make(TsMatch *m, const TsMake *k)
{
	TsArg args[6];
	/* literals have the element type that the matched node's first operand has */
	TsDtype t = m->root->nin ? ts_rw_type(m, ts_rw_in(m, m->root, 0))->elem : TS_F32;
	switch ((TsMakeKind)k->kind) {
	case TS_MM_VAR: return m->slot[k->slot].v;
	case TS_MM_NUM: return ts_rw_scalar(m, t, k->num);
	case TS_MM_NUMCALL:
		call_args(m, &rule_calls[k->call], args);
		return ts_rw_scalar(m, t, rule_calls[k->call].number(m, args));
	case TS_MM_CALL:
		call_args(m, &rule_calls[k->call], args);
		return rule_calls[k->call].value(m, args);
	case TS_MM_OP: break;
	}
	TsVal in[TS_MAX_OP_INS];
	const TsMake *kid = k + 1;
	for (int i = 0; i < k->nin; i++, kid = skip_make(kid))
		if (!(in[i] = make(m, kid))) return 0;
	TsOp op = k->same ? m->root->op : (TsOp)k->op;
	TsAttr *attr = NULL;
	if (k->same && !k->nattr) attr = m->root->attr;
	else if (k->nattr) attr = ts_rw_attrs(m, op);
	for (int i = 0; i < k->nattr; i++) make_attr(m, attr, &rule_make_attrs[k->attrs + i]);
	return ts_rw_op(m, op, k->nin, in, attr);
}

/* A written accumulator (bf16@f32) is part of the type: a new value gets it, an old one must have it. */
static bool keeps_type(TsMatch *m, TsVal v)
{
	TsType *t = &ts_val(m->rw->g, v)->type;
	const TsType *want = ts_rw_type(m, m->root->out[0]);
	bool made = false;
	for (uint32_t i = 0; i < m->made.nodes.n; i++) made |= m->made.nodes.p[i] == ts_rw_def(m, v);
	if (!ts_type_eq(t, want)) return false;
	if (made) t->accum = want->accum;
	return t->accum == want->accum;
}

static TsVal try_rule(TsRw *rw, const TsRule *r, TsNode *n, TsBlock *made)
{
	TsMatch m = { .rw = rw, .root = n };
	TsArg args[6];
	uint32_t vals = rw->g->vals.n, checks = rw->g->checks.n;
	if (!match_op(&m, &rule_pats[r->pat], n)) return 0;
	if (rule_pats[r->pat].slot != 255) m.slot[rule_pats[r->pat].slot].v = n->out[0];
	for (int i = 0; i < r->nwhere; i++) {
		call_args(&m, &rule_calls[r->where + i], args);
		if (!rule_calls[r->where + i].cond(&m, args)) return 0;
	}
	TsVal v = make(&m, &rule_makes[r->make]);
	/* what the new nodes demand, the old ones demanded: no new run-time checks */
	rw->g->checks.n = checks;
	if (!v || v == n->out[0] || !keeps_type(&m, v)) {
		rw->g->vals.n = vals;
		return 0;
	}
	*made = m.made;
	return v;
}

TsVal ts_match_node(TsRw *rw, TsNode *n, TsBlock *made, const TsRule **fired)
{
	if (n->nout != 1 || n->op >= TS_OP_COUNT) return 0;
	for (uint32_t i = rules_at[n->op]; i < rules_at[n->op + 1]; i++) {
		const TsRule *r = &rule_table[rules_of[i]];
		if (rw->off[rules_of[i]] || !mark_allowed(r->mark, n->num)) continue;
		TsVal v = try_rule(rw, r, n, made);
		if (v) return *fired = r, v;
	}
	return 0;
}

/* ---- for the functions of rules ----------------------------------------------------------------------------------------------- */
TsVal ts_rw_now(const TsRw *rw, TsVal v)
{
	while (v < rw->repl.n && rw->repl.p[v]) v = rw->repl.p[v];
	return v;
}

TsNode *ts_rw_def(const TsMatch *m, TsVal v) { return v ? ts_val(m->rw->g, v)->def : NULL; }
TsVal ts_rw_in(const TsMatch *m, const TsNode *n, uint32_t i) { return i < n->nin && n->in[i] ? ts_rw_now(m->rw, n->in[i]) : 0; }
const TsType *ts_rw_type(const TsMatch *m, TsVal v) { return &ts_val(m->rw->g, v)->type; }
bool ts_rw_once(const TsMatch *m, TsVal v) { return v >= m->rw->uses.n || m->rw->uses.p[v] <= 1; }

bool ts_rw_is(const TsMatch *m, TsVal v, TsOp op, TsNode **n)
{
	TsNode *d = ts_rw_def(m, v);
	if (!d || d->op != op) return false;
	if (n) *n = d;
	return true;
}

/* All elements of a literal tensor are bit for bit the first one. */
static bool const_uniform(TsModule *m, const TsNode *n, const TsType *t, double *x)
{
	int64_t count;
	int bits = ts_dtype_bits(t->elem);
	if (!ts_dim_is_const(m->dims, ts_type_count(m, t), &count) || count < 1 || count > 1 << 20 || t->elem == TS_COMPLEX64) return false;
	if (count > 1 && bits % 8) return false;
	const char *p = n->data;
	size_t size = (size_t)bits / 8;
	for (int64_t i = 1; i < count; i++)
		if (memcmp(p, p + (size_t)i * size, size)) return false;
	*x = ts_elem_get(t->elem, p, 0);
	return true;
}

bool ts_rw_uniform(const TsMatch *m, TsVal v, double *x)
{
	TsNode *n = ts_rw_def(m, v);
	for (int depth = 0; n && depth < 8; depth++) {
		if (n->op == TS_OP_const) return const_uniform(m->rw->m, n, ts_rw_type(m, n->out[0]), x);
		if (n->op != TS_OP_broadcast && n->op != TS_OP_reshape && n->op != TS_OP_transpose) return false;
		n = ts_rw_def(m, ts_rw_in(m, n, 0));
	}
	return false;
}

bool ts_rw_near(TsDtype t, double x, double y)
{
	double eps = t == TS_F64 ? 1e-9 : t == TS_F16 ? 0x1p-10 : t == TS_BF16 ? 0x1p-7 : 0x1p-22;
	return fabs(x - y) <= eps * fabs(y);
}

bool ts_rw_broadcasts(const TsMatch *m, const TsType *t, const TsType *to)
{
	int64_t one;
	if (t->rank > to->rank) return false;
	for (int i = 0; i < t->rank; i++) {
		TsDim d = t->dim[i];
		if (d != to->dim[to->rank - t->rank + i] && !(ts_dim_is_const(m->rw->m->dims, d, &one) && one == 1)) return false;
	}
	return true;
}

TsVal ts_rw_op(TsMatch *m, TsOp op, uint32_t nin, const TsVal *in, const TsAttr *attr)
{
	TsNode *n = ts_add_op(m->rw->m, m->rw->g, &m->made, op, nin, in, attr, m->root->num, m->root->at);
	if (!n) ts_bug(m->rw->cx, m->root->at, "rewrite of %s builds a %s that has no type", ts_op_info(m->rw->cx, m->root->op)->name, ts_op_info(m->rw->cx, op)->name);
	return n->out[0];
}

TsVal ts_rw_scalar(TsMatch *m, TsDtype t, double x)
{
	TsVal v = ts_add_scalar(m->rw->m, m->rw->g, &m->made, t, x, m->root->at);
	ts_rw_def(m, v)->num = m->root->num;
	return v;
}

TsAttr *ts_rw_attrs(TsMatch *m, TsOp op) { return ts_attrs_new(m->rw->m, op); }

TsAttr *ts_rw_attr_of(TsMatch *m, TsOp op, TsAttr *list, const char *name)
{
	int i = ts_op_attr_index(ts_op_info(m->rw->cx, op), name);
	if (i < 0) ts_bug(m->rw->cx, m->root->at, "%s has no attribute '%s'", ts_op_info(m->rw->cx, op)->name, name);
	list[i].none = false;
	return &list[i];
}

TsVal ts_rw_reshape(TsMatch *m, TsVal x, uint32_t rank, const TsDim *dim)
{
	TsAttr *at = ts_rw_attrs(m, TS_OP_reshape), *s = ts_rw_attr_of(m, TS_OP_reshape, at, "shape");
	s->n = rank;
	s->dims = ts_memdup(m->rw->a, dim, (rank ? rank : 1) * sizeof *dim);
	return ts_rw_op(m, TS_OP_reshape, 1, &x, at);
}

TsVal ts_rw_transpose(TsMatch *m, TsVal x, uint32_t rank, const int64_t *perm)
{
	TsAttr *at = ts_rw_attrs(m, TS_OP_transpose), *p = ts_rw_attr_of(m, TS_OP_transpose, at, "perm");
	p->n = rank;
	p->ints = ts_memdup(m->rw->a, perm, rank * sizeof *perm);
	return ts_rw_op(m, TS_OP_transpose, 1, &x, at);
}

uint32_t ts_rw_axes(const TsMatch *m, const TsNode *n)
{
	const TsAttr *a = ts_attr(m->rw->m, n, "axis");
	int rank = ts_rw_type(m, ts_rw_in(m, n, 0))->rank;
	uint32_t mask = 0;
	if (a->none) return (1u << rank) - 1;
	for (uint32_t i = 0; i < a->n; i++) mask |= 1u << (a->ints[i] < 0 ? a->ints[i] + rank : a->ints[i]);
	return mask;
}

void ts_rw_perm(const TsMatch *m, const TsNode *n, int64_t perm[TS_MAX_RANK])
{
	const TsAttr *a = ts_attr(m->rw->m, n, "perm");
	int rank = ts_rw_type(m, n->out[0])->rank;
	for (int i = 0; i < rank; i++) perm[i] = a->none ? i : a->ints[i] < 0 ? a->ints[i] + rank : a->ints[i];
	if (!a->none) return;
	perm[rank - 2] = rank - 1;
	perm[rank - 1] = rank - 2;
}

bool ts_rw_keepdims(const TsMatch *m, const TsNode *n) { return ts_attr(m->rw->m, n, "keepdims")->i != 0; }
