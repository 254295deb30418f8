/* Random graphs for differential tests. gen_graph(seed) always builds the same graph; with `noisy` it builds it once more with every
 * inexact value multiplied by 1 + u e (u even on -1..1, e the error its operator may make), so that running that graph in f64 shows how
 * far errors of the allowed size carry: the tolerance of a whole graph, cancellation and conditioning included. Integers and bools of a
 * graph never depend on rounded floats (comparisons, rounding, argmax take exact values only), so they compare bit for bit. */
#pragma once
#include "tests/unit/diff.h"

enum { GEN_POOL = 160, GEN_PARAMS = 28, GEN_DIMS = 5, GEN_MOST = 4000 /* elements of a value, about */ };

typedef struct { TsVal v; TsDtype t; int rank; TsDim dim[8]; int64_t size[8]; double mag; /* about the largest |x| */ bool exact, used; } Val;

typedef struct {
	Build b;
	TsBlock *block;          /* where nodes go: the graph's body or a loop's */
	bool noisy, rows;        /* rows: axis 0 of every value is the batch, no operator mixes its elements */
	TsVal key;               /* of the noise */
	uint32_t streams;
	int depth, loops;        /* loop nesting; loops made */
	Val pool[GEN_POOL];
	int n;
	int open;                /* pool values below this may be used; others belong to a loop body that is closed */
	TsDim dim[GEN_DIMS];
	int64_t size[GEN_DIMS];
	struct { int64_t below; double scale; bool row; } fill[GEN_PARAMS + 1];
	uint16_t (*cover)[TS_DTYPE_COUNT];
} Gen;

static const TsDtype gen_types[] = { TS_F32, TS_F64, TS_F16, TS_BF16, TS_INT64, TS_INT32, TS_BOOL };

static inline uint32_t gen_below(Gen *g, uint32_t n) { return rng_below(g->b.rng, n); }
static inline bool gen_once(Gen *g, uint32_t in) { return !rng_below(g->b.rng, in); }
static inline TsDim gen_const(Gen *g, int64_t v) { return ts_dim_const(g->b.m->dims, v); }

static inline double unit_of(TsDtype t) { return t == TS_F64 ? 0x1p-53 : t == TS_F16 ? 0x1p-11 : t == TS_BF16 ? 0x1p-8 : t == TS_F32 ? 0x1p-24 : 0x1p-3; }

/* ---- values ---- */

static inline int64_t gen_eval(Gen *g, TsDim d)
{
	int64_t syms[256] = { 0 }, v = 0;
	for (uint32_t s = 0; s < ts_dim_symbol_count(g->b.m->dims); s++) {
		const char *name = ts_dim_symbol_info(g->b.m->dims, s)->name;
		syms[s] = name[0] == 'N' || name[0] == 'B' ? atoll(name + 1) : 0;
	}
	ts_dim_eval(g->b.m->dims, d, syms, &v);
	return v;
}

static inline Val gen_val(Gen *g, TsVal v, double mag, bool exact)
{
	const TsType *ty = &ts_val(g->b.g, v)->type;
	Val x = { .v = v, .t = ty->elem, .rank = ty->rank, .mag = mag, .exact = exact };
	for (int i = 0; i < ty->rank; i++) x.size[i] = gen_eval(g, x.dim[i] = ty->dim[i]);
	return x;
}

static inline int64_t gen_count(const Val *x)
{
	int64_t n = 1;
	for (int i = 0; i < x->rank; i++) n *= x->size[i];
	return n;
}

/* x * (1 + amplitude * noise), in the noisy graph. Draws nothing from the graph's own random numbers. */
static inline TsVal gen_noise(Gen *g, TsVal v, double amplitude)
{
	const TsType ty = ts_val(g->b.g, v)->type;
	if (!g->noisy || !ts_dtype_is_float(ty.elem) || !ts_dtype_is_compute(ty.elem)) return v;
	TsAttr *a = build_attrs(&g->b, TS_OP_uniform);
	attr_dims(&g->b, build_attr(&g->b, a, TS_OP_uniform, "shape"), ty.rank, ty.dim);
	build_attr(&g->b, a, TS_OP_uniform, "dtype")->t = ty.elem;
	build_attr(&g->b, a, TS_OP_uniform, "low")->f = 1 - amplitude;
	build_attr(&g->b, a, TS_OP_uniform, "high")->f = 1 + amplitude;
	build_attr(&g->b, a, TS_OP_uniform, "stream")->i = (int64_t)g->streams++;
	TsNode *u = ts_add_op(g->b.m, g->b.g, g->block, TS_OP_uniform, 1, &g->key, a, &g->b.m->numerics, (TsSpan){ 0 });
	TsVal in[2] = { v, u->out[0] };
	return ts_add_op(g->b.m, g->b.g, g->block, TS_OP_mul, 2, in, NULL, &g->b.m->numerics, (TsSpan){ 0 })->out[0];
}

static inline void gen_push(Gen *g, Val x)
{
	if (x.v && g->n < GEN_POOL) g->pool[g->n++] = x;
}

static inline void gen_use(Gen *g, TsVal v)
{
	for (int i = 0; i < g->n; i++)
		if (g->pool[i].v == v) g->pool[i].used = true;
}

/* One more parameter. */
static inline Val gen_param(Gen *g, TsDtype t, int rank, const TsDim *dim)
{
	if (g->b.g->params.n >= GEN_PARAMS) return (Val){ 0 };
	g->fill[g->b.g->params.n].below = 0;
	g->fill[g->b.g->params.n].row = g->rows && rank && dim[0] == g->dim[0];
	return gen_val(g, build_param(&g->b, t, rank, dim), ts_dtype_is_float(t) ? 8 : t == TS_BOOL ? 1 : 8, true);
}

/* What a model has learnt: a literal tensor where the sizes are known, else a parameter. */
static inline Val gen_learnt(Gen *g, TsDtype t, int rank, const TsDim *dim)
{
	TsType ty = { .elem = t, .accum = TS_DTYPE_NONE, .rank = (uint8_t)rank };
	int64_t size[8];
	TsTensor x;
	bool known = gen_below(g, 2);
	for (int i = 0; i < rank; i++) known = known && ts_dim_is_const(g->b.m->dims, ty.dim[i] = dim[i], &size[i]);
	if (!known || !ts_tensor_new(g->b.cx, "literal", t, rank, size, &x)) return gen_param(g, t, rank, dim);
	fill_tensor(g->b.rng, &x, FILL_NORMAL, 0, false);
	void *data = ts_alloc(g->b.m->arena, (size_t)x.bytes + 1);
	memcpy(data, x.data, (size_t)x.bytes);
	TsVal v = ts_add_const(g->b.m, g->b.g, g->block, ty, data, (TsSpan){ 0 });
	ts_tensor_free(&x);
	return gen_val(g, v, 8, true);
}

