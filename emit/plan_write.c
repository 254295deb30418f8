#include "emit/plan_write_int.h"
#include <string.h>

typedef TsPlanWriter Writer;

uint32_t ts_plan_dtype(TsDtype t)
{
	static const uint32_t map[TS_DTYPE_COUNT] = {
		[TS_F64] = TS_PLAN_F64, [TS_F32] = TS_PLAN_F32, [TS_F16] = TS_PLAN_F16, [TS_BF16] = TS_PLAN_BF16, [TS_FP8_E4M3] = TS_PLAN_FP8_E4M3,
		[TS_FP8_E5M2] = TS_PLAN_FP8_E5M2, [TS_FP6_E2M3] = TS_PLAN_FP6_E2M3, [TS_FP6_E3M2] = TS_PLAN_FP6_E3M2, [TS_FP4_E2M1] = TS_PLAN_FP4_E2M1,
		[TS_INT64] = TS_PLAN_INT64, [TS_INT32] = TS_PLAN_INT32, [TS_INT16] = TS_PLAN_INT16, [TS_INT8] = TS_PLAN_INT8, [TS_UINT8] = TS_PLAN_UINT8,
		[TS_INT4] = TS_PLAN_INT4, [TS_BOOL] = TS_PLAN_BOOL, [TS_COMPLEX64] = TS_PLAN_COMPLEX64,
	};
	return map[t];
}

/* ---- sizes ---- */

/* A graph's loop variable from the plan's, which counts turns. */
static uint32_t loop_value(Writer *w, uint32_t var)
{
	uint32_t turn = ts_plan_loop(w->b, var);
	for (uint32_t i = 0; i < w->open.n; i++) {
		const TsFor *f = w->open.p[i].f;
		if (w->open.p[i].var != var || (f->lo == 0 && f->step == 1)) continue;
		return ts_plan_op(w->b, TS_EX_ADD, ts_plan_const(w->b, f->lo), ts_plan_op(w->b, TS_EX_MUL, turn, ts_plan_const(w->b, f->step)));
	}
	return turn;
}

static uint32_t dim_leaf(void *user, TsDimKind kind, int64_t v)
{
	Writer *w = user;
	if (kind == TS_DX_CONST) return ts_plan_const(w->b, v);
	if (w->loop[v]) return loop_value(w, w->loop[v] - 1);
	return ts_plan_dim(w->b, w->dim[v]);
}

static uint32_t dim_node(void *user, TsDimKind kind, uint32_t x, uint32_t y)
{
	static const TsExprKind map[] = { [TS_DX_ADD] = TS_EX_ADD, [TS_DX_MUL] = TS_EX_MUL, [TS_DX_FLOORDIV] = TS_EX_DIV, [TS_DX_MOD] = TS_EX_MOD, [TS_DX_MIN] = TS_EX_MIN, [TS_DX_MAX] = TS_EX_MAX };
	return ts_plan_op(((Writer *)user)->b, map[kind], x, y);
}

uint32_t ts_plan_size(Writer *w, TsDim d)
{
	TsDimVisitor v = { w, dim_leaf, dim_node };
	return ts_dim_visit(w->m->dims, d, &v);
}

static uint32_t bytes_expr(Writer *w, TsDim elements, TsDtype t)
{
	TsDims *d = w->m->dims;
	TsDim bits = ts_dim_mul(d, elements, ts_dim_const(d, ts_dtype_bits(t)));
	return ts_plan_size(w, ts_dim_floordiv(d, bits, ts_dim_const(d, 8)));
}

static uint32_t symbol_of(Writer *w, TsDim d)
{
	int64_t c;
	uint32_t s = 0;
	if (!ts_dim_is_scaled_symbol(w->m->dims, d, &c, &s)) ts_bug(w->m->cx, (TsSpan){ 0 }, "plan: a loop variable is no symbol");
	return s;
}

static void mark_loops(const TsBlock *b, Writer *w, bool *is_loop)
{
	for (uint32_t i = 0; i < b->nodes.n; i++)
		if (b->nodes.p[i]->loop) {
			is_loop[symbol_of(w, b->nodes.p[i]->loop->symbol)] = true;
			mark_loops(&b->nodes.p[i]->loop->body, w, is_loop);
		}
}

