/* Statements, names and integer arithmetic of a kernel. */
#include "backend/llvm/lower.h"
#include "ir/tile_abi.h"
#include "ir/tile_check.h"
#include <llvm-c/DebugInfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void lower_block(Lower *w, const TsTree *block, uint32_t from, Frag *out);
static void lower_rhs(Lower *w, const TsTree *rhs, const TsTree *attrs, const TsTType **type, Frag *out, uint32_t n);

_Noreturn void lw_fail(Lower *w, const TsTree *at, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(w->why, sizeof w->why, fmt, ap);
	va_end(ap);
	w->fail_at = at && at->at.file ? at->at : w->kernel ? w->kernel->at : (TsSpan){ 0 };
	longjmp(*w->fail, 1);
}

Frag lw_frag(Lower *w, const TsTType *type)
{
	enum { MAX_REGISTERS = 1 << 18 }; /* of all results of a kernel, unrolled: some hundred times those of the largest that make sense */
	Frag f = { .elem = type->elem, .n = 1, .lanes = 1, .is_idx = type->form == TS_TT_IDX };
	if (type->form == TS_TT_TILE) {
		f.at = lw_places(w, NULL, type->layout);
		f.n = f.at->regs;
		f.lanes = f.at->lanes;
	}
	if (type->form == TS_TT_POS) f.n = 2; /* slot and parity */
	w->registers += f.n;
	if (w->registers > MAX_REGISTERS) lw_fail(w, w->kernel, "kernel '%s' unrolls to more than %d registers", w->kernel->name, MAX_REGISTERS);
	f.v = TS_NEW_N(w->arena, Val, (size_t)f.n);
	return f;
}

Frag lw_one(Lower *w, Val v, TsDtype elem, bool is_idx)
{
	Frag f = { .elem = elem, .n = 1, .lanes = 1, .is_idx = is_idx, .v = TS_NEW(w->arena, Val) };
	f.v[0] = v;
	return f;
}

const TsTree *lw_keyword(const TsTree *call, const char *name)
{
	for (uint32_t i = 1; i < call->n; i++)
		if (call->kid[i]->kind == TS_TREE_KW && !strcmp(call->kid[i]->name, name)) return call->kid[i]->kid[0];
	return NULL;
}

static Frag *frag_of(Lower *w, const TsTree *name)
{
	const TsTree *decl = ts_tinfo(name)->decl;
	Frag *f = decl ? &w->frags[ts_tinfo(decl)->id] : NULL;
	if (!f || !f->v) lw_fail(w, name, "'%s' has no value here", name->name);
	return f;
}

Mem *lw_mem(Lower *w, const TsTree *name)
{
	const TsTree *decl = ts_tinfo(name)->decl;
	Mem *m = decl ? &w->mems[ts_tinfo(decl)->id] : NULL;
	if (!m || !m->base) lw_fail(w, name, "'%s' is no memory of this target", name->name ? name->name : "");
	return m;
}

/* ---- idx ---- */
static Val compare(Lower *w, const TsTree *x)
{
	static const LLVMIntPredicate pred[] = { [TS_IN_EQ] = LLVMIntEQ, [TS_IN_NE] = LLVMIntNE, [TS_IN_LT] = LLVMIntSLT, [TS_IN_LE] = LLVMIntSLE,
		[TS_IN_GT] = LLVMIntSGT, [TS_IN_GE] = LLVMIntSGE };
	return LLVMBuildICmp(w->b, pred[x->sub], lw_idx(w, x->kid[0]), lw_idx(w, x->kid[1]), "");
}

static Val idx_infix(Lower *w, const TsTree *x)
{
	Val a = lw_idx(w, x->kid[0]), b = lw_idx(w, x->kid[1]);
	switch (x->sub) {
	case TS_IN_ADD: return lw_add(w, a, b);
	case TS_IN_SUB: return LLVMBuildSub(w->b, a, b, "");
	case TS_IN_MUL: return lw_mul(w, a, b);
	case TS_IN_FLOORDIV: return lw_floordiv(w, a, b);
	case TS_IN_MOD: return lw_floormod(w, a, b);
	default: lw_fail(w, x, "no idx arithmetic '%s'", ts_infix_text((TsInfix)x->sub));
	}
}

