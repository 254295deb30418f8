/* What the tests of Tile IR share: golden texts, edits of them, and verifying. */
#pragma once
#include "frontend/graph_text/parse.h"
#include "frontend/graph_text/print.h"
#include "ir/tile.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const golden_texts[] = { "scale_cpu", "layer_norm_cpu", "matmul_avx512", "linear_gelu_avx512", "linear_gelu_sm80", "linear_gelu_sm90a", "attention_sm90a",
	"linear_gelu_gfx942", "layer_norm_sm90a", "layer_norm_cluster_sm90a", "softmax_cluster_sm90a" };
enum { GOLDEN_TEXTS = sizeof golden_texts / sizeof *golden_texts };

static char *read_golden(const char *name)
{
	char path[256];
	snprintf(path, sizeof path, "examples/kernels/%s.tile", name);
	FILE *f = fopen(path, "rb");
	char *text = calloc(1, 1 << 16);
	if (f) text[fread(text, 1, (1 << 16) - 1, f)] = 0, fclose(f);
	else printf("FAIL %s: cannot be read\n", path);
	return text;
}

/* The text with the n-th (from 0) `find` replaced; NULL when it is not there. */
static inline char *edit(const char *text, const char *find, const char *with, int n)
{
	const char *at = text - 1;
	do at = strstr(at + 1, find); while (at && n--);
	if (!at) return NULL;
	char *out = malloc(strlen(text) + strlen(with) + 1);
	sprintf(out, "%.*s%s%s", (int)(at - text), text, with, at + strlen(find));
	return out;
}

static TsTree *parse_text(TsCtx *cx, const char *name, const char *text)
{
	return ts_parse(cx, ts_source_add(cx, name, text, strlen(text)));
}
