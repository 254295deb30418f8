/* Global memory on GPUs. Registers of a thread that lie side by side in memory are one access of up to 16 bytes where the text proves its
 * alignment (ts_tile_multiple); the others are accessed one by one. Elements past `valid` are never touched: an access is predicated where
 * `valid` is a multiple of its width, otherwise a tile that is whole goes one way and a ragged one, element by element, another. */
#include "backend/llvm/lower.h"
#include <string.h>

enum { WIDE = 16, MAX_GROUP = 32 };

typedef struct {
	Lower *w;
	View view;
	const Places *at;
	int64_t multiple;             /* elements: what every thread's first offset is a multiple of, along no matter which axis */
	int row;                      /* the tile's axis whose elements lie side by side, -1: none */
	Val own;                      /* i64: this thread's offset in elements, without registers and gathers */
	Val coord[TS_LAY_RANK];       /* i64: this thread's coordinates, made when needed */
	Val room[TS_LAY_RANK];        /* i32: elements left from there on, made when needed */
	Val lack[TS_LAY_RANK];        /* i32: elements missing from there on, made when needed */
	Val (*index)[TS_LAY_RANK];    /* the gathers' integers by register */
	bool limited, stream;
	Val left[TS_LAY_RANK];        /* i64, NULL: all */
	Val first[TS_LAY_RANK];       /* i64, NULL: none is missing before */
	int64_t left_multiple[TS_LAY_RANK], first_multiple[TS_LAY_RANK];
} Access;

/* ---- what is a multiple of what ---- */
static int64_t times(int64_t a, int64_t b) { return a > (1 << 20) || b > (1 << 20) ? a > b ? a : b : a * b; }

/* multiples of a parameter's strides, by its axes */
static void stride_multiples(const TsTree *param, int64_t *out)
{
	const TsTType *t = &ts_tinfo(param)->type;
	const TsTree *type = param->kid[0], *strides = ts_tile_strides(type);
	int64_t n = 1;
	for (int i = t->rank; i-- > 0;) {
		out[i] = strides ? ts_tile_multiple(strides->kid[i]) : n;
		n = times(n, t->extent[i] >= 0 ? t->extent[i] ? t->extent[i] : 1 << 20 : ts_tile_multiple(type->kid[i]));
	}
}

/* of the view's first element; step[]: of the view's steps, by the tile's axes */
static int64_t view_multiple(const TsTree *x, int64_t *step)
{
	bool swapped = false;
	while (x->kind == TS_TREE_FIELD) {
		swapped = !swapped;
		x = x->kid[0];
	}
	const TsTree *of = x->kind == TS_TREE_INDEX ? x->kid[0] : x;
	bool under = false;
	while (of->kind == TS_TREE_FIELD) {
		under = !under;
		of = of->kid[0];
	}
	int64_t stride[TS_LAY_RANK + 1], all = 1 << 20;
	stride_multiples(ts_tinfo(of)->decl, stride);
	if (under) {
		int64_t s = stride[0];
		stride[0] = stride[1];
		stride[1] = s;
	}
	int rank = 0;
	for (uint32_t i = 1; x->kind == TS_TREE_INDEX && i < x->n; i++) {
		const TsTree *at = x->kid[i];
		const TsTInfo *info = ts_tinfo(at);
		if (at->kind == TS_TREE_RANGE) {
			if (at->kid[0]) all = ts_gcd(all, times(ts_tile_multiple(at->kid[0]), stride[i - 1]));
			step[rank++] = times(at->kid[2] ? ts_tile_multiple(at->kid[2]) : 1, stride[i - 1]);
		} else if (info->type.form == TS_TT_TILE) {
			all = ts_gcd(all, stride[i - 1]);
			for (int d = 0; d < info->type.rank; d++) step[rank++] = 1 << 20;
		} else {
			all = ts_gcd(all, times(ts_tile_multiple(at), stride[i - 1]));
		}
	}
	if (x->kind != TS_TREE_INDEX)
		for (int i = 0; i < ts_tinfo(of)->type.rank; i++) step[rank++] = stride[i];
	if (swapped) {
		int64_t s = step[0];
		step[0] = step[1];
		step[1] = s;
	}
	return all;
}

/* ---- accesses ---- */
static void find_row(Access *a)
{
	int64_t c;
	a->row = -1;
	for (int d = 0; d < a->at->rank; d++)
		if (a->view.step[d] && lw_is_const(a->view.step[d], &c) && c == 1) a->row = d;
}

static Val wide(Lower *w, Val i32) { return LLVMBuildSExt(w->b, i32, w->i64, ""); }

