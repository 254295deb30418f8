/* From a schedule to the artifact's plan (rtlib/plan.h) and the list of weight bytes that go with it. */
#pragma once
#include "emit/emit.h"
#include "middle/tiler/sched.h"

typedef struct {
	bool external;                    /* weights stay in their published files */
	const int64_t *scratch;           /* per kernel: bytes each worker needs */
	const char *producer;             /* "tsc 0.1.0" */
} TsPlanOptions;

typedef struct { TsBytes plan; TsWeightPiece *pieces; uint32_t n_pieces; uint64_t weight_bytes; } TsPlanned;

/* False after reporting. Everything lies in the module's arena; pieces read weight files lazily. */
bool ts_write_plan(const TsSched *s, const TsPlanOptions *o, TsPlanned *out);
