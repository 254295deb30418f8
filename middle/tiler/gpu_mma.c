/* Contractions by mma, of 16-bit types, of f32 in TF32 where the graph allows that, and of 8-bit floats that lie along k: stages of shared memory filled by cp.async (or, where accesses cannot be wide or types must be
 * converted, by loads through registers), fragments by ldmatrix. Each operand lies in shared memory as it does in memory, so that no
 * combination of transposes needs a copy. */
#include "middle/tiler/gpu_matmul.h"
#include <string.h>

typedef struct {
	TsOperand o;                /* axes in the order of memory: [x, k], or [k, x] when x is contiguous */
	bool by_x;                  /* x is contiguous */
	const char *param, *at, *name, *lay, *frag, *base, *left;
	TsDtype elem;
	int width;
} Side;

/* Rows of `row` elements under the swizzle of their size, then the other digits. */
static void swizzled(TsKb *k, const char *name, const char *dims, int bytes, int row, int rows, int columns, int stages)
{
	TsBuf b = { 0 };
	ts_buf_fmt(&b, "s%d:1%c s%d:1%c", row, dims[1], rows, dims[0]);
	if (columns > row) ts_buf_fmt(&b, " s%d:%d%c", columns / row, row, dims[1]);
	if (stages > 1) ts_buf_fmt(&b, " s%d:1b", stages);
	ts_kb_line(k, "layout %s[%s%c, %c] = %s swizzle %d", name, stages > 1 ? "b, " : "", dims[0], dims[1], b.p, row * bytes);
	ts_buf_free(&b);
}

void ts_gl_shared(TsKb *k, const char *name, const char *dims, int row, int rows, int columns, int stages) { swizzled(k, name, dims, 2, row, rows, columns, stages); }

/* The type that lies in shared memory, its bytes, and k of one instruction. */
static TsDtype type_of(const TsMm *mm, const TsMmVariant *v, bool b) { return !v->fp8 ? mm->mma : b ? mm->j->mm.be : mm->j->mm.ae; }
static int bytes_of(const TsMm *mm, const TsMmVariant *v) { return ts_elem_bytes(type_of(mm, v, false)); }
static int step_of(const TsMm *mm, const TsMmVariant *v) { return 32 / bytes_of(mm, v); }

static Side side(TsMm *mm, TsKb *k, const TsMmVariant *v, bool b)
{
	const TsOperand *o = b ? &mm->b : &mm->a;
	Side s = { .o = *o, .by_x = ts_operand_fast(k->t, o) == 1, .name = b ? "sb" : "sa", .lay = b ? "GB" : "GA", .frag = b ? "FB" : "FA", .base = b ? "nb" : "mb",
		.left = b ? "nl" : "ml", .elem = b ? mm->j->mm.be : mm->j->mm.ae, .width = b ? v->bn : v->bm };
	int extent[2] = { v->bk, s.width }, row = s.by_x ? s.width : v->bk, vec = v->wide ? mm->wide.vec : 1, bytes = bytes_of(mm, v);
	if (row > 128 / bytes) row = 128 / bytes;
	if (!s.by_x) {
		s.o.size[0] = o->size[1], s.o.size[1] = o->size[0];
		s.o.stride[0] = o->stride[1], s.o.stride[1] = o->stride[0];
		extent[0] = s.width, extent[1] = v->bk;
	}
	while (vec > 1 && vec * v->wm * v->wn * TS_LANES > v->bk * s.width) vec /= 2;
	s.param = ts_gpu_operand(k, &s.o, &s.at);
	TsGLayout l = ts_gl_tile(2, 1, extent, vec, v->wm * v->wn, 0);
	ts_gl_print(k, &l, s.lay, 3);
	swizzled(k, b ? "KB" : "KA", "mn", bytes, row, extent[0], extent[1], v->stages);
	ts_kb_line(k, "smem %s: %s[%d, %d, %d] @%s", s.name, ts_dtype_name(type_of(mm, v, b)), v->stages, extent[0], extent[1], b ? "KB" : "KA");
	return s;
}

