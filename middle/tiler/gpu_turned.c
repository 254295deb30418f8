/* Operands of a byte or two that are read across, where rows are no multiples of wide accesses: the rows of a tile whose numbers leave the same rest
 * begin alike, so each rest has a part of the tile of its own, as far shifted along the rows that its accesses are aligned. The tile as it came
 * lies in shared memory, a little longer than the parts. What the shift leaves out at the beginning of each row goes element by element. */
#include "middle/tiler/gpu.h"
#include <string.h>

enum { LEAST = 2048 /* smaller ones are done sooner without all this */, TURN = 64, MORE = 8 /* elements of a row beyond the tile, no fewer than an access has */, APART = 2, WARPS = 8 };

bool ts_turned_fits(const TsJob *j, uint32_t fast, uint32_t other)
{
	const TsRegion *r = &j->r;
	int64_t least, rows, length;
	ts_dim_range(j->t->d, r->size[other], &least, &rows);
	ts_dim_range(j->t->d, r->size[fast], &least, &length);
	if (fast < other || rows < LEAST || length < LEAST || ts_dtype_bits(r->nodes.p[j->leaf].elem) != 16 || !ts_is_one(j->t, r->nodes.p[j->leaf].coef[fast])) return false;
	for (uint32_t i = 1; i < r->nodes.n; i++)
		if (r->nodes.p[i].kind == TS_R_GATHER || (r->nodes.p[i].kind == TS_R_LOAD && ts_dtype_bits(r->nodes.p[i].elem) < 8)) return false;
	return true;
}

TsDim ts_turned_guard(const TsJob *j, uint32_t fast, uint32_t other)
{
	return ts_dim_add(j->t->d, ts_under(j->t, j->r.size[other], LEAST), ts_under(j->t, j->r.size[fast], LEAST));
}

typedef struct {
	TsKb *k;
	const TsJob *j;
	const TsTurned *w;
	TsPlace tile, across, more, part, head;
} Odd;

/* Lies the leaf as the result does? */
static bool lies_alike(const TsJob *j, const TsRNode *n)
{
	const TsRNode *leaf = &j->r.nodes.p[j->leaf];
	return n->kind == TS_R_LOAD && n->offset == leaf->offset && !memcmp(n->coef, leaf->coef, sizeof n->coef);
}

/* Rows c, c + vec, c + 2 vec … of the region. */
static TsRegion rows_of(const Odd *o, int c)
{
	TsTl *t = o->k->t;
	TsRegion f = o->j->r;
	memset(&f.nodes, 0, sizeof f.nodes);
	for (uint32_t i = 0; i < o->j->r.nodes.n; i++) {
		TsRNode n = o->j->r.nodes.p[i];
		TsDim *step = &n.coef[o->w->other];
		if (i && *step && (n.kind == TS_R_LOAD || n.kind == TS_R_AFFINE)) {
			n.offset = ts_dim_add(t->d, n.offset, ts_dim_mul(t->d, ts_dim_const(t->d, c), *step));
			*step = ts_dim_mul(t->d, ts_dim_const(t->d, o->w->vec), *step);
		}
		ts_push(t->a, &f.nodes, n);
	}
	return f;
}

/* A leaf that lies as the result does, by accesses: its first element here is number `at` of them. */
static TsRNode by_accesses(const Odd *o, const TsRegion *f, uint32_t id)
{
	TsDims *d = o->k->t->d;
	TsRNode n = f->nodes.p[id];
	n.offset = 0;
	n.index_stride = ts_dim_const(d, o->w->vec);
	n.index_size = ts_dim_const(d, 1);
	for (uint32_t i = 0; i < f->niter; i++) {
		n.index_size = ts_dim_add(d, n.index_size, ts_dim_mul(d, o->j->r.size[i], o->j->r.nodes.p[id].coef[i]));
		if (i != o->w->fast && i != o->w->other) n.coef[i] = 0;
	}
	n.index_size = ts_dim_cdiv(d, ts_dim_add(d, n.index_size, o->j->r.nodes.p[id].offset), n.index_stride);
	return n;
}

