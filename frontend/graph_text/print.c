#include "frontend/graph_text/print.h"
#include "frontend/graph_text/lexer.h"
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/wrap.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct {
	TsBuf *to;
	bool comments, tight, wrap;
	int indent;
	uint32_t rank, open;  /* of the next place to break a line; round and square brackets that are open */
	size_t stmt, line;    /* where the statement, and its line that is being written, begin in `to` */
	TsBuf breaks;         /* TsBreak each, of this line */
} Printer;

/* As in the parser; a primary or postfix expression is 9. */
enum { PR_OR = 1, PR_AND, PR_NOT, PR_CMP, PR_ADD, PR_MUL, PR_NEG, PR_POW, PR_POST };

static const char *const dtype_text[] = {
#define TS_DTYPE(id, name, kind, bits, compute) name,
#include "ir/dtypes.def"
};

static void expr(Printer *p, const TsTree *t, int min);
static void type(Printer *p, const TsTree *t);
static void stmt(Printer *p, const TsTree *t);
static void block(Printer *p, const TsTree *t);

static void str(Printer *p, const char *s) { ts_buf_str(p->to, s); }

/* ---- where lines may break ---- */

/* Levels outermost first; at one level after commas, then after the operator that binds least. Brackets of types and indices break last. */
enum { RANK_BRACKET = 16, RANK_SIZES = 16 * 16 };

static void may_break(Printer *p, uint32_t level)
{
	TsBreak b = { (uint32_t)(p->to->n - p->line), p->rank + level };
	if (p->wrap && p->to->n - p->line < UINT32_MAX) ts_buf_add(&p->breaks, &b, sizeof b);
}

static void comma(Printer *p)
{
	str(p, ",");
	may_break(p, 0);
	str(p, " ");
}

static void opening(Printer *p, const char *bracket, uint32_t rank)
{
	str(p, bracket);
	p->rank += rank;
	p->open++;
}

static void closing(Printer *p, const char *bracket, uint32_t rank)
{
	str(p, bracket);
	p->rank -= rank;
	p->open--;
}

static int beyond(const Printer *p) { return p->indent * 2 + 4; }

/* The line so far is whole, but for a comment. */
static void finish_line(Printer *p)
{
	if (p->breaks.n) ts_wrap_line(p->to, p->line, beyond(p), (const TsBreak *)p->breaks.p, p->breaks.n / sizeof(TsBreak));
	p->breaks.n = 0;
}

static void begin_line(Printer *p, int blanks)
{
	finish_line(p);
	str(p, "\n");
	p->line = p->to->n;
	for (int i = 0; i < blanks; i++) str(p, " ");
}

static void new_line(Printer *p)
{
	finish_line(p);
	p->stmt = p->to->n;
	begin_line(p, p->indent * 2);
}

/* What stands on the last line of the text; its width in *columns. */
static bool is_fresh(const Printer *p, uint32_t *columns)
{
	bool blank = true;
	*columns = 0;
	for (size_t i = p->to->n; i > 0 && p->to->p[i - 1] != '\n'; i--) {
		blank &= p->to->p[i - 1] == ' ';
		*columns += ((unsigned char)p->to->p[i - 1] & 0xc0) != 0x80;
	}
	return blank;
}

static void space(Printer *p)
{
	uint32_t columns;
	if (!is_fresh(p, &columns)) str(p, " ");
}

/* ---- comments inside statements ---- */

/* Whether the statement goes on after a line break here. */
static bool goes_on(const Printer *p)
{
	static const char *const word[] = { " and", " or", " not" };
	const char *s = p->to->p;
	size_t n = p->to->n;
	if (p->open) return true;
	while (n > p->line && s[n - 1] == ' ') n--;
	if (n == p->line || strchr(",=+-*/%@<>:{", s[n - 1])) return true;
	for (size_t i = 0, k; i < sizeof word / sizeof *word; i++)
		if ((k = strlen(word[i])) <= n - p->line && !memcmp(s + n - k, word[i], k)) return true;
	return false;
}

/* Comments that cannot stand where they stood: the brackets there are gone. They go before the statement. */
static void comments_before(Printer *p, const char *s)
{
	TsBuf rest = { 0 };
	size_t at = p->stmt, n = p->to->n;
	ts_buf_add(&rest, p->to->p + at, n - at);
	p->to->n = at;
	for (size_t len; *s; s += len + (s[len] == '\n')) {
		if (*s == *TS_BESIDE) s++;
		len = strcspn(s, "\n");
		ts_buf_fmt(p->to, "\n%*s%.*s", p->indent * 2, "", (int)len, s);
	}
	p->stmt = p->to->n;
	p->line += p->stmt - at;
	ts_buf_add(p->to, rest.p, rest.n);
	ts_buf_free(&rest);
}

