/* Programs: compiled models, loaded for as long as the process lives. A file is looked at before any of its code runs: what exports no
 * model is refused. */
#include "python/core/runtime.h"
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX "_tessera"
enum { NAME_ROOM = 256, MOST_LISTED = 8 };

PyTypeObject *core_program_type;

/* ---- which models a file exports ---- */

typedef struct {
	char name[MOST_LISTED][NAME_ROOM];
	int n;
	const char *wrong;
} Exports;

static bool within(uint64_t at, uint64_t bytes, uint64_t size) { return at <= size && bytes <= size - at; }

static void read_symbols(const uint8_t *file, uint64_t size, const Elf64_Shdr *table, const Elf64_Shdr *strings, Exports *x)
{
	if (!within(table->sh_offset, table->sh_size, size) || !within(strings->sh_offset, strings->sh_size, size) || !strings->sh_size) {
		x->wrong = "it is damaged";
		return;
	}
	const char *text = (const char *)file + strings->sh_offset;
	for (uint64_t i = 0; i < table->sh_size / sizeof(Elf64_Sym); i++) {
		Elf64_Sym s;
		memcpy(&s, file + table->sh_offset + i * sizeof s, sizeof s);
		uint64_t room = s.st_name < strings->sh_size ? strings->sh_size - s.st_name : 0;
		size_t n = room ? strnlen(text + s.st_name, room) : 0, end = strlen(SUFFIX);
		if (s.st_shndx == SHN_UNDEF || ELF64_ST_BIND(s.st_info) != STB_GLOBAL || n <= end || n == room || n - end >= NAME_ROOM)
			continue;
		if (memcmp(text + s.st_name + n - end, SUFFIX, end) || x->n == MOST_LISTED)
			continue;
		memcpy(x->name[x->n], text + s.st_name, n - end);
		x->name[x->n++][n - end] = 0;
	}
}

static void read_elf(const uint8_t *file, uint64_t size, Exports *x)
{
	Elf64_Ehdr h;
	if (size < sizeof h || memcmp(file, ELFMAG, SELFMAG) || file[EI_CLASS] != ELFCLASS64 || file[EI_DATA] != ELFDATA2LSB) {
		x->wrong = "it is no shared object";
		return;
	}
	memcpy(&h, file, sizeof h);
	if (h.e_type != ET_DYN || h.e_machine != EM_X86_64) {
		x->wrong = "it is no shared object for this kind of machine";
		return;
	}
	if (h.e_shentsize != sizeof(Elf64_Shdr) || !within(h.e_shoff, (uint64_t)h.e_shnum * sizeof(Elf64_Shdr), size)) {
		x->wrong = "it is damaged";
		return;
	}
	for (uint32_t i = 0; i < h.e_shnum && !x->wrong; i++) {
		Elf64_Shdr table, strings;
		memcpy(&table, file + h.e_shoff + i * sizeof table, sizeof table);
		if (table.sh_type != SHT_DYNSYM || table.sh_link >= h.e_shnum)
			continue;
		memcpy(&strings, file + h.e_shoff + table.sh_link * sizeof strings, sizeof strings);
		read_symbols(file, size, &table, &strings, x);
	}
}

/* 0, or errno */
static int read_exports(const char *path, Exports *x)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	*x = (Exports){ 0 };
	if (fd < 0)
		return errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || !st.st_size) {
		int code = S_ISDIR(st.st_mode) ? EISDIR : 0;
		close(fd);
		x->wrong = "it is no shared object";
		return code;
	}
	uint8_t *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	int code = file == MAP_FAILED ? errno : 0;
	close(fd);
	if (code)
		return code;
	read_elf(file, (uint64_t)st.st_size, x);
	munmap(file, (size_t)st.st_size);
	return 0;
}

/* the name that is wanted, or the only one there is; NULL with an exception */
static const char *choose(PyObject *path, const Exports *x, const char *wanted)
{
	if (x->wrong) {
		PyErr_Format(PyExc_ValueError, "%U is no compiled model: %s", path, x->wrong);
		return NULL;
	}
	for (int i = 0; i < x->n; i++)
		if (wanted ? !strcmp(x->name[i], wanted) : x->n == 1)
			return x->name[i];
	if (!x->n)
		PyErr_Format(PyExc_ValueError, "%U is no compiled model: it exports none", path);
	else if (wanted)
		PyErr_Format(PyExc_ValueError, "argument 'name': wanted a model that %U holds (%s%s), found '%s'", path, x->name[0], x->n > 1 ? ", …" : "", wanted);
	else
		PyErr_Format(PyExc_ValueError, "argument 'name': %U holds several models (%s, %s%s)", path, x->name[0], x->name[1], x->n > 2 ? ", …" : "");
	return NULL;
}

