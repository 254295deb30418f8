/* The module: what each half adds to it. */
#include "python/core/core.h"

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT, .m_name = "tessera._core", .m_doc = "Graphs, tensors and compiled programs, for the modules of this package.", .m_size = -1,
};

PyMODINIT_FUNC PyInit__core(void)
{
	PyObject *m = PyModule_Create(&definition);
	if (!m) return NULL;
	if (PyModule_AddStringConstant(m, "version", TS_VERSION) < 0 || core_graph_init(m) < 0 || (core_runtime_init && core_runtime_init(m) < 0)) {
		Py_DECREF(m);
		return NULL;
	}
	return m;
}
