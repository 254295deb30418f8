#include "emit/version.h"
#include <llvm-c/Core.h>

void ts_llvm_version(TsBuf *to)
{
	unsigned major, minor, patch;
	LLVMGetVersion(&major, &minor, &patch);
	ts_buf_fmt(to, "%u.%u.%u", major, minor, patch);
}
