/* Files: whole-file mapping for reading, and output that is written aside and renamed, so that a failure leaves nothing.
 * Only regular files are read: opening anything else neither waits nor has an effect. Output follows symbolic links to the file they
 * mean; devices and pipes are written as they are, pipes only where somebody reads.
 * Every failure is reported with ts_env_error (E_FILE) naming the path and the system's reason. */
#pragma once
#include "support/ctx.h"

typedef struct { const char *path; const uint8_t *p; size_t size; } TsFile; /* p is mapped read-only; never NULL when open */

int ts_file_open(TsCtx *cx, const char *path, size_t *size);        /* for reading; -1 when reported */
bool ts_file_map(TsCtx *cx, const char *path, TsFile *out);
void ts_file_unmap(TsFile *f);

typedef struct { char *path, *temp; const char *target; FILE *to; bool failed, exact; uint32_t mode; } TsOut; /* exact: mode goes past the umask */
bool ts_out_open(TsCtx *cx, const char *path, TsOut *out);          /* path "-" writes to standard output */
bool ts_out_is_special(const char *path);                           /* a device, pipe or socket: nothing lies beside it */
bool ts_out_write(TsCtx *cx, TsOut *out, const void *p, size_t n);
bool ts_out_close(TsCtx *cx, TsOut *out, bool keep);                /* keep: rename into place; else remove */
bool ts_write_file(TsCtx *cx, const char *path, const void *p, size_t n);
bool ts_rewrite_file(TsCtx *cx, const char *path, const void *p, size_t n); /* the same; the file keeps its permissions */

/* Writing both would leave one file with what came last: the same file, or the same name of one that is yet to be made. */
bool ts_same_output(TsArena *a, const char *p, const char *q);
char *ts_path_beside(TsArena *a, const char *file, const char *name); /* name relative to file's folder, unless absolute */
