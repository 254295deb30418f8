/* The model of the CUDA tests, made by hand: dims 0 <= B <= 64 and 8 <= N <= 4096 (a multiple of 8), weights as the CPU keeps them (panels)
 * and as the GPU wants them (plain), and three graphs:
 *   chain(x: f32[B, N]) -> (y: f32[B, N])      load, three layers y = x * w[i] + 1 in a loop, store: 5 kernels, maps over x, workspace, y
 *   one(x: f32[B, N]) -> (y: f32[B, N])        a single kernel: y = x + 1
 *   count() -> (n: int32[4])                   adds 1 to a state that starts as weight `c`, and gives it
 * The kernels are C functions that the fake driver calls; they check the weights they get. */
#pragma once
#include "emit/plan_build.h"
#include "rtlib/device.h"
#include "rtlib/pack.h"
#include "tests/fakecuda/fakecuda.h"

enum { CHAIN, ONE, COUNT };
enum { LAYERS = 3, W_BYTES = 6 * 10 * 4, V_BYTES = 60 * 2, CAT_BYTES = 4 * 8 * 4, C_BYTES = 16 };
enum { BLOB = 2048, DEVICE_BYTES = 4096, CODE = 512 };

typedef struct { TesseraModel m; TesseraDevicePlan plans[2]; _Alignas(64) uint64_t link[4]; _Alignas(64) uint8_t blob[BLOB], code[CODE]; } TestModel;

/* logical weights, as the graph names them */
typedef struct { float w[LAYERS][60]; uint16_t v[60]; float cat[32]; int32_t c[4]; } Logical;
static Logical logical;
static const char *wrong_weight; /* what a kernel found */

static inline void fill_logical(void)
{
	for (int l = 0; l < LAYERS; l++)
		for (int i = 0; i < 60; i++)
			logical.w[l][i] = (float)((i * 7 + l * 5) % 9 - 4) / 4;
	for (int i = 0; i < 60; i++)
		logical.v[i] = (uint16_t)(1000 + i);
	for (int i = 0; i < 32; i++)
		logical.cat[i] = (float)(100 + i);
	for (int i = 0; i < 4; i++)
		logical.c[i] = 10 * i;
}

/* ---- kernels ---- */

/* the map says where the argument lies, and that it is [B, N] f32 */
static void check_map(const FakeLaunch *l, uint32_t map, uint32_t arg, int64_t b, int64_t n)
{
	const FakeMap *m = &l->map[map];
	if (m->at != (uint64_t)(uintptr_t)l->ptr[arg] || m->rank != 2 || m->type != 7 || m->dims[0] != (uint64_t)n || m->dims[1] != (uint64_t)b || (b > 1 && m->strides[1] != (uint64_t)n * 4) ||
	    m->box[0] != 8 || m->box[1] != 4 || m->swizzle != 1)
		wrong_weight = "a tensor map says something else";
}
static void k_copy(const FakeLaunch *l) /* from, to; B, N; map over `from` */
{
	check_map(l, 0, 0, l->num[0], l->num[1]);
	memcpy(l->ptr[1], l->ptr[0], (size_t)(l->num[0] * l->num[1]) * 4);
}
static void k_layer(const FakeLaunch *l) /* from, w, v, cat, to; B, N, layer, CTAs; persistent */
{
	const float *x = l->ptr[0], *w = l->ptr[1];
	float *y = l->ptr[4];
	if (memcmp(w, logical.w[l->num[2]], W_BYTES) || memcmp(l->ptr[2], logical.v, V_BYTES) || memcmp(l->ptr[3], logical.cat, CAT_BYTES))
		wrong_weight = "a weight has other values on the device";
	if (l->num[3] * 2 != l->grid || l->grid < 2 || l->num[3] > l->num[0])
		wrong_weight = "a kernel is told another number of CTAs";
	for (int64_t i = 0; i < l->num[0] * l->num[1]; i++)
		y[i] = x[i] * w[i % l->num[1] % 60] + 1;
}
static void k_one(const FakeLaunch *l) /* x, y; B, N; maps over both */
{
	check_map(l, 0, 0, l->num[0], l->num[1]);
	check_map(l, 1, 1, l->num[0], l->num[1]);
	for (int64_t i = 0; i < l->num[0] * l->num[1]; i++)
		((float *)l->ptr[1])[i] = ((float *)l->ptr[0])[i] + 1;
}
static void k_count(const FakeLaunch *l) /* state, n */
{
	int32_t *s = l->ptr[0];
	for (int i = 0; i < 4; i++)
		s[i]++;
	memcpy(l->ptr[1], s, 16);
}
static void test_kernels(void)
{
	fake_cuda_p->kernel("k_copy", 2, 2, 1, k_copy);
	fake_cuda_p->kernel("k_layer", 5, 4, 0, k_layer);
	fake_cuda_p->kernel("k_one", 2, 2, 2, k_one);
	fake_cuda_p->kernel("k_count", 2, 0, 0, k_count);
}

