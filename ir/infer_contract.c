#include "ir/infer.h"

static bool matmul_types(TsInfer *in)
{
	TsAttr *out = ti_attr(in, "out");
	if (!ti_accepts(in, 0, in->op->types) || !ti_accepts(in, 1, in->op->types)) return false;
	TsDtype a = ti_type(in, 0)->elem, b = ti_type(in, 1)->elem, to = out->none ? a : out->t;
	if (to >= TS_DTYPE_COUNT || !(ti_type_set(to) & TS_T_NUM)) {
		ti_error(in, "E_TYPE", "matmul of %s cannot give %s", ts_dtype_name(a), ts_dtype_name(to));
		ts_hint(in->m->cx, "name the result's type: matmul(%s, %s, out = f32)", ti_name(in, 0), ti_name(in, 1));
		return false;
	}
	if (ts_dtype_is_int(to) && (ts_dtype_is_float(a) || ts_dtype_is_float(b)))
		return ti_error(in, "E_TYPE", "matmul of %s and %s cannot give %s: a float operand gives a float", ts_dtype_name(a), ts_dtype_name(b), ts_dtype_name(to));
	TsType *r = ti_result(in, 0);
	*r = (TsType){ .elem = to, .accum = to == a ? ti_type(in, 0)->accum : TS_DTYPE_NONE };
	return true;
}

/* a[..., i, k] @ b[..., k, j] */
bool infer_matmul(TsInfer *in)
{
	if (!ti_rank_at_least(in, 0, 2) || !ti_rank_at_least(in, 1, 2) || !matmul_types(in)) return false;
	const TsType *a = ti_type(in, 0), *b = ti_type(in, 1);
	TsDim ka = a->dim[a->rank - 1], kb = b->dim[b->rank - 2];
	TsTruth same = ka == kb ? TS_YES : ts_dim_eq(in->m->dims, ka, kb);
	const char *what = ts_printf(in->m->arena, "matmul inner sizes: %s axis %d and %s axis %d", ti_name(in, 0), a->rank - 1, ti_name(in, 1), b->rank - 2);
	if (same == TS_NO) {
		ti_error(in, "E_SHAPE_MISMATCH", "matmul inner sizes differ: %s (%s axis %d) and %s (%s axis %d)", ti_dim_text(in, ka), ti_name(in, 0), a->rank - 1, ti_dim_text(in, kb), ti_name(in, 1), b->rank - 2);
		ti_note_operands(in);
		if (ka == b->dim[b->rank - 1]) ts_hint(in->m->cx, "%s is %s; write %s.T", ti_name(in, 1), ti_type_text(in, 1), ti_name(in, 1));
		return false;
	}
	if (!ti_equal(in, ka, kb, "E_SHAPE_MISMATCH", what)) return false;
	TsType *r = ti_result(in, 0);
	if (!ti_broadcast(in, 0, 1, 2, r)) return false;
	r->dim[r->rank++] = a->dim[a->rank - 2];
	r->dim[r->rank++] = b->dim[b->rank - 1];
	return true;
}

/* An operand whose trailing axes broadcast to the scores [B, H, S, T]. */
static bool to_scores(TsInfer *in, uint32_t i, const TsDim scores[4])
{
	const TsType *t = ti_type(in, i);
	if (t->rank > 4) return ti_error(in, "E_RANK", "attention: %s has at most 4 axes, found %s", ti_name(in, i), ti_type_text(in, i));
	for (int k = 0; k < t->rank; k++) {
		int64_t v;
		TsDim want = scores[4 - t->rank + k];
		if (ts_dim_is_const(in->m->dims, t->dim[k], &v) && v == 1) continue;
		if (!ti_equal(in, t->dim[k], want, "E_BROADCAST", ts_printf(in->m->arena, "attention: %s axis %d and the scores' axis %d", ti_name(in, i), k, 4 - t->rank + k))) return false;
	}
	return true;
}

