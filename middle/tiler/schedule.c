/* Graph -> schedule: walks the nodes in order, decides which values become bytes, and lets the schedule function of the group's anchor
 * write the kernel. A value that is not bytes is evaluated inside the kernels that use it (a region); whoever needs bytes after all
 * asks ts_materialise, so every decision here is about speed, never about meaning. */
#include "middle/tiler/tiler.h"
#include <string.h>

static TsOpClass class_of(TsTl *t, const TsNode *n) { return ts_op_info(t->cx, n->op)->cls; }

static bool is_anchor(TsOpClass c) { return c == TS_CLS_REDUCE || c == TS_CLS_ROW || c == TS_CLS_CONTRACT || c == TS_CLS_ATTENTION; }

uint32_t ts_new_buf(TsTl *t, TsBufKind kind, TsDtype elem, TsDim count)
{
	TsBuffer b = { .kind = kind, .elem = elem, .count = count, .first = UINT32_MAX };
	ts_push(t->a, &t->e->bufs, b);
	return t->e->bufs.n - 1;
}

static void add_value(TsTl *t, TsStep *st, TsVal v)
{
	for (uint32_t i = 0; i < st->values.n; i++)
		if (st->values.p[i] == v) return;
	ts_push(t->a, &st->values, v);
}

void ts_completes(TsTl *t, TsVal v, uint32_t since)
{
	if (t->e->steps.n > since) add_value(t, &t->e->steps.p[t->e->steps.n - 1], v);
}

void ts_emit_step(TsTl *t, TsVal what, const TsKb *k, const TsRegion *r, const TsChoice *choices, uint32_t n)
{
	TsStep st = { .kind = TS_SCHED_LAUNCH };
	for (uint32_t i = 0; r && i < r->vals.n; i++) add_value(t, &st, r->vals.p[i]);
	if (what) {
		st.root = what;
		if (ts_val(t->g, what)->def) st.at = ts_val(t->g, what)->def->at;
		st.what = ts_val(t->g, what)->name;
	}
	for (uint32_t i = 0; i < n; i++) ts_push(t->a, &st.choices, choices[i]);
	for (uint32_t i = 0; i < k->params.n; i++) ts_push(t->a, &st.ptr, (TsArg){ k->params.p[i].buf, k->params.p[i].offset });
	for (uint32_t i = 0; i < k->nums.n; i++) ts_push(t->a, &st.num, k->nums.p[i]);
	ts_push(t->a, &t->e->steps, st);
}

/* ---- who uses a value ---- */

static void count_uses(TsTl *t, const TsBlock *b, uint32_t *place)
{
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		TsNode *n = b->nodes.p[i];
		for (uint32_t j = 0; j < n->nout; j++) t->place[n->out[j]] = ++*place;
		for (uint32_t j = 0; j < n->nin; j++) {
			if (!n->in[j]) continue;
			t->uses[n->in[j]] += n->loop ? 2 : 1; /* what a loop carries is bytes */
			t->consumer[n->in[j]] = n;
		}
		if (n->loop) count_uses(t, &n->loop->body, place);
	}
	for (uint32_t i = 0; i < b->results.n; i++) t->uses[b->results.p[i]] += 2; /* a result is bytes */
}

/* Values whose consumer lies in another block (used inside a loop) count as used twice. */
static void mark_foreign(TsTl *t, const TsBlock *b)
{
	TsMap here = { 0 };
	for (uint32_t i = 0; i < b->nodes.n; i++) ts_map_put(t->a, &here, b->nodes.p[i], NULL);
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		TsNode *n = b->nodes.p[i];
		for (uint32_t j = 0; j < n->nout; j++)
			if (t->consumer[n->out[j]] && !ts_map_find(&here, t->consumer[n->out[j]])) t->uses[n->out[j]] += 2;
		if (n->loop) mark_foreign(t, &n->loop->body);
	}
}

static bool same_shape(const TsType *a, const TsType *b)
{
	if (a->rank != b->rank) return false;
	for (int i = 0; i < a->rank; i++)
		if (a->dim[i] != b->dim[i]) return false;
	return true;
}

