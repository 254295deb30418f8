/* Is a plan whole and consistent? The runtime and the compiler believe no index of a plan before this has passed. */
#include "rtlib/pack.h"

enum { PTX_SHRINKS = 256 /* times at most: LZ4 needs a byte for 255 */ };
typedef struct { const TsPlanHeader *p; const char *wrong; } Check;

/* of a dtype, as stored */
static uint32_t dtype_bits(uint32_t dtype)
{
	static const uint8_t bits[TS_PLAN_DTYPES] = {
		[TS_PLAN_F32] = 32, [TS_PLAN_F64] = 64, [TS_PLAN_F16] = 16, [TS_PLAN_BF16] = 16, [TS_PLAN_INT64] = 64, [TS_PLAN_INT32] = 32, [TS_PLAN_BOOL] = 8,
		[TS_PLAN_INT16] = 16, [TS_PLAN_INT8] = 8, [TS_PLAN_UINT8] = 8, [TS_PLAN_INT4] = 4, [TS_PLAN_FP8_E4M3] = 8, [TS_PLAN_FP8_E5M2] = 8,
		[TS_PLAN_FP6_E2M3] = 8, [TS_PLAN_FP6_E3M2] = 8, [TS_PLAN_FP4_E2M1] = 4, [TS_PLAN_COMPLEX64] = 64,
	};
	return bits[dtype];
}

static int bad(Check *c, const char *what)
{
	if (!c->wrong)
		c->wrong = what;
	return 0;
}

static void span(Check *c, TsPlanSpan s, size_t elem)
{
	if (s.at % 8 || s.at < sizeof(TsPlanHeader) || s.at > c->p->bytes || s.n > (c->p->bytes - s.at) / elem)
		bad(c, "a table lies outside the plan");
}

static void spans(Check *c)
{
	const TsPlanHeader *p = c->p;
	span(c, p->strings, 1);
	span(c, p->words, 4);
	span(c, p->longs, 8);
	span(c, p->dims, sizeof(TsPlanDim));
	span(c, p->exprs, sizeof(TsPlanExpr));
	span(c, p->files, sizeof(TsPlanFile));
	span(c, p->weights, sizeof(TsPlanWeight));
	span(c, p->states, sizeof(TsPlanState));
	span(c, p->tensors, sizeof(TsPlanTensor));
	span(c, p->binds, sizeof(TsPlanBind));
	span(c, p->checks, sizeof(TsPlanCheck));
	span(c, p->entries, sizeof(TsPlanEntry));
	span(c, p->steps, sizeof(TsPlanStep));
	span(c, p->choices, sizeof(TsPlanChoice));
	span(c, p->args, sizeof(TsPlanArg));
	span(c, p->kernels, sizeof(TsPlanKernel));
	span(c, p->parts, sizeof(TsPlanPart));
	span(c, p->modules, sizeof(TsPlanModule));
	span(c, p->maps, sizeof(TsPlanMap));
	span(c, p->formulas, sizeof(TsPlanExpr));
	span(c, p->buffers, sizeof(TsPlanBuffer));
}

static int is_expr(Check *c, uint32_t e) { return e < c->p->exprs.n || bad(c, "an expression number is out of range"); }
static int is_expr_or_none(Check *c, uint32_t e) { return e == TS_NONE || is_expr(c, e); }
static int is_str(Check *c, uint32_t s) { return s < c->p->strings.n || bad(c, "a string is out of range"); }
static int in(Check *c, uint32_t first, uint32_t n, uint32_t count) { return (first <= count && n <= count - first) || bad(c, "a record refers past its table"); }

static void words_are_exprs(Check *c, uint32_t first, uint32_t n)
{
	const uint32_t *w = TS_PLAN_TABLE(c->p, uint32_t, words);
	if (in(c, first, n, c->p->words.n))
		for (uint32_t i = 0; i < n; i++)
			is_expr(c, w[first + i]);
}

static int shape_ok(Check *c, uint32_t dtype, uint32_t rank)
{
	return (dtype < TS_PLAN_DTYPES && rank <= TS_MAX_RANK) || bad(c, "a tensor has no valid type or rank");
}

