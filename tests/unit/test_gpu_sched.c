/* GPU schedules without a GPU: small graphs of every operator and type scheduled for a target; every kernel of the plan verified and run in
 * the simulator in the plan's order, on the plan's buffers; results compared with the interpreter as tests/unit/test_diff.c does.
 * Usage: test_gpu_sched [-v] [SEED [ONLY-OP [TARGET [TYPE]]]], or SEED shapes TARGET NAME */
#include "tests/unit/cases.h"
#include "tests/unit/simrun.h"

static int passed, failed;
static bool tf32; /* the graphs allow it */
static Fill floats = FILL_NORMAL;

/* ---- comparing ---- */
static bool set_inputs(Build *b, const Case *c, const TsOpInfo *info, int64_t *syms, TsTensor *in)
{
	for (uint32_t s = 0; s < ts_dim_symbol_count(b->m->dims); s++) syms[s] = atoll(ts_dim_symbol_info(b->m->dims, s)->name + 1);
	for (uint32_t i = 0; i < b->g->params.n; i++) {
		const TsType *ty = &ts_val(b->g, b->g->params.p[i])->type;
		int64_t dim[TS_MAX_RANK];
		for (int k = 0; k < ty->rank; k++) ts_dim_eval(b->m->dims, ty->dim[k], syms, &dim[k]);
		if (!ts_tensor_new(b->cx, "input", ty->elem, ty->rank, dim, &in[i])) return false;
		fill_case(b->rng, c, info, i, floats, &in[i]);
	}
	return true;
}

/* Schedules b's graph, runs it and compares. false: why. */
static bool check_graph(Build *b, const Case *c, const TsOpInfo *info, const char *target, char *why, size_t room)
{
	TsTensor in[16] = { 0 }, f64[8] = { 0 }, dec[8] = { 0 }, out[8] = { 0 };
	int64_t syms[256];
	uint32_t no = b->g->body.results.n;
	bool ok = false;
	snprintf(why, room, "interpreter");
	if (!ts_verify(b->m, "test") || !set_inputs(b, c, info, syms, in)) goto done;
	if (!ts_eval(b->m, b->g, TS_EVAL_F64, in, f64) || !ts_eval(b->m, b->g, TS_EVAL_DECLARED, in, dec)) goto done;
	TsSched *s = ts_schedule(b->m, ts_sched_target(target));
	for (uint32_t i = 0; i < no; i++)
		if (!ts_tensor_new(b->cx, "output", dec[i].elem, dec[i].rank, dec[i].dim, &out[i])) goto done;
	if (!s || !sim_execute(b->cx, b->m, s, syms, b->rng, in, out)) {
		TsBuf t = { 0 };
		ts_diag_text(b->cx, &t);
		snprintf(why, room, "%s", t.p ? t.p : "no schedule");
		ts_buf_free(&t);
		goto done;
	}
	ok = true;
	double slack = info ? sum_slack(b, info, c->elem, in, b->g->params.n, f64) : 0;
	for (uint32_t i = 0; i < no && ok; i++) {
		Verdict q = compare(&out[i], &f64[i], &dec[i], c->ulps, slack);
		if (!q.bad) continue;
		snprintf(why, room, "element %lld: want %.9g, got %.9g (declared %.9g), error %.3g over %.3g", (long long)q.at, q.want, q.got, q.declared, q.worst, q.limit);
		ok = false;
	}
done:
	for (int i = 0; i < 16; i++) ts_tensor_free(&in[i]);
	for (int i = 0; i < 8; i++) { ts_tensor_free(&f64[i]); ts_tensor_free(&dec[i]); ts_tensor_free(&out[i]); }
	return ok;
}

static void print_shapes(Build *b)
{
	TsBuf t = { 0 };
	for (uint32_t i = 0; i < b->g->params.n; i++) {
		ts_buf_char(&t, ' ');
		ts_type_print(b->m, &ts_val(b->g, b->g->params.p[i])->type, &t);
	}
	printf("  shapes:%s\n", t.p ? t.p : "");
	ts_buf_free(&t);
}