/* ---- opening ---- */

/* dlopen knows libraries by the words they were opened with, and gives back the old one where the file was replaced. So each file that lay at a
 * path is opened with words of its own: folder/./name, folder/././name, … */
typedef struct { char *path; dev_t dev; ino_t ino; void *library; } Opened;
static struct { Opened *p; size_t n; } opened; /* under the interpreter's lock; what is open stays open, so that no other file gets its number */

static void *open_library(const char *path)
{
	size_t same = 0, folder = (size_t)(strrchr(path, '/') + 1 - path), length = strlen(path);
	struct stat st;
	if (stat(path, &st))
		return NULL;
	for (size_t i = 0; i < opened.n; i++) {
		if (opened.p[i].dev == st.st_dev && opened.p[i].ino == st.st_ino)
			return opened.p[i].library;
		same += !strcmp(opened.p[i].path, path);
	}
	Opened *room = realloc(opened.p, (opened.n + 1) * sizeof *room);
	char *words = malloc(length + 2 * same + 3), *copy = strdup(path);
	if (room)
		opened.p = room;
	void *library = NULL;
	if (room && words && copy) {
		memcpy(words, path, folder);
		for (size_t i = 0; i <= same; i++)
			memcpy(words + folder + 2 * i, "./", 2);
		memcpy(words + folder + 2 * same + 2, path + folder, length - folder + 1);
		library = dlopen(words, RTLD_NOW | RTLD_LOCAL);
	}
	free(words);
	if (library)
		opened.p[opened.n++] = (Opened){ copy, st.st_dev, st.st_ino, library };
	else
		free(copy);
	return library;
}

static const TesseraModel *open_model(PyObject *path, const char *file, const char *name, void **library)
{
	char symbol[NAME_ROOM + sizeof SUFFIX];
	strcpy(symbol, name);
	strcat(symbol, SUFFIX);
	*library = open_library(file);
	const TesseraModel *m = *library ? dlsym(*library, symbol) : NULL;
	if (!m) {
		const char *why = dlerror();
		PyErr_Format(PyExc_OSError, "%U can't be loaded: %s", path, why ? why : "unknown reason");
		return NULL;
	}
	if (m->abi != TESSERA_ABI) {
		PyErr_Format(PyExc_RuntimeError, "%U was made by another version of Tessera: its ABI is %u, wanted %u", path, m->abi, TESSERA_ABI);
		return NULL;
	}
	return m;
}

static PyObject *load(PyObject *module, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "path", "name", NULL };
	PyObject *given, *bytes = NULL, *path = NULL;
	const char *wanted = NULL;
	char *file = NULL;
	CoreProgram *p = NULL;
	Exports *x = PyMem_Malloc(sizeof *x);
	(void)module;
	if (!x)
		return PyErr_NoMemory();
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|z:load", names, &given, &wanted) || !PyUnicode_FSConverter(given, &bytes) ||
	    !PyUnicode_FSDecoder(given, &path))
		goto done;
	file = realpath(PyBytes_AsString(bytes), NULL); /* with a slash in it: dlopen looks nowhere else */
	int code = file ? read_exports(file, x) : errno;
	if (code) {
		errno = code;
		PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, given);
		goto done;
	}
	const char *name = choose(path, x, wanted);
	void *library = NULL;
	const TesseraModel *m = name ? open_model(path, file, name, &library) : NULL;
	p = m ? (CoreProgram *)((allocfunc)PyType_GetSlot(core_program_type, Py_tp_alloc))(core_program_type, 0) : NULL;
	if (p) {
		p->model = m;
		p->library = library;
		p->path = PyUnicode_DecodeFSDefault(file);
		p->name = PyUnicode_FromString(name);
		if (!p->path || !p->name)
			Py_CLEAR(p);
	}
done:
	PyMem_Free(x);
	free(file);
	Py_XDECREF(bytes);
	Py_XDECREF(path);
	return (PyObject *)p;
}

