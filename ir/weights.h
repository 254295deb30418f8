/* The tensors of a module's weight files: safetensors, or a model.safetensors.index.json that lists them. Files are mapped, never
 * copied; the mapping lives until ts_weights_close. Everything in a file is checked before it is believed. */
#pragma once
#include "ir/graph.h"

/* Reads the headers of w->files and fills w->tensors (sorted by name) and w->by_name. Tensors already listed (a manifest) are
 * demands: each must be in the files with that type. An index takes the place of its shards: w->files then holds their paths. */
bool ts_weights_open(TsModule *m, TsWeights *w);
void ts_weights_close(TsWeights *w);
const TsTensorInfo *ts_weights_find(const TsWeights *w, TsSym name);      /* NULL when unknown */
TsSym ts_weights_nearest(TsCtx *cx, const TsWeights *w, TsSym name);      /* for messages; NULL when nothing is near */
/* The tensor's elements, t->size bytes, mapped; NULL where no file gives them (reported). Any alignment. */
const void *ts_weights_data(TsModule *m, const TsWeights *w, const TsTensorInfo *t);
