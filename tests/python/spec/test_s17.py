"""S17: the inverse transform of the transform is the identity; the dump shows it, and the program runs."""

import subprocess

import numpy as np
import pytest

import tessera as ts
from tessera import compile as compiler


@ts.function
def there_and_back(x: ts.Tensor["B", "N", ts.complex64]) -> ts.Tensor["B", "N", ts.complex64]:
    return ts.ops.ifft(ts.ops.fft(x))


def test_folded_program_runs():
    x = (np.random.default_rng(17).standard_normal((3, 8, 2)).astype(np.float32) @ [1, 1j]).astype(np.complex64)
    y = there_and_back(ts.as_tensor(x))
    assert np.array_equal(np.asarray(y), x)


def test_dump_shows_it(tmp_path):
    text = there_and_back.tg()
    assert "ifft(" in text
    (tmp_path / "m.tg").write_text(text)
    dump = subprocess.run([compiler.tsc_path(), tmp_path / "m.tg", "--emit", "graph"], capture_output=True, text=True, check=True).stdout
    assert "fft" not in dump


def test_unfolded_one_is_refused():
    @ts.function
    def spectrum(x: ts.Tensor["N", 8, ts.complex64]) -> ts.Tensor["N", 8, ts.complex64]:
        return ts.ops.fft(x)  # the line that the error names

    x = ts.as_tensor(np.zeros((2, 8), np.complex64))
    with pytest.raises(ts.CompileError, match="fft has no CPU kernel") as e:
        spectrum(x)
    line = next(i for i, t in enumerate(open(__file__), 1) if "the line that the error names" in t)
    assert f"{__file__}, line {line}" in str(e.value) and e.value.code == "E_NO_SCHEDULE" and e.value.diagnostics
