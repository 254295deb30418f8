/* Kernels of GPUs: the function and its parameters, which thread runs what, roles, the grid. */
#include "backend/llvm/lower.h"
#include <stdio.h>
#include <string.h>

enum { MAX_AXES = 4 };

Val lg_intrinsic(Lower *w, const char *name, Val *args, unsigned n) { return lw_intrinsic(w, name, NULL, 0, args, n); }

Val lg_asm(Lower *w, const char *text, const char *constraints, LLVMTypeRef result, Val *args, unsigned n)
{
	LLVMTypeRef *type = TS_NEW_N(w->arena, LLVMTypeRef, n + 1);
	for (unsigned i = 0; i < n; i++) type[i] = LLVMTypeOf(args[i]);
	LLVMTypeRef fn = LLVMFunctionType(result, type, n, 0);
	Val code = LLVMGetInlineAsm(fn, text, strlen(text), constraints, strlen(constraints), 1, 0, LLVMInlineAsmDialectATT, 0);
	Val call = LLVMBuildCall2(w->b, fn, code, args, n, "");
	LLVMAddCallSiteAttribute(call, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(w->lc, LLVMGetEnumAttributeKindForName("convergent", 10), 0));
	return call;
}

/* ---- threads ---- */
static Val special(Lower *w, const char *name)
{
	return lg_intrinsic(w, ts_printf(w->arena, "llvm.nvvm.read.ptx.sreg.%s", name), NULL, 0);
}

Val lg_uniform(Lower *w, Val x)
{
	Val args[] = { lw_i32(w, -1), x, lw_i32(w, 0), lw_i32(w, 31) };
	return lg_intrinsic(w, "llvm.nvvm.shfl.sync.idx.i32", args, 4);
}

Val lg_axis(Lower *w, TsAxis a)
{
	switch (a) {
	case TS_AX_L: return w->lane;
	case TS_AX_W: return w->warp;
	case TS_AX_G: return w->instance;
	case TS_AX_C: return w->cta;
	default: return lw_i32(w, 0);
	}
}

Val lg_quotient(Lower *w, Val x, int64_t by)
{
	int64_t c;
	if (by == 1) return x;
	if (lw_is_const(x, &c)) return lw_i32(w, c / by);
	return by & (by - 1) ? LLVMBuildUDiv(w->b, x, lw_i32(w, by), "") : LLVMBuildLShr(w->b, x, lw_i32(w, __builtin_ctzll((uint64_t)by)), "");
}

Val lg_remainder(Lower *w, Val x, int64_t by)
{
	int64_t c;
	if (lw_is_const(x, &c)) return lw_i32(w, c % by);
	return by & (by - 1) ? LLVMBuildURem(w->b, x, lw_i32(w, by), "") : LLVMBuildAnd(w->b, x, lw_i32(w, by - 1), "");
}

static Val digit(Lower *w, Val x, int64_t by, int64_t count) { return lg_remainder(w, lg_quotient(w, x, by), count); }

Val lg_coord_of(Lower *w, const TsLayout *l, int dim, unsigned axes)
{
	int64_t below[TS_AX_COUNT];
	Val sum = lw_i32(w, 0);
	for (int a = 0; a < TS_AX_COUNT; a++) below[a] = 1;
	for (int i = 0; i < l->n; i++) {
		TsDigit d = l->d[i];
		if (d.axis != TS_AX_R && d.dim == dim && axes >> d.axis & 1 && d.extent > 1)
			sum = lw_add(w, sum, lw_mul(w, digit(w, lg_axis(w, (TsAxis)d.axis), below[d.axis], d.extent), lw_i32(w, d.stride)));
		below[d.axis] *= d.extent;
	}
	return sum;
}

Val lg_coord(Lower *w, const TsLayout *l, int dim) { return lg_coord_of(w, l, dim, ~0u); }

