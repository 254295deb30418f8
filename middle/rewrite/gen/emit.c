/* Writes the tables that middle/rewrite/match.c walks, and the list of rules for the manual. */
#include "rules.h"
#include <math.h>
#include <string.h>

typedef struct { GenRules *all; TsCtx *cx; TsArena *a; FILE *to; TsMap called; TS_VEC(const char *) pats, pat_attrs, oplist, calls, makes, make_attrs; uint32_t nops; } Emit;

#define ADD(list, ...) ts_push(e->a, &e->list, ts_printf(e->a, __VA_ARGS__))

static const char *num(Emit *e, double x)
{
	if (isinf(x)) return x < 0 ? "-INFINITY" : "INFINITY";
	const char *text = ts_printf(e->a, "%.17g", x);
	return strpbrk(text, ".e") ? text : ts_printf(e->a, "%s.0", text); /* -0 would be an integer */
}

/* kind: the name's prefix, which says what the function gives */
static uint32_t add_call(Emit *e, const GenCall *c, const char *kind)
{
	char args[64] = "";
	for (uint32_t i = 0; i < c->slots.n; i++) snprintf(args + strlen(args), sizeof args - strlen(args), "%s%u", i ? ", " : "", c->slots.p[i]);
	ts_map_put(e->a, &e->called, ts_intern_fmt(e->cx, "ts_rw_%s_%s", kind, c->name), NULL);
	ADD(calls, "{ .n = %u, .arg = { %s }, .%s = ts_rw_%s_%s }", c->slots.n, c->slots.n ? args : "0", kind, kind, c->name);
	return e->calls.n - 1;
}

static const char *attr_fields(Emit *e, const GenAttr *a)
{
	static const char *const kinds[] = { "TS_MV_SLOT", "TS_MV_INT", "TS_MV_FLOAT", "TS_MV_STR", "TS_MV_NONE", "TS_MV_CALL" };
	GenValueKind k = a->kind == GV_INT && a->type == TS_A_FLOAT ? GV_FLOAT : a->kind;
	const char *rest = "";
	switch (k) {
	case GV_NAME: rest = ts_printf(e->a, ", .slot = %u", a->slot); break;
	case GV_INT: rest = ts_printf(e->a, ", .i = %lld", (long long)a->i); break;
	case GV_FLOAT: rest = ts_printf(e->a, ", .f = %s", num(e, a->f)); break;
	case GV_STR: rest = ts_printf(e->a, ", .s = \"%s\"", a->s); break;
	case GV_CALL: rest = ts_printf(e->a, ", .call = %u", add_call(e, &a->call, "attr")); break;
	case GV_NONE: break;
	}
	return ts_printf(e->a, "{ .index = %u, .kind = %s%s }", a->index, kinds[k], rest);
}

static void emit_pattern(Emit *e, const GenPat *p)
{
	static const char *const kinds[] = { "VAR", "ANY", "NUM", "UNIFORM", "OP" };
	uint32_t ops = e->nops, attrs = e->pat_attrs.n;
	for (uint32_t i = 0; i < p->ops.n; i++) ADD(oplist, "TS_OP_%s", ts_op_info(e->cx, p->ops.p[i])->name), e->nops++;
	for (uint32_t i = 0; i < p->attrs.n; i++) ts_push(e->a, &e->pat_attrs, attr_fields(e, &p->attrs.p[i]));
	ADD(pats, "{ .kind = TS_MP_%s, .slot = %u, .nin = %u, .nattr = %u, .nops = %u, .ops = %u, .attrs = %u, .num = %s%s%s }", kinds[p->kind], p->slot, p->kids.n, p->attrs.n,
		p->ops.n, ops, attrs, num(e, p->num), p->same ? ", .same = true" : "", p->rest ? ", .rest = true" : "");
	for (uint32_t i = 0; i < p->kids.n; i++) emit_pattern(e, p->kids.p[i]);
}

static void emit_make(Emit *e, const GenMake *m)
{
	static const char *const kinds[] = { "VAR", "NUM", "NUMCALL", "CALL", "OP" };
	uint32_t call = m->kind == GM_CALL ? add_call(e, &m->call, "value") : m->kind == GM_NUMCALL ? add_call(e, &m->call, "number") : 0;
	const char **attrs = TS_NEW_N(e->a, const char *, m->attrs.n);
	for (uint32_t i = 0; i < m->attrs.n; i++) attrs[i] = attr_fields(e, &m->attrs.p[i]);
	uint32_t first = e->make_attrs.n;
	for (uint32_t i = 0; i < m->attrs.n; i++) ts_push(e->a, &e->make_attrs, attrs[i]);
	ADD(makes, "{ .kind = TS_MM_%s, .slot = %u, .op = %s%s, .same = %s, .nin = %u, .nattr = %u, .attrs = %u, .call = %u, .num = %s }", kinds[m->kind], m->slot,
		m->kind == GM_OP && !m->same ? "TS_OP_" : "0", m->kind == GM_OP && !m->same ? m->name : "", m->same ? "true" : "false", m->kids.n, m->attrs.n, first, call, num(e, m->num));
	for (uint32_t i = 0; i < m->kids.n; i++) emit_make(e, m->kids.p[i]);
}

