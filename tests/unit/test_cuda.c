/* The runtime's CUDA half on a fake driver (tests/fakecuda/): which device and plan are taken, weights unpacked and uploaded once, graphs,
 * patches and maps for new pointers, capture, copies of strided arguments, bad arguments by name, every driver call failing once, a
 * device that is lost, and 64 threads on 16 streams. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "rtlib/cuda.h"
#include "rtlib/sha256.h"
#include "tests/fakecuda/fakecuda.h"
static const Fake *fake_cuda_p;
#include "tests/fakecuda/model.h"
#include "tests/unit/check.h"

/* ---- the driver is found here ---- */

static void *fake_library;
static bool no_driver;
void *dlopen(const char *path, int flags)
{
	void *(*real)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
	if (path && !strcmp(path, "libcuda.so.1") && (no_driver || fake_library))
		return no_driver ? NULL : fake_library;
	return real(path, flags);
}

static bool load_fake(const char *self)
{
	char path[4096];
	const char *slash = strrchr(self, '/');
	snprintf(path, sizeof path, "%.*s/../fakecuda/libcuda.so.1", slash ? (int)(slash - self) : 1, slash ? self : ".");
	fake_library = dlopen(path, RTLD_NOW);
	fake_cuda_p = fake_library ? dlsym(fake_library, "fake_cuda") : NULL;
	if (!fake_cuda_p)
		printf("FAIL fake-driver: %s\n", dlerror());
	return fake_cuda_p;
}

/* ---- what tests need ---- */

static TestModel model;
static const TesseraModel *const m = &model.m;
static const DLDataType f32 = { kDLFloat, 32, 1 }, i32 = { kDLInt, 32, 1 };

/* GPU 0 is too old for the model, 1 has Hopper code, 2 runs sm_80's, 3 is newer than all */
static void fresh(void)
{
	fake_cuda_p->reset();
	fake_cuda_p->device(0, 75, 4, 65536);
	fake_cuda_p->device(1, 90, 6, 232448);
	fake_cuda_p->device(2, 86, 8, 101376);
	fake_cuda_p->device(3, 120, 10, 101376);
	test_kernels();
	wrong_weight = NULL;
}

/* nothing is left on any device, nothing was done that a driver forbids */
static void clean(const char *name)
{
	const char *bad = fake_cuda_p->misuse() ? fake_cuda_p->misuse() : wrong_weight;
	check(name, !bad && !fake_cuda_p->live() && !fake_cuda_p->get_current(), "%s, %lld left", bad ? bad : "no misuse", (long long)fake_cuda_p->live());
}

typedef struct { TesseraContext *cx; TesseraSession *s; TesseraError e; int32_t rc; TesseraDeviceInfo info; } Use;

static void close_use(Use *u)
{
	tessera_session_destroy(u->s);
	tessera_context_destroy(u->cx);
	u->s = NULL;
	u->cx = NULL;
}

static Use open_use(int32_t device, int32_t id, const TesseraSessionOptions *so)
{
	Use u = { 0 };
	TesseraContextOptions o = { .size = sizeof o, .threads = 2, .device = device, .device_id = id };
	u.rc = tessera_context_create(m, &o, &u.cx, &u.e);
	if (!u.rc) {
		tessera_device(u.cx, &u.info);
		u.rc = tessera_session_create(m, u.cx, so, &u.s, &u.e);
	}
	return u;
}

static DLTensor on_gpu(void *data, DLDataType t, int32_t rank, int64_t *shape, int32_t id)
{
	DLTensor r = tessera_tensor(data, t, rank, shape);
	r.device = (DLDevice){ kDLCUDA, id };
	return r;
}

static float *memory(Use *u, int64_t floats)
{
	void *p = NULL;
	if (tessera_device_alloc(u->cx, (uint64_t)floats * 4, &p, &u->e))
		printf("FAIL memory: %s\n", u->e.message);
	return p;
}
static void give(Use *u, float *p) { tessera_device_release(u->cx, p, 1, &u->e); }

static void numbers(float *p, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		p[i] = (float)((i * 13) % 251) - 100;
}

static int32_t run(Use *u, int32_t graph, const DLTensor *x, const DLTensor *y, void *stream)
{
	return u->rc = tessera_run(u->s, graph, &x, 1, &y, 1, stream, &u->e);
}

static int32_t run_plain(Use *u, int32_t graph, float *x, float *y, int64_t b, int64_t n, void *stream)
{
	int64_t shape[2] = { b, n };
	DLTensor in = on_gpu(x, f32, 2, shape, u->info.device.device_id), out = on_gpu(y, f32, 2, shape, u->info.device.device_id);
	return run(u, graph, &in, &out, stream);
}

static bool right(const float *x, const float *y, int64_t b, int64_t n)
{
	for (int64_t i = 0; i < b * n; i++)
		if (y[i] != expected(x[i], i % n))
			return false;
	return true;
}

static TesseraStats stats_of(Use *u)
{
	TesseraStats st;
	tessera_stats(u->s, &st);
	return st;
}

static char explained[4096];
static void add_line(void *user, const char *text)
{
	(void)user;
	strncat(explained, text, sizeof explained - strlen(explained) - 2);
	strcat(explained, "\n");
}

/* ---- which device ---- */