/* ok 1, failed 0, not a type of the operator -1. */
static int run_case(Rng *rng, TsOp op, TsDtype elem, int turn, const char *target, char *why, size_t room)
{
	Build b = build_begin(rng);
	Case c = { .elem = elem, .op = op, .turn = turn };
	const TsOpInfo *info = ts_op_info(b.cx, op);
	c.ulps = bound_ulps(info, elem);
	case_special(&c, info, turn == 1);
	per_product = is_fp8(elem) ? fp8_slack[floats] : 0;
	TsVal v = make_case(&b, &c);
	int verdict = -1;
	if (v) {
		build_result(&b, v);
		verdict = check_graph(&b, &c, info, target, why, room);
		if (!verdict) print_shapes(&b);
	}
	ts_ctx_free(b.cx);
	return verdict;
}

/* ---- shapes that the random ones do not reach: every variant of a schedule function, its borders, fused graphs ---- */
static TsVal turned(Build *b, TsVal x, int rank)
{
	int64_t p3[] = { 0, 2, 1 }, p2[] = { 1, 0 };
	TsAttr *a = build_attrs(b, TS_OP_transpose);
	attr_ints(b, &a[0], (uint32_t)rank, rank == 3 ? p3 : p2);
	return build_op(b, TS_OP_transpose, a, 1, &x);
}

/* how: bits 1, 2: a, b turned; 4: bias and relu behind; 8, 16: a, b batched; 32: of two types of 8 bits; 64: bias and gelu. 8-bit types give bf16, f32 with 128. */
static TsVal build_matmul(Build *b, Case *c, const int64_t *s, int how, bool sym)
{
	TsDim d[4] = { build_dim(b, 2, sym), build_dim(b, s[0], sym), build_dim(b, s[1], sym && s[1] != s[0]), build_dim(b, s[2], sym && s[2] != s[0] && s[2] != s[1]) };
	TsDim a[3] = { d[0], how & 1 ? d[3] : d[1], how & 1 ? d[1] : d[3] }, w[3] = { d[0], how & 2 ? d[2] : d[3], how & 2 ? d[3] : d[2] };
	int ra = how & 8 ? 3 : 2, rb = how & 16 ? 3 : 2;
	TsVal x = build_param(b, c->elem, ra, a + 3 - ra), y = build_param(b, how & 32 ? TS_FP8_E5M2 : c->elem, rb, w + 3 - rb);
	TsDtype to = how & 128 ? TS_F32 : ts_dtype_bits(c->elem) == 8 ? TS_BF16 : c->elem;
	TsAttr *attr = build_attrs(b, TS_OP_matmul);
	if (to != c->elem) build_attr(b, attr, TS_OP_matmul, "out")->t = to, build_attr(b, attr, TS_OP_matmul, "out")->none = false;
	if (how & 1) x = turned(b, x, ra);
	if (how & 2) y = turned(b, y, rb);
	TsVal z = build_op(b, TS_OP_matmul, attr, 2, (TsVal[]){ x, y });
	if (!(how & (4 | 64))) return z;
	TsVal bias = build_param(b, to, 1, d + 2);
	z = build_op(b, TS_OP_add, NULL, 2, (TsVal[]){ z, bias });
	return build_op(b, how & 64 ? TS_OP_gelu : TS_OP_relu, NULL, 1, &z);
}

static TsVal build_rows(Build *b, Case *c, const int64_t *s, int how, bool sym)
{
	TsDim d[2] = { build_dim(b, s[0], sym && !(how & 2)), build_dim(b, s[1], sym && s[1] != s[0]) };
	TsVal x = build_param(b, c->elem, how & 2 ? 1 : 2, how & 2 ? d + 1 : d), in[3] = { 0 };
	if (how & 2) { /* the same row again and again */
		TsAttr *to = build_attrs(b, TS_OP_broadcast);
		attr_dims(b, &to[0], 2, d);
		x = build_op(b, TS_OP_broadcast, to, 1, &x);
	}
	in[0] = x;
	const TsOpInfo *info = ts_op_info(b->cx, c->op);
	TsAttr *a = build_attrs(b, c->op);
	int64_t axis = how & 1 ? 0 : 1;
	int at = ts_op_attr_index(info, "axis");
	for (int i = 1; i < info->nin; i++) in[i] = build_param(b, c->elem, 1, d + 1);
	if (at >= 0) attr_ints(b, &a[at], 1, &axis);
	return build_op(b, c->op, a, info->nin, in);
}

