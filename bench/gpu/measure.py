"""What bench/gpu/models.py measures with: pairs timed by turns, what the card can do at most, results that a later run goes on from.

    begin(tsc, seconds)              once; reads the results of this machine and day
    alternate(ours, peer, seconds)   a pair to be timed; nothing runs yet
    report(class, what, ...)         times it, unless a result of the same code is there, and prints and keeps the row
    keep(class, what, unit, ours, …) prints and keeps a figure that has a limit, or none; kept(class, what, code) is one of a former run
    finish()                         the table, ratios first; the exit status

A row of report holds the ratio peer / ours three times. Hot: by turns in short blocks (driver.alternate). Cold: single calls, the second-level cache
flushed before each. Throttled: each side alone, back to back until the card's power limit has settled it.

Results lie in bench/results/gpu-MACHINE-DATE.json. A row belongs to the artifact it timed, by hash, and to the versions of PyTorch and driver: others
are refused and measured again. Rows of classes that this run does not ask for stand if the compiler is still the same file."""
import datetime
import hashlib
import json
import math
import os
import re
import sys
from pathlib import Path

import artifact
import driver
import torch

FOLDER = Path(os.environ.get("RESULTS", Path(__file__).resolve().parents[1] / "results"))
COLD_RUNS = 9
KEEPS = ("class", "what", "unit", "ratio", "ours_ms", "peer_ms", "rate", "of_ceiling", "cold_ratio", "cold_ms", "throttled_ratio", "throttled_rate", "error",
         "right", "seconds", "code", "tsc", "host")
LIMIT_KEEPS = ("class", "what", "unit", "ours", "peer", "limit", "kept", "detail", "code", "tsc", "host")


class State:
    rows, old, done, wrong, broken = {}, {}, set(), [], []
    path, tsc, host, seconds, ceilings, code = None, "", "", 0.5, {}, ""  # of this run; code: hash of the artifacts bound last