static void exprs(Check *c)
{
	const TsPlanExpr *x = TS_PLAN_TABLE(c->p, TsPlanExpr, exprs);
	for (uint32_t i = 0; i < c->p->exprs.n; i++) {
		switch (x[i].kind) {
		case TS_EX_CONST: break;
		case TS_EX_DIM: if (x[i].a >= c->p->dims.n) bad(c, "an expression names no dim"); break;
		case TS_EX_LOOP: if (x[i].a >= TS_MAX_LOOP) bad(c, "an expression names no loop variable"); break;
		case TS_EX_NUM: bad(c, "an expression uses an argument of a launch"); break;
		case TS_EX_SELECT:
			if (x[i].c >= i)
				bad(c, "an expression uses a later one");
			/* fall through */
		default:
			if (x[i].kind >= TS_EX_KINDS)
				bad(c, "unknown kind of expression");
			if (x[i].a >= i || x[i].b >= i)
				bad(c, "an expression uses a later one");
		}
	}
}

static void pack(Check *c, const TsPack *k)
{
	int64_t elems;
	if (k->kind == TS_PACK_COPY)
		return;
	if (k->kind != TS_PACK_PANELS || (k->elem != 1 && k->elem != 2 && k->elem != 4 && k->elem != 8) || !k->panel || !k->group ||
	    k->panel > 65536 || k->group > 64 || k->batch < 0 || k->k < 0 || k->n < 0)
		bad(c, "a weight has no valid packing");
	else if (__builtin_mul_overflow(k->batch, k->k, &elems) || __builtin_mul_overflow(elems, k->n, &elems))
		bad(c, "a weight is larger than memory can be");
}

/* Does packed matrix k, laid from element `first` on, stay within n elements? */
static int panels_fit(const TsPack *k, int64_t first, int64_t n)
{
	const int64_t count[3] = { k->batch, k->k, k->n }, stride[3] = { k->stride_batch, k->stride_k, k->stride_n };
	int64_t lo = first, hi = first, reach;
	if (!k->batch || !k->k || !k->n)
		return 1;
	for (int i = 0; i < 3; i++)
		if (__builtin_mul_overflow(count[i] - 1, stride[i], &reach) || __builtin_add_overflow(reach < 0 ? lo : hi, reach, reach < 0 ? &lo : &hi))
			return 0;
	return lo >= 0 && hi < n;
}

static void part(Check *c, const TsPlanWeight *w, const TsPlanPart *s)
{
	int64_t bytes;
	pack(c, &s->pack);
	if (c->wrong)
		return;
	if (s->offset > c->p->weight_bytes || s->bytes > c->p->weight_bytes - s->offset || s->first < 0)
		bad(c, "a part of a weight lies outside the weights");
	else if (s->pack.kind == TS_PACK_COPY ? s->first || s->bytes != w->bytes : s->pack.elem * (uint64_t)8 != dtype_bits(w->dtype))
		bad(c, "a part of a weight does not fit its tensor");
	else if (s->pack.kind == TS_PACK_PANELS && (!panels_fit(&s->pack, s->first, (int64_t)(w->bytes / s->pack.elem)) || !ts_pack_bytes(&s->pack, &bytes) || (uint64_t)bytes != s->bytes))
		bad(c, "a part of a weight does not fit its tensor");
}

/* what a weight of a device has beside that of the CPU */
static void device_weight(Check *c, const TsPlanWeight *w)
{
	const TsPlanPart *s = TS_PLAN_TABLE(c->p, TsPlanPart, parts);
	if (ts_plan_is_cpu(c->p) ? w->part || w->n_parts : w->offset % 256 || !in(c, w->part, w->n_parts, c->p->parts.n) || w->bytes > INT64_MAX) {
		bad(c, "a weight lies where its target has none");
		return;
	}
	if (!ts_plan_is_cpu(c->p) && w->where == TS_WEIGHT_EXTERNAL && (w->n_parts || w->pack.kind != TS_PACK_COPY || w->file_bytes != w->bytes))
		bad(c, "an external weight of a device is not its file's bytes");
	for (uint32_t i = w->part; i < w->part + w->n_parts && !c->wrong; i++)
		part(c, w, &s[i]);
}

