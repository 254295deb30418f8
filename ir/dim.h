/* Symbolic sizes. A TsDim is an interned integer polynomial over symbols, floor quotients and remainders, kept in one normal
 * form (a sorted sum of products), so two sizes are provably equal iff their handles are equal. Symbols have a range and a
 * multiple, which the normal form uses: with S multiple_of 8, 8*(S//8) is S. Handles belong to a TsDims table and are never
 * freed singly. Handle 0 is the constant 0. Arithmetic that leaves int64, or makes an expression of a hundred thousand parts, gives
 * TS_DIM_BAD, which absorbs everything. */
#pragma once
#include "support/ctx.h"

typedef uint32_t TsDim;
#define TS_DIM_BAD UINT32_MAX
typedef struct TsDims TsDims;
typedef struct { TsSym name; int64_t min, max, multiple; TsSpan at; } TsDimSym; /* max: INT64_MAX when open; multiple >= 1 */

TsDims *ts_dims_new(TsCtx *cx);
TsDim ts_dim_const(TsDims *t, int64_t v);
TsDim ts_dim_symbol(TsDims *t, TsDimSym s);           /* made once for a name; the same name again gives the same handle */
bool ts_dim_find_symbol(const TsDims *t, TsSym name, TsDim *out);
TsDim ts_dim_add(TsDims *t, TsDim a, TsDim b);
TsDim ts_dim_sub(TsDims *t, TsDim a, TsDim b);
TsDim ts_dim_mul(TsDims *t, TsDim a, TsDim b);
TsDim ts_dim_floordiv(TsDims *t, TsDim a, TsDim b);   /* floor; b provably 0 gives TS_DIM_BAD */
TsDim ts_dim_mod(TsDims *t, TsDim a, TsDim b);        /* sign of b */
TsDim ts_dim_cdiv(TsDims *t, TsDim a, TsDim b);       /* ceiling, for tiling: (a + b - 1) // b */
TsDim ts_dim_min(TsDims *t, TsDim a, TsDim b);
TsDim ts_dim_max(TsDims *t, TsDim a, TsDim b);

/* Whether the text of d can be read back: expressions of the text formats are no deeper than docs/tg.md says. */
bool ts_dim_is_short(const TsDims *t, TsDim d);
bool ts_dim_is_const(const TsDims *t, TsDim d, int64_t *v);
void ts_dim_range(const TsDims *t, TsDim d, int64_t *lo, int64_t *hi);  /* bounds; INT64_MIN/MAX when open */
typedef enum { TS_NO, TS_OPEN, TS_YES } TsTruth;
TsTruth ts_dim_eq(const TsDims *t, TsDim a, TsDim b);   /* by normal form, then by range of the difference */
TsTruth ts_dim_le(const TsDims *t, TsDim a, TsDim b);
TsTruth ts_dim_divides(const TsDims *t, int64_t k, TsDim d);  /* d % k == 0 */
/* If d is c * s for a symbol s and a constant c >= 1: true. (The sizes that a call can bind.) */
bool ts_dim_is_scaled_symbol(const TsDims *t, TsDim d, int64_t *c, uint32_t *symbol);

uint32_t ts_dim_symbol_count(const TsDims *t);
const TsDimSym *ts_dim_symbol_info(const TsDims *t, uint32_t symbol);
void ts_dim_set_max(TsDims *t, uint32_t symbol, int64_t max); /* what is made meanwhile may hold for these sizes alone */
/* Replaces symbol k by with[k] (TS_DIM_BAD keeps it). */
TsDim ts_dim_subst(TsDims *t, TsDim d, const TsDim *with);
/* Value for given symbol values; false on overflow or division by 0. */
bool ts_dim_eval(const TsDims *t, TsDim d, const int64_t *symbols, int64_t *out);
void ts_dim_print(const TsDims *t, TsDim d, TsBuf *to);        /* 2*B*S + 1, S//8 */
/* Structure, for the plan writer and the lowering: visits d as an expression tree, children first. */
typedef enum { TS_DX_CONST, TS_DX_SYMBOL, TS_DX_ADD, TS_DX_MUL, TS_DX_FLOORDIV, TS_DX_MOD, TS_DX_MIN, TS_DX_MAX } TsDimKind;
typedef struct { void *user; uint32_t (*leaf)(void *user, TsDimKind k, int64_t value_or_symbol); uint32_t (*node)(void *user, TsDimKind k, uint32_t a, uint32_t b); } TsDimVisitor;
uint32_t ts_dim_visit(const TsDims *t, TsDim d, const TsDimVisitor *v);
