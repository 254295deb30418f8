/* Shared memory on GPUs: where an element of a tile lies, `get` and `put` (ldmatrix and stmatrix where the layouts are theirs, else vectors of
 * up to 16 bytes), cp.async.
 *
 * An element's byte offset is that of its coordinate, which is the sum of three parts: where the view starts, what the thread adds, what
 * the register adds. Where all are sums of different powers of two (the usual case) the parts never carry into each other, so each
 * is laid out and swizzled by itself, once, and they are joined by xor: a register then costs at most one instruction, mostly none. */
#include "backend/llvm/lower.h"
#include <string.h>

enum { WARP = 32, CHUNK = 16 /* bytes that a swizzle keeps together, and a matrix's row */ };

/* ---- views ---- */
static const TsTree *ring_of(const TsTree *field) { return ts_tinfo(field->kid[0]->kid[0])->decl; }

/* NAME of a shared buffer, or R[p].a */
static Shared whole(Lower *w, const TsTree *x)
{
	const TsTree *decl = ts_tinfo(x)->decl;
	Shared s = { 0 };
	if (!decl) lw_fail(w, x, "no shared memory");
	const TsTType *t = &ts_tinfo(decl)->type;
	s = (Shared){ .elem = t->elem, .layout = t->layout, .rank = t->rank, .tile_rank = t->rank };
	if (x->kind == TS_TREE_FIELD) {
		const TsTree *ring = ring_of(x);
		Frag pos = lw_expr(w, x->kid[0]->kid[1]);
		s.base = lw_add(w, lw_i32(w, ts_tile_slot_offset(w->kernel, ring, decl)), lw_mul(w, pos.v[0], lw_i32(w, ts_tile_slot_bytes(w->kernel, ring))));
	} else {
		s.base = lw_i32(w, ts_tile_smem_offset(w->kernel, decl));
	}
	for (int i = 0; i < s.rank; i++) {
		s.axis[i] = i;
		s.start[i] = lw_i32(w, 0);
		s.multiple[i] = 1 << 20;
		s.extent[i] = t->extent[i];
	}
	return s;
}

static bool is_transposed(const TsTree *x) { return x->kind == TS_TREE_FIELD && !ts_tinfo(x)->decl; }

Shared lg_shared(Lower *w, const TsTree *x)
{
	if (is_transposed(x)) {
		Shared s = lg_shared(w, x->kid[0]);
		for (int i = 0; i < s.rank; i++)
			if (s.axis[i] >= 0) s.axis[i] = 1 - s.axis[i];
		int64_t e = s.extent[0];
		s.extent[0] = s.extent[1];
		s.extent[1] = e;
		return s;
	}
	if (x->kind != TS_TREE_INDEX) return whole(w, x);
	Shared s = whole(w, x->kid[0]);
	s.tile_rank = 0;
	for (int i = 0; i < s.rank; i++) {
		const TsTree *at = x->kid[1 + i], *lo = at->kind == TS_TREE_RANGE ? at->kid[0] : at;
		s.axis[i] = -1;
		s.start[i] = lo ? LLVMBuildTrunc(w->b, lw_idx(w, lo), w->i32, "") : lw_i32(w, 0);
		s.multiple[i] = lo ? ts_tile_multiple(lo) : 1 << 20;
		if (at->kind != TS_TREE_RANGE) continue;
		if (at->kid[2] && ts_tinfo(at)->step != 1) lw_fail(w, at, "shared memory is read without steps on target %s", w->target->name);
		s.extent[s.tile_rank] = ts_tinfo(at)->value;
		s.axis[i] = s.tile_rank++;
	}
	return s;
}

Val lg_shared_at(Lower *w, Val offset)
{
	return LLVMBuildGEP2(w->b, w->i8, w->shared, &offset, 1, "");
}

/* ---- places in memory ---- */
int64_t lg_linear(const TsLayout *l, const int64_t *coord)
{
	int64_t at = 0, weight = 1;
	for (int i = 0; i < l->n; i++) {
		TsDigit d = l->d[i];
		if (d.axis != TS_AX_S) continue; /* c: which CTA's memory */
		if (d.dim != TS_LAY_NODIM) at += coord[d.dim] / d.stride % d.extent * weight;
		weight *= d.extent;
	}
	return at;
}

