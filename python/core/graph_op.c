/* Builder.op: one operator. Python values become attributes by the kinds of the operator table; the compiler's own rules say the rest. */
#include "python/core/core.h"
#include <string.h>

enum { MOST_OPERANDS = 64, MOST_VALUES = 1 << 22 };

static const char *type_name(PyObject *o, TsArena *a)
{
	PyObject *name = PyType_GetName(Py_TYPE(o));
	const char *s = name ? PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
	const char *own = ts_strdup(a, s ? s : "?");
	Py_XDECREF(name);
	PyErr_Clear();
	return own;
}

/* ---- attributes ---- */

typedef struct { CoreBuilder *b; const TsOpInfo *op; const TsAttrInfo *info; } AttrOf;

static bool wrong_attr(const AttrOf *x, PyObject *o, const char *wanted)
{
	PyErr_Clear();
	core_raise("E_ATTR", "%s: %s is %s, found %s", x->op->name, x->info->name, wanted, type_name(o, x->b->m->arena));
	return false;
}

static const char *attr_text(const AttrOf *x) { return ts_printf(x->b->m->arena, "%s: %s", x->op->name, x->info->name); }
static bool is_int(PyObject *o) { return PyIndex_Check(o) && !PyBool_Check(o) && !PyObject_TypeCheck(o, core_dim_type); }
static bool is_sequence(PyObject *o) { return PySequence_Check(o) && !PyUnicode_Check(o) && !PyBytes_Check(o); }

/* One integer or size, or a sequence of them. */
static bool list_attr(const AttrOf *x, PyObject *o, TsAttr *a)
{
	TsArena *arena = x->b->m->arena;
	bool sizes = x->info->kind == TS_A_DIMS;
	PyObject *items = is_sequence(o) ? PySequence_Tuple(o) : PyTuple_Pack(1, o);
	if (!items) return false;
	Py_ssize_t n = PyTuple_Size(items);
	bool ok = n <= TS_MAX_RANK;
	if (!ok) core_raise("E_RANK", "%s has %zd entries, and a tensor at most %d axes", attr_text(x), n, TS_MAX_RANK);
	a->n = ok ? (uint32_t)n : 0;
	a->ints = TS_NEW_N(arena, int64_t, a->n + 1);
	a->dims = TS_NEW_N(arena, TsDim, a->n + 1);
	for (uint32_t i = 0; ok && i < a->n; i++) {
		PyObject *item = PyTuple_GetItem(items, (Py_ssize_t)i);
		if (sizes) ok = (is_int(item) || PyUnicode_Check(item) || PyObject_TypeCheck(item, core_dim_type) || wrong_attr(x, item, "a list of sizes")) && core_size(x->b, item, attr_text(x), &a->dims[i]);
		else ok = (is_int(item) || wrong_attr(x, item, "a list of integers")) && core_int(item, attr_text(x), &a->ints[i]);
	}
	Py_DECREF(items);
	return ok;
}

static bool float_attr(const AttrOf *x, PyObject *o, TsAttr *a)
{
	if (PyBool_Check(o) || PyUnicode_Check(o)) return wrong_attr(x, o, "a number");
	a->f = PyFloat_AsDouble(o);
	if (a->f != -1 || !PyErr_Occurred()) return true;
	if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return wrong_attr(x, o, "a number");
	PyErr_Clear();
	core_raise("E_ATTR", "%s is out of range", attr_text(x));
	return false;
}

static bool set_attr(const AttrOf *x, PyObject *o, TsAttr *a)
{
	a->none = o == Py_None;
	if (a->none) return x->info->none_default || (core_raise("E_ATTR", "%s: %s is never None", x->op->name, x->info->name), false);
	switch (x->info->kind) {
	case TS_A_INT: return (is_int(o) || wrong_attr(x, o, "an int")) && core_int(o, attr_text(x), &a->i);
	case TS_A_FLOAT: return float_attr(x, o, a);
	case TS_A_BOOL:
		a->i = o == Py_True;
		return PyBool_Check(o) || wrong_attr(x, o, "a bool");
	case TS_A_ENUM: return (PyUnicode_Check(o) || wrong_attr(x, o, ts_printf(x->b->m->arena, "one of the strings %s", x->info->choices))) && (a->s = core_text(x->b, o, attr_text(x)));
	case TS_A_DTYPE: return (PyUnicode_Check(o) || wrong_attr(x, o, "an element type")) && core_dtype(o, &a->t);
	case TS_A_DIM:
		a->n = 1;
		a->dims = TS_NEW(x->b->m->arena, TsDim);
		return core_size(x->b, o, attr_text(x), a->dims);
	default: return list_attr(x, o, a);
	}
}

