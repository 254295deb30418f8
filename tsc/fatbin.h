/* `--emit fatbin`: the cubins of all architectures, and PTX for newer GPUs, in NVIDIA's container, for programs that load such files. Written by
 * `fatbinary`, which lies beside ptxas in a CUDA toolkit; nothing else in Tessera needs it. */
#pragma once
#include "tsc/devices.h"

/* The devices are assembled. Kernels of an architecture go into one module. False after reporting. */
bool ts_fatbin(TsDevices *d, TsBuf *out);
