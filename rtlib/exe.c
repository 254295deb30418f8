/* The program an executable artifact is: reads .npy files, runs one graph, writes .npy files. It has its own start code and threads and
 * needs neither libc nor any file but those named. In a shared object nothing refers to it, and the linker leaves it out. */
#include "rtlib/file.h"
#include "rtlib/npy.h"
#include "rtlib/rt.h"
#include "rtlib/sys.h"

enum { MAX_ARGS = 64, EXIT_INPUT = 1, EXIT_USAGE = 2, EXIT_ENVIRONMENT = 3 };

extern const TesseraModel ts_model;

typedef struct { const char *name, *path; } Binding;
typedef struct {
	Binding in[MAX_ARGS], out[MAX_ARGS];
	uint32_t n_in, n_out;
	const char *graph, *weights;
	int32_t device, device_id;
	int64_t threads, bench;
	bool explain, help;
} Options;

typedef struct { DLTensor t; int64_t shape[TS_MAX_RANK], strides[TS_MAX_RANK]; uint64_t bytes; void *host; } Held; /* host: t.data, or the copy of it here */

/* ---- words on the terminal ---- */

static void say(int fd, const char *fmt, ...)
{
	char buffer[4096];
	TsText t = { buffer, 0, sizeof buffer, false };
	va_list ap;
	va_start(ap, fmt);
	ts_text_vadd(&t, fmt, ap);
	va_end(ap);
	for (size_t at = 0; at < t.n;) {
		int64_t n = ts_sys3(TS_SYS_WRITE, fd, (int64_t)(intptr_t)(buffer + at), (int64_t)(t.n - at));
		if (n <= 0)
			return;
		at += (size_t)n;
	}
}

static int fail(int code, const char *fmt, ...)
{
	char buffer[2048];
	TsText t = { buffer, 0, sizeof buffer, true };
	va_list ap;
	va_start(ap, fmt);
	ts_text_vadd(&t, fmt, ap);
	va_end(ap);
	say(2, "%s: error: %s\n", ts_model.name, buffer);
	return code;
}

static void say_tensor(const TsPlanHeader *p, const TsPlanTensor *t)
{
	say(1, "%s: %s[", ts_plan_str(p, t->name), ts_plan_dtype_name(t->dtype));
	for (uint32_t k = 0; k < t->rank; k++) {
		const TsPlanExpr *x = TS_PLAN_TABLE(p, TsPlanExpr, exprs) + TS_PLAN_TABLE(p, uint32_t, words)[t->dims + k];
		if (x->kind == TS_EX_CONST)
			say(1, k ? ", %d" : "%d", x->value);
		else
			say(1, k ? ", %s" : "%s", x->kind == TS_EX_DIM ? ts_plan_str(p, TS_PLAN_TABLE(p, TsPlanDim, dims)[x->a].name) : "?");
	}
	say(1, "]");
}

static void help(const TsPlanHeader *p)
{
	const TsPlanEntry *en = TS_PLAN_TABLE(p, TsPlanEntry, entries);
	say(1, "usage: %s --input NAME=FILE.npy ... --output NAME=FILE.npy ...\n"
	       "  --graph NAME     the graph to run (default: the first)\n"
	       "  --threads N      threads that compute (default: all this process may use)\n"
	       "  --device NAME    auto (the first GPU there is code for, else the CPU), cpu, cuda or cuda:N\n"
	       "  --weights PATH   folder or file of external weights\n"
	       "  --bench N        run N times and print the time of one run\n"
	       "  --explain        print the kernels chosen for these sizes\n"
	       "  --help\n"
	       "graphs:\n", ts_model.name);
	for (uint32_t i = 0; i < p->entries.n; i++) {
		say(1, "  %s(", ts_plan_str(p, en[i].name));
		for (uint32_t k = 0; k < en[i].n_inputs + en[i].n_outputs; k++) {
			if (k == en[i].n_inputs)
				say(1, ") -> (");
			else if (k)
				say(1, ", ");
			say_tensor(p, TS_PLAN_TABLE(p, TsPlanTensor, tensors) + en[i].tensor + k);
		}
		say(1, en[i].n_outputs ? ")\n" : ") -> ()\n");
	}
}

/* ---- the command line ---- */

static bool whole_number(const char *s, int64_t *out)
{
	*out = 0;
	if (!*s)
		return false;
	for (; *s; s++)
		if (*s < '0' || *s > '9' || (*out = *out * 10 + *s - '0') > 1000000000)
			return false;
	return true;
}

