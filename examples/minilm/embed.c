/* Embeds token ids given as arguments and prints the vector. Built against the typed header that tsc writes beside minilm.so. */
#include <stdio.h>
#include <stdlib.h>
#include "minilm.h"

int main(int argc, char **argv)
{
	int64_t n = argc - 1, *ids = malloc((size_t)(n + 1) * sizeof *ids), *mask = malloc((size_t)(n + 1) * sizeof *mask);
	float y[384];
	TesseraError e = { 0 };
	TesseraContext *context = NULL;
	TesseraSession *session = NULL;
	for (int64_t i = 0; i < n; i++) {
		ids[i] = strtoll(argv[i + 1], NULL, 10);
		mask[i] = 1;
	}
	int32_t failed = tessera_context_create(&minilm_tessera, NULL, &context, &e) ||
		tessera_session_create(&minilm_tessera, context, NULL, &session, &e) ||
		minilm_embed(session, 1, n, ids, mask, y, &e);
	if (failed) fprintf(stderr, "embed: %s\n", e.message);
	for (int i = 0; !failed && i < 384; i++) printf("%.6f\n", y[i]);
	tessera_session_destroy(session);
	tessera_context_destroy(context);
	free(ids);
	free(mask);
	return failed != 0;
}
