/* Pointwise words and conversions of element types, one register at a time. 16-bit floats compute in f32 and round at every word. */
#include "backend/llvm/lower.h"
#include <string.h>

static bool is_wide(TsDtype t) { return t == TS_F32 || t == TS_F64; }
static bool is_unsigned(TsDtype t) { return t == TS_UINT8 || t == TS_BOOL; }

/* ---- conversions ---- */
static LLVMTypeRef half_type(Lower *w, int lanes)
{
	LLVMTypeRef h = LLVMHalfTypeInContext(w->lc);
	return lanes > 1 ? LLVMVectorType(h, (unsigned)lanes) : h;
}

static Val to_f32(Lower *w, Val x, TsDtype from)
{
	int lanes = lw_lanes_of(x);
	if (from == TS_F32) return x;
	if (from == TS_F64) return LLVMBuildFPTrunc(w->b, x, lw_type(w, TS_F32, lanes), "");
	if (from == TS_F16 && w->target->f16c) return LLVMBuildFPExt(w->b, LLVMBuildBitCast(w->b, x, half_type(w, lanes), ""), lw_type(w, TS_F32, lanes), "");
	return ts_cvt_from(&w->math, from, x);
}

/* f64 to f32 rounded to odd: a second rounding to a type of at most 22 bits then gives what one rounding would. */
static Val to_f32_odd(Lower *w, Val x)
{
	LLVMBuilderRef b = w->b;
	int lanes = lw_lanes_of(x);
	LLVMTypeRef ints = lw_type(w, TS_INT32, lanes);
	Val near = LLVMBuildFPTrunc(b, x, lw_type(w, TS_F32, lanes), ""), back = LLVMBuildFPExt(b, near, lw_type(w, TS_F64, lanes), "");
	Val exact = LLVMBuildNot(b, LLVMBuildFCmp(b, LLVMRealONE, back, x, ""), ""); /* also NaN */
	Val args[] = { back }, args2[] = { x };
	LLVMTypeRef over[] = { LLVMTypeOf(x) };
	Val size = lw_intrinsic(w, "llvm.fabs", over, 1, args, 1), want = lw_intrinsic(w, "llvm.fabs", over, 1, args2, 1);
	Val above = LLVMBuildFCmp(b, LLVMRealOGT, size, want, "");
	Val bits = LLVMBuildBitCast(b, near, ints, ""), one = lw_const_int(w, TS_INT32, 1, lanes);
	Val inward = LLVMBuildSelect(b, above, LLVMBuildSub(b, bits, one, ""), bits, "");
	return LLVMBuildBitCast(b, LLVMBuildSelect(b, exact, bits, LLVMBuildOr(b, inward, one, ""), ""), lw_type(w, TS_F32, lanes), "");
}

static Val from_f32(Lower *w, Val x, TsDtype to)
{
	int lanes = lw_lanes_of(x);
	if (to == TS_F32) return x;
	if (to == TS_F64) return LLVMBuildFPExt(w->b, x, lw_type(w, TS_F64, lanes), "");
	if (to == TS_F16 && w->target->f16c) return LLVMBuildBitCast(w->b, LLVMBuildFPTrunc(w->b, x, half_type(w, lanes), ""), lw_type(w, TS_F16, lanes), "");
	return ts_cvt_to(&w->math, to, x);
}

static Val float_to_float(Lower *w, Val x, TsDtype from, TsDtype to)
{
	if (from == TS_F64) return to == TS_F32 ? to_f32(w, x, from) : from_f32(w, to_f32_odd(w, x), to);
	return from_f32(w, to_f32(w, x, from), to);
}

static Val clamp_int(Lower *w, Val x, Val lo, Val hi)
{
	LLVMTypeRef over[] = { LLVMTypeOf(x) };
	Val a[] = { x, lo }, b[] = { NULL, hi };
	b[0] = lw_intrinsic(w, "llvm.smax", over, 1, a, 2);
	return lw_intrinsic(w, "llvm.smin", over, 1, b, 2);
}

/* the range of an integer type, as constants of type `as` */
static void int_range(TsDtype t, int64_t *lo, int64_t *hi)
{
	int bits = ts_dtype_bits(t);
	*lo = t == TS_UINT8 ? 0 : (int64_t)(UINT64_MAX << (bits - 1));
	*hi = t == TS_UINT8 ? 255 : ~*lo;
}

