"""Gates on the compiler as a program: static, nothing of a network library in it, runs from a package in an empty root."""
import os

PARALLEL = True


def elf_facts(ctx, path):
    headers = ctx.run(["readelf", "-lW", path])
    dynamic = ctx.run(["readelf", "-dW", path])
    yield "is-elf", headers.code == 0 and "LOAD" in headers.out, headers.err
    yield "no-interpreter", "INTERP" not in headers.out, headers.out
    yield "no-shared-library", "NEEDED" not in dynamic.out, dynamic.out
    yield "stack-is-not-executable", all("RWE" not in line for line in headers.out.splitlines() if "GNU_STACK" in line), headers.out


def network_symbols(ctx, path):
    symbols = [line.split()[-1] for line in ctx.run(["nm", path], timeout=120).out.splitlines() if line]
    found = sorted({s for s in symbols if s.startswith("curl_") or "libcurl" in s})
    yield "symbols-are-seen", "main" in symbols, "nm lists %d symbols without main" % len(symbols)
    yield "no-curl", not found and b"libcurl" not in path.read_bytes(), " ".join(found[:20]) or "the name libcurl stands in it"


def packages(ctx):
    """Made twice, the package has the same bytes; unpacked in an empty folder, tsc runs with that folder as its whole world."""
    made = []
    for n in ("a", "b"):
        env = dict(os.environ, DIST_DIR=str(ctx.tmp / n), XZ_LEVEL="0")
        result = ctx.run(["scripts/dist.sh", ctx.build, "test"], timeout=300, env=env)
        yield "package-is-made-" + n, result.code == 0, result.out + result.err
        made += (ctx.tmp / n).glob("*.tar.xz")
    if len(made) != 2:
        return
    yield "same-bytes-twice", made[0].read_bytes() == made[1].read_bytes(), "the two packages differ"

    root = ctx.tmp / "root"
    root.mkdir()
    unpacked = ctx.run(["tar", "-xJf", made[0], "-C", root])
    yield "package-unpacks", unpacked.code == 0, unpacked.err
    home = next(root.iterdir())
    inside = {str(p.relative_to(home)) for p in home.rglob("*") if p.is_file()}
    wanted = {"bin/tsc", "lib/tessera/rtlib.o", "share/doc/tessera/LICENSE"}
    wanted |= {str(p.relative_to(ctx.root)) for p in (ctx.root / "include/tessera").glob("*.h")}
    yield "package-is-complete", wanted <= inside, "missing: " + " ".join(sorted(wanted - inside))

    expected = ctx.run([ctx.tsc, "--version"]).out
    moved = ctx.run([home / "bin/tsc", "--version"], env={})
    yield "runs-unpacked", moved.code == 0 and moved.out == expected, moved.out + moved.err
    if os.geteuid() == 0:
        alone = ctx.run(["/usr/sbin/chroot", home, "/bin/tsc", "--version"], env={})
        yield "runs-in-an-empty-root", alone.code == 0 and alone.out == expected, alone.out + alone.err
    else:
        yield "runs-in-an-empty-root", None, "chroot takes root"


def run(ctx):
    yield from elf_facts(ctx, ctx.tsc)
    yield from network_symbols(ctx, ctx.tsc)
    yield from packages(ctx)
