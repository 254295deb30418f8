/* tsc-load --detect says which GPUs there are. tsc-load ARTIFACT SYMBOL: loads a shared object made by tsc and runs or explains it, as protocol.h says. tsc itself is static and
 * cannot load anything. Like an artifact this is freestanding code: it asks the C library, whichever it is, for dlopen, dlsym and
 * dlerror under names without a version, and for nothing else. */
#include <stdbool.h>
#include "rtlib/cuda_driver.h"
#include "rtlib/sys.h"
#include "tessera/tessera.h"
#include "tsc/helper/protocol.h"

extern void *dlopen(const char *path, int flags);
extern void *dlsym(void *library, const char *name);
extern char *dlerror(void);

enum { EXIT_INPUT = 1, EXIT_USAGE = 2, EXIT_ENVIRONMENT = 3, BUFFER = 1 << 16 };

typedef struct {
	const TesseraModel *m;
	TesseraContext *cx;
	TesseraSession *s;
	TesseraError e;
	TesseraDeviceInfo device;
	int32_t graph, n_in, n_out;
	uint32_t n_put, n_got, at_got;
	uint8_t put[BUFFER], got[BUFFER];
} Load;

typedef struct { DLTensor t; int64_t shape[16], bytes, wanted; void *host; } Tensor;

_Noreturn static void leave(int code)
{
	ts_sys3(TS_SYS_EXIT_GROUP, code, 0, 0);
	__builtin_unreachable();
}

static size_t length(const char *s)
{
	size_t n = 0;
	while (s[n])
		n++;
	return n;
}

/* ---- bytes out ---- */

static void write_all(int fd, const void *p, size_t n)
{
	for (size_t at = 0; at < n;) {
		int64_t part = ts_sys3(TS_SYS_WRITE, fd, (int64_t)(intptr_t)p + (int64_t)at, (int64_t)(n - at < 1u << 30 ? n - at : 1u << 30));
		if (part == -4) /* interrupted */
			continue;
		if (part <= 0)
			leave(EXIT_ENVIRONMENT);
		at += (size_t)part;
	}
}

static void flush(Load *l)
{
	write_all(1, l->put, l->n_put);
	l->n_put = 0;
}

static void put_bytes(Load *l, const void *p, size_t n)
{
	if (l->n_put + n > BUFFER)
		flush(l);
	if (n > BUFFER) {
		write_all(1, p, n);
		return;
	}
	__builtin_memcpy(l->put + l->n_put, p, n);
	l->n_put += (uint32_t)n;
}

static void put(Load *l, int64_t v) { put_bytes(l, &v, sizeof v); }

static void put_text(Load *l, const char *s)
{
	size_t n = s ? length(s) : 0;
	n = n < TS_LOAD_MAX_TEXT ? n : TS_LOAD_MAX_TEXT;
	put(l, (int64_t)n);
	if (n)
		put_bytes(l, s, n);
}

/* The last words: a status other than 0, and why. */
_Noreturn static void fail(Load *l, int code, const char *why)
{
	put(l, code);
	put_text(l, why);
	flush(l);
	leave(0);
}

_Noreturn static void fail_call(Load *l)
{
	int32_t c = l->e.code;
	fail(l, c == TESSERA_FILE || c == TESSERA_NO_MEMORY || c == TESSERA_UNSUPPORTED || c == TESSERA_LOST ? EXIT_ENVIRONMENT : EXIT_INPUT, l->e.message);
}

/* ---- bytes in ---- */

static void get_bytes(Load *l, void *p, size_t n)
{
	uint8_t *to = p;
	while (n) {
		if (l->at_got < l->n_got) {
			size_t part = l->n_got - l->at_got < n ? l->n_got - l->at_got : n;
			__builtin_memcpy(to, l->got + l->at_got, part);
			l->at_got += (uint32_t)part;
			to += part;
			n -= part;
			continue;
		}
		bool direct = n >= BUFFER;
		int64_t part = ts_sys3(TS_SYS_READ, 0, (int64_t)(intptr_t)(direct ? to : l->got), (int64_t)(direct ? n < 1u << 30 ? n : 1u << 30 : BUFFER));
		if (part == -4)
			continue;
		if (part <= 0) /* tsc is gone */
			leave(EXIT_ENVIRONMENT);
		if (direct) {
			to += part;
			n -= (size_t)part;
		} else {
			l->at_got = 0;
			l->n_got = (uint32_t)part;
		}
	}
}

