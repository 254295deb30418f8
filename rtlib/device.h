/* The half of the runtime that drives a kind of device, as the rest calls it. An artifact with code for GPUs names its table in
 * TesseraModel.device_ops and the linker brings the half in; in one without, nothing refers to it and none of it is in the file.
 * A session on a device shares everything with one on the CPU up to the resolved launches (session.c): their pointers are then
 * addresses on the device. */
#ifndef TESSERA_RTLIB_DEVICE_H
#define TESSERA_RTLIB_DEVICE_H
#include "rtlib/rt.h"

/* what a forked child is told of the device of its parent's context */
#define TS_FORKED "this process is a fork of the one that opened the GPU, and CUDA can't be used across a fork: make the context after it"

typedef struct TsDeviceOps {
	/* Of a context. open: *out NULL with TESSERA_OK when the choice was left to us and no device fits (info->note says why). */
	int32_t (*open)(const TesseraModel *m, const TesseraContextOptions *o, TesseraContext *cx, void **out, TesseraDeviceInfo *info, TesseraError *e);
	void (*close)(TesseraContext *cx, void *device);
	int32_t (*alloc)(void *device, uint64_t bytes, void **out, TesseraError *e);
	int32_t (*release)(void *device, void *memory, TesseraError *e);
	int32_t (*copy)(void *device, void *to, const void *from, uint64_t bytes, TesseraError *e);
	int32_t (*wait)(void *device, void *stream, TesseraError *e);

	/* Of a session. plan: the one whose code runs on the context's device, checked and loaded. attach opens the weights and sets s->device and
	 * s->device_weights. */
	int32_t (*plan)(const TesseraModel *m, TesseraContext *cx, const TesseraDeviceInfo *info, const TsPlanHeader **out, TesseraError *e);
	int32_t (*attach)(TsRtSession *s, const char *weights, TesseraError *e);
	void (*detach)(TsRtSession *s);
	int32_t (*resize)(TsRtSession *s, void **memory, uint64_t have, uint64_t want, const char *what, TesseraError *e); /* contents are lost */
	void (*drop)(TsRtSession *s, void *memory);
	int32_t (*fill)(TsRtSession *s, void *to, const void *from, uint64_t bytes, TesseraError *e); /* from the device; NULL: zeros */
	uint64_t (*plan_bytes)(const TsNeed *n);                      /* host memory behind the launch tables */
	int32_t (*prepared)(TsRtSession *s, void *memory, bool record, TesseraError *e); /* after the launches are filled in */
	int32_t (*run)(TsRtSession *s, const TsPlanEntry *en, int32_t graph, void *stream, TesseraError *e); /* arguments are read */
	void (*explain)(const TsRtSession *s, const TsLaunch *l, TsText *t); /* l NULL: the line about the device */
	void (*stats)(const TsRtSession *s, TesseraStats *out);
} TsDeviceOps;

extern const TsDeviceOps ts_cuda_ops;
#endif