/* ---- what a program says of itself ---- */

static void program_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	Py_XDECREF(((CoreProgram *)self)->path);
	Py_XDECREF(((CoreProgram *)self)->name);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

int core_program_graph(const CoreProgram *p, PyObject *given)
{
	if (PyUnicode_Check(given)) {
		const char *name = PyUnicode_AsUTF8AndSize(given, NULL);
		int found = name ? tessera_find_graph(p->model, name) : -1;
		if (found < 0 && !PyErr_Occurred())
			PyErr_Format(PyExc_ValueError, "argument 'graph': %U has no graph %R", p->name, given);
		return found;
	}
	PyObject *index = PyNumber_Index(given);
	long n = index ? PyLong_AsLong(index) : -1;
	Py_XDECREF(index);
	if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_OverflowError)) {
		PyErr_Clear();
		PyErr_Format(PyExc_TypeError, "argument 'graph': wanted a name or a number, found %R", given);
		return -1;
	}
	PyErr_Clear();
	if (n < 0 || n >= tessera_graph_count(p->model)) {
		PyErr_Format(PyExc_ValueError, "argument 'graph': wanted 0 to %d, found %R", tessera_graph_count(p->model) - 1, given);
		return -1;
	}
	return (int)n;
}

static PyObject *dim_entry(const TesseraModel *m, int64_t dim)
{
	TesseraDimInfo d;
	if (dim >= 0)
		return PyLong_FromLongLong(dim);
	return dim == INT64_MIN || tessera_dim_info(m, (int32_t)(-1 - dim), &d) ? Py_NewRef(Py_None) : PyUnicode_FromString(d.name);
}

static PyObject *tensor_entry(const TesseraModel *m, int graph, int tensor)
{
	TesseraTensorInfo t;
	if (tessera_tensor_info(m, graph, tensor, &t) || t.rank < 0 || t.rank > CORE_RANK || !core_dtype_of(t.dtype)) {
		PyErr_SetString(PyExc_RuntimeError, "the model is damaged");
		return NULL;
	}
	PyObject *dims = PyTuple_New(t.rank);
	for (int i = 0; dims && i < t.rank; i++) {
		PyObject *d = dim_entry(m, t.dims[i]);
		if (!d || PyTuple_SetItem(dims, i, d))
			Py_CLEAR(dims);
	}
	return dims ? Py_BuildValue("(ssN)", t.name, core_dtype_of(t.dtype)->name, dims) : NULL;
}

static PyObject *tensors(PyObject *self, PyObject *args, bool outputs)
{
	CoreProgram *p = (CoreProgram *)self;
	PyObject *given = NULL;
	int graph = 0;
	if (!PyArg_ParseTuple(args, "|O", &given) || (given && (graph = core_program_graph(p, given)) < 0))
		return NULL;
	int n_in = tessera_graph_inputs(p->model, graph), n = outputs ? tessera_graph_outputs(p->model, graph) : n_in;
	PyObject *list = PyList_New(0);
	for (int i = 0; list && i < n; i++) {
		PyObject *entry = tensor_entry(p->model, graph, outputs ? n_in + i : i);
		if (!entry || PyList_Append(list, entry))
			Py_CLEAR(list);
		Py_XDECREF(entry);
	}
	return list;
}

static PyObject *inputs(PyObject *self, PyObject *args) { return tensors(self, args, false); }
static PyObject *outputs(PyObject *self, PyObject *args) { return tensors(self, args, true); }

static PyObject *get_graphs(PyObject *self, void *closure)
{
	const TesseraModel *m = ((CoreProgram *)self)->model;
	PyObject *list = PyTuple_New(tessera_graph_count(m));
	(void)closure;
	for (int i = 0; list && i < tessera_graph_count(m); i++) {
		PyObject *name = PyUnicode_FromString(tessera_graph_name(m, i));
		if (!name || PyTuple_SetItem(list, i, name))
			Py_CLEAR(list);
	}
	return list;
}

