/* From the compiler's diagnostics to the exceptions of tessera/errors.py. */
#include "python/core/core.h"
#include <string.h>

typedef struct { const char *code, *name; PyObject **plain; } Class;

/* Codes that are not here are about sizes and names: GraphValueError. */
static const Class classes[] = {
	{ "E_TYPE", "GraphTypeError", &PyExc_TypeError },
	{ "E_TYPE_MISMATCH", "GraphTypeError", &PyExc_TypeError },
	{ "E_LITERAL_TYPE", "GraphTypeError", &PyExc_TypeError },
	{ "E_LOOP_TYPE", "GraphTypeError", &PyExc_TypeError },
	{ "E_NOT_A_VALUE", "GraphTypeError", &PyExc_TypeError },
	{ "E_ARGUMENTS", "GraphTypeError", &PyExc_TypeError },
	{ "E_ARITY", "GraphTypeError", &PyExc_TypeError },
	{ "E_ATTR", "GraphTypeError", &PyExc_TypeError },
	{ "E_UNKNOWN_OP", "GraphTypeError", &PyExc_TypeError },
	{ "E_UNKNOWN_ARGUMENT", "GraphTypeError", &PyExc_TypeError },
	{ "E_NUMERICS", "GraphTypeError", &PyExc_TypeError },
	{ "E_CONST", "GraphTypeError", &PyExc_TypeError },
	{ "E_LIST", "GraphTypeError", &PyExc_TypeError },
	{ "E_NOT_YET", "NotInRelease", &PyExc_NotImplementedError },
	{ "E_MEMORY", NULL, &PyExc_MemoryError },
	{ "E_INTERNAL", "TesseraError", &PyExc_RuntimeError },
};

/* The class for a code: of tessera.errors, or the built-in one where that cannot be imported. */
static PyObject *class_of(const char *code)
{
	Class c = { code, "GraphValueError", &PyExc_ValueError };
	for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
		if (!strcmp(classes[i].code, code)) c = classes[i];
	PyObject *m = c.name ? PyImport_ImportModule("tessera.errors") : NULL, *found = m ? PyObject_GetAttrString(m, c.name) : NULL;
	Py_XDECREF(m);
	if (found && PyExceptionClass_Check(found)) return found;
	Py_XDECREF(found);
	PyErr_Clear();
	return Py_NewRef(*c.plain);
}

static PyObject *raise_text(const char *code, const char *text, size_t n)
{
	PyObject *cls = class_of(code), *s = PyUnicode_DecodeUTF8(text, (Py_ssize_t)n, "replace"), *c = PyUnicode_FromString(code);
	PyObject *e = s && c ? PyObject_CallFunctionObjArgs(cls, s, NULL) : NULL;
	if (e) {
		if (PyObject_SetAttrString(e, "code", c) < 0) PyErr_Clear();
		PyErr_SetObject(cls, e);
	}
	Py_DECREF(cls);
	Py_XDECREF(s);
	Py_XDECREF(c);
	Py_XDECREF(e);
	return NULL;
}

PyObject *core_raise(const char *code, const char *fmt, ...)
{
	TsBuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(&b, fmt, ap);
	va_end(ap);
	raise_text(code, b.p ? b.p : "", b.n);
	ts_buf_free(&b);
	return NULL;
}

PyObject *core_raise_reported(TsCtx *cx)
{
	TsBuf b = { 0 };
	TsDiag d;
	const char *code = NULL;
	for (uint32_t i = 0; ts_diag_get(cx, i, &d); i++) {
		bool is_error = d.kind == TS_DIAG_ERROR;
		if (is_error && code) break;
		if (is_error) {
			uint32_t line, col;
			code = d.code ? d.code : "";
			if (d.at.file) ts_source_line_col(cx, d.at.file, d.at.begin, &line, &col), ts_buf_fmt(&b, "line %u, column %u: ", line, col);
			ts_buf_str(&b, d.text);
		} else if (code && d.kind != TS_DIAG_WARNING) {
			ts_buf_fmt(&b, "\n  %s: %s", d.kind == TS_DIAG_HINT ? "hint" : "note", d.text);
		}
	}
	if (!code) code = "E_MEMORY";     /* what has no diagnostic is an arena that could not grow */
	raise_text(code, b.p ? b.p : "out of memory", b.p ? b.n : strlen("out of memory"));
	ts_buf_free(&b);
	ts_diag_reset(cx);
	return NULL;
}

PyObject *core_raise_where(const char *file, int line)
{
	PyObject *type, *value, *trace, *where = file ? PyUnicode_FromString(file) : NULL;
	if (!where) return NULL;
	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	where = Py_BuildValue("Ni", where, line);
	if (!where || (value && PyObject_SetAttrString(value, "where", where) < 0)) PyErr_Clear();
	PyErr_Restore(type, value, trace);
	Py_XDECREF(where);
	return NULL;
}
