/* sin and cos for every finite argument. Both types reduce by Payne and Hanek's idea: 2/pi is cut into pieces so short that their
 * products with x are exact, each product loses its multiples of 4 exactly, and what is left is summed in double length, so the
 * reduced argument is right to the last bit however large x is. */
#include "backend/llvm/math_impl.h"

/* |r| <= pi/4: sin r = r + r z S(z), cos r = 1 - z/2 + z^2 C(z), z = r^2: 2^-37.5, 2^-42.9; 2^-57.9, 2^-63.9 */
static const double sin32[] = { -0x1.5555554c5fc9dp-3, 0x1.1111085d274c4p-7, -0x1.a00f746c64d8fp-13, 0x1.6ccf5f170ffa3p-19 };
static const double cos32[] = { 0x1.5555554ecbdeep-5, -0x1.6c16b81b9cce6p-10, 0x1.a010d5589303cp-16, -0x1.241ca94eac15fp-22 };
static const double sin64[] = { -0x1.5555555555548p-3, 0x1.111111110f790p-7, -0x1.a01a019bf599ep-13, 0x1.71de356055fbap-19, -0x1.ae5e5482a1410p-26,
	0x1.5d8e027269678p-33 };
static const double cos64[] = { 0x1.555555555554bp-5, -0x1.6c16c16c14f48p-10, 0x1.a01a019c7ce74p-16, -0x1.27e4f7e5465adp-22, 0x1.1ee9d3e120082p-29,
	-0x1.8fa292e2ed5bep-37 };

/* 2/pi in pieces of 29 bits, the first from 2^-1 on */
static const double two_over_pi_29[] = { 341782637, 423170132, 352195499, 488592205, 461485765, 90590992, 478285810 };
/* and of 26 bits, for f64: 1456 bits */
static const int32_t two_over_pi_26[] = { 42722829, 48555073, 21659401, 56087029, 13858563, 28715353, 38736100, 4324945, 26128250, 62674459, 29957006,
	37899730, 58726692, 49193117, 6588223, 35515164, 46442140, 65964067, 24988590, 54822121, 41009306, 54917092, 5137525, 37323603, 15192690,
	4585659, 58608142, 52426903, 67074070, 25231090, 63202006, 34237727, 28629499, 15891632, 40752081, 37709470, 25143477, 55737260, 33225084,
	24853767, 15195689, 19476134, 50255852, 18845021, 2185228, 50622407, 47901436, 13614112, 40620248, 31104569, 5789625, 35326053, 40244604,
	21628548, 2326518, 8408435 };

/* x = quarter * pi/2 + (hi + lo): the bits of quarter's low end as an integer */
typedef struct { V quarter; TsPair r; } TsReduced;

static V drop_fours(const TsFn *f, V p)
{
	return FMA(ts_fround(f, FMUL(p, NUM(0.25))), NUM(-4), p); /* exact: the result is a multiple of p's last place */
}

/* A sum of three parts, each far below the one before; tiny is NULL where two are enough. */
typedef struct { V hi, lo, tiny; } TsSum;

static void accumulate(const TsFn *f, TsSum *s, V p)
{
	TsPair t = ts_two_sum(f, s->hi, p), u;

	s->hi = t.hi;
	if (!s->tiny) {
		s->lo = FADD(s->lo, t.lo);
		return;
	}
	u = ts_two_sum(f, s->lo, t.lo);
	s->lo = u.hi;
	s->tiny = FADD(s->tiny, u.lo);
}

/* From y quarters: the nearest whole quarter n and (y - n) pi/2 in double length. The sum is put in order again after each step that
 * may have cancelled. */
