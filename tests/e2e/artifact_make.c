/* Writes the artifacts of the tests from a plan made by hand:
 *   artifact_make KIND NAME KERNELS.o OUT [PIECE]    KIND: so exe obj tsr header; PIECE: file:OFFSET:FILE weights from a file, external:FILE
 * Model: dims 0 <= B <= 64 and 1 <= N <= 4096 (a multiple of 4); graph `chain(x: f32[B, N]) -> (y: f32[B, N])` runs 3 layers
 * y = x * w[i] + 1 in a loop; graph `sum(x: f32[B, N]) -> (s: f32[B], clone: int32[])`. */
#include "emit/plan_build.h"
#include "rtlib/sha256.h"
#include "support/file.h"
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 3 };
static const float weights[LAYERS][16] = { { 2, 3, 4, 5 }, { -1, 1, 0.5f, 2 }, { 1, -2, 3, 0.25f } }; /* 64 bytes each */

typedef struct { TsPlanBuild *b; uint32_t d_b, d_n, e_b, e_n, bytes, table, copy, layer, sum; } Model;

static uint32_t entry_begin(Model *m, TsPlanEntry *e, const char *name, const char *const *outputs, const uint32_t *dtypes, const uint32_t *ranks, uint32_t n)
{
	uint32_t dims[2] = { m->e_b, m->e_n };
	*e = (TsPlanEntry){ .name = ts_plan_add_str(m->b, name), .n_inputs = 1, .n_outputs = n, .tensor = ts_plan_next_tensor(m->b),
	                    .bind = ts_plan_next_bind(m->b), .n_binds = 2, .step = ts_plan_next_step(m->b), .check = ts_plan_next_check(m->b) };
	ts_plan_add_tensor(m->b, "x", TS_PLAN_F32, 2, dims, 4, "toy.tg:2:9");
	for (uint32_t i = 0; i < n; i++)
		ts_plan_add_tensor(m->b, outputs[i], dtypes[i], ranks[i], dims, 4, NULL);
	ts_plan_add_bind(m->b, (TsPlanBind){ .dim = m->d_b, .tensor = 0, .axis = 0, .mul = 1 });
	ts_plan_add_bind(m->b, (TsPlanBind){ .dim = m->d_n, .tensor = 0, .axis = 1, .mul = 1 });
	return e->step;
}

static void launch(Model *m, const char *name, uint32_t kernel, uint32_t scratch, const TsPlanArg *args, uint32_t n_args)
{
	TsPlanStep s = { .kind = TS_STEP_LAUNCH, .name = ts_plan_add_str(m->b, name), .choice = ts_plan_next_choice(m->b), .n_choices = 2,
	                 .arg = ts_plan_next_arg(m->b), .n_args = n_args, .num = ts_plan_add_words(m->b, &m->e_n, 1), .n_nums = 1 };
	uint32_t small = ts_plan_op(m->b, TS_EX_LE, m->e_n, ts_plan_const(m->b, 64));
	uint32_t count = ts_plan_op(m->b, TS_EX_MUL, m->e_b, m->e_n), bytes = ts_plan_op(m->b, TS_EX_MUL, count, ts_plan_const(m->b, 4));
	if (!strcmp(name, "layer")) { /* the others move bytes, and say nothing of it */
		s.values = ts_plan_add_str(m->b, "t layer");
		s.cost = ts_plan_add_words(m->b, (uint32_t[]){ ts_plan_op(m->b, TS_EX_MUL, count, ts_plan_const(m->b, 2)), bytes, bytes }, 3);
		s.n_cost = 3;
	}
	ts_plan_add_choice(m->b, small, kernel, m->e_b, scratch, "small");
	ts_plan_add_choice(m->b, TS_NONE, kernel, m->e_b, scratch, "large");
	for (uint32_t i = 0; i < n_args; i++)
		ts_plan_add_arg(m->b, args[i]);
	ts_plan_add_step(m->b, s);
}

