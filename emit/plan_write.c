#include "emit/plan_write.h"
#include "emit/plan_build.h"
#include "ir/weights.h"
#include "rtlib/pack.h"
#include "rtlib/sha256.h"
#include "support/file.h"
#include <stdlib.h>
#include <string.h>

typedef struct { const TsFor *f; uint32_t var, begin; } OpenLoop;
typedef struct { uint32_t set; TsSym name; const TsNode *node; TsPacking packing; uint32_t id; } Packed;
typedef struct {
	const TsSched *s;
	const TsPlanOptions *o;
	TsModule *m;
	TsArena *a;
	TsPlanBuild *b;
	uint32_t *dim;                    /* per symbol: plan dim, or TS_NONE */
	uint32_t *loop;                   /* per symbol: loop variable + 1 while its loop is open */
	TS_VEC(OpenLoop) open;
	TS_VEC(Packed) weights;
	TS_VEC(TsWeightPiece) pieces;
	TS_VEC(uint32_t) files;           /* per (set, file): plan file, parallel to file_keys */
	TS_VEC(uint64_t) file_keys;
	uint64_t blob, external;
	uint32_t consts;
	bool failed;
} Writer;

static uint32_t plan_dtype(TsDtype t)
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

static uint32_t size_expr(Writer *w, TsDim d)
{
	TsDimVisitor v = { w, dim_leaf, dim_node };
	return ts_dim_visit(w->m->dims, d, &v);
}