static Val narrow_int4(Lower *w, Val x) { return LLVMBuildAnd(w->b, x, lw_const_int(w, TS_INT8, 15, lw_lanes_of(x)), ""); }

/* int4 sign-extended within its byte */
static Val widen_int4(Lower *w, Val x)
{
	Val four = lw_const_int(w, TS_INT8, 4, lw_lanes_of(x));
	return LLVMBuildAShr(w->b, LLVMBuildShl(w->b, x, four, ""), four, "");
}

static Val int_to_int(Lower *w, Val x, TsDtype from, TsDtype to)
{
	int lanes = lw_lanes_of(x), bits = from == TS_INT4 ? 8 : ts_dtype_bits(from), want = to == TS_INT4 ? 8 : ts_dtype_bits(to);
	if (from == TS_INT4) x = widen_int4(w, x);
	int64_t lo, hi;
	if (from != TS_BOOL && (ts_dtype_bits(to) < ts_dtype_bits(from) || is_unsigned(from) != is_unsigned(to))) {
		if (bits < 16) { /* uint8 and int8 need a common type */
			x = is_unsigned(from) ? LLVMBuildZExt(w->b, x, lw_type(w, TS_INT16, lanes), "") : LLVMBuildSExt(w->b, x, lw_type(w, TS_INT16, lanes), "");
			bits = 16;
			from = TS_INT16;
		}
		int_range(to, &lo, &hi);
		LLVMTypeRef t = lw_elem_type(w, from);
		if (want <= bits) x = clamp_int(w, x, lw_splat(w, LLVMConstInt(t, (uint64_t)lo, 1), lanes), lw_splat(w, LLVMConstInt(t, (uint64_t)hi, 1), lanes));
	}
	if (from == TS_BOOL) bits = 1;
	LLVMTypeRef type = lw_type(w, to, lanes);
	if (want > bits) x = is_unsigned(from) ? LLVMBuildZExt(w->b, x, type, "") : LLVMBuildSExt(w->b, x, type, "");
	else if (want < bits) x = LLVMBuildTrunc(w->b, x, type, "");
	return to == TS_INT4 ? narrow_int4(w, x) : x;
}

static Val int_to_float(Lower *w, Val x, TsDtype from, TsDtype to)
{
	int lanes = lw_lanes_of(x);
	if (from == TS_INT4) x = widen_int4(w, x);
	TsDtype via = is_wide(to) ? to : ts_dtype_bits(from) > 16 ? TS_F64 : TS_F32;
	LLVMTypeRef type = lw_type(w, via, lanes);
	Val f = is_unsigned(from) ? LLVMBuildUIToFP(w->b, x, type, "") : LLVMBuildSIToFP(w->b, x, type, "");
	return via == to ? f : float_to_float(w, f, via, to);
}

static Val float_to_int(Lower *w, Val x, TsDtype from, TsDtype to)
{
	if (!is_wide(from)) { x = to_f32(w, x, from); }
	int lanes = lw_lanes_of(x);
	LLVMTypeRef over[] = { lw_type(w, to, lanes), LLVMTypeOf(x) };
	Val args[] = { x };
	if (to != TS_INT4) return lw_intrinsic(w, to == TS_UINT8 ? "llvm.fptoui.sat" : "llvm.fptosi.sat", over, 2, args, 1);
	return narrow_int4(w, clamp_int(w, lw_intrinsic(w, "llvm.fptosi.sat", over, 2, args, 1), lw_const_int(w, TS_INT8, -8, lanes), lw_const_int(w, TS_INT8, 7, lanes)));
}

static Val to_bool(Lower *w, Val x, TsDtype from)
{
	int lanes = lw_lanes_of(x);
	if (ts_dtype_is_float(from)) return LLVMBuildFCmp(w->b, LLVMRealUNE, is_wide(from) ? x : to_f32(w, x, from), lw_const(w, is_wide(from) ? from : TS_F32, 0, lanes), "");
	if (from == TS_INT4) x = narrow_int4(w, x);
	return LLVMBuildICmp(w->b, LLVMIntNE, x, lw_const_int(w, from, 0, lanes), "");
}

