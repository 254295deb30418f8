/* Milliseconds from dlopen of minilm.so to its first answer at batch 1, length 16: `first minilm.so`. */
#include "tessera/tessera.h"
#include <dlfcn.h>
#include <stdio.h>
#include <time.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

int main(int argc, char **argv)
{
	static int64_t ids[16], mask[16], in_shape[2] = { 1, 16 }, out_shape[2] = { 1, 384 };
	static float y[384];
	TesseraError e = { 0 };
	TesseraContext *context = NULL;
	TesseraSession *session = NULL;
	DLDataType i64 = { kDLInt, 64, 1 }, f32 = { kDLFloat, 32, 1 };
	DLTensor a = tessera_tensor(ids, i64, 2, in_shape), b = tessera_tensor(mask, i64, 2, in_shape), c = tessera_tensor(y, f32, 2, out_shape);
	const DLTensor *in[] = { &a, &b }, *out[] = { &c };
	for (int i = 0; i < 16; i++) ids[i] = 1000 + 97 * i, mask[i] = 1;
	double start = now();
	void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
	const TesseraModel *m = library ? dlsym(library, "minilm_tessera") : NULL;
	if (!m) return fprintf(stderr, "first: %s\n", argc > 1 ? dlerror() : "usage: first minilm.so"), 1;
	if (tessera_context_create(m, NULL, &context, &e) || tessera_session_create(m, context, NULL, &session, &e) ||
		tessera_run(session, 0, in, 2, out, 1, NULL, &e)) return fprintf(stderr, "first: %s\n", e.message), 1;
	printf("%.3f\n", now() - start);
	return 0;
}