static int64_t get(Load *l)
{
	int64_t v;
	get_bytes(l, &v, sizeof v);
	return v;
}

static void *pages(Load *l, size_t n)
{
	void *p = ts_pages(n + 64);
	if (!p)
		fail(l, EXIT_ENVIRONMENT, "no memory for the inputs and outputs");
	return p;
}

/* ---- what there is ---- */

static void describe_tensor(Load *l, int32_t graph, int32_t i)
{
	TesseraTensorInfo t;
	if (tessera_tensor_info(l->m, graph, i, &t))
		leave(EXIT_INPUT);
	put_text(l, t.name);
	put(l, t.dtype.code);
	put(l, t.dtype.bits);
	put(l, t.rank);
	put_bytes(l, t.dims, sizeof *t.dims * (size_t)t.rank);
}

static void describe(Load *l)
{
	int32_t dims = tessera_dim_count(l->m), graphs = tessera_graph_count(l->m);
	put(l, 0);
	put(l, dims);
	for (int32_t i = 0; i < dims; i++) {
		TesseraDimInfo d = { 0 };
		tessera_dim_info(l->m, i, &d);
		put_text(l, d.name);
		put(l, d.min);
		put(l, d.max);
		put(l, d.multiple_of);
	}
	put(l, graphs);
	for (int32_t g = 0; g < graphs; g++) {
		int32_t in = tessera_graph_inputs(l->m, g), out = tessera_graph_outputs(l->m, g);
		put_text(l, tessera_graph_name(l->m, g));
		put(l, in);
		put(l, out);
		for (int32_t i = 0; i < in + out; i++)
			describe_tensor(l, g, i);
	}
	flush(l);
}

/* ---- a request ---- */

/* A tensor of a model on a GPU lies there; the host's copy is what comes and goes by pipe. */
static void move_in(Load *l, Tensor *t, bool copy)
{
	t->host = t->t.data;
	if (l->device.device.device_type == kDLCPU)
		return;
	t->t.device = l->device.device;
	if (tessera_device_alloc(l->cx, (uint64_t)t->bytes, &t->t.data, &l->e) || (copy && tessera_copy(l->cx, t->t.data, t->host, (uint64_t)t->bytes, &l->e)))
		fail_call(l);
}

static void read_input(Load *l, Tensor *t)
{
	DLDataType type = { .lanes = 1 };
	type.code = (uint8_t)get(l);
	type.bits = (uint8_t)get(l);
	int32_t rank = (int32_t)get(l);
	if (rank < 0 || rank > 16)
		leave(EXIT_USAGE);
	get_bytes(l, t->shape, sizeof *t->shape * (size_t)rank);
	t->bytes = get(l);
	void *data = pages(l, (size_t)t->bytes);
	get_bytes(l, data, (size_t)t->bytes);
	t->t = tessera_tensor(data, type, rank, t->shape);
	move_in(l, t, true);
}

static bool output_bytes(const TesseraTensorInfo *info, const Tensor *t, int32_t rank, int64_t *bytes)
{
	int64_t n = 1;
	for (int32_t i = 0; i < rank; i++)
		if (__builtin_mul_overflow(n, t->shape[i], &n))
			return false;
	int64_t bits = info->dtype.bits == 6 ? 8 : info->dtype.bits;
	if (bits == 4)
		*bytes = n / 2 + n % 2;
	else if (__builtin_mul_overflow(n, bits / 8, bytes))
		return false;
	return *bytes >= 0 && *bytes < (int64_t)1 << 46;
}