static Val idx_call(Lower *w, const TsTree *x)
{
	Val a[3];
	int32_t op = ts_tinfo(x)->op;
	if (op == TS_TILE_select) {
		Val c = lw_expr(w, x->kid[1]).v[0];
		a[1] = lw_idx(w, x->kid[2]);
		return LLVMBuildSelect(w->b, c, a[1], lw_idx(w, x->kid[3]), "");
	}
	if (op >= TS_TILE_POINTWISE) { /* cast: an integer scalar becomes an idx */
		Frag f = lw_expr(w, x->kid[1]);
		return f.is_idx ? f.v[0] : lw_cast(w, x, f.v[0], f.elem, TS_INT64);
	}
	if (op == TS_TILE_instance || op == TS_TILE_rank) return LLVMBuildZExt(w->b, op == TS_TILE_rank ? w->cta : w->instance, w->i64, "");
	a[0] = lw_idx(w, x->kid[1]);
	if (op == TS_TILE_cdiv) {
		a[1] = lw_idx(w, x->kid[2]);
		return lw_floordiv(w, LLVMBuildSub(w->b, lw_add(w, a[0], a[1]), lw_i64(w, 1), ""), a[1]);
	}
	if (op == TS_TILE_xor) return LLVMBuildXor(w->b, a[0], lw_idx(w, x->kid[2]), "");
	if (op != TS_TILE_min && op != TS_TILE_max) lw_fail(w, x, "%s gives no idx on target %s", x->kid[0]->name, w->target->name);
	for (uint32_t i = 2; i < x->n; i++) a[0] = op == TS_TILE_min ? lw_min(w, a[0], lw_idx(w, x->kid[i])) : lw_max(w, a[0], lw_idx(w, x->kid[i]));
	return a[0];
}

Val lw_idx(Lower *w, const TsTree *x)
{
	const TsTInfo *info = ts_tinfo(x);
	if (x->kind == TS_TREE_INT) return lw_i64(w, x->i);
	if (info && info->known) return lw_i64(w, info->value);
	switch (x->kind) {
	case TS_TREE_NAME: return frag_of(w, x)->v[0];
	case TS_TREE_NEG: return LLVMBuildNeg(w->b, lw_idx(w, x->kid[0]), "");
	case TS_TREE_BIN: return idx_infix(w, x);
	case TS_TREE_CALL: return idx_call(w, x);
	default: lw_fail(w, x, "%s is no idx", ts_tree_kind_name(x->kind));
	}
}

/* ---- uniform values ---- */
static bool literal(const TsTree *x, double *out)
{
	switch (x->kind) {
	case TS_TREE_INT: *out = (double)x->i; return true;
	case TS_TREE_FLOAT: *out = x->f; return true;
	case TS_TREE_TRUE: *out = 1; return true;
	case TS_TREE_FALSE: *out = 0; return true;
	case TS_TREE_INF: *out = __builtin_inf(); return true;
	case TS_TREE_NAN: *out = __builtin_nan(""); return true;
	case TS_TREE_NEG: if (!literal(x->kid[0], out)) return false; *out = -*out; return true;
	default: return false;
	}
}

static int64_t wrapped(TsDtype t, int64_t x)
{
	int64_t bits = 0;
	ts_elem_set_int(t, &bits, 0, x);
	return ts_elem_get_int(t, &bits, 0);
}

Val lw_operand(Lower *w, const TsTree *x, TsDtype elem)
{
	double d;
	if (x->kind == TS_TREE_BITS) {
		if ((TsDtype)x->sub == TS_F32 || (TsDtype)x->sub == TS_F64) return LLVMConstBitCast(LLVMConstInt(x->sub == TS_F32 ? w->i32 : w->i64, (uint64_t)x->i, 0), lw_elem_type(w, elem));
		return lw_const_int(w, elem, x->i, 1);
	}
	if (x->kind == TS_TREE_INT && (ts_dtype_is_int(elem) || elem == TS_BOOL)) return lw_const_int(w, elem, wrapped(elem, x->i), 1);
	if (literal(x, &d)) return lw_const(w, elem, d, 1);
	Frag f = lw_expr(w, x);
	if (f.n != 1 || f.lanes != 1) lw_fail(w, x, "expected one element");
	TsDtype from = f.is_idx ? TS_INT64 : f.elem;
	return from == elem ? f.v[0] : lw_cast(w, x, f.v[0], from, elem);
}

static Val truth(Lower *w, const TsTree *x)
{
	if (x->kind == TS_TREE_NOT) return LLVMBuildNot(w->b, truth(w, x->kid[0]), "");
	if (x->kind == TS_TREE_BIN && x->sub == TS_IN_AND) { Val a = truth(w, x->kid[0]); return LLVMBuildAnd(w->b, a, truth(w, x->kid[1]), ""); }
	if (x->kind == TS_TREE_BIN && x->sub == TS_IN_OR) { Val a = truth(w, x->kid[0]); return LLVMBuildOr(w->b, a, truth(w, x->kid[1]), ""); }
	return lw_operand(w, x, TS_BOOL);
}

