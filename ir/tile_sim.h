/* The simulator of Tile IR: runs a kernel's text on the host, cell after cell in random order, its warps as agents and every asynchronous
 * copy, matrix instruction and store as an agent of its own that acts at any legal time. Memory carries vector clocks, so it finds races,
 * missing waits and fences, wrong counts and bytes, deadlocks, reads of what nobody wrote, accesses out of bounds and cells that write
 * one element twice; and it computes, so that results can be compared. docs/tile.md says what the model assumes.
 * Errors: E_SIM_RACE E_SIM_FENCE E_SIM_POISON E_SIM_BOUNDS E_SIM_OVERLAP E_SIM_ARRIVALS E_SIM_DEADLOCK E_SIM_LIMIT E_SIM_ARGS E_SIM_WORD. */
#pragma once
#include "ir/tensor.h"
#include "ir/tile.h"

typedef struct {
	const char *kernel;         /* NULL: the only one */
	TsTensor *buffers;          /* one for each buffer parameter in order, of its element type; results are written into them */
	uint32_t nbuffers;
	const int64_t *numbers;     /* idx parameters in order */
	uint32_t nnumbers;
	uint64_t seed;              /* of every random choice; the same seed gives the same run */
	bool latest;                /* engines act as late as they may, instead of at random */
	bool exact;                 /* registers hold doubles: nothing is rounded but what is stored, loaded or cast */
	bool protocol;              /* tile values are not computed (buffers keep their content): order, counts and bounds only */
	int64_t max_steps;          /* statements; 0: 200 million */
} TsSimArgs;

/* The kernel is annotated here (ts_tile_annotate). False after reporting. */
bool ts_tile_sim(TsCtx *cx, TsTree *file, const TsSimArgs *args);

/* The kernel that args names (annotated), and the sizes of one of its buffer parameters for args' numbers. NULL, false: reported. */
TsTree *ts_tile_sim_kernel(TsCtx *cx, TsTree *file, const TsSimArgs *args);
bool ts_tile_sim_dims(TsCtx *cx, TsTree *kernel, const TsSimArgs *args, const TsTree *param, int64_t dim[TS_LAY_RANK]);
