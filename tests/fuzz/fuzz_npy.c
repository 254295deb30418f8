/* libFuzzer target: a .npy file, read as the type that the first byte names (or the file's own). What is read is as large as it says. */
#include "ir/npy.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size) return 0;
	TsCtx *cx = ts_ctx_new();
	TsTensor t;
	uint8_t *copy = malloc(size);          /* its own block: a byte read past the end is seen */
	memcpy(copy, data + 1, size - 1);
	if (ts_npy_parse(cx, "fuzz", copy, size - 1, (TsDtype)(data[0] % (TS_DTYPE_COUNT + 1)), &t)) {
		if (t.bytes != ts_dtype_bytes(t.elem, t.count)) abort();
		ts_tensor_free(&t);
	}
	free(copy);
	ts_ctx_free(cx);
	return 0;
}
