/* Copies between strided and compact memory of the device, as rectangles that the driver's copy engines know: rows of neighbouring
 * elements, one axis of rows at a pitch, the other axes one rectangle after another. What would take too many is refused: the caller has
 * better means to make such a tensor compact. */
#include "rtlib/cuda.h"

enum { MOST_COPIES = 1024 };
#define MAX_PITCH ((int64_t)INT32_MAX)

typedef struct {
	int64_t width;                    /* bytes of a row */
	int64_t height, pitch, compact;   /* rows; bytes from row to row there and here */
	uint32_t n;                       /* axes that are walked */
	int64_t count[TS_MAX_RANK], step[TS_MAX_RANK], compact_step[TS_MAX_RANK];
	int64_t copies;
} Shape;

/* axes that lie as if they were one become one; bytes, outermost first */
static void axes_of(const TsArg *a, Shape *s)
{
	int64_t next = a->elem;
	int64_t count[TS_MAX_RANK], step[TS_MAX_RANK], compact[TS_MAX_RANK];
	uint32_t n = 0;
	for (uint32_t i = a->rank; i-- > 0;) {
		int64_t at = a->strides[i] * a->elem;
		if (a->shape[i] == 1)
			continue;
		if (n && at == step[n - 1] * count[n - 1])
			count[n - 1] *= a->shape[i];
		else
			count[n] = a->shape[i], step[n] = at, compact[n] = next, n++;
		next *= a->shape[i];
	}
	s->n = n;
	for (uint32_t i = 0; i < n; i++) { /* innermost was first */
		s->count[n - 1 - i] = count[i];
		s->step[n - 1 - i] = step[i];
		s->compact_step[n - 1 - i] = compact[i];
	}
}

static void take_out(Shape *s, uint32_t axis)
{
	s->n--;
	for (uint32_t i = axis; i < s->n; i++) {
		s->count[i] = s->count[i + 1];
		s->step[i] = s->step[i + 1];
		s->compact_step[i] = s->compact_step[i + 1];
	}
}

/* rows from the innermost axis if its elements are neighbours; then the longest axis that a pitch can follow */
static void shape_of(const TsArg *a, Shape *s)
{
	uint32_t best = TS_NONE;
	memset(s, 0, sizeof *s);
	s->width = a->elem;
	s->height = 1;
	s->copies = 1;
	axes_of(a, s);
	if (s->n && s->step[s->n - 1] == a->elem) {
		s->width = s->count[s->n - 1] * a->elem;
		s->n--;
	}
	for (uint32_t i = 0; i < s->n; i++)
		if (s->step[i] >= s->width && s->step[i] <= MAX_PITCH && s->compact_step[i] <= MAX_PITCH && (best == TS_NONE || s->count[i] > s->count[best]))
			best = i;
	if (best != TS_NONE) {
		s->height = s->count[best];
		s->pitch = s->step[best];
		s->compact = s->compact_step[best];
		take_out(s, best);
	}
	for (uint32_t i = 0; i < s->n && s->copies <= MOST_COPIES; i++) /* counts are below 2^63, the product stays below 2^63 as soon as it is checked */
		s->copies = s->count[i] > MOST_COPIES ? MOST_COPIES + 1 : s->copies * s->count[i];
}

bool ts_cuda_can_gather(const TsArg *a)
{
	Shape s;
	if (a->compact)
		return true;
	shape_of(a, &s);
	return s.copies <= MOST_COPIES;
}

static int32_t one(const TsCuda *cu, const Shape *s, TsCuPtr strided, TsCuPtr compact, bool back, TsCuHandle stream)
{
	if (s->height == 1)
		return cu->MemcpyDtoDAsync(back ? strided : compact, back ? compact : strided, (size_t)s->width, stream);
	TsCuCopy2D c = { .from_type = TS_CU_MEMORY_DEVICE, .to_type = TS_CU_MEMORY_DEVICE, .width = (size_t)s->width, .height = (size_t)s->height };
	c.from = back ? compact : strided;
	c.to = back ? strided : compact;
	c.from_pitch = (size_t)(back ? s->compact : s->pitch);
	c.to_pitch = (size_t)(back ? s->pitch : s->compact);
	return cu->Memcpy2DAsync(&c, stream);
}

int32_t ts_cuda_gather(const TsCuda *cu, uint8_t *compact, const TsArg *a, bool back, const char *kind, const char *name, TsCuHandle stream, TesseraError *e)
{
	int64_t index[TS_MAX_RANK] = { 0 };
	TsCuPtr there = (TsCuPtr)(uintptr_t)a->data, here = (TsCuPtr)(uintptr_t)compact;
	Shape s;
	int32_t code = TS_CU_OK;
	if (!a->count)
		return TESSERA_OK;
	if (a->compact)
		s = (Shape){ .width = a->bytes, .height = 1, .copies = 1 };
	else
		shape_of(a, &s);
	for (int64_t k = 0; k < s.copies && !code; k++) {
		code = one(cu, &s, there, here, back, stream);
		for (uint32_t i = s.n; i-- > 0;) {
			there += (TsCuPtr)s.step[i];
			here += (TsCuPtr)s.compact_step[i];
			if (++index[i] < s.count[i])
				break;
			there -= (TsCuPtr)(s.step[i] * s.count[i]);
			here -= (TsCuPtr)(s.compact_step[i] * s.count[i]);
			index[i] = 0;
		}
	}
	return ts_cuda_fail(cu, code, e, "copy %s '%s' on the device", kind, name);
}