/* is digit i the uppermost along its dim? Then its quotient needs no remainder. */
static bool is_last(const TsLayout *l, int i)
{
	for (int k = 0; k < l->n; k++)
		if (l->d[k].dim == l->d[i].dim && l->d[k].stride > l->d[i].stride) return false;
	return true;
}

Val lg_linear_of(Lower *w, const Shared *s, const Val *coord)
{
	const TsLayout *l = s->layout;
	Val at = lw_i32(w, 0);
	int64_t weight = 1;
	for (int i = 0; i < l->n; i++) {
		TsDigit d = l->d[i];
		if (d.axis != TS_AX_S) continue;
		if (d.dim != TS_LAY_NODIM && coord[d.dim] && d.extent > 1) {
			Val v = lg_quotient(w, coord[d.dim], d.stride);
			if (!is_last(l, i)) v = lg_remainder(w, v, d.extent);
			at = lw_add(w, at, lw_mul(w, v, lw_i32(w, weight)));
		}
		weight *= d.extent;
	}
	return at;
}

static int64_t swizzle_bits(const TsLayout *l) { return l->swizzle == 128 ? 0x70 : l->swizzle == 64 ? 0x30 : l->swizzle == 32 ? 0x10 : 0; }
static int64_t swizzled(const TsLayout *l, int64_t byte) { return byte ^ (byte >> 3 & swizzle_bits(l)); }

Val lg_swizzled(Lower *w, const TsLayout *l, Val byte)
{
	if (!l->swizzle) return byte;
	return LLVMBuildXor(w->b, byte, LLVMBuildAnd(w->b, LLVMBuildLShr(w->b, byte, lw_i32(w, 3), ""), lw_i32(w, swizzle_bits(l)), ""), "");
}

static bool power(int64_t n) { return n > 0 && !(n & (n - 1)); }

/* Is the buffer's axis one digit of memory? Then what adds up to a coordinate along it adds up in memory too. */
static bool is_line(const TsLayout *l, int axis)
{
	int n = 0;
	for (int i = 0; i < l->n; i++) n += l->d[i].dim == axis && l->d[i].extent > 1;
	return n < 2 && !l->swizzle;
}

/* Elements between neighbours along such an axis. */
static int64_t line_step(const TsLayout *l, int axis)
{
	int64_t c[TS_LAY_RANK] = { 0 };
	c[axis] = 1;
	return lg_linear(l, c);
}

/* Along every axis of several digits (bits: along every axis, as parts that are joined by xor need): do start, thread and registers set
 * different bits of the coordinate, and are the digits fields of bits? The topmost digit may count anything when the view names one place
 * along it. */
static bool separable(const Shared *s, const TsLayout *reg, bool bits)
{
	const TsLayout *l = s->layout;
	for (int i = 0; i < l->n; i++) {
		TsDigit d = l->d[i];
		if (!bits && d.dim != TS_LAY_NODIM && is_line(l, d.dim)) continue;
		if ((!power(d.extent) && !(i + 1 == l->n && d.dim != TS_LAY_NODIM && s->axis[d.dim] < 0)) || (d.dim != TS_LAY_NODIM && !power(d.stride))) return false;
	}
	for (int i = 0; i < s->rank; i++) {
		if (!bits && is_line(l, i)) continue;
		int64_t extent = s->axis[i] < 0 ? 1 : s->extent[s->axis[i]], up = 1;
		while (up < extent) up *= 2;
		if (s->multiple[i] % up) return false;
		for (int k = 0; k < reg->n && s->axis[i] >= 0; k++)
			if (reg->d[k].dim == s->axis[i] && (!power(reg->d[k].extent) || !power(reg->d[k].stride))) return false;
	}
	return true;
}

typedef struct {
	Lower *w;
	const Shared *s;
	const Places *at;
	bool separate;
	int bytes;
	Val varying;             /* separate: start and thread, swizzled, without the base */
	int64_t fixed;           /* separate, no swizzle: elements that constant starts add */
	Val coord[TS_LAY_RANK];  /* else: start and thread, by the buffer's axes */
} Lay;