static uint32_t bytes_expr(Writer *w, TsDim elements, TsDtype t)
{
	TsDims *d = w->m->dims;
	TsDim bits = ts_dim_mul(d, elements, ts_dim_const(d, ts_dtype_bits(t)));
	return size_expr(w, ts_dim_floordiv(d, bits, ts_dim_const(d, 8)));
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

/* ---- weights ---- */

typedef struct { TsModule *m; const TsWeights *set; const TsTensorInfo *info; TsPack pack; uint64_t bytes; uint8_t *done; int64_t skip; } PackJob;

/* Packs the whole tensor on the first read and hands out parts of it. */
static bool read_packed(void *user, uint64_t offset, void *to, size_t n)
{
	PackJob *j = user;
	if (!j->done) {
		const uint8_t *src = ts_weights_data(j->m, j->set, j->info);
		j->done = src ? malloc(j->bytes ? j->bytes : 1) : NULL;
		if (!j->done) { ts_env_error(j->m->cx, "E_MEMORY", "out of memory while packing weight '%s'", j->info->name); return false; }
		ts_pack_panels(&j->pack, src + j->skip, 0, j->pack.batch * ts_pack_ceil(j->pack.n, j->pack.panel), j->done);
	}
	memcpy(to, j->done + offset, n);
	if (offset + n == j->bytes) { free(j->done); j->done = NULL; }
	return true;
}

static uint32_t plan_file(Writer *w, uint32_t set, uint32_t file)
{
	uint64_t key = (uint64_t)set << 32 | file;
	for (uint32_t i = 0; i < w->files.n; i++)
		if (w->file_keys.p[i] == key) return w->files.p[i];
	const TsWeights *from = &w->m->weights.p[set];
	const char *path = from->files.p[file], *slash = strrchr(path, '/');
	uint8_t hash[32] = { 0 };
	TsSha256 h;
	TsFile f;
	if (!ts_file_map(w->m->cx, path, &f)) { w->failed = true; return TS_NONE; }
	ts_sha256_init(&h);
	ts_sha256_add(&h, f.p, f.size);
	ts_sha256_end(&h, hash);
	uint64_t bytes = f.size;
	ts_file_unmap(&f);
	ts_push(w->a, &w->file_keys, key);
	ts_push(w->a, &w->files, ts_plan_add_file(w->b, slash ? slash + 1 : path, bytes, hash));
	return w->files.p[w->files.n - 1];
}

static TsPack pack_of(const TsBuffer *b)
{
	TsPack p = { .kind = TS_PACK_COPY, .elem = (uint32_t)(ts_dtype_bits(b->elem) + 7) / 8, .panel = 1, .group = 1 };
	if (!b->packing.packed) return p;
	return (TsPack){ TS_PACK_PANELS, p.elem, (uint32_t)b->packing.panel, 1, b->packing.batch, b->packing.k, b->packing.n, b->packing.batch_stride, b->packing.k_stride, b->packing.n_stride };
}

static uint64_t place(uint64_t *end, uint64_t bytes)
{
	uint64_t at = (*end + 63) & ~(uint64_t)63;
	*end = at + bytes;
	return at;
}

/* A literal's elements as panels. */
static const void *pack_literal(Writer *w, const TsNode *n, const TsPacking *p, const TsPlanWeight *rec)
{
	uint8_t *to = ts_alloc(w->a, rec->bytes + 1);
	const uint8_t *from = (const uint8_t *)n->data + p->offset * rec->pack.elem;
	ts_pack_panels(&rec->pack, from, 0, p->batch * ts_pack_ceil(p->n, p->panel), to);
	return to;
}

/* One weight as kernels read it; the same tensor with the same packing is one weight. */
static uint32_t weight_id(Writer *w, const TsGraph *g, const TsBuffer *b, TsSym name)
{
	const TsNode *n = b->weight;
	const TsType *ty = &g->vals.p[n->out[0]].type;
	bool is_const = n->op == TS_OP_const;
	for (uint32_t i = 0; i < w->weights.n; i++) {
		const Packed *p = &w->weights.p[i];
		if ((is_const ? p->node == n : !p->node && p->set == n->weights && p->name == name) && !memcmp(&p->packing, &b->packing, sizeof p->packing)) return p->id;
	}
	int64_t dims[TS_MAX_RANK], count = 1;
	for (int i = 0; i < ty->rank; i++) {
		ts_dim_is_const(w->m->dims, ty->dim[i], &dims[i]);
		count *= dims[i];
	}
	TsPlanWeight rec = { .where = TS_WEIGHT_EMBEDDED, .file = TS_NONE, .pack = pack_of(b) };
	TsWeightPiece piece = { 0 };
	if (b->packing.packed) count = (b->packing.n + b->packing.panel - 1) / b->packing.panel * b->packing.panel * b->packing.k * b->packing.batch;
	rec.bytes = (uint64_t)ts_dtype_bytes(b->elem, count);
	if (is_const) {
		piece.data = b->packing.packed ? pack_literal(w, n, &b->packing, &rec) : n->data;
		name = ts_intern_fmt(w->m->cx, "const.%u", w->consts++);
	} else {
		const TsWeights *set = &w->m->weights.p[n->weights];
		const TsTensorInfo *info = ts_weights_find(set, name);
		if (!info) ts_bug(w->m->cx, n->at, "plan: weight '%s' is gone", name);
		int64_t skip = b->packing.offset * ts_dtype_bits(b->elem) / 8;
		rec.file_offset = info->offset + (uint64_t)skip;
		rec.file_bytes = info->size - (uint64_t)skip;
		rec.file = plan_file(w, n->weights, info->file);
		if (w->o->external) rec.where = TS_WEIGHT_EXTERNAL;
		if (b->packing.packed) {
			PackJob *job = TS_NEW(w->a, PackJob);
			*job = (PackJob){ .m = w->m, .set = set, .info = info, .pack = rec.pack, .bytes = rec.bytes, .skip = skip };
			piece.read = read_packed;
			piece.user = job;
		} else {
			piece.path = set->files.p[info->file];
			piece.path_offset = info->offset;
		}
	}
	if (rec.where == TS_WEIGHT_EXTERNAL) {
		rec.offset = place(&w->external, rec.bytes);
	} else {
		rec.offset = piece.at = place(&w->blob, rec.bytes);
		piece.size = rec.bytes;
		if (piece.size) ts_push(w->a, &w->pieces, piece);
	}
	Packed p = { n->weights, name, is_const ? n : NULL, b->packing, ts_plan_add_weight(w->b, name, plan_dtype(ty->elem), ty->rank, dims, rec) };
	ts_push(w->a, &w->weights, p);
	return p.id;
}

/* Numbers of the tensor for every turn of the open loops, as a table, and the expression that finds this turn's. */
static void weight_arg(Writer *w, const TsGraph *g, const TsBuffer *b, TsPlanArg *arg)
{
	uint32_t nest = w->open.n, total = 1, index = TS_NONE;
	TsSym *vars = TS_NEW_N(w->a, TsSym, nest + 1);
	int64_t *vals = TS_NEW_N(w->a, int64_t, nest + 1);
	bool loops = b->weight->op == TS_OP_weight && strchr(b->weight->name, '{');
	if (!loops) nest = 0;
	for (uint32_t i = 0; i < nest; i++) {
		const TsFor *f = w->open.p[i].f;
		int64_t trips = ts_for_trips(f);
		vars[i] = f->var;
		total *= (uint32_t)trips;
		uint32_t turn = ts_plan_loop(w->b, w->open.p[i].var);
		index = index == TS_NONE ? turn : ts_plan_op(w->b, TS_EX_ADD, ts_plan_op(w->b, TS_EX_MUL, index, ts_plan_const(w->b, trips)), turn);
	}
	uint32_t *table = TS_NEW_N(w->a, uint32_t, total);
	for (uint32_t k = 0; k < total; k++) {
		uint32_t rest = k;
		for (uint32_t i = nest; i > 0; i--) {
			const TsFor *f = w->open.p[i - 1].f;
			uint32_t trips = (uint32_t)ts_for_trips(f);
			vals[i - 1] = f->lo + (int64_t)(rest % trips) * f->step;
			rest /= trips;
		}
		TsSym name = b->weight->op == TS_OP_weight ? ts_weight_name(w->m->cx, b->weight->name, nest, vars, vals) : NULL;
		table[k] = weight_id(w, g, b, name);
	}
	arg->kind = TS_ARG_WEIGHT;
	arg->table = ts_plan_add_words(w->b, table, total);
	arg->n_table = total;
	arg->index_expr = index;
}

/* ---- steps ---- */

static uint32_t slot_offset(Writer *w, const TsEntry *e, const TsBuffer *b)
{
	TsDim at = 0;
	for (uint32_t s = 0; s + 1 < b->slot; s++) at = ts_dim_add(w->m->dims, at, e->slot_bytes.p[s]);
	return size_expr(w, at);
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
	case TS_BUF_WEIGHT: weight_arg(w, e->graph, b, &arg); break;
	}
	return arg;
}

