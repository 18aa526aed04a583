"""Probing by a prefix: can the frozen model do a task when nothing is learned but vectors before the text?

1. each class is said as one token: a word of its own where the tokenizer has one for it, else a token that no class has;
2. `n_slots` vectors stand before the text, in what every layer reads, and are learned on some texts so that the model says the
   right token after the text (at a mask there, for masked models), against the other classes' tokens; the model is not touched;
3. texts held out, none of which was learned from, are classified;
4. with the prefix fixed, every head gets a hard-concrete gate, and a price on open gates closes those the task can spare; what
   is left of the task with the open ones alone, among draws of as many random heads;
5. amnesic test: heads are taken away in the order of their gates, up to a quarter of all; how far the probability of the right
   class (among the classes) falls, mean over the numbers taken, among random orders. The same for the loss on plain text.

Chance: the commonest class. Controls: the same prefix learned for randomised weights (what the vectors themselves learn), and for
labels dealt to other texts; random heads.

Cost: 3 * n_steps + n_gate_steps forwards and backwards a text of a batch; n_points * (n_random + 1) forwards a held-out text.
Shapes: vectors [layer, slot, d]; gates [layer, head].
Reference: Li, Cotterell & Sachan 2022, "Probing via Prompting", sec. 3-4; prefixes of every layer: Li & Liang 2021.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from exegete.core.errors import InputError, UsageError
from exegete.core.material import Marked
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.request import Text
from exegete.core.results.prefix_probe import PrefixProbe as Found
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.twins import TWIN, twin_of
from exegete.models.encode import encode, limit
from exegete.models.lab import Lab
from exegete.models.soft_prompt import Slotted, deep_start, learn, says, slotted
from exegete.ops.hard_concrete import open_probability, sampled, settled
from exegete.ops.split import split
from exegete.ops.stats import bootstrap_mean, midrank_percentile, share_interval

GATE_START, GATE_RATE = 2.0, 0.2
MOST_PLAIN, DRAWS_PLAIN = 24, 5  # texts, and random orders, that the loss on plain text is taken on
OPEN = 0.5  # a gate above it is open
WORDS: Mapping[str, str] = {
    "one": "this",
    "many": "these",
}  # what is said for classes that are seldom one token
SHUFFLED = "a prefix learned for labels dealt to other texts"


@register
class PrefixProbe(Study):
    """Whether the frozen model does a labelled task with a learned prefix, and which heads it needs for that."""

    id: ClassVar[str] = "prefix_probe"
    family: ClassVar[str] = "probing"
    techniques: ClassVar[tuple[str, ...]] = ("E29",)
    verb: ClassVar[str] = "probe"
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "subject"
    usual: ClassVar[int | None] = 240
    least: ClassVar[int] = 4
    finds: ClassVar[type] = Found
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked")
    reference: ClassVar[Reference] = Reference(
        authors="Li, Cotterell & Sachan", year=2022, title="Probing via Prompting", where="arXiv:2207.01736",
        equation="sec. 3-4",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "gradients", "sites")
    passes: ClassVar[str] = (
        "3 * n_steps + n_gate_steps forwards and backwards a text of a batch; n_points * (n_random + 1) a held-out text"
    )
    words: tuple[str, ...] = Field(
        (),
        description="words that are said for classes, such as 1=good,0=bad; else usual ones, or the labels themselves",
    )
    n_slots: int = Field(4, ge=1, le=100, description="vectors before the text, in every layer")
    n_steps: int = Field(120, ge=1, le=100_000, description="steps that the prefix is learned in")
    n_gate_steps: int = Field(50, ge=1, le=100_000, description="steps that the gates are learned in")
    rate: float = Field(
        0.1, gt=0, le=10, description="learning rate of the prefix at the start; it falls to zero"
    )
    batch: int = Field(12, ge=1, le=4096, description="texts a step")
    penalty: float = Field(1.0, ge=0, description="price of the mean probability of an open gate, nats")
    n_points: int = Field(
        5,
        ge=2,
        le=50,
        description="how many numbers of removed heads are tried, from none to a quarter of all",
    )
    n_random: int = Field(20, ge=1, le=1000, description="draws of random heads")
    held_out: float = Field(0.4, gt=0, lt=1, description="share of texts that nothing is learned on")
    seed: int = Field(0, description="seed of split, start, draws and randomised weights")

    def study(self, lab: Lab, items: tuple[Marked, ...], target: Target) -> Found:
        """On whole texts with classes. Raises `InputError` for other material and for fewer than two classes."""
        names, index, texts = _classes(lab, items, self.n_slots)
        options = _options(lab, names, self.words)
        group = np.unique(texts, return_inverse=True)[1]  # the same text is never learned from and held out
        train, test = split(group, (1 - self.held_out, self.held_out), lab.rng("held out"))
        cases = slotted(lab, texts, [int(options[i]) for i in index], self.n_slots, before=True)
        dealt = lab.rng("labels").permutation(len(texts))
        mixed = Slotted(cases.inputs, cases.slots, cases.rows, cases.wanted[dealt])
        twin, why = twin_of(lab)
        vectors, learned = self._learned(lab, cases, train, test, options)
        blind = None if twin is None else self._learned(twin, cases, train, test, options)[1]
        by_heart = self._learned(lab, mixed, train, test, options)[1]
        seen, unseen = cases.some(train), cases.some(test)
        location = self._gates(lab, seen, vectors, options)
        removal, falls = self._removal(lab, unseen, vectors, options, location, [texts[i] for i in test])
        kept, alone, drawn = self._alone(lab, unseen, vectors, options, location)
        said = says(lab, unseen, vectors)[:, options].argmax(-1).cpu().numpy()
        confusion = np.zeros((len(names), len(names)), dtype=np.int64)
        np.add.at(confusion, (index[test], said), 1)
        common = float((index[test] == np.bincount(index[train]).argmax()).mean())
        failed = len(items) - len(texts)
        scores = (
            *_read(learned[1], common, blind, by_heart, why, failed, self.seed),
            _enough(alone, drawn, int(kept), failed, self.seed),
            _needed(falls, int(removal["removed"][-1]), failed, self.seed),
        )
        none = (np.full(1, np.nan), np.full(1, np.nan))
        return Found(
            title="Can the model do this task when nothing but a prefix is learned?",
            lede=_lede(scores, int(kept), location.numel()),
            labels=names,
            tokens=lab.pieces(options.tolist()),
            majority=common,
            accuracy=np.array(
                [[part.mean() for part in parts] for parts in (learned, blind or none, by_heart)]
            ),
            confusion=confusion,
            gates=settled(location).float().cpu().numpy(),
            vectors=vectors.float().cpu().numpy(),
            trust=Trust(scores=scores, seed=self.seed),
            removed=removal["removed"],
            without=removal["without"],
            interval=removal["interval"],
            at_random=removal["at_random"],
            random_band=removal["random_band"],
            language=removal["language"],
            language_random=removal["language_random"],
        )

    def _learned(
        self, lab: Lab, cases: Slotted, train: np.ndarray, test: np.ndarray, options: Tensor
    ) -> tuple[Tensor, tuple[np.ndarray, ...]]:  # fmt: skip
        """A prefix, and whether each text that it was learned from, and each held out, is answered rightly."""
        seen, unseen = cases.some(train), cases.some(test)
        start = deep_start(lab, seen.some(np.arange(min(len(seen), self.batch))))
        vectors = learn(lab, seen, start, self.n_steps, self.rate, self.batch, options)
        return vectors, tuple(_answers(lab, x, vectors, options)[0] for x in (seen, unseen))

    def _gates(self, lab: Lab, cases: Slotted, vectors: Tensor, options: Tensor) -> Tensor:
        """Log-locations [layer, head] of the gates, learned with the prefix as it is."""
        sites = lab.model.map.sites("z")
        shape = (len(sites), lab.model.map.n_heads)
        location = torch.full(shape, GATE_START, device=lab.model.device, requires_grad=True)
        adam = torch.optim.Adam([location], lr=GATE_RATE)
        rng = lab.rng("gates")
        with torch.enable_grad():
            for _ in range(self.n_gate_steps):
                some = cases.some(np.sort(rng.permutation(len(cases))[: self.batch]))
                u = torch.from_numpy(rng.uniform(1e-6, 1 - 1e-6, shape)).float().to(location.device)
                logits = says(lab, some, vectors, _gated(sites, sampled(location, u)), graph=True)[:, options]
                wanted = (options[None] == some.wanted[:, None]).float().argmax(1)
                loss = (
                    cross_entropy(logits.float(), wanted) + self.penalty * open_probability(location).mean()
                )
                (location.grad,) = lab.gradients(loss, [location])
                adam.step()
        return location.detach()

    def _removal(
        self, lab: Lab, cases: Slotted, vectors: Tensor, options: Tensor, location: Tensor, texts: list[str]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:  # fmt: skip
        """Probability of the right class, and loss on plain text, without the first heads of the learned order and of random
        ones; and how far it falls [order, case], mean over the numbers of heads taken."""
        sites, n = lab.model.map.sites("z"), location.numel()
        some = np.linspace(1, max(1, n // 4), self.n_points - 1)
        sizes = np.unique(np.append(0, some).round().astype(np.int64))
        learned = location.flatten().argsort(descending=True, stable=True).cpu().numpy()
        orders = (learned, *(lab.rng("heads", i).permutation(n) for i in range(self.n_random)))
        known: dict[frozenset[int], np.ndarray] = {}  # small sets are drawn again and again
        plain = np.full((min(len(orders), 1 + DRAWS_PLAIN), len(sizes)), np.nan)
        right = np.empty((len(orders), len(sizes), len(cases)))
        for i, order in enumerate(orders):
            for j, size in enumerate(sizes):
                gone = frozenset(order[:size].tolist())
                edit = _gated(sites, _without(order[:size], location))
                if gone not in known:
                    known[gone] = _answers(lab, cases, vectors, options, edit)[1]
                right[i, j] = known[gone]
                if i < len(plain):
                    plain[i, j] = _language(lab, texts, edit)
        mean = right.mean(-1)
        found = {
            "removed": sizes,
            "without": mean[0],
            "interval": np.array([share_interval(x, self.seed) or (np.nan, np.nan) for x in right[0]]),
            "at_random": mean[1:].mean(0),
            "random_band": np.stack([mean[1:].min(0), mean[1:].max(0)], 1),
            "language": plain[0],
            "language_random": plain[1:].mean(0),
        }
        return found, (right[:, :1] - right[:, 1:]).mean(1)

    def _alone(
        self, lab: Lab, cases: Slotted, vectors: Tensor, options: Tensor, location: Tensor
    ) -> tuple[int, np.ndarray, np.ndarray]:  # fmt: skip
        """How many gates stay open, which cases are right with these heads alone [case], and with as many random ones [draw, case]."""
        sites, n = lab.model.map.sites("z"), location.numel()
        closed = (settled(location).flatten() < OPEN).nonzero()[:, 0].cpu().numpy()
        draws = [lab.rng("kept", i).permutation(n)[: len(closed)] for i in range(self.n_random)]
        right = [
            _answers(lab, cases, vectors, options, _gated(sites, _without(heads, location)))[0]
            for heads in (closed, *draws)
        ]
        return n - len(closed), right[0], np.array(right[1:])


def _answers(
    lab: Lab, cases: Slotted, vectors: Tensor, options: Tensor, edit: dict[Site, Any] | None = None
) -> np.ndarray:
    """Whether each case is answered rightly, and the probability of its class among the classes [2, case]."""
    likely = says(lab, cases, vectors, edit=edit)[:, options].double().softmax(-1)
    right = options[likely.argmax(-1)] == cases.wanted
    wanted = (options[None] == cases.wanted[:, None]).to(likely)
    return torch.stack([right.double(), (likely * wanted).sum(-1)]).cpu().numpy()


def _read(
    right: np.ndarray, common: float, blind: Any, by_heart: Any, why: str, failed: int, seed: int
) -> tuple[Score, Score]:
    """Accuracy on held-out texts beside the twin's, and beside that for labels dealt to other texts."""
    bars = (
        (None if blind is None else float(blind[1].mean()), f"a prefix learned for {TWIN}"),
        (float(by_heart[1].mean()), SHUFFLED),
    )
    first, second = (
        Score(
            name="held-out accuracy with the prefix", value=float(right.mean()), chance=common, control=bar,
            control_name="" if bar is None else name, interval=share_interval(right, seed), n=len(right),
            n_failed=failed, skipped=f"randomised weights: {why}" if bar is None else "",
        )
        for bar, name in bars
    )  # fmt: skip
    return first, second


