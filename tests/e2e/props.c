/* Properties of any artifact, whatever it computes; its first graph is run on made-up inputs.
 *   props bits ARTIFACT SYMBOL [RUNS [FEW]]      the same bits in every run: threads 1, 2, 3, 8, each with 16 sessions at once, each of
 *                                                them RUNS times with small inputs and FEW times (RUNS) with larger ones
 *   props batch ARTIFACT SYMBOL [MOST [OTHER]]   row i anywhere in any batch up to MOST (dim B) has the bits of row i alone
 *   props heap ARTIFACT SYMBOL                   a run with shapes seen before makes no memory and takes no new pages
 *   props fork ARTIFACT SYMBOL                   a forked child, of a process whose threads rest or run, runs a session, makes another,
 *                                                destroys them and the context, and ends; the parent goes on
 * Dims other than B are OTHER, 17 if not given, or the nearest size that the model allows. Prints `ok` and what was compared, or what
 * differs. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tessera/tessera.h"

enum { SESSIONS = 16, MAX_TENSORS = 16, OTHER_DIMS = 17 };

static const TesseraModel *model;
static int n_in, n_out;

typedef struct { DLTensor t; int64_t shape[16]; size_t bytes; } Tensor;
typedef struct { int64_t batch, other; } Sizes;
typedef struct { Tensor v[MAX_TENSORS]; const DLTensor *view[MAX_TENSORS]; Sizes sizes; } Call;

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

static int64_t dim_size(int dim, Sizes sizes)
{
	TesseraDimInfo d;
	tessera_dim_info(model, dim, &d);
	if (!strcmp(d.name, "B"))
		return sizes.batch;
	int64_t v = sizes.other < d.min ? d.min : d.max && sizes.other > d.max ? d.max : sizes.other, m = d.multiple_of > 1 ? d.multiple_of : 1;
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

static void make_call(Call *c, TesseraSession *s, int64_t batch, int64_t other)
{
	TesseraError e;
	c->sizes = (Sizes){ batch, other };
	for (int i = 0; i < n_in + n_out; i++) {
		TesseraTensorInfo info;
		Tensor *t = &c->v[i];
		int32_t rank;
		if (tessera_tensor_info(model, 0, i, &info))
			die("tensor_info", "refused");
		rank = info.rank;
		for (int k = 0; i < n_in && k < rank; k++)
			t->shape[k] = info.dims[k] >= 0 ? info.dims[k] : info.dims[k] == INT64_MIN ? 0 : dim_size((int)(-1 - info.dims[k]), c->sizes);
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

typedef struct { TesseraContext *cx; const Call *small, *large; int64_t runs, few, compared, wrong; pthread_barrier_t *start; pthread_t thread; } Worker;

static void runs_agree(Worker *w, TesseraSession *s, const Call *want, int64_t runs)
{
	TesseraError e;
	Call c;
	make_call(&c, s, want->sizes.batch, want->sizes.other);
	for (int64_t r = 0; r < runs; r++) {
		check(run_call(&c, s, &e), "run", &e);
		for (int i = n_in; i < n_in + n_out; i++, w->compared++)
			w->wrong += memcmp(c.v[i].t.data, want->v[i].t.data, c.v[i].bytes) != 0;
	}
	free_call(&c);
}

static void *work(void *user)
{
	Worker *w = user;
	TesseraSession *s = make_session(w->cx);
	pthread_barrier_wait(w->start);
	runs_agree(w, s, w->large, w->few / 2);
	runs_agree(w, s, w->small, w->runs);
	runs_agree(w, s, w->large, w->few - w->few / 2);
	tessera_session_destroy(s);
	return NULL;
}

static int bits(int64_t runs, int64_t few)
{
	static const int threads[] = { 1, 2, 3, 8 };
	static const int64_t batches[] = { 1, 7, 16, 33 };
	TesseraContext *cx = make_context(1);
	TesseraSession *s = make_session(cx);
	TesseraError e;
	Call small, large[4];
	int64_t wrong = 0, compared = 0;
	make_call(&small, s, 2, 3);
	check(run_call(&small, s, &e), "run", &e);
	for (int i = 0; i < 4; i++) {
		make_call(&large[i], s, batches[i], OTHER_DIMS);
		check(run_call(&large[i], s, &e), "run", &e);
	}
	for (int t = 0; t < 4; t++) {
		TesseraContext *shared = make_context(threads[t]);
		Worker w[SESSIONS];
		pthread_barrier_t start;
		pthread_barrier_init(&start, NULL, SESSIONS);
		for (int i = 0; i < SESSIONS; i++) {
			w[i] = (Worker){ .cx = shared, .small = &small, .large = &large[i % 4], .runs = runs, .few = few, .start = &start };
			if (pthread_create(&w[i].thread, NULL, work, &w[i]))
				die("pthread_create", "refused");
		}
		for (int i = 0; i < SESSIONS; i++) {
			pthread_join(w[i].thread, NULL);
			wrong += w[i].wrong;
			compared += w[i].compared;
		}
		pthread_barrier_destroy(&start);
		tessera_context_destroy(shared);
	}
	for (int i = 0; i < 4; i++)
		free_call(&large[i]);
	free_call(&small);
	tessera_session_destroy(s);
	tessera_context_destroy(cx);
	printf(wrong ? "FAIL bits: %lld of %lld results differ\n" : "ok: %lld differ of %lld\n", (long long)wrong, (long long)compared);
	return wrong != 0;
}

/* ---- row i of any batch ---- */

