/* The artifact as a custom call of XLA: NAME_xla, which JAX reaches by jax.ffi. XLA hands over buffers and, on a GPU, a stream; a session of a
 * pool computes, and what is wrong goes back as XLA's error with our words. Sessions belong to a device and a stream, and to the sizes they were
 * used with last, so that a program that calls one artifact with several sizes prepares each once.
 *
 * On a GPU only kernels are enqueued, but the first call with a size prepares, which a stream that is being captured forbids, and a captured
 * graph would use a session's workspace long after the call. So the handler does not claim to be compatible with command buffers: XLA then
 * calls it between those. */
#include "rtlib/rt.h"
#include "rtlib/xla_abi.h"

enum { KEPT = 4 }; /* sessions of a graph that lie idle on a stream, before the oldest takes other sizes */

typedef struct Use {
	struct Use *next;
	TesseraSession *session;
	TesseraContext *cx;
	void *stream;
	uint64_t sizes;               /* of the last call, hashed */
	int32_t graph;
	uint32_t n_in, n_out;
	const DLTensor **at;          /* [n_in + n_out] */
	DLTensor tensor[];
} Use;

typedef struct Place {            /* a device */
	struct Place *next;
	DLDevice device;
	TesseraContext *cx;
	Use *idle;                    /* the last used first */
} Place;

/* XLA knows a function and nothing else, so this is the one state of the runtime that belongs to the process. It is never torn down. */
static struct { TsLock lock; Place *places; TesseraContextSource *source; void *user; } pool;

/* ---- errors ---- */

static XlaError *tell(const XlaFrame *f, const TesseraError *e)
{
	static const int32_t codes[] = { [TESSERA_INVALID] = XLA_INVALID_ARGUMENT, [TESSERA_NO_MEMORY] = XLA_RESOURCE_EXHAUSTED, [TESSERA_RANGE] = XLA_OUT_OF_RANGE,
	                                 [TESSERA_UNSUPPORTED] = XLA_UNIMPLEMENTED, [TESSERA_LOST] = 0 };
	const XlaApi *api = XLA_HAS(f, api) ? f->api : NULL;
	int32_t known = e->code > 0 && e->code <= TESSERA_LOST ? codes[e->code] : 0;
	XlaErrorCreate make = { XLA_SIZE(XlaErrorCreate, code), NULL, e->message, known ? known : XLA_INTERNAL };
	if (!api || !XLA_HAS(api, error_create) || !api->error_create)
		return NULL; /* a caller that takes no errors */
	return api->error_create(&make);
}

static void drop_error(const XlaApi *api, XlaError *error)
{
	XlaErrorDestroy drop = { XLA_SIZE(XlaErrorDestroy, error), NULL, error };
	if (XLA_HAS(api, error_destroy) && api->error_destroy)
		api->error_destroy(&drop);
}

/* ---- what XLA asks before it calls ---- */

static const XlaExtension *metadata_asked(const XlaFrame *f)
{
	const XlaExtension *x = f->extensions;
	while (x && !(XLA_HAS(x, next) && x->type == XLA_EXTENSION_METADATA))
		x = XLA_HAS(x, next) ? x->next : NULL;
	return x;
}

static void tell_metadata(const XlaExtension *x)
{
	XlaMetadata *m = ((const XlaMetadataExtension *)(const void *)x)->metadata;
	if (!m || !XLA_HAS(m, traits))
		return;
	m->version.major = XLA_MAJOR;
	m->version.minor = XLA_MINOR;
	m->traits = 0;
	if (XLA_HAS(m, state_type))
		m->state_type = 0; /* there is none */
}

/* ---- where the call runs ---- */

