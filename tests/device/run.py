#!/usr/bin/env python3
"""The GPU suite: `make check DEVICE=cuda` in a checkout or in the unpacked package, or this file by itself.

    python3 tests/device/run.py [--build build] [--jobs N] [PART ...]

Needs an NVIDIA GPU with its driver, a PyTorch that sees it, ptxas, and compute-sanitizer (in PATH or /usr/local/cuda/bin); whatever is missing fails.
Every tests/device/part_*.py is a part: a module whose run(lab) yields (name, ok, message). ALONE = True: it measures, and runs after the others.
Each part is a process of its own, so that one that crashes or hangs is a failure and the others go on. A part that yields nothing fails; what
needs more GPUs than there are is a note and counts neither way. The last line is `N passed, N failed`."""
import argparse
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
SIDE_BY_SIDE = 5
SECONDS = 540
ORDER = ("diff", "graphs", "guards", "sanitizer")  # the longest first


def child(args):
    import lab

    pipe = os.fdopen(args.fd, "w", buffering=1)
    lock = threading.Lock()

    def emit(record):
        with lock:
            pipe.write(json.dumps(record) + "\n")

    tmp = tempfile.mkdtemp(prefix="tessera-%s-" % args.child)
    try:
        for name, ok, message in importlib.import_module("part_" + args.child).run(lab.Lab(args.build, tmp, args.jobs, emit)):
            emit({"name": name, "ok": bool(ok), "message": str(message or "")})
    except Exception:
        emit({"name": "part-runs-to-its-end", "ok": False, "message": traceback.format_exc()})
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    emit({"end": True})
    pipe.flush()
    os._exit(0)  # contexts are not taken down one by one


class Part:
    def __init__(self, path):
        self.name = path.stem[len("part_"):]
        self.alone = "\nALONE = True\n" in path.read_text()
        self.passed, self.failures, self.notes, self.seconds = 0, [], [], 0.0

    def run(self, args, jobs):
        start = time.monotonic()
        reader, writer = os.pipe()
        argv = [sys.executable, __file__, "--child", self.name, "--fd", str(writer), "--build", str(args.build), "--jobs", str(jobs)]
        with tempfile.TemporaryFile() as log:
            proc = subprocess.Popen(argv, pass_fds=[writer], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            os.close(writer)
            timer = threading.Timer(SECONDS, lambda: os.killpg(proc.pid, signal.SIGKILL))
            timer.start()
            ended = False
            with os.fdopen(reader) as lines:
                for line in lines:
                    record = json.loads(line)
                    ended = ended or "end" in record
                    if "note" in record:
                        self.notes.append(record["note"])
                    elif "name" in record and record["ok"]:
                        self.passed += 1
                    elif "name" in record:
                        self.failures.append((record["name"], record["message"]))
            proc.wait()
            timer.cancel()
            if not ended:
                log.seek(0)
                why = "killed after %d s" % SECONDS if time.monotonic() - start >= SECONDS else "ended with %d" % proc.returncode
                self.failures.append(("part-runs-to-its-end", why + "\n" + log.read()[-3000:].decode(errors="replace")))
        if not self.passed and not self.failures and not self.notes:
            self.failures.append(("part-has-tests", "it yielded no test"))
        self.seconds = time.monotonic() - start

    def report(self):
        for name, message in self.failures:
            print("FAIL %s: %s" % (self.name, name))
            for line in message.rstrip().splitlines()[:30]:
                print("     " + line[:600])
        for note in self.notes:
            print(note)
        print("part %-10s %5d passed, %d failed, %.1f s" % (self.name, self.passed, len(self.failures), self.seconds), flush=True)


def missing(args):
    """What this machine lacks for the suite, one line each."""
    import lab

    it = lab.Lab(args.build, "/tmp", 1, None)
    for program in (it.tsc, it.tests, it.host):
        if not os.access(program, os.X_OK):
            yield "%s is not there" % program
    for tool in ("ptxas", "compute-sanitizer"):
        if not it.tool(tool):
            yield "%s is neither in PATH nor in %s" % (tool, lab.CUDA_BIN)
    try:
        import torch
    except Exception as e:
        yield "PyTorch can't be imported by %s: %s" % (sys.executable, e)
        return
    if not torch.cuda.is_available():
        yield "PyTorch %s of %s sees no GPU" % (torch.__version__, sys.executable)
        return
    p = torch.cuda.get_device_properties(0)
    print("%s, %d GPU(s), compute capability %d.%d, %.0f GB; PyTorch %s, CUDA %s; %d cores" % (
        p.name, torch.cuda.device_count(), p.major, p.minor, p.total_memory / 1e9, torch.__version__, torch.version.cuda, args.jobs), flush=True)
    if not lab.native((p.major, p.minor)):
        yield "tsc makes no code for compute capability %d.%d" % (p.major, p.minor)


def main():
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description="Run Tessera's GPU suite.")
    parser.add_argument("parts", nargs="*", help="names of parts; all when none is given")
    parser.add_argument("--build", type=Path, default=HERE.parents[1] / "build")
    parser.add_argument("--jobs", type=int, default=cores)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--fd", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.build = args.build.resolve()
    if args.child:
        return child(args)

    parts = [Part(p) for p in sorted(HERE.glob("part_*.py"))]
    unknown = set(args.parts) - {p.name for p in parts}
    if unknown:
        parser.error("no such part: %s (there are: %s)" % (", ".join(sorted(unknown)), ", ".join(p.name for p in parts)))
    parts = [p for p in parts if not args.parts or p.name in args.parts]
    start = time.monotonic()
    lacks = list(missing(args))
    if lacks:
        for line in lacks:
            print("FAIL device: " + line)
        print("0 passed, %d failed" % len(lacks))
        return 1
    beside = sorted((p for p in parts if not p.alone), key=lambda p: ORDER.index(p.name) if p.name in ORDER else len(ORDER))
    lock = threading.Lock()

    def one(part):
        part.run(args, max(2, args.jobs // 2))
        with lock:
            part.report()

    with ThreadPoolExecutor(min(SIDE_BY_SIDE, max(1, args.jobs // 2))) as pool:
        list(pool.map(one, beside))
    for part in parts:
        if part.alone:
            one(part)
    passed, failed = sum(p.passed for p in parts), sum(len(p.failures) for p in parts)
    print("\n%d parts in %.0f s\n%d passed, %d failed" % (len(parts), time.monotonic() - start, passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