Val lw_cast(Lower *w, const TsTree *at, Val x, TsDtype from, TsDtype to)
{
	bool ff = ts_dtype_is_float(from), tf = ts_dtype_is_float(to);
	if (from == to) return x;
	if (to == TS_COMPLEX64 && ff) {
		int lanes = lw_lanes_of(x);
		x = from == TS_F32 ? x : float_to_float(w, x, from, TS_F32);
		return LLVMBuildZExt(w->b, LLVMBuildBitCast(w->b, x, lw_type(w, TS_INT32, lanes), ""), lw_type(w, TS_INT64, lanes), "");
	}
	if (from == TS_COMPLEX64 || to == TS_COMPLEX64) lw_fail(w, at, "no conversion from %s to %s", ts_dtype_name(from), ts_dtype_name(to));
	if (to == TS_BOOL) return to_bool(w, x, from);
	if (ff && tf) return float_to_float(w, x, from, to);
	if (ff) return float_to_int(w, x, from, to);
	return tf ? int_to_float(w, x, from, to) : int_to_int(w, x, from, to);
}

/* ---- words ---- */
static Val minmax_int(Lower *w, const char *name, Val a, Val b)
{
	LLVMTypeRef over[] = { LLVMTypeOf(a) };
	Val args[] = { a, b };
	return lw_intrinsic(w, name, over, 1, args, 2);
}

/* floor(a / b), 0 where b is 0; -1 is divided by negating, as the smallest integer has no quotient */
static Val floordiv_int(Lower *w, TsDtype t, Val a, Val b)
{
	LLVMBuilderRef bd = w->b;
	int lanes = lw_lanes_of(a);
	Val zero = lw_const_int(w, t, 0, lanes), one = lw_const_int(w, t, 1, lanes);
	Val none = LLVMBuildICmp(bd, LLVMIntEQ, b, zero, ""), minus = LLVMBuildICmp(bd, LLVMIntEQ, b, lw_const_int(w, t, -1, lanes), "");
	Val safe = LLVMBuildSelect(bd, LLVMBuildOr(bd, none, minus, ""), one, b, "");
	Val q = LLVMBuildSDiv(bd, a, safe, ""), r = LLVMBuildSub(bd, a, LLVMBuildMul(bd, q, safe, ""), "");
	Val other = LLVMBuildICmp(bd, LLVMIntSLT, LLVMBuildXor(bd, r, safe, ""), zero, "");
	Val above = LLVMBuildAnd(bd, other, LLVMBuildICmp(bd, LLVMIntNE, r, zero, ""), "");
	q = LLVMBuildSelect(bd, above, LLVMBuildSub(bd, q, one, ""), q, "");
	return LLVMBuildSelect(bd, none, zero, LLVMBuildSelect(bd, minus, LLVMBuildNeg(bd, a, ""), q, ""), "");
}

static Val int_word(Lower *w, const char *s, TsDtype t, Val *x, unsigned n)
{
	LLVMBuilderRef b = w->b;
	Val zero = lw_const_int(w, t, 0, lw_lanes_of(x[0]));
	if (!strcmp(s, "neg")) return LLVMBuildNeg(b, x[0], "");
	if (!strcmp(s, "abs")) return LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntSLT, x[0], zero, ""), LLVMBuildNeg(b, x[0], ""), x[0], "");
	if (!strcmp(s, "relu")) return minmax_int(w, "llvm.smax", x[0], zero);
	if (n < 2) return NULL;
	if (!strcmp(s, "add")) return LLVMBuildAdd(b, x[0], x[1], "");
	if (!strcmp(s, "sub")) return LLVMBuildSub(b, x[0], x[1], "");
	if (!strcmp(s, "mul")) return LLVMBuildMul(b, x[0], x[1], "");
	if (!strcmp(s, "minimum")) return minmax_int(w, "llvm.smin", x[0], x[1]);
	if (!strcmp(s, "maximum")) return minmax_int(w, "llvm.smax", x[0], x[1]);
	if (!strcmp(s, "floordiv")) return floordiv_int(w, t, x[0], x[1]);
	if (!strcmp(s, "mod")) {
		/* where b is 0 the result is 0, not a */
		Val q = floordiv_int(w, t, x[0], x[1]), r = LLVMBuildSub(b, x[0], LLVMBuildMul(b, q, x[1], ""), "");
		return LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntEQ, x[1], zero, ""), zero, r, "");
	}
	if (n == 3 && !strcmp(s, "fma")) return LLVMBuildAdd(b, LLVMBuildMul(b, x[0], x[1], ""), x[2], "");
	return n == 3 && !strcmp(s, "clamp") ? minmax_int(w, "llvm.smin", minmax_int(w, "llvm.smax", x[0], x[1]), x[2]) : NULL;
}