/* Comments between two tokens of a statement, on lines of their own or ending one. */
static void inner(Printer *p, TsSym s, bool may_end_line)
{
	uint32_t columns;
	if (!s || !p->comments || !p->wrap) return;
	if (!may_end_line && !goes_on(p)) { comments_before(p, s); return; }
	bool fresh = is_fresh(p, &columns);
	if (!fresh)
		while (p->to->p[p->to->n - 1] == ' ') p->to->n--;
	for (size_t len; *s; s += len + (s[len] == '\n')) {
		bool beside = *s == *TS_BESIDE;
		s += beside;
		len = strcspn(s, "\n");
		finish_line(p);
		if (beside && !fresh) str(p, "  ");
		else if (!fresh) begin_line(p, beyond(p));
		ts_buf_add(p->to, s, len);
		begin_line(p, beyond(p));
		fresh = true;
	}
}

void ts_print_string(TsSym s, TsBuf *to)
{
	ts_buf_char(to, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\') { ts_buf_char(to, '\\'); ts_buf_char(to, *s); }
		else if (*s == '\n') ts_buf_str(to, "\\n");
		else if (*s == '\t') ts_buf_str(to, "\\t");
		else if ((unsigned char)*s < 32 || *s == 127) ts_buf_fmt(to, "\\u{%x}", (unsigned char)*s);
		else ts_buf_char(to, *s);
	}
	ts_buf_char(to, '"');
}

void ts_print_name(TsSym s, TsBuf *to)
{
	if (ts_is_plain_name(s)) ts_buf_str(to, s);
	else ts_buf_fmt(to, "`%s`", s);
}

static void name(Printer *p, TsSym s) { ts_print_name(s ? s : "_", p->to); }

/* A field's or keyword argument's name: there a keyword is a name too. */
static void word(Printer *p, TsSym s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
	if (n && !s[n] && (s[0] < '0' || s[0] > '9')) str(p, s);
	else name(p, s);
}

/* ---- expressions ---- */

static int infix_level(int32_t op)
{
	switch (op) {
	case TS_IN_OR: return PR_OR;
	case TS_IN_AND: return PR_AND;
	case TS_IN_ADD: case TS_IN_SUB: return PR_ADD;
	case TS_IN_MUL: case TS_IN_DIV: case TS_IN_FLOORDIV: case TS_IN_MOD: case TS_IN_MATMUL: return PR_MUL;
	case TS_IN_POW: return PR_POW;
	default: return PR_CMP;
	}
}

static bool is_negative(const TsTree *t)
{
	return (t->kind == TS_TREE_INT && t->i < 0) || (t->kind == TS_TREE_FLOAT && signbit(t->f) && !isnan(t->f));
}

static int level(const TsTree *t)
{
	if (t->kind == TS_TREE_BIN) return infix_level(t->sub);
	if (t->kind == TS_TREE_NOT) return PR_NOT;
	if (t->kind == TS_TREE_NEG || is_negative(t)) return PR_NEG;
	return PR_POST;
}

static void kids(Printer *p, const TsTree *t, uint32_t from)
{
	for (uint32_t i = from; i < t->n; i++) {
		if (i > from) comma(p);
		expr(p, t->kid[i], 0);
	}
}

static void in_brackets(Printer *p, const TsTree *t, uint32_t from, uint32_t rank)
{
	bool tight = p->tight;
	p->tight = true;
	opening(p, "[", rank);
	kids(p, t, from);
	inner(p, t->tail, true);
	closing(p, "]", rank);
	p->tight = tight;
}

static void binary(Printer *p, const TsTree *t)
{
	int l = infix_level(t->sub);
	bool product = l == PR_MUL && t->sub != TS_IN_MATMUL;
	/* comparisons do not chain, `**` groups to the right; a minus needs no brackets after `**` */
	expr(p, t->kid[0], l == PR_CMP || l == PR_POW ? l + 1 : l);
	if (!(product && p->tight)) str(p, " ");
	str(p, ts_infix_text((TsInfix)t->sub));
	if (!(product && p->tight)) { may_break(p, (uint32_t)l); str(p, " "); }
	bool signed_power = l == PR_POW && level(t->kid[1]) == PR_NEG;
	expr(p, t->kid[1], signed_power ? 0 : l == PR_POW ? l : l + 1);
}