def _enough(alone: np.ndarray, drawn: np.ndarray, kept: int, failed: int, seed: int) -> Score:
    """Accuracy with the open heads alone [case], among that with as many random ones [draw, case]."""
    name = f"accuracy with the {kept} heads alone whose gates stay open, among as many random heads"
    return _among(name, alone, drawn, failed, seed)


def _needed(falls: np.ndarray, most: int, failed: int, seed: int) -> Score:
    """How far the right class falls [order, case] without the first heads of the learned order (row 0), among random orders."""
    name = f"fall of the probability of the right class without the 1 to {most} heads the task needs most, among random orders"
    return _among(name, falls[0], falls[1:], failed, seed)


def _among(name: str, own: np.ndarray, others: np.ndarray, failed: int, seed: int) -> Score:
    """A choice of heads [case] among random choices [draw, case], all on the same texts.

    Chance is the mean of the draws, and it is beaten where 95 % of the draws are: an interval over texts, which leaves out how
    far the draws lie apart, would call most choices better than their mean. It is told in the name.
    """
    value, drawn = float(own.mean()), others.mean(1)
    span = bootstrap_mean(own, seed)
    told = "" if span is None else f" (over texts {span[0]:.3f} to {span[1]:.3f})"
    return Score(
        name=name + told, value=value, chance=float(drawn.mean()), percentile=midrank_percentile(value, drawn),
        n=len(own), n_failed=failed,
    )  # fmt: skip


