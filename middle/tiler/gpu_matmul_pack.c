/* Operands that TMA cannot read as they lie (rows that are no multiple of 16 bytes, another type, no contiguous axis) are copied first: row by row,
 * padded, in the type of the matrix instruction. The copy is a launch of its own, of no cells where it is not wanted. */
#include "middle/tiler/gpu_matmul.h"

enum { EVEN = 32 /* bytes: TMA reads rows at odd multiples of 16 slowly */ };

static TsOperand copy_of(TsMm *mm, const TsOperand *o, TsDtype elem, TsDim wanted)
{
	TsTl *t = mm->j->t;
	TsDims *d = t->d;
	int fast = !mm->fp8 && ts_operand_fast(t, o) == 1, slow = 1 - fast; /* 8-bit floats are multiplied along k alone */
	TsDtype to_type = mm->fp8 ? elem : mm->mma;
	TsDim size[TS_MAX_ITER], even = ts_dim_const(d, EVEN / ts_elem_bytes(to_type)), width = ts_dim_mul(d, ts_dim_cdiv(d, o->size[fast], even), even), one = ts_dim_const(d, 1);
	TsOperand out = *o;
	TsReal from = o->real, to = { .how = TS_REAL_VIEW };
	TsType ty = { .elem = elem }, padded = { .elem = to_type };
	TsIdx idx[TS_MAX_RANK];
	TsJob j = { .t = t, .name = "pack" };
	uint32_t n = 0;
	for (uint32_t i = 0; i < o->n; i++) {
		if (!o->at[i].stride) continue;
		size[n] = o->at[i].size;
		from.stride[n++] = o->at[i].stride;
	}
	size[n] = o->size[slow], from.stride[n++] = o->stride[slow];
	size[n] = o->size[fast], from.stride[n++] = o->stride[fast];
	ty.rank = padded.rank = (uint8_t)n;
	to.stride[n - 1] = one;
	TsDim count = width;
	for (uint32_t i = n - 1; i-- > 0; count = ts_dim_mul(d, count, size[i])) to.stride[i] = count;
	to.buf = ts_new_buf(t, TS_BUF_WORK, to_type, ts_dim_mul(d, count, wanted));
	for (uint32_t i = o->n, at = n - 2; i-- > 0;)
		if (o->at[i].stride) out.at[i].stride = to.stride[--at];
	out.real = to;
	out.stride[slow] = width;
	out.stride[fast] = one;
	size[0] = ts_dim_mul(d, size[0], wanted);
	ts_region_init(t, &j.r, n, size);
	ts_identity_idx(t, 0, n, idx);
	j.value = ts_region_leaf(t, &j.r, &from, &ty, idx);
	j.leaf = ts_region_leaf(t, &j.r, &to, &padded, idx);
	ts_gpu_pointwise(&j);
	return out;
}

bool ts_mm_can_pack(const TsMm *mm)
{
	const TsOperand *o[2] = { &mm->a, &mm->b };
	const TsDtype elem[2] = { mm->j->mm.ae, mm->j->mm.be };
	for (int i = 0; i < 2; i++) {
		uint32_t n = 0;
		for (uint32_t k = 0; k < o[i]->n; k++) n += o[i]->at[k].stride != 0;
		if (n > 2 || ts_dtype_bits(elem[i]) < 8) return false;
	}
	return true;
}

void ts_mm_pack(TsMm *mm, TsDim wanted)
{
	mm->packed[0] = copy_of(mm, &mm->a, mm->j->mm.ae, wanted);
	mm->packed[1] = copy_of(mm, &mm->b, mm->j->mm.be, wanted);
}
