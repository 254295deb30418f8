#!/usr/bin/env bash
# Make dist/tessera-VERSION-linux-x86_64.tar.xz from a build: scripts/dist.sh BUILD VERSION. The same tree gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
name=tessera-$2-linux-x86_64
out=${DIST_DIR:-dist}
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

scripts/install.sh "$build" "$stage/$name"
mkdir -p "$out"
# xz in blocks of fixed size: the result does not depend on the number of cores
tar -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@${SOURCE_DATE_EPOCH:-0}" --mode=go=rX,u+rw -cf - "$name" |
	xz -T2 --block-size=16MiB -"${XZ_LEVEL:-6}" >"$out/$name.tar.xz.part"
mv "$out/$name.tar.xz.part" "$out/$name.tar.xz"
ls -l "$out/$name.tar.xz"
