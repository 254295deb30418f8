/* Faults planted in the golden texts by editing them: the simulator must find each of them under every order that it tries. */
#include "ir/tile_sim.h"
#include "tests/unit/tile_text.h"

enum { SEEDS = 20 };
typedef struct { const char *name, *text, *find, *with; int n; const char *codes; } Fault;
static const Fault faults[] = {
	{ "slot filled without acquire", "linear_gelu_sm90a", "          acquire(R[q])\n", "", 0, "E_SIM_RACE E_SIM_ARRIVALS" },
	{ "slot read without wait", "linear_gelu_sm90a", "        wait(R[q])\n", "", 0, "E_SIM_RACE E_SIM_POISON" },
	{ "release while wgmma reads", "linear_gelu_sm90a", "        wait_mma(1)\n", "", 0, "E_SIM_RACE" },
	{ "release of the wrong slot", "linear_gelu_sm90a", "release(R[prev])", "release(R[q])", 0, "E_SIM_RACE E_SIM_ARRIVALS E_SIM_DEADLOCK" },
	{ "no release in the loop", "linear_gelu_sm90a", "          release(R[prev])\n", "", 0, "E_SIM_DEADLOCK" },
	{ "no last release", "linear_gelu_sm90a", "        release(R[last])\n", "", 0, "E_SIM_DEADLOCK" },
	{ "release by one warp for all", "linear_gelu_sm90a", "          release(R[prev])\n", "          one {\n            release(R[prev])\n          }\n", 0, "E_SIM_DEADLOCK" },
	{ "too few bytes expected", "linear_gelu_sm90a", "49152", "49136", 0, "E_SIM_DEADLOCK" },
	{ "too many bytes expected", "linear_gelu_sm90a", "49152", "49168", 0, "E_SIM_DEADLOCK" },
	{ "one copy missing", "linear_gelu_sm90a", "          copy(R[q].b, B[256*j:256*j + 256, 64*k:64*k + 64])\n", "", 0, "E_SIM_DEADLOCK" },
	{ "no arrival of the filler", "linear_gelu_sm90a", "          expect_bytes(R[q], 49152)\n", "", 0, "E_SIM_DEADLOCK" },
	{ "empty count too small", "linear_gelu_sm90a", "empty = 8", "empty = 4", 0, "E_SIM_RACE E_SIM_ARRIVALS E_SIM_DEADLOCK" },
	{ "empty count too large", "linear_gelu_sm90a", "empty = 8", "empty = 9", 0, "E_SIM_DEADLOCK" },
	{ "full count too large", "linear_gelu_sm90a", "full = 1", "full = 2", 0, "E_SIM_DEADLOCK" },
	{ "filler stays on its slot", "linear_gelu_sm90a", "yield q.1\n", "yield q\n", 0, "E_SIM_RACE E_SIM_DEADLOCK E_SIM_ARRIVALS" },
	{ "one step too many by the filler", "linear_gelu_sm90a", "for k in 0..nk with q = p", "for k in 0..nk + 1 with q = p", 0, "E_SIM_DEADLOCK E_SIM_RACE E_SIM_ARRIVALS" },
	{ "one half of the rows twice", "linear_gelu_sm90a", "copy(R[q].a, A[128*i:128*i + 128, 64*k:64*k + 64])", "copy(R[q].a[0:64, 0:64], A[128*i + 0:128*i + 64, 64*k:64*k + 64])\ncopy(R[q].a[0:64, 0:64], A[128*i + 64:128*i + 128, 64*k:64*k + 64])", 0, "E_SIM_RACE E_SIM_POISON" },
	{ "no fence to the asynchronous proxy", "linear_gelu_sm90a", "        fence_async()\n", "", 0, "E_SIM_FENCE" },
	{ "no sync before put", "linear_gelu_sm90a", "        sync(\"role\")\n", "", 0, "E_SIM_RACE" },
	{ "no sync before the store", "linear_gelu_sm90a", "        sync(\"role\")\n", "", 1, "E_SIM_RACE E_SIM_POISON E_SIM_FENCE" },
	{ "buffer reused too early", "linear_gelu_sm90a", "wait_store(1, read = true)", "wait_store(2, read = true)", 0, "E_SIM_RACE" },
	{ "one buffer instead of two", "linear_gelu_sm90a", "put(cb[q%2", "put(cb[0", 0, "E_SIM_RACE E_SIM_POISON" },
	{ "sum read in flight", "linear_gelu_sm90a", "wait_mma(0, c1)", "wait_mma(1, c1)", 0, "E_SIM_RACE" },
	{ "end without waiting for stores", "linear_gelu_sm90a", "wait_store(0)", "wait_store(9)", 0, "E_SIM_RACE" },
	{ "tiles that overlap", "linear_gelu_sm90a", "C[128*i + 64*g:128*i + 64*g + 64", "C[64*i + 64*g:64*i + 64*g + 64", 0, "E_SIM_OVERLAP" },
	{ "a TMA store that begins before its tensor", "linear_gelu_sm90a", "C[128*i + 64*g:128*i + 64*g + 64", "C[128*i + 64*g - 256:128*i + 64*g - 192", 0, "E_SIM_BOUNDS" },
	{ "Q read without wait", "attention_sm90a", "      wait(RQ[pq])\n", "", 0, "E_SIM_RACE E_SIM_POISON" },
	{ "V read without wait", "attention_sm90a", "      wait(RV[qv])\n", "", 0, "E_SIM_RACE E_SIM_POISON" },
	{ "K released before its product", "attention_sm90a", "      s.1: f32[128, 128] @D = wait_mma(1, s)\n        release(RK[qk])\n", "        release(RK[qk])\n        s.1: f32[128, 128] @D = wait_mma(1, s)\n", 0, "E_SIM_RACE" },
	{ "scores read in flight", "attention_sm90a", "wait_mma(1, s)", "wait_mma(2, s)", 0, "E_SIM_RACE" },
	{ "V refilled without acquire", "attention_sm90a", "          acquire(RV[qv])\n", "", 0, "E_SIM_RACE" },
	{ "output put without fence", "attention_sm90a", "      fence_async()\n", "", 0, "E_SIM_FENCE" },
	{ "output stored without sync", "attention_sm90a", "      sync(\"role\")\n", "", 0, "E_SIM_RACE E_SIM_FENCE" },
	{ "output overwritten while it is stored", "attention_sm90a", "      one {\n        wait_store(0, read = true)\n      }\n", "", 0, "E_SIM_RACE" },
	{ "Q never released", "attention_sm90a", "      release(RQ[pq])\n", "", 0, "E_SIM_DEADLOCK" },
	{ "one key tile too many", "attention_sm90a", "for j in last..0 step -1 with qk", "for j in last..-1 step -1 with qk", 0, "E_SIM_DEADLOCK E_SIM_RACE E_SIM_ARRIVALS" },
	{ "copies not waited for", "linear_gelu_sm80", "wait_copy(1)", "wait_copy(2)", 0, "E_SIM_RACE E_SIM_POISON" },
	{ "no sync after the copies", "linear_gelu_sm80", "    sync(\"cta\")\n", "", 0, "E_SIM_RACE E_SIM_POISON" },
	{ "two slots instead of three", "linear_gelu_sm80", "a[k2%3", "a[k2%2", 0, "E_SIM_RACE E_SIM_POISON" },
	{ "output over operands still read", "linear_gelu_sm80", "  sync(\"cta\")\n  put", "  put", 0, "E_SIM_RACE" },
	{ "output read before it is there", "linear_gelu_sm80", "  sync(\"cta\")\n  z.3", "  z.3", 0, "E_SIM_RACE" },
	{ "rows of a neighbour written too", "linear_gelu_sm80", ", from = [128*i - m0, 0]", "", 0, "E_SIM_OVERLAP" },
	{ "fewer of a neighbour's rows left out", "linear_gelu_sm80", "from = [128*i - m0, 0]", "from = [127*i - m0, 0]", 0, "E_SIM_OVERLAP" },
	{ "rows out of bounds", "linear_gelu_sm80", "z.3, valid = [M - m0, N - n0]", "z.3", 0, "E_SIM_BOUNDS" },
	{ "operands overwritten early", "linear_gelu_gfx942", "    sync(\"cta\")\n    yield", "    yield", 0, "E_SIM_RACE" },
	{ "operands read early", "linear_gelu_gfx942", "    sync(\"cta\")\n    k1", "    k1", 0, "E_SIM_RACE E_SIM_POISON" },
	{ "one exchange buffer for two sums", "layer_norm_sm90a", "red[1, 0:4]", "red[0, 0:4]", 0, "E_SIM_RACE" },
	{ "one exchange buffer for two sums of a cluster", "softmax_cluster_sm90a", "red[1, 0:4, 0:8]", "red[0, 0:4, 0:8]", 0, "E_SIM_RACE" },
	{ "load past the end", "scale_cpu", "X[r, n:n + 64], valid = e - n", "X[r, n:n + 64]", 0, "E_SIM_BOUNDS" },
	{ "store past the end", "scale_cpu", "y, valid = e - n", "y", 0, "E_SIM_BOUNDS E_SIM_OVERLAP" },
	{ "cells that overlap", "scale_cpu", "step 4096", "step 4032", 0, "E_SIM_OVERLAP" },
	{ "scratch that nobody wrote", "linear_gelu_avx512", "for i in mb..me step 6", "for i in mb..me step 12", 0, "E_SIM_POISON" },
};

