/* Arguments: what a DLTensor says, checked; and copies between strided and compact memory. */
#include "rtlib/rt.h"

#define ADDRESSES ((uint64_t)1 << 56) /* no process of this machine has more */
enum { DEVICE_ALIGN = 16 };           /* buffers of GPU kernels begin at such addresses */

static const struct { const char *name; uint8_t code, bits; } dtypes[TS_PLAN_DTYPES] = {
	[TS_PLAN_F32] = { "f32", kDLFloat, 32 },
	[TS_PLAN_F64] = { "f64", kDLFloat, 64 },
	[TS_PLAN_F16] = { "f16", kDLFloat, 16 },
	[TS_PLAN_BF16] = { "bf16", kDLBfloat, 16 },
	[TS_PLAN_INT64] = { "int64", kDLInt, 64 },
	[TS_PLAN_INT32] = { "int32", kDLInt, 32 },
	[TS_PLAN_BOOL] = { "bool", kDLBool, 8 },
	[TS_PLAN_INT16] = { "int16", kDLInt, 16 },
	[TS_PLAN_INT8] = { "int8", kDLInt, 8 },
	[TS_PLAN_UINT8] = { "uint8", kDLUInt, 8 },
	[TS_PLAN_INT4] = { "int4", kDLInt, 4 },
	[TS_PLAN_FP8_E4M3] = { "fp8_e4m3", kDLFloat8_e4m3fn, 8 },
	[TS_PLAN_FP8_E5M2] = { "fp8_e5m2", kDLFloat8_e5m2, 8 },
	[TS_PLAN_FP6_E2M3] = { "fp6_e2m3", kDLFloat6_e2m3fn, 6 },
	[TS_PLAN_FP6_E3M2] = { "fp6_e3m2", kDLFloat6_e3m2fn, 6 },
	[TS_PLAN_FP4_E2M1] = { "fp4_e2m1", kDLFloat4_e2m1fn, 4 },
	[TS_PLAN_COMPLEX64] = { "complex64", kDLComplex, 64 },
};

const char *ts_plan_dtype_name(uint32_t t) { return dtypes[t].name; }
int ts_plan_dtype_bits(uint32_t t) { return dtypes[t].bits == 6 ? 8 : dtypes[t].bits; }
DLDataType ts_plan_dtype_dl(uint32_t t) { return (DLDataType){ dtypes[t].code, dtypes[t].bits, 1 }; }

bool ts_plan_bytes(uint32_t dtype, int64_t n, int64_t *bytes)
{
	int64_t bits = ts_plan_dtype_bits(dtype);
	if (bits == 4) {
		*bytes = n / 2 + n % 2;
		return true;
	}
	return !__builtin_mul_overflow(n, bits / 8, bytes);
}

static bool same_type(DLDataType have, uint32_t want)
{
	return have.lanes == 1 && have.code == dtypes[want].code && (have.bits == dtypes[want].bits || (dtypes[want].bits == 6 && have.bits == 8));
}

static bool on_host(DLDeviceType d) { return d == kDLCPU || d == kDLCUDAHost || d == kDLROCMHost || d == kDLCUDAManaged; }

/* the type as DLPack numbers it, for messages */
static int32_t wrong_type(const char *kind, const char *name, uint32_t want, DLDataType have, TesseraError *e)
{
	for (uint32_t t = 0; t < TS_PLAN_DTYPES; t++)
		if (same_type(have, t))
			return ts_fail(e, TESSERA_INVALID, "%s '%s': type is %s, wanted %s", kind, name, dtypes[t].name, dtypes[want].name);
	return ts_fail(e, TESSERA_INVALID, "%s '%s': type is DLPack code %d, %d bits, %d lanes, wanted %s", kind, name, (int64_t)have.code,
	               (int64_t)have.bits, (int64_t)have.lanes, dtypes[want].name);
}

/* sizes, elements and bytes */
static int32_t read_shape(const char *kind, const char *name, uint32_t dtype, const DLTensor *t, TsArg *a, TesseraError *e)
{
	int64_t rest = 1, bytes; /* without the zeros, which make no size reasonable that is beyond memory by itself */
	bool zero = false;
	for (uint32_t i = 0; i < a->rank; i++) {
		a->shape[i] = t->shape[i];
		if (a->shape[i] < 0)
			return ts_fail(e, TESSERA_INVALID, "%s '%s': axis %d has size %d", kind, name, (int64_t)i, a->shape[i]);
		zero |= a->shape[i] == 0;
	}
	for (uint32_t i = 0; i < a->rank; i++)
		if (a->shape[i] && __builtin_mul_overflow(rest, a->shape[i], &rest))
			return ts_fail(e, TESSERA_RANGE, "%s '%s': its sizes multiply to more than 2^63", kind, name);
	if (!ts_plan_bytes(dtype, rest, &bytes))
		return ts_fail(e, TESSERA_RANGE, "%s '%s': it would take more than 2^63 bytes", kind, name);
	a->count = zero ? 0 : rest;
	a->bytes = zero ? 0 : bytes;
	return TESSERA_OK;
}