/* The error that the operator may make beyond its operands', relative to its result, and on its operands (sums of `terms`). */
static inline double gen_amplitude(TsCtx *cx, TsOp op, TsDtype t)
{
	const char *bound = ts_op_info(cx, op)->bound;
	double ulps = !strncmp(bound, "ulp", 3) ? atof(bound + 3) : 4;
	if (!strcmp(bound, "rounded")) ulps = 1;
	return t == TS_F32 || t == TS_F64 ? ulps * unit_of(t) : unit_of(t) + ulps * 0x1p-24;
}

/* Adds an operator; mag: of the result. In the noisy graph the terms of sums move by their share of what (K + 8) 2^-24 allows
 * (ops.def, `sum`): each by sqrt(K) + 2 units, independently. */
static inline TsNode *gen_node(Gen *g, TsOp op, TsAttr *a, uint32_t nin, const Val *in, int64_t terms)
{
	TsVal v[8] = { 0 };
	TsOpClass cls = ts_op_info(g->b.cx, op)->cls;
	bool sums = cls == TS_CLS_CONTRACT || cls == TS_CLS_ATTENTION || cls == TS_CLS_ROW || op == TS_OP_sum || op == TS_OP_mean;
	for (uint32_t i = 0; i < nin; i++) {
		v[i] = in[i].v;
		if (!v[i] && i < ts_op_info(g->b.cx, op)->min_in) return NULL;
		gen_use(g, v[i]);
		if (sums && v[i]) v[i] = gen_noise(g, v[i], (sqrt((double)terms) + 2) * (in[i].t == TS_F64 ? 0x1p-53 : 0x1p-24));
	}
	TsNode *q = ts_add_op(g->b.m, g->b.g, g->block, op, nin, v, a, &g->b.m->numerics, (TsSpan){ 0 });
	TsVal typed = v[op == TS_OP_where]; /* the operand that says the operator's type; the result's where there is none */
	if (q) g->cover[op][ts_val(g->b.g, typed ? typed : q->out[0])->type.elem]++;
	return q;
}

static inline Val gen_op(Gen *g, TsOp op, TsAttr *a, uint32_t nin, const Val *in, double mag, int64_t terms)
{
	TsNode *q = gen_node(g, op, a, nin, in, terms);
	if (!q) return (Val){ 0 };
	bool exact = !strcmp(ts_op_info(g->b.cx, op)->bound, "exact");
	for (uint32_t i = 0; i < nin; i++)
		if (in[i].v && !in[i].exact) exact = false;
	TsDtype t = ts_val(g->b.g, q->out[0])->type.elem;
	if (!ts_dtype_is_float(t)) exact = true;
	bool rounds = strcmp(ts_op_info(g->b.cx, op)->bound, "exact") != 0;
	TsVal v = exact || !rounds ? q->out[0] : gen_noise(g, q->out[0], gen_amplitude(g->b.cx, op, t));
	return gen_val(g, v, t == TS_INT32 && mag > 2147483648.0 ? 2147483648.0 : t == TS_INT64 && mag > 9e18 ? 9e18 : mag, exact);
}

static inline Val gen_unary(Gen *g, TsOp op, Val x, double mag) { return gen_op(g, op, NULL, 1, &x, mag, 1); }
static inline Val gen_literal(Gen *g, TsDtype t, double v) { return gen_val(g, ts_add_scalar(g->b.m, g->b.g, g->block, t, v, (TsSpan){ 0 }), fabs(v), true); }

static inline Val gen_clamp(Gen *g, Val x, double most)
{
	if (!x.v || x.mag <= most) return x;
	Val in[3] = { x, gen_literal(g, x.t, -most), gen_literal(g, x.t, most) };
	return gen_op(g, TS_OP_clamp, NULL, 3, in, most, 1);
}

/* Something above 0.4, for logarithms and divisors. */
static inline Val gen_positive(Gen *g, Val x)
{
	Val in[2] = { gen_unary(g, TS_OP_abs, x, x.mag), gen_literal(g, x.t, 0.5) };
	return gen_op(g, TS_OP_add, NULL, 2, in, x.mag + 0.5, 1);
}

static inline Val gen_cast(Gen *g, Val x, TsDtype to)
{
	TsAttr *a = build_attrs(&g->b, TS_OP_cast);
	build_attr(&g->b, a, TS_OP_cast, "dtype")->t = to;
	if (!x.v || (!ts_dtype_is_float(to) && !x.exact)) return (Val){ 0 };
	if (ts_dtype_is_float(to)) x = x.t == TS_BOOL ? x : gen_clamp(g, x, ts_dtype_is_float(x.t) ? 1000 : 100);
	Val y = gen_op(g, TS_OP_cast, a, 1, &x, x.mag, 1);
	if (x.exact && !ts_dtype_is_float(x.t) && x.mag <= 128 && ts_dtype_is_compute(to)) y.exact = true;
	return y;
}

/* ---- shapes ---- */

static inline int gen_shape(Gen *g, int lo, int hi, TsDim *dim)
{
	int rank = lo + (int)gen_below(g, (uint32_t)(hi - lo + 1));
	int64_t left = GEN_MOST;
	for (int i = rank - 1; i >= 0; i--) {
		int k = g->rows && i == 0 ? 0 : (int)(g->rows + gen_below(g, (uint32_t)(GEN_DIMS - g->rows)));
		bool fits = g->size[k] <= left || (g->rows && i == 0);
		dim[i] = gen_once(g, 12) && !(g->rows && i == 0) ? gen_const(g, 1) : fits ? g->dim[k] : gen_const(g, 2);
		int64_t size = gen_eval(g, dim[i]);
		if (size) left /= size;
	}
	return rank;
}

/* A value of this type, from the pool or new. */
static inline Val gen_pick(Gen *g, TsDtype t, bool exact, int lo, int hi)
{
	if (g->rows && lo < 1) lo = 1;
	if (!gen_once(g, 4))
		for (int tries = 0; tries < 12 && g->n; tries++) {
			Val x = g->pool[tries < 4 ? g->n - 1 - (int)gen_below(g, g->n < 4 ? (uint32_t)g->n : 4) : (int)gen_below(g, (uint32_t)g->n)];
			if (x.rank < lo || x.rank > hi || (exact && !x.exact) || gen_count(&x) > 2 * GEN_MOST) continue;
			if (x.t != t) {
				if (tries < 6 || !ts_dtype_is_compute(t)) continue;
				x = gen_cast(g, x, t);
				if (!x.v || (exact && !x.exact)) continue;
			}
			return ts_dtype_is_float(t) ? gen_clamp(g, x, 300) : x;
		}
	TsDim dim[8];
	int rank = gen_shape(g, lo, hi < 4 ? hi : 4, dim);
	return gen_param(g, t, rank, dim);
}