static Frag infix(Lower *w, const TsTree *x)
{
	if (x->sub == TS_IN_AND || x->sub == TS_IN_OR) return lw_one(w, truth(w, x), TS_BOOL, false);
	if (x->sub >= TS_IN_EQ && x->sub <= TS_IN_GE) return lw_one(w, compare(w, x), TS_BOOL, false);
	return lw_one(w, idx_infix(w, x), TS_INT64, true);
}

Frag lw_expr(Lower *w, const TsTree *x)
{
	const TsTInfo *info = ts_tinfo(x);
	const TsTType *type = info ? &info->type : NULL;
	if (type && type->form == TS_TT_IDX) return lw_one(w, lw_idx(w, x), TS_INT64, true);
	double d;
	switch (x->kind) {
	case TS_TREE_NAME: return *frag_of(w, x);
	case TS_TREE_NOT: return lw_one(w, truth(w, x), TS_BOOL, false);
	case TS_TREE_BIN: return infix(w, x);
	case TS_TREE_CALL: return lw_tile_word(w, x, type);
	case TS_TREE_FIELD: if (type && type->form == TS_TT_TILE) return lw_transposed(w, x, type); /* fall through */
	default:
		if (!literal(x, &d) && x->kind != TS_TREE_BITS) lw_fail(w, x, "%s is no value on target %s", ts_tree_kind_name(x->kind), w->target->name);
		TsDtype elem = type && type->elem != TS_DTYPE_NONE ? type->elem : TS_F32;
		return lw_one(w, lw_operand(w, x, elem), elem, false);
	}
}

/* ---- loops ---- */
typedef struct { const TsTree *tree; Frag *carry; uint32_t n; Val step; bool once; } Loop; /* carry: values on the way in, then out; once: unroll = 1 */

void lw_set(Lower *w, const TsTree *decl, Frag f) { w->frags[ts_tinfo(decl)->id] = f; }

/* GPUs: elements of 16 bits go round a loop as pairs, which is how matrix instructions take them. */
static bool in_pairs(const Lower *w, const Frag *f) { return w->gpu && f->at && ts_dtype_bits(f->elem) == 16 && f->n % 2 == 0; }

static Frag packed(Lower *w, Frag f)
{
	if (!in_pairs(w, &f)) return f;
	Frag p = f;
	p.v = TS_NEW_N(w->arena, Val, (size_t)f.n);
	p.n = f.n / 2;
	for (int i = 0; i < p.n; i++) lg_words(w, f.elem, &f.v[2 * i], 2, &p.v[i]);
	return p;
}

static Frag unpacked(Lower *w, Frag p)
{
	if (!w->gpu || !p.at || ts_dtype_bits(p.elem) != 16 || p.n != p.at->regs / 2) return p;
	Frag f = p;
	f.v = TS_NEW_N(w->arena, Val, (size_t)p.n * 2);
	f.n = p.n * 2;
	for (int i = 0; i < p.n; i++) lg_unwords(w, p.elem, &p.v[i], 2, &f.v[2 * i]);
	return f;
}

static void loop_body(Lower *w, Loop *l, Val at)
{
	const TsTree *with = l->tree->kid[1];
	lw_set(w, l->tree, lw_one(w, at, TS_INT64, true));
	for (uint32_t i = 0; i < l->n; i++) lw_set(w, with->kid[i], unpacked(w, l->carry[i]));
	Frag *out = TS_NEW_N(w->arena, Frag, l->n + 1);
	lower_block(w, l->tree->kid[2], 0, out);
	for (uint32_t i = 0; i < l->n; i++) l->carry[i] = packed(w, out[i]);
}

/* fresh phis for the values of f, with f's values arriving from `from` */
static Frag phis(Lower *w, const Frag *f, Block from)
{
	Frag p = *f;
	p.v = TS_NEW_N(w->arena, Val, (size_t)f->n);
	for (int i = 0; i < f->n; i++) {
		p.v[i] = LLVMBuildPhi(w->b, LLVMTypeOf(f->v[i]), "");
		LLVMAddIncoming(p.v[i], &f->v[i], &from, 1);
	}
	return p;
}