/* x transposed plus x2, by columns: operands read across, short rows, a table of rows */
static TsVal build_pointwise(Build *b, Case *c, const int64_t *s, int how, bool sym)
{
	TsDim d[2] = { build_dim(b, s[0], sym), build_dim(b, s[1], sym && s[1] != s[0]) }, e[2] = { d[1], d[0] };
	TsVal x = build_param(b, c->elem, 2, d), y = build_param(b, c->elem, 2, how & 1 ? e : d), z = build_param(b, c->elem, 1, how & 2 ? d : d + 1);
	if (how & 1) y = turned(b, y, 2);
	TsVal t = build_op(b, TS_OP_add, NULL, 2, (TsVal[]){ x, y });
	if (how & 2) return turned(b, build_op(b, TS_OP_add, NULL, 2, (TsVal[]){ turned(b, t, 2), z }), 2);
	return build_op(b, TS_OP_mul, NULL, 2, (TsVal[]){ t, z });
}

/* long rows of odd length: what lies as the result, what is the same in every row, in every group of rows, along a row; what is read across */
static TsVal build_long(Build *b, Case *c, const int64_t *s, int how, bool sym)
{
	TsDim d[3] = { build_dim(b, s[0], sym), build_dim(b, s[1], sym), build_dim(b, s[2], sym) }, of_row[3] = { d[0], d[1], ts_dim_const(b->m->dims, 1) };
	TsVal x = build_param(b, c->elem, 3, d), z = build_op(b, TS_OP_mul, NULL, 2, (TsVal[]){ x, build_param(b, c->elem, 1, d + 2) });
	if (how & 1) z = build_op(b, TS_OP_add, NULL, 2, (TsVal[]){ z, build_param(b, c->elem, 3, of_row) });
	if (how & 2) z = build_op(b, TS_OP_add, NULL, 2, (TsVal[]){ build_param(b, c->elem, 2, d + 1), z });
	if (how & 4) z = build_op(b, TS_OP_add, NULL, 2, (TsVal[]){ z, build_param(b, c->elem, 3, d) });
	if (how & 8) z = build_op(b, TS_OP_mul, NULL, 2, (TsVal[]){ z, turned(b, build_param(b, c->elem, 3, (TsDim[]){ d[0], d[2], d[1] }), 3) });
	return z;
}

/* how: 1 causal, 2 a window, 4 heads in groups, 8 an offset, 16 a bias, 32 a factor, 64 that is 0, 128 that is huge, 192 that is NaN */
static TsVal build_attention(Build *b, Case *c, const int64_t *s, int how, bool sym)
{
	TsDims *d = b->m->dims;
	TsDim S = build_dim(b, s[0], sym), T = build_dim(b, s[1], sym), D = build_dim(b, s[2], sym && s[0] % 2), H = ts_dim_const(d, how & 4 ? 4 : 2), G = ts_dim_const(d, 2), one = ts_dim_const(d, 1);
	TsDim q[4] = { one, H, S, D }, kv[4] = { one, G, T, D }, bias[4] = { one, one, S, T };
	TsVal in[7] = { build_param(b, c->elem, 4, q), build_param(b, c->elem, 4, kv), build_param(b, c->elem, 4, kv) };
	if (how & 16) in[4] = build_param(b, c->elem, 4, bias);
	if (how & 8) in[5] = build_param(b, TS_INT64, 0, NULL);
	if (how & 32) in[6] = build_param(b, c->elem == TS_F64 ? TS_F64 : TS_F32, 0, NULL);
	if ((how & 192) == 64) in[6] = build_op(b, TS_OP_sub, NULL, 2, (TsVal[]){ in[6], in[6] });
	if ((how & 192) == 128) { /* by 1e13, the square of exp(exp(exp(1))) */
		TsVal x = build_op(b, TS_OP_div, NULL, 2, (TsVal[]){ in[6], in[6] });
		for (int i = 0; i < 3; i++) x = build_op(b, TS_OP_exp, NULL, 1, &x);
		for (int i = 0; i < 2; i++) in[6] = build_op(b, TS_OP_mul, NULL, 2, (TsVal[]){ in[6], x });
	}
	if ((how & 192) == 192) {
		TsVal zero = build_op(b, TS_OP_sub, NULL, 2, (TsVal[]){ in[6], in[6] });
		in[6] = build_op(b, TS_OP_div, NULL, 2, (TsVal[]){ zero, zero });
	}
	TsAttr *a = build_attrs(b, TS_OP_attention);
	build_attr(b, a, TS_OP_attention, "causal")->i = how & 1;
	if (how & 2) build_attr(b, a, TS_OP_attention, "window")->i = 37;
	return build_op(b, TS_OP_attention, a, 7, in);
}

