#include "ir/op.h"
#include "support/map.h"
#include <stdlib.h>
#include <string.h>

/* ops.def once more, as text: the words of its columns and the strings still to be parsed. */
enum { PURE = TS_F_PURE, COMM = TS_F_COMM, ASSOC = TS_F_ASSOC, IDEMPOTENT = TS_F_IDEMPOTENT, LINEAR = TS_F_LINEAR, INVOLUTION = TS_F_INVOLUTION,
	BROADCAST = TS_F_BROADCAST, TILE = TS_F_TILE };
enum { FLOAT = TS_T_FLOAT, INT = TS_T_INT, BOOL = TS_T_BOOL, STORAGE = TS_T_STORAGE, COMPLEX = TS_T_COMPLEX, NUM = TS_T_NUM, COMPUTE = TS_T_COMPUTE, ANY = TS_T_ANY };

typedef struct { const char *name, *ins, *attrs; uint32_t flags; TsOpClass cls; uint32_t types; const char *adjoint, *bound, *doc; } Line;
static const Line lines[TS_OP_COUNT] = {
#define OP(name, ins, attrs, flags, cls, types, shape, ref, adjoint, bound, doc) \
	[TS_OP_##name] = { #name, ins, attrs, flags, TS_CLS_##cls, types, #adjoint, bound, doc },
#include "ir/ops.def"
};

typedef struct { TsOpInfo info[TS_OP_COUNT]; TsMap by_name; } Table;

/* The next word of *s up to a space outside brackets, copied; NULL at the end. */
static char *next_word(TsArena *a, const char **s)
{
	const char *p = *s;
	while (*p == ' ') p++;
	if (!*p) return NULL;
	const char *end = p;
	while (*end && *end != ' ') end++;
	*s = end;
	return ts_strndup(a, p, (size_t)(end - p));
}

/* operands = { NAME ["?" | "*"] } */
static void parse_ins(TsCtx *cx, TsOpInfo *o, const char *s)
{
	for (char *w; (w = next_word(ts_arena(cx), &s));) {
		size_t n = strlen(w);
		if (o->nin == TS_MAX_OP_INS) ts_bug(cx, (TsSpan){ 0 }, "ops.def: %s has too many operands", o->name);
		if (w[n - 1] == '*') o->variadic = true;
		bool optional = w[n - 1] == '?';
		if (optional || o->variadic) w[n - 1] = 0;
		else if (o->min_in < o->nin) ts_bug(cx, (TsSpan){ 0 }, "ops.def: %s: operand %s follows an optional one", o->name, w);
		o->in[o->nin++] = w;
		if (!optional) o->min_in = o->nin;
	}
	if (o->variadic && o->nin != 1) ts_bug(cx, (TsSpan){ 0 }, "ops.def: %s: a list must be the only operand", o->name);
}

static double default_number(TsCtx *cx, const TsOpInfo *o, const TsAttrInfo *at)
{
	TsDtype t;
	switch (at->kind) {
	case TS_A_BOOL: return !strcmp(at->text, "true");
	case TS_A_DTYPE:
		if (!ts_dtype_find(at->text, &t)) ts_bug(cx, (TsSpan){ 0 }, "ops.def: %s.%s: no element type %s", o->name, at->name, at->text);
		return t;
	case TS_A_ENUM: return 0;
	default: return strtod(at->text, NULL);
	}
}

/* attributes = { NAME ":" kind ["=" default] } */
static void parse_attrs(TsCtx *cx, TsOpInfo *o, const char *s)
{
	static const char *const kinds[] = { [TS_A_INT] = "int", [TS_A_FLOAT] = "float", [TS_A_BOOL] = "bool", [TS_A_ENUM] = "enum", [TS_A_DTYPE] = "dtype",
		[TS_A_INTS] = "ints", [TS_A_DIM] = "dim", [TS_A_DIMS] = "dims" };
	for (char *w; (w = next_word(ts_arena(cx), &s));) {
		if (o->nattr == TS_MAX_OP_ATTRS) ts_bug(cx, (TsSpan){ 0 }, "ops.def: %s has too many attributes", o->name);
		TsAttrInfo *at = &o->attr[o->nattr++];
		char *kind = strchr(w, ':'), *eq = strchr(w, '='), *open = strchr(w, '('), *close = strchr(w, ')');
		if (!kind) ts_bug(cx, (TsSpan){ 0 }, "ops.def: %s: attribute %s has no kind", o->name, w);
		*kind++ = 0;
		if (eq) *eq++ = 0;
		if (open && close) {
			*open = *close = 0;
			at->choices = open + 1;
		}
		at->name = w;
		bool known = false;
		for (int k = 0; k <= TS_A_DIMS; k++)
			if (!strcmp(kind, kinds[k])) { at->kind = (TsAttrKind)k; known = true; }
		if (!known) ts_bug(cx, (TsSpan){ 0 }, "ops.def: %s.%s: unknown kind %s", o->name, w, kind);
		at->required = !eq;
		at->text = eq ? eq : "";
		at->none_default = eq && !strcmp(eq, "none") && at->kind != TS_A_ENUM;
		if (eq && !at->none_default) at->num = default_number(cx, o, at);
	}
}

static Table *table(TsCtx *cx)
{
	void **slot = ts_ctx_slot(cx, TS_SLOT_OPS);
	if (*slot) return *slot;
	Table *t = TS_NEW(ts_arena(cx), Table);
	for (int op = TS_OP_NONE + 1; op < TS_OP_COUNT; op++) {
		const Line *l = &lines[op];
		TsOpInfo *o = &t->info[op];
		TsSym name = ts_intern(cx, l->name);
		*o = (TsOpInfo){ .name = name, .doc = l->doc, .flags = l->flags, .types = l->types, .cls = l->cls, .bound = l->bound, .adjoint = strcmp(l->adjoint, "none") ? l->adjoint : NULL };
		parse_ins(cx, o, l->ins);
		parse_attrs(cx, o, l->attrs);
		ts_map_set(ts_arena(cx), &t->by_name, name, (void *)(uintptr_t)op);
	}
	return *slot = t;
}

const TsOpInfo *ts_op_info(TsCtx *cx, TsOp op) { return &table(cx)->info[op < TS_OP_COUNT ? op : TS_OP_NONE]; }

TsOp ts_op_find(TsCtx *cx, TsSym name)
{
	uintptr_t *v = name ? ts_map_find(&table(cx)->by_name, name) : NULL;
	return v ? (TsOp)*v : TS_OP_NONE;
}

int ts_op_attr_index(const TsOpInfo *info, const char *name)
{
	for (int i = 0; i < info->nattr; i++)
		if (!strcmp(info->attr[i].name, name)) return i;
	return -1;
}
