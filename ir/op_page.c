#include "ir/op_page.h"
#include <string.h>

static const char intro[] =
	"# Operators\n"
	"\n"
	"Made from `ir/ops.def` by `build/unit/test_ops --page`; a test fails when it is out of date.\n"
	"\n"
	"A call gives operands first, then attributes by position or by name. `x?` may be left out or `none`, `[xs, ...]` is a list, an attribute\n"
	"without a default must be given. Where `axis` lists axes, one number will do; negative axes count from the end.\n"
	"\n"
	"Rules that hold everywhere:\n"
	"\n"
	"- Operands have one element type unless the text says otherwise; a literal takes the type of the others. The types int16, int8, uint8, int4,\n"
	"  fp8, fp6 and fp4 are for storage: `cast`, movement and `matmul` take them.\n"
	"- Operators marked *broadcasts* align trailing axes, and only a literal size of 1 stretches; a symbol never does.\n"
	"- Every operator is total. Sizes may be 0. NaN operands give NaN unless the text says otherwise. Integers wrap in two's complement;\n"
	"  division of integers by 0 gives 0, and so does the remainder. An index outside its axis reads zeros. One\n"
	"  result is open between two values: `attention` with a v that is not finite in a column that does not count.\n"
	"- *Error* is the largest difference between compiled code and the exact value of the operator on the operands it was given: `exact`;\n"
	"  `rounded`, one rounding to the result's type; `ulpN`, N units in the last place; `sum`, for K terms (K + 8) 2^-24 times the sum of the terms'\n"
	"  magnitudes, then one rounding for 16 bit types (on GPUs 8-bit floats multiplied by matrix instructions lose more, [gpu.md](gpu.md));\n"
	"  `row`, sums and ulp4 steps along a row. f16 and bf16 compute in f32 and round once.\n"
	"- The reference interpreter (`tsc eval`) has every operator in f64, or rounded to the declared types.\n";

static const char random_text[] =
	"\n"
	"## Which bits random operators give\n"
	"\n"
	"Philox4x32-10 makes four 32 bit words w0 to w3 for each element, whatever the schedule, machine or number of threads. For element i (in row\n"
	"order) of stream n with key (seed, step), where lo and hi are the halves of a 64 bit number:\n"
	"\n"
	"    counter = lo(i), hi(i), n, lo(step)          key = lo(seed), hi(seed) ^ hi(step)\n"
	"\n"
	"`stream` is the operator's place among the graph's random operators unless given, below 65536. In iteration j of a compile-time `for` (of all\n"
	"enclosing ones counted together, the inner one fastest) n is stream + 65536*j. From the words:\n"
	"\n"
	"| operator | f64 | other floats (in f32, rounded to the type at the end) |\n"
	"| --- | --- | --- |\n"
	"| uniform | u = ((w1 * 2^32 + w0) >> 11) * 2^-53 | u = (w0 >> 8) * 2^-24 |\n"
	"| normal, first | u = ((w1 * 2^32 + w0) >> 11) * 2^-53 + 2^-53 | u = ((w0 >> 8) + 1) * 2^-24 |\n"
	"| normal, second | v = ((w3 * 2^32 + w2) >> 11) * 2^-53 | v = (w1 >> 8) * 2^-24 |\n"
	"\n"
	"`uniform` is low + u*(high - low); `normal` is mean + std * sqrt(-2 log u) * cos(2 pi v); `randint` is low + ((w0 * (high - low)) >> 32) with the\n"
	"product in 64 bits.\n";

static const char *const class_names[] = {
	[TS_CLS_LEAF] = "Leaves", [TS_CLS_POINTWISE] = "Pointwise", [TS_CLS_REDUCE] = "Reductions", [TS_CLS_ROW] = "Rows: softmax and norms",
	[TS_CLS_CONTRACT] = "Contractions", [TS_CLS_ATTENTION] = "Attention", [TS_CLS_VIEW] = "Views: the same bytes seen otherwise", [TS_CLS_MOVE] = "Movement",
	[TS_CLS_GATHER] = "Gather", [TS_CLS_RANDOM] = "Random", [TS_CLS_CONTROL] = "Structure", [TS_CLS_NONE] = "Interpreter alone: compiling these is an error in this version",
};

void ts_op_signature(const TsOpInfo *op, TsBuf *to)
{
	ts_buf_fmt(to, "%s(", op->name);
	for (int i = 0; i < op->nin; i++)
		ts_buf_fmt(to, "%s%s%s%s", i ? ", " : "", op->variadic ? "[" : "", op->in[i], op->variadic ? ", ...]" : i >= op->min_in ? "?" : "");
	for (int i = 0; i < op->nattr; i++) {
		const TsAttrInfo *a = &op->attr[i];
		ts_buf_fmt(to, "%s%s", op->nin || i ? ", " : "", a->name);
		if (!a->required) ts_buf_fmt(to, a->kind == TS_A_ENUM ? " = \"%s\"" : " = %s", a->text);
	}
	ts_buf_char(to, ')');
}

static void add_types(const TsOpInfo *op, TsBuf *to)
{
	static const struct { uint32_t set; const char *text; } names[] = { { TS_T_FLOAT, "floats" }, { TS_T_INT, "int64 int32" }, { TS_T_BOOL, "bool" }, { TS_T_STORAGE, "storage types" }, { TS_T_COMPLEX, "complex64" } };
	const char *comma = "";
	if (op->types == TS_T_ANY) {
		ts_buf_str(to, "any");
		return;
	}
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (!(op->types & names[i].set)) continue;
		ts_buf_fmt(to, "%s%s", comma, names[i].text);
		comma = ", ";
	}
}

static void add_op(const TsOpInfo *op, TsBuf *to)
{
	ts_buf_str(to, "- `");
	ts_op_signature(op, to);
	ts_buf_fmt(to, "`  \n  %s.  \n  Types: ", op->doc);
	add_types(op, to);
	ts_buf_fmt(to, ". Error: %s.%s\n", op->bound, op->flags & TS_F_BROADCAST ? " Broadcasts." : "");
	for (int i = 0; i < op->nattr; i++)
		if (op->attr[i].choices) ts_buf_fmt(to, "  `%s` is one of %s.\n", op->attr[i].name, op->attr[i].choices);
}

void ts_op_page(TsCtx *cx, TsBuf *to)
{
	ts_buf_str(to, intro);
	for (size_t c = TS_CLS_POINTWISE; c < sizeof class_names / sizeof *class_names; c++) {
		bool head = false;
		for (int i = TS_OP_NONE + 1; i < TS_OP_COUNT; i++) {
			const TsOpInfo *op = ts_op_info(cx, (TsOp)i);
			if (op->cls != c || c == TS_CLS_CONTROL) continue;
			if (!head) ts_buf_fmt(to, "\n## %s\n\n", class_names[c]);
			head = true;
			add_op(op, to);
		}
	}
	ts_buf_str(to, random_text);
}
