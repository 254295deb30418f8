/* A small YAML document as a tree: mappings, sequences, plain scalars. No anchors, aliases, tags or second document, 64 KiB of ASCII at
 * most, eight levels deep, no key twice. Every node has its place. Private to the tuning database. */
#pragma once
#include "support/ctx.h"

typedef enum { TS_YAML_SCALAR, TS_YAML_LIST, TS_YAML_MAP } TsYamlKind;
typedef struct TsYaml { TsYamlKind kind; TsSpan at; TsSym text; bool plain; TS_VEC(struct TsYaml *) kid; } TsYaml; /* MAP: key, value, key, … */

TsYaml *ts_yaml_read(TsCtx *cx, uint32_t source);  /* NULL after reporting (E_TUNE) */
