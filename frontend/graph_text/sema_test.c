/* Running `test` blocks: an environment of tensors, grown statement by statement. */
#include "frontend/graph_text/sema_test.h"
#include "frontend/graph_text/sema_int.h"
#include "ir/interp.h"
#include "ir/npy.h"
#include "support/file.h"
#include <string.h>

typedef struct { TsSym name; TsSpan at; TsTensor t; } Named;
typedef struct { TsSym name; TsSpan at; TsDim dim; int64_t size; } Size; /* `dims B = 4`: a dim of the file and its size in this test */
typedef struct { Sema *s; const TsTestHooks *h; TS_VEC(Named) env; TS_VEC(Size) sizes; uint32_t temps; } Test;

enum { MAX_RESULTS = 64 };

/* ---- expressions ---- */

/* The environment as constants of a graph of its own, so that any expression can be built there and evaluated. */
static TsGraph *scratch(Test *t, Scope *scope)
{
	Sema *s = t->s;
	TsGraph *g = ts_graph_new(s->m, ts_intern(s->cx, "test"));
	*scope = (Scope){ .up = &s->top };
	s->scope = scope;
	s->g = g;
	s->b = &g->body;
	s->num = &s->m->numerics;
	for (uint32_t i = 0; i < t->env.n; i++) {
		const Named *n = &t->env.p[i];
		TsType ty = { .elem = n->t.elem, .accum = TS_DTYPE_NONE, .rank = n->t.rank };
		for (int k = 0; k < ty.rank; k++) ty.dim[k] = ts_dim_const(s->d, n->t.dim[k]);
		Ent *e = TS_NEW(s->a, Ent);
		*e = ENT(ENT_VALUE, n->at, .v = ts_add_const(s->m, g, s->b, ty, n->t.data, n->at));
		ts_map_set(s->a, &scope->names, n->name, e);
	}
	for (uint32_t i = 0; i < t->sizes.n; i++) {
		Ent *e = TS_NEW(s->a, Ent);
		*e = ENT(ENT_SIZE, t->sizes.p[i].at, .d = ts_dim_const(s->d, t->sizes.p[i].size));
		ts_map_set(s->a, &scope->names, t->sizes.p[i].name, e);
	}
	return g;
}

static bool is_number(Ent e) { return e.kind == ENT_INT || e.kind == ENT_FLOAT || e.kind == ENT_BOOL; }

/* The expression's results as tensors, literals in the type `want`. -1 after reporting. *scalar: it is a bare number. */
static int evaluate(Test *t, TsTree *x, TsDtype want, TsTensor *out, bool *scalar)
{
	Sema *s = t->s;
	Scope scope;
	uint32_t errors = ts_error_count(s->cx);
	TsGraph *g = scratch(t, &scope);
	Ent e = ts_s_expr(s, x);
	uint32_t n = e.kind == ENT_MULTI ? e.n : 1;
	if (scalar) *scalar = is_number(e);
	if (n > MAX_RESULTS) return ts_s_fail(s, x->at, "E_LIMIT", "more than %d results", MAX_RESULTS), -1;
	for (uint32_t i = 0; i < n; i++) {
		TsVal v = ts_s_value(s, e.kind == ENT_MULTI ? e.item[i] : e, want);
		if (v) ts_push(s->a, &g->body.results, v);
	}
	bool ok = ts_error_count(s->cx) == errors && g->body.results.n == n && ts_eval(s->m, g, TS_EVAL_DECLARED, NULL, out);
	s->scope = &s->top;
	return ok ? (int)n : -1;
}

static bool evaluate_one(Test *t, TsTree *x, TsDtype want, TsTensor *out, bool *scalar)
{
	TsTensor all[MAX_RESULTS] = { 0 };
	int n = evaluate(t, x, want, all, scalar);
	if (n > 1) ts_s_fail(t->s, x->at, "E_RESULTS", "%d results where one value is needed", n);
	for (int i = 1; i < n; i++) ts_tensor_free(&all[i]);
	*out = all[0];
	return n == 1;
}