static TsReduced finish_reduction(const TsFn *f, TsSum sum)
{
	V place = NUM(0x1.8p52), t, n;
	TsPair y = ts_two_sum(f, drop_fours(f, sum.hi), sum.lo), r;

	t = FADD(y.hi, place);
	n = FSUB(t, place);
	y = ts_two_sum(f, FSUB(y.hi, n), y.lo);
	if (sum.tiny)
		y = ts_two_sum(f, y.hi, FADD(y.lo, sum.tiny));
	r = ts_two_prod(f, y.hi, NUM(0x1.921fb54442d18p+0));
	r.lo = FADD(r.lo, FMA(y.hi, NUM(0x1.1a62633145c07p-54), FMUL(y.lo, NUM(0x1.921fb54442d18p+0))));
	return (TsReduced){ BITS(t), r };
}

/* f32's x as f64: 24 bits. Pieces below the j-th, j = max(0, floor((e - 25)/29)), give multiples of 4 only; four from there reach 2^-62
 * and below, the last two are small as they come. */
static TsReduced reduce24(const TsFn *f, V x)
{
	V a = ts_fabs(f, x), p[4], past[3];
	TsSum s;

	for (int j = 0; j < LEN(past); j++)
		past[j] = CMP(OGE, a, NUM(__builtin_ldexp(1, 54 + 29 * j)));
	for (int k = 0; k < LEN(p); k++) {
		V c = NUM(__builtin_ldexp(two_over_pi_29[k], -29 * (k + 1)));

		for (int j = 1; j <= LEN(past); j++)
			c = SEL(past[j - 1], NUM(__builtin_ldexp(two_over_pi_29[k + j], -29 * (k + j + 1))), c);
		p[k] = FMUL(x, c);
	}
	s = (TsSum){ drop_fours(f, p[0]), p[3], NULL };
	accumulate(f, &s, drop_fours(f, p[1]));
	accumulate(f, &s, p[2]);
	return finish_reduction(f, s);
}

static V pi_table(const TsFn *f)
{
	enum { N = sizeof two_over_pi_26 / sizeof *two_over_pi_26 };
	LLVMTypeRef d = LLVMDoubleTypeInContext(f->cx);
	V g = LLVMGetNamedGlobal(f->mod, "tessera.two_over_pi"), v[N];

	if (g)
		return g;
	g = LLVMAddGlobal(f->mod, LLVMArrayType2(d, N), "tessera.two_over_pi");
	for (int i = 0; i < N; i++)
		v[i] = LLVMConstReal(d, two_over_pi_26[i]);
	LLVMSetInitializer(g, LLVMConstArray2(d, v, N));
	LLVMSetLinkage(g, LLVMPrivateLinkage);
	LLVMSetGlobalConstant(g, true);
	LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
	LLVMSetAlignment(g, 8);
	return g;
}

/* element index[lane] of the table in each lane */
static V gather(const TsFn *f, V table, V index)
{
	LLVMTypeRef d = LLVMDoubleTypeInContext(f->cx), i32 = LLVMInt32TypeInContext(f->cx);
	V r = LLVMGetUndef(f->ft), at, x;

	if (!f->lanes) {
		at = LLVMBuildInBoundsGEP2(f->b, d, table, &index, 1, "");
		return LLVMBuildLoad2(f->b, d, at, "");
	}
	for (unsigned i = 0; i < f->lanes; i++) {
		V lane = LLVMConstInt(i32, i, false), j = LLVMBuildExtractElement(f->b, index, lane, "");

		at = LLVMBuildInBoundsGEP2(f->b, d, table, &j, 1, "");
		x = LLVMBuildLoad2(f->b, d, at, "");
		r = LLVMBuildInsertElement(f->b, r, x, lane, "");
	}
	return r;
}

/* f64: x in [2^e, 2^(e+1)) needs the pieces from j = max(0, floor((e - 54)/26)) on; those before give multiples of 4 only. Eight pieces
 * reach 2^-123 and below. Each half of x has 27 bits or fewer, so its products with the 26-bit pieces are exact. */
