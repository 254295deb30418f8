/* libFuzzer target: a safetensors file. The first byte is no part of it: odd files get a header length that fits, so that the JSON is
 * reached; the rest are taken as they are. */
#include "ir/safetensors.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size) return 0;
	TsCtx *cx = ts_ctx_new();
	TsSafeTensors out;
	size_t n = size - 1, head = data[0] % 2 && n >= 8 ? (n - 8) * (data[0] / 2 + 1) / 128 : 0;
	uint8_t *copy = malloc(n ? n : 1);     /* its own block: a byte read past the end is seen */
	memcpy(copy, data + 1, n);
	if (data[0] % 2 && n >= 8)
		for (int i = 0; i < 8; i++) copy[i] = (uint8_t)((uint64_t)head >> (8 * i));
	ts_safetensors_read(cx, (TsSpan){ 0 }, "fuzz", copy, n, &out);
	free(copy);
	ts_ctx_free(cx);
	return 0;
}
