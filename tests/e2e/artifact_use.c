/* Loads two artifacts of tests/e2e/artifact_make.c and uses them as a host program would, well and badly:
 *   artifact_use all A.so B.so        everything; prints `ok NAME` or `FAIL NAME: why` lines
 *   artifact_use load A.so            only that it loads and computes (also for programs of another libc)
 *   artifact_use weights A.so DIR     opens external weights; prints the error or `ok` */
#include "rtlib/xla_abi.h"
#include "tessera/tessera.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int failed;
#define CHECK(name, cond, ...) \
	do { \
		if (cond) { \
			printf("ok %s\n", name); \
		} else { \
			failed = 1; \
			printf("FAIL %s: line %d: ", name, __LINE__); \
			printf(__VA_ARGS__); \
			printf("\n"); \
		} \
	} while (0)

static const DLDataType f32 = { kDLFloat, 32, 1 }, i32 = { kDLInt, 32, 1 };
enum { CHAIN, SUM };

static const TesseraModel *load(const char *path, const char *symbol)
{
	void *lib = dlopen(path, RTLD_NOW);
	const TesseraModel *m = lib ? dlsym(lib, symbol) : NULL;
	if (!m)
		printf("FAIL load: %s\n", dlerror());
	return m;
}

/* what the model computes */
static float expected(float x, int column)
{
	static const float w[3][4] = { { 2, 3, 4, 5 }, { -1, 1, 0.5f, 2 }, { 1, -2, 3, 0.25f } };
	for (int i = 0; i < 3; i++)
		x = x * w[i][column % 4] + 1;
	return x;
}

static int right(const float *x, const float *y, int64_t b, int64_t n)
{
	for (int64_t i = 0; i < b * n; i++)
		if (y[i] != expected(x[i], (int)(i % n)))
			return 0;
	return 1;
}

static float *numbers(int64_t n)
{
	float *p = malloc((size_t)n * 4 + 64);
	for (int64_t i = 0; i < n; i++)
		p[i] = (float)(i % 251) - 100;
	return p;
}

static int32_t chain(TesseraSession *s, const float *x, float *y, int64_t b, int64_t n, TesseraError *e)
{
	int64_t shape[2] = { b, n };
	DLTensor in = tessera_tensor((void *)(uintptr_t)x, f32, 2, shape), out = tessera_tensor(y, f32, 2, shape);
	const DLTensor *ins[1] = { &in }, *outs[1] = { &out };
	return tessera_run(s, CHAIN, ins, 1, outs, 1, NULL, e);
}

/* ---- allocator that counts ---- */

typedef struct { pthread_mutex_t lock; long calls, live, budget; } Counter;
static void *count_alloc(void *user, size_t bytes, size_t align)
{
	Counter *c = user;
	void *p = NULL;
	pthread_mutex_lock(&c->lock);
	c->calls++;
	if (c->budget-- > 0 && posix_memalign(&p, align < 8 ? 8 : align, bytes ? bytes : 1) == 0) {
		memset(p, 0xa5, bytes);
		c->live += (long)bytes;
	}
	pthread_mutex_unlock(&c->lock);
	return p;
}
static void count_release(void *user, void *p, size_t bytes)
{
	Counter *c = user;
	pthread_mutex_lock(&c->lock);
	c->live -= (long)bytes;
	pthread_mutex_unlock(&c->lock);
	free(p);
}

/* ---- tests ---- */

static void sizes(const TesseraModel *m, TesseraContext *cx)
{
	static const int64_t b[] = { 0, 1, 3, 17, 64, 1 }, n[] = { 4, 4, 60, 64, 4096, 68 };
	TesseraSession *s;
	TesseraError e = { 0 };
	int bad = 0;
	float *x = numbers(64 * 4096), *y = malloc(64 * 4096 * 4);
	tessera_session_create(m, cx, NULL, &s, &e);
	for (int k = 0; k < 3; k++)
		for (int i = 0; i < 6; i++)
			bad |= chain(s, x, y, b[i], n[i], &e) || !right(x, y, b[i], n[i]);
	CHECK("sizes", !bad, "%s", e.message);
	tessera_session_destroy(s);
	free(x);
	free(y);
}

