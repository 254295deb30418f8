/* Contractions of 8-bit floats. Hopper's wgmma adds 8-bit products up in about 14 bits, so its sums begin anew every 128 of k and are added to
 * sums in f32: part of the columns after the other, which then need registers for one part only; another group multiplies meanwhile. The
 * instruction reads operands along k alone. */
#include "middle/tiler/gpu_matmul.h"

enum { WIDEST = 128 /* columns of a part */, ROW = 128 /* elements of a swizzled row, and of k between two additions */ };

static bool is_fp8(TsDtype t) { return t == TS_FP8_E4M3 || t == TS_FP8_E5M2; }

bool ts_mm_is_fp8(const TsMm *mm)
{
	return is_fp8(mm->j->mm.ae) && is_fp8(mm->j->mm.be) && mm->j->mm.ct == TS_F32;
}

bool ts_mm_lies_along(const TsMm *mm) { return ts_is_one(mm->j->t, mm->a.stride[0]) && ts_is_one(mm->j->t, mm->b.stride[0]); }

void ts_mm_fp8_shared(TsKb *k, const char *name, int rows)
{
	ts_kb_line(k, "layout %s[m, n] = s%d:1n s%d:1m swizzle 128", name, ROW, rows);
}

/* The part of a tile's layout that one part of its columns has. */
static void part_layout(TsKb *k, const TsMmVariant *v, int cols)
{
	TsGLayout d = { .rank = 2 };
	ts_gl_put(&d, 'l', 4, 2, 1), ts_gl_put(&d, 'l', 8, 1, 0), ts_gl_put(&d, 'w', 4, 16, 0), ts_gl_put(&d, 'g', v->wm, 64, 0);
	ts_gl_put(&d, 'r', 2, 1, 1), ts_gl_put(&d, 'r', 2, 8, 0), ts_gl_put(&d, 'r', cols / 8, 8, 1);
	ts_gl_print(k, &d, "E", 3);
}

void ts_mm_fp8_sums(TsKb *k, const TsMmVariant *v)
{
	int parts = (v->bn + WIDEST - 1) / WIDEST, cols = v->bn / parts;
	const char *E = ts_kb_fmt(k, "f32[%d, %d]", v->bm, cols), *names = "", *from = "", *to = "", *all = "";
	part_layout(k, v, cols);
	ts_kb_line(k, "fresh: %s! @E = fill(0.0)", E);
	ts_kb_line(k, "start: %s @E = fill(0.0)", E);
	for (int i = 0; i < parts; i++) {
		names = ts_kb_fmt(k, "%ss%d, ", names, i);
		from = ts_kb_fmt(k, "%sc%d = start, ", from, i);
		to = ts_kb_fmt(k, "%su%d, ", to, i);
		all = ts_kb_fmt(k, "%s%ss%d", all, i ? ", " : "", i);
	}
	ts_kb_open(k, "%sp1 = for k in 0..nk with %sq = p", names, from);
	ts_kb_line(k, "wait(R[q])");
	for (int i = 0; i < parts; i++) {
		ts_kb_line(k, "fence_mma()");
		ts_kb_line(k, "x%d: %s! @E = mma(%s, R[q].a, R[q].b[%d:%d, 0:%d].T, atom = \"wgmma\", zero_if = true)", i, E, i ? ts_kb_fmt(k, "y%d", i - 1) : "fresh", i * cols, (i + 1) * cols, v->bk);
		ts_kb_line(k, "commit_mma()");
		ts_kb_line(k, "y%d: %s @E = wait_mma(0, x%d)", i, E, i);
		if (i + 1 == parts) ts_kb_line(k, "release(R[q])");
		ts_kb_line(k, "u%d: %s @E = add(c%d, y%d)", i, E, i, i);
	}
	ts_kb_line(k, "q1 = next(q)");
	ts_kb_line(k, "yield %sq1", to);
	ts_kb_close(k, "");
	ts_kb_line(k, "acc: f32[%d, %d] @D = concat([%s], axis = 1)", v->bm, v->bn, all);
}
