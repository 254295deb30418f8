"""Not enough memory on the GPU, by size and because somebody else holds it. By itself: the other parts need memory too."""
import part_bad
import torch
from part_diff import architectures

ALONE = True


def run(lab):
    torch.manual_seed(2)
    m = part_bad.Model(lab.compile("bad", part_bad.MODEL, architectures()[0].rstrip("a")))
    wrong = m.goes_on()
    yield "good-at-first", not wrong, wrong
    yield from part_bad.memory(m)
