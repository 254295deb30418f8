"""The transformer layer of SPEC S2 and the block of SPEC S25 (PyTorch's MultiheadAttention and Linear layers) from examples/transformer/, without the line
`tessera 1` and tests. The bench and the GPU suite (tests/device/) use them."""
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "transformer"


def text_of(name):
    return (FOLDER / (name + ".tg")).read_text().removeprefix("tessera 1\n").partition("\ntest ")[0]


LAYER, BLOCK = text_of("layer"), text_of("block")