static inline float expected(float x, int64_t column)
{
	for (int i = 0; i < LAYERS; i++)
		x = x * logical.w[i][column % 60] + 1;
	return x;
}

/* ---- plans ---- */

typedef struct { TsPlanBuild *b; uint32_t d_b, d_n, e_b, e_n, bytes, w, v, cat, c, copy, layer, one, count, file; bool device; uint8_t *blob; uint64_t file_at, external_at; } Builder;

static const TsPack pack_w = { .kind = TS_PACK_PANELS, .elem = 4, .panel = 8, .group = 1, .batch = 1, .k = 6, .n = 10, .stride_k = 10, .stride_n = 1 };
static const TsPack pack_v = { .kind = TS_PACK_PANELS, .elem = 2, .panel = 4, .group = 2, .batch = 2, .k = 5, .n = 6, .stride_batch = 30, .stride_k = 1, .stride_n = 5 };
static const TsPack pack_cat[2] = { { .kind = TS_PACK_PANELS, .elem = 4, .panel = 4, .group = 1, .batch = 1, .k = 4, .n = 3, .stride_k = 8, .stride_n = 1 },
                                    { .kind = TS_PACK_PANELS, .elem = 4, .panel = 4, .group = 1, .batch = 1, .k = 4, .n = 5, .stride_k = 8, .stride_n = 1 } };
static const TsPack pack_copy = { .kind = TS_PACK_COPY };

/* one weight: its parts are packed into the blob as the CPU has them, from `at` on; the device gets the whole */
static uint32_t add_weight(Builder *m, const char *name, uint32_t dtype, int64_t elems, uint64_t bytes, uint64_t *at, uint64_t *device_at, const void *whole, const TsPack *parts,
                           const int64_t *first, uint32_t n)
{
	TsPlanWeight w = { .file = TS_NONE, .offset = m->device ? *device_at : *at, .bytes = bytes };
	if (m->file != TS_NONE && n == 1) { /* as it is in the file of test_external */
		int64_t packed = (int64_t)bytes;
		w = (TsPlanWeight){ .where = TS_WEIGHT_EXTERNAL, .file = m->file, .offset = m->device ? *device_at : m->external_at, .bytes = bytes, .file_offset = m->file_at, .file_bytes = bytes };
		if (!m->device && parts[0].kind == TS_PACK_PANELS && ts_pack_bytes(&parts[0], &packed)) {
			w.pack = parts[0];
			w.bytes = (uint64_t)packed;
		}
		m->file_at += bytes;
		m->external_at += ((uint64_t)packed + 63) / 64 * 64;
		*device_at += (bytes + 255) / 256 * 256;
		return ts_plan_add_weight(m->b, name, dtype, 1, (int64_t[]){ elems }, w);
	}
	int32_t size = bytes ? (int32_t)(bytes / (uint64_t)elems) : 0;
	for (uint32_t i = 0; i < n; i++) {
		int64_t packed = (int64_t)bytes;
		if (parts[i].kind == TS_PACK_PANELS) {
			ts_pack_bytes(&parts[i], &packed);
			ts_pack_panels(&parts[i], (const uint8_t *)whole + first[i] * size, 0, parts[i].batch * ts_pack_ceil(parts[i].n, parts[i].panel), m->blob + *at);
		} else {
			memcpy(m->blob + *at, whole, bytes);
		}
		if (m->device) {
			uint32_t part = ts_plan_add_part(m->b, (TsPlanPart){ .offset = *at, .bytes = (uint64_t)packed, .first = first[i], .pack = parts[i] });
			w.part = i ? w.part : part;
			w.n_parts++;
		} else if (!i) {
			w.bytes = (uint64_t)packed;
			w.pack = parts[i];
		}
		*at += ((uint64_t)packed + 63) / 64 * 64;
	}
	*device_at += (bytes + 255) / 256 * 256;
	return ts_plan_add_weight(m->b, name, dtype, 1, (int64_t[]){ elems }, w);
}

