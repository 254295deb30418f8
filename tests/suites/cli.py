"""The command line: bad command lines, files and weights are refused with exactly these words and this exit status, and leave no file
behind; and what the sub-commands print. The folder of each test is empty but for the files that the test names."""
import json
import os
import re
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

PARALLEL = True

MODEL = """tessera 1
dims B

graph f(x: f32[B, 4]) -> (y: f32[B, 4]) {
  y = x + 1.0
}
"""
WITH_WEIGHTS = """tessera 1
dims B
weights W = "w.safetensors"

graph f(x: f32[B, 2]) -> (y: f32[B, 2]) {
  y = x + W."b"
}
"""

RULES = sorted((Path(__file__).parents[2] / "middle/rewrite").glob("*.rules"))
REWRITES = 4 + sum(len(re.findall(r"^[a-z_0-9]+:", p.read_text(), re.M)) for p in RULES)  # with the passes fold, cse, dce and hoist


def npy_of(values, shape):
    head = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + struct.pack("<%df" % len(values), *values)


# ---- hostile weight files ----------------------------------------------------------------------------------------------------


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(shape=(2,), at=(0, 8), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(at)}


GOOD = safetensors({"b": tensor()}, struct.pack("<2f", 1, 2))
HOSTILE = {
    "empty": b"",
    "seven-bytes": GOOD[:7],
    "header-past-the-end": safetensors({"b": tensor()}, bytes(8), length=10000),
    "header-length-2-to-the-63": safetensors({"b": tensor()}, bytes(8), length=1 << 63),
    "header-length-all-ones": safetensors({"b": tensor()}, bytes(8), length=(1 << 64) - 1),
    "header-is-no-json": safetensors(b"{'b': 1}", bytes(8)),
    "header-is-a-list": safetensors(b"[]", bytes(8)),
    "header-cut-off": safetensors(b'{"b":{"dtype":"F32","shape":[2],', bytes(8)),
    "header-nested-deep": safetensors(b'{"b":' + b"[" * 100000, bytes(8)),
    "data-cut-off": GOOD[:-1],
    "data-missing": safetensors({"b": tensor()}),
    "bytes-left-over": GOOD + b"x",
    "overlap": safetensors({"a": tensor(), "b": tensor(at=(4, 12))}, bytes(12)),
    "gap": safetensors({"a": tensor(), "b": tensor(at=(12, 20))}, bytes(20)),
    "offsets-swapped": safetensors({"b": tensor(at=(8, 0))}, bytes(8)),
    "offset-negative": safetensors(b'{"b":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}', bytes(8)),
    "offset-2-to-the-64": safetensors(b'{"b":{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,18446744073709551616]}}', bytes(8)),
    "size-is-wrong": safetensors({"b": tensor(shape=(3,))}, bytes(8)),
    "shape-overflows": safetensors({"b": tensor(shape=(1 << 32, 1 << 32, 4))}, bytes(8)),
    "shape-is-negative": safetensors({"b": tensor(shape=(-2,))}, bytes(8)),
    "rank-17": safetensors({"b": tensor(shape=(1,) * 16 + (2,))}, bytes(8)),
    "type-is-unknown": safetensors({"b": tensor(dtype="F33")}, bytes(8)),
    "name-twice": safetensors(b'{"b":%s,"b":%s}' % ((json.dumps(tensor()).encode(),) * 2), bytes(8)),
    "no-shape": safetensors(b'{"b":{"dtype":"F32","data_offsets":[0,8]}}', bytes(8)),
}
# what is said of each: E_SAFETENSORS_code, text
REFUSED = {
    "empty": ("HEADER", "0 bytes are too few for a header"),
    "seven-bytes": ("HEADER", "7 bytes are too few for a header"),
    "header-past-the-end": ("HEADER", "a header of 10000 bytes in a file of 77: it is cut off"),
    "header-length-2-to-the-63": ("HEADER", "a header of 9223372036854775808 bytes, at most 100000000 are allowed"),
    "header-length-all-ones": ("HEADER", "a header of 18446744073709551615 bytes, at most 100000000 are allowed"),
    "header-is-no-json": ("HEADER", "the header is no valid JSON at byte 9: expected a string"),
    "header-is-a-list": ("HEADER", "the header is no valid JSON at byte 8: expected '{'"),
    "header-cut-off": ("HEADER", "the header is no valid JSON at byte 40: expected a string"),
    "header-nested-deep": ("HEADER", "the header is no valid JSON at byte 13: expected '{'"),
    "data-cut-off": ("RANGE", '"b" lies at bytes 0 to 8, the file has 7 bytes of tensors'),
    "data-missing": ("RANGE", '"b" lies at bytes 0 to 8, the file has 0 bytes of tensors'),
    "bytes-left-over": ("RANGE", "1 bytes at the end belong to no tensor"),
    "overlap": ("OVERLAP", '"a" and "b" overlap'),
    "gap": ("RANGE", '4 bytes before "b" belong to no tensor'),
    "offsets-swapped": ("RANGE", '"b" lies at bytes 8 to 0, the file has 8 bytes of tensors'),
    "offset-negative": ("HEADER", "the header is no valid JSON at byte 56: expected a whole number of at least 0"),
    "offset-2-to-the-64": ("HEADER", "the header is no valid JSON at byte 96: a number is too large"),
    "size-is-wrong": ("SIZE", '"b" has 8 bytes, its type and shape need 12'),
    "shape-overflows": ("SHAPE", '"b" has more than 2^62 elements'),
    "shape-is-negative": ("HEADER", "the header is no valid JSON at byte 41: expected a whole number of at least 0"),
    "rank-17": ("SHAPE", '"b" has more than 16 axes'),
    "type-is-unknown": ("DTYPE", '"b" has the unknown element type "F33"'),
    "name-twice": ("DUPLICATE", '"b" is there twice'),
    "no-shape": ("HEADER", '"b" has no "shape"'),
}


KERNEL = """tile 1

kernel k(X: f32[N], N: idx) {
  layout V[n] = v4:1n r2:4n
  grid i in 0..cdiv(N, 8)
  x: f32[8] @V = load(X[8*i:8*i + 8])
  store(X[8*i:8*i + 8], x)
} { target = "cpu" }
"""


KERNELS = KERNEL + "".join(KERNEL[6:].replace("kernel k", "kernel k_" + t[-2:]).replace('"cpu"', '"%s"' % t) for t in ("x86-64-v2", "x86-64-v3"))


# ---- bad command lines -------------------------------------------------------------------------------------------------------
@dataclass
class Bad:
    name: str
    argv: str  # words after tsc
    status: int
    code: str
    text: str
    files: dict = field(default_factory=dict)
    hint: str = ""


def usage(name, argv, text, hint="", **files):
    return Bad(name, argv, 2, "E_USAGE", text, {k.replace("_", "."): v for k, v in files.items()}, hint)


