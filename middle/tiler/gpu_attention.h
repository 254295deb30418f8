/* Attention on GPUs: what its forms share. Private to middle/tiler. */
#pragma once
#include "middle/tiler/gpu.h"

typedef enum { TS_AT_FMA, TS_AT_MMA, TS_AT_WGMMA, TS_AT_MERGE } TsAtForm;
enum { TS_AT_HEAD = 256 /* columns of the widest head */ };
enum { TS_AT_FEW_KEYS = 256 /* of one query row: one step */, TS_AT_SPANS = 16, TS_AT_MANY = 64 /* put together at a time: a few, many */ };
struct TsAtSpans;
typedef struct { TsAtForm form; int bm, bn, cap /* columns that hold a head */, warps, stages; bool wide, copies; TsDim guard; } TsAtVariant; /* bm queries, bn keys at a time */
typedef struct {
	TsJob *j;
	TsKb *k;
	const TsAtVariant *now;
	const char *ct, *X, *Y, *R, *L; /* types: scores, output, row statistics, sums: of a row, or each lane's part of it */
	TsPlace p;                  /* of the output */
	TsPlace ps;                 /* layouts of the scores */
	TsPlace parts;              /* layouts of a part of the output's columns, where they go through the region in parts */
	const char *j0, *kl;        /* the key block at hand: its first key, how many keys are left */
	bool down, top;             /* blocks are walked from the last to the first; it is that last one */
	bool fold;                  /* nothing is added to the scores, and the scale is positive or the queries take its sign: it goes into the argument of exp;
	                               not where it is known at run time alone and a mask takes the registers */
	TsWide wide;
	struct TsAtSpans *spans;    /* of one query row, or NULL */
	TsAtVariant v[TS_VARIANTS];
	int n;
} TsAt;

/* Attention of one query row in two steps. `packed` is the job whose rows are the heads that share keys. */
typedef struct { bool mma, wide; int cap; TsDim guard; } TsAtSpanForm;
typedef struct TsAtSpans {
	TsJob *j, packed;
	TsAt at;                    /* of the text that is being written */
	TsReal sums, stats;         /* of a span: weighted values [.., spans, E]; its maximum and sum [.., spans, 2] */
	TsDim is;                   /* 1 where these sizes are read in spans, else 0 */
	TsDim keys;                 /* of a span */
	TsDim n, batch[TS_MAX_RANK]; /* spans (0 where not is), cells of a batch dim */
	TsWide wide;
	int cap, forms;
	TsAtSpanForm form[5];
} TsAtSpans;

/* An operand over [rows, columns] of a tensor; k and v: the head is shared by a group. `turn`: [columns, rows]. */
TsOperand ts_at_operand(TsAt *w, const TsReal *r, const TsType *ty, bool kv, bool turn);
const char *ts_at_line(TsAt *w, const char *type, const char *fmt, ...) __attribute__((format(printf, 3, 4))); /* a fresh name of that type */
void ts_at_grid(TsAt *w, TsDim *cells);           /* the grid, the rows at qb, the keys jlo..jhi, the place of the result */
void ts_at_place(TsAt *w, int columns);           /* the result's tile at qb, so many columns from 0 */
void ts_at_offset(TsAt *w);                       /* off: where row 0 stands among the keys, if that matters */
void ts_at_key_range(TsAt *w);                    /* keys that some row at qb may see: jlo..jhi, whole blocks counted from 0 */
bool ts_at_window(const TsAt *w, long long *n);   /* is there a window? its width */
void ts_at_scale(TsAt *w);
bool ts_at_has_sign(const TsAt *w);               /* do queries take the sign of the scale, which is known at run time alone? (`turn`: 1 where it is negative and goes into the argument of exp, else 0) */
bool ts_at_is_exp2(const TsAt *w);                /* forms on matrix instructions */
bool ts_at_is_log2(const TsAt *w);                /* and of these, those whose scores are in units of log 2: nothing is added to them */
/* Statements on tile `s`, scores of the rows at qb and the keys at j: scale, bias, masks; the name of the result. */
const char *ts_at_scores(TsAt *w, const char *s);
/* Online softmax of scores s with the running maximum m and sum l (NULL: the first block): the new ones, what the sums so far shrink by, the terms. */
typedef struct { const char *m, *l, *al, *e; } TsAtSoft;
TsAtSoft ts_at_softmax(TsAt *w, const char *s, const char *m, const char *l);
/* o / l through the region: the tile to store. ts_at_finish stores it. */
/* 1/x for x > 0, within 8 ulp: enough before a value is rounded to 16 bits, and a division would bring code for every kind of operand. */
const char *ts_at_inverse(TsKb *k, const char *type, const char *x);
TsTileVal ts_at_value(TsAt *w, const char *o, const char *l);
void ts_at_finish(TsAt *w, const char *o, const char *l);
/* Columns of the result that go through the region at a time: `most`, or a half of it, and so on, as there are registers beside the sums. */
enum { TS_AT_RING_REGISTERS = 240 /* of a thread that multiplies by wgmma */ };
int ts_at_columns(TsAt *w, int most);
void ts_at_fma(TsAt *w, TsChoice *c);
void ts_at_mma(TsAt *w, TsChoice *c);
void ts_at_wgmma(TsAt *w, TsChoice *c);
void ts_at_begin(TsAt *w, TsKb *k, const TsAtVariant *v); /* the text of a variant begins */
bool ts_at_spans(TsJob *j, TsAtSpans *o);         /* emits the step that reads spans, which does nothing but where o->is. False: never */
void ts_at_merge(TsAt *w, TsChoice *c);           /* the step behind it */
void ts_at_span_grid(TsAt *w, TsChoice *c);       /* for ts_at_mma: grid and keys; what becomes of its sums */
void ts_at_span_store(TsAt *w, const char *o, const char *m, const char *l);
bool ts_at_has_maps(TsAt *w);                     /* can TMA read q, k and v? */
