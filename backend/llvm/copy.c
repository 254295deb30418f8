/* Ragged accesses, element by element: small functions of the module, made when first used, that move the box of one tile between memory
 * and a buffer in row-major order. They are the slow path only, so they are shared and never inlined:
 *   load(buf, base, at, stride[4], count[4], extent[4], pad)   buf[c] = all c < count ? base[at + sum stride * c] : pad
 *   store(buf, base, at, stride[4], count[4], extent[4])       base[at + sum stride * c] = buf[c] where all c < count
 * Packed 4-bit elements take one byte each in the buffer. */
#include "backend/llvm/lower.h"
#include <stdio.h>
#include <string.h>

enum { RANK = TS_LAY_RANK, ARGS = 3 + 3 * RANK };

static LLVMTypeRef raw_type(Lower *w, TsDtype t) { return LLVMIntTypeInContext(w->lc, ts_dtype_bits(t) < 8 ? 8 : (unsigned)ts_dtype_bits(t)); }

/* the byte that holds a packed element, and the shift of its half */
static Val nibble_byte(Lower *w, Val base, Val at, Val *shift)
{
	Val byte = LLVMBuildLShr(w->b, at, lw_i64(w, 1), ""), odd = LLVMBuildAnd(w->b, at, lw_i64(w, 1), "");
	*shift = LLVMBuildTrunc(w->b, LLVMBuildShl(w->b, odd, lw_i64(w, 2), ""), w->i8, "");
	return LLVMBuildGEP2(w->b, w->i8, base, &byte, 1, "");
}

Val lw_nibble_get(Lower *w, Val base, Val at)
{
	Val shift, p = nibble_byte(w, base, at, &shift);
	return LLVMBuildAnd(w->b, LLVMBuildLShr(w->b, LLVMBuildLoad2(w->b, w->i8, p, ""), shift, ""), LLVMConstInt(w->i8, 15, 0), "");
}

void lw_nibble_set(Lower *w, Val base, Val at, Val x)
{
	Val shift, p = nibble_byte(w, base, at, &shift), hole = LLVMBuildNot(w->b, LLVMBuildShl(w->b, LLVMConstInt(w->i8, 15, 0), shift, ""), "");
	Val rest = LLVMBuildAnd(w->b, LLVMBuildLoad2(w->b, w->i8, p, ""), hole, "");
	LLVMBuildStore(w->b, LLVMBuildOr(w->b, rest, LLVMBuildShl(w->b, x, shift, ""), ""), p);
}

static Val element_at(Lower *w, TsDtype t, Val base, Val at) { return LLVMBuildGEP2(w->b, raw_type(w, t), base, &at, 1, ""); }

static void move_element(Lower *w, TsDtype t, bool storing, Val buf, Val base, Val at)
{
	LLVMTypeRef type = raw_type(w, t);
	bool packed = ts_dtype_bits(t) < 8;
	if (storing) {
		Val x = LLVMBuildLoad2(w->b, type, buf, "");
		if (packed) lw_nibble_set(w, base, at, x);
		else LLVMSetAlignment(LLVMBuildStore(w->b, x, element_at(w, t, base, at)), 1);
		return;
	}
	Val x = packed ? lw_nibble_get(w, base, at) : LLVMBuildLoad2(w->b, type, element_at(w, t, base, at), "");
	if (!packed) LLVMSetAlignment(x, 1);
	LLVMBuildStore(w->b, x, buf);
}

typedef struct { Lower *w; TsDtype elem; bool storing; Val stride[RANK], count[RANK], extent[RANK], base, pad; } Nest;