/* `A[b0, mb:mb + 128, k0:k0 + 64], valid = […]`, ready for copy_async and load. */
static const char *global(TsMm *mm, TsKb *k, const Side *s, const TsMmVariant *v, const char *k0, bool by)
{
	const char *kr = ts_kb_fmt(k, "%s:%s + %d", k0, k0, v->bk), *xr = ts_kb_fmt(k, "%s:%s + %d", s->base, s->base, s->width), *kl = ts_kb_fmt(k, "%s - %s", ts_kb_dim(k, mm->j->mm.k), k0);
	return ts_kb_fmt(k, "%s[%s%s, %s]%s%s, valid = [%s, %s]", s->param, s->at, s->by_x ? kr : xr, s->by_x ? xr : kr, by ? ", by = " : "", by ? s->lay : "",
		s->by_x ? kl : s->left, s->by_x ? s->left : kl);
}

static const char *place(TsKb *k, const Side *s, const TsMmVariant *v, const char *stage)
{
	return ts_kb_fmt(k, "%s[%s, 0:%d, 0:%d]", s->name, stage, s->by_x ? v->bk : s->width, s->by_x ? s->width : v->bk);
}

static void copy_stage(TsMm *mm, TsKb *k, const Side s[2], const TsMmVariant *v, const char *stage, const char *k0)
{
	for (int i = 0; i < 2; i++) ts_kb_line(k, "copy_async(%s, %s)", place(k, &s[i], v, stage), global(mm, k, &s[i], v, k0, true));
}

/* Through registers, converted. */
static const char *load_stage(TsMm *mm, TsKb *k, const Side *s, const TsMmVariant *v, const char *k0)
{
	int r = s->by_x ? v->bk : s->width, c = s->by_x ? s->width : v->bk;
	const char *x = ts_kb_tmp(k), *e = ts_dtype_name(s->elem);
	ts_kb_line(k, "%s: %s[%d, %d] @%s = load(%s)", x, e, r, c, s->lay, global(mm, k, s, v, k0, false));
	if (s->elem == mm->mma) return x;
	const char *y = ts_kb_tmp(k), *me = ts_dtype_name(mm->mma);
	ts_kb_line(k, "%s: %s[%d, %d] @%s = cast(%s, %s)", y, me, r, c, s->lay, x, me);
	return y;
}

/* Rows of the accumulator that go through the region at a time: one instruction's for each warp. */
static int part_rows(const TsMmVariant *v) { return 16 * v->wm; }

/* Accumulator and fragments of wm x wn warps, which take turns every 16 rows, so that parts of the rows are parts of the registers. */
static void layouts(TsMm *mm, TsKb *k, const TsMmVariant *v, TsPlace *p)
{
	int tm = v->bm / v->wm, tn = v->bn / v->wn, half = step_of(mm, v) / 2, per = half / 4; /* elements of a word */
	TsGLayout d = { .rank = 2 }, a = { .rank = 2 }, b = { .rank = 2 };
	ts_gl_put(&d, 'l', 4, 2, 1), ts_gl_put(&d, 'l', 8, 1, 0);
	ts_gl_put(&d, 'r', 2, 1, 1), ts_gl_put(&d, 'r', 2, 8, 0), ts_gl_put(&d, 'r', tn / 8, 8, 1);
	ts_gl_put(&d, 'w', v->wn, tn, 1), ts_gl_put(&d, 'w', v->wm, 16, 0);
	TsGLayout x = d;
	ts_gl_put(&d, 'r', tm / 16, part_rows(v), 0);
	ts_gl_put(&a, 'l', 4, per, 1), ts_gl_put(&a, 'l', 8, 1, 0);
	ts_gl_put(&a, 'r', per, 1, 1), ts_gl_put(&a, 'r', 2, 8, 0), ts_gl_put(&a, 'r', 2, half, 1), ts_gl_put(&a, 'r', tm / 16, part_rows(v), 0);
	ts_gl_put(&a, 'w', v->wn, 0, -1), ts_gl_put(&a, 'w', v->wm, 16, 0);
	ts_gl_put(&b, 'l', 4, per, 1), ts_gl_put(&b, 'l', 8, 1, 0);
	ts_gl_put(&b, 'r', per, 1, 1), ts_gl_put(&b, 'r', 2, half, 1), ts_gl_put(&b, 'r', tn / 8, 8, 0);
	ts_gl_put(&b, 'w', v->wn, tn, 0), ts_gl_put(&b, 'w', v->wm, 0, -1);
	ts_gl_print(k, &d, "D", 3);
	ts_gl_place(k, &x, "X", p);
	ts_gl_print(k, &a, "FA", 3);
	ts_gl_print(k, &b, "FB", 3);
}

