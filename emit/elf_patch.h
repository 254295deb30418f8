/* What is done to a linked image before it becomes the artifact. The image is one that lld just wrote from our own input, so its shape
 * is known; what doesn't fit is reported as a compiler bug by the caller. */
#pragma once
#include "support/ctx.h"
#include <elf.h>

typedef struct { uint8_t *p; size_t n; } TsImage;

/* The section called name, or NULL. */
Elf64_Shdr *ts_image_section(TsImage im, const char *name);
/* For .so and executables: the spare program header becomes one that maps `size` bytes of weights, to be appended at *offset of the
 * file; section .tessera.weights and the distance word in .tessera.link follow. NULL, or what didn't fit. */
const char *ts_image_add_weights(TsImage im, uint64_t size, uint64_t *offset);
/* For relocatable output: section .tessera.weights lies at *offset, size bytes long. */
const char *ts_image_place_weights(TsImage im, uint64_t size, uint64_t *offset);
/* For relocatable output: defined hidden symbols become local, so that several artifacts link into one program. */
const char *ts_image_hide(TsCtx *cx, TsImage im);