/* A second operand that broadcasts against x: from the pool, a literal, or a new parameter with fewer axes or axes of 1. */
static inline Val gen_mate(Gen *g, Val x, TsDtype t, bool exact)
{
	if (!x.v) return x;
	for (int tries = 0; tries < 6 && g->n; tries++) {
		Val y = g->pool[gen_below(g, (uint32_t)g->n)];
		bool fits = y.t == t && y.rank <= x.rank && (!exact || y.exact) && !(g->rows && y.rank != x.rank);
		for (int i = 1; fits && i <= y.rank; i++)
			if (y.dim[y.rank - i] != x.dim[x.rank - i] && y.dim[y.rank - i] != gen_const(g, 1)) fits = false;
		if (fits) return ts_dtype_is_float(t) ? gen_clamp(g, y, 300) : y;
	}
	static const double odd[] = { 0.5, 2, -1, 3, 0, 0.125 };
	if (gen_once(g, 3)) return gen_literal(g, t, ts_dtype_is_float(t) ? odd[gen_below(g, 6)] : t == TS_BOOL ? gen_below(g, 2) : (double)gen_below(g, 5) - 1);
	TsDim dim[8];
	int drop = x.rank && gen_once(g, 2) ? (int)gen_below(g, (uint32_t)x.rank + 1) : 0;
	for (int i = drop; i < x.rank; i++) dim[i - drop] = gen_once(g, 5) && !(g->rows && i == 0) ? gen_const(g, 1) : x.dim[i];
	if (g->rows && drop == 0 && x.rank && x.dim[0] != g->dim[0]) return gen_literal(g, t, 1);
	return gen_param(g, t, x.rank - drop, dim);
}

/* ---- operators by family ---- */

static inline Val gen_pointwise(Gen *g, TsOp op, TsDtype t)
{
	bool f = ts_dtype_is_float(t), choosy = op == TS_OP_eq || op == TS_OP_ne || op == TS_OP_lt || op == TS_OP_le || op == TS_OP_gt || op == TS_OP_ge || op == TS_OP_floor || op == TS_OP_ceil || op == TS_OP_round;
	Val x = gen_pick(g, t, choosy, 0, 6), in[3] = { x };
	if (!x.v) return x;
	switch (op) {
	case TS_OP_cast: {
		TsDtype to = gen_types[gen_below(g, x.exact && x.mag < 1e9 ? 7 : 4)];
		return gen_cast(g, x, to);
	}
	case TS_OP_where:
		in[1] = x;
		in[0] = gen_mate(g, x, TS_BOOL, false);
		in[2] = gen_mate(g, x, t, false);
		return gen_op(g, op, NULL, 3, in, fmax(x.mag, in[2].mag), 1);
	case TS_OP_clamp:
		in[1] = gen_mate(g, x, t, false);
		in[2] = gen_mate(g, x, t, false);
		return gen_op(g, op, NULL, 3, in, fmax(in[1].mag, in[2].mag), 1);
	case TS_OP_exp: in[0] = gen_clamp(g, x, 8); return gen_unary(g, op, in[0], 3000);
	case TS_OP_sin: case TS_OP_cos: return gen_unary(g, op, gen_clamp(g, x, 30), 1);
	case TS_OP_log: case TS_OP_rsqrt: case TS_OP_sqrt: return gen_unary(g, op, gen_positive(g, x), 8);
	case TS_OP_pow:
		in[1] = gen_clamp(g, gen_mate(g, x, t, false), 3);
		in[0] = gen_positive(g, gen_clamp(g, x, 4));
		return gen_op(g, op, NULL, 2, in, 100, 1);
	case TS_OP_div:
		in[1] = gen_positive(g, gen_mate(g, x, t, false));
		return gen_op(g, op, NULL, 2, in, 2.5 * x.mag, 1);
	case TS_OP_mul: {
		in[1] = gen_mate(g, x, t, false);
		if (f) in[0] = gen_clamp(g, x, 16), in[1] = gen_clamp(g, in[1], 16);
		return gen_op(g, op, NULL, 2, in, in[0].mag * in[1].mag, 1);
	}
	case TS_OP_tanh: case TS_OP_erf: case TS_OP_sigmoid: return gen_unary(g, op, x, 1);
	case TS_OP_gelu: {
		TsAttr *a = build_attrs(&g->b, op);
		if (gen_below(g, 2)) a[0].s = ts_intern(g->b.cx, "none");
		return gen_op(g, op, a, 1, in, x.mag, 1);
	}
	default: break;
	}
	if (ts_op_info(g->b.cx, op)->nin == 1) return gen_unary(g, op, x, x.mag);
	in[1] = gen_mate(g, x, t, choosy);
	if (gen_once(g, 3) && in[1].rank == x.rank) { in[0] = in[1]; in[1] = x; }
	return gen_op(g, op, NULL, 2, in, op == TS_OP_add || op == TS_OP_sub ? x.mag + in[1].mag : fmax(in[0].mag, in[1].mag), 1);
}

static inline Val gen_reduce(Gen *g, TsOp op, TsDtype t)
{
	const TsOpInfo *info = ts_op_info(g->b.cx, op);
	int lo = g->rows;
	Val x = gen_pick(g, t, op == TS_OP_argmax, lo + 1, 6), in[3] = { x };
	if (!x.v) return x;
	TsAttr *a = build_attrs(&g->b, op);
	int64_t axis[8], terms = 1;
	uint32_t n = 0;
	for (int i = lo; i < x.rank; i++)
		if (gen_once(g, 2)) axis[n++] = i;
	if (!n) { axis[n++] = lo + (int64_t)gen_below(g, (uint32_t)(x.rank - lo)); }
	if (op == TS_OP_layer_norm || op == TS_OP_rms_norm) { n = 0; axis[n++] = x.rank - 1; }
	for (uint32_t i = 0; i < n; i++) terms *= x.size[axis[i]];
	if (!terms && (op == TS_OP_argmax || op == TS_OP_max || op == TS_OP_min || op == TS_OP_mean)) return (Val){ 0 }; /* of nothing: its own test */
	int at = ts_op_attr_index(info, "axis");
	if (at >= 0) attr_ints(&g->b, &a[at], n, axis);
	if (info->cls == TS_CLS_REDUCE) build_attr(&g->b, a, op, "keepdims")->i = gen_below(g, 2);
	for (int i = 1; i < info->nin; i++) in[i] = gen_once(g, 3) ? (Val){ 0 } : gen_learnt(g, t, 1, x.dim + x.rank - 1);
	if (info->nin > 1 && !in[1].v) in[2] = (Val){ 0 };
	if (op == TS_OP_softmax && gen_once(g, 3)) { /* far from 0, where exp needs the row's largest */
		Val far[2] = { x, gen_literal(g, t, gen_below(g, 2) ? 500 : -500) };
		in[0] = gen_op(g, TS_OP_add, NULL, 2, far, x.mag + 500, 1);
	}
	double mag = op == TS_OP_sum ? x.mag * (double)terms : op == TS_OP_argmax ? (double)terms : op == TS_OP_softmax ? 1 : info->cls == TS_CLS_ROW ? 40 : x.mag;
	if (ts_dtype_is_float(t) && mag > 30000) return (Val){ 0 };
	return gen_op(g, op, a, info->nin, in, mag, terms);
}