BAD = [
    # options
    usage("no-arguments", "", "no input: tsc MODEL.tg -o MODEL.so", "'tsc --help' lists the options"),
    usage("unknown-option", "--emti so m.tg", "unknown option '--emti'", "did you mean '--emit'?"),
    usage("unknown-option-with-value", "--weihgts=external m.tg", "unknown option '--weihgts'", "did you mean '--weights'?"),
    usage("unknown-option-near-nothing", "--frobnicate-everything m.tg", "unknown option '--frobnicate-everything'", "'tsc --help' lists the options"),
    usage("unknown-short-option", "-x m.tg", "unknown option '-x'", "'tsc --help' lists the options"),
    Bad("size-beyond-64-bits", "big.tg -o m.so", 1, "E_SIZE", "a number of elements or bytes of this graph passes 2^63", {"big.tg": "tessera 1\ngraph f(x: bf16[1073741824, 1073741823], z: bf16[1073741823, 1073741825]) -> (y: bf16[1073741824, 1073741825]) { y = x @ z }\n"}),
    usage("unknown-kind", "--emit shared m.tg", "unknown kind of output 'shared'", "there are graph, schedule, tile, llvm, asm, ptx, obj, so, exe, tsr, header, cubin, fatbin"),
    usage("near-kind", "--emit graf m.tg", "unknown kind of output 'graf'",
          "did you mean 'graph'? There are graph, schedule, tile, llvm, asm, ptx, obj, so, exe, tsr, header, cubin, fatbin"),
    usage("two-kinds", "--emit so --emit exe m.tg", "--emit so and --emit exe: one kind at a time"),
    usage("kind-and-name-disagree", "--emit asm -o m.so m.tg", "--emit asm and the name 'm.so' contradict each other"),
    usage("artifact-to-standard-output", "-o - m.tg", "--emit so is no text: it needs a file, -o FILE"),
    usage("level-9", "-O9 m.tg", "-O needs a whole number from 0 to 3, not '9'"),
    usage("level-is-no-number", "-Ofast m.tg", "-O needs a whole number from 0 to 3, not 'fast'"),
    usage("level-missing", "m.tg -O", "-O needs a value: -O 0..3"),
    usage("no-jobs", "-j 0 m.tg", "-j needs a whole number from 1 to 1024, not '0'"),
    usage("jobs-past-64-bits", "-j 99999999999999999999 m.tg", "-j needs a whole number from 1 to 1024, not '99999999999999999999'"),
    usage("value-missing", "m.tg -o", "-o needs a value: -o FILE"),
    usage("value-empty", "m.tg --name=", "--name needs a value: --name NAME"),
    usage("flag-with-value", "--verbose=yes m.tg", "-v takes no value"),
    usage("two-inputs", "a.tg b.tg", "two inputs: 'a.tg' and 'b.tg'"),
    usage("command-misspelt", "inspct m.so", "two inputs: 'inspct' and 'm.so'", "did you mean the command 'inspect'?"),
    usage("two-outputs", "m.tg -o a.so -o b.so", "two outputs: 'a.so' and 'b.so'"),
    usage("output-is-input", "m.tg -o m.tg", "the output 'm.tg' is the input: give another name with -o", m_tg=MODEL),
    usage("output-is-input-by-another-path", "m.tg -o ./m.tg", "the output './m.tg' is the input: give another name with -o", m_tg=MODEL),
    usage("name-is-no-identifier", "--name 3d m.tg", "--name needs a C identifier of at most 100 characters, not '3d'"),
    usage("unknown-cpu", "--arch x86-64-v5 m.tg", "unknown architecture 'x86-64-v5'", "did you mean 'x86-64-v2'? There are x86-64-v2, x86-64-v3, x86-64-v4, sm_80, sm_86, sm_89, sm_90a, sm_100, sm_120"),
    usage("unknown-gpu", "--arch x86-64-v3,sm_91 m.tg", "unknown architecture 'sm_91'", "did you mean 'sm_80'? There are x86-64-v2, x86-64-v3, x86-64-v4, sm_80, sm_86, sm_89, sm_90a, sm_100, sm_120"),
    usage("amd-gpu-is-not-in-this-release", "--arch gfx942 m.tg", "architecture 'gfx942' is not in this release: it generates code for x86-64 CPUs and NVIDIA GPUs"),
    usage("fatbin-without-gpu", "--emit fatbin m.tg", "--emit fatbin needs GPU architectures: --arch sm_80,sm_90"),
    usage("only-and-skip", "--only rewrite --skip rewrite m.tg", "--only and --skip contradict each other"),
    usage("weights-nowhere", "--weights inside m.tg", "unknown place for weights 'inside'", "there are embedded, external"),
    usage("weights-file-twice", "--weights-file W=a --weights-file W=b m.tg", "--weights-file gives weights 'W' twice"),
    usage("weights-file-is-nothing", "--weights-file W= m.tg", "--weights-file needs the form NAME=VALUE, not 'W='"),
    # response files
    Bad("response-file-missing", "@no.rsp", 3, "E_FILE", "cannot open 'no.rsp': No such file or directory"),
    usage("response-file-open-quote", "@r.rsp", "response file 'r.rsp' ends inside quotes", r_rsp='m.tg -o "a b'),
    usage("response-file-names-itself", "@r.rsp", "response files are nested more than 8 deep at '@r.rsp'", r_rsp="-v @r.rsp"),
    usage("response-file-grows", "@a.rsp", "more than 64 response files, at '@b.rsp'",
          a_rsp="@b.rsp " * 20, b_rsp="@c.rsp " * 20, c_rsp=""),
    usage("response-file-is-binary", "@r.rsp", "response file 'r.rsp' is not text: it holds a zero byte", r_rsp=b"m.tg\0-v"),
    usage("response-file-holds-a-bad-option", "@r.rsp", "unknown option '--emti'", "did you mean '--emit'?", r_rsp="'m.tg'\n\t--em\\ti so"),
    # files
    Bad("input-missing", "no.tg -o m.so", 3, "E_FILE", "cannot open 'no.tg': No such file or directory"),
    Bad("input-in-no-folder", "no/m.tg -o m.so", 3, "E_FILE", "cannot open 'no/m.tg': No such file or directory"),
    Bad("input-is-a-folder", ". -o m.so", 3, "E_FILE", "cannot read '.': it is a folder, not a regular file"),
    Bad("input-is-a-device", "/dev/zero -o m.so", 3, "E_FILE", "cannot read '/dev/zero': it is a device, not a regular file"),
    Bad("input-is-llvm-ir", "m.ll -o m.so", 1, "E_LEVEL", "'m.ll' is LLVM IR, which is written and not read", {"m.ll": "; ModuleID = 'tessera'\n"},
        "give the .tg or .tile that it was made from"),
    Bad("input-is-assembly", "m.s -o m.so", 1, "E_LEVEL", "'m.s' is assembly, which is written and not read", {"m.s": "\t.text\n"}),
    Bad("input-is-empty", "m.tg -o m.so", 1, "E_SYNTAX", "a file begins with its version: 'tessera 1', or 'tile 1' for kernels of Tile IR", {"m.tg": ""}),
    Bad("output-in-no-folder", "m.tg -o no/m.so", 3, "E_FILE", "cannot write 'no/m.so': No such file or directory", {"m.tg": MODEL}),
    Bad("program-in-no-folder", "m.tg --emit exe -o no/m", 3, "E_FILE", "cannot write 'no/m': No such file or directory", {"m.tg": MODEL}),
    Bad("pack-in-no-folder", "m.tg -o no/m.tsr", 3, "E_FILE", "cannot write 'no/m.tsr': No such file or directory", {"m.tg": MODEL}),
    Bad("text-in-no-folder", "m.tg --emit tile -o no/m.tile", 3, "E_FILE", "cannot write 'no/m.tile': No such file or directory", {"m.tg": MODEL}),
    Bad("output-is-a-folder", "m.tg --emit so -o .", 3, "E_FILE", "cannot write '.': Is a directory", {"m.tg": MODEL}),
    Bad("temps-are-a-file", "m.tg -o m.so --save-temps file", 3, "E_FILE", "cannot write 'file/m.graph.tg': Not a directory", {"m.tg": MODEL, "file": ""}),
    # GPUs
    Bad("ptxas-is-missing", "m.tg --arch sm_80 --ptxas /nowhere/ptxas", 3, "E_PTXAS", "--ptxas: cannot run '/nowhere/ptxas': No such file or directory", {"m.tg": MODEL}),
    Bad("ptxas-is-another-program", "m.tg --arch sm_80 --ptxas /bin/true", 3, "E_PTXAS", "'/bin/true' is no working ptxas", {"m.tg": MODEL}),
    Bad("tiles-of-two-targets", "m.tg --emit tile --arch sm_80,sm_90", 2, "E_USAGE", "--emit tile shows the code of one target, and --arch names several", {"m.tg": MODEL}),
    Bad("schedule-of-a-gpu-and-a-cpu", "m.tg --emit schedule --arch sm_80,x86-64-v3", 2, "E_USAGE", "--emit schedule shows the code of one target, and --arch names several", {"m.tg": MODEL}),
    Bad("ptx-for-no-gpu", "m.tg --emit ptx", 2, "E_USAGE", "--emit ptx is for one GPU architecture, as --arch sm_80 names it", {"m.tg": MODEL}),
    Bad("cubin-for-two", "m.tg --emit cubin --arch sm_80,sm_90", 2, "E_USAGE", "--emit cubin is for one GPU architecture, as --arch sm_80 names it", {"m.tg": MODEL}),
    Bad("cubin-without-ptxas", "m.tg --emit cubin --arch sm_80 --ptxas none", 3, "E_PTXAS", "a cubin takes ptxas, which --ptxas none leaves out", {"m.tg": MODEL}),
    Bad("ptx-of-cpu-kernels", "k.tile --emit ptx", 1, "E_LEVEL", "kernels for the CPU make neither PTX nor a cubin", {"k.tile": KERNEL}),
    Bad("kernels-for-several", "k.tile --emit asm", 1, "E_TARGET", "the kernels here are for cpu, x86-64-v2, x86-64-v3; code is made for one target at a time", {"k.tile": KERNELS}, "name it with --arch"),
    Bad("kernels-for-several-asked-for", "k.tile --emit llvm --arch x86-64-v3,x86-64-v2", 1, "E_TARGET",
        "the kernels here are for cpu, x86-64-v2, x86-64-v3; code is made for one target at a time", {"k.tile": KERNELS}, "name it with --arch"),
    Bad("kernels-for-none-asked-for", "k.tile --emit ptx --arch sm_90", 1, "E_TARGET", "no kernel here is for what --arch names: they are for cpu, x86-64-v2, x86-64-v3", {"k.tile": KERNELS}),
    Bad("input-is-an-object", "m.tsr -o m.so", 1, "E_PACK_BAD", "cannot read 'm.tsr' as an artifact: it is no ELF file", {"m.tsr": b"\x7fELF"}),
    # what the model does not have
    Bad("unknown-graph", "m.tg --graph digits -o m.so", 1, "E_NO_GRAPH", "no graph named 'digits'", {"m.tg": MODEL}, "there is f"),
    Bad("unknown-graph-begins-so", "m.tg --graph dig -o m.so", 1, "E_NO_GRAPH", "no graph named 'dig'",
        {"m.tg": MODEL.replace("graph f", "graph digits")}, "nearest: digits"),
    Bad("eval-unknown-graph", "eval m.tg --graph digits", 1, "E_NO_GRAPH", "no graph named 'digits'", {"m.tg": MODEL}, "there is f"),
    Bad("run-unknown-graph", "run m.tg --graph digits", 1, "E_NO_GRAPH", "no graph named 'digits'", {"m.tg": MODEL}, "there is f"),
    Bad("unknown-rewrite", "m.tg --disable-rewrite nope -o m.so", 1, "E_UNKNOWN_REWRITE", "no rewrite named 'nope'", {"m.tg": MODEL},
        "there are %d: docs/rewrites.md lists them" % REWRITES),
    Bad("near-rewrite", "m.tg --disable-rewrite transpose_twise -o m.so", 1, "E_UNKNOWN_REWRITE", "no rewrite named 'transpose_twise'", {"m.tg": MODEL},
        "nearest: transpose_twice"),
    Bad("unknown-name-of-100000-letters", "m.tg --graph %s -o m.so" % ("g" * 100000), 1, "E_NO_GRAPH", "no graph named '%s…'" % ("g" * 60), {"m.tg": MODEL}, "there is f"),
    usage("unknown-option-of-100000-letters", "--%s m.tg" % ("é" * 50000), "unknown option '--%s…'" % ("é" * 29), "'tsc --help' lists the options"),
    usage("unknown-pass", "m.tg --skip rewrit -o m.so", "--skip: no pass named 'rewrit'", "nearest: rewrite", m_tg=MODEL),
    usage("pass-cannot-be-left-out", "m.tg --skip tile -o m.so", "--skip tile: this pass cannot be left out", m_tg=MODEL),
    usage("print-after-nothing", "m.tg --print-after lower -o m.so", "--print-after: no pass named 'lower'", "there are parse, graph, kernels, rewrite, schedule, tile, generate, assemble, plan", m_tg=MODEL),
    # weights
    Bad("weights-missing", "w.tg -o m.so", 3, "E_FILE", "cannot open 'w.safetensors': No such file or directory", {"w.tg": WITH_WEIGHTS}),
    Bad("weights-folder-missing", "w.tg --weights-dir no -o m.so", 3, "E_FILE", "cannot open 'no/w.safetensors': No such file or directory",
        {"w.tg": WITH_WEIGHTS, "w.safetensors": GOOD}),
    Bad("weights-file-missing", "w.tg --weights-file no.safetensors -o m.so", 3, "E_FILE", "cannot open 'no.safetensors': No such file or directory",
        {"w.tg": WITH_WEIGHTS, "w.safetensors": GOOD}),
    Bad("weights-file-for-nothing", "w.tg --weights-file V=w.safetensors -o m.so", 1, "E_UNKNOWN_NAME",
        "--weights-file: 'w.tg' has no weights named 'V'", {"w.tg": WITH_WEIGHTS, "w.safetensors": GOOD}, "nearest: W"),
    Bad("weights-file-for-none", "m.tg --weights-file w.safetensors -o m.so", 1, "E_UNKNOWN_NAME",
        "--weights-file w.safetensors: 'm.tg' has 0 sets of weights, name one: --weights-file W=FILE", {"m.tg": MODEL, "w.safetensors": GOOD}),
    Bad("weights-without-a-file", "w.tg -o m.so", 1, "E_NO_WEIGHT", "weights 'W' have no file, and code needs their bytes",
        {"w.tg": 'tessera 1\nweights W {\n  "b": f32[2]\n}\ngraph f(x: f32[2]) -> (y: f32[2]) {\n  y = x + W."b"\n}\n'}, 'weights W = "model.safetensors", or --weights-file W=FILE'),
    Bad("weights-are-a-folder", "w.tg --weights-file ./ -o m.so", 3, "E_FILE", "cannot read './': it is a folder, not a regular file", {"w.tg": WITH_WEIGHTS}),
    Bad("index-leaves-its-folder", "w.tg --weights-file i.json -o m.so", 1, "E_WEIGHT_INDEX", "i.json: a shard lies beside the index, found ../w.safetensors",
        {"w.tg": WITH_WEIGHTS, "i.json": '{"weight_map": {"b": "../w.safetensors"}}'}),
    Bad("index-names-a-missing-shard", "w.tg --weights-file i.json -o m.so", 3, "E_FILE", "cannot open 'no.safetensors': No such file or directory",
        {"w.tg": WITH_WEIGHTS, "i.json": '{"weight_map": {"b": "no.safetensors"}}'}),
    Bad("index-is-no-json", "w.tg --weights-file i.json -o m.so", 1, "E_WEIGHT_INDEX", "i.json: no valid JSON: expected a string",
        {"w.tg": WITH_WEIGHTS, "i.json": "{"}),
    # eval and test
    usage("eval-nothing", "eval", "no input: tsc eval MODEL.tg"),
    Bad("eval-missing", "eval no.tg", 3, "E_FILE", "cannot open 'no.tg': No such file or directory"),
    usage("cpu-twice", "m.tg --arch x86-64-v2,x86-64-v2", "--arch names 'x86-64-v2' twice"),
    usage("gpu-twice", "m.tg --arch sm_90,sm_80,sm_90a", "--arch names 'sm_90a' twice"),
    usage("gpu-twice-by-number", "m.tg --arch 90,86,90a", "--arch names 'sm_90a' twice"),
    usage("unknown-gpu-by-number", "m.tg --arch 75", "unknown architecture 'sm_75'", "did you mean 'sm_80'? There are x86-64-v2, x86-64-v3, x86-64-v4, sm_80, sm_86, sm_89, sm_90a, sm_100, sm_120"),
    Bad("test-without-tests", "test m.tg", 1, "E_TEST_EMPTY", "'m.tg' has no test blocks", {"m.tg": MODEL}),
    Bad("test-matches-none", "test m.tg --match zzz", 1, "E_TEST_EMPTY", "--match zzz: no test has this in its name", {"m.tg": MODEL + 'test "one" {\n  expect f([[1.0, 2.0, 3.0, 4.0]]) == 1.0\n}\n'}, "there is one"),
    usage("test-nothing", "test", "no input: tsc test FILE.tg"),
    Bad("test-missing", "test no.tg", 3, "E_FILE", "cannot open 'no.tg': No such file or directory"),
    # fmt
    usage("fmt-nothing", "fmt", "no input: tsc fmt FILE.tg"),
    usage("fmt-both", "fmt -i --check m.tg", "-i and --check contradict each other", m_tg=MODEL),
    usage("fmt-stdin-in-place", "fmt -i -", "-i rewrites files; standard input is none"),
    usage("fmt-stdin-twice", "fmt - -", "standard input can be read once"),
    Bad("fmt-missing", "fmt no.tg", 3, "E_FILE", "cannot open 'no.tg': No such file or directory"),
    usage("fmt-unknown-option", "fmt --chekc m.tg", "unknown option '--chekc'", "did you mean '--check'?"),
    # run, explain, inspect
    usage("run-nothing", "run", "no model: tsc run MODEL --input x=x.npy"),
    usage("run-two-models", "run a.so b.so", "two models: 'a.so' and 'b.so'"),
    usage("run-input-without-name", "run m.so --input x.npy", "--input needs the form NAME=VALUE, not 'x.npy'"),
    usage("run-two-outputs-in-one-file", "run m.so --output y=a.npy --output z=./a.npy", "output 'y' and output 'z' would go into one file, 'a.npy', which is './a.npy'"),
    usage("run-all-results-and-one-in-one-file", "run m.so --output a.safetensors --output y=a.safetensors",
          "output 'y' and all results would go into one file, 'a.safetensors'", a_safetensors=b"old"),
    usage("eval-two-outputs-in-one-file", "eval m.tg --output y=a.npy --output z=a.npy", "output 'y' and output 'z' would go into one file, 'a.npy'", m_tg=MODEL),
    usage("eval-output-twice", "eval m.tg --output y=a.npy --output y=b.npy", "--output y is given twice", m_tg=MODEL),
    usage("eval-unknown-result", "eval m.tg --output yy=a.npy", "the graph has no result 'yy'", "nearest: y", m_tg=MODEL),
    usage("run-input-twice", "run m.so --input x=a.npy --input x=b.npy", "input 'x' is given twice"),
    usage("run-gpu", "run m.so --device gpu", "unknown device 'gpu'", "did you mean 'cpu'? There are auto, cpu, cuda"),
    usage("run-gpu-number", "run m.so --device cuda:x", "unknown device 'cuda:x'", "did you mean 'cuda'? There are auto, cpu, cuda"),
    usage("run-no-threads", "run m.so --threads 0", "--threads needs a whole number from 1 to 4096, not '0'"),
    usage("run-tolerance", "run m.so --tolerance 1e-5", "--tolerance needs two numbers, ABS,REL, not '1e-5'"),
    usage("run-tolerance-below-0", "run m.so --tolerance=1,-1", "--tolerance needs numbers that are 0 or more, not '-1'"),
    usage("run-level", "run m.so --cpu v9", "unknown level of x86-64 'v9'", "did you mean 'v2'? There are v2, v3, v4"),
    usage("run-all-outputs-to-npy", "run m.so --output y.npy", "--output without NAME= needs a .safetensors file, not 'y.npy'"),
    Bad("run-missing", "run no.so", 3, "E_FILE", "cannot open 'no.so': No such file or directory"),
    Bad("run-no-artifact", "run /bin/sh", 1, "E_ARTIFACT", "'/bin/sh' is no artifact that can be loaded: it exports no model (NAME_tessera)"),
    Bad("run-input-missing", "run m.tg", 1, "E_CALL_MISSING", "input 'x' of graph 'f' is missing: --input x=FILE", {"m.tg": MODEL}),
    Bad("run-unknown-input", "run m.tg --input y=y.npy", 1, "E_NO_TENSOR", "graph 'f' has no input 'y'", {"m.tg": MODEL}, "nearest: x"),
    Bad("run-unknown-output", "run m.tg --output z=z.npy", 1, "E_NO_TENSOR", "graph 'f' has no output 'z'", {"m.tg": MODEL}, "nearest: y"),
    Bad("run-input-is-something", "run m.tg --input x=x.txt", 1, "E_TENSOR_FILE",
        "cannot tell what 'x.txt' is: tensors come from .npy, .npz:key or .safetensors:key", {"m.tg": MODEL}),
    Bad("run-input-file-missing", "run m.tg --input x=x.npy", 3, "E_FILE", "cannot open 'x.npy': No such file or directory", {"m.tg": MODEL}),
    Bad("run-tensor-missing", "run m.tg --input x=w.safetensors:c", 1, "E_NO_TENSOR", "'w.safetensors' has no tensor 'c'",
        {"m.tg": MODEL, "w.safetensors": GOOD}, "nearest: b"),
    Bad("run-wrong-rank", "run m.tg --input x=w.safetensors:b", 1, "E_RUN", "'m.tg': input 'x': rank is 1, wanted 2", {"m.tg": MODEL, "w.safetensors": GOOD}),
    Bad("explain-dim-missing", "explain m.tg", 1, "E_RUN", "'m.tg': dim B of graph 'f' is not given", {"m.tg": MODEL}),
    Bad("explain-unknown-dim", "explain m.tg --dims C=1", 1, "E_NO_DIM", "'m.tg' has no dim 'C'", {"m.tg": MODEL}),
    Bad("inspect-text", "inspect m.tg", 1, "E_PACK_BAD", "cannot read 'm.tg' as an artifact: it is no ELF file", {"m.tg": MODEL}),
    usage("explain-dims", "explain m.so --dims B", "--dims needs the form NAME=SIZE,NAME=SIZE, not 'B'"),
    usage("explain-dims-twice", "explain m.so --dims B=1,B=2", "dim 'B' is given twice"),
    usage("inspect-nothing", "inspect", "no input: tsc inspect FILE"),
]

