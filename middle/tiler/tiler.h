/* What the schedule functions share: the state of scheduling one graph, where values live, kernel text, regions. Private to middle/tiler. */
#pragma once
#include "middle/tiler/db.h"
#include "middle/tiler/region.h"

/* Where a value is: unknown, bytes of a buffer with strides, or not computed yet and evaluated where it is used. */
typedef enum { TS_REAL_NONE, TS_REAL_VIEW, TS_REAL_INLINE } TsRealKind;
typedef struct { TsRealKind how; uint32_t buf; TsDim offset, stride[TS_MAX_RANK]; } TsReal;

typedef struct {
	TsSched *s;
	TsModule *m;
	TsCtx *cx;
	TsArena *a;
	TsDims *d;
	TsGraph *g;
	TsEntry *e;
	const TsSchedTarget *target;
	const TsTuneDb *tune;    /* of the CPU's families, or NULL */
	const TsGpuTune *gpu;    /* of a GPU, or NULL */
	TsReal *real;            /* per value */
	uint32_t *place;         /* per value: where its node stands in the text */
	TsNode **consumer;       /* per value: its only consumer in its own block, or NULL */
	uint32_t *uses;
	uint32_t *work;          /* per value evaluated in place: how many operators that takes */
	TsDim turn;              /* which iteration of the open loops this is, all counted together */
	uint32_t n_bounds;       /* GPUs: the symbols' largest values that attention takes, and those of the text */
	int64_t *bound, *open;
	bool failed;
} TsTl;

/* A kernel being written. */
typedef struct { uint32_t buf; TsDim offset; uint32_t rank; TsDim size[TS_MAX_ITER], stride[TS_MAX_ITER]; } TsParamView;
typedef struct {
	TsTl *t;
	TsBuf head, body;
	int depth;
	uint32_t ntmp;
	TS_VEC(TsParamView) params;
	TS_VEC(TsDim) nums;
	bool gpu;                   /* then: buffers begin at multiples of 16 bytes, other offsets become indices */
	int warps;                  /* of a CTA; 0: the kernel has roles */
	int ctas;                   /* that an SM shall have room for; 0: one */
	int cluster;                /* CTAs of a cluster; 0: one */
	int vec;                    /* what the variant's guard makes multiples of it: `multiple` */
	TS_VEC(TsDim) multiple;
	bool persistent;            /* the last parameter is `ctas` */
} TsKb;

/* Where a region is evaluated: a text per iteration dim, and which of them are axes of the tile. */
typedef struct {
	const char *base[TS_MAX_ITER];
	int nv, vdim[2];          /* tile axes (m, n) or (n) as iteration dims */
	int len[2];
	const char *valid[2];     /* elements left, or NULL when the tile is whole */
	const char *from[2];      /* elements of a tile of both axes that other cells have, or NULL */
	const char *pad;          /* what loads give beyond them; NULL: 0 */
	const char *lay[4];       /* by mask: 1 = m only, 2 = n only, 3 = both */
	const char *anchor;       /* accumulator's tile, and its mask */
	uint32_t anchor_mask;
	TsDtype anchor_elem;
} TsPlace;
typedef struct { const char *name; uint32_t mask; TsDtype elem; } TsTileVal;

static inline bool ts_is_one(TsTl *t, TsDim d) { return d == ts_dim_const(t->d, 1); } /* equal sizes are equal handles */

/* view.c */
bool ts_view_of(TsTl *t, const TsNode *n, TsReal *out);      /* a VIEW node over a materialised operand, as strides */
void ts_compact_strides(TsTl *t, const TsType *ty, TsDim *stride);

/* region.c */
typedef struct { TsDim off, coef[TS_MAX_ITER]; } TsIdx;       /* affine index of one axis */
void ts_region_init(TsTl *t, TsRegion *r, uint32_t niter, const TsDim *size);
/* DAG node of value v at these indices (one per axis of v). `anchor` (0: none) is the value that the kernel itself computes. */
uint32_t ts_region_value(TsTl *t, TsRegion *r, TsVal v, const TsIdx *idx, TsVal anchor);
uint32_t ts_region_leaf(TsTl *t, TsRegion *r, const TsReal *real, const TsType *ty, const TsIdx *idx);
void ts_identity_idx(TsTl *t, uint32_t first, uint32_t rank, TsIdx *idx);
/* Sets `bits` of every node on the way to `root`, which is rounded to type `to`. A value declared in 16 bits may be off by as much as rounding it would
 * not show; a wider one only where what it becomes is rounded to 16 bits: a relative error passes through products, quotients, signs and choices, not through
 * sums. No other root may be evaluated. */
