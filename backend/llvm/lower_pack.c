/* The word pack: a tile from memory to memory with its two axes swapped. Whole blocks go through vectors, the ragged rest and the padding
 * element by element. */
#include "backend/llvm/lower.h"

typedef struct { Lower *w; const View *to, *from; int64_t rows, cols; Val rows_in, cols_in, pad; } Pack;

static Val view_address(Lower *w, const View *v, Val i, Val j)
{
	Val at = lw_add(w, v->base, lw_add(w, lw_mul(w, i, v->step[0]), lw_mul(w, j, v->step[1])));
	return LLVMBuildGEP2(w->b, lw_memory_type(w, v->elem, 1), v->memory, &at, 1, "");
}

typedef struct { Val at; Block body, done; } Count;

/* for at = lo; at < hi; at += step, entered only if it has a turn */
static Count count_begin(Lower *w, Val lo, Val hi)
{
	Count c = { .body = lw_block(w, "pack"), .done = lw_block(w, "packed") };
	Block pre = LLVMGetInsertBlock(w->b);
	LLVMBuildCondBr(w->b, LLVMBuildICmp(w->b, LLVMIntSLT, lo, hi, ""), c.body, c.done);
	LLVMPositionBuilderAtEnd(w->b, c.body);
	c.at = LLVMBuildPhi(w->b, w->i64, "");
	LLVMAddIncoming(c.at, &lo, &pre, 1);
	return c;
}

static void count_end(Lower *w, Count *c, Val hi, int64_t step)
{
	Val next = LLVMBuildAdd(w->b, c->at, lw_i64(w, step), "");
	Block latch = LLVMGetInsertBlock(w->b);
	LLVMAddIncoming(c->at, &next, &latch, 1);
	LLVMBuildCondBr(w->b, LLVMBuildICmp(w->b, LLVMIntSLT, next, hi, ""), c->body, c->done);
	LLVMPositionBuilderAtEnd(w->b, c->done);
}

/* whole blocks of `lanes` columns: rows come in as vectors, and go out as the same number of vectors with rows running fastest */
static void pack_blocks(const Pack *p, int lanes, Val until)
{
	Lower *w = p->w;
	TsDtype t = p->from->elem;
	int rows = (int)p->rows;
	Val *in = TS_NEW_N(w->arena, Val, (size_t)rows);
	Count c = count_begin(w, lw_i64(w, 0), until);
	for (int i = 0; i < rows; i++) in[i] = lw_load_at(w, t, view_address(w, p->from, lw_i64(w, i), c.at), lanes);
	Val out = view_address(w, p->to, c.at, lw_i64(w, 0));
	int *mask = TS_NEW_N(w->arena, int, (size_t)lanes);
	for (int o = 0; o < rows; o++) {
		Val acc = NULL;
		for (int i = 0; i < rows; i++) {
			bool any = false;
			for (int v = 0; v < lanes; v++) {
				int flat = o * lanes + v, mine = flat % rows == i;
				mask[v] = mine ? (acc ? lanes : 0) + flat / rows : acc ? v : -1;
				any |= mine;
			}
			if (any) acc = acc ? lw_shuffle(w, acc, in[i], mask, lanes) : lw_shuffle(w, in[i], NULL, mask, lanes);
		}
		Val by = lw_i64(w, (int64_t)o * lanes);
		lw_store_at(w, t, acc, LLVMBuildGEP2(w->b, lw_memory_type(w, t, 1), out, &by, 1, ""));
	}
	count_end(w, &c, until, lanes);
}

/* r[i] lane l and r[l] lane i change places: bit by bit of row and lane number */
static void transpose_block(Lower *w, Val *r, int lanes)
{
	int *mask = TS_NEW_N(w->arena, int, (size_t)lanes * 2), *high = mask + lanes;
	for (int bit = 1; bit < lanes; bit *= 2) {
		for (int l = 0; l < lanes; l++) {
			mask[l] = l & bit ? lanes + (l ^ bit) : l;
			high[l] = l & bit ? lanes + l : l ^ bit;
		}
		for (int i = 0; i < lanes; i++) {
			if (i & bit) continue;
			Val a = r[i], b = r[i | bit];
			r[i] = lw_shuffle(w, a, b, mask, lanes);
			r[i | bit] = lw_shuffle(w, a, b, high, lanes);
		}
	}
}

