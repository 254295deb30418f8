/* Plans for devices: what their records say comes back, formulas are evaluated for a launch, and every number that leads out of its table,
 * or a record that belongs to another target, is refused. `test_plan FILE` writes the plan of these tests, a seed for its fuzz target. */
#include "emit/plan_build.h"
#include "tests/unit/check.h"
#include <stdlib.h>
#include <string.h>

enum { SM = 90, CODE = 4096, DEVICE = 1024, BLOB = 512 };

static void interface(TsPlanBuild *b, uint32_t *entry_dim, TsPlanEntry *e, const char *tensor)
{
	uint32_t d = ts_plan_add_dim(b, "B", 1, 0, 1);
	*entry_dim = ts_plan_dim(b, d);
	*e = (TsPlanEntry){ .name = ts_plan_add_str(b, "f"), .n_inputs = 1, .n_outputs = 1, .tensor = ts_plan_next_tensor(b), .bind = ts_plan_next_bind(b), .n_binds = 1, .step = ts_plan_next_step(b) };
	uint32_t dims[2] = { *entry_dim, ts_plan_const(b, 64) };
	ts_plan_add_tensor(b, tensor, TS_PLAN_BF16, 2, dims, 2, NULL);
	ts_plan_add_tensor(b, "y", TS_PLAN_BF16, 2, dims, 2, NULL);
	ts_plan_add_bind(b, (TsPlanBind){ .dim = d, .mul = 1 });
	e->workspace = ts_plan_const(b, 0);
}

static TsBytes cpu_plan(TsCtx *cx, const char *tensor)
{
	TsPlanBuild *b = ts_plan_new(cx, "m", "test");
	TsPlanEntry e;
	uint32_t d;
	interface(b, &d, &e, tensor);
	ts_plan_add_entry(b, e);
	return ts_plan_finish(b, BLOB, 0);
}

/* one persistent kernel with a map over x[num0, 64], and a weight of two parts: panels, then nothing */
static TsBytes device_plan(TsCtx *cx)
{
	TsPlanBuild *b = ts_plan_new(cx, "m", "test");
	TsPlanEntry e;
	uint32_t d, one[2] = { 1, 2 }, box[2] = { 64, 64 };
	interface(b, &d, &e, "x");
	ts_plan_for_device(b, "sm_90a", DEVICE, CODE);
	uint32_t part = ts_plan_add_part(b, (TsPlanPart){ .offset = 64, .bytes = 2 * 8 * 4 * 2, .first = 8,
		.pack = { .kind = TS_PACK_PANELS, .elem = 2, .panel = 8, .group = 1, .batch = 1, .k = 4, .n = 12, .stride_k = 16, .stride_n = 1 } });
	TsPlanWeight w = { .file = TS_NONE, .offset = 256, .bytes = 4 * 64 * 2, .part = part, .n_parts = 1 };
	uint32_t table = ts_plan_add_weight(b, "w", TS_PLAN_BF16, 2, (int64_t[]){ 4, 64 }, w);
	ts_plan_add_module(b, "g0", (TsPlanModule){ .flags = TS_MODULE_EXACT, .sm = SM, .cubin = 64, .cubin_bytes = 1000, .ptx = 2048, .ptx_bytes = 2048, .ptx_text = 9000 });
	const TsPlanExpr f[] = { { .kind = TS_EX_NUM, .a = 0 }, { .kind = TS_EX_CONST, .value = 64 }, { .kind = TS_EX_CONST, .value = 1 }, { .kind = TS_EX_MUL, .a = 0, .b = 1 } };
	uint32_t map = ts_plan_add_map(b, (TsPlanMap){ .arg = 0, .dtype = TS_PLAN_BF16, .rank = 2, .swizzle = 128 }, (uint32_t[]){ 0, 1 }, one, box);
	uint32_t k = ts_plan_add_device_kernel(b, "scale_0", f, 4, (TsPlanKernel){ .flags = TS_KERNEL_PERSISTENT, .module = 0, .threads = 256, .cluster = 2, .shared_bytes = 65536, .map = map });
	TsPlanStep s = { .kind = TS_STEP_LAUNCH, .name = ts_plan_add_str(b, "y"), .choice = ts_plan_next_choice(b), .n_choices = 1, .arg = ts_plan_next_arg(b), .n_args = 3, .n_nums = 1 };
	ts_plan_add_device_choice(b, TS_NONE, k, ts_plan_ceil_div(b, d, 64), 1, "large");
	ts_plan_add_arg(b, (TsPlanArg){ .kind = TS_ARG_INPUT, .offset = TS_NONE, .index_expr = TS_NONE });
	ts_plan_add_arg(b, (TsPlanArg){ .kind = TS_ARG_WEIGHT, .table = ts_plan_add_words(b, &table, 1), .n_table = 1, .offset = TS_NONE, .index_expr = TS_NONE });
	ts_plan_add_arg(b, (TsPlanArg){ .kind = TS_ARG_OUTPUT, .offset = TS_NONE, .index_expr = TS_NONE });
	s.num = ts_plan_add_words(b, &d, 1);
	ts_plan_add_step(b, s);
	e.n_steps = ts_plan_next_step(b) - e.step;
	ts_plan_add_entry(b, e);
	return ts_plan_finish(b, BLOB, 0);
}

