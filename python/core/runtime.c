/* The runtime half of the module, put together. */
#include "python/core/profile.h"

int core_runtime_init(PyObject *module)
{
	if (core_tensor_init(module) || core_dlpack_init(module) || core_device_init(module) || core_program_init(module) ||
	    core_call_init(module) || core_dispatch_init(module) || core_ways_init(module) || core_profile_init(module))
		return -1;
	return 0;
}
