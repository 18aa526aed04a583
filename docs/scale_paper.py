"""Prints the table of docs/scale.md, section "A billion tokens": what the main jobs cost on models of published sizes, on paper.

Run it: `python docs/scale_paper.py`. Everything is arithmetic on what stands here; nothing is measured by it.

- forward, a token: 2 FLOP for every weight of the blocks, and 2 x layers x context x width for attention (causal: half of the context on
  average); backward to the inputs the same again (weights carry no gradient). Only asked rows are unembedded, which is left out.
- HBM: the weights once a batch of 16,384 tokens, and each layer's activations written and read once.
- link: the residual at every border between devices, and the share of what is captured that lies on other devices than the first.
- stored: bfloat16 for activations, 4 KB a unit for records (docs/scale.md), a float32 a unit for scores.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

RATE = 0.4 * 989e12  # FLOP/s: of an H200's dense bfloat16 peak the share that integrated gradients reached in docs/performance.md
HBM, LINK, DISK = 4.8e12, 450e9, 5e9  # bytes/s: H200 memory; NVLink, one way; one NVMe drive
MEMORY = 0.8 * 141e9  # bytes of one H200 that weights may take
BUDGET, BYTES = 16_384, 2  # tokens a batch; bytes of a bfloat16
TOKENS, TEXT, WORD = 1e9, 1_024, 1.3  # the corpus, tokens a text, tokens a word
STEPS, PAIRS, PROMPT, TEXTS, SHORT = 32, 1_000, 20, 10_000, 32
SUITE = (406_264 / 200, 21_832 / 200)  # forwards and backwards a text, 10 methods x 8 metrics, docs/performance.md


@dataclass(frozen=True)
class Size:
    """A published configuration (config.json of the checkpoint)."""

    name: str
    layers: int
    width: int
    heads: int
    kv: int
    hidden: int
    vocabulary: int

    @property
    def block(self) -> int:
        """Weights of one layer: queries and output, keys and values, three matrices of the feed-forward part, two norms."""
        shared = 2 * self.width * self.kv * (self.width // self.heads)
        return 2 * self.width**2 + shared + 3 * self.width * self.hidden + 2 * self.width

    @property
    def weights(self) -> int:
        """All weights: the layers, two tables of the vocabulary (untied), the last norm."""
        return self.layers * self.block + 2 * self.vocabulary * self.width + self.width

    @property
    def devices(self) -> int:
        """H200s that hold the weights in bfloat16."""
        return ceil(BYTES * self.weights / MEMORY)

    def flop(self, context: int) -> float:
        """FLOP of one token's forward pass."""
        return 2.0 * self.layers * self.block + 2.0 * self.layers * context * self.width

    @property
    def traffic(self) -> float:
        """HBM bytes of one token's forward pass."""
        inner = 2 * BYTES * self.layers * (6 * self.width + 3 * self.hidden)
        return BYTES * self.weights / BUDGET + inner


@dataclass(frozen=True)
class Load:
    """What a job asks: tokens forward and backward, tokens a text, bytes captured, stored on disk, read from disk, FLOP beside."""

    forward: float
    backward: float = 0.0
    context: int = TEXT
    captured: float = 0.0
    stored: float = 0.0
    read: float = 0.0
    beside: float = 0.0


SIZES = (
    Size("Llama-2-7B", 32, 4_096, 32, 32, 11_008, 32_000),
    Size("Llama-3-8B", 32, 4_096, 32, 8, 14_336, 128_256),
    Size("Llama-3-70B", 80, 8_192, 64, 8, 28_672, 128_256),
    Size("Llama-3.1-405B", 126, 16_384, 128, 8, 53_248, 128_256),
)


def one_layer(m: Size) -> Load:
    """T tokens; T x d stored."""
    whole = TOKENS * m.width * BYTES
    return Load(TOKENS, captured=whole, stored=whole)


def all_layers(m: Size) -> Load:
    """T tokens; T x (L + 1) x d stored."""
    whole = TOKENS * (m.layers + 1) * m.width * BYTES
    return Load(TOKENS, captured=whole, stored=whole)


