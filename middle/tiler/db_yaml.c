#include "middle/tiler/db_yaml.h"
#include <string.h>
#include <yaml.h>

enum { MOST_BYTES = 65536, MOST_DEPTH = 8 };
typedef struct { TsCtx *cx; TsArena *a; uint32_t source; size_t size; yaml_parser_t y; } Reader;

/* The text is ASCII, so libyaml's index, which counts characters, counts bytes. */
static TsSpan span(Reader *r, yaml_mark_t from, yaml_mark_t to)
{
	uint32_t b = (uint32_t)(from.index < r->size ? from.index : r->size), e = (uint32_t)(to.index < r->size ? to.index : r->size);
	return (TsSpan){ r->source, b, e > b ? e : b };
}

static bool next(Reader *r, yaml_event_t *e)
{
	if (yaml_parser_parse(&r->y, e)) return true;
	ts_error(r->cx, span(r, r->y.problem_mark, r->y.problem_mark), "E_TUNE", "not YAML: %s", r->y.problem ? r->y.problem : "it cannot be read");
	return false;
}

static bool refuse(Reader *r, const yaml_event_t *e, const char *what)
{
	ts_error(r->cx, span(r, e->start_mark, e->end_mark), "E_TUNE", "%s", what);
	return false;
}

/* What this event may not carry. */
static bool is_plain_event(Reader *r, const yaml_event_t *e)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;
	switch (e->type) {
	case YAML_ALIAS_EVENT: return refuse(r, e, "an alias: this file has none");
	case YAML_SCALAR_EVENT: anchor = e->data.scalar.anchor; tag = e->data.scalar.tag; break;
	case YAML_SEQUENCE_START_EVENT: anchor = e->data.sequence_start.anchor; tag = e->data.sequence_start.tag; break;
	case YAML_MAPPING_START_EVENT: anchor = e->data.mapping_start.anchor; tag = e->data.mapping_start.tag; break;
	default: break;
	}
	return anchor ? refuse(r, e, "an anchor: this file has none") : tag ? refuse(r, e, "a tag: this file has none") : true;
}

static bool check_key(Reader *r, const TsYaml *map, const TsYaml *key)
{
	if (key->kind != TS_YAML_SCALAR) {
		ts_error(r->cx, key->at, "E_TUNE", "expected a name here");
		return false;
	}
	for (uint32_t i = 0; i < map->kid.n; i += 2)
		if (map->kid.p[i]->text == key->text) {
			ts_error(r->cx, key->at, "E_TUNE", "key '%s' stands here twice", key->text);
			return false;
		}
	return true;
}

/* The node that begins with event e, which it frees. */
static TsYaml *node(Reader *r, yaml_event_t *e, int depth)
{
	TsYaml *n = TS_NEW(r->a, TsYaml);
	bool ok = is_plain_event(r, e), list = e->type == YAML_SEQUENCE_START_EVENT, scalar = e->type == YAML_SCALAR_EVENT;
	n->at = span(r, e->start_mark, e->end_mark);
	n->kind = scalar ? TS_YAML_SCALAR : list ? TS_YAML_LIST : TS_YAML_MAP;
	if (ok && scalar) {
		n->text = ts_intern_n(r->cx, (const char *)e->data.scalar.value, e->data.scalar.length);
		n->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	}
	if (ok && !scalar && depth == MOST_DEPTH) ok = refuse(r, e, "nested too deeply");
	yaml_event_delete(e);
	if (!ok || scalar) return ok ? n : NULL;
	for (;;) {
		yaml_event_t kid;
		if (!next(r, &kid)) return NULL;
		if (kid.type == YAML_SEQUENCE_END_EVENT || kid.type == YAML_MAPPING_END_EVENT) { yaml_event_delete(&kid); return n; }
		TsYaml *k = node(r, &kid, depth + 1);
		if (!k || (!list && n->kid.n % 2 == 0 && !check_key(r, n, k))) return NULL;
		ts_push(r->a, &n->kid, k);
	}
}

static bool expect(Reader *r, yaml_event_type_t type, const char *what)
{
	yaml_event_t e;
	if (!next(r, &e)) return false;
	bool ok = e.type == type || refuse(r, &e, what);
	yaml_event_delete(&e);
	return ok;
}

static TsYaml *document(Reader *r)
{
	yaml_event_t e;
	if (!expect(r, YAML_STREAM_START_EVENT, "no text") || !expect(r, YAML_DOCUMENT_START_EVENT, "the file is empty") || !next(r, &e)) return NULL;
	TsYaml *n = node(r, &e, 0);
	return n && expect(r, YAML_DOCUMENT_END_EVENT, "expected the end") && expect(r, YAML_STREAM_END_EVENT, "a second document") ? n : NULL;
}

TsYaml *ts_yaml_read(TsCtx *cx, uint32_t source)
{
	Reader r = { .cx = cx, .a = ts_arena(cx), .source = source };
	const char *text = ts_source_text(cx, source, &r.size);
	if (r.size > MOST_BYTES) {
		ts_error(cx, (TsSpan){ source, 0, 0 }, "E_TUNE", "%zu bytes; these files end at %d", r.size, MOST_BYTES);
		return NULL;
	}
	for (uint32_t i = 0; i < r.size; i++) {
		unsigned char c = (unsigned char)text[i];
		if ((c >= 32 && c < 127) || c == '\n') continue;
		ts_error(cx, (TsSpan){ source, i, i + 1 }, "E_TUNE", "byte 0x%02x: these files are ASCII without tabs", c);
		return NULL;
	}
	if (!yaml_parser_initialize(&r.y)) {
		ts_env_error(cx, "E_MEMORY", "out of memory");
		return NULL;
	}
	yaml_parser_set_encoding(&r.y, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.y, (const unsigned char *)text, r.size);
	TsYaml *n = document(&r);
	yaml_parser_delete(&r.y);
	return n;
}
