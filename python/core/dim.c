/* Dim, a size of one builder: arithmetic is ir/dim.c's. Sizes that turn out constant are handed out as Python ints. */
#include "python/core/core.h"
#include "frontend/graph_text/lexer.h"
#include "frontend/graph_text/parse.h"
#include "ir/tree.h"
#include <string.h>

typedef struct { PyObject_HEAD CoreBuilder *b; TsDim d; } Dim;

PyTypeObject *core_dim_type;
enum { MOST_DIMS = 1000, MOST_TEXT = 4000 };

PyObject *core_dim(CoreBuilder *b, TsDim d)
{
	int64_t v;
	if (d == TS_DIM_BAD) return core_raise("E_SIZE", "a size is out of range");
	if (ts_dim_is_const(b->m->dims, d, &v)) return PyLong_FromLongLong(v);
	Dim *o = PyObject_New(Dim, core_dim_type);
	if (!o) return NULL;
	o->b = (CoreBuilder *)Py_NewRef((PyObject *)b);
	o->d = d;
	return (PyObject *)o;
}

static bool is_dim(PyObject *o) { return Py_IS_TYPE(o, core_dim_type); }

static void dim_free(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	Py_DECREF((PyObject *)((Dim *)self)->b);
	PyObject_Free(self);
	Py_DECREF((PyObject *)type);
}

/* ---- names and text ---- */

bool core_declare(CoreBuilder *b, TsSym name, int64_t min, int64_t max, int64_t multiple)
{
	TsDim d;
	uint32_t k;
	int64_t c;
	if (!ts_is_plain_name(name) || strchr(name, '.')) return core_raise("E_SYNTAX", "'%s' cannot be the name of a size: such names are letters, digits and _", name), false;
	if (min < 0 || multiple < 1 || max < min || max / multiple * multiple < min)
		return core_raise(min < 0 || multiple < 1 ? "E_SIZE" : "E_EMPTY_DIM", "no size satisfies the constraints on %s", name), false;
	if (ts_dim_find_symbol(b->m->dims, name, &d)) {
		uintptr_t *kind = ts_map_find(&b->names, name);
		if (!kind || !*kind) return core_raise("E_ASSIGNED_TWICE", "'%s' is a variable of a kernel", name), false;
		const TsDimSym *s = ts_dim_is_scaled_symbol(b->m->dims, d, &c, &k) ? ts_dim_symbol_info(b->m->dims, k) : NULL;
		bool same = s && s->min == min && s->max == max && s->multiple == multiple && *kind == CORE_NAME_DIM;
		return same || (core_raise("E_ASSIGNED_TWICE", "'%s' is declared already, with other constraints", name), false);
	}
	if (!core_take_name(b, name, CORE_NAME_DIM)) return false;
	if (ts_dim_symbol_count(b->m->dims) >= MOST_DIMS) return core_raise("E_LIMIT", "at most %d dims", MOST_DIMS), false;
	ts_dim_symbol(b->m->dims, (TsDimSym){ .name = name, .min = min, .max = max, .multiple = multiple });
	return true;
}

static bool named(CoreBuilder *b, TsSym name, TsDim *out)
{
	uintptr_t *kind = ts_map_find(&b->names, name);
	if ((!kind || *kind != CORE_NAME_DIM) && !core_is_loop_name(b, name) && !core_declare(b, name, 1, INT64_MAX, 1)) return false;
	return ts_dim_find_symbol(b->m->dims, name, out);
}

bool core_is_short(CoreBuilder *b, TsDim d)
{
	if (d == TS_DIM_BAD) core_raise("E_SIZE", "a size is out of range");
	else if (!ts_dim_is_short(b->m->dims, d)) core_raise("E_LIMIT", "a size is too long an expression");
	else return true;
	return false;
}

static bool out_of_range(const char *what)
{
	core_raise("E_SIZE", "%s is out of range", what);
	return false;
}

static bool apply(TsDims *t, int32_t op, TsDim x, TsDim y, TsDim *out)
{
	*out = op == TS_IN_ADD ? ts_dim_add(t, x, y) : op == TS_IN_SUB ? ts_dim_sub(t, x, y) : op == TS_IN_MUL ? ts_dim_mul(t, x, y)
		: op == TS_IN_FLOORDIV ? ts_dim_floordiv(t, x, y) : op == TS_IN_MOD ? ts_dim_mod(t, x, y) : TS_DIM_BAD;
	return *out != TS_DIM_BAD;
}

