#!/usr/bin/env python3
"""make spills: every graph of tests/suites/_spills.py scheduled, lowered and assembled for sm_80 and sm_90a; a kernel that has anything on
the stack is a failure. Takes half an hour of processor; suite gpu_gates holds a part of it. MATCH picks graphs by their names."""
import argparse
import concurrent.futures
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "suites"))
import _spills  # noqa: E402


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", type=Path, default=ROOT / "build")
    p.add_argument("--match", default="")
    p.add_argument("--arch", default="sm_80,sm_90")
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--ptxas", type=Path, default=next(iter(sorted(ROOT.glob(".venv/lib/python3*/site-packages/nvidia/cu13/bin/ptxas"))), None))
    a = p.parse_args()
    if not a.ptxas:
        sys.exit("spills: ptxas is not in .venv: scripts/setup.sh test")
    jobs = [(name, text, arch) for name, text in _spills.everything() for arch in a.arch.split(",") if a.match in name]

    def run(argv, timeout=600):
        r = subprocess.run([str(x) for x in argv], capture_output=True, text=True, timeout=timeout)
        return r.returncode, r.stdout + r.stderr

    def one(job):
        name, text, arch = job
        with tempfile.TemporaryDirectory() as folder:
            return _spills.check(run, a.build / "tsc", a.ptxas, text, arch, Path(folder))

    begun, failed, kernels = time.monotonic(), 0, 0
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        for (name, _, arch), (n, wrong) in zip(jobs, pool.map(one, jobs)):
            kernels += n
            failed += bool(wrong or not n)
            for line in wrong or ([] if n else ["it has no kernels"]):
                print("FAIL %s %s: %s" % (name, arch, line), flush=True)
    print("%d graphs, %d kernels, %d failed, %d s" % (len(jobs), kernels, failed, time.monotonic() - begun))
    return 1 if failed or not jobs else 0


if __name__ == "__main__":
    sys.exit(main())
