/* Reading a .tsr pack, or any artifact as one: the same container with or without code. Gives views into the mapped file, valid until
 * ts_tsr_close; nothing is copied. In a pack without code the weights section is a safetensors image, so that its reader serves both. */
#pragma once
#include "support/file.h"

typedef struct {
	TsFile file;
	const char *text;             /* canonical .tg, not terminated */
	size_t text_size;
	const char *meta;             /* lines `key: value` */
	size_t meta_size;
	const uint8_t *plan;          /* NULL without code */
	size_t plan_size;
	uint64_t weights_offset;      /* place in the file */
	uint64_t weights_size;
	bool has_code;                /* the weights are then packed as the plan says */
} TsTsr;

/* false after reporting E_PACK_BAD (no such container, no graph in it) or E_FILE */
bool ts_tsr_open(TsCtx *cx, const char *path, TsTsr *out);
void ts_tsr_close(TsTsr *t);
