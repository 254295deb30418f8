/* What the first answer of a model on a GPU consists of, without Python or any library:
 *
 *     first MODEL.so NAME=2x3x4:FILE ... RESULT
 *
 * Elements of every input are read from a file of nothing else, those of the first result are written to RESULT. Prints `at NANOSECONDS STEP`
 * when a step is done, by the system's monotonic clock, so that whoever started the process knows what came before; the last is `answer`. */
#include "include/tessera/tessera.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX = 32, RANK = 16, STEPS = 32 };

static struct { const char *what; uint64_t at; } done[STEPS];
static int n_done;
static TesseraError error;

static void step(const char *what)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	done[n_done].what = what;
	done[n_done++].at = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
	fprintf(stderr, "first: %s: %s\n", what, error.message);
	exit(1);
}

/* As every program that works with CUDA has to: what this costs is the driver's. */
static void start_cuda(void)
{
	void *lib = dlopen("libcuda.so.1", RTLD_NOW), *held;
	int (*find)(const char *, void **, int, uint64_t, int *), (*init)(unsigned) = NULL, (*retain)(void **, int) = NULL, status;
	if (!lib) { fprintf(stderr, "first: %s\n", dlerror()); exit(1); }
	*(void **)&find = dlsym(lib, "cuGetProcAddress_v2");
	step("driver loaded");
	if (!find || find("cuInit", (void **)&init, 12000, 0, &status) || init(0)) { fputs("first: cuInit fails\n", stderr); exit(1); }
	step("cuInit");
	if (find("cuDevicePrimaryCtxRetain", (void **)&retain, 12000, 0, &status) || retain(&held, 0)) { fputs("first: no CUDA context\n", stderr); exit(1); }
	step("CUDA context");
}

static uint64_t bytes_of(const DLTensor *t)
{
	uint64_t n = 1;
	for (int i = 0; i < t->ndim; i++) n *= (uint64_t)t->shape[i];
	return (n * t->dtype.bits + 7) / 8;
}

static void *memory(uint64_t bytes)
{
	void *p = malloc(bytes + 1);
	if (!p) { fputs("first: no memory\n", stderr); exit(1); }
	return p;
}

static void *place(TesseraContext *cx, DLTensor *t)
{
	TesseraDeviceInfo d;
	tessera_device(cx, &d);
	t->device = d.device;
	if (tessera_device_alloc(cx, bytes_of(t) + 1, &t->data, &error)) fail("memory of the GPU");
	return t->data;
}

/* NAME=2x3:FILE */
static void read_input(TesseraContext *cx, const char *name, DLTensor *t, char **words, int n)
{
	for (int i = 0; i < n; i++) {
		char *s = words[i] + strlen(name);
		if (strncmp(words[i], name, strlen(name)) || *s != '=') continue;
		for (s++, t->ndim = 0; *s && *s != ':' && t->ndim < RANK; s += *s == 'x') t->shape[t->ndim++] = strtoll(s, &s, 10);
		uint64_t bytes = bytes_of(t);
		void *host = memory(bytes);
		FILE *f = *s == ':' ? fopen(s + 1, "rb") : NULL;
		if (!f || fread(host, 1, bytes, f) != bytes || fgetc(f) != EOF) { fprintf(stderr, "first: '%s' has other bytes than its shape, or none\n", words[i]); exit(1); }
		fclose(f);
		if (tessera_copy(cx, place(cx, t), host, bytes, &error)) fail("copy");
		free(host);
		return;
	}
	fprintf(stderr, "first: input '%s' is not given\n", name);
	exit(2);
}

static const TesseraModel *open_model(const char *path)
{
	char symbol[256];
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	snprintf(symbol, sizeof symbol, "%.*s_tessera", (int)strcspn(base, "."), base);
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const TesseraModel *m = lib ? dlsym(lib, symbol) : NULL;
	if (!m) { fprintf(stderr, "first: %s\n", dlerror()); exit(1); }
	return m;
}

int main(int argc, char **argv)
{
	static int64_t shape[MAX][RANK];
	static DLTensor t[MAX];
	const DLTensor *p[MAX];
	TesseraContextOptions o = { .size = sizeof o, .device = TESSERA_DEVICE_CUDA };
	TesseraContext *cx;
	TesseraSession *s;
	TesseraTensorInfo info;
	step("process");
	if (argc < 3) { fputs("usage: first MODEL.so NAME=2x3:FILE ... RESULT\n", stderr); return 2; }
	start_cuda();
	const TesseraModel *m = open_model(argv[1]);
	step("model loaded");
	if (tessera_context_create(m, &o, &cx, &error)) fail("context");
	step("context");
	if (tessera_session_create(m, cx, NULL, &s, &error)) fail("session");
	step("kernels and weights on the GPU");
	int32_t n_in = tessera_graph_inputs(m, 0), n_out = tessera_graph_outputs(m, 0);
	if (n_in + n_out > MAX) { fputs("first: too many tensors\n", stderr); return 1; }
	for (int32_t i = 0; i < n_in + n_out; i++) {
		if (tessera_tensor_info(m, 0, i, &info)) fail("tensor");
		t[i] = (DLTensor){ .dtype = info.dtype, .shape = shape[i] };
		p[i] = &t[i];
		if (i < n_in) read_input(cx, info.name, &t[i], argv + 2, argc - 3);
	}
	step("inputs on the GPU");
	for (int32_t i = 0; i < n_out; i++) {
		if (tessera_output_shape(s, 0, p, n_in, i, shape[n_in + i], &t[n_in + i].ndim, &error)) fail("result");
		place(cx, &t[n_in + i]);
	}
	if (tessera_run(s, 0, p, n_in, p + n_in, n_out, NULL, &error)) fail("run");
	step("started");
	if (tessera_wait(cx, NULL, &error)) fail("wait");
	step("computed");
	uint64_t bytes = bytes_of(&t[n_in]);
	void *host = memory(bytes);
	if (tessera_copy(cx, host, t[n_in].data, bytes, &error)) fail("copy");
	step("answer");
	for (int i = 0; i < n_done; i++) printf("at %llu %s\n", (unsigned long long)done[i].at, done[i].what);
	FILE *f = fopen(argv[argc - 1], "wb");
	if (!f || fwrite(host, 1, bytes, f) != bytes || fclose(f)) { fprintf(stderr, "first: '%s' can't be written\n", argv[argc - 1]); return 1; }
	return 0;
}