static void no_allocation(const TesseraModel *m)
{
	Counter c = { PTHREAD_MUTEX_INITIALIZER, 0, 0, 1000 };
	TesseraContextOptions o = { .threads = 2, .allocator = { &c, count_alloc, count_release } };
	TesseraContext *cx;
	TesseraSession *s;
	TesseraError e = { 0 };
	int64_t max[2] = { 64, 4096 };
	TesseraSessionOptions so = { .max_dims = max, .n_max_dims = 2 };
	float *x = numbers(64 * 4096), *y = malloc(64 * 4096 * 4);
	int rc = tessera_context_create(m, &o, &cx, &e) || tessera_session_create(m, cx, NULL, &s, &e) || chain(s, x, y, 5, 8, &e);
	long before = c.calls;
	for (int i = 0; i < 50 && !rc; i++)
		rc = chain(s, x, y, 5, 8, &e);
	CHECK("same-shape-allocates-nothing", !rc && c.calls == before, "%ld calls, %s", c.calls - before, e.message);
	tessera_session_destroy(s);
	rc = tessera_session_create(m, cx, &so, &s, &e);
	before = c.calls;
	for (int i = 0; i <= 64 && !rc; i++)
		rc = chain(s, x, y, i, 4 * (1 + i * 15), &e) || !right(x, y, i, 4 * (1 + i * 15));
	CHECK("fixed-session-allocates-nothing", !rc && c.calls == before, "%ld calls, %s", c.calls - before, e.message);
	int64_t shape[2] = { 4, 4 }, strides[2] = { 1, 4 };
	DLTensor in = tessera_tensor(x, f32, 2, shape), out = tessera_tensor(y, f32, 2, shape);
	const DLTensor *ins[1] = { &in }, *outs[1] = { &out };
	in.strides = strides;
	y[0] = 77;
	rc = tessera_run(s, CHAIN, ins, 1, outs, 1, NULL, &e);
	CHECK("fixed-session-without-staging-refuses-strides", rc == TESSERA_INVALID && strstr(e.message, "input 'x'") && y[0] == 77, "%d %s", rc, e.message);
	tessera_session_destroy(s);
	tessera_context_destroy(cx);
	CHECK("all-memory-is-returned", c.live == 0, "%ld bytes", c.live);
	int survived = 1;
	for (int n = 0; n < 12; n++) {
		c.budget = n;
		cx = NULL;
		s = NULL;
		rc = tessera_context_create(m, &o, &cx, &e);
		if (!rc)
			rc = tessera_session_create(m, cx, NULL, &s, &e);
		if (!rc)
			rc = chain(s, x, y, 5, 8, &e);
		survived &= rc == 0 || (rc == TESSERA_NO_MEMORY && e.message[0]);
		tessera_session_destroy(s);
		tessera_context_destroy(cx);
	}
	CHECK("out-of-memory-is-an-error", survived && rc == 0 && c.live == 0, "%d %s, %ld bytes", rc, e.message, c.live);
	free(x);
	free(y);
}

typedef struct { const TesseraModel *m; TesseraContext *cx; const float *x; const float *want; int bad; } Job;
static void *session_thread(void *arg)
{
	Job *j = arg;
	TesseraSession *s;
	TesseraError e;
	float *y = malloc(64 * 512 * 4);
	if (tessera_session_create(j->m, j->cx, NULL, &s, &e))
		return NULL;
	for (int i = 0; i < 40; i++) {
		int64_t b = 1 + (i * 7) % 64;
		memset(y, 0, 64 * 512 * 4);
		j->bad |= chain(s, j->x, y, b, 512, &e) || memcmp(y, j->want, (size_t)b * 512 * 4);
	}
	tessera_session_destroy(s);
	free(y);
	return NULL;
}

static void concurrent(const TesseraModel *m)
{
	float *x = numbers(64 * 512), *want = malloc(64 * 512 * 4);
	for (int i = 0; i < 64 * 512; i++)
		want[i] = expected(x[i], i % 512);
	static const int threads[] = { 1, 2, 3, 8 };
	for (int k = 0; k < 4; k++) {
		Counter c = { PTHREAD_MUTEX_INITIALIZER, 0, 0, 100000 };
		TesseraContextOptions o = { .threads = threads[k], .allocator = { &c, count_alloc, count_release } };
		TesseraContext *cx;
		TesseraError e = { 0 };
		pthread_t t[16];
		Job j[16];
		int bad = tessera_context_create(m, &o, &cx, &e);
		for (int i = 0; i < 16; i++) {
			j[i] = (Job){ m, cx, x, want, 0 };
			pthread_create(&t[i], NULL, session_thread, &j[i]);
		}
		for (int i = 0; i < 16; i++) {
			pthread_join(t[i], NULL);
			bad |= j[i].bad;
		}
		tessera_context_destroy(cx);
		char name[64];
		sprintf(name, "16-sessions-%d-threads", threads[k]);
		CHECK(name, !bad, "wrong bits");
	}
	free(x);
	free(want);
}

/* one session, two callers: some call is refused or waits its turn, none is wrong */
typedef struct { TesseraSession *s; const float *x; int busy, other, wrong; } Two;
static void *two_thread(void *arg)
{
	Two *t = arg;
	float *y = malloc(64 * 512 * 4);
	for (int i = 0; i < 300; i++) {
		TesseraError e;
		int rc = chain(t->s, t->x, y, 64, 512, &e);
		t->busy += rc == TESSERA_BUSY;
		t->other += rc && rc != TESSERA_BUSY;
		t->wrong += !rc && !right(t->x, y, 64, 512);
	}
	free(y);
	return NULL;
}

