/* From schedules to the artifact's plans (rtlib/plan.h), the CPU's and those of devices, and the list of weight bytes that go with them. */
#pragma once
#include "emit/emit.h"
#include "ir/tree.h"
#include "middle/tiler/sched.h"

typedef struct {
	bool external;                    /* weights stay in their published files */
	const int64_t *scratch;           /* per kernel: bytes each worker needs */
	const char *producer;             /* "tsc 0.1.0" */
} TsPlanOptions;

/* A device's plan is written from its schedule, its kernels as Tile IR, and where their code is. */
typedef struct {
	const char *target;               /* "sm_90a" */
	const TsSched *sched;
	const TsTree *const *kernels;     /* per TsKernel: verified */
	const uint32_t *module;           /* per TsKernel; its name is its symbol there */
	const TsPlanModule *modules;      /* names are given to them here */
	uint32_t n_modules;
	uint64_t code_bytes;              /* of the artifact's device code */
} TsDeviceSched;

typedef struct {
	TsBytes plan;
	const TsDevicePlan *device_plans;
	uint32_t n_device_plans;
	TsWeightPiece *pieces;
	uint32_t n_pieces;
	uint64_t weight_bytes;
} TsPlanned;

/* False after reporting. Everything lies in the module's arena; pieces read weight files lazily. */
bool ts_write_plan(const TsSched *s, const TsPlanOptions *o, const TsDeviceSched *devices, uint32_t n_devices, TsPlanned *out);
