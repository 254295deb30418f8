/* One graph of one operator for differential tests: random shapes and attributes by seed, and what its result may differ by. */
#pragma once
#include "tests/unit/diff.h"

static const int64_t sizes[] = { 0, 1, 2, 3, 5, 7, 8, 13, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129 };
static int64_t pick_size(Rng *r) { return sizes[rng_below(r, sizeof sizes / sizeof *sizes)]; }

typedef struct { TsDtype elem; TsOp op; int turn; Fill fill; int64_t below; bool special, extreme; double ulps; } Case;

/* A random shape of rank lo..hi whose element count stays small; some sizes are symbols. */
static int random_shape(Build *b, int lo, int hi, int64_t *size, TsDim *dim, int64_t limit)
{
	int rank = lo + (int)rng_below(b->rng, (uint32_t)(hi - lo + 1));
	for (int i = rank - 1; i >= 0; i--) {
		size[i] = pick_size(b->rng);
		if (size[i] > limit) size[i] = 1 + (int64_t)rng_below(b->rng, 3);
		limit = size[i] ? limit / size[i] : limit;
		dim[i] = build_dim(b, size[i], rng_below(b->rng, 3) == 0);
	}
	return rank;
}

/* In f64 the oracle itself works in f64, so both sides carry the operator's error: twice the bound. gelu's tail multiplies the error of
 * its argument by x^2 < 1500 where the result is not yet 0, in the interpreter's erfc as well. */
static inline double bound_ulps(const TsOpInfo *info, TsDtype elem)
{
	double own = !strncmp(info->bound, "ulp", 3) ? atof(info->bound + 3) : 1;
	if (elem == TS_F64 && strcmp(info->bound, "exact")) return !strcmp(info->name, "gelu") ? 1500 : 2 * own;
	if (!strncmp(info->bound, "ulp", 3)) return own;
	if (!strcmp(info->bound, "exact")) return 0;
	return 1;
}

static TsVal one(Build *b, TsOp op, TsAttr *a, TsVal x) { return build_op(b, op, a, 1, &x); }