/* Costs too much to be computed once per pass over a row. */
static bool is_dear(const TsNode *n)
{
	switch (n->op) {
	case TS_OP_exp: case TS_OP_log: case TS_OP_tanh: case TS_OP_erf: case TS_OP_sigmoid: case TS_OP_gelu: case TS_OP_silu: case TS_OP_pow: case TS_OP_sin: case TS_OP_cos:
		return true;
	default:
		return false;
	}
}

static bool absorbs(TsTl *t, const TsNode *c, const TsNode *n, TsVal v, int depth)
{
again:
	switch (class_of(t, c)) {
	case TS_CLS_POINTWISE:
	case TS_CLS_REDUCE:
	case TS_CLS_MOVE:
		return true;
	case TS_CLS_ROW:
		return !is_dear(n) && c->in[0] == v;
	case TS_CLS_GATHER:
		return c->in[1] == v || c->op == TS_OP_one_hot;
	case TS_CLS_VIEW:
		if (c->op == TS_OP_reshape || depth > 8 || t->uses[c->out[0]] != 1 || c->nout != 1) return false;
		v = c->out[0];
		c = t->consumer[v];
		depth++;
		goto again;
	default:
		return false;
	}
}

/* Would computing v in place compute an anchor's result on the way? (Its own kernel then takes the pointwise work after it.) */
static bool holds_anchor(TsTl *t, TsVal v)
{
	const TsNode *n = ts_val(t->g, v)->def;
	if (t->real[v].how == TS_REAL_VIEW) return false;
	if (is_anchor(class_of(t, n))) return true;
	if (class_of(t, n) != TS_CLS_POINTWISE) return false;
	for (uint32_t i = 0; i < n->nin; i++)
		if (n->in[i] && holds_anchor(t, n->in[i])) return true;
	return false;
}

static bool stays_inline(TsTl *t, const TsNode *n)
{
	if (n->op == TS_OP_dim || n->op == TS_OP_iota) return true;
	if (n->op == TS_OP_const) return ts_val(t->g, n->out[0])->type.rank == 0;
	enum { MOST_WORK = 96 }; /* a kernel is compiled in more than linear time: longer chains are cut */
	TsOpClass cls = class_of(t, n);
	TsVal v = n->out[0];
	t->work[v] = 1;
	for (uint32_t i = 0; i < n->nin; i++)
		if (n->in[i] && t->real[n->in[i]].how == TS_REAL_INLINE) t->work[v] += t->work[n->in[i]];
	if (n->nout != 1 || t->uses[v] != 1 || t->work[v] > MOST_WORK) return false;
	const TsNode *c = t->consumer[v];
	if (class_of(t, c) != TS_CLS_POINTWISE && holds_anchor(t, v)) return false;
	if (is_anchor(cls)) return same_shape(&ts_val(t->g, v)->type, &ts_val(t->g, c->out[0])->type);
	if (cls == TS_CLS_POINTWISE || cls == TS_CLS_GATHER || n->op == TS_OP_one_hot) return absorbs(t, c, n, v, 0);
	return false;
}

/* ---- groups ---- */

/* The anchor that root's kernel computes: reached over pointwise values of root's own shape. The latest one in text order wins; others
 * become bytes first. */
static TsVal find_anchor(TsTl *t, TsVal v, const TsType *shape, bool top)
{
	const TsNode *n = ts_val(t->g, v)->def;
	if (!same_shape(&ts_val(t->g, v)->type, shape) || (!top && t->real[v].how != TS_REAL_INLINE)) return 0;
	if (is_anchor(class_of(t, n))) return v;
	if (class_of(t, n) != TS_CLS_POINTWISE) return 0;
	TsVal best = 0;
	for (uint32_t i = 0; i < n->nin; i++) {
		TsVal a = n->in[i] ? find_anchor(t, n->in[i], shape, false) : 0;
		if (a && (!best || t->place[a] > t->place[best])) best = a;
	}
	return best;
}

