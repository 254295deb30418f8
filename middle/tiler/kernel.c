#include "middle/tiler/tiler.h"
#include <string.h>

void ts_kb_init(TsKb *k, TsTl *t, const TsKb *like)
{
	*k = (TsKb){ .t = t, .depth = 1, .gpu = t->target->family != TS_FAMILY_CPU };
	if (!like) return;
	for (uint32_t i = 0; i < like->params.n; i++) ts_push(t->a, &k->params, like->params.p[i]);
	for (uint32_t i = 0; i < like->nums.n; i++) ts_push(t->a, &k->nums, like->nums.p[i]);
}

static void indent(TsKb *k)
{
	for (int i = 0; i < k->depth; i++) ts_buf_str(&k->body, "  ");
}

void ts_kb_line(TsKb *k, const char *fmt, ...)
{
	va_list ap;
	indent(k);
	va_start(ap, fmt);
	ts_buf_vfmt(&k->body, fmt, ap);
	va_end(ap);
	ts_buf_char(&k->body, '\n');
}

void ts_kb_open(TsKb *k, const char *fmt, ...)
{
	va_list ap;
	indent(k);
	va_start(ap, fmt);
	ts_buf_vfmt(&k->body, fmt, ap);
	va_end(ap);
	ts_buf_str(&k->body, " {\n");
	k->depth++;
}

void ts_kb_close(TsKb *k, const char *after)
{
	k->depth--;
	indent(k);
	ts_buf_fmt(&k->body, "}%s\n", after);
}

const char *ts_kb_fmt(TsKb *k, const char *fmt, ...)
{
	TsBuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	ts_buf_vfmt(&b, fmt, ap);
	va_end(ap);
	const char *s = ts_strndup(k->t->a, b.p ? b.p : "", b.n);
	ts_buf_free(&b);
	return s;
}

const char *ts_kb_dim(TsKb *k, TsDim d)
{
	int64_t v;
	if (ts_dim_is_const(k->t->d, d, &v)) return ts_kb_fmt(k, "%lld", (long long)v);
	for (uint32_t i = 0; i < k->nums.n; i++)
		if (k->nums.p[i] == d) return ts_kb_fmt(k, "d%u", i);
	ts_push(k->t->a, &k->nums, d);
	return ts_kb_fmt(k, "d%u", k->nums.n - 1);
}

const char *ts_kb_tmp(TsKb *k) { return ts_kb_fmt(k, "t%u", k->ntmp++); }

const char *ts_kb_count_of(TsKb *k, const TsRegion *r, const char *const *base, uint32_t first)
{
	const char *at = ts_kb_tmp(k);
	TsDim step = ts_dim_const(k->t->d, 1);
	TsBuf b = { 0 };
	for (uint32_t d = r->niter; d-- > first; step = ts_dim_mul(k->t->d, step, r->size[d])) {
		ts_buf_fmt(&b, "%s%s", b.n ? " + " : "", base[d]);
		if (!ts_is_one(k->t, step)) ts_buf_fmt(&b, "*%s", ts_kb_dim(k, step));
	}
	ts_kb_line(k, "%s: idx = %s", at, b.p);
	ts_buf_free(&b);
	return at;
}

const char *ts_kb_param(TsKb *k, uint32_t buf, TsDim offset, uint32_t rank, const TsDim *size, const TsDim *stride)
{
	TsParamView v;
	memset(&v, 0, sizeof v);
	v.buf = buf;
	v.offset = offset;
	v.rank = rank;
	for (uint32_t i = 0; i < rank; i++) { /* rank 0 has no lists */
		v.size[i] = size[i];
		v.stride[i] = stride[i];
	}
	for (uint32_t i = 0; i < k->params.n; i++)
		if (!memcmp(&k->params.p[i], &v, sizeof v)) return ts_kb_fmt(k, "P%u", i);
	ts_push(k->t->a, &k->params, v);
	return ts_kb_fmt(k, "P%u", k->params.n - 1);
}