typedef TsVal Builder(Build *b, Case *c, const int64_t *s, int how, bool sym);
static const char *only_shape; /* of this name */
static bool extremes;          /* with the numbers of fill_extremes */
static void shape(const char *name, Builder *make, TsOp op, TsDtype elem, const int64_t *s, int how, const char *target, uint64_t seed)
{
	for (int sym = 0; sym < 2 && (!only_shape || !strcmp(only_shape, name)); sym++) {
		Rng rng = { seed * 7919 + (uint64_t)(s[0] * 31 + s[1] * 17 + s[2]) + (uint64_t)how };
		Build b = build_begin(&rng);
		Case c = { .elem = elem, .op = op, .extreme = extremes };
		const TsOpInfo *info = ts_op_info(b.cx, op);
		char why[900] = "does not build";
		b.m->numerics.tf32 = tf32;
		per_product = tf32 ? 0x1p-10 : is_fp8(elem) ? fp8_slack[floats] : 0;
		c.ulps = 4 * bound_ulps(info, elem); /* the few operators behind it */
		TsVal v = make(&b, &c, s, how, sym);
		if (v) build_result(&b, v);
		bool ok = v && check_graph(&b, &c, info, target, why, sizeof why);
		if (!ok) printf("FAIL %s %s %lld x %lld x %lld how %d sizes %s %s: %s\n", name, ts_dtype_name(elem), (long long)s[0], (long long)s[1], (long long)s[2], how, sym ? "open" : "known", target, why);
		failed += !ok;
		passed += ok;
		ts_ctx_free(b.cx);
	}
}

static void shapes_fp8(const char *target, uint64_t seed)
{
	static const int64_t eight[][3] = { { 130, 272, 272 }, { 16, 272, 128 }, { 65, 32, 80 }, { 200, 144, 16 }, { 300, 400, 144 }, { 128, 128, 0 }, { 33, 40, 64 } };
	for (size_t i = 0; i < sizeof eight / sizeof *eight; i++)
		for (int how = 0; how < 4; how += i ? 2 : 1) shape("matmul", build_matmul, TS_OP_matmul, i % 2 ? TS_FP8_E5M2 : TS_FP8_E4M3, eight[i], how + (i % 3 == 1 ? 32 : 0) + (i == 0 ? 64 : i == 3 ? 8 : 0), target, seed);
	/* of one sign over nine times 128 of k, where sums that went on would lose 1.5 % */
	static const int64_t deep[][3] = { { 72, 48, 1168 }, { 20, 48, 1168 } };
	for (int i = 0; i < 4; i++) {
		floats = i % 2 ? FILL_WHOLE : FILL_POSITIVE;
		shape("matmul", build_matmul, TS_OP_matmul, TS_FP8_E4M3, deep[i / 2], 128 + 2 + (i / 2 ? 32 : 0), target, seed);
	}
	floats = FILL_NORMAL;
}