static void devices(void)
{
	static const struct { const char *name; int32_t device, id, want, plan_sm, jit; } cases[] = {
		{ "auto-takes-the-first-that-fits", TESSERA_DEVICE_AUTO, 0, 1, 90, 0 },
		{ "exact-architecture", TESSERA_DEVICE_CUDA, 1, 1, 90, 0 },
		{ "earlier-of-the-same-major", TESSERA_DEVICE_CUDA, 2, 2, 80, 0 },
		{ "newer-by-ptx", TESSERA_DEVICE_CUDA, 3, 3, 80, 1 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		fresh();
		Use u = open_use(cases[i].device, cases[i].id, NULL);
		TesseraStats st = { 0 };
		float *x = u.rc ? NULL : memory(&u, 64), *y = u.rc ? NULL : memory(&u, 64);
		if (!u.rc) {
			numbers(x, 64);
			run_plain(&u, CHAIN, x, y, 4, 16, NULL);
			st = stats_of(&u);
		}
		check(cases[i].name, !u.rc && right(x, y, 4, 16) && u.info.device.device_type == kDLCUDA && u.info.device.device_id == cases[i].want &&
		      st.plan_sm == cases[i].plan_sm && (int32_t)st.jit == cases[i].jit && st.modules == 1 && st.upload_bytes == DEVICE_BYTES,
		      "%s; device %d, plan %d, jit %u", u.e.message, u.info.device.device_id, st.plan_sm, st.jit);
		explained[0] = 0;
		if (!u.rc) {
			tessera_explain(u.s, add_line, NULL, &u.e);
			give(&u, x);
			give(&u, y);
		}
		check("explain-names-it", strstr(explained, "Fake GPU") && strstr(explained, "load: variant small, kernel k_copy, 4 cells, 4 CTAs of 256 threads, 65536 bytes shared, a tensor map") &&
		      !strstr(explained, "compiled from PTX") == !cases[i].jit, "%s", explained);
		close_use(&u);
		clean("leaves-nothing");
	}
}

static void refused_cubin(void)
{
	fresh();
	fake_cuda_p->refuse_cubins(true);
	Use u = open_use(TESSERA_DEVICE_CUDA, 2, NULL);
	check("refused-cubin-gives-way-to-ptx", !u.rc && stats_of(&u).jit == 1, "%s", u.e.message);
	close_use(&u);
	put_ptx(model.code + 64, ".version broken");
	u = open_use(TESSERA_DEVICE_CUDA, 2, NULL);
	check("broken-ptx-is-named", u.rc == TESSERA_UNSUPPORTED && strstr(u.e.message, "module 'g0'") && strstr(u.e.message, "CUDA_ERROR_INVALID_PTX: ptxas application") && !strstr(u.e.message, "more"),
	      "%d %s", u.rc, u.e.message);
	close_use(&u);
	put_ptx(model.code + 64, ".version 7.0 .target sm_80");
	model.code[65] = 200;
	u = open_use(TESSERA_DEVICE_CUDA, 2, NULL);
	check("damaged-ptx-is-named", u.rc == TESSERA_VERSION && strstr(u.e.message, "module 'g0' is damaged"), "%d %s", u.rc, u.e.message);
	close_use(&u);
	put_ptx(model.code + 64, ".version 7.0 .target sm_80");
	clean("refused-leaves-nothing");
}

/* What the driver refuses gives way to the next plan that fits, and that to the CPU, where the choice is the runtime's. Hopper's own code has
 * its PTX too, in this model alone. */
static void refused_plan(void)
{
	static const char refusal[] = "the driver (CUDA 12.2) refused code of ptxas 13.0 for sm_90a (CUDA_ERROR_NO_BINARY_FOR_GPU)";
	char want[160];
	fresh();
	fake_cuda_p->version(12020);
	fake_cuda_p->refuse_cubins(true);
	put_ptx(model.code + 192, ".version future");
	for (int any = 0; any < 2; any++) {
		Use u = open_use(any ? TESSERA_DEVICE_AUTO : TESSERA_DEVICE_CUDA, !any, NULL);
		float *x = u.rc ? NULL : memory(&u, 64), *y = u.rc ? NULL : memory(&u, 64);
		snprintf(want, sizeof want, "%s; it compiled sm_80's PTX", refusal);
		if (!u.rc) {
			numbers(x, 64);
			run_plain(&u, CHAIN, x, y, 4, 16, NULL);
		}
		check("refused-plan-gives-way-to-the-next", !u.rc && right(x, y, 4, 16) && u.info.device.device_id == 1 && stats_of(&u).plan_sm == 80 && stats_of(&u).jit == 1 && !strcmp(u.info.note, want), "%d %s %s", u.rc, u.e.message, u.info.note);
		if (!u.rc)
			give(&u, x), give(&u, y);
		close_use(&u);
		clean("refused-plan-leaves-nothing");
	}
	Use u = open_use(TESSERA_DEVICE_CUDA, 3, NULL);
	check("ptx-alone-is-noted", !u.rc && !strcmp(u.info.note, "there is no machine code for sm_120, the driver compiled sm_80's PTX"), "%s", u.info.note);
	close_use(&u);
	put_ptx(model.code + 64, ".version future");
	u = open_use(TESSERA_DEVICE_CUDA, 1, NULL);
	check("all-refused-names-both-versions", u.rc == TESSERA_UNSUPPORTED && !u.cx && strstr(u.e.message, "module 'g0' for cuda:1: CUDA_ERROR_UNSUPPORTED_PTX_VERSION; ") && strstr(u.e.message, refusal), "%d %s", u.rc, u.e.message);
	close_use(&u);
	u = open_use(TESSERA_DEVICE_AUTO, 0, NULL);
	check("all-refused-is-the-cpu", !u.rc && u.info.device.device_type == kDLCPU && !strcmp(u.info.note, refusal), "%d %s", u.rc, u.info.note);
	close_use(&u);
	fake_cuda_p->device(0, 90, 6, 232448);
	u = open_use(TESSERA_DEVICE_AUTO, 0, NULL);
	check("and-its-note-says-why", !u.rc && u.info.device.device_type == kDLCPU && !strcmp(u.info.note, refusal), "%d %s", u.rc, u.info.note);
	close_use(&u);
	fake_cuda_p->refuse_cubins(false);
	u = open_use(TESSERA_DEVICE_AUTO, 0, NULL);
	check("no-note-for-the-best", !u.rc && u.info.device.device_type == kDLCUDA && !u.info.note[0], "%d %s", u.rc, u.info.note);
	close_use(&u);
	put_ptx(model.code + 64, ".version 7.0 .target sm_80");
	put_ptx(model.code + 192, ".version 8.0 .target sm_90a");
	clean("all-refused-leaves-nothing");
}

static void no_device(void)
{
	static const struct { const char *name; int32_t version, id; bool library; const char *text; } cases[] = {
		{ "no-driver", 13000, 1, false, "there is no NVIDIA driver" },
		{ "old-driver", 11080, 1, true, "too old: it is one for CUDA 11.8, wanted 12.0" },
		{ "no-such-gpu", 13000, 9, true, "no GPU cuda:9, the NVIDIA driver shows 4" },
		{ "no-code", 13000, 0, true, "holds code for sm_80, sm_90a, and none that runs on cuda:0 (Fake GPU 0, sm_75)" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		fresh();
		fake_cuda_p->version(cases[i].version);
		no_driver = !cases[i].library;
		Use u = open_use(TESSERA_DEVICE_CUDA, cases[i].id, NULL);
		check(cases[i].name, u.rc == TESSERA_UNSUPPORTED && !u.cx && strstr(u.e.message, cases[i].text), "%d %s", u.rc, u.e.message);
		clean("no-device-leaves-nothing");
		fake_cuda_p->reset();
		fake_cuda_p->version(cases[i].version);
		fake_cuda_p->device(0, 75, 4, 65536);
		u = open_use(TESSERA_DEVICE_AUTO, 0, NULL);
		check("auto-is-the-cpu-then", !u.rc && u.info.device.device_type == kDLCPU && u.info.note[0], "%d %s", u.rc, u.e.message);
		close_use(&u);
		no_driver = false;
	}
	fresh();
	Use u = open_use(TESSERA_DEVICE_CPU, 0, NULL);
	check("cpu-asks-no-driver", !u.rc && !fake_cuda_p->calls() && !u.info.note[0] && u.info.device.device_type == kDLCPU, "%s", u.e.message);
	close_use(&u);
	TestModel plain = model;
	plain.m.device_ops = NULL;
	plain.m.n_device_plans = 0;
	TesseraContextOptions o = { .device = TESSERA_DEVICE_CUDA, .device_id = 1, .threads = 1 };
	TesseraSession *s;
	u.rc = tessera_context_create(&plain.m, &o, &u.cx, &u.e);
	check("no-code-for-gpus-at-all", u.rc == TESSERA_UNSUPPORTED && strstr(u.e.message, "holds no code for GPUs"), "%s", u.e.message);
	u = open_use(TESSERA_DEVICE_CUDA, 1, NULL);
	u.rc = tessera_session_create(&plain.m, u.cx, NULL, &s, &u.e);
	check("cpu-model-on-a-gpu-context", u.rc == TESSERA_UNSUPPORTED && !s && strstr(u.e.message, "holds no code for GPUs, and the context is on cuda:1"), "%s", u.e.message);
	close_use(&u);
	TestModel hopper = { .m = model.m };
	hopper.m.device_plans = &model.plans[1];
	hopper.m.n_device_plans = 1;
	o.device_id = 3;
	u.rc = tessera_context_create(&hopper.m, &o, &u.cx, &u.e);
	check("code-for-one-architecture-and-a-newer-gpu", u.rc == TESSERA_UNSUPPORTED && strstr(u.e.message, "(Fake GPU 3, sm_120); with --arch sm_80,... it also holds code for newer GPUs"), "%d %s", u.rc, u.e.message);
	o.device_id = 2;
	u.rc = tessera_context_create(&hopper.m, &o, &u.cx, &u.e);
	check("code-for-one-architecture-and-an-older-gpu", u.rc == TESSERA_UNSUPPORTED && strstr(u.e.message, "sm_86)") && !strstr(u.e.message, "newer"), "%d %s", u.rc, u.e.message);
	o.device_id = 1;
	o.device = 7;
	check("wrong-device-option", tessera_context_create(m, &o, &u.cx, &u.e) == TESSERA_INVALID, "%s", u.e.message);
	o.device = TESSERA_DEVICE_AUTO;
	check("id-without-device", tessera_context_create(m, &o, &u.cx, &u.e) == TESSERA_INVALID, "%s", u.e.message);
}

static void contexts(void)
{
	fresh();
	void *own = fake_cuda_p->new_context(1), *other = fake_cuda_p->new_context(2);
	fake_cuda_p->set_current(own);
	Use u = open_use(TESSERA_DEVICE_CUDA, 1, NULL);
	check("takes-the-current-context", !u.rc && u.info.native == own && fake_cuda_p->get_current() == own, "%s", u.e.message);
	float *x = memory(&u, 64), *y = memory(&u, 64);
	numbers(x, 64);
	run_plain(&u, CHAIN, x, y, 4, 16, NULL);
	check("runs-in-it", !u.rc && right(x, y, 4, 16), "%s", u.e.message);
	fake_cuda_p->set_current(other);
	run_plain(&u, CHAIN, x, y, 4, 16, NULL);
	check("another-context-is-an-error", u.rc == TESSERA_INVALID && strstr(u.e.message, "another CUDA context is current"), "%s", u.e.message);
	fake_cuda_p->set_current(NULL);
	run_plain(&u, CHAIN, x, y, 4, 16, NULL);
	check("none-is-fine-and-stays-none", !u.rc && !fake_cuda_p->get_current(), "%s", u.e.message);
	fake_cuda_p->set_current(other);
	give(&u, x);
	give(&u, y);
	close_use(&u);
	check("destroy-in-another-context", fake_cuda_p->get_current() == other, "another one is current");
	u = open_use(TESSERA_DEVICE_CUDA, 1, NULL);
	check("another-device's-context-is-left", !u.rc && u.info.native != other && fake_cuda_p->get_current() == other, "%s", u.e.message);
	close_use(&u);
	fake_cuda_p->set_current(NULL);
	clean("contexts-leave-nothing");
}

/* ---- graphs ---- */

static uint64_t calls_of(Use *u, float *x, float *y, void *stream)
{
	uint64_t before = fake_cuda_p->calls();
	run_plain(u, CHAIN, x, y, 4, 16, stream);
	return fake_cuda_p->calls() - before;
}

static void graphs(void)
{
	fresh();
	Use u = open_use(TESSERA_DEVICE_AUTO, 0, NULL);
	void *stream = fake_cuda_p->new_stream(u.info.native);
	fake_cuda_p->set_current(u.info.native);
	float *x = memory(&u, 64), *y = memory(&u, 64), *x2 = memory(&u, 64), *y2 = memory(&u, 64);
	int64_t dims[2] = { 4, 16 };
	numbers(x, 64);
	memcpy(x2, x, 256);
	u.rc = tessera_prepare(u.s, CHAIN, dims, 2, &u.e);
	TesseraStats a = stats_of(&u), b;
	check("prepare-records", !u.rc && fake_cuda_p->count("cuGraphInstantiateWithFlags") == 1 && a.launches == 5 && a.maps_encoded == 2, "%s, %llu maps", u.e.message, (unsigned long long)a.maps_encoded);
	uint64_t allocations = fake_cuda_p->count("cuMemAlloc");
	calls_of(&u, x, y, stream);
	b = stats_of(&u);
	check("first-run-updates-both-ends", !u.rc && right(x, y, 4, 16) && b.nodes_updated == 2 && b.maps_encoded == 3 && b.graph_runs == 1 && !b.plain_runs && b.pointers_checked == 2, "%s", u.e.message);
	uint64_t n = calls_of(&u, x, y, stream), at = fake_cuda_p->calls() - n;
	check("seen-pointers-only-launch", n == 3 && !strcmp(fake_cuda_p->call(at), "cuCtxGetCurrent") && !strcmp(fake_cuda_p->call(at + 1), "cuStreamIsCapturing") &&
	      !strcmp(fake_cuda_p->call(at + 2), "cuGraphLaunch"), "%llu calls", (unsigned long long)n);
	a = stats_of(&u);
	calls_of(&u, x, y2, stream);
	b = stats_of(&u);
	check("new-output-updates-one-node", !u.rc && right(x, y2, 4, 16) && b.nodes_updated == a.nodes_updated + 1 && b.maps_encoded == a.maps_encoded && b.pointers_checked == a.pointers_checked + 1,
	      "%s", u.e.message);
	calls_of(&u, x2, y2, stream);
	a = stats_of(&u);
	check("new-input-makes-its-map", !u.rc && a.nodes_updated == b.nodes_updated + 1 && a.maps_encoded == b.maps_encoded + 1, "%s", u.e.message);
	FakeLaunch l = fake_cuda_p->launch(fake_cuda_p->launches() - 1);
	check("by-graph-on-the-stream", l.by_graph && l.stream == stream && l.ptr[1] == y2, "%s", l.kernel);
	check("run-allocates-nothing", fake_cuda_p->count("cuMemAlloc") == allocations && !fake_cuda_p->count("cuCtxSynchronize"), "it does");

	fake_cuda_p->capture(stream, true);
	memset(y, 0, 256);
	calls_of(&u, x, y, stream);
	uint64_t launches = fake_cuda_p->launches();
	check("capture-enqueues-kernels", !u.rc && y[3] == 0 && stats_of(&u).plain_runs == 1, "%s", u.e.message);
	run_plain(&u, CHAIN, x, y, 5, 16, stream);
	check("capture-of-unprepared-sizes-is-refused", u.rc == TESSERA_INVALID && strstr(u.e.message, "being captured"), "%s", u.e.message);
	fake_cuda_p->capture(stream, false);
	fake_cuda_p->replay(stream);
	check("replay", right(x, y, 4, 16) && fake_cuda_p->launches() == launches, "wrong values");
	memset(y2, 0, 256);
	memset(x2, 0, 256); /* what the graph's first node still had */
	calls_of(&u, x, y2, stream);
	check("graph-after-capture-has-its-pointers", !u.rc && right(x, y2, 4, 16) && stats_of(&u).plain_runs == 1, "%s", u.e.message);
	give(&u, x), give(&u, y), give(&u, x2), give(&u, y2);
	fake_cuda_p->set_current(NULL);
	close_use(&u);
	clean("graphs-leave-nothing");
}

/* ---- profiles ---- */

typedef struct { uint32_t n, layers; int64_t end; const char *wrong; } Seen;
static void see(void *user, const TesseraLaunchTime *t)
{
	Seen *s = user;
	bool layer = !strcmp(t->step, "layer");
	if (t->size != sizeof *t || t->launch != s->n++ || t->launches != 5 || t->start_ns < s->end || t->duration_ns != 1000000) /* the fake driver's events lie a millisecond apart */
		s->wrong = "a time is wrong";
	if (layer ? strcmp(t->values, "t layer") || t->flops != 2 * 4 * 16 || t->bytes_read != 256 || t->bytes_written != 256 : *t->values || t->flops != -1 || t->bytes_read != -1)
		s->wrong = "it does not say what it is";
	if (strcmp(t->variant, "small") || !*t->kernel || t->cells != 4)
		s->wrong = "another variant";
	s->end = t->start_ns + t->duration_ns;
	s->layers += layer;
}

static int32_t profile(Use *u, int32_t graph, float *x, float *y, int64_t b, int64_t n, void *stream, void (*each)(void *, const TesseraLaunchTime *), void *user)
{
	int64_t shape[2] = { b, n };
	DLTensor in = on_gpu(x, f32, 2, shape, u->info.device.device_id), out = on_gpu(y, f32, 2, shape, u->info.device.device_id);
	const DLTensor *ins[1] = { &in }, *outs[1] = { &out };
	return u->rc = tessera_profile(u->s, graph, ins, 1, outs, 1, stream, each, user, &u->e);
}

static void profiles(void)
{
	fresh();
	Use u = open_use(TESSERA_DEVICE_AUTO, 0, NULL);
	void *stream = fake_cuda_p->new_stream(u.info.native);
	fake_cuda_p->set_current(u.info.native);
	float *x = memory(&u, 64), *y = memory(&u, 64);
	int64_t dims[2] = { 4, 16 };
	numbers(x, 64);
	Seen seen = { 0 };
	tessera_prepare(u.s, CHAIN, dims, 2, &u.e);
	uint64_t made = fake_cuda_p->count("cuEventCreate");
	profile(&u, CHAIN, x, y, 4, 16, stream, see, &seen);
	TesseraStats a = stats_of(&u);
	check("profile", !u.rc && right(x, y, 4, 16) && seen.n == 5 && seen.layers == 3 && !seen.wrong, "%s, %u launches, %s", u.e.message, seen.n, seen.wrong ? seen.wrong : "");
	check("profile-runs-plainly", a.plain_runs == 1 && !a.graph_runs && a.runs == 1 && fake_cuda_p->count("cuEventCreate") == made + 10 && fake_cuda_p->count("cuEventDestroy") == made + 10, "%llu plain", (unsigned long long)a.plain_runs);
	memset(y, 0, 256);
	uint64_t events = fake_cuda_p->count("cuEventRecord");
	run_plain(&u, CHAIN, x, y, 4, 16, stream);
	a = stats_of(&u);
	check("run-after-profile-is-by-graph", !u.rc && right(x, y, 4, 16) && a.graph_runs == 1 && fake_cuda_p->count("cuEventRecord") == events, "%s", u.e.message);
	fake_cuda_p->capture(stream, true);
	profile(&u, CHAIN, x, y, 4, 16, stream, see, &seen);
	check("profile-refuses-a-capture", u.rc == TESSERA_INVALID && strstr(u.e.message, "being captured") && seen.n == 5, "%s", u.e.message);
	fake_cuda_p->capture(stream, false);
	profile(&u, CHAIN, x, y, 4, 16, stream, NULL, NULL);
	check("profile-wants-a-function", u.rc == TESSERA_INVALID && strstr(u.e.message, "argument 'each' is NULL"), "%s", u.e.message);
	TesseraApi older = *u.s->api;
	older.size = offsetof(TesseraApi, profile);
	const TesseraApi *api = u.s->api;
	u.s->api = &older;
	profile(&u, CHAIN, x, y, 4, 16, stream, see, &seen);
	u.s->api = api;
	check("profile-of-an-older-artifact", u.rc == TESSERA_VERSION && seen.n == 5, "%s", u.e.message);
	give(&u, x), give(&u, y);
	fake_cuda_p->set_current(NULL);
	close_use(&u);
	clean("profiles-leave-nothing");
}

static void sizes(void)
{
	static const int64_t b[] = { 0, 1, 3, 17, 64, 1 }, n[] = { 8, 8, 64, 72, 4096, 80 };
	fresh();
	Use u = open_use(TESSERA_DEVICE_AUTO, 0, NULL);
	float *x = memory(&u, 64 * 4096), *y = memory(&u, 64 * 4096);
	bool ok = true;
	numbers(x, 64 * 4096);
	for (int k = 0; k < 3; k++)
		for (int i = 0; i < 6; i++) {
			for (int again = 0; again < 3; again++) { /* by kernels, then by a graph */
				memset(y, 0, 64 * 4096 * 4);
				ok &= !run_plain(&u, CHAIN, x, y, b[i], n[i], NULL) && right(x, y, b[i], n[i]);
			}
			ok &= !run_plain(&u, ONE, x, y, b[i], n[i], NULL) && (!b[i] || (y[0] == x[0] + 1 && y[b[i] * n[i] - 1] == x[b[i] * n[i] - 1] + 1));
		}
	check("sizes", ok, "%s", u.e.message);
	run_plain(&u, CHAIN, NULL, NULL, 0, 8, NULL);
	check("no-elements-need-no-address", !u.rc, "%s", u.e.message);
	TesseraStats st = stats_of(&u);
	check("repeated-sizes-get-a-graph", st.graph_runs > 10 && st.plain_runs > 10, "%llu, %llu", (unsigned long long)st.graph_runs, (unsigned long long)st.plain_runs);
	give(&u, x), give(&u, y);
	close_use(&u);
	clean("sizes-leave-nothing");
}

static void states(void)
{
	fresh();
	Use u = open_use(TESSERA_DEVICE_AUTO, 0, NULL), v = u;
	int64_t four = 4;
	int32_t *out = (int32_t *)(void *)memory(&u, 4);
	DLTensor t = on_gpu(out, i32, 1, &four, 1);
	const DLTensor *outs[1] = { &t };
	int32_t rc = tessera_session_create(m, u.cx, NULL, &v.s, &u.e);
	for (int i = 0; i < 3 && !rc; i++)
		rc = tessera_run(u.s, COUNT, NULL, 0, outs, 1, NULL, &u.e);
	check("state-is-kept", !rc && out[0] == 3 && out[3] == 33, "%d %d %s", out[0], out[3], u.e.message);
	rc = rc ? rc : tessera_run(v.s, COUNT, NULL, 0, outs, 1, NULL, &u.e);
	check("state-of-another-session", !rc && out[0] == 1 && out[3] == 31, "%d %d", out[0], out[3]);
	check("weights-are-uploaded-once", fake_cuda_p->count("cuMemcpyHtoDAsync") == LAYERS + 3 && fake_cuda_p->count("cuModuleLoadDataEx") == 1, "%llu copies", (unsigned long long)fake_cuda_p->count("cuMemcpyHtoDAsync"));
	give(&u, (float *)(void *)out);
	tessera_session_destroy(v.s);
	close_use(&u);
	clean("states-leave-nothing");
}

/* ---- arguments ---- */

static void strided(void)
{
	fresh();
	Use u = open_use(TESSERA_DEVICE_AUTO, 0, NULL);
	float *room = memory(&u, 1 << 16), *x = memory(&u, 1024), *y = memory(&u, 1024), *out = memory(&u, 1 << 16);
	static const struct { const char *name; int64_t strides[2]; int64_t offset; bool ok; } cases[] = {
		{ "rows-apart", { 40, 1 }, 0, true }, { "columns-apart", { 64, 2 }, 4, true }, { "transposed", { 1, 8 }, 0, true }, { "backwards", { -32, 1 }, 320, true },
		{ "broadcast", { 0, 1 }, 0, true }, { "not-aligned", { 16, 1 }, 1, true },
	};
	int64_t shape[2] = { 8, 16 };
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		numbers(room, 1 << 16);
		DLTensor in = on_gpu(room + cases[i].offset, f32, 2, shape, 1), to = on_gpu(y, f32, 2, shape, 1), far = on_gpu(out + cases[i].offset, f32, 2, shape, 1);
		in.strides = far.strides = (int64_t *)(uintptr_t)cases[i].strides;
		for (int64_t b = 0; b < 8; b++)
			for (int64_t n = 0; n < 16; n++)
				x[b * 16 + n] = room[cases[i].offset + b * cases[i].strides[0] + n * cases[i].strides[1]];
		uint64_t copied = stats_of(&u).copied_tensors;
		run(&u, CHAIN, &in, &to, NULL);
		check(cases[i].name, !u.rc && right(x, y, 8, 16) && stats_of(&u).copied_tensors == copied + 1, "%s", u.e.message);
		if (!cases[i].strides[0])
			continue;
		memset(out, 0, 4 << 16);
		in = on_gpu(x, f32, 2, shape, 1);
		run(&u, CHAIN, &in, &far, NULL);
		bool same = !u.rc;
		for (int64_t b = 0; b < 8 && same; b++)
			for (int64_t n = 0; n < 16; n++)
				same &= out[cases[i].offset + b * cases[i].strides[0] + n * cases[i].strides[1]] == y[b * 16 + n];
		check("as-output", same, "%s: %s", cases[i].name, u.e.message);
	}
	numbers(x, 128);
	float before[128];
	memcpy(before, x, sizeof before);
	run_plain(&u, CHAIN, x, x, 8, 16, NULL);
	check("in-place", !u.rc && right(before, x, 8, 16), "%s", u.e.message);
	int64_t many[2] = { 64, 4096 }, wide[2] = { 1, 64 };
	float *big = memory(&u, 64 * 4096), *result = memory(&u, 64 * 4096);
	DLTensor in = on_gpu(big, f32, 2, many, 1), to = on_gpu(result, f32, 2, many, 1);
	in.strides = wide;
	numbers(big, 64 * 4096);
	run(&u, ONE, &in, &to, NULL);
	check("large-transpose", !u.rc && result[4096 + 5] == big[1 + 5 * 64] + 1, "%s", u.e.message);
	give(&u, room), give(&u, x), give(&u, y), give(&u, out), give(&u, big), give(&u, result);
	close_use(&u);
	clean("strided-leaves-nothing");
}

static void too_many_copies(void)
{
	TsArg a = { .rank = 3, .count = 64 * 64 * 64, .elem = 4, .shape = { 64, 64, 64 }, .strides = { 1, 64, 4096 } }, b = a;
	b.shape[0] = 1;
	check("too-many-copies", !ts_cuda_can_gather(&a) && ts_cuda_can_gather(&b), "another answer");
}

typedef struct { const char *name, *text; DLTensor x, y; int32_t code; } Bad;

static void bad_arguments(void)
{
	fresh();
	Use u = open_use(TESSERA_DEVICE_AUTO, 0, NULL), other = open_use(TESSERA_DEVICE_CUDA, 2, NULL);
	float *x = memory(&u, 64), *y = memory(&u, 64), *far = memory(&other, 64), host[64] = { 0 };
	int64_t shape[2] = { 4, 16 };
	DLTensor good = on_gpu(x, f32, 2, shape, 1), out = on_gpu(y, f32, 2, shape, 1), on_host = tessera_tensor(host, f32, 2, shape), lying = on_gpu(host, f32, 2, shape, 1);
	DLTensor second = on_gpu(far, f32, 2, shape, 2), hidden = on_gpu(far, f32, 2, shape, 1);
	Bad all[] = {
		{ "host-tensor", "input 'x': memory of the host (DLPack device type 1), wanted cuda:1", on_host, out, TESSERA_INVALID },
		{ "host-pointer", "input 'x': its address is no memory that CUDA knows", lying, out, TESSERA_INVALID },
		{ "host-pointer-output", "output 'y': its address is no memory", good, lying, TESSERA_INVALID },
		{ "another-gpu", "input 'x': memory of cuda:2, wanted cuda:1", second, out, TESSERA_INVALID },
		{ "another-gpu's-pointer", "input 'x': its address is memory of cuda:2, wanted cuda:1", hidden, out, TESSERA_INVALID },
	};
	y[0] = 77;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		uint64_t launches = fake_cuda_p->launches();
		run(&u, CHAIN, &all[i].x, &all[i].y, NULL);
		check(all[i].name, u.rc == all[i].code && strstr(u.e.message, all[i].text) && fake_cuda_p->launches() == launches && y[0] == 77, "%d %s", u.rc, u.e.message);
	}
	run(&u, CHAIN, &good, &out, NULL);
	check("and-goes-on", !u.rc && y[0] != 77, "%s", u.e.message);
	give(&u, x), give(&u, y), give(&other, far);
	close_use(&u);
	close_use(&other);
	clean("bad-arguments-leave-nothing");
}