/* NAME=FILE, cut in two in place */
static bool binding(char *s, Binding *list, uint32_t *n)
{
	char *eq = s;
	while (*eq && *eq != '=')
		eq++;
	if (!*eq || eq == s || !eq[1] || *n == MAX_ARGS)
		return false;
	*eq = 0;
	list[(*n)++] = (Binding){ s, eq + 1 };
	return true;
}

/* ---- an unknown name, with the nearest known one ---- */

static int unknown(const char *what, const TsNear *near)
{
	return near->best ? fail(EXIT_USAGE, "%s '%s'; nearest: %s; see --help", what, near->wanted, near->best)
	                  : fail(EXIT_USAGE, "%s '%s'; see --help", what, near->wanted);
}

enum { INPUT, OUTPUT, GRAPH, WEIGHTS, DEVICE, THREADS, BENCH, EXPLAIN, HELP, N_OPTIONS };
static const char *const option_name[N_OPTIONS] = { "--input", "--output", "--graph", "--weights", "--device", "--threads", "--bench", "--explain", "--help" };

/* auto, cpu, cuda, cuda:N */
static bool device(const char *s, Options *o)
{
	static const char prefix[] = "cuda:";
	int64_t number = 0;
	size_t n = 0;
	while (n < sizeof prefix - 1 && s[n] == prefix[n])
		n++;
	bool numbered = n == sizeof prefix - 1 && whole_number(s + n, &number) && number < 1000;
	o->device_id = (int32_t)number;
	o->device = numbered || ts_str_eq(s, "cuda") ? TESSERA_DEVICE_CUDA : ts_str_eq(s, "cpu") ? TESSERA_DEVICE_CPU : TESSERA_DEVICE_AUTO;
	return o->device != TESSERA_DEVICE_AUTO || ts_str_eq(s, "auto");
}

static int take(Options *o, int id, char *value)
{
	bool ok = true;
	switch (id) {
	case INPUT: ok = binding(value, o->in, &o->n_in); break;
	case OUTPUT: ok = binding(value, o->out, &o->n_out); break;
	case GRAPH: o->graph = value; break;
	case WEIGHTS: o->weights = value; break;
	case DEVICE: ok = device(value, o); break;
	case THREADS: ok = whole_number(value, &o->threads) && o->threads <= 4096; break;
	case BENCH: ok = whole_number(value, &o->bench) && o->bench > 0; break;
	case EXPLAIN: o->explain = true; break;
	default: o->help = true;
	}
	return ok ? 0 : fail(EXIT_USAGE, "option '%s' can't be '%s'; see --help", option_name[id], value);
}

/* --name value, --name=value */
static int options(int argc, char **argv, Options *o)
{
	int rc = 0;
	for (int i = 1; i < argc && !rc; i++) {
		char *name = argv[i], *value = name;
		TsNear near = { .wanted = name };
		int id = 0;
		while (*value && *value != '=')
			value++;
		bool joined = *value == '=' && name[0] == '-';
		if (joined)
			*value++ = 0;
		for (; id < N_OPTIONS && !ts_str_eq(name, option_name[id]); id++)
			ts_near_try(&near, option_name[id]);
		if (id == N_OPTIONS)
			rc = unknown("unknown option", &near);
		else if (id >= EXPLAIN)
			rc = joined ? fail(EXIT_USAGE, "option '%s' takes no value; see --help", name) : take(o, id, NULL);
		else if (joined || i + 1 < argc)
			rc = take(o, id, joined ? value : argv[++i]);
		else
			rc = fail(EXIT_USAGE, "option '%s' wants a value; see --help", name);
	}
	return rc;
}

/* ---- files ---- */

static int load(const TsPlanHeader *p, const TsPlanTensor *spec, const char *path, Held *h)
{
	const char *name = ts_plan_str(p, spec->name);
	const uint8_t *file = NULL;
	uint64_t n = 0;
	TsNpy npy;
	int64_t why = ts_map_regular(path, true, &file, &n);
	if (why)
		return fail(EXIT_ENVIRONMENT, "input '%s': cannot read '%s': %e", name, path, why);
	const char *wrong = ts_npy_read(file, n, &npy);
	if (wrong)
		return fail(EXIT_INPUT, "input '%s': cannot read '%s': %s", name, path, wrong);
	if (npy.offset + npy.bytes != n)
		return fail(EXIT_INPUT, "input '%s': '%s' has %u bytes behind its data", name, path, n - npy.offset - npy.bytes);
	if (!ts_npy_fits(&npy, spec->dtype))
		return fail(EXIT_INPUT, "input '%s': '%s' holds elements '%s', wanted %s", name, path, npy.descr, ts_plan_dtype_name(spec->dtype));
	int64_t step = 1;
	for (uint32_t i = 0; i < npy.rank; i++) {
		uint32_t axis = npy.fortran ? i : npy.rank - 1 - i;
		h->shape[axis] = npy.shape[axis];
		h->strides[axis] = step;
		step *= npy.bytes ? npy.shape[axis] : 1;
	}
	h->t = tessera_tensor((void *)(uintptr_t)(file + npy.offset), ts_plan_dtype_dl(spec->dtype), (int32_t)npy.rank, h->shape);
	h->t.strides = h->strides;
	return 0;
}

