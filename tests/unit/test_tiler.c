/* Every schedule function's kernel texts are valid Tile IR, for graphs built by hand. */
#include "frontend/graph_text/parse.h"
#include "ir/tile.h"
#include "middle/tiler/sched.h"
#include <stdio.h>
#include <string.h>

static TsCtx *cx;
static TsModule *m;
static TsGraph *g;
static int failed;
static bool verbose;

static TsType type(TsDtype e, int rank, const TsDim *dim)
{
	TsType t = { .elem = e, .accum = TS_DTYPE_NONE, .rank = (uint8_t)rank };
	memcpy(t.dim, dim, (size_t)rank * sizeof *dim);
	return t;
}

static TsDim sym(const char *n) { return ts_dim_symbol(m->dims, (TsDimSym){ ts_intern(cx, n), 1, INT64_MAX, 1, { 0 } }); }
static TsDim num(int64_t v) { return ts_dim_const(m->dims, v); }
static TsVal param(const char *n, TsDtype e, int rank, const TsDim *d) { return ts_add_param(m, g, ts_intern(cx, n), type(e, rank, d), (TsSpan){ 0 }); }

static TsAttr *attrs(TsOp op)
{
	const TsOpInfo *info = ts_op_info(cx, op);
	TsAttr *a = TS_NEW_N(m->arena, TsAttr, info->nattr + 1);
	for (int i = 0; i < info->nattr; i++) {
		a[i].kind = info->attr[i].kind;
		a[i].none = info->attr[i].none_default || info->attr[i].required;
		a[i].f = info->attr[i].num;
		a[i].i = (int64_t)info->attr[i].num;
		if (info->attr[i].kind == TS_A_ENUM) a[i].s = ts_intern(cx, info->attr[i].text);
		if (info->attr[i].kind == TS_A_INTS && !a[i].none) { a[i].n = 1; a[i].ints = TS_NEW(m->arena, int64_t); a[i].ints[0] = a[i].i; }
	}
	return a;
}

static TsVal op(TsOp o, TsAttr *a, uint32_t n, const TsVal *in)
{
	TsNode *q = ts_add_op(m, g, &g->body, o, n, in, a ? a : attrs(o), &m->numerics, (TsSpan){ 0 });
	return q ? q->out[0] : 0;
}
#define OP1(o, x) op(o, NULL, 1, (TsVal[]){ x })
#define OP2(o, x, y) op(o, NULL, 2, (TsVal[]){ x, y })

static void begin(void)
{
	cx = ts_ctx_new();
	m = ts_module_new(cx);
	g = ts_graph_new(m, ts_intern(cx, "f"));
	ts_push(m->arena, &m->graphs, g);
}

static void finish(const char *name, TsVal result)
{
	bool ok = result != 0;
	if (ok) {
		ts_push(m->arena, &g->body.results, result);
		ts_push(m->arena, &g->result_names, ts_intern(cx, "y"));
		TsSched *s = ts_schedule(m, ts_sched_target("cpu"));
		ok = s != NULL;
		for (uint32_t i = 0; ok && i < s->kernels.n; i++)
			for (int c = 0; c < TS_CPU_CLONES; c++) {
				const char *text = s->kernels.p[i].text[c];
				if (c && text == s->kernels.p[i].text[c - 1]) continue;
				if (verbose) printf("# %s clone %d\n%s", s->kernels.p[i].name, c, text);
				TsTree *t = ts_parse(cx, ts_source_add(cx, s->kernels.p[i].name, text, strlen(text)));
				ok = ok && t && ts_tile_verify(cx, t);
			}
	}
	printf("%s %s\n", ok ? "ok" : "FAIL", name);
	if (!ok) { failed = 1; ts_diag_print(cx, stdout); }
	ts_ctx_free(cx);
}

int main(int argc, char **argv)
{
	verbose = argc > 1 && !strcmp(argv[1], "-v");
	begin();
	TsDim bs[3] = { sym("B"), sym("S"), num(384) };
	TsVal x = param("x", TS_F32, 3, bs), y = param("y", TS_F32, 1, bs + 2);
	finish("pointwise", OP1(TS_OP_exp, OP2(TS_OP_add, OP2(TS_OP_mul, x, y), x)));

	begin();
	TsDim b3[3] = { sym("B"), sym("S"), num(384) };
	x = param("x", TS_BF16, 3, b3);
	y = param("w", TS_F32, 1, b3 + 2);
	TsVal z = param("b", TS_F32, 1, b3 + 2);
	(void)z;
	finish("softmax", OP1(TS_OP_softmax, x));

	begin();
	TsDim b4[3] = { sym("B"), sym("S"), sym("D") };
	x = param("x", TS_F32, 3, b4);
	y = param("w", TS_F32, 1, b4 + 2);
	z = param("b", TS_F32, 1, b4 + 2);
	TsVal r = param("r", TS_F32, 3, b4);
	finish("layer_norm", op(TS_OP_layer_norm, NULL, 3, (TsVal[]){ OP2(TS_OP_add, x, r), y, z }));

	begin();
	TsDim b5[3] = { sym("B"), sym("S"), num(384) }, w5[2] = { num(384), num(1536) };
	x = param("x", TS_F32, 3, b5);
	y = param("w", TS_F32, 2, w5);
	z = param("b", TS_F32, 1, w5 + 1);
	finish("linear_gelu", OP1(TS_OP_gelu, OP2(TS_OP_add, OP2(TS_OP_matmul, x, y), z)));

	begin();
	TsDim q6[4] = { sym("B"), num(12), sym("S"), num(32) };
	x = param("q", TS_F32, 4, q6);
	y = param("k", TS_F32, 4, q6);
	z = param("v", TS_F32, 4, q6);
	TsDim m6[4] = { sym("B"), num(1), num(1), sym("S") };
	TsVal mask = param("m", TS_BOOL, 4, m6);
	finish("attention", op(TS_OP_attention, NULL, 6, (TsVal[]){ x, y, z, mask, 0, 0 }));

	begin();
	TsDim b7[3] = { sym("B"), sym("S"), num(384) };
	x = param("x", TS_F32, 3, b7);
	TsAttr *a = attrs(TS_OP_sum);
	a[0].none = false;
	a[0].n = 1;
	a[0].ints = (int64_t[]){ 1 };
	finish("sum over the middle", op(TS_OP_sum, a, 1, (TsVal[]){ OP1(TS_OP_exp, x) }));

	begin();
	TsDim b8[2] = { sym("B"), sym("S") }, e8[2] = { num(1000), num(384) };
	x = param("t", TS_F32, 2, e8);
	y = param("ids", TS_INT64, 2, b8);
	finish("embedding", OP1(TS_OP_neg, OP2(TS_OP_embedding, x, y)));

	begin();
	x = param("x", TS_F32, 2, (TsDim[]){ sym("B"), sym("S") });
	a = attrs(TS_OP_argmax);
	a[0].none = false;
	a[0].n = 1;
	a[0].ints = (int64_t[]){ 1 };
	finish("argmax", op(TS_OP_argmax, a, 1, (TsVal[]){ x }));
	return failed;
}
