/* Calls: operators with operands and attributes, fns inlined. */
#include "frontend/graph_text/sema_int.h"
#include <string.h>

enum { MAX_ARGS = 64, MAX_INLINE = 64, MOST_CALLS = 20000, MOST_VALUES = 1 << 20 };

/* ---- attributes ---- */

static bool bad_attr(Sema *s, TsTree *t, const TsAttrInfo *info, const char *wanted)
{
	ts_error(s->cx, t->at, "E_ATTR", "%s is %s", info->name, wanted);
	return false;
}

static bool attr_choice(Sema *s, TsTree *t, const TsAttrInfo *info, TsSym text, TsAttr *a)
{
	size_t n = strlen(text);
	for (const char *c = info->choices; c && *c; c += *c == '|') {
		const char *end = strchr(c, '|');
		size_t len = end ? (size_t)(end - c) : strlen(c);
		if (len == n && !strncmp(c, text, n)) { a->s = text; return true; }
		c += len;
	}
	return bad_attr(s, t, info, ts_printf(s->a, "one of %s, found \"%s\"", info->choices, text));
}

static bool attr_list(Sema *s, TsTree *t, const TsAttrInfo *info, Ent e, TsAttr *a)
{
	uint32_t n = e.kind == ENT_LIST ? e.n : 1;
	const Ent *item = e.kind == ENT_LIST ? e.item : &e;
	a->n = n;
	a->ints = TS_NEW_N(s->a, int64_t, n);
	a->dims = TS_NEW_N(s->a, TsDim, n);
	for (uint32_t i = 0; i < n; i++) {
		if (item[i].kind != ENT_INT && (item[i].kind != ENT_SIZE || info->kind == TS_A_INTS)) return bad_attr(s, t, info, info->kind == TS_A_INTS ? "a list of integers" : "a list of sizes");
		a->ints[i] = item[i].i;
		a->dims[i] = item[i].kind == ENT_SIZE ? item[i].d : ts_dim_const(s->d, item[i].i);
	}
	return true;
}

static bool set_attr(Sema *s, TsTree *t, const TsAttrInfo *info, TsAttr *a)
{
	Ent e = ts_s_expr(s, t);
	int64_t v;
	if (e.kind == ENT_UNKNOWN) return false;
	a->none = false;
	if (e.kind == ENT_NONE) {
		a->none = true;
		return info->none_default || bad_attr(s, t, info, "never none");
	}
	if (e.kind == ENT_SIZE && ts_dim_is_const(s->d, e.d, &v)) e = ENT(ENT_INT, e.at, .i = v);
	switch (info->kind) {
	case TS_A_INT: a->i = e.i; return e.kind == ENT_INT || bad_attr(s, t, info, "an integer known at compile time");
	case TS_A_FLOAT: a->f = e.kind == ENT_INT ? (double)e.i : e.f; return e.kind == ENT_INT || e.kind == ENT_FLOAT || bad_attr(s, t, info, "a number");
	case TS_A_BOOL: a->i = e.i; return e.kind == ENT_BOOL || bad_attr(s, t, info, "true or false");
	case TS_A_DTYPE: a->t = (TsDtype)e.i; return e.kind == ENT_DTYPE || bad_attr(s, t, info, "an element type");
	case TS_A_ENUM: return e.kind == ENT_STR ? attr_choice(s, t, info, e.s, a) : bad_attr(s, t, info, ts_printf(s->a, "one of the strings %s", info->choices));
	case TS_A_DIM:
		a->n = 1;
		a->dims = TS_NEW(s->a, TsDim);
		a->dims[0] = e.kind == ENT_SIZE ? e.d : ts_dim_const(s->d, e.i);
		return e.kind == ENT_INT || e.kind == ENT_SIZE || bad_attr(s, t, info, "a size");
	case TS_A_INTS:
	case TS_A_DIMS: return attr_list(s, t, info, e, a);
	}
	return false;
}

/* ---- operators ---- */