#define AT(table, T, i) ((T *)(void *)(p + h->table.at) + (i))
typedef struct { const char *name; void (*change)(uint8_t *p, TsPlanHeader *h); } Damage;
#define DAMAGE(id, what) static void id(uint8_t *p, TsPlanHeader *h) { (void)p; (void)h; what; }
DAMAGE(clones, h->clones = TS_CLONES)
DAMAGE(no_target, h->target = 0)
DAMAGE(no_module, AT(kernels, TsPlanKernel, 0)->module = 1)
DAMAGE(no_threads, AT(kernels, TsPlanKernel, 0)->threads = 0)
DAMAGE(odd_threads, AT(kernels, TsPlanKernel, 0)->threads = 33)
DAMAGE(wide_cluster, AT(kernels, TsPlanKernel, 0)->cluster = 17)
DAMAGE(much_shared, AT(kernels, TsPlanKernel, 0)->shared_bytes = UINT32_MAX)
DAMAGE(map_range, AT(kernels, TsPlanKernel, 0)->n_maps = 2)
DAMAGE(formula_range, AT(kernels, TsPlanKernel, 0)->n_formulas = 5)
DAMAGE(not_persistent, AT(kernels, TsPlanKernel, 0)->flags = 0)
DAMAGE(no_ctas, AT(choices, TsPlanChoice, 0)->per_sm = 0)
DAMAGE(device_scratch, AT(choices, TsPlanChoice, 0)->scratch = 0)
DAMAGE(map_argument, AT(maps, TsPlanMap, 0)->arg = 3)
DAMAGE(map_rank, AT(maps, TsPlanMap, 0)->rank = 6)
DAMAGE(map_swizzle, AT(maps, TsPlanMap, 0)->swizzle = 48)
DAMAGE(map_formula, AT(words, uint32_t, AT(maps, TsPlanMap, 0)->dims)[0] = 4)
DAMAGE(map_box, AT(words, uint32_t, AT(maps, TsPlanMap, 0)->box)[1] = 512)
DAMAGE(later_formula, AT(formulas, TsPlanExpr, 3)->b = 3)
DAMAGE(formula_dim, AT(formulas, TsPlanExpr, 0)->kind = TS_EX_DIM)
DAMAGE(formula_num, AT(formulas, TsPlanExpr, 0)->a = 1)
DAMAGE(num_outside, AT(exprs, TsPlanExpr, 0)->kind = TS_EX_NUM)
DAMAGE(cubin_outside, AT(modules, TsPlanModule, 0)->cubin_bytes = CODE)
DAMAGE(ptx_crooked, AT(modules, TsPlanModule, 0)->ptx = 2047)
DAMAGE(empty_module, AT(modules, TsPlanModule, 0)->cubin_bytes = AT(modules, TsPlanModule, 0)->ptx_bytes = AT(modules, TsPlanModule, 0)->ptx_text = 0)
DAMAGE(ptx_of_nothing, AT(modules, TsPlanModule, 0)->ptx_bytes = 0)
DAMAGE(ptx_swells, AT(modules, TsPlanModule, 0)->ptx_text = 2048 * 256 + 256)
DAMAGE(part_range, AT(weights, TsPlanWeight, 0)->n_parts = 2)
DAMAGE(part_outside, AT(parts, TsPlanPart, 0)->offset = BLOB - 64)
DAMAGE(part_size, AT(parts, TsPlanPart, 0)->bytes -= 2)
DAMAGE(part_before, AT(parts, TsPlanPart, 0)->pack.stride_k = -16)
DAMAGE(part_behind, AT(parts, TsPlanPart, 0)->pack.stride_k = 80)
DAMAGE(part_element, AT(parts, TsPlanPart, 0)->pack.elem = 4)
DAMAGE(weight_crooked, AT(weights, TsPlanWeight, 0)->offset = 64)
DAMAGE(weight_outside, AT(weights, TsPlanWeight, 0)->bytes = DEVICE)
DAMAGE(weight_external, AT(weights, TsPlanWeight, 0)->where = TS_WEIGHT_EXTERNAL)

