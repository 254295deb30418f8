/* Statements and names of Tile IR. */
#include "ir/tile_abi.h"
#include "ir/tile_check.h"
#include <stdarg.h>
#include <string.h>

static bool check_block(TsVerify *v, TsTree *block, const TsTType *want, uint32_t nwant, TsTType *out, uint32_t *nout);

const TsTileOpInfo *ts_tile_op_info(TsTileOp op)
{
#define LANE TS_SC_LANE
#define WARP TS_SC_WARP
#define ROLE TS_SC_ROLE
#define CTA TS_SC_CTA
#define TILE_OP(name, scope, targets, doc) { #name, scope, TS_TG_##targets, doc },
	static const TsTileOpInfo info[] = {
#include "ir/tile_ops.def"
	};
	return &info[op];
}

const TsTileTarget *ts_tile_target(const char *name)
{
	static const TsTileTarget target[] = {
#define TILE_TARGET(name, cls, warp, simd, threads, regs, shared, bars) { name, cls, warp, simd, threads, regs, shared, bars },
#include "ir/tile_targets.def"
	};
	for (size_t i = 0; i < sizeof target / sizeof *target; i++)
		if (!strcmp(target[i].name, name)) return &target[i];
	return NULL;
}

bool tv_fail(TsVerify *v, const TsTree *at, const char *code, const char *fmt, ...)
{
	TsBuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(&b, fmt, ap);
	va_end(ap);
	TsSpan span = at ? at->at : (TsSpan){ 0 };
	if (!span.file && v->kernel) span = v->kernel->at;
	ts_error(v->cx, span, code, "%s", b.p);
	ts_buf_free(&b);
	return false;
}

TsTInfo *tv_info(TsVerify *v, TsTree *t)
{
	if (!t->note) {
		t->note = TS_NEW(ts_arena(v->cx), TsTInfo);
		ts_tinfo(t)->op = ts_tinfo(t)->id = -1;
		ts_tinfo(t)->type.form = TS_TT_NONE;
	}
	return ts_tinfo(t);
}

/* Notes of an earlier run go, so that nothing stale is read. */
static void forget(TsTree *t, int depth)
{
	if (!t || depth > TV_MAX_DEPTH * 4) return;
	t->note = NULL;
	for (uint32_t i = 0; i < t->n; i++) forget(t->kid[i], depth + 1);
}

TsTree *tv_lookup(TsVerify *v, TsSym name)
{
	for (uint32_t i = v->scope.n; i-- > 0;)
		if (v->scope.p[i].name == name) return v->scope.p[i].decl;
	return NULL;
}

bool tv_declare(TsVerify *v, TsTree *decl, TsSym name)
{
	TsTInfo *info = tv_info(v, decl);
	info->id = v->next_id++;
	if (!name || !strcmp(name, "_")) return true;
	if (tv_lookup(v, name)) return tv_fail(v, decl, "E_TILE_REDEFINED", "'%s' has a value already; a name is assigned once", name);
	ts_push(ts_arena(v->cx), &v->scope, (TvName){ name, decl });
	return true;
}

const TsLayout *tv_layout(TsVerify *v, const TsLayout *l)
{
	TsLayout normal = ts_layout_coalesce(l);
	for (uint32_t i = 0; i < v->layouts.n; i++)
		if (!memcmp(v->layouts.p[i], &normal, sizeof normal)) return v->layouts.p[i];
	const TsLayout *kept = ts_memdup(ts_arena(v->cx), &normal, sizeof normal);
	ts_push(ts_arena(v->cx), &v->layouts, kept);
	return kept;
}