static void add_weights(Builder *m)
{
	static const int64_t none[1] = { 0 }, cat[2] = { 0, 3 };
	static const char *const names[LAYERS] = { "w.0", "w.1", "w.2" };
	uint64_t at = 0, device_at = 0;
	uint32_t words[LAYERS], one;
	for (int i = 0; i < LAYERS; i++)
		words[i] = add_weight(m, names[i], TS_PLAN_F32, 60, W_BYTES, &at, &device_at, logical.w[i], &pack_w, none, 1);
	m->w = ts_plan_add_words(m->b, words, LAYERS);
	one = add_weight(m, "v", TS_PLAN_BF16, 60, V_BYTES, &at, &device_at, logical.v, &pack_v, none, 1);
	m->v = ts_plan_add_words(m->b, &one, 1);
	one = add_weight(m, "cat", TS_PLAN_F32, 32, CAT_BYTES, &at, &device_at, logical.cat, pack_cat, cat, 2);
	m->cat = ts_plan_add_words(m->b, &one, 1);
	m->c = add_weight(m, "c", TS_PLAN_INT32, 4, C_BYTES, &at, &device_at, logical.c, &pack_copy, none, 1);
}

static uint32_t add_kernel(Builder *m, const char *name, uint32_t n_maps, uint32_t flags, uint32_t cluster)
{
	const TsPlanExpr f[] = { { .kind = TS_EX_NUM, .a = 0 }, { .kind = TS_EX_NUM, .a = 1 }, { .kind = TS_EX_CONST, .value = 1 } };
	if (!m->device)
		return ts_plan_add_kernel(m->b, name);
	TsPlanKernel k = { .flags = flags, .module = 0, .threads = 256, .cluster = cluster, .shared_bytes = 65536, .map = ts_plan_next_map(m->b) };
	for (uint32_t i = 0; i < n_maps; i++)
		ts_plan_add_map(m->b, (TsPlanMap){ .arg = i, .dtype = TS_PLAN_F32, .rank = 2, .swizzle = 32 }, (uint32_t[]){ 0, 1 }, (uint32_t[]){ 1, 2 }, (uint32_t[]){ 4, 8 });
	return ts_plan_add_device_kernel(m->b, name, f, n_maps ? 3 : 0, k);
}

static void add_launch(Builder *m, const char *name, uint32_t kernel, uint32_t per_sm, const TsPlanArg *args, uint32_t n_args, const uint32_t *nums, uint32_t n_nums)
{
	TsPlanStep s = { .kind = TS_STEP_LAUNCH, .name = ts_plan_add_str(m->b, name), .choice = ts_plan_next_choice(m->b), .n_choices = 2,
	                 .arg = ts_plan_next_arg(m->b), .n_args = n_args, .num = ts_plan_add_words(m->b, nums, n_nums), .n_nums = n_nums };
	uint32_t small = ts_plan_op(m->b, TS_EX_LE, m->e_n, ts_plan_const(m->b, 64));
	uint32_t count = ts_plan_op(m->b, TS_EX_MUL, m->e_b, m->e_n), bytes = ts_plan_op(m->b, TS_EX_MUL, count, ts_plan_const(m->b, 4));
	if (!strcmp(name, "layer")) { /* the others move bytes, and say nothing of it */
		s.values = ts_plan_add_str(m->b, "t layer");
		s.cost = ts_plan_add_words(m->b, (uint32_t[]){ ts_plan_op(m->b, TS_EX_MUL, count, ts_plan_const(m->b, 2)), bytes, bytes }, 3);
		s.n_cost = 3;
	}
	for (int i = 0; i < 2; i++)
		if (m->device)
			ts_plan_add_device_choice(m->b, i ? TS_NONE : small, kernel, m->e_b, per_sm, i ? "large" : "small");
		else
			ts_plan_add_choice(m->b, i ? TS_NONE : small, kernel, m->e_b, TS_NONE, i ? "large" : "small");
	for (uint32_t i = 0; i < n_args; i++)
		ts_plan_add_arg(m->b, args[i]);
	ts_plan_add_step(m->b, s);
}

static TsPlanEntry begin_entry(Builder *m, const char *name, uint32_t workspace)
{
	TsPlanEntry e = { .name = ts_plan_add_str(m->b, name), .n_inputs = 1, .n_outputs = 1, .tensor = ts_plan_next_tensor(m->b), .bind = ts_plan_next_bind(m->b), .n_binds = 2,
	                  .step = ts_plan_next_step(m->b), .workspace = workspace };
	uint32_t dims[2] = { m->e_b, m->e_n };
	ts_plan_add_tensor(m->b, "x", TS_PLAN_F32, 2, dims, 4, "toy.tg:2:9");
	ts_plan_add_tensor(m->b, "y", TS_PLAN_F32, 2, dims, 4, NULL);
	ts_plan_add_bind(m->b, (TsPlanBind){ .dim = m->d_b, .tensor = 0, .axis = 0, .mul = 1 });
	ts_plan_add_bind(m->b, (TsPlanBind){ .dim = m->d_n, .tensor = 0, .axis = 1, .mul = 1 });
	return e;
}