static Val shuffle_word(Lower *w, Val x, Val lane, bool exchange)
{
	Val args[] = { lw_i32(w, -1), x, lane, lw_i32(w, 31) };
	return lg_intrinsic(w, exchange ? "llvm.nvvm.shfl.sync.bfly.i32" : "llvm.nvvm.shfl.sync.idx.i32", args, 4);
}

Val lg_shuffle(Lower *w, Val x, Val lane, bool exchange)
{
	LLVMTypeRef type = LLVMTypeOf(x);
	if (type == w->f32) return LLVMBuildBitCast(w->b, shuffle_word(w, LLVMBuildBitCast(w->b, x, w->i32, ""), lane, exchange), type, "");
	if (type == w->f64) return LLVMBuildBitCast(w->b, lg_shuffle(w, LLVMBuildBitCast(w->b, x, w->i64, ""), lane, exchange), type, "");
	if (type == w->i32) return shuffle_word(w, x, lane, exchange);
	if (type == w->i64) {
		Val lo = shuffle_word(w, LLVMBuildTrunc(w->b, x, w->i32, ""), lane, exchange);
		Val hi = shuffle_word(w, LLVMBuildTrunc(w->b, LLVMBuildLShr(w->b, x, lw_i64(w, 32), ""), w->i32, ""), lane, exchange);
		return LLVMBuildOr(w->b, LLVMBuildZExt(w->b, lo, w->i64, ""), LLVMBuildShl(w->b, LLVMBuildZExt(w->b, hi, w->i64, ""), lw_i64(w, 32), ""), "");
	}
	return LLVMBuildTrunc(w->b, shuffle_word(w, LLVMBuildZExt(w->b, x, w->i32, ""), lane, exchange), type, "");
}

/* ---- other layouts ---- */
typedef struct { int reg, lane; } Source;

/* Which lane (of the lowest number) and register of layout l hold coordinate c, warps and instances as they are. */
static bool find_source(const TsLayout *l, const int64_t *place, const int64_t *c, Source *out)
{
	int64_t at[TS_AX_COUNT], coord[TS_LAY_RANK];
	memcpy(at, place, sizeof at);
	for (int64_t lane = 0; lane < ts_layout_axis_size(l, TS_AX_L); lane++)
		for (int64_t r = 0; r < ts_layout_axis_size(l, TS_AX_R); r++) {
			at[TS_AX_L] = lane;
			at[TS_AX_R] = r;
			ts_layout_at(l, at, coord);
			if (memcmp(coord, c, sizeof *c * l->rank)) continue;
			*out = (Source){ (int)r, (int)lane };
			return true;
		}
	return false;
}

/* Register r of the result: where its element comes from, lane by lane. One shuffle for each source register, chosen by lane. */
static Val converted(Lower *w, const TsTree *call, const Frag *x, const TsLayout *to, int r)
{
	enum { WARP = 32 };
	Source from[WARP];
	int64_t place[TS_AX_COUNT] = { 0 }, c[TS_LAY_RANK] = { 0 };
	bool own = true;
	Val lane[WARP], out = NULL;
	int64_t lanes = ts_layout_axis_size(to, TS_AX_L);
	for (int i = 0; i < WARP; i++) {
		place[TS_AX_L] = i % lanes;
		place[TS_AX_R] = r;
		ts_layout_at(to, place, c);
		int64_t origin[TS_AX_COUNT] = { 0 };
		if (!find_source(x->at->layout, origin, c, &from[i])) lw_fail(w, call, "an element lies in another warp; go through shared memory");
		own &= from[i].lane == i && from[i].reg == from[0].reg;
	}
	if (own) return x->v[from[0].reg];
	for (int i = 0; i < WARP; i++) lane[i] = LLVMConstInt(w->i8, (uint64_t)from[i].lane, 0);
	Val table = LLVMAddGlobalInAddressSpace(w->mod, LLVMArrayType2(w->i8, WARP), "lanes", 4), at = LLVMBuildZExt(w->b, w->lane, w->i64, "");
	LLVMSetInitializer(table, LLVMConstArray2(w->i8, lane, WARP));
	LLVMSetGlobalConstant(table, 1);
	LLVMSetLinkage(table, LLVMInternalLinkage);
	Val source = LLVMBuildZExt(w->b, LLVMBuildLoad2(w->b, w->i8, LLVMBuildGEP2(w->b, w->i8, table, &at, 1, ""), ""), w->i32, "");
	for (int reg = 0; reg < x->n; reg++) {
		uint32_t mine = 0;
		for (int i = 0; i < WARP; i++) mine |= (uint32_t)(from[i].reg == reg) << i;
		if (!mine) continue;
		Val got = lg_shuffle(w, x->v[reg], source, false);
		Val chosen = LLVMBuildTrunc(w->b, LLVMBuildLShr(w->b, lw_i32(w, mine), w->lane, ""), w->i1, "");
		out = out ? LLVMBuildSelect(w->b, chosen, got, out, "") : got;
	}
	return out;
}