/* ---- calls of graphs ---- */

static TsGraph *called_graph(Test *t, TsTree *x)
{
	if (x->kind != TS_TREE_CALL || x->kid[0]->kind != TS_TREE_NAME) return NULL;
	for (uint32_t i = 0; i < t->s->m->graphs.n; i++)
		if (t->s->m->graphs.p[i]->name == x->kid[0]->name) return t->s->m->graphs.p[i];
	return NULL;
}

static bool hoist(Test *t, TsTree **at);

/* The parameter that argument i of a call is for, or -1 after reporting. */
static int parameter_of(Test *t, TsGraph *g, TsTree *arg, uint32_t i)
{
	if (arg->kind != TS_TREE_KW) {
		if (i < g->params.n) return (int)i;
		ts_s_fail(t->s, arg->at, "E_ARITY", "graph '%s' takes %u arguments", g->name, g->params.n);
		return -1;
	}
	for (uint32_t k = 0; k < g->params.n; k++)
		if (ts_val(g, g->params.p[k])->name == arg->name) return (int)k;
	ts_s_fail(t->s, arg->at, "E_UNKNOWN_NAME", "graph '%s' has no parameter '%s'", g->name, arg->name);
	return -1;
}

static bool arguments(Test *t, TsGraph *g, TsTree *x, TsTensor *in, bool *given)
{
	for (uint32_t i = 1; i < x->n; i++) {
		int k = parameter_of(t, g, x->kid[i], i - 1);
		if (k < 0) return false;
		if (given[k]) return ts_s_fail(t->s, x->kid[i]->at, "E_ARITY", "parameter '%s' is given twice", ts_val(g, g->params.p[k])->name), false;
		TsTree *arg = x->kid[i]->kind == TS_TREE_KW ? x->kid[i]->kid[0] : x->kid[i];
		if (!hoist(t, &arg) || !evaluate_one(t, arg, ts_val(g, g->params.p[k])->type.elem, &in[k], NULL)) return false;
		given[k] = true;
	}
	for (uint32_t k = 0; k < g->params.n; k++)
		if (!given[k]) return ts_s_fail(t->s, x->at, "E_ARITY", "parameter '%s' of graph '%s' is not given", ts_val(g, g->params.p[k])->name, g->name), false;
	return true;
}

/* Calls find the sizes that the test's `dims` say. */
static bool sizes_agree(Test *t, TsGraph *g, TsSpan at, const TsTensor *in)
{
	for (uint32_t k = 0; k < g->params.n; k++) {
		const TsValue *v = ts_val(g, g->params.p[k]);
		for (int a = 0; a < v->type.rank && a < in[k].rank; a++)
			for (uint32_t i = 0; i < t->sizes.n; i++) {
				const Size *z = &t->sizes.p[i];
				if (v->type.dim[a] != z->dim || in[k].dim[a] == z->size) continue;
				ts_s_fail(t->s, at, "E_CALL_DIM", "input '%s' has %s = %lld, the test's dims say %lld", v->name, z->name, (long long)in[k].dim[a], (long long)z->size);
				return false;
			}
	}
	return true;
}

/* out: one per result. */
static bool call(Test *t, TsGraph *g, TsTree *x, TsTensor *out)
{
	TsTensor *in = TS_NEW_N(t->s->a, TsTensor, g->params.n + 1);
	bool *given = TS_NEW_N(t->s->a, bool, g->params.n + 1);
	bool ok = arguments(t, g, x, in, given) && sizes_agree(t, g, x->at, in) && t->h->call(t->h->user, g, x->at, in, out);
	for (uint32_t k = 0; k < g->params.n; k++) ts_tensor_free(&in[k]);
	return ok;
}

static void keep(Test *t, TsSym name, TsSpan at, TsTensor value) { ts_push(t->s->a, &t->env, (Named){ name, at, value }); }