/* The value of one case; inputs are the graph's parameters. 0 when the operator's types refuse. */
static TsVal make_case(Build *b, Case *c)
{
	const TsOpInfo *info = ts_op_info(b->cx, c->op);
	int64_t size[8];
	TsDim dim[8], d2[8];
	TsAttr *a = build_attrs(b, c->op);
	int rank;
	switch (info->cls) {
	case TS_CLS_POINTWISE: {
		TsVal in[3];
		rank = random_shape(b, 0, 4, size, dim, 4000);
		for (int i = 0; i < info->nin; i++) {
			int drop = rank ? (int)rng_below(b->rng, 2) * (int)rng_below(b->rng, (uint32_t)rank) : 0;
			memcpy(d2, dim + drop, (size_t)(rank - drop) * sizeof *dim);
			for (int k = 0; k < rank - drop; k++)
				if (i && !rng_below(b->rng, 5)) d2[k] = ts_dim_const(b->m->dims, 1);
			bool cond = c->op == TS_OP_where && i == 0;
			in[i] = build_param(b, cond ? TS_BOOL : c->elem, i ? rank - drop : rank, i ? d2 : dim);
		}
		if (c->op == TS_OP_cast) {
			static const TsDtype to[] = { TS_F32, TS_F64, TS_F16, TS_BF16, TS_INT64, TS_INT32, TS_BOOL, TS_INT16, TS_INT8, TS_UINT8, TS_INT4, TS_FP8_E4M3, TS_FP8_E5M2, TS_FP6_E2M3, TS_FP6_E3M2, TS_FP4_E2M1 };
			build_attr(b, a, c->op, "dtype")->t = to[rng_below(b->rng, sizeof to / sizeof *to)];
		}
		if (c->op == TS_OP_gelu && rng_below(b->rng, 2)) a[0].s = ts_intern(b->cx, "none");
		return build_op(b, c->op, a, info->nin, in);
	}
	case TS_CLS_REDUCE:
	case TS_CLS_ROW: {
		TsVal in[3];
		rank = random_shape(b, 1, 4, size, dim, 6000);
		in[0] = build_param(b, c->elem, rank, dim);
		int64_t axis[4];
		uint32_t n = 0;
		int at = ts_op_attr_index(info, "axis");
		for (int i = 0; i < rank; i++)
			if (rng_below(b->rng, 2)) axis[n++] = i;
		if (!n) axis[n++] = rank - 1;
		for (uint32_t i = 0; i < n; i++) /* the largest of nothing has no place */
			if (c->op == TS_OP_argmax && size[axis[i]] == 0) return build_op(b, TS_OP_sum, NULL, 1, in);
		if (at >= 0) attr_ints(b, &a[at], n, axis);
		if (info->cls == TS_CLS_REDUCE) build_attr(b, a, c->op, "keepdims")->i = rng_below(b->rng, 2);
		for (int i = 1; i < info->nin; i++) in[i] = rng_below(b->rng, 3) ? build_param(b, c->elem, 1, dim + rank - 1) : 0;
		if (info->nin > 1 && !in[1]) in[2] = 0;
		return build_op(b, c->op, a, info->nin, in);
	}
	case TS_CLS_CONTRACT: {
		static const int64_t ks[] = { 0, 1, 3, 64, 65, 127, 384, 385, 500 };
		int64_t m = pick_size(b->rng), n = pick_size(b->rng), k = ks[rng_below(b->rng, 9)], batch = 1 + (int64_t)rng_below(b->rng, 3);
		TsDim da[3], db[3];
		da[0] = db[0] = build_dim(b, batch, rng_below(b->rng, 2));
		da[1] = build_dim(b, m, rng_below(b->rng, 2));
		da[2] = db[1] = build_dim(b, k, rng_below(b->rng, 3) == 0);
		db[2] = build_dim(b, n, rng_below(b->rng, 3) == 0);
		uint32_t how = rng_below(b->rng, 4);
		bool turn = rng_below(b->rng, 2);
		if (turn) { TsDim t = db[1]; db[1] = db[2]; db[2] = t; }
		TsVal in[2];
		in[0] = build_param(b, c->elem, how & 1 ? 3 : 2, how & 1 ? da : da + 1);
		static const TsDtype mixed[] = { TS_F32, TS_BF16, TS_F16, TS_FP8_E4M3, TS_FP8_E5M2, TS_INT8 };
		bool mixes = ts_dtype_is_float(c->elem) && !rng_below(b->rng, 3);
		in[1] = build_param(b, mixes ? mixed[rng_below(b->rng, 6)] : c->elem, how & 2 ? 3 : 2, how & 2 ? db : db + 1);
		if (mixes) build_attr(b, a, c->op, "out")->t = c->elem == TS_F64 ? TS_F64 : TS_F32;
		if (turn) {
			TsAttr *ta = build_attrs(b, TS_OP_transpose);
			int64_t p3[] = { 0, 2, 1 }, p2[] = { 1, 0 };
			attr_ints(b, &ta[0], how & 2 ? 3 : 2, how & 2 ? p3 : p2);
			in[1] = one(b, TS_OP_transpose, ta, in[1]);
		}
		if (!ts_dtype_is_compute(c->elem)) build_attr(b, a, c->op, "out")->t = TS_F32;
		return build_op(b, c->op, a, 2, in);
	}
	case TS_CLS_ATTENTION: {
		static const int64_t ds[] = { 1, 8, 32, 40, 64, 80, 128 };
		int64_t B = 1 + rng_below(b->rng, 2), G = 1 + rng_below(b->rng, 2), H = G * (1 + rng_below(b->rng, 2)), S = pick_size(b->rng), T = pick_size(b->rng), D = ds[rng_below(b->rng, 7)];
		bool plain = c->turn == 1; /* every row sees two blocks of keys, one of them ragged: nothing hides what they do */
		if (plain) S += !S, T = 65 + rng_below(b->rng, 60), D = D < 32 ? 32 : D;
		else if (rng_below(b->rng, 2)) T += 65;
		TsDim one_ = ts_dim_const(b->m->dims, 1), dB = build_dim(b, B, rng_below(b->rng, 2)), dS = build_dim(b, S, rng_below(b->rng, 2)), dT = build_dim(b, T, rng_below(b->rng, 2)), dD = build_dim(b, D, rng_below(b->rng, 4) == 0);
		TsDim q[4] = { dB, ts_dim_const(b->m->dims, H), dS, dD }, kv[4] = { dB, ts_dim_const(b->m->dims, G), dT, dD };
		TsDim mask[4] = { rng_below(b->rng, 2) ? dB : one_, one_, rng_below(b->rng, 2) ? dS : one_, dT }, bias[4] = { one_, ts_dim_const(b->m->dims, H), dS, dT };
		TsVal in[7] = { build_param(b, c->elem, 4, q), build_param(b, c->elem, 4, kv), build_param(b, c->elem, 4, kv) };
		if (!plain && rng_below(b->rng, 2)) in[3] = build_param(b, TS_BOOL, 4, mask);
		if (!plain && rng_below(b->rng, 3) == 0) in[4] = build_param(b, c->elem, 4, bias);
		if (rng_below(b->rng, 3) == 0) in[6] = build_param(b, rng_below(b->rng, 2) ? c->elem : c->elem == TS_F64 ? TS_F64 : TS_F32, 0, NULL);
		build_attr(b, a, c->op, "causal")->i = !plain && rng_below(b->rng, 2);
		if (!plain && rng_below(b->rng, 3) == 0) build_attr(b, a, c->op, "window")->i = 1 + (int64_t)rng_below(b->rng, 70);
		return build_op(b, c->op, a, 7, in);
	}
	case TS_CLS_GATHER: {
		rank = c->op == TS_OP_embedding ? random_shape(b, 2, 2, size, dim, 3000) : random_shape(b, 1, 3, size, dim, 3000);
		int axis = c->op == TS_OP_embedding ? 0 : (int)rng_below(b->rng, (uint32_t)rank);
		int64_t is[4];
		TsVal in[2];
		in[0] = build_param(b, c->elem, rank, dim);
		c->fill = FILL_INDEX;
		c->below = size[axis];
		int ir = random_shape(b, 1, 2, is, d2, 40);
		in[1] = build_param(b, rng_below(b->rng, 2) ? TS_INT64 : TS_INT32, ir, d2);
		if (c->op == TS_OP_gather) build_attr(b, a, c->op, "axis")->i = axis;
		return build_op(b, c->op, a, 2, in);
	}
	default:
		break;
	}
	rank = random_shape(b, 1, 4, size, dim, 4000);
	if (c->op == TS_OP_iota) {
		build_attr(b, a, c->op, "n")->dims = ts_memdup(b->m->arena, dim + rank - 1, sizeof *dim);
		a[ts_op_attr_index(info, "n")].n = 1;
		build_attr(b, a, c->op, "dtype")->t = c->elem;
		build_param(b, c->elem, rank, dim);
		return build_op(b, c->op, a, 0, NULL);
	}
	if (info->cls == TS_CLS_RANDOM) {
		TsDim two = ts_dim_const(b->m->dims, 2);
		TsVal key = build_param(b, TS_INT64, 1, &two);
		if (rank != 4) build_param(b, c->elem, rank, dim);
		else rank = 1, dim[0] = ts_dim_const(b->m->dims, 1000);
		attr_dims(b, build_attr(b, a, c->op, "shape"), (uint32_t)rank, dim);
		build_attr(b, a, c->op, "dtype")->t = c->elem;
		build_attr(b, a, c->op, "stream")->i = 3;
		if (c->op == TS_OP_randint) { build_attr(b, a, c->op, "low")->i = -5; build_attr(b, a, c->op, "high")->i = 100; }
		return build_op(b, c->op, a, 1, &key);
	}
	TsVal x = build_param(b, c->elem, rank, dim);
	switch (c->op) {
	case TS_OP_reshape: {
		TsDim all = ts_dim_const(b->m->dims, 1), tail[2];
		for (int i = 0; i < rank; i++) all = ts_dim_mul(b->m->dims, all, dim[i]);
		tail[0] = ts_dim_const(b->m->dims, 1);
		tail[1] = all;
		attr_dims(b, &a[0], 1 + rng_below(b->rng, 2), tail[0] && rng_below(b->rng, 2) ? tail + 1 : tail);
		if (a[0].n == 1) attr_dims(b, &a[0], 1, tail + 1);
		else attr_dims(b, &a[0], 2, tail);
		return one(b, c->op, a, x);
	}
	case TS_OP_transpose: {
		int64_t p[4] = { 0, 1, 2, 3 };
		for (int i = rank - 1; i > 0; i--) { int j = (int)rng_below(b->rng, (uint32_t)i + 1); int64_t t = p[i]; p[i] = p[j]; p[j] = t; }
		attr_ints(b, &a[0], (uint32_t)rank, p);
		return one(b, c->op, a, x);
	}
	case TS_OP_broadcast: {
		TsDim to[5] = { ts_dim_const(b->m->dims, 3) };
		memcpy(to + 1, dim, (size_t)rank * sizeof *dim);
		attr_dims(b, &a[0], (uint32_t)rank + 1, to);
		return one(b, c->op, a, x);
	}
	case TS_OP_slice: {
		TsDim start[4], stop[4];
		int64_t step[4];
		for (int i = 0; i < rank; i++) {
			int64_t lo = size[i] ? (int64_t)rng_below(b->rng, (uint32_t)size[i]) : 0, hi = lo + (int64_t)rng_below(b->rng, (uint32_t)(size[i] - lo) + 1);
			start[i] = ts_dim_const(b->m->dims, lo);
			stop[i] = hi == size[i] ? dim[i] : ts_dim_const(b->m->dims, hi);
			step[i] = 1 + (int64_t)rng_below(b->rng, 2);
		}
		attr_dims(b, build_attr(b, a, c->op, "start"), (uint32_t)rank, start);
		attr_dims(b, build_attr(b, a, c->op, "stop"), (uint32_t)rank, stop);
		attr_ints(b, build_attr(b, a, c->op, "step"), (uint32_t)rank, step);
		return one(b, c->op, a, x);
	}
	case TS_OP_concat: {
		uint32_t axis = rng_below(b->rng, (uint32_t)rank);
		memcpy(d2, dim, sizeof d2 / 2);
		d2[axis] = ts_dim_const(b->m->dims, pick_size(b->rng) % 40);
		TsVal in[3] = { x, build_param(b, c->elem, rank, d2), x };
		build_attr(b, a, c->op, "axis")->i = axis;
		return build_op(b, c->op, a, 2 + rng_below(b->rng, 2), in);
	}
	case TS_OP_pad: {
		TsDim before[4], after[4];
		for (int i = 0; i < rank; i++) {
			before[i] = ts_dim_const(b->m->dims, rng_below(b->rng, 4));
			after[i] = ts_dim_const(b->m->dims, rng_below(b->rng, 4));
		}
		attr_dims(b, build_attr(b, a, c->op, "before"), (uint32_t)rank, before);
		attr_dims(b, build_attr(b, a, c->op, "after"), (uint32_t)rank, after);
		return one(b, c->op, a, x);
	}
	case TS_OP_one_hot:
		c->fill = FILL_INDEX;
		c->below = 9;
		build_attr(b, a, c->op, "n")->dims = TS_NEW(b->m->arena, TsDim);
		a[ts_op_attr_index(info, "n")].dims[0] = ts_dim_const(b->m->dims, 10);
		a[ts_op_attr_index(info, "n")].n = 1;
		return one(b, c->op, a, x);
	case TS_OP_split: {
		memcpy(d2, dim, sizeof d2 / 2);
		TsVal y = build_param(b, c->elem, rank, (d2[rank - 1] = ts_dim_mul(b->m->dims, dim[rank - 1], ts_dim_const(b->m->dims, 3)), d2));
		build_attr(b, a, c->op, "n")->i = 3;
		TsNode *q = ts_add_op(b->m, b->g, &b->g->body, c->op, 1, &y, a, &b->m->numerics, (TsSpan){ 0 });
		if (!q) return 0;
		build_result(b, q->out[2]);
		return q->out[0];
	}
	default:
		return build_op(b, c->op, a, 1, &x);
	}
}