def _classes(
    lab: Lab, items: tuple[Marked, ...], n_slots: int
) -> tuple[tuple[str, ...], np.ndarray, list[str]]:
    """Class names, and the class [text] and words of every text that fits the model with the slots before it.

    Raises `InputError` for marks in texts, numbers, and fewer than two classes.
    """
    if any(len(i.marks) != 1 or i.marks[0].spans or not isinstance(i.marks[0].label, str) for i in items):
        raise InputError(
            "You asked for the prefix probe.",
            "Its material labels parts of texts, or numbers; it classifies whole texts.",
            "Give texts with one class each.",
        )
    kept = [i for i in items if _fits(lab, i.text, n_slots)]
    labels = [str(i.marks[0].label) for i in kept]
    names = tuple(sorted(set(labels)))
    if len(names) < 2:
        raise InputError(
            f"You asked for the prefix probe of {len(items)} texts.",
            f"{len(kept)} of them fit {lab.model.name}, with {len(names)} different labels.",
            "Give texts of at least two classes, short enough for the model.",
        )
    return names, np.array([names.index(x) for x in labels]), [i.text for i in kept]


def _fits(lab: Lab, text: str, n_slots: int) -> bool:
    """Whether the model can read the text, the slots and a mask."""
    most = limit(lab.model)
    try:
        length = len(encode(lab.model, Text.of(text)).tokens)
    except InputError:
        return False  # counted as failed
    return most is None or length + n_slots + 1 <= most