/* The element type that literals among the operands take: that of the first operand that has one. */
static TsDtype settled_type(Sema *s, uint32_t n, const Ent *in, uint32_t from)
{
	for (uint32_t i = from; i < n; i++)
		if (in[i].kind == ENT_VALUE) return ts_val(s->g, in[i].v)->type.elem;
	bool floats = false;
	for (uint32_t i = from; i < n; i++) {
		if (in[i].kind == ENT_SIZE) return TS_INT64;
		floats |= in[i].kind == ENT_FLOAT;
	}
	return floats ? TS_F32 : TS_DTYPE_NONE;
}

Ent ts_s_op(Sema *s, TsOp op, TsSpan at, uint32_t n, const Ent *in, const TsAttr *attr)
{
	const TsOpInfo *info = ts_op_info(s->cx, op);
	TsVal v[MAX_ARGS] = { 0 };
	Ent own[MAX_ARGS], settled;
	uint32_t from = op == TS_OP_where ? 1 : 0;
	bool literals = info->cls == TS_CLS_POINTWISE || op == TS_OP_matmul || info->variadic;
	for (uint32_t i = 0; i < n; i++)
		if (in[i].kind == ENT_UNKNOWN) return ts_s_unknown(at);
	if (s->kernel) {
		if (n) memcpy(own, in, n * sizeof *in);
		if (!ts_k_operands(s, op, at, n, own, &attr, &settled)) return settled;
		in = own;
	}
	TsDtype t = literals ? settled_type(s, n, in, from) : TS_DTYPE_NONE;
	for (uint32_t i = 0; i < n; i++) {
		if (in[i].kind == ENT_NONE && i >= info->min_in) continue;
		v[i] = ts_s_value(s, in[i], i < from ? TS_BOOL : t);
		if (!v[i]) return ts_s_unknown(at);
	}
	TsNode *node = ts_add_op(s->m, s->g, s->b, op, n, v, attr, s->num, at);
	if (!node) return ts_s_unknown(at);
	if (node->nout == 1) return ENT(ENT_VALUE, at, .v = node->out[0]);
	Ent r = ENT(ENT_MULTI, at, .n = node->nout);
	r.item = TS_NEW_N(s->a, Ent, r.n);
	for (uint32_t i = 0; i < r.n; i++) r.item[i] = ENT(ENT_VALUE, at, .v = node->out[i]);
	return r;
}

TsSpan ts_s_call_span(TsTree *t)
{
	TsTree *f = t->kid[0];
	TsSpan at = t->at;
	uint32_t n = f->kind == TS_TREE_FIELD && f->name ? (uint32_t)strlen(f->name) : 0;
	if (n && at.file && f->at.end >= n && f->at.end - n > at.begin) at.begin = f->at.end - n;
	return at;
}