static bool same_beyond_lanes(const TsLayout *a, const TsLayout *b)
{
	for (int axis = TS_AX_W; axis <= TS_AX_C; axis++) {
		int64_t n = ts_layout_axis_size(a, (TsAxis)axis), x[TS_LAY_RANK], y[TS_LAY_RANK];
		if (n != ts_layout_axis_size(b, (TsAxis)axis)) return false;
		for (int64_t i = 0; i < n; i++) {
			int64_t place[TS_AX_COUNT] = { 0 };
			place[axis] = i;
			ts_layout_at(a, place, x);
			ts_layout_at(b, place, y);
			if (memcmp(x, y, sizeof *x * a->rank)) return false;
		}
	}
	return true;
}

Frag lg_convert(Lower *w, const TsTree *call, const Frag *x, const TsTType *type)
{
	Frag out = lw_frag(w, type);
	if (!same_beyond_lanes(x->at->layout, type->layout)) lw_fail(w, call, "the layouts lie differently over warps; go through shared memory");
	for (int r = 0; r < out.n; r++) out.v[r] = converted(w, call, x, type->layout, r);
	return out;
}

/* fp8 by the instructions that Hopper has for pairs; e5m2 overflows to infinity, which the one that encodes it does not know. */
static bool cast_fp8(Lower *w, const Frag *x, Frag *out)
{
	bool encode = x->elem == TS_F32 && out->elem == TS_FP8_E4M3, decode = out->elem == TS_F32 && (x->elem == TS_FP8_E4M3 || x->elem == TS_FP8_E5M2);
	if (!(ts_tile_target_of(w->kernel)->cls & TS_TG_HOPPER) || (!encode && !decode) || !x->at || x->n % 2) return false;
	for (int r = 0; r < x->n; r += 2) {
		Val both[] = { x->v[r + 1], x->v[r] }, v; /* the second is the lower byte */
		if (encode) {
			v = lg_intrinsic(w, "llvm.nvvm.ff.to.e4m3x2.rn", both, 2);
			out->v[r] = LLVMBuildTrunc(w->b, v, w->i8, "");
			out->v[r + 1] = LLVMBuildTrunc(w->b, LLVMBuildLShr(w->b, v, LLVMConstInt(w->i16, 8, 0), ""), w->i8, "");
			continue;
		}
		v = LLVMBuildShl(w->b, LLVMBuildZExt(w->b, both[0], w->i16, ""), LLVMConstInt(w->i16, 8, 0), "");
		v = LLVMBuildOr(w->b, v, LLVMBuildZExt(w->b, both[1], w->i16, ""), "");
		v = lg_intrinsic(w, x->elem == TS_FP8_E4M3 ? "llvm.nvvm.e4m3x2.to.f16x2.rn" : "llvm.nvvm.e5m2x2.to.f16x2.rn", &v, 1);
		for (int i = 0; i < 2; i++) out->v[r + i] = LLVMBuildFPExt(w->b, LLVMBuildExtractElement(w->b, v, lw_i32(w, i), ""), w->f32, "");
	}
	return true;
}

