/* Vector math: the typed builder, the simple words, and the table of words. */
#include "backend/llvm/math_impl.h"
#include <string.h>

static LLVMTypeRef lanes_of(unsigned lanes, LLVMTypeRef elem)
{
	return lanes ? LLVMVectorType(elem, lanes) : elem;
}

static void set_types(TsFn *f, bool f64)
{
	f->f64 = f64;
	f->mant = f64 ? 52 : 23;
	f->bias = f64 ? 1023 : 127;
	f->ft = lanes_of(f->lanes, f64 ? LLVMDoubleTypeInContext(f->cx) : LLVMFloatTypeInContext(f->cx));
	f->it = ts_fn_ints(f, f64 ? 64 : 32);
	f->bt = ts_fn_ints(f, 1);
}

bool ts_fn_init(TsFn *f, const TsMath *m, V like)
{
	LLVMTypeRef t = LLVMTypeOf(like);
	bool vec = LLVMGetTypeKind(t) == LLVMVectorTypeKind;
	LLVMTypeKind k = LLVMGetTypeKind(vec ? LLVMGetElementType(t) : t);

	if (k != LLVMFloatTypeKind && k != LLVMDoubleTypeKind)
		return false;
	*f = (TsFn){ .cx = m->cx, .mod = m->mod, .b = m->b, .fma = m->fma, .near = m->near, .lanes = vec ? LLVMGetVectorSize(t) : 0 };
	set_types(f, k == LLVMDoubleTypeKind);
	return true;
}

void ts_fn_as(TsFn *to, const TsFn *from, bool f64)
{
	*to = *from;
	set_types(to, f64);
}

LLVMTypeRef ts_fn_ints(const TsFn *f, unsigned bits)
{
	return lanes_of(f->lanes, LLVMIntTypeInContext(f->cx, bits));
}

/* ---- constants and intrinsics ------------------------------------------------------------------------------------------------ */

static V splat(const TsFn *f, V c)
{
	V all[1024];

	if (!f->lanes)
		return c;
	for (unsigned i = 0; i < f->lanes && i < 1024; i++)
		all[i] = c;
	return LLVMConstVector(all, f->lanes);
}

V ts_fnum(const TsFn *f, double x)
{
	return splat(f, LLVMConstReal(f->lanes ? LLVMGetElementType(f->ft) : f->ft, x));
}

V ts_fint(const TsFn *f, uint64_t x)
{
	return splat(f, LLVMConstInt(f->lanes ? LLVMGetElementType(f->it) : f->it, x, false));
}

V ts_fintr(const TsFn *f, const char *name, V *args, unsigned n)
{
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
	LLVMTypeRef t = f->ft;
	unsigned overloads = LLVMIntrinsicIsOverloaded(id) ? 1 : 0;

	return LLVMBuildCall2(f->b, LLVMIntrinsicGetType(f->cx, id, &t, overloads), LLVMGetIntrinsicDeclaration(f->mod, id, &t, overloads), args, n, "");
}

V ts_ffma(const TsFn *f, V a, V b, V c)
{
	V args[] = { a, b, c };

	return f->fma ? ts_fintr(f, "llvm.fma", args, 3) : FADD(FMUL(a, b), c);
}

V ts_fpoly(const TsFn *f, V x, const double *c, int n)
{
	V r = NUM(c[n - 1]);

	while (--n > 0)
		r = FMA(r, x, NUM(c[n - 1]));
	return r;
}

V ts_festrin(const TsFn *f, V x, const double *c, int n)
{
	V t[32];

	for (int i = 0; i < (n + 1) / 2; i++)
		t[i] = 2 * i + 1 < n ? FMA(NUM(c[2 * i + 1]), x, NUM(c[2 * i])) : NUM(c[2 * i]);
	for (n = (n + 1) / 2; n > 1; n = (n + 1) / 2) {
		x = FMUL(x, x);
		for (int i = 0; i < (n + 1) / 2; i++)
			t[i] = 2 * i + 1 < n ? FMA(t[2 * i + 1], x, t[2 * i]) : t[2 * i];
	}
	return t[0];
}

/* ---- small words ------------------------------------------------------------------------------------------------------------- */

static V sign_mask(const TsFn *f)
{
	return INT(1ull << (f->f64 ? 63 : 31));
}

V ts_fabs(const TsFn *f, V x)
{
	return ts_fintr(f, "llvm.fabs", &x, 1);
}

V ts_fcopysign(const TsFn *f, V mag, V sign)
{
	V s = sign_mask(f);

	return FLT(OR(AND(BITS(mag), INT(~(1ull << (f->f64 ? 63 : 31)))), AND(BITS(sign), s)));
}

V ts_fmin_keep(const TsFn *f, V x, double hi)
{
	return SEL(CMP(OLT, NUM(hi), x), NUM(hi), x);
}

V ts_fmax_keep(const TsFn *f, V x, double lo)
{
	return SEL(CMP(OGT, NUM(lo), x), NUM(lo), x);
}

V ts_fround(const TsFn *f, V x)
{
	return ts_fintr(f, "llvm.roundeven", &x, 1);
}

V ts_ffloor(const TsFn *f, V x)
{
	return ts_fintr(f, "llvm.floor", &x, 1);
}

