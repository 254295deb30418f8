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
	const char *j0, *kl;        /* the key block at hand: its first key, how many keys are left */
	bool fold;                  /* the scale is positive and nothing is added to the scores: it goes into the argument of exp */
	TsWide wide;
	TsAtVariant v[8];
	int n;
} TsAt;

/* An operand over [rows, columns] of a tensor; k and v: the head is shared by a group. `turn`: [columns, rows]. */
TsOperand ts_at_operand(TsAt *w, const TsReal *r, const TsType *ty, bool kv, bool turn);
void ts_at_grid(TsAt *w, TsDim *cells);           /* the grid, the rows at qb, the keys jlo..jhi */
void ts_at_key_range(TsAt *w);
void ts_at_scale(TsAt *w);
/* Statements on tile `s`, scores of the rows at qb and the keys at j: scale, bias, masks; the name of the result. Forms on matrix
 * instructions work in units of log 2. */
const char *ts_at_scores(TsAt *w, const char *s);
/* Online softmax of scores s with the running maximum m and sum l: the new ones, what the sums so far shrink by, the terms. */
typedef struct { const char *m, *l, *al, *e; } TsAtSoft;
TsAtSoft ts_at_softmax(TsAt *w, const char *s, const char *m, const char *l);
/* o / l through the region: the tile to store. ts_at_finish stores it. */
TsTileVal ts_at_value(TsAt *w, const char *o, const char *l);
void ts_at_finish(TsAt *w, const char *o, const char *l);
void ts_at_fma(TsAt *w, TsChoice *c);
void ts_at_mma(TsAt *w, TsChoice *c);
void ts_at_wgmma(TsAt *w, TsChoice *c);
void ts_at_one_query(TsJob *j);                   /* all of attention where there is one query row */
bool ts_at_has_maps(TsAt *w);                     /* can TMA read q, k and v? */
