/* The plan: the host program of an artifact, as data. tsc writes it into section .tessera.plan, rtlib interprets it in place on
 * every device, and `tsc inspect` and `tsc explain` read it from the file. It is position independent (tables are byte offsets from
 * the blob's first byte, names are offsets into its strings), little endian, 16-byte aligned, and means the same everywhere: every
 * size, guard, offset and argument is an int64 expression over the symbolic dims and the loop variables. The runtime checks the
 * whole blob once (ts_plan_check) before it believes any number in it. An artifact holds one plan per target, the CPU's always: they
 * agree in dims, entries, tensors, states and checks (ts_plan_check_device) and differ in steps, kernels and workspace.
 * docs/artifact.md describes it for readers. */
#ifndef TESSERA_RTLIB_PLAN_H
#define TESSERA_RTLIB_PLAN_H
#include <stddef.h>
#include <stdint.h>

#define TS_PLAN_MAGIC "TSPLAN1" /* 8 bytes with the NUL */
#define TS_PLAN_VERSION 4
#define TS_NONE UINT32_MAX      /* no expression, no string, no kernel */
#define TS_MAX_RANK 16
#define TS_MAX_LOOP 8           /* nested loops, and loop variables of one entry */
#define TS_MAX_DIMS 1024
#define TS_CLONES 3             /* x86-64-v2, v3, v4: the columns of the kernel table; 0 in a plan for a device */
#define TS_MAX_MAPS 16          /* tensor maps of a kernel */
#define TS_MAP_RANK 5
#define TS_MAX_FORMULAS 256     /* of a kernel */

/* Element types, as stored, in the order of ir/dtypes.def. int4 and fp4 hold two elements a byte, low nibble first, along the
 * flattened tensor (n elements take ceil(n/2) bytes); fp6 takes a byte each. */
typedef enum {
	TS_PLAN_F32, TS_PLAN_F64, TS_PLAN_F16, TS_PLAN_BF16, TS_PLAN_INT64, TS_PLAN_INT32, TS_PLAN_BOOL, TS_PLAN_INT16, TS_PLAN_INT8,
	TS_PLAN_UINT8, TS_PLAN_INT4, TS_PLAN_FP8_E4M3, TS_PLAN_FP8_E5M2, TS_PLAN_FP6_E2M3, TS_PLAN_FP6_E3M2, TS_PLAN_FP4_E2M1,
	TS_PLAN_COMPLEX64, TS_PLAN_DTYPES
} TsPlanDtype;

/* One int64 expression node. Operands a, b, c are numbers of earlier nodes. Overflow, division by zero and an operand that failed
 * make the value an error, which matters only where the value is used; and, or and select look at the needed side alone. */
typedef enum {
	TS_EX_CONST,              /* value */
	TS_EX_DIM,                /* symbolic dim number a */
	TS_EX_LOOP,               /* loop variable number a */
	TS_EX_ADD, TS_EX_SUB, TS_EX_MUL,
	TS_EX_DIV, TS_EX_MOD,     /* floor division and its remainder (the divisor's sign) */
	TS_EX_MIN, TS_EX_MAX,
	TS_EX_EQ, TS_EX_NE, TS_EX_LT, TS_EX_LE, /* 0 or 1 */
	TS_EX_AND, TS_EX_OR,      /* 0 or 1; b is not looked at when a decides */
	TS_EX_SELECT,             /* a ? b : c */
	TS_EX_NUM,                /* int64 argument number a of the launch: in formulas alone */
	TS_EX_KINDS
} TsExprKind;
typedef struct { uint32_t kind, a, b, c; int64_t value; } TsPlanExpr;

typedef struct { uint32_t name, reserved; int64_t min, max, multiple_of; } TsPlanDim; /* max 0: no limit; multiple_of >= 1 */

