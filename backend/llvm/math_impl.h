/* What the files of the vector math share: a typed builder over math.h's TsMath, double-length arithmetic, and the pieces of exp and log
 * that other functions are made of. One TsFn serves one call; every helper appends instructions and returns the value. */
#pragma once
#include "backend/llvm/math.h"

typedef LLVMValueRef V;

typedef struct {
	LLVMContextRef cx;
	LLVMModuleRef mod;
	LLVMBuilderRef b;
	bool fma, f64, near;
	int mant, bias;        /* 23, 127 or 52, 1023 */
	unsigned lanes;        /* 0: scalar */
	LLVMTypeRef ft, it, bt; /* the values' type, its integer twin, and i1 of the same length */
} TsFn;

bool ts_fn_init(TsFn *f, const TsMath *m, V like);    /* false: neither f32 nor f64 */
void ts_fn_as(TsFn *to, const TsFn *from, bool f64);  /* the same lanes in the other type */
LLVMTypeRef ts_fn_ints(const TsFn *f, unsigned bits); /* integer type of the same length */

V ts_fnum(const TsFn *f, double x);     /* splat constant */
V ts_fint(const TsFn *f, uint64_t x);   /* splat constant of the integer twin */
V ts_fintr(const TsFn *f, const char *name, V *args, unsigned n); /* an intrinsic overloaded on the type */
V ts_ffma(const TsFn *f, V a, V b, V c);
V ts_fpoly(const TsFn *f, V x, const double *c, int n); /* c[0] + c[1] x + ..., by Horner: fewest instructions */
V ts_festrin(const TsFn *f, V x, const double *c, int n); /* by Estrin: as many roundings as log2 n on any path, for positive terms */

#define FADD(x, y) LLVMBuildFAdd(f->b, x, y, "")
#define FSUB(x, y) LLVMBuildFSub(f->b, x, y, "")
#define FMUL(x, y) LLVMBuildFMul(f->b, x, y, "")
#define FDIV(x, y) LLVMBuildFDiv(f->b, x, y, "")
#define FMA(x, y, z) ts_ffma(f, x, y, z)
#define NUM(x) ts_fnum(f, x)
#define INT(x) ts_fint(f, x)
#define CMP(pred, x, y) LLVMBuildFCmp(f->b, LLVMReal##pred, x, y, "")
#define ICMP(pred, x, y) LLVMBuildICmp(f->b, LLVMInt##pred, x, y, "")
#define SEL(c, x, y) LLVMBuildSelect(f->b, c, x, y, "")
#define AND(x, y) LLVMBuildAnd(f->b, x, y, "")
#define OR(x, y) LLVMBuildOr(f->b, x, y, "")
#define XOR(x, y) LLVMBuildXor(f->b, x, y, "")
#define IADD(x, y) LLVMBuildAdd(f->b, x, y, "")
#define ISUB(x, y) LLVMBuildSub(f->b, x, y, "")
#define SHL(x, y) LLVMBuildShl(f->b, x, y, "")
#define SHR(x, y) LLVMBuildLShr(f->b, x, y, "")
#define BITS(x) LLVMBuildBitCast(f->b, x, f->it, "")
#define FLT(i) LLVMBuildBitCast(f->b, i, f->ft, "")
#define LEN(a) (int)(sizeof(a) / sizeof *(a))
#define POLY(x, c) ts_fpoly(f, x, c, LEN(c))
#define ESTRIN(x, c) ts_festrin(f, x, c, LEN(c))

V ts_fabs(const TsFn *f, V x);
V ts_fcopysign(const TsFn *f, V mag, V sign);
V ts_fmin_keep(const TsFn *f, V x, double hi); /* min(x, hi), NaN stays: one minps */
V ts_fmax_keep(const TsFn *f, V x, double lo);
V ts_fround(const TsFn *f, V x);               /* nearest even */
V ts_ffloor(const TsFn *f, V x);

/* hi + lo of double length */
typedef struct { V hi, lo; } TsPair;
TsPair ts_two_sum(const TsFn *f, V a, V b);   /* exact */
TsPair ts_fast_sum(const TsFn *f, V a, V b);  /* exact if |a| >= |b| or a = 0 */
TsPair ts_two_prod(const TsFn *f, V a, V b);  /* exact barring over- and underflow */

/* exp(x + lo) = p * s1 * s2 with p in [0.7, 1.42] and s1, s2 powers of two, so that the product rounds once even where it is
 * subnormal; x is clamped to where the result is 0 or infinite, with room for a factor x. lo may be NULL. NaN gives p = NaN. w is p - 1
 * before that sum was rounded: a w + a is nearer to a p. */
typedef struct { V p, w, s1, s2; } TsExp;
TsExp ts_exp_parts(const TsFn *f, V x, V lo);
V ts_exp_value(const TsFn *f, TsExp e);
V ts_nan_at_minus_inf(const TsFn *f, V x, V r); /* -inf * 0, where the formula says so */
V ts_exp_small(const TsFn *f, V x); /* exp(x) for |x| <= 87, or NaN */
/* x = 2^e * m, m in [sqrt 1/2, sqrt 2), e a float, for finite x > 0, subnormals too */
typedef struct { V e, m; } TsLogParts;
TsLogParts ts_log_parts(const TsFn *f, V x);

V ts_math_exp(const TsFn *f, V x);
V ts_math_exp2(const TsFn *f, V x);
V ts_math_log(const TsFn *f, V x);
V ts_math_log2(const TsFn *f, V x);
V ts_math_tanh(const TsFn *f, V x);
V ts_math_sigmoid(const TsFn *f, V x);
V ts_math_silu(const TsFn *f, V x);
V ts_math_erf(const TsFn *f, V x);
V ts_math_gelu(const TsFn *f, V x);
V ts_math_gelu_tanh(const TsFn *f, V x);
V ts_math_sin(const TsFn *f, V x);
V ts_math_cos(const TsFn *f, V x);
V ts_math_pow(const TsFn *f, V x, V y);
V ts_math_mod(const TsFn *f, V a, V b);
V ts_math_floordiv(const TsFn *f, V a, V b);

/* math_nv.c: NULL where the target has nothing of its own */
V ts_math_nv(const TsFn *f, const char *word, V const *x, unsigned n);