static Val coord(Access *a, int d)
{
	if (!a->coord[d]) a->coord[d] = wide(a->w, lg_coord(a->w, a->at->layout, d));
	return a->coord[d];
}

/* this thread's share of the offset, and what it is a multiple of beyond the register's */
static void own_offset(Access *a, const int64_t *step)
{
	Lower *w = a->w;
	a->own = a->view.base;
	for (int d = 0; d < a->at->rank; d++) {
		if (!a->view.step[d]) continue;
		a->own = lw_add(w, a->own, lw_mul(w, a->view.step[d], coord(a, d)));
		for (int i = 0; i < a->at->layout->n; i++) {
			TsDigit g = a->at->layout->d[i];
			if (g.axis != TS_AX_R && g.dim == d && g.extent > 1) a->multiple = ts_gcd(a->multiple, times(g.stride, step[d]));
		}
	}
}

static void lay_indices(Access *a, const TsTree *where)
{
	Lower *w = a->w;
	if (!a->view.gathers) return;
	a->index = ts_alloc_array(w->arena, (size_t)a->at->regs, sizeof *a->index);
	for (int g = 0; g < a->view.gathers; g++) {
		const Indexed *x = &a->view.gather[g];
		int axis_of[TS_LAY_RANK] = { 0 };
		int64_t origin[TS_LAY_RANK] = { 0 };
		Frag as = { .elem = x->index.elem, .n = a->at->regs, .lanes = 1, .at = a->at, .v = TS_NEW_N(w->arena, Val, (size_t)a->at->regs) };
		for (int d = 0; d < x->index.at->rank; d++) axis_of[d] = x->axis + d;
		lw_gather(w, where, &x->index, axis_of, origin, &as);
		for (int r = 0; r < as.n; r++) a->index[r][g] = as.v[r];
	}
}

static void read_limits(Access *a, const TsTree *call)
{
	const TsTree *valid = lw_keyword(call, "valid"), *from = lw_keyword(call, "from");
	int64_t c;
	for (int d = 0; from && d < a->at->rank; d++) {
		const TsTree *n = from->kind == TS_TREE_LIST ? from->kid[d] : from;
		Val v = lw_idx(a->w, n);
		if (lw_is_const(v, &c) && c <= 0) continue;
		a->first[d] = v;
		a->first_multiple[d] = ts_tile_multiple(n);
		a->limited = true;
	}
	for (int d = 0; valid && d < a->at->rank; d++) {
		const TsTree *n = valid->kind == TS_TREE_LIST ? valid->kid[d] : valid;
		Val v = lw_idx(a->w, n);
		if (lw_is_const(v, &c) && c >= ts_layout_extent(a->at->layout, d)) continue;
		a->left[d] = v;
		a->left_multiple[d] = ts_tile_multiple(n);
		a->limited = true;
	}
}

static Access access_of(Lower *w, const TsTree *call, const TsTree *place, const Places *at)
{
	Access a = { .w = w, .view = lw_view(w, place), .at = at };
	int64_t step[TS_LAY_RANK];
	a.multiple = view_multiple(place, step);
	find_row(&a);
	own_offset(&a, step);
	for (int r = 0; r < at->regs; r++) /* registers along other axes move by whole steps; along the row they are looked at one by one */
		for (int d = 0; d < at->rank; d++)
			if (d != a.row && at->reg[r][d]) a.multiple = ts_gcd(a.multiple, times(at->reg[r][d], step[d]));
	lay_indices(&a, call);
	read_limits(&a, call);
	return a;
}

/* along the row, elements exist or not so many at a time */
static bool fits(const Access *a, int n)
{
	return (!a->left[a->row] || a->left_multiple[a->row] % n == 0) && (!a->first[a->row] || a->first_multiple[a->row] % n == 0);
}

/* how many registers from r on are one access, given what may be assumed of alignment and limits */
static int group_at(const Access *a, int r, bool whole)
{
	int bits = ts_dtype_bits(a->view.elem), most = WIDE * 8 / bits, n = 1;
	if (a->row < 0) return 1;
	while (r + n < a->at->regs && n < most) {
		for (int d = 0; d < a->at->rank; d++)
			if (a->at->reg[r + n][d] != a->at->reg[r][d] + (d == a->row ? n : 0)) goto done;
		for (int g = 0; g < a->view.gathers; g++)
			if (a->index[r + n][g] != a->index[r][g]) goto done;
		n++;
	}
done:;
	int k = 1;
	while (2 * k <= n && a->multiple % (2 * k) == 0 && a->at->reg[r][a->row] % (2 * k) == 0 && (whole || fits(a, 2 * k))) k *= 2;
	return k;
}

