"""Compiled modules see what has changed: numbers in tuples, lists, dicts and records, functions, enums, and a forward of their own."""

import dataclasses
import enum
import types

import numpy as np
import pytest
import tessera as ts


class Way(enum.Enum):
    UP = 1
    DOWN = 2


@dataclasses.dataclass
class Config:
    k: float = 2.0
    more: list = dataclasses.field(default_factory=lambda: [1.0])


class Net(ts.Module):
    def __init__(self):
        super().__init__()
        self.act = ts.ops.relu
        self.axes = (0,)
        self.cfg = {"k": 2.0, "deep": [{"by": 1.0}]}
        self.config = Config()
        self.way = Way.UP
        self.names = {"a"}
        self._private = [1.0]
        self.bias = None
        self.layers = [{"w": ts.ones(4, device="cpu"), "scale": 1.0}]

    def forward(self, x):
        y = ts.sum(self.act(x), self.axes) * self.cfg["k"] * self.config.k * self.config.more[0] * self.cfg["deep"][0]["by"]
        y = y * self._private[0] * (2.0 if "b" in self.names else 1.0) * self.layers[0]["scale"]
        return -y if self.way is Way.DOWN else y


def x():
    return np.arange(-8, 8, dtype=np.float32).reshape(4, 4)


CHANGES = {
    "tuple": lambda m: setattr(m, "axes", (1,)),
    "dict": lambda m: setattr(m, "cfg", {**m.cfg, "k": 5.0}),
    "in a dict": lambda m: m.cfg.update(k=5.0),
    "deep": lambda m: m.cfg["deep"][0].update(by=3.0),
    "function": lambda m: setattr(m, "act", ts.ops.neg),
    "enum": lambda m: setattr(m, "way", Way.DOWN),
    "record": lambda m: setattr(m, "config", Config(3.0)),
    "in a record": lambda m: setattr(m.config, "k", 3.0),
    "in a list of a record": lambda m: m.config.more.__setitem__(0, 3.0),
    "set": lambda m: m.names.add("b"),
    "private": lambda m: m._private.__setitem__(0, 7.0),
    "beside a tensor": lambda m: m.layers[0].update(scale=2.0),
    "int for float": lambda m: m.cfg.update(k=0.5),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(change):
    f = ts.function(lambda m, x: m(x))
    for call in (ts.jit, lambda m: lambda x: f(m, x), lambda m: lambda x: f(x=x, m=m)):
        m = Net()
        compiled = call(m)
        before = np.asarray(compiled(x()))
        np.testing.assert_allclose(before, np.asarray(m(x())))
        CHANGES[change](m)
        after = np.asarray(m(x()))
        assert after.tolist() != before.tolist()
        np.testing.assert_allclose(np.asarray(compiled(x())), after)


def test_inside_jax_a_change_is_seen():
    jax = pytest.importorskip("jax")
    from tessera.jax import wrap

    m = Net()
    compiled, wrapped = ts.jit(m), wrap(m)
    for value in (2.0, 5.0):
        m.cfg["k"] = value
        want = np.asarray(m(x()))
        np.testing.assert_allclose(jax.jit(lambda x: compiled(x))(x()), want)
        np.testing.assert_allclose(wrapped(jax.numpy.asarray(x())), want)


def test_a_child_and_its_lists():
    class Outer(ts.Module):
        def __init__(self):
            super().__init__()
            self.nets = [Net(), Net()]

        def forward(self, x):
            return self.nets[0](x) + self.nets[1](x)

    m = Outer()
    f = ts.jit(m)
    f(x())
    m.nets[1].cfg["k"] = 4.0
    np.testing.assert_allclose(np.asarray(f(x())), np.asarray(m(x())))


def test_equal_values_are_one_trace():
    m = Net()
    f = ts.jit(m)
    f(x())
    m.cfg = {"k": 2.0, "deep": [{"by": 1.0}]}
    m.config = Config()
    f(x())
    m.cfg["k"] = 3.0
    f(x())
    m.cfg["k"] = 2.0
    f(x())
    assert len(f.function._variants) == 2


def test_what_the_trace_changes_stays_there():
    class Counts(ts.Module):
        def __init__(self):
            super().__init__()
            self.seen = {"n": 0}

        def forward(self, x):
            self.seen["n"] += 1
            return x * self.seen["n"]

    m = Counts()
    f = ts.jit(m)
    for _ in range(3):
        np.testing.assert_array_equal(f(x()), x())
    assert m.seen == {"n": 0} and len(f.function._variants) == 1


def test_a_forward_of_its_own(tmp_path):
    m = Net()
    m.w = ts.ones(4, device="cpu")
    f = ts.jit(m)
    f(x())

    def plain(x: ts.Tensor["B", 4, ts.f32], by: float = 3.0):
        return x * by

    m.forward = plain
    for n in (2, 3):
        np.testing.assert_array_equal(f(x()[:n]), x()[:n] * 3)
        np.testing.assert_array_equal(f(x()[:n], by=2.0), x()[:n] * 2)
    assert len(f.function._variants) == 1
    m.forward = types.MethodType(lambda self, x: x * self.w, m)
    np.testing.assert_array_equal(f(x()), x())
    m.w = ts.ones(4, device="cpu") * 2.0
    np.testing.assert_array_equal(f(x()), x() * 2)
    assert len(f.function._variants) == 1 and "module.w" in f.tg(x())
    deployed = ts.aot.compile(m, [x()], tmp_path / "own", [], quiet=True)
    np.testing.assert_array_equal(deployed(x()), x() * 2)
    del m.forward
    np.testing.assert_allclose(np.asarray(f(x())), np.asarray(m(x())))


def test_objects_by_identity_are_held():
    class Thing:
        def __init__(self, k):
            self.k = k

        __hash__ = None

    class Model(ts.Module):
        def __init__(self):
            super().__init__()
            self.thing, self._loop = Thing(2.0), []
            self._loop.append(self._loop)

        def forward(self, x):
            return x * self.thing.k

    m = Model()
    f = ts.jit(m)
    for k in (2.0, 3.0, 4.0):
        m.thing = Thing(k)
        np.testing.assert_array_equal(f(x()), x() * k)
