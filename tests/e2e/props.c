/* Properties of any artifact, whatever it computes; its first graph is run on made-up inputs.
 *   props bits ARTIFACT SYMBOL [RUNS]    the same bits in every run: threads 1, 2, 3, 8, each with 16 sessions at once
 *   props batch ARTIFACT SYMBOL [MOST]   row i of any batch up to MOST (dim B) has the bits of row i alone
 *   props heap ARTIFACT SYMBOL           a run with shapes seen before makes no memory and takes no new pages
 * Dims other than B are 17, or the nearest size that the model allows. Prints `ok` and what was compared, or what differs. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tessera/tessera.h"

enum { SESSIONS = 16, MAX_TENSORS = 16, OTHER_DIMS = 17 };

static const TesseraModel *model;
static int n_in, n_out;

typedef struct { DLTensor t; int64_t shape[16]; size_t bytes; } Tensor;
typedef struct { Tensor v[MAX_TENSORS]; const DLTensor *view[MAX_TENSORS]; int64_t batch; } Call;

_Noreturn static void die(const char *what, const char *why)
{
	printf("FAIL %s: %s\n", what, why);
	exit(1);
}

static void check(int rc, const char *what, const TesseraError *e)
{
	if (rc)
		die(what, e->message);
}

/* ---- calls ---- */

static int64_t dim_size(int dim, int64_t batch)
{
	TesseraDimInfo d;
	tessera_dim_info(model, dim, &d);
	if (!strcmp(d.name, "B"))
		return batch;
	int64_t v = OTHER_DIMS < d.min ? d.min : d.max && OTHER_DIMS > d.max ? d.max : OTHER_DIMS, m = d.multiple_of > 1 ? d.multiple_of : 1;
	v -= v % m;
	return v < d.min || !v ? v + m : v;
}

/* The same numbers for one row whatever the batch: row r of input i depends on (i, r) alone. */
static void fill(Tensor *t, int input, int64_t rows)
{
	size_t row = rows ? t->bytes / (size_t)rows : 0, elem = t->t.dtype.bits / 8u;
	for (int64_t r = 0; r < rows; r++) {
		uint64_t x = 0x9e3779b97f4a7c15u * (uint64_t)(r * 64 + input + 1);
		for (size_t at = 0; at < row; at += elem) {
			x = x * 6364136223846793005u + 1442695040888963407u;
			uint8_t *to = (uint8_t *)t->t.data + (size_t)r * row + at;
			float f = (float)(int32_t)(x >> 32) * 0x1p-31f;
			int64_t whole = (int64_t)(x >> 33) % 16;
			if (t->t.dtype.code == kDLFloat && elem == 4)
				memcpy(to, &f, 4);
			else if (t->t.dtype.code == kDLFloat && elem == 8)
				memcpy(to, &(double){ f }, 8);
			else if (t->t.dtype.code == kDLBool)
				*to = whole & 1;
			else
				memcpy(to, &whole, elem < 8 ? elem : 8); /* little end first; as 16-bit floats these are tiny numbers */
		}
	}
}

static void make_tensor(Tensor *t, DLDataType type, int rank)
{
	t->bytes = (type.bits + 7u) / 8u;
	for (int k = 0; k < rank; k++)
		t->bytes *= (size_t)t->shape[k];
	t->t = tessera_tensor(calloc(1, t->bytes + 64), type, rank, t->shape);
}

static void make_call(Call *c, TesseraSession *s, int64_t batch)
{
	TesseraError e;
	c->batch = batch;
	for (int i = 0; i < n_in + n_out; i++) {
		TesseraTensorInfo info;
		Tensor *t = &c->v[i];
		int32_t rank;
		if (tessera_tensor_info(model, 0, i, &info))
			die("tensor_info", "refused");
		rank = info.rank;
		for (int k = 0; i < n_in && k < rank; k++)
			t->shape[k] = info.dims[k] >= 0 ? info.dims[k] : info.dims[k] == INT64_MIN ? 0 : dim_size((int)(-1 - info.dims[k]), batch);
		if (i >= n_in)
			check(tessera_output_shape(s, 0, c->view, n_in, i - n_in, t->shape, &rank, &e), "output_shape", &e);
		make_tensor(t, info.dtype, rank);
		if (i < n_in)
			fill(t, i, rank && info.dims[0] < 0 ? batch : 1);
		c->view[i] = &t->t;
	}
}

