#include "ir/tensor.h"
#include <stdlib.h>
#include <string.h>

bool ts_shape_count(int rank, const int64_t *dim, int64_t *count)
{
	const int64_t most = INT64_C(1) << 62;
	int64_t n = 1;
	bool zero = false, over = false;
	for (int i = 0; i < rank; i++) {
		if (dim[i] < 0 || dim[i] > most) return false;
		zero |= dim[i] == 0;
		if (!over && !zero && (__builtin_mul_overflow(n, dim[i], &n) || n > most)) over = true;
	}
	*count = zero ? 0 : n;
	return zero || !over;
}

bool ts_tensor_new(TsCtx *cx, const char *what, TsDtype elem, int rank, const int64_t *dim, TsTensor *out)
{
	*out = (TsTensor){ .elem = elem, .rank = (uint8_t)rank };
	if (rank > TS_MAX_RANK || !ts_shape_count(rank, dim, &out->count)) {
		ts_error(cx, (TsSpan){ 0 }, "E_SIZE", "%s: its size is out of range", what);
		return false;
	}
	if (rank) memcpy(out->dim, dim, (size_t)rank * sizeof *dim);
	out->bytes = ts_dtype_bytes(elem, out->count);
	out->data = calloc(1, out->bytes ? (size_t)out->bytes : 1);
	if (!out->data) ts_env_error(cx, "E_MEMORY", "no room for the %lld bytes of %s", (long long)out->bytes, what);
	return out->data != NULL;
}

void ts_tensor_free(TsTensor *t)
{
	free(t->data);
	t->data = NULL;
}

static void print_element(const TsTensor *t, int64_t i, TsBuf *to)
{
	if (t->elem == TS_BOOL) ts_buf_str(to, ts_elem_get_int(t->elem, t->data, i) ? "true" : "false");
	else if (ts_dtype_is_int(t->elem)) ts_buf_fmt(to, "%lld", (long long)ts_elem_get_int(t->elem, t->data, i));
	else if (t->elem == TS_F64) ts_buf_f64(to, ts_elem_get(t->elem, t->data, i));
	else if (t->elem == TS_COMPLEX64) {
		float v[2];
		memcpy(v, (const char *)t->data + i * 8, 8);
		ts_buf_char(to, '(');
		ts_buf_f32(to, v[0]);
		ts_buf_str(to, ", ");
		ts_buf_f32(to, v[1]);
		ts_buf_char(to, ')');
	} else ts_buf_f32(to, (float)ts_elem_get(t->elem, t->data, i));
}

static void print_axis(const TsTensor *t, int axis, int64_t *at, TsBuf *to)
{
	if (axis == t->rank) {
		print_element(t, (*at)++, to);
		return;
	}
	ts_buf_char(to, '[');
	for (int64_t i = 0; i < t->dim[axis]; i++) {
		if (i) ts_buf_str(to, ", ");
		print_axis(t, axis + 1, at, to);
	}
	ts_buf_char(to, ']');
}

void ts_tensor_print(const TsTensor *t, TsBuf *to)
{
	ts_buf_fmt(to, "%s[", ts_dtype_name(t->elem));
	for (int i = 0; i < t->rank; i++) ts_buf_fmt(to, "%s%lld", i ? ", " : "", (long long)t->dim[i]);
	ts_buf_str(to, "] ");
	int64_t at = 0;
	if (t->count || !t->rank) print_axis(t, 0, &at, to);
	else ts_buf_str(to, "[]");
}
