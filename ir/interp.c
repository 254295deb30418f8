#include "ir/interp_int.h"
#include "ir/weights.h"
#include <stdlib.h>
#include <string.h>

bool ref_none(TsRef *r)
{
	ts_bug(r->m->cx, r->n->at, "leaves and loops are not run by a reference function");
}

static bool (*const refs[TS_OP_COUNT])(TsRef *) = {
#define OP(name, ins, attrs, flags, cls, types, shape, ref, adjoint, bound, doc) [TS_OP_##name] = ref_##ref,
#include "ir/ops.def"
};

static int64_t num_bytes(const TsNum *x) { return (x->elem == TS_COMPLEX64 ? 16 : 8) * x->n; }

void ev_free(TsEval *e, TsVal v)
{
	TsNum *x = e->val[v];
	if (!x) return;
	e->live -= num_bytes(x);
	free(x->f);
	free(x->i);
	free(x);
	e->val[v] = NULL;
}

/* Room for value v at its sizes here. */
TsNum *ev_new(TsEval *e, TsVal v)
{
	const int64_t most = INT64_C(1) << 37;
	const TsValue *val = ts_val(e->g, v);
	ev_free(e, v);
	TsNum *x = calloc(1, sizeof *x);
	if (!x) return NULL;
	x->elem = val->type.elem;
	x->rank = val->type.rank;
	bool ok = true;
	for (int k = 0; ok && k < x->rank; k++) ok = ts_dim_eval(e->m->dims, val->type.dim[k], e->symbols, &x->dim[k]);
	ok = ok && ts_shape_count(x->rank, x->dim, &x->n);
	if (!ok || x->n > most / 16 || e->live + num_bytes(x) > most) {
		ts_error(e->m->cx, val->def ? val->def->at : e->g->at, "E_SIZE", "%s is too large to evaluate here", val->name ? val->name : "a value");
		free(x);
		return NULL;
	}
	void *p = calloc(1, num_bytes(x) ? (size_t)num_bytes(x) : 1);
	if (ts_dtype_is_float(x->elem) || x->elem == TS_COMPLEX64) x->f = p;
	else x->i = p;
	if (!p) ts_env_error(e->m->cx, "E_MEMORY", "no room for the %lld bytes of a value", (long long)num_bytes(x));
	if (!p) return free(x), NULL;
	e->live += num_bytes(x);
	return e->val[v] = x;
}

void tr_copy(TsNum *to, int64_t o, const TsNum *from, int64_t i)
{
	if (to->i) to->i[o] = from->i[i];
	else if (to->elem != TS_COMPLEX64) to->f[o] = from->f[i];
	else memcpy(&to->f[2 * o], &from->f[2 * i], 2 * sizeof *to->f);
}

void tr_strides(const TsNum *x, int rank, int64_t *stride)
{
	int64_t step = 1;
	for (int k = rank - 1, j = x->rank - 1; k >= 0; k--, j--) {
		stride[k] = j < 0 || x->dim[j] == 1 ? 0 : step;
		if (j >= 0) step *= x->dim[j];
	}
}

void tr_each(TsRef *r, int rank, const int64_t *dim, int n, int64_t (*stride)[TS_MAX_RANK], TsEach *fn)
{
	int64_t at[TS_MAX_RANK] = { 0 }, off[TS_MAX_OP_INS] = { 0 }, count;
	ts_shape_count(rank, dim, &count);
	for (int64_t o = 0; o < count; o++) {
		fn(r, off, o);
		for (int k = rank - 1; k >= 0; k--) {
			bool carry = ++at[k] == dim[k];
			for (int j = 0; j < n; j++) off[j] += carry ? -stride[j][k] * (dim[k] - 1) : stride[j][k];
			if (!carry) break;
			at[k] = 0;
		}
	}
}

