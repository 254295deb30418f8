/* Storage types in vector code against ir/dtype.c, and Philox against the published answers. Every code is decoded; f32 is encoded at
 * every value, every midpoint and their neighbours, and on a stride over all of f32 (a shorter one with the argument `full`). */
#include "tests/unit/vecmath.h"

static const TsDtype stored[] = { TS_BF16, TS_F16, TS_FP8_E4M3, TS_FP8_E5M2, TS_FP6_E2M3, TS_FP6_E3M2, TS_FP4_E2M1, TS_INT4 };
static const char *const stored_name[] = { "bf16", "f16", "fp8_e4m3", "fp8_e5m2", "fp6_e2m3", "fp6_e3m2", "fp4_e2m1", "int4" };
enum { NSTORED = sizeof stored / sizeof *stored };

static void body_from(Gen *g, LLVMValueRef const *in, LLVMValueRef *out, const void *arg)
{
	out[0] = ts_cvt_from(&g->m, *(const TsDtype *)arg, in[0]);
}

static void body_to(Gen *g, LLVMValueRef const *in, LLVMValueRef *out, const void *arg)
{
	out[0] = ts_cvt_to(&g->m, *(const TsDtype *)arg, in[0]);
}

static void body_philox(Gen *g, LLVMValueRef const *in, LLVMValueRef *out, const void *arg)
{
	(void)arg;
	ts_math_philox(&g->m, in, in + 4, out);
}

static void gen_all(Gen *g, int bytes)
{
	LLVMTypeRef f32 = LLVMFloatTypeInContext(g->cx), i32 = LLVMInt32TypeInContext(g->cx), it;
	char name[64];

	for (int k = 0; k < NSTORED; k++) {
		it = LLVMIntTypeInContext(g->cx, (unsigned)ts_cvt_bits(stored[k]));
		snprintf(name, sizeof name, "from_%s", stored_name[k]);
		gen_loop(g, name, it, 1, f32, 1, bytes / 4, body_from, &stored[k]);
		snprintf(name, sizeof name, "to_%s", stored_name[k]);
		gen_loop(g, name, f32, 1, it, 1, bytes / 4, body_to, &stored[k]);
	}
	gen_loop(g, "philox", i32, 6, i32, 4, bytes / 4, body_philox, NULL);
	gen_loop(g, "philox_one", i32, 6, i32, 4, 1, body_philox, NULL);
}

/* ---- storage types: every code decoded; f32 encoded at every value, midpoint and neighbour of either, and on a stride -------- */

static bool same_float(float a, float b)
{
	return (isnan(a) && isnan(b)) || !memcmp(&a, &b, 4);
}

static void check_decode(int lv, int k)
{
	static uint16_t code[65536];
	static uint8_t byte[65536];
	static float y[65536];
	TsDtype t = stored[k];
	int bits = ts_dtype_bits(t), wrong = 0, codes = ts_cvt_bits(t) == 16 ? 65536 : 256;
	Fn1 fn = (Fn1)find(lv, "from_", stored_name[k]);
	char name[64];

	for (int i = 0; i < codes; i++)
		code[i] = (uint16_t)i, byte[i] = (uint8_t)i;
	fn(codes > 256 ? (void *)code : byte, y, codes);
	for (int i = 0; i < codes; i++) {
		uint16_t one = (uint16_t)(i & ((1 << bits) - 1));

		wrong += !same_float(y[i], (float)ts_elem_get(t, &one, 0));
	}
	snprintf(name, sizeof name, "decode %s %s", stored_name[k], level[lv].cpu + 7);
	check(name, !wrong, "%d codes wrong", wrong);
}

static int check_encode_block(Fn1 fn, TsDtype t, const float *x, int n, float *at)
{
	static uint16_t half[CHUNK];
	static uint8_t byte[CHUNK];
	int wrong = 0, wide = ts_cvt_bits(t) == 16;

	fn(x, wide ? (void *)half : byte, n);
	for (int i = 0; i < n; i++) {
		uint16_t want = 0;

		ts_elem_set(t, &want, 0, x[i]);
		if ((wide ? half[i] : byte[i]) != want && !wrong++)
			*at = x[i];
	}
	return wrong;
}

/* the f32 that are i steps of bits away from u, i = -4..3, and their negatives */
static int neighbours(float *x, int n, float u)
{
	for (int i = -4; i < 4; i++) {
		uint32_t b;

		memcpy(&b, &u, 4);
		b += (uint32_t)i;
		memcpy(&x[n++], &b, 4);
		b ^= 0x80000000;
		memcpy(&x[n++], &b, 4);
	}
	return n;
}

static void check_encode(int lv, int k, uint32_t stride)
{
	static float x[CHUNK];
	TsDtype t = stored[k];
	int bits = ts_dtype_bits(t), wrong = 0, n = 0;
	Fn1 fn = (Fn1)find(lv, "to_", stored_name[k]);
	char name[64];
	float at = 0;

	for (int i = 0; i < 1 << bits; i++) {
		uint16_t one = (uint16_t)i, next = (uint16_t)(i + 1);
		double v = ts_elem_get(t, &one, 0), w = ts_elem_get(t, &next, 0);

		n = neighbours(x, n, (float)v);
		n = neighbours(x, n, (float)((v + w) / 2));
		if (n == CHUNK || i + 1 == 1 << bits)
			wrong += check_encode_block(fn, t, x, (n + 15) / 16 * 16, &at), n = 0;
	}
	for (uint64_t u = 0; u < 0x100000000ull; n = 0) {
		for (; n < CHUNK; n++, u += stride) {
			uint32_t b = (uint32_t)u;

			memcpy(&x[n], &b, 4);
		}
		wrong += check_encode_block(fn, t, x, CHUNK, &at);
	}
	snprintf(name, sizeof name, "encode %s %s", stored_name[k], level[lv].cpu + 7);
	check(name, !wrong, "%d wrong, the last at %a", wrong, at);
}

static void check_conversions(bool full)
{
	for (int lv = 0; lv < LEVELS; lv++)
		for (int k = 0; so[lv] && k < NSTORED; k++) {
			check_decode(lv, k);
			check_encode(lv, k, full ? 257 : 65521);
		}
}

/* ---- Philox ------------------------------------------------------------------------------------------------------------------ */

/* Random123's known answers for philox4x32-10: counter, key, result */
static const uint32_t known[][10] = {
	{ 0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
	{ 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
	{ 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 },
};

static void check_philox(void)
{
	for (int run = 0; run < 2 * LEVELS; run++) { /* vectors, then scalars */
		int lv = run / 2;
		void (*fn)(void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, int64_t) = NULL;
		uint32_t v[10][16];
		bool ok = true;
		char name[64];

		*(void **)&fn = find(lv, run % 2 ? "philox_one" : "philox", "");
		if (!fn)
			continue;
		for (int k = 0; k < 10; k++)
			for (int i = 0; i < 16; i++)
				v[k][i] = k < 6 ? known[i % 3][k] : 0;
		fn(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], 16);
		for (int k = 6; k < 10; k++)
			for (int i = 0; i < 16; i++)
				ok = ok && v[k][i] == known[i % 3][k];
		snprintf(name, sizeof name, "philox known answers %s", level[lv].cpu + 7);
		check(name, ok, "differs from Random123's");
	}
}

int main(int argc, char **argv)
{
	if (!load_levels(gen_all))
		return 1;
	check_conversions(argc > 1 && !strcmp(argv[1], "full"));
	check_philox();
	return failed;
}
