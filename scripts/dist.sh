#!/usr/bin/env bash
# Make dist/tessera-VERSION-linux-x86_64.tar.xz from a build: scripts/dist.sh BUILD VERSION. The same tree gives the same bytes.
# `make check DEVICE=cuda` and `make bench DEVICE=cuda` work in it too, on a machine that has neither compiler nor LLVM.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
name=tessera-$2-linux-x86_64
out=${DIST_DIR:-dist}
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

scripts/install.sh "$build" "$stage/$name"

# the GPU suite and bench: scripts, texts, and three programs that need libc alone
home=$stage/$name
strip=${STRIP:-strip}
install -d "$home/tests/device" "$home/bench/gpu" "$home/examples/kernels" "$home/examples/minilm" "$home/examples/mlp" "$home/examples/transformer" "$home/lib/tessera/device"
install -m 644 scripts/dist.mk "$home/Makefile"
install -m 644 tests/device/*.py "$home/tests/device/"
install -d "$home/tests/python/spec"
install -m 644 tests/python/spec/*.py "$home/tests/python/spec/"
install -m 644 bench/gpu/*.py bench/gpu/*.cpp "$home/bench/gpu/"
install -m 644 examples/kernels/*_sm*.tile examples/kernels/attention.tg "$home/examples/kernels/"
install -m 644 examples/minilm/minilm.tg "$home/examples/minilm/"
install -m 644 examples/mlp/mlp.tg "$home/examples/mlp/"
install -m 644 examples/transformer/*.tg "$home/examples/transformer/"
for program in tests host first; do
	install -m 755 "$build/device/$program" "$home/lib/tessera/device/"
	$strip --strip-all "$home/lib/tessera/device/$program"
done
# the Python package, less the compiler, which lies in bin/
cp -rL "$build/python/tessera" "$home/lib/tessera/python.tmp" && rm -rf "$home/lib/tessera/python.tmp/bin"
install -d "$home/lib/tessera/python" && mv "$home/lib/tessera/python.tmp" "$home/lib/tessera/python/tessera"
find "$home/lib/tessera/python" -name __pycache__ -prune -exec rm -rf {} +
$strip --strip-unneeded "$home/lib/tessera/python/tessera/_core.abi3.so"
mkdir -p "$out"
# xz in blocks of fixed size: the result does not depend on the number of cores
tar -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@${SOURCE_DATE_EPOCH:-0}" --mode=go=rX,u+rw -cf - "$name" |
	xz -T2 --block-size=16MiB -"${XZ_LEVEL:-6}" >"$out/$name.tar.xz.part"
mv "$out/$name.tar.xz.part" "$out/$name.tar.xz"
ls -l "$out/$name.tar.xz"