static bool from_tree(CoreBuilder *b, const TsTree *t, const char *text, TsDim *out)
{
	TsDim x, y;
	switch ((TsTreeKind)t->kind) {
	case TS_TREE_INT: *out = ts_dim_const(b->m->dims, t->i); return true;
	case TS_TREE_NAME: return named(b, t->name, out);
	case TS_TREE_NEG: return from_tree(b, t->kid[0], text, &x) && (apply(b->m->dims, TS_IN_SUB, 0, x, out) || out_of_range(text));
	case TS_TREE_BIN:
		if (t->sub != TS_IN_ADD && t->sub != TS_IN_SUB && t->sub != TS_IN_MUL && t->sub != TS_IN_FLOORDIV && t->sub != TS_IN_MOD) break;
		return from_tree(b, t->kid[0], text, &x) && from_tree(b, t->kid[1], text, &y) && (apply(b->m->dims, t->sub, x, y, out) || out_of_range(text));
	default: break;
	}
	core_raise("E_SIZE", "'%s' is no size: sizes are made of names, integers and + - * // %%", text);
	return false;
}

static bool from_text(CoreBuilder *b, PyObject *o, const char *what, TsDim *out)
{
	TsSym text = core_text(b, o, what);
	if (!text) return false;
	if (strlen(text) > MOST_TEXT) return core_raise("E_LIMIT", "%s: the text of a size has at most %d bytes", what, MOST_TEXT), false;
	TsTree *t = ts_parse_expr(b->cx, 0, text, strlen(text), 0);
	if (t) return from_tree(b, t, text, out) && core_is_short(b, *out);
	ts_diag_reset(b->cx);
	core_raise("E_SYNTAX", "'%s' is no size: sizes are made of names, integers and + - * // %%", text);
	return false;
}

/* The variable of a loop is a size inside it alone. */
static uint32_t note_leaf(void *user, TsDimKind k, int64_t v)
{
	void **u = user;
	CoreBuilder *b = u[0];
	TsSym name = k == TS_DX_SYMBOL ? ts_dim_symbol_info(b->m->dims, (uint32_t)v)->name : NULL;
	uintptr_t *kind = name ? ts_map_find(&b->names, name) : NULL;
	if (kind && *kind == CORE_NAME_LOOP && !core_is_loop_name(b, name)) u[1] = (void *)(uintptr_t)name;
	return 0;
}

static uint32_t no_node(void *user, TsDimKind k, uint32_t a, uint32_t b) { (void)user; (void)k; (void)a; (void)b; return 0; }

static bool in_scope(CoreBuilder *b, TsDim d, const char *what)
{
	void *user[] = { b, NULL };
	if (b->scopes) ts_dim_visit(b->m->dims, d, &(TsDimVisitor){ user, note_leaf, no_node });
	if (user[1]) core_raise("E_UNKNOWN_NAME", "%s: '%s' is the variable of a loop that is over", what, (const char *)user[1]);
	return !user[1];
}

bool core_size(CoreBuilder *b, PyObject *o, const char *what, TsDim *out)
{
	int64_t v;
	if (is_dim(o)) {
		if (((Dim *)o)->b != b) return core_raise("E_UNKNOWN_NAME", "%s: the size belongs to another graph", what), false;
		*out = ((Dim *)o)->d;
		return in_scope(b, *out, what);
	}
	if (PyUnicode_Check(o)) return from_text(b, o, what, out);
	if (!PyIndex_Check(o)) {
		PyObject *type = PyType_GetName(Py_TYPE(o));
		PyErr_Format(PyExc_TypeError, "%s: a size is an int, a string or a Dim, found %S", what, type ? type : Py_None);
		Py_XDECREF(type);
		return false;
	}
	if (!core_int(o, what, &v)) return false;
	*out = ts_dim_const(b->m->dims, v);
	return true;
}

bool core_shape(CoreBuilder *b, PyObject *o, const char *what, uint8_t *rank, TsDim *out)
{
	if (PyUnicode_Check(o) || PyBytes_Check(o)) return PyErr_Format(PyExc_TypeError, "%s is a sequence of sizes", what), false;
	PyObject *items = PySequence_Tuple(o);
	if (!items) return false;
	Py_ssize_t n = PyTuple_Size(items);
	bool ok = n <= TS_MAX_RANK;
	if (!ok) core_raise("E_RANK", "%s: a tensor has at most %d axes", what, TS_MAX_RANK);
	for (Py_ssize_t i = 0; ok && i < n; i++) {
		int64_t v;
		ok = core_size(b, PyTuple_GetItem(items, i), what, &out[i]);
		if (ok && ts_dim_is_const(b->m->dims, out[i], &v) && v < 0) {
			core_raise("E_SIZE", "%s: a size is at least 0, found %lld", what, (long long)v);
			ok = false;
		}
	}
	Py_DECREF(items);
	*rank = ok ? (uint8_t)n : 0;
	return ok;
}

