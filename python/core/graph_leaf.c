/* Builder's leaves: literals, sizes as values, tensors of weight files. */
#include "python/core/core.h"
#include "ir/tensor.h"
#include "ir/weights.h"
#include <math.h>
#include <string.h>

enum { MOST_ELEMENTS = 1 << 16, MOST_WEIGHT_NAME = 4096, MOST_VARS = 8 };

static PyObject *new_leaf(CoreBuilder *b, TsVal v)
{
	core_set_place(b, v, 1, NULL, 0);
	return core_id(b, v);
}

/* ---- literals ---- */

/* What the text can write: complex numbers are not among it. */
static bool literal_type(PyObject *o, TsDtype *t)
{
	if (!core_dtype(o, t)) return false;
	if (*t != TS_COMPLEX64) return true;
	core_raise("E_NOT_YET", "a literal of complex numbers: cast a literal of f32 instead");
	return false;
}

/* A list without elements is not written as one: zeros of that shape. */
static TsVal empty(CoreBuilder *b, const TsType *type)
{
	TsAttr *shape = ts_attrs_new(b->m, TS_OP_broadcast);
	shape[0].none = false;
	shape[0].n = type->rank;
	shape[0].dims = ts_memdup(b->m->arena, type->dim, type->rank * sizeof *type->dim);
	TsVal zero = ts_add_const(b->m, b->g, b->block, (TsType){ .elem = type->elem, .accum = TS_DTYPE_NONE }, ts_alloc(b->m->arena, 8), (TsSpan){ 0 });
	core_set_place(b, zero, 1, NULL, 0);
	TsNode *n = ts_add_op(b->m, b->g, b->block, TS_OP_broadcast, 1, &zero, shape, NULL, (TsSpan){ 0 });
	return n ? n->out[0] : 0;
}

static PyObject *const_of(CoreBuilder *b, const TsType *type, int64_t count, PyObject *data)
{
	Py_buffer view;
	if (PyObject_GetBuffer(data, &view, PyBUF_C_CONTIGUOUS) < 0) return NULL;
	int64_t bytes = ts_dtype_bytes(type->elem, count);
	void *own = view.len == bytes ? ts_alloc(b->m->arena, (size_t)bytes + 8) : NULL;
	if (own && bytes) memcpy(own, view.buf, (size_t)bytes);
	if (!own) core_raise("E_ELEMENT_COUNT", "a literal of %lld elements of %s has %lld bytes, found %lld", (long long)count, ts_dtype_name(type->elem), (long long)bytes, (long long)view.len);
	PyBuffer_Release(&view);
	if (!own) return NULL;
	TsVal v = count ? ts_add_const(b->m, b->g, b->block, *type, own, (TsSpan){ 0 }) : empty(b, type);
	return v ? new_leaf(b, v) : NULL;
}

PyObject *core_const(CoreBuilder *b, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "dtype", "shape", "buffer", NULL };
	PyObject *dtype, *shape, *data;
	TsType type = { .accum = TS_DTYPE_NONE };
	int64_t dim[TS_MAX_RANK], count;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO:const", words, &dtype, &shape, &data)) return NULL;
	if (!literal_type(dtype, &type.elem) || !core_shape(b, shape, "the shape of a literal", &type.rank, type.dim)) return NULL;
	for (int i = 0; i < type.rank; i++)
		if (!ts_dim_is_const(b->m->dims, type.dim[i], &dim[i])) return core_raise("E_SIZE", "the shape of a literal is known at compile time");
	if (!ts_shape_count(type.rank, dim, &count) || count > MOST_ELEMENTS) return core_raise("E_LIMIT", "a literal has at most %d elements; larger ones are weights or inputs", MOST_ELEMENTS);
	return const_of(b, &type, count, data);
}

static PyObject *misfit(PyObject *value, TsDtype t)
{
	PyObject *text = PyObject_Repr(value);
	const char *s = text ? PyUnicode_AsUTF8AndSize(text, NULL) : NULL;
	if (s) core_raise("E_LITERAL_TYPE", "%.60s is no %s", s, ts_dtype_name(t));
	Py_XDECREF(text);
	return NULL;
}

static PyObject *scalar_of(CoreBuilder *b, TsDtype t, PyObject *value)
{
	void *data = ts_alloc(b->m->arena, 8);
	int64_t i = 0;
	if (ts_dtype_is_float(t)) {
		if (PyBool_Check(value) || PyUnicode_Check(value)) return misfit(value, t);
		double x = PyFloat_AsDouble(value);
		if (x == -1 && PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_OverflowError)) return NULL;
		if ((x == -1 && PyErr_Occurred()) || (isfinite(x) && !isfinite(ts_dtype_round(t, x)))) return PyErr_Clear(), misfit(value, t);
		ts_elem_set(t, data, 0, x);
	} else {
		bool truth = PyBool_Check(value), fits = t == TS_BOOL ? truth : PyIndex_Check(value) && !truth && !PyObject_TypeCheck(value, core_dim_type);
		if (!fits) return misfit(value, t);
		if (!core_int(value, ts_dtype_name(t), &i)) return NULL;
		ts_elem_set_int(t, data, 0, i);
		if (ts_elem_get_int(t, data, 0) != i) return misfit(value, t);
	}
	return new_leaf(b, ts_add_const(b->m, b->g, b->block, (TsType){ .elem = t, .accum = TS_DTYPE_NONE }, data, (TsSpan){ 0 }));
}

PyObject *core_scalar(CoreBuilder *b, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "dtype", "value", NULL };
	PyObject *dtype, *value;
	TsDtype t;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:scalar", words, &dtype, &value)) return NULL;
	return literal_type(dtype, &t) ? scalar_of(b, t, value) : NULL;
}