static void fixed(void)
{
	fresh();
	int64_t max[2] = { 64, 4096 };
	TesseraSessionOptions so = { .max_dims = max, .n_max_dims = 2 };
	Use u = open_use(TESSERA_DEVICE_AUTO, 0, &so);
	uint64_t before = fake_cuda_p->count("cuMemAlloc");
	float *x = memory(&u, 64 * 4096), *y = memory(&u, 64 * 4096);
	bool ok = !u.rc;
	numbers(x, 64 * 4096);
	for (int64_t b = 0; b <= 64 && ok; b++)
		ok = !run_plain(&u, CHAIN, x, y, b, 8 * (1 + b * 7), NULL) && right(x, y, b, 8 * (1 + b * 7));
	check("fixed-session-allocates-nothing", ok && fake_cuda_p->count("cuMemAlloc") == before + 2, "%s", u.e.message);
	int64_t shape[2] = { 8, 16 }, strides[2] = { 40, 1 };
	DLTensor in = on_gpu(x, f32, 2, shape, 1), out = on_gpu(y, f32, 2, shape, 1);
	in.strides = strides;
	run(&u, CHAIN, &in, &out, NULL);
	check("fixed-without-staging", u.rc == TESSERA_INVALID && strstr(u.e.message, "TESSERA_SESSION_STAGING"), "%s", u.e.message);
	give(&u, x), give(&u, y);
	close_use(&u);
	clean("fixed-leaves-nothing");
}

