/* Differential testing: a graph built in C, its meaning by the reference interpreter (f64 and declared types), its compiled artifact
 * loaded and run through the C ABI, both compared. Every test program that includes this is self-contained and seeded. */
#pragma once
#include "include/tessera/tessera.h"
#include "ir/interp.h"
#include "tests/unit/device.h"
#include "tsc/pipeline.h"
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- numbers ---- */

typedef struct { uint64_t s; } Rng;
static inline uint64_t rng_next(Rng *r)
{
	uint64_t z = (r->s += 0x9e3779b97f4a7c15u);
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}
static inline uint32_t rng_below(Rng *r, uint32_t n) { return (uint32_t)(rng_next(r) % n); }
static inline double rng_unit(Rng *r) { return (double)(rng_next(r) >> 11) * 0x1p-53; }
static inline double rng_normal(Rng *r) { return sqrt(-2 * log(rng_unit(r) + 1e-300)) * cos(6.283185307179586 * rng_unit(r)); }

/* ---- building ---- */

typedef struct { TsCtx *cx; TsModule *m; TsGraph *g; Rng *rng; } Build;

static inline Build build_begin(Rng *rng)
{
	Build b = { .cx = ts_ctx_new(), .rng = rng };
	b.m = ts_module_new(b.cx);
	b.m->name = ts_intern(b.cx, "model");
	b.g = ts_graph_new(b.m, ts_intern(b.cx, "f"));
	ts_push(b.m->arena, &b.m->graphs, b.g);
	return b;
}

/* A size: a literal, or, now and then, a symbol of the graph that will have that value. */
static inline TsDim build_dim(Build *b, int64_t v, bool symbolic)
{
	if (!symbolic) return ts_dim_const(b->m->dims, v);
	TsSym name = ts_intern_fmt(b->cx, "N%lld", (long long)v);
	return ts_dim_symbol(b->m->dims, (TsDimSym){ name, 0, INT64_MAX, 1, { 0 } });
}

static inline TsVal build_param(Build *b, TsDtype e, int rank, const TsDim *dim)
{
	TsType t = { .elem = e, .accum = TS_DTYPE_NONE, .rank = (uint8_t)rank };
	memcpy(t.dim, dim, (size_t)rank * sizeof *dim);
	return ts_add_param(b->m, b->g, ts_intern_fmt(b->cx, "x%u", b->g->params.n), t, (TsSpan){ 0 });
}

/* The operator's attributes at their defaults, in arena memory. */
static inline TsAttr *build_attrs(Build *b, TsOp op)
{
	const TsOpInfo *info = ts_op_info(b->cx, op);
	TsAttr *a = TS_NEW_N(b->m->arena, TsAttr, info->nattr + 1u);
	for (int i = 0; i < info->nattr; i++) {
		a[i].kind = info->attr[i].kind;
		a[i].none = info->attr[i].none_default || info->attr[i].required;
		a[i].f = info->attr[i].num;
		a[i].i = (int64_t)info->attr[i].num;
		a[i].t = TS_DTYPE_NONE;
		if (info->attr[i].kind == TS_A_ENUM) a[i].s = ts_intern(b->cx, info->attr[i].text);
		if (info->attr[i].kind == TS_A_DTYPE && !a[i].none) ts_dtype_find(info->attr[i].text, &a[i].t);
		if (info->attr[i].kind == TS_A_INTS && !a[i].none) { a[i].n = 1; a[i].ints = TS_NEW(b->m->arena, int64_t); a[i].ints[0] = a[i].i; }
	}
	return a;
}

static inline TsAttr *build_attr(Build *b, TsAttr *all, TsOp op, const char *name)
{
	TsAttr *a = &all[ts_op_attr_index(ts_op_info(b->cx, op), name)];
	a->none = false;
	return a;
}

static inline void attr_ints(Build *b, TsAttr *a, uint32_t n, const int64_t *v) { a->none = false; a->n = n; a->ints = ts_memdup(b->m->arena, v, n * sizeof *v); }
static inline void attr_dims(Build *b, TsAttr *a, uint32_t n, const TsDim *v) { a->none = false; a->n = n; a->dims = ts_memdup(b->m->arena, v, n * sizeof *v); }

static inline TsVal build_op(Build *b, TsOp op, TsAttr *attr, uint32_t n, const TsVal *in)
{
	for (uint32_t i = 0; i < n; i++)
		if (!in[i] && i < ts_op_info(b->cx, op)->min_in) return 0;
	TsNode *q = ts_add_op(b->m, b->g, &b->g->body, op, n, in, attr ? attr : build_attrs(b, op), &b->m->numerics, (TsSpan){ 0 });
	return q ? q->out[0] : 0;
}