/* ---- layouts ---- */
static bool check_digit(TsVerify *v, const TsTree *t, const TsTree *dims, TsLayout *l)
{
	static const char axes[] = "rvlwgcs";
	const char *at = t->name && t->name[0] && !t->name[1] ? strchr(axes, t->name[0]) : NULL;
	if (!at) return tv_fail(v, t, "E_TILE_LAYOUT", "no axis '%s'; a digit begins with r, v, l, w, g, c or s", t->name ? t->name : "");
	if (t->i < 1 || t->i > UINT16_MAX || t->sub < 0) return tv_fail(v, t, "E_TILE_LAYOUT", "a digit's extent lies in 1..65535 and its stride is not negative");
	if (l->n == TS_LAY_MAX) return tv_fail(v, t, "E_TILE_LAYOUT", "a layout has at most %d digits", TS_LAY_MAX);
	TsDigit d = { (uint8_t)(at - axes), TS_LAY_NODIM, (uint16_t)t->i, (uint32_t)t->sub };
	const TsTree *dim = t->n ? t->kid[0] : NULL;
	for (uint32_t i = 0; dim && i < dims->n; i++)
		if (dims->kid[i]->name == dim->name) d.dim = (uint8_t)i;
	if (dim && d.dim == TS_LAY_NODIM) return tv_fail(v, dim, "E_TILE_LAYOUT", "the layout has no dim '%s'", dim->name);
	if (!dim) d.stride = 0;
	l->d[l->n++] = d;
	return true;
}

static bool check_layout(TsVerify *v, TsTree *t)
{
	TsLayout l = { 0 };
	const TsTree *dims = t->kid[0];
	if (dims->n < 1 || dims->n > TS_LAY_RANK) return tv_fail(v, t, "E_TILE_LAYOUT", "a layout has 1 to %d dims", TS_LAY_RANK);
	l.rank = (uint8_t)dims->n;
	bool memory = false, reg = false;
	for (uint32_t i = 1; i < t->n; i++) {
		if (t->kid[i]->kind == TS_TREE_SWIZZLE) {
			int64_t s = t->kid[i]->i;
			if (s != 32 && s != 64 && s != 128) return tv_fail(v, t->kid[i], "E_TILE_LAYOUT", "a swizzle is 32, 64 or 128");
			l.swizzle = (uint8_t)s;
			continue;
		}
		if (!check_digit(v, t->kid[i], dims, &l)) return false;
		if (l.d[l.n - 1].axis == TS_AX_S) memory = true;
		else if (l.d[l.n - 1].axis != TS_AX_C) reg = true; /* c: in which CTA, of either */
	}
	if (memory && reg) return tv_fail(v, t, "E_TILE_LAYOUT", "'%s' mixes memory digits (s) with register digits", t->name);
	if (l.swizzle && !memory) return tv_fail(v, t, "E_TILE_LAYOUT", "only a memory layout (s digits) has a swizzle");
	int64_t extent[TS_LAY_RANK];
	const char *why;
	for (int i = 0; i < l.rank; i++) extent[i] = ts_layout_extent(&l, i);
	if (!ts_layout_check(&l, extent, &why)) return tv_fail(v, t, "E_TILE_LAYOUT", "'%s' is no layout: %s", t->name, why);
	TsTInfo *info = tv_info(v, t);
	info->type.layout = tv_layout(v, &l);
	info->type.rank = l.rank;
	memcpy(info->type.extent, extent, sizeof extent);
	return tv_declare(v, t, t->name);
}

/* ---- results, binds, attributes ---- */
static bool check_attrs(TsVerify *v, const TsTree *attrs, const char *allowed)
{
	for (uint32_t i = 0; attrs && i < attrs->n; i++) {
		const char *name = attrs->kid[i]->name, *at = strstr(allowed, name);
		size_t n = strlen(name);
		if (!at || (at != allowed && at[-1] != ' ') || (at[n] && at[n] != ' ')) {
			tv_fail(v, attrs->kid[i], "E_TILE_ATTR", "no attribute '%s' here", name);
			if (*allowed) ts_hint(v->cx, "known: %s", allowed);
			return false;
		}
	}
	return true;
}

static bool attr_int(TsVerify *v, const TsTree *attrs, const char *name, int64_t lo, int64_t hi, int64_t unset, int64_t *out)
{
	TsTree *x = ts_tile_attr(attrs, name);
	*out = unset;
	if (!x) return true;
	if (x->kind != TS_TREE_INT || x->i < lo || x->i > hi) return tv_fail(v, x, "E_TILE_ATTR", "%s is a number in %lld..%lld", name, (long long)lo, (long long)hi);
	*out = x->i;
	return true;
}

