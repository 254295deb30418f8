#include "emit/plan_build.h"
#include "ir/dtype.h"
#include "support/map.h"
#include <string.h>

/* the plan numbers element types as the compiler does */
#define TS_DTYPE(id, name, kind, bits, compute) _Static_assert((int)TS_PLAN_##id == (int)TS_##id, "plan types differ from ir/dtypes.def");
#include "ir/dtypes.def"

enum { STRINGS, WORDS, LONGS, DIMS, EXPRS, FILES, WEIGHTS, STATES, TENSORS, BINDS, CHECKS, ENTRIES, STEPS, CHOICES, ARGS, KERNELS, PARTS, MODULES, MAPS, FORMULAS, BUFFERS, TABLES };
static const uint32_t elem_size[TABLES] = {
	1, 4, 8, sizeof(TsPlanDim), sizeof(TsPlanExpr), sizeof(TsPlanFile), sizeof(TsPlanWeight), sizeof(TsPlanState), sizeof(TsPlanTensor),
	sizeof(TsPlanBind), sizeof(TsPlanCheck), sizeof(TsPlanEntry), sizeof(TsPlanStep), sizeof(TsPlanChoice), sizeof(TsPlanArg), sizeof(TsPlanKernel),
	sizeof(TsPlanPart), sizeof(TsPlanModule), sizeof(TsPlanMap), sizeof(TsPlanExpr), sizeof(TsPlanBuffer),
};

typedef struct { uint8_t *p; uint32_t n, cap; } Table;
struct TsPlanBuild {
	TsCtx *cx;
	Table table[TABLES];
	TsMap strings;             /* interned text -> offset + 1 */
	uint32_t *slots, n_slots;  /* open hash of expressions: number + 1 */
	uint32_t model, producer, target;
	uint64_t device_bytes, code_bytes;
	bool device;
};

/* ---- tables ---- */

static uint32_t append(TsPlanBuild *b, int which, const void *p, uint32_t n)
{
	Table *t = &b->table[which];
	uint32_t size = elem_size[which], first = t->n;
	if (n > UINT32_MAX / 2 / size - t->n)
		ts_bug(b->cx, (TsSpan){ 0 }, "plan: a table is too large");
	if (t->n + n > t->cap) {
		uint32_t cap = t->cap * 2 > t->n + n ? t->cap * 2 : t->n + n + 16;
		uint8_t *q = ts_alloc(ts_arena(b->cx), (size_t)cap * size);
		if (t->n)
			memcpy(q, t->p, (size_t)t->n * size);
		t->p = q;
		t->cap = cap;
	}
	if (n)
		memcpy(t->p + (size_t)t->n * size, p, (size_t)n * size);
	t->n += n;
	return first;
}

TsPlanBuild *ts_plan_new(TsCtx *cx, const char *model, const char *producer)
{
	TsPlanBuild *b = TS_NEW(ts_arena(cx), TsPlanBuild);
	b->cx = cx;
	append(b, STRINGS, "", 1);
	b->model = ts_plan_add_str(b, model);
	b->producer = ts_plan_add_str(b, producer);
	b->target = ts_plan_add_str(b, "cpu");
	return b;
}

uint32_t ts_plan_add_str(TsPlanBuild *b, const char *s)
{
	if (!s || !*s)
		return 0;
	uintptr_t *at = ts_map_put(ts_arena(b->cx), &b->strings, ts_intern(b->cx, s), NULL);
	if (!*at)
		*at = append(b, STRINGS, s, (uint32_t)strlen(s) + 1);
	return (uint32_t)*at;
}

uint32_t ts_plan_add_words(TsPlanBuild *b, const uint32_t *p, uint32_t n) { return append(b, WORDS, p, n); }
uint32_t ts_plan_add_longs(TsPlanBuild *b, const int64_t *p, uint32_t n) { return append(b, LONGS, p, n); }

/* ---- expressions: folded, shared ---- */

static TsPlanExpr *expr_at(TsPlanBuild *b, uint32_t i) { return (TsPlanExpr *)(void *)b->table[EXPRS].p + i; }

static uint32_t hash_expr(const TsPlanExpr *x)
{
	uint64_t h = x->kind * 0x9e3779b97f4a7c15u;
	h = (h ^ x->a) * 0xff51afd7ed558ccdu;
	h = (h ^ h >> 33 ^ x->b) * 0xc4ceb9fe1a85ec53u;
	h = (h ^ h >> 29 ^ x->c) * 0xff51afd7ed558ccdu;
	h = (h ^ h >> 33 ^ (uint64_t)x->value) * 0xc4ceb9fe1a85ec53u;
	return (uint32_t)(h >> 32);
}

