/* Graph IR: operators on typed tensors. A TsModule owns everything; values are 32-bit indices into their graph (0 is none).
 * Nodes lie in text order in blocks, every operand is defined before its use in the same or an enclosing block, each value is
 * assigned once. fn calls are inlined on the way in; a compile-time `for` stays one node with one body. Leaves (parameters, weights,
 * literals, sizes) are nodes too, so that every value has a defining node. */
#pragma once
#include "ir/dim.h"
#include "ir/op.h"
#include "support/map.h"

#define TS_MAX_RANK 16
typedef uint32_t TsVal;
typedef struct TsNode TsNode;
typedef struct TsModule TsModule;
typedef struct TsGraph TsGraph;

typedef struct { TsDtype elem; TsDtype accum /* NONE unless written bf16@f32 */; uint8_t rank; TsDim dim[TS_MAX_RANK]; } TsType;

typedef struct {
	TsAttrKind kind;
	bool none;               /* absent (`none` default) */
	int64_t i;               /* INT, BOOL */
	double f;                /* FLOAT */
	TsSym s;                 /* ENUM */
	TsDtype t;               /* DTYPE */
	uint32_t n;              /* INTS, DIMS: count */
	int64_t *ints;
	TsDim *dims;             /* DIM: dims[0] */
} TsAttr;

/* Numerics in force at a node: file, graph, block and statement folded, the inner one wins. */
typedef struct {
	TsDtype accum;              /* NONE = by type */
	bool deterministic, excess, reorder, approx;
	bool tf32;                  /* f32 products may round their operands to TF32 */
	TsTruth batch_invariant;    /* row i has the same bits alone and in any batch up to 64. TS_OPEN: not written, the target decides: yes on the CPU, no on GPUs */
} TsNumerics;

typedef struct { TS_VEC(TsNode *) nodes; TS_VEC(TsVal) results; /* yield, then emit */ TS_VEC(TsVal) args; } TsBlock;

/* A compile-time for: args of body = carried values; operands = their initial values. Node results = carried, then emitted (stacked). */
typedef struct { TsSym var; int64_t lo, hi, step; uint32_t ncarry; TsDim symbol; /* the loop variable as a size */ TsBlock body;
	bool tiles; TsDim from, to; /* tiles: a loop over tiles in a kernel, whose bounds are sizes; lo and hi are unused */ } TsFor;
enum { TS_MAX_ITERATIONS = 1000000 };   /* of a loop times those of the loops around it */
#define TS_MAX_LOOP_BOUND ((int64_t)1 << 60)
static inline int64_t ts_for_trips(const TsFor *f) { return f->hi > f->lo ? (f->hi - f->lo - 1) / f->step + 1 : 0; } /* the bounds lie within 2^60 */

/* A kernel of the user's without places (docs/tg.md, Kernels), as one call sees it: what one cell of a grid computes. `graph` holds the
 * values and, as its parameters, the whole operands; `cell` the nodes, in which sizes may name the variables of the grid and of loops over
 * tiles. A tile along a variable v has len(v) = min(step, hi - v) elements: those past the end are not there. */
typedef struct { TsSym name; TsDim symbol, lo, hi, len; int64_t step; bool grid; } TsTileVar;
typedef struct { TsVal v; uint32_t result; TsDim start[TS_MAX_RANK]; bool drop[TS_MAX_RANK]; /* by axis of the result: v lacks it */ TsSpan at; } TsTileStore;
typedef struct TsUserKernel {
	const struct TsTree *item;
	TsGraph *graph;
	TS_VEC(TsTileVar) vars;    /* every one that a size may name; those of the grid first, in its order */
	uint32_t ngrid;
	TsBlock cell;
	TS_VEC(TsTileStore) stores; /* one for each result; together the cells write all of it */
	TS_VEC(TsType) results;
} TsUserKernel;

struct TsNode {
	TsOp op;
	TsSpan at;
	TsSym doc;               /* `##` text, or NULL */
	const TsNumerics *num;
	uint32_t nin, nout;
	TsVal *in, *out;         /* an absent optional operand is 0 */
	TsAttr *attr;            /* [info->nattr], defaults filled in */
	/* leaves */
	TsSym name;              /* weight: name with {i} templates; param: its name */
	uint32_t weights;        /* weight: index into module->weights */
	const void *data;        /* const: elements in the value's type, compact */
	TsDim dim;               /* dim value: an int64[] equal to this size */
	TsFor *loop;             /* op == TS_OP_for */
	TsUserKernel *kernel;    /* op == TS_OP_kernel */
};

typedef struct { TsType type; TsSym name; TsNode *def; uint32_t index; } TsValue; /* name: written or derived (y.1) */

/* A demand that could not be decided: lhs == rhs, lhs <= rhs, or lhs a multiple of rhs. It is checked once per call; text says of what
 * (`matmul inner sizes: x axis 1 and w axis 0`). Sizes of loop variables never occur: such demands are listed for each iteration. */
