#include "emit/plan_text.h"
#include <inttypes.h>

typedef struct {
	const TsPlanHeader *p;
	const TsPlanExpr *ex;
	TsBuf *to;
	size_t limit;
	const char *(*name)(void *, uint32_t); /* of dims, in C; NULL: the readable form */
	void *user;
	bool cut;
} Writer;

/* how tightly an operator binds; operands that bind less get brackets */
enum { P_SELECT, P_OR, P_AND, P_COMPARE, P_SUM, P_PRODUCT, P_ATOM };
static const struct { const char *text, *c; int level; } ops[TS_EX_KINDS] = {
	[TS_EX_CONST] = { NULL, NULL, P_ATOM }, [TS_EX_DIM] = { NULL, NULL, P_ATOM }, [TS_EX_LOOP] = { NULL, NULL, P_ATOM },
	[TS_EX_NUM] = { NULL, NULL, P_ATOM },
	[TS_EX_ADD] = { " + ", " + ", P_SUM }, [TS_EX_SUB] = { " - ", " - ", P_SUM }, [TS_EX_MUL] = { "*", "*", P_PRODUCT },
	[TS_EX_DIV] = { "//", " / ", P_PRODUCT }, /* sizes are not negative */ [TS_EX_MOD] = { "%", " % ", P_PRODUCT },
	[TS_EX_MIN] = { "min", " < ", P_ATOM }, [TS_EX_MAX] = { "max", " > ", P_ATOM }, [TS_EX_EQ] = { " == ", " == ", P_COMPARE },
	[TS_EX_NE] = { " != ", " != ", P_COMPARE }, [TS_EX_LT] = { " < ", " < ", P_COMPARE }, [TS_EX_LE] = { " <= ", " <= ", P_COMPARE },
	[TS_EX_AND] = { " and ", " && ", P_AND }, [TS_EX_OR] = { " or ", " || ", P_OR }, [TS_EX_SELECT] = { NULL, NULL, P_SELECT },
};

static void expr(Writer *w, uint32_t i, int level, int depth);

/* before x between y after z end */
static void three(Writer *w, const char *before, uint32_t x, const char *between, uint32_t y, const char *after, uint32_t z, int depth)
{
	ts_buf_str(w->to, before);
	expr(w, x, P_SUM, depth);
	ts_buf_str(w->to, between);
	expr(w, y, P_SUM, depth);
	ts_buf_str(w->to, after);
	expr(w, z, P_SUM, depth);
}

static void min_max(Writer *w, const TsPlanExpr *x, int depth)
{
	if (w->name) { /* (a < b ? a : b) */
		ts_buf_str(w->to, "(");
		expr(w, x->a, P_SUM, depth);
		three(w, ops[x->kind].c, x->b, " ? ", x->a, " : ", x->b, depth);
	} else {
		ts_buf_fmt(w->to, "%s(", ops[x->kind].text);
		expr(w, x->a, P_SELECT, depth);
		ts_buf_str(w->to, ", ");
		expr(w, x->b, P_SELECT, depth);
	}
	ts_buf_str(w->to, ")");
}

/* In x * (y // z * u) the brackets have to stay: without them the division would be of x*y. */
static bool begins_with_quotient(const TsPlanExpr *ex, uint32_t i)
{
	while (ex[i].kind == TS_EX_MUL && ex[ex[i].b].kind != TS_EX_CONST)
		i = ex[i].a;
	return ex[i].kind == TS_EX_DIV || ex[i].kind == TS_EX_MOD;
}

static void binary(Writer *w, const TsPlanExpr *x, int depth)
{
	int level = ops[x->kind].level;
	bool commutes = x->kind == TS_EX_ADD || x->kind == TS_EX_MUL;
	bool swap = x->kind == TS_EX_MUL && w->ex[x->b].kind == TS_EX_CONST; /* 4*B reads better than B*4 */
	uint32_t a = swap ? x->b : x->a, b = swap ? x->a : x->b;
	expr(w, a, level, depth);
	ts_buf_str(w->to, w->name ? ops[x->kind].c : ops[x->kind].text);
	bool chain = commutes && w->ex[b].kind == x->kind && !(x->kind == TS_EX_MUL && begins_with_quotient(w->ex, b));
	expr(w, b, chain ? level : level + 1, depth);
}

static void expr(Writer *w, uint32_t i, int level, int depth)
{
	if (depth > 100 || w->to->n > w->limit) {
		if (!w->cut)
			ts_buf_str(w->to, "...");
		w->cut = true;
		return;
	}
	const TsPlanExpr *x = &w->ex[i];
	bool brackets = ops[x->kind].level < level || (x->kind == TS_EX_CONST && x->value < 0 && level > P_SELECT);
	if (brackets)
		ts_buf_str(w->to, "(");
	switch (x->kind) {
	case TS_EX_CONST: ts_buf_fmt(w->to, "%" PRId64, x->value); break;
	case TS_EX_LOOP: ts_buf_fmt(w->to, "i%u", x->a); break;
	case TS_EX_NUM: ts_buf_fmt(w->to, "num%u", x->a); break;
	case TS_EX_DIM: ts_buf_str(w->to, w->name ? w->name(w->user, x->a) : ts_plan_str(w->p, TS_PLAN_TABLE(w->p, TsPlanDim, dims)[x->a].name)); break;
	case TS_EX_MIN: case TS_EX_MAX: min_max(w, x, depth + 1); break;
	case TS_EX_SELECT:
		if (w->name)
			three(w, "", x->a, " ? ", x->b, " : ", x->c, depth + 1);
		else
			three(w, "if ", x->a, " then ", x->b, " else ", x->c, depth + 1);
		break;
	default: binary(w, x, depth + 1);
	}
	if (brackets)
		ts_buf_str(w->to, ")");
}

void ts_plan_expr_text(const TsPlanHeader *p, uint32_t e, TsBuf *to)
{
	Writer w = { .p = p, .ex = TS_PLAN_TABLE(p, TsPlanExpr, exprs), .to = to, .limit = to->n + 20000 };
	expr(&w, e, P_SELECT, 0);
}

void ts_plan_formula_text(const TsPlanHeader *p, const TsPlanKernel *k, uint32_t formula, TsBuf *to)
{
	Writer w = { .p = p, .ex = TS_PLAN_TABLE(p, TsPlanExpr, formulas) + k->formula, .to = to, .limit = to->n + 20000 };
	expr(&w, formula, P_SELECT, 0);
}

bool ts_plan_expr_c(const TsPlanHeader *p, uint32_t e, const char *(*name)(void *, uint32_t), void *user, TsBuf *to)
{
	Writer w = { .p = p, .ex = TS_PLAN_TABLE(p, TsPlanExpr, exprs), .to = to, .limit = to->n + 2000, .name = name, .user = user };
	expr(&w, e, P_SELECT, 0);
	return !w.cut;
}