static bool is_row_major(TsTl *t, const TsParamView *v)
{
	TsDim s = ts_dim_const(t->d, 1);
	for (uint32_t i = v->rank; i > 0; i--) {
		if (v->stride[i - 1] != s) return false;
		s = ts_dim_mul(t->d, s, v->size[i - 1]);
	}
	return true;
}

static void print_param(TsKb *k, uint32_t i, TsBuf *to)
{
	const TsParamView v = k->params.p[i];
	TsDtype elem = k->t->e->bufs.p[v.buf].elem;
	ts_buf_fmt(to, "%sP%u: %s[", i ? ", " : "", i, ts_dtype_name(elem == TS_COMPLEX64 ? TS_INT64 : elem));
	for (uint32_t j = 0; j < v.rank; j++) ts_buf_fmt(to, "%s%s", j ? ", " : "", ts_kb_dim(k, v.size[j]));
	ts_buf_str(to, "]");
	if (!v.rank || is_row_major(k->t, &v)) return;
	ts_buf_str(to, " @strides(");
	for (uint32_t j = 0; j < v.rank; j++) ts_buf_fmt(to, "%s%s", j ? ", " : "", ts_kb_dim(k, v.stride[j]));
	ts_buf_str(to, ")");
}

/* What an idx parameter is surely a multiple of: by its own form, or by the guard of the variant. */
static int64_t multiple_of(TsKb *k, TsDim d)
{
	int64_t n = 64;
	while (n > 1 && ts_dim_divides(k->t->d, n, d) != TS_YES) n /= 2;
	for (uint32_t i = 0; i < k->multiple.n; i++)
		if (k->multiple.p[i] == d && n < k->vec) n = k->vec;
	return n;
}

TsSym ts_kb_finish(TsKb *k, const char *target)
{
	TsBuf b = { 0 };
	ts_buf_str(&b, "tile 1\n\nkernel k(");
	for (uint32_t i = 0; i < k->params.n; i++) print_param(k, i, &b);
	for (uint32_t i = 0; i < k->nums.n; i++) {
		int64_t n = k->gpu ? multiple_of(k, k->nums.p[i]) : 1;
		ts_buf_fmt(&b, "%sd%u: idx", i || k->params.n ? ", " : "", i);
		if (n > 1) ts_buf_fmt(&b, " @multiple(%lld)", (long long)n);
	}
	if (k->persistent) ts_buf_str(&b, k->params.n || k->nums.n ? ", ctas: idx" : "ctas: idx");
	ts_buf_str(&b, ") {\n");
	ts_buf_add(&b, k->body.p, k->body.n);
	ts_buf_fmt(&b, "} { target = \"%s\"", target);
	if (k->warps) ts_buf_fmt(&b, ", warps = %d", k->warps);
	if (k->cluster > 1) ts_buf_fmt(&b, ", cluster = %d", k->cluster);
	if (k->ctas > 1) ts_buf_fmt(&b, ", ctas = %d", k->ctas);
	ts_buf_str(&b, " }\n");
	TsSym s = ts_intern_n(k->t->cx, b.p, b.n);
	ts_buf_free(&b);
	ts_buf_free(&k->body);
	return s;
}

uint32_t ts_add_kernel(TsTl *t, const char *name, const TsSym text[TS_CPU_CLONES])
{
	TsSched *s = t->s;
	TsSym key = ts_intern_fmt(t->cx, "%p %p %p", (const void *)text[0], (const void *)text[1], (const void *)text[2]);
	bool fresh;
	uintptr_t *at = ts_map_put(t->a, &s->by_text, key, &fresh);
	if (!fresh) return (uint32_t)*at;
	TsKernel q = { .name = ts_intern_fmt(t->cx, "%s_%u", name, s->kernels.n) };
	for (int i = 0; i < TS_CPU_CLONES; i++) q.text[i] = text[i];
	*at = s->kernels.n;
	ts_push(t->a, &s->kernels, q);
	return s->kernels.n - 1;
}