/* The 32-bit word whose halves a and b are, NULL: they were not read as one. */
static Val word_of_halves(Lower *w, Val a, Val b)
{
	if (!LLVMIsAExtractElementInst(a) || !LLVMIsAExtractElementInst(b) || LLVMGetOperand(a, 0) != LLVMGetOperand(b, 0)) return NULL;
	Val at[] = { LLVMGetOperand(a, 1), LLVMGetOperand(b, 1) }, both = LLVMGetOperand(a, 0);
	if (LLVMTypeOf(both) != LLVMVectorType(w->i16, 2) || !LLVMIsAConstantInt(at[0]) || !LLVMIsAConstantInt(at[1])) return NULL;
	return LLVMConstIntGetZExtValue(at[0]) == 0 && LLVMConstIntGetZExtValue(at[1]) == 1 ? LLVMBuildBitCast(w->b, both, w->i32, "") : NULL;
}

/* bf16 is the upper half of f32: one instruction for each half of a word that was read, as long as nobody takes it apart first. */
static bool widen_pairs(Lower *w, const Frag *x, Frag *out)
{
	if (x->elem != TS_BF16 || out->elem != TS_F32 || !x->at || x->n % 2) return false;
	for (int r = 0; r < x->n; r += 2) {
		Val word = word_of_halves(w, x->v[r], x->v[r + 1]);
		if (!word) return false;
		out->v[r] = LLVMBuildBitCast(w->b, LLVMBuildShl(w->b, word, lw_i32(w, 16), ""), w->f32, "");
		out->v[r + 1] = LLVMBuildBitCast(w->b, LLVMBuildAnd(w->b, word, lw_i32(w, -65536), ""), w->f32, "");
	}
	return true;
}

bool lg_cast_pairs(Lower *w, const Frag *x, Frag *out)
{
	if (cast_fp8(w, x, out) || widen_pairs(w, x, out)) return true;
	if (x->elem != TS_F32 || (out->elem != TS_BF16 && out->elem != TS_F16) || !x->at || x->n % 2) return false;
	LLVMTypeRef two = LLVMVectorType(w->f32, 2), narrow = LLVMVectorType(out->elem == TS_BF16 ? LLVMBFloatTypeInContext(w->lc) : LLVMHalfTypeInContext(w->lc), 2);
	for (int r = 0; r < x->n; r += 2) {
		Val v = LLVMBuildInsertElement(w->b, LLVMGetPoison(two), x->v[r], lw_i32(w, 0), "");
		v = LLVMBuildInsertElement(w->b, v, x->v[r + 1], lw_i32(w, 1), "");
		v = LLVMBuildBitCast(w->b, LLVMBuildFPTrunc(w->b, v, narrow, ""), LLVMVectorType(w->i16, 2), "");
		for (int i = 0; i < 2; i++) out->v[r + i] = LLVMBuildExtractElement(w->b, v, lw_i32(w, i), "");
	}
	return true;
}

/* ---- order ---- */
void lg_sync(Lower *w, const char *who, const TsTree *at)
{
	if (!strcmp(who, "warp") || (!strcmp(who, "role") && w->warps == 1)) {
		Val all[] = { lw_i32(w, -1) };
		lg_intrinsic(w, "llvm.nvvm.bar.warp.sync", all, 1);
	} else if (!strcmp(who, "cta") || (!strcmp(who, "role") && !w->role)) {
		Val zero[] = { lw_i32(w, 0) };
		lg_intrinsic(w, "llvm.nvvm.barrier.cta.sync.aligned.all", zero, 1);
	} else if (!strcmp(who, "role")) {
		Val args[] = { lw_add(w, lw_i32(w, w->barrier), w->instance), lw_i32(w, w->warps * 32) };
		lg_intrinsic(w, "llvm.nvvm.barrier.cta.sync.aligned.count", args, 2);
	} else if (!strcmp(who, "cluster")) {
		lg_intrinsic(w, "llvm.nvvm.barrier.cluster.arrive.aligned", NULL, 0);
		lg_intrinsic(w, "llvm.nvvm.barrier.cluster.wait.aligned", NULL, 0);
	} else {
		lw_fail(w, at, "no barrier over '%s' on target %s", who, w->target->name);
	}
}