static V ceil_of(const TsFn *f, V x) { return ts_fintr(f, "llvm.ceil", &x, 1); }
static V root(const TsFn *f, V x) { return ts_fintr(f, "llvm.sqrt", &x, 1); }
static V neg(const TsFn *f, V x) { return LLVMBuildFNeg(f->b, x, ""); }

/* two roundings: within 1.5 ulp */
static V root_inverse(const TsFn *f, V x)
{
	return FDIV(NUM(1), root(f, x));
}

/* max(x, 0) in one instruction; NaN and -0 pass */
static V relu(const TsFn *f, V x)
{
	return ts_fmax_keep(f, x, 0);
}

/* Where the two differ the smaller one, where they are equal zeros the one with a sign bit, where either is NaN a NaN. */
static V minimum(const TsFn *f, V x, V y)
{
	V r = SEL(CMP(OLT, x, y), x, y), equal = FLT(OR(BITS(x), BITS(y)));

	return SEL(CMP(UNO, x, x), x, SEL(CMP(OEQ, x, y), equal, r));
}

static V maximum(const TsFn *f, V x, V y)
{
	V r = SEL(CMP(OGT, x, y), x, y), equal = FLT(AND(BITS(x), BITS(y)));

	return SEL(CMP(UNO, x, x), x, SEL(CMP(OEQ, x, y), equal, r));
}

/* ---- double length ----------------------------------------------------------------------------------------------------------- */

TsPair ts_two_sum(const TsFn *f, V a, V b)
{
	V s = FADD(a, b), t = FSUB(s, a);

	return (TsPair){ s, FADD(FSUB(a, FSUB(s, t)), FSUB(b, t)) };
}

TsPair ts_fast_sum(const TsFn *f, V a, V b)
{
	V s = FADD(a, b);

	return (TsPair){ s, FSUB(b, FSUB(s, a)) };
}

/* the leading half of the significand: products of two such halves are exact */
static V upper_half(const TsFn *f, V a)
{
	return FLT(AND(BITS(a), INT(f->f64 ? ~0x7ffffffull : ~0xfffull)));
}

TsPair ts_two_prod(const TsFn *f, V a, V b)
{
	V p = FMUL(a, b), ah, al, bh, bl, t;

	if (f->fma)
		return (TsPair){ p, FMA(a, b, LLVMBuildFNeg(f->b, p, "")) };
	ah = upper_half(f, a), al = FSUB(a, ah);
	bh = upper_half(f, b), bl = FSUB(b, bh);
	t = FADD(FADD(FSUB(FMUL(ah, bh), p), FMUL(ah, bl)), FMUL(al, bh));
	return (TsPair){ p, FADD(t, FMUL(al, bl)) };
}

/* ---- the table of words ------------------------------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	V (*one)(const TsFn *f, V x);
	V (*two)(const TsFn *f, V x, V y);
	V (*three)(const TsFn *f, V x, V y, V z);
} words[] = {
	{ "exp", .one = ts_math_exp },
	{ "exp2", .one = ts_math_exp2 },
	{ "log", .one = ts_math_log },
	{ "log2", .one = ts_math_log2 },
	{ "sqrt", .one = root },
	{ "rsqrt", .one = root_inverse },
	{ "tanh", .one = ts_math_tanh },
	{ "erf", .one = ts_math_erf },
	{ "sigmoid", .one = ts_math_sigmoid },
	{ "silu", .one = ts_math_silu },
	{ "gelu", .one = ts_math_gelu },
	{ "gelu_tanh", .one = ts_math_gelu_tanh },
	{ "relu", .one = relu },
	{ "sin", .one = ts_math_sin },
	{ "cos", .one = ts_math_cos },
	{ "floor", .one = ts_ffloor },
	{ "ceil", .one = ceil_of },
	{ "round", .one = ts_fround },
	{ "abs", .one = ts_fabs },
	{ "neg", .one = neg },
	{ "pow", .two = ts_math_pow },
	{ "mod", .two = ts_math_mod },
	{ "floordiv", .two = ts_math_floordiv },
	{ "minimum", .two = minimum },
	{ "maximum", .two = maximum },
	{ "fma", .three = ts_ffma },
};

int ts_math_arity(const char *word)
{
	for (int i = 0; i < LEN(words); i++)
		if (!strcmp(words[i].name, word))
			return words[i].one ? 1 : words[i].two ? 2 : 3;
	return 0;
}

V ts_math_call(const TsMath *m, const char *word, V const *args, unsigned n)
{
	TsFn f;

	if (!n || !ts_fn_init(&f, m, args[0]) || f.lanes > 1024)
		return NULL;
	if (m->nvptx) {
		V own = ts_math_nv(&f, word, args, n);

		if (own)
			return own;
	}
	for (int i = 0; i < LEN(words); i++) {
		if (strcmp(words[i].name, word))
			continue;
		if (words[i].one)
			return n == 1 ? words[i].one(&f, args[0]) : NULL;
		if (words[i].two)
			return n == 2 ? words[i].two(&f, args[0], args[1]) : NULL;
		return n == 3 ? words[i].three(&f, args[0], args[1], args[2]) : NULL;
	}
	return NULL;
}

V ts_math_fma(const TsMath *m, V a, V b, V c)
{
	return ts_math_call(m, "fma", (V[]){ a, b, c }, 3);
}