static Ent call_op(Sema *s, TsOp op, TsTree *t, uint32_t nargs, TsTree *const *arg, const Ent *first)
{
	const TsOpInfo *info = ts_op_info(s->cx, op);
	Ent in[MAX_ARGS];
	TsAttr *attr = ts_attrs_new(s->m, op);
	uint32_t n = 0, positional = 0;
	bool ok = true, given[TS_MAX_OP_ATTRS] = { false };
	if (info->cls == TS_CLS_LEAF || info->cls == TS_CLS_CONTROL) return ts_s_fail(s, t->at, "E_UNKNOWN_OP", "no op, fn, kernel or import named '%s'", info->name);
	for (uint32_t i = 0; i < TS_MAX_OP_INS; i++) in[i] = ENT(ENT_NONE, t->at);
	if (first) { in[n++] = *first; positional = 1; }
	for (uint32_t i = 0; i < nargs; i++) {
		TsTree *a = arg[i];
		if (a->kind == TS_TREE_KW) {
			int k = ts_op_attr_index(info, a->name);
			if (k >= 0) {
				if (given[k]) { ts_error(s->cx, a->at, "E_ATTR", "%s is given twice", a->name); ok = false; continue; }
				given[k] = true;
				ok &= set_attr(s, a->kid[0], &info->attr[k], &attr[k]);
				continue;
			}
			uint32_t o = 0;
			while (o < info->nin && strcmp(info->in[o], a->name)) o++;
			if (o == info->nin) {
				TsSym names[TS_MAX_OP_ATTRS + TS_MAX_OP_INS];
				uint32_t nn = 0;
				for (uint32_t j = 0; j < info->nattr; j++) names[nn++] = info->attr[j].name;
				for (uint32_t j = 0; j < info->nin; j++) names[nn++] = info->in[j];
				TsSym near = ts_nearest(a->name, names, nn);
				ts_error(s->cx, a->at, "E_UNKNOWN_ARGUMENT", "%s takes no '%s'", info->name, a->name);
				if (near) ts_hint(s->cx, "nearest: %s", near);
				ok = false;
				continue;
			}
			if (in[o].kind != ENT_NONE) { ts_error(s->cx, a->at, "E_ARGUMENTS", "%s is given twice", a->name); ok = false; }
			in[o] = ts_s_expr(s, a->kid[0]);
			if (o + 1 > n) n = o + 1;
		} else if (info->variadic) {
			if (positional++) { ts_error(s->cx, a->at, "E_ARGUMENTS", "%s takes one list", info->name); return ts_s_unknown(t->at); }
			Ent l = ts_s_expr(s, a);
			if (l.kind != ENT_LIST || !l.n || l.n > MAX_ARGS) return l.kind == ENT_UNKNOWN ? l : ts_s_fail(s, a->at, "E_ARGUMENTS", "%s takes a list of 1 to %d tensors", info->name, MAX_ARGS);
			for (n = 0; n < l.n; n++) in[n] = l.item[n];
		} else if (positional < info->nin) {
			in[positional++] = ts_s_expr(s, a);
			if (positional > n) n = positional;
		} else {
			uint32_t k = positional++ - info->nin;
			if (k >= info->nattr) return ts_s_fail(s, a->at, "E_ARGUMENTS", "%s takes %u operands and %u attributes at most", info->name, info->nin, info->nattr);
			given[k] = true;
			ok &= set_attr(s, a, &info->attr[k], &attr[k]);
		}
	}
	if (!ok) return ts_s_unknown(t->at);
	if (info->cls == TS_CLS_RANDOM) { /* its place in the graph, once assigned part of the text */
		TsAttr *stream = &attr[ts_op_attr_index(info, "stream")];
		if (stream->none) { stream->none = false; stream->i = s->streams; }
		s->streams = (stream->i > s->streams ? stream->i : s->streams) + 1;
	}
	for (uint32_t i = 0; i < info->min_in && !info->variadic; i++)
		if (in[i].kind == ENT_NONE) return ts_s_fail(s, t->at, "E_ARGUMENTS", "%s needs %s", info->name, info->in[i]);
	return ts_s_op(s, op, ts_s_call_span(t), n, in, attr);
}

/* ---- fns ---- */

/* The dim that a size like N, 3*N or N*3 can give a value, definitions taken by what they say; NULL for any other size. */
static TsTree *scaled_name(Sema *s, TsTree *size, int64_t *c, Ent **file, int depth)
{
	enum { DEEPEST = 16 };
	TsTree *x = size;
	if (x->kind == TS_TREE_BIN && x->sub == TS_IN_MUL && (x->kid[0]->kind == TS_TREE_INT || x->kid[1]->kind == TS_TREE_INT)) {
		int number = x->kid[0]->kind == TS_TREE_INT ? 0 : 1;
		if (__builtin_mul_overflow(*c, x->kid[number]->i, c)) return NULL;
		x = x->kid[1 - number];
	}
	if (x->kind != TS_TREE_NAME || depth == DEEPEST) return NULL;
	if (!ts_map_find(&s->top.names, x->name)) ts_s_work_out(s, x->name);
	Ent *e = ts_map_get(&s->top.names, x->name);
	if (!e || e->kind != ENT_SIZE || !e->tree) return NULL;
	if (e->tree->kid[1]) return scaled_name(s, e->tree->kid[1], c, file, depth + 1);
	*file = e;
	return x;
}

