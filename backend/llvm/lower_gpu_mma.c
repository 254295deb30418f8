/* Matrix instructions of NVIDIA GPUs. A tile of an `mma` is a pattern of the instruction's fragments; which registers make one is found by
 * their coordinates, so that any order of digits beyond the atom's works. */
#include "backend/llvm/lower.h"
#include <string.h>

enum { WGMMA_M = 64, WGMMA_K = 32 /* bytes */, WGMMA_N = 256, MAX_ACC = 128, MMA_M = 16, MMA_N = 8 };

/* The register at coordinates (i, j), counted from what the thread adds. */
static int register_at(Lower *w, const TsTree *at, const Places *p, int64_t i, int64_t j)
{
	for (int r = 0; r < p->regs; r++)
		if (p->reg[r][0] == i && p->reg[r][1] == j) return r;
	lw_fail(w, at, "the tile is no pattern of the instruction's fragments");
}

/* the registers of one word from r on: four, two or one */
static Val word_at(Lower *w, const Frag *x, int r)
{
	int n = 32 / ts_dtype_bits(x->elem);
	Val word;
	if (n == 1) return LLVMBuildBitCast(w->b, x->v[r], w->i32, "");
	lg_words(w, x->elem, &x->v[r], n, &word);
	return word;
}

/* as instructions name it */
static const char *type_name(TsDtype t)
{
	return t == TS_BF16 ? "bf16" : t == TS_F16 ? "f16" : t == TS_FP8_E4M3 ? "e4m3" : t == TS_FP8_E5M2 ? "e5m2" : "tf32";
}

static Frag tile_of(Lower *w, const TsTree *x)
{
	Frag f = lw_expr(w, x);
	if (!f.at) lw_fail(w, x, "expected a tile in registers");
	return f;
}

/* the coordinates along one axis at which fragments begin: multiples of `step` among the registers' */
static int starts(const Places *p, int axis, int64_t step, int64_t *out, int max)
{
	int n = 0;
	for (int r = 0; r < p->regs; r++) {
		int64_t c = p->reg[r][axis];
		bool seen = c % step != 0;
		for (int i = 0; i < n && !seen; i++) seen = out[i] == c;
		if (!seen && n < max) out[n++] = c;
	}
	return n;
}

/* ---- mma.sync m16n8: a word of a thread is 16 bytes along k in four lanes, an instruction two of them ---- */
static void mma_other(Lower *w, TsDtype ta, TsDtype tb, const Val a[4], const Val b[2], Val c[4])
{
	Val args[10];
	LLVMTypeRef out[4] = { w->f32, w->f32, w->f32, w->f32 };
	memcpy(args, a, 4 * sizeof *a), memcpy(args + 4, b, 2 * sizeof *b), memcpy(args + 6, c, 4 * sizeof *c);
	const char *text = ts_printf(w->arena, "mma.sync.aligned.m16n8k%d.row.col.f32.%s.%s.f32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};",
		256 / ts_dtype_bits(ta), type_name(ta), type_name(tb));
	Val r = lg_asm(w, text, "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", LLVMStructTypeInContext(w->lc, out, 4, 0), args, 10);
	for (unsigned i = 0; i < 4; i++) c[i] = LLVMBuildExtractValue(w->b, r, i, "");
}

static void mma_sync(Lower *w, TsDtype t, TsDtype tb, const Val a[4], const Val b[2], Val c[4])
{
	bool bf = t == TS_BF16;
	if (ts_dtype_bits(t) != 16) { mma_other(w, t, tb, a, b, c); return; }
	LLVMTypeRef half2 = LLVMVectorType(LLVMHalfTypeInContext(w->lc), 2);
	Val args[10];
	for (int i = 0; i < 4; i++) args[i] = bf ? a[i] : LLVMBuildBitCast(w->b, a[i], half2, "");
	for (int i = 0; i < 2; i++) args[4 + i] = bf ? b[i] : LLVMBuildBitCast(w->b, b[i], half2, "");
	memcpy(args + 6, c, 4 * sizeof *c);
	Val r = lg_intrinsic(w, bf ? "llvm.nvvm.mma.m16n8k16.row.col.bf16" : "llvm.nvvm.mma.m16n8k16.row.col.f32.f32", args, 10);
	for (unsigned i = 0; i < 4; i++) c[i] = LLVMBuildExtractValue(w->b, r, i, "");
}