/* How many elements from this thread's first one on lie before `limit` along d; a register's place is compared with it. */
static Val room(Access *a, int d, Val limit, Val *made)
{
	Lower *w = a->w;
	if (*made) return *made;
	Val zero = lw_i64(w, 0), most = lw_i64(w, ts_layout_extent(a->at->layout, d));
	limit = LLVMBuildSelect(w->b, LLVMBuildICmp(w->b, LLVMIntSLT, limit, zero, ""), zero, limit, "");
	limit = LLVMBuildSelect(w->b, LLVMBuildICmp(w->b, LLVMIntSGT, limit, most, ""), most, limit, "");
	return *made = LLVMBuildSub(w->b, LLVMBuildTrunc(w->b, limit, w->i32, ""), lg_coord(w, a->at->layout, d), "");
}

static Val inside(Access *a, int r)
{
	Lower *w = a->w;
	Val in = NULL;
	for (int d = 0; d < a->at->rank; d++) {
		for (int below = 0; below < 2; below++) {
			if (!(below ? a->first : a->left)[d]) continue;
			Val n = below ? room(a, d, a->first[d], &a->lack[d]) : room(a, d, a->left[d], &a->room[d]);
			Val ok = LLVMBuildICmp(w->b, below ? LLVMIntSLE : LLVMIntSGT, n, lw_i32(w, a->at->reg[r][d]), "");
			in = in ? LLVMBuildAnd(w->b, in, ok, "") : ok;
		}
	}
	return in;
}

static Val all_inside(const Access *a)
{
	Lower *w = a->w;
	Val all = NULL;
	for (int d = 0; d < a->at->rank; d++) {
		for (int below = 0; below < 2; below++) {
			if (!(below ? a->first : a->left)[d]) continue;
			Val ok = below ? LLVMBuildICmp(w->b, LLVMIntSLE, a->first[d], lw_i64(w, 0), "") : LLVMBuildICmp(w->b, LLVMIntSGE, a->left[d], lw_i64(w, ts_layout_extent(a->at->layout, d)), "");
			all = all ? LLVMBuildAnd(w->b, all, ok, "") : ok;
		}
	}
	return all;
}

/* the offset in elements of register r: what varies, and what is fixed */
static Val offset_at(const Access *a, int r, int64_t *fixed)
{
	Lower *w = a->w;
	Val at = a->own;
	int64_t step;
	*fixed = 0;
	for (int d = 0; d < a->at->rank; d++) {
		if (!a->view.step[d] || !a->at->reg[r][d]) continue;
		if (lw_is_const(a->view.step[d], &step)) *fixed += step * a->at->reg[r][d];
		else at = lw_add(w, at, lw_mul(w, a->view.step[d], lw_i64(w, a->at->reg[r][d])));
	}
	for (int g = 0; g < a->view.gathers; g++) {
		Val i = a->index[r][g];
		if (LLVMTypeOf(i) != w->i64) i = LLVMBuildSExt(w->b, i, w->i64, "");
		at = lw_add(w, at, lw_mul(w, i, a->view.gather[g].stride));
	}
	return at;
}

static Val address_at(const Access *a, int r)
{
	Lower *w = a->w;
	int64_t fixed;
	Val at = offset_at(a, r, &fixed);
	if (lw_packed(a->view.elem)) {
		at = LLVMBuildAShr(w->b, lw_add(w, at, lw_i64(w, fixed)), lw_i64(w, 1), "");
		return LLVMBuildGEP2(w->b, w->i8, a->view.memory, &at, 1, "");
	}
	LLVMTypeRef type = lw_memory_type(w, a->view.elem, 1);
	Val p = LLVMBuildGEP2(w->b, type, a->view.memory, &at, 1, ""), by = lw_i64(w, fixed);
	return fixed ? LLVMBuildGEP2(w->b, type, p, &by, 1, "") : p;
}

/* ---- words ---- */
static int memory_bits(TsDtype t) { return t == TS_BOOL ? 8 : ts_dtype_bits(t); }

static LLVMTypeRef bits_type(Lower *w, int bits) { return LLVMIntTypeInContext(w->lc, (unsigned)bits); }

static Val to_bits(Lower *w, TsDtype t, Val x)
{
	if (t == TS_F32 || t == TS_F64) return LLVMBuildBitCast(w->b, x, bits_type(w, ts_dtype_bits(t)), "");
	if (t == TS_BOOL) return LLVMBuildZExt(w->b, x, w->i8, "");
	return lw_packed(t) ? LLVMBuildAnd(w->b, x, LLVMConstInt(w->i8, 15, 0), "") : x;
}

