#include "tsc/safetensors_header.h"
#include <string.h>

static const char *safe_name(TsDtype t)
{
	switch (t) {
	case TS_F64: return "F64";
	case TS_F32: return "F32";
	case TS_F16: return "F16";
	case TS_BF16: return "BF16";
	case TS_FP8_E4M3: return "F8_E4M3";
	case TS_FP8_E5M2: return "F8_E5M2";
	case TS_INT64: return "I64";
	case TS_INT32: return "I32";
	case TS_INT16: return "I16";
	case TS_INT8: return "I8";
	case TS_UINT8: return "U8";
	case TS_BOOL: return "BOOL";
	case TS_COMPLEX64: return "C64";
	default: return NULL;
	}
}

static void json_string(TsBuf *b, const char *s)
{
	ts_buf_char(b, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\') ts_buf_char(b, '\\');
		if ((unsigned char)*s < 32) ts_buf_fmt(b, "\\u%04x", *s);
		else ts_buf_char(b, *s);
	}
	ts_buf_char(b, '"');
}

bool ts_safetensors_header(TsCtx *cx, const char *what, uint32_t n, const TsHeaderTensor *t, TsBuf *b)
{
	uint64_t at = 0;
	ts_buf_space(b, 8);
	for (uint32_t i = 0; i < n; i++) {
		if (!safe_name(t[i].elem)) {
			ts_error(cx, (TsSpan){ 0 }, "E_TENSOR_FILE", "cannot write '%s': safetensors has no place for %s ('%s')", what, ts_dtype_name(t[i].elem), t[i].name);
			return false;
		}
		ts_buf_char(b, i ? ',' : '{');
		json_string(b, t[i].name);
		ts_buf_fmt(b, ":{\"dtype\":\"%s\",\"shape\":[", safe_name(t[i].elem));
		for (int k = 0; k < t[i].rank; k++) ts_buf_fmt(b, k ? ",%lld" : "%lld", (long long)t[i].dim[k]);
		ts_buf_fmt(b, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at, (unsigned long long)(at + t[i].bytes));
		at += t[i].bytes;
	}
	ts_buf_str(b, n ? "}" : "{}");
	while (b->n % 8) ts_buf_char(b, ' ');
	uint64_t size = b->n - 8;
	memcpy(b->p, &size, 8);
	return true;
}
