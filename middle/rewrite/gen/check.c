/* Resolves names of operators, attributes and bindings; refuses rules that can never fire. */
#include "rules.h"
#include <string.h>

typedef struct { GenRules *all; TsCtx *cx; TsArena *a; GenRule *r; bool ok; } Check;

static void refuse(Check *c, TsSpan at, const char *code, const char *text, const char *what)
{
	ts_error(c->cx, at, code, "%s '%s'", text, what);
	c->ok = false;
}

static int find_slot(GenRule *r, TsSym name)
{
	for (uint32_t i = 0; i < r->slot_names.n; i++)
		if (r->slot_names.p[i] == name) return (int)i;
	return -1;
}

static uint8_t bind(Check *c, TsSym name, GenSlotKind kind, TsSpan at)
{
	int i = find_slot(c->r, name);
	if (i < 0) {
		if (c->r->slot_names.n == 16) refuse(c, at, "E_RULE_SIZE", "more than 16 names, the last is", name);
		ts_push(c->a, &c->r->slot_names, name);
		ts_push(c->a, &c->r->slot_kinds, (uint8_t)kind);
		ts_push(c->a, &c->r->slot_uses, 0);
		return (uint8_t)(c->r->slot_names.n - 1);
	}
	if (c->r->slot_kinds.p[i] != kind) refuse(c, at, "E_RULE_NAME", "two kinds of thing are called", name);
	c->r->slot_uses.p[i]++;
	return (uint8_t)i;
}

static uint8_t use(Check *c, TsSym name, TsSpan at)
{
	int i = find_slot(c->r, name);
	if (i < 0) {
		refuse(c, at, "E_RULE_NAME", "the pattern binds no name", name);
		return 0;
	}
	c->r->slot_uses.p[i]++;
	return (uint8_t)i;
}

static TsOp find_op(Check *c, TsSym name, TsSpan at)
{
	TsOp op = ts_op_find(c->cx, name);
	if (op != TS_OP_NONE) return op;
	TsSym all[TS_OP_COUNT];
	for (int i = 1; i < TS_OP_COUNT; i++) all[i - 1] = ts_op_info(c->cx, (TsOp)i)->name;
	refuse(c, at, "E_UNKNOWN_OP", "no operator named", name);
	TsSym near = ts_nearest(name, all, TS_OP_COUNT - 1);
	if (near) ts_hint(c->cx, "nearest: %s", near);
	return TS_OP_NONE;
}

static void resolve_call(Check *c, GenCall *k)
{
	for (uint32_t i = 0; i < k->args.n; i++) ts_push(c->a, &k->slots, use(c, k->args.p[i], k->at));
	if (k->args.n > 6) refuse(c, k->at, "E_RULE_SIZE", "more than 6 arguments of", k->name);
}

/* The attribute's place in op's list; its kind must admit the literal. */
static void resolve_attr(Check *c, GenAttr *a, TsOp op, bool making)
{
	const TsOpInfo *info = ts_op_info(c->cx, op);
	int i = ts_op_attr_index(info, a->key);
	if (i < 0) {
		ts_error(c->cx, a->at, "E_ATTR", "%s has no attribute '%s'", info->name, a->key);
		c->ok = false;
		return;
	}
	TsAttrKind k = info->attr[i].kind;
	bool fits = a->kind == GV_NAME || a->kind == GV_NONE || a->kind == GV_CALL || (k == TS_A_FLOAT && (a->kind == GV_FLOAT || a->kind == GV_INT)) ||
		((k == TS_A_INT || k == TS_A_BOOL) && a->kind == GV_INT) || (k == TS_A_ENUM && a->kind == GV_STR);
	if (!fits) refuse(c, a->at, "E_ATTR", "a literal of another kind for", a->key);
	if (a->kind == GV_INT && k == TS_A_FLOAT) a->f = (double)a->i;
	a->index = (uint8_t)i;
	a->type = k;
	if (a->kind == GV_NAME) a->slot = making ? use(c, a->s, a->at) : bind(c, a->s, GS_ATTR, a->at);
	if (a->kind == GV_CALL && making) resolve_call(c, &a->call);
	else if (a->kind == GV_CALL) refuse(c, a->at, "E_RULE_SYNTAX", "a pattern cannot call", a->call.name);
}

static uint32_t flag_of(TsSym name)
{
	static const struct { const char *name; uint32_t flag; } flags[] = { { "involution", TS_F_INVOLUTION }, { "idempotent", TS_F_IDEMPOTENT },
		{ "comm", TS_F_COMM }, { "linear", TS_F_LINEAR }, { "broadcast", TS_F_BROADCAST } };
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		if (!strcmp(flags[i].name, name)) return flags[i].flag;
	return 0;
}