#define ARG_IN { .kind = TS_ARG_INPUT, .offset = TS_NONE, .index_expr = TS_NONE }
#define ARG_OUT { .kind = TS_ARG_OUTPUT, .offset = TS_NONE, .index_expr = TS_NONE }
#define ARG_WS(at) { .kind = TS_ARG_WORKSPACE, .offset = (at), .index_expr = TS_NONE }
#define ARG_WEIGHT(first, n, which) { .kind = TS_ARG_WEIGHT, .table = (first), .n_table = (n), .index_expr = (which), .offset = TS_NONE }

static void add_chain(Builder *m)
{
	TsPlanBuild *b = m->b;
	uint32_t room = ts_plan_align(b, m->bytes, 256), even = ts_plan_op(b, TS_EX_MOD, ts_plan_loop(b, 0), ts_plan_const(b, 2));
	uint32_t from = ts_plan_op(b, TS_EX_MUL, even, room), to = ts_plan_op(b, TS_EX_SUB, room, from), layer = ts_plan_loop(b, 0);
	uint32_t two[2] = { m->e_b, m->e_n }, three[3] = { m->e_b, m->e_n, layer };
	TsPlanEntry e = begin_entry(m, "chain", ts_plan_op(b, TS_EX_MUL, room, ts_plan_const(b, 2)));
	add_launch(m, "load", m->copy, 0, (TsPlanArg[]){ ARG_IN, ARG_WS(TS_NONE) }, 2, two, 2);
	uint32_t loop = ts_plan_loop_begin(b, 0, ts_plan_const(b, 0), ts_plan_const(b, LAYERS));
	add_launch(m, "layer", m->layer, 1, (TsPlanArg[]){ ARG_WS(from), ARG_WEIGHT(m->w, LAYERS, layer), ARG_WEIGHT(m->v, 1, TS_NONE), ARG_WEIGHT(m->cat, 1, TS_NONE), ARG_WS(to) }, 5, three, 3);
	ts_plan_loop_end(b, loop);
	add_launch(m, "store", m->copy, 0, (TsPlanArg[]){ ARG_WS(room), ARG_OUT }, 2, two, 2);
	e.n_steps = ts_plan_next_step(b) - e.step;
	ts_plan_add_entry(b, e);
}

static void add_one(Builder *m)
{
	uint32_t two[2] = { m->e_b, m->e_n };
	TsPlanEntry e = begin_entry(m, "one", ts_plan_const(m->b, 0));
	add_launch(m, "plus", m->one, 0, (TsPlanArg[]){ ARG_IN, ARG_OUT }, 2, two, 2);
	e.n_steps = 1;
	ts_plan_add_entry(m->b, e);
}

static void add_count(Builder *m)
{
	uint32_t four = ts_plan_const(m->b, 4), k = ts_plan_next_choice(m->b);
	TsPlanEntry e = { .name = ts_plan_add_str(m->b, "count"), .n_outputs = 1, .tensor = ts_plan_next_tensor(m->b), .step = ts_plan_next_step(m->b), .workspace = ts_plan_const(m->b, 0), .n_steps = 1 };
	ts_plan_add_tensor(m->b, "n", TS_PLAN_INT32, 1, &four, 4, NULL);
	TsPlanStep s = { .kind = TS_STEP_LAUNCH, .name = ts_plan_add_str(m->b, "count"), .choice = k, .n_choices = 1, .arg = ts_plan_next_arg(m->b), .n_args = 2 };
	if (m->device)
		ts_plan_add_device_choice(m->b, TS_NONE, m->count, ts_plan_const(m->b, 1), 0, "");
	else
		ts_plan_add_choice(m->b, TS_NONE, m->count, ts_plan_const(m->b, 1), TS_NONE, "");
	ts_plan_add_arg(m->b, (TsPlanArg){ .kind = TS_ARG_STATE, .offset = TS_NONE, .index_expr = TS_NONE });
	ts_plan_add_arg(m->b, (TsPlanArg)ARG_OUT);
	ts_plan_add_step(m->b, s);
	ts_plan_add_entry(m->b, e);
}

