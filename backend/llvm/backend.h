/* Tile IR to machine code. Verified KERNEL trees (ir/tile.h) go in, an object file, assembly or LLVM IR comes out, the same bytes for the
 * same input. LLVM is not hardened and aborts on what it cannot select, so each group of kernels is compiled in a forked child and comes
 * back by a pipe; a child that dies is reported as a bug with a reproducer. No state outlives a call, and no other folder but emit/ sees LLVM.
 *
 * A kernel becomes `void SYMBOL(void *const *ptr, const int64_t *num, int64_t begin, int64_t end, void *scratch)` with hidden
 * visibility: grid cells [begin, end) in row-major order, buffers and integers in order of declaration, scratch of
 * ts_tile_shared_bytes (ir/tile_abi.h) bytes at 64-byte alignment. It calls nothing but memcpy, memset and memmove. For NVIDIA GPUs "object"
 * and "assembly" are the same PTX text; docs/gpu.md says how such a kernel is launched. */
#pragma once
#include "ir/tile.h"

typedef enum { TS_TK_CPU, TS_TK_NVPTX, TS_TK_AMDGPU } TsTargetKind;

/* One row of targets.def. */
typedef struct {
	const char *name;      /* as --arch and the clone table call it */
	TsTargetKind kind;
	const char *triple, *cpu, *features;
	int vector_bytes;      /* widest register the code prefers */
	int mask_bits;         /* narrowest element with masked loads and stores in hardware; 0: none */
	bool fma, f16c;
} TsTarget;

const TsTarget *ts_target_find(const char *name); /* NULL when unknown */
const TsTarget *ts_target_at(uint32_t i);         /* NULL past the last; CPU clones come first, weakest first */

typedef enum { TS_FORM_OBJECT, TS_FORM_ASM, TS_FORM_LLVM_IR } TsBackendForm;

typedef struct {
	int opt_level;         /* 0..3 */
	TsBackendForm form;
	int jobs;              /* children at a time; 0: one per available core */
	void (*print)(TsCtx *cx, const TsTree *tree, TsBuf *to); /* writes a KERNEL as .tile text, for reproducers; may be NULL */
	const char *crash_dir; /* where a reproducer goes; NULL: the working directory */
	void (*progress)(void *user, uint32_t done, uint32_t of); /* kernels that are through; may be NULL */
	void *user;
} TsBackendOptions;

typedef struct { const TsTree *kernel; const char *symbol; const TsTarget *target; } TsUnit;

/* All units, which share one target, into one object (or text). False after reporting. */
bool ts_backend_compile(TsCtx *cx, const TsUnit *units, uint32_t n, const TsBackendOptions *o, TsBuf *out);
/* Units of any targets, cut into groups of like size (by the units alone, never by the number of cores) that are compiled in parallel.
 * *objects: an arena array of *count buffers, each to be freed by the caller. *first (may be NULL): an arena array, the first unit of each. */
bool ts_backend_compile_all(TsCtx *cx, const TsUnit *units, uint32_t n, const TsBackendOptions *o, TsBuf **objects, uint32_t *count, uint32_t **first);
/* An object that defines the hidden array `name` of n addresses of symbols: the runtime's kernel table. */
bool ts_backend_table(TsCtx *cx, const char *name, const char *const *symbols, uint32_t n, TsBuf *out);