static inline void build_result(Build *b, TsVal v)
{
	ts_push(b->m->arena, &b->g->body.results, v);
	TsSym name = ts_intern_fmt(b->cx, "y%u", b->g->result_names.n);
	ts_push(b->m->arena, &b->g->result_names, name);
}

/* ---- inputs ---- */

typedef enum { FILL_NORMAL, FILL_POSITIVE, FILL_WHOLE /* 0 to 8 */, FILL_INDEX } Fill;

/* Random elements: normal floats with some special values when `special`, small integers of both signs, bools; never all equal. */
static inline void fill_tensor(Rng *r, TsTensor *t, Fill fill, int64_t below, bool special)
{
	static const double odd[] = { 0.0, -0.0, INFINITY, -INFINITY, NAN, 1e-40, -1e-40, 3e38, -1.0, 0.5, 1e-7, 88.8, -104.0, 20.0 };
	for (int64_t i = 0; i < t->count; i++) {
		if (ts_dtype_is_float(t->elem)) {
			double v = rng_normal(r) * (rng_below(r, 4) ? 1 : 4);
			if (fill == FILL_POSITIVE) v = fabs(v) + 0.01;
			else if (fill == FILL_WHOLE) v = rng_below(r, 9);
			else if (special && !rng_below(r, 8)) v = odd[rng_below(r, sizeof odd / sizeof *odd)];
			ts_elem_set(t->elem, t->data, i, v);
		} else if (t->elem == TS_COMPLEX64) {
			((float *)t->data)[2 * i] = (float)rng_normal(r);
			((float *)t->data)[2 * i + 1] = (float)rng_normal(r);
		} else if (t->elem == TS_BOOL) {
			((uint8_t *)t->data)[i] = rng_below(r, 3) != 0;
		} else if (fill == FILL_INDEX) {
			ts_elem_set_int(t->elem, t->data, i, (int64_t)rng_below(r, (uint32_t)below + 2) - (!rng_below(r, 16)));
		} else {
			ts_elem_set_int(t->elem, t->data, i, (int64_t)rng_below(r, 15) - 7);
		}
	}
}

static inline double largest_of(TsDtype t) { return t == TS_F64 ? 0x1.fffffffffffffp1023 : t == TS_F16 ? 65504 : t == TS_BF16 ? 0x1.fep127 : 0x1.fffffep127; }

/* Runs of up to two rows, or now and then everything, as programs mask them: the least finite number, the largest ones, -inf. */
static inline void fill_extremes(Rng *r, TsTensor *t)
{
	static const double of_largest[] = { -1, -1, -1, -0.75, 0.9, 0.75, -INFINITY };
	uint32_t row = t->rank && t->dim[t->rank - 1] ? (uint32_t)t->dim[t->rank - 1] : 1;
	bool all = !rng_below(r, 4);
	for (int64_t i = 0; i < t->count;) {
		double v = of_largest[rng_below(r, sizeof of_largest / sizeof *of_largest)] * largest_of(t->elem);
		int64_t end = all ? t->count : i + 1 + rng_below(r, rng_below(r, 2) ? 2 * row : 3);
		bool put = all || rng_below(r, 2);
		for (; i < end && i < t->count; i++)
			if (put) ts_elem_set(t->elem, t->data, i, v);
	}
}

static inline void scale_tensor(TsTensor *t, double by)
{
	for (int64_t i = 0; i < t->count; i++) ts_elem_set(t->elem, t->data, i, by * ts_elem_get(t->elem, t->data, i));
}

/* ---- the compiled side ---- */

typedef struct { void *lib; const TesseraModel *model; TesseraContext *context; TesseraSession *session; char path[64]; } Artifact;

static inline DLDataType dl_type(TsDtype t)
{
	static const uint8_t code[TS_DTYPE_COUNT] = { [TS_F32] = 2, [TS_F64] = 2, [TS_F16] = 2, [TS_BF16] = 4, [TS_BOOL] = 6, [TS_UINT8] = 1, [TS_COMPLEX64] = 5,
		[TS_FP8_E4M3] = kDLFloat8_e4m3fn, [TS_FP8_E5M2] = kDLFloat8_e5m2, [TS_FP6_E2M3] = kDLFloat6_e2m3fn, [TS_FP6_E3M2] = kDLFloat6_e3m2fn, [TS_FP4_E2M1] = kDLFloat4_e2m1fn };
	int bits = t == TS_FP6_E2M3 || t == TS_FP6_E3M2 ? 6 : ts_dtype_bits(t);
	return (DLDataType){ code[t], (uint8_t)bits, 1 };
}

static inline const char *artifact_open(Artifact *a, TesseraError *e, int threads)
{
	a->lib = dlopen(a->path, RTLD_NOW | RTLD_LOCAL);
	if (!a->lib) return dlerror();
	a->model = dlsym(a->lib, "model_tessera");
	TesseraContextOptions o = { .size = sizeof o, .threads = threads };
	device_context(&o);
	if (!a->model) return "no descriptor";
	if (tessera_context_create(a->model, &o, &a->context, e) || tessera_session_create(a->model, a->context, NULL, &a->session, e)) return e->message;
	return NULL;
}