static void one_session_twice(const TesseraModel *m, TesseraContext *cx)
{
	TesseraSession *s;
	TesseraError e = { 0 };
	pthread_t a, b;
	float *x = numbers(64 * 512);
	tessera_session_create(m, cx, NULL, &s, &e);
	Two t[2] = { { s, x, 0, 0, 0 }, { s, x, 0, 0, 0 } };
	pthread_create(&a, NULL, two_thread, &t[0]);
	pthread_create(&b, NULL, two_thread, &t[1]);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	CHECK("two-callers-of-one-session", !t[0].wrong && !t[1].wrong && !t[0].other && !t[1].other, "wrong %d %d", t[0].wrong, t[1].wrong);
	CHECK("one-of-two-callers-is-refused", t[0].busy + t[1].busy > 0, "no call met another");
	tessera_session_destroy(s);
	free(x);
}

/* strided, reversed, broadcast, misaligned, offset and aliased arguments */
typedef struct { const char *name; int64_t first, s0, s1; int misalign; } View;
static void views(const TesseraModel *m, TesseraContext *cx)
{
	static const View list[] = {
		{ "transposed", 0, 1, 6, 0 }, { "reversed", 47, -8, -1, 0 }, { "row-broadcast", 0, 0, 1, 0 }, { "all-broadcast", 3, 0, 0, 0 },
		{ "odd-stride", 0, 17, 2, 0 }, { "column-reversed", 7, 8, -1, 0 }, { "misaligned", 0, 8, 1, 1 }, { "misaligned-strided", 0, 9, 1, 2 },
	};
	int64_t b = 6, n = 8, shape[2] = { 6, 8 };
	float *x = numbers(400), y[48], want[48];
	unsigned char moved[1700];
	TesseraSession *s;
	TesseraError e = { 0 };
	tessera_session_create(m, cx, NULL, &s, &e);
	for (size_t v = 0; v < sizeof list / sizeof *list; v++) {
		int64_t strides[2] = { list[v].s0, list[v].s1 };
		memcpy(moved + list[v].misalign, x, 1600);
		DLTensor in = tessera_tensor(list[v].misalign ? (void *)moved : x, f32, 2, shape), out = tessera_tensor(y, f32, 2, shape);
		in.strides = strides;
		in.byte_offset = (uint64_t)(list[v].first * 4 + list[v].misalign);
		for (int64_t i = 0; i < b * n; i++)
			want[i] = expected(x[list[v].first + i / n * strides[0] + i % n * strides[1]], (int)(i % n));
		const DLTensor *ins[1] = { &in }, *outs[1] = { &out };
		memset(y, 0, sizeof y);
		int rc = tessera_run(s, CHAIN, ins, 1, outs, 1, NULL, &e);
		char name[64];
		sprintf(name, "input-%s", list[v].name);
		CHECK(name, !rc && !memcmp(y, want, sizeof y), "%d %s", rc, e.message);
	}
	for (size_t v = 0; v < sizeof list / sizeof *list; v++) {
		int64_t strides[2] = { list[v].s0, list[v].s1 };
		int overlapping = !strides[0] || !strides[1];
		unsigned char area[1700], ref[1700];
		memset(area, 0x5a, sizeof area);
		memset(ref, 0x5a, sizeof ref);
		DLTensor in = tessera_tensor(x, f32, 2, shape), out = tessera_tensor(area, f32, 2, shape);
		out.strides = strides;
		out.byte_offset = (uint64_t)(list[v].first * 4 + list[v].misalign);
		for (int64_t i = 0; i < b * n; i++) {
			float r = expected(x[i], (int)(i % n));
			memcpy(ref + list[v].misalign + 4 * (list[v].first + i / n * strides[0] + i % n * strides[1]), &r, 4);
		}
		if (overlapping)
			memset(ref, 0x5a, sizeof ref);
		const DLTensor *ins[1] = { &in }, *outs[1] = { &out };
		int rc = tessera_run(s, CHAIN, ins, 1, outs, 1, NULL, &e);
		char name[64];
		sprintf(name, "output-%s", list[v].name);
		CHECK(name, overlapping ? rc == TESSERA_INVALID && strstr(e.message, "output 'y'") && !memcmp(area, ref, sizeof ref)
		                        : !rc && !memcmp(area, ref, sizeof ref), "%d %s", rc, e.message);
	}
	for (int64_t shift = 0; shift < 4; shift++) {
		float *area = numbers(400);
		int rc = chain(s, area, area + shift * 5, b, n, &e), bad = rc;
		for (int64_t i = 0; i < b * n; i++)
			bad |= area[shift * 5 + i] != expected((float)(i % 251) - 100, (int)(i % n));
		CHECK("output-over-input", !bad, "shift %d: %d %s", (int)shift * 5, rc, e.message);
		free(area);
	}
	TesseraStats st;
	tessera_stats(s, &st);
	CHECK("copies-are-counted", st.copied_tensors >= 14 && st.copied_bytes == st.copied_tensors * 192, "%d copies, %d bytes", (int)st.copied_tensors, (int)st.copied_bytes);
	tessera_session_destroy(s);
	free(x);
}

