/* The driver: walks the graphs in text order and tries the rules at each node, again and again until nothing changes. */
#include "match.h"
#include <string.h>

enum { MAX_DEPTH = 256, MAX_ROUNDS = 64 };
static const char *const passes[] = { "fold", "cse", "dce", "hoist" };
enum { PASS_COUNT = sizeof passes / sizeof *passes };

const char *ts_rewrite_name(uint32_t i)
{
	if (i < ts_rule_count()) return ts_rule(i)->name;
	i -= ts_rule_count();
	return i < PASS_COUNT ? passes[i] : NULL;
}

bool ts_rw_pass_on(const TsRw *rw, const char *pass)
{
	for (uint32_t i = 0; i < PASS_COUNT; i++)
		if (!strcmp(passes[i], pass)) return !rw->off[ts_rule_count() + i];
	return true;
}

/* file:line: what: op name */
void ts_rw_trace(TsRw *rw, const char *what, const TsNode *n)
{
	rw->changed = true;
	rw->steps++;
	if (!rw->opt->print) return;
	TsSym name = n->nout ? ts_val(rw->g, n->out[0])->name : NULL;
	if (n->at.file) {
		uint32_t line, col;
		ts_source_line_col(rw->cx, n->at.file, n->at.begin, &line, &col);
		fprintf(rw->opt->print, "%s:%u: ", ts_source_name(rw->cx, n->at.file), line);
	}
	fprintf(rw->opt->print, "%s: %s%s%s\n", what, ts_op_info(rw->cx, n->op)->name, name ? " " : "", name ? name : "");
}

/* ---- one sweep ---------------------------------------------------------------------------------------------------------------- */
static void count_uses(TsRw *rw, const TsBlock *b)
{
	for (uint32_t i = 0; i < b->nodes.n; i++) {
		const TsNode *n = b->nodes.p[i];
		for (uint32_t k = 0; k < n->nin; k++) rw->uses.p[n->in[k]]++;
		if (n->op == TS_OP_for) count_uses(rw, &n->loop->body);
	}
	for (uint32_t i = 0; i < b->results.n; i++) rw->uses.p[b->results.p[i]]++;
}

/* Grown tables for values made meanwhile: no replacement, no use counted. */
static void grow(TsRw *rw)
{
	while (rw->repl.n < rw->g->vals.n) ts_push(rw->a, &rw->repl, 0);
	while (rw->uses.n < rw->g->vals.n) ts_push(rw->a, &rw->uses, 0);
}

static void sweep_block(TsRw *rw, TsBlock *b);

/* A new value takes the name, and so does a step of the same statement: y.1 becomes y. */
static bool takes_name(TsRw *rw, TsVal by, TsSym name, const TsBlock *made)
{
	const TsValue *v = ts_val(rw->g, by);
	if (!name || !v->def || ts_op_info(rw->cx, v->def->op)->cls == TS_CLS_LEAF) return false;
	if (!v->name || (v->name != name && ts_rw_name_base(rw->cx, v->name) == name)) return true;
	for (uint32_t i = 0; i < made->nodes.n; i++)
		if (made->nodes.p[i] == v->def) return true;
	return false;
}

/* From now on `by` stands for old's result. */
static void replace(TsRw *rw, const TsNode *old, TsVal by, const TsBlock *made)
{
	TsSym name = ts_val(rw->g, old->out[0])->name;
	grow(rw);
	rw->repl.p[old->out[0]] = by;
	rw->uses.p[by] += rw->uses.p[old->out[0]];
	for (uint32_t i = 0; i < old->nin; i++)
		if (rw->uses.p[ts_rw_now(rw, old->in[i])]) rw->uses.p[ts_rw_now(rw, old->in[i])]--;
	for (uint32_t i = 0; i < made->nodes.n; i++)
		for (uint32_t k = 0; k < made->nodes.p[i]->nin; k++) rw->uses.p[made->nodes.p[i]->in[k]]++;
	if (!takes_name(rw, by, name, made)) return;
	ts_val(rw->g, by)->name = name;
	if (!ts_val(rw->g, by)->def->doc) ts_val(rw->g, by)->def->doc = old->doc;
}

