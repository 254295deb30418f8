/* tessera._core, the C half of the Python package: an extension of the stable ABI of 3.11, in two halves that share this page. The graph half
 * (graph*.c, dim.c, errors.c) builds Graph IR with the compiler's own ir/ and prints it as .tg; the runtime half loads artifacts and calls
 * them. Every function here needs the GIL. Those that return a PyObject give a new reference, or NULL with an exception set. */
#pragma once
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include "frontend/graph_text/print_names.h"
#include "ir/tree.h"

/* ---- module.c ---- */

/* The runtime half adds its types and functions to the module. 0, or -1 with an exception. */
int core_runtime_init(PyObject *module) __attribute__((weak, visibility("hidden")));
int core_graph_init(PyObject *module);

/* ---- errors.c ---- */

/* Raises the class of tessera.errors that goes with a diagnostic's code (E_TYPE: DTypeError, which is a TypeError); `code` is an attribute of
 * the exception. Returns NULL. */
PyObject *core_raise(const char *code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for the first error that was reported to cx, with its notes and hints, and forgets what was reported. */
PyObject *core_raise_reported(TsCtx *cx);

/* Gives the exception that is set a `where`, (file, line), unless file is NULL. Returns NULL. */
PyObject *core_raise_where(const char *file, int line);

/* ---- graph.c ---- */

typedef struct { TsSym file; int line; uint32_t scope; } CorePlace;                /* of a value: the Python line that made it, the loop it lies in */
typedef struct { TsNode *node; TsBlock *block; uint32_t scope; TsSym file; int line; } CoreLoop;   /* block: the one around it */
typedef struct { TsNumerics *num; TsNumerics values; uint32_t set; } CorePolicy;   /* num: as nodes see it; set: bits of the keys that are given */

typedef struct { uint32_t source; TsSym *files; int *lines; uint32_t n; TsTree *tree; } CoreKernel; /* a text of kernels: the Python place of each line */

typedef struct CoreBuilder {
	PyObject_HEAD
	TsCtx *cx;
	TsModule *m;
	TsGraph *g;
	TsBlock *block;                 /* where operators go now */
	uint32_t serial;                /* in the upper half of this builder's value ids */
	unsigned long owner;            /* the thread that is inside, while busy */
	bool busy, broken;              /* broken: out of memory or a bug of the compiler cut something short */
	TS_VEC(CorePlace) places;       /* by value */
	TS_VEC(CoreLoop) loops;         /* open ones, the innermost last */
	uint32_t scopes;                /* loops so far */
	int64_t streams;                /* the next random operator's */
	TS_VEC(CorePolicy) policies;
	TsMap names;                    /* of params, dims, weight sets: taken */
	TsMap weights;                  /* "scope set name" -> value */
	struct TsKernels *kernels;      /* NULL until there is one */
	TS_VEC(CoreKernel) texts;
	TsGraph *printed;               /* what the last text() held */
	TsNames *printed_names;         /* of it, once they were asked for */
	TsMap by_name;                  /* name -> value, of it */
} CoreBuilder;

/* Names of a text are all different. False with an exception when it is taken. */
bool core_take_name(CoreBuilder *b, TsSym name, int kind);
bool core_is_loop_name(CoreBuilder *b, TsSym name);             /* of an open loop's variable */

extern PyTypeObject *core_builder_type, *core_dim_type;
bool core_dim_init(void);                                        /* makes core_dim_type; false with an exception */

typedef PyObject *(*CoreBody)(CoreBuilder *b, PyObject *args, PyObject *kwargs);
enum { CORE_NAME_DIM = 1, CORE_NAME_PARAM, CORE_NAME_WEIGHTS, CORE_NAME_LOOP, CORE_NAME_KERNEL, CORE_NAME_CONST };
/* Runs body under the context's guard, nobody else being inside; errors reported to the context are raised. */
PyObject *core_enter(CoreBuilder *b, CoreBody body, PyObject *args, PyObject *kwargs);
/* The same for what works on sizes alone, which an argument's own code (__index__, __iter__) may do while a call reads it. */
PyObject *core_enter_size(CoreBuilder *b, CoreBody body, PyObject *args, PyObject *kwargs);

/* A value's id as Python sees it, and back: 0 with an exception for what is no id, is of another builder, or of a loop that is over. */
PyObject *core_id(CoreBuilder *b, TsVal v);
TsVal core_val(CoreBuilder *b, PyObject *id, const char *what);
PyObject *core_ids(CoreBuilder *b, const TsVal *v, uint32_t n);   /* a tuple */
/* Notes the place of n values from v on, which were just made. */
void core_set_place(CoreBuilder *b, TsVal v, uint32_t n, TsSym file, int line);
/* Python text without NUL bytes, interned; NULL with an exception. what: for the message. */
TsSym core_text(CoreBuilder *b, PyObject *o, const char *what);
TsSym core_name(CoreBuilder *b, PyObject *o, const char *what); /* the same for what stands as a name in the text */
bool core_type(CoreBuilder *b, PyObject *dtype, PyObject *dims, PyObject *accum, const char *what, TsType *out);
bool core_dtype(PyObject *o, TsDtype *out);                     /* the name of an element type */
bool core_int(PyObject *o, const char *what, int64_t *out);     /* anything with __index__ */

/* ---- the other methods of Builder ---- */

PyObject *core_op(CoreBuilder *b, PyObject *args, PyObject *kwargs);                 /* graph_op.c */
PyObject *core_const(CoreBuilder *b, PyObject *args, PyObject *kwargs);              /* graph_leaf.c */
PyObject *core_scalar(CoreBuilder *b, PyObject *args, PyObject *kwargs);
PyObject *core_dim_value(CoreBuilder *b, PyObject *size, PyObject *unused);
PyObject *core_weight(CoreBuilder *b, PyObject *args, PyObject *kwargs);
PyObject *core_weights_file(CoreBuilder *b, PyObject *args, PyObject *kwargs);
PyObject *core_loop_begin(CoreBuilder *b, PyObject *args, PyObject *kwargs);         /* graph_loop.c */
PyObject *core_loop_end(CoreBuilder *b, PyObject *args, PyObject *kwargs);
PyObject *core_loop_abort(CoreBuilder *b, PyObject *unused, PyObject *no_words);
PyObject *core_kernel(CoreBuilder *b, PyObject *args, PyObject *kwargs);             /* graph_kernel.c */
PyObject *core_call_kernel(CoreBuilder *b, PyObject *args, PyObject *kwargs);
PyObject *core_print(CoreBuilder *b, PyObject *args, PyObject *kwargs);              /* graph_text.c */
PyObject *core_where(CoreBuilder *b, PyObject *name, PyObject *unused);
PyObject *core_value_name(CoreBuilder *b, PyObject *id, PyObject *unused);

/* ---- graph_table.c: functions of the module ---- */

PyObject *core_ops(PyObject *module, PyObject *unused);
PyObject *core_dtypes(PyObject *module, PyObject *unused);
PyObject *core_targets(PyObject *module, PyObject *unused);
PyObject *core_archs(PyObject *module, PyObject *unused);
TsCtx *core_check_text(const char *text, size_t size, const char *name, bool weights);   /* the context with what was reported; the caller frees it */
PyObject *core_check(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *core_format(PyObject *module, PyObject *text);

bool core_file(CoreBuilder *b, PyObject *file, TsSym *out);               /* a path or None */
/* A dict as a `numerics { … }` block: its values, and bits for the keys that are given, which is what core_fold_numerics takes over. */
bool core_numerics(CoreBuilder *b, PyObject *dict, TsNumerics *n, uint32_t *set);
/* A node that was just added at the end of the open block, or NULL with an exception: its ids. One whose sizes are too long is taken back. */
PyObject *core_added(CoreBuilder *b, TsVal first, const TsNode *n, TsSym file, int line);
const TsNumerics *core_policy(CoreBuilder *b, const TsNumerics *values, uint32_t set);   /* as nodes see it */
void core_fold_numerics(TsNumerics *to, const TsNumerics *from, uint32_t set);

/* ---- dim.c ---- */

PyObject *core_same_size(PyObject *module, PyObject *args);
PyObject *core_dim(CoreBuilder *b, TsDim d);                    /* an int where it is constant */
/* int, Dim of this builder, or text as "3*D" (names that are new are declared). */
bool core_size(CoreBuilder *b, PyObject *o, const char *what, TsDim *out);
/* A sequence of sizes, which are not negative where they are constants; at most TS_MAX_RANK. */
bool core_shape(CoreBuilder *b, PyObject *o, const char *what, uint8_t *rank, TsDim *out);
bool core_is_short(CoreBuilder *b, TsDim d);                    /* raises, unless the text can hold it */
bool core_declare(CoreBuilder *b, TsSym name, int64_t min, int64_t max, int64_t multiple);
