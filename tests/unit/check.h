/* What the unit tests of ir/ share: one line per test, and a failed one makes the program fail. */
#pragma once
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>

static int check_failed;

__attribute__((format(printf, 3, 4))) static inline void check(const char *name, bool ok, const char *fmt, ...)
{
	va_list ap;
	if (ok) {
		printf("ok %s\n", name);
		return;
	}
	printf("FAIL %s: ", name);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	check_failed = 1;
}
