#include "support/file.h"
#include "tsc/commands.h"

bool ts_read_source(TsCtx *cx, const char *path, uint32_t *source)
{
	TsFile f;
	if (!ts_file_map(cx, path, &f)) return false;
	bool fits = f.size <= INT32_MAX;
	if (fits) *source = ts_source_add(cx, path, (const char *)f.p, f.size);
	else ts_error(cx, (TsSpan){ 0 }, "E_LIMIT", "'%s' is too large: texts end at 2^31 bytes", path);
	ts_file_unmap(&f);
	return fits;
}