static inline Val gen_transpose(Gen *g, Val x, const int64_t *perm)
{
	TsAttr *a = build_attrs(&g->b, TS_OP_transpose);
	attr_ints(&g->b, &a[0], (uint32_t)x.rank, perm);
	return gen_op(g, TS_OP_transpose, a, 1, &x, x.mag, 1);
}

static inline Val gen_reshape(Gen *g, Val x, int rank, const TsDim *dim)
{
	TsAttr *a = build_attrs(&g->b, TS_OP_reshape);
	attr_dims(&g->b, &a[0], (uint32_t)rank, dim);
	return gen_op(g, TS_OP_reshape, a, 1, &x, x.mag, 1);
}

/* a @ b, b now and then through a transpose or of another type; then perhaps bias and activation. */
static inline Val gen_matmul(Gen *g, TsDtype t)
{
	static const int64_t wide[] = { 1, 3, 7, 16, 17, 31, 64, 65, 100, 128, 129 };
	Val a = gen_pick(g, t, false, 2, 4);
	if (!a.v) return a;
	int64_t k = a.size[a.rank - 1], m = gen_count(&a) / (k ? k : 1), n = wide[gen_below(g, 11)];
	while (n > 1 && (m * n > 2 * GEN_MOST || m * n * (k ? k : 1) > 400000)) n /= 2;
	bool turn = gen_below(g, 2), batched = a.rank == 3 && gen_once(g, 3), symbol = gen_once(g, 3);
	TsDim db[3], N = symbol ? build_dim(&g->b, n, true) : gen_const(g, n);
	db[0] = batched ? a.dim[0] : 0;
	db[1] = turn ? N : a.dim[a.rank - 1];
	db[2] = turn ? a.dim[a.rank - 1] : N;
	TsDtype other = ts_dtype_is_float(t) ? gen_types[gen_below(g, 4)] : gen_below(g, 2) ? TS_INT32 : TS_INT64;
	Val in[2] = { ts_dtype_is_float(t) ? gen_clamp(g, a, 20) : a, gen_learnt(g, gen_once(g, 3) ? other : t, batched ? 3 : 2, batched ? db : db + 1) };
	if (!in[1].v) return in[1];
	int64_t p3[] = { 0, 2, 1 }, p2[] = { 1, 0 };
	if (turn) in[1] = gen_transpose(g, in[1], batched ? p3 : p2);
	if (ts_dtype_is_float(t)) in[1].mag = 8;
	Val c = gen_op(g, TS_OP_matmul, NULL, 2, in, ts_dtype_is_float(t) ? 60 * sqrt((double)k + 1) : in[0].mag * in[1].mag * (double)(k + 1), k);
	if (!c.v || gen_once(g, 3)) return c;
	Val add[2] = { c, gen_learnt(g, t, 1, c.dim + c.rank - 1) };
	if (!add[1].v) return c;
	c = gen_op(g, TS_OP_add, NULL, 2, add, c.mag + 8, 1);
	static const TsOp act[] = { TS_OP_relu, TS_OP_gelu, TS_OP_tanh, TS_OP_silu };
	return gen_once(g, 2) ? c : gen_unary(g, act[ts_dtype_is_float(t) ? gen_below(g, 4) : 0], c, c.mag);
}

static inline Val gen_heads(Gen *g, TsDtype t, TsDim B, TsDim S, int64_t H, int64_t D)
{
	TsDim split[4] = { B, S, gen_const(g, H), gen_const(g, D) }, joined[3] = { B, S, gen_const(g, H * D) }, direct[4] = { B, gen_const(g, H), S, gen_const(g, D) };
	int64_t perm[4] = { 0, 2, 1, 3 };
	if (gen_below(g, 2)) return gen_param(g, t, 4, direct);
	Val x = gen_param(g, t, 3, joined);
	if (!x.v) return x;
	return gen_transpose(g, gen_reshape(g, x, 4, split), perm);
}

static inline Val gen_attention(Gen *g, TsDtype t)
{
	static const int64_t ds[] = { 1, 8, 17, 32, 64 };
	int64_t G = 1 + gen_below(g, 2), H = G * (1 + (int64_t)gen_below(g, 3)), D = ds[gen_below(g, 5)];
	int s = g->rows + (int)gen_below(g, (uint32_t)(GEN_DIMS - g->rows)), u = g->rows + (int)gen_below(g, (uint32_t)(GEN_DIMS - g->rows));
	TsDim B = g->rows ? g->dim[0] : gen_const(g, 1 + gen_below(g, 2)), S = g->dim[s], T = g->dim[u], one = gen_const(g, 1);
	if (g->size[s] * g->size[u] > 6000 || g->size[s] * H * D > 3 * GEN_MOST || g->size[u] * H * D > 3 * GEN_MOST) S = T = gen_const(g, 19);
	Val in[7] = { gen_heads(g, t, B, S, H, D), gen_heads(g, t, B, T, G, D), gen_heads(g, t, B, T, G, D) };
	TsAttr *a = build_attrs(&g->b, TS_OP_attention);
	TsDim mask[4] = { gen_once(g, 2) ? B : one, one, gen_once(g, 2) ? S : one, T }, bias[4] = { one, gen_const(g, H), S, T };
	int cut[2] = { gen_once(g, 2) ? (int)gen_below(g, 5) : 0, gen_once(g, 2) ? (int)gen_below(g, 5) : 0 }; /* leading axes left out */
	if (gen_once(g, 2)) in[3] = gen_param(g, TS_BOOL, 4 - cut[0], mask + cut[0]);
	if (gen_once(g, 3)) in[4] = gen_param(g, t, 4 - cut[1], bias + cut[1]);
	if (gen_once(g, 4)) in[5] = gen_literal(g, TS_INT64, gen_below(g, 6));
	if (gen_once(g, 4)) in[6] = gen_param(g, t, 0, NULL);
	build_attr(&g->b, a, TS_OP_attention, "causal")->i = gen_below(g, 2);
	if (gen_once(g, 3)) build_attr(&g->b, a, TS_OP_attention, "window")->i = 1 + (int64_t)gen_below(g, 70);
	if (gen_once(g, 4)) build_attr(&g->b, a, TS_OP_attention, "scale")->f = 0.25;
	return gen_op(g, TS_OP_attention, a, 7, in, 8, gen_eval(g, T) + D);
}

