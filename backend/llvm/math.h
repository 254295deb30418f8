/* Elementary functions, conversions of element types and Philox as LLVM IR: each call appends straight-line, branch-free code for one
 * value, scalar or vector of any width, at the builder's place. Nothing is called at run time: only instructions and intrinsics that
 * every x86-64-v2 machine does inline, so an object holds no undefined symbol through them. The only memory read is the table of 2/pi
 * that f64 sin and cos keep in the module.
 * Instructions carry no fast-math flags: with the same `fma` flag the bits are the same at every vector width and on every CPU. Without
 * `fma` (x86-64-v2) low bits may differ, the bounds hold all the same. Subnormals are kept. Bounds are stated at each function and
 * tested over every f32 (tests/unit/test_math.c). Never reports: a word it does not know gives NULL. */
#pragma once
#include "ir/dtype.h"
#include <llvm-c/Core.h>

typedef struct {
	LLVMContextRef cx;
	LLVMModuleRef mod;
	LLVMBuilderRef b;
	bool fma; /* the target has fused multiply-add: llvm.fma is used, else a product and a sum */
	bool near; /* a relative error of 2^-16 does, for results that are rounded to 16 bits next; not every word makes use of it */
	bool nvptx; /* an NVIDIA GPU: its instructions for exp2, inverses, minimum and maximum in f32; bounds as docs/ops.md says (test_math_nv.c) */
} TsMath;

/* Words, on f32 or f64 (scalars or vectors, all arguments of one type):
 *   one argument    exp exp2 log log2 sqrt rsqrt tanh erf sigmoid silu gelu gelu_tanh relu sin cos floor ceil round abs neg
 *   two arguments   pow mod floordiv minimum maximum
 *   three           fma (a*b + c; two roundings where the target has no fma)
 * round is to nearest, ties to even; minimum and maximum give NaN if either is NaN, and -0 < +0; mod and floordiv are Python's.
 * gelu is x*Phi(x), gelu_tanh its tanh form; these and silu are NaN at -inf, as -inf*0 is.
 * Bounds in ulp, subnormal results included, and in brackets the worst of all f32 and of a f64 sample: exp exp2 log 2 (1.3), log2 4
 * (1.9), rsqrt 1.6 (1.5), tanh erf 4 (2.8), sigmoid silu gelu_tanh 4 (3.4), gelu 7 (5.4; 6.6 without fma), sin cos 2 at any magnitude
 * (0.82), pow 1 in f32 (0.5) and 2 in f64 (1.1); the others are exact or correctly rounded. NULL if the word is unknown, n is wrong, or
 * the type neither f32 nor f64. */
LLVMValueRef ts_math_call(const TsMath *m, const char *word, LLVMValueRef const *args, unsigned n);
int ts_math_arity(const char *word); /* 0 when unknown */
LLVMValueRef ts_math_fma(const TsMath *m, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);

/* Storage types to and from f32, as ir/dtype.h says: nearest even; saturating where there is no infinity; NaN where the type has one.
 * The integer side has ts_cvt_bits(t)-bit elements: i16 for bf16 and f16; i8 for fp8, fp6 and, one element a byte in the low bits, fp4
 * and int4. Bits above the element's are ignored by ts_cvt_from and 0 from ts_cvt_to. NULL for other types. */
int ts_cvt_bits(TsDtype t); /* 0 when ts_cvt_from and ts_cvt_to do not take t */
LLVMValueRef ts_cvt_from(const TsMath *m, TsDtype t, LLVMValueRef ints); /* -> f32 of the same length */
LLVMValueRef ts_cvt_to(const TsMath *m, TsDtype t, LLVMValueRef f32s);   /* -> i8 or i16 of the same length */

/* Philox4x32-10 (Random123): i32 scalars or vectors of one type. */
void ts_math_philox(const TsMath *m, LLVMValueRef const ctr[4], LLVMValueRef const key[2], LLVMValueRef out[4]);