static int failures;

static void add(TsCtx *cx, TsSimArgs *a, TsDtype elem, int rank, const int64_t *dim)
{
	if (!ts_tensor_new(cx, "test", elem, rank, dim, &a->buffers[a->nbuffers++])) abort();
}
#define DIMS(...) (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / 8), (int64_t[]){ __VA_ARGS__ }

/* Ragged shapes (multiples of 8 where the texts say so) with more steps than a ring has slots. */
static void arguments(TsCtx *cx, const char *text, TsSimArgs *a, int64_t *num)
{
	TsDtype t = strstr(text, "cpu") || strstr(text, "avx") ? TS_F32 : TS_BF16;
	int64_t m = 150, n = 264, k = 312;
	if (!strcmp(text, "scale_cpu")) {
		add(cx, a, t, DIMS(2, 5001)), add(cx, a, t, DIMS(2, 5001));
		num[a->nnumbers++] = 2, num[a->nnumbers++] = 5001;
	} else if (strstr(text, "layer_norm")) {
		add(cx, a, t, DIMS(5, 296)), add(cx, a, TS_F32, DIMS(296)), add(cx, a, TS_F32, DIMS(296)), add(cx, a, t, DIMS(5, 296)), add(cx, a, TS_F32, 0, NULL);
		num[a->nnumbers++] = 5, num[a->nnumbers++] = 296, num[a->nnumbers++] = 1;
	} else if (strstr(text, "softmax")) {
		add(cx, a, t, DIMS(1, 20000)), add(cx, a, t, DIMS(1, 20000));
		num[a->nnumbers++] = 1, num[a->nnumbers++] = 20000;
	} else if (strstr(text, "attention")) {
		for (int i = 0; i < 4; i++) add(cx, a, t, DIMS(1, 600, 128));
		add(cx, a, TS_F32, 0, NULL), num[a->nnumbers++] = 1, num[a->nnumbers++] = 600, num[a->nnumbers++] = 2;
	} else {
		if (strstr(text, "avx")) m = 20, n = 70, k = 9;
		add(cx, a, t, DIMS(m, k));
		if (strstr(text, "avx")) add(cx, a, t, DIMS(1, 2, 128, 64));
		else add(cx, a, t, DIMS(n, k));
		add(cx, a, TS_F32, DIMS(n)), add(cx, a, t, DIMS(m, n));
		num[a->nnumbers++] = m, num[a->nnumbers++] = n, num[a->nnumbers++] = k;
		if (strstr(text, "90a")) num[a->nnumbers++] = 1 + (strstr(text, "linear") != NULL);
	}
}