/* x or y: a fragment of [rows, step] of stage s. */
static void fragment(TsMm *mm, TsKb *k, const Side *s, const TsMmVariant *v, bool b)
{
	int n = step_of(mm, v);
	const char *name = b ? "y" : "x", *type = ts_kb_fmt(k, "%s[%d, %d] @%s", ts_dtype_name(type_of(mm, v, b)), s->width, n, s->frag);
	const char *from = s->by_x ? ts_kb_fmt(k, "%s[s, %d*q:%d*q + %d, 0:%d].T", s->name, n, n, n, s->width) : ts_kb_fmt(k, "%s[s, 0:%d, %d*q:%d*q + %d]", s->name, s->width, n, n, n);
	bool rounds = mm->mma == TS_F32;
	ts_kb_line(k, "%s%s: %s = get(%s)", name, rounds ? "w" : "", type, from);
	if (rounds) ts_kb_line(k, "%s: %s = tf32(%sw)", name, type, name);
}

/* c1: c plus the products of stage s; those of 8 bits added up by themselves first (gpu_fp8.c says why). */
static void multiply(TsMm *mm, TsKb *k, const Side s[2], const TsMmVariant *v, const char *D)
{
	ts_kb_open(k, "%s: %s = for q in 0..%d with d = %s", v->fp8 ? "part" : "c1", D, v->bk / step_of(mm, v), v->fp8 ? "zero" : "c");
	fragment(mm, k, &s[0], v, false);
	fragment(mm, k, &s[1], v, true);
	ts_kb_line(k, "sum: %s = mma(d, x, y.T, atom = \"%s\")", D, mm->mma == TS_F32 ? "mma_tf32" : "mma");
	ts_kb_line(k, "yield sum");
	ts_kb_close(k, ts_kb_fmt(k, " { unroll = %d }", v->bk / step_of(mm, v)));
	if (v->fp8) ts_kb_line(k, "c1: %s = add(c, part)", D);
}

static void pipeline(TsMm *mm, TsKb *k, const Side s[2], const TsMmVariant *v, const char *D)
{
	const char *K = ts_kb_dim(k, mm->j->mm.k);
	int ahead = v->stages - 1;
	int64_t size;
	ts_kb_open(k, "for s in 0..%d", ahead);
	ts_kb_line(k, "k0 = %d * s", v->bk);
	copy_stage(mm, k, s, v, "s", "k0");
	ts_kb_line(k, "commit_copy()");
	ts_kb_close(k, ts_kb_fmt(k, " { unroll = %d }", ahead));
	ts_kb_line(k, "nk: idx = cdiv(%s, %d)", K, v->bk);
	ts_kb_open(k, "acc: %s = for i in 0..nk with c = zero", D);
	ts_kb_line(k, "s: idx = i %% %d", v->stages);
	ts_kb_line(k, "wait_copy(%d)", ahead - 1);
	ts_kb_line(k, "sync(\"cta\")");
	ts_kb_open(k, "if i + %d < nk", ahead);
	ts_kb_line(k, "s1: idx = (i + %d) %% %d", ahead, v->stages);
	ts_kb_line(k, "k1: idx = %d * (i + %d)", v->bk, ahead);
	copy_stage(mm, k, s, v, "s1", "k1");
	ts_kb_close(k, "");
	ts_kb_line(k, "commit_copy()");
	multiply(mm, k, s, v, D);
	ts_kb_line(k, "yield c1");
	ts_kb_close(k, ts_dim_is_const(k->t->d, mm->j->mm.k, &size) ? " { unroll = 1 }" : ""); /* of a known k several steps at a time would take all registers there are */
	ts_kb_line(k, "wait_copy(0)");
}

/* Two stages: the next tiles are on their way in registers while this one is multiplied. */
static void through_registers(TsMm *mm, TsKb *k, const Side s[2], const TsMmVariant *v, const char *D)
{
	const char *a0 = load_stage(mm, k, &s[0], v, "0"), *b0 = load_stage(mm, k, &s[1], v, "0");
	ts_kb_open(k, "acc: %s, _, _ = for k0 in 0..%s step %d with c = zero, ga = %s, gb = %s", D, ts_kb_dim(k, mm->j->mm.k), v->bk, a0, b0);
	ts_kb_line(k, "s: idx = k0 // %d %% 2", v->bk);
	ts_kb_line(k, "put(%s, ga)", place(k, &s[0], v, "s"));
	ts_kb_line(k, "put(%s, gb)", place(k, &s[1], v, "s"));
	ts_kb_line(k, "sync(\"cta\")");
	ts_kb_line(k, "k1: idx = k0 + %d", v->bk);
	const char *a1 = load_stage(mm, k, &s[0], v, "k1"), *b1 = load_stage(mm, k, &s[1], v, "k1");
	multiply(mm, k, s, v, D);
	ts_kb_line(k, "yield c1, %s, %s", a1, b1);
	ts_kb_close(k, "");
}