REPORT = re.compile(r"^(?:([^\s:]+):(\d+):(\d+)|tsc): error\[(\w+)\]: (.*)$")


def put(folder, files):
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def errors_of(result):
    return [m.groups() for m in map(REPORT.match, result.err.splitlines()) if m]


def judge(case, result, before, after):
    if result.timed_out:
        return "did not end in time"
    wrong = []
    if result.code != case.status:
        wrong.append("exit status %d, expected %d" % (result.code, case.status))
    found = [(code, text) for _, _, _, code, text in errors_of(result)]
    if found != [(case.code, case.text)]:
        wrong.append("reported %s\nexpected %s" % (found, [(case.code, case.text)]))
    if case.hint and "hint: " + case.hint + "\n" not in result.err:
        wrong.append("no hint: " + case.hint)
    if result.out:
        wrong.append("printed: " + result.out)
    if after != before:
        wrong.append("left behind: " + " ".join(sorted(after - before)))
    return "\n".join(wrong + [result.err]) if wrong else ""


def bad_command_lines(ctx):
    def one(case):
        folder = ctx.tmp / ("bad-" + case.name)
        put(folder, case.files)
        before = set(os.listdir(folder))
        result = ctx.run([ctx.tsc] + case.argv.split(), cwd=folder)
        return "bad/" + case.name, judge(case, result, before, set(os.listdir(folder)))

    for name, wrong in ctx.map(one, BAD):
        yield name, not wrong, wrong