static PyObject *text_of(const Dim *x)
{
	TsBuf t = { 0 };
	ts_dim_print(x->b->m->dims, x->d, &t);
	PyObject *s = PyUnicode_DecodeUTF8(t.p ? t.p : "", (Py_ssize_t)t.n, "replace");
	ts_buf_free(&t);
	return s;
}

static PyObject *dim_str(PyObject *self) { return text_of((Dim *)self); }

/* ---- arithmetic ---- */

/* x op y where one is a size and the other neither a size nor an integer, or the result is no size: tessera.trace makes a number of the graph of it. */
static PyObject *beyond(const char *op, PyObject *x, PyObject *y)
{
	PyObject *m = PyImport_ImportModule("tessera.trace"), *r = m ? PyObject_CallMethod(m, "beyond_sizes", "sOO", op, x, y) : NULL;
	Py_XDECREF(m);
	return r;
}

/* A Dim as it is, an integer as Python's; NULL without an exception for anything else, such as a tensor. */
static PyObject *size_of(PyObject *o)
{
	if (is_dim(o) || PyLong_Check(o)) return Py_NewRef(o);
	PyObject *i = PyIndex_Check(o) ? PyNumber_Index(o) : NULL;
	if (!i && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_TypeError)) PyErr_Clear();
	return i;
}

/* The builder of two sizes; NULL with an exception when they are of two. */
static CoreBuilder *builder_of(PyObject *x, PyObject *y)
{
	if (is_dim(x) && is_dim(y) && ((Dim *)x)->b != ((Dim *)y)->b) { core_raise("E_UNKNOWN_NAME", "the sizes belong to different graphs"); return NULL; }
	return is_dim(x) ? ((Dim *)x)->b : ((Dim *)y)->b;
}

/* body(builder, (x, y), op) for two sizes. */
static PyObject *with_both(CoreBody body, PyObject *x, PyObject *y, int op)
{
	CoreBuilder *b = builder_of(x, y);
	PyObject *both = b ? PyTuple_Pack(2, x, y) : NULL, *which = both ? PyLong_FromLong(op) : NULL;
	PyObject *r = which ? core_enter_size(b, body, both, which) : NULL;
	Py_XDECREF(both);
	Py_XDECREF(which);
	return r;
}

static PyObject *binary_in(CoreBuilder *b, PyObject *args, PyObject *op)
{
	TsDim x, y, r;
	int32_t which = (int32_t)PyLong_AsLong(op);
	if (!core_size(b, PyTuple_GetItem(args, 0), "a size", &x) || !core_size(b, PyTuple_GetItem(args, 1), "a size", &y)) return NULL;
	if (!y && (which == TS_IN_FLOORDIV || which == TS_IN_MOD)) return PyErr_Format(PyExc_ZeroDivisionError, "a size divided by 0"), NULL;
	apply(b->m->dims, which, x, y, &r);
	return core_is_short(b, r) ? core_dim(b, r) : NULL;
}

static PyObject *binary(PyObject *x, PyObject *y, TsInfix op, const char *name)
{
	PyObject *a = size_of(x), *b = a || !PyErr_Occurred() ? size_of(y) : NULL;
	PyObject *r = PyErr_Occurred() ? NULL : a && b ? with_both(binary_in, a, b, op) : beyond(name, x, y);
	Py_XDECREF(a);
	Py_XDECREF(b);
	return r;
}

static PyObject *dim_add(PyObject *x, PyObject *y) { return binary(x, y, TS_IN_ADD, "add"); }
static PyObject *dim_sub(PyObject *x, PyObject *y) { return binary(x, y, TS_IN_SUB, "sub"); }
static PyObject *dim_mul(PyObject *x, PyObject *y) { return binary(x, y, TS_IN_MUL, "mul"); }
static PyObject *dim_floordiv(PyObject *x, PyObject *y) { return binary(x, y, TS_IN_FLOORDIV, "floordiv"); }
static PyObject *dim_mod(PyObject *x, PyObject *y) { return binary(x, y, TS_IN_MOD, "mod"); }
static PyObject *dim_div(PyObject *x, PyObject *y) { return beyond("div", x, y); }