/* every bad argument is an error that names it, with nothing written */
static void bad_arguments(const TesseraModel *m, TesseraContext *cx)
{
	TesseraSession *s;
	TesseraError e = { 0 };
	float *x = numbers(400), y[64];
	int64_t shape[2] = { 2, 8 }, other[2] = { 2, 12 }, huge[2] = { INT64_MAX / 2, 16 }, beside[2] = { 0, (int64_t)1 << 62 }, minus[2] = { 2, -8 }, three[3] = { 1, 2, 8 }, far[2] = { INT64_MAX / 8, 1 };
	int64_t odd[2] = { 2, 6 }, many[2] = { 65, 4 }, none[2] = { 2, 0 };
	tessera_session_create(m, cx, NULL, &s, &e);
	DLTensor good = tessera_tensor(x, f32, 2, shape), gout = tessera_tensor(y, f32, 2, shape);
	DLTensor in = good, out = gout;
	const DLTensor *ins[2] = { &in, &in }, *outs[2] = { &out, &out };
	CHECK("inputs-null", tessera_run(s, CHAIN, NULL, 1, outs, 1, NULL, &e) == TESSERA_INVALID && strstr(e.message, "argument 'in' is NULL"), "%s", e.message);
	CHECK("outputs-null", tessera_run(s, CHAIN, ins, 1, NULL, 1, NULL, &e) == TESSERA_INVALID && strstr(e.message, "argument 'out' is NULL"), "%s", e.message);
#define BAD(name, code, text, setup, n_in, n_out) \
	do { \
		in = good; \
		out = gout; \
		ins[0] = &in; \
		outs[0] = &out; \
		setup; \
		memset(y, 0x5a, sizeof y); \
		int rc = tessera_run(s, CHAIN, ins, n_in, outs, n_out, NULL, &e), touched = 0; \
		for (size_t i = 0; i < sizeof y; i++) \
			touched |= ((unsigned char *)y)[i] != 0x5a; \
		CHECK(name, rc == code && strstr(e.message, text) && !touched, "%d '%s'", rc, e.message); \
	} while (0)
	BAD("input-rank", TESSERA_INVALID, "input 'x': rank is 3, wanted 2", (in.ndim = 3, in.shape = three), 1, 1);
	BAD("input-rank-negative", TESSERA_INVALID, "input 'x': rank is -1", in.ndim = -1, 1, 1);
	BAD("input-type", TESSERA_INVALID, "input 'x': type is int32, wanted f32", in.dtype = i32, 1, 1);
	BAD("input-type-unknown", TESSERA_INVALID, "input 'x': type is DLPack code 77", in.dtype.code = 77, 1, 1);
	BAD("input-lanes", TESSERA_INVALID, "2 lanes", in.dtype.lanes = 2, 1, 1);
	BAD("input-device", TESSERA_INVALID, "input 'x': memory of DLPack device type 2", in.device.device_type = kDLCUDA, 1, 1);
	BAD("input-null", TESSERA_INVALID, "input 'x' is NULL", ins[0] = NULL, 1, 1);
	BAD("input-data-null", TESSERA_INVALID, "input 'x': data is NULL", in.data = NULL, 1, 1);
	BAD("input-shape-null", TESSERA_INVALID, "input 'x': shape is NULL", in.shape = NULL, 1, 1);
	BAD("input-size-negative", TESSERA_INVALID, "input 'x': axis 1 has size -8", in.shape = minus, 1, 1);
	BAD("input-size-huge", TESSERA_RANGE, "input 'x': its sizes multiply to more than 2^63", in.shape = huge, 1, 1);
	BAD("input-size-huge-beside-0", TESSERA_RANGE, "input 'x': it would take more than 2^63 bytes", in.shape = beside, 1, 1);
	BAD("input-strides-huge", TESSERA_INVALID, "input 'x': strides and byte_offset reach beyond", in.strides = far, 1, 1);
	BAD("input-offset-huge", TESSERA_INVALID, "input 'x': strides and byte_offset reach beyond", in.byte_offset = UINT64_MAX - 3, 1, 1);
	BAD("dim-multiple", TESSERA_RANGE, "dim N is 6, wanted a multiple of 4", (in.shape = odd, out.shape = odd), 1, 1);
	BAD("dim-too-large", TESSERA_RANGE, "dim B is 65, wanted 64 or less", (in.shape = many, out.shape = many), 1, 1);
	BAD("dim-too-small", TESSERA_RANGE, "dim N is 0, wanted 1 or more", (in.shape = none, out.shape = none), 1, 1);
	BAD("output-size", TESSERA_INVALID, "output 'y': axis 1 is 12, wanted 8, which is dim N", out.shape = other, 1, 1);
	BAD("output-type", TESSERA_INVALID, "output 'y': type is int32", out.dtype = i32, 1, 1);
	BAD("output-null", TESSERA_INVALID, "output 'y' is NULL", outs[0] = NULL, 1, 1);
	BAD("output-data-null", TESSERA_INVALID, "output 'y': data is NULL", out.data = NULL, 1, 1);
	BAD("input-count", TESSERA_INVALID, "takes 1 inputs, 2 given", (void)0, 2, 1);
	BAD("output-count", TESSERA_INVALID, "gives 1 outputs, 0 given", (void)0, 1, 0);
	BAD("output-count-negative", TESSERA_INVALID, "n_out", (void)0, 1, -1);
	int rc = tessera_run(s, 2, ins, 1, outs, 1, NULL, &e);
	CHECK("graph-number", rc == TESSERA_INVALID && strstr(e.message, "argument 'graph' is 2"), "%d '%s'", rc, e.message);
	rc = tessera_run(s, 0, ins, 1, outs, 1, &e, &e);
	CHECK("stream", rc == TESSERA_INVALID && strstr(e.message, "stream"), "%d '%s'", rc, e.message);
	rc = tessera_run(s, 0, NULL, 1, outs, 1, NULL, NULL);
	CHECK("no-error-struct", rc == TESSERA_INVALID, "%d", rc);
	float r[2];
	int32_t clone;
	int64_t b2 = 2;
	DLTensor t12 = tessera_tensor(x, f32, 2, other), sum = tessera_tensor(r, f32, 1, &b2), which = tessera_tensor(&clone, i32, 0, NULL);
	const DLTensor *sin[1] = { &t12 }, *sout[2] = { &sum, &which };
	rc = tessera_run(s, SUM, sin, 1, sout, 2, NULL, &e);
	CHECK("check-text", rc == TESSERA_INVALID && !strcmp(e.message, "sum: axis 1 of 'x' is 12, wanted anything but 12"), "%d '%s'", rc, e.message);
	t12.shape = shape;
	which = sum;
	which.dtype = i32;
	which.ndim = 0;
	rc = tessera_run(s, SUM, sin, 1, sout, 2, NULL, &e);
	CHECK("outputs-overlap", rc == TESSERA_INVALID && strstr(e.message, "output 'clone' shares memory with output 's'"), "%d '%s'", rc, e.message);
	rc = chain(s, x, y, 2, 8, &e);
	CHECK("still-works", !rc && right(x, y, 2, 8), "%d '%s'", rc, e.message);
	tessera_session_destroy(s);
	free(x);
}