static void free_call(Call *c)
{
	for (int i = 0; i < n_in + n_out; i++)
		free(c->v[i].t.data);
}

static int run_call(Call *c, TesseraSession *s, TesseraError *e)
{
	for (int i = n_in; i < n_in + n_out; i++)
		memset(c->v[i].t.data, 0xee, c->v[i].bytes);
	return tessera_run(s, 0, c->view, n_in, c->view + n_in, n_out, NULL, e);
}

static TesseraContext *make_context(int threads)
{
	TesseraError e;
	TesseraContext *cx;
	TesseraContextOptions o = { .size = sizeof o, .threads = threads };
	check(tessera_context_create(model, &o, &cx, &e), "context_create", &e);
	return cx;
}

static TesseraSession *make_session(TesseraContext *cx)
{
	TesseraError e;
	TesseraSession *s;
	check(tessera_session_create(model, cx, NULL, &s, &e), "session_create", &e);
	return s;
}

/* ---- the same bits in every run ---- */

typedef struct { TesseraContext *cx; const Call *want; int64_t runs, wrong; pthread_t thread; } Worker;

static void *work(void *user)
{
	Worker *w = user;
	TesseraError e;
	TesseraSession *s = make_session(w->cx);
	Call c;
	make_call(&c, s, w->want->batch);
	for (int64_t r = 0; r < w->runs; r++) {
		if (run_call(&c, s, &e))
			die("run", e.message);
		for (int i = n_in; i < n_in + n_out; i++)
			w->wrong += memcmp(c.v[i].t.data, w->want->v[i].t.data, c.v[i].bytes) != 0;
	}
	free_call(&c);
	tessera_session_destroy(s);
	return NULL;
}

static int bits(int64_t runs)
{
	static const int threads[] = { 1, 2, 3, 8 };
	static const int64_t batches[] = { 1, 7, 16, 33 };
	TesseraContext *cx = make_context(1);
	TesseraSession *s = make_session(cx);
	TesseraError e;
	Call want[4];
	int64_t wrong = 0;
	for (int i = 0; i < 4; i++) {
		make_call(&want[i], s, batches[i]);
		check(run_call(&want[i], s, &e), "run", &e);
	}
	for (int t = 0; t < 4; t++) {
		TesseraContext *shared = make_context(threads[t]);
		Worker w[SESSIONS];
		for (int i = 0; i < SESSIONS; i++) {
			w[i] = (Worker){ .cx = shared, .want = &want[i % 4], .runs = runs };
			if (pthread_create(&w[i].thread, NULL, work, &w[i]))
				die("pthread_create", "refused");
		}
		for (int i = 0; i < SESSIONS; i++) {
			pthread_join(w[i].thread, NULL);
			wrong += w[i].wrong;
		}
		tessera_context_destroy(shared);
	}
	tessera_session_destroy(s);
	tessera_context_destroy(cx);
	printf(wrong ? "FAIL bits: %lld of %lld results differ\n" : "ok: %lld differ of %lld\n", (long long)wrong, (long long)(4 * SESSIONS * runs * n_out));
	return wrong != 0;
}

/* ---- row i of any batch ---- */

/* Row r of a result whose first axis is the batch. */
static const uint8_t *row(const Tensor *t, int64_t batch, int64_t r, size_t *size)
{
	*size = t->bytes / (size_t)batch;
	return (const uint8_t *)t->t.data + (size_t)r * *size;
}