/* The shift of part c, and where it begins. */
static void place_part(Odd *o, int c)
{
	TsKb *k = o->k;
	int vec = o->w->vec;
	uint32_t fast = o->w->fast, other = o->w->other;
	const TsRNode *leaf = &o->j->r.nodes.p[o->j->leaf];
	TsDim from = ts_dim_add(k->t->d, leaf->offset, ts_dim_mul(k->t->d, ts_dim_const(k->t->d, c), leaf->coef[other]));
	const char *first = ts_kb_dim(k, from);
	for (uint32_t i = 0; i < o->j->r.niter; i++)
		if (i != fast && i != other && leaf->coef[i]) first = ts_kb_fmt(k, "%s + %s*%s", first, ts_kb_dim(k, leaf->coef[i]), o->tile.base[i]);
	ts_kb_line(k, "b%d: idx = %s", c, first);
	ts_kb_line(k, "s%d: idx = (%d - b%d %% %d) %% %d", c, vec, c, vec, vec);
	ts_kb_line(k, "h%d: idx = (b%d + s%d) // %d", c, c, c, vec);
	ts_kb_line(k, "f%d: idx = i%u + s%d", c, fast, c);
	ts_kb_line(k, "l%d: idx = max(left - s%d, 0)", c, c);
	ts_kb_line(k, "u%d: idx = max(cdiv(up - %d, %d), 0)", c, c, vec);
	o->part.base[other] = "m0";
	o->part.base[fast] = ts_kb_fmt(k, "f%d", c);
	o->part.valid[0] = ts_kb_fmt(k, "u%d", c);
	o->part.valid[1] = ts_kb_fmt(k, "l%d", c);
}

static TsPlace aligned(const Odd *o)
{
	TsPlace p = o->part;
	p.base[o->w->fast] = o->tile.base[o->w->fast];
	return p;
}

static TsTileVal in_registers(TsKb *k, TsTileVal v, const TsPlace *p) { return ts_kb_cast(k, v, ts_reg_type(v.elem), p); }

static TsTileVal get(Odd *o, uint32_t i, const TsPlace *p, const char *where)
{
	TsTileVal x = { ts_kb_tmp(o->k), 3, o->j->r.nodes.p[o->w->id[i]].elem };
	ts_kb_line(o->k, "%s: %s = get(%s)", x.name, ts_kb_type(o->k, x.elem, 3, p), where);
	return in_registers(o->k, x, p);
}

/* What of the part is asked for before the threads meet. */
static TsTileVal *load_part(Odd *o, const TsRegion *f, int c)
{
	TsKb *k = o->k;
	TsTileVal *memo = TS_NEW_N(k->t->a, TsTileVal, f->nodes.n);
	TsPlace p = aligned(o);
	const char *at = ts_kb_fmt(k, "h%d", c);
	for (uint32_t i = 1; i < f->nodes.n; i++) {
		if (i == o->j->leaf || !lies_alike(o->j, &o->j->r.nodes.p[i])) continue;
		TsRNode n = by_accesses(o, f, i);
		memo[i] = in_registers(k, ts_kb_load_at(k, f, &n, &p, at, 0), &p);
	}
	return memo;
}

static void store_part(Odd *o, const TsRegion *f, int c, TsTileVal *memo)
{
	TsKb *k = o->k;
	TsPlace p = aligned(o);
	for (uint32_t i = 0; i < o->w->n; i++) memo[o->w->id[i]] = get(o, i, &o->part, ts_kb_fmt(k, "p%u[0:%d, %d, s%d:s%d + %d]", i, TURN / o->w->vec, c, c, c, TURN));
	TsRNode n = by_accesses(o, f, o->j->leaf);
	ts_kb_store_at(k, f, &n, ts_kb_eval(k, f, o->j->value, &o->part, memo), &p, ts_kb_fmt(k, "h%d", c));
}

/* The first elements of the rows, of which the parts leave out some. */
static void write_head(Odd *o)
{
	TsKb *k = o->k;
	TsTileVal *memo = TS_NEW_N(k->t->a, TsTileVal, o->j->r.nodes.n);
	ts_kb_open(k, "if %s == 0", o->tile.base[o->w->fast]);
	o->head = o->more;
	o->head.base[o->w->fast] = o->tile.base[o->w->fast];
	ts_kb_line(k, "first: idx = min(left, %d)", o->w->vec - 1);
	o->head.valid[1] = "first";
	for (uint32_t i = 0; i < o->w->n; i++) memo[o->w->id[i]] = get(o, i, &o->head, ts_kb_fmt(k, "a%u[0:%d, 0:%d]", i, TURN, MORE));
	ts_kb_store(k, &o->j->r, o->j->leaf, ts_kb_eval(k, &o->j->r, o->j->value, &o->head, memo), &o->head);
	ts_kb_close(k, "");
}

