/* GPUs in the pipeline: for each architecture asked for a schedule, its kernels as Tile IR, their PTX in modules, cubins, and what the plan says of
 * them. The steps are called in this order by tsc/pipeline.c, each beside what it does for the CPU. PTX of the lowest architecture that
 * newer GPUs can compile stays beside the cubins; without ptxas all of it does, and there are no cubins. */
#pragma once
#include "backend/llvm/backend.h"
#include "emit/plan_write.h"
#include "emit/ptxas.h"
#include "tsc/options.h"

typedef struct {
	const TsTarget *code;
	TsSched *sched;
	const TsTree **kernels;   /* per TsKernel: its verified KERNEL tree */
	uint32_t *module_of;      /* per TsKernel */
	TsBuf *ptx;               /* per module */
	TsPtxModule *modules;
	uint32_t n_modules;
	TsPlanModule *placed;     /* per module: where it lies in `code` of TsDevices */
} TsDevice;

typedef struct {
	TsCtx *cx;
	const TsOptions *o;
	TsDevice *p;
	uint32_t n;
	const char *ptxas, *ptxas_version; /* NULL: none */
	TsBuf code;               /* section .tessera.gpu */
} TsDevices;

bool ts_devices_schedule(TsDevices *d, TsCtx *cx, const TsOptions *o, TsModule *m);
bool ts_devices_read_tiles(TsDevices *d);
/* Appends the kernels of all devices to units; how many. ts_devices_take is given the objects made from them: `first` counts from the first of
 * these units. Takes the objects' bytes. */
uint32_t ts_devices_units(const TsDevices *d, TsUnit *units);
uint32_t ts_devices_count(const TsDevices *d); /* of these units */
void ts_devices_take(TsDevices *d, TsBuf *objects, const uint32_t *first, uint32_t count);
bool ts_devices_assemble(TsDevices *d);
const TsDeviceSched *ts_devices_for_plan(TsDevices *d); /* d->n of them */
void ts_devices_free(TsDevices *d);

/* All kernels of one device as one text: Tile IR, LLVM IR or PTX. */
bool ts_device_print(TsDevices *d, const TsDevice *v, TsBackendForm form, TsBuf *to);
/* PTX of one module to a cubin; a missing ptxas is an error here. */
bool ts_device_cubin(TsCtx *cx, const TsOptions *o, const char *arch, const TsBuf *ptx, const TsPtxPlace *places, uint32_t n_places, TsBuf *cubin);
/* The PTX that newer GPUs can compile: its device, or NULL. */
const TsDevice *ts_devices_fallback(const TsDevices *d);