/* whole squares of lanes x lanes, for rows below row_end and columns below col_end */
static void pack_squares(const Pack *p, int lanes, Val row_end, Val col_end)
{
	Lower *w = p->w;
	TsDtype t = p->from->elem;
	Val *r = TS_NEW_N(w->arena, Val, (size_t)lanes);
	Count i = count_begin(w, lw_i64(w, 0), row_end), j = count_begin(w, lw_i64(w, 0), col_end);
	for (int k = 0; k < lanes; k++) r[k] = lw_load_at(w, t, view_address(w, p->from, lw_add(w, i.at, lw_i64(w, k)), j.at), lanes);
	transpose_block(w, r, lanes);
	for (int k = 0; k < lanes; k++) lw_store_at(w, t, r[k], view_address(w, p->to, lw_add(w, j.at, lw_i64(w, k)), i.at));
	count_end(w, &j, col_end, lanes);
	count_end(w, &i, row_end, lanes);
}

/* every element that is not among the first row_end rows and col_end columns */
static void pack_rest(const Pack *p, Val row_end, Val col_end)
{
	Lower *w = p->w;
	TsDtype t = p->from->elem;
	Val cols = lw_i64(w, p->cols), rows = lw_i64(w, p->rows), zero = lw_i64(w, 0);
	Count j = count_begin(w, LLVMBuildSelect(w->b, LLVMBuildICmp(w->b, LLVMIntEQ, row_end, rows, ""), col_end, zero, ""), cols);
	Val first = LLVMBuildSelect(w->b, LLVMBuildICmp(w->b, LLVMIntSLT, j.at, col_end, ""), row_end, zero, "");
	Count i = count_begin(w, first, rows);
	Val inside = LLVMBuildAnd(w->b, LLVMBuildICmp(w->b, LLVMIntSLT, i.at, p->rows_in, ""), LLVMBuildICmp(w->b, LLVMIntSLT, j.at, p->cols_in, ""), "");
	Val at = LLVMBuildSelect(w->b, inside, view_address(w, p->from, i.at, j.at), lw_dummy(w), "");
	lw_store_at(w, t, LLVMBuildSelect(w->b, inside, lw_load_at(w, t, at, 1), p->pad, ""), view_address(w, p->to, j.at, i.at));
	count_end(w, &i, rows, 1);
	count_end(w, &j, cols, 1);
}

static Val whole_steps(Lower *w, Val n, int lanes) { return LLVMBuildAnd(w->b, n, lw_i64(w, -(int64_t)lanes), ""); }

static void pack_all(const Pack *p)
{
	enum { MAX_ROWS = 32 };
	Lower *w = p->w;
	int lanes = w->target->vector_bytes * 8 / ts_dtype_bits(p->from->elem);
	int64_t row = 0, out_row = 0, out_col = 0;
	Val row_end = lw_i64(w, 0), col_end = row_end, all = lw_i64(w, p->rows);
	bool vectors = lanes > 1 && lw_is_const(p->from->step[1], &row) && row == 1 && lw_is_const(p->to->step[1], &out_col) && out_col == 1 && p->cols >= lanes;
	if (vectors && p->rows % lanes == 0) {
		row_end = whole_steps(w, p->rows_in, lanes);
		col_end = whole_steps(w, p->cols_in, lanes);
		pack_squares(p, lanes, row_end, col_end);
	} else if (vectors && lw_is_const(p->to->step[0], &out_row) && out_row == p->rows && p->rows <= MAX_ROWS) {
		Val full = LLVMBuildICmp(w->b, LLVMIntEQ, p->rows_in, all, "");
		row_end = all;
		col_end = LLVMBuildSelect(w->b, full, whole_steps(w, p->cols_in, lanes), lw_i64(w, 0), "");
		pack_blocks(p, lanes, col_end);
	}
	pack_rest(p, row_end, col_end);
}

void lw_pack(Lower *w, const TsTree *call)
{
	View to = lw_view(w, call->kid[1]), from = lw_view(w, call->kid[2]);
	const TsTType *type = &ts_tinfo(call->kid[2])->type;
	const TsTree *valid = lw_keyword(call, "valid");
	if (lw_packed(from.elem) || from.gathers || to.gathers) lw_fail(w, call, "pack takes whole elements by ranges");
	Pack p = { w, &to, &from, type->extent[0], type->extent[1], lw_i64(w, type->extent[0]), lw_i64(w, type->extent[1]), lw_pad(w, call, from.elem) };
	if (valid) {
		p.rows_in = lw_max(w, lw_min(w, lw_idx(w, valid->kid[0]), p.rows_in), lw_i64(w, 0));
		p.cols_in = lw_max(w, lw_min(w, lw_idx(w, valid->kid[1]), p.cols_in), lw_i64(w, 0));
	}
	pack_all(&p);
}
