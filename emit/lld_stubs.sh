#!/bin/sh
# Write C that defines what liblldELF.a refers to and tsc does not carry: the initialisers of every LLVM target not named on the
# command line, and Polly's plug-in entry, which LLVM's pass library mentions and Debian packages apart.
#   lld_stubs.sh LLVM_INCLUDE TARGET...
set -eu
include=$1
shift
wanted=" $* "

# each target named by the .def file $1 (macro $2) gets the initialisers with the suffixes that follow
stub() {
	def=$include/llvm/Config/$1
	macro=$2
	shift 2
	[ -r "$def" ] || { echo "lld_stubs.sh: $def is missing: install llvm-22-dev" >&2; exit 1; }
	for target in $(sed -n "s/^$macro(\([A-Za-z0-9]*\)).*/\1/p" "$def"); do
		case $wanted in *" $target "*) continue ;; esac
		for suffix in "$@"; do
			echo "void LLVMInitialize$target$suffix(void);"
			echo "void LLVMInitialize$target$suffix(void) {}"
		done
	done
}

stub Targets.def LLVM_TARGET TargetInfo Target TargetMC
stub AsmPrinters.def LLVM_ASM_PRINTER AsmPrinter
stub AsmParsers.def LLVM_ASM_PARSER AsmParser
echo "void _Z18getPollyPluginInfov(void);"
echo "void _Z18getPollyPluginInfov(void) { __builtin_trap(); }"