static void call(Printer *p, const TsTree *t, uint32_t from)
{
	bool tight = p->tight;
	p->tight = tight && from == 0;
	opening(p, "(", RANK_BRACKET);
	kids(p, t, from);
	inner(p, t->tail, true);
	closing(p, ")", RANK_BRACKET);
	p->tight = tight;
}

static void range(Printer *p, const TsTree *t)
{
	if (t->kid[0]) expr(p, t->kid[0], 0);
	str(p, ":");
	if (t->kid[1]) expr(p, t->kid[1], 0);
	if (t->kid[2]) { str(p, ":"); expr(p, t->kid[2], 0); }
}

static void number(Printer *p, const TsTree *t)
{
	if (t->kind == TS_TREE_INT) ts_buf_fmt(p->to, "%" PRId64, t->i);
	else ts_buf_f64(p->to, t->f);
}

/* `bits(` and, in tests, `expect(` begin something else than a call. */
static void callee(Printer *p, const TsTree *t)
{
	if (t->kind == TS_TREE_NAME && (!strcmp(t->name, "bits") || !strcmp(t->name, "expect"))) ts_buf_fmt(p->to, "`%s`", t->name);
	else expr(p, t, PR_POST);
}

static void expr_bare(Printer *p, const TsTree *t)
{
	switch ((TsTreeKind)t->kind) {
	case TS_TREE_INT: case TS_TREE_FLOAT: number(p, t); break;
	case TS_TREE_BITS: ts_buf_fmt(p->to, "bits(0x%" PRIx64 ", %s)", (uint64_t)t->i, dtype_text[t->sub]); break;
	case TS_TREE_STR: ts_print_string(t->name, p->to); break;
	case TS_TREE_NAME: name(p, t->name); break;
	case TS_TREE_DTYPE: str(p, dtype_text[t->i]); break;
	case TS_TREE_TRUE: str(p, "true"); break;
	case TS_TREE_FALSE: str(p, "false"); break;
	case TS_TREE_NONE: str(p, "none"); break;
	case TS_TREE_INF: str(p, "inf"); break;
	case TS_TREE_NAN: str(p, "nan"); break;
	case TS_TREE_ELLIPSIS: str(p, "..."); break;
	case TS_TREE_LIST: in_brackets(p, t, 0, RANK_BRACKET); break;
	case TS_TREE_NEG: str(p, "-"); expr(p, t->kid[0], PR_NEG); break;
	case TS_TREE_NOT: str(p, "not "); expr(p, t->kid[0], PR_NOT); break;
	case TS_TREE_BIN: binary(p, t); break;
	case TS_TREE_CALL: callee(p, t->kid[0]); call(p, t, 1); break;
	case TS_TREE_KW: word(p, t->name); str(p, " = "); expr(p, t->kid[0], 0); break;
	case TS_TREE_FIELD: expr(p, t->kid[0], PR_POST); str(p, "."); word(p, t->name); break;
	case TS_TREE_WNAME: expr(p, t->kid[0], PR_POST); str(p, "."); ts_print_string(t->name, p->to); break;
	case TS_TREE_INDEX: expr(p, t->kid[0], PR_POST); in_brackets(p, t, 1, RANK_SIZES); break;
	case TS_TREE_RANGE: range(p, t); break;
	default: type(p, t); break;
	}
}

static void expr(Printer *p, const TsTree *t, int min)
{
	bool grouped = level(t) < min;
	if (t->kind < TS_TREE_TYPE) inner(p, t->comment, false);
	if (grouped) opening(p, "(", RANK_BRACKET);
	expr_bare(p, t);
	if (grouped) closing(p, ")", RANK_BRACKET);
}

/* ---- types ---- */

static void annots(Printer *p, const TsTree *t, uint32_t from)
{
	for (uint32_t i = from; i < t->n; i++) {
		if (i > from || t->kind != TS_TREE_TYPE_NONE) str(p, " ");
		str(p, "@");
		name(p, t->kid[i]->name);
		bool tight = p->tight;
		p->tight = true;
		if (t->kid[i]->n) call(p, t->kid[i], 0);
		p->tight = tight;
	}
}