static void weights(Check *c)
{
	const TsPlanHeader *p = c->p;
	const TsPlanFile *f = TS_PLAN_TABLE(p, TsPlanFile, files);
	const TsPlanWeight *w = TS_PLAN_TABLE(p, TsPlanWeight, weights);
	for (uint32_t i = 0; i < p->files.n; i++)
		is_str(c, f[i].name);
	for (uint32_t i = 0; i < p->weights.n; i++) {
		uint64_t limit = !ts_plan_is_cpu(p) ? p->device_bytes : w[i].where == TS_WEIGHT_EMBEDDED ? p->weight_bytes : p->external_bytes;
		if (!is_str(c, w[i].name) || !shape_ok(c, w[i].dtype, w[i].rank) || !in(c, w[i].dims, w[i].rank, p->longs.n))
			return;
		if (w[i].where > TS_WEIGHT_EXTERNAL || w[i].offset % 64 || w[i].offset > limit || w[i].bytes > limit - w[i].offset)
			bad(c, "a weight lies outside the weights");
		if (w[i].file != TS_NONE ? w[i].file >= p->files.n : w[i].where == TS_WEIGHT_EXTERNAL)
			bad(c, "a weight names no file");
		else if (w[i].file != TS_NONE && (w[i].file_offset > f[w[i].file].bytes || w[i].file_bytes > f[w[i].file].bytes - w[i].file_offset))
			bad(c, "a weight lies outside its file");
		pack(c, &w[i].pack);
		device_weight(c, &w[i]);
	}
}

static void states_and_tensors(Check *c)
{
	const TsPlanHeader *p = c->p;
	const TsPlanDim *d = TS_PLAN_TABLE(p, TsPlanDim, dims);
	const TsPlanState *s = TS_PLAN_TABLE(p, TsPlanState, states);
	const TsPlanTensor *t = TS_PLAN_TABLE(p, TsPlanTensor, tensors);
	for (uint32_t i = 0; i < p->dims.n; i++)
		if (!is_str(c, d[i].name) || d[i].min < 0 || d[i].max < 0 || d[i].multiple_of < 1)
			bad(c, "a dim has no valid range");
	for (uint32_t i = 0; i < p->states.n; i++) {
		if (is_str(c, s[i].name) && shape_ok(c, s[i].dtype, s[i].rank) && is_expr(c, s[i].bytes))
			words_are_exprs(c, s[i].dims, s[i].rank);
		if (s[i].init != TS_NONE && s[i].init >= p->weights.n)
			bad(c, "a state names no weight");
	}
	for (uint32_t i = 0; i < p->tensors.n; i++)
		if (is_str(c, t[i].name) && is_str(c, t[i].where) && shape_ok(c, t[i].dtype, t[i].rank)) {
			words_are_exprs(c, t[i].dims, t[i].rank);
			if (t[i].align & (t[i].align - 1) || t[i].align > 4096)
				bad(c, "a tensor has no valid alignment");
		}
}

static void arg(Check *c, const TsPlanEntry *e, const TsPlanArg *a)
{
	const TsPlanHeader *p = c->p;
	const uint32_t *w = TS_PLAN_TABLE(p, uint32_t, words);
	is_expr_or_none(c, a->offset);
	switch (a->kind) {
	case TS_ARG_INPUT: if (a->index >= e->n_inputs) bad(c, "an argument names no input"); break;
	case TS_ARG_OUTPUT: if (a->index >= e->n_outputs) bad(c, "an argument names no output"); break;
	case TS_ARG_STATE: if (a->index >= p->states.n) bad(c, "an argument names no state"); break;
	case TS_ARG_WORKSPACE: break;
	case TS_ARG_WEIGHT:
		is_expr_or_none(c, a->index_expr);
		if (!a->n_table || !in(c, a->table, a->n_table, p->words.n)) {
			bad(c, "an argument names no weights");
			return;
		}
		for (uint32_t i = 0; i < a->n_table; i++)
			if (w[a->table + i] >= p->weights.n)
				bad(c, "an argument names no weight");
		break;
	default: bad(c, "unknown kind of argument");
	}
}

