/* What is done to a linked image before it becomes the artifact. The image is one that lld just wrote from our own input, so its shape
 * is known; what doesn't fit is reported as a compiler bug by the caller. */
#pragma once
#include "support/ctx.h"
#include <elf.h>

typedef struct { uint8_t *p; size_t n; } TsImage;

/* The section called name, or NULL. */
Elf64_Shdr *ts_image_section(TsImage im, const char *name);
/* What is appended to an image, each at the start of a page: code of devices, then weights. Sizes in, places in the file out. */
typedef struct { uint64_t code_bytes, weight_bytes, code_at, weights_at; } TsAppended;
/* For .so and executables: the spare program header becomes one that maps all of it; sections .tessera.gpu and .tessera.weights and the
 * distance words in .tessera.link follow. NULL, or what didn't fit. */
const char *ts_image_append(TsImage im, TsAppended *a);
/* For relocatable output: the two sections lie there. */
const char *ts_image_place(TsImage im, TsAppended *a);
/* For relocatable output: defined hidden symbols become local, so that several artifacts link into one program. */
const char *ts_image_hide(TsCtx *cx, TsImage im);
