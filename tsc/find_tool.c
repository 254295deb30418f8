#include "tsc/find_tool.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_program(const char *path)
{
	struct stat st;
	return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

/* folder/name when that is a program */
static const char *in_folder(TsCtx *cx, const char *folder, size_t n, const char *name)
{
	const char *path = ts_printf(ts_arena(cx), "%.*s/%s", (int)n, n ? folder : ".", name);
	return is_program(path) ? path : NULL;
}

const char *ts_find_in_path(TsCtx *cx, const char *name)
{
	const char *found = NULL, *p = getenv("PATH");
	while (p && !found) {
		size_t n = strcspn(p, ":");
		found = in_folder(cx, p, n, name);
		p = p[n] ? p + n + 1 : NULL;
	}
	return found;
}

static const char *in_cuda(TsCtx *cx, const char *variable, const char *name)
{
	const char *home = getenv(variable);
	return home && *home ? in_folder(cx, home, strlen(home), ts_printf(ts_arena(cx), "bin/%s", name)) : NULL;
}

/* VIRTUAL_ENV/lib/python3.x/site-packages, where the packages keep their programs */
static const char *in_packages(TsCtx *cx, const char *site, const char *name)
{
	static const char *const places[] = { "nvidia/cu13/bin", "nvidia/cuda_nvcc/bin", "triton/backends/nvidia/bin" };
	const char *found = NULL;
	for (size_t i = 0; i < sizeof places / sizeof *places && !found; i++) found = in_folder(cx, site, strlen(site), ts_printf(ts_arena(cx), "%s/%s", places[i], name));
	return found;
}

static const char *in_environment(TsCtx *cx, const char *name)
{
	const char *env = getenv("VIRTUAL_ENV"), *found = NULL;
	DIR *d = env && *env ? opendir(ts_printf(ts_arena(cx), "%s/lib", env)) : NULL;
	for (struct dirent *e; d && !found && (e = readdir(d));)
		if (!strncmp(e->d_name, "python3", 7)) found = in_packages(cx, ts_printf(ts_arena(cx), "%s/lib/%s/site-packages", env, e->d_name), name);
	if (d) closedir(d);
	return found;
}

static const char *anywhere(TsCtx *cx, const char *name)
{
	const char *found = ts_find_in_path(cx, name);
	if (!found) found = in_cuda(cx, "CUDA_HOME", name);
	if (!found) found = in_cuda(cx, "CUDA_PATH", name);
	return found ? found : in_environment(cx, name);
}

bool ts_find_ptxas(TsCtx *cx, const TsOptions *o, const char **path)
{
	*path = NULL;
	if (!o->ptxas) {
		*path = anywhere(cx, "ptxas");
		return true;
	}
	if (!strcmp(o->ptxas, "none")) return true;
	if (is_program(o->ptxas)) {
		*path = o->ptxas;
		return true;
	}
	ts_env_error(cx, "E_PTXAS", "--ptxas: cannot run '%s': %s", o->ptxas, access(o->ptxas, F_OK) ? strerror(errno) : "it is no program");
	return false;
}

const char *ts_find_tool(TsCtx *cx, const char *name, const char *beside)
{
	const char *slash = beside ? strrchr(beside, '/') : NULL, *found = slash ? in_folder(cx, beside, (size_t)(slash - beside), name) : NULL;
	return found ? found : anywhere(cx, name);
}