/* A call inside an expression: its one result gets a name that no text has. */
static bool hoist_call(Test *t, TsGraph *g, TsTree **at)
{
	TsTensor *out = TS_NEW_N(t->s->a, TsTensor, g->body.results.n + 1);
	TsTree *x = *at;
	if (g->body.results.n != 1) return ts_s_fail(t->s, x->at, "E_RESULTS", "graph '%s' has %u results; name them first", g->name, g->body.results.n), false;
	if (!call(t, g, x, out)) return false;
	TsSym name = ts_intern_fmt(t->s->cx, "%s()%u", g->name, ++t->temps);
	keep(t, name, x->at, out[0]);
	*at = ts_tree_name(t->s->cx, x->at, name);
	return true;
}

/* Runs the graph calls in an expression, left to right, and puts names in their places. */
static bool hoist(Test *t, TsTree **at)
{
	TsTree *x = *at;
	TsGraph *g = called_graph(t, x);
	if (g) return hoist_call(t, g, at);
	TsTree *copy = NULL;
	for (uint32_t i = 0; i < x->n; i++) {
		TsTree *kid = x->kid[i];
		if (!kid) continue;
		if (!hoist(t, &kid)) return false;
		if (kid == x->kid[i]) continue;
		if (!copy) {
			copy = ts_memdup(t->s->a, x, sizeof *x);
			copy->kid = ts_memdup(t->s->a, x->kid, x->n * sizeof *x->kid);
			copy->cap = x->n;
		}
		copy->kid[i] = kid;
	}
	if (copy) *at = copy;
	return true;
}

/* ---- statements ---- */

static bool is_taken(Test *t, TsSym name, TsSpan at)
{
	for (uint32_t i = 0; i < t->env.n; i++)
		if (t->env.p[i].name == name) return ts_s_fail(t->s, at, "E_ASSIGNED_TWICE", "'%s' is already assigned", name), true;
	for (uint32_t i = 0; i < t->sizes.n; i++)
		if (t->sizes.p[i].name == name) return ts_s_fail(t->s, at, "E_ASSIGNED_TWICE", "'%s' has its size already", name), true;
	return false;
}

/* A type whose sizes are numbers. */
static bool fixed_type(Test *t, TsTree *x, TsDtype *elem, int64_t *dim, int *rank)
{
	TsType ty;
	Scope scope;
	scratch(t, &scope);
	bool ok = ts_s_type(t->s, x, &ty);
	for (int k = 0; ok && k < ty.rank; k++)
		if (!ts_dim_is_const(t->s->d, ty.dim[k], &dim[k])) ok = (ts_s_fail(t->s, x->at, "E_TEST", "the sizes of a test's tensors are numbers"), false);
	t->s->scope = &t->s->top;
	if (ok) *elem = ty.elem, *rank = ty.rank;
	return ok;
}

static bool has_type(Test *t, TsSym name, TsSpan at, const TsTensor *v, TsDtype elem, int rank, const int64_t *dim)
{
	if (v->elem == elem && v->rank == rank && !memcmp(v->dim, dim, (size_t)rank * sizeof *dim)) return true;
	TsBuf b = { 0 };
	ts_buf_fmt(&b, "%s[", ts_dtype_name(v->elem));
	for (int k = 0; k < v->rank; k++) ts_buf_fmt(&b, k ? ", %lld" : "%lld", (long long)v->dim[k]);
	ts_s_fail(t->s, at, "E_TYPE_MISMATCH", "'%s' is %s]", name, b.p);
	ts_buf_free(&b);
	return false;
}

/* One number everywhere. */
static bool spread(Test *t, const TsTensor *like, TsTensor *v)
{
	TsTensor wide;
	if (v->elem == like->elem && v->rank == like->rank && !memcmp(v->dim, like->dim, v->rank * sizeof *v->dim)) return true;
	if (v->count != 1 || !ts_tensor_new(t->s->cx, "a test's tensor", v->elem, like->rank, like->dim, &wide)) return false;
	size_t size = (size_t)v->bytes;
	for (int64_t i = 0; i < wide.count; i++) {
		if (ts_dtype_bits(v->elem) < 8) ts_elem_set(v->elem, wide.data, i, ts_elem_get(v->elem, v->data, 0));
		else memcpy((char *)wide.data + (size_t)i * size, v->data, size);
	}
	ts_tensor_free(v);
	*v = wide;
	return true;
}