/* How packed weight bytes come from a file's bytes: panels of `panel` columns, each [ceil(K/group)][panel][group] elements with
 * zeros past K and N, one set of panels per batch (pack.h says it exactly). COPY: the bytes as they are. */
typedef enum { TS_PACK_COPY, TS_PACK_PANELS } TsPackKind;
typedef struct {
	uint32_t kind, elem;      /* TsPackKind; bytes per element: 1, 2, 4 or 8 */
	uint32_t panel, group;    /* columns of a panel; consecutive k kept together (1; 2 for bf16 pairs; 4 for int8 quads) */
	int64_t batch, k, n;      /* logical source [batch, k, n] */
	int64_t stride_batch, stride_k, stride_n; /* in elements of the source */
} TsPack;

/* One weight as kernels read it: `bytes` bytes at `offset`, both 64-aligned, of the blob inside the artifact (TS_WEIGHT_EMBEDDED) or
 * of memory filled when a context first opens the model (TS_WEIGHT_EXTERNAL: read `file_bytes` at `file_offset` of weight file
 * `file`, apply `pack`). Embedded weights keep file and pack too, for inspect. shape is the logical one.
 * In a plan for a device `offset` is a place in the device's memory, 256-aligned, below `device_bytes`, and what lies there is the
 * logical tensor, compact, last axis fastest: `bytes` of the file if external, else made of the parts (zeros where none reaches). */
enum { TS_WEIGHT_EMBEDDED = 0, TS_WEIGHT_EXTERNAL = 1 };
typedef struct {
	uint32_t name, dtype, rank, where;
	uint32_t dims;            /* first of `rank` values in longs */
	uint32_t file;            /* number in files, or TS_NONE (a constant) */
	uint64_t offset, bytes;
	uint64_t file_offset, file_bytes;
	TsPack pack;
	uint32_t part, n_parts;   /* embedded, of a device */
} TsPlanWeight;

/* A part of a device's weight, from where the CPU's plan keeps it: `bytes` bytes at `offset` of the artifact's blob. COPY: they go to
 * element `first` on. PANELS: element [b, k, n] of the packed matrix goes to element first + b*stride_batch + k*stride_k + n*stride_n. */
typedef struct { uint64_t offset, bytes; int64_t first; TsPack pack; } TsPlanPart;

/* A published weight file: found beside the artifact by its base name or where the caller says, accepted only with this hash. */
typedef struct { uint32_t name, reserved; uint64_t bytes; uint8_t sha256[32]; } TsPlanFile;

/* A buffer of the session. Sizes may use dims, which are fixed when the session is made; starts filled with weight `init`, or zero. */
typedef struct { uint32_t name, dtype, rank, dims /* `rank` expr ids in words */, init /* weight or TS_NONE */, bytes /* expr */; } TsPlanState;

/* An input or output. dims: `rank` expr ids in words. align: bytes the kernels need data aligned to (at least the element).
 * where: string "file:line:col" that declared it, or 0. */
typedef struct { uint32_t name, dtype, rank, dims, align, where; } TsPlanTensor;

/* dim = (size of axis `axis` of tensor `tensor` - add) / mul, exactly; tensors count the entry's inputs, then its outputs. Every dim
 * an entry uses is bound by the first bind that names it; every other axis is then checked against its expression. */
typedef struct { uint32_t dim, tensor, axis, reserved; int64_t mul, add; } TsPlanBind;

/* expr must be non-zero, else prepare fails with message, in which {0} and {1} stand for the values of wanted and found. */
typedef struct { uint32_t expr, message, wanted, found; } TsPlanCheck;

typedef struct {
	uint32_t name, doc;
	uint32_t tensor, n_inputs, n_outputs;   /* first tensor; inputs, then outputs */
	uint32_t bind, n_binds;
	uint32_t check, n_checks;
	uint32_t step, n_steps;
	uint32_t workspace;                     /* expr: bytes of workspace, the exported peak-bytes formula */
	uint32_t buffer, n_buffers;
} TsPlanEntry;