def hostile_weights(ctx):
    """Every hostile file is refused at the line that names it, and nothing is written."""
    def one(name):
        folder = ctx.tmp / ("weights-" + name)
        put(folder, {"m.tg": WITH_WEIGHTS, "w.safetensors": HOSTILE[name]})
        result = ctx.run([ctx.tsc, "m.tg", "-o", "m.so"], cwd=folder, timeout=20)
        code, text = REFUSED[name]
        wanted = [("m.tg", "3", "E_SAFETENSORS_" + code, "w.safetensors: " + text)]
        found = [(file, line, code, text) for file, line, _, code, text in errors_of(result)]
        left = sorted(os.listdir(folder)) != ["m.tg", "w.safetensors"]
        good = found == wanted and result.code == 1 and not left
        return "weights/" + name, good, "%s\nexpected %s\n%s" % (found, wanted, result.err) + (" left something behind" if left else "")

    yield "weights/all-have-an-answer", set(HOSTILE) == set(REFUSED), str(set(HOSTILE) ^ set(REFUSED))
    yield from ctx.map(one, sorted(HOSTILE))


# ---- full disks --------------------------------------------------------------------------------------------------------------
def full_disks(ctx):
    folder = ctx.tmp / "full"
    big = safetensors({"b": tensor((1 << 20,), (0, 4 << 20))}, bytes(4 << 20))
    put(folder, {"m.tg": MODEL, "w.tg": WITH_WEIGHTS.replace("[B, 2]", "[B, 1048576]"), "w.safetensors": big})
    result = ctx.run([ctx.tsc, "m.tg", "--emit", "graph", "-o", "/dev/full"], cwd=folder)
    good = result.code == 3 and [e[3] for e in errors_of(result)] == ["E_FILE"] and "No space left" in result.err
    yield "full/device", good, "%d %s" % (result.code, result.err)
    if os.geteuid() != 0:
        yield "full/disk", None, "mount takes root"
        return
    disk = folder / "disk"
    disk.mkdir()
    mounted = ctx.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk])
    if mounted.code:
        yield "full/disk", None, "no tmpfs can be mounted: " + mounted.err
        return
    try:
        for kind, name in (("so", "w.so"), ("obj", "w.o"), ("exe", "w"), ("tsr", "w.tsr")):
            result = ctx.run([ctx.tsc, "w.tg", "--emit", kind, "-o", disk / name], cwd=folder)
            good = result.code == 3 and [e[3] for e in errors_of(result)] == ["E_FILE"] and not os.listdir(disk)
            yield "full/disk-" + kind, good, "%d %s left: %s" % (result.code, result.err, os.listdir(disk))
        (disk / "fill").write_bytes(bytes(256 << 10))
        result = ctx.run([ctx.tsc, "m.tg", "--save-temps", disk / "temps", "-o", folder / "m.so"], cwd=folder)
        good = result.code == 3 and [e[3] for e in errors_of(result)] == ["E_FILE"] and os.listdir(disk) == ["fill"] and not (folder / "m.so").exists()
        yield "full/disk-temps", good, "%d %s left: %s" % (result.code, result.err, os.listdir(disk))
    finally:
        ctx.run(["umount", disk])


