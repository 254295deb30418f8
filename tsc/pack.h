/* Packs (.tsr): a model as one file to be compiled elsewhere: its text, and per `weights` a safetensors image in the weights section.
 * The metadata say where each lies (`image NAME: OFFSET SIZE` of the section), which ir/weights.c reads. */
#pragma once
#include "frontend/graph_text/sema.h"

bool ts_is_elf(const void *p, size_t size);
/* The text of a pack as a source, its model's name, and options under which every `weights` comes from the pack. False after reporting. */
bool ts_pack_read(TsCtx *cx, const char *path, uint32_t *source, TsSym *name);
/* Weight options for a FILE tree that came from the pack at path. */
TsSemaOptions ts_pack_weights(TsCtx *cx, const char *path, const TsTree *file);
/* Writes the model that m was made from; tree: its text. */
bool ts_pack_write(TsModule *m, const TsTree *tree, const char *path);