/* Known to have no elements: nothing is computed. */
bool ts_is_empty(TsTl *t, TsVal v)
{
	const TsType *ty = &ts_val(t->g, v)->type;
	for (int i = 0; i < ty->rank; i++)
		if (ty->dim[i] == 0) return true;
	return false;
}

static void emit_group(TsTl *t, TsVal root, const TsReal *out)
{
	if (ts_is_empty(t, root)) return;
	const TsNode *n = ts_val(t->g, root)->def;
	const TsOpInfo *info = ts_op_info(t->cx, n->op);
	if (info->cls == TS_CLS_NONE) {
		ts_error(t->cx, n->at, "E_NO_SCHEDULE", "%s has no %s kernel yet", info->name, t->target->family == TS_FAMILY_CPU ? "CPU" : t->target->name);
		t->failed = true;
		return;
	}
	if (n->op == TS_OP_concat || n->op == TS_OP_pad) { ts_sched_parts(t, n, out); return; }
	TsVal anchor = find_anchor(t, root, &ts_val(t->g, root)->type, true);
	switch (anchor ? class_of(t, ts_val(t->g, anchor)->def) : TS_CLS_POINTWISE) {
	case TS_CLS_REDUCE:
	case TS_CLS_ROW: ts_sched_row(t, root, anchor, out); break;
	case TS_CLS_CONTRACT: ts_sched_matmul(t, root, anchor, out); break;
	case TS_CLS_ATTENTION: ts_sched_attention(t, root, anchor, out); break;
	default: ts_sched_pointwise(t, root, out); break;
	}
}

/* A value whose only use is a transpose is laid out as the transpose wants it. */
static void work_strides(TsTl *t, TsVal v, TsDim *stride)
{
	const TsType *ty = &ts_val(t->g, v)->type;
	const TsNode *c = t->uses[v] == 1 ? t->consumer[v] : NULL;
	if (!c || c->op != TS_OP_transpose) { ts_compact_strides(t, ty, stride); return; }
	TsDim inner[TS_MAX_RANK];
	ts_compact_strides(t, &ts_val(t->g, c->out[0])->type, inner);
	const TsAttr *p = ts_attr(t->m, c, "perm");
	for (uint32_t i = 0; i < ty->rank; i++) stride[p->ints[i]] = inner[i];
}

static void node_type_count(TsTl *t, TsVal v, TsDim *count) { *count = ts_type_count(t->m, &ts_val(t->g, v)->type); }

static TsReal new_work(TsTl *t, TsVal v)
{
	TsReal r = { .how = TS_REAL_VIEW };
	TsDim count;
	node_type_count(t, v, &count);
	r.buf = ts_new_buf(t, TS_BUF_WORK, ts_val(t->g, v)->type.elem, count);
	t->e->bufs.p[r.buf].value = v;
	work_strides(t, v, r.stride);
	return r;
}

static TsReal weight_real(TsTl *t, const TsNode *n)
{
	TsReal r = { .how = TS_REAL_VIEW };
	TsVal v = n->out[0];
	TsDim count;
	for (uint32_t i = 0; i < t->e->bufs.n; i++)
		if (t->e->bufs.p[i].weight == n && !t->e->bufs.p[i].packing.packed) r.buf = i + 1;
	if (!r.buf) {
		node_type_count(t, v, &count);
		r.buf = ts_new_buf(t, TS_BUF_WEIGHT, ts_val(t->g, v)->type.elem, count) + 1;
		t->e->bufs.p[r.buf - 1].weight = n;
	}
	r.buf--;
	ts_compact_strides(t, &ts_val(t->g, v)->type, r.stride);
	return r;
}