# ---- what is no regular file ------------------------------------------------------------------------------------------------
def odd_files(ctx):
    """Pipes, sockets, folders and devices where a file is read or written: nothing waits, and each is called what it is."""
    folder = ctx.tmp / "odd"
    x = npy_of([1.0] * 4, (1, 4))
    put(folder, {"m.tg": MODEL, "w.tg": WITH_WEIGHTS, "x.npy": x})
    (folder / "d").mkdir()
    kinds = {"pipe": "a pipe", "sock": "a socket", "d": "a folder", "null": "a device"}
    for ending in ("", ".tg", ".so", ".npy", ".npz", ".safetensors", ".json"):
        os.mkfifo(folder / ("pipe" + ending))
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(os.path.relpath(folder / ("sock" + ending)))
        (folder / ("null" + ending)).symlink_to("/dev/null")
        if ending:
            (folder / ("d" + ending)).mkdir()
    before = sorted(os.listdir(folder))
    reads = ["{0}.tg -o m.so", "w.tg --weights-file {0}.safetensors -o m.so", "w.tg --weights-file {0}.json -o m.so", "@{0}", "fmt {0}.tg", "fmt -i {0}.tg",
             "eval {0}.tg", "test {0}.tg", "inspect {0}.so", "run {0}.so", "explain {0}.so --dims B=1", "eval m.tg --input x={0}.npy",
             "eval m.tg --input x={0}.npz:x", "run m.tg --input x={0}.safetensors", "run m.tg --check {0}.safetensors"]

    def read(case):
        argv, kind = case
        words = argv.format(kind)
        path = re.search(kind + r"\b[.\w]*", words).group()
        result = ctx.run([ctx.tsc] + words.split(), cwd=folder, timeout=20)
        text = "cannot read '%s': it is %s, not a regular file" % (path, kinds[kind])
        return "odd/" + words, result.code == 3 and [e[3:] for e in errors_of(result)] == [("E_FILE", text)], "%d %s" % (result.code, result.err)

    yield from ctx.map(read, [(argv, kind) for argv in reads for kind in kinds])
    writes = ["m.tg -o {0}.so", "m.tg --emit exe -o {0}", "m.tg --emit graph -o {0}.tg", "eval m.tg --input x=x.npy --output y={0}.npy",
              "run m.tg --input x=x.npy --output y={0}.npy", "run m.tg --input x=x.npy --output {0}.safetensors"]
    answers = {"pipe": "it is a pipe that nobody reads", "sock": "it is a socket", "d": "Is a directory"}

    def write(case):
        argv, kind = case
        words = argv.format(kind)
        result = ctx.run([ctx.tsc] + words.split(), cwd=folder, timeout=20)
        found = [e[3:] for e in errors_of(result)]
        path = re.search(kind + r"\b[.\w]*", words).group()
        if kind == "null":
            return "odd/" + words, result.code == 0 and not result.err, result.err
        return "odd/" + words, result.code == 3 and found == [("E_FILE", "cannot write '%s': %s" % (path, answers[kind]))], "%d %s" % (result.code, result.err)

    yield from ctx.map(write, [(argv, kind) for argv in writes for kind in kinds])
    yield "odd/nothing-is-left", sorted(os.listdir(folder)) == before, str(set(os.listdir(folder)) ^ set(before))
    yield "odd/no-header-beside-a-device", not os.path.exists("/dev/null.h"), ""


def links(ctx):
    """What is written to a link goes where the link leads, and the link stays."""
    folder = ctx.tmp / "links"
    put(folder, {"m.tg": MODEL, "x.npy": npy_of([1.0] * 4, (1, 4)), "old": b"old", "messy.tg": MODEL.replace("x + 1.0", "(x)+ 1.0")})
    (folder / "there").mkdir()
    for name, to in (("y.npy", "there/y.npy"), ("z.npy", "old"), ("m.so", "there/new.so"), ("circle", "circle"), ("t.tg", "messy.tg"), ("lost", "no/lost")):
        (folder / name).symlink_to(to)

    def tsc(words):
        return ctx.run([ctx.tsc] + words.split(), cwd=folder)

    for words, link in (("eval m.tg --input x=x.npy --output y=y.npy", "y.npy"), ("run m.tg --input x=x.npy --output y=z.npy", "z.npy"),
                        ("m.tg -o m.so", "m.so"), ("fmt -i t.tg", "t.tg")):
        result = tsc(words)
        at = folder / link
        yield "links/" + link, result.code == 0 and at.is_symlink() and at.resolve().is_file() and at.stat().st_size > 64, result.err
    yield "links/fmt", (folder / "messy.tg").read_text() == MODEL, ""
    for link, why in (("circle", "Too many levels of symbolic links"), ("lost", "No such file or directory")):
        result = tsc("m.tg --emit graph -o " + link)
        found = [e[3:] for e in errors_of(result)]
        yield "links/" + link, result.code == 3 and (folder / link).is_symlink() and found == [("E_FILE", "cannot write '%s': %s" % (link, why))], result.err
    both = tsc("eval m.tg --input x=x.npy --output y=there/y.npy --output z=y.npy")
    text = "output 'y' and output 'z' would go into one file, 'there/y.npy', which is 'y.npy'"
    yield "links/two-outputs", both.code == 2 and [e[3:] for e in errors_of(both)] == [("E_USAGE", text)], both.err
    with open(folder / "log", "w") as log:
        log.write("before\n")
        log.flush()
        shown = subprocess.run([ctx.tsc, "m.tg", "--emit", "graph", "-o", "/dev/stdout"], cwd=folder, stdout=log, timeout=60)
    text = (folder / "log").read_text()
    yield "links/standard-output-goes-on", shown.returncode == 0 and text.startswith("before\ntessera 1\n"), text
    name = "n" * 252 + ".tg"
    long = tsc("m.tg --emit graph -o " + name)
    yield "links/longest-name", long.code == 0 and (folder / name).exists(), long.err
    left = [n for n in os.listdir(folder) + os.listdir(folder / "there") if ".tmp" in n]
    yield "links/nothing-is-left", not left, str(left)


# ---- good ones ---------------------------------------------------------------------------------------------------------------
def on_one_screen(text):
    lines = text.splitlines()
    return len(lines) <= 40 and all(len(line) <= 120 for line in lines)


def no_driver(ctx):
    """A folder whose libcuda.so.1 can't be loaded."""
    folder = ctx.tmp / "no-driver"
    folder.mkdir(exist_ok=True)
    (folder / "libcuda.so.1").write_text("no library")
    return folder


def progress(ctx):
    """--progress: the passes in order, kernels counted to their number; a reader that leaves, or none, disturbs nothing."""
    folder = ctx.tmp / "progress"
    put(folder, {"m.tg": MODEL})

    def told(words, keep):
        reader, writer = os.pipe()
        if not keep:
            os.close(reader)
        done = subprocess.run([ctx.tsc, *words, "--progress", str(writer)], cwd=folder, pass_fds=[writer], capture_output=True, timeout=60)
        os.close(writer)
        if keep:
            with os.fdopen(reader) as lines:
                return done, lines.read().splitlines()
        return done, []

    done, lines = told(["m.tg", "-o", "m.so"], True)
    passes = [line for line in lines if " " not in line]
    counts = [tuple(map(int, line.split()[1].split("/"))) for line in lines if line.startswith("generate ")]
    wanted = ["parse", "graph", "kernels", "rewrite", "schedule", "tile", "generate", "assemble", "plan", "emit"]
    yield "progress-passes", done.returncode == 0 and passes == wanted and not done.stdout and not done.stderr, str(lines)
    yield "progress-kernels", bool(counts) and counts == sorted(counts) and counts[-1] == (3, 3), str(lines)
    done, _ = told(["m.tg", "-o", "n.so"], False)
    yield "progress-nobody-reads", done.returncode == 0 and (folder / "n.so").exists(), str(done)
    for fd, text in (("77", "--progress 77: this descriptor is not open for writing"), ("0", "--progress needs a whole number from 1 to 1048576, not '0'")):
        bad = ctx.run([ctx.tsc, "m.tg", "-o", "no.so", "--progress", fd], cwd=folder)
        yield "progress-fd-" + fd, bad.code == 2 and text in bad.err and not (folder / "no.so").exists(), bad.err


def lifeline(ctx):
    """--lifeline: who holds the other end of the pipe is gone, and so is tsc; as long as it is there, nothing happens."""
    folder = ctx.tmp / "lifeline"
    put(folder, {"m.tg": MODEL})
    reader, writer = os.pipe()
    os.write(writer, b"words")
    done = subprocess.run([ctx.tsc, "m.tg", "-o", "m.so", "--lifeline", str(reader)], cwd=folder, pass_fds=[reader], capture_output=True, timeout=60)
    yield "lifeline-held", done.returncode == 0 and (folder / "m.so").exists() and not done.stderr, str(done)
    steps = [f"  a{i} = matmul({f'a{i - 1}' if i else 'x'}, softmax({f'a{i - 1}' if i else 'x'} * {i}.25, axis = [1]))" for i in range(120)]
    (folder / "slow.tg").write_text("\n".join(["tessera 1", "graph f(x: f32[64, 64]) -> (y: f32[64, 64]) {", *steps, "  y = a119 * 2.0", "}", ""]))
    (folder / "temp").mkdir()
    told, tell = os.pipe()
    child = subprocess.Popen([ctx.tsc, "slow.tg", "-o", "no.so", "-j", "2", "--lifeline", str(reader), "--progress", str(tell)], cwd=folder, pass_fds=[reader, tell],
                             env=dict(os.environ, TMPDIR=str(folder / "temp")), preexec_fn=heed_signals)
    os.close(tell)
    os.close(reader)
    with os.fdopen(told) as lines:
        while not next(lines).startswith("generate "):
            pass
        os.close(writer)  # as the kernel does for a caller that is killed
        status = child.wait(60)
    left = helpers(folder / "temp") + [p for p in (folder / "temp").iterdir()]
    yield "lifeline-cut", status == -signal.SIGTERM and not left and not (folder / "no.so").exists(), f"{status}: {left}"
    bad = ctx.run([ctx.tsc, "m.tg", "-o", "no.so", "--lifeline", "77"], cwd=folder)
    yield "lifeline-no-fd", bad.code == 2 and "--lifeline 77: this descriptor is not open for reading" in bad.err and not (folder / "no.so").exists(), bad.err