def sha(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()[:24]


def median(values):
    return sorted(values)[len(values) // 2]


def events(f):
    a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    a.record()
    f()
    b.record()
    return a, b


class Pair:
    """Two calls to be timed against each other. As (ours, peer, ratio) it times them hot."""

    def __init__(self, ours, peer, seconds):
        self.ours, self.peer, self.seconds, self.hot = ours, peer, seconds, None

    def __iter__(self):
        if self.hot is None:
            self.hot = driver.alternate(self.ours, self.peer, self.seconds)
        return iter(self.hot)

    def cold(self):
        """Milliseconds of each side with nothing of its data in the second-level cache."""
        size = torch.cuda.get_device_properties(0).L2_cache_size
        flush = torch.empty(max(4 * size, 128 << 20), dtype=torch.uint8, device="cuda")
        times = ([], [])
        for _ in range(COLD_RUNS):
            for side, f in zip(times, (self.ours, self.peer)):
                flush.zero_()
                side.append(events(f))
        torch.cuda.synchronize()
        return [median([a.elapsed_time(b) for a, b in side]) for side in times]

    def throttled(self, seconds):
        """Milliseconds of each side after it alone has kept the card busy: the second half of `seconds`, twice by turns."""
        times = ([], [])
        once = max(sum(self) - self.hot[2], 1e-3) / 2
        block = max(1, min(200, int(20 / once)))
        for _ in range(2):
            for side, f in zip(times, (self.ours, self.peer)):
                spent, kept = 0.0, []
                while spent < seconds * 1e3:
                    a, b = events(lambda: [f() for _ in range(block)])
                    torch.cuda.synchronize()
                    kept.append(a.elapsed_time(b) / block)
                    spent += kept[-1] * block
                side.extend(kept[len(kept) // 2:])
        return [median(side) for side in times]


def alternate(ours, peer, seconds=0.5):
    return Pair(ours, peer, seconds)


def ceilings():
    """What this card does at most, now: bytes copied (read and written) and bytes read in GB/s, and cuBLAS on 8192 cubed bf16 in TFLOP/s."""
    x = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    y = torch.empty_like(x)
    x.zero_()
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.float32).to(torch.bfloat16) for _ in range(2))
    c = torch.empty_like(a)
    copy, product, _ = driver.alternate(lambda: y.copy_(x), lambda: torch.matmul(a, b, out=c), 0.5)
    words = x.view(torch.float32)
    read = driver.alternate(lambda: words.sum(), lambda: words.sum(), 0.1)[0]
    return {"GB/s": 2e-6 * (1 << 30) / copy, "GB/s read": 1e-6 * (1 << 30) / read, "TFLOP/s": 2e-9 * 8192 ** 3 / product}


def begin(tsc, seconds):
    if not torch.cuda.is_available():
        sys.exit("bench: PyTorch sees no GPU on this machine")
    s = State
    name = torch.cuda.get_device_name(0)
    s.tsc, s.seconds = sha(tsc), seconds
    s.host = "%s, torch %s, CUDA %s, driver %s" % (name, torch.__version__, torch.version.cuda, driver.version())
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    s.path = FOLDER / ("gpu-%s-%s.json" % (slug, datetime.date.today().isoformat()))
    try:
        s.old = {(r["class"], r["what"]): r for r in json.loads(s.path.read_text())["rows"]}
    except (OSError, ValueError, KeyError, TypeError):
        s.old = {}
    s.ceilings = ceilings()
    print("%s\ncopy %.0f GB/s, cuBLAS 8192^3 bf16 %.0f TFLOP/s; results in %s" % (s.host, s.ceilings["GB/s"], s.ceilings["TFLOP/s"], s.path), flush=True)


def save():
    """The file as a whole: rows of this run, and older ones of the same compiler that this run has not come to."""
    s = State
    others = {k: r for k, r in s.old.items() if k not in s.rows and r.get("tsc") == s.tsc and r.get("host") == s.host}
    rows = list(s.rows.values()) + list(others.values())
    s.path.parent.mkdir(parents=True, exist_ok=True)
    aside = s.path.with_suffix(".part")
    aside.write_text(json.dumps({"host": s.host, "ceilings": s.ceilings, "rows": rows}, indent=1) + "\n")
    aside.replace(s.path)


def standing(key, seconds):
    """The row of a former run, if it timed this very code, as long."""
    r = State.old.get(key)
    good = r and r.get("code") == State.code and r.get("host") == State.host and r.get("seconds", 0) >= seconds and all(k in r for k in KEEPS)
    return r if good else None


def error_of(got, want):
    got, want = got.double(), want.double()
    return ((got - want).norm() / want.norm().clamp_min(1e-300)).item()


def report(cls, what, got, want, bound, timed=None, unit="TFLOP/s", amount=0.0):
    """amount: 1e-9 operations or 1e-6 bytes. want: what got should be, in float64."""
    s = State
    s.code = "+".join(sorted(artifact.BOUND)) or s.code
    artifact.BOUND.clear()
    err = error_of(got, want)
    right = err < bound  # false for NaN too
    row = {"class": cls, "what": what, "error": err, "right": right}
    if not right:
        s.wrong.append("%s %s" % (cls, what))
    if timed is None:
        print("%-10s %-38s error %.1e%s" % (cls, what, err, "" if right else "  WRONG"), flush=True)
        return
    pair = timed if isinstance(timed, Pair) else None
    old = standing((cls, what), pair.seconds) if pair else None
    if old:
        row = dict(old, error=err, right=right, tsc=s.tsc)
    else:
        ours, peer, ratio = timed
        row.update(unit=unit, ratio=ratio, ours_ms=ours, peer_ms=peer, rate=amount / ours, of_ceiling=amount / ours / s.ceilings[unit], seconds=pair.seconds if pair else s.seconds,
                   code=s.code, tsc=s.tsc, host=s.host, cold_ratio=None, cold_ms=None, throttled_ratio=None, throttled_rate=None)
        if pair:
            cold = pair.cold()
            row.update(cold_ratio=cold[1] / cold[0], cold_ms=cold[0])
            if unit == "TFLOP/s" and ours > 0.1:
                slow = pair.throttled(max(0.5, pair.seconds))
                row.update(throttled_ratio=slow[1] / slow[0], throttled_rate=amount / slow[0])
    s.rows[cls, what] = row
    print(line(row) + (" (as measured before)" if old else ""), flush=True)
    save()


def kept(cls, what, code):
    """The row of a former run that measured this very code, which then stands: said again; None where there is none."""
    s = State
    r = s.old.get((cls, what))
    if not (r and r.get("code") == code and r.get("host") == s.host and all(k in r for k in LIMIT_KEEPS)):
        return None
    s.rows[cls, what] = dict(r, tsc=s.tsc)
    print(limit_line(r) + " (as measured before)", flush=True)
    save()
    return r


def keep(cls, what, unit, ours, peer=None, limit=None, at_least=False, detail="", code=""):
    """A figure that has a limit, or none: at most that, or at least."""
    s = State
    good = None if limit is None else bool(ours >= limit if at_least else ours <= limit)  # false for NaN too
    s.rows[cls, what] = {"class": cls, "what": what, "unit": unit, "ours": ours, "peer": peer, "limit": limit, "at_least": at_least, "kept": good, "detail": detail,
                         "code": code, "tsc": s.tsc, "host": s.host}
    print(limit_line(s.rows[cls, what]), flush=True)
    save()


def limit_line(r):
    text = "%-12s %-52s %9.2f %-3s" % (r["class"], r["what"], r["ours"], r["unit"])
    text += " (peer %.2f)" % r["peer"] if r["peer"] is not None else ""
    text += "   at %s %.2f: %s" % ("least" if r.get("at_least") else "most", r["limit"], "yes" if r["kept"] else "NO") if r["limit"] is not None else ""
    return text + ("   " + r["detail"] if r["detail"] else "")


def wrong(what):
    """An answer that is not what it should be."""
    State.wrong.append(what)
    print("%s  WRONG" % what, flush=True)


def number(form, value):
    return form % value if value is not None else "-"


def line(r):
    return "%-10s %-38s ratio %.3f  cold %5s  throttled %5s  %3.0f %% of the ceiling  %9.4f ms  %6.0f %-7s error %.0e%s" % (
        r["class"], r["what"], r["ratio"], number("%.3f", r["cold_ratio"]), number("%.3f", r["throttled_ratio"]), 100 * r["of_ceiling"], r["ours_ms"], r["rate"], r["unit"],
        r["error"], "" if r["right"] else "  WRONG")


def failed(cls, e):
    State.broken.append(cls)
    print("%s: FAILED: %s: %s" % (cls, type(e).__name__, str(e)[:300]), flush=True)


def finish():
    s = State
    others = {k: r for k, r in s.old.items() if k not in s.rows and r.get("tsc") == s.tsc and r.get("host") == s.host}
    refused = len([k for k in s.old if k not in s.rows]) - len(others)
    all_rows = list(others.values()) + list(s.rows.values())
    rows = [r for r in all_rows if "rate" in r]
    print("\nRatios, peer / ours, above 1 where Tessera is faster: geometric mean (lowest) hot, cold, throttled; the median of the ceiling's share")
    for cls in dict.fromkeys(r["class"] for r in rows):
        mine = [r for r in rows if r["class"] == cls]
        text = "%-10s %3d rows" % (cls, len(mine))
        for k in ("ratio", "cold_ratio", "throttled_ratio"):
            v = [r[k] for r in mine if r[k]]
            text += "   %.3f (%.3f)" % (math.exp(sum(map(math.log, v)) / len(v)), min(v)) if v else "        -      "
        print(text + "   %3.0f %%" % (100 * median([r["of_ceiling"] for r in mine])))
    if refused:
        print("%d rows of other code refused" % refused)
    save()
    for what in s.wrong:
        print("WRONG: " + what)
    over = [r for r in all_rows if r.get("kept") is False]
    for r in over:
        print("limit not kept: %s %s" % (r["class"], r["what"]))
    print("%d rows, %d wrong, %d classes failed" % (len(all_rows), len(s.wrong), len(s.broken)), flush=True)
    return 1 if s.wrong or s.broken or over or not all_rows else 0