/* few rows: long k, shared by CTAs and warps, ragged every way; b contiguous along n and along k */
static void shapes_few(const char *target, uint64_t seed)
{
	static const int64_t half[][3] = { { 1, 40, 1032 }, { 5, 72, 1160 }, { 20, 136, 1032 }, { 40, 72, 1096 }, { 3, 2056, 1024 }, { 9, 24, 520 } };
	static const int64_t full[][3] = { { 1, 40, 136 }, { 9, 72, 264 }, { 40, 136, 132 }, { 3, 2052, 128 } };
	for (size_t i = 0; i < sizeof half / sizeof *half; i++)
		for (int how = i == 4 ? 2 : 0; how < 4; how += 2) shape("matmul", build_matmul, TS_OP_matmul, i % 2 ? TS_F16 : TS_BF16, half[i], how + (i == 1 ? 4 : i == 5 ? 24 : 0), target, seed);
	for (size_t i = 0; i < sizeof full / sizeof *full; i++)
		for (int how = 0; how < 4; how += 2) shape("matmul", build_matmul, TS_OP_matmul, i == 1 && how ? TS_F64 : TS_F32, full[i], how + (i == 2 ? 4 : i == 1 ? 8 : 0), target, seed);
}

/* rows of every form, and every form of attention with a bias, all of the numbers that masks are made of */
static void shapes_extreme(const char *target, uint64_t seed)
{
	static const int64_t rows[][3] = { { 5, 500 }, { 3, 2049 }, { 2, 9000 }, { 70, 40 }, { 300, 24 } };
	static const int64_t attn[][4] = { { 20, 70, 64, 16 }, { 1, 300, 64, 20 }, { 1, 300, 35, 16 } };
	extremes = true;
	for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++)
		shape("softmax", build_rows, TS_OP_softmax, i % 2 ? TS_BF16 : TS_F32, rows[i / 2], i % 4 == 2 ? 1 : 0, target, seed + i);
	for (size_t i = 0; i < 2 * sizeof attn / sizeof *attn; i++)
		for (nth_choice = 0; nth_choice < 2; nth_choice++) shape("attention", build_attention, TS_OP_attention, i % 2 ? TS_F32 : TS_BF16, attn[i / 2], (int)attn[i / 2][3], target, seed + i);
	extremes = false;
	nth_choice = -1;
}