static void arrive(const Frag *phi, const Frag *f, Block from)
{
	for (int i = 0; i < phi->n; i++) LLVMAddIncoming(phi->v[i], &f->v[i], &from, 1);
}

static uint32_t mentions(const TsTree *t, const TsTree *decl)
{
	uint32_t n = t->kind == TS_TREE_NAME && t->note && ts_tinfo(t)->decl == decl;
	for (uint32_t i = 0; i < t->n; i++)
		if (t->kid[i]) n += mentions(t->kid[i], decl);
	return n;
}

/* GPUs: is carried value `with` read by one wgmma alone, which takes it as 0 the first time round? Then whatever the registers hold does. (Three
 * groups of warps, which have fewer registers, are better off with zeros: else some are spilled.) */
static bool begins_at_zero(const Lower *w, const TsTree *loop, const TsTree *with)
{
	const TsTree *body = loop->kid[2];
	for (uint32_t i = 0; w->gpu && i < body->n; i++) {
		const TsTree *call = body->kid[i]->kind == TS_TREE_LET ? body->kid[i]->kid[1] : NULL;
		if (!call || call->kind != TS_TREE_CALL || ts_tinfo(call)->op != TS_TILE_mma || call->kid[1]->kind != TS_TREE_NAME || ts_tinfo(call->kid[1])->decl != with) continue;
		const TsTree *zero = lw_keyword(call, "zero_if"), *atom = lw_keyword(call, "atom");
		return zero && atom && !strcmp(atom->name, "wgmma") && zero->kind == TS_TREE_BIN && zero->sub == TS_IN_EQ && zero->kid[0]->kind == TS_TREE_NAME
			&& ts_tinfo(zero->kid[0])->decl == loop && tv_same(zero->kid[1], loop->kid[0]->kid[0]) && mentions(body, with) == 1;
	}
	return false;
}

/* ptxas unrolls loops whose trip count it knows until registers run out; it keeps those that carry this mark. */
static void stay_a_loop(Lower *w, Val branch)
{
	static const char mark[] = "llvm.loop.unroll.disable";
	LLVMMetadataRef text = LLVMMDStringInContext2(w->lc, mark, sizeof mark - 1), off = LLVMMDNodeInContext2(w->lc, &text, 1);
	LLVMMetadataRef self = LLVMTemporaryMDNode(w->lc, NULL, 0), loop = LLVMMDNodeInContext2(w->lc, (LLVMMetadataRef[]){ self, off }, 2);
	LLVMMetadataReplaceAllUsesWith(self, loop); /* a loop's name begins with itself */
	LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(w->lc, "llvm.loop", 9), LLVMMetadataAsValue(w->lc, loop));
}

/* for at = lo; at + (times - 1)*step before hi; at += times*step: `times` bodies. Returns where it stopped. */
static Val emit_loop(Lower *w, Loop *l, Val lo, Val hi, int times)
{
	int64_t step;
	bool down = lw_is_const(l->step, &step) && step < 0;
	Val ahead = lw_mul(w, l->step, lw_i64(w, times - 1));
	Val limit = times > 1 ? LLVMBuildSub(w->b, hi, ahead, "") : hi;
	LLVMIntPredicate before = down ? LLVMIntSGT : LLVMIntSLT;
	Block pre = LLVMGetInsertBlock(w->b), body = lw_block(w, "loop"), done = lw_block(w, "done");
	LLVMBuildCondBr(w->b, LLVMBuildICmp(w->b, before, lo, limit, ""), body, done);
	LLVMPositionBuilderAtEnd(w->b, body);
	Val at = LLVMBuildPhi(w->b, w->i64, "");
	LLVMAddIncoming(at, &lo, &pre, 1);
	Frag *in = TS_NEW_N(w->arena, Frag, l->n + 1), *first = TS_NEW_N(w->arena, Frag, l->n + 1);
	for (uint32_t i = 0; i < l->n; i++) {
		Frag begin = first[i] = l->carry[i];
		if (times == 1 && w->times <= 2 && begins_at_zero(w, l->tree, l->tree->kid[1]->kid[i])) {
			begin.v = TS_NEW_N(w->arena, Val, (size_t)begin.n);
			for (int r = 0; r < begin.n; r++) begin.v[r] = LLVMGetPoison(LLVMTypeOf(first[i].v[r]));
		}
		in[i] = l->carry[i] = phis(w, &begin, pre);
	}
	for (int u = 0; u < times; u++) loop_body(w, l, lw_add(w, at, lw_mul(w, l->step, lw_i64(w, u))));
	Val next = lw_add(w, at, lw_mul(w, l->step, lw_i64(w, times)));
	Block latch = LLVMGetInsertBlock(w->b);
	LLVMAddIncoming(at, &next, &latch, 1);
	for (uint32_t i = 0; i < l->n; i++) arrive(&in[i], &l->carry[i], latch);
	Val back = LLVMBuildCondBr(w->b, LLVMBuildICmp(w->b, before, next, limit, ""), body, done);
	if (w->gpu && l->once) stay_a_loop(w, back);
	LLVMPositionBuilderAtEnd(w->b, done);
	Val stop = LLVMBuildPhi(w->b, w->i64, "");
	LLVMAddIncoming(stop, &lo, &pre, 1);
	LLVMAddIncoming(stop, &next, &latch, 1);
	for (uint32_t i = 0; i < l->n; i++) {
		Frag last = l->carry[i];
		l->carry[i] = phis(w, &first[i], pre);
		arrive(&l->carry[i], &last, latch);
	}
	return stop;
}

