#include "rtlib/npy.h"
#include "rtlib/rt.h"

typedef struct { const char *p, *end; const char *wrong; } Cursor;

static void spaces(Cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' || *c->p == '\r'))
		c->p++;
}

static bool take(Cursor *c, char want)
{
	spaces(c);
	if (c->p == c->end || *c->p != want)
		return false;
	c->p++;
	return true;
}

/* string = "'" chars "'" | '"' chars '"'; at most cap - 1 characters, without escapes */
static bool quoted(Cursor *c, char *out, uint32_t cap)
{
	spaces(c);
	char quote = c->p < c->end ? *c->p : 0;
	uint32_t n = 0;
	if (quote != '\'' && quote != '"')
		return false;
	for (c->p++; c->p < c->end && *c->p != quote; c->p++) {
		if (n + 1 >= cap)
			return false;
		out[n++] = *c->p;
	}
	out[n] = 0;
	return take(c, quote);
}

static bool number(Cursor *c, int64_t *out)
{
	spaces(c);
	const char *first = c->p;
	*out = 0;
	for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
		if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, *c->p - '0', out))
			return false;
	if (c->p < c->end && *c->p == 'L')
		c->p++;
	return c->p > first;
}

/* tuple = "(" [INT ("," INT)* [","]] ")" */
static bool shape(Cursor *c, TsNpy *a)
{
	if (!take(c, '('))
		return false;
	for (a->rank = 0; !take(c, ')'); a->rank++) {
		if (a->rank == TS_MAX_RANK || !number(c, &a->shape[a->rank]))
			return false;
		if (!take(c, ',')) {
			a->rank++;
			return take(c, ')');
		}
	}
	return true;
}

static bool boolean(Cursor *c, bool *out)
{
	spaces(c);
	*out = c->end - c->p >= 4 && !memcmp(c->p, "True", 4);
	if (!*out && !(c->end - c->p >= 5 && !memcmp(c->p, "False", 5)))
		return false;
	c->p += *out ? 4 : 5;
	return true;
}

/* dict = "{" (key ":" value [","])* "}" with the keys descr, fortran_order and shape, each once */
static const char *dictionary(Cursor *c, TsNpy *a)
{
	uint32_t seen = 0;
	char key[16];
	if (!take(c, '{'))
		return "its header is no dictionary";
	while (!take(c, '}')) {
		if (!quoted(c, key, sizeof key) || !take(c, ':'))
			return "its header is no dictionary";
		uint32_t bit = ts_str_eq(key, "descr") ? 1 : ts_str_eq(key, "fortran_order") ? 2 : ts_str_eq(key, "shape") ? 4 : 0;
		if (!bit || seen & bit)
			return "its header has an unknown or repeated key";
		seen |= bit;
		if (bit == 1 && !quoted(c, a->descr, sizeof a->descr))
			return "its element type is none of the plain ones";
		if (bit == 2 && !boolean(c, &a->fortran))
			return "its fortran_order is neither True nor False";
		if (bit == 4 && !shape(c, a))
			return "its shape is no list of sizes, or has too many axes";
		take(c, ',');
	}
	return seen == 7 ? NULL : "its header lacks descr, fortran_order or shape";
}

static const char *sizes(TsNpy *a, uint64_t n)
{
	const char *d = a->descr;
	int64_t count = 1, bytes;
	bool zero = false;
	if ((d[0] != '<' && d[0] != '|') || !d[1] || d[2] < '1' || d[2] > '9' || (d[3] && (d[3] < '0' || d[3] > '9' || d[4])))
		return "its element type is none of the plain little-endian ones";
	a->size = (uint32_t)(d[3] ? (d[2] - '0') * 10 + d[3] - '0' : d[2] - '0');
	for (uint32_t i = 0; i < a->rank; i++)
		zero |= a->shape[i] == 0;
	for (uint32_t i = 0; i < a->rank && !zero; i++)
		if (__builtin_mul_overflow(count, a->shape[i], &count))
			return "its sizes multiply to more than 2^63";
	if (zero)
		count = 0;
	if (__builtin_mul_overflow(count, (int64_t)a->size, &bytes) || (uint64_t)bytes > n - a->offset)
		return "it ends before its data does";
	a->bytes = (uint64_t)bytes;
	return NULL;
}

const char *ts_npy_read(const void *from, uint64_t n, TsNpy *a)
{
	const uint8_t *p = from;
	memset(a, 0, sizeof *a);
	if (n < 10 || memcmp(p, "\x93NUMPY", 6))
		return "it is no .npy file";
	if (p[6] < 1 || p[6] > 3 || (p[6] > 1 && n < 12))
		return "it is of an unknown .npy version";
	uint64_t at = p[6] == 1 ? 10 : 12, len = p[8] | (uint64_t)p[9] << 8;
	if (p[6] > 1)
		len |= (uint64_t)p[10] << 16 | (uint64_t)p[11] << 24;
	if (len > n - at)
		return "it ends inside its header";
	Cursor c = { (const char *)p + at, (const char *)p + at + len, NULL };
	a->offset = at + len;
	const char *wrong = dictionary(&c, a);
	return wrong ? wrong : sizes(a, n);
}

static const char *const descrs[TS_PLAN_DTYPES] = {
	[TS_PLAN_F32] = "<f4", [TS_PLAN_F64] = "<f8", [TS_PLAN_F16] = "<f2", [TS_PLAN_BF16] = "<V2", [TS_PLAN_INT64] = "<i8", [TS_PLAN_INT32] = "<i4",
	[TS_PLAN_BOOL] = "|b1", [TS_PLAN_INT16] = "<i2", [TS_PLAN_INT8] = "|i1", [TS_PLAN_UINT8] = "|u1", [TS_PLAN_FP8_E4M3] = "|V1",
	[TS_PLAN_FP8_E5M2] = "|V1", [TS_PLAN_FP6_E2M3] = "|V1", [TS_PLAN_FP6_E3M2] = "|V1", [TS_PLAN_COMPLEX64] = "<c8",
};

const char *ts_npy_descr(uint32_t dtype) { return descrs[dtype]; }

bool ts_npy_fits(const TsNpy *a, uint32_t dtype)
{
	const char *want = descrs[dtype], *have = a->descr;
	if (!want)
		return false;
	bool order = have[0] == want[0] || have[2] == '1' || have[1] == 'V';
	bool raw = want[1] == 'V' && (have[1] == 'V' || have[1] == 'u');
	return order && (have[1] == want[1] || raw) && have[2] == want[2] && !have[3];
}

uint32_t ts_npy_header(uint32_t dtype, uint32_t rank, const int64_t *dims, char out[TS_NPY_HEADER])
{
	TsText t = { out + 10, 0, TS_NPY_HEADER - 10, false };
	ts_text_add(&t, "{'descr': '%s', 'fortran_order': False, 'shape': (", descrs[dtype]);
	for (uint32_t i = 0; i < rank; i++)
		ts_text_add(&t, i + 1 < rank ? "%d, " : rank == 1 ? "%d," : "%d", dims[i]);
	ts_text_add(&t, "), }");
	uint32_t whole = (uint32_t)(10 + t.n + 1 + 63) / 64 * 64;
	memset(out + 10 + t.n, ' ', whole - 10 - t.n);
	out[whole - 1] = '\n';
	memcpy(out, "\x93NUMPY\x01\x00", 8);
	out[8] = (char)((whole - 10) & 255);
	out[9] = (char)((whole - 10) >> 8);
	return whole;
}
