#include "emit/plan_write_int.h"
#include "rtlib/pack.h"
#include "rtlib/sha256.h"
#include "support/file.h"
#include <stdlib.h>
#include <string.h>

typedef struct { TsModule *m; const TsWeights *set; const TsTensorInfo *info; TsPack pack; uint64_t bytes; uint8_t *done; int64_t skip; } PackJob;

/* Packs the whole tensor on the first read and hands out parts of it. */
static bool read_packed(void *user, uint64_t offset, void *to, size_t n)
{
	PackJob *j = user;
	if (!j->done) {
		const uint8_t *src = ts_weights_data(j->m, j->set, j->info);
		j->done = src ? malloc(j->bytes ? j->bytes : 1) : NULL;
		if (!j->done) { ts_env_error(j->m->cx, "E_MEMORY", "out of memory while packing weight '%s'", j->info->name); return false; }
		ts_pack_panels(&j->pack, src + j->skip, 0, j->pack.batch * ts_pack_ceil(j->pack.n, j->pack.panel), j->done);
	}
	memcpy(to, j->done + offset, n);
	if (offset + n == j->bytes) { free(j->done); j->done = NULL; }
	return true;
}

static uint32_t plan_file(TsPlanWriter *w, uint32_t set, uint32_t file)
{
	uint64_t key = (uint64_t)set << 32 | file;
	for (uint32_t i = 0; i < w->files.n; i++)
		if (w->file_keys.p[i] == key) return w->files.p[i];
	const TsWeights *from = &w->m->weights.p[set];
	const char *path = from->files.p[file], *slash = strrchr(path, '/');
	uint8_t hash[32] = { 0 };
	TsSha256 h;
	TsFile f;
	if (!ts_file_map(w->m->cx, path, &f)) { w->failed = true; return TS_NONE; }
	ts_sha256_init(&h);
	ts_sha256_add(&h, f.p, f.size);
	ts_sha256_end(&h, hash);
	uint64_t bytes = f.size;
	ts_file_unmap(&f);
	ts_push(w->a, &w->file_keys, key);
	ts_push(w->a, &w->files, ts_plan_add_file(w->b, slash ? slash + 1 : path, bytes, hash));
	return w->files.p[w->files.n - 1];
}

static TsPack pack_of(const TsBuffer *b)
{
	TsPack p = { .kind = TS_PACK_COPY, .elem = (uint32_t)(ts_dtype_bits(b->elem) + 7) / 8, .panel = 1, .group = 1 };
	if (!b->packing.packed) return p;
	return (TsPack){ TS_PACK_PANELS, p.elem, (uint32_t)b->packing.panel, 1, b->packing.batch, b->packing.k, b->packing.n, b->packing.batch_stride, b->packing.k_stride, b->packing.n_stride };
}

static uint64_t place(uint64_t *end, uint64_t bytes, uint64_t align)
{
	uint64_t at = (*end + align - 1) & ~(align - 1);
	*end = at + bytes;
	return at;
}

/* A literal's elements as panels. */
static const void *pack_literal(TsPlanWriter *w, const TsNode *n, const TsPacking *p, const TsPlanWeight *rec)
{
	uint8_t *to = ts_alloc(w->a, rec->bytes + 1);
	const uint8_t *from = (const uint8_t *)n->data + p->offset * rec->pack.elem;
	ts_pack_panels(&rec->pack, from, 0, p->batch * ts_pack_ceil(p->n, p->panel), to);
	return to;
}

/* ---- one weight of a plan ---- */

/* A tensor as the graph names it: a literal, or name `name` of set n->weights. */
typedef struct { const TsNode *n; TsSym name; bool literal; const TsType *type; TsDtype elem; const TsPacking *packing; } Source;

static bool same_tensor(const Source *s, uint32_t set, TsSym name, const TsNode *node)
{
	return s->literal ? node == s->n : !node && set == s->n->weights && name == s->name;
}

