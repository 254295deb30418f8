#!/usr/bin/env bash
# Copy a built Tessera to a prefix: scripts/install.sh BUILD PREFIX. tsc finds its helper and runtime relative to itself, so the
# folder may be moved afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
prefix=$2
strip=${STRIP:-strip}

install -d "$prefix/bin" "$prefix/lib/tessera" "$prefix/include/tessera" "$prefix/share/doc/tessera/licenses"
install -m 755 "$build/tsc" "$prefix/bin/tsc"
$strip --strip-all "$prefix/bin/tsc"
install -m 644 "$build/rtlib.o" "$prefix/lib/tessera/rtlib.o"
if [ -e "$build/tsc-load" ]; then
	install -m 755 "$build/tsc-load" "$prefix/lib/tessera/tsc-load"
	$strip --strip-all "$prefix/lib/tessera/tsc-load"
fi
for header in include/tessera/*.h; do
	[ ! -e "$header" ] || install -m 644 "$header" "$prefix/include/tessera/"
done
for document in README.md LICENSE SECURITY.md docs/*.md; do
	[ ! -e "$document" ] || install -m 644 "$document" "$prefix/share/doc/tessera/"
done

# tsc carries these libraries; their terms travel with it
for package in llvm-22-dev liblld-22-dev libyaml-dev liblz4-dev zlib1g-dev libzstd-dev libc6-dev libstdc++-12-dev; do
	text=/usr/share/doc/$package/copyright
	[ ! -e "$text" ] || install -m 644 "$text" "$prefix/share/doc/tessera/licenses/$package.txt"
done
