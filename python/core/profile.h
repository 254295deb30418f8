/* Profiles of calls. While Python listens, a run is one of tessera_profile, and the listener is told of it and of its launches; else this is one
 * look at a flag. */
#pragma once
#include "python/core/runtime.h"

extern _Atomic bool core_profiling;                                   /* somebody listens */

/* tessera_run, or tessera_profile where the artifact and the stream allow it. With the GIL, which is let go of while it runs; `callable` is what
 * the listener is told. */
int32_t core_profile_run(PyObject *callable, TesseraSession *s, int graph, const DLTensor *const *in, int n_in, const DLTensor *const *out, int n_out,
                         void *stream, TesseraError *e);
int core_profile_init(PyObject *module);