/* Elements of a declared type, as they are. */
static void load(TsNum *x, const void *data)
{
	for (int64_t i = 0; i < x->n; i++) {
		if (x->elem == TS_COMPLEX64) {
			float v[2];
			memcpy(v, (const char *)data + i * 8, 8);
			x->f[2 * i] = v[0];
			x->f[2 * i + 1] = v[1];
		} else if (x->f) x->f[i] = ts_elem_get(x->elem, data, i);
		else x->i[i] = ts_elem_get_int(x->elem, data, i);
	}
}

static bool load_weight(TsEval *e, TsNode *n, TsNum *x)
{
	const TsWeights *w = &e->m->weights.p[n->weights];
	TsSym name = ts_weight_name(e->m->cx, n->name, e->vars.n, e->vars.p, e->counters.p);
	const TsTensorInfo *t = name ? ts_weights_find(w, name) : NULL;
	if (!t) {
		ts_error(e->m->cx, n->at, "E_NO_WEIGHT", "%s has no \"%s\"", w->name ? w->name : "the weights", name ? name : n->name);
		return false;
	}
	const TsType *want = &ts_val(e->g, n->out[0])->type;
	bool same = t->type.elem == want->elem && t->type.rank == want->rank;
	for (int k = 0; same && k < want->rank; k++) {
		int64_t v;
		same = ts_dim_is_const(e->m->dims, t->type.dim[k], &v) && v == x->dim[k];
	}
	if (!same) {
		TsBuf b = { 0 };
		ts_type_print(e->m, &t->type, &b);
		ts_error(e->m->cx, n->at, "E_WEIGHT_TYPE", "%s is %s in its file, which is not what the graph takes", name, b.p);
		ts_buf_free(&b);
		return false;
	}
	const void *data = ts_weights_data(e->m, w, t);
	if (data) load(x, data);
	return data != NULL;
}

/* What an operator's result is when its type is declared: rounded, or wrapped. */
static void settle(const TsEval *e, TsNum *x)
{
	if (x->elem == TS_INT32)
		for (int64_t i = 0; i < x->n; i++) x->i[i] = (int32_t)(uint32_t)(uint64_t)x->i[i];
	if (e->mode == TS_EVAL_F64 || !x->f || x->elem == TS_F64) return;
	TsDtype t = x->elem == TS_COMPLEX64 ? TS_F32 : x->elem;
	for (int64_t i = 0; i < (x->elem == TS_COMPLEX64 ? 2 * x->n : x->n); i++) x->f[i] = ts_dtype_round(t, x->f[i]);
}

static bool run_op(TsEval *e, TsNode *n)
{
	TsNum **in = calloc(n->nin + 1, sizeof *in), *out = calloc(n->nout + 1, sizeof *out);
	bool ok = in && out;
	for (uint32_t i = 0; ok && i < n->nin; i++) in[i] = n->in[i] ? e->val[n->in[i]] : NULL;
	for (uint32_t i = 0; ok && i < n->nout; i++) {
		ok = ev_new(e, n->out[i]);
		if (ok) out[i] = *e->val[n->out[i]];
	}
	if (ok) {
		TsRef r = { .m = e->m, .n = n, .in = in, .out = out, .exact = e->mode == TS_EVAL_F64, .acc = ts_node_accum(e->m, e->g, n), .symbols = e->symbols, .iteration = e->iteration };
		ok = refs[n->op](&r);
		if (!ok) ts_env_error(e->m->cx, "E_MEMORY", "no room to evaluate %s", ts_op_info(e->m->cx, n->op)->name);
	}
	for (uint32_t i = 0; ok && i < n->nout; i++) settle(e, e->val[n->out[i]]);
	free(in);
	free(out);
	return ok;
}

static bool copy_value(TsEval *e, TsVal to, TsVal from)
{
	TsNum *x = ev_new(e, to);
	if (!x) return false;
	memcpy(x->f ? (void *)x->f : (void *)x->i, e->val[from]->f ? (void *)e->val[from]->f : (void *)e->val[from]->i, (size_t)num_bytes(x));
	return true;
}

