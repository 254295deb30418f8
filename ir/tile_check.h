/* The verifier's own interface: what tile_verify.c (statements and names), tile_expr.c (expressions, types, memory views), tile_words.c
 * and tile_words_gpu.c (one function per word), tile_affine.c (idx expressions as sums) and tile_protocol.c (rings) share. Every function
 * that returns bool has reported when it returns false. */
#pragma once
#include "ir/tile.h"
#include "support/map.h"

enum { TV_MAX_VALUES = 64, TV_MAX_TERMS = 16, TV_MAX_REGISTERS = 8192, TV_MAX_DEPTH = 200 };

/* c + sum coef * atom. Atoms are idx expressions that are no sums: names without a definition, products of two names, min, … */
typedef struct { const TsTree *atom; int64_t coef; } TvTerm;
typedef struct { bool ok; int n; int64_t c; TvTerm t[TV_MAX_TERMS]; } TvLin;

typedef struct { TsSym name; TsTree *decl; } TvName;
typedef struct {
	TsCtx *cx;
	TsTree *kernel, *role, *one;   /* role and elected block that the statement stands in, or NULL */
	int64_t warps, times, cluster; /* of the role, or of the kernel where it has none */
	int64_t threads, registers;    /* sums over the roles */
	const TsTileTarget *target;
	TS_VEC(TvName) scope;
	TS_VEC(const TsLayout *) layouts;
	TsMap lins;                    /* BIND -> TvLin of its definition */
	int32_t next_id;
	int64_t nbuf, nidx;            /* buffers, idx parameters */
	int depth;
	bool seen_grid, annotate_only;
} TsVerify;

/* One call under check: positional arguments, what is wanted of its results, what it gives. */
typedef struct {
	TsTree *call, **arg;
	uint32_t narg;
	const TsTType *want;           /* per result, form NONE when open */
	uint32_t nwant, nout;
	TsTType *out;                  /* TV_MAX_VALUES of them */
} TvCall;
typedef bool TvWord(TsVerify *v, TvCall *c);

bool tv_fail(TsVerify *v, const TsTree *at, const char *code, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
TsTInfo *tv_info(TsVerify *v, TsTree *t);                 /* the node's note, made zero on the first call of this run */
TsTree *tv_lookup(TsVerify *v, TsSym name);
bool tv_declare(TsVerify *v, TsTree *decl, TsSym name);   /* also gives it its id */
const TsLayout *tv_layout(TsVerify *v, const TsLayout *l); /* interned normal form */
const char *tv_type_text(TsVerify *v, const TsTType *t);
const char *tv_layout_text(TsVerify *v, const TsLayout *l);

bool tv_type(TsVerify *v, TsTree *type, TsTType *out);    /* of a binding: tile, scalar, idx, pos */
bool tv_mem_type(TsVerify *v, TsTree *type, TsTSpace space, TsTType *out); /* of a parameter or shared buffer */
bool tv_type_eq(const TsTType *a, const TsTType *b);
bool tv_shape_eq(const TsTType *a, const TsTType *b);     /* extents only */
/* want may be NULL or of form NONE. Ensures one value of a definite type. */
bool tv_expr(TsVerify *v, TsTree *x, const TsTType *want, TsTType *out);
bool tv_idx(TsVerify *v, TsTree *x);                      /* must be an idx */
bool tv_const(TsVerify *v, TsTree *x, int64_t *out);      /* must be a compile-time idx */
bool tv_tile(TsVerify *v, TsTree *x, TsTType *out);       /* must be a tile that is not in flight */
bool tv_mem(TsVerify *v, TsTree *x, TsTType *out);        /* must be a memory view with static extents */
bool tv_slot(TsVerify *v, TsTree *x, TsTType *out);       /* R[p] */
/* A literal, idx, scalar or tile as an operand of element type elem: annotates literals. */
bool tv_operand(TsVerify *v, TsTree *x, const TsTType *have, TsDtype elem);
bool tv_call(TsVerify *v, TvCall *c);
bool tv_pointwise(TsVerify *v, TvCall *c, int32_t op);
TvWord *tv_word(TsTileOp op);

bool tv_keywords(TsVerify *v, TvCall *c, const char *allowed); /* names separated by blanks */
TsTree *tv_keyword(const TvCall *c, const char *name);
bool tv_arity(TsVerify *v, TvCall *c, uint32_t lo, uint32_t hi);
bool tv_string(TsVerify *v, TvCall *c, const char *name, const char *choices, const char *unset, const char **out);

bool tv_string_in(TsVerify *v, const TsTree *x, const char *what, const char *choices);
bool tv_protocol(TsVerify *v);                            /* tile_protocol.c: rings, flights, fences of the whole kernel */
TvWord *tv_word_gpu(TsTileOp op);
bool tv_mma_gpu(TsVerify *v, TvCall *c, const char *atom, const TsTType *acc);
bool tv_layout_fits_warps(TsVerify *v, const TsTree *at, const TsLayout *l);
/* Values of x for every iteration of the fully unrolled loops it names: false when x depends on anything else. */
bool tv_static_values(TsVerify *v, const TsTree *x, int64_t *out, int max, int *n);

TvLin tv_lin(TsVerify *v, const TsTree *x);               /* after the expression was checked */
TvLin tv_lin_sub(const TvLin *a, const TvLin *b);
bool tv_lin_const(const TvLin *a, int64_t *out);
bool tv_same(const TsTree *a, const TsTree *b);           /* the same idx expression, names by what they refer to */
