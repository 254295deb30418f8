/* What an idx expression is certainly a multiple of. */
#include "ir/tile.h"

enum { MAX_DEPTH = 64, LARGEST = 1 << 30 };

static int64_t of(const TsTree *x, int depth);

static int64_t of_range(const TsTree *r, int depth)
{
	return ts_gcd(of(r->kid[0], depth), r->kid[2] ? of(r->kid[2], depth) : 1);
}

static int64_t of_name(const TsTree *decl, int depth)
{
	const TsTInfo *info = decl ? ts_tinfo(decl) : NULL;
	if (!info) return 1;
	switch (decl->kind) {
	case TS_TREE_PARAM: return info->step > 0 ? info->step : 1;
	case TS_TREE_BIND: return info->def ? of(info->def, depth) : 1;
	case TS_TREE_FOR: return of_range(decl->kid[0], depth);
	case TS_TREE_KW: return decl->kid[0] && decl->kid[0]->kind == TS_TREE_RANGE ? of_range(decl->kid[0], depth) : 1;
	default: return 1;
	}
}

static int64_t of_infix(const TsTree *x, int depth)
{
	int64_t a = of(x->kid[0], depth), b = of(x->kid[1], depth);
	switch (x->sub) {
	case TS_IN_ADD:
	case TS_IN_SUB:
	case TS_IN_MOD: return ts_gcd(a, b);
	case TS_IN_MUL: return !a || !b ? 0 : a > LARGEST / b ? (a > b ? a : b) : a * b;
	default: return 1;
	}
}

static int64_t of_call(const TsTree *x, int depth)
{
	int32_t op = ts_tinfo(x) ? ts_tinfo(x)->op : -1;
	if (op != TS_TILE_min && op != TS_TILE_max && op != TS_TILE_select) return 1;
	int64_t n = 0;
	for (uint32_t i = op == TS_TILE_select ? 2 : 1; i < x->n; i++) n = ts_gcd(n, of(x->kid[i], depth));
	return n;
}

/* 0: it is 0 */
static int64_t of(const TsTree *x, int depth)
{
	const TsTInfo *info = ts_tinfo(x);
	int64_t v = x->kind == TS_TREE_INT ? x->i : info && info->known ? info->value : -1;
	if (x->kind == TS_TREE_INT || (info && info->known && info->type.form == TS_TT_IDX)) return v == INT64_MIN ? 1 : v < 0 ? -v : v;
	if (depth >= MAX_DEPTH) return 1;
	switch (x->kind) {
	case TS_TREE_NAME: return of_name(info ? info->decl : NULL, depth + 1);
	case TS_TREE_NEG: return of(x->kid[0], depth + 1);
	case TS_TREE_BIN: return of_infix(x, depth + 1);
	case TS_TREE_CALL: return of_call(x, depth + 1);
	default: return 1;
	}
}

int64_t ts_tile_multiple(const TsTree *idx)
{
	int64_t n = of(idx, 0);
	return n ? n : LARGEST;
}
