/* Weights: the sets of a file, names with computed parts, subsets below a prefix. */
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/print_names.h"
#include "frontend/graph_text/sema_int.h"
#include "ir/weights.h"
#include "support/file.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 4096, MAX_VARS = 8 };

/* ---- items ---- */

/* The file that the options give in the place of all files of a set, or NULL. */
static TsSym given_path(Sema *s, TsSym set)
{
	for (uint32_t i = 0; i < s->o->n_files; i++)
		if (!s->o->files[i].name || s->o->files[i].name == set) return ts_intern(s->cx, s->o->files[i].path);
	return NULL;
}

static TsSym file_path(Sema *s, const char *name)
{
	if (s->o->weights_dir && name[0] != '/') return ts_intern_fmt(s->cx, "%s/%s", s->o->weights_dir, name);
	return ts_intern(s->cx, ts_path_beside(s->a, s->m->path, name));
}

/* The name with a brace for each `{{`. */
static TsSym one_brace(Sema *s, const char *name)
{
	TsBuf b = { 0 };
	for (const char *c = name; *c; c++) {
		ts_buf_char(&b, *c);
		if (c[0] == '{' && c[1] == '{') c++;
	}
	TsSym one = ts_intern_n(s->cx, b.p ? b.p : "", b.n);
	ts_buf_free(&b);
	return one;
}

/* `{0..12}` in a manifest name stands for each of them: adds the tensor for every number. */
static bool add_entry(Sema *s, TsWeights *w, TsTree *e, const char *name, const TsType *ty, int depth)
{
	const char *open = NULL, *dots, *close;
	for (const char *c = name; *c; c++) {
		if (c[0] == '{' && c[1] == '{') { c++; continue; }
		if (*c == '{') { open = c; break; }
	}
	if (!open) {
		ts_push(s->a, &w->tensors, (TsTensorInfo){ .name = one_brace(s, name), .type = *ty, .at = e->at });
		if (w->tensors.n > 1000000) { ts_error(s->cx, e->at, "E_LIMIT", "a manifest lists at most a million tensors"); return false; }
		return true;
	}
	char *end;
	close = strchr(open, '}');
	dots = strstr(open, "..");
	long long lo = strtoll(open + 1, &end, 10), hi = dots ? strtoll(dots + 2, NULL, 10) : 0;
	if (!close || !dots || dots > close || end != dots || depth > 4 || hi - lo > 100000) {
		ts_error(s->cx, e->at, "E_WEIGHT_NAME", "in a manifest name, { } holds a range such as {0..12}");
		return false;
	}
	for (long long i = lo; i < hi; i++)
		if (!add_entry(s, w, e, ts_printf(s->a, "%.*s%lld%s", (int)(open - name), name, i, close + 1), ty, depth + 1)) return false;
	return true;
}

bool ts_s_weights_item(Sema *s, TsTree *t)
{
	TsWeights w = { .name = t->name, .at = t->at, .trainable = t->i };
	TsTree *files = t->kid[0], *manifest = t->kid[2];
	if (t->i || t->kid[1]) { ts_s_not_yet(s, t->at, "trainable weights"); return false; }
	TsSym given = given_path(s, t->name);
	uint32_t n_files = given ? 1 : files ? files->n : 0;
	for (uint32_t i = 0; i < n_files; i++) {
		TsSym name = files && files->n ? files->kid[i]->name : given;
		ts_push(s->a, &w.file_names, name);
		ts_push(s->a, &w.files, given ? given : file_path(s, name));
	}
	for (uint32_t i = 0; manifest && i < manifest->n; i++) {
		TsType ty;
		if (manifest->kid[i]->kid[1]) { ts_s_not_yet(s, manifest->kid[i]->at, "an initialiser"); return false; }
		if (!ts_s_type(s, manifest->kid[i]->kid[0], &ty) || !add_entry(s, &w, manifest->kid[i], manifest->kid[i]->name, &ty, 0)) return false;
	}
	if (!ts_weights_open(s->m, &w)) return false;
	ts_push(s->a, &s->m->weights, w);
	return ts_s_bind(s, t->name, t->at, ENT(ENT_WEIGHTS, t->at, .set = s->m->weights.n - 1, .s = ts_intern(s->cx, "*")));
}

/* ---- names ---- */

/* A name with its `{expr}` parts worked out: integers in place, loop variables kept as {i + 1}. False after reporting. */
static bool work_out(Sema *s, TsTree *t, TsBuf *out)
{
	const char *p = t->name;
	while (*p) {
		if (p[0] == '{' && p[1] == '{') { ts_buf_str(out, "{{"); p += 2; continue; }
		if (*p != '{') { ts_buf_char(out, *p++); continue; }
		const char *end = strchr(p, '}');
		if (!end) { ts_error(s->cx, t->at, "E_WEIGHT_NAME", "a { without } in a weight name; {{ is a brace"); return false; }
		size_t n = (size_t)(end - p - 1);
		TsTree *x = ts_parse_expr(s->cx, t->at.file, p + 1, n, t->at.end - 1 - (uint32_t)strlen(p + 1));
		TsDim d;
		int64_t v;
		if (!x || !ts_s_size(s, x, &d)) return false;
		if (ts_dim_is_const(s->d, d, &v)) ts_buf_fmt(out, "%lld", (long long)v);
		else {
			ts_buf_char(out, '{');
			ts_dim_print(s->d, d, out);
			ts_buf_char(out, '}');
		}
		p = end + 1;
	}
	return true;
}

