"""Train a small network on handwritten digits: NumPy alone, seeded, a few seconds.

The data is the digits set inside scikit-learn: 1797 images of 8 x 8 pixels. 1437 train, 360 are held out. Writes into DIR the weights
(digits.safetensors), the held-out images (x.npy) and their digits (want.npy).
Usage: train.py DIR
"""

import importlib.util
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file

SIZES = [64, 128, 64, 10]
NAMES = ["hidden.0", "hidden.1", "scores"]
HELD_OUT = 360


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Images f32[1797, 64] with pixels of 0 to 16, and their digits, in a fixed shuffled order."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("train: the package scikit-learn, which holds the images, is not installed; run scripts/setup.sh test")
    rows = np.loadtxt(pathlib.Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    return rows[:, :64].astype(np.float32), rows[:, 64].astype(np.int64)


def forward(weights: list[np.ndarray], x: np.ndarray) -> list[np.ndarray]:
    """Every layer's output; the last are the scores."""
    layers = [x / 16 - 0.5]
    for i in range(0, len(weights), 2):
        y = layers[-1] @ weights[i].T + weights[i + 1]
        layers.append(np.maximum(y, 0) if i + 2 < len(weights) else y)
    return layers


def gradients(weights: list[np.ndarray], x: np.ndarray, digit: np.ndarray) -> list[np.ndarray]:
    """Of the mean cross-entropy, by hand: back through the layers."""
    layers = forward(weights, x)
    e = np.exp(layers[-1] - layers[-1].max(1, keepdims=True))
    d = e / e.sum(1, keepdims=True)
    d[np.arange(len(x)), digit] -= 1
    d /= len(x)
    found = []
    for i in reversed(range(0, len(weights), 2)):
        found[:0] = [d.T @ layers[i // 2], d.sum(0)]
        d = (d @ weights[i]) * (layers[i // 2] > 0)
    return found


def train(x: np.ndarray, digit: np.ndarray, epochs: int = 40, batch: int = 32) -> list[np.ndarray]:
    """Adam with a falling step, from He's initial weights."""
    rng = np.random.default_rng(1)
    weights = []
    for fan_in, fan_out in zip(SIZES, SIZES[1:]):
        weights += [rng.normal(0, (2 / fan_in) ** 0.5, (fan_out, fan_in)).astype(np.float32), np.zeros(fan_out, np.float32)]
    m, v, step = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights], 0
    for epoch in range(epochs):
        order = rng.permutation(len(x))
        for rows in np.split(order, range(batch, len(x), batch)):
            step += 1
            rate = 2e-3 * (1 - epoch / epochs) / (1 - 0.9**step) * (1 - 0.999**step) ** 0.5
            for w, g, a, b in zip(weights, gradients(weights, x[rows], digit[rows]), m, v):
                a += 0.1 * (g - a)
                b += 0.001 * (g * g - b)
                w -= (rate * a / (np.sqrt(b) + 1e-8)).astype(np.float32)
    return weights


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    x, digit = load_digits()
    weights = train(x[HELD_OUT:], digit[HELD_OUT:])
    accuracy = (forward(weights, x[:HELD_OUT])[-1].argmax(1) == digit[:HELD_OUT]).mean()
    print(f"trained on {len(x) - HELD_OUT} images; NumPy's accuracy on {HELD_OUT} others: {accuracy:.4f}")
    save_file({f"{n}.{k}": w for n, pair in zip(NAMES, zip(weights[::2], weights[1::2])) for k, w in zip(("weight", "bias"), pair)},
              str(folder / "digits.safetensors"))
    np.save(folder / "x.npy", x[:HELD_OUT])
    np.save(folder / "want.npy", digit[:HELD_OUT])


if __name__ == "__main__":
    main()
