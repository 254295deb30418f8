/* Arguments of a call: any library's tensor as a DLTensor, and Python's numbers as elements. */
#include "python/core/call.h"
#include <math.h>
#include <string.h>

static void keep_dims(CoreArg *a)
{
	size_t n = (size_t)a->dl.ndim;
	memcpy(a->dims, a->dl.shape, n * sizeof(int64_t));
	if (a->dl.strides)
		memcpy(a->dims + n, a->dl.strides, n * sizeof(int64_t));
	a->dl.strides = a->dl.strides ? a->dims + n : NULL;
	a->dl.shape = a->dims;
}

static int by_tensor(CoreArg *a, CoreTensor *t)
{
	a->dl = t->dl;
	a->storage = t->storage;
	return 0;
}

/* what lies elsewhere than on the CPU or a GPU, or has too many axes, goes the slow way, which says so */
static bool is_plain(const DLTensor *d)
{
	return d->ndim <= CORE_RANK && (core_on_host(d->device) || (d->device.device_type == kDLCUDA && d->device.device_id >= 0));
}

int core_arg_read(PyObject *o, CoreArg *a)
{
	a->made = NULL;
	a->storage = NULL;
	a->object = o;
	a->api = NULL;
	if (core_is_tensor(o)) {
		a->kind = CORE_KIND_TS;
		return by_tensor(a, (CoreTensor *)o);
	}
	if (PyFloat_Check(o) || PyLong_Check(o)) {
		a->kind = CORE_KIND_SCALAR;
		a->dl = (DLTensor){ .device = { kDLCPU, 0 } };
		return 0;
	}
	CoreForeign f = core_foreign(Py_TYPE(o));
	a->kind = f.kind;
	a->api = f.api;
	if (f.api && f.api->dltensor_from_py_object_no_sync) {
		if (!f.api->dltensor_from_py_object_no_sync(o, &a->dl) && is_plain(&a->dl)) {
			keep_dims(a); /* the owner may resize it while the GIL is not held */
			return f.kind == CORE_KIND_TORCH ? core_check_torch(o, &a->dl) : 0;
		}
		PyErr_Clear();
	}
	a->made = core_tensor_from(o);
	return a->made ? by_tensor(a, a->made) : -1;
}

void core_arg_drop(CoreArg *a)
{
	core_tensor_drop(a->made);
	a->made = NULL;
}

/* ---- numbers ---- */

static bool is_float(const CoreDtype *t) { return t->dl.code == kDLFloat || t->dl.code == kDLBfloat || t->dl.code == kDLComplex; }

bool core_scalar_fits(PyObject *o, const CoreDtype *t)
{
	if (PyBool_Check(o))
		return t->dl.code == kDLBool || is_float(t) || (t->dl.code == kDLInt && t->bytes);
	if (PyLong_Check(o))
		return is_float(t) || ((t->dl.code == kDLInt || t->dl.code == kDLUInt) && t->bytes);
	return is_float(t);
}

/* to nearest, ties to even, of the upper 16 bits */
static uint16_t to_bf16(double x)
{
	union { float f; uint32_t u; } v = { (float)x };
	double back = (double)v.f;
	if (x != x)
		return (uint16_t)(v.u >> 16 | 0x40);
	if (!(v.u & 0xffff) || isinf(back))
		return (uint16_t)(v.u >> 16);
	/* a float that was itself rounded must not be rounded again the wrong way where it lies on a tie */
	if ((v.u & 0xffff) == 0x8000 && back != x)
		v.u += fabs(back) < fabs(x) ? 1 : (uint32_t)-1;
	return (uint16_t)((v.u + 0x7fff + (v.u >> 16 & 1)) >> 16);
}

static uint16_t to_f16(double x)
{
	uint16_t sign = signbit(x) ? 0x8000 : 0;
	double a = fabs(x);
	int e;
	if (x != x)
		return 0x7e00;
	if (a >= 65520)
		return sign | 0x7c00;
	if (a < 0x1p-14) /* a multiple of 2^-24; rint goes to even */
		return (uint16_t)(sign + (uint16_t)rint(a * 0x1p24));
	double m = frexp(a, &e); /* 0.5 <= m < 1 */
	return (uint16_t)(sign + (uint16_t)((e + 14) << 10) + (uint16_t)((int)rint(m * 2048) - 1024));
}

static int read_float(CoreArg *a, const CoreDtype *t)
{
	double x = PyLong_Check(a->object) ? PyLong_AsDouble(a->object) : PyFloat_AsDouble(a->object);
	float single = (float)x;
	uint16_t half = t->dl.code == kDLBfloat ? to_bf16(x) : t->bytes == 2 ? to_f16(x) : 0;
	if (x == -1 && PyErr_Occurred()) {
		if (PyErr_ExceptionMatches(PyExc_OverflowError))
			PyErr_SetString(PyExc_ValueError, "a number beyond all floats");
		return -1;
	}
	memset(a->scalar, 0, sizeof a->scalar);
	if (t->bytes == 2)
		memcpy(a->scalar, &half, 2);
	else if (t->dl.code == kDLFloat && t->bytes == 8)
		memcpy(a->scalar, &x, 8);
	else
		memcpy(a->scalar, &single, 4); /* complex64: its real part */
	return 0;
}

static int read_int(CoreArg *a, const CoreDtype *t)
{
	int overflow = 0;
	long long x = PyLong_AsLongLongAndOverflow(a->object, &overflow);
	int bits = t->bytes * 8;
	bool is_unsigned = t->dl.code == kDLUInt;
	long long most = t->dl.code == kDLBool ? 1 : bits == 64 ? INT64_MAX : (1LL << (is_unsigned ? bits : bits - 1)) - 1;
	long long least = is_unsigned || t->dl.code == kDLBool ? 0 : -most - 1;
	if (x == -1 && PyErr_Occurred())
		return -1;
	if (overflow || x < least || x > most) {
		PyObject *text = PyObject_Str(a->object); /* Python refuses to write very long ones */
		PyErr_Clear();
		if (text)
			PyErr_Format(PyExc_ValueError, "a number that %s does not have: %U", t->name, text);
		else
			PyErr_Format(PyExc_ValueError, "a number that %s does not have", t->name);
		Py_XDECREF(text);
		return -1;
	}
	memcpy(a->scalar, &x, 8);
	return 0;
}

int core_scalar_read(CoreArg *a, const CoreDtype *t)
{
	int rc = is_float(t) ? read_float(a, t) : read_int(a, t);
	a->dl = (DLTensor){ .data = a->scalar, .device = { kDLCPU, 0 }, .dtype = t->dl, .shape = a->dims, .strides = a->dims };
	return rc;
}