static inline void artifact_close(Artifact *a)
{
	if (a->session) tessera_session_destroy(a->session);
	if (a->context) tessera_context_destroy(a->context);
	if (a->lib) dlclose(a->lib);
	unlink(a->path);
	char header[80];
	snprintf(header, sizeof header, "%.*sh", (int)strlen(a->path) - 2, a->path);
	unlink(header);
}

static inline const char *artifact_run(Artifact *a, uint32_t n_in, const TsTensor *in, uint32_t n_out, TsTensor *out, TesseraError *e)
{
	DLTensor ti[32], to[32];
	for (uint32_t i = 0; i < n_in + n_out; i++) {
		const TsTensor *t = i < n_in ? &in[i] : &out[i - n_in];
		DLTensor *d = i < n_in ? &ti[i] : &to[i - n_in];
		*d = (DLTensor){ .data = t->data, .device = { kDLCPU, 0 }, .ndim = t->rank, .dtype = dl_type(t->elem), .shape = (int64_t *)(uintptr_t)t->dim };
	}
	return device_run(a->context, a->session, ti, (int32_t)n_in, to, (int32_t)n_out, e) ? e->message : NULL;
}

/* ---- comparing ---- */

/* Units in the last place of a type at the size of x. */
static inline double ulp_of(TsDtype t, double x)
{
	static const int digits[TS_DTYPE_COUNT] = { [TS_F32] = 24, [TS_F64] = 53, [TS_F16] = 11, [TS_BF16] = 8, [TS_FP8_E4M3] = 4, [TS_FP8_E5M2] = 3, [TS_FP6_E2M3] = 4, [TS_FP6_E3M2] = 3, [TS_FP4_E2M1] = 2 };
	static const int lowest[TS_DTYPE_COUNT] = { [TS_F32] = -149, [TS_F64] = -1074, [TS_F16] = -24, [TS_BF16] = -133, [TS_FP8_E4M3] = -9, [TS_FP8_E5M2] = -16, [TS_FP6_E2M3] = -3, [TS_FP6_E3M2] = -4, [TS_FP4_E2M1] = -1 };
	int e;
	frexp(x, &e);
	e -= digits[t];
	return ldexp(1, e < lowest[t] ? lowest[t] : e);
}

typedef struct { double worst, limit; int64_t at; double want, got, declared; bool bad; } Verdict;

/* One result against the oracle. Integers and bools: equal. Floats: |got - f64| is at most 3 times the worst error of the declared
 * types' interpreter over the tensor (DESIGN: a graph's error) plus `ulps` units of the element and a unit's share of the tensor's
 * largest term (`scale`): what one operator may add beyond the interpreter's single rounding. NaN where the oracle has NaN, and infinite
 * where it is infinite or rounds to it. */
static inline Verdict compare(const TsTensor *got, const TsTensor *f64, const TsTensor *declared, double ulps, double scale)
{
	Verdict v = { 0 };
	double worst = 0;
	for (int64_t i = 0; i < got->count && ts_dtype_is_float(got->elem); i++) {
		double want = ts_elem_get(f64->elem, f64->data, i), d = ts_elem_get(declared->elem, declared->data, i);
		if (isfinite(want) && isfinite(d) && fabs(d - want) > worst) worst = fabs(d - want);
	}
	for (int64_t i = 0; i < got->count; i++) {
		if (!ts_dtype_is_float(got->elem)) {
			int64_t a = got->elem == TS_COMPLEX64 ? ((int64_t *)got->data)[i] : ts_elem_get_int(got->elem, got->data, i);
			int64_t b = got->elem == TS_COMPLEX64 ? ((int64_t *)declared->data)[i] : ts_elem_get_int(declared->elem, declared->data, i);
			if (a != b) return (Verdict){ .at = i, .want = (double)b, .got = (double)a, .bad = true };
			continue;
		}
		double want = ts_elem_get(f64->elem, f64->data, i), g = ts_elem_get(got->elem, got->data, i), d = ts_elem_get(declared->elem, declared->data, i);
		bool same = (isnan(g) && isnan(want)) || g == want || (g == d && !isfinite(g)) || (isnan(g) && isnan(d));
		double limit = 3 * worst + ulps * ulp_of(got->elem, isfinite(want) ? want : 0) + scale, err = fabs(g - want);
		if (same || err <= limit) { if (isfinite(err) && err > v.worst) v.worst = err; continue; }
		return (Verdict){ .worst = err, .limit = limit, .at = i, .want = want, .got = g, .declared = d, .bad = true };
	}
	return v;
}