static const TsTensorInfo *info_of(TsPlanWriter *w, const Source *s)
{
	const TsTensorInfo *info = ts_weights_find(&w->m->weights.p[s->n->weights], s->name);
	if (!info) ts_bug(w->m->cx, s->n->at, "plan: weight '%s' is gone", s->name);
	return info;
}

/* Where the tensor's bytes come from. */
static void from_file(TsPlanWriter *w, const Source *s, TsPlanWeight *rec)
{
	const TsTensorInfo *info = info_of(w, s);
	int64_t skip = s->packing->offset * ts_dtype_bits(s->elem) / 8;
	rec->file_offset = info->offset + (uint64_t)skip;
	rec->file_bytes = info->size - (uint64_t)skip;
	rec->file = plan_file(w, s->n->weights, info->file);
	if (w->o->external) rec->where = TS_WEIGHT_EXTERNAL;
}

/* Puts rec->bytes of the tensor, packed as rec says, into the file, unless they are there. */
static uint64_t store(TsPlanWriter *w, const Source *s, const TsPlanWeight *rec)
{
	TsBlob *blob = w->blob;
	TsWeightPiece piece = { .size = rec->bytes };
	for (uint32_t i = 0; i < blob->stored.n; i++) {
		const TsStored *k = &blob->stored.p[i];
		if (same_tensor(s, k->set, k->name, k->node) && !memcmp(&k->packing, s->packing, sizeof k->packing)) return k->offset;
	}
	if (s->literal) {
		piece.data = s->packing->packed ? pack_literal(w, s->n, s->packing, rec) : s->n->data;
	} else if (s->packing->packed) {
		const TsTensorInfo *info = info_of(w, s);
		PackJob *job = TS_NEW(w->a, PackJob);
		*job = (PackJob){ .m = w->m, .set = &w->m->weights.p[s->n->weights], .info = info, .pack = rec->pack, .bytes = rec->bytes,
			.skip = s->packing->offset * ts_dtype_bits(s->elem) / 8 };
		piece.read = read_packed;
		piece.user = job;
	} else {
		piece.path = w->m->weights.p[s->n->weights].files.p[info_of(w, s)->file];
		piece.path_offset = info_of(w, s)->offset;
	}
	piece.at = place(&blob->bytes, rec->bytes, 64);
	if (piece.size) ts_push(w->a, &blob->pieces, piece);
	ts_push(w->a, &blob->stored, (TsStored){ s->n->weights, s->name, s->literal ? s->n : NULL, *s->packing, rec->pack, piece.at, rec->bytes });
	return piece.at;
}

/* A device has the tensor as it is: made of what the CPU's plan keeps of it, or kept for this plan. */
static void device_parts(TsPlanWriter *w, const Source *s, TsPlanWeight *rec)
{
	const TsBlob *blob = w->blob;
	static const TsPacking plain;
	rec->part = ts_plan_next_part(w->b);
	for (uint32_t i = 0; i < blob->stored.n; i++) {
		const TsStored *k = &blob->stored.p[i];
		if (!same_tensor(s, k->set, k->name, k->node)) continue;
		bool whole = !memcmp(&k->packing, &plain, sizeof plain);
		if (!whole && !k->packing.packed) continue;
		ts_plan_add_part(w->b, (TsPlanPart){ k->offset, k->bytes, k->packing.packed ? k->packing.offset : 0, k->pack });
		rec->n_parts++;
	}
	if (rec->n_parts) return;
	Source all = *s;
	all.packing = &plain;
	ts_plan_add_part(w->b, (TsPlanPart){ store(w, &all, rec), rec->bytes, 0, rec->pack });
	rec->n_parts = 1;
}

static int64_t elements_of(TsPlanWriter *w, const TsType *ty, int64_t *dims)
{
	int64_t count = 1;
	for (int i = 0; i < ty->rank; i++) {
		ts_dim_is_const(w->m->dims, ty->dim[i], &dims[i]);
		count *= dims[i];
	}
	return count;
}