/* Row r of a tensor whose first axis is the batch. */
static uint8_t *row(const Tensor *t, int64_t batch, int64_t r, size_t *size)
{
	*size = t->bytes / (size_t)batch;
	return (uint8_t *)t->t.data + (size_t)r * *size;
}

/* Row `to` of the call is row r of `all`. */
static void set_row(Call *c, int64_t to, const Call *all, int64_t r)
{
	for (int i = 0; i < n_in; i++) {
		size_t size;
		if (!all->v[i].t.ndim || all->v[i].shape[0] != all->sizes.batch)
			continue; /* it has no batch */
		const uint8_t *from = row(&all->v[i], all->sizes.batch, r, &size);
		memcpy(row(&c->v[i], c->sizes.batch, to, &size), from, size);
	}
}

/* Rows first, first + 1, ... of `all`, around its end, as a batch of `rows`: each has the bits of `want`. */
static int64_t rows_agree(TesseraSession *s, const Call *all, uint8_t *const *want, int64_t first, int64_t rows)
{
	TesseraError e;
	Call c;
	int64_t most = all->sizes.batch;
	make_call(&c, s, rows, all->sizes.other);
	for (int64_t r = 0; r < rows; r++)
		set_row(&c, r, all, (first + r) % most);
	check(run_call(&c, s, &e), "run", &e);
	for (int i = n_in; i < n_in + n_out; i++)
		for (int64_t r = 0; r < rows; r++) {
			size_t size;
			const uint8_t *got = row(&c.v[i], rows, r, &size);
			if (!memcmp(got, want[i] + (size_t)((first + r) % most) * size, size))
				continue;
			printf("FAIL batch: row %lld at %lld of a batch of %lld differs from that row alone (output %d)\n", (long long)((first + r) % most), (long long)r,
			       (long long)rows, i - n_in);
			exit(1);
		}
	free_call(&c);
	return rows * n_out;
}