/* ---- branches, roles ---- */
Branch lg_if(Lower *w, Val c)
{
	Branch b = { lw_block(w, "then"), lw_block(w, "end") };
	LLVMBuildCondBr(w->b, c, b.yes, b.end);
	LLVMPositionBuilderAtEnd(w->b, b.yes);
	return b;
}

void lg_end(Lower *w, Branch b)
{
	LLVMBuildBr(w->b, b.end);
	LLVMPositionBuilderAtEnd(w->b, b.end);
}

static Val is_zero(Lower *w, Val x) { return LLVMBuildICmp(w->b, LLVMIntEQ, x, lw_i32(w, 0), ""); }

void lg_one(Lower *w, const TsTree *t)
{
	Branch b = lg_if(w, LLVMBuildAnd(w->b, is_zero(w, w->lane), is_zero(w, w->warp), ""));
	lw_statements(w, t->kid[0], 0);
	lg_end(w, b);
}

static int64_t role_warps(const TsTree *role) { return ts_tinfo(role)->step * ts_tinfo(role)->value; }

/* Gives registers to the role, or takes them: for whole warpgroups that the text gives a number. */
static void set_registers(Lower *w, const TsTree *role)
{
	const TsTree *regs = ts_tile_attr(role->kid[0], "regs");
	int64_t even = ts_tile_target_of(w->kernel)->registers / w->launch.threads / 8 * 8;
	if (!regs || ts_tinfo(role)->step % 4 || regs->i == even) return;
	Val n[] = { lw_i32(w, regs->i) };
	lg_intrinsic(w, regs->i < even ? "llvm.nvvm.setmaxnreg.dec.sync.aligned.u32" : "llvm.nvvm.setmaxnreg.inc.sync.aligned.u32", n, 1);
}

static void role_body(Lower *w, const TsTree *role, Val all_warps, int64_t first)
{
	int64_t warps = ts_tinfo(role)->step, times = ts_tinfo(role)->value;
	Val own = LLVMBuildSub(w->b, all_warps, lw_i32(w, first), "");
	w->role = role;
	w->warps = warps;
	w->times = times;
	w->warp = warps == 1 ? lw_i32(w, 0) : times == 1 ? own : digit(w, own, 1, warps);
	w->instance = times == 1 ? lw_i32(w, 0) : digit(w, own, warps, times);
	set_registers(w, role);
	lw_statements(w, role->kid[1], 0);
	w->barrier += (int)times;
}

void lg_role(Lower *w, const TsTree *const *role, uint32_t n)
{
	Val warp = w->warp;
	int64_t first = 0, warps = w->warps, times = w->times;
	Block end = lw_block(w, "end");
	for (uint32_t i = 0; i < n; i++) {
		Block yes = lw_block(w, role[i]->name), no = i + 1 < n ? lw_block(w, "else") : NULL;
		if (no) LLVMBuildCondBr(w->b, LLVMBuildICmp(w->b, LLVMIntULT, warp, lw_i32(w, first + role_warps(role[i])), ""), yes, no);
		else LLVMBuildBr(w->b, yes);
		LLVMPositionBuilderAtEnd(w->b, yes);
		role_body(w, role[i], warp, first);
		first += role_warps(role[i]);
		LLVMBuildBr(w->b, end);
		if (no) LLVMPositionBuilderAtEnd(w->b, no);
	}
	LLVMPositionBuilderAtEnd(w->b, end);
	w->role = NULL;
	w->warp = warp;
	w->warps = warps;
	w->times = times;
	w->instance = lw_i32(w, 0);
}

