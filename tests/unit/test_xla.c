/* The handler that XLA calls (rtlib/xla.c), with call frames made by hand: what it says of itself, computing on the CPU and on the fake
 * driver's GPUs (tests/fakecuda/), sessions by stream and sizes, frames that are cut off or wrong in every field, and threads. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "rtlib/cuda.h"
#include "rtlib/xla_abi.h"
#include "tests/fakecuda/fakecuda.h"
static const Fake *fake_cuda_p;
#include "tests/fakecuda/model.h"
#include "tests/unit/check.h"

XlaError *ts_xla_call(XlaFrame *f, const TesseraModel *m);

/* ---- the driver is found here ---- */

static void *fake_library;
void *dlopen(const char *path, int flags)
{
	void *(*real)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
	return path && !strcmp(path, "libcuda.so.1") && fake_library ? fake_library : real(path, flags);
}

static bool load_fake(const char *self)
{
	char path[4096];
	const char *slash = strrchr(self, '/');
	snprintf(path, sizeof path, "%.*s/../fakecuda/libcuda.so.1", slash ? (int)(slash - self) : 1, slash ? self : ".");
	fake_library = dlopen(path, RTLD_NOW);
	fake_cuda_p = fake_library ? dlsym(fake_library, "fake_cuda") : NULL;
	check("fake-driver", fake_cuda_p, "%s", dlerror());
	return fake_cuda_p;
}

/* ---- XLA, as far as the handler asks it ---- */

struct XlaError { int32_t code; char message[256]; };
struct XlaContext { void *stream; int32_t ordinal; bool no_ordinal; };
static _Atomic int errors_alive;

static XlaError *make_error(XlaErrorCreate *c)
{
	XlaError *e = malloc(sizeof *e);
	errors_alive++;
	e->code = c->code;
	snprintf(e->message, sizeof e->message, "%s", c->size == XLA_SIZE(XlaErrorCreate, code) ? c->message : "an error of another size");
	return e;
}
static void drop_error(XlaErrorDestroy *d)
{
	errors_alive--;
	free(d->error);
}
static XlaError *get_stream(XlaStreamGet *g)
{
	g->stream = g->context->stream;
	return g->stream ? NULL : make_error(&(XlaErrorCreate){ XLA_SIZE(XlaErrorCreate, code), NULL, "there are no streams here", XLA_UNIMPLEMENTED });
}
static XlaError *get_ordinal(XlaOrdinalGet *g)
{
	g->ordinal = g->context->ordinal;
	return g->context->no_ordinal ? make_error(&(XlaErrorCreate){ XLA_SIZE(XlaErrorCreate, code), NULL, "no", XLA_INTERNAL }) : NULL;
}
static const XlaApi api = { .size = sizeof api, .error_create = make_error, .error_destroy = drop_error, .stream_get = get_stream, .ordinal_get = get_ordinal };

/* ---- a call: graph `one`, y = x + 1 ---- */

static TestModel model;
static const TesseraModel *const m = &model.m;

typedef struct {
	XlaContext where;
	int64_t shape[2], other[2];
	XlaBuffer x, y;
	int32_t kinds[2];
	void *in[1], *out[1];
	int64_t graph;
	XlaScalar scalar;
	XlaText name;
	int32_t attribute_kind[1];
	XlaText *names[1];
	void *attributes[1];
	XlaFrame f;
} Call;