void ts_kb_grid(TsKb *k, uint32_t n, const char *const *name, const TsDim *size, const char *rest, int rest_axes)
{
	TsDims *d = k->t->d;
	uint32_t own = (uint32_t)(3 - rest_axes), merged = n > own ? n - own + 1 : 0;
	TsBuf b = { 0 };
	TsDim all = ts_dim_const(d, 1);
	for (uint32_t i = 0; i < merged; i++) all = ts_dim_mul(d, all, size[i]);
	if (merged) ts_buf_fmt(&b, "cell in 0..%s", ts_kb_dim(k, all));
	for (uint32_t i = merged; i < n; i++) ts_buf_fmt(&b, "%s%s in 0..%s", i ? ", " : "", name[i], ts_kb_dim(k, size[i]));
	if (*rest) ts_buf_fmt(&b, "%s%s", n ? ", " : "", rest);
	ts_kb_line(k, "grid %s", b.p);
	ts_buf_free(&b);
	const char *left = "cell";
	for (uint32_t i = merged; i > 0; i--) { /* the last of them varies fastest */
		if (i == 1) { ts_kb_line(k, "%s: idx = %s", name[0], left); break; }
		const char *s = ts_kb_dim(k, size[i - 1]), *next = ts_kb_tmp(k);
		ts_kb_line(k, "%s: idx = %s %% %s", name[i - 1], left, s);
		ts_kb_line(k, "%s: idx = %s // %s", next, left, s);
		left = next;
	}
}

TsDtype ts_reg_type(TsDtype t) { return t == TS_F16 || t == TS_BF16 ? TS_F32 : t; }

/* Kernels move complex numbers as the 64 bits they are. */
static TsDtype bits_type(TsDtype t) { return t == TS_COMPLEX64 ? TS_INT64 : t; }

const char *ts_kb_type(TsKb *k, TsDtype t, uint32_t mask, const TsPlace *p)
{
	const char *e = ts_dtype_name(t);
	if (!mask) return ts_kb_fmt(k, "%s[]", e);
	if (p->nv == 1) return ts_kb_fmt(k, "%s[%d] @%s", e, p->len[0], p->lay[mask]);
	if (mask == 1) return ts_kb_fmt(k, "%s[%d] @%s", e, p->len[0], p->lay[1]);
	if (mask == 2) return ts_kb_fmt(k, "%s[%d] @%s", e, p->len[1], p->lay[2]);
	return ts_kb_fmt(k, "%s[%d, %d] @%s", e, p->len[0], p->len[1], p->lay[3]);
}

TsTileVal ts_kb_spread(TsKb *k, TsTileVal v, uint32_t mask, const TsPlace *p)
{
	if (v.mask == mask || !v.mask) return v; /* scalars splat by themselves */
	const char *n = ts_kb_tmp(k);
	ts_kb_line(k, "%s: %s = bcast(%s, dims = [%d])", n, ts_kb_type(k, v.elem, mask, p), v.name, v.mask == 1 ? 0 : 1);
	return (TsTileVal){ n, mask, v.elem };
}

TsTileVal ts_kb_cast(TsKb *k, TsTileVal v, TsDtype to, const TsPlace *p)
{
	if (v.elem == to) return v;
	const char *n = ts_kb_tmp(k);
	ts_kb_line(k, "%s: %s = cast(%s, %s)", n, ts_kb_type(k, to, v.mask, p), v.name, ts_dtype_name(to));
	return (TsTileVal){ n, v.mask, to };
}

/* Which tile axes an affine leaf moves along. */
static uint32_t leaf_mask(const TsRNode *n, const TsPlace *p)
{
	uint32_t mask = 0;
	for (int i = 0; i < p->nv; i++)
		if (n->coef[p->vdim[i]]) mask |= 1u << i;
	return mask;
}

/* The axes of a leaf's param view while its access is written: text, size and stride each. */
typedef struct { uint32_t n; const char *text[TS_MAX_ITER + 2]; TsDim size[TS_MAX_ITER + 2], stride[TS_MAX_ITER + 2]; bool tile[TS_MAX_ITER + 2]; } Axes;

