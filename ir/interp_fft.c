#include "ir/interp_int.h"
#include <math.h>
#include <stdlib.h>

/* out[k] = sum over j of x[j] * exp(sign * 2 pi i j k / n), `step` elements apart, straight from the definition. */
static void transform(const double *x, double *out, int64_t n, int64_t step, const double *turn, int sign)
{
	for (int64_t k = 0; k < n; k++) {
		double re = 0, im = 0;
		for (int64_t j = 0, t = 0; j < n; j++, t = (t + k) % n) {
			double c = turn[2 * t], s = sign * turn[2 * t + 1], xr = x[2 * j * step], xi = x[2 * j * step + 1];
			re += xr * c - xi * s;
			im += xr * s + xi * c;
		}
		out[2 * k * step] = sign > 0 ? re / (double)n : re;
		out[2 * k * step + 1] = sign > 0 ? im / (double)n : im;
	}
}

static bool along(TsRef *r, int sign)
{
	const TsNum *x = r->in[0];
	int64_t axis = ts_attr(r->m, r->n, "axis")->i, n = x->dim[axis], inner = 1;
	double *turn = malloc(((size_t)n + 1) * 2 * sizeof *turn);
	if (!turn) return false;
	for (int64_t t = 0; t < n; t++) sincos(2 * M_PI * (double)t / (double)n, &turn[2 * t + 1], &turn[2 * t]);
	for (int k = (int)axis + 1; k < x->rank; k++) inner *= x->dim[k];
	for (int64_t o = 0; n && inner && o < x->n / n; o++) {
		int64_t at = o / inner * inner * n + o % inner;
		transform(x->f + 2 * at, r->out->f + 2 * at, n, inner, turn, sign);
	}
	free(turn);
	return true;
}

bool ref_fft(TsRef *r) { return along(r, -1); }
bool ref_ifft(TsRef *r) { return along(r, 1); }
