"""Generated graphs with batch_invariant (tests/unit/test_invariance.c): rows alone, in other batches, in 16 sessions at once. Their tensors pass through pageable memory
some 500 times a graph, which takes 20 times as long while other processes have the GPU by turns."""
import lab as kit
from part_diff import architectures

ALONE = True


def run(lab):
    env = {"TESSERA_TEST_ARCH": architectures()[0], "TESSERA_TEST_JOBS": str(lab.jobs), "TMPDIR": str(lab.tmp)}
    yield from kit.verdicts("graphs", lab.run([lab.tests, "test_invariance"], timeout=400, env=env))
