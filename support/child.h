/* Other programs, run as children: several at a time, each in a process group of its own with limits on time and memory, files handed
 * over and taken back without touching a disk. Nothing of a child outlives ts_children_run: a group that runs too long is killed. A
 * child finds input i as the file ts_child_in(i), and what it writes to TS_CHILD_OUT comes back; what it says on standard output and
 * standard error is kept together. Reports nothing: how a child ended is in `end`. */
#pragma once
#include "support/ctx.h"

#define TS_CHILD_OUT "/proc/self/fd/199"
enum { TS_CHILD_INPUTS = 40 };

typedef enum {
	TS_CHILD_EXITED,       /* `code` is its exit status */
	TS_CHILD_SIGNAL,       /* `code` is the signal */
	TS_CHILD_TOO_LONG,     /* killed after `seconds` */
	TS_CHILD_NOT_STARTED   /* `code` is errno */
} TsChildEnd;

typedef struct { const void *p; size_t n; } TsChildInput;
typedef struct {
	const char *const *argv;  /* argv[0] is a path; ends with NULL */
	TsChildInput in[TS_CHILD_INPUTS];
	uint32_t n_in;
	int seconds;              /* of processor time and of the clock */
	void (*over)(void *user); /* called when it has ended; may be NULL */
	void *user;
	TsChildEnd end;
	int code;
	TsBuf said, out;          /* the caller frees them */
} TsChild;

const char *ts_child_in(uint32_t i); /* its name, for argv */
void ts_children_run(TsChild *child, uint32_t n, int at_a_time);
int ts_core_count(void);  /* that this process may run on */
