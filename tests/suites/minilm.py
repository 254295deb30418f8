"""MiniLM with its published weights: the compiled artifact against PyTorch, sentence by sentence and shape by shape."""

import itertools
import random
import sys

import numpy as np

SHAPES = list(itertools.product([1, 3, 32], [1, 3, 15, 16, 17, 128, 255, 256]))
LIMIT = 2e-5  # max abs error of a unit vector's components, f32
PAIRS = [
    ("A man is eating food.", "A man is eating a piece of bread."),
    ("A man is eating food.", "The girl is carrying a baby."),
    ("A man is riding a horse.", "A man is riding a white horse on an enclosed ground."),
    ("A woman is playing violin.", "A monkey is playing drums."),
    ("The stock market fell sharply.", "Shares dropped after the announcement."),
    ("How do I reset my password?", "I cannot log in to my account."),
    ("It rained the whole day.", "The weather was wet."),
    ("Bake the cake for forty minutes.", "The train leaves at noon."),
    ("Two dogs run through the snow.", "Animals are playing outside in winter."),
    ("She bought a new car.", "He sold his old bicycle."),
]


def sentences():
    """100 varied sentences from words, numbers and punctuation, seeded."""
    rng = random.Random(20)
    words = "the a cat compiler runs fast over rain model blue why seven Paris don't naïve 東京 42 3.14 e-mail: (ok)! ... however, quickly".split()
    return [" ".join(rng.choice(words) for _ in range(1 + i % 40)) for i in range(100)]


def reference(weights, ids, mask):
    """BERT with mean pooling and normalisation, straight from PyTorch's functions."""
    import torch
    import torch.nn.functional as F

    w = weights
    ids, mask = torch.from_numpy(ids), torch.from_numpy(mask)
    batch, length = ids.shape

    def linear(x, name):
        return F.linear(x, w[name + ".weight"], w[name + ".bias"])

    def norm(x, name):
        return F.layer_norm(x, (384,), w[name + ".weight"], w[name + ".bias"], 1e-12)

    def heads(x):
        return x.view(batch, length, 12, 32).transpose(1, 2)

    e = "embeddings."
    x = w[e + "word_embeddings.weight"][ids] + w[e + "position_embeddings.weight"][:length] + w[e + "token_type_embeddings.weight"][0]
    x = norm(x, e + "LayerNorm")
    seen = (mask != 0)[:, None, None, :]
    for i in range(6):
        p = f"encoder.layer.{i}."
        q, k, v = (heads(linear(x, p + "attention.self." + n)) for n in ("query", "key", "value"))
        s = (q @ k.transpose(-1, -2) / 32**0.5).masked_fill(~seen, float("-inf"))
        a = (s.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, 384)
        h = norm(x + linear(a, p + "attention.output.dense"), p + "attention.output.LayerNorm")
        x = norm(h + linear(F.gelu(linear(h, p + "intermediate.dense")), p + "output.dense"), p + "output.LayerNorm")
    m = mask.to(x.dtype)[:, :, None]
    pooled = (x * m).sum(1) / m.sum(1).clamp(min=1e-9)
    return F.normalize(pooled, dim=-1, eps=1e-12).numpy()


def run(ctx):
    """Yields (name, ok, message)."""
    sys.path.insert(0, str(ctx.root / "examples" / "minilm"))
    sys.path.insert(0, str(ctx.root / "tests"))
    import artifact
    import quickstart
    import torch
    from safetensors.torch import load_file

    out = ctx.tmp / "minilm.so"
    quickstart.compile_model(ctx.build, out, "so")
    model = artifact.Model(out, "minilm")
    weights = load_file(str(quickstart.model_folder() / "model.safetensors"))
    torch.set_grad_enabled(False)

    def compare(name, ids, mask):
        got, want = model.run("embed", {"ids": ids, "mask": mask})["y"], reference(weights, ids, mask)
        error = float(np.abs(got - want).max()) if got.size else 0.0
        cosine = float((got * want).sum(-1).min()) if got.size else 1.0
        return name, got.shape == want.shape and error < LIMIT and cosine > 0.99999, f"max abs error {error:.2e}, cosine {cosine:.7f}"

    texts = sentences()
    worst = []
    for i in range(0, 100, 10):
        ids, mask = quickstart.tokenise(texts[i : i + 10])
        worst.append(compare("", ids, mask))
    yield "100 sentences", all(w[1] for w in worst), "; ".join(w[2] for w in worst)

    rng = np.random.default_rng(3)
    for batch, length in SHAPES:
        ids = rng.integers(1000, 30000, (batch, length))
        mask = (np.arange(length)[None, :] < rng.integers(1, length + 1, (batch, 1))).astype(np.int64)
        yield compare(f"batch {batch} length {length}", ids, mask)

    a, b = (model.run("embed", dict(zip(("ids", "mask"), quickstart.tokenise([p[i] for p in PAIRS]))))["y"] for i in (0, 1))
    c, d = (reference(weights, *quickstart.tokenise([p[i] for p in PAIRS])) for i in (0, 1))
    ours, theirs = np.argsort((a * b).sum(-1)), np.argsort((c * d).sum(-1))
    yield "ranking of 10 pairs", bool((ours == theirs).all()), f"{ours} {theirs}"

    empty = model.run("embed", {"ids": np.zeros((0, 7), np.int64), "mask": np.zeros((0, 7), np.int64)})["y"]
    yield "batch 0", empty.shape == (0, 384), str(empty.shape)
    error = model.error("embed", {"ids": np.zeros((1, 0), np.int64), "mask": np.zeros((1, 0), np.int64)})
    yield "length 0 is an error that names S", "S" in error and "0" in error, error

    ids, mask = rng.integers(1000, 30000, (64, 23)), np.ones((64, 23), np.int64)
    alone = np.concatenate([model.run("embed", {"ids": ids[i : i + 1], "mask": mask[i : i + 1]})["y"] for i in range(64)])
    ok = all(np.array_equal(model.run("embed", {"ids": ids[:n], "mask": mask[:n]})["y"], alone[:n]) for n in (1, 2, 3, 7, 16, 33, 64))
    yield "a row has the same bits in any batch", ok, "some row differs"