/* ---- failures ---- */

static const char *const text_of[] = { "CUDA_ERROR_UNKNOWN", "CUDA_ERROR_OUT_OF_MEMORY", "CUDA_ERROR_LAUNCH_FAILED" };
static const int32_t codes[] = { 999, 2, 719 }, wanted[] = { TESSERA_UNSUPPORTED, TESSERA_NO_MEMORY, TESSERA_LOST };

/* everything a program does; the first error ends it */
static Use scenario(bool *computed)
{
	Use u = open_use(TESSERA_DEVICE_CUDA, 1, NULL);
	void *px = NULL, *py = NULL;
	int64_t dims[2] = { 4, 16 }, shape[2] = { 4, 16 }, strides[2] = { 20, 1 };
	float host[128];
	*computed = false;
	numbers(host, 128);
	if (u.rc || (u.rc = tessera_device_alloc(u.cx, 512, &px, &u.e)) || (u.rc = tessera_device_alloc(u.cx, 512, &py, &u.e)) ||
	    (u.rc = tessera_copy(u.cx, px, host, 512, &u.e)) || (u.rc = tessera_prepare(u.s, CHAIN, dims, 2, &u.e)))
		goto end;
	void *stream = fake_cuda_p->new_stream(u.info.native);
	for (int i = 0; i < 2 && !u.rc; i++)
		run_plain(&u, CHAIN, px, py, 4, 16, stream);
	for (int i = 0; i < 3 && !u.rc; i++) /* sizes that nobody prepared */
		run_plain(&u, CHAIN, px, py, 2, 16, stream);
	DLTensor in = on_gpu(px, f32, 2, shape, 1), out = on_gpu(py, f32, 2, shape, 1);
	in.strides = strides;
	Seen seen = { 0 };
	if (u.rc || profile(&u, CHAIN, px, py, 4, 16, stream, see, &seen) || run(&u, CHAIN, &in, &out, stream) || run_plain(&u, CHAIN, px, py, 4, 16, stream) || (u.rc = tessera_wait(u.cx, stream, &u.e)))
		goto end;
	*computed = right(px, py, 4, 16);
end:
	if (u.cx) {
		TesseraError ignored;
		tessera_device_release(u.cx, px, 512, &ignored);
		tessera_device_release(u.cx, py, 512, &ignored);
	}
	return u;
}