TsReal ts_materialise(TsTl *t, TsVal v)
{
	if (t->real[v].how == TS_REAL_VIEW) return t->real[v];
	const TsNode *n = ts_val(t->g, v)->def;
	TsReal r;
	if (n->op == TS_OP_weight || (n->op == TS_OP_const && t->real[v].how != TS_REAL_VIEW)) {
		r = weight_real(t, n);
	} else if (class_of(t, n) == TS_CLS_VIEW && n->nout == 1) {
		ts_materialise(t, n->in[0]);
		if (!ts_view_of(t, n, &r)) {
			r = new_work(t, v);
			ts_compact_strides(t, &ts_val(t->g, v)->type, r.stride); /* not as its readers would like best: the bytes lie in the operand's order */
			TsReal flat = r; /* the operand's elements in order, through its own shape */
			ts_compact_strides(t, &ts_val(t->g, n->in[0])->type, flat.stride);
			ts_materialise(t, n->in[0]);
			uint32_t since = t->e->steps.n;
			ts_sched_copy(t, n->in[0], &flat);
			ts_completes(t, v, since);
		}
	} else {
		r = new_work(t, v);
		emit_group(t, v, &r);
	}
	return t->real[v] = r;
}

/* ---- nodes in order ---- */

static void do_block(TsTl *t, const TsBlock *b);

static void do_split(TsTl *t, const TsNode *n)
{
	TsReal src = ts_materialise(t, n->in[0]);
	uint32_t axis = (uint32_t)ts_attr(t->m, n, "axis")->i;
	for (uint32_t i = 0; i < n->nout; i++) {
		TsReal r = src;
		TsDim part = ts_dim_mul(t->d, ts_dim_const(t->d, i), ts_val(t->g, n->out[i])->type.dim[axis]);
		r.offset = ts_dim_add(t->d, src.offset, ts_dim_mul(t->d, part, src.stride[axis]));
		t->real[n->out[i]] = r;
	}
}

/* Carried values live in two halves of one buffer: iteration i reads half i % 2 and writes the other. */
static void do_for(TsTl *t, TsNode *n)
{
	TsFor *f = n->loop;
	TsDims *d = t->d;
	uint32_t nc = f->ncarry;
	int64_t trips = ts_for_trips(f);
	TsReal *half = TS_NEW_N(t->a, TsReal, nc);
	TsDim *count = TS_NEW_N(t->a, TsDim, nc), turn = ts_dim_floordiv(d, ts_dim_sub(d, f->symbol, ts_dim_const(d, f->lo)), ts_dim_const(d, f->step));
	TsDim parity = ts_dim_mod(d, turn, ts_dim_const(d, 2)), other = ts_dim_sub(d, ts_dim_const(d, 1), parity);
	for (uint32_t i = 0; i < nc; i++) {
		node_type_count(t, n->in[i], &count[i]);
		TsDim room = ts_dim_mul(d, ts_dim_cdiv(d, count[i], ts_dim_const(d, 64)), ts_dim_const(d, 64)); /* halves start aligned */
		count[i] = room;
		half[i] = (TsReal){ .how = TS_REAL_VIEW, .buf = ts_new_buf(t, TS_BUF_WORK, ts_val(t->g, n->in[i])->type.elem, ts_dim_mul(d, room, ts_dim_const(d, 2))) };
		t->e->bufs.p[half[i].buf].value = f->body.args.p[i];
		ts_compact_strides(t, &ts_val(t->g, n->in[i])->type, half[i].stride);
		ts_sched_copy(t, n->in[i], &half[i]);
	}
	for (uint32_t j = nc; j < n->nout; j++) { /* stacked values */
		TsReal r = { .how = TS_REAL_VIEW };
		TsDim all;
		node_type_count(t, n->out[j], &all);
		r.buf = ts_new_buf(t, TS_BUF_WORK, ts_val(t->g, n->out[j])->type.elem, all);
		t->e->bufs.p[r.buf].value = n->out[j];
		ts_compact_strides(t, &ts_val(t->g, n->out[j])->type, r.stride);
		t->real[n->out[j]] = r;
	}
	ts_push(t->a, &t->e->steps, (TsStep){ .kind = TS_SCHED_LOOP, .at = n->at, .loop = f });
	TsDim outer_turn = t->turn;
	t->turn = ts_dim_add(d, ts_dim_mul(d, t->turn, ts_dim_const(d, trips)), turn);
	for (uint32_t i = 0; i < nc; i++) {
		t->real[f->body.args.p[i]] = half[i];
		t->real[f->body.args.p[i]].offset = ts_dim_mul(d, parity, count[i]);
	}
	do_block(t, &f->body);
	for (uint32_t i = 0; i < f->body.results.n; i++) {
		TsReal to = i < nc ? half[i] : t->real[n->out[i]];
		if (i < nc) to.offset = ts_dim_mul(d, other, count[i]);
		else {
			to.offset = ts_dim_mul(d, turn, to.stride[0]);
			memmove(to.stride, to.stride + 1, (TS_MAX_RANK - 1) * sizeof *to.stride);
		}
		ts_sched_copy(t, f->body.results.p[i], &to);
	}
	t->turn = outer_turn;
	ts_push(t->a, &t->e->steps, (TsStep){ .kind = TS_SCHED_END, .at = n->at, .loop = f });
	for (uint32_t i = 0; i < nc; i++) {
		t->real[n->out[i]] = half[i];
		t->real[n->out[i]].offset = trips % 2 ? count[i] : 0;
	}
}