typedef struct { TsDim cond_lhs, cond_rhs; enum { TS_CHECK_EQ, TS_CHECK_LE, TS_CHECK_DIVIDES } kind; TsSpan at; TsSym text; } TsCheck;

struct TsGraph {
	TsSym name, doc;
	TsSpan at;
	TS_VEC(TsVal) params;      /* values of param nodes, which lie first in body */
	TS_VEC(TsSym) result_names;
	TS_VEC(TsValue) vals;      /* [0] unused */
	TS_VEC(TsCheck) checks;
	TsBlock body;              /* results = the graph's results in order */
};

typedef struct { TsSym name; TsType type; uint32_t file; uint64_t offset, size; TsSpan at; } TsTensorInfo; /* offset: bytes in that file */
typedef struct { TsSym name; TS_VEC(TsSym) files; /* resolved paths */ TS_VEC(TsSym) file_names; /* as written */ TS_VEC(TsTensorInfo) tensors; /* sorted by name */ TsMap by_name; /* to its index */ bool trainable; TsSpan at;
	struct TsWeightMaps *maps; /* of ir/weights.c: the files, while open */ } TsWeights;
typedef struct { TsSym name; TsType type; double init; TsSpan at; } TsState;

struct TsModule {
	TsCtx *cx;
	TsArena *arena;
	TsSym path, name;          /* name: of the artifact, from the file name */
	TsDims *dims;
	TS_VEC(TsWeights) weights;
	TS_VEC(TsState) states;
	TS_VEC(TsGraph *) graphs;
	TsNumerics numerics;       /* of the file */
	struct TsTree *source;     /* the tree it came from; NULL when built by hand */
};

TsModule *ts_module_new(TsCtx *cx);
TsGraph *ts_graph_new(TsModule *m, TsSym name); /* empty; the caller adds it to m->graphs when it is one of the module's */
/* Building. Each appends a node to `b` and infers its result types (ts_infer); on a type error it reports at `at` and returns NULL. */
TsNode *ts_node_new(TsModule *m, TsGraph *g, TsOp op, uint32_t nin, const TsVal *in, uint32_t nout); /* in no block, types open; for `for` */
/* Attributes of op at their defaults, to be changed and given to ts_add_op (which copies; NULL means these). A required one is
 * `none` until set, which ts_infer reports. */
TsAttr *ts_attrs_new(TsModule *m, TsOp op);
/* A missing trailing optional operand may be left out of in, a missing inner one is 0. num NULL: the module's. */
TsNode *ts_add_op(TsModule *m, TsGraph *g, TsBlock *b, TsOp op, uint32_t nin, const TsVal *in, const TsAttr *attr, const TsNumerics *num, TsSpan at);
TsVal ts_add_param(TsModule *m, TsGraph *g, TsSym name, TsType type, TsSpan at);
TsVal ts_add_weight(TsModule *m, TsGraph *g, TsBlock *b, uint32_t weights, TsSym name, TsType type, TsSpan at);
TsVal ts_add_const(TsModule *m, TsGraph *g, TsBlock *b, TsType type, const void *data, TsSpan at);
TsVal ts_add_scalar(TsModule *m, TsGraph *g, TsBlock *b, TsDtype t, double v, TsSpan at);  /* rank 0 literal */
TsVal ts_add_dim(TsModule *m, TsGraph *g, TsBlock *b, TsDim d, TsSpan at);
static inline TsValue *ts_val(TsGraph *g, TsVal v) { return &g->vals.p[v]; }
/* Attribute by name: of the node's op; asking for an unknown name is a bug. */
const TsAttr *ts_attr(TsModule *m, const TsNode *n, const char *name);

/* The type that sums of n run in: written (bf16@f32), by the numerics in force, else f64 for f64, f32 for other floats, int32 or int64. */
TsDtype ts_node_accum(TsModule *m, TsGraph *g, const TsNode *n);
/* The name in a weight file for a pattern such as `layer.{i + 1}.bias`, given the enclosing loops' variables; NULL if it names another. */
TsSym ts_weight_name(TsCtx *cx, TsSym pattern, uint32_t nvars, const TsSym *vars, const int64_t *vals);

/* Result types of n from its operands' types and attributes (normalising attributes: negative axes become positive).
 * Fills types of n->out; may add run-time checks to g. Reports and returns false on a mismatch. */
bool ts_infer(TsModule *m, TsGraph *g, TsNode *n);
/* Every rule of the level: defined before use, arity, types as ts_infer gives them. Reports a bug (E_INTERNAL) naming `after`. */
bool ts_verify(TsModule *m, const char *after);
bool ts_type_eq(const TsType *a, const TsType *b);
void ts_type_print(const TsModule *m, const TsType *t, TsBuf *to);
TsDim ts_type_count(TsModule *m, const TsType *t); /* number of elements */