/* the same on a driver that refuses the best plan's code */
static Use other_code(bool *computed)
{
	fake_cuda_p->refuse_cubins(true);
	put_ptx(model.code + 192, ".version future");
	Use u = scenario(computed);
	put_ptx(model.code + 192, ".version 8.0 .target sm_90a");
	*computed &= !u.s || stats_of(&u).plan_sm == 80;
	return u;
}

/* copies so long that they go over page-locked memory, there and back */
static Use long_copies(bool *computed)
{
	static const uint64_t sizes[] = { 16 << 20, (20 << 20) + 4099 };
	static uint8_t *host, *back;
	uint64_t most = 21 << 20;
	Use u = open_use(TESSERA_DEVICE_CUDA, 1, NULL);
	void *there = NULL;
	if (!host) {
		host = malloc(most);
		back = malloc(most);
		for (uint64_t i = 0; i < most; i++)
			host[i] = (uint8_t)(i * 2654435761u >> 21);
	}
	*computed = true;
	u.rc = u.rc ? u.rc : tessera_device_alloc(u.cx, most, &there, &u.e);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes && !u.rc; i++) {
		uint64_t n = sizes[i], skip = 3 * i;
		for (uint64_t k = 0; k < most; k += 512)
			back[k] = (uint8_t)~host[k];
		u.rc = tessera_copy(u.cx, (uint8_t *)there + skip, host + skip, n - skip, &u.e);
		u.rc = u.rc ? u.rc : tessera_copy(u.cx, back + skip, (uint8_t *)there + skip, n - skip, &u.e);
		*computed &= !u.rc && !memcmp(host + skip, back + skip, n - skip);
	}
	if (u.cx) {
		TesseraError ignored;
		tessera_device_release(u.cx, there, most, &ignored);
	}
	return u;
}

