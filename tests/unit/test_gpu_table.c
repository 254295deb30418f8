/* The operator table of the GPUs' schedules: every operator x element type has kernels for sm_80 and sm_90a. With a folder, their texts are
 * written there, as modules of up to MODULE kernels (ARCHITECTURE-NUMBER.tile; kernel OPERATOR__TYPE__NUMBER), for suite gpu_gates, which
 * compiles and assembles them. What they compute is test_gpu_sched's.
 * Usage: test_gpu_table [FOLDER] */
#include "middle/tiler/sched.h"
#include "tests/unit/cases.h"

enum { MODULE = 48, TURNS = 16 };

typedef struct { const char *target, *folder; TsBuf text; int kernels, module, n; bool ok; } Out;

static void close_module(Out *o)
{
	char path[600];
	if (!o->kernels || !o->folder) return;
	snprintf(path, sizeof path, "%s/%s-%d.tile", o->folder, o->target, o->module++);
	FILE *f = fopen(path, "w");
	o->ok &= f && fprintf(f, "tile 1\n%s", o->text.p) > 0;
	if (f && fclose(f)) o->ok = false;
	ts_buf_free(&o->text);
	o->text = (TsBuf){ 0 };
	o->kernels = 0;
}

/* Kernels under names of their own. */
static void add_kernels(Out *o, const TsSched *s, const char *op, const char *type)
{
	for (uint32_t i = 0; i < s->kernels.n; i++) {
		const TsKernel *k = &s->kernels.p[i];
		const char *from = strstr(k->text[0], "kernel "), *rest = from ? strchr(from, '(') : NULL;
		if (!rest) { o->ok = false; continue; }
		ts_buf_fmt(&o->text, "\nkernel %s__%s__%u%s", op, type, i, rest);
		o->n++;
		if (++o->kernels == MODULE) close_module(o);
	}
}

static bool has_elements(Build *b)
{
	int64_t syms[256];
	for (uint32_t s = 0; s < ts_dim_symbol_count(b->m->dims); s++) syms[s] = atoll(ts_dim_symbol_info(b->m->dims, s)->name + 1);
	for (uint32_t i = 0; i < b->g->params.n; i++) {
		const TsType *ty = &ts_val(b->g, b->g->params.p[i])->type;
		for (int k = 0; k < ty->rank; k++) {
			int64_t n = 0;
			if (!ts_dim_eval(b->m->dims, ty->dim[k], syms, &n) || !n) return false;
		}
	}
	return true;
}

/* A graph of one operator: scheduled 1, refused 0 (why), not a type of the operator -1, nothing to do for these shapes -2. */
static int one_cell(Out *o, TsOp op, TsDtype elem, int turn, char *why, size_t room)
{
	Rng rng = { 1000003 + (uint64_t)elem * 31 + (uint64_t)turn };
	Build b = build_begin(&rng);
	for (const char *name = ts_op_info(b.cx, op)->name; *name; name++) rng.s = rng.s * 31 + (uint64_t)*name; /* a new operator changes no other's shapes */
	Case c = { .elem = elem, .op = op };
	TsVal v = make_case(&b, &c);
	int verdict = !v ? -1 : !has_elements(&b) ? -2 : 0;
	if (!verdict) {
		build_result(&b, v);
		const TsSched *s = ts_verify(b.m, "test") ? ts_schedule(b.m, ts_sched_target(o->target)) : NULL;
		verdict = !s ? 0 : s->kernels.n ? 1 : -2;
		if (verdict == 1) add_kernels(o, s, ts_op_info(b.cx, op)->name, ts_dtype_name(elem));
		TsBuf t = { 0 };
		ts_diag_text(b.cx, &t);
		snprintf(why, room, "%s", t.p ? t.p : "");
		ts_buf_free(&t);
	}
	ts_ctx_free(b.cx);
	return verdict;
}

int main(int argc, char **argv)
{
	static const char *const targets[] = { "sm_80", "sm_90a" };
	Out out[2] = { { 0 } };
	TsCtx *names = ts_ctx_new();
	int cells = 0, failed = 0;
	for (int k = 0; k < 2; k++) out[k] = (Out){ .target = targets[k], .folder = argc > 1 ? argv[1] : NULL, .ok = true };
	for (TsOp op = (TsOp)1; op < TS_OP_COUNT; op = (TsOp)(op + 1)) {
		const TsOpInfo *info = ts_op_info(names, op);
		if (info->cls == TS_CLS_LEAF || info->cls == TS_CLS_CONTROL || info->cls == TS_CLS_NONE) continue;
		for (int t = 0; t < TS_DTYPE_COUNT; t++)
			for (int k = 0; k < 2; k++) {
				char why[900] = "no shape has kernels";
				int v = -2;
				for (int turn = 0; turn < TURNS && v == -2; turn++) v = one_cell(&out[k], op, (TsDtype)t, turn, why, sizeof why);
				if (v == -1) continue;
				cells++;
				failed += v != 1;
				printf("%s %s %s %s%s%s\n", v == 1 ? "ok" : "FAIL", info->name, ts_dtype_name((TsDtype)t), targets[k], v == 1 ? "" : ": ", v == 1 ? "" : why);
			}
	}
	for (int k = 0; k < 2; k++) {
		close_module(&out[k]);
		failed += !out[k].ok;
		ts_buf_free(&out[k].text);
	}
	printf("%s %d cells: %d kernels for %s, %d for %s\n", out[0].ok && out[1].ok ? "ok" : "FAIL", cells, out[0].n, targets[0], out[1].n, targets[1]);
	ts_ctx_free(names);
	return failed != 0;
}