static void add_dims(Writer *w)
{
	uint32_t n = ts_dim_symbol_count(w->m->dims);
	bool *is_loop = TS_NEW_N(w->a, bool, n + 1);
	w->dim = TS_NEW_N(w->a, uint32_t, n + 1);
	w->loop = TS_NEW_N(w->a, uint32_t, n + 1);
	for (uint32_t i = 0; i < w->m->graphs.n; i++) mark_loops(&w->m->graphs.p[i]->body, w, is_loop);
	for (uint32_t i = 0; i < n; i++) {
		const TsDimSym *s = ts_dim_symbol_info(w->m->dims, i);
		w->dim[i] = is_loop[i] ? TS_NONE : ts_plan_add_dim(w->b, s->name, s->min, s->max == INT64_MAX ? 0 : s->max, s->multiple);
	}
}

/* ---- steps ---- */

static uint32_t slot_offset(Writer *w, const TsEntry *e, const TsBuffer *b)
{
	TsDim at = 0;
	for (uint32_t s = 0; s + 1 < b->slot; s++) at = ts_dim_add(w->m->dims, at, e->slot_bytes.p[s]);
	return ts_plan_size(w, at);
}

static TsPlanArg plan_arg(Writer *w, const TsEntry *e, const TsArg *a)
{
	const TsBuffer *b = &e->bufs.p[a->buf];
	TsPlanArg arg = { .index_expr = TS_NONE, .offset = bytes_expr(w, a->offset, b->elem) };
	switch (b->kind) {
	case TS_BUF_INPUT: arg.kind = TS_ARG_INPUT; arg.index = b->index; break;
	case TS_BUF_OUTPUT: arg.kind = TS_ARG_OUTPUT; arg.index = b->index; break;
	case TS_BUF_WORK:
		arg.kind = TS_ARG_WORKSPACE;
		arg.offset = ts_plan_op(w->b, TS_EX_ADD, slot_offset(w, e, b), arg.offset);
		break;
	case TS_BUF_WEIGHT: ts_plan_weight_arg(w, e->graph, b, &arg); break;
	}
	return arg;
}

static void launch(Writer *w, const TsEntry *e, uint32_t step, TsPlanAbout *about)
{
	const TsStep *st = &e->steps.p[step];
	TsPlanArg *args = TS_NEW_N(w->a, TsPlanArg, st->ptr.n);
	uint32_t *nums = TS_NEW_N(w->a, uint32_t, st->num.n);
	for (uint32_t i = 0; i < st->ptr.n; i++) args[i] = plan_arg(w, e, &st->ptr.p[i]);
	for (uint32_t i = 0; i < st->num.n; i++) nums[i] = ts_plan_size(w, st->num.p[i]);
	bool named = st->what && *st->what; /* a value that the compiler made has no name: its kernel's tells more than none */
	const char *what = named || !st->choices.n ? st->what : w->s->kernels.p[st->choices.p[0].kernel].name;
	TsPlanStep ps = { .kind = TS_STEP_LAUNCH, .name = ts_plan_add_str(w->b, what), .n_choices = st->choices.n, .n_args = st->ptr.n, .n_nums = st->num.n };
	ps.num = ts_plan_add_words(w->b, nums, st->num.n);
	ps.choice = ts_plan_next_choice(w->b);
	ps.var = ps.lo = ps.hi = ps.match = TS_NONE;
	ts_plan_describe(w, about, e, step, &ps);
	for (uint32_t i = 0; i < st->choices.n; i++) {
		const TsChoice *c = &st->choices.p[i];
		bool always = !c->guard_lhs && !c->guard_rhs;
		uint32_t guard = always ? TS_NONE : ts_plan_op(w->b, TS_EX_LE, ts_plan_size(w, c->guard_lhs), ts_plan_size(w, c->guard_rhs));
		uint32_t id = ts_plan_next_choice(w->b);
		if (w->device) ts_plan_add_device_choice(w->b, guard, c->kernel, ts_plan_size(w, c->cells), (uint32_t)c->per_sm, c->label);
		else ts_plan_add_choice(w->b, guard, c->kernel, ts_plan_size(w, c->cells), ts_plan_const(w->b, w->o->scratch[c->kernel]), c->label);
		ts_plan_choice_tile(w->b, id, c->tile);
	}
	ps.arg = ts_plan_next_arg(w->b);
	for (uint32_t i = 0; i < st->ptr.n; i++) ts_plan_add_arg(w->b, args[i]);
	ts_plan_add_step(w->b, ps);
}