/* what a kernel's maps and formulas ask of a launch; CPU kernels have none */
static void device_launch(Check *c, const TsPlanStep *s, const TsPlanChoice *choice)
{
	const TsPlanKernel *k = TS_PLAN_TABLE(c->p, TsPlanKernel, kernels) + choice->kernel;
	const TsPlanMap *m = TS_PLAN_TABLE(c->p, TsPlanMap, maps);
	const TsPlanExpr *f = TS_PLAN_TABLE(c->p, TsPlanExpr, formulas);
	if (!choice->per_sm != !(k->flags & TS_KERNEL_PERSISTENT) || choice->per_sm > 64)
		bad(c, "a launch does not say how many CTAs its kernel has");
	if (!ts_plan_is_cpu(c->p) && choice->scratch != TS_NONE)
		bad(c, "a kernel of a device asks for scratch memory");
	for (uint32_t i = k->map; i < k->map + k->n_maps; i++)
		if (m[i].arg >= s->n_args)
			bad(c, "a tensor map names no argument");
	for (uint32_t i = k->formula; i < k->formula + k->n_formulas; i++)
		if (f[i].kind == TS_EX_NUM && f[i].a >= s->n_nums)
			bad(c, "a formula names no argument of the launch");
}

static void launch(Check *c, const TsPlanEntry *e, const TsPlanStep *s)
{
	const TsPlanHeader *p = c->p;
	const TsPlanChoice *k = TS_PLAN_TABLE(p, TsPlanChoice, choices);
	const TsPlanArg *a = TS_PLAN_TABLE(p, TsPlanArg, args);
	is_str(c, s->name);
	is_str(c, s->values);
	is_str(c, s->text);
	is_str(c, s->operands);
	words_are_exprs(c, s->num, s->n_nums);
	words_are_exprs(c, s->cost, s->n_cost);
	if (s->n_cost && s->n_cost != 3)
		bad(c, "a step has a cost of another form");
	if (!in(c, s->choice, s->n_choices, p->choices.n) || !in(c, s->arg, s->n_args, p->args.n))
		return;
	for (uint32_t i = s->choice; i < s->choice + s->n_choices; i++) {
		is_str(c, k[i].label);
		is_expr_or_none(c, k[i].guard);
		is_expr(c, k[i].cells);
		is_expr_or_none(c, k[i].scratch);
		if (k[i].kernel >= p->kernels.n)
			bad(c, "a step names no kernel");
		else
			device_launch(c, s, &k[i]);
	}
	for (uint32_t i = s->arg; i < s->arg + s->n_args; i++)
		arg(c, e, &a[i]);
}

/* steps [first, first + n): loops nest, and a variable is used by one loop at a time */
static void steps(Check *c, const TsPlanEntry *e)
{
	const TsPlanStep *s = TS_PLAN_TABLE(c->p, TsPlanStep, steps);
	uint32_t open[TS_MAX_LOOP], depth = 0, used = 0;
	for (uint32_t i = e->step; i < e->step + e->n_steps; i++) {
		if (s[i].kind == TS_STEP_LAUNCH) {
			launch(c, e, &s[i]);
		} else if (s[i].kind == TS_STEP_LOOP) {
			is_expr(c, s[i].lo);
			is_expr(c, s[i].hi);
			if (depth == TS_MAX_LOOP || s[i].var >= TS_MAX_LOOP || used >> s[i].var & 1) {
				bad(c, "a loop has no variable of its own");
				return;
			}
			used |= 1u << s[i].var;
			open[depth++] = i;
		} else if (s[i].kind == TS_STEP_END && depth && s[i].match == open[depth - 1] && s[s[i].match].match == i) {
			used &= ~(1u << s[open[--depth]].var);
		} else {
			bad(c, "loops are not nested");
			return;
		}
	}
	if (depth)
		bad(c, "a loop has no end");
}

