/* Types, constants and small instruction patterns. */
#include "backend/llvm/lower.h"
#include <string.h>

LLVMTypeRef lw_elem_type(Lower *w, TsDtype t)
{
	switch (t) {
	case TS_F32: return w->f32;
	case TS_F64: return w->f64;
	case TS_BOOL: return w->i1;
	case TS_COMPLEX64:
	case TS_INT64: return w->i64;
	case TS_INT32: return w->i32;
	case TS_F16:
	case TS_BF16:
	case TS_INT16: return w->i16;
	default: return w->i8;
	}
}

LLVMTypeRef lw_type(Lower *w, TsDtype t, int lanes)
{
	LLVMTypeRef e = lw_elem_type(w, t);
	return lanes > 1 ? LLVMVectorType(e, (unsigned)lanes) : e;
}

int lw_lanes_of(Val v)
{
	LLVMTypeRef t = LLVMTypeOf(v);
	return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? (int)LLVMGetVectorSize(t) : 1;
}

Val lw_i64(Lower *w, int64_t v) { return LLVMConstInt(w->i64, (uint64_t)v, 1); }
Val lw_i32(Lower *w, int64_t v) { return LLVMConstInt(w->i32, (uint64_t)v, 1); }

bool lw_is_const(Val v, int64_t *out)
{
	if (!LLVMIsAConstantInt(v)) return false;
	*out = LLVMConstIntGetSExtValue(v);
	return true;
}

Val lw_splat(Lower *w, Val scalar, int lanes)
{
	if (lanes == 1) return scalar;
	LLVMTypeRef vec = LLVMVectorType(LLVMTypeOf(scalar), (unsigned)lanes);
	if (LLVMIsConstant(scalar)) {
		Val *all = TS_NEW_N(w->arena, Val, (size_t)lanes);
		for (int i = 0; i < lanes; i++) all[i] = scalar;
		return LLVMConstVector(all, (unsigned)lanes);
	}
	Val one = LLVMBuildInsertElement(w->b, LLVMGetPoison(vec), scalar, lw_i32(w, 0), "");
	return LLVMBuildShuffleVector(w->b, one, LLVMGetPoison(vec), LLVMConstNull(LLVMVectorType(w->i32, (unsigned)lanes)), "");
}

Val lw_const_int(Lower *w, TsDtype t, int64_t x, int lanes) { return lw_splat(w, LLVMConstInt(lw_elem_type(w, t), (uint64_t)x, 1), lanes); }

/* The element nearest to x, as ts_elem_set makes it. */
Val lw_const(Lower *w, TsDtype t, double x, int lanes)
{
	if (t == TS_F32) return lw_splat(w, LLVMConstReal(w->f32, (float)x), lanes);
	if (t == TS_F64) return lw_splat(w, LLVMConstReal(w->f64, x), lanes);
	if (t == TS_BOOL) return lw_const_int(w, t, x != 0, lanes);
	uint64_t bits = 0;
	ts_elem_set(t, &bits, 0, x);
	return lw_const_int(w, t, (int64_t)bits, lanes);
}

Val lw_shuffle(Lower *w, Val a, Val b, const int *mask, int n)
{
	Val *m = TS_NEW_N(w->arena, Val, (size_t)n);
	for (int i = 0; i < n; i++) m[i] = mask[i] < 0 ? LLVMGetPoison(w->i32) : lw_i32(w, mask[i]);
	return LLVMBuildShuffleVector(w->b, a, b ? b : LLVMGetPoison(LLVMTypeOf(a)), LLVMConstVector(m, (unsigned)n), "");
}

Val lw_extract(Lower *w, Val v, int lane) { return lw_lanes_of(v) == 1 ? v : LLVMBuildExtractElement(w->b, v, lw_i32(w, lane), ""); }

Val lw_intrinsic(Lower *w, const char *name, LLVMTypeRef *over, unsigned nover, Val *args, unsigned n)
{
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
	if (!id) lw_fail(w, NULL, "LLVM has no intrinsic %s", name);
	Val fn = LLVMGetIntrinsicDeclaration(w->mod, id, over, nover);
	return LLVMBuildCall2(w->b, LLVMIntrinsicGetType(w->lc, id, over, nover), fn, args, n, "");
}

