/* From syntax tree to Graph IR: names and scopes, sizes, weights, literals, sugar. fn calls are inlined with their sizes bound left to
 * right; a compile-time `for` stays one node. What parses but cannot be compiled yet is refused with E_NOT_YET and its place. A statement
 * that failed binds its names to "unknown", which nothing complains about again. */
#pragma once
#include "ir/graph.h"
#include "ir/tree.h"

typedef struct { TsSym name, path; } TsSemaFile;  /* weights `name` (NULL: the only ones) come from path */
typedef struct {
	const char *weights_dir;                  /* folder of weight files; NULL: beside the model */
	const TsSemaFile *files;
	uint32_t n_files;
	const char *graph;                        /* this graph alone; NULL: all */
} TsSemaOptions;

/* The module of a `tessera 1` FILE tree, or NULL after reporting. path names the model and finds its weight files. */
TsModule *ts_module_from_tree(TsCtx *cx, TsTree *file, const char *path, const TsSemaOptions *o);
