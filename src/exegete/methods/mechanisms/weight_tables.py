"""Weights as tables: the bigrams of the direct path, and the skip-trigrams and copying of every head.

1. bigrams: each token's embedding straight through final norm and unembedding (E W_U), and beside it what the whole model
   says after the token alone;
2. copying of every head: eigenvalues of the full OV circuit (`models.copying`);
3. skip-trigrams of the heads that copy (or anti-copy) most, or of those named: for the tokens that a head carries most
   strongly, the tokens it raises (OV) and the queries that look for them (QK).

What the numbers are: `models.tables`. Exact for one layer of attention without positions; deeper, and with feed-forward
parts, they are the share of the token itself along the direct path. Norms: in front of a head, the scale that the
embedding alone has; before the unembedding, the scale of the embedding alone for bigrams, and for heads the median scale of
the model on texts of one token.

Eigenvalues of one sign come by chance where one of them outweighs all others; so a copying head is judged by its rows: the
share of tokens that it raises above 95 % of the vocabulary (the head is chosen on every other token, judged on the rest).
Controls: rows of other tokens (bigrams); randomised weights, with as many heads to choose from (copying).
Cost: d + 1 tokens of one forward, twice, and a forward of one or two tokens for each of n_tokens. Memory: rows times vocabulary of 64
tokens at a time, and the unembedding. Reference: Elhage et al. 2021, "One-layer attention-only transformers".
"""

import re
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.errors import SiteError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.tables import WeightTables
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.twins import twin_of
from exegete.models.circuits import turns, writing
from exegete.models.copying import copying
from exegete.models.lab import Lab
from exegete.models.tables import Tables
from exegete.models.vocabulary import final_scale, opening
from exegete.ops.stats import bootstrap_mean, share_interval

_ROWS = 64  # tokens whose rows over the whole vocabulary are held at once
_FEW = 3  # tokens named in a cell
Bigram = tuple[str, str, float, str, float, float]