/* XLA has a stream on a GPU alone, and gives an error elsewhere */
static int32_t find_device(const XlaFrame *f, DLDevice *device, void **stream, TesseraError *e)
{
	const XlaApi *api = f->api;
	XlaStreamGet get = { XLA_SIZE(XlaStreamGet, stream), NULL, f->context, NULL };
	XlaOrdinalGet number = { XLA_SIZE(XlaOrdinalGet, ordinal), NULL, f->context, 0 };
	*device = (DLDevice){ kDLCPU, 0 };
	*stream = NULL;
	XlaError *error = XLA_HAS(api, stream_get) && api->stream_get ? api->stream_get(&get) : NULL;
	if (error)
		drop_error(api, error);
	if (error || !XLA_HAS(api, stream_get) || !api->stream_get)
		return TESSERA_OK;
	if (!XLA_HAS(api, ordinal_get) || !api->ordinal_get)
		return ts_fail(e, TESSERA_VERSION, "this XLA can't say on which GPU it calls; jaxlib 0.10 can");
	if ((error = api->ordinal_get(&number))) {
		drop_error(api, error);
		return ts_fail(e, TESSERA_INVALID, "XLA does not say on which GPU it calls");
	}
	*device = (DLDevice){ kDLCUDA, number.ordinal };
	*stream = get.stream;
	return TESSERA_OK;
}

void ts_xla_contexts(TesseraContextSource *source, void *user)
{
	ts_lock(&pool.lock);
	pool.source = source;
	pool.user = user;
	ts_unlock(&pool.lock);
}

static TesseraContext *make_context(const TesseraModel *m, DLDevice device, TesseraError *e)
{
	TesseraContextOptions o = { .size = sizeof o, .device = (int32_t)device.device_type, .device_id = device.device_id };
	TesseraContext *cx = NULL;
	if (pool.source)
		return pool.source(pool.user, device, e);
	m->api->context_create(m, &o, &cx, e);
	return cx;
}

/* the device's place, made at the first call; the caller holds the lock */
static Place *find_place(const TesseraModel *m, DLDevice device, TesseraError *e)
{
	Place *p = pool.places;
	while (p && (p->device.device_type != device.device_type || p->device.device_id != device.device_id))
		p = p->next;
	if (p)
		return p;
	TesseraContext *cx = make_context(m, device, e);
	if (!cx)
		return NULL;
	if (!(p = cx->api->alloc(cx, sizeof *p, 64))) {
		ts_fail(e, TESSERA_NO_MEMORY, "no memory for %u bytes", (uint64_t)sizeof *p);
		return NULL;
	}
	*p = (Place){ pool.places, device, cx, NULL };
	pool.places = p;
	return p;
}

/* ---- sessions ---- */

/* An idle session of the stream that had these sizes; else, where there are enough of them, the one that is idle longest. */
static Use *take_idle(Place *p, int32_t graph, void *stream, uint64_t sizes)
{
	Use **oldest = NULL;
	uint32_t n = 0;
	for (Use **at = &p->idle; *at; at = &(*at)->next) {
		if ((*at)->stream != stream || (*at)->graph != graph)
			continue;
		oldest = at;
		n++;
		if ((*at)->sizes == sizes)
			break;
	}
	Use *u = oldest && ((*oldest)->sizes == sizes || n >= KEPT) ? *oldest : NULL;
	if (u)
		*oldest = u->next;
	return u;
}

static Use *make_use(const TesseraModel *m, TesseraContext *cx, int32_t graph, void *stream, TesseraError *e)
{
	int32_t n_in = m->api->graph_inputs(m, graph), n_out = m->api->graph_outputs(m, graph);
	TesseraSession *s = NULL;
	if (n_in < 0 || n_out < 0) {
		ts_fail(e, TESSERA_INVALID, "attribute 'graph' is %d, model '%s' has %d", (int64_t)graph, m->name, (int64_t)m->api->graph_count(m));
		return NULL;
	}
	size_t n = (size_t)n_in + (size_t)n_out, bytes = sizeof(Use) + n * (sizeof(DLTensor) + sizeof(DLTensor *));
	if (m->api->session_create(m, cx, NULL, &s, e))
		return NULL;
	Use *u = cx->api->alloc(cx, bytes, 64);
	if (!u) {
		m->api->session_destroy(s);
		ts_fail(e, TESSERA_NO_MEMORY, "no memory for %u bytes", (uint64_t)bytes);
		return NULL;
	}
	memset(u, 0, bytes);
	*u = (Use){ .session = s, .cx = cx, .stream = stream, .graph = graph, .n_in = (uint32_t)n_in, .n_out = (uint32_t)n_out };
	u->at = (const DLTensor **)(void *)(u->tensor + n);
	return u;
}