static void buffers(Check *c, const TsPlanEntry *e)
{
	const TsPlanBuffer *b = TS_PLAN_TABLE(c->p, TsPlanBuffer, buffers);
	if (!in(c, e->buffer, e->n_buffers, c->p->buffers.n))
		return;
	for (uint32_t i = e->buffer; i < e->buffer + e->n_buffers; i++) {
		is_str(c, b[i].name);
		is_expr(c, b[i].offset);
		is_expr(c, b[i].bytes);
		if (b[i].first < e->step || b[i].first > b[i].last || b[i].last >= e->step + e->n_steps)
			bad(c, "a buffer lives outside its entry");
	}
}

static void entries(Check *c)
{
	const TsPlanHeader *p = c->p;
	const TsPlanEntry *e = TS_PLAN_TABLE(p, TsPlanEntry, entries);
	const TsPlanTensor *t = TS_PLAN_TABLE(p, TsPlanTensor, tensors);
	const TsPlanBind *b = TS_PLAN_TABLE(p, TsPlanBind, binds);
	const TsPlanCheck *k = TS_PLAN_TABLE(p, TsPlanCheck, checks);
	for (uint32_t i = 0; i < p->entries.n && !c->wrong; i++) {
		is_str(c, e[i].name);
		is_str(c, e[i].doc);
		is_expr(c, e[i].workspace);
		if (e[i].n_inputs > 1u << 20 || e[i].n_outputs > 1u << 20 || !in(c, e[i].tensor, e[i].n_inputs + e[i].n_outputs, p->tensors.n) ||
		    !in(c, e[i].bind, e[i].n_binds, p->binds.n) || !in(c, e[i].check, e[i].n_checks, p->checks.n) ||
		    !in(c, e[i].step, e[i].n_steps, p->steps.n)) {
			bad(c, "an entry refers past its tables");
			return;
		}
		for (uint32_t j = e[i].bind; j < e[i].bind + e[i].n_binds; j++)
			if (b[j].dim >= p->dims.n || b[j].tensor >= e[i].n_inputs + e[i].n_outputs || b[j].axis >= t[e[i].tensor + b[j].tensor].rank || b[j].mul < 1)
				bad(c, "a bind names no axis");
		for (uint32_t j = e[i].check; j < e[i].check + e[i].n_checks; j++) {
			is_expr(c, k[j].expr);
			is_str(c, k[j].message);
			is_expr_or_none(c, k[j].wanted);
			is_expr_or_none(c, k[j].found);
		}
		steps(c, &e[i]);
		buffers(c, &e[i]);
	}
}

/* formulas of kernel k: in themselves as expressions are, but over nums and constants alone */
static void formulas(Check *c, const TsPlanKernel *k)
{
	const TsPlanExpr *f = TS_PLAN_TABLE(c->p, TsPlanExpr, formulas);
	if (k->n_formulas > TS_MAX_FORMULAS || !in(c, k->formula, k->n_formulas, c->p->formulas.n)) {
		bad(c, "a kernel has no valid formulas");
		return;
	}
	for (uint32_t i = 0; i < k->n_formulas; i++) {
		const TsPlanExpr *x = &f[k->formula + i];
		if (x->kind >= TS_EX_KINDS || x->kind == TS_EX_DIM || x->kind == TS_EX_LOOP)
			bad(c, "a formula holds more than arguments of the launch");
		else if (x->kind != TS_EX_CONST && x->kind != TS_EX_NUM && (x->a >= i || x->b >= i || (x->kind == TS_EX_SELECT && x->c >= i)))
			bad(c, "a formula uses a later one");
	}
}

static void map(Check *c, const TsPlanKernel *k, const TsPlanMap *m)
{
	const uint32_t *w = TS_PLAN_TABLE(c->p, uint32_t, words);
	const uint32_t n = c->p->words.n;
	if (m->dtype >= TS_PLAN_DTYPES || !m->rank || m->rank > TS_MAP_RANK || (m->swizzle && m->swizzle != 32 && m->swizzle != 64 && m->swizzle != 128) ||
	    !in(c, m->dims, m->rank, n) || !in(c, m->strides, m->rank, n) || !in(c, m->box, m->rank, n)) {
		bad(c, "a tensor map is not valid");
		return;
	}
	for (uint32_t i = 0; i < m->rank; i++)
		if (w[m->dims + i] >= k->n_formulas || w[m->strides + i] >= k->n_formulas || !w[m->box + i] || w[m->box + i] > 256)
			bad(c, "a tensor map is not valid");
}

