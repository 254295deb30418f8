#include "emit/lld_shim.h"
#include "lld/Common/Driver.h"
#include "llvm/Support/raw_ostream.h"
#include <cstring>
#include <string>

LLD_HAS_DRIVER(elf)

extern "C" int ts_lld_link(int argc, const char *const *argv, char *err, size_t cap)
{
	std::string text;
	llvm::raw_string_ostream out(text);
	lld::Result r = lld::lldMain(llvm::ArrayRef<const char *>(argv, argc), out, out, {{lld::Gnu, &lld::elf::link}});
	if (err && cap) {
		size_t n = text.size() < cap - 1 ? text.size() : cap - 1;
		memcpy(err, text.data(), n);
		err[n] = 0;
	}
	return r.retCode | (r.canRunAgain ? 0 : TS_LLD_BROKEN);
}
