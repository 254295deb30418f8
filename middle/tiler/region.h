/* Regions: the elementwise part of a kernel as a small DAG over iteration dims, target-free. Leaves are strided loads, affine integers
 * (iota, random counters), gathers, literals and the anchor's accumulator; every leaf is affine in the iteration dims, so dims along
 * which all leaves agree can be merged. The emitter writes the DAG as tile statements at one tile's place. */
#pragma once
#include "middle/tiler/sched.h"

typedef enum { TS_R_LOAD, TS_R_AFFINE, TS_R_CONST, TS_R_GATHER, TS_R_ANCHOR, TS_R_OP } TsRKind;
enum { TS_MAX_ITER = 16 };
typedef struct {
	TsRKind kind;
	TsOp op;
	const TsNode *node;            /* OP: attributes; CONST: data */
	TsDtype elem;                  /* declared type of the value */
	uint32_t narg, arg[TS_MAX_OP_INS];
	uint32_t buf;                  /* LOAD, GATHER */
	TsDim offset, coef[TS_MAX_ITER]; /* LOAD, GATHER: elements; AFFINE: value; a random OP: offset = its stream */
	TsDim index_stride, index_size;  /* GATHER: arg[0] * index_stride is added; arg[0] lies in [0, index_size) or is clamped */
	int bits;                      /* OP: relative errors of 2^-bits vanish in the type that its value is rounded to next; 0: none may */
	double value;                  /* CONST scalar literal */
	int64_t ivalue;
} TsRNode;

typedef struct {
	uint32_t niter;
	TsDim size[TS_MAX_ITER];
	TS_VEC(TsRNode) nodes;
	TS_VEC(TsVal) vals;            /* graph values that it computes */
	uint32_t root;
	bool anchored;
} TsRegion;