static Frag mma_tile(Lower *w, const TsTree *call, const TsTType *type)
{
	enum { MAX = 64 };
	Frag c = tile_of(w, call->kid[1]), a = tile_of(w, call->kid[2]), b = tile_of(w, call->kid[3]), out = lw_frag(w, type);
	int64_t m[MAX], n[MAX], k[MAX], half = 128 / ts_dtype_bits(a.elem);
	int nm = starts(c.at, 0, MMA_M, m, MAX), nn = starts(c.at, 1, MMA_N, n, MAX), nk = starts(a.at, 1, 2 * half, k, MAX);
	memcpy(out.v, c.v, (size_t)c.n * sizeof *c.v);
	for (int kk = 0; kk < nk; kk++)
		for (int i = 0; i < nm; i++) {
			Val fa[4];
			for (int q = 0; q < 4; q++) fa[q] = word_at(w, &a, register_at(w, call, a.at, m[i] + q % 2 * 8, k[kk] + q / 2 * half));
			for (int j = 0; j < nn; j++) {
				Val fb[2], fc[4];
				int r = register_at(w, call, c.at, m[i], n[j]), s = register_at(w, call, c.at, m[i] + 8, n[j]);
				int place[4] = { r, r + 1, s, s + 1 };
				for (int q = 0; q < 2; q++) fb[q] = word_at(w, &b, register_at(w, call, b.at, k[kk] + half * q, n[j]));
				for (int q = 0; q < 4; q++) fc[q] = out.v[place[q]];
				mma_sync(w, a.elem, b.elem, fa, fb, fc);
				for (int q = 0; q < 4; q++) out.v[place[q]] = fc[q];
			}
		}
	return out;
}

/* ---- sums of three axes: k in parts, by where the elements lie ---- */
/* the coordinates of registers along one axis, rising, each once */
static int along(const Places *p, int axis, int64_t *out, int max)
{
	int n = 0;
	for (int r = 0; r < p->regs; r++) {
		int64_t c = p->reg[r][axis];
		int i = 0;
		while (i < n && out[i] < c) i++;
		if ((i < n && out[i] == c) || n == max) continue;
		memmove(out + i + 1, out + i, (size_t)(n - i) * sizeof *out);
		out[i] = c;
		n++;
	}
	return n;
}

/* the 16-bit elements of x at (i, k) and (i, k1); turned: x is [k, i] */
static Val pair_at(Lower *w, const TsTree *at, const Frag *x, bool turned, int64_t i, int64_t k, int64_t k1)
{
	int r = turned ? register_at(w, at, x->at, k, i) : register_at(w, at, x->at, i, k), q = turned ? register_at(w, at, x->at, k1, i) : register_at(w, at, x->at, i, k1);
	Val two[] = { x->v[r], x->v[q] }, word;
	lg_words(w, x->elem, two, 2, &word);
	return word;
}

/* which register of the sums [s, m, n] is (i, j) */
static int sum_at(Lower *w, const TsTree *at, const Frag *c, int64_t i, int64_t j)
{
	for (int r = 0; r < c->at->regs; r++)
		if (c->at->reg[r][1] == i && c->at->reg[r][2] == j) return r;
	lw_fail(w, at, "the tile is no pattern of the instruction's fragments");
}

enum { MAX_ALONG = 256 };
typedef struct { int nm, nn, nk; int64_t m[MAX_ALONG], n[MAX_ALONG], k[MAX_ALONG]; } Parts;

static void parts_of(const Frag *a, const Frag *b, Parts *p)
{
	p->nm = along(a->at, 0, p->m, MAX_ALONG), p->nn = along(b->at, 1, p->n, MAX_ALONG), p->nk = along(a->at, 1, p->k, MAX_ALONG);
}