/* What the block's yield must give, or gives: types of `want` are checked where their form is not NONE. */
static bool check_yield(TsVerify *v, TsTree *y, const TsTType *want, uint32_t nwant, TsTType *out, uint32_t *nout)
{
	if (y->n != nwant) return tv_fail(v, y, "E_TILE_YIELD", "yields %u values, expected %u", y->n, nwant);
	for (uint32_t i = 0; i < y->n; i++) {
		if (!tv_expr(v, y->kid[i], &want[i], &out[i])) return false;
		if (want[i].form != TS_TT_NONE && !tv_type_eq(&want[i], &out[i]))
			return tv_fail(v, y->kid[i], "E_TILE_TYPE", "yields %s, expected %s", tv_type_text(v, &out[i]), tv_type_text(v, &want[i]));
	}
	*nout = y->n;
	return true;
}

static bool check_range(TsVerify *v, TsTree *r)
{
	if (!r || r->kind != TS_TREE_RANGE || !r->kid[0] || !r->kid[1]) return tv_fail(v, r, "E_TILE_RANGE", "expected a range with both ends");
	if (!tv_idx(v, r->kid[0]) || !tv_idx(v, r->kid[1])) return false;
	TsTInfo *info = tv_info(v, r);
	info->step = 1;
	if (!r->kid[2]) return true;
	if (!tv_idx(v, r->kid[2])) return false;
	TsTInfo *step = ts_tinfo(r->kid[2]);
	info->step = step->known ? step->value : 0;
	if (step->known && !step->value) return tv_fail(v, r->kid[2], "E_TILE_RANGE", "a step of 0 never ends");
	return true;
}

/* Of a range with constant ends and step; -1 when that is known at run time only. */
static int64_t trip_count(const TsTree *r)
{
	const TsTInfo *lo = ts_tinfo(r->kid[0]), *hi = ts_tinfo(r->kid[1]);
	int64_t step = ts_tinfo(r)->step, span;
	if (!lo->known || !hi->known || !step || __builtin_sub_overflow(hi->value, lo->value, &span)) return -1;
	if (step < 0 ? span >= 0 : span <= 0) return 0;
	return step == -1 ? (span == INT64_MIN ? -1 : -span) : span / step + (span % step != 0);
}

static bool check_for(TsVerify *v, TsTree *t, const TsTree *attrs, TsTType *out, uint32_t *nout)
{
	int64_t unroll;
	if (!check_attrs(v, attrs, "unroll") || !attr_int(v, attrs, "unroll", 1, 64, 1, &unroll)) return false;
	if (!check_range(v, t->kid[0])) return false;
	uint32_t mark = v->scope.n;
	TsTree *with = t->kid[1];
	uint32_t n = with ? with->n : 0;
	if (n > TV_MAX_VALUES) return tv_fail(v, with, "E_TILE_SIZE", "at most %d carried values", TV_MAX_VALUES);
	for (uint32_t i = 0; i < n; i++) { /* all initial values are read before any name is made */
		TsTree *kw = with->kid[i];
		TsTInfo *info = tv_info(v, kw);
		if (!tv_expr(v, kw->kid[0], NULL, &info->type)) return false;
		if (info->type.form > TS_TT_TILE && info->type.form != TS_TT_POS) return tv_fail(v, kw, "E_TILE_TYPE", "a loop carries idx, scalars, tiles and ring positions");
		if (info->type.form == TS_TT_SCALAR && info->type.elem == TS_DTYPE_NONE) return tv_fail(v, kw, "E_TILE_TYPE", "a carried literal needs a typed name: x: f32[] = 0.0");
	}
	TsTInfo *var = tv_info(v, t);
	var->type = (TsTType){ .form = TS_TT_IDX };
	int64_t trips = trip_count(t->kid[0]);
	if (trips >= 0 && unroll >= trips) var->def = t->kid[0];
	if (!tv_declare(v, t, t->name)) return false;
	TsTType want[TV_MAX_VALUES];
	for (uint32_t i = 0; i < n; i++) {
		want[i] = ts_tinfo(with->kid[i])->type;
		if (!tv_declare(v, with->kid[i], with->kid[i]->name)) return false;
	}
	bool ok = check_block(v, t->kid[2], want, n, out, nout);
	v->scope.n = mark;
	return ok;
}