static int store(const TsPlanHeader *p, const TsPlanTensor *spec, const char *path, const Held *h)
{
	char header[TS_NPY_HEADER];
	TsPart parts[] = { { header, ts_npy_header(spec->dtype, spec->rank, h->shape, header) }, { h->host, h->bytes } };
	int64_t why = ts_write_parts(path, parts, 2);
	return why ? fail(EXIT_ENVIRONMENT, "output '%s': cannot write '%s': %e", ts_plan_str(p, spec->name), path, why) : 0;
}

/* ---- the run ---- */

typedef struct {
	Options o;
	const TsPlanHeader *p;
	const TsPlanEntry *en;
	const TsPlanTensor *tensor;
	int32_t graph;
	TesseraContext *cx;
	TesseraSession *s;
	DLDevice on;             /* where the session computes */
	Held *held;              /* [inputs + outputs] */
	const DLTensor **view;
} Program;

static const char *bound(const Binding *list, uint32_t n, const char *name)
{
	for (uint32_t i = 0; i < n; i++)
		if (ts_str_eq(list[i].name, name))
			return list[i].path;
	return NULL;
}

static int check_names(const Program *g, const Binding *list, uint32_t n, uint32_t first, uint32_t count, const char *kind)
{
	for (uint32_t i = 0; i < n; i++) {
		TsNear near = { .wanted = list[i].name };
		char what[512];
		TsText t = { what, 0, sizeof what, true };
		uint32_t k = first;
		for (; k < first + count && !ts_str_eq(list[i].name, ts_plan_str(g->p, g->tensor[k].name)); k++)
			ts_near_try(&near, ts_plan_str(g->p, g->tensor[k].name));
		ts_text_add(&t, "graph '%s' has no %s", ts_plan_str(g->p, g->en->name), kind);
		if (k == first + count)
			return unknown(what, &near);
		for (k = 0; k < i; k++)
			if (ts_str_eq(list[i].name, list[k].name))
				return fail(EXIT_USAGE, "%s '%s' is given twice", kind, list[i].name);
	}
	return 0;
}

/* no file is to take two results */
static int check_outputs(const Options *o)
{
	for (uint32_t i = 0; i < o->n_out; i++)
		for (uint32_t k = 0; k < i; k++)
			if (ts_same_file(o->out[i].path, o->out[k].path))
				return fail(EXIT_USAGE, "output '%s' and output '%s' would go into one file, '%s', which is '%s'", o->out[k].name, o->out[i].name,
				            o->out[k].path, o->out[i].path);
	return 0;
}

static int choose_graph(Program *g)
{
	g->graph = g->o.graph ? tessera_find_graph(&ts_model, g->o.graph) : 0;
	TsNear near = { .wanted = g->o.graph ? g->o.graph : "" };
	for (int32_t i = 0; g->graph < 0 && i < tessera_graph_count(&ts_model); i++)
		ts_near_try(&near, tessera_graph_name(&ts_model, i));
	if (g->graph < 0 || (uint32_t)g->graph >= g->p->entries.n)
		return unknown("there is no graph", &near);
	g->en = TS_PLAN_TABLE(g->p, TsPlanEntry, entries) + g->graph;
	g->tensor = TS_PLAN_TABLE(g->p, TsPlanTensor, tensors) + g->en->tensor;
	int rc = check_names(g, g->o.in, g->o.n_in, 0, g->en->n_inputs, "input");
	if (!rc)
		rc = check_names(g, g->o.out, g->o.n_out, g->en->n_inputs, g->en->n_outputs, "output");
	return rc ? rc : check_outputs(&g->o);
}

