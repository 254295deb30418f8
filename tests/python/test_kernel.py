"""Kernels that are wrong: errors at the line of the program."""

import inspect

import pytest

import tessera as ts


def line_of(fn, text):
    lines, first = inspect.getsourcelines(fn)
    return first + next(i for i, l in enumerate(lines) if text in l)


def refused(fn, where, match, kind=TypeError):
    """The kernel of fn raises, naming the line in which `where` stands."""
    with pytest.raises(kind, match=match) as e:
        ts.kernel(fn).check()
    notes = "\n".join(getattr(e.value, "__notes__", []))
    assert f"line {line_of(fn, where)}," in notes and __file__ in notes, notes


def copy(X: ts.Tile["N", "M", ts.f32], Y: ts.Tile["N", "M", ts.f32], factor: float):
    for i in ts.tile.range(X.shape[0], step=64):
        ts.tile.store(Y[i : i + 64], ts.tile.load(X[i : i + 64]) * factor)


def test_a_kernel_is_checked():
    ts.kernel(copy).check()
    assert ts.kernel(copy).results == ["Y"] and ts.kernel(copy).inputs == ["X", "factor"]


def test_while():
    def k(X: ts.Tile["N", ts.f32], Y: ts.Tile["N", ts.f32]):
        while True:
            pass

    refused(k, "while", "while has no meaning in a kernel")


def test_python_range():
    def k(X: ts.Tile["N", ts.f32], Y: ts.Tile["N", ts.f32]):
        for i in range(4):
            ts.tile.store(Y[i], ts.tile.load(X[i]))

    refused(k, "in range", "ts.tile.range")


def test_nothing_is_stored():
    def k(X: ts.Tile["N", ts.f32]):
        x = ts.tile.load(X)  # noqa: F841

    refused(k, "def k", "nothing is stored")


def test_store_into_a_tile():
    def k(X: ts.Tile["N", ts.f32], Y: ts.Tile["N", ts.f32]):
        x = ts.tile.alloc_shared(64, dtype=ts.f32)
        ts.tile.store(x, ts.tile.load(X))

    refused(k, "ts.tile.store(x", "ts.tile.store writes a ts.Tile parameter")


def test_an_unknown_name():
    def k(X: ts.Tile["N", ts.f32], Y: ts.Tile["N", ts.f32]):
        ts.tile.store(Y, ts.tile.load(X) + nowhere)  # noqa: F821

    refused(k, "nowhere", "nowhere")


def test_a_function_that_is_no_operator():
    def k(X: ts.Tile["N", ts.f32], Y: ts.Tile["N", ts.f32]):
        ts.tile.store(Y, inspect.cleandoc(ts.tile.load(X)))

    refused(k, "cleandoc", "neither a word of ts.tile nor an operator")


def test_a_parameter_is_assigned():
    def k(X: ts.Tile["N", ts.f32], Y: ts.Tile["N", ts.f32]):
        Y = ts.tile.load(X)  # noqa: F841

    refused(k, "Y = ts", "is a parameter of the kernel")


def test_no_annotation():
    def k(X, Y: ts.Tile["N", ts.f32]):
        ts.tile.store(Y, ts.tile.load(X))

    refused(k, "def k", "parameter 'X'")


def test_tiles_that_do_not_fit():
    def k(X: ts.Tile["N", "M", ts.f32], Y: ts.Tile["N", "M", ts.f32]):
        for i in ts.tile.range(X.shape[0], step=64):
            x = ts.tile.load(X[i : i + 64])
            ts.tile.store(Y[i : i + 64], x @ x)

    refused(k, "x @ x", "sizes", (TypeError, ValueError))


def test_a_slice_that_is_no_tile():
    def k(X: ts.Tile["N", ts.f32], Y: ts.Tile["N", ts.f32]):
        for i in ts.tile.range(X.shape[0], step=64):
            ts.tile.store(Y[i : i + 64], ts.tile.load(X[i : i + 32]))

    refused(k, "i + 32", "tiles along i have 64 elements", (TypeError, ValueError))


def test_shared_memory_beyond_every_gpu():
    def k(X: ts.Tile["N", "M", ts.f32], Y: ts.Tile["N", "M", ts.f32]):
        for i in ts.tile.range(X.shape[0], step=1024):
            big = ts.tile.alloc_shared(1024, 4096, dtype=ts.f32)
            ts.tile.load_async(big, X[i : i + 1024])
            ts.tile.store(Y[i : i + 1024], big)

    refused(k, "alloc_shared", "shared memory")


def test_words_outside_of_kernels():
    with pytest.raises(TypeError, match="tessera.kernel"):
        ts.tile.barrier()


def test_calls():
    x = ts.randn(70, 9, dtype=ts.f32)
    k = ts.jit(copy_kernel)
    assert k(x, 2.0).tolist() == (x * 2.0).tolist()
    with pytest.raises(TypeError, match="'factor' is missing"):
        k(x)
    with pytest.raises(TypeError, match="no argument named 'facto'"):
        k(x, facto=2.0)
    with pytest.raises(TypeError, match="argument 'factor': wanted a number, found str"):
        k(x, "2")
    with pytest.raises(TypeError, match="'X'"):
        k(x.to(ts.bf16), 2.0)
    with pytest.raises(ValueError, match="'Y'"):
        k(x, ts.randn(3, 3, dtype=ts.f32), 2.0)


copy_kernel = ts.kernel(copy)