/* After an iteration: carried values become the next arguments, emitted ones slice k of the results. Results of the block may name
 * its arguments crosswise, so all are copied out before any argument changes. */
static bool end_iteration(TsEval *e, TsNode *n, int64_t k)
{
	const TsFor *f = n->loop;
	for (uint32_t i = 0; i < n->nout; i++) {
		TsVal from = f->body.results.p[i];
		if (i < f->ncarry) {
			if (!copy_value(e, n->out[i], from)) return false;
			continue;
		}
		TsNum *all = e->val[n->out[i]], *one = e->val[from];
		char *to = all->f ? (char *)all->f : (char *)all->i;
		memcpy(to + k * num_bytes(one), one->f ? (void *)one->f : (void *)one->i, (size_t)num_bytes(one));
	}
	for (uint32_t i = 0; i < f->ncarry; i++)
		if (!copy_value(e, f->body.args.p[i], n->out[i])) return false;
	return true;
}

static bool run_for(TsEval *e, TsNode *n)
{
	const TsFor *f = n->loop;
	int64_t c, outer = e->iteration, lo = f->lo, hi = f->hi;
	uint32_t symbol = 0;
	if (f->tiles && (!ts_dim_eval(e->m->dims, f->from, e->symbols, &lo) || !ts_dim_eval(e->m->dims, f->to, e->symbols, &hi))) return false;
	int64_t trips = hi > lo ? (hi - lo - 1) / f->step + 1 : 0;
	bool sized = ts_dim_is_scaled_symbol(e->m->dims, f->symbol, &c, &symbol), ok = true;
	for (uint32_t i = 0; ok && i < n->nout; i++) ok = i < f->ncarry ? copy_value(e, n->out[i], n->in[i]) : ev_new(e, n->out[i]) != NULL;
	for (uint32_t i = 0; ok && i < f->ncarry; i++) ok = copy_value(e, f->body.args.p[i], n->in[i]);
	ts_push(e->m->arena, &e->vars, f->var);
	ts_push(e->m->arena, &e->counters, lo);
	for (int64_t k = 0; ok && k < trips; k++) {
		e->counters.p[e->counters.n - 1] = lo + k * f->step;
		if (sized) e->symbols[symbol] = lo + k * f->step;
		e->iteration = outer * trips + k;
		ok = ev_block(e, &f->body) && end_iteration(e, n, k);
		ev_end_block(e, &f->body);
	}
	for (uint32_t i = 0; i < f->body.args.n; i++) ev_free(e, f->body.args.p[i]);
	e->vars.n--;
	e->counters.n--;
	e->iteration = outer;
	return ok;
}

static bool run_leaf(TsEval *e, TsNode *n)
{
	TsVal v = n->out[0];
	TsNum *x = ev_new(e, v);
	if (!x) return false;
	switch (n->op) {
	case TS_OP_param:
		for (uint32_t i = 0; i < e->g->params.n; i++)
			if (e->g->params.p[i] == v) load(x, e->inputs[i].data);
		return true;
	case TS_OP_const: load(x, n->data); return true;
	case TS_OP_weight: return load_weight(e, n, x);
	default: return ts_dim_eval(e->m->dims, n->dim, e->symbols, &x->i[0]);
	}
}

/* Notes node j as the last use so far of what n reads; values of other blocks are left to theirs. */
static void mark_uses(TsEval *e, const TsNode *n, uint32_t block, uint32_t j)
{
	for (uint32_t i = 0; i < n->nin; i++)
		if (n->in[i] && e->owner[n->in[i]] == block) e->last[n->in[i]] = j;
	if (n->op != TS_OP_for) return;
	for (uint32_t i = 0; i < n->loop->body.nodes.n; i++) mark_uses(e, n->loop->body.nodes.p[i], block, j);
	for (uint32_t i = 0; i < n->loop->body.results.n; i++)
		if (e->owner[n->loop->body.results.p[i]] == block) e->last[n->loop->body.results.p[i]] = j;
}