/* what register r adds, by the buffer's axes */
static void register_coord(const Lay *y, int r, int64_t *c)
{
	for (int i = 0; i < y->s->rank; i++) c[i] = y->s->axis[i] < 0 ? 0 : y->at->reg[r][y->s->axis[i]];
}

/* thread: i32 by the tile's axes */
static Lay lay_out(Lower *w, const Shared *s, const Places *at, const Val *thread)
{
	Lay y = { .w = w, .s = s, .at = at, .separate = separable(s, at->layout, false), .bytes = ts_dtype_bits(s->elem) / 8 };
	Val own[TS_LAY_RANK];
	if (!y.bytes) lw_fail(w, NULL, "elements of less than a byte do not lie in shared memory on target %s", w->target->name);
	for (int i = 0; i < s->rank; i++) {
		own[i] = s->axis[i] < 0 ? NULL : thread[s->axis[i]];
		y.coord[i] = own[i] ? lw_add(w, s->start[i], own[i]) : s->start[i];
	}
	if (!y.separate) return y;
	Val size = lw_i32(w, y.bytes), begin[TS_LAY_RANK];
	int64_t known[TS_LAY_RANK] = { 0 };
	memcpy(begin, s->start, sizeof begin);
	for (int i = 0; i < s->rank && !s->layout->swizzle; i++)
		if (lw_is_const(begin[i], &known[i])) begin[i] = NULL;
		else known[i] = 0;
	y.fixed = lg_linear(s->layout, known);
	Val start = lg_swizzled(w, s->layout, lw_mul(w, lg_linear_of(w, s, begin), size)), lanes = lg_swizzled(w, s->layout, lw_mul(w, lg_linear_of(w, s, own), size));
	y.varying = s->layout->swizzle ? LLVMBuildXor(w->b, start, lanes, "") : lw_add(w, start, lanes);
	return y;
}

/* varying ^ fixed, where both are offsets already swizzled: bits from 7 up belong to one of them alone, so that they can be added */
static Val joined(const Lay *y, Val varying, int64_t fixed)
{
	Lower *w = y->w;
	if (!y->s->layout->swizzle) return lw_add(w, varying, lw_i32(w, fixed));
	int64_t low = fixed & 127;
	Val v = low ? LLVMBuildXor(w->b, varying, lw_i32(w, low), "") : varying;
	return lw_add(w, v, lw_i32(w, fixed - low));
}

/* byte offset of the element of register r, from the start of shared memory */
static Val offset_of(const Lay *y, int r)
{
	Lower *w = y->w;
	int64_t c[TS_LAY_RANK];
	register_coord(y, r, c);
	if (y->separate) return lw_add(w, y->s->base, joined(y, y->varying, swizzled(y->s->layout, (y->fixed + lg_linear(y->s->layout, c)) * y->bytes)));
	Val at[TS_LAY_RANK];
	for (int i = 0; i < y->s->rank; i++) at[i] = lw_add(w, y->coord[i], lw_i32(w, c[i]));
	Val byte = lw_mul(w, lg_linear_of(w, y->s, at), lw_i32(w, y->bytes));
	return lw_add(w, y->s->base, lg_swizzled(w, y->s->layout, byte));
}

/* The address of register r. A part that is known goes into the instruction: it is added to the address last. */
static Val pointer_to(const Lay *y, int r)
{
	Lower *w = y->w;
	if (!y->separate || y->s->layout->swizzle) return lg_shared_at(w, offset_of(y, r));
	int64_t c[TS_LAY_RANK];
	register_coord(y, r, c);
	Val p = lg_shared_at(w, lw_add(w, y->s->base, y->varying)), fixed = lw_i32(w, (y->fixed + lg_linear(y->s->layout, c)) * y->bytes);
	return LLVMBuildInBoundsGEP2(w->b, w->i8, p, &fixed, 1, "");
}

