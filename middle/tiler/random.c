/* Random operators as tile statements: element i of stream n is Philox4x32-10 of key and counter as docs/ops.md says. Words are signed
 * int32 tiles; unsigned readings are made with exact integer steps. */
#include "middle/tiler/tiler.h"

typedef struct { TsKb *k; const TsPlace *p; uint32_t mask; } Gen;

static const char *line(Gen *g, TsDtype t, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static const char *line(Gen *g, TsDtype t, const char *fmt, ...)
{
	TsBuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(&b, fmt, ap);
	va_end(ap);
	const char *n = ts_kb_tmp(g->k);
	ts_kb_line(g->k, "%s: %s = %s", n, ts_kb_type(g->k, t, g->mask, g->p), b.p);
	ts_buf_free(&b);
	return n;
}

static const char *idx(Gen *g, const char *text)
{
	const char *n = ts_kb_tmp(g->k);
	ts_kb_line(g->k, "%s: idx = %s", n, text);
	return n;
}

/* The signed 32-bit word with the low 32 bits of an int64 tile. */
static const char *low_word(Gen *g, const char *x)
{
	const char *hi = line(g, TS_INT64, "floordiv(%s, 4294967296)", x), *lo = line(g, TS_INT64, "sub(%s, %s)", x, line(g, TS_INT64, "mul(%s, 4294967296)", hi));
	const char *big = line(g, TS_BOOL, "ge(%s, 2147483648)", lo), *wrapped = line(g, TS_INT64, "sub(%s, 4294967296)", lo);
	return line(g, TS_INT32, "cast(%s, int32)", line(g, TS_INT64, "where(%s, %s, %s)", big, wrapped, lo));
}

/* A word as an unsigned number in int64. */
static const char *unsigned_word(Gen *g, const char *w)
{
	const char *x = line(g, TS_INT64, "cast(%s, int64)", w), *neg = line(g, TS_BOOL, "lt(%s, 0)", x);
	return line(g, TS_INT64, "where(%s, %s, %s)", neg, line(g, TS_INT64, "add(%s, 4294967296)", x), x);
}

static void philox(Gen *g, const TsRNode *n, const TsTileVal arg[3], const char *word[4])
{
	TsKb *k = g->k;
	const char *seed = idx(g, ts_kb_fmt(k, "cast(%s)", arg[0].name)), *step = idx(g, ts_kb_fmt(k, "cast(%s)", arg[1].name)), *count = arg[2].name;
	const char *sh = idx(g, ts_kb_fmt(k, "%s // 4294967296", seed)), *th = idx(g, ts_kb_fmt(k, "%s // 4294967296", step)), *key1 = idx(g, ts_kb_fmt(k, "xor(%s, %s)", sh, th));
	const char *stream = idx(g, ts_kb_dim(k, n->offset));
	if (!arg[2].mask) count = line(g, TS_INT64, "fill(%s)", count);
	const char *c0 = low_word(g, count), *c1 = low_word(g, line(g, TS_INT64, "floordiv(%s, 4294967296)", count)), *t = ts_kb_type(k, TS_INT32, g->mask, g->p);
	for (int i = 0; i < 4; i++) word[i] = ts_kb_tmp(k);
	ts_kb_line(k, "%s: %s, %s: %s, %s: %s, %s: %s = philox(%s, %s, %s, %s, %s, %s)", word[0], t, word[1], t, word[2], t, word[3], t, seed, key1, c0, c1, stream, step);
}

/* Numbers on 0 <= u < 1 (plus `add` steps): 24 bits of a word, or 53 bits of two. */
static const char *unit24(Gen *g, const char *w, int add)
{
	const char *m = line(g, TS_INT64, "floordiv(%s, 256)", unsigned_word(g, w));
	return line(g, TS_F32, "mul(%s, 5.9604644775390625e-08)", line(g, TS_F32, "cast(%s, f32)", add ? line(g, TS_INT64, "add(%s, 1)", m) : m));
}

static const char *unit53(Gen *g, const char *lo, const char *hi, int add)
{
	const char *h = line(g, TS_INT64, "mul(%s, 2097152)", unsigned_word(g, hi)), *l = line(g, TS_INT64, "floordiv(%s, 2048)", unsigned_word(g, lo)), *m = line(g, TS_INT64, "add(%s, %s)", h, l);
	return line(g, TS_F64, "mul(%s, 1.1102230246251565e-16)", line(g, TS_F64, "cast(%s, f64)", add ? line(g, TS_INT64, "add(%s, 1)", m) : m));
}

/* cos(2 pi v): the quarter of the circle is taken off exactly, so the angle left is small and keeps its relative precision. */
static const char *cos_turn(Gen *g, TsDtype t, const char *v)
{
	const char *q = line(g, t, "round(%s)", line(g, t, "mul(%s, 4.0)", v)), *r = line(g, t, "sub(%s, %s)", v, line(g, t, "mul(%s, 0.25)", q));
	const char *a = line(g, t, "mul(%s, 6.283185307179586)", r), *c = line(g, t, "cos(%s)", a), *s = line(g, t, "sin(%s)", a);
	const char *half = line(g, TS_BOOL, "eq(%s, 2.0)", q), *up = line(g, TS_BOOL, "eq(%s, 3.0)", q), *down = line(g, TS_BOOL, "eq(%s, 1.0)", q);
	const char *x = line(g, t, "where(%s, %s, %s)", half, line(g, t, "neg(%s)", c), c);
	x = line(g, t, "where(%s, %s, %s)", up, s, x);
	return line(g, t, "where(%s, %s, %s)", down, line(g, t, "neg(%s)", s), x);
}

static const char *number(Gen *g, double v)
{
	TsBuf b = { 0 };
	ts_buf_f64(&b, v);
	const char *s = ts_kb_fmt(g->k, "%s", b.p);
	ts_buf_free(&b);
	return s;
}

/* A tile whose lanes are all the same number, as a scalar where that is meant. */
static TsTileVal single(Gen *g, uint32_t mask, const char *y, TsDtype t)
{
	if (mask) return (TsTileVal){ y, mask, t };
	if (g->k->gpu) return (TsTileVal){ y, g->mask, t };
	const char *n = ts_kb_tmp(g->k);
	ts_kb_line(g->k, "%s: %s[] = reduce(%s, op = \"max\")", n, ts_dtype_name(t), y);
	return (TsTileVal){ n, 0, t };
}

TsTileVal ts_kb_random(TsKb *k, const TsRNode *n, const TsTileVal arg[3], const TsPlace *p)
{
	Gen g = { k, p, arg[2].mask ? arg[2].mask : 1 }; /* words are tiles, also for a single number */
	TsModule *m = k->t->m;
	const char *w[4], *y;
	TsDtype t = ts_reg_type(n->elem);
	philox(&g, n, arg, w);
	if (n->op == TS_OP_randint) {
		int64_t low = ts_attr(m, n->node, "low")->i, high = ts_attr(m, n->node, "high")->i;
		const char *scaled = line(&g, TS_INT64, "mul(%s, %lld)", unsigned_word(&g, w[0]), (long long)(high - low));
		y = line(&g, TS_INT64, "add(%s, %lld)", line(&g, TS_INT64, "floordiv(%s, 4294967296)", scaled), (long long)low);
		return ts_kb_cast(k, single(&g, arg[2].mask, y, TS_INT64), n->elem, p);
	}
	bool normal = n->op == TS_OP_normal;
	const char *u = t == TS_F64 ? unit53(&g, w[0], w[1], normal) : unit24(&g, w[0], normal);
	if (normal) {
		const char *v = t == TS_F64 ? unit53(&g, w[2], w[3], 0) : unit24(&g, w[1], 0);
		const char *r = line(&g, t, "sqrt(%s)", line(&g, t, "mul(%s, -2.0)", line(&g, t, "log(%s)", u)));
		y = line(&g, t, "mul(%s, %s)", r, cos_turn(&g, t, v));
		y = line(&g, t, "add(%s, %s)", line(&g, t, "mul(%s, %s)", y, number(&g, ts_attr(m, n->node, "std")->f)), number(&g, ts_attr(m, n->node, "mean")->f));
	} else {
		double low = ts_attr(m, n->node, "low")->f, high = ts_attr(m, n->node, "high")->f;
		y = line(&g, t, "add(%s, %s)", line(&g, t, "mul(%s, %s)", u, number(&g, high - low)), number(&g, low));
	}
	return single(&g, arg[2].mask, y, t);
}