static void add_axis(Axes *a, const char *text, TsDim size, TsDim stride, bool tile)
{
	a->text[a->n] = text;
	a->size[a->n] = size;
	a->stride[a->n] = stride;
	a->tile[a->n++] = tile;
}

/* A buffer of Tile IR has four axes at most: the first uniform axes become one, indexed by the element offset they add up to. */
static void fold_axes(TsKb *k, Axes *a)
{
	enum { MOST = 4 };
	TsDims *d = k->t->d;
	TsDim one = ts_dim_const(d, 1), reach = one;
	TsBuf at = { 0 };
	uint32_t kept = 0, over = a->n - (MOST - 1);
	if (a->n <= MOST) return;
	for (uint32_t i = 0; i < a->n; i++) {
		if (over && !a->tile[i]) {
			ts_buf_fmt(&at, "%s%s*%s", at.n ? " + " : "", a->text[i], ts_kb_dim(k, a->stride[i]));
			reach = ts_dim_add(d, reach, ts_dim_mul(d, ts_dim_sub(d, a->size[i], one), a->stride[i]));
			over--;
			continue;
		}
		a->text[kept] = a->text[i];
		a->size[kept] = a->size[i];
		a->stride[kept] = a->stride[i];
		a->tile[kept++] = a->tile[i];
	}
	for (uint32_t i = kept; i > 0; i--) {
		a->text[i] = a->text[i - 1];
		a->size[i] = a->size[i - 1];
		a->stride[i] = a->stride[i - 1];
	}
	a->text[0] = ts_strndup(k->t->a, at.p, at.n);
	a->size[0] = reach;
	a->stride[0] = one;
	a->n = kept + 1;
	ts_buf_free(&at);
}

/* Half a byte has no address, and on GPUs a buffer begins at a multiple of 16 bytes. */
bool ts_kb_is_address(TsKb *k, uint32_t buf, TsDim offset)
{
	int bits = ts_dtype_bits(k->t->e->bufs.p[buf].elem);
	if (!offset) return true;
	return bits >= 8 && (!k->gpu || ts_dim_divides(k->t->d, bits >= 128 ? 1 : 128 / bits, offset) == TS_YES);
}

const char *ts_kb_number(TsKb *k, const TsReal *r, TsDtype elem)
{
	TsDim one = ts_dim_const(k->t->d, 1), size = ts_dim_add(k->t->d, r->offset, one);
	const char *n = ts_kb_tmp(k), *p = ts_kb_is_address(k, r->buf, r->offset) ? ts_kb_param(k, r->buf, r->offset, 0, NULL, NULL)
		: ts_kb_fmt(k, "%s[%s]", ts_kb_param(k, r->buf, 0, 1, &size, &one), ts_kb_dim(k, r->offset));
	ts_kb_line(k, "%s: %s[] = load(%s)", n, ts_dtype_name(elem), p);
	return n;
}

/* `P[i0, n:n + 64]` over the iteration dims that the leaf moves along; others are not axes of its param view. extra: a gather's index. */
static const char *access(TsKb *k, const TsRegion *r, const TsRNode *n, const TsPlace *p, const char *extra, uint32_t index_mask)
{
	bool extra_tile = index_mask != 0;
	Axes a = { 0 };
	TsBuf at = { 0 };
	TsDim offset = n->offset;
	bool last = extra_tile && p->nv > 1 && index_mask == 2; /* it stands for the second axis of the tile */
	if (extra && !last) add_axis(&a, extra, n->index_size, n->index_stride, extra_tile);
	if (!ts_kb_is_address(k, n->buf, offset)) { /* the offset becomes an index */
		add_axis(&a, ts_kb_dim(k, offset), ts_dim_add(k->t->d, offset, ts_dim_const(k->t->d, 1)), ts_dim_const(k->t->d, 1), false);
		offset = 0;
	}
	for (uint32_t i = 0; i < r->niter; i++) {
		if (!n->coef[i]) continue;
		int v = p->nv > 0 && p->vdim[0] == (int)i ? 0 : p->nv > 1 && p->vdim[1] == (int)i ? 1 : -1;
		add_axis(&a, v < 0 ? p->base[i] : ts_kb_fmt(k, "%s:%s + %d", p->base[i], p->base[i], p->len[v]), r->size[i], n->coef[i], v >= 0);
	}
	if (extra && last) add_axis(&a, extra, n->index_size, n->index_stride, true);
	fold_axes(k, &a);
	const char *name = ts_kb_param(k, n->buf, offset, a.n, a.size, a.stride);
	for (uint32_t i = 0; i < a.n; i++) ts_buf_fmt(&at, "%s%s", i ? ", " : "", a.text[i]);
	const char *s = a.n ? ts_kb_fmt(k, "%s[%s]", name, at.p) : name;
	ts_buf_free(&at);
	return s;
}