/* One of `dims B = 4, S = 2*B`. */
static bool size(Test *t, TsTree *x)
{
	Sema *s = t->s;
	Scope scope;
	int64_t v = 0;
	if (is_taken(t, x->name, x->at)) return false;
	const Ent *e = ts_s_find(s, x->name);
	if (!e) return ts_s_fail(s, x->at, "E_UNKNOWN_NAME", "the file has no dim '%s'", x->name), false;
	uint32_t sym = 0, n = ts_dim_symbol_count(s->d);
	while (sym < n && (ts_dim_symbol_info(s->d, sym)->name != x->name || e->kind != ENT_SIZE || !e->tree || e->tree->kid[1])) sym++;
	if (sym == n || !x->kid[1]) return ts_s_fail(s, x->at, "E_TEST", "a test gives a dim of the file its size: dims B = 4"), false;
	scratch(t, &scope);
	bool ok = ts_s_int(s, x->kid[1], &v);
	s->scope = &s->top;
	const TsDimSym *d = ts_dim_symbol_info(s->d, sym);
	if (ok && (v < d->min || v > d->max || v % d->multiple)) ok = (ts_s_fail(s, x->at, "E_SIZE", "%s cannot be %lld", x->name, (long long)v), false);
	if (ok) ts_push(s->a, &t->sizes, (Size){ x->name, x->at, e->d, v });
	return ok;
}

static bool sizes(Test *t, TsTree *x)
{
	for (uint32_t i = 0; i < x->n; i++)
		if (!size(t, x->kid[i])) return false;
	return true;
}

static bool is_call_of(TsTree *x, const char *name) { return x->kind == TS_TREE_CALL && x->kid[0]->kind == TS_TREE_NAME && !strcmp(x->kid[0]->name, name); }

static bool has_argument(TsTree *x, const char *name, uint32_t position)
{
	uint32_t plain = 0;
	for (uint32_t i = 1; i < x->n; i++) {
		if (x->kid[i]->kind == TS_TREE_KW && !strcmp(x->kid[i]->name, name)) return true;
		plain += x->kid[i]->kind != TS_TREE_KW;
	}
	return plain > position;
}

/* `normal(key = k)` takes shape and type from the input that it fills. */
static TsTree *complete_random(Test *t, TsTree *x, TsDtype elem, int rank, const int64_t *dim)
{
	TsCtx *cx = t->s->cx;
	if (!is_call_of(x, "normal") && !is_call_of(x, "uniform") && !is_call_of(x, "randint")) return x;
	TsTree *copy = ts_tree(cx, TS_TREE_CALL, x->at, 0), *shape = ts_tree(cx, TS_TREE_LIST, x->at, 0), *type = ts_tree(cx, TS_TREE_DTYPE, x->at, 0);
	for (uint32_t i = 0; i < x->n; i++) ts_tree_add(cx, copy, x->kid[i]);
	for (int k = 0; k < rank; k++) ts_tree_add(cx, shape, ts_tree_int(cx, x->at, dim[k]));
	type->i = elem;
	if (!has_argument(x, "shape", 1)) ts_tree_add(cx, copy, ts_tree_kw(cx, "shape", shape));
	if (!has_argument(x, "dtype", MAX_RESULTS)) ts_tree_add(cx, copy, ts_tree_kw(cx, "dtype", type));
	return copy;
}