static void types(Printer *p, const TsTree *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		if (i) comma(p);
		type(p, t->kid[i]);
	}
}

static void tensor_type(Printer *p, const TsTree *t)
{
	uint32_t i = 0;
	bool tight = p->tight;
	str(p, dtype_text[t->i]);
	if (t->sub) { str(p, "@"); str(p, dtype_text[t->sub - 1]); }
	if (t->kind == TS_TREE_TYPE_LIKE) {
		str(p, " like ");
		name(p, t->name);
	} else {
		p->tight = true;
		opening(p, "[", RANK_SIZES);
		for (; i < t->n && t->kid[i]->kind != TS_TREE_ANNOT; i++) {
			if (i) comma(p);
			expr(p, t->kid[i], 0);
		}
		closing(p, t->flags & TS_TF_PENDING ? "]!" : "]", RANK_SIZES);
		p->tight = tight;
	}
	annots(p, t, i);
}

static void type(Printer *p, const TsTree *t)
{
	if (t->kind < TS_TREE_LET) inner(p, t->comment, false);
	switch ((TsTreeKind)t->kind) {
	case TS_TREE_TYPE: case TS_TREE_TYPE_LIKE: tensor_type(p, t); break;
	case TS_TREE_TYPE_WORD: str(p, t->name); annots(p, t, 0); break;
	case TS_TREE_TYPE_NONE: annots(p, t, 0); break;
	case TS_TREE_SOME: str(p, "some "); name(p, t->name); break;
	case TS_TREE_TYPE_OP:
		opening(p, "op(", RANK_BRACKET);
		types(p, t->kid[0]);
		str(p, t->kid[0]->n ? " -> " : "-> ");
		types(p, t->kid[1]);
		closing(p, ")", RANK_BRACKET);
		break;
	default: stmt(p, t); break;
	}
}

/* ---- lines ---- */

static const char *doc_line(Printer *p, const char *doc)
{
	size_t n = strcspn(doc, "\n");
	new_line(p);
	str(p, n ? "## " : "##");
	ts_buf_add(p->to, doc, n);
	return doc[n] ? doc + n + 1 : NULL;
}

/* Comments and documentation before a statement or a closing brace, each after a line break; an empty line stays without blanks. */
static void lines_before(Printer *p, const char *s, const char *doc)
{
	for (size_t n; p->comments && s && *s; s += n + (s[n] == '\n')) {
		n = strcspn(s, "\n");
		if (*s == *TS_DOC_HERE) doc = doc ? doc_line(p, doc) : NULL;
		else if (n) { new_line(p); ts_buf_add(p->to, s, n); }
		else { finish_line(p); str(p, "\n"); }
	}
	while (doc) doc = doc_line(p, doc);
}

/* A comment at the end of a line. */
static void tail(Printer *p, TsSym s)
{
	if (!s || !p->comments) return;
	uint32_t column = (uint32_t)strspn(s, " "), at;
	finish_line(p);
	is_fresh(p, &at);
	ts_buf_fmt(p->to, "%*s%s", column > at + 2 ? (int)(column - at) : 2, "", s + column);
}

static void attrs(Printer *p, const TsTree *t)
{
	str(p, t->n ? "{ " : "{");
	p->rank += RANK_BRACKET;
	kids(p, t, 0);
	inner(p, t->tail, true);
	p->rank -= RANK_BRACKET;
	if (t->n) space(p);
	str(p, "}");
}

static void attrs_after(Printer *p, const TsTree *t)
{
	if (!t) return;
	str(p, " ");
	attrs(p, t);
}

static void line(Printer *p, const TsTree *t)
{
	lines_before(p, t->comment, t->doc);
	new_line(p);
	stmt(p, t);
	tail(p, t->tail);
}

/* "{", a line per kid, "}" */
static void braced(Printer *p, const TsTree *t)
{
	str(p, "{");
	tail(p, t->tail);
	finish_line(p);
	p->indent++;
	for (uint32_t i = 0; i < t->n; i++) line(p, t->kid[i]);
	lines_before(p, t->comment, NULL);
	finish_line(p);
	p->indent--;
	new_line(p);
	str(p, "}");
}

static void block(Printer *p, const TsTree *t)
{
	str(p, " ");
	braced(p, t);
}

/* ---- statements ---- */