static void chain(Model *m)
{
	TsPlanEntry e;
	static const char *const outputs[] = { "y" };
	static const uint32_t dtypes[] = { TS_PLAN_F32 }, ranks[] = { 2 };
	TsPlanBuild *b = m->b;
	entry_begin(m, &e, "chain", outputs, dtypes, ranks, 1);
	uint32_t even = ts_plan_op(b, TS_EX_MOD, ts_plan_loop(b, 0), ts_plan_const(b, 2));
	uint32_t room = ts_plan_align(b, m->bytes, 64), from = ts_plan_op(b, TS_EX_MUL, even, room), to = ts_plan_op(b, TS_EX_SUB, room, from);
	launch(m, "load", m->copy, TS_NONE, (TsPlanArg[]){ { .kind = TS_ARG_INPUT, .offset = TS_NONE }, { .kind = TS_ARG_WORKSPACE, .offset = TS_NONE } }, 2);
	uint32_t loop = ts_plan_loop_begin(b, 0, ts_plan_const(b, 0), ts_plan_const(b, LAYERS));
	launch(m, "layer", m->layer, ts_plan_op(b, TS_EX_MUL, m->e_n, ts_plan_const(b, 4)),
	       (TsPlanArg[]){ { .kind = TS_ARG_WORKSPACE, .offset = from },
	                      { .kind = TS_ARG_WEIGHT, .table = m->table, .n_table = LAYERS, .index_expr = ts_plan_loop(b, 0), .offset = TS_NONE },
	                      { .kind = TS_ARG_WORKSPACE, .offset = to } }, 3);
	ts_plan_loop_end(b, loop);
	launch(m, "store", m->copy, TS_NONE, (TsPlanArg[]){ { .kind = TS_ARG_WORKSPACE, .offset = room }, { .kind = TS_ARG_OUTPUT, .offset = TS_NONE } }, 2);
	e.n_steps = ts_plan_next_step(b) - e.step;
	e.workspace = ts_plan_op(b, TS_EX_MUL, room, ts_plan_const(b, 2));
	ts_plan_add_entry(b, e);
}

static void sum(Model *m)
{
	TsPlanEntry e;
	static const char *const outputs[] = { "s", "clone" };
	static const uint32_t dtypes[] = { TS_PLAN_F32, TS_PLAN_INT32 }, ranks[] = { 1, 0 };
	entry_begin(m, &e, "sum", outputs, dtypes, ranks, 2);
	launch(m, "sum", m->sum, TS_NONE, (TsPlanArg[]){ { .kind = TS_ARG_INPUT, .offset = TS_NONE }, { .kind = TS_ARG_OUTPUT, .index = 0, .offset = TS_NONE },
	                                                 { .kind = TS_ARG_OUTPUT, .index = 1, .offset = TS_NONE } }, 3);
	e.check = ts_plan_add_check(m->b, ts_plan_op(m->b, TS_EX_NE, m->e_n, ts_plan_const(m->b, 12)), "sum: axis 1 of 'x' is {1}, wanted anything but {0}",
	                            ts_plan_const(m->b, 12), m->e_n);
	e.n_checks = 1;
	e.n_steps = 1;
	e.workspace = ts_plan_const(m->b, 0);
	ts_plan_add_entry(m->b, e);
}