Val lw_add(Lower *w, Val a, Val b)
{
	int64_t c;
	if (lw_is_const(a, &c) && !c) return b;
	if (lw_is_const(b, &c) && !c) return a;
	return LLVMBuildAdd(w->b, a, b, "");
}

Val lw_mul(Lower *w, Val a, Val b)
{
	int64_t c;
	if (lw_is_const(a, &c) && (c == 0 || c == 1)) return c ? b : a;
	if (lw_is_const(b, &c) && (c == 0 || c == 1)) return c ? a : b;
	return LLVMBuildMul(w->b, a, b, "");
}

Val lw_min(Lower *w, Val a, Val b) { return LLVMBuildSelect(w->b, LLVMBuildICmp(w->b, LLVMIntSLT, a, b, ""), a, b, ""); }
Val lw_max(Lower *w, Val a, Val b) { return LLVMBuildSelect(w->b, LLVMBuildICmp(w->b, LLVMIntSGT, a, b, ""), a, b, ""); }

static int power_of_two(Val b)
{
	int64_t c;
	return lw_is_const(b, &c) && c > 0 && !(c & (c - 1)) ? __builtin_ctzll((uint64_t)c) : -1;
}

/* 1 where the truncated quotient lies above the floor: a remainder of the other sign than b's */
static Val above_floor(Lower *w, Val rem, Val b)
{
	Val differ = LLVMBuildICmp(w->b, LLVMIntSLT, LLVMBuildXor(w->b, rem, b, ""), lw_i64(w, 0), "");
	return LLVMBuildAnd(w->b, differ, LLVMBuildICmp(w->b, LLVMIntNE, rem, lw_i64(w, 0), ""), "");
}

Val lw_floordiv(Lower *w, Val a, Val b)
{
	int shift = power_of_two(b);
	if (shift >= 0) return shift ? LLVMBuildAShr(w->b, a, lw_i64(w, shift), "") : a;
	Val q = LLVMBuildSDiv(w->b, a, b, ""), r = LLVMBuildSRem(w->b, a, b, "");
	return LLVMBuildSub(w->b, q, LLVMBuildZExt(w->b, above_floor(w, r, b), w->i64, ""), "");
}

Val lw_floormod(Lower *w, Val a, Val b)
{
	int shift = power_of_two(b);
	if (shift >= 0) return LLVMBuildAnd(w->b, a, lw_i64(w, (INT64_C(1) << shift) - 1), "");
	Val r = LLVMBuildSRem(w->b, a, b, "");
	return LLVMBuildAdd(w->b, r, LLVMBuildSelect(w->b, above_floor(w, r, b), b, lw_i64(w, 0), ""), "");
}

Block lw_block(Lower *w, const char *name) { return LLVMAppendBasicBlockInContext(w->lc, w->fn, name); }

Val lw_at_entry(Lower *w, LLVMTypeRef type, int64_t count, unsigned align)
{
	Block here = LLVMGetInsertBlock(w->b);
	Val first = LLVMGetFirstInstruction(w->entry);
	if (first) LLVMPositionBuilderBefore(w->b, first);
	else LLVMPositionBuilderAtEnd(w->b, w->entry);
	Val p = LLVMBuildAlloca(w->b, LLVMArrayType2(type, (uint64_t)count), "");
	LLVMSetAlignment(p, align);
	LLVMPositionBuilderAtEnd(w->b, here);
	return p;
}

void lw_attr(Lower *w, Val fn, const char *key, const char *value)
{
	LLVMAddAttributeAtIndex(fn, LLVMAttributeFunctionIndex,
		LLVMCreateStringAttribute(w->lc, key, (unsigned)strlen(key), value, (unsigned)strlen(value)));
}

void lw_attr_enum(Lower *w, Val fn, int index, const char *key)
{
	LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)index, LLVMCreateEnumAttribute(w->lc, LLVMGetEnumAttributeKindForName(key, strlen(key)), 0));
}
