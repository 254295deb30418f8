/* Elements out of a tensor: strided memory as compact memory, copies between devices, and one element as a Python scalar. */
#include "python/core/device.h"
#include <string.h>

enum { MOST_COPIES = 1024 }; /* that the runtime makes of a strided argument on a GPU */

/* ---- strided to compact ---- */

typedef struct { int n; int64_t count[CORE_RANK], step[CORE_RANK]; } Axes; /* outermost first; steps in bytes */

/* axes of one element go, and axes that lie as if they were one become one */
static Axes axes_of(const CoreTensor *t)
{
	Axes a = { 0 };
	for (int i = 0; i < t->dl.ndim; i++) {
		int64_t count = t->dl.shape[i], step = t->dl.strides[i] * t->dtype->bytes;
		if (count == 1)
			continue;
		if (a.n && a.step[a.n - 1] == step * count) {
			a.count[a.n - 1] *= count;
			a.step[a.n - 1] = step;
			continue;
		}
		a.count[a.n] = count;
		a.step[a.n++] = step;
	}
	return a;
}

/* as rtlib/cuda_copy.c cuts them: one axis of neighbours, one that a pitch follows, a rectangle for each index of the others */
bool core_is_scattered(const CoreTensor *t)
{
	int64_t copies = 1, width = t->dtype->bytes;
	int pitched = -1;
	Axes a = axes_of(t);
	if (t->compact)
		return false;
	if (a.n && a.step[a.n - 1] == width)
		width *= a.count[--a.n];
	for (int i = 0; i < a.n; i++)
		if (a.step[i] >= width && a.step[i] <= INT32_MAX && (pitched < 0 || a.count[i] > a.count[pitched]))
			pitched = i;
	for (int i = 0; i < a.n; i++)
		if (i != pitched && (__builtin_mul_overflow(copies, a.count[i], &copies) || copies > MOST_COPIES))
			return true;
	return false;
}

static uint8_t *row(uint8_t *to, const uint8_t *from, int64_t count, int64_t step, int64_t elem)
{
	if (step == elem)
		return (uint8_t *)memcpy(to, from, (size_t)(count * elem)) + count * elem;
#define ROW(type) \
	for (int64_t i = 0; i < count; i++, to += sizeof(type), from += step) \
		memcpy(to, from, sizeof(type))
	switch (elem) {
	case 1: ROW(uint8_t); break;
	case 2: ROW(uint16_t); break;
	case 4: ROW(uint32_t); break;
	default: ROW(uint64_t); break;
	}
#undef ROW
	return to;
}

void core_gather(const CoreTensor *t, void *compact)
{
	const uint8_t *from = t->dl.data;
	uint8_t *to = compact;
	int64_t index[CORE_RANK] = { 0 };
	if (!t->count)
		return;
	if (t->compact) {
		memcpy(to, from, (size_t)core_bytes(t->dtype, t->count));
		return;
	}
	Axes a = axes_of(t);
	for (;;) {
		to = row(to, from, a.count[a.n - 1], a.step[a.n - 1], t->dtype->bytes);
		int i = a.n - 2;
		for (; i >= 0; i--) {
			from += a.step[i];
			if (++index[i] < a.count[i])
				break;
			from -= a.step[i] * a.count[i];
			index[i] = 0;
		}
		if (i < 0)
			return;
	}
}

/* ---- copies ---- */

/* every element between the first and the last address that a tensor of a GPU names, on the host; *lo: bytes before element 0 */
static CoreStorage *fetch_span(CoreTensor *t, int64_t *lo)
{
	int64_t hi = t->dtype->bytes ? t->dtype->bytes : core_bytes(t->dtype, t->count);
	*lo = 0;
	for (int i = 0; i < t->dl.ndim && t->dtype->bytes; i++)
		*(t->dl.strides[i] < 0 ? lo : &hi) += t->dl.strides[i] * (t->dl.shape[i] - 1) * t->dtype->bytes;
	CoreStorage *s = core_storage_new((uint64_t)(hi - *lo), (DLDevice){ kDLCPU, 0 });
	if (s && core_copy(s->device, s->memory, t->dl.device, (uint8_t *)t->dl.data + *lo, (uint64_t)(hi - *lo))) {
		core_storage_drop(s);
		return NULL;
	}
	return s;
}