static void rehash(TsPlanBuild *b)
{
	b->n_slots = b->n_slots ? b->n_slots * 2 : 256;
	b->slots = TS_NEW_N(ts_arena(b->cx), uint32_t, b->n_slots);
	for (uint32_t i = 0; i < b->table[EXPRS].n; i++) {
		uint32_t h = hash_expr(expr_at(b, i)) & (b->n_slots - 1);
		while (b->slots[h])
			h = (h + 1) & (b->n_slots - 1);
		b->slots[h] = i + 1;
	}
}

static uint32_t shared(TsPlanBuild *b, TsPlanExpr x)
{
	if (b->table[EXPRS].n * 2 >= b->n_slots)
		rehash(b);
	uint32_t h = hash_expr(&x) & (b->n_slots - 1);
	for (; b->slots[h]; h = (h + 1) & (b->n_slots - 1))
		if (memcmp(expr_at(b, b->slots[h] - 1), &x, sizeof x) == 0)
			return b->slots[h] - 1;
	uint32_t i = append(b, EXPRS, &x, 1);
	b->slots[h] = i + 1;
	return i;
}

uint32_t ts_plan_const(TsPlanBuild *b, int64_t value) { return shared(b, (TsPlanExpr){ .kind = TS_EX_CONST, .value = value }); }
uint32_t ts_plan_dim(TsPlanBuild *b, uint32_t dim) { return shared(b, (TsPlanExpr){ .kind = TS_EX_DIM, .a = dim }); }
uint32_t ts_plan_loop(TsPlanBuild *b, uint32_t var) { return shared(b, (TsPlanExpr){ .kind = TS_EX_LOOP, .a = var }); }

static bool is_const(TsPlanBuild *b, uint32_t x, int64_t *v)
{
	*v = expr_at(b, x)->value;
	return expr_at(b, x)->kind == TS_EX_CONST;
}

static bool fold(TsExprKind kind, int64_t x, int64_t y, int64_t *r)
{
	bool nonzero = y != 0 && !(x == INT64_MIN && y == -1);
	switch (kind) {
	case TS_EX_ADD: return !__builtin_add_overflow(x, y, r);
	case TS_EX_SUB: return !__builtin_sub_overflow(x, y, r);
	case TS_EX_MUL: return !__builtin_mul_overflow(x, y, r);
	case TS_EX_DIV: *r = nonzero ? x / y - (x % y && (x % y < 0) != (y < 0)) : 0; return nonzero;
	case TS_EX_MOD: *r = nonzero ? x % y + (x % y && (x % y < 0) != (y < 0) ? y : 0) : 0; return nonzero;
	case TS_EX_MIN: *r = x < y ? x : y; return true;
	case TS_EX_MAX: *r = x > y ? x : y; return true;
	case TS_EX_EQ: *r = x == y; return true;
	case TS_EX_NE: *r = x != y; return true;
	case TS_EX_LT: *r = x < y; return true;
	case TS_EX_LE: *r = x <= y; return true;
	case TS_EX_AND: *r = x && y; return true;
	case TS_EX_OR: *r = x || y; return true;
	default: return false;
	}
}

/* x op y where one side is a constant that makes the other, or a constant, the result; TS_NONE: no such luck */
static uint32_t identity(TsPlanBuild *b, TsExprKind kind, uint32_t x, uint32_t y)
{
	int64_t v;
	if (is_const(b, y, &v)) {
		if ((v == 0 && (kind == TS_EX_ADD || kind == TS_EX_SUB)) || (v == 1 && (kind == TS_EX_MUL || kind == TS_EX_DIV)))
			return x;
		if (v == 1 && kind == TS_EX_MOD)
			return ts_plan_const(b, 0);
	}
	if (is_const(b, x, &v)) {
		if ((v == 0 && kind == TS_EX_ADD) || (v == 1 && kind == TS_EX_MUL))
			return y;
		if ((v == 0 && kind == TS_EX_AND) || (v != 0 && kind == TS_EX_OR))
			return ts_plan_const(b, v != 0);
	}
	if (x == y && (kind == TS_EX_MIN || kind == TS_EX_MAX))
		return x;
	return TS_NONE;
}

uint32_t ts_plan_op(TsPlanBuild *b, TsExprKind kind, uint32_t x, uint32_t y)
{
	int64_t p, q, r;
	if (is_const(b, x, &p) && is_const(b, y, &q) && fold(kind, p, q, &r))
		return ts_plan_const(b, r);
	uint32_t same = identity(b, kind, x, y);
	return same != TS_NONE ? same : shared(b, (TsPlanExpr){ .kind = kind, .a = x, .b = y });
}

uint32_t ts_plan_select(TsPlanBuild *b, uint32_t cond, uint32_t x, uint32_t y)
{
	int64_t v;
	if (x == y || (is_const(b, cond, &v) && v))
		return x;
	if (is_const(b, cond, &v))
		return y;
	return shared(b, (TsPlanExpr){ .kind = TS_EX_SELECT, .a = cond, .b = x, .c = y });
}