static Val from_bits(Lower *w, TsDtype t, Val x)
{
	if (t == TS_F32 || t == TS_F64) return LLVMBuildBitCast(w->b, x, lw_elem_type(w, t), "");
	return t == TS_BOOL ? LLVMBuildICmp(w->b, LLVMIntNE, x, LLVMConstInt(w->i8, 0, 0), "") : x;
}

/* bits of n registers in one integer of `word` bits */
static Val join(Lower *w, TsDtype t, const Val *x, int n, int word)
{
	int bits = memory_bits(t);
	Val all = NULL;
	if (bits == 16 && n == 2) { /* as LLVM knows it from packed conversions */
		Val v = LLVMGetPoison(LLVMVectorType(w->i16, 2));
		for (int i = 0; i < 2; i++) v = LLVMBuildInsertElement(w->b, v, x[i], lw_i32(w, i), "");
		return LLVMBuildBitCast(w->b, v, w->i32, "");
	}
	for (int i = 0; i < n; i++) {
		Val v = to_bits(w, t, x[i]);
		if (LLVMGetIntTypeWidth(LLVMTypeOf(v)) < (unsigned)word) v = LLVMBuildZExt(w->b, v, bits_type(w, word), "");
		if (i) v = LLVMBuildShl(w->b, v, LLVMConstInt(bits_type(w, word), (uint64_t)(bits * i), 0), "");
		all = all ? LLVMBuildOr(w->b, all, v, "") : v;
	}
	return all;
}

static void part(Lower *w, TsDtype t, Val word, Val *x, int n)
{
	int bits = memory_bits(t);
	LLVMTypeRef type = LLVMTypeOf(word);
	if (bits == 16 && n == 2) {
		Val v = LLVMBuildBitCast(w->b, word, LLVMVectorType(w->i16, 2), "");
		for (int i = 0; i < 2; i++) x[i] = LLVMBuildExtractElement(w->b, v, lw_i32(w, i), "");
		return;
	}
	for (int i = 0; i < n; i++) {
		Val v = i ? LLVMBuildLShr(w->b, word, LLVMConstInt(type, (uint64_t)(bits * i), 0), "") : word;
		if (lw_packed(t)) v = LLVMBuildAnd(w->b, v, LLVMConstInt(type, 15, 0), "");
		int want = bits < 8 ? 8 : bits;
		if (LLVMGetIntTypeWidth(type) > (unsigned)want) v = LLVMBuildTrunc(w->b, v, bits_type(w, want), "");
		x[i] = from_bits(w, t, v);
	}
}

/* the width of a word for n elements: 32 bits, 64 where elements are, less for fewer bytes */
static int word_bits(TsDtype t, int n)
{
	int bits = memory_bits(t), all = bits * n;
	return bits == 64 ? 64 : all < 8 ? 8 : all < 32 ? all : 32;
}

int lg_words(Lower *w, TsDtype t, const Val *x, int n, Val *word)
{
	int size = word_bits(t, n), bits = memory_bits(t), per = size / bits < n ? size / bits : n, k = 0;
	for (int i = 0; i < n; i += per) word[k++] = join(w, t, &x[i], per, size);
	return k;
}

void lg_unwords(Lower *w, TsDtype t, const Val *word, int n, Val *x)
{
	int per = word_bits(t, n) / memory_bits(t);
	if (per > n) per = n;
	for (int i = 0; i < n; i += per) part(w, t, word[i / per], &x[i], per);
}

/* "v4.b32" and how its registers are called in constraints */
typedef struct { int words, bits; const char *type; char letter; } Shape;

static Shape shape_of(TsDtype t, int n)
{
	int bits = word_bits(t, n), all = memory_bits(t) * n, words = all <= bits ? 1 : all / bits;
	if (bits == 64) return (Shape){ words, bits, words == 2 ? "v2.b64" : "b64", 'l' };
	if (bits == 32) return (Shape){ words, bits, words == 4 ? "v4.b32" : words == 2 ? "v2.b32" : "b32", 'r' };
	return (Shape){ 1, bits, bits == 16 ? "b16" : "b8", 'h' };
}

static const char *operands(Lower *w, int from, int n)
{
	TsBuf b = { 0 };
	if (n > 1) ts_buf_char(&b, '{');
	for (int i = 0; i < n; i++) ts_buf_fmt(&b, "%s$%d", i ? ", " : "", from + i);
	if (n > 1) ts_buf_char(&b, '}');
	const char *s = ts_strndup(w->arena, b.p, b.n);
	ts_buf_free(&b);
	return s;
}