/* LAUNCH runs the first choice whose guard holds (none holds: an error, or nothing with TS_STEP_OPTIONAL). LOOP runs the steps up to
 * its END with variable `var` = lo .. hi-1; both ends name each other in `match`. */
typedef enum { TS_STEP_LAUNCH, TS_STEP_LOOP, TS_STEP_END } TsStepKind;
enum { TS_STEP_OPTIONAL = 1 };
typedef struct {
	uint32_t kind, flags;
	uint32_t name;                          /* string: what it computes, for explain and profiles */
	uint32_t choice, n_choices, arg, n_args, num, n_nums; /* LAUNCH: choices, args, expr ids in words */
	uint32_t var, lo, hi, match;            /* LOOP, END */
	uint32_t values, text, operands;        /* LAUNCH: for people, see below */
	uint32_t cost, n_cost;                  /* LAUNCH: expr ids in words: operations, bytes read, bytes written. n_cost 3, or 0: not known */
} TsPlanStep;

/* What a step says of itself. values: the names of the graph's values that it computes, parted by spaces (of a step that is a part of
 * another's work, those of the other, and no cost). text: a line for each, `y: f32[B, 8] = add(x, w)`. operands: what it reads from
 * elsewhere, a line for each: `value x`, `input x`, `weight W.name`.
 * Operations: 2 for a product with its sum, 1 for each element of other work. Bytes are those of the tensors, read once each. */

/* A buffer of the workspace: the bytes [offset, offset + bytes) hold `name` (a value, or none) from step `first` to step `last` of the
 * entry's steps, counted in the table. For tools alone: the runtime goes by the steps' arguments. */
typedef struct { uint32_t name, first, last, offset, bytes; } TsPlanBuffer;

/* guard: expr or TS_NONE (always). cells: expr, how many grid cells. scratch: expr, bytes each worker gets (TS_NONE: 0, always so on a
 * device). per_sm: of persistent kernels, CTAs (clusters) started for each multiprocessor, at most `cells` in all; else 0.
 * tile: elements of a cell by axis, for people; 0: none further. */
typedef struct { uint32_t guard, kernel, cells, scratch, label, per_sm, tile[3]; } TsPlanChoice;

/* A pointer argument: base + offset bytes (expr or TS_NONE for 0). INPUT, OUTPUT: tensor `index` of its side. STATE: state `index`.
 * WEIGHT: weight words[table + i] with i the value of `index_expr` (TS_NONE: 0), 0 <= i < n_table, so that the layers of a loop
 * share one step. */
typedef enum { TS_ARG_INPUT, TS_ARG_OUTPUT, TS_ARG_WORKSPACE, TS_ARG_WEIGHT, TS_ARG_STATE } TsArgKind;
typedef struct { uint32_t kind, index, table, n_table, index_expr, offset; } TsPlanArg;

/* A kernel. Of a CPU plan only the name counts: module is TS_NONE, the rest 0. On a device `name` is its symbol in the module; it takes
 * the step's pointers, then its nums, then with TS_KERNEL_PERSISTENT the number of CTAs started, then its tensor maps. */
enum { TS_KERNEL_PERSISTENT = 1 };
typedef struct {
	uint32_t name, flags;
	uint32_t module, threads;               /* of a CTA */
	uint32_t cluster, shared_bytes;         /* CTAs of a cluster, 1: none; dynamic shared memory */
	uint32_t map, n_maps;
	uint32_t formula, n_formulas;           /* its sizes and strides, in terms of a launch's nums */
} TsPlanKernel;

/* Code of a device, inside the artifact's device code: a cubin for `sm` (90 for sm_90a), PTX, or both; absent: 0 bytes. PTX is an LZ4
 * block of ptx_bytes (cuda_lz4.h), which gives ptx_text bytes: the text and its NUL. With TS_MODULE_EXACT the code runs on this architecture alone (sm_90a), else PTX serves every later one. */