/* for c in 0..extent of axis `axis`: inner axes, then the element. `buf` is the running index into the buffer. */
static void nest(Nest *n, int axis, Val at, Val buf_index, Val inside, Val buf)
{
	Lower *w = n->w;
	if (axis == RANK) {
		Block yes = lw_block(w, "in"), no = lw_block(w, "out"), end = lw_block(w, "end");
		Val p = LLVMBuildGEP2(w->b, raw_type(w, n->elem), buf, &buf_index, 1, "");
		LLVMBuildCondBr(w->b, inside, yes, no);
		LLVMPositionBuilderAtEnd(w->b, yes);
		move_element(w, n->elem, n->storing, p, n->base, at);
		LLVMBuildBr(w->b, end);
		LLVMPositionBuilderAtEnd(w->b, no);
		if (!n->storing) LLVMBuildStore(w->b, n->pad, p);
		LLVMBuildBr(w->b, end);
		LLVMPositionBuilderAtEnd(w->b, end);
		return;
	}
	Block pre = LLVMGetInsertBlock(w->b), body = lw_block(w, "axis"), done = lw_block(w, "done");
	Val zero = lw_i64(w, 0);
	LLVMBuildBr(w->b, body);
	LLVMPositionBuilderAtEnd(w->b, body);
	Val c = LLVMBuildPhi(w->b, w->i64, ""), here = LLVMBuildPhi(w->b, w->i64, "");
	LLVMAddIncoming(c, &zero, &pre, 1);
	LLVMAddIncoming(here, &at, &pre, 1);
	Val in = LLVMBuildAnd(w->b, inside, LLVMBuildICmp(w->b, LLVMIntSLT, c, n->count[axis], ""), "");
	nest(n, axis + 1, here, lw_add(w, LLVMBuildMul(w->b, buf_index, n->extent[axis], ""), c), in, buf);
	Val next = LLVMBuildAdd(w->b, c, lw_i64(w, 1), ""), there = LLVMBuildAdd(w->b, here, n->stride[axis], "");
	Block latch = LLVMGetInsertBlock(w->b);
	LLVMAddIncoming(c, &next, &latch, 1);
	LLVMAddIncoming(here, &there, &latch, 1);
	LLVMBuildCondBr(w->b, LLVMBuildICmp(w->b, LLVMIntSLT, next, n->extent[axis], ""), body, done);
	LLVMPositionBuilderAtEnd(w->b, done);
}

static Val make_copy(Lower *w, TsDtype t, bool storing, const char *name)
{
	LLVMTypeRef params[ARGS + 1] = { w->ptr, w->ptr };
	for (int i = 2; i < ARGS; i++) params[i] = w->i64;
	params[ARGS] = raw_type(w, t);
	Val fn = LLVMAddFunction(w->mod, name, LLVMFunctionType(w->none, params, ARGS + !storing, 0)), outer = w->fn;
	Block here = LLVMGetInsertBlock(w->b);
	LLVMSetLinkage(fn, LLVMInternalLinkage);
	lw_attr_enum(w, fn, LLVMAttributeFunctionIndex, "noinline");
	lw_attr_enum(w, fn, LLVMAttributeFunctionIndex, "cold");
	lw_target_function(w, fn);
	w->fn = fn;
	LLVMPositionBuilderAtEnd(w->b, lw_block(w, "entry"));
	Nest n = { .w = w, .elem = t, .storing = storing, .base = LLVMGetParam(fn, 1), .pad = storing ? NULL : LLVMGetParam(fn, ARGS) };
	for (unsigned i = 0; i < RANK; i++) {
		n.stride[i] = LLVMGetParam(fn, 3 + i);
		n.count[i] = LLVMGetParam(fn, 3 + RANK + i);
		n.extent[i] = LLVMGetParam(fn, 3 + 2 * RANK + i);
	}
	nest(&n, 0, LLVMGetParam(fn, 2), lw_i64(w, 0), LLVMConstInt(w->i1, 1, 0), LLVMGetParam(fn, 0));
	LLVMBuildRetVoid(w->b);
	w->fn = outer;
	LLVMPositionBuilderAtEnd(w->b, here);
	return fn;
}

void lw_copy_box(Lower *w, TsDtype t, Val buf, Val base, Val at, const Val *stride, const Val *count, const int64_t *extent, int rank, Val pad)
{
	char name[32];
	bool storing = pad == NULL;
	snprintf(name, sizeof name, "ts_box_%s%d", storing ? "store" : "load", ts_dtype_bits(t));
	Val fn = LLVMGetNamedFunction(w->mod, name), args[ARGS + 1] = { buf, base, at };
	if (!fn) fn = make_copy(w, t, storing, name);
	for (int i = 0; i < RANK; i++) {
		int a = i - (RANK - rank);
		args[3 + i] = a < 0 ? lw_i64(w, 0) : stride[a];
		args[3 + RANK + i] = a < 0 ? lw_i64(w, 1) : count[a];
		args[3 + 2 * RANK + i] = lw_i64(w, a < 0 ? 1 : extent[a]);
	}
	if (!storing) args[ARGS] = LLVMTypeOf(pad) == raw_type(w, t) ? pad : LLVMGetTypeKind(LLVMTypeOf(pad)) == LLVMIntegerTypeKind ? LLVMBuildZExt(w->b, pad, raw_type(w, t), "") : LLVMBuildBitCast(w->b, pad, raw_type(w, t), "");
	LLVMBuildCall2(w->b, LLVMGlobalGetValueType(fn), fn, args, ARGS + !storing, "");
}