static void steps(Writer *w, const TsEntry *e)
{
	uint32_t next_var = 0;
	TsPlanAbout about = ts_plan_about(w, e);
	for (uint32_t i = 0; i < e->steps.n; i++) {
		const TsStep *st = &e->steps.p[i];
		if (st->kind == TS_SCHED_LAUNCH) {
			launch(w, e, i, &about);
		} else if (st->kind == TS_SCHED_LOOP) { /* the plan's loops count turns from 0 */
			TsOpenLoop o = { st->loop, next_var++, 0 };
			o.begin = ts_plan_loop_begin(w->b, o.var, ts_plan_const(w->b, 0), ts_plan_const(w->b, ts_for_trips(st->loop)));
			w->loop[symbol_of(w, st->loop->symbol)] = o.var + 1;
			ts_push(w->a, &w->open, o);
		} else {
			TsOpenLoop o = w->open.p[--w->open.n];
			w->loop[symbol_of(w, o.f->symbol)] = 0;
			ts_plan_loop_end(w->b, o.begin);
		}
	}
}

/* ---- entries ---- */

static uint32_t add_tensor(Writer *w, TsSym name, const TsType *ty, TsSpan at)
{
	uint32_t dims[TS_MAX_RANK], line = 0, col = 0;
	for (int i = 0; i < ty->rank; i++) dims[i] = ts_plan_size(w, ty->dim[i]);
	const char *where = NULL;
	if (at.file) {
		ts_source_line_col(w->m->cx, at.file, at.begin, &line, &col);
		const char *path = ts_source_name(w->m->cx, at.file), *slash = strrchr(path, '/');
		where = ts_printf(w->a, "%s:%u:%u", slash ? slash + 1 : path, line, col); /* an artifact does not depend on folders */
	}
	return ts_plan_add_tensor(w->b, name, ts_plan_dtype(ty->elem), ty->rank, dims, (uint32_t)(ts_dtype_bits(ty->elem) + 7) / 8, where);
}

static void add_binds(Writer *w, const TsGraph *g, TsPlanEntry *pe)
{
	uint32_t n = ts_dim_symbol_count(w->m->dims);
	bool *bound = TS_NEW_N(w->a, bool, n + 1);
	pe->bind = ts_plan_next_bind(w->b);
	for (uint32_t i = 0; i < g->params.n; i++) {
		const TsType *ty = &g->vals.p[g->params.p[i]].type;
		for (uint32_t a = 0; a < ty->rank; a++) {
			int64_t c;
			uint32_t s;
			if (!ts_dim_is_scaled_symbol(w->m->dims, ty->dim[a], &c, &s) || bound[s] || w->dim[s] == TS_NONE) continue;
			bound[s] = true;
			ts_plan_add_bind(w->b, (TsPlanBind){ .dim = w->dim[s], .tensor = i, .axis = a, .mul = c });
			pe->n_binds++;
		}
	}
}

static void add_checks(Writer *w, const TsGraph *g, TsPlanEntry *pe)
{
	static const char *const wrong[] = { [TS_CHECK_EQ] = "%s: {0} and {1} differ", [TS_CHECK_LE] = "%s: {0} is more than {1}",
		[TS_CHECK_DIVIDES] = "%s: {0} is not a multiple of {1}" };
	pe->check = ts_plan_next_check(w->b);
	for (uint32_t i = 0; i < g->checks.n; i++) {
		const TsCheck *c = &g->checks.p[i];
		uint32_t l = ts_plan_size(w, c->cond_lhs), r = ts_plan_size(w, c->cond_rhs), e;
		if (c->kind == TS_CHECK_EQ) e = ts_plan_op(w->b, TS_EX_EQ, l, r);
		else if (c->kind == TS_CHECK_LE) e = ts_plan_op(w->b, TS_EX_LE, l, r);
		else e = ts_plan_op(w->b, TS_EX_EQ, ts_plan_op(w->b, TS_EX_MOD, l, r), ts_plan_const(w->b, 0));
		ts_plan_add_check(w->b, e, ts_printf(w->m->arena, wrong[c->kind], c->text), l, r);
		pe->n_checks++;
	}
}

/* The workspace over time, for tools. */
static void add_buffers(Writer *w, const TsEntry *e, TsPlanEntry *pe)
{
	pe->buffer = ts_plan_next_buffer(w->b);
	for (uint32_t i = 0; i < e->bufs.n; i++) {
		const TsBuffer *b = &e->bufs.p[i];
		if (b->kind != TS_BUF_WORK || !b->slot) continue;
		ts_plan_add_buffer(w->b, (TsPlanBuffer){ .name = ts_plan_add_str(w->b, b->value ? ts_val(e->graph, b->value)->name : NULL), .first = pe->step + b->first,
			.last = pe->step + b->last, .offset = slot_offset(w, e, b), .bytes = bytes_expr(w, b->count, b->elem) });
		pe->n_buffers++;
	}
}