static int load_inputs(Program *g)
{
	uint32_t n = g->en->n_inputs + g->en->n_outputs;
	g->held = ts_pages((sizeof(Held) + sizeof(void *)) * n + 64);
	if (!g->held)
		return fail(EXIT_ENVIRONMENT, "no memory");
	g->view = (const DLTensor **)(void *)(g->held + n);
	for (uint32_t i = 0; i < g->en->n_inputs; i++) {
		const char *name = ts_plan_str(g->p, g->tensor[i].name), *path = bound(g->o.in, g->o.n_in, name);
		int rc = path ? load(g->p, &g->tensor[i], path, &g->held[i]) : fail(EXIT_USAGE, "input '%s' is missing: --input %s=FILE.npy", name, name);
		if (rc)
			return rc;
		g->view[i] = &g->held[i].t;
	}
	return 0;
}

/* what the runtime said: is it about the input, or about the machine? */
static int refused(const TesseraError *e)
{
	bool machine = e->code == TESSERA_FILE || e->code == TESSERA_NO_MEMORY || e->code == TESSERA_UNSUPPORTED || e->code == TESSERA_LOST;
	return fail(machine ? EXIT_ENVIRONMENT : EXIT_INPUT, "%s", e->message);
}

static int device_memory(Program *g, Held *h, TesseraError *e)
{
	h->t.device = g->on;
	return tessera_device_alloc(g->cx, h->bytes, &h->t.data, e) ? fail(EXIT_ENVIRONMENT, "%s", e->message) : 0;
}

/* inputs for a GPU: made compact here, copied there */
static int move_inputs(Program *g, TesseraError *e)
{
	for (uint32_t i = 0; i < g->en->n_inputs && g->on.device_type != kDLCPU; i++) {
		Held *h = &g->held[i];
		TsArg a;
		if (ts_arg_read(g->p, &g->tensor[i], "input", (DLDevice){ kDLCPU, 0 }, &h->t, true, &a, e))
			return fail(EXIT_INPUT, "%s", e->message);
		void *compact = ts_pages((size_t)a.bytes + 64);
		if (!compact)
			return fail(EXIT_ENVIRONMENT, "no memory for %d bytes of input '%s'", a.bytes, ts_plan_str(g->p, g->tensor[i].name));
		ts_arg_gather(compact, &a);
		h->bytes = (uint64_t)a.bytes;
		h->t.strides = NULL;
		if (device_memory(g, h, e))
			return EXIT_ENVIRONMENT;
		if (tessera_copy(g->cx, h->t.data, compact, h->bytes, e))
			return fail(EXIT_ENVIRONMENT, "%s", e->message);
		ts_pages_free(compact, (size_t)a.bytes + 64);
	}
	return 0;
}

static int make_outputs(Program *g, TesseraError *e)
{
	for (uint32_t i = 0; i < g->en->n_outputs; i++) {
		const TsPlanTensor *spec = &g->tensor[g->en->n_inputs + i];
		Held *h = &g->held[g->en->n_inputs + i];
		int64_t count = 1, bytes;
		int32_t rank;
		if (tessera_output_shape(g->s, g->graph, g->view, (int32_t)g->en->n_inputs, (int32_t)i, h->shape, &rank, e))
			return fail(EXIT_INPUT, "%s", e->message);
		for (int32_t k = 0; k < rank; k++)
			if (__builtin_mul_overflow(count, h->shape[k], &count))
				return fail(EXIT_INPUT, "output '%s': its sizes multiply to more than 2^63", ts_plan_str(g->p, spec->name));
		if (!ts_plan_bytes(spec->dtype, count, &bytes) || bytes < 0)
			return fail(EXIT_INPUT, "output '%s': it would take more than 2^63 bytes", ts_plan_str(g->p, spec->name));
		void *data = ts_pages((size_t)bytes + 64);
		if (!data)
			return fail(EXIT_ENVIRONMENT, "no memory for %d bytes of output '%s'", bytes, ts_plan_str(g->p, spec->name));
		h->t = tessera_tensor(data, ts_plan_dtype_dl(spec->dtype), rank, h->shape);
		h->bytes = (uint64_t)bytes;
		h->host = data;
		if (g->on.device_type != kDLCPU && device_memory(g, h, e))
			return EXIT_ENVIRONMENT;
		g->view[g->en->n_inputs + i] = &h->t;
	}
	return 0;
}