/* A size bound to a dim keeps the dim's range and multiple. */
static bool in_range(Sema *s, TsDim dim, TsDim found, TsSpan at, const char *what)
{
	int64_t c;
	uint32_t k;
	if (dim == found || !ts_dim_is_scaled_symbol(s->d, dim, &c, &k)) return true;
	const TsDimSym sym = *ts_dim_symbol_info(s->d, k);
	const char *text = ts_printf(s->a, "%s, which is %s of '%s'", what, sym.name, s->active.p[s->active.n - 1]->name);
	return (!sym.min || ts_s_demand_of(s, TS_CHECK_LE, ts_dim_const(s->d, sym.min), found, at, text))
		&& (sym.max == INT64_MAX || ts_s_demand_of(s, TS_CHECK_LE, found, ts_dim_const(s->d, sym.max), at, text))
		&& (sym.multiple == 1 || ts_s_demand_of(s, TS_CHECK_DIVIDES, found, ts_dim_const(s->d, sym.multiple), at, text));
}

/* A parameter's type at a call: bare names (and constant multiples of them) that are not bound yet take the size found. */
static bool bind_size(Sema *s, TsTree *size, TsDim found, TsSpan at, const char *what)
{
	Ent *file = NULL;
	int64_t c = 1, v;
	TsTree *name = scaled_name(s, size, &c, &file, 0);
	if (name && !ts_map_find(&s->scope->names, name->name)) {
		TsDim d = found;
		if (c < 1) return ts_s_fail(s, size->at, "E_SIZE", "a size is at least 0").kind == ENT_NONE;
		if (c > 1) {
			if (ts_dim_divides(s->d, c, found) == TS_NO) { ts_error(s->cx, at, "E_SHAPE_MISMATCH", "%s is not a multiple of %lld", what, (long long)c); return false; }
			d = ts_dim_floordiv(s->d, found, ts_dim_const(s->d, c));
			if (!ts_s_demand(s, found, ts_dim_mul(s->d, d, ts_dim_const(s->d, c)), at, what)) return false;
		}
		Ent e = ts_dim_is_const(s->d, d, &v) ? ENT(ENT_INT, at, .i = v) : ENT(ENT_SIZE, at, .d = d);
		Ent *keep = TS_NEW(s->a, Ent);
		*keep = e;
		ts_map_set(s->a, &s->scope->names, name->name, keep);
		return in_range(s, file->d, d, at, what);
	}
	TsDim wanted;
	return ts_s_size(s, size, &wanted) && ts_s_demand(s, wanted, found, at, what);
}

static bool const_param(Sema *s, TsTree *p, Ent arg)
{
	const char *word = p->kid[0]->name;
	int64_t v;
	if (arg.kind == ENT_SIZE && ts_dim_is_const(s->d, arg.d, &v)) arg = ENT(ENT_INT, arg.at, .i = v);
	bool ok = !strcmp(word, "int") ? arg.kind == ENT_INT || arg.kind == ENT_SIZE : !strcmp(word, "float") ? arg.kind == ENT_INT || arg.kind == ENT_FLOAT
		: !strcmp(word, "bool") ? arg.kind == ENT_BOOL : !strcmp(word, "string") ? arg.kind == ENT_STR : arg.kind == ENT_DTYPE;
	if (!ok) return ts_s_fail(s, arg.at, "E_CONST", "%s is a const %s, known at compile time", p->name, word).kind == ENT_NONE;
	if (!strcmp(word, "float") && arg.kind == ENT_INT) arg = ENT(ENT_FLOAT, arg.at, .f = (double)arg.i);
	return ts_s_bind(s, p->name, p->at, arg);
}

