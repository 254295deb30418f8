#include "ir/interp_int.h"
#include <math.h>
#include <stdlib.h>

/* Axes being reduced, and for each axis of x the step it makes in the result and in the index along the reduced axes. */
typedef struct { uint32_t mask; int64_t to[TS_MAX_RANK], along[TS_MAX_RANK], length; } Axes;

static Axes reduced(const TsRef *r)
{
	const TsNum *x = r->in[0];
	const TsAttr *axis = ts_attr(r->m, r->n, "axis");
	Axes a = { .length = 1 };
	if (axis->none) a.mask = (1u << x->rank) - 1;
	else for (uint32_t i = 0; i < axis->n; i++) a.mask |= 1u << axis->ints[i];
	int64_t step = 1;
	for (int k = x->rank - 1; k >= 0; k--) {
		bool gone = a.mask >> k & 1;
		a.to[k] = gone ? 0 : step;
		a.along[k] = gone ? a.length : 0;
		if (gone) a.length *= x->dim[k];
		else step *= x->dim[k];
	}
	return a;
}

/* Element i of x: where it goes, and its index along the reduced axes. */
static int64_t place(const Axes *a, const TsNum *x, int64_t i, int64_t *along)
{
	int64_t to = 0;
	*along = 0;
	for (int k = x->rank - 1; k >= 0; k--) {
		int64_t c = i % x->dim[k];
		i /= x->dim[k];
		to += c * a->to[k];
		*along += c * a->along[k];
	}
	return to;
}

static bool add_up(TsRef *r, bool mean)
{
	const TsNum *x = r->in[0];
	TsNum *out = r->out;
	Axes a = reduced(r);
	int64_t along;
	long double *sum = calloc(out->n ? (size_t)out->n : 1, sizeof *sum);
	if (!sum) return false;
	for (int64_t i = 0; i < x->n; i++) {
		int64_t o = place(&a, x, i, &along);
		if (x->f) sum[o] = tr_add(r, sum[o], x->f[i]);
		else out->i[o] = (int64_t)((uint64_t)out->i[o] + (uint64_t)x->i[i]);
	}
	for (int64_t o = 0; x->f && o < out->n; o++) out->f[o] = mean ? (double)(sum[o] / (long double)a.length) : (double)sum[o];
	free(sum);
	return true;
}

bool ref_sum(TsRef *r) { return add_up(r, false); }
bool ref_mean(TsRef *r) { return add_up(r, true); }

/* b takes the place of a. */
static bool beats(double a, double b, int sign) { return !isnan(a) && (isnan(b) || sign * b > sign * a); }

static bool extreme(TsRef *r, int sign)
{
	const TsNum *x = r->in[0];
	TsNum *out = r->out;
	Axes a = reduced(r);
	int64_t along, smallest = x->elem == TS_INT32 ? INT32_MIN : INT64_MIN, largest = x->elem == TS_INT32 ? INT32_MAX : INT64_MAX;
	for (int64_t o = 0; o < out->n; o++) {
		if (out->f) out->f[o] = -sign * INFINITY;
		else out->i[o] = sign > 0 ? smallest : largest;
	}
	for (int64_t i = 0; i < x->n; i++) {
		int64_t o = place(&a, x, i, &along);
		if (x->f) out->f[o] = beats(out->f[o], x->f[i], sign) ? x->f[i] : out->f[o];
		else out->i[o] = (sign > 0 ? x->i[i] > out->i[o] : x->i[i] < out->i[o]) ? x->i[i] : out->i[o];
	}
	return true;
}

bool ref_max(TsRef *r) { return extreme(r, 1); }
bool ref_min(TsRef *r) { return extreme(r, -1); }

bool ref_argmax(TsRef *r)
{
	const TsNum *x = r->in[0];
	TsNum *out = r->out;
	Axes a = reduced(r);
	int64_t along, *best = malloc((out->n ? (size_t)out->n : 1) * sizeof *best);   /* element of x; the index ascends along the row */
	if (!best) return false;
	for (int64_t o = 0; o < out->n; o++) best[o] = -1;
	for (int64_t i = 0; i < x->n; i++) {
		int64_t o = place(&a, x, i, &along), b = best[o];
		if (b >= 0 && !(x->f ? beats(x->f[b], x->f[i], 1) : x->i[i] > x->i[b])) continue;
		best[o] = i;
		out->i[o] = along;
	}
	free(best);
	return true;
}