uint32_t ts_plan_ceil_div(TsPlanBuild *b, uint32_t x, int64_t by)
{
	return ts_plan_op(b, TS_EX_DIV, ts_plan_op(b, TS_EX_ADD, x, ts_plan_const(b, by - 1)), ts_plan_const(b, by));
}
uint32_t ts_plan_align(TsPlanBuild *b, uint32_t x, int64_t to) { return ts_plan_op(b, TS_EX_MUL, ts_plan_ceil_div(b, x, to), ts_plan_const(b, to)); }

/* ---- records ---- */

uint32_t ts_plan_add_dim(TsPlanBuild *b, const char *name, int64_t min, int64_t max, int64_t multiple_of)
{
	TsPlanDim d = { ts_plan_add_str(b, name), 0, min, max, multiple_of };
	return append(b, DIMS, &d, 1);
}

uint32_t ts_plan_add_file(TsPlanBuild *b, const char *name, uint64_t bytes, const uint8_t sha256[32])
{
	TsPlanFile f = { .name = ts_plan_add_str(b, name), .bytes = bytes };
	memcpy(f.sha256, sha256, 32);
	return append(b, FILES, &f, 1);
}

uint32_t ts_plan_add_weight(TsPlanBuild *b, const char *name, uint32_t dtype, uint32_t rank, const int64_t *dims, TsPlanWeight rest)
{
	rest.name = ts_plan_add_str(b, name);
	rest.dtype = dtype;
	rest.rank = rank;
	rest.dims = ts_plan_add_longs(b, dims, rank);
	return append(b, WEIGHTS, &rest, 1);
}

uint32_t ts_plan_add_state(TsPlanBuild *b, TsPlanState s) { return append(b, STATES, &s, 1); }

uint32_t ts_plan_add_tensor(TsPlanBuild *b, const char *name, uint32_t dtype, uint32_t rank, const uint32_t *dim_exprs, uint32_t align, const char *where)
{
	TsPlanTensor t = { ts_plan_add_str(b, name), dtype, rank, ts_plan_add_words(b, dim_exprs, rank), align, ts_plan_add_str(b, where) };
	return append(b, TENSORS, &t, 1);
}

uint32_t ts_plan_add_bind(TsPlanBuild *b, TsPlanBind bind) { return append(b, BINDS, &bind, 1); }

uint32_t ts_plan_add_check(TsPlanBuild *b, uint32_t expr, const char *message, uint32_t wanted, uint32_t found)
{
	TsPlanCheck c = { expr, ts_plan_add_str(b, message), wanted, found };
	return append(b, CHECKS, &c, 1);
}

uint32_t ts_plan_add_kernel(TsPlanBuild *b, const char *name)
{
	TsPlanKernel k = { .name = ts_plan_add_str(b, name), .module = TS_NONE };
	return append(b, KERNELS, &k, 1);
}

uint32_t ts_plan_add_choice(TsPlanBuild *b, uint32_t guard, uint32_t kernel, uint32_t cells, uint32_t scratch, const char *label)
{
	TsPlanChoice c = { guard, kernel, cells, scratch, ts_plan_add_str(b, label), 0, { 0 } };
	return append(b, CHOICES, &c, 1);
}

uint32_t ts_plan_add_device_choice(TsPlanBuild *b, uint32_t guard, uint32_t kernel, uint32_t cells, uint32_t per_sm, const char *label)
{
	TsPlanChoice c = { guard, kernel, cells, TS_NONE, ts_plan_add_str(b, label), per_sm, { 0 } };
	return append(b, CHOICES, &c, 1);
}

void ts_plan_choice_tile(TsPlanBuild *b, uint32_t choice, const int32_t tile[3])
{
	TsPlanChoice *c = (TsPlanChoice *)(void *)b->table[CHOICES].p + choice;
	for (int i = 0; i < 3; i++)
		c->tile[i] = tile[i] > 0 ? (uint32_t)tile[i] : 0;
}

uint32_t ts_plan_add_arg(TsPlanBuild *b, TsPlanArg arg) { return append(b, ARGS, &arg, 1); }
uint32_t ts_plan_add_step(TsPlanBuild *b, TsPlanStep step) { return append(b, STEPS, &step, 1); }

uint32_t ts_plan_loop_begin(TsPlanBuild *b, uint32_t var, uint32_t lo, uint32_t hi)
{
	return ts_plan_add_step(b, (TsPlanStep){ .kind = TS_STEP_LOOP, .var = var, .lo = lo, .hi = hi });
}

