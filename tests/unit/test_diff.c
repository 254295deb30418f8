/* Every operator x element type: interpreted and compiled, compared; the table of what ran, and of what was refused with a message.
 * Usage: test_diff [SEED [ONLY-OP]] */
#include "tests/unit/cases.h"

static int passed, failed;
static TsOptions options;
static const char *only;

/* ok 1, failed 0, refused -1 (message in `why`), not a type of the operator -2. */
static int run_case(Rng *rng, TsOp op, TsDtype elem, int turn, char *why, size_t room)
{
	Build b = build_begin(rng);
	Case c = { .elem = elem, .op = op, .turn = turn };
	int verdict = 0;
	why[0] = 0;
	const TsOpInfo *info = ts_op_info(b.cx, op);
	c.ulps = bound_ulps(info, elem);
	case_special(&c, info, turn == 1);
	TsVal v = make_case(&b, &c);
	TsTensor in[16] = { 0 }, f64[8] = { 0 }, dec[8] = { 0 }, out[8] = { 0 };
	uint32_t ni = b.g->params.n, no = 0;
	Artifact art = { 0 };
	if (!v) { verdict = -2; goto done; }
	build_result(&b, v);
	no = b.g->body.results.n;
	if (!ts_verify(b.m, "test")) { snprintf(why, room, "graph does not verify"); goto done; }
	for (uint32_t i = 0; i < ni; i++) {
		const TsType *ty = &ts_val(b.g, b.g->params.p[i])->type;
		int64_t dim[TS_MAX_RANK], syms[256];
		for (uint32_t s = 0; s < ts_dim_symbol_count(b.m->dims); s++) syms[s] = atoll(ts_dim_symbol_info(b.m->dims, s)->name + 1);
		for (int k = 0; k < ty->rank; k++) ts_dim_eval(b.m->dims, ty->dim[k], syms, &dim[k]);
		if (!ts_tensor_new(b.cx, "input", ty->elem, ty->rank, dim, &in[i])) goto done;
		fill_case(rng, &c, info, i, FILL_NORMAL, &in[i]);
	}
	if (!ts_eval(b.m, b.g, TS_EVAL_F64, in, f64) || !ts_eval(b.m, b.g, TS_EVAL_DECLARED, in, dec)) { snprintf(why, room, "interpreter refused"); goto done; }
	snprintf(art.path, sizeof art.path, "/tmp/tsdiff-%ld.so", (long)getpid());
	options.output = art.path;
	ts_compile_module(b.cx, &options, b.m);
	if (ts_error_count(b.cx)) {
		TsBuf t = { 0 };
		ts_diag_text(b.cx, &t);
		snprintf(why, room, "%s", t.p);
		verdict = strstr(why, "E_NO_SCHEDULE") ? -1 : 0;
		ts_buf_free(&t);
		goto done;
	}
	TesseraError e = { 0 };
	const char *wrong = artifact_open(&art, &e, 2);
	for (uint32_t i = 0; !wrong && i < no; i++)
		if (!ts_tensor_new(b.cx, "output", dec[i].elem, dec[i].rank, dec[i].dim, &out[i])) wrong = "memory";
	for (uint32_t i = 0; i < no; i++)
		if (out[i].data) memset(out[i].data, 0xa5, (size_t)out[i].bytes);
	if (!wrong) wrong = artifact_run(&art, ni, in, no, out, &e);
	if (wrong) { snprintf(why, room, "%s", wrong); goto done; }
	verdict = 1;
	per_product = device_arch() && is_fp8(elem) ? fp8_slack[FILL_NORMAL] : 0;
	double slack = sum_slack(&b, info, elem, in, ni, f64);
	for (uint32_t i = 0; i < no; i++) {
		Verdict q = compare(&out[i], &f64[i], &dec[i], c.ulps, slack);
		if (!q.bad) continue;
		snprintf(why, room, "element %lld: want %.9g, got %.9g (declared %.9g), error %.3g over %.3g", (long long)q.at, q.want, q.got, q.declared, q.worst, q.limit);
		verdict = 0;
	}
done:
	artifact_close(&art);
	for (uint32_t i = 0; i < 16; i++) ts_tensor_free(&in[i]);
	for (uint32_t i = 0; i < 8; i++) { ts_tensor_free(&f64[i]); ts_tensor_free(&dec[i]); ts_tensor_free(&out[i]); }
	if (verdict == 0) {
		printf("  shapes:");
		for (uint32_t i = 0; i < ni; i++) {
			TsBuf t = { 0 };
			ts_type_print(b.m, &ts_val(b.g, b.g->params.p[i])->type, &t);
			printf(" %s", t.p);
			ts_buf_free(&t);
		}
		printf("\n");
	}
	ts_ctx_free(b.cx);
	return verdict;
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	only = argc > 2 ? argv[2] : NULL;
	ts_options_init(&options);
	options.emit = TS_EMIT_SO;
	options.clones = TS_CLONE_V4 | TS_CLONE_V3;
	device_compile_for(&options);
	TsCtx *names = ts_ctx_new();
	static char table[TS_OP_COUNT][TS_DTYPE_COUNT];
	for (TsOp op = (TsOp)1; op < TS_OP_COUNT; op = (TsOp)(op + 1)) {
		const TsOpInfo *info = ts_op_info(names, op);
		if (info->cls == TS_CLS_LEAF || info->cls == TS_CLS_CONTROL || (only && strcmp(only, info->name))) continue;
		for (int t = 0; t < TS_DTYPE_COUNT; t++) {
			int ran = 0, bad = 0;
			table[op][t] = '.';
			for (int turn = 0; turn < 3 && !bad; turn++) {
				char why[600];
				Rng rng = { seed * 1000003 + (uint64_t)op * 1009 + (uint64_t)t * 31 + (uint64_t)turn };
				int v = run_case(&rng, op, (TsDtype)t, turn, why, sizeof why);
				if (v == -2) break;
				if (v == -1) { table[op][t] = 'r'; printf("refused %s %s: %s\n", info->name, ts_dtype_name((TsDtype)t), why); ran = -1; break; }
				ran++;
				if (!v) { bad = 1; printf("FAIL %s %s turn %d: %s\n", info->name, ts_dtype_name((TsDtype)t), turn, why); }
			}
			if (ran > 0) { table[op][t] = bad ? 'F' : '+'; if (bad) failed++; else { passed++; printf("ok %s %s\n", info->name, ts_dtype_name((TsDtype)t)); } }
		}
	}
	printf("\n# operator x type on %s: + ran and agreed with the interpreter, r refused with a message, . not a type of the operator\n# %-12s", device_name(), "");
	for (int t = 0; t < TS_DTYPE_COUNT; t++) printf(" %-9s", ts_dtype_name((TsDtype)t));
	printf("\n");
	for (TsOp op = (TsOp)1; op < TS_OP_COUNT; op = (TsOp)(op + 1)) {
		const TsOpInfo *info = ts_op_info(names, op);
		if (info->cls == TS_CLS_LEAF || info->cls == TS_CLS_CONTROL) continue;
		printf("# %-12s", info->name);
		for (int t = 0; t < TS_DTYPE_COUNT; t++) printf(" %-9c", table[op][t] ? table[op][t] : '-');
		printf("\n");
	}
	fprintf(stderr, "%d passed, %d failed\n", passed, failed);
	return failed != 0;
}