static void make_output(Load *l, const DLTensor *const *in, int32_t i, Tensor *t)
{
	TesseraTensorInfo info;
	int32_t rank;
	if (tessera_tensor_info(l->m, l->graph, l->n_in + i, &info) ||
	    tessera_output_shape(l->s, l->graph, in, l->n_in, i, t->shape, &rank, &l->e))
		fail_call(l);
	if (!output_bytes(&info, t, rank, &t->bytes))
		fail(l, EXIT_INPUT, "an output would take more memory than there can be");
	t->t = tessera_tensor(pages(l, (size_t)t->bytes), info.dtype, rank, t->shape);
	move_in(l, t, false);
}

static void open_session(Load *l)
{
	char weights[4096] = "";
	TesseraContextOptions o = { .size = sizeof o };
	o.threads = (int32_t)get(l);
	o.cpu = (int32_t)get(l);
	o.device = (int32_t)get(l);
	o.device_id = (int32_t)get(l);
	int64_t n = get(l);
	if (n < 0 || n >= (int64_t)sizeof weights)
		leave(EXIT_USAGE);
	get_bytes(l, weights, (size_t)n);
	o.weights = n ? weights : NULL;
	if (tessera_context_create(l->m, &o, &l->cx, &l->e) || tessera_session_create(l->m, l->cx, NULL, &l->s, &l->e))
		fail_call(l);
	tessera_device(l->cx, &l->device);
}

static void count_line(void *user, const char *text)
{
	(void)text;
	++*(int64_t *)user;
}

static void put_line(void *user, const char *text) { put_text(user, text); }

static void put_facts(Load *l)
{
	TesseraStats st = { 0 };
	int64_t lines = 0;
	tessera_stats(l->s, &st);
	put(l, 0);
	put(l, (int64_t)st.workspace_bytes);
	put(l, st.threads);
	put(l, st.cpu);
	put(l, (int64_t)st.external_bytes);
	put_text(l, l->device.device.device_type == kDLCPU ? "" : l->device.name);
	put_text(l, l->device.note);
	if (tessera_explain(l->s, count_line, &lines, &l->e))
		lines = 0;
	put(l, lines);
	if (lines)
		tessera_explain(l->s, put_line, l, &l->e);
}

static int64_t now(void)
{
	int64_t t[2];
	ts_sys3(228 /* clock_gettime */, 1 /* monotonic */, (int64_t)(intptr_t)t, 0);
	return t[0] * 1000000000 + t[1];
}

static void run(Load *l, int64_t runs)
{
	size_t n = (size_t)(l->n_in + l->n_out);
	Tensor *t = pages(l, sizeof *t * n);
	const DLTensor **view = pages(l, sizeof *view * n);
	int64_t *took = pages(l, sizeof *took * (size_t)runs);
	for (int32_t i = 0; i < l->n_in; i++)
		read_input(l, &t[i]);
	for (int32_t i = 0; i < l->n_out; i++)
		t[l->n_in + i].wanted = get(l);
	for (size_t i = 0; i < n; i++)
		view[i] = &t[i].t;
	for (int32_t i = 0; i < l->n_out; i++)
		make_output(l, view, i, &t[l->n_in + i]);
	for (int64_t i = 0; i < runs; i++) {
		int64_t from = now();
		if (tessera_run(l->s, l->graph, view, l->n_in, view + l->n_in, l->n_out, NULL, &l->e) || tessera_wait(l->cx, NULL, &l->e))
			fail_call(l);
		took[i] = now() - from;
	}
	for (int32_t i = l->n_in; i < l->n_in + l->n_out; i++) /* before the answer begins, so that a failure can still be told */
		if (t[i].wanted && t[i].host != t[i].t.data && tessera_copy(l->cx, t[i].host, t[i].t.data, (uint64_t)t[i].bytes, &l->e))
			fail_call(l);
	put_facts(l);
	put_bytes(l, took, sizeof *took * (size_t)runs);
	for (int32_t i = l->n_in; i < l->n_in + l->n_out; i++) {
		if (!t[i].wanted)
			continue;
		put(l, t[i].t.ndim);
		put_bytes(l, t[i].shape, sizeof *t[i].shape * (size_t)t[i].t.ndim);
		put(l, t[i].bytes);
		put_bytes(l, t[i].host, (size_t)t[i].bytes);
	}
	for (size_t i = 0; i < n; i++)
		if (t[i].host != t[i].t.data)
			tessera_device_release(l->cx, t[i].t.data, (uint64_t)t[i].bytes, NULL);
}