static void shapes(TsCtx *names, const char *target, uint64_t seed)
{
	static const int64_t mm[][3] = { { 130, 136, 200 }, { 16, 264, 72 }, { 17, 128, 64 }, { 64, 72, 136 }, { 65, 24, 8 }, { 200, 40, 64 }, { 128, 128, 0 }, { 33, 35, 37 } };
	static const int64_t rows[][3] = { { 5, 500 }, { 3, 512 }, { 3, 513 }, { 2, 2000 }, { 2, 4096 }, { 2, 4097 }, { 1, 9000 }, { 1, 16384 }, { 2, 16392 }, { 2, 20001 }, { 1, 33000 }, { 1, 70000 }, { 1, 262152 }, { 3, 70 }, { 70, 40 }, { 300, 24 }, { 5000, 8 } };
	static const int64_t pw[][3] = { { 70, 136 }, { 64, 64 }, { 3, 5000 }, { 700, 3 }, { 130, 65 }, { 40, 512 }, { 65, 3 }, { 131, 203 } };
	for (size_t i = 0; i < sizeof mm / sizeof *mm; i++)
		for (int how = 0; how < 4; how++) {
			shape("matmul", build_matmul, TS_OP_matmul, TS_BF16, mm[i], how + 8 * (how ^ (int)i % 4) % 32 + (how == 1 ? 4 : 0), target, seed);
			if (how == (int)i % 4) shape("matmul", build_matmul, TS_OP_matmul, i % 2 ? TS_F32 : TS_F64, mm[i], how + (how & 1 ? 8 : 0), target, seed);
		}
	/* every tile by wgmma, whatever is best: more than one of it both ways, and none whole */
	static const int64_t tiles[][3] = { { 200, 264, 136 }, { 390, 72, 200 }, { 72, 520, 72 }, { 133, 139, 401 }, { 65, 264, 387 } };
	for (nth_choice = 0; nth_choice < 18 && !strcmp(target, "sm_90a"); nth_choice++)
		for (int i = 0; i < 5; i++) shape("matmul", build_matmul, TS_OP_matmul, i ? TS_BF16 : TS_F16, tiles[i], (nth_choice + i) % 4 + (i == 1 ? 4 : i == 2 ? 24 : i == 3 ? nth_choice % 8 * 4 : 0), target, seed);
	static const int64_t tile8[] = { 200, 528, 272 };
	for (nth_choice = 0; nth_choice < 9 && !strcmp(target, "sm_90a"); nth_choice++) shape("matmul", build_matmul, TS_OP_matmul, TS_FP8_E4M3, tile8, 2 + 16 * (nth_choice % 2), target, seed);
	nth_choice = -1;
	for (int i = 0; i < 8; i++) {
		tf32 = true;
		shape("matmul", build_matmul, TS_OP_matmul, TS_F32, mm[i], i % 4 + (i < 2 ? 4 : i == 5 ? 24 : 0), target, seed);
		tf32 = false;
	}
	shapes_fp8(target, seed);
	static const int64_t deep[][3] = { { 130, 136, 3072 }, { 72, 264, 2696 }, { 80, 40, 2600 } }; /* k in parts */
	for (int i = 0; i < 6 && !strcmp(target, "sm_90a"); i++) shape("matmul", build_matmul, TS_OP_matmul, TS_BF16, deep[i % 3], i % 4 + (i == 1 ? 4 : 0) + (i % 3 == 2 ? 24 : 0), target, seed);
	shapes_few(target, seed);
	shapes_extreme(target, seed);
	static const int64_t attn[][3] = { { 130, 130, 64 }, { 1, 200, 128 }, { 65, 64, 80 }, { 64, 129, 40 }, { 70, 70, 256 }, { 33, 100, 32 }, { 5, 0, 64 }, { 1, 2500, 64 }, { 1, 1030, 80 }, { 1, 0, 64 }, { 1, 70, 256 } };
	for (size_t i = 0; i < sizeof attn / sizeof *attn; i++)
		for (int k = 0; k < 3; k++) shape("attention", build_attention, TS_OP_attention, k == 2 ? TS_F32 : TS_F16, attn[i], (int)(i * 5 + (size_t)k * 11) % 32 + (i % 3 == 1 ? 32 : 0), target, seed);
	/* several tiles of queries, with and without what each may hide; spans of one query, the heads of a group together */
	static const int64_t many[][4] = { { 270, 270, 64, 0 }, { 270, 270, 64, 1 }, { 140, 260, 128, 0 }, { 140, 260, 72, 1 }, { 270, 140, 96, 3 }, { 130, 140, 128, 5 }, { 140, 330, 64, 9 }, { 140, 150, 256, 1 }, { 140, 150, 200, 0 },
		{ 150, 140, 40, 17 }, { 140, 140, 256, 16 }, { 1, 600, 64, 4 }, { 1, 1100, 128, 0 }, { 1, 600, 256, 13 }, { 1, 1030, 72, 20 }, { 1, 1700, 64, 7 }, { 1, 600, 35, 4 }, { 1, 8400, 64, 0 },
		{ 270, 270, 64, 32 }, { 270, 270, 128, 33 }, { 140, 330, 256, 33 }, { 140, 260, 40, 34 }, { 65, 130, 128, 48 }, { 1, 600, 64, 36 }, { 1, 1100, 128, 52 }, { 70, 70, 200, 33 }, { 130, 140, 64, 97 },
		{ 40, 70, 128, 98 }, { 1, 600, 64, 97 },
		{ 130, 140, 64, 160 }, { 140, 260, 128, 161 }, { 1, 600, 64, 164 }, { 70, 40, 72, 160 }, { 130, 140, 64, 225 }, { 70, 70, 200, 233 }, { 1, 600, 64, 233 }, { 40, 70, 64, 234 } };
	for (size_t i = 0; i < sizeof many / sizeof *many; i++) shape("attention", build_attention, TS_OP_attention, i % 2 ? TS_F16 : TS_BF16, many[i], (int)many[i][3], target, seed);
	static const TsOp ops[] = { TS_OP_softmax, TS_OP_layer_norm, TS_OP_rms_norm, TS_OP_sum, TS_OP_max, TS_OP_argmax };
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (int k = 0; k < 6; k++) {
			int at = ts_op_attr_index(ts_op_info(names, ops[k]), "axis");
			shape(ts_op_info(names, ops[k])->name, build_rows, ops[k], k % 2 ? TS_BF16 : TS_F32, rows[i], 0, target, seed);
			if (k == 0 || k > 2) shape(ts_op_info(names, ops[k])->name, build_rows, ops[k], k % 2 ? TS_F32 : TS_BF16, rows[i], 1, target, seed);
			if (at >= 0 && i % 4 == 0) shape(ts_op_info(names, ops[k])->name, build_rows, ops[k], TS_F32, rows[i], 3, target, seed);
		}
	for (size_t i = 0; i < sizeof pw / sizeof *pw; i++)
		for (int how = 0; how < 4; how++) shape("pointwise", build_pointwise, TS_OP_add, i % 2 ? TS_BF16 : TS_F32, pw[i], how, target, seed);
	static const int64_t lengths[][3] = { { 2, 3, 2049 }, { 3, 2, 4101 }, { 1, 4, 2047 }, { 4, 1, 5000 } };
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
		for (int how = 0; how < 8; how++) shape("long", build_long, TS_OP_add, (i + (size_t)how) % 3 ? TS_BF16 : TS_F32, lengths[i], how, target, seed);
	static const int64_t across[][3] = { { 3, 67, 129 }, { 2, 5, 203 }, { 1, 2049, 2051 } };
	for (size_t i = 0; i < sizeof across / sizeof *across; i++)
		for (int how = i == 2 ? 13 : 8; how < 16; how += i == 2 ? 8 : 1) shape("long", build_long, TS_OP_add, i + (size_t)how == 9 ? TS_F32 : how % 2 ? TS_BF16 : TS_F16, across[i], how, target, seed);
}

