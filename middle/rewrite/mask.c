#include "mask.h"
#include <math.h>

enum { MAX_DEPTH = 12 };
/* row * i + col * j + k + sign * dynamic, i the row and j the column of the scores. */
typedef struct { int64_t row, col, k; TsVal dynamic; int64_t sign; } Linear;

static bool is_one(const TsMatch *m, TsDim d) { int64_t v; return ts_dim_is_const(m->rw->m->dims, d, &v) && v == 1; }

/* The only axis of v that is not 1, counted from the end (1: columns, 2: rows); 0 when there is none or several. */
static int long_axis(TsMatch *m, TsVal v)
{
	const TsType *t = ts_rw_type(m, v);
	int axis = 0;
	for (int i = 0; i < t->rank; i++) {
		if (is_one(m, t->dim[i])) continue;
		if (axis) return 0;
		axis = t->rank - i;
	}
	return axis;
}

static bool small(int64_t k) { return k > -(INT64_C(1) << 40) && k < INT64_C(1) << 40; }

static bool sum(Linear *a, const Linear *b, int64_t by)
{
	if (a->dynamic && b->dynamic) {
		if (a->dynamic != b->dynamic || a->sign + by * b->sign) return false;
		a->dynamic = 0;
	} else if (b->dynamic) a->dynamic = b->dynamic, a->sign = by * b->sign;
	a->row += by * b->row;
	a->col += by * b->col;
	a->k += by * b->k;
	return small(a->k);
}

/* An integer that is the same for all scores: a scalar that is not computed from them. */
static bool is_scalar(TsMatch *m, TsVal v)
{
	const TsType *t = ts_rw_type(m, v);
	return t->rank == 0 && ts_dtype_is_int(t->elem);
}

static bool linear(TsMatch *m, TsVal v, Linear *out, int depth)
{
	TsNode *n = ts_rw_def(m, v);
	double c;
	*out = (Linear){ 0 };
	if (ts_rw_uniform(m, v, &c)) return c == rint(c) && fabs(c) < 0x1p40 && (out->k = (int64_t)c, true);
	if (!n || depth > MAX_DEPTH) return false;
	if (n->op == TS_OP_iota) return out->col = 1, true;
	if (n->op == TS_OP_add || n->op == TS_OP_sub) {
		Linear b;
		if (linear(m, ts_rw_in(m, n, 0), out, depth + 1) && linear(m, ts_rw_in(m, n, 1), &b, depth + 1)) return sum(out, &b, n->op == TS_OP_add ? 1 : -1);
	}
	if (n->op == TS_OP_cast && ts_dtype_is_int(ts_rw_type(m, v)->elem) && ts_dtype_is_int(ts_rw_type(m, ts_rw_in(m, n, 0))->elem)) return linear(m, ts_rw_in(m, n, 0), out, depth + 1);
	if ((n->op == TS_OP_reshape || n->op == TS_OP_broadcast || n->op == TS_OP_transpose)) {
		int axis = long_axis(m, v);
		/* one long axis: the same numbers in the same order, along rows or columns */
		if (axis == 1 || axis == 2) {
			if (!linear(m, ts_rw_in(m, n, 0), out, depth + 1) || (out->row && out->col)) return false;
			int64_t by = out->row + out->col;
			if (!by) return true;
			if (!long_axis(m, ts_rw_in(m, n, 0))) return false;
			out->row = axis == 2 ? by : 0;
			out->col = axis == 1 ? by : 0;
			return true;
		}
		/* a broadcast keeps axes in place from the end */
		if (n->op == TS_OP_broadcast) return linear(m, ts_rw_in(m, n, 0), out, depth + 1);
		return false;
	}
	if (!is_scalar(m, v)) return false;
	*out = (Linear){ .dynamic = v, .sign = 1 };
	return true;
}

/* Sets j <= i + k: two such limits are one only when they are the same. */
static bool set_upper(TsBand *b, int64_t k, TsVal dynamic)
{
	if (b->causal) return b->offset == k && b->dynamic == dynamic;
	b->causal = true;
	b->offset = k;
	b->dynamic = dynamic;
	return true;
}

static bool set_lower(TsBand *b, int64_t k)
{
	if (b->windowed) return b->lower == k;
	b->windowed = true;
	b->lower = k;
	return true;
}

/* l >= 0 */
static bool set_limit(TsBand *b, const Linear *l)
{
	if (l->row == 1 && l->col == -1 && (!l->dynamic || l->sign == 1)) return set_upper(b, l->k, l->dynamic);
	if (l->row == -1 && l->col == 1 && !l->dynamic) return set_lower(b, l->k);
	return false;
}

static bool compare(TsMatch *m, TsBand *b, const TsNode *n, bool flipped)
{
	Linear l, r;
	if (!linear(m, ts_rw_in(m, n, 0), &l, 0) || !linear(m, ts_rw_in(m, n, 1), &r, 0)) return false;
	TsOp op = n->op;
	if (flipped) op = op == TS_OP_ge ? TS_OP_lt : op == TS_OP_gt ? TS_OP_le : op == TS_OP_le ? TS_OP_gt : TS_OP_ge;
	bool less = op == TS_OP_le || op == TS_OP_lt;
	Linear *a = less ? &r : &l;
	if (!sum(a, less ? &l : &r, -1)) return false;
	if (op == TS_OP_gt || op == TS_OP_lt) a->k--;
	return set_limit(b, a);
}