/* -1: not known */
static int64_t static_trips(Val lo, Val hi, Val step)
{
	int64_t a, b, s, span;
	if (!lw_is_const(lo, &a) || !lw_is_const(hi, &b) || !lw_is_const(step, &s) || !s) return -1;
	if (__builtin_sub_overflow(b, a, &span)) return -1;
	if (s > 0 ? span <= 0 : span >= 0) return 0;
	return span / s + (span % s != 0);
}

static void run_loop(Lower *w, Loop *l, Val lo, Val hi, int64_t times)
{
	int64_t trips = static_trips(lo, hi, l->step);
	if (trips >= 0 && trips <= times) {
		for (int64_t i = 0; i < trips; i++) loop_body(w, l, lw_add(w, lo, lw_mul(w, l->step, lw_i64(w, i))));
		return;
	}
	Val at = times > 1 ? emit_loop(w, l, lo, hi, (int)times) : lo;
	if (times == 1 || trips < 0 || trips % times) emit_loop(w, l, at, hi, 1);
}

static void lower_for(Lower *w, const TsTree *t, const TsTree *attrs, Frag *out, uint32_t n)
{
	const TsTree *range = t->kid[0], *with = t->kid[1], *unroll = ts_tile_attr(attrs, "unroll");
	int64_t times = unroll && unroll->i > 1 ? unroll->i : 1;
	Val lo = lw_idx(w, range->kid[0]), hi = lw_idx(w, range->kid[1]), step = range->kid[2] ? lw_idx(w, range->kid[2]) : lw_i64(w, 1);
	int64_t s;
	if (!lw_is_const(step, &s)) step = lw_max(w, step, lw_i64(w, 1)); /* a step of 0 would never end */
	Loop l = { .tree = t, .carry = out, .n = n, .step = step, .once = unroll && unroll->i == 1 };
	for (uint32_t i = 0; i < n; i++) {
		const TsTType *type = &ts_tinfo(with->kid[i])->type;
		out[i] = type->form == TS_TT_SCALAR ? lw_one(w, lw_operand(w, with->kid[i]->kid[0], type->elem), type->elem, false) : lw_expr(w, with->kid[i]->kid[0]);
	}
	for (uint32_t i = 0; i < n; i++) out[i] = packed(w, out[i]);
	run_loop(w, &l, lo, hi, times);
	for (uint32_t i = 0; i < n; i++) out[i] = unpacked(w, out[i]);
}

static void lower_if(Lower *w, const TsTree *t, const TsTType **type, Frag *out, uint32_t n)
{
	Val c = truth(w, t->kid[0]);
	Block yes = lw_block(w, "then"), no = lw_block(w, "else"), end = lw_block(w, "end");
	Frag *a = TS_NEW_N(w->arena, Frag, n + 1), *b = TS_NEW_N(w->arena, Frag, n + 1);
	LLVMBuildCondBr(w->b, c, yes, no);
	LLVMPositionBuilderAtEnd(w->b, yes);
	lower_block(w, t->kid[1], 0, a);
	yes = LLVMGetInsertBlock(w->b);
	LLVMBuildBr(w->b, end);
	LLVMPositionBuilderAtEnd(w->b, no);
	if (t->kid[2]) {
		if (t->kid[2]->kind == TS_TREE_IF) lower_if(w, t->kid[2], type, b, n);
		else lower_block(w, t->kid[2], 0, b);
	}
	no = LLVMGetInsertBlock(w->b);
	LLVMBuildBr(w->b, end);
	LLVMPositionBuilderAtEnd(w->b, end);
	for (uint32_t i = 0; i < n; i++) {
		out[i] = phis(w, &a[i], yes);
		arrive(&out[i], &b[i], no);
	}
}