static void launch(Writer *w, const TsEntry *e, const TsStep *st)
{
	TsPlanArg *args = TS_NEW_N(w->a, TsPlanArg, st->ptr.n);
	uint32_t *nums = TS_NEW_N(w->a, uint32_t, st->num.n);
	for (uint32_t i = 0; i < st->ptr.n; i++) args[i] = plan_arg(w, e, &st->ptr.p[i]);
	for (uint32_t i = 0; i < st->num.n; i++) nums[i] = size_expr(w, st->num.p[i]);
	TsPlanStep ps = { .kind = TS_STEP_LAUNCH, .name = ts_plan_add_str(w->b, st->what), .n_choices = st->choices.n, .n_args = st->ptr.n, .n_nums = st->num.n };
	ps.num = ts_plan_add_words(w->b, nums, st->num.n);
	ps.choice = ts_plan_next_choice(w->b);
	ps.var = ps.lo = ps.hi = ps.match = TS_NONE;
	for (uint32_t i = 0; i < st->choices.n; i++) {
		const TsChoice *c = &st->choices.p[i];
		bool always = !c->guard_lhs && !c->guard_rhs;
		uint32_t guard = always ? TS_NONE : ts_plan_op(w->b, TS_EX_LE, size_expr(w, c->guard_lhs), size_expr(w, c->guard_rhs));
		ts_plan_add_choice(w->b, guard, c->kernel, size_expr(w, c->cells), ts_plan_const(w->b, w->o->scratch[c->kernel]), c->label);
	}
	ps.arg = ts_plan_next_arg(w->b);
	for (uint32_t i = 0; i < st->ptr.n; i++) ts_plan_add_arg(w->b, args[i]);
	ts_plan_add_step(w->b, ps);
}