def _options(lab: Lab, names: Sequence[str], words: Sequence[str]) -> Tensor:
    """A token for each class: its word where the tokenizer has one for it, else one that no other class has."""
    given = {w.partition("=")[0]: w.partition("=")[2] for w in words}
    wrong = [c for c in given if c not in names or not given[c]]
    if wrong:
        raise UsageError(
            f"You gave a word for {wrong[0]!r}.", f"The classes are {', '.join(names)}.", "Write class=word."
        )
    tokenizer = lab.model.tokenizer
    found: list[int] = []
    spare = iter(i for i in range(lab.model.vocabulary - 1, -1, -1) if i not in tokenizer.all_special_ids)
    for name in names:
        word = given.get(name) or WORDS.get(name, name)
        tried = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (f" {word}", word)]
        ids = next((x for x in tried if len(x) == 1 and x[0] not in (*found, tokenizer.unk_token_id)), None)
        if ids is None and name in given:
            raise UsageError(
                f"You gave the word {word!r} for {name!r}.",
                f"{lab.model.name} has no single token for it, or another class has it.",
                "Choose a word that is one token.",
            )
        found.append(ids[0] if ids else next(i for i in spare if i not in found))
    return torch.tensor(found, device=lab.model.device)


def _gated(sites: tuple[Site, ...], gates: Tensor) -> dict[Site, Any]:
    """The edit that multiplies what every head hands on by its gate [layer, head]."""

    def times(gate: Tensor) -> Any:
        return lambda z: z * gate.to(z)[None, :, None, None]

    return {site: times(gate) for site, gate in zip(sites, gates)}