/* sm 0: the CPU's */
static TsBytes make_plan(TsCtx *cx, uint8_t *blob, const char *target, uint32_t sm, uint32_t flags, const TsPlanFile *file, const char *file_name)
{
	Builder m = { .b = ts_plan_new(cx, "toy", "test"), .device = sm != 0, .blob = blob, .file = TS_NONE };
	TsPlanBuild *b = m.b;
	if (file)
		m.file = ts_plan_add_file(b, file_name, file->bytes, file->sha256);
	if (sm) {
		ts_plan_for_device(b, target, DEVICE_BYTES, CODE);
		ts_plan_add_module(b, "g0", (TsPlanModule){ .flags = flags, .sm = sm, .cubin = sm == 80 ? 0 : 128, .cubin_bytes = 64, .ptx = sm == 80 ? 64 : 192, .ptx_bytes = 64, .ptx_text = 62 });
	}
	m.d_b = ts_plan_add_dim(b, "B", 0, 64, 1);
	m.d_n = ts_plan_add_dim(b, "N", 8, 4096, 8);
	m.e_b = ts_plan_dim(b, m.d_b);
	m.e_n = ts_plan_dim(b, m.d_n);
	m.bytes = ts_plan_op(b, TS_EX_MUL, ts_plan_op(b, TS_EX_MUL, m.e_b, m.e_n), ts_plan_const(b, 4));
	add_weights(&m);
	m.copy = add_kernel(&m, "k_copy", 1, 0, 1);
	m.layer = add_kernel(&m, "k_layer", 0, TS_KERNEL_PERSISTENT, 2);
	m.one = add_kernel(&m, "k_one", 2, 0, 1);
	m.count = add_kernel(&m, "k_count", 0, 0, 1);
	uint32_t four = ts_plan_const(b, 4);
	ts_plan_add_state(b, (TsPlanState){ .name = ts_plan_add_str(b, "s"), .dtype = TS_PLAN_INT32, .rank = 1, .dims = ts_plan_add_words(b, &four, 1), .init = m.c, .bytes = ts_plan_const(b, 16) });
	add_chain(&m);
	add_one(&m);
	add_count(&m);
	return ts_plan_finish(b, BLOB, sm ? 0 : m.external_at);
}

/* an LZ4 block of 64 bytes: 62 literals, the text and zeros */
static void put_ptx(uint8_t *at, const char *text)
{
	memset(at, 0, 64);
	at[0] = 15 << 4;
	at[1] = 62 - 15;
	strcpy((char *)at + 2, text);
}

/* sm_80 with PTX, and sm_90a alone with its own. file: where all weights but `cat` lie, one behind the other, or NULL */
static inline void make_model(TsCtx *cx, TestModel *t, const TsPlanFile *file, const char *file_name)
{
	static const void *no_kernels[16];
	memset(t, 0, sizeof *t);
	fill_logical();
	TsBytes cpu = make_plan(cx, t->blob, "cpu", 0, 0, file, file_name), a = make_plan(cx, t->blob, "sm_80", 80, 0, file, file_name);
	TsBytes b = make_plan(cx, t->blob, "sm_90a", 90, TS_MODULE_EXACT, file, file_name);
	t->plans[0] = (TesseraDevicePlan){ "sm_80", a.p, a.n };
	t->plans[1] = (TesseraDevicePlan){ "sm_90a", b.p, b.n };
	strcpy((char *)t->code, "cubin 80.");
	put_ptx(t->code + 64, ".version 7.0 .target sm_80");
	strcpy((char *)t->code + 128, "cubin 90a Cuda compilation tools, release 13.0, V13");
	put_ptx(t->code + 192, ".version 8.0 .target sm_90a");
	t->link[0] = (uint64_t)(t->blob - (uint8_t *)&t->link[0]);
	t->link[1] = BLOB;
	t->link[2] = (uint64_t)(t->code - (uint8_t *)&t->link[2]);
	t->link[3] = CODE;
	t->m = (TesseraModel){ .abi = TESSERA_ABI, .size = sizeof t->m, .name = "toy", .api = &ts_api, .plan = cpu.p, .plan_bytes = cpu.n, .kernels = no_kernels, .weights = &t->link[0],
	                       .weight_bytes = &t->link[1], .device_plans = t->plans, .n_device_plans = 2, .device_code = &t->link[2], .device_code_bytes = &t->link[3],
	                       .device_ops = &ts_cuda_ops };
}
