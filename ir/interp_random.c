#include "ir/interp_int.h"
#include "ir/philox.h"
#include <math.h>

static void words(const TsRef *r, int64_t i, uint32_t w[4])
{
	int64_t stream = ts_attr(r->m, r->n, "stream")->i + r->iteration * 65536;
	ts_philox_element(r->in[0]->i[0], r->in[0]->i[1], (uint32_t)(uint64_t)stream, i, w);
}

/* 53 bits on 0 <= u < 1 out of two words, low word first. */
static double wide(const uint32_t *w) { return (double)(((uint64_t)w[1] << 32 | w[0]) >> 11) * 0x1p-53; }

bool ref_uniform(TsRef *r)
{
	double low = ts_attr(r->m, r->n, "low")->f, high = ts_attr(r->m, r->n, "high")->f, span = tr_round(r, high - low);
	uint32_t w[4];
	for (int64_t i = 0; i < r->out->n; i++) {
		words(r, i, w);
		double u = r->out->elem == TS_F64 ? wide(w) : (w[0] >> 8) * 0x1p-24;
		r->out->f[i] = tr_round(r, low) + tr_round(r, u * span);
	}
	return true;
}

bool ref_normal(TsRef *r)
{
	double mean = ts_attr(r->m, r->n, "mean")->f, std = ts_attr(r->m, r->n, "std")->f;
	uint32_t w[4];
	for (int64_t i = 0; i < r->out->n; i++) {
		words(r, i, w);
		bool f64 = r->out->elem == TS_F64;
		double u = f64 ? wide(w) + 0x1p-53 : ((w[0] >> 8) + 1) * 0x1p-24, v = f64 ? wide(w + 2) : (w[1] >> 8) * 0x1p-24;
		double z = f64 ? (double)(sqrtl(-2 * logl(u)) * cosl(2 * M_PIl * v)) /* in f64 the rounding of 2 pi v would be most of a small cosine */
			: tr_round(r, tr_round(r, sqrt(-2 * log(u))) * tr_round(r, cos(2 * M_PI * v)));
		r->out->f[i] = tr_round(r, mean) + tr_round(r, z * tr_round(r, std));
	}
	return true;
}

bool ref_randint(TsRef *r)
{
	int64_t low = ts_attr(r->m, r->n, "low")->i, high = ts_attr(r->m, r->n, "high")->i;
	uint32_t w[4];
	for (int64_t i = 0; i < r->out->n; i++) {
		words(r, i, w);
		r->out->i[i] = low + (int64_t)((uint64_t)w[0] * (uint64_t)(high - low) >> 32);
	}
	return true;
}