static inline Val gen_view_reshape(Gen *g, Val x)
{
	TsDim dim[8];
	int n = 0, lo = g->rows, how = (int)gen_below(g, 4), at = x.rank > lo ? lo + (int)gen_below(g, (uint32_t)(x.rank - lo)) : -1;
	int64_t c;
	if (how == 0) { /* flat */
		for (int i = 0; i < lo; i++) dim[n++] = x.dim[i];
		TsDim all = gen_const(g, 1);
		for (int i = lo; i < x.rank; i++) all = ts_dim_mul(g->b.m->dims, all, x.dim[i]);
		dim[n++] = all;
		return gen_reshape(g, x, n, dim);
	}
	for (int i = 0; i < x.rank; i++) {
		if (i == at && how == 1 && x.rank < 6) dim[n++] = gen_const(g, 1);
		if (i == at && how == 2 && i + 1 < x.rank) { dim[n++] = ts_dim_mul(g->b.m->dims, x.dim[i], x.dim[i + 1]); i++; continue; }
		if (i == at && how == 3 && x.rank < 6 && ts_dim_is_const(g->b.m->dims, x.dim[i], &c) && c > 1) {
			int64_t f = c % 2 == 0 ? 2 : c % 3 == 0 ? 3 : c;
			dim[n++] = gen_const(g, f);
			dim[n++] = gen_const(g, c / f);
			continue;
		}
		dim[n++] = x.dim[i];
	}
	return gen_reshape(g, x, n, dim);
}

static inline Val gen_slice(Gen *g, Val x)
{
	TsDim start[8], stop[8];
	int64_t step[8];
	TsAttr *a = build_attrs(&g->b, TS_OP_slice);
	for (int i = 0; i < x.rank; i++) {
		int64_t lo = x.size[i] ? (int64_t)gen_below(g, (uint32_t)x.size[i]) : 0, hi = lo + (int64_t)gen_below(g, (uint32_t)(x.size[i] - lo) + 1);
		bool whole = (g->rows && !i) || gen_once(g, 2), end = gen_once(g, 3) || hi == x.size[i];
		start[i] = gen_const(g, whole ? 0 : lo);
		stop[i] = whole || end ? x.dim[i] : gen_const(g, hi);
		step[i] = whole ? 1 : 1 + (int64_t)gen_below(g, 2);
	}
	attr_dims(&g->b, build_attr(&g->b, a, TS_OP_slice, "start"), (uint32_t)x.rank, start);
	attr_dims(&g->b, build_attr(&g->b, a, TS_OP_slice, "stop"), (uint32_t)x.rank, stop);
	attr_ints(&g->b, build_attr(&g->b, a, TS_OP_slice, "step"), (uint32_t)x.rank, step);
	return gen_op(g, TS_OP_slice, a, 1, &x, x.mag, 1);
}

static inline Val gen_split(Gen *g, Val x)
{
	TsAttr *a = build_attrs(&g->b, TS_OP_split);
	int at = -1, n = 2 + (int)gen_below(g, 2);
	for (int i = g->rows; i < x.rank; i++)
		if (ts_dim_divides(g->b.m->dims, n, x.dim[i]) == TS_YES && x.size[i]) at = i;
	if (at < 0) {
		TsDim dim[8];
		if (!x.rank || (g->rows && x.rank < 2)) return (Val){ 0 };
		memcpy(dim, x.dim, sizeof dim);
		at = x.rank - 1;
		TsDim parts = ts_dim_mul(g->b.m->dims, x.dim[at], gen_const(g, n)), start[8] = { 0 };
		bool inside = gen_below(g, 2); /* bytes that don't begin where the parameter's do */
		dim[at] = ts_dim_add(g->b.m->dims, parts, gen_const(g, inside ? 3 : 0));
		x = gen_param(g, x.t, x.rank, dim);
		if (!x.v) return x;
		if (inside) {
			TsAttr *cut = build_attrs(&g->b, TS_OP_slice);
			start[at] = gen_const(g, 3);
			attr_dims(&g->b, build_attr(&g->b, cut, TS_OP_slice, "start"), (uint32_t)x.rank, start);
			attr_dims(&g->b, build_attr(&g->b, cut, TS_OP_slice, "stop"), (uint32_t)x.rank, dim);
			x = gen_op(g, TS_OP_slice, cut, 1, &x, x.mag, 1);
		}
	}
	build_attr(&g->b, a, TS_OP_split, "n")->i = n;
	build_attr(&g->b, a, TS_OP_split, "axis")->i = at;
	TsNode *q = gen_node(g, TS_OP_split, a, 1, &x, 1);
	if (!q) return (Val){ 0 };
	for (int i = 1; i < n; i++) gen_push(g, gen_val(g, q->out[i], x.mag, x.exact));
	return gen_val(g, q->out[0], x.mag, x.exact);
}

/* A cheap operator of one operand that any type has. */
static inline Val gen_some(Gen *g, Val x)
{
	if (!x.v) return x;
	if (x.t == TS_BOOL) return gen_unary(g, TS_OP_not, x, 1);
	return gen_unary(g, gen_below(g, 2) ? TS_OP_neg : TS_OP_abs, x, x.mag);
}

static inline Val gen_moved(Gen *g, TsOp op, TsDtype t, Val x)
{
	TsAttr *a = build_attrs(&g->b, op);
	int lo = g->rows;
	switch (op) {
	case TS_OP_reshape: return gen_view_reshape(g, x);
	case TS_OP_slice: return gen_slice(g, x);
	case TS_OP_split: return gen_split(g, x);
	case TS_OP_transpose: {
		int64_t p[8];
		for (int i = 0; i < x.rank; i++) p[i] = i;
		for (int i = x.rank - 1; i > lo; i--) { int j = lo + (int)gen_below(g, (uint32_t)(i + 1 - lo)); int64_t s = p[i]; p[i] = p[j]; p[j] = s; }
		return gen_transpose(g, x, p);
	}
	case TS_OP_broadcast: {
		TsDim to[8];
		int n = 0;
		if (!g->rows && x.rank < 5 && gen_count(&x) <= GEN_MOST) to[n++] = gen_const(g, 2 + gen_below(g, 2));
		for (int i = 0; i < x.rank; i++) to[n++] = x.dim[i] == gen_const(g, 1) && i >= lo && gen_count(&x) < 500 ? gen_const(g, 5) : x.dim[i];
		attr_dims(&g->b, &a[0], (uint32_t)n, to);
		return gen_op(g, op, a, 1, &x, x.mag, 1);
	}
	case TS_OP_concat: {
		int axis = lo + (int)gen_below(g, (uint32_t)(x.rank - lo)), n = 2 + (int)gen_below(g, 2);
		TsDim dim[8];
		memcpy(dim, x.dim, sizeof dim);
		dim[axis] = gen_once(g, 2) ? gen_const(g, 1 + gen_below(g, 9)) : g->dim[lo + (int)gen_below(g, (uint32_t)(GEN_DIMS - lo))];
		Val in[3] = { x, gen_param(g, t, x.rank, dim), x };
		if (!in[1].v) return in[1];
		for (int i = 0; i < g->n; i++) /* a value of the pool that fits instead */
			if (g->pool[i].t == t && g->pool[i].rank == x.rank && g->pool[i].v != x.v) {
				bool fits = true;
				for (int k = 0; k < x.rank; k++) fits = fits && (k == axis || g->pool[i].dim[k] == x.dim[k]);
				if (fits) in[2] = g->pool[i];
			}
		if (gen_once(g, 2)) { in[0] = in[1]; in[1] = x; }
		build_attr(&g->b, a, op, "axis")->i = axis;
		return gen_op(g, op, a, (uint32_t)n, in, fmax(x.mag, fmax(8, in[2].mag)), 1);
	}
	default: { /* pad */
		TsDim before[8], after[8];
		for (int i = 0; i < x.rank; i++) {
			before[i] = gen_const(g, i < lo ? 0 : gen_below(g, 3));
			after[i] = gen_const(g, i < lo ? 0 : gen_below(g, 3));
		}
		attr_dims(&g->b, build_attr(&g->b, a, op, "before"), (uint32_t)x.rank, before);
		attr_dims(&g->b, build_attr(&g->b, a, op, "after"), (uint32_t)x.rank, after);
		build_attr(&g->b, a, op, "value")->f = gen_below(g, 2);
		return gen_op(g, op, a, 1, &x, fmax(x.mag, 1), 1);
	}
	}
}