bool lg_effect(Lower *w, const TsTree *call)
{
	switch (ts_tinfo(call)->op) {
	case TS_TILE_put: lg_put(w, call); return true;
	case TS_TILE_copy_async: lg_copy_async(w, call); return true;
	case TS_TILE_sync: lg_sync(w, call->kid[1]->name, call); return true;
	default: return lg_async(w, call);
	}
}

/* ---- kernels ---- */
static const char *number(Lower *w, int64_t n) { return ts_printf(w->arena, "%lld", (long long)n); }

static void map_parameter(Lower *w, unsigned i)
{
	unsigned at = i + 1;
	LLVMTypeRef bytes = LLVMArrayType2(w->i8, 128);
	LLVMAddAttributeAtIndex(w->fn, at, LLVMCreateTypeAttribute(w->lc, LLVMGetEnumAttributeKindForName("byval", 5), bytes));
	LLVMAddAttributeAtIndex(w->fn, at, LLVMCreateEnumAttribute(w->lc, LLVMGetEnumAttributeKindForName("align", 5), 64));
	LLVMAddAttributeAtIndex(w->fn, at, LLVMCreateStringAttribute(w->lc, "nvvm.grid_constant", 18, "", 0));
}

static void make_function(Lower *w, const TsTree *kernel, const char *symbol)
{
	enum { PTX_KERNEL = 71 };
	const TsTree *params = kernel->kid[0]->kid[0];
	uint32_t n = params->n + w->launch.n_maps, k = 0;
	LLVMTypeRef *type = TS_NEW_N(w->arena, LLVMTypeRef, n + 1);
	for (uint32_t i = 0; i < params->n; i++)
		if (ts_tinfo(params->kid[i])->type.form == TS_TT_MEM) type[k++] = w->ptr;
	for (uint32_t i = 0; i < params->n; i++)
		if (ts_tinfo(params->kid[i])->type.form == TS_TT_IDX) type[k++] = w->i64;
	w->first_map = k;
	while (k < n) type[k++] = LLVMPointerTypeInContext(w->lc, 0);
	w->fn = LLVMAddFunction(w->mod, symbol, LLVMFunctionType(w->none, type, n, 0));
	LLVMSetFunctionCallConv(w->fn, PTX_KERNEL);
	for (uint32_t i = w->first_map; i < n; i++) map_parameter(w, i);
	lw_attr(w, w->fn, "nvvm.reqntid", number(w, w->launch.threads));
	/* How many CTAs the registers must leave room for. Without this word ptxas aims at more by itself, and spills for them. */
	const TsTree *ctas = ts_tile_attr(kernel->n > 2 ? kernel->kid[2] : NULL, "ctas");
	lw_attr(w, w->fn, "nvvm.minctasm", number(w, ctas ? ctas->i : 1));
	if (w->launch.cluster > 1) lw_attr(w, w->fn, "nvvm.cluster_dim", number(w, w->launch.cluster));
	lw_attr_enum(w, w->fn, LLVMAttributeFunctionIndex, "nounwind");
	w->entry = lw_block(w, "entry");
	LLVMPositionBuilderAtEnd(w->b, w->entry);
}

static void bind_parameters(Lower *w, const TsTree *params)
{
	unsigned buffers = 0;
	for (uint32_t i = 0; i < params->n; i++) buffers += ts_tinfo(params->kid[i])->type.form == TS_TT_MEM;
	for (uint32_t i = 0; i < params->n; i++) {
		const TsTInfo *info = ts_tinfo(params->kid[i]);
		if (info->type.form == TS_TT_IDX) lw_set(w, params->kid[i], lw_one(w, LLVMGetParam(w->fn, buffers + (unsigned)info->value), TS_INT64, true));
	}
	for (uint32_t i = 0; i < params->n; i++)
		if (ts_tinfo(params->kid[i])->type.form == TS_TT_MEM) lw_buffer(w, params->kid[i], LLVMGetParam(w->fn, (unsigned)ts_tinfo(params->kid[i])->value));
}