static void list(Emit *e, const char *type, const char *name, const char *const *p, uint32_t n)
{
	fprintf(e->to, "static const %s %s[] = {\n", type, name);
	for (uint32_t i = 0; i < n; i++) fprintf(e->to, "\t%s,\n", p[i]);
	if (!n) fprintf(e->to, "\t{ 0 },\n");
	fprintf(e->to, "};\n");
}

static void emit_prototypes(Emit *e)
{
	for (uint32_t i = 0; i < e->called.n; i++) {
		const char *fn = e->called.keys[i];
		const char *type = !strncmp(fn, "ts_rw_cond_", 11) ? "bool " : !strncmp(fn, "ts_rw_value_", 12) ? "TsVal " : !strncmp(fn, "ts_rw_attr_", 11) ? "TsAttr " : "double ";
		fprintf(e->to, "%s%s(TsMatch *, const TsArg *);\n", type, fn);
	}
}

/* Rules by the operator of their root, in file order. */
static void emit_index(Emit *e)
{
	uint32_t at = 0;
	fprintf(e->to, "static const uint16_t rules_of[] = {");
	uint32_t start[TS_OP_COUNT + 1];
	for (int op = 0; op < TS_OP_COUNT; op++) {
		start[op] = at;
		for (uint32_t i = 0; i < e->all->rules.n; i++)
			for (uint32_t k = 0; k < e->all->rules.p[i]->pat->ops.n; k++)
				if ((int)e->all->rules.p[i]->pat->ops.p[k] == op) fprintf(e->to, "%s%u,", at++ % 24 ? " " : "\n\t", i);
	}
	start[TS_OP_COUNT] = at;
	fprintf(e->to, "\n\t0,\n};\nstatic const uint16_t rules_at[TS_OP_COUNT + 1] = {");
	for (int op = 0; op <= TS_OP_COUNT; op++) fprintf(e->to, "%s%u,", op % 24 ? " " : "\n\t", start[op]);
	fprintf(e->to, "\n};\n");
}

static const char *base_name(const char *path) { const char *s = strrchr(path, '/'); return s ? s + 1 : path; }

void gen_emit(GenRules *all, FILE *to)
{
	static const char *const marks[] = { "EXACT", "EXACTER", "FUSE", "REORDER", "APPROX" };
	Emit *e = &(Emit){ .all = all, .cx = all->cx, .a = ts_arena(all->cx), .to = to };
	TS_VEC(const char *) rules = { 0 };
	for (uint32_t i = 0; i < all->rules.n; i++) {
		const GenRule *r = all->rules.p[i];
		uint32_t pat = e->pats.n, make = e->makes.n, where = e->calls.n, line, col;
		for (uint32_t k = 0; k < r->where.n; k++) add_call(e, &r->where.p[k], "cond");
		emit_pattern(e, r->pat);
		emit_make(e, r->make);
		ts_source_line_col(e->cx, r->at.file, r->at.begin, &line, &col);
		ts_push(e->a, &rules, ts_printf(e->a, "{ .name = \"%s\", .file = \"%s\", .line = %u, .mark = TS_MARK_%s, .pat = %u, .make = %u, .where = %u, .nwhere = %u, .nslots = %u }", r->name,
			base_name(ts_source_name(e->cx, r->at.file)), line, marks[r->mark], pat, make, where, r->where.n, r->slot_names.n));
	}
	fprintf(to, "/* Made by gen-rules from the .rules files of middle/rewrite. */\n");
	emit_prototypes(e);
	list(e, "uint8_t", "rule_ops", e->oplist.p, e->oplist.n);
	list(e, "TsCall", "rule_calls", e->calls.p, e->calls.n);
	list(e, "TsMakeAttr", "rule_pat_attrs", e->pat_attrs.p, e->pat_attrs.n);
	list(e, "TsPat", "rule_pats", e->pats.p, e->pats.n);
	list(e, "TsMakeAttr", "rule_make_attrs", e->make_attrs.p, e->make_attrs.n);
	list(e, "TsMake", "rule_makes", e->makes.p, e->makes.n);
	list(e, "TsRule", "rule_table", rules.p, rules.n);
	emit_index(e);
}

/* The rule as it stands, on one line. */
static void doc_text(TsCtx *cx, const GenRule *r, FILE *to)
{
	size_t n;
	const char *t = ts_source_text(cx, r->text.file, &n);
	bool blank = false;
	for (uint32_t i = r->text.begin; i < r->text.end; i++) {
		if (strchr(" \t\n", t[i])) { blank = true; continue; }
		if (blank) fputc(' ', to);
		blank = false;
		fputc(t[i], to);
	}
}

void gen_doc(GenRules *all, FILE *to)
{
	static const char *const marks[] = { "keeps every bit", "nearer to mathematics", "same mathematics, within the operator's bound", "another order of operations", "approximation" };
	uint32_t file = 0;
	for (uint32_t i = 0; i < all->rules.n; i++) {
		const GenRule *r = all->rules.p[i];
		if (r->at.file != file) fprintf(to, "%s### %s\n", file ? "\n" : "", base_name(ts_source_name(all->cx, r->at.file)));
		file = r->at.file;
		fprintf(to, "- `%s`: %s.\n  `", r->name, marks[r->mark]);
		doc_text(all->cx, r, to);
		fprintf(to, "`\n");
	}
}
