/* What the row kernels of GPUs are made of: gpu_row.c writes a kernel, gpu_row_forms.c says which there are. Private to middle/tiler. */
#pragma once
#include "middle/tiler/gpu.h"

enum { TS_ROW_WARPS = 16 /* of a CTA, at most */ };

typedef struct {
	int cols, rows, warps;      /* of a tile; of a CTA */
	bool loop;                  /* tile by tile */
	int held, ctas;             /* tiles of a row in shared memory, 0: none there; CTAs that share it */
	bool wide;
	TsDim guard;
	const char *label;
} TsRowForm;
typedef struct TsRow {
	TsJob *j;
	TsKb *k;
	TsPlace p;
	const TsRowForm *now;
	uint32_t kd, rd;            /* the tile's kept and reduced dim */
	bool along, single;         /* single: the whole reduced extent is one tile */
	bool across;                /* the reduced axis lies over warps */
	int exchanges;              /* reductions through shared memory so far: they take two buffers in turn */
	const char *in;             /* elements of this tile that exist, as a bool tile, or NULL: all */
	const char *pad;            /* what the operand is where it does not exist, when its load sees to that; NULL: anything */
	TsTileVal *memo, x;         /* single: what is read once */
	const char *power;          /* single: the exponentials of a softmax, made once */
	TsDtype kept;               /* held: as what type */
	TsWide wide;
	TsDim count;                /* elements of a row, 0: what the region's sizes say */
	bool part;                  /* a span of a row for each cell: its sum, not the operator's result */
	int span;                   /* part: elements of one */
	const char *lo, *hi;        /* part: from where to where */
	struct TsRow *parts;        /* its first variants put spans together; NULL: none do */
	TsRowForm v[TS_VARIANTS];
	int n;
} TsRow;

void ts_row_write(void *user, TsKb *k, int i, TsChoice *c); /* variant i of a TsRow: a TsVariants' function */
bool ts_row_is_norm(const TsRow *w);                        /* softmax or a norm: a row comes out */
bool ts_row_is_bare(const TsRow *w);
TsDtype ts_row_kept_type(const TsRow *w);                   /* as what a row lies in shared memory */