static Val bool_word(Lower *w, const char *s, Val *x, unsigned n)
{
	if (!strcmp(s, "not")) return LLVMBuildNot(w->b, x[0], "");
	if (n != 2) return NULL;
	if (!strcmp(s, "and") || !strcmp(s, "minimum")) return LLVMBuildAnd(w->b, x[0], x[1], "");
	return !strcmp(s, "or") || !strcmp(s, "maximum") ? LLVMBuildOr(w->b, x[0], x[1], "") : NULL;
}

static Val float_word(Lower *w, const TsTree *call, const char *s, Val *x, unsigned n)
{
	LLVMBuilderRef b = w->b;
	if (n == 2) {
		if (!strcmp(s, "add")) return LLVMBuildFAdd(b, x[0], x[1], "");
		if (!strcmp(s, "sub")) return LLVMBuildFSub(b, x[0], x[1], "");
		if (!strcmp(s, "mul")) return LLVMBuildFMul(b, x[0], x[1], "");
		if (!strcmp(s, "div")) return LLVMBuildFDiv(b, x[0], x[1], "");
	}
	if (n == 3 && !strcmp(s, "clamp")) {
		Val low[2] = { ts_math_call(&w->math, "maximum", x, 2), x[2] };
		return ts_math_call(&w->math, "minimum", low, 2);
	}
	if (!strcmp(s, "gelu")) {
		const TsTree *form = lw_keyword(call, "approximate");
		s = form && !strcmp(form->name, "none") ? "gelu" : "gelu_tanh";
	}
	const TsTree *bits = lw_keyword(call, "bits");
	TsMath m = w->math;
	m.near = bits && lw_const_of(w, bits) <= 16;
	return ts_math_call(&m, s, x, n);
}

static const struct { const char *word; LLVMIntPredicate i; LLVMRealPredicate f; } comparisons[] = {
	{ "eq", LLVMIntEQ, LLVMRealOEQ }, { "ne", LLVMIntNE, LLVMRealUNE }, { "lt", LLVMIntSLT, LLVMRealOLT }, { "le", LLVMIntSLE, LLVMRealOLE },
	{ "gt", LLVMIntSGT, LLVMRealOGT }, { "ge", LLVMIntSGE, LLVMRealOGE },
};

static Val comparison(Lower *w, const char *s, TsDtype t, Val a, Val b)
{
	for (size_t i = 0; i < sizeof comparisons / sizeof *comparisons; i++)
		if (!strcmp(s, comparisons[i].word))
			return ts_dtype_is_float(t) ? LLVMBuildFCmp(w->b, comparisons[i].f, a, b, "") : LLVMBuildICmp(w->b, comparisons[i].i, a, b, "");
	return NULL;
}

static Val word_of(Lower *w, const TsTree *call, const char *word, TsDtype t, Val *x, unsigned n)
{
	Val v = n == 2 ? comparison(w, word, t, x[0], x[1]) : NULL;
	if (v) return v;
	if (is_wide(t)) return float_word(w, call, word, x, n);
	return t == TS_BOOL ? bool_word(w, word, x, n) : int_word(w, word, t, x, n);
}

Val lw_word(Lower *w, const TsTree *call, const char *word, TsDtype t, Val *x, unsigned n)
{
	if (n == 3 && !strcmp(word, "where")) return LLVMBuildSelect(w->b, x[0], x[1], x[2], "");
	bool narrow = t == TS_F16 || t == TS_BF16;
	Val f[4];
	if (narrow && n <= 4) {
		for (unsigned i = 0; i < n; i++) f[i] = to_f32(w, x[i], t);
		x = f;
	}
	Val v = n ? word_of(w, call, word, narrow ? TS_F32 : t, x, n) : NULL;
	if (!v) lw_fail(w, call, "no %s of %s on target %s", word, ts_dtype_name(t), w->target->name);
	LLVMTypeRef type = LLVMTypeOf(v);
	if (LLVMGetTypeKind(type) == LLVMVectorTypeKind) type = LLVMGetElementType(type);
	return narrow && type == w->f32 ? from_f32(w, v, t) : v;
}