def questions(ctx):
    version = ctx.run([ctx.tsc, "--version"])
    yield "version", re.fullmatch(r"tsc \d+\.\d+\.\d+\nLLVM 22\.\d+\.\d+\n", version.out) and version.code == 0, version.out + version.err
    for words in ([], ["fmt"], ["eval"], ["test"], ["run"], ["inspect"], ["explain"]):
        result = ctx.run([ctx.tsc] + words + ["--help"])
        good = result.code == 0 and result.out.startswith("usage: tsc " + " ".join(words)) and on_one_screen(result.out) and not result.err
        yield "help-" + "-".join(words or ["tsc"]), good, result.out + result.err
    ops = ctx.run([ctx.tsc, "--list-ops"])
    table = (ctx.root / "ir/ops.def").read_text()
    names = [m.group(1) for m in re.finditer(r"^OP\((\w+),[^\n]*", table, re.M) if not re.search(r"\b(LEAF|CONTROL),", m.group(0))]
    missing = [n for n in names if not re.search(r"^%s\(" % n, ops.out, re.M)]
    yield "list-ops", ops.code == 0 and len(names) >= 50 and not missing, "missing: " + " ".join(missing)
    found = ctx.run([ctx.tsc, "--detect"], env={"LD_LIBRARY_PATH": os.fspath(no_driver(ctx))})
    yield "detect", re.fullmatch(r"cpu     x86-64-v[234]\nno GPU: there is no NVIDIA driver: .*\n", found.out) and found.code == 0, found.out + found.err
    with open("/dev/full", "w") as full:
        code = subprocess.run([ctx.tsc, "--help"], stdout=full, stderr=subprocess.PIPE, timeout=60)
    yield "help-to-a-full-disk", code.returncode == 3 and b"tsc: error[E_FILE]: cannot write standard output" in code.stderr, str(code)


def levels_read_again(ctx):
    """What docs/cli.md says of the texts that are input again."""
    folder = ctx.tmp / "again"
    put(folder, {"m.tg": MODEL})
    for level, back in (("graph", ("graph", "so", "tile")), ("schedule", ("graph", "so", "tile")), ("tile", ("tile", "llvm", "asm", "obj"))):
        name = level + (".tile" if level == "tile" else ".tg")
        made = ctx.run([ctx.tsc, "m.tg", "--emit", level, "-o", name], cwd=folder)
        yield "again/" + level, made.code == 0, made.err
        for kind in back:
            again = ctx.run([ctx.tsc, name, "--emit", kind, "-o", "out"], cwd=folder)
            yield "again/%s-to-%s" % (level, kind), again.code == 0, again.err
    for kind in ("so", "exe", "tsr", "header"):
        refused = ctx.run([ctx.tsc, "tile.tile", "--emit", kind, "-o", "no"], cwd=folder)
        yield "again/tile-to-%s-is-refused" % kind, refused.code == 1 and "E_LEVEL" in refused.err and not (folder / "no").exists(), refused.err


def formatting(ctx):
    folder = ctx.tmp / "fmt"
    messy = MODEL.replace("x + 1.0", "(x)+ 1.0").replace("dims B\n\n", "dims B\n\n\n\n")
    put(folder, {"good.tg": MODEL, "messy.tg": messy, "bad.tg": "tessera 1\ngraph {\n"})
    check = ctx.run([ctx.tsc, "fmt", "--check", "good.tg", "messy.tg"], cwd=folder)
    yield "fmt-check", check.code == 1 and check.out == "messy.tg\n", check.out + check.err
    shown = ctx.run([ctx.tsc, "fmt", "messy.tg"], cwd=folder)
    yield "fmt-prints", shown.code == 0 and shown.out == MODEL, shown.out + shown.err
    inode = (folder / "good.tg").stat().st_ino
    done = ctx.run([ctx.tsc, "fmt", "-i", "good.tg", "messy.tg", "bad.tg"], cwd=folder)
    same = (folder / "messy.tg").read_text() == MODEL and (folder / "good.tg").stat().st_ino == inode
    yield "fmt-in-place", done.code == 1 and same and (folder / "bad.tg").read_text() == "tessera 1\ngraph {\n", done.err
    for mode in (0o666, 0o750):
        (folder / "kept.tg").write_text(MODEL.replace("  y =", "      y  ="))
        (folder / "kept.tg").chmod(mode)
        (folder / "link.tg").symlink_to("kept.tg")
        done = ctx.run([ctx.tsc, "fmt", "-i", "link.tg"], cwd=folder)
        mode_kept = (folder / "kept.tg").stat().st_mode & 0o777 == mode and (folder / "kept.tg").read_text() == MODEL
        yield "fmt-mode-%o-and-link" % mode, done.code == 0 and mode_kept and (folder / "link.tg").is_symlink(), done.err
        (folder / "link.tg").unlink()
        (folder / "kept.tg").unlink()
    piped = ctx.run([ctx.tsc, "fmt", "-"], cwd=folder, stdin=MODEL.replace("  y =", "y="))
    yield "fmt-stdin", piped.code == 0 and piped.out == MODEL, piped.out + piped.err
    piped = ctx.run([ctx.tsc, "fmt", "--check", "-"], cwd=folder, stdin=MODEL.replace("  y =", "y="))
    yield "fmt-stdin-check", piped.code == 1 and piped.out == "<stdin>\n", piped.out + piped.err
    ours = sorted(p for end in ("tg", "tile") for p in (ctx.root / "examples").rglob("*." + end))
    check = ctx.run([ctx.tsc, "fmt", "--check", *ours])
    yield "fmt-examples", check.code == 0 and len(ours) > 8, check.out + check.err
    yield "fmt-leaves-nothing", sorted(os.listdir(folder)) == ["bad.tg", "good.tg", "messy.tg"], str(os.listdir(folder))
    (folder / "words").write_text("'fmt' --ch\\eck\n \"good.tg\" @more\n")
    (folder / "more").write_text("\tmessy.tg\n")
    result = ctx.run([ctx.tsc, "@words"], cwd=folder)
    yield "response-files", result.code == 0 and not result.out, result.out + result.err


TESTED = """tessera 1
dims 1 <= B <= 8, N

graph double(x: f32[B]) -> (y: f32[B]) {
  y = x * 2.0
}

fn half(x: f32[N]) -> (y: f32[N]) {
  y = x * 0.5
}

test "holds" {
  input x: f32[3] = normal(key = [1, 0])
  y = double(x)
  expect y == x + x
  expect half(y) == x within 1e-6
  expect double(x = double([1.0, 2.0])) == [4.0, 8.0]
  expect double([1.0]) > 1.5
}
test "too large" {
  input x: f32[9] = 0
  y = double(x)
  expect error "E_CALL_DIM"
}
"""
DIMS = """tessera 1
dims N <= 64 multiple_of 4, K, D = 3
graph double(x: f32[N, K]) -> (y: f32[N, K]) {
  y = x + x
}
test "sizes of dims" {
  dims N = 8, K = N//4
  input x: f32[N, K] = uniform(key = [1, 0])
  expect double(x) == 2.0 * x within 0
  expect double(1.0.broadcast([N, K])).reshape([N*K]) == 2.0
}
test "another size" {
  dims N = 8
  y = double([[1.0], [1.0], [1.0], [1.0]])
  expect error "E_CALL_DIM"
}
"""
BAD_DIMS = [
    ("out-of-range", "dims N = 68", "E_SIZE", "N cannot be 68"),
    ("no-multiple", "dims N = 6", "E_SIZE", "N cannot be 6"),
    ("unknown", "dims M = 4", "E_UNKNOWN_NAME", "no dim 'M'"),
    ("range", "dims N <= 4", "E_TEST", "a test gives a dim of the file its size"),
    ("defined", "dims D = 4", "E_TEST", "a test gives a dim of the file its size"),
    ("twice", "dims N = 4, N = 4", "E_ASSIGNED_TWICE", "'N' has its size already"),
    ("not-known", "dims N = K", "E_CONST", "known at compile time"),
    ("expects-nothing", "dims N = 8\n  y = double([[1.0]].broadcast([N, 1]))", "E_TEST_EMPTY", 'bad" expects nothing: it can only pass'),
    ("empty", "", "E_TEST_EMPTY", 'empty.tg:17:1: error[E_TEST_EMPTY]: test "bad" expects nothing: it can only pass'),
]
FAILING = """
test "differs" {
  expect double([1.0, 2.5]) == [2.0, 5.5] within 1e-3
}
test "does not fail" {
  y = double([1.0])
  expect error "E_CALL_DIM"
}
test "fails otherwise" {
  y = double([[1.0]])
  expect error "E_CALL_DIM"
}
"""


