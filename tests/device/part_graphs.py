"""Generated graphs (tests/unit/test_graphs.c) on this GPU, each within its bounds: 500 in its own code, 100 others in sm_80 code from PTX."""
import lab as kit
from part_diff import architectures

COUNTS = ((1, 500), (1001, 100))


def run(lab):
    for arch, (first, count) in zip(architectures(), COUNTS):
        env = {"TESSERA_TEST_ARCH": arch, "TESSERA_TEST_JOBS": str(lab.jobs), "TMPDIR": str(lab.tmp)}
        done = lab.run([lab.tests, "test_graphs", str(first), str(count)], timeout=450, env=env)
        found = list(kit.verdicts(arch, done))
        yield from found
        good = sum(ok for name, ok, _ in found if "/graph-" in name)
        lab.note("generated graphs, %s: %d of %d within their bounds" % (arch, good, count))
        reported = sum("/graph-" in name for name, _, _ in found)
        yield "all-ran/" + arch, reported == count, "%d of %d graphs were reported" % (reported, count)