/* One weight as kernels read it; the same tensor with the same packing is one weight. */
static uint32_t weight_id(TsPlanWriter *w, const TsGraph *g, const TsBuffer *b, TsSym name)
{
	Source s = { b->weight, name, b->weight->op == TS_OP_const, &g->vals.p[b->weight->out[0]].type, b->elem, &b->packing };
	for (uint32_t i = 0; i < w->weights.n; i++) {
		const TsPacked *p = &w->weights.p[i];
		if (same_tensor(&s, p->set, p->name, p->node) && !memcmp(&p->packing, &b->packing, sizeof p->packing)) return p->id;
	}
	if (w->device && b->packing.packed) ts_bug(w->m->cx, s.n->at, "plan: a weight of a device is packed");
	int64_t dims[TS_MAX_RANK], count = elements_of(w, s.type, dims);
	TsPlanWeight rec = { .where = TS_WEIGHT_EMBEDDED, .file = TS_NONE, .pack = pack_of(b) };
	if (b->packing.packed) count = (b->packing.n + b->packing.panel - 1) / b->packing.panel * b->packing.panel * b->packing.k * b->packing.batch;
	rec.bytes = (uint64_t)ts_dtype_bytes(b->elem, count);
	if (s.literal) s.name = ts_intern_fmt(w->m->cx, "const.%u", w->consts++);
	else from_file(w, &s, &rec);
	bool inside = rec.where == TS_WEIGHT_EMBEDDED;
	if (w->device && inside) device_parts(w, &s, &rec);
	if (w->device) rec.offset = place(&w->external, rec.bytes, 256);
	else rec.offset = inside ? store(w, &s, &rec) : place(&w->external, rec.bytes, 64);
	TsPacked p = { s.n->weights, s.name, s.literal ? s.n : NULL, b->packing, ts_plan_add_weight(w->b, s.name, ts_plan_dtype(s.type->elem), s.type->rank, dims, rec) };
	ts_push(w->a, &w->weights, p);
	return p.id;
}

void ts_plan_weight_arg(TsPlanWriter *w, const TsGraph *g, const TsBuffer *b, TsPlanArg *arg)
{
	uint32_t nest = w->open.n, total = 1, index = TS_NONE;
	TsSym *vars = TS_NEW_N(w->a, TsSym, nest + 1);
	int64_t *vals = TS_NEW_N(w->a, int64_t, nest + 1);
	bool loops = b->weight->op == TS_OP_weight && strchr(b->weight->name, '{');
	if (!loops) nest = 0;
	for (uint32_t i = 0; i < nest; i++) {
		const TsFor *f = w->open.p[i].f;
		int64_t trips = ts_for_trips(f);
		vars[i] = f->var;
		total *= (uint32_t)trips;
		uint32_t turn = ts_plan_loop(w->b, w->open.p[i].var);
		index = index == TS_NONE ? turn : ts_plan_op(w->b, TS_EX_ADD, ts_plan_op(w->b, TS_EX_MUL, index, ts_plan_const(w->b, trips)), turn);
	}
	uint32_t *table = TS_NEW_N(w->a, uint32_t, total);
	for (uint32_t k = 0; k < total; k++) {
		uint32_t rest = k;
		for (uint32_t i = nest; i > 0; i--) {
			const TsFor *f = w->open.p[i - 1].f;
			uint32_t trips = (uint32_t)ts_for_trips(f);
			vals[i - 1] = f->lo + (int64_t)(rest % trips) * f->step;
			rest /= trips;
		}
		TsSym name = b->weight->op == TS_OP_weight ? ts_weight_name(w->m->cx, b->weight->name, nest, vars, vals) : NULL;
		table[k] = weight_id(w, g, b, name);
	}
	arg->kind = TS_ARG_WEIGHT;
	arg->table = ts_plan_add_words(w->b, table, total);
	arg->n_table = total;
	arg->index_expr = index;
}