static void set_call(Call *c, float *x, float *y, int64_t b, int64_t n)
{
	memset(c, 0, sizeof *c);
	c->shape[0] = c->other[0] = b;
	c->shape[1] = c->other[1] = n;
	c->x = (XlaBuffer){ sizeof c->x, NULL, XLA_F32, x, 2, c->shape };
	c->y = (XlaBuffer){ sizeof c->y, NULL, XLA_F32, y, 2, c->other };
	c->kinds[0] = c->kinds[1] = XLA_BUFFER;
	c->in[0] = &c->x;
	c->out[0] = &c->y;
	c->graph = ONE;
	c->scalar = (XlaScalar){ XLA_S64, &c->graph };
	c->name = (XlaText){ "graph", 5 };
	c->attribute_kind[0] = XLA_ATTRIBUTE_SCALAR;
	c->names[0] = &c->name;
	c->attributes[0] = &c->scalar;
	c->f = (XlaFrame){ .size = XLA_SIZE(XlaFrame, attributes), .api = &api, .context = &c->where, .stage = XLA_STAGE_EXECUTE };
	c->f.args = (XlaList){ sizeof c->f.args, NULL, 1, c->kinds, c->in };
	c->f.rets = (XlaList){ sizeof c->f.rets, NULL, 1, c->kinds, c->out };
	c->f.attributes = (XlaAttributes){ sizeof c->f.attributes, NULL, 1, c->attribute_kind, c->names, c->attributes };
}

static int32_t run(Call *c, char message[256])
{
	XlaError *e = ts_xla_call(&c->f, m);
	int32_t code = e ? e->code : 0;
	snprintf(message, 256, "%s", e ? e->message : "");
	if (e)
		drop_error(&(XlaErrorDestroy){ sizeof(XlaErrorDestroy), NULL, e });
	return code;
}

static void k_one_cpu(void *const *ptr, const int64_t *num, int64_t begin, int64_t end, void *scratch)
{
	(void)scratch;
	for (int64_t i = begin * num[1]; i < end * num[1]; i++)
		((float *)ptr[1])[i] = ((const float *)ptr[0])[i] + 1;
}

static bool right(const float *x, const float *y, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		if (y[i] != x[i] + 1)
			return false;
	return true;
}

static float x[4096], y[4097]; /* y: and one that stays as it is */

/* ---- contexts of the caller's ---- */

static int asked[FAKE_DEVICES + 1];
static TesseraContext *source(void *user, DLDevice d, TesseraError *e)
{
	TesseraContextOptions o = { .threads = 2, .device = (int32_t)d.device_type, .device_id = d.device_id };
	TesseraContext *cx = NULL;
	if (d.device_id < FAKE_DEVICES)
		((int *)user)[d.device_type == kDLCPU ? FAKE_DEVICES : d.device_id]++;
	tessera_context_create(m, &o, &cx, e);
	return cx;
}

/* ---- tests ---- */

static void metadata(void)
{
	XlaMetadata said = { .size = sizeof said, .version = { .major = -1, .minor = -1 }, .traits = 99, .state_type = 99 };
	XlaMetadataExtension ask = { { sizeof ask.base, XLA_EXTENSION_METADATA, NULL }, &said };
	XlaExtension other = { sizeof other, 77, &ask.base };
	XlaFrame f = { .size = sizeof f, .extensions = &ask.base };
	bool quiet = !ts_xla_call(&f, m);
	check("metadata", quiet && said.version.major == 0 && said.version.minor == 3 && !said.traits && !said.state_type, "%d.%d %u", said.version.major, said.version.minor, said.traits);
	said = (XlaMetadata){ .size = XLA_SIZE(XlaMetadata, traits), .state_type = 99 };
	f.extensions = &other;
	check("metadata-of-an-older-XLA-behind-another-extension", !ts_xla_call(&f, m) && said.version.minor == 3 && said.state_type == 99, "%d", said.version.minor);
	said = (XlaMetadata){ .size = 8, .traits = 99 };
	check("metadata-without-room", !ts_xla_call(&f, m) && said.traits == 99, "%u", said.traits);
	ask.metadata = NULL;
	check("metadata-nowhere", !ts_xla_call(&f, m), "an error");
}

static void nobody_to_tell(void)
{
	Call c;
	set_call(&c, x, y, 1, 8);
	y[0] = 99;
	c.f.size = 0;
	check("no-frame", !ts_xla_call(NULL, m) && !ts_xla_call(&c.f, m) && y[0] == 99, "an error");
	set_call(&c, x, y, 1, 8);
	c.f.api = NULL;
	check("no-api", !ts_xla_call(&c.f, m) && y[0] == 99, "an error");
	XlaApi mute = api;
	mute.error_create = NULL;
	set_call(&c, x, y, 1, 8);
	c.f.api = &mute;
	c.x.dtype = XLA_F64;
	check("no-way-to-make-errors", !ts_xla_call(&c.f, m) && y[0] == 99, "an error");
	mute.size = XLA_SIZE(XlaApi, internal);
	check("no-functions", !ts_xla_call(&c.f, m) && y[0] == 99, "an error");
}