/* An access of n elements where p holds (NULL: everywhere); elsewhere pad (a constant; NULL: 0). stream: it is read once, so it takes no place
 * in the cache of the SM, and its neighbours come with it into that of the GPU: memory is read in larger pieces than a row of four lanes.
 * What is narrower than a register gets a whole one: written in half, it would keep its other half from before, and be alive until then. */
static void load_if(Lower *w, TsDtype t, Val address, Val p, int n, Val pad, bool stream, Val *x)
{
	Val fill[MAX_GROUP], other[4];
	Shape s = shape_of(t, n);
	char letter = s.bits == 64 ? 'l' : 'r';
	int bits = s.bits == 64 ? 64 : 32;
	LLVMTypeRef word = bits_type(w, bits), types[4] = { word, word, word, word };
	TsBuf text = { 0 }, names = { 0 };
	const char *hint = stream ? ".L1::no_allocate.L2::256B" : "";
	if (p) ts_buf_fmt(&text, "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, $%d, 0;\n", s.words + 1);
	for (int i = 0; i < s.words; i++) {
		if (p) ts_buf_fmt(&text, "\tmov.b%d $%d, $%d;\n", bits, i, s.words + 2);
		ts_buf_fmt(&names, "=&%c,", letter);
	}
	ts_buf_fmt(&text, p ? "\t@p ld.global%s.%s %s, [$%d];\n}" : "ld.global%s.%s %s, [$%d];", hint, s.type, operands(w, 0, s.words), s.words);
	ts_buf_fmt(&names, "l,r,%c,~{memory}", letter);
	for (int i = 0; i < n; i++) fill[i] = pad ? pad : LLVMConstNull(lw_elem_type(w, t));
	lg_words(w, t, fill, n, other); /* all words are alike */
	if (s.bits < 32) other[0] = LLVMBuildZExt(w->b, other[0], word, "");
	Val args[] = { address, p ? LLVMBuildZExt(w->b, p, w->i32, "") : lw_i32(w, 1), other[0] }, got[4];
	Val r = lg_asm(w, text.p, names.p, s.words > 1 ? LLVMStructTypeInContext(w->lc, types, (unsigned)s.words, 0) : word, args, 3);
	for (int i = 0; i < s.words; i++) {
		got[i] = s.words > 1 ? LLVMBuildExtractValue(w->b, r, (unsigned)i, "") : r;
		if (s.bits < 32) got[i] = LLVMBuildTrunc(w->b, got[i], bits_type(w, s.bits), "");
	}
	ts_buf_free(&text), ts_buf_free(&names);
	lg_unwords(w, t, got, n, x);
}

static void store_if(Lower *w, TsDtype t, Val address, Val p, int n, const Val *x)
{
	Shape s = shape_of(t, n);
	Val args[6] = { address, LLVMBuildZExt(w->b, p, w->i32, "") };
	TsBuf text = { 0 }, names = { 0 };
	lg_words(w, t, x, n, args + 2);
	ts_buf_str(&names, "l,r");
	for (int i = 0; i < s.words; i++) {
		if (s.bits == 8) args[2 + i] = LLVMBuildZExt(w->b, args[2 + i], w->i16, "");
		ts_buf_fmt(&names, ",%c", s.letter);
	}
	ts_buf_str(&names, ",~{memory}");
	ts_buf_fmt(&text, "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, $1, 0;\n\t@p st.global.%s [$0], %s;\n}", s.type, operands(w, 2, s.words));
	lg_asm(w, text.p, names.p, w->none, args, 2 + (unsigned)s.words);
	ts_buf_free(&text), ts_buf_free(&names);
}

static unsigned align_of(TsDtype t, int n)
{
	int bytes = memory_bits(t) * n / 8;
	return bytes < 1 ? 1 : (unsigned)bytes;
}

static LLVMTypeRef words_type(Lower *w, const Shape *s)
{
	LLVMTypeRef word = bits_type(w, s->bits);
	return s->words > 1 ? LLVMVectorType(word, (unsigned)s->words) : word;
}

static void load_plain(Lower *w, TsDtype t, Val address, int n, Val *x)
{
	Shape s = shape_of(t, n);
	Val v = LLVMBuildLoad2(w->b, words_type(w, &s), address, ""), word[4];
	LLVMSetAlignment(v, align_of(t, n));
	for (int i = 0; i < s.words; i++) word[i] = s.words > 1 ? LLVMBuildExtractElement(w->b, v, lw_i32(w, i), "") : v;
	lg_unwords(w, t, word, n, x);
}