static void bind(Printer *p, const TsTree *t)
{
	inner(p, t->comment, false);
	if (t->kind == TS_TREE_PARAM && t->i) str(p, "const ");
	name(p, t->name);
	if (t->n && t->kid[0]) { str(p, ": "); type(p, t->kid[0]); }
}

static void binds(Printer *p, const TsTree *t)
{
	p->rank += RANK_BRACKET;
	for (uint32_t i = 0; i < t->n; i++) {
		if (i) comma(p);
		bind(p, t->kid[i]);
	}
	p->rank -= RANK_BRACKET;
}

static void dots(Printer *p, const TsTree *t)
{
	expr(p, t->kid[0], 0);
	str(p, "..");
	expr(p, t->kid[1], 0);
	if (t->kid[2]) { str(p, " step "); expr(p, t->kid[2], 0); }
}

static void ins(Printer *p, const TsTree *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		if (i) comma(p);
		name(p, t->kid[i]->name);
		str(p, " in ");
		if (t->kid[i]->kid[0]->kind == TS_TREE_RANGE) dots(p, t->kid[i]->kid[0]);
		else expr(p, t->kid[i]->kid[0], 0);
	}
}

static void with(Printer *p, const TsTree *t)
{
	if (!t) return;
	str(p, " with ");
	for (uint32_t i = 0; i < t->n; i++) {
		if (i) comma(p);
		inner(p, t->kid[i]->comment, false);
		name(p, t->kid[i]->name);
		str(p, " = ");
		expr(p, t->kid[i]->kid[0], 0);
	}
}

static void rhs(Printer *p, const TsTree *t)
{
	switch ((TsTreeKind)t->kind) {
	case TS_TREE_FOR:
		str(p, "for ");
		name(p, t->name);
		str(p, " in ");
		dots(p, t->kid[0]);
		with(p, t->kid[1]);
		block(p, t->kid[2]);
		break;
	case TS_TREE_SCAN:
		str(p, "scan ");
		ins(p, t->kid[0]);
		if (t->kid[1]) { str(p, " axis "); expr(p, t->kid[1], 0); }
		if (t->i) str(p, " reverse");
		with(p, t->kid[2]);
		block(p, t->kid[3]);
		break;
	case TS_TREE_LOOP:
		str(p, "loop");
		with(p, t->kid[0]);
		if (t->kid[1]) { str(p, " max "); expr(p, t->kid[1], 0); }
		block(p, t->kid[2]);
		break;
	case TS_TREE_IF:
		str(p, "if ");
		expr(p, t->kid[0], 0);
		block(p, t->kid[1]);
		if (!t->kid[2]) break;
		str(p, " else");
		if (t->kid[2]->kind == TS_TREE_IF) { str(p, " "); rhs(p, t->kid[2]); }
		else block(p, t->kid[2]);
		break;
	default: expr(p, t, 0); break;
	}
}

static void dim(Printer *p, const TsTree *t)
{
	bool tight = p->tight;
	inner(p, t->comment, false);
	if (t->kid[0]) { expr(p, t->kid[0], 0); str(p, " <= "); }
	name(p, t->name);
	p->tight = true;
	if (t->kid[1]) { str(p, " = "); expr(p, t->kid[1], 0); }
	p->tight = tight;
	if (t->kid[2]) { str(p, " <= "); expr(p, t->kid[2], 0); }
	if (t->kid[3]) { str(p, " multiple_of "); expr(p, t->kid[3], 0); }
}

static void dims(Printer *p, const TsTree *t)
{
	str(p, "dims ");
	for (uint32_t i = 0; i < t->n; i++) {
		if (i) comma(p);
		dim(p, t->kid[i]);
	}
}

static void layout(Printer *p, const TsTree *t)
{
	str(p, "layout ");
	name(p, t->name);
	in_brackets(p, t->kid[0], 0, RANK_BRACKET);
	str(p, " =");
	for (uint32_t i = 1; i < t->n; i++) {
		const TsTree *d = t->kid[i];
		if (d->kind == TS_TREE_SWIZZLE) ts_buf_fmt(p->to, " swizzle %" PRId64, d->i);
		else if (d->kid[0]) ts_buf_fmt(p->to, " %s%" PRId64 ":%d%s", d->name, d->i, d->sub, d->kid[0]->name);
		else ts_buf_fmt(p->to, " %s%" PRId64 ":_", d->name, d->i);
	}
}

