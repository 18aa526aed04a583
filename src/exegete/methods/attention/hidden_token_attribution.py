"""Hidden token attribution: which input tokens does a hidden state consist of, and is it still its own token?

1. hidden state j after layer l depends on input token i by the Jacobian J = d h_j / d x_i [d, d];
2. contribution of i to j = |J| / sum over tokens of |J| (Frobenius norm);
3. |J|^2 is the mean over directions v of |v' J|^2: `n_draws` orthonormal directions, the same for all tokens (all d of them
   make it exact). Copies of the text share passes, one a hidden state.

Control: the same model with randomised weights. Before the first layer a token is all its own: that is checked.

Cost a text of n tokens, twice (model and control; once more for the first, whose shares are shown): n forwards, n (layers + 1) n_draws backwards.
Reference: Brunner et al. 2020, "On Identifiability in Transformers", sec. 5 (arXiv:1908.04211).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.errors import InputError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.request import Text
from exegete.core.results.identifiability import HiddenTokenAttribution
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Check, Score, Trust
from exegete.core.value import Value
from exegete.methods.attention.bench import reader
from exegete.methods.attention.judged import mean_score
from exegete.methods.contracts.study import Divided
from exegete.methods.contracts.twins import twin_of
from exegete.models.lab import Lab

ALONE = 1e-5  # float32: what other tokens may seem to contribute before any layer has run


class MixedText(Value):
    """One text, by layer: the mean share of the own token, and of states to which their own contributes most; the same with
    randomised weights (NaN, and why, where there are none); `even`: 1 / tokens that contribute. `failed`: it has a single token.
    """

    failed: bool = False
    own: np.ndarray = np.zeros(0)
    first: np.ndarray = np.zeros(0)
    own_control: np.ndarray = np.zeros(0)
    first_control: np.ndarray = np.zeros(0)
    even: float = np.nan
    no_twin: str = ""


@register
class HiddenTokenAttributionStudy(Divided):
    """Which input tokens each hidden state consists of, layer by layer, and how much of it is its own token."""

    id: ClassVar[str] = "hidden_token_attribution"
    family: ClassVar[str] = "attention"
    techniques: ClassVar[tuple[str, ...]] = ("B19",)
    verb: ClassVar[str] = "attend"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = HiddenTokenAttribution
    home: ClassVar[str] = "terrarium/encoder"
    reference: ClassVar[Reference] = Reference(
        authors="Brunner et al.", year=2020, title="On Identifiability in Transformers",
        where="ICLR; arXiv:1908.04211", equation="sec. 5",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites", "gradients")
    passes: ClassVar[str] = "a text of n tokens, twice: n forwards + n (layers + 1) n_draws backwards"
    n_draws: int = Field(
        8, ge=1, le=100_000, description="directions in which gradients are taken; d or more: exact"
    )
    seed: int = Field(0, description="seed of the directions and of the randomised weights")

    part: ClassVar[type[Value]] = MixedText

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[MixedText]:
        """Every text of two tokens or more."""
        twin, why = twin_of(lab, self.seed)
        return [
            self._text(lab, twin, why, item) if lab.read([item]).lengths[0] > 1 else MixedText(failed=True)
            for item in items
        ]

    def _text(self, lab: Lab, twin: Lab | None, why: str, item: Text) -> MixedText:
        found = self._shares(lab, item)
        other = self._shares(twin, item) if twin else np.full_like(found, np.nan)
        return MixedText(
            own=_own(found),
            first=_first(found),
            own_control=_own(other),
            first_control=_first(other),
            even=_even(found),
            no_twin=why,
        )

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[MixedText], target: Target, n_failed: int = 0
    ) -> HiddenTokenAttribution:
        """Over texts; shorter ones count as failed. The shares of the first are made again, for they are too large to be kept of all."""
        known = [p for p in parts if not p.failed]
        if not known:
            raise InputError(
                "You asked which tokens the hidden states of texts consist of.",
                "No text has two tokens, so there is nothing to mix.",
                "Give longer texts.",
            )
        names = ("own", "first", "own_control", "first_control")
        own, first, own_control, first_control = (np.stack([getattr(p, n) for p in known]) for n in names)
        even, why = np.array([p.even for p in known]), known[0].no_twin
        layers = ("input", *(f"layer {k}" for k in range(own.shape[1] - 1)))
        failed = len(items) - len(known) + n_failed
        shown = next(item for item, p in zip(items, parts) if not p.failed)
        scores = self._scores((own, first), (own_control, first_control), even, failed, why)
        gap = float(1 - own[:, 0].min())
        words = (
            "share that other tokens contribute to a token before the first layer; largest mean over a text"
        )
        return HiddenTokenAttribution(
            title="Which tokens does a hidden state consist of?",
            lede=_words(own, first, scores),
            layers=layers,
            own=own,
            first=first,
            own_control=own_control,
            first_control=first_control,
            even=even,
            tokens=lab.pieces(lab.read([shown]).inputs["input_ids"][0].tolist()),
            shares=self._shares(lab, shown).astype(np.float32),
            checks=(Check.at_most("tokens alone at first", gap, ALONE, words),),
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _shares(self, lab: Lab, text: Text) -> np.ndarray:
        """Contributions [layer + 1, hidden, input] of the tokens of one text; rows sum to 1."""
        inputs, stack = _inputs(lab, text), reader(lab)
        n = int(inputs["input_ids"].shape[1])
        layers = range(len(lab.model.map.tower(stack).layers))
        sites = [
            Site("resid_pre", layer=0, stack=stack),
            *(Site("resid_post", layer=k, stack=stack) for k in layers),
        ]
        out = np.zeros((len(sites), n, n))
        for part in lab.chunks(n, n):
            out[:, part] = self._squares(lab, inputs, Site("embed", stack=stack), sites, range(n)[part])
        size = np.sqrt(out)
        return size / np.maximum(size.sum(-1, keepdims=True), 1e-30)

    def _squares(
        self, lab: Lab, inputs: dict[str, Tensor], embed: Site, sites: Sequence[Site], hidden: Sequence[int]
    ) -> np.ndarray:
        """Mean squared length [site, hidden, input] of the gradients of some hidden states along the directions."""
        copies = {k: v.expand(len(hidden), *v.shape[1:]) for k, v in inputs.items()}
        rows = torch.zeros((len(hidden), 1), dtype=torch.long, device=inputs["input_ids"].device)
        t = lab.run(copies, read=[embed, *sites], keep_graph=True, rows=rows)
        states = [t[s][range(len(hidden)), list(hidden)] for s in sites]
        ways = self._directions(lab, states[0].shape[-1]).to(states[0])
        out = np.zeros((len(sites), len(hidden), int(inputs["input_ids"].shape[1])))
        for k, state in enumerate(states):
            for v in ways:
                (g,) = lab.gradients((state * v).sum(), [t[embed]], keep=True)
                out[k] += g.detach().double().square().sum(-1).cpu().numpy() / len(ways)
        return out

    def _directions(self, lab: Lab, width: int) -> Tensor:
        """Orthonormal directions [draw, d]; the unit vectors where all are asked for."""
        if self.n_draws >= width:
            return torch.eye(width)
        drawn = lab.rng("directions").standard_normal((width, self.n_draws))
        return torch.from_numpy(np.linalg.qr(drawn)[0].T.copy())

    def _scores(
        self, found: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], even: np.ndarray, failed: int, why: str
    ) -> tuple[Score, ...]:  # fmt: skip
        names = (
            "share of the own token after the last layer",
            "tokens whose own contributes most after the last layer",
        )
        return tuple(
            mean_score(
                name, x[:, -1], chance=float(even.mean()), control=y[:, -1], control_name="randomised weights",
                failed=failed, skipped=why, seed=self.seed,
            )
            for name, x, y in zip(names, found, other)
        )  # fmt: skip


def _inputs(lab: Lab, text: Text) -> dict[str, Tensor]:
    """Inputs of a pass over one text, whose output is not looked at."""
    reading = lab.read([text])
    inputs, tokens = lab.passed(reading), reading.encoded[0].tokens
    if any(t.part for t in tokens):
        inputs["token_type_ids"] = torch.tensor([[t.part for t in tokens]], device=lab.model.device)
    return inputs


def _own(shares: np.ndarray) -> np.ndarray:
    """Mean share of the own token [layer]."""
    return np.diagonal(shares, axis1=1, axis2=2).mean(-1)


def _first(shares: np.ndarray) -> np.ndarray:
    """Share of hidden states to which their own token contributes most [layer]."""
    if np.isnan(shares).any():
        return np.full(len(shares), np.nan)
    return (shares.argmax(-1) == np.arange(shares.shape[1])).mean(-1)


def _even(shares: np.ndarray) -> float:
    """Mean over hidden states of 1 / number of tokens that contribute at all after the last layer."""
    return float((1 / np.maximum((shares[-1] > 0).sum(-1), 1)).mean())


def _words(own: np.ndarray, first: np.ndarray, scores: tuple[Score, ...]) -> str:
    share, most = float(own[:, -1].mean()), float(first[:, -1].mean())
    score = scores[0]
    behind = [
        w
        for w, won in (
            ("with randomised weights", score.beats_control),
            ("if all tokens contributed alike", score.beats_chance),
        )
        if won is False
    ]
    tail = f" That is NOT more than {' or '.join(behind)}." if behind else ""
    return f"After the last layer {share:.0%} of a hidden state comes from its own token; to {most:.0%} of tokens their own contributes most.{tail}"