void ts_region_bits(TsTl *t, TsRegion *r, uint32_t root, TsDtype to);
/* Merges neighbouring iteration dims (within [0, split) and [split, niter)) that every leaf walks as one. Returns the new split. */
uint32_t ts_region_merge(TsTl *t, TsRegion *r, uint32_t split);

/* kernel.c */
/* like: start with the same parameters (kernels of one step share them), or NULL. */
void ts_kb_init(TsKb *k, TsTl *t, const TsKb *like);
void ts_kb_line(TsKb *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ts_kb_open(TsKb *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));   /* a line that ends in `{` */
void ts_kb_close(TsKb *k, const char *after);
const char *ts_kb_dim(TsKb *k, TsDim d);                     /* literal, or the name of an idx parameter */
const char *ts_kb_tmp(TsKb *k);                              /* a fresh name */
const char *ts_kb_count_of(TsKb *k, const TsRegion *r, const char *const *base, uint32_t first); /* idx: where base lies in the dims from `first` on, row by row */
const char *ts_kb_fmt(TsKb *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *ts_kb_param(TsKb *k, uint32_t buf, TsDim offset, uint32_t rank, const TsDim *size, const TsDim *stride);
/* Ends the kernel: its text with head and target. k keeps its parameters. On GPUs idx parameters say what they are multiples of. */
TsSym ts_kb_finish(TsKb *k, const char *target);
bool ts_kb_is_address(TsKb *k, uint32_t buf, TsDim offset);  /* can a parameter point there? */
/* Adds (or finds) a kernel by its texts. */
uint32_t ts_add_kernel(TsTl *t, const char *name, const TsSym text[TS_CPU_CLONES]);
/* `grid` over dims name[i] in 0..size[i], then `rest` (more axes, as text); a grid has three axes at most, so the first dims may share one. */
void ts_kb_grid(TsKb *k, uint32_t n, const char *const *name, const TsDim *size, const char *rest, int rest_axes);
/* Writes node `id` of the region at a place; memo: one name per DAG node, cleared by the caller for each place. */
TsTileVal ts_kb_eval(TsKb *k, const TsRegion *r, uint32_t id, const TsPlace *p, TsTileVal *memo);
/* The view that a LOAD node is at a place, and what follows it there: `, valid = …`, or nothing. */
const char *ts_kb_access(TsKb *k, const TsRegion *r, uint32_t id, const TsPlace *p);
const char *ts_kb_valid(TsKb *k, uint32_t mask, const TsPlace *p);
TsTileVal ts_kb_load(TsKb *k, const TsRegion *r, uint32_t id, const TsPlace *p); /* a LOAD node as it lies in memory */
/* A leaf at a place and at `index` (an idx; with index_mask a tile of ints along those axes), which counts steps of index_stride. */
TsTileVal ts_kb_load_at(TsKb *k, const TsRegion *r, const TsRNode *n, const TsPlace *p, const char *index, uint32_t index_mask);
void ts_kb_store_at(TsKb *k, const TsRegion *r, const TsRNode *n, TsTileVal v, const TsPlace *p, const char *index);
TsTileVal ts_kb_cast(TsKb *k, TsTileVal v, TsDtype to, const TsPlace *p);
const char *ts_kb_number(TsKb *k, const TsReal *r, TsDtype elem); /* loads a value without axes; its name */
TsTileVal ts_kb_spread(TsKb *k, TsTileVal v, uint32_t mask, const TsPlace *p);  /* to a wider mask */
const char *ts_kb_type(TsKb *k, TsDtype t, uint32_t mask, const TsPlace *p);    /* f32[6, 64] @X */
/* Stores v, converted to the element type, at the place of `leaf` (a LOAD node that describes the destination). */
void ts_kb_store(TsKb *k, const TsRegion *r, uint32_t leaf, TsTileVal v, const TsPlace *p);
/* random.c: the tile of a random operator; arg: seed and step (int64 scalars), the element's number (int64). */
TsTileVal ts_kb_random(TsKb *k, const TsRNode *n, const TsTileVal arg[3], const TsPlace *p);
TsDtype ts_reg_type(TsDtype t);                              /* f16 and bf16 compute in f32 */

/* schedule.c */
uint32_t ts_new_buf(TsTl *t, TsBufKind kind, TsDtype elem, TsDim count);
TsReal ts_materialise(TsTl *t, TsVal v);                     /* strided bytes of v; emits its kernel when need be */
bool ts_is_empty(TsTl *t, TsVal v);                          /* a size is known to be 0: nothing is computed */
/* One launch; k's parameters (of the last variant: a superset) are its arguments. r: what it computes, or NULL. */
void ts_emit_step(TsTl *t, TsVal what, const TsKb *k, const TsRegion *r, const TsChoice *choices, uint32_t n);
/* The last step also completes v, if steps were added since there were `since`: v lies where several kernels wrote. */
void ts_completes(TsTl *t, TsVal v, uint32_t since);

/* What one kernel is to compute, as its region: `value` is stored at `leaf`. What only one class of operators has lies in a part of its own. */
typedef struct {
	TsTl *t;
	TsVal root;                 /* 0: a literal */
	const TsNode *n;            /* the anchor's node, or NULL */
	const char *name;
	TsRegion r;
	uint32_t value, leaf;
	struct {                    /* reductions, softmax, norms: iteration dims are the kept ones [0, split), then the reduced ones */
		uint32_t split, x, gamma, beta; /* region nodes */
		TsDtype ct;             /* type that sums are made in */
	} row;
	struct {                    /* contractions: iteration dims are batch..., m, n */
		uint32_t im, in;
		TsReal a, b;
		TsDim a_batch[TS_MAX_ITER], b_batch[TS_MAX_ITER], a_m, a_k, b_k, b_n, m, n, k; /* strides by batch dim, m, k, n; sizes */
		TsDtype ct, ae, be;
	} mm;
	struct {                    /* attention: iteration dims are batch..., head, query, column of v */
		TsReal q, key, v, mask, bias, qoff, factor;
		const TsType *qt, *kt, *vt, *mt, *bt, *ft;
		TsDim S, T, D, E, group; /* group: query heads per key head */
		uint32_t nb;             /* batch dims and the head: rank - 2 */
		TsDtype ct;
	} at;
} TsJob;

/* The regions of a class, then the schedule function that the target's family has for it (target.c): it writes the kernel (or kernels)
 * that compute `root`, whose store goes to `out`; `anchor` is the value of their own class inside root's region. */
void ts_sched_pointwise(TsTl *t, TsVal root, const TsReal *out);
void ts_sched_row(TsTl *t, TsVal root, TsVal anchor, const TsReal *out);
void ts_sched_matmul(TsTl *t, TsVal root, TsVal anchor, const TsReal *out);
void ts_sched_attention(TsTl *t, TsVal root, TsVal anchor, const TsReal *out);
void ts_sched_parts(TsTl *t, const TsNode *n, const TsReal *out);  /* concat and pad: one store per part */
bool ts_batch_invariant(const TsJob *j);                     /* must a row have the same bits in any batch up to 64? */
/* `to`, of ct: the number `scale` times attention's operand `factor`, a value without axes of that type. */
void ts_attention_factor(TsKb *k, const char *to, const char *scale, const TsReal *r, const TsType *ty, TsDtype ct);
typedef void TsScheduleFn(TsJob *j);
void ts_write_kernels(TsJob *j, TsOpClass cls);
TsScheduleFn ts_cpu_pointwise, ts_cpu_row, ts_cpu_matmul, ts_cpu_attention;
void ts_gpu_bounds(TsTl *t);                                 /* gpu_bounds.c */
void ts_gpu_narrow(TsTl *t, bool on);
TsScheduleFn ts_gpu_pointwise, ts_gpu_row, ts_gpu_matmul, ts_gpu_attention;
/* Copies value src into out elementwise. */
void ts_sched_copy(TsTl *t, TsVal src, const TsReal *out);
void ts_plan_memory(TsTl *t);
void ts_find_groups(TsTl *t);                                /* order.c: fills the entry's group */