/* Now and then with pointwise work on both sides that nothing else uses: one kernel computes through the view. */
static inline Val gen_move(Gen *g, TsOp op, TsDtype t)
{
	Val x = gen_pick(g, t, false, 1 + g->rows, 5);
	if (!x.v) return x;
	return gen_once(g, 3) ? gen_some(g, gen_moved(g, op, t, gen_some(g, x))) : gen_moved(g, op, t, x);
}

/* Integers to index with: a new parameter around 0..below, or what the graph has. */
static inline Val gen_ids(Gen *g, int64_t below, int64_t room, bool row)
{
	TsDtype t = gen_below(g, 2) ? TS_INT64 : TS_INT32;
	for (int i = 0; i < g->n && !g->rows && gen_once(g, 2); i++)
		if (g->pool[i].t == t && g->pool[i].rank <= 3 && gen_count(&g->pool[i]) <= room) return g->pool[i];
	TsDim dim[2] = { row ? g->dim[0] : gen_const(g, 1 + gen_below(g, room < 9 ? (uint32_t)room : 9)), gen_const(g, 1 + gen_below(g, 3)) };
	Val x = gen_param(g, t, row ? 2 : room < 9 ? 1 : (int)gen_below(g, 3), dim);
	if (x.v) g->fill[g->b.g->params.n - 1].below = below;
	if (x.v) x.mag = (double)below + 2;
	return x;
}

static inline Val gen_gather(Gen *g, TsOp op, TsDtype t)
{
	if (op == TS_OP_embedding || g->rows) { /* a table that all rows share */
		TsDim dim[2] = { gen_const(g, 3 + gen_below(g, 40)), gen_const(g, 1 + gen_below(g, 70)) };
		Val in[2] = { gen_learnt(g, t, 2, dim) };
		if (!in[0].v) return in[0];
		in[1] = gen_ids(g, in[0].size[0], 60, g->rows);
		return gen_op(g, op, NULL, 2, in, in[0].mag, 1);
	}
	Val in[2] = { gen_pick(g, t, false, 1, 4) };
	if (!in[0].v) return in[0];
	int axis = (int)gen_below(g, (uint32_t)in[0].rank);
	TsAttr *a = build_attrs(&g->b, op);
	build_attr(&g->b, a, op, "axis")->i = axis;
	int64_t per = gen_count(&in[0]) / (in[0].size[axis] ? in[0].size[axis] : 1);
	in[1] = gen_ids(g, in[0].size[axis], 1 + GEN_MOST / (per + 1), false);
	return gen_op(g, op, a, 2, in, in[0].mag, 1);
}

static inline Val gen_make(Gen *g, TsOp op, TsDtype t)
{
	TsAttr *a = build_attrs(&g->b, op);
	TsDim n = op == TS_OP_iota ? g->dim[gen_below(g, GEN_DIMS)] : gen_const(g, 1 + gen_below(g, 20));
	TsAttr *count = build_attr(&g->b, a, op, "n");
	count->dims = ts_memdup(g->b.m->arena, &n, sizeof n);
	count->n = 1;
	if (op == TS_OP_iota) {
		build_attr(&g->b, a, op, "dtype")->t = t;
		return gen_op(g, op, a, 0, NULL, 130, 1);
	}
	Val x = gen_pick(g, t, false, 0, 3);
	if (!x.v || gen_count(&x) > 400) return (Val){ 0 };
	build_attr(&g->b, a, op, "dtype")->t = gen_types[gen_below(g, 6)];
	return gen_op(g, op, a, 1, &x, 1, 1);
}

static inline Val gen_random(Gen *g, TsOp op, TsDtype t)
{
	TsDim dim[8], two = gen_const(g, 2);
	TsAttr *a = build_attrs(&g->b, op);
	Val key = gen_param(g, TS_INT64, 1, &two);
	int rank = gen_shape(g, 0, 3, dim);
	attr_dims(&g->b, build_attr(&g->b, a, op, "shape"), (uint32_t)rank, dim);
	build_attr(&g->b, a, op, "dtype")->t = t;
	build_attr(&g->b, a, op, "stream")->i = 60000 + (int64_t)gen_below(g, 50);
	if (op == TS_OP_randint) { build_attr(&g->b, a, op, "low")->i = -5; build_attr(&g->b, a, op, "high")->i = 90; }
	Val y = gen_op(g, op, a, 1, &key, op == TS_OP_randint ? 90 : 6, 1);
	if (y.v) g->cover[op][t]++;
	return y;
}

static inline Val gen_any(Gen *g, TsOp op, TsDtype t);

static inline Val gen_softmax(Gen *g, Val x)
{
	return gen_op(g, TS_OP_softmax, NULL, 1, &x, 1, x.rank ? x.size[x.rank - 1] : 1);
}

/* A compile-time loop: carries a value of type t (and perhaps another), computes with what lies outside and with its variable, and
 * emits. Two to five operators in the body. */