static Use *take(const TesseraModel *m, DLDevice device, int32_t graph, void *stream, uint64_t sizes, TesseraError *e)
{
	ts_lock(&pool.lock);
	Place *p = find_place(m, device, e);
	Use *u = p ? take_idle(p, graph, stream, sizes) : NULL;
	ts_unlock(&pool.lock);
	if (p && !u)
		u = make_use(m, p->cx, graph, stream, e);
	if (u)
		u->sizes = sizes;
	return u;
}

static void give_back(Use *u, DLDevice device)
{
	ts_lock(&pool.lock);
	Place *p = pool.places;
	while (p->device.device_type != device.device_type || p->device.device_id != device.device_id)
		p = p->next;
	u->next = p->idle;
	p->idle = u;
	ts_unlock(&pool.lock);
}

/* ---- buffers ---- */

static DLDataType type_of(int32_t xla)
{
	static const DLDataType types[] = {
		[XLA_PRED] = { kDLBool, 8, 1 }, [XLA_S8] = { kDLInt, 8, 1 }, [XLA_S16] = { kDLInt, 16, 1 }, [XLA_S32] = { kDLInt, 32, 1 }, [XLA_S64] = { kDLInt, 64, 1 },
		[XLA_U8] = { kDLUInt, 8, 1 }, [XLA_U16] = { kDLUInt, 16, 1 }, [XLA_U32] = { kDLUInt, 32, 1 }, [XLA_U64] = { kDLUInt, 64, 1 },
		[XLA_F16] = { kDLFloat, 16, 1 }, [XLA_F32] = { kDLFloat, 32, 1 }, [XLA_F64] = { kDLFloat, 64, 1 }, [XLA_BF16] = { kDLBfloat, 16, 1 },
		[XLA_C64] = { kDLComplex, 64, 1 }, [XLA_C128] = { kDLComplex, 128, 1 }, [XLA_F8E5M2] = { kDLFloat8_e5m2, 8, 1 }, [XLA_F8E4M3FN] = { kDLFloat8_e4m3fn, 8, 1 },
	};
	return xla > 0 && (size_t)xla < sizeof types / sizeof *types ? types[xla] : (DLDataType){ 0, 0, 0 };
}

/* Everything about a list but what its tensors should be, which the session says. */
static int32_t check_list(const XlaList *l, const char *what, TesseraError *e)
{
	if (!XLA_HAS(l, at) || l->n < 0 || (l->n && (!l->kinds || !l->at)))
		return ts_fail(e, TESSERA_VERSION, "XLA's list of %ss can't be read: %u bytes for %d %ss", what, (uint64_t)l->size, l->n, what);
	for (int64_t i = 0; i < l->n; i++) {
		const XlaBuffer *b = l->at[i];
		if (l->kinds[i] != XLA_BUFFER || !b || !XLA_HAS(b, dims))
			return ts_fail(e, TESSERA_INVALID, "%s %d is no buffer", what, i);
		if (b->rank < 0 || b->rank > TS_MAX_RANK || (b->rank && !b->dims))
			return ts_fail(e, TESSERA_INVALID, "%s %d: rank is %d, wanted 0 to %d", what, i, b->rank, (int64_t)TS_MAX_RANK);
		if (!type_of(b->dtype).lanes)
			return ts_fail(e, TESSERA_INVALID, "%s %d: XLA's element type %d is none that Tessera computes with", what, i, (int64_t)b->dtype);
	}
	return TESSERA_OK;
}