/* Four rising k of a thread make a step, two rising rows a pair, whatever they are: a and b hold the same. */
static void multiply_parts(Lower *w, const TsTree *call, const Frag *c, const Frag *a, const Frag *b, Frag *out)
{
	Parts p;
	parts_of(a, b, &p);
	for (int kk = 0; kk + 3 < p.nk; kk += 4) {
		Val fb[MAX_ALONG][2];
		for (int j = 0; j < p.nn; j++)
			for (int q = 0; q < 2; q++) fb[j][q] = pair_at(w, call, b, true, p.n[j], p.k[kk + 2 * q], p.k[kk + 2 * q + 1]);
		for (int i = 0; i + 1 < p.nm; i += 2) {
			Val fa[4];
			for (int q = 0; q < 4; q++) fa[q] = pair_at(w, call, a, false, p.m[i + q % 2], p.k[kk + q / 2 * 2], p.k[kk + q / 2 * 2 + 1]);
			for (int j = 0; j < p.nn; j++) {
				Val fc[4];
				int place[4];
				for (int q = 0; q < 4; q++) fc[q] = out->v[place[q] = sum_at(w, call, c, p.m[i + q / 2], p.n[j] + q % 2)];
				mma_sync(w, a->elem, b->elem, fa, fb[j], fc);
				for (int q = 0; q < 4; q++) out->v[place[q]] = fc[q];
			}
		}
	}
}

/* What each thread holds, multiplied and added in the order of k. */
static void add_parts(Lower *w, const TsTree *call, const Frag *c, const Frag *a, const Frag *b, Frag *out)
{
	Parts p;
	parts_of(a, b, &p);
	for (int q = 0; q < p.nk; q++)
		for (int i = 0; i < p.nm; i++)
			for (int j = 0; j < p.nn; j++) {
				int r = sum_at(w, call, c, p.m[i], p.n[j]);
				out->v[r] = ts_math_fma(&w->math, a->v[register_at(w, call, a->at, p.m[i], p.k[q])], b->v[register_at(w, call, b->at, p.k[q], p.n[j])], out->v[r]);
			}
}

static Frag parts_tile(Lower *w, const TsTree *call, const TsTType *type, bool matrix)
{
	Frag c = tile_of(w, call->kid[1]), a = tile_of(w, call->kid[2]), b = tile_of(w, call->kid[3]), out = lw_frag(w, type);
	memcpy(out.v, c.v, (size_t)c.n * sizeof *c.v);
	(matrix ? multiply_parts : add_parts)(w, call, &c, &a, &b, &out);
	return out;
}

/* ---- wgmma ---- */
/* An operand in shared memory as descriptors see it. */
typedef struct { Shared s; int outer, inner; /* the buffer's axes of m (or n) and of k */ bool k_major; Val low; int64_t high; } Operand;

static int axis_at(const Shared *s, int tile_axis)
{
	for (int i = 0; i < s->rank; i++)
		if (s->axis[i] == tile_axis) return i;
	return -1;
}

static int64_t bytes_at(const Operand *o, int64_t outer, int64_t inner)
{
	int64_t c[TS_LAY_RANK] = { 0 };
	c[o->outer] = outer;
	c[o->inner] = inner;
	return lg_linear(o->s.layout, c) * ts_dtype_bits(o->s.elem) / 8;
}

/* outer: the tile's axis of m or n; begin: i32, where along it this warpgroup begins, or NULL */
static Operand operand_of(Lower *w, const TsTree *x, int outer, Val begin)
{
	Operand o = { .s = lg_shared(w, x) };
	const TsLayout *l = o.s.layout;
	o.outer = axis_at(&o.s, outer);
	o.inner = axis_at(&o.s, 1 - outer);
	if (o.outer < 0 || o.inner < 0 || !l->swizzle) lw_fail(w, x, "wgmma reads matrices in swizzled shared memory");
	o.k_major = l->d[0].dim == o.inner;
	Val at[TS_LAY_RANK];
	memcpy(at, o.s.start, sizeof at);
	if (begin) at[o.outer] = lw_add(w, at[o.outer], begin);
	Val byte = lw_add(w, o.s.base, lw_mul(w, lg_linear_of(w, &o.s, at), lw_i32(w, ts_dtype_bits(o.s.elem) / 8)));
	Val address = LLVMBuildPtrToInt(w->b, lg_shared_at(w, byte), w->i64, "");
	o.low = LLVMBuildLShr(w->b, LLVMBuildAnd(w->b, address, lw_i64(w, 0x3ffff), ""), lw_i64(w, 4), "");
	int64_t row = l->swizzle * 8 / ts_dtype_bits(o.s.elem); /* elements of a swizzled row */
	int64_t leading = o.k_major ? 16 : bytes_at(&o, row, 0), stride = o.k_major ? bytes_at(&o, 8, 0) : bytes_at(&o, 0, 8);
	int64_t mode = l->swizzle == 128 ? 1 : l->swizzle == 64 ? 2 : 3;
	o.high = mode << 62 | stride >> 4 << 32 | leading >> 4 << 16;
	return o;
}