static void ring(Printer *p, const TsTree *t)
{
	str(p, "ring ");
	name(p, t->name);
	in_brackets(p, &(TsTree){ .n = 1, .kid = (TsTree *[]){ t->kid[0] } }, 0, RANK_BRACKET);
	str(p, " { ");
	binds(p, t->kid[1]);
	str(p, " }");
	attrs_after(p, t->kid[2]);
}

static void tile_stmt(Printer *p, const TsTree *t)
{
	switch ((TsTreeKind)t->kind) {
	case TS_TREE_LAYOUT: layout(p, t); break;
	case TS_TREE_SMEM:
		str(p, "smem ");
		name(p, t->name);
		str(p, ": ");
		type(p, t->kid[0]);
		attrs_after(p, t->kid[1]);
		break;
	case TS_TREE_RING: ring(p, t); break;
	case TS_TREE_ROLE:
		str(p, "role ");
		name(p, t->name);
		if (t->kid[0]->n) call(p, t->kid[0], 0);
		block(p, t->kid[1]);
		break;
	case TS_TREE_ONE: str(p, "one"); block(p, t->kid[0]); break;
	case TS_TREE_GRID: str(p, "grid "); ins(p, t); break;
	case TS_TREE_GROUP:
		str(p, "group ");
		name(p, t->name);
		call(p, t->kid[0], 0);
		block(p, t->kid[1]);
		break;
	default: break;
	}
}

/* ---- items ---- */

static void params(Printer *p, const TsTree *t)
{
	opening(p, "(", RANK_BRACKET);
	for (uint32_t i = 0; i < t->n; i++) {
		if (i) comma(p);
		bind(p, t->kid[i]);
	}
	inner(p, t->tail, true);
	closing(p, ")", RANK_BRACKET);
}

static void sig(Printer *p, const TsTree *t)
{
	params(p, t->kid[0]);
	if (!t->kid[1]) return;
	may_break(p, 0);
	inner(p, t->kid[1]->comment, true);
	space(p);
	str(p, "-> ");
	params(p, t->kid[1]);
}

static void function(Printer *p, const TsTree *t, const char *word)
{
	if (t->sub) str(p, "per_device ");
	str(p, word);
	name(p, t->name);
	sig(p, t->kid[0]);
	block(p, t->kid[1]);
	attrs_after(p, t->kid[2]);
}

static void weights(Printer *p, const TsTree *t)
{
	if (t->i) str(p, "trainable ");
	str(p, "weights ");
	name(p, t->name);
	if (t->kid[0]) {
		str(p, " = ");
		if (t->kid[0]->n == 1) expr(p, t->kid[0]->kid[0], 0);
		else in_brackets(p, t->kid[0], 0, RANK_BRACKET);
	}
	if (t->kid[1]) { str(p, " seed "); expr(p, t->kid[1], 0); }
	if (t->kid[2]) { str(p, " "); braced(p, t->kid[2]); }
}

static void typed(Printer *p, const TsTree *t, const char *word)
{
	str(p, word);
	name(p, t->name);
	if (t->kid[0]) { str(p, ": "); type(p, t->kid[0]); }
	str(p, " = ");
	expr(p, t->kid[1], 0);
}

static void import(Printer *p, const TsTree *t)
{
	str(p, "import ");
	name(p, t->name);
	sig(p, t->kid[0]);
	if (t->kid[1]) { str(p, " from "); expr(p, t->kid[1], 0); }
	attrs_after(p, t->kid[2]);
}

static bool apart(const TsTree *t) { return t->kind == TS_TREE_GRAPH || t->kind == TS_TREE_FN || t->kind == TS_TREE_KERNEL || t->kind == TS_TREE_TEST; }

static void file(Printer *p, const TsTree *t)
{
	const char *cut = t->comment && p->comments ? strchr(t->comment, '\f') : NULL;
	if (t->comment && p->comments) ts_buf_add(p->to, t->comment, cut ? (size_t)(cut - t->comment) : strlen(t->comment));
	ts_buf_fmt(p->to, "%s %" PRId64, t->name, t->i);
	tail(p, t->tail);
	for (uint32_t i = 0; i < t->n; i++) {
		if (!p->comments && apart(t->kid[i])) { finish_line(p); str(p, "\n"); }
		line(p, t->kid[i]);
	}
	if (cut) lines_before(p, cut + 1, NULL);
	finish_line(p);
	str(p, "\n");
}