static PyObject *unknown_attr(CoreBuilder *b, const TsOpInfo *op, TsSym name)
{
	TsSym names[TS_MAX_OP_ATTRS];
	for (uint32_t i = 0; i < op->nattr; i++) names[i] = op->attr[i].name;
	ts_error(b->cx, (TsSpan){ 0 }, "E_UNKNOWN_ARGUMENT", "%s takes no '%s'", op->name, name);
	ts_hint_names(b->cx, name, names, op->nattr);
	return core_raise_reported(b->cx);
}

/* The attributes of a call; NULL with an exception. */
static TsAttr *attributes(CoreBuilder *b, TsOp which, PyObject *dict)
{
	const TsOpInfo *op = ts_op_info(b->cx, which);
	TsAttr *attr = ts_attrs_new(b->m, which);
	PyObject *key, *value;
	Py_ssize_t at = 0;
	if (!dict || dict == Py_None) return attr;
	if (!PyDict_Check(dict)) { PyErr_Format(PyExc_TypeError, "attrs is a dict"); return NULL; }
	PyObject *own = PyDict_Copy(dict);     /* what values do when they are asked cannot change it */
	bool ok = own != NULL;
	while (ok && PyDict_Next(own, &at, &key, &value)) {
		TsSym name = core_text(b, key, "the name of an attribute");
		int k = name ? ts_op_attr_index(op, name) : -1;
		if (name && k < 0) unknown_attr(b, op, name);
		ok = k >= 0 && set_attr(&(AttrOf){ b, op, &op->attr[k] }, value, &attr[k]);
	}
	Py_XDECREF(own);
	return ok ? attr : NULL;
}

/* Which place in the graph a random operator has: its random numbers go by it. */
static int64_t *stream_of(CoreBuilder *b, const TsOpInfo *op, TsAttr *attr)
{
	TsAttr *s = &attr[ts_op_attr_index(op, "stream")];
	if (s->none) *s = (TsAttr){ .kind = TS_A_INT, .t = TS_DTYPE_NONE, .i = b->streams };
	return &s->i;
}

/* ---- operands ---- */

static bool operands(CoreBuilder *b, const TsOpInfo *op, PyObject *inputs, TsVal *in, uint32_t *count)
{
	if (!is_sequence(inputs)) return PyErr_Format(PyExc_TypeError, "inputs is a sequence of ids"), false;
	PyObject *items = PySequence_Tuple(inputs);
	if (!items) return false;
	Py_ssize_t n = PyTuple_Size(items), most = op->variadic ? MOST_OPERANDS : op->nin;
	bool ok = n <= most && (n || !op->variadic);
	if (!ok && op->variadic) core_raise("E_ARGUMENTS", "%s takes a list of 1 to %d tensors", op->name, MOST_OPERANDS);
	else if (!ok) core_raise("E_ARITY", "%s takes %s%u operand%s, found %zd", op->name, op->min_in == op->nin ? "" : "up to ", op->nin, op->nin == 1 ? "" : "s", n);
	*count = ok ? (uint32_t)n : 0;
	for (uint32_t i = 0; ok && i < *count; i++) {
		PyObject *id = PyTuple_GetItem(items, (Py_ssize_t)i);
		const char *name = op->variadic ? ts_printf(b->m->arena, "%s: operand %u", op->name, i) : ts_printf(b->m->arena, "%s: %s", op->name, op->in[i]);
		in[i] = 0;
		if (id == Py_None && !op->variadic && i >= op->min_in) continue;
		if (id == Py_None) ok = core_raise("E_ARGUMENTS", "%s needs %s", op->name, op->variadic ? "tensors" : op->in[i]) != NULL;
		else ok = (in[i] = core_val(b, id, name)) != 0;
	}
	for (uint32_t i = *count; ok && i < op->min_in && !op->variadic; i++) ok = core_raise("E_ARGUMENTS", "%s needs %s", op->name, op->in[i]) != NULL;
	Py_DECREF(items);
	return ok;
}