static Val descriptor(Lower *w, const Operand *o, int64_t outer, int64_t k)
{
	Val d = LLVMBuildOr(w->b, o->low, lw_i64(w, o->high), "");
	return lw_add(w, d, lw_i64(w, bytes_at(o, outer, k) >> 4));
}

typedef struct { Val a[4]; Val desc_a, desc_b; int64_t from_a /* of desc_a to this part of a, added in the instruction's text */; bool a_registers, a_turned, b_turned; TsDtype elem, elem_b; } Wgmma;

/* acc[n / 2] += a b, unless `scale` (i32) is 0: then acc = a b */
static void wgmma(Lower *w, const Wgmma *x, int n, Val scale, Val *acc)
{
	int regs = n / 2, in = regs, extra = x->a_registers ? 6 : 3;
	Val args[MAX_ACC + 6];
	LLVMTypeRef out[MAX_ACC];
	TsBuf text = { 0 }, names = { 0 };
	for (int i = 0; i < regs; i++) {
		args[i] = acc[i];
		out[i] = w->f32;
		ts_buf_str(&names, "=f,");
	}
	for (int i = 0; i < regs; i++) ts_buf_fmt(&names, "%d,", i);
	for (int i = 0; x->a_registers && i < 4; i++) args[in++] = x->a[i];
	if (!x->a_registers) args[in++] = x->desc_a;
	args[in++] = x->desc_b;
	args[in++] = scale;
	ts_buf_str(&names, x->a_registers ? "r,r,r,r,l,r" : "l,l,r");
	int first = 2 * regs; /* the tied operands are numbered too */
	ts_buf_fmt(&text, "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, $%d, 0;\n", first + extra - 1);
	if (x->from_a) ts_buf_fmt(&text, "\t.reg .b64 a;\n\tadd.s64 a, $%d, %lld;\n", first, (long long)x->from_a);
	ts_buf_fmt(&text, "\twgmma.mma_async.sync.aligned.m64n%dk%d.f32.%s.%s {", n, WGMMA_K * 8 / ts_dtype_bits(x->elem), type_name(x->elem), type_name(x->elem_b));
	for (int i = 0; i < regs; i++) ts_buf_fmt(&text, "%s$%d", i ? ", " : "", i);
	if (x->a_registers) ts_buf_fmt(&text, "}, {$%d, $%d, $%d, $%d}, $%d, p, 1, 1", first, first + 1, first + 2, first + 3, first + 4);
	else if (x->from_a) ts_buf_fmt(&text, "}, a, $%d, p, 1, 1", first + 1);
	else ts_buf_fmt(&text, "}, $%d, $%d, p, 1, 1", first, first + 1);
	bool turns = ts_dtype_bits(x->elem) == 16; /* only then has the instruction bits that say which way operands lie */
	if (turns && !x->a_registers) ts_buf_fmt(&text, ", %d", x->a_turned);
	if (turns) ts_buf_fmt(&text, ", %d", x->b_turned);
	ts_buf_str(&text, ";\n}");
	Val r = lg_asm(w, text.p, names.p, LLVMStructTypeInContext(w->lc, out, (unsigned)regs, 0), args, (unsigned)in);
	for (int i = 0; i < regs; i++) acc[i] = LLVMBuildExtractValue(w->b, r, (unsigned)i, "");
	ts_buf_free(&text), ts_buf_free(&names);
}

/* columns of one instruction: all, or an even cut of them */
static int64_t columns_of(int64_t n)
{
	int64_t parts = 1;
	while (n / parts > WGMMA_N || n % parts || n / parts % 8) parts++;
	return n / parts;
}