static bool input(Test *t, TsTree *x)
{
	Sema *s = t->s;
	TsTensor v = { 0 }, like = { 0 };
	TsDtype elem;
	int64_t dim[TS_MAX_RANK];
	int rank;
	bool scalar = false, ok;
	if (is_taken(t, x->name, x->at) || !fixed_type(t, x->kid[0], &elem, dim, &rank)) return false;
	TsTree *value = complete_random(t, x->kid[1], elem, rank, dim);
	if (is_call_of(value, "file")) {
		if (value->n != 2 || value->kid[1]->kind != TS_TREE_STR) return ts_s_fail(s, value->at, "E_ARITY", "file takes the name of one .npy file"), false;
		ok = ts_npy_read(s->cx, ts_path_beside(s->a, s->m->path, value->kid[1]->name), elem, &v);
	} else {
		ok = hoist(t, &value) && evaluate_one(t, value, elem, &v, &scalar);
	}
	like = (TsTensor){ .elem = elem, .rank = (uint8_t)rank };
	memcpy(like.dim, dim, sizeof dim);
	ok = ok && (!scalar || spread(t, &like, &v)) && has_type(t, x->name, x->kid[0]->at, &v, elem, rank, dim);
	if (ok) keep(t, x->name, x->at, v);
	else ts_tensor_free(&v);
	return ok;
}

static bool bind(Test *t, TsTree *bind, TsTensor *v)
{
	TsDtype elem;
	int64_t dim[TS_MAX_RANK];
	int rank;
	if (!strcmp(bind->name, "_")) {
		ts_tensor_free(v);
		return true;
	}
	if (is_taken(t, bind->name, bind->at)) return false;
	if (bind->n && bind->kid[0] && (!fixed_type(t, bind->kid[0], &elem, dim, &rank) || !has_type(t, bind->name, bind->at, v, elem, rank, dim))) return false;
	keep(t, bind->name, bind->at, *v);
	*v = (TsTensor){ 0 };
	return true;
}

static bool let(Test *t, TsTree *x)
{
	TsTensor out[MAX_RESULTS] = { 0 };
	TsTree *binds = x->kid[0], *value = x->kid[1];
	TsGraph *g = called_graph(t, value);
	int n = -1;
	if (g && g->body.results.n <= MAX_RESULTS) n = call(t, g, value, out) ? (int)g->body.results.n : -1;
	else if (hoist(t, &value)) n = evaluate(t, value, TS_DTYPE_NONE, out, NULL);
	bool ok = n >= 0;
	if (ok && (uint32_t)n != binds->n) ok = (ts_s_fail(t->s, x->at, "E_RESULTS", "%u names for %d results", binds->n, n), false);
	for (int i = 0; i < n && ok; i++) ok = bind(t, binds->kid[i], &out[i]);
	for (int i = 0; i < MAX_RESULTS && !ok; i++) ts_tensor_free(&out[i]);
	return ok;
}

/* ---- expectations ---- */

static bool is_literal(const TsTree *x)
{
	return x->kind == TS_TREE_LIST || x->kind == TS_TREE_INT || x->kind == TS_TREE_FLOAT || x->kind == TS_TREE_TRUE || x->kind == TS_TREE_FALSE ||
	       x->kind == TS_TREE_INF || x->kind == TS_TREE_NAN || (x->kind == TS_TREE_NEG && is_literal(x->kid[0]));
}

static bool tolerance(Test *t, TsTree *x, double *within)
{
	Scope scope;
	*within = 0;
	if (!x) return true;
	scratch(t, &scope);
	Ent e = ts_s_expr(t->s, x);
	t->s->scope = &t->s->top;
	*within = e.kind == ENT_INT ? (double)e.i : e.f;
	if ((e.kind == ENT_INT || e.kind == ENT_FLOAT) && *within >= 0) return true;
	if (e.kind != ENT_UNKNOWN) ts_s_fail(t->s, x->at, "E_TEST", "within takes a number that is 0 or more");
	return false;
}

