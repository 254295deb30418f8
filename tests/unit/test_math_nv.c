/* The f32 words that NVIDIA GPUs have of their own (backend/llvm/math_nv.c) on this CPU: the same instructions, with ex2.approx,
 * rcp.approx and rsqrt.approx in f64, rounded, off by as much as they may be, flushed as they flush. f32 words on a stride that meets every binade and
 * densely where results leave the normal numbers, 16-bit ones on every value; bounds are those of docs/ops.md. */
#include "tests/unit/vecmath.h"

/* how near exp2's instruction is: of the words that use it, `exp2` alone may flush */
typedef struct { const char *name; double (*ref)(double); double bound; bool half; double lo, hi; } Word;
static const Word words[] = {
	{ "exp", exp, 4, true, -105, 90 },
	{ "sigmoid", ref_sigmoid, 4, true, -105, 20 },
	{ "silu", ref_silu, 8, true, -110, 20 },
	{ "gelu_tanh", ref_gelu_tanh, 16, true, -12, 6 },
	{ "gelu", ref_gelu, 16, true, -15, 6 },
	{ "tanh", tanh, 4, true, -10, 10 },
	{ "erf", erf, 4, false, -5, 5 },
	{ "log", log, 4, false, 0, 4 },
	{ "rsqrt", ref_rsqrt, 4, false, 0, 4 },
};
enum { NWORD = sizeof words / sizeof *words };

/* ---- the instructions ---- */

static LLVMValueRef real(Gen *g, double x) { return LLVMConstReal(LLVMFloatTypeInContext(g->cx), x); }

/* x, or a zero of its sign where it is subnormal */
static LLVMValueRef flushed(Gen *g, LLVMValueRef x)
{
	LLVMValueRef size = ts_math_call(&g->m, "abs", &x, 1);

	return LLVMBuildSelect(g->b, LLVMBuildFCmp(g->b, LLVMRealOLT, size, real(g, 0x1p-126), ""), LLVMBuildFMul(g->b, x, real(g, 0), ""), x, "");
}

/* r moved by the variable's units in the last place, if it is normal */
static LLVMValueRef moved(Gen *g, LLVMValueRef r, LLVMValueRef by)
{
	LLVMTypeRef i32 = LLVMInt32TypeInContext(g->cx), f32 = LLVMFloatTypeInContext(g->cx);
	LLVMValueRef size = ts_math_call(&g->m, "abs", &r, 1);
	LLVMValueRef usual = LLVMBuildAnd(g->b, LLVMBuildFCmp(g->b, LLVMRealOGT, size, real(g, 0x1p-125), ""), LLVMBuildFCmp(g->b, LLVMRealOLT, size, real(g, 0x1p127), ""), "");
	LLVMValueRef bits = LLVMBuildAdd(g->b, LLVMBuildBitCast(g->b, r, i32, ""), LLVMBuildLoad2(g->b, i32, by, ""), "");

	return LLVMBuildSelect(g->b, usual, LLVMBuildBitCast(g->b, bits, f32, ""), r, "");
}

typedef enum { POWER, INVERSE, ROOT } Instruction;

static void emulate(Gen *g, const char *intrinsic, Instruction what, bool flush, LLVMValueRef by)
{
	LLVMValueRef old = LLVMGetNamedFunction(g->mod, intrinsic), fn, x, y;
	LLVMTypeRef f32 = LLVMFloatTypeInContext(g->cx), f64 = LLVMDoubleTypeInContext(g->cx);

	if (!old)
		return;
	fn = LLVMAddFunction(g->mod, "", LLVMFunctionType(f32, &f32, 1, false));
	LLVMSetLinkage(fn, LLVMInternalLinkage);
	LLVMPositionBuilderAtEnd(g->b, LLVMAppendBasicBlockInContext(g->cx, fn, ""));
	x = LLVMGetParam(fn, 0);
	if (flush)
		x = flushed(g, x);
	y = LLVMBuildFPExt(g->b, x, f64, "");
	if (what == ROOT)
		y = ts_math_call(&g->m, "sqrt", &y, 1);
	y = what == POWER ? ts_math_call(&g->m, "exp2", &y, 1) : LLVMBuildFDiv(g->b, LLVMConstReal(f64, 1), y, "");
	y = moved(g, LLVMBuildFPTrunc(g->b, y, f32, ""), by);
	LLVMBuildRet(g->b, flush ? flushed(g, y) : y);
	LLVMReplaceAllUsesWith(old, fn);
	LLVMDeleteFunction(old);
}

static void body_word(Gen *g, LLVMValueRef const *in, LLVMValueRef *out, const void *arg)
{
	out[0] = ts_math_call(&g->m, arg, in, 1);
}

static LLVMValueRef variable(Gen *g, const char *name)
{
	LLVMTypeRef i32 = LLVMInt32TypeInContext(g->cx);
	LLVMValueRef v = LLVMAddGlobal(g->mod, i32, name);

	LLVMSetInitializer(v, LLVMConstInt(i32, 0, false));
	return v;
}

