/* tsc's entry: the only file that sees the process (arguments, exit status). */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		puts("tsc " TS_VERSION);
		return 0;
	}
	fputs("usage: tsc --version\n", stderr);
	return 2;
}