def test_blocks(ctx):
    folder = ctx.tmp / "blocks"
    put(folder, {"good.tg": TESTED, "bad.tg": TESTED + FAILING})
    good = ctx.run([ctx.tsc, "test", "good.tg"], cwd=folder)
    yield "test-passes", good.code == 0 and good.out.endswith("4 passed, 0 failed\n") and not good.err, good.out + good.err
    bad = ctx.run([ctx.tsc, "test", "bad.tg"], cwd=folder)
    failed = [line for line in bad.out.splitlines() if line.startswith("FAIL ")]
    wanted = ["FAIL bad.tg: %s (interpreter)" % name for name in ("differs", "does not fail", "fails otherwise")]
    yield "test-fails", bad.code == 1 and failed == wanted and bad.out.endswith("4 passed, 3 failed\n"), bad.out + bad.err
    yield "test-says-what-differs", "[1] is 5.0, the right side has 5.5" in bad.err, bad.err
    one = ctx.run([ctx.tsc, "test", "bad.tg", "--match", "holds", "--interpreter"], cwd=folder)
    yield "test-match", one.code == 0 and one.out.endswith("1 passed, 0 failed\n"), one.out + one.err
    folder = ctx.tmp / "dims"
    put(folder, {"dims.tg": DIMS} | {name + ".tg": DIMS + 'test "bad" {\n  %s\n}\n' % line for name, line, _, _ in BAD_DIMS})
    dims = ctx.run([ctx.tsc, "test", "dims.tg"], cwd=folder)
    yield "test-dims", dims.code == 0 and dims.out.endswith("4 passed, 0 failed\n") and not dims.err, dims.out + dims.err
    for name, _, code, words in BAD_DIMS:
        bad = ctx.run([ctx.tsc, "test", name + ".tg", "--match", "bad", "--interpreter"], cwd=folder)
        yield "test-dims-" + name, bad.code == 1 and "error[%s]" % code in bad.err and words in bad.err, bad.out + bad.err


def outside(ctx):
    """Weights that stay in their files: a pack and a shared object take them by size and hash alone, from where the options say."""
    folder, x = ctx.tmp / "outside", ["--input", "x=x.npy"]
    two = WITH_WEIGHTS.replace("\n\n", '\nweights V = "v.safetensors"\n\n', 1).replace('W."b"', 'W."b" + V."b"')

    def weights(values):
        return safetensors({"b": tensor((2,), (0, 8))}, struct.pack("<2f", *values))

    put(folder, {"m.tg": WITH_WEIGHTS, "w.safetensors": weights([1, 2]), "x.npy": npy_of([1, 2], (1, 2)), "two.tg": two, "v.safetensors": weights([3, 4]),
                 "x_more.npy": npy_of([1, 2], (1, 2)) + b"more", "wrong.safetensors": weights([1, 3]), "longer.safetensors": weights([1, 2]) + b"\0"})

    def tsc(*words, env=None):
        return ctx.run([ctx.tsc, *words], cwd=folder, env=env)

    made = [tsc(m + ".tg", "-o", "%s_%s%s" % (m, place, end), "--weights", place, "--name", m)
            for m in ("m", "two") for place in ("embedded", "external") for end in (".tsr", ".so")]
    yield "outside/made", not any(r.code for r in made), "".join(r.err for r in made)
    shown = tsc("inspect", "m_external.tsr")
    yield "outside/pack-names-files", re.search(r"(?m)^  file W.0: %d [0-9a-f]{64}$" % len(weights([1, 2])), shown.out) and "weights: external" in shown.out, shown.out
    sizes = [(folder / name).stat().st_size for name in ("m_external.tsr", "m_embedded.tsr")]
    yield "outside/pack-holds-none", b"\0\0\x80?\0\0\0@" not in (folder / "m_external.tsr").read_bytes() and sizes[0] != sizes[1], str(sizes)
    for name, again in (("m_external", "m_embedded"), ("two_external", "two_embedded")):
        r = tsc(name + ".tsr", "-o", "again.so", "--name", name.split("_")[0])
        a, b = (tsc("run", so, *x) for so in ("again.so", again + ".so"))
        yield "outside/pack-compiles-" + name, not r.code and not a.code and a.out == b.out, r.err + a.out + a.err
    (folder / "w.safetensors").rename(folder / "there.safetensors")
    cases = [  # words, what comes of it
        (["m_external.so"], "E_RUN", "weight file '"),
        (["m_external.so", "--weights-file", "W=there.safetensors"], "", "[[2.0, 4.0]]"),
        (["m_external.so", "--weights-file", "there.safetensors"], "", "[[2.0, 4.0]]"),
        (["m_external.so", "--weights-file", "W=nowhere"], "E_RUN", "weight file 'nowhere' can't be read"),
        (["m_external.so", "--weights-file", "W=wrong.safetensors"], "E_RUN", "has another SHA-256"),
        (["m_external.so", "--weights-file", "V=there.safetensors"], "E_UNKNOWN_NAME", "has no weights named 'V'"),
        (["m_embedded.so", "--weights-file", "W=nowhere"], "E_WEIGHTS_INSIDE", "holds its weights"),
        (["m_embedded.so", "--weights-file", "nowhere"], "E_WEIGHTS_INSIDE", "holds its weights"),
        (["two_external.so", "--weights-file", "V=v.safetensors"], "E_WEIGHTS_FOLDER", "opens 2 weight files"),
        (["two_external.so", "--weights-file", "v.safetensors"], "E_UNKNOWN_NAME", "has 2 sets of weights, name one"),
        (["m_external.tsr"], "E_FILE", "cannot open 'w.safetensors'"),
        (["m_external.tsr", "--weights-file", "W=there.safetensors"], "", "[[2.0, 4.0]]"),
        (["m_external.tsr", "--weights-file", "W=wrong.safetensors"], "E_PACK_WEIGHTS", "its size or SHA-256 is another"),
        (["two_external.tsr", "--weights-file", "W=there.safetensors"], "", "[[5.0, 8.0]]"),
        (["two_external.tsr", "--weights-file", "W=there.safetensors", "--weights-file", "V=wrong.safetensors"], "E_PACK_WEIGHTS", "'wrong.safetensors'"),
        (["m_embedded.tsr", "--weights-file", "W=there.safetensors"], "E_WEIGHTS_INSIDE", "holds its weights"),
        (["m_embedded.tsr"], "", "[[2.0, 4.0]]"),
    ]
    for words, code, text in cases:
        r = tsc("run", *words, *x)
        ok = r.code == (3 if code in ("E_FILE", "E_RUN") else 1) and "error[%s]" % code in r.err and text in r.err if code else not r.code and text in r.out
        yield "outside/" + " ".join(words), ok, r.out + r.err
    r = tsc("explain", "m_external.so", "--dims", "B=1", "--weights-file", "W=there.safetensors")
    yield "outside/explain", not r.code and "8 bytes packed when opened" in r.out, r.out + r.err
    tsc("m.tg", "--weights-file", "there.safetensors", "-o", "m", "--emit", "exe")
    r = ctx.run(["./m", "--input", "x=x_more.npy"], cwd=folder)
    yield "outside/npy-with-more-bytes", r.code == 1 and "'x_more.npy' has 4 bytes behind its data" in r.err, r.out + r.err
    r = tsc("run", "m_embedded.so", "--input", "x=x_more.npy")
    yield "outside/npy-with-more-bytes-in-tsc", r.code == 1 and "error[E_NPY]" in r.err, r.out + r.err