static void store_plain(Lower *w, TsDtype t, Val address, int n, const Val *x)
{
	Shape s = shape_of(t, n);
	Val word[4], v = LLVMGetPoison(words_type(w, &s));
	lg_words(w, t, x, n, word);
	for (int i = 0; i < s.words && s.words > 1; i++) v = LLVMBuildInsertElement(w->b, v, word[i], lw_i32(w, i), "");
	LLVMSetAlignment(LLVMBuildStore(w->b, s.words > 1 ? v : word[0], address), align_of(t, n));
}

void lg_load_shared(Lower *w, TsDtype t, Val address, int n, Val *x) { load_plain(w, t, address, n, x); }
void lg_store_shared(Lower *w, TsDtype t, Val address, int n, const Val *x) { store_plain(w, t, address, n, x); }

/* ---- loads ---- */
/* a single element of four bits: which half of its byte follows from its place */
static Val nibble(Access *a, int r, Val p)
{
	Lower *w = a->w;
	int64_t fixed;
	Val at = offset_at(a, r, &fixed), byte;
	if (p) load_if(w, TS_UINT8, address_at(a, r), p, 1, NULL, false, &byte);
	else load_plain(w, TS_UINT8, address_at(a, r), 1, &byte);
	Val odd = LLVMBuildTrunc(w->b, LLVMBuildAnd(w->b, lw_add(w, at, lw_i64(w, fixed)), lw_i64(w, 1), ""), w->i8, "");
	Val shifted = LLVMBuildLShr(w->b, byte, LLVMBuildShl(w->b, odd, LLVMConstInt(w->i8, 2, 0), ""), "");
	return LLVMBuildAnd(w->b, shifted, LLVMConstInt(w->i8, 15, 0), "");
}

static void load_registers(Access *a, bool whole, Val pad, Frag *out)
{
	Lower *w = a->w;
	for (int r = 0, n; r < out->n; r += n) {
		Val p = whole ? NULL : inside(a, r);
		n = group_at(a, r, whole);
		bool half = lw_packed(a->view.elem) && n == 1, filled = pad && LLVMIsConstant(pad) && !half;
		if (half) out->v[r] = nibble(a, r, p);
		else if (p || a->stream) load_if(w, a->view.elem, address_at(a, r), p, n, filled ? pad : NULL, a->stream, &out->v[r]);
		else load_plain(w, a->view.elem, address_at(a, r), n, &out->v[r]);
		for (int i = 0; p && pad && !filled && i < n; i++) out->v[r + i] = LLVMBuildSelect(w->b, p, out->v[r + i], pad, "");
	}
}

/* Are ragged tiles accessed in narrower pieces than whole ones? Then it pays to tell them apart. */
static bool whole_is_wider(const Access *a)
{
	for (int r = 0; a->limited && r < a->at->regs; r++)
		if (group_at(a, r, true) != group_at(a, r, false)) return true;
	return false;
}

static Frag load_scalar(Lower *w, const TsTree *call)
{
	View v = lw_view(w, call->kid[1]);
	Frag f = { .elem = v.elem, .n = 1, .lanes = 1, .v = TS_NEW(w->arena, Val) };
	if (lw_packed(v.elem)) f.v[0] = lw_nibble_get(w, v.memory, v.base);
	else load_plain(w, v.elem, LLVMBuildGEP2(w->b, lw_memory_type(w, v.elem, 1), v.memory, (Val[]){ v.base }, 1, ""), 1, f.v);
	return f;
}

/* The registers of a tile where two ways meet: elements of 16 bits in pairs, as memory has them, for else each takes a register. */
static bool in_pairs(const Frag *f) { return ts_dtype_bits(f->elem) == 16 && f->n % 2 == 0; }

static int to_words(Lower *w, const Frag *f, Val *word)
{
	if (!in_pairs(f)) return memcpy(word, f->v, (size_t)f->n * sizeof *word), f->n;
	for (int r = 0; r < f->n; r += 2) lg_words(w, f->elem, &f->v[r], 2, &word[r / 2]);
	return f->n / 2;
}

static void of_words(Lower *w, const Val *word, Frag *f)
{
	if (!in_pairs(f)) { memcpy(f->v, word, (size_t)f->n * sizeof *word); return; }
	for (int r = 0; r < f->n; r += 2) lg_unwords(w, f->elem, &word[r / 2], 2, &f->v[r]);
}