static const char *valid_text(TsKb *k, uint32_t mask, const TsPlace *p)
{
	const char *a = mask & 1 ? p->valid[0] : NULL, *b = p->nv > 1 && mask & 2 ? p->valid[1] : NULL;
	if (mask == 3 && (a || b || p->from[0] || p->from[1])) {
		const char *from = p->from[0] || p->from[1] ? ts_kb_fmt(k, ", from = [%s, %s]", p->from[0] ? p->from[0] : "0", p->from[1] ? p->from[1] : "0") : "";
		return a || b ? ts_kb_fmt(k, ", valid = [%s, %s]%s", a ? a : ts_kb_fmt(k, "%d", p->len[0]), b ? b : ts_kb_fmt(k, "%d", p->len[1]), from) : from;
	}
	return a || b ? ts_kb_fmt(k, ", valid = %s", a ? a : b) : "";
}

const char *ts_kb_access(TsKb *k, const TsRegion *r, uint32_t id, const TsPlace *p) { return access(k, r, &r->nodes.p[id], p, NULL, 0); }

const char *ts_kb_valid(TsKb *k, uint32_t mask, const TsPlace *p) { return valid_text(k, mask, p); }

static TsTileVal load_leaf(TsKb *k, const TsRegion *r, const TsRNode *n, const TsPlace *p, const char *index, uint32_t index_mask)
{
	uint32_t mask = leaf_mask(n, p) | index_mask;
	const char *t = ts_kb_tmp(k);
	TsTileVal v = { t, mask, bits_type(n->elem) };
	const char *valid = valid_text(k, mask, p), *pad = p->pad && *valid ? ts_kb_fmt(k, ", pad = %s", p->pad) : "";
	ts_kb_line(k, "%s: %s = load(%s%s%s)", t, ts_kb_type(k, v.elem, mask, p), access(k, r, n, p, index, index_mask), valid, pad);
	return v;
}

TsTileVal ts_kb_load(TsKb *k, const TsRegion *r, uint32_t id, const TsPlace *p) { return load_leaf(k, r, &r->nodes.p[id], p, NULL, 0); }

TsTileVal ts_kb_load_at(TsKb *k, const TsRegion *r, const TsRNode *n, const TsPlace *p, const char *index, uint32_t index_mask)
{
	return load_leaf(k, r, n, p, index, index_mask);
}

static TsTileVal eval_load(TsKb *k, const TsRegion *r, const TsRNode *n, const TsPlace *p, const char *index, uint32_t index_mask)
{
	TsTileVal v = load_leaf(k, r, n, p, index, index_mask);
	return n->elem == TS_F16 || n->elem == TS_BF16 ? ts_kb_cast(k, v, TS_F32, p) : v;
}