def cut_off(ctx):
    """An artifact whose end is missing is none: at every size from nothing up."""
    folder = ctx.tmp / "cut"
    put(folder, {"m.tg": WITH_WEIGHTS, "w.safetensors": safetensors({"b": tensor((2,), (0, 8))}, struct.pack("<2f", 1, 2))})
    for name in ("m.tsr", "m.so", "m.o", "m"):
        kind = {"m.o": ["--emit", "obj"], "m": ["--emit", "exe"]}.get(name, [])
        ctx.run([ctx.tsc, "m.tg", "-o", name, *kind], cwd=folder)
        whole, wrong = (folder / name).read_bytes(), []
        for n in {0, 3, 40, 64, 200, len(whole) // 3, len(whole) // 2, len(whole) - 4097, len(whole) - 9, len(whole) - 1} - set(range(-5000, 0)):
            (folder / "cut").write_bytes(whole[:n])
            r = ctx.run([ctx.tsc, "inspect", "cut"], cwd=folder)
            if r.code != 1 or r.out or "error[E_PACK_BAD]: cannot read 'cut' as an artifact: " not in r.err:
                wrong.append("%d of %d: status %d, %s" % (n, len(whole), r.code, r.err))
        yield "cut-off/" + name, not wrong, "\n".join(wrong)


def helpers(temp):
    """Processes that run something below a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        found += [words] if any(w.startswith(os.fsencode(temp)) for w in words[1:]) else []
    return found


def heed_signals():
    """In a child: signals as a terminal gives them, also where the tests themselves run under nohup or in the background."""
    for word in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(word, signal.SIG_DFL)


def killed(ctx):
    """Ended by a signal in the middle, tsc leaves no file, no folder and no process, and its status says the signal."""
    folder, temp = ctx.tmp / "killed", ctx.tmp / "killed-temp"
    temp.mkdir()
    slow = "tessera 1\ngraph f(x: f32[2, 4]) -> (y: f32[]) {\n  y = sum(tanh(x[0, 0] + cast(iota(1000000), f32)))\n}\n"
    put(folder, {"m.tg": slow, "x.safetensors": safetensors({"x": tensor((2, 4), (0, 32))}, struct.pack("<8f", *range(8)))})
    script = "exec %s run m.tg --input x=x.safetensors --bench 1000000" % ctx.tsc
    for name, head, signals in (("term", "", ["SIGTERM"]), ("int", "", ["SIGINT"]), ("hup", "", ["SIGHUP"]), ("hup-ignored", "trap '' HUP; ", ["SIGHUP", "SIGTERM"])):
        p = subprocess.Popen(["sh", "-c", head + script], cwd=folder, env=dict(os.environ, TMPDIR=str(temp)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=heed_signals)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and p.poll() is None and not list(temp.glob("*/model.so")):
            time.sleep(0.01)
        made, last = len(list(temp.glob("*/model.so"))), getattr(signal, signals[-1])
        for word in signals:
            p.send_signal(getattr(signal, word))
            time.sleep(0.2)
        try:
            p.wait(timeout=30)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
        time.sleep(0.2)
        left = helpers(temp) + list(temp.iterdir()) + [q for q in folder.iterdir() if q.name not in ("m.tg", "x.safetensors")]
        yield "killed/" + name, made == 1 and p.returncode == -last and not left, "made %d, status %s, left %s" % (made, p.returncode, left)


def running(ctx):
    """One model by every way in and out of tsc run."""
    folder = ctx.tmp / "run"
    data = struct.pack("<8f", *range(8))
    put(folder, {"m.tg": MODEL, "x.safetensors": safetensors({"x": tensor((2, 4), (0, 32))}, data)})
    built = ctx.run([ctx.tsc, "m.tg", "-o", "m.so"], cwd=folder)
    yield "run/builds", built.code == 0 and (folder / "m.h").exists(), built.err
    temp = ctx.tmp / "run-temp"
    temp.mkdir()
    expected = "y: f32[2, 4] [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]\n"
    for model in ("m.tg", "m.so", "./m.so"):
        shown = ctx.run([ctx.tsc, "run", model, "--input", "x=x.safetensors"], cwd=folder, env=dict(os.environ, TMPDIR=str(temp)))
        yield "run/prints-" + model, shown.code == 0 and shown.out == expected, shown.out + shown.err
    same = ctx.run([ctx.tsc, "eval", "m.tg", "--input", "x=x.safetensors"], cwd=folder)
    yield "run/as-eval", "[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]" in same.out, same.out + same.err
    made = ctx.run([ctx.tsc, "run", "m.so", "--input", "x=x.safetensors", "--output", "golden.safetensors", "--output", "y=y.npy"], cwd=folder)
    yield "run/writes", made.code == 0 and not made.out and sorted(os.listdir(folder))[0] == "golden.safetensors", made.out + made.err
    again = ctx.run([ctx.tsc, "run", "m.so", "--input", "x=x.safetensors:x", "--output", "y=z.npy", "--threads", "3", "--cpu", "v2"], cwd=folder)
    yield "run/same-bytes", again.code == 0 and (folder / "y.npy").read_bytes() == (folder / "z.npy").read_bytes(), again.err
    check = ctx.run([ctx.tsc, "run", "m.so", "--check", "golden.safetensors", "--tolerance", "0,0"], cwd=folder)
    yield "run/check-holds", check.code == 0 and check.out == "y: as expected, largest difference 0\n", check.out + check.err
    golden = bytearray((folder / "golden.safetensors").read_bytes())
    golden[-4:] = struct.pack("<f", 8.01)
    (folder / "off.safetensors").write_bytes(golden)
    off = ctx.run([ctx.tsc, "run", "m.so", "--check", "off.safetensors"], cwd=folder)
    text = "output 'y': 1 of 8 elements are wrong; the worst, [1, 3] is 8.0, off.safetensors has 8.01"
    yield "run/check-fails", off.code == 1 and [(e[3], e[4]) for e in errors_of(off)] == [("E_MISMATCH", text)], off.out + off.err
    near = ctx.run([ctx.tsc, "run", "m.so", "--check", "off.safetensors", "--tolerance", "0.02,0"], cwd=folder)
    yield "run/check-within", near.code == 0 and "largest difference 0.01" in near.out, near.out + near.err
    bench = ctx.run([ctx.tsc, "run", "m.so", "--input", "x=x.safetensors", "--bench", "20"], cwd=folder)
    yield "run/bench", bench.code == 0 and re.search(r"; 20 runs: best [\d.]+ ms, median", bench.out), bench.out + bench.err
    explain = ctx.run([ctx.tsc, "explain", "m.so", "--dims", "B=100"], cwd=folder)
    good = explain.code == 0 and explain.out.startswith("graph f: B = 100\ny: ") and "workspace: " in explain.out
    yield "run/explain", good, explain.out + explain.err
    inspect = ctx.run([ctx.tsc, "inspect", "m.so"], cwd=folder)
    yield "run/inspect", inspect.code == 0 and "f(x: f32[B, 4]) -> (y: f32[B, 4])" in inspect.out, inspect.out + inspect.err
    refused = ctx.run([ctx.tsc, "run", "m.tg", "--input", "z=x.npy"], cwd=folder, env=dict(os.environ, TMPDIR=str(temp)))
    yield "run/no-folder-left", refused.code == 1 and not os.listdir(temp), " ".join(os.listdir(temp))


def artifacts_that_fail(ctx):
    """An artifact's process may die or lie: tsc says so and goes on to its end."""
    folder = ctx.tmp / "wrong"
    put(folder, {
        "crash.c": "__attribute__((constructor)) static void f(void) { *(volatile int *)0 = 1; } int m_tessera[64];",
        "leave.c": "#include <unistd.h>\n__attribute__((constructor)) static void f(void) { _exit(7); } int m_tessera[64];",
        "old.c": "int m_tessera[64] = { 99 };",
    })
    wanted = {
        "crash": "'crash.so' ended with signal 11 (Segmentation fault)",
        "leave": "'leave.so' ended with status 7 before it answered",
        "old": "'old.so': it was built for another version of tessera.h",
    }
    for name, text in wanted.items():
        made = ctx.run(["gcc", "-shared", "-fPIC", "-o", name + ".so", name + ".c"], cwd=folder)
        result = ctx.run([ctx.tsc, "run", name + ".so"], cwd=folder)
        found = [e[4] for e in errors_of(result)]
        yield "wrong-artifact/" + name, made.code == 0 and result.code == 1 and found == [text], made.err + result.err
    cut = folder / "cut.so"
    cut.write_bytes((folder / "old.so").read_bytes()[:3000])
    result = ctx.run([ctx.tsc, "run", "cut.so"], cwd=folder)
    yield "wrong-artifact/cut", result.code == 1 and errors_of(result), result.err


def run(ctx):
    yield from test_blocks(ctx)
    yield from killed(ctx)
    yield from running(ctx)
    yield from artifacts_that_fail(ctx)
    yield from bad_command_lines(ctx)
    yield from hostile_weights(ctx)
    yield from outside(ctx)
    yield from cut_off(ctx)
    yield from full_disks(ctx)
    yield from odd_files(ctx)
    yield from links(ctx)
    yield from questions(ctx)
    yield from progress(ctx)
    yield from lifeline(ctx)
    yield from formatting(ctx)
    yield from levels_read_again(ctx)