/* (name, smallest, largest or None, multiple) */
static PyObject *get_dims(PyObject *self, void *closure)
{
	const TesseraModel *m = ((CoreProgram *)self)->model;
	PyObject *list = PyTuple_New(tessera_dim_count(m));
	(void)closure;
	for (int i = 0; list && i < tessera_dim_count(m); i++) {
		TesseraDimInfo d = { "", 0, 0, 1 };
		tessera_dim_info(m, i, &d);
		PyObject *most = d.max ? PyLong_FromLongLong(d.max) : Py_NewRef(Py_None);
		PyObject *entry = Py_BuildValue("(sLNL)", d.name, (long long)d.min, most, (long long)d.multiple_of);
		if (!entry || PyTuple_SetItem(list, i, entry))
			Py_CLEAR(list);
	}
	return list;
}

static PyObject *get_archs(PyObject *self, void *closure)
{
	const TesseraModel *m = ((CoreProgram *)self)->model;
	PyObject *list = PyTuple_New(m->n_device_plans);
	(void)closure;
	for (uint32_t i = 0; list && i < m->n_device_plans; i++) {
		PyObject *name = PyUnicode_FromString(m->device_plans[i].target);
		if (!name || PyTuple_SetItem(list, (Py_ssize_t)i, name))
			Py_CLEAR(list);
	}
	return list;
}

static PyObject *get_text(PyObject *self, void *closure)
{
	CoreProgram *p = (CoreProgram *)self;
	return Py_NewRef(closure ? p->name : p->path);
}

static PyGetSetDef getset[] = {
	{ "path", get_text, NULL, "The file.", NULL },
	{ "name", get_text, NULL, "The model's name.", "" },
	{ "graphs", get_graphs, NULL, "Names of the graphs.", NULL },
	{ "dims", get_dims, NULL, "(name, smallest, largest or None, multiple) of each open size.", NULL },
	{ "archs", get_archs, NULL, "The GPU architectures it holds code for.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};
static PyObject *program_repr(PyObject *self)
{
	return PyUnicode_FromFormat("<tessera._core.Program %U of %R>", ((CoreProgram *)self)->name, ((CoreProgram *)self)->path);
}

/* The artifact gets its contexts from here: one for each device serves all programs. */
static PyObject *xla_handler(PyObject *self, PyObject *unused)
{
	CoreProgram *p = (CoreProgram *)self;
	PyObject *symbol = PyUnicode_FromFormat("%U_xla", p->name), *made = NULL;
	const char *name = symbol ? PyUnicode_AsUTF8AndSize(symbol, NULL) : NULL;
	TesseraError e = { 0 };
	(void)unused;
	if (name) {
		void *handler = dlsym(p->library, name);
		if (!handler)
			PyErr_Format(PyExc_ValueError, "%U exports no handler for XLA: it keeps states between calls, or was made before there was one", p->name);
		else if (tessera_xla_contexts(p->model, core_context_for_xla, NULL, &e))
			core_raise_tessera(e.code, e.message);
		else
			made = PyCapsule_New(handler, "xla._CUSTOM_CALL_TARGET", NULL);
	}
	Py_XDECREF(symbol);
	return made;
}

static PyMethodDef methods[] = {
	{ "xla_handler", xla_handler, METH_NOARGS, "xla_handler() -> capsule: what jax.ffi.register_ffi_target takes. A ValueError for a model with states." },
	{ "inputs", inputs, METH_VARARGS, "inputs(graph=0) -> [(name, dtype, sizes)]: a size is an int, a dim's name, or None for a formula." },
	{ "outputs", outputs, METH_VARARGS, "outputs(graph=0) -> [(name, dtype, sizes)]" },
	{ NULL, NULL, 0, NULL },
};
static PyType_Slot slots[] = {
	{ Py_tp_doc, "A compiled model that is loaded." },
	{ Py_tp_dealloc, program_dealloc },
	{ Py_tp_repr, program_repr },
	{ Py_tp_getset, getset },
	{ Py_tp_methods, methods },
	{ 0, NULL },
};
static PyType_Spec spec = { "tessera._core.Program", sizeof(CoreProgram), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots };
static PyMethodDef functions[] = {
	{ "load", (PyCFunction)(void (*)(void))load, METH_VARARGS | METH_KEYWORDS, "load(path, name=None) -> Program: the model of a shared object that tsc made." },
	{ NULL, NULL, 0, NULL },
};

int core_program_init(PyObject *module)
{
	core_program_type = core_add_type(module, &spec);
	return core_program_type && !PyModule_AddFunctions(module, functions) ? 0 : -1;
}