static bool check_if(TsVerify *v, TsTree *t, const TsTree *attrs, const TsTType *want, uint32_t nwant, TsTType *out, uint32_t *nout)
{
	TsTType c;
	if (!check_attrs(v, attrs, "")) return false;
	if (!tv_expr(v, t->kid[0], NULL, &c)) return false;
	if (c.form != TS_TT_SCALAR || c.elem != TS_BOOL) return tv_fail(v, t->kid[0], "E_TILE_TYPE", "a condition is a bool, this is %s", tv_type_text(v, &c));
	uint32_t mark = v->scope.n;
	bool ok = check_block(v, t->kid[1], want, nwant, out, nout);
	v->scope.n = mark;
	if (!ok) return false;
	TsTree *other = t->kid[2];
	if (!other) return nwant ? tv_fail(v, t, "E_TILE_YIELD", "an `if` with results needs an `else`") : true;
	TsTType second[TV_MAX_VALUES], *same = nwant ? out : (TsTType *)want;
	uint32_t n;
	ok = other->kind == TS_TREE_IF ? check_if(v, other, NULL, same, nwant, second, &n) : check_block(v, other, same, nwant, second, &n);
	v->scope.n = mark;
	return ok;
}

/* The right side of a LET or a statement of its own. */
static bool check_rhs(TsVerify *v, TsTree *rhs, const TsTree *attrs, const TsTType *want, uint32_t nwant, TsTType *out, uint32_t *nout)
{
	*nout = 0;
	switch (rhs->kind) {
	case TS_TREE_FOR: return check_for(v, rhs, attrs, out, nout);
	case TS_TREE_IF: return check_if(v, rhs, attrs, want, nwant, out, nout);
	case TS_TREE_CALL: {
		TvCall c = { .call = rhs, .arg = rhs->kid + 1, .want = want, .nwant = nwant, .out = out };
		if (!check_attrs(v, attrs, "") || !tv_call(v, &c)) return false;
		*nout = c.nout;
		return true;
	}
	default:
		*nout = 1;
		return check_attrs(v, attrs, "") && tv_expr(v, rhs, nwant ? &want[0] : NULL, &out[0]);
	}
}

/* A literal takes the declared type; the others must have it. */
static bool settle(TsVerify *v, TsTree *bind, TsTree *rhs, const TsTType *want, TsTType *have)
{
	if (have->form == TS_TT_UNKNOWN) return true;
	if (want->form == TS_TT_SCALAR && (have->form == TS_TT_IDX || have->elem == TS_DTYPE_NONE) && tv_operand(v, rhs, have, want->elem)) *have = *want;
	if (have->form == TS_TT_SCALAR && have->elem == TS_DTYPE_NONE) return tv_fail(v, bind, "E_TILE_TYPE", "a literal needs a type here: %s: f32[] = …", bind->name);
	if (have->form == TS_TT_MEM || have->form == TS_TT_RING || have->form == TS_TT_SLOT) return tv_fail(v, rhs, "E_TILE_TYPE", "memory has no second name; write it where it is used");
	if (want->form == TS_TT_NONE) return true;
	TsTType w = *want;
	if (w.form == TS_TT_TILE && !w.layout) w.layout = have->layout;
	if (w.form == TS_TT_POS) w.decl = have->decl;
	if (!tv_type_eq(&w, have)) return tv_fail(v, bind, "E_TILE_TYPE", "'%s' is declared %s, its value is %s", bind->name, tv_type_text(v, want), tv_type_text(v, have));
	return true;
}