/* The accumulator through the region, some rows at a time: into memory, or (turn) into the shared buffer `ob`. */
static void write_parts(TsMm *mm, TsKb *k, const TsMmVariant *v, TsPlace *p, bool turn)
{
	TsJob *j = mm->j;
	int rows = part_rows(v), n = v->bm / rows;
	ts_kb_open(k, "for q in 0..%d", n);
	ts_kb_line(k, "sync(\"cta\")"); /* so that what the next parts load does not lie in registers before its turn */
	ts_kb_line(k, "part: f32[%d, %d] @X = slice(acc, axis = 0, at = %d * q, len = %d)", rows, v->bn, rows, rows);
	ts_kb_line(k, "m0: idx = mb + %d * q", rows);
	if (p->valid[0]) ts_kb_line(k, "pl: idx = ml - %d * q", rows);
	p->base[j->mm.im] = "m0";
	p->len[0] = rows;
	if (p->valid[0]) p->valid[0] = "pl";
	if (turn) {
		p->anchor = "part";
		p->anchor_mask = 3;
		p->anchor_elem = TS_F32;
		TsTileVal z = ts_kb_eval(k, &j->r, j->value, p, TS_NEW_N(k->t->a, TsTileVal, j->r.nodes.n));
		z = ts_kb_cast(k, ts_kb_spread(k, z, 3, p), j->r.nodes.p[j->leaf].elem, p);
		ts_kb_line(k, "put(ob[%d*q:%d*q + %d, 0:%d], %s)", rows, rows, rows, v->bn, z.name);
	} else {
		ts_mm_epilogue(mm, k, p, "part");
	}
	ts_kb_close(k, ts_kb_fmt(k, " { unroll = %d }", n));
}

void ts_mm_mma(TsMm *mm, TsKb *k, const TsMmVariant *v, TsChoice *c)
{
	TsPlace p = { 0 };
	TsJob *j = mm->j;
	const TsRNode *leaf = &j->r.nodes.p[j->leaf];
	const char *D = ts_kb_fmt(k, "f32[%d, %d] @D", v->bm, v->bn);
	k->warps = v->wm * v->wn;
	layouts(mm, k, v, &p);
	Side s[2] = { side(mm, k, v, false), side(mm, k, v, true) };
	TsDtype to = leaf->elem;
	/* Results of two bytes leave through shared memory, in whole vectors. */
	bool turn = v->wide && ts_dtype_bits(to) == 16 && leaf->coef[j->mm.in] == ts_dim_const(k->t->d, 1) && v->bn >= 64 && v->bm * v->bn * 2 <= v->stages * v->bn * v->bk * bytes_of(mm, v);
	if (turn) {
		int extent[2] = { v->bm, v->bn };
		TsGLayout go = ts_gl_tile(2, 1, extent, 8, k->warps, 0);
		ts_gl_print(k, &go, "GO", 3);
		ts_gl_shared(k, "OB", "mn", 64, v->bm, v->bn, 1);
		ts_kb_line(k, "smem ob: %s[%d, %d] @OB { alias = sb }", ts_dtype_name(to), v->bm, v->bn);
	}
	ts_mm_grid(mm, k, v, &p, &c->cells);
	ts_kb_line(k, "zero: %s = fill(0.0)", D);
	if (v->copies) pipeline(mm, k, s, v, D);
	else through_registers(mm, k, s, v, D);
	if (turn) ts_kb_line(k, "sync(\"cta\")");
	TsPlace q = p;
	write_parts(mm, k, v, &q, turn);
	if (!turn) return;
	ts_kb_line(k, "sync(\"cta\")");
	p.lay[3] = "GO";
	const char *o = ts_kb_tmp(k);
	ts_kb_line(k, "%s: %s = get(ob[0:%d, 0:%d])", o, ts_kb_type(k, to, 3, &p), v->bm, v->bn);
	ts_kb_store(k, &j->r, j->leaf, (TsTileVal){ o, 3, to }, &p);
}
