"""Ahead of time: a function as a folder that runs with no Python, no library and no compiler.

::

    ts.aot.compile(layer, example_inputs=[x, weights], output_path="deployment/", target_archs=["sm_80", "sm_90"],
                   embed=["weights"])
    model = ts.aot.load("deployment/")

The folder holds the shared object (code for every x86-64 and for the GPUs named; it needs nothing), its C header and
``tessera/*.h``, the model as text and as a pack for other targets, the weights, a manifest, and a C program with a
Makefile. Sizes that annotations name stay open; the others are those of the examples.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import _core, trace
from . import compile as compiler
from .dtypes import as_dtype
from .errors import ArgumentTypeError, ArgumentValueError, GraphTypeError, GraphValueError
from .interop import is_numpy_number
from .tree import flatten, unflatten

__all__ = ["Deployed", "compile", "load"]

MANIFEST = "manifest.json"
FORMAT = 1
WEIGHTS = "W"  # what the text calls them
WEIGHTS_FILE = "weights.safetensors"
# Names whose NAME.h, found first by a program that is compiled in the folder, hides a header that the system's headers,
# ours or such a program includes; and those whose NAME.so hides a module of Python.
_HEADERS = """assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign
    stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype
    alloca dlfcn endian fcntl features pthread sched strings unistd"""
_TAKEN = {name: f"<{name}.h> is a header of C's or of the system's" for name in _HEADERS.split()} | {
    "tessera": "tessera.h is the header that it is used with",
    "dlpack": "dlpack.h is a header that it is used with",
    "load": "load.py is the loader in the folder",
}


def compile(
    fn: Any,
    example_inputs: Sequence[Any] | Mapping[str, Any] = (),
    output_path: str | os.PathLike[str] = "",
    target_archs: str | Iterable[str] | None = None,
    *,
    embed: Iterable[str] = (),
    name: str | None = None,
    options: Sequence[str] = (),
    quiet: bool = False,
) -> Deployed:
    """Compiles a function into the folder ``output_path``, and gives what ``ts.aot.load`` gives of it.

    Args:
        fn: a ``@ts.function``, what ``ts.jit`` gives, a ``ts.Module``, or a plain function.
        example_inputs: arguments, in order or by name. Their types count, and the sizes that no annotation leaves
            open. Of embedded arguments the elements count too.
        output_path: a folder, made if need be. Files of an earlier compile are replaced.
        target_archs: GPUs, such as ``["sm_80", "sm_90"]`` (``"80"`` and ``"90a"`` name them too), or one of them; code
            for CPUs is always there. None: the GPUs of this machine.
        embed: names of arguments whose examples go into the file as weights. Others stay inputs. The parameters of a
            module and arrays that the function takes from outside always go in.
        name: of the model, a C identifier; the function's where none is given, with _ for what C's names cannot hold.
        options: more options for the compiler.
        quiet: do not say which inputs there are.

    Raises:
        TypeError: an argument is missing or of another kind than the annotation wants.
        ValueError: sizes that do not fit, an unknown architecture, a name in ``embed`` that is no argument, a name
            whose header would hide one of C's.
        CompileError: the compiler refuses the graph.
    """
    archs = compiler.native_archs() if target_archs is None else compiler.check_archs(target_archs)
    if not os.fspath(output_path):
        raise ArgumentValueError("aot.compile: output_path names no folder")
    if name is not None and not (name.isidentifier() and name.isascii() and len(name) <= 100):
        raise ArgumentValueError(f"aot.compile: the name is a C identifier, not '{name}'")
    model = _traced(fn, example_inputs, (embed,) if isinstance(embed, str) else tuple(embed), name)
    out = Path(output_path)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tessera-", dir=out) as tmp:
        folder = Path(tmp)
        _write(folder, model, archs, options)
        _move(folder, out)
    if not quiet:
        for line in model.notes():
            print(f"tessera: {line}", file=sys.stderr)
    return load(out)


# ---- tracing --------------------------------------------------------------------------------------------------------


class _Context(trace.Context):
    """A graph in which the embedded arguments, parameters and captured arrays are tensors of a weight file."""

    def __init__(self, name: str, given: dict[str, Any]) -> None:
        super().__init__(name)
        self.given = given  # name of an embedded argument's tensor -> the tensor
        self.weights: dict[str, Any] = {}
        self.result_types: list[tuple[str, tuple[Any, ...]]] = []

    def param(self, name: str, dtype: Any, dims: Sequence[Any]) -> trace.Value:
        if name in self.given:
            return self._weight(name, as_dtype(dtype), self.given[name])
        return super().param(name, dtype, dims)

    def hidden(self, name: str, dtype: Any, dims: Sequence[Any], source: Any) -> trace.Value:
        if callable(source):
            raise GraphTypeError(f"'{name}' is made anew at each call, which no file can do: make it an input")
        name = self.fresh_name(name)
        while name in self.weights:
            name += "_"
        return self._weight(name, as_dtype(dtype), source)

    def _weight(self, name: str, dtype: Any, tensor: Any) -> trace.Value:
        if not self.weights:
            self.builder.weights_file(WEIGHTS, WEIGHTS_FILE)
        self.weights[name] = tensor
        ident = self.builder.weight(WEIGHTS, name, dtype.name, tuple(_core.as_tensor(tensor).shape))
        return trace.Value(self, ident, trace.Record("parameter", name, (), tensor, None, ("", 0)))

    def text(self, results: Sequence[tuple[str, trace.Value]], policy: dict[str, Any] | None = None) -> str:
        self.result_types = [(v.dtype.name, v.shape) for _, v in results]
        return super().text(results, policy)


class _Model:
    """A traced function, and all that goes into the folder."""

    def __init__(self, compiled: Any, tree: Any, embedded: set[str], examples: Mapping[str, Any]) -> None:
        self.own_name = compiled.context.name
        self.name = compiler.c_name(self.own_name)
        if self.name.lower() in _TAKEN:
            raise ArgumentValueError(
                f"aot.compile: a model named '{self.name}' has files that hide others: {_TAKEN[self.name.lower()]};"
                " give another name, as name='model'"
            )
        self.context, self.text = compiled.context, compiled.text
        self.results: list[str] = list(compiled.results)
        self.arguments = [(n, part) for n, part in tree if n not in embedded]
        self.embedded = [n for n, _ in tree if n in embedded]
        self.signature = compiled.owner.signature.parameters
        self.out_tree = compiled.out_tree
        self.inputs = [
            (v.record.name, v.dtype.name, [d if isinstance(d, int) else str(d) for d in v.shape])
            for v in self.context.params
        ]
        self.example_shapes = {n: _shape(examples[n]) for n, _, _ in self.inputs}
        self.weights: dict[str, Any] = self.context.weights

    def notes(self) -> Iterator[str]:
        """What may surprise: another name, and which arguments of tensors stay inputs."""
        if self.name != self.own_name:
            yield f"{self.own_name}: C knows the compiled model as '{self.name}'; name= gives it another name"
        for argument, part in self.arguments:
            if part[0] in ("dict", "list", "object"):
                n = sum(1 for i, _, _ in self.inputs if i.startswith(argument + "."))
                yield (
                    f"{self.name}: the {n} tensors of '{argument}' are inputs of the compiled model; "
                    f'embed=["{argument}"] puts the examples into the file as weights'
                )


def _shape(example: Any) -> list[int]:
    return [] if isinstance(example, (int, float)) else list(_core.as_tensor(example).shape)


def _function(fn: Any) -> tuple[Any, tuple[Any, ...]]:
    """The traceable function, and the arguments that go before the examples: a module is its own first one."""
    from .function import Function
    from .module import CompiledModule, Module

    if isinstance(fn, (Module, CompiledModule)):
        module = fn if isinstance(fn, Module) else fn.module
        own = None if isinstance(fn, Module) else fn.function
        forward = module._compiling(own.policy if own else None, own.options if own else (), plain=True)
        return forward, (module,)
    if isinstance(fn, Function):
        return fn, ()
    if callable(fn):
        return Function(fn), ()
    raise ArgumentTypeError(f"aot.compile: wanted a function, found {type(fn).__name__}", "E_ARGUMENTS")


def _traced(fn: Any, examples: Any, embed: Sequence[str], name: str | None) -> _Model:
    from .function import Compiled

    function, before = _function(fn)
    args, kwargs = ((), dict(examples)) if isinstance(examples, Mapping) else (tuple(examples), {})
    function = copy.copy(function)
    function._variants, function._fast = {}, None
    plan = function._prepare()
    names = [n for n, _, _ in plan]
    unknown = [e for e in embed if e not in names]
    if unknown:
        raise ArgumentValueError(
            f"aot.compile: embed names '{unknown[0]}', which is no argument of {function.__name__}: there are "
            + ", ".join(names)
        )
    embedded = {*embed, *(names[: len(before)])}
    values = function._bind((*before, *args), kwargs)
    leaves: list[Any] = []
    tensors: list[Any] = []
    tree: list[tuple[str, Any]] = []
    given: dict[str, Any] = {}
    for i, (argument, hint, _) in enumerate(plan):
        at = len(leaves)
        tree.append((argument, function._argument(argument, hint, values[argument], leaves, tensors)))
        if before and i == 0:  # the module: its parameters have the names of its state
            for leaf in leaves:
                own = leaf.name.partition(".")[2]
                leaf.name = leaf.name if own.partition(".")[0] in names else own
        if argument in embedded:
            given |= {leaf.name: t for leaf, t in zip(leaves[at:], tensors[at:], strict=True)}
    _close_sizes(leaves, given)
    function._context = lambda title: _Context(title, given)
    if name is not None:
        function.__name__ = name
    compiled = Compiled(function, leaves, tuple(tree))
    return _Model(compiled, tree, embedded, {leaf.name: t for leaf, t in zip(leaves, tensors, strict=True)})


def _close_sizes(leaves: Sequence[Any], given: Mapping[str, Any]) -> None:
    """A size that an embedded tensor has is known, wherever it is named."""
    known: dict[str, int] = {}
    for leaf in leaves:
        if leaf.name not in given:
            continue
        shape = tuple(_core.as_tensor(given[leaf.name]).shape)
        if len(shape) != len(leaf.dims):
            text = f"argument '{leaf.name}': wanted rank {len(leaf.dims)}, found {list(shape)}"
            raise ArgumentValueError(text, "E_RANK")
        for d, n in zip(leaf.dims, shape, strict=True):
            if isinstance(d, str) and str(d).isidentifier() and known.setdefault(str(d), n) != n:
                raise ArgumentValueError(f"argument '{leaf.name}': '{d}' is {known[str(d)]}, found {n}", "E_SIZE")
    for leaf in leaves:
        leaf.dims = tuple(_closed(d, known) for d in leaf.dims)
        if leaf.name in given:
            shape = tuple(_core.as_tensor(given[leaf.name]).shape)
            for d, n in zip(leaf.dims, shape, strict=True):
                if isinstance(d, int) and d != n:
                    raise ArgumentValueError(f"argument '{leaf.name}': wanted a size of {d}, found {n}", "E_SIZE")


def _closed(d: Any, known: Mapping[str, int]) -> Any:
    if not isinstance(d, str) or not known:
        return d
    if str(d) in known:
        return known[str(d)]
    if str(d).isidentifier():
        return d
    free: list[str] = []

    def size(n: str) -> int:
        if n not in known:
            free.append(n)
        return known.get(n, 1)

    value = trace.evaluate_size(str(d), size)
    if not free:
        return int(value)
    import re

    return re.sub(r"[A-Za-z_]\w*", lambda m: str(known.get(m[0], m[0])), str(d))


# ---- the folder -----------------------------------------------------------------------------------------------------


def _write(folder: Path, model: _Model, archs: Sequence[str], options: Sequence[str]) -> None:
    from ._aot_c import example_c, makefile

    name = model.name
    source = folder / f"{name}.tg"
    source.write_text(model.text)
    if model.weights:
        compiler.write_safetensors(
            folder / WEIGHTS_FILE, {n: compiler.host_array(t) for n, t in model.weights.items()}
        )
    gpu, _ = compiler.gpu_words(archs)
    told = {"name": name, "text": model.text, "where": model.context.where}
    compiler.run_tsc([source, "-o", folder / f"{name}.so", "--name", name, *gpu, *options], **told)
    outside = ["--weights", "external"] if model.weights else []
    compiler.run_tsc([source, "-o", folder / f"{name}.tsr", "--name", name, *outside], **told)
    shutil.copytree(compiler.headers() / "tessera", folder / "tessera")
    program = _core.load(os.fspath(folder / f"{name}.so"), name)
    manifest = _manifest(model, archs, program)
    (folder / "example.c").write_text(example_c(name, manifest))
    (folder / "Makefile").write_text(makefile(name))
    (folder / "load.py").write_text(_LOADER.format(name=name))
    manifest["files"] = {
        p.relative_to(folder).as_posix(): {"bytes": p.stat().st_size, "sha256": _sha256(p)}
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


_LOADER = '''"""The model in Python: `from load import model`. C and C++ programs take {name}.h; example.c is one."""

from pathlib import Path

import tessera as ts

model = ts.aot.load(Path(__file__).parent)

if __name__ == "__main__":
    print(model)
'''


def _manifest(model: _Model, archs: Sequence[str], program: Any) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": model.name,
        "producer": f"tessera {_core.version}",
        "architectures": ["x86-64", *archs],
        "dims": {n: {"min": low, "max": high, "multiple_of": m} for n, low, high, m in program.dims},
        "inputs": [
            {"name": n, "dtype": t, "shape": dims, "example": model.example_shapes[n]} for n, t, dims in model.inputs
        ],
        "outputs": [
            {"name": n, "dtype": t, "shape": dims}
            for n, (t, dims) in zip(model.results, _outputs(model), strict=True)
        ],
        "arguments": [
            {"name": n, "tree": _to_json(part), **_how(model.signature[n], part)} for n, part in model.arguments
        ],
        "embedded": model.embedded,
        "results": _to_json(model.out_tree),
        "weights": [
            {"name": n, "dtype": str(t.dtype), "shape": list(t.shape)}
            for n, t in ((n, _core.as_tensor(w)) for n, w in model.weights.items())
        ],
    }


def _how(p: inspect.Parameter, part: Any) -> dict[str, Any]:
    """How a call gives an argument, and what it is when a call does not give it."""
    how: dict[str, Any] = {} if p.kind is p.POSITIONAL_OR_KEYWORD else {"kind": p.kind.name.lower()}
    if part[0] == "leaf" and type(p.default) in (bool, int, float):
        how["default"] = p.default
    return how


def _outputs(model: _Model) -> list[tuple[str, list[Any]]]:
    found = model.context.result_types
    return [(t, [d if isinstance(d, int) else str(d) for d in dims]) for t, dims in found]


def _sha256(path: Path) -> str:
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while part := f.read(1 << 20):
            h.update(part)
    return h.hexdigest()


def _move(folder: Path, out: Path) -> None:
    """Everything into its place, the manifest last; what an earlier compile left of files that are no more goes."""
    old = _read_manifest(out, missing=True)
    names = [p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.is_file()]
    (out / MANIFEST).unlink(missing_ok=True)
    for name in sorted(names, key=lambda n: n.name == MANIFEST):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / name, out / name)
    for gone in set(old.get("files", {})) - {n.as_posix() for n in names}:
        path = (out / gone).resolve()
        if path.is_relative_to(out.resolve()):
            path.unlink(missing_ok=True)


# ---- trees as JSON --------------------------------------------------------------------------------------------------


def _to_json(key: Any) -> Any:
    """The structure of an argument or result: null for what is not in the file, a module as a dict of its parts."""
    kind = key[0]
    if kind == "leaf":
        return "tensor"
    if kind == "static":
        plain = isinstance(key[2], (bool, int, float, str, type(None)))
        return {"static": key[2]} if plain else {"constant": repr(key[2])}
    if kind == "dict":
        return {"dict": {str(k): _to_json(sub) for k, sub in key[2]}}
    if kind == "list":
        return {"tuple" if issubclass(key[1], tuple) else "list": [_to_json(sub) for sub in key[2]]}
    return _to_json(key[2])


def _to_key(tree: Any) -> Any:
    if tree == "tensor":
        return ("leaf",)
    ((kind, parts),) = tree.items()
    if kind in ("static", "constant"):
        return (kind, type(parts), parts)
    if kind == "dict":
        return ("dict", dict, tuple((k, _to_key(sub)) for k, sub in parts.items()))
    return ("list", tuple if kind == "tuple" else list, tuple(_to_key(sub) for sub in parts))


def _result_key(key: Any) -> Any:
    """What ``unflatten`` takes: a constant that is known by its text alone is that text."""
    if key[0] == "constant":
        return ("static", str, key[2])
    if key[0] == "dict":
        return ("dict", dict, tuple((k, _result_key(sub)) for k, sub in key[2]))
    if key[0] == "list":
        return ("list", key[1], tuple(map(_result_key, key[2])))
    return key


def _parts(key: Any, name: str) -> Iterator[tuple[str, str | None]]:
    """The tensors (None) and the constants (as text) of an argument, by their names."""
    if key[0] == "leaf":
        yield name, None
    elif key[0] == "dict":
        for k, sub in key[2]:
            yield from _parts(sub, f"{name}.{k}")
    elif key[0] == "list":
        for i, sub in enumerate(key[2]):
            yield from _parts(sub, f"{name}.{i}")
    elif key[0] == "object":
        yield from _parts(key[2], name)
    else:
        yield name, str(key[2]) if key[0] == "constant" else repr(key[2])


# ---- running it from Python -----------------------------------------------------------------------------------------


class Deployed:
    """A compiled folder, called as the function that it was made of, without the arguments that are embedded.

    Arguments have the function's order, names and defaults. One that is no tensor is a constant of the compiled model:
    it may be left out, and where it is given it has to be what was compiled.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.path, self.manifest = folder, manifest
        self.name: str = manifest["name"]
        self.inputs: list[str] = [i["name"] for i in manifest["inputs"]]
        self.outputs: list[str] = [o["name"] for o in manifest["outputs"]]
        self._arguments = [(a["name"], _to_key(a["tree"])) for a in manifest["arguments"]]
        self._kinds = {a["name"]: a.get("kind", "") for a in manifest["arguments"]}
        self._defaults = {a["name"]: a["default"] for a in manifest["arguments"] if "default" in a}
        self._results = _result_key(_to_key(manifest["results"]))
        self.program = _core.load(os.fspath(folder / f"{self.name}.so"), self.name)
        self._call = _core.Callable(self.program, 0, self.inputs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        values = self._bind(args, kwargs)
        tensors: dict[str, Any] = {}
        for n, key in self._arguments:
            if n in values:
                tensors |= self._take(n, key, values[n])
            elif key[0] not in ("static", "constant"):
                raise ArgumentTypeError(f"{self.name}: argument '{n}' is missing", "E_ARGUMENTS")
        out = self._call(*(tensors[n] for n in self.inputs))
        return unflatten(self._results, iter(out if isinstance(out, tuple) else (out,)))

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """What is given, by the names of the arguments."""
        kinds = self._kinds
        order = [n for n in kinds if kinds[n] in ("", "positional_only")]
        rest = next((n for n in kinds if kinds[n] == "var_positional"), None)
        more = next((n for n in kinds if kinds[n] == "var_keyword"), None)
        if len(args) > len(order) and rest is None:
            text = f"{self.name}: wanted {len(order)} argument{'s'[: len(order) != 1]}, found {len(args)}"
            raise ArgumentTypeError(text + (f" (there are {', '.join(order)})" if order else ""), "E_ARGUMENTS")
        values: dict[str, Any] = dict(zip(order, args))
        if rest is not None:
            values[rest] = args[len(order) :]
        named: dict[str, Any] = {}
        for k, value in kwargs.items():
            if k in kinds and kinds[k] in ("", "keyword_only"):
                if k in values:
                    raise ArgumentTypeError(f"{self.name}: '{k}' is given twice", "E_ARGUMENTS")
                values[k] = value
            elif more is not None:
                named[k] = value
            else:
                what = "is embedded in the model" if k in self.manifest.get("embedded", ()) else "is no argument"
                raise ArgumentTypeError(f"{self.name}: '{k}' {what}", "E_ARGUMENTS")
        if more is not None:
            values[more] = named
        return {**self._defaults, **values}

    def _take(self, name: str, key: Any, value: Any) -> dict[str, Any]:
        """The tensors of one argument; its constants are held against those that were compiled."""
        if is_numpy_number(value):
            value = value.item()
        if key[0] == "leaf":
            return {name: value}
        found: list[tuple[str, Any]] = []
        given = dict(_parts(flatten(value, name, found), name))
        tensors = dict(found)
        wanted = dict(_parts(key, name))
        for n, constant in wanted.items():
            if constant is None and n not in tensors:
                raise ArgumentTypeError(f"{self.name}: argument '{n}' is missing", "E_ARGUMENTS")
            if constant is not None and given.get(n, constant) != constant:
                raise ArgumentValueError(
                    f"{self.name}: argument '{n}' is a constant of the compiled model: wanted {constant}, found"
                    f" {type(tensors[n]).__name__ if n in tensors else given[n]}",
                    "E_ARGUMENTS",
                )
        extra = [n for n in given if n not in wanted]
        if extra:
            raise ArgumentTypeError(f"{self.name}: argument '{extra[0]}' is not in the compiled model", "E_ARGUMENTS")
        return tensors

    def __repr__(self) -> str:
        def text(t: dict[str, Any]) -> str:
            return f"{t['name']}: {t['dtype']}[{', '.join(map(str, t['shape']))}]"

        m = self.manifest
        return f"{self.name}({', '.join(map(text, m['inputs']))}) -> ({', '.join(map(text, m['outputs']))})"


def _read_manifest(folder: Path, missing: bool = False) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ValueError(f"format {manifest.get('format') if isinstance(manifest, dict) else None}")
    except FileNotFoundError:
        if missing:
            return {}
        raise
    except ValueError as error:
        if missing:
            return {}
        raise GraphValueError(f"aot.load: '{folder / MANIFEST}' is no manifest of this version: {error}") from None
    return manifest


def load(path: str | os.PathLike[str]) -> Deployed:
    """The model of a folder that ``ts.aot.compile`` wrote.

    Raises:
        OSError: there is no such folder.
        ValueError: the folder is of another version, or a file is not the one that was written.
    """
    folder = Path(path).absolute()
    manifest = _read_manifest(folder)
    so = f"{manifest['name']}.so"
    recorded = manifest["files"][so]
    if (folder / so).stat().st_size != recorded["bytes"]:
        raise GraphValueError(f"aot.load: '{folder / so}' is not the file that was written: its size differs")
    return Deployed(folder, manifest)
