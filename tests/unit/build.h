/* Small graphs by hand, for the unit tests of ir/. Types are written "2 S 3": sizes that are numbers or symbols. */
#pragma once
#include "ir/interp.h"
#include "tests/unit/check.h"
#include <stdlib.h>
#include <string.h>

typedef struct { TsCtx *cx; TsModule *m; TsGraph *g; TsBlock *b; } Build;

static inline Build build_new(void)
{
	Build b = { .cx = ts_ctx_new() };
	b.m = ts_module_new(b.cx);
	b.g = ts_graph_new(b.m, ts_intern(b.cx, "f"));
	ts_push(b.m->arena, &b.m->graphs, b.g);
	b.b = &b.g->body;
	return b;
}

static inline TsDim build_dim(Build *b, const char *word)
{
	char *end;
	long v = strtol(word, &end, 10);
	if (!*end) return ts_dim_const(b->m->dims, v);
	return ts_dim_symbol(b->m->dims, (TsDimSym){ .name = ts_intern(b->cx, word), .min = 1, .max = INT64_MAX, .multiple = 1 });
}

static inline TsType build_type(Build *b, TsDtype t, const char *dims)
{
	TsType type = { .elem = t, .accum = TS_DTYPE_NONE };
	char *copy = ts_strdup(ts_arena(b->cx), dims), *save;
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) type.dim[type.rank++] = build_dim(b, w);
	return type;
}

static inline TsVal build_param(Build *b, const char *name, TsDtype t, const char *dims)
{
	return ts_add_param(b->m, b->g, ts_intern(b->cx, name), build_type(b, t, dims), (TsSpan){ 0 });
}

/* The attribute to change, present. */
static inline TsAttr *build_attr(Build *b, TsAttr *attrs, TsOp op, const char *name)
{
	TsAttr *a = &attrs[ts_op_attr_index(ts_op_info(b->cx, op), name)];
	a->none = false;
	return a;
}

/* `axis=0,1 keepdims=1 shape=2,S out=bf16`: all attributes by text. */
static inline TsAttr *build_attrs(Build *b, TsOp op, const char *text)
{
	TsAttr *attrs = ts_attrs_new(b->m, op);
	char *copy = ts_strdup(ts_arena(b->cx), text), *save, *more;
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		char *value = strchr(w, '=');
		*value++ = 0;
		TsAttr *a = build_attr(b, attrs, op, w);
		a->i = atoll(value);
		a->f = atof(value);
		a->s = ts_intern(b->cx, value);
		if (a->kind == TS_A_DTYPE) ts_dtype_find(value, &a->t);
		a->n = 0;
		a->ints = TS_NEW_N(ts_arena(b->cx), int64_t, 16);
		a->dims = TS_NEW_N(ts_arena(b->cx), TsDim, 16);
		for (char *e = strtok_r(value, ",", &more); e && a->n < 16; e = strtok_r(NULL, ",", &more), a->n++) {
			a->ints[a->n] = atoll(e);
			if (a->kind == TS_A_DIM || a->kind == TS_A_DIMS) a->dims[a->n] = build_dim(b, e);
		}
	}
	return attrs;
}

/* One operator; its first result, 0 after an error. */
static inline TsVal build_op(Build *b, TsOp op, const char *attrs, uint32_t nin, const TsVal *in)
{
	TsNode *n = ts_add_op(b->m, b->g, b->b, op, nin, in, build_attrs(b, op, attrs), NULL, (TsSpan){ 0 });
	return n ? n->out[0] : 0;
}
#define OP_(b, op, attrs, ...) build_op((b), TS_OP_##op, attrs, sizeof((TsVal[]){ 0, ##__VA_ARGS__ }) / sizeof(TsVal) - 1, (TsVal[]){ 0, ##__VA_ARGS__ } + 1)

static inline void build_result(Build *b, const char *name, TsVal v)
{
	ts_push(ts_arena(b->cx), &b->g->body.results, v);
	ts_push(ts_arena(b->cx), &b->g->result_names, ts_intern(b->cx, name));
}

/* A tensor from numbers. */
static inline TsTensor build_tensor(Build *b, TsDtype t, int rank, const int64_t *dim, const double *x)
{
	TsTensor r;
	if (!ts_tensor_new(b->cx, "a test's tensor", t, rank, dim, &r)) abort();
	for (int64_t i = 0; i < r.count; i++) ts_elem_set(t, r.data, i, x[i]);
	return r;
}