/* The call with row r of `all` as its only one. */
static void only_row(Call *c, const Call *all, int64_t r)
{
	for (int i = 0; i < n_in; i++) {
		size_t size;
		if (c->v[i].bytes == all->v[i].bytes)
			continue; /* it has no batch */
		const uint8_t *from = row(&all->v[i], all->batch, r, &size);
		memcpy(c->v[i].t.data, from, size);
	}
}

static int batch(int64_t most)
{
	TesseraContext *cx = make_context(2);
	TesseraSession *s = make_session(cx);
	TesseraError e;
	int64_t compared = 0;
	Call full, one, c;
	uint8_t *want[MAX_TENSORS];
	make_call(&full, s, most);
	make_call(&one, s, 1);
	for (int i = n_in; i < n_in + n_out; i++)
		want[i] = malloc(full.v[i].bytes);
	for (int64_t r = 0; r < most; r++) {
		only_row(&one, &full, r);
		check(run_call(&one, s, &e), "run", &e);
		for (int i = n_in; i < n_in + n_out; i++)
			memcpy(want[i] + (size_t)r * one.v[i].bytes, one.v[i].t.data, one.v[i].bytes);
	}
	for (int64_t b = 1; b <= most; b++) {
		make_call(&c, s, b);
		check(run_call(&c, s, &e), "run", &e);
		for (int i = n_in; i < n_in + n_out; i++)
			for (int64_t r = 0; r < b; r++, compared++) {
				size_t size;
				const uint8_t *got = row(&c.v[i], b, r, &size);
				if (memcmp(got, want[i] + (size_t)r * size, size)) {
					printf("FAIL batch: row %lld of batch %lld differs from that row alone (output %d)\n", (long long)r, (long long)b, i - n_in);
					return 1;
				}
			}
		free_call(&c);
	}
	printf("ok: %lld rows\n", (long long)compared);
	return 0;
}

/* ---- memory in a run ---- */

static size_t live, made;

static void *count_alloc(void *user, size_t bytes, size_t align)
{
	void *p = aligned_alloc(align, (bytes + align - 1) / align * align);
	(void)user;
	made++;
	live += bytes;
	return p;
}

static void count_release(void *user, void *p, size_t bytes)
{
	(void)user;
	live -= bytes;
	free(p);
}

static int heap(void)
{
	TesseraContextOptions o = { .size = sizeof o, .threads = 2, .allocator = { NULL, count_alloc, count_release } };
	TesseraContext *cx;
	TesseraError e;
	check(tessera_context_create(model, &o, &cx, &e), "context_create", &e);
	TesseraSession *s = make_session(cx);
	Call c;
	make_call(&c, s, 5);
	check(run_call(&c, s, &e), "run", &e);
	size_t before = made;
	for (int i = 0; i < 100; i++)
		check(run_call(&c, s, &e), "run", &e);
	size_t during = made - before;
	free_call(&c);
	tessera_session_destroy(s);
	tessera_context_destroy(cx);
	if (during || live || !made)
		return printf("FAIL heap: %zu allocations in 100 runs, %zu bytes never given back, %zu allocations in all\n", during, live, made), 1;
	printf("ok: %zu allocations, none in a run\n", made);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		die("usage", "props bits|batch|heap ARTIFACT SYMBOL [N]");
	void *library = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
	if (!library)
		die("dlopen", dlerror());
	if (!(model = dlsym(library, argv[3])))
		die("dlsym", dlerror());
	n_in = tessera_graph_inputs(model, 0);
	n_out = tessera_graph_outputs(model, 0);
	if (n_in < 0 || n_out < 1 || n_in + n_out > MAX_TENSORS)
		die("graph", "it has too many inputs and outputs, or none");
	if (!strcmp(argv[1], "bits"))
		return bits(argc > 4 ? atoll(argv[4]) : 100);
	if (!strcmp(argv[1], "batch"))
		return batch(argc > 4 ? atoll(argv[4]) : 64);
	if (!strcmp(argv[1], "heap"))
		return heap();
	die("usage", "bits, batch or heap");
}
