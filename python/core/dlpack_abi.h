/* What DLPack adds to the DLTensor of include/tessera/dlpack.h when tensors change hands in Python: structures with a deleter, in capsules, and
 * the table of functions that a tensor class may offer as __dlpack_c_exchange_api__. Binary compatible with dmlc's dlpack.h 1.3. */
#pragma once
#include "include/tessera/dlpack.h"

typedef struct { uint32_t major, minor; } DLPackVersion;
typedef struct DLManagedTensor {
	DLTensor dl_tensor;
	void *manager_ctx;
	void (*deleter)(struct DLManagedTensor *self);           /* may be NULL */
} DLManagedTensor;

#define DLPACK_FLAG_BITMASK_READ_ONLY ((uint64_t)1)
#define DLPACK_FLAG_BITMASK_IS_COPIED ((uint64_t)2)
#define DLPACK_FLAG_BITMASK_IS_SUBBYTE_TYPE_PADDED ((uint64_t)4)
typedef struct DLManagedTensorVersioned {
	DLPackVersion version;                                   /* of another major: nothing but the deleter may be used */
	void *manager_ctx;
	void (*deleter)(struct DLManagedTensorVersioned *self);
	uint64_t flags;
	DLTensor dl_tensor;
} DLManagedTensorVersioned;

typedef struct DLPackExchangeAPIHeader {
	DLPackVersion version;
	struct DLPackExchangeAPIHeader *prev_api;                /* of an older version, or NULL */
} DLPackExchangeAPIHeader;

/* None of these waits for a stream. -1: with an exception, or after set_error. */
typedef struct DLPackExchangeAPI {
	DLPackExchangeAPIHeader header;
	int (*managed_tensor_allocator)(DLTensor *prototype, DLManagedTensorVersioned **out, void *error_ctx,
	                                void (*set_error)(void *error_ctx, const char *kind, const char *message));
	int (*managed_tensor_from_py_object_no_sync)(void *py_object, DLManagedTensorVersioned **out);
	int (*managed_tensor_to_py_object_no_sync)(DLManagedTensorVersioned *tensor, void **out_py_object);
	int (*dltensor_from_py_object_no_sync)(void *py_object, DLTensor *out); /* borrows; may be NULL */
	int (*current_work_stream)(DLDeviceType device_type, int32_t device_id, void **out_current_stream);
} DLPackExchangeAPI;
