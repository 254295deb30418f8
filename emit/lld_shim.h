/* The linker, in process: lld's ELF driver behind one C function. It reads and writes files as the command `ld.lld` would and
 * never exits the process. lld keeps its state in globals, so only one call may run at a time: the caller serialises. It does not
 * validate its arguments beyond what lld does; what lld prints comes back as text, never on stderr. */
#ifndef TESSERA_EMIT_LLD_SHIM_H
#define TESSERA_EMIT_LLD_SHIM_H
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* set in the result when lld met an internal failure and must not be called again in this process */
#define TS_LLD_BROKEN 0x100

/* Link as `ld.lld` with argv (argv[0] is the program's name, "ld.lld") would.
 * Returns 0 when the output was written. err (cap bytes, may be NULL) gets what lld said, cut to fit, always terminated. */
int ts_lld_link(int argc, const char *const *argv, char *err, size_t cap);

#ifdef __cplusplus
}
#endif
#endif