/* strides: the given ones, or those of compact memory; compact when they agree wherever it matters */
static void read_strides(const DLTensor *t, TsArg *a)
{
	int64_t next = 1;
	a->compact = true;
	for (uint32_t i = a->rank; i-- > 0;) {
		a->strides[i] = t->strides ? t->strides[i] : next;
		if (a->count && a->shape[i] != 1) {
			a->compact &= a->strides[i] == next;
			next *= a->shape[i]; /* at most count */
		} else if (a->shape[i] == 1) {
			a->strides[i] = next;
		}
	}
	if (!a->count)
		a->compact = true;
}

/* [lo, hi) in bytes around element 0; false: beyond the address space */
static bool extent(const TsArg *a, int64_t *lo, int64_t *hi)
{
	*lo = 0;
	*hi = 0;
	for (uint32_t i = 0; i < a->rank; i++) {
		int64_t step, reach;
		if (__builtin_mul_overflow(a->strides[i], a->elem, &step) || __builtin_mul_overflow(step, a->shape[i] - 1, &reach) ||
		    __builtin_add_overflow(*(reach < 0 ? lo : hi), reach, reach < 0 ? lo : hi))
			return false;
	}
	return !__builtin_add_overflow(*hi, a->elem, hi);
}

/* May two indices name one element? Axes by rising stride must each step over all that the smaller ones reach. */
static bool self_overlap(const TsArg *a)
{
	int64_t reach = 0; /* largest offset made by the axes seen */
	uint32_t seen = 0;
	for (uint32_t n = 0; n < a->rank; n++) {
		uint32_t best = TS_NONE;
		uint64_t best_step = UINT64_MAX;
		for (uint32_t i = 0; i < a->rank; i++) {
			uint64_t step = a->strides[i] < 0 ? -(uint64_t)a->strides[i] : (uint64_t)a->strides[i];
			if (!(seen >> i & 1) && a->shape[i] > 1 && step < best_step) {
				best = i;
				best_step = step;
			}
		}
		if (best == TS_NONE)
			return false;
		if (best_step <= (uint64_t)reach)
			return true;
		seen |= 1u << best;
		reach += (int64_t)best_step * (a->shape[best] - 1); /* the extent was checked */
	}
	return false;
}

static int32_t read_data(const char *kind, const char *name, const DLTensor *t, uint32_t align, TsArg *a, TesseraError *e)
{
	uint64_t at = (uint64_t)(uintptr_t)t->data;
	int64_t lo = 0, hi = a->bytes;
	a->data = a->lo = a->hi = NULL;
	a->aligned = true;
	a->overlaps = false;
	if (!a->count)
		return TESSERA_OK;
	if (!t->data)
		return ts_fail(e, TESSERA_INVALID, "%s '%s': data is NULL, and there are %d elements", kind, name, a->count);
	if (!a->elem && !a->compact)
		return ts_fail(e, TESSERA_INVALID, "%s '%s': elements of less than a byte must lie compact, found strides", kind, name);
	if ((a->elem && !extent(a, &lo, &hi)) || __builtin_add_overflow(at, t->byte_offset, &at) || at < -(uint64_t)lo ||
	    at >= ADDRESSES || (uint64_t)hi > ADDRESSES - at)
		return ts_fail(e, TESSERA_INVALID, "%s '%s': strides and byte_offset reach beyond the address space", kind, name);
	a->data = (uint8_t *)(uintptr_t)at;
	a->lo = a->data + lo;
	a->hi = a->data + hi;
	a->aligned = at % align == 0;
	a->overlaps = !a->compact && self_overlap(a);
	return TESSERA_OK;
}