static PyObject *unknown_op(CoreBuilder *b, TsSym name)
{
	TS_VEC(TsSym) names = { 0 };
	for (int i = 1; i < TS_OP_COUNT; i++) {
		const TsOpInfo *op = ts_op_info(b->cx, (TsOp)i);
		if (op->cls != TS_CLS_LEAF && op->cls != TS_CLS_CONTROL) ts_push(b->m->arena, &names, op->name);
	}
	ts_error(b->cx, (TsSpan){ 0 }, "E_UNKNOWN_OP", "no operator named '%s'", name);
	ts_hint_names(b->cx, name, names.p, names.n);
	return core_raise_reported(b->cx);
}

/* ---- numerics ---- */

enum { N_ACCUM = 1, N_DETERMINISTIC = 2, N_INVARIANT = 4, N_EXCESS = 8, N_REORDER = 16, N_APPROX = 32, N_MATH = 64 };

static bool policy_bool(PyObject *o, const char *name, bool *out)
{
	*out = o == Py_True;
	return PyBool_Check(o) || (core_raise("E_NUMERICS", "%s is True or False", name), false);
}

static bool set_policy(CoreBuilder *b, TsSym key, PyObject *o, TsNumerics *n, uint32_t *set)
{
	static const char *const known[] = { "accum", "deterministic", "batch_invariant", "excess", "reorder", "approx", "math" };
	uint32_t k = 0;
	bool yes;
	while (k < 7 && strcmp(known[k], key)) k++;
	*set |= 1u << k;
	switch (1u << k) {
	case N_ACCUM:
		if (o == Py_None) { n->accum = TS_DTYPE_NONE; return true; }
		return core_dtype(o, &n->accum) && (ts_dtype_is_float(n->accum) || (core_raise("E_NUMERICS", "accum is a float type"), false));
	case N_DETERMINISTIC: return policy_bool(o, key, &n->deterministic);
	case N_INVARIANT:
		n->batch_invariant = o == Py_None ? TS_OPEN : o == Py_True ? TS_YES : TS_NO;
		return o == Py_None || policy_bool(o, key, &yes);
	case N_EXCESS: return policy_bool(o, key, &n->excess);
	case N_REORDER: return policy_bool(o, key, &n->reorder);
	case N_APPROX: return policy_bool(o, key, &n->approx);
	case N_MATH: {
		TsSym word = PyUnicode_Check(o) ? core_text(b, o, "math") : NULL;
		n->tf32 = word && !strcmp(word, "tf32");
		if (n->tf32 || (word && !strcmp(word, "ieee"))) return true;
		PyErr_Clear();
		core_raise("E_NUMERICS", "math is 'ieee' or 'tf32'");
		return false;
	}
	default:
		ts_error(b->cx, (TsSpan){ 0 }, "E_NUMERICS", "no policy named '%s'", key);
		ts_hint_names(b->cx, key, known, 7);
		core_raise_reported(b->cx);
		return false;
	}
}

bool core_numerics(CoreBuilder *b, PyObject *dict, TsNumerics *n, uint32_t *set)
{
	PyObject *key, *value;
	Py_ssize_t at = 0;
	*set = 0;
	if (!dict || dict == Py_None) return true;
	if (!PyDict_Check(dict)) return PyErr_Format(PyExc_TypeError, "numerics is a dict"), false;
	while (PyDict_Next(dict, &at, &key, &value)) {
		TsSym name = core_text(b, key, "the name of a policy");
		if (!name || !set_policy(b, name, value, n, set)) return false;
	}
	return true;
}

