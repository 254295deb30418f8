"""What a call costs beyond tessera_run: microseconds, by kind of tensor and number of arguments. Run by hand, with the package on PYTHONPATH:

    PYTHONPATH=build/python .venv/bin/python tests/python/bench_call.py build/tsc

The same graphs (sums of 16 elements) run in a loop in C and in one in Python, by turns; the figure is the difference of the medians. The limits of
the package are 5 microseconds for its own tensors and 15 for those of torch. Operators on data are measured in the same way; of a compiled module with
ten parameters it is the difference to the compiled graph itself, called with all of them."""

import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from tessera import _core

LOOP = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "tessera/tessera.h"
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3; }
int main(int argc, char **argv)
{
	const TesseraModel *m = dlsym(dlopen(argv[1], RTLD_NOW), "bench_tessera");
	TesseraContext *cx; TesseraSession *s; TesseraError e;
	static float memory[8][16];
	int64_t shape[1] = { 16 };
	int graph = atoi(argv[2]), n = argc > 3 ? atoi(argv[3]) : 20000;
	DLTensor t[8]; const DLTensor *in[8], *out[1];
	for (int i = 0; i < 8; i++) t[i] = tessera_tensor(memory[i], (DLDataType){ kDLFloat, 32, 1 }, 1, shape), in[i] = &t[i];
	out[0] = &t[7];
	if (tessera_context_create(m, NULL, &cx, &e) || tessera_session_create(m, cx, NULL, &s, &e)) return puts(e.message), 1;
	for (int i = 0; i < n / 10; i++) tessera_run(s, graph, in, graph + 1, out, 1, NULL, &e);
	double start = now();
	for (int i = 0; i < n; i++) if (tessera_run(s, graph, in, graph + 1, out, 1, NULL, &e)) return puts(e.message), 1;
	printf("%.4f\n", (now() - start) / n);
}
"""


def graphs():
    yield "tessera 1\ndims N\n"
    for n in range(1, 5):
        params = ", ".join("x%d: f32[N]" % i for i in range(n))
        yield "graph g%d(%s) -> (y: f32[N]) { y = %s }\n" % (n, params, " + ".join("x%d" % i for i in range(n)) if n > 1 else "x0 * 2.0")


def in_python(call, args, n=20000):
    for _ in range(n // 10):
        call(*args)
    start = time.perf_counter()
    for _ in range(n):
        call(*args)
    return (time.perf_counter() - start) / n * 1e6


def kinds():
    def ours():
        return _core.from_buffer(bytearray(64), "f32", (16,))

    yield "ts", ours
    try:
        import torch

        yield "torch", lambda: torch.zeros(16)
    except ImportError:
        pass
    try:
        import numpy

        yield "numpy", lambda: numpy.zeros(16, "f4")
    except ImportError:
        pass


def operators(alone, rounds=7):
    import tessera as ts

    a, b = (ts.ones(16, device="cpu") for _ in range(2))
    return statistics.median(in_python(lambda: a + b, ()) for _ in range(rounds)) - alone


def modules(rounds=7):
    import tessera as ts

    class Model(ts.Module):
        def __init__(self):
            super().__init__()
            self.layers = [(ts.ones(8, 8, device="cpu"), ts.ones(8, device="cpu")) for _ in range(5)]

        def forward(self, x):
            for w, b in self.layers:
                x = x @ w + b
            return x

    model, x = Model(), ts.ones(1, 8, device="cpu")
    f = ts.jit(model)
    f(x)
    graph, all_of_it = f.lower(x).callable_for("cpu"), (*model.parameters(), x)
    return statistics.median(in_python(f, (x,)) - in_python(graph, all_of_it) for _ in range(rounds))


def main(tsc, rounds=7):
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        (folder / "bench.tg").write_text("".join(graphs()))
        (folder / "loop.c").write_text(LOOP)
        include = pathlib.Path(__file__).resolve().parents[2] / "include"
        subprocess.run([tsc, folder / "bench.tg", "-o", folder / "bench.so"], check=True)
        subprocess.run(["cc", "-O2", "-I", include, folder / "loop.c", "-o", folder / "loop", "-ldl"], check=True)
        program = _core.load(folder / "bench.so")
        print("microseconds beyond tessera_run     Callable  Dispatcher   (tessera_run alone)")
        worst = {}
        for name, make in kinds():
            for n in range(1, 5):
                f = _core.Callable(program, n - 1)
                d = _core.Dispatcher(lambda args, f=f: f)
                args = [make() for _ in range(n)]
                rows = [(float(subprocess.run([folder / "loop", folder / "bench.so", str(n - 1)], check=True, capture_output=True, text=True).stdout),
                         in_python(f, args), in_python(d, args)) for _ in range(rounds)]
                alone, called, dispatched = (statistics.median(column) for column in zip(*rows))
                print("%-8s %d arguments                %8.2f    %8.2f   (%.2f)" % (name, n, called - alone, dispatched - alone, alone))
                worst[name] = max(worst.get(name, 0), called - alone, dispatched - alone)
        alone = float(subprocess.run([folder / "loop", folder / "bench.so", "1"], check=True, capture_output=True, text=True).stdout)
        for name, beyond in (("operator", operators(alone)), ("module", modules())):
            print("%-8s %-37s %8.2f" % (name, "a + b" if name == "operator" else "of ten parameters", beyond))
            worst[name] = beyond
        for name, limit in (("ts", 5), ("torch", 15), ("operator", 5), ("module", 10)):
            if worst.get(name, 0) > limit:
                sys.exit("%s: %.2f microseconds, the limit is %d" % (name, worst[name], limit))


if __name__ == "__main__":
    main(sys.argv[1])