def records(m: Size) -> Load:
    """T tokens; T x L x h captured and reduced; L x h x 4 KB stored."""
    return Load(TOKENS, captured=TOKENS * m.layers * m.hidden * BYTES, stored=m.layers * m.hidden * 4_096)


def features(m: Size) -> Load:
    """T tokens; T x d stored, read once an epoch; 12 x d x 32 d FLOP a token for a dictionary of 32 d features."""
    whole = TOKENS * m.width * BYTES
    return Load(TOKENS, captured=whole, stored=whole, read=whole, beside=12 * m.width * 32 * m.width * TOKENS)


def integrated(m: Size) -> Load:
    """T x (n + 2) tokens forward, T x n backward, n = 32; a score a token stored."""
    return Load(TOKENS * (STEPS + 2), TOKENS * STEPS, stored=4 * TOKENS)


def occlusion(m: Size) -> Load:
    """T x w / 2 tokens, w words a text (what stands before the word is read once); a score a word stored."""
    return Load(TOKENS * (TEXT / WORD) / 2, stored=4 * TOKENS / WORD)


def patching(m: Size) -> Load:
    """pairs x L x (t + H) cells, each t / 2 tokens in half of the layers; a value a cell stored."""
    cells = PAIRS * m.layers * (PROMPT + m.heads)
    return Load(cells * PROMPT / 4, context=PROMPT, stored=4.0 * cells)


def suite(m: Size) -> Load:
    """texts x 2,031 forwards and 109 backwards (10 methods x 8 metrics, chance and control); a value a metric and method."""
    tokens = TEXTS * SHORT
    return Load(tokens * SUITE[0], tokens * SUITE[1], context=SHORT, stored=4.0 * TEXTS * 80)


JOBS: tuple[tuple[str, Callable[[Size], Load]], ...] = (
    ("harvest, one layer", one_layer),
    ("harvest, all layers", all_layers),
    ("neuron records, top-k", records),
    ("feature training, one layer", features),
    ("integrated gradients, 32 steps", integrated),
    ("occlusion by word", occlusion),
    ("patching sweep, 1,000 pairs", patching),
    ("evaluation suite, 10,000 texts", suite),
)


def spent(m: Size, load: Load) -> dict[str, float]:
    """FLOP, and bytes moved through HBM, between devices, and to and from disk."""
    n = load.forward + load.backward
    return {
        "FLOP": n * m.flop(load.context) + load.beside,
        "HBM": n * m.traffic + 2 * load.captured,
        "link": (m.devices - 1) * m.width * BYTES * n + load.captured * (m.devices - 1) / m.devices,
        "disk": load.stored + load.read,
    }


def hours(m: Size, load: Load) -> dict[str, float]:
    """Hours that each resource alone would take."""
    rates = {"FLOP": RATE, "HBM": HBM, "link": LINK, "disk": DISK}
    return {name: x / rates[name] / 3600 for name, x in spent(m, load).items()}


def table() -> str:
    """The Markdown table."""
    head = "| job | model (H200s) | tokens forward + backward | FLOP | stored | moved: HBM / link | hours: FLOP / HBM / link / disk |"
    lines = [head + " bottleneck |", "|" + "---|" * 8]
    for title, job in JOBS:
        for m in SIZES:
            load = job(m)
            work, time = spent(m, load), hours(m, load)
            cells = [title, f"{m.name} ({m.devices})", f"{load.forward:.2g} + {load.backward:.2g}"]
            cells += [f"{work['FLOP']:.1e}", size(load.stored), f"{size(work['HBM'])} / {size(work['link'])}"]
            cells += [" / ".join(number(x) for x in time.values()), max(time, key=lambda k: time[k])]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def size(n: float) -> str:
    """Bytes as a reader says them."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if n < 999.5:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:,.3g} PB" if n < 999.5 else f"{n:,.0f} PB"


def number(x: float) -> str:
    """Hours with two figures; 0 where it is less than a second."""
    return "0" if x < 1 / 3600 else f"{x:.2g}" if x < 100 else f"{x:,.0f}"


if __name__ == "__main__":
    print(table())