/* Every iteration of the open loops: the tensor's name there, its type, all the same. */
static bool same_everywhere(Sema *s, TsTree *t, const TsWeights *w, TsSym pattern, TsType *ty)
{
	const TsFor *loop[MAX_VARS];
	TsSym vars[MAX_VARS];
	int64_t vals[MAX_VARS];
	uint32_t n = 0;
	for (OpenFor *o = s->loops; o && strchr(pattern, '{'); o = o->up) {
		if (!ts_names_mention(pattern, o->f->var)) continue;
		if (n == MAX_VARS) { ts_error(s->cx, t->at, "E_LIMIT", "loops nest deeper than %d", MAX_VARS); return false; }
		loop[n] = o->f;
		vals[n] = o->f->lo;
		vars[n++] = o->f->var;
	}
	for (uint32_t i = 0; i < n; i++)
		if (loop[i]->hi <= loop[i]->lo) return ts_s_fail(s, t->at, "E_LOOP", "a loop over weights runs at least once").kind == ENT_NONE;
	for (bool first = true;; first = false) {
		TsSym name = ts_weight_name(s->cx, pattern, n, vars, vals);
		const TsTensorInfo *info = name ? ts_weights_find(w, name) : NULL;
		if (!info) {
			ts_error(s->cx, t->at, "E_NO_WEIGHT", "%s has no \"%s\"%s", w->file_names.n == 1 ? w->file_names.p[0] : w->name, name ? name : pattern, n ? ts_printf(s->a, " (%s = %lld)", vars[0], (long long)vals[0]) : "");
			TsSym near = name ? ts_weights_nearest(s->cx, w, name) : NULL;
			if (near) ts_hint(s->cx, "nearest: %s", near);
			return false;
		}
		if (first) *ty = info->type;
		else if (!ts_type_eq(ty, &info->type)) {
			TsBuf a = { 0 }, b = { 0 };
			ts_type_print(s->m, ty, &a);
			ts_type_print(s->m, &info->type, &b);
			ts_error(s->cx, t->at, "E_LOOP_TYPE", "iteration %lld differs: %s is %s, the first one is %s", (long long)vals[0], name, b.p, a.p);
			ts_hint(s->cx, "one body serves every %s; split the range", vars[0]);
			ts_buf_free(&a);
			ts_buf_free(&b);
			return false;
		}
		uint32_t k = 0;
		for (; k < n; k++) {
			vals[k] += loop[k]->step;
			if (vals[k] < loop[k]->hi) break;
			vals[k] = loop[k]->lo;
		}
		if (k == n) return true;
	}
}

/* The `*` that stands for the rest of a name, not one inside {2*i}; NULL when there is none. */
static const char *find_star(const char *p)
{
	for (bool inside = false; p && *p; p++) {
		if (!inside && p[0] == '{' && p[1] == '{') p++;
		else if (*p == '{') inside = true;
		else if (*p == '}') inside = false;
		else if (*p == '*' && !inside) return p;
	}
	return NULL;
}

Ent ts_s_weight(Sema *s, TsTree *t, Ent set)
{
	if (set.kind == ENT_UNKNOWN) return set;
	if (set.kind != ENT_WEIGHTS) return ts_s_fail(s, t->at, "E_TYPE_MISMATCH", ".\"…\" names a tensor of a set of weights");
	TsBuf part = { 0 }, full = { 0 };
	Ent r = ts_s_unknown(t->at);
	if (!work_out(s, t, &part)) goto done;
	const char *star = find_star(set.s), *rest = find_star(part.p);
	ts_buf_fmt(&full, "%.*s%s%s", (int)(star - set.s), set.s, part.p ? part.p : "", star + 1);
	if (full.n > MAX_NAME) { r = ts_s_fail(s, t->at, "E_LIMIT", "a weight name is at most %d bytes", MAX_NAME); goto done; }
	TsSym pattern = ts_intern(s->cx, full.p);
	if (rest) {
		if (find_star(rest + 1)) r = ts_s_fail(s, t->at, "E_WEIGHT_NAME", "one * stands for the rest of the name");
		else r = ENT(ENT_WEIGHTS, t->at, .set = set.set, .s = pattern);
		goto done;
	}
	TsType ty;
	if (!same_everywhere(s, t, &s->m->weights.p[set.set], pattern, &ty)) goto done;
	for (uint32_t i = 0; i < s->b->nodes.n; i++) { /* one node per tensor and block */
		TsNode *n = s->b->nodes.p[i];
		if (n->op == TS_OP_weight && n->weights == set.set && n->name == pattern) { r = ENT(ENT_VALUE, t->at, .v = n->out[0]); goto done; }
	}
	r = ENT(ENT_VALUE, t->at, .v = ts_add_weight(s->m, s->g, s->b, set.set, pattern, ty, t->at));
done:
	ts_buf_free(&part);
	ts_buf_free(&full);
	return r;
}
