/* What the parts of the simulator share: tile_sim.c (cells, agents, control), tile_sim_time.c (clocks, barriers, engines), tile_sim_mem.c
 * (memory and views), tile_sim_value.c (values and words). Functions that return bool have reported when they return false. */
#pragma once
#include "ir/tile_sim.h"
#include "support/map.h"

enum { SIM_RANK = TS_LAY_RANK, SIM_BLOCKED = 2 };

/* The registers of one warp: register, then lane (v, l). Floats are doubles, integers and bools int64. Counted references. */
typedef union { double f; int64_t i; } Cell;
typedef struct TileBuf { int refs; int64_t n; struct TileBuf *next, **link; Cell c[]; } TileBuf;
typedef struct Flight Flight;
/* A scalar or idx in `s`; a tile in `tile` (NULL in protocol runs), or in flight; a ring position in s.i, counted from 0. */
typedef struct { Cell s; TileBuf *tile; Flight *flight; } Val;

typedef struct { uint32_t *t, n, cap; } Clock;
typedef struct { uint32_t id, time; } Epoch;
typedef struct { Epoch write; bool async, written; uint32_t n, cap; Epoch *readers; } Granule;
/* One buffer's memory: of a parameter, or of an smem or ring buffer of one CTA. */
typedef struct Memory {
	const TsTree *decl;
	TsTSpace space;
	TsDtype elem;
	int rank;
	int64_t dim[SIM_RANK], stride[SIM_RANK], count;   /* global: in elements */
	const TsLayout *layout;                           /* shared */
	uint8_t *data;
	int64_t bytes;
	int granule, elem_bytes;
	Granule *granules;
	uint32_t *writer;                                 /* global: 1 + cell that wrote the element */
	struct Memory *root;                              /* of an alias */
} Memory;

typedef struct { int64_t start, step, len; int axis; const TileBuf *tile; const int32_t *coords; int trank; } ViewDim; /* axis -1: fixed; a tile of indices, and where its places lie in this warp */
typedef struct { Memory *mem; int64_t base; int rank; int64_t extent[SIM_RANK]; ViewDim d[SIM_RANK]; bool transposed; } View;

typedef struct { int64_t count, got, tx; int64_t phase, waited /* rounds that somebody waited for */; Clock vc, fv, vc_out, fv_out; } Barrier;
typedef struct { int64_t count, got; uint64_t generation; Clock vc, fv, vc_out, fv_out; } Meeting;

/* One asynchronous operation. */
typedef enum { ENGINE_COPY, ENGINE_MMA, ENGINE_STORE, ENGINE_CP } EngineKind;
struct Agent;
typedef struct Engine {
	EngineKind kind;
	struct Agent *by;
	const TsTree *at;
	uint32_t id;
	Clock vc, fv;
	int64_t group;             /* of its kind in its agent */
	bool read, done;           /* STORE: shared memory was read */
	bool waited;               /* its agent has waited for it (STORE: for its read) */
	View to, from;
	Cell *taken;               /* STORE: what it read */
	Barrier *full;
	int64_t bytes;
	Flight *flight;
	int64_t valid[SIM_RANK];
	const TsLayout *by_layout;
} Engine;

/* A matrix product under way: what it adds, and where the sum appears. */
struct Flight { Engine *engine; Val c, a; View va, vb; bool a_shared, ta, zero; TileBuf *out; const TsTType *type; const TsTree *call; };

typedef struct { const TsTree *block, *owner, *binds; uint32_t pc; int64_t i, hi, step; bool one; } Frame;
typedef struct Agent {
	uint32_t id;
	int cta, warp, instance;
	const TsTree *role;
	int64_t warps, times;
	Val *vals;
	TS_VEC(Frame) stack;
	Clock vc, fv;
	int64_t mma_groups, store_groups, copy_groups;      /* closed so far */
	bool done, arrived;                                 /* arrived: at the meeting it waits in */
	uint64_t generation;
	const TsTree *waits;
} Agent;

typedef struct Sim {
	TsCtx *cx;
	TsTree *kernel;
	const TsSimArgs *a;
	const TsTileTarget *target;
	TsArena *arena;                                      /* of the run */
	TsArena *cell_arena;                                 /* of one cell */
	TileBuf *tiles;
	uint64_t random;
	int64_t steps, max_steps;
	Memory *params;
	uint32_t nids;
	TsMap tables;                                        /* layout -> coordinates */
	/* of the cell under way */
	uint32_t cell;
	int64_t coord[3];
	int ctas;
	Memory **shared;                                     /* [cta][decl id] */
	Barrier **full, **empty;                             /* [cta][decl id], one per slot */
	Meeting *meetings;                                   /* per cta: role instances, then cta; last: cluster */
	TS_VEC(Agent *) agents;
	TS_VEC(Engine *) engines;
	uint32_t ids;
} Sim;