/* ---- statements ---- */
static void lower_let(Lower *w, const TsTree *t)
{
	const TsTree *binds = t->kid[0], *rhs = t->kid[1], *attrs = t->n > 2 ? t->kid[2] : NULL;
	Frag *out = TS_NEW_N(w->arena, Frag, binds->n + 1);
	const TsTType **type = TS_NEW_N(w->arena, const TsTType *, binds->n + 1);
	for (uint32_t i = 0; i < binds->n; i++) type[i] = &ts_tinfo(binds->kid[i])->type;
	lower_rhs(w, rhs, attrs, type, out, binds->n);
	for (uint32_t i = 0; i < binds->n; i++) lw_set(w, binds->kid[i], out[i]);
}

static bool call_without_result(Lower *w, const TsTree *call)
{
	switch (ts_tinfo(call)->op) {
	case TS_TILE_store: w->gpu ? lg_store(w, call) : lw_store(w, call); return true;
	case TS_TILE_prefetch: if (!w->gpu) lw_prefetch(w, call); return true; /* a hint may be dropped */
	case TS_TILE_pack: lw_pack(w, call); return true;
	default: return w->gpu && lg_effect(w, call);
	}
}

static void lower_rhs(Lower *w, const TsTree *rhs, const TsTree *attrs, const TsTType **type, Frag *out, uint32_t n)
{
	if (rhs->kind == TS_TREE_FOR) lower_for(w, rhs, attrs, out, n);
	else if (rhs->kind == TS_TREE_IF) lower_if(w, rhs, type, out, n);
	else if (rhs->kind == TS_TREE_CALL && !n && call_without_result(w, rhs)) return;
	else if (rhs->kind == TS_TREE_CALL && n > 1) {
		for (uint32_t i = 0; i < n; i++) out[i] = lw_frag(w, type[i]);
		lw_tile_words(w, rhs, out, n);
	}
	else if (n != 1) lw_fail(w, rhs, "%s is no statement of target %s", rhs->kind == TS_TREE_CALL ? rhs->kid[0]->name : ts_tree_kind_name(rhs->kind), w->target->name);
	else if (type[0]->form == TS_TT_IDX) out[0] = lw_one(w, lw_idx(w, rhs), TS_INT64, true);
	else if (rhs->kind == TS_TREE_CALL) out[0] = lw_tile_word(w, rhs, type[0]); /* a call of a statement has its type at the name */
	else if (type[0]->form == TS_TT_SCALAR) out[0] = lw_one(w, lw_operand(w, rhs, type[0]->elem), type[0]->elem, false);
	else out[0] = lw_expr(w, rhs);
}

static void declare_smem(Lower *w, const TsTree *t)
{
	const TsTType *type = &ts_tinfo(t)->type;
	const TsLayout *l = type->layout;
	Mem *m = &w->mems[ts_tinfo(t)->id];
	Val at = lw_i64(w, ts_tile_smem_offset(w->kernel, t));
	*m = (Mem){ .elem = type->elem, .rank = type->rank, .base = LLVMBuildGEP2(w->b, w->i8, w->scratch, &at, 1, "") };
	int64_t weight = 1;
	for (int i = 0; l && i < l->n; i++) {
		TsDigit d = l->d[i];
		if (d.dim == TS_LAY_NODIM || l->swizzle || d.axis != TS_AX_S || m->stride[d.dim])
			lw_fail(w, t, "target %s takes shared memory in row-major or permuted order only", w->target->name);
		m->stride[d.dim] = lw_i64(w, weight);
		weight *= d.extent;
	}
	weight = 1;
	for (int i = type->rank; i-- > 0; weight *= type->extent[i]) {
		m->size[i] = lw_i64(w, type->extent[i]);
		if (!m->stride[i]) m->stride[i] = l ? lw_i64(w, 0) : lw_i64(w, weight); /* an axis of extent 1 has no digit */
	}
}