/* What a literal table holds at one place: 1 the column counts, 0 it does not, -1 neither. Bias: 0 counts, very low does not. */
static int table_entry(const TsNode *n, TsDtype t, int64_t i, double lowest)
{
	double x = ts_elem_get(t, n->data, i);
	if (t == TS_BOOL) return x != 0;
	return x == 0 ? 1 : x <= lowest ? 0 : -1;
}

/* Only repetition, and axes of size 1 that come or go in front: elements stay where they are in the last two axes. */
static bool keeps_places(TsMatch *m, const TsNode *view)
{
	const TsType *from = ts_rw_type(m, ts_rw_in(m, view, 0)), *to = ts_rw_type(m, view->out[0]);
	return ts_rw_broadcasts(m, from, to) || (view->op == TS_OP_reshape && ts_rw_broadcasts(m, to, from));
}

/* A literal table [.., S, T] in which row i counts exactly the columns j <= i + offset. One row for all rows is no such table. */
static bool table(TsMatch *m, TsBand *b, TsVal v, bool flipped, double lowest)
{
	TsNode *n;
	const TsType *t = ts_rw_type(m, v);
	int64_t size[2] = { 0 }, first = 0;
	while ((ts_rw_is(m, v, TS_OP_broadcast, &n) || ts_rw_is(m, v, TS_OP_reshape, &n)) && keeps_places(m, n)) v = ts_rw_in(m, n, 0), t = ts_rw_type(m, v);
	if (!ts_rw_is(m, v, TS_OP_const, &n) || t->rank < 2 || !(t->elem == TS_BOOL || ts_dtype_is_float(t->elem)) || ts_dtype_bits(t->elem) % 8) return false;
	for (int i = 0; i < t->rank - 2; i++)
		if (!is_one(m, t->dim[i])) return false;
	if (t->dim[t->rank - 2] != b->rows || t->dim[t->rank - 1] != b->cols) return false;
	for (int i = 0; i < 2; i++)
		if (!ts_dim_is_const(m->rw->m->dims, t->dim[t->rank - 2 + i], &size[i]) || size[i] < 1 || size[i] > 1 << 12) return false;
	while (first < size[1] && table_entry(n, t->elem, first, lowest) == !flipped) first++;
	if (first == size[1] && size[0] > 1) return false;
	for (int64_t i = 0; i < size[0]; i++)
		for (int64_t j = 0; j < size[1]; j++)
			if (table_entry(n, t->elem, i * size[1] + j, lowest) != ((j < i + first) != flipped)) return false;
	return set_upper(b, first - 1, 0);
}

static bool add(TsMatch *m, TsBand *b, TsVal v, bool flipped, int depth)
{
	TsNode *n = ts_rw_def(m, v);
	if (n && depth < MAX_DEPTH) {
		if (n->op == TS_OP_not) return add(m, b, ts_rw_in(m, n, 0), !flipped, depth + 1);
		if (n->op == (flipped ? TS_OP_or : TS_OP_and)) return add(m, b, ts_rw_in(m, n, 0), flipped, depth + 1) && add(m, b, ts_rw_in(m, n, 1), flipped, depth + 1);
		TsNode *c = n;
		/* leading axes of size 1 and their repetition do not matter */
		while (c && (c->op == TS_OP_broadcast || c->op == TS_OP_reshape) && ts_rw_type(m, c->out[0])->rank >= ts_rw_type(m, ts_rw_in(m, c, 0))->rank) {
			const TsType *to = ts_rw_type(m, c->out[0]), *from = ts_rw_type(m, ts_rw_in(m, c, 0));
			bool tail = from->rank >= 2 && to->dim[to->rank - 1] == from->dim[from->rank - 1] && to->dim[to->rank - 2] == from->dim[from->rank - 2];
			for (int i = 0; c->op == TS_OP_reshape && tail && i < to->rank - from->rank; i++) tail = is_one(m, to->dim[i]);
			if (!tail) break;
			c = ts_rw_def(m, ts_rw_in(m, c, 0));
		}
		TsBand was = *b;
		if (c && (c->op == TS_OP_ge || c->op == TS_OP_gt || c->op == TS_OP_le || c->op == TS_OP_lt) && compare(m, b, c, flipped)) return true;
		*b = was;
		if (table(m, b, v, flipped, 0)) return true;
		*b = was;
	}
	if (b->nrest == 8) return false;
	b->rest[b->nrest++] = flipped ? ts_rw_op(m, TS_OP_not, 1, &v, NULL) : v;
	return true;
}

bool ts_band_add(TsMatch *m, TsBand *b, TsVal mask, bool flipped) { return add(m, b, mask, flipped, 0); }

bool ts_band_add_table(TsMatch *m, TsBand *b, TsVal bias, double lowest) { return table(m, b, bias, false, lowest); }

bool ts_band_has_every_row(const TsMatch *m, const TsBand *b)
{
	int64_t lo, beyond;
	if (b->nrest || b->dynamic) return false;
	if (b->causal && b->offset < 0) return false;
	if (!b->windowed) return true;
	/* the last row's window begins at column rows - 1 - lower */
	ts_dim_range(m->rw->m->dims, ts_dim_sub(m->rw->m->dims, b->rows, b->cols), &lo, &beyond);
	return b->lower >= 0 && beyond <= b->lower && (!b->causal || b->offset + b->lower >= 0);
}