static int lines;
static void count_line(void *user, const char *text)
{
	(void)user;
	lines += strstr(text, "variant small, kernel") != NULL;
}

static void questions(const TesseraModel *m, TesseraContext *cx)
{
	TesseraSession *s;
	TesseraError e = { 0 };
	TesseraTensorInfo t;
	TesseraDimInfo d;
	int64_t dims[2] = { 3, 8 }, shape[16], in_shape[2] = { 5, 8 };
	uint64_t bytes = 0;
	int32_t rank = -1;
	tessera_session_create(m, cx, NULL, &s, &e);
	CHECK("graphs", tessera_graph_count(m) == 2 && tessera_find_graph(m, "sum") == SUM && tessera_find_graph(m, "su") == -1 && !tessera_graph_name(m, 5), "wrong");
	CHECK("tensors", tessera_graph_inputs(m, SUM) == 1 && tessera_graph_outputs(m, SUM) == 2 && !tessera_tensor_info(m, SUM, 1, &t) && !strcmp(t.name, "s") &&
	      t.rank == 1 && t.dims[0] == -1 && t.dtype.bits == 32 && tessera_tensor_info(m, SUM, 3, &t), "wrong");
	CHECK("dims", tessera_dim_count(m) == 2 && !tessera_dim_info(m, 1, &d) && !strcmp(d.name, "N") && d.max == 4096 && d.multiple_of == 4 && tessera_dim_info(m, 2, &d), "wrong");
	CHECK("workspace", !tessera_workspace(m, CHAIN, dims, 2, &bytes, &e) && bytes == 2 * 128, "%d bytes %s", (int)bytes, e.message);
	DLTensor x = tessera_tensor(NULL, f32, 2, in_shape);
	const DLTensor *in[1] = { &x };
	CHECK("output-shape", !tessera_output_shape(s, SUM, in, 1, 0, shape, &rank, &e) && rank == 1 && shape[0] == 5, "%s", e.message);
	CHECK("nulls", tessera_stats(s, NULL) == TESSERA_INVALID && tessera_tensor_info(m, 0, 0, NULL) == TESSERA_INVALID && tessera_dim_info(m, 0, NULL) == TESSERA_INVALID,
	      "accepted");
	CHECK("null-shape", tessera_output_shape(s, CHAIN, NULL, 0, 0, NULL, NULL, &e) == TESSERA_INVALID && strstr(e.message, "argument 'shape' is NULL"), "%s", e.message);
	CHECK("null-line", tessera_explain(s, NULL, NULL, &e) == TESSERA_INVALID && strstr(e.message, "argument 'line' is NULL"), "%s", e.message);
	CHECK("null-context", tessera_context_create(m, NULL, NULL, &e) == TESSERA_INVALID && strstr(e.message, "argument 'out' is NULL"), "%s", e.message);
	CHECK("null-session", tessera_session_create(m, cx, NULL, NULL, &e) == TESSERA_INVALID && strstr(e.message, "argument 'out' is NULL"), "%s", e.message);
	CHECK("null-workspace", tessera_workspace(m, CHAIN, dims, 2, NULL, &e) == TESSERA_INVALID && strstr(e.message, "argument 'bytes' is NULL"), "%s", e.message);
	CHECK("null-device-memory", tessera_device_alloc(cx, 64, NULL, &e) == TESSERA_INVALID && strstr(e.message, "argument 'out' is NULL"), "%s", e.message);
	CHECK("null-copy", tessera_copy(cx, NULL, dims, 16, &e) == TESSERA_INVALID && strstr(e.message, "argument 'to' is NULL"), "%s", e.message);
	tessera_device(cx, NULL);
	CHECK("explain-before", tessera_explain(s, count_line, NULL, &e) == TESSERA_INVALID, "no error");
	CHECK("prepare", !tessera_prepare(s, CHAIN, dims, 2, &e) && !tessera_explain(s, count_line, NULL, &e) && lines == 5, "%d lines, %s", lines, e.message);
	dims[0] = -1;
	CHECK("prepare-lacks-dim", tessera_prepare(s, CHAIN, dims, 2, &e) == TESSERA_INVALID && strstr(e.message, "dim B"), "%s", e.message);
	CHECK("prepare-null", tessera_prepare(s, CHAIN, NULL, 2, &e) == TESSERA_INVALID && strstr(e.message, "argument 'dims' is NULL"), "%s", e.message);
	CHECK("prepare-count", tessera_prepare(s, CHAIN, dims, 1, &e) == TESSERA_INVALID, "no error");
	tessera_session_destroy(s);
}

