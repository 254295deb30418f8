/* Runs an artifact on a GPU without Python or PyTorch: for sanitizers, which are slow where big libraries load, and for times of the host,
 * which an interpreter would cover up.
 *
 *     host MODEL.so [--graph NAME] [--runs N] [--below N] [--device N] [--cost] NAME=2x3x4 ... [+ NAME=2x3x5 ...]
 *
 * Every input's shape is given, and after a + other shapes for a further run; elements are random (integers from 0 to below). Prints `key value` lines: launches, sums of the results, with
 * --cost nanoseconds. Exit status 1 and a message when a call fails. */
#include "include/tessera/tessera.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX = 64, SHAPES = 1024, BURST = 8, BURSTS = 400 };

typedef struct { const char *path, *graph, *shape[SHAPES]; int n_shapes, runs, device; uint64_t below; int cost; } Args;
typedef struct { DLTensor t[MAX]; int64_t shape[MAX][16]; const DLTensor *p[MAX]; int32_t n; } Tensors;

static TesseraError error;

static void fail(const char *what)
{
	fprintf(stderr, "host: %s: %s\n", what, error.message);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t next(uint64_t *s)
{
	uint64_t z = (*s += 0x9e3779b97f4a7c15u);
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* One element of mean 0 and variance 1 (floats), or from 0 to below. */
static void fill(DLDataType d, void *at, uint64_t i, uint64_t *seed, uint64_t below)
{
	uint64_t r = next(seed);
	double x = ((double)(r >> 11) * 0x1p-53 - 0.5) * 3.4641016;
	float f = (float)x;
	uint32_t bits;
	memcpy(&bits, &f, 4);
	if (d.code == kDLBfloat) ((uint16_t *)at)[i] = (uint16_t)(bits >> 16);
	else if (d.code == kDLFloat && d.bits == 64) ((double *)at)[i] = x;
	else if (d.code == kDLFloat && d.bits == 32) ((float *)at)[i] = f;
	else if (d.code == kDLFloat) ((_Float16 *)at)[i] = (_Float16)f;
	else if (d.code == kDLBool) ((uint8_t *)at)[i] = r >> 40 & 1;
	else if (d.bits == 64) ((int64_t *)at)[i] = (int64_t)(r % below);
	else if (d.bits == 32) ((int32_t *)at)[i] = (int32_t)(r % below);
	else if (d.bits == 16) ((int16_t *)at)[i] = (int16_t)(r % below);
	else ((uint8_t *)at)[i] = (uint8_t)(d.code > kDLBool ? r & 0xbf : r % (below < 127 ? below : 127)); /* fp8: no infinities and no NaN */
}

static uint64_t count_of(const DLTensor *t)
{
	uint64_t n = 1;
	for (int i = 0; i < t->ndim; i++) n *= (uint64_t)t->shape[i];
	return n;
}

static uint64_t bytes_of(const DLTensor *t) { return (count_of(t) * t->dtype.bits + 7) / 8; }

/* The shape of an input among those from `from` up to the next + */
static void read_shape(const Args *a, int from, const char *name, Tensors *to, int32_t i)
{
	size_t n = strlen(name);
	for (int k = from; k < a->n_shapes && strcmp(a->shape[k], "+"); k++) {
		const char *s = a->shape[k];
		if (strncmp(s, name, n) || s[n] != '=') continue;
		for (s += n + 1; *s && to->t[i].ndim < 16; s += *s == 'x') to->shape[i][to->t[i].ndim++] = strtoll(s, (char **)&s, 10);
		return;
	}
	fprintf(stderr, "host: input '%s' has no shape\n", name);
	exit(2);
}

static void memory_of(TesseraContext *cx, Tensors *all, int32_t i, DLDataType dtype, uint64_t *seed, uint64_t below)
{
	TesseraDeviceInfo info;
	tessera_device(cx, &info);
	DLTensor *t = &all->t[i];
	t->dtype = dtype;
	t->device = info.device;
	t->shape = all->shape[i];
	all->p[i] = t;
	uint64_t bytes = bytes_of(t);
	if (tessera_device_alloc(cx, bytes ? bytes : 1, &t->data, &error)) fail("memory");
	char *host = calloc(bytes ? bytes : 1, 1);
	if (!host) fail("host memory");
	for (uint64_t k = 0; seed && k < count_of(t); k++) fill(dtype, host, k, seed, below);
	if (bytes && tessera_copy(cx, t->data, host, bytes, &error)) fail("copy");
	free(host);
}

static int by_number(const void *a, const void *b) { return *(const uint64_t *)a < *(const uint64_t *)b ? -1 : *(const uint64_t *)a > *(const uint64_t *)b; }

/* Nanoseconds the host spends in a call, the median of bursts that the GPU's queue holds; `other` makes every call one with new pointers. */
static uint64_t cost(TesseraContext *cx, TesseraSession *s, int32_t g, Tensors *in, Tensors *out, const char *what, void **other)
{
	static uint64_t times[BURSTS];
	for (int b = -20; b < BURSTS; b++) {
		if (tessera_wait(cx, NULL, &error)) fail("wait");
		uint64_t begin = now();
		for (int i = 0; i < BURST; i++) {
			if (other) { void *was = out->t[0].data; out->t[0].data = *other; *other = was; }
			if (tessera_run(s, g, in->p, in->n, out->p, out->n, NULL, &error)) fail("run");
		}
		if (b >= 0) times[b] = (now() - begin) / BURST;
	}
	qsort(times, BURSTS, sizeof *times, by_number);
	printf("%s_ns %llu\n%s_ns_90 %llu\n", what, (unsigned long long)times[BURSTS / 2], what, (unsigned long long)times[BURSTS * 9 / 10]);
	return times[BURSTS / 2];
}

static void costs(TesseraContext *cx, TesseraSession *s, int32_t g, Tensors *in, Tensors *out)
{
	TesseraStats st;
	void *other;
	uint64_t bytes = bytes_of(&out->t[0]);
	cost(cx, s, g, in, out, "run", NULL);
	if (tessera_device_alloc(cx, bytes ? bytes : 1, &other, &error)) fail("memory");
	cost(cx, s, g, in, out, "new_pointer", &other);
	tessera_stats(s, &st);
	printf("graph_runs %llu\nplain_runs %llu\nnodes_updated %llu\n", (unsigned long long)st.graph_runs, (unsigned long long)st.plain_runs, (unsigned long long)st.nodes_updated);
}

/* One set of shapes, from shape number `from` of the arguments on. */
static void run_once(const Args *a, int from, const TesseraModel *m, TesseraContext *cx, TesseraSession *s, int32_t g)
{
	static Tensors in, out;
	TesseraTensorInfo info;
	TesseraStats st;
	uint64_t seed = 1;
	memset(&in, 0, sizeof in);
	memset(&out, 0, sizeof out);
	in.n = tessera_graph_inputs(m, g);
	out.n = tessera_graph_outputs(m, g);
	if (in.n > MAX || out.n > MAX) fail("too many tensors");
	for (int32_t i = 0; i < in.n; i++) {
		if (tessera_tensor_info(m, g, i, &info)) fail("tensor");
		read_shape(a, from, info.name, &in, i);
		memory_of(cx, &in, i, info.dtype, &seed, a->below);
	}
	for (int32_t i = 0; i < out.n; i++) {
		if (tessera_tensor_info(m, g, in.n + i, &info) || tessera_output_shape(s, g, in.p, in.n, i, out.shape[i], &out.t[i].ndim, &error)) fail("result");
		memory_of(cx, &out, i, info.dtype, NULL, 0);
	}
	uint64_t begin = now();
	if (tessera_run(s, g, in.p, in.n, out.p, out.n, NULL, &error)) fail("run");
	printf("first_run_us %llu\n", (unsigned long long)(now() - begin) / 1000);
	for (int i = 1; i < a->runs; i++)
		if (tessera_run(s, g, in.p, in.n, out.p, out.n, NULL, &error)) fail("run");
	if (tessera_wait(cx, NULL, &error)) fail("wait");
	tessera_stats(s, &st);
	printf("launches %llu\njit %u\nplan_sm %d\nupload_bytes %llu\n", (unsigned long long)st.launches, st.jit, st.plan_sm, (unsigned long long)st.upload_bytes);
	if (a->cost) costs(cx, s, g, &in, &out);
	for (int32_t i = 0; i < out.n; i++) {
		uint64_t bytes = bytes_of(&out.t[i]), sum = 0;
		unsigned char *host = calloc(bytes ? bytes : 1, 1);
		if (!host || (bytes && tessera_copy(cx, host, out.t[i].data, bytes, &error))) fail("copy");
		for (uint64_t k = 0; k < bytes; k++) sum = sum * 31 + host[k];
		printf("result%d %016llx\n", i, (unsigned long long)sum);
		free(host);
	}
	for (int32_t i = 0; i < in.n + out.n; i++) {
		DLTensor *t = i < in.n ? &in.t[i] : &out.t[i - in.n];
		tessera_device_release(cx, t->data, bytes_of(t) ? bytes_of(t) : 1, NULL);
	}
}

static void read_args(int argc, char **argv, Args *a)
{
	*a = (Args){ .runs = 1, .below = 100 };
	for (int i = 1; i < argc; i++) {
		const char *v = i + 1 < argc ? argv[i + 1] : "";
		if (!strcmp(argv[i], "--graph")) a->graph = v, i++;
		else if (!strcmp(argv[i], "--runs")) a->runs = atoi(v), i++;
		else if (!strcmp(argv[i], "--below")) a->below = strtoull(v, NULL, 10), i++;
		else if (!strcmp(argv[i], "--device")) a->device = atoi(v), i++;
		else if (!strcmp(argv[i], "--cost")) a->cost = 1;
		else if ((!strcmp(argv[i], "+") || strchr(argv[i], '=')) && a->n_shapes < SHAPES) a->shape[a->n_shapes++] = argv[i];
		else a->path = argv[i];
	}
	if (a->path && a->below) return;
	fprintf(stderr, "usage: host MODEL.so [--graph NAME] [--runs N] [--below N] [--device N] [--cost] NAME=2x3x4 ... [+ NAME=2x3x5 ...]\n");
	exit(2);
}

/* The device's context exists before anything is timed, outlives what is opened, and is this thread's, as in any program that works with CUDA. */
static void hold_device(int device)
{
	void *lib = dlopen("libcuda.so.1", RTLD_NOW), *held;
	int (*find)(const char *, void **, int, uint64_t, int *), (*init)(unsigned) = NULL, (*retain)(void **, int) = NULL, (*push)(void *) = NULL, status;
	if (!lib) { fprintf(stderr, "host: %s\n", dlerror()); exit(1); }
	*(void **)&find = dlsym(lib, "cuGetProcAddress_v2");
	uint64_t begin = now();
	if (!find || find("cuInit", (void **)&init, 12000, 0, &status) || init(0) ||
	    find("cuDevicePrimaryCtxRetain", (void **)&retain, 12000, 0, &status) || retain(&held, device) ||
	    find("cuCtxPushCurrent", (void **)&push, 12000, 0, &status) || push(held)) { fprintf(stderr, "host: no CUDA context on device %d\n", device); exit(1); }
	printf("cuda_context_us %llu\n", (unsigned long long)(now() - begin) / 1000);
}

int main(int argc, char **argv)
{
	static Args a;
	read_args(argc, argv, &a);
	hold_device(a.device);
	char symbol[256];
	const char *base = strrchr(a.path, '/') ? strrchr(a.path, '/') + 1 : a.path;
	snprintf(symbol, sizeof symbol, "%.*s_tessera", (int)strcspn(base, "."), base);
	uint64_t begin = now();
	void *lib = dlopen(a.path, RTLD_NOW | RTLD_LOCAL);
	const TesseraModel *m = lib ? dlsym(lib, symbol) : NULL;
	if (!m) { fprintf(stderr, "host: %s\n", dlerror()); return 1; }
	TesseraContextOptions o = { .size = sizeof o, .device = TESSERA_DEVICE_CUDA, .device_id = a.device };
	TesseraContext *cx;
	TesseraSession *s;
	if (tessera_context_create(m, &o, &cx, &error) || tessera_session_create(m, cx, NULL, &s, &error)) fail("open");
	printf("open_us %llu\n", (unsigned long long)(now() - begin) / 1000);
	int32_t g = a.graph ? tessera_find_graph(m, a.graph) : 0;
	if (g < 0) { fprintf(stderr, "host: no graph '%s'\n", a.graph); return 2; }
	for (int from = 0; from < a.n_shapes || !from; from++) {
		run_once(&a, from, m, cx, s, g);
		while (from < a.n_shapes && strcmp(a.shape[from], "+")) from++;
	}
	tessera_session_destroy(s);
	tessera_context_destroy(cx);
	puts("ok");
	return 0;
}
