/* What a boolean or additive mask over scores [.., S, T] says: which column j counts for row i. */
#pragma once
#include "match.h"

/* j <= i + offset (+ dynamic), and j > i + offset - window; the rest that is no such band stays a mask. */
typedef struct {
	TsDim rows, cols;          /* S and T, set before the first mask */
	bool causal;
	int64_t offset;
	TsVal dynamic;             /* one integer, 0: none */
	int64_t lower;             /* j >= i - lower, when windowed */
	bool windowed;
	TsVal rest[8];             /* conjunction of these too */
	int nrest;
} TsBand;

/* Adds the conjunction `mask` (true: counts; flipped: false counts) to the band. False when the two bands cannot be one. */
bool ts_band_add(TsMatch *m, TsBand *b, TsVal mask, bool flipped);
/* The same for a literal table to be added: 0 where a column counts, at most `lowest` where not. */
bool ts_band_add_table(TsMatch *m, TsBand *b, TsVal bias, double lowest);
/* Every row surely has a column: the band alone, with a known offset. */
bool ts_band_has_every_row(const TsMatch *m, const TsBand *b);
