/* Running a GPU schedule on the host: every kernel of the plan verified and run in the simulator, in the plan's order, on the plan's buffers. */
#pragma once
#include "frontend/graph_text/parse.h"
#include "ir/tile_sim.h"
#include "middle/tiler/sched.h"
#include "tests/unit/diff.h"

static int launches;
static bool print_launches;
static int nth_choice = -1;     /* not a random one of the choices that fit, but this one (counted round) */

typedef struct {
	TsCtx *cx;
	TsModule *m;
	const TsSched *s;
	const TsEntry *e;
	int64_t *syms;
	TsTensor *buf;              /* per TsBuffer */
	TsTree **file;              /* per kernel, parsed on first use */
	Rng *rng;
} Exec;

static int64_t dim_value(Exec *x, TsDim d)
{
	int64_t v = -1;
	if (!ts_dim_eval(x->m->dims, d, x->syms, &v)) abort();
	return v;
}

/* Any choice whose guard holds, not only the first: each must be right wherever its guard lets it. One that is there for its speed, wherever
 * what it needs is given. */
static const TsChoice *choose(Exec *x, const TsStep *st)
{
	const TsChoice *fits[20];
	uint32_t n = 0;
	for (uint32_t i = 0; i < st->choices.n && n < 20; i++) {
		const TsChoice *c = &st->choices.p[i];
		if (c->by_cost ? !dim_value(x, c->need) : (!c->guard_lhs && !c->guard_rhs) || dim_value(x, c->guard_lhs) <= dim_value(x, c->guard_rhs)) fits[n++] = c;
	}
	return n ? fits[nth_choice >= 0 ? (uint32_t)nth_choice % n : rng_below(x->rng, n)] : NULL;
}

static TsDtype stored(TsDtype t) { return t == TS_COMPLEX64 ? TS_INT64 : t; }

static bool launch(Exec *x, const TsStep *st)
{
	const TsChoice *c = choose(x, st);
	if (!c) { ts_error(x->cx, st->at, "E_TEST", "no choice of a step fits"); return false; }
	if (!dim_value(x, c->cells)) return true;
	const TsKernel *k = &x->s->kernels.p[c->kernel];
	TsTree **file = &x->file[c->kernel];
	if (print_launches) printf("# %s (%s), %lld cells\n%s\n", k->name, c->label ? c->label : "", (long long)dim_value(x, c->cells), k->text[0]);
	if (!*file) *file = ts_parse(x->cx, ts_source_add(x->cx, k->name, k->text[0], strlen(k->text[0])));
	if (!*file || !ts_tile_verify(x->cx, *file)) return false;
	TsTensor arg[32] = { 0 };
	int64_t num[64];
	uint32_t n = 0;
	for (uint32_t i = 0; i < st->ptr.n; i++) {
		const TsTensor *b = &x->buf[st->ptr.p[i].buf];
		int64_t at = dim_value(x, st->ptr.p[i].offset), bits = ts_dtype_bits(b->elem);
		if (at * bits % 128) { ts_error(x->cx, st->at, "E_TEST", "a buffer begins %lld bits into another", (long long)(at * bits)); return false; }
		arg[i] = *b;
		arg[i].elem = stored(b->elem);
		arg[i].rank = 1;
		arg[i].count = arg[i].dim[0] = b->count - at;
		arg[i].data = (uint8_t *)b->data + at * bits / 8;
	}
	for (; n < st->num.n; n++) num[n] = dim_value(x, st->num.p[n]);
	if (c->per_sm) num[n++] = 1 + (int64_t)rng_below(x->rng, 3);
	TsSimArgs a = { .buffers = arg, .nbuffers = st->ptr.n, .numbers = num, .nnumbers = n, .seed = rng_next(x->rng), .latest = rng_below(x->rng, 2) };
	launches++;
	return ts_tile_sim(x->cx, *file, &a);
}

static uint32_t symbol_of(Exec *x, const TsFor *loop)
{
	int64_t c;
	uint32_t s = 0;
	if (!ts_dim_is_scaled_symbol(x->m->dims, loop->symbol, &c, &s)) abort();
	return s;
}

/* Steps [i, end of the block); the step behind it. */
static uint32_t run_steps(Exec *x, uint32_t i, bool *ok)
{
	for (; i < x->e->steps.n && *ok; i++) {
		const TsStep *st = &x->e->steps.p[i];
		if (st->kind == TS_SCHED_END) return i;
		if (st->kind == TS_SCHED_LAUNCH) { *ok = launch(x, st); continue; }
		uint32_t s = symbol_of(x, st->loop), end = i, depth = 0;
		do { /* its END, also of a loop that never runs */
			depth += x->e->steps.p[end].kind == TS_SCHED_LOOP;
			depth -= x->e->steps.p[end++].kind == TS_SCHED_END;
		} while (depth);
		for (int64_t v = st->loop->lo; v < st->loop->hi && *ok; v += st->loop->step) {
			x->syms[s] = v;
			run_steps(x, i + 1, ok);
		}
		i = end - 1;
	}
	return i;
}

/* The bytes of a buffer: the caller's for inputs, its node's data for constants, else its own, full of what nobody wrote. */
static bool make_buffer(Exec *x, const TsBuffer *b, const TsTensor *in, TsTensor *out)
{
	int64_t n = dim_value(x, b->count);
	if (b->kind == TS_BUF_INPUT) { *out = in[b->index]; return true; }
	if (!ts_tensor_new(x->cx, "buffer", b->elem, 1, &n, out)) return false;
	if (out->data) memset(out->data, 0xa5, (size_t)out->bytes);
	if (b->kind == TS_BUF_WEIGHT && out->data) memcpy(out->data, b->weight->data, (size_t)out->bytes);
	return true;
}

static bool sim_execute(TsCtx *cx, TsModule *m, const TsSched *s, int64_t *syms, Rng *rng, const TsTensor *in, TsTensor *out)
{
	Exec x = { .cx = cx, .m = m, .s = s, .e = &s->entries.p[0], .syms = syms, .rng = rng };
	x.buf = TS_NEW_N(m->arena, TsTensor, x.e->bufs.n + 1);
	x.file = TS_NEW_N(m->arena, TsTree *, s->kernels.n + 1);
	bool ok = true;
	for (uint32_t i = 0; i < x.e->bufs.n && ok; i++) ok = make_buffer(&x, &x.e->bufs.p[i], in, &x.buf[i]);
	if (ok) run_steps(&x, 0, &ok);
	for (uint32_t i = 0; i < x.e->bufs.n; i++) {
		const TsBuffer *b = &x.e->bufs.p[i];
		if (ok && b->kind == TS_BUF_OUTPUT && out[b->index].data) memcpy(out[b->index].data, x.buf[i].data, (size_t)out[b->index].bytes);
		if (b->kind != TS_BUF_INPUT) ts_tensor_free(&x.buf[i]);
	}
	return ok;
}