static void on_the_cpu(void)
{
	static const int64_t sizes[][2] = { { 3, 8 }, { 5, 16 }, { 3, 8 }, { 1, 24 }, { 7, 32 }, { 2, 40 }, { 4, 48 }, { 3, 8 }, { 64, 64 }, { 0, 8 } };
	char why[256];
	Call c;
	for (int i = 0; i < 4096; i++)
		x[i] = (float)(i % 97) - 40;
	for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
		char name[64];
		int64_t n = sizes[k][0] * sizes[k][1];
		memset(y, 0, sizeof y);
		set_call(&c, x, y, sizes[k][0], sizes[k][1]);
		int32_t code = run(&c, why);
		snprintf(name, sizeof name, "cpu-%d-by-%d-%d", (int)sizes[k][0], (int)sizes[k][1], (int)k);
		check(name, !code && right(x, y, n) && y[n] == 0, "%d %s", code, why);
	}
	set_call(&c, x, x, 2, 8);
	float first = x[0];
	check("cpu-over-its-argument", !run(&c, why) && x[0] == first + 1 && x[15] == (float)(15 % 97) - 40 + 1, "%s", why);
	for (int stage = 0; stage < 3; stage++) {
		set_call(&c, x, y, 1, 8);
		c.f.stage = stage;
		y[0] = 99;
		check(stage == 0 ? "instantiate-does-nothing" : stage == 1 ? "prepare-does-nothing" : "initialize-does-nothing", !run(&c, why) && y[0] == 99, "%s", why);
	}
	set_call(&c, x, y, 1, 8);
	c.scalar.dtype = XLA_S32;
	y[0] = 99;
	check("attribute-of-32-bits", !run(&c, why) && y[0] == x[0] + 1, "%s", why);
	check("one-context", asked[FAKE_DEVICES] == 1, "%d", asked[FAKE_DEVICES]);
}

static void refuses(const char *name, Call *c, int32_t code, const char *text)
{
	char why[256];
	y[0] = 99;
	int32_t have = run(c, why);
	check(name, have == code && strstr(why, text) && y[0] == 99, "%d '%s', wanted %d '%s'", have, why, code, text);
}

static void cut_off(void)
{
	Call c;
	set_call(&c, x, y, 1, 8);
	c.f.size = XLA_SIZE(XlaFrame, rets);
	refuses("frame-cut-off", &c, XLA_INTERNAL, "XLA's call has 120 bytes, wanted 168");
	set_call(&c, x, y, 1, 8);
	c.f.args.size = 24;
	refuses("arguments-cut-off", &c, XLA_INTERNAL, "list of arguments can't be read");
	set_call(&c, x, y, 1, 8);
	c.f.rets.at = NULL;
	refuses("results-nowhere", &c, XLA_INTERNAL, "list of results can't be read");
	set_call(&c, x, y, 1, 8);
	c.f.args.n = -1;
	refuses("negative-count", &c, XLA_INTERNAL, "list of arguments can't be read");
	set_call(&c, x, y, 1, 8);
	c.x.size = XLA_SIZE(XlaBuffer, data);
	refuses("buffer-cut-off", &c, XLA_INVALID_ARGUMENT, "argument 0 is no buffer");
	set_call(&c, x, y, 1, 8);
	c.out[0] = NULL;
	refuses("buffer-null", &c, XLA_INVALID_ARGUMENT, "result 0 is no buffer");
	set_call(&c, x, y, 1, 8);
	c.kinds[0] = 7;
	refuses("no-buffer", &c, XLA_INVALID_ARGUMENT, "argument 0 is no buffer");
}