int main(int argc, char **argv)
{
	print_launches = argc > 1 && !strcmp(argv[1], "-v");
	argc -= print_launches, argv += print_launches;
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	const char *only = argc > 2 && *argv[2] ? argv[2] : NULL, *only_target = argc > 3 && *argv[3] ? argv[3] : NULL, *only_type = argc > 4 ? argv[4] : NULL;
	only_shape = only && !strcmp(only, "shapes") ? only_type : NULL;
	static const char *const targets[] = { "sm_80", "sm_90a" };
	TsCtx *names = ts_ctx_new();
	for (TsOp op = (TsOp)1; op < TS_OP_COUNT; op = (TsOp)(op + 1)) {
		const TsOpInfo *info = ts_op_info(names, op);
		if (info->cls == TS_CLS_LEAF || info->cls == TS_CLS_CONTROL || info->cls == TS_CLS_NONE || (only && strcmp(only, info->name))) continue;
		for (int k = 0; k < 2; k++) {
			int ran = 0, bad = 0;
			for (int t = 0; t < TS_DTYPE_COUNT; t++)
				for (int turn = 0; turn < 2; turn++) {
					char why[900] = "";
					if ((only_target && strcmp(only_target, targets[k])) || (only_type && strcmp(only_type, ts_dtype_name((TsDtype)t)))) continue;
					Rng rng = { seed * 1000003 + (uint64_t)op * 1009 + (uint64_t)t * 31 + (uint64_t)turn };
					int v = run_case(&rng, op, (TsDtype)t, turn, targets[k], why, sizeof why);
					if (v < 0) break;
					ran++;
					if (!v) { bad++; printf("FAIL %s %s %s turn %d: %s\n", info->name, ts_dtype_name((TsDtype)t), targets[k], turn, why); }
				}
			if (ran && !bad) printf("ok %s %s\n", info->name, targets[k]);
			passed += ran && !bad;
			failed += bad;
		}
	}
	for (int k = 0; k < 2 && (!only || !strcmp(only, "shapes")); k++)
		if (!only_target || !strcmp(only_target, targets[k])) shapes(names, targets[k], seed);
	for (int k = 0; k < 2 && only && !strcmp(only, "few"); k++)
		if (!only_target || !strcmp(only_target, targets[k])) shapes_few(targets[k], seed);
	for (int k = 0; k < 2 && only && !strcmp(only, "extremes"); k++)
		if (!only_target || !strcmp(only_target, targets[k])) shapes_extreme(targets[k], seed);
	if ((!only || !strcmp(only, "shapes")) && (!only_target || !strcmp(only_target, "sm_89"))) shapes_fp8("sm_89", seed);
	fprintf(stderr, "%d passed, %d failed, %d launches\n", passed, failed, launches);
	ts_ctx_free(names);
	return failed != 0;
}