/* x to the power n >= 0, by squares. */
static PyObject *power(PyObject *x, unsigned long long n)
{
	PyObject *r = PyLong_FromLong(1), *square = Py_NewRef(x);
	for (; r && square && n; n >>= 1) {
		PyObject *old = r;
		if (n & 1) r = PyNumber_Multiply(old, square), Py_DECREF(old);
		old = square;
		if (n > 1) square = PyNumber_Multiply(old, old), Py_DECREF(old);
	}
	if (!square) Py_CLEAR(r);
	Py_XDECREF(square);
	return r;
}

static PyObject *dim_pow(PyObject *x, PyObject *y, PyObject *modulus)
{
	if (modulus != Py_None) return Py_NewRef(Py_NotImplemented);
	PyObject *n = is_dim(x) && !is_dim(y) ? size_of(y) : NULL;
	if (!n) return PyErr_Occurred() ? NULL : beyond("pow", x, y);
	int overflow;
	long long v = PyLong_AsLongLongAndOverflow(n, &overflow);
	Py_DECREF(n);
	return overflow > 0 ? core_raise("E_LIMIT", "a size is too long an expression") : v < 0 || overflow ? beyond("pow", x, y) : power(x, (unsigned long long)v);
}

static PyObject *dim_neg(PyObject *x)
{
	PyObject *zero = PyLong_FromLong(0), *r = zero ? dim_sub(zero, x) : NULL;
	Py_XDECREF(zero);
	return r;
}

static PyObject *dim_pos(PyObject *x) { return Py_NewRef(x); }

/* ---- what is known of it ---- */

static uint32_t name_leaf(void *user, TsDimKind k, int64_t v)
{
	void **u = user;
	const TsDims *t = u[0];
	TsBuf *b = u[1];
	const char *name = k == TS_DX_SYMBOL ? ts_dim_symbol_info(t, (uint32_t)v)->name : NULL;
	if (name && !(b->p && strstr(b->p, name))) ts_buf_fmt(b, "%s%s", b->n ? ", " : "", name);
	return 0;
}

static PyObject *dim_index(PyObject *self)
{
	const Dim *x = (Dim *)self;
	TsBuf text = { 0 }, names = { 0 };
	void *user[] = { x->b->m->dims, &names };
	TsDimVisitor v = { user, name_leaf, no_node };
	ts_dim_visit(x->b->m->dims, x->d, &v);
	ts_dim_print(x->b->m->dims, x->d, &text);
	bool alone = names.p && !strcmp(text.p, names.p);
	core_raise("E_NOT_A_VALUE", "the size %s is not known while the graph is built%s%s", text.p, alone ? "" : ": it depends on ", alone ? "" : names.p ? names.p : "?");
	ts_buf_free(&text);
	ts_buf_free(&names);
	return NULL;
}

static PyObject *dim_float(PyObject *self)
{
	const Dim *x = (Dim *)self;
	TsBuf text = { 0 };
	ts_dim_print(x->b->m->dims, x->d, &text);
	core_raise("E_NOT_A_VALUE", "the size %s is not known while the graph is built and is no Python float; a number of the graph is made of a size d by d ** 0.5, tessera.ops.sqrt(d), "
		"d / 2, d * 1.0", text.p);
	ts_buf_free(&text);
	return NULL;
}

static PyObject *undecided(const Dim *x, PyObject *other, const char *op)
{
	PyObject *text = text_of(x), *second = text ? PyObject_Str(other) : NULL;
	const char *a = second ? PyUnicode_AsUTF8AndSize(text, NULL) : NULL, *b = a ? PyUnicode_AsUTF8AndSize(second, NULL) : NULL;
	if (b) core_raise("E_SIZE", "whether %s %s %s is not known while the graph is built", a, op, b);
	Py_XDECREF(text);
	Py_XDECREF(second);
	return NULL;
}

static int dim_bool(PyObject *self)
{
	const Dim *x = (Dim *)self;
	int64_t lo, hi;
	ts_dim_range(x->b->m->dims, x->d, &lo, &hi);
	if (lo > 0 || hi < 0) return 1;
	PyObject *zero = PyLong_FromLong(0);
	if (zero) undecided(x, zero, "!=");
	Py_XDECREF(zero);
	return -1;
}

/* x < y is x + 1 <= y. */
static TsTruth less(TsDims *t, TsDim x, TsDim y) { return ts_dim_le(t, ts_dim_add(t, x, ts_dim_const(t, 1)), y); }