PyObject *core_dim_value(CoreBuilder *b, PyObject *size, PyObject *unused)
{
	(void)unused;
	TsDim d;
	if (!core_size(b, size, "a size", &d)) return NULL;
	return new_leaf(b, ts_add_dim(b->m, b->g, b->block, d, (TsSpan){ 0 }));
}

/* ---- weights ---- */

/* The set of that name, made when it is new; UINT32_MAX with an exception. */
static uint32_t weight_set(CoreBuilder *b, PyObject *name)
{
	TsSym s = core_name(b, name, "the name of a set of weights");
	if (!s) return UINT32_MAX;
	for (uint32_t i = 0; i < b->m->weights.n; i++)
		if (b->m->weights.p[i].name == s) return i;
	if (!core_take_name(b, s, CORE_NAME_WEIGHTS)) return UINT32_MAX;
	ts_push(b->m->arena, &b->m->weights, (TsWeights){ .name = s });
	return b->m->weights.n - 1;
}

PyObject *core_weights_file(CoreBuilder *b, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "set", "path", NULL };
	PyObject *set, *path;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:weights_file", words, &set, &path)) return NULL;
	uint32_t w = weight_set(b, set);
	TsSym p = w == UINT32_MAX ? NULL : core_text(b, path, "the path of a file of weights");
	if (!p) return NULL;
	ts_push(b->m->arena, &b->m->weights.p[w].file_names, p);
	return Py_NewRef(Py_None);
}

/* One tensor of the set: new, or there with that type. */
static bool add_tensor(CoreBuilder *b, TsWeights *w, TsSym name, const TsType *type)
{
	const TsTensorInfo *old = ts_weights_find(w, name);
	if (!old) {
		*ts_map_put(b->m->arena, &w->by_name, name, NULL) = w->tensors.n;
		ts_push(b->m->arena, &w->tensors, (TsTensorInfo){ .name = name, .type = *type });
		return true;
	}
	if (ts_type_eq(&old->type, type)) return true;
	TsBuf x = { 0 }, y = { 0 };
	ts_type_print(b->m, &old->type, &x);
	ts_type_print(b->m, type, &y);
	core_raise("E_WEIGHT_TYPE", "the weight \"%s\" is %s already, here %s", name, x.p, y.p);
	ts_buf_free(&x);
	ts_buf_free(&y);
	return false;
}

/* The pattern's name in every iteration of the open loops that it mentions. */
static bool add_tensors(CoreBuilder *b, TsWeights *w, TsSym pattern, const TsType *type)
{
	const TsFor *loop[MOST_VARS];
	TsSym vars[MOST_VARS];
	int64_t vals[MOST_VARS];
	uint32_t n = 0, k;
	for (uint32_t i = b->loops.n; i-- > 0;) {
		const TsFor *f = b->loops.p[i].node->loop;
		if (!ts_names_mention(pattern, f->var)) continue;
		if (n == MOST_VARS) return core_raise("E_LIMIT", "the name of a weight mentions at most %d loops", MOST_VARS), false;
		if (f->hi <= f->lo) return core_raise("E_LOOP", "a loop over weights runs at least once"), false;
		loop[n] = f;
		vals[n] = f->lo;
		vars[n++] = f->var;
	}
	do {
		TsSym name = ts_weight_name(b->cx, pattern, n, vars, vals);
		if (!name) return core_raise("E_WEIGHT_NAME", "\"%s\": { } holds an expression of the variables of loops that are open; {{ is a brace", pattern), false;
		if (!add_tensor(b, w, name, type)) return false;
		for (k = 0; k < n; k++) {
			if ((vals[k] += loop[k]->step) < loop[k]->hi) break;
			vals[k] = loop[k]->lo;
		}
	} while (k < n);
	return true;
}

/* Outside of braces a * stands for the rest of a name. */
static bool is_weight_name(const char *p)
{
	for (bool inside = false; *p; p++) {
		if (!inside && p[0] == '{' && p[1] == '{') p++;
		else if (*p == '{' || *p == '}') inside = *p == '{';
		else if ((unsigned char)*p < 32 || (*p == '*' && !inside)) return false;
	}
	return true;
}

PyObject *core_weight(CoreBuilder *b, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "set", "name", "dtype", "dims", NULL };
	PyObject *set, *name, *dtype, *dims;
	TsType type;
	int64_t size;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOO:weight", words, &set, &name, &dtype, &dims)) return NULL;
	uint32_t w = weight_set(b, set);
	TsSym s = w == UINT32_MAX ? NULL : core_text(b, name, "the name of a weight");
	if (!s || !core_type(b, dtype, dims, NULL, s, &type)) return NULL;
	if (strlen(s) > MOST_WEIGHT_NAME) return core_raise("E_LIMIT", "the name of a weight is at most %d bytes", MOST_WEIGHT_NAME);
	if (!is_weight_name(s)) return core_raise("E_WEIGHT_NAME", "the name of a weight has no control characters, and a * in braces alone");
	for (int i = 0; i < type.rank; i++)
		if (!ts_dim_is_const(b->m->dims, type.dim[i], &size)) return core_raise("E_SIZE", "the weight \"%s\": its sizes are known at compile time", s);
	if (!add_tensors(b, &b->m->weights.p[w], s, &type)) return NULL;
	uint32_t scope = b->loops.n ? b->loops.p[b->loops.n - 1].scope : 0;
	TsSym key = ts_intern_fmt(b->cx, "%u %u %s", scope, w, s);     /* one node per tensor and block */
	uintptr_t *v = ts_map_put(b->m->arena, &b->weights, key, NULL);
	if (*v) return core_id(b, (TsVal)*v);
	*v = ts_add_weight(b->m, b->g, b->block, w, s, type, (TsSpan){ 0 });
	return new_leaf(b, (TsVal)*v);
}