bool ev_block(TsEval *e, const TsBlock *b)
{
	uint32_t block = ++e->blocks;
	for (uint32_t j = 0; j < b->nodes.n; j++)
		for (uint32_t k = 0; k < b->nodes.p[j]->nout; k++) e->owner[b->nodes.p[j]->out[k]] = block, e->last[b->nodes.p[j]->out[k]] = j;
	for (uint32_t j = 0; j < b->nodes.n; j++) mark_uses(e, b->nodes.p[j], block, j);
	for (uint32_t i = 0; i < b->results.n; i++) e->last[b->results.p[i]] = UINT32_MAX;
	for (uint32_t j = 0; j < b->nodes.n; j++) {
		TsNode *n = b->nodes.p[j];
		TsOpClass cls = ts_op_info(e->m->cx, n->op)->cls;
		if (!(cls == TS_CLS_LEAF ? run_leaf(e, n) : n->op == TS_OP_for ? run_for(e, n) : n->op == TS_OP_kernel ? ev_kernel(e, n) : run_op(e, n))) return false;
		for (uint32_t i = 0; i < n->nin; i++)
			if (n->in[i] && e->owner[n->in[i]] == block && e->last[n->in[i]] == j) ev_free(e, n->in[i]);
		for (uint32_t i = 0; i < n->nout; i++)
			if (e->last[n->out[i]] == j) ev_free(e, n->out[i]);
	}
	return true;
}

void ev_end_block(TsEval *e, const TsBlock *b)
{
	for (uint32_t i = 0; i < b->nodes.n; i++)
		for (uint32_t j = 0; j < b->nodes.p[i]->nout; j++) ev_free(e, b->nodes.p[i]->out[j]);
}

static bool store(TsEval *e, TsVal v, TsTensor *out)
{
	const TsNum *x = e->val[v];
	TsDtype t = e->mode == TS_EVAL_F64 && x->f && x->elem != TS_COMPLEX64 ? TS_F64 : x->elem;
	if (!ts_tensor_new(e->m->cx, "a result", t, x->rank, x->dim, out)) return false;
	for (int64_t i = 0; i < x->n; i++) {
		if (t == TS_COMPLEX64) {
			float c[2] = { (float)x->f[2 * i], (float)x->f[2 * i + 1] };
			memcpy((char *)out->data + i * 8, c, 8);
		} else if (x->f) ts_elem_set(t, out->data, i, x->f[i]);
		else ts_elem_set_int(t, out->data, i, x->i[i]);
	}
	return true;
}

bool ts_eval(TsModule *m, TsGraph *g, TsEvalMode mode, const TsTensor *inputs, TsTensor *outputs)
{
	uint32_t nsym = ts_dim_symbol_count(m->dims);
	TsEval e = { .m = m, .g = g, .mode = mode, .inputs = inputs };
	e.symbols = TS_NEW_N(m->arena, int64_t, nsym + 1);
	e.val = TS_NEW_N(m->arena, TsNum *, g->vals.n);
	e.last = TS_NEW_N(m->arena, uint32_t, g->vals.n);
	e.owner = TS_NEW_N(m->arena, uint32_t, g->vals.n);
	for (uint32_t i = 0; i < g->body.results.n; i++) outputs[i] = (TsTensor){ 0 };
	bool ok = ts_bind_dims(m, g, inputs, e.symbols) && ev_block(&e, &g->body);
	for (uint32_t i = 0; ok && i < g->body.results.n; i++) ok = store(&e, g->body.results.p[i], &outputs[i]);
	for (uint32_t v = 1; v < g->vals.n; v++) ev_free(&e, v);
	return ok;
}