static bool check_let(TsVerify *v, TsTree *t)
{
	TsTree *binds = t->kid[0], *rhs = t->kid[1];
	TsTType want[TV_MAX_VALUES], out[TV_MAX_VALUES];
	uint32_t n;
	if (binds->n > TV_MAX_VALUES) return tv_fail(v, t, "E_TILE_SIZE", "at most %d results", TV_MAX_VALUES);
	for (uint32_t i = 0; i < binds->n; i++) {
		TsTree *type = binds->kid[i]->n ? binds->kid[i]->kid[0] : NULL;
		want[i] = (TsTType){ .form = TS_TT_NONE };
		if (type && !tv_type(v, type, &want[i])) return false;
	}
	if (!check_rhs(v, rhs, t->n > 2 ? t->kid[2] : NULL, want, binds->n, out, &n)) return false;
	if (n != binds->n) return tv_fail(v, t, "E_TILE_RESULTS", "%u names for %u results", binds->n, n);
	for (uint32_t i = 0; i < n; i++) {
		TsTree *b = binds->kid[i];
		if (!settle(v, b, rhs, &want[i], &out[i]) || !tv_declare(v, b, b->name)) return false;
		TsTInfo *info = ts_tinfo(b);
		info->type = out[i];
		if (rhs->kind == TS_TREE_FOR || rhs->kind == TS_TREE_IF || (n > 1 && out[i].form != TS_TT_IDX)) continue;
		info->def = rhs;
		if (n > 1) info->value = i;
		if (n > 1 || out[i].form != TS_TT_IDX) continue;
		TvLin lin = tv_lin(v, rhs);
		if (lin.ok) ts_map_set(ts_arena(v->cx), &v->lins, b, ts_memdup(ts_arena(v->cx), &lin, sizeof lin));
		info->known = tv_lin_const(&lin, &info->value);
	}
	return true;
}

/* ---- other statements ---- */
static bool check_grid(TsVerify *v, TsTree *t)
{
	if (v->seen_grid || v->depth != 1) return tv_fail(v, t, "E_TILE_GRID", "one grid for each kernel, at its top level");
	v->seen_grid = true;
	if (t->n < 1 || t->n > 3) return tv_fail(v, t, "E_TILE_GRID", "a grid has one to three axes");
	for (uint32_t i = 0; i < t->n; i++) {
		TsTree *kw = t->kid[i];
		if (!check_range(v, kw->kid[0])) return false;
		if (ts_tinfo(kw->kid[0])->step < 0) return tv_fail(v, kw, "E_TILE_GRID", "a grid's step is positive");
		tv_info(v, kw)->type = (TsTType){ .form = TS_TT_IDX };
	}
	for (uint32_t i = 0; i < t->n; i++)
		if (!tv_declare(v, t->kid[i], t->kid[i]->name)) return false;
	return true;
}

static int64_t mem_bytes(const TsTType *t)
{
	int64_t bits = ts_dtype_bits(t->elem);
	for (int i = 0; i < t->rank; i++)
		if (__builtin_mul_overflow(bits, t->extent[i], &bits)) return INT64_MAX / 64;
	return bits / 8;
}

/* Does all that is declared so far fit? */
static bool shared_fits(TsVerify *v, const TsTree *t)
{
	int64_t bytes = ts_tile_shared_bytes(v->kernel);
	return bytes <= v->target->shared_bytes || tv_fail(v, t, "E_TILE_SMEM", "%lld bytes of shared memory, %s has %d", (long long)bytes, v->target->name, v->target->shared_bytes);
}

static bool check_smem(TsVerify *v, TsTree *t)
{
	TsTInfo *info = tv_info(v, t);
	if (v->depth != 1) return tv_fail(v, t, "E_TILE_SMEM", "shared memory is declared at the kernel's top level");
	if (!tv_mem_type(v, t->kid[0], TS_SP_SHARED, &info->type)) return false;
	info->type.decl = t;
	int64_t ctas = ts_layout_axis_size(info->type.layout, TS_AX_C);
	if (ctas != 1 && ctas != v->cluster) return tv_fail(v, t, "E_TILE_LAYOUT", "the layout has %lld CTAs, the cluster %lld", (long long)ctas, (long long)v->cluster);
	TsTree *attrs = t->n > 1 ? t->kid[1] : NULL, *alias = ts_tile_attr(attrs, "alias");
	if (!check_attrs(v, attrs, "alias")) return false;
	if (alias) { /* the same bytes as an earlier buffer, from its start */
		TsTree *of = alias->kind == TS_TREE_NAME ? tv_lookup(v, alias->name) : NULL;
		if (!of || of->kind != TS_TREE_SMEM) return tv_fail(v, alias, "E_TILE_SMEM", "alias names a shared buffer");
		if (mem_bytes(&info->type) > mem_bytes(&ts_tinfo(of)->type)) return tv_fail(v, alias, "E_TILE_SMEM", "'%s' is larger than '%s'", t->name, of->name);
		tv_info(v, alias)->decl = of;
	}
	return (alias || shared_fits(v, t)) && tv_declare(v, t, t->name);
}

