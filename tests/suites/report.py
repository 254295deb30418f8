"""The page of `tsc explain --html`: what it holds, by a parser, and what a browser without a window makes of it, wide and narrow, with names
that are not nice."""
import json
import re
import struct
from html.parser import HTMLParser

PARALLEL = True

BROWSER = "chromium-headless-shell"
EVIL = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>\"&\u2028"
LAYER = """tessera 1
dims B
dims S <= 4096

## Four layers. </script><img src=x onerror="window.hacked=1"><!--
graph stack(x: bf16[B, S, 64], wqkv: bf16[4, 64, 192], w1: bf16[4, 64, 256], w2: bf16[4, 256, 64], g: bf16[64]) -> (y: bf16[B, S, 64]) {
  y = for i in 0..4 with h = x {
    n = rms_norm(h, g)
    q, k, v = split(n @ wqkv[i], 3)
    a = attention(reshape(q, [B, 1, S, 64]), reshape(k, [B, 1, S, 64]), reshape(v, [B, 1, S, 64]), causal = true)
    h2 = h + reshape(a, [B, S, 64])
    f = gelu(rms_norm(h2, g) @ w1[i])
    yield h2 + f @ w2[i]
  }
}
"""
WEIGHTS = """tessera 1
weights W = "w.safetensors"
dims B

graph f(x: f32[B, 2]) -> (y: f32[B, 2]) {
  y = x * W.%s
}
"""
# appended to a copy of the page: what the browser made of it, as text in the document
PROBE = """<script>
const out = document.createElement("pre");
out.id = "probe";
const root = document.documentElement, boxes = document.querySelectorAll("section");
out.textContent = JSON.stringify({
	drawn: root.dataset.drawn, hacked: window.hacked === undefined ? 0 : 1, images: document.images.length, scripts: document.scripts.length,
	requests: performance.getEntriesByType("resource").length, over: root.scrollWidth - root.clientWidth, width: root.clientWidth,
	kernels: document.querySelectorAll("details[id]").length, boxes: boxes[0].querySelectorAll("svg a").length, lines: boxes[0].querySelectorAll("svg path").length,
	bars: boxes[2].querySelectorAll("svg rect").length, points: boxes[3].querySelectorAll("svg circle").length, chosen: document.querySelectorAll("tr.chosen").length,
	background: getComputedStyle(document.body).backgroundColor, text: document.querySelector("main").textContent,
	broken: /NaN|undefined|Infinity/.test(document.querySelector("main").outerHTML),
});
document.body.append(out);
</script>"""


class Page(HTMLParser):
    """Tags and attributes, and the text of the data."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.data, self.inside = [], "", False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id") == "data"

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.data += data


def page_of(ctx, name, *words):
    """The page's text, or None with the reason."""
    path = ctx.tmp / (name + ".html")
    r = ctx.run([ctx.tsc, "explain", *words, "--html", path], cwd=ctx.tmp)
    return (path.read_text(encoding="utf-8") if not r.code else None), r


def outside(page):
    """What would be fetched."""
    at = [(tag, k, v) for tag, attrs in page.tags for k, v in attrs.items() if k in ("src", "href", "action", "srcset", "data", "poster")]
    return at + [tag for tag, _ in page.tags if tag in ("link", "iframe", "img", "object", "embed", "base")]