static void wrong_tensors(void)
{
	Call c;
	set_call(&c, x, y, 1, 8);
	c.x.dtype = XLA_F64;
	refuses("type", &c, XLA_INVALID_ARGUMENT, "input 'x': type is f64, wanted f32");
	set_call(&c, x, y, 1, 8);
	c.y.dtype = XLA_BF16;
	refuses("type-of-result", &c, XLA_INVALID_ARGUMENT, "output 'y': type is bf16, wanted f32");
	for (int t = -1; t < 40; t++) {
		char name[32], why[256];
		set_call(&c, x, y, 1, 8);
		c.x.dtype = t;
		snprintf(name, sizeof name, "type-%d", t);
		check(name, (t == XLA_F32) == !run(&c, why) && (t == XLA_F32 || strstr(why, "type")), "%s", why);
	}
	set_call(&c, x, y, 1, 8);
	c.x.rank = 1;
	refuses("rank", &c, XLA_INVALID_ARGUMENT, "input 'x': rank is 1, wanted 2");
	c.x.rank = -1;
	refuses("negative-rank", &c, XLA_INVALID_ARGUMENT, "argument 0: rank is -1");
	c.x.rank = (int64_t)1 << 40;
	refuses("huge-rank", &c, XLA_INVALID_ARGUMENT, "argument 0: rank is 1099511627776, wanted 0 to 16");
	set_call(&c, x, y, 1, 8);
	c.x.dims = NULL;
	refuses("sizes-nowhere", &c, XLA_INVALID_ARGUMENT, "argument 0: rank is 2");
	set_call(&c, NULL, y, 1, 8);
	refuses("data-nowhere", &c, XLA_INVALID_ARGUMENT, "input 'x'");
	set_call(&c, x, y, 1, 8);
	c.other[1] = 16;
	refuses("sizes-disagree", &c, XLA_INVALID_ARGUMENT, "output 'y': axis 1 is 16, wanted 8, which is dim N");
	set_call(&c, x, y, 1, 12);
	refuses("no-multiple", &c, XLA_OUT_OF_RANGE, "dim N is 12, wanted a multiple of 8");
	set_call(&c, x, y, -1, 8);
	refuses("negative-size", &c, XLA_INVALID_ARGUMENT, "axis 0 has size -1");
	set_call(&c, x, y, 1, 8);
	c.f.args.n = 0;
	refuses("too-few", &c, XLA_INVALID_ARGUMENT, "graph 'one' takes 1 arguments and gives 1 results, found 0 and 1");
	set_call(&c, x, y, 1, 8);
	c.graph = 3;
	refuses("no-such-graph", &c, XLA_INVALID_ARGUMENT, "model 'toy' has 3");
	c.graph = (int64_t)1 << 40;
	refuses("graph-beyond", &c, XLA_INVALID_ARGUMENT, "attribute 'graph' is -1");
	c.graph = ONE;
	c.scalar.dtype = XLA_F32;
	refuses("graph-of-another-type", &c, XLA_INVALID_ARGUMENT, "attribute 'graph' is -1");
	c.scalar = (XlaScalar){ XLA_S64, NULL };
	refuses("graph-nowhere", &c, XLA_INVALID_ARGUMENT, "attribute 'graph' is -1");
	c.f.attributes.at = NULL;
	refuses("attributes-nowhere", &c, XLA_INVALID_ARGUMENT, "attribute 'graph' is -1");
}

