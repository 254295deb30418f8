/* Tensors in files, as sub-commands name them: x.npy, all.npz:key, all.safetensors:key. Without a key the tensor's own name is it. */
#pragma once
#include "ir/tensor.h"

/* as: the element type wanted, or TS_DTYPE_NONE for the file's; values are taken in another type only where each fits exactly. */
bool ts_tensor_read(TsCtx *cx, const char *spec, TsSym name, TsDtype as, TsTensor *out);
/* Whether a .safetensors file holds a tensor of that name; false also after reporting that the file is no such file. */
bool ts_tensor_is_in(TsCtx *cx, const char *path, TsSym name);
/* By the path's ending: .npy, or .safetensors with this tensor alone. */
/* Reports two of n outputs that would be one file, however its name is spelt. names[i]: as messages say it. */
bool ts_outputs_differ(TsCtx *cx, uint32_t n, const char *const *names, const char *const *paths);
bool ts_tensor_write(TsCtx *cx, const char *path, TsSym name, const TsTensor *t);
bool ts_safetensors_write(TsCtx *cx, const char *path, uint32_t n, const TsSym *names, const TsTensor *const *tensors);
bool ts_has_ending(const char *path, const char *ending);