static void item(Printer *p, const TsTree *t)
{
	switch ((TsTreeKind)t->kind) {
	case TS_TREE_FILE: file(p, t); break;
	case TS_TREE_CONST: typed(p, t, "const "); break;
	case TS_TREE_STATE: typed(p, t, "state "); break;
	case TS_TREE_META: str(p, "meta "); attrs(p, t->kid[0]); break;
	case TS_TREE_SOURCE: str(p, "source "); name(p, t->name); str(p, " = "); expr(p, t->kid[0], 0); break;
	case TS_TREE_WEIGHTS: weights(p, t); break;
	case TS_TREE_ENTRY:
		ts_print_string(t->name, p->to);
		str(p, ": ");
		type(p, t->kid[0]);
		if (t->kid[1]) { str(p, " = "); expr(p, t->kid[1], 0); }
		break;
	case TS_TREE_MESH:
		str(p, "mesh ");
		name(p, t->name);
		str(p, " = ");
		in_brackets(p, &(TsTree){ .n = t->n, .kid = t->kid }, 0, RANK_BRACKET);
		break;
	case TS_TREE_IMPORT: import(p, t); break;
	case TS_TREE_GRAPH: function(p, t, "graph "); break;
	case TS_TREE_FN: function(p, t, "fn "); break;
	case TS_TREE_KERNEL: function(p, t, "kernel "); break;
	case TS_TREE_TEST: str(p, "test "); expr(p, t->kid[0], 0); block(p, t->kid[1]); break;
	case TS_TREE_SIG: sig(p, t); break;
	case TS_TREE_PARAM: bind(p, t); break;
	default: tile_stmt(p, t); break;
	}
}

static void expect(Printer *p, const TsTree *t)
{
	str(p, t->i ? "expect error " : "expect ");
	expr(p, t->kid[0], 0);
	if (!t->i && t->kid[1]) { str(p, " within "); expr(p, t->kid[1], 0); }
}

static void stmt(Printer *p, const TsTree *t)
{
	switch ((TsTreeKind)t->kind) {
	case TS_TREE_LET: binds(p, t->kid[0]); str(p, " = "); rhs(p, t->kid[1]); attrs_after(p, t->kid[2]); break;
	case TS_TREE_EXPR: rhs(p, t->kid[0]); attrs_after(p, t->kid[1]); break;
	case TS_TREE_SET: str(p, "set "); kids(p, t->kid[0], 0); str(p, " = "); rhs(p, t->kid[1]); attrs_after(p, t->kid[2]); break;
	case TS_TREE_YIELD: case TS_TREE_EMIT:
		str(p, t->kind == TS_TREE_YIELD ? "yield" : "emit");
		if (t->n) str(p, " ");
		kids(p, t, 0);
		break;
	case TS_TREE_UNTIL: str(p, "until "); expr(p, t->kid[0], 0); break;
	case TS_TREE_NUMERICS: str(p, "numerics "); attrs(p, t->kid[0]); break;
	case TS_TREE_ATTRS: attrs(p, t); break;
	case TS_TREE_BLOCK: case TS_TREE_MANIFEST: braced(p, t); break;
	case TS_TREE_BIND: bind(p, t); break;
	case TS_TREE_FOR: case TS_TREE_SCAN: case TS_TREE_LOOP: case TS_TREE_IF: rhs(p, t); break;
	case TS_TREE_DIMS: dims(p, t); break;
	case TS_TREE_DIM: dim(p, t); break;
	case TS_TREE_INPUT: typed(p, t, "input "); break;
	case TS_TREE_EXPECT: expect(p, t); break;
	default: item(p, t); break;
	}
}

void ts_print_tree(const TsTree *t, TsBuf *to, bool keep_comments)
{
	Printer p = { .to = to, .comments = keep_comments, .wrap = t->kind >= TS_TREE_LET, .stmt = to->n, .line = to->n };
	expr(&p, t, 0);
	finish_line(&p);
	ts_buf_free(&p.breaks);
}

bool ts_fmt(TsCtx *cx, uint32_t source, TsBuf *to)
{
	TsTree *t = ts_parse(cx, source), *again;
	size_t at = to->n;
	if (!t) return false;
	ts_print_tree(t, to, true);
	again = ts_parse(cx, ts_source_add(cx, "formatted", to->p + at, to->n - at)); /* nothing that means something else replaces a file */
	if (!again || !ts_tree_eq(t, again)) ts_bug(cx, t->at, "the text in standard form does not read as the same");
	return true;
}
