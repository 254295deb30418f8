/* lld in process: it links the embedded runtime into a shared object, says why when it can't, and can be called again. */
#include "emit/lld_shim.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const char ts_rtlib_begin[], ts_rtlib_end[];

static int failed;

static void check(const char *name, int ok, const char *why)
{
	if (ok)
		printf("ok %s\n", name);
	else
		printf("FAIL %s: %s\n", name, why);
	failed |= !ok;
}

static int link_file(const char *in, const char *out, char *err, size_t cap)
{
	const char *argv[] = { "ld.lld", "-shared", "-z", "noexecstack", "--build-id=none", "-o", out, in };

	return ts_lld_link(sizeof argv / sizeof *argv, argv, err, cap);
}

int main(void)
{
	char dir[] = "/tmp/tessera-lld-XXXXXX", in[64], out[64], err[256], tiny[4];
	size_t n = (size_t)(ts_rtlib_end - ts_rtlib_begin);
	FILE *f;

	if (!mkdtemp(dir))
		return 1;
	snprintf(in, sizeof in, "%s/rt.o", dir);
	snprintf(out, sizeof out, "%s/rt.so", dir);

	check("missing-input-is-an-error", link_file(in, out, err, sizeof err) == 1 && strstr(err, "rt.o"), err);
	check("message-is-cut-to-fit", link_file(in, out, tiny, sizeof tiny) == 1 && strlen(tiny) == 3, tiny);
	check("no-output-after-an-error", access(out, F_OK) != 0, "the output exists");

	f = fopen(in, "wb");
	if (!f || fwrite(ts_rtlib_begin, 1, n, f) != n || fclose(f))
		return 1;
	check("runtime-links", link_file(in, out, err, sizeof err) == 0, err);
	check("links-again", link_file(in, out, err, sizeof err) == 0, err);

	f = fopen(out, "rb");
	check("output-is-elf", f && fread(tiny, 1, 4, f) == 4 && !memcmp(tiny, "\177ELF", 4), "no ELF magic");
	if (f)
		fclose(f);
	unlink(in);
	unlink(out);
	rmdir(dir);
	return failed;
}