/* What every thread's linear offset (of elements) is a multiple of: its digits' shares of the first digit of memory, its start's. */
static int64_t thread_multiple(const Lay *y)
{
	const TsLayout *l = y->at->layout, *m = y->s->layout;
	int64_t all = 1 << 20;
	for (int i = 0; i < l->n; i++) {
		if (l->d[i].axis == TS_AX_R || l->d[i].dim == TS_LAY_NODIM) continue;
		for (int k = 0; k < y->s->rank; k++) {
			if (y->s->axis[k] != l->d[i].dim) continue;
			int64_t c[TS_LAY_RANK] = { 0 };
			c[k] = l->d[i].stride;
			all = ts_gcd(all, lg_linear(m, c));
		}
	}
	for (int k = 0; k < y->s->rank; k++) {
		int64_t c[TS_LAY_RANK] = { 0 };
		c[k] = y->s->multiple[k];
		int64_t at = is_line(m, k) ? c[k] * line_step(m, k) : lg_linear(m, c);
		if (at) all = ts_gcd(all, at);
	}
	return all;
}

/* how many registers from r on lie side by side and aligned: an access of at most 16 bytes */
static int group_at(const Lay *y, int r, int64_t multiple)
{
	int most = CHUNK / y->bytes, n = 1, k = 1;
	int64_t c[TS_LAY_RANK];
	if (!y->separate) return 1;
	register_coord(y, r, c);
	int64_t first = lg_linear(y->s->layout, c);
	for (; r + n < y->at->regs && n < most; n++) {
		register_coord(y, r + n, c);
		if (lg_linear(y->s->layout, c) != first + n) break;
	}
	while (2 * k <= n && multiple % (2 * k) == 0 && first % (2 * k) == 0) k *= 2;
	return k;
}

/* ---- matrices of 8 rows of 16 bytes ---- */
typedef struct { bool ok, transposed; int rows, columns; /* the tile's axes along which lanes l8 and words lie */ int per; /* elements of a word */ } Matrices;

static TsDigit first_digit(const TsLayout *l, TsAxis a, int skip)
{
	for (int i = 0; i < l->n; i++)
		if (l->d[i].axis == a && !skip--) return l->d[i];
	return (TsDigit){ .dim = TS_LAY_NODIM };
}

static bool row_side_by_side(const Shared *s, int tile_axis)
{
	int n = CHUNK * 8 / ts_dtype_bits(s->elem);
	for (int i = 0; i < s->rank; i++) {
		if (s->axis[i] != tile_axis) continue;
		const TsLayout *m = s->layout;
		return m->n && m->d[0].dim == i && m->d[0].stride == 1 && m->d[0].extent % n == 0 && s->multiple[i] % n == 0;
	}
	return false;
}

/* Lanes as in ldmatrix: for 16 bits l4:2x l8:1y and the first register digit r2:1x, for 8 l4:4x and r4:1x, for 32 l4:1x. */
static Matrices matrices_of(const Shared *s, const Places *at)
{
	const TsLayout *l = at->layout;
	TsDigit quad = first_digit(l, TS_AX_L, 0), row = first_digit(l, TS_AX_L, 1), pair = first_digit(l, TS_AX_R, 0);
	int bits = ts_dtype_bits(s->elem), per = bits == 8 || bits == 16 || bits == 32 ? 32 / bits : 0;
	Matrices m = { .rows = row.dim, .columns = quad.dim, .per = per };
	if (!per || ts_layout_axis_size(l, TS_AX_L) != WARP || quad.extent != 4 || quad.stride != (uint32_t)per || row.extent != 8 || row.stride != 1) return m;
	if ((per > 1 && (pair.stride != 1 || pair.extent % per || pair.dim != quad.dim)) || row.dim == quad.dim || row.dim == TS_LAY_NODIM || quad.dim == TS_LAY_NODIM) return m;
	if (!separable(s, l, true)) return m;
	m.transposed = per == 2 && row_side_by_side(s, m.rows);
	m.ok = m.transposed || row_side_by_side(s, m.columns);
	return m;
}

/* the offset, swizzled, of matrix q (of 16 bits: registers 2q, 2q + 1) */
static int64_t matrix_offset(const Lay *y, int q)
{
	int64_t c[TS_LAY_RANK];
	register_coord(y, 32 / (8 * y->bytes) * q, c);
	return swizzled(y->s->layout, (y->fixed + lg_linear(y->s->layout, c)) * y->bytes);
}