def browse(ctx, name, text, width, *options):
    """The probe's answer in a window of this width."""
    path = ctx.tmp / ("%s-%d.html" % (name, width))
    path.write_text(text.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    home = ctx.tmp / ("home-%s-%d" % (name, width))
    r = ctx.run(
        [BROWSER, "--no-sandbox", "--disable-gpu", "--user-data-dir=%s" % home, "--window-size=%d,900" % width, *options, "--virtual-time-budget=3000", "--dump-dom", path.as_uri()],
        timeout=120,
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', r.out, re.S)
    if not found:
        return None, "%d %s %s" % (r.code, r.out[-400:], r.err[-400:])
    text = found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\xa0").replace("&amp;", "&")
    return json.loads(text), ""


def run(ctx):
    (ctx.tmp / "m.tg").write_text(LAYER)
    evil = {"a b " + EVIL: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    head = json.dumps(evil).encode()
    (ctx.tmp / "w.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + struct.pack("<2f", 1, 2))
    (ctx.tmp / "evil.tg").write_text(WEIGHTS % json.dumps("a b " + EVIL, ensure_ascii=False), encoding="utf-8")
    pages = {
        "cpu": page_of(ctx, "cpu", "m.tg", "--dims", "B=2,S=128"),
        "sm_90": page_of(ctx, "sm_90", "m.tg", "--dims", "B=2,S=128", "--arch", "sm_90"),
        "evil": page_of(ctx, "evil", "evil.tg", "--dims", "B=3"),
    }
    for name, (text, r) in pages.items():
        yield "page/" + name, text is not None, r.err
        if text is None:
            continue
        page = Page(text)
        yield "parses/" + name, [t for t, _ in page.tags].count("script") == 2 and not outside(page), "%s" % outside(page)
        yield "no-network/" + name, not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(|fetch\(|XMLHttp", text) and "default-src 'none'" in text, "it names something outside"
        data = json.loads(page.data)
        launches = [s for s in data["list"] if "variants" in s]
        yield "facts/" + name, all(0 <= s["chosen"] < len(s["variants"]) for s in launches), "a launch has no variant"
        yield from drawn(ctx, name, text, data, launches)
    yield from compared(ctx, pages)
    yield from refused(ctx)


def drawn(ctx, name, text, data, launches):
    for width in (360, 1280):
        seen, why = browse(ctx, name, text, width)
        test = "browser/%s-%d" % (name, width)
        if not seen:
            yield test, False, why
            continue
        good = seen["drawn"] == "yes" and seen["kernels"] == seen["boxes"] == seen["chosen"] == len(launches) and not seen["broken"]
        yield test, good and seen["points"] > 0 and (seen["bars"] > 0) == (data["workspace"] > 0), str(seen)
        yield test + "/fits", seen["over"] <= 0 and seen["width"] <= width, "%d too wide" % seen["over"]
        yield test + "/safe", not seen["hacked"] and not seen["images"] and seen["scripts"] == 3 and not seen["requests"], str({k: v for k, v in seen.items() if k != "text"})
        if name == "evil":
            yield test + "/names", EVIL[:60] in seen["text"], "the weight's name is not shown as it is"
        if name != "evil":
            yield test + "/lines", seen["lines"] >= len(launches) - 3, "%d lines between %d kernels" % (seen["lines"], len(launches))
    if name == "cpu":
        light, _ = browse(ctx, "light", text, 700, "--blink-settings=preferredColorScheme=1")
        dark, _ = browse(ctx, "dark", text, 700, "--blink-settings=preferredColorScheme=0")
        sums = [sum(map(int, re.findall(r"\d+", s["background"]))) if s else -1 for s in (light, dark)]
        yield "browser/light-and-dark", sums[0] > 600 and 0 <= sums[1] < 120, str(sums)


def compared(ctx, pages):
    """The page says what `tsc explain` says."""
    for name, words in (("cpu", []), ("sm_90", ["--arch", "sm_90"])):
        if pages[name][0] is None:
            continue
        data = json.loads(Page(pages[name][0]).data)
        lines = ctx.run([ctx.tsc, "explain", "m.tg", "--dims", "B=2,S=128", *words], cwd=ctx.tmp).out.splitlines()
        told = [re.match(r"(.+?): (?:variant (.*)|one variant), kernel (\S+), (\d+) cells", x) for x in lines]
        told = [(m[1], m[2] or "", m[3], int(m[4])) for m in told if m and m[4] != "0"]
        shown = []
        for s in data["list"]:
            if "variants" in s:
                v = s["variants"][s["chosen"]]
                shown += [(s["name"], v["label"], v["kernel"], v["cells"])] * (s["turns"] if v["cells"] else 0)
        yield "as-explained/" + name, sorted(told) == sorted(shown) and told, "%s\n%s" % (told, shown)
        space = next((int(x.split()[1]) for x in lines if x.startswith("workspace: ")), None)
        top = max([b["offset"] + b["bytes"] for b in data["buffers"]], default=0)
        yield "memory/" + name, top <= data["workspace"] and (name == "cpu" or data["workspace"] == space), "%s of %s, told %s" % (top, data["workspace"], space)
        first, last = data["step"], data["step"] + data["steps"] - 1
        over = [
            (a["name"], b["name"])
            for i, a in enumerate(data["buffers"])
            for b in data["buffers"][:i]
            if a["first"] <= b["last"] and b["first"] <= a["last"] and a["offset"] < b["offset"] + b["bytes"] and b["offset"] < a["offset"] + a["bytes"] and a["bytes"] and b["bytes"]
        ]
        yield "buffers/" + name, not over and all(first <= b["first"] <= b["last"] <= last for b in data["buffers"]), str(over)
        product = next((s for s in data["list"] if s.get("text", "").count("matmul") and "[B, S, 192]" in s["text"]), None)
        want = 2 * 2 * 128 * 64 * 192
        yield "operations/" + name, product and want <= product["flops"] < want * 1.1 and product["written"] == 2 * 128 * 192 * 2, str(product)


def refused(ctx):
    for name, words, status, text in (
        ("dim-missing", ["m.tg", "--dims", "B=2", "--html", "x.html"], 1, "dim S of graph 'stack' is not given"),
        ("dim-unknown", ["m.tg", "--dims", "B=2,S=4,T=1", "--html", "x.html"], 1, "'m.tg' has no dim 'T'"),
        ("size", ["m.tg", "--dims", "B=2,S=9999", "--html", "x.html"], 1, "S cannot be 9999"),
        ("folder", ["m.tg", "--dims", "B=2,S=4", "--html", "no/x.html"], 3, "no/x.html"),
        ("arch", ["cpu.so", "--dims", "B=2,S=4", "--html", "x.html", "--arch", "sm_80"], 1, "'cpu.so' has no code for sm_80"),
        ("no-file", ["m.tg", "--dims", "B=2,S=4", "--html"], 2, "--html"),
    ):
        if name == "arch":
            ctx.run([ctx.tsc, "m.tg", "-o", "cpu.so"], cwd=ctx.tmp)
        r = ctx.run([ctx.tsc, "explain", *words], cwd=ctx.tmp)
        yield "refused/" + name, r.code == status and text in r.err and not (ctx.tmp / "x.html").exists(), "%d %s" % (r.code, r.err)
