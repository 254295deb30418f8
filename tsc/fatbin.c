#include "tsc/fatbin.h"
#include "support/child.h"
#include "tsc/find_tool.h"
#include <stdlib.h>
#include <string.h>

/* One image: its bytes are input `n` of the child. */
static const char *image(TsDevices *d, TsChild *c, const char *kind, const TsDevice *v, const TsBuf *bytes)
{
	uint32_t n = c->n_in++;
	c->in[n] = (TsChildInput){ bytes->p, bytes->n };
	return ts_printf(ts_arena(d->cx), "--image3=kind=%s,sm=%s,file=%s", kind, v->code->name + 3, ts_child_in(n));
}

/* PTX of all kernels of a device, and its cubin. */
static bool whole(TsDevices *d, const TsDevice *v, TsBuf *ptx, TsBuf *cubin)
{
	return ts_device_print(d, v, TS_FORM_ASM, ptx) && ts_device_cubin(d->cx, d->o, v->code->name, ptx, v->modules ? v->modules[0].places : NULL, v->n_modules ? v->modules[0].n_places : 0, cubin);
}

static bool run(TsDevices *d, const char *tool, const char **argv, TsChild *c, TsBuf *out)
{
	c->argv = argv;
	c->seconds = 60;
	ts_children_run(c, 1, 1);
	bool ok = c->end == TS_CHILD_EXITED && !c->code && c->out.n;
	if (ok) {
		*out = c->out;
		c->out = (TsBuf){ 0 };
	} else {
		size_t n = c->said.p ? strcspn(c->said.p, "\n") : 0;
		ts_env_error(d->cx, "E_FATBINARY", "'%s' made no file: %.*s", tool, n ? (int)n : 14, n ? c->said.p : "it said nothing");
	}
	ts_buf_free(&c->said);
	ts_buf_free(&c->out);
	return ok;
}

bool ts_fatbin(TsDevices *d, TsBuf *out)
{
	TsArena *a = ts_arena(d->cx);
	TsBuf *ptx = TS_NEW_N(a, TsBuf, d->n + 1), *cubin = TS_NEW_N(a, TsBuf, d->n + 1);
	const char *tool = ts_find_tool(d->cx, "fatbinary", d->ptxas), **argv = TS_NEW_N(a, const char *, d->n + 6);
	TsChild *c = TS_NEW(a, TsChild);
	const TsDevice *fallback = ts_devices_fallback(d);
	uint32_t n = 0;
	if (!tool) {
		ts_env_error(d->cx, "E_FATBINARY", "--emit fatbin takes the program fatbinary, which is not beside ptxas, in PATH, CUDA_HOME or VIRTUAL_ENV");
		return false;
	}
	argv[n++] = tool;
	argv[n++] = "-64";
	argv[n++] = "--create=" TS_CHILD_OUT;
	bool ok = true;
	for (uint32_t i = 0; i < d->n && ok; i++) {
		const TsDevice *v = &d->p[i];
		ok = whole(d, v, &ptx[i], &cubin[i]);
		if (ok) argv[n++] = image(d, c, "elf", v, &cubin[i]);
		if (ok && v == fallback) argv[n++] = image(d, c, "ptx", v, &ptx[i]);
	}
	ok = ok && run(d, tool, argv, c, out);
	for (uint32_t i = 0; i < d->n; i++) {
		ts_buf_free(&ptx[i]);
		ts_buf_free(&cubin[i]);
	}
	return ok;
}