void core_fold_numerics(TsNumerics *to, const TsNumerics *from, uint32_t set)
{
	if (set & N_ACCUM) to->accum = from->accum;
	if (set & N_DETERMINISTIC) to->deterministic = from->deterministic;
	if (set & N_INVARIANT) to->batch_invariant = from->batch_invariant;
	if (set & N_EXCESS) to->excess = from->excess;
	if (set & N_REORDER) to->reorder = from->reorder;
	if (set & N_APPROX) to->approx = from->approx;
	if (set & N_MATH) to->tf32 = from->tf32;
}

static bool same_numerics(const TsNumerics *a, const TsNumerics *b)
{
	return a->accum == b->accum && a->deterministic == b->deterministic && a->batch_invariant == b->batch_invariant && a->excess == b->excess
		&& a->reorder == b->reorder && a->approx == b->approx && a->tf32 == b->tf32;
}

/* What nodes of that policy point to: the file's numerics, with the keys that are given. */
const TsNumerics *core_policy(CoreBuilder *b, const TsNumerics *values, uint32_t set)
{
	if (!set) return &b->m->numerics;
	for (uint32_t i = 0; i < b->policies.n; i++)
		if (b->policies.p[i].set == set && same_numerics(&b->policies.p[i].values, values)) return b->policies.p[i].num;
	TsNumerics *n = TS_NEW(b->m->arena, TsNumerics);
	*n = b->m->numerics;
	core_fold_numerics(n, values, set);
	ts_push(b->m->arena, &b->policies, (CorePolicy){ n, *values, set });
	return n;
}

/* ---- the call ---- */

PyObject *core_added(CoreBuilder *b, TsVal first, const TsNode *n, TsSym file, int line)
{
	bool ok = true;
	for (uint32_t i = 0; ok && i < n->nout; i++) {
		const TsType *t = &ts_val(b->g, n->out[i])->type;
		for (int k = 0; ok && k < t->rank; k++) ok = core_is_short(b, t->dim[k]);
	}
	if (!ok) {
		b->block->nodes.n--;
		b->g->vals.n = n->nout ? n->out[0] : b->g->vals.n;
	}
	core_set_place(b, first, b->g->vals.n - first, file, line);
	return ok ? core_ids(b, n->out, n->nout) : NULL;
}

PyObject *core_op(CoreBuilder *b, PyObject *args, PyObject *kwargs)
{
	static char *words[] = { "name", "inputs", "attrs", "file", "line", "numerics", NULL };
	PyObject *name, *inputs, *dict = NULL, *file = NULL, *numerics = NULL;
	int line = 0;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|OOiO:op", words, &name, &inputs, &dict, &file, &line, &numerics)) return NULL;
	TsSym op_name = core_text(b, name, "the name of an operator"), where = NULL;
	if (!op_name || !core_file(b, file, &where)) return NULL;
	TsOp which = ts_op_find(b->cx, op_name);
	const TsOpInfo *op = ts_op_info(b->cx, which);
	if (which == TS_OP_NONE || op->cls == TS_CLS_LEAF || op->cls == TS_CLS_CONTROL) return unknown_op(b, op_name);
	TsVal in[MOST_OPERANDS];
	uint32_t n = 0, set = 0;
	TsNumerics values = b->m->numerics;
	TsAttr *attr = operands(b, op, inputs, in, &n) ? attributes(b, which, dict) : NULL;
	if (!attr || !core_numerics(b, numerics, &values, &set)) return NULL;
	if (b->g->vals.n > MOST_VALUES) return core_raise("E_LIMIT", "a graph has at most %d values", MOST_VALUES);
	const int64_t *stream = op->cls == TS_CLS_RANDOM ? stream_of(b, op, attr) : NULL;
	TsVal first = b->g->vals.n;
	TsNode *node = ts_add_op(b->m, b->g, b->block, which, n, in, attr, core_policy(b, &values, set), (TsSpan){ 0 });
	if (!node) return core_raise_reported(b->cx);
	if (stream && *stream >= b->streams) b->streams = *stream + 1;
	return core_added(b, first, node, where, line);
}