/* a == b: a literal takes the other side's type, a number its shape too. */
static bool both_sides(Test *t, TsTree *x, TsTensor *a, TsTensor *b)
{
	TsTree *lhs = x->kid[0], *rhs = x->kid[1];
	bool swap = is_literal(lhs), scalar_a = false, scalar_b = false;
	if (!hoist(t, &lhs) || !hoist(t, &rhs)) return false;
	if (swap ? !evaluate_one(t, rhs, TS_DTYPE_NONE, b, &scalar_b) || !evaluate_one(t, lhs, b->elem, a, &scalar_a)
	         : !evaluate_one(t, lhs, TS_DTYPE_NONE, a, &scalar_a) || !evaluate_one(t, rhs, a->elem, b, &scalar_b)) return false;
	if (scalar_b) spread(t, a, b);
	else if (scalar_a) spread(t, b, a);
	return has_type(t, ts_intern(t->s->cx, "the right side"), x->at, b, a->elem, a->rank, a->dim);
}

static bool all_true(Test *t, TsTree *x, TsTensor *a, TsTensor *b)
{
	if (!hoist(t, &x) || !evaluate_one(t, x, TS_DTYPE_NONE, a, NULL)) return false;
	if (a->elem != TS_BOOL) return ts_s_fail(t->s, x->at, "E_TEST", "expect takes a == b, or a bool tensor that is true everywhere"), false;
	if (!ts_tensor_new(t->s->cx, "a test's tensor", TS_BOOL, a->rank, a->dim, b)) return false;
	memset(b->data, 1, (size_t)b->bytes);
	return true;
}

static bool expect(Test *t, TsTree *x)
{
	TsTensor a = { 0 }, b = { 0 };
	double within;
	if (x->i) return ts_s_fail(t->s, x->at, "E_TEST", "expect error follows the call that is to fail"), false;
	TsTree *what = x->kid[0];
	bool ok = tolerance(t, x->kid[1], &within) && (what->kind == TS_TREE_BIN && what->sub == TS_IN_EQ ? both_sides(t, what, &a, &b) : all_true(t, what, &a, &b)) &&
	          t->h->expect(t->h->user, x->at, &a, &b, within);
	ts_tensor_free(&a);
	ts_tensor_free(&b);
	return ok;
}

static bool statement(Test *t, TsTree *x)
{
	switch ((TsTreeKind)x->kind) {
	case TS_TREE_INPUT: return input(t, x);
	case TS_TREE_LET: return let(t, x);
	case TS_TREE_EXPECT: return expect(t, x);
	case TS_TREE_DIMS: return sizes(t, x);
	default: ts_s_fail(t->s, x->at, "E_TEST", "a test holds dims, inputs, calls and expectations"); return false;
	}
}

struct TsSemaTests { Sema s; };

TsModule *ts_sema_tests_open(TsCtx *cx, TsTree *file, const char *path, const TsSemaOptions *o, TsSemaTests **out)
{
	*out = TS_NEW(ts_arena(cx), TsSemaTests);
	return ts_s_module(&(*out)->s, cx, file, path, o);
}

bool ts_sema_test(TsSemaTests *tests, TsTree *test, const TsTestHooks *h)
{
	Sema *s = &tests->s;
	Test t = { .s = s, .h = h };
	TsTree *block = test->kid[1];
	bool ok = true, expects = false;
	for (uint32_t i = 0; i < block->n; i++) expects |= block->kid[i]->kind == TS_TREE_EXPECT;
	for (uint32_t i = 0; ok && i < block->n; i++) {
		TsTree *next = i + 1 < block->n ? block->kid[i + 1] : NULL;
		bool fails = next && next->kind == TS_TREE_EXPECT && next->i;
		s->scope = &s->top; /* where a statement that failed left it, its names are gone */
		ok = statement(&t, block->kid[i]);
		if (!fails) continue;
		if (ok) ok = (ts_s_fail(s, next->at, "E_TEST", "the statement before did not fail"), false);
		else ok = h->expect_error(h->user, next->at, next->kid[0]->name);
		i++;
	}
	if (ok && !expects) ok = (ts_s_fail(s, test->at, "E_TEST_EMPTY", "test \"%s\" expects nothing: it can only pass", test->kid[0]->name), false);
	for (uint32_t i = 0; i < t.env.n; i++) ts_tensor_free(&t.env.p[i].t);
	return ok;
}
