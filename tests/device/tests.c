/* The differential tests as one program, for machines with a GPU: `tests test_diff SEED OPERATOR` is what `test_diff SEED OPERATOR` is. */
#include <stdio.h>
#include <string.h>

int test_diff_main(int argc, char **argv);
int test_graphs_main(int argc, char **argv);
int test_invariance_main(int argc, char **argv);

int main(int argc, char **argv)
{
	static const struct { const char *name; int (*run)(int, char **); } tests[] = {
		{ "test_diff", test_diff_main }, { "test_graphs", test_graphs_main }, { "test_invariance", test_invariance_main },
	};
	for (size_t i = 0; argc > 1 && i < sizeof tests / sizeof *tests; i++)
		if (!strcmp(argv[1], tests[i].name)) return tests[i].run(argc - 1, argv + 1);
	fprintf(stderr, "usage: tests test_diff|test_graphs|test_invariance ...\n");
	return 2;
}
