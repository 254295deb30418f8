/* What a process has made in the file system and means to remove again: files written aside, and folders with the files right inside.
 * Whoever makes one does it here, so that another thread, which a signal has told to end the process, can remove them all. Reports
 * nothing: as the system calls, a failure is told by errno. */
#pragma once
#include "support/ctx.h"

typedef struct TsTemps TsTemps;
TsTemps *ts_temps_new(void);
void ts_temps_free(TsTemps *t);

/* A file of this name, which is not there; NULL on failure. */
FILE *ts_temp_file(TsCtx *cx, const char *path);
/* As mkdtemp. */
bool ts_temp_folder(TsCtx *cx, char *pattern);
/* It is renamed or removed. */
void ts_temp_done(TsCtx *cx, const char *path);
/* Removes what there is. From then on nothing can be made: whoever tries waits for the end of the process. */
void ts_temps_remove(TsCtx *cx);