/* on a GPU: its own memory, or memory that moves there by itself */
static int32_t check_place(const char *kind, const char *name, DLDevice want, DLDevice have, TesseraError *e)
{
	if (want.device_type == kDLCPU)
		return on_host(have.device_type) ? TESSERA_OK
		                                 : ts_fail(e, TESSERA_INVALID, "%s '%s': memory of DLPack device type %d, wanted the CPU (1)", kind, name, (int64_t)have.device_type);
	if (have.device_type == kDLCUDAManaged || (have.device_type == kDLCUDA && have.device_id == want.device_id))
		return TESSERA_OK;
	if (have.device_type == kDLCUDA)
		return ts_fail(e, TESSERA_INVALID, "%s '%s': memory of cuda:%d, wanted cuda:%d", kind, name, (int64_t)have.device_id, (int64_t)want.device_id);
	return ts_fail(e, TESSERA_INVALID, "%s '%s': memory of %s (DLPack device type %d), wanted cuda:%d, the device of this context", kind, name,
	               on_host(have.device_type) ? "the host" : "another kind of device", (int64_t)have.device_type, (int64_t)want.device_id);
}

int32_t ts_arg_read(const TsPlanHeader *plan, const TsPlanTensor *spec, const char *kind, DLDevice where, const DLTensor *t, bool with_data, TsArg *a,
                    TesseraError *e)
{
	const char *name = ts_plan_str(plan, spec->name);
	int bits = ts_plan_dtype_bits(spec->dtype);
	int32_t rc;
	if (!t)
		return ts_fail(e, TESSERA_INVALID, "%s '%s' is NULL", kind, name);
	if (t->ndim != (int32_t)spec->rank)
		return ts_fail(e, TESSERA_INVALID, "%s '%s': rank is %d, wanted %d", kind, name, (int64_t)t->ndim, (int64_t)spec->rank);
	if (!same_type(t->dtype, spec->dtype))
		return wrong_type(kind, name, spec->dtype, t->dtype, e);
	if ((rc = check_place(kind, name, where, t->device, e)))
		return rc;
	if (t->ndim && !t->shape)
		return ts_fail(e, TESSERA_INVALID, "%s '%s': shape is NULL", kind, name);
	a->rank = spec->rank;
	a->elem = bits == 4 ? 0 : bits / 8;
	if ((rc = read_shape(kind, name, spec->dtype, t, a, e)))
		return rc;
	read_strides(t, a);
	if (!with_data)
		return TESSERA_OK;
	uint32_t natural = spec->dtype == TS_PLAN_COMPLEX64 ? 4 : a->elem ? (uint32_t)a->elem : 1;
	if (where.device_type != kDLCPU)
		natural = DEVICE_ALIGN;
	return read_data(kind, name, t, spec->align > natural ? spec->align : natural, a, e);
}

static void copy_row(uint8_t *to, int64_t to_step, const uint8_t *from, int64_t from_step, int64_t n, int32_t elem)
{
	if (to_step == elem && from_step == elem) {
		memcpy(to, from, (size_t)n * (size_t)elem);
		return;
	}
	for (int64_t i = 0; i < n; i++, to += to_step, from += from_step)
		switch (elem) { /* constant sizes become single moves */
		case 1: *to = *from; break;
		case 2: memcpy(to, from, 2); break;
		case 4: memcpy(to, from, 4); break;
		case 8: memcpy(to, from, 8); break;
		}
}

/* every element between strided memory a and compact memory; packed types are compact already */
static void copy_all(const TsArg *a, uint8_t *compact, bool gather)
{
	int64_t index[TS_MAX_RANK] = { 0 }, inner = a->rank ? a->shape[a->rank - 1] : 1;
	int64_t step = a->rank ? a->strides[a->rank - 1] * a->elem : a->elem;
	uint8_t *p = a->data;
	if (!a->count)
		return;
	if (a->compact) {
		memcpy(gather ? compact : p, gather ? p : compact, (size_t)a->bytes);
		return;
	}
	for (int64_t done = 0; done < a->count; done += inner, compact += inner * a->elem) {
		if (gather)
			copy_row(compact, a->elem, p, step, inner, a->elem);
		else
			copy_row(p, step, compact, a->elem, inner, a->elem);
		for (uint32_t i = a->rank - 1; i-- > 0;) {
			p += a->strides[i] * a->elem;
			if (++index[i] < a->shape[i])
				break;
			p -= a->strides[i] * a->elem * a->shape[i];
			index[i] = 0;
		}
	}
}

void ts_arg_gather(void *compact, const TsArg *a) { copy_all(a, compact, true); }
void ts_arg_scatter(const TsArg *a, const void *compact) { copy_all(a, (uint8_t *)(uintptr_t)compact, false); }