static TsReduced reduce53(const TsFn *f, V x)
{
	enum { PIECES = 8 };
	V table = pi_table(f), e, j, scale, hi, lo;
	TsSum s = { NUM(0), NUM(0), NUM(0) };

	e = AND(SHR(BITS(x), INT(52)), INT(2047)); /* e + 1023; NaN and infinity go on as NaN */
	j = ISUB(e, INT(1023 + 54));
	j = SEL(ICMP(SGT, j, INT(0)), j, INT(0));
	j = SHR(LLVMBuildMul(f->b, j, INT(2521), ""), INT(16)); /* j/26 for j < 1024 */
	scale = FLT(SHL(ISUB(INT(1023 - 26), LLVMBuildMul(f->b, j, INT(26), "")), INT(52)));
	hi = FLT(AND(BITS(x), INT(~0x7ffffffull)));
	lo = FMUL(FSUB(x, hi), scale);
	hi = FMUL(hi, scale);
	for (int k = 0; k < PIECES; k++) {
		V c = FMUL(gather(f, table, IADD(j, INT(k))), NUM(__builtin_ldexp(1, -26 * k)));

		accumulate(f, &s, drop_fours(f, FMUL(hi, c)));
		accumulate(f, &s, drop_fours(f, FMUL(lo, c)));
	}
	return finish_reduction(f, s);
}

/* sin of r + quarter*pi/2 for f32, in f64 */
static V wave32(const TsFn *f, TsReduced q)
{
	V r = FADD(q.r.hi, q.r.lo), z = FMUL(r, r), s, c, odd, flip;

	s = FMA(FMUL(r, z), POLY(z, sin32), r);
	c = FMA(FMUL(z, z), POLY(z, cos32), FMA(z, NUM(-0.5), NUM(1)));
	odd = ICMP(NE, AND(q.quarter, INT(1)), INT(0));
	flip = SHL(AND(q.quarter, INT(2)), INT(62));
	return FLT(XOR(BITS(SEL(odd, c, s)), flip));
}

/* the same to f64's precision, with the low part of r: fdlibm's two kernels */
static V wave64(const TsFn *f, TsReduced q)
{
	V r = q.r.hi, y = q.r.lo, z = FMUL(r, r), hz = FMUL(z, NUM(0.5)), v = FMUL(z, r), w, s, c, odd, flip;

	s = FMUL(v, POLY(z, sin64));
	s = FADD(r, FADD(s, FSUB(y, FMUL(hz, y))));
	w = FSUB(NUM(1), hz);
	c = FSUB(FMUL(FMUL(z, z), POLY(z, cos64)), FMUL(r, y));
	c = FADD(w, FADD(FSUB(FSUB(NUM(1), w), hz), c));
	odd = ICMP(NE, AND(q.quarter, INT(1)), INT(0));
	flip = SHL(AND(q.quarter, INT(2)), INT(62));
	return FLT(XOR(BITS(SEL(odd, c, s)), flip));
}

/* shift quarters on: 0 for sin, 1 for cos. Infinities give NaN through inf - inf. sin(-0) = -0 and tiny x, where x*2/pi*pi/2 could lose
 * x's own bits, are x itself. */
static V wave(const TsFn *f, V x, int shift)
{
	TsFn d;
	TsReduced q;
	V r, wide;

	ts_fn_as(&d, f, true);
	wide = f->f64 ? x : LLVMBuildFPExt(f->b, x, d.ft, "");
	q = f->f64 ? reduce53(&d, wide) : reduce24(&d, wide);
	q.quarter = LLVMBuildAdd(f->b, q.quarter, ts_fint(&d, (uint64_t)shift), "");
	r = f->f64 ? wave64(&d, q) : LLVMBuildFPTrunc(f->b, wave32(&d, q), f->ft, "");
	if (!shift)
		r = SEL(CMP(OLT, ts_fabs(f, x), NUM(f->f64 ? 0x1p-27 : 0x1p-13)), x, r);
	return r;
}

V ts_math_sin(const TsFn *f, V x)
{
	return wave(f, x, 0);
}

V ts_math_cos(const TsFn *f, V x)
{
	return wave(f, x, 1);
}