static inline Val gen_for(Gen *g, TsDtype t)
{
	static const TsOp steps[] = { TS_OP_add, TS_OP_sub, TS_OP_maximum, TS_OP_minimum, TS_OP_where, TS_OP_mul };
	TsFor *f = TS_NEW(g->b.m->arena, TsFor);
	bool f_ = ts_dtype_is_float(t);
	f->lo = (int64_t)gen_below(g, 3);
	f->step = 1 + (int64_t)gen_below(g, 2);
	f->hi = f->lo + (int64_t)gen_below(g, 5) * f->step + (f->step > 1 && gen_once(g, 2));
	f->ncarry = 1 + gen_below(g, 2);
	if (g->depth || g->loops > 2 || t == TS_BOOL) return (Val){ 0 };
	Val init[2] = { gen_pick(g, t, false, 0, 3), { 0 } };
	if (f->ncarry == 2) init[1] = gen_pick(g, t, false, 0, 3);
	if (!init[0].v || (f->ncarry == 2 && !init[1].v) || gen_count(&init[0]) > 3000) return (Val){ 0 };
	/* Some bodies start with a value made before the loop that nothing else uses, and make values of their own after that: its bytes
	 * must last from turn to turn. */
	bool outer_used = f_ && init[0].rank && !g->rows && gen_below(g, 2);
	Val outer = outer_used ? gen_softmax(g, gen_clamp(g, init[0], 300)) : (Val){ 0 };
	TsVal in[2] = { init[0].v, init[1].v };
	char *var = ts_printf(g->b.m->arena, "i%d", g->loops++);
	f->var = ts_intern(g->b.cx, var);
	f->symbol = ts_dim_symbol(g->b.m->dims, (TsDimSym){ f->var, f->lo, f->hi > f->lo ? f->hi - 1 : f->lo, 1, { 0 } });
	for (uint32_t i = 0; i < f->ncarry; i++) gen_use(g, in[i]);
	TsNode *n = ts_node_new(g->b.m, g->b.g, TS_OP_for, f->ncarry, in, 0);
	n->attr = ts_attrs_new(g->b.m, TS_OP_for);
	n->loop = f;
	n->num = &g->b.m->numerics;
	TsBlock *outside = g->block;
	int before = g->n;
	g->block = &f->body;
	g->depth++;
	Val cur[2] = { 0 };
	for (uint32_t i = 0; i < f->ncarry; i++) {
		TsVal v = g->b.g->vals.n;
		ts_push(g->b.m->arena, &g->b.g->vals, (TsValue){ .type = ts_val(g->b.g, in[i])->type, .name = ts_intern_fmt(g->b.cx, "%s_c%u", var, i) });
		ts_push(g->b.m->arena, &f->body.args, v);
		cur[i] = gen_val(g, v, init[i].mag, false);
		cur[i].exact = !f_;
	}
	TsVal first[2] = { cur[0].v, f->ncarry == 2 ? cur[1].v : 0 };
	int nsteps = 1 + (int)gen_below(g, 4);
	Val emitted = { 0 };
	if (outer.v) {
		Val sum[2] = { cur[0], outer };
		Val one = gen_softmax(g, gen_clamp(g, gen_op(g, TS_OP_add, NULL, 2, sum, cur[0].mag + 1, 1), 300));
		cur[0] = gen_unary(g, TS_OP_neg, gen_softmax(g, gen_unary(g, TS_OP_neg, one, 1)), 1);
	}
	for (int s = 0; s < nsteps; s++) {
		uint32_t c = gen_below(g, f->ncarry);
		TsOp op = steps[gen_below(g, f_ ? 6 : 5)];
		Val pair[3] = { cur[c], gen_mate(g, cur[c], t, false) };
		if (gen_once(g, 3)) { /* the variable as a number */
			Val iv = gen_val(g, ts_add_dim(g->b.m, g->b.g, g->block, f->symbol, (TsSpan){ 0 }), 12, true);
			if (t != TS_INT64) iv = gen_cast(g, iv, t);
			pair[1] = iv;
		}
		if (!pair[1].v) continue;
		for (int i = 1; i <= pair[1].rank; i++) /* the carried shape stays */
			if (pair[1].dim[pair[1].rank - i] != cur[c].dim[cur[c].rank - i] && pair[1].dim[pair[1].rank - i] != gen_const(g, 1)) pair[1].v = 0;
		if (!pair[1].v) continue;
		if (op == TS_OP_where) {
			pair[2] = pair[1];
			pair[1] = pair[0];
			pair[0] = gen_mate(g, cur[c], TS_BOOL, false);
			if (!pair[0].v) continue;
			cur[c] = gen_op(g, op, NULL, 3, pair, pair[1].mag + pair[2].mag, 1);
		} else {
			cur[c] = gen_op(g, op, NULL, 2, pair, op == TS_OP_mul ? pair[0].mag * pair[1].mag : pair[0].mag + pair[1].mag, 1);
		}
		if (f_ && gen_once(g, 2)) cur[c] = gen_unary(g, gen_once(g, 2) ? TS_OP_tanh : TS_OP_sigmoid, cur[c], 1);
		if (!cur[c].v) { g->block = outside; g->depth--; g->n = before; return (Val){ 0 }; }
		gen_push(g, cur[c]);
		if (gen_once(g, 3)) emitted = cur[c];
		if (f_ && gen_once(g, 4) && cur[c].rank > g->rows && !g->rows) {
			Val r = gen_reduce(g, TS_OP_softmax, t);
			if (r.v) emitted = r;
		}
	}
	for (uint32_t i = 0; i < f->ncarry; i++) {
		if (f_ && cur[i].v != first[i]) cur[i] = gen_unary(g, TS_OP_tanh, cur[i], 1); /* does not grow with the iterations */
		if (f_ && cur[i].v == first[i] && f->ncarry == 2 && cur[!i].v == first[!i] && ts_type_eq(&ts_val(g->b.g, first[0])->type, &ts_val(g->b.g, first[1])->type) && !i) { Val s = cur[0]; cur[0] = cur[1]; cur[1] = s; }
		ts_push(g->b.m->arena, &f->body.results, cur[i].v);
	}
	bool emits = emitted.v && !g->rows;
	if (emits) ts_push(g->b.m->arena, &f->body.results, emitted.v);
	g->block = outside;
	g->depth--;
	g->n = before;           /* values of the body end with it */
	n->nout = f->body.results.n;
	n->out = TS_NEW_N(g->b.m->arena, TsVal, n->nout);
	for (uint32_t i = 0; i < n->nout; i++) {
		n->out[i] = g->b.g->vals.n;
		ts_push(g->b.m->arena, &g->b.g->vals, (TsValue){ .type = { .elem = TS_DTYPE_NONE, .accum = TS_DTYPE_NONE }, .def = n, .index = i });
	}
	if (!ts_infer(g->b.m, g->b.g, n)) return (Val){ 0 };
	ts_push(g->b.m->arena, &g->block->nodes, n);
	g->cover[TS_OP_for][t]++;
	for (uint32_t i = 1; i < n->nout; i++) gen_push(g, gen_val(g, n->out[i], i < f->ncarry ? fmax(1, init[i].mag) * (f_ ? 1 : 1e6) : f_ ? emitted.mag : 1e6, !f_));
	return gen_val(g, n->out[0], fmax(1, init[0].mag) * (f_ ? 1 : 1e6), !f_);
}