bool ts_s_bind_param(Sema *s, TsTree *p, Ent arg)
{
	TsTree *ty = p->kid[0];
	if (p->i) return const_param(s, p, arg);
	if (ty->kind == TS_TREE_TYPE_WORD && !strcmp(ty->name, "weights")) {
		if (arg.kind != ENT_WEIGHTS) { ts_error(s->cx, arg.at, "E_TYPE_MISMATCH", "%s is a set of weights, such as W.\"a.*\"", p->name); return false; }
		return ts_s_bind(s, p->name, p->at, arg);
	}
	if (ty->kind != TS_TREE_TYPE) { ts_s_not_yet(s, ty->at, "a parameter of this type"); return false; }
	TsVal v = ts_s_value(s, arg, (TsDtype)ty->i);
	if (!v) return false;
	const TsType found = ts_val(s->g, v)->type;
	uint32_t rank = 0;
	while (rank < ty->n && ty->kid[rank]->kind != TS_TREE_ANNOT) rank++;
	if (found.elem != (TsDtype)ty->i || found.rank != rank) {
		TsBuf b = { 0 };
		ts_type_print(s->m, &found, &b);
		ts_error(s->cx, arg.at, "E_TYPE_MISMATCH", "%s is %s of %u axes, this is %s", p->name, ts_dtype_name((TsDtype)ty->i), rank, b.p);
		ts_buf_free(&b);
		return false;
	}
	for (uint32_t i = 0; i < rank; i++) {
		char *what = ts_printf(s->a, "%s axis %u", p->name, i);
		if (ty->kid[i]->kind == TS_TREE_SOME) { ts_s_not_yet(s, ty->kid[i]->at, "a size known after the operator only"); return false; }
		bool done = false;
		if (s->kernel && !i && !ts_k_bind_product(s, ty->kid[i], found.dim[i], arg.at, what, &done)) return false;
		if (!done && !bind_size(s, ty->kid[i], found.dim[i], arg.at, what)) return false;
	}
	return ts_s_bind(s, p->name, p->at, ENT(ENT_VALUE, arg.at, .v = v));
}

/* Checks a result against its declared type; sizes are demands. */
static bool check_result(Sema *s, TsTree *p, TsVal v)
{
	TsType want;
	const TsType *found = &ts_val(s->g, v)->type;
	if (!p->kid[0] || p->kid[0]->kind == TS_TREE_TYPE_NONE) return true;
	if (!ts_s_type(s, p->kid[0], &want)) return false;
	found = &ts_val(s->g, v)->type;
	if (want.elem != found->elem || want.rank != found->rank) {
		TsBuf a = { 0 }, b = { 0 };
		ts_type_print(s->m, &want, &a);
		ts_type_print(s->m, found, &b);
		ts_error(s->cx, p->at, "E_TYPE_MISMATCH", "%s is declared %s and computed %s", p->name, a.p, b.p);
		ts_buf_free(&a);
		ts_buf_free(&b);
		return false;
	}
	for (uint32_t i = 0; i < want.rank; i++)
		if (!ts_s_demand(s, want.dim[i], ts_val(s->g, v)->type.dim[i], p->at, ts_printf(s->a, "%s axis %u", p->name, i))) return false;
	return true;
}

bool ts_s_results(Sema *s, TsTree *sig, Ent *out)
{
	TsTree *results = sig->kid[1];
	bool ok = true;
	for (uint32_t i = 0; results && i < results->n; i++) {
		TsTree *p = results->kid[i];
		Ent *e = ts_map_get(&s->scope->names, p->name);
		out[i] = ts_s_unknown(p->at);
		if (!e) { ts_error(s->cx, p->at, "E_UNASSIGNED", "result '%s' is never assigned", p->name); ok = false; continue; }
		if (e->kind == ENT_UNKNOWN) { ok = false; continue; }
		TsType want;
		bool literal = e->kind == ENT_INT || e->kind == ENT_FLOAT || e->kind == ENT_BOOL;
		if (literal && p->kid[0] && p->kid[0]->kind == TS_TREE_TYPE && p->kid[0]->n && (!ts_s_type(s, p->kid[0], &want) || (want.rank && !ts_s_fill(s, e, &want)))) { ok = false; continue; }
		TsVal v = ts_s_value(s, *e, p->kid[0] && p->kid[0]->kind == TS_TREE_TYPE ? (TsDtype)p->kid[0]->i : TS_DTYPE_NONE);
		if (!v || !check_result(s, p, v)) { ok = false; continue; }
		out[i] = ENT(ENT_VALUE, p->at, .v = v);
	}
	return ok;
}