/* what has no one to tell: giving back, asking before it is done anyway, and a graph that a run does without unless the device is lost */
static bool may_be_silent(const char *call, int k)
{
	static const char *const always[] = { "cuCtxGetCurrent", "cuCtxPushCurrent", "cuCtxPopCurrent", "cuCtxSynchronize", "cuMemFree", "cuModuleUnload", "cuGraphDestroy",
	                                      "cuGraphExecDestroy", "cuEventDestroy", "cuMemHostUnregister", "cuDevicePrimaryCtxRelease" };
	for (size_t i = 0; i < sizeof always / sizeof *always; i++)
		if (!strcmp(call, always[i]))
			return true;
	return codes[k] != 719 && (!strcmp(call, "cuMemHostRegister") || !strcmp(call, "cuGraphCreate") || !strcmp(call, "cuGraphAddKernelNode") || !strcmp(call, "cuGraphInstantiateWithFlags"));
}

static void every_call_fails_once(const char *name, uint64_t calls, Use (*scenario)(bool *))
{
	char label[96];
	bool computed;
	fresh();
	Use u = scenario(&computed);
	close_use(&u);
	uint64_t n = fake_cuda_p->calls();
	check(name, !u.rc && computed && n > calls, "%d %s", u.rc, u.e.message);
	for (int k = 0; k < 3; k++) {
		const char *wrong = NULL;
		static char text[512];
		for (uint64_t i = 0; i < n && !wrong; i++) {
			fresh();
			fake_cuda_p->fail(i, codes[k]);
			u = scenario(&computed);
			bool told = u.rc && (strstr(u.e.message, text_of[k]) || strstr(u.e.message, "has no function cu") || strstr(u.e.message, "for its version"));
			bool code = u.rc == wanted[k] || u.rc == TESSERA_UNSUPPORTED;
			close_use(&u);
			const char *call = fake_cuda_p->call(i);
			if (!u.rc && !may_be_silent(call, k))
				snprintf(text, sizeof text, "call %llu, %s, failed and nobody was told", (unsigned long long)i, call), wrong = text;
			else if ((u.rc && (!told || !code)) || (!u.rc && !computed))
				snprintf(text, sizeof text, "call %llu, %s: %d %.300s", (unsigned long long)i, call, u.rc, u.e.message), wrong = text;
			else if (!strcmp(call, "cuCtxPushCurrent") && !u.rc) /* closing: a context that can't be entered is gone, with all that was in it */
				continue;
			else if (fake_cuda_p->live() || fake_cuda_p->misuse() || wrong_weight || fake_cuda_p->get_current())
				snprintf(text, sizeof text, "call %llu, %s: %lld left, %s", (unsigned long long)i, call, (long long)fake_cuda_p->live(), fake_cuda_p->misuse() ? fake_cuda_p->misuse() : "no misuse"), wrong = text;
		}
		snprintf(label, sizeof label, "%s/every-call-fails-once/%s", name, k == 0 ? "unknown" : k == 1 ? "memory" : "lost");
		check(label, !wrong, "%s", wrong);
	}
}