static void steps(Writer *w, const TsEntry *e)
{
	uint32_t next_var = 0;
	for (uint32_t i = 0; i < e->steps.n; i++) {
		const TsStep *st = &e->steps.p[i];
		if (st->kind == TS_SCHED_LAUNCH) {
			launch(w, e, st);
		} else if (st->kind == TS_SCHED_LOOP) { /* the plan's loops count turns from 0 */
			OpenLoop o = { st->loop, next_var++, 0 };
			o.begin = ts_plan_loop_begin(w->b, o.var, ts_plan_const(w->b, 0), ts_plan_const(w->b, ts_for_trips(st->loop)));
			w->loop[symbol_of(w, st->loop->symbol)] = o.var + 1;
			ts_push(w->a, &w->open, o);
		} else {
			OpenLoop o = w->open.p[--w->open.n];
			w->loop[symbol_of(w, o.f->symbol)] = 0;
			ts_plan_loop_end(w->b, o.begin);
		}
	}
}

/* ---- entries ---- */

static uint32_t add_tensor(Writer *w, TsSym name, const TsType *ty, TsSpan at)
{
	uint32_t dims[TS_MAX_RANK], line = 0, col = 0;
	for (int i = 0; i < ty->rank; i++) dims[i] = size_expr(w, ty->dim[i]);
	const char *where = NULL;
	if (at.file) {
		ts_source_line_col(w->m->cx, at.file, at.begin, &line, &col);
		const char *path = ts_source_name(w->m->cx, at.file), *slash = strrchr(path, '/');
		where = ts_printf(w->a, "%s:%u:%u", slash ? slash + 1 : path, line, col); /* an artifact does not depend on folders */
	}
	return ts_plan_add_tensor(w->b, name, plan_dtype(ty->elem), ty->rank, dims, (uint32_t)(ts_dtype_bits(ty->elem) + 7) / 8, where);
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
	pe->check = ts_plan_next_check(w->b);
	for (uint32_t i = 0; i < g->checks.n; i++) {
		const TsCheck *c = &g->checks.p[i];
		uint32_t l = size_expr(w, c->cond_lhs), r = size_expr(w, c->cond_rhs), e;
		if (c->kind == TS_CHECK_EQ) e = ts_plan_op(w->b, TS_EX_EQ, l, r);
		else if (c->kind == TS_CHECK_LE) e = ts_plan_op(w->b, TS_EX_LE, l, r);
		else e = ts_plan_op(w->b, TS_EX_EQ, ts_plan_op(w->b, TS_EX_MOD, r, l), ts_plan_const(w->b, 0));
		ts_plan_add_check(w->b, e, c->text, l, r);
		pe->n_checks++;
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
	pe.workspace = size_expr(w, e->workspace);
	ts_plan_add_entry(w->b, pe);
}

bool ts_write_plan(const TsSched *s, const TsPlanOptions *o, TsPlanned *out)
{
	Writer w = { .s = s, .o = o, .m = s->m, .a = s->m->arena };
	w.b = ts_plan_new(s->m->cx, s->m->name, o->producer);
	add_dims(&w);
	for (uint32_t i = 0; i < s->kernels.n; i++) ts_plan_add_kernel(w.b, s->kernels.p[i].name);
	for (uint32_t i = 0; i < s->entries.n; i++) add_entry(&w, &s->entries.p[i]);
	if (w.failed) return false;
	out->plan = ts_plan_finish(w.b, w.blob, w.external);
	out->pieces = w.pieces.p;
	out->n_pieces = w.pieces.n;
	out->weight_bytes = w.blob;
	return ts_error_count(s->m->cx) == 0;
}
