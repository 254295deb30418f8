/* Packs (.tsr): a model as one file to be compiled elsewhere: its text, and per `weights` a safetensors image in the weights section.
 * The metadata say where each lies (`image NAME: OFFSET SIZE` of the section), which ir/weights.c reads; or, in a pack without weights, size and
 * SHA-256 of each file (`file NAME.NUMBER: SIZE HASH`). */
#pragma once
#include "frontend/graph_text/sema.h"

typedef struct { TsSym key, value; } TsPackFile;
typedef struct { TS_VEC(TsPackFile) list; bool external; } TsPackFiles;

bool ts_is_elf(const void *p, size_t size);
/* The text of a pack as a source, its model's name, and options under which every `weights` comes from the pack. False after reporting. */
bool ts_pack_read(TsCtx *cx, const char *path, uint32_t *source, TsSym *name, TsPackFiles *files);
/* Weight options for a FILE tree that came from the pack at path, which holds its weights. */
TsSemaOptions ts_pack_weights(TsCtx *cx, const char *path, const TsTree *file);
/* The weight files that a module opened are those that its pack was made with. False after reporting. */
bool ts_pack_check_files(TsModule *m, const TsPackFiles *files);
/* Writes the model that m was made from; tree: its text. external: what weight files are, not what they hold. */
bool ts_pack_write(TsModule *m, const TsTree *tree, bool external, const char *path);
