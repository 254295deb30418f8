/* Inside of the semantic pass, shared by sema*.c. */
#pragma once
#include "frontend/graph_text/sema.h"
#include "support/map.h"

/* What a name or an expression is. */
typedef enum {
	ENT_UNKNOWN,   /* something failed and was reported */
	ENT_VALUE,     /* v */
	ENT_SIZE,      /* d: an integer expression of sizes */
	ENT_INT,       /* i: a literal without type */
	ENT_FLOAT,     /* f */
	ENT_BOOL,      /* i */
	ENT_STR,       /* s */
	ENT_DTYPE,     /* i */
	ENT_NONE,
	ENT_LIST,      /* item, n */
	ENT_WEIGHTS,   /* set, s = name pattern with one `*`, or "*" */
	ENT_FN,        /* tree */
	ENT_MULTI,     /* several results: item, n */
	ENT_BUFFER,    /* in a kernel: parameter i, which lies in memory */
	ENT_RESULT,    /* in a kernel: result i, to be stored */
	ENT_TILE,      /* in a kernel: the element v everywhere, shape n and tile; it takes the sizes of what it meets */
	ENT_IOTA,      /* in a kernel: d, d + 1, … (i of them) of type set; along which variable is settled where it is used */
	ENT_PLACE,     /* in a kernel: what alloc_shared and alloc_register give; place */
} EntKind;
typedef struct Ent Ent;
struct Ent {
	EntKind kind;
	TsSpan at;
	TsVal v;
	TsDim d;
	int64_t i;
	double f;
	TsSym s;
	uint32_t set, n;
	Ent *item;
	TsTree *tree;
	TsDim *tile;                 /* sizes as written */
	bool soft;                   /* sizes of an allocation, which give way where they stand for a whole axis */
	struct KPlace *place;
};

typedef struct Scope { struct Scope *up; TsMap names; /* name -> Ent * */ bool is_call; } Scope; /* is_call: names above it are the file's only */
typedef struct OpenFor { struct OpenFor *up; TsFor *f; } OpenFor;

typedef struct {
	TsCtx *cx;
	TsArena *a;
	TsModule *m;
	TsDims *d;
	const TsSemaOptions *o;
	TsTree *file;
	Scope top;                   /* dims, consts, weights, graphs, fns, kernels */
	Scope *scope;
	TsGraph *g;
	TsBlock *b;
	const TsNumerics *num;
	OpenFor *loops;
	int64_t streams;             /* the next random operator's */
	TS_VEC(TsTree *) active;     /* fns being inlined, to refuse recursion */
	TsMap broken, used;          /* fns whose body has failed: reported once; fns that something calls */
	TsMap ended;                 /* names of for blocks that are over, for hints */
	TsMap later;                 /* dims and consts of the file that are not worked out yet: name -> tree */
	const uint8_t *solved;       /* symbols that the graph's inputs give; NULL: not known yet */
	uint32_t inlined;            /* calls so far */
	struct KSema *kernel;        /* the kernel being read, or NULL */
} Sema;