typedef struct { uint32_t n, layers; int64_t end; const char *wrong; TesseraSession *s; } Seen;
static void see(void *user, const TesseraLaunchTime *t)
{
	Seen *s = user;
	int layer = !strcmp(t->step, "layer");
	TesseraStats st;
	if (t->size != sizeof *t || t->launch != s->n++ || t->launches != 5 || t->start_ns < s->end || t->duration_ns < 0 || t->duration_ns > 1000000000)
		s->wrong = "a time is wrong";
	if (layer ? strcmp(t->values, "t layer") || t->flops != 2 * 20 * 8 || t->bytes_read != 640 || t->bytes_written != 640 : *t->values || t->flops != -1)
		s->wrong = "it does not say what it is";
	if (strcmp(t->variant, "small") || strcmp(t->kernel, layer ? "layer" : "copy") || t->cells != 20 || tessera_stats(s->s, &st))
		s->wrong = "another variant";
	s->end = t->start_ns + t->duration_ns;
	s->layers += (uint32_t)layer;
}

static void profiles(const TesseraModel *m, TesseraContext *cx)
{
	TesseraSession *s;
	TesseraError e = { 0 };
	int64_t shape[2] = { 20, 8 }, none[2] = { 0, 8 };
	float *x = numbers(160), y[160];
	DLTensor tx = tessera_tensor(x, f32, 2, shape), ty = tessera_tensor(y, f32, 2, shape), empty = tessera_tensor(x, f32, 2, none);
	const DLTensor *in = &tx, *out = &ty, *nothing = &empty;
	struct timespec t;
	tessera_session_create(m, cx, NULL, &s, &e);
	Seen seen = { .s = s };
	clock_gettime(CLOCK_MONOTONIC, &t);
	int64_t before = t.tv_sec * 1000000000ll + t.tv_nsec, rc = tessera_profile(s, CHAIN, &in, 1, &out, 1, NULL, see, &seen, &e);
	clock_gettime(CLOCK_MONOTONIC, &t);
	CHECK("profile", !rc && right(x, y, 20, 8) && seen.n == 5 && seen.layers == 3 && !seen.wrong, "%s, %u launches, %s", e.message, seen.n, seen.wrong ? seen.wrong : "");
	CHECK("profile-by-the-clock", seen.end > before && seen.end <= t.tv_sec * 1000000000ll + t.tv_nsec, "ended at %lld", (long long)seen.end);
	Seen again = { .s = s };
	for (int i = 0; i < 200 && !rc && !again.wrong; i++) {
		rc = tessera_profile(s, CHAIN, &in, 1, &out, 1, NULL, see, &again, &e);
		again.n = 0;
	}
	CHECK("profiles-again", !rc && !again.wrong && right(x, y, 20, 8) && !chain(s, x, y, 20, 8, &e), "%s", again.wrong);
	CHECK("profile-of-nothing", !tessera_profile(s, CHAIN, &nothing, 1, &nothing, 1, NULL, see, &seen, &e) || strstr(e.message, "dim B"), "%s", e.message);
	CHECK("profile-null", tessera_profile(s, CHAIN, &in, 1, &out, 1, NULL, NULL, NULL, &e) == TESSERA_INVALID && strstr(e.message, "argument 'each' is NULL"), "%s", e.message);
	CHECK("profile-bad-call", tessera_profile(s, CHAIN, &in, 0, &out, 1, NULL, see, &seen, &e) == TESSERA_INVALID && seen.n == 5, "%s", e.message);
	tessera_session_destroy(s);
	free(x);
}