void ts_plan_loop_end(TsPlanBuild *b, uint32_t begin)
{
	uint32_t end = ts_plan_add_step(b, (TsPlanStep){ .kind = TS_STEP_END, .match = begin });
	((TsPlanStep *)(void *)b->table[STEPS].p)[begin].match = end;
}

uint32_t ts_plan_add_buffer(TsPlanBuild *b, TsPlanBuffer buffer) { return append(b, BUFFERS, &buffer, 1); }
uint32_t ts_plan_add_entry(TsPlanBuild *b, TsPlanEntry entry) { return append(b, ENTRIES, &entry, 1); }

/* ---- records of devices ---- */

void ts_plan_for_device(TsPlanBuild *b, const char *target, uint64_t device_bytes, uint64_t code_bytes)
{
	b->target = ts_plan_add_str(b, target);
	b->device_bytes = device_bytes;
	b->code_bytes = code_bytes;
	b->device = true;
}

uint32_t ts_plan_add_part(TsPlanBuild *b, TsPlanPart part) { return append(b, PARTS, &part, 1); }

uint32_t ts_plan_add_module(TsPlanBuild *b, const char *name, TsPlanModule rest)
{
	rest.name = ts_plan_add_str(b, name);
	return append(b, MODULES, &rest, 1);
}

uint32_t ts_plan_add_map(TsPlanBuild *b, TsPlanMap rest, const uint32_t *dims, const uint32_t *strides, const uint32_t *box)
{
	rest.dims = ts_plan_add_words(b, dims, rest.rank);
	rest.strides = ts_plan_add_words(b, strides, rest.rank);
	rest.box = ts_plan_add_words(b, box, rest.rank);
	return append(b, MAPS, &rest, 1);
}

uint32_t ts_plan_add_device_kernel(TsPlanBuild *b, const char *name, const TsPlanExpr *formulas, uint32_t n_formulas, TsPlanKernel rest)
{
	rest.name = ts_plan_add_str(b, name);
	rest.n_maps = b->table[MAPS].n - rest.map;
	rest.n_formulas = n_formulas;
	rest.formula = append(b, FORMULAS, formulas, n_formulas);
	return append(b, KERNELS, &rest, 1);
}

uint32_t ts_plan_next_tensor(const TsPlanBuild *b) { return b->table[TENSORS].n; }
uint32_t ts_plan_next_bind(const TsPlanBuild *b) { return b->table[BINDS].n; }
uint32_t ts_plan_next_check(const TsPlanBuild *b) { return b->table[CHECKS].n; }
uint32_t ts_plan_next_choice(const TsPlanBuild *b) { return b->table[CHOICES].n; }
uint32_t ts_plan_next_arg(const TsPlanBuild *b) { return b->table[ARGS].n; }
uint32_t ts_plan_next_step(const TsPlanBuild *b) { return b->table[STEPS].n; }
uint32_t ts_plan_next_buffer(const TsPlanBuild *b) { return b->table[BUFFERS].n; }
uint32_t ts_plan_next_map(const TsPlanBuild *b) { return b->table[MAPS].n; }
uint32_t ts_plan_next_part(const TsPlanBuild *b) { return b->table[PARTS].n; }

/* ---- the blob ---- */

TsBytes ts_plan_finish(TsPlanBuild *b, uint64_t weight_bytes, uint64_t external_bytes)
{
	TsPlanHeader h = { .magic = TS_PLAN_MAGIC, .version = TS_PLAN_VERSION, .header_bytes = sizeof h, .clones = b->device ? 0 : TS_CLONES, .model = b->model, .target = b->target,
	                   .producer = b->producer, .weight_bytes = weight_bytes, .external_bytes = external_bytes,
	                   .device_bytes = b->device_bytes, .code_bytes = b->code_bytes };
	TsPlanSpan *span = &h.strings;
	uint64_t at = sizeof h;
	for (int i = 0; i < TABLES; i++) {
		span[i] = (TsPlanSpan){ (uint32_t)at, b->table[i].n };
		at = (at + (uint64_t)b->table[i].n * elem_size[i] + 7) / 8 * 8;
	}
	at = (at + 15) / 16 * 16;
	if (at > UINT32_MAX)
		ts_bug(b->cx, (TsSpan){ 0 }, "plan: larger than 4 GB");
	h.bytes = (uint32_t)at;
	uint8_t *p = ts_alloc(ts_arena(b->cx), at);
	memcpy(p, &h, sizeof h);
	for (int i = 0; i < TABLES; i++)
		if (b->table[i].n)
			memcpy(p + span[i].at, b->table[i].p, (size_t)b->table[i].n * elem_size[i]);
	const char *wrong = ts_plan_check(p, at);
	if (wrong)
		ts_bug(b->cx, (TsSpan){ 0 }, "plan: %s", wrong);
	return (TsBytes){ p, at };
}