#define ENT(k, where, ...) ((Ent){ .kind = (k), .at = (where), __VA_ARGS__ })
Ent ts_s_unknown(TsSpan at);
Ent ts_s_fail(Sema *s, TsSpan at, const char *code, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
Ent ts_s_not_yet(Sema *s, TsSpan at, const char *what);
Ent *ts_s_find(Sema *s, TsSym name);
bool ts_s_bind(Sema *s, TsSym name, TsSpan at, Ent e);          /* reports E_ASSIGNED_TWICE */
Ent ts_s_unsolved(Sema *s, TsSym dim, TsSpan at);
bool ts_s_work_out(Sema *s, TsSym name);                        /* a dim or const of the file, wherever it stands; false: none such */
bool ts_s_demand_of(Sema *s, int kind, TsDim a, TsDim b, TsSpan at, const char *what); /* TS_CHECK_LE, TS_CHECK_DIVIDES */
TsSpan ts_s_call_span(TsTree *t);                               /* of a call from its own name on */
TsSpan ts_s_infix_span(Sema *s, TsTree *t);                     /* of the operator between the operands */

Ent ts_s_expr(Sema *s, TsTree *t);
Ent ts_s_call(Sema *s, TsTree *t);
Ent ts_s_op(Sema *s, TsOp op, TsSpan at, uint32_t n, const Ent *in, const TsAttr *attr);
Ent ts_s_fn(Sema *s, TsTree *fn, TsTree *call, uint32_t n, const Ent *arg, const TsSym *kw);
Ent ts_s_index(Sema *s, TsTree *t);
Ent ts_s_weight(Sema *s, TsTree *t, Ent set);                   /* x."name" */
bool ts_s_size(Sema *s, TsTree *t, TsDim *out);                 /* a size expression; reports */
bool ts_s_int(Sema *s, TsTree *t, int64_t *out);                /* a compile-time integer */
/* The entity as a graph value: literals take the type `want` (TS_DTYPE_NONE: f32 for floats, int64 for integers). 0 after reporting. */
TsVal ts_s_value(Sema *s, Ent e, TsDtype want);
bool ts_s_type(Sema *s, TsTree *t, TsType *out);                /* a tensor type; reports */
/* a == b now (true), reports when it can't be, else a check at call time. what: "x axis 1" */
bool ts_s_demand(Sema *s, TsDim wanted, TsDim found, TsSpan at, const char *what);
void ts_s_block(Sema *s, TsTree *block, Ent *results, uint32_t *nyield, uint32_t *nemit, uint32_t room);
bool ts_s_fill(Sema *s, Ent *e, const TsType *want);            /* a literal as a tensor of that type */
void ts_s_statement(Sema *s, TsTree *t);
void ts_s_dim_item(Sema *s, TsTree *dim);
const TsNumerics *ts_s_numerics(Sema *s, TsTree *attrs, const TsNumerics *outer);
Ent ts_s_for(Sema *s, TsTree *t);
bool ts_s_weights_item(Sema *s, TsTree *t);

void ts_s_items(Sema *s);                                       /* the names of s->file; dims, consts, weights worked out */
/* ts_module_from_tree, its state left in *s. */
TsModule *ts_s_module(Sema *s, TsCtx *cx, TsTree *file, const char *path, const TsSemaOptions *o);

/* ---- kernels (sema_kernel*.c; docs/tg.md, Kernels) ---- */

/* A named place of a kernel that is written more than once. cur: what it holds, ENT_NONE when nothing. */
typedef struct KPlace { TsSym name; TsSpan at; TsDtype elem; uint32_t rank; TsDim *tile; Ent cur; bool read_first, written; } KPlace;

typedef struct KSema {
	TsUserKernel *k;
	TsTree *fn;
	TS_VEC(uint32_t) open;       /* variables of the grid and of the loops around, as indices of k->vars */
	TS_VEC(KPlace *) places;
	TsTree *batch;               /* the leading product of sizes, or NULL; its size */
	TsDim batch_size;
	int batch_var, sunk_var;     /* its variable; that of the loop that became an axis of the grid; -1: none */
	uint32_t sunk_axis, depth, trial;
	bool after;                  /* behind that loop */
	bool *stored;                /* by result */
} KSema;

Ent ts_k_call(Sema *s, TsTree *fn, TsTree *call, uint32_t n, const Ent *arg, const TsSym *kw);
bool ts_k_bind_product(Sema *s, TsTree *size, TsDim found, TsSpan at, const char *what, bool *done);
Ent ts_k_for(Sema *s, TsTree *t);
bool ts_k_word(Sema *s, TsTree *t, Ent *r);                     /* a call of one of a kernel's words */
bool ts_k_word_known(TsSym name);
void ts_k_set(Sema *s, TsTree *t);
/* Operands of an operator in a kernel: sizes that are settled by others, row vectors, defaults. False: *r is the result, or an error. */
bool ts_k_operands(Sema *s, TsOp op, TsSpan at, uint32_t n, Ent *in, const TsAttr **attr, Ent *r);
TsVal ts_k_value(Sema *s, Ent e);                               /* of an entity that only kernels have */
Ent ts_k_name(Sema *s, Ent e, TsTree *t);
Ent ts_k_index_tile(Sema *s, TsTree *t, Ent x);                 /* m[:, none] of an ENT_TILE */
bool ts_k_axis_fits(Sema *s, TsDim wanted, TsDim found);        /* a written size of a tile: its variable's step, or the size */
bool ts_k_fit(Sema *s, Ent *e, uint32_t rank, const TsDim *dim, const char *what); /* ENT_TILE to a value of that shape */
bool ts_k_filled(Sema *s, Ent *e, const TsType *want);          /* a number bound to a typed name */
/* A variable that d names, with *sole: d is it; NULL: none. */
const TsTileVar *ts_k_var_in(Sema *s, TsDim d, bool *sole);
TsVal ts_k_reshape(Sema *s, TsVal v, uint32_t rank, const TsDim *dim, TsSpan at);
void ts_k_start(Sema *s, KSema *kn, TsTree *fn);
int ts_k_add_var(Sema *s, TsSym name, TsDim lo, TsDim hi, int64_t step, TsSpan at, bool grid);
bool ts_k_range(Sema *s, TsTree *range, TsDim *lo, TsDim *hi, int64_t *step);
bool ts_s_bind_param(Sema *s, TsTree *p, Ent arg);
/* Does a call fit the parameters of a fn or kernel, which is then in use? Else *why is the value of the call. */
bool ts_s_call_fits(Sema *s, TsTree *fn, TsTree *call, uint32_t n, const Ent *arg, const TsSym *kw, Ent *why);