/* offset + sum coef * index, as integers, then in the leaf's type. */
static TsTileVal eval_affine(TsKb *k, const TsRegion *r, const TsRNode *n, const TsPlace *p)
{
	TsBuf b = { 0 };
	ts_buf_str(&b, ts_kb_dim(k, n->offset));
	for (uint32_t i = 0; i < r->niter; i++)
		if (n->coef[i]) ts_buf_fmt(&b, " + %s*%s", ts_kb_dim(k, n->coef[i]), p->base[i]);
	const char *base = ts_kb_tmp(k);
	ts_kb_line(k, "%s: idx = %s", base, b.p);
	ts_buf_free(&b);
	uint32_t mask = leaf_mask(n, p);
	TsTileVal v = { ts_kb_tmp(k), 0, TS_INT64 };
	ts_kb_line(k, "%s: int64[] = cast(%s, int64)", v.name, base);
	for (int i = 0; i < p->nv; i++) {
		if (!(mask & 1u << i)) continue;
		TsDim c = n->coef[p->vdim[i]];
		const char *io = ts_kb_tmp(k), *sum = ts_kb_tmp(k);
		ts_kb_line(k, "%s: %s = iota(0)", io, ts_kb_type(k, TS_INT64, 1u << i, p));
		if (c != ts_dim_const(k->t->d, 1)) {
			const char *cc = ts_kb_tmp(k), *m = ts_kb_tmp(k);
			ts_kb_line(k, "%s: int64[] = cast(%s, int64)", cc, ts_kb_dim(k, c));
			ts_kb_line(k, "%s: %s = mul(%s, %s)", m, ts_kb_type(k, TS_INT64, 1u << i, p), io, cc);
			io = m;
		}
		TsTileVal part = { io, 1u << i, TS_INT64 };
		uint32_t both = v.mask | part.mask;
		v = ts_kb_spread(k, v, both, p);
		part = ts_kb_spread(k, part, both, p);
		ts_kb_line(k, "%s: %s = add(%s, %s)", sum, ts_kb_type(k, TS_INT64, both, p), v.name, part.name);
		v = (TsTileVal){ sum, both, TS_INT64 };
	}
	return ts_kb_cast(k, ts_kb_cast(k, v, n->elem, p), ts_reg_type(n->elem), p);
}

/* The index of a gather, kept inside the table: max(min(i, size - 1), 0). */
static TsTileVal clamp_index(TsKb *k, TsTileVal i, TsDim size, const TsPlace *p)
{
	const char *lim = ts_kb_tmp(k), *a = ts_kb_tmp(k), *b = ts_kb_tmp(k), *ty = ts_kb_type(k, i.elem, i.mask, p);
	ts_kb_line(k, "%s: %s = cast(%s, %s)", lim, ts_kb_type(k, i.elem, 0, p), ts_kb_fmt(k, "%s - 1", ts_kb_dim(k, size)), ts_dtype_name(i.elem));
	ts_kb_line(k, "%s: %s = minimum(%s, %s)", a, ty, i.name, lim);
	ts_kb_line(k, "%s: %s = maximum(%s, 0)", b, ty, a);
	return (TsTileVal){ b, i.mask, i.elem };
}

/* A row of a table that may be empty: then nothing is read, whatever the index. */
static TsTileVal load_rows(TsKb *k, const TsRegion *r, const TsRNode *n, const TsPlace *p, const char *at, uint32_t index_mask)
{
	int64_t lo, hi;
	uint32_t mask = leaf_mask(n, p) | index_mask;
	TsDim size = n->index_size;
	ts_dim_range(k->t->d, size, &lo, &hi);
	if (lo > 0) return eval_load(k, r, n, p, at, index_mask);
	const char *have = ts_kb_tmp(k);
	ts_kb_line(k, "%s: idx = min(%s, 1)", have, ts_kb_dim(k, size));
	if (mask) {
		TsPlace q = *p;
		for (int i = 0; i < p->nv; i++)
			if (mask >> i & 1) q.valid[i] = ts_kb_fmt(k, "%s * (%s)", have, p->valid[i] ? p->valid[i] : ts_kb_fmt(k, "%d", p->len[i]));
		return eval_load(k, r, n, &q, at, index_mask);
	}
	TsDtype e = ts_reg_type(bits_type(n->elem));
	const char *x = ts_kb_tmp(k), *zero = ts_kb_tmp(k), *ty = ts_kb_type(k, e, 0, p);
	ts_kb_open(k, "%s: %s = if %s > 0", x, ty, have);
	ts_kb_line(k, "yield %s", eval_load(k, r, n, p, at, 0).name);
	ts_kb_close(k, " else {");
	k->depth++;
	ts_kb_line(k, "%s: %s = fill(%s)", zero, ty, e == TS_BOOL ? "false" : ts_dtype_is_float(e) ? "0.0" : "0");
	ts_kb_line(k, "yield %s", zero);
	ts_kb_close(k, "");
	return (TsTileVal){ x, 0, e };
}