/* The code the simulator gave; "" for a clean run. */
static void run(const Fault *f, const char *text, int seed, char code[40])
{
	TsCtx *cx = ts_ctx_new();
	TsTensor buffers[8];
	int64_t num[8];
	TsSimArgs a = { .buffers = buffers, .numbers = num, .seed = (uint64_t)seed, .latest = seed % 5 == 4, .protocol = true };
	TsTree *t = parse_text(cx, f->text, text);
	TsBuf diag = { 0 };
	arguments(cx, f->text, &a, num);
	*code = 0;
	if (!t || !ts_tile_sim(cx, t, &a)) {
		ts_diag_text(cx, &diag);
		const char *at = strstr(diag.p, "error[");
		sscanf(at ? at : "error[E_NONE]", "error[%39[A-Z_]]", code);
		if (getenv("TS_SHOW")) printf("%s: %s", f->name, diag.p);
	}
	ts_buf_free(&diag);
	for (uint32_t i = 0; i < a.nbuffers; i++) ts_tensor_free(&buffers[i]);
	ts_ctx_free(cx);
}

int main(void)
{
	size_t planted = 0;
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
		const Fault *f = &faults[i];
		char *golden = read_golden(f->text), *text = edit(golden, f->find, f->with, f->n), code[40];
		if (!text) printf("FAIL %s: the edit cannot be made\n", f->name), failures++;
		planted += f->codes != NULL;
		for (int seed = 0; seed < SEEDS && text; seed++) {
			run(f, text, seed, code);
			if (f->codes ? *code && strstr(f->codes, code) : !*code) continue;
			printf("FAIL %s: seed %d gives '%s', expected '%s'\n", f->name, seed, code, f->codes ? f->codes : "");
			failures++;
			break;
		}
		free(golden), free(text);
	}
	if (!failures) printf("ok tile faults: %zu faults, %d orders each\n", planted, SEEDS);
	return failures != 0;
}