static Frag wgmma_tile(Lower *w, const TsTree *call, const TsTType *type)
{
	enum { MAX = 16 };
	Frag c = tile_of(w, call->kid[1]), out = lw_frag(w, type), a = { 0 };
	const TsTType *ta = &ts_tinfo(call->kid[2])->type;
	const TsTree *zero = lw_keyword(call, "zero_if");
	bool registers = ta->form == TS_TT_TILE, late = !registers && lw_keyword(call, "late");
	int64_t m[MAX], cols = columns_of(type->extent[1]), depth = ta->extent[1], step = WGMMA_K * 8 / ts_dtype_bits(ta->elem);
	int nm = starts(c.at, 0, WGMMA_M, m, MAX);
	Val one = lw_i32(w, 1), first = zero ? LLVMBuildZExt(w->b, LLVMBuildNot(w->b, lw_expr(w, zero).v[0], ""), w->i32, "") : one;
	Val begin = lg_coord_of(w, c.at->layout, 0, 1u << TS_AX_G);
	Operand oa = { 0 }, ob = operand_of(w, call->kid[3], 1, NULL);
	if (registers) a = tile_of(w, call->kid[2]);
	else oa = operand_of(w, call->kid[2], 0, begin);
	int64_t never;
	bool fresh = lw_is_const(first, &never) && !never; /* what the registers hold does not matter: constants need not be moved into them, others are the registers to use */
	for (int r = 0; r < c.n; r++) out.v[r] = fresh && LLVMIsConstant(c.v[r]) ? LLVMGetPoison(w->f32) : c.v[r];
	for (int64_t k = 0; k < depth; k += step)
		for (int i = 0; i < nm; i++)
			for (int64_t n = 0; n < type->extent[1]; n += cols) {
				Wgmma x = { .elem = ta->elem, .elem_b = ts_tinfo(call->kid[3])->type.elem, .a_registers = registers, .b_turned = !ob.k_major, .a_turned = !registers && !oa.k_major };
				Val acc[MAX_ACC];
				int place[MAX_ACC], q = 0;
				for (int64_t j = 0; j < cols; j += 8)
					for (int h = 0; h < 4; h++) place[q++] = register_at(w, call, c.at, m[i] + h / 2 * 8, n + j) + h % 2;
				for (int h = 0; h < q; h++) acc[h] = out.v[place[h]];
				for (int h = 0; registers && h < 4; h++) x.a[h] = word_at(w, &a, register_at(w, call, a.at, m[i] + h % 2 * 8, k + h / 2 * (step / 2)));
				if (!registers) x.desc_a = descriptor(w, &oa, late ? 0 : m[i], late ? 0 : k);
				if (late) x.from_a = bytes_at(&oa, m[i], k) >> 4;
				x.desc_b = descriptor(w, &ob, n, k);
				wgmma(w, &x, (int)cols, k ? one : first, acc);
				for (int h = 0; h < q; h++) out.v[place[h]] = acc[h];
			}
	return out;
}

Frag lg_mma(Lower *w, const TsTree *call, const TsTType *type, const char *atom)
{
	if (type->rank == 3) return parts_tile(w, call, type, strcmp(atom, "fma") != 0);
	if (!strcmp(atom, "mma") || !strcmp(atom, "mma_tf32")) return mma_tile(w, call, type);
	if (!strcmp(atom, "wgmma")) return wgmma_tile(w, call, type);
	lw_fail(w, call, "target %s has no mma atom '%s'", w->target->name, atom);
}

/* The wait, with the sums passed through it so that nothing that reads them moves above. */
Frag lg_wait_mma(Lower *w, const TsTree *call, const TsTType *type)
{
	enum { MAX = 512 };
	Frag y = tile_of(w, call->kid[2]), out = lw_frag(w, type);
	if (y.n > MAX) lw_fail(w, call, "more than %d registers in flight", MAX);
	LLVMTypeRef types[MAX];
	TsBuf names = { 0 };
	for (int i = 0; i < y.n; i++) {
		types[i] = w->f32;
		ts_buf_str(&names, i ? ",=f" : "=f");
	}
	for (int i = 0; i < y.n; i++) ts_buf_fmt(&names, ",%d", i);
	const char *text = ts_printf(w->arena, "wgmma.wait_group.sync.aligned %lld;", (long long)lw_const_of(w, call->kid[1]));
	Val r = lg_asm(w, text, names.p, LLVMStructTypeInContext(w->lc, types, (unsigned)y.n, 0), y.v, (unsigned)y.n);
	for (int i = 0; i < y.n; i++) out.v[i] = LLVMBuildExtractValue(w->b, r, (unsigned)i, "");
	ts_buf_free(&names);
	return out;
}