static uint64_t add_sizes(uint64_t hash, const XlaList *l)
{
	for (int64_t i = 0; i < l->n; i++) {
		const XlaBuffer *b = l->at[i];
		for (int64_t k = 0; k < b->rank; k++)
			hash = (hash ^ (uint64_t)b->dims[k]) * 0x9e3779b97f4a7c15u;
	}
	return hash;
}

static void read_list(Use *u, uint32_t first, const XlaList *l, DLDevice device)
{
	for (int64_t i = 0; i < l->n; i++) {
		const XlaBuffer *b = l->at[i];
		u->tensor[first + i] = (DLTensor){ .data = b->data, .device = device, .ndim = (int32_t)b->rank, .dtype = type_of(b->dtype), .shape = b->dims };
		u->at[first + i] = &u->tensor[first + i];
	}
}

/* ---- the call ---- */

/* the attribute `graph`: which graph of the model; the first where there is no such attribute, -1 where it says none */
static int32_t find_graph(const XlaAttributes *a)
{
	if (!XLA_HAS(a, at) || a->n <= 0)
		return 0;
	if (!a->kinds || !a->names || !a->at)
		return -1;
	for (int64_t i = 0; i < a->n; i++) {
		const XlaText *name = a->names[i];
		const XlaScalar *x = a->at[i];
		if (!name || name->n != 5 || memcmp(name->p, "graph", 5))
			continue;
		if (a->kinds[i] != XLA_ATTRIBUTE_SCALAR || !x || !x->value || (x->dtype != XLA_S32 && x->dtype != XLA_S64))
			return -1;
		int64_t n = x->dtype == XLA_S32 ? *(const int32_t *)x->value : *(const int64_t *)x->value;
		return n < 0 || n > INT32_MAX ? -1 : (int32_t)n;
	}
	return 0;
}

static int32_t execute(const XlaFrame *f, const TesseraModel *m, TesseraError *e)
{
	DLDevice device;
	void *stream;
	int32_t graph = find_graph(&f->attributes), rc;
	if ((rc = find_device(f, &device, &stream, e)) || (rc = check_list(&f->args, "argument", e)) || (rc = check_list(&f->rets, "result", e)))
		return rc;
	Use *u = take(m, device, graph, stream, add_sizes(add_sizes(1, &f->args), &f->rets), e);
	if (!u)
		return TESSERA_INVALID;
	if (f->args.n != u->n_in || f->rets.n != u->n_out) {
		rc = ts_fail(e, TESSERA_INVALID, "graph '%s' takes %d arguments and gives %d results, found %d and %d", m->api->graph_name(m, graph), (int64_t)u->n_in,
		             (int64_t)u->n_out, f->args.n, f->rets.n);
	} else {
		read_list(u, 0, &f->args, device);
		read_list(u, u->n_in, &f->rets, device);
		rc = m->api->run(u->session, graph, u->at, (int32_t)u->n_in, u->at + u->n_in, (int32_t)u->n_out, stream, e);
	}
	give_back(u, device);
	return rc;
}

/* What NAME_xla jumps to, with its model behind XLA's argument (emit/artifact.c). */
XlaError *ts_xla_call(XlaFrame *f, const TesseraModel *m);
XlaError *ts_xla_call(XlaFrame *f, const TesseraModel *m)
{
	TesseraError e = { 0 };
	if (!f || !XLA_HAS(f, extensions))
		return NULL; /* there is nobody to tell */
	const XlaExtension *asked = metadata_asked(f);
	if (asked) {
		tell_metadata(asked);
		return NULL;
	}
	if (!XLA_HAS(f, attributes) || !f->api) {
		ts_fail(&e, TESSERA_VERSION, "XLA's call has %u bytes, wanted %u; Tessera knows version %d.%d of its interface", (uint64_t)f->size,
		        (uint64_t)XLA_SIZE(XlaFrame, attributes), (int64_t)XLA_MAJOR, (int64_t)XLA_MINOR);
		return tell(f, &e);
	}
	if (f->stage != XLA_STAGE_EXECUTE)
		return NULL;
	return execute(f, m, &e) ? tell(f, &e) : NULL;
}
