#include "ir/interp_int.h"
#include <math.h>
#include <stdlib.h>

/* x as doubles, or as wrapping integers if ints; a fresh copy, freed by the caller. */
static void *operand(const TsNum *x, bool ints)
{
	double *p = malloc((x->n ? (size_t)x->n : 1) * sizeof *p);
	if (!p || ints) {
		if (p) for (int64_t i = 0; i < x->n; i++) ((int64_t *)p)[i] = x->i[i];
		return p;
	}
	for (int64_t i = 0; i < x->n; i++) p[i] = tr_get(x, i);
	return p;
}

/* Row i of one product: out[j] = sum over k, in order, of a[k] * b[k, j]. */
static void float_row(const TsRef *r, const double *a, const double *b, int64_t kk, int64_t nn, double *sum)
{
	for (int64_t j = 0; j < nn; j++) sum[j] = 0;
	for (int64_t k = 0; k < kk; k++, b += nn) {
		if (r->exact || r->acc == TS_F64)
			for (int64_t j = 0; j < nn; j++) sum[j] += a[k] * b[j];
		else if (r->acc == TS_F32)
			for (int64_t j = 0; j < nn; j++) sum[j] = (float)(sum[j] + a[k] * b[j]);
		else
			for (int64_t j = 0; j < nn; j++) sum[j] = ts_dtype_round(r->acc, sum[j] + a[k] * b[j]);
	}
}

/* The same with sums finer than f64. */
static void fine_row(const double *a, const double *b, int64_t kk, int64_t nn, double *sum)
{
	for (int64_t j = 0; j < nn; j++) {
		long double all = 0;
		for (int64_t k = 0; k < kk; k++) all += (long double)a[k] * b[k * nn + j];
		sum[j] = (double)all;
	}
}

static void int_row(const TsRef *r, const int64_t *a, const int64_t *b, int64_t kk, int64_t nn, int64_t *sum)
{
	for (int64_t j = 0; j < nn; j++) sum[j] = 0;
	for (int64_t k = 0; k < kk; k++, b += nn)
		for (int64_t j = 0; j < nn; j++) sum[j] = (int64_t)((uint64_t)sum[j] + (uint64_t)a[k] * (uint64_t)b[j]);
	if (r->acc == TS_INT32)
		for (int64_t j = 0; j < nn; j++) sum[j] = (int32_t)(uint32_t)(uint64_t)sum[j];
}

/* Offset in elements of matrix `batch` of the result's leading axes in operand x. */
static int64_t batch_offset(const TsNum *x, const TsNum *out, int64_t batch)
{
	int64_t at = 0, step = x->dim[x->rank - 2] * x->dim[x->rank - 1];
	for (int k = out->rank - 3, j = x->rank - 3; k >= 0 && j >= 0; k--, j--) {
		if (x->dim[j] != 1) at += batch % out->dim[k] * step;
		step *= x->dim[j];
		batch /= out->dim[k];
	}
	return at;
}

bool ref_matmul(TsRef *r)
{
	const TsNum *x = r->in[0], *y = r->in[1];
	TsNum *out = r->out;
	int64_t mm = x->dim[x->rank - 2], kk = x->dim[x->rank - 1], nn = y->dim[y->rank - 1], each = mm * nn;
	bool ints = x->i && y->i;
	void *a = operand(x, ints), *b = operand(y, ints);
	double *sum = malloc(((size_t)nn + 1) * sizeof *sum);
	bool ok = a && b && sum;
	for (int64_t i = 0; ok && each && i < out->n / nn; i++) {
		int64_t ao = batch_offset(x, out, i / mm) + i % mm * kk, bo = batch_offset(y, out, i / mm), *isum = (int64_t *)sum;
		if (ints) int_row(r, (int64_t *)a + ao, (int64_t *)b + bo, kk, nn, isum);
		else if (tr_is_finer(r)) fine_row((double *)a + ao, (double *)b + bo, kk, nn, sum);
		else float_row(r, (double *)a + ao, (double *)b + bo, kk, nn, sum);
		for (int64_t j = 0; j < nn; j++) {
			if (out->i) out->i[i * nn + j] = isum[j];
			else out->f[i * nn + j] = ints ? (double)isum[j] : sum[j];
		}
	}
	free(a);
	free(b);
	free(sum);
	return ok;
}