/* Special values for a case: infinities, NaN and the like where the result of each element or row is determined. Sums of such terms are not:
 * they depend on their order, so `extreme` gives them what the bound still holds for, see fill_case. */
static inline void case_special(Case *c, const TsOpInfo *info, bool special)
{
	bool sums = info->cls == TS_CLS_CONTRACT || info->cls == TS_CLS_ATTENTION || info->cls == TS_CLS_ROW || !strcmp(info->bound, "sum");
	c->special = special && (!sums || c->op == TS_OP_softmax);
	c->extreme = special && sums;
}

/* Operand i of the case's operator. Extremes: the huge numbers that masks are made of, in what softmax gets and in attention's bias, whose
 * results are weights and means whatever they are; elsewhere numbers as large as leaves the sum of the terms' magnitudes finite. */
static inline void fill_case(Rng *r, const Case *c, const TsOpInfo *info, uint32_t i, Fill floats, TsTensor *t)
{
	bool is_float = ts_dtype_is_float(t->elem);
	fill_tensor(r, t, c->fill && !is_float ? c->fill : floats, c->below, c->special);
	if (!c->extreme || !is_float) return;
	if (c->op == TS_OP_softmax || (c->op == TS_OP_attention && i > 2 && t->rank)) fill_extremes(r, t);
	else if (t->elem != TS_F32 && t->elem != TS_BF16 && t->elem != TS_F64) return;
	else if (info->cls == TS_CLS_REDUCE) scale_tensor(t, 1e33);
	else if (info->cls == TS_CLS_CONTRACT || (info->cls == TS_CLS_ROW && !i)) scale_tensor(t, 1e16);
	else if (c->op == TS_OP_attention && i == 2) scale_tensor(t, 1e33);
}