static bool takes(const TsOpInfo *o, const GenPat *p)
{
	return p->rest || (o->variadic ? p->kids.n > 0 : p->kids.n >= o->min_in && p->kids.n <= o->nin);
}

static void resolve_ops(Check *c, GenPat *p)
{
	if (p->flag) {
		uint32_t flag = flag_of(p->flag);
		if (!flag) refuse(c, p->at, "E_RULE_NAME", "no flag named", p->flag);
		for (int op = 1; flag && op < TS_OP_COUNT; op++) {
			const TsOpInfo *o = ts_op_info(c->cx, (TsOp)op);
			if (o->flags & flag && o->cls == TS_CLS_POINTWISE && o->nin == p->kids.n) ts_push(c->a, &p->ops, (TsOp)op);
		}
		if (!p->ops.n) refuse(c, p->at, "E_RULE_NAME", "no pointwise operator of this many operands is", p->flag);
	} else if (p->same) {
		p->ops.p = c->r->pat->ops.p;
		p->ops.n = p->ops.cap = c->r->pat->ops.n;
	} else {
		bool in[TS_OP_COUNT] = { 0 };
		for (uint32_t i = 0; i < p->words.n; i++) in[find_op(c, p->words.p[i], p->at)] = true;
		for (int op = 1; op < TS_OP_COUNT; op++)
			if (in[op]) ts_push(c->a, &p->ops, (TsOp)op);
	}
	for (uint32_t i = 0; i < p->ops.n; i++)
		if (!takes(ts_op_info(c->cx, p->ops.p[i]), p)) refuse(c, p->at, "E_ARITY", "another number of operands than given is taken by", ts_op_info(c->cx, p->ops.p[i])->name);
}

static void resolve_pattern(Check *c, GenPat *p)
{
	if (p->kind == GP_VAR) p->slot = bind(c, p->name, GS_VALUE, p->at);
	if (p->kind == GP_UNIFORM) p->slot = bind(c, p->name, GS_NUMBER, p->at);
	if (p->kind != GP_OP) return;
	if (p->name) p->slot = bind(c, p->name, GS_VALUE, p->at);
	resolve_ops(c, p);
	for (uint32_t i = 0; i < p->kids.n; i++) resolve_pattern(c, p->kids.p[i]);
	for (uint32_t i = 0; i < p->attrs.n; i++)
		for (uint32_t k = 0; k < p->ops.n; k++) {
			uint8_t before = p->attrs.p[i].index;
			resolve_attr(c, &p->attrs.p[i], p->ops.p[k], false);
			if (k && before != p->attrs.p[i].index) refuse(c, p->attrs.p[i].at, "E_ATTR", "the operators disagree on the place of", p->attrs.p[i].key);
		}
}

static void resolve_make(Check *c, GenMake *m)
{
	if (m->kind == GM_VAR) m->slot = use(c, m->name, m->at);
	if (m->kind == GM_CALL || m->kind == GM_NUMCALL) resolve_call(c, &m->call);
	if (m->kind == GM_VAR && c->r->slot_names.n && c->r->slot_kinds.p[m->slot] == GS_ATTR) refuse(c, m->at, "E_RULE_NAME", "not a value but an attribute:", m->name);
	if (m->kind != GM_OP) return;
	m->op = m->same ? c->r->pat->ops.n ? c->r->pat->ops.p[0] : TS_OP_NONE : find_op(c, m->name, m->at);
	const TsOpInfo *o = ts_op_info(c->cx, m->op);
	if (m->op != TS_OP_NONE && !o->variadic && (m->kids.n < o->min_in || m->kids.n > o->nin)) refuse(c, m->at, "E_ARITY", "another number of operands than given is taken by", o->name);
	for (uint32_t i = 0; i < m->kids.n; i++) resolve_make(c, m->kids.p[i]);
	for (uint32_t i = 0; i < m->attrs.n; i++)
		if (m->op != TS_OP_NONE) resolve_attr(c, &m->attrs.p[i], m->op, true);
}

static void resolve(Check *c)
{
	resolve_pattern(c, c->r->pat);
	for (uint32_t i = 0; i < c->r->where.n; i++) resolve_call(c, &c->r->where.p[i]);
	resolve_make(c, c->r->make);
	for (uint32_t i = 0; i < c->r->slot_names.n; i++)
		if (!c->r->slot_uses.p[i]) refuse(c, c->r->at, "E_RULE_NAME", "write _ for what is never used:", c->r->slot_names.p[i]);
}

/* ---- does a match everything b matches? ---------------------------------------------------------------------------------- */
typedef struct { int16_t to[16]; } Renaming; /* slot of a -> slot of b */

static bool same_slot(Renaming *n, uint8_t a, uint8_t b)
{
	if (n->to[a] < 0) n->to[a] = (int16_t)b;
	return n->to[a] == b;
}