/* Rows of a table by index; an index outside it reads nothing and gives zeros. */
static TsTileVal eval_gather(TsKb *k, const TsRegion *r, const TsRNode *n, const TsPlace *p, TsTileVal *memo)
{
	TsTileVal i = ts_kb_eval(k, r, n->arg[0], p, memo), c = clamp_index(k, i, n->index_size, p);
	const char *at = c.name;
	if (!c.mask) {
		at = ts_kb_tmp(k);
		ts_kb_line(k, "%s: idx = cast(%s)", at, c.name);
	}
	TsTileVal v = k->gpu ? load_rows(k, r, n, p, at, c.mask) : eval_load(k, r, n, p, at, c.mask);
	const char *in = ts_kb_tmp(k), *t = ts_kb_tmp(k);
	ts_kb_line(k, "%s: %s = eq(%s, %s)", in, ts_kb_type(k, TS_BOOL, i.mask, p), i.name, c.name);
	TsTileVal inside = ts_kb_spread(k, (TsTileVal){ in, i.mask, TS_BOOL }, v.mask, p);
	const char *zero = v.elem == TS_BOOL ? "false" : ts_dtype_is_float(v.elem) ? "0.0" : "0";
	ts_kb_line(k, "%s: %s = where(%s, %s, %s)", t, ts_kb_type(k, v.elem, v.mask, p), inside.name, v.name, zero);
	return (TsTileVal){ t, v.mask, v.elem };
}

static void print_attrs(TsKb *k, const TsRNode *n, TsBuf *to)
{
	if (!n->node) return;
	const TsOpInfo *info = ts_op_info(k->t->cx, n->op);
	for (uint32_t i = 0; i < info->nattr; i++) {
		const TsAttr *a = &n->node->attr[i];
		if (a->none || n->op == TS_OP_cast) continue;
		if (a->kind == TS_A_ENUM) ts_buf_fmt(to, ", %s = \"%s\"", info->attr[i].name, a->s);
		else if (a->kind == TS_A_INT) ts_buf_fmt(to, ", %s = %lld", info->attr[i].name, (long long)a->i);
		else if (a->kind == TS_A_BOOL) ts_buf_fmt(to, ", %s = %s", info->attr[i].name, a->i ? "true" : "false");
		else if (a->kind == TS_A_FLOAT) { ts_buf_fmt(to, ", %s = ", info->attr[i].name); ts_buf_f64(to, a->f); }
	}
}

static TsTileVal eval_op(TsKb *k, const TsRegion *r, const TsRNode *n, const TsPlace *p, TsTileVal *memo)
{
	TsTileVal arg[TS_MAX_OP_INS];
	uint32_t mask = 0;
	TsDtype rt = ts_reg_type(n->elem);
	for (uint32_t i = 0; i < n->narg; i++) {
		const TsRNode *from = &r->nodes.p[n->arg[i]];
		arg[i] = ts_kb_eval(k, r, n->arg[i], p, memo);
		if (from->kind == TS_R_ANCHOR && ts_dtype_is_compute(from->elem)) arg[i] = ts_kb_cast(k, arg[i], ts_reg_type(from->elem), p); /* accumulators may be wider */
		mask |= arg[i].mask;
	}
	if (n->node && ts_op_info(k->t->cx, n->op)->cls == TS_CLS_RANDOM) return ts_kb_random(k, n, arg, p);
	if (n->op == TS_OP_cast) { /* a cast rounds to its type; 16-bit floats then compute on in f32 */
		TsTileVal v = ts_kb_cast(k, arg[0], n->elem, p);
		return ts_kb_cast(k, v, rt, p);
	}
	TsBuf b = { 0 };
	for (uint32_t i = 0; i < n->narg; i++) {
		arg[i] = ts_kb_spread(k, arg[i], mask, p);
		ts_buf_fmt(&b, "%s%s", i ? ", " : "", arg[i].name);
	}
	print_attrs(k, n, &b);
	if (n->bits && rt == TS_F32 && !strncmp(ts_op_info(k->t->cx, n->op)->bound, "ulp", 3)) ts_buf_fmt(&b, ", bits = %d", n->bits);
	const char *t = ts_kb_tmp(k);
	ts_kb_line(k, "%s: %s = `%s`(%s)", t, ts_kb_type(k, rt, mask, p), ts_op_info(k->t->cx, n->op)->name, b.p); /* and, or, not are keywords */
	ts_buf_free(&b);
	return (TsTileVal){ t, mask, rt };
}

