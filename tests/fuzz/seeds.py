#!/usr/bin/env python3
"""seeds.py TARGET [DIR]: what a fuzz target starts from, the files of the repository and tests/fuzz/corpus/TARGET. With DIR they are copied
there (a fuzzer reads whole folders); alone, their names are printed."""
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FROM = {
    "tg": ("tests/golden/**/*.tg", "examples/**/*.tg"),
    "schedule": ("tests/golden/**/*.tg", "examples/**/*.tg"),
    "tile": ("tests/golden/**/*.tile", "examples/**/*.tile"),
    "yaml": ("autotune_db/*.yaml",),
}


def seeds(target):
    patterns = FROM.get(target, ()) + ("tests/fuzz/corpus/%s/*" % target,)
    return sorted({p for g in patterns for p in ROOT.glob(g) if p.is_file()})


if __name__ == "__main__":
    found = seeds(sys.argv[1])
    if len(sys.argv) > 2:
        folder = Path(sys.argv[2])
        folder.mkdir(parents=True, exist_ok=True)
        for i, p in enumerate(found):
            shutil.copyfile(p, folder / ("%03d-%s" % (i, p.name)))
    else:
        print("\n".join(map(str, found)))