/* The cells [begin, end) of the grid; the statements after the grid are the body of the loop over them. */
static void lower_grid(Lower *w, const TsTree *grid, const TsTree *block, uint32_t from)
{
	enum { MAX_AXES = 4 };
	uint32_t n = grid ? grid->n : 0;
	Val lo[MAX_AXES], step[MAX_AXES], count[MAX_AXES], start[MAX_AXES], cell[MAX_AXES];
	Val begin = LLVMGetParam(w->fn, 2), end = LLVMGetParam(w->fn, 3), rest = begin;
	if (n > MAX_AXES) lw_fail(w, grid, "a grid has at most %d axes", MAX_AXES);
	for (uint32_t i = 0; i < n; i++) {
		const TsTree *r = grid->kid[i]->kid[0];
		lo[i] = lw_idx(w, r->kid[0]);
		step[i] = r->kid[2] ? lw_idx(w, r->kid[2]) : lw_i64(w, 1);
		Val span = LLVMBuildSub(w->b, lw_idx(w, r->kid[1]), lo[i], "");
		count[i] = lw_floordiv(w, lw_add(w, span, LLVMBuildSub(w->b, step[i], lw_i64(w, 1), "")), step[i]);
	}
	Block split = lw_block(w, "split"), body = lw_block(w, "cell"), done = lw_block(w, "return");
	LLVMBuildCondBr(w->b, LLVMBuildICmp(w->b, LLVMIntSLT, begin, end, ""), split, done);
	LLVMPositionBuilderAtEnd(w->b, split);
	for (uint32_t i = n; i-- > 0;) {
		start[i] = i ? LLVMBuildURem(w->b, rest, count[i], "") : rest;
		if (i) rest = LLVMBuildUDiv(w->b, rest, count[i], "");
	}
	LLVMBuildBr(w->b, body);
	LLVMPositionBuilderAtEnd(w->b, body);
	Val at = LLVMBuildPhi(w->b, w->i64, "");
	LLVMAddIncoming(at, &begin, &split, 1);
	for (uint32_t i = 0; i < n; i++) {
		cell[i] = LLVMBuildPhi(w->b, w->i64, "");
		LLVMAddIncoming(cell[i], &start[i], &split, 1);
	}
	for (uint32_t i = 0; i < n; i++) lw_set(w, grid->kid[i], lw_one(w, lw_add(w, lo[i], lw_mul(w, cell[i], step[i])), TS_INT64, true));
	lower_block(w, block, from, NULL);
	Block latch = LLVMGetInsertBlock(w->b);
	Val carry = LLVMConstInt(w->i1, 1, 0);
	for (uint32_t i = n; i-- > 0;) {
		Val up = LLVMBuildAdd(w->b, cell[i], LLVMBuildZExt(w->b, carry, w->i64, ""), "");
		if (i) {
			carry = LLVMBuildICmp(w->b, LLVMIntEQ, up, count[i], "");
			up = LLVMBuildSelect(w->b, carry, lw_i64(w, 0), up, "");
		}
		LLVMAddIncoming(cell[i], &up, &latch, 1);
	}
	Val next = LLVMBuildAdd(w->b, at, lw_i64(w, 1), "");
	LLVMAddIncoming(at, &next, &latch, 1);
	LLVMBuildCondBr(w->b, LLVMBuildICmp(w->b, LLVMIntSLT, next, end, ""), body, done);
	LLVMPositionBuilderAtEnd(w->b, done);
}

void lw_statement(Lower *w, const TsTree *t)
{
	enum { MAX_STATEMENTS = 1 << 17 };
	if (++w->statements > MAX_STATEMENTS) lw_fail(w, t, "kernel '%s' unrolls to more than %d statements", w->kernel->name, MAX_STATEMENTS);
	switch (t->kind) {
	case TS_TREE_LAYOUT: break;
	case TS_TREE_SMEM:
	case TS_TREE_RING: break;
	case TS_TREE_ONE: lg_one(w, t); break;
	case TS_TREE_LET: lower_let(w, t); break;
	case TS_TREE_EXPR: lower_rhs(w, t->kid[0], t->n > 1 ? t->kid[1] : NULL, NULL, NULL, 0); break;
	case TS_TREE_FOR:
	case TS_TREE_IF:
	case TS_TREE_CALL: lower_rhs(w, t, NULL, NULL, NULL, 0); break;
	default: lw_fail(w, t, "%s is no statement of target %s", ts_tree_kind_name(t->kind), w->target->name);
	}
}

static void lower_block(Lower *w, const TsTree *block, uint32_t from, Frag *out)
{
	for (uint32_t i = from; i < block->n; i++) {
		const TsTree *t = block->kid[i];
		if (t->kind == TS_TREE_ROLE) {
			uint32_t end = i;
			while (end < block->n && block->kid[end]->kind == TS_TREE_ROLE) end++;
			lg_role(w, (const TsTree *const *)&block->kid[i], end - i);
			i = end - 1;
			continue;
		}
		if (t->kind == TS_TREE_YIELD) {
			for (uint32_t k = 0; k < t->n; k++) out[k] = lw_expr(w, t->kid[k]);
			return;
		}
		lw_statement(w, t);
	}
}