static Val shared_memory(Lower *w)
{
	static const char name[] = "tessera_shared";
	Val g = LLVMGetNamedGlobal(w->mod, name);
	if (g) return g;
	g = LLVMAddGlobalInAddressSpace(w->mod, LLVMArrayType2(w->i8, 0), name, 3);
	LLVMSetLinkage(g, LLVMExternalLinkage);
	LLVMSetAlignment(g, 1024);
	return g;
}

static void bind_threads(Lower *w, const TsTree *kernel)
{
	Val tid = special(w, "tid.x");
	w->lane = LLVMBuildAnd(w->b, tid, lw_i32(w, 31), "");
	w->warp = w->launch.threads == 32 ? lw_i32(w, 0) : lg_uniform(w, LLVMBuildLShr(w->b, tid, lw_i32(w, 5), ""));
	w->instance = lw_i32(w, 0);
	w->cta = w->launch.cluster > 1 ? special(w, "cluster.ctarank") : lw_i32(w, 0);
	w->role = NULL;
	w->warps = w->launch.threads / 32;
	w->times = 1;
	w->barrier = 1; /* 0 is the CTA's */
	w->shared = shared_memory(w);
	(void)kernel;
}

/* The point of the grid that this CTA (cluster) is. */
static void bind_cell(Lower *w, const TsTree *grid)
{
	Val rest = LLVMBuildZExt(w->b, special(w, "ctaid.x"), w->i64, "");
	if (w->launch.cluster > 1) rest = LLVMBuildUDiv(w->b, rest, lw_i64(w, w->launch.cluster), "");
	if (grid->n > MAX_AXES) lw_fail(w, grid, "a grid has at most %d axes", MAX_AXES);
	for (uint32_t i = grid->n; i-- > 0;) {
		const TsTree *r = grid->kid[i]->kid[0];
		Val lo = lw_idx(w, r->kid[0]), step = r->kid[2] ? lw_idx(w, r->kid[2]) : lw_i64(w, 1), cell = rest;
		if (i) {
			Val span = LLVMBuildSub(w->b, lw_idx(w, r->kid[1]), lo, "");
			Val count = lw_floordiv(w, lw_add(w, span, LLVMBuildSub(w->b, step, lw_i64(w, 1), "")), step);
			cell = LLVMBuildURem(w->b, rest, count, "");
			rest = LLVMBuildUDiv(w->b, rest, count, "");
		}
		lw_set(w, grid->kid[i], lw_one(w, lw_add(w, lo, lw_mul(w, cell, step)), TS_INT64, true));
	}
}

void lg_kernel(Lower *w, const TsTree *kernel, const char *symbol)
{
	const TsTree *block = kernel->kid[1];
	uint32_t grid = block->n;
	lw_begin(w, kernel);
	if (!ts_tile_launch(kernel, &w->launch)) lw_fail(w, kernel, "kernel '%s' copies boxes of more than %d kinds", kernel->name, TS_TILE_MAPS);
	make_function(w, kernel, symbol);
	bind_threads(w, kernel);
	bind_parameters(w, kernel->kid[0]->kid[0]);
	lg_init_rings(w, kernel);
	for (uint32_t i = 0; i < block->n && grid == block->n; i++)
		if (block->kid[i]->kind == TS_TREE_GRID) grid = i;
	for (uint32_t i = 0; i < grid && grid < block->n; i++) lw_statement(w, block->kid[i]);
	if (grid < block->n) bind_cell(w, block->kid[grid]);
	lw_statements(w, block, grid < block->n ? grid + 1 : 0);
	LLVMBuildRetVoid(w->b);
}