static TsBytes make_plan(TsCtx *cx, const char *name, const char *external)
{
	Model m = { .b = ts_plan_new(cx, name, "test") };
	uint32_t file = TS_NONE, words[LAYERS];
	m.d_b = ts_plan_add_dim(m.b, "B", 0, 64, 1);
	m.d_n = ts_plan_add_dim(m.b, "N", 1, 4096, 4);
	m.e_b = ts_plan_dim(m.b, m.d_b);
	m.e_n = ts_plan_dim(m.b, m.d_n);
	m.bytes = ts_plan_op(m.b, TS_EX_MUL, ts_plan_op(m.b, TS_EX_MUL, m.e_b, m.e_n), ts_plan_const(m.b, 4));
	m.copy = ts_plan_add_kernel(m.b, "copy");
	m.layer = ts_plan_add_kernel(m.b, "layer");
	m.sum = ts_plan_add_kernel(m.b, "sum");
	if (external) {
		TsFile f;
		TsSha256 s;
		uint8_t hash[32];
		if (!ts_file_map(cx, external, &f))
			return (TsBytes){ 0 };
		ts_sha256_init(&s);
		ts_sha256_add(&s, f.p, f.size);
		ts_sha256_end(&s, hash);
		const char *slash = strrchr(external, '/');
		file = ts_plan_add_file(m.b, slash ? slash + 1 : external, f.size, hash);
		ts_file_unmap(&f);
	}
	for (uint32_t i = 0; i < LAYERS; i++) {
		TsPlanWeight w = { .where = external ? TS_WEIGHT_EXTERNAL : TS_WEIGHT_EMBEDDED, .file = file, .offset = i * 64, .bytes = 64,
		                   .file_offset = 8 + i * 16, .file_bytes = external ? 16 : 0 };
		if (external) /* columns of a [1, 4] matrix, as panels of 8 */
			w.pack = (TsPack){ .kind = TS_PACK_PANELS, .elem = 4, .panel = 8, .group = 1, .batch = 1, .k = 1, .n = 4, .stride_k = 4, .stride_n = 1 };
		words[i] = ts_plan_add_weight(m.b, i == 0 ? "w.0" : i == 1 ? "w.1" : "w.2", TS_PLAN_F32, 1, (int64_t[]){ 4 }, w);
	}
	m.table = ts_plan_add_words(m.b, words, LAYERS);
	chain(&m);
	sum(&m);
	return ts_plan_finish(m.b, external ? 0 : sizeof weights, external ? sizeof weights : 0);
}

static bool make(TsCtx *cx, char **argv, const char *piece)
{
	static const char *const kinds[] = { "so", "exe", "obj", "tsr" };
	const char *external = piece && !strncmp(piece, "external:", 9) ? piece + 9 : NULL;
	TsWeightPiece pieces[2] = { { .at = 0, .size = 64, .data = weights }, { .at = 64, .size = 128, .data = weights[1] } };
	TsArtifact a = { .kind = (TsArtifactKind)4, .name = argv[2], .weights = pieces, .n_weights = 2, .weight_bytes = sizeof weights,
	                 .ops = { "tessera 1\n", 10 }, .meta = { "tsc: test\n", 10 } };
	TsFile kernels = { 0 };
	TsBytes object;
	if (piece && !strncmp(piece, "file:", 5)) {
		char *end;
		pieces[1].data = NULL;
		pieces[1].path_offset = strtoull(piece + 5, &end, 10);
		pieces[1].path = end + 1;
	}
	if (external)
		a.n_weights = 0, a.weight_bytes = 0;
	a.plan = make_plan(cx, a.name, external);
	if (!a.plan.n)
		return false;
	if (!strcmp(argv[1], "header"))
		return ts_emit_header_beside(cx, a.plan, argv[4]);
	for (int i = 0; i < 4; i++)
		if (!strcmp(argv[1], kinds[i]))
			a.kind = (TsArtifactKind)i;
	if (a.kind != TS_ARTIFACT_TSR) {
		if (!ts_file_map(cx, argv[3], &kernels))
			return false;
		object = (TsBytes){ kernels.p, kernels.size };
		a.objects = &object;
		a.n_objects = 1;
	}
	return ts_emit_artifact(cx, &a, argv[4]);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "inspect")) {
		TsCtx *cx = ts_ctx_new();
		ts_inspect(cx, argv[2], stdout);
		ts_diag_print(cx, stderr);
		return ts_exit_code(cx);
	}
	if (argc < 5)
		return 2;
	TsCtx *cx = ts_ctx_new();
	make(cx, argv, argc > 5 ? argv[5] : NULL);
	ts_diag_print(cx, stderr);
	return ts_exit_code(cx);
}