Frag lg_load(Lower *w, const TsTree *call, const TsTType *type)
{
	enum { MAX_REGS = 1024 };
	if (type->form != TS_TT_TILE) return load_scalar(w, call);
	Frag out = lw_frag(w, type);
	Access a = access_of(w, call, call->kid[1], out.at);
	a.stream = lw_keyword(call, "stream") != NULL;
	Val pad = lw_keyword(call, "pad") ? lw_pad(w, call, a.view.elem) : NULL;
	if (!whole_is_wider(&a) || out.n > MAX_REGS) return load_registers(&a, !a.limited, pad, &out), out;
	Frag other = lw_frag(w, type);
	for (int d = 0; d < a.at->rank; d++)
		if (a.left[d] || a.first[d]) coord(&a, d);
	Block yes = lw_block(w, "whole"), no = lw_block(w, "ragged"), end = lw_block(w, "end");
	LLVMBuildCondBr(w->b, all_inside(&a), yes, no);
	Val all[2][MAX_REGS];
	Block from[2] = { yes, no };
	int n = 0;
	for (int i = 0; i < 2; i++) {
		LLVMPositionBuilderAtEnd(w->b, from[i]);
		load_registers(&a, !i, i ? pad : NULL, i ? &other : &out);
		n = to_words(w, i ? &other : &out, all[i]);
		from[i] = LLVMGetInsertBlock(w->b);
		LLVMBuildBr(w->b, end);
	}
	LLVMPositionBuilderAtEnd(w->b, end);
	for (int r = 0; r < n; r++) {
		Val phi = LLVMBuildPhi(w->b, LLVMTypeOf(all[0][r]), "");
		for (int i = 0; i < 2; i++) LLVMAddIncoming(phi, &all[i][r], &from[i], 1);
		all[0][r] = phi;
	}
	of_words(w, all[0], &out);
	return out;
}

/* ---- stores ---- */
/* Two elements of four bits that make a byte, where perhaps only the first exists: then the other half of the byte stays. */
static void store_pair(Access *a, int r, const Val *x)
{
	Lower *w = a->w;
	Val first = inside(a, r), both = LLVMBuildAnd(w->b, first, inside(a, r + 1), ""), p = address_at(a, r), byte;
	store_if(w, a->view.elem, p, both, 2, x);
	Branch b = lg_if(w, LLVMBuildAnd(w->b, first, LLVMBuildNot(w->b, both, ""), ""));
	load_plain(w, TS_UINT8, p, 1, &byte);
	byte = LLVMBuildOr(w->b, LLVMBuildAnd(w->b, byte, LLVMConstInt(w->i8, 0xf0, 0), ""), to_bits(w, a->view.elem, x[0]), "");
	store_plain(w, TS_UINT8, p, 1, &byte);
	lg_end(w, b);
}

/* Do all threads hold the same elements? */
static bool is_copied(const TsLayout *l)
{
	for (int i = 0; i < l->n; i++)
		if (l->d[i].axis != TS_AX_R && l->d[i].dim != TS_LAY_NODIM && l->d[i].extent > 1) return false;
	return true;
}

/* One element of four bits by the one thread that writes all of the tile. */
static void store_nibble(Access *a, int r, Val x)
{
	Lower *w = a->w;
	Val p = inside(a, r), me = LLVMBuildICmp(w->b, LLVMIntEQ, LLVMBuildOr(w->b, w->lane, w->warp, ""), lw_i32(w, 0), ""), byte;
	int64_t fixed;
	Branch b = lg_if(w, p ? LLVMBuildAnd(w->b, p, me, "") : me);
	Val at = address_at(a, r), place = offset_at(a, r, &fixed);
	Val four = LLVMBuildTrunc(w->b, LLVMBuildShl(w->b, LLVMBuildAnd(w->b, lw_add(w, place, lw_i64(w, fixed)), lw_i64(w, 1), ""), lw_i64(w, 2), ""), w->i8, "");
	load_plain(w, TS_UINT8, at, 1, &byte);
	Val keep = LLVMBuildNot(w->b, LLVMBuildShl(w->b, LLVMConstInt(w->i8, 15, 0), four, ""), "");
	byte = LLVMBuildOr(w->b, LLVMBuildAnd(w->b, byte, keep, ""), LLVMBuildShl(w->b, to_bits(w, a->view.elem, x), four, ""), "");
	store_plain(w, TS_UINT8, at, 1, &byte);
	lg_end(w, b);
}

static void store_registers(Access *a, const TsTree *call, bool whole, const Frag *x)
{
	Lower *w = a->w;
	for (int r = 0, n; r < x->n; r += n) {
		Val p = whole ? NULL : inside(a, r);
		n = group_at(a, r, whole);
		if (lw_packed(a->view.elem) && n == 1 && group_at(a, r, true) > 1) {
			n = 2;
			store_pair(a, r, &x->v[r]);
			continue;
		}
		if (lw_packed(a->view.elem) && n == 1 && is_copied(a->at->layout)) {
			store_nibble(a, r, x->v[r]);
			continue;
		}
		if (lw_packed(a->view.elem) && n == 1) lw_fail(w, call, "elements of four bits are stored in pairs: the text must prove that pairs begin at even elements");
		if (p) store_if(w, a->view.elem, address_at(a, r), p, n, &x->v[r]);
		else store_plain(w, a->view.elem, address_at(a, r), n, &x->v[r]);
	}
}