/* after any failure the same session goes on */
static void goes_on(void)
{
	fresh();
	Use u = open_use(TESSERA_DEVICE_CUDA, 1, NULL), v = { .cx = u.cx, .info = u.info };
	tessera_session_create(m, v.cx, NULL, &v.s, &v.e);
	float *x = memory(&u, 4096), *y = memory(&u, 4096), *z = memory(&u, 4096);
	const char *wrong = NULL;
	numbers(x, 4096);
	for (int i = 0; i < 60 && !wrong; i++) {
		int64_t b = 1 + i % 5, n = 16 + 8 * (i % 7);
		fake_cuda_p->fail((uint64_t)i % 20, i % 2 ? 2 : 999);
		int32_t first = run_plain(&u, CHAIN, x, y, b, n, NULL);
		if (run_plain(&v, CHAIN, x, z, b, n, NULL) && strcmp(v.e.message, "") == 0)
			wrong = "no words";
		for (int again = 0; again < 20 && (run_plain(&u, CHAIN, x, y, b, n, NULL) || run_plain(&v, CHAIN, x, z, b, n, NULL)); again++) {}
		if (u.rc || v.rc || !right(x, y, b, n) || !right(x, z, b, n))
			wrong = u.rc ? u.e.message : "other values";
		(void)first;
	}
	fake_cuda_p->fail(1 << 30, 2);
	check("goes-on-after-failures", !wrong, "%s", wrong);
	give(&u, x), give(&u, y), give(&u, z);
	tessera_session_destroy(v.s);
	close_use(&u);
	clean("goes-on-leaves-nothing");
}

static void lost(void)
{
	fresh();
	Use u = open_use(TESSERA_DEVICE_CUDA, 1, NULL), v = open_use(TESSERA_DEVICE_CUDA, 2, NULL);
	float *x = memory(&u, 64), *y = memory(&u, 64);
	numbers(x, 64);
	run_plain(&u, CHAIN, x, y, 4, 16, NULL);
	fake_cuda_p->lose(214);
	run_plain(&u, CHAIN, x, y, 4, 16, NULL);
	check("lost-device-is-named", u.rc == TESSERA_LOST && strstr(u.e.message, "CUDA_ERROR_ECC_UNCORRECTABLE") && strstr(u.e.message, "is lost"), "%d %s", u.rc, u.e.message);
	check("lost-stays-lost", run_plain(&u, CHAIN, x, y, 4, 16, NULL) == TESSERA_LOST, "%d", u.rc);
	fake_cuda_p->lose(0);
	float *p = memory(&v, 64), *q = memory(&v, 64);
	numbers(p, 64);
	run_plain(&v, CHAIN, p, q, 4, 16, NULL);
	check("another-device-goes-on", !v.rc && right(p, q, 4, 16), "%s", v.e.message);
	give(&u, x), give(&u, y), give(&v, p), give(&v, q);
	fake_cuda_p->lose(214);
	close_use(&u);
	fake_cuda_p->lose(0);
	close_use(&v);
	check("lost-is-closed-without-a-crash", true, "it is");
}

/* a child gets an error from every call, the driver hears nothing of it, and the parent goes on */
static void forked(void)
{
	fresh();
	Use u = open_use(TESSERA_DEVICE_CUDA, 1, NULL);
	float *x = memory(&u, 64), *y = memory(&u, 64);
	void *p = NULL;
	int64_t dims[2] = { 8, 32 };
	int status = -1;
	numbers(x, 64);
	run_plain(&u, CHAIN, x, y, 4, 16, NULL);
	pid_t child = fork();
	if (!child) {
		uint64_t calls = fake_cuda_p->calls();
		TesseraSession *s = NULL;
		int wrong = run_plain(&u, CHAIN, x, y, 4, 16, NULL) != TESSERA_LOST || !strstr(u.e.message, "is a fork of the one that opened the GPU");
		wrong |= (tessera_prepare(u.s, CHAIN, dims, 2, &u.e) != TESSERA_LOST) << 1 | (tessera_session_create(m, u.cx, NULL, &s, &u.e) != TESSERA_LOST) << 2;
		wrong |= (tessera_device_alloc(u.cx, 64, &p, &u.e) != TESSERA_LOST) << 3 | (tessera_copy(u.cx, y, x, 64, &u.e) != TESSERA_LOST) << 4;
		wrong |= (tessera_wait(u.cx, NULL, &u.e) != TESSERA_LOST || tessera_device_release(u.cx, x, 64, &u.e) != TESSERA_LOST) << 5;
		close_use(&u);
		wrong |= (fake_cuda_p->calls() != calls) << 6;
		_exit(wrong);
	}
	check("fork-gives-errors-and-calls-nothing", child > 0 && waitpid(child, &status, 0) == child && !status, "status %#x", (unsigned)status);
	run_plain(&u, CHAIN, x, y, 4, 16, NULL);
	check("parent-of-a-fork-goes-on", !u.rc && right(x, y, 4, 16), "%s", u.e.message);
	give(&u, x), give(&u, y);
	close_use(&u);
	clean("fork-leaves-nothing");
}

static void null_pointers(void)
{
	fresh();
	Use u = open_use(TESSERA_DEVICE_CUDA, 1, NULL);
	TesseraError e = { 0 };
	float *x = memory(&u, 64);
	tessera_device(u.cx, NULL);
	check("null-stats", tessera_stats(u.s, NULL) == TESSERA_INVALID, "accepted");
	check("null-memory", tessera_device_alloc(u.cx, 64, NULL, &e) == TESSERA_INVALID && strstr(e.message, "argument 'out' is NULL"), "%s", e.message);
	check("null-copy-to", tessera_copy(u.cx, NULL, x, 64, &e) == TESSERA_INVALID && strstr(e.message, "argument 'to' is NULL"), "%s", e.message);
	check("null-copy-from", tessera_copy(u.cx, x, NULL, 64, &e) == TESSERA_INVALID && strstr(e.message, "argument 'from' is NULL"), "%s", e.message);
	check("null-copy-of-nothing", !tessera_copy(u.cx, NULL, NULL, 0, &e), "%s", e.message);
	check("null-release", !tessera_device_release(u.cx, NULL, 64, &e), "%s", e.message);
	give(&u, x);
	close_use(&u);
	clean("nulls-leave-nothing");
}

