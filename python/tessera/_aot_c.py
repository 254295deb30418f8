"""The C program and the Makefile of an ``aot`` folder."""

from __future__ import annotations

from typing import Any

__all__ = ["example_c", "makefile"]

_PROGRAM = r"""/* Runs @NAME@ with inputs from .npy files or made up, on the first GPU that the file holds code for, else on the CPU.
 *
 *     make && ./example [NAME=file.npy ...]
 *
 * NAME is an input (read) or an output (written). Inputs without a file get the sizes below and numbers from a fixed sequence. A program
 * of your own can call the typed functions of @NAME@.h instead. */
#include "@NAME@.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUTS = @INPUTS@, OUTPUTS = @OUTPUTS@, ALL = INPUTS + OUTPUTS, MAX_RANK = 16 };

static const struct { int rank; int64_t shape[MAX_RANK]; } example[INPUTS + 1] = {
@EXAMPLES@	{ 0, { 0 } }
};

typedef struct {
	TesseraTensorInfo info;
	const char *file;
	int64_t shape[MAX_RANK];
	size_t bytes;
	void *host;
	DLTensor t;
} Tensor;

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "@NAME@: %s: %s\n", what, why);
	exit(1);
}

static size_t count(const Tensor *x)
{
	size_t n = 1;
	int i;
	for (i = 0; i < x->t.ndim; i++) n *= (size_t)x->shape[i];
	return n;
}

static size_t bytes_of(const Tensor *x)
{
	int bits = x->info.dtype.bits == 6 ? 8 : x->info.dtype.bits;
	return (count(x) * (size_t)bits + 7) / 8;
}

/* ---- numbers ---- */

static double half(uint16_t h)
{
	int e = h >> 10 & 31, m = h & 1023;
	double v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
	return h >> 15 ? -v : v;
}

static double value(const Tensor *x, size_t i)
{
	DLDataType d = x->info.dtype;
	uint16_t h;
	uint32_t w;
	float f;
	if (d.code == kDLFloat && d.bits == 64) return ((const double *)x->host)[i];
	if (d.code == kDLFloat && d.bits == 32) return ((const float *)x->host)[i];
	if (d.code == kDLFloat && d.bits == 16) return half(((const uint16_t *)x->host)[i]);
	if (d.code == kDLBfloat) {
		memcpy(&h, (const uint16_t *)x->host + i, sizeof h);
		w = (uint32_t)h << 16;
		memcpy(&f, &w, sizeof f);
		return f;
	}
	if (d.code == kDLInt && d.bits == 64) return (double)((const int64_t *)x->host)[i];
	if (d.code == kDLInt && d.bits == 32) return ((const int32_t *)x->host)[i];
	if (d.code == kDLInt && d.bits == 16) return ((const int16_t *)x->host)[i];
	if (d.code == kDLInt && d.bits == 8) return ((const int8_t *)x->host)[i];
	return ((const uint8_t *)x->host)[i]; /* bool, uint8, and the bits of narrower types */
}

/* Floats of 16 bits and more from [-1, 1); everything else is 0. */
static void make_up(Tensor *x, uint32_t seed)
{
	size_t i, n = count(x);
	DLDataType d = x->info.dtype;
	memset(x->host, 0, x->bytes);
	for (i = 0; i < n; i++) {
		float f;
		uint32_t w;
		seed = seed * 1664525u + 1013904223u;
		f = (float)(seed >> 8) / 8388608.0f - 1.0f;
		memcpy(&w, &f, sizeof w);
		if (d.code == kDLFloat && d.bits == 64) ((double *)x->host)[i] = f;
		if (d.code == kDLFloat && d.bits == 32) ((float *)x->host)[i] = f;
		if (d.code == kDLBfloat) ((uint16_t *)x->host)[i] = (uint16_t)(w >> 16);
		if (d.code == kDLFloat && d.bits == 16) ((uint16_t *)x->host)[i] = (uint16_t)(0x3800 | (seed >> 22 & 1023) | (seed & 0x80000000u) >> 16);
	}
}

/* ---- .npy ---- */

static const char *npy_type(DLDataType d)
{
	if (d.code == kDLFloat) return d.bits == 64 ? "<f8" : d.bits == 32 ? "<f4" : "<f2";
	if (d.code == kDLInt) return d.bits == 64 ? "<i8" : d.bits == 32 ? "<i4" : d.bits == 16 ? "<i2" : "|i1";
	if (d.code == kDLBool) return "|b1";
	return d.code == kDLBfloat ? "<u2" : d.code == kDLComplex ? "<c8" : "|u1";
}

static void read_npy(Tensor *x)
{
	char head[4096], *p;
	unsigned char start[12];
	size_t n;
	int version;
	FILE *f = fopen(x->file, "rb");
	if (!f) fail(x->file, "cannot be opened");
	if (fread(start, 1, 10, f) != 10 || memcmp(start, "\x93NUMPY", 6)) fail(x->file, "is no .npy file");
	version = start[6];
	if (version > 1 && fread(start + 10, 1, 2, f) != 2) fail(x->file, "is cut off");
	n = start[8] + ((size_t)start[9] << 8) + (version > 1 ? ((size_t)start[10] << 16) + ((size_t)start[11] << 24) : 0);
	if (n >= sizeof head || fread(head, 1, n, f) != n) fail(x->file, "has a header that is too long");
	head[n] = 0;
	if (strstr(head, "'fortran_order': True")) fail(x->file, "is in Fortran order");
	p = strstr(head, "'descr': '");
	if (!p || (strncmp(p + 10, npy_type(x->info.dtype), 3) && !(x->info.dtype.code == kDLBfloat && strchr("V2", p[11])))) {
		fprintf(stderr, "@NAME@: %s: wanted elements of type %s (bf16: <u2)\n", x->file, npy_type(x->info.dtype));
		exit(1);
	}
	p = strstr(head, "'shape': (");
	if (!p) fail(x->file, "has no shape");
	x->t.ndim = 0;
	for (p += 10; *p && *p != ')';) {
		if (*p >= '0' && *p <= '9') {
			if (x->t.ndim == MAX_RANK) fail(x->file, "has too many axes");
			x->shape[x->t.ndim++] = (int64_t)strtoll(p, &p, 10);
		} else p++;
	}
	x->bytes = bytes_of(x);
	x->host = malloc(x->bytes + 1);
	if (!x->host || fread(x->host, 1, x->bytes, f) != x->bytes) fail(x->file, "is cut off");
	fclose(f);
}

static void write_npy(const Tensor *x)
{
	char head[1024];
	int n, i;
	FILE *f = fopen(x->file, "wb");
	if (!f) fail(x->file, "cannot be written");
	n = sprintf(head, "{'descr': '%s', 'fortran_order': False, 'shape': (", npy_type(x->info.dtype));
	for (i = 0; i < x->t.ndim; i++) n += sprintf(head + n, "%lld,", (long long)x->shape[i]);
	n += sprintf(head + n, "), }");
	while ((n + 11) % 64) head[n++] = ' ';
	head[n++] = '\n';
	fwrite("\x93NUMPY\1\0", 1, 8, f);
	fputc(n & 255, f);
	fputc(n >> 8, f);
	fwrite(head, 1, (size_t)n, f);
	if (fwrite(x->host, 1, x->bytes, f) != x->bytes || fclose(f)) fail(x->file, "cannot be written");
}

/* ---- the program ---- */

static TesseraContext *cx;
static TesseraSession *session;
static TesseraError error;

static void place(Tensor *x, int copy)
{
	DLTensor t = tessera_tensor(x->host, x->info.dtype, x->t.ndim, x->shape);
	t.device = session->device;
	if (t.device.device_type != kDLCPU && (tessera_device_alloc(cx, x->bytes, &t.data, &error) || (copy && tessera_copy(cx, t.data, x->host, x->bytes, &error))))
		fail(x->info.name, error.message);
	x->t = t;
}

static void show(const Tensor *x)
{
	size_t i, n = count(x);
	double sum = 0;
	printf("%s [", x->info.name);
	for (i = 0; i < (size_t)x->t.ndim; i++) printf("%s%lld", i ? ", " : "", (long long)x->shape[i]);
	printf("]:");
	if (x->info.dtype.bits < 8 || x->info.dtype.code == kDLComplex) {
		printf(" %lu bytes\n", (unsigned long)x->bytes);
		return;
	}
	for (i = 0; i < n; i++) sum += value(x, i);
	for (i = 0; i < n && i < 6; i++) printf(" %g", value(x, i));
	printf("%s, sum %g\n", n > 6 ? " ..." : "", sum);
}

static void options(Tensor *tensor, int argc, char **argv)
{
	int i, k;
	for (i = 1; i < argc; i++) {
		const char *equals = strchr(argv[i], '=');
		for (k = 0; equals && k < ALL; k++)
			if (strlen(tensor[k].info.name) == (size_t)(equals - argv[i]) && !strncmp(tensor[k].info.name, argv[i], (size_t)(equals - argv[i]))) {
				tensor[k].file = equals + 1;
				break;
			}
		if (equals && k < ALL) continue;
		fprintf(stderr, "usage: %s [NAME=file.npy ...], where NAME is one of:", argv[0]);
		for (k = 0; k < ALL; k++) fprintf(stderr, " %s", tensor[k].info.name);
		fprintf(stderr, "\n");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	static Tensor tensor[ALL];
	const DLTensor *view[ALL];
	TesseraDeviceInfo device;
	int i;
	if (@NAME@_tessera.abi != TESSERA_ABI) fail("@NAME@.so", "was built for another version of tessera.h");
	for (i = 0; i < ALL; i++) tessera_tensor_info(&@NAME@_tessera, 0, i, &tensor[i].info);
	options(tensor, argc, argv);
	if (tessera_context_create(&@NAME@_tessera, NULL, &cx, &error) || tessera_session_create(&@NAME@_tessera, cx, NULL, &session, &error))
		fail("start", error.message);
	tessera_device(cx, &device);
	for (i = 0; i < INPUTS; i++) {
		Tensor *x = &tensor[i];
		if (x->file) read_npy(x);
		else {
			x->t.ndim = example[i].rank;
			memcpy(x->shape, example[i].shape, sizeof x->shape);
			x->bytes = bytes_of(x);
			if (!(x->host = malloc(x->bytes + 1))) fail(x->info.name, "no memory");
			make_up(x, (uint32_t)i + 1);
		}
		place(x, 1);
		view[i] = &x->t;
	}
	for (i = INPUTS; i < ALL; i++) {
		Tensor *x = &tensor[i];
		int32_t rank = 0;
		if (tessera_output_shape(session, 0, view, INPUTS, i - INPUTS, x->shape, &rank, &error)) fail("inputs", error.message);
		x->t.ndim = rank;
		x->bytes = bytes_of(x);
		if (!(x->host = malloc(x->bytes + 1))) fail(x->info.name, "no memory");
		place(x, 0);
		view[i] = &x->t;
	}
	if (tessera_run(session, 0, view, INPUTS, view + INPUTS, OUTPUTS, NULL, &error) || tessera_wait(cx, NULL, &error)) fail("run", error.message);
	printf("on %s\n", device.name);
	for (i = INPUTS; i < ALL; i++) {
		Tensor *x = &tensor[i];
		if (x->t.data != x->host && tessera_copy(cx, x->host, x->t.data, x->bytes, &error)) fail(x->info.name, error.message);
		show(x);
		if (x->file) write_npy(x);
	}
	for (i = 0; i < ALL; i++) {
		if (tensor[i].t.data != tensor[i].host) tessera_device_release(cx, tensor[i].t.data, tensor[i].bytes, &error);
		free(tensor[i].host);
	}
	tessera_session_destroy(session);
	tessera_context_destroy(cx);
	return 0;
}
"""