/* What a sum of K terms may add: DESIGN's bound is (K + 8) u sum|terms| with u half a unit of the accumulator (f32, or f64 for f64).
 * sum|terms| is the operator on the inputs' absolute values for sums and contractions. A softmax, a norm or an attention row is a few
 * sums over at most K elements and a few functions of 4 ulp each, relative to the largest result: (K + 32) u max|result|. */
static double per_product; /* what a product of a sum may be off by, beside the rounding of f32: TF32 rounds both operands to 2^-11 */
static inline bool is_fp8(TsDtype t) { return t == TS_FP8_E4M3 || t == TS_FP8_E5M2; }

/* A share of sum|a b|: what GPUs cut off 8-bit products whose sums begin anew every 128 of k (docs/gpu.md derives it). Losses have the signs
 * of their products and add up where these are one. Of whole numbers up to 8 nothing is cut off: 128 products are 8192 at most. */
static const double fp8_slack[] = { [FILL_NORMAL] = 0x1p-12, [FILL_POSITIVE] = 0x1p-8, [FILL_WHOLE] = 0 };

static inline double sum_slack(Build *b, const TsOpInfo *info, TsDtype elem, const TsTensor *in, uint32_t ni, const TsTensor *f64)
{
	TsTensor abs[16] = { 0 }, out[8] = { 0 };
	double u = elem == TS_F64 ? 0x1p-53 : 0x1p-24, most = 0, k = 1;
	bool sum = !strcmp(info->bound, "sum"), row = !strcmp(info->bound, "row");
	if (!sum && !row) return 0;
	for (uint32_t i = 0; i < ni; i++)
		if (in[i].count > k) k = (double)in[i].count;
	if (!strcmp(info->name, "matmul")) k = f64->count ? sqrt((double)in[0].count * (double)in[1].count / (double)f64->count) : 0; /* M K * K N / (M N) is K^2, more where both have a batch */
	for (uint32_t i = 0; sum && i < ni; i++) {
		ts_tensor_new(b->cx, "abs", in[i].elem, in[i].rank, in[i].dim, &abs[i]);
		for (int64_t j = 0; j < in[i].count && ts_dtype_is_float(in[i].elem); j++) ts_elem_set(in[i].elem, abs[i].data, j, fabs(ts_elem_get(in[i].elem, in[i].data, j)));
	}
	const TsTensor *largest = f64;
	if (sum && ts_eval(b->m, b->g, TS_EVAL_F64, abs, out)) largest = out;
	for (int64_t j = 0; j < largest->count && ts_dtype_is_float(largest->elem); j++) {
		double x = fabs(ts_elem_get(largest->elem, largest->data, j));
		if (isfinite(x) && x > most) most = x;
	}
	for (int i = 0; i < 16; i++) ts_tensor_free(&abs[i]);
	for (int i = 0; i < 8; i++) ts_tensor_free(&out[i]);
	return ((k + (row ? 32 : 8)) * u + per_product) * most;
}
