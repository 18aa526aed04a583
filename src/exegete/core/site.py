"""`Site`: the name of one place in a transformer, printed `4.pattern[h3]` and parsed back.

Grammar:  [stack.] [layer.] kind ["[" part ("," part)* "]"]   with stack `enc` or `dec`, and part `h3` (head), `u17` (unit:
neuron or residual dimension), `p5` (position; `p-1` counts from the end). Cross-attention kinds carry the prefix
`cross_`. TransformerLens names (`blocks.4.attn.hook_pattern`) and its short forms (`pattern.4`) are accepted as aliases.

What a part returns and what is added to the residual are two sites (`attn_out` / `attn_add`, `mlp_out` / `mlp_add`):
families with a norm or a multiplier in between differ there.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

from exegete.core.errors import UnknownName, UsageError

Stack = Literal["", "enc", "dec"]

# kind -> axes of what is captured (glossary: batch, tok, key, head, d, dh, neuron, vocab). Kinds that live inside a block carry a layer.
BLOCK_KINDS: dict[str, str] = {
    "resid_pre": "batch tok d",
    "attn_in": "batch tok d",
    "q": "batch head tok dh",
    "k": "batch kvhead key dh",
    "v": "batch kvhead key dh",
    "scores": "batch head tok key",
    "pattern": "batch head tok key",
    "z": "batch head tok dh",
    "head_out": "batch head tok d",
    "attn_out": "batch tok d",
    "attn_add": "batch tok d",
    "resid_mid": "batch tok d",
    "mlp_in": "batch tok d",
    "mlp_act": "batch tok neuron",
    "mlp_out": "batch tok d",
    "mlp_add": "batch tok d",
    "resid_post": "batch tok d",
}
CROSS_KINDS: dict[str, str] = {
    f"cross_{k}": BLOCK_KINDS[k]
    for k in ("attn_in", "q", "k", "v", "scores", "pattern", "z", "head_out", "attn_out", "attn_add")
}
CROSS_KINDS["cross_resid"] = "batch tok d"  # residual after cross-attention has been added
MODEL_KINDS: dict[str, str] = {
    "embed": "batch tok d",
    "final_in": "batch tok d",
    "final_norm": "batch tok d",
    "logits": "batch tok vocab",
}
SITE_KINDS: dict[str, str] = {**BLOCK_KINDS, **CROSS_KINDS, **MODEL_KINDS}
PER_HEAD = frozenset(
    k for k, axes in SITE_KINDS.items() if "head" in axes.split() or "kvhead" in axes.split()
)

_TL = {
    "hook_resid_pre": "resid_pre",
    "hook_resid_mid": "resid_mid",
    "hook_resid_post": "resid_post",
    "hook_attn_out": "attn_add",
    "hook_attn_in": "attn_in",
    "hook_mlp_in": "mlp_in",
    "hook_mlp_out": "mlp_add",
    "attn.hook_q": "q",
    "attn.hook_k": "k",
    "attn.hook_v": "v",
    "attn.hook_attn_scores": "scores",
    "attn.hook_pattern": "pattern",
    "attn.hook_z": "z",
    "attn.hook_result": "head_out",
    "mlp.hook_post": "mlp_act",
}
_TL_MODEL = {"hook_embed": "embed", "ln_final.hook_normalized": "final_norm", "unembed.hook_out": "logits"}
_SITE = re.compile(
    r"^(?:(?P<stack>enc|dec)\.)?(?:(?P<layer>\d+)\.)?(?P<kind>[a-z_]+)(?:\[(?P<parts>[^\]]*)\])?$"
)
_SHORT = re.compile(r"^(?P<kind>[a-z_]+)\.(?P<layer>\d+)(?:\.(?P<head>\d+))?$")
_TL_BLOCK = re.compile(r"^(?:blocks|(?P<stack>encoder|decoder))\.(?P<layer>\d+)\.(?P<rest>.+)$")


@dataclass(frozen=True, slots=True)
class Site:
    """One place: `kind` (a key of `SITE_KINDS`), and where it applies, `layer`, `head`, `unit`, `position`, `stack`."""

    kind: str
    layer: int | None = None
    head: int | None = None
    unit: int | None = None
    position: int | None = None
    stack: Stack = ""

    def __post_init__(self) -> None:
        if self.kind not in SITE_KINDS:
            raise UnknownName("site", self.kind, SITE_KINDS)
        if (self.layer is None) == (self.kind not in MODEL_KINDS):
            word = "needs a layer" if self.layer is None else "has no layer"
            raise UsageError(
                f"You asked for the site {self.kind!r}.",
                f"This kind of site {word}.",
                f"Write it like {_example(self.kind)!r}.",
            )

    def __str__(self) -> str:
        lead = f"{self.stack}." if self.stack else ""
        layer = f"{self.layer}." if self.layer is not None else ""
        parts = [
            f"{c}{v}" for c, v in (("h", self.head), ("u", self.unit), ("p", self.position)) if v is not None
        ]
        return f"{lead}{layer}{self.kind}" + (f"[{','.join(parts)}]" if parts else "")

    @property
    def axes(self) -> str:
        """Axis names of the full tensor captured here, space separated."""
        return SITE_KINDS[self.kind]

    @property
    def whole(self) -> "Site":
        """The same place without head, unit and position: the tensor that is captured before slicing."""
        return replace(self, head=None, unit=None, position=None)

    @classmethod
    def parse(cls, text: "str | Site") -> "Site":
        """Read a site from its printed form or a TransformerLens name. Raises `UsageError` when it cannot be read."""
        if isinstance(text, Site):
            return text
        name = text.strip()
        found = _parse_alias(name) or _parse_native(name)
        if found is None:
            raise UsageError(
                f"You asked for the site {text!r}.",
                "It does not read as [stack.][layer.]kind[parts].",
                "Examples: 4.resid_post, 4.pattern[h3], enc.0.mlp_act[u17,p5], logits.",
            )
        return found


def _parse_native(name: str) -> Site | None:
    m = _SITE.match(name)
    if m is None:
        return None
    parts: dict[str, int] = {}
    for part in filter(None, (m["parts"] or "").replace(" ", "").split(",")):
        key = {"h": "head", "u": "unit", "p": "position"}.get(part[0])
        if key is None or not re.fullmatch(r"-?\d+", part[1:]) or key in parts:
            return None
        parts[key] = int(part[1:])
    layer = int(m["layer"]) if m["layer"] else None
    stack: Stack = "enc" if m["stack"] == "enc" else "dec" if m["stack"] == "dec" else ""
    return Site(m["kind"], layer=layer, stack=stack, **parts)


def _parse_alias(name: str) -> Site | None:
    if name in _TL_MODEL:
        return Site(_TL_MODEL[name])
    m = _TL_BLOCK.match(name)
    if m and m["rest"] in _TL:
        stack: Stack = "enc" if m["stack"] == "encoder" else "dec" if m["stack"] == "decoder" else ""
        return Site(_TL[m["rest"]], layer=int(m["layer"]), stack=stack)
    m = _SHORT.match(name)
    if m and m["kind"] in SITE_KINDS:
        head = int(m["head"]) if m["head"] else None
        return Site(m["kind"], layer=int(m["layer"]), head=head)
    return None


def _example(kind: str) -> str:
    return kind if kind in MODEL_KINDS else f"0.{kind}"