static void out_of_memory(void)
{
	fresh();
	Use u = open_use(TESSERA_DEVICE_CUDA, 1, NULL);
	float *x = memory(&u, 64 * 4096), *y = memory(&u, 64 * 4096);
	int64_t dims[2] = { 64, 4096 };
	numbers(x, 64 * 4096);
	u.rc = run_plain(&u, CHAIN, x, y, 4, 16, NULL);
	uint64_t at = fake_cuda_p->calls();
	fake_cuda_p->fail(4, 2); /* the memory for more */
	u.rc = tessera_prepare(u.s, CHAIN, dims, 2, &u.e);
	check("out-of-memory-is-named", u.rc == TESSERA_NO_MEMORY && strstr(u.e.message, "bytes of workspace on cuda:1: CUDA_ERROR_OUT_OF_MEMORY"), "%d %s at %s", u.rc, u.e.message, fake_cuda_p->call(at + 4));
	run_plain(&u, CHAIN, x, y, 4, 16, NULL);
	check("next-call-works", !u.rc && right(x, y, 4, 16), "%s", u.e.message);
	run_plain(&u, CHAIN, x, y, 64, 4096, NULL);
	check("and-the-large-one", !u.rc && right(x, y, 64, 4096), "%s", u.e.message);
	give(&u, x), give(&u, y);
	close_use(&u);
	clean("out-of-memory-leaves-nothing");
}

/* ---- threads ---- */

typedef struct { TesseraContext *cx; TesseraDeviceInfo info; void *stream; int number; bool bad; char why[512]; } Job;

static void *thread(void *arg)
{
	Job *j = arg;
	Use u = { .cx = j->cx, .info = j->info };
	u.rc = tessera_session_create(m, u.cx, NULL, &u.s, &u.e);
	float *x = u.rc ? NULL : memory(&u, 8 * 512), *y = u.rc ? NULL : memory(&u, 8 * 512);
	for (int i = 0; i < 12 && !u.rc && !j->bad; i++) {
		int64_t b = 1 + (i / 3 + j->number) % 8;
		numbers(x, 8 * 512);
		x[0] = (float)j->number;
		run_plain(&u, CHAIN, x, y, b, 512, j->stream);
		j->bad |= u.rc || !right(x, y, b, 512);
	}
	j->bad |= u.rc != 0;
	strcpy(j->why, u.e.message);
	if (x) {
		give(&u, x);
		give(&u, y);
	}
	tessera_session_destroy(u.s);
	return NULL;
}

static void threads(void)
{
	static Job job[64];
	pthread_t id[64];
	fresh();
	Use u = open_use(TESSERA_DEVICE_AUTO, 0, NULL);
	void *streams[16];
	bool bad = false;
	for (int i = 0; i < 16; i++)
		streams[i] = fake_cuda_p->new_stream(u.info.native);
	for (int i = 0; i < 64; i++) {
		job[i] = (Job){ .cx = u.cx, .info = u.info, .stream = streams[i % 16], .number = i };
		pthread_create(&id[i], NULL, thread, &job[i]);
	}
	for (int i = 0; i < 64; i++) {
		pthread_join(id[i], NULL);
		bad |= job[i].bad;
	}
	check("64-threads-16-streams", !bad, "%s", job[0].why);
	check("one-upload-for-all", fake_cuda_p->count("cuModuleLoadDataEx") == 1, "%llu", (unsigned long long)fake_cuda_p->count("cuModuleLoadDataEx"));
	close_use(&u);
	clean("threads-leave-nothing");
}

/* ---- weights in a file ---- */

static void external(TsCtx *cx)
{
	static TestModel away;
	char path[64];
	TsPlanFile file = { .bytes = LAYERS * W_BYTES + V_BYTES + C_BYTES };
	TsSha256 hash;
	uint8_t bytes[LAYERS * W_BYTES + V_BYTES + C_BYTES], *p = bytes;
	for (int i = 0; i < LAYERS; i++, p += W_BYTES)
		memcpy(p, logical.w[i], W_BYTES);
	memcpy(p, logical.v, V_BYTES);
	memcpy(p + V_BYTES, logical.c, C_BYTES);
	ts_sha256_init(&hash);
	ts_sha256_add(&hash, bytes, sizeof bytes);
	ts_sha256_end(&hash, file.sha256);
	snprintf(path, sizeof path, "/tmp/test_cuda_%d.bin", (int)getpid());
	FILE *f = fopen(path, "wb");
	bool written = f && fwrite(bytes, sizeof bytes, 1, f) == 1;
	written &= f && !fclose(f);
	make_model(cx, &away, &file, path);
	fresh();
	Use u = { 0 };
	TesseraContextOptions o = { .threads = 2, .device = TESSERA_DEVICE_CUDA, .device_id = 1, .weights = path };
	u.rc = !written || tessera_context_create(&away.m, &o, &u.cx, &u.e) || tessera_session_create(&away.m, u.cx, NULL, &u.s, &u.e);
	if (!u.rc) {
		tessera_device(u.cx, &u.info);
		float *x = memory(&u, 64), *y = memory(&u, 64);
		numbers(x, 64);
		run_plain(&u, CHAIN, x, y, 4, 16, NULL);
		check("external-weights", !u.rc && right(x, y, 4, 16) && !stats_of(&u).external_bytes, "%s", u.e.message);
		give(&u, x), give(&u, y);
	}
	check("external-opens", !u.rc, "%s", u.e.message);
	close_use(&u);
	file.sha256[0] ^= 1;
	make_model(cx, &away, &file, path);
	u.rc = tessera_context_create(&away.m, &o, &u.cx, &u.e) || tessera_session_create(&away.m, u.cx, NULL, &u.s, &u.e);
	check("external-of-another-hash", u.rc && u.e.code == TESSERA_FILE && strstr(u.e.message, "SHA-256"), "%s", u.e.message);
	close_use(&u);
	unlink(path);
	o.weights = "/nowhere";
	u.rc = tessera_context_create(&away.m, &o, &u.cx, &u.e) || tessera_session_create(&away.m, u.cx, NULL, &u.s, &u.e);
	check("external-missing", u.rc && u.e.code == TESSERA_FILE, "%s", u.e.message);
	close_use(&u);
	clean("external-leaves-nothing");
}

int main(int argc, char **argv)
{
	(void)argc;
	setvbuf(stdout, NULL, _IOLBF, 0);
	TsCtx *cx = ts_ctx_new();
	if (!load_fake(argv[0]))
		return 1;
	make_model(cx, &model, NULL, NULL);
	devices();
	refused_cubin();
	refused_plan();
	no_device();
	contexts();
	graphs();
	profiles();
	sizes();
	states();
	strided();
	too_many_copies();
	bad_arguments();
	fixed();
	every_call_fails_once("scenario", 100, scenario);
	every_call_fails_once("other-code", 100, other_code);
	every_call_fails_once("long-copies", 80, long_copies);
	goes_on();
	lost();
	forked();
	null_pointers();
	out_of_memory();
	threads();
	external(cx);
	ts_ctx_free(cx);
	return check_failed;
}
