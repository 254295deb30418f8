/* Runs a fuzz target once on each named file: the corpora in `make check`, without a fuzzer. Prints how many; a crash names its input
 * in the line before. */
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		long n = -1;
		if (f && !fseek(f, 0, SEEK_END)) n = ftell(f);
		uint8_t *p = malloc(n > 0 ? (size_t)n : 1);
		if (n < 0 || !p || fseek(f, 0, SEEK_SET) || fread(p, 1, (size_t)n, f) != (size_t)n) { perror(argv[i]); return 2; }
		fclose(f);
		printf("input %s\n", argv[i]);
		fflush(stdout);
		alarm(20); /* one input never takes this long: SIGALRM is a failure */
		LLVMFuzzerTestOneInput(p, (size_t)n);
		alarm(0);
		free(p);
	}
	printf("replayed %d\n", argc - 1);
	return 0;
}