/* Slots with a full and an empty barrier each. */
static bool check_ring(TsVerify *v, TsTree *t)
{
	int64_t stages, count;
	TsTree *binds = t->kid[1], *attrs = t->n > 2 ? t->kid[2] : NULL;
	if (v->depth != 1 || !(v->target->cls & TS_TG_HOPPER)) return tv_fail(v, t, "E_TILE_RING", "a ring stands at the top level of a kernel for sm_90a");
	if (!tv_const(v, t->kid[0], &stages)) return false;
	if (stages < 1 || stages > 32) return tv_fail(v, t->kid[0], "E_TILE_RING", "a ring has 1 to 32 slots, not %lld", (long long)stages);
	if (!check_attrs(v, attrs, "full empty cluster")) return false;
	if (!ts_tile_attr(attrs, "full") || !ts_tile_attr(attrs, "empty")) return tv_fail(v, t, "E_TILE_RING", "ring '%s' needs { full = arrivals, empty = arrivals }", t->name);
	if (!attr_int(v, attrs, "full", 1, 1 << 20, 1, &count) || !attr_int(v, attrs, "empty", 0, 1 << 20, 1, &count)) return false;
	if (!attr_int(v, attrs, "cluster", 2, 16, v->cluster, &count)) return false;
	if (count != v->cluster) return tv_fail(v, t, "E_TILE_RING", "ring '%s' is one of %lld CTAs, the cluster has %lld", t->name, (long long)count, (long long)v->cluster);
	for (uint32_t i = 0; i < binds->n; i++) {
		TsTInfo *info = tv_info(v, binds->kid[i]);
		if (!tv_mem_type(v, binds->kid[i]->kid[0], TS_SP_SHARED, &info->type)) return false;
		for (uint32_t k = 0; k < i; k++)
			if (binds->kid[k]->name == binds->kid[i]->name) return tv_fail(v, binds->kid[i], "E_TILE_REDEFINED", "two buffers '%s' in a slot", binds->kid[i]->name);
		info->type.decl = binds->kid[i];
		info->id = v->next_id++;
	}
	TsTInfo *info = tv_info(v, t);
	info->type = (TsTType){ .form = TS_TT_RING, .decl = t };
	info->value = stages;
	return shared_fits(v, t) && tv_declare(v, t, t->name);
}

/* Warps with their own code, `times` instances of them. */
static bool check_role(TsVerify *v, TsTree *t)
{
	TsTree *attrs = t->kid[0];
	int64_t regs;
	if (v->depth != 1 || v->role || v->target->cls == TS_TG_CPU) return tv_fail(v, t, "E_TILE_ROLE", "roles stand at the top level of a GPU kernel");
	if (!check_attrs(v, attrs, "warps times regs") || !attr_int(v, attrs, "warps", 1, 32, 1, &v->warps) || !attr_int(v, attrs, "times", 1, 8, 1, &v->times) ||
	    !attr_int(v, attrs, "regs", 24, 255, 0, &regs)) return false;
	if (regs % 8) return tv_fail(v, t, "E_TILE_ROLE", "registers of a role are a multiple of 8, not %lld", (long long)regs);
	v->threads += v->warps * v->times * v->target->warp;
	v->registers += v->warps * v->times * v->target->warp * regs;
	if (v->threads > v->target->threads) return tv_fail(v, t, "E_TILE_ROLE", "%lld threads, %s has %d", (long long)v->threads, v->target->name, v->target->threads);
	if (v->registers > v->target->registers) return tv_fail(v, t, "E_TILE_ROLE", "%lld registers, %s has %d", (long long)v->registers, v->target->name, v->target->registers);
	TsTInfo *info = tv_info(v, t);
	info->value = v->times;
	info->step = v->warps;
	if (!tv_declare(v, t, t->name)) return false;
	TsTType out[1], none = { .form = TS_TT_NONE };
	uint32_t n, mark = v->scope.n;
	v->role = t;
	bool ok = check_block(v, t->kid[1], &none, 0, out, &n);
	v->role = NULL;
	v->scope.n = mark;
	return ok;
}