static bool ops_within(const GenPat *inner, const GenPat *outer)
{
	for (uint32_t i = 0; i < inner->ops.n; i++) {
		bool found = false;
		for (uint32_t k = 0; k < outer->ops.n; k++) found |= outer->ops.p[k] == inner->ops.p[i];
		if (!found) return false;
	}
	return true;
}

static bool attr_covers(Renaming *n, const GenAttr *a, const GenPat *b)
{
	for (uint32_t i = 0; i < b->attrs.n; i++) {
		const GenAttr *o = &b->attrs.p[i];
		if (o->key != a->key) continue;
		if (a->kind == GV_NAME) return o->kind == GV_NAME && same_slot(n, a->slot, o->slot);
		return a->kind == o->kind && a->i == o->i && a->f == o->f && a->s == o->s;
	}
	return false;
}

/* free[s]: slot s of a stands once only, so it stands for anything. */
static bool covers(Renaming *n, const bool *free, const GenPat *a, const GenPat *b)
{
	switch (a->kind) {
	case GP_ANY: return true;
	case GP_VAR: return free[a->slot] || (b->slot != 255 && b->kind != GP_UNIFORM && same_slot(n, a->slot, b->slot));
	case GP_UNIFORM: return (free[a->slot] && b->kind == GP_NUM) || (b->kind == GP_UNIFORM && same_slot(n, a->slot, b->slot));
	case GP_NUM: return b->kind == GP_NUM && !memcmp(&a->num, &b->num, sizeof a->num);
	case GP_OP: break;
	}
	if (b->kind != GP_OP || !ops_within(b, a) || (a->same && !b->same)) return false;
	for (uint32_t i = 0; i < a->attrs.n; i++)
		if (!(a->attrs.p[i].kind == GV_NAME && free[a->attrs.p[i].slot]) && !attr_covers(n, &a->attrs.p[i], b)) return false;
	if (a->rest) return true;
	if (b->rest || a->kids.n != b->kids.n) return false;
	for (uint32_t i = 0; i < a->kids.n; i++)
		if (!covers(n, free, a->kids.p[i], b->kids.p[i])) return false;
	return true;
}

static void count_slots(const GenPat *p, int *count)
{
	if (p->slot != 255) count[p->slot]++;
	for (uint32_t i = 0; i < p->kids.n; i++) count_slots(p->kids.p[i], count);
	for (uint32_t i = 0; i < p->attrs.n; i++)
		if (p->attrs.p[i].kind == GV_NAME) count[p->attrs.p[i].slot]++;
}

static bool subsumes(const GenRule *a, const GenRule *b)
{
	Renaming n;
	int count[256] = { 0 };
	bool free[16];
	count_slots(a->pat, count);
	for (int i = 0; i < 16; i++) n.to[i] = -1, free[i] = count[i] <= 1;
	return covers(&n, free, a->pat, b->pat);
}

static bool same_conditions(const GenRule *a, const GenRule *b)
{
	if (a->where.n != b->where.n) return false;
	for (uint32_t i = 0; i < a->where.n; i++) {
		const GenCall *x = &a->where.p[i], *y = &b->where.p[i];
		if (x->name != y->name || x->slots.n != y->slots.n || (x->slots.n && memcmp(x->slots.p, y->slots.p, x->slots.n))) return false;
	}
	return true;
}

static bool has_call(const GenMake *m)
{
	if (m->kind == GM_CALL) return true;
	for (uint32_t i = 0; i < m->kids.n; i++)
		if (has_call(m->kids.p[i])) return true;
	return false;
}

static void check_pair(Check *c, const GenRule *a, const GenRule *b)
{
	if (a->name == b->name) refuse(c, b->at, "E_RULE_DUPLICATE", "a second rule named", b->name);
	else if (!subsumes(a, b)) return;
	else if (subsumes(b, a) && same_conditions(a, b) && a->make->kind != GM_CALL) refuse(c, b->at, "E_RULE_DUPLICATE", "the same pattern as", a->name);
	else if (!a->where.n && !has_call(a->make) && (!a->mark || a->mark == b->mark)) refuse(c, b->at, "E_RULE_UNREACHABLE", "every match is taken before by", a->name);
	else return;
	ts_note(c->cx, a->at, "'%s' is here", a->name);
}

bool gen_check(GenRules *all)
{
	Check c = { .all = all, .cx = all->cx, .a = ts_arena(all->cx), .ok = true };
	for (uint32_t i = 0; i < all->rules.n; i++) {
		c.r = all->rules.p[i];
		resolve(&c);
	}
	for (uint32_t i = 0; c.ok && i < all->rules.n; i++)
		for (uint32_t k = 0; k < i; k++) check_pair(&c, all->rules.p[k], all->rules.p[i]);
	return c.ok;
}