/* Each lane gives the address of a row: lanes 0-7 of the first matrix, 8-15 of the second, and so on. */
static Val row_address(Lower *w, const Lay *y, const int *q, int n)
{
	int64_t first = matrix_offset(y, q[0]), a = n > 1 ? matrix_offset(y, q[1]) ^ first : 0, b = n > 2 ? matrix_offset(y, q[2]) ^ first : 0;
	Val varying = y->varying;
	for (int i = 0; i < 2; i++) {
		int64_t step = i ? b : a;
		if (!step) continue;
		Val bit = LLVMBuildAnd(w->b, LLVMBuildLShr(w->b, w->lane, lw_i32(w, 3 + i), ""), lw_i32(w, 1), "");
		varying = LLVMBuildXor(w->b, varying, power(step) ? LLVMBuildShl(w->b, bit, lw_i32(w, __builtin_ctzll((uint64_t)step)), "") : LLVMBuildMul(w->b, bit, lw_i32(w, step), ""), "");
	}
	int64_t shared = first & (a | b) & ~INT64_C(127); /* bits that both set cannot be added */
	if (shared) return lg_shared_at(w, lw_add(w, y->s->base, LLVMBuildXor(w->b, varying, lw_i32(w, first), "")));
	return lg_shared_at(w, lw_add(w, y->s->base, joined(y, varying, first)));
}

/* The matrices from q on that one instruction takes: 4, 2 or 1, with offsets that two bits of the lane choose. */
static int matrix_group(const Lay *y, int q, int matrices)
{
	if (q + 4 <= matrices && (matrix_offset(y, q) ^ matrix_offset(y, q + 1) ^ matrix_offset(y, q + 2) ^ matrix_offset(y, q + 3)) == 0) return 4;
	return q + 2 <= matrices ? 2 : 1;
}

/* the thread's part of a row's address: its warp's place, and the row that its lane names */
static void row_threads(Lower *w, const Places *at, const Matrices *m, Val *thread)
{
	for (int d = 0; d < at->rank; d++) thread[d] = lg_coord_of(w, at->layout, d, ~(1u << TS_AX_L));
	int along = m->transposed ? m->columns : m->rows;
	thread[along] = lw_add(w, thread[along], LLVMBuildAnd(w->b, w->lane, lw_i32(w, 7), ""));
}

static const char *matrix_name(Lower *w, const char *what, int n, bool transposed)
{
	return ts_printf(w->arena, "llvm.nvvm.%s.sync.aligned.m8n8.x%d%s.b16", what, n, transposed ? ".trans" : "");
}

static void get_matrices(Lower *w, const Shared *s, const Matrices *m, Frag *out)
{
	Val thread[TS_LAY_RANK];
	row_threads(w, out->at, m, thread);
	Lay y = lay_out(w, s, out->at, thread);
	int matrices = out->n / m->per;
	for (int q = 0, n; q < matrices; q += n) {
		n = matrix_group(&y, q, matrices);
		int of[] = { q, q + 1, q + 2, q + 3 };
		LLVMTypeRef over[] = { w->shared_ptr };
		Val p[] = { row_address(w, &y, of, n) };
		Val got = lw_intrinsic(w, matrix_name(w, "ldmatrix", n, m->transposed), over, 1, p, 1);
		for (int i = 0; i < n; i++) {
			Val word = n > 1 ? LLVMBuildExtractValue(w->b, got, (unsigned)i, "") : got;
			lg_unwords(w, s->elem, &word, m->per, &out->v[m->per * (q + i)]);
		}
	}
}

static bool has_stmatrix(const Lower *w) { return ts_tile_target_of(w->kernel)->cls & TS_TG_HOPPER; }

static void put_matrices(Lower *w, const Shared *s, const Matrices *m, const Frag *x)
{
	Val thread[TS_LAY_RANK];
	row_threads(w, x->at, m, thread);
	Lay y = lay_out(w, s, x->at, thread);
	int matrices = x->n / m->per;
	for (int q = 0, n; q < matrices; q += n) {
		n = matrix_group(&y, q, matrices);
		int of[] = { q, q + 1, q + 2, q + 3 };
		LLVMTypeRef over[] = { w->shared_ptr };
		Val args[5] = { row_address(w, &y, of, n) };
		for (int i = 0; i < n; i++) lg_words(w, s->elem, &x->v[m->per * (q + i)], m->per, &args[1 + i]);
		lw_intrinsic(w, matrix_name(w, "stmatrix", n, m->transposed), over, 1, args, 1 + (unsigned)n);
	}
}