def _without(heads: np.ndarray, like: Tensor) -> Tensor:
    """Gates [layer, head] that are 0 for some heads and 1 for the others."""
    gates = torch.ones(like.numel(), device=like.device)
    gates[torch.from_numpy(heads).to(like.device)] = 0.0
    return gates.view_as(like)


def _language(lab: Lab, texts: list[str], edit: dict[Site, Any]) -> float:
    """Loss a token of a decoder on some texts; NaN for masked models."""
    if lab.model.task != "causal":
        return float("nan")
    reading = lab.read(texts[:MOST_PLAIN])
    total, count = 0.0, 0
    for part in lab.chunks(*reading.mask.shape):
        inputs = {k: v[part] for k, v in reading.inputs.items()}
        logits = lab.run(inputs, edit=edit).logits[:, :-1].float()
        real = reading.mask[part, 1:]
        total += float(cross_entropy(logits[real], inputs["input_ids"][:, 1:][real], reduction="sum"))
        count += int(real.sum())
    return total / count if count else float("nan")


def _lede(scores: Sequence[Score], kept: int, n_heads: int) -> str:
    twin, mixed, enough, needed = scores
    won = twin.beats_chance and twin.beats_control is not False and mixed.beats_control
    blind = "" if twin.control is None else f", a prefix for randomised weights {twin.control:.0%}"
    words = [
        f"With a learned prefix the frozen model {'does' if won else 'does NOT do better than its controls at'} the task: "
        f"{twin.value:.0%} of held-out texts are right (the commonest class: {twin.chance or 0:.0%}{blind}, "
        f"labels dealt to other texts {mixed.control or 0:.0%})."
    ]
    if not won:
        return " ".join((*words, "So its heads are not those of the task."))
    better = "" if enough.beats_chance else "NOT clearly "
    words.append(
        f"The {kept} of its {n_heads} heads whose gates stay open get {enough.value:.0%} alone, {better}better than as many random "
        f"heads (mean {enough.chance or 0:.0%}; better than {enough.percentile or 0:.0f}% of the draws)."
    )
    more = "more" if needed.beats_chance else "NOT clearly more"
    words.append(
        f"Taking away the heads it needs most costs {more} than taking away random ones: the probability of the right class falls by "
        f"{needed.value:.3f}, by {needed.chance or 0:.3f} without as many random ones (by more than in {needed.percentile or 0:.0f}% of the random orders)."
    )
    return " ".join(words)
