/* Attention on GPUs: what its forms share. Private to middle/tiler. */
#pragma once
#include "middle/tiler/gpu.h"

typedef enum { TS_AT_FMA, TS_AT_MMA, TS_AT_WGMMA } TsAtForm;
typedef struct { TsAtForm form; int bm, bn, cap /* columns that hold a head */, warps; bool wide, copies; TsDim guard; } TsAtVariant; /* bm queries, bn keys at a time */
typedef struct {
	TsJob *j;
	TsKb *k;
	const TsAtVariant *now;
	const char *ct, *X, *Y, *R; /* types: scores, output, row statistics */
	TsPlace p;                  /* of the output */
	TsPlace ps;                 /* layouts of the scores */
	TsWide wide;
	TsAtVariant v[8];
	int n;
} TsAt;

/* An operand over [rows, columns] of a tensor; k and v: the head is shared by a group. `turn`: [columns, rows]. */
TsOperand ts_at_operand(TsAt *w, const TsReal *r, const TsType *ty, bool kv, bool turn);
void ts_at_grid(TsAt *w, TsDim *cells);           /* the grid, the rows at qb, the keys jlo..jhi, the scale */
/* Statements on tile `s`, scores of the rows at qb and the keys at j: scale, bias, masks; the name of the result. exp2: in units of log 2. */
const char *ts_at_scores(TsAt *w, const char *s, bool exp2);
/* Online softmax of scores s with the running m0, l0: m1, l1, `al` (what the sums so far shrink by), e (the terms). */
void ts_at_softmax(TsAt *w, const char *s, bool exp2);
void ts_at_finish(TsAt *w, const char *o, const char *l);
void ts_at_fma(TsAt *w, TsChoice *c);
void ts_at_mma(TsAt *w, TsChoice *c);
