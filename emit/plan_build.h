/* Building a plan (rtlib/plan.h) table by table. A builder owns nothing but arena memory of its context. Expressions are folded and
 * shared as they are made: equal text, equal number. Records are added with ids already taken from the builder; what belongs together
 * (the steps of an entry, the choices and arguments of a step, binds, checks, tensors) is added in a row. ts_plan_finish checks the
 * result as the runtime will. */
#pragma once
#include "emit/emit.h"

typedef struct TsPlanBuild TsPlanBuild;

TsPlanBuild *ts_plan_new(TsCtx *cx, const char *model, const char *producer);

uint32_t ts_plan_add_str(TsPlanBuild *b, const char *s);              /* NULL and "" are 0 */
uint32_t ts_plan_add_words(TsPlanBuild *b, const uint32_t *p, uint32_t n);  /* index of the first */
uint32_t ts_plan_add_longs(TsPlanBuild *b, const int64_t *p, uint32_t n);

/* expressions; operands are results of these */
uint32_t ts_plan_const(TsPlanBuild *b, int64_t value);
uint32_t ts_plan_dim(TsPlanBuild *b, uint32_t dim);                   /* number from ts_plan_add_dim */
uint32_t ts_plan_loop(TsPlanBuild *b, uint32_t var);
uint32_t ts_plan_op(TsPlanBuild *b, TsExprKind kind, uint32_t x, uint32_t y);
uint32_t ts_plan_select(TsPlanBuild *b, uint32_t cond, uint32_t x, uint32_t y);
uint32_t ts_plan_ceil_div(TsPlanBuild *b, uint32_t x, int64_t by);    /* (x + by - 1) // by */
uint32_t ts_plan_align(TsPlanBuild *b, uint32_t x, int64_t to);       /* the next multiple */

/* records: each returns its number in its table */
uint32_t ts_plan_add_dim(TsPlanBuild *b, const char *name, int64_t min, int64_t max, int64_t multiple_of);
uint32_t ts_plan_add_file(TsPlanBuild *b, const char *name, uint64_t bytes, const uint8_t sha256[32]);
uint32_t ts_plan_add_weight(TsPlanBuild *b, const char *name, uint32_t dtype, uint32_t rank, const int64_t *dims, TsPlanWeight rest);
uint32_t ts_plan_add_state(TsPlanBuild *b, TsPlanState s);
uint32_t ts_plan_add_tensor(TsPlanBuild *b, const char *name, uint32_t dtype, uint32_t rank, const uint32_t *dim_exprs, uint32_t align,
                            const char *where);
uint32_t ts_plan_add_bind(TsPlanBuild *b, TsPlanBind bind);
uint32_t ts_plan_add_check(TsPlanBuild *b, uint32_t expr, const char *message, uint32_t wanted, uint32_t found);
uint32_t ts_plan_add_kernel(TsPlanBuild *b, const char *name);
uint32_t ts_plan_add_choice(TsPlanBuild *b, uint32_t guard, uint32_t kernel, uint32_t cells, uint32_t scratch, const char *label);
uint32_t ts_plan_add_device_choice(TsPlanBuild *b, uint32_t guard, uint32_t kernel, uint32_t cells, uint32_t per_sm, const char *label);
void ts_plan_choice_tile(TsPlanBuild *b, uint32_t choice, const int32_t tile[3]);
uint32_t ts_plan_add_arg(TsPlanBuild *b, TsPlanArg arg);
uint32_t ts_plan_add_step(TsPlanBuild *b, TsPlanStep step);           /* name etc. filled by the caller */
uint32_t ts_plan_loop_begin(TsPlanBuild *b, uint32_t var, uint32_t lo, uint32_t hi); /* the step's number, for ts_plan_loop_end */
void ts_plan_loop_end(TsPlanBuild *b, uint32_t begin);
uint32_t ts_plan_add_buffer(TsPlanBuild *b, TsPlanBuffer buffer);
uint32_t ts_plan_add_entry(TsPlanBuild *b, TsPlanEntry entry);

/* A plan for a device (rtlib/plan.h): its target, and records that the CPU's plan has none of. Formulas, maps and the kernel itself are
 * added in a row: the maps (their dims and strides count from the kernel's first formula), then the kernel with `rest.map` and its formulas. */
void ts_plan_for_device(TsPlanBuild *b, const char *target, uint64_t device_bytes, uint64_t code_bytes);
uint32_t ts_plan_add_part(TsPlanBuild *b, TsPlanPart part);
uint32_t ts_plan_add_module(TsPlanBuild *b, const char *name, TsPlanModule rest);
uint32_t ts_plan_add_map(TsPlanBuild *b, TsPlanMap rest, const uint32_t *dims, const uint32_t *strides, const uint32_t *box);
uint32_t ts_plan_add_device_kernel(TsPlanBuild *b, const char *name, const TsPlanExpr *formulas, uint32_t n_formulas, TsPlanKernel rest);

/* next number of a table, for the `first` fields of what is about to be added */
uint32_t ts_plan_next_tensor(const TsPlanBuild *b);
uint32_t ts_plan_next_bind(const TsPlanBuild *b);
uint32_t ts_plan_next_check(const TsPlanBuild *b);
uint32_t ts_plan_next_choice(const TsPlanBuild *b);
uint32_t ts_plan_next_arg(const TsPlanBuild *b);
uint32_t ts_plan_next_step(const TsPlanBuild *b);
uint32_t ts_plan_next_map(const TsPlanBuild *b);
uint32_t ts_plan_next_buffer(const TsPlanBuild *b);
uint32_t ts_plan_next_part(const TsPlanBuild *b);

/* The blob, in arena memory. weight_bytes: the embedded blob's size; external_bytes: packed external memory. Reports a bug when the plan
 * doesn't hold together. */
TsBytes ts_plan_finish(TsPlanBuild *b, uint64_t weight_bytes, uint64_t external_bytes);