/* one thread writes */
static void store_scalar(Lower *w, const TsTree *call, View v, Val x)
{
	if (lw_packed(v.elem)) lw_fail(w, call, "elements of four bits are stored in pairs");
	Val zero = LLVMBuildOr(w->b, w->lane, w->warp, "");
	Branch b = lg_if(w, LLVMBuildICmp(w->b, LLVMIntEQ, zero, lw_i32(w, 0), ""));
	store_plain(w, v.elem, LLVMBuildGEP2(w->b, lw_memory_type(w, v.elem, 1), v.memory, (Val[]){ v.base }, 1, ""), 1, &x);
	lg_end(w, b);
}

void lg_store(Lower *w, const TsTree *call)
{
	const TsTInfo *info = ts_tinfo(call->kid[2]);
	if (!info || info->type.form != TS_TT_TILE) {
		View v = lw_view(w, call->kid[1]);
		return store_scalar(w, call, v, lw_operand(w, call->kid[2], v.elem));
	}
	Frag x = lw_expr(w, call->kid[2]);
	Access a = access_of(w, call, call->kid[1], x.at);
	if (!whole_is_wider(&a)) return store_registers(&a, call, !a.limited, &x);
	for (int d = 0; d < a.at->rank; d++)
		if (a.left[d] || a.first[d]) coord(&a, d);
	Block yes = lw_block(w, "whole"), no = lw_block(w, "ragged"), end = lw_block(w, "end");
	LLVMBuildCondBr(w->b, all_inside(&a), yes, no);
	LLVMPositionBuilderAtEnd(w->b, yes);
	store_registers(&a, call, true, &x);
	LLVMBuildBr(w->b, end);
	LLVMPositionBuilderAtEnd(w->b, no);
	store_registers(&a, call, false, &x);
	LLVMBuildBr(w->b, end);
	LLVMPositionBuilderAtEnd(w->b, end);
}

/* ---- cp.async ---- */
/* bytes of n elements from register r on that exist, as i32; NULL: all */
static Val bytes_inside(Access *a, int r, int n)
{
	Lower *w = a->w;
	int64_t size = ts_dtype_bytes(a->view.elem, n), each = ts_dtype_bits(a->view.elem) / 8;
	Val bytes = NULL;
	for (int d = 0; d < a->at->rank; d++) {
		if (!a->left[d]) continue;
		Val ahead = LLVMBuildSub(w->b, a->left[d], lw_add(w, coord(a, d), lw_i64(w, a->at->reg[r][d])), ""), here;
		if (d == a->row) here = lw_mul(w, lw_max(w, lw_min(w, ahead, lw_i64(w, n)), lw_i64(w, 0)), lw_i64(w, each));
		else here = LLVMBuildSelect(w->b, LLVMBuildICmp(w->b, LLVMIntSGT, ahead, lw_i64(w, 0), ""), lw_i64(w, size), lw_i64(w, 0), "");
		bytes = bytes ? lw_min(w, bytes, here) : here;
	}
	return bytes ? LLVMBuildTrunc(w->b, bytes, w->i32, "") : NULL;
}

int lg_pieces(Lower *w, const TsTree *call, const Places *by, Piece *out, int max)
{
	Access a = access_of(w, call, call->kid[2], by);
	int k = 0;
	if (a.row < 0 || a.view.gathers) lw_fail(w, call, "cp.async copies elements that lie side by side");
	for (int r = 0, n; r < by->regs; r += n) {
		n = group_at(&a, r, true);
		if (n * ts_dtype_bits(a.view.elem) < 32) lw_fail(w, call, "cp.async copies pieces of 4 bytes and more; nothing here proves that %d elements are aligned (see @multiple)", 32 / ts_dtype_bits(a.view.elem));
		if (k == max) lw_fail(w, call, "a copy of more than %d pieces a thread", max);
		bool whole = !a.left[a.row] || a.left_multiple[a.row] % n == 0; /* a piece is there or not */
		Val in = whole ? inside(&a, r) : NULL, bytes = whole ? NULL : bytes_inside(&a, r, n), p = address_at(&a, r);
		if (bytes) p = LLVMBuildSelect(w->b, LLVMBuildICmp(w->b, LLVMIntEQ, bytes, lw_i32(w, 0), ""), a.view.memory, p, "");
		out[k++] = (Piece){ p, bytes, in, n, r };
	}
	return k;
}