static bool check_one(TsVerify *v, TsTree *t)
{
	TsTType out[1], none = { .form = TS_TT_NONE };
	uint32_t n, mark = v->scope.n;
	if (v->one || v->target->cls == TS_TG_CPU) return tv_fail(v, t, "E_TILE_ROLE", "`one` elects a thread of a GPU role, once");
	v->one = t;
	bool ok = check_block(v, t->kid[0], &none, 0, out, &n);
	v->one = NULL;
	v->scope.n = mark;
	return ok;
}

static bool check_statement(TsVerify *v, TsTree *t)
{
	TsTType out[TV_MAX_VALUES], none = { .form = TS_TT_NONE };
	uint32_t n;
	switch (t->kind) {
	case TS_TREE_LAYOUT: return check_layout(v, t);
	case TS_TREE_GRID: return check_grid(v, t);
	case TS_TREE_SMEM: return check_smem(v, t);
	case TS_TREE_RING: return check_ring(v, t);
	case TS_TREE_ROLE: return check_role(v, t);
	case TS_TREE_ONE: return check_one(v, t);
	case TS_TREE_LET: return check_let(v, t);
	case TS_TREE_FOR:
	case TS_TREE_IF:
	case TS_TREE_CALL:
	case TS_TREE_EXPR: {
		TsTree *x = t->kind == TS_TREE_EXPR ? t->kid[0] : t;
		if (!check_rhs(v, x, t->kind == TS_TREE_EXPR && t->n > 1 ? t->kid[1] : NULL, &none, 0, out, &n)) return false;
		return n ? tv_fail(v, t, "E_TILE_RESULTS", "the result is not used; bind it to a name or to _") : true;
	}
	case TS_TREE_YIELD: return tv_fail(v, t, "E_TILE_YIELD", "yield only ends a block that has results");
	default: return tv_fail(v, t, "E_TILE_STATEMENT", "%s is no statement of Tile IR", ts_tree_kind_name(t->kind));
	}
}

static bool check_block(TsVerify *v, TsTree *block, const TsTType *want, uint32_t nwant, TsTType *out, uint32_t *nout)
{
	*nout = 0;
	if (++v->depth > TV_MAX_DEPTH) return tv_fail(v, block, "E_TILE_SIZE", "blocks nest deeper than %d", TV_MAX_DEPTH);
	bool ok = true;
	for (uint32_t i = 0; i < block->n && ok; i++) {
		TsTree *t = block->kid[i];
		if (t->kind == TS_TREE_YIELD && i + 1 == block->n && nwant) ok = check_yield(v, t, want, nwant, out, nout);
		else ok = check_statement(v, t);
	}
	if (ok && *nout != nwant) ok = tv_fail(v, block, "E_TILE_YIELD", "the block must end with a yield of %u values", nwant);
	v->depth--;
	return ok;
}

/* idx @multiple(8): what the launcher promises */
static bool multiple_of(TsVerify *v, TsTree *type, int64_t *out)
{
	*out = 1;
	for (uint32_t i = 0; i < type->n; i++) {
		const TsTree *a = type->kid[i];
		if (a->kind != TS_TREE_ANNOT || strcmp(a->name, "multiple")) return tv_fail(v, type->kid[i], "E_TILE_ATTR", "an idx parameter may say @multiple(n)");
		if (a->n != 1 || a->kid[0]->kind != TS_TREE_INT || a->kid[0]->i < 1 || a->kid[0]->i > 1 << 20) return tv_fail(v, type->kid[i], "E_TILE_ATTR", "@multiple takes one number from 1 to 1048576");
		*out = a->kid[0]->i;
	}
	return true;
}