static void do_block(TsTl *t, const TsBlock *b)
{
	for (uint32_t i = 0; i < b->nodes.n && !t->failed; i++) {
		TsNode *n = b->nodes.p[i];
		if (n->loop) { do_for(t, n); continue; }
		if (n->op == TS_OP_split) { do_split(t, n); continue; }
		if (n->op == TS_OP_cast && ts_val(t->g, n->out[0])->type.elem == TS_COMPLEX64 && ts_val(t->g, n->in[0])->type.elem != TS_COMPLEX64) {
			ts_error(t->cx, n->at, "E_NO_SCHEDULE", "cast to complex64 has no %s kernel yet", t->target->family == TS_FAMILY_CPU ? "CPU" : t->target->name);
			t->failed = true;
			return;
		}
		for (uint32_t j = 0; j < n->nout; j++) {
			TsVal v = n->out[j];
			if (t->real[v].how == TS_REAL_VIEW) continue;
			t->real[v].how = TS_REAL_INLINE;
			TsOpClass cls = class_of(t, n);
			if (cls == TS_CLS_LEAF && n->op != TS_OP_const) { ts_materialise(t, v); continue; }
			if (cls == TS_CLS_VIEW) t->work[v] = t->work[n->in[0]];
			if (cls == TS_CLS_VIEW) { /* an index map: of bytes at once, of an unfinished value when somebody needs it */
				if (t->real[n->in[0]].how == TS_REAL_VIEW) ts_materialise(t, v);
				else if (t->uses[v] != 1) ts_materialise(t, v);
				continue;
			}
			if (!t->uses[v] || stays_inline(t, n)) continue;
			ts_materialise(t, v);
		}
	}
}

/* A value whose bytes were made in a work buffer by a kernel of this block and that nothing else reads in place could have been written
 * to `to` at once; ts_sched_copy retargets such a buffer instead of copying. */
static bool retarget(TsTl *t, TsVal v, const TsReal *to)
{
	const TsReal *r = &t->real[v];
	const TsType *ty = &ts_val(t->g, v)->type;
	TsBuffer *b = &t->e->bufs.p[r->buf];
	if (r->how != TS_REAL_VIEW || b->kind != TS_BUF_WORK || r->offset) return false;
	if (b->count != ts_type_count(t->m, ty)) return false; /* v is a part of what its kernel writes */
	TsKb k;
	ts_kb_init(&k, t, NULL);
	if (!ts_kb_is_address(&k, to->buf, to->offset) && k.gpu) return false; /* its kernels take buffers that begin where the target wants it */
	if (memcmp(r->stride, to->stride, ty->rank * sizeof *r->stride) || t->uses[v] != 2) return false;
	uint32_t writer = UINT32_MAX;
	for (uint32_t i = 0; i < t->e->steps.n; i++) {
		const TsStep *st = &t->e->steps.p[i];
		for (uint32_t j = 0; j < st->ptr.n; j++) {
			if (st->ptr.p[j].buf == r->buf) { if (writer == UINT32_MAX) writer = i; }
			if (st->ptr.p[j].buf == to->buf && writer != UINT32_MAX) return false; /* the target is in use in between */
		}
		if (writer != UINT32_MAX && st->kind != TS_SCHED_LAUNCH) return false;
	}
	if (writer == UINT32_MAX) return false;
	for (uint32_t i = writer; i < t->e->steps.n; i++) {
		TsStep *st = &t->e->steps.p[i];
		for (uint32_t j = 0; j < st->ptr.n; j++)
			if (st->ptr.p[j].buf == r->buf) {
				st->ptr.p[j].buf = to->buf;
				st->ptr.p[j].offset = ts_dim_add(t->d, st->ptr.p[j].offset, to->offset);
			}
	}
	uint32_t from = r->buf;
	for (uint32_t x = 1; x < t->g->vals.n; x++) { /* v, and the views of its bytes */
		if (t->real[x].how != TS_REAL_VIEW || t->real[x].buf != from) continue;
		t->real[x].buf = to->buf;
		t->real[x].offset = ts_dim_add(t->d, t->real[x].offset, to->offset);
	}
	return true;
}