static bool attention_sizes(TsInfer *in, const TsType *q, const TsType *k, const TsType *v)
{
	static const struct { int a, x, b, y; } same[] = { { 0, 0, 1, 0 }, { 0, 0, 2, 0 }, { 1, 1, 2, 1 }, { 1, 2, 2, 2 }, { 0, 3, 1, 3 } };
	const TsType *t[] = { q, k, v };
	for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
		const char *what = ts_printf(in->m->arena, "attention: %s axis %d and %s axis %d", ti_name(in, (uint32_t)same[i].a), same[i].x, ti_name(in, (uint32_t)same[i].b), same[i].y);
		if (!ti_equal(in, t[same[i].a]->dim[same[i].x], t[same[i].b]->dim[same[i].y], "E_SHAPE_MISMATCH", what)) return false;
	}
	/* H = G * (H // G) */
	TsDims *d = in->m->dims;
	const char *what = ts_printf(in->m->arena, "attention: %s's heads are a multiple of %s's", ti_name(in, 0), ti_name(in, 1));
	TsDim groups = q->dim[1] == k->dim[1] ? ti_const(in, 1) : ts_dim_floordiv(d, q->dim[1], k->dim[1]);
	return ti_equal(in, q->dim[1], ts_dim_mul(d, k->dim[1], groups), "E_SHAPE_MISMATCH", what);
}

bool infer_attention(TsInfer *in)
{
	if (!ti_one_type(in, 0, 3, in->op->types)) return false;
	for (uint32_t i = 0; i < 3; i++)
		if (ti_type(in, i)->rank != 4) return ti_error(in, "E_RANK", "attention takes [batch, heads, rows, width], %s is %s", ti_name(in, i), ti_type_text(in, i));
	const TsType *q = ti_type(in, 0), *k = ti_type(in, 1), *v = ti_type(in, 2);
	if (!attention_sizes(in, q, k, v)) return false;
	TsDim scores[4] = { q->dim[0], q->dim[1], q->dim[2], k->dim[2] };
	if (ti_has(in, 3) && (!ti_accepts(in, 3, TS_T_BOOL) || !to_scores(in, 3, scores))) return false;
	if (ti_has(in, 4)) {
		TsDtype b = ti_type(in, 4)->elem;
		if (b != q->elem && b != TS_F32) return ti_error(in, "E_TYPE_MISMATCH", "attention: %s is %s, the bias may be that or f32, found %s", ti_name(in, 0), ti_type_text(in, 0), ti_type_text(in, 4));
		if (!to_scores(in, 4, scores)) return false;
	}
	if (ti_has(in, 5) && (!ti_accepts(in, 5, TS_T_INT) || ti_type(in, 5)->rank)) return ti_error(in, "E_RANK", "attention: q_offset is one integer, %s is %s", ti_name(in, 5), ti_type_text(in, 5));
	if (ti_has(in, 6)) {
		const TsType *f = ti_type(in, 6);
		if (f->rank) return ti_error(in, "E_RANK", "attention: factor is one number, %s is %s", ti_name(in, 6), ti_type_text(in, 6));
		if (f->elem != q->elem && f->elem != TS_F32) return ti_error(in, "E_TYPE_MISMATCH", "attention: %s is %s, the factor may be that or f32, found %s", ti_name(in, 0), ti_type_text(in, 0), ti_type_text(in, 6));
	}
	int64_t width;
	if (ts_dim_is_const(in->m->dims, q->dim[3], &width) && !width) return ti_error(in, "E_SIZE", "attention: %s is %s, heads have at least one element", ti_name(in, 0), ti_type_text(in, 0));
	const TsAttr *w = ti_attr(in, "window");
	if (!w->none && w->i < 1) return ti_error(in, "E_ATTR", "attention: window is at least 1, found %lld", (long long)w->i);
	TsType *r = ti_result(in, 0);
	*r = *q;
	r->dim[3] = v->dim[3];
	return true;
}