/* idx parameters first: sizes of buffers may name ones that come later. */
static bool check_params(TsVerify *v, TsTree *params)
{
	for (uint32_t i = 0; i < params->n; i++) {
		TsTree *p = params->kid[i], *type = p->kid[0];
		TsTInfo *info = tv_info(v, p);
		if (type->kind == TS_TREE_TYPE_WORD && !strcmp(type->name, "idx")) {
			info->type = (TsTType){ .form = TS_TT_IDX };
			info->value = v->nidx++;
			if (!multiple_of(v, type, &info->step)) return false;
		} else {
			info->type.form = TS_TT_MEM;
			info->value = v->nbuf++;
		}
		if (!tv_declare(v, p, p->name)) return false;
	}
	for (uint32_t i = 0; i < params->n; i++) {
		TsTInfo *info = ts_tinfo(params->kid[i]);
		if (info->type.form != TS_TT_MEM) continue;
		if (!tv_mem_type(v, params->kid[i]->kid[0], TS_SP_GLOBAL, &info->type)) return false;
		info->type.decl = params->kid[i];
	}
	return true;
}

static bool check_kernel(TsVerify *v)
{
	TsTree *k = v->kernel, *sig = k->kid[0], *attrs = k->n > 2 ? k->kid[2] : NULL;
	if (sig->n > 1 && sig->kid[1] && sig->kid[1]->n) return tv_fail(v, sig, "E_TILE_KERNEL", "a tile kernel has no results; it writes its buffers");
	TsTree *target = ts_tile_attr(attrs, "target");
	if (!target || target->kind != TS_TREE_STR) return tv_fail(v, k, "E_TILE_TARGET", "kernel '%s' names no target: { target = \"cpu\" }", k->name);
	v->target = ts_tile_target(target->name);
	if (!v->target) return tv_fail(v, target, "E_TILE_TARGET", "no target '%s'", target->name);
	TsTInfo *info = tv_info(v, k);
	v->times = 1;
	if (!check_attrs(v, attrs, "target warps cluster ctas waves_per_eu") || !attr_int(v, attrs, "ctas", 1, 32, 1, &v->warps) || !attr_int(v, attrs, "warps", 1, 32, 1, &v->warps) || !attr_int(v, attrs, "cluster", 1, 16, 1, &v->cluster)) return false;
	if (v->target->cls == TS_TG_CPU && (ts_tile_attr(attrs, "warps") || v->cluster > 1)) return tv_fail(v, k, "E_TILE_TARGET", "warps and clusters are words of GPU targets");
	TsTType out[1], none = { .form = TS_TT_NONE };
	uint32_t n;
	if (!check_params(v, sig->kid[0]) || !check_block(v, k->kid[1], &none, 0, out, &n)) return false;
	info->id = v->next_id;
	return v->target->cls == TS_TG_CPU || v->annotate_only || tv_protocol(v);
}

static bool check_file(TsCtx *cx, TsTree *file, bool annotate_only)
{
	bool ok = true, any = false;
	forget(file, 0);
	for (uint32_t i = 0; i < file->n; i++) {
		TsTree *k = file->kid[i];
		TsVerify v = { .cx = cx, .kernel = k, .annotate_only = annotate_only };
		if (k->kind == TS_TREE_META) continue;
		if (k->kind != TS_TREE_KERNEL) {
			ok = tv_fail(&v, k, "E_TILE_ITEM", "a .tile file holds kernels and meta, not %s", ts_tree_kind_name(k->kind));
			continue;
		}
		for (uint32_t j = 0; j < i; j++)
			if (file->kid[j]->kind == TS_TREE_KERNEL && file->kid[j]->name == k->name) ok = tv_fail(&v, k, "E_TILE_REDEFINED", "two kernels named '%s'", k->name);
		any = true;
		if (!check_kernel(&v)) ok = false;
	}
	TsVerify v = { .cx = cx };
	if (!any && ok) ok = tv_fail(&v, file, "E_TILE_ITEM", "the file holds no kernel");
	return ok;
}

bool ts_tile_verify(TsCtx *cx, TsTree *file) { return check_file(cx, file, false); }
bool ts_tile_annotate(TsCtx *cx, TsTree *file) { return check_file(cx, file, true); }

uint32_t ts_tile_param_count(const TsTree *kernel)
{
	return kernel->kid[0]->kid[0]->n;
}
