/* The operator table is consistent: every line parses, names are found again, columns name what exists. */
#include "ir/graph.h"
#include "ir/op_page.h"
#include "support/file.h"
#include "tests/unit/check.h"
#include <string.h>

static void test_line(TsModule *m, TsOp op)
{
	const TsOpInfo *o = ts_op_info(m->cx, op);
	bool leaf = o->cls == TS_CLS_LEAF || o->cls == TS_CLS_CONTROL;
	check(o->name, ts_op_find(m->cx, o->name) == op, "is not found by its name");
	if (!leaf && !(o->flags & TS_F_PURE)) check(o->name, false, "is an operator that is not pure");
	if (!*o->doc) check(o->name, false, "has no doc");
	if ((o->flags & TS_F_COMM) && o->nin != 2) check(o->name, false, "is commutative on %d operands", o->nin);
	if ((o->flags & TS_F_TILE) && o->cls != TS_CLS_POINTWISE) check(o->name, false, "is a tile word and not pointwise");
	if (o->cls == TS_CLS_POINTWISE && o->nin > 1 && !(o->flags & TS_F_BROADCAST)) check(o->name, false, "is pointwise and does not broadcast");
	static const char *const bounds[] = { "exact", "rounded", "sum", "row", "ulp4", "ulp8", "ulp16" };
	bool known = false;
	for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) known |= !strcmp(o->bound, bounds[i]);
	if (!known) check(o->name, false, "has the unknown bound %s", o->bound);
	TsAttr *attrs = ts_attrs_new(m, op);
	for (int i = 0; i < o->nattr; i++) {
		if (attrs[i].none != (o->attr[i].required || o->attr[i].none_default)) check(o->name, false, "has an attribute %s with a bad default", o->attr[i].name);
		if (ts_op_attr_index(o, o->attr[i].name) != i) check(o->name, false, "names %s twice", o->attr[i].name);
		for (int k = 0; k < o->nin; k++)
			if (!strcmp(o->in[k], o->attr[i].name)) check(o->name, false, "has an operand and an attribute %s", o->in[k]);
	}
}

/* docs/ops.md is what the table says (from the root of the repository, as `make unit-check` runs it). */
static void test_page(TsCtx *cx)
{
	TsBuf page = { 0 };
	TsFile f;
	ts_op_page(cx, &page);
	bool open = ts_file_map(cx, "docs/ops.md", &f);
	check("docs-ops.md-is-current", open && f.size == page.n && !memcmp(f.p, page.p, page.n), "make it anew: build/unit/test_ops --page > docs/ops.md");
	if (open) ts_file_unmap(&f);
	ts_buf_free(&page);
}

static int print_page(void)
{
	TsCtx *cx = ts_ctx_new();
	TsBuf page = { 0 };
	ts_op_page(cx, &page);
	fwrite(page.p, 1, page.n, stdout);
	ts_buf_free(&page);
	ts_ctx_free(cx);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--page")) return print_page();
	TsCtx *cx = ts_ctx_new();
	TsModule *m = ts_module_new(cx);
	for (int op = TS_OP_NONE + 1; op < TS_OP_COUNT; op++) test_line(m, (TsOp)op);
	const TsOpInfo *g = ts_op_info(cx, TS_OP_gelu), *a = ts_op_info(cx, TS_OP_attention), *n = ts_op_info(cx, TS_OP_layer_norm);
	check("enum-default", !strcmp(g->attr[0].text, "tanh") && !strcmp(g->attr[0].choices, "none|tanh"), "%s of %s", g->attr[0].text, g->attr[0].choices);
	check("optional-operands", a->nin == 7 && a->min_in == 3 && !strcmp(a->in[3], "mask"), "%d of %d", a->min_in, a->nin);
	check("float-default", n->attr[0].num == 1e-5, "%g", n->attr[0].num);
	check("list-operand", ts_op_info(cx, TS_OP_concat)->variadic, "concat takes no list");
	check("unknown-name", ts_op_find(cx, ts_intern(cx, "gleu")) == TS_OP_NONE, "found");
	test_page(cx);
	ts_ctx_free(cx);
	return check_failed;
}