static void on_gpus(void)
{
	TesseraContextOptions o = { .threads = 1, .device = TESSERA_DEVICE_CUDA, .device_id = 2 };
	TesseraContext *cx = NULL;
	TesseraError e = { 0 };
	TesseraDeviceInfo info = { 0 };
	void *gx = NULL, *gy = NULL;
	char why[256] = "";
	Call c;
	if (!tessera_context_create(m, &o, &cx, &e) && !tessera_device_alloc(cx, sizeof x, &gx, &e) && !tessera_device_alloc(cx, sizeof x, &gy, &e))
		tessera_device(cx, &info);
	check("gpu-opens", info.native, "%s", e.message);
	void *streams[2] = { fake_cuda_p->new_stream(info.native), fake_cuda_p->new_stream(info.native) };
	memcpy(gx, x, sizeof x);
	for (int i = 0; i < 12; i++) {
		char name[32];
		set_call(&c, gx, gy, 4, i % 3 ? 16 : 32);
		c.where = (XlaContext){ streams[i % 2], 2, false };
		uint64_t before = fake_cuda_p->launches();
		int32_t code = run(&c, why);
		bool there = fake_cuda_p->launches() == before + 1 && fake_cuda_p->launch(before).stream == streams[i % 2];
		snprintf(name, sizeof name, "gpu-call-%d", i);
		check(name, !code && there && right(gx, gy, 64), "%d %s", code, why);
	}
	check("gpu-one-context", asked[2] == 1 && asked[FAKE_DEVICES] == 1, "%d %d", asked[2], asked[FAKE_DEVICES]);
	c.where.ordinal = 77;
	check("gpu-that-is-not-there", run(&c, why) == XLA_UNIMPLEMENTED && strstr(why, "cuda:77"), "%s", why);
	c.where.ordinal = 0;
	check("gpu-too-old", run(&c, why) == XLA_UNIMPLEMENTED && strstr(why, "none that runs on cuda:0"), "%s", why);
	c.where = (XlaContext){ streams[0], 2, true };
	check("gpu-without-number", run(&c, why) == XLA_INVALID_ARGUMENT && strstr(why, "which GPU"), "%s", why);
	c.where.no_ordinal = false;
	c.x.data = x;
	check("gpu-memory-of-the-host", run(&c, why) == XLA_INVALID_ARGUMENT && strstr(why, "input 'x'"), "%s", why);
	XlaApi old = api;
	old.size = XLA_SIZE(XlaApi, stream_get);
	c.f.api = &old;
	check("gpu-with-an-old-XLA", run(&c, why) == XLA_INTERNAL && strstr(why, "on which GPU"), "%s", why);
	TesseraModel no_gpu = *m;
	no_gpu.device_ops = NULL;
	no_gpu.n_device_plans = 0;
	set_call(&c, gx, gy, 4, 16);
	c.where = (XlaContext){ streams[0], 1, false };
	XlaError *error = ts_xla_call(&c.f, &no_gpu); /* of a GPU whose sessions are nobody's yet: a pool belongs to one artifact */
	check("no-code-for-gpus", error && strstr(error->message, "no code for GPUs"), "%s", error ? error->message : "no error");
	if (error)
		drop_error(&(XlaErrorDestroy){ sizeof(XlaErrorDestroy), NULL, error });
	check("gpu-behaves", !fake_cuda_p->misuse(), "%s", fake_cuda_p->misuse());
}

/* graph `chain`, whose first kernel writes the workspace: where that lies tells the session */
static void *workspace_of(Call *c, float *gx, float *gy, int64_t n, void *stream, const char *name)
{
	char why[256];
	set_call(c, gx, gy, 4, n);
	c->graph = CHAIN;
	c->where = (XlaContext){ stream, 2, false };
	uint64_t first = fake_cuda_p->launches();
	int32_t code = run(c, why);
	bool ok = !code && fake_cuda_p->launches() == first + 5;
	for (int64_t i = 0; i < 4 * n && ok; i++)
		ok = gy[i] == expected(gx[i], i % n);
	if (!ok)
		check(name, false, "%d %s", code, why);
	return ok ? fake_cuda_p->launch(first).ptr[1] : NULL;
}