#define D(id) { #id, id }
static const Damage damages[] = {
	D(clones), D(no_target), D(no_module), D(no_threads), D(odd_threads), D(wide_cluster), D(much_shared), D(map_range), D(formula_range), D(not_persistent), D(no_ctas),
	D(device_scratch), D(map_argument), D(map_rank), D(map_swizzle), D(map_formula), D(map_box), D(later_formula), D(formula_dim), D(formula_num), D(num_outside),
	D(cubin_outside), D(ptx_crooked), D(empty_module), D(ptx_of_nothing), D(ptx_swells), D(part_range), D(part_outside), D(part_size), D(part_before), D(part_behind), D(part_element), D(weight_crooked),
	D(weight_outside), D(weight_external),
};

static void damaged(TsBytes plan)
{
	for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
		char name[64];
		uint8_t *copy = aligned_alloc(16, plan.n);
		memcpy(copy, plan.p, plan.n);
		damages[i].change(copy, (TsPlanHeader *)(void *)copy);
		snprintf(name, sizeof name, "refused_%s", damages[i].name);
		check(name, ts_plan_check(copy, plan.n) != NULL, "a damaged plan was taken");
		free(copy);
	}
}

/* Damage anywhere: refused, or every number still leads into its table (the runtime looks at no other bounds). */
static void random_damage(TsBytes plan)
{
	uint64_t seed = 88172645463325252u;
	int taken = 0;
	for (int k = 0; k < 100000; k++) {
		uint8_t *copy = aligned_alloc(16, plan.n);
		memcpy(copy, plan.p, plan.n);
		for (int n = 1 + k % 3; n; n--) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			copy[seed % plan.n] ^= (uint8_t)(1u << (seed >> 32) % 8);
		}
		const TsPlanHeader *h = (void *)copy;
		if (!ts_plan_check(copy, plan.n)) {
			const TsPlanKernel *q = TS_PLAN_TABLE(h, TsPlanKernel, kernels);
			const TsPlanMap *m = TS_PLAN_TABLE(h, TsPlanMap, maps) + q->map;
			taken++;
			if (q->n_maps && (TS_PLAN_TABLE(h, uint32_t, words)[m->dims] >= q->n_formulas || q->formula + q->n_formulas > h->formulas.n)) {
				check("random_damage", false, "a map leads out of its formulas");
				taken = -1000000;
			}
		}
		free(copy);
	}
	check("random_damage", taken > 0, "every damaged plan was refused: names alone may change");
}