static TsTileVal eval_const(TsKb *k, const TsRNode *n, const TsPlace *p)
{
	TsBuf b = { 0 };
	TsDtype rt = ts_reg_type(n->elem);
	const char *t = ts_kb_tmp(k);
	if (n->elem == TS_BOOL) ts_buf_str(&b, n->ivalue ? "true" : "false");
	else if (ts_dtype_is_int(n->elem)) ts_buf_fmt(&b, "%lld", (long long)n->ivalue);
	else if (rt == TS_COMPLEX64) ts_buf_str(&b, "0");
	else if (rt == TS_F64) ts_buf_f64(&b, n->value);
	else ts_buf_f32(&b, (float)n->value);
	if (!ts_dtype_is_compute(rt) && ts_dtype_is_float(rt)) rt = TS_F32; /* the value is exact in f32; the store converts back */
	ts_kb_line(k, "%s: %s = fill(%s)", t, ts_kb_type(k, bits_type(rt), 0, p), b.p);
	ts_buf_free(&b);
	return (TsTileVal){ t, 0, bits_type(rt) };
}

TsTileVal ts_kb_eval(TsKb *k, const TsRegion *r, uint32_t id, const TsPlace *p, TsTileVal *memo)
{
	if (memo[id].name) return memo[id];
	const TsRNode *n = &r->nodes.p[id];
	TsTileVal v = { 0 };
	switch (n->kind) {
	case TS_R_LOAD: v = eval_load(k, r, n, p, NULL, 0); break;
	case TS_R_AFFINE: v = eval_affine(k, r, n, p); break;
	case TS_R_CONST: v = eval_const(k, n, p); break;
	case TS_R_ANCHOR: v = (TsTileVal){ p->anchor, p->anchor_mask, p->anchor_elem }; break;
	case TS_R_GATHER: v = eval_gather(k, r, n, p, memo); break;
	case TS_R_OP: v = eval_op(k, r, n, p, memo); break;
	}
	return memo[id] = v;
}

void ts_kb_store(TsKb *k, const TsRegion *r, uint32_t leaf, TsTileVal v, const TsPlace *p) { ts_kb_store_at(k, r, &r->nodes.p[leaf], v, p, NULL); }

void ts_kb_store_at(TsKb *k, const TsRegion *r, const TsRNode *n, TsTileVal v, const TsPlace *p, const char *index)
{
	uint32_t mask = leaf_mask(n, p);
	v = ts_kb_cast(k, v, bits_type(n->elem), p);
	if (v.mask != mask) {
		if (!v.mask) {
			const char *t = ts_kb_tmp(k);
			ts_kb_line(k, "%s: %s = fill(%s)", t, ts_kb_type(k, v.elem, mask, p), v.name);
			v = (TsTileVal){ t, mask, v.elem };
		} else {
			v = ts_kb_spread(k, v, mask, p);
		}
	}
	ts_kb_line(k, "store(%s, %s%s)", access(k, r, n, p, index, 0), v.name, valid_text(k, mask, p));
}