/* Calls row(r, x, n, out) for every row along the reduced axes, gathered into a buffer and put back. */
static bool each_row(TsRef *r, const Axes *a, void (*row)(const TsRef *, double *, int64_t))
{
	const TsNum *x = r->in[0];
	int64_t rows = 1, along;
	for (int k = 0; k < x->rank; k++)
		if (!(a->mask >> k & 1)) rows *= x->dim[k];
	double *all = malloc((x->n ? (size_t)x->n : 1) * sizeof *all);
	if (!all) return false;
	for (int64_t i = 0; i < x->n; i++) {
		int64_t o = place(a, x, i, &along);
		all[o * a->length + along] = x->f[i];
	}
	for (int64_t o = 0; x->n && o < rows; o++) row(r, all + o * a->length, a->length);
	for (int64_t i = 0; i < x->n; i++) {
		int64_t o = place(a, x, i, &along);
		r->out->f[i] = all[o * a->length + along];
	}
	free(all);
	return true;
}

static void softmax_row(const TsRef *r, double *x, int64_t n)
{
	double top = -INFINITY;
	long double sum = 0;
	for (int64_t i = 0; i < n; i++)
		if (beats(top, x[i], 1)) top = x[i];
	for (int64_t i = 0; i < n; i++) {
		x[i] = tr_round(r, exp(tr_round(r, x[i] - top)));
		sum = tr_add(r, sum, x[i]);
	}
	for (int64_t i = 0; i < n; i++) x[i] = (double)(x[i] / sum);
}

bool ref_softmax(TsRef *r)
{
	Axes a = reduced(r);
	return each_row(r, &a, softmax_row);
}

/* x[i] * gamma[i] + beta[i] */
static void scale_row(const TsRef *r, double *x, int64_t n)
{
	for (int64_t i = 0; i < n; i++) {
		if (tr_has(r, 1)) x[i] = tr_round(r, x[i] * r->in[1]->f[i]);
		if (tr_has(r, 2)) x[i] = tr_round(r, x[i] + r->in[2]->f[i]);
	}
}

static double mean_square(const TsRef *r, const double *x, int64_t n)
{
	long double sum = 0;
	for (int64_t i = 0; i < n; i++) sum = tr_add(r, sum, tr_round(r, x[i] * x[i]));
	return tr_round(r, (double)sum / (double)n);
}

static void layer_norm_row(const TsRef *r, double *x, int64_t n)
{
	long double sum = 0;
	for (int64_t i = 0; i < n; i++) sum = tr_add(r, sum, x[i]);
	double mean = tr_round(r, (double)sum / (double)n);
	for (int64_t i = 0; i < n; i++) x[i] = tr_round(r, x[i] - mean);
	double by = tr_round(r, 1 / sqrt(tr_round(r, mean_square(r, x, n) + ts_attr(r->m, r->n, "eps")->f)));
	for (int64_t i = 0; i < n; i++) x[i] = tr_round(r, x[i] * by);
	scale_row(r, x, n);
}

static void rms_norm_row(const TsRef *r, double *x, int64_t n)
{
	double by = tr_round(r, 1 / sqrt(tr_round(r, mean_square(r, x, n) + ts_attr(r->m, r->n, "eps")->f)));
	for (int64_t i = 0; i < n; i++) x[i] = tr_round(r, x[i] * by);
	scale_row(r, x, n);
}

static bool last_axis(TsRef *r, void (*row)(const TsRef *, double *, int64_t))
{
	const TsNum *x = r->in[0];
	Axes a = { .mask = 1u << (x->rank - 1), .length = x->dim[x->rank - 1] };
	int64_t step = 1;
	a.along[x->rank - 1] = 1;
	for (int k = x->rank - 2; k >= 0; k--) {
		a.to[k] = step;
		step *= x->dim[k];
	}
	return each_row(r, &a, row);
}

bool ref_layer_norm(TsRef *r) { return last_axis(r, layer_norm_row); }
bool ref_rms_norm(TsRef *r) { return last_axis(r, rms_norm_row); }
