/* The C header of a model: one typed inline function per graph over tessera.h. */
#include "emit/plan_text.h"
#include "support/file.h"
#include <inttypes.h>
#include <string.h>

typedef struct { const char *c, *dl; } TypeText;
static const TypeText types[TS_PLAN_DTYPES] = {
	[TS_PLAN_F32] = { "float", "{ kDLFloat, 32, 1 }" }, [TS_PLAN_F64] = { "double", "{ kDLFloat, 64, 1 }" },
	[TS_PLAN_F16] = { "uint16_t", "{ kDLFloat, 16, 1 }" }, [TS_PLAN_BF16] = { "uint16_t", "{ kDLBfloat, 16, 1 }" },
	[TS_PLAN_INT64] = { "int64_t", "{ kDLInt, 64, 1 }" }, [TS_PLAN_INT32] = { "int32_t", "{ kDLInt, 32, 1 }" },
	[TS_PLAN_BOOL] = { "uint8_t", "{ kDLBool, 8, 1 }" }, [TS_PLAN_INT16] = { "int16_t", "{ kDLInt, 16, 1 }" },
	[TS_PLAN_INT8] = { "int8_t", "{ kDLInt, 8, 1 }" }, [TS_PLAN_UINT8] = { "uint8_t", "{ kDLUInt, 8, 1 }" },
	[TS_PLAN_INT4] = { "uint8_t", "{ kDLInt, 4, 1 }" }, [TS_PLAN_FP8_E4M3] = { "uint8_t", "{ kDLFloat8_e4m3fn, 8, 1 }" },
	[TS_PLAN_FP8_E5M2] = { "uint8_t", "{ kDLFloat8_e5m2, 8, 1 }" }, [TS_PLAN_FP6_E2M3] = { "uint8_t", "{ kDLFloat6_e2m3fn, 6, 1 }" },
	[TS_PLAN_FP6_E3M2] = { "uint8_t", "{ kDLFloat6_e3m2fn, 6, 1 }" }, [TS_PLAN_FP4_E2M1] = { "uint8_t", "{ kDLFloat4_e2m1fn, 4, 1 }" },
	[TS_PLAN_COMPLEX64] = { "float", "{ kDLComplex, 64, 1 }" }, /* pairs */
};
static const char *const type_names[TS_PLAN_DTYPES] = {
	"f32", "f64", "f16", "bf16", "int64", "int32", "bool", "int16", "int8", "uint8", "int4", "fp8_e4m3", "fp8_e5m2", "fp6_e2m3", "fp6_e3m2",
	"fp4_e2m1", "complex64",
};
const char *ts_plan_type_text(uint32_t dtype) { return dtype < TS_PLAN_DTYPES ? type_names[dtype] : "?"; }

typedef struct {
	TsCtx *cx;
	const TsPlanHeader *p;
	const TsPlanEntry *en;
	const TsPlanTensor *t;
	const char *model;
	TsBuf out;
	TS_VEC(const char *) used; /* names of the function at hand */
} Header;

/* ---- names: what C can't have becomes '_', what is taken gets one more ---- */

static bool taken(const Header *h, const char *s)
{
	static const char *const words[] = {
		"auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern", "float", "for", "goto", "if",
		"inline", "int", "long", "register", "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef", "union",
		"unsigned", "void", "volatile", "while", "and", "and_eq", "asm", "bitand", "bitor", "bool", "catch", "class", "compl", "const_cast",
		"constexpr", "decltype", "delete", "dynamic_cast", "explicit", "export", "false", "friend", "mutable", "namespace", "new", "noexcept", "not",
		"not_eq", "nullptr", "operator", "or", "or_eq", "private", "protected", "public", "reinterpret_cast", "static_assert", "static_cast",
		"template", "this", "thread_local", "throw", "true", "try", "typeid", "typename", "using", "virtual", "wchar_t", "xor", "xor_eq", "alignas",
		"alignof", "char16_t", "char32_t", "concept", "requires", "char8_t", "consteval", "constinit", "co_await", "co_return", "co_yield",
		"session", "error", "NULL", "linux", "unix", "EOF", "I", "errno", "stdin", "stdout", "stderr", "int64_t", "uint8_t",
	};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (!strcmp(words[i], s))
			return true;
	for (uint32_t i = 0; i < h->used.n; i++)
		if (!strcmp(h->used.p[i], s))
			return true;
	return false;
}