static void sessions(void)
{
	TesseraContextOptions o = { .threads = 1, .device = TESSERA_DEVICE_CUDA, .device_id = 2 };
	static const int64_t sizes[] = { 16, 24, 32, 40 };
	TesseraContext *cx = NULL;
	TesseraError e = { 0 };
	TesseraDeviceInfo info = { 0 };
	void *gx = NULL, *gy = NULL, *at[2][4];
	bool same = true, apart = true;
	Call c;
	if (!tessera_context_create(m, &o, &cx, &e) && !tessera_device_alloc(cx, sizeof x, &gx, &e) && !tessera_device_alloc(cx, sizeof x, &gy, &e))
		tessera_device(cx, &info);
	void *streams[2] = { fake_cuda_p->new_stream(info.native), fake_cuda_p->new_stream(info.native) };
	memcpy(gx, x, sizeof x);
	for (int round = 0; round < 3; round++)
		for (int s = 0; s < 2; s++)
			for (int k = 0; k < 4; k++) {
				void *have = workspace_of(&c, gx, gy, sizes[k], streams[s], "sessions-compute");
				same &= !round || have == at[s][k];
				at[s][k] = have;
			}
	for (int i = 0; i < 8; i++)
		for (int k = 0; k < i; k++)
			apart &= at[i / 4][i % 4] != at[k / 4][k % 4];
	check("sessions-belong-to-streams-and-sizes", apart, "two share a workspace");
	check("sessions-come-back", same, "another workspace for the same sizes on the same stream");
	uint64_t before = fake_cuda_p->count("cuMemAlloc");
	void *fifth = workspace_of(&c, gx, gy, 48, streams[0], "sessions-compute"), *again = workspace_of(&c, gx, gy, 48, streams[0], "sessions-compute");
	check("the-fifth-size-takes-over", fifth == again && workspace_of(&c, gx, gy, 40, streams[0], "sessions-compute") == at[0][3], "it took the last one over");
	check("the-fifth-size-makes-no-session", fake_cuda_p->count("cuMemAlloc") <= before + 1, "%llu more", (unsigned long long)(fake_cuda_p->count("cuMemAlloc") - before));
	check("sessions-behave", !fake_cuda_p->misuse(), "%s", fake_cuda_p->misuse());
}

enum { THREADS = 16, ROUNDS = 400 };
static void *work(void *arg)
{
	int64_t me = (int64_t)(intptr_t)arg, n = 8 * (1 + me % 6);
	float a[8 * 48], b[8 * 48];
	char why[256];
	intptr_t wrong = 0;
	Call c;
	for (int r = 0; r < ROUNDS; r++) {
		for (int i = 0; i < 8 * 48; i++)
			a[i] = (float)(me * 1000 + i + r), b[i] = 0;
		set_call(&c, a, b, 8, n);
		wrong += run(&c, why) || !right(a, b, 8 * n);
	}
	return (void *)wrong;
}

static void threads(void)
{
	pthread_t all[THREADS];
	intptr_t wrong = 0;
	for (intptr_t i = 0; i < THREADS; i++)
		pthread_create(&all[i], NULL, work, (void *)i);
	for (int i = 0; i < THREADS; i++) {
		void *r;
		pthread_join(all[i], &r);
		wrong += (intptr_t)r;
	}
	check("threads", !wrong, "%d of %d calls are wrong", (int)wrong, THREADS * ROUNDS);
}

int main(int argc, char **argv)
{
	static TsKernelFn kernels[4 * TS_CLONES];
	TesseraError e;
	(void)argc;
	setvbuf(stdout, NULL, _IOLBF, 0);
	TsCtx *cx = ts_ctx_new();
	if (!load_fake(argv[0]))
		return 1;
	make_model(cx, &model, NULL, NULL);
	for (int i = 0; i < TS_CLONES; i++)
		kernels[2 * TS_CLONES + i] = k_one_cpu;
	model.m.kernels = kernels;
	fake_cuda_p->reset();
	fake_cuda_p->device(0, 75, 4, 65536);
	fake_cuda_p->device(1, 90, 6, 232448);
	fake_cuda_p->device(2, 86, 8, 101376);
	test_kernels();
	check("contexts-of-the-caller", !tessera_xla_contexts(m, source, asked, &e), "%s", e.message);
	metadata();
	nobody_to_tell();
	on_the_cpu();
	cut_off();
	wrong_tensors();
	on_gpus();
	sessions();
	threads();
	check("errors-are-destroyed", !errors_alive, "%d left", errors_alive);
	ts_ctx_free(cx);
	return check_failed;
}