static PyObject *compare_in(CoreBuilder *b, PyObject *args, PyObject *op)
{
	static const char *const words[] = { [Py_LT] = "<", [Py_LE] = "<=", [Py_EQ] = "==", [Py_NE] = "!=", [Py_GT] = ">", [Py_GE] = ">=" };
	TsDims *t = b->m->dims;
	TsDim x, y;
	int which = (int)PyLong_AsLong(op);
	if (!core_size(b, PyTuple_GetItem(args, 0), "a size", &x) || !core_size(b, PyTuple_GetItem(args, 1), "a size", &y)) return NULL;
	TsTruth r = which == Py_EQ || which == Py_NE ? ts_dim_eq(t, x, y) : which == Py_LT ? less(t, x, y) : which == Py_LE ? ts_dim_le(t, x, y)
		: which == Py_GT ? less(t, y, x) : ts_dim_le(t, y, x);
	return r == TS_OPEN ? undecided((Dim *)PyTuple_GetItem(args, 0), PyTuple_GetItem(args, 1), words[which]) : PyBool_FromLong((r == TS_YES) == (which != Py_NE));
}

/* The same expression in one graph: normal forms are interned. */
static bool same(PyObject *x, PyObject *y) { return is_dim(x) && is_dim(y) && ((Dim *)x)->b == ((Dim *)y)->b && ((Dim *)x)->d == ((Dim *)y)->d; }

static PyObject *dim_compare(PyObject *x, PyObject *y, int op)
{
	static const char *const names[] = { [Py_LT] = "lt", [Py_LE] = "le", [Py_EQ] = "eq", [Py_NE] = "ne", [Py_GT] = "gt", [Py_GE] = "ge" };
	bool equality = op == Py_EQ || op == Py_NE;
	int overflow = 0;              /* by an int that no size reaches */
	if (equality && same(x, y)) return PyBool_FromLong(op == Py_EQ);
	if (y == Py_None || PyUnicode_Check(y)) return Py_NewRef(Py_NotImplemented);
	PyObject *b = size_of(y), *r = NULL;
	if (!b) return PyErr_Occurred() ? NULL : beyond(names[op], x, y);
	if (equality && PyLong_Check(b) && (PyLong_AsLongLongAndOverflow(b, &overflow), overflow)) r = PyBool_FromLong(op == Py_NE);
	else r = with_both(compare_in, x, b, op);
	Py_DECREF(b);
	return r;
}

PyObject *core_same_size(PyObject *module, PyObject *args)
{
	(void)module;
	PyObject *x, *y;
	if (!PyArg_ParseTuple(args, "OO:same_size", &x, &y)) return NULL;
	if (x == y || is_dim(x) || is_dim(y)) return PyBool_FromLong(x == y || same(x, y));
	return PyObject_RichCompare(x, y, Py_EQ);
}

static Py_hash_t dim_hash(PyObject *self)
{
	const Dim *x = (Dim *)self;
	return (Py_hash_t)(((uint64_t)x->b->serial << 32 | x->d) * 0x9e3779b97f4a7c15u >> 1);
}

static PyObject *dim_builder(PyObject *self, void *unused)
{
	(void)unused;
	return Py_NewRef((PyObject *)((Dim *)self)->b);
}

static PyGetSetDef getset[] = {
	{ "builder", dim_builder, NULL, "The graph that it is a size of.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot slots[] = {
	{ Py_tp_doc, "A size of a graph that is being built, such as B or 3*D. Its arithmetic is exact and kept in a normal form." },
	{ Py_tp_dealloc, dim_free },
	{ Py_tp_str, dim_str },
	{ Py_tp_repr, dim_str },
	{ Py_tp_hash, dim_hash },
	{ Py_tp_getset, getset },
	{ Py_tp_richcompare, dim_compare },
	{ Py_nb_add, dim_add },
	{ Py_nb_subtract, dim_sub },
	{ Py_nb_multiply, dim_mul },
	{ Py_nb_floor_divide, dim_floordiv },
	{ Py_nb_true_divide, dim_div },
	{ Py_nb_power, dim_pow },
	{ Py_nb_remainder, dim_mod },
	{ Py_nb_negative, dim_neg },
	{ Py_nb_positive, dim_pos },
	{ Py_nb_bool, dim_bool },
	{ Py_nb_int, dim_index },
	{ Py_nb_float, dim_float },
	{ Py_nb_index, dim_index },
	{ 0, NULL },
};

static PyType_Spec spec = { "tessera._core.Dim", sizeof(Dim), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots };

bool core_dim_init(void)
{
	core_dim_type = (PyTypeObject *)PyType_FromSpec(&spec);
	/* NumPy leaves operators with a size to the size */
	return core_dim_type && !PyObject_SetAttrString((PyObject *)core_dim_type, "__array_ufunc__", Py_None);
}