/* Keyword arguments name parameters after the positional ones, each once. */
static bool keywords_fit(Sema *s, TsTree *fn, TsTree *call, uint32_t n, const TsSym *kw)
{
	TsTree *params = fn->kid[0]->kid[0];
	uint32_t first = 0;
	while (first < n && !kw[first]) first++;
	for (uint32_t j = first; j < n; j++) {
		uint32_t i = 0;
		while (i < n && params->kid[i]->name != kw[j]) i++;
		bool again = i < first;
		for (uint32_t k = first; k < j; k++) again |= kw[k] == kw[j];
		if (i < n && !again) continue;
		TsSpan at = call->kid[call->n - n + j]->at;
		if (again && i < n) ts_error(s->cx, at, "E_ARGUMENTS", "'%s' is given twice", kw[j]);
		else {
			TsSym *names = TS_NEW_N(s->a, TsSym, n);
			for (i = 0; i < n; i++) names[i] = params->kid[i]->name;
			TsSym near = ts_nearest(kw[j], names, n);
			ts_error(s->cx, at, "E_UNKNOWN_ARGUMENT", "'%s' takes no '%s'", fn->name, kw[j]);
			if (near) ts_hint(s->cx, "nearest: %s", near);
		}
		return false;
	}
	return true;
}

bool ts_s_call_fits(Sema *s, TsTree *fn, TsTree *call, uint32_t n, const Ent *arg, const TsSym *kw, Ent *why)
{
	uint32_t want = fn->kid[0]->kid[0]->n;
	*why = ts_s_unknown(call->at);
	if (n != want) {
		*why = ts_s_fail(s, call->at, "E_ARGUMENTS", "'%s' takes %u arguments, %u are given", fn->name, want, n);
		return false;
	}
	for (uint32_t i = 0; i < n; i++)
		if (arg[i].kind == ENT_UNKNOWN) return false;
	if (!keywords_fit(s, fn, call, n, kw)) return false;
	ts_map_set(s->a, &s->used, fn, fn);
	return !ts_map_get(&s->broken, fn);
}

Ent ts_s_fn(Sema *s, TsTree *fn, TsTree *call, uint32_t n, const Ent *arg, const TsSym *kw)
{
	TsTree *params = fn->kid[0]->kid[0], *results = fn->kid[0]->kid[1];
	Scope inner = { .up = s->scope, .is_call = true }, *outer = s->scope;
	const TsNumerics *num = s->num;
	for (uint32_t i = 0; i < s->active.n; i++)
		if (s->active.p[i] == fn) return ts_s_fail(s, call->at, "E_RECURSION", "'%s' calls itself", fn->name);
	if (s->active.n >= MAX_INLINE) return ts_s_fail(s, call->at, "E_LIMIT", "calls nest deeper than %d", MAX_INLINE);
	Ent why;
	if (!ts_s_call_fits(s, fn, call, n, arg, kw, &why)) return why;
	if (++s->inlined > MOST_CALLS || s->g->vals.n > MOST_VALUES) return ts_s_fail(s, call->at, "E_LIMIT", "the calls of one model are inlined, and these are too many");
	s->scope = &inner;
	ts_push(s->a, &s->active, fn);
	bool ok = true;
	for (uint32_t i = 0; ok && i < n; i++) {
		const Ent *a = &arg[i];
		for (uint32_t j = 0; j < n; j++)
			if (kw[j] == params->kid[i]->name) a = &arg[j];
		ok = ts_s_bind_param(s, params->kid[i], *a);
	}
	if (fn->kid[2]) s->num = ts_s_numerics(s, fn->kid[2], s->num);
	Ent r = ts_s_unknown(call->at);
	uint32_t nres = results ? results->n : 0;
	if (ok) {
		uint32_t errors = ts_error_count(s->cx);
		ts_s_block(s, fn->kid[1], NULL, NULL, NULL, 0);
		r = ENT(ENT_MULTI, call->at, .n = nres);
		r.item = TS_NEW_N(s->a, Ent, nres);
		ok = ts_s_results(s, fn->kid[0], r.item);
		if (ts_error_count(s->cx) != errors) {
			ts_note(s->cx, call->at, "called here");
			ts_map_set(s->a, &s->broken, fn, fn);
		}
		if (nres == 1) r = r.item[0];
		r.at = call->at;
	}
	s->active.n--;
	s->num = num;
	s->scope = outer;
	return ok ? r : ts_s_unknown(call->at);
}