/* results to where they are written from, and what lies on a GPU back to it */
static int fetch_outputs(Program *g, TesseraError *e)
{
	uint32_t n = g->en->n_inputs + g->en->n_outputs;
	for (uint32_t i = 0; i < n && g->on.device_type != kDLCPU; i++) {
		Held *h = &g->held[i];
		if (i >= g->en->n_inputs && tessera_copy(g->cx, h->host, h->t.data, h->bytes, e))
			return fail(EXIT_ENVIRONMENT, "%s", e->message);
		tessera_device_release(g->cx, h->t.data, h->bytes, NULL);
	}
	return 0;
}

static int64_t now(void)
{
	int64_t t[2];
	ts_sys3(228 /* clock_gettime */, 1 /* monotonic */, (int64_t)(intptr_t)t, 0);
	return t[0] * 1000000000 + t[1];
}

static void explain_line(void *user, const char *text)
{
	(void)user;
	say(1, "%s\n", text);
}

static int compute(Program *g, TesseraError *e)
{
	int64_t n = g->o.bench ? g->o.bench : 1, best = INT64_MAX, first = now(), total = 0;
	for (int64_t i = 0; i < n; i++) {
		int64_t start = now();
		if (tessera_run(g->s, g->graph, g->view, (int32_t)g->en->n_inputs, g->view + g->en->n_inputs, (int32_t)g->en->n_outputs, NULL, e) ||
		    tessera_wait(g->cx, NULL, e))
			return refused(e);
		int64_t took = now() - start;
		best = took < best ? took : best;
	}
	total = now() - first;
	if (g->o.bench)
		say(1, "%d runs, best %d ns, mean %d ns\n", n, best, total / n);
	if (g->o.explain)
		tessera_explain(g->s, explain_line, NULL, e);
	return 0;
}

static int open_session(Program *g, TesseraError *e)
{
	TesseraContextOptions co = { .threads = (int32_t)g->o.threads, .weights = g->o.weights, .device = g->o.device, .device_id = g->o.device_id };
	int32_t rc = ts_context_create(&ts_model, &co, &ts_threads_own, &g->cx, e);
	if (!rc)
		rc = tessera_session_create(&ts_model, g->cx, NULL, &g->s, e);
	if (!rc) {
		TesseraDeviceInfo info;
		tessera_device(g->cx, &info);
		g->on = info.device;
		if (*info.note)
			say(2, "note: %s%s\n", g->on.device_type == kDLCPU ? "on the CPU: " : "", info.note);
	}
	return rc ? refused(e) : 0;
}

static int store_outputs(Program *g)
{
	int rc = 0;
	for (uint32_t i = 0; i < g->en->n_outputs && !rc; i++) {
		const TsPlanTensor *spec = &g->tensor[g->en->n_inputs + i];
		const char *name = ts_plan_str(g->p, spec->name), *path = bound(g->o.out, g->o.n_out, name);
		if (path && !ts_npy_descr(spec->dtype))
			rc = fail(EXIT_INPUT, "output '%s': .npy files can't hold %s", name, ts_plan_dtype_name(spec->dtype));
		else if (path)
			rc = store(g->p, spec, path, &g->held[g->en->n_inputs + i]);
	}
	return rc;
}

static int program(int argc, char **argv)
{
	Program g = { 0 };
	TesseraError e = { 0 };
	int rc = options(argc, argv, &g.o);
	if (rc)
		return rc;
	const char *wrong = ts_plan_check(ts_model.plan, ts_model.plan_bytes);
	if (wrong)
		return fail(EXIT_INPUT, "this program is damaged: %s", wrong);
	g.p = ts_model.plan;
	if (g.o.help || argc == 1) {
		help(g.p);
		return g.o.help ? 0 : EXIT_USAGE;
	}
	if ((rc = choose_graph(&g)) || (rc = load_inputs(&g)) || (rc = open_session(&g, &e)) || (rc = move_inputs(&g, &e)) || (rc = make_outputs(&g, &e)) || (rc = compute(&g, &e)) ||
	    (rc = fetch_outputs(&g, &e)))
		return rc;
	rc = store_outputs(&g);
	tessera_session_destroy(g.s);
	tessera_context_destroy(g.cx);
	return rc;
}

__attribute__((used)) void ts_exe_main(int64_t *stack);
void ts_exe_main(int64_t *stack)
{
	ts_sys3(TS_SYS_EXIT_GROUP, program((int)stack[0], (char **)(void *)(stack + 1)), 0, 0);
	__builtin_unreachable();
}

/* the kernel enters here: argc at the top of the stack, then argv */
__attribute__((naked, noreturn)) void ts_exe_start(void);
void ts_exe_start(void) { __asm__("xor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall ts_exe_main\n\thlt"); }