enum { TS_MODULE_EXACT = 1 };
typedef struct {
	uint32_t name, flags, sm, reserved;
	uint64_t cubin, cubin_bytes, ptx, ptx_bytes, ptx_text; /* offset, 64-aligned, in the device code; size */
} TsPlanModule;

/* A tensor map over pointer argument `arg`: rank axes, outermost first, the last contiguous (its stride counts 1). dims, strides: words,
 * formulas of the kernel counted from its first, in elements; box: words, elements. swizzle: 0, 32, 64 or 128 bytes. */
typedef struct { uint32_t arg, dtype, rank, swizzle, dims, strides, box, reserved; } TsPlanMap;

typedef struct { uint32_t at, n; } TsPlanSpan;    /* byte offset from the blob's start; number of elements (strings: bytes) */
typedef struct {
	char magic[8];
	uint32_t version, header_bytes;
	uint32_t bytes, clones;                    /* of the whole blob; columns of the kernel table */
	uint32_t model, producer;                  /* strings: model name, "tsc 0.1.0" */
	uint32_t target, reserved;                 /* string: "cpu", or a device's architecture, "sm_90a" */
	uint64_t weight_bytes;                     /* embedded blob */
	uint64_t external_bytes;                   /* memory for weights packed at open; 0 for a device */
	uint64_t device_bytes;                     /* of a device: memory for its weights */
	uint64_t code_bytes;                       /* of a device: the artifact's device code, all of it */
	TsPlanSpan strings, words /* u32 */, longs /* i64 */, dims, exprs, files, weights, states, tensors, binds, checks, entries, steps,
		choices, args, kernels, parts, modules, maps, formulas /* exprs of constants and nums, kernel by kernel */, buffers;
} TsPlanHeader;

/* A kernel's formulas are evaluated for a launch in order; an operand counts from the kernel's first formula. */

/* A kernel for grid cells [begin, end). ptr: buffer addresses, offsets added, 64-aligned for workspace and weights at offsets that are;
 * num: int64 arguments; scratch: 64-aligned, this worker's alone. A cell's result never depends on who computes it or when. */
typedef void (*TsKernelFn)(void *const *ptr, const int64_t *num, int64_t begin, int64_t end, void *scratch);
/* The compiler's object defines `ts_kernels` (hidden): [kernel][TS_CLONES], every entry set. */

/* typed views of a checked blob */
#define TS_PLAN_TABLE(plan, T, field) ((const T *)(const void *)((const char *)(plan) + (plan)->field.at))
static inline const char *ts_plan_str(const TsPlanHeader *p, uint32_t s) { return s < p->strings.n ? (const char *)p + p->strings.at + s : ""; }

/* Is this a whole, consistent plan of `size` bytes? Returns NULL, or what is wrong (a static string). */
const char *ts_plan_check(const void *blob, size_t size);
/* Of two checked plans: is `plan` one for a device, and for the model of the CPU's plan `cpu`? NULL, or what differs. */
const char *ts_plan_check_device(const TsPlanHeader *cpu, const TsPlanHeader *plan);
static inline int ts_plan_is_cpu(const TsPlanHeader *p) { return p->clones != 0; }

_Static_assert(sizeof(TsPlanExpr) == 24 && sizeof(TsPlanDim) == 32 && sizeof(TsPack) == 64 && sizeof(TsPlanWeight) == 128, "plan layout");
_Static_assert(sizeof(TsPlanFile) == 48 && sizeof(TsPlanBind) == 32 && sizeof(TsPlanHeader) == 40 + 32 + 21 * 8, "plan layout");
_Static_assert(sizeof(TsPlanPart) == 88 && sizeof(TsPlanKernel) == 40 && sizeof(TsPlanModule) == 56 && sizeof(TsPlanMap) == 32, "plan layout");
#endif