static int batch(int64_t most, int64_t other)
{
	TesseraContext *cx = make_context(2);
	TesseraSession *s = make_session(cx);
	TesseraError e;
	int64_t compared = 0;
	Call full, one;
	uint8_t *want[MAX_TENSORS];
	make_call(&full, s, most, other);
	make_call(&one, s, 1, other);
	for (int i = n_in; i < n_in + n_out; i++)
		want[i] = malloc(full.v[i].bytes);
	for (int64_t r = 0; r < most; r++) {
		set_row(&one, 0, &full, r);
		check(run_call(&one, s, &e), "run", &e);
		for (int i = n_in; i < n_in + n_out; i++)
			memcpy(want[i] + (size_t)r * one.v[i].bytes, one.v[i].t.data, one.v[i].bytes);
	}
	for (int64_t b = 1; b <= most; b++)
		for (int64_t turn = 0; turn < 3; turn++)
			compared += rows_agree(s, &full, want, turn * (b + 11) % most, b);
	for (int i = n_in; i < n_in + n_out; i++)
		free(want[i]);
	free_call(&one);
	free_call(&full);
	tessera_session_destroy(s);
	tessera_context_destroy(cx);
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
	make_call(&c, s, 5, OTHER_DIMS);
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

/* ---- forked children ---- */

enum { CHILDREN = 20, CHILD_SECONDS = 30 };

typedef struct { TesseraSession *s; const Call *like; atomic_int stop; } Runner;

static void *run_on(void *user)
{
	Runner *r = user;
	TesseraError e;
	Call c;
	make_call(&c, r->s, r->like->sizes.batch, r->like->sizes.other);
	while (!r->stop)
		check(run_call(&c, r->s, &e), "run of another thread", &e);
	free_call(&c);
	return NULL;
}

static int differs(const Call *c, const Call *want)
{
	int n = 0;
	for (int i = n_in; i < n_in + n_out; i++)
		n += memcmp(c->v[i].t.data, want->v[i].t.data, want->v[i].bytes) != 0;
	return n;
}

/* all that a child may do with what its parent made; exit codes say which of it went wrong */
static _Noreturn void in_child(TesseraContext *cx, TesseraSession *s, TesseraSession *other, Call *c, const Call *want)
{
	TesseraError e;
	alarm(CHILD_SECONDS); /* a child that waits for threads that it hasn't got */
	if (run_call(c, s, &e) || differs(c, want))
		_exit(10);
	TesseraSession *t = make_session(cx);
	if (run_call(c, t, &e) || differs(c, want))
		_exit(11);
	tessera_session_destroy(t);
	tessera_session_destroy(s);
	tessera_session_destroy(other);
	tessera_context_destroy(cx);
	cx = make_context(3); /* one of its own has threads */
	s = make_session(cx);
	if (run_call(c, s, &e) || differs(c, want))
		_exit(12);
	tessera_session_destroy(s);
	tessera_context_destroy(cx);
	_exit(0);
}

static int forks(void)
{
	TesseraContext *cx = make_context(3);
	TesseraSession *s = make_session(cx);
	TesseraError e;
	Call want, c;
	make_call(&want, s, 33, OTHER_DIMS);
	make_call(&c, s, 33, OTHER_DIMS);
	check(run_call(&want, s, &e), "run", &e);
	Runner r = { .s = make_session(cx), .like = &want };
	pthread_t thread;
	for (int i = 0; i < CHILDREN; i++) {
		int status = 0;
		if (i == CHILDREN / 2 && pthread_create(&thread, NULL, run_on, &r))
			die("pthread_create", "refused");
		pid_t child = fork();
		if (!child)
			in_child(cx, s, r.s, &c, &want);
		if (child < 0 || waitpid(child, &status, 0) != child || status) {
			printf("FAIL fork: child %d ended with exit code %d, signal %d\n", i, WEXITSTATUS(status), WTERMSIG(status));
			return 1;
		}
		check(run_call(&c, s, &e), "run of the parent", &e);
		if (differs(&c, &want))
			die("fork", "the parent computes something else");
	}
	r.stop = 1;
	pthread_join(thread, NULL);
	free_call(&c);
	free_call(&want);
	tessera_session_destroy(r.s);
	tessera_session_destroy(s);
	tessera_context_destroy(cx);
	printf("ok: %d children\n", CHILDREN);
	return 0;
}

static int64_t number(int argc, char **argv, int i, int64_t otherwise) { return argc > i ? atoll(argv[i]) : otherwise; }

int main(int argc, char **argv)
{
	if (argc < 4)
		die("usage", "props bits|batch|heap|fork ARTIFACT SYMBOL [N]");
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
		return bits(number(argc, argv, 4, 100), number(argc, argv, 5, number(argc, argv, 4, 100)));
	if (!strcmp(argv[1], "batch"))
		return batch(number(argc, argv, 4, 64), number(argc, argv, 5, OTHER_DIMS));
	if (!strcmp(argv[1], "heap"))
		return heap();
	if (!strcmp(argv[1], "fork"))
		return forks();
	die("usage", "bits, batch, heap or fork");
}