void ts_sched_copy(TsTl *t, TsVal src, const TsReal *out)
{
	ts_materialise(t, src);
	if (ts_is_empty(t, src)) return;
	if (retarget(t, src, out)) return;
	ts_sched_pointwise(t, src, out);
}

static bool schedule_graph(TsTl *t)
{
	TsGraph *g = t->g;
	uint32_t place = 0;
	t->real = TS_NEW_N(t->a, TsReal, g->vals.n);
	t->consumer = TS_NEW_N(t->a, TsNode *, g->vals.n);
	t->uses = TS_NEW_N(t->a, uint32_t, g->vals.n);
	t->work = TS_NEW_N(t->a, uint32_t, g->vals.n);
	t->place = TS_NEW_N(t->a, uint32_t, g->vals.n);
	count_uses(t, &g->body, &place);
	mark_foreign(t, &g->body);
	for (uint32_t i = 0; i < g->params.n; i++) {
		TsVal v = g->params.p[i];
		TsReal r = { .how = TS_REAL_VIEW };
		TsDim count;
		node_type_count(t, v, &count);
		r.buf = ts_new_buf(t, TS_BUF_INPUT, ts_val(g, v)->type.elem, count);
		t->e->bufs.p[r.buf].index = i;
		ts_compact_strides(t, &ts_val(g, v)->type, r.stride);
		t->real[v] = r;
	}
	if (t->target->family != TS_FAMILY_CPU) ts_gpu_bounds(t);
	ts_gpu_narrow(t, true);
	do_block(t, &g->body);
	for (uint32_t i = 0; i < g->body.results.n && !t->failed; i++) {
		TsVal v = g->body.results.p[i];
		TsReal out = { .how = TS_REAL_VIEW };
		TsDim count;
		node_type_count(t, v, &count);
		out.buf = ts_new_buf(t, TS_BUF_OUTPUT, ts_val(g, v)->type.elem, count);
		t->e->bufs.p[out.buf].index = i;
		ts_compact_strides(t, &ts_val(g, v)->type, out.stride);
		ts_sched_copy(t, v, &out);
	}
	ts_gpu_narrow(t, false);
	if (t->failed) return false;
	ts_plan_memory(t);
	ts_find_groups(t);
	return true;
}

TsSched *ts_schedule(TsModule *m, const TsSchedTarget *target)
{
	TsSched *s = TS_NEW(m->arena, TsSched);
	s->m = m;
	s->target = target;
	bool cpu = target->family == TS_FAMILY_CPU;
	const TsTuneDb *tune = cpu ? ts_tune_load(m->cx) : NULL;
	const TsGpuTune *gpu = cpu ? NULL : ts_tune_load_gpu(m->cx, target->tune);
	if (!tune && !gpu) return NULL;
	for (uint32_t i = 0; i < m->graphs.n; i++) {
		TsEntry e = { .graph = m->graphs.p[i] };
		TsTl t = { .s = s, .m = m, .cx = m->cx, .a = m->arena, .d = m->dims, .g = e.graph, .e = &e, .target = target, .tune = tune, .gpu = gpu };
		if (!schedule_graph(&t)) return NULL;
		ts_push(m->arena, &s->entries, e);
	}
	return s;
}