/* One attention row. Columns that do not count are left out, whatever v holds there; compiled code may give them the weight 0. */
typedef struct { TsRef *r; const TsNum *q, *k, *v, *mask, *bias; int64_t mask_stride[4], bias_stride[4]; int64_t offset, window; bool causal; double scale; double *p; long double *o; bool *counts; } Attention;

static bool visible(const Attention *a, int64_t b, int64_t h, int64_t i, int64_t j)
{
	if (a->causal && j > i + a->offset) return false;
	if (a->window && j <= i + a->offset - a->window) return false;
	return !a->mask || a->mask->i[b * a->mask_stride[0] + h * a->mask_stride[1] + i * a->mask_stride[2] + j * a->mask_stride[3]];
}

static void attend(Attention *a, int64_t b, int64_t h, int64_t i)
{
	const TsRef *r = a->r;
	const int64_t *qd = a->q->dim, *kd = a->k->dim;
	int64_t d = qd[3], t = kd[2], e = a->v->dim[3], g = h / (qd[1] / kd[1]);
	const double *q = a->q->f + ((b * qd[1] + h) * qd[2] + i) * d, *k = a->k->f + (b * kd[1] + g) * t * d, *v = a->v->f + (b * kd[1] + g) * t * e;
	long double sum = 0;
	double top = -INFINITY, *out = r->out->f + ((b * qd[1] + h) * qd[2] + i) * e;
	for (int64_t j = 0; j < t; j++) {
		if (!(a->counts[j] = visible(a, b, h, i, j))) continue;
		long double dot = 0;
		for (int64_t c = 0; c < d; c++) dot = tr_add(r, dot, q[c] * k[j * d + c]);
		double s = tr_round(r, (double)dot * a->scale);
		if (a->bias) s = tr_round(r, s + a->bias->f[b * a->bias_stride[0] + h * a->bias_stride[1] + i * a->bias_stride[2] + j * a->bias_stride[3]]);
		a->p[j] = s;
		top = isnan(s) || s > top ? s : top;
		if (isnan(top)) break;
	}
	for (int64_t c = 0; c < e; c++) out[c] = isnan(top) ? NAN : 0;
	if (isnan(top) || top == -INFINITY) return;
	for (int64_t c = 0; c < e; c++) a->o[c] = 0;
	for (int64_t j = 0; j < t; j++) {
		if (!a->counts[j]) continue;
		double p = tr_round(r, exp(tr_round(r, a->p[j] - top)));
		sum = tr_add(r, sum, p);
		for (int64_t c = 0; c < e; c++) a->o[c] = tr_add(r, a->o[c], p * v[j * e + c]);
	}
	for (int64_t c = 0; c < e; c++) out[c] = (double)(a->o[c] / sum);
}

bool ref_attention(TsRef *r)
{
	const TsAttr *scale = ts_attr(r->m, r->n, "scale"), *window = ts_attr(r->m, r->n, "window");
	Attention a = { .r = r, .q = r->in[0], .k = r->in[1], .v = r->in[2], .causal = ts_attr(r->m, r->n, "causal")->i };
	a.mask = tr_has(r, 3) ? r->in[3] : NULL;
	a.bias = tr_has(r, 4) ? r->in[4] : NULL;
	a.offset = tr_has(r, 5) ? r->in[5]->i[0] : 0;
	a.window = window->none ? 0 : window->i;
	a.scale = tr_round(r, scale->none ? 1 / sqrt((double)a.q->dim[3]) : scale->f);
	if (tr_has(r, 6)) a.scale = tr_round(r, a.scale * r->in[6]->f[0]);
	/* beyond every column in both directions: i + offset cannot overflow */
	const int64_t far = INT64_C(1) << 61;
	a.offset = a.offset > far ? far : a.offset < -far ? -far : a.offset;
	if (a.window > far) a.window = far;
	if (a.mask) tr_strides(a.mask, 4, a.mask_stride);
	if (a.bias) tr_strides(a.bias, 4, a.bias_stride);
	a.p = malloc(((size_t)a.k->dim[2] + 1) * sizeof *a.p);
	a.counts = malloc((size_t)a.k->dim[2] + 1);
	a.o = malloc(((size_t)a.v->dim[3] + 1) * sizeof *a.o);
	bool ok = a.p && a.counts && a.o;
	for (int64_t b = 0; ok && b < a.q->dim[0]; b++)
		for (int64_t h = 0; h < a.q->dim[1]; h++)
			for (int64_t i = 0; i < a.q->dim[2]; i++) attend(&a, b, h, i);
	free(a.p);
	free(a.counts);
	free(a.o);
	return ok;
}