_MAKEFILE = """# make builds ./example against @NAME@.so, make run runs it. Nothing but a C compiler is needed, and no compiler to run it.
CC ?= gcc
example: example.c @NAME@.h @NAME@.so
\t$(CC) -std=c99 -O2 -Wall -Wextra -I. -o $@ example.c @NAME@.so -Wl,-rpath,'$$ORIGIN' -pthread -lm
run: example
\t./example
clean:
\trm -f example
.PHONY: run clean
"""


def example_c(name: str, manifest: dict[str, Any]) -> str:
    """The text of example.c for the model of a manifest."""
    rows = "".join(
        f"\t{{ {len(i['example'])}, {{ {', '.join(map(str, i['example'])) or '0'} }} }}, /* {_comment(i)} */\n"
        for i in manifest["inputs"]
    )
    text = _PROGRAM.replace("@EXAMPLES@", rows).replace("@INPUTS@", str(len(manifest["inputs"])))
    return text.replace("@OUTPUTS@", str(len(manifest["outputs"]))).replace("@NAME@", name)


def makefile(name: str) -> str:
    """The text of the Makefile."""
    return _MAKEFILE.replace("@NAME@", name)


def _comment(tensor: dict[str, Any]) -> str:
    text = f"{tensor['name']}: {tensor['dtype']}[{', '.join(map(str, tensor['shape']))}]"
    return text.replace("*/", "* /").replace("/*", "/ *")