static void clones(const TesseraModel *m)
{
	int best = 0;
	for (int cpu = 0; cpu <= 4; cpu++) {
		TesseraContextOptions o = { .threads = 1, .cpu = cpu };
		TesseraContext *cx;
		TesseraSession *s;
		TesseraError e = { 0 };
		float x[4] = { 1, 2, 3, 4 }, r = 0;
		int32_t which = 0;
		int64_t shape[2] = { 1, 4 };
		int rc = tessera_context_create(m, &o, &cx, &e);
		if (rc) {
			CHECK("clone-refused", cpu == 4 ? rc == TESSERA_INVALID : rc == TESSERA_UNSUPPORTED && cpu > best, "%d %s", rc, e.message);
			continue;
		}
		tessera_session_create(m, cx, NULL, &s, &e);
		DLTensor in = tessera_tensor(x, f32, 2, shape), out = tessera_tensor(&r, f32, 1, shape), w = tessera_tensor(&which, i32, 0, NULL);
		const DLTensor *ins[1] = { &in }, *outs[2] = { &out, &w };
		rc = tessera_run(s, SUM, ins, 1, outs, 2, NULL, &e);
		best = cpu ? best : which;
		CHECK("clone", !rc && r == 10 && (cpu ? which == cpu : which >= 1), "%d %d %s", which, rc, e.message);
		tessera_session_destroy(s);
		tessera_context_destroy(cx);
	}
}

static void shared_context(const TesseraModel *a, const TesseraModel *b)
{
	TesseraContext *cx;
	TesseraSession *s, *t;
	TesseraError e = { 0 };
	TesseraContextOptions o = { .threads = 3 };
	float *x = numbers(64), y[64], z[64];
	int rc = tessera_context_create(a, &o, &cx, &e) || tessera_session_create(a, cx, NULL, &s, &e) || tessera_session_create(b, cx, NULL, &t, &e) ||
	         chain(s, x, y, 8, 8, &e) || chain(t, x, z, 8, 8, &e);
	CHECK("one-context-two-artifacts", !rc && a != b && a->api != b->api && right(x, y, 8, 8) && right(x, z, 8, 8), "%s", e.message);
	tessera_session_destroy(s);
	tessera_session_destroy(t);
	tessera_context_destroy(cx);
	free(x);
}

static void options(const TesseraModel *m, TesseraContext *cx)
{
	TesseraContext *c;
	TesseraSession *s;
	TesseraError e = { 0 };
	int64_t small[2] = { 2, 8 };
	float *x = numbers(400), y[200];
	TesseraContextOptions minus = { .threads = -1 }, sized = { .size = 3 };
	TesseraSessionOptions few = { .max_dims = small, .n_max_dims = 1 }, flags = { .flags = 8 }, fixed = { .max_dims = small, .n_max_dims = 2 };
	CHECK("threads-negative", tessera_context_create(m, &minus, &c, &e) == TESSERA_INVALID && !c && strstr(e.message, "'threads' is -1"), "%s", e.message);
	CHECK("options-version", tessera_context_create(m, &sized, &c, &e) == TESSERA_VERSION, "%s", e.message);
	CHECK("max-dims-count", tessera_session_create(m, cx, &few, &s, &e) == TESSERA_INVALID && !s, "%s", e.message);
	CHECK("session-flags", tessera_session_create(m, cx, &flags, &s, &e) == TESSERA_INVALID, "%s", e.message);
	int rc = tessera_session_create(m, cx, &fixed, &s, &e) || chain(s, x, y, 2, 8, &e);
	CHECK("fixed-fits", !rc && right(x, y, 2, 8), "%s", e.message);
	rc = chain(s, x, y, 20, 8, &e);
	CHECK("fixed-too-small", rc == TESSERA_NO_MEMORY && strstr(e.message, "max_dims"), "%d %s", rc, e.message);
	rc = chain(s, x, y, 1, 16, &e);
	CHECK("fixed-still-works", !rc && right(x, y, 1, 16), "%s", e.message);
	tessera_session_destroy(s);
	TesseraModel wrong = *m;
	wrong.abi = 99;
	CHECK("abi", tessera_session_create(&wrong, cx, NULL, &s, &e) == TESSERA_VERSION && strstr(e.message, "another version"), "%s", e.message);
	wrong = *m;
	wrong.plan_bytes /= 2;
	CHECK("damaged-plan", tessera_session_create(&wrong, cx, NULL, &s, &e) == TESSERA_VERSION && strstr(e.message, "damaged"), "%s", e.message);
	free(x);
}

