/* The module: what each half adds to it. */
#include "python/core/core.h"

static PyObject *the_module; /* types and devices belong to the process: there is one module, however often it is imported */

static PyObject *create(PyObject *spec, PyModuleDef *def)
{
	(void)def;
	if (PyInterpreterState_GetID(PyInterpreterState_Get()))
		return PyErr_Format(PyExc_ImportError, "tessera works in the main interpreter of a process alone, not in a subinterpreter; use threads or processes");
	if (the_module) return Py_NewRef(the_module);
	PyObject *name = PyObject_GetAttrString(spec, "name");
	PyObject *m = name ? PyModule_NewObject(name) : NULL;
	Py_XDECREF(name);
	return m;
}

static int execute(PyObject *m)
{
	if (the_module) return 0;
	if (PyModule_AddStringConstant(m, "version", TS_VERSION) < 0 || core_graph_init(m) < 0 || (core_runtime_init && core_runtime_init(m) < 0)) return -1;
	the_module = Py_NewRef(m);
	return 0;
}

static PyModuleDef_Slot slots[] = {
	{ Py_mod_create, (void *)create },
	{ Py_mod_exec, (void *)execute },
	{ 0, NULL },
};
static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT, .m_name = "tessera._core", .m_doc = "Graphs, tensors and compiled programs, for the modules of this package.", .m_slots = slots,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