@register
class WeightTablesStudy(Study):
    """Weights read as tables: bigrams of the direct path, skip-trigrams of heads, and which heads copy."""

    id: ClassVar[str] = "weight_tables"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H9",)
    verb: ClassVar[str] = "lens"
    asks: ClassVar[Any] = "nothing"
    finds: ClassVar[type] = WeightTables
    home: ClassVar[str] = "terrarium/repeats"
    tasks: ClassVar[tuple[str, ...]] = ("causal",)
    reference: ClassVar[Reference] = Reference(
        authors="Elhage et al.", year=2021, title="A Mathematical Framework for Transformer Circuits",
        where="transformer-circuits.pub/2021/framework", equation="one-layer models",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("weights", "sites", "logprobs")
    passes: ClassVar[str] = "n_tokens forwards of one token, and d + 1 tokens, twice"
    n_tokens: int = Field(
        300, ge=2, description="tokens that have a row, drawn at random where there are more"
    )
    heads: tuple[str, ...] = Field(
        (), description="heads whose skip-trigrams are listed, such as 1.h2; those that copy most when empty"
    )
    n_heads: int = Field(4, ge=1, description="heads that are listed when none is named")
    n_top: int = Field(20, ge=1, description="tokens listed a head")
    seed: int = Field(0, description="seed of the tokens and of the controls")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> WeightTables:
        """Over ordinary tokens of the vocabulary."""
        named = self._named(lab)
        tables = Tables(lab)
        ids = self._sample(lab, tables)
        rows, kl, other, scale = _bigrams(lab, tables, ids)
        copies, shuffled = (x.numpy() for x in copying(lab, tables.layers))
        chosen = named or _strongest(tables, copies, self.n_heads)
        read = {at: _raised(tables, at, ids, scale) for at in chosen}
        random, control, skipped = self._random(lab, copies, ids, len(chosen))
        scores = (_direct(kl, other), _copies(tables, read, control, skipped))
        agree = float(np.mean([r[1] == r[3] for r in rows]))
        return WeightTables(
            title="What do the weights say as tables?",
            lede=_lede(scores, agree),
            bigrams=tuple(sorted(rows, key=lambda r: -r[2])),
            skip_trigrams=tuple(r for at in chosen for r in self._trigrams(tables, at, ids, read[at])),
            copying=copies,
            copying_shuffled=shuffled,
            copying_random=random,
            scale=scale,
            distance_zero=turns(lab.model.map),
            trust=Trust(scores=scores),
        )

    def _sample(self, lab: Lab, tables: Tables) -> Tensor:
        order = lab.rng("tokens").permutation(len(tables.ids))[: self.n_tokens]
        return tables.ids[torch.from_numpy(np.sort(order))]

    def _random(
        self, lab: Lab, like: np.ndarray, ids: Tensor, n: int
    ) -> tuple[np.ndarray, float | None, str]:  # fmt: skip
        """With randomised weights: copying [layer, head], and the share of tokens that the best of n heads raises; NaN, None
        and the reason where there is no such model.
        """
        twin, why = twin_of(lab, self.seed)
        if twin is None:
            return np.full_like(like, np.nan), None, f"randomised weights: {why}"
        tables = Tables(twin)
        copies = copying(twin, tables.layers)[0].numpy()
        read = {at: _raised(tables, at, ids, 1.0) for at in _strongest(tables, copies, n)}
        return copies, float(_best(tables, read)[1].mean()), ""

    def _named(self, lab: Lab) -> tuple[tuple[int, int], ...]:
        """The heads that were named. Raises `SiteError` for one that is not there."""
        found, bound = [], lab.model.map
        for name in self.heads:
            m = re.fullmatch(r"(\d+)\.h(\d+)", name)
            if m is None or int(m[1]) >= bound.n_layers or int(m[2]) >= bound.n_heads:
                raise SiteError(
                    f"You asked for the head {name!r} of {lab.model.name}.",
                    f"It has layers 0 to {bound.n_layers - 1} and heads 0 to {bound.n_heads - 1}.",
                    "Write heads as 0.h3: layer 0, head 3.",
                )
            found.append((int(m[1]), int(m[2])))
        return tuple(found)

    def _trigrams(
        self, tables: Tables, at: tuple[int, int], ids: Tensor, read: "_Read"
    ) -> list[tuple[str, str, str, str, float, int]]:
        """Rows of one head: the tokens that it carries most strongly."""
        pieces = tables.lab.pieces
        looked = tables.qk(*at, ids, ids)
        looked = looked - looked.mean(1, keepdim=True)  # of each query, how much more than for other keys
        found = []
        for i in read.best[:, 0].argsort(descending=True, stable=True)[: self.n_top].tolist():
            asking = ids[looked[:, i].cpu().topk(min(_FEW, len(ids))).indices]
            words = [", ".join(pieces(x.tolist())) for x in (asking, read.tokens[i])]
            found.append(
                (
                    f"{at[0]}.h{at[1]}",
                    *pieces([int(ids[i])]),
                    *words,
                    float(read.best[i, 0]),
                    int(read.own[i]),
                )
            )
        return found


class _Read(NamedTuple):
    """What a head does with each token: the largest logits [n, few], their tokens [n, few], the token's own rank [n]."""

    best: Tensor
    tokens: Tensor
    own: Tensor


def _bigrams(lab: Lab, tables: Tables, ids: Tensor) -> tuple[list[Bigram], np.ndarray, np.ndarray, float]:
    """Rows, KL(model || table) and KL(model || another token's row) [token], and the median scale of the final norm."""
    rows, kl, other, scales = [], [], [], []
    for some in ids.tensor_split(-(-len(ids) // _ROWS)):  # never one token alone: it would be its own control
        table = tables.said(tables.embedded(some)).double().log_softmax(-1)
        model, scale = _alone(lab, tables, some)
        apart = (model.exp() * (model - table)).sum(-1)
        turn = 1 + int(lab.rng("other", int(some[0])).integers(max(1, len(some) - 1)))
        other.append((model.exp() * (model - table.roll(turn, 0))).sum(-1))
        kl.append(apart)
        scales.append(scale)
        words = [lab.pieces(tables.ids[x.argmax(-1).cpu()].tolist()) for x in (table, model)]
        best = [x.max(-1).values.exp().tolist() for x in (table, model)]
        rows += list(zip(lab.pieces(some.tolist()), words[0], best[0], words[1], best[1], apart.tolist()))
    apart, turned = (torch.cat(x).cpu().numpy() for x in (kl, other))
    return rows, apart, turned, float(torch.cat(scales).median())


def _alone(lab: Lab, tables: Tables, ids: Tensor) -> tuple[Tensor, Tensor]:
    """What the model says after each token alone [n, vocab], log-probabilities, and the scale of its final norm [n]."""
    bound, device = lab.model.map, lab.model.device
    end = Site("final_in", stack=bound.stacks[-1])
    lead = torch.tensor(opening(lab.model), dtype=ids.dtype).expand(len(ids), -1)
    texts = torch.cat([lead, ids[:, None]], 1).to(device)
    said, scales = [], []
    for cut in lab.chunks(*texts.shape):
        seen = lab.run({"input_ids": texts[cut]}, read=[end])
        said.append(seen.logits[:, -1][:, tables.ids.to(device)].double().log_softmax(-1))
        scales.append(final_scale(bound, seen[end][:, -1]))
    return torch.cat(said), torch.cat(scales)


def _raised(tables: Tables, at: tuple[int, int], ids: Tensor, scale: float) -> _Read:
    """What a head raises where it reads each of `ids`."""
    parts = []
    for some in ids.split(_ROWS):
        logits = tables.raised(tables.carried(*at, some), scale).cpu()
        top = logits.topk(min(_FEW, logits.shape[1]), dim=1)
        itself = logits.gather(1, torch.searchsorted(tables.ids, some)[:, None])
        parts.append((top.values, tables.ids[top.indices], (logits > itself).sum(1)))
    return _Read(*(torch.cat(x) for x in zip(*parts)))


def _best(tables: Tables, read: dict[tuple[int, int], _Read]) -> tuple[tuple[int, int], np.ndarray]:
    """The head that raises most tokens above 95 % of the vocabulary, chosen on every other token; and which of the other
    tokens it raises so [n / 2].
    """
    bar = 0.05 * len(tables.ids)
    hits = {at: (x.own < bar).double().numpy() for at, x in read.items()}
    best = max(hits, key=lambda at: hits[at][::2].mean())
    return best, hits[best][1::2]


def _strongest(tables: Tables, copies: np.ndarray, n: int) -> tuple[tuple[int, int], ...]:
    """The heads that copy or anti-copy most, of those that write at all."""
    size = np.where(writing(tables.layers).numpy(), np.abs(copies), -1.0)
    order = np.argsort(-size, axis=None, kind="stable")[:n]
    return tuple((int(i), int(h)) for i, h in zip(*np.unravel_index(order, copies.shape)))


def _direct(kl: np.ndarray, other: np.ndarray) -> Score:
    return Score(
        name="KL from what the model says after a token to its bigram row (nats)",
        value=float(kl.mean()),
        better="lower",
        control=float(other.mean()),
        control_name="the row of another token",
        interval=bootstrap_mean(kl),
        n=len(kl),
    )


def _copies(tables: Tables, read: dict[tuple[int, int], _Read], control: float | None, skipped: str) -> Score:
    (layer, head), hits = _best(tables, read)
    return Score(
        name=f"share of tokens that {layer}.h{head} raises above 95 % of the vocabulary",
        value=float(hits.mean()),
        chance=0.05,
        control=control,
        control_name="" if control is None else "the best head with randomised weights",
        interval=share_interval(hits),
        n=len(hits),
        skipped=skipped,
    )


def _lede(scores: tuple[Score, ...], agree: float) -> str:
    direct, copies = scores
    near = "nearer than" if direct.beats_control else "NOT nearer than"
    at = copies.name.split()[4]
    won = copies.beats_control and copies.beats_chance
    against = "" if copies.control is None else f", with randomised weights {copies.control:.0%}"
    return (
        f"After a token alone the model says what the direct path says for {agree:.0%} of tokens; its row lies {near} another "
        f"token's ({direct.value:.2f} against {direct.control:.2f} nats). {at} {'copies' if won else 'does NOT copy'}: it raises "
        f"{copies.value:.0%} of tokens by themselves (chance 5%{against})."
    )
