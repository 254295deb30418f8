"""A process that loads a compiled model and gives its first answer, as its user would write it; bench/gpu/python.py starts it. And what makes those models.

    first.py tessera FOLDER X SHAPE Y DEVICE       the folder of ts.aot.compile; X, Y: files of elements alone; SHAPE: 1x128x4096
    first.py inductor PACKAGE X SHAPE Y DEVICE     torch._inductor.aoti_load_package, as PyTorch's documents do it
    first.py compile WEIGHTS X SHAPE Y DEVICE      torch.compile with a cache that has it
    first.py make-tessera WEIGHTS D OUT ARCH       the layer with its weights inside
    first.py make-inductor WEIGHTS SHAPE OUT DEVICE

Prints `at NANOSECONDS STEP` when a step is done, by the system's monotonic clock; the last is `answer`. Nothing is imported that a user would not import."""
import sys
import time

WEIGHTS = (("w_qkv", 3), ("w_out", 1), ("w_mlp", 4))  # columns, in sizes of D
DONE = [("process", time.monotonic_ns())]


def step(what):
    DONE.append((what, time.monotonic_ns()))


def end(path, data):
    """The elements of the answer are on the host."""
    step("answer")
    for what, at in DONE:
        print("at %d %s" % (at, what), flush=True)
    with open(path, "wb") as f:
        f.write(data)


def sizes(text):
    return [int(n) for n in text.split("x")]


def tessera(folder, x, shape, y, device):
    import tessera as ts
    from tessera import _core

    step("import tessera")
    model = ts.aot.load(folder)
    step("model loaded")
    with open(x, "rb") as f:
        given = _core.from_buffer(bytearray(f.read()), "bf16", sizes(shape)).to(device)
    step("CUDA, and the input on the GPU")
    out = model(given)
    step("started")
    end(y, out.tobytes())


def torch_input(torch, x, shape, device):
    with open(x, "rb") as f:
        return torch.frombuffer(bytearray(f.read()), dtype=torch.bfloat16).reshape(sizes(shape)).to(device)


def torch_bytes(torch, t):
    return t.cpu().contiguous().view(torch.uint8).numpy().tobytes()


def inductor(package, x, shape, y, device):
    import torch

    step("import torch")
    model = torch._inductor.aoti_load_package(package)
    step("model loaded")
    given = torch_input(torch, x, shape, device)
    step("the input on the GPU")
    out = model(given)
    step("started")
    end(y, torch_bytes(torch, out))


def layer_of(torch, weights):
    """The layer as a module of PyTorch with these weights."""
    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, w in weights.items():
                setattr(self, name, torch.nn.Parameter(w, requires_grad=False))

        def forward(self, x):
            f = torch.nn.functional
            b, s, d = x.shape
            q, k, v = (t.reshape(b, s, 16, d // 16).transpose(1, 2) for t in (x @ self.w_qkv).split(d, -1))
            o = f.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, s, d) @ self.w_out
            h = f.layer_norm(x + o, (d,))
            return h + f.gelu(h @ self.w_mlp, approximate="tanh") @ self.w_mlp.T

    return Layer()


def layer(torch, folder, d, device):
    """The same with the weights of a folder."""
    return layer_of(torch, {name: torch_input(torch, "%s/%s" % (folder, name), "%dx%d" % (d, n * d), device) for name, n in WEIGHTS})


def compile(weights, x, shape, y, device):
    import torch

    step("import torch")
    with torch.no_grad():
        model = torch.compile(layer(torch, weights, sizes(shape)[2], device), dynamic=False)
        given = torch_input(torch, x, shape, device)
        step("weights and the input on the GPU")
        out = model(given)
        step("started")
        end(y, torch_bytes(torch, out))


def make_inductor(weights, shape, out, device):
    import torch

    with torch.no_grad():
        model = layer(torch, weights, sizes(shape)[2], device)
        x = torch.randn(*sizes(shape), device=device).to(torch.bfloat16)
        torch._inductor.aoti_compile_and_package(torch.export.export(model, (x,)), package_path=out)


def transformer_layer():
    """The layer of the quick start."""
    import tessera as ts

    @ts.function
    def transformer_layer(x: ts.Tensor["B", "S", "D", ts.bf16], w_qkv: ts.Tensor["D", "3*D", ts.bf16], w_out: ts.Tensor["D", "D", ts.bf16], w_mlp: ts.Tensor["D", "4*D", ts.bf16]):
        q, k, v = ts.split(ts.nn.linear(x, w_qkv), dim=-1, sections=3)
        B, S, D = x.shape
        H = 16
        q, k, v = (t.reshape(B, S, H, D // H).transpose(1, 2) for t in (q, k, v))
        attn_out = ts.nn.flash_attention(q, k, v, causal=True).transpose(1, 2).reshape(B, S, D)
        x = ts.nn.layer_norm(x + ts.nn.linear(attn_out, w_out))
        return x + ts.nn.linear(ts.nn.gelu(ts.nn.linear(x, w_mlp)), w_mlp.transpose())

    return transformer_layer


def make_tessera(weights, d, out, arch):
    import tessera as ts
    from tessera import _core

    d = int(d)
    given = [_core.empty((1, 128, d), "bf16", "cpu")]
    for name, n in WEIGHTS:
        with open("%s/%s" % (weights, name), "rb") as f:
            given.append(_core.from_buffer(bytearray(f.read()), "bf16", (d, n * d)))
    ts.aot.compile(transformer_layer(), example_inputs=given, output_path=out, target_archs=[arch], embed=[name for name, _ in WEIGHTS], quiet=True)


if __name__ == "__main__":
    {"tessera": tessera, "inductor": inductor, "compile": compile, "make-tessera": make_tessera, "make-inductor": make_inductor}[sys.argv[1]](*sys.argv[2:])