static void texts(const TsPlanHeader *h)
{
	const TsPlanKernel *k = TS_PLAN_TABLE(h, TsPlanKernel, kernels);
	TsBuf b = { 0 };
	ts_plan_formula_text(h, k, 3, &b);
	check("formula_text", b.p && !strcmp(b.p, "64*num0"), "it reads %s", b.p ? b.p : "nothing");
	ts_buf_free(&b);
}

/* Sizes are printed with the brackets that they need: read from left to right they mean what they are. */
static void sizes(TsCtx *cx)
{
	TsPlanBuild *b = ts_plan_new(cx, "m", "test");
	TsPlanEntry e;
	uint32_t d;
	interface(b, &d, &e, "x");
	uint32_t quotient = ts_plan_op(b, TS_EX_DIV, d, ts_plan_const(b, 64)), rest = ts_plan_op(b, TS_EX_MOD, d, ts_plan_const(b, 7));
	uint32_t product = ts_plan_op(b, TS_EX_MUL, quotient, d), more = ts_plan_op(b, TS_EX_MUL, rest, d);
	struct { uint32_t e; const char *text; } cases[] = {
		{ ts_plan_op(b, TS_EX_MUL, ts_plan_const(b, 430), product), "430*(B//64*B)" },
		{ ts_plan_op(b, TS_EX_MUL, d, product), "B*(B//64*B)" },
		{ ts_plan_op(b, TS_EX_MUL, product, d), "B//64*B*B" },
		{ ts_plan_op(b, TS_EX_MUL, d, more), "B*(B%7*B)" },
		{ ts_plan_op(b, TS_EX_MUL, d, ts_plan_op(b, TS_EX_MUL, d, quotient)), "B*B*(B//64)" },
		{ ts_plan_op(b, TS_EX_MUL, d, ts_plan_op(b, TS_EX_MUL, quotient, ts_plan_const(b, 3))), "B*3*(B//64)" },
	};
	ts_plan_add_entry(b, e);
	TsBytes plan = ts_plan_finish(b, BLOB, 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		TsBuf t = { 0 };
		ts_plan_expr_text(plan.p, cases[i].e, &t);
		check(cases[i].text, t.p && !strcmp(t.p, cases[i].text), "it reads %s", t.p ? t.p : "nothing");
		ts_buf_free(&t);
	}
}

static void run(void *user)
{
	TsCtx *cx = user;
	TsBytes plan = device_plan(cx), cpu = cpu_plan(cx, "x"), other = cpu_plan(cx, "z");
	const TsPlanHeader *h = plan.p;
	check("device_plan", !ts_plan_is_cpu(h) && !strcmp(ts_plan_str(h, h->target), "sm_90a") && h->device_bytes == DEVICE, "it is not one");
	const char *wrong = ts_plan_check_device(cpu.p, h);
	check("same_model", !wrong, "%s", wrong);
	check("other_model", ts_plan_check_device(other.p, h) != NULL, "a plan of other tensors was taken");
	check("cpu_is_no_device", ts_plan_check_device(cpu.p, cpu.p) != NULL, "the CPU's plan was taken");
	texts(h);
	sizes(cx);
	damaged(plan);
	random_damage(plan);
}

int main(int argc, char **argv)
{
	TsCtx *cx = ts_ctx_new();
	if (argc > 1) {
		TsBytes plan = device_plan(cx);
		FILE *f = fopen(argv[1], "wb");
		return !f || fwrite(plan.p, 1, plan.n, f) != plan.n || fclose(f);
	}
	ts_guard(cx, run, cx);
	if (ts_error_count(cx)) check("no_errors", false, "the context holds errors");
	ts_ctx_free(cx);
	return check_failed;
}