/* ---- the handler for XLA, called as XLA would, without XLA ---- */

static char said[256];
static XlaError *say(XlaErrorCreate *c)
{
	snprintf(said, sizeof said, "%s", c->message);
	return (XlaError *)(void *)said;
}

static void xla(const char *path)
{
	static const XlaApi api = { .size = sizeof api, .error_create = say };
	void *lib = dlopen(path, RTLD_NOW);
	XlaError *(*handler)(XlaFrame *);
	*(void **)(void *)&handler = lib ? dlsym(lib, "toy_xla") : NULL;
	CHECK("xla-is-exported", handler, "%s", dlerror());
	if (!handler)
		return;
	for (int round = 0; round < 4; round++) {
		int64_t shape[2] = { 6, round % 2 ? 8 : 64 };
		float *x = numbers(6 * 64), *y = numbers(6 * 64);
		XlaBuffer in = { sizeof in, NULL, XLA_F32, x, 2, shape }, out = { sizeof out, NULL, XLA_F32, y, 2, shape };
		int32_t kind = XLA_BUFFER;
		void *ins = &in, *outs = &out;
		XlaFrame f = { .size = XLA_SIZE(XlaFrame, attributes), .api = &api, .stage = XLA_STAGE_EXECUTE, .attributes = { .size = sizeof f.attributes } };
		f.args = (XlaList){ sizeof f.args, NULL, 1, &kind, &ins };
		f.rets = (XlaList){ sizeof f.rets, NULL, 1, &kind, &outs };
		char name[32];
		snprintf(name, sizeof name, "xla-computes-%d", round);
		CHECK(name, !handler(&f) && right(x, y, 6, shape[1]), "%s", said);
		in.dtype = XLA_S32;
		snprintf(name, sizeof name, "xla-refuses-%d", round);
		CHECK(name, handler(&f) && !strcmp(said, "input 'x': type is int32, wanted f32"), "%s", said);
		free(x);
		free(y);
	}
}

static int only_load(const TesseraModel *m)
{
	TesseraContext *cx;
	TesseraSession *s;
	TesseraError e = { 0 };
	TesseraContextOptions o = { .threads = 2 };
	TesseraStats st;
	float x[64], y[64];
	for (int i = 0; i < 64; i++)
		x[i] = (float)i;
	int rc = tessera_context_create(m, &o, &cx, &e) || tessera_session_create(m, cx, NULL, &s, &e) || chain(s, x, y, 8, 8, &e);
	if (!rc)
		tessera_stats(s, &st);
	CHECK("loads", !rc && right(x, y, 8, 8) && st.threads == 2, "%s", e.message);
	return failed;
}

static int open_weights(const TesseraModel *m, const char *path)
{
	TesseraContext *cx;
	TesseraSession *s = NULL, *t = NULL;
	TesseraError e = { 0 };
	TesseraContextOptions o = { .threads = 1, .weights = path };
	TesseraStats st;
	float x[64], y[64];
	for (int i = 0; i < 64; i++)
		x[i] = (float)i;
	int rc = tessera_context_create(m, &o, &cx, &e);
	if (!rc)
		rc = tessera_session_create(m, cx, NULL, &s, &e);
	if (!rc)
		rc = tessera_session_create(m, cx, NULL, &t, &e) || chain(t, x, y, 8, 8, &e);
	if (rc) {
		printf("error %d: %s\n", rc, e.message);
	} else {
		tessera_stats(s, &st);
		printf("%s %d\n", right(x, y, 8, 8) ? "ok" : "wrong", (int)st.external_bytes);
	}
	tessera_session_destroy(s);
	tessera_session_destroy(t);
	tessera_context_destroy(cx);
	return rc;
}

int main(int argc, char **argv)
{
	TesseraContext *cx;
	TesseraContextOptions o = { .threads = 2 };
	TesseraError e = { 0 };
	if (argc < 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	const TesseraModel *m = load(argv[2], "toy_tessera");
	if (!m)
		return 1;
	if (!strcmp(argv[1], "load"))
		return only_load(m);
	if (!strcmp(argv[1], "weights"))
		return open_weights(m, argc > 3 ? argv[3] : NULL);
	const TesseraModel *other = load(argv[3], "second_tessera");
	if (!other || tessera_context_create(m, &o, &cx, &e))
		return 1;
	sizes(m, cx);
	no_allocation(m);
	concurrent(m);
	one_session_twice(m, cx);
	views(m, cx);
	bad_arguments(m, cx);
	questions(m, cx);
	profiles(m, cx);
	clones(m);
	shared_context(m, other);
	options(m, cx);
	xla(argv[2]);
	tessera_context_destroy(cx);
	return failed;
}
