"""Train, compile and use a digits classifier: train.py's weights and mlp.tg become one program, which reads the held-out images.

Usage: run.py --build DIR          (or `make mlp`)
"""

import argparse
import pathlib
import subprocess
import sys
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent


def timed(command: list) -> float:
    """Seconds that a command took, its own failure ending this program."""
    start = time.perf_counter()
    code = subprocess.run([str(c) for c in command]).returncode
    if code:
        sys.exit(code)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    build = parser.parse_args().build
    folder = build / "mlp"
    took = timed([sys.executable, HERE / "train.py", folder])
    print(f"trained in {took:.1f} s")
    for name, kind in (("mlp.so", "so"), ("mlp", "exe")):
        took = timed([build / "tsc", HERE / "mlp.tg", "--weights-dir", folder, "--emit", kind, "-o", folder / name])
        print(f"compiled {folder / name} ({(folder / name).stat().st_size / 1e3:.0f} kB) in {took:.1f} s")
    took = timed([folder / "mlp", "--input", f"x={folder / 'x.npy'}", "--output", f"digit={folder / 'digit.npy'}"])
    digit, want = np.load(folder / "digit.npy"), np.load(folder / "want.npy")
    print(f"read {len(want)} images in {took * 1e3:.0f} ms, process start included")
    print(f"accuracy of the compiled program: {(digit == want).mean():.4f}")


if __name__ == "__main__":
    main()