void lw_statements(Lower *w, const TsTree *block, uint32_t from) { lower_block(w, block, from, NULL); }

/* ---- kernels ---- */
static Val param_load(Lower *w, unsigned param, int64_t i, LLVMTypeRef type)
{
	Val at = lw_i64(w, i), p = LLVMBuildGEP2(w->b, w->i64, LLVMGetParam(w->fn, param), &at, 1, "");
	return LLVMBuildLoad2(w->b, type, p, "");
}

void lw_buffer(Lower *w, const TsTree *p, Val base)
{
	const TsTInfo *info = ts_tinfo(p);
	const TsTree *type = p->kid[0], *strides = ts_tile_strides(type);
	Mem *m = &w->mems[info->id];
	*m = (Mem){ .elem = info->type.elem, .rank = info->type.rank, .base = base };
	for (int i = 0; i < m->rank; i++) m->size[i] = info->type.extent[i] >= 0 ? lw_i64(w, info->type.extent[i]) : lw_idx(w, type->kid[i]);
	Val weight = lw_i64(w, 1);
	for (int i = m->rank; i-- > 0;) {
		m->stride[i] = strides ? lw_idx(w, strides->kid[i]) : weight;
		if (!strides && i) weight = lw_mul(w, weight, m->size[i]);
	}
}

static void declare_params(Lower *w, const TsTree *params)
{
	for (uint32_t i = 0; i < params->n; i++) {
		const TsTInfo *info = ts_tinfo(params->kid[i]);
		if (info->type.form == TS_TT_IDX) lw_set(w, params->kid[i], lw_one(w, param_load(w, 1, info->value, w->i64), TS_INT64, true));
	}
	for (uint32_t i = 0; i < params->n; i++)
		if (ts_tinfo(params->kid[i])->type.form == TS_TT_MEM) lw_buffer(w, params->kid[i], param_load(w, 0, ts_tinfo(params->kid[i])->value, w->ptr));
}

static void make_function(Lower *w, const char *symbol)
{
	LLVMTypeRef params[] = { w->ptr, w->ptr, w->i64, w->i64, w->ptr };
	w->fn = LLVMAddFunction(w->mod, symbol, LLVMFunctionType(w->none, params, 5, 0));
	LLVMSetVisibility(w->fn, LLVMHiddenVisibility);
	lw_target_function(w, w->fn);
	w->entry = lw_block(w, "entry");
	LLVMPositionBuilderAtEnd(w->b, w->entry);
	w->scratch = LLVMGetParam(w->fn, 4);
}

/* The stack buffer of masked accesses gets the size that the largest of them needs. */
static void settle_spill(Lower *w)
{
	if (!w->spill) return;
	Val real = lw_at_entry(w, w->i8, w->spill_bytes, 64);
	LLVMReplaceAllUsesWith(w->spill, real);
	LLVMInstructionEraseFromParent(w->spill);
}

void lw_begin(Lower *w, const TsTree *kernel)
{
	uint32_t ids = (uint32_t)ts_tinfo(kernel)->id + 1;
	w->kernel = kernel;
	w->frags = TS_NEW_N(w->arena, Frag, ids);
	w->mems = TS_NEW_N(w->arena, Mem, ids);
	w->spill = w->dummy = NULL;
	w->spill_bytes = w->registers = w->statements = 0;
}

void lw_kernel(Lower *w, const TsTree *kernel, const char *symbol)
{
	const TsTree *block = kernel->kid[1];
	uint32_t grid = block->n;
	lw_begin(w, kernel);
	make_function(w, symbol);
	declare_params(w, kernel->kid[0]->kid[0]);
	for (uint32_t i = 0; i < block->n; i++) {
		if (block->kid[i]->kind == TS_TREE_SMEM) declare_smem(w, block->kid[i]);
		if (block->kid[i]->kind == TS_TREE_GRID && grid == block->n) grid = i;
	}
	if (grid < block->n) {
		for (uint32_t i = 0; i < grid; i++) lw_statement(w, block->kid[i]);
		lower_grid(w, block->kid[grid], block, grid + 1);
	} else {
		lower_grid(w, NULL, block, 0);
	}
	LLVMBuildRetVoid(w->b);
	settle_spill(w);
}
