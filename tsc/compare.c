#include "tsc/compare.h"
#include <math.h>
#include <string.h>

bool ts_same_shape(const TsTensor *a, const TsTensor *b) { return a->rank == b->rank && !memcmp(a->dim, b->dim, a->rank * sizeof *a->dim); }

/* A complex tensor is twice as many floats. */
static double element(const TsTensor *t, int64_t i)
{
	if (t->elem == TS_COMPLEX64) return ts_elem_get(TS_F32, t->data, i);
	if (ts_dtype_is_float(t->elem)) return ts_elem_get(t->elem, t->data, i);
	return (double)ts_elem_get_int(t->elem, t->data, i);
}

/* int64 values past 2^53 are told apart too. */
static bool is_same_integer(const TsTensor *a, const TsTensor *b, int64_t i)
{
	return ts_elem_get_int(a->elem, a->data, i) == ts_elem_get_int(b->elem, b->data, i);
}

static bool is_integer(const TsTensor *t) { return t->elem == TS_BOOL || ts_dtype_is_int(t->elem); }

TsDifference ts_tensor_compare(const TsTensor *got, const TsTensor *want, TsTolerance t)
{
	TsDifference d = { 0 };
	double worst = -1;
	int64_t n = got->count * (got->elem == TS_COMPLEX64 && want->elem == TS_COMPLEX64 ? 2 : 1);
	bool integers = is_integer(got) && is_integer(want);
	for (int64_t i = 0; i < n; i++) {
		double a = element(got, i), b = element(want, i), error = fabs(a - b);
		if (integers ? is_same_integer(got, want, i) : a == b || (isnan(a) && isnan(b))) continue;
		if (isnan(error)) error = INFINITY;
		if (error > d.error) d.error = error;
		double limit = t.abs + t.rel * fabs(b);
		if (error <= limit && isfinite(b)) continue;
		d.wrong++;
		if (error - limit > worst || worst < 0) worst = isfinite(error) ? error - limit : INFINITY, d.worst = i;
	}
	return d;
}

static void element_text(const TsTensor *t, int64_t i, TsBuf *to)
{
	if (is_integer(t)) ts_buf_fmt(to, "%lld", (long long)ts_elem_get_int(t->elem, t->data, i));
	else if (t->elem == TS_F64) ts_buf_f64(to, element(t, i));
	else ts_buf_f32(to, (float)element(t, i));
}

static void index_text(const TsTensor *t, int64_t i, TsBuf *to)
{
	int64_t at[TS_MAX_RANK];
	if (t->elem == TS_COMPLEX64) i /= 2;
	for (int k = t->rank; k-- > 0;) {
		at[k] = i % t->dim[k];
		i /= t->dim[k];
	}
	ts_buf_char(to, '[');
	for (int k = 0; k < t->rank; k++) ts_buf_fmt(to, k ? ", %lld" : "%lld", (long long)at[k]);
	ts_buf_char(to, ']');
}

static void shape_text(const TsTensor *t, TsBuf *to)
{
	ts_buf_fmt(to, "%s[", ts_dtype_name(t->elem));
	for (int k = 0; k < t->rank; k++) ts_buf_fmt(to, k ? ", %lld" : "%lld", (long long)t->dim[k]);
	ts_buf_char(to, ']');
}

bool ts_tensor_expect(TsCtx *cx, TsSpan at, const char *what, const char *wanted, const TsTensor *got, const TsTensor *want, TsTolerance t, TsDifference *d)
{
	TsBuf b = { 0 };
	*d = (TsDifference){ 0 };
	bool ok = ts_same_shape(got, want) && (got->elem == TS_COMPLEX64) == (want->elem == TS_COMPLEX64);
	if (!ok) {
		shape_text(got, &b);
		ts_buf_fmt(&b, ", %s has ", wanted);
		shape_text(want, &b);
		ts_error(cx, at, "E_MISMATCH", "%s is %s", what, b.p);
	} else if ((*d = ts_tensor_compare(got, want, t)).wrong) {
		ok = false;
		index_text(got, d->worst, &b);
		ts_buf_str(&b, " is ");
		element_text(got, d->worst, &b);
		ts_buf_fmt(&b, ", %s has ", wanted);
		element_text(want, d->worst, &b);
		ts_error(cx, at, "E_MISMATCH", "%s: %lld of %lld elements are wrong; the worst, %s", what, (long long)d->wrong, (long long)got->count, b.p);
	}
	ts_buf_free(&b);
	return ok;
}
