"""Fuzz corpora, replayed: every seed and every input that once crashed goes through its target (tests/fuzz/replay.c)."""
import importlib.util

PARALLEL = True


def seeds_of(root):
    spec = importlib.util.spec_from_file_location("seeds", root / "tests/fuzz/seeds.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.seeds


def run(ctx):
    seeds = seeds_of(ctx.root)
    for source in sorted((ctx.root / "tests/fuzz").glob("fuzz_*.c")):
        name = source.stem[len("fuzz_"):]
        inputs = seeds(name)
        program = ctx.build / "fuzz" / ("replay_" + name)
        if not inputs or not program.exists():
            yield name, False, "no seeds" if program.exists() else "not built: %s" % program
            continue
        r = ctx.run([program, *inputs], timeout=120)
        good = r.code == 0 and "replayed %d\n" % len(inputs) in r.out
        yield name, good, "ended with %d\n%s\n%s" % (r.code, r.out[-500:], r.err[-2000:])