static void gen_all(Gen *g, int bytes)
{
	LLVMTypeRef f32 = LLVMFloatTypeInContext(g->cx);
	LLVMValueRef power, inverse, root;
	char name[64];

	(void)bytes;
	g->m.nvptx = true;
	for (int k = 0; k < NWORD; k++)
		for (int half = 0; half < 1 + words[k].half; half++) {
			g->m.near = half;
			snprintf(name, sizeof name, "%s%s", words[k].name, half ? "_near" : "_f32");
			gen_loop(g, name, f32, 1, f32, 1, 1, body_word, words[k].name);
		}
	power = variable(g, "power_off");
	inverse = variable(g, "inverse_off");
	root = variable(g, "root_off");
	emulate(g, "llvm.nvvm.ex2.approx.ftz.f32", POWER, true, power);
	emulate(g, "llvm.nvvm.ex2.approx.f32", POWER, false, power);
	emulate(g, "llvm.nvvm.rcp.approx.ftz.f", INVERSE, true, inverse);
	emulate(g, "llvm.nvvm.rsqrt.approx.f", ROOT, false, root);
}

/* ---- comparison ---- */

typedef struct { double worst; float at, got; } Tally;

/* Distance of got from ref in units of the last place of a type of p bits whose normal numbers begin at 2^emin. */
static double ulps(double got, double ref, int p, int emin, double max)
{
	int e;

	if (isnan(got) || isnan(ref))
		return isnan(got) && isnan(ref) ? 0 : INFINITY;
	if (isinf(got))
		return fabs(ref) > max * (1 - ldexp(1, 2 - p)) && signbit(got) == signbit(ref) ? 0 : INFINITY;
	if (fabs(ref) > max)
		return got > max * (1 - ldexp(1, 2 - p)) ? 0 : INFINITY;
	frexp(ref, &e);
	e = ref == 0 || e - 1 < emin ? emin : e - 1;
	return ldexp(fabs(got - ref), p - 1 - e);
}

static void run(const Word *w, Fn1 fn, const float *x, int64_t n, TsDtype as, Tally *t)
{
	static const int digits[] = { [TS_F32] = 24, [TS_BF16] = 8, [TS_F16] = 11 }, least[] = { [TS_F32] = -126, [TS_BF16] = -126, [TS_F16] = -14 };
	static const double most[] = { [TS_F32] = FLT_MAX, [TS_BF16] = 0x1.fep127, [TS_F16] = 65504 };
	static float y[CHUNK];

	fn(x, y, n);
	for (int64_t i = 0; i < n; i++) {
		uint8_t room[8] = { 0 };
		double got;

		ts_elem_set(as, room, 0, y[i]);
		got = ts_elem_get(as, room, 0);
		double err = ulps(got, w->ref(x[i]), digits[as], least[as], most[as]);
		if (err > t->worst)
			*t = (Tally){ err, x[i], (float)got };
	}
}

static void report(const Word *w, const char *how, Tally t, double bound)
{
	char name[128];

	snprintf(name, sizeof name, "%-9s %-22s %6.3f ulp (bound %g)", w->name, how, t.worst, bound);
	check(name, t.worst <= bound, "at %a (%.9g) want %.9g got %.9g", t.at, t.at, w->ref(t.at), t.got);
}

static void sweep_f32(const Word *w, Fn1 fn, const char *how)
{
	static float x[CHUNK];
	Tally t = { 0 };

	for (uint64_t first = 0; first < 1u << 21; first += CHUNK) { /* every 2039th pattern is an odd stride: all binades, all parts of them */
		for (int i = 0; i < CHUNK; i++) {
			uint32_t u = (uint32_t)(first + (uint64_t)i) * 2039u;
			memcpy(&x[i], &u, 4);
		}
		run(w, fn, x, CHUNK, TS_F32, &t);
	}
	for (int c = 0; c < 64; c++) {
		for (int i = 0; i < CHUNK; i++)
			x[i] = (float)(w->lo + (w->hi - w->lo) * (c * (double)CHUNK + i) / (64.0 * CHUNK));
		run(w, fn, x, CHUNK, TS_F32, &t);
	}
	report(w, how, t, w->bound);
}

/* every value of the two 16-bit types; f32's 2^-16 is a little of their last place */
static void sweep_half(const Word *w, Fn1 fn, TsDtype as)
{
	static float x[CHUNK];
	Tally t = { 0 };

	for (uint32_t first = 0; first < 0x10000; first += CHUNK) {
		for (uint32_t i = 0; i < CHUNK; i++) {
			uint16_t u = (uint16_t)(first + i);
			x[i] = (float)ts_elem_get(as, &u, 0);
		}
		run(w, fn, x, CHUNK, as, &t);
	}
	report(w, ts_dtype_name(as), t, 1);
}

int main(void)
{
	if (!load_levels(gen_all))
		return 1;
	int *power = find(V3, "power", "_off"), *inverse = find(V3, "inverse", "_off"), *root = find(V3, "root", "_off");
	if (!power || !inverse || !root) {
		printf("FAIL levels: this CPU has no x86-64-v3, whose multiply-add the words need\n");
		return 1;
	}
	for (int k = 0; k < NWORD; k++) {
		for (int off = -1; off <= 1; off++) {
			char how[32];

			*power = off, *inverse = off, *root = 2 * off; /* 2^-22.9 of the value */
			snprintf(how, sizeof how, "f32, ex2 off by %d", *power);
			sweep_f32(&words[k], (Fn1)find(V3, words[k].name, "_f32"), how);
		}
		*power = *inverse = 0;
		for (int as = 0; as < 2 && words[k].half; as++)
			sweep_half(&words[k], (Fn1)find(V3, words[k].name, "_near"), as ? TS_F16 : TS_BF16);
	}
	return failed;
}