bool sim_fail(Sim *s, const TsTree *at, const char *code, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
uint32_t sim_random(Sim *s, uint32_t n);

/* A word's keyword argument, or NULL. */
static inline const TsTree *sim_keyword(const TsTree *call, const char *name)
{
	for (uint32_t i = 1; i < call->n; i++)
		if (call->kid[i]->kind == TS_TREE_KW && !__builtin_strcmp(call->kid[i]->name, name)) return call->kid[i]->kid[0];
	return NULL;
}

/* values */
TileBuf *sim_tile(Sim *s, int64_t n);
Val sim_keep(Val v);                                        /* another reference */
void sim_drop(Val v);
void sim_free_tiles(Sim *s);
bool sim_eval(Sim *s, Agent *a, const TsTree *x, Val *out);  /* one value; the caller drops it */
bool sim_idx(Sim *s, Agent *a, const TsTree *x, int64_t *out);
/* A word: results into out. SIM_BLOCKED: try again later, nothing happened. */
int sim_word(Sim *s, Agent *a, const TsTree *call, const TsTree *binds, Val *out, uint32_t *nout);
int64_t sim_places(const TsLayout *l);                      /* of one warp */
const int32_t *sim_coords(Sim *s, const Agent *a, const TsLayout *l); /* rank numbers for each place of this warp */
int sim_mma(Sim *s, Agent *a, const TsTree *call, const TsTree *bind, Val *out);
bool sim_mma_run(Sim *s, Agent *a, Flight *f, const Engine *e);
bool sim_pointwise(Sim *s, Agent *a, const TsTree *call, Val *out);
bool sim_reduce(Sim *s, Agent *a, const TsTree *call, const TsTType *to, Val *out);
int sim_exchange(Sim *s, Agent *a, const TsTree *call, const TsTType *to, Val *out);
bool sim_argreduce(Sim *s, Agent *a, const TsTree *call, Val *out);
double sim_round(const Sim *s, TsDtype t, double x);
int64_t sim_wrap(TsDtype t, int64_t x);

/* memory */
bool sim_view(Sim *s, Agent *a, const TsTree *x, View *out);
/* Calls for each element of the view: address in bytes (element index for global memory), -1 when outside. */
bool sim_element(Sim *s, const TsTree *at, const View *v, const int64_t *coord, int64_t *address, bool clip);
Cell sim_get(const Memory *m, int64_t address);
void sim_set(Memory *m, int64_t address, Cell c);
bool sim_load(Sim *s, Agent *a, const TsTree *call, const TsTType *to, Val *out);
bool sim_store(Sim *s, Agent *a, const TsTree *call);
bool sim_pack(Sim *s, Agent *a, const TsTree *call);
bool sim_access(Sim *s, const TsTree *at, Memory *m, int64_t address, bool write, bool async, Epoch who, const Clock *vc, const Clock *fv);
/* All elements of a shared view, once for each granule where the view allows it. */
bool sim_touch(Sim *s, const TsTree *at, const View *v, bool write, bool async, Epoch who, const Clock *vc, const Clock *fv);
bool sim_global(Sim *s, const TsTree *at, Memory *m, int64_t element, bool write);

/* time */
void sim_join(Sim *s, Clock *to, const Clock *from);
bool sim_before(Epoch e, const Clock *c);
void sim_tick(Sim *s, Agent *a);
Epoch sim_now(const Agent *a);
bool sim_arrive(Sim *s, const TsTree *at, Barrier *b, Agent *a, int64_t tx);
bool sim_ready(const Barrier *b, int64_t parity);
void sim_pass(Sim *s, Agent *a, const Barrier *b);
int sim_meet(Sim *s, Agent *a, Meeting *m);
Engine *sim_engine(Sim *s, Agent *a, EngineKind kind, const TsTree *at);
bool sim_engines_left(Sim *s, Agent *a, EngineKind kind, int64_t keep, bool read, bool *left); /* of groups but the last `keep` closed; joins those done */
bool sim_act(Sim *s, Engine *e);
bool sim_cta_lives(Sim *s, const TsTree *at, int cta);      /* its shared memory may be touched from another one; or reports */
Meeting *sim_meeting(Sim *s, const Agent *a, const char *which);
