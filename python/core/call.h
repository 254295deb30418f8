/* Calls of compiled graphs. An argument is read into a CoreArg, held against the CoreSpec of its input, and becomes a DLTensor for the
 * runtime. Nothing on the way of a call that succeeds makes a Python object but the results. */
#pragma once
#include "python/core/runtime.h"

enum { CORE_ARGS = 12 }; /* a call of no more takes no memory but the stack's */

typedef struct {
	DLTensor dl;
	CoreKind kind;
	const DLPackExchangeAPI *api;  /* of the library that made it, or NULL */
	CoreTensor *made;              /* what a slower way made of it, or what holds a scalar on a GPU; dropped after the call */
	CoreStorage *storage;          /* of a tensor of ours; borrowed */
	PyObject *object;              /* borrowed */
	int64_t dims[2 * CORE_RANK];
	uint8_t scalar[8];
} CoreArg;

typedef struct {
	const char *name;              /* the model's */
	const CoreDtype *dtype;
	int rank;
	int64_t dims[CORE_RANK];       /* as TesseraTensorInfo says them */
} CoreSpec;

/* call_args.c: any object as an argument. A number becomes CORE_KIND_SCALAR and waits for its type. -1 with an exception. */
int core_arg_read(PyObject *o, CoreArg *a);
void core_arg_drop(CoreArg *a);
/* Is a number, or the object of an argument, one that t takes? */
bool core_scalar_fits(PyObject *o, const CoreDtype *t);
int core_scalar_read(CoreArg *a, const CoreDtype *t); /* into a->scalar, as an element of t; -1 with an exception */

typedef struct CoreSession {
	struct CoreSession *next;
	TesseraSession *head;
	DLDevice device;
	void *stream;
	uint32_t generation;           /* core_generation() when it was made */
	bool busy;
} CoreSession;

typedef struct {
	PyObject_HEAD
	CoreProgram *program;
	const TesseraModel *model;
	int graph, n_in, n_out, n_dims;
	CoreSpec *spec;                /* inputs, then outputs */
	TesseraDimInfo *dim;
	PyObject *names;               /* tuple: the inputs as the user calls them */
	DLDevice device;               /* where it runs when no argument says so */
	CoreSession *sessions;         /* the one that ran last first */
	/* where sizes of outputs are formulas: the sizes of the inputs that were asked about last, and the answer */
	int64_t *asked, *answer;       /* CORE_RANK for each input, and for each output; NULL: no formulas */
	bool has_answer;
} CoreCallable;

/* call_errors.c: what is wrong with these arguments, as an exception. NULL. */
PyObject *core_call_wrong(CoreCallable *c, CoreArg *a, Py_ssize_t n);
PyObject *core_call_repr(PyObject *self);
PyObject *core_call_unreadable(CoreCallable *c, Py_ssize_t argument); /* adds the argument's name to the exception that is set */

/* call.c */
bool core_call_fits(const CoreCallable *c, const CoreArg *a, Py_ssize_t n, int64_t *dims, DLDevice *where); /* dims: room for n_dims, filled in */
/* Of arguments that fit. a has room for n_in; the caller drops them. */
PyObject *core_call_run(CoreCallable *c, CoreArg *a, const int64_t *dims, DLDevice where);
int core_program_graph(const CoreProgram *p, PyObject *given);

/* call_tree.c: arguments as trees. */
enum { CORE_FEW_LEAVES = 24, CORE_FEW_BYTES = 512, CORE_REFUSED = 1 };
typedef enum { CORE_NUMBERS_ARE_PARTS, CORE_NUMBERS_ARE_LEAVES } CoreNumbers;
typedef struct {
	PyObject **leaf, *few_leaves[CORE_FEW_LEAVES]; /* held */
	uint8_t *key, few_bytes[CORE_FEW_BYTES];
	Py_ssize_t n, room, n_key, key_room;
} CoreWalk;
void core_walk_begin(CoreWalk *w);
void core_walk_end(CoreWalk *w);
/* These: 0, -1 with an exception, or CORE_REFUSED for what a key cannot tell from others. */
int core_walk(CoreWalk *w, PyObject *o, CoreNumbers numbers);      /* the leaves of o, and all else of it; numbers: outside of dicts */
int core_walk_number(CoreWalk *w, PyObject *number);               /* into the key */
int core_walk_bytes(CoreWalk *w, const void *bytes, Py_ssize_t n); /* into the key */
bool core_walk_needed(PyObject *o, bool numbers);                  /* is o another thing than one leaf? numbers: these are leaves */
PyObject *core_add_constant_type(PyObject *module, PyObject *type);
