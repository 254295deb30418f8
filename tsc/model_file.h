/* A model that is to be run, whatever the file is: a shared object is taken as it is; text and .tsr packs are compiled into a folder
 * of their own, which ts_model_close removes. */
#pragma once
#include "tsc/options.h"

typedef struct { TsCtx *cx; const char *path; char *folder; /* NULL: not compiled here */ } TsModelFile;

/* o: how to compile; its input and output are set here. False after reporting. */
bool ts_model_open(TsCtx *cx, const char *input, TsOptions *o, TsModelFile *out);
/* Where the runtime is to look for external weights: what --weights-file and --weights-dir of o come to for this file, or NULL. A shared
 * object that holds its weights takes no file, and one that opens several takes a folder alone. False after reporting. */
bool ts_model_weights(const TsModelFile *m, const TsOptions *o, const char **path);
void ts_model_close(TsModelFile *m);