/* ---- get, put ---- */
static void all_threads(Lower *w, const Places *at, Val *thread)
{
	for (int d = 0; d < at->rank; d++) thread[d] = lg_coord(w, at->layout, d);
}

/* the address of an offset in the shared memory of CTA i of the cluster */
static Val in_cta(Lower *w, Val p, Val i)
{
	Val args[] = { p, i };
	return lg_intrinsic(w, "llvm.nvvm.mapa.shared.cluster", args, 2);
}

/* cta: i32, whose shared memory, or NULL: this one's */
static void move(Lower *w, const Shared *s, const Places *at, Val cta, Val *v, bool loading)
{
	Val thread[TS_LAY_RANK];
	all_threads(w, at, thread);
	Lay y = lay_out(w, s, at, thread);
	int64_t multiple = thread_multiple(&y);
	for (int r = 0, n; r < at->regs; r += n) {
		n = group_at(&y, r, multiple);
		Val p = pointer_to(&y, r);
		if (cta) p = in_cta(w, p, cta);
		if (loading) lg_load_shared(w, s->elem, p, n, &v[r]);
		else lg_store_shared(w, s->elem, p, n, &v[r]);
	}
}

Frag lg_get(Lower *w, const TsTree *call, const TsTType *type)
{
	Shared s = lg_shared(w, call->kid[1]);
	Frag out = lw_frag(w, type);
	Matrices m = matrices_of(&s, out.at);
	const TsTree *cta = lw_keyword(call, "cta");
	if (m.ok && !cta) get_matrices(w, &s, &m, &out);
	else move(w, &s, out.at, cta ? LLVMBuildTrunc(w->b, lw_idx(w, cta), w->i32, "") : NULL, out.v, true);
	return out;
}

void lg_put(Lower *w, const TsTree *call)
{
	Shared s = lg_shared(w, call->kid[1]);
	Frag x = lw_expr(w, call->kid[2]);
	Matrices m = matrices_of(&s, x.at);
	if (m.ok && has_stmatrix(w)) put_matrices(w, &s, &m, &x);
	else move(w, &s, x.at, NULL, x.v, false);
}

/* ---- cp.async ---- */
/* A piece that is there where p holds, else zeros; its address is looked at only there. */
static void copy_if(Lower *w, Val to, const Piece *p, int bytes)
{
	Val args[] = { to, p->address, LLVMBuildZExt(w->b, LLVMBuildNot(w->b, p->in, ""), w->i32, "") };
	lg_asm(w, ts_printf(w->arena, "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, $2, 0;\n\tcp.async.%s.shared.global [$0], [$1], %d, p;\n}", bytes == 16 ? "cg" : "ca", bytes), "l,l,r,~{memory}", w->none, args, 3);
}

void lg_copy_async(Lower *w, const TsTree *call)
{
	enum { MAX_PIECES = 256 };
	Piece piece[MAX_PIECES];
	Shared s = lg_shared(w, call->kid[1]);
	const TsTree *by = lw_keyword(call, "by");
	const Places *at = lw_places(w, call, ts_tinfo(ts_tinfo(by)->decl)->type.layout);
	Val thread[TS_LAY_RANK];
	all_threads(w, at, thread);
	Lay y = lay_out(w, &s, at, thread);
	int64_t multiple = thread_multiple(&y);
	int n = lg_pieces(w, call, at, piece, MAX_PIECES);
	for (int i = 0; i < n; i++) {
		int bytes = piece[i].n * y.bytes;
		if (group_at(&y, piece[i].reg, multiple) < piece[i].n) lw_fail(w, call, "pieces of %d bytes do not lie side by side in shared memory", bytes);
		Val to = pointer_to(&y, piece[i].reg);
		const char *name = bytes == 16 ? "llvm.nvvm.cp.async.cg.shared.global.16" : ts_printf(w->arena, "llvm.nvvm.cp.async.ca.shared.global.%d", bytes);
		if (piece[i].in) {
			copy_if(w, to, &piece[i], bytes);
			continue;
		}
		Val args[] = { to, piece[i].address, piece[i].bytes };
		lg_intrinsic(w, piece[i].bytes ? ts_printf(w->arena, "%s.s", name) : name, args, piece[i].bytes ? 3 : 2);
	}
}