/* Layouts, shared memory, the place of the tile; a later grid fills in its bases. */
static void lay_out(Odd *o)
{
	TsKb *k = o->k;
	uint32_t fast = o->w->fast, other = o->w->other;
	int vec = o->w->vec, all[2] = { TURN, TURN }, part[2] = { TURN / vec, TURN }, more[2] = { TURN, MORE };
	TsGLayout x = ts_gl_tile(2, 1, part, vec, WARPS, 0), t = ts_gl_tile(2, 0, all, 1, WARPS, 1), u = ts_gl_tile(2, 0, more, 1, WARPS, 1);
	TsPlace *p[3] = { &o->part, &o->across, &o->more };
	const int *len[3] = { part, all, more };
	for (int i = 0; i < 3; i++) {
		*p[i] = (TsPlace){ .nv = 2, .vdim = { (int)other, (int)fast }, .len = { len[i][0], len[i][1] } };
		ts_gl_place(k, i == 0 ? &x : i == 1 ? &t : &u, i == 0 ? "X" : i == 1 ? "T" : "U", p[i]);
	}
	for (uint32_t i = 0; i < o->w->n; i++) {
		const char *e = ts_dtype_name(o->j->r.nodes.p[o->w->id[i]].elem);
		ts_kb_line(k, "smem a%u: %s[%d, %d]", i, e, TURN, TURN + MORE + APART);
		ts_kb_line(k, "smem p%u: %s[%d, %d, %d] { alias = a%u }", i, e, TURN / vec, vec, TURN + MORE + APART, i);
	}
	o->tile = o->across;
}

static void place_tile(Odd *o)
{
	TsKb *k = o->k;
	const TsRegion *r = &o->j->r;
	uint32_t fast = o->w->fast, other = o->w->other;
	ts_kb_line(k, "up: idx = %s - i%u", ts_kb_dim(k, r->size[other]), other);
	ts_kb_line(k, "left: idx = %s - i%u", ts_kb_dim(k, r->size[fast]), fast);
	ts_kb_line(k, "m0: idx = i%u // %d", other, o->w->vec);
	o->tile.valid[0] = "up";
	o->tile.valid[1] = "left";
	memcpy(o->across.base, o->tile.base, sizeof o->tile.base);
	memcpy(o->across.valid, o->tile.valid, sizeof o->tile.valid);
	memcpy(o->more.base, o->tile.base, sizeof o->tile.base);
	memcpy(o->part.base, o->tile.base, sizeof o->tile.base);
	ts_kb_line(k, "n0: idx = i%u + %d", fast, TURN);
	ts_kb_line(k, "over: idx = min(max(left - %d, 0), %d)", TURN, o->w->vec - 1);
	o->more.base[fast] = "n0";
	o->more.valid[0] = "up";
	o->more.valid[1] = "over";
}

/* Four CTAs on an SM hide what one waits for; their threads have 64 registers, of which what is on its way takes these. */
static bool is_light(const Odd *o)
{
	enum { PLACES = 32, ROOM = 32, EACH = TURN * TURN / (32 * WARPS) };
	const TsRegion *r = &o->j->r;
	TsNeeds needs = ts_region_needs(o->k->t, r, o->j->value, o->w->other, o->w->fast);
	int registers = 0;
	for (uint32_t i = 1; i < r->nodes.n; i++) {
		const TsRNode *n = &r->nodes.p[i];
		if (i != o->j->leaf && n->kind == TS_R_LOAD && n->coef[o->w->fast] && n->coef[o->w->other]) registers += lies_alike(o->j, n) ? EACH / 2 : EACH;
	}
	return needs.fixed <= PLACES && registers <= ROOM;
}

void ts_turned_write(TsKb *k, const TsJob *j, const TsTurned *w, void (*grid)(TsKb *k, const TsJob *j, TsPlace *p, TsDim *cells), TsChoice *c)
{
	Odd o = { .k = k, .j = j, .w = w };
	TsTileVal x[TS_MOST_TURNED][2], *memo[MORE];
	TsRegion f[MORE];
	k->warps = WARPS;
	if (is_light(&o)) k->ctas = 4;
	lay_out(&o);
	grid(k, j, &o.tile, &c->cells);
	place_tile(&o);
	for (uint32_t i = 0; i < w->n; i++) {
		x[i][0] = ts_kb_load(k, &j->r, w->id[i], &o.across);
		x[i][1] = ts_kb_load(k, &j->r, w->id[i], &o.more);
	}
	TsPlace part[MORE];
	for (int n = 0; n < w->vec; n++) {
		place_part(&o, n);
		f[n] = rows_of(&o, n);
		memo[n] = load_part(&o, &f[n], n);
		part[n] = o.part;
	}
	for (uint32_t i = 0; i < w->n; i++) {
		ts_kb_line(k, "put(a%u[0:%d, 0:%d], %s)", i, TURN, TURN, x[i][0].name);
		ts_kb_line(k, "put(a%u[0:%d, %d:%d], %s)", i, TURN, TURN, TURN + MORE, x[i][1].name);
	}
	ts_kb_line(k, "sync(\"cta\")");
	for (int n = 0; n < w->vec; n++) {
		o.part = part[n];
		store_part(&o, &f[n], n, memo[n]);
	}
	write_head(&o);
	c->tile[0] = c->tile[1] = TURN;
}