/* a strided tensor of a GPU by way of the host */
static CoreTensor *gather_by_host(CoreTensor *t)
{
	int64_t lo;
	CoreStorage *s = fetch_span(t, &lo);
	CoreTensor *span = s ? core_tensor_over(core_tensor_type, s, t->dtype, s->memory - lo, t->dl.ndim, t->dl.shape, t->dl.strides, false) : NULL;
	CoreTensor *out = span ? core_tensor_empty(t->dtype, t->dl.ndim, t->dl.shape, s->device) : NULL;
	if (out)
		core_gather(span, out->dl.data);
	core_tensor_drop(span);
	return out;
}

CoreTensor *core_copy_to(CoreTensor *t, DLDevice device)
{
	uint64_t bytes = (uint64_t)core_bytes(t->dtype, t->count);
	CoreTensor *host = NULL, *out;
	if (!t->compact && !core_on_host(t->dl.device)) {
		host = gather_by_host(t);
		if (!host || core_on_host(device))
			return host;
		t = host;
	}
	out = core_tensor_empty(t->dtype, t->dl.ndim, t->dl.shape, device);
	if (out && !t->compact && core_on_host(device)) {
		core_gather(t, out->dl.data);
	} else if (out && !t->compact) {
		host = core_copy_to(t, t->dl.device);
		if (!host || core_copy(device, out->dl.data, host->dl.device, host->dl.data, bytes))
			Py_CLEAR(out);
	} else if (out && bytes && core_copy(device, out->dl.data, t->dl.device, t->dl.data, bytes)) {
		Py_CLEAR(out);
	}
	core_tensor_drop(host);
	return out;
}

PyObject *core_tensor_copy_to(PyObject *self, PyObject *device)
{
	DLDevice d;
	return core_device_from(device, &d) ? NULL : (PyObject *)core_copy_to((CoreTensor *)self, d);
}

PyObject *core_tensor_copy_from(PyObject *self, PyObject *source)
{
	CoreTensor *t = (CoreTensor *)self, *from = (CoreTensor *)source;
	if (!core_is_tensor(source))
		return PyErr_Format(PyExc_TypeError, "_copy_from: wanted a tensor, found %R", (PyObject *)Py_TYPE(source));
	if (t->read_only || !t->compact)
		return PyErr_Format(PyExc_ValueError, t->read_only ? "a tensor that is read-only cannot be written" : "a tensor that is not compact cannot be written whole");
	if (t->dtype != from->dtype || t->dl.ndim != from->dl.ndim || memcmp(t->dl.shape, from->dl.shape, sizeof *t->dl.shape * (size_t)t->dl.ndim))
		return PyErr_Format(PyExc_ValueError, "_copy_from: the two differ in element type or shape");
	CoreTensor *compact = from->compact ? from : core_copy_to(from, from->dl.device);
	uint64_t bytes = (uint64_t)core_bytes(t->dtype, t->count);
	bool bad = !compact || (bytes && core_copy(t->dl.device, t->dl.data, compact->dl.device, compact->dl.data, bytes));
	if (compact != from)
		core_tensor_drop(compact);
	return bad ? NULL : Py_NewRef(Py_None);
}

PyObject *core_tensor_tobytes(PyObject *self, PyObject *unused)
{
	CoreTensor *t = (CoreTensor *)self;
	int64_t bytes = core_bytes(t->dtype, t->count);
	(void)unused;
	if (core_on_host(t->dl.device)) {
		PyObject *out = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)bytes);
		if (out)
			core_gather(t, PyBytes_AsString(out));
		return out;
	}
	CoreTensor *host = core_copy_to(t, (DLDevice){ kDLCPU, 0 });
	PyObject *out = host ? PyBytes_FromStringAndSize(host->dl.data, (Py_ssize_t)bytes) : NULL;
	core_tensor_drop(host);
	return out;
}

