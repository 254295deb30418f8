#include "ir/tile_abi.h"

enum { SCRATCH_ALIGN = 64 };

int64_t ts_tile_smem_bytes(const TsTree *smem)
{
	const TsTType *t = &ts_tinfo(smem)->type;
	int64_t n = 1;
	for (int i = 0; i < t->rank; i++)
		if (__builtin_mul_overflow(n, t->extent[i], &n)) return INT64_MAX / 2;
	return ts_dtype_bytes(t->elem, n);
}

static int64_t aligned(int64_t n) { return n > INT64_MAX - SCRATCH_ALIGN ? n : (n + SCRATCH_ALIGN - 1) / SCRATCH_ALIGN * SCRATCH_ALIGN; }

/* bytes of the kernel's buffers before `until` (all, if NULL); *found: `until` is one of them */
static int64_t bytes_before(const TsTree *kernel, const TsTree *until, bool *found)
{
	const TsTree *block = kernel->kid[1];
	int64_t at = 0;
	*found = false;
	for (uint32_t i = 0; i < block->n; i++) {
		const TsTree *s = block->kid[i];
		if (s->kind != TS_TREE_SMEM) continue;
		if (s == until) { *found = true; return at; }
		int64_t bytes = aligned(ts_tile_smem_bytes(s));
		if (__builtin_add_overflow(at, bytes, &at)) return INT64_MAX;
	}
	return at;
}

int64_t ts_tile_scratch_bytes(const TsTree *kernel)
{
	bool found;
	return bytes_before(kernel, NULL, &found);
}

int64_t ts_tile_smem_offset(const TsTree *kernel, const TsTree *smem)
{
	bool found;
	int64_t at = bytes_before(kernel, smem, &found);
	return found ? at : -1;
}