static void settle(TsRw *rw, TsBlock *out, TsNode *n, int depth)
{
	for (uint32_t i = 0; i < n->nin; i++) n->in[i] = ts_rw_now(rw, n->in[i]);
	if (n->op == TS_OP_for) sweep_block(rw, &n->loop->body);
	TsBlock made = { 0 };
	const TsRule *fired;
	TsVal by = depth < MAX_DEPTH && rw->steps < rw->limit ? ts_match_node(rw, n, &made, &fired) : 0;
	if (!by) {
		ts_push(rw->a, &out->nodes, n);
		return;
	}
	ts_rw_trace(rw, fired->name, n);
	replace(rw, n, by, &made);
	for (uint32_t i = 0; i < made.nodes.n; i++) settle(rw, out, made.nodes.p[i], depth + 1);
}

static void sweep_block(TsRw *rw, TsBlock *b)
{
	TsBlock old = *b;
	b->nodes.p = NULL;
	b->nodes.n = b->nodes.cap = 0;
	for (uint32_t i = 0; i < old.nodes.n; i++) settle(rw, b, old.nodes.p[i], 0);
	for (uint32_t i = 0; i < b->results.n; i++) b->results.p[i] = ts_rw_now(rw, b->results.p[i]);
}

static void sweep(TsRw *rw)
{
	rw->repl.n = rw->uses.n = 0;
	grow(rw);
	memset(rw->repl.p, 0, rw->repl.n * sizeof *rw->repl.p);
	memset(rw->uses.p, 0, rw->uses.n * sizeof *rw->uses.p);
	count_uses(rw, &rw->g->body);
	sweep_block(rw, &rw->g->body);
}

/* ---- to a fixpoint -------------------------------------------------------------------------------------------------------------- */
static uint64_t count_nodes(const TsBlock *b)
{
	uint64_t n = b->nodes.n;
	for (uint32_t i = 0; i < b->nodes.n; i++)
		if (b->nodes.p[i]->op == TS_OP_for) n += count_nodes(&b->nodes.p[i]->loop->body);
	return n;
}

static void settle_graph(TsRw *rw, int64_t fold_most)
{
	int round = 0;
	do {
		rw->changed = false;
		ts_rw_dce(rw);
		ts_rw_cse(rw);
		ts_rw_fold(rw, fold_most);
		sweep(rw);
	} while (rw->changed && rw->steps < rw->limit && ++round < MAX_ROUNDS);
	ts_rw_dce(rw);
}

/* Large literals are folded last: a mask that is computed is easier to recognise than its table of bits. */
static void rewrite_graph(TsRw *rw, TsGraph *g)
{
	rw->g = g;
	rw->steps = 0;
	rw->limit = 4096 + 64 * count_nodes(&g->body);
	settle_graph(rw, 1);
	ts_rw_hoist(rw);
	settle_graph(rw, 1 << 16);
	if (rw->steps >= rw->limit) ts_warn(rw->cx, g->at, "W_REWRITE_LIMIT", "rewriting stopped after %llu steps; the graph is right but may not be in its best form", (unsigned long long)rw->steps);
	ts_rw_names(rw);
}

static bool find_disabled(TsModule *m, const TsRewriteOptions *opt, bool *off)
{
	uint32_t n = ts_rule_count() + PASS_COUNT;
	for (uint32_t i = 0; i < opt->ndisabled; i++) {
		bool known = false;
		for (uint32_t k = 0; k < n; k++)
			if (!strcmp(ts_rewrite_name(k), opt->disabled[i])) off[k] = known = true;
		if (known) continue;
		TsSym *names = TS_NEW_N(m->arena, TsSym, n);
		for (uint32_t k = 0; k < n; k++) names[k] = ts_intern(m->cx, ts_rewrite_name(k));
		ts_error(m->cx, (TsSpan){ 0 }, "E_UNKNOWN_REWRITE", "no rewrite named '%s'", opt->disabled[i]);
		if (ts_nearest(opt->disabled[i], names, n)) ts_hint_names(m->cx, opt->disabled[i], names, n);
		else ts_hint(m->cx, "there are %u: docs/rewrites.md lists them", n);
		return false;
	}
	return true;
}

bool ts_rewrite(TsModule *m, const TsRewriteOptions *opt)
{
	TsRewriteOptions none = { 0 };
	if (!opt) opt = &none;
	bool *off = TS_NEW_N(m->arena, bool, ts_rule_count() + PASS_COUNT);
	if (!find_disabled(m, opt, off)) return false;
	TsRw rw = { .m = m, .cx = m->cx, .a = m->arena, .opt = opt, .off = off };
	for (uint32_t i = 0; i < m->graphs.n; i++) rewrite_graph(&rw, m->graphs.p[i]);
	return true;
}