/* ---- scalars ---- */

/* sign, exponent and mantissa of a small float as a double; special says how the largest exponent is read */
typedef enum { SPECIAL_IEEE, SPECIAL_NAN_ONLY, SPECIAL_NONE } Special;
static double small_float(uint32_t bits, int exponent, int mantissa, Special special)
{
	int bias = (1 << (exponent - 1)) - 1, all = (1 << exponent) - 1;
	uint32_t e = bits >> mantissa & (uint32_t)all, m = bits & ((1u << mantissa) - 1);
	double sign = bits >> (exponent + mantissa) & 1 ? -1 : 1;
	if (special == SPECIAL_IEEE && e == (uint32_t)all)
		return m ? __builtin_nan("") : sign * __builtin_inf();
	if (special == SPECIAL_NAN_ONLY && e == (uint32_t)all && m == (1u << mantissa) - 1)
		return __builtin_nan("");
	return sign * (e ? __builtin_ldexp((double)(m | 1u << mantissa), (int)e - bias - mantissa) : __builtin_ldexp(m, 1 - bias - mantissa));
}

static PyObject *float_item(const CoreDtype *t, uint64_t bits)
{
	union { uint32_t u; float f; } single = { (uint32_t)bits };
	union { uint64_t u; double f; } twice = { bits };
	switch (t->dl.code) {
	case kDLFloat: return PyFloat_FromDouble(t->bytes == 8 ? twice.f : t->bytes == 4 ? (double)single.f : small_float((uint32_t)bits, 5, 10, SPECIAL_IEEE));
	case kDLBfloat: single.u = (uint32_t)bits << 16; return PyFloat_FromDouble(single.f);
	case kDLFloat8_e4m3fn: return PyFloat_FromDouble(small_float((uint32_t)bits, 4, 3, SPECIAL_NAN_ONLY));
	case kDLFloat8_e5m2: return PyFloat_FromDouble(small_float((uint32_t)bits, 5, 2, SPECIAL_IEEE));
	case kDLFloat6_e2m3fn: return PyFloat_FromDouble(small_float((uint32_t)bits & 63, 2, 3, SPECIAL_NONE));
	case kDLFloat6_e3m2fn: return PyFloat_FromDouble(small_float((uint32_t)bits & 63, 3, 2, SPECIAL_NONE));
	default: return PyFloat_FromDouble(small_float((uint32_t)bits & 15, 2, 1, SPECIAL_NONE)); /* fp4_e2m1 */
	}
}

PyObject *core_item(const CoreDtype *t, const void *element)
{
	uint64_t bits = 0;
	float part[2];
	memcpy(&bits, element, t->bytes ? t->bytes : 1);
	int width = t->bytes ? t->bytes * 8 : 4;
	switch (t->dl.code) {
	case kDLBool: return PyBool_FromLong(bits != 0);
	case kDLUInt: return PyLong_FromUnsignedLongLong(bits);
	case kDLInt: return PyLong_FromLongLong((int64_t)(bits << (64 - width)) >> (64 - width));
	case kDLComplex: memcpy(part, element, sizeof part); return PyComplex_FromDoubles((double)part[0], (double)part[1]);
	default: return float_item(t, bits);
	}
}

PyObject *core_tensor_item(PyObject *self, PyObject *unused)
{
	CoreTensor *t = (CoreTensor *)self;
	char text[512];
	uint8_t element[8];
	uint64_t bytes = t->dtype->bytes ? t->dtype->bytes : 1;
	(void)unused;
	if (t->count != 1)
		return PyErr_Format(PyExc_ValueError, "a scalar is made of a tensor of one element, found %s", core_shape_text(text, sizeof text, t->dl.dtype, t->dl.ndim, t->dl.shape));
	if (core_copy((DLDevice){ kDLCPU, 0 }, element, t->dl.device, t->dl.data, bytes))
		return NULL;
	return core_item(t->dtype, element);
}