static void explain(Load *l)
{
	int32_t n = tessera_dim_count(l->m);
	int64_t *dims = pages(l, sizeof *dims * (size_t)n);
	get_bytes(l, dims, sizeof *dims * (size_t)n);
	if (tessera_prepare(l->s, l->graph, dims, n, &l->e))
		fail_call(l);
	put_facts(l);
}

static void serve(Load *l)
{
	int64_t kind = get(l), runs;
	l->graph = (int32_t)get(l);
	runs = get(l);
	l->n_in = tessera_graph_inputs(l->m, l->graph);
	l->n_out = tessera_graph_outputs(l->m, l->graph);
	if (l->n_in < 0 || l->n_out < 0 || runs < 1 || runs > 1 << 30)
		leave(EXIT_USAGE);
	open_session(l);
	if (kind == TS_LOAD_RUN)
		run(l, runs);
	else
		explain(l);
	flush(l);
	tessera_session_destroy(l->s);
	tessera_context_destroy(l->cx);
}

static void detect(Load *l)
{
	TsCuda cu;
	int32_t n = 0;
	put(l, TS_LOAD_MAGIC);
	if (ts_cuda_open(&cu, &l->e) || ts_cuda_fail(&cu, cu.DeviceGetCount(&n), &l->e, "count the GPUs"))
		fail(l, EXIT_ENVIRONMENT, l->e.message);
	put(l, 0);
	put(l, n);
	for (int32_t i = 0; i < n; i++) {
		char name[64] = "";
		int32_t device = 0, major = 0, minor = 0;
		if (cu.DeviceGet(&device, i) || cu.DeviceGetName(name, sizeof name, device) || cu.DeviceGetAttribute(&major, TS_CU_MAJOR, device) ||
		    cu.DeviceGetAttribute(&minor, TS_CU_MINOR, device))
			major = minor = 0; /* one that does not answer is shown without an architecture */
		name[sizeof name - 1] = 0;
		put_text(l, name);
		put(l, major * 10 + minor);
	}
	flush(l);
}

static int program(int argc, char **argv)
{
	static const char usage[] = "tsc-load is a part of tsc: use `tsc run` and `tsc explain`\n";
	bool detects = argc == 2 && length(argv[1]) == 8 && !__builtin_memcmp(argv[1], "--detect", 8);
	if (argc != 3 && !detects) {
		write_all(2, usage, sizeof usage - 1);
		return EXIT_USAGE;
	}
	Load *l = ts_pages(sizeof *l);
	if (!l)
		return EXIT_ENVIRONMENT;
	if (detects)
		return detect(l), 0;
	put(l, TS_LOAD_MAGIC);
	void *library = dlopen(argv[1], 2 /* now, local */);
	if (!library)
		fail(l, EXIT_INPUT, dlerror());
	l->m = dlsym(library, argv[2]);
	if (!l->m)
		fail(l, EXIT_INPUT, dlerror());
	if (l->m->abi != TESSERA_ABI)
		fail(l, EXIT_INPUT, "it was built for another version of tessera.h");
	describe(l);
	serve(l);
	return 0;
}

__attribute__((used)) void ts_load_main(int64_t *stack);
void ts_load_main(int64_t *stack)
{
	ts_sys3(157 /* prctl */, 1 /* the signal when the parent ends */, 9 /* kill */, 0);
	leave(program((int)stack[0], (char **)(void *)(stack + 1)));
}

/* the loader enters here: argc at the top of the stack, then argv */
__attribute__((naked, noreturn)) void _start(void);
void _start(void) { __asm__("xor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall ts_load_main\n\thlt"); }