static void add_entry(Writer *w, const TsEntry *e)
{
	const TsGraph *g = e->graph;
	TsPlanEntry pe = { .name = ts_plan_add_str(w->b, g->name), .doc = ts_plan_add_str(w->b, g->doc), .n_inputs = g->params.n, .n_outputs = g->body.results.n };
	pe.tensor = ts_plan_next_tensor(w->b);
	for (uint32_t i = 0; i < g->params.n; i++) {
		const TsValue *v = &g->vals.p[g->params.p[i]];
		add_tensor(w, v->name, &v->type, v->def->at);
	}
	for (uint32_t i = 0; i < g->body.results.n; i++) add_tensor(w, g->result_names.p[i], &g->vals.p[g->body.results.p[i]].type, g->at);
	add_binds(w, g, &pe);
	add_checks(w, g, &pe);
	pe.step = ts_plan_next_step(w->b);
	steps(w, e);
	pe.n_steps = ts_plan_next_step(w->b) - pe.step;
	pe.workspace = ts_plan_size(w, e->workspace);
	add_buffers(w, e, &pe);
	ts_plan_add_entry(w->b, pe);
}

/* Everything but the sizes of what all plans share. */
static bool write_tables(Writer *w)
{
	w->b = ts_plan_new(w->m->cx, w->m->name, w->o->producer);
	add_dims(w);
	if (w->device) ts_plan_device_kernels(w);
	else
		for (uint32_t i = 0; i < w->s->kernels.n; i++) ts_plan_add_kernel(w->b, w->s->kernels.p[i].name);
	for (uint32_t i = 0; i < w->s->entries.n; i++) add_entry(w, &w->s->entries.p[i]);
	return !w->failed;
}

/* A manifest alone has types and no bytes. */
static bool weights_have_files(const TsModule *m)
{
	for (uint32_t i = 0; i < m->weights.n; i++) {
		const TsWeights *w = &m->weights.p[i];
		if (w->files.n || !w->tensors.n) continue;
		ts_error(m->cx, w->at, "E_NO_WEIGHT", "weights '%s' have no file, and code needs their bytes", w->name);
		ts_hint(m->cx, "weights %s = \"model.safetensors\", or --weights-file %s=FILE", w->name, w->name);
		return false;
	}
	return true;
}

bool ts_write_plan(const TsSched *s, const TsPlanOptions *o, const TsDeviceSched *devices, uint32_t n_devices, TsPlanned *out)
{
	TsArena *a = s->m->arena;
	TsBlob blob = { 0 };
	Writer cpu = { .s = s, .o = o, .m = s->m, .a = a, .blob = &blob }, *w = TS_NEW_N(a, Writer, n_devices + 1);
	TsDevicePlan *plans = TS_NEW_N(a, TsDevicePlan, n_devices + 1);
	bool ok = weights_have_files(s->m) && write_tables(&cpu);
	for (uint32_t i = 0; ok && i < n_devices; i++) {
		w[i] = (Writer){ .s = devices[i].sched, .o = o, .device = &devices[i], .m = s->m, .a = a, .blob = &blob };
		ok = write_tables(&w[i]);
	}
	if (!ok) return false;
	out->plan = ts_plan_finish(cpu.b, blob.bytes, cpu.external); /* now that the weights of all plans have their places */
	for (uint32_t i = 0; i < n_devices; i++) {
		ts_plan_for_device(w[i].b, devices[i].target, w[i].external, devices[i].code_bytes);
		plans[i] = (TsDevicePlan){ devices[i].target, ts_plan_finish(w[i].b, blob.bytes, 0) };
		const char *wrong = ts_plan_check_device(out->plan.p, plans[i].plan.p);
		if (wrong) ts_bug(s->m->cx, (TsSpan){ 0 }, "plan for %s: %s", devices[i].target, wrong);
	}
	out->device_plans = plans;
	out->n_device_plans = n_devices;
	out->pieces = blob.pieces.p;
	out->n_pieces = blob.pieces.n;
	out->weight_bytes = blob.bytes;
	return ts_error_count(s->m->cx) == 0;
}