static inline Val gen_any(Gen *g, TsOp op, TsDtype t)
{
	switch (ts_op_info(g->b.cx, op)->cls) {
	case TS_CLS_POINTWISE: return gen_pointwise(g, op, t);
	case TS_CLS_REDUCE: case TS_CLS_ROW: return gen_reduce(g, op, t);
	case TS_CLS_CONTRACT: return gen_matmul(g, t);
	case TS_CLS_ATTENTION: return gen_attention(g, t);
	case TS_CLS_GATHER: return gen_gather(g, op, t);
	case TS_CLS_RANDOM: return gen_random(g, op, t);
	case TS_CLS_CONTROL: return gen_for(g, t);
	default: return op == TS_OP_iota || op == TS_OP_one_hot ? gen_make(g, op, t) : gen_move(g, op, t);
	}
}

/* ---- whole graphs ---- */

typedef struct { TsOp op; TsDtype t; } GenPair;

/* Every operator with a CPU schedule x compute type that it takes. */
static inline int gen_pairs(TsCtx *cx, GenPair *pair)
{
	int n = 0;
	for (TsOp op = (TsOp)1; op < TS_OP_COUNT; op = (TsOp)(op + 1)) {
		const TsOpInfo *info = ts_op_info(cx, op);
		if (info->cls == TS_CLS_LEAF || info->cls == TS_CLS_NONE || (info->cls == TS_CLS_CONTROL && op != TS_OP_for)) continue;
		for (size_t i = 0; i < sizeof gen_types / sizeof *gen_types; i++) {
			TsDtype t = gen_types[i];
			uint32_t set = ts_dtype_is_float(t) ? TS_T_FLOAT : t == TS_BOOL ? TS_T_BOOL : TS_T_INT, takes = info->types;
			if (info->cls == TS_CLS_RANDOM) takes = op == TS_OP_randint ? TS_T_INT : TS_T_FLOAT;
			if (op == TS_OP_for) takes = TS_T_NUM;
			if (takes & set) pair[n++] = (GenPair){ op, t };
		}
	}
	return n;
}

/* A size that no parameter shows gets one that does. */
static inline void gen_bind_all(Gen *g)
{
	for (int d = 0; d < GEN_DIMS; d++) {
		bool seen = ts_dim_is_const(g->b.m->dims, g->dim[d], &(int64_t){ 0 });
		for (uint32_t i = 0; i < g->b.g->params.n; i++) {
			const TsType *t = &ts_val(g->b.g, g->b.g->params.p[i])->type;
			for (int k = 0; k < t->rank; k++) seen |= t->dim[k] == g->dim[d];
		}
		if (!seen) {
			g->fill[g->b.g->params.n].below = 0;
			g->fill[g->b.g->params.n].row = g->rows && d == 0;
			build_param(&g->b, TS_BOOL, 1, &g->dim[d]);
		}
	}
}

/* The graph of a seed: `must` operators, each with others around it, then results: everything unused, and some that are used, a
 * parameter, or the same value twice. */
static inline bool gen_graph(Gen *g, Rng *rng, bool noisy, bool rows, const GenPair *must, int nmust, uint16_t (*cover)[TS_DTYPE_COUNT])
{
	static const int64_t sizes[] = { 1, 2, 3, 5, 7, 8, 13, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129 };
	static const TsOp others[] = { TS_OP_add, TS_OP_mul, TS_OP_tanh, TS_OP_reshape, TS_OP_transpose, TS_OP_slice, TS_OP_concat, TS_OP_where, TS_OP_sub, TS_OP_sum, TS_OP_cast, TS_OP_pad, TS_OP_broadcast, TS_OP_softmax, TS_OP_matmul, TS_OP_relu };
	memset(g, 0, sizeof *g);
	g->b = build_begin(rng);
	g->block = &g->b.g->body;
	g->cover = cover;
	g->rows = rows;
	g->noisy = noisy;
	for (int i = 0; i < GEN_DIMS; i++) {
		g->size[i] = gen_once(g, 40) && !rows ? 0 : sizes[gen_below(g, sizeof sizes / sizeof *sizes)];
		if (i < 2 && g->size[i] > 40) g->size[i] = 4;
		g->dim[i] = build_dim(&g->b, g->size[i], gen_once(g, 3));
	}
	if (rows) {
		g->size[0] = 3;
		g->dim[0] = ts_dim_symbol(g->b.m->dims, (TsDimSym){ ts_intern(g->b.cx, "B3"), 0, INT64_MAX, 1, { 0 } });
	}
	TsDim two = gen_const(g, 2);
	if (noisy) g->key = ts_add_param(g->b.m, g->b.g, ts_intern(g->b.cx, "noise"), (TsType){ .elem = TS_INT64, .accum = TS_DTYPE_NONE, .rank = 1, .dim = { two } }, (TsSpan){ 0 });
	if (noisy) g->b.g->params.n = 0; /* it comes last */
	for (int i = 0; i < nmust; i++) {
		bool done = false;
		for (int tries = 0; tries < 6 && !done; tries++) {
			Val y = gen_any(g, must[i].op, must[i].t);
			done = y.v != 0;
			gen_push(g, y);
		}
		for (uint32_t extra = gen_below(g, 3); extra; extra--) {
			TsDtype t = must[i].t;
			TsOp op = others[gen_below(g, sizeof others / sizeof *others)];
			bool f = ts_dtype_is_float(t);
			uint32_t takes = ts_op_info(g->b.cx, op)->types, set = f ? TS_T_FLOAT : t == TS_BOOL ? TS_T_BOOL : TS_T_INT;
			if (takes & set) gen_push(g, gen_any(g, op, t));
		}
		if (ts_error_count(g->b.cx)) return false;
	}
	uint32_t n = 0;
	Val whole = gen_once(g, 4) && !rows ? gen_some(g, gen_pick(g, gen_types[gen_below(g, 7)], false, 1, 4)) : (Val){ 0 };
	if (whole.v) { /* two results that are views of the same bytes, at different places */
		TsDim all = ts_type_count(g->b.m, &ts_val(g->b.g, whole.v)->type);
		Val flat = gen_reshape(g, whole, 1, &all), cut = gen_slice(g, whole);
		gen_push(g, flat);
		gen_push(g, cut);
		if (flat.v) build_result(&g->b, flat.v);
		if (cut.v) build_result(&g->b, cut.v);
		gen_use(g, flat.v);
		gen_use(g, cut.v);
	}
	for (int i = g->n - 1; i >= 0 && n < 6; i--)
		if (!g->pool[i].used || gen_once(g, 10)) { build_result(&g->b, g->pool[i].v); n++; }
	if (g->n && gen_once(g, 6)) build_result(&g->b, g->pool[gen_below(g, (uint32_t)g->n)].v);
	if (g->b.g->params.n && gen_once(g, 8) && !rows) build_result(&g->b, g->b.g->params.p[gen_below(g, g->b.g->params.n)]);
	gen_bind_all(g);
	if (g->noisy) ts_push(g->b.m->arena, &g->b.g->params, g->key);
	return g->b.g->body.results.n > 0;
}