static void device_kernel(Check *c, const TsPlanKernel *k)
{
	const TsPlanMap *m = TS_PLAN_TABLE(c->p, TsPlanMap, maps);
	if (k->module >= c->p->modules.n || k->flags & ~(uint32_t)TS_KERNEL_PERSISTENT || !k->threads || k->threads % 32 || k->threads > 1024 ||
	    !k->cluster || k->cluster > 16 || k->shared_bytes > 1u << 20 || k->n_maps > TS_MAX_MAPS || !in(c, k->map, k->n_maps, c->p->maps.n)) {
		bad(c, "a kernel cannot be launched");
		return;
	}
	formulas(c, k);
	for (uint32_t i = k->map; i < k->map + k->n_maps && !c->wrong; i++)
		map(c, k, &m[i]);
}

static int code_fits(Check *c, uint64_t at, uint64_t n) { return at % 64 == 0 && at <= c->p->code_bytes && n <= c->p->code_bytes - at; }

static void kernels(Check *c)
{
	const TsPlanKernel *k = TS_PLAN_TABLE(c->p, TsPlanKernel, kernels);
	const TsPlanModule *m = TS_PLAN_TABLE(c->p, TsPlanModule, modules);
	for (uint32_t i = 0; i < c->p->modules.n; i++)
		if (!is_str(c, m[i].name) || m[i].flags > TS_MODULE_EXACT || !code_fits(c, m[i].cubin, m[i].cubin_bytes) || !code_fits(c, m[i].ptx, m[i].ptx_bytes) ||
		    !(m[i].cubin_bytes | m[i].ptx_bytes))
			bad(c, "a module lies outside the device's code");
		else if (m[i].ptx_text / PTX_SHRINKS > m[i].ptx_bytes || !m[i].ptx_text != !m[i].ptx_bytes)
			bad(c, "a module's PTX has no such size");
	for (uint32_t i = 0; i < c->p->kernels.n; i++) {
		is_str(c, k[i].name);
		if (!ts_plan_is_cpu(c->p))
			device_kernel(c, &k[i]);
		else if (k[i].module != TS_NONE || k[i].flags || k[i].n_maps || k[i].n_formulas || k[i].threads || k[i].map || k[i].formula)
			bad(c, "a kernel of the CPU has what a device's has");
	}
}

/* "cpu" has kernels for each clone, a device none */
static int target_ok(Check *c)
{
	const char *t = ts_plan_str(c->p, c->p->target);
	int cpu = t[0] == 'c' && t[1] == 'p' && t[2] == 'u' && !t[3];
	return is_str(c, c->p->target) && *t && c->p->clones == (cpu ? TS_CLONES : 0);
}

const char *ts_plan_check(const void *blob, size_t size)
{
	Check c = { blob, NULL };
	const TsPlanHeader *p = blob;
	const char magic[8] = TS_PLAN_MAGIC;
	if (size < sizeof *p || (uintptr_t)blob % 8)
		return "too small for a plan";
	for (int i = 0; i < 8; i++)
		if (p->magic[i] != magic[i])
			return "not a plan";
	if (p->version != TS_PLAN_VERSION || p->header_bytes != sizeof *p || (p->clones && p->clones != TS_CLONES))
		return "a plan of another version";
	if (p->bytes > size)
		return "the plan is cut off";
	spans(&c);
	if (c.wrong)
		return c.wrong;
	if (!p->strings.n || ((const char *)p)[p->strings.at + p->strings.n - 1] || ((const char *)p)[p->strings.at])
		return "the strings are not terminated";
	if (p->dims.n > TS_MAX_DIMS)
		return "too many dims";
	is_str(&c, p->model);
	is_str(&c, p->producer);
	if (!target_ok(&c))
		bad(&c, "it has no valid target");
	exprs(&c);
	weights(&c);
	states_and_tensors(&c);
	kernels(&c);
	if (!c.wrong)
		entries(&c);
	return c.wrong;
}