static Ent call_fn(Sema *s, TsTree *fn, TsTree *t, const Ent *first)
{
	Ent arg[MAX_ARGS];
	TsSym kw[MAX_ARGS] = { 0 };
	uint32_t n = 0;
	if (first) arg[n++] = *first;
	for (uint32_t i = 1; i < t->n; i++) {
		if (n == MAX_ARGS) return ts_s_fail(s, t->at, "E_ARGUMENTS", "more than %d arguments", MAX_ARGS);
		TsTree *a = t->kid[i];
		kw[n] = a->kind == TS_TREE_KW ? a->name : NULL;
		arg[n++] = ts_s_expr(s, a->kind == TS_TREE_KW ? a->kid[0] : a);
	}
	return fn->kind == TS_TREE_KERNEL ? ts_k_call(s, fn, t, n, arg, kw) : ts_s_fn(s, fn, t, n, arg, kw);
}

static Ent unknown_op(Sema *s, TsTree *t, TsSym name)
{
	TS_VEC(TsSym) names = { 0 };
	for (int op = 1; op < TS_OP_COUNT; op++) {
		const TsOpInfo *info = ts_op_info(s->cx, (TsOp)op);
		if (info->cls != TS_CLS_LEAF && info->cls != TS_CLS_CONTROL) ts_push(s->a, &names, info->name);
	}
	for (uint32_t i = 0; i < s->top.names.n; i++)
		if (((Ent *)s->top.names.vals[i])->kind == ENT_FN) ts_push(s->a, &names, (TsSym)s->top.names.keys[i]);
	TsSym near = ts_nearest(name, names.p, names.n);
	static const char *const later[] = { "grad", "jvp", "vjp", "derivative", "adjoint", "compose", "lowrank", "spectral", "dense", "spectrum", "fixed_point", "all_reduce", "all_gather", "reduce_scatter" };
	for (size_t i = 0; i < sizeof later / sizeof *later; i++)
		if (!strcmp(name, later[i])) return ts_s_not_yet(s, t->at, ts_printf(s->a, "'%s'", name));
	TsSpan at = t->at;
	if (t->kind == TS_TREE_FIELD && at.end >= strlen(name)) at.begin = at.end - (uint32_t)strlen(name);
	ts_error(s->cx, at, "E_UNKNOWN_OP", "no op, fn, kernel or import named '%s'", name);
	if (near) ts_hint(s->cx, "nearest: %s", near);
	return ts_s_unknown(t->at);
}

Ent ts_s_call(Sema *s, TsTree *t)
{
	TsTree *callee = t->kid[0];
	Ent self, *first = NULL;
	if (callee->kind == TS_TREE_FIELD) {
		self = ts_s_expr(s, callee->kid[0]);
		if (self.kind == ENT_UNKNOWN) return self;
		first = &self;
	} else if (callee->kind != TS_TREE_NAME) {
		return ts_s_not_yet(s, callee->at, "calling a value");
	}
	Ent *e = ts_s_find(s, callee->name), word;
	if (s->kernel && e && e->kind == ENT_FN) return ts_s_not_yet(s, t->at, "a call of a fn or kernel inside a kernel");
	if (s->kernel && !first && !e && ts_k_word(s, t, &word)) return word;
	if (!s->kernel && !e && ts_k_word_known(callee->name) && ts_op_find(s->cx, callee->name) == TS_OP_NONE) return ts_s_fail(s, callee->at, "E_KERNEL", "'%s' belongs in a kernel", callee->name);
	if (e && e->kind == ENT_FN) {
		if (e->tree->kind == TS_TREE_IMPORT) return ts_s_not_yet(s, t->at, "a call of an import");
		return call_fn(s, e->tree, t, first);
	}
	if (e && e->kind == ENT_UNKNOWN) return ts_s_unknown(t->at);
	TsOp op = ts_op_find(s->cx, callee->name);
	if (op == TS_OP_NONE) return e ? ts_s_not_yet(s, callee->at, "calling a value") : unknown_op(s, callee, callee->name);
	return call_op(s, op, t, t->n - 1, t->kid + 1, first);
}