static const char *plain(Header *h, const char *s)
{
	bool digit = s[0] >= '0' && s[0] <= '9';
	char *c = ts_printf(ts_arena(h->cx), "%s%s", digit || !*s ? "_" : "", s);
	for (char *p = c; *p; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9')))
			*p = '_';
	return c;
}

static const char *fresh(Header *h, const char *s)
{
	const char *c = plain(h, s);
	while (taken(h, c) || !strncmp(c, "tessera_", 8))
		c = ts_printf(ts_arena(h->cx), "%s_", c);
	ts_push(ts_arena(h->cx), &h->used, c);
	return c;
}

/* ---- text ---- */

typedef struct { Header *h; const char **dims; } Names;
static const char *dim_name(void *user, uint32_t dim) { return ((Names *)user)->dims[dim]; }

static void describe_tensor(Header *h, const TsPlanTensor *t)
{
	ts_buf_fmt(&h->out, "%s: %s[", ts_plan_str(h->p, t->name), ts_plan_type_text(t->dtype));
	for (uint32_t k = 0; k < t->rank; k++) {
		ts_buf_str(&h->out, k ? ", " : "");
		ts_plan_expr_text(h->p, TS_PLAN_TABLE(h->p, uint32_t, words)[t->dims + k], &h->out);
	}
	ts_buf_str(&h->out, "]");
}

/* the text of a comment must not end it */
static void safe_from(TsBuf *b, size_t at)
{
	for (size_t i = at; i + 1 < b->n; i++)
		if ((b->p[i] == '*' && b->p[i + 1] == '/') || (b->p[i] == '/' && b->p[i + 1] == '*'))
			b->p[i + (b->p[i] == '*')] = '|';
}

static void describe(Header *h, const bool *uses)
{
	size_t at = h->out.n + 3;
	ts_buf_fmt(&h->out, "/* %s(", ts_plan_str(h->p, h->en->name));
	for (uint32_t i = 0; i < h->en->n_inputs + h->en->n_outputs; i++) {
		ts_buf_str(&h->out, i == h->en->n_inputs ? ") -> (" : i ? ", " : "");
		describe_tensor(h, &h->t[i]);
	}
	ts_buf_str(&h->out, h->en->n_outputs ? ")" : ") -> ()");
	for (uint32_t d = 0; d < h->p->dims.n; d++) {
		const TsPlanDim *dim = TS_PLAN_TABLE(h->p, TsPlanDim, dims) + d;
		if (!uses[d])
			continue;
		ts_buf_fmt(&h->out, "\n * %s: %" PRId64, ts_plan_str(h->p, dim->name), dim->min);
		if (dim->max)
			ts_buf_fmt(&h->out, " to %" PRId64, dim->max);
		else
			ts_buf_str(&h->out, " or more");
		if (dim->multiple_of > 1)
			ts_buf_fmt(&h->out, ", a multiple of %" PRId64, dim->multiple_of);
	}
	safe_from(&h->out, at);
	ts_buf_str(&h->out, " */\n");
}

static void shapes(Header *h, const char **names, Names *n)
{
	for (uint32_t i = 0; i < h->en->n_inputs + h->en->n_outputs; i++) {
		ts_buf_fmt(&h->out, "\tint64_t tessera_shape%u[%u] = { ", i, h->t[i].rank ? h->t[i].rank : 1);
		for (uint32_t k = 0; k < h->t[i].rank; k++) {
			ts_buf_str(&h->out, k ? ", " : "");
			ts_plan_expr_c(h->p, TS_PLAN_TABLE(h->p, uint32_t, words)[h->t[i].dims + k], dim_name, n, &h->out);
		}
		ts_buf_fmt(&h->out, "%s };\n\tDLDataType tessera_type%u = %s;\n", h->t[i].rank ? "" : "0", i, types[h->t[i].dtype].dl);
		ts_buf_fmt(&h->out, "\tDLTensor tessera_tensor%u = tessera_tensor((void *)(uintptr_t)%s, tessera_type%u, %u, tessera_shape%u);\n", i, names[i], i,
		           h->t[i].rank, i);
	}
	for (uint32_t i = 0; i < h->en->n_inputs + h->en->n_outputs; i++)
		ts_buf_fmt(&h->out, "\ttessera_tensor%u.device = session->device;\n", i);
}

static void pointers(Header *h, const char *what, uint32_t first, uint32_t n)
{
	ts_buf_fmt(&h->out, "\tconst DLTensor *tessera_%s[%u] = { ", what, n ? n : 1);
	for (uint32_t i = first; i < first + n; i++)
		ts_buf_fmt(&h->out, "%s&tessera_tensor%u", i > first ? ", " : "", i);
	ts_buf_str(&h->out, n ? " };\n" : "NULL };\n");
}

static void function(Header *h, uint32_t graph)
{
	TsArena *a = ts_arena(h->cx);
	uint32_t n = h->en->n_inputs + h->en->n_outputs;
	const char **dims = TS_NEW_N(a, const char *, h->p->dims.n + 1), **names = TS_NEW_N(a, const char *, n + 1);
	bool *uses = TS_NEW_N(a, bool, h->p->dims.n + 1);
	const TsPlanBind *b = TS_PLAN_TABLE(h->p, TsPlanBind, binds) + h->en->bind;
	h->used.n = 0;
	for (uint32_t i = 0; i < h->en->n_binds; i++)
		uses[b[i].dim] = true;
	describe(h, uses);
	ts_buf_fmt(&h->out, "static inline int32_t %s_%s(TesseraSession *session", h->model, plain(h, ts_plan_str(h->p, h->en->name)));
	for (uint32_t d = 0; d < h->p->dims.n; d++) {
		dims[d] = uses[d] ? fresh(h, ts_plan_str(h->p, TS_PLAN_TABLE(h->p, TsPlanDim, dims)[d].name)) : "0";
		if (uses[d])
			ts_buf_fmt(&h->out, ", int64_t %s", dims[d]);
	}
	for (uint32_t i = 0; i < n; i++) {
		names[i] = fresh(h, ts_plan_str(h->p, h->t[i].name));
		ts_buf_fmt(&h->out, ", %s%s *%s", i < h->en->n_inputs ? "const " : "", types[h->t[i].dtype].c, names[i]);
	}
	ts_buf_str(&h->out, ", TesseraError *error)\n{\n");
	shapes(h, names, &(Names){ h, dims });
	pointers(h, "in", 0, h->en->n_inputs);
	pointers(h, "out", h->en->n_inputs, h->en->n_outputs);
	ts_buf_fmt(&h->out, "\treturn tessera_run(session, %u, tessera_in, %u, tessera_out, %u, session->stream, error);\n}\n\n", graph, h->en->n_inputs, h->en->n_outputs);
}

char *ts_emit_header(TsCtx *cx, TsBytes plan)
{
	const char *wrong = ts_plan_check(plan.p, plan.n);
	if (wrong)
		ts_bug(cx, (TsSpan){ 0 }, "header: %s", wrong);
	Header h = { .cx = cx, .p = plan.p };
	h.model = plain(&h, ts_plan_str(h.p, h.p->model));
	ts_buf_fmt(&h.out, "/* Model %s, made by %s. */\n#ifndef TESSERA_MODEL_%s\n#define TESSERA_MODEL_%s\n#include <tessera/tessera.h>\n\n#ifdef __cplusplus\n"
	           "extern \"C\" {\n#endif\n\nextern const TesseraModel %s_tessera;\n\n", h.model, ts_plan_str(h.p, h.p->producer), h.model, h.model, h.model);
	for (uint32_t d = 0; d < h.p->dims.n; d++)
		ts_buf_fmt(&h.out, "%s%s_dim_%s = %u%s", d ? ", " : "enum { ", h.model, plain(&h, ts_plan_str(h.p, TS_PLAN_TABLE(h.p, TsPlanDim, dims)[d].name)), d,
		           d + 1 == h.p->dims.n ? " };\n" : "");
	for (uint32_t i = 0; i < h.p->entries.n; i++)
		ts_buf_fmt(&h.out, "%s%s_graph_%s = %u%s", i ? ", " : "enum { ", h.model, plain(&h, ts_plan_str(h.p, TS_PLAN_TABLE(h.p, TsPlanEntry, entries)[i].name)), i,
		           i + 1 == h.p->entries.n ? " };\n\n" : "");
	for (uint32_t i = 0; i < h.p->entries.n; i++) {
		h.en = TS_PLAN_TABLE(h.p, TsPlanEntry, entries) + i;
		h.t = TS_PLAN_TABLE(h.p, TsPlanTensor, tensors) + h.en->tensor;
		function(&h, i);
	}
	ts_buf_str(&h.out, "#ifdef __cplusplus\n}\n#endif\n#endif\n");
	char *text = ts_strndup(ts_arena(cx), h.out.p, h.out.n);
	ts_buf_free(&h.out);
	return text;
}

bool ts_emit_header_beside(TsCtx *cx, TsBytes plan, const char *artifact)
{
	const char *slash = strrchr(artifact, '/'), *dot = strrchr(slash ? slash : artifact, '.');
	size_t stem = dot && dot != artifact && dot[-1] != '/' ? (size_t)(dot - artifact) : strlen(artifact);
	char *text = ts_emit_header(cx, plan);
	return ts_write_file(cx, ts_printf(ts_arena(cx), "%.*s.h", (int)stem, artifact), text, strlen(text));
}
