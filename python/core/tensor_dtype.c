/* Element types: what they are called by .tg, DLPack, the buffer protocol, NumPy and torch. */
#include "python/core/runtime.h"
#include <string.h>

static const CoreDtype table[] = {
	{ "f32", { kDLFloat, 32, 1 }, 4, "f", "<f4", "float32", false },
	{ "f64", { kDLFloat, 64, 1 }, 8, "d", "<f8", "float64", false },
	{ "f16", { kDLFloat, 16, 1 }, 2, "e", "<f2", "float16", false },
	{ "bf16", { kDLBfloat, 16, 1 }, 2, NULL, "<V2", "bfloat16", true },
	{ "int64", { kDLInt, 64, 1 }, 8, "q", "<i8", "int64", false },
	{ "int32", { kDLInt, 32, 1 }, 4, "i", "<i4", "int32", false },
	{ "bool", { kDLBool, 8, 1 }, 1, "?", "|b1", "bool", false },
	{ "int16", { kDLInt, 16, 1 }, 2, "h", "<i2", "int16", false },
	{ "int8", { kDLInt, 8, 1 }, 1, "b", "|i1", "int8", false },
	{ "uint8", { kDLUInt, 8, 1 }, 1, "B", "|u1", "uint8", false },
	{ "int4", { kDLInt, 4, 1 }, 0, NULL, NULL, NULL, false },
	{ "fp8_e4m3", { kDLFloat8_e4m3fn, 8, 1 }, 1, NULL, "|V1", "float8_e4m3fn", true },
	{ "fp8_e5m2", { kDLFloat8_e5m2, 8, 1 }, 1, NULL, "|V1", "float8_e5m2", true },
	{ "fp6_e2m3", { kDLFloat6_e2m3fn, 6, 1 }, 1, NULL, "|V1", "float6_e2m3fn", true },
	{ "fp6_e3m2", { kDLFloat6_e3m2fn, 6, 1 }, 1, NULL, "|V1", "float6_e3m2fn", true },
	{ "fp4_e2m1", { kDLFloat4_e2m1fn, 4, 1 }, 0, NULL, NULL, NULL, false },
	{ "complex64", { kDLComplex, 64, 1 }, 8, "Zf", "<c8", "complex64", false },
};
enum { TYPES = sizeof table / sizeof *table };

/* other names that mean the same */
static const struct { const char *name, *is; } aliases[] = {
	{ "fp32", "f32" }, { "fp64", "f64" }, { "fp16", "f16" }, { "i64", "int64" }, { "i32", "int32" }, { "i16", "int16" }, { "i8", "int8" },
	{ "u8", "uint8" }, { "half", "f16" }, { "float", "f32" }, { "double", "f64" }, { "bool_", "bool" }, { "float8_e4m3fn", "fp8_e4m3" },
};

/* fp6 comes with 6 bits, as DLPack numbers it, or with the 8 that it takes */
const CoreDtype *core_dtype_of(DLDataType t)
{
	if (t.lanes != 1)
		return NULL;
	if (t.bits == 8 && (t.code == kDLFloat6_e2m3fn || t.code == kDLFloat6_e3m2fn))
		t.bits = 6;
	for (int i = 0; i < TYPES; i++)
		if (table[i].dl.code == t.code && table[i].dl.bits == t.bits)
			return &table[i];
	return NULL;
}

static const CoreDtype *named_so(const char *name)
{
	for (int i = 0; i < TYPES; i++)
		if (!strcmp(table[i].name, name) || (table[i].numpy && !strcmp(table[i].numpy, name)))
			return &table[i];
	return NULL;
}

const CoreDtype *core_dtype_named(const char *name)
{
	if (!strncmp(name, "torch.", 6))
		name += 6;
	const CoreDtype *t = named_so(name);
	for (size_t i = 0; !t && i < sizeof aliases / sizeof *aliases; i++)
		if (!strcmp(aliases[i].name, name))
			t = named_so(aliases[i].is);
	return t;
}

/* the text of o, or of o.name, or of o.__name__ (numpy.float32 is a class) */
static const CoreDtype *by_text(PyObject *o)
{
	PyObject *text = PyObject_Str(o);
	const char *s = text ? PyUnicode_AsUTF8AndSize(text, NULL) : NULL;
	const CoreDtype *t = s ? core_dtype_named(s) : NULL;
	PyErr_Clear();
	Py_XDECREF(text);
	return t;
}

const CoreDtype *core_dtype_from(PyObject *o)
{
	const CoreDtype *t = by_text(o);
	static const char *const attributes[] = { "name", "__name__" };
	for (int i = 0; i < 2 && !t && !PyUnicode_Check(o); i++) {
		PyObject *name = PyObject_GetAttrString(o, attributes[i]);
		PyErr_Clear();
		t = name && PyUnicode_Check(name) ? by_text(name) : NULL;
		Py_XDECREF(name);
	}
	if (!t)
		PyErr_Format(PyExc_TypeError, "argument 'dtype': wanted an element type as 'f32' or 'bf16', found %R", o);
	return t;
}

/* Formats as the struct module writes them: native or little-endian of one element. 'l' and 'L' are 8 bytes when native, 4 else. */
const CoreDtype *core_dtype_of_format(const char *format, Py_ssize_t itemsize, bool *swapped)
{
	*swapped = false;
	if (!format)
		format = "B";
	bool native = *format == '@' || !strchr("<>=!", *format);
	if (*format == '>' || *format == '!')
		*swapped = itemsize > 1;
	if (*format && strchr("@<>=!", *format))
		format++;
	char one[3] = { format[0], format[0] ? format[1] : 0, 0 };
	if (format[0] && format[1] && format[2])
		return NULL;
	if (!strcmp(one, "l") || !strcmp(one, "n"))
		strcpy(one, native ? "q" : "i");
	if (!strcmp(one, "c"))
		strcpy(one, "B");
	for (int i = 0; i < TYPES; i++)
		if (table[i].format && !strcmp(table[i].format, one) && table[i].bytes == itemsize)
			return &table[i];
	return NULL;
}

int64_t core_bytes(const CoreDtype *t, int64_t n)
{
	int64_t bytes;
	if (!t->bytes)
		return n / 2 + n % 2;
	return __builtin_mul_overflow(n, (int64_t)t->bytes, &bytes) ? -1 : bytes;
}
